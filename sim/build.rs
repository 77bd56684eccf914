//! Gives the simulator its build id, the place of its sources, and the embedded scenarios.
//!
//! The build id answers one question: would the same seed give the same run? So it covers whatever the
//! compiler sees of our own code and its dependencies' versions, and not the commit: committing a report
//! must not stale the seeds it quotes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/build_id/recipe.rs"]
mod recipe;

use recipe::{PACKAGES, Recipe};

fn main() {
    let manifest = PathBuf::from(env("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("sim stands in the workspace root").to_path_buf();
    let files = files_of_the_build(&root);
    let (compiler, features) = (compiler(&root), features());
    println!("cargo::rustc-env=FAIRWAY_BUILD_ID={}", build_id(&files, &compiler, &features));
    println!("cargo::rustc-env=FAIRWAY_CORE_ID={}", core_id(&files));
    println!("cargo::rustc-env=FAIRWAY_COMPILER={compiler}");
    println!("cargo::rustc-env=FAIRWAY_FEATURES={features}");
    println!("cargo::rustc-env=FAIRWAY_ROOT={}", root.display());
    let table = PathBuf::from(env("OUT_DIR")).join("scenarios.rs");
    fs::write(&table, scenario_table(&root.join("scenarios"))).expect("OUT_DIR is writable");
}

/// Everything that may count, by its path from the root.
fn files_of_the_build(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = vec![root.join("Cargo.lock")];
    for package in PACKAGES.map(|package| root.join(package)) {
        let script = package.join("build.rs");
        files.push(package.join("Cargo.toml"));
        files.extend(script.exists().then_some(script));
        let source = package.join("src");
        println!("cargo::rerun-if-changed={}", source.display());
        files.extend(files_below(&source));
    }
    let read = |file: PathBuf| {
        println!("cargo::rerun-if-changed={}", file.display());
        let bytes = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (name_below(root, &file), bytes)
    };
    files.into_iter().map(read).collect()
}

/// The hash of Cargo.lock, the sources, the compiler and the features.
fn build_id(files: &BTreeMap<String, Vec<u8>>, compiler: &str, features: &str) -> String {
    let order = recipe::sources(files.keys().map(String::as_str));
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

/// One word for the compiler: what it says about itself has several lines.
fn compiler(root: &Path) -> String {
    let words = run(&env("RUSTC"), &["-vV"], root).expect("rustc runs");
    blake3::hash(words.as_bytes()).to_hex().to_string()
}

fn features() -> String {
    let mut features: Vec<String> = std::env::vars()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with("CARGO_FEATURE_"))
        .collect();
    features.sort();
    features.join(",")
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
