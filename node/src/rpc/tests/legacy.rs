//! The legacy interface, request by request, as go-nitro and its clients know it.

use std::task::Poll;

use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::world::{Answer, PATIENCE, Party, World, http_client_on, settings, snapshot};
use crate::rpc::Settings;
use crate::rpc::cashier::Cashier;
use crate::rpc::context::{Caller, Context, Facts};
use crate::rpc::follow_durable;
use crate::rpc::legacy::notify::Notifier;
use crate::rpc::settings::{OpenAccess, PayeeDeposit};
use crate::rpc::token::Scope;

fn open() -> Settings {
    Settings { open_access: OpenAccess::Operate, origins: vec!["*".into()], ..settings() }
}

/// Goal: every answer is exactly what the clients' strict readers take. Method: bytes in, bytes out, as a table.
#[tokio::test]
async fn envelopes_and_errors_are_go_nitros() {
    let world = World::alone(open()).await;
    let alice = world.alice();
    let token = alice.legacy("get_auth_token", json!({})).await.unwrap();
    let token = token.as_str().unwrap();
    let call = |method: &str, payload: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":5,"method":"{method}","params":{{"authtoken":"TOKEN","payload":{payload}}}}}"#
        )
    };
    let zero = "0x0000000000000000000000000000000000000000000000000000000000000000";
    let one = format!("0x{}", "11".repeat(32));
    let peer = format!("0x{}", "22".repeat(20));
    let open_ledger = |payload: Value| call("create_ledger_channel", &payload.to_string());
    let outcome = |destinations: [&str; 2], amount: Value, kind: u64| {
        let allocation = |to: &str| json!({ "Destination": to, "Amount": amount, "AllocationType": kind, "Metadata": null });
        let meta = json!({ "AssetType": 0, "Metadata": null });
        json!([{ "Asset": "0x00", "AssetMetadata": meta, "Allocations": destinations.map(allocation) }])
    };
    let me = alice.address();
    let requests = [
        "".to_string(),
        "{".into(),
        "[]".into(),
        "7".into(),
        "{}".into(),
        r#"{"jsonrpc":"2.0","id":"5","method":"version"}"#.into(),
        r#"{"jsonrpc":"2.0","id":-5,"method":"version"}"#.into(),
        r#"{"jsonrpc":"2.0","id":5.5,"method":"version"}"#.into(),
        r#"{"jsonrpc":"2.0","id":null,"method":"version"}"#.into(),
        r#"{"jsonrpc":"1.0","id":5,"method":"version"}"#.into(),
        r#"{"id":5,"method":"version"}"#.into(),
        r#"{"jsonrpc":"2.0","id":5,"method":7}"#.into(),
        r#"{"jsonrpc":"2.0","id":5.0,"method":"get_address"}"#.into(),
        r#"{"jsonrpc":"2.0","id":999999999,"method":"get_address","params":{}}"#.into(),
        r#"{"jsonrpc":"2.0","id":5,"method":"get_all_ledger_channels","params":7}"#.into(),
        r#"{"jsonrpc":"2.0","id":5,"method":"get_all_ledger_channels","params":{"authtoken":7}}"#
            .into(),
        r#"{"jsonrpc":"2.0","id":5,"method":"get_all_ledger_channels"}"#.into(),
        call("fairway_status", "{}"),
        call("get_all_ledger_channels", "{}"),
        call("get_ledger_channel", "7"),
        call("get_ledger_channel", &format!(r#"{{"Id":"{zero}"}}"#)),
        call("get_ledger_channel", &format!(r#"{{"Id":"{one}"}}"#)),
        call("get_payment_channel", &format!(r#"{{"Id":"{zero}"}}"#)),
        call("get_payment_channel", r#"{"Id":"0x7"}"#),
        call("get_payment_channels_by_ledger", &format!(r#"{{"LedgerId":"{zero}"}}"#)),
        call("get_payment_channels_by_ledger", &format!(r#"{{"LedgerId":"{one}"}}"#)),
        call("close_ledger_channel", &format!(r#"{{"ChannelId":"{one}"}}"#)),
        call("close_payment_channel", &format!(r#"{{"ChannelId":"{one}"}}"#)),
        call("pay", &format!(r#"{{"Amount":0,"Channel":"{one}"}}"#)),
        call("pay", &format!(r#"{{"Amount":5,"Channel":"{zero}"}}"#)),
        call("pay", &format!(r#"{{"Amount":0.5,"Channel":"{one}"}}"#)),
        call("pay", &format!(r#"{{"Amount":5,"Channel":"{one}"}}"#)),
        call("create_voucher", &format!(r#"{{"Amount":5,"Channel":"{one}"}}"#)),
        call(
            "receive_voucher",
            &format!(r#"{{"ChannelId":"{one}","Amount":5,"Signature":"0x00"}}"#),
        ),
        call(
            "receive_voucher",
            &format!(r#"{{"ChannelId":"{one}","Amount":5,"Signature":"0x{}"}}"#, "11".repeat(65)),
        ),
        open_ledger(json!({ "CounterParty": peer, "ChallengeDuration": 0, "Outcome": [] })),
        open_ledger(
            json!({ "CounterParty": "0x00", "ChallengeDuration": 0, "Outcome": outcome([&me, &peer], json!(5), 0) }),
        ),
        open_ledger(
            json!({ "CounterParty": peer, "ChallengeDuration": 0, "Outcome": outcome([&me, &me], json!(5), 0) }),
        ),
        open_ledger(
            json!({ "CounterParty": peer, "ChallengeDuration": 0, "Outcome": outcome([&me, &peer], json!(5), 1) }),
        ),
        open_ledger(
            json!({ "CounterParty": peer, "ChallengeDuration": 0, "Outcome": outcome([&me, &peer], json!("5"), 0) }),
        ),
        open_ledger(
            json!({ "CounterParty": peer, "ChallengeDuration": 1, "Outcome": outcome([&me, &peer], json!(5), 0) }),
        ),
    ];
    let mut table = String::new();
    for request in requests {
        let answer = alice.post("/api/v1", None, &request.replace("TOKEN", token)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text.contains(token));
        let request = request.replace(&one, "ONE").replace(zero, "ZERO").replace(&me, "ME");
        table +=
            &format!("> {request}\n< {}\n", answer.text.replace(&one, "ONE").replace(zero, "ZERO"));
    }
    snapshot("legacy_requests", &table);
}

#[tokio::test]
async fn paths_and_verbs_are_go_nitros() {
    let world = World::alone(open()).await;
    let alice = world.alice();
    let ask = async |verb: reqwest::Method, path: &str| {
        let request = http_client_on(None).request(verb, alice.url(path));
        Answer::of(request.header("origin", "https://anywhere.example")).await
    };
    use reqwest::Method;
    let health = ask(Method::GET, "/api/v1/health").await;
    assert_eq!((health.status, health.text.as_str()), (StatusCode::OK, "OK"));
    assert_eq!(ask(Method::GET, "/api/v1").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(Method::PUT, "/api/v1").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(Method::POST, "/api/v2").await.status, StatusCode::BAD_REQUEST);
    let preflight = ask(Method::OPTIONS, "/api/v1").await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_eq!(preflight.header("access-control-allow-headers"), "*");
}

/// What a client's socket heard, until `last` came.
async fn heard_until(
    socket: &mut (impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
    last: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let message = timeout(PATIENCE, socket.next()).await.expect("nothing more was heard");
        let Message::Text(text) = message.unwrap().unwrap() else { continue };
        let told: Value = serde_json::from_str(text.as_str()).unwrap();
        assert_eq!(told["jsonrpc"], "2.0");
        assert!(told["id"].is_u64());
        assert_eq!(told["params"]["authtoken"], "");
        let told = json!([told["method"], told["params"]["payload"]]);
        let is_last = last(&told);
        heard.push(told);
        if is_last {
            return heard;
        }
    }
}

/// As the client in TypeScript writes it: both parties get the amount, destinations have 20 bytes.
fn clients_outcome(alice: &Party, other: &Party, amounts: [u64; 2]) -> Value {
    let allocation = |party: &Party, amount: u64| json!({ "Destination": party.address(), "Amount": amount, "AllocationType": 0, "Metadata": null });
    json!([{
        "Asset": format!("0x{}", "0".repeat(40)),
        "AssetMetadata": { "AssetType": 0, "Metadata": null },
        "Allocations": [allocation(alice, amounts[0]), allocation(other, amounts[1])],
    }])
}

fn creation(other: &Party, outcome: Value) -> Value {
    json!({
        "CounterParty": other.address(), "ChallengeDuration": 0, "Outcome": outcome,
        "AppDefinition": format!("0x{}", "0".repeat(40)), "AppData": "0x00", "Nonce": 1_700_000_000_000u64,
    })
}

/// Goal: a program written for go-nitro lives a whole life, and hears of it. Method: three nodes; the client's own requests; every
/// answer and every notification, with ids replaced by names.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_by_the_legacy_interface() {
    let world = World::start(3, Settings { payee_deposit: PayeeDeposit::Ignore, ..open() }).await;
    let (alice, irene, bob) = (world.alice(), world.irene(), world.bob());
    let right = irene.open_ledger(bob, "1000000").await;
    let (mut socket, _) =
        connect_async(format!("ws://{}/api/v1/subscribe", alice.tcp())).await.unwrap();
    let mut story: Vec<Value> = Vec::new();

    let outcome = clients_outcome(alice, irene, [1_000_000, 1_000_000]);
    let opening = alice.legacy("create_ledger_channel", creation(irene, outcome)).await.unwrap();
    story.push(opening.clone());
    let completed = |id: &Value| json!(["objective_completed", id]);
    let done = completed(&opening["Id"]);
    let heard = heard_until(&mut socket, |told| *told == done).await;
    assert!(heard.iter().any(|told| told[0] == "ledger_channel_updated"), "{heard:?}");
    irene.done(&opening["Id"]).await;
    let left = opening["ChannelId"].as_str().unwrap();
    story.push(alice.legacy("get_ledger_channel", json!({ "Id": left })).await.unwrap());

    let payment = json!({ "Intermediaries": [irene.address()] });
    let mut asked = creation(bob, clients_outcome(alice, bob, [1_000, 1_000]));
    asked["Intermediaries"] = payment["Intermediaries"].clone();
    let opening = alice.legacy("create_payment_channel", asked).await.unwrap();
    story.push(opening.clone());
    let done = completed(&opening["Id"]);
    heard_until(&mut socket, |told| *told == done).await;
    bob.done(&opening["Id"]).await;
    let channel = opening["ChannelId"].as_str().unwrap();
    story.push(alice.legacy("pay", json!({ "Amount": 7, "Channel": channel })).await.unwrap());
    let paid = heard_until(&mut socket, |told| told[1]["Balance"]["PaidSoFar"] == "0x7").await;
    story.push(paid.last().unwrap().clone());
    let voucher =
        alice.legacy("create_voucher", json!({ "Amount": 5, "Channel": channel })).await.unwrap();
    assert_eq!(voucher["Amount"], 12);
    story.push(bob.legacy("receive_voucher", voucher.clone()).await.unwrap());
    story.push(bob.legacy("receive_voucher", voucher).await.unwrap());
    story.push(
        irene.legacy("get_payment_channels_by_ledger", json!({ "LedgerId": left })).await.unwrap(),
    );
    story.push(
        bob.legacy("get_payment_channels_by_ledger", json!({ "LedgerId": right })).await.unwrap(),
    );

    let id = alice.legacy("close_payment_channel", json!({ "ChannelId": channel })).await.unwrap();
    story.push(id.clone());
    let done = completed(&id);
    heard_until(&mut socket, |told| *told == done).await;
    irene.done(&id).await;
    story.push(alice.legacy("get_payment_channel", json!({ "Id": channel })).await.unwrap());
    let id = alice.legacy("close_ledger_channel", json!({ "ChannelId": left })).await.unwrap();
    story.push(id.clone());
    let done = completed(&id);
    let heard = heard_until(&mut socket, |told| *told == done).await;
    let mut distinct = heard.clone();
    distinct.dedup();
    assert_eq!(heard, distinct, "told twice");
    story.push(alice.legacy("get_all_ledger_channels", json!({})).await.unwrap());

    let mut text = format!("{:#}", json!(story));
    for (name, value) in [("LEFT", left), ("RIGHT", &right), ("CHANNEL", channel)] {
        text = text.replace(value, name);
    }
    for (name, party) in [("ALICE", alice), ("IRENE", irene), ("BOB", bob)] {
        text = text.replace(&party.address(), name);
    }
    snapshot("legacy_life", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payee_with_money_is_refused_by_default_and_totals_may_be_numbers() {
    let world = World::start(3, Settings { receive_voucher_numeric: true, ..open() }).await;
    let (alice, irene, bob) = (world.alice(), world.irene(), world.bob());
    alice.open_ledger(irene, "1000").await;
    irene.open_ledger(bob, "1000").await;
    let ask = async |amounts| {
        let mut asked = creation(bob, clients_outcome(alice, bob, amounts));
        asked["Intermediaries"] = json!([irene.address()]);
        alice.legacy("create_payment_channel", asked).await
    };
    let error = ask([100, 100]).await.unwrap_err();
    assert_eq!(error["code"], -32602);
    assert!(error["message"].as_str().unwrap().contains("rpc.payee_deposit"), "{error}");
    let opening = ask([100, 0]).await.unwrap();
    alice.done(&opening["Id"]).await;
    bob.done(&opening["Id"]).await;
    let asked = json!({ "Amount": 5, "Channel": opening["ChannelId"] });
    let voucher = alice.legacy("create_voucher", asked).await.unwrap();
    let received = bob.legacy("receive_voucher", voucher).await.unwrap();
    assert_eq!(received, json!({ "Total": 5, "Delta": 5 }));
}

#[tokio::test]
async fn notifications_are_not_for_strangers() {
    let world = World::alone(settings()).await;
    let stranger = connect_async(format!("ws://{}/api/v1/subscribe", world.alice().tcp())).await;
    assert!(stranger.unwrap_err().to_string().contains("401"));
}

/// Goal: a listener's socket interrupts its notifier at any moment, and nothing is lost by that. Method: a notifier that is given up
/// again and again after one, two or three steps.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_notifier_tells_everything() {
    let world = World::start(2, settings()).await;
    let (alice, bob) = (world.alice(), world.bob());
    let mut tasks = JoinSet::new();
    let node = alice.handle().clone();
    let context = Context {
        cashier: Cashier::start(node.clone(), &mut tasks),
        durable: follow_durable(node.clone(), &mut tasks).await.unwrap(),
        facts: Facts::of(&node, alice.data_dir().into(), settings()).await.unwrap().into(),
        caller: Caller { name: "test".into(), scope: Scope::Read },
        node,
    };
    let mut notifier = Notifier::start(context).await.unwrap();
    let ledger = alice.open_ledger(bob, "1000").await;
    let mut told = Vec::new();
    let telling = async {
        for steps in (1..=3).cycle() {
            if let Some(news) = within(steps, notifier.next()).await {
                told.extend(news.unwrap().unwrap());
            }
            if told.iter().any(|text| text.contains(&format!("DirectFunding-{ledger}"))) {
                return;
            }
        }
    };
    timeout(PATIENCE, telling).await.expect("the completion was lost");
    assert!(told.iter().any(|text| text.contains("\"Status\":\"Open\"")), "{told:?}");
}

/// What comes within so many steps, or nothing.
async fn within<T>(mut steps: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if steps == 0 => Poll::Ready(None),
        Poll::Pending => {
            steps -= 1;
            Poll::Pending
        }
    })
    .await
}
