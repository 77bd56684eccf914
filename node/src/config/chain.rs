//! `rpc_url` and the section `[chain]`: which chain a node is on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy_primitives::address;
use fairway_chain::{Finality, NITRO_CODE_HASH, Settings, Url, UrlError};
use fairway_core::chain_types::B256;
use fairway_core::config::Config;
use fairway_core::types::{Address, FeePerGas};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Complaint, SecretUrl};

/// The section as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// Which kind of chain.
    #[schemars(extend("x-default" = "`ethereum`; without `rpc_url` it must be set"))]
    kind: Option<ChainKind>,
    /// The chain's EIP-155 id. Pinned in the log. Where it is set, the node starts while the endpoint is silent.
    #[schemars(extend("x-default" = "what `rpc_url` says"))]
    chain_id: Option<u64>,
    /// The contract that holds the money. Pinned in the log.
    #[serde(deserialize_with = "some_address")]
    #[schemars(with = "Option<String>", extend("x-default" = "known for chain 31337, `ci/devnet/up`"))]
    adjudicator: Option<Address>,
    /// The application of ledger channels. Pinned in the log.
    #[serde(deserialize_with = "some_address")]
    #[schemars(with = "Option<String>", extend("x-default" = "known for chain 31337, `ci/devnet/up`"))]
    consensus_app: Option<Address>,
    /// The application of virtual channels.
    #[serde(deserialize_with = "some_address")]
    #[schemars(with = "Option<String>", extend("x-default" = "known for chain 31337; else none, and no virtual channels"))]
    payment_app: Option<Address>,
    /// What the adjudicator's code must hash to; `any` takes any.
    adjudicator_code_hash: String,
    /// HTTP endpoints beside `rpc_url`.
    #[schemars(extend("default" = []))]
    endpoints: Vec<SecretUrl>,
    /// WebSocket endpoints whose new heads make the node look at once.
    #[schemars(extend("default" = []))]
    hints: Vec<SecretUrl>,
    /// How many endpoints must agree; two at least of several.
    #[schemars(extend("x-default" = "more than half"))]
    quorum: Option<usize>,
    /// Which blocks the node sees.
    finality: FinalityChoice,
    /// Blocks on top of a fact before it counts. Pinned in the log.
    #[schemars(extend("x-default" = "12; with other finality 1"))]
    confirmations: Option<u32>,
    /// The block that an empty log begins at.
    #[schemars(extend("x-default" = "64 below the head"))]
    start_block: Option<u64>,
    /// Seconds between blocks, as a rule. No challenge shorter than three times confirmations × block time + inclusion is agreed to.
    block_time_s: u32,
    /// Seconds until a transaction with a fair fee is mined, as a rule.
    inclusion_s: u32,
    /// Most that is offered for gas, in gwei.
    max_fee_gwei: u32,
    /// Most that is offered for an answer to a challenge, in gwei. While gas costs more, an old state wins.
    defence_max_fee_gwei: u32,
    /// Least tip, in wei.
    tip_min_wei: u64,
    /// Whether a header must hash to its name; off only for chains that hash theirs in another way.
    check_headers: bool,
    /// The unix socket of a development chain that another process on this machine runs.
    #[schemars(extend("x-default" = "none: a development chain of the node's own, which ends with it"))]
    socket: Option<PathBuf>,
}

impl Default for ChainConfig {
    fn default() -> ChainConfig {
        ChainConfig {
            kind: None,
            chain_id: None,
            adjudicator: None,
            consensus_app: None,
            payment_app: None,
            adjudicator_code_hash: NITRO_CODE_HASH.to_string(),
            endpoints: Vec::new(),
            hints: Vec::new(),
            quorum: None,
            finality: FinalityChoice::Confirmations,
            confirmations: None,
            start_block: None,
            block_time_s: BLOCK_TIME_S,
            inclusion_s: INCLUSION_S,
            max_fee_gwei: 200,
            defence_max_fee_gwei: 2_000,
            tip_min_wei: TIP_MIN_WEI,
            check_headers: true,
            socket: None,
        }
    }
}

/// The kinds of chain that this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum ChainKind {
    /// In memory, ends with the process.
    Development,
    /// Behind endpoints.
    Ethereum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum FinalityChoice {
    /// All up to the head; what has `confirmations` blocks on top counts.
    #[default]
    Confirmations,
    /// Up to the block that the endpoints call safe. Challenges are seen 13 minutes late.
    Safe,
    /// Up to the block that they call finalized. Challenges are seen 20 minutes late.
    Finalized,
}

/// The chain, checked.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// In memory, ends with its process.
    Development {
        /// Where another process serves it; `None` is a chain of this process.
        socket: Option<PathBuf>,
    },
    /// Behind endpoints. Boxed: its settings are large.
    Ethereum(Box<Ethereum>),
    /// Nobody set the chain's id: this endpoint must be asked for it, and [`ChainConfig::choose`] again.
    Unnamed(Url),
}

/// An Ethereum chain, checked.
#[derive(Clone, Debug)]
pub struct Ethereum {
    /// Of the chain service.
    pub settings: Settings,
    /// Pinned in the log.
    pub confirmations: u32,
    /// Of the node.
    pub config: Config,
}

impl ChainConfig {
    /// The chain that is meant; `found` is the id that the endpoint gave when it was asked.
    ///
    /// # Errors
    /// The first key that is missing or wrong.
    pub fn choose(
        &self,
        rpc_url: Option<&SecretUrl>,
        found: Option<u64>,
    ) -> Result<Chosen, Complaint> {
        if self.socket.is_some() && self.kind != Some(ChainKind::Development) {
            return Err(("chain.socket", "is of a development chain; leave it out".into()));
        }
        match (self.kind, rpc_url) {
            (Some(ChainKind::Development), None) => {
                Ok(Chosen::Development { socket: self.socket.clone() })
            }
            (Some(ChainKind::Development), Some(_)) => {
                Err(("rpc_url", "a development chain has none; leave it out, or chain.kind".into()))
            }
            (Some(ChainKind::Ethereum) | None, Some(url)) => self.ethereum(url, found),
            (Some(ChainKind::Ethereum) | None, None) => Err((
                "rpc_url",
                "is missing; expected an endpoint, or chain.kind = \"development\"".into(),
            )),
        }
    }

    fn ethereum(&self, rpc_url: &SecretUrl, found: Option<u64>) -> Result<Chosen, Complaint> {
        let bad = |key: &'static str| move |e: UrlError| (key, e.to_string());
        let mut endpoints = vec![Url::http(rpc_url.expose()).map_err(bad("rpc_url"))?];
        for url in &self.endpoints {
            endpoints.push(Url::http(url.expose()).map_err(bad("chain.endpoints"))?);
        }
        let hints: Result<_, _> = self.hints.iter().map(|h| Url::ws(h.expose())).collect();
        let hints = hints.map_err(bad("chain.hints"))?;
        let quorum = self.quorum.unwrap_or(Settings::majority(endpoints.len()));
        let quorums = Settings::quorums(endpoints.len());
        if !quorums.contains(&quorum) {
            let (least, most) = quorums.into_inner();
            let what = format!("expected {least} to {most} of {most} endpoints");
            return Err(("chain.quorum", what));
        }
        let (finality, lag_s) = match self.finality {
            FinalityChoice::Confirmations => (Finality::Confirmations, 0),
            FinalityChoice::Safe => (Finality::Safe, SAFE_LAG_S),
            FinalityChoice::Finalized => (Finality::Finalized, FINALIZED_LAG_S),
        };
        let confirmations = self.confirmations();
        if confirmations == 0 {
            return Err(("chain.confirmations", "expected at least 1".into()));
        }
        let code_hash = self.code_hash()?;
        let Some(chain_id) = self.chain_id.or(found) else {
            return Ok(Chosen::Unnamed(endpoints.swap_remove(0)));
        };
        let known = Contracts::of(chain_id);
        let missing = |key| {
            let what = format!("is missing; the contracts of chain {chain_id} are not known here");
            move || (key, what)
        };
        let adjudicator = self.adjudicator.or(known.map(|k| k.adjudicator));
        let consensus_app = self.consensus_app.or(known.map(|k| k.consensus_app));
        let payment_app = self.payment_app.or(known.map(|k| k.payment_app)).unwrap_or_default();
        let limits = fairway_chain::Limits::default();
        let stale_s = limits.stale_s + u64::from(lag_s);
        let settings = Settings {
            chain_id,
            adjudicator: adjudicator.ok_or_else(missing("chain.adjudicator"))?,
            code_hash,
            consensus_app: consensus_app.ok_or_else(missing("chain.consensus_app"))?,
            payment_app,
            endpoints,
            hints,
            quorum,
            finality,
            start_block: self.start_block,
            tip_min: FeePerGas(self.tip_min_wei),
            check_headers: self.check_headers,
            limits: fairway_chain::Limits { stale_s, ..limits },
        };
        let config = self.node_config(payment_app, lag_s, confirmations);
        Ok(Chosen::Ethereum(Box::new(Ethereum { settings, confirmations, config })))
    }

    fn confirmations(&self) -> u32 {
        let default = match self.finality {
            FinalityChoice::Confirmations => CONFIRMATIONS,
            FinalityChoice::Safe | FinalityChoice::Finalized => 1,
        };
        self.confirmations.unwrap_or(default)
    }

    /// What keys come to whose default depends on others.
    pub fn derived(&self, rpc_url: Option<&SecretUrl>) -> BTreeMap<&'static str, Value> {
        let Some(url) = rpc_url else { return BTreeMap::new() };
        let mut derived = BTreeMap::from([
            ("chain.kind", Value::from("ethereum")),
            ("chain.confirmations", self.confirmations().into()),
        ]);
        if let Ok(Chosen::Ethereum(chain)) = self.choose(Some(url), None) {
            let set = chain.settings;
            derived.insert("chain.adjudicator", set.adjudicator.to_string().into());
            derived.insert("chain.consensus_app", set.consensus_app.to_string().into());
            if !set.payment_app.is_zero() {
                derived.insert("chain.payment_app", set.payment_app.to_string().into());
            }
        }
        derived.insert("chain.quorum", Settings::majority(1 + self.endpoints.len()).into());
        derived
    }

    /// What the chain's pace means for the node: blocks that are shown late must be reckoned with in every challenge.
    fn node_config(&self, payment_app: Address, lag_s: u32, confirmations: u32) -> Config {
        let mut config = Config { payment_app, ..Config::default() };
        config.block_time_s = self.block_time_s;
        config.inclusion_s = self.inclusion_s.saturating_add(lag_s);
        // A peer whose deposit is on its way is not silent: twice what that may take.
        let patience_ms = u64::from(config.margin_s(confirmations)).saturating_mul(2_000);
        config.silence_ms = config.silence_ms.max(patience_ms);
        let gwei = |n: u32| FeePerGas::gwei(u64::from(n));
        config.fees.max = gwei(self.max_fee_gwei);
        config.fees.defence_max = gwei(self.defence_max_fee_gwei);
        config
    }

    fn code_hash(&self) -> Result<Option<B256>, Complaint> {
        match self.adjudicator_code_hash.as_str() {
            "any" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                (
                    "chain.adjudicator_code_hash",
                    "expected 0x and 64 hexadecimal digits, or any".into(),
                )
            }),
        }
    }
}

fn some_address<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Address>, D::Error> {
    super::channel_address(d).map(Some)
}

/// Contracts whose addresses follow from the chain's id.
#[derive(Clone, Copy)]
struct Contracts {
    adjudicator: Address,
    consensus_app: Address,
    payment_app: Address,
}

impl Contracts {
    /// Those that `ci/devnet/up` deploys first on its fresh chain, where addresses follow from the deployer and its nonces. No other
    /// network's are known: an address in here would be believed with money, and the code of the applications is not checked.
    fn of(chain_id: u64) -> Option<Contracts> {
        (chain_id == DEVNET_CHAIN_ID).then_some(Contracts {
            adjudicator: address!("5FbDB2315678afecb367f032d93F642f64180aa3"),
            consensus_app: address!("e7f1725E7734CE288F8367e1Bb143E90bb3F0512"),
            payment_app: address!("9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"),
        })
    }
}

/// Anvil's.
const DEVNET_CHAIN_ID: u64 = 31_337;
/// Two and a half minutes on mainnet: deeper reorganizations have not been seen there since it is final at all.
const CONFIRMATIONS: u32 = 12;
/// Mainnet's.
const BLOCK_TIME_S: u32 = 12;
/// Five of its blocks.
const INCLUSION_S: u32 = 60;
/// A tenth of a gwei.
const TIP_MIN_WEI: u64 = 100_000_000;
/// How far the safe block is behind the head at most, as a rule: two epochs.
const SAFE_LAG_S: u32 = 780;
/// The finalized one: three.
const FINALIZED_LAG_S: u32 = 1_200;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "chain_id = 1\nadjudicator = \"0x0101010101010101010101010101010101010101\"\n\
        consensus_app = \"0x0202020202020202020202020202020202020202\"\n";

    fn choose(text: &str, url: Option<&str>) -> Result<Chosen, Complaint> {
        toml::from_str::<ChainConfig>(text).unwrap().choose(url.map(SecretUrl::from).as_ref(), None)
    }

    #[test]
    fn few_keys_suffice_and_the_rest_has_defaults() {
        let url = Some("https://a.example/key");
        let Ok(Chosen::Ethereum(chain)) = choose(GOOD, url) else { panic!("a good section") };
        assert_eq!((chain.settings.quorum, chain.confirmations), (1, 12));
        assert_eq!(chain.settings.code_hash, Some(NITRO_CODE_HASH));
        assert_eq!(chain.config.margin_s(chain.confirmations), 12 * 12 + 60);
        assert_eq!(chain.config.silence_ms, 2 * (12 * 12 + 60) * 1_000);
        let more = format!(
            "{GOOD}endpoints = [\"http://b\", \"http://c\"]\nfinality = \"finalized\"\nadjudicator_code_hash = \"any\"\n"
        );
        let Ok(Chosen::Ethereum(chain)) = choose(&more, url) else { panic!("a good section") };
        assert_eq!((chain.settings.quorum, chain.confirmations), (2, 1));
        assert_eq!(chain.settings.code_hash, None);
        assert_eq!(chain.config.margin_s(chain.confirmations), 12 + 60 + 1_200);
        let development = choose("kind = \"development\"", None);
        assert!(matches!(development, Ok(Chosen::Development { socket: None })));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let url = Some("http://a.example");
        for (text, url, key) in [
            ("", None, "rpc_url"),
            ("kind = \"development\"", url, "rpc_url"),
            (&format!("{GOOD}socket = \"chain.sock\""), url, "chain.socket"),
            ("", Some("localhost"), "rpc_url"),
            ("chain_id = 1", url, "chain.adjudicator"),
            (&format!("{GOOD}quorum = 2"), url, "chain.quorum"),
            (&format!("{GOOD}quorum = 0"), url, "chain.quorum"),
            (&format!("{GOOD}endpoints = [\"http://b\"]\nquorum = 1"), url, "chain.quorum"),
            (&format!("{GOOD}confirmations = 0"), url, "chain.confirmations"),
            (&format!("{GOOD}hints = [\"http://a\"]"), url, "chain.hints"),
            (&format!("{GOOD}endpoints = [\"ws://a\"]"), url, "chain.endpoints"),
            (&format!("{GOOD}adjudicator_code_hash = \"0x1\""), url, "chain.adjudicator_code_hash"),
        ] {
            assert_eq!(choose(text, url).unwrap_err().0, key, "{text}");
        }
    }
}
