//! The durable bytes of a node's log: framing, the writer's position, and opening after any crash.
//!
//! This layer orders and protects batches; it does not know what an event is, reads no file and syncs nothing. The driver
//! executes what it returns ([`FileWrite`], [`SyncSet`], [`FileRepair`]) and may release an effect only after the sync.
//!
//! ```text
//! segment  000001.log   chain before (32) | frame | frame | frame ...     append-only, at most SEGMENT_BYTES
//! mirror   tail.0       chain before (32) | frame                         every second batch, overwritten in place
//! mirror   tail.1       chain before (32) | frame                         the others
//! marker   doubt        text                                              this node may have forgotten a signature
//!
//! frame    header (48) | payload | chain = BLAKE3(chain before || header || payload) (32)
//! ```
//!
//! A mirror has the layout of a segment with one frame, so one parser reads both. Which damage is cut, which is mended and
//! which stops the node is the table in `docs/adr/0001-log-last-batch.md`; `cases.rs` tests each of its rows.

mod events;
mod file;
mod frame;
mod open;
mod repair;
mod tail;
mod walk;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod props;
#[cfg(test)]
mod testdisk;

pub use events::{Payload, UnknownEvent, events};
pub use file::{Change, FileName, FileRepair, FileWrite, Slot, SyncSet};
pub use frame::{
    BATCH_BYTES_MAX, Batch, BatchRef, ChainHash, FORMAT_VERSION, FRAME_BYTES_MAX,
    FRAME_OVERHEAD_BYTES, Flaw, HEADER_BYTES, PREAMBLE_BYTES, read_mirror,
};
pub use open::{Base, Doubt, Evidence, Finding, OpenError, Opened, open, open_from};
pub(crate) use open::{Planted, open_planted};
pub use repair::{doubt_cleared, doubt_raised};
pub use tail::{Append, LogTail, SEGMENT_BYTES};
pub use walk::Files;
