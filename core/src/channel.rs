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
use crate::nitro::outcome::{self, AllocationType, Outcome};
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
        let (status, turn) = match &view.status {
            OnChainStatus::Untouched => (0, TurnNum::PREFUND),
            OnChainStatus::Recorded(turn) => (1, *turn),
            OnChainStatus::Challenged(c) => (2, c.turn),
            OnChainStatus::Concluded(_) => (3, TurnNum::PREFUND),
        };
        let funding = u8::try_from(held).unwrap_or(u8::MAX);
        let payouts = u32::try_from(view.payouts.len()).unwrap_or(u32::MAX);
        Milestone { funding, status, turn, payouts }
    }

    /// The state of `turn` with `outcome`.
    pub fn state(&self, turn: TurnNum, outcome: Outcome, is_final: bool) -> State {
        State { fixed: self.fixed.clone(), outcome, app_data: Bytes::new(), turn, is_final }
    }

    /// The final state that closes this channel: the last supported outcome and nothing else. Anything that a peer offers instead
    /// would give our money away (go-nitro's responder signs it).
    pub fn closing_state(&self) -> Option<State> {
        let supported = self.supported.as_ref()?;
        if supported.state().is_final {
            return Some(supported.state().clone());
        }
        Some(self.state(supported.turn().next()?, supported.state().outcome.clone(), true))
    }

    /// The newest state that the peer has signed above the supported one.
    pub fn proposed_by_peer(&self) -> Option<&SignedState> {
        self.pending.values().next_back().filter(|s| s.signed_by(self.peer_index()))
    }

    /// Whether we have signed something that is not unanimous yet.
    pub fn has_unanswered_signature(&self) -> bool {
        self.signed.is_some_and(|s| Some(s.turn) > self.supported_turn())
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
    pub fn check_received(&self, signed: &SignedState) -> Result<(), Refusal> {
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
        self.check_update(&state.outcome)
    }

    /// Whether `outcome` may replace the supported one: the same shape and total, and nothing taken from us that we did not ask for.
    ///
    /// # Errors
    /// The proposer is to blame.
    pub fn check_update(&self, outcome: &Outcome) -> Result<(), Refusal> {
        let turn = self.supported_turn().and_then(TurnNum::next).unwrap_or_default();
        let bad = |why| Err(Refusal::BadState { turn, why });
        if !same_shape(outcome, &self.opening) {
            return bad("allocations differ in more than their amounts");
        }
        let sum = |i| balance_in(outcome, i);
        if sum(0).checked_add(sum(1)) != Some(self.total()) {
            return bad("the total changes");
        }
        let (before, after) = (self.balance(self.my_index()), sum(self.my_index()));
        let asked = self.my_front_update().map(|u| u.amount);
        if after > before || before.checked_sub(after) == asked {
            return Ok(());
        }
        Err(Refusal::UnwantedChange { before, after })
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

    /// The supported outcome with `update` carried out; `None` when the payer cannot afford it.
    pub fn outcome_after(&self, update: &Update) -> Option<Outcome> {
        let mut outcome = self.supported.as_ref()?.state().outcome.clone();
        let payer = usize::from(update.payer);
        let allocations = &mut outcome.first_mut()?.allocations;
        let paid = allocations.get(payer)?.amount.checked_sub(update.amount)?;
        let received = allocations.get(1 - payer.min(1))?.amount.checked_add(update.amount)?;
        allocations.get_mut(payer)?.amount = paid;
        allocations.get_mut(1 - payer.min(1))?.amount = received;
        Some(outcome)
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

/// What `outcome` gives to the participant at `index`; zero when there is no such entry.
pub fn balance_in(outcome: &Outcome, index: usize) -> Amount {
    let allocation = outcome.first().and_then(|e| e.allocations.get(index));
    allocation.map_or(Amount::ZERO, |a| a.amount)
}

/// Whether two outcomes differ in amounts alone, all allocations being simple.
fn same_shape(a: &Outcome, b: &Outcome) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| {
            x.asset == y.asset
                && x.asset_type == y.asset_type
                && x.asset_metadata == y.asset_metadata
                && x.allocations.len() == y.allocations.len()
                && x.allocations.iter().zip(&y.allocations).all(|(p, q)| {
                    p.destination == q.destination
                        && p.allocation_type == AllocationType::SIMPLE
                        && p.metadata == q.metadata
                })
        })
}

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
