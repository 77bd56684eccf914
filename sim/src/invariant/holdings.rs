//! I22: no deposit is lost or counted twice, whatever reorganizations did.
//!
//! A node whose head is canonical has, at its confirmed height, exactly the holdings that the canonical chain has there.

use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::machine::NodeState;
use fairway_core::types::Lsn;

use super::canon::Canon;
use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct HoldingsMatchChain {
    run: Arc<Run>,
    canon: Canon,
    nodes: Vec<Compared>,
}

/// What need not be compared again.
#[derive(Debug, Default)]
struct Compared {
    lsn: Lsn,
    /// The chain's version of which the node has confirmed every log.
    settled: Option<u64>,
}

impl HoldingsMatchChain {
    pub fn new(run: &Arc<Run>) -> HoldingsMatchChain {
        HoldingsMatchChain { run: Arc::clone(run), canon: Canon::default(), nodes: run.each() }
    }

    fn compare(&mut self, node: PartyId, state: &NodeState) -> Result<(), Violation> {
        let compared = &mut self.nodes[node.0];
        if compared.lsn == state.lsn() || compared.settled == Some(self.canon.version) {
            return Ok(());
        }
        compared.lsn = state.lsn();
        let view = state.chain();
        let (Some(head), Some(height)) = (view.head(), view.confirmed_height()) else {
            return Ok(());
        };
        if !self.canon.contains(&head) {
            return Ok(());
        }
        for channel in state.channels() {
            let held = view.confirmed(channel.id).held;
            let truth = self.canon.held(channel.id, channel.asset, height);
            if held == truth {
                continue;
            }
            let what = format!(
                "{} counts {held} at block {height}, the chain holds {truth} there",
                self.run.name(node),
            );
            let violation = Violation::safety("holdings-match-chain", node, channel.id, what);
            let mine = channel.balance(channel.my_index());
            return Err(violation.losing(node, mine.min(held.saturating_sub(truth))));
        }
        if self.canon.newest_log <= Some(height) {
            compared.settled = Some(self.canon.version);
        }
        Ok(())
    }
}

impl Invariant for HoldingsMatchChain {
    fn name(&self) -> &'static str {
        "holdings-match-chain"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I22"]
    }

    fn statement(&self) -> &'static str {
        "a node whose head is canonical counts the holdings that the chain has at its confirmed height"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Block { chain, .. } => self.canon.follow(chain),
            Observed::Appended { node, events, .. } => {
                let moves = |event: &Event| match event {
                    Event::BlockAdded { logs, .. } => !logs.is_empty(),
                    Event::BlocksReverted { .. } | Event::ObjectiveApproved { .. } => true,
                    _ => false,
                };
                if events.iter().any(|(_, event)| moves(event)) {
                    self.nodes[node.0].settled = None;
                }
            }
            Observed::Restarted { node, state, .. } => {
                self.nodes[node.0] = Compared::default();
                self.compare(*node, state)?;
            }
            Observed::Rested { node, state, .. } => self.compare(*node, state)?,
            Observed::Ended { nodes, chain } => {
                self.canon.follow(chain);
                for (node, state) in *nodes {
                    self.nodes[node.0] = Compared::default();
                    self.compare(*node, state)?;
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
    use crate::world::chain::ReorgPolicy;

    #[test]
    fn equal_views_are_equal() {
        let mut story = Story::funded("holdings-match-chain");
        for who in [ALICE, BOB] {
            story.logs(who, opened(who)).unwrap();
            let state = story.state(who);
            story.rests(who, &state).unwrap();
        }
    }

    #[test]
    fn a_deposit_that_a_node_missed_is_noticed() {
        let mut story = Story::funded("holdings-match-chain");
        story.logs(ALICE, opened(ALICE).into_iter().map(without_logs).collect()).unwrap();
        let state = story.state(ALICE);
        let violation = story.rests(ALICE, &state).unwrap_err();
        assert_fires(&violation, "holdings-match-chain", ALICE);
    }

    #[test]
    fn a_deposit_of_another_asset_is_none() {
        let mut story = Story::of("holdings-match-chain");
        story.mines(2).unwrap();
        story.mines_call(MALLORY, worthless_deposit(5)).unwrap();
        story.mines(4).unwrap();
        story.logs(BOB, opened(BOB)[..3].to_vec()).unwrap();
        story.logs_chain(BOB).unwrap();
        let state = story.state(BOB);
        // What the node makes of it is the node's affair; that it must not count is ours.
        let counted = !state.chain().confirmed(channel()).held.is_zero();
        assert_eq!(story.rests(BOB, &state).is_err(), counted);
    }

    #[test]
    fn a_node_that_ignores_a_reorg_is_noticed() {
        let mut story = Story::funded("holdings-match-chain");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.reorgs(5, ReorgPolicy::Drop).unwrap();
        let before = story.state(ALICE);
        story.rests(ALICE, &before).expect("its head is not canonical: it is behind, not wrong");
        let head = story.chain.head();
        let logs = Vec::new();
        let believes = fairway_core::event::Event::BlockAdded { block: head, logs };
        story.logs(ALICE, vec![believes]).unwrap();
        let state = story.state(ALICE);
        let violation = story.rests(ALICE, &state).unwrap_err();
        assert_fires(&violation, "holdings-match-chain", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(5))));
    }
}
