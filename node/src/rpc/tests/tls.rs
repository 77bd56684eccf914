//! Certificates of the operator's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tokio::time::timeout;

use super::world::{PATIENCE, World, settings};
use crate::client::{Client, ClientError, Target};
use crate::rpc::token::{Scope, Tokens};
use crate::rpc::{ListenError, ServeError, Server, Settings, now_ms};

/// A certificate for this machine, and its key.
fn certificate(cert: &Path, key: &Path) {
    let names = ["localhost".to_string(), "127.0.0.1".into()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(cert, made.cert.pem()).unwrap();
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
}

/// Goal: with certificate and key the node speaks TLS to whoever trusts the certificate, and to nobody else; an exchanged certificate
/// counts from the signal on, and a broken one never.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_speaks_tls_with_its_operators_certificate() {
    let home = tempfile::tempdir().unwrap();
    let [cert, key, old] = ["cert.pem", "key.pem", "old.pem"].map(|name| home.path().join(name));
    certificate(&cert, &key);
    let tls = Settings { tls_cert: Some(cert.clone()), tls_key: Some(key.clone()), ..settings() };
    let world = World::alone(tls.clone()).await;
    let alice = world.alice();
    let secret = Tokens::of(alice.data_dir()).create("a", Scope::Read, now_ms(), None).unwrap();
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), secret.reveal()).unwrap();
    let ask = async |scheme: &str, ca_file: Option<&Path>| {
        let client = Client::new(&Target::Url {
            url: format!("{scheme}://{}", alice.tcp()),
            token_file: Some(token.path().to_path_buf()),
            ca_file: ca_file.map(Into::into),
        })?;
        client.call::<serde_json::Value>("fairway_status", &json!({})).await
    };
    assert_eq!(ask("https", Some(&cert)).await.unwrap()["health"], "ok");
    for (scheme, ca_file) in [("https", None), ("http", None), ("http", Some(&*cert))] {
        let error = ask(scheme, ca_file).await.unwrap_err();
        assert!(matches!(error, ClientError::NoNode { .. } | ClientError::Usage(_)), "{error}");
    }

    fs::copy(&cert, &old).unwrap();
    fs::write(&cert, "no certificate").unwrap();
    hang_up();
    assert!(ask("https", Some(&old)).await.is_ok(), "a broken certificate replaced the good one");
    certificate(&cert, &key);
    hang_up();
    // The signal arrives at some moment: from then on the old one is not trusted any more, and the new one is.
    let exchanged = timeout(PATIENCE, async { while ask("https", Some(&cert)).await.is_err() {} });
    exchanged.await.expect("the new certificate is not used");
    assert!(ask("https", Some(&old)).await.is_err());

    // Mixed up: a key is no certificate.
    let wrong = Settings { tls_cert: Some(key.clone()), ..tls };
    let refused = Server::start(alice.handle().clone(), alice.data_dir(), wrong).await;
    let refused = refused.err().unwrap();
    let at_cert =
        matches!(refused, ServeError::Listen(ListenError::Tls { key: "rpc.tls_cert", .. }));
    assert!(at_cert, "{refused}");
}

/// To this process.
fn hang_up() {
    let sent = Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
    assert!(sent.unwrap().success());
}
