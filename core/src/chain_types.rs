//! Blocks as a node sees them.
use crate::nitro::Log;
use crate::types::{BlockNum, ChainTime, ChannelId};
use alloc::vec::Vec;
use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

/// Names a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockRef {
    /// Height.
    pub number: BlockNum,
    /// Hash.
    pub hash: B256,
    /// Parent hash.
    pub parent: B256,
    /// Timestamp.
    pub time: ChainTime,
}
/// A log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedLog {
    /// Index in the block.
    pub index: u32,
    /// The log.
    pub log: Log,
}
/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Header.
    pub header: BlockRef,
    /// Logs.
    pub logs: Vec<IndexedLog>,
}
impl Block {
    /// Bloom.
    pub fn bloom_may_contain(&self, _c: ChannelId) -> bool {
        false
    }
}
