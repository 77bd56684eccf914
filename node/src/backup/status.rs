//! What a node's backups and drills last came to: a small file in its data directory, written by the commands and shown by the node as
//! metrics. It is told, not proved: `fairway drill` proves.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fairway_core::types::Lsn;
use serde::{Deserialize, Serialize};

/// The file in the data directory.
pub const FILE: &str = "backups.json";

/// The last of each that went well; `None` for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// A whole log.
    pub daily: Option<Success>,
    /// The newest signed states alone.
    pub emergency: Option<Success>,
    /// A backup that was restored and compared; `bytes` are the backup's.
    pub drill: Option<Success>,
}

/// Something that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// When: milliseconds since 1970, by the clock of the machine that did it.
    pub time_ms: u64,
    /// The last event that is in it.
    pub lsn: Lsn,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Reads it; nothing yet where there is no file.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(data_dir: &Path) -> io::Result<Status> {
    match fs::read(data_dir.join(FILE)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Status::default()),
        Err(e) => Err(e),
    }
}

/// Changes it, at once or not at all. Of two commands that do so at the same moment one may be forgotten, until its next success.
///
/// # Errors
/// The system's. Whatever was done is done all the same.
pub fn note(data_dir: &Path, change: impl FnOnce(&mut Status)) -> io::Result<()> {
    // One that cannot be read tells nothing that is worth keeping.
    let mut status = read(data_dir).unwrap_or_default();
    change(&mut status);
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    file.write_all(serde_json::to_string_pretty(&status)?.as_bytes())?;
    // Whoever makes backups may be another user than the node, and the directory lets in nobody else.
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(data_dir.join(FILE)).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_success_is_kept_until_the_next_of_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Status::default());
        let at = |time_ms| Some(Success { time_ms, lsn: Lsn(7), bytes: 9 });
        note(dir.path(), |status| status.daily = at(1)).unwrap();
        note(dir.path(), |status| status.drill = at(2)).unwrap();
        note(dir.path(), |status| status.daily = at(3)).unwrap();
        let expected = Status { daily: at(3), emergency: None, drill: at(2) };
        assert_eq!(read(dir.path()).unwrap(), expected);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(read(dir.path()).is_err());
        note(dir.path(), |status| status.emergency = at(4)).unwrap();
        assert_eq!(read(dir.path()).unwrap().emergency, at(4));
    }
}
