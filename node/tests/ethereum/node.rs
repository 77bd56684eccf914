//! A node's process on a real chain, and the commands that ask it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

/// The password of whatever keys these nodes have.
pub const WORD: &str = "correct horse battery";
/// Nothing here takes longer than seconds; a busy machine may stretch it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A node's process; ended by its id.
pub struct Node {
    child: Child,
    /// Read by a thread of its own: a node whose output nobody takes would stand still.
    said: Receiver<String>,
}

impl Node {
    /// `fairway run` with this configuration.
    pub fn run(config: &Path) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.args(["run", "--config"]).arg(config);
        Node::of(command)
    }

    /// Another command that becomes a node.
    pub fn of(mut command: Command) -> Node {
        let command = command.env("FAIRWAY_PASSWORD", WORD).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            // Whether anybody listens or not, the node must be able to speak.
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Node { child, said }
    }

    /// Reads on until it says this; gives the line.
    pub fn says(&mut self, what: &str) -> String {
        let mut heard = Vec::new();
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            if line.contains(what) {
                return line;
            }
            heard.push(line);
        }
        panic!("it did not say {what:?}: {heard:#?}");
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Ends it as the kernel ends a process: without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself; how, and its last words.
    pub fn ends(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.said.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
    }
}

/// What a node says that does not start.
pub fn refused(config: &Path) -> String {
    let fairway = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["run", "--config"])
        .arg(config)
        .env("FAIRWAY_PASSWORD", WORD)
        .output()
        .unwrap();
    assert_eq!(fairway.status.code(), Some(2));
    String::from_utf8(fairway.stderr).unwrap()
}

/// The data directory that a configuration names.
pub fn data_dir(config: &Path) -> PathBuf {
    let config: toml::Table = fs::read_to_string(config).unwrap().parse().unwrap();
    config["data_dir"].as_str().unwrap().into()
}

/// The value of a series at the metrics port of this configuration.
pub fn metric(config: &Path, series: &str) -> f64 {
    let file: toml::Table = fs::read_to_string(config).unwrap().parse().unwrap();
    let at = format!("127.0.0.1:{}", file["metrics_port"]);
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

/// A command for the node of this configuration.
pub fn command(config: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command.args(line.split(' ')).args(["--json", "--data-dir"]).arg(data_dir(config));
    command
}

/// Asks the node of this configuration by a command; what it printed.
pub fn fairway(config: &Path, line: &str) -> Value {
    let output = command(config, line).output().unwrap();
    answer(&output).unwrap_or_else(|errors| panic!("fairway {line}: {errors}"))
}

/// What a command printed, or what it complained of.
pub fn answer(output: &Output) -> Result<Value, String> {
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
