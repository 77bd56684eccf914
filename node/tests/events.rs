//! Goal: what `fairway events` says of a log is so, and what differs is found. Method: the real binary over the kept log of a devnet's
//! payee and over its kept export; then over logs that end earlier, lack an event or have the same events in other batches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fairway_core::event::Event;
use fairway_core::log::{self, FileName, Files, LogTail, Payload};
use fairway_core::types::Timestamp;
use serde_json::Value;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/export").join(name)
}

fn fairway(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway")).arg("events").args(words).output().unwrap()
}

/// What it said on stdout; on stderr where it failed.
fn said(words: &[&str], code: i32) -> String {
    let output = fairway(words);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    if text.is_empty() { errors } else { text }
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&said(words, 0)).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The events of the kept log.
fn kept() -> Vec<(Timestamp, Event)> {
    let mut files = Files::new();
    for entry in fs::read_dir(corpus("log")).unwrap() {
        let path = entry.unwrap().path();
        let name = FileName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        files.insert(name, fs::read(path).unwrap());
    }
    let opened = log::open(&files).unwrap();
    let all = opened.batches.iter().flat_map(|batch| log::events(batch));
    all.map(|event| event.map(|(at, recorded)| (at, recorded.event)).unwrap()).collect()
}

/// A log of these events, `each` to a batch.
fn write(directory: &Path, events: &[(Timestamp, Event)], each: usize) {
    fs::create_dir(directory).unwrap();
    let mut tail = LogTail::fresh();
    let mut segment = Vec::new();
    for events in events.chunks(each) {
        let mut payload = Payload::default();
        events.iter().for_each(|(at, event)| payload.push(*at, event));
        let (time, count, bytes) = payload.take();
        let append = tail.append(time, count, bytes);
        let write = append.writes.iter().find(|w| w.file == FileName::Segment(1)).unwrap();
        segment.extend_from_slice(&write.bytes);
        tail.synced(append.end);
    }
    fs::write(directory.join("000001.log"), segment).unwrap();
}

#[test]
fn an_event_is_shown_in_full() {
    let log = corpus("log");
    let lines = said(&["list", "--json", text(&log)], 0);
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let signed = lines.iter().find(|line| line["event"].get("StateSigned").is_some()).unwrap();
    let last = lines.last().unwrap();
    for line in [&lines[0], signed, last] {
        let lsn = line["lsn"].to_string();
        let shown = json(&["show", "--json", text(&log), &lsn]);
        let event = &shown["events"][0];
        for field in ["lsn", "time_ms", "event"] {
            assert_eq!(event[field], line[field], "{field} of {lsn}");
        }
        assert_eq!(shown["batch"]["file"], "000001.log");
        assert_eq!(shown["end"], last["lsn"]);
    }
    let lsn = signed["lsn"].to_string();
    let batch = json(&["show", "--json", "--batch", text(&log), &lsn]);
    let places = |key: &str| batch["batch"][key].as_u64().unwrap();
    let (first, end) = (places("first"), places("last"));
    assert_eq!(batch["events"].as_array().unwrap().len() as u64, end - first + 1);

    let node = json(&["replay", "--json", text(&log)])["node"].as_str().unwrap().to_string();
    let event = &json(&["show", "--json", text(&log), &lsn])["events"][0];
    assert_eq!(event["signers"], serde_json::json!([node]));
    let channel = event["channel"].as_str().unwrap();
    let told = said(&["show", text(&log), &lsn], 0);
    for part in [
        &format!("event {lsn} at "),
        "StateSigned",
        &format!("of channel {channel}"),
        "signed by 0x",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let about = said(&["list", "--json", "--channel", channel, text(&log)], 0);
    assert!(about.lines().all(|line| line.contains(channel)));
    let count = about.lines().count();
    assert!(count > 1 && count < lines.len(), "{count} of {}", lines.len());

    for lsn in [0, lines.len() + 1] {
        let told = said(&["show", text(&log), &lsn.to_string()], 1);
        let expected = format!("there is no event {lsn}: the log has {} events", lines.len());
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn a_log_is_folded_to_any_event() {
    let (log, export) = (corpus("log"), corpus("golden.jsonl"));
    let whole = json(&["replay", "--json", text(&log)]);
    let end = whole["end"].as_u64().unwrap();
    assert_eq!(whole["lsn"], end);
    assert_eq!(json(&["replay", "--json", text(&export)]), whole, "an export is the whole log");
    assert_eq!(json(&["replay", "--json", "--until", &end.to_string(), text(&log)]), whole);

    // What a backup says of the same log, by code of its own.
    let home = tempfile::tempdir().unwrap();
    let (copy, backups) = (home.path().join("node"), home.path().join("backups"));
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&log).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let made = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["backup", "create", "--json", "--to", text(&backups), text(&copy)])
        .output()
        .unwrap();
    let manifest: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&manifest["state"], &manifest["head"]), (&whole["digest"], &whole["head"]));

    let mut digests = std::collections::BTreeSet::new();
    for until in [0, 1, 2, end / 2, end - 1, end] {
        let until = until.to_string();
        let there = json(&["replay", "--json", "--until", &until, text(&log)]);
        assert_eq!(there["lsn"].to_string(), until);
        assert!(digests.insert(there["digest"].to_string()), "every event changes the state");
        let state = said(&["replay", "--state", "--json", "--until", &until, text(&log)], 0);
        assert_eq!(
            said(&["replay", "--state", "--json", "--until", &until, text(&export)], 0),
            state
        );
        let state: Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["lsn"].to_string(), until);
        if until != "0" {
            let batch = &json(&["show", "--json", text(&log), &until])["batch"];
            let is_end = batch["last"].as_u64() == until.parse().ok();
            let head = if is_end { &batch["chain"] } else { &Value::Null };
            assert_eq!(there["head"], *head, "at {until}");
        }
    }
    let told = said(&["replay", text(&log)], 0);
    let digest = whole["digest"].as_str().unwrap();
    for part in [&format!("event {end} of {end}"), digest, "virtual channels", "on chain "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = said(&["replay", "--until", &(end + 1).to_string(), text(&log)], 1);
    assert!(told.contains("there is no event"), "{told}");
}

#[test]
fn logs_are_compared() {
    let (log, export) = (corpus("log"), corpus("golden.jsonl"));
    let told = said(&["diff", text(&log), text(&export)], 0);
    assert!(told.ends_with("The same, event by event.\n"), "{told}");

    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let (events, middle) = (kept(), kept().len() / 2);
    write(&at("shorter"), &events[..middle], 1);
    let told = said(&["diff", "--context", "2", text(&at("shorter")), text(&log)], 1);
    assert!(told.contains(&format!("The first {middle} events are the same.")), "{told}");
    assert!(told.contains("first  > ends here"), "{told}");
    assert!(told.contains("The first log ends where the second goes on."), "{told}");
    for (start, count) in [("         ", 2), ("second > ", 1), ("second   ", 2)] {
        assert_eq!(
            told.lines().filter(|l| l.starts_with(start)).count(),
            count,
            "{start:?}: {told}"
        );
    }

    let mut fewer = events.clone();
    let gone = fewer.remove(middle);
    write(&at("fewer"), &fewer, 3);
    let output = fairway(&["diff", "--json", text(&log), text(&at("fewer"))]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parting = &found["parting"];
    assert_eq!(parting["at"], middle as u64 + 1);
    assert_eq!(parting["first"][0]["event"], serde_json::to_value(&gone.1).unwrap());
    assert_eq!(parting["later_in_second"], Value::Null);
    assert_eq!(parting["later_in_first"], middle as u64 + 2);

    write(&at("rebatched"), &events, events.len());
    let told = said(&["diff", text(&log), text(&at("rebatched"))], 1);
    assert!(told.contains("they stand in other batches"), "{told}");
    said(&["diff", "--ignore-times", text(&log), text(&at("rebatched"))], 0);

    let told = said(&["diff", text(&log), text(&at("nothing"))], 2);
    assert!(told.contains("nothing: cannot"), "{told}");
    fs::write(at("text"), "words\n").unwrap();
    let told = said(&["diff", text(&at("text")), text(&log)], 2);
    assert!(told.contains("text: line 1 is no line of an export"), "{told}");
}
