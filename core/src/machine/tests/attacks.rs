//! What a peer or a stranger would like to make us do. Each test is an attack that worked once, or one of the same kind.

use alloc::vec;

use crate::chain_view::OnChainStatus;
use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::config::Config;
use crate::effect::Effect;
use crate::event::{Event, ObjectiveKind, UpdateId, WantedTx};
use crate::input::{Command, Input, Message};
use crate::machine::node::Start;
use crate::machine::testkit::*;
use crate::nitro::adjudicator::Mode;
use crate::nitro::{Call, Claim};
use crate::objective::Status;
use crate::types::{Address, Amount, ChainTime};
use crate::wire::Wire;

/// Goal: requests that wait while a signature is outstanding, none of which can be carried out, do not stop the node.
/// Method: Bob withholds his signature, fills the queue with what he cannot afford, then signs.
#[test]
fn a_queue_of_unaffordable_requests_is_dropped_at_once() {
    let mut world = World::open();
    world.cut[BOB] = true;
    world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(1) }).unwrap();
    for id in 1..=world.nodes[ALICE].config().policy.updates_queued_max {
        let channel = channel_id();
        let (id, amount) = (UpdateId(id), Amount::ETHER);
        world.hear_wire(ALICE, Wire::UpdateRequest { channel, id, amount });
    }
    world.hear(ALICE, Message::State(signed(state(2, [9, 11]), &[bob()])));
    assert_eq!(world.channel(ALICE).supported_turn(), Some(turn(2)));
    assert!(world.channel(ALICE).updates.is_empty());
}

/// Goal: a final state closes the channel however it arrives, and nothing is ever signed on top of it.
/// Method: the peer hides its final state in an unsolicited answer, then asks for more.
#[test]
fn a_final_state_in_a_resume_closes_the_channel() {
    for (me, peer) in [(ALICE, bob()), (BOB, alice())] {
        let mut world = World::open();
        let yours = Some(signed(final_state(2, [10, 10]), core::slice::from_ref(&peer)));
        world.hear(me, Message::Resume { channel: channel_id(), supported: None, yours });
        let channel = world.channel(me);
        assert_eq!(channel.phase, Phase::Closing, "node {me}");
        assert!(channel.supported.as_ref().is_some_and(|s| s.state().is_final));
        let _ = world.command_alone(me, Command::Pay { channel: channel_id(), amount: wei(1) });
        let gift = if me == ALICE { [11, 9] } else { [9, 11] };
        world.hear(me, Message::State(signed(state(3, gift), &[peer])));
        assert_eq!(world.channel(me).supported_turn(), Some(turn(2)));
    }
}

/// Goal: the leader never signs a draft of the follower's: it would carry out a payment and leave it in its queue, to be paid again.
/// Method: Alice restarts with a payment queued; before she may propose it, Bob proposes it himself.
#[test]
fn the_follower_cannot_have_a_payment_made_twice() {
    let mut world = World::open();
    world.cut[BOB] = true;
    world.restart(ALICE, Start::Normal);
    // Bob's request stands in front of Alice's own payment; both have number 1.
    let (channel, id) = (channel_id(), UpdateId(1));
    world.hear_wire(ALICE, Wire::UpdateRequest { channel, id, amount: wei(1) });
    world.command_alone(ALICE, Command::Pay { channel, amount: wei(4) }).unwrap();
    world.hear(ALICE, Message::State(signed(state(2, [6, 14]), &[bob()])));
    world.cut[BOB] = false;
    world.restart(BOB, Start::Normal);
    world.pass(10);
    let least = world.channel(ALICE).balance(ALICE);
    assert!(least >= wei(6), "Alice paid 4 and has {least}");
    assert_eq!(world.equivocations(ALICE), []);
}

/// Goal: a payout that could have been ours or the peer's is not taken for ours.
/// Method: balances are equal; the peer pays itself alone out of the finalized channel.
#[test]
fn a_payout_of_the_same_amount_to_the_peer_is_not_ours() {
    for me in [ALICE, BOB] {
        let mut world = World::open();
        world.mined[1 - me] = false;
        world.cut[1 - me] = true;
        world.command(me, Command::ForceClose { channel: channel_id() }).unwrap();
        // Ours does not get in before the peer's.
        world.mine(4);
        world.mined[me] = false;
        while world.chain.mode(channel_id(), block_ref(world.blocks.len() as u64, 0).time)
            != Mode::Finalized
        {
            world.mine(1);
        }
        let supported = world.channel(me).supported.clone().unwrap();
        world.submit(
            1 - me,
            Call::Transfer {
                asset_index: 0,
                channel: channel_id(),
                outcome: supported.state().outcome.clone(),
                state_hash: supported.hash(),
                indices: vec![1 - me as u64],
            },
        );
        world.mine(1);
        assert_eq!(world.chain.held(crate::types::Address::ZERO, channel_id()), wei(10));
        world.mine(4);
        let dispute = world.objective(me, ObjectiveKind::Dispute).unwrap();
        assert!(dispute.is_live(), "node {me} believes that it was paid");
        world.mined[me] = true;
        world.mine(10);
        assert_eq!(world.chain.held(crate::types::Address::ZERO, channel_id()), wei(0));
        let dispute = world.objective(me, ObjectiveKind::Dispute).unwrap();
        assert_eq!(dispute.status, Status::Completed, "node {me}");
    }
}

/// Goal: whoever cannot be paid holds up nobody else, also where the balances are equal.
#[test]
fn a_recipient_that_reverts_blocks_only_its_own_payout() {
    for (name, amount) in [("equal balances", None), ("unequal balances", Some(3))] {
        let mut world = World::open();
        if let Some(amount) = amount {
            let amount = wei(amount);
            world.command(ALICE, Command::Pay { channel: channel_id(), amount }).unwrap();
        }
        let bobs = world.channel(ALICE).balance(BOB);
        world.refusing.insert(bob().address());
        world.cut[BOB] = true;
        world.mined[BOB] = false;
        world.command(ALICE, Command::ForceClose { channel: channel_id() }).unwrap();
        world.mine(80);
        assert_eq!(world.chain.held(crate::types::Address::ZERO, channel_id()), bobs, "{name}");
        let dispute = world.objective(ALICE, ObjectiveKind::Dispute).unwrap();
        assert_eq!(dispute.status, Status::Completed, "{name}");
        let before = world.submitted(ALICE).count();
        world.mine(20);
        assert_eq!(world.submitted(ALICE).count(), before, "{name}: nothing is submitted for ever");
    }
}

/// Goal: the same in a close by agreement, where concluding and paying everybody are one call.
#[test]
fn a_recipient_that_reverts_does_not_block_an_agreed_close() {
    let mut world = World::open();
    world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(3) }).unwrap();
    world.refusing.insert(bob().address());
    world.mined[BOB] = false;
    world.command(ALICE, Command::Close { channel: channel_id() }).unwrap();
    world.mine(40);
    assert_eq!(world.chain.held(crate::types::Address::ZERO, channel_id()), wei(13));
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
}

/// Goal: an old challenge is answered with the newest state, one of the same turn is not, and the money comes home.
#[test]
fn only_stale_challenges_are_answered() {
    for (name, amounts, at, stale) in
        [("an old one", [10, 10], 1, true), ("the newest", [7, 13], 2, false)]
    {
        let mut world = World::open();
        world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(3) }).unwrap();
        let old = by_both(state(at, amounts));
        let challenger_sig = alice().sign(crate::nitro::sign::challenge_hash(old.hash()));
        let candidate = Claim::from(&old);
        world.mined[ALICE] = false;
        world.cut[ALICE] = true;
        world.submit(ALICE, Call::Challenge { proof: vec![], candidate, challenger_sig });
        world.mine(1);
        let answer = WantedTx::Checkpoint { turn: turn(2) };
        assert_eq!(world.channel(BOB).txs.contains(&answer), stale, "{name}");
        world.mine(130);
        assert_eq!(world.channel(BOB).phase, Phase::Finished, "{name}");
        assert_eq!(world.chain.held(crate::types::Address::ZERO, channel_id()), wei(0), "{name}");
    }
}

/// Goal: an answer is submitted again within the challenge, as often as at first.
#[test]
fn an_answer_that_is_not_mined_comes_again_without_longer_pauses() {
    let mut world = World::open();
    world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(3) }).unwrap();
    let old = by_both(state(1, [10, 10]));
    let challenger_sig = alice().sign(crate::nitro::sign::challenge_hash(old.hash()));
    let candidate = Claim::from(&old);
    (world.mined, world.cut[ALICE]) = ([false; 2], true);
    world.submit(ALICE, Call::Challenge { proof: vec![], candidate, challenger_sig });
    world.mine(1);
    world.pass(60);
    let answers = world.submitted(BOB).filter(|c| matches!(c, Call::Checkpoint { .. })).count();
    assert_eq!(answers, 1 + 60 / 15);
}

/// Goal: dust from a stranger does not keep our deposit in a channel that the peer does not fund.
#[test]
fn dust_is_no_progress() {
    let mut world = World::new();
    world.mined[BOB] = false;
    world.command(ALICE, Command::Open(terms())).unwrap();
    for _ in 0..20 {
        let (asset, channel) = (crate::types::Address::ZERO, channel_id());
        let expected_held = world.chain.held(asset, channel);
        if expected_held >= wei(10) {
            world.submit(
                BOB,
                Call::Deposit { asset, channel, expected_held, amount: Amount::wei(1) },
            );
        }
        world.mine(1);
    }
    assert!(world.channel(ALICE).phase >= Phase::Disputed, "{:?}", world.channel(ALICE).phase);
}

/// Goal: a state that the peer kept from us and put on record is read out of its transaction, and we close by it.
/// Method: the endpoint shows the calldata at once, or some blocks later, when a stranger's deposit stands above it.
#[test]
fn a_state_kept_back_is_read_out_of_the_checkpoint() {
    for hidden in [0, 5] {
        let mut world = World::open();
        (world.cut[BOB], world.mined[BOB]) = (true, false);
        world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(3) }).unwrap();
        let kept = world.channel(BOB).supported.clone().expect("Bob countersigned");
        assert_eq!((kept.turn(), world.channel(ALICE).supported_turn()), (turn(2), Some(turn(1))));
        world.command(ALICE, Command::ForceClose { channel: channel_id() }).unwrap();
        world.mine(1);
        world.calldata = hidden == 0;
        world.submit(BOB, Call::Checkpoint { proof: vec![], candidate: Claim::from(&kept) });
        world.mine(1);
        let (asset, channel) = (crate::types::Address::ZERO, channel_id());
        let (expected_held, amount) = (world.chain.held(asset, channel), Amount::wei(1));
        if hidden > 0 {
            world.submit(BOB, Call::Deposit { asset, channel, expected_held, amount });
        }
        world.mine(hidden);
        let known = if hidden == 0 { 2 } else { 1 };
        assert_eq!(world.channel(ALICE).supported_turn(), Some(turn(known)), "hidden {hidden}");
        world.calldata = true;
        world.mine(80);
        assert_eq!(world.channel(ALICE).phase, Phase::Finished, "hidden {hidden}");
        let left = if hidden > 0 { amount } else { wei(0) };
        assert_eq!(world.chain.held(asset, channel), left, "the stranger's is nobody's");
    }
}

/// Goal: the endpoint can make us learn only what everybody signed.
#[test]
fn calldata_without_every_signature_is_nobodys_word() {
    let mut world = World::open();
    let claims = [
        Claim::from(&signed(state(2, [1, 19]), &[bob()])),
        Claim { state: state(2, [1, 19]), sigs: vec![] },
        Claim {
            state: state(3, [1, 19]),
            sigs: by_both(state(2, [1, 19])).sigs().values().copied().collect(),
        },
    ];
    let at = world.blocks.len() as u64;
    let checkpoints = claims.map(|candidate| Call::Checkpoint { proof: vec![], candidate });
    let block = crate::chain_types::Block::new(block_ref(at, 0), []).with_calldata(&checkpoints);
    let head = block.header;
    let from = head.number;
    let handled = world.input(ALICE, Input::Blocks { from, head, blocks: vec![block] });
    let learned = |e: &Event| matches!(e, Event::StatePublished { .. });
    assert!(!handled.events.iter().any(learned), "{:?}", handled.events);
    assert!(world.nodes[ALICE].state().recovery().is_none());
}

/// Goal: a dispute begun while our deposit is on its way leaves none of it behind.
#[test]
fn a_deposit_that_arrives_after_the_dispute_is_collected() {
    let mut world = World::new();
    world.mined[ALICE] = false;
    world.command(ALICE, Command::Open(terms())).unwrap();
    let deposit = world.submitted(ALICE).next().cloned().expect("a deposit is submitted");
    world.cut[BOB] = true;
    world.command(ALICE, Command::ForceClose { channel: channel_id() }).unwrap();
    world.mined[ALICE] = true;
    world.mine(80);
    assert_eq!(world.channel(ALICE).phase, Phase::Finished);
    world.submit(ALICE, deposit);
    world.mine(8);
    assert_eq!(world.chain.held(crate::types::Address::ZERO, channel_id()), wei(0));
}

/// Goal: what a peer can make us keep is bounded.
/// Method: Bob sends every state, acknowledgement and request that he can sign.
#[test]
fn a_peer_cannot_make_a_channel_grow() {
    let mut world = World::open();
    for n in 0..300u64 {
        let channel = channel_id();
        world.hear(ALICE, Message::State(signed(state(n, [10, 10]), &[bob()])));
        world.hear(ALICE, Message::State(signed(final_state(n, [10, 10 + n]), &[bob()])));
        let what = crate::event::MessageKey::State(turn(n));
        world.hear_wire(ALICE, Wire::Ack { channel, what });
        world.hear_wire(
            ALICE,
            Wire::Ack { channel, what: crate::event::MessageKey::UpdateRequest(UpdateId(n)) },
        );
        world
            .hear_wire(ALICE, Wire::UpdateRequest { channel, id: UpdateId(n), amount: wei(1 + n) });
        world.hear_wire(ALICE, Wire::ResumeRequest { channel });
    }
    let channel = world.channel(ALICE);
    assert!(channel.pending.len() <= 2, "{} pending", channel.pending.len());
    assert!(channel.acked.len() <= 3, "{} acked", channel.acked.len());
    assert!(channel.updates.len() <= 256);
    assert_eq!(world.equivocations(ALICE), []);
}

/// Goal: our own old signature, shown again, moves nothing.
#[test]
fn a_replayed_signature_of_ours_changes_nothing() {
    let mut world = World::open();
    world.command(ALICE, Command::Pay { channel: channel_id(), amount: wei(3) }).unwrap();
    let before = world.nodes[ALICE].state().digest();
    for old in [state(0, [10, 10]), state(1, [10, 10]), state(2, [7, 13])] {
        for by in [vec![alice()], vec![bob()], vec![alice(), bob()]] {
            let handled = world.hear(ALICE, Message::State(signed(old.clone(), &by)));
            assert_eq!(handled.events, []);
        }
    }
    assert_eq!(world.nodes[ALICE].state().digest(), before);
}

/// Goal: the postfund waits for the holdings, whatever the peer has signed already.
#[test]
fn the_peers_postfund_does_not_bring_ours_forward() {
    let mut world = World::new();
    world.mined = [false; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    world.hear(BOB, Message::State(signed(state(1, [10, 10]), &[alice()])));
    let channel = world.channel(BOB);
    assert_eq!(channel.signed.map(|s| s.turn), Some(turn(0)));
    assert!(channel.pending.contains_key(&turn(1)));
    assert_eq!(channel.phase, Phase::Opening);
    assert!(channel.deposit.is_none(), "Alice's deposit is not confirmed");
}

/// Goal: a node that may not sign any more because holdings vanished does not close by agreement either, and the user can still
/// force the end.
#[test]
fn a_frozen_channel_signs_nothing() {
    let mut world = World::open();
    let fork = |n| crate::chain_types::Block::new(block_ref(n, 9), []);
    let mut blocks = vec![crate::chain_types::Block::new(
        crate::chain_types::BlockRef { parent: block_ref(0, 0).hash, ..block_ref(1, 9) },
        [],
    )];
    blocks.extend((2..20).map(fork));
    let head = blocks.last().unwrap().header;
    let from = crate::types::BlockNum(1);
    let handled = world.input(ALICE, Input::Blocks { from, head, blocks });
    assert!(world.channel(ALICE).frozen);
    assert!(
        handled
            .answers
            .iter()
            .any(|a| matches!(a, Effect::Notify(crate::effect::Notice::DeepReorg { .. })))
    );
    world.command_alone(ALICE, Command::Pay { channel: channel_id(), amount: wei(1) }).unwrap();
    world.command_alone(ALICE, Command::Close { channel: channel_id() }).unwrap();
    assert_eq!(world.channel(ALICE).signed.map(|s| s.turn), Some(turn(1)));
    let _ = (ChainTime(0), Config::default());
}

/// Goal: with equal balances nobody can tell from the log whom a stranger had paid; the node finds out by what the contract takes.
/// Method: the channel is finalized at 10 and 10, and somebody has the leader or the follower paid alone.
#[test]
fn a_payout_that_can_be_read_in_two_ways_ends_all_the_same() {
    for paid in [ALICE, BOB] {
        let mut world = World::open();
        world.command(ALICE, Command::ForceClose { channel: channel_id() }).unwrap();
        world.mine(2);
        let OnChainStatus::Challenged(c) =
            world.nodes[ALICE].state().chain().at_head(channel_id()).status.clone()
        else {
            panic!("challenged")
        };
        world.mined = [false; 2];
        world.mine(60);
        let (asset_index, channel, indices) = (0, channel_id(), vec![paid as u64]);
        let (outcome, state_hash) = (c.outcome, c.state_hash);
        world.submit(BOB, Call::Transfer { asset_index, channel, outcome, state_hash, indices });
        world.mine(1);
        assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(10));
        // The other one does nothing more: it is ours to end.
        world.mined[paid] = true;
        world.mine(40);
        assert_eq!(world.chain.held(Address::ZERO, channel_id()), wei(0), "{paid} was paid first");
        for who in [ALICE, BOB] {
            assert_eq!(
                world.channel(who).phase,
                Phase::Finished,
                "node {who}, {paid} was paid first"
            );
        }
    }
}
