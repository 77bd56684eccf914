//! One file: its bytes as read, and how to get back to what is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SECTOR_BYTES;

/// Pages are what clones share; small enough that the first write after a clone copies little.
const PAGE_BYTES: usize = 8 * SECTOR_BYTES;

/// A file in the page cache.
///
/// Invariant: bytes of the pages beyond `length` are zero.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pages: Vec<Arc<[u8; PAGE_BYTES]>>,
    length: u64,
    durable_length: u64,
    /// The length changed in a sync that failed and nothing was written at the end since.
    length_is_stuck: bool,
    dirty: BTreeMap<u64, Dirty>,
}

/// A sector that is not synced.
#[derive(Clone, Debug)]
struct Dirty {
    /// What is durable; `None` for zeros.
    old: Option<Box<[u8; SECTOR_BYTES]>>,
    order: u64,
    /// A sync of it failed (or its write went astray): the system believes it clean, and no sync will make it durable.
    stuck: bool,
}

/// What may or may not have persisted. The answer is 0 for what is durable, else how far the change got.
pub(super) enum Part {
    /// A directory entry: 0 or 1.
    Entry,
    /// A sector: 0 or 1.
    Sector {
        /// Its place among all sector writes.
        order: u64,
    },
    /// A length: up to `steps`, which is the whole change; `reached` is the least that covers the persisted sectors.
    Length { steps: u64, reached: u64 },
}

impl File {
    pub fn holding(bytes: &[u8]) -> File {
        let mut file = File::default();
        file.put(0, bytes);
        (file.length, file.durable_length) = (bytes.len() as u64, bytes.len() as u64);
        file
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.pages.len() * PAGE_BYTES);
        self.pages.iter().for_each(|page| bytes.extend_from_slice(&page[..]));
        bytes.truncate(self.length as usize);
        bytes
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8], order: &mut u64, stuck: bool) {
        let end = offset + bytes.len() as u64;
        self.touch(offset, end, order, stuck);
        self.put(offset, bytes);
        if end >= self.length {
            self.length = end;
            self.length_is_stuck = false;
        }
    }

    /// Cuts to `length` and says how many bytes that frees.
    pub fn truncate(&mut self, length: u64, order: &mut u64) -> u64 {
        let freed = self.length.saturating_sub(length);
        if freed > 0 {
            self.touch(length, self.length, order, false);
            self.put(length, &vec![0; freed as usize]);
            self.length = length;
            self.length_is_stuck = false;
        }
        freed
    }

    pub fn sync(&mut self) {
        self.dirty.retain(|_, dirty| dirty.stuck);
        if !self.length_is_stuck {
            self.durable_length = self.length;
        }
    }

    pub fn fail_sync(&mut self) {
        self.dirty.values_mut().for_each(|dirty| dirty.stuck = true);
        self.length_is_stuck = self.length != self.durable_length;
    }

    /// Flips bits in what is read and in what is durable.
    pub fn rot(&mut self, offset: u64, mask: u8) -> bool {
        if offset >= self.length {
            return false;
        }
        let byte = self.byte(offset) ^ mask;
        self.put(offset, &[byte]);
        let (sector, within) = (offset / SECTOR_BYTES as u64, offset as usize % SECTOR_BYTES);
        if let Some(old) = self.dirty.get_mut(&sector).and_then(|dirty| dirty.old.as_mut()) {
            old[within] ^= mask;
        }
        true
    }

    /// Replaces bytes in what is read and in what is durable, as far as the file goes.
    pub fn overwrite(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..self.length).zip(bytes) {
            let mask = self.byte(at) ^ byte;
            self.put(at, &[*byte]);
            let (sector, within) = (at / SECTOR_BYTES as u64, at as usize % SECTOR_BYTES);
            if let Some(old) = self.dirty.get_mut(&sector).and_then(|dirty| dirty.old.as_mut()) {
                old[within] ^= mask;
            }
        }
    }

    /// The order numbers of the sectors that are not synced.
    pub fn orders(&self) -> impl Iterator<Item = u64> + '_ {
        self.dirty.values().map(|dirty| dirty.order)
    }

    /// What is found after a power loss in which `pick` says what persisted. Asks for sectors in order, then for the length.
    pub fn image(&self, pick: &mut dyn FnMut(Part) -> u64) -> Vec<u8> {
        let mut bytes = self.read();
        bytes.resize(self.length.max(self.durable_length) as usize, 0);
        let first = self.durable_length / SECTOR_BYTES as u64;
        let mut reached = 0;
        for (sector, dirty) in &self.dirty {
            if pick(Part::Sector { order: dirty.order }) > 0 {
                reached = (sector + 1).saturating_sub(first).max(reached);
                continue;
            }
            let start = (*sector as usize * SECTOR_BYTES).min(bytes.len());
            let end = (start + SECTOR_BYTES).min(bytes.len());
            match &dirty.old {
                Some(old) => bytes[start..end].copy_from_slice(&old[..end - start]),
                None => bytes[start..end].fill(0),
            }
        }
        bytes.truncate(self.image_length(reached, pick) as usize);
        bytes
    }

    fn image_length(&self, reached: u64, pick: &mut dyn FnMut(Part) -> u64) -> u64 {
        if self.length == self.durable_length {
            return self.length;
        }
        let sector = SECTOR_BYTES as u64;
        let first = self.durable_length / sector;
        let steps = if self.length > self.durable_length {
            self.length.div_ceil(sector) - first
        } else {
            1
        };
        match pick(Part::Length { steps, reached: reached.min(steps) }) {
            0 => self.durable_length,
            step if step >= steps => self.length,
            step => (first + step) * sector,
        }
    }

    /// Remembers what is durable of the sectors that hold `from..to`, unless it is remembered already.
    fn touch(&mut self, from: u64, to: u64, order: &mut u64, stuck: bool) {
        for sector in from / SECTOR_BYTES as u64..to.div_ceil(SECTOR_BYTES as u64) {
            *order += 1;
            if let Some(dirty) = self.dirty.get_mut(&sector) {
                (dirty.order, dirty.stuck) = (*order, stuck);
                continue;
            }
            let old = self.sector(sector).filter(|old| **old != [0; SECTOR_BYTES]);
            let old = old.map(|old| Box::new(*old));
            self.dirty.insert(sector, Dirty { old, order: *order, stuck });
        }
    }

    fn sector(&self, sector: u64) -> Option<&[u8; SECTOR_BYTES]> {
        let start = sector as usize * SECTOR_BYTES;
        let page = self.pages.get(start / PAGE_BYTES)?;
        page.get(start % PAGE_BYTES..)?.first_chunk()
    }

    fn byte(&self, offset: u64) -> u8 {
        let offset = offset as usize;
        self.pages.get(offset / PAGE_BYTES).map_or(0, |page| page[offset % PAGE_BYTES])
    }

    fn put(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut at = offset as usize;
        let pages = (at + bytes.len()).div_ceil(PAGE_BYTES);
        while self.pages.len() < pages {
            self.pages.push(Arc::new([0; PAGE_BYTES]));
        }
        while !bytes.is_empty() {
            let within = at % PAGE_BYTES;
            let (part, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - within));
            let page = Arc::make_mut(&mut self.pages[at / PAGE_BYTES]);
            page[within..within + part.len()].copy_from_slice(part);
            at += part.len();
            bytes = rest;
        }
    }
}
