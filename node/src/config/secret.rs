//! Values that are never shown.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// An address that may hold a password or a token, as providers give them out. Shows scheme, host and port alone.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("writeOnly" = true))]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Everything, for whoever asks there.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretUrl {
    fn from(text: &str) -> SecretUrl {
        SecretUrl(text.to_string())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// What may be shown of a secret: of an address scheme, host and port, of anything else nothing.
pub fn shown(secret: &str) -> String {
    let Some((scheme, rest)) = secret.split_once("://") else { return HIDDEN.to_string() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let more = if path.len() > 1 || host != authority { "/…" } else { "" };
    format!("{scheme}://{host}{more}")
}

/// What stands for a secret.
pub const HIDDEN: &str = "(not shown)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_are_all_that_is_shown() {
        for (url, expected) in [
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
            ("http://127.0.0.1:8545/", "http://127.0.0.1:8545"),
            ("https://a.example/v3/0123456789abcdef", "https://a.example/…"),
            ("https://a.example?key=0123456789abcdef", "https://a.example/…"),
            ("wss://name:password@a.example:443", "wss://a.example:443/…"),
            ("https://x@y:password@a.example/z", "https://a.example/…"),
            ("0123456789abcdef", HIDDEN),
        ] {
            assert_eq!(shown(url), expected);
            assert_eq!(format!("{:?}", SecretUrl::from(url)), expected);
        }
    }
}
