//! What leaves a node. Only the driver releases one, and only when the log is synced up to what caused it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::{MessageKey, ObjectiveId, RejectReason, WantedTx};
use crate::input::{RequestId, Space};
use crate::nitro::Call;
use crate::types::{Address, Amount, BlockNum, ChainTime, ChannelId, TurnNum};

/// Something for the world to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Hand one message to the transport. It may be lost; the outbox sends it again.
    ///
    /// # Danger
    /// It may carry our signature: released before its event is synced, it can cost the channel.
    Send {
        /// To whom.
        peer: Address,
        /// An encoded `Wire` message.
        bytes: Vec<u8>,
    },
    /// Keep a session with this peer up.
    Connect {
        /// The peer.
        peer: Address,
    },
    /// See to it that a transaction is mined; said again for as long as it is wanted. Whether anything is broadcast, at which nonce
    /// and for how much, is the [account](crate::account)'s business. See [`Call`] for what happens when it is mined twice.
    Submit {
        /// On account of which wish; `None` by somebody who withdraws nothing.
        wish: Option<Wish>,
        /// The call.
        call: Call,
        /// What hangs on its time.
        urgency: Urgency,
        /// Channels of ours that are not finished: each may have to be defended.
        at_stake: u64,
    },
    /// What was [submitted](Effect::Submit) for this wish is wanted no more: it is done, or a newer state stands. Said once; whoever misses
    /// it goes on for [`Fees::wanted_s`](crate::config::Fees::wanted_s).
    ///
    /// # Danger
    /// A challenge that is broadcast again after a newer state is supported can be mined again, and stands until it is answered.
    Withdraw {
        /// The wish.
        wish: Wish,
    },
    /// Ask the chain endpoint for blocks.
    FetchBlocks {
        /// The first height.
        from: BlockNum,
    },
    /// Answer a command.
    Reply {
        /// Which.
        request: RequestId,
        /// The answer.
        reply: Result<Accepted, Refusal>,
    },
    /// Tell whoever listens.
    Notify(Notice),
}

impl Effect {
    /// A transaction that can wait, by somebody who defends nothing.
    pub fn submit(call: Call) -> Effect {
        Effect::Submit { wish: None, call, urgency: Urgency::Normal, at_stake: 0 }
    }
}

/// Something that the state says must reach the world, again and again until the state says that it has: see [`machine`](crate::machine).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wish {
    /// On whose behalf.
    pub channel: ChannelId,
    /// What.
    pub want: Want,
}

/// What is wished for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Want {
    /// A message that the peer acknowledges once durable.
    Message(MessageKey),
    /// The deposit that the channel records.
    Deposit,
    /// Another transaction.
    Tx(WantedTx),
}

/// What hangs on the time at which a transaction is mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Urgency {
    /// Nothing but patience.
    Normal,
    /// An answer to a challenge: at the deadline the challenged state is final.
    Defence {
        /// When the challenge ends; an answer in a block of this time comes too late.
        deadline: ChainTime,
        /// How long the challenge lasts, in seconds.
        window_s: u32,
    },
}

impl Urgency {
    /// The more urgent of two: the earlier deadline.
    pub fn or(self, other: Urgency) -> Urgency {
        match (self, other) {
            (Urgency::Normal, urgent) | (urgent, Urgency::Normal) => urgent,
            (Urgency::Defence { deadline: a, .. }, Urgency::Defence { deadline: b, .. }) => {
                if a <= b { self } else { other }
            }
        }
    }
}

/// A command was taken on and is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// The objective is under way, or was already.
    Objective(ObjectiveId),
    /// The payment is queued.
    Update {
        /// The channel.
        channel: ChannelId,
        /// Position among our requests there.
        id: u64,
    },
    /// The voucher that includes the payment is signed and durable; the payee hears of it until it acknowledges.
    Payment {
        /// The virtual channel.
        channel: ChannelId,
        /// Everything that was paid there so far, this payment and those signed with it included.
        total: Amount,
    },
}

/// Why a command or a message was not taken on. Typed, counted, answered; never fatal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such channel.
    #[error("channel {0} is unknown")]
    UnknownChannel(ChannelId),
    /// The sender has no part in the channel.
    #[error("{peer} is not our counterparty in channel {channel}")]
    NotCounterparty {
        /// The sender.
        peer: Address,
        /// The channel.
        channel: ChannelId,
    },
    /// The channel id was used before; its old states would be valid again.
    #[error("channel {0} was used before; choose another nonce")]
    ChannelUsed(ChannelId),
    /// Not open, or closing.
    #[error("channel {0} is not open")]
    NotOpen(ChannelId),
    /// A virtual channel stands on this ledger channel; close that first.
    #[error("ledger channel {0} has running guarantees; close its virtual channels first")]
    Guarantees(ChannelId),
    /// The policy does not allow these terms.
    #[error("policy: {0}")]
    Policy(String),
    /// More than the payer has.
    #[error("payment of {amount} exceeds the payer's balance of {balance}")]
    ExceedsBalance {
        /// What was asked for.
        amount: Amount,
        /// What is there.
        balance: Amount,
    },
    /// Zero, or a negative change for us that we did not ask for.
    #[error("the update changes our balance from {before} to {after}, which we did not ask for")]
    UnwantedChange {
        /// Ours before.
        before: Amount,
        /// Ours after.
        after: Amount,
    },
    /// The state is not one that may follow.
    #[error("turn {turn} does not follow: {why}")]
    BadState {
        /// The state's turn.
        turn: TurnNum,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The peer signed two states for one turn.
    #[error("the peer signed two different states for turn {0}")]
    Equivocation(TurnNum),
    /// A limit was reached.
    #[error("limit of {limit} {what} reached")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// Somebody who shall take part in a virtual channel cannot speak of one.
    #[error(
        "the session with {peer} uses wire version {version}, virtual channels need {needed}: update the older of the two nodes, or choose a way around it"
    )]
    OldPeer {
        /// The peer.
        peer: Address,
        /// What its session agreed on.
        version: u16,
        /// What is needed.
        needed: u16,
    },
    /// A message of a version beyond the one that its session agreed on.
    #[error("a message of wire version {needed} in a session of {peer} that uses {version}")]
    TooNew {
        /// The sender.
        peer: Address,
        /// What its session agreed on.
        version: u16,
        /// The oldest version that knows the message.
        needed: u16,
    },
    /// The node may have forgotten signatures and makes no new promise.
    #[error("the node is in recovery and signs nothing new; wait for its peers, or force close")]
    Recovering,
    /// Nothing new is taken on while the disk is full.
    #[error(
        "the disk is full and what was held back is for defence: free space there; closing works meanwhile"
    )]
    DiskFull,
}

impl Refusal {
    /// A short name for counters.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownChannel(_) => "channel_unknown",
            Refusal::NotCounterparty { .. } => "not_counterparty",
            Refusal::ChannelUsed(_) => "channel_used",
            Refusal::NotOpen(_) => "not_open",
            Refusal::Guarantees(_) => "guarantees",
            Refusal::Policy(_) => "policy",
            Refusal::ExceedsBalance { .. } => "exceeds_balance",
            Refusal::UnwantedChange { .. } => "unwanted_change",
            Refusal::BadState { .. } => "bad_state",
            Refusal::Equivocation(_) => "equivocation",
            Refusal::Limit { .. } => "limit",
            Refusal::OldPeer { .. } => "old_peer",
            Refusal::TooNew { .. } => "too_new",
            Refusal::Recovering => "recovering",
            Refusal::DiskFull => "disk_full",
        }
    }
}

/// News for the user, released only once durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// An objective reached its goal.
    Completed(ObjectiveId),
    /// An objective was given up.
    Rejected(ObjectiveId, RejectReason),
    /// A newer state is supported.
    Supported {
        /// The channel.
        channel: ChannelId,
        /// Its turn.
        turn: TurnNum,
    },
    /// A payment of ours that was accepted cannot be carried out: the channel ended first. The money stayed ours.
    UpdateDropped {
        /// The channel.
        channel: ChannelId,
        /// Which, as the command's answer named it.
        id: u64,
    },
    /// A state older than our latest was used against us; we are answering.
    StaleChallenge {
        /// The channel.
        channel: ChannelId,
        /// The challenged turn.
        turn: TurnNum,
    },
    /// The payer of a virtual channel promised us more. It is on our disk: what it pays for may be served.
    PaymentReceived {
        /// The virtual channel.
        channel: ChannelId,
        /// Everything that was paid there so far.
        total: Amount,
        /// What is new of it.
        delta: Amount,
    },
    /// Confirmed facts left the chain: a reorg deeper than the confirmations.
    DeepReorg {
        /// The channel.
        channel: ChannelId,
    },
    /// The node signs nothing new until its peers have spoken.
    RecoveryEntered,
    /// It signs again.
    RecoveryEnded,
    /// The disk is full, or has room again; while it is full nothing new is taken on.
    Space(Space),
    /// A deposit waits for gas money.
    DepositWithheld {
        /// Into which channel.
        channel: ChannelId,
        /// How much is missing, in wei.
        missing: Amount,
    },
}
