//! A disk that fills up under a node on a real chain.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fairway_chain::testkit::Devnet;
use serde_json::json;

use super::node::{Node, PATIENCE, answer, command, data_dir, fairway};

/// Goal: a write that finds no room stops the node with its reason, and takes nothing from anybody: started again without room it says
/// so, takes on nothing new, and still closes; with room it is as before. Method: the system's limit on the size of files, which needs no
/// privilege and fails like a full disk: first so low that the next write fails, then too low for the reserve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_full_disk_stops_a_node_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(dir.path());
    devnet.one_second_a_block().await;
    let _miner = devnet.mine_every(Duration::from_millis(100));
    tokio::task::block_in_place(|| {
        let [alice, bob] = ["alice", "bob"].map(|name| devnet.person(name).clone());
        let mut bobs = Node::run(&bob.config);
        bobs.says("rpc.sock");
        let node = limited(&alice.config, "unlimited");
        let line =
            format!("ledger open {:#x} --deposit 1eth --peer-deposit 1eth --wait", bob.address);
        let ledger = fairway(&alice.config, &line)["channel"].as_str().unwrap().to_string();
        fairway(&bob.config, &format!("objective show DirectFunding-{ledger} --wait"));
        let paid = fairway(&alice.config, &format!("pay {ledger} 5gwei --after 0"));
        assert_eq!(paid["position"], "1");
        let began = Instant::now();
        let balance =
            || fairway(&alice.config, &format!("ledger show {ledger}"))["balance"].clone();
        // Bob's signature makes it count.
        while balance() != LEFT {
            assert!(began.elapsed() < PATIENCE, "waited too long for the payment");
        }

        let limit = Command::new("prlimit")
            .args(["--pid", &node.id().to_string(), "--fsize=1:unlimited"])
            .status();
        assert!(limit.unwrap().success());
        let (status, said) = node.ends();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("what was held back for defence is given back"), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("fairway: the node has stopped: "), "{last}");
        assert!(last.contains("free space there"), "{last}");

        // Less than a reserve needs, and more than the log.
        let node = limited(&alice.config, "20971520");
        let unready = until_ready_is(&alice.config, false);
        assert!(unready.contains("the disk is full: nothing new is taken on"), "{unready}");
        assert_eq!(balance(), LEFT, "what was paid is paid");
        let refused = command(&alice.config, &format!("pay {ledger} 5gwei")).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(answer(&refused).unwrap_err().contains("disk"), "{refused:?}");
        fairway(&alice.config, &format!("ledger close {ledger} --wait"));
        node.stop();

        let mut node = Node::run(&alice.config);
        node.says("rpc.sock");
        until_ready_is(&alice.config, true);
        let shown = fairway(&alice.config, &format!("ledger show {ledger}"));
        assert_eq!(shown["on_chain"]["held"], json!("0"));
        assert!(data_dir(&alice.config).join("reserve").exists());
        node.stop();
        bobs.stop();
    });
}

/// A node that may write files of so many bytes. It is told by an error, as of a full disk, and not by a signal.
fn limited(config: &Path, bytes: &str) -> Node {
    let mut command = Command::new("prlimit");
    command.arg(format!("--fsize={bytes}:unlimited")).args(["sh", "-c"]);
    command.args(["trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_fairway")]);
    command.args(["run", "--config"]).arg(config);
    let mut node = Node::of(command);
    node.says("rpc.sock");
    node
}

/// Asks `/readyz` until it is so; what it says.
pub fn until_ready_is(config: &Path, ready: bool) -> String {
    let file: toml::Table = std::fs::read_to_string(config).unwrap().parse().unwrap();
    let url = format!("http://127.0.0.1:{}", file["metrics_port"]);
    let began = Instant::now();
    loop {
        let mut health = Command::new(env!("CARGO_BIN_EXE_fairway"));
        let output = health.args(["health", "--url", &url]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        if output.status.success() == ready && !told.is_empty() {
            return told;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long for ready = {ready}: {told}");
    }
}

/// What Alice has left, in wei.
const LEFT: &str = "999999995000000000";
