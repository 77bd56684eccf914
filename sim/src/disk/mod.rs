//! The simulated disk of one node: page cache, durable contents, directory entries, and everything that goes wrong between them.
//!
//! It keeps what a power loss needs and nothing else: beside the current bytes, the durable contents of each sector that is not
//! synced. Writes and syncs therefore cost what they touch, and a clone shares all pages until one side writes.
//!
//! What the model promises a node, and no more: a sector is old or new as a whole; sectors, lengths and directory entries that
//! are not synced persist in any combination; a sync of a file says nothing about its directory entry. The faults break these
//! promises one at a time and are counted in [`Fired`].

mod crash;
mod file;

use std::collections::BTreeMap;

use fairway_core::log::{Append, Change, FileName, FileRepair, FileWrite, SyncSet};

pub use crash::Unsynced;
use file::File;

/// Bytes that a disk writes as a whole.
pub const SECTOR_BYTES: usize = 512;

/// The contents of a directory: of every file all its bytes.
pub type Image = BTreeMap<FileName, Vec<u8>>;

/// A draw below `n` for a named site: the choice tape.
pub type Choose<'a> = dyn FnMut(&'static str, u64) -> u64 + 'a;

/// The disk of one node. Survives the node; [`Disk::crash`] is what a power loss does to it.
///
/// A killed process leaves a disk as it is: the page cache survives.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    entries: BTreeMap<FileName, Entry>,
    /// Numbers the sector writes, for [`Unsynced::Prefix`].
    order: u64,
    armed: Armed,
    fired: Fired,
    work: Work,
    /// Bytes that the node keeps occupied, so that it can give them back.
    reserved: u64,
}

/// A name in the directory: what it means now, and what it means after a power loss.
#[derive(Clone, Debug)]
struct Entry {
    now: Option<File>,
    durable: Durable,
}

#[derive(Clone, Debug)]
enum Durable {
    /// The same file.
    Same,
    /// Nothing: the file is new.
    Absent,
    /// A file that was removed since.
    Other(File),
}

/// Faults that wait for their moment.
#[derive(Clone, Debug, Default)]
struct Armed {
    fail_next_write: bool,
    fail_next_sync: bool,
    misdirect_next_write: Option<(FileName, u64)>,
    free_bytes: Option<u64>,
    lying: bool,
    read_only: bool,
}

/// How often each fault fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// Power losses.
    pub crashes: u64,
    /// Sectors that were not synced and went back to what they had been.
    pub sectors_lost: u64,
    /// Files whose unsynced length was lost or reached in part.
    pub lengths_lost: u64,
    /// Directory changes that were not synced and were undone.
    pub entries_lost: u64,
    /// Writes that failed.
    pub failed_writes: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Syncs that reported success and did nothing.
    pub lying_syncs: u64,
    /// Writes refused for want of space.
    pub full_writes: u64,
    /// Changes refused because the disk is read-only.
    pub read_only_refusals: u64,
    /// Bytes that rotted.
    pub rotten_bytes: u64,
    /// Writes that went to the wrong place.
    pub misdirected_writes: u64,
    /// Times that an older image was put back.
    pub restored_images: u64,
}

/// What the node asked of the disk, for measuring the price of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Syncs of files.
    pub file_syncs: u64,
    /// Syncs of the directory.
    pub directory_syncs: u64,
}

/// Why the disk did not do as asked. To a node each is fatal, except that [`DiskError::Full`] may be foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// An input/output error while writing; nothing was written.
    #[error("input/output error while writing {file}")]
    Write {
        /// The file.
        file: FileName,
    },
    /// A sync failed. What it covered may or may not be durable, and a later sync need not cover it.
    #[error("sync of {} failed", file.map_or("the directory".to_string(), |file| file.to_string()))]
    Sync {
        /// The file, or `None` for the directory.
        file: Option<FileName>,
    },
    /// No space left; as much as fitted was written.
    #[error("no space left while writing {file}")]
    Full {
        /// The file.
        file: FileName,
    },
    /// The disk is read-only.
    #[error("{file} is on a read-only disk")]
    ReadOnly {
        /// The file.
        file: FileName,
    },
}

/// What a node does.
impl Disk {
    /// A disk on which exactly the files of `image` are, all durable.
    pub fn holding(image: &Image) -> Disk {
        let entry =
            |bytes: &Vec<u8>| Entry { now: Some(File::holding(bytes)), durable: Durable::Same };
        let entries = image.iter().map(|(name, bytes)| (*name, entry(bytes))).collect();
        Disk { entries, ..Disk::default() }
    }

    /// Occupies `bytes`, unless something is occupied already. Whether the disk had room for them and as much again: what was given
    /// back a moment ago must not be taken for room.
    pub fn hold_reserve(&mut self, bytes: u64) -> bool {
        if self.reserved > 0 {
            return true;
        }
        if let Some(free) = &mut self.armed.free_bytes {
            if *free < bytes.saturating_mul(2) {
                return false;
            }
            *free -= bytes;
        }
        self.reserved = bytes;
        true
    }

    /// Gives back what is occupied; how much that was.
    pub fn release_reserve(&mut self) -> u64 {
        let freed = std::mem::take(&mut self.reserved);
        self.armed.free_bytes = self.armed.free_bytes.map(|free| free.saturating_add(freed));
        freed
    }

    /// Writes into the page cache, creating the file if it is not there.
    ///
    /// # Errors
    /// Any [`DiskError`] but a failed sync; the node must stop.
    pub fn write(&mut self, write: &FileWrite) -> Result<(), DiskError> {
        let FileWrite { file, offset, bytes } = write;
        self.check_writable(*file)?;
        if std::mem::take(&mut self.armed.fail_next_write) {
            self.fired.failed_writes += 1;
            return Err(DiskError::Write { file: *file });
        }
        self.work.writes += 1;
        self.work.bytes += bytes.len() as u64;

        let misdirected = self.armed.misdirect_next_write.take();
        let fits = self.take_space(*file, *offset, bytes.len() as u64);
        let fitting = &bytes[..bytes.len().min(fits as usize)];
        let order = &mut self.order;
        let target =
            self.entries.entry(*file).or_insert(Entry { now: None, durable: Durable::Absent });
        target.now.get_or_insert_default().write(*offset, fitting, order, misdirected.is_some());
        if let Some((wrong, offset)) = misdirected {
            self.fired.misdirected_writes += 1;
            if let Some(file) = self.file_mut(wrong) {
                file.overwrite(offset, fitting);
            }
        }
        if fitting.len() < bytes.len() {
            self.fired.full_writes += 1;
            return Err(DiskError::Full { file: *file });
        }
        Ok(())
    }

    /// Shortens a file in the page cache; nothing happens to one that is shorter or not there.
    ///
    /// # Errors
    /// [`DiskError::ReadOnly`].
    pub fn truncate(&mut self, file: FileName, length: u64) -> Result<(), DiskError> {
        self.check_writable(file)?;
        let Disk { entries, order, armed, .. } = self;
        if let Some(now) = entries.get_mut(&file).and_then(|entry| entry.now.as_mut()) {
            let freed = now.truncate(length, order);
            armed.free_bytes = armed.free_bytes.map(|free| free + freed);
        }
        Ok(())
    }

    /// Removes a file's directory entry; fine if there is none.
    ///
    /// # Errors
    /// [`DiskError::ReadOnly`].
    pub fn remove(&mut self, file: FileName) -> Result<(), DiskError> {
        self.check_writable(file)?;
        let Some(entry) = self.entries.get_mut(&file) else { return Ok(()) };
        if let Some(removed) = entry.now.take() {
            let free = &mut self.armed.free_bytes;
            *free = free.map(|free| free + removed.len());
            match entry.durable {
                Durable::Same => entry.durable = Durable::Other(removed),
                Durable::Absent => drop(self.entries.remove(&file)),
                Durable::Other(_) => {}
            }
        }
        Ok(())
    }

    /// Makes a file's contents and length durable, but not its directory entry. Fine if there is no such file.
    ///
    /// # Errors
    /// [`DiskError::Sync`]; the node must stop, and a second attempt proves nothing.
    pub fn sync(&mut self, file: FileName) -> Result<(), DiskError> {
        self.work.file_syncs += 1;
        if self.sync_lies() {
            return Ok(());
        }
        let fails = std::mem::take(&mut self.armed.fail_next_sync);
        if let Some(now) = self.file_mut(file) {
            if fails { now.fail_sync() } else { now.sync() }
        }
        if fails {
            self.fired.failed_syncs += 1;
            return Err(DiskError::Sync { file: Some(file) });
        }
        Ok(())
    }

    /// Makes the directory's entries durable.
    ///
    /// # Errors
    /// [`DiskError::Sync`]; the node must stop.
    pub fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.work.directory_syncs += 1;
        if self.sync_lies() {
            return Ok(());
        }
        if std::mem::take(&mut self.armed.fail_next_sync) {
            self.fired.failed_syncs += 1;
            return Err(DiskError::Sync { file: None });
        }
        self.entries.retain(|_, entry| entry.now.is_some());
        self.entries.values_mut().for_each(|entry| entry.durable = Durable::Same);
        Ok(())
    }

    /// Everything that a process reads: the page cache's view.
    pub fn read_all(&self) -> Image {
        let read = |(name, entry): (&FileName, &Entry)| Some((*name, entry.now.as_ref()?.read()));
        self.entries.iter().filter_map(read).collect()
    }

    /// The writes of an append, in order.
    ///
    /// # Errors
    /// The first that fails.
    pub fn append(&mut self, append: &Append) -> Result<(), DiskError> {
        append.writes.iter().try_for_each(|write| self.write(write))
    }

    /// The files of a set, then the directory if it is in the set.
    ///
    /// # Errors
    /// The first that fails.
    pub fn sync_set(&mut self, set: &SyncSet) -> Result<(), DiskError> {
        set.files.iter().try_for_each(|file| self.sync(*file))?;
        if set.directory { self.sync_dir() } else { Ok(()) }
    }

    /// The steps of a repair, each synced before the next.
    ///
    /// # Errors
    /// The first change or sync that fails.
    pub fn repair(&mut self, steps: &[FileRepair]) -> Result<(), DiskError> {
        for step in steps {
            for change in &step.changes {
                match change {
                    Change::Write(write) => self.write(write)?,
                    Change::Truncate { file, length } => self.truncate(*file, *length)?,
                    Change::Remove { file } => self.remove(*file)?,
                }
            }
            self.sync_set(&step.sync)?;
        }
        Ok(())
    }
}

/// What the simulation does.
impl Disk {
    /// The next write fails and writes nothing.
    pub fn fail_next_write(&mut self) {
        self.armed.fail_next_write = true;
    }

    /// The next sync fails. What it covered stays readable, is not durable, and no later sync makes it durable unless it
    /// is written again (what Linux does).
    pub fn fail_next_sync(&mut self) {
        self.armed.fail_next_sync = true;
    }

    /// The next write also lands at `offset` of `file`, as far as that exists, durably; and where it belongs it stays in the page
    /// cache and never becomes durable.
    pub fn misdirect_next_write(&mut self, file: FileName, offset: u64) {
        self.armed.misdirect_next_write = Some((file, offset));
    }

    /// Only `bytes` more fit on the disk; `None` lifts the limit. Overwriting in place needs no space.
    pub fn set_free_bytes(&mut self, bytes: Option<u64>) {
        self.armed.free_bytes = bytes;
    }

    /// While set, syncs report success and do nothing. The first one after that makes everything of its file durable.
    pub fn set_lying(&mut self, lying: bool) {
        self.armed.lying = lying;
    }

    /// While set, every change is refused.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.armed.read_only = read_only;
    }

    /// Flips the bits of `mask` in one byte, both in what is read and in what is durable. Whether there is such a byte.
    pub fn rot(&mut self, file: FileName, offset: u64, mask: u8) -> bool {
        let hit = mask != 0 && self.file_mut(file).is_some_and(|file| file.rot(offset, mask));
        self.fired.rotten_bytes += u64::from(hit);
        hit
    }

    /// Rots one chosen bit of one chosen file, and says where. `None` when all files are empty.
    pub fn rot_any(&mut self, choose: &mut Choose<'_>) -> Option<(FileName, u64)> {
        let mut lengths: Vec<(FileName, u64)> = self.lengths().collect();
        lengths.retain(|(_, length)| *length > 0);
        let (file, length) =
            *lengths.get(choose("disk.rot.file", lengths.len().max(1) as u64) as usize)?;
        let offset = choose("disk.rot.offset", length);
        self.rot(file, offset, 1 << choose("disk.rot.bit", 8));
        Some((file, offset))
    }

    /// A backup of what is there now.
    pub fn snapshot(&self) -> Image {
        self.read_all()
    }

    /// Puts an older image back, durably; files that it does not have are gone.
    pub fn restore(&mut self, image: &Image) {
        self.fired.restored_images += 1;
        self.entries = Disk::holding(image).entries;
    }

    /// Names and lengths of the files that a process sees.
    pub fn lengths(&self) -> impl Iterator<Item = (FileName, u64)> + '_ {
        self.entries.iter().filter_map(|(name, entry)| Some((*name, entry.now.as_ref()?.len())))
    }

    /// How often each fault fired so far.
    pub fn fired(&self) -> Fired {
        self.fired
    }

    /// What the node asked for so far.
    pub fn work(&self) -> Work {
        self.work
    }

    fn file_mut(&mut self, file: FileName) -> Option<&mut File> {
        self.entries.get_mut(&file)?.now.as_mut()
    }

    fn check_writable(&mut self, file: FileName) -> Result<(), DiskError> {
        if self.armed.read_only {
            self.fired.read_only_refusals += 1;
            return Err(DiskError::ReadOnly { file });
        }
        Ok(())
    }

    fn sync_lies(&mut self) -> bool {
        self.fired.lying_syncs += u64::from(self.armed.lying);
        self.armed.lying
    }

    /// How many of the bytes fit, and takes the space that they need.
    fn take_space(&mut self, file: FileName, offset: u64, bytes: u64) -> u64 {
        let length = self.file_mut(file).map_or(0, |file| file.len());
        let Some(free) = self.armed.free_bytes.as_mut() else { return bytes };
        let needed = (offset + bytes).saturating_sub(length);
        let missing = needed.saturating_sub(*free);
        *free = free.saturating_sub(needed);
        bytes.saturating_sub(missing)
    }
}

#[cfg(test)]
mod tests;
