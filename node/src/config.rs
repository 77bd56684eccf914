//! The configuration of a node: strict, with a default for almost everything, and every complaint is one line with place, key and remedy.
//!
//! Five keys suffice, above the first section:
//!
//! ```toml
//! rpc_url      = "http://127.0.0.1:8545"
//! p2p_listen   = "127.0.0.1:4100"
//! data_dir     = "/var/lib/fairway"     # its keys are made by `fairway init`
//! log_level    = "info"
//! metrics_port = 9090
//! ```
//!
//! A flag counts more than a variable of the environment, that more than the file, the file more than the default. Types and their
//! documentation are the one list of keys: flags, variables, `fairway config`, the sample and the reference follow from them.
//!
//! # A new section
//! One field of [`Config`] with `#[serde(default)]`, of a type that derives `Deserialize`, `JsonSchema` and has
//! `#[serde(default, deny_unknown_fields)]`. Every key is documented in words for operators, without links. Where the default depends
//! on something, `#[schemars(extend("x-default" = "what it is"))]` says so; a value that must not be shown has a type with
//! `#[schemars(extend("writeOnly" = true))]`.
//!
//! Not here: the limits of a node as core knows them, `fairway_core::config::Config`, which follow from this.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use fairway_core::types::Address;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

mod chain;
mod effective;
mod field;
mod keys;
mod layers;
mod policy;
mod sample;
mod secret;

pub use crate::logs::{LogConfig, LogFormat};
pub use chain::{ChainConfig, Chosen, Ethereum};
pub use effective::{Setting, text as settings_text};
pub use field::schema;
pub use keys::{IdentitySource, KEYS, KeysConfig};
pub use layers::{Flag, Origin};
pub use policy::PolicyConfig;
pub use sample::{reference, sample};
pub use secret::SecretUrl;

use layers::Layers;

/// What an operator chooses. Made by [`Config::load_from_file`] and [`load`], which check it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the log is, and the keys unless `[keys]` names others. Created with mode 0700 if it is missing. There is no default: a node
    /// that starts in another place than before has forgotten what it signed.
    pub data_dir: PathBuf,
    /// An Ethereum endpoint, http or https. Only scheme, host and port are ever shown.
    #[serde(default)]
    #[schemars(extend("x-default" = "none; needed but on a development chain"))]
    pub rpc_url: Option<SecretUrl>,
    /// The IP address and port where peers reach the node. The default is reached from this machine alone.
    #[serde(default = "p2p_listen", deserialize_with = "socket_address")]
    #[schemars(with = "String")]
    pub p2p_listen: SocketAddr,
    /// How much is told.
    #[serde(default)]
    pub log_level: LogLevel,
    /// The port of the metrics.
    #[serde(default = "metrics_port")]
    pub metrics_port: u16,
    /// Nodes to keep a session with.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Which chain the node is on.
    #[serde(default)]
    pub chain: ChainConfig,
    /// What a peer may ask of the node without its operator being asked. Amounts are wei in quotes, or have a unit: `"0.25eth"`.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// When the state is kept for the next start.
    #[serde(default)]
    pub snapshots: crate::snapshots::Settings,
    /// Where metrics and health are served.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// How lines of the log for people look, and where they go.
    #[serde(default)]
    pub log: LogConfig,
    /// Where the node's secrets are. Relative paths begin at the directory that the node is started in.
    #[serde(default)]
    pub keys: KeysConfig,
    /// How the node stops.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// Where the node answers.
    #[serde(default)]
    pub rpc: crate::rpc::Settings,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its channel address.
    #[serde(deserialize_with = "channel_address")]
    #[schemars(with = "String")]
    pub address: Address,
    /// The IP address and port where it listens.
    #[serde(deserialize_with = "socket_address")]
    #[schemars(with = "String")]
    pub at: SocketAddr,
}

/// How much a node tells; each level includes those before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// A peer or an endpoint misbehaved.
    Warn,
    /// The life of channels and objectives.
    #[default]
    Info,
    /// Each event.
    Debug,
    /// Bytes.
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> tracing::Level {
        match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }
    }
}

/// Where metrics and health are served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The IP address where metrics and health are served, on `metrics_port`. They need no password: whoever reaches another address
    /// than loopback reads them.
    pub listen: IpAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { listen: Ipv4Addr::LOCALHOST.into() }
    }
}

/// How a node stops.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long an orderly stop may take, in seconds. Then the node is dropped where it stands, which costs nothing but repeated messages:
    /// its log is whole at every moment. Choose less than what the supervisor waits before it kills.
    pub deadline_s: u32,
}

impl Default for ShutdownConfig {
    /// Docker kills after ten seconds, others wait longer.
    fn default() -> Self {
        ShutdownConfig { deadline_s: 8 }
    }
}

/// What is wrong, in one line. The operator corrects it; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read this file: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// Not what a configuration file looks like.
    #[error("{}:{line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// A key that does not exist, is missing, or has a value that cannot be used.
    #[error("{place}: {key}: {what}")]
    Value {
        /// File and line, variable or flag; the file or `configuration` where nobody set the key.
        place: String,
        /// The key, with its sections.
        key: String,
        /// What was found and what was expected. Never repeats a secret.
        what: String,
    },
}

impl ConfigError {
    fn value(origin: &Origin, key: impl Into<String>, what: impl Into<String>) -> ConfigError {
        ConfigError::Value { place: origin.to_string(), key: key.into(), what: what.into() }
    }
}

/// A key and what is wrong with it.
pub type Complaint = (&'static str, String);

/// What a configuration is made from. The default is nothing at all.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables of the environment; others than `FAIRWAY_…` are ignored.
    pub environment: BTreeMap<String, String>,
    /// Flags in their order.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// A file and the environment of this process. Variables that are no Unicode are not ours.
    pub fn of_process(file: Option<&Path>) -> Sources {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let environment = std::env::vars_os().filter_map(text).collect();
        Sources { file: file.map(Path::to_path_buf), environment, flags: Vec::new() }
    }
}

/// A configuration with the place of each value.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// Every key, in order of section and name.
    pub settings: Vec<Setting>,
    /// What the operator should know and need not act on.
    pub notes: Vec<String>,
}

/// Puts flags over environment over file over defaults, and checks the whole.
///
/// # Errors
/// [`ConfigError`]: the first mistake, with the place that it comes from.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let (fields, sections) = field::all();
    let mut layers = Layers::new(&fields, &sections);
    if let Some(path) = &sources.file {
        layers.file(path, &read(path)?)?;
    }
    layers.environment(&sources.environment)?;
    layers.flags(&sources.flags)?;
    // Whoever set nothing of a key is pointed to the file, where there is one.
    let nowhere = || match &sources.file {
        Some(path) => path.display().to_string(),
        None => "configuration".to_string(),
    };
    let place = |path: &str| layers.origin(path).map_or_else(nowhere, Origin::to_string);
    if let Some(field) = fields.iter().find(|f| f.required && layers.get(&f.key).is_none()) {
        let flag = field.key.replace('_', "-");
        let what =
            format!("is missing; set it in a file, as {} or with --{flag}", field.variable());
        return Err(ConfigError::Value { place: nowhere(), key: field.key.clone(), what });
    }
    let merged = toml::Value::Table(layers.merged());
    let config: Config = serde_path_to_error::deserialize(merged).map_err(|e| {
        let path = e.path().to_string();
        let key = path.split('[').next().unwrap_or(&path);
        let secret = fields.iter().any(|f| f.secret && f.key == key);
        let what = if secret {
            "is not what this key takes; its value is not shown".to_string()
        } else {
            e.inner().message().replace('\n', " ")
        };
        ConfigError::Value { place: place(&path), key: path, what }
    })?;
    let wrong = |(key, what): Complaint| ConfigError::Value {
        place: place(key),
        key: key.to_string(),
        what,
    };
    config.check().map_err(wrong)?;
    let settings = effective::settings(&fields, &layers, &config.derived());
    let notes = layers.notes.clone();
    Ok(Loaded { config, settings, notes })
}

/// What a flag sets, as key and TOML: for a file that is written.
///
/// # Errors
/// [`ConfigError`]: no such key, or not what it takes.
pub fn literal(flag: &Flag) -> Result<(String, String), ConfigError> {
    let (fields, sections) = field::all();
    let mut layers = Layers::new(&fields, &sections);
    layers.flags(std::slice::from_ref(flag))?;
    let set = fields.iter().find_map(|f| Some((f.key.clone(), layers.get(&f.key)?.0.to_string())));
    Ok(set.expect("a flag that is taken sets a key"))
}

impl Config {
    /// A file over the defaults, without environment and flags.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load_from_file(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        let file = Some(path.as_ref().to_path_buf());
        load(&Sources { file, ..Sources::default() }).map(|loaded| loaded.config)
    }

    fn check(&self) -> Result<(), Complaint> {
        self.chosen(None)?;
        if self.book().len() != self.peers.len() {
            return Err(("peers", "one address stands there twice".into()));
        }
        if self.policy.challenge_duration_min_s > self.policy.challenge_duration_max_s {
            let what = "is above policy.challenge_duration_max_s: no challenge would do";
            return Err(("policy.challenge_duration_min_s", what.into()));
        }
        Ok(())
    }

    /// The chain that is meant; `found` is the id that an endpoint gave, where it had to be asked.
    ///
    /// # Errors
    /// The first key that is missing or wrong; none after [`load`], unless the endpoint was asked.
    pub fn chosen(&self, found: Option<u64>) -> Result<Chosen, Complaint> {
        self.chain.choose(self.rpc_url.as_ref(), found)
    }

    /// Where peers are.
    pub fn book(&self) -> BTreeMap<Address, SocketAddr> {
        self.peers.iter().map(|p| (p.address, p.at)).collect()
    }

    /// What keys come to whose default depends on others.
    fn derived(&self) -> BTreeMap<&'static str, Value> {
        let mut derived = self.chain.derived(self.rpc_url.as_ref());
        derived.extend(self.keys.derived(&self.data_dir));
        derived
    }
}

/// Reached from this machine alone: what is open to others is the operator's decision.
fn p2p_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4100).into()
}

fn metrics_port() -> u16 {
    9090
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
mod tests;
