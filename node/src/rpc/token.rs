//! Access tokens: what a caller shows to be let in, and how far in.
//!
//! ```text
//! <data directory>   rpc-tokens.json   mode 0600   name, scope, expiry, BLAKE3 of the secret
//!                    rpc-tokens.lock               held while the file is exchanged
//! ```
//!
//! A token is `fairway_` and 64 hexadecimal digits, 256 random bits, shown once and kept nowhere: a plain hash is enough to keep, as
//! nobody can guess the bits. The file is read for each request, so that a revoked token ends at once, whoever revoked it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use blake3::Hash;
use serde::{Deserialize, Serialize};

/// How much a caller may do; each scope includes the ones before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything, change nothing.
    Read,
    /// Open, pay and close in agreement.
    Operate,
    /// Everything, challenges on chain included.
    Admin,
}

/// The tokens of one data directory.
#[derive(Clone, Debug)]
pub struct Tokens {
    directory: PathBuf,
}

/// What is kept of one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Unique among the tokens of a node. What is told of a token anywhere is this.
    pub name: String,
    /// How much it allows.
    pub scope: Scope,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// From this moment on it is worth nothing; `None`: for ever.
    pub expires_ms: Option<u64>,
    /// BLAKE3 of the whole token, in hexadecimal digits.
    hash: String,
}

/// A token in the clear. Has no `Debug`.
pub struct Secret(String);

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system refused.
    #[error("{}: cannot {doing}: {source}; see to it that this user owns the directory", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("{}: is damaged ({why}); remove it and create new tokens", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        why: String,
    },
    /// Others may read or write who is let in.
    #[error("{}: other users have access (mode {mode:03o}); run: chmod 600 {}", path.display(), path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a name.
    #[error(
        "{0:?} is not a name of a token: take 1 to 64 letters, digits, dots, dashes and underscores"
    )]
    Name(String),
    /// The name is in use.
    #[error("there is a token called {0} already; revoke it, or take another name")]
    Taken(String),
    /// No such token.
    #[error("there is no token called {0}; `fairway token list` shows all")]
    Unknown(String),
    /// Too many.
    #[error("there are {TOKENS_MAX} tokens, and no more are kept; revoke some")]
    Full,
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    tokens: Vec<Token>,
}

impl Secret {
    /// The text to show to the operator, once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Tokens {
    /// Of the node in this data directory, whether it runs or not.
    pub fn of(data_dir: &Path) -> Tokens {
        Tokens { directory: data_dir.to_path_buf() }
    }

    /// Makes a new token.
    ///
    /// # Errors
    /// [`TokenError`]; nothing was kept.
    pub fn create(
        &self,
        name: &str,
        scope: Scope,
        now_ms: u64,
        expires_ms: Option<u64>,
    ) -> Result<Secret, TokenError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
            return Err(TokenError::Name(name.into()));
        }
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        let secret = Secret(format!("{PREFIX}{}", alloy_primitives::hex::encode(bits)));
        let hash = hash(&secret.0).to_hex().to_string();
        let name = name.to_string();
        let token = Token { name, scope, created_ms: now_ms, expires_ms, hash };
        self.change(|tokens| {
            if tokens.iter().any(|t| t.name == token.name) {
                return Err(TokenError::Taken(token.name));
            }
            if tokens.len() >= TOKENS_MAX {
                return Err(TokenError::Full);
            }
            tokens.push(token);
            Ok(())
        })?;
        Ok(secret)
    }

    /// Makes a token worthless at once, also for a node that runs.
    ///
    /// # Errors
    /// [`TokenError`]; nothing has changed.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|t| t.name != name);
            if tokens.len() == before { Err(TokenError::Unknown(name.into())) } else { Ok(()) }
        })
    }

    /// All tokens, expired ones included.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let path = self.path();
        let at = |doing| {
            let path = path.clone();
            move |source| TokenError::Io { path, doing, source }
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(at("read")(e)),
        };
        let mode = file.metadata().map_err(at("read the permissions of"))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(TokenError::NotPrivate { path, mode: mode & 0o777 });
        }
        let text = io::read_to_string(file).map_err(at("read"))?;
        let damaged = |why: String| TokenError::Damaged { path: path.clone(), why };
        let kept: Kept = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if kept.version != FILE_VERSION {
            return Err(damaged(format!("version {} is not {FILE_VERSION}", kept.version)));
        }
        if kept.tokens.iter().any(|t| Hash::from_hex(&t.hash).is_err()) {
            return Err(damaged("a hash is none".into()));
        }
        Ok(kept.tokens)
    }

    /// The token that was shown, if it is worth anything now.
    ///
    /// Takes as long for every text of one length: each hash is compared, each in constant time.
    ///
    /// # Errors
    /// [`TokenError`]: let nobody in.
    pub fn find(&self, shown: &str, now_ms: u64) -> Result<Option<Token>, TokenError> {
        let shown = hash(shown);
        let mut found = None;
        for token in self.list()? {
            // `Hash` compares in constant time.
            if Hash::from_hex(&token.hash).is_ok_and(|kept| kept == shown) {
                found = Some(token);
            }
        }
        Ok(found.filter(|t| t.is_valid(now_ms)))
    }

    /// The token with this [`Token::mark`], if it is worth anything now.
    ///
    /// # Errors
    /// [`TokenError`]: let nobody in.
    pub fn marked(&self, mark: &str, now_ms: u64) -> Result<Option<Token>, TokenError> {
        Ok(self.list()?.into_iter().find(|t| t.mark() == mark && t.is_valid(now_ms)))
    }

    /// Exchanges the file for one with other tokens, whole or not at all.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Token>) -> Result<(), TokenError>,
    ) -> Result<(), TokenError> {
        let path = self.path();
        let at = |doing| {
            let path = path.clone();
            move |source| TokenError::Io { path, doing, source }
        };
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        created.map_err(at("create the directory of"))?;
        // Two commands at once must not lose each other's change.
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(self.directory.join(LOCK)).map_err(at("lock"))?;
        lock.lock().map_err(at("lock"))?;
        let mut tokens = self.list()?;
        change(&mut tokens)?;
        let kept = Kept { version: FILE_VERSION, tokens };
        let text = serde_json::to_vec_pretty(&kept).expect("names and numbers are JSON");
        // Created with mode 0600.
        let made = tempfile::NamedTempFile::new_in(&self.directory);
        let mut file = made.map_err(at("write"))?;
        file.write_all(&text).map_err(at("write"))?;
        file.as_file().sync_all().map_err(at("sync"))?;
        file.persist(&path).map_err(|e| at("exchange")(e.error))?;
        let entries = File::open(&self.directory).and_then(|d| d.sync_all());
        entries.map_err(at("sync the directory of"))
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

impl Token {
    /// Names this token and no later one of the same name.
    pub fn mark(&self) -> String {
        format!("{}@{}", self.name, self.created_ms)
    }

    /// Whether it is worth anything at this moment.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|end| now_ms < end)
    }
}

/// Reads a token from a private file, for a client.
///
/// # Errors
/// [`TokenError`].
pub fn read_secret(path: &Path) -> Result<Secret, TokenError> {
    let at = |source| TokenError::Io { path: path.to_path_buf(), doing: "read", source };
    let mode = fs::metadata(path).map_err(at)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(TokenError::NotPrivate { path: path.to_path_buf(), mode: mode & 0o777 });
    }
    Ok(Secret(fs::read_to_string(path).map_err(at)?.trim().to_string()))
}

fn hash(text: &str) -> Hash {
    blake3::hash(text.as_bytes())
}

/// Tells people and scanners of leaked secrets what they see.
const PREFIX: &str = "fairway_";
const FILE: &str = "rpc-tokens.json";
const LOCK: &str = "rpc-tokens.lock";
const FILE_VERSION: u32 = 1;
/// Each request compares all of them.
const TOKENS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked() {
        let parent = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(&parent.path().join("data"));
        assert!(tokens.list().unwrap().is_empty());
        let ever = tokens.create("ever", Scope::Admin, 100, None).unwrap();
        let brief = tokens.create("brief", Scope::Read, 100, Some(200)).unwrap();
        assert_eq!(ever.reveal().len(), 8 + 64);
        let scope = |secret: &Secret, now| {
            tokens.find(secret.reveal(), now).unwrap().map(|token| token.scope)
        };
        assert_eq!(scope(&ever, u64::MAX), Some(Scope::Admin));
        assert_eq!(scope(&brief, 199), Some(Scope::Read));
        assert_eq!(scope(&brief, 200), None);
        assert_eq!(tokens.find("", 0).unwrap(), None);
        assert_eq!(tokens.find(&ever.reveal()[..71], 0).unwrap(), None);

        tokens.revoke("ever").unwrap();
        assert_eq!(scope(&ever, 101), None);
        assert!(matches!(tokens.revoke("ever"), Err(TokenError::Unknown(_))));
    }

    #[test]
    fn the_file_is_private_and_holds_no_secret() {
        let parent = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(parent.path());
        let secret = tokens.create("a", Scope::Read, 1, None).unwrap();
        let path = tokens.path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret.reveal()[PREFIX.len()..]), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(tokens.find(secret.reveal(), 1), Err(TokenError::NotPrivate { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        assert!(matches!(tokens.find(secret.reveal(), 1), Err(TokenError::Damaged { .. })));
    }

    #[test]
    fn names_are_plain_unique_and_limited() {
        let parent = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(parent.path());
        let create = |name: &str| tokens.create(name, Scope::Read, 1, None).map(|_| ());
        for name in ["", "a b", "ä", "x/y", &"n".repeat(65)] {
            assert!(matches!(create(name), Err(TokenError::Name(_))), "{name}");
        }
        create("a").unwrap();
        assert!(matches!(create("a"), Err(TokenError::Taken(_))));
        let many = (0..TOKENS_MAX).map(|i| Token {
            name: i.to_string(),
            scope: Scope::Read,
            created_ms: 0,
            expires_ms: None,
            hash: hash("").to_hex().to_string(),
        });
        tokens
            .change(|all| {
                *all = many.collect();
                Ok(())
            })
            .unwrap();
        assert!(matches!(create("a"), Err(TokenError::Full)));
    }
}
