//! Where passwords come from: a file, an open descriptor, the environment, or somebody at a terminal. Never the command line, which
//! every user of the machine can read.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::KeyError;
use super::file::{read_private, read_small};

/// The variable with the password of key stores.
pub const VARIABLE: &str = "FAIRWAY_PASSWORD";
/// The variable with the password that shall replace it.
pub const NEW_VARIABLE: &str = "FAIRWAY_NEW_PASSWORD";

/// One place that gives one password, asked at most once.
#[derive(Debug)]
pub struct PasswordSource {
    place: Place,
    known: Option<SecretString>,
    ways: &'static str,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Descriptor(u32),
    Terminal,
    Nowhere,
}

impl PasswordSource {
    /// A file of mode 0600; its first line.
    pub fn file(path: &Path) -> PasswordSource {
        PasswordSource::at(Place::File(path.to_path_buf()))
    }

    /// An open descriptor, read to its end; its first line.
    pub fn descriptor(number: u32) -> PasswordSource {
        PasswordSource::at(Place::Descriptor(number))
    }

    /// Whoever sits at the terminal, if standard input is one.
    pub fn terminal() -> PasswordSource {
        PasswordSource::at(Place::Terminal)
    }

    /// Nobody knows one.
    pub fn none() -> PasswordSource {
        PasswordSource::at(Place::Nowhere)
    }

    /// This one.
    pub fn known(password: SecretString) -> PasswordSource {
        PasswordSource { known: Some(password), ..PasswordSource::none() }
    }

    /// The environment's, or else `fallback`.
    pub fn environment_or(variable: &str, fallback: PasswordSource) -> PasswordSource {
        match std::env::var(variable) {
            Ok(password) => PasswordSource::known(password.into()),
            Err(_) => fallback,
        }
    }

    /// The same for a password that shall be set: messages name its ways.
    pub fn for_new(self) -> PasswordSource {
        PasswordSource { ways: NEW_WAYS, ..self }
    }

    fn at(place: Place) -> PasswordSource {
        PasswordSource { place, known: None, ways: WAYS }
    }

    /// The password; `for_what` tells whoever is asked.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn get(&mut self, for_what: &str) -> Result<&SecretString, KeyError> {
        if self.known.is_none() {
            self.known = Some(self.ask(for_what)?);
        }
        Ok(self.known.as_ref().expect("it was just put there"))
    }

    /// A password that shall be set: long enough, and typed twice where it is typed.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn choose(&mut self, for_what: &str) -> Result<&SecretString, KeyError> {
        let typed = self.known.is_none() && matches!(self.place, Place::Terminal);
        let password = self.get(for_what)?.clone();
        if password.expose_secret().chars().count() < CHARS_MIN {
            self.known = None;
            return Err(KeyError::BadPassword("is too short; choose eight characters at least"));
        }
        if typed && self.ask("once more")?.expose_secret() != password.expose_secret() {
            self.known = None;
            return Err(KeyError::BadPassword("was not the same twice"));
        }
        Ok(self.known.insert(password))
    }

    fn ask(&self, for_what: &str) -> Result<SecretString, KeyError> {
        match &self.place {
            Place::File(path) => read_private(path, "password").map(|text| first_line(&text)),
            Place::Descriptor(number) => {
                let path = PathBuf::from(format!("/dev/fd/{number}"));
                let read = File::open(&path).and_then(read_small);
                let failed = |source| KeyError::Io { path, doing: "read", source };
                read.map(|text| first_line(&text)).map_err(failed)
            }
            Place::Terminal if io::stdin().is_terminal() => {
                rpassword::prompt_password(format!("Password {for_what}: "))
                    .map(SecretString::from)
                    .map_err(|_| self.nobody(for_what))
            }
            Place::Terminal | Place::Nowhere => Err(self.nobody(for_what)),
        }
    }

    fn nobody(&self, for_what: &str) -> KeyError {
        KeyError::NoPassword { for_what: for_what.to_string(), ways: self.ways }
    }
}

fn first_line(text: &SecretString) -> SecretString {
    text.expose_secret().lines().next().unwrap_or_default().into()
}

const WAYS: &str = "--password-file, --password-fd, FAIRWAY_PASSWORD or keys.password_file";
const NEW_WAYS: &str = "--new-password-file, --new-password-fd or FAIRWAY_NEW_PASSWORD";
/// What can be guessed in an afternoon is no password.
const CHARS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_and_a_descriptor_give_their_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["correct horse", "correct horse\n", "correct horse\r\nsecond\n"] {
            fs::write(file.path(), text).unwrap();
            let mut source = PasswordSource::file(file.path());
            assert_eq!(source.get("").unwrap().expose_secret(), "correct horse");
            let open = File::open(file.path()).unwrap();
            let number = u32::try_from(open.as_raw_fd()).unwrap();
            let mut source = PasswordSource::descriptor(number);
            assert_eq!(source.get("").unwrap().expose_secret(), "correct horse");
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = PasswordSource::file(file.path()).get("").unwrap_err().to_string();
        assert!(error.ends_with("other users can read this password; run: chmod 600 on it"));
        let error = PasswordSource::file(Path::new("nowhere")).get("").unwrap_err().to_string();
        assert!(error.starts_with("nowhere: cannot read this file: No such file"), "{error}");
        assert!(PasswordSource::descriptor(9_999).get("").is_err());
    }

    #[test]
    fn a_new_password_has_a_least_length() {
        let known = |text: &str| PasswordSource::known(text.to_string().into());
        assert!(known("12345678").choose("").is_ok());
        for short in ["", "1234567"] {
            let error = known(short).choose("").unwrap_err().to_string();
            assert_eq!(error, "the password is too short; choose eight characters at least");
        }
    }

    #[test]
    fn where_nobody_knows_one_the_ways_are_told() {
        let error = PasswordSource::none().get("for keys/gas.json").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a password is needed for keys/gas.json; give it with --password-file, --password-fd, FAIRWAY_PASSWORD or keys.password_file"
        );
        let error = PasswordSource::none().for_new().choose("").unwrap_err().to_string();
        assert!(error.ends_with("--new-password-file, --new-password-fd or FAIRWAY_NEW_PASSWORD"));
    }
}
