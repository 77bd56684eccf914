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
            "data_dir = \"{at}/data\"\nkey_file = \"{at}/key\"\np2p_listen = \"127.0.0.1:0\"\n[chain]\n{chain}\n[rpc]\nlisten = \"127.0.0.1:0\"\n"
        );
        fs::write(self.path().join("fairway.toml"), text).unwrap();
    }

    fn run(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_fairway"))
            .args(["run", "--config", "fairway.toml"])
            .current_dir(self.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a node that must not start; gives what it said, without the directory.
    fn refused(&self) -> String {
        let output = self.run().wait_with_output().unwrap();
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
    let mut node = home.run();
    let mut said = BufReader::new(node.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = said.find(|line| line.contains("listens at")).expect("the node starts");
    assert!(line.starts_with("fairway: node 0x"), "{line}");
    assert!(!line.contains(&"42".repeat(4)), "the key was printed: {line}");

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
    let killed = Command::new("kill").arg(node.id().to_string()).status().unwrap();
    assert!(killed.success());
    let status = eventually("the node's end", || node.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));

    let told = home.refused();
    assert!(told.contains("belongs to an earlier development chain"), "{told}");
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
