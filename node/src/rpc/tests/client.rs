//! Whole lives of channels through the commands that people type.

use clap::Parser;
use serde_json::{Value, json};

use super::world::{Party, World, settings, snapshot};
use crate::client::args::Asking;
use crate::client::{self, ClientError, Output};

/// The commands that ask a node, as the binary flattens them.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    asking: Asking,
}

/// Carries out a command line against a party's node; what it printed, and its progress.
async fn typed(party: &Party, line: &str) -> Result<(String, String), ClientError> {
    let data_dir = party.data_dir().display().to_string();
    let words = ["fairway"].into_iter().chain(line.split(' ')).chain(["--data-dir", &data_dir]);
    let Line { asking } = Line::try_parse_from(words).unwrap_or_else(|e| panic!("{e}"));
    let (mut out, mut progress) = (Vec::new(), Vec::new());
    let json = asking.at().json;
    let mut output = Output { out: &mut out, progress: &mut progress, json };
    client::carry_out(&asking, &mut output).await?;
    Ok((String::from_utf8(out).unwrap(), String::from_utf8(progress).unwrap()))
}

async fn typed_json(party: &Party, line: &str) -> Value {
    let (out, _) =
        typed(party, &format!("{line} --json")).await.unwrap_or_else(|e| panic!("{line}: {e}"));
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line}: {e}: {out}"))
}

/// Goal: a person can live a whole life with the commands alone, direct and over a hub, and every balance is what the payments say.
/// Method: three nodes; each step is a command line, checked at the other side.
#[tokio::test(flavor = "multi_thread")]
async fn channels_live_by_commands() {
    let world = World::start(3, settings()).await;
    let (alice, irene, bob) = (world.alice(), world.irene(), world.bob());

    let line = format!("ledger open {} --deposit 1eth --peer-deposit 1eth --wait", irene.address());
    let (opened, progress) = typed(alice, &line).await.unwrap();
    assert!(progress.contains("waiting for "), "{progress}");
    let left = opened.split(' ').nth(1).unwrap().to_string();
    let line =
        format!("ledger open {} --deposit 1eth --peer-deposit 1eth --wait --json", bob.address());
    let right: Value = serde_json::from_str(&typed(irene, &line).await.unwrap().0).unwrap();
    let right = right["channel"].as_str().unwrap();
    bob.done(&json!(format!("DirectFunding-{right}"))).await;
    irene.done(&json!(format!("DirectFunding-{left}"))).await;

    let (paid, _) = typed(alice, &format!("pay {left} 5gwei --after 0")).await.unwrap();
    assert_eq!(paid, "paid; the channel stands at 1\n");
    let repeated = typed(alice, &format!("pay {left} 5gwei --after 0")).await.unwrap_err();
    assert_eq!(repeated.exit_code(), 1);
    assert!(repeated.to_string().contains("stands at 1, not at 0"), "{repeated}");
    irene.sees(&left, "balance", "1000000005000000000").await;

    let line =
        format!("channel open {} --via {} --amount 100gwei --wait", bob.address(), irene.address());
    let channel = typed_json(alice, &line).await["channel"].as_str().unwrap().to_string();
    bob.done(&json!(format!("VirtualFund-{channel}"))).await;
    typed(alice, &format!("pay {channel} 30gwei")).await.unwrap();
    bob.sees(&channel, "paid", "30000000000").await;
    let voucher = typed(alice, &format!("voucher create {channel} 1gwei")).await.unwrap().0;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), voucher).unwrap();
    let receive = format!("voucher receive {}", file.path().display());
    // Everything was shown for the first time, however it came.
    assert_eq!(typed(bob, &receive).await.unwrap().0, "adds 31000000000, in all 31000000000\n");
    assert_eq!(typed(bob, &receive).await.unwrap().0, "adds 0, in all 31000000000\n");

    let refused = typed(alice, &format!("ledger close {left}")).await.unwrap_err();
    assert!(refused.to_string().contains("close its virtual channels first"), "{refused}");
    typed(alice, &format!("channel close {channel} --wait")).await.unwrap();
    irene.done(&json!(format!("VirtualDefund-{channel}"))).await;
    bob.done(&json!(format!("VirtualDefund-{channel}"))).await;
    let ledger = typed_json(alice, &format!("ledger show {left}")).await;
    assert_eq!(ledger["balance"], "999999964000000000");
    assert_eq!(ledger["locked"], "0");
    assert_eq!(
        typed_json(bob, &format!("ledger show {right}")).await["balance"],
        "1000000031000000000"
    );

    typed(alice, &format!("ledger close {left} --wait")).await.unwrap();
    assert_eq!(typed_json(alice, "ledger list").await, json!([]));
    let transactions = typed_json(alice, "tx list --all").await;
    let kinds: Vec<&str> =
        transactions.as_array().unwrap().iter().filter_map(|t| t["kind"].as_str()).collect();
    assert_eq!(kinds, ["deposit", "conclude"]);
    let objectives = typed_json(alice, "objective list --all").await;
    assert_eq!(objectives.as_array().unwrap().len(), 4);

    typed(bob, &format!("challenge {right} --wait")).await.unwrap();
    assert_eq!(typed_json(bob, "peer list").await[0]["ledgers"], 0);
    assert!(typed(bob, "status").await.unwrap().0.starts_with("health      ok\n"));
}

/// Goal: lists, as people see them.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables() {
    let world = World::start(2, settings()).await;
    let (alice, bob) = (world.alice(), world.bob());
    let ledger = alice.open_ledger(bob, "1000").await;
    let shown = |text: String| {
        // As wide as what they stand for.
        text.replace(&ledger, &format!("{:66}", "LEDGER"))
            .replace(&bob.address(), &format!("{:42}", "BOB"))
    };
    let mut all = String::new();
    for line in ["ledger list", "channel list", "objective list", "tx list", "peer list"] {
        all += &format!("$ fairway {line}\n{}", shown(typed(alice, line).await.unwrap().0));
    }
    all += &shown(typed(alice, &format!("ledger show {ledger}")).await.unwrap().0);
    snapshot("lists", &all);
}

#[tokio::test]
async fn a_missing_node_and_a_missing_name_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let parse = |line: &str| {
        let words = ["fairway"].into_iter().chain(line.split(' '));
        Line::try_parse_from(words).unwrap().asking
    };
    let mut told = Vec::new();
    for line in [
        format!("status --data-dir {}", home.path().display()),
        format!("status --rpc http://127.0.0.1:1 --token-file {}/none", home.path().display()),
    ] {
        let (mut out, mut progress) = (Vec::new(), Vec::new());
        let mut output = Output { out: &mut out, progress: &mut progress, json: false };
        told.push(client::carry_out(&parse(&line), &mut output).await.unwrap_err());
    }
    assert_eq!(told[0].exit_code(), 3, "{}", told[0]);
    assert!(told[0].to_string().contains("rpc.sock"), "{}", told[0]);
    assert!(told[0].to_string().ends_with("`fairway run` prints where it listens"), "{}", told[0]);
    assert_eq!(told[1].exit_code(), 2, "{}", told[1]);
}
