//! `fairway config`: what it prints, and that it judges as `run` does.

use std::fs;
use std::process::{Command, Output};

fn fairway(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    // Whoever runs the tests may have some.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAIRWAY_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn show_names_what_set_each_key_and_hides_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fairway.toml");
    fs::write(&file, "data_dir = \"/d\"\nrpc_url = \"http://a.example/s3cret\"\n").unwrap();
    let file = file.to_str().unwrap();
    let shown = fairway(
        &["config", "show", "--config", file, "--metrics-port", "9100", "--set", "chain.quorum=1"],
        &[("FAIRWAY_LOG_LEVEL", "debug")],
    );
    let text = stdout(&shown);
    assert_eq!(shown.status.code(), Some(0));
    assert!(!text.contains("s3cret"), "{text}");
    let words = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(words("data_dir"), ["data_dir", "\"/d\"", &format!("{file}:1")]);
    assert_eq!(words("rpc_url"), ["rpc_url", "\"http://a.example/…\"", &format!("{file}:2")]);
    assert_eq!(words("log_level"), ["log_level", "\"debug\"", "FAIRWAY_LOG_LEVEL"]);
    assert_eq!(words("metrics_port"), ["metrics_port", "9100", "--metrics-port"]);
    assert_eq!(words("chain.quorum"), ["chain.quorum", "1", "--set"]);
    assert_eq!(words("chain.confirmations"), ["chain.confirmations", "12", "default"]);
    assert_eq!(words("keys.gas_file"), ["keys.gas_file", "\"/d/keys/gas.json\"", "default"]);

    let json = fairway(&["config", "show", "--json"], &[("FAIRWAY_CONFIG", file)]);
    let settings: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let of = |key: &str| settings.as_array().unwrap().iter().find(|s| s["key"] == key).unwrap();
    assert_eq!(of("rpc_url")["value"], "http://a.example/…");
    assert_eq!(of("chain.start_block")["value"], serde_json::Value::Null);
}

#[test]
fn check_and_run_refuse_alike() {
    let flags = ["--data-dir", "/d", "--rpc-url", "ftp://a"];
    let told = |command: &[&str]| {
        let output = fairway(&[command, &flags[..]].concat(), &[]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        told(&["config", "check"]),
        "fairway: --rpc-url: rpc_url: expected http:// or https://, found ftp://\n"
    );
    assert_eq!(told(&["run"]), told(&["config", "check"]));
    let good = ["config", "check", "--data-dir", "/d", "--rpc-url", "http://a"];
    let good = fairway(&good, &[]);
    assert_eq!(stdout(&good), "the configuration is good\n");
}

#[test]
fn the_sample_becomes_a_configuration_with_what_is_required() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fairway.toml");
    let sample = stdout(&fairway(&["config", "sample"], &[]));
    let required = sample.replace("#data_dir =    # must be set", "data_dir = \"/d\"");
    assert_ne!(sample, required);
    fs::write(&file, required.replace("#kind =", "kind = \"development\" #")).unwrap();
    let checked = fairway(&["config", "check", "--json", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(told, serde_json::json!({ "ok": true, "notes": [] }));
}
