//! The configuration file of `fairway run`: strict, small, and every complaint is one line with file, key and remedy.
//!
//! ```toml
//! data_dir   = "/var/lib/fairway"     # created with mode 0700 if it is missing
//! key_file   = "/etc/fairway/key"     # the channel key: 64 hexadecimal digits, mode 0600
//! p2p_listen = "127.0.0.1:4100"
//!
//! [[peers]]
//! address = "0x…"                     # the peer's channel address
//! at      = "10.0.0.2:4100"
//!
//! [chain]
//! kind = "development"                # in memory; or leave kind out, and give an endpoint:
//! ```
//!
//! ```toml
//! rpc_url = "http://127.0.0.1:8545"   # above the first section
//!
//! [chain]
//! chain_id      = 31337
//! adjudicator   = "0x…"
//! consensus_app = "0x…"
//! payment_app   = "0x…"               # without it no virtual channels
//! ```
//!
//! The other keys of `[chain]` have defaults, which the book lists.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fairway_chain::GasKey;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::types::Address;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

mod chain;

pub use chain::{Chosen, Ethereum};

use chain::{ChainConfig, Complaint};

/// The file as it stands on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Where the log is.
    pub data_dir: PathBuf,
    /// Where the channel key is.
    pub key_file: PathBuf,
    /// Where peers reach us.
    #[serde(deserialize_with = "socket_address")]
    pub p2p_listen: SocketAddr,
    /// Whom to keep a session with.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// An Ethereum endpoint.
    pub rpc_url: Option<String>,
    /// Which chain.
    #[serde(default)]
    pub chain: ChainConfig,
    /// Where the node answers.
    #[serde(default)]
    pub rpc: crate::rpc::Settings,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its channel address.
    #[serde(deserialize_with = "channel_address")]
    pub address: Address,
    /// Where it listens.
    #[serde(deserialize_with = "socket_address")]
    pub at: SocketAddr,
}

/// What is wrong, in one line. The operator corrects it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: cannot read this file: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// Not what a configuration file looks like.
    #[error("{}:{line}: {key}{what}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with a colon, where the line has one.
        key: String,
        /// What was found and what was expected.
        what: String,
    },
    /// The value is well-formed and cannot be used.
    #[error("{}: {key}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What was expected.
        what: String,
    },
    /// The key file is no key. Says nothing about its content.
    #[error("{}: {what}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
}

impl RunConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<RunConfig, ConfigError> {
        let config = RunConfig::parse(path, &read(path)?)?;
        let value = |key, what| ConfigError::Value { path: path.to_path_buf(), key, what };
        config.chosen().map_err(|(key, what)| value(key, what))?;
        if config.book().len() != config.peers.len() {
            return Err(value("peers.address", "names one peer twice".into()));
        }
        Ok(config)
    }

    fn parse(path: &Path, text: &str) -> Result<RunConfig, ConfigError> {
        toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start).min(text.len());
            let before = text.get(..at).unwrap_or_default();
            let line = before.lines().count().max(1);
            // A span that starts a line belongs to the next one.
            let line = if before.ends_with('\n') { line + 1 } else { line };
            let key =
                text.lines().nth(line - 1).and_then(|l| l.split_once('=')).map(|(k, _)| k.trim());
            let key = key.map(|k| format!("{k}: ")).unwrap_or_default();
            let what = e.message().replace('\n', " ");
            ConfigError::Parse { path: path.to_path_buf(), line, key, what }
        })
    }

    /// The chain that is meant.
    ///
    /// # Errors
    /// The first key that is missing or wrong; none after [`RunConfig::load`].
    pub fn chosen(&self) -> Result<Chosen, Complaint> {
        self.chain.choose(self.rpc_url.as_deref())
    }

    /// Where peers are.
    pub fn book(&self) -> BTreeMap<Address, SocketAddr> {
        self.peers.iter().map(|p| (p.address, p.at)).collect()
    }
}

/// Reads the channel key, and derives the secret of the network identity from it: one secret to keep and to back up.
///
/// # Errors
/// [`ConfigError::Key`], which never repeats what the file holds.
pub fn load_key(path: &Path) -> Result<(SecretKey, [u8; 32]), ConfigError> {
    let bytes = load_secret(path)?;
    let what = "is not a secp256k1 key; draw another";
    let key = SecretKey::new(bytes, Crypto::Real)
        .map_err(|_| ConfigError::Key { path: path.to_path_buf(), what })?;
    Ok((key, blake3::derive_key("fairway node seed v1", &bytes)))
}

/// Reads the key that pays for gas.
///
/// # Errors
/// As [`load_key`].
pub fn load_gas_key(path: &Path) -> Result<GasKey, ConfigError> {
    let what = "is not a secp256k1 key; draw another";
    GasKey::new(load_secret(path)?).map_err(|_| ConfigError::Key { path: path.to_path_buf(), what })
}

fn load_secret(path: &Path) -> Result<[u8; 32], ConfigError> {
    let error = |what| ConfigError::Key { path: path.to_path_buf(), what };
    let text = read(path)?;
    let mode = fs::metadata(path).map_or(0o777, |m| m.permissions().mode());
    if mode & 0o077 != 0 {
        return Err(error("other users can read this key; run: chmod 600 on it"));
    }
    parse_hex(text.trim())
        .ok_or_else(|| error("expected 64 hexadecimal digits, with or without 0x"))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn socket_address<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    let expected = "expected an IP address with a port, such as 127.0.0.1:4100";
    String::deserialize(d)?.parse().map_err(|_| D::Error::custom(expected))
}

fn channel_address<'de, D: Deserializer<'de>>(d: D) -> Result<Address, D::Error> {
    let expected = "expected an Ethereum address, 0x and 40 hexadecimal digits";
    String::deserialize(d)?.parse().map_err(|_| D::Error::custom(expected))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path)
        .map_err(|e| ConfigError::Read { path: path.to_path_buf(), why: e.to_string() })
}

#[cfg(test)]
mod tests {
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

    fn complaint(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let error = RunConfig::load(file.path()).unwrap_err().to_string();
        error.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn a_good_file_is_read() {
        let config = RunConfig::parse(Path::new("x"), GOOD).unwrap();
        assert_eq!(config.book()[&Address::repeat_byte(1)], "127.0.0.1:4101".parse().unwrap());
    }

    /// Goal: each mistake is told in one line with its key. Method: one change to a good file.
    #[test]
    fn mistakes_are_named() {
        let edits = [
            ("127.0.0.1:4100", "localhost"),
            ("p2p_listen", "p2p_lisen"),
            ("\"development\"", "\"mainnet\""),
            ("0x01010101", "0x01"),
            ("data_dir = \"/tmp/fairway\"", "data_dir = 7"),
            ("kind = \"development\"", "chain_id = 1"),
            ("[chain]", "rpc_url = \"http://127.0.0.1:8545\"\n[chain]"),
            ("kind = \"development\"", ""),
            ("[chain]", "[chain"),
            ("[chain]\nkind = \"development\"", ""),
        ];
        let told: Vec<String> =
            edits.iter().map(|(from, to)| complaint(&GOOD.replacen(from, to, 1))).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        FILE:4: p2p_listen: expected an IP address with a port, such as 127.0.0.1:4100
        FILE:4: p2p_lisen: unknown field `p2p_lisen`, expected one of `data_dir`, `key_file`, `p2p_listen`, `peers`, `rpc_url`, `chain`, `rpc`
        FILE:11: kind: unknown variant `mainnet`, expected `development` or `ethereum`
        FILE:7: address: expected an Ethereum address, 0x and 40 hexadecimal digits
        FILE:2: data_dir: invalid type: integer `7`, expected path string
        FILE: rpc_url: is missing; expected an endpoint, or chain.kind = "development"
        FILE:10: rpc_url: unknown field `rpc_url`, expected `address` or `at`
        FILE: rpc_url: is missing; expected an endpoint, or chain.kind = "development"
        FILE:10: unclosed table, expected `]`
        FILE: rpc_url: is missing; expected an endpoint, or chain.kind = "development"
        "#);
    }

    #[test]
    fn one_peer_twice_is_refused() {
        let peer = &GOOD[GOOD.find("[[peers]]").unwrap()..GOOD.find("[chain]").unwrap()];
        let twice = GOOD.replacen("[chain]", &format!("{peer}[chain]"), 1);
        assert_eq!(complaint(&twice), "FILE: peers.address: names one peer twice");
    }

    #[test]
    fn key_files_are_private_and_never_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let digits = "11".repeat(32);
        for (text, mode, what) in [
            (digits.clone(), 0o644, "other users can read this key; run: chmod 600 on it"),
            ("f00d".into(), 0o600, "expected 64 hexadecimal digits, with or without 0x"),
            ("zz".repeat(32), 0o600, "expected 64 hexadecimal digits, with or without 0x"),
            ("00".repeat(32), 0o600, "is not a secp256k1 key; draw another"),
        ] {
            fs::write(file.path(), text).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let path = file.path().to_path_buf();
            assert_eq!(load_key(file.path()).err(), Some(ConfigError::Key { path, what }));
        }
        fs::write(file.path(), format!("0x{digits}\n")).unwrap();
        let (key, seed) = load_key(file.path()).unwrap();
        let same = SecretKey::new([0x11; 32], Crypto::Real).unwrap();
        assert_eq!(key.address(), same.address());
        assert_ne!(seed, [0x11; 32]);
    }
}
