//! The log's files in a real data directory: what the driver's steps mean on a disk.
//!
//! Blocking calls only; [`ports`](crate::ports) runs them beside the executor. No decision is made here, nothing is retried: a
//! failed write or sync ends the node, which reads its log again at the next start.
//!
//! ```text
//! <data directory>   mode 0700   lock         held while a node runs
//!                                000001.log   tail.0   tail.1   doubt      the log (core/src/log)
//!                                reserve      space that is given back when a write finds none
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairway_core::input::Space;
use fairway_core::log::{Change, FileName, FileRepair, FileWrite, Files, SyncSet};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// A data directory that this process alone uses. Dropping it gives it free.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// For syncing the directory's entries.
    entries: File,
    open: BTreeMap<FileName, File>,
    /// Since the space that is held back was given back, or could not be occupied.
    scarce_since: Option<Instant>,
    /// Locked; the system unlocks it when the process ends, however it ends.
    _lock: File,
}

/// Why a data directory cannot be used. Names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A node runs there.
    #[error(
        "{}: another node is using this data directory; stop it, or name another directory", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Others may read or write what decides about money.
    #[error(
        "{}: other users have access (mode {mode:03o}); run: chmod 700 {}", path.display(), path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system refused.
    #[error("{}: cannot {doing}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl DataDir {
    /// Creates the directory if it is missing, and takes it.
    ///
    /// # Errors
    /// [`FilesError`]; nothing was changed but perhaps the directory created.
    pub fn open(path: &Path) -> Result<DataDir, FilesError> {
        let at = |doing| move |source| FilesError::Io { path: path.to_path_buf(), doing, source };
        if !path.exists() {
            create(path).map_err(at("create this directory"))?;
        }
        let mode = fs::metadata(path).map_err(at("read the permissions"))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(FilesError::NotPrivate { path: path.to_path_buf(), mode: mode & 0o777 });
        }
        let lock = private().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(at("create the file `lock`"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FilesError::InUse { path: path.to_path_buf() });
            }
            Err(TryLockError::Error(e)) => return Err(at("lock the file `lock`")(e)),
        }
        let entries = File::open(path).map_err(at("open this directory"))?;
        let (path, open) = (path.to_path_buf(), BTreeMap::new());
        Ok(DataDir { path, entries, open, scarce_since: None, _lock: lock })
    }

    /// Occupies `bytes` of the disk for what a node must still write when everything is full. [`Space::Scarce`] where they and as much
    /// again are not to be had: then the node is to be told so.
    ///
    /// # Errors
    /// [`FilesError::Io`]: the disk fails otherwise than by being full.
    pub fn hold_reserve(&mut self, bytes: u64) -> Result<Space, FilesError> {
        let path = self.path.join(RESERVE);
        let at = |doing| {
            let path = path.clone();
            move |source| FilesError::Io { path, doing, source }
        };
        let reserve = private().create(true).truncate(false).write(true).open(&path);
        let reserve = reserve.map_err(at("open"))?;
        if reserve.metadata().map_err(at("read the length of"))?.len() != bytes {
            match occupy(&reserve, bytes) {
                Ok(()) => {}
                Err(e) if is_full(&e) => {
                    fs::remove_file(&path).map_err(at("remove"))?;
                    self.scarce_since = Some(Instant::now());
                    return Ok(Space::Scarce);
                }
                Err(e) => return Err(at("occupy space for")(e)),
            }
        }
        self.scarce_since = None;
        Ok(Space::Plenty)
    }

    /// Whether the space is held, as far as is known.
    pub fn space(&self) -> Space {
        self.scarce_since.map_or(Space::Plenty, |_| Space::Scarce)
    }

    /// [`DataDir::hold_reserve`] again, at times, while the space is not held.
    ///
    /// # Errors
    /// As there.
    pub fn regain_reserve(&mut self, bytes: u64) -> Result<Space, FilesError> {
        match self.scarce_since {
            Some(since) if since.elapsed() >= REGAIN_EVERY => self.hold_reserve(bytes),
            Some(_) => Ok(Space::Scarce),
            None => Ok(Space::Plenty),
        }
    }

    /// A write found no room: makes some, for the start that follows. The write counts as failed all the same.
    fn give_back(&mut self, error: &FilesError) {
        let full = matches!(error, FilesError::Io { source, .. } if is_full(source));
        if full && fs::remove_file(self.path.join(RESERVE)).is_ok() {
            tracing::error!(
                data_dir = %self.path.display(),
                "the disk is full; what was held back for defence is given back"
            );
        }
    }

    /// Reads every file of the log; others are left alone.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub fn read(&self) -> Result<Files, FilesError> {
        read(&self.path)
    }

    /// [`DataDir::read`] without the segments below `first`.
    ///
    /// # Errors
    /// [`FilesError::Io`].
    pub fn read_from(&self, first: u32) -> Result<Files, FilesError> {
        read_from(&self.path, first)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Executes one step of a repair: the changes in order, then the sync.
    ///
    /// # Errors
    /// [`FilesError::Io`]; fatal.
    pub fn repair(&mut self, repair: &FileRepair) -> Result<(), FilesError> {
        let mut change = |change: &Change| match change {
            Change::Write(write) => self.write(write),
            Change::Truncate { file, length } => self.truncate(*file, *length),
            Change::Remove { file } => self.remove(*file),
        };
        let changed = repair.changes.iter().try_for_each(&mut change);
        changed.and_then(|()| self.sync(&repair.sync)).inspect_err(|e| self.give_back(e))
    }

    /// Writes, without making anything durable.
    ///
    /// # Errors
    /// [`FilesError::Io`]; fatal.
    pub fn append(&mut self, writes: &[FileWrite]) -> Result<(), FilesError> {
        let written = writes.iter().try_for_each(|write| self.write(write));
        written.inspect_err(|e| self.give_back(e))
    }

    /// Makes the files durable, then the directory's entries.
    ///
    /// # Errors
    /// [`FilesError::Io`]; fatal: whether the data is durable is unknown, and asking again proves nothing.
    pub fn sync(&mut self, set: &SyncSet) -> Result<(), FilesError> {
        // Some file systems look for room only now.
        self.sync_all(set).inspect_err(|e| self.give_back(e))
    }

    fn sync_all(&mut self, set: &SyncSet) -> Result<(), FilesError> {
        for name in &set.files {
            let synced = self.file(*name)?.sync_data();
            synced.map_err(|e| self.failed(*name, "sync", e))?;
        }
        if set.directory {
            self.entries.sync_all().map_err(|source| FilesError::Io {
                path: self.path.clone(),
                doing: "sync this directory",
                source,
            })?;
        }
        Ok(())
    }

    fn write(&mut self, write: &FileWrite) -> Result<(), FilesError> {
        let written = self.file(write.file)?.write_all_at(&write.bytes, write.offset);
        written.map_err(|e| self.failed(write.file, "write", e))
    }

    fn truncate(&mut self, name: FileName, length: u64) -> Result<(), FilesError> {
        let file = self.file(name)?;
        let shortened = file.metadata().and_then(|m| {
            // Never lengthens.
            if m.len() > length { file.set_len(length) } else { Ok(()) }
        });
        shortened.map_err(|e| self.failed(name, "shorten", e))
    }

    fn remove(&mut self, name: FileName) -> Result<(), FilesError> {
        self.open.remove(&name);
        match fs::remove_file(self.path.join(name.to_string())) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.failed(name, "remove", e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The open file, created if it is not there.
    fn file(&mut self, name: FileName) -> Result<&File, FilesError> {
        if !self.open.contains_key(&name) {
            let path = self.path.join(name.to_string());
            let opened = private().create(true).truncate(false).write(true).open(path);
            let file = opened.map_err(|e| self.failed(name, "open", e))?;
            self.open.insert(name, file);
        }
        Ok(&self.open[&name])
    }

    fn failed(&self, name: FileName, doing: &'static str, source: io::Error) -> FilesError {
        FilesError::Io { path: self.path.join(name.to_string()), doing, source }
    }
}

/// Reads every file of the log in a directory, without taking the directory: for tools that only look.
///
/// # Errors
/// [`FilesError::Io`].
pub fn read(directory: &Path) -> Result<Files, FilesError> {
    read_from(directory, 1)
}

/// [`read`] without the segments below `first`. The mirrors are read before the segments: of a log that is being written, no mirror then
/// holds more than its segment.
///
/// # Errors
/// [`FilesError::Io`].
pub fn read_from(directory: &Path, first: u32) -> Result<Files, FilesError> {
    let at = |path: &Path, doing| {
        let path = path.to_path_buf();
        move |source| FilesError::Io { path, doing, source }
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(at(directory, "list this directory"))? {
        let entry = entry.map_err(at(directory, "list this directory"))?;
        if let Some(name) = entry.file_name().to_str().and_then(FileName::parse) {
            found.insert(name, entry.path());
        }
    }
    let mut files = Files::new();
    // In a name's order the mirrors come after the segments.
    for (name, path) in found.into_iter().rev() {
        if matches!(name, FileName::Segment(number) if number < first) {
            continue;
        }
        files.insert(name, fs::read(&path).map_err(at(&path, "read"))?);
    }
    Ok(files)
}

/// What a data directory takes of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Bytes that may still be written there.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
}

/// Measures a data directory, without taking it.
///
/// # Errors
/// [`FilesError::Io`].
pub fn usage(directory: &Path) -> Result<Usage, FilesError> {
    let at = |doing| move |source| FilesError::Io { path: directory.to_path_buf(), doing, source };
    let (mut log_bytes, mut segments) = (0, 0);
    for entry in fs::read_dir(directory).map_err(at("list this directory"))? {
        let entry = entry.map_err(at("list this directory"))?;
        let name = entry.file_name().to_str().and_then(FileName::parse);
        if matches!(name, Some(FileName::Segment(_))) {
            segments += 1;
            log_bytes += entry.metadata().map_err(at("read the length of a file in"))?.len();
        }
    }
    let disk = rustix::fs::statvfs(directory);
    let disk = disk.map_err(|e| at("measure the disk of")(e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let (free_bytes, total_bytes) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
    Ok(Usage { log_bytes, segments, free_bytes, total_bytes })
}

/// Whether a node is using the directory now. One that has no lock file was never used.
///
/// # Errors
/// [`FilesError::Io`].
pub fn is_in_use(directory: &Path) -> Result<bool, FilesError> {
    let at = |doing| move |source| FilesError::Io { path: directory.join(LOCK), doing, source };
    let lock = match File::open(directory.join(LOCK)) {
        Ok(lock) => lock,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(at("open")(e)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(at("lock")(e)),
    }
}

/// Creates a directory for its owner alone, with what is missing above it, and makes every new entry durable.
///
/// # Danger
/// A data directory that is created otherwise can be gone after a power loss, with every signature in it.
pub fn create(path: &Path) -> io::Result<()> {
    let is_missing = |at: &&Path| !at.as_os_str().is_empty() && !at.exists();
    let above = path.ancestors().skip(1).take_while(is_missing).count();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in path.ancestors().take(above + 1) {
        match made.parent().filter(|p| !p.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all()?,
            None => File::open(".")?.sync_all()?,
        }
    }
    Ok(())
}

/// Makes the file exactly so long, with blocks of its own, durably; provided that there is as much again: what was given back when a
/// write found no room must not be taken for room.
fn occupy(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(0)?;
    let twice = bytes.saturating_mul(2);
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, twice) {
        // It cannot promise blocks: write them.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_through(file, twice)?,
        other => other?,
    }
    file.set_len(bytes)?;
    file.sync_all()
}

fn write_through(file: &File, bytes: u64) -> io::Result<()> {
    let chunk = vec![0xa5; 1 << 16];
    let mut at = 0;
    while at < bytes {
        let part = chunk.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        file.write_all_at(&chunk[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// What the operator can do about it.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => {
            "free space there; started again, the node closes and defends, and takes on nothing new until there is room"
        }
        ErrorKind::PermissionDenied => "it must belong to the user that runs the node",
        ErrorKind::NotFound => "check the path",
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => "move away what stands in its place",
        ErrorKind::ReadOnlyFilesystem => "mount it writable and start again",
        _ => "check the disk and start again; what was synced is kept",
    }
}

const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
/// How often a full disk is looked at again.
const REGAIN_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::log::Slot;
    use std::os::unix::fs::MetadataExt;

    const SEGMENT: FileName = FileName::Segment(1);

    fn write(file: FileName, offset: u64, bytes: &[u8]) -> FileWrite {
        FileWrite { file, offset, bytes: bytes.to_vec() }
    }

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("alice");
        (parent, path)
    }

    #[test]
    fn a_second_node_is_refused_until_the_first_is_gone() {
        let (_parent, path) = fresh();
        assert!(!path.exists());
        let first = DataDir::open(&path).unwrap();
        assert!(is_in_use(&path).unwrap());
        let second = DataDir::open(&path).unwrap_err();
        assert!(matches!(second, FilesError::InUse { .. }));
        let text = second.to_string();
        assert_eq!(
            text.strip_prefix(&path.display().to_string()),
            Some(": another node is using this data directory; stop it, or name another directory")
        );
        drop(first);
        assert!(!is_in_use(&path).unwrap());
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn what_is_missing_above_is_created_too() {
        let (parent, _) = fresh();
        let deep = parent.path().join("a/b/c");
        for _ in 0..2 {
            create(&deep).unwrap();
        }
        for path in [&deep, &parent.path().join("a")] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn the_directory_is_private_and_a_public_one_is_refused() {
        let (_parent, path) = fresh();
        drop(DataDir::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, FilesError::NotPrivate { mode: 0o750, .. }));
        assert!(error.to_string().contains("run: chmod 700"), "{error}");
    }

    #[test]
    fn what_was_written_is_read_back_and_foreign_files_are_left_alone() {
        let (_parent, path) = fresh();
        let mut dir = DataDir::open(&path).unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        let mirror = FileName::Mirror(Slot::One);
        dir.append(&[
            write(SEGMENT, 0, b"hello"),
            write(SEGMENT, 5, b" you"),
            write(mirror, 0, b"x"),
        ])
        .unwrap();
        dir.sync(&SyncSet { files: vec![SEGMENT, mirror], directory: true }).unwrap();
        let files = dir.read().unwrap();
        let expected = Files::from([(SEGMENT, b"hello you".to_vec()), (mirror, b"x".to_vec())]);
        assert_eq!(files, expected);
        assert!(path.join("notes.txt").exists());
    }

    #[test]
    fn a_repair_shortens_and_removes_and_never_lengthens() {
        let (_parent, path) = fresh();
        let mut dir = DataDir::open(&path).unwrap();
        dir.append(&[write(SEGMENT, 0, b"hello"), write(FileName::Doubt, 0, b"?")]).unwrap();
        let repair = |changes| FileRepair {
            changes,
            sync: SyncSet { files: vec![SEGMENT], directory: true },
        };
        let cut = |length| Change::Truncate { file: SEGMENT, length };
        let remove = Change::Remove { file: FileName::Doubt };
        dir.repair(&repair(vec![cut(2), cut(4), remove.clone()])).unwrap();
        assert_eq!(dir.read().unwrap(), Files::from([(SEGMENT, b"he".to_vec())]));
        // Removing what is not there is fine.
        dir.repair(&repair(vec![remove])).unwrap();
    }

    /// Goal: a write that finds no room makes room for what follows. Method: the kernel's own device that is always full stands in the
    /// segment's place.
    #[test]
    fn a_full_disk_gives_the_reserve_back_and_takes_it_again() {
        let (_parent, path) = fresh();
        let mut dir = DataDir::open(&path).unwrap();
        assert_eq!(dir.hold_reserve(1 << 20).unwrap(), Space::Plenty);
        let reserve = fs::metadata(path.join(RESERVE)).unwrap();
        assert_eq!((reserve.len(), reserve.permissions().mode() & 0o777), (1 << 20, 0o600));
        assert!(reserve.blocks() * 512 >= 1 << 20, "the blocks are its own");
        assert_eq!(dir.regain_reserve(1 << 20).unwrap(), Space::Plenty);

        std::os::unix::fs::symlink("/dev/full", path.join("000001.log")).unwrap();
        let error = dir.append(&[write(SEGMENT, 0, b"x")]).unwrap_err();
        assert!(matches!(&error, FilesError::Io { source, .. } if is_full(source)), "{error}");
        assert!(!path.join(RESERVE).exists());

        assert_eq!(dir.hold_reserve(1 << 10).unwrap(), Space::Plenty);
        assert_eq!(fs::metadata(path.join(RESERVE)).unwrap().len(), 1 << 10, "resized");
    }

    /// Method: more than any disk has.
    #[test]
    fn where_there_is_no_room_nothing_is_left_behind() {
        let (_parent, path) = fresh();
        let mut dir = DataDir::open(&path).unwrap();
        assert_eq!(dir.hold_reserve(1 << 50).unwrap(), Space::Scarce);
        assert!(!path.join(RESERVE).exists());
        assert_eq!(dir.regain_reserve(1).unwrap(), Space::Scarce, "not asked again at once");
    }

    #[test]
    fn an_error_names_the_file_and_a_remedy() {
        let (parent, path) = fresh();
        let mut dir = DataDir::open(&path).unwrap();
        fs::create_dir(path.join("000001.log")).unwrap();
        let error = dir.append(&[write(SEGMENT, 0, b"x")]).unwrap_err().to_string();
        assert!(error.contains("000001.log: cannot open: "), "{error}");
        assert!(error.ends_with("move away what stands in its place"), "{error}");

        let occupied = parent.path().join("file");
        fs::write(&occupied, "").unwrap();
        let error = DataDir::open(&occupied.join("alice")).unwrap_err().to_string();
        assert!(error.contains("cannot create this directory"), "{error}");
    }
}
