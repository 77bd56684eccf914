//! What a node believes about the chain: a fold over the blocks in its log, with everything that a reorg takes back.
//!
//! Every channel has two views: at the **head**, for answers that must not wait (a stale challenge is answered at once), and
//! **confirmed**, `confirmations` blocks below it, for decisions that risk money.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::chain_types::{BlockRef, IndexedLog};
use crate::nitro::outcome::Outcome;
use crate::nitro::{Log, State};
use crate::types::{Address, Amount, BlockNum, ChainTime, ChannelId, TurnNum};

/// Blocks below the confirmed ones that can still be taken back in good order. A deeper reorg stops the node.
pub const REORG_BLOCKS_MAX: u64 = 64;

/// The chain as this node has logged it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    confirmations: u64,
    /// Facts up to here count. Never goes down but in a reorg deeper than the confirmations.
    confirmed_at: Option<BlockNum>,
    /// The newest blocks, oldest first.
    blocks: VecDeque<BlockRef>,
    channels: BTreeMap<ChannelId, Watched>,
    /// Channels with facts above the confirmed height.
    unconfirmed: BTreeSet<ChannelId>,
}

/// Readings of a channel's payouts that are kept at once.
pub const READINGS_MAX: usize = 64;

/// One channel's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    /// What the channel holds; deposits of other tokens are worth nothing to it.
    asset: Address,
    /// Fold of the facts that are too deep to be taken back.
    base: OnChain,
    /// The others, oldest first.
    facts: Vec<Fact>,
    head: OnChain,
    confirmed: OnChain,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fact {
    block: BlockNum,
    log: Log,
    /// Of a reclaim: which guarantee it was, once a transaction of the block showed it.
    target: Option<ChannelId>,
}

/// What the contract says about one channel at some block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnChain {
    /// Holdings of the channel's asset.
    pub held: Amount,
    /// Challenge or outcome.
    pub status: OnChainStatus,
    /// Holdings before and after each payout since the outcome was fixed.
    pub payouts: Vec<(Amount, Amount)>,
    /// Whether any outcome was ever finalized or paid: the id must not be funded again.
    pub concluded: bool,
    /// How many guarantees were reclaimed since the outcome was fixed. The log does not say which.
    pub reclaims: u32,
    /// Which of them the calldata showed, by the virtual channels that they backed: at most so many, and the endpoint's word.
    pub reclaimed: Vec<ChannelId>,
}

/// A channel's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnChainStatus {
    /// Never challenged.
    #[default]
    Untouched,
    /// A challenge was answered; this turn is on record.
    Recorded(TurnNum),
    /// A challenge runs, or has run out.
    Challenged(Challenge),
    /// Concluded in agreement at this time.
    Concluded(ChainTime),
}

/// A registered challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The challenged turn.
    pub turn: TurnNum,
    /// When its outcome becomes final.
    pub finalizes_at: ChainTime,
    /// The candidate's state hash.
    pub state_hash: B256,
    /// The candidate's outcome.
    pub outcome: Outcome,
}

impl OnChain {
    /// Whether the outcome is final at `now`.
    pub fn is_finalized(&self, now: ChainTime) -> bool {
        match &self.status {
            OnChainStatus::Untouched | OnChainStatus::Recorded(_) => false,
            OnChainStatus::Challenged(c) => c.finalizes_at <= now,
            OnChainStatus::Concluded(_) => true,
        }
    }

    /// When the outcome is or becomes final; `None` while nothing says so.
    pub fn finalizes_at(&self) -> Option<ChainTime> {
        match &self.status {
            OnChainStatus::Untouched | OnChainStatus::Recorded(_) => None,
            OnChainStatus::Challenged(c) => Some(c.finalizes_at),
            OnChainStatus::Concluded(at) => Some(*at),
        }
    }

    /// The challenge that still runs at `now`.
    pub fn running_challenge(&self, now: ChainTime) -> Option<&Challenge> {
        match &self.status {
            OnChainStatus::Challenged(c) if c.finalizes_at > now => Some(c),
            OnChainStatus::Untouched
            | OnChainStatus::Recorded(_)
            | OnChainStatus::Challenged(_)
            | OnChainStatus::Concluded(_) => None,
        }
    }

    /// Nothing is held, and something was paid out.
    pub fn is_paid_out(&self) -> bool {
        self.held.is_zero() && self.concluded
    }

    /// The finalized outcome as the contract may have it now: `finalized` less what was paid since, without repetition, the
    /// likeliest first.
    ///
    /// The log of a payout does not say to whom, so every reading that explains the amount counts: everybody, then each entry
    /// alone. With equal balances that can be several. A payout that nothing explains leaves the outcome as it was.
    ///
    /// # Danger
    /// Taking one of several readings for the truth can mean to believe that we were paid when the peer was.
    pub fn outcomes_left(&self, finalized: &Outcome) -> Vec<Outcome> {
        let mut outcomes = alloc::vec![finalized.clone()];
        let mut is_cut = false;
        for (before, after) in &self.payouts {
            let paid = before.saturating_sub(*after);
            let (mut next, mut seen): (Vec<Outcome>, BTreeSet<Outcome>) = Default::default();
            for outcome in &outcomes {
                for reading in readings(outcome, *before, paid) {
                    if seen.insert(reading.clone()) {
                        next.push(reading);
                    }
                }
            }
            // Whoever pays dust in and out again makes a reading more each time. They are bounded, and where some were left out the
            // one stays in which nothing was paid: unknown is not paid.
            is_cut |= next.len() > READINGS_MAX;
            next.truncate(READINGS_MAX);
            if !next.is_empty() {
                outcomes = next;
            }
        }
        if is_cut && !outcomes.contains(finalized) {
            outcomes.push(finalized.clone());
        }
        outcomes
    }

    fn apply(&mut self, fact: &Fact) {
        match &fact.log {
            Log::Deposited { held, .. } => self.held = *held,
            Log::AllocationUpdated { before, after, .. } => {
                self.held = *after;
                self.concluded = true;
                self.payouts.push((*before, *after));
            }
            Log::ChallengeRegistered { finalizes_at, candidate, .. } => {
                self.begin_anew();
                self.status = OnChainStatus::Challenged(Challenge {
                    turn: candidate.state.turn,
                    finalizes_at: *finalizes_at,
                    state_hash: State::hash(&candidate.state),
                    outcome: candidate.state.outcome.clone(),
                });
            }
            Log::ChallengeCleared { turn, .. } | Log::Checkpointed { turn, .. } => {
                self.status = OnChainStatus::Recorded(*turn);
            }
            Log::Concluded { finalizes_at, .. } => {
                self.begin_anew();
                self.concluded = true;
                self.status = OnChainStatus::Concluded(*finalizes_at);
            }
            Log::Reclaimed { .. } => {
                self.reclaims = self.reclaims.saturating_add(1);
                self.reclaimed.extend(fact.target);
            }
        }
    }

    /// An outcome was fixed of which nothing was paid or reclaimed yet.
    fn begin_anew(&mut self) {
        self.payouts.clear();
        self.reclaims = 0;
        self.reclaimed.clear();
    }
}

/// What `outcome` may have become when `paid` of `held` was paid.
fn readings(outcome: &Outcome, held: Amount, paid: Amount) -> Vec<Outcome> {
    let entries = outcome.first().map_or(0, |e| e.allocations.len());
    let everybody: Vec<usize> = (0..entries).collect();
    let alone = everybody.iter().map(|i| alloc::vec![*i]);
    let explain = |indices: Vec<usize>| {
        let mut trial = outcome.clone();
        let explains = pay(&mut trial.first_mut()?.allocations, held, &indices) == paid;
        explains.then_some(trial)
    };
    core::iter::once(everybody.clone()).chain(alone).filter_map(explain).collect()
}

/// Earlier entries are paid first; an entry that is not indexed still reserves its share.
fn pay(allocations: &mut [crate::nitro::Allocation], held: Amount, indices: &[usize]) -> Amount {
    let (mut surplus, mut paid) = (held, Amount::ZERO);
    for (i, allocation) in allocations.iter_mut().enumerate() {
        let affords = allocation.amount.min(surplus);
        if indices.contains(&i) {
            allocation.amount = allocation.amount.saturating_sub(affords);
            paid = paid.saturating_add(affords);
        }
        surplus = surplus.saturating_sub(affords);
    }
    paid
}

impl ChainView {
    /// An empty view.
    pub fn new(confirmations: u32) -> ChainView {
        ChainView { confirmations: u64::from(confirmations), ..ChainView::default() }
    }

    /// The newest block.
    pub fn head(&self) -> Option<BlockRef> {
        self.blocks.back().copied()
    }

    /// Its time; zero before there is one.
    pub fn now(&self) -> ChainTime {
        self.head().map_or(ChainTime(0), |b| b.time)
    }

    /// The block at `number`, if it is recent.
    pub fn block(&self, number: BlockNum) -> Option<BlockRef> {
        let oldest = self.blocks.front()?.number.0;
        let at = usize::try_from(number.0.checked_sub(oldest)?).ok()?;
        self.blocks.get(at).copied()
    }

    /// The oldest block that is remembered.
    pub fn oldest(&self) -> Option<BlockRef> {
        self.blocks.front().copied()
    }

    /// The height up to which facts count.
    pub fn confirmed_height(&self) -> Option<BlockNum> {
        self.confirmed_at
    }

    /// Starts watching a channel that holds `asset`.
    pub(crate) fn watch(&mut self, channel: ChannelId, asset: Address) {
        self.channels.entry(channel).or_default().asset = asset;
    }

    /// Whether the channel is watched.
    pub fn is_watched(&self, channel: ChannelId) -> bool {
        self.channels.contains_key(&channel)
    }

    /// All watched channels.
    pub fn watched(&self) -> impl Iterator<Item = ChannelId> {
        self.channels.keys().copied()
    }

    /// The channel at the head.
    pub fn at_head(&self, channel: ChannelId) -> &OnChain {
        self.channels.get(&channel).map_or(&NOTHING, |w| &w.head)
    }

    /// The block in which the turn on record was last set by a checkpoint, while a reorg can still reach it.
    pub fn recorded_at(&self, channel: ChannelId) -> Option<BlockNum> {
        let records =
            |f: &&Fact| matches!(f.log, Log::Checkpointed { .. } | Log::ChallengeCleared { .. });
        self.channels.get(&channel)?.facts.iter().rfind(records).map(|f| f.block)
    }

    /// The oldest block with a reclaim of this channel of which no calldata was shown, while a reorg can still reach it.
    pub fn reclaim_unread_at(&self, channel: ChannelId) -> Option<BlockNum> {
        self.channels.get(&channel)?.facts.iter().find(|f| f.is_unread_reclaim()).map(|f| f.block)
    }

    /// How many reclaims of this channel in a block showed no calldata yet.
    pub(crate) fn reclaims_unread(&self, channel: ChannelId, block: BlockNum) -> usize {
        let facts = self.channels.get(&channel).map_or(&[][..], |w| &w.facts);
        facts.iter().filter(|f| f.block == block && f.is_unread_reclaim()).count()
    }

    /// Says of a reclaim in a block which guarantee it was. Of several in one block any may be meant: a block counts as a whole.
    pub(crate) fn show_reclaim(&mut self, channel: ChannelId, block: BlockNum, target: ChannelId) {
        let Some(watched) = self.channels.get_mut(&channel) else { return };
        let unread = |f: &&mut Fact| f.block == block && f.is_unread_reclaim();
        if let Some(fact) = watched.facts.iter_mut().find(unread) {
            fact.target = Some(target);
            watched.rebuild(self.confirmed_at);
        }
    }

    /// The channel at the confirmed height.
    pub fn confirmed(&self, channel: ChannelId) -> &OnChain {
        self.channels.get(&channel).map_or(&NOTHING, |w| &w.confirmed)
    }

    /// Adds a block with the logs of watched channels; returns the channels whose views changed.
    pub(crate) fn add(&mut self, block: BlockRef, logs: Vec<IndexedLog>) -> Vec<ChannelId> {
        let mut changed = Vec::new();
        for IndexedLog { log, .. } in logs {
            let channel = log.channel();
            if let Some(watched) = self.channels.get_mut(&channel)
                && watched.concerns(&log)
            {
                let fact = Fact { block: block.number, log, target: None };
                watched.head.apply(&fact);
                watched.facts.push(fact);
                self.unconfirmed.insert(channel);
                changed.push(channel);
            }
        }
        self.blocks.push_back(block);
        let keep = self.confirmations + REORG_BLOCKS_MAX;
        while self.blocks.len() as u64 > keep {
            self.blocks.pop_front();
        }
        self.confirm(&mut changed);
        changed
    }

    fn confirm(&mut self, changed: &mut Vec<ChannelId>) {
        let head = self.head().map_or(0, |b| b.number.0);
        let reached = head.checked_sub(self.confirmations).map(BlockNum);
        let before = self.confirmed_at;
        if reached <= before {
            return;
        }
        self.confirmed_at = reached;
        let floor = self.oldest().map_or(BlockNum(0), |b| b.number);
        let mut waiting = BTreeSet::new();
        for channel in core::mem::take(&mut self.unconfirmed) {
            let Some(watched) = self.channels.get_mut(&channel) else { continue };
            if watched.confirm(before, reached) {
                changed.push(channel);
            }
            watched.compact(floor);
            if !watched.facts.is_empty() {
                waiting.insert(channel);
            }
        }
        self.unconfirmed = waiting;
    }

    /// Takes back every block above `to`; returns the channels whose views changed, and whether confirmed facts went with them.
    pub(crate) fn revert(&mut self, to: BlockRef) -> Vec<(ChannelId, bool)> {
        while self.blocks.back().is_some_and(|b| b.number > to.number) {
            self.blocks.pop_back();
        }
        let is_deep = self.confirmed_at.is_some_and(|c| c > to.number);
        if is_deep {
            self.confirmed_at = to.number.0.checked_sub(self.confirmations).map(BlockNum);
        }
        let mut changed = Vec::new();
        for (channel, watched) in &mut self.channels {
            let before = watched.facts.len();
            watched.facts.retain(|f| f.block <= to.number);
            if watched.facts.len() < before || is_deep && before > 0 {
                changed.push((*channel, watched.rebuild(self.confirmed_at)));
            }
        }
        changed
    }
}

impl Fact {
    fn is_unread_reclaim(&self) -> bool {
        matches!(self.log, Log::Reclaimed { .. }) && self.target.is_none()
    }
}

impl Watched {
    /// Whether a log is about the asset that the channel holds. A direct channel has one, at index 0 of its outcome.
    fn concerns(&self, log: &Log) -> bool {
        match log {
            Log::Deposited { asset, .. } => *asset == self.asset,
            Log::AllocationUpdated { asset_index, .. } | Log::Reclaimed { asset_index, .. } => {
                *asset_index == 0
            }
            Log::ChallengeRegistered { .. }
            | Log::ChallengeCleared { .. }
            | Log::Checkpointed { .. }
            | Log::Concluded { .. } => true,
        }
    }

    /// Folds facts below `floor` into the base: no reorg that we survive can reach them any more.
    fn compact(&mut self, floor: BlockNum) {
        let deep = self.facts.iter().take_while(|f| f.block < floor).count();
        for fact in self.facts.drain(..deep) {
            self.base.apply(&fact);
        }
    }

    /// Counts the facts above `from` up to `to`; says whether there were any.
    fn confirm(&mut self, from: Option<BlockNum>, to: Option<BlockNum>) -> bool {
        let mut any = false;
        for fact in self.facts.iter().filter(|f| Some(f.block) > from && Some(f.block) <= to) {
            self.confirmed.apply(fact);
            any = true;
        }
        any
    }

    /// Recomputes both views after facts were taken back; says whether the confirmed one changed.
    fn rebuild(&mut self, confirmed_at: Option<BlockNum>) -> bool {
        self.head = self.base.clone();
        self.facts.iter().for_each(|f| self.head.apply(f));
        let before = core::mem::replace(&mut self.confirmed, self.base.clone());
        self.confirm(None, confirmed_at);
        self.confirmed != before
    }
}

static NOTHING: OnChain = OnChain {
    held: Amount::ZERO,
    status: OnChainStatus::Untouched,
    payouts: Vec::new(),
    concluded: false,
    reclaims: 0,
    reclaimed: Vec::new(),
};

#[cfg(test)]
mod tests;
