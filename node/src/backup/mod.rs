//! `fairway backup` and `fairway drill`: a copy of the log from which a node can be started again, and the proof that it can.
//!
//! | file | what |
//! |---|---|
//! | [`create`] | a prefix of the log, cut at a batch, made while the node runs or not |
//! | [`manifest`] | what is in a backup, and whether it is still so |
//! | [`restore`] | puts one into a new data directory, in doubt |
//! | [`drill`] | restores the newest one somewhere else and compares |
//! | [`emergency`] | the newest signed states alone: a few kilobytes a channel |
//! | [`seal`] | encryption, to the public keys of whoever may read a backup |
//! | [`status`] | what went well last, for the node's metrics |
//!
//! A backup is encrypted where whoever makes it names a recipient. It holds what cannot be had again: the log's segments, the key stores and the configuration. Snapshots, mirrors, tokens and metrics
//! are made anew.
//!
//! # Danger
//! A backup is older than the node was. A node over it may have forgotten its own signatures: it begins in doubt, signs nothing new, and
//! ends that by itself once every peer and the chain have shown that nothing newer exists. Two nodes over one key lose money: never start
//! a restored node while the other one can still run.

pub mod create;
pub mod drill;
pub mod emergency;
pub mod manifest;
pub mod restore;
pub mod seal;
pub mod status;

use std::io;
use std::path::{Path, PathBuf};

use fairway_core::log::{self, Change, FileName, Files};

use crate::events::EventsError;
use crate::files::FilesError;

pub use manifest::{Manifest, ManifestError};
use seal::SealError;

/// Why a backup was not made, not read or not restored. Names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log's files cannot be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] EventsError),
    /// The system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The backup is not what it was.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file was not encrypted, or not opened.
    #[error("{name}: {source}")]
    Seal {
        /// The file in the backup.
        name: String,
        /// Why.
        source: SealError,
    },
    /// The backup is encrypted, and no key was named.
    #[error("{}: is encrypted to {recipients}; name the file with the secret key of one of them with --identity-file", path.display())]
    Sealed {
        /// The backup.
        path: PathBuf,
        /// To whom.
        recipients: String,
    },
    /// Something is there already.
    #[error("{}: is not empty; restore into a new directory", .0.display())]
    Occupied(PathBuf),
    /// Nothing to choose from.
    #[error("{}: holds no backup; make one with `fairway backup create`", .0.display())]
    None(PathBuf),
    /// The restored log is not the one that was backed up, or the running one is another.
    #[error("drill: {0}")]
    Drill(String),
}

impl BackupError {
    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> BackupError + use<> {
        let path = path.to_path_buf();
        move |source| BackupError::Io { path, doing, source }
    }
}

/// The segments as a node would leave them after opening: mended, and cut behind the last whole batch.
fn segments(mut files: Files) -> Result<Files, log::OpenError> {
    for repair in log::open(&files)?.repair {
        for change in repair.changes {
            match change {
                Change::Write(write) => {
                    let file = files.entry(write.file).or_default();
                    let at = usize::try_from(write.offset).unwrap_or(usize::MAX).min(file.len());
                    let end = file.len().min(at.saturating_add(write.bytes.len()));
                    file.splice(at..end, write.bytes);
                }
                Change::Truncate { file, length } => {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    files.entry(file).or_default().truncate(length);
                }
                Change::Remove { file } => drop(files.remove(&file)),
            }
        }
    }
    files.retain(|name, bytes| matches!(name, FileName::Segment(_)) && !bytes.is_empty());
    Ok(files)
}

#[cfg(test)]
mod tests;
