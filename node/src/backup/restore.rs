//! Puts a backup into a new data directory. The node over it begins in doubt.

use std::fs;
use std::path::Path;

use fairway_core::log::doubt_raised;

use super::BackupError;
use super::create::{make, sync, write_file};
use super::manifest::{KEYS, Manifest, log_files};
use super::seal::Identities;
use crate::checkpoint;
use crate::files::DataDir;

/// Checks everything in the backup, then writes it into `data_dir`, which must be new or empty. The marker `doubt` is durable before
/// anything else is there: whatever interrupts this, no node signs over what it leaves.
///
/// # Errors
/// [`BackupError`]. Where some of it was written already, the directory holds the marker and must be removed before the next attempt.
pub fn restore(
    backup: &Path,
    identities: &Identities,
    data_dir: &Path,
) -> Result<Manifest, BackupError> {
    let (manifest, contents) = Manifest::verify(backup, identities)?;
    let is_occupied = fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_occupied {
        return Err(BackupError::Occupied(data_dir.to_path_buf()));
    }
    make(data_dir)?;
    // Takes the lock: no node starts while this works.
    let mut dir = DataDir::open(data_dir)?;
    let reason = format!("restored from a backup that ends with record {}", manifest.lsn);
    dir.repair(&doubt_raised(&reason))?;
    for (name, bytes) in log_files(&contents) {
        write_file(&data_dir.join(name.to_string()), &bytes)?;
    }
    for (name, bytes) in &contents {
        if name.starts_with(KEYS) || name == checkpoint::FILE {
            write_file(&data_dir.join(name), bytes)?;
        }
    }
    let keys = data_dir.join(KEYS);
    if keys.exists() {
        sync(&keys)?;
    }
    sync(data_dir)?;
    Ok(manifest)
}
