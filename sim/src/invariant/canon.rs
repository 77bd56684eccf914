//! The canonical chain as the world showed it, block by block, for comparison with what nodes have logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::chain_types::{B256, Block, BlockRef};
use fairway_core::nitro::Log;
use fairway_core::types::{Address, Amount, BlockNum, ChannelId};

use super::view::Fact;
use crate::world::chain::ChainSim;

/// The canonical chain, and every block with logs that ever was canonical.
#[derive(Debug, Default)]
pub(super) struct Canon {
    hashes: Vec<B256>,
    logs: BTreeMap<ChannelId, Vec<(BlockNum, Log)>>,
    with_logs: BTreeMap<B256, Arc<Block>>,
    /// Changes with every log that is added or taken back.
    pub version: u64,
    /// The highest canonical block with a log.
    pub newest_log: Option<BlockNum>,
}

impl Canon {
    /// Takes over what the chain looks like now.
    pub fn follow(&mut self, chain: &ChainSim) {
        let blocks = chain.canonical();
        let shared = |hashes: &[B256]| {
            let last = hashes.len().checked_sub(1)?;
            blocks.get(last).map(|b| b.header.hash == hashes[last])
        };
        // Every block names its parent: where one hash agrees, everything below does.
        while !self.hashes.is_empty() && shared(&self.hashes) != Some(true) {
            self.hashes.pop();
        }
        self.cut();
        for block in &blocks[self.hashes.len()..] {
            self.hashes.push(block.header.hash);
            if block.logs.is_empty() {
                continue;
            }
            self.version += 1;
            self.newest_log = Some(block.header.number);
            self.with_logs.insert(block.header.hash, Arc::clone(block));
            for l in &block.logs {
                let logs = self.logs.entry(l.log.channel()).or_default();
                logs.push((block.header.number, l.log.clone()));
            }
        }
    }

    /// Takes back logs above the last block that is kept.
    fn cut(&mut self) {
        let height = self.hashes.len() as u64;
        if self.newest_log.is_none_or(|newest| newest.0 < height) {
            return;
        }
        self.version += 1;
        self.newest_log = None;
        for logs in self.logs.values_mut() {
            logs.retain(|(block, _)| block.0 < height);
            self.newest_log = self.newest_log.max(logs.last().map(|(block, _)| *block));
        }
    }

    /// Whether the block is canonical.
    pub fn contains(&self, block: &BlockRef) -> bool {
        let at = usize::try_from(block.number.0).ok();
        at.and_then(|i| self.hashes.get(i)) == Some(&block.hash)
    }

    /// The block with this hash, canonical or not, if it has logs.
    pub fn block_with_logs(&self, hash: B256) -> Option<&Block> {
        self.with_logs.get(&hash).map(Arc::as_ref)
    }

    /// What the channel holds of `asset` after the block at `height`.
    pub fn held(&self, channel: ChannelId, asset: Address, height: BlockNum) -> Amount {
        let logs = self.logs.get(&channel).map_or(&[][..], Vec::as_slice);
        let until = logs.iter().take_while(|(block, _)| *block <= height);
        until.fold(Fact::default(), |fact, (_, log)| fact.after(log, asset)).held
    }
}
