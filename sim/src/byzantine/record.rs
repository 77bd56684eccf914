//! What the coalition reads off the chain: which outcomes are on record, since when they are final, and what is deposited.
//!
//! A reading, not the truth: after a reorganization it may be off, and a call that is built on it then reverts. No harm: whoever
//! submits it only wastes a transaction of an adversary.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::chain_types::{B256, Block};
use fairway_core::nitro::adjudicator::{ReclaimArgs, compute_reclaim, compute_transfer};
use fairway_core::nitro::{Allocation, AllocationType, Call, Log, Outcome};
use fairway_core::types::{Amount, ChainTime, ChannelId};

/// What is on record of all channels.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Outcomes on record, by channel.
    pub outcomes: BTreeMap<ChannelId, OnRecord>,
    /// Deposits, by channel.
    pub held: BTreeMap<ChannelId, Amount>,
    /// The newest block's time.
    pub now: ChainTime,
    /// Headers already read: several members see the same block.
    read: BTreeSet<B256>,
}

/// The outcome on record of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnRecord {
    /// What will be paid or reclaimed.
    pub outcome: Outcome,
    /// The state's hash as the contract keeps it: zero after `conclude`.
    pub state_hash: B256,
    /// From when on it is final.
    pub finalizes_at: ChainTime,
}

impl Record {
    /// Reads a block. `agreed` finds the outcome that a channel was concluded with.
    pub fn learn(&mut self, block: &Block, agreed: impl Fn(ChannelId) -> Option<Outcome>) {
        if !self.read.insert(block.header.hash) {
            return;
        }
        self.now = self.now.max(block.header.time);
        let mut shown = block.calldata.as_ref().map_or_else(Vec::new, |c| c.reclaims.clone());
        for log in &block.logs {
            let named = shown.iter().position(|r| is_reclaim_of(&log.log, r.ledger));
            self.log(&log.log, named.map(|at| shown.remove(at).target), &agreed);
        }
    }

    /// `named` is what the calldata says of a reclaim.
    fn log(
        &mut self,
        log: &Log,
        named: Option<ChannelId>,
        agreed: &impl Fn(ChannelId) -> Option<Outcome>,
    ) {
        match log {
            Log::Deposited { channel, held, .. } => {
                self.held.insert(*channel, *held);
            }
            Log::ChallengeRegistered { channel, finalizes_at, candidate } => {
                let (outcome, state_hash) =
                    (candidate.state.outcome.clone(), candidate.state.hash());
                let finalizes_at = *finalizes_at;
                let entry = OnRecord { outcome, state_hash, finalizes_at };
                self.outcomes.insert(*channel, entry);
            }
            Log::ChallengeCleared { channel, .. } | Log::Checkpointed { channel, .. } => {
                self.outcomes.remove(channel);
            }
            Log::Concluded { channel, finalizes_at } => {
                if let Some(outcome) = agreed(*channel) {
                    let (state_hash, finalizes_at) = (B256::ZERO, *finalizes_at);
                    let entry = OnRecord { outcome, state_hash, finalizes_at };
                    self.outcomes.insert(*channel, entry);
                }
            }
            Log::AllocationUpdated { channel, after, .. } => self.paid_out(*channel, *after),
            Log::Reclaimed { channel, .. } => self.reclaimed(*channel, named),
        }
    }

    /// Most payouts pay everybody; another one is read wrongly, and the next call reverts.
    fn paid_out(&mut self, channel: ChannelId, after: Amount) {
        let held = self.held.insert(channel, after).unwrap_or_default();
        let exit = self.outcomes.get_mut(&channel).and_then(|r| r.outcome.first_mut());
        if let Some(exit) = exit
            && let Ok(paid) = compute_transfer(held, &exit.allocations, &[], true)
        {
            exit.allocations = paid.allocations;
        }
    }

    /// The log does not say which guarantee: the one that the calldata names, or the first one that can be meant.
    fn reclaimed(&mut self, channel: ChannelId, named: Option<ChannelId>) {
        let Some((slot, target)) = self.guarantees(channel).into_iter().find(|(_, target)| {
            named.map_or_else(|| self.is_final(*target), |named| named == *target)
        }) else {
            return;
        };
        let parts = allocations(self.outcomes.get(&target)).to_vec();
        if let Ok(left) = compute_reclaim(allocations(self.outcomes.get(&channel)), &parts, slot)
            && let Some(exit) = self.outcomes.get_mut(&channel).and_then(|r| r.outcome.first_mut())
        {
            exit.allocations = left;
        }
    }

    /// Whether the outcome on record is final.
    pub fn is_final(&self, channel: ChannelId) -> bool {
        self.outcomes.get(&channel).is_some_and(|r| r.finalizes_at <= self.now)
    }

    /// Whether a challenge of this channel runs.
    pub fn running(&self, channel: ChannelId) -> Option<&OnRecord> {
        self.outcomes.get(&channel).filter(|r| r.finalizes_at > self.now)
    }

    /// Slots and targets of the guarantees in the outcome on record.
    pub fn guarantees(&self, channel: ChannelId) -> Vec<(u64, ChannelId)> {
        let entries = (0u64..).zip(allocations(self.outcomes.get(&channel)));
        entries
            .filter(|(_, a)| {
                a.allocation_type == AllocationType::GUARANTEE && !a.destination.is_external()
            })
            .map(|(slot, a)| (slot, ChannelId(a.destination.0)))
            .collect()
    }

    /// The payout of everything that is on record of a channel.
    pub fn transfer_all(&self, channel: ChannelId) -> Option<Call> {
        let OnRecord { outcome, state_hash, .. } = self.outcomes.get(&channel)?.clone();
        Some(Call::TransferAllAssets { channel, outcome, state_hash })
    }

    /// The payout of some entries.
    pub fn transfer(&self, channel: ChannelId, indices: Vec<u64>) -> Option<Call> {
        let OnRecord { outcome, state_hash, .. } = self.outcomes.get(&channel)?.clone();
        Some(Call::Transfer { asset_index: 0, channel, outcome, state_hash, indices })
    }

    /// The reclaim of one guarantee.
    pub fn reclaim(&self, source: ChannelId, slot: u64, target: ChannelId) -> Option<Call> {
        let (from, to) = (self.outcomes.get(&source)?, self.outcomes.get(&target)?);
        Some(Call::Reclaim(ReclaimArgs {
            source_channel: source,
            source_state_hash: from.state_hash,
            source_outcome: from.outcome.clone(),
            source_asset_index: 0,
            index_of_target_in_source: slot,
            target_state_hash: to.state_hash,
            target_outcome: to.outcome.clone(),
            target_asset_index: 0,
        }))
    }

    /// The reclaims of the last half of a channel's guarantees, the last one first; each shows what the one before leaves.
    pub fn reclaims_from_the_end(&self, source: ChannelId) -> Vec<Call> {
        let mut ahead = self.clone();
        let guarantees = self.guarantees(source);
        let half = guarantees.len().div_ceil(2);
        let mut calls = Vec::new();
        for (slot, target) in guarantees.into_iter().rev().take(half) {
            calls.extend(ahead.reclaim(source, slot, target));
            ahead.reclaimed(source, Some(target));
        }
        calls
    }

    /// A deposit on top of what lies there.
    pub fn deposit(&self, channel: ChannelId, amount: Amount) -> Call {
        let expected_held = self.held.get(&channel).copied().unwrap_or_default();
        Call::Deposit { asset: Default::default(), channel, expected_held, amount }
    }
}

fn is_reclaim_of(log: &Log, ledger: ChannelId) -> bool {
    matches!(log, Log::Reclaimed { channel, .. } if *channel == ledger)
}

fn allocations(record: Option<&OnRecord>) -> &[Allocation] {
    record.and_then(|r| r.outcome.first()).map_or(&[], |exit| &exit.allocations)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::{block_at, irene, virtual_fixed};
    use super::*;
    use fairway_core::ledger::{Guarantee, Layout};
    use fairway_core::types::Address;

    #[test]
    fn a_challenge_is_on_record_until_it_is_cleared_and_final_at_its_time() {
        let mut record = Record::default();
        let signed = unanimous(&update(2, [4, 6]));
        record.learn(&challenge_block(&signed), |_| None);
        assert!(record.running(channel()).is_some());
        record.now = ChainTime(600);
        assert!(record.is_final(channel()));
        assert!(record.transfer_all(channel()).is_some());
        let mut cleared = cleared_block(3);
        cleared.header.hash = B256::repeat_byte(1);
        record.learn(&cleared, |_| None);
        assert_eq!(record.transfer_all(channel()), None);
    }

    /// Goal: half of the guarantees go, the last one first, each call showing what the one before left; with the calldata the record
    /// knows which went, without it the first ones are taken for gone.
    #[test]
    fn reclaims_from_the_end_leave_the_first_guarantees() {
        let [first, second, third] = [1, 2, 3].map(|n| ChannelId(B256::repeat_byte(n)));
        let parties = [alice().address(), irene().address()];
        let (asset, amount, [left, right]) = (Address::ZERO, Amount::ether(1), parties);
        let balances = [Amount::ether(9), Amount::ether(2)];
        let mut layout = Layout { asset, guarantees: Default::default(), parties, balances };
        let people = virtual_fixed().participants;
        let paid = fairway_core::virtual_channel::outcome(&people, asset, amount, Amount::ZERO);
        let final_ = |outcome| {
            let (state_hash, finalizes_at) = (B256::ZERO, ChainTime(0));
            OnRecord { outcome, state_hash, finalizes_at }
        };
        let mut record = Record::default();
        for target in [first, second, third] {
            layout.add(Guarantee { target, amount, left, right }).expect("there are 9 ETH");
            record.outcomes.insert(target, final_(paid.clone().expect("nothing is paid")));
        }
        record.outcomes.insert(channel(), final_(layout.outcome()));
        let calls = record.reclaims_from_the_end(channel());
        let targets: Vec<_> =
            calls.iter().filter_map(|c| Some(c.unlogged_reclaim()?.target)).collect();
        assert_eq!(targets, [third, second]);
        let log = || Log::Reclaimed { channel: channel(), asset_index: 0 };
        let block = block_at(5, [log(), log()]);
        let left = |record: &Record| record.guarantees(channel());
        let mut blind = record.clone();
        blind.learn(&block, |_| None);
        assert_eq!(left(&blind), [(0, third)]);
        record.learn(&block.with_calldata(&calls), |_| None);
        assert_eq!(left(&record), [(0, first)]);
    }
}
