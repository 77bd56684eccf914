//! `audit`: what the log of a production node proves, and what it is worth.
//!
//! Everything is read and nothing is written: a torn batch is reported and left where it is. The log is untrusted; whatever stands in
//! it, an audit ends with a report or with a line that says what is wrong.
//!
//! ```text
//! source   a data directory or an export, as batches of events
//! checks   which invariants need the log alone, and which cannot run and why
//! judge    those that can, each over the whole log; then the enforcer
//! prefixes the enforcer at earlier moments of the log
//! cross    several logs together: signatures that somebody forgot, views that differ, money that does not add up
//! report   in sentences and money, or as JSON
//! ```

mod checks;
mod cross;
mod export;
mod judge;
mod prefixes;
mod report;
mod source;

pub use cross::cross;
pub use judge::{Check, Found, Subject, judge};
pub use report::{Audit, AuditVerdict};
pub use source::{Batch, Source, SourceError};
