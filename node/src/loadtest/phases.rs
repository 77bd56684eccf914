//! What opening a channel spent its time on, read from the opener's log afterwards: each fact has its time there.

use std::collections::BTreeMap;
use std::path::Path;

use fairway_core::event::{Event, ObjectiveKind};
use fairway_core::types::{ChannelId, TurnNum};
use serde::Serialize;

use super::spread::Spread;
use crate::events::{self, EventsError, Source};

/// The stretches between the facts of one opening; times are whole milliseconds, as in the log.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phases {
    /// From the promise until both have signed the prefund.
    pub prefund: Spread,
    /// From there until both deposits are confirmed and the postfund is signed here: blocks, confirmations, and their spreading.
    pub deposits: Spread,
    /// From there until the postfund of the other is here and the objective is completed.
    pub postfund: Spread,
}

/// When the facts of one opening were recorded.
#[derive(Clone, Copy, Default)]
struct Facts {
    approved: Option<u64>,
    prefund: Option<u64>,
    postfund: Option<u64>,
    completed: Option<u64>,
}

/// Of every direct channel that the log's node opened.
///
/// # Errors
/// [`EventsError`].
pub fn of(data_dir: &Path) -> Result<Phases, EventsError> {
    let mut all: BTreeMap<ChannelId, Facts> = BTreeMap::new();
    for line in events::list(&Source::at(data_dir))? {
        let at = Some(line.time_ms);
        match &line.event {
            Event::ObjectiveApproved { id, .. } if id.kind == ObjectiveKind::DirectFund => {
                all.entry(id.channel).or_default().approved = at;
            }
            Event::StateReceived { state, .. } if state.turn() == TurnNum::PREFUND => {
                all.entry(state.channel()).or_default().prefund = at;
            }
            Event::StateSigned { state, .. } if state.turn() == TurnNum::POSTFUND => {
                all.entry(state.channel()).or_default().postfund = at;
            }
            Event::ObjectiveCompleted { id } if id.kind == ObjectiveKind::DirectFund => {
                all.entry(id.channel).or_default().completed = at;
            }
            _ => {}
        }
    }
    let between = |from: fn(&Facts) -> Option<u64>, to: fn(&Facts) -> Option<u64>| {
        let took = all.values().filter_map(|f| Some(to(f)?.saturating_sub(from(f)?) * 1_000));
        Spread::of(took)
    };
    Ok(Phases {
        prefund: between(|f| f.approved, |f| f.prefund),
        deposits: between(|f| f.prefund, |f| f.postfund),
        postfund: between(|f| f.postfund, |f| f.completed),
    })
}
