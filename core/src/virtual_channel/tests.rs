use alloc::vec;

use super::*;
use crate::channel::testkit::{alice, bob, carol, turn, wei};
use crate::nitro::SecretKey;

const APP: Address = Address::repeat_byte(0xbb);

/// Alice pays Carol over Bob.
fn terms() -> VirtualTerms {
    VirtualTerms {
        participants: vec![alice().address(), bob().address(), carol().address()],
        nonce: 1,
        challenge_duration: 600,
        asset: Address::ZERO,
        amount: wei(10),
    }
}

fn as_seen_by(me: &SecretKey) -> VirtualChannel {
    let id = terms().fixed_part(APP).channel_id();
    VirtualChannel::new(id, &terms(), APP, me.address(), None, Timestamp(0)).unwrap()
}

fn signed(state: State, by: &[SecretKey]) -> SignedState {
    crate::channel::testkit::signed(state, by)
}

fn everybody() -> [SecretKey; 3] {
    [alice(), bob(), carol()]
}

fn at(n: u64, paid: u64) -> State {
    as_seen_by(&bob()).state(turn(n), wei(paid)).unwrap()
}

/// Open for Carol, who is paid.
fn open() -> VirtualChannel {
    let mut channel = as_seen_by(&carol());
    for n in [0, 1] {
        channel.merge(signed(at(n, 0), &everybody()));
    }
    channel.phase = Phase::Open;
    channel
}

fn voucher(amount: u64, by: &SecretKey) -> Voucher {
    Voucher::sign(open().id, wei(amount), by)
}

/// Goal: the contract never pays an entry of a virtual channel, so nobody can change or delete its finalized outcome.
#[test]
fn the_outcome_is_of_guarantees_alone() {
    let outcome = outcome(&terms().participants, Address::ZERO, wei(10), wei(3)).unwrap();
    let entries: Vec<_> =
        outcome[0].allocations.iter().map(|a| (a.allocation_type, a.amount)).collect();
    assert_eq!(entries, [(2, wei(7)), (2, wei(3))]);
    assert_eq!(super::outcome(&terms().participants, Address::ZERO, wei(10), wei(11)), None);
}

/// Goal: terms are read only from the prefund that they make.
#[test]
fn terms_are_read_from_their_prefund_alone() {
    assert_eq!(VirtualTerms::of_prefund(&at(0, 0)), Ok(terms()));
    type Change = fn(&mut State);
    let changes: [(&str, Change); 9] = [
        ("a postfund", |s| s.turn = turn(1)),
        ("a final one", |s| s.is_final = true),
        ("data", |s| s.app_data = vec![1].into()),
        ("something for the payee", |s| s.outcome[0].allocations[1].amount = wei(1)),
        ("simple entries", |s| s.outcome[0].allocations[0].allocation_type = 0),
        ("a third entry", |s| {
            let again = s.outcome[0].allocations[1].clone();
            s.outcome[0].allocations.push(again);
        }),
        ("two assets", |s| {
            let again = s.outcome[0].clone();
            s.outcome.push(again);
        }),
        ("no asset", |s| s.outcome.clear()),
        ("another payee", |s| s.outcome[0].allocations.swap(0, 1)),
    ];
    for (name, change) in changes {
        let mut state = at(0, 0);
        change(&mut state);
        assert!(VirtualTerms::of_prefund(&state).is_err(), "{name}");
    }
}

/// Goal: three states and no others, the final one with any payment within the amount, and one of each.
#[test]
fn only_three_states_are_accepted() {
    let channel = open();
    let by_alice = |state| signed(state, &[alice()]);
    let is_bad = |r: Result<(), Refusal>| matches!(r, Err(Refusal::BadState { .. }));
    for paid in [0, 3, 10] {
        assert_eq!(channel.check_received(&by_alice(at(3, paid))), Ok(()), "{paid} paid");
    }
    assert!(is_bad(channel.check_received(&signed(at(3, 3), &[bob()]))), "the payer's comes first");
    assert!(is_bad(channel.check_received(&by_alice(at(2, 3)))), "a redemption is for the chain");
    assert!(is_bad(channel.check_received(&by_alice(at(4, 3)))), "no fourth turn");
    type Change = fn(&mut State);
    let changes: [(&str, Change); 6] = [
        ("more than there is", |s| s.outcome[0].allocations[1].amount = wei(11)),
        ("a sum that is too small", |s| s.outcome[0].allocations[0].amount = wei(6)),
        ("another destination", |s| {
            s.outcome[0].allocations[1].destination =
                crate::types::Destination::of(bob().address());
        }),
        ("a simple entry", |s| s.outcome[0].allocations[1].allocation_type = 0),
        ("another asset", |s| s.outcome[0].asset = Address::repeat_byte(1)),
        ("not final", |s| s.is_final = false),
    ];
    for (name, change) in changes {
        let mut state = at(3, 3);
        change(&mut state);
        assert!(is_bad(channel.check_received(&by_alice(state))), "{name}");
    }
    let mut closing = channel.clone();
    closing.merge(by_alice(at(3, 3)));
    assert_eq!(
        closing.check_received(&by_alice(at(3, 2))),
        Err(Refusal::Equivocation(turn(3))),
        "a second final state"
    );
    let mut unguaranteed = as_seen_by(&bob());
    unguaranteed.merge(signed(at(0, 0), &everybody()));
    assert_eq!(unguaranteed.check_received(&by_alice(at(3, 0))), Ok(()), "the way out");
    assert!(
        is_bad(unguaranteed.check_received(&by_alice(at(3, 1)))),
        "a hub that has not signed the postfund may be guaranteed on one side alone"
    );
    unguaranteed.merge(signed(at(1, 0), &[bob()]));
    assert_eq!(unguaranteed.check_received(&by_alice(at(3, 1))), Ok(()));
    let fresh = as_seen_by(&carol());
    assert!(is_bad(fresh.check_received(&by_alice(at(1, 1)))), "nothing is paid before it opens");
}

/// Protocol vector V7, and the rules of 3.6 that go-nitro lacks.
#[test]
fn vouchers_only_grow_and_only_while_the_channel_is_open() {
    let mut channel = open();
    let (payer, hub) = (alice().address(), bob().address());
    assert_eq!(channel.check_voucher(&voucher(2, &alice()), payer), Ok(true));
    channel.voucher = Some(voucher(2, &alice()));
    for (name, amount, signer, expected) in [
        ("the same again", 2, payer, Some(false)),
        ("an older one", 1, payer, Some(false)),
        ("one of nothing", 0, payer, None),
        ("a larger one", 4, payer, Some(true)),
        ("everything", 10, payer, Some(true)),
        ("one more than everything", 11, payer, None),
        ("signed by the hub", 4, hub, None),
    ] {
        let answer = channel.check_voucher(&voucher(amount, &alice()), signer);
        assert_eq!(answer.ok(), expected, "{name}");
    }
    let refused = |change: fn(&mut VirtualChannel)| {
        let mut channel = channel.clone();
        change(&mut channel);
        channel.check_voucher(&voucher(4, &alice()), alice().address()).is_err()
    };
    assert!(refused(|c| c.phase = Phase::Opening));
    assert!(refused(|c| c.phase = Phase::Disputed));
    assert!(refused(|c| c.phase = Phase::Finished));
    assert!(!refused(|c| c.phase = Phase::Closing), "the payer may not know yet that it ends");
    assert!(refused(|c| drop(c.states.remove(&TurnNum::POSTFUND))), "it could not be redeemed");
    assert!(refused(|c| c.merge(signed(at(3, 2), &[alice(), carol()]))), "we signed the end");
    assert!(!refused(|c| c.merge(signed(at(3, 4), &[alice(), carol()]))), "the end covers it");
    assert!(refused(|c| c.me = 1), "only the payee takes vouchers");
}

/// Goal: what the contract accepts as a redemption is what we would submit.
#[test]
fn a_redemption_is_the_payees_alone() {
    let channel = open();
    let state = channel.redemption(&voucher(7, &alice())).unwrap();
    assert_eq!((state.turn, state.is_final), (TurnNum::REDEMPTION, false));
    assert_eq!(payee_part(&state.outcome), Some(wei(7)));
    assert_eq!(channel.redemption(&voucher(11, &alice())), None);
}

/// Goal: each ledger channel guarantees the whole amount, paid by the one on the payer's side.
#[test]
fn everybody_expects_the_same_guarantees() {
    let (left, right) = (ChannelId([1; 32].into()), ChannelId([2; 32].into()));
    let hub = VirtualChannel { left: Some(left), right: Some(right), ..as_seen_by(&bob()) };
    let payer = VirtualChannel { right: Some(left), ..as_seen_by(&alice()) };
    let payee = VirtualChannel { left: Some(right), ..as_seen_by(&carol()) };
    let guarantee = |v: &VirtualChannel, ledger| v.expected_in(ledger, None).map(|e| e.guarantee);
    assert_eq!(guarantee(&hub, left), guarantee(&payer, left));
    assert_eq!(guarantee(&hub, right), guarantee(&payee, right));
    assert_eq!(guarantee(&hub, left).map(|g| g.left), Some(alice().address()));
    assert_eq!(guarantee(&hub, right).map(|g| g.left), Some(bob().address()));
    assert_eq!(guarantee(&payer, right), None);
}

/// Goal: a guarantee is accepted on a unanimous prefund and given back on a unanimous final state, or when the chain has decided.
#[test]
fn guarantees_come_and_go_with_unanimous_states() {
    let ledger = ChannelId([1; 32].into());
    let mut hub = VirtualChannel { left: Some(ledger), ..as_seen_by(&bob()) };
    let says = |v: &VirtualChannel, decided: Option<u64>| {
        let e = v.expected_in(ledger, decided.map(wei)).unwrap();
        (e.propose, e.accept, e.remove)
    };
    hub.merge(signed(at(0, 0), &[alice(), bob()]));
    assert_eq!(says(&hub, None), (true, false, None));
    hub.merge(signed(at(0, 0), &[carol()]));
    assert_eq!(says(&hub, None), (true, true, None));
    hub.merge(signed(at(3, 4), &[alice(), carol()]));
    assert_eq!(says(&hub, None), (false, true, None), "we have not signed the end");
    hub.merge(signed(at(3, 4), &[bob()]));
    assert_eq!(says(&hub, None), (false, true, Some(wei(6))));
    assert_eq!(
        says(&hub, Some(7)),
        (false, true, Some(wei(3))),
        "the chain outweighs what we agreed on"
    );
}
