//! What must be done to the files before an opened log may be used.
//!
//! Always, even after a clean shutdown, the last batch is written again to both places and synced. After a kill it may stand in
//! the page cache only, and after a failed sync the system may believe that a page is clean which never reached the disk; writing
//! the bytes again makes the sync mean something. Only the last batch can be concerned: the one before it was synced.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::file::{Change, FileName, FileRepair, FileWrite, Slot};
use super::frame::{Flaw, PREAMBLE_BYTES, encode_mirror};
use super::open::{Doubt, Ending, Finding, Opened};
use super::tail::{LogTail, SEGMENT_BYTES};
use super::walk::{Held, Placed, Walk};

/// Puts the node in doubt, durably. For whoever restores a backup: execute this before the restored files are used.
pub fn doubt_raised(reason: &str) -> FileRepair {
    let bytes = [reason.as_bytes(), b"\n"].concat();
    FileRepair::of(vec![Change::Write(FileWrite { file: FileName::Doubt, offset: 0, bytes })])
}

/// Ends the doubt, durably. Only once peers and chain show that nothing newer exists, and the log says so.
pub fn doubt_cleared() -> FileRepair {
    FileRepair::of(vec![Change::Remove { file: FileName::Doubt }])
}

/// The opened log that `walk` and its `ending` amount to.
///
/// Each step leaves a good copy of every synced batch untouched, so a crash inside the repair opens to the same log:
/// the copy that is no good is written first, from the good one, and synced; only then the good one is written again.
pub(super) fn mend<'a>(walk: Walk<'a>, ending: Ending) -> Opened<'a> {
    let unvouched = doubt_of(&walk, ending);
    let doubt =
        if walk.files.contains_key(&FileName::Doubt) { Some(Doubt::Standing) } else { unvouched };
    let slot = slot_of_last(&walk);

    let (segments, mirrors) = (segment_changes(&walk, ending), mirror_changes(&walk, slot));
    let mut repair = Vec::new();
    if let Some(unvouched) = unvouched {
        // First of all: the next step destroys the evidence. A marker that is already there may not be durable yet.
        repair.push(doubt_raised(&unvouched.to_string()));
    }
    let mirror_is_good = walk.last.is_some_and(|last| last.adopted.is_some());
    let order = if mirror_is_good { [segments, mirrors] } else { [mirrors, segments] };
    repair.extend(order.into_iter().filter(|changes| !changes.is_empty()).map(FileRepair::of));

    let exists = |of: Slot| {
        walk.files.contains_key(&FileName::Mirror(of)) || (of == slot && walk.last.is_some())
    };
    let tail = LogTail {
        head: walk.head,
        next: walk.next,
        begins: walk.begins,
        offset: walk.offset as u64,
        slot: if walk.last.is_none() && !holds_head(&walk, slot) {
            Slot::Zero
        } else {
            slot.other()
        },
        mirrors_made: Slot::BOTH.map(exists),
        segment_bytes: SEGMENT_BYTES,
        in_flight: false,
    };
    let findings = findings(&walk, ending);
    Opened { batches: walk.batches, tail, repair, doubt, findings }
}

fn doubt_of(walk: &Walk<'_>, ending: Ending) -> Option<Doubt> {
    match ending {
        Ending::Clean | Ending::Torn(_) => None,
        Ending::Unvouched => Some(Doubt::Unvouched {
            file: FileName::Segment(walk.segment),
            offset: walk.offset as u64,
            lsn: walk.next,
            bytes: bytes_behind(walk),
        }),
    }
}

/// The mirror of the last batch: where it is; else the one that does not hold the batch before it.
fn slot_of_last(walk: &Walk<'_>) -> Slot {
    if let Some(slot) = Slot::BOTH.into_iter().find(|slot| holds_head(walk, *slot)) {
        return slot;
    }
    let latest = walk.held().max_by_key(|(_, held)| held.batch.first);
    latest.map_or(Slot::Zero, |(slot, _)| slot.other())
}

fn holds_head(walk: &Walk<'_>, slot: Slot) -> bool {
    walk.held().any(|(of, held)| of == slot && held.batch.chain == walk.head)
}

fn segment_changes(walk: &Walk<'_>, ending: Ending) -> Vec<Change> {
    let last = walk.last.iter().filter(|last| last.adopted.is_none());
    let mut changes: Vec<Change> = walk.adopted.iter().chain(last).map(rewrite).collect();
    match ending {
        Ending::Clean => {}
        Ending::Torn(_) | Ending::Unvouched => changes.push(Change::Truncate {
            file: FileName::Segment(walk.segment),
            length: walk.offset as u64,
        }),
    }
    changes
}

/// The last batch into its mirror; a mirror that holds no whole batch is emptied, lest what is left of one batch and part of
/// a later one make up a whole that was given up.
fn mirror_changes(walk: &Walk<'_>, slot: Slot) -> Vec<Change> {
    let empty = |slot| Change::Truncate { file: FileName::Mirror(slot), length: 0 };
    let bad = walk.bad().filter(|(_, flaw)| *flaw != Flaw::Missing).map(|(slot, _)| empty(slot));
    let mut changes: Vec<Change> = bad.collect();
    if let Some(last) = &walk.last {
        let bytes = mirror_of(&last.held);
        changes.push(Change::Write(FileWrite { file: FileName::Mirror(slot), offset: 0, bytes }));
    }
    changes
}

fn rewrite(placed: &Placed<'_>) -> Change {
    let mut bytes = mirror_of(&placed.held);
    if placed.offset > 0 {
        bytes.drain(..PREAMBLE_BYTES);
    }
    Change::Write(FileWrite {
        file: FileName::Segment(placed.segment),
        offset: placed.offset as u64,
        bytes,
    })
}

fn mirror_of(held: &Held<'_>) -> Vec<u8> {
    let (bytes, chain) = encode_mirror(&held.batch.to_batch(), held.prev);
    assert_eq!(chain, held.batch.chain, "a batch encodes as it was read");
    bytes
}

fn findings(walk: &Walk<'_>, ending: Ending) -> Vec<Finding> {
    let adopted = walk.adopted.iter().filter_map(|placed| {
        placed.adopted.map(|mirror| Finding::Adopted {
            file: FileName::Segment(placed.segment),
            offset: placed.offset as u64,
            lsn: placed.held.batch.first,
            mirror,
        })
    });
    let torn = match ending {
        Ending::Clean | Ending::Unvouched => None,
        Ending::Torn(flaw) => Some(Finding::TornTail {
            file: FileName::Segment(walk.segment),
            offset: walk.offset as u64,
            lsn: walk.next,
            bytes: bytes_behind(walk),
            flaw,
        }),
    };
    let bad = walk.bad().filter(|(_, flaw)| *flaw != Flaw::Missing);
    let bad = bad.map(|(mirror, flaw)| Finding::BadMirror { mirror, flaw });
    adopted.chain(torn).chain(bad).collect()
}

fn bytes_behind(walk: &Walk<'_>) -> u64 {
    walk.bytes.len().saturating_sub(walk.offset) as u64
}
