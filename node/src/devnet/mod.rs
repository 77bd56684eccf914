//! `fairway devnet`: three nodes, a development chain and a story, in one process.
//!
//! The nodes are what ships: the same driver, pump, log files and encrypted sessions over TCP. Only the chain is a toy
//! (`devchain`). It succeeds only if every balance is exactly what the payments say.

mod hub;
#[cfg(test)]
mod on_anvil;
mod party;
mod report;
mod script;
mod story;
#[cfg(test)]
mod watched;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairway_core::config::Config;
use fairway_core::effect::Refusal;
use fairway_core::types::{Address, Amount, ChannelId};
use fairway_transport::ChainPin;
use tokio::net::TcpListener;

use crate::chain::ChainSetup;
use crate::clock::millis;
use crate::devchain::{self, DevChain};
use crate::inbox::Stopped;
use crate::metrics::Metrics;
use crate::runtime::{Setup, StartError};
use crate::snapshots;
use crate::tcp::AddressBook;
use hub::Route;
use party::Party;
pub use report::Report;
use report::{Balance, NodeReport, Phases, Updates};
use script::{Apps, Book, Stage};
pub use story::{Story, Stream};

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the data directories go.
    pub directory: PathBuf,
    /// Time between blocks.
    pub block_time: Duration,
    /// Payments in the first channel, and through the hub.
    pub updates: u32,
}

/// Why the story did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// A node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No listener.
    #[error("cannot listen at {at}: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A node or the chain is gone.
    #[error("{who} has stopped")]
    Stopped {
        /// Who.
        who: &'static str,
    },
    /// A command was refused.
    #[error("{who}'s node refused: {refusal}")]
    Refused {
        /// Whose node.
        who: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// Something did not happen.
    #[error("{who}'s node waited too long for {what}")]
    TimedOut {
        /// Whose node.
        who: &'static str,
        /// What.
        what: &'static str,
    },
    /// A cheater's challenge did not get through.
    #[error("the chain reverted the old challenge: {0}")]
    Reverted(String),
    /// What the script itself must keep to.
    #[error("{0}")]
    Script(&'static str),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
    /// A log cannot be read back.
    #[error(transparent)]
    Events(#[from] crate::events::EventsError),
}

/// Plays the story.
///
/// # Errors
/// [`DevnetError`]: it did not come to its end. Wrong balances are no error here but stand in the report.
pub async fn run(options: &Options, story: Story) -> Result<Report, DevnetError> {
    let (mut stage, chain) = set_up(options, story).await?;
    let begun = Instant::now();
    let mut watch = StopWatch(begun);

    let mut first = stage.open_through_a_crash(Amount::ether(5)).await?;
    let open_ms = watch.lap();
    let took = stage.pay_to_and_fro(&mut first, options.updates).await?;
    let updates_ms = watch.lap();
    let second = stage.dispute(Amount::ether(3)).await?;
    let dispute_ms = watch.lap();
    stage.close(&first).await?;
    let close_ms = watch.lap();
    let mut route = stage.open_route(Amount::ether(4)).await?;
    let route_ms = watch.lap();
    let (agreed, vouchers) =
        stage.pay_through_hub(&mut route, options.updates, script::milli_ether(3)).await?;
    let virtual_ms = watch.lap();
    stage.cheat(&mut route).await?;
    let cheat_ms = watch.lap();

    let total_ms = millis(begun.elapsed());
    let phases = Phases {
        open_ms,
        updates_ms,
        dispute_ms,
        close_ms,
        route_ms,
        virtual_ms,
        cheat_ms,
        total_ms,
    };
    let played = Played { books: [first, second], route, agreed };
    settle(stage, chain, options, played, phases, [Updates::of(took), Updates::of(vouchers)]).await
}

/// What the story left to be paid out.
struct Played {
    books: [Book; 2],
    route: Route,
    /// The virtual channel that was closed in agreement: the chain must never have heard of it.
    agreed: ChannelId,
}

struct StopWatch(Instant);

impl StopWatch {
    fn lap(&mut self) -> u64 {
        let lap = millis(self.0.elapsed());
        self.0 = Instant::now();
        lap
    }
}

/// Stops the nodes, reads their logs back, and holds the chain against what must be.
async fn settle(
    mut stage: Stage,
    chain: DevChain,
    options: &Options,
    played: Played,
    phases: Phases,
    [updates, vouchers]: [Updates; 2],
) -> Result<Report, DevnetError> {
    let accounts = chain.accounts().await;
    let accounts = accounts.map_err(|Stopped| DevnetError::Stopped { who: "the chain" })?;
    let mut balances = Vec::new();
    let mut nodes = Vec::new();
    let Played { books, route, agreed } = played;
    let (alice, bob) = due(&books, &route);
    for (party, due) in
        [(&mut stage.alice, alice), (&mut stage.bob, bob), (&mut stage.hub, START_BALANCE)]
    {
        party.kill().await;
        let address = party.address();
        let after = accounts.balances.get(&address).copied().unwrap_or_default();
        balances.push(Balance::new(party.name, address, START_BALANCE, due, after));
        let log = crate::events::verify(&crate::events::Source::at(party.data_dir()))?;
        nodes.push(NodeReport::new(party.name, party.totals(), &log));
    }
    let mut differences = report::differences(&balances, &nodes, &accounts);
    let on_chain = accounts.transactions.get(&agreed).copied().unwrap_or(0);
    if on_chain > 0 {
        differences.push(format!(
            "virtual channel {agreed} caused {on_chain} transactions, and needs none"
        ));
    }
    Ok(Report {
        ok: differences.is_empty(),
        directory: options.directory.clone(),
        block_time_ms: millis(options.block_time),
        balances,
        phases,
        updates,
        vouchers,
        nodes,
        differences,
    })
}

/// What Alice and Bob must own at the end: what they had, less their deposits, plus what they were due in every channel. The hub
/// owns what it had.
fn due(books: &[Book; 2], route: &Route) -> (Amount, Amount) {
    let at_start = START_BALANCE.saturating_sub(Amount::ether(5 + 3));
    let sum = |parts: [Amount; 2]| parts.iter().fold(at_start, |sum, d| sum.saturating_add(*d));
    let alice = sum(books.each_ref().map(|b| b.alice)).saturating_sub(route.paid);
    let bob = sum(books.each_ref().map(|b| b.bob)).saturating_add(route.paid);
    (alice, bob)
}

async fn set_up(options: &Options, story: Story) -> Result<(Stage, DevChain), DevnetError> {
    let keys = [party::fresh_keys()?, party::fresh_keys()?, party::fresh_keys()?];
    let addresses = keys.each_ref().map(|(key, _)| key.address());
    let accounts = addresses.iter().map(|a| (*a, START_BALANCE)).collect();
    let chain = DevChain::start(options.block_time, accounts);
    story.say(&format!(
        "a development chain starts, one block every {:?}; alice, bob and a hub own {START_BALANCE} each",
        options.block_time
    ));
    let (alice_door, alice_at) = listen().await?;
    let (bob_door, bob_at) = listen().await?;
    let (hub_door, hub_at) = listen().await?;
    let challenge_duration = challenge_duration(options.block_time);
    let pins = devchain::pins(addresses[0]);
    let book: BTreeMap<Address, SocketAddr> =
        addresses.into_iter().zip([alice_at, bob_at, hub_at]).collect();
    let party = |name: &'static str, (key, node_seed), listen_at| {
        let pins = devchain::pins(fairway_core::nitro::SecretKey::address(&key));
        let setup = Setup {
            data_dir: options.directory.join(name),
            key,
            node_seed,
            pins,
            config: node_config(challenge_duration),
            transport: transport_config(pins.chain_id, pins.adjudicator),
            peers: AddressBook(book.clone()),
            chain: ChainSetup::Development(chain.clone()),
            // So often that a node which is killed goes on from one.
            snapshots: snapshots::Settings { every_events: 5 },
            metrics: Metrics::new(),
        };
        Party::new(name, setup, listen_at, story)
    };
    let [alice_key, bob_key, hub_key] = keys;
    let mut alice = party("alice", alice_key, alice_at);
    let mut bob = party("bob", bob_key, bob_at);
    let mut hub = party("hub", hub_key, hub_at);
    alice.start(Some(alice_door)).await?;
    bob.start(Some(bob_door)).await?;
    hub.start(Some(hub_door)).await?;
    let apps = Apps { consensus: pins.consensus_app, payment: devchain::PAYMENT_APP };
    let execute = script::on(chain.clone());
    Ok((Stage { alice, bob, hub, apps, execute, story, challenge_duration }, chain))
}

async fn listen() -> Result<(TcpListener, SocketAddr), DevnetError> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let failed = |source| DevnetError::Listen { at, source };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok((listener, at))
}

/// Twenty blocks of chain time: more than three times what confirming and including an answer takes.
fn challenge_duration(block_time: Duration) -> u32 {
    let block_secs = u32::try_from(block_time.as_secs()).unwrap_or(u32::MAX).max(1);
    block_secs.saturating_mul(CHALLENGE_BLOCKS)
}

/// The shipped defaults, but impatient: a loopback answers in microseconds.
pub(crate) fn node_config(challenge_duration: u32) -> Config {
    let mut config = Config { payment_app: devchain::PAYMENT_APP, ..Config::default() };
    config.policy.challenge_duration_min = challenge_duration;
    // Whatever is submitted is in the next block.
    config.block_time_s = challenge_duration / CHALLENGE_BLOCKS;
    config.inclusion_s = config.block_time_s;
    config.resend_ms = 250;
    config.resend_max_ms = 2_000;
    config.tx_resend_ms = 2_000;
    config.poll_ms = 500;
    config
}

pub(crate) fn transport_config(chain_id: u64, adjudicator: Address) -> fairway_transport::Config {
    let mut config = crate::runtime::transport_config(ChainPin { chain_id, adjudicator });
    config.backoff_base_ms = 50;
    config.backoff_max_ms = 500;
    config
}

/// An empty or missing directory for the nodes' files.
///
/// # Errors
/// One line: what is there, and what to do.
pub fn check_directory(path: &Path) -> Result<(), String> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!("--dir {}: is not empty; name a new directory", path.display())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("--dir {}: {e}; name a new directory", path.display())),
    }
}

/// What each party owns before anything happens.
const START_BALANCE: Amount = Amount(Amount::ETHER.0.saturating_mul(Amount::wei(100).0));
const CHALLENGE_BLOCKS: u32 = 20;
const _: () = assert!(CHALLENGE_BLOCKS > 3 * (devchain::CONFIRMATIONS + 2));
