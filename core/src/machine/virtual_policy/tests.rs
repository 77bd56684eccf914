use super::*;
use crate::channel::testkit::*;
use crate::event::{Event, ObjectiveId, ObjectiveKind, Origin, Terms};
use crate::nitro::SecretKey;

const APP_V: Address = Address::repeat_byte(0xbb);

/// Bob, with an open ledger channel to Alice on his left and to Carol on his right, in which he holds `room`.
fn hub(room: u64) -> NodeState {
    let mut state = NodeState::default();
    state.apply(Timestamp(0), Event::Pinned(pins(&bob())));
    state.apply(Timestamp(0), Event::PaymentAppPinned { app: APP_V });
    for (parties, deposits) in [([alice(), bob()], [100, 100]), ([bob(), carol()], [room, 100])] {
        open(&mut state, &parties, deposits);
    }
    state
}

fn open(state: &mut NodeState, parties: &[SecretKey; 2], deposits: [u64; 2]) -> ChannelId {
    let terms = Terms {
        participants: [parties[0].address(), parties[1].address()],
        deposits: deposits.map(wei),
        nonce: 1 + state.channels().count() as u64,
        ..terms()
    };
    let channel = terms.fixed_part(APP).channel_id();
    let id = ObjectiveId { channel, kind: ObjectiveKind::DirectFund };
    let terms = Some(terms);
    state.apply(Timestamp(0), Event::ObjectiveApproved { id, origin: Origin::Peer, terms });
    state.apply(Timestamp(0), Event::ObjectiveCompleted { id });
    channel
}

fn virtual_terms(nonce: u64) -> VirtualTerms {
    VirtualTerms {
        participants: [alice(), bob(), carol()].iter().map(SecretKey::address).collect(),
        nonce,
        challenge_duration: 600,
        asset: Address::ZERO,
        amount: wei(10),
    }
}

fn approve(state: &mut NodeState, terms: VirtualTerms, right: ChannelId) -> ObjectiveId {
    let channel = terms.fixed_part(APP_V).channel_id();
    let id = ObjectiveId { channel, kind: ObjectiveKind::VirtualFund };
    let right = Some(right);
    state.apply(Timestamp(0), Event::VirtualApproved { id, origin: Origin::Peer, terms, right });
    id
}

fn check(
    state: &NodeState,
    config: &Config,
    terms: &VirtualTerms,
) -> Result<Option<ChannelId>, Refusal> {
    check_virtual_proposal(state, config, Timestamp(1), terms, bob().address())
}

/// Goal: each rule at its limit and one beyond.
#[test]
fn every_rule_holds_exactly_up_to_its_limit() {
    type Change = fn(&mut Config, &mut VirtualTerms);
    let rows: [(&str, Change, bool); 17] = [
        ("the default", |_, _| (), true),
        ("as much as there is room for", |_, t| t.amount = wei(50), true),
        ("one more than there is room for", |_, t| t.amount = wei(51), false),
        ("as much as may be locked", |c, _| c.policy.virtual_amount_max = wei(10), true),
        ("one more than may be locked", |c, _| c.policy.virtual_amount_max = wei(9), false),
        ("nothing", |_, t| t.amount = wei(0), false),
        ("as many hops as allowed", |c, _| c.policy.hops_max = 1, true),
        ("one hop too many", |c, _| c.policy.hops_max = 0, false),
        ("the shortest challenge", |_, t| t.challenge_duration = 30, true),
        ("one second shorter", |_, t| t.challenge_duration = 29, false),
        ("the longest challenge", |_, t| t.challenge_duration = 604_800, true),
        ("one second longer", |_, t| t.challenge_duration = 604_801, false),
        ("another asset", |_, t| t.asset = Address::repeat_byte(1), false),
        ("somebody twice", |_, t| t.participants[2] = t.participants[0], false),
        ("us as the payer", |_, t| t.participants.rotate_left(1), false),
        ("a neighbour whom we do not know", |_, t| t.participants[0] = key(9).address(), false),
        ("a payee whom we do not know", |_, t| t.participants[2] = key(9).address(), false),
    ];
    for (name, change, allowed) in rows {
        let (mut config, mut terms) = (Config::default(), virtual_terms(1));
        change(&mut config, &mut terms);
        assert_eq!(check(&hub(50), &config, &terms).is_ok(), allowed, "{name}");
    }
}

/// Goal: many proposals do not make the node hold more than it may.
#[test]
fn the_number_of_virtual_channels_is_limited() {
    type Change = fn(&mut Config);
    let by_payer: Change = |c| c.policy.virtuals_per_payer_max = 3;
    let by_ledger: Change = |c| c.policy.guarantees_max = 3;
    let by_node: Change = |c| c.policy.objectives_max = 3;
    let unbacked_of_payer: Change = |c| c.policy.unbacked_per_payer_max = 3;
    let unbacked: Change = |c| c.policy.unbacked_max = 3;
    for (what, change) in [
        ("virtual channels of this payer", by_payer),
        ("virtual channels over this ledger channel", by_ledger),
        ("unfinished objectives", by_node),
        ("unbacked virtual channels of this payer", unbacked_of_payer),
        ("unbacked virtual channels", unbacked),
    ] {
        let mut config = Config::default();
        change(&mut config);
        let mut state = hub(1_000);
        let right = check(&state, &config, &virtual_terms(1)).unwrap().unwrap();
        for nonce in 0..3 {
            assert!(check(&state, &config, &virtual_terms(99)).is_ok(), "{what}: {nonce}");
            approve(&mut state, virtual_terms(nonce), right);
        }
        assert_eq!(
            check(&state, &config, &virtual_terms(99)),
            Err(Refusal::Limit { what, limit: 3 })
        );
    }
}

/// Goal: money that is on its way into one virtual channel is not promised to another.
#[test]
fn room_is_what_nothing_else_asks_for() {
    let mut state = hub(50);
    let right = check(&state, &Config::default(), &virtual_terms(1)).unwrap().unwrap();
    for nonce in 0..4 {
        approve(&mut state, virtual_terms(nonce), right);
    }
    let fits = |amount| {
        let terms = VirtualTerms { amount: wei(amount), ..virtual_terms(9) };
        check(&state, &Config::default(), &terms).is_ok()
    };
    assert_eq!([10, 11].map(fits), [true, false]);
}

/// Goal: of several ledger channels the one with the most room is chosen, or the one that the user names.
#[test]
fn the_ledger_channel_with_most_room_is_chosen() {
    let mut state = hub(50);
    let small = check(&state, &Config::default(), &virtual_terms(1)).unwrap();
    let large = open(&mut state, &[bob(), carol()], [70, 1]);
    assert_eq!(check(&state, &Config::default(), &virtual_terms(1)), Ok(Some(large)));
    let me = bob().address();
    let named =
        |ledger| check_virtual_terms(&state, &Config::default(), &virtual_terms(1), me, ledger);
    assert_eq!(named(small), Ok(small));
    assert_eq!(named(Some(ChannelId::default())), Err(Refusal::NotOpen(ChannelId::default())));
}

/// Goal: what the participant to our left has signed does not count as unbacked.
#[test]
fn a_neighbour_vouches_for_what_it_signs() {
    let mut config = Config::default();
    config.policy.unbacked_max = 1;
    let mut state = hub(1_000);
    let right = check(&state, &config, &virtual_terms(1)).unwrap().unwrap();
    let id = approve(&mut state, virtual_terms(0), right);
    assert!(check(&state, &config, &virtual_terms(1)).is_err());
    let prefund = state.virtual_channel(id.channel).unwrap().state(turn(0), wei(0)).unwrap();
    let received =
        Event::StateReceived { state: signed(prefund, &[alice()]), from: alice().address() };
    state.apply(Timestamp(0), received);
    assert!(check(&state, &config, &virtual_terms(1)).is_ok());
}
