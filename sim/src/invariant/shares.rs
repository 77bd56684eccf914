//! Who gets what by a state, small enough to be copied.

use fairway_core::chain_types::B256;
use fairway_core::nitro::{AllocationType, Outcome, SignedState, State};
use fairway_core::types::{Address, Amount, Destination, TurnNum};

/// The outcome of a direct channel of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Whether the outcome is one asset with one simple allocation for each participant, in their order, and nothing else. Two
    /// canonical outcomes with equal shares are equal.
    pub canonical: bool,
    /// Of the first exit.
    pub asset: Address,
    /// By participant; what is paid to its own destination.
    pub amounts: [Amount; 2],
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
        let canonical = outcome.len() == 1
            && participants.len() == 2
            && exit.asset_type == 0
            && exit.asset_metadata.is_empty()
            && exit.allocations.len() == 2
            && exit.allocations.iter().enumerate().all(|(i, a)| {
                a.destination == to(i)
                    && a.allocation_type == AllocationType::SIMPLE
                    && a.metadata.is_empty()
            });
        let amounts = if canonical {
            [exit.allocations[0].amount, exit.allocations[1].amount]
        } else {
            [exit.allocated_to(to(0)), exit.allocated_to(to(1))]
        };
        Shares { canonical, asset: exit.asset, amounts }
    }

    /// What participant `index` gets.
    pub fn of_index(&self, index: usize) -> Amount {
        self.amounts.get(index).copied().unwrap_or(Amount::ZERO)
    }

    /// Everything, or `None` on overflow.
    pub fn total(&self) -> Option<Amount> {
        self.amounts[0].checked_add(self.amounts[1])
    }
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
