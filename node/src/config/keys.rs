//! The section `[keys]`: where a node's secrets are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

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

    /// What the files come to.
    pub fn derived(&self, data_dir: &Path) -> BTreeMap<&'static str, Value> {
        let shown = |path: PathBuf| Value::from(path.display().to_string());
        BTreeMap::from([
            ("keys.channel_file", shown(self.channel(data_dir))),
            ("keys.gas_file", shown(self.gas(data_dir))),
        ])
    }
}

/// The folder of keys in a data directory.
pub const KEYS: &str = "keys";
