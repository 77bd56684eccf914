//! Where an audit reads: a data directory, or an export of one. Never writes, never takes a directory, never mends.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use fairway_core::event::{Event, Pins};
use fairway_core::log::{self, FileName, Files, SEGMENT_BYTES};
use fairway_core::types::{Lsn, Timestamp};

use super::export;
use super::judge::Check;

/// Events that became durable together.
pub type Batch = Vec<(Timestamp, Event)>;

/// One node's log, as it was found.
#[derive(Debug)]
pub struct Source {
    /// The last part of its path: how it is called in the report.
    pub name: String,
    /// What it belongs to.
    pub pins: Pins,
    /// Its batches, in order.
    pub batches: Vec<Batch>,
    /// What a node would mend at its next start, and why it would doubt itself.
    pub findings: Vec<String>,
    /// Whether synced signatures may be missing.
    pub is_in_doubt: bool,
    /// What was checked on the way: the hash chain, and the lines of an export.
    pub checks: Vec<Check>,
}

/// Why nothing can be audited there.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not there, or not readable.
    #[error("{}: cannot {doing}: {source}; check the path and that you may read it", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A node is writing there.
    #[error("{}: a node is using this data directory; stop it, or copy the directory", .0.display())]
    InUse(PathBuf),
    /// No log there.
    #[error("{}: holds no log; name a node's data directory or an export of one", .0.display())]
    Empty(PathBuf),
    /// Something that no log file can be.
    #[error("{}: {what}; name a node's data directory or an export of one", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The log is damaged: synced signatures may be missing.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The directory or export.
        path: PathBuf,
        /// Where and how.
        what: String,
    },
}

impl SourceError {
    /// Whether it is the log that is bad, not the way it was named.
    pub fn is_damage(&self) -> bool {
        matches!(self, SourceError::Damaged { .. })
    }
}

impl Source {
    /// Reads a data directory or an export.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn read(path: &Path) -> Result<Source, SourceError> {
        let at = io_at(path, "read");
        let kind = fs::metadata(path).map_err(at)?;
        if kind.is_dir() {
            let files = read_files(path)?;
            Source::of_files(path, &files, Vec::new())
        } else if kind.is_file() {
            let text = read_limited(path, EXPORT_BYTES_MAX)?;
            let (files, checks) = export::read(&text)
                .map_err(|what| SourceError::NotALog { path: path.into(), what })?;
            Source::of_files(path, &files, checks)
        } else {
            let what = "is neither a directory nor a plain file".into();
            Err(SourceError::NotALog { path: path.into(), what })
        }
    }

    /// The log in these files.
    ///
    /// # Errors
    /// [`SourceError::Damaged`]; [`SourceError::NotALog`] for one without its first record.
    pub fn of_files(
        path: &Path,
        files: &Files,
        mut checks: Vec<Check>,
    ) -> Result<Source, SourceError> {
        let damaged = |what: String| SourceError::Damaged { path: path.into(), what };
        let opened = log::open(files).map_err(|e| damaged(e.to_string()))?;
        let mut batches = Vec::with_capacity(opened.batches.len());
        for batch in &opened.batches {
            // The bytes decode or they do not; a decoder that panics is caught like a flaw.
            let events = std::panic::catch_unwind(AssertUnwindSafe(|| {
                log::events(batch).map(|e| e.map(|(at, r)| (at, r.event))).collect::<Result<_, _>>()
            }));
            let events: Result<Batch, log::UnknownEvent> =
                events.unwrap_or(Err(log::UnknownEvent { lsn: batch.first }));
            batches.push(events.map_err(|e| damaged(e.to_string()))?);
        }
        let Some((_, Event::Pinned(pins))) = batches.iter().flatten().next() else {
            let what = "its log does not begin with what it belongs to".into();
            return Err(SourceError::NotALog { path: path.into(), what });
        };
        let doubt = opened.doubt.as_ref().map(ToString::to_string);
        let findings = opened.findings.iter().map(ToString::to_string);
        let findings = findings.chain(doubt.clone()).collect();
        checks.insert(0, Check::held("log-chain-holds", "every batch follows from the one before"));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (pins, is_in_doubt) = (*pins, doubt.is_some());
        Ok(Source { name, pins, batches, findings, is_in_doubt, checks })
    }

    /// All events, in order.
    pub fn events(&self) -> Vec<(Timestamp, Event)> {
        self.batches.iter().flatten().cloned().collect()
    }

    /// The log as it was right after the batch that holds record `last`: a prefix, as a copy of that moment would show it.
    pub fn cut_after(&mut self, last: Lsn) {
        let mut end = 0u64;
        let kept = self.batches.iter().take_while(|batch| {
            let is_before = end < last.0;
            end = end.saturating_add(batch.len() as u64);
            is_before
        });
        let kept = kept.count();
        self.batches.truncate(kept.max(1));
    }

    /// Position of the last event.
    pub fn end(&self) -> Lsn {
        Lsn(self.batches.iter().map(|b| b.len() as u64).sum())
    }
}

fn read_files(directory: &Path) -> Result<Files, SourceError> {
    if is_in_use(directory)? {
        return Err(SourceError::InUse(directory.into()));
    }
    let mut files = Files::new();
    let list = || io_at(directory, "list");
    for entry in fs::read_dir(directory).map_err(list())? {
        let entry = entry.map_err(list())?;
        if let Some(name) = entry.file_name().to_str().and_then(FileName::parse) {
            files.insert(name, read_limited(&entry.path(), SEGMENT_BYTES)?);
        }
    }
    if files.is_empty() { Err(SourceError::Empty(directory.into())) } else { Ok(files) }
}

/// All of a plain file. Anything else would block or never end.
fn read_limited(path: &Path, bytes_max: u64) -> Result<Vec<u8>, SourceError> {
    let kind = fs::metadata(path).map_err(io_at(path, "read"))?;
    let wrong = |what: String| Err(SourceError::NotALog { path: path.into(), what });
    if !kind.is_file() {
        return wrong("is no plain file".into());
    }
    if kind.len() > bytes_max {
        return wrong(format!(
            "has {} bytes, more than the {bytes_max} that it can have",
            kind.len()
        ));
    }
    fs::read(path).map_err(io_at(path, "read"))
}

/// Whether a node has the directory's lock. One that has no lock file was never used, or is a copy.
fn is_in_use(directory: &Path) -> Result<bool, SourceError> {
    let path = directory.join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(io_at(&path, "open")(e)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(io_at(&path, "lock")(e)),
    }
}

fn io_at(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_path_buf();
    move |source| SourceError::Io { path, doing, source }
}

/// Largest export that is read: it stands in memory as a whole.
const EXPORT_BYTES_MAX: u64 = 4 << 30;
