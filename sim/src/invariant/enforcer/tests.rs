//! Bad traces for the enforcer, and that oracle and game agree on good ones: the fixture has the game played at every prefix.

use fairway_core::event::{Event, ObjectiveId, ObjectiveKind, Origin};
use fairway_core::nitro::State;
use fairway_core::types::{ChannelId, TurnNum};

use super::super::Violation;
use super::super::fixture::*;
use super::super::fixture_virtual::*;

const NAME: &str = "entitlement-is-enforceable";

fn right(turn: u64, balances: [u64; 2]) -> State {
    let base = mallorys(turn, balances);
    State { fixed: right_terms().fixed_part(APP), ..base }
}

fn right_id() -> ChannelId {
    right_terms().fixed_part(APP).channel_id()
}

/// Bob's log as a hub between Alice and Mallory, up to the prefund of the virtual channel.
fn hub() -> Story {
    let mut story = Story::funded(NAME);
    story.logs(BOB, opened(BOB)).unwrap();
    let id = ObjectiveId { channel: right_id(), kind: ObjectiveKind::DirectFund };
    let mut events =
        vec![Event::ObjectiveApproved { id, origin: Origin::User, terms: Some(right_terms()) }];
    for turn in [0, 1] {
        events.extend(unanimous(&right(turn, [5, 5]), BOB, &[MALLORY]));
    }
    let terms = virtual_terms();
    events.push(takes_part(&terms, Some(right_id())));
    events.push(Event::LedgerNamed { channel: virtual_id(&terms), ledger: channel() });
    let prefund = virtual_state(&terms, TurnNum::PREFUND, 0);
    events.extend(unanimous(&prefund, BOB, &[ALICE, MALLORY]));
    story.logs(BOB, events).unwrap();
    let deposit = |held: u64| fairway_core::nitro::Call::Deposit {
        asset: fairway_core::types::Address::ZERO,
        channel: right_id(),
        expected_held: ether(held),
        amount: ether(5),
    };
    story.mines_call(MALLORY, deposit(0)).unwrap();
    story.mines_call(BOB, deposit(5)).unwrap();
    story
}

fn left_guaranteed() -> State {
    guaranteed(&state(2, [5, 5]), [3, 5], &virtual_terms(), ALICE, BOB)
}

fn right_guaranteed() -> State {
    guaranteed(&right(2, [5, 5]), [5, 3], &virtual_terms(), BOB, MALLORY)
}

fn with_guarantees(story: &mut Story) -> Result<(), Violation> {
    story.logs(BOB, unanimous(&left_guaranteed(), BOB, &[ALICE]))?;
    story.logs(BOB, unanimous(&right_guaranteed(), BOB, &[MALLORY]))?;
    let postfund = virtual_state(&virtual_terms(), TurnNum::POSTFUND, 0);
    story.logs(BOB, unanimous(&postfund, BOB, &[ALICE, MALLORY]))
}

#[test]
fn a_hub_that_follows_the_protocol_is_safe_at_every_step() {
    let mut story = hub();
    with_guarantees(&mut story).unwrap();
    let end = virtual_state(&virtual_terms(), TurnNum::VIRTUAL_FINAL, 2);
    story.logs(BOB, unanimous(&end, BOB, &[ALICE, MALLORY])).unwrap();
    story.logs(BOB, unanimous(&right(3, [7, 3]), BOB, &[MALLORY])).unwrap();
    story.logs(BOB, unanimous(&state(3, [3, 7]), BOB, &[ALICE])).unwrap();
}

#[test]
fn a_hub_that_gave_one_side_back_unasked_is_noticed() {
    let mut story = hub();
    with_guarantees(&mut story).unwrap();
    let violation = story.logs(BOB, unanimous(&state(3, [5, 5]), BOB, &[ALICE])).unwrap_err();
    assert_fires(&violation, NAME, BOB);
    assert_eq!(violation.loss, Some((BOB, ether(2))));
}

#[test]
fn a_postfund_without_the_guarantee_on_the_payers_side_is_noticed() {
    let mut story = hub();
    story.logs(BOB, unanimous(&right_guaranteed(), BOB, &[MALLORY])).unwrap();
    let postfund = virtual_state(&virtual_terms(), TurnNum::POSTFUND, 0);
    let violation = story.logs(BOB, vec![signs(&postfund, BOB)]).unwrap_err();
    assert_fires(&violation, NAME, BOB);
    assert_eq!(violation.loss, Some((BOB, ether(2))));
}

/// In the old layout a stranger pays the guarantee out to the virtual channel, from where nobody gets it.
#[test]
fn a_guarantee_that_anybody_can_pay_out_is_worth_nothing() {
    let mut story = hub();
    let exposed = guaranteed_last(&right_guaranteed());
    let violation = story.logs(BOB, unanimous(&exposed, BOB, &[MALLORY])).unwrap_err();
    assert_fires(&violation, NAME, BOB);
    assert_eq!(violation.loss, Some((BOB, ether(2))));
}

/// Bob's log as the payee of a channel directly from Alice.
fn payee(with_postfund: bool) -> Story {
    let terms = direct_terms();
    let mut story = Story::funded(NAME);
    story.logs(BOB, opened(BOB)).unwrap();
    let mut events = vec![takes_part(&terms, None)];
    events.push(Event::LedgerNamed { channel: virtual_id(&terms), ledger: channel() });
    events.extend(unanimous(&virtual_state(&terms, TurnNum::PREFUND, 0), BOB, &[ALICE]));
    let locked = guaranteed(&state(2, [5, 5]), [3, 5], &terms, ALICE, BOB);
    events.extend(unanimous(&locked, BOB, &[ALICE]));
    if with_postfund {
        events.extend(unanimous(&virtual_state(&terms, TurnNum::POSTFUND, 0), BOB, &[ALICE]));
    }
    story.logs(BOB, events).unwrap();
    story
}

#[test]
fn a_voucher_that_cannot_be_redeemed_is_noticed() {
    payee(true).logs(BOB, vec![promised(&direct_terms(), 1)]).unwrap();
    let violation = payee(false).logs(BOB, vec![promised(&direct_terms(), 1)]).unwrap_err();
    assert_fires(&violation, NAME, BOB);
    assert_eq!(violation.loss, Some((BOB, ether(1))));
}

/// The challenge that redeems a voucher leaves no turn for another redemption.
#[test]
fn a_voucher_that_comes_after_the_redemption_is_noticed() {
    let mut story = payee(true);
    story.logs(BOB, vec![promised(&direct_terms(), 1)]).unwrap();
    story.mines_call(BOB, redeems(&direct_terms(), 1)).unwrap();
    let violation = story.logs(BOB, vec![promised(&direct_terms(), 2)]).unwrap_err();
    assert_fires(&violation, NAME, BOB);
    assert_eq!(violation.loss, Some((BOB, ether(1))));
}

#[test]
fn a_final_state_below_the_voucher_is_noticed() {
    let mut story = payee(true);
    story.logs(BOB, vec![promised(&direct_terms(), 2)]).unwrap();
    let low = virtual_state(&direct_terms(), TurnNum::VIRTUAL_FINAL, 1);
    let violation = story.logs(BOB, vec![signs(&low, BOB)]).unwrap_err();
    assert_fires(&violation, NAME, BOB);
}

/// What left the node counts, whatever became of its log.
#[test]
fn a_signature_that_was_released_and_forgotten_counts() {
    let mut story = payee(true);
    story.logs(BOB, vec![promised(&direct_terms(), 2)]).unwrap();
    let low = virtual_state(&direct_terms(), TurnNum::VIRTUAL_FINAL, 1);
    let violation = story.says(BOB, ALICE, &low).unwrap_err();
    assert_fires(&violation, NAME, BOB);
}

/// Goal: where the two oracles contradict each other, the simulator is to blame and not a node.
#[test]
fn oracles_that_disagree_are_a_bug_of_the_harness() {
    use super::{Reach, agree};
    use crate::engine::RunReport;
    agree(ether(2), ether(2), Reach::Exhaustive);
    let panic = std::panic::catch_unwind(|| agree(ether(2), ether(1), Reach::Bounded(3)));
    let message = panic.unwrap_err().downcast_ref::<String>().cloned().unwrap();
    let verdict = RunReport::panicked(message.clone()).verdict;
    assert!(verdict.is_harness_bug(), "{message}");
    assert_eq!(crate::campaign::exit_code(&verdict), 7);
    // A node that panics with the same words somewhere else in its message is no harness.
    assert!(!RunReport::panicked(format!("a node: {message}")).verdict.is_harness_bug());
}
