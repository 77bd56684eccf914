//! One node of a load test, in a process of its own: starts as `fairway run` does, and takes orders on standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use fairway_core::driver::Driver;
use fairway_core::effect::Notice;
use fairway_core::event::{ObjectiveId, ObjectiveKind, Terms, VirtualTerms};
use fairway_core::input::Command;
use fairway_core::machine::tally::{Count, objective_name};
use fairway_core::objective::Status;
use fairway_core::types::{Address, Amount, ChannelId};
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, timeout};

use super::order::{Answer, Facts, Order};
use super::pay;
use super::spread::Spread;
use crate::config::{self, Sources};
use crate::devchain;
use crate::keys::PasswordSource;
use crate::logs;
use crate::runtime::NodeHandle;
use crate::{Node, Stop};

/// Why an order was not carried out, in one line.
pub type Why = String;

/// Runs a node until it is told to stop, or until whoever gives the orders is gone.
///
/// # Errors
/// One line; it has been answered too.
pub async fn run(config: &Path) -> Result<(), Why> {
    let begun = Instant::now();
    let started = start(config, begun).await;
    let (node, ready) = match started {
        Ok(started) => started,
        Err(why) => {
            say(&Answer::Failed { why: why.clone() });
            return Err(why);
        }
    };
    say(&ready);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let order: Order = serde_json::from_str(&line).map_err(|e| e.to_string())?;
        if let Order::Stop = order {
            let stopping = Instant::now();
            let stopped = node.stop().await.map_err(|e| e.to_string())?;
            say(&match stopped {
                Stop::InOrder => Answer::Stopped { took_us: micros(stopping) },
                Stop::Dropped { .. } => Answer::Failed { why: "the stop took too long".into() },
            });
            return Ok(());
        }
        let answer = timeout(PATIENCE, carry_out(&node, order)).await;
        let answer = answer.unwrap_or_else(|_| Err("it took longer than ten minutes".into()));
        say(&answer.unwrap_or_else(|why| Answer::Failed { why }));
    }
    Ok(())
}

async fn start(config: &Path, begun: Instant) -> Result<(Node, Answer), Why> {
    let sources = Sources { file: Some(config.to_path_buf()), ..Sources::default() };
    let loaded = config::load(&sources).map_err(|e| e.to_string())?;
    let config = &loaded.config;
    logs::install(config.log_level.into(), &config.log, &config.data_dir)
        .map_err(|e| e.to_string())?;
    let node = Node::start(loaded, PasswordSource::none()).await.map_err(|e| e.to_string())?;
    let lsn = node.handle().when(|driver| Some(driver.durable())).await.map_err(gone)?;
    let ready = Answer::Ready {
        address: node.address(),
        listens_at: node.listens_at(),
        watched_at: node.watched_at(),
        took_us: micros(begun),
        lsn,
    };
    Ok((node, ready))
}

fn say(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("plain data has a JSON form");
    let mut out = std::io::stdout().lock();
    // Whoever gave the order may be gone; then nobody gives another.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn carry_out(node: &Node, order: Order) -> Result<Answer, Why> {
    let handle = node.handle();
    match order {
        Order::Open { peer, count, deposit } => {
            let participants = [node.address(), peer];
            let commands = (0..count).map(|_| direct(participants, deposit));
            open(handle, commands.collect::<Result<_, _>>()?, ObjectiveKind::DirectFund).await
        }
        Order::Route { via, payee, count, amount } => {
            let participants = [node.address(), via, payee];
            let commands = (0..count).map(|_| virtual_channel(&participants, amount));
            open(handle, commands.collect::<Result<_, _>>()?, ObjectiveKind::VirtualFund).await
        }
        Order::Await { kind, count } => {
            completed(handle, kind, count).await.map(|()| Answer::Awaited)
        }
        Order::Pay(plan) => pay::pay(handle, plan).await,
        Order::Receive(plan) => pay::receive(handle, plan).await,
        Order::Close { channels } => close(handle, &channels).await,
        Order::Facts => {
            let look = |driver: &Driver| {
                let received = |c: &Count| c.kind == "VoucherReceived";
                let vouchers = driver.tally().counts().find(received).map_or(0, |c| c.count);
                Some((driver.durable().0, vouchers))
            };
            let (events, vouchers) = handle.when(look).await.map_err(gone)?;
            let (syncs, bytes) = (handle.disk().syncs(), handle.disk().bytes());
            Ok(Answer::Facts(Facts { syncs, bytes, events, vouchers }))
        }
        Order::Stop => unreachable!("it ends the loop"),
    }
}

fn direct(participants: [Address; 2], deposit: Amount) -> Result<(ChannelId, Command), Why> {
    let terms = Terms {
        participants,
        nonce: nonce()?,
        challenge_duration: CHALLENGE_S,
        asset: Address::ZERO,
        deposits: [deposit, deposit],
    };
    let id = terms.fixed_part(devchain::CONSENSUS_APP).channel_id();
    Ok((id, Command::Open(terms)))
}

fn virtual_channel(participants: &[Address], amount: Amount) -> Result<(ChannelId, Command), Why> {
    let terms = VirtualTerms {
        participants: participants.to_vec(),
        nonce: nonce()?,
        challenge_duration: CHALLENGE_S,
        asset: Address::ZERO,
        amount,
    };
    let id = terms.fixed_part(devchain::PAYMENT_APP).channel_id();
    Ok((id, Command::OpenVirtual { terms, ledger: None }))
}

/// Gives all commands at once, and waits for every objective.
async fn open(
    handle: &NodeHandle,
    commands: Vec<(ChannelId, Command)>,
    kind: ObjectiveKind,
) -> Result<Answer, Why> {
    let begun = Instant::now();
    let channels: Vec<ChannelId> = commands.iter().map(|(id, _)| *id).collect();
    let mut watch =
        Completions::of(handle, channels.iter().map(|c| ObjectiveId { channel: *c, kind }));
    let watching = tokio::spawn(async move { watch.all().await });
    let accepted = try_join_all(commands.into_iter().map(|(_, command)| async {
        let asked = Instant::now();
        handle.command(command).await.map_err(gone)?.map_err(|refusal| refusal.to_string())?;
        Ok::<u64, Why>(micros(asked))
    }));
    let accepted = Spread::of(accepted.await?);
    let times = watching.await.map_err(|e| e.to_string())??;
    let completed =
        Spread::of(times.values().map(|at| at.saturating_duration_since(begun)).map(us));
    Ok(Answer::Opened { channels, accepted, completed })
}

/// Closes in agreement, one after the other.
async fn close(handle: &NodeHandle, channels: &[ChannelId]) -> Result<Answer, Why> {
    let mut took = Vec::new();
    for &channel in channels {
        let kind = ObjectiveKind::VirtualDefund;
        let mut watch = Completions::of(handle, [ObjectiveId { channel, kind }]);
        let begun = Instant::now();
        let answer = handle.command(Command::Close { channel }).await.map_err(gone)?;
        answer.map_err(|refusal| refusal.to_string())?;
        watch.all().await?;
        took.push(micros(begun));
    }
    Ok(Answer::Closed { completed: Spread::of(took) })
}

/// Waits for objectives, and notes when each was completed.
struct Completions {
    handle: NodeHandle,
    notices: tokio::sync::broadcast::Receiver<Notice>,
    open: BTreeSet<ObjectiveId>,
}

impl Completions {
    /// From now on.
    fn of(handle: &NodeHandle, wanted: impl IntoIterator<Item = ObjectiveId>) -> Completions {
        let open = wanted.into_iter().collect();
        Completions { handle: handle.clone(), notices: handle.notices(), open }
    }

    /// When each was completed; without those whose notice was missed.
    async fn all(&mut self) -> Result<BTreeMap<ObjectiveId, Instant>, Why> {
        let mut times = BTreeMap::new();
        while !self.open.is_empty() {
            match self.notices.recv().await {
                Ok(Notice::Completed(id)) if self.open.remove(&id) => {
                    times.insert(id, Instant::now());
                }
                Ok(Notice::Rejected(id, why)) if self.open.contains(&id) => {
                    return Err(format!("{id} was given up: {why:?}"));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.forget_completed().await?,
                Err(RecvError::Closed) => return Err("the node has stopped".into()),
            }
        }
        Ok(times)
    }

    /// Notices were missed: asks the state what is done.
    async fn forget_completed(&mut self) -> Result<(), Why> {
        let open = std::mem::take(&mut self.open);
        let look = move |driver: &Driver| {
            let all = driver.node().state().objectives();
            let is_open =
                |id: &&ObjectiveId| all.get(id).is_none_or(|o| o.status != Status::Completed);
            Some(open.iter().filter(is_open).copied().collect())
        };
        self.open = self.handle.when(look).await.map_err(gone)?;
        Ok(())
    }
}

async fn completed(handle: &NodeHandle, kind: ObjectiveKind, count: u64) -> Result<(), Why> {
    let kind = objective_name(kind);
    let look = move |driver: &Driver| {
        let done = |c: &Count| c.name == "objectives_completed" && c.kind == kind;
        driver.tally().counts().any(|c| done(&c) && c.count >= count).then_some(())
    };
    handle.when(look).await.map_err(gone)
}

fn nonce() -> Result<u64, Why> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(|e| e.to_string())?;
    Ok(u64::from_be_bytes(nonce))
}

/// For errors.
pub fn gone(stopped: crate::Stopped) -> Why {
    stopped.to_string()
}

/// Whole microseconds since then.
pub fn micros(since: Instant) -> u64 {
    us(since.elapsed())
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Longer than three answers to a challenge take, with blocks of a second.
const CHALLENGE_S: u32 = 60;
/// No order takes longer on any machine that is meant.
const PATIENCE: Duration = Duration::from_secs(600);
