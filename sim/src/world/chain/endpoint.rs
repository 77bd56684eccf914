//! The chain as a node's RPC endpoint tells it: late, partly, twice, or not at all.

use std::sync::Arc;

use fairway_core::account::Head;
use fairway_core::chain_types::{Block, BlockRef};
use fairway_core::types::{Address, BlockNum, ChannelId};

use super::ChainSim;

/// One RPC endpoint. A node may have several; two nodes may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(pub u32);

/// How an endpoint lies. The default tells the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointFaults {
    /// Once the canonical head is here, the endpoint tells the truth again.
    pub until: BlockNum,
    /// It does not answer.
    pub outage: bool,
    /// It does not know the last so many blocks.
    pub stale_blocks: u64,
    /// It missed the last reorganization and still follows the branch that was left.
    pub on_abandoned_branch: bool,
    /// What it does to logs.
    pub logs: LogFault,
}

impl Default for EndpointFaults {
    fn default() -> EndpointFaults {
        EndpointFaults {
            until: BlockNum(u64::MAX),
            outage: false,
            stale_blocks: 0,
            on_abandoned_branch: false,
            logs: LogFault::None,
        }
    }
}

/// What an endpoint does to a block's logs; header and bloom stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// Nothing.
    None,
    /// It leaves all of them out.
    Withheld,
    /// It leaves those of one channel out.
    WithheldOf(ChannelId),
    /// It tells each twice, with the same index.
    Duplicated,
    /// It tells all, and does not know the transactions behind them.
    WithoutCalldata,
}

/// A branch that was left.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The last block that it shares with what was canonical afterwards.
    pub fork: BlockNum,
    /// Its blocks above the fork, lowest first.
    pub blocks: Vec<Arc<Block>>,
}

/// An endpoint's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it takes for the head.
    pub head: BlockRef,
    /// Consecutive blocks from the one asked for, none beyond `head`.
    pub blocks: Vec<Block>,
}

/// The endpoint does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint does not answer")]
pub struct Outage;

impl ChainSim {
    /// Makes an endpoint lie from now on, until [`EndpointFaults::until`] or [`ChainSim::heal`].
    pub fn set_faults(&mut self, endpoint: Endpoint, faults: EndpointFaults) {
        self.endpoints.insert(endpoint, faults);
    }

    /// Makes an endpoint tell the truth.
    pub fn heal(&mut self, endpoint: Endpoint) {
        self.endpoints.remove(&endpoint);
    }

    /// Makes every endpoint tell the truth, ends a fee spike and every mempool fault.
    pub fn heal_all(&mut self) {
        self.endpoints.clear();
        self.set_base_fee(super::ORDINARY_FEE);
        self.set_mempool(super::MempoolFaults::default());
    }

    /// What `endpoint` answers when it is asked for at most `blocks_max` blocks from number `from`.
    ///
    /// # Errors
    /// [`Outage`]; ask later, or another endpoint.
    pub fn report(
        &self,
        endpoint: Endpoint,
        from: BlockNum,
        blocks_max: usize,
    ) -> Result<Report, Outage> {
        let faults = self.faults_of(endpoint);
        if faults.outage {
            return Err(Outage);
        }
        let (shared, above) = self.branch_seen_by(&faults);
        let known = shared.len() + above.len();
        let stale = usize::try_from(faults.stale_blocks).unwrap_or(usize::MAX);
        let visible = known.saturating_sub(stale).max(1);
        let from = usize::try_from(from.0).unwrap_or(usize::MAX).min(visible);
        let count = blocks_max.min(visible - from);
        let all = || shared.iter().chain(above);
        let head = all().nth(visible - 1).map_or_else(|| self.head(), |block| block.header);
        let blocks = all().skip(from).take(count).map(|block| garble(block, faults.logs)).collect();
        Ok(Report { head, blocks })
    }

    /// What `endpoint` tells an account about itself. Its estimate of the fee is what gas costs as a rule: it does not follow a spike.
    ///
    /// # Errors
    /// [`Outage`].
    pub fn account_head(&self, endpoint: Endpoint, who: Address) -> Result<Head, Outage> {
        let head = self.report(endpoint, BlockNum(u64::MAX), 0)?.head;
        let unseen = self.head().number.0.saturating_sub(head.number.0);
        let unseen = self.recent.iter().rev().take(usize::try_from(unseen).unwrap_or(usize::MAX));
        let mine = unseen.flat_map(|r| &r.body).filter(|id| self.txs[id.index()].from == who);
        let nonce = self.nonce_of(who).saturating_sub(mine.count() as u64);
        let (number, time, base_fee) = (head.number, head.time, super::ORDINARY_FEE);
        Ok(Head { number, time, nonce, base_fee, balance: None })
    }

    fn faults_of(&self, endpoint: Endpoint) -> EndpointFaults {
        let faults = self.endpoints.get(&endpoint).copied().unwrap_or_default();
        if self.head().number < faults.until { faults } else { EndpointFaults::default() }
    }

    /// The blocks from genesis, in two parts.
    fn branch_seen_by(&self, faults: &EndpointFaults) -> (&[Arc<Block>], &[Arc<Block>]) {
        match &self.abandoned {
            Some(branch) if faults.on_abandoned_branch => {
                let fork = usize::try_from(branch.fork.0).unwrap_or(usize::MAX);
                let shared = fork.saturating_add(1).min(self.blocks.len());
                (&self.blocks[..shared], &branch.blocks)
            }
            Some(_) | None => (&self.blocks, &[]),
        }
    }
}

fn garble(block: &Block, fault: LogFault) -> Block {
    let mut garbled = block.clone();
    match fault {
        LogFault::None => {}
        LogFault::Withheld => {
            garbled.logs.clear();
            garbled.calldata = None;
        }
        LogFault::WithheldOf(channel) => {
            garbled.logs.retain(|l| l.log.channel() != channel);
            garbled.calldata = garbled.calldata.map(|said| Box::new(said.without(channel)));
        }
        LogFault::Duplicated => {
            garbled.logs = block.logs.iter().flat_map(|l| [l.clone(), l.clone()]).collect();
        }
        LogFault::WithoutCalldata => garbled.calldata = None,
    }
    garbled
}
