//! `fairway loadtest` with real processes, small: what it says is held against what it must be.

use std::process::Command;

use serde_json::Value;

fn run(flags: &[&str]) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["loadtest", "--json", "--block-time", "50ms"])
        .args(flags)
        .output()
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{errors}\n{}", String::from_utf8_lossy(&out.stdout));
    serde_json::from_slice(&out.stdout).expect("one document")
}

#[test]
fn channels_are_opened_at_once_between_two_processes() {
    let report = run(&["--channels", "40"]);
    assert_eq!(report["ok"], true, "{report:#}");
    let channels = &report["channels"];
    assert_eq!(channels["accepted"]["count"], 40);
    // With the one that is opened before.
    assert_eq!(channels["phases"]["deposits"]["count"], 41);
    let took = |phase: &str| channels["phases"][phase]["p50_us"].as_u64().expect("a time");
    // Two deposits, one after the other's is confirmed.
    assert!(took("deposits") > 4 * 50_000, "{channels:#}");
    assert!(took("postfund") < took("deposits"), "{channels:#}");
    for who in ["alice", "bob"] {
        assert!(report["series"][who].as_u64().expect("a count") < 2_000);
    }
    assert!(report["floor"]["sync_us"].as_u64().expect("a time") > 0);
}

#[test]
fn payments_have_vouchers_of_their_own_or_share_them() {
    let flags = ["--channels", "1", "--count", "400", "--virtual-channels", "4", "--paced", "1s"];
    let serial = run(&[&flags[..], &["--payments", "serial", "--rate", "100"]].concat());
    assert_eq!(serial["payments"]["vouchers_received"], 400, "{serial:#}");
    assert_eq!(serial["payments"]["open_loop"]["latency"]["count"], 100);
    assert_eq!(serial["payments"]["single"]["latency"]["count"], 1_000);
    assert_eq!(serial["closing"]["completed"]["count"], 4);
    assert!(serial["restart"]["events"].as_u64().expect("a count") > 1_900);
    let coalesced = run(&[&flags[..], &["--payments", "coalesced", "--rate", "100"]].concat());
    let vouchers = coalesced["payments"]["vouchers_received"].as_u64().expect("a count");
    assert!((1..400).contains(&vouchers), "{coalesced:#}");
}
