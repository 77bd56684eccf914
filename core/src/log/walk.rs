//! Reading the segments from front to back, mending from the mirrors on the way.
//!
//! The walk only collects; what the place where it stops means is judged in [`super::open`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::file::{FileName, Slot};
use super::frame::{self, BatchRef, ChainHash, Flaw, PREAMBLE_BYTES};
use super::open::{Base, Planted};
use super::tail::SEGMENT_BYTES;
use crate::types::Lsn;

/// The files of a log, as read from the directory.
pub type Files = BTreeMap<FileName, Vec<u8>>;

/// What a mirror's bytes are.
pub(super) enum Mirror<'a> {
    /// A whole batch.
    Held(Held<'a>),
    /// Anything else; [`Flaw::Missing`] for a mirror that is empty or not there.
    Bad(Flaw),
}

/// A batch with the chain hash before it.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub prev: ChainHash,
    pub batch: BatchRef<'a>,
}

/// A batch and the place of its bytes in the segments. `offset` 0 means the preamble and the frame.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub held: Held<'a>,
    pub segment: u32,
    pub offset: usize,
    /// The mirror that it was taken from, if the segment's copy was no good.
    pub adopted: Option<Slot>,
}

/// The good prefix, and the position behind it.
pub(super) struct Walk<'a> {
    pub files: &'a Files,
    pub mirrors: [Mirror<'a>; 2],
    pub base: Base,
    pub batches: Vec<BatchRef<'a>>,
    pub last: Option<Placed<'a>>,
    pub adopted: Vec<Placed<'a>>,
    pub head: ChainHash,
    pub next: Lsn,
    pub segment: u32,
    /// Where `segment` begins.
    pub begins: Base,
    pub offset: usize,
    /// All bytes of `segment`.
    pub bytes: &'a [u8],
    /// The segment with the highest number.
    pub last_segment: u32,
    pub planted: Planted,
}

impl<'a> Walk<'a> {
    /// Reads as far as the segments, mended from the mirrors, are good. The flaw is that of the place where it stopped.
    pub fn run(files: &'a Files, base: Base, planted: Planted) -> (Walk<'a>, Flaw) {
        let mirror = |slot| match frame::read_mirror(bytes_of(files, FileName::Mirror(slot))) {
            Ok((prev, batch)) => Mirror::Held(Held { prev, batch }),
            Err(flaw) => Mirror::Bad(flaw),
        };
        let last_segment = files.keys().filter_map(segment_number).max().unwrap_or(0);
        let mut walk = Walk {
            files,
            mirrors: Slot::BOTH.map(mirror),
            base,
            batches: Vec::new(),
            last: None,
            adopted: Vec::new(),
            head: base.head,
            next: base.next,
            segment: base.segment,
            begins: base,
            offset: 0,
            bytes: bytes_of(files, FileName::Segment(base.segment)),
            last_segment,
            planted,
        };
        loop {
            let Err(flaw) = walk.read_next() else { continue };
            if !walk.adopt_next() {
                return (walk, flaw);
            }
        }
    }

    /// Whether nothing at all stands behind the good prefix.
    pub fn is_at_end(&self) -> bool {
        self.segment >= self.last_segment && self.offset >= self.bytes.len()
    }

    /// The mirrors that hold a batch.
    pub fn held(&self) -> impl Iterator<Item = (Slot, &Held<'a>)> {
        Slot::BOTH.into_iter().zip(&self.mirrors).filter_map(|(slot, mirror)| match mirror {
            Mirror::Held(held) => Some((slot, held)),
            Mirror::Bad(_) => None,
        })
    }

    /// The mirrors that hold none, and why.
    pub fn bad(&self) -> impl Iterator<Item = (Slot, Flaw)> {
        Slot::BOTH.into_iter().zip(&self.mirrors).filter_map(|(slot, mirror)| match mirror {
            Mirror::Held(_) => None,
            Mirror::Bad(flaw) => Some((slot, *flaw)),
        })
    }

    fn read_next(&mut self) -> Result<(), Flaw> {
        if self.offset > 0 && self.offset >= self.bytes.len() && self.segment < self.last_segment {
            self.enter(self.segment + 1);
        }
        if self.offset >= self.bytes.len() {
            return Err(Flaw::Missing);
        }
        if self.offset == 0 {
            match self.bytes.first_chunk::<PREAMBLE_BYTES>() {
                None => return Err(Flaw::Short { bytes: self.bytes.len() }),
                Some(preamble) if *preamble != self.head.0 => return Err(Flaw::Preamble),
                Some(_) => {}
            }
        }
        let batch = self.read_frame()?;
        self.push(batch, None);
        Ok(())
    }

    fn read_frame(&self) -> Result<BatchRef<'a>, Flaw> {
        let read = frame::read(self.bytes, self.frame_offset(), &self.head, self.next);
        if self.planted == Planted::default() { read } else { self.misread(read) }
    }

    /// Planted bugs: what a careless reader makes of the frame.
    fn misread(&self, read: Result<BatchRef<'a>, Flaw>) -> Result<BatchRef<'a>, Flaw> {
        let Walk { bytes, head, next, planted, .. } = self;
        let offset = self.frame_offset();
        let (batch, stored) = frame::read_unproven(bytes, offset, head, *next)?;
        let last = self.segment >= self.last_segment && offset + batch.frame_bytes() >= bytes.len();
        match last {
            false if planted.unchecked => Ok(BatchRef { chain: stored, ..batch }),
            true if planted.cut_last => Err(Flaw::Chain),
            false | true => read,
        }
    }

    /// Takes the next batch from a mirror. Sound wherever the segment is damaged: content and place of the batch are
    /// proven by the chain, so it is the very batch that stood there.
    fn adopt_next(&mut self) -> bool {
        let planted = self.planted.cut_last;
        let follows =
            |held: &Held<'_>| held.prev == self.head && held.batch.first == self.next && !planted;
        let Some((slot, held)) = self.held().find(|(_, held)| follows(held)) else { return false };
        let batch = held.batch;
        if (self.frame_offset() + batch.frame_bytes()) as u64 > SEGMENT_BYTES {
            if !self.is_at_end() {
                return false;
            }
            self.enter(self.segment + 1);
        }
        self.push(batch, Some(slot));
        true
    }

    fn push(&mut self, batch: BatchRef<'a>, adopted: Option<Slot>) {
        let held = Held { prev: self.head, batch };
        let placed = Placed { held, segment: self.segment, offset: self.offset, adopted };
        if adopted.is_some() {
            self.adopted.push(placed);
        }
        self.last = Some(placed);
        self.offset = self.frame_offset() + batch.frame_bytes();
        self.head = batch.chain;
        self.next = batch.first.advance(u64::from(batch.count));
        self.batches.push(batch);
    }

    fn enter(&mut self, segment: u32) {
        self.segment = segment;
        self.begins = Base { segment, next: self.next, head: self.head };
        self.offset = 0;
        self.bytes = bytes_of(self.files, FileName::Segment(segment));
    }

    /// Where the next frame stands: behind the preamble at the start of a file.
    pub fn frame_offset(&self) -> usize {
        self.offset.max(PREAMBLE_BYTES)
    }
}

fn bytes_of(files: &Files, file: FileName) -> &[u8] {
    files.get(&file).map(Vec::as_slice).unwrap_or_default()
}

fn segment_number(file: &FileName) -> Option<u32> {
    match file {
        FileName::Segment(n) => Some(*n),
        FileName::Mirror(_) | FileName::Doubt => None,
    }
}
