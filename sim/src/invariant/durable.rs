//! I2: nothing that binds a node leaves it before it is in the node's synced log.
//!
//! The outside half of a pair; the inside half is the driver's order. It reads what was written and synced, not the node's opinion of
//! it. Binding are: signatures in messages and transactions, a challenger's signature, a deposit, a request, and an
//! acknowledgement, after which the peer no longer sends what it acknowledges.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::{Event, MessageKey, ObjectiveKind, UpdateId, WantedTx};
use fairway_core::nitro::{Call, Signature};
use fairway_core::types::{Amount, ChannelId, Lsn, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::run::{Run, candidate};
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct DurableBeforeSent {
    run: Arc<Run>,
    nodes: Vec<Written>,
}

/// Where in a node's log everything stands that may leave it.
#[derive(Debug, Default)]
struct Written {
    synced: Lsn,
    end: Lsn,
    signatures: BTreeMap<Signature, Lsn>,
    deposits: BTreeMap<(ChannelId, Amount, Amount), Lsn>,
    updates: BTreeMap<(ChannelId, u8, UpdateId), Lsn>,
    closes: BTreeMap<ChannelId, Lsn>,
    vouchers: BTreeMap<(ChannelId, Amount), Lsn>,
    /// By turn, the first state that was received.
    received: BTreeMap<(ChannelId, TurnNum), Lsn>,
}

impl Written {
    fn read(&mut self, event: &Event) {
        self.end = self.end.advance(1);
        let end = self.end;
        match event {
            Event::StateSigned { state, .. } => self.sign(state.sigs().values(), end),
            Event::StateReceived { state, .. } => {
                self.sign(state.sigs().values(), end);
                self.received.entry((state.channel(), state.turn())).or_insert(end);
            }
            Event::StatePublished { state } => {
                self.sign(state.sigs().values(), end);
                self.received.entry((state.channel(), state.turn())).or_insert(end);
            }
            Event::TxWanted { tx: WantedTx::Redeem { sig, challenger_sig, .. }, .. } => {
                self.sign([sig, challenger_sig].into_iter(), end);
            }
            Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
                self.sign([&voucher.sig].into_iter(), end);
                self.vouchers.entry((voucher.channel, voucher.amount)).or_insert(end);
            }
            Event::TxWanted { tx: WantedTx::Challenge { challenger_sig, .. }, .. } => {
                self.sign([challenger_sig].into_iter(), end);
            }
            Event::DepositWanted { channel, held_before, amount } => {
                self.deposits.entry((*channel, *held_before, *amount)).or_insert(end);
            }
            Event::UpdateWanted { channel, update } => {
                self.updates.entry((*channel, update.payer, update.id)).or_insert(end);
            }
            Event::ObjectiveApproved { id, .. }
                if matches!(
                    id.kind,
                    ObjectiveKind::DirectDefund | ObjectiveKind::VirtualDefund
                ) =>
            {
                self.closes.entry(id.channel).or_insert(end);
            }
            _ => {}
        }
    }

    fn sign<'a>(&mut self, sigs: impl Iterator<Item = &'a Signature>, at: Lsn) {
        sigs.for_each(|sig| {
            self.signatures.entry(*sig).or_insert(at);
        });
    }

    fn holds(&self, at: Option<&Lsn>) -> bool {
        at.is_some_and(|lsn| *lsn <= self.synced)
    }

    /// Whether a payment request of either participant is durable.
    fn holds_update(&self, channel: ChannelId, id: UpdateId) -> bool {
        (0..2).any(|payer| self.holds(self.updates.get(&(channel, payer, id))))
    }

    /// Whether what `key` names is durable here, or something newer that makes it pointless.
    fn may_acknowledge(&self, channel: ChannelId, key: MessageKey) -> bool {
        match key {
            MessageKey::State(turn) => {
                let from = (channel, turn)..=(channel, TurnNum::MAX);
                self.received.range(from).any(|(_, lsn)| *lsn <= self.synced)
            }
            MessageKey::UpdateRequest(id) => self.holds_update(channel, id),
            MessageKey::CloseRequest => self.holds(self.closes.get(&channel)),
            MessageKey::Voucher(total) => {
                let from = self.vouchers.range((channel, total)..);
                let mut larger = from.take_while(|((of, _), _)| *of == channel);
                let larger = larger.any(|(_, lsn)| *lsn <= self.synced);
                larger || self.holds(self.received.get(&(channel, TurnNum::VIRTUAL_FINAL)))
            }
            // An acknowledgement names the turn alone, and the request for a final state is answered with that state.
            MessageKey::StateTo(..) | MessageKey::FinalRequest => false,
        }
    }
}

impl DurableBeforeSent {
    pub fn new(run: &Arc<Run>) -> DurableBeforeSent {
        DurableBeforeSent { run: Arc::clone(run), nodes: run.each() }
    }

    fn restart(&mut self, node: PartyId, log: &[(Timestamp, Event)]) {
        let mut fresh = Written::default();
        log.iter().for_each(|(_, event)| fresh.read(event));
        fresh.synced = fresh.end;
        self.nodes[node.0] = fresh;
    }

    fn sent(&self, node: PartyId, to: PartyId, wire: &Wire) -> Result<(), Violation> {
        let written = &self.nodes[node.0];
        let name = self.run.name(node);
        let early = |channel, what: String| {
            Err(Violation::safety("durable-before-sent", node, channel, format!("{name} {what}")))
        };
        for claim in wire.claims() {
            if claim.sigs.iter().any(|(_, sig)| !self.is_durable(node, sig)) {
                return Err(self.unsynced(node, claim));
            }
        }
        match wire {
            Wire::UpdateRequest { channel, id, .. } => {
                if !written.holds_update(*channel, *id) {
                    let what = format!("sent update request {} before it was durable", id.0);
                    return early(*channel, what);
                }
            }
            Wire::CloseRequest { channel } => {
                if !written.holds(written.closes.get(channel)) {
                    return early(*channel, "asked to close before that was durable".into());
                }
            }
            Wire::Ack { channel, what } => {
                if !written.may_acknowledge(*channel, *what) {
                    let peer = self.run.name(to);
                    let what = format!("acknowledged {what:?} to {peer} before it was durable");
                    return early(*channel, what);
                }
            }
            Wire::FinalRequest { channel } => {
                if !written.holds(written.closes.get(channel)) {
                    return early(
                        *channel,
                        "asked for the final state before that was durable".into(),
                    );
                }
            }
            Wire::Voucher(voucher) | Wire::VirtualResume { voucher: Some(voucher), .. } => {
                if !self.is_durable(node, &voucher.sig) {
                    let what =
                        format!("showed a voucher of {} before it was durable", voucher.amount);
                    return early(voucher.channel, what);
                }
            }
            Wire::State(_)
            | Wire::VirtualState { .. }
            | Wire::Proposal { .. }
            | Wire::VirtualResume { voucher: None, .. }
            | Wire::Resume { .. }
            | Wire::ResumeRequest { .. }
            | Wire::Rejected { .. } => {}
        }
        Ok(())
    }

    fn is_durable(&self, node: PartyId, sig: &Signature) -> bool {
        let written = &self.nodes[node.0];
        written.holds(written.signatures.get(sig))
    }

    /// A forgotten signature lets the node sign another state of the turn: all of its money there is at risk.
    fn unsynced(&self, node: PartyId, claim: &StateClaim) -> Violation {
        let channel = claim.state.fixed.channel_id();
        let index = claim.state.fixed.index_of(self.run.address(node)).unwrap_or(usize::MAX);
        let what = format!(
            "{} released a signature on turn {} that is not in its synced log",
            self.run.name(node),
            claim.state.turn,
        );
        let violation = Violation::safety("durable-before-sent", node, channel, what);
        violation.losing(node, Shares::of(&claim.state).of_index(index))
    }

    fn submitted(&self, node: PartyId, call: &Call) -> Result<(), Violation> {
        let early = |what: &str| {
            let what = format!("{} {what} before that was durable", self.run.name(node));
            Violation::safety("durable-before-sent", node, call.channel(), what)
        };
        if let Some(claim) = candidate(call)
            && !claim.sigs.iter().all(|sig| self.is_durable(node, sig))
        {
            return Err(early(&format!("submitted turn {}", claim.state.turn)));
        }
        if let Call::Challenge { proof, .. } = call
            && !proof.iter().flat_map(|claim| &claim.sigs).all(|sig| self.is_durable(node, sig))
        {
            return Err(early("submitted a proof"));
        }
        if let Call::Challenge { challenger_sig, .. } = call
            && !self.is_durable(node, challenger_sig)
        {
            return Err(early("signed a challenge"));
        }
        if let Call::Deposit { channel, expected_held, amount, .. } = call {
            let written = &self.nodes[node.0];
            if !written.holds(written.deposits.get(&(*channel, *expected_held, *amount))) {
                return Err(early(&format!("deposited {amount}")).losing(node, *amount));
            }
        }
        Ok(())
    }
}

impl Invariant for DurableBeforeSent {
    fn name(&self) -> &'static str {
        "durable-before-sent"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I2"]
    }

    fn statement(&self) -> &'static str {
        "whatever binds an honest node was durable in its log before it left the node"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                let written = &mut self.nodes[node.0];
                events.iter().for_each(|(_, event)| written.read(event));
            }
            Observed::Synced { node, end } => self.nodes[node.0].synced = *end,
            Observed::Restarted { node, log, .. } => self.restart(*node, log),
            Observed::Sent { node, to, wire: Some(wire), .. } if self.run.honest(*node) => {
                self.sent(*node, *to, wire)?;
            }
            Observed::Submitted { node, call } if self.run.honest(*node) => {
                self.submitted(*node, call)?;
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
    use fairway_core::event::Update;

    fn story() -> Story {
        let mut story = Story::of("durable-before-sent");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story
    }

    #[test]
    fn a_signature_may_leave_after_the_sync_and_not_before() {
        let mut story = story();
        let next = state(2, [4, 6]);
        story.appends(ALICE, vec![signs(&next, ALICE)]).unwrap();
        let violation = story.says(ALICE, BOB, &next).unwrap_err();
        assert_fires(&violation, "durable-before-sent", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(4))));
        story.syncs(ALICE).unwrap();
        story.says(ALICE, BOB, &next).unwrap();
    }

    #[test]
    fn what_a_crash_took_may_not_be_sent_again() {
        let mut story = story();
        story.appends(ALICE, vec![signs(&state(2, [4, 6]), ALICE)]).unwrap();
        story.crashes_and_loses_the_unsynced(ALICE).unwrap();
        assert!(story.says(ALICE, BOB, &state(2, [4, 6])).is_err());
        story.says(ALICE, BOB, &state(1, [5, 5])).unwrap();
    }

    #[test]
    fn an_acknowledgement_waits_for_the_sync() {
        let mut story = story();
        let ack = Wire::Ack { channel: channel(), what: MessageKey::State(turn(2)) };
        assert!(story.sends(ALICE, BOB, &ack).is_err(), "never heard of");
        story.appends(ALICE, vec![receives(&state(2, [4, 6]), BOB)]).unwrap();
        let violation = story.sends(ALICE, BOB, &ack).unwrap_err();
        assert_fires(&violation, "durable-before-sent", ALICE);
        story.syncs(ALICE).unwrap();
        story.sends(ALICE, BOB, &ack).unwrap();
        let old = Wire::Ack { channel: channel(), what: MessageKey::State(turn(1)) };
        story.sends(ALICE, BOB, &old).unwrap();
    }

    #[test]
    fn requests_wait_for_the_sync() {
        let mut story = Story::of("durable-before-sent");
        let update = Update { id: UpdateId(1), payer: 1, amount: ether(1) };
        let request = Wire::UpdateRequest { channel: channel(), id: UpdateId(1), amount: ether(1) };
        let close = Wire::CloseRequest { channel: channel() };
        let wanted = Event::UpdateWanted { channel: channel(), update };
        story.appends(BOB, vec![wanted, approves(ObjectiveKind::DirectDefund)]).unwrap();
        assert!(story.sends(BOB, ALICE, &request).is_err());
        assert!(story.sends(BOB, ALICE, &close).is_err());
        story.syncs(BOB).unwrap();
        story.sends(BOB, ALICE, &request).unwrap();
        story.sends(BOB, ALICE, &close).unwrap();
    }

    #[test]
    fn transactions_wait_for_the_sync() {
        let mut story = Story::of("durable-before-sent");
        let next = state(0, [5, 5]);
        let wanted = Event::TxWanted {
            channel: channel(),
            tx: WantedTx::Challenge { turn: turn(0), challenger_sig: challenger_sig(&next, ALICE) },
        };
        let deposit = deposit(0, 5);
        story.logs(ALICE, vec![signs(&next, ALICE), receives(&next, BOB)]).unwrap();
        assert!(story.submits(ALICE, &challenge(&next, ALICE)).is_err());
        let violation = story.submits(ALICE, &deposit).unwrap_err();
        assert_eq!(violation.loss, Some((ALICE, ether(5))));
        story.logs(ALICE, vec![wanted, wants_deposit(0, 5)]).unwrap();
        story.submits(ALICE, &challenge(&next, ALICE)).unwrap();
        story.submits(ALICE, &deposit).unwrap();
    }
}
