//! I29: an old state does not become final against somebody who was there to answer.
//!
//! Judged on chain. A node that held a newer supported state, durably, when the challenge appeared, and ran for at least half of the
//! window, has by then submitted an answer; otherwise the challenge must not finalize. Whether an answer that was
//! submitted in time is also mined is the chain's affair.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::chain_types::B256;
use fairway_core::event::ObjectiveKind;
use fairway_core::nitro::Log;
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, TurnNum};

use super::run::{Run, candidate};
use super::shares::{Brief, Shares};
use super::view::{Progress, Views};
use super::virtual_view::payee_part;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::chain::ChainSim;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct ChallengeAnswered {
    run: Arc<Run>,
    running: BTreeMap<ChannelId, Challenge>,
    windows: BTreeMap<(ChannelId, Challenge), Window>,
    uptimes: Vec<Uptime>,
}

/// One challenge; the same one on two branches is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Challenge {
    turn: TurnNum,
    finalizes_at: ChainTime,
}

/// What was known when a challenge first appeared.
#[derive(Debug)]
struct Window {
    since_ns: u64,
    asset: Address,
    shares: Shares,
    /// A virtual channel holds nothing itself: what it decides is paid elsewhere.
    is_virtual: bool,
    defenders: Vec<Defender>,
}

/// Somebody who could answer.
#[derive(Debug)]
struct Defender {
    node: PartyId,
    index: usize,
    newest: Brief,
    up_before_ns: u64,
    /// How long it had been up in this window when it first submitted an answer.
    answered_after_ns: Option<u64>,
}

/// How long a node has run.
#[derive(Debug)]
struct Uptime {
    sum_ns: u64,
    since_ns: Option<u64>,
}

impl Default for Uptime {
    fn default() -> Uptime {
        Uptime { sum_ns: 0, since_ns: Some(0) }
    }
}

impl Uptime {
    fn at(&self, now_ns: u64) -> u64 {
        self.sum_ns + self.since_ns.map_or(0, |since| now_ns.saturating_sub(since))
    }

    fn set(&mut self, now_ns: u64, up: bool) {
        self.sum_ns = self.at(now_ns);
        self.since_ns = up.then_some(now_ns);
    }
}

impl ChallengeAnswered {
    pub fn new(run: &Arc<Run>) -> ChallengeAnswered {
        ChallengeAnswered {
            run: Arc::clone(run),
            running: BTreeMap::new(),
            windows: BTreeMap::new(),
            uptimes: run.each(),
        }
    }

    fn block(
        &mut self,
        views: &Views,
        now_ns: u64,
        chain: &ChainSim,
        replaced: u64,
    ) -> Result<(), Violation> {
        let blocks = chain.canonical();
        let new = if replaced > 0 { blocks } else { &blocks[blocks.len() - 1..] };
        if replaced > 0 {
            self.running.clear();
        }
        for log in new.iter().flat_map(|block| &block.logs) {
            self.read(views, now_ns, &log.log);
        }
        let now = chain.head().time;
        let over: Vec<_> = self.running.iter().filter(|(_, c)| c.finalizes_at <= now).collect();
        let over: Vec<_> = over.into_iter().map(|(id, c)| (*id, *c)).collect();
        for (channel, challenge) in over {
            self.running.remove(&channel);
            self.judge(views, now_ns, chain, channel, challenge)?;
        }
        Ok(())
    }

    fn read(&mut self, views: &Views, now_ns: u64, log: &Log) {
        match log {
            Log::ChallengeRegistered { channel, finalizes_at, candidate } => {
                let (turn, finalizes_at) = (candidate.state.turn, *finalizes_at);
                let challenge = Challenge { turn, finalizes_at };
                self.running.insert(*channel, challenge);
                if !self.windows.contains_key(&(*channel, challenge)) {
                    let mut defenders = self.defenders(views, now_ns, *channel, turn);
                    let payees = self.payees(views, now_ns, *channel, turn);
                    let is_virtual = !payees.is_empty();
                    defenders.extend(payees);
                    let mut shares = Shares::of(&candidate.state);
                    if is_virtual {
                        let paid = payee_part(&candidate.state.outcome).unwrap_or_default();
                        shares.amounts = [Amount::ZERO, paid];
                    }
                    let (since_ns, asset) = (now_ns, shares.asset);
                    let window = Window { since_ns, asset, shares, is_virtual, defenders };
                    self.windows.insert((*channel, challenge), window);
                }
            }
            Log::ChallengeCleared { channel, .. }
            | Log::Checkpointed { channel, .. }
            | Log::Concluded { channel, .. } => {
                self.running.remove(channel);
            }
            Log::Deposited { .. } | Log::AllocationUpdated { .. } | Log::Reclaimed { .. } => {}
        }
    }

    fn defenders(
        &self,
        views: &Views,
        now_ns: u64,
        channel: ChannelId,
        turn: TurnNum,
    ) -> Vec<Defender> {
        let nodes = (0..self.run.count()).map(PartyId).filter(|p| self.run.honest(*p));
        let defender = |node: PartyId| {
            let view = views.channel(node, channel)?;
            let newest = view.durable.filter(|newest| newest.turn > turn)?;
            let up_before_ns = self.uptimes[node.0].at(now_ns);
            let index = view.me;
            Some(Defender { node, index, newest, up_before_ns, answered_after_ns: None })
        };
        nodes.filter_map(defender).collect()
    }

    /// Payees of a virtual channel who hold a voucher that they can redeem, durably.
    fn payees(
        &self,
        views: &Views,
        now_ns: u64,
        channel: ChannelId,
        turn: TurnNum,
    ) -> Vec<Defender> {
        let nodes = (0..self.run.count()).map(PartyId).filter(|p| self.run.honest(*p));
        let defender = |node: PartyId| {
            let view = views.virtual_channel(node, channel)?;
            let redeems = view.is_payee()
                && !view.durable_paid.is_zero()
                && turn < TurnNum::REDEMPTION
                && view.unanimous(TurnNum::POSTFUND).is_some()
                && !is_given_back(views, node, channel);
            let amounts = [Amount::ZERO, view.durable_paid];
            let shares = Shares { amounts, ..Shares::default() };
            let (turn, hash) = (TurnNum::REDEMPTION, B256::ZERO);
            let newest = Brief { turn, hash, is_final: false, shares };
            let up_before_ns = self.uptimes[node.0].at(now_ns);
            let answered_after_ns = None;
            redeems.then_some(Defender { node, index: 1, newest, up_before_ns, answered_after_ns })
        };
        nodes.filter_map(defender).collect()
    }

    fn submitted(&mut self, now_ns: u64, node: PartyId, channel: ChannelId, turn: TurnNum) {
        let up = self.uptimes[node.0].at(now_ns);
        let Some(challenge) = self.running.get(&channel).filter(|c| turn > c.turn) else { return };
        let window = self.windows.get_mut(&(channel, *challenge));
        let defenders = window.map(|w| &mut w.defenders).into_iter().flatten();
        for defender in defenders.filter(|d| d.node == node) {
            defender.answered_after_ns.get_or_insert(up.saturating_sub(defender.up_before_ns));
        }
    }

    /// The challenge has become final.
    fn judge(
        &self,
        views: &Views,
        now_ns: u64,
        chain: &ChainSim,
        channel: ChannelId,
        challenge: Challenge,
    ) -> Result<(), Violation> {
        let Some(window) = self.windows.get(&(channel, challenge)) else { return Ok(()) };
        // Nothing is held, or it was paid out before: there is nothing to defend.
        if !window.is_virtual && chain.holdings_in(window.asset, channel).is_zero() {
            return Ok(());
        }
        let half = now_ns.saturating_sub(window.since_ns) / 2;
        for defender in &window.defenders {
            let Defender { node, index, newest, .. } = defender;
            let up = self.uptimes[node.0].at(now_ns).saturating_sub(defender.up_before_ns);
            let answered = defender.answered_after_ns.is_some_and(|after| after <= half);
            // A disk that went back in time may have taken the newer state with it.
            let durable = views.channel(*node, channel).and_then(|c| c.durable);
            let promised = views.virtual_channel(*node, channel).map(|v| v.durable_paid);
            let still_held = durable.is_some_and(|d| d.turn > challenge.turn)
                || promised >= Some(newest.shares.of_index(*index)) && window.is_virtual;
            if up < half || answered || !still_held || is_given_back(views, *node, channel) {
                continue;
            }
            let what = format!(
                "turn {} became final although {} holds turn {} and was up for {} of {} s",
                challenge.turn,
                self.run.name(*node),
                newest.turn,
                up / 1_000_000_000,
                half / 500_000_000,
            );
            let (due, gets) = (newest.shares.of_index(*index), window.shares.of_index(*index));
            let violation = Violation::safety("challenge-answered", *node, channel, what);
            return Err(violation.losing(*node, due.saturating_sub(gets)));
        }
        Ok(())
    }
}

/// Whether a virtual channel's guarantee was given back to a node with its split, before a challenge or while it ran: then nothing depends
/// on the virtual channel any more.
fn is_given_back(views: &Views, node: PartyId, channel: ChannelId) -> bool {
    let view = views.virtual_channel(node, channel);
    view.is_some_and(|v| v.objective(ObjectiveKind::VirtualDefund) == Some(Progress::Completed))
}

impl Invariant for ChallengeAnswered {
    fn name(&self) -> &'static str {
        "challenge-answered"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I29", "I30"]
    }

    fn statement(&self) -> &'static str {
        "a challenge below the durable supported turn, or voucher, of an honest node that was up for half of its window is answered"
    }

    fn observe(
        &mut self,
        now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Block { chain, replaced } => self.block(views, now_ns, chain, *replaced)?,
            Observed::Submitted { node, call } if self.run.honest(*node) => {
                if !self.running.is_empty()
                    && let Some(claim) = candidate(call)
                {
                    self.submitted(now_ns, *node, call.channel(), claim.state.turn);
                }
            }
            Observed::Crashed { node } | Observed::Stopped { node, .. } => {
                self.uptimes[node.0].set(now_ns, false);
            }
            Observed::Restarted { node, .. } => {
                self.uptimes[node.0].set(now_ns, true);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;

    /// Both hold turn 2; turn 1 is challenged by the peer.
    fn challenged() -> Story {
        let mut story = Story::funded("challenge-answered");
        let next = state(2, [8, 2]);
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.logs(ALICE, vec![signs(&next, ALICE), receives(&next, BOB)]).unwrap();
        story.mines_call(MALLORY, challenge(&state(1, [5, 5]), BOB)).unwrap();
        story
    }

    #[test]
    fn a_node_that_sleeps_through_the_window_is_noticed() {
        let mut story = challenged();
        let violation = story.mines(6).unwrap_err();
        assert_fires(&violation, "challenge-answered", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(3))));
    }

    #[test]
    fn an_answer_in_time_clears_the_challenge() {
        let mut story = challenged();
        story.submits(ALICE, &checkpoint(&state(2, [8, 2]))).unwrap();
        story.mines(8).unwrap();
    }

    #[test]
    fn an_answer_that_the_chain_drops_is_not_the_nodes_fault() {
        let mut story = challenged();
        story.submits_in_vain(ALICE, &checkpoint(&state(2, [8, 2]))).unwrap();
        story.mines(8).unwrap();
    }

    #[test]
    fn who_was_down_for_most_of_the_window_is_excused() {
        let mut story = challenged();
        story.crashes_and_loses_nothing(ALICE);
        story.mines(8).unwrap();
    }

    #[test]
    fn a_challenge_with_the_newest_state_may_finalize() {
        let mut story = Story::funded("challenge-answered");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.mines_call(MALLORY, challenge(&state(1, [5, 5]), BOB)).unwrap();
        story.mines(8).unwrap();
    }

    /// Bob is paid by a channel directly from Alice, who challenges with its postfund.
    #[test]
    fn a_payee_that_does_not_redeem_is_noticed() {
        use super::super::fixture_virtual::*;
        let terms = direct_terms();
        let postfund = virtual_state(&terms, fairway_core::types::TurnNum::POSTFUND, 0);
        for (holds, closes) in [(true, false), (false, false), (true, true)] {
            let mut story = Story::of("challenge-answered");
            story.logs(BOB, vec![takes_part(&terms, None)]).unwrap();
            story.logs(BOB, unanimous(&postfund, BOB, &[ALICE])).unwrap();
            if holds {
                story.logs(BOB, vec![promised(&terms, 1)]).unwrap();
            }
            story.mines_call(MALLORY, challenge(&postfund, ALICE)).unwrap();
            if closes {
                // While the challenge runs the guarantee is given back, with what the payee is paid.
                story.logs(BOB, given_back(&terms)).unwrap();
            }
            let told = story.mines(8);
            assert_eq!(told.is_err(), holds && !closes);
            if let Err(violation) = told {
                assert_fires(&violation, "challenge-answered", BOB);
                assert_eq!(violation.loss, Some((BOB, ether(1))));
            }
        }
    }
}
