//! Goals: things that a campaign must have seen at least once, or its scenarios do not do what their stories say.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::effect::Effect;
use fairway_core::event::{Event, ObjectiveKind, WantedTx};
use fairway_core::nitro::{AllocationType, Call, Log, State};
use fairway_core::types::{Amount, BlockNum, ChannelId, TurnNum};

use super::World;
use super::chain::Fate;
use crate::byzantine::{Acts, Seen};
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

    /// Whether this one was reached.
    pub(super) fn has_reached(&self, goal: &str) -> bool {
        self.reached.contains(goal)
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
            | Observed::Session { .. }
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
            Log::ChallengeRegistered { candidate, .. } => {
                self.reach("challenge-registered");
                if is_virtual(&candidate.state) {
                    self.reach("virtual-challenged");
                    if candidate.state.turn == TurnNum::REDEMPTION {
                        self.reach("redemption-on-record");
                    }
                }
            }
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

    /// An adversary did what its inner node did not wish, or not what it wished.
    pub(super) fn adversary(&mut self, seen: &Seen<'_>, acts: &Acts) {
        let wish = match seen {
            Seen::Wish(effect) => Some(*effect),
            Seen::Message { .. } | Seen::Block(_) | Seen::Timer => None,
        };
        if wish.is_some_and(|wish| !acts.release.contains(wish)) {
            self.reach("adversary-withheld");
        }
        for effect in acts.release.iter().filter(|effect| Some(*effect) != wish) {
            match effect {
                Effect::Send { .. } => self.reach("adversary-sent"),
                Effect::Submit { .. } => self.reach("adversary-called"),
                Effect::Connect { .. }
                | Effect::FetchBlocks { .. }
                | Effect::Reply { .. }
                | Effect::Withdraw { .. }
                | Effect::Notify(_) => {}
            }
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

/// Whether a state is one of a virtual channel, whatever its author made of the types of its entries.
fn is_virtual(state: &State) -> bool {
    let entries = state.outcome.iter().flat_map(|exit| &exit.allocations);
    let is_part =
        |a: &&fairway_core::nitro::Allocation| a.allocation_type == AllocationType::GUARANTEE;
    !state.app_data.is_empty()
        || entries.into_iter().filter(is_part).any(|a| a.destination.is_external())
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
