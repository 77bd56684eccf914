//! Events in a batch's payload: a time, then the fact, one after another.
//!
//! The header of a batch carries the time of its first event; every event is preceded by the milliseconds since the one before it
//! (one byte, as a rule), so that replay applies each event at exactly the time at which it was decided.

use alloc::vec::Vec;

use super::BatchRef;
use crate::event::{Event, Recorded};
use crate::types::{Lsn, Timestamp};

/// Events on their way into a batch.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    bytes: Vec<u8>,
    count: u32,
    first_at: Timestamp,
    last_at: Timestamp,
}

/// A batch of our own log does not decode although its chain hash holds: another version wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {lsn} is not an event that this version knows; run the version that wrote it, or a newer one"
)]
pub struct UnknownEvent {
    /// The record.
    pub lsn: Lsn,
}

impl Payload {
    /// Adds one event, decided at `at`. Times never go back.
    pub fn push(&mut self, at: Timestamp, event: &Event) {
        if self.count == 0 {
            (self.first_at, self.last_at) = (at, at);
            self.bytes.reserve(USUAL_BYTES);
        }
        assert!(at >= self.last_at, "time went back from {:?} to {at:?}", self.last_at);
        let record = (at.since_ms(self.last_at), event);
        match postcard::to_extend(&record, core::mem::take(&mut self.bytes)) {
            Ok(bytes) => self.bytes = bytes,
            // Going on would forget what stands in the batch already: our own bug, and the one that loses signatures.
            Err(error) => panic!("{} does not serialize: {error}", event.name()),
        }
        self.last_at = at;
        self.count += 1;
    }

    /// Number of events.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Time of the first event, count and bytes, leaving nothing.
    pub fn take(&mut self) -> (Timestamp, u32, Vec<u8>) {
        let taken = core::mem::take(self);
        (taken.first_at, taken.count, taken.bytes)
    }
}

/// Most batches hold a signed state and a few small facts.
const USUAL_BYTES: usize = 1024;

/// The events of one batch with their times.
///
/// # Errors
/// [`UnknownEvent`]: the caller refuses the log and names the record.
pub fn events<'a>(
    batch: &BatchRef<'a>,
) -> impl Iterator<Item = Result<(Timestamp, Recorded), UnknownEvent>> + use<'a> {
    let (mut rest, mut at, mut lsn) = (batch.payload, batch.time, batch.first);
    let (mut left, mut failed) = (batch.count, false);
    core::iter::from_fn(move || {
        if failed || left == 0 && rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes::<(u64, Event)>(rest) {
            Ok(((pause, event), tail)) if left > 0 => {
                let recorded = Recorded { lsn, event };
                (rest, at, lsn, left) = (tail, at.after_ms(pause), lsn.advance(1), left - 1);
                Some(Ok((at, recorded)))
            }
            Ok(_) | Err(_) => {
                failed = true;
                Some(Err(UnknownEvent { lsn }))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Batch, ChainHash};

    fn batch(payload: Vec<u8>, count: u32) -> Batch {
        Batch { first: Lsn(5), count, time: Timestamp(100), payload }
    }

    fn read(batch: &Batch) -> Result<Vec<(Timestamp, Recorded)>, UnknownEvent> {
        let Batch { first, count, time, payload } = batch;
        let batch = BatchRef {
            first: *first,
            count: *count,
            time: *time,
            payload,
            chain: ChainHash::GENESIS,
        };
        events(&batch).collect()
    }

    #[test]
    fn events_come_back_with_their_times() {
        let mut payload = Payload::default();
        payload.push(Timestamp(100), &Event::RecoveryEnded);
        payload.push(Timestamp(107), &Event::RecoveryEnded);
        let (time, count, bytes) = payload.take();
        assert_eq!((time, count), (Timestamp(100), 2));
        let read = read(&batch(bytes, count)).unwrap();
        let places: Vec<_> = read.iter().map(|(at, r)| (at.0, r.lsn.0)).collect();
        assert_eq!(places, [(100, 5), (107, 6)]);
    }

    #[test]
    fn an_unknown_event_is_named() {
        let mut payload = Payload::default();
        payload.push(Timestamp(100), &Event::RecoveryEnded);
        let (_, _, mut bytes) = payload.take();
        bytes.extend([0, 99]);
        assert_eq!(read(&batch(bytes.clone(), 2)), Err(UnknownEvent { lsn: Lsn(6) }));
        assert_eq!(
            read(&batch(bytes, 1)),
            Err(UnknownEvent { lsn: Lsn(6) }),
            "more bytes than events"
        );
    }
}
