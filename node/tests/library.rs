//! The node as a library: what another program starts is what `fairway run` starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fairway_core::types::Lsn;
use fairway_node::config::ConfigError;
use fairway_node::{FilesError, NodeError, StartError, Stop, Stopped, init_production};

fn home() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, "42".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let config = dir.path().join("fairway.toml");
    let at = dir.path().display();
    let text = format!(
        "data_dir = \"{at}/data\"\np2p_listen = \"127.0.0.1:0\"\nmetrics_port = 0\n[rpc]\nlisten = \"127.0.0.1:0\"\n[keys]\nchannel_file = \"{at}/key\"\n[chain]\nkind = \"development\"\n"
    );
    fs::write(&config, text).unwrap();
    (dir, config)
}

/// Goal: a node starts from a file, answers, and stops in order; its errors say by their type who has to act. Method: one life, with
/// a second start in the middle of it.
#[tokio::test]
async fn a_node_starts_from_its_file_and_stops_in_order() {
    let (_dir, config) = home();
    let node = init_production(&config).await.unwrap();
    assert_eq!(node.address().to_string(), "0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025");
    assert_ne!(node.listens_at().port(), 0);
    assert_eq!(node.gas_address(), None);
    let handle = node.handle().clone();
    handle.when(|driver| (driver.durable() > Lsn::ZERO).then_some(())).await.unwrap();

    let second = init_production(&config).await.err().unwrap();
    assert!(
        matches!(second, NodeError::Start(StartError::Files(FilesError::InUse { .. }))),
        "{second}"
    );
    assert_eq!(node.stop().await.unwrap(), Stop::InOrder);
    assert_eq!(handle.when(|_| Some(())).await, Err(Stopped));
}

#[tokio::test]
async fn what_the_operator_must_correct_has_its_own_type() {
    let (dir, config) = home();
    let error = init_production(dir.path().join("nowhere.toml")).await.err().unwrap();
    assert!(matches!(error, NodeError::Config(ConfigError::Read { .. })), "{error}");
    fs::remove_file(dir.path().join("key")).unwrap();
    let error = init_production(&config).await.err().unwrap();
    assert!(
        matches!(error, NodeError::Key(fairway_node::keys::KeyError::Missing { .. })),
        "{error}"
    );
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}
