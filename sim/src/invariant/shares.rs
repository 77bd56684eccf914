//! Who gets what by a state, small enough to be copied.

use std::collections::BTreeMap;

use fairway_core::chain_types::B256;
use fairway_core::nitro::{Allocation, AllocationType, Outcome, SignedState, State};
use fairway_core::types::{Address, Amount, ChannelId, Destination, TurnNum};

/// The outcome of a direct channel of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Whether the outcome is one asset with guarantees between the participants, ascending by target, then one simple allocation for
    /// each participant, in their order, and nothing else. Two canonical outcomes with equal shares and equal guarantees are equal.
    pub canonical: bool,
    /// Of the first exit.
    pub asset: Address,
    /// By participant; what is paid to its own destination.
    pub amounts: [Amount; 2],
    /// What all guarantees lock.
    pub locked: Amount,
}

/// What one guarantee of a ledger channel locks, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guaranteed {
    /// How much.
    pub amount: Amount,
    /// Index of the participant who gets the payer's part.
    pub left: usize,
}

impl Shares {
    /// Those of a state.
    pub fn of(state: &State) -> Shares {
        Shares::of_outcome(&state.outcome, &state.fixed.participants)
    }

    /// Those of `outcome` between `participants`.
    pub fn of_outcome(outcome: &Outcome, participants: &[Address]) -> Shares {
        let Some(exit) = outcome.first() else { return Shares::default() };
        let to = |i: usize| participants.get(i).map(|p| Destination::of(*p)).unwrap_or_default();
        let own = |i: usize, a: &Allocation| {
            a.destination == to(i)
                && a.allocation_type == AllocationType::SIMPLE
                && a.metadata.is_empty()
        };
        let split = exit.allocations.len().checked_sub(2);
        let parts = split.map(|at| exit.allocations.split_at(at));
        let canonical = outcome.len() == 1
            && participants.len() == 2
            && exit.asset_type == 0
            && exit.asset_metadata.is_empty()
            && parts.is_some_and(|(guarantees, simple)| {
                guarantees.iter().all(|a| guaranteed(a, participants).is_some())
                    && guarantees.is_sorted_by(|a, b| a.destination < b.destination)
                    && simple.iter().enumerate().all(|(i, a)| own(i, a))
            });
        let (locked, amounts) = match parts.filter(|_| canonical) {
            Some((guarantees, [a, b])) => (
                guarantees.iter().fold(Amount::ZERO, |sum, g| sum.saturating_add(g.amount)),
                [a.amount, b.amount],
            ),
            Some(_) | None => (Amount::ZERO, [exit.allocated_to(to(0)), exit.allocated_to(to(1))]),
        };
        Shares { canonical, asset: exit.asset, amounts, locked }
    }

    /// What participant `index` gets, guarantees apart.
    pub fn of_index(&self, index: usize) -> Amount {
        self.amounts.get(index).copied().unwrap_or(Amount::ZERO)
    }

    /// Everything, or `None` on overflow.
    pub fn total(&self) -> Option<Amount> {
        self.amounts[0].checked_add(self.amounts[1])?.checked_add(self.locked)
    }
}

/// The guarantees of a ledger channel's state, by target; entries that are none are left out.
pub(super) fn guarantees_of(state: &State) -> BTreeMap<ChannelId, Guaranteed> {
    let entries = state.outcome.first().map_or(&[][..], |exit| exit.allocations.as_slice());
    let of = |a: &Allocation| {
        Some((ChannelId(a.destination.0), guaranteed(a, &state.fixed.participants)?))
    };
    entries.iter().filter_map(of).collect()
}

/// The guarantee that an entry is, between these two: a channel's destination, and both of them as left and right.
fn guaranteed(a: &Allocation, participants: &[Address]) -> Option<Guaranteed> {
    let [first, second] = participants else { return None };
    let order = [*first, *second].map(|who| Destination::of(who).0);
    let (left, right) = (a.metadata.get(..32)?, a.metadata.get(32..)?);
    let left = order.iter().position(|d| d[..] == *left)?;
    let both = order.get(1 - left).is_some_and(|d| d[..] == *right);
    let usable = a.allocation_type == AllocationType::GUARANTEE
        && a.destination.address().is_none()
        && !a.amount.is_zero();
    (both && usable).then_some(Guaranteed { amount: a.amount, left })
}

/// What an invariant remembers of a signed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brief {
    /// Its turn.
    pub turn: TurnNum,
    /// Its hash.
    pub hash: B256,
    /// Whether it is final.
    pub is_final: bool,
    /// Its outcome.
    pub shares: Shares,
}

impl Brief {
    /// That of a logged state.
    pub fn of(signed: &SignedState) -> Brief {
        let state = signed.state();
        let (turn, hash, is_final) = (state.turn, signed.hash(), state.is_final);
        Brief { turn, hash, is_final, shares: Shares::of(state) }
    }
}
