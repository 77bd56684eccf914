//! Reorganizations: the last blocks never happened, others did.

use std::sync::Arc;

use fairway_core::chain_types::{Block, BlockRef};
use fairway_core::nitro::Recover;
use fairway_core::types::{BlockNum, ChainTime};

use super::{Branch, ChainSim, Choice, Fate, SNAPSHOTS_MAX, TxId, draw};

/// What happens to the transactions of the blocks that are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReorgPolicy {
    /// The same transactions in the same blocks, only with other hashes.
    Replay,
    /// All are mined on the new branch, in drawn blocks and order; one sender's stay in order.
    Reorder,
    /// They go back to the mempool and are mined after the new branch's head.
    Late,
    /// They are gone; whoever still wants them submits them again.
    Drop,
    /// Reorder, late or drop, drawn for each at `chain.reorg.tx`.
    Drawn,
}

/// What a reorganization did.
#[derive(Clone, Debug, PartialEq)]
pub struct Reorg {
    /// The last block that both branches share.
    pub fork: BlockRef,
    /// The blocks that are canonical no more, lowest first.
    pub dropped: Vec<Arc<Block>>,
    /// The new head: one block higher than the old one.
    pub head: BlockRef,
}

/// Why a reorganization cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReorgError {
    /// Nothing would change.
    #[error("a reorganization drops at least one block")]
    DepthZero,
    /// The genesis block stays, and snapshots are kept for [`SNAPSHOTS_MAX`] blocks only.
    #[error("reorganization of {depth} blocks, at most {depth_max} can be undone")]
    TooDeep {
        /// What was asked for.
        depth: u64,
        /// What is possible now.
        depth_max: u64,
    },
}

impl ChainSim {
    /// How deep a reorganization can be now.
    pub fn reorg_depth_max(&self) -> u64 {
        (self.recent.len() - 1).min(SNAPSHOTS_MAX) as u64
    }

    /// Replaces the last `depth` blocks by `depth + 1` others. Storage and balances go back to the fork first; the new
    /// blocks have the times of the old ones, the additional one has `now`.
    ///
    /// # Errors
    /// [`ReorgError`]; nothing has changed.
    pub fn reorg(
        &mut self,
        depth: u64,
        policy: ReorgPolicy,
        now: ChainTime,
        crypto: &mut dyn Recover,
        choice: &mut Choice<'_>,
    ) -> Result<Reorg, ReorgError> {
        let depth_max = self.reorg_depth_max();
        if depth == 0 {
            return Err(ReorgError::DepthZero);
        }
        if depth > depth_max {
            return Err(ReorgError::TooDeep { depth, depth_max });
        }
        let (dropped, bodies) = self.cut(depth as usize);
        let fork = self.head();
        self.branch += 1;
        self.abandoned = Some(Branch { fork: fork.number, blocks: dropped.clone() });

        if policy == ReorgPolicy::Replay {
            for (block, body) in dropped.iter().zip(bodies) {
                self.extend(block.header.time, body, crypto);
            }
        } else {
            self.reschedule(bodies.into_iter().flatten(), policy, fork.number, depth, choice);
            for block in &dropped {
                self.mine(block.header.time, crypto, choice);
            }
        }
        let head = self.mine(now, crypto, choice);
        assert_eq!(head.number.0, fork.number.0 + depth + 1, "the new branch is one block longer");
        Ok(Reorg { fork, dropped, head })
    }

    /// Takes the last blocks off, with everything that they did.
    fn cut(&mut self, depth: usize) -> (Vec<Arc<Block>>, Vec<Vec<TxId>>) {
        let dropped = self.blocks.split_off(self.blocks.len() - depth);
        let recent = self.recent.split_off(self.recent.len() - depth);
        let bodies: Vec<_> = recent.into_iter().map(|recent| recent.body).collect();
        for id in bodies.iter().flatten() {
            let tx = &mut self.txs[id.index()];
            tx.fate = Fate::Pending;
            *self.nonces.entry(tx.from).or_default() -= 1;
        }
        (dropped, bodies)
    }

    fn reschedule(
        &mut self,
        txs: impl Iterator<Item = TxId>,
        policy: ReorgPolicy,
        fork: BlockNum,
        depth: u64,
        choice: &mut Choice<'_>,
    ) {
        let mut back = Vec::new();
        for id in txs {
            let policy = match policy {
                ReorgPolicy::Drawn => match draw(choice, "chain.reorg.tx", 3) {
                    0 => ReorgPolicy::Reorder,
                    1 => ReorgPolicy::Late,
                    _ => ReorgPolicy::Drop,
                },
                fixed => fixed,
            };
            match policy {
                ReorgPolicy::Late => back.push((id, BlockNum(fork.0 + depth + 2))),
                ReorgPolicy::Drop => self.txs[id.index()].fate = Fate::Dropped,
                ReorgPolicy::Replay | ReorgPolicy::Reorder | ReorgPolicy::Drawn => {
                    let skipped = draw(choice, "chain.reorg.block", depth + 1);
                    back.push((id, BlockNum(fork.0 + 1 + skipped)));
                }
            }
        }
        self.mempool.put_back(back);
    }
}
