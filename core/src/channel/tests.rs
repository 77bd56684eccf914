//! Which states may follow which.

use alloc::vec;
use alloc::vec::Vec;

use super::testkit::*;
use super::*;
use crate::chain_view::Challenge;
use crate::nitro::Allocation;
use crate::types::ChainTime;

fn bad(n: u64, why: &'static str) -> Result<(), Refusal> {
    Err(Refusal::BadState { turn: turn(n), why })
}

fn with(mut state: State, change: impl Fn(&mut State)) -> State {
    change(&mut state);
    state
}

/// Goal: every refusal, and what is accepted right beside it. Method: Bob holds turn 5 with 12 and 8; Alice sends one state a row.
#[test]
fn the_follower_accepts_only_what_may_follow() {
    let mut bob_at_5 = channel_at(&bob(), state(5, [12, 8]));
    bob_at_5.merge(signed(state(6, [10, 10]), &[alice()]));
    let by_alice = |s| signed(s, &[alice()]);
    for (name, offered, expected) in [
        ("the pending one again", by_alice(state(6, [10, 10])), Ok(())),
        (
            "another of the pending turn",
            by_alice(state(6, [9, 11])),
            Err(Refusal::Equivocation(turn(6))),
        ),
        ("the supported one again", by_alice(state(5, [12, 8])), Ok(())),
        (
            "another of the supported turn",
            by_alice(state(5, [11, 9])),
            Err(Refusal::Equivocation(turn(5))),
        ),
        ("two turns on", by_alice(state(7, [10, 10])), bad(7, "not the next turn")),
        (
            "the last turn",
            by_alice(with(state(0, [10, 10]), |s| s.turn = TurnNum::MAX)),
            Err(Refusal::BadState { turn: TurnNum::MAX, why: "not the next turn" }),
        ),
        ("our own signature, forgotten", signed(state(9, [0, 20]), &[bob()]), Ok(())),
    ] {
        assert_eq!(bob_at_5.check_received(&offered, &Expectations::new()), expected, "{name}");
    }
    let bob_at_5 = channel_at(&bob(), state(5, [12, 8]));
    for (name, offered, expected) in [
        ("a payment to us", state(6, [11, 9]), Ok(())),
        (
            "no change",
            state(6, [12, 8]),
            Err(Refusal::UnwantedChange { before: wei(8), after: wei(8) }),
        ),
        (
            "a payment by us",
            state(6, [13, 7]),
            Err(Refusal::UnwantedChange { before: wei(8), after: wei(7) }),
        ),
        ("more than there is", state(6, [12, 9]), bad(6, "the total changes")),
        ("less than there is", state(6, [11, 8]), bad(6, "the total changes")),
        (
            "an overflow",
            with(state(6, [0, 0]), |s| {
                s.outcome[0].allocations[0].amount = Amount(alloy_primitives::U256::MAX);
                s.outcome[0].allocations[1].amount = wei(21);
            }),
            bad(6, "the total changes"),
        ),
        ("the closing state", final_state(6, [12, 8]), Ok(())),
        (
            "an altered closing state",
            final_state(6, [20, 0]),
            bad(6, "final outcome differs from the last supported one"),
        ),
        (
            "a closing state that is a gift",
            final_state(6, [11, 9]),
            bad(6, "final outcome differs from the last supported one"),
        ),
        (
            "application data",
            with(state(6, [11, 9]), |s| s.app_data = vec![0].into()),
            bad(6, "application data in a direct channel"),
        ),
        (
            "application data in the end",
            with(final_state(6, [12, 8]), |s| s.app_data = vec![0].into()),
            bad(6, "application data in a direct channel"),
        ),
    ] {
        assert_eq!(
            bob_at_5.check_received(&by_alice(offered), &Expectations::new()),
            expected,
            "{name}"
        );
    }
}

#[test]
fn the_leader_takes_no_drafts_of_the_follower() {
    let alice_at_5 = channel_at(&alice(), state(5, [12, 8]));
    let by_bob = |s| signed(s, &[bob()]);
    assert_eq!(
        alice_at_5.check_received(&by_bob(state(6, [13, 7])), &Expectations::new()),
        bad(6, "only the leader proposes")
    );
    assert_eq!(
        alice_at_5.check_received(&by_bob(final_state(6, [12, 8])), &Expectations::new()),
        Ok(())
    );
    assert_eq!(
        alice_at_5.check_received(&by_both(state(6, [13, 7])), &Expectations::new()),
        Ok(()),
        "what we signed counts"
    );
}

#[test]
fn nothing_follows_a_final_state() {
    for (me, peer) in [(alice(), bob()), (bob(), alice())] {
        let closed = channel_at(&me, final_state(5, [12, 8]));
        for offered in [state(6, [13, 7]), state(6, [11, 9]), final_state(6, [12, 8])] {
            assert_eq!(
                closed.check_received(
                    &signed(offered, core::slice::from_ref(&peer)),
                    &Expectations::new()
                ),
                bad(6, "the channel is final")
            );
        }
        assert_eq!(closed.closing_state(), Some(final_state(5, [12, 8])));
    }
}

/// Goal: before the channel is funded there are two states and no others.
#[test]
fn the_opening_states_are_fixed() {
    let by_alice = |s| signed(s, &[alice()]);
    let fresh = new_channel(&bob());
    let prefunded = channel_at(&bob(), state(0, [10, 10]));
    for (name, channel, offered, expected) in [
        ("the prefund", &fresh, state(0, [10, 10]), Ok(())),
        (
            "another prefund",
            &fresh,
            state(0, [9, 11]),
            bad(0, "outcome differs from the agreed opening"),
        ),
        (
            "a final prefund",
            &fresh,
            final_state(0, [10, 10]),
            bad(0, "final before the channel is funded"),
        ),
        ("the postfund first", &fresh, state(1, [10, 10]), Ok(())),
        ("an update first", &fresh, state(2, [10, 10]), bad(2, "nothing is supported yet")),
        ("the postfund", &prefunded, state(1, [10, 10]), Ok(())),
        (
            "another postfund",
            &prefunded,
            state(1, [20, 0]),
            bad(1, "outcome differs from the agreed opening"),
        ),
        (
            "a final postfund",
            &prefunded,
            final_state(1, [10, 10]),
            bad(1, "final before the channel is funded"),
        ),
        ("an update too early", &prefunded, state(2, [9, 11]), bad(2, "the channel is not funded")),
        (
            "an end too early",
            &prefunded,
            final_state(2, [10, 10]),
            bad(2, "the channel is not funded"),
        ),
    ] {
        assert_eq!(
            channel.check_received(&by_alice(offered), &Expectations::new()),
            expected,
            "{name}"
        );
    }
}

/// Goal: an update changes amounts and nothing else.
#[test]
fn updates_keep_the_shape() {
    let channel = channel_at(&bob(), state(5, [12, 8]));
    let shape = bad(6, "the outcome is not laid out as a ledger's");
    let base = state(6, [11, 9]).outcome;
    type Change = fn(&mut Outcome);
    let changes: [(&str, Change); 9] = [
        ("no asset", |o| o.clear()),
        ("another asset", |o| o[0].asset = Address::repeat_byte(1)),
        ("another kind of asset", |o| o[0].asset_type = 1),
        ("metadata of the asset", |o| o[0].asset_metadata = vec![1].into()),
        ("a second asset", |o| o.push(o[0].clone())),
        ("a third entry", |o| o[0].allocations.push(Allocation::simple(Address::ZERO, wei(0)))),
        ("swapped destinations", |o| o[0].allocations.swap(0, 1)),
        ("a guarantee", |o| o[0].allocations[1].allocation_type = AllocationType::GUARANTEE),
        ("metadata of an entry", |o| o[0].allocations[1].metadata = vec![1].into()),
    ];
    assert!(matches!(
        channel.check_update(&base, &Expectations::new()),
        Ok(ledger::Change::Ready { .. })
    ));
    for (name, change) in changes {
        let mut outcome = base.clone();
        change(&mut outcome);
        assert_eq!(channel.check_update(&outcome, &Expectations::new()).map(drop), shape, "{name}");
    }
}

/// Goal: our balance goes down by what we asked for first, by nothing else, and once.
#[test]
fn only_our_own_oldest_request_takes_from_us() {
    let mut channel = channel_at(&bob(), state(5, [12, 8]));
    for (id, amount) in [(1, 3), (2, 1)] {
        channel.updates.push_back(Update { id: UpdateId(id), payer: 1, amount: wei(amount) });
    }
    for (after, ok) in [(4, false), (5, true), (6, false), (7, false), (8, false), (9, true)] {
        let outcome = state(6, [20 - after, after]).outcome;
        assert_eq!(
            channel.check_update(&outcome, &Expectations::new()).is_ok(),
            ok,
            "8 becomes {after}"
        );
    }
    channel.carry_out(Some(UpdateId(1)));
    assert_eq!(channel.my_front_update().map(|u| u.id), Some(UpdateId(2)));
    channel.carry_out(Some(UpdateId(7)));
    channel.carry_out(None);
    assert_eq!(channel.updates.len(), 1);
}

#[test]
fn terms_are_read_only_from_the_prefund_that_we_would_build() {
    let prefund = state(0, [10, 10]);
    assert_eq!(Terms::of_prefund(&prefund), Ok(terms()));
    let refuse = |n, why| Err(Refusal::BadState { turn: turn(n), why });
    let not_prefund = "not a prefund";
    let shape = "the outcome is not that of a direct channel";
    for (name, offered, expected) in [
        ("turn 1", state(1, [10, 10]), refuse(1, not_prefund)),
        ("final", final_state(0, [10, 10]), refuse(0, not_prefund)),
        ("data", with(prefund.clone(), |s| s.app_data = vec![1].into()), refuse(0, not_prefund)),
        (
            "one participant",
            with(prefund.clone(), |s| s.fixed.participants.truncate(1)),
            refuse(0, "a direct channel has two participants"),
        ),
        (
            "three participants",
            with(prefund.clone(), |s| s.fixed.participants.push(carol().address())),
            refuse(0, "a direct channel has two participants"),
        ),
        ("no outcome", with(prefund.clone(), |s| s.outcome.clear()), refuse(0, "no outcome")),
        (
            "two assets",
            with(prefund.clone(), |s| s.outcome.push(s.outcome[0].clone())),
            refuse(0, shape),
        ),
        (
            "one entry",
            with(prefund.clone(), |s| drop(s.outcome[0].allocations.pop())),
            refuse(0, shape),
        ),
        (
            "swapped entries",
            with(prefund.clone(), |s| s.outcome[0].allocations.swap(0, 1)),
            refuse(0, shape),
        ),
        (
            "foreign destination",
            with(prefund.clone(), |s| {
                s.outcome[0].allocations[0].destination = Destination::of(carol().address())
            }),
            refuse(0, shape),
        ),
        (
            "a guarantee",
            with(prefund.clone(), |s| {
                s.outcome[0].allocations[0].allocation_type = AllocationType::GUARANTEE
            }),
            refuse(0, shape),
        ),
        (
            "metadata",
            with(prefund.clone(), |s| s.outcome[0].allocations[0].metadata = vec![1].into()),
            refuse(0, shape),
        ),
        (
            "a kind of asset",
            with(prefund.clone(), |s| s.outcome[0].asset_type = 3),
            refuse(0, shape),
        ),
    ] {
        assert_eq!(Terms::of_prefund(&offered), expected, "{name}");
    }
}

/// Goal: merging keeps `supported` unanimous, `pending` above it, and our newest signature.
#[test]
fn merging_in_any_order_ends_in_the_same_channel() {
    let parts: Vec<SignedState> = [state(0, [10, 10]), state(1, [10, 10]), state(2, [7, 13])]
        .into_iter()
        .flat_map(|s| [signed(s.clone(), &[alice()]), signed(s, &[bob()])])
        .collect();
    for rotation in 0..parts.len() {
        let mut channel = new_channel(&alice());
        for i in 0..parts.len() {
            channel.merge(parts[(i + rotation) % parts.len()].clone());
            assert!(channel.supported.as_ref().is_none_or(SignedState::is_unanimous));
            assert!(channel.pending.keys().all(|t| Some(*t) > channel.supported_turn()));
        }
        assert_eq!(channel.supported_turn(), Some(turn(2)));
        assert_eq!(channel.signed.map(|s| s.turn), Some(turn(2)));
        assert!(channel.pending.is_empty());
    }
}

#[test]
fn our_own_signature_outweighs_the_peers_draft() {
    let mut channel = channel_at(&alice(), state(1, [10, 10]));
    channel.merge(signed(state(2, [11, 9]), &[bob()]));
    channel.merge(signed(state(2, [7, 13]), &[alice()]));
    assert_eq!(channel.pending[&turn(2)].hash(), state(2, [7, 13]).hash());
    channel.merge(signed(state(2, [11, 9]), &[bob()]));
    assert_eq!(channel.pending[&turn(2)].hash(), state(2, [7, 13]).hash());
    assert!(channel.has_unanswered_signature());
    assert!(channel.knows_own_signature(&signed(state(2, [7, 13]), &[alice()])));
    assert!(!channel.knows_own_signature(&signed(state(2, [11, 9]), &[alice()])));
    assert!(
        channel.knows_own_signature(&signed(state(0, [10, 10]), &[alice()])),
        "too old to matter"
    );
}

#[test]
fn deposits_stand_in_the_order_of_the_allocations() {
    for (me, floor, target) in [(alice(), 0, 10), (bob(), 10, 20)] {
        let channel = new_channel(&me);
        assert_eq!([channel.deposit_floor(), channel.deposit_target()], [floor, target].map(wei));
        assert_eq!(channel.total(), wei(20));
    }
    assert_eq!(Channel::new(channel_id(), &terms(), APP, carol().address(), Timestamp(0)), None);
}

/// Goal: a guarantee that stands, or that may come to, keeps the channel from its end, in which it could never be reclaimed.
#[test]
fn a_channel_with_a_guarantee_has_no_closing_state() {
    let guaranteed = |n| {
        with(state(n, [12, 8]), |s| {
            let [left, right] = terms().participants;
            let target = ChannelId(B256::repeat_byte(9));
            let mut layout = Layout::of(&s.outcome, [left, right]).unwrap();
            layout.add(ledger::Guarantee { target, amount: wei(2), left, right }).unwrap();
            s.outcome = layout.outcome();
        })
    };
    let plain = channel_at(&bob(), state(5, [12, 8]));
    let standing = channel_at(&bob(), guaranteed(5));
    let mut proposed = plain.clone();
    proposed.merge(signed(guaranteed(6), &[alice()]));
    for (name, channel, closing) in [
        ("none", plain, Some(final_state(6, [12, 8]))),
        ("one that stands", standing, None),
        ("one that is proposed", proposed, None),
    ] {
        assert_eq!(channel.has_guarantees(), closing.is_none(), "{name}");
        assert_eq!(channel.closing_state(), closing, "{name}");
    }
}

/// Goal: every step on chain is a milestone of its own, and money that reaches no mark is none. Method: Bob deposits second.
#[test]
fn a_milestone_is_a_mark_of_funding_a_turn_or_a_payout() {
    let channel = new_channel(&bob());
    let held = |amount| OnChain { held: wei(amount), ..OnChain::default() };
    let status = |status| OnChain { status, ..held(20) };
    let challenged = |n| {
        let State { turn, outcome, .. } = state(n, [12, 8]);
        let finalizes_at = ChainTime(1_000);
        status(OnChainStatus::Challenged(Challenge {
            turn,
            finalizes_at,
            state_hash: B256::ZERO,
            outcome,
        }))
    };
    let steps = [
        held(0),
        held(10),
        held(20),
        status(OnChainStatus::Recorded(turn(4))),
        status(OnChainStatus::Recorded(turn(5))),
        challenged(5),
        challenged(6),
        OnChain { reclaims: 1, ..challenged(6) },
        OnChain { reclaims: 1, payouts: vec![(wei(20), wei(8))], ..challenged(6) },
        status(OnChainStatus::Concluded(ChainTime(900))),
    ];
    for (i, step) in steps.iter().enumerate() {
        for other in &steps[..i] {
            assert_ne!(channel.milestone(step), channel.milestone(other), "{step:?} {other:?}");
        }
    }
    assert_eq!(channel.milestone(&held(19)), channel.milestone(&held(10)));
}
