//! I37, I39, I44, I45: objectives begin once, end once, and end.
//!
//! I37, I39: an objective is approved before anything else happens to it, and what was completed or rejected stays so; it is
//! completed only when its goal is on record. I44, I45: once faults have ended, every approved objective ends, if need be by dispute.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::{Event, MessageKey, ObjectiveId, ObjectiveKind, UpdateId};
use fairway_core::machine::NodeState;
use fairway_core::types::{ChannelId, TurnNum};

use super::run::Run;
use super::view::{Progress, Views};
use super::virtual_view::VirtualView;
use super::{Invariant, Kind, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct ObjectiveTransitions {
    run: Arc<Run>,
}

impl ObjectiveTransitions {
    pub fn new(run: &Arc<Run>) -> ObjectiveTransitions {
        ObjectiveTransitions { run: Arc::clone(run) }
    }

    fn check(&self, views: &Views, node: PartyId, event: &Event) -> Result<(), String> {
        match event {
            Event::ObjectiveApproved { id, terms, .. } => {
                self.approve(views, node, id, terms.is_some())
            }
            Event::VirtualApproved { id, .. } => {
                if id.kind != ObjectiveKind::VirtualFund {
                    return Err(format!("{id} was approved with the terms of another kind"));
                }
                match views.virtual_channel(node, id.channel) {
                    Some(_) => Err(format!("{id} was approved for a channel that exists")),
                    None => Ok(()),
                }
            }
            Event::ObjectiveRejected { id, .. } => self.end(views, node, id),
            Event::ObjectiveCompleted { id } => {
                self.end(views, node, id)?;
                self.complete(views, node, id)
            }
            Event::MessageAcked { channel, what } => self.acked(views, node, *channel, *what),
            Event::UpdateDropped { channel, id } => self.dropped(views, node, *channel, *id),
            _ => Ok(()),
        }
    }

    fn approve(
        &self,
        views: &Views,
        node: PartyId,
        id: &ObjectiveId,
        has_terms: bool,
    ) -> Result<(), String> {
        if let Some(channel) = views.virtual_channel(node, id.channel) {
            return match (id.kind, channel.objective(id.kind)) {
                (ObjectiveKind::VirtualDefund | ObjectiveKind::Dispute, None) => Ok(()),
                (_, Some(_)) => Err(format!("{id} was approved twice")),
                (_, None) => Err(format!("{id} is not for a virtual channel")),
            };
        }
        let channel = views.channel(node, id.channel);
        if has_terms != (id.kind == ObjectiveKind::DirectFund) {
            return Err(format!("{id} was approved with the terms of another kind"));
        }
        match channel {
            None if has_terms => Ok(()),
            None => Err(format!("{id} was approved for a channel that nobody opened")),
            Some(_) if has_terms => Err(format!("{id} was approved for a channel that exists")),
            Some(channel) if channel.objective(id.kind).is_some() => {
                Err(format!("{id} was approved twice"))
            }
            Some(_) => Ok(()),
        }
    }

    fn end(&self, views: &Views, node: PartyId, id: &ObjectiveId) -> Result<(), String> {
        let of_virtual = views.virtual_channel(node, id.channel);
        let progress = views
            .channel(node, id.channel)
            .map(|c| c.objective(id.kind))
            .or(of_virtual.map(|c| c.objective(id.kind)))
            .flatten();
        match progress {
            Some(Progress::Live) => Ok(()),
            Some(Progress::Completed) => Err(format!("{id} ended after it was completed")),
            Some(Progress::Rejected) => Err(format!("{id} ended after it was rejected")),
            None => Err(format!("{id} ended before it was approved")),
        }
    }

    /// The goal is on record.
    fn complete(&self, views: &Views, node: PartyId, id: &ObjectiveId) -> Result<(), String> {
        let view = views.of(node);
        let supported = views.channel(node, id.channel).and_then(|c| c.supported);
        let fact = view.confirmed(id.channel);
        let reached = match id.kind {
            ObjectiveKind::DirectFund => supported.is_some_and(|s| s.turn >= TurnNum::POSTFUND),
            ObjectiveKind::DirectDefund => fact.over && fact.held.is_zero(),
            ObjectiveKind::VirtualFund => views
                .virtual_channel(node, id.channel)
                .is_some_and(|v| v.signed(TurnNum::POSTFUND) && is_opened(v)),
            ObjectiveKind::VirtualDefund => views
                .virtual_channel(node, id.channel)
                .is_some_and(|v| v.unanimous(TurnNum::VIRTUAL_FINAL).is_some()),
            // A channel that nobody signed has nothing to collect, and a lapsed challenge leaves no log.
            ObjectiveKind::Dispute => true,
        };
        if reached {
            Ok(())
        } else {
            Err(format!("{id} was completed before its goal was on record"))
        }
    }

    /// Only what was to be sent can be acknowledged.
    fn acked(
        &self,
        views: &Views,
        node: PartyId,
        id: ChannelId,
        what: MessageKey,
    ) -> Result<(), String> {
        if let Some(channel) = views.virtual_channel(node, id) {
            let was_to_be_sent = match what {
                MessageKey::StateTo(turn, _) => channel.signed(turn),
                MessageKey::Voucher(total) => channel.is_payer() && total <= channel.paid,
                // Neither is acknowledged, or of a direct channel.
                MessageKey::FinalRequest
                | MessageKey::State(_)
                | MessageKey::UpdateRequest(_)
                | MessageKey::CloseRequest => false,
            };
            return if was_to_be_sent {
                Ok(())
            } else {
                Err(format!("{what:?} was acknowledged and never sent"))
            };
        }
        let Some(channel) = views.channel(node, id) else {
            return Err(format!("{what:?} was acknowledged in a channel that nobody opened"));
        };
        let was_to_be_sent = match what {
            MessageKey::State(turn) => channel.signed.is_some_and(|s| turn <= s.turn),
            MessageKey::UpdateRequest(id) => {
                channel.last_update.get(channel.me).is_some_and(|last| id <= *last)
            }
            MessageKey::CloseRequest => channel.objective(ObjectiveKind::DirectDefund).is_some(),
            // Of a virtual channel.
            MessageKey::StateTo(..) | MessageKey::FinalRequest | MessageKey::Voucher(_) => false,
        };
        if was_to_be_sent {
            Ok(())
        } else {
            Err(format!("{what:?} was acknowledged and never sent"))
        }
    }

    fn dropped(
        &self,
        views: &Views,
        node: PartyId,
        channel: ChannelId,
        id: UpdateId,
    ) -> Result<(), String> {
        let known = views.channel(node, channel);
        let known = known.is_some_and(|c| c.last_update.iter().any(|last| id <= *last));
        if known { Ok(()) } else { Err(format!("update {} was dropped and never wanted", id.0)) }
    }
}

/// Payer and payee rely on everybody's postfund; an intermediary has nothing to wait for after its own.
fn is_opened(v: &VirtualView) -> bool {
    !(v.is_payer() || v.is_payee()) || v.unanimous(TurnNum::POSTFUND).is_some()
}

impl Invariant for ObjectiveTransitions {
    fn name(&self) -> &'static str {
        "objective-transitions"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I37", "I39"]
    }

    fn statement(&self) -> &'static str {
        "an objective is approved once, ends once and for good, and is completed only with its goal on record"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        self.check(views, node, event).map_err(|why| {
            let what = format!("{}: {why}", self.run.name(node));
            Violation::safety("objective-transitions", node, event.channel(), what)
        })?;
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct ObjectiveCompletes {
    run: Arc<Run>,
    /// When each objective was approved, and the longest challenge of its channel.
    approved: BTreeMap<(PartyId, ObjectiveId), u64>,
    challenge_s: BTreeMap<ChannelId, u32>,
    healed: bool,
}

impl ObjectiveCompletes {
    pub fn new(run: &Arc<Run>) -> ObjectiveCompletes {
        ObjectiveCompletes {
            run: Arc::clone(run),
            approved: BTreeMap::new(),
            challenge_s: BTreeMap::new(),
            healed: false,
        }
    }

    fn approve(&mut self, now_ns: u64, node: PartyId, event: &Event) {
        match event {
            Event::ObjectiveApproved { id, terms, .. } => {
                self.approved.insert((node, *id), now_ns);
                if let Some(terms) = terms {
                    self.challenge_s.insert(id.channel, terms.challenge_duration);
                }
            }
            Event::VirtualApproved { id, terms, .. } => {
                self.approved.insert((node, *id), now_ns);
                // A guarantee comes back by the ledger channel's own dispute at worst, after this one.
                let ledgers = self.challenge_s.values().max().copied().unwrap_or(0);
                let both = terms.challenge_duration.saturating_add(ledgers);
                self.challenge_s.insert(id.channel, both);
            }
            _ => {}
        }
    }

    /// Whether the objective is too young to have ended: a dispute needs its challenge, then everything its confirmations.
    fn is_young(&self, now_ns: u64, node: PartyId, id: &ObjectiveId) -> bool {
        let Some(since_ns) = self.approved.get(&(node, *id)) else { return false };
        let challenge_s = u64::from(self.challenge_s.get(&id.channel).copied().unwrap_or(0));
        let setting = &self.run.setting;
        let blocks = 4 * (setting.confirmations + 4);
        let grace_s = challenge_s + blocks * setting.block_time_s;
        now_ns.saturating_sub(*since_ns) < grace_s.saturating_mul(1_000_000_000)
    }

    fn ended(&self, now_ns: u64, node: PartyId, state: &NodeState) -> Result<(), Violation> {
        let mut live = state.objectives().iter().filter(|(_, o)| o.is_live()).map(|(id, _)| id);
        let Some(id) = live.find(|id| !self.is_young(now_ns, node, id)) else { return Ok(()) };
        let what = format!("{}: {id} was approved and never ended", self.run.name(node));
        let channel = state.channel(id.channel);
        let stuck = channel.map(|c| c.balance(c.my_index())).unwrap_or_default();
        let violation = Violation::safety("objective-completes", node, id.channel, what);
        Err(violation.liveness().losing(node, stuck))
    }
}

impl Invariant for ObjectiveCompletes {
    fn name(&self) -> &'static str {
        "objective-completes"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I44", "I45"]
    }

    fn statement(&self) -> &'static str {
        "once faults have ended, every objective that an honest node approved is completed or rejected"
    }

    fn kind(&self) -> Kind {
        Kind::Liveness
    }

    fn observe(
        &mut self,
        now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                for (_, event) in *events {
                    self.approve(now_ns, *node, event);
                }
            }
            Observed::Healed => self.healed = true,
            Observed::Ended { nodes, .. } if self.healed => {
                for (node, state) in *nodes {
                    self.ended(now_ns, *node, state)?;
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
    use super::*;
    use fairway_core::event::RejectReason;

    fn completes(kind: ObjectiveKind) -> Event {
        Event::ObjectiveCompleted { id: objective(kind) }
    }

    fn rejects(kind: ObjectiveKind) -> Event {
        Event::ObjectiveRejected { id: objective(kind), reason: RejectReason::TimedOut }
    }

    #[test]
    fn an_ordinary_life_passes() {
        let mut story = Story::of("objective-transitions");
        story.logs(ALICE, opened(ALICE)).unwrap();
        let acked = Event::MessageAcked { channel: channel(), what: MessageKey::State(turn(1)) };
        story.logs(ALICE, vec![acked, approves(ObjectiveKind::Dispute)]).unwrap();
        story.logs(ALICE, vec![completes(ObjectiveKind::Dispute)]).unwrap();
    }

    #[test]
    fn other_lives_are_noticed() {
        use ObjectiveKind::{DirectDefund, DirectFund, Dispute};
        let unsent = Event::MessageAcked { channel: channel(), what: MessageKey::State(turn(7)) };
        let unwanted = Event::UpdateDropped { channel: channel(), id: UpdateId(1) };
        let early = opened(ALICE)[..5].to_vec();
        let rows: Vec<(&str, Vec<Event>, Event)> = vec![
            ("completed twice", opened(ALICE), completes(DirectFund)),
            ("rejected after it was completed", opened(ALICE), rejects(DirectFund)),
            ("completed before it was approved", opened(ALICE), completes(Dispute)),
            ("approved twice", opened(ALICE), approves(DirectFund)),
            ("a channel that nobody opened", vec![], approves(Dispute)),
            ("open without a postfund", early, completes(DirectFund)),
            (
                "closed without a payout",
                [opened(ALICE), vec![approves(DirectDefund)]].concat(),
                completes(DirectDefund),
            ),
            ("acknowledged and never sent", opened(ALICE), unsent),
            ("dropped and never wanted", opened(ALICE), unwanted),
        ];
        for (name, before, event) in rows {
            let mut story = Story::of("objective-transitions");
            story.logs(ALICE, before).unwrap();
            let violation = story.logs(ALICE, vec![event]).expect_err(name);
            assert_fires(&violation, "objective-transitions", ALICE);
        }
    }

    #[test]
    fn an_objective_that_never_ends_is_noticed() {
        for (healed, late, fires) in
            [(true, true, true), (false, true, false), (true, false, false)]
        {
            let mut story = Story::of("objective-completes");
            story.logs(ALICE, opened(ALICE)[..5].to_vec()).unwrap();
            if healed {
                story.heals().unwrap();
            }
            if late {
                story.mines(40).unwrap();
            }
            match story.ends(&[ALICE]) {
                Ok(()) => assert!(!fires),
                Err(violation) => {
                    assert!(fires);
                    assert_fires(&violation, "objective-completes", ALICE);
                    assert_eq!(violation.kind, Kind::Liveness);
                }
            }
        }
        let mut story = Story::of("objective-completes");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.heals().unwrap();
        story.mines(40).unwrap();
        story.ends(&[ALICE]).unwrap();
    }
}
