//! Installs the contracts' npm packages below the target directory, where they have not been installed. They are never committed.

use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::{env, fs};

use fairway_sim::evm::{ArtefactsError, BELOW_TARGET, Bytecode, FOLDER_VARIABLE, NITRO, TOKEN};

/// After this the contracts can be deployed.
///
/// # Panics
/// npm is missing or fails; the message says which.
pub fn installed() {
    // Tests run side by side; one of them installs.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory");
        let home = home.join(BELOW_TARGET);
        if env::var_os(FOLDER_VARIABLE).is_none() && !home.join("installed").exists() {
            install(&home);
        }
    });
}

fn install(home: &Path) {
    fs::create_dir_all(home).expect("the target directory can be written");
    let packages = [NITRO, TOKEN].map(|(name, version)| format!("{name}@{version}"));
    println!("installing {} below {} with npm", packages.join(" and "), home.display());
    let npm = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps"])
        .args(["--omit=dev", "--prefix"])
        .arg(home)
        .args(&packages)
        .output();
    let output = npm.unwrap_or_else(|e| {
        panic!("this test needs npm, for the bytecode of {}: install Node.js ({e})", NITRO.0)
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "npm could not install {}: {errors}", packages.join(" and "));
    fs::write(home.join("installed"), "").expect("the target directory can be written");
}

/// Goal: what is not the pinned bytecode is refused, with the file's name. Method: a folder that has one artefact, and then all.
#[test]
fn other_bytecode_is_refused_with_its_name() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("artefacts");
    let _ = fs::remove_dir_all(&folder);
    let modules = folder.join("node_modules");
    let contracts = modules.join(NITRO.0).join("dist/artifacts/contracts");
    let artefact = |name: &str| contracts.join(format!("{name}.sol/{name}.json"));
    let write = |file: &Path, text: &str| {
        fs::create_dir_all(file.parent().expect("a folder")).expect("a writable folder");
        fs::write(file, text).expect("a writable folder");
    };
    let first = artefact("NitroAdjudicator");
    for (text, reason) in [
        (None, "No such file"),
        (Some("{"), "EOF"),
        (Some("{}"), "no bytecode"),
        (Some("{\"bytecode\": 7}"), "no bytecode"),
        (Some("{\"bytecode\": \"0x7\"}"), "odd number"),
    ] {
        text.into_iter().for_each(|text| write(&first, text));
        match Bytecode::read(&folder) {
            Err(ArtefactsError::Unreadable { file, why }) => {
                assert_eq!(file, first.display().to_string());
                assert!(why.contains(reason), "{text:?}: {why}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let token = modules.join(TOKEN.0).join("build/contracts/ERC20PresetFixedSupply.json");
    let names = ["NitroAdjudicator", "ConsensusApp", "VirtualPaymentApp"];
    for file in names.map(artefact).iter().chain([&token]) {
        write(file, "{\"bytecode\": \"0x00\"}");
    }
    let another = Bytecode::read(&folder).expect_err("this is not what is deployed");
    assert!(matches!(another, ArtefactsError::Another { .. }), "{another}");
}
