//! I34, I35: memory is the fold of the log, and the fold has one result.

use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::machine::NodeState;
use fairway_core::types::{Lsn, Timestamp};

use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct ReplayEqualsMemory {
    run: Arc<Run>,
    nodes: Vec<Replayed>,
}

/// One node's log: folded up to some point, and the rest.
#[derive(Debug, Default)]
struct Replayed {
    state: NodeState,
    rest: Vec<(Timestamp, Event)>,
    /// Rests at which something was new, and the position of the last one.
    rests: u64,
    rested_at: Lsn,
}

impl Replayed {
    /// Folds what is not folded yet, as far as the log goes, and compares.
    fn equals(&mut self, memory: &NodeState) -> bool {
        for (at, event) in self.rest.drain(..) {
            self.state.apply(at, event);
        }
        // Events that are staged and not appended are in memory already.
        memory.lsn() != self.state.lsn() || *memory == self.state
    }
}

impl ReplayEqualsMemory {
    pub fn new(run: &Arc<Run>) -> ReplayEqualsMemory {
        ReplayEqualsMemory { run: Arc::clone(run), nodes: run.each() }
    }

    fn compare(&mut self, node: PartyId, memory: &NodeState) -> Result<(), Violation> {
        if self.nodes[node.0].equals(memory) {
            return Ok(());
        }
        let name = self.run.name(node);
        let what = format!("{name}'s memory is not the fold of its log at record {}", memory.lsn());
        Err(Violation::safety("replay-equals-memory", node, None, what))
    }
}

impl Invariant for ReplayEqualsMemory {
    fn name(&self) -> &'static str {
        "replay-equals-memory"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I34"]
    }

    fn statement(&self) -> &'static str {
        "a node's memory equals the fold of its log, at rest and after a restart"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                self.nodes[node.0].rest.extend(events.iter().cloned());
            }
            Observed::Rested { node, state, .. } => {
                let replayed = &mut self.nodes[node.0];
                if replayed.rested_at == state.lsn() {
                    return Ok(());
                }
                replayed.rested_at = state.lsn();
                replayed.rests += 1;
                if replayed.rests.is_multiple_of(RESTS_BETWEEN) {
                    self.compare(*node, state)?;
                }
            }
            Observed::Restarted { node, log, state, .. } => {
                self.nodes[node.0] = Replayed { rest: log.to_vec(), ..Replayed::default() };
                self.compare(*node, state)?;
            }
            Observed::Ended { nodes, .. } => {
                for (node, state) in *nodes {
                    self.compare(*node, state)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Comparing costs as much as a node's work on a dozen messages, so it is not done at every rest.
const RESTS_BETWEEN: u64 = 64;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct ReplayIsDeterministic {
    run: Arc<Run>,
}

impl ReplayIsDeterministic {
    pub fn new(run: &Arc<Run>) -> ReplayIsDeterministic {
        ReplayIsDeterministic { run: Arc::clone(run) }
    }
}

impl Invariant for ReplayIsDeterministic {
    fn name(&self) -> &'static str {
        "replay-is-deterministic"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I35"]
    }

    fn statement(&self) -> &'static str {
        "one log gives one state, byte for byte, with the same effects waiting"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        let Observed::Restarted { node, log, state, .. } = seen else { return Ok(()) };
        let broken = |what: &str| {
            let what = format!("{}: {what}", self.run.name(*node));
            Err(Violation::safety("replay-is-deterministic", *node, None, what))
        };
        let replayed = fold(log);
        if replayed.lsn() == state.lsn() && replayed.digest() != state.digest() {
            return broken("two replays of one log have different digests");
        }
        if !replayed.wishes_are_consistent() {
            return broken(
                "the effects that wait after a replay are not those that the state implies",
            );
        }
        Ok(())
    }
}

/// The state that a log gives.
fn fold(log: &[(Timestamp, Event)]) -> NodeState {
    let mut state = NodeState::default();
    for (at, event) in log {
        state.apply(*at, event.clone());
    }
    state
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    /// Blocks one by one, each followed by a rest with this change to the memory.
    fn rests_often(change: impl Fn(&mut NodeState)) -> Result<(), Violation> {
        let mut story = Story::of("replay-equals-memory");
        story.logs(ALICE, opened(ALICE))?;
        for event in blocks(10..=10 + 2 * RESTS_BETWEEN) {
            story.logs(ALICE, vec![event])?;
            let mut memory = story.state(ALICE);
            change(&mut memory);
            story.rests(ALICE, &memory)?;
        }
        story.restarts(ALICE, false)?;
        story.ends(&[ALICE])
    }

    #[test]
    fn memory_that_follows_the_log_passes() {
        rests_often(|_| {}).unwrap();
    }

    #[test]
    fn memory_that_differs_is_noticed() {
        // The same number of events, the last one another.
        let violation = rests_often(|memory| {
            let mut log = opened(ALICE);
            log.extend(blocks(10..=memory.lsn().0 - log.len() as u64 + 8));
            log.push(signs(&state(2, [4, 6]), ALICE));
            *memory = folded(&log);
        });
        assert_fires(&violation.unwrap_err(), "replay-equals-memory", ALICE);

        let mut other = opened(ALICE);
        other.pop();
        other.push(signs(&state(2, [4, 6]), ALICE));
        let mut story = Story::of("replay-equals-memory");
        let memory = folded(&other);
        let violation = story.restarts_with(ALICE, &opened(ALICE), &memory, false).unwrap_err();
        assert_fires(&violation, "replay-equals-memory", ALICE);
    }

    #[test]
    fn a_replay_with_another_result_is_noticed() {
        let mut story = Story::of("replay-is-deterministic");
        let log = opened(ALICE);
        story.restarts_with(ALICE, &log, &folded(&log), false).unwrap();
        let mut other = log.clone();
        other.pop();
        other.push(signs(&state(2, [4, 6]), ALICE));
        let violation = story.restarts_with(ALICE, &log, &folded(&other), false).unwrap_err();
        assert_fires(&violation, "replay-is-deterministic", ALICE);
    }
}
