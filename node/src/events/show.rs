//! One event of a log in full, or all of its batch.

use fairway_core::event::Event;
use fairway_core::log::{self, BatchRef, FileName, Files, read_mirror};
use fairway_core::nitro::{Crypto, SignedState};
use fairway_core::types::{Address, ChannelId, Lsn};
use serde::Serialize;

use super::{EventsError, Source, open_log};
use crate::checkpoint::Hex;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The event alone.
    Event,
    /// Every event of its batch: they became durable together.
    Batch,
}

/// Events in full.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The last event of the log.
    pub end: Lsn,
    /// The batch that they stand in.
    pub batch: Batch,
    /// The events, in order.
    pub events: Vec<Full>,
}

/// A batch.
#[derive(Debug, Serialize)]
pub struct Batch {
    /// Its first event.
    pub first: Lsn,
    /// Its last event.
    pub last: Lsn,
    /// Bytes of its events.
    pub bytes: usize,
    /// The log's chain hash after it.
    pub chain: Hex<32>,
    /// The segment that it stands in; `None` where the log has to be mended first.
    pub file: Option<String>,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct Full {
    /// Its position.
    pub lsn: Lsn,
    /// Milliseconds since 1970, by the node's clock.
    pub time_ms: u64,
    /// Its name.
    pub name: &'static str,
    /// The channel that it is about, if it is about one.
    pub channel: Option<ChannelId>,
    /// Whether it waited for something else to force the sync: losing it would have been harmless.
    pub lazy: bool,
    /// Whose signatures it holds, recovered anew; empty where it holds none, or one that does not hold.
    pub signers: Vec<Address>,
    /// The fact.
    pub event: Event,
}

/// The event at `lsn`.
///
/// # Errors
/// [`EventsError`]; [`EventsError::NoSuchEvent`] where the log does not reach that far.
pub fn show(source: &Source, lsn: Lsn, extent: Extent) -> Result<Shown, EventsError> {
    let files = source.read()?;
    let opened = open_log(source.path(), &files)?;
    let end = opened.tail.end();
    let at = opened.batches.partition_point(|batch| batch.last() < lsn);
    let Some(batch) = opened.batches.get(at).filter(|_| lsn > Lsn::ZERO) else {
        return Err(EventsError::NoSuchEvent { path: source.path().to_path_buf(), lsn, end });
    };
    let mut events = Vec::new();
    for event in log::events(batch) {
        let (time, recorded) = event.map_err(EventsError::unknown(source.path()))?;
        if extent == Extent::Batch || recorded.lsn == lsn {
            events.push(Full::of(recorded.lsn, time.0, recorded.event));
        }
    }
    let file = opened.findings.is_empty().then(|| segment_of(&files, batch)).flatten();
    let batch = Batch {
        first: batch.first,
        last: batch.last(),
        bytes: batch.payload.len(),
        chain: Hex(batch.chain.0),
        file: file.map(|name| name.to_string()),
    };
    Ok(Shown { end, batch, events })
}

impl Full {
    fn of(lsn: Lsn, time_ms: u64, event: Event) -> Full {
        Full {
            lsn,
            time_ms,
            name: event.name(),
            channel: event.channel(),
            lazy: event.is_lazy(),
            signers: signers(&event),
            event,
        }
    }
}

fn signers(event: &Event) -> Vec<Address> {
    if let Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } = event {
        return voucher.signer(&mut Crypto::Real).into_iter().collect();
    }
    if let Event::StateSigned { state, .. }
    | Event::StateReceived { state, .. }
    | Event::StatePublished { state } = event
    {
        return of_state(state);
    }
    Vec::new()
}

fn of_state(signed: &SignedState) -> Vec<Address> {
    if signed.recheck(&mut Crypto::Real).is_err() {
        return Vec::new();
    }
    let people = &signed.state().fixed.participants;
    signed.sigs().keys().filter_map(|index| people.get(usize::from(*index)).copied()).collect()
}

/// The segment of a batch: the last one that begins no later.
fn segment_of(files: &Files, batch: &BatchRef<'_>) -> Option<FileName> {
    let begins_before = |(name, bytes): &(&FileName, &Vec<u8>)| {
        matches!(name, FileName::Segment(_))
            && read_mirror(bytes).is_ok_and(|(_, first)| first.first <= batch.first)
    };
    files.iter().rfind(begins_before).map(|(name, _)| *name)
}
