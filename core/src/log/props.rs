//! What must hold for every crash and every flipped byte.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::testdisk::{TestDisk, append_synced, append_unsynced, payload, payloads};
use super::walk::Files;
use super::{LogTail, OpenError, open};

/// One thing that happens to a node's log.
#[derive(Clone, Debug)]
enum Op {
    /// A batch of this many bytes, synced.
    Append(usize),
    /// A batch of this many bytes is written and the power fails, with these choices of what persisted; then it fails again
    /// in this many steps of the repair.
    PowerLoss { bytes: usize, persisted: Vec<u8>, again: usize },
    /// The process is killed after writing; the page cache survives.
    Kill(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || prop_oneof![0usize..200, 300usize..1500, 3000usize..9000];
    prop_oneof![
        3 => bytes().prop_map(Op::Append),
        2 => (bytes(), proptest::collection::vec(any::<u8>(), 0..64), 0usize..4)
            .prop_map(|(bytes, persisted, again)| Op::PowerLoss { bytes, persisted, again }),
        1 => bytes().prop_map(Op::Kill),
    ]
}

/// What was appended since the beginning, and how much of it must not be lost.
struct World {
    disk: TestDisk,
    tail: LogTail,
    appended: Vec<Vec<u8>>,
    synced: usize,
    sector: usize,
    count: u64,
}

impl World {
    fn run(&mut self, op: Op) {
        self.count += 1;
        match op {
            Op::Append(bytes) => {
                append_synced(&mut self.disk, &mut self.tail, self.count, bytes);
                self.appended.push(payload(self.count, bytes));
                self.synced = self.appended.len();
            }
            Op::Kill(bytes) => {
                append_unsynced(&mut self.disk, &mut self.tail, self.count, bytes);
                self.appended.push(payload(self.count, bytes));
                self.restart();
            }
            Op::PowerLoss { bytes, persisted, again } => {
                append_unsynced(&mut self.disk, &mut self.tail, self.count, bytes);
                self.appended.push(payload(self.count, bytes));
                let mut choices = persisted.into_iter().cycle();
                let mut pick = |n: usize| choices.next().map_or(0, |c| usize::from(c) % n);
                self.lose_power(&mut pick);
                for step in 0..again {
                    self.repair_until(step);
                    self.lose_power(&mut pick);
                }
                self.restart();
            }
        }
    }

    fn lose_power(&mut self, pick: &mut dyn FnMut(usize) -> usize) {
        self.disk = TestDisk::holding(self.disk.image(self.sector, pick));
    }

    /// Executes the repair up to the middle of its step number `step`: changes made, not synced.
    fn repair_until(&mut self, step: usize) {
        let files = self.disk.now.clone();
        let opened = open(&files).expect("a crash alone never stops a node");
        let done = opened.repair.get(..step).unwrap_or(&opened.repair);
        self.disk.repair(done);
        if let Some(next) = opened.repair.get(step) {
            next.changes.iter().for_each(|change| self.disk.change(change));
        }
    }

    /// Opens, checks, repairs; from here on everything that was read may have been acted upon.
    fn restart(&mut self) {
        let files = self.disk.now.clone();
        let opened = open(&files).expect("a crash alone never stops a node");
        assert_eq!(opened.doubt, None, "a crash alone never makes a node doubt");
        let found = payloads(&opened);
        assert!(found.len() >= self.synced, "{} batches of {} synced", found.len(), self.synced);
        assert_eq!(found[..], self.appended[..found.len()], "not a prefix of what was appended");
        self.disk.repair(&opened.repair);
        self.tail = opened.tail.clone().rolling_at(self.tail.segment_bytes);
        self.appended = found;
        self.synced = self.appended.len();
        check_mended(&self.disk, self.synced);
    }
}

/// After the repair everything is durable in two copies, and opening again finds nothing to mend.
fn check_mended(disk: &TestDisk, batches: usize) {
    let files = disk.image(512, &mut |_| 0);
    assert_eq!(files, disk.now, "the repair leaves nothing that is not durable");
    let opened = open(&files).expect("a mended log opens");
    assert_eq!(opened.batches.len(), batches);
    assert_eq!(opened.findings, [], "a mended log has nothing to find");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// I33: after any crash the log is a prefix of what was appended and contains everything that was synced.
    #[test]
    fn a_log_survives_any_crashes(
        ops in proptest::collection::vec(op(), 1..24),
        sector in prop_oneof![Just(512usize), Just(4096)],
        roll in prop_oneof![Just(700u64), Just(6_000), Just(super::SEGMENT_BYTES)],
    ) {
        let tail = LogTail::fresh().rolling_at(roll);
        let mut world =
            World { disk: TestDisk::default(), tail, appended: Vec::new(), synced: 0, sector, count: 0 };
        ops.into_iter().for_each(|op| world.run(op));
        world.restart();
    }

    /// Bytes that mean nothing, under names that mean something.
    #[test]
    fn opening_arbitrary_bytes_never_panics(
        files in proptest::collection::btree_map(
            (0u32..5).prop_map(name), proptest::collection::vec(any::<u8>(), 0..300), 0..5),
    ) {
        if let Ok(opened) = open(&files) {
            prop_assert!(opened.batches.is_empty());
        }
    }

    /// Any number of changed bytes: whatever is accepted was written, in this order.
    #[test]
    fn a_forged_batch_is_never_accepted(
        sizes in proptest::collection::vec(0usize..400, 1..8),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 1u8..), 1..6),
    ) {
        let (files, written) = synced_log(&sizes, 900);
        let mut damaged = files.clone();
        for (file, at, mask) in edits {
            let name = *file.get(&files.keys().collect::<Vec<_>>());
            let bytes = damaged.get_mut(name).expect("the name is one of the files");
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Ok(opened) = open(&damaged) {
            let found = payloads(&opened);
            prop_assert_eq!(&found[..], &written[..found.len()]);
        }
    }
}

/// I36, exhaustively: whichever single bit rots, every synced batch is still there, or the node refuses and names the record.
#[test]
fn a_single_rotten_bit_never_shortens_the_log() {
    for (sizes, roll) in [
        (&[40][..], 4000),
        (&[40, 3], 4000),
        (&[5, 0, 60, 7], 4000),
        (&[30, 70, 20, 90, 10, 50], 330),
        (&[200, 200, 200], 100),
    ] {
        let (files, written) = synced_log(sizes, roll);
        for (name, bytes) in &files {
            for at in 0..bytes.len() {
                for mask in [1, 0x80, 0xff] {
                    let mut damaged = files.clone();
                    damaged.get_mut(name).expect("it is one of the files")[at] ^= mask;
                    check_rot(&damaged, &written);
                }
            }
        }
    }
}

fn check_rot(damaged: &Files, written: &[Vec<u8>]) {
    match open(damaged) {
        Ok(opened) => {
            assert_eq!(payloads(&opened), written);
            assert_eq!(opened.doubt, None);
            let mut disk = TestDisk::holding(damaged.clone());
            disk.repair(&opened.repair);
            check_mended(&disk, written.len());
        }
        Err(OpenError::Lost { lsn, .. }) => assert!(lsn.0 > 0),
        Err(error) => panic!("{error}"),
    }
}

/// One fault more than the budget of a crash: whatever rots, and whatever of the batch in flight is there, nothing that was
/// synced is missing without a word. Exhaustive over bytes and over images.
#[test]
fn rot_and_a_crash_together_lose_nothing_silently() {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(4000));
    let written: Vec<_> = (1..=3).map(|i| payload(i, 40)).collect();
    (1..=3).for_each(|i| append_synced(&mut disk, &mut tail, i, 40));
    let synced = disk.now.clone();
    append_unsynced(&mut disk, &mut tail, 4, 500);
    for image in every_image(&disk) {
        for (name, at) in
            synced.iter().flat_map(|(name, bytes)| (0..bytes.len()).map(move |at| (*name, at)))
        {
            let mut damaged = image.clone();
            damaged.get_mut(&name).expect("it was synced")[at] ^= 0x10;
            if let Ok(opened) = open(&damaged) {
                let found = payloads(&opened);
                let complete = found.len() >= 3 && found[..3] == written;
                assert!(
                    complete || opened.doubt.is_some(),
                    "{name} at {at}: {} batches",
                    found.len()
                );
            }
        }
    }
}

/// Every image that one torn batch can leave, by enumeration rather than by chance.
#[test]
fn every_image_of_a_torn_batch_opens_to_one_of_the_two_logs() {
    for (before, bytes, roll) in
        [(0, 700, 4000), (1, 700, 4000), (3, 600, 4000), (3, 600, 500), (2, 30, 4000)]
    {
        let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(roll));
        for i in 1..=before {
            append_synced(&mut disk, &mut tail, i, 300);
        }
        append_unsynced(&mut disk, &mut tail, before + 1, bytes);
        let images = every_image(&disk);
        assert!(images.len() >= 8, "{} images", images.len());
        for image in images {
            let opened = open(&image).expect("a crash alone never stops a node");
            let batches = opened.batches.len() as u64;
            assert!(batches == before || batches == before + 1, "{batches} batches");
            assert_eq!(opened.doubt, None);
            let mut mended = TestDisk::holding(image.clone());
            mended.repair(&opened.repair);
            check_mended(&mended, batches as usize);
        }
    }
}

/// All outcomes of [`TestDisk::image`]: counts through the choices like through the digits of a number.
fn every_image(disk: &TestDisk) -> Vec<Files> {
    let mut images = Vec::new();
    let mut digits: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut at = 0;
        images.push(disk.image(512, &mut |n| {
            if at == digits.len() {
                digits.push((0, n));
            }
            at += 1;
            digits[at - 1].0
        }));
        while digits.last().is_some_and(|(digit, n)| digit + 1 == *n) {
            digits.pop();
        }
        match digits.last_mut() {
            Some((digit, _)) => *digit += 1,
            None => return images,
        }
    }
}

fn synced_log(sizes: &[usize], roll: u64) -> (Files, Vec<Vec<u8>>) {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(roll));
    for (i, bytes) in (1..).zip(sizes) {
        append_synced(&mut disk, &mut tail, i, *bytes);
    }
    (disk.now, (1..).zip(sizes).map(|(i, bytes)| payload(i, *bytes)).collect())
}

fn name(n: u32) -> super::FileName {
    use super::{FileName, Slot};
    match n {
        0 => FileName::Mirror(Slot::Zero),
        1 => FileName::Mirror(Slot::One),
        2 => FileName::Doubt,
        n => FileName::Segment(n - 2),
    }
}
