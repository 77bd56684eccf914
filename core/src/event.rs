//! Facts about this node: the only truth. `NodeState` is their fold.
//!
//! Append-only: a released variant keeps its number and its fields for ever (`corpus/log/` checks it), because old logs are
//! read by newer nodes. Past tense, self-contained: replay needs no key, no clock and no chain. The time of an event and its
//! position stand in the header of the batch that holds it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::chain_types::{BlockRef, IndexedLog};
use crate::nitro::voucher::Voucher;
use crate::nitro::{Signature, SignedState};
use crate::types::{Address, Amount, BlockNum, ChannelId, Lsn, TurnNum};

/// A fact. See the module for what may never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first record of every log: what this log belongs to. Another chain, contract or key is refused at start.
    Pinned(Pins),
    /// We promised to pursue an objective, at our user's or the peer's request.
    ObjectiveApproved {
        /// Which.
        id: ObjectiveId,
        /// Who asked, and the terms where the objective creates its channel.
        origin: Origin,
        /// The terms of a new channel; `None` where the channel exists.
        terms: Option<Terms>,
    },
    /// We gave an objective up. Terminal.
    ObjectiveRejected {
        /// Which.
        id: ObjectiveId,
        /// Why.
        reason: RejectReason,
    },
    /// An objective reached its goal. Terminal.
    ObjectiveCompleted {
        /// Which.
        id: ObjectiveId,
    },
    /// We signed a state. Invariant: never two states for one (channel, turn).
    ///
    /// # Danger
    /// If the signature leaves before this is synced, a crash makes us forget it while the peer holds it, and we may sign another
    /// state of the turn: the peer then chooses which one counts.
    StateSigned {
        /// The state with our signature alone.
        state: SignedState,
        /// The update that the state carries out, if it does.
        update: Option<UpdateId>,
    },
    /// A peer showed us signatures. They may include our own, when a peer knows more than we do.
    StateReceived {
        /// The state with the checked signatures.
        state: SignedState,
        /// Who showed it.
        from: Address,
    },
    /// We want this deposit. Submitted twice, the second reverts: `held_before` is the contract's `expectedHeld`.
    ///
    /// # Danger
    /// The contract takes deposits into channels that are over, and never gives them back: wanted only while the unanimous prefund
    /// is the newest state, and not in recovery.
    DepositWanted {
        /// The channel to fund.
        channel: ChannelId,
        /// Confirmed holdings that the decision was made on.
        held_before: Amount,
        /// How much to add.
        amount: Amount,
    },
    /// We want another transaction on the channel's behalf. It is resubmitted until the chain shows what it was for.
    TxWanted {
        /// The channel.
        channel: ChannelId,
        /// What to submit.
        tx: WantedTx,
    },
    /// A block joined our view of the chain, with the logs of channels that we watch. The cursor advances with the facts.
    BlockAdded {
        /// The block; its parent is the previous head.
        block: BlockRef,
        /// Logs of our channels only, in order.
        logs: Vec<IndexedLog>,
    },
    /// Blocks above `to` left the canonical chain; their facts are taken back.
    BlocksReverted {
        /// The new head.
        to: BlockRef,
    },
    /// A peer made something of ours durable: it need not be sent again. Loses nothing if it is lost.
    MessageAcked {
        /// The channel.
        channel: ChannelId,
        /// What was acknowledged.
        what: MessageKey,
    },
    /// Somebody wants money to move inside an open channel.
    UpdateWanted {
        /// The channel.
        channel: ChannelId,
        /// What.
        update: Update,
    },
    /// An update can no longer be carried out.
    UpdateDropped {
        /// The channel.
        channel: ChannelId,
        /// Which.
        id: UpdateId,
    },
    /// This node may have forgotten signatures of its own: until the witnesses below have spoken it signs nothing new.
    RecoveryEntered {
        /// Why.
        reason: RecoveryReason,
    },
    /// Peer and chain have shown what they know of this channel; nothing newer is missing.
    ChannelWitnessed {
        /// The channel.
        channel: ChannelId,
    },
    /// Every channel was witnessed.
    RecoveryEnded,
    /// A transaction showed a state with everybody's signature that we did not hold: a challenge, or the calldata of a checkpoint or
    /// conclusion. The signatures were checked; they bind us whatever becomes of the block.
    StatePublished {
        /// The state.
        state: SignedState,
    },
    /// The application that judges virtual channels. Recorded once, as soon as one is configured; another one is refused at start.
    PaymentAppPinned {
        /// The contract.
        app: Address,
    },
    /// We promised to take part in a virtual channel, at our user's or the payer's request.
    VirtualApproved {
        /// Which.
        id: ObjectiveId,
        /// Who asked.
        origin: Origin,
        /// The terms.
        terms: VirtualTerms,
        /// Our ledger channel with the next participant; `None` where we are the payee.
        right: Option<ChannelId>,
    },
    /// The participant before us said in which ledger channel with us it wants to guarantee the virtual channel.
    LedgerNamed {
        /// The virtual channel.
        channel: ChannelId,
        /// The ledger channel.
        ledger: ChannelId,
    },
    /// We promised the payee a new total.
    ///
    /// # Danger
    /// If it leaves before this is synced, a crash makes us forget it and promise less.
    VoucherSigned {
        /// The promise.
        voucher: Voucher,
    },
    /// The payer promised us a new total. The signature was checked.
    ///
    /// # Danger
    /// This record is the money: acknowledged before it is synced, a crash loses the payment.
    VoucherReceived {
        /// The promise.
        voucher: Voucher,
    },
    /// The calldata of a transaction showed which guarantee of a finalized ledger channel it reclaimed: the log of the reclaim, in
    /// the same block, does not say. The endpoint's word; what follows from it is tried first, and nothing rests on it alone.
    ReclaimShown {
        /// The ledger channel.
        channel: ChannelId,
        /// The block. A reorganization that takes it back takes this back.
        block: BlockNum,
        /// The virtual channel that was guaranteed.
        target: ChannelId,
    },
}

impl Event {
    /// Whether the event may wait for the next batch instead of forcing a sync. Losing one is harmless: it is learned again.
    pub fn is_lazy(&self) -> bool {
        match self {
            Event::MessageAcked { .. } => true,
            Event::BlockAdded { logs, .. } => logs.is_empty(),
            Event::Pinned(_)
            | Event::ObjectiveApproved { .. }
            | Event::ObjectiveRejected { .. }
            | Event::ObjectiveCompleted { .. }
            | Event::StateSigned { .. }
            | Event::StateReceived { .. }
            | Event::DepositWanted { .. }
            | Event::TxWanted { .. }
            | Event::BlocksReverted { .. }
            | Event::UpdateWanted { .. }
            | Event::UpdateDropped { .. }
            | Event::RecoveryEntered { .. }
            | Event::ChannelWitnessed { .. }
            | Event::RecoveryEnded
            | Event::StatePublished { .. }
            | Event::PaymentAppPinned { .. }
            | Event::VirtualApproved { .. }
            | Event::LedgerNamed { .. }
            | Event::VoucherSigned { .. }
            | Event::VoucherReceived { .. }
            | Event::ReclaimShown { .. } => false,
        }
    }

    /// The variant's name, as scenarios and traces write it.
    pub fn name(&self) -> &'static str {
        EVENT_NAMES[self.number()]
    }

    /// The variant's number in the log, and its place in [`EVENT_NAMES`].
    pub fn number(&self) -> usize {
        match self {
            Event::Pinned(_) => 0,
            Event::ObjectiveApproved { .. } => 1,
            Event::ObjectiveRejected { .. } => 2,
            Event::ObjectiveCompleted { .. } => 3,
            Event::StateSigned { .. } => 4,
            Event::StateReceived { .. } => 5,
            Event::DepositWanted { .. } => 6,
            Event::TxWanted { .. } => 7,
            Event::BlockAdded { .. } => 8,
            Event::BlocksReverted { .. } => 9,
            Event::MessageAcked { .. } => 10,
            Event::UpdateWanted { .. } => 11,
            Event::UpdateDropped { .. } => 12,
            Event::RecoveryEntered { .. } => 13,
            Event::ChannelWitnessed { .. } => 14,
            Event::RecoveryEnded => 15,
            Event::StatePublished { .. } => 16,
            Event::PaymentAppPinned { .. } => 17,
            Event::VirtualApproved { .. } => 18,
            Event::LedgerNamed { .. } => 19,
            Event::VoucherSigned { .. } => 20,
            Event::VoucherReceived { .. } => 21,
            Event::ReclaimShown { .. } => 22,
        }
    }

    /// The channel that the event is about, if it is about one.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Event::ObjectiveApproved { id, .. }
            | Event::VirtualApproved { id, .. }
            | Event::ObjectiveRejected { id, .. }
            | Event::ObjectiveCompleted { id } => Some(id.channel),
            Event::StateSigned { state, .. }
            | Event::StateReceived { state, .. }
            | Event::StatePublished { state } => Some(state.channel()),
            Event::DepositWanted { channel, .. }
            | Event::TxWanted { channel, .. }
            | Event::MessageAcked { channel, .. }
            | Event::UpdateWanted { channel, .. }
            | Event::UpdateDropped { channel, .. }
            | Event::LedgerNamed { channel, .. }
            | Event::ReclaimShown { channel, .. }
            | Event::ChannelWitnessed { channel } => Some(*channel),
            Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
                Some(voucher.channel)
            }
            Event::Pinned(_)
            | Event::PaymentAppPinned { .. }
            | Event::BlockAdded { .. }
            | Event::BlocksReverted { .. }
            | Event::RecoveryEntered { .. }
            | Event::RecoveryEnded => None,
        }
    }
}

/// All names of [`Event::name`], for checks of scenario files.
pub const EVENT_NAMES: &[&str] = &[
    "Pinned",
    "ObjectiveApproved",
    "ObjectiveRejected",
    "ObjectiveCompleted",
    "StateSigned",
    "StateReceived",
    "DepositWanted",
    "TxWanted",
    "BlockAdded",
    "BlocksReverted",
    "MessageAcked",
    "UpdateWanted",
    "UpdateDropped",
    "RecoveryEntered",
    "ChannelWitnessed",
    "RecoveryEnded",
    "StatePublished",
    "PaymentAppPinned",
    "VirtualApproved",
    "LedgerNamed",
    "VoucherSigned",
    "VoucherReceived",
    "ReclaimShown",
];

/// An event with its place: what the log yields on replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Position.
    pub lsn: Lsn,
    /// The fact.
    pub event: Event,
}

/// What a log belongs to. Refused at start when the configuration names something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The adjudicator.
    pub adjudicator: Address,
    /// The application of direct channels.
    pub consensus_app: Address,
    /// Our channel address.
    pub me: Address,
    /// Blocks after which a fact counts. At least 1.
    pub confirmations: u32,
}

/// Names an objective: its kind and the channel that it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectiveId {
    /// The channel.
    pub channel: ChannelId,
    /// What is to be done with it.
    pub kind: ObjectiveKind,
}

/// What can be done with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectiveKind {
    /// Open and fund it.
    DirectFund,
    /// Close it in agreement.
    DirectDefund,
    /// Close it alone, on chain.
    Dispute,
    /// Open a virtual channel on guarantees of ledger channels.
    VirtualFund,
    /// Close a virtual channel in agreement and give its guarantees back.
    VirtualDefund,
}

impl fmt::Display for ObjectiveId {
    /// As go-nitro writes it: `DirectFunding-0x…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectiveKind::DirectFund => "DirectFunding",
            ObjectiveKind::DirectDefund => "DirectDefunding",
            ObjectiveKind::Dispute => "Dispute",
            ObjectiveKind::VirtualFund => "VirtualFund",
            ObjectiveKind::VirtualDefund => "VirtualDefund",
        };
        write!(f, "{kind}-{}", self.channel)
    }
}

/// The terms of a new direct channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Leader first: the leader proposes updates, deposits first and concludes.
    pub participants: [Address; 2],
    /// Random; never reused.
    pub nonce: u64,
    /// Seconds.
    pub challenge_duration: u32,
    /// Zero is the native token.
    pub asset: Address,
    /// What each participant deposits, in participant order.
    pub deposits: [Amount; 2],
}

/// The terms of a new virtual channel: the payer can pay up to `amount` to the payee, over ledger channels of neighbours.
///
/// The payee puts nothing in: the contract *sets* its amount when a voucher is redeemed, so anything else could not be enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualTerms {
    /// The payer, the intermediaries from its side on, the payee. Each two neighbours share a ledger channel.
    pub participants: Vec<Address>,
    /// Random; never reused.
    pub nonce: u64,
    /// Seconds.
    pub challenge_duration: u32,
    /// Zero is the native token. The contract enforces no other.
    pub asset: Address,
    /// Most that can be paid, guaranteed in each ledger channel on the way.
    pub amount: Amount,
}

/// Who asked for an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Our user.
    User,
    /// The peer; our policy agreed.
    Peer,
    /// We did, because a deadline passed.
    Timeout,
    /// We did, because the peer broke the protocol or challenged with an old state.
    Violation,
}

/// Why an objective was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectReason {
    /// Our policy said no.
    Policy(String),
    /// The peer said no.
    ByPeer,
    /// The peer was silent for too long and nothing is at stake.
    TimedOut,
    /// The objective was replaced by a dispute.
    Disputed,
}

/// A transaction that we want on chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WantedTx {
    /// Challenge with our latest supported state.
    Challenge {
        /// Its turn.
        turn: TurnNum,
        /// Ours, over the state hash and `"forceMove"`.
        challenger_sig: Signature,
    },
    /// Answer an old challenge with our latest supported state.
    Checkpoint {
        /// Its turn.
        turn: TurnNum,
    },
    /// Conclude with the unanimous final state and pay everybody.
    Conclude,
    /// Pay everybody out of the finalized channel.
    TransferAll,
    /// Pay ourselves alone, because paying everybody reverts.
    TransferMine,
    /// Redeem our largest voucher: challenge with the postfund as proof. The one state that we sign alone, and sign once.
    Redeem {
        /// The voucher.
        voucher: Voucher,
        /// Ours, on the state that carries it.
        sig: Signature,
        /// Ours, over that state's hash and `"forceMove"`.
        challenger_sig: Signature,
    },
    /// Turn the guarantee for this virtual channel, in a finalized ledger channel, into what the virtual channel says.
    Reclaim {
        /// The virtual channel.
        target: ChannelId,
    },
}

/// Something that we send until it is acknowledged, named by what it says rather than by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MessageKey {
    /// Our signature on the state of this turn.
    State(TurnNum),
    /// A request to the leader to propose an update.
    UpdateRequest(UpdateId),
    /// A request to the leader to propose the final state.
    CloseRequest,
    /// Our signature on the state of this turn of a virtual channel, to the participant with this index.
    StateTo(TurnNum, u8),
    /// A request to the payer of a virtual channel to propose the final state.
    FinalRequest,
    /// A voucher of this total.
    Voucher(Amount),
}

/// Numbers the update requests of one participant in one channel: 1, 2, 3, …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UpdateId(pub u64);

/// Money that is to move inside a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Position among the payer's requests.
    pub id: UpdateId,
    /// Index of the participant who pays.
    pub payer: u8,
    /// How much.
    pub amount: Amount,
}

/// Why a node may have forgotten its own signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveryReason {
    /// The operator started it from a backup.
    Restored,
    /// A peer or the chain showed a signature of ours that our log does not hold.
    ForgottenSignature {
        /// In which channel.
        channel: ChannelId,
        /// On which turn.
        turn: TurnNum,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of variants are the log format: this table may only grow at its end.
    #[test]
    fn variant_numbers_are_frozen() {
        let first_bytes = [
            (Event::RecoveryEnded, 15u8),
            (Event::ChannelWitnessed { channel: ChannelId::default() }, 14),
            (Event::RecoveryEntered { reason: RecoveryReason::Restored }, 13),
            (
                Event::MessageAcked {
                    channel: ChannelId::default(),
                    what: MessageKey::CloseRequest,
                },
                10,
            ),
            (Event::BlocksReverted { to: BlockRef::default() }, 9),
            (
                Event::DepositWanted {
                    channel: ChannelId::default(),
                    held_before: Amount::ZERO,
                    amount: Amount::ZERO,
                },
                6,
            ),
        ];
        for (event, number) in first_bytes {
            assert_eq!(postcard::to_allocvec(&event).unwrap()[0], number, "{}", event.name());
            assert_eq!(EVENT_NAMES[usize::from(number)], event.name());
        }
    }
}
