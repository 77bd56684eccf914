//! Completions and man pages: every command is in them, and shells can read them.

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
