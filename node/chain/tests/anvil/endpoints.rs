//! Endpoints that are gone, stand still, hide, lie, limit, or are of another chain.

use super::*;

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
