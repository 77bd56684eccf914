//! Every command in every phase.

use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::config::Config;
use crate::effect::{Accepted, Refusal};
use crate::event::{ObjectiveKind, Terms};
use crate::input::{Command, Input};
use crate::machine::testkit::*;
use crate::types::ChannelId;

fn channel() -> ChannelId {
    channel_id()
}

#[test]
fn open_is_for_the_leader_and_can_be_repeated() {
    let mut world = World::new();
    let id = id_of(ObjectiveKind::DirectFund);
    assert!(matches!(world.command(BOB, Command::Open(terms())), Err(Refusal::Policy(_))));
    assert_eq!(world.command(ALICE, Command::Open(terms())), Ok(Accepted::Objective(id)));
    let lsn = world.nodes[ALICE].state().lsn();
    assert_eq!(world.command_alone(ALICE, Command::Open(terms())), Ok(Accepted::Objective(id)));
    assert_eq!(world.nodes[ALICE].state().lsn(), lsn, "repeating adds nothing");
    let other = Terms { deposits: [wei(1), wei(1)], ..terms() };
    let used = Err(Refusal::ChannelUsed(channel()));
    assert_eq!(world.command_alone(ALICE, Command::Open(other)), used, "same id, other deposits");
    assert_eq!(world.command_alone(BOB, Command::Open(terms())), used, "the peer opened it");
}

#[test]
fn a_finished_channel_is_never_opened_again() {
    let mut world = World::open();
    world.command(ALICE, Command::Close { channel: channel() }).unwrap();
    world.mine(8);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
    let used = Err(Refusal::ChannelUsed(channel()));
    assert_eq!(world.command_alone(ALICE, Command::Open(terms())), used);
}

#[test]
fn what_can_be_asked_of_a_channel_depends_on_its_phase() {
    let unknown = ChannelId::default();
    let mut world = World::new();
    for command in [
        Command::Pay { channel: unknown, amount: wei(1) },
        Command::Close { channel: unknown },
        Command::ForceClose { channel: unknown },
    ] {
        let reply = world.command_alone(ALICE, command);
        assert_eq!(reply, Err(Refusal::UnknownChannel(unknown)));
    }
    let pay = |n| Command::Pay { channel: channel(), amount: wei(n) };
    let close = Command::Close { channel: channel() };
    let not_open = Err(Refusal::NotOpen(channel()));

    world.command(ALICE, Command::Open(terms())).unwrap();
    assert_eq!(world.command_alone(ALICE, pay(1)), not_open);
    assert_eq!(world.command_alone(ALICE, close.clone()), not_open);

    let mut world = World::open();
    for (amount, balance) in [(0, 10), (11, 10)] {
        let refused = Err(Refusal::ExceedsBalance { amount: wei(amount), balance: wei(balance) });
        assert_eq!(world.command_alone(ALICE, pay(amount)), refused);
    }
    assert_eq!(world.command(ALICE, pay(10)), Ok(Accepted::Update { channel: channel(), id: 1 }));
    let id = id_of(ObjectiveKind::DirectDefund);
    world.cut = [true; 2];
    assert_eq!(world.command(ALICE, close.clone()), Ok(Accepted::Objective(id)));
    assert_eq!(world.command(ALICE, close.clone()), Ok(Accepted::Objective(id)), "again");
    assert_eq!(world.command_alone(ALICE, pay(1)), not_open);

    let id = id_of(ObjectiveKind::Dispute);
    let force = Command::ForceClose { channel: channel() };
    assert_eq!(world.command(ALICE, force.clone()), Ok(Accepted::Objective(id)));
    assert_eq!(world.command(ALICE, force.clone()), Ok(Accepted::Objective(id)), "again");
    world.mine(80);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
    assert_eq!(world.command_alone(ALICE, force), Ok(Accepted::Objective(id)));
    assert_eq!(world.command_alone(BOB, pay(1)), not_open);
}

#[test]
fn a_channel_that_closed_in_agreement_is_not_forced() {
    let mut world = World::open();
    world.command(ALICE, Command::Close { channel: channel() }).unwrap();
    world.mine(8);
    let reply = world.command_alone(BOB, Command::ForceClose { channel: channel() });
    assert_eq!(reply, Err(Refusal::NotOpen(channel())));
}

/// Goal: what is queued counts against the balance and against the limit, which is tested at its edge and one beyond.
#[test]
fn queued_payments_are_bounded_by_balance_and_number() {
    let mut config = Config::default();
    config.policy.updates_queued_max = 3;
    let mut world = World::open_with(config);
    world.cut[ALICE] = true;
    let mut pay = |amount| {
        world.command_alone(ALICE, Command::Pay { channel: channel(), amount: wei(amount) })
    };
    assert!(pay(1).is_ok(), "proposed at once");
    assert!(pay(5).is_ok());
    let refused = Err(Refusal::ExceedsBalance { amount: wei(6), balance: wei(5) });
    assert_eq!(pay(6), refused, "10 are supported, 5 are queued, 1 is signed");
    assert!(pay(1).is_ok());
    assert!(pay(1).is_ok());
    assert_eq!(pay(1), Err(Refusal::Limit { what: "queued updates", limit: 3 }));
}

#[test]
fn a_revert_of_something_unknown_changes_nothing() {
    let mut world = World::open();
    for (channel, reason) in [
        (ChannelId::default(), "Could not transfer ETH"),
        (channel(), "Could not transfer ETH"),
        (channel(), "incorrect fingerprint"),
        (channel(), "held != expectedHeld"),
    ] {
        let call = world.payout_of(ALICE, channel);
        let handled = world.input(ALICE, Input::TxReverted { call, reason: reason.into() });
        assert_eq!(handled.events, [], "{reason}");
    }
}
