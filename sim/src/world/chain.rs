//! The simulated chain: blocks, a mempool, accounts, reorganizations and the endpoints that nodes see it through.
//!
//! What the adjudicator does is decided by the model in core, with the deployed contracts beside it where the scenario wants them
//! ([`ChainSim::deploy_contracts`]); this is what a chain adds to it. Time is the engine's: it
//! calls [`ChainSim::mine`]. Chance is the tape's: every draw goes through a [`Choice`]. Gas and fees are not money here
//! (the entitlement of a party excludes them); what a block takes for gas decides who is mined ([`ChainSim::set_base_fee`]).
//!
//! Faults: protocol.md F19 to F28.

mod endpoint;
mod ledger;
#[cfg(feature = "evm")]
mod lockstep;
#[cfg(not(feature = "evm"))]
#[path = "chain/no_lockstep.rs"]
mod lockstep;
mod mempool;
mod reorg;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::sync::Arc;

use fairway_core::chain_types::{B256, Block, BlockRef};
use fairway_core::nitro::adjudicator::{Adjudicator, Status};
use fairway_core::nitro::{Call, Log, Recover};
use fairway_core::types::{Address, Amount, BlockNum, ChainTime, ChannelId, Timestamp};

pub use endpoint::{Branch, Endpoint, EndpointFaults, LogFault, Outage, Report};
pub use ledger::Failure;
pub use mempool::{Bid, Fate, MempoolFaults, ORDINARY_FEE, SPIKE_FEE, Submission, TxId};
pub use reorg::{Reorg, ReorgError, ReorgPolicy};

use ledger::{Ledger, Tx};
use mempool::Mempool;

use crate::evm::Unavailable;

/// Draws a number below `n` at a named site; the tape answers.
pub type Choice<'a> = dyn FnMut(&'static str, u64) -> u64 + 'a;

/// How deep a reorganization can reach, and how far back [`ChainSim::adjudicator_at`] can look.
pub const SNAPSHOTS_MAX: usize = 64;

/// How a panic begins that says that the model did something else than the deployed contracts: a bug of the simulation, not of a node.
pub const DISAGREEMENT: &str = "model and contracts disagree";

/// The chain of one simulated world.
///
/// Cheap to clone: blocks and snapshots are shared, and the storage is copied only when a block with transactions is
/// mined on top of a shared one.
///
/// ```text
/// submit ─> mempool ─mine─> head block ─> endpoints' reports
///              ^                │
///              └────reorg───────┘   (replayed, reordered, late, or gone)
/// ```
#[derive(Clone, Debug)]
pub struct ChainSim {
    /// The canonical chain; the genesis block stands first, so the index is the number.
    blocks: Vec<Arc<Block>>,
    /// The last blocks' transactions and what they left behind. Invariant: never empty, the last one is the head's.
    recent: VecDeque<Recent>,
    txs: Vec<Submission>,
    mempool: Mempool,
    /// How many transactions of each sender the canonical chain has.
    nonces: BTreeMap<Address, u64>,
    /// Whose receipt of native tokens reverts.
    refusing: BTreeSet<Address>,
    endpoints: BTreeMap<Endpoint, EndpointFaults>,
    /// Counts reorganizations; part of every block's hash, so that branches differ.
    branch: u64,
    /// The branch that the last reorganization left.
    abandoned: Option<Branch>,
}

/// One block's transactions in order, and the storage after it.
#[derive(Clone, Debug)]
struct Recent {
    body: Vec<TxId>,
    after: Arc<Ledger>,
}

impl ChainSim {
    /// A chain with a genesis block and nothing in it but an adjudicator.
    pub fn new(genesis_time: ChainTime, adjudicator: Adjudicator) -> ChainSim {
        let hash = B256::from(*blake3::hash(&genesis_time.0.to_be_bytes()).as_bytes());
        let header = BlockRef { hash, time: genesis_time, ..BlockRef::default() };
        let after = Arc::new(Ledger::new(adjudicator));
        ChainSim {
            blocks: vec![Arc::new(Block { header, ..Block::default() })],
            recent: VecDeque::from([Recent { body: Vec::new(), after }]),
            txs: Vec::new(),
            mempool: Mempool::default(),
            nonces: BTreeMap::new(),
            refusing: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            branch: 0,
            abandoned: None,
        }
    }

    /// Executes every call on the deployed contracts too, the adjudicator's at `at` and the applications' where the model has them.
    /// After each transaction both must agree about its result and its logs, the whole storage, and what everybody owns; so all that
    /// the chain is asked is answered by both.
    ///
    /// # Errors
    /// The build has no EVM, or there is no bytecode; the chain is as it was.
    ///
    /// # Panics
    /// Somebody was funded before. Later, in a block: a disagreement, the message begins with [`DISAGREEMENT`] and has the call.
    pub fn deploy_contracts(&mut self, at: Address) -> Result<(), Unavailable> {
        assert_eq!(self.blocks.len(), 1, "contracts are deployed at genesis");
        Arc::make_mut(&mut self.recent[0].after).deploy(at)
    }

    /// Gives `who` money, as if it had been there since genesis: a reorganization does not take it back. An asset that is not the
    /// native one is a contract at its address, to which native tokens cannot be sent.
    ///
    /// # Panics
    /// When an asset's supply would reach 2^256.
    pub fn fund(&mut self, asset: Address, who: Address, amount: Amount) {
        if !asset.is_zero() {
            self.refuse_payments(asset);
        }
        for recent in &mut self.recent {
            Arc::make_mut(&mut recent.after).mint(asset, who, amount);
        }
    }

    /// Native tokens sent to `who` revert from now on: the recipient is a contract that refuses them.
    pub fn refuse_payments(&mut self, who: Address) {
        self.refusing.insert(who);
    }

    /// The end of [`ChainSim::refuse_payments`].
    pub fn accept_payments(&mut self, who: Address) {
        self.refusing.remove(&who);
    }

    /// Puts a transaction into the mempool that pays whatever a block takes. `at` is the simulation's time, kept for invariants.
    pub fn submit(&mut self, at: Timestamp, from: Address, call: Call) -> TxId {
        self.enter(at, from, call, Bid::Market)
    }

    fn enter(&mut self, at: Timestamp, from: Address, call: Call, bid: Bid) -> TxId {
        let id = TxId(
            u32::try_from(self.txs.len()).expect("a run submits fewer than 2^32 transactions"),
        );
        let (call, head) = (Arc::new(call), self.head());
        self.txs.push(Submission { id, from, call, at, head, bid, fate: Fate::Pending });
        self.mempool.push(id);
        id
    }

    /// Mines the next block: transactions whose delay is over and that offer enough, one sender's in their order, otherwise in drawn
    /// order. A block's time is at least one second after its parent's, whatever `now` is.
    pub fn mine(
        &mut self,
        now: ChainTime,
        crypto: &mut dyn Recover,
        choice: &mut Choice<'_>,
    ) -> BlockRef {
        let number = BlockNum(self.head().number.0 + 1);
        let body = self.mempool.take_body(number, &mut self.txs, &self.nonces, choice);
        let head = self.extend(now, body, crypto);
        self.drop_outrun();
        head
    }

    /// Executes `body` in a block on top of the head.
    fn extend(&mut self, now: ChainTime, body: Vec<TxId>, crypto: &mut dyn Recover) -> BlockRef {
        let parent = self.head();
        let time = ChainTime(now.0.max(parent.time.0 + 1));
        let mut after = Arc::clone(self.ledger());
        let mut logs = Vec::new();
        let mut results = Vec::with_capacity(body.len());
        for id in &body {
            let tx = &self.txs[id.index()];
            let ledger = Arc::make_mut(&mut after);
            let tx = Tx { time, from: tx.from, call: &tx.call };
            let result = ledger.execute(&tx, &self.refusing, crypto);
            results.push(result.map(|emitted| logs.extend(emitted)));
        }

        let number = BlockNum(parent.number.0 + 1);
        let header = BlockRef { number, hash: B256::ZERO, parent: parent.hash, time };
        let hash = self.hash(&header, &body, &results, &logs);
        let header = BlockRef { hash, ..header };
        for (id, result) in body.iter().zip(results) {
            let tx = &mut self.txs[id.index()];
            assert_eq!(tx.fate, Fate::Pending, "{id:?} was mined twice");
            tx.fate = Fate::Included { block: header, result };
            let nonce = self.nonces.entry(tx.from).or_default();
            assert!(!matches!(tx.bid, Bid::Fixed { nonce: n, .. } if n != *nonce), "{id:?}");
            *nonce += 1;
        }
        let mined = body.iter().map(|id| &self.txs[id.index()]);
        let succeeded = mined.filter(|tx| matches!(tx.fate, Fate::Included { result: Ok(()), .. }));
        let block = Block::new(header, logs).with_calldata(succeeded.map(|tx| &*tx.call));
        self.blocks.push(Arc::new(block));
        self.recent.push_back(Recent { body, after });
        if self.recent.len() > SNAPSHOTS_MAX + 1 {
            self.recent.pop_front();
        }
        header
    }

    /// Commits to the parent, the branch, and every transaction's sender, result and logs.
    fn hash(
        &self,
        header: &BlockRef,
        body: &[TxId],
        results: &[Result<(), Failure>],
        logs: &[Log],
    ) -> B256 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(header.parent.as_slice());
        for word in [header.number.0, header.time.0, self.branch] {
            hasher.update(&word.to_be_bytes());
        }
        for (id, result) in body.iter().zip(results) {
            let from = self.txs[id.index()].from;
            let line = match result {
                Ok(()) => writeln!(hasher, "{} {from} ok", id.0),
                Err(failure) => writeln!(hasher, "{} {from} {failure}", id.0),
            };
            line.expect("a hasher takes every byte");
        }
        if !logs.is_empty() {
            serde_json::to_writer(&mut hasher, logs).expect("logs are plain data");
        }
        B256::from(*hasher.finalize().as_bytes())
    }
}

/// What invariants and other parts of the world ask.
impl ChainSim {
    /// The canonical head.
    pub fn head(&self) -> BlockRef {
        self.blocks[self.blocks.len() - 1].header
    }

    /// The canonical chain from genesis; the index is the block number.
    pub fn canonical(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// The canonical block with this number.
    pub fn block_at(&self, number: BlockNum) -> Option<&Block> {
        let index = usize::try_from(number.0).ok()?;
        self.blocks.get(index).map(Arc::as_ref)
    }

    /// The branch that the last reorganization left, if there was one.
    pub fn abandoned(&self) -> Option<&Branch> {
        self.abandoned.as_ref()
    }

    /// The adjudicator at the head.
    pub fn adjudicator(&self) -> &Adjudicator {
        &self.ledger().adjudicator
    }

    /// The adjudicator `depth` blocks below the head; `None` below genesis or beyond [`SNAPSHOTS_MAX`].
    pub fn adjudicator_at(&self, depth: u64) -> Option<&Adjudicator> {
        let back = usize::try_from(depth).ok()?.checked_add(1)?;
        let recent = self.recent.get(self.recent.len().checked_sub(back)?)?;
        Some(&recent.after.adjudicator)
    }

    /// A channel's native holdings at the head.
    pub fn holdings(&self, channel: ChannelId) -> Amount {
        self.holdings_in(Address::ZERO, channel)
    }

    /// A channel's holdings of one asset at the head.
    pub fn holdings_in(&self, asset: Address, channel: ChannelId) -> Amount {
        self.adjudicator().held(asset, channel)
    }

    /// A channel's status word at the head.
    pub fn status(&self, channel: ChannelId) -> Status {
        self.adjudicator().status(channel)
    }

    /// What `who` owns outside the adjudicator in native tokens.
    pub fn balance_of(&self, who: Address) -> Amount {
        self.balance_in(Address::ZERO, who)
    }

    /// What `who` owns outside the adjudicator of one asset.
    pub fn balance_in(&self, asset: Address, who: Address) -> Amount {
        self.ledger().balance(asset, who)
    }

    /// Every transaction ever submitted, in order.
    pub fn submissions(&self) -> &[Submission] {
        &self.txs
    }

    /// One transaction.
    pub fn submission(&self, tx: TxId) -> Option<&Submission> {
        self.txs.get(tx.index())
    }

    /// What became of a transaction, on the canonical chain.
    pub fn receipt(&self, tx: TxId) -> Option<&Fate> {
        self.submission(tx).map(|s| &s.fate)
    }

    /// Commits to the canonical chain: every transaction in it, its result and its logs.
    pub fn digest(&self) -> B256 {
        self.head().hash
    }

    /// I11: in each asset, accounts and the adjudicator together own the supply, and the adjudicator owns what it owes.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check_conservation(&self) -> Result<(), String> {
        self.ledger().check_conservation()
    }

    fn ledger(&self) -> &Arc<Ledger> {
        &self.recent[self.recent.len() - 1].after
    }
}

/// Draws below `n`; a choice among one is none.
fn draw(choice: &mut Choice<'_>, site: &'static str, n: u64) -> u64 {
    if n <= 1 {
        return 0;
    }
    let drawn = choice(site, n);
    assert!(drawn < n, "{site} drew {drawn} of {n}");
    drawn
}
