//! Alice, Irene (the hub) and Bob, each with a node and its RPC, on one development chain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_core::types::{Address, Amount};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::chain::ChainSetup;
use crate::devchain::{self, DevChain};
use crate::rpc::token::{Scope, Tokens};
use crate::rpc::value::parse_channel;
use crate::rpc::view::{Ledger, Virtual};
use crate::rpc::{Server, Settings, now_ms};
use crate::runtime::{NodeHandle, RunningNode, Setup};
use crate::tcp::AddressBook;

/// Everybody. Nodes end with it.
pub struct World {
    pub parties: Vec<Party>,
    _home: tempfile::TempDir,
}

/// One party.
pub struct Party {
    setup: Setup,
    at: SocketAddr,
    settings: Settings,
    node: Option<RunningNode>,
    server: Option<Server>,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl World {
    /// As many parties, with these settings.
    pub async fn start(count: usize, settings: Settings) -> World {
        let home = tempfile::tempdir().unwrap();
        let mut keys = Vec::new();
        let mut doors = Vec::new();
        for i in 0..count {
            let byte = u8::try_from(i + 1).unwrap();
            let key =
                fairway_core::nitro::SecretKey::new([byte; 32], fairway_core::nitro::Crypto::Real);
            keys.push(key.unwrap());
            doors.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let accounts = keys.iter().map(|key| (key.address(), Amount::ether(100))).collect();
        let chain = DevChain::start(Duration::from_millis(20), accounts);
        let at: Vec<SocketAddr> = doors.iter().map(|door| door.local_addr().unwrap()).collect();
        let book: BTreeMap<Address, SocketAddr> =
            keys.iter().map(|key| key.address()).zip(at.clone()).collect();
        let mut parties = Vec::new();
        for ((key, at), door) in keys.into_iter().zip(at).zip(doors) {
            let pins = devchain::pins(key.address());
            let name = format!("{:#x}", key.address());
            let setup = Setup {
                data_dir: home.path().join(&name[..10]),
                key,
                node_seed: [7; 32],
                pins,
                config: crate::devnet::node_config(20),
                transport: crate::devnet::transport_config(pins.chain_id, pins.adjudicator),
                peers: AddressBook(book.clone()),
                chain: ChainSetup::Development(chain.clone()),
                snapshots: crate::snapshots::Settings { every_events: 20 },
                metrics: crate::metrics::Metrics::new(),
            };
            let mut party =
                Party { setup, at, settings: settings.clone(), node: None, server: None };
            party.start_on(door).await;
            parties.push(party);
        }
        World { parties, _home: home }
    }

    /// One party alone.
    pub async fn alone(settings: Settings) -> World {
        World::start(1, settings).await
    }

    pub fn alice(&self) -> &Party {
        &self.parties[0]
    }

    pub fn irene(&self) -> &Party {
        &self.parties[1]
    }

    /// The last one.
    pub fn bob(&self) -> &Party {
        self.parties.last().unwrap()
    }
}

/// On loopback, at any port.
pub fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        challenge_duration_s: 20,
        ..Settings::default()
    }
}

impl Party {
    async fn start_on(&mut self, door: TcpListener) {
        let node = RunningNode::start(self.setup.clone(), door).await.unwrap();
        let (handle, settings) = (node.handle().clone(), self.settings.clone());
        self.server = Some(Server::start(handle, self.data_dir(), settings).await.unwrap());
        self.node = Some(node);
    }

    /// Ends its process as a crash would, and starts it again from its files.
    pub async fn restart(&mut self) {
        self.server = None;
        self.node.take().unwrap().kill().await;
        let door = TcpListener::bind(self.at).await.unwrap();
        self.start_on(door).await;
    }

    pub fn data_dir(&self) -> &Path {
        &self.setup.data_dir
    }

    pub fn address(&self) -> String {
        format!("{:#x}", self.setup.key.address())
    }

    pub fn tcp(&self) -> SocketAddr {
        self.server.as_ref().unwrap().tcp().unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.server.as_ref().unwrap().socket().to_path_buf()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.tcp())
    }

    /// A new token, with its scheme.
    pub fn bearer(&self, name: &str, scope: Scope) -> String {
        let secret = Tokens::of(self.data_dir()).create(name, scope, now_ms(), None).unwrap();
        format!("Bearer {}", secret.reveal())
    }

    /// Calls a method of ours over the unix socket.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let http = http_client_on(Some(self.socket()));
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = http.post("http://localhost/rpc").body(body.to_string());
        outcome(&Answer::of(request).await)
    }

    /// Calls a method of the legacy interface over the unix socket.
    pub async fn legacy(&self, method: &str, payload: Value) -> Result<Value, Value> {
        let http = http_client_on(Some(self.socket()));
        let params = json!({ "authtoken": "", "payload": payload });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = http.post("http://localhost/api/v1").body(body.to_string());
        outcome(&Answer::of(request).await)
    }

    /// Posts over TCP.
    pub async fn post(&self, path: &str, bearer: Option<&str>, body: &str) -> Answer {
        let request = http_client_on(None).post(self.url(path)).body(body.to_string());
        let request = match bearer {
            Some(bearer) => request.header("authorization", bearer),
            None => request,
        };
        Answer::of(request).await
    }

    /// Calls a method of ours over TCP.
    pub async fn call_as(&self, bearer: Option<&str>, method: &str, params: Value) -> Answer {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.post("/rpc", bearer, &body.to_string()).await
    }

    /// Waits until an objective has ended well.
    pub async fn done(&self, objective: &Value) {
        let asked = json!({ "objective": objective });
        let goal = self.call("fairway_objectiveWait", asked).await.unwrap();
        assert_eq!(goal["status"], "completed", "{goal}");
    }

    /// Opens a ledger channel with `peer`, `each` wei on both sides, and waits for both.
    pub async fn open_ledger(&self, peer: &Party, each: &str) -> String {
        let asked = json!({ "peer": peer.address(), "deposit": each, "peer_deposit": each });
        let opening = self.call("fairway_ledgerOpen", asked).await.unwrap();
        self.done(&opening["objective"]).await;
        peer.done(&opening["objective"]).await;
        opening["channel"].as_str().unwrap().to_string()
    }

    /// Waits until a channel, as this party's resting node shows it, has `value` at `key`.
    pub async fn sees(&self, channel: &str, key: &'static str, value: &str) {
        let (id, value) = (parse_channel(channel).unwrap().0, value.to_string());
        let look = self.handle().when(move |driver| {
            let state = driver.node().state();
            let seen = match state.virtual_channel(id) {
                Some(v) => json!(Virtual::of(v)),
                None => json!(Ledger::of(driver, state.channel(id)?)),
            };
            (seen[key] == value).then_some(())
        });
        tokio::time::timeout(PATIENCE, look).await.expect("waited too long").unwrap();
    }

    /// The node itself.
    pub fn handle(&self) -> &NodeHandle {
        self.node.as_ref().unwrap().handle()
    }
}

/// Nothing here takes longer than a second; a busy machine may stretch it.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code of the error.
    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub fn http_client_on(socket: Option<PathBuf>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    match socket {
        Some(socket) => builder.unix_socket(socket).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

fn outcome(answer: &Answer) -> Result<Value, Value> {
    let json = answer.json();
    match json.get("error") {
        Some(error) => Err(error.clone()),
        None => Ok(json["result"].clone()),
    }
}

/// Compares with what is kept in `snapshots/`.
pub fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}
