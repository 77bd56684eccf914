//! The model against the deployed contract's behaviour: protocol.md 2.11, each revert reason, and conservation of money.

mod virtual_channels;

use alloc::vec;

use alloy_primitives::{Bytes, address, b256, hex};
use proptest::prelude::*;

use super::*;
use crate::nitro::outcome::{Allocation, AllocationType, SingleAssetExit, hash, two_party};
use crate::nitro::sign::{Crypto, Recover, challenge_hash};
use crate::nitro::state::FixedPart;
use crate::types::Destination;

/// Signatures that cost nothing: the signer's address and the hash. All zeros is garbage.
struct Stub;

impl Recover for Stub {
    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        let signer = Address::from_slice(&sig.0[12..32]);
        let over = &sig.0[32..64] == hash.as_slice();
        // Over another hash a signature recovers to some stranger, as on a real curve.
        if signer.is_zero() { None } else { Some(if over { signer } else { STRANGER }) }
    }
}

const APP: Address = Address::repeat_byte(0xca);
const ETH: Address = Address::ZERO;
const TOKEN: Address = Address::repeat_byte(0x70);
const ALICE: Address = Address::repeat_byte(0xaa);
const BOB: Address = Address::repeat_byte(0xbb);
const STRANGER: Address = Address::repeat_byte(0x55);
const GARBAGE: Signature = Signature([0; 65]);
const NOW: ChainTime = ChainTime(1_700_000_000);
const HOUR: u32 = 3600;

fn sign(who: Address, hash: B256) -> Signature {
    let mut bytes = [0; 65];
    bytes[12..32].copy_from_slice(who.as_slice());
    bytes[32..64].copy_from_slice(hash.as_slice());
    Signature(bytes)
}

fn turn(n: u64) -> TurnNum {
    TurnNum::new(n).unwrap()
}

fn later(seconds: u64) -> ChainTime {
    ChainTime(NOW.0 + seconds)
}

fn ledger(nonce: u64, turn_num: u64, [alice, bob]: [u64; 2]) -> State {
    State {
        fixed: FixedPart {
            participants: vec![ALICE, BOB],
            nonce,
            app_definition: APP,
            challenge_duration: HOUR,
        },
        outcome: two_party(ETH, [(ALICE, Amount::wei(alice)), (BOB, Amount::wei(bob))]),
        app_data: Bytes::new(),
        turn: turn(turn_num),
        is_final: false,
    }
}

fn finale(state: State) -> State {
    State { is_final: true, ..state }
}

fn signed(state: State, signers: &[Address]) -> Claim {
    let hash = state.hash();
    Claim { sigs: signers.iter().map(|who| sign(*who, hash)).collect(), state }
}

fn by_both(state: State) -> Claim {
    signed(state, &[ALICE, BOB])
}

fn deposit(state: &State, asset: Address, expected: u64, amount: u64) -> Call {
    let (expected_held, amount) = (Amount::wei(expected), Amount::wei(amount));
    Call::Deposit { asset, channel: state.fixed.channel_id(), expected_held, amount }
}

fn challenge(candidate: Claim) -> Call {
    let challenger_sig = sign(ALICE, challenge_hash(candidate.state.hash()));
    Call::Challenge { proof: vec![], candidate, challenger_sig }
}

fn checkpoint(candidate: Claim) -> Call {
    Call::Checkpoint { proof: vec![], candidate }
}

fn conclude(state: State) -> Call {
    Call::Conclude { candidate: by_both(finale(state)) }
}

/// `transferAllAssets` after a challenge of `state`.
fn transfer_all(state: &State) -> Call {
    let (channel, state_hash) = (state.fixed.channel_id(), state.hash());
    Call::TransferAllAssets { channel, outcome: state.outcome.clone(), state_hash }
}

fn transfer(state: &State, asset_index: u64, indices: &[u64]) -> Call {
    let (channel, state_hash) = (state.fixed.channel_id(), state.hash());
    let (outcome, indices) = (state.outcome.clone(), indices.to_vec());
    Call::Transfer { asset_index, channel, outcome, state_hash, indices }
}

struct World {
    adjudicator: Adjudicator,
    now: ChainTime,
}

impl World {
    /// A channel with 100 + 100 wei in it.
    fn funded(state: &State) -> World {
        let mut world = World { adjudicator: Adjudicator::new(APP), now: NOW };
        world.ok(deposit(state, ETH, 0, 100));
        world.ok(deposit(state, ETH, 100, 100));
        world
    }

    /// The same after a challenge of `state` ran out.
    fn finalized(state: &State) -> World {
        let mut world = World::funded(state);
        world.ok(challenge(by_both(state.clone())));
        world.now = later(u64::from(state.fixed.challenge_duration));
        world
    }

    /// Checks beside the result that a revert changes nothing.
    fn call(&mut self, call: Call) -> Result<Executed, Revert> {
        let before = self.adjudicator.clone();
        let refuses = |to| to == STRANGER;
        let result = self.adjudicator.call(self.now, &call, &refuses, &mut Stub);
        assert!(result.is_ok() || self.adjudicator == before, "{call:?} reverted and left traces");
        result
    }

    fn ok(&mut self, call: Call) -> Executed {
        self.call(call).unwrap()
    }

    fn err(&mut self, call: Call) -> Revert {
        self.call(call).unwrap_err()
    }

    fn held(&self, channel: ChannelId) -> Amount {
        self.adjudicator.held(ETH, channel)
    }
}

fn payout(to: Address, wei: u64) -> Payout {
    Payout { asset: ETH, to, amount: Amount::wei(wei) }
}

#[test]
fn deposits_add_up_and_decide_on_the_expected_holdings() {
    let state = ledger(1, 0, [100, 100]);
    let channel = state.fixed.channel_id();
    let mut world = World::funded(&state);
    assert_eq!(world.held(channel), Amount::wei(200));
    assert_eq!(world.err(deposit(&state, ETH, 100, 100)), Revert::HELD_NOT_EXPECTED);
    let logs = world.ok(deposit(&state, ETH, 200, 0)).logs;
    assert_eq!(logs, [Log::Deposited { channel, asset: ETH, held: Amount::wei(200) }]);
    let (asset, amount) = (TOKEN, Amount::wei(1));
    let channel = ChannelId(Destination::of(ALICE).0);
    let external = Call::Deposit { asset, channel, expected_held: Amount::ZERO, amount };
    assert_eq!(world.err(external), Revert::EXTERNAL_DEPOSIT);
    let amount = Amount(alloy_primitives::U256::MAX);
    let channel = state.fixed.channel_id();
    let overflow = Call::Deposit { asset: ETH, channel, expected_held: Amount::wei(200), amount };
    assert_eq!(world.err(overflow), Revert::OVERFLOW);
}

/// Goal: the words that the contract stores equal the published ones. Method: V1's state and real signatures, its
/// application taken for the consensus application.
#[test]
fn status_words_match_the_vectors() {
    let keys = [
        "caab404f975b4620747174a75f08d98b4e5a7053b691b41bcfc0d839d48b7634",
        "62ecd49c4ccb41a70ad46532aed63cf815de15864bc415c87d507afd6a5e8da2",
    ]
    .map(|k| crate::nitro::SecretKey::new(hex::decode_to_array(k).unwrap(), Crypto::Real).unwrap());
    let [first, second] = [keys[0].address(), address!("Ee18fF1575055691009aa246aE608132C57a422c")];
    let fixed = FixedPart {
        participants: keys.iter().map(|k| k.address()).collect(),
        nonce: 37140676580,
        app_definition: address!("5e29E5Ab8EF33F050c7cc10B5a0456D975C5F88d"),
        challenge_duration: 60,
    };
    let outcome = two_party(ETH, [(first, Amount::wei(5)), (second, Amount::wei(5))]);
    let state = State { fixed, outcome, app_data: Bytes::new(), turn: turn(5), is_final: false };
    let channel = state.fixed.channel_id();
    let claim = |state: &State| Claim {
        state: state.clone(),
        sigs: keys.iter().map(|k| k.sign(state.hash())).collect(),
    };
    let challenger_sig = keys[0].sign(challenge_hash(state.hash()));
    let rows = [
        (
            Call::Challenge { proof: vec![], candidate: claim(&state), challenger_sig },
            b256!("00000000000500006553f13c89f9d47fb5bb2a02e13f055b3f70d67f7cb266c4"),
        ),
        (
            Call::Conclude { candidate: claim(&finale(state.clone())) },
            b256!("00000000000000006553f1003de4b585cffe7391d9b8702301d8a4be07911957"),
        ),
        (
            Call::Checkpoint { proof: vec![], candidate: claim(&state) },
            b256!("0000000000050000000000003f17f1962b36e491b30a40b2405849e597ba5fb5"),
        ),
    ];
    for (call, word) in rows {
        let mut adjudicator = Adjudicator::new(state.fixed.app_definition);
        adjudicator.call(NOW, &call, &|_| false, &mut Crypto::Real).unwrap();
        assert_eq!(adjudicator.status(channel).word(), word);
    }
    let challenged = claim(&state);
    let foreign = Claim { sigs: vec![keys[0].sign(B256::ZERO); 2], ..challenged };
    let refused = Adjudicator::new(state.fixed.app_definition).call(
        NOW,
        &Call::Checkpoint { proof: vec![], candidate: foreign },
        &|_| false,
        &mut Crypto::Real,
    );
    assert_eq!(refused, Err(Revert::NOT_UNANIMOUS));
}

#[test]
fn a_challenge_runs_out_and_everyone_is_paid() {
    let state = ledger(1, 2, [90, 110]);
    let channel = state.fixed.channel_id();
    let mut world = World::funded(&state);
    let registered = world.ok(challenge(by_both(state.clone()))).logs;
    let finalizes_at = later(u64::from(HOUR));
    let candidate = by_both(state.clone());
    assert_eq!(registered, [Log::ChallengeRegistered { channel, finalizes_at, candidate }]);

    world.now = later(u64::from(HOUR) - 1);
    assert_eq!(world.err(transfer_all(&state)), Revert::NOT_FINALIZED);
    assert_eq!(world.err(transfer(&state, 0, &[0])), Revert::NOT_FINALIZED);
    world.now = finalizes_at;
    let done = world.ok(transfer_all(&state));
    let (before, after) = (Amount::wei(200), Amount::ZERO);
    assert_eq!(done.logs, [Log::AllocationUpdated { channel, asset_index: 0, before, after }]);
    assert_eq!(done.payouts, [payout(ALICE, 90), payout(BOB, 110)]);
    assert!(world.adjudicator.holdings().is_empty());
    assert!(world.adjudicator.statuses().is_empty());
}

/// Scenario S4.
#[test]
fn checkpoints_clear_challenges_and_conclude_ignores_turns() {
    let state = |n| ledger(1, n, [100, 100]);
    let channel = state(0).fixed.channel_id();
    let mut world = World::funded(&state(0));
    world.ok(challenge(by_both(state(1))));
    assert_eq!(world.err(checkpoint(by_both(state(1)))), Revert::TURN_NOT_INCREASED);
    assert_eq!(world.err(challenge(by_both(state(1)))), Revert::TURN_NOT_INCREASED);
    let cleared = world.ok(checkpoint(by_both(state(5)))).logs;
    assert_eq!(cleared, [Log::ChallengeCleared { channel, turn: turn(5) }]);
    assert_eq!(
        world.adjudicator.status(channel).word(),
        b256!("0000000000050000000000003f17f1962b36e491b30a40b2405849e597ba5fb5")
    );
    let recorded = world.ok(checkpoint(by_both(state(6)))).logs;
    assert_eq!(recorded, [Log::Checkpointed { channel, turn: turn(6) }]);
    assert_eq!(world.err(challenge(by_both(state(5)))), Revert::TURN_DECREASED);
    world.ok(challenge(by_both(state(6))));
    world.ok(conclude(state(3)));
    assert_eq!(world.err(conclude(state(3))), Revert::FINALIZED);
    assert_eq!(world.err(challenge(by_both(state(9)))), Revert::FINALIZED);
    assert_eq!(world.err(checkpoint(by_both(state(9)))), Revert::FINALIZED);

    let concluded = |indices: &[u64]| {
        let (outcome, indices) = (state(3).outcome, indices.to_vec());
        Call::Transfer { asset_index: 0, channel, outcome, state_hash: B256::ZERO, indices }
    };
    assert_eq!(world.ok(concluded(&[7])).payouts, []);
    assert_eq!(world.err(concluded(&[1, 0])), Revert::UNSORTED);
    assert_eq!(world.err(concluded(&[0, 0])), Revert::UNSORTED);
}

/// Scenario S5, signatures.
#[test]
fn signatures_are_recovered_leniently() {
    let state = ledger(1, 4, [100, 100]);
    let hash = finale(state.clone()).hash();
    let with = |sigs: &[Signature]| Call::Conclude {
        candidate: Claim { state: finale(state.clone()), sigs: sigs.to_vec() },
    };
    let [a, b, stranger] = [ALICE, BOB, STRANGER].map(|who| sign(who, hash));
    for (name, sigs, expected) in [
        ("nobody", vec![], Some(Revert::NOT_UNANIMOUS)),
        ("one", vec![a], Some(Revert::NOT_UNANIMOUS)),
        ("one, twice", vec![a, a], Some(Revert::NOT_UNANIMOUS)),
        ("garbage", vec![a, b, GARBAGE], Some(Revert::INVALID_SIGNATURE)),
        ("over another state", vec![a, sign(BOB, B256::ZERO)], Some(Revert::NOT_UNANIMOUS)),
        ("a foreign one too", vec![stranger, b, a, a], None),
    ] {
        assert_eq!(World::funded(&state).call(with(&sigs)).err(), expected, "{name}");
    }
    let not_final = Call::Conclude { candidate: by_both(state.clone()) };
    assert_eq!(World::funded(&state).err(not_final), Revert::MUST_BE_FINAL);
}

/// Scenario S5, challenges.
#[test]
fn challenges_need_support_and_a_participant() {
    let state = ledger(1, 4, [100, 100]);
    let candidate = by_both(state.clone());
    let signed_by = |who| Call::Challenge {
        proof: vec![],
        candidate: candidate.clone(),
        challenger_sig: sign(who, challenge_hash(state.hash())),
    };
    let with_proof = |proof: Claim| match challenge(candidate.clone()) {
        Call::Challenge { candidate, challenger_sig, .. } => {
            Call::Challenge { proof: vec![proof], candidate, challenger_sig }
        }
        other => other,
    };
    let mut other_app = state.clone();
    other_app.fixed.app_definition = Address::ZERO;
    let mut undecodable = state.clone();
    undecodable.outcome[0].asset_type = 4;
    let garbled = Claim { state: ledger(1, 3, [100, 100]), sigs: vec![GARBAGE] };
    for (name, call, expected) in [
        ("an outsider's challenge", signed_by(STRANGER), Revert::OUTSIDER),
        ("a garbage challenge", signed_by(Address::ZERO), Revert::INVALID_SIGNATURE),
        ("one signer", challenge(signed(state.clone(), &[ALICE])), Revert::NOT_UNANIMOUS),
        ("a proof", with_proof(candidate.clone()), Revert::PROOF_NOT_EMPTY),
        ("a garbled proof", with_proof(garbled), Revert::INVALID_SIGNATURE),
        ("an application without code", challenge(by_both(other_app.clone())), Revert::Empty),
        ("a checkpoint of it", checkpoint(by_both(other_app)), Revert::Empty),
        ("an unknown asset type", challenge(by_both(undecodable)), Revert::Empty),
        (
            "a half-signed checkpoint",
            checkpoint(signed(state.clone(), &[BOB])),
            Revert::NOT_UNANIMOUS,
        ),
    ] {
        assert_eq!(World::funded(&state).err(call), expected, "{name}");
    }
    let mut at_the_end = World::funded(&state);
    at_the_end.now = ChainTime((1 << 48) - 1);
    assert_eq!(at_the_end.err(challenge(candidate.clone())), Revert::OVERFLOW);
}

#[test]
fn a_challenge_of_duration_zero_is_final_in_its_own_block() {
    let mut state = ledger(1, 4, [100, 100]);
    state.fixed.challenge_duration = 0;
    let mut world = World::funded(&state);
    world.ok(challenge(by_both(state.clone())));
    let newer = State { turn: turn(5), ..state.clone() };
    assert_eq!(world.err(checkpoint(by_both(newer))), Revert::FINALIZED);
    assert_eq!(world.ok(transfer_all(&state)).payouts.len(), 2);
}

/// Scenario S3's hazard, on a direct channel: the record is deleted, so the prefund state is valid again.
#[test]
fn after_a_full_payout_old_states_are_valid_again() {
    let (old, last) = (ledger(1, 0, [100, 100]), ledger(1, 9, [0, 200]));
    let channel = old.fixed.channel_id();
    let mut world = World::funded(&old);
    let all = Call::ConcludeAndTransferAllAssets { candidate: by_both(finale(last)) };
    assert_eq!(world.ok(all.clone()).payouts, [payout(BOB, 200)]);
    assert_eq!(world.adjudicator.status(channel).word(), B256::ZERO);
    let mut twice = World { adjudicator: world.adjudicator.clone(), now: NOW };
    assert_eq!(twice.ok(all).payouts, [], "submitted twice, it concludes again and pays nothing");
    assert_eq!(twice.err(challenge(by_both(old.clone()))), Revert::FINALIZED);

    world.ok(deposit(&old, ETH, 0, 50));
    world.ok(challenge(by_both(old.clone())));
    world.now = later(u64::from(HOUR));
    assert_eq!(world.ok(transfer_all(&old)).payouts, [payout(ALICE, 50)]);
}

#[test]
fn a_later_deposit_is_paid_by_calling_again_with_the_rest() {
    let state = ledger(1, 4, [150, 100]);
    let channel = state.fixed.channel_id();
    let mut world = World::finalized(&state);
    assert_eq!(world.ok(transfer_all(&state)).payouts, [payout(ALICE, 150), payout(BOB, 50)]);
    assert_eq!(world.err(transfer_all(&state)), Revert::FINGERPRINT);
    let paid = world.adjudicator.status(channel);
    assert_eq!((paid.turn, paid.finalizes_at), (turn(4), later(u64::from(HOUR))));

    world.ok(deposit(&state, ETH, 0, 60));
    let outcome = two_party(ETH, [(ALICE, Amount::ZERO), (BOB, Amount::wei(50))]);
    let rest = Call::TransferAllAssets { channel, outcome, state_hash: state.hash() };
    assert_eq!(world.ok(rest).payouts, [payout(BOB, 50)]);
    assert_eq!(world.held(channel), Amount::wei(10), "what nobody was allocated stays");
    assert_eq!(world.adjudicator.status(channel).word(), B256::ZERO);
}

#[test]
fn transfer_pays_one_and_never_deletes_the_record() {
    let state = ledger(1, 4, [90, 110]);
    let channel = state.fixed.channel_id();
    let mut world = World::finalized(&state);
    assert_eq!(world.err(transfer(&state, 1, &[0])), Revert::OUT_OF_BOUNDS);
    assert_eq!(world.err(transfer(&state, u64::MAX, &[0])), Revert::OUT_OF_BOUNDS);
    assert_eq!(world.err(transfer(&ledger(1, 3, [90, 110]), 0, &[0])), Revert::FINGERPRINT);
    assert_eq!(world.ok(transfer(&state, 0, &[1])).payouts, [payout(BOB, 110)]);
    assert_eq!(world.err(transfer(&state, 0, &[1])), Revert::FINGERPRINT, "submitted twice");
    let rest = two_party(ETH, [(ALICE, Amount::wei(90)), (BOB, Amount::ZERO)]);
    let word = fingerprint(state.hash(), hash(&rest));
    assert_eq!(world.adjudicator.status(channel).fingerprint, word);
    let (state_hash, indices) = (state.hash(), vec![]);
    let call = Call::Transfer { asset_index: 0, channel, outcome: rest, state_hash, indices };
    assert_eq!(world.ok(call).payouts, [payout(ALICE, 90)]);
    assert_eq!(world.adjudicator.mode(channel, world.now), Mode::Finalized);
}

#[test]
fn one_refusing_recipient_blocks_everyone_but_transfer_goes_around() {
    let mut state = ledger(1, 4, [0, 0]);
    state.outcome = two_party(ETH, [(STRANGER, Amount::wei(90)), (BOB, Amount::wei(110))]);
    let mut world = World::finalized(&state);
    assert_eq!(world.err(transfer_all(&state)), Revert::ETH_REFUSED);
    assert_eq!(world.ok(transfer(&state, 0, &[1])).payouts, [payout(BOB, 110)]);
}

#[test]
fn guarantees_stop_transfers_unless_the_deployed_quirk_looks_elsewhere() {
    let target = ledger(7, 0, [0, 0]).fixed.channel_id();
    let mut state = ledger(1, 4, [90, 100]);
    state.outcome[0].allocations.push(Allocation {
        destination: Destination(target.0),
        amount: Amount::wei(10),
        allocation_type: AllocationType::GUARANTEE,
        metadata: Bytes::new(),
    });
    let mut world = World::finalized(&state);
    assert_eq!(world.err(transfer_all(&state)), Revert::GUARANTEE);
    let deployed = world.adjudicator.clone();
    world.adjudicator = deployed.clone().with_quirk_allocs_k(false);
    assert_eq!(world.err(transfer(&state, 0, &[2])), Revert::GUARANTEE);
    world.adjudicator = deployed;
    assert_eq!(world.ok(transfer(&state, 0, &[2])).payouts, []);
    assert_eq!(world.held(target), Amount::wei(10));
    assert_eq!(world.held(state.fixed.channel_id()), Amount::wei(190));
}

#[test]
fn an_asset_listed_twice_underflows_and_tokens_are_paid_as_tokens() {
    let exit = |asset, to, wei| {
        SingleAssetExit::fungible(asset, vec![Allocation::simple(to, Amount::wei(wei))])
    };
    let mut state = ledger(1, 4, [0, 0]);
    state.outcome = vec![exit(ETH, ALICE, 150), exit(ETH, BOB, 150)];
    assert_eq!(World::finalized(&state).err(transfer_all(&state)), Revert::OVERFLOW);

    state.outcome = vec![exit(ETH, ALICE, 200), exit(TOKEN, STRANGER, 7)];
    let mut world = World::finalized(&state);
    world.ok(deposit(&state, TOKEN, 0, 7));
    assert_eq!(world.err(transfer(&state, 1, &[3])), Revert::TOKEN_TO_ZERO);
    let token = Payout { asset: TOKEN, to: STRANGER, amount: Amount::wei(7) };
    assert_eq!(world.ok(transfer_all(&state)).payouts, [payout(ALICE, 200), token]);
}

/// An outcome that the contract's decoder refuses can be concluded nowhere, but its hash can be finalized by other means.
#[test]
fn an_undecodable_outcome_reverts_without_reason() {
    let mut state = finale(ledger(1, 4, [100, 100]));
    state.outcome[0].asset_type = 4;
    let mut world = World::funded(&state);
    assert_eq!(world.err(Call::Conclude { candidate: by_both(state.clone()) }), Revert::Empty);
    assert_eq!(world.err(transfer_all(&state)), Revert::Empty);
    assert_eq!(world.err(transfer(&state, 0, &[0])), Revert::NOT_FINALIZED);
}

#[test]
fn the_model_survives_serialization() {
    let world = World::finalized(&ledger(1, 4, [100, 100]));
    let bytes = postcard::to_allocvec(&world.adjudicator).unwrap();
    assert_eq!(postcard::from_bytes::<Adjudicator>(&bytes), Ok(world.adjudicator));
}

/// One random step: which channel, which call, two small numbers.
type Step = (u64, u8, u64, u64);

/// Outcomes that pay people, a stranger who refuses, the other channel and the channel itself.
fn tangled(nonce: u64, turn_num: u64, share: u64) -> State {
    let mut state = ledger(nonce, turn_num, [share, 40]);
    let channel = |n| Destination(ledger(n, 0, [0, 0]).fixed.channel_id().0);
    for (to, wei) in [(channel(1), 5), (channel(2), 9), (Destination::of(STRANGER), turn_num % 2)] {
        let (amount, metadata) = (Amount::wei(wei), Bytes::new());
        let allocation_type = (turn_num % 3) as u8;
        let entry = Allocation { destination: to, amount, allocation_type, metadata };
        if wei > 0 {
            state.outcome[0].allocations.push(entry);
        }
    }
    if turn_num == 3 {
        let twice = state.outcome[0].clone();
        state.outcome.push(twice);
    }
    state
}

fn random_call(world: &World, (nonce, kind, a, b): Step) -> Call {
    let state = tangled(nonce, a % 4, b * 10);
    let channel = state.fixed.channel_id();
    match kind {
        0 | 1 => {
            let (expected_held, amount) = (world.held(channel), Amount::wei(b * 7));
            Call::Deposit { asset: ETH, channel, expected_held, amount }
        }
        2 => challenge(by_both(state)),
        3 => checkpoint(by_both(state)),
        4 => conclude(state),
        5 => Call::ConcludeAndTransferAllAssets { candidate: by_both(finale(state)) },
        6 => transfer_all(&state),
        7 => transfer(&state, a % 2, &[b]),
        9 => {
            let target = tangled(3 - nonce, b % 4, a * 10);
            Call::Reclaim(ReclaimArgs {
                source_channel: channel,
                source_state_hash: state.hash(),
                source_outcome: state.outcome,
                source_asset_index: 0,
                index_of_target_in_source: 2 + a % 3,
                target_state_hash: target.hash(),
                target_outcome: target.outcome,
                target_asset_index: 0,
            })
        }
        8 => Call::TransferAllAssets { channel, outcome: state.outcome, state_hash: B256::ZERO },
        _ => {
            let (outcome, indices) = (state.outcome, vec![b, b + 1 + a]);
            Call::Transfer { asset_index: 0, channel, outcome, state_hash: B256::ZERO, indices }
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_calls_makes_or_loses_money(
        steps in proptest::collection::vec((1u64..=2, 0u8..11, 0u64..8, 0u64..6), 0..40),
        quirk in any::<bool>(),
    ) {
        let adjudicator = Adjudicator::new(APP).with_quirk_allocs_k(quirk);
        let mut world = World { adjudicator, now: NOW };
        let (mut paid_in, mut paid_out) = (Amount::ZERO, Amount::ZERO);
        for (i, step) in (0u64..).zip(steps) {
            world.now = later(i * 600);
            let call = random_call(&world, step);
            let deposited = match &call { Call::Deposit { amount, .. } => *amount, _ => Amount::ZERO };
            if let Ok(done) = world.call(call) {
                paid_in = paid_in.checked_add(deposited).unwrap();
                for payout in done.payouts {
                    paid_out = paid_out.checked_add(payout.amount).unwrap();
                }
            }
            let held = world.adjudicator.holdings().values();
            let held = held.fold(Amount::ZERO, |sum, a| sum.checked_add(*a).unwrap());
            prop_assert_eq!(held.checked_add(paid_out).unwrap(), paid_in);
        }
    }
}
