//! What is in a backup: `manifest.json`, and the check that it is still so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fairway_core::log::{FileName, Files};
use fairway_core::types::{Address, Lsn};
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::seal::{self, Identities};
use crate::checkpoint::Hex;
use crate::events::{fold, open_log};

/// The file in a backup's directory.
pub const FILE: &str = "manifest.json";

/// The form of a backup that is encrypted, and the newest that is read.
pub const FORMAT: u32 = 2;
/// The form of one that is not.
pub const FORMAT_PLAIN: u32 = 1;

/// A backup's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] or [`FORMAT_PLAIN`].
    pub format: u32,
    /// The program that made it.
    pub fairway: String,
    /// When: milliseconds since 1970, by this machine's clock.
    pub created_ms: u64,
    /// The last event that is in it.
    pub lsn: Lsn,
    /// The log's chain hash after it.
    pub head: Hex<32>,
    /// The digest of the state that the log comes to.
    pub state: Hex<32>,
    /// Whose node.
    pub address: Address,
    /// On which chain.
    pub chain_id: u64,
    /// At which adjudicator.
    pub adjudicator: Address,
    /// Public keys that the files are encrypted to; none where they are not. The manifest itself never is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The files, by their path in the backup, as they stand there.
    pub files: BTreeMap<String, Entry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: Hex<32>,
}

/// A backup that must not be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No backup, or one that was not finished.
    #[error("{}: cannot read it: {why}; a backup without a readable manifest is not whole", path.display())]
    Unreadable {
        /// The manifest.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Made by a later version.
    #[error("{}: its format {found} is newer than {FORMAT}; use the version of fairway that made it", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// As it says.
        found: u32,
    },
    /// A file is gone, or has changed.
    #[error("{}: {what}; use another backup", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// The log is whole and comes to something else.
    #[error("{}: its log comes to {found} at record {lsn}, the manifest says {expected}; use another backup", path.display())]
    Contents {
        /// The backup.
        path: PathBuf,
        /// Where.
        lsn: Lsn,
        /// What was found.
        found: String,
        /// What the manifest says.
        expected: String,
    },
}

impl Entry {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Entry {
        let blake3 = Hex(*blake3::hash(bytes).as_bytes());
        Entry { bytes: bytes.len() as u64, blake3 }
    }
}

impl Manifest {
    /// Reads a backup's manifest; nothing else of it.
    ///
    /// # Errors
    /// [`ManifestError::Unreadable`], [`ManifestError::Format`].
    pub fn read(backup: &Path) -> Result<Manifest, ManifestError> {
        let path = backup.join(FILE);
        let unreadable = |why: String| ManifestError::Unreadable { path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(|e| unreadable(e.to_string()))?;
        let found: Manifest = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
        if found.format > FORMAT {
            return Err(ManifestError::Format { path, found: found.format });
        }
        Ok(found)
    }

    /// Bytes of all its files, the manifest left out.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|entry| entry.bytes).sum()
    }

    /// Reads every file of a backup and compares its hash with the manifest's: that nothing of it was changed since. What it is worth only
    /// [`Manifest::verify`] says.
    ///
    /// # Errors
    /// [`BackupError`]: nothing of it may be used.
    pub fn verify_files(
        backup: &Path,
    ) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), BackupError> {
        let manifest = Manifest::read(backup)?;
        let mut contents = BTreeMap::new();
        for (name, entry) in &manifest.files {
            let path = backup.join(name);
            let changed = |what: String| ManifestError::Changed { path: path.clone(), what };
            if !is_plain(name) {
                return Err(changed("its name leads elsewhere".into()).into());
            }
            let bytes = fs::read(&path).map_err(|e| changed(e.to_string()))?;
            if Entry::of(&bytes) != *entry {
                return Err(changed("it is not what was backed up".into()).into());
            }
            contents.insert(name.clone(), bytes);
        }
        Ok((manifest, contents))
    }

    /// Reads every file of a backup, and compares all that the manifest says: hashes, chain hash, and the state that the log comes to.
    /// The files, decrypted.
    ///
    /// # Errors
    /// [`BackupError`]: nothing of it may be used; or [`BackupError::Sealed`], where a key is needed.
    pub fn verify(
        backup: &Path,
        identities: &Identities,
    ) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), BackupError> {
        let (manifest, contents) = Manifest::verify_files(backup)?;
        let contents = manifest.opened(backup, contents, identities)?;
        let files = log_files(&contents);
        let opened = open_log(backup, &files)?;
        let state = fold(backup, &opened)?.state;
        let found = [Hex(opened.tail.head().0), Hex(state.digest())];
        let (lsn, expected) = (opened.tail.end(), [manifest.head, manifest.state]);
        if found != expected || lsn != manifest.lsn {
            let [found, expected] =
                [found, expected].map(|[head, state]| format!("{head} {state}"));
            return Err(ManifestError::Contents {
                path: backup.to_path_buf(),
                lsn,
                found,
                expected,
            }
            .into());
        }
        Ok((manifest, contents))
    }
}

impl Manifest {
    /// The files under their own names, decrypted where they are not plain.
    fn opened(
        &self,
        backup: &Path,
        contents: BTreeMap<String, Vec<u8>>,
        identities: &Identities,
    ) -> Result<BTreeMap<String, Vec<u8>>, BackupError> {
        if self.recipients.is_empty() {
            return Ok(contents);
        }
        if identities.is_empty() {
            let (path, recipients) = (backup.to_path_buf(), self.recipients.join(", "));
            return Err(BackupError::Sealed { path, recipients });
        }
        let open = |(name, bytes): (String, Vec<u8>)| {
            let opened = identities.open(&bytes);
            let path = backup.join(&name).display().to_string();
            let opened = opened.map_err(|source| BackupError::Seal { name: path, source })?;
            Ok((name.strip_suffix(seal::SUFFIX).unwrap_or(&name).to_string(), opened))
        };
        contents.into_iter().map(open).collect()
    }
}

/// The log's files among a backup's.
pub(super) fn log_files(contents: &BTreeMap<String, Vec<u8>>) -> Files {
    let logs = contents.iter().filter_map(|(name, bytes)| {
        Some((FileName::parse(name.strip_prefix(LOG)?)?, bytes.clone()))
    });
    logs.collect()
}

/// All backups in a folder with their manifests, the oldest first; what is no backup is left out.
///
/// # Errors
/// The system's.
pub fn list(folder: &Path) -> Result<Vec<(PathBuf, Manifest)>, BackupError> {
    let entries = fs::read_dir(folder).map_err(BackupError::io(folder, "list this directory"))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(BackupError::io(folder, "list this directory"))?.path();
        if let Ok(manifest) = Manifest::read(&path) {
            found.push((path, manifest));
        }
    }
    found.sort_by_key(|(path, manifest)| (manifest.lsn, manifest.created_ms, path.clone()));
    Ok(found)
}

/// Whether a path stays inside the backup: parts of ordinary names.
fn is_plain(name: &str) -> bool {
    let parts = Path::new(name).components();
    !name.is_empty() && parts.into_iter().all(|c| matches!(c, std::path::Component::Normal(_)))
}

/// Where the log's segments are.
pub(super) const LOG: &str = "log/";
/// Where the key stores are.
pub(super) const KEYS: &str = "keys/";
