//! What a log amounts to: numbers that only grow, for whoever watches a node.
//!
//! A fold of the events beside the state, so that a node that was replayed says what it said before, and so that anybody can
//! recompute it from the log. Nothing is decided by it, and it is no part of the state: equal states have equal digests whatever was
//! counted on the way.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::NodeState;
use crate::channel::Channel;
use crate::effect::Want;
use crate::event::{EVENT_NAMES, Event, MessageKey, ObjectiveId, ObjectiveKind, WantedTx};
use crate::nitro::Log;
use crate::types::{Amount, ChannelId, Timestamp};

/// The counters. Each is a number of facts up to some position of one log, over all its processes.
///
/// Serializes as a list of lists, each in its table's order: one that was written before a kind was added reads as none of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Vec<u64>>", from = "Vec<Vec<u64>>")]
pub struct Tally {
    events: [u64; EVENTS],
    channels_created: [u64; 2],
    messages_sent: [u64; MESSAGES.len()],
    objectives_approved: [u64; OBJECTIVES.len()],
    objectives_completed: [u64; OBJECTIVES.len()],
    objectives_rejected: [u64; OBJECTIVES.len()],
    signatures_created: [u64; SIGNATURES.len()],
    payments_sent: [u64; 2],
    payments_received: [u64; 2],
    transactions_wanted: [u64; TRANSACTIONS.len()],
    chain_logs: [u64; CHAIN_LOGS.len()],
    challenges: [u64; 2],
    reorgs: u64,
    reorg_blocks: u64,
}

impl From<Tally> for Vec<Vec<u64>> {
    fn from(tally: Tally) -> Vec<Vec<u64>> {
        tally.tables().iter().map(|(slots, _)| slots.to_vec()).collect()
    }
}

impl From<Vec<Vec<u64>>> for Tally {
    fn from(lists: Vec<Vec<u64>>) -> Tally {
        let mut tally = Tally::default();
        for ((slots, _), list) in tally.tables_mut().into_iter().zip(&lists) {
            for (slot, count) in slots.iter_mut().zip(list) {
                *slot = *count;
            }
        }
        tally
    }
}

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// What is counted, in the plural.
    pub name: &'static str,
    /// By what it is told apart; empty where there is one number.
    pub by: &'static str,
    /// Of which kind these were; empty where there is one number.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
}

impl Tally {
    /// Applies an event to the state and counts it.
    pub fn apply(&mut self, state: &mut NodeState, at: Timestamp, event: Event) -> Vec<ChannelId> {
        self.count_event(state, &event);
        let direct = event.channel().filter(|_| carries_state(&event));
        let before = direct.and_then(|id| state.channel(id)).and_then(Standing::of);
        let touched = state.apply(at, event);
        let after = direct.and_then(|id| state.channel(id)).and_then(Standing::of);
        if let (Some(before), Some(after)) = (before, after) {
            self.count_payment(&before, &after);
        }
        self.count_messages(state, &touched);
        touched
    }

    /// Both together, of two parts of one log.
    pub fn plus(&self, other: &Tally) -> Tally {
        let mut sum = *self;
        for ((slots, _), (more, _)) in sum.tables_mut().into_iter().zip(other.tables()) {
            for (slot, more) in slots.iter_mut().zip(more) {
                *slot = slot.saturating_add(*more);
            }
        }
        sum
    }

    /// Every counter, in a fixed order; those that are zero included.
    pub fn counts(&self) -> impl Iterator<Item = Count> {
        self.tables().into_iter().flat_map(|(slots, Table { name, by, kinds })| {
            slots.iter().zip(kinds).map(move |(count, kind)| Count {
                name,
                by,
                kind,
                count: *count,
            })
        })
    }

    /// The sum over all kinds of one counter; zero for a name that there is not.
    pub fn total(&self, name: &str) -> u64 {
        let of = self.counts().filter(|c| c.name == name);
        of.fold(0, |sum, c| sum.saturating_add(c.count))
    }

    fn tables(&self) -> [(&[u64], Table); TABLES.len()] {
        let slots: [&[u64]; TABLES.len()] = [
            &self.events,
            &self.channels_created,
            &self.messages_sent,
            &self.objectives_approved,
            &self.objectives_completed,
            &self.objectives_rejected,
            &self.signatures_created,
            &self.payments_sent,
            &self.payments_received,
            &self.transactions_wanted,
            &self.chain_logs,
            &self.challenges,
            core::slice::from_ref(&self.reorgs),
            core::slice::from_ref(&self.reorg_blocks),
        ];
        core::array::from_fn(|i| (slots[i], TABLES[i]))
    }

    fn tables_mut(&mut self) -> [(&mut [u64], Table); TABLES.len()] {
        let slots: [&mut [u64]; TABLES.len()] = [
            &mut self.events,
            &mut self.channels_created,
            &mut self.messages_sent,
            &mut self.objectives_approved,
            &mut self.objectives_completed,
            &mut self.objectives_rejected,
            &mut self.signatures_created,
            &mut self.payments_sent,
            &mut self.payments_received,
            &mut self.transactions_wanted,
            &mut self.chain_logs,
            &mut self.challenges,
            core::slice::from_mut(&mut self.reorgs),
            core::slice::from_mut(&mut self.reorg_blocks),
        ];
        let mut tables = TABLES.into_iter();
        slots.map(|slots| (slots, tables.next().unwrap_or(TABLES[0])))
    }

    /// What the event says by itself, and against the state before it.
    fn count_event(&mut self, before: &NodeState, event: &Event) {
        one(&mut self.events, event.number());
        match event {
            Event::ObjectiveApproved { id, terms, .. } => {
                one(&mut self.objectives_approved, objective(id));
                if terms.is_some() {
                    one(&mut self.channels_created, DIRECT);
                }
            }
            Event::VirtualApproved { id, .. } => {
                one(&mut self.objectives_approved, objective(id));
                one(&mut self.channels_created, VIRTUAL);
            }
            Event::ObjectiveRejected { id, .. } => {
                one(&mut self.objectives_rejected, objective(id));
            }
            Event::ObjectiveCompleted { id } => one(&mut self.objectives_completed, objective(id)),
            Event::StateSigned { .. } => one(&mut self.signatures_created, SIGNED_STATE),
            Event::VoucherSigned { .. } => {
                one(&mut self.signatures_created, SIGNED_VOUCHER);
                one(&mut self.payments_sent, VIRTUAL);
            }
            Event::VoucherReceived { .. } => one(&mut self.payments_received, VIRTUAL),
            Event::DepositWanted { .. } => one(&mut self.transactions_wanted, DEPOSIT),
            Event::TxWanted { tx, .. } => self.count_transaction(tx),
            Event::BlockAdded { logs, .. } => {
                for found in logs {
                    self.count_log(before, &found.log);
                }
            }
            Event::BlocksReverted { to } => {
                let head = before.chain().head().map_or(0, |b| b.number.0);
                self.reorgs = self.reorgs.saturating_add(1);
                let gone = head.saturating_sub(to.number.0);
                self.reorg_blocks = self.reorg_blocks.saturating_add(gone);
            }
            Event::Pinned(_)
            | Event::StateReceived { .. }
            | Event::StatePublished { .. }
            | Event::MessageAcked { .. }
            | Event::UpdateWanted { .. }
            | Event::UpdateDropped { .. }
            | Event::RecoveryEntered { .. }
            | Event::ChannelWitnessed { .. }
            | Event::RecoveryEnded
            | Event::PaymentAppPinned { .. }
            | Event::LedgerNamed { .. }
            | Event::ReclaimShown { .. } => {}
        }
    }

    fn count_transaction(&mut self, tx: &WantedTx) {
        one(&mut self.transactions_wanted, transaction(tx));
        match tx {
            WantedTx::Challenge { .. } => one(&mut self.signatures_created, SIGNED_CHALLENGE),
            WantedTx::Redeem { .. } => {
                // The state that carries the voucher is signed with the challenge.
                one(&mut self.signatures_created, SIGNED_STATE);
                one(&mut self.signatures_created, SIGNED_CHALLENGE);
            }
            WantedTx::Checkpoint { .. }
            | WantedTx::Conclude
            | WantedTx::TransferAll
            | WantedTx::TransferMine
            | WantedTx::Reclaim { .. } => {}
        }
    }

    fn count_log(&mut self, before: &NodeState, log: &Log) {
        let kind = match log {
            Log::Deposited { .. } => 0,
            Log::AllocationUpdated { .. } => 1,
            Log::ChallengeRegistered { channel, candidate, .. } => {
                let ours = is_ours(before, *channel, candidate.state.turn);
                one(&mut self.challenges, if ours { 0 } else { 1 });
                2
            }
            Log::ChallengeCleared { .. } => 3,
            Log::Checkpointed { .. } => 4,
            Log::Concluded { .. } => 5,
            Log::Reclaimed { .. } => 6,
        };
        one(&mut self.chain_logs, kind);
    }

    /// A payment in a direct channel: the newest unanimous state moves money between the two and changes nothing else.
    fn count_payment(&mut self, before: &Standing, after: &Standing) {
        if before.supported == after.supported || before.guarantees != after.guarantees {
            return;
        }
        if after.mine > before.mine && after.theirs < before.theirs {
            one(&mut self.payments_received, DIRECT);
        }
        if after.mine < before.mine && after.theirs > before.theirs {
            one(&mut self.payments_sent, DIRECT);
        }
    }

    /// The messages that the last event gave rise to. One that is sent again is the same wish.
    fn count_messages(&mut self, state: &NodeState, touched: &[ChannelId]) {
        if let [channel] = touched {
            return self.count_messages_of(state, *channel);
        }
        let each_once: BTreeSet<ChannelId> = touched.iter().copied().collect();
        for channel in each_once {
            self.count_messages_of(state, channel);
        }
    }

    fn count_messages_of(&mut self, state: &NodeState, channel: ChannelId) {
        for (wish, since) in state.wishes_of(channel) {
            if let Want::Message(key) = &wish.want
                && *since == state.lsn()
            {
                one(&mut self.messages_sent, message(key));
            }
        }
    }
}

/// Whether the challenge of this turn is one that this node asked for. The contract's log does not name the challenger.
pub fn is_ours(state: &NodeState, channel: ChannelId, turn: crate::types::TurnNum) -> bool {
    let direct = state.channel(channel).map(|c| &c.txs);
    let of_virtual = state.virtual_channel(channel).map(|v| &v.txs);
    let wanted = |tx: &WantedTx| match tx {
        WantedTx::Challenge { turn: of, .. } => *of == turn,
        WantedTx::Redeem { .. } => turn == crate::types::TurnNum::REDEMPTION,
        WantedTx::Checkpoint { .. }
        | WantedTx::Conclude
        | WantedTx::TransferAll
        | WantedTx::TransferMine
        | WantedTx::Reclaim { .. } => false,
    };
    direct.or(of_virtual).is_some_and(|txs| txs.iter().any(wanted))
}

/// How the money of a direct channel stands by its newest unanimous state.
struct Standing {
    supported: Option<crate::types::TurnNum>,
    mine: Amount,
    theirs: Amount,
    guarantees: Vec<ChannelId>,
}

impl Standing {
    fn of(channel: &Channel) -> Option<Standing> {
        let supported = channel.supported.as_ref()?;
        Some(Standing {
            supported: channel.supported_turn(),
            mine: channel.balance(channel.my_index()),
            theirs: channel.balance(channel.peer_index()),
            guarantees: crate::channel::guaranteed_in(&supported.state().outcome).collect(),
        })
    }
}

fn carries_state(event: &Event) -> bool {
    matches!(
        event,
        Event::StateSigned { .. } | Event::StateReceived { .. } | Event::StatePublished { .. }
    )
}

fn one(slots: &mut [u64], at: usize) {
    if let Some(slot) = slots.get_mut(at) {
        *slot = slot.saturating_add(1);
    }
}

fn objective(id: &ObjectiveId) -> usize {
    match id.kind {
        ObjectiveKind::DirectFund => 0,
        ObjectiveKind::DirectDefund => 1,
        ObjectiveKind::Dispute => 2,
        ObjectiveKind::VirtualFund => 3,
        ObjectiveKind::VirtualDefund => 4,
    }
}

fn message(key: &MessageKey) -> usize {
    match key {
        MessageKey::State(_) => 0,
        MessageKey::UpdateRequest(_) => 1,
        MessageKey::CloseRequest => 2,
        MessageKey::StateTo(..) => 3,
        MessageKey::FinalRequest => 4,
        MessageKey::Voucher(_) => 5,
    }
}

fn transaction(tx: &WantedTx) -> usize {
    match tx {
        WantedTx::Challenge { .. } => 1,
        WantedTx::Checkpoint { .. } => 2,
        WantedTx::Conclude => 3,
        WantedTx::TransferAll => 4,
        WantedTx::TransferMine => 5,
        WantedTx::Redeem { .. } => 6,
        WantedTx::Reclaim { .. } => 7,
    }
}

/// The short name of an objective's kind, for counters and labels.
pub fn objective_name(kind: ObjectiveKind) -> &'static str {
    OBJECTIVES[objective(&ObjectiveId { channel: ChannelId::default(), kind })]
}

/// The short name of a wanted transaction's kind; `None` for a message.
pub fn transaction_name(want: &Want) -> Option<&'static str> {
    match want {
        Want::Message(_) => None,
        Want::Deposit => Some(TRANSACTIONS[DEPOSIT]),
        Want::Tx(tx) => Some(TRANSACTIONS[transaction(tx)]),
    }
}

/// The name of a table, by what its rows differ, and what they are called.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    by: &'static str,
    kinds: &'static [&'static str],
}

const fn table(name: &'static str, by: &'static str, kinds: &'static [&'static str]) -> Table {
    Table { name, by, kinds }
}

/// In the order of the fields.
const TABLES: [Table; 14] = [
    table("events", "event", EVENT_NAMES),
    table("channels_created", "kind", KINDS),
    table("messages_sent", "kind", MESSAGES),
    table("objectives_approved", "type", OBJECTIVES),
    table("objectives_completed", "type", OBJECTIVES),
    table("objectives_rejected", "type", OBJECTIVES),
    table("signatures_created", "purpose", SIGNATURES),
    table("payments_sent", "kind", KINDS),
    table("payments_received", "kind", KINDS),
    table("transactions_wanted", "kind", TRANSACTIONS),
    table("chain_logs", "event", CHAIN_LOGS),
    table("challenges", "role", &["challenger", "responder"]),
    table("reorgs", "", &[""]),
    table("reorg_blocks", "", &[""]),
];

const EVENTS: usize = EVENT_NAMES.len();

/// Kinds of channels.
pub const KINDS: &[&str] = &["direct", "virtual"];
const DIRECT: usize = 0;
const VIRTUAL: usize = 1;

/// Kinds of messages that are sent until they are acknowledged.
pub const MESSAGES: &[&str] =
    &["state", "update_request", "close_request", "virtual_state", "final_request", "voucher"];

/// Kinds of objectives.
pub const OBJECTIVES: &[&str] =
    &["direct_fund", "direct_defund", "dispute", "virtual_fund", "virtual_defund"];

/// What this node signs.
pub const SIGNATURES: &[&str] = &["state", "voucher", "challenge"];
const SIGNED_STATE: usize = 0;
const SIGNED_VOUCHER: usize = 1;
const SIGNED_CHALLENGE: usize = 2;

/// Kinds of transactions.
pub const TRANSACTIONS: &[&str] = &[
    "deposit",
    "challenge",
    "checkpoint",
    "conclude",
    "transfer_all",
    "transfer_mine",
    "redeem",
    "reclaim",
];
const DEPOSIT: usize = 0;

/// Logs of the contract.
pub const CHAIN_LOGS: &[&str] = &[
    "deposited",
    "allocation_updated",
    "challenge_registered",
    "challenge_cleared",
    "checkpointed",
    "concluded",
    "reclaimed",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_as_many_names_as_slots() {
        for (slots, table) in Tally::default().tables() {
            assert_eq!(slots.len(), table.kinds.len(), "{}", table.name);
        }
    }

    /// Two parts of a log make the whole, in every counter.
    #[test]
    fn parts_add_up() {
        let mut part = Tally::default();
        for (n, (slots, _)) in (1u64..).zip(part.tables_mut()) {
            slots.fill(n);
        }
        let sum = part.plus(&part);
        for (one, two) in part.counts().zip(sum.counts()) {
            assert_eq!(two.count, 2 * one.count, "{}", one.name);
            assert!(one.count > 0, "{}", one.name);
        }
        assert_eq!(part.total("reorgs"), 13);
    }

    /// Goal: a kind that is added later costs no snapshot. Method: lists that are shorter than today's.
    #[test]
    fn what_was_written_before_a_kind_was_added_is_read() {
        let mut tally = Tally::default();
        for (n, (slots, _)) in (1u64..).zip(tally.tables_mut()) {
            slots.fill(n);
        }
        let bytes = postcard::to_allocvec(&tally).unwrap();
        assert_eq!(postcard::from_bytes::<Tally>(&bytes).unwrap(), tally);
        let mut lists = Vec::<Vec<u64>>::from(tally);
        lists.pop();
        lists[0].pop();
        let read = Tally::from(lists);
        assert_eq!(read.total("reorg_blocks"), 0);
        assert_eq!(read.total("events"), EVENTS as u64 - 1);
        assert_eq!(read.total("reorgs"), tally.total("reorgs"));
    }
}
