//! Power loss: what is found on the disk afterwards.

use fairway_core::log::FileName;

use super::file::{File, Part};
use super::{Choose, Disk, Durable, Entry, Image};

/// What persists of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// None of it.
    Nothing,
    /// All of it.
    Everything,
    /// The sectors written first, up to a chosen one.
    Prefix,
    /// Any chosen sectors, lengths and directory entries.
    AnySubset,
}

impl Disk {
    /// The power fails. Afterwards everything that is found is durable, and armed faults other than a full, lying or
    /// read-only disk are forgotten.
    pub fn crash(&mut self, unsynced: Unsynced, choose: &mut Choose<'_>) {
        let mut lost = self.fired;
        let image = match unsynced {
            Unsynced::Nothing => self.image(&mut |part| count(&mut lost, &part, 0)),
            Unsynced::Everything => self.image(&mut |part| most(&part)),
            Unsynced::Prefix => {
                let last = self.chosen_last(choose);
                self.image(&mut |part| {
                    let got = match part {
                        Part::Entry => choose("disk.entry", 2),
                        Part::Sector { order } => u64::from(last.is_some_and(|last| order <= last)),
                        Part::Length { reached, .. } => reached,
                    };
                    count(&mut lost, &part, got)
                })
            }
            Unsynced::AnySubset => self.image(&mut |part| {
                let got = match part {
                    Part::Entry => choose("disk.entry", 2),
                    Part::Sector { .. } => choose("disk.sector", 2),
                    Part::Length { steps, .. } => choose("disk.length", steps + 1),
                };
                count(&mut lost, &part, got)
            }),
        };
        self.fired = lost;
        self.fired.crashes += 1;
        self.armed.fail_next_write = false;
        self.armed.fail_next_sync = false;
        self.armed.misdirect_next_write = None;
        self.entries = Disk::holding(&image).entries;
    }

    /// What a power loss leaves that persists nothing unsynced: all that a node may rely on.
    pub fn durable_image(&self) -> Image {
        self.image(&mut |_| 0)
    }

    /// How many sectors, lengths and directory entries are not synced.
    pub fn unsynced(&self) -> u32 {
        let mut parts = 0;
        self.image(&mut |part| {
            parts += 1;
            most(&part)
        });
        parts
    }

    /// What a power loss leaves in which exactly the parts of `mask` persist: bit `i` is the `i`-th of [`Disk::unsynced`] parts.
    /// With all masks below `1 << unsynced` this is every image but those with a length in between. Parts from
    /// 64 on do not persist.
    pub fn crash_subset(&self, mask: u64) -> Image {
        let mut part_number = 0;
        self.image(&mut |part| {
            let persists = mask.checked_shr(part_number).is_some_and(|mask| mask & 1 == 1);
            part_number += 1;
            if persists { most(&part) } else { 0 }
        })
    }

    /// The order number up to which sectors persist, if any do.
    fn chosen_last(&self, choose: &mut Choose<'_>) -> Option<u64> {
        let files = self.entries.values().filter_map(|entry| entry.now.as_ref());
        let mut orders: Vec<u64> = files.flat_map(File::orders).collect();
        orders.sort_unstable();
        let persisted = choose("disk.prefix", orders.len() as u64 + 1) as usize;
        orders.get(persisted.checked_sub(1)?).copied()
    }

    /// Asks for the parts of each file in turn: sectors, length, entry. All are asked for even where the entry vanishes, so that the
    /// parts have the same numbers in every image.
    fn image(&self, pick: &mut dyn FnMut(Part) -> u64) -> Image {
        let found = |(name, entry): (&FileName, &Entry)| {
            let now = entry.now.as_ref().map(|file| file.image(pick));
            let before = match &entry.durable {
                Durable::Same => return now.map(|bytes| (*name, bytes)),
                Durable::Absent => None,
                Durable::Other(file) => Some(file.image(&mut |_| 0)),
            };
            let bytes = if pick(Part::Entry) > 0 { now } else { before };
            bytes.map(|bytes| (*name, bytes))
        };
        self.entries.iter().filter_map(found).collect()
    }
}

fn most(part: &Part) -> u64 {
    match part {
        Part::Entry | Part::Sector { .. } => 1,
        Part::Length { steps, .. } => *steps,
    }
}

fn count(lost: &mut super::Fired, part: &Part, got: u64) -> u64 {
    if got < most(part) {
        match part {
            Part::Entry => lost.entries_lost += 1,
            Part::Sector { .. } => lost.sectors_lost += 1,
            Part::Length { .. } => lost.lengths_lost += 1,
        }
    }
    got
}
