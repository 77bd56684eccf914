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

/// Goal: an endpoint that is gone makes the service worse, not end, and a restored one makes it good again.
#[tokio::test]
async fn a_killed_endpoint_degrades_and_a_restored_one_heals() {
    let world = World::new();
    let proxy = Proxy::start(world.devnet.url()).await;
    let mut service =
        world.service(Settings { hints: vec![], ..world.devnet.settings(&[proxy.url()]) });
    service.blocks(0).await;
    proxy.kill();
    assert_eq!(service.fetch(0).await, Input::ChainDown);
    let health = service.healthy(|h| h.reasons.contains_key(&Trouble::EndpointDown)).await;
    assert_eq!(health.reasons[&Trouble::NoQuorum], "0 of 1 endpoints answer, 1 are needed");
    proxy.restore();
    service.until(0, |input| matches!(input, Input::Blocks { .. }).then_some(())).await;
    service.healthy(Health::is_good).await;
}

/// Goal: a head that does not move is reported, and is good again when it moves: the chain or the endpoints stand still, or a clock is
/// wrong. Method: a service that wants blocks of this second, on a chain that mines only when it is told to.
#[tokio::test]
async fn a_head_that_stands_still_is_reported() {
    let world = World::new();
    let plain = world.plain();
    let limits = Limits { stale_s: 0, ..plain.limits };
    let mut service = world.service(Settings { limits, ..plain });
    let health = service.chain.health();
    let is_stale = move || health.borrow().reasons.get(&Trouble::Stale).cloned();
    let told = service.until(0, |_| is_stale()).await;
    assert!(told.starts_with("the head, block ") && told.ends_with(" s old"), "{told}");
    world.devnet.ask("evm_increaseTime", json!([60])).await;
    world.devnet.mine().await;
    service.blocks(0).await;
    service.healthy(Health::is_good).await;
}

/// Goal: of three endpoints one may be gone, and two may not. Method: they are killed one after another.
#[tokio::test]
async fn one_of_three_endpoints_can_be_spared() {
    let world = World::new();
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(Proxy::start(world.devnet.url()).await);
    }
    let urls: Vec<&str> = proxies.iter().map(Proxy::url).collect();
    let mut service = world.service(Settings { hints: vec![], ..world.devnet.settings(&urls) });
    let (head, _) = service.blocks(0).await;
    proxies[0].kill();
    let (same, _) = service.blocks(0).await;
    assert_eq!(same, head);
    let health = service.healthy(|h| h.reasons.contains_key(&Trouble::EndpointDown)).await;
    assert!(!health.reasons.contains_key(&Trouble::NoQuorum));
    proxies[1].kill();
    assert_eq!(service.fetch(0).await, Input::ChainDown);
    service.healthy(|h| h.reasons.contains_key(&Trouble::NoQuorum)).await;
    proxies.iter().for_each(Proxy::restore);
    service.until(0, |input| matches!(input, Input::Blocks { .. }).then_some(())).await;
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

/// Drops the logs of every answer to `eth_getLogs`.
fn without_logs(request: &Value, mut answer: Value) -> Option<Value> {
    if request["method"] == "eth_getLogs" {
        answer["result"] = json!([]);
    }
    Some(answer)
}

/// Goal: no endpoint alone hides or makes a log. Method: one of two leaves the logs out, with receipts and without; the receipts' root
/// decides, and without receipts the block is left for later.
#[tokio::test]
async fn a_log_that_one_endpoint_hides_is_proven_or_waited_for() {
    let world = World::new();
    let liar = Proxy::start(world.devnet.url()).await;
    let other = Proxy::start(world.devnet.url()).await;
    let settings = world.devnet.settings(&[liar.url(), other.url()]);
    let mut service = world.service(Settings { hints: vec![], quorum: 2, ..settings });
    let channel = world.channel().channel_id();
    let (start, _) = service.blocks(0).await;
    service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    broadcasts(&service, 1).await;
    world.devnet.mine().await;
    liar.lie(without_logs);
    let (_, blocks) = service.blocks(start.number.0 + 1).await;
    assert_eq!(logs(&blocks).len(), 1, "proven by the receipts");
    assert_eq!(service.chain.counters().disputes_proven.get(), 1);
    let no_receipts = |request: &Value, mut answer: Value| {
        if request["method"] == "eth_getBlockReceipts" {
            answer["result"] = json!([]);
        }
        without_logs(request, answer)
    };
    liar.lie(no_receipts);
    other.lie(move |request, answer| {
        let hides = request["method"] == "eth_getBlockReceipts";
        if hides { no_receipts(request, answer) } else { Some(answer) }
    });
    let (_, blocks) = service.blocks(start.number.0 + 1).await;
    assert_eq!(blocks, [], "neither is believed");
    service.healthy(|h| h.reasons.contains_key(&Trouble::Disagreement)).await;
}

/// Goal: whoever sets the bits of our channel in a block's bloom holds up nobody, and an endpoint that hides a log of it is found out at
/// once. Method: deposits into channels of a stranger's choice, of which each sets one of our three bits; then a deposit of ours, left out
/// by the only endpoint; then the same without receipts, where the node is told that something may be missing.
#[tokio::test]
async fn what_a_bloom_promises_is_settled_by_receipts() {
    let world = World::new();
    let liar = Proxy::start(world.devnet.url()).await;
    let settings = world.devnet.settings(&[liar.url()]);
    let mut service = world.service(Settings { hints: vec![], ..settings });
    let (ours, counters) = (world.channel().channel_id(), service.chain.counters().clone());
    service.chain.learn(1, [world.channel()].into_iter());
    let (start, _) = service.blocks(0).await;
    let strangers = bits_of(ours).map(channel_with_bit);
    for channel in strangers {
        service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 0);
    }
    broadcasts(&service, 3).await;
    world.devnet.mine().await;
    let first = start.number.0 + 1;
    let (head, blocks) = service.blocks(first).await;
    assert_eq!(logs(&blocks).len(), 3, "{blocks:?}");
    assert!(!blocks[0].logs_may_be_missing(ours), "nothing is left to wait for");
    assert_eq!((counters.suspicions.get(), counters.suspicions_proven.get()), (1, 1));

    service.chain.submit(None, deposit(ours, 0, 7), Urgency::Normal, 0);
    broadcasts(&service, 4).await;
    world.devnet.mine().await;
    liar.lie(without_logs);
    let (_, blocks) = service.blocks(head.number.0 + 1).await;
    assert_eq!(logs(&blocks).len(), 1, "the receipts show what was left out");
    assert_eq!(counters.suspicions_proven.get(), 2);

    liar.lie(|request, mut answer| {
        if request["method"] == "eth_getBlockReceipts" {
            answer["result"] = json!([]);
        }
        without_logs(request, answer)
    });
    let (_, blocks) = service.blocks(head.number.0 + 1).await;
    assert!(blocks[0].logs_may_be_missing(ours), "the node must ask again");
    service.healthy(|h| h.reasons.contains_key(&Trouble::NoReceipts)).await;
    liar.restore();
    service.blocks(head.number.0 + 1).await;
    service.healthy(|h| h.reasons.is_empty()).await;
}

/// The bits of a topic in a bloom: three times eleven of its hash's.
fn bits_of(channel: ChannelId) -> [usize; 3] {
    let hash = alloy_primitives::keccak256(channel.0);
    [0, 2, 4].map(|at| usize::from(u16::from_be_bytes([hash[at], hash[at + 1]]) & 0x7ff))
}

fn channel_with_bit(bit: usize) -> ChannelId {
    // With zeros in front it would be an address, into which nobody can deposit.
    let channels = (1u64..).map(|n| ChannelId(B256::right_padding_from(&n.to_le_bytes())));
    let mut found = channels.filter(|c| bits_of(*c).contains(&bit));
    found.next().expect("one in some seven hundred has it")
}

/// Goal: a forged log, a forged header and a log of another block are refused by one endpoint alone.
#[tokio::test]
async fn what_contradicts_a_header_is_refused() {
    let world = World::new();
    let proxy = Proxy::start(world.devnet.url()).await;
    let mut service =
        world.service(Settings { hints: vec![], ..world.devnet.settings(&[proxy.url()]) });
    let (head, _) = service.blocks(0).await;
    let (adjudicator, hash, number) = (world.plain().adjudicator, head.hash, head.number.0);
    proxy.lie(move |request, mut answer| {
        if request["method"] == "eth_getLogs" {
            answer["result"] = json!([{
                "address": adjudicator, "topics": ["0x2fc0c4d9ddf1a9b2ec1ec5cf1a2f43dd3ffc53c4ffaf0ae9a46f02d9b3cbd9a2", hash],
                "data": "0x", "blockHash": hash, "blockNumber": format!("0x{number:x}"), "transactionHash": hash,
                "transactionIndex": "0x0", "logIndex": "0x0", "removed": false,
            }]);
        }
        Some(answer)
    });
    assert_eq!(service.fetch(0).await, Input::ChainDown);
    proxy.lie(|request, mut answer| {
        if request["method"] == "eth_getBlockByNumber" && answer["result"].is_object() {
            answer["result"]["timestamp"] = json!("0x7fffffff");
        }
        Some(answer)
    });
    assert_eq!(service.fetch(0).await, Input::ChainDown);
    proxy.restore();
    service.until(0, |input| matches!(input, Input::Blocks { .. }).then_some(())).await;
    assert!(service.chain.counters().inconsistencies.get() >= 2);
}

/// Goal: an endpoint that limits requests for logs is asked for less. Method: more than two blocks are refused.
#[tokio::test]
async fn ranges_are_split_until_an_endpoint_takes_them() {
    let world = World::new();
    let proxy = Proxy::start(world.devnet.url()).await;
    let mut service =
        world.service(Settings { hints: vec![], ..world.devnet.settings(&[proxy.url()]) });
    for _ in 0..20 {
        world.devnet.mine().await;
    }
    proxy.lie(|request, answer| {
        let number = |key: &str| {
            let text = request["params"][0][key].as_str().unwrap_or("0x0").to_string();
            u64::from_str_radix(&text[2..], 16).unwrap_or(0)
        };
        if request["method"] == "eth_getLogs" && number("toBlock") - number("fromBlock") > 1 {
            let error = json!({ "code": -32602, "message": "block range too large" });
            return Some(json!({ "jsonrpc": "2.0", "id": answer["id"], "error": error }));
        }
        Some(answer)
    });
    let (head, blocks) = service.blocks(0).await;
    assert_eq!(blocks.last().map(|b| b.header), Some(head));
    assert!(blocks.len() > 20);
    assert!(service.chain.counters().range_splits.get() >= 1);
}

/// Goal: with `finality = safe` or `finalized` a node sees no block that the endpoints do not call so.
#[tokio::test]
async fn blocks_above_the_final_one_are_not_shown() {
    let world = World::new();
    for finality in [Finality::Safe, Finality::Finalized] {
        let proxy = Proxy::start(world.devnet.url()).await;
        world.devnet.mine().await;
        world.devnet.mine().await;
        let settings = world.devnet.settings(&[proxy.url()]);
        let mut service = world.service(Settings { hints: vec![], finality, ..settings });
        let first = world.devnet.ask("eth_getBlockByNumber", json!(["0x1", false])).await;
        proxy.lie(move |request, mut answer| {
            let tag = request["params"][0].as_str().unwrap_or_default();
            if tag == "safe" || tag == "finalized" {
                answer["result"] = first.clone();
            }
            Some(answer)
        });
        let (head, blocks) = service.blocks(0).await;
        assert_eq!(head.number, BlockNum(1));
        assert_eq!(blocks.len(), 2);
    }
}

/// Goal: a transaction that is stuck while its deadline comes near is replaced for more, at its nonce. Method: an answer to a
/// challenge, and blocks that leave it out because it is below the base fee.
#[tokio::test]
async fn an_answer_that_is_stuck_is_replaced_for_more() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let (head, _) = service.blocks(0).await;
    let deadline = fairway_core::types::ChainTime(head.time.0 + 10_000);
    let urgency = Urgency::Defence { deadline, window_s: 12_000 };
    let call = deposit(world.channel().channel_id(), 0, 7);
    service.chain.submit(None, call.clone(), urgency, 0);
    broadcasts(&service, 1).await;
    // Beyond what the first one offers, and below what may be offered at most.
    let dear = format!("0x{:x}", 300_000_000_000u64);
    for n in 0.. {
        world.devnet.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await;
        world.devnet.mine().await;
        let (_, blocks) = service.blocks(head.number.0 + 1).await;
        service.chain.submit(None, call.clone(), urgency, 0);
        if !logs(&blocks).is_empty() {
            break;
        }
        assert!(n < 30, "it is mined at last");
    }
    assert!(service.chain.counters().replacements.get() >= 1);
    let nonce =
        world.devnet.ask("eth_getTransactionCount", json!([world.alice().address, "latest"])).await;
    assert_eq!(nonce, "0x1");
}

/// Goal: a deposit of a token takes the tokens, though nobody has allowed it by hand, and one allowance serves the next deposit as well.
/// Method: a real token; two deposits, one after another, and then a restart.
#[tokio::test]
async fn a_deposit_of_a_token_is_allowed_first() {
    let world = World::new();
    let alice = world.alice().address;
    let asset = world.devnet.token(alice, 1_000).await;
    let mut service = world.service(world.plain());
    let (head, _) = service.blocks(0).await;
    let deposit = |n: u8, amount: u64| Call::Deposit {
        asset,
        channel: ChannelId(B256::repeat_byte(n)),
        expected_held: Amount::ZERO,
        amount: Amount::wei(amount),
    };
    service.chain.submit(None, deposit(1, 300), Urgency::Normal, 0);
    // Said again while both wait, nothing more is sent.
    service.chain.submit(None, deposit(1, 300), Urgency::Normal, 0);
    broadcasts(&service, 2).await;
    world.devnet.mine().await;
    let (head, blocks) = service.blocks(head.number.0 + 1).await;
    let seen = |n: u8, held: u64| Log::Deposited {
        channel: ChannelId(B256::repeat_byte(n)),
        asset,
        held: Amount::wei(held),
    };
    assert_eq!(logs(&blocks), [seen(1, 300)]);
    for (n, amount, broadcast) in [(2, 200, 3), (3, 100, 1)] {
        if n == 3 {
            service = world.service(world.plain());
            service.blocks(0).await;
        }
        service.chain.submit(None, deposit(n, amount), Urgency::Normal, 0);
        broadcasts(&service, broadcast).await;
        world.devnet.mine().await;
        let (_, blocks) = service.blocks(head.number.0 + u64::from(n) - 1).await;
        assert_eq!(logs(&blocks), [seen(n, amount)]);
        assert_eq!(service.chain.counters().broadcasts.get(), broadcast, "no further allowance");
    }
    assert_eq!(world.devnet.tokens_of(asset, alice).await.to::<u64>(), 400);
    let nonce = world.devnet.ask("eth_getTransactionCount", json!([alice, "latest"])).await;
    assert_eq!(nonce, "0x5", "the token, its allowance, three deposits");
}

/// Goal: an operator offers more for what waits, within the bounds, and one transaction of the nonce is mined. Method: a deposit that no
/// block takes until it was bumped twice, by its nonce and by the hash of what it has replaced by then.
#[tokio::test]
async fn an_operator_offers_more_for_what_waits() {
    let world = World::new();
    let mut service = world.service(world.plain());
    service.blocks(0).await;
    let mut wallet = service.chain.wallet().clone();
    let call = deposit(world.channel().channel_id(), 0, 7);
    service.chain.submit(None, call, Urgency::Normal, 0);
    let waits = wallet.wait_for(|w| w.waiting.iter().any(|tx| tx.hash.is_some()));
    let shown = timeout(PATIENCE, waits).await.unwrap().unwrap();
    let [first] = &shown.waiting[..] else { panic!("{shown:?}") };
    assert_eq!((first.nonce, first.kind, first.is_wanted), (0, "deposit", true));
    assert!(shown.balance.is_some_and(|b| b > Amount::ether(1)));

    let raised = wallet.bump(TxName::Nonce(0), None).await.unwrap();
    assert!(raised.fee.0 * 8 >= first.fee.0 * 9, "{raised:?} after {first:?}");
    let asked = FeePerGas(raised.fee.0 * 2);
    let named = TxName::Hash(first.hash.unwrap());
    let last = wallet.bump(named, Some(asked)).await.unwrap();
    assert_eq!((last.nonce, last.fee), (0, asked));
    let pending = world.devnet.ask("eth_getTransactionByHash", json!([last.hash.unwrap()])).await;
    assert_eq!(pending["maxFeePerGas"], format!("0x{:x}", asked.0));

    let refusals = [
        (TxName::Nonce(0), Some(asked), "fee_too_low"),
        (TxName::Nonce(0), Some(FeePerGas::gwei(201)), "fee_above_cap"),
        (TxName::Nonce(1), None, "nothing_waits"),
        (TxName::Hash(B256::ZERO), None, "nothing_waits"),
    ];
    for (which, fee, code) in refusals {
        assert_eq!(wallet.bump(which, fee).await.map_err(|e| e.code()), Err(code), "{which:?}");
    }
    assert_eq!(service.chain.counters().replacements.get(), 2);
    world.devnet.mine().await;
    let (_, blocks) = service.blocks(0).await;
    assert_eq!(logs(&blocks).len(), 1);
    timeout(PATIENCE, wallet.wait_for(|w| w.waiting.is_empty())).await.unwrap().unwrap();
    let gone = wallet.bump(TxName::Nonce(0), None).await;
    assert_eq!(gone.map_err(|e| e.code()), Err("nothing_waits"));
}

/// Goal: what cannot be paid is not said to be offered. Method: an account with too little for the gas limit at the fee that is asked for.
#[tokio::test]
async fn more_than_the_account_has_is_not_offered() {
    let world = World::new();
    let address = world.alice().address;
    // A hundredth of an ether pays a limit of some 200,000 gas at 50 gwei, and not at 150.
    world.devnet.ask("anvil_setBalance", json!([address, "0x2386f26fc10000"])).await;
    let mut config = Config::default();
    config.fees.defence_gas = 0;
    config.fees.max = FeePerGas::gwei(100);
    config.fees.defence_max = FeePerGas::gwei(100);
    let mut service = world.service_of("alice", world.plain(), &config);
    service.blocks(0).await;
    let claim = world.claim(3, &["alice", "bob"], false);
    let call = Call::Checkpoint { proof: vec![], candidate: claim };
    service.chain.submit(None, call, Urgency::Normal, 0);
    broadcasts(&service, 1).await;
    let poor = service.chain.wallet().bump(TxName::Nonce(0), Some(FeePerGas::gwei(100))).await;
    assert_eq!(poor.map_err(|e| e.code()), Err("no_gas_money"));
}

#[tokio::test]
async fn a_deposit_that_would_leave_too_little_for_defence_is_withheld() {
    let world = World::new();
    let mut config = Config::default();
    config.fees.defence_gas = 1 << 40;
    let mut service = world.service_of("alice", world.plain(), &config);
    service.blocks(0).await;
    let channel = world.channel().channel_id();
    service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 1);
    loop {
        if let Input::DepositWithheld { channel: found, .. } = service.next().await {
            assert_eq!(found, channel);
            return;
        }
    }
}

/// Goal: the largest outcomes that a policy allows are challenged, answered, concluded and paid within the gas that is set. Method: a
/// ledger channel of 130 entries, to accounts that do not exist yet.
#[tokio::test]
async fn the_largest_outcome_fits_into_its_gas() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let fixed = world.channel();
    service.chain.learn(1, [fixed.clone()].into_iter());
    service.blocks(0).await;
    let large = |turn, is_final| {
        let mut claim = world.claim(turn, &[], is_final);
        let share = |n: u16| {
            Allocation::simple(
                Address::left_padding_from(&(n + 4_000).to_be_bytes()),
                Amount::wei(1),
            )
        };
        claim.state.outcome =
            vec![SingleAssetExit::fungible(Address::ZERO, (0..130).map(share).collect())];
        let hash = claim.state.hash();
        claim.sigs = ["alice", "bob"].map(|who| world.key(who).sign(hash)).to_vec();
        claim
    };
    let (stale, newer, last) = (large(3, false), large(5, false), large(9, true));
    let challenger_sig = world.key("alice").sign(challenge_hash(stale.state.hash()));
    let calls = [
        deposit(fixed.channel_id(), 0, 130),
        Call::Challenge { proof: vec![], candidate: stale, challenger_sig },
        Call::Checkpoint { proof: vec![], candidate: newer },
        Call::ConcludeAndTransferAllAssets { candidate: last },
    ];
    for (n, call) in (1..).zip(calls) {
        service.chain.submit(None, call, Urgency::Normal, 0);
        broadcasts(&service, n).await;
        world.devnet.mine().await;
        service.blocks(0).await;
    }
    let (_, blocks) = service.blocks(0).await;
    let paid = |l: &Log| matches!(l, Log::AllocationUpdated { after, .. } if after.is_zero());
    assert!(logs(&blocks).iter().any(paid), "{:?}", logs(&blocks));
}

#[tokio::test]
async fn an_account_without_money_is_reported() {
    let world = World::new();
    let address = world.alice().address;
    world.devnet.ask("anvil_setBalance", json!([address, "0x0"])).await;
    let mut service = world.service(world.plain());
    service.blocks(0).await;
    let claim = world.claim(3, &["alice", "bob"], false);
    service.chain.submit(
        None,
        Call::Checkpoint { proof: vec![], candidate: claim },
        Urgency::Normal,
        0,
    );
    let health = service.healthy(|h| h.reasons.contains_key(&Trouble::NoGasMoney)).await;
    assert!(health.reasons[&Trouble::NoGasMoney].contains("0 wei"), "{health:?}");
}

#[tokio::test]
async fn endpoints_of_another_chain_or_without_contracts_are_named() {
    let world = World::new();
    let good = world.plain();
    assert_eq!(check(&good).await, [(world.devnet.url().to_string(), Ok(()))]);
    let other = Settings { chain_id: 1, ..good.clone() };
    let wrong = Err(EndpointError::WrongChain { expected: 1, found: 31_337 });
    assert_eq!(check(&other).await[0].1, wrong);
    let nowhere = Address::repeat_byte(9);
    let empty = Settings { consensus_app: nowhere, ..good.clone() };
    let missing = Err(EndpointError::NoCode { what: "the consensus app", at: nowhere });
    assert_eq!(check(&empty).await[0].1, missing);
    let changed = Settings { code_hash: Some(B256::repeat_byte(1)), ..good };
    assert!(matches!(check(&changed).await[0].1, Err(EndpointError::OtherCode { .. })));
    let mut service = world.service(other);
    assert_eq!(service.fetch(0).await, Input::ChainDown);
    let health = service.healthy(|h| h.reasons.contains_key(&Trouble::WrongChain)).await;
    assert!(health.reasons[&Trouble::WrongChain].ends_with("is of chain 31337, expected 1"));
}

/// Goal: a new block is announced without a question. Method: nothing is asked; a block is mined.
#[tokio::test]
async fn a_new_head_is_hinted_at() {
    let world = World::new();
    let mut service = world.service(world.devnet.settings(&[world.devnet.url()]));
    // Before the subscription stands a block may pass unannounced.
    let miner = world.devnet.mine_every(Duration::from_millis(20));
    loop {
        if let Input::NewHead { number } = service.next().await {
            assert!(number > BlockNum(0));
            break;
        }
    }
    drop(miner);
    assert!(service.chain.counters().hints.get() >= 1);
}
