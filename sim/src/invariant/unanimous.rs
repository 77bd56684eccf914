//! I6: a state that a node calls supported was signed by everybody, provably by its log.
//!
//! Verified from scratch: the hash is computed again from the state, and the signers are recovered from the logged signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_core::chain_types::B256;
use fairway_core::event::Event;
use fairway_core::machine::NodeState;
use fairway_core::nitro::{Signature, SignedState};
use fairway_core::types::{ChannelId, Lsn, Timestamp, TurnNum};

use super::run::Run;
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::memo::Memo;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct SupportIsUnanimous {
    run: Arc<Run>,
    memo: Memo,
    nodes: Vec<Logged>,
}

/// What one node has logged, and what of it was looked at.
#[derive(Debug, Default)]
struct Logged {
    lsn: Lsn,
    touched: BTreeSet<ChannelId>,
    /// By channel and turn, the hash that was found to be unanimous last.
    verified: BTreeMap<(ChannelId, TurnNum), B256>,
    /// By channel and state hash.
    signatures: BTreeMap<ChannelId, BTreeMap<B256, Vec<Signature>>>,
}

impl Logged {
    fn read(&mut self, event: &Event) {
        let (Event::StateSigned { state, .. }
        | Event::StateReceived { state, .. }
        | Event::StatePublished { state }) = event
        else {
            return;
        };
        let known = self.signatures.entry(state.channel()).or_default();
        known.entry(state.hash()).or_default().extend(state.sigs().values());
        self.touched.insert(state.channel());
    }
}

impl SupportIsUnanimous {
    pub fn new(run: &Arc<Run>, memo: &Memo) -> SupportIsUnanimous {
        SupportIsUnanimous { run: Arc::clone(run), memo: memo.clone(), nodes: run.each() }
    }

    fn rested(&mut self, node: PartyId, state: &NodeState) -> Result<(), Violation> {
        let logged = &mut self.nodes[node.0];
        if logged.lsn == state.lsn() {
            return Ok(());
        }
        logged.lsn = state.lsn();
        for channel in std::mem::take(&mut logged.touched) {
            if let Some(supported) = state.channel(channel).and_then(|c| c.supported.as_ref()) {
                self.check(node, channel, supported)?;
            }
            if let Some(v) = state.virtual_channel(channel) {
                for unanimous in v.states.values().filter(|s| s.is_unanimous()) {
                    self.check(node, channel, unanimous)?;
                }
            }
        }
        Ok(())
    }

    fn check(
        &mut self,
        node: PartyId,
        channel: ChannelId,
        supported: &SignedState,
    ) -> Result<(), Violation> {
        let logged = &mut self.nodes[node.0];
        if logged.verified.get(&(channel, supported.turn())) == Some(&supported.hash()) {
            return Ok(());
        }
        let state = supported.state();
        let (_, hash) = self.memo.hash_of(state);
        let logged_here =
            logged.signatures.get(&channel).and_then(|c| c.get(&hash)).into_iter().flatten();
        let signers: BTreeSet<_> =
            logged_here.filter_map(|sig| self.memo.signer(hash, sig)).collect();
        if let Some(missing) = state.fixed.participants.iter().find(|p| !signers.contains(*p)) {
            let name = self.run.party(*missing).map(|p| self.run.name(p)).unwrap_or("a stranger");
            let what = format!(
                "{} counts turn {} as supported, but its log holds no signature of {name} on it",
                self.run.name(node),
                state.turn,
            );
            let me = state.fixed.index_of(self.run.address(node)).unwrap_or(usize::MAX);
            let violation = Violation::safety("support-is-unanimous", node, channel, what);
            return Err(violation.losing(node, Shares::of(state).of_index(me)));
        }
        logged.verified.insert((channel, state.turn), hash);
        Ok(())
    }

    fn restarted(
        &mut self,
        node: PartyId,
        log: &[(Timestamp, Event)],
        state: &NodeState,
    ) -> Result<(), Violation> {
        let mut fresh = Logged::default();
        log.iter().for_each(|(_, event)| fresh.read(event));
        self.nodes[node.0] = fresh;
        self.rested(node, state)
    }
}

impl Invariant for SupportIsUnanimous {
    fn name(&self) -> &'static str {
        "support-is-unanimous"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I6"]
    }

    fn statement(&self) -> &'static str {
        "a state that a node calls supported carries a valid signature of every participant in the node's log"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                let logged = &mut self.nodes[node.0];
                events.iter().for_each(|(_, event)| logged.read(event));
            }
            Observed::Rested { node, state, .. } => self.rested(*node, state)?,
            Observed::Restarted { node, log, state, .. } => self.restarted(*node, log, state)?,
            Observed::Ended { nodes, .. } => {
                for (node, state) in *nodes {
                    self.rested(*node, state)?;
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
    fn support_needs_every_signature_in_the_log() {
        let next = state(2, [4, 6]);
        let (half, whole) = (signs(&next, ALICE), receives(&next, BOB));
        let all = folded(&[opened(ALICE), vec![half.clone(), whole.clone()]].concat());

        let mut story = Story::of("support-is-unanimous");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.logs(ALICE, vec![half]).unwrap();
        let violation = story.rests(ALICE, &all).unwrap_err();
        assert_fires(&violation, "support-is-unanimous", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(4))));

        let mut story = Story::of("support-is-unanimous");
        story.logs(ALICE, [opened(ALICE), vec![signs(&next, ALICE), whole]].concat()).unwrap();
        story.rests(ALICE, &all).unwrap();
        story.restarts(ALICE, false).unwrap();
    }

    #[test]
    fn a_restart_over_a_shorter_log_is_noticed() {
        let mut story = Story::of("support-is-unanimous");
        let log = opened(ALICE);
        let state = folded(&log);
        let without_postfund: Vec<_> = log[..4].to_vec();
        story.restarts_with(ALICE, &without_postfund, &state, true).unwrap_err();
    }
}
