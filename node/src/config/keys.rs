//! The section `[keys]`: where a node's secrets are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::keys::{PasswordSource, password};

/// The section as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// The key that signs the states of channels: a key store, or 64 hexadecimal digits. Its owner alone may read it: mode 0600.
    #[schemars(extend("x-default" = "`keys/channel.json` in `data_dir`"))]
    pub channel_file: Option<PathBuf>,
    /// The key that pays for gas and deposits. It must belong to this node alone.
    #[schemars(extend("x-default" = "`keys/gas.json` in `data_dir`; the channel key, where `channel_file` is set"))]
    pub gas_file: Option<PathBuf>,
    /// The secret by which peers know this node on the network. It is worth no money.
    #[schemars(extend("x-default" = "`keys/identity.json` in `data_dir`; it follows from the channel key, where `channel_file` is set"))]
    pub identity_file: Option<PathBuf>,
    /// A file whose first line is the password of the key stores; mode 0600. `FAIRWAY_PASSWORD`, `--password-file` and `--password-fd`
    /// count more.
    #[schemars(extend("x-default" = "none; whoever starts the node at a terminal is asked"))]
    pub password_file: Option<PathBuf>,
}

/// Where the secret of the network's identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// A file of its own.
    File(PathBuf),
    /// The channel key: nodes that have one key for everything.
    ChannelKey,
}

impl KeysConfig {
    /// The channel key's file.
    pub fn channel(&self, data_dir: &Path) -> PathBuf {
        self.channel_file.clone().unwrap_or_else(|| data_dir.join(KEYS).join("channel.json"))
    }

    /// The gas key's file. Who names a channel key and no other has one key for everything.
    pub fn gas(&self, data_dir: &Path) -> PathBuf {
        match (&self.gas_file, &self.channel_file) {
            (Some(gas), _) => gas.clone(),
            (None, Some(channel)) => channel.clone(),
            (None, None) => data_dir.join(KEYS).join("gas.json"),
        }
    }

    /// The identity's file. Who names a channel key and no identity has the one that follows from the channel key.
    pub fn identity(&self, data_dir: &Path) -> IdentitySource {
        match (&self.identity_file, &self.channel_file) {
            (Some(identity), _) => IdentitySource::File(identity.clone()),
            (None, Some(_)) => IdentitySource::ChannelKey,
            (None, None) => IdentitySource::File(data_dir.join(KEYS).join("identity.json")),
        }
    }

    /// Where the password comes from when no flag says so: the environment, the file, or else `last`.
    pub fn passwords(&self, last: PasswordSource) -> PasswordSource {
        let fallback = match &self.password_file {
            Some(path) => PasswordSource::file(path),
            None => last,
        };
        PasswordSource::environment_or(password::VARIABLE, fallback)
    }

    /// What the files come to.
    pub fn derived(&self, data_dir: &Path) -> BTreeMap<&'static str, Value> {
        let shown = |path: PathBuf| Value::from(path.display().to_string());
        let mut derived = BTreeMap::from([
            ("keys.channel_file", shown(self.channel(data_dir))),
            ("keys.gas_file", shown(self.gas(data_dir))),
        ]);
        if let IdentitySource::File(path) = self.identity(data_dir) {
            derived.insert("keys.identity_file", shown(path));
        }
        derived
    }
}

/// The folder of keys in a data directory.
pub const KEYS: &str = "keys";
