//! States at rest: what the slider of a page shows at each step.

use std::collections::BTreeMap;

use fairway_core::channel::{Channel, Phase};
use fairway_core::machine::NodeState;
use fairway_core::nitro::adjudicator::Mode;
use fairway_core::types::{Amount, ChannelId, Lsn, TurnNum};
use serde::{Deserialize, Serialize};

use super::Names;
use crate::observe::PartyId;
use crate::world::chain::ChainSim;

/// A state that holds from some line on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How many lines stand before it.
    pub after: usize,
    /// Virtual time since the start of the run.
    pub at_ns: u64,
    /// Of whom.
    pub of: StateAt,
}

/// Whose state, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateAt {
    /// A party's.
    Party(PartyId, PartyState),
    /// The chain's.
    Chain(ChainState),
}

/// Whether a party runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Up {
    /// It runs.
    #[default]
    Running,
    /// It died and has not started again.
    Down,
    /// It refused to go on.
    Stopped,
}

/// What an honest party knows when it has nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyState {
    /// Whether it runs.
    pub up: Up,
    /// The end of its log.
    pub lsn: Lsn,
    /// How far the log is synced.
    pub durable: Lsn,
    /// Messages and commands refused so far.
    pub refused: u64,
    /// Whether it signs nothing new.
    pub recovering: bool,
    /// Its share of all channels that are not finished, by their newest supported states.
    pub in_channels: Amount,
    /// Its channels.
    pub channels: Vec<ChannelState>,
}

/// One channel as one party sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// Which.
    pub channel: ChannelId,
    /// `Opening`, `Open`, `Closing`, `Disputed`, `Finished`.
    pub phase: String,
    /// The newest unanimous turn.
    pub supported: Option<TurnNum>,
    /// The newest turn that the party has signed.
    pub signed: Option<TurnNum>,
    /// Balances in participant order by the newest supported state.
    pub balances: Vec<Amount>,
    /// What the contract holds, as far as the party counts it as confirmed.
    pub held: Amount,
}

/// The chain after a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// The head's number.
    pub block: u64,
    /// What each party owns outside of channels.
    pub owned: Vec<Amount>,
    /// The channels that the contract has touched.
    pub channels: Vec<ChannelOnChain>,
}

/// One channel as the contract has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelOnChain {
    /// Which.
    pub channel: ChannelId,
    /// All that is held for it.
    pub held: Amount,
    /// Challenge or outcome, in plain words.
    pub status: String,
}

impl PartyState {
    /// A node at rest.
    pub fn of(state: &NodeState, durable: Lsn, refused: u64) -> PartyState {
        let unfinished = state.channels().filter(|c| c.phase != Phase::Finished);
        let in_channels =
            unfinished.fold(Amount::ZERO, |sum, c| sum.saturating_add(c.balance(c.my_index())));
        PartyState {
            up: Up::Running,
            lsn: state.lsn(),
            durable,
            refused,
            recovering: state.recovery().is_some(),
            in_channels,
            channels: state.channels().map(|c| ChannelState::of(state, c)).collect(),
        }
    }
}

impl ChannelState {
    fn of(state: &NodeState, channel: &Channel) -> ChannelState {
        let frozen = if channel.frozen { ", frozen" } else { "" };
        ChannelState {
            channel: channel.id,
            phase: format!("{:?}{frozen}", channel.phase),
            supported: channel.supported_turn(),
            signed: channel.signed.map(|s| s.turn),
            balances: (0..2).map(|i| channel.balance(i)).collect(),
            held: state.chain().confirmed(channel.id).held,
        }
    }
}

impl ChainState {
    /// The chain at its head. Only channels that `names` has heard of appear.
    pub fn of(chain: &ChainSim, names: &Names) -> ChainState {
        let adjudicator = chain.adjudicator();
        let mut held = BTreeMap::<ChannelId, Amount>::new();
        for ((_, channel), amount) in adjudicator.holdings() {
            let sum = held.entry(*channel).or_default();
            *sum = sum.saturating_add(*amount);
        }
        let on_chain = |channel: &ChannelId| ChannelOnChain {
            channel: *channel,
            held: held.get(channel).copied().unwrap_or_default(),
            status: status(chain, *channel),
        };
        ChainState {
            block: chain.head().number.0,
            owned: names.parties.iter().map(|p| chain.balance_of(p.address)).collect(),
            channels: names.channels.keys().map(on_chain).collect(),
        }
    }
}

fn status(chain: &ChainSim, channel: ChannelId) -> String {
    let status = chain.status(channel);
    let now = chain.head().time;
    match status.mode(now) {
        Mode::Open if status.turn == TurnNum::PREFUND => "untouched".into(),
        Mode::Open => format!("turn {} on record", status.turn),
        Mode::Challenge => {
            let left = status.finalizes_at.0.saturating_sub(now.0);
            format!("challenged with turn {}, {left} s left", status.turn)
        }
        Mode::Finalized => "finalized".into(),
    }
}
