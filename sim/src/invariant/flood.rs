//! I47: what others can make a node record of virtual channels has a bound.
//!
//! Asking for a virtual channel costs nothing, and every one that a node takes up stays on record: its prefund carries the node's
//! signature. So the node takes up so many of one payer that came to nothing, far fewer at once that its neighbour towards the payer has
//! not signed, and of each of them others make it record so much, every signature and every acknowledgement once. The product bounds
//! the log. Vouchers are left out: each brings money.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::config::Policy;
use fairway_core::event::{Event, MessageKey, ObjectiveKind, Origin, VirtualTerms};
use fairway_core::types::{ChannelId, TurnNum};

use super::run::Run;
use super::view::{Progress, Views};
use super::virtual_view::VirtualView;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct FloodsAreBounded {
    run: Arc<Run>,
    per_payer_max: usize,
    unbacked_max: usize,
    /// By node and virtual channel: how many events others brought about.
    told: BTreeMap<(PartyId, ChannelId), usize>,
}

impl FloodsAreBounded {
    pub fn new(run: &Arc<Run>) -> FloodsAreBounded {
        let policy = Policy::default();
        let max = |max: u64| usize::try_from(max).unwrap_or(usize::MAX);
        FloodsAreBounded {
            run: Arc::clone(run),
            per_payer_max: max(policy.virtuals_per_payer_max),
            unbacked_max: max(policy.unbacked_per_payer_max),
            told: BTreeMap::new(),
        }
    }

    fn taken_up(
        &self,
        node: PartyId,
        id: ChannelId,
        terms: &VirtualTerms,
        views: &Views,
    ) -> Result<(), Violation> {
        let payer = terms.participants.first();
        let of_payer = || {
            let all = views.of(node).virtuals.values();
            all.filter(move |v| v.terms.participants.first() == payer)
        };
        // One that opened was wanted, and its payer has locked money for it.
        let in_vain = of_payer().filter(|v| v.unanimous(TurnNum::POSTFUND).is_none()).count();
        let unbacked = of_payer().filter(|v| is_unbacked(v)).count();
        for (count, max, which) in [
            (in_vain + 1, self.per_payer_max, "none of them opened"),
            (unbacked + 1, self.unbacked_max, "none of them signed by its neighbour"),
        ] {
            if count > max {
                let name = self.run.name(node);
                let what = format!(
                    "{name} took up {count} virtual channels of one payer, {which}; {max} are allowed"
                );
                return Err(Violation::safety("floods-are-bounded", node, id, what));
            }
        }
        Ok(())
    }

    fn record(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        let Some(id) = event.channel().filter(|_| is_of_others(event)) else { return Ok(()) };
        let Some(channel) = views.virtual_channel(node, id) else { return Ok(()) };
        let told = self.told.entry((node, id)).or_default();
        *told += 1;
        let max = told_max(channel.terms.participants.len());
        if *told <= max {
            return Ok(());
        }
        let (name, told) = (self.run.name(node), *told);
        let what = format!(
            "others made {name} record {told} events of one virtual channel; {max} are allowed"
        );
        Err(Violation::safety("floods-are-bounded", node, id, what))
    }
}

/// Whether the channel is opening and the participant before the node has not vouched for it.
fn is_unbacked(v: &VirtualView) -> bool {
    let live = |kind| v.objective(kind) == Some(Progress::Live);
    let ends = [ObjectiveKind::VirtualDefund, ObjectiveKind::Dispute];
    let opening = live(ObjectiveKind::VirtualFund) && !ends.into_iter().any(live);
    let left = v.me.checked_sub(1);
    opening && left.is_some_and(|left| !v.signed_by(TurnNum::PREFUND, left))
}

/// What others can make a node record of one virtual channel: each signature on its three states, each acknowledgement of ours, and
/// once each the ledger channel, the final request's, and the beginnings and ends of objectives.
fn told_max(participants: usize) -> usize {
    6 * participants + 6
}

/// Whether somebody else's message brings the event about, and no money comes with it.
fn is_of_others(event: &Event) -> bool {
    match event {
        Event::MessageAcked { what, .. } => !matches!(what, MessageKey::Voucher(_)),
        Event::ObjectiveApproved { origin, .. } => *origin == Origin::Peer,
        Event::StateReceived { .. }
        | Event::LedgerNamed { .. }
        | Event::ObjectiveRejected { .. } => true,
        _ => false,
    }
}

impl Invariant for FloodsAreBounded {
    fn name(&self) -> &'static str {
        "floods-are-bounded"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I47"]
    }

    fn statement(&self) -> &'static str {
        "what others make an honest node record of virtual channels that came to nothing is bounded, by payer and by channel"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        if let Event::VirtualApproved { id, origin: Origin::Peer, terms, .. } = event {
            self.taken_up(node, id.channel, terms, views)?;
        }
        self.record(node, event, views)
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        // What a crash took off the log may be told again.
        if let Observed::Restarted { node, log, .. } = seen {
            self.told.retain(|(who, _), _| who != node);
            for (_, event) in log.iter().filter(|(_, event)| is_of_others(event)) {
                if let Some(id) = event.channel() {
                    *self.told.entry((*node, id)).or_default() += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::super::fixture_virtual::*;
    use super::*;

    /// The n-th channel that Mallory asks Bob for.
    fn wanted(nonce: u64) -> VirtualTerms {
        let participants = [MALLORY, BOB, ALICE].map(address).to_vec();
        VirtualTerms { participants, nonce, ..virtual_terms() }
    }

    /// Bob takes part in the first `n`, and Mallory before him has signed them.
    fn backed(story: &mut Story, n: u64) {
        for nonce in 0..n {
            let prefund = virtual_state(&wanted(nonce), TurnNum::PREFUND, 0);
            let events = vec![takes_part(&wanted(nonce), None), receives(&prefund, MALLORY)];
            story.logs(BOB, events).unwrap();
        }
    }

    #[test]
    fn so_many_that_nobody_vouches_for_and_no_more() {
        let mut story = Story::of("floods-are-bounded");
        let max = Policy::default().unbacked_per_payer_max;
        backed(&mut story, max);
        story.logs(BOB, (max..2 * max).map(|n| takes_part(&wanted(n), None)).collect()).unwrap();
        let violation = story.logs(BOB, vec![takes_part(&wanted(2 * max), None)]).unwrap_err();
        assert_fires(&violation, "floods-are-bounded", BOB);
        assert!(violation.what.contains("17"), "{}", violation.what);
    }

    #[test]
    fn so_many_channels_of_one_payer_and_no_more() {
        let mut story = Story::of("floods-are-bounded");
        let max = Policy::default().virtuals_per_payer_max;
        backed(&mut story, max);
        // Another payer's, and a restart, change nothing.
        story.logs(BOB, vec![takes_part(&virtual_terms(), None)]).unwrap();
        story.restarts(BOB, false).unwrap();
        let violation = story.logs(BOB, vec![takes_part(&wanted(max), None)]).unwrap_err();
        assert_fires(&violation, "floods-are-bounded", BOB);
        assert!(violation.what.contains("257"), "{}", violation.what);
    }

    #[test]
    fn a_channel_that_opened_makes_room() {
        let mut story = Story::of("floods-are-bounded");
        let max = Policy::default().virtuals_per_payer_max;
        backed(&mut story, max);
        let postfund = virtual_state(&wanted(0), TurnNum::POSTFUND, 0);
        story.logs(BOB, unanimous(&postfund, BOB, &[MALLORY, ALICE])).unwrap();
        story.logs(BOB, vec![takes_part(&wanted(max), None)]).unwrap();
        assert!(story.logs(BOB, vec![takes_part(&wanted(max + 1), None)]).is_err());
    }

    #[test]
    fn so_much_of_one_channel_and_no_more() {
        let terms = wanted(1);
        let prefund = virtual_state(&terms, TurnNum::PREFUND, 0);
        let mut story = Story::of("floods-are-bounded");
        story.logs(BOB, vec![takes_part(&terms, None)]).unwrap();
        for n in 0..100 {
            story.logs(BOB, vec![promised(&terms, 1)]).unwrap();
            let told = story.logs(BOB, vec![receives(&prefund, MALLORY)]);
            assert_eq!(told.is_err(), n == told_max(3), "event {n}");
            if let Err(violation) = told {
                return assert_fires(&violation, "floods-are-bounded", BOB);
            }
        }
        panic!("a hundred events of one channel were accepted");
    }
}
