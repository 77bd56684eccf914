//! Installs the contracts' npm packages below the target directory, where they have not been installed. They are never committed.

use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::{env, fs};

use fairway_sim::evm::{BELOW_TARGET, FOLDER_VARIABLE, NITRO, TOKEN};

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
