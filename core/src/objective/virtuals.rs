//! What the flowcharts of virtual channels look at, and which of them is cranked.

use super::{Crank, Objective, WaitingFor, virtual_defund, virtual_dispute, virtual_fund};
use crate::chain_view::OnChain;
use crate::channel::{Channel, Phase, guaranteed_in, holds_guarantee};
use crate::config::Config;
use crate::event::{Event, ObjectiveId, ObjectiveKind, Origin, WantedTx};
use crate::nitro::{SecretKey, SignedState, State};
use crate::objective::{Virtuals, dispute};
use crate::types::{ChainTime, ChannelId, Timestamp, TurnNum};
use crate::virtual_channel::VirtualChannel;
use alloc::collections::BTreeMap;

/// Everything that a crank of a virtual channel may look at.
pub struct VirtualContext<'a> {
    /// The channel.
    pub channel: &'a VirtualChannel,
    /// All objectives.
    pub objectives: &'a BTreeMap<ObjectiveId, Objective>,
    /// All direct channels.
    pub channels: &'a BTreeMap<ChannelId, Channel>,
    /// All virtual channels.
    pub virtuals: Virtuals<'a>,
    /// What the contract says at the head.
    pub head: &'a OnChain,
    /// What it says beyond reorgs.
    pub confirmed: &'a OnChain,
    /// The head's time.
    pub chain_now: ChainTime,
    /// Our own clock, for silence alone.
    pub now: Timestamp,
    /// When this process started.
    pub started: Timestamp,
    /// Our key.
    pub key: &'a SecretKey,
    /// Settings.
    pub config: &'a Config,
    /// Whether new states may be signed.
    pub may_sign: bool,
    /// Whether the node may have forgotten signatures.
    pub recovering: bool,
}

impl<'a> VirtualContext<'a> {
    /// The live objective of this kind, if any.
    pub fn live(&self, kind: ObjectiveKind) -> Option<&Objective> {
        self.objective(kind).filter(|o| o.is_live())
    }

    /// The objective of this kind, ended or not.
    pub fn objective(&self, kind: ObjectiveKind) -> Option<&Objective> {
        self.objectives.get(&self.id(kind))
    }

    /// The id of an objective over this channel.
    pub fn id(&self, kind: ObjectiveKind) -> ObjectiveId {
        ObjectiveId { channel: self.channel.id, kind }
    }

    /// Signs `state` and records it; the event's release waits for the sync.
    ///
    /// # Panics
    /// When we signed another state of the turn, or may not sign: our own bug.
    pub fn sign(&self, state: State) -> Crank {
        let hash = state.hash_in(self.channel.id);
        let known = self.channel.states.get(&state.turn);
        let other = known.is_some_and(|s| s.hash() != hash && s.signed_by(self.channel.my_index()));
        assert!(!other, "turn {} of {} signed twice", state.turn, self.channel.id);
        assert!(self.may_sign, "signed while unwitnessed");
        let sig = self.key.sign(hash);
        let state = SignedState::by_us(state, self.channel.id, hash, self.channel.me, sig);
        Crank::Emit(Event::StateSigned { state, update: None })
    }

    /// Whether nothing has moved for too long. While we were away nobody could speak to us: silence is counted from our start.
    pub fn is_silent(&self) -> bool {
        let since = self.channel.progress_at.max(self.started);
        self.now.since_ms(since) >= self.config.silence_ms
    }

    /// Takes up another objective over this channel, or goes on waiting where it was taken up before.
    pub fn approve(&self, kind: ObjectiveKind, origin: Origin) -> Crank {
        let id = self.id(kind);
        if self.objectives.contains_key(&id) {
            return Crank::Wait(WaitingFor::Nothing);
        }
        Crank::Emit(Event::ObjectiveApproved { id, origin, terms: None })
    }

    /// Gives a ledger channel up in favour of the chain.
    pub fn dispute_ledger(&self, ledger: ChannelId, origin: Origin) -> Crank {
        let id = ObjectiveId { channel: ledger, kind: ObjectiveKind::Dispute };
        if self.objectives.contains_key(&id) {
            return Crank::Wait(WaitingFor::Release);
        }
        Crank::Emit(Event::ObjectiveApproved { id, origin, terms: None })
    }

    /// Wants a transaction, unless it is wanted already.
    pub fn want(&self, tx: WantedTx, waiting: WaitingFor) -> Crank {
        if self.channel.txs.contains(&tx) {
            return Crank::Wait(waiting);
        }
        Crank::Emit(Event::TxWanted { channel: self.channel.id, tx })
    }

    /// Our ledger channels.
    pub fn ledgers(&self) -> impl Iterator<Item = &'a Channel> + use<'a> {
        let channels = self.channels;
        self.channel.ledgers().filter_map(move |id| channels.get(&id))
    }

    /// Whether every ledger channel that we need holds the guarantee in its newest unanimous state, on money that is there.
    pub fn is_guaranteed(&self) -> bool {
        let holding = self
            .ledgers()
            .filter(|l| l.phase == Phase::Open && !l.frozen && l.guarantees(self.channel.id));
        holding.count() == self.channel.ledgers_needed()
    }

    /// Whether any state that is unanimous or may become it, in a ledger channel that the chain has not closed, holds the guarantee.
    pub fn may_be_guaranteed(&self) -> bool {
        self.holding_ledgers().next().is_some()
    }

    /// The ledger channels that may still hold the guarantee: by their states, or by what is finalized on chain.
    pub fn holding_ledgers(&self) -> impl Iterator<Item = &'a Channel> {
        self.ledgers().filter(|ledger| {
            if ledger.phase < Phase::Disputed {
                return ledger.may_guarantee(self.channel.id);
            }
            ledger.phase == Phase::Disputed && self.holds_on_chain(ledger)
        })
    }

    /// Whether a disputed ledger channel holds the guarantee, or may still: every reading of what the chain shows counts.
    fn holds_on_chain(&self, ledger: &Channel) -> bool {
        let head = self.virtuals.chain.at_head(ledger.id);
        let confirmed = self.virtuals.chain.confirmed(ledger.id);
        if !confirmed.is_finalized(self.chain_now) || !head.is_finalized(self.chain_now) {
            return ledger.may_guarantee(self.channel.id);
        }
        let outcomes = dispute::outcomes_now(confirmed, ledger, &self.virtuals);
        outcomes.iter().any(|o| holds_guarantee(o, self.channel.id))
    }

    /// Whether no ledger channel of ours holds the guarantee any more.
    pub fn is_released(&self) -> bool {
        !self.may_be_guaranteed()
    }

    /// Whether a ledger channel with the guarantee is disputed, or holds it on chain although we gave it back.
    pub fn ledger_is_over(&self) -> bool {
        let guaranteed_on_chain = |ledger: &Channel| {
            let head = self.virtuals.chain.at_head(ledger.id);
            let outcome = dispute::finalized_outcome(head, ledger);
            let over = ledger.phase == Phase::Disputed || head.is_finalized(self.chain_now);
            over && outcome.is_some_and(|o| guaranteed_in(&o).any(|id| id == self.channel.id))
        };
        self.ledgers().any(guaranteed_on_chain)
    }
}

/// Cranks whatever the channel is about. Defence comes first.
pub fn crank(cx: &VirtualContext<'_>) -> Crank {
    if let Some(crank) = virtual_dispute::defend(cx) {
        return crank;
    }
    let (known, signed) = (&cx.channel.states, cx.channel.signed(TurnNum::VIRTUAL_FINAL));
    if cx.config.mutant("approval-skipped")
        && known.contains_key(&TurnNum::VIRTUAL_FINAL)
        && !signed
    {
        return virtual_defund::crank(cx);
    }
    if cx.live(ObjectiveKind::Dispute).is_some() {
        return virtual_dispute::crank(cx);
    }
    if cx.live(ObjectiveKind::VirtualDefund).is_some() {
        return virtual_defund::crank(cx);
    }
    if cx.live(ObjectiveKind::VirtualFund).is_some() {
        return virtual_fund::crank(cx);
    }
    Crank::Wait(WaitingFor::Nothing)
}
