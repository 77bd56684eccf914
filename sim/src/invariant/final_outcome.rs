//! I19: who closes in agreement signs the last supported outcome and nothing else.
//!
//! go-nitro's responder signs whatever final state it is offered: the peer takes everything.

use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::nitro::SignedState;

use super::run::Run;
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::PartyId;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct FinalOutcomeIsLastSupported {
    run: Arc<Run>,
}

impl FinalOutcomeIsLastSupported {
    pub fn new(run: &Arc<Run>) -> FinalOutcomeIsLastSupported {
        FinalOutcomeIsLastSupported { run: Arc::clone(run) }
    }

    fn check(&self, views: &Views, node: PartyId, signed: &SignedState) -> Result<(), Violation> {
        let id = signed.channel();
        let channel = views.channel(node, id);
        let last = channel.and_then(|c| Some((c.me, c.supported?.shares)));
        let offered = Shares::of(signed.state());
        let me = last.map_or(usize::MAX, |(me, _)| me);
        let due = last.map_or(Shares::default(), |(_, shares)| shares);
        if offered.canonical && offered == due {
            return Ok(());
        }
        let (due, offered) = (due.of_index(me), offered.of_index(me));
        let what = format!(
            "{} signed a final state that is not the last supported outcome: it gets {offered} instead of {due}",
            self.run.name(node),
        );
        let violation = Violation::safety("final-outcome-is-last-supported", node, id, what);
        Err(violation.losing(node, due.saturating_sub(offered)))
    }
}

impl Invariant for FinalOutcomeIsLastSupported {
    fn name(&self) -> &'static str {
        "final-outcome-is-last-supported"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I19"]
    }

    fn statement(&self) -> &'static str {
        "the outcome of a final state that an honest node signs is that of the last supported one"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        if let Event::StateSigned { state, .. } = event
            && state.state().is_final
            // A virtual channel's final state says what its vouchers say; `signed-states-are-valid` checks that.
            && views.virtual_channel(node, state.channel()).is_none()
        {
            self.check(views, node, state)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;

    #[test]
    fn the_last_outcome_closes_and_no_other() {
        for (shares, loss) in [([4, 6], None), ([5, 5], Some(None)), ([1, 9], Some(Some(3)))] {
            let next = state(2, [4, 6]);
            let mut story = Story::of("final-outcome-is-last-supported");
            story.logs(ALICE, opened(ALICE)).unwrap();
            story.logs(ALICE, vec![signs(&next, ALICE), receives(&next, BOB)]).unwrap();
            let closed = story.logs(ALICE, vec![signs(&final_state(3, shares), ALICE)]);
            let Some(loss) = loss else {
                closed.unwrap();
                continue;
            };
            let violation = closed.unwrap_err();
            assert_fires(&violation, "final-outcome-is-last-supported", ALICE);
            assert_eq!(violation.loss, loss.map(|n| (ALICE, ether(n))));
        }
    }
}
