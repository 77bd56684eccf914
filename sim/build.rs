//! Gives the simulator its build id, the place of its sources, and the embedded scenarios.
//!
//! The build id answers one question: would the same seed give the same run? So it covers whatever the
//! compiler sees of our own code and its dependencies' versions, and not the commit: committing a report
//! must not stale the seeds it quotes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "src/build_id/recipe.rs"]
mod recipe;
#[path = "src/build_id/script.rs"]
mod script;

use recipe::{PACKAGES, Recipe};
use script::{compiler, env, features, files_below, files_of_packages, name_below};

fn main() {
    let manifest = PathBuf::from(env("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("sim stands in the workspace root").to_path_buf();
    let files = files_of_packages(&root, &PACKAGES);
    let (compiler, features) = (compiler(&root), features());
    println!("cargo::rustc-env=FAIRWAY_BUILD_ID={}", build_id(&files, &compiler, &features));
    println!("cargo::rustc-env=FAIRWAY_CORE_ID={}", core_id(&files));
    println!("cargo::rustc-env=FAIRWAY_COMPILER={compiler}");
    println!("cargo::rustc-env=FAIRWAY_FEATURES={features}");
    println!("cargo::rustc-env=FAIRWAY_ROOT={}", root.display());
    let table = PathBuf::from(env("OUT_DIR")).join("scenarios.rs");
    fs::write(&table, scenario_table(&root.join("scenarios"))).expect("OUT_DIR is writable");
}

/// The hash of Cargo.lock, the sources, the compiler and the features.
fn build_id(files: &BTreeMap<String, Vec<u8>>, compiler: &str, features: &str) -> String {
    let order = recipe::sources(&PACKAGES, files.keys().map(String::as_str));
    recipe::build_id(order.iter().map(|path| (*path, &files[*path][..])), compiler, features)
}

/// The hash of core's sources alone: what a log or a proof was made by.
fn core_id(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut recipe = Recipe::new("fairway-core sources v1");
    for path in recipe::of_package("core", files.keys().map(String::as_str)) {
        recipe.add(path, &files[path]);
    }
    recipe.finish()
}

/// A Rust array of `(name, text)` for every scenario, sorted by name.
fn scenario_table(directory: &Path) -> String {
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut table = String::from("&[\n");
    for file in files_below(directory) {
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = name_below(directory, &file);
        let name = name.strip_suffix(".toml").expect("its extension is toml");
        table.push_str(&format!(
            "    ({name:?}, include_str!({:?})),\n",
            file.display().to_string()
        ));
    }
    table.push_str("]\n");
    table
}
