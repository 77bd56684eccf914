//! What peers say. The session's peer is authenticated and the signatures were checked; nothing else is believed.

use alloc::vec;
use alloc::vec::Vec;

use super::node::{Decision, Node};
use super::outbox;
use super::policy;
use crate::channel::{Channel, Phase, balance_in};
use crate::effect::{Effect, Refusal};
use crate::effect::{Want, Wish};
use crate::event::{
    Event, MessageKey, ObjectiveId, ObjectiveKind, Origin, RecoveryReason, RejectReason, Terms,
    Update, UpdateId,
};
use crate::input::Message;
use crate::nitro::SignedState;
use crate::types::{Address, Amount, ChannelId, Timestamp, TurnNum};
use crate::wire::{StateClaim, Wire};

impl Node {
    pub(super) fn on_message(
        &self,
        now: Timestamp,
        peer: Address,
        message: &Message,
    ) -> Result<Decision, Refusal> {
        match message {
            Message::State(signed) => self.on_state(now, peer, signed),
            Message::Resume { channel, supported, yours } => {
                self.on_resume(peer, *channel, [supported, yours])
            }
            Message::Bare(wire) => self.on_bare(peer, wire),
            Message::VirtualState { state, ledger } => {
                self.on_virtual_state(now, peer, state, *ledger)
            }
            Message::Proposal { state, evidence } => {
                self.on_proposal_with_evidence(now, peer, state, evidence)
            }
            Message::Voucher { voucher, signer } => self.on_voucher(peer, voucher, *signer),
            Message::VirtualResume { channel, voucher, newest } => {
                self.on_virtual_resume(peer, *channel, *voucher, newest.as_ref())
            }
        }
    }

    fn on_bare(&self, peer: Address, wire: &Wire) -> Result<Decision, Refusal> {
        match wire {
            Wire::UpdateRequest { channel, id, amount } => {
                self.on_update_request(self.shared(peer, *channel)?, *id, *amount)
            }
            Wire::CloseRequest { channel } => self.on_close_request(self.shared(peer, *channel)?),
            Wire::Ack { channel, what } => match self.state.virtual_channel(*channel) {
                Some(v) => self.on_virtual_ack(peer, v, *what),
                None => Ok(self.on_ack(self.shared(peer, *channel)?, *what)),
            },
            Wire::Rejected { objective }
                if self.state.virtual_channel(objective.channel).is_some() =>
            {
                self.on_virtual_rejected(peer, *objective)
            }
            Wire::Rejected { objective } => self.on_rejected(peer, *objective),
            Wire::FinalRequest { channel } => self.on_final_request(peer, *channel),
            Wire::ResumeRequest { channel } => {
                let known = self.virtual_resume_answer(peer, *channel);
                Ok(Decision::answer(known.unwrap_or_else(|| self.resume_answer(peer, *channel))))
            }
            // `verify` turns these into checked states and vouchers.
            Wire::State(_)
            | Wire::Resume { .. }
            | Wire::VirtualState { .. }
            | Wire::Proposal { .. }
            | Wire::Voucher(_)
            | Wire::VirtualResume { .. } => Ok(Decision::default()),
        }
    }

    pub(super) fn on_state(
        &self,
        now: Timestamp,
        peer: Address,
        signed: &SignedState,
    ) -> Result<Decision, Refusal> {
        let what = MessageKey::State(signed.turn());
        let Some(known) = self.state.channel(signed.channel()) else {
            return self.on_proposal(now, peer, signed);
        };
        let channel = self.shared(peer, known.id)?;
        let ack = ack(channel, what);
        let fund = ObjectiveId { channel: channel.id, kind: ObjectiveKind::DirectFund };
        if channel.phase == Phase::Finished && signed.turn() == TurnNum::PREFUND {
            let bytes = Wire::Rejected { objective: fund }.encode();
            return Ok(Decision::answer(Effect::Send { peer, bytes }));
        }
        let twice = self.config.mutant("duplicate-recorded") && channel.phase == Phase::Open;
        if Some(signed.turn()) < channel.supported_turn() || holds(channel, signed) && !twice {
            return Ok(Decision::answer(ack));
        }
        if self.config.mutant("stale-turn-accepted") && self.conflicts(channel, signed) {
            return Ok(self.sign_again(channel, signed));
        }
        let mut events = self.evidence(channel, signed);
        if self.accepts_anything(signed) {
            events.push(Event::StateReceived { state: signed.clone(), from: peer });
            return Ok(Decision { events, answers: vec![ack], ..Decision::default() });
        }
        channel.check_received(signed, &self.state.virtuals().expectations(channel))?;
        events.push(Event::StateReceived { state: signed.clone(), from: peer });
        let closing = self.consents_to_close(channel, signed);
        events.extend(closing);
        Ok(Decision { events, answers: vec![ack], ..Decision::default() })
    }

    /// A proposal that our policy does not allow is answered, so that its proposer need not wait for our silence. Not in recovery:
    /// that passes, and the proposal comes again.
    pub(super) fn rejection(
        &self,
        peer: Address,
        message: &Message,
        refusal: &Refusal,
    ) -> Option<Effect> {
        let (signed, kind) = match message {
            Message::State(signed) => (signed, ObjectiveKind::DirectFund),
            Message::VirtualState { state, .. } => (state, ObjectiveKind::VirtualFund),
            Message::Bare(_)
            | Message::Resume { .. }
            | Message::Proposal { .. }
            | Message::Voucher { .. }
            | Message::VirtualResume { .. } => return None,
        };
        let id = signed.channel();
        let unknown = self.state.channel(id).is_none() && self.state.virtual_channel(id).is_none();
        let proposes = signed.turn() == TurnNum::PREFUND
            && unknown
            && matches!(
                refusal,
                Refusal::Policy(_) | Refusal::Limit { .. } | Refusal::OldPeer { .. }
            );
        let objective = ObjectiveId { channel: id, kind };
        let bytes = Wire::Rejected { objective }.encode();
        proposes.then_some(Effect::Send { peer, bytes })
    }

    /// The leader's final state is its request to close.
    fn consents_to_close(&self, channel: &Channel, signed: &SignedState) -> Option<Event> {
        let id = ObjectiveId { channel: channel.id, kind: ObjectiveKind::DirectDefund };
        let asks = signed.state().is_final && channel.phase == Phase::Open;
        asks.then_some(Event::ObjectiveApproved { id, origin: Origin::Peer, terms: None })
    }

    /// Planted bug: takes whatever final state is offered.
    fn accepts_anything(&self, signed: &SignedState) -> bool {
        let funded = signed.turn() > TurnNum::POSTFUND;
        self.config.mutant("sign-final-unchecked") && signed.state().is_final && funded
    }

    /// Whether we have signed another state of this turn.
    fn conflicts(&self, channel: &Channel, signed: &SignedState) -> bool {
        let other = |s: &crate::channel::Signed| s.turn == signed.turn() && s.hash != signed.hash();
        let mine = channel.my_index();
        let loses = balance_in(&signed.state().outcome, mine) < channel.balance(mine);
        channel.signed.as_ref().is_some_and(other) && !loses
    }

    /// Planted bug: signs a second state of one turn.
    fn sign_again(&self, channel: &Channel, signed: &SignedState) -> Decision {
        let sig = self.key.sign(signed.hash());
        let claim = StateClaim { state: signed.state().clone(), sigs: vec![(channel.me, sig)] };
        Decision::answer(Effect::Send { peer: channel.peer, bytes: Wire::State(claim).encode() })
    }

    /// A prefund of a channel that we do not know is a request to open it.
    fn on_proposal(
        &self,
        now: Timestamp,
        peer: Address,
        signed: &SignedState,
    ) -> Result<Decision, Refusal> {
        let id = signed.channel();
        let terms = Terms::of_prefund(signed.state()).map_err(|refusal| {
            if signed.turn() == TurnNum::PREFUND { refusal } else { Refusal::UnknownChannel(id) }
        })?;
        let app = self.state.pins().map(|p| p.consensus_app);
        if app != Some(signed.state().fixed.app_definition) {
            return Err(Refusal::Policy("the application is not the configured one".into()));
        }
        if self.state.recovery().is_some() {
            return Err(Refusal::Recovering);
        }
        let objective = ObjectiveId { channel: id, kind: ObjectiveKind::DirectFund };
        let me = self.address();
        policy::check_proposal(&self.state, &self.config, now, &terms, me, peer)?;
        if !signed.signed_by(0) || signed.signed_by(1) {
            return Err(Refusal::BadState {
                turn: signed.turn(),
                why: "not signed by its proposer alone",
            });
        }
        let approved =
            Event::ObjectiveApproved { id: objective, origin: Origin::Peer, terms: Some(terms) };
        let received = Event::StateReceived { state: signed.clone(), from: peer };
        let ack = Wire::Ack { channel: id, what: MessageKey::State(signed.turn()) };
        let answers = vec![Effect::Send { peer, bytes: ack.encode() }];
        Ok(Decision { events: vec![approved, received], answers, ..Decision::default() })
    }

    /// A signature of ours that our log does not hold: we have forgotten something, and perhaps more than this.
    pub(super) fn evidence(&self, channel: &Channel, signed: &SignedState) -> Vec<Event> {
        let forgotten =
            signed.signed_by(channel.my_index()) && !channel.knows_own_signature(signed);
        let reason =
            RecoveryReason::ForgottenSignature { channel: channel.id, turn: signed.turn() };
        if forgotten && self.state.recovery().is_none() {
            vec![Event::RecoveryEntered { reason }]
        } else {
            Vec::new()
        }
    }

    fn on_update_request(
        &self,
        channel: &Channel,
        id: UpdateId,
        amount: Amount,
    ) -> Result<Decision, Refusal> {
        let last = channel.last_update.get(channel.peer_index()).copied().unwrap_or_default();
        let ack = ack(channel, MessageKey::UpdateRequest(id));
        if id <= last {
            return Ok(Decision::answer(ack));
        }
        let closing =
            channel.phase == Phase::Closing && channel.signed.is_some_and(|s| !s.is_final);
        if !channel.is_leader() || !(channel.phase == Phase::Open || closing) {
            return Err(Refusal::NotOpen(channel.id));
        }
        if id.0 != last.0 + 1 || amount.is_zero() {
            return Err(Refusal::Policy("update requests come one by one and move money".into()));
        }
        let limit = self.config.policy.updates_queued_max;
        let payer = u8::from(channel.me == 0);
        if channel.updates.iter().filter(|u| u.payer == payer).count() as u64 >= limit {
            return Err(Refusal::Limit { what: "queued updates", limit });
        }
        let update = Update { id, payer, amount };
        let events = vec![Event::UpdateWanted { channel: channel.id, update }];
        Ok(Decision { events, answers: vec![ack], ..Decision::default() })
    }

    fn on_close_request(&self, channel: &Channel) -> Result<Decision, Refusal> {
        let id = ObjectiveId { channel: channel.id, kind: ObjectiveKind::DirectDefund };
        let ack = ack(channel, MessageKey::CloseRequest);
        if self.state.objectives().contains_key(&id) {
            return Ok(Decision::answer(ack));
        }
        if channel.phase != Phase::Open {
            return Err(Refusal::NotOpen(channel.id));
        }
        if self.guarantees_run(channel) {
            return Err(Refusal::Guarantees(channel.id));
        }
        let events = vec![Event::ObjectiveApproved { id, origin: Origin::Peer, terms: None }];
        Ok(Decision { events, answers: vec![ack], ..Decision::default() })
    }

    fn on_ack(&self, channel: &Channel, what: MessageKey) -> Decision {
        let wish = Wish { channel: channel.id, want: Want::Message(what) };
        if self.config.mutant("ack-settles-all") {
            return Decision::events(self.all_acked(channel.id));
        }
        if self.state.wishes().contains_key(&wish) {
            return Decision::events(vec![Event::MessageAcked { channel: channel.id, what }]);
        }
        Decision::default()
    }

    /// Planted bug: whatever is acknowledged, every message of the channel counts as heard.
    fn all_acked(&self, id: ChannelId) -> Vec<Event> {
        let messages = self.state.wishes().keys().filter(|wish| wish.channel == id);
        let acked = messages.filter_map(|wish| match wish.want {
            Want::Message(what) => Some(Event::MessageAcked { channel: id, what }),
            Want::Deposit | Want::Tx(_) => None,
        });
        acked.collect()
    }

    /// Only a participant, and only before anything is at stake.
    fn on_rejected(&self, peer: Address, id: ObjectiveId) -> Result<Decision, Refusal> {
        let channel = self.shared(peer, id.channel)?;
        let live = self.state.objectives().get(&id).is_some_and(|o| o.is_live());
        let fund = id.kind == ObjectiveKind::DirectFund;
        // In recovery a deposit may be forgotten: then something is at stake although the log does not say so.
        let knows_stake = self.state.recovery().is_none();
        let nothing_at_stake = channel.deposit.is_none() && knows_stake;
        if live && fund && (nothing_at_stake || self.config.mutant("rejected-at-stake")) {
            let reason = RejectReason::ByPeer;
            return Ok(Decision::events(vec![Event::ObjectiveRejected { id, reason }]));
        }
        Ok(Decision::default())
    }

    /// What we know of a channel, for a peer that has restarted. Nothing in it is new to the world but the peer's own signatures.
    fn resume_answer(&self, peer: Address, id: ChannelId) -> Effect {
        let channel = self.state.channel(id).filter(|c| c.peer == peer);
        let supported = channel.and_then(|c| c.supported.as_ref()).map(outbox::claim);
        let yours = channel.and_then(Channel::proposed_by_peer).map(outbox::claim);
        let bytes = Wire::Resume { channel: id, supported, yours }.encode();
        Effect::Send { peer, bytes }
    }

    fn on_resume(
        &self,
        peer: Address,
        id: ChannelId,
        shown: [&Option<SignedState>; 2],
    ) -> Result<Decision, Refusal> {
        let channel = self.shared(peer, id)?;
        let mut events = Vec::new();
        for signed in shown.into_iter().flatten() {
            if signed.channel() != id {
                return Err(Refusal::UnknownChannel(signed.channel()));
            }
            let old = Some(signed.turn()) < channel.supported_turn();
            let shown_twice =
                |e: &Event| matches!(e, Event::StateReceived { state, .. } if state == signed);
            if old || holds(channel, signed) || events.iter().any(shown_twice) {
                continue;
            }
            let expect = self.state.virtuals().expectations(channel);
            if channel.check_received(signed, &expect).is_ok() {
                if events.is_empty() {
                    events.extend(self.evidence(channel, signed));
                }
                events.push(Event::StateReceived { state: signed.clone(), from: peer });
            }
        }
        let recovering = self.state.recovery().is_some()
            || events.iter().any(|e| matches!(e, Event::RecoveryEntered { .. }));
        if recovering {
            events.push(Event::ChannelWitnessed { channel: id });
        }
        Ok(Decision { events, witnessed: vec![id], ..Decision::default() })
    }

    /// The channel, if the peer is its other participant.
    fn shared(&self, peer: Address, id: ChannelId) -> Result<&Channel, Refusal> {
        let channel = self.known(id)?;
        if channel.peer == peer {
            Ok(channel)
        } else {
            Err(Refusal::NotCounterparty { peer, channel: id })
        }
    }
}

fn ack(channel: &Channel, what: MessageKey) -> Effect {
    let bytes = Wire::Ack { channel: channel.id, what }.encode();
    Effect::Send { peer: channel.peer, bytes }
}

/// Whether we hold this very state with all of these signatures.
pub(super) fn holds(channel: &Channel, signed: &SignedState) -> bool {
    outbox::state_at(channel, signed.turn()).is_some_and(|known| {
        known.hash() == signed.hash()
            && signed.sigs().keys().all(|i| known.signed_by(usize::from(*i)))
    })
}
