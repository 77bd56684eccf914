//! Files that hold secrets: read only where they are private, written so that a crash leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fairway_core::types::Address;
use secrecy::{ExposeSecret, SecretString};
use tempfile::NamedTempFile;

use super::keystore::{self, Cost};
use super::{KeyError, PasswordSource, Secret, address, parse_hex};

/// In which form a key lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Under a password.
    Keystore,
    /// 64 hexadecimal digits.
    Plain,
}

/// A key with the form in which it was found.
#[derive(Debug)]
pub struct Found {
    /// The key.
    pub secret: Secret,
    /// Its form.
    pub kind: Kind,
    /// Whether it is the key of an account; an identity is not.
    pub is_account: bool,
}

/// Reads a key, asking for the password where it is needed. Blocks for about a second where it is.
///
/// # Errors
/// [`KeyError`].
pub fn read_key(path: &Path, passwords: &mut PasswordSource) -> Result<Found, KeyError> {
    let text = read_private(path, "key")?;
    let text = text.expose_secret().trim();
    if !text.starts_with('{') {
        let what = "expected 64 hexadecimal digits, with or without 0x, or a key store";
        let secret =
            parse_hex(text).ok_or_else(|| KeyError::Unusable { path: path.to_path_buf(), what })?;
        return Ok(Found { secret, kind: Kind::Plain, is_account: true });
    }
    let broken = |source| KeyError::Keystore { path: path.to_path_buf(), source };
    let stated = keystore::stated_address(text).map_err(broken)?;
    let password = passwords.get(&format!("for {}", path.display()))?;
    let secret = keystore::open(text, password).map_err(broken)?;
    if stated.is_some_and(|stated| address(&secret) != Some(stated)) {
        let what = "states another address than that of its key";
        return Err(KeyError::Unusable { path: path.to_path_buf(), what });
    }
    Ok(Found { secret, kind: Kind::Keystore, is_account: stated.is_some() })
}

/// What can be said of a key without opening it: its form, and the account where it states or shows one.
///
/// # Errors
/// [`KeyError`].
pub fn describe(path: &Path) -> Result<(Kind, Option<Address>), KeyError> {
    let text = read_private(path, "key")?;
    let text = text.expose_secret().trim();
    if text.starts_with('{') {
        let broken = |source| KeyError::Keystore { path: path.to_path_buf(), source };
        return Ok((Kind::Keystore, keystore::stated_address(text).map_err(broken)?));
    }
    let what = "expected 64 hexadecimal digits, with or without 0x, or a key store";
    let secret =
        parse_hex(text).ok_or_else(|| KeyError::Unusable { path: path.to_path_buf(), what })?;
    Ok((Kind::Plain, address(&secret)))
}

/// Writes a new key store, durably, and gives the account. Nothing is overwritten.
///
/// # Errors
/// [`KeyError`]; where it says that the file exists, nothing was changed.
pub fn write_new(
    path: &Path,
    secret: &Secret,
    password: &SecretString,
    cost: Cost,
    is_account: bool,
) -> Result<Option<Address>, KeyError> {
    let account = if is_account { address(secret) } else { None };
    let file = sealed(path, secret, password, cost, account)?;
    file.persist_noclobber(path).map_err(|e| failed(path, "create")(e.error))?;
    sync_directory(path)?;
    Ok(account)
}

/// Replaces a key store by one with another password, durably: after a crash the file is the old one or the new one.
///
/// # Errors
/// [`KeyError`]; the old file is there.
pub fn replace(
    path: &Path,
    found: &Found,
    password: &SecretString,
    cost: Cost,
) -> Result<(), KeyError> {
    let account = if found.is_account { address(&found.secret) } else { None };
    let file = sealed(path, &found.secret, password, cost, account)?;
    file.persist(path).map_err(|e| failed(path, "replace")(e.error))?;
    sync_directory(path)
}

/// The key store in a file beside its place, synced, and opened once more for proof: a key that cannot be read back is lost.
fn sealed(
    path: &Path,
    secret: &Secret,
    password: &SecretString,
    cost: Cost,
    account: Option<Address>,
) -> Result<NamedTempFile, KeyError> {
    let text = keystore::seal(secret, password, cost, account)?;
    let mut file = NamedTempFile::new_in(directory(path)).map_err(failed(path, "create"))?;
    file.write_all(text.as_bytes()).map_err(failed(path, "write"))?;
    file.write_all(b"\n").map_err(failed(path, "write"))?;
    file.as_file().sync_all().map_err(failed(path, "sync"))?;
    let back = fs::read_to_string(file.path()).map_err(failed(path, "read back"))?;
    let opened = keystore::open(&back, password)
        .map_err(|source| KeyError::Keystore { path: path.to_path_buf(), source })?;
    assert!(opened.expose_secret() == secret.expose_secret(), "a key store holds another key");
    Ok(file)
}

/// Reads a small file that must be its owner's alone; `what` it is, for messages.
///
/// # Errors
/// [`KeyError`].
pub fn read_private(path: &Path, what: &'static str) -> Result<SecretString, KeyError> {
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound && what == "key" => {
            return Err(KeyError::Missing { path: path.to_path_buf() });
        }
        opened => opened.map_err(failed(path, "read"))?,
    };
    let mode = file.metadata().map_err(failed(path, "read"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::NotPrivate { path: path.to_path_buf(), what });
    }
    read_small(file).map_err(failed(path, "read"))
}

/// Everything up to the end, which must come soon.
pub fn read_small(source: impl Read) -> io::Result<SecretString> {
    let mut text = String::new();
    source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    let length = text.len() as u64;
    let secret = SecretString::from(text);
    if length > FILE_BYTES_MAX {
        let why = format!("it is longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(secret)
}

fn sync_directory(path: &Path) -> Result<(), KeyError> {
    let synced = File::open(directory(path)).and_then(|d| d.sync_all());
    synced.map_err(failed(path, "sync the directory of"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_path_buf();
    move |source| KeyError::Io { path, doing, source }
}

/// A key store is below one kilobyte.
const FILE_BYTES_MAX: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> PasswordSource {
        PasswordSource::known(text.to_string().into())
    }

    fn secret(byte: u8) -> Secret {
        Secret::new(Box::new([byte; 32]))
    }

    #[test]
    fn a_new_store_is_private_and_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("channel.json");
        let word = SecretString::from("correct horse");
        let account = write_new(&path, &secret(7), &word, Cost::Light, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(describe(&path).unwrap(), (Kind::Keystore, account));
        let error = write_new(&path, &secret(8), &word, Cost::Light, true).unwrap_err();
        assert!(error.to_string().contains("cannot create this file: File exists"), "{error}");
        let found = read_key(&path, &mut given("correct horse")).unwrap();
        assert_eq!(found.secret.expose_secret(), &[7; 32]);
        assert!(found.is_account);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn another_password_replaces_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.json");
        write_new(&path, &secret(7), &"correct horse".into(), Cost::Light, false).unwrap();
        let found = read_key(&path, &mut given("correct horse")).unwrap();
        assert!(!found.is_account);
        replace(&path, &found, &"battery staple".into(), Cost::Light).unwrap();
        let refused = read_key(&path, &mut given("correct horse")).unwrap_err();
        assert!(refused.to_string().ends_with("the password does not open this key store"));
        let again = read_key(&path, &mut given("battery staple")).unwrap();
        assert_eq!((again.secret.expose_secret(), again.is_account), (&[7; 32], false));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_store_that_lies_about_its_address_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gas.json");
        let account = write_new(&path, &secret(7), &"correct horse".into(), Cost::Light, true);
        let text = fs::read_to_string(&path).unwrap();
        let true_address = alloy_primitives::hex::encode(account.unwrap().unwrap());
        fs::write(&path, text.replace(&true_address, &"11".repeat(20))).unwrap();
        let error = read_key(&path, &mut given("correct horse")).unwrap_err();
        assert!(error.to_string().ends_with("states another address than that of its key"));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = read_small(io::repeat(b'a')).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 65536 bytes");
        assert!(read_small(&[b'a'; 65_536][..]).is_ok());
    }
}
