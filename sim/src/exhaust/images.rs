//! What a power loss can leave on a disk at one place of a run, each recovered log once.

use std::collections::BTreeSet;

use fairway_core::log;

use crate::disk::{Disk, Image};
use crate::observe::PartyId;
use crate::world::party::Party;

/// A place where a power loss can strike, and what it can leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Whose.
    pub party: PartyId,
    /// Right before which of its driver steps.
    pub step: u64,
    /// How many parts of its writes were not synced.
    pub unsynced: u32,
    /// How many images were looked at.
    pub images: u64,
    /// Whether those are all combinations of the parts.
    pub is_every: bool,
    /// One mask for each recovered log.
    pub distinct: Vec<u64>,
}

impl Point {
    /// What is there right before step `step` of a party.
    pub fn at(party: &Party, step: u64) -> Point {
        let disk = &party.disk;
        let unsynced = disk.unsynced();
        let (masks, is_every) = masks(unsynced, step ^ (party.id.0 as u64) << 32);
        let mut known = BTreeSet::new();
        let images = masks.len() as u64;
        let distinct = masks.into_iter().filter(|mask| known.insert(recovered(disk, *mask)));
        Point { party: party.id, step, unsynced, images, is_every, distinct: distinct.collect() }
    }
}

/// Which parts persist, image by image: every combination of few; of many none, all, beginnings, all but one, and some that are drawn.
fn masks(parts: u32, place: u64) -> (Vec<u64>, bool) {
    if parts <= PARTS_EVERY_MAX {
        return ((0..1u64 << parts).collect(), true);
    }
    let shown = parts.min(u64::BITS);
    let beginning = |n: u32| u64::MAX.checked_shr(u64::BITS - n).unwrap_or(0);
    let all = beginning(shown);
    let mut masks: Vec<u64> = (0..=shown).map(beginning).collect();
    masks.extend((0..shown).map(|missing| all & !(1 << missing)));
    masks.extend((0..DRAWN).map(|n| drawn(place, n) & all));
    let mut known = BTreeSet::new();
    masks.retain(|mask| known.insert(*mask));
    (masks, false)
}

/// Drawn from where it stands, so that a survey is the same every time.
fn drawn(place: u64, n: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for word in [place, n] {
        hasher.update(&word.to_be_bytes());
    }
    hasher.finalize().as_bytes().first_chunk().map_or(0, |f| u64::from_be_bytes(*f))
}

/// What tells one recovered log from another: its end and its chain, whether it is doubted, or why it does not open.
fn recovered(disk: &Disk, mask: u64) -> String {
    let files: Image = disk.crash_subset(mask);
    match log::open(&files) {
        Ok(opened) => {
            let last = opened.batches.last().map(|b| (b.last(), b.chain));
            format!("{last:?} {}", opened.doubt.is_some())
        }
        Err(error) => error.to_string(),
    }
}

/// Up to so many parts every combination is an image of its own.
const PARTS_EVERY_MAX: u32 = 10;

/// Of more parts, how many images are drawn.
const DRAWN: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_parts_are_combined_in_every_way() {
        for parts in [0, 1, PARTS_EVERY_MAX] {
            let (masks, is_every) = masks(parts, 7);
            assert!(is_every);
            assert_eq!(masks.len(), 1 << parts);
        }
    }

    #[test]
    fn of_many_parts_none_all_beginnings_and_all_but_one_are_there() {
        for parts in [PARTS_EVERY_MAX + 1, 63, 64, 200] {
            let (masks, is_every) = masks(parts, 7);
            let all = if parts >= 64 { u64::MAX } else { (1 << parts) - 1 };
            assert!(!is_every);
            for mask in [0, 1, 0b11, all, all & !1, all & !(1 << (parts.min(64) - 1))] {
                assert!(masks.contains(&mask), "{parts}: {mask:b}");
            }
            assert!(masks.iter().all(|mask| mask & !all == 0));
            assert!(masks.len() > parts.min(64) as usize * 2);
        }
    }
}
