//! Ledger channels: the outcome of a direct channel that also guarantees virtual channels.
//!
//! The layout is ours: **guarantees stand first**, ascending by target, then leader, then follower. On the deployed contract anybody
//! can pay a guarantee out by `transfer` when a simple allocation stands in slot 0 (the contract tests the type of `allocations[k]`
//! where it pays `allocations[i]`); with a guarantee in slot 0 every `transfer` reverts until all guarantees are reclaimed. The price:
//! no payout from a ledger channel before all its guarantees are reclaimed.
//!
//! Not here: who may want which guarantee (`virtual_channel`), and when it is proposed (`objective::update`).
//!
//! Source: go-nitro `consensus_channel.go` (its order pays guarantees out); `MultiAssetHolder.sol`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::nitro::outcome::{
    Allocation, AllocationType, Outcome, SingleAssetExit, guarantee_metadata,
};
use crate::types::{Address, Amount, ChannelId, Destination};

/// Money of a ledger channel that a virtual channel divides between its two participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// The virtual channel.
    pub target: ChannelId,
    /// What it divides. Never zero.
    pub amount: Amount,
    /// Who gets the payer's part; it put all of `amount` in.
    pub left: Address,
    /// Who gets the payee's part.
    pub right: Address,
}

impl Guarantee {
    fn allocation(&self) -> Allocation {
        let (left, right) = (Destination::of(self.left), Destination::of(self.right));
        Allocation {
            destination: Destination(self.target.0),
            amount: self.amount,
            allocation_type: AllocationType::GUARANTEE,
            metadata: guarantee_metadata(left, right),
        }
    }

    /// The guarantee that an allocation is, between these two; `None` for anything that we would not have written.
    fn of(allocation: &Allocation, parties: [Address; 2]) -> Option<Guarantee> {
        let left = Destination(B256::try_from(allocation.metadata.get(..32)?).ok()?).address()?;
        let right = *parties.iter().find(|p| **p != left)?;
        let target = ChannelId(allocation.destination.0);
        let guarantee = Guarantee { target, amount: allocation.amount, left, right };
        let usable = parties.contains(&left)
            && !allocation.destination.is_external()
            && !allocation.amount.is_zero()
            && guarantee.allocation() == *allocation;
        usable.then_some(guarantee)
    }
}

/// A ledger channel's outcome, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The asset of everything.
    pub asset: Address,
    /// By target, which is their order on chain.
    pub guarantees: BTreeMap<ChannelId, Guarantee>,
    /// Leader, follower.
    pub parties: [Address; 2],
    /// What they hold apart from guarantees.
    pub balances: [Amount; 2],
}

impl Layout {
    /// Takes an outcome apart; `None` for anything that [`Layout::outcome`] would not have put together.
    pub fn of(outcome: &Outcome, parties: [Address; 2]) -> Option<Layout> {
        let [exit] = outcome.as_slice() else { return None };
        let (guarantees, simple) =
            exit.allocations.split_at_checked(exit.allocations.len().checked_sub(2)?)?;
        let guarantees: Option<BTreeMap<_, _>> =
            guarantees.iter().map(|a| Guarantee::of(a, parties).map(|g| (g.target, g))).collect();
        let [a, b] = simple else { return None };
        let balances = [a.amount, b.amount];
        let layout = Layout { asset: exit.asset, guarantees: guarantees?, parties, balances };
        (layout.outcome() == *outcome).then_some(layout)
    }

    /// Puts the outcome together.
    pub fn outcome(&self) -> Outcome {
        let guarantees = self.guarantees.values().map(Guarantee::allocation);
        let simple =
            self.parties.iter().zip(self.balances).map(|(who, a)| Allocation::simple(*who, a));
        let allocations: Vec<Allocation> = guarantees.chain(simple).collect();
        alloc::vec![SingleAssetExit::fungible(self.asset, allocations)]
    }

    /// Everything together; `None` on overflow, which only a hostile outcome has.
    pub fn total(&self) -> Option<Amount> {
        let guaranteed = self.guarantees.values().map(|g| g.amount);
        guaranteed.chain(self.balances).try_fold(Amount::ZERO, |sum, a| sum.checked_add(a))
    }

    /// Locks `guarantee`, which its left party pays for.
    ///
    /// # Errors
    /// Why not, in go-nitro's words; nothing was changed.
    pub fn add(&mut self, guarantee: Guarantee) -> Result<(), &'static str> {
        if self.guarantees.contains_key(&guarantee.target) {
            return Err("duplicate guarantee detected");
        }
        let balance = self.balance_of(guarantee.left).ok_or("left is no party of the ledger")?;
        *balance = balance.checked_sub(guarantee.amount).ok_or("insufficient funds")?;
        self.guarantees.insert(guarantee.target, guarantee);
        Ok(())
    }

    /// Gives the guarantee for `target` back: `left` of it to its left party, the rest to the other.
    ///
    /// # Errors
    /// Why not; nothing was changed.
    pub fn remove(&mut self, target: ChannelId, left: Amount) -> Result<(), &'static str> {
        let guarantee = *self.guarantees.get(&target).ok_or("guarantee not found")?;
        let right = guarantee
            .amount
            .checked_sub(left)
            .ok_or("left amount is greater than the guarantee amount")?;
        for (who, part) in [(guarantee.left, left), (guarantee.right, right)] {
            let balance = self.balance_of(who).ok_or("a party is missing")?;
            // Below the channel's total, which does not overflow.
            *balance = balance.saturating_add(part);
        }
        self.guarantees.remove(&target);
        Ok(())
    }

    fn balance_of(&mut self, who: Address) -> Option<&mut Amount> {
        let index = self.parties.iter().position(|p| *p == who)?;
        self.balances.get_mut(index)
    }
}

/// What a node thinks of the guarantee for one virtual channel in one of its ledger channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The one guarantee that the terms allow.
    pub guarantee: Guarantee,
    /// We want it, as a leader who may propose it.
    pub propose: bool,
    /// We may countersign it: we hold the unanimous prefund, which is the way out.
    pub accept: bool,
    /// It may be given back, with this part for the left party: the final state is unanimous, or the chain has decided.
    pub remove: Option<Amount>,
}

impl Expected {
    /// Whether the virtual channel has ended with a payment. Then the guarantee stood here until it was given back with its split, for
    /// nobody signs a postfund without it: once more it would be divided once more, on chain, and the payee paid twice. After an end
    /// without payments it may still be on its way, and costs nobody anything: all of it returns to who gave it.
    fn is_paid(&self) -> bool {
        self.remove.is_some_and(|left| left < self.guarantee.amount)
    }
}

/// What a node thinks of all guarantees in one ledger channel.
pub type Expectations = BTreeMap<ChannelId, Expected>;

/// How one outcome follows from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Every change of a guarantee rests on what we hold. `before` is what the party would have by these changes alone.
    Ready {
        /// By party.
        before: [Amount; 2],
    },
    /// A guarantee changes before we hold what it rests on; that may still come.
    Premature,
}

/// How `after` follows from `before`, guarantees apart from payments.
///
/// # Danger
/// What is [`Change::Ready`] is countersigned when the payment that remains is acceptable. A guarantee that is not ours to give, or a
/// part that the final state does not say, would give our money away.
///
/// # Errors
/// The proposer is to blame: no virtual channel that we know asks for this.
pub fn change(
    before: &Layout,
    after: &Layout,
    expect: &Expectations,
) -> Result<Change, &'static str> {
    let mut by_guarantees = before.clone();
    let mut is_ready = true;
    for (target, guarantee) in &after.guarantees {
        if before.guarantees.get(target) == Some(guarantee) {
            continue;
        }
        let expected =
            expect.get(target).ok_or("a guarantee for a virtual channel that we do not know")?;
        if expected.guarantee != *guarantee {
            return Err("a guarantee that differs from its virtual channel's terms");
        }
        if expected.is_paid() {
            return Err("a guarantee for a virtual channel that has paid and given it back");
        }
        is_ready &= expected.accept;
        by_guarantees.add(*guarantee)?;
    }
    for target in before.guarantees.keys().filter(|t| !after.guarantees.contains_key(t)) {
        match expect.get(target).and_then(|e| e.remove) {
            Some(left) => by_guarantees.remove(*target, left)?,
            None => is_ready = false,
        }
    }
    if after.total().is_none() || after.total() != before.total() {
        return Err("the total changes");
    }
    Ok(if is_ready { Change::Ready { before: by_guarantees.balances } } else { Change::Premature })
}

/// `layout` with every guarantee that is due: removals first, then what the left party can afford, by target.
pub fn due(layout: &Layout, expect: &Expectations, guarantees_max: usize) -> Layout {
    let mut next = layout.clone();
    for (target, expected) in expect {
        if let (Some(left), true) = (expected.remove, next.guarantees.contains_key(target)) {
            // Refused only when the parts exceed the guarantee: then there is nothing to agree on.
            let _ = next.remove(*target, left);
        }
    }
    for (target, expected) in expect {
        let room = next.guarantees.len() < guarantees_max;
        if expected.propose && expected.accept && room && !next.guarantees.contains_key(target) {
            // Not affordable now: it waits, or times out.
            let _ = next.add(expected.guarantee);
        }
    }
    next
}

#[cfg(test)]
mod tests;
