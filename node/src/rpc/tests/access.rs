//! Who is let in, and how far.

use reqwest::StatusCode;
use serde_json::json;

use super::world::{Answer, World, http_client_on, settings};
use crate::rpc::error::Code;
use crate::rpc::token::{Scope, Tokens};
use crate::rpc::{Settings, now_ms, ours};

/// Goal: a scope opens the methods that it names and no other. Method: every method of the table is called with a token of each scope
/// and without any; only whether it was let in counts.
#[tokio::test]
async fn a_scope_opens_its_methods_and_no_other() {
    let settings = Settings { calls_per_second: 1_000, ..settings() };
    let world = World::alone(settings).await;
    let alice = world.alice();
    let scopes = [Scope::Read, Scope::Operate, Scope::Admin];
    let tokens = scopes.map(|scope| (scope, alice.bearer(&format!("{scope:?}"), scope)));
    let table = ours::table();
    for method in table.methods() {
        // Unknown parameters: nobody's call does anything.
        let nonsense = json!({ "nonsense": 1 });
        let answer = alice.call_as(None, method.name, nonsense.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", method.name);
        assert_eq!(answer.code(), Code::Unauthenticated as i64, "{}", method.name);
        for (scope, bearer) in &tokens {
            let answer = alice.call_as(Some(bearer), method.name, nonsense.clone()).await;
            let expected = if *scope >= method.scope { Code::Params } else { Code::Forbidden };
            assert_eq!(answer.code(), expected as i64, "{} with {scope:?}", method.name);
            if expected == Code::Forbidden {
                assert_eq!(answer.json()["error"]["data"]["needed"], json!(method.scope));
            }
        }
    }
}

#[tokio::test]
async fn a_token_ends_when_it_expires_or_is_revoked() {
    let world = World::alone(settings()).await;
    let alice = world.alice();
    let tokens = Tokens::of(alice.data_dir());
    let past = tokens.create("past", Scope::Read, now_ms() - 2, Some(now_ms() - 1)).unwrap();
    let past = format!("Bearer {}", past.reveal());
    let good = alice.bearer("good", Scope::Read);
    let status =
        async |bearer: &str| alice.call_as(Some(bearer), "fairway_status", json!({})).await.status;
    assert_eq!(status(&past).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&good).await, StatusCode::OK);
    for bad in [
        &good[..good.len() - 1],
        &good.to_uppercase(),
        &good["Bearer ".len()..],
        "Bearer ",
        "Basic YTpi",
    ] {
        assert_eq!(status(bad).await, StatusCode::UNAUTHORIZED, "{bad}");
    }
    tokens.revoke("good").unwrap();
    assert_eq!(status(&good).await, StatusCode::UNAUTHORIZED);
    // The same name, and another token.
    alice.bearer("good", Scope::Read);
    assert_eq!(status(&good).await, StatusCode::UNAUTHORIZED);
}

/// Goal: a grant of the legacy interface is worth what its access token is worth, and no longer.
#[tokio::test]
async fn a_grant_is_worth_no_more_than_its_token() {
    let world = World::alone(settings()).await;
    let alice = world.alice();
    let legacy = async |method: &str, authtoken: &str, header: Option<&str>| {
        let params = json!({ "authtoken": authtoken, "payload": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        alice.post("/api/v1", header, &body.to_string()).await
    };
    let stranger = -32008;
    assert_eq!(legacy("get_auth_token", "", None).await.code(), stranger);
    assert_eq!(legacy("get_all_ledger_channels", "", None).await.code(), stranger);

    let read = alice.bearer("read", Scope::Read);
    let grant = legacy("get_auth_token", "", Some(&read)).await.json()["result"].clone();
    let grant = grant.as_str().unwrap();
    assert_eq!(grant.split('.').count(), 3);
    assert_eq!(legacy("get_all_ledger_channels", grant, None).await.json()["result"], json!([]));
    assert_eq!(legacy("pay", grant, None).await.code(), stranger);
    // The access token itself does as well, in either place.
    let shown = &read["Bearer ".len()..];
    assert_eq!(legacy("get_all_ledger_channels", shown, None).await.json()["result"], json!([]));
    let again = legacy("get_auth_token", shown, None).await.json()["result"].clone();
    assert!(again.is_string());

    let operate = alice.bearer("operate", Scope::Operate);
    let signing = legacy("get_auth_token", "", Some(&operate)).await.json()["result"].clone();
    let signing = signing.as_str().unwrap();
    // Let in, and then the payload is not what `pay` takes.
    assert_eq!(legacy("pay", signing, None).await.code(), -32009);

    Tokens::of(alice.data_dir()).revoke("read").unwrap();
    assert_eq!(legacy("get_all_ledger_channels", grant, None).await.code(), stranger);
    alice.bearer("read", Scope::Admin);
    assert_eq!(legacy("get_all_ledger_channels", grant, None).await.code(), stranger);
}

#[tokio::test]
async fn open_access_grants_what_it_says() {
    use crate::rpc::settings::OpenAccess;
    for (open_access, pay) in [(OpenAccess::Read, -32008), (OpenAccess::Operate, -32009)] {
        let world = World::alone(Settings { open_access, ..settings() }).await;
        let alice = world.alice();
        let call = async |method: &str, authtoken: &str| {
            let params = json!({ "authtoken": authtoken, "payload": {} });
            let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
            alice.post("/api/v1", None, &body.to_string()).await
        };
        let grant = call("get_auth_token", "").await.json()["result"].clone();
        let grant = grant.as_str().unwrap();
        assert_eq!(call("get_all_ledger_channels", grant).await.json()["result"], json!([]));
        assert_eq!(call("pay", grant).await.code(), pay, "{open_access:?}");
        // Without the grant it is nobody, and our own interface is open to nobody.
        assert_eq!(call("get_all_ledger_channels", "").await.code(), -32008);
        let ours = alice.call_as(None, "fairway_status", json!({})).await;
        assert_eq!(ours.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn web_pages_of_other_origins_are_refused() {
    let origins = vec!["https://wallet.example".to_string()];
    let world = World::alone(Settings { origins, ..settings() }).await;
    let alice = world.alice();
    let bearer = alice.bearer("page", Scope::Read);
    let http = http_client_on(None);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "fairway_status" }).to_string();
    let ask = async |path: &str, origin: &str| {
        let request = http.post(alice.url(path)).header("origin", origin).body(body.clone());
        Answer::of(request.header("authorization", &bearer)).await
    };
    for path in ["/rpc", "/api/v1"] {
        let page = ask(path, "https://wallet.example").await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(page.header("access-control-allow-origin"), "https://wallet.example");
        for origin in [
            "https://evil.example",
            "null",
            "https://wallet.example.evil",
            "http://wallet.example",
            "",
        ] {
            let page = ask(path, origin).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} from {origin}");
            assert_eq!(page.header("access-control-allow-origin"), "");
        }
    }
    let preflight = http.request(reqwest::Method::OPTIONS, alice.url("/rpc"));
    let preflight = Answer::of(preflight.header("origin", "https://wallet.example")).await;
    assert_eq!(preflight.status, StatusCode::OK);
    assert_eq!(preflight.header("access-control-allow-headers"), "authorization, content-type");
}

#[tokio::test]
async fn the_unix_socket_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::alone(settings()).await;
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.alice().socket()), 0o600);
    assert_eq!(mode(world.alice().data_dir()), 0o700);
    // What a crash has left is replaced.
    world.parties[0].restart().await;
    assert_eq!(world.alice().call("fairway_status", json!({})).await.unwrap()["health"], "ok");
    let asked = json!({ "channel": format!("0x{}", "11".repeat(32)) });
    let error = world.alice().call("fairway_challenge", asked).await.unwrap_err();
    assert_eq!(
        error["code"],
        Code::NotFound as i64,
        "let in, and there is no such channel: {error}"
    );
}
