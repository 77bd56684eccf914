//! The writer's position in the log: where the next batch goes, as a value.
//!
//! It only says what to write and what to sync; the driver does both, in that order, before it releases anything.

use alloc::vec;
use alloc::vec::Vec;

use super::file::{FileName, FileWrite, Slot, SyncSet};
use super::frame::{Batch, ChainHash, FRAME_BYTES_MAX, PREAMBLE_BYTES, encode_mirror};
use super::open::Base;
use crate::types::{Lsn, Timestamp};

/// Largest segment. Bounds what is re-read for one archived part; a new one costs one directory sync.
pub const SEGMENT_BYTES: u64 = 64 << 20;

const _: () = assert!((PREAMBLE_BYTES + FRAME_BYTES_MAX) as u64 <= SEGMENT_BYTES);

/// Where the next batch goes.
///
/// Usage: [`LogTail::append`], execute the writes, execute the syncs, [`LogTail::synced`], release; then the next batch.
/// A failed write or sync is fatal: drop the value, stop, and open the log again after a restart.
///
/// Invariant: at most one batch is not yet synced. The reader relies on it: everything before the last batch was synced,
/// and a mirror that holds the last good batch proves that at most one later batch was ever begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTail {
    pub(super) head: ChainHash,
    pub(super) next: Lsn,
    /// Where the current segment begins.
    pub(super) begins: Base,
    pub(super) offset: u64,
    pub(super) slot: Slot,
    pub(super) mirrors_made: [bool; 2],
    pub(super) segment_bytes: u64,
    pub(super) in_flight: bool,
}

/// What one batch costs the disk: write everything, then sync everything, then release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The segment's copy and the mirror's, in any order.
    pub writes: Vec<FileWrite>,
    /// Both files; the directory too when one of them is new.
    pub sync: SyncSet,
    /// The end of the log once this is synced.
    pub end: Lsn,
}

impl LogTail {
    /// The tail of a log that does not exist yet.
    pub fn fresh() -> LogTail {
        LogTail {
            head: ChainHash::GENESIS,
            next: Lsn::ZERO.advance(1),
            begins: Base::GENESIS,
            offset: 0,
            slot: Slot::Zero,
            mirrors_made: [false; 2],
            segment_bytes: SEGMENT_BYTES,
            in_flight: false,
        }
    }

    /// The same tail, starting a new segment before one grows beyond `segment_bytes` (at most [`SEGMENT_BYTES`]). A batch
    /// that is larger than that gets a segment of its own. The reader does not depend on it; small ones suit tests.
    pub fn rolling_at(mut self, segment_bytes: u64) -> LogTail {
        self.segment_bytes = segment_bytes.min(SEGMENT_BYTES);
        self
    }

    /// The chain hash after the last batch.
    pub fn head(&self) -> ChainHash {
        self.head
    }

    /// Where the segment begins that the last batch stands in.
    pub fn begins(&self) -> Base {
        self.begins
    }

    /// Position of the next event.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Position of the last event, [`Lsn::ZERO`] for an empty log.
    pub fn end(&self) -> Lsn {
        Lsn(self.next.0.saturating_sub(1))
    }

    /// Whether a batch was appended and [`LogTail::synced`] not yet called.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Places the next batch.
    ///
    /// # Panics
    /// When a batch is still in flight, `count` is 0, or the payload exceeds [`BATCH_BYTES_MAX`](super::BATCH_BYTES_MAX):
    /// the driver's own bugs.
    ///
    /// # Danger
    /// If anything is released before the whole [`Append::sync`] succeeded, a crash can make the node forget a signature
    /// that a peer holds, and sign a conflicting one: loss of funds.
    pub fn append(&mut self, time: Timestamp, count: u32, payload: Vec<u8>) -> Append {
        assert!(!self.in_flight, "the batch before {} is not synced yet", self.next);
        let prev = self.head;
        let batch = Batch { first: self.next, count, time, payload };
        let (mirror, head) = encode_mirror(&batch, prev);
        let frame = &mirror[PREAMBLE_BYTES..];
        let frame_bytes = frame.len() as u64;
        if self.offset > 0 && self.offset + frame_bytes > self.segment_bytes {
            let segment = self.begins.segment + 1;
            self.begins = Base { segment, next: self.next, head: prev };
            self.offset = 0;
        }

        let segment = FileWrite {
            file: FileName::Segment(self.begins.segment),
            offset: self.offset,
            bytes: if self.offset == 0 { mirror.clone() } else { frame.to_vec() },
        };
        let mirror = FileWrite { file: FileName::Mirror(self.slot), offset: 0, bytes: mirror };
        let made = &mut self.mirrors_made[self.slot as usize];
        let directory = self.offset == 0 || !*made;
        *made = true;

        self.offset += segment.bytes.len() as u64;
        self.head = head;
        self.next = self.next.advance(u64::from(count));
        self.slot = self.slot.other();
        self.in_flight = true;
        assert!(self.offset <= SEGMENT_BYTES, "a segment of {} bytes", self.offset);
        let sync = SyncSet { files: vec![segment.file, mirror.file], directory };
        Append { writes: vec![segment, mirror], sync, end: self.end() }
    }

    /// Notes that everything in the last [`Append::sync`] succeeded, so that `end` is durable.
    ///
    /// # Panics
    /// When no batch is in flight or another one is: the driver's own bug.
    pub fn synced(&mut self, end: Lsn) {
        assert!(self.in_flight, "nothing is in flight");
        assert_eq!(end, self.end(), "another batch is in flight");
        self.in_flight = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testdisk::{TestDisk, append_synced};
    use super::super::{open, open_from};
    use super::*;

    fn append(tail: &mut LogTail, bytes: usize) -> Append {
        let append = tail.append(Timestamp(1), 1, vec![1; bytes]);
        tail.synced(append.end);
        append
    }

    #[test]
    fn consecutive_batches_use_different_mirrors_and_new_files_want_the_directory() {
        let mut tail = LogTail::fresh().rolling_at(400);
        let (first, second) = (append(&mut tail, 100), append(&mut tail, 100));
        assert_eq!(first.sync.files, [FileName::Segment(1), FileName::Mirror(Slot::Zero)]);
        assert_eq!(second.sync.files, [FileName::Segment(1), FileName::Mirror(Slot::One)]);
        assert!(first.sync.directory && second.sync.directory, "each made a file");

        let third = append(&mut tail, 100);
        assert_eq!(third.sync.files, [FileName::Segment(2), FileName::Mirror(Slot::Zero)]);
        assert_eq!(third.writes[0].offset, 0);
        assert!(third.sync.directory, "a new segment");
        assert!(!append(&mut tail, 20).sync.directory, "nothing new");
        assert_eq!(tail.end(), Lsn(4));
    }

    #[test]
    fn a_segment_is_filled_to_the_byte() {
        let exactly = (PREAMBLE_BYTES + 2 * (100 + super::super::FRAME_OVERHEAD_BYTES)) as u64;
        for (limit, segment) in [(exactly, 1), (exactly - 1, 2)] {
            let mut tail = LogTail::fresh().rolling_at(limit);
            append(&mut tail, 100);
            assert_eq!(append(&mut tail, 100).writes[0].file, FileName::Segment(segment));
        }
    }

    /// Goal: reading may begin wherever a segment does. Method: at every batch of a log of many segments, what lies below is taken away.
    #[test]
    fn a_log_opens_from_the_beginning_of_any_segment() {
        let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(400));
        for size in 0..40 {
            append_synced(&mut disk, &mut tail, size, 20 + 7 * size as usize % 150);
            let begins = tail.begins();
            let mut files = disk.now.clone();
            let whole = open(&files).unwrap().tail;
            files.retain(|file, _| !matches!(*file, FileName::Segment(n) if n < begins.segment));
            let opened = open_from(&files, begins).unwrap();
            assert_eq!(opened.tail, whole, "from segment {}", begins.segment);
            assert!(opened.batches.iter().all(|batch| batch.first >= begins.next));
        }
        assert!(tail.begins().segment > 5);
    }

    #[test]
    #[should_panic(expected = "not synced yet")]
    fn a_second_batch_in_flight_is_our_own_bug() {
        let mut tail = LogTail::fresh();
        tail.append(Timestamp(1), 1, vec![]);
        tail.append(Timestamp(1), 1, vec![]);
    }

    #[test]
    #[should_panic(expected = "another batch")]
    fn syncing_another_batch_is_our_own_bug() {
        let mut tail = LogTail::fresh();
        tail.append(Timestamp(1), 1, vec![]);
        tail.synced(Lsn(7));
    }

    #[test]
    #[should_panic(expected = "nothing is in flight")]
    fn syncing_nothing_is_our_own_bug() {
        LogTail::fresh().synced(Lsn(0));
    }
}
