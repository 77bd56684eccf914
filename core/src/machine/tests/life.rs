//! Whole lives of a channel: what is logged, wished for and waited for after each stage.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::effect::Want;
use crate::event::{MessageKey, ObjectiveKind, UpdateId};
use crate::input::{Command, Input, Message};
use crate::machine::node::Start;
use crate::machine::testkit::*;
use crate::nitro::State;
use crate::objective::Status;
use crate::types::Address;
use crate::wire::Wire;

fn wants(world: &World, who: usize) -> Vec<Want> {
    world.nodes[who].state().wishes_of(channel_id()).map(|(w, _)| w.want.clone()).collect()
}

fn prefund() -> Want {
    Want::Message(MessageKey::State(turn(0)))
}

/// Goal: a wish lives until the world shows that it came true.
/// Method: Alice opens while Bob is away; one row a stage.
#[test]
fn wishes_follow_the_stages_of_opening() {
    let mut world = World::new();
    world.cut = [true; 2];
    world.mined = [false; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    assert_eq!(wants(&world, ALICE), [prefund()]);
    world.cut = [false; 2];
    world.pass(2);
    assert_eq!(wants(&world, ALICE), [Want::Deposit], "acknowledged, countersigned, to be funded");
    assert_eq!(wants(&world, BOB), [], "waits for Alice's deposit");
    world.mined = [true; 2];
    world.mine(2);
    assert_eq!(wants(&world, ALICE), [], "her deposit is in");
    assert_eq!(wants(&world, BOB), [], "but not confirmed");
    world.mine(12);
    assert_eq!(wants(&world, ALICE), []);
    assert_eq!(wants(&world, BOB), []);
    assert_eq!(world.channel(BOB).phase, Phase::Open);
    assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(20));
}

#[test]
fn every_event_changes_the_digest() {
    let world = World::open();
    let mut state = crate::machine::NodeState::default();
    let mut digests = BTreeSet::from([state.digest()]);
    for (at, event) in &world.logs[ALICE] {
        state.apply(*at, event.clone());
        assert!(digests.insert(state.digest()), "{}", event.name());
    }
}

#[test]
fn unacknowledged_messages_are_sent_again_with_longer_pauses() {
    let mut world = World::new();
    world.cut = [true; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    let sent = |world: &World| {
        world.released[ALICE]
            .iter()
            .filter(|e| matches!(e, crate::effect::Effect::Send { .. }))
            .count()
    };
    assert_eq!(sent(&world), 1);
    world.pass(10);
    assert_eq!(sent(&world), 4, "after 1, 3 and 7 seconds");
    let peer = bob().address();
    world.input(ALICE, Input::PeerUp { peer, version: 2 });
    assert_eq!(sent(&world), 5, "at once when a session comes up");
}

#[test]
fn payments_go_both_ways_and_the_close_pays_out() {
    let mut world = World::open();
    for (who, amount) in [(ALICE, 4), (BOB, 7), (BOB, 1), (ALICE, 2)] {
        let amount = wei(amount);
        world.command(who, Command::Pay { channel: channel_id(), amount }).unwrap();
    }
    assert_eq!([0, 1].map(|i| world.channel(BOB).balance(i)), [12, 8].map(wei));
    world.command(BOB, Command::Close { channel: channel_id() }).unwrap();
    world.mine(8);
    for who in [ALICE, BOB] {
        assert_eq!(world.channel(who).phase, Phase::Finished);
        assert_eq!(wants(&world, who), []);
        assert_eq!(
            world.objective(who, ObjectiveKind::DirectDefund).map(|o| &o.status),
            Some(&Status::Completed)
        );
    }
    assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(0));
}

/// Goal: a new block wakes what may have something to do by time alone, and nothing that came to its end.
/// Method: a life from the opening to the payout; whose channel is due with blocks after each stage.
#[test]
fn a_channel_is_due_with_blocks_while_something_is_under_way() {
    let due = |world: &World| {
        [ALICE, BOB].map(|who| world.nodes[who].due_with_blocks().contains(&channel_id()))
    };
    let mut world = World::new();
    world.cut = [true; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    assert_eq!(due(&world), [true, false], "approved, and nothing on chain yet");
    world.cut = [false; 2];
    world.pass(2);
    assert_eq!(due(&world), [true, true], "Bob heard of it");
    world.mine(14);
    assert_eq!(due(&world), [false, false], "open");
    world.command(BOB, Command::Close { channel: channel_id() }).unwrap();
    assert_eq!(due(&world), [true, true], "closing");
    world.mine(20);
    assert_eq!(due(&world), [false, false], "paid out");
}

#[test]
fn a_force_close_challenges_waits_and_collects() {
    let mut world = World::open();
    world.cut[BOB] = true;
    world.mined[BOB] = false;
    world.command(ALICE, Command::ForceClose { channel: channel_id() }).unwrap();
    assert!(matches!(
        wants(&world, ALICE)[..],
        [Want::Tx(crate::event::WantedTx::Challenge { .. })]
    ));
    world.mine(2);
    assert_eq!(wants(&world, ALICE), [], "the challenge runs");
    world.mine(70);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
    assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(0));
}

/// Goal: a peer that falls silent at any stage costs time, never money.
#[test]
fn silence_ends_in_a_rejection_or_a_dispute() {
    for (name, blocks, status) in [
        ("before the prefund is complete", 0, "rejected"),
        ("after our deposit", 3, "disputed"),
        ("while open", 14, "closed"),
    ] {
        let mut world = World::new();
        world.cut[BOB] = blocks == 0;
        world.command(ALICE, Command::Open(terms())).unwrap();
        world.mine(blocks);
        world.cut[BOB] = true;
        world.mined[BOB] = false;
        if status == "closed" {
            world.command(ALICE, Command::Close { channel: channel_id() }).unwrap();
        }
        world.mine(100);
        assert_eq!(world.channel(ALICE).phase, Phase::Finished, "{name}");
        let dispute = world.objective(ALICE, ObjectiveKind::Dispute).is_some();
        assert_eq!(dispute, status != "rejected", "{name}");
        assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(0), "{name}");
    }
}

/// Goal: what the world checks after every input (see the kit) holds in any order of things, nobody equivocates, and replaying the
/// log gives the state.
#[derive(Clone, Copy, Debug)]
enum Act {
    Pay(usize, u64),
    Close(usize),
    Force(usize),
    Restart(usize),
    Cut(usize, bool),
    Mine,
    Pass(u64),
    /// The peer's key signs this state, whatever the peer's node thinks of it.
    Draft {
        to: usize,
        turn: u64,
        first: u64,
        is_final: bool,
        hidden: bool,
    },
    /// The peer's key asks for this much.
    Request(u64, u64),
    Reverted(usize, &'static str),
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0usize..2;
    prop_oneof![
        6 => (who.clone(), 1u64..6).prop_map(|(w, n)| Act::Pay(w, n)),
        1 => who.clone().prop_map(Act::Close),
        1 => who.clone().prop_map(Act::Force),
        2 => who.clone().prop_map(Act::Restart),
        3 => (who, any::<bool>()).prop_map(|(w, c)| Act::Cut(w, c)),
        6 => Just(Act::Mine),
        3 => (1u64..30).prop_map(Act::Pass),
        3 => (who_again(), 0u64..6, 0u64..21, any::<bool>(), any::<bool>()).prop_map(
            |(to, turn, first, is_final, hidden)| Act::Draft { to, turn, first, is_final, hidden }
        ),
        2 => (1u64..4, 0u64..30).prop_map(|(id, amount)| Act::Request(id, amount)),
        1 => (who_again(), prop_oneof![Just("Could not transfer ETH"), Just("incorrect fingerprint")])
            .prop_map(|(who, reason)| Act::Reverted(who, reason)),
    ]
}

fn who_again() -> core::ops::Range<usize> {
    0..2
}

proptest! {
    #[test]
    fn any_life_is_consistent(acts in proptest::collection::vec(act(), 1..40)) {
        let mut world = World::new();
        let channel = channel_id();
        let _ = world.command(ALICE, Command::Open(terms()));
        world.mine(3);
        for act in acts {
            match act {
                Act::Pay(who, n) => drop(world.command_alone(who, Command::Pay { channel, amount: wei(n) })),
                Act::Close(who) => drop(world.command_alone(who, Command::Close { channel })),
                Act::Force(who) => drop(world.command_alone(who, Command::ForceClose { channel })),
                Act::Restart(who) => world.restart(who, Start::Normal),
                Act::Cut(who, cut) => world.cut[who] = cut,
                Act::Mine => world.mine(1),
                Act::Pass(seconds) => world.pass(seconds),
                Act::Draft { to, turn, first, is_final, hidden } => {
                    let draft = State { is_final, ..state(turn, [first, 20 - first]) };
                    let draft = signed(draft, &[key_of(1 - to)]);
                    let message = if hidden {
                        Message::Resume { channel, supported: None, yours: Some(draft) }
                    } else {
                        Message::State(draft)
                    };
                    world.hear(to, message);
                }
                Act::Request(id, amount) => {
                    let (id, amount) = (UpdateId(id), wei(amount));
                    world.hear_wire(ALICE, Wire::UpdateRequest { channel, id, amount });
                }
                Act::Reverted(who, reason) => {
                    let call = world.payout_of(who, channel);
                    world.input(who, Input::TxReverted { call, reason: reason.into() });
                }
            }
        }
        for who in [ALICE, BOB] {
            prop_assert_eq!(world.equivocations(who), vec![]);
            let mut replayed = crate::machine::NodeState::default();
            for (at, event) in &world.logs[who] {
                replayed.apply(*at, event.clone());
            }
            prop_assert_eq!(replayed.digest(), world.nodes[who].state().digest());
        }
    }
}
