//! What can be done with a channel: one flowchart a file, and the one list of them.
//!
//! A crank runs its flowchart from the top and stops at the first thing that is missing. It is pure and emits at most one event;
//! the machine applies the event and cranks again. What an objective waits for is computed, never stored.

pub mod direct_defund;
pub mod direct_fund;
pub mod dispute;
pub mod update;
pub mod virtual_defund;
pub mod virtual_dispute;
pub mod virtual_fund;
pub mod virtuals;

use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::chain_view::{ChainView, OnChain};
use crate::channel::{Channel, Phase};
use crate::config::Config;
use crate::event::{Event, ObjectiveId, ObjectiveKind, Origin, RejectReason, UpdateId};
use crate::ledger::Expectations;
use crate::nitro::{SecretKey, SignedState, State};
use crate::types::{ChainTime, ChannelId, Timestamp};
use crate::virtual_channel::VirtualChannel;

pub use virtuals::VirtualContext;

/// An objective as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// Who asked for it.
    pub origin: Origin,
    /// How far it got.
    pub status: Status,
    /// When it was approved.
    pub since: Timestamp,
}

/// How far an objective got. Rejected and completed are terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Pursued.
    Approved,
    /// Given up.
    Rejected(RejectReason),
    /// Done.
    Completed,
}

impl Objective {
    /// Whether it is still pursued.
    pub fn is_live(&self) -> bool {
        self.status == Status::Approved
    }
}

/// Everything that a crank may look at. No clock, no key but through [`Context::sign`], no I/O.
pub struct Context<'a> {
    /// The channel.
    pub channel: &'a Channel,
    /// All objectives.
    pub objectives: &'a BTreeMap<ObjectiveId, Objective>,
    /// What the contract says at the head.
    pub head: &'a OnChain,
    /// What it says beyond reorgs.
    pub confirmed: &'a OnChain,
    /// The head's time.
    pub chain_now: ChainTime,
    /// Our own clock, for silence alone.
    pub now: Timestamp,
    /// When this process started: while we were away nobody could speak to us.
    pub started: Timestamp,
    /// Our key.
    pub key: &'a SecretKey,
    /// Settings.
    pub config: &'a Config,
    /// Whether new states may be signed: not in recovery, and the peer has told us what it knows since we started.
    pub may_sign: bool,
    /// Whether the node may have forgotten signatures, and with them what is at stake.
    pub recovering: bool,
    /// The virtual channels that this one guarantees, or may come to.
    pub virtuals: Virtuals<'a>,
}

/// All virtual channels, and which of them lie over which ledger channel.
#[derive(Clone, Copy)]
pub struct Virtuals<'a> {
    /// By id.
    pub all: &'a BTreeMap<ChannelId, VirtualChannel>,
    /// The unfinished ones by ledger channel.
    pub over: &'a BTreeMap<ChannelId, BTreeSet<ChannelId>>,
    /// What the chain says of them.
    pub chain: &'a ChainView,
}

impl<'a> Virtuals<'a> {
    /// The virtual channels that lie over `ledger`, and those that its states guarantee although they are over.
    pub fn over(&self, ledger: &Channel) -> impl Iterator<Item = &'a VirtualChannel> + use<'a> {
        let mut ids = self.over.get(&ledger.id).cloned().unwrap_or_default();
        ids.extend(ledger.guaranteed());
        let all = self.all;
        ids.into_iter().filter_map(|id| all.get(&id))
    }

    /// What we think of every guarantee in `ledger`.
    pub fn expectations(&self, ledger: &Channel) -> Expectations {
        let now = self.chain.now();
        let expected = self.over(ledger).filter_map(|v| {
            let (head, confirmed) = (self.chain.at_head(v.id), self.chain.confirmed(v.id));
            let decided = v.decided(confirmed, now).filter(|_| head.status == confirmed.status);
            Some((v.id, v.expected_in(ledger.id, decided)?))
        });
        expected.collect()
    }

    /// The finalized outcomes and state hashes of the virtual channels that `outcome` guarantees, as far as they are final at the head.
    pub fn targets(&self, outcome: &crate::nitro::Outcome) -> Targets {
        let now = self.chain.now();
        let guaranteed = crate::channel::guaranteed_in(outcome);
        let known = guaranteed.filter_map(|id| self.all.get(&id));
        known.filter_map(|v| Some((v.id, v.finalized(self.chain.at_head(v.id), now)?))).collect()
    }
}

/// Finalized outcomes of virtual channels with the hashes of their states, zero after `conclude`.
pub type Targets = BTreeMap<ChannelId, (crate::nitro::Outcome, alloy_primitives::B256)>;

/// What one crank did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crank {
    /// One fact; apply it and crank again.
    Emit(Event),
    /// Nothing to do before this happens.
    Wait(WaitingFor),
}

/// What an objective waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WaitingFor {
    /// The peer must tell us what it knows, or recovery must end.
    Witness,
    /// Signatures of all on the prefund.
    CompletePrefund,
    /// Deposits of those who stand before us.
    MyTurnToFund,
    /// Everything on chain and confirmed.
    CompleteFunding,
    /// Signatures of all on the postfund.
    CompletePostfund,
    /// The leader's final state, or the peer's signature on it.
    Finalization,
    /// The payout, confirmed.
    Withdraw,
    /// Our challenge on chain.
    ChallengeMined,
    /// The end of the challenge.
    ChallengeEnd,
    /// Confirmed facts that a reorg took back.
    Holdings,
    /// Guarantees in our ledger channels.
    Guarantees,
    /// Our ledger channels to give the guarantees back.
    Release,
    /// Nothing: the channel is at rest.
    Nothing,
}

impl Context<'_> {
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
    /// When this node has already signed another state of the turn, or may not sign: our own bug, and the one that loses
    /// channels.
    pub fn sign(&self, state: State, update: Option<UpdateId>) -> Crank {
        let hash = state.hash_in(self.channel.id);
        let careless =
            self.config.mutant("sign-final-unchecked") || self.config.mutant("proposes-anew");
        if let Some(signed) = self.channel.signed {
            let fresh = state.turn > signed.turn || hash == signed.hash;
            assert!(fresh || careless, "turn {} after turn {}", state.turn, signed.turn);
            assert!(
                !signed.is_final || hash == signed.hash || careless,
                "signed beyond a final state"
            );
        }
        assert!(self.may_sign, "signed while unwitnessed");
        let sig = self.key.sign(hash);
        let state = SignedState::by_us(state, self.channel.id, hash, self.channel.me, sig);
        Crank::Emit(Event::StateSigned { state, update })
    }

    /// Whether the peer has been silent for too long. While we were away it could not speak: silence is counted from our start.
    pub fn peer_is_silent(&self) -> bool {
        let since = self.channel.progress_at.max(self.started);
        self.now.since_ms(since) >= self.config.silence_ms
    }

    /// Gives the cooperative objective up in favour of the chain, because of `origin`.
    pub fn dispute(&self, origin: Origin) -> Crank {
        Crank::Emit(Event::ObjectiveApproved {
            id: self.id(ObjectiveKind::Dispute),
            origin,
            terms: None,
        })
    }
}

/// Cranks whatever the channel is about. Defence comes first: it never waits for anything.
pub fn crank(cx: &Context<'_>) -> Crank {
    if let Some(event) = dispute::defend(cx) {
        return Crank::Emit(event);
    }
    if let Some(crank) = dispute::after_answer(cx) {
        return crank;
    }
    if let Some(crank) = dispute::after_foreign_end(cx) {
        return crank;
    }
    if let Some(crank) = dispute::after_contradiction(cx) {
        return crank;
    }
    if let Some(update) = cx.channel.updates.front().filter(|_| cx.channel.takes_no_update()) {
        return Crank::Emit(Event::UpdateDropped { channel: cx.channel.id, id: update.id });
    }
    if cx.live(ObjectiveKind::Dispute).is_some() {
        return dispute::crank(cx);
    }
    if cx.live(ObjectiveKind::DirectFund).is_some() {
        return direct_fund::crank(cx);
    }
    if cx.live(ObjectiveKind::DirectDefund).is_some() {
        return direct_defund::crank(cx);
    }
    match cx.channel.phase {
        Phase::Open => update::crank(cx),
        Phase::Opening | Phase::Closing | Phase::Disputed | Phase::Finished => {
            dispute::crank_finished(cx)
        }
    }
}

#[cfg(test)]
mod tests;
