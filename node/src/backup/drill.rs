//! The proof that a backup can be used: it is restored somewhere else, opened as a node opens it, and compared.

use std::path::{Path, PathBuf};

use fairway_core::log::Doubt;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::manifest::list;
use super::restore::restore;
use super::seal::Identities;
use crate::checkpoint::Hex;
use crate::events::{Source, fold, open_log};
use crate::files;

/// The file in the folder of backups that tells of the last good drill.
pub const FILE: &str = "drill.json";

/// A drill that went well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// The backup.
    pub backup: PathBuf,
    /// The last event that is in it.
    pub lsn: u64,
    /// The digest of the state that was restored.
    pub state: Hex<32>,
    /// How many events the running node had more; `None` where there was none to compare with.
    pub behind: Option<u64>,
    /// When: milliseconds since 1970, by this machine's clock.
    pub time_ms: u64,
}

/// Restores the newest backup in `folder` into a temporary directory, folds its log, and compares the state with the manifest; with a node's
/// log also that it goes on from the backup. The result is kept in [`FILE`].
///
/// # Errors
/// [`BackupError`]: this backup must not be relied on.
pub fn drill(
    folder: &Path,
    live: Option<&Source>,
    identities: &Identities,
    now_ms: u64,
) -> Result<Drill, BackupError> {
    let newest = list(folder)?.pop();
    let (backup, _) = newest.ok_or_else(|| BackupError::None(folder.to_path_buf()))?;
    let scratch = tempfile::Builder::new().prefix("fairway-drill-").tempdir();
    let scratch = scratch.map_err(BackupError::io(folder, "make a temporary directory"))?;
    let restored = scratch.path().join("node");
    let manifest = restore(&backup, identities, &restored)?;
    let files = files::read(&restored)?;
    let opened = open_log(&restored, &files)?;
    let wrong = |what: String| Err(BackupError::Drill(what));
    if opened.doubt != Some(Doubt::Standing) {
        return wrong("the restored node would not begin in doubt".into());
    }
    let state = fold(&restored, &opened)?.state;
    if Hex(state.digest()) != manifest.state {
        return wrong(format!("the restored log comes to {}", Hex(state.digest())));
    }
    let behind = live.map(|live| compare(live, &manifest)).transpose()?;
    let lsn = manifest.lsn.0;
    let drill = Drill { backup, lsn, state: manifest.state, behind, time_ms: now_ms };
    keep(folder, &drill)?;
    Ok(drill)
}

/// How many events the log of a node has more than the backup, of which it must be a continuation.
fn compare(live: &Source, manifest: &super::Manifest) -> Result<u64, BackupError> {
    let files = live.read_running()?;
    let opened = open_log(live.path(), &files)?;
    let at = opened.batches.iter().find(|batch| batch.last() == manifest.lsn);
    if at.is_none_or(|batch| Hex(batch.chain.0) != manifest.head) {
        return Err(BackupError::Drill(format!(
            "{}: the log there is not a continuation of the backup at record {}",
            live.path().display(),
            manifest.lsn
        )));
    }
    Ok(opened.tail.end().0.saturating_sub(manifest.lsn.0))
}

fn keep(folder: &Path, drill: &Drill) -> Result<(), BackupError> {
    let path = folder.join(FILE);
    let text = serde_json::to_string_pretty(drill).expect("a drill is plain data");
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .map_err(BackupError::io(folder, "make a temporary file"))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(BackupError::io(&path, "write"))?;
    file.as_file().sync_all().map_err(BackupError::io(&path, "sync"))?;
    file.persist(&path).map_err(|e| BackupError::Io { path, doing: "name", source: e.error })?;
    Ok(())
}
