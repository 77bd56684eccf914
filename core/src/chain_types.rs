//! What a node is told about the chain: blocks by reference, and the adjudicator's logs in them.
//!
//! Vocabulary only: which of several endpoints to believe, and what a reorganization undoes, is decided elsewhere.
//!
//! Source: Ethereum yellow paper 4.4 (header, `logsBloom`); `eth_getBlockByNumber`, `eth_getLogs`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use alloy_primitives::BloomInput;
use serde::{Deserialize, Serialize};

use crate::nitro::adjudicator::Reclaimed;
use crate::nitro::{Call, Claim, Log};
use crate::types::{BlockNum, ChainTime, ChannelId};

// Part of these types' fields: who builds a block needs no dependency of its own for them.
pub use alloy_primitives::{B256, Bloom};

/// Which block is meant, on which branch.
///
/// Invariant of a chain: a block's `parent` is the `hash` of the block one lower, and its `time` is greater.
/// Ordered by height first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BlockRef {
    /// Height; the genesis block has 0.
    pub number: BlockNum,
    /// The header's hash.
    pub hash: B256,
    /// The hash of the block one lower; zero in the genesis block.
    pub parent: B256,
    /// `block.timestamp`.
    pub time: ChainTime,
}

impl BlockRef {
    /// Whether `self` is the block directly on top of `below`.
    pub fn extends(&self, below: &BlockRef) -> bool {
        self.parent == below.hash && self.number.0.checked_sub(1) == Some(below.number.0)
    }
}

/// A log with its position in the block; a copy has the same index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedLog {
    /// `logIndex`. Increases within a block, over the logs of all contracts: gaps mean nothing.
    pub index: u32,
    /// What the adjudicator emitted.
    pub log: Log,
}

/// A block as an endpoint reports it: the header's fields are bound by its hash, the logs are the endpoint's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Which block.
    pub header: BlockRef,
    /// The header's `logsBloom`; `None` where it promises nothing beyond `logs`: it is empty, or the logs are proven to be all.
    pub bloom: Option<Box<Bloom>>,
    /// The adjudicator's logs, by index unless the endpoint garbled them.
    pub logs: Vec<IndexedLog>,
    /// What the calldata of the transactions behind those logs says beyond them; `None` is nothing. Where another contract made the
    /// call, the calldata is that of the inner call.
    pub calldata: Option<Box<Calldata>>,
}

/// What transactions of one block say and their logs do not. The endpoint's word: no hash binds it that a node checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calldata {
    /// The candidates of checkpoints and conclusions, whose logs name a turn and carry no signature.
    ///
    /// # Danger
    /// A peer that keeps its countersignature from us can put the state on record; without the calldata nobody can challenge but
    /// the peer, and the money of both lies locked.
    pub candidates: Vec<Claim>,
    /// The guarantees that were reclaimed; the logs name the ledger channel alone.
    ///
    /// # Danger
    /// The contract asks whoever goes on reclaiming for the outcome that the reclaims before have left. A peer that reclaims some of
    /// many guarantees leaves one out of very many, and the money of both lies locked until it is found.
    pub reclaims: Vec<Reclaimed>,
}

impl Calldata {
    /// What these calls say; `None` when that is nothing.
    fn of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Option<Box<Calldata>> {
        let mut said = Calldata::default();
        for call in calls {
            said.candidates.extend(call.unlogged_candidate().cloned());
            said.reclaims.extend(call.unlogged_reclaim());
        }
        (said != Calldata::default()).then(|| Box::new(said))
    }

    /// The same without what is about `channel`.
    #[must_use]
    pub fn without(mut self, channel: ChannelId) -> Calldata {
        self.candidates.retain(|c| c.state.fixed.channel_id() != channel);
        self.reclaims.retain(|r| r.ledger != channel);
        self
    }
}

impl Block {
    /// A block with these logs, in order of emission, and the bloom that they make.
    pub fn new(header: BlockRef, logs: impl IntoIterator<Item = Log>) -> Block {
        let logs: Vec<_> =
            (0u32..).zip(logs).map(|(index, log)| IndexedLog { index, log }).collect();
        Block { header, bloom: bloom_of(&logs), logs, calldata: None }
    }

    /// The same block with the calldata of these calls, which succeeded.
    #[must_use]
    pub fn with_calldata<'a>(self, calls: impl IntoIterator<Item = &'a Call>) -> Block {
        Block { calldata: Calldata::of(calls), ..self }
    }

    /// Every state that the block shows with signatures, in logs or calldata. Nothing about them was checked.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        let challenged = self.logs.iter().filter_map(|l| match &l.log {
            Log::ChallengeRegistered { candidate, .. } => Some(candidate),
            Log::Deposited { .. }
            | Log::AllocationUpdated { .. }
            | Log::ChallengeCleared { .. }
            | Log::Checkpointed { .. }
            | Log::Concluded { .. }
            | Log::Reclaimed { .. } => None,
        });
        challenged.chain(self.calldata.iter().flat_map(|c| &c.candidates))
    }

    /// Whether the header allows a log about `channel`. `false` is certain; `true` may be a coincidence.
    ///
    /// A block that may contain one and shows none was robbed of it, or met the coincidence: ask another endpoint. A log
    /// withheld beside another of the same channel does not show.
    pub fn bloom_may_contain(&self, channel: ChannelId) -> bool {
        self.bloom.as_ref().is_some_and(|bloom| bloom.contains_input(topic(&channel)))
    }

    /// Whether the header allows a log about `channel` while none is there.
    pub fn logs_may_be_missing(&self, channel: ChannelId) -> bool {
        self.bloom_may_contain(channel) && self.logs.iter().all(|l| l.log.channel() != channel)
    }
}

/// The channel is each event's one indexed argument, so its id is a topic of every log.
fn bloom_of(logs: &[IndexedLog]) -> Option<Box<Bloom>> {
    if logs.is_empty() {
        return None;
    }
    let mut bloom = Box::new(Bloom::ZERO);
    for IndexedLog { log, .. } in logs {
        bloom.accrue(topic(&log.channel()));
    }
    Some(bloom)
}

fn topic(channel: &ChannelId) -> BloomInput<'_> {
    BloomInput::Raw(channel.0.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TurnNum;

    fn channel(n: u8) -> ChannelId {
        ChannelId(B256::repeat_byte(n))
    }

    fn log(n: u8) -> Log {
        Log::Checkpointed { channel: channel(n), turn: TurnNum::POSTFUND }
    }

    #[test]
    fn a_withheld_log_shows_against_the_bloom() {
        let honest = Block::new(BlockRef::default(), [log(1), log(2)]);
        assert!(!honest.logs_may_be_missing(channel(1)));
        assert!(!honest.bloom_may_contain(channel(3)));
        let robbed = Block { logs: honest.logs[1..].to_vec(), ..honest };
        assert!(robbed.logs_may_be_missing(channel(1)));
        assert!(!robbed.logs_may_be_missing(channel(2)));
        assert!(!robbed.logs_may_be_missing(channel(3)));
    }

    #[test]
    fn an_empty_block_is_small_and_contains_nothing() {
        let block = Block::new(BlockRef::default(), []);
        assert_eq!(block.bloom, None);
        assert!(!block.bloom_may_contain(channel(1)));
        assert!(size_of::<Block>() <= 128);
    }

    #[test]
    fn a_block_survives_the_log() {
        let block = Block::new(BlockRef::default(), [log(1)]);
        let bytes = postcard::to_allocvec(&block).unwrap();
        assert_eq!(postcard::from_bytes::<Block>(&bytes), Ok(block));
    }

    #[test]
    fn a_block_extends_only_its_parent() {
        let hash = B256::repeat_byte(1);
        let below = BlockRef { hash, ..BlockRef::default() };
        let above = BlockRef { number: BlockNum(1), parent: hash, ..BlockRef::default() };
        assert!(above.extends(&below));
        assert!(!below.extends(&above));
        assert!(!BlockRef { number: BlockNum(2), ..above }.extends(&below));
    }
}
