//! The case table of `docs/adr/0001-log-last-batch.md`, row by row.
//!
//! A log of three synced batches (n = 3) of 60 bytes, sometimes with a fourth that was in flight (u), is damaged; each row says what
//! opening makes of it. Numbers in the names are the rows of the table.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::frame::{Flaw, encode};
use super::testdisk::{TestDisk, append_synced, append_unsynced, payload, payloads};
use super::walk::Files;
use super::{
    Base, Batch, ChainHash, Change, Doubt, FRAME_BYTES_MAX, FRAME_OVERHEAD_BYTES, FileName,
    LogTail, OpenError, PREAMBLE_BYTES, Slot, doubt_cleared, doubt_raised, open, open_from,
};
use crate::types::{Lsn, Timestamp};

const PAYLOAD: usize = 60;
const FRAME: usize = PAYLOAD + FRAME_OVERHEAD_BYTES;
const SEG: FileName = FileName::Segment(1);
const SEG2: FileName = FileName::Segment(2);
const M0: FileName = FileName::Mirror(Slot::Zero);
const M1: FileName = FileName::Mirror(Slot::One);
const ONE_SEGMENT: u64 = 4000;
/// Two batches a segment.
const TWO_EACH: u64 = (PREAMBLE_BYTES + 2 * FRAME) as u64;

/// Where batch `i` stands in the first segment.
fn at(i: usize) -> usize {
    PREAMBLE_BYTES + (i - 1) * FRAME
}

/// `n` synced batches.
fn synced(n: u64, roll: u64) -> Files {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(roll));
    (1..=n).for_each(|i| append_synced(&mut disk, &mut tail, i, PAYLOAD));
    disk.now
}

/// `n` synced batches, and one more of which the files in `persisted` have everything and the others nothing.
fn in_flight(n: u64, roll: u64, persisted: &[FileName]) -> Files {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh().rolling_at(roll));
    (1..=n).for_each(|i| append_synced(&mut disk, &mut tail, i, PAYLOAD));
    let mut files = disk.now.clone();
    append_unsynced(&mut disk, &mut tail, n + 1, PAYLOAD);
    for file in persisted {
        files.insert(*file, disk.now[file].clone());
    }
    files
}

fn bytes(files: &mut Files, file: FileName) -> &mut Vec<u8> {
    files.get_mut(&file).expect("the fixture has this file")
}

fn rot(files: &mut Files, file: FileName, at: usize) {
    bytes(files, file)[at] ^= 0x40;
}

/// What opening says, in one line: how many batches, what was mended, or why not.
fn outcome(files: &Files) -> String {
    let opened = match open(files) {
        Ok(opened) => opened,
        Err(error) => return error.to_string(),
    };
    let expected: Vec<_> = (1..=opened.batches.len() as u64).map(|i| payload(i, PAYLOAD)).collect();
    assert_eq!(payloads(&opened), expected);
    let mut text = opened.batches.len().to_string();
    opened.findings.iter().for_each(|finding| text += &alloc::format!("; {finding}"));
    opened.doubt.iter().for_each(|doubt| text += &alloc::format!("; doubt: {doubt}"));
    check_repair(files, opened.batches.len(), opened.doubt.is_some());
    text
}

/// The repair leads to a log that opens to the same batches with nothing left to mend, keeps a doubt, and can be continued.
fn check_repair(files: &Files, batches: usize, doubt: bool) {
    let opened = open(files).expect("it opened before");
    let mut disk = TestDisk::holding(files.clone());
    disk.repair(&opened.repair);
    let mended = disk.now.clone();
    let again = open(&mended).expect("a mended log opens");
    assert_eq!(again.batches.len(), batches);
    assert_eq!(again.findings, []);
    assert_eq!(again.doubt, doubt.then_some(Doubt::Standing));
    assert_eq!(again.tail, opened.tail, "the tail is the one that the repair leads to");

    let mut tail = opened.tail.clone();
    append_synced(&mut disk, &mut tail, batches as u64 + 1, PAYLOAD);
    assert_eq!(open(&disk.now).map(|opened| opened.batches.len()), Ok(batches + 1));
}

fn starts(files: &Files, expected: &str) {
    let text = outcome(files);
    assert!(text.starts_with(expected), "expected {expected}\n   found {text}");
}

#[test]
fn row_01_nothing_is_there() {
    assert_eq!(outcome(&Files::new()), "0");
    assert_eq!(open(&Files::new()).map(|opened| opened.repair), Ok(vec![]));
}

#[test]
fn row_02_both_copies_are_good() {
    assert_eq!(outcome(&synced(3, ONE_SEGMENT)), "3");
    assert_eq!(outcome(&in_flight(3, ONE_SEGMENT, &[SEG, M1])), "4");
}

#[test]
fn row_03_nothing_of_the_batch_in_flight_persisted() {
    assert_eq!(outcome(&in_flight(3, ONE_SEGMENT, &[])), "3");
}

#[test]
fn row_04_only_the_segment_has_the_batch_in_flight() {
    assert_eq!(outcome(&in_flight(3, ONE_SEGMENT, &[SEG])), "4");
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG, M1]);
    bytes(&mut files, M1).truncate(100);
    assert_eq!(
        outcome(&files),
        "4; tail.1 holds no whole batch: the file ends 72 bytes before the batch does"
    );
}

#[test]
fn row_05_only_the_mirror_has_the_batch_in_flight() {
    let adopted = "4; record 7 in 000001.log at byte 452: taken from tail.1";
    assert_eq!(outcome(&in_flight(3, ONE_SEGMENT, &[M1])), adopted);
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG, M1]);
    bytes(&mut files, SEG).truncate(at(4) + 100);
    assert_eq!(outcome(&files), adopted);
    bytes(&mut files, SEG)[at(4)..].fill(0);
    assert_eq!(outcome(&files), adopted, "extended, no data");
}

#[test]
fn row_06_both_copies_of_the_batch_in_flight_are_torn() {
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG, M1]);
    bytes(&mut files, SEG).truncate(at(4) + 100);
    bytes(&mut files, M1).truncate(100);
    starts(
        &files,
        "3; record 7 in 000001.log at byte 452: 100 bytes of a torn batch were cut (the file ends 40 bytes",
    );
}

#[test]
fn row_07_the_segment_was_extended_without_data() {
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG]);
    bytes(&mut files, SEG)[at(4)..].fill(0);
    starts(
        &files,
        "3; record 7 in 000001.log at byte 452: 140 bytes of a torn batch were cut (the header's checksum",
    );
}

#[test]
fn row_08_the_payload_persisted_and_the_header_did_not() {
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG, M1]);
    bytes(&mut files, SEG)[at(4)..at(4) + 50].fill(0);
    bytes(&mut files, M1)[..50].fill(0);
    starts(&files, "3; record 7 in 000001.log at byte 452: 140 bytes of a torn batch were cut");
}

#[test]
fn row_09_a_torn_batch_contains_what_looks_like_a_record() {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh());
    (1..=3).for_each(|i| append_synced(&mut disk, &mut tail, i, PAYLOAD));
    let later = Batch { first: Lsn(9), count: 1, time: Timestamp(1), payload: vec![1; 9] };
    let hostile = [vec![5; 200], encode(&later, ChainHash([1; 32])).0].concat();
    let append = tail.append(Timestamp(1), 1, hostile);
    disk.write(&append.writes[0]);
    bytes(&mut disk.now, SEG)[at(4)..at(4) + 50].fill(0);
    starts(&disk.now, "3; record 7 in 000001.log at byte 452: 369 bytes of a torn batch were cut");
}

#[test]
fn row_10_a_new_segment_was_begun_and_its_entry_vanished_or_is_empty() {
    assert_eq!(outcome(&in_flight(2, TWO_EACH, &[])), "2");
    assert_eq!(
        outcome(&in_flight(2, TWO_EACH, &[M0])),
        "3; record 6 in 000001.log at byte 312: taken from tail.0",
        "any place will do"
    );
    let mut files = in_flight(2, TWO_EACH, &[SEG2]);
    bytes(&mut files, SEG2).clear();
    assert_eq!(outcome(&files), "2");
    bytes(&mut files, SEG2).extend([0; 100]);
    starts(&files, "2; record 6 in 000002.log at byte 0: 100 bytes of a torn batch were cut");
    bytes(&mut files, SEG2).truncate(10);
    starts(&files, "2; record 6 in 000002.log at byte 0: 10 bytes of a torn batch were cut");
}

#[test]
fn row_11_the_first_batch_of_all_is_torn() {
    for persisted in [&[][..], &[SEG], &[M0], &[SEG, M0]] {
        let mut files = in_flight(0, ONE_SEGMENT, persisted);
        files.values_mut().for_each(|bytes| bytes.truncate(100));
        starts(&files, "0");
        assert_eq!(open(&files).map(|opened| opened.doubt), Ok(None));
    }
    assert_eq!(
        outcome(&in_flight(0, ONE_SEGMENT, &[M0])),
        "1; record 1 in 000001.log at byte 0: taken from tail.0"
    );
}

#[test]
fn row_12_the_last_batch_rotted_in_the_segment() {
    for place in [0, 9, 41, 50, FRAME - 1] {
        let mut files = synced(3, ONE_SEGMENT);
        rot(&mut files, SEG, at(3) + place);
        assert_eq!(outcome(&files), "3; record 6 in 000001.log at byte 312: taken from tail.0");
    }
    let mut files = synced(3, TWO_EACH);
    rot(&mut files, SEG2, 3);
    assert_eq!(
        outcome(&files),
        "3; record 6 in 000002.log at byte 0: taken from tail.0",
        "its preamble"
    );
}

#[test]
fn row_13_a_mirror_rotted() {
    for file in [M0, M1] {
        let mut files = synced(3, ONE_SEGMENT);
        rot(&mut files, file, 90);
        assert_eq!(
            outcome(&files),
            alloc::format!("3; {file} holds no whole batch: the chain hash does not match")
        );
    }
}

#[test]
fn row_14_the_batch_before_the_last_rotted_in_the_segment() {
    let mut files = synced(3, ONE_SEGMENT);
    rot(&mut files, SEG, at(2) + 70);
    assert_eq!(outcome(&files), "3; record 3 in 000001.log at byte 172: taken from tail.1");
    rot(&mut files, SEG, at(3) + 70);
    starts(&files, "3; record 3 in 000001.log at byte 172: taken from tail.1; record 6");
}

#[test]
fn row_15_the_last_batch_rotted_and_the_one_in_flight_is_torn() {
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG, M1]);
    rot(&mut files, SEG, at(3) + 70);
    starts(&files, "4; record 6 in 000001.log at byte 312: taken from tail.0");
    bytes(&mut files, M1).truncate(50);
    starts(&files, "4; record 6 in 000001.log at byte 312: taken from tail.0");
    bytes(&mut files, SEG).truncate(at(4) + 50);
    starts(
        &files,
        "3; record 6 in 000001.log at byte 312: taken from tail.0; record 7 in 000001.log at byte 452: 50",
    );

    let mut files = in_flight(2, TWO_EACH, &[SEG2]);
    rot(&mut files, SEG, at(2) + 70);
    bytes(&mut files, SEG2).truncate(90);
    starts(
        &files,
        "2; record 3 in 000001.log at byte 172: taken from tail.1; record 6 in 000002.log at byte 0: 90",
    );
}

#[test]
fn row_16_a_file_was_cut_to_an_earlier_end() {
    let mut files = synced(3, ONE_SEGMENT);
    bytes(&mut files, SEG).truncate(at(3));
    assert_eq!(outcome(&files), "3; record 6 in 000001.log at byte 312: taken from tail.0");
    bytes(&mut files, SEG).truncate(at(2));
    starts(&files, "3; record 3 in 000001.log at byte 172: taken from tail.1; record 6");
    bytes(&mut files, SEG).truncate(at(1));
    starts(
        &files,
        "record 1 in 000001.log at byte 0: 0 bytes are less than a header, but tail.0 holds record 6, so it had been synced",
    );
}

#[test]
fn row_17_an_earlier_batch_rotted() {
    let mut files = synced(4, ONE_SEGMENT);
    rot(&mut files, SEG, at(2) + 70);
    starts(
        &files,
        "record 3 in 000001.log at byte 172: the chain hash does not match, but tail.0 holds record 6",
    );
    let text = outcome(&files);
    assert!(text.contains("restore this file from another copy"), "{text}");
}

#[test]
fn row_18_an_earlier_segment_is_damaged_or_missing() {
    for mirrors in [true, false] {
        let mut files = synced(6, TWO_EACH);
        if !mirrors {
            files.remove(&M0);
            files.remove(&M1);
        }
        let why = if mirrors { "tail.0 holds record 9" } else { "000003.log exists" };
        let mut damaged = files.clone();
        rot(&mut damaged, SEG2, PREAMBLE_BYTES + 60);
        starts(
            &damaged,
            &alloc::format!(
                "record 6 in 000002.log at byte 0: the chain hash does not match, but {why}"
            ),
        );
        damaged.remove(&SEG2);
        starts(
            &damaged,
            &alloc::format!("record 6 in 000002.log at byte 0: nothing is there, but {why}"),
        );
        damaged.remove(&SEG);
        starts(
            &damaged,
            &alloc::format!("record 1 in 000001.log at byte 0: nothing is there, but {why}"),
        );
    }
}

#[test]
fn row_19_the_last_segment_is_missing() {
    let mut files = synced(4, TWO_EACH);
    files.remove(&SEG2);
    starts(&files, "4; record 6 in 000001.log at byte 312: taken from tail.0; record 7");
    let mut files = synced(5, (PREAMBLE_BYTES + 3 * FRAME) as u64);
    files.remove(&SEG2);
    starts(&files, "5; record 7 in 000001.log at byte 452: taken from tail.1; record 9");
    let mut files = synced(6, (PREAMBLE_BYTES + 3 * FRAME) as u64);
    files.remove(&SEG2);
    starts(
        &files,
        "record 7 in 000001.log at byte 452: nothing is there, but tail.0 holds record 9",
    );
}

#[test]
fn row_20_the_mirrors_are_gone_and_the_segments_good() {
    let mut files = synced(3, ONE_SEGMENT);
    files.remove(&M0);
    assert_eq!(outcome(&files), "3");
    files.remove(&M1);
    assert_eq!(outcome(&files), "3");
}

#[test]
fn row_21_the_mirrors_are_gone_and_the_last_batch_is_bad() {
    for place in [9, 70] {
        let mut files = synced(3, ONE_SEGMENT);
        rot(&mut files, SEG, at(3) + place);
        files.remove(&M0);
        files.remove(&M1);
        starts(
            &files,
            "2; doubt: record 6 in 000001.log at byte 312: 140 bytes were cut, and no mirror shows",
        );
    }
}

#[test]
fn row_22_the_mirrors_are_gone_and_an_earlier_batch_is_bad() {
    let mut files = synced(3, ONE_SEGMENT);
    files.remove(&M0);
    files.remove(&M1);
    let mut header = files.clone();
    rot(&mut header, SEG, at(2) + 9);
    starts(
        &header,
        "record 3 in 000001.log at byte 172: the header's checksum does not match, but record 6 stands behind it at byte 312",
    );
    rot(&mut files, SEG, at(2) + 70);
    starts(
        &files,
        "record 3 in 000001.log at byte 172: the chain hash does not match, but 140 bytes stand behind it",
    );
}

#[test]
fn row_23_the_mirrors_are_older_than_the_segments() {
    let (old, mut files) = (synced(3, ONE_SEGMENT), synced(6, ONE_SEGMENT));
    files.insert(M0, old[&M0].clone());
    files.insert(M1, old[&M1].clone());
    assert_eq!(outcome(&files), "6");
    rot(&mut files, SEG, at(6) + 70);
    starts(&files, "5; doubt: record 12 in 000001.log at byte 732");
}

#[test]
fn row_24_the_segments_are_older_than_the_mirrors() {
    let mut files = synced(6, ONE_SEGMENT);
    files.insert(SEG, synced(4, ONE_SEGMENT)[&SEG].clone());
    starts(&files, "6; record 9 in 000001.log at byte 592: taken from tail.0; record 12");
    files.insert(SEG, synced(3, ONE_SEGMENT)[&SEG].clone());
    starts(
        &files,
        "record 7 in 000001.log at byte 452: nothing is there, but tail.0 holds record 9",
    );
}

#[test]
fn row_25_a_mirror_of_another_log() {
    let (mut disk, mut tail) = (TestDisk::default(), LogTail::fresh());
    (1..=3).for_each(|i| append_synced(&mut disk, &mut tail, i, PAYLOAD + 1));
    for mirror in [M0, M1] {
        let mut files = synced(3, ONE_SEGMENT);
        files.insert(mirror, disk.now[&mirror].clone());
        let lsn = if mirror == M0 { 6 } else { 3 };
        starts(
            &files,
            &alloc::format!(
                "record {lsn} in {mirror} at byte 32: it does not belong to the history"
            ),
        );
    }
    let mut files = synced(2, ONE_SEGMENT);
    files.insert(M0, disk.now[&M0].clone());
    starts(&files, "record 6 in tail.0 at byte 32: it does not belong");
}

#[test]
fn row_26_a_later_format() {
    let newer = |bytes: &mut Vec<u8>, start: usize| {
        bytes[start + 4] = 2;
        let seal = *blake3::hash(&bytes[start..start + 40]).as_bytes();
        bytes[start + 40..start + 48].copy_from_slice(&seal[..8]);
    };
    let mut files = synced(4, ONE_SEGMENT);
    newer(bytes(&mut files, SEG), at(2));
    let version = |offset, file| OpenError::NewerFormat { file, offset, lsn: Lsn(3), version: 2 };
    assert_eq!(open(&files).err(), Some(version(at(2) as u64, SEG)));
    let mut files = synced(1, ONE_SEGMENT);
    newer(bytes(&mut files, M0), PREAMBLE_BYTES);
    assert_eq!(open(&files).err(), Some(version(PREAMBLE_BYTES as u64, M0)));
}

#[test]
fn row_27_more_is_there_than_one_batch_can_leave() {
    let mut files = synced(3, ONE_SEGMENT);
    bytes(&mut files, SEG).extend(vec![0; FRAME_BYTES_MAX]);
    starts(&files, "3; record 7 in 000001.log at byte 452");
    bytes(&mut files, SEG).push(0);
    starts(
        &files,
        "record 7 in 000001.log at byte 452: the header's checksum does not match, but 1 bytes stand behind it",
    );
}

#[test]
fn row_28_both_mirrors_are_bad_and_the_batch_in_flight_is_torn() {
    let mut files = in_flight(3, ONE_SEGMENT, &[SEG, M1]);
    bytes(&mut files, SEG).truncate(at(4) + 100);
    bytes(&mut files, M1).truncate(100);
    rot(&mut files, M0, 90);
    starts(
        &files,
        "3; tail.0 holds no whole batch: the chain hash does not match; tail.1 holds no",
    );
    assert!(open(&files).is_ok_and(|opened| opened.doubt.is_some()));
}

/// Beyond the budget, and stated as such: two rotten copies look like two torn ones.
#[test]
fn row_29_the_last_batch_rotted_in_both_copies() {
    let mut files = synced(3, ONE_SEGMENT);
    rot(&mut files, SEG, at(3) + 70);
    rot(&mut files, M0, 90);
    starts(&files, "2; record 6 in 000001.log at byte 312: 140 bytes of a torn batch were cut");
}

#[test]
fn row_30_a_doubt_stands_until_it_is_cleared() {
    let mut disk = TestDisk::holding(synced(3, ONE_SEGMENT));
    disk.repair(&[doubt_raised("restored from a backup")]);
    starts(&disk.now, "3; doubt: the file doubt is there");
    disk.repair(&[doubt_cleared()]);
    assert_eq!(outcome(&disk.now), "3");
}

/// The marker is durable before the evidence is cut: every crash inside the repair leaves a log that is in doubt.
#[test]
fn a_crash_inside_the_repair_never_forgets_a_doubt() {
    let mut files = synced(3, ONE_SEGMENT);
    rot(&mut files, SEG, at(3) + 70);
    files.remove(&M0);
    files.remove(&M1);
    let opened = open(&files).expect("row 21");
    assert_eq!(opened.repair.len(), 3);
    for done in 0..=3 {
        for choice in 0..3 {
            let mut disk = TestDisk::holding(files.clone());
            disk.repair(&opened.repair[..done]);
            if let Some(step) = opened.repair.get(done) {
                step.changes.iter().for_each(|change: &Change| disk.change(change));
            }
            let image = disk.image(512, &mut |n| choice % n);
            let again = open(&image).expect("a crash alone never stops a node");
            assert!(again.doubt.is_some(), "after {done} steps, choice {choice}");
            assert_eq!(again.batches.len(), 2);
        }
    }
}

#[test]
fn a_log_opens_above_archived_segments() {
    let files = synced(6, TWO_EACH);
    let whole = open(&files).expect("it is good");
    let below = &whole.batches[1];
    let base = Base { segment: 2, next: Lsn(below.last().0 + 1), head: below.chain };
    for archived in [true, false] {
        let mut rest = files.clone();
        if archived {
            rest.remove(&SEG);
        }
        let opened = open_from(&rest, base).expect("it is good");
        assert_eq!(opened.batches, whole.batches[2..]);
        assert_eq!(opened.tail, whole.tail);
    }
    let wrong = Base { head: ChainHash([1; 32]), ..base };
    let refused = open_from(&files, wrong).map(|_| ()).map_err(|error| error.to_string());
    assert!(refused.is_err_and(|text| text.contains(&Flaw::Preamble.to_string())));
}

#[test]
fn a_log_whose_segments_are_all_archived_goes_on() {
    let files = synced(2, TWO_EACH);
    let head = open(&files).expect("it is good").tail.head();
    let mut disk = TestDisk::holding(files);
    disk.now.remove(&SEG);
    let opened =
        open_from(&disk.now, Base { segment: 2, next: Lsn(6), head }).map(|opened| opened.tail);
    let mut tail = opened.expect("nothing is missing above the base");
    assert_eq!(tail.slot, Slot::Zero, "the mirror of the last batch is kept");
    append_synced(&mut disk, &mut tail, 3, PAYLOAD);
    let opened = open_from(&disk.now, Base { segment: 2, next: Lsn(6), head }).expect("it is good");
    assert_eq!(opened.batches.len(), 1);
}

/// Beyond what the disk model demands: even if everything that a step writes ends as garbage, what was synced can still be read.
#[test]
fn no_step_of_a_repair_writes_over_the_only_good_copy() {
    let last_bad = |files: &mut Files| rot(files, SEG, at(3) + 70);
    let mirror_bad = |files: &mut Files| rot(files, M0, 90);
    let both_bad = |files: &mut Files| {
        rot(files, SEG, at(2) + 70);
        rot(files, M0, 90);
    };
    let last_two_bad = |files: &mut Files| {
        rot(files, SEG, at(2) + 70);
        rot(files, SEG, at(3) + 70);
    };
    let damages: [&dyn Fn(&mut Files); 5] =
        [&|_| {}, &last_bad, &mirror_bad, &both_bad, &last_two_bad];
    for damage in damages {
        let mut files = synced(3, ONE_SEGMENT);
        damage(&mut files);
        let opened = open(&files).expect("it can be mended");
        for (i, step) in opened.repair.iter().enumerate() {
            let mut disk = TestDisk::holding(files.clone());
            disk.repair(&opened.repair[..i]);
            step.changes.iter().for_each(|change| disk.change(change));
            for change in &step.changes {
                if let Change::Write(write) = change {
                    let start = write.offset as usize;
                    bytes(&mut disk.now, write.file)[start..start + write.bytes.len()].fill(0xa5);
                }
            }
            let again = open(&disk.now).expect("one good copy is left");
            assert_eq!(again.batches.len(), 3);
        }
    }
}
