//! The enforcer at earlier moments of a log: what would have been enforceable had everything stopped there.

use fairway_core::event::Event;
use fairway_core::machine::NodeState;
use fairway_core::types::Lsn;

use super::judge::{Check, Found};
use super::source::Source;
use crate::invariant::{Standing, standings};
use crate::world::memo::Memo;

const NAME: &str = "entitlement-is-enforceable";

/// Plays the game after every batch that can have changed it, or after as many of them as there is time for, evenly.
///
/// # Errors
/// The enforcer contradicts itself.
pub(super) fn prefixes(source: &Source, memo: &Memo) -> Result<Check, String> {
    let events = source.events();
    let changes = source.batches.iter().filter(|b| b.iter().any(|(_, e)| matters(e))).count();
    let affordable = (EVENTS_FOLDED_MAX / events.len().max(1)).clamp(1, PREFIXES_MAX);
    let every = changes.div_ceil(affordable).max(1);
    let mut state = NodeState::default();
    let (mut end, mut seen, mut judged) = (0, 0usize, 0u64);
    for batch in &source.batches {
        for (at, event) in batch {
            state.apply(*at, event.clone());
        }
        end += batch.len();
        if !batch.iter().any(|(_, event)| matters(event)) {
            continue;
        }
        seen += 1;
        // One that knows that it may have forgotten something is exposed until it was told.
        if !seen.is_multiple_of(every) || state.recovery().is_some() {
            continue;
        }
        judged += 1;
        let standing = standings(source.pins.me, &events[..end], &state, memo, VISITS_MAX)?;
        if let Some(short) = standing.iter().find(|s| !s.missing().is_zero()) {
            return Ok(broken(short, Lsn(end as u64)));
        }
    }
    let note = format!("the game was played after {judged} of {changes} batches that matter to it");
    let found = if every == 1 { Found::Held } else { Found::HeldInPart };
    Ok(Check { name: NAME, found, note })
}

fn broken(short: &Standing, at: Lsn) -> Check {
    let Standing { enforceable, entitled, because, .. } = short;
    let what =
        format!("only {enforceable} of {entitled} could be enforced then, because {because}");
    let found = Found::Broken { what, lsn: Some(at.0), loss: Some(short.missing()) };
    Check { name: NAME, found, note: String::new() }
}

/// Whether an event can change what is enforceable.
fn matters(event: &Event) -> bool {
    match event {
        Event::ObjectiveApproved { terms, .. } => terms.is_some(),
        Event::VirtualApproved { .. }
        | Event::StateSigned { .. }
        | Event::StateReceived { .. }
        | Event::StatePublished { .. }
        | Event::VoucherSigned { .. }
        | Event::VoucherReceived { .. }
        | Event::BlocksReverted { .. } => true,
        Event::BlockAdded { logs, .. } => !logs.is_empty(),
        _ => false,
    }
}

/// Events that are folded again for all prefixes together: some seconds.
const EVENTS_FOLDED_MAX: usize = 2_000_000;

/// Prefixes that are judged at most.
const PREFIXES_MAX: usize = 500;

/// Positions that one game looks at, as in a simulation.
const VISITS_MAX: u32 = 64;
