//! What the build scripts of the simulator and of the fuzz bodies share: the working tree, and the compiler's own words. It is no module
//! of the crate; the scripts take it by its path.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `Cargo.lock` and everything of these packages that may count, by its path from the root.
pub fn files_of_packages(root: &Path, packages: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut files = vec![root.join("Cargo.lock")];
    for package in packages.iter().map(|package| root.join(package)) {
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

/// One word for the compiler: what it says about itself has several lines.
pub fn compiler(root: &Path) -> String {
    let words = run(&env("RUSTC"), &["-vV"], root).expect("rustc runs");
    blake3::hash(words.as_bytes()).to_hex().to_string()
}

/// The features of the package that is built.
pub fn features() -> String {
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

/// Every file below a directory, sorted by path; none when the directory does not exist.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
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
pub fn name_below(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).expect("the file was found below the root");
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// What Cargo says to a build script.
pub fn env(key: &str) -> String {
    std::env::var(key).unwrap_or_else(|_| panic!("cargo sets {key}"))
}
