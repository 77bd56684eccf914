//! What one look at a resting node shows: every gauge, computed afresh.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::chain_types::BlockRef;
use fairway_core::chain_view::OnChain;
use fairway_core::channel::Phase;
use fairway_core::driver::Driver;
use fairway_core::effect::Want;
use fairway_core::event::ObjectiveKind;
use fairway_core::input::Space;
use fairway_core::machine::tally::{is_ours, objective_name, transaction_name};
use fairway_core::machine::{NodeState, Tally};
use fairway_core::objective::Status;
use fairway_core::types::{Address, Amount, BlockNum, ChannelId, Lsn};

/// A look at a resting node. Everything that matters in it is durable.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The last durable event.
    pub durable: Lsn,
    /// Events that wait for the next write; losing them is harmless.
    pub staged: u32,
    /// What the log amounts to, up to `durable`.
    pub tally: Tally,
    /// Channels by kind and status.
    pub channels: BTreeMap<(&'static str, &'static str), u64>,
    /// Channels that sign nothing since a reorg took their holdings back.
    pub frozen: u64,
    /// Money by asset, in its smallest unit.
    pub money: BTreeMap<Address, Money>,
    /// Objectives by type and status.
    pub objectives: BTreeMap<(&'static str, &'static str), u64>,
    /// The age of the oldest unfinished objective of each type, in seconds.
    pub oldest_s: BTreeMap<&'static str, f64>,
    /// Messages that are not acknowledged.
    pub unacknowledged: u64,
    /// Payments that wait for their turn in direct channels.
    pub updates_queued: u64,
    /// What waits to be acknowledged or mined: `message` or the kind of transaction, and the event that gave rise to it.
    pub waiting: Vec<(&'static str, Lsn)>,
    /// Gas that the defence of one channel may take.
    pub defence_gas: u64,
    /// Transactions that the chain does not show yet, by kind.
    pub transactions: BTreeMap<&'static str, u64>,
    /// Running challenges: ours, and others'.
    pub challenges: [u64; 2],
    /// Seconds of chain time until the first of others' challenges ends.
    pub challenge_left_s: Option<u64>,
    /// The newest block that the log holds.
    pub head: Option<BlockRef>,
    /// The height up to which facts count.
    pub confirmed: Option<BlockNum>,
    /// Whether the endpoint answered last time.
    pub chain_up: bool,
    /// Why nothing new is signed, if so.
    pub recovery: Option<String>,
    /// Whether the disk is full.
    pub scarce: bool,
    /// Peers' messages that were refused, by code.
    pub messages_refused: BTreeMap<&'static str, u64>,
    /// Commands that were refused, by code.
    pub commands_refused: BTreeMap<&'static str, u64>,
    /// Peers that we share an unfinished channel with.
    pub channel_peers: BTreeSet<Address>,
}

/// Money of one asset in unfinished channels. Trends, not accounting: as floats they lose their last digits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Money {
    /// What the contract holds.
    pub locked: f64,
    /// What the newest unanimous states of open channels give us, apart from guarantees.
    pub local: f64,
    /// What they give the others.
    pub remote: f64,
    /// What open channels should hold and do not.
    pub missing: f64,
    /// What we were promised in unfinished virtual channels.
    pub unredeemed: f64,
}

impl Facts {
    /// Looks. `now_ms` is the node's clock.
    pub fn of(driver: &Driver, now_ms: u64) -> Facts {
        let (node, state) = (driver.node(), driver.node().state());
        let mut facts = Facts {
            durable: driver.durable(),
            staged: driver.staged(),
            tally: *driver.tally(),
            head: state.chain().head(),
            confirmed: state.chain().confirmed_height(),
            chain_up: node.chain_is_up(),
            recovery: state.recovery().map(|why| format!("{why:?}")),
            scarce: node.space() == Space::Scarce,
            commands_refused: node.commands_refused().clone(),
            defence_gas: node.config().fees.defence_gas,
            ..Facts::default()
        };
        for (code, all) in node.dropped() {
            let of_commands = facts.commands_refused.get(code).copied().unwrap_or(0);
            facts.messages_refused.insert(code, all.saturating_sub(of_commands));
        }
        facts.money.extend(node.config().policy.assets.iter().map(|a| (*a, Money::default())));
        facts.look_at_channels(state);
        facts.look_at_objectives(state, now_ms);
        for (wish, since) in state.wishes() {
            let kind = transaction_name(&wish.want);
            facts.waiting.push((kind.unwrap_or(MESSAGE), *since));
            match kind {
                Some(kind) => *facts.transactions.entry(kind).or_default() += 1,
                None => facts.unacknowledged += u64::from(matches!(wish.want, Want::Message(_))),
            }
        }
        facts
    }

    fn look_at_channels(&mut self, state: &NodeState) {
        let chain = state.chain();
        for channel in state.channels() {
            *self.channels.entry(("direct", status(channel.phase))).or_default() += 1;
            self.frozen += u64::from(channel.frozen);
            self.updates_queued += channel.updates.len() as u64;
            let on_chain = chain.at_head(channel.id);
            let money = self.money.entry(channel.asset).or_default();
            money.locked += float(on_chain.held);
            if channel.phase == Phase::Open {
                money.local += float(channel.balance(channel.my_index()));
                money.remote += float(channel.balance(channel.peer_index()));
                money.missing += float(channel.total().saturating_sub(on_chain.held));
            }
            if channel.phase != Phase::Finished {
                self.channel_peers.insert(channel.peer);
            }
            self.look_at_challenge(state, channel.id, on_chain);
        }
        for channel in state.virtual_channels() {
            *self.channels.entry(("virtual", status(channel.phase))).or_default() += 1;
            if channel.phase != Phase::Finished && channel.is_payee() {
                let money = self.money.entry(channel.asset).or_default();
                money.unredeemed += float(channel.paid());
            }
            self.look_at_challenge(state, channel.id, chain.at_head(channel.id));
        }
    }

    fn look_at_challenge(&mut self, state: &NodeState, id: ChannelId, on_chain: &OnChain) {
        let now = state.chain().now();
        let Some(challenge) = on_chain.running_challenge(now) else { return };
        if is_ours(state, id, challenge.turn) {
            self.challenges[0] += 1;
            return;
        }
        self.challenges[1] += 1;
        let left = challenge.finalizes_at.0.saturating_sub(now.0);
        self.challenge_left_s = Some(self.challenge_left_s.map_or(left, |least| least.min(left)));
    }

    fn look_at_objectives(&mut self, state: &NodeState, now_ms: u64) {
        for kind in OBJECTIVES {
            self.oldest_s.insert(objective_name(kind), 0.0);
            for status in ["approved", "completed", "rejected"] {
                self.objectives.insert((objective_name(kind), status), 0);
            }
        }
        for (id, objective) in state.objectives() {
            let name = objective_name(id.kind);
            let status = match objective.status {
                Status::Approved => "approved",
                Status::Completed => "completed",
                Status::Rejected(_) => "rejected",
            };
            *self.objectives.entry((name, status)).or_default() += 1;
            if objective.is_live() {
                let age_s = now_ms.saturating_sub(objective.since.0) as f64 / 1e3;
                let oldest = self.oldest_s.entry(name).or_default();
                *oldest = oldest.max(age_s);
            }
        }
    }
}

/// A channel's place in its life, in labels.
pub fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Open => "open",
        Phase::Closing => "closing",
        Phase::Disputed => "disputed",
        Phase::Finished => "finished",
    }
}

fn float(amount: Amount) -> f64 {
    f64::from(amount.0)
}

/// What [`Facts::waiting`] calls messages.
pub const MESSAGE: &str = "message";

const OBJECTIVES: [ObjectiveKind; 5] = [
    ObjectiveKind::DirectFund,
    ObjectiveKind::DirectDefund,
    ObjectiveKind::Dispute,
    ObjectiveKind::VirtualFund,
    ObjectiveKind::VirtualDefund,
];
