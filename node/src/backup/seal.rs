//! Encryption of backups: to the public keys of whoever may read them, in the format of age (age-encryption.org/v1, X25519).
//!
//! Whoever makes backups needs no secret, and cannot read them. Each file is encrypted by itself and has [`SUFFIX`]; the manifest stays
//! readable: whose node, how many events, and what hash each encrypted file has. `age --decrypt` opens the files as well.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use age::{DecryptError, Decryptor, EncryptError, Encryptor, x25519};
use secrecy::ExposeSecret;

use crate::keys::KeyError;
use crate::keys::file::read_private;

/// What the name of an encrypted file ends with.
pub const SUFFIX: &str = ".age";

/// A public key that a backup is encrypted to: `age1…`.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

/// Secret keys that open backups; none by default. Has no `Debug`.
#[derive(Default)]
pub struct Identities(Vec<x25519::Identity>);

/// Why a file was not encrypted or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It cannot be encrypted.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// It cannot be opened, with these keys or at all.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    /// What it was read from or written to.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Recipient, String> {
        let parsed = text.parse::<x25519::Recipient>();
        parsed.map(Recipient).map_err(|why| {
            format!("{text:?}: expected a public key, age1 and 58 characters, as age-keygen prints it: {why}")
        })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Identities {
    /// Reads a file as `age-keygen` writes it: one secret key a line, `AGE-SECRET-KEY-1…`, and comments after `#`.
    ///
    /// # Errors
    /// [`KeyError`]: it cannot be read, other users can read it, or a line is no such key.
    pub fn read(path: &Path) -> Result<Identities, KeyError> {
        let text = read_private(path, "identity")?;
        let lines = text.expose_secret().lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let what =
            "expected lines with AGE-SECRET-KEY-1 and 58 characters, as age-keygen writes them";
        let unusable = || KeyError::Unusable { path: path.to_path_buf(), what };
        let parsed: Result<Vec<x25519::Identity>, _> = keys.map(str::parse).collect();
        let found = parsed.map_err(|_| unusable())?;
        if found.is_empty() { Err(unusable()) } else { Ok(Identities(found)) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was encrypted, if one of these keys opens it and nothing of it was changed.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        let mut bytes = Vec::with_capacity(sealed.len());
        Decryptor::new_buffered(sealed)?.decrypt(keys)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Encrypts to all of these keys; each alone opens it.
///
/// # Errors
/// [`SealError`]; also where there is no key.
pub fn seal(recipients: &[Recipient], bytes: &[u8]) -> Result<Vec<u8>, SealError> {
    let keys = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let mut sealed = Vec::with_capacity(bytes.len());
    let mut writer = Encryptor::with_recipients(keys)?.wrap_output(&mut sealed)?;
    writer.write_all(bytes)?;
    writer.finish()?;
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A new secret key and its public one, as `age-keygen` writes them.
    fn drawn() -> (String, String) {
        let key = x25519::Identity::generate();
        (key.to_string().expose_secret().to_string(), key.to_public().to_string())
    }

    fn identities(text: &str) -> Result<Identities, KeyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Identities::read(&path)
    }

    #[test]
    fn each_recipient_opens_what_was_sealed_and_nobody_else() {
        let (secret, public) = drawn();
        let others = [x25519::Identity::generate(), x25519::Identity::generate()];
        let recipients = [public.parse().unwrap(), Recipient(others[0].to_public())];
        assert_eq!(recipients[0].to_string(), public);
        for length in [0, 1, 70_000] {
            let bytes = vec![7; length];
            let sealed = seal(&recipients, &bytes).unwrap();
            let known = identities(&format!("# made today\n\n{secret}\n")).unwrap();
            assert_eq!(known.open(&sealed).unwrap(), bytes);
            let [other, stranger] = others.clone().map(|key| Identities(vec![key]));
            assert_eq!(other.open(&sealed).unwrap(), bytes);
            assert!(matches!(stranger.open(&sealed), Err(SealError::Decrypt(_))));
            assert!(Identities::default().open(&sealed).is_err());
            for at in [10, sealed.len() / 2, sealed.len() - 1] {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert!(known.open(&changed).is_err(), "byte {at} of {length}");
            }
            assert!(known.open(&sealed[..sealed.len() - 1]).is_err());
        }
        assert!(seal(&[], b"x").is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_told() {
        assert!("age1".parse::<Recipient>().unwrap_err().contains("as age-keygen prints it"));
        let (secret, public) = drawn();
        assert!(secret.parse::<Recipient>().is_err());
        for text in ["", "# nothing\n", &public, "AGE-SECRET-KEY-1"] {
            let told = identities(text).err().unwrap().to_string();
            assert!(told.contains("expected lines with AGE-SECRET-KEY-1"), "{told}");
        }
        let told = identities(&secret[..70]).err().unwrap().to_string();
        assert!(!told.contains(&secret[16..24]), "{told}");
    }
}
