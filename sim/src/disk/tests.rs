//! The disk against a plain model, each fault once, and the log on the disk.

use fairway_core::log::{FileRepair, LogTail, Slot, open};
use fairway_core::types::{Lsn, Timestamp};
use proptest::prelude::*;

use super::*;

const SEG: FileName = FileName::Segment(1);
const TAIL: FileName = FileName::Mirror(Slot::Zero);

fn write(disk: &mut Disk, file: FileName, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
    disk.write(&FileWrite { file, offset, bytes: bytes.to_vec() })
}

/// One file of `bytes` bytes of 1, durable with its entry.
fn with_file(bytes: usize) -> Disk {
    Disk::holding(&Image::from([(SEG, vec![1; bytes])]))
}

fn never(site: &'static str, _: u64) -> u64 {
    panic!("nothing to choose at {site}")
}

fn append(disk: &mut Disk, tail: &mut LogTail, bytes: usize) -> Result<Lsn, DiskError> {
    let append = tail.append(Timestamp(1), 1, vec![7; bytes]);
    disk.append(&append)?;
    disk.sync_set(&append.sync)?;
    tail.synced(append.end);
    Ok(append.end)
}

#[test]
fn a_sector_that_is_not_synced_is_old_or_new_as_a_whole() {
    let mut disk = with_file(1500);
    write(&mut disk, SEG, 500, &[2; 600]).expect("no fault is armed");
    assert_eq!(disk.unsynced(), 3, "three sectors, no length, no entry");
    for mask in 0..8u64 {
        let image = disk.crash_subset(mask);
        for (i, byte) in image[&SEG].iter().enumerate() {
            let written = (500..1100).contains(&i) && mask >> (i / SECTOR_BYTES) & 1 == 1;
            assert_eq!(*byte, if written { 2 } else { 1 }, "byte {i} with mask {mask:b}");
        }
    }
    assert_eq!(disk.crash_subset(0), disk.durable_image());
    assert_eq!(disk.crash_subset(7), disk.read_all());
}

#[test]
fn an_extension_may_persist_as_zeros_or_in_part_or_not_at_all() {
    let mut disk = with_file(100);
    write(&mut disk, SEG, 100, &[2; 1000]).expect("no fault is armed");
    let length_only = [vec![1; 100], vec![0; 1000]].concat();
    assert_eq!(disk.crash_subset(0b1000)[&SEG], length_only);
    assert_eq!(disk.crash_subset(0b0111)[&SEG], vec![1; 100]);
    let mut crashed = disk.clone();
    crashed
        .crash(Unsynced::AnySubset, &mut |site, n| if site == "disk.length" { 1 } else { n - 1 });
    assert_eq!(crashed.read_all()[&SEG], [vec![1; 100], vec![2; 412]].concat());
    assert_eq!(crashed.fired(), Fired { crashes: 1, lengths_lost: 1, ..Fired::default() });
}

#[test]
fn a_prefix_keeps_what_was_written_first() {
    let mut disk = with_file(1024);
    write(&mut disk, SEG, 512, &[2; 512]).expect("no fault is armed");
    write(&mut disk, SEG, 0, &[3; 512]).expect("no fault is armed");
    disk.crash(Unsynced::Prefix, &mut |_, _| 1);
    assert_eq!(disk.read_all()[&SEG], [vec![1; 512], vec![2; 512]].concat());
    assert_eq!(disk.fired().sectors_lost, 1);
}

#[test]
fn a_new_file_may_vanish_until_its_directory_is_synced() {
    let mut disk = Disk::default();
    write(&mut disk, SEG, 0, b"new").expect("no fault is armed");
    disk.sync(SEG).expect("no fault is armed");
    assert_eq!(disk.durable_image(), Image::new());
    assert_eq!(disk.crash_subset(1), disk.read_all());
    disk.sync_dir().expect("no fault is armed");
    assert_eq!(disk.durable_image(), disk.read_all());
    assert_eq!(disk.work(), Work { writes: 1, bytes: 3, file_syncs: 1, directory_syncs: 1 });
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let mut disk = with_file(10);
    disk.remove(SEG).expect("no fault is armed");
    assert_eq!(disk.read_all(), Image::new());
    assert_eq!(disk.durable_image()[&SEG], vec![1; 10]);
    write(&mut disk, SEG, 0, b"another").expect("no fault is armed");
    disk.sync(SEG).expect("no fault is armed");
    assert_eq!(disk.durable_image()[&SEG], vec![1; 10]);
    assert_eq!(disk.crash_subset(1)[&SEG], b"another");
    disk.remove(SEG).expect("no fault is armed");
    disk.sync_dir().expect("no fault is armed");
    assert_eq!(disk.durable_image(), Image::new());
}

#[test]
fn a_truncation_that_is_not_synced_may_be_undone() {
    let mut disk = with_file(1500);
    disk.truncate(SEG, 700).expect("no fault is armed");
    assert_eq!(disk.durable_image()[&SEG], vec![1; 1500]);
    disk.sync(SEG).expect("no fault is armed");
    write(&mut disk, SEG, 1000, &[2; 10]).expect("no fault is armed");
    assert_eq!(disk.read_all()[&SEG], [vec![1; 700], vec![0; 300], vec![2; 10]].concat());
    assert_eq!(disk.durable_image()[&SEG], vec![1; 700]);
    disk.truncate(TAIL, 0).expect("nothing happens to a file that is not there");
    assert_eq!(disk.lengths().count(), 1);
}

/// A failed sync leaves data that can be read, is not durable, and is not helped by a second sync.
#[test]
fn a_second_sync_after_a_failed_one_proves_nothing() {
    let mut disk = with_file(10);
    write(&mut disk, SEG, 0, &[2; 20]).expect("no fault is armed");
    disk.fail_next_sync();
    assert_eq!(disk.sync(SEG), Err(DiskError::Sync { file: Some(SEG) }));
    disk.sync(SEG).expect("it says that it succeeded");
    assert_eq!(disk.read_all()[&SEG], vec![2; 20]);
    assert_eq!(disk.durable_image()[&SEG], vec![1; 10]);
    write(&mut disk, SEG, 0, &[2; 20]).expect("no fault is armed");
    disk.sync(SEG).expect("no fault is armed");
    assert_eq!(disk.durable_image()[&SEG], vec![2; 20]);
    disk.fail_next_sync();
    assert_eq!(disk.sync_dir(), Err(DiskError::Sync { file: None }));
    assert_eq!(disk.fired(), Fired { failed_syncs: 2, ..Fired::default() });
}

#[test]
fn a_lying_sync_keeps_everything_volatile_until_it_is_lifted() {
    let mut disk = with_file(10);
    disk.set_lying(true);
    write(&mut disk, SEG, 0, &[2; 10]).expect("no fault is armed");
    disk.sync(SEG).expect("it lies");
    disk.sync_dir().expect("it lies");
    assert_eq!(disk.durable_image()[&SEG], vec![1; 10]);
    disk.set_lying(false);
    disk.sync(SEG).expect("no fault is armed");
    assert_eq!(disk.durable_image()[&SEG], vec![2; 10]);
    assert_eq!(disk.fired(), Fired { lying_syncs: 2, ..Fired::default() });
}

#[test]
fn a_full_disk_takes_what_fits_and_what_is_in_place() {
    let mut disk = with_file(10);
    disk.set_free_bytes(Some(5));
    write(&mut disk, SEG, 0, &[2; 10]).expect("in place");
    assert_eq!(write(&mut disk, SEG, 8, &[3; 10]), Err(DiskError::Full { file: SEG }));
    assert_eq!(disk.read_all()[&SEG], [vec![2; 8], vec![3; 7]].concat());
    assert_eq!(write(&mut disk, TAIL, 0, &[3]), Err(DiskError::Full { file: TAIL }));
    disk.truncate(SEG, 12).expect("no fault is armed");
    write(&mut disk, TAIL, 0, &[3; 3]).expect("three bytes were freed");
    assert_eq!(write(&mut disk, TAIL, 3, &[3]), Err(DiskError::Full { file: TAIL }));
    disk.remove(TAIL).expect("no fault is armed");
    write(&mut disk, SEG, 12, &[3; 3]).expect("three bytes were freed");
    disk.set_free_bytes(None);
    write(&mut disk, SEG, 15, &[3; 3000]).expect("lifted");
    assert_eq!(disk.fired(), Fired { full_writes: 3, ..Fired::default() });
}

#[test]
fn a_failed_write_writes_nothing_and_a_read_only_disk_refuses_every_change() {
    let mut disk = with_file(10);
    disk.fail_next_write();
    assert_eq!(write(&mut disk, SEG, 0, &[2]), Err(DiskError::Write { file: SEG }));
    disk.set_read_only(true);
    let refused = Err(DiskError::ReadOnly { file: SEG });
    assert_eq!(write(&mut disk, SEG, 0, &[2]), refused);
    assert_eq!(disk.truncate(SEG, 0), refused);
    assert_eq!(disk.remove(SEG), refused);
    assert_eq!(disk.read_all()[&SEG], vec![1; 10]);
    assert_eq!(disk.fired(), Fired { failed_writes: 1, read_only_refusals: 3, ..Fired::default() });
}

#[test]
fn rot_reaches_what_is_durable() {
    let mut disk = with_file(1000);
    write(&mut disk, SEG, 0, &[2; 10]).expect("no fault is armed");
    assert!(disk.rot(SEG, 600, 0xff) && disk.rot(SEG, 100, 1));
    assert!(!disk.rot(SEG, 1000, 1) && !disk.rot(TAIL, 0, 1) && !disk.rot(SEG, 0, 0));
    let durable = &disk.durable_image()[&SEG];
    assert_eq!((durable[600], durable[100], durable[0]), (0xfe, 0, 1));
    assert_eq!(disk.rot_any(&mut |_, n| n - 1), Some((SEG, 999)));
    assert_eq!(disk.read_all()[&SEG][999], 0x81);
    assert_eq!(Disk::default().rot_any(&mut |_, _| 0), None);
    assert_eq!(disk.fired(), Fired { rotten_bytes: 3, ..Fired::default() });
}

#[test]
fn a_misdirected_write_spoils_another_place_and_misses_its_own() {
    let mut disk = Disk::holding(&Image::from([(SEG, vec![1; 10]), (TAIL, vec![5; 10])]));
    disk.misdirect_next_write(TAIL, 8);
    write(&mut disk, SEG, 10, &[2; 4]).expect("nobody notices");
    disk.sync(SEG).expect("nobody notices");
    assert_eq!(disk.read_all()[&SEG], [vec![1; 10], vec![2; 4]].concat(), "the cache has it");
    let durable = disk.durable_image();
    assert_eq!(durable[&SEG], [vec![1; 10], vec![0; 4]].concat());
    assert_eq!(durable[&TAIL], [vec![5; 8], vec![2; 2]].concat());
    assert_eq!(disk.fired(), Fired { misdirected_writes: 1, ..Fired::default() });
}

#[test]
fn an_older_image_is_put_back_as_a_whole() {
    let mut disk = with_file(10);
    let backup = disk.snapshot();
    write(&mut disk, TAIL, 0, &[2; 10]).expect("no fault is armed");
    disk.restore(&backup);
    assert_eq!(disk.read_all(), backup);
    assert_eq!(disk.durable_image(), backup);
    assert_eq!(disk.fired(), Fired { restored_images: 1, ..Fired::default() });
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut disk = with_file(20_000);
    let mut fork = disk.clone();
    write(&mut fork, SEG, 9_000, &[2; 10]).expect("no fault is armed");
    write(&mut disk, SEG, 9_000, &[3; 10]).expect("no fault is armed");
    fork.crash(Unsynced::Everything, &mut never);
    assert_eq!(fork.read_all()[&SEG][9_000], 2);
    assert_eq!(disk.read_all()[&SEG][9_000], 3);
    disk.crash(Unsynced::Nothing, &mut never);
    assert_eq!(disk.read_all(), with_file(20_000).read_all());
}

/// The log on the disk, exhaustively: every image that a power loss in the fourth batch can leave, and in each of them every image
/// of a second loss in any step of the repair.
#[test]
fn every_crash_inside_every_repair_keeps_what_was_synced() {
    for (bytes, roll) in [(500, 4000), (20, 4000), (500, 900)] {
        let (mut disk, mut tail) = (Disk::default(), LogTail::fresh().rolling_at(roll));
        for _ in 0..3 {
            append(&mut disk, &mut tail, 100).expect("no fault is armed");
        }
        disk.append(&tail.append(Timestamp(1), 1, vec![9; bytes])).expect("no fault is armed");
        for mask in 0..1u64 << disk.unsynced() {
            let image = disk.crash_subset(mask);
            let opened = open(&image).expect("a crash alone never stops a node");
            assert!(opened.batches.len() >= 3 && opened.doubt.is_none());
            for step in 0..opened.repair.len() {
                crash_in_step(&image, &opened.repair, step);
            }
        }
    }
}

fn crash_in_step(image: &Image, repair: &[FileRepair], step: usize) {
    let mut disk = Disk::holding(image);
    disk.repair(&repair[..step]).expect("no fault is armed");
    let unsynced = FileRepair { sync: SyncSet::default(), ..repair[step].clone() };
    disk.repair(&[unsynced]).expect("no fault is armed");
    for mask in 0..1u64 << disk.unsynced() {
        let image = disk.crash_subset(mask);
        let opened = open(&image).expect("a crash alone never stops a node");
        assert!(opened.batches.len() >= 3 && opened.doubt.is_none());
    }
}

/// After a failed sync the batch can be read and is not durable. The repair writes it again, and so makes its own sync mean something.
#[test]
fn a_batch_read_after_a_failed_sync_is_made_durable_before_it_counts() {
    for failing in 0..3 {
        let (mut disk, mut tail) = (Disk::default(), LogTail::fresh());
        append(&mut disk, &mut tail, 100).expect("no fault is armed");
        let second = tail.append(Timestamp(1), 1, vec![9; 700]);
        disk.append(&second).expect("no fault is armed");
        for (i, file) in second.sync.files.iter().enumerate() {
            if i == failing {
                disk.fail_next_sync();
            }
            if disk.sync(*file).is_err() {
                break;
            }
        }
        let seen = disk.read_all();
        let opened = open(&seen).expect("the page cache has both batches");
        assert_eq!(opened.batches.len(), 2);
        disk.repair(&opened.repair).expect("no fault is armed");
        assert_eq!(disk.durable_image(), disk.read_all(), "both copies");
        assert_eq!(open(&disk.durable_image()).map(|opened| opened.batches.len()), Ok(2));
    }
}

/// The two faults that no log can notice by itself, so that nobody believes it does: they need witnesses outside the disk.
#[test]
fn a_lying_disk_and_an_old_backup_open_to_a_shorter_log() {
    let (mut disk, mut tail) = (Disk::default(), LogTail::fresh());
    append(&mut disk, &mut tail, 100).expect("no fault is armed");
    let backup = disk.snapshot();
    disk.set_lying(true);
    append(&mut disk, &mut tail, 100).expect("it lies");
    let mut restored = disk.clone();
    restored.restore(&backup);
    disk.crash(Unsynced::Nothing, &mut never);
    for image in [disk.read_all(), restored.read_all()] {
        assert_eq!(open(&image).map(|opened| opened.batches.len()), Ok(1));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
    Sync,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u64..6000, proptest::collection::vec(any::<u8>(), 0..3000))
            .prop_map(|(offset, bytes)| Op::Write { offset, bytes }),
        1 => (0u64..6000).prop_map(Op::Truncate),
        1 => Just(Op::Sync),
    ]
}

proptest! {
    /// What is read is the last written, what is durable is the last synced, and a power loss mixes the two by sectors.
    #[test]
    fn the_disk_agrees_with_a_plain_model(
        ops in proptest::collection::vec(op(), 1..30),
        choices in proptest::collection::vec(any::<u64>(), 1..40),
    ) {
        let (mut disk, mut now, mut durable) = (with_file(700), vec![1u8; 700], vec![1u8; 700]);
        for op in ops {
            match op {
                Op::Write { offset, bytes } => {
                    let end = offset as usize + bytes.len();
                    now.resize(now.len().max(end), 0);
                    now[offset as usize..end].copy_from_slice(&bytes);
                    write(&mut disk, SEG, offset, &bytes).expect("no fault is armed");
                }
                Op::Truncate(length) => {
                    now.truncate(length as usize);
                    disk.truncate(SEG, length).expect("no fault is armed");
                }
                Op::Sync => {
                    durable.clone_from(&now);
                    disk.sync(SEG).expect("no fault is armed");
                }
            }
            prop_assert_eq!(&disk.read_all()[&SEG], &now);
            prop_assert_eq!(&disk.durable_image()[&SEG], &durable);
        }
        let mut choices = choices.into_iter().cycle();
        disk.crash(Unsynced::AnySubset, &mut |_, n| choices.next().unwrap_or_default() % n);
        let found = &disk.read_all()[&SEG];
        for (i, sector) in found.chunks(SECTOR_BYTES).enumerate() {
            let of = |bytes: &[u8]| {
                let mut part = bytes.get(i * SECTOR_BYTES..).unwrap_or_default().to_vec();
                part.resize(SECTOR_BYTES, 0);
                part.truncate(sector.len());
                part
            };
            prop_assert!(sector == of(&now) || sector == of(&durable), "sector {}", i);
        }
    }
}

/// Goal: what was just given back is not taken for room; more room is.
#[test]
fn a_reserve_is_taken_only_where_there_is_as_much_again() {
    let mut disk = Disk::default();
    assert!(disk.hold_reserve(100));
    disk.set_free_bytes(Some(0));
    assert!(disk.hold_reserve(100), "it is held");
    assert_eq!(disk.release_reserve(), 100);
    assert!(!disk.hold_reserve(100), "100 are free");
    assert_eq!(disk.release_reserve(), 0);
    let write = FileWrite { file: FileName::Segment(1), offset: 0, bytes: vec![1; 100] };
    disk.write(&write).unwrap();
    let more = FileWrite { offset: 100, bytes: vec![1], ..write };
    assert_eq!(disk.write(&more), Err(DiskError::Full { file: more.file }));
    disk.set_free_bytes(Some(200));
    assert!(disk.hold_reserve(100));
}
