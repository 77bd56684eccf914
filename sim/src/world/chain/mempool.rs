//! Transactions before they are mined: delayed, dropped, outbid, ordered by whoever builds the block.
//!
//! What an account signed itself ([`Bid::Fixed`]) is mined in the order of its nonces, once it offers the base fee, and replaced by what
//! offers an eighth more. For everybody else a wallet does that ([`Bid::Market`]): it numbers what is there, closes gaps, and pays what
//! the block takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::U256;
use fairway_core::account::{Answer, Tx, TxHash, replacement};
use fairway_core::chain_types::{B256, BlockRef};
use fairway_core::nitro::Call;
use fairway_core::types::{Address, BlockNum, FeePerGas, Timestamp};

use super::{Choice, Failure, draw};

/// A transaction's number, counting from 0 in the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u32);

impl TxId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// What an account knows it by.
    pub fn hash(self) -> TxHash {
        TxHash(B256::left_padding_from(&self.0.to_be_bytes()))
    }
}

/// What a transaction offers, and where it stands among its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bid {
    /// After the sender's earlier ones, for whatever a block takes.
    Market,
    /// As the sender signed it.
    Fixed {
        /// Mined when the sender has used all lower ones.
        nonce: u64,
        /// Mined when the base fee is not higher.
        fee: FeePerGas,
    },
}

/// A transaction that somebody submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its number.
    pub id: TxId,
    /// Who sent it, and pays for a deposit.
    pub from: Address,
    /// What it calls.
    pub call: Arc<Call>,
    /// When it was submitted, in the simulation's time.
    pub at: Timestamp,
    /// The canonical head at that moment.
    pub head: BlockRef,
    /// What it offers.
    pub bid: Bid,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a transaction, as the canonical chain has it now: a reorganization can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not mined yet.
    Pending,
    /// Mined; it may have failed.
    Included {
        /// Where.
        block: BlockRef,
        /// What it did.
        result: Result<(), Failure>,
    },
    /// It left the mempool and will not be mined.
    Dropped,
}

/// What the mempool does to transactions. The default is the perfect one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolFaults {
    /// How many of a thousand transactions are lost; drawn once for each, at `chain.drop`.
    pub drop_permille: u64,
    /// The most blocks that a transaction waits beyond the next one; drawn once for each, at `chain.delay`.
    pub delay_blocks_max: u64,
    /// How many transactions fit into a block.
    pub block_txs_max: usize,
}

impl Default for MempoolFaults {
    fn default() -> MempoolFaults {
        MempoolFaults { drop_permille: 0, delay_blocks_max: 0, block_txs_max: usize::MAX }
    }
}

/// Pending transactions in the order of submission, and what delays them.
#[derive(Clone, Debug, Default)]
pub(super) struct Mempool {
    pending: Vec<Pending>,
    faults: MempoolFaults,
    base_fee: BaseFee,
}

/// What a block takes for gas.
#[derive(Clone, Copy, Debug)]
struct BaseFee(FeePerGas);

impl Default for BaseFee {
    fn default() -> BaseFee {
        BaseFee(ORDINARY_FEE)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: TxId,
    /// The first block that may include it; `None` until it is drawn, when the next block is built.
    earliest: Option<BlockNum>,
}

impl super::ChainSim {
    /// How the mempool treats transactions from now on. Those already drawn keep their delay.
    pub fn set_mempool(&mut self, faults: MempoolFaults) {
        self.mempool.faults = faults;
    }

    /// What gas costs from the next block on.
    pub fn set_base_fee(&mut self, fee: FeePerGas) {
        self.mempool.base_fee = BaseFee(fee);
    }

    /// How many of the sender's transactions the canonical chain has.
    pub fn nonce_of(&self, from: Address) -> u64 {
        self.nonces.get(&from).copied().unwrap_or(0)
    }

    /// Puts a transaction into the mempool that its sender signed: it takes the place of a pending one of its nonce if it offers an eighth
    /// more. What is pending already is known by the name that it has.
    pub fn send(&mut self, at: Timestamp, from: Address, tx: &Tx) -> Answer {
        if tx.nonce < self.nonce_of(from) {
            return Answer::NonceUsed;
        }
        let old = self.pending_at(from, tx.nonce);
        if let Some((id, fee)) = old {
            if fee == tx.fee && *self.txs[id.index()].call == tx.call {
                return Answer::Taken(id.hash());
            }
            if replacement(fee).is_none_or(|least| tx.fee < least) {
                return Answer::Underpriced;
            }
            self.evict(id);
        }
        let bid = Bid::Fixed { nonce: tx.nonce, fee: tx.fee };
        Answer::Taken(self.enter(at, from, tx.call.clone(), bid).hash())
    }

    /// The pending transaction that a sender signed with this nonce, and what it offers.
    pub fn pending_at(&self, from: Address, nonce: u64) -> Option<(TxId, FeePerGas)> {
        self.mempool.pending.iter().find_map(|p| match self.txs[p.id.index()] {
            Submission { from: f, bid: Bid::Fixed { nonce: n, fee }, .. } => {
                (f == from && n == nonce).then_some((p.id, fee))
            }
            Submission { bid: Bid::Market, .. } => None,
        })
    }

    /// Whether a transaction is neither in the mempool nor on the canonical chain.
    pub fn has_dropped(&self, hash: TxHash) -> bool {
        let word = U256::from_be_bytes(hash.0.0);
        let tx = usize::try_from(word).ok().and_then(|index| self.txs.get(index));
        tx.is_none_or(|tx| tx.fate == Fate::Dropped)
    }

    /// Throws out what the chain can mine no more, its nonce being used.
    pub(super) fn drop_outrun(&mut self) {
        let outrun = self.mempool.pending.iter().map(|p| p.id).filter(|id| {
            let Submission { from, bid, .. } = self.txs[id.index()];
            matches!(bid, Bid::Fixed { nonce, .. } if nonce < self.nonce_of(from))
        });
        for id in outrun.collect::<Vec<_>>() {
            self.evict(id);
        }
    }

    /// Throws a pending transaction out, as a replacement or an eviction does. Says whether it was pending.
    pub fn evict(&mut self, tx: TxId) -> bool {
        let before = self.mempool.pending.len();
        self.mempool.pending.retain(|p| p.id != tx);
        let evicted = self.mempool.pending.len() < before;
        if evicted {
            self.txs[tx.index()].fate = Fate::Dropped;
        }
        evicted
    }
}

impl Mempool {
    pub(super) fn push(&mut self, id: TxId) {
        self.pending.push(Pending { id, earliest: None });
    }

    /// Puts transactions back, before all others: they were submitted earlier than whatever waits here.
    pub(super) fn put_back(&mut self, txs: impl IntoIterator<Item = (TxId, BlockNum)>) {
        let back = txs.into_iter().map(|(id, earliest)| Pending { id, earliest: Some(earliest) });
        self.pending.splice(..0, back);
    }

    /// Takes out what block `number` includes, in its order.
    pub(super) fn take_body(
        &mut self,
        number: BlockNum,
        txs: &mut [Submission],
        nonces: &BTreeMap<Address, u64>,
        choice: &mut Choice<'_>,
    ) -> Vec<TxId> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        self.draw_delays(number, txs, choice);
        let mut ready = self.ready(number, txs, nonces);
        let mut body = Vec::new();
        while !ready.is_empty() && body.len() < self.faults.block_txs_max {
            let firsts = firsts_of_senders(&ready, txs);
            let drawn = draw(choice, "chain.order", firsts.len() as u64);
            body.push(ready.remove(firsts[drawn as usize]));
        }
        self.pending.retain(|p| !body.contains(&p.id));
        body
    }

    /// Decides for each new transaction whether it is lost, and how long it waits.
    fn draw_delays(&mut self, next: BlockNum, txs: &mut [Submission], choice: &mut Choice<'_>) {
        let MempoolFaults { drop_permille, delay_blocks_max, .. } = self.faults;
        self.pending.retain_mut(|pending| {
            if pending.earliest.is_some() {
                return true;
            }
            if drop_permille > 0 && draw(choice, "chain.drop", 1000) < drop_permille {
                txs[pending.id.index()].fate = Fate::Dropped;
                return false;
            }
            let delay = draw(choice, "chain.delay", delay_blocks_max.saturating_add(1));
            pending.earliest = Some(BlockNum(next.0.saturating_add(delay)));
            true
        });
    }

    /// What may be mined now, each sender's in its order. A transaction that waits holds up its sender's later ones.
    fn ready(
        &self,
        number: BlockNum,
        txs: &[Submission],
        nonces: &BTreeMap<Address, u64>,
    ) -> Vec<TxId> {
        let mut held_up = BTreeSet::new();
        let mut ready = Vec::new();
        let mut signed: BTreeMap<Address, BTreeMap<u64, (usize, TxId)>> = BTreeMap::new();
        for (at, pending) in self.pending.iter().enumerate() {
            let Submission { from, bid, .. } = txs[pending.id.index()];
            let waits = pending.earliest.is_none_or(|earliest| number < earliest);
            match bid {
                Bid::Market if waits => drop(held_up.insert(from)),
                Bid::Market if held_up.contains(&from) => {}
                Bid::Market => ready.push((at, pending.id)),
                Bid::Fixed { fee, .. } if waits || fee < self.base_fee.0 => {}
                Bid::Fixed { nonce, .. } => {
                    signed.entry(from).or_default().insert(nonce, (at, pending.id));
                }
            }
        }
        for (from, by_nonce) in signed {
            let first = nonces.get(&from).copied().unwrap_or(0);
            let in_line = by_nonce.iter().zip(first..).take_while(|((n, _), next)| **n == *next);
            let ids: Vec<_> = in_line.map(|((_, place), _)| *place).collect();
            let mut places: Vec<usize> = ids.iter().map(|(at, _)| *at).collect();
            places.sort_unstable();
            ready.extend(places.into_iter().zip(ids.into_iter().map(|(_, id)| id)));
        }
        ready.sort_unstable();
        ready.into_iter().map(|(_, id)| id).collect()
    }
}

/// Positions of each sender's first transaction.
fn firsts_of_senders(ready: &[TxId], txs: &[Submission]) -> Vec<usize> {
    let mut senders = BTreeSet::new();
    (0..ready.len()).filter(|i| senders.insert(txs[ready[*i].index()].from)).collect()
}

/// What gas costs as a rule.
pub const ORDINARY_FEE: FeePerGas = FeePerGas::gwei(10);

/// What gas costs in a fee spike: five times what a node offers first.
pub const SPIKE_FEE: FeePerGas = FeePerGas::gwei(100);
