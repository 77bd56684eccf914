//! Who is paid what out of a channel's holdings: the one computation that moves money out of the adjudicator.
//!
//! Pure; nodes use it to predict a payout before they pay for the transaction.
//!
//! Source: `MultiAssetHolder.sol`, `compute_transfer_effects_and_interactions`.

use alloc::vec::Vec;

use alloy_primitives::{B256, Bytes};

use super::revert::Revert;
use crate::nitro::outcome::{Allocation, AllocationType};
use crate::types::{Amount, Destination};

/// What a transfer does to one asset of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The allocations afterwards, each reduced by what was paid.
    pub allocations: Vec<Allocation>,
    /// The payments in order: one for each index asked for. An index that matches no allocation leaves a payment of
    /// nothing to destination zero.
    pub exit: Vec<Allocation>,
    /// The sum of the payments. Invariant: at most the holdings.
    pub total: Amount,
    /// Whether no allocation keeps anything.
    pub all_paid: bool,
}

/// Pays `allocations` out of `held` in priority order; only those at `indices`, or all when `indices` is empty.
///
/// Entries that are not asked for still reserve their share of the holdings. Indices must be strictly increasing to
/// have their meaning; the caller checks it, as in the contract.
///
/// # Danger
/// The deployed contract tests the type of `allocations[k]`, where `k` counts the payments so far, instead of that of the
/// paid entry: behind a simple allocation a guarantee can be paid out by anybody. `quirk_allocs_k` says whether to do the same.
///
/// # Errors
/// [`Revert::GUARANTEE`] when the tested entry is a guarantee.
pub fn compute_transfer(
    held: Amount,
    allocations: &[Allocation],
    indices: &[u64],
    quirk_allocs_k: bool,
) -> Result<Transfer, Revert> {
    let pays_all = indices.is_empty();
    let slots = if pays_all { allocations.len() } else { indices.len() };
    let mut exit = Vec::with_capacity(slots);
    let mut rest = Vec::with_capacity(allocations.len());
    let (mut surplus, mut total, mut all_paid) = (held, Amount::ZERO, true);

    for (i, allocation) in (0u64..).zip(allocations) {
        let affords = allocation.amount.min(surplus);
        let mut kept = allocation.clone();
        if pays_all || indices.get(exit.len()) == Some(&i) {
            let tested =
                if quirk_allocs_k { allocations.get(exit.len()) } else { Some(allocation) };
            if tested.is_some_and(|a| a.allocation_type == AllocationType::GUARANTEE) {
                return Err(Revert::GUARANTEE);
            }
            kept.amount = allocation.amount.checked_sub(affords).ok_or(Revert::OVERFLOW)?;
            total = total.checked_add(affords).ok_or(Revert::OVERFLOW)?;
            exit.push(Allocation { amount: affords, ..allocation.clone() });
        }
        all_paid &= kept.amount.is_zero();
        surplus = surplus.checked_sub(affords).ok_or(Revert::OVERFLOW)?;
        rest.push(kept);
    }
    exit.resize(slots, nothing());
    assert!(total <= held, "paid {total} of {held}");
    Ok(Transfer { allocations: rest, exit, total, all_paid })
}

/// An entry of Solidity's freshly allocated memory.
fn nothing() -> Allocation {
    Allocation {
        destination: Destination(B256::ZERO),
        amount: Amount::ZERO,
        allocation_type: AllocationType::SIMPLE,
        metadata: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// `A` and `B` are addresses, everything else a channel.
    fn destination(name: char) -> Destination {
        let mut word = B256::with_last_byte(name as u8);
        if !"AB".contains(name) {
            word[0] = 1;
        }
        Destination(word)
    }

    fn entry((name, amount): (char, u64), allocation_type: u8) -> Allocation {
        let amount = Amount::wei(amount);
        Allocation {
            destination: destination(name),
            amount,
            allocation_type,
            metadata: Bytes::new(),
        }
    }

    fn entries(rows: &[(char, u64)]) -> Vec<Allocation> {
        rows.iter().map(|row| entry(*row, AllocationType::SIMPLE)).collect()
    }

    fn paid(transfer: &Transfer) -> Vec<(char, u64)> {
        let name = |a: &Allocation| a.destination.0[31] as char;
        let wei = |a: &Allocation| u64::try_from(a.amount.0).unwrap();
        transfer.exit.iter().filter(|a| !a.amount.is_zero()).map(|a| (name(a), wei(a))).collect()
    }

    /// Protocol vector V13: holdings, outcome and indices against the new outcome, what is left and who was paid.
    #[test]
    fn transfers_match_the_vector() {
        type Row<'a> =
            (u32, u64, &'a [(char, u64)], &'a [u64], &'a [(char, u64)], u64, &'a [(char, u64)]);
        let rows: &[Row<'_>] = &[
            (1, 1, &[('A', 1)], &[0], &[('A', 0)], 0, &[('A', 1)]),
            (2, 2, &[('A', 1)], &[0], &[('A', 0)], 1, &[('A', 1)]),
            (3, 1, &[('A', 2)], &[0], &[('A', 1)], 0, &[('A', 1)]),
            (4, 1, &[('C', 1)], &[0], &[('C', 0)], 0, &[('C', 1)]),
            (6, 1, &[('C', 2)], &[0], &[('C', 1)], 0, &[('C', 1)]),
            (7, 2, &[('A', 1), ('B', 1)], &[0], &[('A', 0), ('B', 1)], 1, &[('A', 1)]),
            (9, 3, &[('A', 2), ('B', 2)], &[1], &[('A', 2), ('B', 1)], 2, &[('B', 1)]),
            (10, 1, &[('C', 1), ('X', 1)], &[1], &[('C', 1), ('X', 1)], 1, &[]),
            (12, 3, &[('C', 2), ('X', 2)], &[1], &[('C', 2), ('X', 1)], 2, &[('X', 1)]),
            (
                13,
                3,
                &[('C', 2), ('X', 2)],
                &[0, 1],
                &[('C', 0), ('X', 1)],
                0,
                &[('C', 2), ('X', 1)],
            ),
            (
                14,
                5,
                &[('A', 1), ('C', 2), ('X', 2)],
                &[0, 1, 2],
                &[('A', 0), ('C', 0), ('X', 0)],
                0,
                &[('A', 1), ('C', 2), ('X', 2)],
            ),
        ];
        for (row, held, before, indices, after, left, payouts) in rows {
            for quirk in [true, false] {
                let t =
                    compute_transfer(Amount::wei(*held), &entries(before), indices, quirk).unwrap();
                assert_eq!(t.allocations, entries(after), "row {row}");
                assert_eq!(
                    Amount::wei(*held).checked_sub(t.total),
                    Some(Amount::wei(*left)),
                    "row {row}"
                );
                assert_eq!(paid(&t), *payouts, "row {row}");
                assert_eq!(t.all_paid, after.iter().all(|(_, amount)| *amount == 0), "row {row}");
            }
        }
    }

    #[test]
    fn a_guarantee_at_slot_zero_stops_every_transfer_as_deployed() {
        let outcome = [entry(('X', 1), AllocationType::GUARANTEE), entry(('A', 1), 0)];
        for indices in [&[][..], &[0], &[1]] {
            let refused = compute_transfer(Amount::wei(2), &outcome, indices, true);
            assert_eq!(refused, Err(Revert::GUARANTEE), "{indices:?}");
        }
        assert!(compute_transfer(Amount::wei(2), &outcome, &[1], false).is_ok());
    }

    /// The scenario S1 of the deployed bytecode: a stranger pays a guarantee out behind a simple allocation.
    #[test]
    fn the_deployed_quirk_pays_a_guarantee_behind_a_simple_allocation() {
        let outcome = [
            entry(('A', 90), 0),
            entry(('B', 100), 0),
            entry(('X', 10), AllocationType::GUARANTEE),
        ];
        let deployed = compute_transfer(Amount::wei(200), &outcome, &[2], true).unwrap();
        assert_eq!(paid(&deployed), [('X', 10)]);
        assert_eq!(
            compute_transfer(Amount::wei(200), &outcome, &[2], false),
            Err(Revert::GUARANTEE)
        );
    }

    #[test]
    fn an_index_beyond_the_allocations_pays_nothing_to_nobody() {
        let t = compute_transfer(Amount::wei(1), &entries(&[('A', 1)]), &[7], true).unwrap();
        assert_eq!(t.exit, vec![nothing()]);
        assert_eq!((t.total, t.all_paid), (Amount::ZERO, false));
    }

    proptest! {
        #[test]
        fn a_transfer_moves_exactly_what_it_reports(
            held in any::<u64>(), amounts in proptest::collection::vec(any::<u64>(), 0..6),
            picks in proptest::collection::btree_set(0u64..8, 0..6), quirk in any::<bool>(),
        ) {
            let before: Vec<_> = amounts.iter().map(|a| entry(('A', *a), 0)).collect();
            let indices: Vec<u64> = picks.into_iter().collect();
            let t = compute_transfer(Amount::wei(held), &before, &indices, quirk).unwrap();
            let sum = |list: &[Allocation]| {
                list.iter().fold(Amount::ZERO, |s, a| s.checked_add(a.amount).unwrap())
            };
            prop_assert_eq!(sum(&t.exit), t.total);
            prop_assert_eq!(sum(&t.allocations).checked_add(t.total).unwrap(), sum(&before));
        }
    }
}
