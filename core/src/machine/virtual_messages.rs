//! What peers say of virtual channels. Whoever speaks must take part; what is shown must be one of the three states that the terms
//! allow.

use alloc::vec;
use alloc::vec::Vec;

use super::node::{Decision, Node};
use super::outbox;
use super::virtual_policy;
use crate::chain_view::OnChainStatus;
use crate::channel::Phase;
use crate::effect::{Effect, Refusal};
use crate::effect::{Want, Wish};
use crate::event::{
    Event, MessageKey, ObjectiveId, ObjectiveKind, Origin, RecoveryReason, RejectReason,
    VirtualTerms,
};
use crate::nitro::SignedState;
use crate::nitro::voucher::Voucher;
use crate::types::{Address, ChannelId, Timestamp, TurnNum};
use crate::virtual_channel::VirtualChannel;
use crate::wire::Wire;

impl Node {
    /// Signatures on a state of a virtual channel.
    pub(super) fn on_virtual_state(
        &self,
        now: Timestamp,
        peer: Address,
        signed: &SignedState,
        ledger: Option<ChannelId>,
    ) -> Result<Decision, Refusal> {
        let ack = ack(peer, signed.channel(), MessageKey::State(signed.turn()));
        let Some(channel) = self.state.virtual_channel(signed.channel()) else {
            let mut events = self.on_virtual_proposal(now, peer, signed)?;
            events.push(Event::StateReceived { state: signed.clone(), from: peer });
            events.extend(self.named(peer, signed, ledger)?);
            return Ok(Decision { events, answers: vec![ack], ..Decision::default() });
        };
        let index = member(channel, peer)?;
        let mut events = Vec::new();
        if channel.left.is_none() && index + 1 == channel.my_index() {
            events.extend(self.named(peer, signed, ledger)?);
        }
        if !shows_nothing_new(channel, signed) {
            channel.check_received(signed)?;
            events.extend(self.virtual_evidence(channel, signed));
            events.push(Event::StateReceived { state: signed.clone(), from: peer });
            events.extend(self.consents_to_final(channel, signed));
        }
        Ok(Decision { events, answers: vec![ack], ..Decision::default() })
    }

    /// The participant to our left names the ledger channel that the guarantee shall stand in. Nobody else is heard.
    ///
    /// # Errors
    /// The ledger channel is not open here, perhaps not yet: the message is not acknowledged, so that it comes again.
    fn named(
        &self,
        peer: Address,
        signed: &SignedState,
        ledger: Option<ChannelId>,
    ) -> Result<Option<Event>, Refusal> {
        let participants = &signed.state().fixed.participants;
        let me = participants.iter().position(|p| *p == self.address());
        let left = me.and_then(|me| participants.get(me.checked_sub(1)?));
        let Some(named) = ledger.filter(|_| left == Some(&peer)) else { return Ok(None) };
        let ledger = self.state.channel(named).filter(|l| l.peer == peer && l.phase == Phase::Open);
        let ledger = ledger.ok_or(Refusal::NotOpen(named))?;
        if signed.state().outcome.first().is_none_or(|e| e.asset != ledger.asset) {
            return Err(Refusal::Policy("the ledger channel holds another asset".into()));
        }
        Ok(Some(Event::LedgerNamed { channel: signed.channel(), ledger: ledger.id }))
    }

    /// The payer's prefund of a virtual channel that we do not know is a request to take part.
    fn on_virtual_proposal(
        &self,
        now: Timestamp,
        peer: Address,
        signed: &SignedState,
    ) -> Result<Vec<Event>, Refusal> {
        let id = signed.channel();
        if signed.turn() != TurnNum::PREFUND || !signed.signed_by(0) {
            return Err(Refusal::UnknownChannel(id));
        }
        let terms = VirtualTerms::of_prefund(signed.state())?;
        if self.state.payment_app() != Some(signed.state().fixed.app_definition) {
            return Err(Refusal::Policy("the application is not the configured one".into()));
        }
        if self.state.recovery().is_some() {
            return Err(Refusal::Recovering);
        }
        if !terms.participants.contains(&peer) {
            return Err(Refusal::NotCounterparty { peer, channel: id });
        }
        self.check_versions(&terms.participants)?;
        let me = self.address();
        let right =
            virtual_policy::check_virtual_proposal(&self.state, &self.config, now, &terms, me)?;
        let id = ObjectiveId { channel: id, kind: ObjectiveKind::VirtualFund };
        Ok(vec![Event::VirtualApproved { id, origin: Origin::Peer, terms, right }])
    }

    /// A final state is the payer's request, or consent, to close.
    fn consents_to_final(&self, channel: &VirtualChannel, signed: &SignedState) -> Option<Event> {
        let id = ObjectiveId { channel: channel.id, kind: ObjectiveKind::VirtualDefund };
        let asks = signed.turn() == TurnNum::VIRTUAL_FINAL
            && !self.config.mutant("approval-skipped")
            && channel.phase != Phase::Disputed
            && !self.state.objectives().contains_key(&id);
        asks.then_some(Event::ObjectiveApproved { id, origin: Origin::Peer, terms: None })
    }

    /// A signature of ours that our log does not hold.
    fn virtual_evidence(&self, channel: &VirtualChannel, signed: &SignedState) -> Option<Event> {
        let forgotten = signed.signed_by(channel.my_index()) && !channel.signed(signed.turn());
        let reason =
            RecoveryReason::ForgottenSignature { channel: channel.id, turn: signed.turn() };
        (forgotten && self.state.recovery().is_none()).then_some(Event::RecoveryEntered { reason })
    }

    /// A ledger channel's state with what its guarantees rest on: the latter first, so that the former can be judged by it.
    pub(super) fn on_proposal_with_evidence(
        &self,
        now: Timestamp,
        peer: Address,
        signed: &SignedState,
        evidence: &[SignedState],
    ) -> Result<Decision, Refusal> {
        if evidence.len() > outbox::EVIDENCE_MAX {
            let limit = outbox::EVIDENCE_MAX as u64;
            return Err(Refusal::Limit { what: "states that a proposal rests on", limit });
        }
        let mut events: Vec<Event> = Vec::new();
        for shown in evidence {
            let Some(channel) = self.state.virtual_channel(shown.channel()) else { continue };
            let told = |e: &Event| e.channel() == Some(channel.id);
            if events.iter().any(told) || shows_nothing_new(channel, shown) {
                continue;
            }
            // Who shows it does not matter: everybody signed it, or it changes nothing.
            if shown.is_unanimous() && channel.check_received(shown).is_ok() {
                events.extend(self.virtual_evidence(channel, shown));
                events.push(Event::StateReceived { state: shown.clone(), from: peer });
                events.extend(self.consents_to_final(channel, shown));
            }
        }
        let decision = self.on_state(now, peer, signed)?;
        events.extend(decision.events.iter().cloned());
        Ok(Decision { events, ..decision })
    }

    /// Somebody asks the payer for the final state.
    pub(super) fn on_final_request(
        &self,
        peer: Address,
        id: ChannelId,
    ) -> Result<Decision, Refusal> {
        let channel = self.shared_virtual(peer, id)?;
        let objective = ObjectiveId { channel: id, kind: ObjectiveKind::VirtualDefund };
        let begins = channel.is_payer()
            && matches!(channel.phase, Phase::Opening | Phase::Open)
            && !self.state.objectives().contains_key(&objective);
        let approved =
            Event::ObjectiveApproved { id: objective, origin: Origin::Peer, terms: None };
        Ok(Decision::events(if begins { vec![approved] } else { Vec::new() }))
    }

    /// The payer's new total.
    pub(super) fn on_voucher(
        &self,
        peer: Address,
        voucher: &Voucher,
        signer: Address,
    ) -> Result<Decision, Refusal> {
        let channel = self.shared_virtual(peer, voucher.channel)?;
        let ack = ack(peer, channel.id, MessageKey::Voucher(voucher.amount));
        let signer = if self.config.mutant("voucher-unchecked") { channel.payer() } else { signer };
        let lower = self.config.mutant("voucher-lowered") && voucher.amount < channel.paid();
        let early = self.config.mutant("voucher-before-postfund") && channel.is_payee();
        let late =
            self.config.mutant("voucher-while-challenged") && channel.phase == Phase::Disputed;
        let is_new = match channel.check_voucher(voucher, signer) {
            Ok(is_new) => is_new || lower,
            Err(Refusal::NotOpen(_)) if early || late => voucher.amount > channel.paid(),
            Err(refusal) => return Err(refusal),
        };
        if !is_new {
            return Ok(Decision::answer(ack));
        }
        // While a challenge runs the chain decides what was paid: a voucher that comes now might not be redeemed in time.
        let untouched = self.state.chain().at_head(channel.id).status == OnChainStatus::Untouched;
        // And while a deep reorg has taken the money away that guarantees it, it is worth nothing.
        let frozen = channel.ledgers().filter_map(|id| self.state.channel(id)).any(|l| l.frozen);
        if (!untouched && !late) || frozen {
            return Err(Refusal::NotOpen(channel.id));
        }
        let events = vec![Event::VoucherReceived { voucher: *voucher }];
        Ok(Decision { events, answers: vec![ack], ..Decision::default() })
    }

    pub(super) fn on_virtual_ack(
        &self,
        peer: Address,
        channel: &VirtualChannel,
        what: MessageKey,
    ) -> Result<Decision, Refusal> {
        let index = u8::try_from(member(channel, peer)?).unwrap_or(u8::MAX);
        let what = match what {
            MessageKey::State(turn) => MessageKey::StateTo(turn, index),
            MessageKey::Voucher(_) if peer == channel.payee() => what,
            MessageKey::Voucher(_)
            | MessageKey::StateTo(..)
            | MessageKey::FinalRequest
            | MessageKey::UpdateRequest(_)
            | MessageKey::CloseRequest => return Ok(Decision::default()),
        };
        let wish = Wish { channel: channel.id, want: Want::Message(what) };
        let wanted = self.state.wishes().contains_key(&wish);
        let acked = Event::MessageAcked { channel: channel.id, what };
        Ok(Decision::events(if wanted { vec![acked] } else { Vec::new() }))
    }

    /// Only a participant, and only before everybody has signed the prefund: from then on money may be locked.
    pub(super) fn on_virtual_rejected(
        &self,
        peer: Address,
        id: ObjectiveId,
    ) -> Result<Decision, Refusal> {
        let channel = self.shared_virtual(peer, id.channel)?;
        let live = self.state.objectives().get(&id).is_some_and(|o| o.is_live());
        let free = channel.unanimous(TurnNum::PREFUND).is_none()
            && self.state.recovery().is_none()
            && id.kind == ObjectiveKind::VirtualFund;
        let rejected = Event::ObjectiveRejected { id, reason: RejectReason::ByPeer };
        Ok(Decision::events(if live && free { vec![rejected] } else { Vec::new() }))
    }

    /// What we know of a virtual channel, for a participant that has restarted.
    pub(super) fn virtual_resume_answer(&self, peer: Address, id: ChannelId) -> Option<Effect> {
        let channel = self.state.virtual_channel(id)?;
        member(channel, peer).ok()?;
        let newest = channel.states.values().next_back().map(outbox::claim);
        let bytes = Wire::VirtualResume { channel: id, voucher: channel.voucher, newest }.encode();
        Some(Effect::Send { peer, bytes })
    }

    /// What payer or payee knows, for us who have restarted: a voucher that a lying disk lost, a final state.
    pub(super) fn on_virtual_resume(
        &self,
        peer: Address,
        id: ChannelId,
        voucher: Option<(Voucher, Address)>,
        newest: Option<&SignedState>,
    ) -> Result<Decision, Refusal> {
        let channel = self.shared_virtual(peer, id)?;
        if peer != other_end(channel) {
            return Ok(Decision::default());
        }
        let mut events = Vec::new();
        if let Some((voucher, signer)) = voucher.filter(|(v, _)| v.channel == id) {
            let larger = voucher.amount > channel.paid() && voucher.amount <= channel.amount;
            if larger && channel.is_payer() && signer == self.address() {
                let turn = TurnNum::REDEMPTION;
                let reason = RecoveryReason::ForgottenSignature { channel: id, turn };
                if self.state.recovery().is_none() {
                    events.push(Event::RecoveryEntered { reason });
                }
                events.push(Event::VoucherSigned { voucher });
            } else if larger && channel.check_voucher(&voucher, signer).is_ok_and(|is_new| is_new) {
                events.push(Event::VoucherReceived { voucher });
            }
        }
        if let Some(signed) = newest.filter(|s| s.channel() == id)
            && !shows_nothing_new(channel, signed)
            && channel.check_received(signed).is_ok()
        {
            let entered = events.iter().any(|e| matches!(e, Event::RecoveryEntered { .. }));
            events.extend(self.virtual_evidence(channel, signed).filter(|_| !entered));
            events.push(Event::StateReceived { state: signed.clone(), from: peer });
            events.extend(self.consents_to_final(channel, signed));
        }
        let recovering = self.state.recovery().is_some()
            || events.iter().any(|e| matches!(e, Event::RecoveryEntered { .. }));
        if recovering {
            events.push(Event::ChannelWitnessed { channel: id });
        }
        Ok(Decision { events, witnessed: vec![id], ..Decision::default() })
    }

    /// The virtual channel, if the peer takes part in it.
    fn shared_virtual(&self, peer: Address, id: ChannelId) -> Result<&VirtualChannel, Refusal> {
        let channel = self.state.virtual_channel(id).ok_or(Refusal::UnknownChannel(id))?;
        member(channel, peer).map(|_| channel)
    }
}

/// The peer's index among the participants.
fn member(channel: &VirtualChannel, peer: Address) -> Result<usize, Refusal> {
    let index = channel.fixed.index_of(peer).filter(|i| *i != channel.my_index());
    index.ok_or(Refusal::NotCounterparty { peer, channel: channel.id })
}

/// Who knows of vouchers besides us: the payee for everybody else, the payer for the payee.
pub(super) fn other_end(channel: &VirtualChannel) -> Address {
    if channel.is_payee() { channel.payer() } else { channel.payee() }
}

/// Whether we hold this very state with all of these signatures.
fn shows_nothing_new(channel: &VirtualChannel, signed: &SignedState) -> bool {
    channel.states.get(&signed.turn()).is_some_and(|known| {
        known.hash() == signed.hash()
            && signed.sigs().keys().all(|i| known.signed_by(usize::from(*i)))
    })
}

fn ack(peer: Address, channel: ChannelId, what: MessageKey) -> Effect {
    Effect::Send { peer, bytes: Wire::Ack { channel, what }.encode() }
}
