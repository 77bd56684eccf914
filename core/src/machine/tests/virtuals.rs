//! Whole lives of virtual channels: over hubs, in agreement and alone.

use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::B256;

use crate::chain_types::Calldata;
use crate::chain_view::OnChainStatus;
use crate::channel::testkit::*;
use crate::channel::{Phase, guaranteed_in};
use crate::config::{Config, Defend};
use crate::effect::{Accepted, Effect, Notice, Refusal};
use crate::event::{Event, ObjectiveKind, Terms, VirtualTerms, WantedTx};
use crate::input::{Command, Input, Message, RequestId, Verified};
use crate::machine::node::Start;
use crate::machine::testkit::*;
use crate::nitro::adjudicator::{ReclaimArgs, Reclaimed, compute_reclaim};
use crate::nitro::sign::challenge_hash;
use crate::nitro::{Allocation, Call, Claim, SignedState};
use crate::types::{Address, Amount, ChannelId, TurnNum};
use crate::virtual_channel::VirtualChannel;
use crate::wire::Wire;

const HUB: usize = 1;
/// Time for a challenge of 600 s to end and everything after it, in blocks of twelve seconds.
const DISPUTE_BLOCKS: u64 = 140;

pub(super) fn config() -> Config {
    Config { payment_app: PAYMENT_APP, ..Config::default() }
}

pub(super) fn ledger_terms(left: usize, nonce: u64) -> Terms {
    Terms {
        participants: [key_of(left).address(), key_of(left + 1).address()],
        nonce,
        deposits: [wei(100), wei(100)],
        ..terms()
    }
}

/// The ledger channel between `left` and the next.
pub(super) fn ledger(left: usize) -> ChannelId {
    ledger_terms(left, 1).fixed_part(APP).channel_id()
}

pub(super) fn virtual_terms<const N: usize>(nonce: u64) -> VirtualTerms {
    VirtualTerms {
        participants: (0..N).map(|who| key_of(who).address()).collect(),
        nonce,
        challenge_duration: 600,
        asset: Address::ZERO,
        amount: wei(10),
    }
}

pub(super) fn id<const N: usize>() -> ChannelId {
    virtual_terms::<N>(1).fixed_part(PAYMENT_APP).channel_id()
}

/// Everybody has an open ledger channel with the next.
pub(super) fn ledgers<const N: usize>() -> World<N> {
    ledgers_with(config())
}

fn ledgers_with<const N: usize>(config: Config) -> World<N> {
    let mut world = World::of(config);
    for left in 0..N - 1 {
        world.command(left, Command::Open(ledger_terms(left, 1))).unwrap();
    }
    world.mine(12);
    for left in 0..N - 1 {
        assert_eq!(world.nodes[left].state().channel(ledger(left)).unwrap().phase, Phase::Open);
    }
    world
}

pub(super) fn opened<const N: usize>() -> World<N> {
    let mut world = ledgers();
    let terms = virtual_terms::<N>(1);
    world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).unwrap();
    world
}

pub(super) fn v<const N: usize>(world: &World<N>, who: usize) -> &VirtualChannel {
    world.nodes[who].state().virtual_channel(id::<N>()).expect("the channel is known")
}

pub(super) fn pay<const N: usize>(world: &mut World<N>, amount: u64) -> Result<Accepted, Refusal> {
    world.command(ALICE, Command::Pay { channel: id::<N>(), amount: wei(amount) })
}

/// What leader and follower of the ledger channel between `left` and the next hold in it, as the follower sees it.
pub(super) fn balances<const N: usize>(world: &World<N>, left: usize) -> [Amount; 2] {
    let channel = world.nodes[left + 1].state().channel(ledger(left)).unwrap();
    [0, 1].map(|i| channel.balance(i))
}

fn life_over<const N: usize>() {
    let mut world: World<N> = opened();
    for who in 0..N {
        assert_eq!(v(&world, who).phase, Phase::Open, "node {who}");
    }
    for left in 0..N - 1 {
        assert_eq!(balances(&world, left), [90, 100].map(wei), "ledger {left} guarantees 10");
    }
    let blocks = world.blocks.len();
    for (amount, total) in [(2, 2), (1, 3), (4, 7)] {
        let paid = Accepted::Payment { channel: id::<N>(), total: wei(total) };
        assert_eq!(pay(&mut world, amount), Ok(paid));
    }
    assert_eq!(v(&world, N - 1).paid(), wei(7));
    assert_eq!(
        pay(&mut world, 4),
        Err(Refusal::ExceedsBalance { amount: wei(4), balance: wei(3) })
    );
    world.command(N - 1, Command::Close { channel: id::<N>() }).unwrap();
    for who in 0..N {
        assert_eq!(v(&world, who).phase, Phase::Finished, "node {who}");
        assert_eq!(world.nodes[who].state().wishes().len(), 0, "node {who}");
    }
    for left in 0..N - 1 {
        assert_eq!(balances(&world, left), [93, 107].map(wei), "ledger {left}");
    }
    assert_eq!(world.blocks.len(), blocks, "not one block was needed");
    assert!(world.released.iter().flatten().all(|e| !about(e, id::<N>())), "no transaction");
}

fn about(effect: &Effect, channel: ChannelId) -> bool {
    matches!(effect, Effect::Submit { call, .. } if call.channel() == channel)
}

/// Goal: open, pay, close, without a transaction, over no hub, one, two and three.
#[test]
fn a_virtual_channel_lives_over_any_number_of_hops() {
    life_over::<2>();
    life_over::<3>();
    life_over::<4>();
    life_over::<5>();
}

/// Goal: the ledger channel waits for its virtual channels, and closes when they are over.
#[test]
fn a_ledger_channel_with_guarantees_does_not_close_in_agreement() {
    let mut world: World<3> = opened();
    let close = Command::Close { channel: ledger(0) };
    assert_eq!(world.command(HUB, close.clone()), Err(Refusal::Guarantees(ledger(0))));
    pay(&mut world, 3).unwrap();
    world.command(ALICE, Command::Close { channel: id::<3>() }).unwrap();
    world.command(HUB, close).unwrap();
    world.mine(8);
    assert_eq!(world.chain.held(Address::ZERO, ledger(0)), wei(0));
}

/// Goal: payments that are asked for together are one voucher, and each is answered.
#[test]
fn payments_of_one_batch_share_a_voucher() {
    let mut world: World<3> = opened();
    let command = Command::Pay { channel: id::<3>(), amount: wei(2) };
    let now = world.now;
    let node = &mut world.nodes[ALICE];
    for request in 0..3 {
        let (request, command) = (RequestId(request), command.clone());
        let input = crate::input::Verified::Plain(Input::Command { request, command });
        assert_eq!(node.handle(now, input).events, [], "waits for the write");
    }
    let sealed = node.seal(now);
    assert!(
        matches!(&sealed.events[..], [Event::VoucherSigned { voucher }] if voucher.amount == wei(6))
    );
    let total = Accepted::Payment { channel: id::<3>(), total: wei(6) };
    let replies: Vec<Effect> = (0..3)
        .map(|request| Effect::Reply { request: RequestId(request), reply: Ok(total) })
        .collect();
    assert_eq!(sealed.answers, replies);
}

/// Goal: what is paid for may be served as soon as the payee hears of it, and not twice.
#[test]
fn the_payee_hears_of_each_payment_once() {
    let mut world: World<3> = opened();
    for amount in [2, 3] {
        pay(&mut world, amount).unwrap();
    }
    let heard = world.released[2].iter().filter_map(|e| match e {
        Effect::Notify(Notice::PaymentReceived { total, delta, .. }) => Some([*total, *delta]),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), [[2, 2], [5, 3]].map(|p| p.map(wei)));
}

/// What everybody has in the end, from 100 in each ledger channel that it is in.
fn paid_out<const N: usize>(world: &World<N>) -> [Amount; N] {
    core::array::from_fn(|who| {
        let to = key_of(who).address();
        world
            .payouts
            .iter()
            .filter(|(at, _)| *at == to)
            .fold(Amount::ZERO, |sum, (_, amount)| sum.saturating_add(*amount))
    })
}

/// Goal: whoever falls silent after a payment of 7, the others get what is theirs, by the chain where they must.
#[test]
fn a_silent_participant_costs_time_and_no_money() {
    for silent in 0..3 {
        let mut world: World<3> = opened();
        pay(&mut world, 7).unwrap();
        world.cut[silent] = true;
        world.mined[silent] = false;
        let asks = if silent == 2 { ALICE } else { 2 };
        world.command(asks, Command::Close { channel: id::<3>() }).unwrap();
        world.mine(DISPUTE_BLOCKS);
        for left in 0..2 {
            for who in [left, left + 1].into_iter().filter(|who| *who != silent) {
                let close = Command::ForceClose { channel: ledger(left) };
                let _ = world.command(who, close);
            }
        }
        world.mine(DISPUTE_BLOCKS);
        // A payee who is away for the whole of a challenge cannot redeem: nobody else does it for it.
        let expected = if silent == 2 { [100, 200, 100] } else { [93, 200, 107] };
        assert_eq!(paid_out(&world), expected.map(wei), "node {silent} is silent");
        for left in 0..2 {
            assert_eq!(world.chain.held(Address::ZERO, ledger(left)), wei(0), "ledger {left}");
        }
    }
}

/// Goal: a participant that never answers leaves nothing locked.
#[test]
fn an_opening_that_stalls_is_unwound() {
    for silent in [1, 2] {
        let mut world: World<3> = ledgers();
        world.cut[silent] = true;
        let terms = virtual_terms::<3>(1);
        world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).unwrap();
        world.mine(20);
        for who in (0..3).filter(|who| *who != silent) {
            assert_eq!(v(&world, who).phase, Phase::Finished, "node {who}");
        }
        assert_eq!(balances(&world, 0), [100, 100].map(wei));
        assert_eq!(balances(&world, 1), [100, 100].map(wei));
    }
}

/// Goal: a payer who challenges as if nothing had been paid gets nothing by it.
#[test]
fn a_challenge_with_the_postfund_is_answered_by_redeeming() {
    let mut world: World<3> = opened();
    pay(&mut world, 7).unwrap();
    world.cut[ALICE] = true;
    world.command(ALICE, Command::ForceClose { channel: id::<3>() }).unwrap();
    world.mine(4);
    assert!(v(&world, 2).txs.iter().any(|t| matches!(t, WantedTx::Redeem { .. })));
    world.mine(DISPUTE_BLOCKS);
    world.mined[ALICE] = false;
    world.command(HUB, Command::ForceClose { channel: ledger(0) }).unwrap();
    world.command(HUB, Command::ForceClose { channel: ledger(1) }).ok();
    world.mine(DISPUTE_BLOCKS);
    assert_eq!(paid_out(&world), [93, 200, 107].map(wei));
}

/// Goal: a ledger channel that is closed on chain takes its virtual channels with it.
#[test]
fn a_disputed_ledger_channel_reclaims_its_guarantees() {
    let mut world: World<3> = opened();
    pay(&mut world, 4).unwrap();
    world.command(HUB, Command::ForceClose { channel: ledger(0) }).unwrap();
    world.mine(DISPUTE_BLOCKS);
    assert!(
        world.submitted(HUB).chain(world.submitted(ALICE)).any(|c| matches!(c, Call::Reclaim(_)))
    );
    assert_eq!(world.chain.held(Address::ZERO, ledger(0)), wei(0));
    assert_eq!(balances(&world, 1), [96, 104].map(wei), "the other one follows in agreement");
    world.command(2, Command::Close { channel: ledger(1) }).unwrap();
    world.mine(8);
    assert_eq!(paid_out(&world), [96, 200, 104].map(wei));
}

/// Goal: everybody may crash at any event; what was promised is kept.
#[test]
fn restarts_between_payments_forget_nothing() {
    for who in 0..3 {
        let mut world: World<3> = opened();
        for amount in [1, 2, 4] {
            pay(&mut world, amount).unwrap();
            world.restart(who, Start::Normal);
            world.settle();
        }
        world.command(ALICE, Command::Close { channel: id::<3>() }).unwrap();
        assert_eq!(balances(&world, 1), [93, 107].map(wei), "node {who} restarts");
    }
}

/// Goal: two channels race for one ledger channel that has room for one of them.
#[test]
fn what_does_not_fit_is_refused_at_once() {
    let mut world: World<3> = ledgers();
    let open = |world: &mut World<3>, nonce, amount| {
        let terms = VirtualTerms { amount: wei(amount), ..virtual_terms::<3>(nonce) };
        world.command(ALICE, Command::OpenVirtual { terms, ledger: None })
    };
    assert!(open(&mut world, 1, 60).is_ok());
    assert_eq!(
        open(&mut world, 2, 60),
        Err(Refusal::ExceedsBalance { amount: wei(60), balance: wei(40) })
    );
    assert!(open(&mut world, 3, 40).is_ok());
    assert_eq!(balances(&world, 0), [0, 100].map(wei));
}

/// Goal: a restored payer may have promised more than it knows: it promises nothing before the payee has spoken.
#[test]
fn a_restored_payer_learns_its_vouchers_from_the_payee() {
    let mut world: World<3> = opened();
    let events = world.logs[ALICE].len();
    pay(&mut world, 5).unwrap();
    world.cut[2] = true;
    world.restart_from(ALICE, Start::Restored, events);
    assert_eq!(pay(&mut world, 1), Err(Refusal::Recovering));
    world.cut[2] = false;
    world.mine(2);
    world.pass(5);
    assert_eq!(v(&world, ALICE).paid(), wei(5));
    assert!(pay(&mut world, 1).is_ok());
    assert_eq!(v(&world, 2).paid(), wei(6));
}

/// Goal: nobody takes part in what cannot be enforced or does not concern it.
#[test]
fn proposals_that_cannot_be_enforced_are_refused() {
    type Change = fn(&mut VirtualTerms);
    let rows: [(&str, Change); 5] = [
        ("no amount", |t| t.amount = wei(0)),
        ("another asset", |t| t.asset = Address::repeat_byte(1)),
        ("a short challenge", |t| t.challenge_duration = 29),
        ("a participant twice", |t| t.participants[2] = t.participants[1]),
        ("nobody to pay", |t| t.participants.truncate(1)),
    ];
    for (name, change) in rows {
        let mut world: World<3> = ledgers();
        let mut terms = virtual_terms::<3>(1);
        change(&mut terms);
        let refused = world.command(ALICE, Command::OpenVirtual { terms, ledger: None });
        assert!(matches!(refused, Err(Refusal::Policy(_))), "{name}: {refused:?}");
    }
}

/// Goal: messages of a stranger about a virtual channel change nothing.
#[test]
fn a_stranger_is_not_heard() {
    let mut world: World<4> = ledgers();
    let terms =
        VirtualTerms { participants: virtual_terms::<3>(1).participants, ..virtual_terms::<4>(1) };
    world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).unwrap();
    let channel = id::<3>();
    let before = world.nodes[ALICE].state().digest();
    for wire in [
        Wire::FinalRequest { channel },
        Wire::ResumeRequest { channel },
        Wire::Rejected {
            objective: crate::event::ObjectiveId { channel, kind: ObjectiveKind::VirtualFund },
        },
        Wire::Ack { channel, what: crate::event::MessageKey::State(TurnNum::PREFUND) },
    ] {
        let peer = key_of(3).address();
        world.input(ALICE, Input::Frame { peer, bytes: wire.encode() });
    }
    assert_eq!(world.nodes[ALICE].state().digest(), before);
}

/// Alice's and Bob's ledger channel, finalized with an old state that guarantees `count` virtual channels: they came and went, and while
/// nothing of theirs was mined somebody challenged with that state and had the chain learn what became of each. Returns their ids, in
/// the order in which they are guaranteed.
fn old_guarantees_finalized(count: u64) -> (World<2>, Vec<ChannelId>) {
    let mut world: World<2> = ledgers();
    let one = |nonce| VirtualTerms { amount: wei(1), ..virtual_terms::<2>(nonce) };
    let ids = (1..=count).map(|nonce| one(nonce).fixed_part(PAYMENT_APP).channel_id());
    let mut ids: Vec<ChannelId> = ids.collect();
    ids.sort_unstable();
    for nonce in 1..=count {
        world.command(ALICE, Command::OpenVirtual { terms: one(nonce), ledger: None }).unwrap();
    }
    let old = world.nodes[BOB].state().channel(ledger(0)).unwrap().supported.clone().unwrap();
    assert_eq!(guaranteed_in(&old.state().outcome).count(), ids.len());
    for channel in &ids {
        world.command(ALICE, Command::Close { channel: *channel }).unwrap();
    }
    assert_eq!(world.nodes[ALICE].state().channel(ledger(0)).unwrap().guaranteed().count(), 0);
    world.mined = [false; 2];
    let challenger_sig = key_of(BOB).sign(challenge_hash(old.hash()));
    world.submit(
        BOB,
        Call::Challenge { proof: vec![], candidate: Claim::from(&old), challenger_sig },
    );
    world.mine(60);
    for channel in &ids {
        let candidate = Claim::from(closing(&world, *channel));
        world.submit(BOB, Call::Conclude { candidate });
    }
    world.mine(1);
    (world, ids)
}

/// The state in which a virtual channel ended.
fn closing(world: &World<2>, channel: ChannelId) -> &SignedState {
    let v = world.nodes[BOB].state().virtual_channel(channel).unwrap();
    v.unanimous(TurnNum::VIRTUAL_FINAL).unwrap()
}

/// Goal: however many guarantees an old state holds, a peer that has it finalized makes us reclaim them, not stop.
/// Method: 70 virtual channels come and go; while Alice's answer is not mined, Bob challenges with the state that guaranteed them all
/// and has the chain learn what became of each, in one block.
#[test]
fn an_old_state_with_very_many_guarantees_is_reclaimed() {
    let (mut world, _) = old_guarantees_finalized(70);
    let wanted = |world: &World<2>| {
        let ledger = world.nodes[ALICE].state().channel(ledger(0)).unwrap();
        ledger.txs.iter().filter(|t| matches!(t, WantedTx::Reclaim { .. })).count()
    };
    assert_eq!(wanted(&world), 70);
    world.mined[ALICE] = true;
    world.mine(80);
    assert_eq!(world.chain.held(Address::ZERO, ledger(0)), wei(0));
    assert_eq!(paid_out(&world), [100, 100].map(wei));
}

/// The reclaims of these guarantees of the finalized ledger channel, one after the other.
fn reclaims(world: &World<2>, targets: &[ChannelId]) -> Vec<Call> {
    let head = world.nodes[ALICE].state().chain().at_head(ledger(0));
    let OnChainStatus::Challenged(challenged) = &head.status else { panic!("{:?}", head.status) };
    let mut source = challenged.outcome.clone();
    let mut reclaim = |target: &ChannelId| {
        let of_target = |a: &Allocation| a.destination.0 == target.0;
        let slot = source[0].allocations.iter().position(of_target).unwrap() as u64;
        let args = ReclaimArgs {
            source_channel: ledger(0),
            source_state_hash: challenged.state_hash,
            source_outcome: source.clone(),
            source_asset_index: 0,
            index_of_target_in_source: slot,
            target_state_hash: B256::ZERO,
            target_outcome: closing(world, *target).state().outcome.clone(),
            target_asset_index: 0,
        };
        let (from, to) = (&args.source_outcome[0], &args.target_outcome[0]);
        source[0].allocations = compute_reclaim(&from.allocations, &to.allocations, slot).unwrap();
        Call::Reclaim(args)
    };
    targets.iter().map(&mut reclaim).collect()
}

/// Goal: whichever guarantees a peer reclaims, and in whatever order, the rest is reclaimed and everybody is paid.
/// Method: of nine guarantees Bob reclaims the last four, backwards: of the 126 fours the one that a search comes to last. The endpoint
/// shows the calldata at once, or some blocks later.
#[test]
fn guarantees_that_a_peer_reclaims_out_of_order_lock_nothing() {
    for hidden in [0, 5] {
        let (mut world, ids) = old_guarantees_finalized(9);
        let last: Vec<ChannelId> = ids.iter().rev().take(4).copied().collect();
        world.calldata = hidden == 0;
        for call in reclaims(&world, &last) {
            world.submit(BOB, call);
        }
        world.mine(1 + hidden);
        world.calldata = true;
        world.mined[ALICE] = true;
        world.mine(80);
        assert_eq!(world.chain.held(Address::ZERO, ledger(0)), wei(0), "hidden {hidden}");
        assert_eq!(paid_out(&world), [100, 100].map(wei), "hidden {hidden}");
    }
}

/// Goal: an endpoint that names other guarantees than those that were reclaimed, or channels that are none, costs attempts and no money.
/// Method: of nine guarantees Bob reclaims the first four; the calldata is replaced by lies, more of them than there are reclaims.
#[test]
fn calldata_that_names_the_wrong_guarantees_costs_nothing() {
    type Lie = fn(&[ChannelId]) -> Vec<ChannelId>;
    let nowhere = ChannelId(B256::repeat_byte(9));
    let lies: [Lie; 3] = [
        |ids| ids[5..].to_vec(),
        |_| (0..9).map(|n| ChannelId(B256::repeat_byte(n))).collect(),
        |ids| vec![ids[8]; 9],
    ];
    for (named, lie) in [4, 4, 1].into_iter().zip(lies) {
        let (mut world, ids) = old_guarantees_finalized(9);
        world.calldata = false;
        for call in reclaims(&world, &ids[..4]) {
            world.submit(BOB, call);
        }
        world.mine(1);
        let said = lie(&ids).into_iter().map(|target| Reclaimed { ledger: ledger(0), target });
        let of_others = said.clone().map(|r| Reclaimed { ledger: nowhere, ..r });
        let reclaims = of_others.chain(said).collect();
        let calldata = Calldata { candidates: vec![], reclaims };
        let lying = world.blocks.last_mut().unwrap();
        lying.calldata = Some(calldata.into());
        let at = lying.header.number;
        (world.calldata, world.mined[ALICE]) = (true, true);
        world.mine(120);
        let shown =
            |e: &&(_, Event)| matches!(e.1, Event::ReclaimShown { block, .. } if block == at);
        assert_eq!(world.logs[ALICE].iter().filter(shown).count(), named);
        assert_eq!(world.chain.held(Address::ZERO, ledger(0)), wei(0));
        assert_eq!(paid_out(&world), [100, 100].map(wei));
    }
}

/// Goal: nothing that a stranger pays in or out changes what a finalized virtual channel says, or takes a guarantee.
/// Method: after every block of a dispute somebody deposits into the virtual channel and tries every payout of it and of the ledger.
#[test]
fn strangers_cannot_unmake_a_finalized_outcome() {
    let mut world: World<3> = opened();
    pay(&mut world, 4).unwrap();
    world.command(HUB, Command::ForceClose { channel: ledger(0) }).unwrap();
    for _ in 0..DISPUTE_BLOCKS {
        meddle(&mut world);
        world.mine(1);
    }
    assert_eq!(world.chain.held(Address::ZERO, ledger(0)), wei(0));
    assert!(
        !world.chain.held(Address::ZERO, id::<3>()).is_zero(),
        "what is deposited there is lost"
    );
    assert_eq!(balances(&world, 1), [96, 104].map(wei));
    world.command(2, Command::Close { channel: ledger(1) }).unwrap();
    world.mine(8);
    assert_eq!(paid_out(&world), [96, 200, 104].map(wei));
}

fn meddle(world: &mut World<3>) {
    let channel = id::<3>();
    let expected_held = world.chain.held(Address::ZERO, channel);
    let amount = if expected_held.is_zero() { wei(1) } else { wei(10) };
    let deposit = Call::Deposit { asset: Address::ZERO, channel, expected_held, amount };
    let state = world.nodes[HUB].state();
    let outcomes = |id| match &state.chain().at_head(id).status {
        OnChainStatus::Challenged(c) => Some((c.outcome.clone(), c.state_hash)),
        _ => None,
    };
    let mut calls = vec![deposit];
    for channel in [channel, ledger(0)] {
        let Some((outcome, state_hash)) = outcomes(channel) else { continue };
        for index in 0..3 {
            let (outcome, indices) = (outcome.clone(), vec![index]);
            calls.push(Call::Transfer { asset_index: 0, channel, outcome, state_hash, indices });
        }
        // After the guarantee is reclaimed the outcome is another one, and this reverts for that reason.
        calls.push(Call::TransferAllAssets { channel, outcome, state_hash });
    }
    for call in calls {
        world.submit(2, call);
    }
}

/// Goal: a ledger channel that its left neighbour names before it is open here is heard when it is.
/// Method: Alice's prefund names a second ledger channel, first before Bob knows it, then once it is open.
#[test]
fn a_named_ledger_that_is_not_open_yet_is_asked_for_again() {
    let mut world: World<2> = ledgers();
    let second = ledger_terms(ALICE, 2).fixed_part(APP).channel_id();
    let terms = virtual_terms::<2>(1);
    let prefund = VirtualChannel::new(
        id::<2>(),
        &terms,
        PAYMENT_APP,
        key_of(ALICE).address(),
        None,
        world.now,
    )
    .and_then(|v| v.state(TurnNum::PREFUND, Amount::ZERO))
    .unwrap();
    let offer = |world: &mut World<2>, ledger| {
        let state = signed(prefund.clone(), &[key_of(ALICE)]);
        let peer = key_of(ALICE).address();
        let message = Message::VirtualState { state, ledger: Some(ledger) };
        world.verified(BOB, Verified::Message { peer, message })
    };
    let handled = offer(&mut world, second);
    assert!(handled.answers.is_empty(), "not acknowledged: {:?}", handled.answers);
    assert!(world.nodes[BOB].state().virtual_channel(id::<2>()).is_none());
    assert_eq!(world.nodes[BOB].dropped().get(Refusal::NotOpen(second).code()), Some(&1));
    world.command(ALICE, Command::Open(ledger_terms(ALICE, 2))).unwrap();
    world.mine(12);
    assert!(!offer(&mut world, second).answers.is_empty());
    assert_eq!(v(&world, BOB).left, Some(second));
}

/// Goal: with `defend = alert` the operator hears of the challenge, nothing is submitted, and a start with `auto` redeems in time.
#[test]
fn an_alert_leaves_the_answer_to_the_operator() {
    let alert = Config { defend: Defend::Alert, ..config() };
    let mut world: World<3> = ledgers_with(alert);
    let terms = virtual_terms::<3>(1);
    world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).unwrap();
    pay(&mut world, 7).unwrap();
    world.command(ALICE, Command::ForceClose { channel: id::<3>() }).unwrap();
    world.mine(10);
    let told = |e: &Effect| matches!(e, Effect::Notify(Notice::StaleChallenge { .. }));
    assert!(world.released[2].iter().any(told));
    assert!(!world.released[2].iter().any(|e| about(e, id::<3>())), "nothing was submitted");
    world.restart_with(2, config());
    world.mine(DISPUTE_BLOCKS);
    assert_eq!(balances(&world, 1), [93, 107].map(wei));
}
