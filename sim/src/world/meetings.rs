//! Meetings: which kinds of fault struck at which points of the protocol. What is counted when a campaign is asked how much of the
//! unknown is left.

use std::collections::BTreeSet;

use crate::observe::{Observed, PartyId};
use crate::scenario::FaultKind;

/// What the faults of a run met.
///
/// A meeting is a kind of fault and the kind of event that the struck party had written last: the event names the place in the
/// protocol better than any state of an objective, because every step of the protocol writes one. A fault of a link counts for its
/// first end; one of the chain, or of every link, for whoever wrote last.
#[derive(Clone, Debug, Default)]
pub struct Meetings {
    last_of: Vec<Option<&'static str>>,
    last: Option<&'static str>,
    seen: BTreeSet<(FaultKind, &'static str)>,
}

impl Meetings {
    /// Nothing written, nothing met.
    pub fn new(parties: usize) -> Meetings {
        Meetings { last_of: vec![None; parties], ..Meetings::default() }
    }

    /// What was met, `crash.power_loss at VoucherSigned`, in the order of the catalogue of faults.
    pub fn seen(&self) -> impl Iterator<Item = String> + '_ {
        self.seen.iter().map(|(kind, event)| format!("{kind} at {event}"))
    }

    pub(super) fn observe(&mut self, seen: &Observed<'_>) {
        if let Observed::Appended { node, events, .. } = seen
            && let Some((_, event)) = events.last()
        {
            self.last = Some(event.name());
            if let Some(last) = self.last_of.get_mut(node.0) {
                *last = self.last;
            }
        }
    }

    pub(super) fn struck(&mut self, kind: FaultKind, party: Option<PartyId>) {
        let last = match party {
            Some(party) => self.last_of.get(party.0).copied().flatten(),
            None => self.last,
        };
        self.seen.insert((kind, last.unwrap_or(NOTHING)));
    }
}

/// Every place at which a fault may meet a party.
pub fn places() -> impl Iterator<Item = &'static str> {
    fairway_core::event::EVENT_NAMES.iter().copied().chain([NOTHING])
}

/// Stands for the event of a party that has written none: an adversary's log is not observed.
const NOTHING: &str = "nothing";

#[cfg(test)]
mod tests {
    use fairway_core::event::Event;
    use fairway_core::types::{Lsn, Timestamp};

    use super::*;

    #[test]
    fn a_fault_meets_what_the_party_that_it_strikes_wrote_last() {
        let mut meetings = Meetings::new(2);
        meetings.struck(FaultKind::PowerLoss, Some(PartyId(0)));
        let event = Event::RecoveryEnded;
        let events = [(Timestamp(1), event.clone())];
        meetings.observe(&Observed::Appended { node: PartyId(1), first: Lsn(1), events: &events });
        meetings.struck(FaultKind::PowerLoss, Some(PartyId(0)));
        meetings.struck(FaultKind::FailedSync, Some(PartyId(1)));
        meetings.struck(FaultKind::Reorg, None);
        let name = event.name();
        let expected = [
            "crash.power_loss at nothing".to_string(),
            format!("disk.failed_sync at {name}"),
            format!("chain.reorg at {name}"),
        ];
        assert_eq!(meetings.seen().collect::<Vec<_>>(), expected);
    }
}
