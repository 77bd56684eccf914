//! The section `[rpc]` of the configuration: where the node answers, whom, and how much.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the node answers programs and commands, whom, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether to listen on TCP at all. The unix socket is always there.
    pub http: bool,
    /// Where. Anything but a loopback address needs `tls_cert` and `tls_key`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// PEM file with the certificate chain, the server's own certificate first.
    #[schemars(extend("x-default" = "none"))]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[schemars(extend("x-default" = "none"))]
    pub tls_key: Option<PathBuf>,
    /// The unix socket; the default is `rpc.sock` in the data directory.
    #[schemars(extend("x-default" = "`rpc.sock` in the data directory"))]
    pub socket: Option<PathBuf>,
    /// Origins of web pages that may ask, such as `https://wallet.example`; `*` is any. Requests of programs carry no origin.
    pub origins: Vec<String>,
    /// What the legacy interface grants to whoever reaches the port and shows no token.
    pub open_access: OpenAccess,
    /// `receive_voucher` answers with numbers, as payment proxies in Go expect, instead of strings, as the client in TypeScript does.
    pub receive_voucher_numeric: bool,
    /// What `create_payment_channel` does when the caller wants the payee to start with money.
    pub payee_deposit: PayeeDeposit,
    /// Challenge duration of channels whose opener names none, in seconds; brought within what the node agrees to.
    pub challenge_duration_s: u32,
    /// Connections over TCP and as many over the unix socket.
    pub connections_max: usize,
    /// WebSocket connections among all of them.
    pub websockets_max: usize,
    /// Bytes of a request to `/rpc`. Requests to `/api/v1` have a limit of their own.
    pub body_bytes_max: usize,
    /// Calls in one batch.
    pub batch_max: usize,
    /// Calls a second of one token; a batch counts each of its calls.
    pub calls_per_second: u32,
    /// How long a client may take to send a request, or to take a message of a WebSocket, in milliseconds.
    pub client_timeout_ms: u64,
}

/// What is granted without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OpenAccess {
    /// Nothing.
    #[default]
    None,
    /// To look.
    Read,
    /// To look and to spend.
    ///
    /// # Danger
    /// Every program on this machine can then spend this node's money.
    Operate,
}

/// What becomes of the payee's part of a payment channel's outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PayeeDeposit {
    /// The request is refused unless it is zero.
    #[default]
    Refuse,
    /// It is taken for zero: the contract sets the payee's amount when a voucher is redeemed, and could not enforce another one.
    Ignore,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            http: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 4005)),
            tls_cert: None,
            tls_key: None,
            socket: None,
            origins: Vec::new(),
            open_access: OpenAccess::None,
            receive_voucher_numeric: false,
            payee_deposit: PayeeDeposit::Refuse,
            // A day: long enough for an operator to notice, short enough to wait for.
            challenge_duration_s: 24 * 3_600,
            connections_max: 256,
            websockets_max: 64,
            body_bytes_max: 1 << 20,
            batch_max: 50,
            calls_per_second: 100,
            client_timeout_ms: 10_000,
        }
    }
}

impl Settings {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key and what is wrong with it. The operator corrects it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(("rpc.tls_cert", "needs rpc.tls_key, and the other way round".into()));
        }
        let is_local = self.listen.ip().is_loopback();
        if self.http && !is_local && self.tls_cert.is_none() {
            let what = format!(
                "{} is not a loopback address: tokens would cross the network in the clear; \
                 set rpc.tls_cert and rpc.tls_key, or listen at 127.0.0.1",
                self.listen
            );
            return Err(("rpc.listen", what));
        }
        if self.http && !is_local && self.open_access != OpenAccess::None {
            let what = "must be \"none\" where rpc.listen is not a loopback address: anybody \
                        could use this node";
            return Err(("rpc.open_access", what.into()));
        }
        let bad = |o: &&String| *o != "*" && (!o.contains("://") || o.ends_with('/'));
        if let Some(origin) = self.origins.iter().find(bad) {
            let what =
                format!("{origin:?}: expected scheme and host, such as https://wallet.example");
            return Err(("rpc.origins", what));
        }
        let positive = [
            ("rpc.connections_max", self.connections_max as u64),
            ("rpc.websockets_max", self.websockets_max as u64),
            ("rpc.batch_max", self.batch_max as u64),
            ("rpc.calls_per_second", u64::from(self.calls_per_second)),
            ("rpc.client_timeout_ms", self.client_timeout_ms),
            ("rpc.challenge_duration_s", u64::from(self.challenge_duration_s)),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err((key, "must not be 0".into()));
        }
        if self.body_bytes_max < BODY_BYTES_MIN {
            return Err(("rpc.body_bytes_max", format!("must be at least {BODY_BYTES_MIN}")));
        }
        Ok(())
    }

    /// How long a client may take to send a request or to take a message.
    pub fn client_timeout(&self) -> Duration {
        Duration::from_millis(self.client_timeout_ms)
    }

    /// Whether a page of this origin may ask.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|o| o == "*" || o == origin)
    }
}

/// Every single request of ours fits.
const BODY_BYTES_MIN: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_endangers_money_is_refused() {
        let edits: [(&str, &str); 8] = [
            ("listen = \"0.0.0.0:4005\"", "rpc.listen"),
            ("listen = \"[::]:4005\"", "rpc.listen"),
            (
                "listen = \"10.0.0.1:1\"\ntls_cert = \"a\"\ntls_key = \"b\"\nopen_access = \"read\"",
                "rpc.open_access",
            ),
            ("tls_cert = \"a\"", "rpc.tls_cert"),
            ("origins = [\"wallet.example\"]", "rpc.origins"),
            ("origins = [\"https://wallet.example/\"]", "rpc.origins"),
            ("connections_max = 0", "rpc.connections_max"),
            ("body_bytes_max = 100", "rpc.body_bytes_max"),
        ];
        for (text, key) in edits {
            let settings: Settings = toml::from_str(text).unwrap();
            assert_eq!(settings.check().map_err(|(key, _)| key), Err(key), "{text}");
        }
        for text in [
            "",
            "listen = \"[::1]:0\"",
            "listen = \"0.0.0.0:1\"\nhttp = false",
            "listen = \"0.0.0.0:1\"\ntls_cert = \"a\"\ntls_key = \"b\"",
            "open_access = \"operate\"\norigins = [\"*\", \"http://localhost:3000\"]",
        ] {
            let settings: Settings = toml::from_str(text).unwrap();
            assert_eq!(settings.check(), Ok(()), "{text}");
        }
        assert!(toml::from_str::<Settings>("lisen = 1").is_err());
    }
}
