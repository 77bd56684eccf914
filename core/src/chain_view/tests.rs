//! Facts join, are confirmed, and are taken back.

use super::*;

fn channel() -> ChannelId {
    ChannelId(B256::repeat_byte(7))
}

fn block(number: u64, fork: u8) -> BlockRef {
    let hash = |n: u64, f| {
        B256::from([&[f; 24][..], &n.to_be_bytes()].concat().try_into().unwrap_or([0; 32]))
    };
    BlockRef {
        number: BlockNum(number),
        hash: hash(number, fork),
        parent: hash(number.saturating_sub(1), fork),
        time: ChainTime(number),
    }
}

fn deposit(held: u64) -> Vec<IndexedLog> {
    let log = Log::Deposited { channel: channel(), asset: Address::ZERO, held: Amount::wei(held) };
    alloc::vec![IndexedLog { index: 0, log }]
}

fn view(blocks: u64) -> ChainView {
    let mut view = ChainView::new(3);
    view.watch(channel(), Address::ZERO);
    (0..blocks).for_each(|n| {
        view.add(block(n, 0), Vec::new());
    });
    view
}

#[test]
fn a_deposit_counts_after_the_confirmations_and_not_before() {
    let mut view = view(5);
    view.add(block(5, 0), deposit(9));
    for number in 6..8 {
        view.add(block(number, 0), Vec::new());
        assert_eq!(view.confirmed(channel()).held, Amount::ZERO, "head {number}");
    }
    assert_eq!(view.at_head(channel()).held, Amount::wei(9));
    assert_eq!(view.add(block(8, 0), Vec::new()), [channel()]);
    assert_eq!(view.confirmed(channel()).held, Amount::wei(9));
}

#[test]
fn a_deposit_of_another_token_counts_for_nothing() {
    let mut view = view(5);
    let log =
        Log::Deposited { channel: channel(), asset: Address::repeat_byte(9), held: Amount::wei(9) };
    view.add(block(5, 0), alloc::vec![IndexedLog { index: 0, log }]);
    (6..12).for_each(|n| drop(view.add(block(n, 0), Vec::new())));
    assert_eq!(view.at_head(channel()).held, Amount::ZERO);
    assert_eq!(view.confirmed(channel()).held, Amount::ZERO);
}

#[test]
fn a_shallow_reorg_takes_back_the_head_alone() {
    let mut view = view(5);
    view.add(block(5, 0), deposit(9));
    view.add(block(6, 0), Vec::new());
    assert_eq!(view.revert(block(4, 0)), [(channel(), false)]);
    assert_eq!(view.at_head(channel()).held, Amount::ZERO);
}

#[test]
fn a_deep_reorg_says_that_confirmed_facts_are_gone() {
    let mut view = view(5);
    view.add(block(5, 0), deposit(9));
    (6..10).for_each(|n| drop(view.add(block(n, 0), Vec::new())));
    assert_eq!(view.confirmed(channel()).held, Amount::wei(9));
    assert_eq!(view.revert(block(4, 0)), [(channel(), true)]);
    assert_eq!(view.confirmed(channel()).held, Amount::ZERO);
}

#[test]
fn old_facts_leave_the_window_and_stay_true() {
    let mut view = view(5);
    view.add(block(5, 0), deposit(9));
    (6..200).for_each(|n| drop(view.add(block(n, 0), Vec::new())));
    assert!(view.channels[&channel()].facts.is_empty());
    assert_eq!(view.confirmed(channel()).held, Amount::wei(9));
    assert_eq!(view.at_head(channel()).held, Amount::wei(9));
}

fn reclaims(count: u32) -> Vec<IndexedLog> {
    let log = Log::Reclaimed { channel: channel(), asset_index: 0 };
    (0..count).map(|index| IndexedLog { index, log: log.clone() }).collect()
}

/// Goal: what calldata shows of a reclaim counts and goes with its block, and no more is taken in than there are reclaims.
#[test]
fn a_reclaim_that_is_shown_goes_with_its_block() {
    let [first, second, third] = [1, 2, 3].map(|n| ChannelId(B256::repeat_byte(n)));
    let mut view = view(5);
    view.add(block(5, 0), reclaims(2));
    view.add(block(6, 0), reclaims(1));
    for target in [first, second, third] {
        view.show_reclaim(channel(), BlockNum(5), target);
    }
    view.show_reclaim(first, BlockNum(5), second);
    assert_eq!(view.at_head(channel()).reclaimed, [first, second]);
    assert_eq!(view.confirmed(channel()).reclaimed, []);
    assert_eq!(view.reclaim_unread_at(channel()), Some(BlockNum(6)));
    view.show_reclaim(channel(), BlockNum(6), third);
    (7..9).for_each(|n| drop(view.add(block(n, 0), Vec::new())));
    assert_eq!(view.at_head(channel()).reclaimed, [first, second, third]);
    assert_eq!(view.confirmed(channel()).reclaimed, [first, second]);
    assert_eq!(view.reclaim_unread_at(channel()), None);
    view.revert(block(5, 0));
    assert_eq!(view.at_head(channel()).reclaimed, [first, second]);
    view.revert(block(4, 0));
    assert_eq!(view.at_head(channel()), &OnChain::default());
    view.add(block(5, 1), reclaims(1));
    assert_eq!(view.reclaim_unread_at(channel()), Some(BlockNum(5)), "on the other branch");
    view.show_reclaim(channel(), BlockNum(5), third);
    (6..200).for_each(|n| drop(view.add(block(n, 1), Vec::new())));
    assert_eq!(view.confirmed(channel()).reclaimed, [third], "behind the window too");
}

fn left_after(balances: [u64; 2], payouts: &[(u64, u64)]) -> Vec<[Amount; 2]> {
    let to = |n| crate::types::Address::with_last_byte(n);
    let [a, b] = balances.map(Amount::wei);
    let outcome = crate::nitro::outcome::two_party(to(0), [(to(1), a), (to(2), b)]);
    let wei = |(before, after): &(u64, u64)| (Amount::wei(*before), Amount::wei(*after));
    let payouts = payouts.iter().map(wei).collect();
    let on_chain = OnChain { payouts, ..OnChain::default() };
    let left = on_chain.outcomes_left(&outcome);
    left.iter().map(|o| [0, 1].map(|i| crate::channel::balance_in(o, i))).collect()
}

#[test]
fn a_payout_is_read_from_its_amount() {
    for (name, balances, payouts, left) in [
        ("nobody yet", [3, 5], &[][..], &[[3, 5]][..]),
        ("everybody", [3, 5], &[(8, 0)], &[[0, 0]]),
        ("the first alone", [3, 5], &[(8, 5)], &[[0, 5]]),
        ("the second alone", [3, 5], &[(8, 3)], &[[3, 0]]),
        ("one of two equals", [5, 5], &[(10, 5)], &[[0, 5], [5, 0]]),
        ("both, one after another", [5, 5], &[(10, 5), (5, 0)], &[[0, 0]]),
        ("too little there", [5, 5], &[(6, 1)], &[[0, 5]]),
        ("the second of too little", [5, 5], &[(6, 5)], &[[5, 4]]),
        ("nothing explains it", [3, 5], &[(8, 7)], &[[3, 5]]),
    ] {
        let left: Vec<_> = left.iter().map(|l: &[u64; 2]| l.map(Amount::wei)).collect();
        assert_eq!(left_after(balances, payouts), left, "{name}");
    }
}

/// Goal: payouts that can be read in very many ways do not make a node think for ever, nor believe that it was paid.
/// Method: nine equal entries, of which somebody has one after another paid: after four there are 126 readings.
#[test]
fn readings_are_bounded_and_unknown_is_not_paid() {
    let mut outcome = crate::nitro::outcome::two_party(
        crate::types::Address::ZERO,
        [1, 2].map(|n| (crate::types::Address::with_last_byte(n), Amount::wei(10))),
    );
    outcome[0].allocations.extend((3..10).map(|n| {
        crate::nitro::Allocation::simple(crate::types::Address::with_last_byte(n), Amount::wei(10))
    }));
    let left_after = |n: u64| {
        let payouts =
            (0..n).map(|i| (Amount::wei(90 - 10 * i), Amount::wei(80 - 10 * i))).collect();
        OnChain { payouts, ..OnChain::default() }.outcomes_left(&outcome)
    };
    for (payouts, readings) in [(1, 9), (2, 36), (3, READINGS_MAX + 1), (4, READINGS_MAX + 1)] {
        let left = left_after(payouts);
        assert_eq!(left.len(), readings, "{payouts} payouts");
        assert_eq!(left.contains(&outcome), readings > READINGS_MAX, "{payouts} payouts");
    }
}
