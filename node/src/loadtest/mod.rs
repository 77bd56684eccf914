//! `fairway loadtest`: node processes over real sockets and synced logs, and how fast they are.
//!
//! ```text
//! test ── development chain on a unix socket ──┬── alice's process ──┐
//!      └─ orders and answers, JSON lines ──────┼── hub's process ────┤ encrypted sessions over TCP
//!                                              └── bob's process ────┘
//! ```
//!
//! Each process is a node as `fairway run` starts it, RPC and metrics included; its orders reach it through the library instead of the
//! RPC. What is measured is held against what must be: every channel open on both sides, every payment received, every token where it
//! should be, and never more series of metrics than may be.

mod floor;
mod order;
mod party;
mod pay;
mod phases;
mod process;
mod report;
mod spread;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairway_core::event::ObjectiveKind;
use fairway_core::types::{Amount, ChannelId};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::clock::millis;
use crate::devchain::{self, DevChain};
use crate::events::EventsError;
use crate::snapshots;
use floor::Floor;
use order::{Answer, Facts, Order, Pace, Plan};
pub use party::run as run_party;
use process::{Place, Process, SOCKET};
pub use report::Report;
use report::{Channels, Closing, Loop, Memory, Payments, Restart, Work};
use spread::{Spread, monotonic_us};

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the nodes' files go; new or empty.
    pub directory: PathBuf,
    /// This binary.
    pub program: PathBuf,
    /// Direct channels that are opened at once.
    pub channels: u32,
    /// Time between blocks.
    pub block_time: Duration,
    /// Payments through a hub, after the channels.
    pub payments: Option<PaymentOptions>,
}

/// How to pay.
#[derive(Clone, Copy, Debug)]
pub struct PaymentOptions {
    /// One voucher each, or as few as the node makes of them.
    pub vouchers: Vouchers,
    /// Virtual channels from the payer to the payee.
    pub channels: u32,
    /// How many are made as fast as the nodes allow.
    pub count: u64,
    /// Then so many a second, for as long as `paced`; by default 70 of a hundred of what was reached before.
    pub rate: Option<u64>,
    /// How long the open loop lasts.
    pub paced: Duration,
}

/// How payments share vouchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Vouchers {
    /// Each payment has its own: it waits for the one before it in its channel.
    Serial,
    /// Payments that wait together share one.
    Coalesced,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of the test.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A node's process is gone.
    #[error(
        "{who}'s process is gone: {source}; what it said is in {who}.log of the test's directory (--dir keeps it)"
    )]
    Gone {
        /// Whose.
        who: &'static str,
        /// What the pipe said.
        source: io::Error,
    },
    /// A node does not answer.
    #[error("{who}'s process gives no answer")]
    Silent {
        /// Whose.
        who: &'static str,
    },
    /// A node could not do what it should.
    #[error("{who}: {why}")]
    Failed {
        /// Whose.
        who: &'static str,
        /// In its words.
        why: String,
    },
    /// A node's metrics could not be had.
    #[error("{who}'s metrics: {why}")]
    Metrics {
        /// Whose.
        who: &'static str,
        /// What happened.
        why: String,
    },
    /// A log cannot be read back.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The chain has stopped.
    #[error("the development chain has stopped")]
    Chain(#[from] crate::Stopped),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
}

impl LoadError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> LoadError {
        let path = path.to_path_buf();
        move |source| LoadError::File { path, source }
    }

    fn unexpected(who: &'static str, answer: &Answer) -> LoadError {
        LoadError::Failed { who, why: format!("an unexpected answer: {answer:?}") }
    }
}

/// Runs the test; `say` hears what it is at.
///
/// # Errors
/// [`LoadError`]: it did not come to its end. What is wrong with the result stands in it.
pub async fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report, LoadError> {
    let floor = Floor::measure(&options.directory).map_err(LoadError::file(&options.directory))?;
    let mut test = Test::set_up(options, say).await?;
    let mut channels = test.open_channels(options.channels).await?;
    let (mut payments, mut closing, mut restart) = (None, None, None);
    if let Some(chosen) = &options.payments {
        test.open_ledgers().await?;
        let route = test.route(chosen.channels).await?;
        payments = Some(test.pay(chosen, &route).await?);
        closing = Some(test.close(route).await?);
        restart = Some(test.restart().await?);
    }
    let series = test.finish().await?;
    let Test { differences, .. } = test;
    if payments.is_none() {
        channels.phases = Some(phases::of(&options.directory.join("alice"))?);
    }
    Ok(Report {
        ok: differences.is_empty(),
        directory: options.directory.clone(),
        block_time_ms: millis(options.block_time),
        confirmations: devchain::CONFIRMATIONS,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        floor,
        channels,
        payments,
        closing,
        restart,
        series,
        differences,
    })
}

/// The nodes, their chain, and who is told.
struct Test<'a> {
    say: &'a mut dyn FnMut(&str),
    options: &'a Options,
    chain: DevChain,
    _serving: JoinSet<()>,
    /// Opens channels, and pays.
    alice: Option<Process>,
    bob: Option<Process>,
    hub: Option<Process>,
    /// What Alice and Bob opened with each other.
    direct: Vec<ChannelId>,
    /// What is wrong, one line each.
    differences: Vec<String>,
}

fn place<'a>(options: &'a Options, name: &'static str) -> Place<'a> {
    Place {
        name,
        directory: &options.directory,
        program: &options.program,
        peers: Vec::new(),
        channels_max: options.channels.max(options.payments.map_or(0, |p| p.channels)),
    }
}

impl<'a> Test<'a> {
    async fn set_up(
        options: &'a Options,
        say: &'a mut dyn FnMut(&str),
    ) -> Result<Test<'a>, LoadError> {
        let mut accounts = BTreeMap::new();
        for name in ["alice", "bob", "hub"] {
            accounts.insert(process::fresh_key(&place(options, name).key())?, FORTUNE);
        }
        let socket = options.directory.join(SOCKET);
        let listener = UnixListener::bind(&socket).map_err(LoadError::file(&socket))?;
        let chain = DevChain::start(options.block_time, accounts);
        let mut serving = JoinSet::new();
        serving.spawn(devchain::serve(chain.clone(), listener));
        say(&format!(
            "a development chain, one block every {:?}, {} confirmations; two nodes in processes of their own",
            options.block_time,
            devchain::CONFIRMATIONS
        ));
        let bob = place(options, "bob").start().await?;
        let peers = vec![(bob.address, bob.listens_at)];
        let alice = Place { peers, ..place(options, "alice") }.start().await?;
        let (alice, bob, hub) = (Some(alice), Some(bob), None);
        let (direct, differences) = (Vec::new(), Vec::new());
        Ok(Test { say, options, chain, _serving: serving, alice, bob, hub, direct, differences })
    }

    fn said(&mut self, text: &str) {
        (self.say)(text);
    }

    fn alice(&mut self) -> &mut Process {
        self.alice.as_mut().expect("it runs but while it is started again")
    }

    fn bob(&mut self) -> &mut Process {
        self.bob.as_mut().expect("it runs until the end")
    }

    async fn facts(&mut self) -> Result<[Facts; 2], LoadError> {
        Ok([facts(self.alice()).await?, facts(self.bob()).await?])
    }

    fn resident(&mut self) -> [Option<u64>; 2] {
        [self.alice().resident_bytes(), self.bob().resident_bytes()]
    }

    /// One channel, and then all of them at once.
    async fn open_channels(&mut self, count: u32) -> Result<Channels, LoadError> {
        let none = self.resident();
        self.open(1).await?;
        let one = self.resident();
        let before = self.facts().await?;
        self.said(&format!("{count} channels are opened at once"));
        let (took_us, accepted, completed) = self.open(count).await?;
        let work = Work::of(&before, &self.facts().await?);
        let memory = Memory::of([none, one, self.resident()], count);
        self.said(&format!("they are open on both sides after {} ms", took_us / 1_000));
        self.check_holdings().await?;
        Ok(Channels { count, took_us, accepted, completed, phases: None, work, memory })
    }

    /// Until they are open on both sides.
    async fn open(&mut self, count: u32) -> Result<(u64, Spread, Spread), LoadError> {
        let order = Order::Open { peer: self.bob().address, count, deposit: DEPOSIT };
        let begun = Instant::now();
        let (channels, accepted, completed) = opened(self.alice(), &order).await?;
        self.direct.extend(channels);
        let count = self.direct.len() as u64;
        awaited(self.bob(), ObjectiveKind::DirectFund, count).await?;
        Ok((party::micros(begun), accepted, completed))
    }

    /// Every channel holds both deposits, and no token is lost.
    async fn check_holdings(&mut self) -> Result<(), LoadError> {
        let accounts = self.chain.accounts().await?;
        let due = DEPOSIT.saturating_add(DEPOSIT);
        let wrong = self.direct.iter().filter(|c| accounts.holdings.get(c) != Some(&due)).count();
        if wrong > 0 {
            self.differences.push(format!("{wrong} channels do not hold both deposits"));
        }
        if !accounts.is_conserved {
            self.differences.push("accounts and holdings do not add up to the supply".into());
        }
        Ok(())
    }

    /// The hub starts, and ledger channels from Alice over it to Bob are opened.
    async fn open_ledgers(&mut self) -> Result<(), LoadError> {
        let reached = |p: &mut Process| (p.address, p.listens_at);
        let peers = vec![reached(self.alice()), reached(self.bob())];
        let mut hub = Place { peers, ..place(self.options, "hub") }.start().await?;
        self.said("a hub starts; alice opens a ledger channel with it, and it one with bob");
        let left = Order::Open { peer: hub.address, count: 1, deposit: LEDGER_DEPOSIT };
        opened(self.alice(), &left).await?;
        let right = Order::Open { peer: self.bob().address, count: 1, deposit: LEDGER_DEPOSIT };
        opened(&mut hub, &right).await?;
        let ledgers = self.direct.len() as u64 + 1;
        awaited(self.bob(), ObjectiveKind::DirectFund, ledgers).await?;
        self.hub = Some(hub);
        Ok(())
    }

    /// Virtual channels from Alice to Bob.
    async fn route(&mut self, count: u32) -> Result<Vec<ChannelId>, LoadError> {
        let via = self.hub.as_ref().expect("it has started").address;
        let order = Order::Route { via, payee: self.bob().address, count, amount: VIRTUAL_AMOUNT };
        Ok(opened(self.alice(), &order).await?.0)
    }

    /// As fast as the nodes allow; then at a rate; then a thousand, one by one.
    async fn pay(
        &mut self,
        chosen: &PaymentOptions,
        route: &[ChannelId],
    ) -> Result<Payments, LoadError> {
        let PaymentOptions { vouchers, channels, count, rate, paced } = *chosen;
        let window = match vouchers {
            Vouchers::Serial => u64::from(channels),
            Vouchers::Coalesced => COALESCED_WINDOW.max(u64::from(channels)),
        };
        self.said(&format!("{count} payments in {channels} virtual channels, {window} at once"));
        let plan = Plan { channels: route.to_vec(), count, window, pace: None };
        let before = self.facts().await?;
        let (burst, received) = self.play(plan).await?;
        let work = Work::of(&before, &self.facts().await?);
        if vouchers == Vouchers::Serial && received < count {
            self.differences.push(format!("{count} payments came in {received} vouchers"));
        }
        self.said(&format!("{} a second", burst.per_second));
        let rate = rate.unwrap_or(burst.per_second * 7 / 10).max(1);
        let in_loop = rate.saturating_mul(paced.as_secs()).max(1);
        self.said(&format!("open loop: {rate} payments a second for {} s", paced.as_secs()));
        let channels = self.route(channels).await?;
        let open_loop = self.paced(channels, in_loop, window, rate).await?;
        self.said("one channel: 1,000 payments, 100 a second");
        let single = self.route(1).await?;
        let single = self.paced(single, 1_000, 1, 100).await?;
        Ok(Payments {
            vouchers,
            window,
            burst,
            vouchers_received: received,
            work,
            open_loop,
            single,
        })
    }

    async fn paced(
        &mut self,
        channels: Vec<ChannelId>,
        count: u64,
        window: u64,
        rate: u64,
    ) -> Result<Loop, LoadError> {
        let begin_us = monotonic_us().saturating_add(HEAD_START_US);
        let pace = Some(Pace { begin_us, rate });
        let (paid, _) = self.play(Plan { channels, count, window, pace }).await?;
        Ok(Loop { rate: Some(rate), ..paid })
    }

    /// Alice pays and Bob waits for it; how it went, and the vouchers that Bob received.
    async fn play(&mut self, plan: Plan) -> Result<(Loop, u64), LoadError> {
        let begun_us = plan.pace.map_or_else(monotonic_us, |pace| pace.begin_us);
        let (count, receive) = (plan.count, Order::Receive(plan.clone()));
        let (Some(alice), Some(bob)) = (&mut self.alice, &mut self.bob) else {
            unreachable!("they run")
        };
        let vouchers_before = facts(bob).await?.vouchers;
        let pay = Order::Pay(plan);
        let (paid, received) = tokio::try_join!(alice.ask(&pay), bob.ask(&receive))?;
        let Answer::Paid { accepted, .. } = paid else {
            return Err(LoadError::unexpected("alice", &paid));
        };
        let Answer::Received { at_us, latency } = received else {
            return Err(LoadError::unexpected("bob", &received));
        };
        let vouchers = facts(bob).await?.vouchers.saturating_sub(vouchers_before);
        let took_us = at_us.saturating_sub(begun_us).max(1);
        let per_second = count.saturating_mul(1_000_000) / took_us;
        Ok((Loop { count, took_us, per_second, rate: None, accepted, latency }, vouchers))
    }

    async fn close(&mut self, mut channels: Vec<ChannelId>) -> Result<Closing, LoadError> {
        channels.truncate(CLOSED_MAX);
        self.said(&format!("{} virtual channels are closed, one after the other", channels.len()));
        let answer = self.alice().ask(&Order::Close { channels }).await?;
        let Answer::Closed { completed } = answer else {
            return Err(LoadError::unexpected("alice", &answer));
        };
        Ok(Closing { completed })
    }

    async fn restart(&mut self) -> Result<Restart, LoadError> {
        let alice = self.alice.take().expect("it runs");
        let data_dir = alice.data_dir.clone();
        let stop_us = alice.stop().await?;
        let kept = snapshots::list(&data_dir).map_err(LoadError::file(&data_dir))?;
        let snapshot = kept.first().map(|(lsn, _)| lsn.0);
        let (address, at) = (self.bob().address, self.bob().listens_at);
        let again = Place { peers: vec![(address, at)], ..place(self.options, "alice") };
        let begun = Instant::now();
        let alice = again.start().await?;
        let process_us = party::micros(begun);
        let (start_us, events) = (alice.started_us, alice.lsn.0);
        self.said(&format!(
            "alice's node starts again over {events} events: {} ms",
            start_us / 1_000
        ));
        self.alice = Some(alice);
        Ok(Restart { events, snapshot, stop_us, start_us, process_us })
    }

    /// Counts the series of every node's metrics, and stops the nodes.
    async fn finish(&mut self) -> Result<BTreeMap<&'static str, usize>, LoadError> {
        let mut series = BTreeMap::new();
        for process in [self.alice.take(), self.bob.take(), self.hub.take()].into_iter().flatten() {
            let (name, count) = (process.name, process.series().await?);
            series.insert(name, count);
            if count >= SERIES_MAX {
                self.differences.push(format!("{name} shows {count} series of metrics"));
            }
            process.stop().await?;
        }
        Ok(series)
    }
}

async fn facts(process: &mut Process) -> Result<Facts, LoadError> {
    match process.ask(&Order::Facts).await? {
        Answer::Facts(facts) => Ok(facts),
        other => Err(LoadError::unexpected(process.name, &other)),
    }
}

async fn opened(
    process: &mut Process,
    order: &Order,
) -> Result<(Vec<ChannelId>, Spread, Spread), LoadError> {
    match process.ask(order).await? {
        Answer::Opened { channels, accepted, completed } => Ok((channels, accepted, completed)),
        other => Err(LoadError::unexpected(process.name, &other)),
    }
}

async fn awaited(process: &mut Process, kind: ObjectiveKind, count: u64) -> Result<(), LoadError> {
    match process.ask(&Order::Await { kind, count }).await? {
        Answer::Awaited => Ok(()),
        other => Err(LoadError::unexpected(process.name, &other)),
    }
}

/// What each account owns at the start.
const FORTUNE: Amount = Amount(Amount::ETHER.0.saturating_mul(Amount::wei(1_000_000).0));
/// What each of two deposits into a direct channel.
const DEPOSIT: Amount = Amount::wei(1_000_000_000_000_000);
/// And into a ledger channel.
const LEDGER_DEPOSIT: Amount = Amount(Amount::ETHER.0.saturating_mul(Amount::wei(900).0));
/// Of a virtual channel: more wei than there are payments.
const VIRTUAL_AMOUNT: Amount = Amount::wei(1_000_000_000_000_000);
/// Payments on their way at once, where they may share vouchers.
const COALESCED_WINDOW: u64 = 4_096;
/// Before the first payment of an open loop is due: both processes have heard of it by then.
const HEAD_START_US: u64 = 500_000;
/// Closed one after the other.
const CLOSED_MAX: usize = 64;
/// Series of metrics that a node must stay below.
const SERIES_MAX: usize = 2_000;
