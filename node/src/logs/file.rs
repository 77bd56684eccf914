//! The file of the log for people: rolls by size, and is opened anew on demand.
//!
//! ```text
//! logs/node.log   the newest lines, always under this name: `tail -F` follows it
//! logs/node.log.1 … node.log.4   older ones; the oldest goes
//! ```
//!
//! Written without a library: those that roll name the newest file by date, and none opens it anew on a signal.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open file with its size.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    /// Opens the file to append, with its directory if that is missing.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.to_path_buf(), file, bytes, bytes_max: FILE_BYTES_MAX })
    }

    /// Appends one line, in a new file when this one is full.
    ///
    /// # Errors
    /// The system's. The line is lost; nothing else depends on it.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes.saturating_add(line.len() as u64) > self.bytes_max {
            self.roll();
        }
        self.file.write_all(line)?;
        self.bytes = self.bytes.saturating_add(line.len() as u64);
        Ok(())
    }

    /// Opens the path anew. What cannot be opened stays as it is: losing lines helps nobody.
    pub fn reopen(&mut self) {
        if let Ok(fresh) = LogFile::open(&self.path) {
            *self = LogFile { bytes_max: self.bytes_max, ..fresh };
        }
    }

    fn roll(&mut self) {
        let older = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        // Missing ones are normal, and a directory that refuses makes the file longer than it should be.
        for n in (1..OLDER_FILES).rev() {
            let _ = fs::rename(older(n), older(n + 1));
        }
        let _ = fs::rename(&self.path, older(1));
        self.reopen();
    }
}

/// A day of a busy node at `info`.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Kept beside the newest.
const OLDER_FILES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_becomes_an_older_one_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/node.log");
        let mut file = LogFile::open(&path).unwrap();
        file.bytes_max = 10;
        for n in 0..7 {
            file.write(format!("line {n}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join("logs").join(name));
        assert_eq!(read("node.log").unwrap(), "line 6\n");
        for (n, line) in [(1, 5), (2, 4), (3, 3), (4, 2)] {
            assert_eq!(read(&format!("node.log.{n}")).unwrap(), format!("line {line}\n"));
        }
        assert!(read("node.log.5").is_err());
    }

    #[test]
    fn lines_are_appended_to_what_was_there_and_to_a_file_that_was_moved_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        LogFile::open(&path).unwrap().write(b"one\n").unwrap();
        let mut file = LogFile::open(&path).unwrap();
        assert_eq!(file.bytes, 4);
        file.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::rename(&path, dir.path().join("moved")).unwrap();
        file.reopen();
        file.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }
}
