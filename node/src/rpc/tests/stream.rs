//! Our interface over a WebSocket: calls, subscriptions, and what becomes of them.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::world::{PATIENCE, Party, World, settings};
use crate::rpc::Settings;
use crate::rpc::error::Code;
use crate::rpc::token::{Scope, Tokens};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn connect(party: &Party, bearer: &str) -> Socket {
        let mut request = format!("ws://{}/rpc/ws", party.tcp()).into_client_request().unwrap();
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        Socket(connect_async(request).await.unwrap().0)
    }

    async fn send(&mut self, id: u64, method: &str, params: Value) {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.0.send(Message::Text(call.to_string().into())).await.unwrap();
    }

    /// The next text, or nothing when the other side has ended it.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("nothing more was said")? {
                Ok(Message::Text(text)) => {
                    return Some(serde_json::from_str(text.as_str()).unwrap());
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Positions of the events that come next.
    async fn events(&mut self, count: usize) -> Vec<u64> {
        let mut lsns = Vec::new();
        while lsns.len() < count {
            let told = self.next().await.expect("the subscription runs");
            assert_eq!(told["method"], "fairway_event", "{told}");
            assert!(told["params"]["event"].is_object() || told["params"]["event"].is_string());
            lsns.push(told["params"]["lsn"].as_u64().unwrap());
        }
        lsns
    }
}

/// Goal: a subscriber that comes back misses nothing and hears nothing twice, also over a restart of the node. Method: two nodes pay;
/// the subscriber stops anywhere, the node is killed, and what both connections heard is the whole log.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_goes_on_where_it_stopped() {
    let mut world = World::start(2, settings()).await;
    let bearer = world.alice().bearer("watch", Scope::Read);
    let ledger = world.alice().open_ledger(world.bob(), "1000").await;
    let mut socket = Socket::connect(world.alice(), &bearer).await;
    socket.send(1, "fairway_subscribe", json!({ "from": 1 })).await;
    let mut heard = Vec::new();
    // Answers and events may come in either order.
    let mut answered = false;
    while !(answered && heard.len() >= 5) {
        let told = socket.next().await.unwrap();
        if told["id"] == 1 {
            assert_eq!(told["result"], json!({ "subscription": 0, "from": 1 }));
            answered = true;
        } else {
            heard.push(told["params"]["lsn"].as_u64().unwrap());
        }
    }
    drop(socket);

    world.parties[0].restart().await;
    let alice = world.alice();
    alice.sees(&ledger, "phase", "open").await;
    let mut socket = Socket::connect(alice, &bearer).await;
    let next = heard.last().unwrap() + 1;
    socket.send(1, "fairway_subscribe", json!({ "from": next })).await;
    loop {
        let told = socket.next().await.unwrap();
        if told["id"] == 1 {
            break;
        }
        heard.push(told["params"]["lsn"].as_u64().unwrap());
    }
    // The node asks its peer anew after a restart and signs nothing before: the payment waits for that.
    alice.call("fairway_pay", json!({ "channel": ledger, "amount": "5" })).await.unwrap();
    alice.sees(&ledger, "balance", "995").await;
    let end = alice.call("fairway_status", json!({})).await.unwrap()["lsn"].as_u64().unwrap();
    while *heard.last().unwrap() < end {
        heard.extend(socket.events(1).await);
    }
    assert_eq!(heard, (1..=*heard.last().unwrap()).collect::<Vec<_>>());

    let page = alice.call("fairway_events", json!({ "from": 2, "limit": 3 })).await.unwrap();
    let lsns: Vec<u64> =
        page["events"].as_array().unwrap().iter().map(|e| e["lsn"].as_u64().unwrap()).collect();
    assert_eq!(lsns, [2, 3, 4]);
    assert_eq!(page["next"], 5);
}

#[tokio::test]
async fn a_socket_answers_calls_and_ends_subscriptions() {
    let world = World::alone(settings()).await;
    let alice = world.alice();
    let mut socket = Socket::connect(alice, &alice.bearer("a", Scope::Read)).await;
    socket.send(1, "fairway_status", json!({})).await;
    assert_eq!(socket.next().await.unwrap()["result"]["health"], "ok");
    socket.send(2, "fairway_challenge", json!({})).await;
    assert_eq!(socket.next().await.unwrap()["error"]["code"], Code::Forbidden as i64);
    socket.0.send(Message::Text("{".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap()["error"]["code"], Code::Parse as i64);
    // Far ahead: nothing comes.
    for number in 0..8 {
        socket.send(3, "fairway_subscribe", json!({ "from": 1_000_000 })).await;
        assert_eq!(socket.next().await.unwrap()["result"]["subscription"], number);
    }
    socket.send(4, "fairway_subscribe", json!({})).await;
    assert_eq!(socket.next().await.unwrap()["error"]["code"], Code::Busy as i64);
    for was_there in [true, false] {
        socket.send(5, "fairway_unsubscribe", json!({ "subscription": 0 })).await;
        assert_eq!(socket.next().await.unwrap()["result"], was_there);
    }
    let over_http = alice.call("fairway_subscribe", json!({})).await.unwrap_err();
    assert_eq!(over_http["code"], Code::Request as i64);
}

#[tokio::test]
async fn a_revoked_token_is_told_nothing_more() {
    let world = World::alone(settings()).await;
    let alice = world.alice();
    let mut socket = Socket::connect(alice, &alice.bearer("a", Scope::Read)).await;
    Tokens::of(alice.data_dir()).revoke("a").unwrap();
    socket.send(1, "fairway_status", json!({})).await;
    assert_eq!(socket.next().await.unwrap()["error"]["code"], Code::Unauthenticated as i64);
    // And then the connection ends by itself.
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn sockets_have_places() {
    let world = World::alone(Settings { websockets_max: 1, ..settings() }).await;
    let alice = world.alice();
    let bearer = alice.bearer("a", Scope::Read);
    let first = Socket::connect(alice, &bearer).await;
    let mut request = format!("ws://{}/rpc/ws", alice.tcp()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let second = connect_async(request).await.unwrap_err();
    assert!(second.to_string().contains("503"), "{second}");
    drop(first);
}

/// Goal: who does not take what it is sent loses its place, and holds nothing up. Method: one place; a client asks for megabytes and
/// reads none; the place is free again, for somebody who reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_is_disconnected() {
    let impatient = Settings {
        websockets_max: 1,
        client_timeout_ms: 100,
        calls_per_second: 10_000,
        ..settings()
    };
    let world = World::alone(impatient).await;
    let alice = world.alice();
    let bearer = alice.bearer("a", Scope::Read);
    let mut slow = Socket::connect(alice, &bearer).await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "rpc.discover" });
    let batch = json!(vec![call; 50]).to_string();
    for _ in 0..8 {
        slow.0.send(Message::Text(batch.clone().into())).await.unwrap();
    }
    let again = async || {
        let mut request = format!("ws://{}/rpc/ws", alice.tcp()).into_client_request().unwrap();
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        connect_async(request).await
    };
    let connected = timeout(PATIENCE, async {
        loop {
            if let Ok((socket, _)) = again().await {
                return Socket(socket);
            }
        }
    });
    let mut other = connected.await.expect("the slow one keeps its place");
    other.send(1, "fairway_status", json!({})).await;
    assert_eq!(other.next().await.unwrap()["result"]["health"], "ok");
}
