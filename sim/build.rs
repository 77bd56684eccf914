//! Gives the simulator its build id, the place of its sources, and the embedded scenarios.
//!
//! The build id answers one question: would the same seed give the same run? So it covers whatever the
//! compiler sees of our own code and its dependencies' versions, and not the commit: committing a report
//! must not stale the seeds it quotes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages whose sources decide what a run does, from the workspace root.
const PACKAGES: [&str; 3] = ["core", "node/transport", "sim"];

fn main() {
    let manifest = PathBuf::from(env("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("sim stands in the workspace root").to_path_buf();
    println!("cargo::rustc-env=FAIRWAY_BUILD_ID={}", build_id(&root));
    println!("cargo::rustc-env=FAIRWAY_CORE_ID={}", core_id(&root));
    println!("cargo::rustc-env=FAIRWAY_ROOT={}", root.display());
    let table = PathBuf::from(env("OUT_DIR")).join("scenarios.rs");
    fs::write(&table, scenario_table(&root.join("scenarios"))).expect("OUT_DIR is writable");
}

/// The hash of Cargo.lock, the sources, the compiler and the features.
fn build_id(root: &Path) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fairway-sim build id v1");
    add_file(&mut hasher, root, &root.join("Cargo.lock"));
    for package in PACKAGES {
        add_package(&mut hasher, root, &root.join(package));
    }
    add(&mut hasher, "rustc", run(&env("RUSTC"), &["-vV"], root).expect("rustc runs").as_bytes());
    let mut features: Vec<String> = std::env::vars()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with("CARGO_FEATURE_"))
        .collect();
    features.sort();
    add(&mut hasher, "features", features.join(",").as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// The hash of core's sources alone: what a log or a proof was made by.
fn core_id(root: &Path) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fairway-core sources v1");
    add_package(&mut hasher, root, &root.join("core"));
    hasher.finalize().to_hex().to_string()
}

/// Adds `Cargo.toml`, `build.rs` if any, and everything under `src`.
fn add_package(hasher: &mut blake3::Hasher, root: &Path, package: &Path) {
    add_file(hasher, root, &package.join("Cargo.toml"));
    let script = package.join("build.rs");
    if script.exists() {
        add_file(hasher, root, &script);
    }
    let source = package.join("src");
    println!("cargo::rerun-if-changed={}", source.display());
    for file in files_below(&source) {
        add_file(hasher, root, &file);
    }
}

fn add_file(hasher: &mut blake3::Hasher, root: &Path, file: &Path) {
    println!("cargo::rerun-if-changed={}", file.display());
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    add(hasher, &name_below(root, file), &bytes);
}

/// Adds one named part; the lengths keep two different lists from giving the same bytes.
fn add(hasher: &mut blake3::Hasher, name: &str, bytes: &[u8]) {
    for part in [name.as_bytes(), bytes] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
}

/// A program's output, or nothing when it is missing or fails.
fn run(program: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(directory).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
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

/// Every file below a directory, sorted by path; none when the directory does not exist.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return files;
    };
    for entry in entries {
        let path = entry.expect("a directory can be listed").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    // By name with forward slashes, so that every machine sorts alike.
    files.sort_by_key(|file| name_below(directory, file));
    files
}

/// The path below `root`, with forward slashes.
fn name_below(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).expect("the file was found below the root");
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn env(key: &str) -> String {
    std::env::var(key).unwrap_or_else(|_| panic!("cargo sets {key}"))
}
