//! What is counted, and that it is counted from the log alone.

use alloc::vec::Vec;

use super::virtuals::{id, opened, pay};
use crate::channel::testkit::*;
use crate::input::Command;
use crate::machine::testkit::*;
use crate::machine::{NodeState, Tally};

/// What the log of `who` amounts to.
fn folded<const N: usize>(world: &World<N>, who: usize) -> Tally {
    let (mut state, mut tally) = (NodeState::default(), Tally::default());
    for (at, event) in &world.logs[who] {
        tally.apply(&mut state, *at, event.clone());
    }
    tally
}

/// The counters of `name` that are not zero.
fn of(tally: &Tally, name: &str) -> Vec<(&'static str, u64)> {
    let mut found = tally.counts().filter(|c| c.name == name).peekable();
    assert!(found.peek().is_some(), "there is no counter {name}");
    found.filter(|c| c.count > 0).map(|c| (c.kind, c.count)).collect()
}

/// Goal: a node counts what its log says, and the two sides of a payment count one. Method: open, pay both ways, close.
#[test]
fn the_life_of_a_direct_channel_is_counted() {
    let mut world = World::open();
    let channel = channel_id();
    for (who, amount) in [(ALICE, 1), (BOB, 2), (BOB, 3)] {
        world.command(who, Command::Pay { channel, amount: wei(amount) }).unwrap();
    }
    world.command(BOB, Command::Close { channel }).unwrap();
    world.mine(14);
    let tallies = [ALICE, BOB].map(|who| folded(&world, who));
    for (who, tally) in tallies.iter().enumerate() {
        assert_eq!(tally, world.nodes[who].tally(), "node {who}");
        assert_eq!(tally.total("events"), world.logs[who].len() as u64);
        assert_eq!(of(tally, "channels_created"), [("direct", 1)]);
        let objectives = [("direct_fund", 1), ("direct_defund", 1)];
        assert_eq!(of(tally, "objectives_completed"), objectives, "node {who}");
        assert_eq!(
            of(tally, "chain_logs"),
            [("deposited", 2), ("allocation_updated", 1), ("concluded", 1)]
        );
        // Prefund, postfund, three payments, the final state.
        assert_eq!(of(tally, "signatures_created"), [("state", 6)], "node {who}");
        assert_eq!(of(tally, "challenges"), []);
    }
    let [alice, bob] = &tallies;
    assert_eq!(of(alice, "payments_sent"), [("direct", 1)]);
    assert_eq!(of(alice, "payments_received"), [("direct", 2)]);
    assert_eq!(of(bob, "payments_sent"), [("direct", 2)]);
    assert_eq!(of(bob, "payments_received"), [("direct", 1)]);
    // Alice leads; Bob asks her for what he wants.
    assert_eq!(of(alice, "messages_sent"), [("state", 6)]);
    assert_eq!(
        of(bob, "messages_sent"),
        [("state", 6), ("update_request", 2), ("close_request", 1)]
    );
}

#[test]
fn what_is_sent_again_is_counted_once() {
    let mut world = World::new();
    world.cut = [true; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    world.pass(10);
    assert_eq!(of(world.nodes[ALICE].tally(), "messages_sent"), [("state", 1)]);
}

/// Guarantees move balances too, and are no payments.
#[test]
fn the_life_of_a_virtual_channel_is_counted() {
    let mut world: World<3> = opened();
    pay(&mut world, 2).unwrap();
    pay(&mut world, 1).unwrap();
    world.command(ALICE, Command::Close { channel: id::<3>() }).unwrap();
    let rows = [(2, [("virtual", 2)].as_slice(), [].as_slice()), (0, &[], &[("virtual", 2)])];
    for (who, received, sent) in rows {
        let tally = folded(&world, who);
        assert_eq!(&tally, world.nodes[who].tally(), "node {who}");
        assert_eq!(of(&tally, "channels_created"), [("direct", 1), ("virtual", 1)]);
        assert_eq!(of(&tally, "payments_received"), received, "node {who}");
        assert_eq!(of(&tally, "payments_sent"), sent, "node {who}");
    }
    let hub = folded(&world, 1);
    assert_eq!(of(&hub, "channels_created"), [("direct", 2), ("virtual", 1)]);
    assert_eq!(of(&hub, "payments_received"), []);
    assert_eq!(of(&hub, "objectives_completed").iter().map(|(_, n)| n).sum::<u64>(), 4);
}

/// Whose a challenge is, follows from whether we asked for one.
#[test]
fn challenges_are_told_apart() {
    let mut world = World::open();
    let channel = channel_id();
    world.command(ALICE, Command::ForceClose { channel }).unwrap();
    world.mine(2);
    assert_eq!(of(world.nodes[ALICE].tally(), "challenges"), [("challenger", 1)]);
    assert_eq!(of(world.nodes[BOB].tally(), "challenges"), [("responder", 1)]);
    assert_eq!(
        of(world.nodes[ALICE].tally(), "transactions_wanted"),
        [("deposit", 1), ("challenge", 1)]
    );
    assert_eq!(
        of(world.nodes[ALICE].tally(), "signatures_created"),
        [("state", 2), ("challenge", 1)]
    );
}
