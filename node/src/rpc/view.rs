//! What a resting node knows, in the words of our interface. Everything seen there is durable.

use alloy_primitives::B256;
use fairway_chain::WaitingTx;
use fairway_core::chain_view::{OnChain, OnChainStatus};
use fairway_core::channel::{self, Phase};
use fairway_core::driver::Driver;
use fairway_core::effect::Want;
use fairway_core::event::{ObjectiveId, ObjectiveKind, Origin, WantedTx};
use fairway_core::machine::NodeState;
use fairway_core::objective::{self, Crank, Status, WaitingFor};
use fairway_core::types::{Amount, ChannelId, FeePerGas, Timestamp};
use fairway_core::virtual_channel::VirtualChannel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{Account, Channel, Objective, Wei};

/// A ledger channel: money of two parties that the contract holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Its id.
    pub channel: Channel,
    /// The other party.
    pub peer: Account,
    /// The asset; zero is the native token.
    pub asset: Account,
    /// Where it is in its life.
    pub phase: LifePhase,
    /// Whether we lead: propose updates, deposit first, conclude.
    pub leader: bool,
    /// What the newest unanimous state gives us.
    pub balance: Wei,
    /// What it gives the peer.
    pub peer_balance: Wei,
    /// What it locks in guarantees of virtual channels.
    pub locked: Wei,
    /// Everything that was to be deposited.
    pub capacity: Wei,
    /// Turn of the newest unanimous state; absent before there is one.
    pub turn: Option<u64>,
    /// How many payments we asked for; what the next one is to come `after`.
    pub position: Wei,
    /// Payments, ours and as far as we know the peer's, that are not carried out yet.
    pub queued: u64,
    /// Challenge duration in seconds.
    pub challenge_duration_s: u32,
    /// Confirmed facts vanished from the chain: nothing is signed until the money is back.
    pub frozen: bool,
    /// What the contract says.
    pub on_chain: Contract,
}

/// A virtual channel: the payer can pay the payee over ledger channels, without a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Virtual {
    /// Its id.
    pub channel: Channel,
    /// Who pays.
    pub payer: Account,
    /// Who is paid.
    pub payee: Account,
    /// Whom it runs over, from the payer's side on.
    pub intermediaries: Vec<Account>,
    /// What we are in it.
    pub role: Role,
    /// The asset; zero is the native token.
    pub asset: Account,
    /// Where it is in its life.
    pub phase: LifePhase,
    /// Most that can be paid.
    pub capacity: Wei,
    /// What was paid so far, as far as this node holds vouchers; what the next payment is to come `after`.
    pub paid: Wei,
    /// What can still be paid.
    pub remaining: Wei,
    /// Our ledger channels that guarantee it.
    pub ledgers: Vec<Channel>,
    /// Challenge duration in seconds.
    pub challenge_duration_s: u32,
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LifePhase {
    /// Not yet funded.
    Opening,
    /// Money can move.
    Open,
    /// Somebody wants to close it in agreement.
    Closing,
    /// Only the chain decides now.
    Disputed,
    /// Nothing is left to do.
    Finished,
}

/// What we are in a virtual channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// We pay.
    Payer,
    /// We guarantee.
    Intermediary,
    /// We are paid.
    Payee,
}

/// What the contract says of a channel, at the head of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contract {
    /// What it holds.
    pub held: Wei,
    /// `untouched`, `recorded`, `challenged` or `concluded`.
    pub status: String,
    /// When a running challenge ends, in seconds since 1970 by the chain's clock.
    pub finalizes_at: Option<u64>,
}

/// An objective: what is to be done with a channel, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Goal {
    /// Its name.
    pub objective: Objective,
    /// The channel.
    pub channel: Channel,
    /// Who wanted it: `user`, `peer`, `timeout` or `violation`.
    pub origin: String,
    /// `approved` while it is pursued, then `completed` or `rejected`.
    pub status: String,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// What it waits for; absent once it has ended.
    pub waiting_for: Option<String>,
    /// Until when, in milliseconds since 1970; what happens then stands in `then`. Absent where it waits for as long as it takes.
    pub until_ms: Option<u64>,
    /// What happens at `until_ms`.
    pub then: Option<String>,
    /// When it was approved, in milliseconds since 1970 by the node's clock.
    pub since_ms: u64,
}

/// A transaction that the node wanted for a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transaction {
    /// The channel.
    pub channel: Channel,
    /// `deposit`, `challenge`, `checkpoint`, `conclude`, `transfer-all`, `transfer-mine`, `redeem` or `reclaim`.
    pub kind: String,
    /// Whether it is still wanted: submitted until the chain shows what it is for, and paid for better when it is stuck.
    pub pending: bool,
    /// How much a deposit adds.
    pub amount: Option<Wei>,
    /// The turn that a challenge or a checkpoint shows.
    pub turn: Option<u64>,
    /// The virtual channel that is reclaimed.
    pub target: Option<Channel>,
    /// What was broadcast for it and is not mined yet.
    #[serde(default)]
    pub waiting: Option<Waiting>,
}

/// A transaction that was broadcast, or is about to be, and is not mined yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Its nonce: those below must be mined first.
    pub nonce: u64,
    /// Most that it pays for a unit of gas, in wei.
    pub fee: Wei,
    /// Its name on the network; absent where no endpoint has it yet.
    pub hash: Option<String>,
}

impl Ledger {
    /// As `driver` knows it.
    pub fn of(driver: &Driver, of: &channel::Channel) -> Ledger {
        let (me, peer) = (of.my_index(), of.peer_index());
        let layout = of.layout();
        let locked = layout.iter().flat_map(|l| l.guarantees.values());
        let locked = locked.fold(Amount::ZERO, |sum, g| sum.saturating_add(g.amount));
        let chain = driver.node().state().chain();
        Ledger {
            channel: Channel(of.id),
            peer: Account(of.peer),
            asset: Account(of.asset),
            phase: of.phase.into(),
            leader: of.is_leader(),
            balance: Wei(of.balance(me)),
            peer_balance: Wei(of.balance(peer)),
            locked: Wei(locked),
            capacity: Wei(of.total()),
            turn: of.supported_turn().map(|t| t.get()),
            position: Wei(ledger_position(of)),
            queued: of.updates.len() as u64,
            challenge_duration_s: of.fixed.challenge_duration,
            frozen: of.frozen,
            on_chain: Contract::of(chain.at_head(of.id)),
        }
    }
}

impl Virtual {
    /// As the node knows it.
    pub fn of(of: &VirtualChannel) -> Virtual {
        let parties = &of.fixed.participants;
        let between = parties.get(1..of.last_index()).unwrap_or_default();
        let role = match (of.is_payer(), of.is_payee()) {
            (true, _) => Role::Payer,
            (false, true) => Role::Payee,
            (false, false) => Role::Intermediary,
        };
        Virtual {
            channel: Channel(of.id),
            payer: Account(of.payer()),
            payee: Account(of.payee()),
            intermediaries: between.iter().copied().map(Account).collect(),
            role,
            asset: Account(of.asset),
            phase: of.phase.into(),
            capacity: Wei(of.amount),
            paid: Wei(of.paid()),
            remaining: Wei(of.amount.saturating_sub(of.paid())),
            ledgers: of.ledgers().map(Channel).collect(),
            challenge_duration_s: of.fixed.challenge_duration,
        }
    }
}

/// How many payments we asked for in a ledger channel.
fn ledger_position(of: &channel::Channel) -> Amount {
    Amount::wei(of.last_update.get(of.my_index()).map_or(0, |id| id.0))
}

/// What the next payment in a channel is to come after: the number of ours in a ledger channel, the total in a virtual one.
pub fn position(state: &NodeState, channel: ChannelId) -> Option<Amount> {
    match state.virtual_channel(channel) {
        Some(v) => Some(v.paid()),
        None => state.channel(channel).map(ledger_position),
    }
}

impl From<Phase> for LifePhase {
    fn from(phase: Phase) -> LifePhase {
        match phase {
            Phase::Opening => LifePhase::Opening,
            Phase::Open => LifePhase::Open,
            Phase::Closing => LifePhase::Closing,
            Phase::Disputed => LifePhase::Disputed,
            Phase::Finished => LifePhase::Finished,
        }
    }
}

impl Contract {
    fn of(view: &OnChain) -> Contract {
        let status = match &view.status {
            OnChainStatus::Untouched => "untouched",
            OnChainStatus::Recorded(_) => "recorded",
            OnChainStatus::Challenged(_) => "challenged",
            OnChainStatus::Concluded(_) => "concluded",
        };
        let finalizes_at = view.finalizes_at().map(|at| at.0);
        Contract { held: Wei(view.held), status: status.into(), finalizes_at }
    }
}

/// The moments that an objective's deadlines are counted from, by the node's clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// When this process started: silence is not counted from before.
    pub started: Timestamp,
}

impl Goal {
    /// As `driver` pursues it.
    pub fn of(
        driver: &Driver,
        times: Times,
        id: ObjectiveId,
        objective: &objective::Objective,
    ) -> Goal {
        let origin = match objective.origin {
            Origin::User => "user",
            Origin::Peer => "peer",
            Origin::Timeout => "timeout",
            Origin::Violation => "violation",
        };
        let (status, reason) = match &objective.status {
            Status::Approved => ("approved", None),
            Status::Completed => ("completed", None),
            Status::Rejected(reason) => ("rejected", Some(rejected(reason))),
        };
        let waiting = objective.is_live().then(|| waiting_for(driver, times.now, id.channel));
        let (until_ms, then) = waiting.and_then(|w| deadline(driver, times.started, id, w)).unzip();
        Goal {
            objective: Objective(id),
            channel: Channel(id.channel),
            origin: origin.into(),
            status: status.into(),
            reason,
            waiting_for: waiting.map(|w| words(w).into()),
            until_ms,
            then: then.map(Into::into),
            since_ms: objective.since.0,
        }
    }

    /// Whether nothing more will happen to it.
    pub fn has_ended(&self) -> bool {
        self.status != "approved"
    }
}

fn rejected(reason: &fairway_core::event::RejectReason) -> String {
    use fairway_core::event::RejectReason;
    match reason {
        RejectReason::Policy(why) => format!("policy: {why}"),
        RejectReason::ByPeer => "the peer said no".into(),
        RejectReason::TimedOut => {
            "the peer was silent for too long, and nothing was at stake".into()
        }
        RejectReason::Disputed => "it ended on chain instead".into(),
    }
}

fn waiting_for(driver: &Driver, now: Timestamp, channel: ChannelId) -> WaitingFor {
    match driver.node().crank_once(now, channel) {
        Some(Crank::Wait(what)) => what,
        // A deadline has passed since the node came to rest: it acts at once.
        Some(Crank::Emit(_)) | None => WaitingFor::Nothing,
    }
}

fn words(waiting: WaitingFor) -> &'static str {
    match waiting {
        WaitingFor::Witness => "the peer to say what it knows",
        WaitingFor::CompletePrefund => "everybody's signature on the prefund",
        WaitingFor::MyTurnToFund => "the deposits of those before us",
        WaitingFor::CompleteFunding => "all deposits, confirmed on chain",
        WaitingFor::CompletePostfund => "everybody's signature on the postfund",
        WaitingFor::Finalization => "everybody's signature on the final state",
        WaitingFor::Withdraw => "the payout, confirmed on chain",
        WaitingFor::ChallengeMined => "our challenge to be mined",
        WaitingFor::ChallengeEnd => "the end of the challenge",
        WaitingFor::Holdings => "deposits that a reorganization took back",
        WaitingFor::Guarantees => "guarantees in our ledger channels",
        WaitingFor::Release => "our ledger channels to give the guarantees back",
        WaitingFor::Nothing => "nothing: it goes on at once",
    }
}

/// When the waiting ends by itself, and what happens then.
fn deadline(
    driver: &Driver,
    started: Timestamp,
    id: ObjectiveId,
    waiting: WaitingFor,
) -> Option<(u64, &'static str)> {
    let state = driver.node().state();
    let silence_ms = driver.node().config().silence_ms;
    let progress_at = match state.virtual_channel(id.channel) {
        Some(v) => v.progress_at,
        None => state.channel(id.channel)?.progress_at,
    };
    let silent = progress_at.max(started).after_ms(silence_ms).0;
    match (waiting, id.kind) {
        (WaitingFor::ChallengeEnd, _) => {
            let end = state.chain().at_head(id.channel).finalizes_at()?;
            Some((end.0.saturating_mul(1_000), "the outcome is final and is paid out"))
        }
        (WaitingFor::CompletePrefund, _) => {
            Some((silent, "given up, if the peer is silent until then: nothing is at stake"))
        }
        (
            WaitingFor::CompletePostfund
            | WaitingFor::Finalization
            | WaitingFor::Guarantees
            | WaitingFor::Release,
            ObjectiveKind::DirectFund
            | ObjectiveKind::DirectDefund
            | ObjectiveKind::VirtualFund
            | ObjectiveKind::VirtualDefund,
        ) => Some((silent, "if the peer is silent until then, the node goes on alone")),
        // What comes of the chain takes as long as it takes.
        _ => None,
    }
}

impl Transaction {
    /// All that were wanted for a channel.
    pub fn of(state: &NodeState, channel: ChannelId) -> Vec<Transaction> {
        let wanted: Vec<&Want> = state.wishes_of(channel).map(|(wish, _)| &wish.want).collect();
        let blank = |kind: &str, pending| Transaction {
            channel: Channel(channel),
            kind: kind.into(),
            pending,
            amount: None,
            turn: None,
            target: None,
            waiting: None,
        };
        let mut all = Vec::new();
        let known = state.channel(channel);
        if let Some(deposit) = known.and_then(|c| c.deposit) {
            let pending = wanted.contains(&&Want::Deposit);
            all.push(Transaction {
                amount: Some(Wei(deposit.amount)),
                ..blank("deposit", pending)
            });
        }
        let virtuals = state.virtual_channel(channel).map(|v| &v.txs);
        let txs = known.map(|c| &c.txs).or(virtuals);
        for tx in txs.into_iter().flatten() {
            let pending = wanted.iter().any(|w| matches!(w, Want::Tx(wanted) if wanted == tx));
            all.push(match tx {
                WantedTx::Challenge { turn, .. } => {
                    Transaction { turn: Some(turn.get()), ..blank("challenge", pending) }
                }
                WantedTx::Checkpoint { turn } => {
                    Transaction { turn: Some(turn.get()), ..blank("checkpoint", pending) }
                }
                WantedTx::Conclude => blank("conclude", pending),
                WantedTx::TransferAll => blank("transfer-all", pending),
                WantedTx::TransferMine => blank("transfer-mine", pending),
                WantedTx::Redeem { voucher, .. } => {
                    Transaction { amount: Some(Wei(voucher.amount)), ..blank("redeem", pending) }
                }
                WantedTx::Reclaim { target } => {
                    Transaction { target: Some(Channel(*target)), ..blank("reclaim", pending) }
                }
            });
        }
        all
    }

    /// Notes what waits at the transaction that it is for, where it is one of these.
    pub fn show(all: &mut [Transaction], waiting: &WaitingTx) {
        let target = waiting.target.map(Channel);
        let is_for = |tx: &&mut Transaction| {
            tx.channel.0 == waiting.channel && tx.kind == waiting.kind && tx.target == target
        };
        // The one that is still wanted, or the last one that was: calls of one kind take each other's place.
        let found = all.iter_mut().filter(is_for).max_by_key(|tx| tx.pending);
        if let Some(tx) = found {
            tx.waiting = Some(Waiting::new(waiting.nonce, waiting.fee, waiting.hash));
        }
    }
}

impl Waiting {
    /// As the chain service knows it.
    pub fn new(nonce: u64, fee: FeePerGas, hash: Option<B256>) -> Waiting {
        Waiting { nonce, fee: Wei(Amount::wei(fee.0)), hash: hash.map(|hash| hash.to_string()) }
    }
}
