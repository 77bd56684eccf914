//! JSON-RPC over HTTP with bounds: an answer that is too long or too late is an error, whoever sends it.
//!
//! Requests, batches and their errors are alloy's client; alloy's own transport reads answers of any length, so this is another one.

use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket, RpcError, RpcRecv, RpcSend};
use alloy_rpc_client::RpcClient;
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use tokio::time::timeout;
use tower_service::Service;

use crate::settings::{Limits, Url};

/// Asks one endpoint; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    client: RpcClient,
    timeout: Duration,
    batch_max: usize,
}

/// Why an endpoint gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcFailure {
    /// Nobody there, or the connection broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Later than it may be.
    #[error("did not answer within {0:?}")]
    Timeout(Duration),
    /// Longer than it may be.
    #[error("an answer exceeds {max} bytes")]
    TooLong {
        /// How long it may be.
        max: usize,
    },
    /// Not an HTTP success.
    #[error("answered with HTTP status {0}")]
    Status(u16),
    /// It refused, in its own words, which are cut short.
    #[error("refused with {code}: {message}")]
    Refused {
        /// JSON-RPC's error code.
        code: i64,
        /// Its message.
        message: String,
    },
    /// Not what was asked for.
    #[error("gave an answer that cannot be read: {0}")]
    Garbled(String),
}

impl RpcFailure {
    /// Whether asking for less may help.
    pub(crate) fn asks_for_less(&self) -> bool {
        match self {
            RpcFailure::TooLong { .. } | RpcFailure::Timeout(_) | RpcFailure::Status(413) => true,
            RpcFailure::Refused { code, message } => {
                let message = message.to_ascii_lowercase();
                let words =
                    ["range", "limit", "too many", "too large", "exceed", "more than", "size"];
                *code == -32005 || words.iter().any(|word| message.contains(word))
            }
            RpcFailure::Unreachable(_) | RpcFailure::Status(_) | RpcFailure::Garbled(_) => false,
        }
    }
}

impl Rpc {
    pub(crate) fn new(url: &Url, limits: &Limits) -> Rpc {
        // Fails only where another provider is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits.timeout)
            .build()
            .expect("a client without files of its own can be made");
        let transport =
            Http { http, url: url.whole().clone(), answer_bytes_max: limits.answer_bytes_max };
        Rpc {
            client: RpcClient::new(transport, true),
            timeout: limits.timeout,
            batch_max: limits.batch_max.max(1),
        }
    }

    /// One request.
    pub(crate) async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcFailure> {
        let request = self.client.request::<P, R>(method, params);
        timeout(self.timeout, request)
            .await
            .map_err(|_| RpcFailure::Timeout(self.timeout))?
            .map_err(failure)
    }

    /// One method with several parameters, in few round trips; answers in the order of the parameters.
    pub(crate) async fn ask_all<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: &[P],
    ) -> Result<Vec<R>, RpcFailure> {
        self.ask_each(method, params).await.into_iter().collect()
    }

    /// The same, where each may fail for itself.
    pub(crate) async fn ask_each<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: &[P],
    ) -> Vec<Result<R, RpcFailure>> {
        let mut answers = Vec::with_capacity(params.len());
        for chunk in params.chunks(self.batch_max) {
            match self.batch(method, chunk).await {
                Ok(some) => answers.extend(some),
                // What follows would hardly fare better, and waiting for it would cost time.
                Err(failure) => {
                    answers.resize_with(params.len(), || Err(failure.clone()));
                    break;
                }
            }
        }
        answers
    }

    async fn batch<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: &[P],
    ) -> Result<Vec<Result<R, RpcFailure>>, RpcFailure> {
        let mut batch = self.client.new_batch();
        let mut waiters = Vec::with_capacity(params.len());
        for param in params {
            waiters.push(batch.add_call::<P, R>(method, param).map_err(failure)?);
        }
        let gather = async {
            batch.send().await.map_err(failure)?;
            let mut answers = Vec::with_capacity(waiters.len());
            for waiter in waiters {
                answers.push(waiter.await.map_err(failure));
            }
            Ok(answers)
        };
        timeout(self.timeout, gather).await.map_err(|_| RpcFailure::Timeout(self.timeout))?
    }
}

fn failure(error: TransportError) -> RpcFailure {
    match error {
        RpcError::ErrorResp(payload) => {
            RpcFailure::Refused { code: payload.code, message: short(&payload.message) }
        }
        RpcError::NullResp => RpcFailure::Garbled("null".into()),
        RpcError::DeserError { err, .. } => RpcFailure::Garbled(short(&err.to_string())),
        RpcError::Transport(TransportErrorKind::Custom(why)) => {
            match why.downcast::<RpcFailure>() {
                Ok(known) => *known,
                Err(why) => RpcFailure::Unreachable(short(&why.to_string())),
            }
        }
        RpcError::Transport(TransportErrorKind::HttpError(http)) => RpcFailure::Status(http.status),
        RpcError::Transport(other) => RpcFailure::Garbled(short(&other.to_string())),
        other @ (RpcError::UnsupportedFeature(_)
        | RpcError::LocalUsageError(_)
        | RpcError::SerError(_)) => RpcFailure::Garbled(short(&other.to_string())),
    }
}

/// What an endpoint says is not ours to trust with our log.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

/// Characters of an endpoint's words that are kept.
const WORDS_MAX: usize = 200;

/// HTTP with a bound on the length of answers. Has no `Debug`: the address may hold a secret.
#[derive(Clone)]
struct Http {
    http: reqwest::Client,
    url: reqwest::Url,
    answer_bytes_max: usize,
}

impl Http {
    async fn exchange(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = packet.serialize().map_err(TransportError::ser_err)?;
        let unreachable = |e: reqwest::Error| {
            // The address may hold a secret.
            custom(RpcFailure::Unreachable(short(&chain_of(&e.without_url()))))
        };
        let request = self.http.post(self.url).header("content-type", "application/json");
        let mut answer = request.body(body.get().to_owned()).send().await.map_err(unreachable)?;
        let status = answer.status();
        let max = self.answer_bytes_max;
        if answer.content_length().is_some_and(|length| length > max as u64) {
            return Err(custom(RpcFailure::TooLong { max }));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + piece.len() > max {
                return Err(custom(RpcFailure::TooLong { max }));
            }
            bytes.extend_from_slice(&piece);
        }
        let parsed = serde_json::from_slice(&bytes);
        if !status.is_success() && parsed.is_err() {
            return Err(custom(RpcFailure::Status(status.as_u16())));
        }
        parsed.map_err(|e| custom(RpcFailure::Garbled(short(&e.to_string()))))
    }
}

fn custom(failure: RpcFailure) -> TransportError {
    TransportErrorKind::custom(failure)
}

/// An error with its causes: the outermost alone says that a request failed.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl Service<RequestPacket> for Http {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// An endpoint that says the same to everybody.
    async fn endpoint(status: &str, body: &str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::http(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    async fn ask(url: &Url, limits: &Limits) -> RpcFailure {
        Rpc::new(url, limits).ask::<_, u64>("eth_chainId", ()).await.unwrap_err()
    }

    /// Goal: every way of not answering has its name, and no secret of the address is in any. Method: one bad endpoint each.
    #[tokio::test]
    async fn bad_endpoints_are_named() {
        let limits = Limits {
            answer_bytes_max: 100,
            timeout: Duration::from_millis(200),
            ..Limits::default()
        };
        let url = endpoint("200 OK", &"x".repeat(101)).await;
        assert_eq!(ask(&url, &limits).await, RpcFailure::TooLong { max: 100 });
        let url = endpoint("502 Bad Gateway", "<html>").await;
        assert_eq!(ask(&url, &limits).await, RpcFailure::Status(502));
        let url = endpoint("200 OK", "<html>").await;
        assert!(matches!(ask(&url, &limits).await, RpcFailure::Garbled(_)));
        let refused = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32005,"message":"query returned more than 10000 results"}}"#;
        let refusal = ask(&endpoint("200 OK", refused).await, &Limits::default()).await;
        assert!(matches!(refusal, RpcFailure::Refused { code: -32005, .. }), "{refusal}");
        assert!(refusal.asks_for_less());
        let gone = ask(&Url::http("http://127.0.0.1:1/secret").unwrap(), &limits).await;
        assert!(matches!(gone, RpcFailure::Unreachable(_)), "{gone}");
        assert!(!gone.to_string().contains("secret"), "{gone}");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::http(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
        assert_eq!(ask(&url, &limits).await, RpcFailure::Timeout(limits.timeout));
    }
}
