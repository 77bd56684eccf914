//! What an operator chooses about the chain. Every limit has a default with a reason.

use std::ops::RangeInclusive;
use std::time::Duration;

use fairway_core::chain_types::B256;
use fairway_core::types::{Address, FeePerGas};

/// How the service is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// EIP-155 chain id; an endpoint of another chain is not used.
    pub chain_id: u64,
    /// The adjudicator.
    pub adjudicator: Address,
    /// What keccak-256 of its code must be; `None` takes any code.
    ///
    /// # Danger
    /// Money is sent to that code. Another one than the deployed adjudicator's can keep it.
    pub code_hash: Option<B256>,
    /// The application of ledger channels.
    pub consensus_app: Address,
    /// The application of virtual channels; zero where there is none.
    pub payment_app: Address,
    /// HTTP endpoints, at least one.
    pub endpoints: Vec<Url>,
    /// WebSocket endpoints whose new heads are hints to look.
    pub hints: Vec<Url>,
    /// Endpoints that must say the same before it is believed: at least two where there are several, at most all of them.
    pub quorum: usize,
    /// Which blocks are shown to the node.
    pub finality: Finality,
    /// Where a node with an empty log begins to read; `None` begins shortly below the head.
    pub start_block: Option<u64>,
    /// Least tip that a transaction offers its block's producer.
    pub tip_min: FeePerGas,
    /// Whether a header must hash to its name. To be turned off only on chains that hash their headers in another way.
    pub check_headers: bool,
    /// Bounds.
    pub limits: Limits,
}

/// An address with secrets in it, as providers give them out: neither `Debug` nor `Display` shows more than scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(reqwest::Url);

/// Not an address that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an address at all. Does not repeat it.
    #[error("expected an address such as http://127.0.0.1:8545: {0}")]
    Parse(String),
    /// A scheme that is not spoken here.
    #[error("expected {expected}, found {found}://")]
    Scheme {
        /// What there is.
        expected: &'static str,
        /// What was given.
        found: String,
    },
}

/// Which blocks are shown to the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finality {
    /// All up to the head; the node counts confirmations.
    #[default]
    Confirmations,
    /// Up to the block that the endpoints call `safe`.
    Safe,
    /// Up to the block that they call `finalized`.
    Finalized,
}

/// Bounds on what is asked and what is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an endpoint may take for one answer.
    pub timeout: Duration,
    /// How long the slower endpoints are waited for once a quorum has answered.
    pub grace: Duration,
    /// Bytes of one answer: some hundred headers and logs are below one megabyte, the receipts of a full block below eight.
    pub answer_bytes_max: usize,
    /// Requests in one batch: providers take a hundred as a rule, some fifty.
    pub batch_max: usize,
    /// First pause after an endpoint has failed; doubles.
    pub backoff_min: Duration,
    /// Longest pause: how long a restored endpoint may stay unnoticed.
    pub backoff_max: Duration,
    /// Seconds behind the wall clock after which a head that does not move is reported. Not an error by itself.
    pub stale_s: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            timeout: Duration::from_secs(10),
            grace: Duration::from_secs(1),
            answer_bytes_max: 16 << 20,
            batch_max: 50,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(15),
            stale_s: 120,
        }
    }
}

impl Settings {
    /// The quorums that can be chosen with `n` endpoints. One endpoint's word counts where there is no other, and only there.
    pub fn quorums(n: usize) -> RangeInclusive<usize> {
        n.min(2)..=n
    }

    /// Most of `n` endpoints: more than half.
    pub fn majority(n: usize) -> usize {
        n / 2 + 1
    }
}

impl Url {
    /// An HTTP endpoint.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn http(text: &str) -> Result<Url, UrlError> {
        Url::of(text, &["http", "https"], "http:// or https://")
    }

    /// A WebSocket endpoint.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn ws(text: &str) -> Result<Url, UrlError> {
        Url::of(text, &["ws", "wss"], "ws:// or wss://")
    }

    fn of(text: &str, schemes: &[&str], expected: &'static str) -> Result<Url, UrlError> {
        let url: reqwest::Url = text.parse().map_err(|e| UrlError::Parse(format!("{e}")))?;
        if schemes.contains(&url.scheme()) && url.has_host() {
            return Ok(Url(url));
        }
        Err(UrlError::Scheme { expected, found: url.scheme().to_string() })
    }

    /// The whole address, secrets included.
    pub(crate) fn whole(&self) -> &reqwest::Url {
        &self.0
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_never_show_their_secrets() {
        let url = Url::http("https://user:pass@node.example:8443/v3/0123456789abcdef?k=s").unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://node.example:8443 https://node.example:8443");
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in ["ftp://a.example", "ws://a.example"] {
            assert!(matches!(Url::http(text), Err(UrlError::Scheme { .. })), "{text}");
        }
        assert!(matches!(Url::ws("http://a.example"), Err(UrlError::Scheme { .. })));
        assert!(matches!(
            Url::http("127.0.0.1:8545"),
            Err(UrlError::Parse(_) | UrlError::Scheme { .. })
        ));
    }

    #[test]
    fn a_majority_is_more_than_half() {
        assert_eq!([1, 2, 3, 4, 5].map(Settings::majority), [1, 2, 2, 3, 3]);
    }
}
