//! Opening a log after any end of the process before: what is read, mended, cut, doubted or refused.
//!
//! The rule: a batch that was synced may have been acted upon and must not be dropped; one that was not may be. The table of all
//! cases with the reasons is `docs/adr/0001-log-last-batch.md`.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::file::{At, FileName, FileRepair, Slot};
use super::frame::{BatchRef, ChainHash, FORMAT_VERSION, FRAME_BYTES_MAX, Flaw, PREAMBLE_BYTES};
use super::frame::{end_by_header, find_header};
use super::repair::mend;
use super::tail::LogTail;
use super::walk::{Files, Mirror, Walk};
use crate::types::Lsn;

/// A log that can be replayed and continued.
///
/// Usage: execute `repair` step by step, then replay `batches`, then append to `tail`. Nothing may be appended or released
/// before the whole repair is done: it also makes durable what so far stood only in the system's page cache.
#[derive(Clone, Debug)]
pub struct Opened<'a> {
    /// Every batch, in order.
    pub batches: Vec<BatchRef<'a>>,
    /// Where the next batch goes, once the repair is done.
    pub tail: LogTail,
    /// What to do to the files first, in this order. A failure is fatal, as ever.
    pub repair: Vec<FileRepair>,
    /// Set when the node may have forgotten something that it signed. It then signs nothing new.
    pub doubt: Option<Doubt>,
    /// What was found and mended, for the operator's log.
    pub findings: Vec<Finding>,
}

/// Why this node may have forgotten something that it signed.
///
/// It stands in the file `doubt`, across restarts, until [`doubt_cleared`](super::doubt_cleared) is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The last batch was damaged and cut, and no mirror showed that it had never been synced.
    #[error(
        "{}: {bytes} bytes were cut, and no mirror shows that they had not been synced; \
         sign nothing new until peers and chain show that nothing newer exists", At(*file, *offset, *lsn)
    )]
    Unvouched {
        /// The segment that was cut.
        file: FileName,
        /// Its length now.
        offset: u64,
        /// The first position that is gone.
        lsn: Lsn,
        /// How many bytes were cut.
        bytes: u64,
    },
    /// The file `doubt` is there: from an earlier opening, or put there when a backup was restored.
    #[error(
        "the file doubt is there; sign nothing new until peers and chain show that nothing newer exists"
    )]
    Standing,
}

/// Something that was found and mended. Worth a line in the operator's log, nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A batch that had never been synced was cut.
    #[error("{}: {bytes} bytes of a torn batch were cut ({flaw})", At(*file, *offset, *lsn))]
    TornTail {
        /// The segment that was cut.
        file: FileName,
        /// Its length now.
        offset: u64,
        /// The position that the torn batch would have had.
        lsn: Lsn,
        /// How many bytes were cut.
        bytes: u64,
        /// What was wrong with it.
        flaw: Flaw,
    },
    /// The segment's copy of a batch was no good, and the mirror's took its place.
    #[error("{}: taken from {}", At(*file, *offset, *lsn), FileName::Mirror(*mirror))]
    Adopted {
        /// The segment that was mended.
        file: FileName,
        /// Where.
        offset: u64,
        /// The batch's first position.
        lsn: Lsn,
        /// Where the good copy was.
        mirror: Slot,
    },
    /// A mirror held no whole batch. After a crash that is common; otherwise the disk deserves a look.
    #[error("{} holds no whole batch: {flaw}", FileName::Mirror(*mirror))]
    BadMirror {
        /// Which one.
        mirror: Slot,
        /// What was wrong with it.
        flaw: Flaw,
    },
}

/// Where reading starts: everything before it was archived below a verified snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The first segment that is read.
    pub segment: u32,
    /// The position of its first event.
    pub next: Lsn,
    /// The chain hash before it.
    pub head: ChainHash,
}

impl Base {
    /// The very beginning.
    pub const GENESIS: Base = Base { segment: 1, next: Lsn(1), head: ChainHash::GENESIS };

    /// The position of the last event before it.
    pub fn end(&self) -> Lsn {
        Lsn(self.next.0.saturating_sub(1))
    }
}

/// Why a log is not opened. Every case names file, byte and record, and the files stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A record that had been synced cannot be read.
    #[error(
        "{}: {flaw}, but {evidence}, so it had been synced; restore this file from another copy or all log files from \
         one backup, and never cut it: signatures made after this record would be forgotten", At(*file, *offset, *lsn)
    )]
    Lost {
        /// The segment.
        file: FileName,
        /// The byte where the record starts.
        offset: u64,
        /// The record's first position.
        lsn: Lsn,
        /// What is wrong there.
        flaw: Flaw,
        /// Why we know that something was there.
        evidence: Evidence,
    },
    /// A mirror and the segments hold different histories.
    #[error(
        "{}: it does not belong to the history in the segments; files of two logs or two times are mixed, \
         restore all log files from one copy", At(*file, *offset, *lsn)
    )]
    Conflict {
        /// The mirror.
        file: FileName,
        /// The byte where its record starts.
        offset: u64,
        /// The position that it states.
        lsn: Lsn,
    },
    /// Written by a later version of this program.
    #[error(
        "{}: format version {version} is newer than {FORMAT_VERSION}; start the version of this program that wrote it",
        At(*file, *offset, *lsn)
    )]
    NewerFormat {
        /// The file.
        file: FileName,
        /// The byte where the record starts.
        offset: u64,
        /// The record's position.
        lsn: Lsn,
        /// The version found.
        version: u16,
    },
}

/// How we know that a record which cannot be read had been synced: something was written after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Evidence {
    /// A mirror holds a later batch.
    #[error("{} holds record {lsn}", FileName::Mirror(*mirror))]
    LaterInMirror {
        /// Which mirror.
        mirror: Slot,
        /// The position of its batch.
        lsn: Lsn,
    },
    /// There is a later segment.
    #[error("{file} exists")]
    LaterSegment {
        /// The last segment.
        file: FileName,
    },
    /// A whole header stands behind it in the same file.
    #[error("record {lsn} stands behind it at byte {offset}")]
    LaterInFile {
        /// Where.
        offset: u64,
        /// The position that the header states.
        lsn: Lsn,
    },
    /// The file is longer than one batch that was not synced can make it.
    #[error("{bytes} bytes stand behind it")]
    LaterBytes {
        /// How many bytes too many.
        bytes: u64,
    },
}

/// Opens a log from its beginning.
///
/// # Errors
/// [`OpenError`]: the node must not start; the message says what to do.
pub fn open(files: &Files) -> Result<Opened<'_>, OpenError> {
    open_from(files, Base::GENESIS)
}

/// Opens a log whose segments below `base.segment` are archived.
///
/// # Errors
/// As [`open`].
pub fn open_from(files: &Files, base: Base) -> Result<Opened<'_>, OpenError> {
    open_planted(files, base, Planted::default())
}

/// Planted bugs of the reader; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted {
    /// Takes the end for torn, whatever stands there.
    pub cut_last: bool,
    /// Checks the chain hash of the last batch alone.
    pub unchecked: bool,
}

/// [`open_from`] with a planted bug.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_planted(
    files: &Files,
    base: Base,
    planted: Planted,
) -> Result<Opened<'_>, OpenError> {
    let (walk, flaw) = Walk::run(files, base, planted);
    let found = Found { walk: &walk, flaw };
    found.check_version()?;
    found.check_mirrors()?;
    let ending = found.judge()?;
    Ok(mend(walk, ending))
}

/// What the place behind the good prefix turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing stands there.
    Clean,
    /// A batch that had never been synced.
    Torn(Flaw),
    /// A damaged batch of which we cannot tell.
    Unvouched,
}

struct Found<'w, 'a> {
    walk: &'w Walk<'a>,
    flaw: Flaw,
}

impl Found<'_, '_> {
    fn check_version(&self) -> Result<(), OpenError> {
        let Walk { segment, next: lsn, .. } = *self.walk;
        if let Flaw::Version { version } = self.flaw {
            let offset = self.walk.frame_offset() as u64;
            return Err(OpenError::NewerFormat {
                file: FileName::Segment(segment),
                offset,
                lsn,
                version,
            });
        }
        for (slot, flaw) in self.walk.bad() {
            if let Flaw::Version { version } = flaw {
                let (file, offset) = (FileName::Mirror(slot), PREAMBLE_BYTES as u64);
                return Err(OpenError::NewerFormat { file, offset, lsn, version });
            }
        }
        Ok(())
    }

    /// A mirror that holds a batch must hold one of the good prefix: the next one would have been adopted.
    fn check_mirrors(&self) -> Result<(), OpenError> {
        for (slot, held) in self.walk.held() {
            let lsn = held.batch.first;
            if lsn > self.walk.next {
                return Err(self.lost(Evidence::LaterInMirror { mirror: slot, lsn }));
            }
            if lsn < self.walk.base.next || self.walk.planted.cut_last && lsn == self.walk.next {
                continue;
            }
            let batches = &self.walk.batches;
            let same = batches
                .binary_search_by_key(&lsn, |batch| batch.first)
                .ok()
                .and_then(|i| batches.get(i))
                .is_some_and(|batch| batch.chain == held.batch.chain);
            if !same {
                let (file, offset) = (FileName::Mirror(slot), PREAMBLE_BYTES as u64);
                return Err(OpenError::Conflict { file, offset, lsn });
            }
        }
        Ok(())
    }

    fn judge(&self) -> Result<Ending, OpenError> {
        let walk = self.walk;
        if walk.is_at_end() {
            return Ok(Ending::Clean);
        }
        if walk.segment < walk.last_segment {
            let file = FileName::Segment(walk.last_segment);
            return Err(self.lost(Evidence::LaterSegment { file }));
        }
        let start = walk.frame_offset();
        let end = end_by_header(walk.bytes, start, &walk.head, walk.next);
        let behind = walk.bytes.len().saturating_sub(end.unwrap_or(start + FRAME_BYTES_MAX));
        if behind > 0 {
            return Err(self.lost(Evidence::LaterBytes { bytes: behind as u64 }));
        }
        if self.is_vouched() {
            return Ok(Ending::Torn(self.flaw));
        }
        // No mirror helps, so anything that looks like a record counts as one. Where a mirror does vouch, this must not be
        // asked: a peer's message inside a torn batch may well contain bytes that look like a record.
        if let Some((offset, lsn)) = find_header(walk.bytes, start + 1) {
            return Err(self.lost(Evidence::LaterInFile { offset: offset as u64, lsn }));
        }
        Ok(Ending::Unvouched)
    }

    /// Whether the mirrors prove that the batch behind the good prefix is the last that was ever begun.
    ///
    /// The batch after next overwrites the mirror of the last good one. While that is still there, either nothing but the
    /// damaged batch was begun, or the damaged batch was synced and its own mirror is damaged as well: two faults.
    fn is_vouched(&self) -> bool {
        let walk = self.walk;
        if walk.next == Base::GENESIS.next {
            // The first batch of all uses mirror 0; mirror 1 is first written by the second.
            return matches!(walk.mirrors[Slot::One as usize], Mirror::Bad(Flaw::Missing));
        }
        walk.held().any(|(_, held)| held.batch.chain == walk.head)
    }

    fn lost(&self, evidence: Evidence) -> OpenError {
        OpenError::Lost {
            file: FileName::Segment(self.walk.segment),
            offset: self.walk.offset as u64,
            lsn: self.walk.next,
            flaw: self.flaw,
            evidence,
        }
    }
}
