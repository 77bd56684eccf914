//! The commands that ask a running node: over the unix socket in its data directory, or over HTTP with a token.
//!
//! Everything here goes through the same interface as anybody else's program; nothing is known of the node's inside.

#[expect(
    missing_docs,
    reason = "what is flattened into a command is documented where it is declared"
)]
pub mod args;
mod commands;
mod show;
mod units;
mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rpc::token::{self, Secret};
pub use commands::{Output, carry_out, tokens};
pub(crate) use show::table;
pub use units::amount;

/// A way to a node.
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<Secret>,
    /// For people.
    whom: String,
}

/// Where the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// In this data directory, on this machine.
    DataDir(PathBuf),
    /// Behind a URL.
    Url {
        /// `http://127.0.0.1:4005` or `https://…`.
        url: String,
        /// Holds the token.
        token_file: Option<PathBuf>,
        /// Holds the certificate that the node's is checked against.
        ca_file: Option<PathBuf>,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The command line is incomplete or wrong.
    #[error("{0}")]
    Usage(String),
    /// Nobody is there.
    #[error(
        "no node answers at {whom}: {why}; is it running? `fairway run` prints where it listens"
    )]
    NoNode {
        /// Where.
        whom: String,
        /// The system's reason.
        why: String,
    },
    /// What came back is no answer.
    #[error("{whom} does not answer like a node: {why}")]
    NotANode {
        /// Who.
        whom: String,
        /// What came.
        why: String,
    },
    /// The node says no.
    #[error("{message}")]
    Refused {
        /// Its number.
        code: i64,
        /// Its line.
        message: String,
        /// For programs.
        data: Option<Value>,
    },
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] token::TokenError),
    /// The certificate cannot be read.
    #[error("--ca-file {}: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was waited for did not happen in time.
    #[error("{0}")]
    TimedOut(String),
    /// What was waited for cannot happen any more.
    #[error("{0}")]
    Failed(String),
    /// Our output cannot be written.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Value>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl Client {
    /// Prepares to ask; nothing is sent.
    ///
    /// # Errors
    /// [`ClientError`]: files that cannot be used.
    pub fn new(target: &Target) -> Result<Client, ClientError> {
        // The one provider of cryptography; refused only where it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX);
        let (builder, url, token, whom) = match target {
            Target::DataDir(data_dir) => {
                let socket = data_dir.join(crate::rpc::SOCKET);
                let whom = socket.display().to_string();
                // No certificates: nothing is encrypted on a socket of this machine.
                let builder = builder.unix_socket(socket).tls_certs_only([]);
                (builder, "http://localhost/rpc".to_string(), None, whom)
            }
            Target::Url { url, token_file, ca_file } => {
                let url = format!("{}/rpc", url.trim_end_matches('/'));
                let token = token_file.as_deref().map(token::read_secret).transpose()?;
                let builder = match ca_file {
                    Some(path) => builder.tls_certs_only(certificates(path)?),
                    None if url.starts_with("https://") => builder,
                    None => builder.tls_certs_only([]),
                };
                (builder, url.clone(), token, url)
            }
        };
        let broken = |e: reqwest::Error| ClientError::Usage(describe(&e));
        Ok(Client { http: builder.build().map_err(broken)?, url, token, whom })
    }

    /// Calls one method.
    ///
    /// # Errors
    /// [`ClientError`]. Without an answer it is unknown whether the call was carried out.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<R, ClientError> {
        let value = self.ask(method, json!(params)).await?;
        serde_json::from_value(value).map_err(|e| self.not_a_node(format!("{method}: {e}")))
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, ClientError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self.http.post(&self.url).header("content-type", "application/json");
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        };
        let no_node =
            |e: reqwest::Error| ClientError::NoNode { whom: self.whom.clone(), why: describe(&e) };
        let response = request.body(body.to_string()).send().await.map_err(no_node)?;
        let status = response.status();
        let text = response.text().await.map_err(no_node)?;
        let answer: Answer = serde_json::from_str(&text).map_err(|_| {
            let what = if status == StatusCode::OK { "no JSON" } else { "no answer" };
            self.not_a_node(format!("{what}, HTTP status {status}"))
        })?;
        match (answer.result, answer.error) {
            (_, Some(ErrorObject { code, message, data })) => {
                Err(ClientError::Refused { code, message, data })
            }
            (Some(result), None) => Ok(result),
            (None, None) => Ok(Value::Null),
        }
    }

    fn not_a_node(&self, why: String) -> ClientError {
        ClientError::NotANode { whom: self.whom.clone(), why }
    }
}

impl ClientError {
    /// The exit code; the help lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::Refused { .. } | ClientError::Failed(_) | ClientError::Output(_) => 1,
            ClientError::Usage(_) | ClientError::Token(_) | ClientError::Certificate { .. } => 2,
            ClientError::NoNode { .. } | ClientError::NotANode { .. } => 3,
            ClientError::TimedOut(_) => 4,
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let error = |why: String| ClientError::Certificate { path: path.to_path_buf(), why };
    let pem = fs::read(path).map_err(|e| error(e.to_string()))?;
    let all = Certificate::from_pem_bundle(&pem).map_err(|e| error(describe(&e)))?;
    if all.is_empty() { Err(error("holds no certificate".into())) } else { Ok(all) }
}

/// The whole chain of reasons on one line; the outer ones alone say nothing.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Longer than the longest wait of a method.
const ANSWER_MAX: Duration = Duration::from_secs(75);
