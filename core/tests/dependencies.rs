//! Core depends on what `dependencies.txt` lists and on nothing else, and stays without std and without unsafe code.
//!
//! Only direct dependencies are compared; their versions and features stand in the workspace's Cargo.toml and Cargo.lock.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn dependencies_are_the_listed_ones() {
    let (listed, used) = (listed(&read("dependencies.txt")), used(&read("Cargo.toml")));
    let unlisted: Vec<&String> = used.difference(&listed).collect();
    let unused: Vec<&String> = listed.difference(&used).collect();
    assert!(
        unlisted.is_empty(),
        "core/Cargo.toml depends on {unlisted:?}: add a line with the reason to core/dependencies.txt"
    );
    assert!(
        unused.is_empty(),
        "core/dependencies.txt lists {unused:?}, which core/Cargo.toml does not use: remove the line"
    );
}

#[test]
fn every_listed_dependency_has_a_reason() {
    for line in read("dependencies.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        assert!(
            line.split_whitespace().count() > 2,
            "core/dependencies.txt: `{line}` gives no reason"
        );
    }
}

#[test]
fn the_crate_is_without_std_and_unsafe() {
    let root = read("src/lib.rs");
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(root.lines().any(|l| l == attribute), "core/src/lib.rs: expected {attribute}");
    }
    assert!(!root.contains("extern crate std"), "core/src/lib.rs: std has no place in core");
}

/// The reader of manifests finds what a dependency could hide behind.
#[test]
fn every_form_of_dependency_is_found() {
    let manifest = "
        [package]
        name = \"x\"
        [dependencies]
        # a comment
        a.workspace = true
        b = { version = \"1\" }
        \"c\" = \"1\"
        [dev-dependencies]
        not-this = \"1\"
        [target.'cfg(unix)'.dependencies]
        d = \"1\"
        [dependencies.e]
        version = \"1\"
        [build-dependencies]
        f = \"1\"
        [features]
        not-that = []
    ";
    let names: Vec<String> = used(manifest).into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first word of each line that is no comment.
fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
}

/// Every dependency that reaches the built library: normal ones, those of a target, and those of a build script.
fn used(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut within = false;
    for line in manifest.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            within = section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
            if let Some((kind, name)) = section.rsplit_once('.')
                && kind.ends_with("dependencies")
                && !kind.ends_with("dev-dependencies")
            {
                names.insert(name.trim_matches('"').to_string());
            }
        } else if within {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.insert(name.trim_matches('"').to_string());
        }
    }
    names
}
