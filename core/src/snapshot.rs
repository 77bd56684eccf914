//! The state at one position of the log, so that a start need not fold what lies before it.
//!
//! A snapshot is never the truth: it is what the log came to, it can be thrown away at any time, and a start without one gives the same
//! node. It is believed only where it belongs to this very log: its bytes hash to their checksum, and the log's own hash chain passes
//! through the place that the snapshot names.
//!
//! ```text
//! snapshot   "fairway snapshot" | version (2, little endian) | postcard of Contents | BLAKE3 over all before (32)
//! ```
//!
//! The version covers the layout of [`NodeState`]: whoever changes that raises it, and `corpus/snapshot/` keeps an example of each. A
//! snapshot of another version is no use, and the log is folded from its beginning, or from an older snapshot.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::log::{Base, ChainHash, Opened};
use crate::machine::{NodeState, Tally};
use crate::types::{Lsn, Timestamp};

/// What this program writes, and the only version that it reads.
pub const SNAPSHOT_VERSION: u16 = 2;

/// The state after one batch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Contents);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Contents {
    /// The beginning of the segment in which the log went on.
    base: Base,
    /// The last event that is in it.
    end: Lsn,
    /// Not before that was decided.
    at: Timestamp,
    /// The chain hash after it.
    head: ChainHash,
    state: NodeState,
    /// What the events up to `end` amount to: from the state alone that cannot be told.
    tally: Tally,
}

/// Why a snapshot is no use. One that cannot be read can be passed over: another one, or the log alone, serves as well. One that can be read
/// and does not fit its log must not be: the log lost records, or is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot, or rotten.
    #[error("it is damaged: its checksum does not hold")]
    Damaged,
    /// Written by another version of this program.
    #[error("its version is {found}, this program reads {SNAPSHOT_VERSION}")]
    Version {
        /// As it says.
        found: u16,
    },
    /// Of another log.
    #[error(
        "the log is another one at record {end}: its chain hash is {log}, the snapshot says {snapshot}"
    )]
    Foreign {
        /// Where the snapshot was taken.
        end: Lsn,
        /// In the log.
        log: ChainHash,
        /// In the snapshot.
        snapshot: ChainHash,
    },
    /// The log ends before the snapshot, which was taken of a synced log: records are lost.
    #[error(
        "the log ends at record {log}, and record {snapshot} had been synced when the snapshot was taken; restore all log \
         files from one backup: a node without these records would have forgotten signatures"
    )]
    Ahead {
        /// The log's last record.
        log: Lsn,
        /// The snapshot's.
        snapshot: Lsn,
    },
}

impl Snapshot {
    /// Of a state that the log gave at `end`, where its chain hash is `head`, in the segment that begins at `base`.
    pub(crate) fn new(
        base: Base,
        at: Timestamp,
        head: ChainHash,
        state: NodeState,
        tally: Tally,
    ) -> Snapshot {
        Snapshot(Contents { base, end: state.lsn(), at, head, state, tally })
    }

    /// Where reading the log must start.
    pub fn base(&self) -> Base {
        self.0.base
    }

    /// The last event that is in it.
    pub fn end(&self) -> Lsn {
        self.0.end
    }

    /// The log's chain hash after that event.
    pub fn head(&self) -> ChainHash {
        self.0.head
    }

    /// The state. Believed by nobody before [`Snapshot::check`].
    pub fn state(&self) -> &NodeState {
        &self.0.state
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(SNAPSHOT_VERSION.to_le_bytes());
        let mut bytes = match postcard::to_extend(&self.0, bytes) {
            Ok(bytes) => bytes,
            Err(error) => panic!("the state does not serialize: {error}"),
        };
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        bytes
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`], [`SnapshotError::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
        let damaged = SnapshotError::Damaged;
        let (body, checksum) = bytes.split_last_chunk::<32>().ok_or(damaged)?;
        if blake3::hash(body) != blake3::Hash::from_bytes(*checksum) {
            return Err(damaged);
        }
        let rest = body.strip_prefix(MAGIC).ok_or(damaged)?;
        let (version, contents) = rest.split_first_chunk::<2>().ok_or(damaged)?;
        let found = u16::from_le_bytes(*version);
        if found != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { found });
        }
        postcard::from_bytes(contents).map(Snapshot).map_err(|_| damaged)
    }

    /// Whether the log, opened from [`Snapshot::base`], passes through this snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Foreign`], [`SnapshotError::Ahead`].
    pub fn check(&self, log: &Opened<'_>) -> Result<(), SnapshotError> {
        let Contents { base, end, head, .. } = &self.0;
        if log.tail.end() < *end {
            return Err(SnapshotError::Ahead { log: log.tail.end(), snapshot: *end });
        }
        let at = log.batches.partition_point(|batch| batch.last() <= *end);
        let before = at.checked_sub(1).and_then(|at| log.batches.get(at));
        let (last, found) = before.map_or((base.end(), base.head), |b| (b.last(), b.chain));
        if last != *end || found != *head {
            return Err(SnapshotError::Foreign { end: *end, log: found, snapshot: *head });
        }
        Ok(())
    }

    /// The state, when its last event was decided, and what the events amount to.
    pub(crate) fn into_parts(self) -> (NodeState, Timestamp, Tally) {
        (self.0.state, self.0.at, self.0.tally)
    }
}

const MAGIC: &[u8] = b"fairway snapshot";
