//! Where the bytecode comes from: two npm packages, installed below the target directory and never committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use alloy_primitives::{Bytes, hex};

/// The contracts as they are deployed.
const NITRO: (&str, &str) = ("@statechannels/nitro-protocol", "2.0.1-alpha.6");
/// An ordinary token; the version is what the other package asks for.
const TOKEN: (&str, &str) = ("@openzeppelin/contracts", "4.9.6");

/// Creation bytecode.
#[derive(Clone)]
pub struct Bytecode {
    pub adjudicator: Bytes,
    pub consensus_app: Bytes,
    pub payment_app: Bytes,
    pub token: Bytes,
}

/// Reads the bytecode, after installing the packages where that has not been done.
///
/// # Panics
/// npm is missing or fails; the message says which.
pub fn bytecode() -> Bytecode {
    // Tests run side by side; one of them installs.
    static BYTECODE: OnceLock<Bytecode> = OnceLock::new();
    BYTECODE.get_or_init(load).clone()
}

fn load() -> Bytecode {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nitro-protocol");
    let contracts = home.join("node_modules").join(NITRO.0).join("dist/artifacts/contracts");
    let token = home.join("node_modules").join(TOKEN.0).join("build/contracts");
    if !home.join("installed").exists() {
        install(&home);
    }
    let nitro = |name: &str| read(contracts.join(format!("{name}.sol/{name}.json")));
    Bytecode {
        adjudicator: nitro("NitroAdjudicator"),
        consensus_app: nitro("ConsensusApp"),
        payment_app: nitro("VirtualPaymentApp"),
        token: read(token.join("ERC20PresetFixedSupply.json")),
    }
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

fn read(path: PathBuf) -> Bytes {
    let text = fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!("{} is missing: remove its directory and run again ({e})", path.display())
    });
    let artifact: serde_json::Value = serde_json::from_str(&text).expect("an artifact is JSON");
    let code = artifact["bytecode"].as_str().expect("an artifact has bytecode");
    hex::decode(code).expect("bytecode is hex").into()
}
