//! A node's secrets, from their files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fairway_chain::GasKey;
use fairway_core::nitro::{Crypto, SecretKey};

/// Why a key cannot be used. Says nothing about what the file holds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("{}: cannot read this file: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// It is no key, or not private.
    #[error("{}: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
}

/// Reads the channel key, and derives the secret of the network identity from it: one secret to keep and to back up.
///
/// # Errors
/// [`KeyError`], which never repeats what the file holds.
pub fn load_key(path: &Path) -> Result<(SecretKey, [u8; 32]), KeyError> {
    let bytes = load_secret(path)?;
    let what = "is not a secp256k1 key; draw another";
    let key = SecretKey::new(bytes, Crypto::Real)
        .map_err(|_| KeyError::Unusable { path: path.to_path_buf(), what })?;
    Ok((key, blake3::derive_key("fairway node seed v1", &bytes)))
}

/// Reads the key that pays for gas.
///
/// # Errors
/// As [`load_key`].
pub fn load_gas_key(path: &Path) -> Result<GasKey, KeyError> {
    let what = "is not a secp256k1 key; draw another";
    GasKey::new(load_secret(path)?)
        .map_err(|_| KeyError::Unusable { path: path.to_path_buf(), what })
}

fn load_secret(path: &Path) -> Result<[u8; 32], KeyError> {
    let error = |what| KeyError::Unusable { path: path.to_path_buf(), what };
    let text = fs::read_to_string(path)
        .map_err(|e| KeyError::Read { path: path.to_path_buf(), why: e.to_string() })?;
    let mode = fs::metadata(path).map_or(0o777, |m| m.permissions().mode());
    if mode & 0o077 != 0 {
        return Err(error("other users can read this key; run: chmod 600 on it"));
    }
    parse_hex(text.trim())
        .ok_or_else(|| error("expected 64 hexadecimal digits, with or without 0x"))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_private_and_never_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let digits = "11".repeat(32);
        for (text, mode, what) in [
            (digits.clone(), 0o644, "other users can read this key; run: chmod 600 on it"),
            ("f00d".into(), 0o600, "expected 64 hexadecimal digits, with or without 0x"),
            ("zz".repeat(32), 0o600, "expected 64 hexadecimal digits, with or without 0x"),
            ("00".repeat(32), 0o600, "is not a secp256k1 key; draw another"),
        ] {
            fs::write(file.path(), text).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let path = file.path().to_path_buf();
            assert_eq!(load_key(file.path()).err(), Some(KeyError::Unusable { path, what }));
        }
        fs::write(file.path(), format!("0x{digits}\n")).unwrap();
        let (key, seed) = load_key(file.path()).unwrap();
        let same = SecretKey::new([0x11; 32], Crypto::Real).unwrap();
        assert_eq!(key.address(), same.address());
        assert_ne!(seed, [0x11; 32]);
    }
}
