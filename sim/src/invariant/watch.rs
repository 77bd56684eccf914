//! Everything that watches a run: the invariants, and the one fold of each log that they share.
//!
//! The first violation ends a run, and which one that is must not depend on how the work is shared: it is that of the first
//! invariant in the list of [`all`](super::all) that finds one in an observation, at the first event at which it does.

use fairway_core::event::Event;
use fairway_core::types::Timestamp;

use super::run::Run;
use super::view::Views;
use super::{Invariant, Setting, Violation};
use crate::observe::{Observed, PartyId};

/// Shows each observation of a run to all invariants.
pub struct Watch {
    invariants: Vec<Box<dyn Invariant + Send>>,
    views: Views,
}

impl Watch {
    /// A watch by these invariants over a run.
    pub fn new(setting: &Setting, invariants: Vec<Box<dyn Invariant + Send>>) -> Watch {
        Watch { invariants, views: Views::new(&Run::new(setting)) }
    }

    /// Shows one observation to every invariant.
    ///
    /// # Errors
    /// The first violation; the run ends there, and the watch is of no use any more.
    pub fn observe(&mut self, now_ns: u64, seen: &Observed<'_>) -> Result<(), Violation> {
        let mut found = Ok(());
        let mut looking = self.invariants.len();
        if let Observed::Appended { node, events, .. } = seen {
            (looking, found) = self.events(*node, events);
        }
        for invariant in &mut self.invariants[..looking] {
            invariant.observe(now_ns, seen, &self.views)?;
        }
        self.views.follow(seen);
        found
    }

    /// Shows the events of a batch one by one. How many invariants stand before the first that found something, and what.
    fn events(
        &mut self,
        node: PartyId,
        events: &[(Timestamp, Event)],
    ) -> (usize, Result<(), Violation>) {
        let mut found = Ok(());
        let mut looking = self.invariants.len();
        for (_, event) in events {
            // Those behind the first that found something have no say; those before it may still find something.
            for (i, invariant) in self.invariants[..looking].iter_mut().enumerate() {
                if let Err(violation) = invariant.event(node, event, &self.views) {
                    (looking, found) = (i, Err(violation));
                    break;
                }
            }
            self.views.fold(node, event);
        }
        (looking, found)
    }
}
