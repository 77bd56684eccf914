//! What a node knows of one virtual channel, and which states and vouchers may follow which.
//!
//! ```text
//! turn 0 prefund ─> guarantees in every ledger channel ─> turn 1 postfund ─> vouchers ─┬─> turn 3 final, agreed (any time)
//!                                                                                      └─> turn 2 redemption, on chain only
//! ```
//!
//! The final state has turn 3 and not 2, as in go-nitro: a payee who signed a final state at turn 2 and then met silence would have
//! to sign a second state of that turn to redeem its voucher. `conclude` ignores turns.
//!
//! The channel's own allocations are **of type guarantee**. The contract never pays such an entry, so nobody can deposit dust into the
//! channel and pay it out to change its finalized outcome, after which no ledger channel could reclaim; nor have it paid out wholly,
//! after which its status is deleted and an older state could be finalized for the second ledger channel. Reclaiming looks at amounts
//! alone, and the application does not look at types.
//!
//! Source: go-nitro `virtualfund.go`, `virtualdefund.go`, `VirtualPaymentApp.sol`, `MultiAssetHolder.sol`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain_view::{OnChain, OnChainStatus};
use crate::channel::{Milestone, Phase};
use crate::effect::Refusal;
use crate::event::{MessageKey, VirtualTerms, WantedTx};
use crate::ledger::{Expected, Guarantee};
use crate::nitro::outcome::{Allocation, AllocationType, Outcome, SingleAssetExit};
use crate::nitro::voucher::Voucher;
use crate::nitro::{FixedPart, SignedState, State};
use crate::types::{Address, Amount, ChainTime, ChannelId, Timestamp, TurnNum};

/// One virtual channel.
///
/// Invariants: a state in `states` is one that the terms allow; the voucher's amount never goes down and never exceeds the terms'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualChannel {
    /// The id.
    pub id: ChannelId,
    /// What names the channel.
    pub fixed: FixedPart,
    /// Our position: 0 is the payer, the last one the payee.
    pub me: u8,
    /// The asset.
    pub asset: Address,
    /// Most that can be paid.
    pub amount: Amount,
    /// Our ledger channel with the participant before us, once it is named.
    pub left: Option<ChannelId>,
    /// Our ledger channel with the participant after us.
    pub right: Option<ChannelId>,
    /// What we hold of the prefund, the postfund and the final state.
    pub states: BTreeMap<TurnNum, SignedState>,
    /// The largest voucher that we signed or received.
    pub voucher: Option<Voucher>,
    /// Transactions that we wanted, at most one of a kind.
    pub txs: Vec<WantedTx>,
    /// What was acknowledged of what we still send.
    pub acked: BTreeSet<MessageKey>,
    /// Where the channel is in its life.
    pub phase: Phase,
    /// In recovery: payer or payee has not yet told us what it knows.
    pub unwitnessed: bool,
    /// When something last moved; silence is counted from here.
    pub progress_at: Timestamp,
    /// How far the channel had come on chain then, at the head and confirmed.
    pub reached: [Milestone; 2],
}

impl VirtualTerms {
    /// The fixed part of the channel that these terms open.
    pub fn fixed_part(&self, app: Address) -> FixedPart {
        FixedPart {
            participants: self.participants.clone(),
            nonce: self.nonce,
            app_definition: app,
            challenge_duration: self.challenge_duration,
        }
    }

    /// The terms that a prefund state offers.
    ///
    /// # Errors
    /// The state is not the prefund of a virtual channel.
    pub fn of_prefund(state: &State) -> Result<VirtualTerms, Refusal> {
        let bad = |why| Refusal::BadState { turn: state.turn, why };
        let [exit] = state.outcome.as_slice() else { return Err(bad("not exactly one asset")) };
        let amount = exit.allocations.first().map_or(Amount::ZERO, |a| a.amount);
        let terms = VirtualTerms {
            participants: state.fixed.participants.clone(),
            nonce: state.fixed.nonce,
            challenge_duration: state.fixed.challenge_duration,
            asset: exit.asset,
            amount,
        };
        let canonical = outcome(&terms.participants, terms.asset, amount, Amount::ZERO);
        if canonical.as_ref() != Some(&state.outcome) {
            return Err(bad("the outcome is not that of a virtual channel"));
        }
        if state.turn != TurnNum::PREFUND || state.is_final || !state.app_data.is_empty() {
            return Err(bad("not a prefund"));
        }
        Ok(terms)
    }
}

/// What payer and payee get when `paid` of `amount` was paid; `None` when that is more than there is.
pub fn outcome(
    participants: &[Address],
    asset: Address,
    amount: Amount,
    paid: Amount,
) -> Option<Outcome> {
    let (payer, payee) = (participants.first()?, participants.last()?);
    let entry = |who: &Address, amount| Allocation {
        allocation_type: AllocationType::GUARANTEE,
        ..Allocation::simple(*who, amount)
    };
    let allocations = vec![entry(payer, amount.checked_sub(paid)?), entry(payee, paid)];
    Some(vec![SingleAssetExit::fungible(asset, allocations)])
}

impl VirtualChannel {
    /// The channel that `terms` describe, as `me` sees it. `None` when `me` is no participant.
    pub fn new(
        id: ChannelId,
        terms: &VirtualTerms,
        app: Address,
        me: Address,
        right: Option<ChannelId>,
        at: Timestamp,
    ) -> Option<VirtualChannel> {
        let fixed = terms.fixed_part(app);
        let index = fixed.index_of(me)?;
        Some(VirtualChannel {
            id,
            fixed,
            me: u8::try_from(index).ok()?,
            asset: terms.asset,
            amount: terms.amount,
            left: None,
            right,
            states: BTreeMap::new(),
            voucher: None,
            txs: Vec::new(),
            acked: BTreeSet::new(),
            phase: Phase::Opening,
            unwitnessed: false,
            progress_at: at,
            reached: [Milestone::default(); 2],
        })
    }

    /// Our index.
    pub fn my_index(&self) -> usize {
        usize::from(self.me)
    }

    /// The payee's index.
    pub fn last_index(&self) -> usize {
        self.fixed.participants.len().saturating_sub(1)
    }

    /// Whether we pay.
    pub fn is_payer(&self) -> bool {
        self.me == 0
    }

    /// Whether we are paid.
    pub fn is_payee(&self) -> bool {
        self.my_index() == self.last_index()
    }

    /// Who pays.
    pub fn payer(&self) -> Address {
        self.fixed.participants.first().copied().unwrap_or_default()
    }

    /// Who is paid.
    pub fn payee(&self) -> Address {
        self.fixed.participants.last().copied().unwrap_or_default()
    }

    /// Everybody but us, with their indices.
    pub fn others(&self) -> impl Iterator<Item = (u8, Address)> + '_ {
        (0u8..).zip(self.fixed.participants.iter().copied()).filter(|(i, _)| *i != self.me)
    }

    /// How far the channel has come in this view of the chain. It is never funded: what is deposited there is lost.
    pub fn milestone(&self, view: &OnChain) -> Milestone {
        Milestone::of_status(&view.status)
    }

    /// Our ledger channels: left, then right.
    pub fn ledgers(&self) -> impl Iterator<Item = ChannelId> + use<> {
        self.left.into_iter().chain(self.right)
    }

    /// How many ledger channels we need.
    pub fn ledgers_needed(&self) -> usize {
        usize::from(!self.is_payer()) + usize::from(!self.is_payee())
    }

    /// What was paid so far, as far as we hold vouchers.
    pub fn paid(&self) -> Amount {
        self.voucher.map_or(Amount::ZERO, |v| v.amount)
    }

    /// The state of `turn` in which `paid` was paid; `None` when that is more than there is.
    pub fn state(&self, turn: TurnNum, paid: Amount) -> Option<State> {
        Some(State {
            fixed: self.fixed.clone(),
            outcome: outcome(&self.fixed.participants, self.asset, self.amount, paid)?,
            app_data: Bytes::new(),
            turn,
            is_final: turn == TurnNum::VIRTUAL_FINAL,
        })
    }

    /// The state that redeems `voucher` on chain.
    pub fn redemption(&self, voucher: &Voucher) -> Option<State> {
        let state = self.state(TurnNum::REDEMPTION, voucher.amount)?;
        Some(State { app_data: voucher.redemption_data(), ..state })
    }

    /// What we hold of a turn, with everybody's signature.
    pub fn unanimous(&self, turn: TurnNum) -> Option<&SignedState> {
        self.states.get(&turn).filter(|s| s.is_unanimous())
    }

    /// Whether we have signed the state of a turn.
    pub fn signed(&self, turn: TurnNum) -> bool {
        self.states.get(&turn).is_some_and(|s| s.signed_by(self.my_index()))
    }

    /// What the agreed final state pays.
    pub fn final_paid(&self) -> Option<Amount> {
        let state = self.states.get(&TurnNum::VIRTUAL_FINAL)?.state();
        payee_part(&state.outcome)
    }

    /// Whether `signed` is a state that the terms allow and that contradicts none that we hold.
    ///
    /// # Errors
    /// Its sender is to blame; nothing was changed.
    pub fn check_received(&self, signed: &SignedState) -> Result<(), Refusal> {
        let (state, turn) = (signed.state(), signed.turn());
        let bad = |why| Err(Refusal::BadState { turn, why });
        if let Some(known) = self.states.get(&turn) {
            let same = known.hash() == signed.hash();
            return if same { Ok(()) } else { Err(Refusal::Equivocation(turn)) };
        }
        if turn != TurnNum::PREFUND && turn != TurnNum::POSTFUND && turn != TurnNum::VIRTUAL_FINAL {
            return bad(
                "a virtual channel has the turns 0, 1 and 3; a redemption is for the chain",
            );
        }
        let paid = payee_part(&state.outcome).unwrap_or(Amount::ZERO);
        if turn != TurnNum::VIRTUAL_FINAL && !paid.is_zero() {
            return bad("something was paid before the channel opened");
        }
        // Fixed part, asset, destinations, types, data, finality and the sum: everything but the amounts, and those within bounds.
        if self.state(turn, paid).as_ref() != Some(state) {
            return bad("not a state of this virtual channel");
        }
        let agreed = signed.signed_by(self.my_index());
        // Without our postfund a ledger channel of ours may lack the guarantee, and we would pay on one side and get nothing on the
        // other.
        if turn == TurnNum::VIRTUAL_FINAL
            && !paid.is_zero()
            && !self.signed(TurnNum::POSTFUND)
            && !agreed
        {
            return bad("something was paid before our ledger channels guaranteed it");
        }
        if turn == TurnNum::VIRTUAL_FINAL && !signed.signed_by(0) && !agreed {
            return bad("only the payer knows what it paid: its signature comes first");
        }
        Ok(())
    }

    /// Takes a state with valid signatures into account. Used by `apply` alone.
    pub(crate) fn merge(&mut self, signed: SignedState) {
        match self.states.get_mut(&signed.turn()) {
            Some(known) if known.hash() == signed.hash() => {
                known.merge(&signed);
            }
            // What everybody signed outweighs a draft.
            Some(known) if signed.is_unanimous() => *known = signed,
            Some(_) => {}
            None => {
                self.states.insert(signed.turn(), signed);
            }
        }
    }

    /// What we think of the guarantee in `ledger`, given what the chain has decided; `None` when it is no ledger channel of ours.
    pub fn expected_in(&self, ledger: ChannelId, decided: Option<Amount>) -> Option<Expected> {
        let me = self.my_index();
        let left = if self.right == Some(ledger) {
            me
        } else if self.left == Some(ledger) {
            me.checked_sub(1)?
        } else {
            return None;
        };
        let (left, right) =
            (*self.fixed.participants.get(left)?, *self.fixed.participants.get(left + 1)?);
        let guarantee = Guarantee { target: self.id, amount: self.amount, left, right };
        let accept = self.unanimous(TurnNum::PREFUND).is_some();
        let propose =
            self.phase == Phase::Opening && !self.states.contains_key(&TurnNum::VIRTUAL_FINAL);
        let paid = decided
            .or_else(|| self.unanimous(TurnNum::VIRTUAL_FINAL).and_then(|_| self.final_paid()));
        let remove = paid.and_then(|paid| self.amount.checked_sub(paid));
        Some(Expected { guarantee, propose, accept, remove })
    }

    /// What the chain finally says was paid. No later transaction changes it: nothing pays this channel out.
    pub fn decided(&self, view: &OnChain, now: ChainTime) -> Option<Amount> {
        if !view.is_finalized(now) {
            return None;
        }
        match &view.status {
            OnChainStatus::Challenged(c) => payee_part(&c.outcome),
            OnChainStatus::Concluded(_) => {
                self.unanimous(TurnNum::VIRTUAL_FINAL).and(self.final_paid())
            }
            OnChainStatus::Untouched | OnChainStatus::Recorded(_) => None,
        }
    }

    /// The finalized state's outcome and hash, as `reclaim` wants them.
    pub fn finalized(
        &self,
        view: &OnChain,
        now: ChainTime,
    ) -> Option<(Outcome, alloy_primitives::B256)> {
        if !view.is_finalized(now) {
            return None;
        }
        match &view.status {
            OnChainStatus::Challenged(c) => Some((c.outcome.clone(), c.state_hash)),
            OnChainStatus::Concluded(_) => {
                let outcome = self.unanimous(TurnNum::VIRTUAL_FINAL)?.state().outcome.clone();
                Some((outcome, alloy_primitives::B256::ZERO))
            }
            OnChainStatus::Untouched | OnChainStatus::Recorded(_) => None,
        }
    }

    /// Whether `voucher`, whose signer was recovered, promises us more than we hold.
    ///
    /// # Errors
    /// The payer, or whoever sent it, is to blame.
    pub fn check_voucher(&self, voucher: &Voucher, signer: Address) -> Result<bool, Refusal> {
        if !self.is_payee() {
            return Err(Refusal::Policy("only the payee takes vouchers".into()));
        }
        if signer != self.payer() {
            return Err(Refusal::Policy("the voucher is not signed by the payer".into()));
        }
        // Nothing of it would ever be durable, and an acknowledgement means that it is.
        if voucher.amount.is_zero() {
            return Err(Refusal::Policy("a voucher of zero promises nothing".into()));
        }
        if voucher.amount > self.amount {
            return Err(Refusal::ExceedsBalance { amount: voucher.amount, balance: self.amount });
        }
        if voucher.amount <= self.paid() {
            return Ok(false);
        }
        // Also what the final state covers: that may never become unanimous, and then the largest voucher that we hold is redeemed.
        let covered = self.final_paid().is_some_and(|paid| voucher.amount <= paid);
        let takes = matches!(self.phase, Phase::Open | Phase::Closing)
            && self.unanimous(TurnNum::POSTFUND).is_some()
            && (covered || !self.signed(TurnNum::VIRTUAL_FINAL));
        if takes { Ok(true) } else { Err(Refusal::NotOpen(self.id)) }
    }
}

/// What an outcome of a virtual channel gives to the payee, by position, as the contract reads it.
pub fn payee_part(outcome: &Outcome) -> Option<Amount> {
    outcome.first().and_then(|exit| exit.allocations.get(1)).map(|a| a.amount)
}

#[cfg(test)]
mod tests;
