//! Opening a log: any bytes as files, and a real log with any damage.
//!
//! The input's first byte chooses. Even: the rest is a [`Damaged`] log. Odd: the rest is cut into the files themselves.
//!
//! Properties: no panic; nothing is accepted that was not written, in its order; while the damage spares either all segments or
//! both mirrors, every synced batch is there, or the node refuses, or it doubts; what was mended opens again as it is.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use fairway_core::log::{
    Append, Change, FileName, FileRepair, FileWrite, LogTail, Opened, Slot, open,
};
use fairway_core::types::Timestamp;

type Files = BTreeMap<FileName, Vec<u8>>;

/// A log that was written, and what happened to its files.
#[derive(Arbitrary, Clone, Debug)]
pub struct Damaged {
    /// The synced batches, oldest first: how many bytes of payload each.
    pub synced: Vec<u16>,
    /// A batch that was written and not synced, and how much of each copy persisted (of 256).
    pub in_flight: Option<(u16, u8, u8)>,
    /// Segments roll over at this many times 64 bytes.
    pub roll: u8,
    /// What happened to the files, in this order.
    pub edits: Vec<Edit>,
}

/// One piece of damage. Files are numbered in their order, bytes from the start, both modulo what there is.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    /// Some bits of one byte are flipped.
    Flip {
        /// Which file.
        file: u8,
        /// Which byte.
        at: u16,
        /// Which bits.
        mask: u8,
    },
    /// A stretch reads as zeros.
    Zero {
        /// Which file.
        file: u8,
        /// The first byte.
        at: u16,
        /// How many bytes.
        bytes: u16,
    },
    /// The file is cut.
    Cut {
        /// Which file.
        file: u8,
        /// Its length.
        at: u16,
    },
    /// Something stands behind the file's end.
    Extend {
        /// Which file.
        file: u8,
        /// What.
        bytes: Vec<u8>,
    },
    /// The file is gone.
    Remove {
        /// Which file.
        file: u8,
    },
    /// A stretch of one file stands in another: a misdirected write, with a sound checksum of its own.
    Copy {
        /// From which file.
        from: u8,
        /// From which byte on.
        from_at: u16,
        /// To which file.
        to: u8,
        /// To which byte on.
        to_at: u16,
        /// How many bytes.
        bytes: u16,
    },
}

/// The fuzz body.
pub fn log_open(data: &[u8]) {
    match data.split_first() {
        None => check_any_bytes(&Files::new()),
        Some((kind, rest)) if kind % 2 == 1 => check_any_bytes(&files_from(rest)),
        Some((_, rest)) => {
            if let Ok(damaged) = Damaged::arbitrary_take_rest(Unstructured::new(rest)) {
                check_damaged(&damaged);
            }
        }
    }
}

/// Cuts bytes into files: a name, a length in two bytes, the contents, and again.
fn files_from(mut bytes: &[u8]) -> Files {
    let mut files = Files::new();
    while let Some(([name, low, high], rest)) = bytes.split_first_chunk() {
        let name = match name % 6 {
            0 => FileName::Mirror(Slot::Zero),
            1 => FileName::Mirror(Slot::One),
            2 => FileName::Doubt,
            n => FileName::Segment(u32::from(n) - 2),
        };
        let (contents, rest) =
            rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        files.insert(name, contents.to_vec());
        bytes = rest;
    }
    files
}

fn check_any_bytes(files: &Files) {
    if let Ok(opened) = open(files) {
        check_mended(files, &opened);
    }
}

fn check_damaged(damaged: &Damaged) {
    let Written { mut files, batches, synced } = write_log(damaged);
    let original = files.clone();
    damaged.edits.iter().for_each(|edit| apply(edit, &mut files));

    let Ok(opened) = open(&files) else { return };
    let found = opened.batches.iter().map(|batch| batch.payload);
    assert!(
        opened.batches.len() <= batches.len()
            && found.zip(&batches).all(|(found, written)| found == written),
        "accepted what was never written, or not in its order"
    );
    let untouched = |mirrors: bool| {
        let is_mirror = |file: &FileName| matches!(file, FileName::Mirror(_));
        let side = |files: &Files| -> Files {
            let of_side = files.iter().filter(|(file, _)| is_mirror(file) == mirrors);
            of_side.map(|(file, bytes)| (*file, bytes.clone())).collect()
        };
        side(&files) == side(&original)
    };
    if untouched(true) || untouched(false) {
        let complete = opened.batches.len() >= synced;
        assert!(
            complete || opened.doubt.is_some(),
            "{} of {synced} synced batches",
            opened.batches.len()
        );
    }
    check_mended(&files, &opened);
}

/// After the repair the log opens to the same batches, with nothing left to mend.
fn check_mended(files: &Files, opened: &Opened<'_>) {
    let mut mended = files.clone();
    opened.repair.iter().for_each(|step| repair(&mut mended, step));
    let again = open(&mended).expect("a mended log opens");
    assert_eq!(again.batches, opened.batches);
    assert_eq!(again.findings, []);
    assert_eq!(again.tail, opened.tail);
    assert_eq!(again.doubt.is_some(), opened.doubt.is_some());
}

struct Written {
    files: Files,
    /// The payloads, the one in flight included.
    batches: Vec<Vec<u8>>,
    /// How many of them were synced.
    synced: usize,
}

fn write_log(damaged: &Damaged) -> Written {
    let mut tail = LogTail::fresh().rolling_at(u64::from(damaged.roll) * 64);
    let mut written = Written { files: Files::new(), batches: Vec::new(), synced: 0 };
    for bytes in damaged.synced.iter().take(BATCHES_MAX) {
        let append = next_batch(&mut tail, &mut written, *bytes);
        append.writes.iter().for_each(|change| write(&mut written.files, change));
        tail.synced(append.end);
        written.synced += 1;
    }
    if let Some((bytes, segment, mirror)) = damaged.in_flight {
        let append = next_batch(&mut tail, &mut written, bytes);
        for (change, persisted) in append.writes.iter().zip([segment, mirror]) {
            let bytes = change.bytes.len() * (usize::from(persisted) + 1) / 256;
            let part = FileWrite { bytes: change.bytes[..bytes].to_vec(), ..change.clone() };
            write(&mut written.files, &part);
        }
    }
    written
}

fn next_batch(tail: &mut LogTail, written: &mut Written, bytes: u16) -> Append {
    let number = written.batches.len() as u64;
    let payload: Vec<u8> =
        (0..u64::from(bytes) % PAYLOAD_BYTES_MAX).map(|at| (number * 31 + at * 7) as u8).collect();
    written.batches.push(payload.clone());
    tail.append(Timestamp(number), 1 + bytes as u32 % 3, payload)
}

/// Enough for several segments and more than the mirrors remember.
const BATCHES_MAX: usize = 12;
const PAYLOAD_BYTES_MAX: u64 = 1500;

fn write(files: &mut Files, change: &FileWrite) {
    let file = files.entry(change.file).or_default();
    let (start, end) = (change.offset as usize, change.offset as usize + change.bytes.len());
    file.resize(file.len().max(end), 0);
    file[start..end].copy_from_slice(&change.bytes);
}

fn repair(files: &mut Files, step: &FileRepair) {
    for change in &step.changes {
        match change {
            Change::Write(change) => write(files, change),
            Change::Truncate { file, length } => {
                let bytes = files.get_mut(file).expect("only files that are there are truncated");
                assert!(*length as usize <= bytes.len(), "a truncation lengthens {file}");
                bytes.truncate(*length as usize);
            }
            Change::Remove { file } => drop(files.remove(file)),
        }
    }
    assert!(
        step.sync.files.iter().all(|file| files.contains_key(file)),
        "only files that are there are synced"
    );
}

fn apply(edit: &Edit, files: &mut Files) {
    match edit {
        Edit::Flip { file, at, mask } => {
            let Some(bytes) = chosen(files, *file) else { return };
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(usize::from(*at) % length) {
                *byte ^= mask;
            }
        }
        Edit::Zero { file, at, bytes: zeros } => {
            let Some(bytes) = chosen(files, *file) else { return };
            let start = usize::from(*at) % bytes.len().max(1);
            bytes.iter_mut().skip(start).take(usize::from(*zeros)).for_each(|byte| *byte = 0);
        }
        Edit::Cut { file, at } => {
            let Some(bytes) = chosen(files, *file) else { return };
            bytes.truncate(usize::from(*at) % bytes.len().max(1));
        }
        Edit::Extend { file, bytes: more } => {
            let Some(bytes) = chosen(files, *file) else { return };
            bytes.extend_from_slice(more);
        }
        Edit::Remove { file } => {
            if let Some(name) = name_of(files, *file) {
                files.remove(&name);
            }
        }
        Edit::Copy { from, from_at, to, to_at, bytes: length } => {
            let Some(source) = chosen(files, *from) else { return };
            let start = usize::from(*from_at) % source.len().max(1);
            let copied: Vec<u8> =
                source.iter().skip(start).take(usize::from(*length)).copied().collect();
            let Some(target) = chosen(files, *to) else { return };
            let start = usize::from(*to_at) % target.len().max(1);
            target.iter_mut().skip(start).zip(copied).for_each(|(byte, copy)| *byte = copy);
        }
    }
}

fn name_of(files: &Files, number: u8) -> Option<FileName> {
    files.keys().nth(usize::from(number) % files.len().max(1)).copied()
}

fn chosen(files: &mut Files, number: u8) -> Option<&mut Vec<u8>> {
    let name = name_of(files, number)?;
    files.get_mut(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_corpus_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/log_open");
        let mut inputs = 0;
        for entry in fs::read_dir(folder).expect("corpus/log_open is part of the repository") {
            log_open(&fs::read(entry.expect("a readable entry").path()).expect("a readable file"));
            inputs += 1;
        }
        assert!(inputs > 0, "an empty corpus tests nothing");
    }

    #[test]
    fn random_inputs_hold() {
        bolero::check!().with_iterations(4000).with_max_len(512).for_each(log_open);
    }
}
