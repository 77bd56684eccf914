//! What is refused, with which words; what counts more than what.

use super::*;

const GOOD: &str = r#"
data_dir = "/tmp/fairway"
key_file = "/tmp/key"
p2p_listen = "127.0.0.1:4100"

[[peers]]
address = "0x0101010101010101010101010101010101010101"
at = "127.0.0.1:4101"

[chain]
kind = "development"
"#;

fn from_file(text: &str, sources: Sources) -> Result<Loaded, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let loaded = load(&Sources { file: Some(file.path().to_path_buf()), ..sources });
    let shown = file.path().display().to_string();
    loaded.map_err(|e| e.to_string().replace(&shown, "FILE"))
}

fn complaint(text: &str) -> String {
    from_file(text, Sources::default()).unwrap_err()
}

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Sources { environment, ..Sources::default() }
}

fn flag(name: &str, key: &str, value: &str) -> Flag {
    Flag { name: name.into(), key: key.into(), value: value.into() }
}

#[test]
fn a_good_file_is_read() {
    let config = from_file(GOOD, Sources::default()).unwrap().config;
    assert_eq!(config.book()[&Address::repeat_byte(1)], "127.0.0.1:4101".parse().unwrap());
    assert_eq!((config.metrics_port, config.log_level), (9090, LogLevel::Info));
}

#[test]
fn five_flat_keys_are_a_whole_configuration() {
    let five = "rpc_url = \"http://127.0.0.1:8545\"\np2p_listen = \"127.0.0.1:4100\"\ndata_dir = \"/d\"\n\
        log_level = \"debug\"\nmetrics_port = 9100\n";
    let config = from_file(five, Sources::default()).unwrap().config;
    assert_eq!((config.metrics_port, config.log_level), (9100, LogLevel::Debug));
    assert!(matches!(config.chosen(None), Ok(Chosen::Unnamed(_))));
    let Ok(Chosen::Ethereum(chain)) = config.chosen(Some(31_337)) else { panic!("a known chain") };
    assert!(!chain.settings.adjudicator.is_zero());
    let (key, what) = config.chosen(Some(1)).err().unwrap();
    assert_eq!(key, "chain.adjudicator");
    assert_eq!(what, "is missing; the contracts of chain 1 are not known here");
    assert_eq!(config.keys.channel(&config.data_dir), Path::new("/d/keys/channel.json"));
    assert_eq!(config.keys.gas(&config.data_dir), Path::new("/d/keys/gas.json"));
}

/// Goal: each mistake is told in one line with its place and key. Method: one change to a good file.
#[test]
fn mistakes_are_named() {
    let edits = [
        ("127.0.0.1:4100", "localhost"),
        ("p2p_listen", "p2p_lisen"),
        ("\"development\"", "\"mainnet\""),
        ("0x01010101", "0x01"),
        ("at = ", "adress = "),
        ("data_dir = \"/tmp/fairway\"", "data_dir = 7"),
        ("data_dir = \"/tmp/fairway\"", ""),
        ("kind = \"development\"", "chain_id = 1"),
        ("kind = \"development\"", "kindness = 1"),
        ("[chain]", "rpc_url = \"http://127.0.0.1:8545\"\n[chain]"),
        ("kind = \"development\"", "rpc_url = \"http://127.0.0.1:8545\""),
        ("key_file", "chain_id = 1\nkey_file"),
        ("key_file", "metrics_port = 70000\nkey_file"),
        ("key_file", "shutdown = 1\nkey_file"),
        ("key_file", "dance = 1\nkey_file"),
        ("kind = \"development\"", ""),
        ("[chain]", "[chain"),
        ("[chain]\nkind = \"development\"", ""),
        ("key_file = \"/tmp/key\"", "key_file = \"/a\"\nkeys.channel_file = \"/b\""),
    ];
    let told: Vec<String> =
        edits.iter().map(|(from, to)| complaint(&GOOD.replacen(from, to, 1))).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
        FILE:4: p2p_listen: expected an IP address with a port, such as 127.0.0.1:4100
        FILE:4: p2p_lisen: is no key; did you mean p2p_listen?
        FILE:11: chain.kind: unknown variant `mainnet`, expected `development` or `ethereum`
        FILE:7: peers[0].address: expected an Ethereum address, 0x and 40 hexadecimal digits
        FILE:8: peers.adress: is no key; did you mean peers.address?
        FILE:2: data_dir: invalid type: integer `7`, expected path string
        FILE: data_dir: is missing; set it in a file, as FAIRWAY_DATA_DIR or with --data-dir
        FILE: rpc_url: is missing; expected an endpoint, or chain.kind = "development"
        FILE:11: chain.kindness: is no key; did you mean chain.kind?
        FILE:10: peers.rpc_url: is no key; rpc_url stands above the first section
        FILE:11: chain.rpc_url: is no key; rpc_url stands above the first section
        FILE:3: chain_id: is no key; chain_id stands in the section [chain]
        FILE:3: metrics_port: invalid value: integer `70000`, expected u16
        FILE:3: shutdown: is a section; write [shutdown] on a line of its own
        FILE:3: dance: is no key; `fairway config sample` shows all
        FILE: rpc_url: is missing; expected an endpoint, or chain.kind = "development"
        FILE:10: unclosed table, expected `]`
        FILE: rpc_url: is missing; expected an endpoint, or chain.kind = "development"
        FILE:4: keys.channel_file: is set twice, also at FILE:3 by its old or new name
        "#);
}

#[test]
fn one_peer_twice_is_refused() {
    let peer = &GOOD[GOOD.find("[[peers]]").unwrap()..GOOD.find("[chain]").unwrap()];
    let twice = GOOD.replacen("[chain]", &format!("{peer}[chain]"), 1);
    assert_eq!(complaint(&twice), "FILE:6: peers: one address stands there twice");
}

/// Goal: each layer counts more than the one below, key by key, and every value says where it comes from. Method: one key set in one
/// more layer each time.
#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_default() {
    let at = |loaded: &Loaded, key: &str| {
        let setting = loaded.settings.iter().find(|s| s.key == key).unwrap().clone();
        (setting.value, setting.source)
    };
    let file = "data_dir = \"/d\"\nmetrics_port = 1\nlog_level = \"debug\"\n[chain]\nkind = \"development\"\n";
    let loaded = from_file(file, Sources::default()).unwrap();
    assert_eq!(at(&loaded, "p2p_listen"), ("127.0.0.1:4100".into(), "default".into()));
    assert!(at(&loaded, "metrics_port").1.ends_with(":2"), "{loaded:?}");

    let mut sources = environment(&[
        ("FAIRWAY_METRICS_PORT", "2"),
        ("FAIRWAY_SHUTDOWN__DEADLINE_S", "3"),
        ("FAIRWAY_CONFIG", "elsewhere.toml"),
        ("HOME", "/root"),
    ]);
    let loaded = from_file(file, sources.clone()).unwrap();
    assert_eq!(at(&loaded, "metrics_port"), (2.into(), "FAIRWAY_METRICS_PORT".into()));
    assert_eq!(at(&loaded, "shutdown.deadline_s").1, "FAIRWAY_SHUTDOWN__DEADLINE_S");
    assert_eq!(loaded.config.shutdown.deadline_s, 3);
    assert_eq!(loaded.config.log_level, LogLevel::Debug);
    assert_eq!(loaded.notes, Vec::<String>::new());

    sources.flags =
        vec![flag("--metrics-port", "metrics_port", "3"), flag("--set", "metrics_port", "4")];
    let loaded = from_file(file, sources).unwrap();
    assert_eq!(at(&loaded, "metrics_port"), (4.into(), "--set".into()));
    assert_eq!(loaded.config.metrics_port, 4);
}

#[test]
fn a_configuration_needs_no_file() {
    let mut sources = environment(&[
        ("FAIRWAY_DATA_DIR", "/d"),
        ("FAIRWAY_RPC_URL", "http://a"),
        ("FAIRWAY_CHAIN__CHAIN_ID", "31337"),
        ("FAIRWAY_CHAIN__ENDPOINTS", "http://b, http://c"),
        ("FAIRWAY_CHAIN__CHECK_HEADERS", "false"),
        (
            "FAIRWAY_PEERS",
            "[{ address = \"0x0101010101010101010101010101010101010101\", at = \"127.0.0.1:1\" }]",
        ),
    ]);
    let config = load(&sources).unwrap().config;
    let Ok(Chosen::Ethereum(chain)) = config.chosen(None) else { panic!("a chain") };
    assert_eq!((chain.settings.endpoints.len(), chain.settings.quorum), (3, 2));
    assert!(!chain.settings.check_headers);
    assert_eq!(config.peers.len(), 1);
    sources.environment.remove("FAIRWAY_DATA_DIR");
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "configuration: data_dir: is missing; set it in a file, as FAIRWAY_DATA_DIR or with --data-dir"
    );
}

/// What others name after their services is theirs; what looks like a slip is refused.
#[test]
fn variables_that_are_no_keys_are_noted_or_refused() {
    let with = |name: &str, value: &str| from_file(GOOD, environment(&[(name, value)]));
    let loaded = with("FAIRWAY_PORT_4100_TCP_ADDR", "10.0.0.1").unwrap();
    // The file's old name of a key is noted as well.
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
    assert_eq!(loaded.notes[1], "FAIRWAY_PORT_4100_TCP_ADDR is no key and is ignored");
    assert!(loaded.notes[0].ends_with(":3: key_file is called keys.channel_file now"));
    for (name, value, told) in [
        (
            "FAIRWAY_METRIC_PORT",
            "1",
            "FAIRWAY_METRIC_PORT: metric_port: is no key; did you mean FAIRWAY_METRICS_PORT?",
        ),
        (
            "FAIRWAY_CHAIN_ID",
            "1",
            "FAIRWAY_CHAIN_ID: chain_id: is no key; did you mean FAIRWAY_CHAIN__CHAIN_ID?",
        ),
        (
            "FAIRWAY_METRICS_PORT",
            "tcp://10.0.0.1:9090",
            "FAIRWAY_METRICS_PORT: metrics_port: expected a whole number, found \"tcp://10.0.0.1:9090\"",
        ),
        (
            "FAIRWAY_CHAIN__QUORUM",
            "9",
            "FAIRWAY_CHAIN__QUORUM: chain.quorum: expected 1 to 1 of 1 endpoints",
        ),
    ] {
        let ethereum = GOOD.replacen("kind = \"development\"", "chain_id = 31337", 1);
        let ethereum = format!("rpc_url = \"http://a\"\n{ethereum}");
        let error = from_file(&ethereum, environment(&[(name, value)])).unwrap_err();
        assert_eq!(error, told);
    }
}

/// Goal: no message and no table repeats what may hold a password. Method: the same secret in every key that takes one, well-formed
/// and not.
#[test]
fn secrets_are_neither_shown_nor_quoted() {
    let secret = "0123456789abcdef";
    let base = "data_dir = \"/d\"\n[chain]\nchain_id = 31337\n";
    let good = format!(
        "rpc_url = \"https://u:{secret}@a.example/{secret}\"\n{base}endpoints = [\"https://b/{secret}\"]\nhints = [\"wss://c/{secret}\"]\n"
    );
    let loaded = from_file(&good, Sources::default()).unwrap();
    let shown = format!(
        "{}{}{loaded:?}",
        settings_text(&loaded.settings),
        serde_json::to_string(&loaded.settings).unwrap()
    );
    assert!(!shown.contains(secret), "{shown}");
    assert!(shown.contains("https://a.example/…"), "{shown}");
    for bad in [
        format!("rpc_url = \"ftp://a/{secret}\"\n{base}"),
        format!("rpc_url = \"{secret}\"\n{base}"),
        format!("rpc_url = [\"{secret}\"]\n{base}"),
        format!("rpc_url = \"http://a\"\n{base}endpoints = \"{secret}\"\n"),
        format!("rpc_url = \"http://a\"\n{base}hints = [\"{secret}\"]\n"),
    ] {
        let told = complaint(&bad);
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load_from_file("nowhere.toml").unwrap_err().to_string();
    assert_eq!(
        error,
        "nowhere.toml: cannot read this file: No such file or directory (os error 2)"
    );
}
