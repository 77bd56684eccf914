//! `fairway run` on anvil with the real contracts: what it says of a good chain, of a wrong one, and of one that is gone. Needs npm the
//! first time: `ci/test chain`.

mod disk;
mod kill;
mod node;
mod token;

use std::fs;
use std::process::Command;
use std::time::Duration;

use fairway_chain::testkit::{Devnet, Proxy};
use serde_json::json;

use disk::until_ready_is;
use node::{Node, WORD, fairway, refused};

fn edited(devnet: &Devnet, from: &str, to: &str) -> std::path::PathBuf {
    let good = fs::read_to_string(&devnet.person("alice").config).unwrap();
    assert!(good.contains(from), "{good}");
    let path = devnet.person("alice").config.with_file_name("edited.toml");
    fs::write(&path, good.replacen(from, to, 1)).unwrap();
    path
}

#[test]
#[ignore = "needs npm: ci/test chain"]
fn the_written_configurations_run_and_a_lost_chain_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let mut nodes: Vec<Node> =
        ["alice", "bob", "hub"].iter().map(|name| Node::run(&devnet.person(name).config)).collect();
    for node in &mut nodes {
        node.says("pays for gas and deposits");
        node.says("listens at");
    }
    drop(devnet);
    for mut node in nodes {
        let line = node.says("chain degraded trouble=\"no_quorum\"");
        assert!(line.ends_with("0 of 1 endpoints answer, 1 are needed"), "{line}");
        node.stop();
    }
}

#[test]
#[ignore = "needs npm: ci/test chain"]
fn a_wrong_chain_refuses_the_start_and_a_silent_endpoint_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let told = refused(&edited(&devnet, "chain_id      = 31337", "chain_id = 1"));
    assert!(told.contains("is of chain 31337, expected 1"), "{told}");
    let nothing = "\"0x0909090909090909090909090909090909090909\"";
    let adjudicator = "adjudicator   = \"";
    let commented = format!("adjudicator = {nothing} # \"");
    let told = refused(&edited(&devnet, adjudicator, &commented));
    assert!(told.contains("has no code at the adjudicator 0x0909"), "{told}");
    let at = format!("rpc_url    = \"{}\"", devnet.url());
    let mut node = Node::run(&edited(&devnet, &at, "rpc_url = \"http://127.0.0.1:1/secret\""));
    let line = node.says("it is tried again");
    assert!(line.contains("http://127.0.0.1:1 ") && !line.contains("secret"), "{line}");
    node.says("chain degraded trouble=\"no_quorum\"");
    node.stop();
}

/// Goal: `fairway init` and five keys are all that a node needs on the local chain. Method: they are all that it gets; then the same
/// without an endpoint that could say which chain it is.
#[test]
#[ignore = "needs npm: ci/test chain"]
fn five_keys_suffice() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let data_dir = dir.path().join("node");
    let made = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["init", "--light"])
        .arg(&data_dir)
        .env("FAIRWAY_PASSWORD", WORD)
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    let five = |url: &str| {
        let path = dir.path().join("five.toml");
        let text = format!(
            "rpc_url = \"{url}\"\np2p_listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\nlog_level = \"info\"\nmetrics_port = 0\n",
            data_dir.display()
        );
        fs::write(&path, text).unwrap();
        path
    };
    for _ in ["first", "again, over its log"] {
        let mut node = Node::run(&five(devnet.url()));
        node.says("pays for gas and deposits");
        node.says("listens at");
        node.stop();
    }
    let told = refused(&five("http://127.0.0.1:1/secret"));
    let line = told.lines().last().unwrap();
    assert!(line.starts_with("fairway: rpc_url: http://127.0.0.1:1 cannot be reached: "), "{line}");
    assert!(line.ends_with("; restore it, or set chain.chain_id"), "{line}");
    assert!(!told.contains("secret"), "{told}");
}

/// Goal: two people with two processes on a real chain open, pay and close with commands alone. Method: the written configurations; the
/// balances that both nodes show, and the transactions that they wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn two_people_live_by_commands_on_a_real_chain() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let _miner = devnet.mine_every(Duration::from_millis(100));
    tokio::task::block_in_place(|| {
        let [alice, bob] = ["alice", "bob"].map(|name| devnet.person(name).clone());
        let mut nodes = [Node::run(&alice.config), Node::run(&bob.config)];
        for node in &mut nodes {
            node.says("rpc.sock");
        }
        let line =
            format!("ledger open {:#x} --deposit 1eth --peer-deposit 1eth --wait", bob.address);
        let ledger = fairway(&alice.config, &line)["channel"].as_str().unwrap().to_string();
        fairway(&bob.config, &format!("objective show DirectFunding-{ledger} --wait"));
        let paid = fairway(&alice.config, &format!("pay {ledger} 5gwei --after 0"));
        assert_eq!(paid["position"], "1");
        fairway(&alice.config, &format!("ledger close {ledger} --wait"));
        fairway(&bob.config, &format!("objective show DirectDefunding-{ledger} --wait"));
        let show = format!("ledger show {ledger}");
        assert_eq!(fairway(&bob.config, &show)["balance"], "1000000005000000000");
        let shown = fairway(&alice.config, &show);
        assert_eq!(shown["balance"], "999999995000000000");
        assert_eq!(shown["on_chain"]["held"], "0");
        let transactions = fairway(&alice.config, "tx list --all");
        let kinds: Vec<_> = transactions.as_array().unwrap().iter().map(|tx| &tx["kind"]).collect();
        assert_eq!(kinds, ["deposit", "conclude"]);
        nodes.into_iter().for_each(Node::stop);
    });
}

/// Goal: an endpoint that lies about the head is not believed; `/readyz` names it and its lie, the node goes on, and is ready again when
/// the truth is told. Method: a real node behind an endpoint that names a head a thousand blocks higher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn an_endpoint_that_lies_about_the_head_is_named_and_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let _miner = devnet.mine_every(Duration::from_millis(100));
    let proxy = Proxy::start(devnet.url()).await;
    let [truth, lie] = [devnet.url(), proxy.url()].map(|url| format!("rpc_url    = \"{url}\""));
    tokio::task::block_in_place(|| {
        let config = edited(&devnet, &truth, &lie);
        let node = Node::run(&config);
        until_ready_is(&config, true);
        let known = head(&config);
        proxy.lie(|request, mut answer| {
            let header = &mut answer["result"];
            if request["method"] == "eth_getBlockByNumber" && header.is_object() {
                let number = header["number"].as_str().unwrap().trim_start_matches("0x");
                let higher = u64::from_str_radix(number, 16).unwrap() + 1_000;
                header["number"] = json!(format!("0x{higher:x}"));
            }
            Some(answer)
        });
        let told = until_ready_is(&config, false);
        assert!(told.contains("no_quorum: 0 of 1 endpoints answer, 1 are needed"), "{told}");
        assert!(told.contains(&format!("endpoint_down: {}", proxy.url())), "{told}");
        assert!(told.contains("has another hash"), "{told}");
        let believed = head(&config);
        assert!((known..known + 1_000).contains(&believed), "{known}, then {believed}");
        proxy.restore();
        until_ready_is(&config, true);
        node.stop();
    });
}

/// The newest block that the node knows, however it does.
fn head(config: &std::path::Path) -> u64 {
    let output = node::command(config, "status").output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["head"].as_u64().unwrap()
}

/// Goal: an operator sees what waits at which nonce and offers more for it, by commands alone. Method: a chain that mines nothing until
/// Alice's deposit was bumped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_transaction_that_waits_is_bumped_by_command() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    let [alice, bob] = ["alice", "bob"].map(|name| devnet.person(name).clone());
    let (nodes, channel, hash) = tokio::task::block_in_place(|| {
        let mut nodes = [Node::run(&alice.config), Node::run(&bob.config)];
        for node in &mut nodes {
            node.says("rpc.sock");
        }
        let line = format!("ledger open {:#x} --deposit 1eth --peer-deposit 1eth", bob.address);
        let channel = fairway(&alice.config, &line)["channel"].as_str().unwrap().to_string();
        let began = std::time::Instant::now();
        let waiting = loop {
            let listed = fairway(&alice.config, "tx list");
            let waiting = &listed[0]["waiting"];
            if waiting["hash"].is_string() {
                break waiting.clone();
            }
            assert!(began.elapsed() < node::PATIENCE, "{listed}");
        };
        assert_eq!(waiting["nonce"], 0);
        let shown = |series: &str| node::metric(&alice.config, series);
        let oldest = "fairway_chain_tx_oldest_pending_seconds{kind=\"deposit\"}";
        // From the first scrape on it grows.
        assert!(shown(oldest) < 1.0 && shown("fairway_chain_tx_pending{kind=\"deposit\"}") == 1.0);
        // Ten thousand ethers, and gas for a gwei or two.
        assert!((9.9e21..=1e22).contains(&shown("fairway_chain_wallet_balance")));
        assert!(shown("fairway_chain_wallet_txs_affordable") > 1e5);
        let offers = |tx: &serde_json::Value| tx["fee"].as_str().unwrap().parse::<u64>().unwrap();
        let bumped = fairway(&alice.config, "tx bump 0");
        assert!(offers(&bumped) > offers(&waiting), "{waiting} then {bumped}");
        let line = format!("tx bump {} --fee 50gwei", waiting["hash"].as_str().unwrap());
        let last = fairway(&alice.config, &line);
        assert_eq!((&last["nonce"], &last["fee"]), (&json!(0), &json!("50000000000")));
        for (line, refusal) in [
            ("tx bump 0 --fee 51gwei", "a replacement takes 56250000000 wei per gas at least"),
            ("tx bump 0 --fee 201gwei", "is above the bound of 200000000000 wei per gas"),
            ("tx bump 1", "no transaction waits at nonce 1"),
        ] {
            let output = node::command(&alice.config, line).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{line}");
            let told = node::answer(&output).unwrap_err();
            assert!(told.contains(refusal), "{told}");
        }
        assert!(shown(oldest) > 0.0);
        let refused =
            "fairway_rpc_requests_total{method=\"fairway_transactionBump\",result=\"refused\"}";
        assert_eq!(shown(refused), 3.0);
        (nodes, channel, last["hash"].clone())
    });
    let _miner = devnet.mine_every(Duration::from_millis(100));
    tokio::task::block_in_place(|| {
        fairway(&alice.config, &format!("objective show DirectFunding-{channel} --wait"));
        nodes.into_iter().for_each(Node::stop);
    });
    let receipt = devnet.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1", "what was bumped last was mined");
}
