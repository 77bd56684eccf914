//! `fairway init` and `fairway keys`: from nothing to a node that runs with keys under a password, and what never comes out.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const WORD: &str = "correct horse battery";

/// A node that `fairway init` made, on a development chain.
struct Home {
    dir: tempfile::TempDir,
    /// Everything that was said so far.
    said: String,
}

impl Home {
    fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let mut home = Home { dir, said: String::new() };
        home.private("word", WORD);
        let node = home.path("node");
        let made = home.fairway(&[
            "init",
            &node,
            "--light",
            "--password-file",
            &home.path("word"),
            "--set",
            "chain.kind=development",
            "--set",
            "p2p_listen=127.0.0.1:0",
            "--set",
            "log_level=trace",
        ]);
        assert_eq!(made.0, 0, "{}", made.1);
        home
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_string()
    }

    fn private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Exit code and everything that was said, with the directory cut out.
    fn fairway(&mut self, arguments: &[&str]) -> (i32, String) {
        self.ask(arguments, &[], "")
    }

    fn ask(&mut self, arguments: &[&str], env: &[(&str, &str)], input: &str) -> (i32, String) {
        let (code, text) = fairway(arguments, env, input);
        self.said.push_str(&text);
        (code, text.replace(self.dir.path().to_str().unwrap(), "HOME"))
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAIRWAY_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

fn fairway(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> (i32, String) {
    let mut child = command(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may not read what it does not need.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Goal: no command and no node says a password or a key, whatever is asked and however much is told. Method: the keys' bytes are
/// exported apart; then everything is used, well and wrongly, at the level `trace`, and all of it is searched for them as digits and
/// as `Debug` would print them.
#[test]
fn neither_keys_nor_passwords_are_ever_said() {
    let mut home = Home::new();
    let (config, word) = (home.path("node/fairway.toml"), home.path("word"));
    let stores: Vec<String> = ["channel", "gas", "identity"]
        .iter()
        .map(|role| home.path(&format!("node/keys/{role}.json")))
        .collect();
    let mut secrets = vec![WORD.to_string(), "battery staple horse".to_string()];
    for store in &stores {
        let (code, digits) =
            fairway(&["keys", "export", store, "--yes", "--password-file", &word], &[], "");
        assert_eq!((code, digits.trim().len()), (0, 64), "{digits}");
        let bytes = alloy_primitives::hex::decode(digits.trim()).unwrap();
        secrets.push(digits.trim()[..16].to_string());
        secrets.push(format!("{:?}", &bytes[..4]).trim_matches(['[', ']']).to_string());
    }
    let new = home.private("new", "battery staple horse").to_str().unwrap().to_string();
    let run = ["run", "--config", &config, "--password-file", &word];
    for arguments in [
        &["config", "show", "--config", &config][..],
        &["config", "check", "--json", "--config", &config],
        &["keys", "list", "--config", &config],
        &["keys", "list", "--json", "--config", &config],
        &["keys", "show", &stores[0]],
        &["keys", "export", &stores[0], "--password-file", &word],
        &["keys", "export", &stores[0], "--yes", "--password-file", &new],
        &["keys", "change-password", &stores[0], "--password-file", &new],
        &["run", "--config", &config, "--password-file", &new],
        &[
            "keys",
            "change-password",
            &stores[2],
            "--light",
            "--password-file",
            &word,
            "--new-password-file",
            &new,
        ],
        &run,
        &[
            "keys",
            "change-password",
            &stores[2],
            "--light",
            "--password-file",
            &new,
            "--new-password-file",
            &word,
        ],
    ] {
        home.fairway(arguments);
    }
    let mut node = command(&run).env("RUST_LOG", "trace").stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(node.stderr.take().unwrap());
    while !home.said.contains("listens at") {
        assert_ne!(stderr.read_line(&mut home.said).unwrap(), 0, "{}", home.said);
    }
    assert!(Command::new("kill").arg(node.id().to_string()).status().unwrap().success());
    stderr.read_to_string(&mut home.said).unwrap();
    assert_eq!(node.wait().unwrap().code(), Some(0));
    for secret in &secrets {
        assert!(!home.said.to_lowercase().contains(secret), "{secret} was said: {}", home.said);
    }
    assert!(home.said.contains("the password does not open this key store"), "{}", home.said);
}

#[test]
fn init_makes_what_a_node_needs_and_overwrites_nothing() {
    let mut home = Home::new();
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (path, expected) in [
        ("node", 0o700),
        ("node/keys", 0o700),
        ("node/keys/channel.json", 0o600),
        ("node/fairway.toml", 0o600),
    ] {
        assert_eq!(mode(&home.path(path)), expected, "{path}");
    }
    assert!(home.said.contains("Back up ") && home.said.contains("fairway run --config "));
    let before = fs::read_to_string(home.path("node/keys/gas.json")).unwrap();
    fs::remove_file(home.path("node/fairway.toml")).unwrap();
    let (node, word) = (home.path("node"), home.path("word"));
    let again = home.fairway(&["init", &node, "--light", "--password-file", &word]);
    assert_eq!(
        again,
        (2, "fairway: HOME/node/keys/channel.json: is there already; nothing was changed\n".into())
    );
    assert_eq!(fs::read_to_string(home.path("node/keys/gas.json")).unwrap(), before);
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(home.path("node/keys")).unwrap();
    let open = home.fairway(&["init", &node, "--light", "--password-file", &word]);
    assert_eq!(
        open,
        (2, "fairway: HOME/node: other users have access; run: chmod 700 HOME/node\n".into())
    );
    let bad = home.path("other");
    let told = home.fairway(&["init", &bad, "--set", "chain.quorom=2", "--password-file", &word]);
    assert_eq!(
        told,
        (2, "fairway: --set: chain.quorom: is no key; did you mean chain.quorum?\n".into())
    );
    assert!(!Path::new(&bad).exists());
}

#[test]
fn a_node_does_not_start_without_the_right_password() {
    let mut home = Home::new();
    let config = home.path("node/fairway.toml");
    let run = ["run", "--config", &config];
    let none = home.fairway(&run);
    assert_eq!(none.0, 2);
    assert!(
        none.1.ends_with(
            "a password is needed for HOME/node/keys/channel.json; give it with --password-file, --password-fd, FAIRWAY_PASSWORD or keys.password_file\n"
        ),
        "{}",
        none.1
    );
    let wrong = home.ask(&run, &[("FAIRWAY_PASSWORD", "wrong horse battery")], "");
    assert_eq!(
        wrong,
        (
            2,
            "fairway: HOME/node/keys/channel.json: the password does not open this key store\n"
                .into()
        )
    );
    let word = home.path("word");
    fs::set_permissions(&word, fs::Permissions::from_mode(0o644)).unwrap();
    let open = home.fairway(&["run", "--config", &config, "--password-file", &word]);
    assert_eq!(
        open,
        (
            2,
            "fairway: HOME/word: other users can read this password; run: chmod 600 on it\n".into()
        )
    );
    // The environment counts more than the file; what follows the keys is what fails then.
    fs::set_permissions(&word, fs::Permissions::from_mode(0o600)).unwrap();
    let other = home.private("other", "wrong horse battery").to_str().unwrap().to_string();
    let nowhere = ["--p2p-listen", "192.0.2.1:1"];
    for (file, environment, expected) in [
        (&word, None, "cannot listen at 192.0.2.1:1"),
        (&other, None, "the password does not open this key store"),
        (&other, Some(("FAIRWAY_PASSWORD", WORD)), "cannot listen at 192.0.2.1:1"),
    ] {
        let set = format!("keys.password_file={file}");
        let arguments = [&run[..], &nowhere, &["--set", &set]].concat();
        let told = home.ask(&arguments, environment.as_slice(), "");
        assert_eq!(told.0, 2);
        assert!(told.1.contains(expected), "{}", told.1);
    }
    fs::remove_file(home.path("node/keys/channel.json")).unwrap();
    let missing = home.fairway(&run);
    assert!(missing.1.contains("node/keys/channel.json: there is no key;"), "{}", missing.1);
}

#[test]
fn a_key_goes_in_and_comes_out_the_same() {
    let mut home = Home::new();
    let (store, word) = (home.path("imported.json"), home.path("word"));
    let digits = "42".repeat(32);
    let address = "0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025\n";
    let import = ["keys", "import", &store, "--light", "--password-file", &word];
    assert_eq!(home.ask(&import, &[], &digits), (0, address.into()));
    assert_eq!(home.fairway(&["keys", "show", &store]), (0, address.into()));
    let export = ["keys", "export", &store, "--yes", "--password-file", &word];
    assert_eq!(home.fairway(&export), (0, format!("{digits}\n")));
    let asked = home.fairway(&export[..3]);
    assert_eq!(asked, (2, "fairway: nobody is there to be asked; --yes goes without\n".into()));
    let twice = home.ask(&import, &[], &digits);
    assert_eq!(
        twice,
        (
            2,
            "fairway: HOME/imported.json: cannot create this file: File exists (os error 17)\n"
                .into()
        )
    );
    let plain = home.private("plain", &digits).to_str().unwrap().to_string();
    let from = home.path("again.json");
    let again = home.fairway(&[
        "keys",
        "import",
        &from,
        "--from",
        &plain,
        "--light",
        "--password-file",
        &word,
    ]);
    assert_eq!(again, (0, address.into()));
    let short = [("FAIRWAY_PASSWORD", "1234567")];
    let short = home.ask(&["keys", "new", &home.path("short.json")], &short, "");
    assert_eq!(
        short,
        (2, "fairway: the password is too short; choose eight characters at least\n".into())
    );
    assert!(!Path::new(&home.path("short.json")).exists());
}
