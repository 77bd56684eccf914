//! I1, I5, and signing after a loss of memory: what one key may never sign twice.
//!
//! I1: an honest key never releases signatures on two different states of one channel and turn, across all restarts. I5: it releases
//! at most one final state of a channel. And a node whose disk lost what it had signed signs nothing else in its place.
//!
//! Everything is taken from what left the parties; nothing is forgotten in a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::nitro::{Signature, State};
use fairway_core::types::{Amount, ChannelId, TurnNum};

use super::run::{Released, Run, released};
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NoEquivocation {
    run: Arc<Run>,
    book: FirstReleased,
}

impl NoEquivocation {
    pub fn new(run: &Arc<Run>) -> NoEquivocation {
        NoEquivocation { run: Arc::clone(run), book: FirstReleased::default() }
    }
}

impl Invariant for NoEquivocation {
    fn name(&self) -> &'static str {
        "no-equivocation"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I1"]
    }

    fn statement(&self) -> &'static str {
        "an honest key never releases signatures on two different states of one channel and turn"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        for item in released(&self.run, seen) {
            let Some((channel, before)) = self.book.other(&self.run, &item) else { continue };
            let (by, turn) = (item.by, item.state.turn);
            let (loss, shares) = spread(&before, item.state, item.index);
            let what = format!(
                "{} signed two states of turn {turn}: one gives it {}, the other {}",
                self.run.name(by),
                shares[0],
                shares[1],
            );
            return Err(Violation::safety("no-equivocation", by, channel, what).losing(by, loss));
        }
        Ok(())
    }
}

/// States by who released them, in which channel, on which turn: the first of each.
#[derive(Debug, Default)]
struct FirstReleased {
    states: BTreeMap<(PartyId, ChannelId, TurnNum), State>,
    repeated: BTreeMap<Signature, TurnNum>,
}

impl FirstReleased {
    /// The channel and the other state of this turn, if there is one; otherwise this one is remembered.
    fn other(&mut self, run: &Run, item: &Released<'_>) -> Option<(ChannelId, State)> {
        if item.sig.is_some_and(|sig| self.repeated.get(&sig) == Some(&item.state.turn)) {
            return None;
        }
        let channel = run.channel(&item.state.fixed);
        let first = self.states.entry((item.by, channel, item.state.turn));
        let first = first.or_insert_with(|| item.state.clone());
        if first != item.state {
            return Some((channel, first.clone()));
        }
        if let Some(sig) = item.sig {
            self.repeated.insert(sig, item.state.turn);
        }
        None
    }
}

/// What `index` can lose when its peer may choose between the two states, and its share in each.
fn spread(a: &State, b: &State, index: usize) -> (Amount, [Amount; 2]) {
    let shares = [a, b].map(|s| Shares::of(s).of_index(index));
    let loss = shares[0].max(shares[1]).saturating_sub(shares[0].min(shares[1]));
    (loss, shares)
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct OneFinalState {
    run: Arc<Run>,
    finals: BTreeMap<(PartyId, ChannelId), State>,
}

impl OneFinalState {
    pub fn new(run: &Arc<Run>) -> OneFinalState {
        OneFinalState { run: Arc::clone(run), finals: BTreeMap::new() }
    }
}

impl Invariant for OneFinalState {
    fn name(&self) -> &'static str {
        "one-final-state"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I5"]
    }

    fn statement(&self) -> &'static str {
        "an honest key releases at most one final state of a channel"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        for item in released(&self.run, seen).filter(|item| item.state.is_final) {
            let channel = self.run.channel(&item.state.fixed);
            let first = self.finals.entry((item.by, channel));
            let first = first.or_insert_with(|| item.state.clone());
            if first == item.state {
                continue;
            }
            let (loss, shares) = spread(first, item.state, item.index);
            let what = format!(
                "{} signed two final states, of turns {} and {}: one gives it {}, the other {}",
                self.run.name(item.by),
                first.turn,
                item.state.turn,
                shares[0],
                shares[1],
            );
            let violation = Violation::safety("one-final-state", item.by, channel, what);
            return Err(violation.losing(item.by, loss));
        }
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NoForgottenSigning {
    run: Arc<Run>,
    book: FirstReleased,
    /// Whether the node's disk went back in time since it started.
    forgetful: Vec<bool>,
}

impl NoForgottenSigning {
    pub fn new(run: &Arc<Run>) -> NoForgottenSigning {
        NoForgottenSigning {
            run: Arc::clone(run),
            book: FirstReleased::default(),
            forgetful: run.each(),
        }
    }

    /// A state that is about to be signed.
    fn check(&self, node: PartyId, channel: ChannelId, state: &State) -> Result<(), Violation> {
        let Some(before) = self.book.states.get(&(node, channel, state.turn)) else {
            return Ok(());
        };
        if before == state {
            return Ok(());
        }
        let me = state.fixed.index_of(self.run.address(node)).unwrap_or(usize::MAX);
        let (loss, _) = spread(before, state, me);
        let what = format!(
            "{} forgot what it had signed on turn {} and signed another state in its place",
            self.run.name(node),
            state.turn,
        );
        Err(Violation::safety("no-forgotten-signing", node, channel, what).losing(node, loss))
    }
}

impl Invariant for NoForgottenSigning {
    fn name(&self) -> &'static str {
        "no-forgotten-signing"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I1", "R5"]
    }

    fn statement(&self) -> &'static str {
        "a node whose disk lost signatures signs no other state for a channel and turn that it had released"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Restarted { node, may_have_forgotten, .. } => {
                self.forgetful[node.0] |= *may_have_forgotten;
            }
            Observed::Appended { node, events, .. } if self.forgetful[node.0] => {
                for (_, event) in *events {
                    if let Event::StateSigned { state, .. } = event {
                        self.check(*node, state.channel(), state.state())?;
                    }
                }
            }
            Observed::Sent { .. } | Observed::Submitted { .. } => {
                for item in released(&self.run, seen) {
                    let _ = self.book.other(&self.run, &item);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;

    #[test]
    fn two_states_of_one_turn_are_equivocation() {
        let mut story = Story::of("no-equivocation");
        story.says(ALICE, BOB, &state(2, [4, 6])).unwrap();
        story.says(ALICE, BOB, &state(2, [4, 6])).unwrap();
        story.says(BOB, ALICE, &state(2, [7, 3])).unwrap();
        let violation = story.says(ALICE, BOB, &state(2, [1, 9])).unwrap_err();
        assert_fires(&violation, "no-equivocation", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(3))));
    }

    #[test]
    fn equivocation_is_seen_across_restarts_and_transactions() {
        let mut story = Story::of("no-equivocation");
        story.says(ALICE, BOB, &state(2, [4, 6])).unwrap();
        story.restarts(ALICE, true).unwrap();
        let violation = story.submits(ALICE, &challenge(&state(2, [5, 5]), ALICE)).unwrap_err();
        assert_fires(&violation, "no-equivocation", ALICE);
    }

    #[test]
    fn the_dishonest_may_equivocate() {
        let mut story = Story::of("no-equivocation");
        story.says(MALLORY, BOB, &mallorys(2, [4, 6])).unwrap();
        story.says(MALLORY, BOB, &mallorys(2, [1, 9])).unwrap();
    }

    #[test]
    fn a_second_final_state_is_too_many() {
        let mut story = Story::of("one-final-state");
        story.says(ALICE, BOB, &final_state(2, [4, 6])).unwrap();
        story.says(ALICE, BOB, &final_state(2, [4, 6])).unwrap();
        let violation = story.says(ALICE, BOB, &final_state(3, [2, 8])).unwrap_err();
        assert_fires(&violation, "one-final-state", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(2))));
    }

    #[test]
    fn who_forgot_may_repeat_but_not_contradict() {
        let mut story = Story::of("no-forgotten-signing");
        story.says(ALICE, BOB, &state(2, [4, 6])).unwrap();
        story.restarts(ALICE, true).unwrap();
        story.logs(ALICE, vec![signs(&state(2, [4, 6]), ALICE)]).unwrap();
        story.logs(ALICE, vec![signs(&state(3, [3, 7]), ALICE)]).unwrap();
        let violation = story.logs(ALICE, vec![signs(&state(2, [5, 5]), ALICE)]).unwrap_err();
        assert_fires(&violation, "no-forgotten-signing", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(1))));
    }
}
