//! A node's log as an outsider reads it: its own fold, sharing no decision with the node's.
//!
//! An invariant checks each event against the view of what stands before it, then folds the event.

use std::collections::BTreeMap;

use fairway_core::chain_types::BlockRef;
use fairway_core::event::{Event, ObjectiveKind, Terms, Update, UpdateId};
use fairway_core::nitro::{Log, SignedState};
use fairway_core::types::{Address, Amount, BlockNum, ChannelId, Timestamp};

use super::guarantees;
use super::run::Run;
use super::shares::{Brief, Guaranteed, Shares, guarantees_of};
use super::virtual_view::VirtualView;
use crate::observe::{Observed, PartyId};

/// The views of all honest nodes: one fold of each log, maintained by the [`Watch`](super::Watch) and lent to every invariant.
#[derive(Debug)]
pub struct Views(Vec<NodeView>);

/// What one node has logged.
#[derive(Debug)]
pub(super) struct NodeView {
    me: Address,
    confirmations: u64,
    /// By channel.
    pub channels: BTreeMap<ChannelId, ChannelView>,
    /// By virtual channel.
    pub virtuals: BTreeMap<ChannelId, VirtualView>,
    /// The newest logged block.
    pub head: Option<BlockRef>,
    /// A height counts once it was `confirmations` below a logged head, until a logged reorg goes below it.
    pub confirmed: Option<BlockNum>,
    /// Channels whose supported state is newer than the durable one.
    ahead: Vec<ChannelId>,
}

/// What one node has logged about one channel.
#[derive(Clone, Debug, Default)]
pub(super) struct ChannelView {
    /// The node's index.
    pub me: usize,
    /// The participants.
    pub participants: [Address; 2],
    /// What was to be deposited.
    pub opening: Shares,
    /// Seconds.
    pub challenge_duration: u32,
    /// Of DirectFund, DirectDefund and Dispute.
    pub objectives: [Option<Progress>; 3],
    /// The newest state that everybody has signed.
    pub supported: Option<Brief>,
    /// The same as of the last sync.
    pub durable: Option<Brief>,
    /// The guarantees in the newest supported state, by target.
    pub guarantees: BTreeMap<ChannelId, Guaranteed>,
    /// Newer states with a bit for each signature.
    pub pending: Vec<(Brief, u32)>,
    /// The newest state with the node's own signature.
    pub signed: Option<Brief>,
    /// Payments that the node's own user asked for and that are neither carried out nor dropped.
    pub wanted: Vec<Update>,
    /// The newest request of each participant.
    pub last_update: [UpdateId; 2],
    /// The last wanted deposit: holdings before it, and how much.
    pub deposit: Option<(Amount, Amount)>,
    /// Holdings, and whether the channel was ever over, after each log of the node's branch.
    facts: Vec<(BlockNum, Fact)>,
}

/// How far an objective got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Pursued.
    Live,
    /// Completed.
    Completed,
    /// Given up.
    Rejected,
}

/// The contract's word on one channel after one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fact {
    /// Holdings.
    pub held: Amount,
    /// Whether an outcome was concluded or paid out.
    pub over: bool,
}

impl Views {
    pub(super) fn new(run: &Run) -> Views {
        let of = |i| NodeView::new(run.address(PartyId(i)), run.confirmations(PartyId(i)));
        Views((0..run.count()).map(of).collect())
    }

    /// One node's view.
    pub(super) fn of(&self, node: PartyId) -> &NodeView {
        &self.0[node.0]
    }

    /// One node's view of one channel.
    pub(super) fn channel(&self, node: PartyId, channel: ChannelId) -> Option<&ChannelView> {
        self.0.get(node.0)?.channels.get(&channel)
    }

    /// One node's view of one virtual channel.
    pub(super) fn virtual_channel(
        &self,
        node: PartyId,
        channel: ChannelId,
    ) -> Option<&VirtualView> {
        self.0.get(node.0)?.virtuals.get(&channel)
    }

    /// Takes one event of a node into account.
    pub(super) fn fold(&mut self, node: PartyId, event: &Event) {
        self.0[node.0].fold(event);
    }

    /// Everything that the node has appended is durable.
    pub(super) fn synced(&mut self, node: PartyId) {
        self.0[node.0].synced();
    }

    /// The node reads its log again.
    pub(super) fn restart(&mut self, node: PartyId, log: &[(Timestamp, Event)]) {
        let old = &self.0[node.0];
        let mut fresh = NodeView::new(old.me, old.confirmations);
        log.iter().for_each(|(_, event)| fresh.fold(event));
        fresh.synced();
        self.0[node.0] = fresh;
    }

    /// Takes an observation into account, but for the events of a batch: those are folded one by one.
    pub(super) fn follow(&mut self, seen: &Observed<'_>) {
        match seen {
            Observed::Synced { node, .. } => self.synced(*node),
            Observed::Restarted { node, log, .. } => self.restart(*node, log),
            _ => {}
        }
    }
}

impl NodeView {
    fn new(me: Address, confirmations: u64) -> NodeView {
        NodeView {
            me,
            confirmations,
            channels: BTreeMap::new(),
            virtuals: BTreeMap::new(),
            head: None,
            confirmed: None,
            ahead: Vec::new(),
        }
    }

    /// What the contract says at the confirmed height.
    pub fn confirmed(&self, channel: ChannelId) -> Fact {
        let fact = self.channels.get(&channel).and_then(|c| c.fact_at(self.confirmed?));
        fact.unwrap_or_default()
    }

    /// What it says at the head.
    pub fn at_head(&self, channel: ChannelId) -> Fact {
        let last = self.channels.get(&channel).and_then(|c| c.facts.last());
        last.map_or(Fact::default(), |(_, fact)| *fact)
    }

    fn synced(&mut self) {
        for channel in self.ahead.drain(..) {
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.durable = channel.supported;
            } else if let Some(channel) = self.virtuals.get_mut(&channel) {
                channel.synced();
            }
        }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::ObjectiveApproved { id, terms, .. } => {
                if let Some(terms) = terms {
                    let opened = self.opened(terms);
                    self.channels.entry(id.channel).or_insert(opened);
                }
                self.progress(id.channel, id.kind, Progress::Live);
            }
            Event::ObjectiveRejected { id, .. } => {
                self.progress(id.channel, id.kind, Progress::Rejected);
            }
            Event::ObjectiveCompleted { id } => {
                self.progress(id.channel, id.kind, Progress::Completed);
            }
            Event::StateSigned { state, .. }
            | Event::StateReceived { state, .. }
            | Event::StatePublished { state } => {
                let carried = self.carried(state);
                if let Some(channel) = self.channels.get_mut(&state.channel()) {
                    let before = channel.supported.map(|s| s.turn);
                    let signed = matches!(event, Event::StateSigned { .. });
                    channel.merge(state, carried.filter(|_| signed));
                    if channel.supported.map(|s| s.turn) > before {
                        self.ahead.push(state.channel());
                    }
                } else if let Some(channel) = self.virtuals.get_mut(&state.channel()) {
                    channel.merge(state);
                }
            }
            Event::DepositWanted { channel, held_before, amount } => {
                if let Some(channel) = self.channels.get_mut(channel) {
                    channel.deposit = Some((*held_before, *amount));
                }
            }
            Event::UpdateWanted { channel, update } => {
                if let Some(channel) = self.channels.get_mut(channel) {
                    channel.want(update);
                }
            }
            Event::UpdateDropped { channel, id } => {
                if let Some(channel) = self.channels.get_mut(channel)
                    && let Some(at) = channel.wanted.iter().position(|u| u.id == *id)
                {
                    channel.wanted.remove(at);
                }
            }
            Event::BlockAdded { block, logs } => {
                logs.iter().for_each(|l| self.learn(block.number, &l.log));
                self.head = Some(*block);
                let reached = block.number.0.checked_sub(self.confirmations).map(BlockNum);
                self.confirmed = self.confirmed.max(reached);
            }
            Event::BlocksReverted { to } => self.revert(*to),
            Event::VirtualApproved { id, terms, right, .. } => {
                let opened = VirtualView::new(terms, self.me, *right);
                self.virtuals.entry(id.channel).or_insert(opened);
                self.progress(id.channel, id.kind, Progress::Live);
            }
            Event::LedgerNamed { channel, ledger } => {
                if let Some(channel) = self.virtuals.get_mut(channel) {
                    channel.ledgers[0] = Some(*ledger);
                }
            }
            Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
                if let Some(channel) = self.virtuals.get_mut(&voucher.channel) {
                    channel.promise(voucher.amount);
                    self.ahead.push(voucher.channel);
                }
            }
            Event::Pinned(_)
            | Event::PaymentAppPinned { .. }
            | Event::TxWanted { .. }
            | Event::MessageAcked { .. }
            | Event::RecoveryEntered { .. }
            | Event::ChannelWitnessed { .. }
            | Event::RecoveryEnded
            | Event::ReclaimShown { .. } => {}
        }
    }

    /// What is ours once the guarantees have changed as `state` says, if that is a ledger channel's.
    fn carried(&self, state: &SignedState) -> Option<Amount> {
        let channel = self.channels.get(&state.channel())?;
        let after = guarantees_of(state.state());
        let carried = guarantees::carried(self, state.channel(), channel, &after);
        Some(carried.unwrap_or(channel.mine()))
    }

    fn opened(&self, terms: &Terms) -> ChannelView {
        let me = terms.participants.iter().position(|p| *p == self.me).unwrap_or(usize::MAX);
        ChannelView {
            me,
            participants: terms.participants,
            opening: Shares {
                canonical: true,
                asset: terms.asset,
                amounts: terms.deposits,
                locked: Amount::ZERO,
            },
            challenge_duration: terms.challenge_duration,
            ..ChannelView::default()
        }
    }

    fn progress(&mut self, channel: ChannelId, kind: ObjectiveKind, progress: Progress) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.objectives[slot(kind)] = Some(progress);
        } else if let Some(channel) = self.virtuals.get_mut(&channel) {
            channel.objectives[slot(kind)] = Some(progress);
        }
    }

    fn learn(&mut self, block: BlockNum, log: &Log) {
        if let Some(channel) = self.virtuals.get_mut(&log.channel()) {
            return channel.learn(block, log);
        }
        let Some(channel) = self.channels.get_mut(&log.channel()) else { return };
        let before = channel.facts.last().map_or(Fact::default(), |(_, fact)| *fact);
        channel.facts.push((block, before.after(log, channel.opening.asset)));
    }

    fn revert(&mut self, to: BlockRef) {
        self.head = Some(to);
        if self.confirmed > Some(to.number) {
            self.confirmed = to.number.0.checked_sub(self.confirmations).map(BlockNum);
        }
        for channel in self.channels.values_mut() {
            while channel.facts.last().is_some_and(|(block, _)| *block > to.number) {
                channel.facts.pop();
            }
        }
        self.virtuals.values_mut().for_each(|channel| channel.revert(to.number));
    }
}

impl ChannelView {
    /// How far the objective of this kind got; `None` before it was approved.
    pub fn objective(&self, kind: ObjectiveKind) -> Option<Progress> {
        self.objectives[slot(kind)]
    }

    /// What the node owns by the newest supported state, or by the opening.
    pub fn mine(&self) -> Amount {
        self.supported.map_or(self.opening, |s| s.shares).of_index(self.me)
    }

    /// Deposits of those who stand before the node.
    pub fn deposit_floor(&self) -> Amount {
        let before = self.opening.amounts.iter().take(self.me.min(2));
        before.fold(Amount::ZERO, |sum, a| sum.saturating_add(*a))
    }

    /// All deposits together.
    pub fn total(&self) -> Amount {
        self.opening.total().unwrap_or(Amount::ZERO)
    }

    /// Signatures that the log holds on the state with this hash, a bit each; `None` below the supported turn.
    pub fn signatures(&self, state: &SignedState) -> Option<u32> {
        if let Some(supported) = self.supported
            && state.turn() <= supported.turn
        {
            return (supported.hash == state.hash()).then_some(u32::MAX);
        }
        let known = self.pending.iter().find(|(b, _)| b.hash == state.hash());
        Some(known.map_or(0, |(_, mask)| *mask))
    }

    fn fact_at(&self, height: BlockNum) -> Option<Fact> {
        let fact = self.facts.iter().rev().find(|(block, _)| *block <= height);
        fact.map(|(_, fact)| *fact)
    }

    /// `carried` is what a state of ours leaves to us by its guarantees alone.
    fn merge(&mut self, state: &SignedState, carried: Option<Amount>) {
        let brief = Brief::of(state);
        let mine = state.signed_by(self.me);
        if let Some(before) = carried {
            self.pay(before, &brief);
        }
        if mine && self.signed.is_none_or(|s| s.turn < brief.turn) {
            self.signed = Some(brief);
        }
        if self.supported.is_some_and(|s| brief.turn <= s.turn) {
            return;
        }
        let mask = mask_of(state);
        let at = self.pending.iter().position(|(b, _)| b.hash == brief.hash);
        let at = at.unwrap_or_else(|| {
            self.pending.push((brief, 0));
            self.pending.len() - 1
        });
        self.pending[at].1 |= mask;
        if self.pending[at].1.count_ones() as usize == state.state().fixed.participants.len() {
            self.supported = Some(brief);
            self.guarantees = guarantees_of(state.state());
            self.pending.retain(|(b, _)| b.turn > brief.turn);
        }
    }

    /// A state of ours that gives away what a request asked for carries that request out.
    fn pay(&mut self, before: Amount, brief: &Brief) {
        let after = brief.shares.of_index(self.me);
        let paid = before.checked_sub(after).filter(|p| !p.is_zero());
        if let Some(at) = self.wanted.iter().position(|u| Some(u.amount) == paid) {
            self.wanted.remove(at);
        }
    }

    fn want(&mut self, update: &Update) {
        if let Some(last) = self.last_update.get_mut(usize::from(update.payer)) {
            *last = update.id;
        }
        if usize::from(update.payer) == self.me {
            self.wanted.push(*update);
        }
    }
}

impl Fact {
    /// What holds of `asset` after one more log. Other assets in the same channel are nobody's money.
    pub fn after(self, log: &Log, asset: Address) -> Fact {
        match log {
            Log::Deposited { asset: of, .. } if *of != asset => self,
            Log::Deposited { held, .. } => Fact { held: *held, ..self },
            Log::AllocationUpdated { after, .. } => Fact { held: *after, over: true },
            Log::Concluded { .. } => Fact { over: true, ..self },
            Log::ChallengeRegistered { .. }
            | Log::ChallengeCleared { .. }
            | Log::Checkpointed { .. }
            | Log::Reclaimed { .. } => self,
        }
    }
}

/// A bit for each signature.
pub(super) fn mask_of(state: &SignedState) -> u32 {
    state.sigs().keys().fold(0, |mask, i| mask | 1u32.checked_shl(u32::from(*i)).unwrap_or(0))
}

/// A channel is direct or virtual, so both kinds of opening and of closing share a place.
pub(super) fn slot(kind: ObjectiveKind) -> usize {
    match kind {
        ObjectiveKind::DirectFund | ObjectiveKind::VirtualFund => 0,
        ObjectiveKind::DirectDefund | ObjectiveKind::VirtualDefund => 1,
        ObjectiveKind::Dispute => 2,
    }
}
