//! I4, I7, I9: turns go forward.
//!
//! I4: an honest node signs no new state at or below a state that everybody has signed. I7: what everybody has signed grows, in the
//! log, in memory and over restarts. I9: an honest node challenges with its newest supported state and no older one.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::{Event, WantedTx};
use fairway_core::machine::NodeState;
use fairway_core::nitro::{Call, SignedState};
use fairway_core::types::{ChannelId, Lsn, TurnNum};

use super::run::Run;
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NoStaleSigning {
    run: Arc<Run>,
}

impl NoStaleSigning {
    pub fn new(run: &Arc<Run>) -> NoStaleSigning {
        NoStaleSigning { run: Arc::clone(run) }
    }

    fn check(&self, views: &Views, node: PartyId, signed: &SignedState) -> Result<(), Violation> {
        let Some(channel) = views.channel(node, signed.channel()) else { return Ok(()) };
        let newest = channel.supported.into_iter().chain(channel.signed).max_by_key(|b| b.turn);
        let Some(newest) = newest else { return Ok(()) };
        if signed.turn() > newest.turn || signed.hash() == newest.hash {
            return Ok(());
        }
        let me = channel.me;
        let (old, new) = (Shares::of(signed.state()).of_index(me), newest.shares.of_index(me));
        let what = format!(
            "{} signed turn {} after turn {}: the one gives it {old}, the other {new}",
            self.run.name(node),
            signed.turn(),
            newest.turn,
        );
        let violation = Violation::safety("no-stale-signing", node, signed.channel(), what);
        Err(violation.losing(node, new.saturating_sub(old)))
    }
}

impl Invariant for NoStaleSigning {
    fn name(&self) -> &'static str {
        "no-stale-signing"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I4"]
    }

    fn statement(&self) -> &'static str {
        "an honest node signs no new state at or below the newest turn that it or everybody has signed"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        if let Event::StateSigned { state, .. } = event {
            self.check(views, node, state)?;
        }
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct SupportedTurnGrows {
    run: Arc<Run>,
    nodes: Vec<Seen>,
}

/// What a node's memory showed last.
#[derive(Debug, Default)]
struct Seen {
    lsn: Lsn,
    touched: Vec<ChannelId>,
    supported: BTreeMap<ChannelId, TurnNum>,
}

impl SupportedTurnGrows {
    pub fn new(run: &Arc<Run>) -> SupportedTurnGrows {
        SupportedTurnGrows { run: Arc::clone(run), nodes: run.each() }
    }

    fn remember(&mut self, node: PartyId, state: &NodeState) -> Result<(), Violation> {
        let seen = &mut self.nodes[node.0];
        if state.lsn() == seen.lsn {
            return Ok(());
        }
        seen.lsn = state.lsn();
        for id in seen.touched.drain(..) {
            let Some(turn) = state.channel(id).and_then(|c| c.supported_turn()) else {
                if seen.supported.contains_key(&id) {
                    return Err(back(&self.run, node, id, "lost its supported state".into()));
                }
                continue;
            };
            let before = seen.supported.insert(id, turn).unwrap_or_default();
            if turn < before {
                let what = format!("went back from turn {before} to turn {turn} in memory");
                return Err(back(&self.run, node, id, what));
            }
        }
        Ok(())
    }

    /// What was durable before the crash is supported after it.
    fn restarted(&self, views: &Views, node: PartyId, state: &NodeState) -> Result<(), Violation> {
        for (id, channel) in &views.of(node).channels {
            let Some(durable) = channel.durable else { continue };
            let now = state.channel(*id).and_then(|c| c.supported_turn());
            if now < Some(durable.turn) {
                let what = format!("restarted below turn {}, which was durable", durable.turn);
                let violation = back(&self.run, node, *id, what);
                return Err(violation.losing(node, durable.shares.of_index(channel.me)));
            }
        }
        Ok(())
    }
}

fn back(run: &Run, node: PartyId, channel: ChannelId, what: String) -> Violation {
    let what = format!("{} {what}", run.name(node));
    Violation::safety("supported-turn-grows", node, channel, what)
}

impl Invariant for SupportedTurnGrows {
    fn name(&self) -> &'static str {
        "supported-turn-grows"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I7"]
    }

    fn statement(&self) -> &'static str {
        "the turn that everybody has signed never goes back, in memory or over a restart"
    }

    fn event(&mut self, node: PartyId, event: &Event, _views: &Views) -> Result<(), Violation> {
        if let Event::StateSigned { state, .. }
        | Event::StateReceived { state, .. }
        | Event::StatePublished { state } = event
        {
            self.nodes[node.0].touched.push(state.channel());
        }
        Ok(())
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Rested { node, state, .. } => self.remember(*node, state)?,
            Observed::Restarted { node, state, may_have_forgotten, .. } => {
                if !may_have_forgotten {
                    self.restarted(views, *node, state)?;
                }
                let known = state.channels().filter_map(|c| Some((c.id, c.supported_turn()?)));
                let (lsn, supported) = (state.lsn(), known.collect());
                self.nodes[node.0] = Seen { lsn, supported, touched: Vec::new() };
            }
            _ => {}
        }
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NoStaleChallengeSigned {
    run: Arc<Run>,
}

impl NoStaleChallengeSigned {
    pub fn new(run: &Arc<Run>) -> NoStaleChallengeSigned {
        NoStaleChallengeSigned { run: Arc::clone(run) }
    }

    fn check(
        &self,
        views: &Views,
        node: PartyId,
        id: ChannelId,
        turn: TurnNum,
    ) -> Result<(), Violation> {
        let newest = match views.virtual_channel(node, id) {
            Some(v) => v.newest(),
            None => views.channel(node, id).and_then(|c| c.supported).map(|s| s.turn),
        };
        let Some(newest) = newest.filter(|newest| turn < *newest) else { return Ok(()) };
        let what = format!(
            "{} signed a challenge with turn {turn} while turn {newest} is supported",
            self.run.name(node),
        );
        Err(Violation::safety("no-stale-challenge-signed", node, id, what))
    }
}

impl Invariant for NoStaleChallengeSigned {
    fn name(&self) -> &'static str {
        "no-stale-challenge-signed"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I9"]
    }

    fn statement(&self) -> &'static str {
        "an honest node signs a challenge over its newest supported state alone"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        match event {
            Event::TxWanted { channel, tx: WantedTx::Challenge { turn, .. } } => {
                self.check(views, node, *channel, *turn)
            }
            _ => Ok(()),
        }
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Submitted { node, call: Call::Challenge { candidate, .. } }
                if self.run.honest(*node) =>
            {
                let state = &candidate.state;
                self.check(views, *node, state.fixed.channel_id(), state.turn)?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn updated() -> Vec<Event> {
        let next = state(2, [6, 4]);
        [opened(ALICE), vec![signs(&next, ALICE), receives(&next, BOB)]].concat()
    }

    #[test]
    fn signing_goes_forward() {
        let mut story = Story::of("no-stale-signing");
        story.logs(ALICE, updated()).unwrap();
        story.logs(ALICE, vec![signs(&state(3, [6, 4]), ALICE)]).unwrap();
        story.logs(ALICE, vec![signs(&state(3, [6, 4]), ALICE)]).unwrap();
    }

    #[test]
    fn signing_an_old_turn_is_noticed() {
        for (turn, shares, loss) in [(2, [1, 9], Some(ether(5))), (1, [5, 5], Some(ether(1)))] {
            let mut story = Story::of("no-stale-signing");
            story.logs(ALICE, updated()).unwrap();
            let again = vec![signs(&state(turn, shares), ALICE)];
            let violation = story.logs(ALICE, again).unwrap_err();
            assert_fires(&violation, "no-stale-signing", ALICE);
            assert_eq!(violation.loss.map(|l| l.1), loss);
        }
    }

    #[test]
    fn memory_may_not_go_back() {
        let mut story = Story::of("supported-turn-grows");
        story.logs(ALICE, updated()).unwrap();
        let newer = story.state(ALICE);
        story.rests(ALICE, &newer).unwrap();
        let again = vec![receives(&state(2, [6, 4]), BOB)];
        story.appends(ALICE, again).unwrap();
        let older = folded(&opened(ALICE));
        let violation = story.rests(ALICE, &older).unwrap_err();
        assert_fires(&violation, "supported-turn-grows", ALICE);
    }

    #[test]
    fn a_restart_may_not_lose_what_was_durable() {
        let mut story = Story::of("supported-turn-grows");
        story.logs(ALICE, updated()).unwrap();
        story.restarts(ALICE, false).unwrap();
        let violation = story.restarts_over(ALICE, &opened(ALICE), false).unwrap_err();
        assert_fires(&violation, "supported-turn-grows", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(6))));
    }

    #[test]
    fn who_may_have_forgotten_may_be_older() {
        let mut story = Story::of("supported-turn-grows");
        story.logs(ALICE, updated()).unwrap();
        story.restarts_over(ALICE, &opened(ALICE), true).unwrap();
    }

    #[test]
    fn a_stale_challenge_is_noticed_when_it_is_signed_and_when_it_leaves() {
        let mut story = Story::of("no-stale-challenge-signed");
        story.logs(ALICE, updated()).unwrap();
        story.submits(ALICE, &challenge(&state(2, [6, 4]), ALICE)).unwrap();
        let violation = story.submits(ALICE, &challenge(&state(1, [5, 5]), ALICE)).unwrap_err();
        assert_fires(&violation, "no-stale-challenge-signed", ALICE);
        let challenger_sig = challenger_sig(&state(1, [5, 5]), ALICE);
        let tx = WantedTx::Challenge { turn: turn(1), challenger_sig };
        let stale = vec![Event::TxWanted { channel: channel(), tx }];
        assert!(story.logs(ALICE, stale).is_err());
        story.submits(MALLORY, &challenge(&state(1, [5, 5]), ALICE)).unwrap();
    }
}
