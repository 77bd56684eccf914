//! SIGKILL at every stage of funding, through the interface that people use.
//!
//! Goal: whatever fact a node wrote last before it was killed, it goes on from its files: the channel opens, the contract holds what the
//! parties agreed on, and nobody deposits twice. Method: one funding is watched and gives the facts that each log takes in; then there is
//! one funding for each of them, whose node is killed as soon as its log shows that fact, and started again. One pair of nodes lives
//! through all of it.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use alloy_primitives::{U256, hex, keccak256};
use fairway_chain::testkit::{Devnet, Miner};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::node::{Node, PATIENCE, answer, command, data_dir, fairway};

/// Alice asks, Bob answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Asking,
    Answering,
}

/// A fact of a log: the `nth` event of this name in one funding, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    name: String,
    nth: usize,
}

/// A node with its files.
struct Party {
    config: PathBuf,
    node: Option<Node>,
}

struct World {
    devnet: Devnet,
    asking: Party,
    answering: Party,
    peer: String,
    _miner: Miner,
    _dir: tempfile::TempDir,
}

/// The facts of a funding that a node's log takes in, as it does.
struct Facts {
    socket: WebSocket<UnixStream>,
    seen: Vec<Fact>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_node_killed_after_any_fact_of_funding_completes_it() {
    let mut world = World::start().await;
    tokio::task::block_in_place(|| {
        let rows = world.facts_of_a_funding();
        // Both approve, sign and see two states, and see two deposits; each wants one; both complete.
        assert!(rows.len() >= 2 * 8, "{rows:?}");
        for (role, fact) in rows {
            world.fund_through_a_kill(role, &fact);
        }
        world.end();
    });
}

impl World {
    async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let devnet = Devnet::up(dir.path());
        devnet.one_second_a_block().await;
        let miner = devnet.mine_every(Duration::from_millis(100));
        let [asking, answering] = ["alice", "bob"].map(|name| {
            let mut party = Party { config: devnet.person(name).config.clone(), node: None };
            party.start();
            party
        });
        let peer = format!("{:#x}", devnet.person("bob").address);
        World { devnet, asking, answering, peer, _miner: miner, _dir: dir }
    }

    /// Whose log takes in which facts, where nobody is killed.
    fn facts_of_a_funding(&self) -> Vec<(Role, Fact)> {
        let mut logs = [Role::Asking, Role::Answering]
            .map(|role| (role, Facts::follow(&data_dir(&self.party(role).config))));
        let opened = self.ask("nobody is killed").wait_with_output().unwrap();
        self.completes(&answer(&opened).unwrap());
        let mut rows = Vec::new();
        for (role, log) in &mut logs {
            log.until("ObjectiveCompleted", 1);
            rows.extend(log.seen.drain(..).map(|fact| (*role, fact)));
        }
        rows
    }

    fn fund_through_a_kill(&mut self, role: Role, fact: &Fact) {
        let name = format!("{role:?} killed after {} {}", fact.name, fact.nth);
        let mut log = Facts::follow(&data_dir(&self.party(role).config));
        let asked = self.ask(&name);
        log.until(&fact.name, fact.nth);
        let party = match role {
            Role::Asking => &mut self.asking,
            Role::Answering => &mut self.answering,
        };
        party.node.take().expect("it runs").kill();
        // Whoever asked may have been left without an answer.
        let first = answer(&asked.wait_with_output().unwrap());
        party.start();
        // Asked again with the same key it is the same channel.
        let again = answer(&self.ask(&name).wait_with_output().unwrap());
        let opening = again.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(first.is_err() || first == Ok(opening.clone()), "{name}: {first:?}");
        self.completes(&opening);
    }

    /// Alice asks for a channel with Bob.
    fn ask(&self, key: &str) -> Child {
        let line = format!("ledger open {} --deposit {EACH} --peer-deposit {EACH}", self.peer);
        let mut command = command(&self.asking.config, &line);
        command.args(["--key", key]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Both objectives complete, and the contract holds two deposits, made once each.
    fn completes(&self, opening: &Value) {
        let channel = opening["channel"].as_str().unwrap();
        for party in [&self.asking, &self.answering] {
            let line = format!("objective show DirectFunding-{channel} --wait --timeout 60s");
            assert_eq!(fairway(&party.config, &line)["status"], "completed");
            let shown = fairway(&party.config, &format!("ledger show {channel}"));
            assert_eq!((&shown["phase"], &shown["balance"]), (&"open".into(), &json!(EACH)));
        }
        assert_eq!(self.holdings(channel), U256::from(EACH.parse::<u64>().unwrap() * 2));
        let deposited = keccak256("Deposited(bytes32,address,uint256)");
        let filter = json!([{ "fromBlock": "0x0", "topics": [deposited, channel] }]);
        assert_eq!(self.chain("eth_getLogs", filter).as_array().map(Vec::len), Some(2));
    }

    /// What the contract itself says it holds for a channel.
    fn holdings(&self, channel: &str) -> U256 {
        let selector = &keccak256("holdings(address,bytes32)")[..4];
        let data = format!("0x{}{}{}", hex::encode(selector), "0".repeat(64), &channel[2..]);
        let adjudicator = self.devnet.settings(&[self.devnet.url()]).adjudicator;
        let call = json!([{ "to": adjudicator, "data": data }, "latest"]);
        self.chain("eth_call", call).as_str().unwrap().parse().unwrap()
    }

    fn chain(&self, method: &'static str, params: Value) -> Value {
        Handle::current().block_on(self.devnet.ask(method, params))
    }

    fn party(&self, role: Role) -> &Party {
        match role {
            Role::Asking => &self.asking,
            Role::Answering => &self.answering,
        }
    }

    /// Stops both; their logs prove themselves.
    fn end(self) {
        for mut party in [self.asking, self.answering] {
            party.node.take().expect("it runs").stop();
            let verified = fairway_events_verify(&data_dir(&party.config));
            assert_eq!(verified["bad"], json!([]));
        }
    }
}

fn fairway_events_verify(data_dir: &Path) -> Value {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fairway"));
    let output = command.args(["events", "verify", "--json"]).arg(data_dir).output().unwrap();
    answer(&output).unwrap()
}

impl Party {
    fn start(&mut self) {
        let mut node = Node::run(&self.config);
        node.says("rpc.sock");
        self.node = Some(node);
    }
}

impl Facts {
    /// Those that come from now on.
    fn follow(data_dir: &Path) -> Facts {
        let stream = UnixStream::connect(data_dir.join("rpc.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut socket, _) = tungstenite::client("ws://localhost/rpc/ws", stream).unwrap();
        let call =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "fairway_subscribe", "params": {} });
        socket.send(Message::Text(call.to_string().into())).unwrap();
        let mut facts = Facts { socket, seen: Vec::new() };
        while facts.told()["id"] != 1 {}
        facts
    }

    /// Reads on until the log has taken this in; what is there already counts.
    fn until(&mut self, name: &str, nth: usize) {
        let wanted = Fact { name: name.into(), nth };
        while !self.seen.contains(&wanted) {
            let told = self.told();
            let Some(name) = name_of(&told["params"]["event"]) else { continue };
            let nth = self.seen.iter().filter(|fact| fact.name == name).count() + 1;
            self.seen.push(Fact { name, nth });
        }
    }

    fn told(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("the log goes on") {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }
}

/// The name of an event that is a step of funding. Empty blocks are none, and neither are acknowledgements: they force no write, so when
/// the log shows one is chance.
fn name_of(event: &Value) -> Option<String> {
    let (name, fields) = event.as_object()?.iter().next()?;
    match name.as_str() {
        "MessageAcked" => None,
        "BlockAdded" if fields["logs"] == json!([]) => None,
        _ => Some(name.clone()),
    }
}

/// In wei.
const EACH: &str = "1000000000";
