//! `fairway events`: reads a node's log for people and auditors. Never changes a file.

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
use fairway_core::types::{Lsn, Timestamp};
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint, Hex};
use crate::export::{self, ExportError};
use crate::files::{self, FilesError};
use crate::metrics;

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
    /// The checkpoints cannot be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Checkpoints {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The export was not finished.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// One event with its place.
#[derive(Debug, Serialize)]
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
pub fn list(directory: &Path) -> Result<Vec<Line>, EventsError> {
    let files = read(directory)?;
    let events = decode(directory, &open_log(directory, &files)?)?;
    let place = |(at, (time, event)): (u64, (Timestamp, Event))| Line {
        lsn: Lsn(at),
        time_ms: time.0,
        event,
    };
    Ok((1..).zip(events).map(place).collect())
}

/// Checks the hash chain, recovers every signature again, folds the log and compares each signed checkpoint with it, trusting nothing.
///
/// # Errors
/// [`EventsError`]. What does not hold is no error here but stands in the result.
pub fn verify(directory: &Path) -> Result<Verified, EventsError> {
    let files = read(directory)?;
    let opened = open_log(directory, &files)?;
    let events = decode(directory, &opened)?;
    let (signatures, mut bad) = check_signatures(&events);
    let path = directory.join(checkpoint::FILE);
    let lines =
        checkpoint::read(directory).map_err(|source| EventsError::Checkpoints { path, source })?;
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

fn read(directory: &Path) -> Result<Files, EventsError> {
    if files::is_in_use(directory)? {
        return Err(EventsError::InUse(directory.to_path_buf()));
    }
    let files = files::read(directory)?;
    Ok(files)
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
pub fn stats(directory: &Path) -> Result<Stats, EventsError> {
    let files = read(directory)?;
    let replayed = fold(directory, &open_log(directory, &files)?)?;
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
pub fn export(directory: &Path, out: &mut dyn Write) -> Result<u64, EventsError> {
    let files = read(directory)?;
    Ok(export::export(&open_log(directory, &files)?, out)?)
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
    let path = || directory.to_path_buf();
    Replayed::of(opened, &mut |_| {})
        .map_err(|source| EventsError::Unknown { path: path(), source })
}

fn decode(directory: &Path, opened: &log::Opened<'_>) -> Result<Events, EventsError> {
    let path = || directory.to_path_buf();
    recorded(opened).map_err(|source| EventsError::Unknown { path: path(), source })
}
