//! The program as people and campaigns call it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn fuzz(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-fuzz"));
    command.env_remove("FAIRWAY_PANICS");
    command.args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn planted_targets_are_for_those_who_ask() {
    let listed = fuzz(&["list"]);
    assert_eq!(text(&listed.stdout), "log_open\nwire_decode\n");
    let listed: Value = serde_json::from_slice(&fuzz(&["list", "--json"]).stdout).expect("JSON");
    assert_eq!(listed["targets"], json!(["log_open", "wire_decode"]));
    assert_eq!(listed["planted"], json!(["planted"]));
    assert_eq!(listed["build"], json!(fairway_fuzz::build_id()));
    let refused = fuzz(&["run", "nothing"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("one of log_open, wire_decode, found `nothing`"), "{said}");
}

/// Goal: what fails in a range is told with its bytes, and repeated from its number and from its bytes.
#[test]
fn a_failure_is_told_with_its_bytes_and_repeated_from_them() {
    let line = ["run", "planted", "--inputs", "0..2_000", "--json"];
    let ran = fuzz(&line);
    assert_eq!((ran.status.code(), text(&ran.stderr)), (Some(5), ""));
    assert_eq!(fuzz(&[&line[..], &["-j", "1"]].concat()).stdout, ran.stdout);
    let ran: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(ran["target"], json!("planted"));
    assert_eq!(ran["inputs"], json!([0, 2_000]));
    let failure = &ran["failures"][0];
    let number = failure["input"].to_string();
    let by_number = fuzz(&["replay", "planted", "--input", &number]);
    assert_eq!(by_number.status.code(), Some(5), "{}", text(&by_number.stdout));
    assert!(text(&by_number.stdout).contains("FAILED: planted: the input begins with 42"));
    assert!(text(&by_number.stderr).contains("fuzz/src/target.rs"), "where it panicked");
    let people = fuzz(&["run", "planted", "--inputs", "2000"]);
    let said = text(&people.stdout);
    assert!(said.contains(&format!("fairway-fuzz replay planted --input {number}\n")), "{said}");

    let digits = failure["bytes"].as_str().expect("hexadecimal digits").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(text(pair), 16).expect("two digits");
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted-input");
    fs::write(&file, bytes).expect("a writable target folder");
    let file = file.display().to_string();
    assert_eq!(fuzz(&["replay", "planted", &file]).status.code(), Some(5));
    assert_eq!(fuzz(&["replay", "wire_decode", &file]).status.code(), Some(0));
    let missing = fuzz(&["replay", "planted", "/nowhere/input"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("expected an input of planted"));
}
