//! What `fairway version` says about this very build, and the rules of a release.
//!
//! `ci/release` asks the stripped binary that it ships the same questions.

use std::process::Command;

use serde_json::Value;

/// Tests are built by `-p fairway-node` alone, as releases are: planted bugs must not have crept in.
#[test]
fn the_node_built_alone_holds_no_planted_bugs() {
    let version = version();
    assert_eq!(
        version["mutants_compiled"], false,
        "another package turned a feature of core on: cargo test -p fairway-node, alone"
    );
    assert_eq!(version["features"], Value::Array(Vec::new()));
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_build_says_with_which_flags_it_was_made() {
    let version = version();
    let cfgs = version["cfgs"].as_array().unwrap();
    assert_eq!(cfgs.contains(&"madsim".into()), cfg!(madsim));
    assert_eq!(version["core_digest"].as_str().map(str::len), Some(64));
    assert!(version["rustc"].as_str().unwrap().starts_with("rustc "));
}

/// The inspection of `ci/release` fires: this build is not a release.
#[test]
fn the_inspection_refuses_a_build_that_is_no_release() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/release");
    let output =
        Command::new(script).args(["--inspect", env!("CARGO_BIN_EXE_fairway")]).output().unwrap();
    let why = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{why}");
    let expected = if cfg!(madsim) {
        "with flags of the simulator"
    } else {
        "not built with the profile release"
    };
    assert!(why.contains(expected), "{why}");
}

fn version() -> Value {
    let output =
        Command::new(env!("CARGO_BIN_EXE_fairway")).args(["version", "--json"]).output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
