//! A local chain with the real contracts, and endpoints that fail or lie, for tests of this crate and of the node.
//!
//! The chain is what `ci/devnet/up` starts: anvil, ended by its process id when [`Devnet`] is dropped. Needs npm the first time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::U256;
use alloy_sol_types::SolValue;
use fairway_core::types::{Address, FeePerGas};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::rpc::{Rpc, RpcFailure};
use crate::settings::{Finality, Limits, Settings, Url};
use crate::{GasKey, NITRO_CODE_HASH};

/// A chain of its own, with a folder for files. Ends when dropped.
#[derive(Debug)]
pub struct Devnet {
    dir: PathBuf,
    told: Told,
    rpc: Rpc,
}

#[derive(Debug, Deserialize)]
struct Told {
    chain: ToldChain,
    nodes: BTreeMap<String, Person>,
}

#[derive(Debug, Deserialize)]
struct ToldChain {
    rpc_url: String,
    ws_url: String,
    chain_id: u64,
    adjudicator: Address,
    consensus_app: Address,
    payment_app: Address,
}

/// One of the three who own money on the chain.
#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    /// Its address.
    pub address: Address,
    key: String,
    /// The configuration of its node.
    pub config: PathBuf,
}

impl Person {
    /// Its key: known to everybody.
    pub fn key(&self) -> [u8; 32] {
        let bytes = alloy_primitives::hex::decode(&self.key).expect("a key in hexadecimal digits");
        bytes.try_into().expect("a key of 32 bytes")
    }

    /// The same key, to pay gas with.
    pub fn gas_key(&self) -> GasKey {
        GasKey::new(self.key()).expect("a key of the curve")
    }
}

impl Devnet {
    /// Starts a chain that mines only when it is told to, with its files in `dir`.
    ///
    /// # Panics
    /// It does not start; the message has the script's words.
    pub fn up(dir: &Path) -> Devnet {
        let output = Command::new(script("up"))
            .args(["--json", "--port", "0", "--block-time", "0", "--dir"])
            .arg(dir)
            .output()
            .expect("ci/devnet/up can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ci/devnet/up failed: {errors}");
        let told: Told = serde_json::from_slice(&output.stdout).expect("devnet.json");
        let url = Url::http(&told.chain.rpc_url).expect("an address");
        let rpc = Rpc::new(&url, &Limits::default());
        Devnet { dir: dir.to_path_buf(), told, rpc }
    }

    /// The chain's HTTP address.
    pub fn url(&self) -> &str {
        &self.told.chain.rpc_url
    }

    /// `alice`, `bob` or `hub`.
    pub fn person(&self, name: &str) -> &Person {
        &self.told.nodes[name]
    }

    /// Settings for these endpoints, impatient: loopback answers in microseconds.
    pub fn settings(&self, endpoints: &[&str]) -> Settings {
        let chain = &self.told.chain;
        Settings {
            chain_id: chain.chain_id,
            adjudicator: chain.adjudicator,
            code_hash: Some(NITRO_CODE_HASH),
            consensus_app: chain.consensus_app,
            payment_app: chain.payment_app,
            endpoints: endpoints.iter().map(|e| Url::http(e).expect("an address")).collect(),
            hints: vec![Url::ws(&chain.ws_url).expect("an address")],
            quorum: Settings::majority(endpoints.len()),
            finality: Finality::Confirmations,
            start_block: Some(0),
            tip_min: FeePerGas(1_000_000),
            check_headers: true,
            limits: Limits {
                timeout: Duration::from_secs(5),
                backoff_min: Duration::from_millis(20),
                backoff_max: Duration::from_millis(200),
                ..Limits::default()
            },
        }
    }

    /// Asks anvil for anything.
    ///
    /// # Panics
    /// It refuses.
    pub async fn ask(&self, method: &'static str, params: Value) -> Value {
        self.rpc.ask(method, params).await.unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// Deploys a token, all of which belongs to `owner`. Mines a block.
    ///
    /// # Panics
    /// It cannot be deployed.
    pub async fn token(&self, owner: Address, supply: u64) -> Address {
        let installed = Command::new(script("install")).output().expect("ci/devnet/install runs");
        let installed = String::from_utf8(installed.stdout).expect("paths");
        let contracts = Path::new(installed.lines().nth(1).expect("the folder of the contracts"));
        let artefact =
            "node_modules/@openzeppelin/contracts/build/contracts/ERC20PresetFixedSupply.json";
        let artefact = std::fs::read(contracts.join(artefact)).expect("the token's artefact");
        let artefact: Value = serde_json::from_slice(&artefact).expect("JSON");
        let code = artefact["bytecode"].as_str().expect("bytecode");
        let made = ("Token".to_string(), "TOK".to_string(), U256::from(supply), owner);
        let data = format!("{code}{}", alloy_primitives::hex::encode(made.abi_encode_params()));
        let tx = json!([{ "from": owner, "data": data, "gas": "0x4c4b40" }]);
        let hash = self.ask("eth_sendTransaction", tx).await;
        self.mine().await;
        let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
        serde_json::from_value(receipt["contractAddress"].clone()).expect("a contract's address")
    }

    /// How much of a token somebody has.
    ///
    /// # Panics
    /// It is no token.
    pub async fn tokens_of(&self, token: Address, who: Address) -> U256 {
        let selector =
            alloy_primitives::hex::encode(&alloy_primitives::keccak256("balanceOf(address)")[..4]);
        let data = format!("0x{selector}{:0>64}", alloy_primitives::hex::encode(who));
        let word = self.ask("eth_call", json!([{ "to": token, "data": data }, "latest"])).await;
        word.as_str().and_then(|word| word.parse().ok()).expect("a balance")
    }

    /// From now on each block is a second of chain time after the one before, however fast they come.
    pub async fn one_second_a_block(&self) {
        self.ask("anvil_setBlockTimestampInterval", json!([1])).await;
    }

    /// Mines one block.
    pub async fn mine(&self) {
        self.ask("evm_mine", json!([])).await;
    }

    /// Replaces the last `depth` blocks by as many empty ones.
    pub async fn reorg(&self, depth: u64) {
        self.ask("anvil_reorg", json!([depth, []])).await;
    }

    /// Whether the chain still answers.
    pub async fn is_up(&self) -> bool {
        let answer: Result<Value, RpcFailure> = self.rpc.ask("eth_chainId", ()).await;
        answer.is_ok()
    }

    /// Mines a block after each pause until it is stopped: what the world does.
    pub fn mine_every(&self, pause: Duration) -> Miner {
        let rpc = self.rpc.clone();
        Miner(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            loop {
                ticks.tick().await;
                let _: Result<Value, RpcFailure> = rpc.ask("evm_mine", ()).await;
            }
        }))
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // By its process id; a chain that has ended is no error.
        let _ = Command::new(script("down")).arg("--dir").arg(&self.dir).output();
    }
}

/// Mines until dropped.
#[derive(Debug)]
pub struct Miner(JoinHandle<()>);

impl Drop for Miner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ci/devnet").join(name)
}

/// What an endpoint makes of the truth: gets a request and its answer, and gives what is told; `None` breaks the connection.
pub type Lie = Box<dyn Fn(&Value, Value) -> Option<Value> + Send>;

/// An endpoint in front of a chain that tells the truth until it is told to lie, and can be killed and restored.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    lie: Mutex<Option<Lie>>,
    upstream: String,
    client: reqwest::Client,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.upstream)
    }
}

impl Proxy {
    /// Starts one in front of `upstream`.
    pub async fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("bound");
        let (lie, upstream) = (Mutex::new(None), upstream.to_string());
        let shared = Arc::new(Shared { lie, upstream, client: reqwest::Client::new() });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Proxy { url: format!("http://{at}"), shared, task }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lies from now on.
    pub fn lie(&self, lie: impl Fn(&Value, Value) -> Option<Value> + Send + 'static) {
        *self.shared.lie.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(lie));
    }

    /// Answers nobody from now on.
    pub fn kill(&self) {
        self.lie(|_, _| None);
    }

    /// Tells the truth again.
    pub fn restore(&self) {
        *self.shared.lie.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let mut bytes = Vec::new();
    let body = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?;
        let length: usize = length.trim().parse().ok()?;
        if bytes.len() >= end + 4 + length {
            break bytes[end + 4..end + 4 + length].to_vec();
        }
    };
    let request: Value = serde_json::from_slice(&body).ok()?;
    let post = shared.client.post(&shared.upstream).header("content-type", "application/json");
    let answer = post.body(body).send().await.ok()?.bytes().await.ok()?;
    let answer: Value = serde_json::from_slice(&answer).ok()?;
    let told = {
        let lie = shared.lie.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*lie, request, answer) {
            (None, _, answer) => Some(answer),
            (Some(lie), Value::Array(requests), Value::Array(answers)) => {
                let pairs = requests.iter().zip(answers);
                pairs.map(|(q, a)| lie(q, a)).collect::<Option<Vec<_>>>().map(Value::Array)
            }
            (Some(lie), request, answer) => lie(&request, answer),
        }
    }?;
    let told = told.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        told.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(told.as_bytes()).await.ok()
}
