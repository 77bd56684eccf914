//! The whole devnet as users run it: the binary, its exit code, its document.

use std::process::{Command, Output};

use serde_json::Value;

fn fairway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway")).args(arguments).output().unwrap()
}

/// Goal: crash, dispute and close end with every wei where it belongs, and the logs that are left prove it.
/// Method: the sums are worked out here again, by hand, from the story in the help.
#[test]
fn every_balance_is_exact_and_the_logs_hold() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("demo");
    let dir_text = dir.to_str().unwrap();
    let devnet =
        ["devnet", "--json", "--updates", "10", "--block-time", "100ms", "--dir", dir_text];
    let output = fairway(&devnet);
    let story = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{story}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("stdout is one document");

    // First channel: alice pays 5 × 3/1000 and bob 5 × 1/1000. Second: alice pays 2 and bob 3 ether. Through the hub alice pays
    // 10 × 3/1000, and 5 × 1/10 where the hub cheats.
    let wei =
        |party: usize, key: &str| report["balances"][party][key].as_str().unwrap().to_string();
    assert_eq!((wei(0, "before"), wei(1, "before")), (ether("100"), ether("100")));
    assert_eq!(
        (wei(0, "after"), wei(1, "after")),
        ("100460000000000000000".into(), "99540000000000000000".into())
    );
    assert_eq!((wei(2, "before"), wei(2, "after")), (ether("100"), ether("100")), "the hub");
    assert_eq!(report["ok"], true);
    assert_eq!(report["differences"], Value::Array(Vec::new()));

    // Bob's node was dropped twice, the hub's once, alice's never.
    let starts = [0, 1, 2].map(|node: usize| report["nodes"][node]["starts"].as_u64().unwrap());
    assert_eq!(starts, [1, 3, 2]);
    assert_eq!(
        (&report["updates"]["count"], &report["vouchers"]["count"]),
        (&10.into(), &10.into())
    );
    for line in [
        "without any warning",
        "challenged with an old state; answering with turn 3",
        "is closed in agreement",
        "without a transaction",
        "its guarantees are given back",
        "as if nothing had been paid",
        "bob's node redeems his voucher of 0.5 ETH on chain",
    ] {
        assert!(story.contains(line), "no {line:?} in\n{story}");
    }

    for party in ["alice", "bob", "hub"] {
        let data_dir = dir.join(party);
        let verified = fairway(&["events", "verify", "--json", data_dir.to_str().unwrap()]);
        assert_eq!(verified.status.code(), Some(0), "{party}");
        let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(verified["bad"], Value::Array(Vec::new()), "{party}");
        assert!(verified["signatures"].as_u64() > Some(20), "{party}: {verified}");
        listed_events_are_numbered(data_dir.to_str().unwrap());
        exported_lines_are_counted(data_dir.to_str().unwrap(), &dir.join(format!("{party}.jsonl")));
    }

    // The directory is in use now: a second run there is refused and touches nothing.
    let again = fairway(&devnet);
    assert_eq!(again.status.code(), Some(2));
    let complaint = String::from_utf8(again.stderr).unwrap();
    assert!(complaint.contains("is not empty; name a new directory"), "{complaint}");
}

fn listed_events_are_numbered(data_dir: &str) {
    let listed = fairway(&["events", "list", "--json", data_dir]);
    assert_eq!(listed.status.code(), Some(0));
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(lines[0]["event"]["Pinned"].is_object(), "{}", lines[0]);
    for (lsn, line) in (1u64..).zip(&lines) {
        assert_eq!(line["lsn"], lsn);
    }
    stats_count_every_event(data_dir, lines.len() as u64);
}

/// The counters of a log count every event once, for people and for machines.
fn stats_count_every_event(data_dir: &str, events: u64) {
    let stats = fairway(&["events", "stats", "--json", data_dir]);
    assert_eq!(stats.status.code(), Some(0));
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["events"], events);
    let of = |metric: &str| {
        let counts = stats["counts"].as_array().unwrap().iter();
        counts.filter(|c| c["metric"] == metric).map(|c| c["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(of("fairway_event_log_append_total"), events);
    assert!(of("fairway_channels_created_total") >= 2, "{stats}");
    let text = fairway(&["events", "stats", data_dir]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("  fairway_channels_created_total{kind=\"direct\"}\n"), "{text}");
}

fn exported_lines_are_counted(data_dir: &str, file: &std::path::Path) {
    let export = ["events", "export", data_dir, "--out", file.to_str().unwrap()];
    let exported = fairway(&export);
    let said = String::from_utf8(exported.stderr).unwrap();
    assert_eq!(exported.status.code(), Some(0), "{said}");
    let text = std::fs::read_to_string(file).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["name"], "export-ended");
    assert_eq!(last["payload"]["lines"], text.lines().count());
    let printed = fairway(&["events", "export", data_dir]);
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), text, "stdout gets the same");
    // An export is evidence: it is not written over.
    let again = fairway(&export);
    let complaint = String::from_utf8(again.stderr).unwrap();
    assert!(complaint.contains("name a file that does not exist"), "{complaint}");
    assert_eq!(again.status.code(), Some(1));
}

/// A byte that rots in the middle of a log is found, and named.
#[test]
fn a_damaged_log_is_refused_with_its_place() {
    let parent = tempfile::tempdir().unwrap();
    let missing = fairway(&["events", "verify", parent.path().to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(1));
    let complaint = String::from_utf8(missing.stderr).unwrap();
    assert!(complaint.contains("holds no log"), "{complaint}");

    std::fs::write(parent.path().join("000001.log"), [7; 4096]).unwrap();
    std::fs::write(parent.path().join("000002.log"), [7; 4096]).unwrap();
    let broken = fairway(&["events", "verify", parent.path().to_str().unwrap()]);
    assert_eq!(broken.status.code(), Some(1));
    let complaint = String::from_utf8(broken.stderr).unwrap();
    assert!(complaint.contains("record 1 in 000001.log"), "{complaint}");
}

fn ether(whole: &str) -> String {
    format!("{whole}{}", "0".repeat(18))
}
