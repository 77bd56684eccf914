//! Ledger channels with guarantees and the virtual channels behind them: the worked exits of the protocol page.

use super::*;
use crate::nitro::SecretKey;
use crate::nitro::outcome::guarantee_metadata;
use crate::nitro::voucher::{self, Voucher};

const PAYMENT_APP: Address = address!("5e29E5Ab8EF33F050c7cc10B5a0456D975C5F88d");

fn key(hex: &str) -> SecretKey {
    SecretKey::new(hex::decode_to_array(hex).unwrap(), Crypto::Real).unwrap()
}

/// Alice pays Bob through Irene; the ledger channel is Alice's with Irene. Protocol vectors V10 and V11.
struct Exit {
    adjudicator: Adjudicator,
    now: ChainTime,
    alice: SecretKey,
    irene: SecretKey,
    bob: SecretKey,
}

impl Exit {
    fn new() -> Exit {
        Exit {
            adjudicator: Adjudicator::new(APP).with_payment_app(PAYMENT_APP),
            now: NOW,
            alice: key("2d999770f7b5d49b694080f987b82bbc9fc9ac2b4dcc10b0f8aba7d700f69c6d"),
            irene: key("febb3b74b0b52d0976f6571d555f4ac8b91c308dfa25c7b58d1e6a7c3f50c781"),
            bob: key("0279651921cd800ac560c21ceea27aab0107b67daf436cdd25ce84cad30159b4"),
        }
    }

    fn virtual_state(&self, turn_num: u64, [payer, payee]: [u64; 2]) -> State {
        let [alice, irene, bob] = [&self.alice, &self.irene, &self.bob].map(SecretKey::address);
        State {
            fixed: FixedPart {
                participants: vec![alice, irene, bob],
                nonce: 1234789,
                app_definition: PAYMENT_APP,
                challenge_duration: 60,
            },
            outcome: two_party(ETH, [(alice, Amount::wei(payer)), (bob, Amount::wei(payee))]),
            app_data: Bytes::new(),
            turn: turn(turn_num),
            is_final: false,
        }
    }

    fn guarantee(&self) -> Allocation {
        let party = |key: &SecretKey| Destination::of(key.address());
        Allocation {
            destination: Destination(self.virtual_state(0, [0, 0]).fixed.channel_id().0),
            amount: Amount::wei(10),
            allocation_type: AllocationType::GUARANTEE,
            metadata: guarantee_metadata(party(&self.alice), party(&self.irene)),
        }
    }

    fn ledger_state(&self, entries: Option<Allocation>) -> State {
        let [alice, irene] = [&self.alice, &self.irene].map(SecretKey::address);
        let mut state = ledger(1, 2, [0, 0]);
        state.fixed.participants = vec![alice, irene];
        state.outcome = two_party(ETH, [(alice, Amount::wei(90)), (irene, Amount::wei(100))]);
        state.outcome[0].allocations.extend(entries);
        state
    }

    fn call(&mut self, call: Call) -> Result<Executed, Revert> {
        self.adjudicator.call(self.now, &call, &|_| false, &mut Crypto::Real)
    }

    fn challenge(&mut self, proof: Vec<Claim>, candidate: Claim, by: SecretKey) {
        let challenger_sig = by.sign(challenge_hash(candidate.state.hash()));
        self.call(Call::Challenge { proof, candidate, challenger_sig }).unwrap();
    }

    fn signed_by(state: State, keys: &[&SecretKey]) -> Claim {
        let hash = state.hash();
        Claim { state, sigs: keys.iter().map(|k| k.sign(hash)).collect() }
    }

    /// The ledger channel with 200 wei and `guarantee`, challenged.
    fn with_ledger_challenged(guarantee: Allocation) -> (Exit, State) {
        let mut exit = Exit::new();
        let state = exit.ledger_state(Some(guarantee));
        exit.call(deposit(&state, ETH, 0, 200)).unwrap();
        let claim = Exit::signed_by(state.clone(), &[&exit.alice, &exit.irene]);
        exit.challenge(vec![], claim, exit.irene.clone());
        (exit, state)
    }

    /// Bob redeems a voucher of 7.
    fn redeem(&mut self) -> State {
        let postfund = self.virtual_state(1, [10, 0]);
        let mut redemption = self.virtual_state(2, [3, 7]);
        let channel = redemption.fixed.channel_id();
        redemption.app_data = Voucher::sign(channel, Amount::wei(7), &self.alice).redemption_data();
        let postfund = Exit::signed_by(postfund, &[&self.alice, &self.irene, &self.bob]);
        let candidate = Exit::signed_by(redemption.clone(), &[&self.bob]);
        self.challenge(vec![postfund], candidate, self.bob.clone());
        redemption
    }
}

fn reclaim(source: &State, target: &State) -> ReclaimArgs {
    ReclaimArgs {
        source_channel: source.fixed.channel_id(),
        source_state_hash: source.hash(),
        source_outcome: source.outcome.clone(),
        source_asset_index: 0,
        index_of_target_in_source: 2,
        target_state_hash: target.hash(),
        target_outcome: target.outcome.clone(),
        target_asset_index: 0,
    }
}

/// Goal: a payee's voucher becomes money in the ledger channel. Method: scenario S3 with the published keys; every status word
/// is a published one.
#[test]
fn a_redeemed_voucher_is_reclaimed_into_the_ledger_channel() {
    let (mut exit, ledger_state) = Exit::with_ledger_challenged(Exit::new().guarantee());
    let redemption = exit.redeem();
    let (source, target) = (ledger_state.fixed.channel_id(), redemption.fixed.channel_id());
    let word = |exit: &Exit, channel| exit.adjudicator.status(channel).word();
    assert_eq!(
        word(&exit, target),
        b256!("00000000000200006553f13c145484a73e46718eb9618c71967680f1328c7d61")
    );
    assert_eq!(
        word(&exit, source),
        b256!("00000000000200006553ff10f680d2828069e77d3d2e6214d030548c8640be85")
    );
    let args = reclaim(&ledger_state, &redemption);
    exit.now = later(60);
    assert_eq!(exit.call(Call::Reclaim(args.clone())), Err(Revert::NOT_FINALIZED));
    exit.now = later(3600);
    let done = exit.call(Call::Reclaim(args.clone())).unwrap();
    assert_eq!(done.logs, [Log::Reclaimed { channel: source, asset_index: 0 }]);
    assert_eq!(done.payouts, []);
    assert_eq!(
        word(&exit, source),
        b256!("00000000000200006553ff100fa888792c38f3d12ba1e1bd6ba543d152916ec9")
    );
    assert_eq!(exit.call(Call::Reclaim(args)), Err(Revert::FINGERPRINT), "submitted twice");

    let mut outcome = exit.ledger_state(None).outcome;
    outcome[0].allocations[0].amount = Amount::wei(93);
    outcome[0].allocations[1].amount = Amount::wei(107);
    let state_hash = ledger_state.hash();
    let all = Call::TransferAllAssets { channel: source, outcome, state_hash };
    let payouts = exit.call(all).unwrap().payouts;
    let [alice, irene] = [&exit.alice, &exit.irene].map(SecretKey::address);
    assert_eq!(payouts, [payout(alice, 93), payout(irene, 107)]);
    assert_eq!(word(&exit, source), B256::ZERO);
    assert_eq!(exit.adjudicator.mode(target, exit.now), Mode::Finalized, "the target stays");
}

/// Goal: each refusal of `reclaim` before the computation, in its order. Method: a call that would succeed, changed in one place
/// a row.
#[test]
fn reclaims_are_refused_in_the_contracts_order() {
    let (mut exit, source) = Exit::with_ledger_challenged(Exit::new().guarantee());
    let target = exit.redeem();
    exit.now = later(3600);
    type Change = fn(&mut ReclaimArgs);
    let rows: [(&str, Change, Option<Revert>); 13] = [
        ("nothing", |_| (), None),
        (
            "unknown source",
            |a| a.source_channel = ChannelId::default(),
            Some(Revert::NOT_FINALIZED),
        ),
        ("other source state", |a| a.source_state_hash = B256::ZERO, Some(Revert::FINGERPRINT)),
        ("other source outcome", |a| a.source_outcome.clear(), Some(Revert::FINGERPRINT)),
        ("undecodable target", |a| a.target_outcome[0].asset_type = 4, Some(Revert::Empty)),
        ("asset beyond", |a| a.source_asset_index = 1, Some(Revert::OUT_OF_BOUNDS)),
        ("entry beyond", |a| a.index_of_target_in_source = 3, Some(Revert::OUT_OF_BOUNDS)),
        ("a simple entry", |a| a.index_of_target_in_source = 0, Some(Revert::NOT_A_GUARANTEE)),
        ("target asset beyond", |a| a.target_asset_index = 1, Some(Revert::OUT_OF_BOUNDS)),
        ("other target asset", |a| a.target_outcome[0].asset = TOKEN, Some(Revert::OTHER_ASSET)),
        ("other target state", |a| a.target_state_hash = B256::ZERO, Some(Revert::FINGERPRINT)),
        ("other amounts", |a| a.target_outcome[0].allocations.clear(), Some(Revert::FINGERPRINT)),
        ("a huge index", |a| a.source_asset_index = u64::MAX, Some(Revert::OUT_OF_BOUNDS)),
    ];
    let adjudicator = exit.adjudicator.clone();
    for (name, change, expected) in rows {
        let mut args = reclaim(&source, &target);
        change(&mut args);
        exit.adjudicator = adjudicator.clone();
        assert_eq!(exit.call(Call::Reclaim(args)).err(), expected, "{name}");
    }
    exit.now = later(59);
    let early = exit.call(Call::Reclaim(reclaim(&source, &target)));
    assert_eq!(early.err(), Some(Revert::NOT_FINALIZED));
}

/// Scenario S2: go-nitro's type 1 is no guarantee to the contract, and its amount goes to the virtual channel.
#[test]
fn a_guarantee_of_type_one_is_paid_to_the_channel_and_never_reclaimed() {
    let guarantee =
        Allocation { allocation_type: AllocationType::WITHDRAW_HELPER, ..Exit::new().guarantee() };
    let (mut exit, source) = Exit::with_ledger_challenged(guarantee);
    let target = exit.redeem();
    exit.now = later(3600);
    let refused = exit.call(Call::Reclaim(reclaim(&source, &target)));
    assert_eq!(refused, Err(Revert::NOT_A_GUARANTEE));
    exit.call(transfer_all(&source)).unwrap();
    assert_eq!(exit.adjudicator.held(ETH, target.fixed.channel_id()), Amount::wei(10));
    assert!(exit.adjudicator.status(source.fixed.channel_id()).word().is_zero());
}

/// Scenario S3b: the payee's amount is set, not increased, so what was redeemed no longer sums to the guarantee.
#[test]
fn a_payee_who_starts_with_something_cannot_be_reclaimed() {
    let guarantee = Allocation { amount: Amount::wei(20), ..Exit::new().guarantee() };
    let (mut exit, source) = Exit::with_ledger_challenged(guarantee);
    let postfund = exit.virtual_state(1, [10, 10]);
    let mut redemption = exit.virtual_state(2, [3, 7]);
    let channel = redemption.fixed.channel_id();
    redemption.app_data = Voucher::sign(channel, Amount::wei(7), &exit.alice).redemption_data();
    let postfund = Exit::signed_by(postfund, &[&exit.alice, &exit.irene, &exit.bob]);
    let candidate = Exit::signed_by(redemption.clone(), &[&exit.bob]);
    let view =
        |proof: &[Claim]| exit.adjudicator.state_is_supported(proof, &candidate, &mut Crypto::Real);
    assert_eq!(view(core::slice::from_ref(&postfund)), Ok(()));
    assert_eq!(view(&[postfund.clone(), postfund.clone()]), Err(Revert::PROOF_LENGTH));
    exit.challenge(vec![postfund], candidate, exit.bob.clone());
    exit.now = later(3600);
    let refused = exit.call(Call::Reclaim(reclaim(&source, &redemption)));
    assert_eq!(refused, Err(Revert::RECLAIMED_NOT_GUARANTEED));
}

/// A channel that could be redeemed is checkpointed with a proof too.
#[test]
fn a_redemption_clears_a_challenge_with_the_postfund() {
    let mut exit = Exit::new();
    let postfund = exit.virtual_state(1, [10, 0]);
    let all = [&exit.alice, &exit.irene, &exit.bob];
    let postfund = Exit::signed_by(postfund, &all);
    exit.challenge(vec![], postfund.clone(), exit.alice.clone());
    let mut redemption = exit.virtual_state(2, [3, 7]);
    let channel = redemption.fixed.channel_id();
    let sig = exit.alice.sign(voucher::hash(channel, Amount::wei(7)));
    let voucher = Voucher { channel, amount: Amount::wei(7), sig };
    assert_eq!(voucher.signer(&mut Crypto::Real), Some(exit.alice.address()));
    redemption.app_data = voucher.redemption_data();
    let candidate = Exit::signed_by(redemption, &[&exit.bob]);
    let done = exit.call(Call::Checkpoint { proof: vec![postfund], candidate }).unwrap();
    assert_eq!(done.logs, [Log::ChallengeCleared { channel, turn: turn(2) }]);
}

#[test]
fn without_a_payment_application_its_channels_are_stuck() {
    let mut exit = Exit::new();
    exit.adjudicator = Adjudicator::new(APP);
    let state = exit.virtual_state(1, [10, 0]);
    let claim = Exit::signed_by(state, &[&exit.alice, &exit.irene, &exit.bob]);
    let call = Call::Checkpoint { proof: vec![], candidate: claim };
    assert_eq!(exit.call(call), Err(Revert::Empty));
}
