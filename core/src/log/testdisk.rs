//! A disk for this module's tests: what is in the page cache, what is durable, and every image that a power loss can leave.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use super::walk::Files;
use super::{Append, Change, FileName, FileRepair, FileWrite, LogTail, Opened, SyncSet};
use crate::types::Timestamp;

#[derive(Clone, Default)]
pub struct TestDisk {
    /// What a read returns.
    pub now: Files,
    /// Contents as of the last sync of each file.
    durable: Files,
    /// Directory entries as of the last sync of the directory.
    entries: BTreeSet<FileName>,
}

impl TestDisk {
    /// A disk on which exactly `files` are durable.
    pub fn holding(files: Files) -> TestDisk {
        TestDisk { entries: files.keys().copied().collect(), durable: files.clone(), now: files }
    }

    pub fn write(&mut self, write: &FileWrite) {
        let file = self.now.entry(write.file).or_default();
        let end = write.offset as usize + write.bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[write.offset as usize..end].copy_from_slice(&write.bytes);
    }

    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Write(write) => self.write(write),
            Change::Truncate { file, length } => {
                let bytes =
                    self.now.get_mut(file).expect("only files that are there are truncated");
                assert!(*length as usize <= bytes.len(), "a truncation lengthens {file}");
                bytes.truncate(*length as usize);
            }
            Change::Remove { file } => drop(self.now.remove(file)),
        }
    }

    pub fn sync(&mut self, set: &SyncSet) {
        for file in &set.files {
            let bytes = self.now.get(file).expect("only files that are there are synced");
            self.durable.insert(*file, bytes.clone());
        }
        if set.directory {
            self.entries = self.now.keys().copied().collect();
        }
    }

    pub fn repair(&mut self, repair: &[FileRepair]) {
        for step in repair {
            step.changes.iter().for_each(|change| self.change(change));
            self.sync(&step.sync);
        }
    }

    pub fn append(&mut self, append: &Append) {
        append.writes.iter().for_each(|write| self.write(write));
    }

    /// An image that a power loss leaves; `pick(n)` chooses below `n`.
    pub fn image(&self, sector: usize, pick: &mut dyn FnMut(usize) -> usize) -> Files {
        let names: BTreeSet<FileName> = self.now.keys().chain(&self.entries).copied().collect();
        let mut image = BTreeMap::new();
        for name in names {
            let entry_is_sure = self.now.contains_key(&name) && self.entries.contains(&name);
            if !entry_is_sure && pick(2) == 0 {
                if self.entries.contains(&name) {
                    image.insert(name, self.durable.get(&name).cloned().unwrap_or_default());
                }
                continue;
            }
            let Some(now) = self.now.get(&name) else { continue };
            let old = self.durable.get(&name).cloned().unwrap_or_default();
            image.insert(name, mixed(now, &old, sector, pick));
        }
        image
    }
}

fn mixed(now: &[u8], old: &[u8], sector: usize, pick: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let (short, long) = (now.len().min(old.len()), now.len().max(old.len()));
    let mut bytes = vec![0; long];
    for start in (0..long).step_by(sector) {
        let part = |of: &[u8]| {
            let mut part = of.get(start..).unwrap_or_default().to_vec();
            part.resize((long - start).min(sector), 0);
            part
        };
        let (new, old) = (part(now), part(old));
        let chosen = if new != old && pick(2) == 0 { old } else { new };
        bytes[start..start + chosen.len()].copy_from_slice(&chosen);
    }
    // Lengths between the two are reached sector by sector.
    let between = (short..long).step_by(sector).count();
    let length = if long == short { long } else { (short + pick(between + 1) * sector).min(long) };
    bytes.truncate(length);
    bytes
}

/// Appends batch number `i` (from 1) with `bytes` of payload that is its own, and syncs it.
pub fn append_synced(disk: &mut TestDisk, tail: &mut LogTail, i: u64, bytes: usize) {
    let append = append_unsynced(disk, tail, i, bytes);
    disk.sync(&append.sync);
    tail.synced(append.end);
}

/// As [`append_synced`], up to the writes.
pub fn append_unsynced(disk: &mut TestDisk, tail: &mut LogTail, i: u64, bytes: usize) -> Append {
    let append = tail.append(Timestamp(1_000 * i), 1 + (i % 3) as u32, payload(i, bytes));
    disk.append(&append);
    append
}

/// `bytes` bytes that differ from batch to batch and from place to place.
pub fn payload(i: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|at| (i.wrapping_mul(151) ^ at.wrapping_mul(29) ^ (at >> 8)) as u8)
        .collect()
}

/// The payloads, to compare logs by.
pub fn payloads(opened: &Opened<'_>) -> Vec<Vec<u8>> {
    opened.batches.iter().map(|batch| batch.payload.to_vec()).collect()
}
