//! Tells the binary what it was built from: commit, compiler, target, profile, and the digest of core's sources.
//!
//! The digest is computed as the simulator's build script computes its own (`fairway-core sources v1`), so a log, a
//! report of the simulator and a shipped binary can be held against each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let manifest = PathBuf::from(env("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("node stands in the workspace root").to_path_buf();
    let rustc = run(&env("RUSTC"), &["--version"], &root).expect("rustc runs");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUILD_CORE_DIGEST={}", core_digest(&root));
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit(&root).unwrap_or_default());
    println!("cargo::rustc-env=BUILD_RUSTC={}", rustc.trim());
    println!("cargo::rustc-env=BUILD_TARGET={}", env("TARGET"));
    println!("cargo::rustc-env=BUILD_PROFILE={}", profile());
}

/// The profile's name. Cargo tells scripts only what it inherits from; the directory of the build has the name itself.
fn profile() -> String {
    let out = PathBuf::from(env("OUT_DIR"));
    let directory = out.ancestors().nth(3).and_then(Path::file_name);
    match directory.and_then(|name| name.to_str()) {
        Some("debug") => "dev".to_string(),
        Some(name) => name.to_string(),
        None => env("PROFILE"),
    }
}

/// The hash of core's sources alone.
fn core_digest(root: &Path) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fairway-core sources v1");
    let package = root.join("core");
    add_file(&mut hasher, root, &package.join("Cargo.toml"));
    let script = package.join("build.rs");
    if script.exists() {
        add_file(&mut hasher, root, &script);
    }
    let source = package.join("src");
    println!("cargo::rerun-if-changed={}", source.display());
    for file in files_below(root, &source) {
        add_file(&mut hasher, root, &file);
    }
    hasher.finalize().to_hex().to_string()
}

fn add_file(hasher: &mut blake3::Hasher, root: &Path, file: &Path) {
    println!("cargo::rerun-if-changed={}", file.display());
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    // The lengths keep two different lists from giving the same bytes.
    for part in [name_below(root, file).as_bytes(), &bytes] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
}

/// Every file below a directory, by name with forward slashes, so that every machine sorts alike.
fn files_below(root: &Path, directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory can be listed").path();
        if path.is_dir() { files.extend(files_below(root, &path)) } else { files.push(path) }
    }
    files.sort_by_key(|file| name_below(root, file));
    files
}

/// The path below `root`, with forward slashes.
fn name_below(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).expect("the file was found below the root");
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The commit, when this is a git checkout and git is there.
fn commit(root: &Path) -> Option<String> {
    let log = run("git", &["rev-parse", "--git-path", "logs/HEAD"], root)?;
    let log = root.join(log.trim());
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    Some(run("git", &["rev-parse", "HEAD"], root)?.trim().to_string())
}

/// A program's output, or nothing when it is missing or fails.
fn run(program: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(directory).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn env(key: &str) -> String {
    std::env::var(key).unwrap_or_else(|_| panic!("cargo sets {key}"))
}
