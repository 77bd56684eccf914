//! `fairway run` and the command line: what is refused, with which words and which exit code, and how a node stops.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A directory with a key and a good configuration.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        let key = home.path().join("key");
        fs::write(&key, "42".repeat(32)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        home.configure("kind = \"development\"");
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn configure(&self, chain: &str) {
        let at = self.path().display();
        let text = format!(
            "data_dir = \"{at}/data\"\np2p_listen = \"127.0.0.1:0\"\nmetrics_port = 0\n[keys]\nchannel_file = \"{at}/key\"\n[rpc]\nlisten = \"127.0.0.1:0\"\n[chain]\n{chain}\n"
        );
        fs::write(self.path().join("fairway.toml"), text).unwrap();
    }

    fn run(&self) -> Child {
        self.run_with(&[])
    }

    fn run_with(&self, flags: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        // Whoever runs the tests may have some.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAIRWAY_")) {
            command.env_remove(name);
        }
        command
            .args(["run", "--config", "fairway.toml"])
            .args(flags)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a node until it listens; gives it, what it says from then on, and where it listens.
    fn listening(&self) -> (Child, impl Iterator<Item = String>, String) {
        let mut node = self.run();
        let mut said = BufReader::new(node.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = said.find(|line| line.contains("listens at")).expect("the node starts");
        assert!(!line.contains(&"42".repeat(4)), "the key was printed: {line}");
        let at = line.rsplit(' ').next().unwrap().to_string();
        (node, said, at)
    }

    /// Runs a node that must not start; gives what it said, without the directory.
    fn refused(&self) -> String {
        self.refused_with(&[])
    }

    fn refused_with(&self, flags: &[&str]) -> String {
        let output = self.run_with(flags).wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        text.replace(&self.path().display().to_string(), "HOME")
    }
}

#[test]
fn a_chain_without_an_endpoint_is_refused_plainly() {
    let home = Home::new();
    home.configure("chain_id = 1");
    assert_eq!(
        home.refused(),
        "fairway: fairway.toml: rpc_url: is missing; expected an endpoint, or chain.kind = \"development\"\n"
    );
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = Home::new();
    fs::set_permissions(home.path().join("key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        home.refused(),
        "fairway: HOME/key: other users can read this key; run: chmod 600 on it\n"
    );
}

#[test]
fn a_missing_configuration_is_refused() {
    let home = Home::new();
    fs::remove_file(home.path().join("fairway.toml")).unwrap();
    assert_eq!(
        home.refused(),
        "fairway: fairway.toml: cannot read this file: No such file or directory (os error 2)\n"
    );
}

/// Goal: a node runs until it is told to stop, holds its directory, and its development chain ends with it.
/// Method: waits for the line that says so, then for the process; nothing sleeps.
#[test]
fn a_node_runs_until_a_signal_and_its_chain_ends_with_it() {
    let home = Home::new();
    let (mut node, mut said, _) = home.listening();

    let data = home.path().join("data");
    let in_use = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["events", "verify"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(in_use.status.code(), Some(1));
    let complaint = String::from_utf8(in_use.stderr).unwrap();
    assert!(complaint.contains("a node is using this data directory"), "{complaint}");

    eventually("its first batch", || data.join("000001.log").exists().then_some(()));
    signal("TERM", &node);
    let status = eventually("the node's end", || node.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(said.any(|line| line == "fairway: stopping; a second signal ends it at once"));
    assert_eq!(findings(&data), serde_json::json!([]), "it was not in the middle of a write");

    let told = home.refused();
    assert!(told.contains("belongs to an earlier development chain"), "{told}");
}

fn signal(name: &str, node: &Child) {
    let id = node.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

/// Its hash chain holds; gives what has to be mended.
fn findings(data: &Path) -> serde_json::Value {
    let verified = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["events", "verify", "--json"])
        .arg(data)
        .output()
        .unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let found: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_ne!(found["events"], 0);
    found["findings"].clone()
}

/// Goal: the log is whole however the process ends. Method: the kernel ends it without a word, after its first batch.
#[test]
fn a_killed_node_leaves_a_whole_log() {
    let home = Home::new();
    let (mut node, _said, _) = home.listening();
    let data = home.path().join("data");
    eventually("its first batch", || data.join("000001.log").exists().then_some(()));
    node.kill().unwrap();
    node.wait().unwrap();
    // What was being written is not of the log yet, and may have to be cut.
    findings(&data);
}

/// Goal: who asks twice does not wait. Method: both signals come at once, because the process is stopped while they are sent; it
/// finds the second when it begins with the first.
#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let (mut node, _said, _) = home.listening();
    for name in ["STOP", "TERM", "INT", "CONT"] {
        signal(name, &node);
    }
    let code = eventually("the node's end", || node.try_wait().unwrap()).code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}

/// Method: a node runs; another wants its port, then its data directory.
#[test]
fn a_port_and_a_data_directory_belong_to_one_node() {
    let home = Home::new();
    let (mut node, _said, at) = home.listening();
    let elsewhere = home.path().join("other").display().to_string();
    let told = home.refused_with(&["--p2p-listen", &at, "--data-dir", &elsewhere]);
    assert_eq!(
        told.lines().last().unwrap(),
        format!("fairway: p2p_listen: cannot listen at {at}: Address already in use (os error 98)")
    );
    assert_eq!(
        home.refused_with(&["--p2p-listen", "127.0.0.1:0"]),
        "fairway: HOME/data: another node is using this data directory; stop it, or name another directory\n"
    );
    node.kill().unwrap();
    node.wait().unwrap();
}

/// Waits until another process has done something; fails the test after ten seconds.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("waited too long for {what}");
}

#[test]
fn wrong_usage_exits_with_two_and_help_explains_the_codes() {
    let fairway = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_fairway")).args(arguments).output().unwrap()
    };
    assert_eq!(fairway(&["devnet", "--block-time", "200"]).status.code(), Some(2));
    assert_eq!(fairway(&["dance"]).status.code(), Some(2));
    let help = fairway(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes:"));
    let devnet = String::from_utf8(fairway(&["devnet", "--help"]).stdout).unwrap();
    for part in ["DEVELOPMENT CHAIN", "Examples:", "Exit codes:"] {
        assert!(devnet.contains(part), "{devnet}");
    }
}
