//! Names of the log's files, and the changes that the caller makes to them.
//!
//! Values only: nothing here touches a disk.

use alloc::vec::Vec;
use core::fmt;

use crate::types::Lsn;

/// A file in the node's log directory. Orders as the log reads: segments by number, then the mirrors, then the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// The `n`-th part of the log, counted from 1: `000001.log`.
    Segment(u32),
    /// The second copy of every second batch: `tail.0` and `tail.1`.
    Mirror(Slot),
    /// Present while the node may have forgotten something that it signed: `doubt`. Its presence counts, not its text.
    Doubt,
}

/// Which of the two mirrors. Consecutive batches use different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// `tail.0`, where the first batch of a log goes.
    Zero,
    /// `tail.1`.
    One,
}

impl Slot {
    /// Both mirrors, in order.
    pub const BOTH: [Slot; 2] = [Slot::Zero, Slot::One];

    /// The mirror of the batch after this one's.
    pub const fn other(self) -> Slot {
        match self {
            Slot::Zero => Slot::One,
            Slot::One => Slot::Zero,
        }
    }
}

impl FileName {
    /// The file of this name, or `None` for a name that no log file has (leave such files alone).
    ///
    /// Only the exact spelling of [`fmt::Display`] is a name, so two names never mean one file.
    pub fn parse(name: &str) -> Option<FileName> {
        match name {
            "tail.0" => return Some(FileName::Mirror(Slot::Zero)),
            "tail.1" => return Some(FileName::Mirror(Slot::One)),
            "doubt" => return Some(FileName::Doubt),
            _ => {}
        }
        let digits = name.strip_suffix(".log")?;
        if digits.len() < 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if digits.len() > 6 && digits.starts_with('0') {
            return None;
        }
        digits.parse().ok().filter(|n| *n > 0).map(FileName::Segment)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Segment(n) => write!(f, "{n:06}.log"),
            FileName::Mirror(Slot::Zero) => f.write_str("tail.0"),
            FileName::Mirror(Slot::One) => f.write_str("tail.1"),
            FileName::Doubt => f.write_str("doubt"),
        }
    }
}

/// Put `bytes` at `offset` of `file`, creating the file if it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWrite {
    /// The file to write to.
    pub file: FileName,
    /// Byte position of the first byte.
    pub offset: u64,
    /// What to write.
    pub bytes: Vec<u8>,
}

/// What must be synced before anything that depends on the preceding changes leaves the node.
///
/// The files may be synced in any order or at once; the directory after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncSet {
    /// Files whose contents and lengths must be durable.
    pub files: Vec<FileName>,
    /// Whether the directory's entries must be durable too (a file was created or removed).
    pub directory: bool,
}

/// One change to one file while a log is being mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write bytes, creating the file if it is not there.
    Write(FileWrite),
    /// Shorten `file` to `length` bytes. Never lengthens.
    Truncate {
        /// The file to shorten.
        file: FileName,
        /// Its length afterwards, in bytes.
        length: u64,
    },
    /// Remove the file. Removing one that is not there is fine.
    Remove {
        /// The file to remove.
        file: FileName,
    },
}

impl Change {
    /// The file that changes.
    pub fn file(&self) -> FileName {
        match self {
            Change::Write(write) => write.file,
            Change::Truncate { file, .. } | Change::Remove { file } => *file,
        }
    }
}

/// One step of mending a log: make the changes in order, then sync. The next step starts only after that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRepair {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// What to sync after them.
    pub sync: SyncSet,
}

impl FileRepair {
    /// A step that makes `changes` and syncs every file that they touch and leave in place, and the directory.
    pub(super) fn of(changes: Vec<Change>) -> FileRepair {
        let mut files: Vec<FileName> = changes
            .iter()
            .filter(|change| !matches!(change, Change::Remove { .. }))
            .map(Change::file)
            .collect();
        files.sort();
        files.dedup();
        FileRepair { changes, sync: SyncSet { files, directory: true } }
    }
}

/// `record 7 in 000001.log at byte 512`, the way every message of the log names a place.
pub(super) struct At(pub FileName, pub u64, pub Lsn);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} in {} at byte {}", self.2, self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_name_reads_back_as_itself() {
        for file in [
            FileName::Segment(1),
            FileName::Segment(999_999),
            FileName::Segment(1_000_000),
            FileName::Segment(u32::MAX),
            FileName::Mirror(Slot::Zero),
            FileName::Mirror(Slot::One),
            FileName::Doubt,
        ] {
            assert_eq!(FileName::parse(&file.to_string()), Some(file));
        }
    }

    #[test]
    fn other_spellings_are_not_names() {
        for name in [
            "",
            "1.log",
            "000000.log",
            "0000001.log",
            "+00001.log",
            "000001.LOG",
            "000001.log.old",
            "tail.2",
            "Doubt",
            "4294967296.log",
            "00000a.log",
            ".log",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
