//! `fairway events export`: the log as canonical JSON lines that an auditor can check with a page of code of their own.
//!
//! Each of our events becomes the events of the common catalogue that it means, under their names and fields; what the catalogue
//! has no name for gets one of its own. Among them stand the batches of the log, byte for byte, so that an export is the whole log:
//! `fairway-sim audit` reads it like a data directory. The last line says how many there are.
//!
//! ```text
//! {"chain":"0x…","id":"0x…","name":"state-signed","payload":{…}}     chain = keccak256(chain of the line before || id)
//! ```

pub(crate) mod canonical;
mod catalogue;
mod read;

use std::io::{self, Write};

use fairway_core::event::Event;
use fairway_core::log::{self, BatchRef, Opened};
use fairway_core::types::{Lsn, Timestamp};

use canonical::{Chained, Json};
use catalogue::Catalogue;
pub use read::{ReadError, files_of};

/// Why an export was not finished.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log holds an event of another version.
    #[error(transparent)]
    Unknown(#[from] log::UnknownEvent),
    /// The reader went away, or the disk is full.
    #[error("cannot write the export: {0}")]
    Io(#[from] io::Error),
}

/// Writes an opened log.
///
/// # Errors
/// [`ExportError`]; what was written so far has no last line, and every reader refuses it.
pub fn export(opened: &Opened<'_>, out: &mut dyn Write) -> Result<u64, ExportError> {
    let (mut chained, mut catalogue) = (Chained::default(), Catalogue::default());
    let mut last = Timestamp(0);
    for batch in &opened.batches {
        for event in log::events(batch) {
            let (at, recorded) = event?;
            last = at;
            write_event(&recorded.event, recorded.lsn, at, &mut catalogue, &mut chained, out)?;
        }
        let fields = [
            ("count", Json::Number(batch.count.into())),
            ("event_version", Json::Number(VERSION)),
            ("first_lsn", Json::Number(batch.first.0)),
            ("log_chain", Json::hex(batch.chain.0)),
            ("payload", Json::hex(batch.payload)),
            ("timestamp_ms", Json::Number(batch.time.0)),
        ];
        writeln!(out, "{}", chained.line("batch-recorded", fields.into()))?;
    }
    let fields = [
        ("event_version", Json::Number(VERSION)),
        ("lines", Json::Number(chained.lines() + 1)),
        ("log_chain", Json::hex(head(&opened.batches))),
        ("timestamp_ms", Json::Number(last.0)),
    ];
    writeln!(out, "{}", chained.line("export-ended", fields.into()))?;
    out.flush()?;
    Ok(chained.lines())
}

fn write_event(
    event: &Event,
    lsn: Lsn,
    at: Timestamp,
    catalogue: &mut Catalogue,
    chained: &mut Chained,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (name, mut fields) in catalogue.of(event) {
        // Without its place, two equal facts would have one id.
        fields.insert("event_version", Json::Number(VERSION));
        fields.insert("lsn", Json::Number(lsn.0));
        fields.insert("timestamp_ms", Json::Number(at.0));
        writeln!(out, "{}", chained.line(name, fields))?;
    }
    Ok(())
}

fn head(batches: &[BatchRef<'_>]) -> [u8; 32] {
    batches.last().map_or([0; 32], |batch| batch.chain.0)
}

/// The version of the catalogue's events.
const VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Goal: an export once written reads the same for ever.
    /// Method: the log of a devnet's payee, kept beside what this version wrote of it.
    #[test]
    fn the_golden_log_gives_the_golden_export() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/export");
        let files = crate::files::read(&corpus.join("log")).unwrap();
        let mut out = Vec::new();
        let lines = export(&log::open(&files).unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let golden = std::fs::read_to_string(corpus.join("golden.jsonl")).unwrap();
        assert_eq!(text.lines().count() as u64, lines);
        for (number, (new, old)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(new, old, "line {}", number + 1);
        }
        assert_eq!(text.len(), golden.len());
    }
}
