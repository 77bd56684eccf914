//! A channel that holds a token, on a real chain.

use std::fs;
use std::time::Duration;

use alloy_primitives::{hex, keccak256};
use fairway_chain::testkit::Devnet;
use serde_json::json;

use super::node::{Node, fairway};

/// Goal: two people open, pay and close in a token by commands alone; nobody gives an allowance by hand. Method: a real token of which both
/// have some, named in both configurations; what the token itself says they have at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_channel_holds_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let [alice, bob] = ["alice", "bob"].map(|name| devnet.person(name).clone());
    let token = devnet.token(alice.address, 1_000).await;
    let selector = hex::encode(&keccak256("transfer(address,uint256)")[..4]);
    let data = format!("0x{selector}{:0>64}{:0>64x}", hex::encode(bob.address), 400);
    let transfer = json!([{ "from": alice.address, "to": token, "data": data }]);
    devnet.ask("eth_sendTransaction", transfer).await;
    devnet.mine().await;
    for person in [&alice, &bob] {
        let config = fs::read_to_string(&person.config).unwrap();
        let with_token = format!("[policy]\nassets = [\"0x{:0>40}\", \"{token}\"]\n\n[chain]", 0);
        fs::write(&person.config, config.replacen("[chain]", &with_token, 1)).unwrap();
    }
    devnet.one_second_a_block().await;
    let _miner = devnet.mine_every(Duration::from_millis(100));
    tokio::task::block_in_place(|| {
        let mut nodes = [Node::run(&alice.config), Node::run(&bob.config)];
        for node in &mut nodes {
            node.says("rpc.sock");
        }
        let line = format!(
            "ledger open {:#x} --asset {token:#x} --deposit 300 --peer-deposit 200 --wait",
            bob.address
        );
        let ledger = fairway(&alice.config, &line)["channel"].as_str().unwrap().to_string();
        fairway(&bob.config, &format!("objective show DirectFunding-{ledger} --wait"));
        let shown = fairway(&alice.config, &format!("ledger show {ledger}"));
        assert_eq!(shown["on_chain"]["held"], "500");
        fairway(&alice.config, &format!("pay {ledger} 50"));
        fairway(&alice.config, &format!("ledger close {ledger} --wait"));
        fairway(&bob.config, &format!("objective show DirectDefunding-{ledger} --wait"));
        nodes.into_iter().for_each(Node::stop);
    });
    let have =
        [devnet.tokens_of(token, alice.address).await, devnet.tokens_of(token, bob.address).await];
    assert_eq!(have.map(|tokens| tokens.to::<u64>()), [600 - 50, 400 + 50]);
}
