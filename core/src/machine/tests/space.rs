//! A full disk: what is taken on with what was held back, and that nothing is lost by what is not.

use super::virtuals::*;
use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::effect::{Effect, Notice, Refusal};
use crate::event::UpdateId;
use crate::input::{Command, Input, Space};
use crate::machine::testkit::*;
use crate::types::TurnNum;
use crate::wire::Wire;

const HUB: usize = 1;

fn fill<const N: usize>(world: &mut World<N>, who: usize) {
    tells(world, who, Space::Scarce);
}

fn tells<const N: usize>(world: &mut World<N>, who: usize, space: Space) {
    let handled = world.input(who, Input::Space(space));
    assert_eq!(handled.events, [], "volatile");
    assert_eq!(handled.answers, [Effect::Notify(Notice::Space(space))], "the user hears of it");
    assert_eq!(world.nodes[who].space(), space);
}

fn refuses<const N: usize>(world: &World<N>, who: usize) -> u64 {
    world.nodes[who].dropped().get("disk_full").copied().unwrap_or(0)
}

/// Goal: nothing begins and nothing goes on while the disk is full, whoever asks; afterwards the peer's payment comes again.
#[test]
fn payments_wait_until_there_is_room() {
    let mut world = World::open();
    fill(&mut world, ALICE);
    let (length, turn) = (world.logs[ALICE].len(), world.channel(ALICE).supported_turn());
    let pay = |amount| Command::Pay { channel: channel_id(), amount: wei(amount) };
    assert_eq!(world.command(ALICE, pay(1)), Err(Refusal::DiskFull));
    // The follower asks the leader, which is full.
    world.command(BOB, pay(2)).unwrap();
    for id in 1..20 {
        let (channel, amount) = (channel_id(), wei(1));
        world.hear_wire(ALICE, Wire::UpdateRequest { channel, id: UpdateId(id), amount });
    }
    assert!(refuses(&world, ALICE) >= 20);
    assert_eq!(world.logs[ALICE].len(), length, "a peer makes the log no longer");
    assert_eq!(world.channel(ALICE).supported_turn(), turn);

    tells(&mut world, ALICE, Space::Plenty);
    world.pass(60);
    assert!(world.channel(BOB).supported_turn() > turn, "the payment came again");
    world.command(ALICE, pay(1)).unwrap();
}

/// Goal: a full follower signs no payment of the leader, and closes.
#[test]
fn a_channel_can_be_closed_while_the_disk_is_full() {
    let mut world = World::open();
    fill(&mut world, BOB);
    let length = world.logs[BOB].len();
    let pay = Command::Pay { channel: channel_id(), amount: wei(1) };
    world.command(ALICE, pay).unwrap();
    assert!(refuses(&world, BOB) > 0);
    assert_eq!(world.logs[BOB].len(), length);
    assert_eq!(world.channel(ALICE).supported_turn(), Some(TurnNum::POSTFUND));

    let mut world = World::open();
    fill(&mut world, ALICE);
    fill(&mut world, BOB);
    world.command(BOB, Command::Close { channel: channel_id() }).unwrap();
    world.mine(12);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
    assert_eq!(world.channel(BOB).phase, Phase::Finished);
}

/// Goal: a dispute between two that are full runs to its end.
#[test]
fn a_channel_is_defended_while_the_disk_is_full() {
    let mut world = World::open();
    let pay = Command::Pay { channel: channel_id(), amount: wei(1) };
    world.command(ALICE, pay).unwrap();
    fill(&mut world, ALICE);
    fill(&mut world, BOB);
    world.cut[BOB] = true;
    world.command(ALICE, Command::ForceClose { channel: channel_id() }).unwrap();
    world.mine(80);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
}

/// Goal: vouchers wait, and giving guarantees back does not.
#[test]
fn virtual_channels_end_while_the_disk_is_full() {
    let mut world: World<3> = opened();
    fill(&mut world, 2);
    fill(&mut world, HUB);
    let length = world.logs[2].len();
    pay(&mut world, 5).unwrap();
    assert_eq!(world.logs[2].len(), length, "a voucher is refused");
    let terms = virtual_terms::<3>(7);
    let id = terms.fixed_part(PAYMENT_APP).channel_id();
    world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).unwrap();
    for who in [HUB, 2] {
        assert!(world.nodes[who].state().virtual_channel(id).is_none(), "nothing new at {who}");
    }
    tells(&mut world, 2, Space::Plenty);
    world.pass(60);
    assert_eq!(v(&world, 2).paid(), wei(5), "it came again");

    fill(&mut world, 2);
    fill(&mut world, ALICE);
    world.command(ALICE, Command::Close { channel: v(&world, ALICE).id }).unwrap();
    world.pass(5);
    for who in [ALICE, HUB, 2] {
        assert_eq!(v(&world, who).phase, Phase::Finished, "node {who}");
    }
}
