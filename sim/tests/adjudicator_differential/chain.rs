//! The simulated chain with the contracts beside the model: whatever a chain can do to a call, both sides still agree.
//!
//! Every transaction is compared as it is mined, so these tests mostly do things; that they end well is what they prove.

use alloy_primitives::{Address, B256};
use fairway_core::nitro::adjudicator::{Adjudicator, Revert};
use fairway_core::nitro::outcome::two_party;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{
    Allocation, AllocationType, Call, Claim, Crypto, FixedPart, SecretKey, SingleAssetExit, State,
};
use fairway_core::types::{Amount, ChainTime, Destination, Timestamp, TurnNum};
use fairway_sim::campaign::exit_code;
use fairway_sim::engine::Verdict;
use fairway_sim::evm::Unavailable;
use fairway_sim::world::chain::{
    ChainSim, DISAGREEMENT, Failure, Fate, Reorg, ReorgError, ReorgPolicy, TxId,
};

use crate::package;
use crate::pair::{ADJUDICATOR, CONSENSUS_APP, TOKEN};

const NATIVE: Address = Address::ZERO;
const START: u64 = 1_700_000_000;
const CHALLENGE_S: u64 = 60;

fn key(n: u8) -> SecretKey {
    SecretKey::new([n; 32], Crypto::Real).expect("a small number is a key")
}

fn alice() -> Address {
    key(1).address()
}

fn bob() -> Address {
    key(2).address()
}

fn state(asset: Address, turn: u64, [a, b]: [u64; 2]) -> State {
    let fixed = FixedPart {
        participants: vec![alice(), bob()],
        nonce: 1,
        app_definition: CONSENSUS_APP,
        challenge_duration: u32::try_from(CHALLENGE_S).expect("a minute"),
    };
    let outcome = two_party(asset, [(alice(), Amount::wei(a)), (bob(), Amount::wei(b))]);
    let turn = TurnNum::new(turn).expect("a small turn");
    State { fixed, outcome, app_data: Default::default(), turn, is_final: false }
}

fn by_both(state: State) -> Claim {
    let hash = state.hash();
    Claim { state, sigs: vec![key(1).sign(hash), key(2).sign(hash)] }
}

fn deposit(asset: Address, expected_held: u64, amount: u64) -> Call {
    let channel = state(asset, 0, [0, 0]).fixed.channel_id();
    let (expected_held, amount) = (Amount::wei(expected_held), Amount::wei(amount));
    Call::Deposit { asset, channel, expected_held, amount }
}

fn close(asset: Address, shares: [u64; 2]) -> Call {
    let state = State { is_final: true, ..state(asset, 3, shares) };
    Call::ConcludeAndTransferAllAssets { candidate: by_both(state) }
}

fn challenge(turn: u64, shares: [u64; 2]) -> Call {
    let state = state(NATIVE, turn, shares);
    let challenger_sig = key(1).sign(challenge_hash(state.hash()));
    Call::Challenge { proof: vec![], candidate: by_both(state), challenger_sig }
}

/// A chain with both, a clock, and no chance at all.
#[derive(Clone)]
struct World {
    chain: ChainSim,
    now: u64,
}

impl World {
    fn new() -> World {
        World::of(Adjudicator::new(CONSENSUS_APP))
    }

    /// Alice and Bob own a thousand of each asset.
    fn of(model: Adjudicator) -> World {
        package::installed();
        let mut chain = ChainSim::new(ChainTime(START), model);
        chain.deploy_contracts(ADJUDICATOR).expect("the packages are installed");
        for asset in [NATIVE, TOKEN] {
            for who in [alice(), bob()] {
                chain.fund(asset, who, Amount::wei(1000));
            }
        }
        chain.refuse_payments(ADJUDICATOR);
        World { chain, now: START }
    }

    fn submit(&mut self, from: Address, call: Call) -> TxId {
        self.chain.submit(Timestamp(self.now * 1000), from, call)
    }

    fn mine(&mut self) {
        self.now += 12;
        self.chain.mine(ChainTime(self.now), &mut Crypto::Real, &mut |_, _| 0);
        self.chain.check_conservation().expect("money is conserved");
    }

    fn reorg(&mut self, depth: u64, policy: ReorgPolicy) -> Result<Reorg, ReorgError> {
        self.now += 12;
        let now = ChainTime(self.now);
        self.chain.reorg(depth, policy, now, &mut Crypto::Real, &mut |_, _| 0)
    }

    /// Mines one transaction; why it failed.
    fn call(&mut self, from: Address, call: Call) -> Option<Failure> {
        let tx = self.submit(from, call);
        self.mine();
        match self.chain.receipt(tx) {
            Some(Fate::Included { result, .. }) => result.err(),
            other => panic!("{tx:?} is {other:?}"),
        }
    }

    fn balances(&self, asset: Address) -> [Amount; 2] {
        [alice(), bob()].map(|who| self.chain.balance_in(asset, who))
    }
}

#[test]
fn both_assets_go_in_and_come_out() {
    for asset in [NATIVE, TOKEN] {
        let mut world = World::new();
        assert_eq!(world.call(alice(), deposit(asset, 0, 100)), None);
        assert_eq!(world.call(bob(), deposit(asset, 100, 100)), None);
        assert_eq!(world.call(bob(), close(asset, [150, 50])), None);
        assert_eq!(world.balances(asset), [1050, 950].map(Amount::wei));
    }
}

#[test]
fn failures_have_the_same_reasons() {
    let held = Failure::Reverted(Revert::HELD_NOT_EXPECTED);
    for asset in [NATIVE, TOKEN] {
        let mut world = World::new();
        assert_eq!(world.call(alice(), deposit(asset, 7, 100)), Some(held));
        let poor = Some(Failure::InsufficientFunds);
        assert_eq!(world.call(alice(), deposit(asset, 0, 1001)), poor);
        // The model looks at the money first; the token's contract is not reached.
        assert_eq!(world.call(alice(), deposit(asset, 7, 1001)), poor);
        assert_eq!(world.balances(asset), [1000, 1000].map(Amount::wei));
    }
}

/// A person who refuses native tokens sends transactions all the same, takes tokens, and can change his mind.
#[test]
fn recipients_that_refuse_revert_payouts_to_them() {
    let mut world = World::new();
    let refused = Some(Failure::Reverted(Revert::ETH_REFUSED));
    for asset in [NATIVE, TOKEN] {
        world.call(alice(), deposit(asset, 0, 200));
    }
    world.chain.refuse_payments(bob());
    assert_eq!(world.call(bob(), deposit(NATIVE, 200, 100)), None);
    assert_eq!(world.call(bob(), close(NATIVE, [100, 200])), refused);
    assert_eq!(world.call(bob(), close(TOKEN, [100, 100])), None);
    world.reorg(1, ReorgPolicy::Drop).expect("a block can be dropped");
    world.chain.accept_payments(bob());
    assert_eq!(world.call(bob(), close(NATIVE, [100, 200])), None);
    assert_eq!(world.balances(NATIVE), [900, 1100].map(Amount::wei));
}

#[test]
fn contracts_take_no_native_tokens() {
    let mut world = World::new();
    world.call(alice(), deposit(NATIVE, 0, 100));
    for contract in [ADJUDICATOR, TOKEN] {
        let mut state = State { is_final: true, ..state(NATIVE, 3, [100, 0]) };
        state.outcome[0].allocations[0].destination = Destination::of(contract);
        let call = Call::ConcludeAndTransferAllAssets { candidate: by_both(state) };
        let refused = Some(Failure::Reverted(Revert::ETH_REFUSED));
        assert_eq!(world.call(alice(), call), refused);
    }
}

/// Goal: what a reorganization drops is gone from the contracts too, and a clone has its own. Method: a challenge is dropped, then the
/// same turn is challenged with another outcome, which the contract refuses as long as it knows the first one.
#[test]
fn reorganizations_and_clones_take_the_contracts_along() {
    let mut world = World::new();
    world.call(alice(), deposit(NATIVE, 0, 100));
    assert_eq!(world.call(alice(), challenge(5, [100, 0])), None);
    let mut other = world.clone();
    for policy in [ReorgPolicy::Replay, ReorgPolicy::Reorder] {
        world.reorg(1, policy).expect("a block can be dropped");
    }
    let known = Some(Failure::Reverted(Revert::TURN_NOT_INCREASED));
    assert_eq!(world.call(alice(), challenge(5, [50, 50])), known);
    world.reorg(5, ReorgPolicy::Drop).expect("five blocks can be dropped");
    assert_eq!(world.call(alice(), deposit(NATIVE, 0, 70)), None);
    assert_eq!(world.call(alice(), challenge(5, [50, 50])), None);

    other.now += CHALLENGE_S;
    let challenged = state(NATIVE, 5, [100, 0]);
    let (channel, state_hash) = (challenged.fixed.channel_id(), challenged.hash());
    let outcome = challenged.outcome;
    let pay = Call::TransferAllAssets { channel, outcome, state_hash };
    assert_eq!(other.call(bob(), pay), None);
    assert_eq!(other.balances(NATIVE), [1000, 1000].map(Amount::wei));
}

/// Goal: a model that is wrong ends the run. Method: one whose `transfer` checks the right entry, as the deployed contract does not.
#[test]
#[should_panic(expected = "model and contracts disagree about transfer from")]
fn a_wrong_model_is_a_bug_of_the_harness() {
    let mut world = World::of(Adjudicator::new(CONSENSUS_APP).with_quirk_allocs_k(false));
    world.call(alice(), deposit(NATIVE, 0, 100));
    let mut state = State { is_final: true, ..state(NATIVE, 3, [0, 0]) };
    let guarantee = Allocation {
        destination: Destination(B256::repeat_byte(7)),
        amount: Amount::wei(50),
        allocation_type: AllocationType::GUARANTEE,
        metadata: Default::default(),
    };
    let allocations = vec![Allocation::simple(alice(), Amount::wei(50)), guarantee];
    state.outcome = vec![SingleAssetExit::fungible(NATIVE, allocations)];
    let (channel, outcome) = (state.fixed.channel_id(), state.outcome.clone());
    assert_eq!(world.call(alice(), Call::Conclude { candidate: by_both(state) }), None);
    let (state_hash, indices) = (B256::ZERO, vec![1]);
    world.call(bob(), Call::Transfer { asset_index: 0, channel, outcome, state_hash, indices });
}

#[test]
fn a_disagreement_is_told_from_a_panic_of_a_node() {
    let panicked = |message: &str| exit_code(&Verdict::Panic(message.into()));
    assert_eq!(panicked(&format!("{DISAGREEMENT} about deposit from 0x00 at 1: balance")), 7);
    assert_eq!(panicked("index out of bounds"), 5);
}

#[test]
fn what_is_missing_is_said_with_its_remedy() {
    for (why, remedy) in [
        (Unavailable::NotBuilt, "--features evm"),
        (Unavailable::NoBytecode { why: String::from("nothing") }, "ci/test adjudicator"),
        (Unavailable::ToySignatures, "--crypto toy"),
    ] {
        let line = why.to_string();
        assert!(line.contains(remedy) && !line.contains('\n'), "{line}");
    }
}
