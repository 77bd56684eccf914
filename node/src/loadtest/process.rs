//! A node's process, as the test sees it: orders in, answers out, and what the system says of its memory.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::types::{Address, Lsn};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::LoadError;
use super::order::{Answer, Order};
use crate::metrics;

/// Alice, Bob or the hub. Dropped, its process is killed.
pub struct Process {
    pub name: &'static str,
    pub address: Address,
    pub listens_at: SocketAddr,
    watched_at: SocketAddr,
    /// From the first instruction until it took commands, in microseconds.
    pub started_us: u64,
    /// What its log held.
    pub lsn: Lsn,
    pub data_dir: PathBuf,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// Where a node's files are, and whom it dials.
pub struct Place<'a> {
    pub name: &'static str,
    /// Of the whole test.
    pub directory: &'a Path,
    /// The binary.
    pub program: &'a Path,
    pub peers: Vec<(Address, SocketAddr)>,
    /// Most channels that it may have with one peer.
    pub channels_max: u32,
}

impl Place<'_> {
    /// The file of its key.
    pub fn key(&self) -> PathBuf {
        self.directory.join(self.name).with_extension("key")
    }

    fn config(&self) -> Result<PathBuf, LoadError> {
        let (at, key) = (self.directory.join(self.name), self.key());
        let text = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        let most = u64::from(self.channels_max).saturating_mul(4).max(4_096);
        let mut config = format!(
            "data_dir = {}\np2p_listen = \"127.0.0.1:0\"\nmetrics_port = 0\nlog_level = \"warn\"\n\
             keys.channel_file = {}\nrpc.http = false\n\
             chain = {{ kind = \"development\", socket = {} }}\n\
             policy = {{ channels_per_peer_max = {most}, objectives_max = {most}, guarantees_max = {most}, \
             virtuals_per_payer_max = {most}, unbacked_per_payer_max = {most}, unbacked_max = {most} }}\n",
            text(&at),
            text(&key),
            text(&self.directory.join(SOCKET)),
        );
        for (address, peer_at) in &self.peers {
            config += &format!("[[peers]]\naddress = \"{address}\"\nat = \"{peer_at}\"\n");
        }
        let path = at.with_extension("toml");
        fs::write(&path, config).map_err(LoadError::file(&path))?;
        Ok(path)
    }

    /// Starts the node, for the first time or again.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn start(&self) -> Result<Process, LoadError> {
        let config = self.config()?;
        let log = self.directory.join(self.name).with_extension("log");
        let errors = fs::File::options().create(true).append(true).open(&log);
        let mut child = Command::new(self.program)
            .arg("loadtest-party")
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.map_err(LoadError::file(&log))?)
            .kill_on_drop(true)
            .spawn()
            .map_err(LoadError::file(self.program))?;
        let orders = child.stdin.take().expect("it is piped");
        let out = child.stdout.take().expect("it is piped");
        let mut answers = BufReader::new(out).lines();
        let data_dir = self.directory.join(self.name);
        match hear(self.name, &mut answers).await? {
            Answer::Ready { address, listens_at, watched_at, took_us, lsn } => Ok(Process {
                name: self.name,
                address,
                listens_at,
                watched_at,
                started_us: took_us,
                lsn,
                data_dir,
                child,
                orders,
                answers,
            }),
            other => Err(LoadError::unexpected(self.name, &other)),
        }
    }
}

impl Process {
    /// Gives an order, and waits for the answer.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn ask(&mut self, order: &Order) -> Result<Answer, LoadError> {
        let line = serde_json::to_string(order).expect("plain data has a JSON form") + "\n";
        let gone = |source| LoadError::Gone { who: self.name, source };
        self.orders.write_all(line.as_bytes()).await.map_err(gone)?;
        hear(self.name, &mut self.answers).await
    }

    /// Stops it in order; how long that took, in microseconds.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn stop(mut self) -> Result<u64, LoadError> {
        let answer = self.ask(&Order::Stop).await?;
        let Answer::Stopped { took_us } = answer else {
            return Err(LoadError::unexpected(self.name, &answer));
        };
        self.child.wait().await.map_err(|source| LoadError::Gone { who: self.name, source })?;
        Ok(took_us)
    }

    /// Bytes of its memory that are resident; `None` where the system does not say.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1_024)
    }

    /// How many series its metrics have.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn series(&self) -> Result<usize, LoadError> {
        let text = metrics::client::scrape(&self.watched_at.to_string()).await;
        let text = text.map_err(|why| LoadError::Metrics { who: self.name, why })?;
        Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count())
    }
}

async fn hear(
    who: &'static str,
    answers: &mut Lines<BufReader<ChildStdout>>,
) -> Result<Answer, LoadError> {
    let line = timeout(PATIENCE, answers.next_line()).await;
    let line = line.map_err(|_| LoadError::Silent { who })?;
    let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let line = line.and_then(|l| l.ok_or_else(gone));
    let line = line.map_err(|source| LoadError::Gone { who, source })?;
    match serde_json::from_str(&line) {
        Ok(Answer::Failed { why }) => Err(LoadError::Failed { who, why }),
        Ok(answer) => Ok(answer),
        Err(_) => Err(LoadError::Failed { who, why: format!("it said {line:?}") }),
    }
}

/// A new key in plain text, and its address: it holds money that is worth nothing.
///
/// # Errors
/// [`LoadError`].
pub fn fresh_key(path: &Path) -> Result<Address, LoadError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let (key, address) = loop {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        // All but one in 2^128 draws are keys.
        if let Ok(secret) = SecretKey::new(key, Crypto::Real) {
            break (key, secret.address());
        }
    };
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(LoadError::file(path))?;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{digits}").map_err(LoadError::file(path))?;
    Ok(address)
}

/// Of the development chain, in the test's directory.
pub const SOCKET: &str = "chain.sock";
/// A minute more than a node has for an order.
const PATIENCE: Duration = Duration::from_secs(660);
