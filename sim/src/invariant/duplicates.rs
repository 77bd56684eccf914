//! I38, I42: what a node already holds changes nothing when it comes again.
//!
//! Read off the log, which is where every change stands: a message that is delivered twice, replayed from an old session or sent again
//! after its acknowledgement was lost adds no event. Acknowledgements themselves are exempt.

use std::sync::Arc;

use fairway_core::event::Event;

use super::run::Run;
use super::view::{Views, mask_of};
use super::{Invariant, Violation};
use crate::observe::PartyId;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct DuplicatesChangeNothing {
    run: Arc<Run>,
}

impl DuplicatesChangeNothing {
    pub fn new(run: &Arc<Run>) -> DuplicatesChangeNothing {
        DuplicatesChangeNothing { run: Arc::clone(run) }
    }

    fn repeats(&self, views: &Views, node: PartyId, event: &Event) -> Option<String> {
        let channel = views.channel(node, event.channel()?)?;
        match event {
            Event::StateReceived { state, .. } | Event::StatePublished { state } => {
                let known = channel.signatures(state)?;
                let new = mask_of(state) & !known;
                (new == 0).then(|| format!("turn {} with signatures that it held", state.turn()))
            }
            Event::StateSigned { state, .. } => {
                let again = channel.signed.is_some_and(|s| s.hash == state.hash());
                again.then(|| format!("its own signature on turn {} again", state.turn()))
            }
            Event::UpdateWanted { update, .. } => {
                let last = channel.last_update.get(usize::from(update.payer))?;
                (update.id <= *last).then(|| format!("update request {} again", update.id.0))
            }
            _ => None,
        }
    }
}

impl Invariant for DuplicatesChangeNothing {
    fn name(&self) -> &'static str {
        "duplicates-change-nothing"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I38", "I42"]
    }

    fn statement(&self) -> &'static str {
        "no event records what the log already holds, so a message that comes twice changes nothing"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        if let Some(what) = self.repeats(views, node, event) {
            let what = format!("{} recorded {what}", self.run.name(node));
            let channel = event.channel();
            return Err(Violation::safety("duplicates-change-nothing", node, channel, what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use fairway_core::event::{Update, UpdateId};

    fn wants(id: u64) -> Event {
        let update = Update { id: UpdateId(id), payer: 1, amount: ether(1) };
        Event::UpdateWanted { channel: channel(), update }
    }

    #[test]
    fn news_are_recorded_once() {
        let next = state(2, [6, 4]);
        let news = vec![wants(1), wants(2), signs(&next, ALICE), receives(&next, BOB)];
        let log = [opened(ALICE), news].concat();
        let mut story = Story::of("duplicates-change-nothing");
        story.logs(ALICE, log).unwrap();
        for again in [wants(2), signs(&next, ALICE), receives(&next, BOB)] {
            let violation = story.logs(ALICE, vec![again]).unwrap_err();
            assert_fires(&violation, "duplicates-change-nothing", ALICE);
        }
    }

    #[test]
    fn a_proposal_that_comes_twice_before_it_is_answered_is_a_duplicate() {
        let mut story = Story::of("duplicates-change-nothing");
        let proposal = receives(&state(2, [6, 4]), BOB);
        story.logs(ALICE, [opened(ALICE), vec![proposal.clone()]].concat()).unwrap();
        story.restarts(ALICE, false).unwrap();
        assert!(story.logs(ALICE, vec![proposal]).is_err());
    }
}
