//! Strangers at the doors of a running node, over real sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A node on a development chain; ended by its id.
struct Node {
    child: Child,
    /// Read by a thread of its own: a node whose output nobody takes would stand still.
    said: Receiver<String>,
    data_dir: PathBuf,
}

impl Node {
    fn run(home: &Path) -> Node {
        let key = home.join("key");
        fs::write(&key, "42".repeat(32)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let at = home.display();
        let text = format!(
            "data_dir = \"{at}/data\"\np2p_listen = \"127.0.0.1:0\"\nmetrics_port = 0\n[keys]\nchannel_file = \"{at}/key\"\n[rpc]\nlisten = \"127.0.0.1:0\"\nconnections_max = {PLACES}\nclient_timeout_ms = 300\n[chain]\nkind = \"development\"\n"
        );
        fs::write(home.join("fairway.toml"), text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fairway"))
            .args(["run", "--config", "fairway.toml"])
            .current_dir(home)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Node { child, said, data_dir: home.join("data") }
    }

    /// The last word of the line that says this.
    fn says(&self, what: &str) -> String {
        let mut heard = Vec::new();
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            if line.contains(what) {
                return line.rsplit([' ', '/']).next().unwrap().to_string();
            }
            heard.push(line);
        }
        panic!("it did not say {what:?}: {heard:#?}");
    }

    /// A command over the unix socket.
    fn asked(&self, command: &str) -> Output {
        let mut fairway = Command::new(env!("CARGO_BIN_EXE_fairway"));
        fairway.arg(command).args(["--json", "--data-dir"]).arg(&self.data_dir).output().unwrap()
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
    }
}

/// Goal: frames and bodies of ten megabytes, a crowd that says nothing, and requests that come drop by drop are turned away, counted and
/// keep no place; meanwhile the node is ready and answers, and its log is whole afterwards. Method: all of them at one node, over its
/// real sockets.
#[test]
fn strangers_at_its_doors_take_nothing_from_a_node() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::run(home.path());
    let p2p = node.says("listens at");
    let metrics = node.says("metrics and health at");
    let rpc = node.says("rpc listens at 127");
    node.says("rpc.sock");

    // A frame of ten megabytes, by its length and in full.
    let mut frame = (10u32 << 20).to_be_bytes().to_vec();
    frame.resize(10 << 20, 0xa5);
    assert_eq!(heard_after(&p2p, &frame), "", "strangers are told nothing");
    let head = "POST /rpc HTTP/1.1\r\nhost: x\r\nauthorization: Bearer fairway_0\r\n";
    let body = format!("{head}content-length: {}\r\n\r\n", 10 << 20);
    let refused = heard_after(&rpc, &[body.as_bytes(), &frame].concat());
    assert!(refused.starts_with("HTTP/1.1 401"), "without a token no body is read: {refused}");

    // More than may shake hands, more than may ask, and they say nothing, or too little.
    let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&p2p).unwrap()).collect();
    let mut slow: Vec<TcpStream> = (0..PLACES).map(|_| TcpStream::connect(&rpc).unwrap()).collect();
    for (stream, part) in slow.iter_mut().zip(["P", "POST /rpc", head].iter().cycle()) {
        stream.write_all(part.as_bytes()).unwrap();
    }
    let ready = Command::new(env!("CARGO_BIN_EXE_fairway"))
        .args(["health", "--timeout", "20s", "--url", &format!("http://{metrics}")])
        .output()
        .unwrap();
    let told = String::from_utf8(ready.stdout).unwrap();
    assert!(told.contains("\"name\":\"p2p\",\"ok\":true"), "{told}");
    let status = node.asked("status");
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It is disconnected, with or without a word.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let health = heard_after(&rpc, b"GET /api/v1/health HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200 OK"), "their places are free: {health}");
    drop(crowd);

    let counted =
        heard_after(&metrics, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let of = |series: &str| -> f64 {
        let line = counted.lines().find(|l| l.starts_with(series));
        line.unwrap_or_else(|| panic!("no {series}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(of("fairway_p2p_handshakes_total{result=\"garbage\"}") >= 1.0);
    assert!(of("fairway_p2p_handshakes_total{result=\"dropped\"}") >= 36.0, "64 may shake hands");
    assert_eq!(of("fairway_p2p_peers_connected"), 0.0);
    let data_dir = node.data_dir.clone();
    node.stop();
    let mut verify = Command::new(env!("CARGO_BIN_EXE_fairway"));
    let verified = verify.args(["events", "verify", "--json"]).arg(data_dir).output().unwrap();
    let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    let nothing = serde_json::json!([]);
    assert_eq!((&verified["bad"], &verified["findings"]), (&nothing, &nothing), "{verified}");
}

/// Sends as much as the other side takes; what it says until it hangs up.
fn heard_after(at: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // It may hang up in the middle.
    let _ = stream.write_all(bytes);
    let mut heard = Vec::new();
    // What was heard before a reset counts.
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// Connections that the RPC serves at once.
const PLACES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(30);
