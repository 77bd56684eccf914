//! Reads an export back into the log that it is of.
//!
//! Checked is what the log itself would show: positions without gaps, and the chain hash of every batch. Whether the lines of the
//! catalogue say the same is for auditors (`docs/auditing/verify_log.py`, `fairway-sim audit`), which share no code with us.

use alloy_primitives::{B256, hex};
use fairway_core::log::{BATCH_BYTES_MAX, FileWrite, Files, LogTail};
use fairway_core::types::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why a file is no export, or not a whole one. Counted from line 1.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not a line of an export.
    #[error("line {line} is no line of an export: {why}")]
    Line {
        /// Which.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A batch that is not the next one of the log.
    #[error("line {line}: {what}; export the log again")]
    Batch {
        /// Which.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Cut short.
    #[error("it has {lines} lines and no end: it was cut; export the log again")]
    Cut {
        /// How many there are.
        lines: usize,
    },
}

#[derive(Deserialize)]
struct Line<'a> {
    name: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// A batch of the log, byte for byte.
#[derive(Deserialize)]
struct Recorded {
    first_lsn: u64,
    count: u32,
    timestamp_ms: u64,
    payload: String,
    log_chain: B256,
}

#[derive(Deserialize)]
struct Ended {
    lines: usize,
}

/// The files of the log that an export is of, as a node would have written them.
///
/// # Errors
/// [`ReadError`].
pub fn files_of(text: &str) -> Result<Files, ReadError> {
    let (mut files, mut tail) = (Files::new(), LogTail::fresh());
    let mut lines = 0;
    for (number, text) in (1..).zip(text.lines()) {
        let no_line = |e: serde_json::Error| ReadError::Line { line: number, why: e.to_string() };
        let line: Line<'_> = serde_json::from_str(text).map_err(no_line)?;
        lines = number;
        match line.name.as_str() {
            "batch-recorded" => {
                let batch = serde_json::from_str(line.payload.get()).map_err(no_line)?;
                append(&batch, &mut tail, &mut files)
                    .map_err(|what| ReadError::Batch { line: number, what })?;
            }
            "export-ended" => {
                let end: Ended = serde_json::from_str(line.payload.get()).map_err(no_line)?;
                if end.lines != number {
                    let why = format!("it says that it is line {}", end.lines);
                    return Err(ReadError::Line { line: number, why });
                }
                return Ok(files);
            }
            // What the batches mean, in the catalogue's words.
            _ => {}
        }
    }
    Err(ReadError::Cut { lines })
}

fn append(batch: &Recorded, tail: &mut LogTail, files: &mut Files) -> Result<(), &'static str> {
    let digits = batch.payload.strip_prefix("0x").unwrap_or(&batch.payload);
    let payload = hex::decode(digits).map_err(|_| "the batch is not hexadecimal")?;
    if batch.first_lsn != tail.next().0 || batch.count == 0 {
        return Err("the batch does not follow the one before");
    }
    if payload.len() > BATCH_BYTES_MAX {
        return Err("the batch is larger than any batch");
    }
    let append = tail.append(Timestamp(batch.timestamp_ms), batch.count, payload);
    append.writes.iter().for_each(|write| put(files, write));
    tail.synced(append.end);
    if tail.head().0 != batch.log_chain.0 {
        return Err("the batch does not have the chain hash that it had in the log");
    }
    Ok(())
}

fn put(files: &mut Files, write: &FileWrite) {
    let file = files.entry(write.file).or_default();
    // The tail writes a file from its beginning, so no offset lies beyond what is there.
    let at = usize::try_from(write.offset).unwrap_or(file.len()).min(file.len());
    let end = at.saturating_add(write.bytes.len()).min(file.len());
    file.splice(at..end, write.bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn golden() -> String {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/export");
        std::fs::read_to_string(corpus.join("golden.jsonl")).unwrap()
    }

    #[test]
    fn an_export_is_the_whole_log() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/export/log");
        let log = crate::files::read(&corpus).unwrap();
        let files = files_of(&golden()).unwrap();
        let (there, back) =
            (fairway_core::log::open(&log).unwrap(), fairway_core::log::open(&files).unwrap());
        assert_eq!(back.batches, there.batches);
        assert_eq!((back.tail.head(), back.findings.len()), (there.tail.head(), 0));
    }

    /// Goal: what is not the whole export is refused with its line. Method: one change to the golden export a row.
    #[test]
    fn what_is_not_a_whole_export_is_refused() {
        let good = golden();
        let lines: Vec<&str> = good.lines().collect();
        let batch = lines.iter().position(|line| line.contains("\"batch-recorded\"")).unwrap();
        let with = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line;
            lines.join("\n")
        };
        let flipped = lines[batch].replacen("\"count\":", "\"count\":1", 1);
        let other = lines[batch].replacen("\"timestamp_ms\":1", "\"timestamp_ms\":2", 1);
        assert_ne!(other, lines[batch]);
        for (name, text, expected) in [
            ("cut", lines[..lines.len() - 1].join("\n"), "no end: it was cut"),
            ("no JSON", with(3, "{"), "line 4 is no line of an export"),
            ("another batch", with(batch, &other), "does not have the chain hash"),
            ("a wrong count", with(batch, &flipped), "the chain hash that it had"),
            ("a batch twice", with(batch + 1, lines[batch]), "does not follow the one before"),
            ("a line too many", format!("{}\n{good}", lines[0]), "it says that it is line"),
            ("nothing", String::new(), "it has 0 lines and no end"),
        ] {
            let text = files_of(&text).unwrap_err().to_string();
            assert!(text.contains(expected), "{name}: {text}");
        }
    }
}
