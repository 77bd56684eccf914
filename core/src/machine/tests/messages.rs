//! Every message: who may send it, when, and how often.

use alloc::vec;
use alloc::vec::Vec;

use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::config::Config;
use crate::effect::{Effect, Notice};
use crate::event::{MessageKey, ObjectiveId, ObjectiveKind, RejectReason, Terms, UpdateId};
use crate::input::{Command, Message, Verified};
use crate::machine::node::{Handled, Start};
use crate::machine::testkit::*;
use crate::nitro::{SignedState, State};
use crate::objective::Status;
use crate::types::{Address, ChannelId};
use crate::wire::Wire;

fn sent(handled: &Handled) -> Vec<Wire> {
    let bytes = handled.answers.iter().filter_map(|a| match a {
        Effect::Send { bytes, .. } => Some(Wire::decode(bytes).unwrap()),
        _ => None,
    });
    bytes.collect()
}

fn names(handled: &Handled) -> Vec<&'static str> {
    handled.events.iter().map(|e| e.name()).collect()
}

fn refused(world: &World, who: usize, code: &'static str) -> u64 {
    world.nodes[who].dropped().get(code).copied().unwrap_or(0)
}

#[test]
fn strangers_and_unknown_channels_are_refused() {
    let mut world = World::open();
    let unknown = ChannelId::default();
    let about = |channel| {
        [
            Wire::UpdateRequest { channel, id: UpdateId(1), amount: wei(1) },
            Wire::CloseRequest { channel },
            Wire::Ack { channel, what: MessageKey::CloseRequest },
            Wire::Rejected { objective: ObjectiveId { channel, kind: ObjectiveKind::DirectFund } },
        ]
    };
    for wire in about(unknown) {
        assert_eq!(world.hear_wire(ALICE, wire).events, []);
    }
    assert_eq!(refused(&world, ALICE, "channel_unknown"), 4);
    let peer = carol().address();
    for wire in about(channel_id()) {
        let message = Message::Bare(wire);
        assert_eq!(world.verified(ALICE, Verified::Message { peer, message }).events, []);
    }
    let message = Message::State(signed(state(2, [11, 9]), &[bob()]));
    assert_eq!(world.verified(ALICE, Verified::Message { peer, message }).events, []);
    let message = Message::Resume { channel: channel_id(), supported: None, yours: None };
    assert_eq!(world.verified(ALICE, Verified::Message { peer, message }).events, []);
    assert_eq!(refused(&world, ALICE, "not_counterparty"), 6);
    // Whoever asks about a channel that is not his learns nothing.
    let message = Message::Bare(Wire::ResumeRequest { channel: channel_id() });
    let handled = world.verified(ALICE, Verified::Message { peer, message });
    let nothing = Wire::Resume { channel: channel_id(), supported: None, yours: None };
    assert_eq!(sent(&handled), [nothing]);
}

/// Goal: a prefund is approved exactly when we would have built it and the proposer alone has signed.
#[test]
fn proposals_are_approved_only_as_we_would_have_made_them() {
    let prefund = state(0, [10, 10]);
    let with = |change: &dyn Fn(&mut State)| {
        let mut state = prefund.clone();
        change(&mut state);
        state
    };
    let alone = |s| signed(s, &[alice()]);
    let rows: Vec<(&str, SignedState, &str)> = vec![
        ("signed by us as well", by_both(prefund.clone()), "bad_state"),
        ("signed by us alone", signed(prefund.clone(), &[bob()]), "bad_state"),
        ("a later turn", alone(with(&|s| s.turn = turn(1))), "channel_unknown"),
        ("final", alone(with(&|s| s.is_final = true)), "bad_state"),
        ("application data", alone(with(&|s| s.app_data = vec![1].into())), "bad_state"),
        ("two assets", alone(with(&|s| s.outcome.push(s.outcome[0].clone()))), "bad_state"),
        (
            "another application",
            alone(with(&|s| s.fixed.app_definition = carol().address())),
            "policy",
        ),
        ("too short a challenge", alone(with(&|s| s.fixed.challenge_duration = 29)), "policy"),
    ];
    for (name, proposal, code) in rows {
        let mut world = World::new();
        let handled = world.hear(BOB, Message::State(proposal));
        assert_eq!(names(&handled), Vec::<&str>::new(), "{name}");
        assert_eq!(refused(&world, BOB, code), 1, "{name}: {:?}", world.nodes[BOB].dropped());
    }
    let mut world = World::new();
    let handled = world.hear(BOB, Message::State(alone(prefund)));
    assert_eq!(names(&handled), ["ObjectiveApproved", "StateReceived", "StateSigned"]);
}

#[test]
fn duplicates_are_acknowledged_and_change_nothing() {
    let mut world = World::open();
    world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(3) }).unwrap();
    for (who, peer) in [(ALICE, bob()), (BOB, alice())] {
        for old in [state(0, [10, 10]), state(1, [10, 10]), state(2, [7, 13])] {
            let what = MessageKey::State(old.turn);
            let handled =
                world.hear(who, Message::State(signed(old, core::slice::from_ref(&peer))));
            assert_eq!(handled.events, []);
            assert_eq!(sent(&handled), [Wire::Ack { channel: channel_id(), what }]);
        }
    }
    let handled = world
        .hear_wire(ALICE, Wire::Ack { channel: channel_id(), what: MessageKey::State(turn(9)) });
    assert_eq!(handled.events, [], "nothing was sent under that name");
}

#[test]
fn update_requests_come_in_order_and_once() {
    let channel = channel_id();
    let request =
        |id, amount| Wire::UpdateRequest { channel, id: UpdateId(id), amount: wei(amount) };
    let ack = |id| Wire::Ack { channel, what: MessageKey::UpdateRequest(UpdateId(id)) };
    let mut world = World::open();
    world.cut[ALICE] = true;
    for (name, wire, events, answers) in [
        ("a gap", request(2, 1), vec![], vec![]),
        ("nothing", request(1, 0), vec![], vec![]),
        ("the first", request(1, 4), vec!["UpdateWanted", "StateSigned"], vec![ack(1)]),
        ("the first again", request(1, 4), vec![], vec![ack(1)]),
        ("the first, other amount", request(1, 5), vec![], vec![ack(1)]),
        ("number 0", request(0, 5), vec![], vec![ack(0)]),
        ("the last number", request(u64::MAX, 5), vec![], vec![]),
        ("the second", request(2, 1), vec!["UpdateWanted"], vec![ack(2)]),
    ] {
        let handled = world.hear_wire(ALICE, wire);
        assert_eq!(names(&handled), events, "{name}");
        assert_eq!(sent(&handled), answers, "{name}");
    }
    let handled = world.hear_wire(BOB, request(1, 1));
    assert_eq!(handled.events, [], "the follower proposes nothing");
}

#[test]
fn a_follower_that_asks_for_too_much_is_dropped_and_too_often_is_refused() {
    let mut config = Config::default();
    config.policy.updates_queued_max = 2;
    let mut world = World::open_with(config);
    let channel = channel_id();
    let request =
        |id, amount| Wire::UpdateRequest { channel, id: UpdateId(id), amount: wei(amount) };
    assert_eq!(names(&world.hear_wire(ALICE, request(1, 11))), ["UpdateWanted", "UpdateDropped"]);
    world.cut[ALICE] = true;
    for id in 2..5 {
        assert!(!world.hear_wire(ALICE, request(id, 1)).events.is_empty(), "{id}");
    }
    assert_eq!(world.hear_wire(ALICE, request(5, 1)).events, []);
    assert_eq!(refused(&world, ALICE, "limit"), 1);
}

#[test]
fn update_requests_are_heard_by_the_leader_of_an_open_channel_alone() {
    let open = Command::Open(terms());
    let force = Command::ForceClose { channel: channel_id() };
    for (name, who, mut world, command) in [
        ("not open yet", ALICE, World::new(), Some(open)),
        ("open", ALICE, World::open(), None),
        ("disputed", ALICE, World::open(), Some(force)),
        ("the follower", BOB, World::open(), None),
    ] {
        let heard = command.is_none() && who == ALICE;
        if let Some(command) = command {
            world.command(ALICE, command).unwrap();
        }
        let (channel, id, amount) = (channel_id(), UpdateId(1), wei(1));
        let handled = world.hear_wire(who, Wire::UpdateRequest { channel, id, amount });
        assert_eq!(names(&handled).contains(&"UpdateWanted"), heard, "{name}");
        assert_eq!(refused(&world, who, "not_open"), u64::from(!heard), "{name}");
    }
}

/// Goal: of one turn we sign one state, whatever the peer offers instead, also where we would gain by it.
#[test]
fn another_state_of_a_turn_that_we_signed_is_refused() {
    let mut world = World::open();
    world.cut[ALICE] = true;
    world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(1) }).unwrap();
    let handled = world.hear(ALICE, Message::State(signed(state(2, [11, 9]), &[bob()])));
    assert_eq!((names(&handled), sent(&handled)), (vec![], vec![]));
    assert_eq!(refused(&world, ALICE, "equivocation"), 1);
}

/// Goal: a peer's refusal counts before we have something at stake, and never afterwards.
#[test]
fn rejections_count_only_before_commitment() {
    let objective = id_of(ObjectiveKind::DirectFund);
    let mut world = World::new();
    world.cut[BOB] = true;
    world.command(ALICE, Command::Open(terms())).unwrap();
    for kind in [ObjectiveKind::DirectDefund, ObjectiveKind::Dispute] {
        let objective = id_of(kind);
        assert_eq!(world.hear_wire(ALICE, Wire::Rejected { objective }).events, []);
    }
    let handled = world.hear_wire(ALICE, Wire::Rejected { objective });
    assert_eq!(names(&handled), ["ObjectiveRejected"]);
    assert_eq!(world.hear_wire(ALICE, Wire::Rejected { objective }).events, [], "terminal");

    let mut world = World::new();
    world.mined = [false; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    assert!(world.channel(ALICE).deposit.is_some());
    assert_eq!(world.hear_wire(ALICE, Wire::Rejected { objective }).events, []);
    let mut world = World::open();
    assert_eq!(world.hear_wire(ALICE, Wire::Rejected { objective }).events, [], "completed");
}

#[test]
fn a_prefund_of_a_channel_that_was_dropped_is_answered_with_a_rejection() {
    let mut world = World::new();
    world.cut = [true; 2];
    world.hear(BOB, Message::State(signed(state(0, [10, 10]), &[alice()])));
    world.pass(70);
    assert_eq!(world.channel(BOB).phase, Phase::Finished);
    let handled = world.hear(BOB, Message::State(signed(state(0, [10, 10]), &[alice()])));
    assert_eq!(sent(&handled), [Wire::Rejected { objective: id_of(ObjectiveKind::DirectFund) }]);
}

/// Goal: whoever proposes what we do not allow hears so at once; in recovery the proposal may come again.
#[test]
fn a_proposal_that_the_policy_refuses_is_answered_with_a_rejection() {
    let mut config = Config::default();
    config.policy.our_deposit_max = wei(1);
    let mut world = World::with(config);
    world.command(ALICE, Command::Open(terms())).unwrap();
    let status = world.objective(ALICE, ObjectiveKind::DirectFund).map(|o| o.status.clone());
    assert_eq!(status, Some(Status::Rejected(RejectReason::ByPeer)));
    assert_eq!(refused(&world, BOB, "policy"), 1);

    let mut world = World::new();
    world.restart(BOB, Start::Restored);
    let handled = world.hear(BOB, Message::State(signed(state(0, [10, 10]), &[alice()])));
    assert_eq!(sent(&handled), []);
}

/// Goal: a payment that was accepted and cannot be made any more is told to its user.
#[test]
fn a_payment_overtaken_by_the_end_is_told_to_its_user() {
    for end in
        [Command::Close { channel: channel_id() }, Command::ForceClose { channel: channel_id() }]
    {
        let mut world = World::open();
        world.cut[BOB] = true;
        world.command_alone(BOB, Command::Pay { channel: channel_id(), amount: wei(1) }).unwrap();
        world.cut[BOB] = false;
        world.command(ALICE, end.clone()).unwrap();
        world.mine(100);
        let dropped = Notice::UpdateDropped { channel: channel_id(), id: 1 };
        let told = |who: usize| {
            world.released[who].iter().filter(|e| **e == Effect::Notify(dropped.clone())).count()
        };
        assert_eq!([told(ALICE), told(BOB)], [0, 1], "{end:?}");
        assert_eq!(world.channel(BOB).phase, Phase::Finished, "{end:?}");
        assert!(world.channel(BOB).updates.is_empty());
    }
}

#[test]
fn close_requests_count_once_and_only_while_open() {
    let request = || Wire::CloseRequest { channel: channel_id() };
    let ack = Wire::Ack { channel: channel_id(), what: MessageKey::CloseRequest };
    let mut world = World::open();
    world.cut[ALICE] = true;
    let handled = world.hear_wire(ALICE, request());
    assert_eq!(names(&handled), ["ObjectiveApproved", "StateSigned"]);
    let handled = world.hear_wire(ALICE, request());
    assert_eq!((names(&handled), sent(&handled)), (vec![], vec![ack]));

    let mut world = World::new();
    world.command(ALICE, Command::Open(terms())).unwrap();
    let handled = world.hear_wire(ALICE, request());
    assert_eq!((names(&handled), sent(&handled)), (vec![], vec![]), "not open yet");
}

/// Goal: GAP-3. Whatever final state the peer offers, we sign the last agreed balances or nothing.
#[test]
fn altered_final_states_are_not_signed() {
    for (name, offered, closes) in [
        ("the agreed one", final_state(2, [10, 10]), true),
        ("our money gone", final_state(2, [20, 0]), false),
        ("a gift", final_state(2, [9, 11]), false),
        ("a later turn", final_state(3, [10, 10]), false),
        ("the supported turn", final_state(1, [10, 10]), false),
    ] {
        let mut world = World::open();
        world.hear(BOB, Message::State(signed(offered, &[alice()])));
        let is_final = world.channel(BOB).signed.is_some_and(|s| s.is_final);
        assert_eq!(is_final, closes, "{name}");
        assert_eq!(world.channel(BOB).phase == Phase::Closing, closes, "{name}");
    }
}

#[test]
fn resume_tells_the_peer_what_we_hold() {
    let mut world = World::open();
    let handled = world.hear_wire(ALICE, Wire::ResumeRequest { channel: channel_id() });
    let [Wire::Resume { supported: Some(supported), yours: None, .. }] = &sent(&handled)[..] else {
        panic!("{handled:?}")
    };
    assert_eq!((supported.state.turn, supported.sigs.len()), (turn(1), 2));
    let other = Message::Resume {
        channel: channel_id(),
        supported: Some(signed(Terms { nonce: 2, ..terms() }.prefund(), &[alice(), bob()])),
        yours: None,
    };
    assert_eq!(world.hear(ALICE, other).events, [], "a state of another channel");
    assert_eq!(refused(&world, ALICE, "channel_unknown"), 1);
}

impl Terms {
    fn prefund(&self) -> State {
        let fixed = self.fixed_part(APP);
        State { fixed, outcome: self.opening(), ..state(0, [0, 0]) }
    }
}

#[test]
fn limits_on_a_peer_count_unfinished_channels() {
    let mut config = Config::default();
    config.policy.channels_per_peer_max = 2;
    let mut world = World::with(config);
    world.cut = [true; 2];
    for nonce in 1..=3 {
        let prefund = Terms { nonce, deposits: [wei(1), Default::default()], ..terms() }.prefund();
        let handled = world.hear(BOB, Message::State(signed(prefund, &[alice()])));
        assert_eq!(handled.events.is_empty(), nonce == 3, "{nonce}");
    }
    let _ = Address::ZERO;
    world.pass(70);
    let prefund = Terms { nonce: 4, ..terms() }.prefund();
    assert!(!world.hear(BOB, Message::State(signed(prefund, &[alice()]))).events.is_empty());
}
