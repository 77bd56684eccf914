//! A node that may have forgotten its own signatures.

use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::event::{Event, ObjectiveKind, RecoveryReason, WantedTx};
use crate::input::{Command, Message};
use crate::machine::node::Start;
use crate::machine::testkit::*;
use crate::nitro::{Call, Claim};
use crate::types::Address;

fn pay(amount: u64) -> Command {
    Command::Pay { channel: channel_id(), amount: wei(amount) }
}

/// How many events Alice had logged when her first one of this name was.
fn events_until(world: &World, who: usize, name: &str) -> usize {
    world.logs[who].iter().position(|(_, e)| e.name() == name).unwrap()
}

/// Goal: nothing is signed from a backup before the peer has spoken, and everything afterwards.
#[test]
fn a_restored_node_signs_nothing_until_its_peer_has_spoken() {
    for who in [ALICE, BOB] {
        let mut world = World::open();
        world.command(ALICE, pay(1)).unwrap();
        world.cut[1 - who] = true;
        world.restart(who, Start::Restored);
        assert!(world.command(who, pay(1)).is_err());
        assert!(world.command(who, Command::Open(terms())).is_ok() == (who == ALICE));
        let signatures = world.logs[who].iter().filter(|(_, e)| e.name() == "StateSigned").count();
        world.pass(30);
        let later = world.logs[who].iter().filter(|(_, e)| e.name() == "StateSigned").count();
        assert_eq!(signatures, later, "node {who} signed");
        assert!(world.nodes[who].state().recovery().is_some());
        world.cut[1 - who] = false;
        world.pass(30);
        assert_eq!(world.nodes[who].state().recovery(), None, "node {who}");
        assert!(world.command(who, pay(1)).is_ok());
        assert_eq!(world.channel(who).supported_turn(), Some(turn(3)));
        assert_eq!(world.equivocations(who), []);
    }
}

/// Goal: a node whose disk lost its newest signatures learns them from the peer before it signs the same turn again.
#[test]
fn a_forgotten_signature_is_learned_and_never_contradicted() {
    for who in [ALICE, BOB] {
        let mut world = World::open();
        let before = world.logs[who].len();
        world.command(ALICE, pay(1)).unwrap();
        world.command(BOB, pay(2)).unwrap();
        world.restart_from(who, Start::Normal, before);
        let _ = world.command_alone(who, pay(5));
        world.pass(40);
        assert_eq!(world.equivocations(who), [], "node {who}");
        let entered = world.logs[who].iter().any(|(_, e)| {
            matches!(
                e,
                Event::RecoveryEntered { reason: RecoveryReason::ForgottenSignature { .. } }
            )
        });
        assert!(entered, "node {who}");
        assert_eq!(world.nodes[who].state().recovery(), None);
        assert!(world.channel(who).supported_turn() >= Some(turn(3)));
    }
}

/// Goal: a node whose key signed two states of one turn, because somebody ran a copy of it, never signs in that channel again,
/// and the chain decides.
/// Method: Bob holds a payment that Alice's copy signed; Alice, who does not know of it, signs the end of the channel for the same
/// turn. Then Bob challenges with the payment, and tells Alice what he knows.
#[test]
fn a_node_that_contradicts_itself_leaves_the_channel_to_the_chain() {
    let mut world = World::open();
    world.cut[BOB] = true;
    let copy = signed(state(2, [9, 11]), &[key_of(ALICE)]);
    world.hear(BOB, Message::State(copy));
    assert_eq!(world.channel(BOB).supported_turn(), Some(turn(2)));
    world.command(ALICE, Command::Close { channel: channel_id() }).unwrap();
    assert!(world.channel(ALICE).signed.is_some_and(|s| s.turn == turn(2) && s.is_final));
    world.command(BOB, Command::ForceClose { channel: channel_id() }).unwrap();
    let before = world.signed[ALICE].len();
    world.mine(1);
    world.cut[BOB] = false;
    world.pass(40);
    assert_eq!(world.channel(ALICE).balance(ALICE), wei(9));
    assert_eq!(world.nodes[ALICE].state().recovery(), None);
    assert!(world.objective(ALICE, ObjectiveKind::Dispute).is_some());
    world.mine(80);
    assert_eq!(world.signed[ALICE].len(), before);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
    assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(0));
    assert_eq!(
        world.payouts,
        [(key_of(ALICE).address(), wei(9)), (key_of(BOB).address(), wei(11))]
    );
}

/// Goal: a backup from before our deposit neither deposits nor challenges: the channel may be over.
/// Method: the whole life of a channel; then the node is restored from the moment before, or just after, it wanted its deposit.
#[test]
fn a_restored_node_does_not_fund_a_channel_that_is_over() {
    for (name, more) in [("before the deposit was wanted", 0), ("after it was wanted", 1)] {
        for who in [ALICE, BOB] {
            let mut world = World::open();
            world.command(ALICE, Command::Close { channel: channel_id() }).unwrap();
            world.mine(8);
            assert_eq!(world.channel(who).phase, Phase::Finished);
            let backup = events_until(&world, who, "DepositWanted") + more;
            let before = world.submitted(who).count();
            world.restart_from(who, Start::Restored, backup);
            world.pass(5);
            world.mine(30);
            let again = world.submitted(who).nth(before);
            assert_eq!(again, None, "{name}: node {who} submits something");
            assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(0), "{name}");
        }
    }
}

/// Goal: a backup from before the funding, in a channel whose balances have moved since, does not stop the node.
#[test]
fn a_restored_node_learns_of_a_channel_that_was_opened_since() {
    for who in [ALICE, BOB] {
        let mut world = World::open();
        world.command(ALICE, pay(9)).unwrap();
        let backup = events_until(&world, who, "DepositWanted");
        world.restart_from(who, Start::Restored, backup);
        world.mine(4);
        assert_eq!(world.nodes[who].state().recovery(), None);
        assert_eq!(world.channel(who).phase, Phase::Open, "node {who}");
        assert_eq!(world.channel(who).supported_turn(), Some(turn(2)));
    }
}

/// Goal: a silent or lying peer does not make a restored node drop a channel that may hold its money.
#[test]
fn a_restored_node_drops_no_channel_on_the_peers_word_or_silence() {
    for rejects in [false, true] {
        let mut world = World::open();
        let backup = events_until(&world, ALICE, "DepositWanted");
        world.cut[BOB] = true;
        world.pass(120);
        world.restart_from(ALICE, Start::Restored, backup);
        if rejects {
            let objective = id_of(ObjectiveKind::DirectFund);
            world.hear_wire(ALICE, crate::wire::Wire::Rejected { objective });
        }
        world.mine(10);
        assert_ne!(world.channel(ALICE).phase, Phase::Finished, "rejects: {rejects}");
        assert!(world.command(ALICE, Command::ForceClose { channel: channel_id() }).is_ok());
    }
}

/// Goal: recovery keeps us from promising, not from defending.
#[test]
fn a_restored_node_still_answers_an_old_challenge() {
    let mut world = World::open();
    world.command(ALICE, pay(3)).unwrap();
    world.cut[ALICE] = true;
    world.mined[ALICE] = false;
    world.restart(BOB, Start::Restored);
    let old = by_both(state(1, [10, 10]));
    let challenger_sig = alice().sign(crate::nitro::sign::challenge_hash(old.hash()));
    let candidate = Claim::from(&old);
    world.submit(ALICE, Call::Challenge { proof: Default::default(), candidate, challenger_sig });
    assert!(world.nodes[BOB].state().recovery().is_some());
    world.mine(1);
    assert!(world.channel(BOB).txs.contains(&WantedTx::Checkpoint { turn: turn(2) }));
    world.mine(130);
    assert_eq!(world.channel(BOB).phase, Phase::Finished);
}

/// Goal: a short absence in the middle of an objective is not taken for the peer's silence.
#[test]
fn silence_is_counted_from_the_start_of_the_process() {
    let mut world = World::open();
    world.command_alone(BOB, Command::Close { channel: channel_id() }).unwrap();
    let silence_ms = world.nodes[BOB].config().silence_ms;
    world.now = world.now.after_ms(silence_ms * 2);
    world.restart(BOB, Start::Normal);
    assert!(world.objective(BOB, ObjectiveKind::Dispute).is_none());
    world.mine(12);
    assert!(world.objective(BOB, ObjectiveKind::Dispute).is_none());
    assert_eq!(world.channel(BOB).phase, Phase::Finished);
}

/// Goal: an answer that nobody asked for witnesses nothing but what it shows.
#[test]
fn an_unsolicited_resume_adds_only_states_that_may_follow() {
    let mut world = World::open();
    for known in [state(0, [10, 10]), state(1, [10, 10])] {
        let (supported, yours) = (Some(by_both(known)), None);
        let resume = Message::Resume { channel: channel_id(), supported, yours };
        assert_eq!(world.hear(ALICE, resume).events, []);
    }
    for forged in [state(2, [0, 20]), state(5, [20, 0]), final_state(2, [9, 11])] {
        let yours = Some(signed(forged, &[bob()]));
        let resume = Message::Resume { channel: channel_id(), supported: None, yours };
        assert_eq!(world.hear(ALICE, resume).events, []);
    }
}
