//! An Ethereum chain as a Fairway node sees it.
//!
//! ```text
//!          FetchBlocks ─> reader ─ all endpoints ─> agree, prove ─> Blocks | ChainDown ─┐
//!   node                    │ heads                                                    ├─> inputs of the node
//!          Submit ──────> sender ─ account ─ sign ─> all endpoints ─> TxReverted, … ───┤
//!                          hint ─ WebSocket newHeads ─────────────────> NewHead ───────┘
//! ```
//!
//! What the node makes of blocks, which of its facts count, and what a reorganization takes back is core's; when a transaction is worth
//! how much is [core's account](fairway_core::account). Nothing here is durable, and nothing here has to be: the cursor is the last block
//! in the node's log, and the wishes come back from it.
//!
//! - Polling is the truth; a WebSocket only says when to look.
//! - No endpoint is believed alone where several are configured: a block needs a quorum, its logs unanimity or a proof by the receipts'
//!   root.
//! - An endpoint that is gone, lies or is of another chain makes the service [worse](Health), never end.
//! - Every answer has a time and a length that it must not exceed.
//!
//! A deposit of a token is preceded by an allowance, where the adjudicator has none that suffices.

#![forbid(unsafe_code)]

mod abi;
mod agree;
mod endpoint;
mod gas_key;
mod health;
mod hint;
mod reader;
mod rpc;
mod said;
mod sender;
mod settings;
#[cfg(feature = "testkit")]
pub mod testkit;
mod wallet;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{U64, b256};
use fairway_core::chain_types::B256;
use fairway_core::config::Config;
use fairway_core::effect::Urgency;
use fairway_core::effect::Wish;
use fairway_core::input::Input;
use fairway_core::nitro::{Call, FixedPart};
use fairway_core::types::BlockNum;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use abi::calldata;
pub use endpoint::EndpointError;
pub use gas_key::{GasKey, InvalidGasKey};
pub use health::{Count, Counters, Health, Trouble};
pub use rpc::RpcFailure;
pub use settings::{Finality, Limits, Settings, Url, UrlError};
pub use wallet::{BumpError, Bumped, TxName, WaitingTx, Wallet, WalletWatch};

use endpoint::Endpoint;
use health::Report;
use reader::{Directory, Reader, Tracked};
use sender::{Ask, Sender, Submission};

/// Keccak-256 of the code of the adjudicator that this node knows: npm package `@statechannels/nitro-protocol` 2.0.1-alpha.6.
pub const NITRO_CODE_HASH: B256 =
    b256!("0xa3b620a30e9c313891eb06a41fcbf46f85cdae9cb700d7cb3e576470b1566949");

/// Where the service puts what it has to say. Must not block; what is lost, the node asks for again.
pub type Inputs = Arc<dyn Fn(Input) + Send + Sync>;

/// The chain service of one node. It ends when this is dropped.
///
/// ```text
/// start ─> learn(channels of the log) ─> fetch, submit: as the node's effects say ─> drop
/// ```
pub struct Chain {
    asks: mpsc::Sender<Ask>,
    fetches: mpsc::Sender<BlockNum>,
    directory: Directory,
    report: Report,
    counters: Arc<Counters>,
    wallet: WalletWatch,
    _tasks: JoinSet<()>,
}

/// Settings that contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nobody to ask.
    #[error("no endpoint is configured")]
    NoEndpoint,
    /// A quorum that cannot be had.
    #[error("a quorum of {quorum} endpoints of {endpoints}: choose {} to {endpoints}", (*endpoints).min(2))]
    Quorum {
        /// As configured.
        quorum: usize,
        /// How many there are.
        endpoints: usize,
    },
}

impl Chain {
    /// Starts the service on the caller's executor. Asks nobody anything before the node does, and waits for nobody.
    ///
    /// # Errors
    /// [`SettingsError`]. An endpoint that is not there is no error.
    pub fn start(
        settings: Settings,
        config: &Config,
        key: GasKey,
        inputs: Inputs,
    ) -> Result<Chain, SettingsError> {
        let (endpoints, quorum) = (settings.endpoints.len(), settings.quorum);
        if endpoints == 0 {
            return Err(SettingsError::NoEndpoint);
        }
        if !Settings::quorums(endpoints).contains(&quorum) {
            return Err(SettingsError::Quorum { quorum, endpoints });
        }
        let (settings, counters) = (Arc::new(settings), Arc::new(Counters::default()));
        let (directory, report) = (Directory::default(), Report::new());
        let good = Good::new(endpoints);
        let endpoints = Endpoint::all(&settings, &counters);
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (fetches, fetched) = mpsc::channel(FETCHES_MAX);
        let (heads, head) = watch::channel(B256::ZERO);
        let sender = Sender::new(
            settings.clone(),
            endpoints.clone(),
            good.clone(),
            key,
            config.clone(),
            report.clone(),
            counters.clone(),
        );
        let reader = Reader {
            settings: settings.clone(),
            endpoints: endpoints.into_iter().map(Tracked::new).collect(),
            good,
            report: report.clone(),
            counters: counters.clone(),
            directory: directory.clone(),
            blocks_max: config.blocks_max,
            top: B256::ZERO,
        };
        let wallet = WalletWatch::new(sender.wallet(), asks.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(reader.run(fetched, inputs.clone(), heads));
        tasks.spawn(sender.run(asked, head, inputs.clone()));
        for url in &settings.hints {
            let hint = hint::listen(url.clone(), settings.limits, counters.clone(), inputs.clone());
            tasks.spawn(hint);
        }
        Ok(Chain { asks, fetches, directory, report, counters, wallet, _tasks: tasks })
    }

    /// Takes on a transaction that the node wants, or notes that it still does. Never waits: what a busy service does not take, the node
    /// asks for again.
    pub fn submit(&self, wish: Option<Wish>, call: Call, urgency: Urgency, at_stake: u64) {
        let _ = self.asks.try_send(Ask::Submit(Submission { wish, call, urgency, at_stake }));
    }

    /// Takes note that the node wants this no more. Never waits: what a busy service does not hear, it pushes for a minute longer.
    pub fn withdraw(&self, wish: Wish) {
        let _ = self.asks.try_send(Ask::Withdraw(wish));
    }

    /// Asks for blocks; they arrive as an input. Never waits.
    pub fn fetch(&self, from: BlockNum) {
        let _ = self.fetches.try_send(from);
    }

    /// Tells of the node's channels, if there are others than before.
    ///
    /// # Danger
    /// A challenge in a channel that was not told of is not seen. Channels must be told of before anybody else can hold a state of them
    /// that is signed by all, and those in the log before the first block is asked for.
    pub fn learn(&self, channels: usize, parts: impl Iterator<Item = FixedPart>) {
        if channels != self.directory.len() {
            self.directory.learn(parts);
        }
    }

    /// How it is doing, now and from now on.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.report.subscribe()
    }

    /// Its gas account, now and from now on.
    pub fn wallet(&self) -> &WalletWatch {
        &self.wallet
    }

    /// What it has done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// Asks every endpoint once whether it is of the right chain, with the right contracts: for a start that shall complain at once.
pub async fn check(settings: &Settings) -> Vec<(String, Result<(), EndpointError>)> {
    let (settings, counters) = (Arc::new(settings.clone()), Arc::new(Counters::default()));
    let endpoints = Endpoint::all(&settings, &counters);
    let answers = futures_util::future::join_all(endpoints.iter().map(Endpoint::check)).await;
    endpoints.iter().map(|e| e.name.clone()).zip(answers).collect()
}

/// Asks an endpoint which chain it is of: for a configuration that does not say so.
///
/// # Errors
/// [`RpcFailure`]; asking again may help.
pub async fn chain_id(endpoint: &Url, limits: &Limits) -> Result<u64, RpcFailure> {
    let found: U64 = rpc::Rpc::new(endpoint, limits).ask("eth_chainId", ()).await?;
    Ok(found.to())
}

/// Which endpoints have shown that they are of our chain, and have not failed since.
#[derive(Clone, Debug)]
pub(crate) struct Good(Arc<[AtomicBool]>);

impl Good {
    fn new(endpoints: usize) -> Good {
        Good((0..endpoints).map(|_| AtomicBool::new(false)).collect())
    }

    fn get(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|good| good.load(Ordering::Relaxed))
    }

    fn set(&self, at: usize, good: bool) {
        if let Some(one) = self.0.get(at) {
            one.store(good, Ordering::Relaxed);
        }
    }
}

/// What the node asks that waits at most: every channel of a node may want something after a long outage; the node repeats what is lost.
const ASKS_MAX: usize = 1_024;
/// Requests for blocks that wait at most; only the last one is answered.
const FETCHES_MAX: usize = 16;
