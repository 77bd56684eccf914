//! What is counted of calls.

use reqwest::StatusCode;
use serde_json::json;

use super::world::{World, settings};
use crate::metrics::Observer;
use crate::rpc::Settings;
use crate::rpc::legacy::METHODS;
use crate::rpc::token::Scope;

/// Goal: each call is counted once, by its method and by how it ended, and no caller can invent a label. Method: one call of each kind, on
/// both interfaces and at both doors; then the metrics.
#[tokio::test]
async fn every_call_is_counted_by_method_and_by_how_it_ended() {
    let world = World::alone(Settings { batch_max: 3, ..settings() }).await;
    let alice = world.alice();
    let read = alice.bearer("watch", Scope::Read);
    alice.call("fairway_status", json!({})).await.unwrap();
    alice.call("fairway_status", json!({ "more": 1 })).await.unwrap_err();
    alice.call("fairway_made_up_\"label", json!({})).await.unwrap_err();
    let channel = format!("0x{}", "11".repeat(32));
    alice.call("fairway_ledger", json!({ "channel": channel })).await.unwrap_err();
    let forbidden = alice.call_as(Some(&read), "fairway_challenge", json!({})).await;
    assert_eq!(forbidden.status, StatusCode::OK);
    let stranger = alice.call_as(Some("Bearer fairway_0"), "fairway_status", json!({})).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    alice.post("/rpc", Some(&read), "{").await;
    alice.call("rpc.discover", json!({})).await.unwrap();
    alice.call("fairway_subscribe", json!({})).await.unwrap_err();

    for method in METHODS {
        let answer = alice.legacy(method, json!({})).await;
        assert!(answer.map_err(|e| e["code"].clone()) != Err(json!(-32601)), "{method}");
    }
    alice.legacy("get_everything", json!({})).await.unwrap_err();
    let unknown = json!({ "Id": channel });
    let error = alice.legacy("get_ledger_channel", unknown).await.unwrap_err();
    assert_eq!(error["code"], -32603, "go-nitro has no other code for it");

    let text = Observer::new(alice.handle().metrics().clone()).scrape().await;
    let count = |method: &str, result: &str| {
        let series =
            format!("fairway_rpc_requests_total{{method=\"{method}\",result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    for (method, result, expected) in [
        ("fairway_status", "ok", 1),
        ("fairway_status", "invalid", 1),
        ("fairway_ledger", "refused", 1),
        ("fairway_challenge", "forbidden", 1),
        ("rpc.discover", "ok", 1),
        ("fairway_subscribe", "invalid", 1),
        // Made up on either interface.
        ("unknown", "invalid", 2),
        ("none", "unauthenticated", 1),
        ("none", "invalid", 1),
        ("none", "internal", 0),
        ("get_address", "ok", 1),
        ("pay", "invalid", 1),
        ("get_ledger_channel", "refused", 1),
    ] {
        assert_eq!(count(method, result), expected, "{method} {result} in\n{text}");
    }
    assert!(!text.contains("made_up") && !text.contains("everything"), "{text}");
    let seconds =
        |interface| format!("fairway_rpc_duration_seconds_count{{interface=\"{interface}\"}}");
    assert!(text.contains(&seconds("ours")) && text.contains(&seconds("legacy")), "{text}");
}
