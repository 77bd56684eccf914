//! Completions and man pages: every command is in them, and shells can read them. And the book's page of faults names tests that exist.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn fairway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairway")).args(arguments).output().unwrap()
}

#[test]
fn completions_are_written_for_each_shell() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/folder");
    for (shell, file) in [
        ("bash", "fairway.bash"),
        ("elvish", "fairway.elv"),
        ("fish", "fairway.fish"),
        ("powershell", "_fairway.ps1"),
        ("zsh", "_fairway"),
    ] {
        let written = fairway(&["completions", shell, "--out", folder.to_str().unwrap()]);
        assert_eq!(written.status.code(), Some(0), "{shell}");
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert!(text.contains("change-password"), "{shell}");
        assert!(fairway(&["completions", shell]).stdout == text.as_bytes(), "{shell}");
    }
    let read = Command::new("bash").arg("-n").arg(folder.join("fairway.bash")).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(fairway(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn each_command_has_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let written = fairway(&["man", "--out", dir.path().to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0));
    let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    for name in
        ["fairway.1", "fairway-run.1", "fairway-keys-change-password.1", "fairway-config-show.1"]
    {
        assert!(page(name).starts_with(".ie"), "{name}: {}", page(name));
    }
    assert!(fairway(&["man"]).stdout == page("fairway.1").as_bytes());
    let bad = fairway(&["man", "--out", "/dev/null/x"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(!Path::new("/dev/null/x").exists());
}

/// Every test and scenario that the page of faults names is there; each fault has one at least.
#[test]
fn the_page_of_faults_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/src/reference/faults.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|l| l.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 15, "{rows:#?}");
    for row in rows {
        let (_, tests) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        for named in tests.split("`, `").map(|t| t.trim_matches('`')) {
            let (file, test) = named.split_once(": ").unwrap_or((named, ""));
            let text = fs::read_to_string(root.join(file));
            let text = text.unwrap_or_else(|e| panic!("{file}: {e}\n{row}"));
            assert!(file.ends_with(".toml") != text.contains(&format!("fn {test}(")), "{named}");
        }
    }
}
