//! Transactions before they are mined: delayed, dropped, crowded out, ordered by whoever builds the block.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_core::chain_types::BlockRef;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, BlockNum, Timestamp};

use super::{Choice, Failure, draw};

/// A transaction's number, counting from 0 in the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u32);

impl TxId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
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

/// A fee spike, full blocks or censorship: somebody's transactions are not mined for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Congestion {
    /// The first block in which everybody is mined again.
    pub until: BlockNum,
    /// Whose transactions wait.
    pub victims: Victims,
}

/// Whom a [`Congestion`] hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victims {
    /// Everybody but those who pay the fee.
    AllBut(BTreeSet<Address>),
    /// Only these.
    Only(BTreeSet<Address>),
}

impl Congestion {
    fn delays(&self, from: Address, number: BlockNum) -> bool {
        number < self.until
            && match &self.victims {
                Victims::AllBut(payers) => !payers.contains(&from),
                Victims::Only(victims) => victims.contains(&from),
            }
    }
}

/// Pending transactions in the order of submission, and what delays them.
#[derive(Clone, Debug, Default)]
pub(super) struct Mempool {
    pending: Vec<Pending>,
    faults: MempoolFaults,
    congestion: Option<Congestion>,
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

    /// Starts, replaces or ends a congestion.
    pub fn set_congestion(&mut self, congestion: Option<Congestion>) {
        self.mempool.congestion = congestion;
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
        choice: &mut Choice<'_>,
    ) -> Vec<TxId> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        self.draw_delays(number, txs, choice);
        let mut ready = self.ready(number, txs);
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

    /// What may be mined now. A transaction that waits holds up its sender's later ones, as a nonce gap does.
    fn ready(&self, number: BlockNum, txs: &[Submission]) -> Vec<TxId> {
        let mut held_up = BTreeSet::new();
        let mut ready = Vec::new();
        for pending in &self.pending {
            let from = txs[pending.id.index()].from;
            let waits = pending.earliest.is_none_or(|earliest| number < earliest)
                || self.congestion.as_ref().is_some_and(|c| c.delays(from, number));
            if waits {
                held_up.insert(from);
            } else if !held_up.contains(&from) {
                ready.push(pending.id);
            }
        }
        ready
    }
}

/// Positions of each sender's first transaction.
fn firsts_of_senders(ready: &[TxId], txs: &[Submission]) -> Vec<usize> {
    let mut senders = BTreeSet::new();
    (0..ready.len()).filter(|i| senders.insert(txs[ready[*i].index()].from)).collect()
}
