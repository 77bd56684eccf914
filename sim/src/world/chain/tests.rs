//! Goal: the chain conserves money, forgets exactly what a reorganization drops, lies only as it was told to, and does it
//! all the same way twice. Method: Alice and Bob with one ledger channel, toy signatures, a counter for chance.

use std::sync::LazyLock;

use fairway_core::account::{Answer, Tx};
use fairway_core::nitro::adjudicator::{Log, Revert};
use fairway_core::nitro::outcome::two_party;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{Claim, Crypto, FixedPart, SecretKey, State};
use fairway_core::types::{FeePerGas, TurnNum};
use proptest::prelude::*;

use super::*;

mod mempool;

const APP: Address = Address::repeat_byte(0xca);
const NATIVE: Address = Address::ZERO;
const TOKEN: Address = Address::repeat_byte(0x70);
const START: u64 = 1_700_000_000;
const NODE: Endpoint = Endpoint(0);

/// Derived once: the curve costs more than everything else here.
static KEYS: LazyLock<[SecretKey; 3]> = LazyLock::new(|| {
    [1, 2, 3].map(|byte| SecretKey::new([byte; 32], Crypto::Toy).expect("a small number is a key"))
});

fn key(n: usize) -> &'static SecretKey {
    &KEYS[n - 1]
}

fn alice() -> Address {
    key(1).address()
}

fn bob() -> Address {
    key(2).address()
}

fn stranger() -> Address {
    key(3).address()
}

fn state(turn: u64, [a, b]: [u64; 2]) -> State {
    let fixed = FixedPart {
        participants: vec![alice(), bob()],
        nonce: 1,
        app_definition: APP,
        challenge_duration: 60,
    };
    let outcome = two_party(NATIVE, [(alice(), Amount::wei(a)), (bob(), Amount::wei(b))]);
    let turn = TurnNum::new(turn).expect("a small turn");
    State { fixed, outcome, app_data: Default::default(), turn, is_final: false }
}

fn channel() -> ChannelId {
    state(0, [0, 0]).fixed.channel_id()
}

fn by_both(state: State) -> Claim {
    let hash = state.hash();
    Claim { state, sigs: vec![key(1).sign(hash), key(2).sign(hash)] }
}

fn deposit(expected: u64, amount: u64) -> Call {
    let (expected_held, amount) = (Amount::wei(expected), Amount::wei(amount));
    Call::Deposit { asset: NATIVE, channel: channel(), expected_held, amount }
}

fn challenge(state: State) -> Call {
    let challenger_sig = key(1).sign(challenge_hash(state.hash()));
    Call::Challenge { proof: vec![], candidate: by_both(state), challenger_sig }
}

fn close(shares: [u64; 2]) -> Call {
    let state = State { is_final: true, ..state(3, shares) };
    Call::ConcludeAndTransferAllAssets { candidate: by_both(state) }
}

/// A chain, a clock that ticks twelve seconds a block, and a counter in the tape's place.
#[derive(Clone)]
struct World {
    chain: ChainSim,
    now: u64,
    draws: u64,
}

impl World {
    fn new() -> World {
        let mut chain = ChainSim::new(ChainTime(START), Adjudicator::new(APP));
        for who in [alice(), bob(), stranger()] {
            chain.fund(NATIVE, who, Amount::wei(1000));
        }
        World { chain, now: START, draws: 0 }
    }

    /// Alice's and Bob's 100 wei each, in two blocks.
    fn funded() -> World {
        let mut world = World::new();
        world.submit(alice(), deposit(0, 100));
        world.mine(1);
        world.submit(bob(), deposit(100, 100));
        world.mine(1);
        world
    }

    fn submit(&mut self, from: Address, call: Call) -> TxId {
        self.chain.submit(Timestamp(self.now * 1000), from, call)
    }

    /// A transaction that offers `gwei`.
    fn send(&mut self, from: Address, nonce: u64, gwei: u64, call: Call) -> Result<TxId, Answer> {
        let tx = Tx { nonce, fee: FeePerGas::gwei(gwei), call };
        match self.chain.send(Timestamp(self.now * 1000), from, &tx) {
            Answer::Taken(hash) => {
                let all = self.chain.submissions().iter();
                Ok(all.map(|s| s.id).find(|id| id.hash() == hash).expect("it has a number"))
            }
            refused => Err(refused),
        }
    }

    fn mine(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.now += 12;
            let mut choice = counter(&mut self.draws);
            self.chain.mine(ChainTime(self.now), &mut Crypto::Toy, &mut choice);
        }
        self.chain.check_conservation().expect("money is conserved");
    }

    fn reorg(&mut self, depth: u64, policy: ReorgPolicy) -> Result<Reorg, ReorgError> {
        self.now += 12;
        let mut choice = counter(&mut self.draws);
        let now = ChainTime(self.now);
        let done = self.chain.reorg(depth, policy, now, &mut Crypto::Toy, &mut choice);
        self.chain.check_conservation().expect("money is conserved");
        assert_linked(&self.chain);
        done
    }

    fn failure(&self, tx: TxId) -> Option<Failure> {
        match self.chain.receipt(tx) {
            Some(Fate::Included { result, .. }) => result.err(),
            other => panic!("{tx:?} is {other:?}"),
        }
    }

    fn height(&self, tx: TxId) -> Option<u64> {
        match self.chain.receipt(tx) {
            Some(Fate::Included { block, .. }) => Some(block.number.0),
            Some(Fate::Pending | Fate::Dropped) | None => None,
        }
    }

    fn balances(&self) -> [Amount; 3] {
        [alice(), bob(), stranger()].map(|who| self.chain.balance_of(who))
    }
}

fn counter(draws: &mut u64) -> impl FnMut(&'static str, u64) -> u64 + '_ {
    move |_, n| {
        *draws = draws.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*draws >> 33) % n
    }
}

fn assert_linked(chain: &ChainSim) {
    for pair in chain.canonical().windows(2) {
        assert!(pair[1].header.extends(&pair[0].header));
        assert!(pair[1].header.time > pair[0].header.time);
    }
}

#[test]
fn a_channel_lives_on_the_chain_from_deposit_to_payout() {
    let mut world = World::funded();
    assert_eq!(world.chain.holdings(channel()), Amount::wei(200));
    assert_eq!(world.balances(), [900, 900, 1000].map(Amount::wei));
    let tx = world.submit(stranger(), close([150, 50]));
    assert_eq!(world.chain.receipt(tx), Some(&Fate::Pending));
    world.mine(1);
    assert_eq!((world.failure(tx), world.height(tx)), (None, Some(3)));
    assert_eq!(world.balances(), [1050, 950, 1000].map(Amount::wei));
    let emitted = &world.chain.block_at(BlockNum(3)).expect("mined").logs;
    let kinds = emitted.iter().map(|l| (l.index, matches!(l.log, Log::Concluded { .. })));
    assert_eq!(kinds.collect::<Vec<_>>(), [(0, true), (1, false)]);
    let submission = &world.chain.submissions()[2];
    assert_eq!((submission.from, submission.head.number), (stranger(), BlockNum(2)));
    assert_eq!(submission.at, Timestamp((START + 24) * 1000));
}

#[test]
fn failed_transactions_say_why_and_change_nothing() {
    let mut world = World::funded();
    let before = world.balances();
    let rows = [
        (alice(), deposit(0, 100), Failure::Reverted(Revert::HELD_NOT_EXPECTED)),
        (bob(), deposit(200, 5000), Failure::InsufficientFunds),
        (stranger(), close([1, 1]), Failure::Reverted(Revert::ETH_REFUSED)),
    ];
    world.chain.refuse_payments(bob());
    for (from, call, expected) in rows {
        let tx = world.submit(from, call);
        world.mine(1);
        assert_eq!(world.failure(tx), Some(expected));
        assert!(world.chain.block_at(world.chain.head().number).is_some_and(|b| b.logs.is_empty()));
    }
    assert_eq!(world.balances(), before);
    world.chain.accept_payments(bob());
    let tx = world.submit(stranger(), close([100, 100]));
    world.mine(1);
    assert_eq!(world.failure(tx), None);
}

#[test]
fn a_strangers_dust_makes_an_honest_deposit_fail() {
    let mut world = World::new();
    world.submit(stranger(), deposit(0, 1));
    world.mine(1);
    let late = world.submit(alice(), deposit(0, 100));
    world.mine(1);
    assert_eq!(world.failure(late), Some(Failure::Reverted(Revert::HELD_NOT_EXPECTED)));
    assert_eq!(world.chain.holdings(channel()), Amount::wei(1));
}

#[test]
fn tokens_are_accounted_apart() {
    let mut world = World::new();
    world.chain.fund(TOKEN, alice(), Amount::wei(5));
    let (expected_held, amount) = (Amount::ZERO, Amount::wei(5));
    world
        .submit(alice(), Call::Deposit { asset: TOKEN, channel: channel(), expected_held, amount });
    world.mine(1);
    assert_eq!(world.chain.balance_in(TOKEN, alice()), Amount::ZERO);
    assert_eq!(world.chain.holdings_in(TOKEN, channel()), Amount::wei(5));
    assert_eq!(world.balances()[0], Amount::wei(1000));
}

#[test]
fn a_reorg_restores_balances_exactly() {
    let mut world = World::funded();
    let paid = World::funded();
    world.submit(stranger(), close([150, 50]));
    world.mine(1);
    world.submit(stranger(), deposit(0, 7));
    world.mine(2);
    let old_head = world.chain.head();
    let done = world.reorg(3, ReorgPolicy::Drop).expect("three blocks can be dropped");
    assert_eq!(world.balances(), paid.balances());
    assert_eq!(world.chain.ledger(), paid.chain.ledger(), "the whole storage");
    assert_eq!((done.fork.number, done.dropped.len()), (BlockNum(2), 3));
    assert_eq!(done.head.number.0, old_head.number.0 + 1);
    assert_eq!(world.chain.receipt(TxId(2)), Some(&Fate::Dropped));
    for (old, new) in done.dropped.iter().zip(&world.chain.canonical()[3..]) {
        assert_eq!(old.header.number, new.header.number);
        assert_ne!(old.header.hash, new.header.hash);
    }
}

#[test]
fn a_replay_differs_in_hashes_only() {
    let mut world = World::funded();
    let before = (world.balances(), world.chain.digest());
    let done = world.reorg(2, ReorgPolicy::Replay).expect("two blocks can be dropped");
    assert_eq!(world.balances(), before.0);
    assert_ne!(world.chain.digest(), before.1);
    for (old, new) in done.dropped.iter().zip(&world.chain.canonical()[1..]) {
        assert_eq!(old.logs, new.logs);
        assert_eq!(old.header.time, new.header.time);
    }
    assert_eq!((world.height(TxId(0)), world.height(TxId(1))), (Some(1), Some(2)));
}

#[test]
fn a_late_replay_waits_for_the_new_head() {
    let mut world = World::funded();
    world.reorg(2, ReorgPolicy::Late).expect("two blocks can be dropped");
    assert_eq!(world.chain.holdings(channel()), Amount::ZERO);
    assert_eq!(world.chain.receipt(TxId(0)), Some(&Fate::Pending));
    world.mine(1);
    assert_eq!((world.height(TxId(0)), world.height(TxId(1))), (Some(4), Some(4)));
}

#[test]
fn a_reordering_can_make_a_deposit_fail() {
    let fails = |draws| {
        let mut world = World { draws, ..World::funded() };
        world.reorg(2, ReorgPolicy::Reorder).expect("two blocks can be dropped");
        assert!(world.height(TxId(0)).is_some_and(|height| height <= 3));
        world.failure(TxId(1)).is_some()
    };
    assert!((0..20).any(fails));
    assert!(!(0..20).all(fails));
}

#[test]
fn a_reorg_undoes_a_challenge() {
    let mut world = World::funded();
    world.submit(alice(), challenge(state(2, [100, 100])));
    world.mine(1);
    assert_ne!(world.chain.status(channel()).word(), B256::ZERO);
    world.reorg(1, ReorgPolicy::Drop).expect("one block can be dropped");
    assert_eq!(world.chain.status(channel()).word(), B256::ZERO);
}

#[test]
fn reorgs_end_at_genesis_and_at_the_oldest_snapshot() {
    let mut world = World::funded();
    assert_eq!(world.reorg(0, ReorgPolicy::Drop), Err(ReorgError::DepthZero));
    let too_deep = ReorgError::TooDeep { depth: 3, depth_max: 2 };
    assert_eq!(world.reorg(3, ReorgPolicy::Drop), Err(too_deep));
    world.mine(200);
    let max = SNAPSHOTS_MAX as u64;
    assert_eq!(world.chain.recent.len(), SNAPSHOTS_MAX + 1, "memory is bounded");
    assert!(world.reorg(max + 1, ReorgPolicy::Drop).is_err());
    assert!(world.chain.adjudicator_at(max).is_some());
    assert!(world.chain.adjudicator_at(max + 1).is_none());
    assert!(world.reorg(max, ReorgPolicy::Drop).is_ok());
}

#[test]
fn the_past_of_the_adjudicator_can_be_read() {
    let world = World::funded();
    let held = |depth| world.chain.adjudicator_at(depth).map(|a| a.held(NATIVE, channel()));
    assert_eq!([0, 1, 2].map(held), [200, 100, 0].map(|wei| Some(Amount::wei(wei))));
    assert_eq!(held(3), None);
}

#[test]
fn endpoints_report_what_was_asked_for() {
    let world = World::funded();
    let report = |from, max| world.chain.report(NODE, BlockNum(from), max).expect("no outage");
    let numbers = |r: &Report| r.blocks.iter().map(|b| b.header.number.0).collect::<Vec<_>>();
    assert_eq!(numbers(&report(0, 9)), [0, 1, 2]);
    assert_eq!(numbers(&report(1, 1)), [1]);
    assert!(report(3, 9).blocks.is_empty());
    assert!(report(u64::MAX, usize::MAX).blocks.is_empty());
    assert_eq!(report(3, 9).head, world.chain.head());
}

#[test]
fn endpoints_lie_until_they_are_healed() {
    let mut world = World::funded();
    let truth = world.chain.report(NODE, BlockNum(0), 9);
    let fault = EndpointFaults::default;
    let lies = |world: &mut World, faults| {
        world.chain.set_faults(NODE, faults);
        world.chain.report(NODE, BlockNum(0), 9)
    };
    assert_eq!(lies(&mut world, EndpointFaults { outage: true, ..fault() }), Err(Outage));
    assert_eq!(world.chain.report(Endpoint(1), BlockNum(0), 9), truth, "others answer");

    let stale = lies(&mut world, EndpointFaults { stale_blocks: 1, ..fault() }).expect("answers");
    assert_eq!((stale.head.number, stale.blocks.len()), (BlockNum(1), 2));
    let stale = lies(&mut world, EndpointFaults { stale_blocks: 99, ..fault() }).expect("answers");
    assert_eq!((stale.head.number, stale.blocks.len()), (BlockNum(0), 1));

    let twice = EndpointFaults { logs: LogFault::Duplicated, ..fault() };
    let twice = lies(&mut world, twice).expect("answers");
    assert_eq!(twice.blocks[1].logs.len(), 2);
    assert_eq!(twice.blocks[1].logs[0], twice.blocks[1].logs[1]);

    world.chain.heal(NODE);
    assert_eq!(world.chain.report(NODE, BlockNum(0), 9), truth);
    lies(&mut world, EndpointFaults { outage: true, ..fault() }).expect_err("an outage");
    world.chain.heal_all();
    assert_eq!(world.chain.report(NODE, BlockNum(0), 9), truth);
}

#[test]
fn a_fault_ends_with_its_window() {
    let mut world = World::funded();
    let faults = EndpointFaults { outage: true, until: BlockNum(4), ..EndpointFaults::default() };
    world.chain.set_faults(NODE, faults);
    world.mine(1);
    assert_eq!(world.chain.report(NODE, BlockNum(0), 9), Err(Outage));
    world.mine(1);
    assert!(world.chain.report(NODE, BlockNum(0), 9).is_ok());
}

#[test]
fn withheld_logs_show_against_the_bloom() {
    let mut world = World::funded();
    let other = ChannelId(B256::repeat_byte(9));
    for (logs, shows) in [
        (LogFault::None, false),
        (LogFault::Withheld, true),
        (LogFault::WithheldOf(channel()), true),
        (LogFault::WithheldOf(other), false),
        (LogFault::Duplicated, false),
    ] {
        world.chain.set_faults(NODE, EndpointFaults { logs, ..EndpointFaults::default() });
        let report = world.chain.report(NODE, BlockNum(1), 1).expect("no outage");
        assert!(report.blocks[0].bloom_may_contain(channel()));
        assert_eq!(report.blocks[0].logs_may_be_missing(channel()), shows, "{logs:?}");
    }
}

#[test]
fn an_endpoint_can_miss_a_reorg() {
    let mut world = World::funded();
    let old = world.chain.report(NODE, BlockNum(0), 9);
    let faults = EndpointFaults { on_abandoned_branch: true, ..EndpointFaults::default() };
    world.chain.set_faults(NODE, faults);
    assert_eq!(world.chain.report(NODE, BlockNum(0), 9), old, "there is no other branch yet");
    world.reorg(2, ReorgPolicy::Drop).expect("two blocks can be dropped");
    assert_eq!(world.chain.report(NODE, BlockNum(0), 9), old);
    world.chain.heal(NODE);
    assert_ne!(world.chain.report(NODE, BlockNum(0), 9), old);
}

#[test]
fn forged_money_is_noticed() {
    let mut world = World::funded();
    let forge = |world: &mut World| {
        let head = world.chain.recent.back_mut().expect("never empty");
        Arc::make_mut(&mut head.after).forge(NATIVE, stranger(), Amount::wei(1));
    };
    forge(&mut world);
    let told = world.chain.check_conservation().expect_err("one wei too many");
    assert!(told.contains("2801 wei"), "{told}");
}

#[test]
fn a_fork_of_the_world_goes_its_own_way() {
    let mut world = World::funded();
    let fork = world.clone();
    world.submit(stranger(), close([200, 0]));
    world.mine(1);
    assert_eq!(fork.chain.holdings(channel()), Amount::wei(200));
    assert_eq!(world.chain.holdings(channel()), Amount::ZERO);
    assert_eq!(fork.chain.submissions().len(), 2);
}

#[test]
fn empty_blocks_share_one_snapshot() {
    let mut world = World::funded();
    let before = Arc::clone(world.chain.ledger());
    world.mine(10);
    assert!(Arc::ptr_eq(&before, world.chain.ledger()));
}

#[test]
fn block_times_increase_even_when_the_clock_stands() {
    let mut world = World::new();
    for _ in 0..3 {
        world.chain.mine(ChainTime(0), &mut Crypto::Toy, &mut |_, _| 0);
    }
    assert_eq!(world.chain.head().time, ChainTime(START + 3));
    assert_linked(&world.chain);
}

/// One random step: what happens, and two small numbers.
type Step = (u8, u64, u64);

fn step(world: &mut World, (kind, a, b): Step) {
    let who = [alice(), bob(), stranger()][a as usize % 3];
    let held = world.chain.holdings(channel());
    let policies = [
        ReorgPolicy::Replay,
        ReorgPolicy::Reorder,
        ReorgPolicy::Late,
        ReorgPolicy::Drop,
        ReorgPolicy::Drawn,
    ];
    let call = match kind {
        0 => {
            let amount = Amount::wei(b * 40);
            Call::Deposit { asset: NATIVE, channel: channel(), expected_held: held, amount }
        }
        1 => challenge(state(a, [b * 10, 60])),
        2 => close([b * 10, a * 10]),
        3 => {
            let state = state(a, [b * 10, 60]);
            let (channel, state_hash) = (channel(), state.hash());
            Call::TransferAllAssets { channel, outcome: state.outcome, state_hash }
        }
        4 => {
            let _ = world.reorg(a + 1, policies[b as usize % policies.len()]);
            return;
        }
        5 => {
            let faults = MempoolFaults {
                drop_permille: a * 50,
                delay_blocks_max: b,
                block_txs_max: 1 + a as usize,
            };
            world.chain.set_mempool(faults);
            return;
        }
        _ => {
            world.mine(a + 1);
            return;
        }
    };
    world.submit(who, call);
}

proptest! {
    #[test]
    fn nothing_that_happens_makes_or_loses_money(
        steps in proptest::collection::vec((0u8..9, 0u64..6, 0u64..6), 0..60), draws in any::<u64>(),
    ) {
        let mut world = World { draws, ..World::new() };
        let mut again = world.clone();
        for s in &steps {
            step(&mut world, *s);
            prop_assert_eq!(world.chain.check_conservation(), Ok(()));
        }
        assert_linked(&world.chain);
        for s in &steps {
            step(&mut again, *s);
        }
        prop_assert_eq!(world.chain.digest(), again.chain.digest(), "the same steps, the same chain");
        let fates = |w: &World| w.chain.submissions().iter().map(|s| s.fate).collect::<Vec<_>>();
        prop_assert_eq!(fates(&world), fates(&again));
    }

    #[test]
    fn replaying_without_new_transactions_changes_no_storage(
        steps in proptest::collection::vec((0u8..9, 0u64..6, 0u64..6), 0..40), depth in 1u64..8,
    ) {
        let mut world = World::new();
        for s in steps {
            step(&mut world, s);
        }
        world.chain.heal_all();
        world.mine(10);
        let before = world.chain.ledger().clone();
        world.reorg(depth, ReorgPolicy::Replay).expect("ten blocks can be dropped");
        prop_assert_eq!(world.chain.ledger(), &before);
    }
}
