//! I48: two honest parties never see different states of one turn in their channel, and never drift apart.
//!
//! The leader proposes one state at a time, so neither is ever more than one turn ahead of the other. A node whose disk went back in time
//! is behind until it was told.

use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::types::ChannelId;

use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct LedgerViewsAgree {
    run: Arc<Run>,
    forgot: Vec<bool>,
}

impl LedgerViewsAgree {
    pub fn new(run: &Arc<Run>) -> LedgerViewsAgree {
        LedgerViewsAgree { run: Arc::clone(run), forgot: run.each() }
    }

    fn check(&self, views: &Views, node: PartyId, id: ChannelId) -> Result<(), Violation> {
        let Some(mine) = views.channel(node, id) else { return Ok(()) };
        let peer = mine.participants.iter().filter_map(|p| self.run.party(*p)).find(|p| *p != node);
        let Some(peer) = peer.filter(|p| self.run.honest(*p)) else { return Ok(()) };
        let theirs = views.channel(peer, id).and_then(|c| c.supported);
        let (Some(mine), Some(theirs)) = (mine.supported, theirs) else { return Ok(()) };
        let differ = mine.turn == theirs.turn && mine.hash != theirs.hash;
        let excused = self.forgot[node.0] || self.forgot[peer.0];
        let apart = mine.turn.get().abs_diff(theirs.turn.get()) > 1 && !excused;
        if !differ && !apart {
            return Ok(());
        }
        let (name, other) = (self.run.name(node), self.run.name(peer));
        let what = if differ {
            format!("{name} and {other} hold different states of turn {}", mine.turn)
        } else {
            format!("{name} is at turn {} and {other} at turn {}", mine.turn, theirs.turn)
        };
        Err(Violation::safety("ledger-views-agree", node, id, what))
    }
}

impl Invariant for LedgerViewsAgree {
    fn name(&self) -> &'static str {
        "ledger-views-agree"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I48"]
    }

    fn statement(&self) -> &'static str {
        "the newest supported states of two honest parties are at most one turn apart, and equal at equal turns"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                for (_, event) in *events {
                    if let Event::StateSigned { state, .. }
                    | Event::StateReceived { state, .. }
                    | Event::StatePublished { state } = event
                    {
                        self.check(views, *node, state.channel())?;
                    }
                }
            }
            Observed::Restarted { node, may_have_forgotten, .. } => {
                self.forgot[node.0] |= may_have_forgotten;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;

    fn story() -> Story {
        let mut story = Story::of("ledger-views-agree");
        for who in [ALICE, BOB] {
            story.logs(who, opened(who)).unwrap();
        }
        story
    }

    #[test]
    fn one_turn_apart_is_a_message_on_its_way() {
        let mut story = story();
        let next = state(2, [4, 6]);
        story.logs(BOB, vec![receives(&next, ALICE), signs(&next, BOB)]).unwrap();
        story.logs(ALICE, vec![signs(&next, ALICE), receives(&next, BOB)]).unwrap();
    }

    #[test]
    fn two_states_of_one_turn_are_noticed() {
        let mut story = story();
        let (one, other) = (state(2, [4, 6]), state(2, [6, 4]));
        story.logs(BOB, vec![receives(&one, ALICE), signs(&one, BOB)]).unwrap();
        let told = story.logs(ALICE, vec![signs(&other, ALICE), receives(&other, BOB)]);
        assert_fires(&told.unwrap_err(), "ledger-views-agree", ALICE);
    }

    #[test]
    fn two_turns_apart_are_noticed_unless_somebody_forgot() {
        for forgot in [false, true] {
            let mut story = story();
            story.restarts(BOB, forgot).unwrap();
            let mut ahead = || {
                for turn in [2, 3] {
                    let next = state(turn, [4, 6]);
                    story.logs(ALICE, vec![signs(&next, ALICE), receives(&next, BOB)])?;
                }
                Ok::<_, super::Violation>(())
            };
            assert_eq!(ahead().is_err(), !forgot);
        }
    }
}
