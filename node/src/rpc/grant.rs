//! Grants: the JSON web tokens of the legacy interface, as go-nitro's `get_auth_token` gives.
//!
//! Unlike go-nitro's, whose signing key stands in its source, they are signed with a random key of this data directory
//! (`rpc-grant-key`), and grant no more than the caller had already. Removing that file and starting again ends all of them.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::token::Scope;

/// Signs and checks grants. Has no `Debug`: it holds a key.
pub struct Grants(hmac::Key);

/// What a grant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `read`, or `read` and `sign`.
    perm: Vec<Permission>,
    /// When it was made, in seconds since 1970. It lasts seven days.
    pub iat: u64,
    /// What the caller called itself.
    pub sub: String,
    /// The mark of the access token that it was given for: when that is revoked, so is this. `None` where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Permission {
    Read,
    Sign,
}

/// The key cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {doing}: {source}", path.display())]
pub struct GrantKeyError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

impl Grants {
    /// Reads the key, or draws one.
    ///
    /// # Errors
    /// [`GrantKeyError`].
    pub fn open(data_dir: &Path) -> Result<Grants, GrantKeyError> {
        let path = data_dir.join(FILE);
        let at = |doing| {
            let path = path.clone();
            move |source| GrantKeyError { path, doing, source }
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) if bytes.len() == KEY_BYTES => bytes,
            // A key that was not written whole signed nothing.
            Ok(_) => draw(&path).map_err(at("write"))?,
            Err(e) if e.kind() == ErrorKind::NotFound => draw(&path).map_err(at("write"))?,
            Err(e) => return Err(at("read")(e)),
        };
        Ok(Grants(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A token.
    pub fn sign(&self, grant: &Grant) -> String {
        let claims = serde_json::to_vec(grant).expect("words and numbers are JSON");
        let signed = format!("{}.{}", encode(HEADER), encode(&claims));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", encode(tag.as_ref()))
    }

    /// What a token says, if it is ours and not too old. Only the one algorithm that we sign with is known.
    pub fn check(&self, token: &str, now_s: u64) -> Option<Grant> {
        let (signed, tag) = token.rsplit_once('.')?;
        hmac::verify(&self.0, signed.as_bytes(), &decode(tag)?).ok()?;
        let (header, claims) = signed.split_once('.')?;
        if decode(header)? != HEADER {
            return None;
        }
        let grant: Grant = serde_json::from_slice(&decode(claims)?).ok()?;
        let age_s = now_s.checked_sub(grant.iat)?;
        (age_s < LIFETIME_S).then_some(grant)
    }
}

impl Grant {
    /// One that grants `scope`, as far as the legacy interface knows it.
    pub fn new(scope: Scope, sub: String, by: Option<String>, now_s: u64) -> Grant {
        let perm = match scope {
            Scope::Read => vec![Permission::Read],
            Scope::Operate | Scope::Admin => vec![Permission::Read, Permission::Sign],
        };
        Grant { perm, iat: now_s, sub, by }
    }

    /// What it grants.
    pub fn scope(&self) -> Option<Scope> {
        if self.perm.contains(&Permission::Sign) {
            return Some(Scope::Operate);
        }
        self.perm.contains(&Permission::Read).then_some(Scope::Read)
    }
}

fn draw(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
const FILE: &str = "rpc-grant-key";
const KEY_BYTES: usize = 32;
const LIFETIME_S: u64 = 7 * 24 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_lasts_seven_days_and_only_here() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let grants = Grants::open(here.path()).unwrap();
        let grant = Grant::new(Scope::Admin, "me".into(), Some("ci".into()), 1_000);
        let token = grants.sign(&grant);
        assert_eq!(grant.scope(), Some(Scope::Operate));
        assert_eq!(grants.check(&token, 1_000), Some(grant.clone()));
        assert_eq!(grants.check(&token, 1_000 + LIFETIME_S - 1), Some(grant.clone()));
        assert_eq!(grants.check(&token, 1_000 + LIFETIME_S), None);
        assert_eq!(grants.check(&token, 999), None);
        assert_eq!(Grants::open(here.path()).unwrap().check(&token, 1_000), Some(grant));
        assert_eq!(Grants::open(there.path()).unwrap().check(&token, 1_000), None);
    }

    #[test]
    fn other_algorithms_and_changed_claims_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let grants = Grants::open(home.path()).unwrap();
        let token = grants.sign(&Grant::new(Scope::Read, String::new(), None, 5));
        let parts: Vec<&str> = token.split('.').collect();
        let claims = encode(br#"{"perm":["read","sign"],"iat":5,"sub":""}"#);
        let none = encode(br#"{"alg":"none","typ":"JWT"}"#);
        // Signed with the right key, and of a kind that we do not make.
        let odd = format!("{none}.{claims}");
        let tag = encode(hmac::sign(&grants.0, odd.as_bytes()).as_ref());
        for forged in [
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{odd}.{tag}"),
            format!("{}.{}", parts[0], parts[1]),
            String::new(),
            "..".into(),
        ] {
            assert_eq!(grants.check(&forged, 5), None, "{forged}");
        }
    }
}
