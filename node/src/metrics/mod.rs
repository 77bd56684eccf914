//! What a running node shows to those who watch over it: metrics, health, and how far its start is.
//!
//! ```text
//! driver at rest ─> Facts ─┐
//! disk, network, chain ────┼─> Metrics ─> /metrics      text format 0.0.4, names as they are given
//! start, pulse ────────────┴─> Readiness ─> /readyz  /livez  /startupz
//! ```
//!
//! - **Gauges are computed, never kept.** Each scrape looks at the resting node, so none can drift.
//! - **Counters of facts are a fold of the log** ([`Tally`](fairway_core::machine::Tally)): a node that was started again goes on
//!   where it was, and `fairway events stats` gives the same numbers. Counters of what a process did begin at zero.
//! - **Labels are closed lists.** No channel, peer, address of a peer or text from outside is a label.
//!
//! Not here: logs ([`crate::logs`]) and what to do about an alert, which is the book's.

mod ages;
mod calls;
mod facts;
mod health;
mod meter;
mod probe;
mod publish;
mod server;
mod table;

pub mod client;

pub use calls::{Interface, Outcome, UNKNOWN_METHOD};
pub use facts::{Facts, status};
pub use health::{Check, DRAINING, Phase, Readiness, Startup};
pub use meter::{DiskCall, MetricType, Metrics, Mode, Signatures};
pub use probe::Probe;
pub use publish::family_of;
pub use server::{Observer, serve};
pub use table::{FAMILIES, Family, Kind, reference};

#[cfg(test)]
mod tests;
