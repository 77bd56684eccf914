//! What a log comes to at any of its events, as a summary and as canonical JSON.

use std::collections::BTreeMap;

use fairway_core::driver::Progress;
use fairway_core::log;
use fairway_core::machine::NodeState;
use fairway_core::objective::Status;
use fairway_core::types::{Address, BlockNum, Lsn};
use serde::Serialize;
use serde_json::{Value, json};

use super::{EventsError, Source, open_log};
use crate::checkpoint::Hex;
use crate::export::canonical;
use crate::metrics::status;

/// A log, folded.
#[derive(Debug)]
pub struct Replay {
    /// What people look at first.
    pub summary: Summary,
    /// The state.
    pub state: NodeState,
}

/// What a log comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The last event that was folded.
    pub lsn: Lsn,
    /// The last event of the log.
    pub end: Lsn,
    /// Time of the last event that was folded, in milliseconds since 1970 by the node's clock; 0 without one.
    pub time_ms: u64,
    /// The log's chain hash after it; `None` in the middle of a batch, where the log has none.
    pub head: Option<Hex<32>>,
    /// The digest of the state, as checkpoints and backups name it.
    pub digest: Hex<32>,
    /// Whose log; `None` before its first event.
    pub node: Option<Address>,
    /// On which chain.
    pub chain_id: Option<u64>,
    /// The newest block that was seen.
    pub block: Option<BlockNum>,
    /// Why nothing new is signed, if so.
    pub recovery: Option<String>,
    /// Channels of two parties by status.
    pub channels: BTreeMap<&'static str, usize>,
    /// Virtual channels by status.
    pub virtual_channels: BTreeMap<&'static str, usize>,
    /// Objectives by status.
    pub objectives: BTreeMap<&'static str, usize>,
    /// Messages and transactions that are to be repeated until they are known to have arrived.
    pub wishes: usize,
}

/// Folds a log up to `until`, or all of it. `watch` is told after each batch how far it is.
///
/// # Errors
/// [`EventsError`]; [`EventsError::NoSuchEvent`] where the log does not reach that far.
pub fn replay(
    source: &Source,
    until: Option<Lsn>,
    watch: &mut dyn FnMut(Progress),
) -> Result<Replay, EventsError> {
    let files = source.read()?;
    let opened = open_log(source.path(), &files)?;
    let end = opened.tail.end();
    let until = until.unwrap_or(end);
    if until > end {
        let path = source.path().to_path_buf();
        return Err(EventsError::NoSuchEvent { path, lsn: until, end });
    }
    let (mut state, mut time_ms) = (NodeState::default(), 0);
    let mut head = (until == Lsn::ZERO).then_some(Hex(log::ChainHash::GENESIS.0));
    for batch in opened.batches.iter().take_while(|batch| batch.first <= until) {
        for event in log::events(batch) {
            let (at, recorded) = event.map_err(EventsError::unknown(source.path()))?;
            if recorded.lsn <= until {
                state.apply(at, recorded.event);
                time_ms = at.0;
            }
        }
        head = (batch.last() == until).then_some(Hex(batch.chain.0));
        watch(Progress { replayed: state.lsn(), end: until });
    }
    let summary = Summary { end, time_ms, head, ..Summary::of(&state) };
    Ok(Replay { summary, state })
}

impl Summary {
    fn of(state: &NodeState) -> Summary {
        let mut objectives = BTreeMap::new();
        for objective in state.objectives().values() {
            let name = match objective.status {
                Status::Approved => "pursued",
                Status::Rejected(_) => "rejected",
                Status::Completed => "completed",
            };
            *objectives.entry(name).or_default() += 1;
        }
        Summary {
            lsn: state.lsn(),
            end: state.lsn(),
            time_ms: 0,
            head: None,
            digest: Hex(state.digest()),
            node: state.pins().map(|pins| pins.me),
            chain_id: state.pins().map(|pins| pins.chain_id),
            block: state.chain().head().map(|block| block.number),
            recovery: state.recovery().map(|why| format!("{why:?}")),
            channels: counted(state.channels().map(|c| status(c.phase))),
            virtual_channels: counted(state.virtual_channels().map(|v| status(v.phase))),
            objectives,
            wishes: state.wishes().len(),
        }
    }
}

fn counted(names: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, usize> {
    names.fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

/// The state as canonical JSON: equal states have the same text, byte for byte. Indices that follow from the rest are left out.
///
/// # Panics
/// When the state is no JSON: our own bug.
pub fn canonical_state(state: &NodeState) -> String {
    let objectives: BTreeMap<String, _> =
        state.objectives().iter().map(|(id, objective)| (id.to_string(), objective)).collect();
    let wishes: Vec<Value> = state
        .wishes()
        .iter()
        .map(|(wish, since)| json!({ "channel": wish.channel, "since": since, "want": wish.want }))
        .collect();
    let virtual_channels: BTreeMap<String, _> =
        state.virtual_channels().map(|v| (v.id.to_string(), v)).collect();
    let all = json!({
        "chain": state.chain(),
        "channels": state.channel_map(),
        "lsn": state.lsn(),
        "objectives": objectives,
        "payment_app": state.payment_app(),
        "pins": state.pins(),
        "recovery": state.recovery(),
        "virtual_channels": virtual_channels,
        "wishes": wishes,
    });
    canonical::spelled(&all)
}
