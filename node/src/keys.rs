//! A node's secrets: the channel key, the gas key and the network's identity, from their files.
//!
//! | secret | signs | lost or stolen |
//! |---|---|---|
//! | channel key | states and vouchers | the money in every channel |
//! | gas key | transactions | the money that pays for gas and deposits |
//! | identity | "I am this node" to peers | somebody can listen in our place; draw another |
//!
//! A file holds a key store ([`keystore`]) or, in plain text, 64 hexadecimal digits. It is its owner's alone (mode 0600).
//!
//! Not here: which file is whose, which is the configuration's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy_primitives::hex;
use fairway_chain::GasKey;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::types::Address;
use secrecy::{ExposeSecret, SecretBox};

pub mod file;
pub mod keystore;
pub mod password;

pub use keystore::{Cost, KeystoreError};
pub use password::PasswordSource;

/// 32 secret bytes. Its `Debug` shows nothing, and they are gone from memory when it is dropped.
pub type Secret = SecretBox<[u8; 32]>;

/// Why a key or a password cannot be used. Says nothing about what a file holds.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}: cannot {doing} this file: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Other users can read the file.
    #[error("{}: other users can read this {what}; run: chmod 600 on it", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// What it is: a key, a password.
        what: &'static str,
    },
    /// There is no key where one is configured.
    #[error(
        "{}: there is no key; name the right data_dir or file, or make a new node's keys with `fairway init`", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is no key.
    #[error("{}: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// It is a key store that cannot be opened.
    #[error("{}: {source}", path.display())]
    Keystore {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeystoreError,
    },
    /// A password is needed and there is none.
    #[error("a password is needed {for_what}; give it with {ways}")]
    NoPassword {
        /// For which file, or for what.
        for_what: String,
        /// How.
        ways: &'static str,
    },
    /// A password that must not be.
    #[error("the password {0}")]
    BadPassword(&'static str),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
}

/// Opens the key files of one node. Each file is opened once, however many secrets are taken from it.
pub struct KeyRing {
    passwords: PasswordSource,
    opened: BTreeMap<PathBuf, Secret>,
    plain: Vec<PathBuf>,
}

impl KeyRing {
    /// Nothing is read yet. One password opens all.
    pub fn new(passwords: PasswordSource) -> KeyRing {
        KeyRing { passwords, opened: BTreeMap::new(), plain: Vec::new() }
    }

    /// The key that signs states. Blocks for about a second a key store.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn channel_key(&mut self, path: &Path) -> Result<SecretKey, KeyError> {
        let bytes = *self.secret(path)?.expose_secret();
        SecretKey::new(bytes, Crypto::Real).map_err(|_| no_key(path))
    }

    /// The key that pays for gas. Blocks as above.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn gas_key(&mut self, path: &Path) -> Result<GasKey, KeyError> {
        GasKey::new(*self.secret(path)?.expose_secret()).map_err(|_| no_key(path))
    }

    /// The secret of the network's identity. Blocks as above.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn identity(&mut self, path: &Path) -> Result<[u8; 32], KeyError> {
        Ok(*self.secret(path)?.expose_secret())
    }

    /// The identity of a node that has no file for it: it follows from the channel key. One secret to keep and to back up, and who has
    /// the channel key has the identity too.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn identity_of_channel_key(&mut self, path: &Path) -> Result<[u8; 32], KeyError> {
        Ok(blake3::derive_key("fairway node seed v1", self.secret(path)?.expose_secret()))
    }

    /// Key files that anybody who can read them can use.
    pub fn in_plain_text(&self) -> &[PathBuf] {
        &self.plain
    }

    fn secret(&mut self, path: &Path) -> Result<&Secret, KeyError> {
        if !self.opened.contains_key(path) {
            let found = file::read_key(path, &mut self.passwords)?;
            if found.kind == file::Kind::Plain {
                self.plain.push(path.to_path_buf());
            }
            self.opened.insert(path.to_path_buf(), found.secret);
        }
        Ok(&self.opened[path])
    }
}

/// The account of a key.
///
/// # Errors
/// `None`: the bytes are no key of the curve.
pub fn address(secret: &Secret) -> Option<Address> {
    SecretKey::new(*secret.expose_secret(), Crypto::Real).ok().map(|key| key.address())
}

/// A new key of the curve, from the system's random numbers.
///
/// # Errors
/// [`KeyError::Entropy`].
pub fn draw() -> Result<Secret, KeyError> {
    loop {
        let mut bytes = Box::new([0; 32]);
        getrandom::fill(bytes.as_mut())?;
        let secret = Secret::new(bytes);
        // One of 2^128 is none.
        if address(&secret).is_some() {
            return Ok(secret);
        }
    }
}

/// 64 hexadecimal digits, with or without `0x`.
pub fn parse_hex(text: &str) -> Option<Secret> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = Box::new([0; 32]);
    hex::decode_to_slice(digits, bytes.as_mut()).ok()?;
    // `decode_to_slice` takes a prefix of its own.
    (digits.len() == 64).then(|| Secret::new(bytes))
}

fn no_key(path: &Path) -> KeyError {
    let what = "is not a secp256k1 key; draw another";
    KeyError::Unusable { path: path.to_path_buf(), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn key_files_are_private_and_never_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = file.path().display().to_string();
        let digits = "11".repeat(32);
        let mut ring = KeyRing::new(PasswordSource::none());
        for (text, mode, what) in [
            (digits.clone(), 0o644, "other users can read this key; run: chmod 600 on it"),
            (
                "f00d".into(),
                0o600,
                "expected 64 hexadecimal digits, with or without 0x, or a key store",
            ),
            (
                "zz".repeat(32),
                0o600,
                "expected 64 hexadecimal digits, with or without 0x, or a key store",
            ),
            (
                "0x".repeat(32),
                0o600,
                "expected 64 hexadecimal digits, with or without 0x, or a key store",
            ),
        ] {
            fs::write(file.path(), text).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let error = ring.channel_key(file.path()).err().unwrap().to_string();
            assert_eq!(error, format!("{at}: {what}"));
        }
        fs::write(file.path(), format!("0x{digits}\n")).unwrap();
        let key = ring.channel_key(file.path()).unwrap();
        let same = SecretKey::new([0x11; 32], Crypto::Real).unwrap();
        assert_eq!(key.address(), same.address());
        assert_eq!(ring.in_plain_text(), [file.path()]);
        let identity = ring.identity_of_channel_key(file.path()).unwrap();
        assert_eq!(identity, blake3::derive_key("fairway node seed v1", &[0x11; 32]));
        assert_eq!(ring.identity(file.path()).unwrap(), [0x11; 32]);
        assert_eq!(ring.gas_key(file.path()).unwrap().address(), same.address());
    }

    #[test]
    fn what_is_no_number_of_the_curve_is_no_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "00".repeat(32)).unwrap();
        let mut ring = KeyRing::new(PasswordSource::none());
        let error = ring.channel_key(file.path()).err().unwrap();
        assert!(matches!(error, KeyError::Unusable { .. }), "{error}");
        assert!(ring.gas_key(file.path()).is_err());
    }

    #[test]
    fn a_missing_key_says_how_keys_are_made() {
        let mut ring = KeyRing::new(PasswordSource::none());
        let error = ring.channel_key(Path::new("nowhere")).err().unwrap();
        assert!(matches!(error, KeyError::Missing { .. }));
        assert!(error.to_string().contains("fairway init"), "{error}");
    }
}
