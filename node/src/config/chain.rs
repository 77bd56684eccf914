//! `rpc_url` and the section `[chain]`: which chain a node is on.

use std::path::PathBuf;

use fairway_chain::{Finality, NITRO_CODE_HASH, Settings, Url, UrlError};
use fairway_core::chain_types::B256;
use fairway_core::config::Config;
use fairway_core::types::{Address, FeePerGas};
use serde::Deserialize;

/// The section as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// `ethereum`, the default where there is an `rpc_url`, or `development`.
    kind: Option<ChainKind>,
    chain_id: Option<u64>,
    #[serde(deserialize_with = "some_address")]
    adjudicator: Option<Address>,
    #[serde(deserialize_with = "some_address")]
    consensus_app: Option<Address>,
    #[serde(deserialize_with = "some_address")]
    payment_app: Option<Address>,
    /// What the adjudicator's code must hash to; the default is the deployed release's, `any` takes any.
    adjudicator_code_hash: Option<String>,
    /// HTTP endpoints beside `rpc_url`.
    endpoints: Vec<String>,
    /// WebSocket endpoints whose new heads are hints.
    hints: Vec<String>,
    /// How many endpoints must agree; the default is more than half.
    quorum: Option<usize>,
    finality: FinalityChoice,
    /// Blocks on top of a fact before it counts. Fixed in the log of a node that has run.
    confirmations: Option<u32>,
    start_block: Option<u64>,
    /// Who pays for gas and deposits; the default is the channel key.
    pub gas_key_file: Option<PathBuf>,
    block_time_s: Option<u32>,
    inclusion_s: Option<u32>,
    max_fee_gwei: Option<u32>,
    defence_max_fee_gwei: Option<u32>,
    tip_min_wei: Option<u64>,
    /// Whether headers must hash to their names.
    check_headers: Option<bool>,
}

/// The kinds of chain that this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ChainKind {
    /// In memory, ends with the process.
    Development,
    /// Behind endpoints.
    Ethereum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FinalityChoice {
    #[default]
    Confirmations,
    Safe,
    Finalized,
}

/// The chain, checked.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// In memory, ends with the process.
    Development,
    /// Behind endpoints. Boxed: its settings are large.
    Ethereum(Box<Ethereum>),
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

/// A key and what is wrong with it.
pub type Complaint = (&'static str, String);

impl ChainConfig {
    /// The chain that is meant.
    ///
    /// # Errors
    /// The first key that is missing or wrong.
    pub fn choose(&self, rpc_url: Option<&str>) -> Result<Chosen, Complaint> {
        match (self.kind, rpc_url) {
            (Some(ChainKind::Development), None) => Ok(Chosen::Development),
            (Some(ChainKind::Development), Some(_)) => {
                Err(("rpc_url", "a development chain has none; leave it out, or chain.kind".into()))
            }
            (Some(ChainKind::Ethereum) | None, Some(url)) => {
                Ok(Chosen::Ethereum(Box::new(self.ethereum(url)?)))
            }
            (Some(ChainKind::Ethereum) | None, None) => Err((
                "rpc_url",
                "is missing; expected an endpoint, or chain.kind = \"development\"".into(),
            )),
        }
    }

    fn ethereum(&self, rpc_url: &str) -> Result<Ethereum, Complaint> {
        let missing = |key| (key, "is missing".to_string());
        let bad = |key: &'static str| move |e: UrlError| (key, e.to_string());
        let mut endpoints = vec![Url::http(rpc_url).map_err(bad("rpc_url"))?];
        for url in &self.endpoints {
            endpoints.push(Url::http(url).map_err(bad("chain.endpoints"))?);
        }
        let hints: Result<_, _> = self.hints.iter().map(|h| Url::ws(h)).collect();
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
        let confirmations = match finality {
            Finality::Confirmations => self.confirmations.unwrap_or(CONFIRMATIONS),
            Finality::Safe | Finality::Finalized => self.confirmations.unwrap_or(1),
        };
        if confirmations == 0 {
            return Err(("chain.confirmations", "expected at least 1".into()));
        }
        let limits = fairway_chain::Limits::default();
        let stale_s = limits.stale_s + u64::from(lag_s);
        let payment_app = self.payment_app.unwrap_or_default();
        let settings = Settings {
            chain_id: self.chain_id.ok_or_else(|| missing("chain.chain_id"))?,
            adjudicator: self.adjudicator.ok_or_else(|| missing("chain.adjudicator"))?,
            code_hash: self.code_hash()?,
            consensus_app: self.consensus_app.ok_or_else(|| missing("chain.consensus_app"))?,
            payment_app,
            endpoints,
            hints: hints.map_err(bad("chain.hints"))?,
            quorum,
            finality,
            start_block: self.start_block,
            tip_min: FeePerGas(self.tip_min_wei.unwrap_or(TIP_MIN_WEI)),
            check_headers: self.check_headers.unwrap_or(true),
            limits: fairway_chain::Limits { stale_s, ..limits },
        };
        let config = self.node_config(payment_app, lag_s, confirmations);
        Ok(Ethereum { settings, confirmations, config })
    }

    /// What the chain's pace means for the node: blocks that are shown late must be reckoned with in every challenge.
    fn node_config(&self, payment_app: Address, lag_s: u32, confirmations: u32) -> Config {
        let mut config = Config { payment_app, ..Config::default() };
        config.block_time_s = self.block_time_s.unwrap_or(BLOCK_TIME_S);
        config.inclusion_s = self.inclusion_s.unwrap_or(INCLUSION_S).saturating_add(lag_s);
        // A peer whose deposit is on its way is not silent: twice what that may take.
        let patience_ms = u64::from(config.margin_s(confirmations)).saturating_mul(2_000);
        config.silence_ms = config.silence_ms.max(patience_ms);
        let gwei = |n: u32| FeePerGas::gwei(u64::from(n));
        config.fees.max = self.max_fee_gwei.map_or(config.fees.max, gwei);
        config.fees.defence_max = self.defence_max_fee_gwei.map_or(config.fees.defence_max, gwei);
        config
    }

    fn code_hash(&self) -> Result<Option<B256>, Complaint> {
        match self.adjudicator_code_hash.as_deref() {
            None => Ok(Some(NITRO_CODE_HASH)),
            Some("any") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
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
        toml::from_str::<ChainConfig>(text).unwrap().choose(url)
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
        assert!(matches!(development, Ok(Chosen::Development)));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let url = Some("http://a.example");
        for (text, url, key) in [
            ("", None, "rpc_url"),
            ("kind = \"development\"", url, "rpc_url"),
            ("", Some("localhost"), "rpc_url"),
            ("", url, "chain.chain_id"),
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
