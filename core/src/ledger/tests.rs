use proptest::prelude::*;

use super::*;
use crate::channel::testkit::{alice, bob, carol, wei};

fn parties() -> [Address; 2] {
    [alice().address(), bob().address()]
}

fn target(n: u8) -> ChannelId {
    ChannelId(B256::repeat_byte(n))
}

/// Alice pays.
fn guarantee(n: u8, amount: u64) -> Guarantee {
    let [left, right] = parties();
    Guarantee { target: target(n), amount: wei(amount), left, right }
}

fn layout(guarantees: &[Guarantee], balances: [u64; 2]) -> Layout {
    Layout {
        asset: Address::ZERO,
        guarantees: guarantees.iter().map(|g| (g.target, *g)).collect(),
        parties: parties(),
        balances: balances.map(wei),
    }
}

fn expected(guarantee: Guarantee) -> Expected {
    Expected { guarantee, propose: true, accept: true, remove: None }
}

fn expectations(of: &[Expected]) -> Expectations {
    of.iter().map(|e| (e.guarantee.target, *e)).collect()
}

/// Goal: guarantees stand first, so that no `transfer` passes while one is left, and an outcome has one form.
#[test]
fn an_outcome_is_read_back_only_in_the_form_that_we_write() {
    let ledger = layout(&[guarantee(9, 3), guarantee(5, 4)], [10, 20]);
    let outcome = ledger.outcome();
    let types: Vec<u8> = outcome[0].allocations.iter().map(|a| a.allocation_type).collect();
    assert_eq!(types, [2, 2, 0, 0]);
    assert_eq!(outcome[0].allocations[0].destination.0, target(5).0, "ascending by target");
    assert_eq!(Layout::of(&outcome, parties()), Some(ledger.clone()));
    assert_eq!(ledger.total(), Some(wei(37)));

    type Change = fn(&mut Outcome);
    let changes: [(&str, Change); 14] = [
        ("no asset", |o| o.clear()),
        ("two assets", |o| o.push(o[0].clone())),
        ("another kind of asset", |o| o[0].asset_type = 1),
        ("the guarantees in another order", |o| o[0].allocations.swap(0, 1)),
        ("a guarantee last", |o| o[0].allocations.rotate_left(1)),
        ("leader and follower swapped", |o| o[0].allocations.swap(2, 3)),
        ("a guarantee twice", |o| {
            let again = o[0].allocations[0].clone();
            o[0].allocations.insert(0, again);
        }),
        ("a guarantee of nothing", |o| o[0].allocations[0].amount = wei(0)),
        ("go-nitro's type of guarantee", |o| o[0].allocations[0].allocation_type = 1),
        ("a guarantee for an address", |o| {
            o[0].allocations[0].destination = Destination::of(alice().address())
        }),
        ("a guarantee without parties", |o| o[0].allocations[0].metadata = Default::default()),
        ("longer metadata", |o| {
            let longer = [o[0].allocations[0].metadata.as_ref(), &[0]].concat();
            o[0].allocations[0].metadata = longer.into();
        }),
        ("a guarantee for others", |o| {
            let (a, b) = (Destination::of(carol().address()), Destination::of(bob().address()));
            o[0].allocations[0].metadata = guarantee_metadata(a, b);
        }),
        ("a third simple entry", |o| {
            o[0].allocations.push(Allocation::simple(carol().address(), wei(1)))
        }),
    ];
    for (name, change) in changes {
        let mut other = outcome.clone();
        change(&mut other);
        assert_eq!(Layout::of(&other, parties()), None, "{name}");
    }
}

/// Goal: go-nitro's refusals, and what is allowed right beside them.
#[test]
fn guarantees_are_added_and_removed_within_balances() {
    let mut ledger = layout(&[], [10, 20]);
    assert_eq!(ledger.add(guarantee(1, 11)), Err("insufficient funds"));
    assert_eq!(ledger.add(guarantee(1, 10)), Ok(()));
    assert_eq!(ledger.balances, [0, 20].map(wei));
    assert_eq!(ledger.add(guarantee(1, 1)), Err("duplicate guarantee detected"));
    let stranger = Guarantee { left: carol().address(), ..guarantee(2, 1) };
    assert_eq!(ledger.add(stranger), Err("left is no party of the ledger"));
    assert_eq!(ledger.remove(target(2), wei(0)), Err("guarantee not found"));
    assert_eq!(
        ledger.remove(target(1), wei(11)),
        Err("left amount is greater than the guarantee amount")
    );
    assert_eq!(ledger.remove(target(1), wei(3)), Ok(()));
    assert_eq!(ledger, layout(&[], [3, 27]));
    let [left, right] = parties();
    let from_bob = Guarantee { left: right, right: left, ..guarantee(3, 27) };
    assert_eq!(ledger.add(from_bob), Ok(()));
    assert_eq!(ledger.balances, [3, 0].map(wei));
}

/// Goal: a change of guarantees is ready only when everything that it rests on is there; what nobody asked for is refused.
#[test]
fn changes_rest_on_what_we_hold() {
    let (before, g) = (layout(&[guarantee(1, 4)], [6, 20]), guarantee(2, 5));
    let with_2 = layout(&[guarantee(1, 4), g], [1, 20]);
    let without_1 = layout(&[], [9, 21]);
    let ready = |balances: [u64; 2]| Ok(Change::Ready { before: balances.map(wei) });
    let accept = |accept| expectations(&[Expected { accept, ..expected(g) }]);
    let remove = |left: Option<u64>| {
        expectations(&[Expected { remove: left.map(wei), ..expected(guarantee(1, 4)) }])
    };
    let over = |left| expectations(&[Expected { remove: Some(wei(left)), ..expected(g) }]);
    let again = Err("a guarantee for a virtual channel that has paid and given it back");
    let unknown = Err("a guarantee for a virtual channel that we do not know");
    let differs = Err("a guarantee that differs from its virtual channel's terms");
    let other = expectations(&[Expected { guarantee: guarantee(2, 6), ..expected(g) }]);
    for (name, after, expect, result) in [
        ("nothing", &before, Expectations::new(), ready([6, 20])),
        ("added on a unanimous prefund", &with_2, accept(true), ready([1, 20])),
        ("added before the prefund is unanimous", &with_2, accept(false), Ok(Change::Premature)),
        ("added again after a payment", &with_2, over(4), again),
        ("added after an end without payments", &with_2, over(5), ready([1, 20])),
        ("added for nothing", &with_2, Expectations::new(), unknown),
        ("added with another amount", &with_2, other, differs),
        ("removed as the final state says", &without_1, remove(Some(3)), ready([9, 21])),
        ("removed before it is final", &without_1, remove(None), Ok(Change::Premature)),
        ("removed though nobody knows it", &without_1, Expectations::new(), Ok(Change::Premature)),
        (
            "the total grows",
            &layout(&[guarantee(1, 4)], [7, 20]),
            Expectations::new(),
            Err("the total changes"),
        ),
    ] {
        assert_eq!(change(&before, after, &expect), result, "{name}");
    }
}

#[test]
fn what_is_due_is_what_can_be_afforded_up_to_the_limit() {
    let all = expectations(&[
        Expected { remove: Some(wei(1)), propose: false, ..expected(guarantee(1, 4)) },
        expected(guarantee(2, 7)),
        expected(guarantee(3, 2)),
        Expected { accept: false, ..expected(guarantee(4, 1)) },
        Expected { propose: false, ..expected(guarantee(5, 1)) },
    ]);
    let before = layout(&[guarantee(1, 4)], [7, 20]);
    let due_of = |max| due(&before, &all, max);
    assert_eq!(due_of(2), layout(&[guarantee(2, 7)], [1, 23]), "3 is not affordable any more");
    assert_eq!(due_of(1), layout(&[guarantee(2, 7)], [1, 23]));
    assert_eq!(due_of(0), layout(&[], [8, 23]), "what ends, ends");
}

proptest! {
    /// Goal: whatever is added and removed, in any order, nothing is gained or lost.
    #[test]
    fn guarantees_conserve_money(steps in proptest::collection::vec((any::<bool>(), 0u8..6, 0u64..40, any::<bool>()), 0..40)) {
        let mut ledger = layout(&[], [50, 50]);
        for (adds, n, amount, from_bob) in steps {
            let mut g = guarantee(n + 1, amount.max(1));
            if from_bob {
                (g.left, g.right) = (g.right, g.left);
            }
            let _ = if adds { ledger.add(g) } else { ledger.remove(g.target, wei(amount)) };
            prop_assert_eq!(ledger.total(), Some(wei(100)));
            prop_assert_eq!(Layout::of(&ledger.outcome(), parties()), Some(ledger.clone()));
        }
    }
}
