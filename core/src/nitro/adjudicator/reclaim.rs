//! What becomes of a guarantee when the virtual channel that it backs is final.
//!
//! Pure, like [`super::transfer`].
//!
//! Source: `MultiAssetHolder.sol`, `compute_reclaim_effects`.

use alloc::vec::Vec;

use super::revert::{Revert, require};
use crate::nitro::outcome::{Allocation, guarantee_parties};
use crate::types::Amount;

/// The ledger channel's allocations without the guarantee at `index`: its left party gains what the virtual channel's first entry
/// holds, its right party what the second one holds. Left and right may be the same entry; of several entries the first gains.
///
/// # Danger
/// Neither the virtual channel's destinations nor the types of its entries are looked at: positions alone decide who gains what.
///
/// # Errors
/// An index out of bounds, metadata that is no pair of destinations, a party that has no entry of its own, shares that do not sum to the
/// guarantee exactly.
pub fn compute_reclaim(
    source: &[Allocation],
    target: &[Allocation],
    index: u64,
) -> Result<Vec<Allocation>, Revert> {
    // The contract makes room for one entry less before it looks at any.
    require(!source.is_empty(), Revert::OVERFLOW)?;
    let guarantee = at(source, index)?;
    let (left, right) = guarantee_parties(&guarantee.metadata).ok_or(Revert::Empty)?;
    let (mut found_left, mut found_right) = (false, false);
    let mut reclaimed = Amount::ZERO;
    let mut rest = Vec::with_capacity(source.len());
    for (i, entry) in (0u64..).zip(source) {
        if i == index {
            continue;
        }
        let mut entry = entry.clone();
        if !found_left && entry.destination == left {
            gain(&mut entry, &mut reclaimed, at(target, 0)?.amount)?;
            found_left = true;
        }
        if !found_right && entry.destination == right {
            gain(&mut entry, &mut reclaimed, at(target, 1)?.amount)?;
            found_right = true;
        }
        rest.push(entry);
    }
    require(found_left, Revert::NO_LEFT)?;
    require(found_right, Revert::NO_RIGHT)?;
    require(reclaimed == guarantee.amount, Revert::RECLAIMED_NOT_GUARANTEED)?;
    Ok(rest)
}

fn gain(entry: &mut Allocation, reclaimed: &mut Amount, amount: Amount) -> Result<(), Revert> {
    entry.amount = entry.amount.checked_add(amount).ok_or(Revert::OVERFLOW)?;
    *reclaimed = reclaimed.checked_add(amount).ok_or(Revert::OVERFLOW)?;
    Ok(())
}

/// Solidity's checked indexing.
pub(super) fn at<T>(list: &[T], index: u64) -> Result<&T, Revert> {
    usize::try_from(index).ok().and_then(|i| list.get(i)).ok_or(Revert::OUT_OF_BOUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloy_primitives::{Bytes, U256};
    use proptest::prelude::*;

    use crate::nitro::outcome::{AllocationType, guarantee_metadata};
    use crate::types::{Address, Destination};

    fn destination(name: char) -> Destination {
        Destination::of(Address::with_last_byte(name as u8))
    }

    fn entry(name: char, amount: u64) -> Allocation {
        Allocation::simple(Address::with_last_byte(name as u8), Amount::wei(amount))
    }

    fn guarantee(amount: u64, left: char, right: char) -> Allocation {
        Allocation {
            allocation_type: AllocationType::GUARANTEE,
            metadata: guarantee_metadata(destination(left), destination(right)),
            ..entry('V', amount)
        }
    }

    fn with_metadata(metadata: Bytes) -> Allocation {
        Allocation { metadata, ..guarantee(6, 'A', 'B') }
    }

    /// Protocol vector V12.
    #[test]
    fn a_reclaim_matches_the_vector() {
        let source = [entry('A', 2), entry('B', 2), guarantee(6, 'A', 'B')];
        let after = compute_reclaim(&source, &[entry('A', 1), entry('B', 5)], 2);
        assert_eq!(after, Ok(vec![entry('A', 3), entry('B', 7)]));
    }

    /// Goal: each refusal of the computation, in its order. Method: the vector, changed in one place a row.
    #[test]
    fn reclaims_are_refused_in_order() {
        let (a, b, g) = (entry('A', 2), entry('B', 2), guarantee(6, 'A', 'B'));
        let halves = vec![entry('X', 1), entry('Y', 5)];
        let most = Allocation { amount: Amount(U256::MAX), ..a.clone() };
        let (long, short) = (vec![0; 96], vec![0; 63]);
        type Row = (&'static str, Vec<Allocation>, Vec<Allocation>, u64, Option<Revert>);
        let rows: [Row; 12] = [
            (
                "others than the parties gain nothing",
                vec![a.clone(), b.clone(), g.clone()],
                halves.clone(),
                2,
                None,
            ),
            (
                "the same party twice",
                vec![a.clone(), guarantee(6, 'A', 'A')],
                halves.clone(),
                1,
                None,
            ),
            ("no allocation at all", vec![], halves.clone(), 0, Some(Revert::OVERFLOW)),
            (
                "an index behind the end",
                vec![a.clone(), g.clone()],
                halves.clone(),
                2,
                Some(Revert::OUT_OF_BOUNDS),
            ),
            (
                "metadata too short",
                vec![a.clone(), with_metadata(short.into())],
                halves.clone(),
                1,
                Some(Revert::Empty),
            ),
            (
                "metadata of others",
                vec![a.clone(), with_metadata(long.into())],
                halves.clone(),
                1,
                Some(Revert::NO_LEFT),
            ),
            (
                "nobody on the left",
                vec![b.clone(), g.clone()],
                halves.clone(),
                1,
                Some(Revert::NO_LEFT),
            ),
            (
                "nobody on the right",
                vec![a.clone(), g.clone()],
                halves.clone(),
                1,
                Some(Revert::NO_RIGHT),
            ),
            (
                "an empty target",
                vec![a.clone(), b.clone(), g.clone()],
                vec![],
                2,
                Some(Revert::OUT_OF_BOUNDS),
            ),
            (
                "a target of one",
                vec![a.clone(), b.clone(), g.clone()],
                vec![entry('X', 6)],
                2,
                Some(Revert::OUT_OF_BOUNDS),
            ),
            (
                "a wrong sum",
                vec![a, b.clone(), g.clone()],
                vec![entry('X', 1), entry('Y', 4)],
                2,
                Some(Revert::RECLAIMED_NOT_GUARANTEED),
            ),
            ("more than fits", vec![most, b, g], halves, 2, Some(Revert::OVERFLOW)),
        ];
        for (name, source, target, index, expected) in rows {
            assert_eq!(compute_reclaim(&source, &target, index).err(), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_reclaim_keeps_the_sum_of_the_ledger_channel(
            before in proptest::collection::vec((0u8..4, any::<u32>()), 0..6),
            shares in any::<[u32; 2]>(), index in 0u64..6, parties in any::<[bool; 2]>(),
        ) {
            let name = |n: u8| char::from(b'A' + n);
            let mut source: Vec<_> = before.iter().map(|(n, a)| entry(name(*n), u64::from(*a))).collect();
            let at = usize::try_from(index).unwrap().min(source.len());
            let [left, right] = parties.map(|b| name(u8::from(b)));
            let total = u64::from(shares[0]) + u64::from(shares[1]);
            source.insert(at, guarantee(total, left, right));
            let target = shares.map(|a| entry('X', u64::from(a)));
            let sum = |list: &[Allocation]| list.iter().fold(Amount::ZERO, |s, a| s.checked_add(a.amount).unwrap());
            if let Ok(after) = compute_reclaim(&source, &target, at as u64) {
                prop_assert_eq!(sum(&after), sum(&source));
                prop_assert_eq!(after.len() + 1, source.len());
            }
        }
    }
}
