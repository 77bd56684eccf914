//! One batch as bytes: header, payload, chain hash.
//!
//! ```text
//!  0  magic        4   "FwLg"
//!  4  version      2   FORMAT_VERSION            all numbers little-endian
//!  6  reserved     2   zero
//!  8  length       4   payload bytes, at most BATCH_BYTES_MAX
//! 12  count        4   events in the payload, at least 1
//! 16  first        8   lsn of the first event
//! 24  time         8   milliseconds since the Unix epoch, the node's own clock
//! 32  prev         8   first bytes of the chain hash before this batch
//! 40  check        8   first bytes of BLAKE3(header[0..40])
//! 48  payload      length
//!     chain       32   BLAKE3(chain hash before || header || payload)
//! ```
//!
//! The check tells a rotten length from a short file: where it holds, the place of the next frame is known. `prev` binds the
//! header to its place in this log, so a whole header of an older or foreign log is told from a damaged one.
//! The first 8 bytes and the place of the check stay the same in every version.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{Lsn, Timestamp};

/// Version of the layout above, in every header.
pub const FORMAT_VERSION: u16 = 1;
/// Length of a frame's header.
pub const HEADER_BYTES: usize = 48;
/// What a frame adds to its payload: header and chain hash.
pub const FRAME_OVERHEAD_BYTES: usize = HEADER_BYTES + CHAIN_BYTES;
/// The chain hash that stands before the first frame of a segment or mirror.
pub const PREAMBLE_BYTES: usize = CHAIN_BYTES;
/// Largest payload of a batch. A batch is hashed, written twice and synced as a whole, so this bounds one sync's work;
/// it is far above what one input can cause (a peer's message is limited to less).
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Largest frame.
pub const FRAME_BYTES_MAX: usize = BATCH_BYTES_MAX + FRAME_OVERHEAD_BYTES;

const CHAIN_BYTES: usize = 32;
const CHECK_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"FwLg";

const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(HEADER_BYTES == 4 + 2 + 2 + 4 + 4 + 8 + 8 + 8 + CHECK_BYTES);

/// Events that become durable together: after a crash all of them are there or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Position of the first event.
    pub first: Lsn,
    /// Number of events, at least 1.
    pub count: u32,
    /// When the batch was decided, by the node's own clock.
    pub time: Timestamp,
    /// The events in their compact encoding; opaque here.
    pub payload: Vec<u8>,
}

/// A batch that was read back and whose chain hash was checked; its payload is borrowed from the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRef<'a> {
    /// Position of the first event.
    pub first: Lsn,
    /// Number of events, at least 1.
    pub count: u32,
    /// When the batch was decided, by the node's own clock.
    pub time: Timestamp,
    /// The events in their compact encoding; opaque here.
    pub payload: &'a [u8],
    /// The chain hash after this batch.
    pub chain: ChainHash,
}

impl BatchRef<'_> {
    /// The same batch with a payload of its own.
    pub fn to_batch(&self) -> Batch {
        Batch {
            first: self.first,
            count: self.count,
            time: self.time,
            payload: self.payload.to_vec(),
        }
    }

    /// Position of the last event.
    pub fn last(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(u64::from(self.count)).saturating_sub(1))
    }

    /// Bytes of the batch in a segment.
    pub(super) fn frame_bytes(&self) -> usize {
        self.payload.len() + FRAME_OVERHEAD_BYTES
    }
}

/// The hash over everything in the log up to some batch. Equal hashes mean equal logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Before the first batch.
    pub const GENESIS: ChainHash = ChainHash([0; 32]);

    fn binding(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why the bytes at some place are not the batch that belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing stands there: the file is missing, empty, or ends.
    #[error("nothing is there")]
    Missing,
    /// The file's first 32 bytes are not the chain hash before its first batch.
    #[error("the file does not start with the chain hash before it")]
    Preamble,
    /// Fewer bytes than a header.
    #[error("{bytes} bytes are less than a header")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// No header: wrong magic or wrong check. Zero-filled space looks like this.
    #[error("the header's checksum does not match")]
    Header,
    /// A whole header of a format that this program does not know.
    #[error("the format version is {version}, and this program knows {FORMAT_VERSION}")]
    Version {
        /// The version in the header.
        version: u16,
    },
    /// A whole header with numbers that no writer produces.
    #[error("the header says {length} bytes and {count} events, beyond the limits")]
    Limits {
        /// The payload bytes that it states.
        length: u32,
        /// The number of events that it states.
        count: u32,
    },
    /// A whole header of another place or another log.
    #[error("the header is of record {first} or of another log")]
    Foreign {
        /// The position that it states.
        first: Lsn,
    },
    /// The header is whole, and the file ends before the frame does.
    #[error("the file ends {missing} bytes before the batch does")]
    Cut {
        /// How many bytes are missing.
        missing: usize,
    },
    /// The header is whole, and payload or chain hash are not what was written.
    #[error("the chain hash does not match")]
    Chain,
}

/// `prev`, the chain hash before it, and the frame of `batch` behind it: a mirror, or the start of a segment. Also the chain hash
/// after it. It is one slice that is hashed, as in [`read`].
///
/// # Panics
/// When the batch is empty or its payload exceeds [`BATCH_BYTES_MAX`]: the driver's own bug.
pub(super) fn encode_mirror(batch: &Batch, prev: ChainHash) -> (Vec<u8>, ChainHash) {
    assert!(batch.count > 0, "a batch has at least one event");
    let length = batch.payload.len();
    assert!(length <= BATCH_BYTES_MAX, "payload of {length} bytes exceeds {BATCH_BYTES_MAX}");

    let mut bytes = Vec::with_capacity(PREAMBLE_BYTES + length + FRAME_OVERHEAD_BYTES);
    bytes.extend_from_slice(&prev.0);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes.extend_from_slice(&batch.count.to_le_bytes());
    bytes.extend_from_slice(&batch.first.0.to_le_bytes());
    bytes.extend_from_slice(&batch.time.0.to_le_bytes());
    bytes.extend_from_slice(&prev.binding());
    let seal = check(&bytes[PREAMBLE_BYTES..]);
    bytes.extend_from_slice(&seal);
    bytes.extend_from_slice(&batch.payload);
    let chain = ChainHash(*blake3::hash(&bytes).as_bytes());
    bytes.extend_from_slice(&chain.0);
    (bytes, chain)
}

/// The batch at `offset`, which must start at `next` and follow `head`.
///
/// # Errors
/// The first [`Flaw`] found, from the header to the chain hash.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    offset: usize,
    head: &ChainHash,
    next: Lsn,
) -> Result<BatchRef<'a>, Flaw> {
    let (batch, stored) = read_unproven(bytes, offset, head, next)?;
    if batch.chain != stored {
        return Err(Flaw::Chain);
    }
    Ok(batch)
}

/// The same whatever its chain hash is, with the one that is stored.
///
/// # Danger
/// What comes of this was perhaps never written.
pub(super) fn read_unproven<'a>(
    bytes: &'a [u8],
    offset: usize,
    head: &ChainHash,
    next: Lsn,
) -> Result<(BatchRef<'a>, ChainHash), Flaw> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let header = Header::read(rest)?;
    if header.first != next || header.prev != head.binding() {
        return Err(Flaw::Foreign { first: header.first });
    }
    let hashed_bytes = HEADER_BYTES + header.length as usize;
    let frame_bytes = hashed_bytes + CHAIN_BYTES;
    let missing = Flaw::Cut { missing: frame_bytes.saturating_sub(rest.len()) };
    let hashed = rest.get(..hashed_bytes).ok_or(missing)?;
    let payload = hashed.get(HEADER_BYTES..).ok_or(missing)?;
    let stored = rest.get(hashed_bytes..).and_then(|r| r.first_chunk()).ok_or(missing)?;

    // The chain hash before stands right in front of a frame, so one contiguous slice is hashed: twice as fast for
    // short batches as feeding the two parts. Not so behind a frame that is being mended.
    let in_front = offset.checked_sub(CHAIN_BYTES).and_then(|from| bytes.get(from..offset));
    let chain = if in_front == Some(&head.0[..]) {
        let whole = bytes.get(offset - CHAIN_BYTES..offset + hashed_bytes).ok_or(missing)?;
        ChainHash(*blake3::hash(whole).as_bytes())
    } else {
        chain(head, hashed)
    };
    let Header { first, count, time, .. } = header;
    Ok((BatchRef { first, count, time, payload, chain }, ChainHash(*stored)))
}

/// The single batch of a mirror with the chain hash before it, whatever its place in the log is.
///
/// # Errors
/// The first [`Flaw`] found. Bytes behind the frame are an older, longer batch's and are not looked at.
pub fn read_mirror(bytes: &[u8]) -> Result<(ChainHash, BatchRef<'_>), Flaw> {
    if bytes.is_empty() {
        return Err(Flaw::Missing);
    }
    let (prev, rest) = bytes.split_first_chunk().ok_or(Flaw::Short { bytes: bytes.len() })?;
    let prev = ChainHash(*prev);
    let header = Header::read(rest)?;
    read(bytes, PREAMBLE_BYTES, &prev, header.first).map(|batch| (prev, batch))
}

/// Where the frame at `offset` ends if its header is whole and belongs there, even if the rest does not.
pub(super) fn end_by_header(
    bytes: &[u8],
    offset: usize,
    head: &ChainHash,
    next: Lsn,
) -> Option<usize> {
    let header = Header::read(bytes.get(offset..)?).ok()?;
    let belongs = header.first == next && header.prev == head.binding();
    belongs.then(|| offset + header.length as usize + FRAME_OVERHEAD_BYTES)
}

/// The first place from `from` on where a whole header stands, and the position that it states.
pub(super) fn find_header(bytes: &[u8], from: usize) -> Option<(usize, Lsn)> {
    let rest = bytes.get(from..)?;
    rest.windows(HEADER_BYTES)
        .enumerate()
        .filter(|(_, window)| window.starts_with(&MAGIC))
        .find_map(|(i, window)| Header::read(window).ok().map(|header| (from + i, header.first)))
}

struct Header {
    length: u32,
    count: u32,
    first: Lsn,
    time: Timestamp,
    prev: [u8; 8],
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, Flaw> {
        let short = Flaw::Short { bytes: bytes.len() };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        let (checked, stored) = header.split_last_chunk::<CHECK_BYTES>().ok_or(short)?;
        if !checked.starts_with(&MAGIC) || check(checked) != *stored {
            return Err(Flaw::Header);
        }
        let mut fields = Fields(checked);
        let _magic: [u8; 4] = fields.take().ok_or(short)?;
        let version = fields.take().map(u16::from_le_bytes).ok_or(short)?;
        if version != FORMAT_VERSION {
            return Err(Flaw::Version { version });
        }
        let reserved: [u8; 2] = fields.take().ok_or(short)?;
        let length = fields.take().map(u32::from_le_bytes).ok_or(short)?;
        let count = fields.take().map(u32::from_le_bytes).ok_or(short)?;
        let first = Lsn(fields.take().map(u64::from_le_bytes).ok_or(short)?);
        let time = Timestamp(fields.take().map(u64::from_le_bytes).ok_or(short)?);
        let prev = fields.take().ok_or(short)?;
        let ends = first.0.checked_add(u64::from(count)).is_some();
        if length as usize > BATCH_BYTES_MAX || count == 0 || !ends || reserved != [0; 2] {
            return Err(Flaw::Limits { length, count });
        }
        Ok(Header { length, count, first, time, prev })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

fn check(header: &[u8]) -> [u8; CHECK_BYTES] {
    ChainHash(*blake3::hash(header).as_bytes()).binding()
}

fn chain(prev: &ChainHash, header_and_payload: &[u8]) -> ChainHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&prev.0);
    hasher.update(header_and_payload);
    ChainHash(*hasher.finalize().as_bytes())
}

/// The frame alone.
#[cfg(test)]
pub(super) fn encode(batch: &Batch, prev: ChainHash) -> (Vec<u8>, ChainHash) {
    let (mut bytes, chain) = encode_mirror(batch, prev);
    bytes.drain(..PREAMBLE_BYTES);
    (bytes, chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn batch(payload: &[u8]) -> Batch {
        Batch {
            first: Lsn(5),
            count: 2,
            time: Timestamp(1_700_000_000_123),
            payload: payload.to_vec(),
        }
    }

    const HEAD: ChainHash = ChainHash([7; 32]);

    /// A frame whose header was changed and given a correct check again.
    fn resealed(change: impl Fn(&mut [u8])) -> Vec<u8> {
        let (mut bytes, _) = encode(&batch(b"abc"), HEAD);
        change(&mut bytes);
        let seal = check(&bytes[..40]);
        bytes[40..48].copy_from_slice(&seal);
        bytes
    }

    #[test]
    fn each_flaw_is_named() {
        let (good, _) = encode(&batch(b"abc"), HEAD);
        let mut rotten_payload = good.clone();
        rotten_payload[HEADER_BYTES] ^= 1;
        let mut rotten_length = good.clone();
        rotten_length[8] ^= 1;
        let foreign = Flaw::Foreign { first: Lsn(6) };
        for (name, bytes, flaw) in [
            ("an empty place", vec![], Flaw::Short { bytes: 0 }),
            ("half a header", good[..20].to_vec(), Flaw::Short { bytes: 20 }),
            ("zeros", vec![0; 100], Flaw::Header),
            ("a rotten length", rotten_length, Flaw::Header),
            ("a later format", resealed(|b| b[4] = 9), Flaw::Version { version: 9 }),
            ("no events", resealed(|b| b[12] = 0), Flaw::Limits { length: 3, count: 0 }),
            ("too long", resealed(|b| b[11] = 1), Flaw::Limits { length: 3 + (1 << 24), count: 2 }),
            ("reserved bits", resealed(|b| b[6] = 1), Flaw::Limits { length: 3, count: 2 }),
            (
                "the last lsn",
                resealed(|b| b[16..24].fill(255)),
                Flaw::Limits { length: 3, count: 2 },
            ),
            ("another position", resealed(|b| b[16] = 6), foreign),
            ("another log", resealed(|b| b[32] ^= 1), Flaw::Foreign { first: Lsn(5) }),
            ("a cut payload", good[..50].to_vec(), Flaw::Cut { missing: 33 }),
            ("a cut chain hash", good[..good.len() - 1].to_vec(), Flaw::Cut { missing: 1 }),
            ("a rotten payload", rotten_payload, Flaw::Chain),
        ] {
            assert_eq!(read(&bytes, 0, &HEAD, Lsn(5)), Err(flaw), "{name}");
        }
    }

    #[test]
    fn the_largest_payload_fits() {
        let (bytes, chain) = encode(&batch(&vec![1; BATCH_BYTES_MAX]), HEAD);
        assert_eq!(bytes.len(), FRAME_BYTES_MAX);
        assert_eq!(read(&bytes, 0, &HEAD, Lsn(5)).map(|b| b.chain), Ok(chain));
    }

    #[test]
    #[should_panic(expected = "exceeds")]
    fn one_byte_more_is_our_own_bug() {
        encode(&batch(&vec![1; BATCH_BYTES_MAX + 1]), HEAD);
    }

    #[test]
    #[should_panic(expected = "at least one event")]
    fn an_empty_batch_is_our_own_bug() {
        encode(&Batch { count: 0, ..batch(b"") }, HEAD);
    }

    proptest! {
        #[test]
        fn a_batch_reads_back(
            payload in proptest::collection::vec(any::<u8>(), 0..3000),
            first in 1u64..1 << 60,
            count in 1u32..,
            time: u64,
            prev: [u8; 32],
            in_front: bool,
        ) {
            let batch = Batch { first: Lsn(first), count, time: Timestamp(time), payload };
            let prev = ChainHash(prev);
            let (frame, chain) = encode(&batch, prev);
            let lead = if in_front { prev.0.to_vec() } else { vec![3; 32] };
            let bytes = [lead, frame].concat();
            let read = read(&bytes, 32, &prev, batch.first).unwrap();
            prop_assert_eq!(read.to_batch(), batch);
            prop_assert_eq!(read.chain, chain);
        }

        #[test]
        fn any_changed_bit_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            at: proptest::sample::Index,
            bit in 0u8..8,
        ) {
            let (mut bytes, _) = encode(&batch(&payload), HEAD);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes, 0, &HEAD, Lsn(5)).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            offset in 0usize..300,
        ) {
            let _ = read(&bytes, offset, &HEAD, Lsn(5));
            let _ = read_mirror(&bytes);
            let _ = find_header(&bytes, offset);
            let _ = end_by_header(&bytes, offset, &HEAD, Lsn(5));
        }
    }
}
