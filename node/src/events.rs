//! `fairway events`: reads a node's log for people and auditors. Never changes a file.
//!
//! | file | what |
//! |---|---|
//! | [`source`] | where the log is: a data directory, a copy of one, an export |
//! | [`show`] | one event in full |
//! | [`replay`] | what the log comes to at any event |
//! | [`diff`] | where two logs part |

pub mod diff;
pub mod replay;
pub mod show;
pub mod source;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use fairway_core::driver::{Replayed, recorded};
use fairway_core::event::Event;
use fairway_core::log::{self, FileName, Files};
use fairway_core::machine::NodeState;
use fairway_core::machine::Tally;
use fairway_core::machine::tally::Count;
use fairway_core::nitro::Crypto;
use fairway_core::snapshot::Snapshot;
use fairway_core::types::{Lsn, Timestamp};
use serde::Serialize;

use crate::checkpoint::{Checkpoint, Hex};
use crate::export::{self, ExportError, ReadError};
use crate::files::{self, FilesError};
use crate::metrics;
use crate::snapshots;

pub use source::Source;

/// Why a log cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A node is writing there.
    #[error("{}: a node is using this data directory; stop it, or copy the directory", .0.display())]
    InUse(PathBuf),
    /// No log there.
    #[error("{}: holds no log; name a node's data directory", .0.display())]
    Empty(PathBuf),
    /// The log is damaged.
    #[error("{}: {source}", path.display())]
    Log {
        /// The directory.
        path: PathBuf,
        /// Where and how.
        source: log::OpenError,
    },
    /// Written by another version.
    #[error("{}: {source}", path.display())]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// Where.
        source: log::UnknownEvent,
    },
    /// A file beside the log, or an export, cannot be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The beginning of the log is elsewhere, and not where it should be.
    #[error(
        "{}: {segments} were archived, and are not all in {}; name the directory that they are in with --archive",
        path.display(), archive.display()
    )]
    Archived {
        /// The data directory.
        path: PathBuf,
        /// Which.
        segments: String,
        /// Where they were looked for.
        archive: PathBuf,
    },
    /// The file is no export of a log.
    #[error("{}: {source}", path.display())]
    NoExport {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: ReadError,
    },
    /// The log does not reach that far.
    #[error("{}: there is no event {lsn}: the log has {end} events, counted from 1", path.display())]
    NoSuchEvent {
        /// Where the log is.
        path: PathBuf,
        /// As asked for.
        lsn: Lsn,
        /// Its last event.
        end: Lsn,
    },
    /// The export was not finished.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl EventsError {
    pub(crate) fn unknown(path: &Path) -> impl FnOnce(log::UnknownEvent) -> EventsError + use<> {
        let path = path.to_path_buf();
        move |source| EventsError::Unknown { path, source }
    }
}

/// One event with its place.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Position.
    pub lsn: Lsn,
    /// Milliseconds since 1970, by the node's clock.
    pub time_ms: u64,
    /// The fact.
    pub event: Event,
}

/// What a check of a whole log found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Events in the log; its hash chain held for all of them.
    pub events: usize,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// Signatures that were recovered anew.
    pub signatures: usize,
    /// Lines of `checkpoints.jsonl` that were compared with what the log comes to.
    pub checkpoints: usize,
    /// States, vouchers and checkpoints that do not hold, one line each.
    pub bad: Vec<String>,
    /// What a node would mend at its next start.
    pub findings: Vec<String>,
}

/// All events in order.
///
/// # Errors
/// [`EventsError`].
pub fn list(source: &Source) -> Result<Vec<Line>, EventsError> {
    let files = source.read()?;
    Ok(lines(decode(source.path(), &open_log(source.path(), &files)?)?))
}

fn lines(events: Events) -> Vec<Line> {
    let place = |(at, (time, event)): (u64, (Timestamp, Event))| Line {
        lsn: Lsn(at),
        time_ms: time.0,
        event,
    };
    (1..).zip(events).map(place).collect()
}

/// Checks the hash chain, recovers every signature again, folds the log and compares each signed checkpoint with it, trusting nothing.
///
/// # Errors
/// [`EventsError`]. What does not hold is no error here but stands in the result.
pub fn verify(source: &Source) -> Result<Verified, EventsError> {
    let files = source.read()?;
    let opened = open_log(source.path(), &files)?;
    let events = decode(source.path(), &opened)?;
    let (signatures, mut bad) = check_signatures(&events);
    let lines = source.checkpoints()?;
    bad.extend(compare(&opened, &lines));
    let doubt = opened.doubt.iter().map(ToString::to_string);
    Ok(Verified {
        events: events.len(),
        log_bytes: log_bytes(&files),
        signatures,
        checkpoints: lines.len(),
        bad,
        findings: opened.findings.iter().map(ToString::to_string).chain(doubt).collect(),
    })
}

/// How many signatures were recovered again, and what does not hold of them.
fn check_signatures(events: &[(Timestamp, Event)]) -> (usize, Vec<String>) {
    let (mut signatures, mut bad) = (0, Vec::new());
    let mut payers = BTreeMap::new();
    for (lsn, (_, event)) in (1u64..).zip(events) {
        if let Event::VirtualApproved { id, terms, .. } = event {
            payers.insert(id.channel, terms.participants.first().copied());
        }
        if let Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } = event {
            signatures += 1;
            let payer = payers.get(&voucher.channel).copied().flatten();
            if payer.is_none() || voucher.signer(&mut Crypto::Real) != payer {
                bad.push(format!("event {lsn} ({}): not signed by the payer", event.name()));
            }
        }
        if let Event::StateSigned { state, .. }
        | Event::StateReceived { state, .. }
        | Event::StatePublished { state } = event
        {
            signatures += state.sigs().len();
            if let Err(why) = state.recheck(&mut Crypto::Real) {
                bad.push(format!("event {lsn} ({}): {why}", event.name()));
            }
        }
    }
    (signatures, bad)
}

/// What does not hold of the checkpoints: one fold over the log for all of them.
fn compare(opened: &log::Opened<'_>, lines: &[Checkpoint]) -> Vec<String> {
    let at: BTreeMap<Lsn, Vec<&Checkpoint>> = lines.iter().fold(BTreeMap::new(), |mut at, line| {
        at.entry(line.lsn).or_insert_with(Vec::new).push(line);
        at
    });
    let mut wrong = Vec::new();
    let (mut state, mut seen) = (NodeState::default(), 0);
    for batch in &opened.batches {
        // The events were read once already.
        for (time, recorded) in log::events(batch).flatten() {
            state.apply(time, recorded.event);
        }
        for line in at.get(&batch.last()).into_iter().flatten() {
            seen += 1;
            let place = format!("checkpoint at event {}", line.lsn);
            if !line.verify() {
                wrong.push(format!("{place}: its signature does not hold"));
            }
            if line.head != Hex(batch.chain.0) {
                wrong.push(format!(
                    "{place}: the log is another one: its chain hash is {}",
                    Hex(batch.chain.0)
                ));
            }
            if line.state != Hex(state.digest()) {
                wrong.push(format!("{place}: the log comes to the state {}", Hex(state.digest())));
            }
        }
    }
    if seen < lines.len() {
        let missing = lines.len() - seen;
        wrong.push(format!("{missing} checkpoints are of places that the log does not have: it lost records, or is another one"));
    }
    wrong
}

/// What a log amounts to: the counters that a node over it shows.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// Events in the log.
    pub events: u64,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// Time of the last event, in milliseconds since 1970 by the node's clock; 0 without one.
    pub last_ms: u64,
    /// Every counter, zeros included, under the names of the metrics.
    pub counts: Vec<Counted>,
}

/// One counter.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// The metric.
    pub metric: &'static str,
    /// Its label, as `name="value"`; empty where it has none.
    pub label: String,
    /// The number.
    pub count: u64,
}

/// Counts a log as a running node counts it.
///
/// # Errors
/// [`EventsError`].
pub fn stats(source: &Source) -> Result<Stats, EventsError> {
    let files = source.read()?;
    let replayed = fold(source.path(), &open_log(source.path(), &files)?)?;
    Ok(Stats {
        events: replayed.state.lsn().0,
        log_bytes: log_bytes(&files),
        last_ms: replayed.last_at.0,
        counts: counted(&replayed.tally),
    })
}

fn counted(tally: &Tally) -> Vec<Counted> {
    let shown = |count: Count| {
        let metric = metrics::family_of(count.name)?;
        let label = match count.by {
            "" => String::new(),
            by => format!("{by}=\"{}\"", count.kind),
        };
        Some(Counted { metric, label, count: count.count })
    };
    tally.counts().filter_map(shown).collect()
}

fn log_bytes(files: &Files) -> u64 {
    let segments = files.iter().filter(|(name, _)| matches!(name, FileName::Segment(_)));
    segments.map(|(_, bytes)| bytes.len() as u64).sum()
}

/// Writes the whole log as canonical JSON lines; how many.
///
/// # Errors
/// [`EventsError`].
pub fn export(source: &Source, out: &mut dyn Write) -> Result<u64, EventsError> {
    let files = source.read()?;
    Ok(export::export(&open_log(source.path(), &files)?, out)?)
}

type Events = Vec<(Timestamp, Event)>;

/// Opens the log that was read from a directory.
///
/// # Errors
/// [`EventsError::Empty`], [`EventsError::Log`].
pub(crate) fn open_log<'a>(
    directory: &Path,
    files: &'a Files,
) -> Result<log::Opened<'a>, EventsError> {
    let path = || directory.to_path_buf();
    if files.is_empty() {
        return Err(EventsError::Empty(path()));
    }
    log::open(files).map_err(|source| EventsError::Log { path: path(), source })
}

/// Folds it.
///
/// # Errors
/// [`EventsError::Unknown`].
pub(crate) fn fold(directory: &Path, opened: &log::Opened<'_>) -> Result<Replayed, EventsError> {
    Replayed::of(opened, &mut |_| {}).map_err(EventsError::unknown(directory))
}

/// The state at the end of a log, whose node may be running: from a snapshot where the beginning was archived and is out of reach.
///
/// # Errors
/// [`EventsError`].
pub(crate) fn state(source: &Source) -> Result<NodeState, EventsError> {
    match source.read_running() {
        Ok(files) => Ok(fold(source.path(), &open_log(source.path(), &files)?)?.state),
        Err(error @ EventsError::Archived { .. }) => from_snapshot(source.path())?.ok_or(error),
        Err(error) => Err(error),
    }
}

/// The state at the end of the log in a directory, from the newest snapshot that serves.
fn from_snapshot(directory: &Path) -> Result<Option<NodeState>, EventsError> {
    let unread = |source| EventsError::Read { path: directory.join(snapshots::FOLDER), source };
    for (_, path) in snapshots::list(directory).map_err(unread)? {
        let Some(snapshot) = std::fs::read(&path).ok().and_then(|b| Snapshot::decode(&b).ok())
        else {
            continue;
        };
        let base = snapshot.base();
        let files = files::read_from(directory, base.segment)?;
        let path = || directory.to_path_buf();
        let opened = log::open_from(&files, base)
            .map_err(|source| EventsError::Log { path: path(), source })?;
        if snapshot.check(&opened).is_ok() {
            let replayed = Replayed::from_snapshot(snapshot, &opened);
            return Ok(Some(replayed.map_err(EventsError::unknown(directory))?.state));
        }
    }
    Ok(None)
}

fn decode(directory: &Path, opened: &log::Opened<'_>) -> Result<Events, EventsError> {
    recorded(opened).map_err(EventsError::unknown(directory))
}
