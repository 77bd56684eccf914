//! How much is read, from how many, and how fast: each limit at its edge.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::world::{PATIENCE, World, http_client_on, settings};
use crate::rpc::Settings;
use crate::rpc::error::Code;
use crate::rpc::token::Scope;

/// A call of this many bytes, white space included.
fn call_of(bytes: usize) -> String {
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"version","params":{"authtoken":"","payload":{}}}"#;
    format!("{call}{}", " ".repeat(bytes - call.len()))
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let body_bytes_max = 10_000;
    let world = World::alone(Settings { body_bytes_max, ..settings() }).await;
    let alice = world.alice();
    let bearer = alice.bearer("a", Scope::Read);
    for (path, most) in [("/api/v1", 8_192), ("/rpc", body_bytes_max)] {
        let fits = alice.post(path, Some(&bearer), &call_of(most)).await;
        assert_eq!(fits.status, StatusCode::OK, "{path}");
        let too_much = alice.post(path, Some(&bearer), &call_of(most + 1)).await;
        assert_eq!(too_much.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        // In pieces, without a stated length.
        let piece = format!("3e8\r\n{}\r\n", " ".repeat(1_000));
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut stream = TcpStream::connect(alice.tcp()).await.unwrap();
        stream.write_all(format!("{head}{}", piece.repeat(20)).as_bytes()).await.unwrap();
        let mut some = [0; 12];
        stream.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"HTTP/1.1 413", "{path} in pieces");
    }
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let world = World::alone(Settings { batch_max: 3, ..settings() }).await;
    let alice = world.alice();
    let bearer = alice.bearer("a", Scope::Read);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "fairway_status" });
    let silent = json!({ "jsonrpc": "2.0", "method": "fairway_status" });
    let fits = json!([call, 7, silent]).to_string();
    let fits = alice.post("/rpc", Some(&bearer), &fits).await.json();
    assert_eq!(fits.as_array().map(Vec::len), Some(2), "a notification has no answer: {fits}");
    assert_eq!(fits[1]["error"]["code"], Code::Request as i64);
    let too_many = json!([call, call, call, call]).to_string();
    assert_eq!(alice.post("/rpc", Some(&bearer), &too_many).await.code(), Code::Request as i64);
    let silence = alice.post("/rpc", Some(&bearer), &json!([silent]).to_string()).await;
    assert_eq!((silence.status, silence.text.as_str()), (StatusCode::NO_CONTENT, ""));
}

#[tokio::test]
async fn a_token_has_a_rate_and_each_its_own() {
    let world = World::alone(Settings { calls_per_second: 3, batch_max: 3, ..settings() }).await;
    let alice = world.alice();
    let (one, other) = (alice.bearer("one", Scope::Read), alice.bearer("other", Scope::Read));
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "rpc.discover" });
    let batch = json!([call, call, call]).to_string();
    assert_eq!(alice.post("/rpc", Some(&one), &batch).await.status, StatusCode::OK);
    let busy = alice.post("/rpc", Some(&one), &batch).await;
    assert_eq!((busy.status, busy.code()), (StatusCode::TOO_MANY_REQUESTS, Code::Busy as i64));
    assert_eq!(alice.post("/rpc", Some(&other), &batch).await.status, StatusCode::OK);
}

/// Goal: who sends a request drop by drop, or none at all, is disconnected and keeps no place. Method: one place; a client that stops
/// in the head, one that stops in the body, one that stops after a request; somebody else is served after each.
#[tokio::test]
async fn slow_clients_lose_their_place() {
    let slow = Settings { client_timeout_ms: 150, connections_max: 1, ..settings() };
    let world = World::alone(slow).await;
    let alice = world.alice();
    let head = "POST /api/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n";
    for (sent, answered) in [
        (String::new(), ""),
        (head.to_string(), ""),
        (format!("{head}\r\n{{"), "HTTP/1.1 408 Request Timeout"),
        // One good request, and then silence.
        ("GET /api/v1/health HTTP/1.1\r\nhost: x\r\n\r\n".into(), "HTTP/1.1 200 OK"),
    ] {
        let mut stream = TcpStream::connect(alice.tcp()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
        end.expect("the client was not disconnected").unwrap();
        assert!(answer.starts_with(answered), "{answer}");
        assert_eq!(answer.is_empty(), answered.is_empty(), "{answer}");
        let other = timeout(PATIENCE, alice.post("/api/v1", None, &call_of(100))).await;
        assert_eq!(other.expect("the place is free").status, StatusCode::OK);
    }
}

#[tokio::test]
async fn connections_have_a_limit() {
    let world = World::alone(Settings { connections_max: 1, ..settings() }).await;
    let alice = world.alice();
    let mut first = TcpStream::connect(alice.tcp()).await.unwrap();
    // Served, so the place is taken.
    first.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 12];
    first.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    let second =
        http_client_on(None).get(alice.url("/api/v1/health")).timeout(Duration::from_millis(200));
    assert!(second.send().await.unwrap_err().is_timeout(), "it waits for a place");
    drop(first);
    let third =
        timeout(PATIENCE, http_client_on(None).get(alice.url("/api/v1/health")).send()).await;
    assert_eq!(third.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let world = World::start(2, settings()).await;
    let (alice, bob) = (world.alice(), world.bob());
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(alice.open_ledger(bob, "10").await);
    }
    opened.sort();
    let mut seen = Vec::new();
    let mut cursor = json!(null);
    loop {
        let asked = json!({ "limit": 2, "cursor": cursor });
        let page = alice.call("fairway_ledgers", asked).await.unwrap();
        let ledgers = page["ledgers"].as_array().unwrap();
        assert!(ledgers.len() <= 2);
        seen.extend(ledgers.iter().map(|l| l["channel"].as_str().unwrap().to_string()));
        cursor = page["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, opened);
    for method in [
        "fairway_ledgers",
        "fairway_channels",
        "fairway_objectives",
        "fairway_transactions",
        "fairway_peers",
        "fairway_events",
    ] {
        for limit in [0, 501] {
            let error = alice.call(method, json!({ "limit": limit })).await.unwrap_err();
            assert_eq!(error["code"], Code::Params as i64, "{method}: {error}");
        }
        alice.call(method, json!({ "limit": 500 })).await.unwrap();
    }
    let error = alice.call("fairway_ledgers", json!({ "cursor": "x" })).await.unwrap_err();
    assert_eq!(error["code"], Code::Params as i64);
}
