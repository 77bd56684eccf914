//! The mempool: whose transaction is mined when, in which order, and at what price.

use super::*;

#[test]
fn one_senders_transactions_keep_their_order() {
    for draws in 0..20 {
        let mut world = World { draws, ..World::new() };
        let faults = MempoolFaults { delay_blocks_max: 3, ..MempoolFaults::default() };
        world.chain.set_mempool(faults);
        let first = world.submit(alice(), deposit(0, 1));
        let second = world.submit(alice(), deposit(1, 1));
        world.mine(5);
        assert_eq!((world.failure(first), world.failure(second)), (None, None));
    }
}

#[test]
fn the_order_of_senders_is_drawn() {
    let winner = |draws| {
        let mut world = World { draws, ..World::new() };
        let by_alice = world.submit(alice(), deposit(0, 1));
        world.submit(bob(), deposit(0, 1));
        world.mine(1);
        world.failure(by_alice).is_none()
    };
    assert!((0..20).any(winner));
    assert!(!(0..20).all(winner));
}

#[test]
fn mempools_delay_drop_and_fill_up() {
    let mut world = World::new();
    world.chain.set_mempool(MempoolFaults { drop_permille: 1000, ..MempoolFaults::default() });
    let lost = world.submit(alice(), deposit(0, 1));
    world.mine(1);
    assert_eq!(world.chain.receipt(lost), Some(&Fate::Dropped));

    world.chain.set_mempool(MempoolFaults { block_txs_max: 1, ..MempoolFaults::default() });
    let waiting: Vec<_> =
        [alice(), bob(), stranger()].map(|who| world.submit(who, deposit(0, 0))).into();
    world.mine(3);
    let mut heights: Vec<_> = waiting.iter().filter_map(|tx| world.height(*tx)).collect();
    heights.sort();
    assert_eq!(heights, [2, 3, 4]);

    world.chain.set_mempool(MempoolFaults { delay_blocks_max: 4, ..MempoolFaults::default() });
    let slow = world.submit(alice(), deposit(0, 0));
    world.mine(5);
    assert!(world.height(slow).is_some_and(|height| (5..=9).contains(&height)));

    let evicted = world.submit(alice(), deposit(0, 0));
    assert!(world.chain.evict(evicted));
    assert!(!world.chain.evict(evicted));
    world.mine(9);
    assert_eq!(world.chain.receipt(evicted), Some(&Fate::Dropped));
}

#[test]
fn a_spike_keeps_those_out_who_offer_less() {
    let mut world = World::new();
    world.chain.set_base_fee(SPIKE_FEE);
    let low = world.send(alice(), 0, 20, deposit(0, 0)).expect("taken");
    let next = world.send(alice(), 1, 200, deposit(0, 0)).expect("taken");
    let enough = world.send(bob(), 0, 100, deposit(0, 0)).expect("taken");
    let rich = world.submit(stranger(), deposit(0, 0));
    world.mine(3);
    assert_eq!(
        [low, next, enough, rich].map(|tx| world.height(tx)),
        [None, None, Some(1), Some(1)]
    );
    world.chain.set_base_fee(ORDINARY_FEE);
    world.mine(1);
    assert_eq!([low, next].map(|tx| world.height(tx)), [Some(4), Some(4)]);
    assert_eq!(world.chain.nonce_of(alice()), 2);
}

#[test]
fn a_place_is_taken_by_who_offers_an_eighth_more() {
    let mut world = World::new();
    let old = world.send(alice(), 0, 80, deposit(0, 1)).expect("taken");
    assert_eq!(world.send(alice(), 0, 80, deposit(0, 1)), Ok(old), "it is known");
    assert_eq!(world.send(alice(), 0, 80, deposit(0, 2)), Err(Answer::Underpriced));
    assert_eq!(world.send(alice(), 0, 89, deposit(0, 1)), Err(Answer::Underpriced));
    let new = world.send(alice(), 0, 90, deposit(0, 1)).expect("taken");
    world.mine(1);
    assert_eq!([old, new].map(|tx| world.height(tx)), [None, Some(1)]);
    assert_eq!(world.chain.receipt(old), Some(&Fate::Dropped));
    assert_eq!(world.send(alice(), 0, 900, deposit(0, 1)), Err(Answer::NonceUsed));
}

#[test]
fn nonces_are_mined_in_order_and_come_back_with_a_reorg() {
    let mut world = World::new();
    let third = world.send(alice(), 2, 20, deposit(2, 1)).expect("taken");
    let second = world.send(alice(), 1, 20, deposit(1, 1)).expect("taken");
    world.mine(1);
    assert_eq!(world.height(second), None, "the first is missing");
    let first = world.send(alice(), 0, 20, deposit(0, 1)).expect("taken");
    world.mine(1);
    let all = [first, second, third];
    assert_eq!(all.map(|tx| world.failure(tx)), [None; 3]);
    assert_eq!(world.chain.account_head(NODE, alice()).map(|h| h.nonce), Ok(3));
    let stale = EndpointFaults { stale_blocks: 1, ..EndpointFaults::default() };
    world.chain.set_faults(NODE, stale);
    assert_eq!(world.chain.account_head(NODE, alice()).map(|h| h.nonce), Ok(0));
    world.reorg(1, ReorgPolicy::Late).expect("one block can be dropped");
    assert_eq!(world.chain.nonce_of(alice()), 0);
    world.mine(1);
    assert_eq!(all.map(|tx| world.height(tx)), [Some(4); 3]);
    world.reorg(1, ReorgPolicy::Drop).expect("one block can be dropped");
    assert_eq!(all.map(|tx| world.chain.receipt(tx)), [Some(&Fate::Dropped); 3]);
}
