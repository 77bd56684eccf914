//! The devnet's nodes on anvil, with the real contracts. Needs npm the first time, so `ci/test chain` runs it and the fast tier does not.
//!
//! Blocks come every fifth of a second and are at least a second of chain time apart, as on the development chain. Every wait is for
//! a condition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_chain::testkit::{Devnet, Miner, Proxy};
use fairway_chain::{Health, Trouble};
use fairway_core::channel::Channel;
use fairway_core::driver::Driver;
use fairway_core::event::{ObjectiveKind, Pins};
use fairway_core::nitro::{Call, Crypto, SecretKey};
use fairway_core::types::{Address, Amount, ChannelId};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::party::Party;
use super::script::{Apps, Executing, Stage};
use super::{DevnetError, Story, Stream, due, listen, node_config, script, transport_config};
use crate::chain::ChainSetup;
use crate::metrics::Metrics;
use crate::runtime::Setup;
use crate::snapshots;
use crate::tcp::AddressBook;

const NAMES: [&str; 3] = ["alice", "bob", "hub"];
const CHALLENGE_S: u32 = 60;
const BLOCK_TIME: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// A stage on anvil. Each node has an endpoint of its own, which can be killed.
struct World {
    stage: Stage,
    devnet: Arc<Devnet>,
    proxies: BTreeMap<&'static str, Proxy>,
    miner: Option<Miner>,
    _dir: TempDir,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let devnet = Arc::new(Devnet::up(&dir.path().join("chain")));
        devnet.one_second_a_block().await;
        let miner = Some(devnet.mine_every(BLOCK_TIME));
        let (mut book, mut doors, mut proxies) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for name in NAMES {
            let (door, at) = listen().await.unwrap();
            book.insert(devnet.person(name).address, at);
            doors.push((name, door, at));
            proxies.insert(name, Proxy::start(devnet.url()).await);
        }
        let story = Story::begin(Stream::Stderr);
        let settings = devnet.settings(&[devnet.url()]);
        let apps = Apps { consensus: settings.consensus_app, payment: settings.payment_app };
        let mut parties = Vec::new();
        for (name, door, at) in doors {
            let person = devnet.person(name);
            let key = SecretKey::new(person.key(), Crypto::Real).unwrap();
            let pins = Pins {
                chain_id: settings.chain_id,
                adjudicator: settings.adjudicator,
                consensus_app: apps.consensus,
                me: person.address,
                confirmations: 2,
            };
            let mut config = node_config(CHALLENGE_S);
            config.payment_app = apps.payment;
            config.block_time_s = 1;
            config.inclusion_s = 10;
            let chain = devnet.settings(&[proxies[name].url()]);
            let setup = Setup {
                data_dir: dir.path().join(name),
                key,
                node_seed: blake3::derive_key("fairway devnet on anvil", &person.key()),
                pins,
                config,
                transport: transport_config(pins.chain_id, pins.adjudicator),
                peers: AddressBook(book.clone()),
                chain: ChainSetup::Ethereum(Box::new((chain, person.gas_key()))),
                metrics: Metrics::new(),
                // So often that a node which is killed goes on from one.
                snapshots: snapshots::Settings { every_events: 5 },
            };
            let mut party = Party::new(name, setup, at, story);
            party.start(Some(door)).await.unwrap();
            parties.push(party);
        }
        let [alice, bob, hub] = parties.try_into().ok().unwrap();
        let (chain, adjudicator) = (devnet.clone(), settings.adjudicator);
        let execute = Box::new(move |from, call| execute(chain.clone(), adjudicator, from, call));
        let challenge_duration = CHALLENGE_S;
        let stage = Stage { alice, bob, hub, apps, execute, story, challenge_duration };
        World { stage, devnet, proxies, miner, _dir: dir }
    }

    async fn balance(&self, who: Address) -> Amount {
        let text = self.devnet.ask("eth_getBalance", json!([who, "latest"])).await;
        Amount(text.as_str().unwrap().parse().unwrap())
    }

    /// Waits until the mempool has something.
    async fn until_a_transaction_waits(&self) {
        let waiting = async {
            loop {
                let status = self.devnet.ask("txpool_status", json!([])).await;
                if status["pending"] != "0x0" {
                    return;
                }
            }
        };
        timeout(PATIENCE, waiting).await.expect("a transaction in time");
    }

    /// Logs of one event of the adjudicator about one channel.
    async fn count_logs(&self, signature: &str, channel: ChannelId) -> usize {
        let topic = alloy_primitives::keccak256(signature);
        let filter = json!([{ "fromBlock": "0x0", "topics": [topic, channel.0] }]);
        self.devnet.ask("eth_getLogs", filter).await.as_array().map_or(0, Vec::len)
    }
}

/// Anvil signs for its accounts; the call waits for its block.
fn execute(devnet: Arc<Devnet>, adjudicator: Address, from: Address, call: Call) -> Executing {
    Box::pin(async move {
        let data = fairway_chain::calldata(&call);
        let tx = json!([{ "from": from, "to": adjudicator, "data": data, "gas": "0x1e8480" }]);
        let hash = devnet.ask("eth_sendTransaction", tx).await;
        loop {
            let receipt = devnet.ask("eth_getTransactionReceipt", json!([hash])).await;
            match receipt.get("status").and_then(Value::as_str) {
                Some("0x1") => return Ok(()),
                Some(_) => return Err(DevnetError::Reverted(receipt.to_string())),
                None => tokio::task::yield_now().await,
            }
        }
    })
}

const DEPOSITED: &str = "Deposited(bytes32,address,uint256)";

/// Goal: everything that a node does with a chain, it does with the real contracts. Method: the devnet's whole story: a channel opens
/// while a node is killed between two deposits, payments, an old state is challenged and answered, a close in agreement, payments
/// through a hub, a hub that cheats, a voucher redeemed in the dispute, guarantees reclaimed. Each is paid what it is due but for gas,
/// the adjudicator keeps nothing, and nobody deposited twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn the_whole_story() {
    let mut world = World::new().await;
    let mut before = Vec::new();
    for name in NAMES {
        before.push(world.balance(world.devnet.person(name).address).await);
    }
    let stage = &mut world.stage;
    let mut first = stage.open_through_a_crash(Amount::ether(5)).await.unwrap();
    stage.pay_to_and_fro(&mut first, 10).await.unwrap();
    let second = stage.dispute(Amount::ether(3)).await.unwrap();
    stage.close(&first).await.unwrap();
    let mut route = stage.open_route(Amount::ether(4)).await.unwrap();
    let each = script::milli_ether(3);
    let (agreed, _) = stage.pay_through_hub(&mut route, 10, each).await.unwrap();
    let disputed = stage.cheat(&mut route).await.unwrap();

    for (channel, deposits) in [(first.id, 2), (second.id, 2), (route.left, 2), (route.right, 2)] {
        assert_eq!(world.count_logs(DEPOSITED, channel).await, deposits);
    }
    for channel in [route.left, route.right] {
        let reclaimed = world.count_logs("Reclaimed(bytes32,uint256)", channel).await;
        assert_eq!(reclaimed, 1, "the guarantee of {disputed} is reclaimed");
    }
    assert_eq!(world.count_logs("Concluded(bytes32,uint48)", agreed).await, 0);
    let adjudicator = world.devnet.settings(&[world.devnet.url()]).adjudicator;
    assert_eq!(world.balance(adjudicator).await, Amount::ZERO);
    let (alice, bob) = due(&[first, second], &route);
    let deposits = Amount::ether(100);
    let expected = [alice, bob, deposits];
    for ((name, before), due) in NAMES.into_iter().zip(before).zip(expected) {
        // `due` counts from a start of a hundred.
        let due = before.saturating_add(due).saturating_sub(deposits);
        let after = world.balance(world.devnet.person(name).address).await;
        let gas = due.saturating_sub(after);
        assert!(after <= due, "{name} has {after}, is due {due}");
        assert!(gas <= script::milli_ether(50), "{name} lacks {gas}");
    }
}

/// Goal: a deposit that a reorganization takes back is not counted, is made again, and the channel opens. Method: blocks are mined by
/// hand while Alice's deposit is in the head alone; `anvil_reorg` replaces it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_deposit_that_was_taken_back_is_made_again() {
    let mut world = World::new().await;
    world.miner = None;
    let each = Amount::ether(2);
    let book = world.stage.ask_to_open(each).await.unwrap();
    let id = book.id;
    let held = move |at: Amount| {
        move |driver: &Driver| (driver.node().state().chain().at_head(id).held == at).then_some(())
    };
    world.until_a_transaction_waits().await;
    world.devnet.mine().await;
    world.stage.alice.when("the deposit at the head", held(each)).await.unwrap();
    // Bob has not deposited: hers is not confirmed. Nor does the network keep it.
    world.devnet.reorg(1).await;
    world.devnet.ask("anvil_dropAllTransactions", json!([])).await;
    // A branch that is not longer replaces nothing.
    world.devnet.mine().await;
    world.stage.alice.when("the deposit taken back", held(Amount::ZERO)).await.unwrap();
    world.miner = Some(world.devnet.mine_every(BLOCK_TIME));
    tokio::try_join!(world.stage.alice.when_open(id), world.stage.bob.when_open(id)).unwrap();
    assert_eq!(world.count_logs(DEPOSITED, id).await, 2, "one each on the branch that counts");
    world.stage.close(&book).await.unwrap();
}

/// Goal: a node whose endpoint is gone says so and goes on, and acts when it is back. Method: Bob's endpoint is killed before Alice
/// deposits, the channel waits, and opens when it is restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_node_outlives_its_endpoint() {
    let world = World::new().await;
    let mut health = world.stage.bob.chain().unwrap().health;
    timeout(PATIENCE, health.wait_for(Health::is_good)).await.unwrap().unwrap();
    world.proxies["bob"].kill();
    let down = |h: &Health| h.reasons.contains_key(&Trouble::NoQuorum);
    timeout(PATIENCE, health.wait_for(down)).await.unwrap().unwrap();
    let book = world.stage.ask_to_open(Amount::ether(1)).await.unwrap();
    let prefund = |c: &Channel| c.supported.is_some().then_some(());
    world.stage.bob.when_channel("the prefund", book.id, prefund).await.unwrap();
    world.proxies["bob"].restore();
    timeout(PATIENCE, health.wait_for(Health::is_good)).await.unwrap().unwrap();
    let (alice, bob) = (&world.stage.alice, &world.stage.bob);
    tokio::try_join!(alice.when_open(book.id), bob.when_open(book.id)).unwrap();
    world.stage.close(&book).await.unwrap();
    let done = alice.when_completed("the close", book.id, ObjectiveKind::DirectDefund).await;
    done.unwrap();
}

/// Goal: a node that is killed at any stage of funding goes on from its files, the channel opens, and nobody deposits twice. Method: one
/// channel after another, each with a crash at another stage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs npm: ci/test chain"]
async fn a_crash_at_every_stage_of_funding() {
    let mut world = World::new().await;
    let each = Amount::ether(1);
    for stage in Stages::ALL {
        let book = world.stage.ask_to_open(each).await.unwrap();
        let id = book.id;
        let known = |c: &Channel| c.signed.is_some().then_some(());
        let holds = move |amount: Amount, confirmed: bool| {
            move |driver: &Driver| {
                let chain = driver.node().state().chain();
                let seen = if confirmed { chain.confirmed(id) } else { chain.at_head(id) };
                (seen.held >= amount).then_some(())
            }
        };
        let (alice, bob) = (&world.stage.alice, &world.stage.bob);
        let all = each.saturating_add(each);
        match stage {
            Stages::Accepted => {}
            Stages::PrefundSigned => bob.when_channel("a prefund", id, known).await.unwrap(),
            Stages::DepositSent => world.until_a_transaction_waits().await,
            Stages::DepositSeen => alice.when("a deposit", holds(each, false)).await.unwrap(),
            Stages::DepositConfirmed => bob.when("a deposit", holds(each, true)).await.unwrap(),
            Stages::SecondSeen => bob.when("both deposits", holds(all, false)).await.unwrap(),
            Stages::SecondConfirmed => alice.when("both", holds(all, true)).await.unwrap(),
        }
        for party in [&mut world.stage.alice, &mut world.stage.bob] {
            party.kill().await;
            party.start(None).await.unwrap();
        }
        let (alice, bob) = (&world.stage.alice, &world.stage.bob);
        let open = tokio::try_join!(alice.when_open(id), bob.when_open(id));
        open.unwrap_or_else(|e| panic!("{stage:?}: {e}"));
        assert_eq!(world.count_logs(DEPOSITED, id).await, 2, "{stage:?}");
    }
}

/// When both are killed.
#[derive(Clone, Copy, Debug)]
enum Stages {
    Accepted,
    PrefundSigned,
    DepositSent,
    DepositSeen,
    DepositConfirmed,
    SecondSeen,
    SecondConfirmed,
}

impl Stages {
    const ALL: [Stages; 7] = [
        Stages::Accepted,
        Stages::PrefundSigned,
        Stages::DepositSent,
        Stages::DepositSeen,
        Stages::DepositConfirmed,
        Stages::SecondSeen,
        Stages::SecondConfirmed,
    ];
}
