//! Goals: things that a campaign must have seen at least once, or its scenarios do not do what their stories say.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::event::{Event, ObjectiveKind, WantedTx};
use fairway_core::nitro::{Call, Log};
use fairway_core::types::{Amount, BlockNum, ChannelId};

use super::World;
use super::chain::Fate;
use crate::observe::{Observed, PartyId};

/// Which goals a run has reached so far. Only those that its plan names are looked for.
#[derive(Clone, Debug, Default)]
pub struct Goals {
    wanted: BTreeSet<String>,
    reached: BTreeSet<&'static str>,
    sent: BTreeMap<[u8; 32], u64>,
    delivered: BTreeMap<[u8; 32], u64>,
    deposits_seen: BTreeSet<(usize, ChannelId, Amount)>,
    fetched: BTreeMap<usize, BlockNum>,
}

impl Goals {
    /// Nothing reached yet.
    pub fn new(wanted: &[String]) -> Goals {
        Goals { wanted: wanted.iter().cloned().collect(), ..Goals::default() }
    }

    /// What was reached, in order.
    pub fn reached(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.reached.iter().copied()
    }

    pub(super) fn reach(&mut self, goal: &'static str) {
        if self.wanted.contains(goal) {
            self.reached.insert(goal);
        }
    }

    fn wants(&self, goal: &str) -> bool {
        self.wanted.contains(goal) && !self.reached.contains(goal)
    }

    pub(super) fn observe(&mut self, seen: &Observed<'_>) {
        if self.wanted.len() == self.reached.len() {
            return;
        }
        match seen {
            Observed::Appended { node, events, .. } => {
                events.iter().for_each(|(_, event)| self.event(*node, event));
            }
            Observed::Sent { bytes, .. } if self.wants("message-resent") => {
                let times = self.sent.entry(*blake3::hash(bytes).as_bytes()).or_default();
                *times += 1;
                if *times > 1 {
                    self.reach("message-resent");
                }
            }
            Observed::Delivered { wire: Some(wire), .. } if self.wants("duplicate-received") => {
                let times =
                    self.delivered.entry(*blake3::hash(&wire.encode()).as_bytes()).or_default();
                *times += 1;
                if *times > 1 {
                    self.reach("duplicate-received");
                }
            }
            Observed::Rested { refused, .. } if *refused > 0 => {
                self.reach("hostile-message-refused")
            }
            Observed::Restarted { .. } => self.reach("restarted-after-crash"),
            Observed::Sent { .. }
            | Observed::Delivered { .. }
            | Observed::Rested { .. }
            | Observed::Synced { .. }
            | Observed::Submitted { .. }
            | Observed::Notified { .. }
            | Observed::Refused { .. }
            | Observed::Crashed { .. }
            | Observed::Stopped { .. }
            | Observed::Block { .. }
            | Observed::Fault { .. }
            | Observed::Healed
            | Observed::Ended { .. } => {}
        }
    }

    fn event(&mut self, node: PartyId, event: &Event) {
        match event {
            Event::ObjectiveCompleted { id } => match id.kind {
                ObjectiveKind::DirectFund => self.reach("channel-open"),
                ObjectiveKind::VirtualFund => self.reach("virtual-open"),
                ObjectiveKind::VirtualDefund => self.reach("virtual-closed"),
                ObjectiveKind::DirectDefund => self.reach("channel-closed"),
                ObjectiveKind::Dispute => {
                    self.reach("channel-closed");
                    self.reach("channel-closed-on-chain");
                }
            },
            Event::ObjectiveRejected { .. } => self.reach("objective-rejected"),
            Event::StateSigned { update: Some(_), .. } => self.reach("payment-made"),
            Event::VoucherReceived { .. } => self.reach("voucher-received"),
            Event::TxWanted { tx: WantedTx::Redeem { .. }, .. } => self.reach("voucher-redeemed"),
            Event::TxWanted { tx: WantedTx::Reclaim { .. }, .. } => {
                self.reach("guarantee-reclaimed")
            }
            Event::BlockAdded { logs, .. } => {
                for log in logs {
                    self.log(node, &log.log);
                }
            }
            _ => {}
        }
    }

    fn log(&mut self, node: PartyId, log: &Log) {
        match log {
            Log::ChallengeRegistered { .. } => self.reach("challenge-registered"),
            Log::ChallengeCleared { .. } => self.reach("challenge-answered"),
            Log::Deposited { channel, held, .. } => {
                if !self.deposits_seen.insert((node.0, *channel, *held)) {
                    self.reach("deposit-seen-again");
                }
            }
            Log::AllocationUpdated { .. }
            | Log::Checkpointed { .. }
            | Log::Concluded { .. }
            | Log::Reclaimed { .. } => {}
        }
    }

    /// A node asks for blocks.
    pub(super) fn fetch(&mut self, node: PartyId, from: BlockNum) {
        let last = self.fetched.insert(node.0, from);
        if last.is_some_and(|l| from <= l && from.0 > 0) {
            self.reach("logs-rescanned");
        }
    }
}

impl World {
    /// What only the end shows.
    pub(super) fn goals_at_the_end(&mut self) {
        for party in &self.parties {
            let fired = party.disk.fired();
            if fired.sectors_lost + fired.lengths_lost + fired.entries_lost > 0 {
                self.goals.reach("unsynced-write-lost");
            }
        }
        let reverted = self.chain.submissions().iter().any(|s| {
            matches!(*s.call, Call::Deposit { .. })
                && matches!(s.fate, Fate::Included { result: Err(_), .. })
        });
        if reverted {
            self.goals.reach("deposit-reverted");
        }
    }
}
