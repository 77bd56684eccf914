//! A development chain: one process's own chain of blocks around the adjudicator's model.
//!
//! One process runs it; others on the machine may use it through a unix socket ([`serve`], [`connect`]).
//!
//! It is for trying things out and for tests. It lives in memory and ends with the process; money on it is made at its start
//! and is worth nothing; there is no gas, no competition for inclusion and no reorganization. What the adjudicator does is
//! decided by core's model of the deployed contract.
//!
//! A block comes every `block_time`. Blocks are at least one second of *chain* time apart, as on Ethereum, so with faster blocks
//! the chain's time runs ahead of the wall's: durations of challenges count the chain's.

mod ledger;
mod mempool;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fairway_core::account::{Account, Head, Tx, Withheld};
use fairway_core::chain_types::{B256, Block, BlockRef};
use fairway_core::config::Config;
use fairway_core::effect::Urgency;
use fairway_core::effect::Wish;
use fairway_core::event::Pins;
use fairway_core::input::Input;
use fairway_core::nitro::{Call, Crypto};
use fairway_core::types::{Address, Amount, BlockNum, ChainTime, ChannelId, FeePerGas};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::WallClock;
use crate::inbox::{Inbox, Stopped};
use ledger::Ledger;
use mempool::Mempool;
pub use shared::{SharedError, connect, serve};

/// The id of development chains, as other tools use it.
pub const CHAIN_ID: u64 = 31_337;

/// What a node's log is pinned to on a development chain.
pub fn pins(me: Address) -> Pins {
    Pins {
        chain_id: CHAIN_ID,
        adjudicator: Address::repeat_byte(0xad),
        consensus_app: CONSENSUS_APP,
        me,
        confirmations: CONFIRMATIONS,
    }
}

/// Blocks after which a fact counts. Nothing is ever taken back here; two keep the node's waiting visible.
pub const CONFIRMATIONS: u32 = 2;

/// The application of direct channels.
pub const CONSENSUS_APP: Address = Address::repeat_byte(0xca);

/// The application that judges virtual channels.
pub const PAYMENT_APP: Address = Address::repeat_byte(0xfa);

/// Speaks to the chain; cheap to clone. The chain ends when the last one is dropped.
#[derive(Clone)]
pub struct DevChain(mpsc::Sender<Request>);

/// One node's way to the chain. Nothing here waits: what a busy chain does not take, the node asks for again.
pub struct Endpoint {
    chain: DevChain,
    me: Address,
    blocks_max: u64,
    inbox: Inbox,
}

/// A transaction's result, for who submitted it outside a node.
pub type Receipt = Result<BlockNum, String>;

enum Request {
    Join { who: Address, config: Box<Config>, inbox: Inbox },
    Wish { from: Address, wish: Option<Wish>, call: Call, urgency: Urgency, at_stake: u64 },
    Withdraw { from: Address, wish: Wish },
    Submit { from: Address, call: Call, receipt: oneshot::Sender<Receipt> },
    Fetch { from: BlockNum, blocks_max: u64, inbox: Inbox },
    Accounts(oneshot::Sender<Accounts>),
}

/// Who owns what at the head.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Native tokens outside the adjudicator.
    pub balances: BTreeMap<Address, Amount>,
    /// What the adjudicator holds for channels; nothing for those not listed.
    pub holdings: BTreeMap<ChannelId, Amount>,
    /// Whether every token is where it should be.
    pub is_conserved: bool,
    /// How many transactions were about each channel, reverted ones included.
    pub transactions: BTreeMap<ChannelId, u64>,
}

impl DevChain {
    /// Starts a chain on which the given accounts own native tokens. Runs on the caller's executor.
    pub fn start(block_time: Duration, accounts: BTreeMap<Address, Amount>) -> DevChain {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let mut chain =
            Chain::new(Ledger::new(CONSENSUS_APP, PAYMENT_APP, accounts), WallClock::start());
        tokio::spawn(async move { chain.run(block_time, requests).await });
        DevChain(sender)
    }

    /// One node's endpoint; the node hears of new blocks from now on. A node that was there before has forgotten its transactions.
    pub fn endpoint(&self, me: Address, config: &Config, inbox: Inbox) -> Endpoint {
        let blocks_max = config.blocks_max;
        let config = Box::new(config.clone());
        self.ask(Request::Join { who: me, config, inbox: inbox.clone() });
        Endpoint { chain: self.clone(), me, blocks_max, inbox }
    }

    /// Submits a call without a node, and waits for its block.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn execute(&self, from: Address, call: Call) -> Result<Receipt, Stopped> {
        let (receipt, result) = oneshot::channel();
        let request = Request::Submit { from, call, receipt };
        self.0.send(request).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Who owns what.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn accounts(&self) -> Result<Accounts, Stopped> {
        let (reply, accounts) = oneshot::channel();
        self.0.send(Request::Accounts(reply)).await.map_err(|_| Stopped)?;
        accounts.await.map_err(|_| Stopped)
    }

    fn ask(&self, request: Request) {
        // A chain that is too busy loses the request; nodes ask again.
        let _ = self.0.try_send(request);
    }
}

impl Endpoint {
    /// Takes on a transaction that the node wants, or notes that it still does: see [`Account::submit`].
    pub fn submit(&self, wish: Option<Wish>, call: Call, urgency: Urgency, at_stake: u64) {
        self.chain.ask(Request::Wish { from: self.me, wish, call, urgency, at_stake });
    }

    /// Takes note that the node wants it no more: see [`Account::withdraw`].
    pub fn withdraw(&self, wish: Wish) {
        self.chain.ask(Request::Withdraw { from: self.me, wish });
    }

    /// Asks for blocks; they arrive as an input.
    pub fn fetch(&self, from: BlockNum) {
        let (blocks_max, inbox) = (self.blocks_max, self.inbox.clone());
        self.chain.ask(Request::Fetch { from, blocks_max, inbox });
    }
}

/// The chain itself; owned by its task.
struct Chain {
    clock: WallClock,
    /// From genesis on; the index is the number.
    blocks: Vec<Block>,
    ledger: Ledger,
    mempool: Mempool,
    nodes: BTreeMap<Address, Node>,
}

/// A node that listens, and its transactions, which the chain's task keeps for it.
struct Node {
    inbox: Inbox,
    account: Account,
}

impl Chain {
    fn new(ledger: Ledger, clock: WallClock) -> Chain {
        let time = ChainTime(clock.now().0 / 1_000);
        let hash = B256::from(*blake3::hash(&time.0.to_be_bytes()).as_bytes());
        let header = BlockRef { hash, time, ..BlockRef::default() };
        let genesis = Block { header, ..Block::default() };
        let (mempool, nodes) = (Mempool::default(), BTreeMap::new());
        Chain { clock, blocks: vec![genesis], ledger, mempool, nodes }
    }

    async fn run(&mut self, block_time: Duration, mut requests: mpsc::Receiver<Request>) {
        let mut ticks = interval_at(Instant::now() + block_time, block_time);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.mine(),
                request = requests.recv() => match request {
                    Some(request) => self.answer(request),
                    None => return,
                },
            }
        }
    }

    fn head(&self) -> BlockRef {
        self.blocks[self.blocks.len() - 1].header
    }

    /// What an account is told. Gas costs nothing here, so a fee is a number that replacements raise.
    fn account_head(&self, of: Address) -> Head {
        let BlockRef { number, time, .. } = self.head();
        let nonce = self.mempool.nonce(of);
        Head { number, time, nonce, base_fee: FeePerGas(1), balance: None }
    }

    /// Puts a node's transactions into the mempool. What a full one does not take, the account sends again.
    fn broadcast(&mut self, from: Address, txs: Vec<Tx>) {
        let mut txs = VecDeque::from(txs);
        while let Some(tx) = txs.pop_front() {
            if let (Some(answer), Some(node)) =
                (self.mempool.send(from, &tx), self.nodes.get_mut(&from))
            {
                txs.extend(node.account.sent(&tx, answer));
            }
        }
    }

    fn tell_accounts(&mut self) {
        let whose: Vec<Address> = self.nodes.keys().copied().collect();
        for who in whose {
            let head = self.account_head(who);
            let Some(node) = self.nodes.get_mut(&who) else { continue };
            let open = node.account.open().map(|(_, hash)| hash);
            let unknown: BTreeSet<_> = open.filter(|hash| !self.mempool.has(*hash)).collect();
            let txs = node.account.block(head, &unknown);
            self.broadcast(who, txs);
        }
    }

    /// Executes the mempool in order of arrival, and tells everybody.
    fn mine(&mut self) {
        let parent = self.head();
        let number = BlockNum(parent.number.0 + 1);
        let time = ChainTime((self.clock.now().0 / 1_000).max(parent.time.0 + 1));
        let (mut logs, mut calls) = (Vec::new(), Vec::new());
        for tx in self.mempool.take_body() {
            let result = self.ledger.execute(time, tx.from, &tx.call, &mut Crypto::Real);
            let result = result.map(|emitted| logs.extend(emitted)).map_err(|f| f.to_string());
            if result.is_ok() {
                calls.push(tx.call.clone());
            }
            if let (Err(reason), Some(node)) = (&result, self.nodes.get(&tx.from)) {
                // Lost when the node is busy; it sees the chain's state anyway.
                let reverted = Input::TxReverted { call: tx.call.clone(), reason: reason.clone() };
                let _ = node.inbox.offer(reverted);
            }
            if let Some(receipt) = tx.receipt {
                // Whoever submitted it may have gone away.
                let _ = receipt.send(result.map(|()| number));
            }
        }
        let header = BlockRef { number, hash: B256::ZERO, parent: parent.hash, time };
        let hash = hash(&header, &logs);
        let header = BlockRef { hash, ..header };
        // It shows every log, so its blocks need no bloom that may promise more.
        let block = Block { bloom: None, ..Block::new(header, logs) };
        self.blocks.push(block.with_calldata(&calls));
        self.tell_accounts();
        self.nodes.retain(|_, node| node.inbox.offer(Input::NewHead { number }).is_ok());
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Join { who, config, inbox } => {
                let account = Account::new(&config, self.account_head(who));
                self.nodes.insert(who, Node { inbox, account });
            }
            Request::Withdraw { from, wish } => {
                if let Some(node) = self.nodes.get_mut(&from) {
                    node.account.withdraw(&wish);
                }
            }
            Request::Wish { from, wish, call, urgency, at_stake } => {
                let Some(node) = self.nodes.get_mut(&from) else { return };
                match node.account.submit(wish, call, urgency, at_stake) {
                    Ok(txs) => self.broadcast(from, txs),
                    // Lost when the node is busy; it asks again, and is told again.
                    Err(Withheld::Reserve { channel, missing }) => {
                        let _ = node.inbox.offer(Input::DepositWithheld { channel, missing });
                    }
                }
            }
            Request::Submit { from, call, receipt } => self.mempool.push(from, call, receipt),
            Request::Fetch { from, blocks_max, inbox } => {
                let blocks = self.report(from, blocks_max);
                // A busy node asks again.
                let _ = inbox.offer(Input::Blocks { from, head: self.head(), blocks });
            }
            // Whoever asked may have gone away.
            Request::Accounts(reply) => drop(reply.send(self.ledger.accounts())),
        }
    }

    /// At most `blocks_max` blocks starting at `from`.
    fn report(&self, from: BlockNum, blocks_max: u64) -> Vec<Block> {
        let clip = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        self.blocks.iter().skip(clip(from.0)).take(clip(blocks_max)).cloned().collect()
    }
}

/// Commits to the parent, the position and the logs. Nobody but this chain has to be able to compute it.
fn hash(header: &BlockRef, logs: &[fairway_core::nitro::Log]) -> B256 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header.parent.as_slice());
    hasher.update(&header.number.0.to_be_bytes());
    hasher.update(&header.time.0.to_be_bytes());
    hasher.update(&serde_json::to_vec(logs).expect("logs are plain data"));
    B256::from(*hasher.finalize().as_bytes())
}

/// Requests that wait for the chain's task at most: the wishes of a node that opens ten thousand channels at once.
const REQUESTS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::inbox::inbox;

    const ALICE: Address = Address::repeat_byte(1);

    fn deposit(expected_held: u64, amount: u64) -> Call {
        let channel = ChannelId(B256::repeat_byte(7));
        let (expected_held, amount) = (Amount::wei(expected_held), Amount::wei(amount));
        Call::Deposit { asset: Address::ZERO, channel, expected_held, amount }
    }

    fn chain() -> Chain {
        Chain::new(
            Ledger::new(CONSENSUS_APP, PAYMENT_APP, [(ALICE, Amount::wei(10))].into()),
            WallClock::start(),
        )
    }

    fn submit(chain: &mut Chain, call: Call) {
        let urgency = Urgency::Normal;
        chain.answer(Request::Wish { from: ALICE, wish: None, call, urgency, at_stake: 0 });
    }

    fn join(chain: &mut Chain, inbox: Inbox) {
        let config = Box::new(Config::default());
        chain.answer(Request::Join { who: ALICE, config, inbox });
    }

    #[test]
    fn blocks_connect_and_show_their_logs() {
        let mut chain = chain();
        let (sender, _queue) = inbox();
        join(&mut chain, sender);
        submit(&mut chain, deposit(0, 4));
        chain.mine();
        chain.mine();
        let blocks = chain.report(BlockNum(0), 64);
        assert_eq!(blocks.len(), 3);
        assert!(blocks.windows(2).all(|w| w[1].header.extends(&w[0].header)));
        assert!(blocks.windows(2).all(|w| w[1].header.time > w[0].header.time));
        let channel = deposit(0, 4).channel();
        let about = |b: &Block| b.logs.iter().filter(|l| l.log.channel() == channel).count();
        assert_eq!(blocks.iter().map(about).collect::<Vec<_>>(), [0, 1, 0]);
        assert!(blocks.iter().all(|b| !b.logs_may_be_missing(ChannelId::default())));
        assert_eq!(chain.report(BlockNum(2), 1), blocks[2..]);
        assert_eq!(chain.report(BlockNum(3), 64), []);
    }

    #[test]
    fn a_reverted_transaction_is_told_to_its_sender_and_changes_nothing() {
        let (mut chain, (sender, mut queue)) = (chain(), inbox());
        join(&mut chain, sender);
        for (call, reason) in
            [(deposit(3, 4), "held != expectedHeld"), (deposit(0, 11), "insufficient funds")]
        {
            submit(&mut chain, call);
            chain.mine();
            let mut heard = || queue.next_input().now_or_never().flatten();
            let Some(Input::TxReverted { reason: found, .. }) = heard() else {
                panic!("no revert was told")
            };
            assert_eq!(found, reason);
            assert!(matches!(heard(), Some(Input::NewHead { .. })));
        }
        let accounts = chain.ledger.accounts();
        assert_eq!(accounts.balances, [(ALICE, Amount::wei(10))].into());
        assert!(accounts.is_conserved);
    }

    #[test]
    fn what_is_wished_for_twice_is_mined_once() {
        let mut chain = chain();
        let (sender, _queue) = inbox();
        join(&mut chain, sender.clone());
        submit(&mut chain, deposit(0, 4));
        submit(&mut chain, deposit(0, 4));
        // A restart: the same wish is the same transaction.
        join(&mut chain, sender);
        submit(&mut chain, deposit(0, 4));
        chain.mine();
        let accounts = chain.ledger.accounts();
        assert_eq!(accounts.transactions.values().sum::<u64>(), 1);
        assert_eq!(accounts.balances, [(ALICE, Amount::wei(6))].into());
    }

    #[test]
    fn a_node_that_is_gone_is_forgotten() {
        let (mut chain, (sender, queue)) = (chain(), inbox());
        join(&mut chain, sender);
        drop(queue);
        chain.mine();
        assert!(chain.nodes.is_empty());
    }
}
