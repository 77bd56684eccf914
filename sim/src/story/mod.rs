//! Turns a run into something that people read: lines in plain words, the causal story of a failure, one page to look at.
//!
//! Only replays are recorded, so nothing here is made for speed. Nothing here judges either: which property broke is the
//! invariants' word, and this module says it in a way that a reader can follow.
//!
//! ```text
//! Observed ─> Recorder ─> Recording { names, lines, snapshots } ─┬─> explain ─> at most ten sentences
//!                                                                └─> html    ─> one self-contained file
//! ```

mod diff;
mod explain;
mod html;
mod line;
mod names;
mod recorder;
mod snapshot;
#[cfg(test)]
mod testkit;
mod words;

pub use diff::{Parting, TRACE_SCHEMA, Times, TraceHead, parting};
pub use explain::{SENTENCES_MAX, Sentence, explain, explain_steps, what_broke};
pub use html::{HtmlRun, Verdict, html};
pub use line::{Fate, Lane, Line, LineKind, Recording, fates};
pub use names::{Names, PartyName};
pub use recorder::Recorder;
pub use snapshot::{
    ChainState, ChannelOnChain, ChannelState, PartyState, Snapshot, StateAt, Up, VirtualState,
};
