//! `fairway events archive`: moves the old segments of a log that no start reads any more to another place.
//!
//! A start goes on from the newest snapshot, or from the older one where that cannot be read. What lies below the segment in which the older
//! one stands is needed by nobody but auditors and backups. It may leave the node's disk, and must never be lost: it is the proof of
//! everything before, and the only way back where both snapshots are gone.
//!
//! ```text
//! lock ─> read log and archive ─> open from the first record ─> fold; both snapshots are what the log came to there
//!      ─> copy ─> sync ─> read back ─> sync the archive's directory ─> note ─> sync ─> remove, oldest first ─> sync
//! ```
//!
//! Whatever interrupts it, every segment is whole in one of the two places, and the next run goes on.
//!
//! | file | where | what |
//! |---|---|---|
//! | `000001.log` and following | archive | the segments, as they were |
//! | [`NOTE`] | data directory | where they are; every command over the log reads them from there |

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fairway_core::driver::Progress;
use fairway_core::log::{self, FileName, Files, Opened};
use fairway_core::machine::NodeState;
use fairway_core::snapshot::{Snapshot, SnapshotError};
use fairway_core::types::Lsn;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};

use crate::events::{EventsError, Source, open_log};
use crate::files::{self, DataDir, FilesError};
use crate::snapshots;

/// The file in a data directory that tells where its older segments are.
pub const NOTE: &str = "archived.json";

/// What [`NOTE`] says. It proves nothing: whoever reads the segments checks them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The directory that the segments are in.
    pub to: PathBuf,
    /// The first segment that is still in the data directory.
    pub first_kept: u32,
}

/// Why nothing was archived, or not all. No segment is lost in any case.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] EventsError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Something is to be mended first.
    #[error("{}: {what}; start the node, stop it in order, and archive then", path.display())]
    Unsettled {
        /// The data directory.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// A start would need the first record.
    #[error(
        "{}: {found} of the two snapshots that archiving needs can be used; the node writes one every \
         snapshots.every_events events and at each orderly stop", path.display()
    )]
    TooFew {
        /// The data directory.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A snapshot that the log does not pass through.
    #[error("{}: {source}; nothing is archived, and no node starts there: find out what happened to the log", path.display())]
    Snapshot {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong.
        source: SnapshotError,
    },
    /// A snapshot whose state is not what the log comes to.
    #[error("{}: its state is not what the log comes to at event {lsn}; nothing is archived: keep both, and tell the authors", path.display())]
    Differs {
        /// The snapshot.
        path: PathBuf,
        /// Where it was taken.
        lsn: Lsn,
    },
    /// The archive is the data directory, or has a segment of another log.
    #[error("{}: {what}; name a directory of this node's own", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
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
}

/// What was moved, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// The segments, oldest first.
    pub segments: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// The segment that the log in the data directory begins with.
    pub first_kept: String,
    /// Where the two snapshots were taken that were compared with the log.
    pub snapshots: [Lsn; 2],
}

/// Whether files change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Segments move.
    Real,
    /// Everything is checked, and nothing moves.
    Dry,
}

/// Moves every segment of the log in `data_dir` that lies below the older of its two newest snapshots to the directory `to`, which is made
/// if it is missing. Takes the data directory's lock. `watch` is told how far the fold is.
///
/// # Errors
/// [`ArchiveError`]. All but [`ArchiveError::Io`] come before anything was changed.
///
/// # Danger
/// The archive then holds the only copy of the first records. Without them and without a snapshot that can be read no node starts.
pub fn archive(
    data_dir: &Path,
    to: &Path,
    run: Run,
    watch: &mut dyn FnMut(Progress),
) -> Result<Archived, ArchiveError> {
    if !data_dir.is_dir() {
        return Err(EventsError::Empty(data_dir.to_path_buf()).into());
    }
    let lock = DataDir::open(data_dir)?;
    if same_place(data_dir, to) {
        let what = "it is the data directory itself";
        return Err(ArchiveError::Occupied { path: to.to_path_buf(), what });
    }
    let here = lock.read()?;
    let present: Vec<FileName> = here.keys().copied().collect();
    let whole = Source::at(data_dir).with_archive(to).complete(here)?;
    let opened = open_log(data_dir, &whole)?;
    is_settled(data_dir, &opened)?;
    let snapshots = verified_snapshots(data_dir, &opened, watch)?;
    let [(_, older), (_, newer)] = &snapshots;
    let first_kept = older.base().segment;
    let is_old = |name: &FileName| number(name).is_some_and(|n| n < first_kept);
    let moves: Vec<(FileName, &[u8])> = whole
        .iter()
        .filter(|(name, _)| is_old(name) && present.contains(name))
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    // A start reads these alone from now on. Tried before anything is removed.
    let rest: Files = whole
        .iter()
        .filter(|(name, _)| !is_old(name))
        .map(|(name, bytes)| (*name, bytes.clone()))
        .collect();
    for (path, snapshot) in &snapshots {
        opens_over(&rest, snapshot, &opened)
            .map_err(|what| ArchiveError::Unsettled { path: path.clone(), what })?;
    }
    let archived = Archived {
        segments: moves.iter().map(|(name, _)| name.to_string()).collect(),
        bytes: moves.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        first_kept: FileName::Segment(first_kept).to_string(),
        snapshots: [older.end(), newer.end()],
    };
    if run == Run::Real && !moves.is_empty() {
        move_all(data_dir, to, &moves, first_kept)?;
    }
    Ok(archived)
}

fn same_place(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A log that is mended at the next start, or that is in doubt, keeps what it has.
fn is_settled(data_dir: &Path, opened: &Opened<'_>) -> Result<(), ArchiveError> {
    let what = match (&opened.doubt, opened.findings.first()) {
        (Some(doubt), _) => doubt.to_string(),
        (None, Some(finding)) => finding.to_string(),
        (None, None) => return Ok(()),
    };
    Err(ArchiveError::Unsettled { path: data_dir.to_path_buf(), what })
}

/// The newest two snapshots, the older one first. Each stands at its place in the log, and is exactly what the log folds to there.
fn verified_snapshots(
    data_dir: &Path,
    opened: &Opened<'_>,
    watch: &mut dyn FnMut(Progress),
) -> Result<[(PathBuf, Snapshot); 2], ArchiveError> {
    let listed = snapshots::list(data_dir).map_err(|source| ArchiveError::Io {
        path: data_dir.join(snapshots::FOLDER),
        doing: "list this directory",
        source,
    })?;
    // As a start takes them: the newest first, and past those that cannot be read.
    let readable = listed.into_iter().filter_map(|(lsn, path)| {
        let snapshot = Snapshot::decode(&fs::read(&path).ok()?).ok()?;
        (snapshot.end() == lsn).then_some((path, snapshot))
    });
    let found: Vec<(PathBuf, Snapshot)> = readable.take(2).collect();
    let found: [(PathBuf, Snapshot); 2] = found.try_into().map_err(|found: Vec<_>| {
        ArchiveError::TooFew { path: data_dir.to_path_buf(), found: found.len() }
    })?;
    let [newer, older] = found;
    for (path, snapshot) in [&older, &newer] {
        // Below this snapshot's segment its own check sees nothing, and the fold sees everything.
        snapshot
            .check(opened)
            .map_err(|source| ArchiveError::Snapshot { path: path.clone(), source })?;
    }
    compare(data_dir, opened, [&older, &newer], watch)?;
    Ok([older, newer])
}

/// Folds the log from its first record up to both snapshots.
fn compare(
    data_dir: &Path,
    opened: &Opened<'_>,
    expected: [&(PathBuf, Snapshot); 2],
    watch: &mut dyn FnMut(Progress),
) -> Result<(), ArchiveError> {
    let last = expected[1].1.end();
    let mut state = NodeState::default();
    for batch in opened.batches.iter().take_while(|batch| batch.last() <= last) {
        for event in log::events(batch) {
            let (at, recorded) = event.map_err(EventsError::unknown(data_dir))?;
            state.apply(at, recorded.event);
        }
        watch(Progress { replayed: state.lsn(), end: last });
        for (path, snapshot) in expected {
            let (lsn, is_here) = (snapshot.end(), snapshot.end() == batch.last());
            if is_here && snapshot.state().digest() != state.digest() {
                return Err(ArchiveError::Differs { path: path.clone(), lsn });
            }
        }
    }
    assert_eq!(state.lsn(), last, "the log passes through both snapshots");
    Ok(())
}

/// Whether a start over what stays comes to the same end of the log.
fn opens_over(rest: &Files, snapshot: &Snapshot, whole: &Opened<'_>) -> Result<(), String> {
    let opened = log::open_from(rest, snapshot.base()).map_err(|e| e.to_string())?;
    snapshot.check(&opened).map_err(|e| e.to_string())?;
    assert_eq!(opened.tail, whole.tail, "the log ends elsewhere without its oldest segments");
    Ok(())
}

fn move_all(
    data_dir: &Path,
    to: &Path,
    moves: &[(FileName, &[u8])],
    first_kept: u32,
) -> Result<(), ArchiveError> {
    if !to.exists() {
        files::create(to).map_err(failed(to, "create this directory"))?;
    }
    let to = to.canonicalize().map_err(failed(to, "find this directory"))?;
    for (name, bytes) in moves {
        is_there(&to.join(name.to_string()), bytes)?;
    }
    for (name, bytes) in moves {
        copy(&to.join(name.to_string()), bytes)?;
    }
    sync(&to)?;
    // Whoever made the directory, or one above it, may not have synced its entry. Not everybody may open all of them.
    for above in to.ancestors().skip(1) {
        let _ = File::open(above).and_then(|above| above.sync_all());
    }
    // Before the first one is gone: whoever misses it shall find it.
    write_note(data_dir, &Note { to, first_kept })?;
    for (name, _) in moves {
        let path = data_dir.join(name.to_string());
        fs::remove_file(&path).map_err(failed(&path, "remove"))?;
    }
    sync(data_dir)
}

/// Whether these bytes are at `path` already.
///
/// # Errors
/// Others are: [`ArchiveError::Occupied`].
fn is_there(path: &Path, bytes: &[u8]) -> Result<bool, ArchiveError> {
    match fs::read(path) {
        Ok(there) if there == bytes => Ok(true),
        Ok(_) => {
            let what = "another log's segment is there";
            Err(ArchiveError::Occupied { path: path.to_path_buf(), what })
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(failed(path, "read")(e)),
    }
}

/// Puts a copy of these bytes at `path`, durable but for its directory. One that is there already is good if it is the same.
fn copy(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    if is_there(path, bytes)? {
        // Whoever put it there may not have synced it.
        let synced = File::open(path).and_then(|file| file.sync_all());
        return synced.map_err(failed(path, "sync"));
    }
    let partial = path.with_extension("log.partial");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial);
    let mut file = file.map_err(failed(&partial, "create"))?;
    file.write_all(bytes).map_err(failed(&partial, "write"))?;
    file.sync_all().map_err(failed(&partial, "sync"))?;
    // What is read back shall come from the medium; where the system does not do that, from its cache.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let back = fs::read(&partial).map_err(failed(&partial, "read back"))?;
    if back != bytes {
        let source = io::Error::other("it does not read back as it was written");
        return Err(failed(&partial, "archive it")(source));
    }
    fs::rename(&partial, path).map_err(failed(path, "give it its name"))
}

fn write_note(data_dir: &Path, note: &Note) -> Result<(), ArchiveError> {
    let path = data_dir.join(NOTE);
    let text = serde_json::to_string_pretty(note).expect("a note is plain data");
    let mut file = tempfile::NamedTempFile::new_in(data_dir)
        .map_err(failed(data_dir, "make a temporary file"))?;
    file.write_all(text.as_bytes()).map_err(failed(&path, "write"))?;
    file.as_file().sync_all().map_err(failed(&path, "sync"))?;
    file.persist(&path).map_err(|e| failed(&path, "name")(e.error))?;
    sync(data_dir)
}

fn sync(directory: &Path) -> Result<(), ArchiveError> {
    let synced = File::open(directory).and_then(|d| d.sync_all());
    synced.map_err(failed(directory, "sync this directory"))
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ArchiveError + use<> {
    let path = path.to_path_buf();
    move |source| ArchiveError::Io { path, doing, source }
}

/// The note of a data directory; `None` where nothing was archived.
///
/// # Errors
/// It is there and cannot be read.
pub fn note(data_dir: &Path) -> io::Result<Option<Note>> {
    match fs::read(data_dir.join(NOTE)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The numbers of the segments that are missing at a log's beginning: below the first one that is there, or where none is, below the first
/// that the note says was kept.
pub fn missing(files: &Files, note: Option<&Note>) -> Vec<u32> {
    let present: BTreeMap<u32, ()> = files.keys().filter_map(number).map(|n| (n, ())).collect();
    let first = present.keys().next().copied();
    let kept = note.map(|note| note.first_kept);
    let below = first.into_iter().chain(kept).max().unwrap_or(1);
    (1..below).filter(|n| !present.contains_key(n)).collect()
}

fn number(name: &FileName) -> Option<u32> {
    match name {
        FileName::Segment(n) => Some(*n),
        FileName::Mirror(_) | FileName::Doubt => None,
    }
}

/// `000001.log to 000003.log`, for people.
pub fn range(segments: &[u32]) -> String {
    let name = |n: &u32| FileName::Segment(*n).to_string();
    match segments {
        [] => "no segment".into(),
        [one] => name(one),
        [first, .., last] => format!("{} to {}", name(first), name(last)),
    }
}

#[cfg(test)]
mod tests;
