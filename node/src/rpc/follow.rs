//! Reads the log of a running node from any position: the log itself is the cursor of subscriptions.
//!
//! Only what the node has synced is read, and nothing is kept in memory for a reader, however slow.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fairway_core::log::{
    self, FRAME_BYTES_MAX, FRAME_OVERHEAD_BYTES, FileName, Flaw, PREAMBLE_BYTES, read_mirror,
};
use fairway_core::types::Lsn;

use crate::events::Line;

/// A position in a log that grows.
#[derive(Clone, Debug)]
pub struct LogReader {
    directory: PathBuf,
    segment: u32,
    /// Of the next frame. The chain hash before it stands in front.
    offset: u64,
    /// The next event to give.
    next: Lsn,
}

/// Why the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The system refused.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The log does not reach back that far.
    #[error("the log on this disk begins at {oldest}; ask from there")]
    Archived {
        /// Its first event.
        oldest: Lsn,
    },
    /// Not what the node has written.
    #[error("{}: damaged at byte {offset}: {flaw}; run `fairway events verify` on a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How.
        flaw: Flaw,
    },
    /// An event of another version.
    #[error(transparent)]
    Unknown(#[from] log::UnknownEvent),
}

impl LogReader {
    /// A reader that gives `from` first, once it is there. Blocks.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn seek(directory: &Path, from: Lsn) -> Result<LogReader, FollowError> {
        let from = from.max(Lsn(1));
        let mut reader = LogReader {
            directory: directory.to_path_buf(),
            segment: 1,
            offset: PREAMBLE_BYTES as u64,
            next: from,
        };
        let mut oldest = None;
        let mut segments = reader.segments()?;
        segments.sort_unstable();
        for segment in segments.into_iter().rev() {
            reader.segment = segment;
            let Some(first) = reader.first_of_segment()? else { continue };
            if first <= from {
                return Ok(reader);
            }
            oldest = Some(first);
        }
        match oldest {
            Some(oldest) if oldest > Lsn(1) => Err(FollowError::Archived { oldest }),
            // A log that is only beginning.
            Some(_) | None => Ok(LogReader { segment: 1, ..reader }),
        }
    }

    /// The next event that it will give.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Events up to `durable`, at most `max`. Blocks. Empty when there is nothing more yet.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn read(&mut self, durable: Lsn, max: usize) -> Result<Vec<Line>, FollowError> {
        let mut lines = Vec::new();
        let mut window = READ_BYTES;
        while self.next <= durable && lines.len() < max {
            let bytes = self.window(window)?;
            let (taken, flaw) = self.take(&bytes, durable, max, &mut lines)?;
            match flaw {
                Some(Flaw::Missing | Flaw::Short { .. } | Flaw::Cut { .. }) if taken == 0 => {
                    if bytes.len() >= window && window < FRAME_BYTES_MAX + PREAMBLE_BYTES {
                        // A frame that is longer than what was read of it.
                        window = FRAME_BYTES_MAX + PREAMBLE_BYTES;
                    } else if !self.enter_next_segment()? {
                        return Ok(lines);
                    }
                }
                Some(Flaw::Missing | Flaw::Short { .. } | Flaw::Cut { .. }) | None => {
                    window = READ_BYTES;
                }
                Some(flaw) => {
                    let (path, offset) = (self.path(), self.offset);
                    return Err(FollowError::Damaged { path, offset, flaw });
                }
            }
        }
        Ok(lines)
    }

    /// Takes whole frames; how many bytes they were, and why it stopped if it did.
    fn take(
        &mut self,
        bytes: &[u8],
        durable: Lsn,
        max: usize,
        lines: &mut Vec<Line>,
    ) -> Result<(usize, Option<Flaw>), FollowError> {
        let mut taken = 0;
        while self.next <= durable && lines.len() < max {
            let batch = match read_mirror(bytes.get(taken..).unwrap_or_default()) {
                Ok((_, batch)) => batch,
                Err(flaw) => return Ok((taken, Some(flaw))),
            };
            if batch.last() >= self.next {
                for event in log::events(&batch) {
                    let (at, recorded) = event?;
                    let due = recorded.lsn >= self.next && recorded.lsn <= durable;
                    if due && lines.len() < max {
                        self.next = recorded.lsn.advance(1);
                        lines.push(Line {
                            lsn: recorded.lsn,
                            time_ms: at.0,
                            event: recorded.event,
                        });
                    }
                }
            }
            if self.next <= batch.last() {
                // The rest of this batch comes with the next call.
                return Ok((taken, None));
            }
            taken += batch.payload.len() + FRAME_OVERHEAD_BYTES;
            self.offset += (batch.payload.len() + FRAME_OVERHEAD_BYTES) as u64;
        }
        Ok((taken, None))
    }

    /// Bytes of the segment from the chain hash before the next frame on.
    fn window(&self, bytes_max: usize) -> Result<Vec<u8>, FollowError> {
        let path = self.path();
        let at = |source| FollowError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(at(e)),
        };
        let mut bytes = vec![0; bytes_max];
        let from = self.offset - PREAMBLE_BYTES as u64;
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, from + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(at(e)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn enter_next_segment(&mut self) -> Result<bool, FollowError> {
        let next =
            LogReader { segment: self.segment + 1, offset: PREAMBLE_BYTES as u64, ..self.clone() };
        if next.first_of_segment()?.is_none() {
            return Ok(false);
        }
        *self = next;
        Ok(true)
    }

    /// The first event of the segment, if a whole frame stands there.
    fn first_of_segment(&self) -> Result<Option<Lsn>, FollowError> {
        for window in [READ_BYTES, FRAME_BYTES_MAX + PREAMBLE_BYTES] {
            let bytes = self.window(window)?;
            match read_mirror(&bytes) {
                Ok((_, batch)) => return Ok(Some(batch.first)),
                Err(Flaw::Cut { .. }) if bytes.len() == window => {}
                // Whatever it is, the node has not said that it is durable.
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn segments(&self) -> Result<Vec<u32>, FollowError> {
        let at = |source| FollowError::Io { path: self.directory.clone(), source };
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(at)? {
            let name = entry.map_err(at)?.file_name();
            if let Some(FileName::Segment(n)) = name.to_str().and_then(FileName::parse) {
                segments.push(n);
            }
        }
        Ok(segments)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FileName::Segment(self.segment).to_string())
    }
}

/// Hundreds of usual batches.
const READ_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::event::Event;
    use fairway_core::log::{LogTail, Payload};
    use fairway_core::types::Timestamp;

    /// A log as the driver writes it: `batches` batches with `each` events, in segments of a few batches.
    struct Written {
        home: tempfile::TempDir,
        tail: LogTail,
    }

    impl Written {
        fn new() -> Written {
            let tail = LogTail::fresh().rolling_at(4_096);
            Written { home: tempfile::tempdir().unwrap(), tail }
        }

        fn append(&mut self, each: u64, reason_bytes: usize) {
            let mut payload = Payload::default();
            for _ in 0..each {
                let id = fairway_core::event::ObjectiveId {
                    channel: Default::default(),
                    kind: fairway_core::event::ObjectiveKind::Dispute,
                };
                let reason = fairway_core::event::RejectReason::Policy("x".repeat(reason_bytes));
                payload.push(Timestamp(7), &Event::ObjectiveRejected { id, reason });
            }
            let (time, count, bytes) = payload.take();
            let append = self.tail.append(time, count, bytes);
            for write in &append.writes {
                let path = self.home.path().join(write.file.to_string());
                let mut options = fs::OpenOptions::new();
                let file = options.create(true).truncate(false).write(true).open(path).unwrap();
                file.write_all_at(&write.bytes, write.offset).unwrap();
            }
            self.tail.synced(append.end);
        }

        fn lsns(&self, from: u64, durable: u64, max: usize) -> Vec<u64> {
            let mut reader = LogReader::seek(self.home.path(), Lsn(from)).unwrap();
            let mut all = Vec::new();
            loop {
                let lines = reader.read(Lsn(durable), max).unwrap();
                if lines.is_empty() {
                    return all;
                }
                assert!(lines.len() <= max);
                all.extend(lines.iter().map(|l| l.lsn.0));
            }
        }
    }

    /// Goal: whatever the position and the size of pages, every event comes once and in order. Method: a log of many segments, with
    /// batches of one and of many events and one larger than what is read at once.
    #[test]
    fn every_event_comes_once_and_in_order() {
        let mut log = Written::new();
        for each in [1, 5, 1, 300, 2, 1] {
            log.append(each, 100);
        }
        log.append(1, READ_BYTES + 10);
        log.append(3, 10);
        let end = 1 + 5 + 1 + 300 + 2 + 1 + 1 + 3;
        assert!(log.home.path().join("000003.log").exists());
        for from in [0, 1, 2, 6, 7, 100, end - 1, end, end + 1] {
            for max in [1, 7, 500] {
                let expected: Vec<u64> = (from.max(1)..=end).collect();
                assert_eq!(log.lsns(from, end, max), expected, "from {from}, {max} a page");
            }
        }
        assert_eq!(log.lsns(1, 4, 500), [1, 2, 3, 4], "beyond what is durable");
    }

    #[test]
    fn a_reader_goes_on_where_the_log_grows() {
        let mut log = Written::new();
        let mut reader = LogReader::seek(log.home.path(), Lsn(1)).unwrap();
        assert!(reader.read(Lsn(0), 10).unwrap().is_empty());
        for lsn in 1..=60 {
            log.append(1, 300);
            let lines = reader.read(Lsn(lsn), 10).unwrap();
            assert_eq!(lines.iter().map(|l| l.lsn.0).collect::<Vec<_>>(), [lsn]);
        }
        assert_eq!(reader.next(), Lsn(61));
    }

    #[test]
    fn archived_and_damaged_logs_are_told() {
        let mut log = Written::new();
        for _ in 0..30 {
            log.append(1, 300);
        }
        let first = log.home.path().join("000001.log");
        let mut bytes = fs::read(&first).unwrap();
        bytes[200] ^= 1;
        fs::write(&first, bytes).unwrap();
        let mut reader = LogReader::seek(log.home.path(), Lsn(1));
        if let Ok(reader) = &mut reader {
            assert!(matches!(reader.read(Lsn(30), 100), Err(FollowError::Damaged { .. })));
        }
        fs::remove_file(&first).unwrap();
        let error = LogReader::seek(log.home.path(), Lsn(1)).unwrap_err();
        assert!(matches!(error, FollowError::Archived { oldest } if oldest > Lsn(1)));
    }
}
