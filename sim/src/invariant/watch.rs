//! Everything that watches a run: the invariants, and the one fold of each log that they share.
//!
//! The first violation ends a run, and which one that is must not depend on how the work is shared: it is that of the first
//! invariant in the list of [`all`](super::all) that finds one in an observation, at the first event at which it does.

use fairway_core::event::Event;
use fairway_core::types::Timestamp;

use super::run::Run;
use super::view::Views;
use super::{Closest, Invariant, Setting, Violation};
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

    /// How near the run came to a loss.
    pub fn closest(&self) -> Option<Closest> {
        self.invariants.iter().find_map(|i| i.closest())
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

    /// Shows one observation to every invariant, and goes on after a violation: an invariant that was broken looks no more, the others
    /// do. What was found, in the order of the list, so that the first of all is the one at which the run would have ended.
    pub fn gather(&mut self, now_ns: u64, seen: &Observed<'_>) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Observed::Appended { node, events, .. } = seen {
            for (_, event) in *events {
                let views = &self.views;
                self.invariants.retain_mut(|i| keep(i.event(*node, event, views), &mut found));
                self.views.fold(*node, event);
            }
        }
        let views = &self.views;
        self.invariants.retain_mut(|i| keep(i.observe(now_ns, seen, views), &mut found));
        self.views.follow(seen);
        found.sort_by_key(|v| super::names().iter().position(|name| *name == v.invariant));
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

/// Whether an invariant was not broken; a violation is kept.
fn keep(looked: Result<(), Violation>, found: &mut Vec<Violation>) -> bool {
    let broken = looked.err();
    let whole = broken.is_none();
    found.extend(broken);
    whole
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ALICE, blocks, setting};
    use super::*;
    use fairway_core::types::Lsn;

    /// Finds something wrong at its n-th event, and checks that the views end right before each.
    struct Finds {
        name: &'static str,
        at: u64,
        events: u64,
    }

    impl Invariant for Finds {
        fn name(&self) -> &'static str {
            self.name
        }

        fn catalogue(&self) -> &'static [&'static str] {
            &[]
        }

        fn statement(&self) -> &'static str {
            "a stub"
        }

        fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
            let Event::BlockAdded { block, .. } = event else { unreachable!("blocks alone") };
            let before = views.of(node).head.map(|head| head.number.0 + 1);
            assert_eq!(before.unwrap_or(0), block.number.0, "the views end before the event");
            self.events += 1;
            if self.events < self.at {
                return Ok(());
            }
            Err(Violation::safety(self.name, node, None, format!("event {}", self.events)))
        }
    }

    /// The invariant that is named, and at which event, when these find something in a batch of four.
    fn named(finds: [(&'static str, u64); 2]) -> Option<(String, String)> {
        let finds = finds.map(|(name, at)| -> Box<dyn Invariant + Send> {
            Box::new(Finds { name, at, events: 0 })
        });
        let mut watch = Watch::new(&setting(), finds.into());
        let events: Vec<_> = blocks(0..=3).into_iter().map(|e| (Timestamp(0), e)).collect();
        let seen = Observed::Appended { node: ALICE, first: Lsn(1), events: &events };
        watch.observe(0, &seen).err().map(|violation| (violation.invariant, violation.what))
    }

    /// Goal: nobody hides behind another; who was broken says so once.
    #[test]
    fn gathering_shows_the_rest_of_a_run_to_the_others() {
        let finds = [("first", 3), ("second", 1), ("third", 9)];
        let finds = finds.map(|(name, at)| -> Box<dyn Invariant + Send> {
            Box::new(Finds { name, at, events: 0 })
        });
        let mut watch = Watch::new(&setting(), finds.into());
        let events: Vec<_> = blocks(0..=3).into_iter().map(|e| (Timestamp(0), e)).collect();
        let seen = Observed::Appended { node: ALICE, first: Lsn(1), events: &events };
        let said: Vec<String> = watch.gather(0, &seen).into_iter().map(|v| v.what).collect();
        assert_eq!(said, ["event 1", "event 3"]);
        assert_eq!(watch.invariants.len(), 1);
    }

    #[test]
    fn the_first_of_the_list_is_named_even_if_another_finds_something_at_an_earlier_event() {
        let first = Some(("first".to_string(), "event 3".to_string()));
        assert_eq!(named([("first", 3), ("second", 1)]), first);
        assert_eq!(named([("first", 3), ("second", 4)]), first);
        let second = Some(("second".to_string(), "event 2".to_string()));
        assert_eq!(named([("first", 9), ("second", 2)]), second);
        assert_eq!(named([("first", 9), ("second", 9)]), None);
    }
}
