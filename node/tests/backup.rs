//! Goal: what an operator types brings a node back, in doubt. Method: the real binary over the log of a devnet: backed up, verified, drilled,
//! restored; then a backup that rots, and a log that does not fit its checkpoints.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn fairway(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway")).args(words).output().unwrap()
}

fn good(words: &[&str]) -> String {
    let output = fairway(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn bad(words: &[&str]) -> String {
    let output = fairway(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    String::from_utf8(output.stderr).unwrap() + &String::from_utf8_lossy(&output.stdout)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_node_comes_back_from_its_backup() {
    let home = tempfile::tempdir().unwrap();
    let demo = home.path().join("demo");
    good(&["devnet", "--dir", text(&demo), "--block-time", "20ms", "--updates", "5", "--json"]);
    let (alice, folder) = (demo.join("alice"), home.path().join("backups"));
    let verified = good(&["events", "verify", "--json", text(&alice)]);
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    assert!(verified["checkpoints"].as_u64() > Some(5), "{verified}");

    let made = good(&["backup", "create", text(&alice), "--to", text(&folder), "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["lsn"], verified["events"]);
    let listed = good(&["backup", "list", text(&folder), "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let backup = Path::new(listed[0]["path"].as_str().unwrap()).to_path_buf();
    assert!(good(&["backup", "verify", text(&backup)]).contains(": whole: "));
    let drilled = good(&["drill", text(&folder), "--data-dir", text(&alice)]);
    assert!(drilled.contains("restored, opened and compared"), "{drilled}");
    assert!(drilled.contains("the node has 0 events more"), "{drilled}");

    let again = home.path().join("again");
    let told = good(&["backup", "restore", text(&backup), "--to", text(&again)]);
    assert!(told.contains("signs nothing new"), "{told}");
    let found = good(&["events", "verify", "--json", text(&again)]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        (&found["events"], &found["checkpoints"]),
        (&verified["events"], &verified["checkpoints"])
    );
    assert!(found["findings"][0].as_str().unwrap().contains("the file doubt is there"), "{found}");
    let printed = good(&["backup", "create", text(&alice), "--mode", "emergency"]);
    let states: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(states["lsn"], verified["events"]);
    good(&["backup", "create", text(&alice), "--mode", "emergency", "--to", text(&folder)]);
    assert_eq!(fs::read_to_string(folder.join("emergency.json")).unwrap(), printed);
    for words in [&["--mode", "emergency", "--key", "k"][..], &["--mode", "daily"], &[]] {
        let output = fairway(&[&["backup", "create", text(&alice)], words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
    // What the node's metrics say of it.
    let told = fs::read_to_string(alice.join("backups.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    for kind in ["daily", "emergency", "drill"] {
        assert_eq!(told[kind]["lsn"], verified["events"], "{kind}: {told}");
        assert!(told[kind]["bytes"].as_u64() > Some(300), "{kind}: {told}");
    }

    let segment = backup.join("log/000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert!(bad(&["drill", text(&folder)]).contains("000001.log: it is not what was backed up"));

    let lines = alice.join("checkpoints.jsonl");
    let tampered = fs::read_to_string(&lines).unwrap().replacen("\"lsn\":", "\"lsn\":1", 1);
    fs::write(&lines, tampered).unwrap();
    let told = bad(&["events", "verify", text(&alice)]);
    assert!(told.contains("checkpoint"), "{told}");
}
