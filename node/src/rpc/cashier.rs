//! Payments, one after another in each channel, and what was answered to which idempotency key.
//!
//! A payment changes what the next one is to come `after`, so the check and the command must not be separated by another payment:
//! hence one task that owns the queues. Channels do not wait for each other.
//!
//! ```text
//! key seen, same request, answered   the same answer again; nothing is paid
//! key seen, same request, under way  waits for the one answer
//! key seen, another request          KeyReused
//! `after` does not hold              Moved, with the position that does
//! ```
//!
//! Keys are forgotten after a day and when the process ends. `after` is checked against the log and holds across restarts: a client
//! that repeats a payment with the same `after` cannot pay twice.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::time::{Duration, Instant};

use fairway_core::channel::Phase;
use fairway_core::effect::Accepted;
use fairway_core::input::{Command, Input};
use fairway_core::nitro::Crypto;
use fairway_core::nitro::voucher::Voucher;
use fairway_core::types::{Amount, ChannelId};
use fairway_core::wire::Wire;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::error::{Code, RpcError};
use super::value::Wei;
use super::view;
use crate::runtime::NodeHandle;

/// Gives jobs to the cashier; cheap to clone.
#[derive(Clone)]
pub struct Cashier(mpsc::Sender<Job>);

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// In which channel.
    pub channel: ChannelId,
    /// How much.
    pub amount: Amount,
    /// The position that it is to come after, where the caller says one.
    pub after: Option<Amount>,
}

/// An idempotency key, and whose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The caller: the key of another caller is another key.
    pub caller: String,
    /// What the caller chose.
    pub key: String,
}

/// What came of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The channel's position behind the payment.
    pub position: Amount,
    /// In a virtual channel the voucher that includes it.
    pub voucher: Option<Voucher>,
}

/// What came of a voucher that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credited {
    /// Everything that was paid so far.
    pub total: Amount,
    /// What of it was not told to anybody who showed a voucher before.
    pub delta: Amount,
}

struct Job {
    channel: ChannelId,
    what: What,
}

enum What {
    Pay(Payment, Option<Key>, oneshot::Sender<Result<Paid, RpcError>>),
    Receive(Voucher, oneshot::Sender<Result<Credited, RpcError>>),
}

enum Outcome {
    Paid(ChannelId, Option<Key>, Result<Paid, RpcError>, oneshot::Sender<Result<Paid, RpcError>>),
    Received(ChannelId, Result<Amount, RpcError>, oneshot::Sender<Result<Credited, RpcError>>),
}

impl Cashier {
    /// Starts one for a node, among `tasks`.
    pub fn start(node: NodeHandle, tasks: &mut JoinSet<()>) -> Cashier {
        let (sender, jobs) = mpsc::channel(JOBS_MAX);
        tasks.spawn(Till::new(node).run(jobs));
        Cashier(sender)
    }

    /// Pays.
    ///
    /// # Errors
    /// [`RpcError`]. `Stopped` leaves open whether it was paid: ask for the position after the restart.
    pub async fn pay(&self, payment: Payment, key: Option<Key>) -> Result<Paid, RpcError> {
        let (reply, answer) = oneshot::channel();
        let channel = payment.channel;
        self.give(Job { channel, what: What::Pay(payment, key, reply) })?;
        answer.await.map_err(|_| RpcError::from(crate::inbox::Stopped))?
    }

    /// Takes a voucher that somebody shows.
    ///
    /// # Errors
    /// [`RpcError`]; nothing was credited.
    pub async fn receive(&self, voucher: Voucher) -> Result<Credited, RpcError> {
        let (reply, answer) = oneshot::channel();
        let channel = voucher.channel;
        self.give(Job { channel, what: What::Receive(voucher, reply) })?;
        answer.await.map_err(|_| RpcError::from(crate::inbox::Stopped))?
    }

    fn give(&self, job: Job) -> Result<(), RpcError> {
        self.0.try_send(job).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => RpcError::from(crate::inbox::Stopped),
        })
    }
}

/// What the task owns.
struct Till {
    node: NodeHandle,
    /// What waits in each channel in which a job is under way.
    queues: BTreeMap<ChannelId, VecDeque<What>>,
    keys: BTreeMap<Key, Known>,
    /// What was told to those who showed vouchers. A voucher that came from the payer directly is credited to the first who shows it.
    told: BTreeMap<ChannelId, Amount>,
}

/// What is known of a key.
struct Known {
    request: Payment,
    at: Instant,
    state: KeyState,
}

enum KeyState {
    UnderWay(Vec<oneshot::Sender<Result<Paid, RpcError>>>),
    Answered(Paid),
}

type Working = FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

impl Till {
    fn new(node: NodeHandle) -> Till {
        Till { node, queues: BTreeMap::new(), keys: BTreeMap::new(), told: BTreeMap::new() }
    }

    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // What was there before this process may have been credited by an earlier one: it is not credited again.
        let held = self.node.when(|driver| {
            let all = driver.node().state().virtual_channels();
            Some(all.filter(|v| v.is_payee()).map(|v| (v.id, v.paid())).collect())
        });
        let Ok(held) = held.await else { return };
        self.told = held;
        let mut working = Working::new();
        loop {
            tokio::select! {
                Some(outcome) = working.next() => {
                    let channel = self.settle(outcome);
                    self.start_next(channel, &working);
                }
                job = jobs.recv() => match job {
                    Some(job) => self.take(job, &working),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, Job { channel, what }: Job, working: &Working) {
        let what = match what {
            What::Pay(payment, Some(key), reply) => match self.look_up(&payment, &key, reply) {
                Some(reply) => What::Pay(payment, Some(key), reply),
                None => return,
            },
            other => other,
        };
        match self.queues.get_mut(&channel) {
            None => {
                self.queues.insert(channel, VecDeque::new());
                self.work(channel, what, working);
            }
            Some(waiting) if waiting.len() < QUEUE_MAX => waiting.push_back(what),
            Some(_) => {
                if let What::Pay(_, Some(key), _) = &what {
                    self.keys.remove(key);
                }
                what.refuse(busy());
            }
        }
    }

    /// Answers from what is known of the key, or gives the reply back: the payment is new.
    fn look_up(
        &mut self,
        payment: &Payment,
        key: &Key,
        reply: oneshot::Sender<Result<Paid, RpcError>>,
    ) -> Option<oneshot::Sender<Result<Paid, RpcError>>> {
        self.forget_old();
        let Some(known) = self.keys.get_mut(key) else {
            if self.keys.len() >= KEYS_MAX {
                // To forget a key too early could mean to pay twice.
                let _ = reply.send(Err(busy()));
                return None;
            }
            let state = KeyState::UnderWay(Vec::new());
            let known = Known { request: payment.clone(), at: Instant::now(), state };
            self.keys.insert(key.clone(), known);
            return Some(reply);
        };
        if known.request != *payment {
            let what = "this idempotency key was used for another payment; take a new one";
            let _ = reply.send(Err(RpcError::new(Code::KeyReused, what)));
            return None;
        }
        match &mut known.state {
            KeyState::UnderWay(waiting) => waiting.push(reply),
            KeyState::Answered(paid) => drop(reply.send(Ok(paid.clone()))),
        }
        None
    }

    fn forget_old(&mut self) {
        let keep = |known: &Known| {
            matches!(known.state, KeyState::UnderWay(_)) || known.at.elapsed() < KEYS_FOR
        };
        if self.keys.len() >= KEYS_MAX / 2 {
            self.keys.retain(|_, known| keep(known));
        }
    }

    fn work(&self, channel: ChannelId, what: What, working: &Working) {
        let node = self.node.clone();
        match what {
            What::Pay(payment, key, reply) => working.push(Box::pin(async move {
                let paid = pay(&node, &payment).await;
                Outcome::Paid(channel, key, paid, reply)
            })),
            What::Receive(voucher, reply) => working.push(Box::pin(async move {
                let total = receive(&node, voucher).await;
                Outcome::Received(channel, total, reply)
            })),
        }
    }

    fn settle(&mut self, outcome: Outcome) -> ChannelId {
        match outcome {
            Outcome::Paid(channel, key, paid, reply) => {
                if let Some(key) = key {
                    self.settle_key(key, &paid);
                }
                let _ = reply.send(paid);
                channel
            }
            Outcome::Received(channel, total, reply) => {
                let _ = reply.send(total.map(|total| self.credit(channel, total)));
                channel
            }
        }
    }

    fn settle_key(&mut self, key: Key, paid: &Result<Paid, RpcError>) {
        let Some(known) = self.keys.remove(&key) else { return };
        let KeyState::UnderWay(waiting) = known.state else { return };
        for reply in waiting {
            let _ = reply.send(paid.clone());
        }
        // What was refused has changed nothing, and may be tried again.
        if let Ok(paid) = paid {
            let state = KeyState::Answered(paid.clone());
            self.keys.insert(key, Known { at: Instant::now(), state, ..known });
        }
    }

    fn credit(&mut self, channel: ChannelId, total: Amount) -> Credited {
        let told = self.told.entry(channel).or_default();
        let delta = total.saturating_sub(*told);
        *told = total.max(*told);
        Credited { total, delta }
    }

    fn start_next(&mut self, channel: ChannelId, working: &Working) {
        match self.queues.get_mut(&channel).and_then(VecDeque::pop_front) {
            Some(what) => self.work(channel, what, working),
            None => drop(self.queues.remove(&channel)),
        }
    }
}

impl What {
    fn refuse(self, why: RpcError) {
        match self {
            What::Pay(_, _, reply) => drop(reply.send(Err(why))),
            What::Receive(_, reply) => drop(reply.send(Err(why))),
        }
    }
}

async fn pay(node: &NodeHandle, payment: &Payment) -> Result<Paid, RpcError> {
    let Payment { channel, amount, after } = *payment;
    if let Some(after) = after {
        let look = node.when(move |d| Some(view::position(d.node().state(), channel)));
        let position = look.await?.ok_or_else(|| unknown(channel))?;
        if position != after {
            let what = format!(
                "channel {channel} stands at {}, not at {}: a payment was made since; if it was this one, all is done",
                Wei(position),
                Wei(after)
            );
            let position = json!({ "position": Wei(position) });
            return Err(RpcError::new(Code::Moved, what).with(position));
        }
    }
    match node.command(Command::Pay { channel, amount }).await?? {
        Accepted::Update { id, .. } => Ok(Paid { position: Amount::wei(id), voucher: None }),
        Accepted::Payment { total, .. } => {
            // Signed and durable when it was answered, and the largest one since payments here come one by one.
            let look = node.when(move |driver| {
                let v = driver.node().state().virtual_channel(channel)?;
                v.voucher.filter(|voucher| voucher.amount >= total)
            });
            Ok(Paid { position: total, voucher: Some(look.await?) })
        }
        Accepted::Objective(id) => unreachable!("a payment was accepted as objective {id}"),
    }
}

/// Gives the voucher to the node as if its payer had sent it; the total that the node then holds.
async fn receive(node: &NodeHandle, voucher: Voucher) -> Result<Amount, RpcError> {
    let channel = voucher.channel;
    let found = node.when(move |driver| {
        let v = driver.node().state().virtual_channel(channel);
        Some(v.map(|v| (v.payer(), v.is_payee(), v.phase, v.amount, v.paid())))
    });
    let (payer, is_payee, phase, most, held) = found.await?.ok_or_else(|| unknown(channel))?;
    let refused = |code: &str, why: String| {
        Err(RpcError::new(Code::Refused, why).with(json!({ "refusal": code })))
    };
    if !is_payee {
        return refused("not_payee", format!("this node is not paid in channel {channel}"));
    }
    if voucher.signer(&mut Crypto::Real) != Some(payer) {
        let why = format!("the voucher is not signed by {payer}, who pays in channel {channel}");
        return refused("signature_invalid", why);
    }
    if voucher.amount > most {
        let why = format!(
            "a voucher of {} exceeds the {} of channel {channel}",
            Wei(voucher.amount),
            Wei(most)
        );
        return refused("exceeds_balance", why);
    }
    if voucher.amount <= held {
        return Ok(held);
    }
    if phase != Phase::Open {
        return refused("not_open", format!("channel {channel} is not open"));
    }
    let bytes = Wire::Voucher(voucher).encode();
    node.input(Input::Frame { peer: payer, bytes }).await?;
    // Asked after the frame was given, so answered when the node rests behind it.
    let look = node
        .when(move |driver| Some(driver.node().state().virtual_channel(channel).map(|v| v.paid())));
    match look.await? {
        Some(total) if total >= voucher.amount => Ok(total),
        _ => refused("not_open", format!("channel {channel} takes no voucher now")),
    }
}

fn unknown(channel: ChannelId) -> RpcError {
    RpcError::new(Code::NotFound, format!("channel {channel} is unknown"))
}

fn busy() -> RpcError {
    RpcError::new(Code::Busy, "too many payments wait; try again later")
}

/// Payments on their way to the task.
const JOBS_MAX: usize = 1_024;
/// Payments that wait in one channel.
const QUEUE_MAX: usize = 256;
/// Keys that are remembered: a day of one payment a second.
const KEYS_MAX: usize = 86_400;
const KEYS_FOR: Duration = Duration::from_secs(24 * 3_600);
