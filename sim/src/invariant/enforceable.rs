//! I32: an honest node puts nothing on chain that is worse for it than what it could enforce.

use std::sync::Arc;

use fairway_core::nitro::Call;

use super::run::{Run, candidate};
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NeverWorseThanEnforceable {
    run: Arc<Run>,
}

impl NeverWorseThanEnforceable {
    pub fn new(run: &Arc<Run>) -> NeverWorseThanEnforceable {
        NeverWorseThanEnforceable { run: Arc::clone(run) }
    }

    /// What a node can enforce is its newest supported state as of the last sync: nobody can answer that with a newer one.
    fn check(&self, views: &Views, node: PartyId, call: &Call) -> Result<(), Violation> {
        let Some(claim) = candidate(call) else { return Ok(()) };
        let id = call.channel();
        let Some(channel) = views.channel(node, id) else { return Ok(()) };
        let Some(best) = channel.durable else { return Ok(()) };
        let gets = Shares::of(&claim.state).of_index(channel.me);
        let could = best.shares.of_index(channel.me);
        if gets >= could {
            return Ok(());
        }
        let what = format!(
            "{} puts turn {} on chain, which gives it {gets}; turn {} would give it {could}",
            self.run.name(node),
            claim.state.turn,
            best.turn,
        );
        let violation = Violation::safety("never-worse-than-enforceable", node, id, what);
        Err(violation.losing(node, could.saturating_sub(gets)))
    }
}

impl Invariant for NeverWorseThanEnforceable {
    fn name(&self) -> &'static str {
        "never-worse-than-enforceable"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I32"]
    }

    fn statement(&self) -> &'static str {
        "what an honest node challenges or concludes with gives it no less than its newest durable supported state"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Submitted { node, call } if self.run.honest(*node) => {
                self.check(views, *node, call)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;

    #[test]
    fn the_newest_state_is_enforced_and_no_worse_one() {
        let mut story = Story::of("never-worse-than-enforceable");
        let next = state(2, [8, 2]);
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.submits(ALICE, &challenge(&state(1, [5, 5]), ALICE)).unwrap();
        story.logs(ALICE, vec![signs(&next, ALICE), receives(&next, BOB)]).unwrap();
        story.submits(ALICE, &challenge(&next, ALICE)).unwrap();
        story.submits(ALICE, &conclude(&final_state(3, [8, 2]))).unwrap();
        let violation = story.submits(ALICE, &conclude(&final_state(3, [5, 5]))).unwrap_err();
        assert_fires(&violation, "never-worse-than-enforceable", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(3))));
        story.submits(MALLORY, &challenge(&state(1, [5, 5]), BOB)).unwrap();
    }
}
