//! The service against anvil and the real contracts. Needs npm the first time: `ci/test chain`.
//!
//! Time is the chain's: blocks are mined when a test says so, and every wait is for a condition.

use std::sync::Arc;
use std::time::Duration;

use fairway_chain::testkit::{Devnet, Person, Proxy};
use fairway_chain::{
    Chain, EndpointError, Finality, Health, Limits, Settings, Trouble, TxName, check,
};
use fairway_core::chain_types::{B256, Block, BlockRef};
use fairway_core::config::Config;
use fairway_core::effect::Urgency;
use fairway_core::input::Input;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{Allocation, SingleAssetExit};
use fairway_core::nitro::{Call, Claim, Crypto, FixedPart, Log, SecretKey, State};
use fairway_core::types::{Address, Amount, BlockNum, ChannelId, FeePerGas, TurnNum};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod account;
mod endpoints;

/// A chain, and a service that somebody asks like a node.
struct World {
    devnet: Devnet,
    _dir: TempDir,
}

struct Service {
    chain: Chain,
    inputs: mpsc::UnboundedReceiver<Input>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        World { devnet: Devnet::up(dir.path()), _dir: dir }
    }

    fn alice(&self) -> &Person {
        self.devnet.person("alice")
    }

    fn service(&self, settings: Settings) -> Service {
        self.service_of("alice", settings, &Config::default())
    }

    fn service_of(&self, who: &str, settings: Settings, config: &Config) -> Service {
        let (sender, inputs) = mpsc::unbounded_channel();
        let deliver = Arc::new(move |input| drop(sender.send(input)));
        let key = self.devnet.person(who).gas_key();
        let chain = Chain::start(settings, config, key, deliver).unwrap();
        Service { chain, inputs }
    }

    fn plain(&self) -> Settings {
        let settings = self.devnet.settings(&[self.devnet.url()]);
        Settings { hints: Vec::new(), ..settings }
    }

    /// A channel of Alice and Bob.
    fn channel(&self) -> FixedPart {
        FixedPart {
            participants: vec![self.alice().address, self.devnet.person("bob").address],
            nonce: 1,
            app_definition: self.plain().consensus_app,
            challenge_duration: 60,
        }
    }

    fn claim(&self, turn: u64, signers: &[&str], is_final: bool) -> Claim {
        let fixed = self.channel();
        let shares = fixed.participants.iter().map(|p| Allocation::simple(*p, Amount::wei(5)));
        let outcome = vec![SingleAssetExit::fungible(Address::ZERO, shares.collect())];
        let turn = TurnNum::new(turn).unwrap();
        let state = State { fixed, outcome, app_data: Default::default(), turn, is_final };
        let sigs = signers.iter().map(|who| self.key(who).sign(state.hash())).collect();
        Claim { state, sigs }
    }

    fn key(&self, who: &str) -> SecretKey {
        SecretKey::new(self.devnet.person(who).key(), Crypto::Real).unwrap()
    }
}

impl Service {
    async fn next(&mut self) -> Input {
        timeout(PATIENCE, self.inputs.recv()).await.expect("an input in time").expect("a service")
    }

    /// Asks once.
    async fn fetch(&mut self, from: u64) -> Input {
        self.chain.fetch(BlockNum(from));
        loop {
            let input = self.next().await;
            if matches!(input, Input::Blocks { .. } | Input::ChainDown) {
                return input;
            }
        }
    }

    async fn blocks(&mut self, from: u64) -> (BlockRef, Vec<Block>) {
        match self.fetch(from).await {
            Input::Blocks { head, blocks, .. } => (head, blocks),
            other => panic!("expected blocks, found {other:?}"),
        }
    }

    /// Asks until there is something.
    async fn until<T>(&mut self, from: u64, mut look: impl FnMut(&Input) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let input = self.fetch(from).await;
                if let Some(found) = look(&input) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, waiting).await.expect("what is waited for comes in time")
    }

    async fn healthy(&self, look: impl Fn(&Health) -> bool) -> Health {
        let mut health = self.chain.health();
        let found = timeout(PATIENCE, health.wait_for(look)).await;
        found.expect("a change of health in time").expect("a service").clone()
    }
}

fn deposit(channel: ChannelId, expected_held: u64, amount: u64) -> Call {
    let (expected_held, amount) = (Amount::wei(expected_held), Amount::wei(amount));
    Call::Deposit { asset: Address::ZERO, channel, expected_held, amount }
}

fn logs(blocks: &[Block]) -> Vec<Log> {
    blocks.iter().flat_map(|b| b.logs.iter().map(|l| l.log.clone())).collect()
}

async fn broadcasts(service: &Service, at_least: u64) {
    let counters = service.chain.counters().clone();
    let reached = async {
        while counters.broadcasts.get() < at_least {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.expect("a broadcast in time");
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Goal: a deposit is mined and comes back as the log that the contract emits, in blocks that connect; wished twice it is sent once.
#[tokio::test]
async fn a_deposit_is_mined_once_and_seen() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let channel = world.channel().channel_id();
    let (head, blocks) = service.blocks(0).await;
    assert!(blocks.windows(2).all(|w| w[1].header.extends(&w[0].header)));
    assert_eq!(blocks.last().map(|b| b.header), Some(head));
    service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&service, 1).await;
    world.devnet.mine().await;
    let (_, blocks) = service.blocks(head.number.0 + 1).await;
    let held = Amount::wei(7);
    assert_eq!(logs(&blocks), [Log::Deposited { channel, asset: Address::ZERO, held }]);
    assert!(blocks[0].bloom_may_contain(channel));
    assert_eq!(service.chain.counters().broadcasts.get(), 1);
    assert!(service.healthy(|h| h.is_good() && h.head.is_some()).await.is_good());
}

/// Goal: many wishes at once are as many transactions in the order of their nonces, and none is lost.
#[tokio::test]
async fn many_deposits_at_once_are_all_mined() {
    let world = World::new();
    let mut service = world.service(world.plain());
    service.blocks(0).await;
    for n in 1..=120u8 {
        let channel = ChannelId(B256::repeat_byte(n));
        service.chain.submit(None, deposit(channel, 0, 1), Urgency::Normal, 0);
    }
    broadcasts(&service, 120).await;
    world.devnet.mine().await;
    let (_, blocks) = service.blocks(0).await;
    assert_eq!(logs(&blocks).len(), 120);
    assert_eq!(service.chain.counters().broadcasts.get(), 120);
}

/// Goal: a restart between broadcast and block deposits once. Method: the first service is dropped while its transaction waits.
#[tokio::test]
async fn a_restart_does_not_deposit_twice() {
    let world = World::new();
    let channel = world.channel().channel_id();
    let mut first = world.service(world.plain());
    first.blocks(0).await;
    first.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&first, 1).await;
    drop(first);
    let mut second = world.service(world.plain());
    second.blocks(0).await;
    second.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&second, 1).await;
    world.devnet.mine().await;
    world.devnet.mine().await;
    let (_, blocks) = second.blocks(0).await;
    assert_eq!(logs(&blocks).len(), 1);
    let nonce =
        world.devnet.ask("eth_getTransactionCount", json!([world.alice().address, "latest"])).await;
    assert_eq!(nonce, "0x1", "one transaction of hers was mined");
}

/// Goal: what was mined in vain is told in the contract's words.
#[tokio::test]
async fn a_revert_is_told_with_its_reason() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let call = deposit(world.channel().channel_id(), 3, 7);
    service.blocks(0).await;
    service.chain.submit(None, call.clone(), Urgency::Normal, 0);
    broadcasts(&service, 1).await;
    world.devnet.mine().await;
    service.chain.fetch(BlockNum(0));
    loop {
        if let Input::TxReverted { call: found, reason } = service.next().await {
            assert_eq!((found, reason.as_str()), (call, "held != expectedHeld"));
            return;
        }
    }
}

/// Goal: logs that name no signatures come with the calldata's, and challenges with who takes part. Method: a challenge, a checkpoint
/// above it and a conclusion, by Alice's key.
#[tokio::test]
async fn a_dispute_is_read_with_its_calldata() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let fixed = world.channel();
    let channel = fixed.channel_id();
    service.chain.learn(1, [fixed].into_iter());
    let (head, _) = service.blocks(0).await;
    let stale = world.claim(3, &["alice", "bob"], false);
    let newer = world.claim(5, &["alice", "bob"], false);
    let last = world.claim(9, &["alice", "bob"], true);
    let challenger_sig = world.key("alice").sign(challenge_hash(stale.state.hash()));
    let calls = [
        Call::Challenge { proof: vec![], candidate: stale.clone(), challenger_sig },
        Call::Checkpoint { proof: vec![], candidate: newer.clone() },
        Call::Conclude { candidate: last.clone() },
    ];
    for (n, call) in (1..).zip(calls) {
        service.chain.submit(None, call, Urgency::Normal, 0);
        broadcasts(&service, n).await;
        world.devnet.mine().await;
        service.blocks(0).await;
    }
    let (_, blocks) = service.blocks(head.number.0 + 1).await;
    let found = logs(&blocks);
    assert!(
        matches!(&found[0], Log::ChallengeRegistered { candidate, .. } if *candidate == stale),
        "{found:?}"
    );
    assert_eq!(found[1], Log::ChallengeCleared { channel, turn: newer.state.turn });
    assert!(found.iter().any(|l| matches!(l, Log::Concluded { .. })), "{found:?}");
    let shown: Vec<Claim> =
        blocks.iter().flat_map(|b| b.calldata.iter().flat_map(|c| c.candidates.clone())).collect();
    assert_eq!(shown, [newer, last]);
}

/// Goal: a reorganization shows as blocks that no longer connect, and the deposit in it is gone and sent again. Method: `anvil_reorg`.
#[tokio::test]
async fn a_reorganization_takes_blocks_back_and_transactions_are_sent_again() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let channel = world.channel().channel_id();
    let (start, _) = service.blocks(0).await;
    service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&service, 1).await;
    world.devnet.mine().await;
    world.devnet.mine().await;
    let (before, blocks) = service.blocks(start.number.0 + 1).await;
    assert_eq!(logs(&blocks).len(), 1);
    world.devnet.reorg(2).await;
    let (after, blocks) = service.blocks(start.number.0 + 1).await;
    assert_eq!(after.number, before.number);
    assert_ne!(after.hash, before.hash);
    assert_eq!(logs(&blocks), []);
    assert!(blocks[0].header.extends(&start));
    // The node wishes for as long as the chain does not show it.
    let mut seen = Vec::new();
    while seen.is_empty() {
        service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
        world.devnet.mine().await;
        seen = logs(&service.blocks(after.number.0 + 1).await.1);
    }
    assert_eq!(seen.len(), 1);
}

/// Goal: a node that was away while its deposit was mined moves no money a second time. Method: it wishes for the deposit again before
/// it has seen the block.
#[tokio::test]
async fn a_deposit_that_was_mined_meanwhile_is_not_made_again() {
    let world = World::new();
    let channel = world.channel().channel_id();
    let mut first = world.service(world.plain());
    first.blocks(0).await;
    first.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&first, 1).await;
    drop(first);
    world.devnet.mine().await;
    let mut second = world.service(world.plain());
    second.blocks(0).await;
    second.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&second, 1).await;
    world.devnet.mine().await;
    let (_, blocks) = second.blocks(0).await;
    assert_eq!(logs(&blocks).len(), 1, "the second one reverts");
    let adjudicator = world.plain().adjudicator;
    let held = world.devnet.ask("eth_getBalance", json!([adjudicator, "latest"])).await;
    assert_eq!(held, "0x7");
}
