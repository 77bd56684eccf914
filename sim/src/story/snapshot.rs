//! States at rest: what the slider of a page shows at each step.

use std::collections::BTreeMap;

use fairway_core::channel::{Channel, Phase};
use fairway_core::ledger::Guarantee;
use fairway_core::machine::NodeState;
use fairway_core::nitro::adjudicator::Mode;
use fairway_core::types::{Amount, ChannelId, Lsn, TurnNum};
use fairway_core::virtual_channel::VirtualChannel;
use serde::{Deserialize, Serialize};

use super::Names;
use super::words::doing;
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
    /// Its part of the guarantees in those channels, by the vouchers that it holds.
    pub guaranteed: Amount,
    /// Its direct channels.
    pub channels: Vec<ChannelState>,
    /// Its virtual channels.
    pub virtuals: Vec<VirtualState>,
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
    /// What the newest supported state sets aside, and for which virtual channels.
    pub guarantees: Vec<(ChannelId, Amount)>,
    /// How many payments and changes wait for a turn of their own.
    pub waiting: usize,
    /// Objectives that are not over, in plain words.
    pub pursues: Vec<String>,
}

/// One virtual channel as one of its participants sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualState {
    /// Which.
    pub channel: ChannelId,
    /// As [`ChannelState::phase`].
    pub phase: String,
    /// The newest turn with everybody's signature.
    pub unanimous: Option<TurnNum>,
    /// The newest turn that the party has signed.
    pub signed: Option<TurnNum>,
    /// Most that can be paid.
    pub amount: Amount,
    /// What was paid, by the final state or the largest voucher; intermediaries see no vouchers.
    pub paid: Amount,
    /// Objectives that are not over, in plain words.
    pub pursues: Vec<String>,
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
        let unfinished = || state.channels().filter(|c| c.phase != Phase::Finished);
        let in_channels = unfinished().map(|c| c.balance(c.my_index()));
        let guaranteed = unfinished().flat_map(|c| guarantees(c).map(|g| part_of(state, c, &g)));
        PartyState {
            up: Up::Running,
            lsn: state.lsn(),
            durable,
            refused,
            recovering: state.recovery().is_some(),
            in_channels: sum(in_channels),
            guaranteed: sum(guaranteed),
            channels: state.channels().map(|c| ChannelState::of(state, c)).collect(),
            virtuals: state.virtual_channels().map(|v| VirtualState::of(state, v)).collect(),
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
            guarantees: guarantees(channel).map(|g| (g.target, g.amount)).collect(),
            waiting: channel.updates.len(),
            pursues: pursues(state, channel.id),
        }
    }
}

impl VirtualState {
    fn of(state: &NodeState, channel: &VirtualChannel) -> VirtualState {
        let newest = |holds: &dyn Fn(TurnNum) -> bool| {
            channel.states.keys().rev().copied().find(|turn| holds(*turn))
        };
        VirtualState {
            channel: channel.id,
            phase: format!("{:?}", channel.phase),
            unanimous: newest(&|turn| channel.unanimous(turn).is_some()),
            signed: newest(&|turn| channel.signed(turn)),
            amount: channel.amount,
            paid: paid(channel),
            pursues: pursues(state, channel.id),
        }
    }
}

/// The guarantees of a channel's newest supported state.
fn guarantees(channel: &Channel) -> impl Iterator<Item = Guarantee> + use<> {
    channel.layout().into_iter().flat_map(|layout| layout.guarantees.into_values())
}

/// What a guarantee is worth to the party whose view `ledger` is.
fn part_of(state: &NodeState, ledger: &Channel, guarantee: &Guarantee) -> Amount {
    let known = state.virtual_channel(guarantee.target).map_or(Amount::ZERO, paid);
    let paid = known.min(guarantee.amount);
    if ledger.fixed.participants.get(ledger.my_index()) == Some(&guarantee.left) {
        guarantee.amount.saturating_sub(paid)
    } else {
        paid
    }
}

/// What was paid, by the final state that all have signed, or by the largest voucher.
fn paid(channel: &VirtualChannel) -> Amount {
    let agreed = channel.unanimous(TurnNum::VIRTUAL_FINAL).and_then(|_| channel.final_paid());
    agreed.unwrap_or_default().max(channel.paid())
}

/// What the party wants of a channel and has not got.
fn pursues(state: &NodeState, channel: ChannelId) -> Vec<String> {
    let mine = state.objectives().iter().filter(|(id, o)| id.channel == channel && o.is_live());
    mine.map(|(id, _)| doing(id.kind).to_owned()).collect()
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, Amount::saturating_add)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::How;
    use crate::scenario::Library;
    use crate::story::Recording;

    /// Alice has paid Bob ten gwei twenty times through Irene, and all has been closed.
    fn hub_pays() -> Recording {
        let mut scenarios = Library::new().load("smoke/hub_pays", &[]).expect("it is built in");
        let run = How::reference().run(&scenarios.remove(0), 0, true);
        assert!(run.report.verdict.is_pass());
        run.recording.expect("it was asked for")
    }

    fn states(of: &Recording, who: usize) -> impl Iterator<Item = &PartyState> {
        of.snapshots.iter().filter_map(move |s| match &s.of {
            StateAt::Party(party, state) => (party.0 == who).then_some(state),
            StateAt::Chain(_) => None,
        })
    }

    /// Goal: what a virtual channel does to its participants' money is seen in their states.
    /// Method: the newest state of each in which its guarantees stand and everything was paid, of one recorded run.
    #[test]
    fn vouchers_move_what_guarantees_are_worth() {
        let recording = hub_pays();
        let (whole, paid) = (Amount::ether(2), Amount::wei(200_000_000_000));
        let guaranteed = |who| states(&recording, who).filter(|s| s.guaranteed != Amount::ZERO);
        let [alice, irene, bob] = [0, 1, 2].map(|who| guaranteed(who).last().expect("it had one"));
        assert_eq!(alice.guaranteed, whole.saturating_sub(paid));
        assert_eq!(bob.guaranteed, paid);
        assert_eq!(alice.virtuals.first().map(|v| (v.amount, v.paid)), Some((whole, paid)));
        assert!(guaranteed(1).any(|s| s.guaranteed == whole && s.channels.len() == 2));
        assert!(irene.channels.iter().flat_map(|c| &c.guarantees).all(|g| g.1 == whole));
    }

    #[test]
    fn what_is_pursued_is_seen_until_it_is_over() {
        let recording = hub_pays();
        let of_channel =
            |s: &PartyState| s.channels.iter().flat_map(|c| c.pursues.clone()).collect();
        let pursued: Vec<Vec<String>> = states(&recording, 0).map(of_channel).collect();
        assert!(pursued.contains(&vec!["opening the channel".to_owned()]));
        assert!(pursued.contains(&vec!["closing the channel in agreement".to_owned()]));
        assert_eq!(pursued.last(), Some(&Vec::new()));
        let of_virtual = |s: &PartyState| s.virtuals.iter().any(|v| !v.pursues.is_empty());
        assert!(states(&recording, 0).any(of_virtual));
    }
}
