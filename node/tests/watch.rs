//! A running node, watched from outside: metrics and health over HTTP, `fairway health`, the log for people.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

/// A node on a development chain; ended by its id.
struct Node {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    at: String,
}

const KEY: &str = "42";

fn configure(home: &Path, more: &str, sections: &str) {
    let key = home.join("key");
    fs::write(&key, KEY.repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let at = home.display();
    let text = format!(
        "data_dir = \"{at}/data\"\np2p_listen = \"127.0.0.1:0\"\n{more}\n[keys]\nchannel_file = \"{at}/key\"\n[rpc]\nlisten = \"127.0.0.1:0\"\n[chain]\nkind = \"development\"\n{sections}\n"
    );
    fs::write(home.join("fairway.toml"), text).unwrap();
}

impl Node {
    fn run(home: &Path) -> Node {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fairway"))
            .args(["run", "--config", "fairway.toml"])
            .current_dir(home)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut node = Node { child, said, at: String::new() };
        let line = node.says("metrics and health at http://");
        node.at = line.rsplit_once("http://").unwrap().1.to_string();
        node
    }

    fn says(&mut self, what: &str) -> String {
        let mut lines = self.said.by_ref().map_while(Result::ok);
        lines.find(|line| line.contains(what)).unwrap_or_else(|| panic!("it never said {what:?}"))
    }

    /// Status line, headers, body.
    fn get(&self, path: &str) -> (String, String, String) {
        let mut stream = TcpStream::connect(&self.at).unwrap();
        let host = &self.at;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (status, headers) = head.split_once("\r\n").unwrap();
        (status.to_string(), headers.to_lowercase(), body.to_string())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn stop(mut self) -> Vec<String> {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.said.by_ref().map_while(Result::ok).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
    }
}

fn health(at: &str) -> Output {
    let url = format!("http://{at}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.args(["health", "--url", &url, "--timeout", "20s"]).output().unwrap()
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

/// Goal: whoever watches a node finds what they expect at the paths that they know, and a container's health check works.
/// Method: a node on a development chain is asked until it has seen a block; then it is stopped.
#[test]
fn metrics_and_health_are_served() {
    let home = tempfile::tempdir().unwrap();
    configure(home.path(), "metrics_port = 0", "");
    let node = Node::run(home.path());
    assert!(node.at.starts_with("127.0.0.1:"), "{}", node.at);

    let ready = eventually("readiness", || {
        let (status, _, body) = node.get("/readyz");
        (status == "HTTP/1.1 200 OK").then_some(body)
    });
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["ready"], true);
    let names: Vec<&str> =
        ready["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["replay", "log", "chain", "p2p", "disk", "signer", "stop"]);

    let (status, headers, text) = node.get("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("content-type: text/plain; version=0.0.4"), "{headers}");
    for line in [
        "# TYPE channels_created counter",
        "channels_created 0",
        "messages_sent 0",
        "signatures_verified 0",
        "# TYPE derivation_duration histogram",
        "# TYPE event_log_size gauge",
        "fairway_ready 1",
        "fairway_startup_phase{phase=\"running\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
    }
    let (status, _, body) = node.get("/livez");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", "{\"live\":true,\"reason\":null}")
    );
    let (status, _, body) = node.get("/startupz");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains("\"phase\":\"running\""), "{body}");
    assert_eq!(node.get("/secrets").0, "HTTP/1.1 404 Not Found");

    let good = health(&node.at);
    assert_eq!(good.status.code(), Some(0));
    assert!(String::from_utf8(good.stdout).unwrap().contains("\"ready\":true"));
    let at = node.at.clone();
    node.stop();
    let gone = health(&at);
    assert_eq!(gone.status.code(), Some(1));
    let complaint = String::from_utf8(gone.stderr).unwrap();
    assert!(complaint.contains("does a node run there"), "{complaint}");
}

/// Goal: lines go to the file with their level in capitals, go on after the file was moved away, and hold no secret.
#[test]
fn the_log_for_people_is_kept_and_opened_anew() {
    let home = tempfile::tempdir().unwrap();
    let sections = "[log]\nformat = \"json\"\nfile = true\n";
    configure(home.path(), "metrics_port = 0\nlog_level = \"trace\"", sections);
    let mut node = Node::run(home.path());
    let path = home.path().join("data/logs/node.log");
    let opened = fs::read_to_string(&path).unwrap();
    let line = opened.lines().find(|l| l.contains("the log is open")).expect("the start is told");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["lsn"]), (&"INFO".into(), &0.into()));

    let moved = home.path().join("data/logs/moved");
    fs::rename(&path, &moved).unwrap();
    node.signal("-HUP");
    node.says("the log for people is opened anew");
    let told =
        eventually("the new file", || fs::read_to_string(&path).ok().filter(|t| !t.is_empty()));
    assert!(told.contains("opened anew"), "{told}");
    let stderr = node.stop().join("\n");
    for text in [opened, told, stderr, fs::read_to_string(&moved).unwrap()] {
        assert!(!text.contains(&KEY.repeat(4)), "the key was told: {text}");
    }
}

#[test]
fn a_port_that_is_taken_is_refused_plainly() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    configure(home.path(), &format!("metrics_port = {port}"), "");
    let output = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["run", "--config", "fairway.toml"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "fairway: metrics_port: cannot listen at 127.0.0.1:{port}: Address already in use (os error 98); name another port, or 0 for any\n"
    );
    assert_eq!(told, expected);
}
