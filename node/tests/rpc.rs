//! `fairway run` and the commands that ask it, as processes: who finds whom, exit codes, and what is never printed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

/// A node that runs, and everything that it said so far.
struct Node {
    home: tempfile::TempDir,
    process: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
    /// Where its RPC listens.
    at: String,
}

impl Node {
    fn start() -> Node {
        let home = tempfile::tempdir().unwrap();
        configure(home.path(), "listen = \"127.0.0.1:0\"");
        let mut process = run(home.path()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut node = Node { home, process, lines, said: Vec::new(), at: String::new() };
        let listens = "fairway: rpc listens at 127";
        while !node.said.last().is_some_and(|line| line.starts_with(listens)) {
            let line = node.lines.next().expect("the node starts").unwrap();
            node.said.push(line);
        }
        node.at = node.said.last().unwrap().rsplit(' ').next().unwrap().to_string();
        // The unix socket is there before TCP.
        assert!(node.data_dir().join("rpc.sock").exists());
        node
    }

    fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Ends it; everything that it said.
    fn stop(mut self) -> String {
        let killed = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.said.extend(self.lines.map_while(Result::ok));
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        self.said.join("\n")
    }
}

fn configure(home: &Path, rpc: &str) {
    let key = home.join("key");
    fs::write(&key, "42".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let at = home.display();
    let text = format!(
        "data_dir = \"{at}/data\"\nkey_file = \"{at}/key\"\np2p_listen = \"127.0.0.1:0\"\nmetrics_port = 0\n[chain]\nkind = \"development\"\n[rpc]\n{rpc}\n"
    );
    fs::write(home.join("fairway.toml"), text).unwrap();
}

fn run(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.args(["run", "--config", "fairway.toml"]).current_dir(home).stderr(Stdio::piped());
    command
}

fn fairway(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.args(arguments).env_remove("FAIRWAY_DATA_DIR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Goal: both ways to a node work from a shell, a token can be made and revoked while it runs, and no secret is ever printed but by the
/// command that makes it. Method: one node, a dozen commands; everything that was said is searched.
#[test]
fn commands_find_a_node_and_no_secret_is_told() {
    let node = Node::start();
    let data = node.data_dir();
    let data = data.to_str().unwrap();
    let local = fairway(&["status", "--json", "--data-dir", data]);
    assert_eq!(local.status.code(), Some(0), "{}", text(&local.stderr));
    let status: serde_json::Value = serde_json::from_slice(&local.stdout).unwrap();
    assert_eq!(status["health"], "ok");

    let made = fairway(&["token", "create", "ci", "--scope", "read", "--data-dir", data]);
    let secret = text(&made.stdout);
    assert!(secret.starts_with("fairway_") && secret.len() == 8 + 64 + 1, "{secret}");
    let file = node.home.path().join("token");
    fs::write(&file, &secret).unwrap();
    let asking = |command: &[&str]| {
        let url = node.url();
        let file = file.to_str().unwrap();
        let mut arguments = command.to_vec();
        arguments.extend(["--rpc", &url, "--token-file", file]);
        fairway(&arguments)
    };
    let careless = asking(&["status"]);
    assert_eq!(careless.status.code(), Some(2), "others could read the token");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(asking(&["status"]).status.code(), Some(0));
    let channel = format!("0x{}", "11".repeat(32));
    let forbidden = asking(&["challenge", &channel]);
    assert_eq!(forbidden.status.code(), Some(1));
    assert!(text(&forbidden.stderr).contains("needs \"admin\""), "{}", text(&forbidden.stderr));
    let listed = fairway(&["token", "list", "--data-dir", data]);
    assert!(text(&listed.stdout).contains("ci    read   valid"), "{}", text(&listed.stdout));
    let revoked = fairway(&["token", "revoke", "ci", "--data-dir", data]);
    assert_eq!(revoked.status.code(), Some(0));
    let refused = asking(&["status"]);
    assert_eq!(refused.status.code(), Some(1));

    let nowhere = fairway(&["status"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("--data-dir"), "{}", text(&nowhere.stderr));
    let unknown = fairway(&["ledger", "show", &channel, "--data-dir", data]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(fairway(&["pay", "0x1", "5", "--data-dir", data]).status.code(), Some(2));

    let data_dir = node.data_dir();
    let home = node.home.path().to_path_buf();
    let mut told = String::new();
    for output in [&local, &careless, &forbidden, &listed, &revoked, &refused, &unknown] {
        told += &(text(&output.stdout) + &text(&output.stderr));
    }
    let bits = &secret.trim()["fairway_".len()..];
    let grant_key = fs::read(data_dir.join("rpc-grant-key")).unwrap();
    let kept = fs::read_to_string(data_dir.join("rpc-tokens.json")).unwrap();
    assert!(home.exists());
    told += &node.stop();
    let grant_key: String = grant_key.iter().map(|b| format!("{b:02x}")).collect();
    for secret in [bits, &grant_key, &"42".repeat(8)] {
        assert!(!told.contains(secret) && !kept.contains(secret));
    }
}

#[test]
fn a_node_that_has_gone_is_missed() {
    let node = Node::start();
    let data = node.data_dir();
    let home = tempfile::tempdir().unwrap();
    node.stop();
    let asked = fairway(&["status", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(asked.status.code(), Some(3), "{}", text(&asked.stderr));
    assert!(text(&asked.stderr).contains("is it running?"));
    let other = fairway(&["token", "list", "--json", "--data-dir", home.path().to_str().unwrap()]);
    assert_eq!(text(&other.stdout), "[]\n");
}

#[test]
fn what_would_expose_the_node_is_refused_at_the_start() {
    for (rpc, key) in [
        ("listen = \"0.0.0.0:0\"", "rpc.listen"),
        ("tls_cert = \"none.pem\"", "rpc.tls_cert"),
        ("origins = [\"wallet\"]", "rpc.origins"),
    ] {
        let home = tempfile::tempdir().unwrap();
        configure(home.path(), rpc);
        let output = run(home.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{rpc}");
        let told = text(&output.stderr);
        assert!(told.contains(key), "{told}");
        assert!(!home.path().join("data").exists(), "refused before anything was written");
    }
}
