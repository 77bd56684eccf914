//! What a node knows of one channel, and which states may follow which.
//!
//! Not here: what the chain says (`chain_view`), and what to do next (`objective`).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::chain_view::{OnChain, OnChainStatus};
use crate::effect::Refusal;
use crate::event::{MessageKey, Terms, Update, UpdateId, WantedTx};
use crate::ledger::{self, Change, Expectations, Layout};
use crate::nitro::outcome::{self, Allocation, AllocationType, Outcome};
use crate::nitro::{FixedPart, SignedState, State};
use crate::types::{Address, Amount, ChannelId, Destination, Timestamp, TurnNum};

/// One channel of two parties.
///
/// Invariants: `supported` is unanimous; every state in `pending` has a higher turn than `supported`; `signed` is the newest state
/// with our signature and never goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The id.
    pub id: ChannelId,
    /// What names the channel.
    pub fixed: FixedPart,
    /// Our position: 0 is the leader, who proposes, deposits first and concludes.
    pub me: u8,
    /// The other participant.
    pub peer: Address,
    /// The asset.
    pub asset: Address,
    /// Outcome of the prefund and the postfund: who deposits what.
    pub opening: Outcome,
    /// The newest unanimous state.
    pub supported: Option<SignedState>,
    /// Newer states that are not unanimous, by turn.
    pub pending: BTreeMap<TurnNum, SignedState>,
    /// The newest state that we signed.
    pub signed: Option<Signed>,
    /// Money that somebody wants to move, in order. At the follower only its own requests.
    pub updates: VecDeque<Update>,
    /// The newest request seen of each participant.
    pub last_update: [UpdateId; 2],
    /// The last deposit that we wanted.
    pub deposit: Option<Deposit>,
    /// Transactions that we wanted, at most one of a kind.
    pub txs: Vec<WantedTx>,
    /// What the peer has acknowledged of what we still send.
    pub acked: BTreeSet<MessageKey>,
    /// Where the channel is in its life.
    pub phase: Phase,
    /// Confirmed facts vanished: we sign nothing until the holdings are back.
    pub frozen: bool,
    /// In recovery: the peer has not yet told us what it knows.
    pub unwitnessed: bool,
    /// When something last moved; silence is counted from here.
    pub progress_at: Timestamp,
    /// How far the channel had come on chain then.
    pub reached: [Milestone; 2],
}

/// How far a channel has come on chain, at the head or confirmed. A deposit that reaches nothing new is no progress: whoever pays
/// dust into a channel that is not funded would keep our deposit there for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestone {
    /// How many of these are held: the deposits before ours, ours as well, everything.
    pub funding: u8,
    /// How the contract stands: untouched, recorded, challenged, concluded.
    pub status: u8,
    /// The turn on record or challenged.
    pub turn: TurnNum,
    /// How many payouts were made.
    pub payouts: u32,
}

impl Milestone {
    /// How the contract stands, and nothing else.
    pub fn of_status(status: &OnChainStatus) -> Milestone {
        let (status, turn) = match status {
            OnChainStatus::Untouched => (0, TurnNum::PREFUND),
            OnChainStatus::Recorded(turn) => (1, *turn),
            OnChainStatus::Challenged(c) => (2, c.turn),
            OnChainStatus::Concluded(_) => (3, TurnNum::PREFUND),
        };
        Milestone { status, turn, ..Milestone::default() }
    }
}

/// The newest state that we signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Its turn.
    pub turn: TurnNum,
    /// Its hash.
    pub hash: B256,
    /// Whether it is final: at most one ever is.
    pub is_final: bool,
}

/// A deposit that we wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Confirmed holdings that the decision was made on: the contract's `expectedHeld`.
    pub held_before: Amount,
    /// How much.
    pub amount: Amount,
}

/// A channel's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Not yet funded.
    Opening,
    /// Money can move.
    Open,
    /// Somebody wants to close it in agreement.
    Closing,
    /// Only the chain decides now.
    Disputed,
    /// Nothing left to do. The id is never used again: after a payout the contract would accept its old states.
    Finished,
}

impl Channel {
    /// The channel that `terms` describe, as `me` sees it. `None` when `me` is no participant.
    pub fn new(
        id: ChannelId,
        terms: &Terms,
        app: Address,
        me: Address,
        at: Timestamp,
    ) -> Option<Channel> {
        let index = terms.participants.iter().position(|p| *p == me)?;
        Some(Channel {
            id,
            fixed: terms.fixed_part(app),
            me: u8::try_from(index).ok()?,
            peer: terms.participants[1 - index],
            asset: terms.asset,
            opening: terms.opening(),
            supported: None,
            pending: BTreeMap::new(),
            signed: None,
            updates: VecDeque::new(),
            last_update: [UpdateId::default(); 2],
            deposit: None,
            txs: Vec::new(),
            acked: BTreeSet::new(),
            phase: Phase::Opening,
            frozen: false,
            unwitnessed: false,
            progress_at: at,
            reached: [Milestone::default(); 2],
        })
    }

    /// Our index.
    pub fn my_index(&self) -> usize {
        usize::from(self.me)
    }

    /// The peer's index.
    pub fn peer_index(&self) -> usize {
        1 - self.my_index()
    }

    /// Whether we propose updates.
    pub fn is_leader(&self) -> bool {
        self.me == 0
    }

    /// Our own destination.
    pub fn my_destination(&self) -> Destination {
        Destination::of(self.fixed.participants[self.my_index()])
    }

    /// The turn of the newest unanimous state.
    pub fn supported_turn(&self) -> Option<TurnNum> {
        self.supported.as_ref().map(SignedState::turn)
    }

    /// What the newest unanimous state gives to participant `index`, or the opening balance before there is one.
    ///
    /// Neither what we have signed since nor what is queued is deducted: the command that pays does that.
    pub fn balance(&self, index: usize) -> Amount {
        let outcome = self.supported.as_ref().map_or(&self.opening, |s| &s.state().outcome);
        balance_in(outcome, index)
    }

    /// Everything that was to be deposited.
    pub fn total(&self) -> Amount {
        balance_in(&self.opening, 0).saturating_add(balance_in(&self.opening, 1))
    }

    /// What must be on chain before our own deposit is safe: the deposits of those who stand before us.
    pub fn deposit_floor(&self) -> Amount {
        let exit = self.opening.first();
        exit.map_or(Amount::ZERO, |e| e.deposit_safety_threshold(self.my_destination()))
    }

    /// What is on chain once our own deposit is in.
    pub fn deposit_target(&self) -> Amount {
        self.deposit_floor().saturating_add(balance_in(&self.opening, self.my_index()))
    }

    /// How far the channel has come in this view of the chain.
    pub fn milestone(&self, view: &OnChain) -> Milestone {
        let marks = [self.deposit_floor(), self.deposit_target(), self.total()];
        let held = marks.into_iter().filter(|mark| view.held >= *mark).count();
        let funding = u8::try_from(held).unwrap_or(u8::MAX);
        // A reclaim is a step on the way to the payout.
        let payouts = u32::try_from(view.payouts.len()).unwrap_or(u32::MAX);
        let payouts = payouts.saturating_add(view.reclaims);
        Milestone { funding, payouts, ..Milestone::of_status(&view.status) }
    }

    /// The state of `turn` with `outcome`.
    pub fn state(&self, turn: TurnNum, outcome: Outcome, is_final: bool) -> State {
        State { fixed: self.fixed.clone(), outcome, app_data: Bytes::new(), turn, is_final }
    }

    /// The final state that closes this channel: the last supported outcome and nothing else. Anything that a peer offers instead
    /// would give our money away (go-nitro's responder signs it). `None` while a guarantee stands: it could never be reclaimed.
    pub fn closing_state(&self) -> Option<State> {
        let supported = self.supported.as_ref()?;
        if supported.state().is_final {
            return Some(supported.state().clone());
        }
        if self.has_guarantees() {
            return None;
        }
        Some(self.state(supported.turn().next()?, supported.state().outcome.clone(), true))
    }

    /// Both participants: leader, follower.
    pub fn parties(&self) -> [Address; 2] {
        let mut parties = [self.peer; 2];
        if let (Some(mine), Some(me)) =
            (parties.get_mut(self.my_index()), self.fixed.participants.get(self.my_index()))
        {
            *mine = *me;
        }
        parties
    }

    /// The newest unanimous outcome, taken apart; the opening one before there is any.
    pub fn layout(&self) -> Option<Layout> {
        let outcome = self.supported.as_ref().map_or(&self.opening, |s| &s.state().outcome);
        Layout::of(outcome, self.parties())
    }

    /// Whether the newest unanimous outcome, or one that may still become it, guarantees a virtual channel.
    pub fn has_guarantees(&self) -> bool {
        self.guaranteed().next().is_some()
    }

    /// Whether the newest unanimous outcome guarantees this virtual channel.
    pub fn guarantees(&self, target: ChannelId) -> bool {
        self.supported.as_ref().is_some_and(|s| holds_guarantee(&s.state().outcome, target))
    }

    /// Whether any outcome that is unanimous or may become it guarantees this virtual channel.
    pub fn may_guarantee(&self, target: ChannelId) -> bool {
        self.outcomes().any(|o| holds_guarantee(o, target))
    }

    /// The virtual channels that any outcome guarantees that is unanimous or may become it.
    pub fn guaranteed(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.outcomes().flat_map(guaranteed_in)
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.supported.iter().chain(self.pending.values()).map(|s| &s.state().outcome)
    }

    /// The newest state that the peer has signed above the supported one.
    pub fn proposed_by_peer(&self) -> Option<&SignedState> {
        self.pending.values().next_back().filter(|s| s.signed_by(self.peer_index()))
    }

    /// Whether we have signed something that is not unanimous yet.
    pub fn has_unanswered_signature(&self) -> bool {
        self.signed.is_some_and(|s| Some(s.turn) > self.supported_turn())
    }

    /// Whether our key signed two states of one turn, the unanimous one and another: somebody ran a copy of this node, or its log
    /// was exchanged for an older one unnoticed.
    ///
    /// # Danger
    /// The peer chooses which of the two it plays; whatever else we sign adds to its choice.
    pub fn contradicts_itself(&self) -> bool {
        let (Some(signed), Some(supported)) = (self.signed, &self.supported) else { return false };
        signed.turn == supported.turn() && signed.hash != supported.hash()
    }

    /// Whether our log holds our signature on this state, or the state is too old to matter.
    pub fn knows_own_signature(&self, state: &SignedState) -> bool {
        if Some(state.turn()) < self.supported_turn() {
            return true;
        }
        let known = [self.supported.as_ref(), self.pending.get(&state.turn())];
        known
            .into_iter()
            .flatten()
            .any(|s| s.hash() == state.hash() && s.signed_by(self.my_index()))
    }

    /// Whether `state` may follow what we know. The caller has checked signatures and membership.
    ///
    /// # Danger
    /// What passes here is countersigned without another question, and then the peer can enforce it.
    ///
    /// # Errors
    /// The peer is to blame; nothing was changed.
    pub fn check_received(
        &self,
        signed: &SignedState,
        expect: &Expectations,
    ) -> Result<(), Refusal> {
        let state = signed.state();
        let turn = state.turn;
        let bad = |why| Err(Refusal::BadState { turn, why });
        if let Some(pending) = self.pending.get(&turn) {
            if pending.hash() != signed.hash() {
                return Err(Refusal::Equivocation(turn));
            }
            if pending.signed_by(self.my_index()) {
                return Ok(());
            }
        }
        if let Some(supported) = &self.supported
            && supported.turn() == turn
        {
            let same = supported.hash() == signed.hash();
            return if same { Ok(()) } else { Err(Refusal::Equivocation(turn)) };
        }
        // What carries our own signature we agreed to, even if we forgot it.
        if signed.signed_by(self.my_index()) {
            return Ok(());
        }
        if !state.app_data.is_empty() {
            return bad("application data in a direct channel");
        }
        if turn <= TurnNum::POSTFUND {
            return if state.is_final {
                bad("final before the channel is funded")
            } else if state.outcome != self.opening {
                bad("outcome differs from the agreed opening")
            } else {
                Ok(())
            };
        }
        let Some(supported) = &self.supported else { return bad("nothing is supported yet") };
        if supported.turn() < TurnNum::POSTFUND {
            return bad("the channel is not funded");
        }
        if supported.state().is_final {
            return bad("the channel is final");
        }
        if supported.turn().next() != Some(turn) {
            return bad("not the next turn");
        }
        if state.is_final {
            return if self.closing_state().as_ref() == Some(state) {
                Ok(())
            } else {
                bad("final outcome differs from the last supported one")
            };
        }
        // A payment of ours that the follower proposes would be carried out and stay in our queue, to be made again.
        if self.is_leader() {
            return bad("only the leader proposes");
        }
        self.check_update(&state.outcome, expect).map(drop)
    }

    /// Whether `outcome` may replace the supported one: our layout, the same total, guarantees that we expect, and nothing taken from
    /// us that we did not ask for. [`Change::Premature`] when we do not hold yet what a guarantee rests on.
    ///
    /// # Errors
    /// The proposer is to blame.
    pub fn check_update(
        &self,
        outcome: &Outcome,
        expect: &Expectations,
    ) -> Result<Change, Refusal> {
        let turn = self.supported_turn().and_then(TurnNum::next).unwrap_or_default();
        let bad = |why| Refusal::BadState { turn, why };
        let before = self.layout().ok_or(bad("nothing is supported yet"))?;
        let after = Layout::of(outcome, self.parties())
            .filter(|after| after.asset == before.asset)
            .ok_or(bad("the outcome is not laid out as a ledger's"))?;
        let change = ledger::change(&before, &after, expect).map_err(bad)?;
        let Change::Ready { before: balances } = change else { return Ok(change) };
        let mine =
            |balances: [Amount; 2]| balances.get(self.my_index()).copied().unwrap_or_default();
        let (before_mine, after_mine) = (mine(balances), mine(after.balances));
        let asked = self.my_front_update().map(|u| u.amount);
        let paid = before_mine.checked_sub(after_mine);
        let moved = before.guarantees != after.guarantees;
        let unasked = paid.is_some_and(|p| !p.is_zero() || !moved) && paid != asked;
        if unasked {
            return Err(Refusal::UnwantedChange { before: before_mine, after: after_mine });
        }
        Ok(change)
    }

    /// What an outcome leaves us to pay once guarantees are taken into account: the update that it carries out, if it does.
    pub fn carried_out_by(&self, outcome: &Outcome, expect: &Expectations) -> Option<UpdateId> {
        let (before, after) = (self.layout()?, Layout::of(outcome, self.parties())?);
        let Ok(Change::Ready { before }) = ledger::change(&before, &after, expect) else {
            return None;
        };
        let me = self.my_index();
        let loses = after.balances.get(me) < before.get(me);
        self.my_front_update().filter(|_| loses).map(|u| u.id)
    }

    /// Whether no update can be carried out any more: the final state is agreed on, or the chain decides.
    pub fn takes_no_update(&self) -> bool {
        let is_final = self.supported.as_ref().is_some_and(|s| s.state().is_final);
        is_final || self.phase >= Phase::Disputed
    }

    /// Our own oldest request that was not carried out yet.
    pub fn my_front_update(&self) -> Option<&Update> {
        self.updates.iter().find(|u| u.payer == self.me)
    }

    /// Takes the update out of the queue that a state carries out: the leader's front, the follower's own oldest request.
    pub(crate) fn carry_out(&mut self, update: Option<UpdateId>) {
        let at = match update {
            Some(id) if self.is_leader() => {
                self.updates.front().is_some_and(|u| u.id == id).then_some(0)
            }
            Some(id) => self.updates.iter().position(|u| u.id == id && u.payer == self.me),
            None => None,
        };
        if let Some(at) = at {
            self.updates.remove(at);
        }
    }

    /// Takes a state with valid signatures into account. Used by `apply` alone.
    pub(crate) fn merge(&mut self, state: SignedState) {
        let turn = state.turn();
        if state.signed_by(self.my_index()) && self.signed.is_none_or(|s| s.turn < turn) {
            self.signed =
                Some(Signed { turn, hash: state.hash(), is_final: state.state().is_final });
        }
        if self.supported_turn().is_some_and(|s| turn <= s) {
            return;
        }
        match self.pending.get_mut(&turn) {
            Some(known) if known.hash() == state.hash() => {
                known.merge(&state);
            }
            // Our own signature outweighs a peer's older draft of the same turn.
            Some(known) if state.signed_by(usize::from(self.me)) => *known = state,
            Some(_) => {}
            None => {
                self.pending.insert(turn, state);
            }
        }
        if self.pending.get(&turn).is_some_and(SignedState::is_unanimous) {
            self.supported = self.pending.remove(&turn);
            self.pending = self.pending.split_off(&turn);
        }
    }

    /// Planted bug: takes the newest state that we have signed for supported.
    pub(crate) fn presume(&mut self) {
        if let Some(Signed { turn, .. }) = self.signed.filter(|s| s.turn > TurnNum::POSTFUND)
            && let Some(proposed) = self.pending.remove(&turn)
        {
            self.supported = Some(proposed);
        }
    }
}

impl Terms {
    /// The fixed part of the channel that these terms open.
    pub fn fixed_part(&self, app: Address) -> FixedPart {
        FixedPart {
            participants: self.participants.to_vec(),
            nonce: self.nonce,
            app_definition: app,
            challenge_duration: self.challenge_duration,
        }
    }

    /// The opening outcome.
    pub fn opening(&self) -> Outcome {
        let [a, b] = self.participants;
        let [x, y] = self.deposits;
        outcome::two_party(self.asset, [(a, x), (b, y)])
    }

    /// The terms that a prefund state offers.
    ///
    /// # Errors
    /// The state is not the prefund of a direct channel of two.
    pub fn of_prefund(state: &State) -> Result<Terms, Refusal> {
        let bad = |why| Refusal::BadState { turn: state.turn, why };
        let participants = <[Address; 2]>::try_from(state.fixed.participants.as_slice())
            .map_err(|_| bad("a direct channel has two participants"))?;
        let exit = state.outcome.first().ok_or(bad("no outcome"))?;
        let terms = Terms {
            participants,
            nonce: state.fixed.nonce,
            challenge_duration: state.fixed.challenge_duration,
            asset: exit.asset,
            deposits: [balance_in(&state.outcome, 0), balance_in(&state.outcome, 1)],
        };
        // One asset, two simple allocations in participant order, no metadata: exactly what we would have built.
        let canonical = terms.opening() == state.outcome;
        if state.turn != TurnNum::PREFUND || state.is_final || !state.app_data.is_empty() {
            return Err(bad("not a prefund"));
        }
        if canonical { Ok(terms) } else { Err(bad("the outcome is not that of a direct channel")) }
    }
}

/// What `outcome` gives to the participant at `index` apart from guarantees; zero when there is no such entry.
pub fn balance_in(outcome: &Outcome, index: usize) -> Amount {
    let allocation =
        slot_in(outcome, index).and_then(|slot| outcome.first()?.allocations.get(slot));
    allocation.map_or(Amount::ZERO, |a| a.amount)
}

/// Where the entry of the participant at `index` stands: after the guarantees.
pub fn slot_in(outcome: &Outcome, index: usize) -> Option<usize> {
    let allocations = &outcome.first()?.allocations;
    let mut simple = allocations.iter().enumerate().filter(|(_, a)| !is_guarantee(a));
    simple.nth(index).map(|(slot, _)| slot)
}

fn is_guarantee(allocation: &Allocation) -> bool {
    allocation.allocation_type == AllocationType::GUARANTEE
}

/// The virtual channels that `outcome` guarantees, in its order.
pub fn guaranteed_in(outcome: &Outcome) -> impl Iterator<Item = ChannelId> + '_ {
    let allocations = outcome.iter().flat_map(|e| &e.allocations);
    allocations.filter(|a| is_guarantee(a)).map(|a| ChannelId(a.destination.0))
}

/// Whether `outcome` guarantees this virtual channel.
pub fn holds_guarantee(outcome: &Outcome, target: ChannelId) -> bool {
    guaranteed_in(outcome).any(|id| id == target)
}

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
