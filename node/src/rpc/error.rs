//! Errors of our own interface: stable numbers, a text with the remedy, and data for programs.

use fairway_core::effect::Refusal;
use serde::Serialize;
use serde_json::{Value, json};

use crate::inbox::Stopped;
use crate::metrics::Outcome;

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RpcError {
    /// One of [`Code`].
    pub code: i64,
    /// One line for people.
    pub message: String,
    /// For programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The numbers. They never change; the reference page lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not JSON.
    Parse = -32700,
    /// JSON, and no request.
    Request = -32600,
    /// No such method.
    Method = -32601,
    /// Parameters that cannot be meant.
    Params = -32602,
    /// Our own bug or a failing disk.
    Internal = -32603,
    /// No token, or one that is worth nothing.
    Unauthenticated = -32001,
    /// The token does not reach that far.
    Forbidden = -32002,
    /// Too many calls, or too many that wait.
    Busy = -32003,
    /// The node has stopped, or was told to and takes nothing new.
    Stopped = -32004,
    /// The node refused; `data.refusal` says why in one word.
    Refused = -32010,
    /// No such channel, objective or position.
    NotFound = -32011,
    /// The payment's `after` does not hold any more; `data.position` is what holds.
    Moved = -32012,
    /// The idempotency key was used for another request.
    KeyReused = -32013,
}

/// All codes with their meaning, for the document.
pub const CODES: &[(Code, &str)] = &[
    (Code::Parse, "not JSON"),
    (Code::Request, "not a JSON-RPC 2.0 request"),
    (Code::Method, "no such method"),
    (Code::Params, "parameters that cannot be meant"),
    (Code::Internal, "a bug or a failing disk; the node's output says more"),
    (Code::Unauthenticated, "no token, or an expired, revoked or unknown one"),
    (
        Code::Forbidden,
        "the token's scope does not include this method; data.needed names the scope that does",
    ),
    (Code::Busy, "too many calls; try again later"),
    (Code::Stopped, "the node has stopped, or was told to and takes nothing new"),
    (Code::Refused, "the node refused; data.refusal says why in one word"),
    (Code::NotFound, "no such channel, objective or position in the log"),
    (Code::Moved, "payments were made since; data.position is where the channel stands"),
    (Code::KeyReused, "the idempotency key was used for another request"),
];

impl RpcError {
    /// An error without data.
    pub fn new(code: Code, message: impl Into<String>) -> RpcError {
        RpcError { code: code as i64, message: message.into(), data: None }
    }

    /// The same with data.
    pub fn with(self, data: Value) -> RpcError {
        RpcError { data: Some(data), ..self }
    }

    /// Parameters that cannot be meant.
    pub fn params(message: impl Into<String>) -> RpcError {
        RpcError::new(Code::Params, message)
    }

    /// How a call that is answered with it has ended, for whoever counts.
    pub fn outcome(&self) -> Outcome {
        let code = CODES.iter().map(|(code, _)| *code).find(|code| *code as i64 == self.code);
        match code {
            Some(Code::Parse | Code::Request | Code::Method | Code::Params) => Outcome::Invalid,
            Some(Code::Unauthenticated) => Outcome::Unauthenticated,
            Some(Code::Forbidden) => Outcome::Forbidden,
            Some(Code::Busy) => Outcome::Busy,
            Some(Code::Stopped) => Outcome::Stopped,
            Some(Code::Refused | Code::NotFound | Code::Moved | Code::KeyReused) => {
                Outcome::Refused
            }
            Some(Code::Internal) | None => Outcome::Internal,
        }
    }

    /// Whether it is of this kind.
    #[cfg(test)]
    pub fn is(&self, code: Code) -> bool {
        self.code == code as i64
    }
}

impl From<Stopped> for RpcError {
    fn from(_: Stopped) -> RpcError {
        RpcError::new(Code::Stopped, "the node has stopped; see its output for the reason")
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> RpcError {
        let code = match refusal {
            Refusal::UnknownChannel(_) => Code::NotFound,
            Refusal::NotCounterparty { .. }
            | Refusal::ChannelUsed(_)
            | Refusal::NotOpen(_)
            | Refusal::Guarantees(_)
            | Refusal::Policy(_)
            | Refusal::ExceedsBalance { .. }
            | Refusal::UnwantedChange { .. }
            | Refusal::BadState { .. }
            | Refusal::Equivocation(_)
            | Refusal::Limit { .. }
            | Refusal::OldPeer { .. }
            | Refusal::TooNew { .. }
            | Refusal::Recovering
            | Refusal::DiskFull => Code::Refused,
        };
        RpcError::new(code, refusal.to_string()).with(json!({ "refusal": refusal.code() }))
    }
}
