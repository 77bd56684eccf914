//! Asks a running node's port of metrics: whether it is ready, for container health checks and for people, and what it counts.

use std::time::Duration;

use axum::http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is ready.
    pub ready: bool,
    /// Its reasons, as JSON.
    pub text: String,
}

/// Why there was no answer. Each names the URL and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not a URL of the metrics port.
    #[error("{url}: expected http://HOST:PORT, as the node says it at its start")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nobody listens, or it is no node.
    #[error("{url}: {why}; does a node run there, with this metrics_port?")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// No answer in time.
    #[error("{url}: no answer within {} s", waited.as_secs())]
    TimedOut {
        /// Where.
        url: String,
        /// How long was waited.
        waited: Duration,
    },
}

/// Asks `url`, a node's `http://HOST:PORT`, whether it is ready.
///
/// # Errors
/// [`HealthError`]: nothing that could be taken for an answer.
pub async fn ready(url: &str, patience: Duration) -> Result<Answer, HealthError> {
    let address = parse(url).ok_or_else(|| HealthError::Url { url: url.to_string() })?;
    let asked = timeout(patience, ask(&address)).await;
    let unreachable =
        |why: BoxError| HealthError::Unreachable { url: url.to_string(), why: told(&*why) };
    let timed_out = |_| HealthError::TimedOut { url: url.to_string(), waited: patience };
    asked.map_err(timed_out)?.map_err(unreachable)
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Host and port of a plain HTTP URL.
fn parse(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/" | "/readyz");
    let authority = uri.authority().filter(|_| plain && uri.query().is_none())?;
    Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
}

async fn ask(address: &str) -> Result<Answer, BoxError> {
    let (status, text) = get(address, "/readyz", ANSWER_BYTES_MAX).await?;
    if status != StatusCode::OK && status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(format!("answered {status}").into());
    }
    Ok(Answer { ready: status == StatusCode::OK, text })
}

/// What a node shows at `/metrics` on this host and port.
///
/// # Errors
/// What happened, with its causes.
pub async fn scrape(address: &str) -> Result<String, String> {
    let (status, text) =
        get(address, "/metrics", SCRAPE_BYTES_MAX).await.map_err(|why| told(&*why))?;
    if status == StatusCode::OK { Ok(text) } else { Err(format!("answered {status}")) }
}

async fn get(address: &str, path: &str, most: usize) -> Result<(StatusCode, String), BoxError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("host", address).body(Empty::<Bytes>::new())?;
    // It ends with its one answer.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), most).collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The error with its causes: those of HTTP hide what happened.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Checks with reasons are some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Two thousand series are some hundred kilobytes.
const SCRAPE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_metrics_port_are_taken_apart() {
        for (url, address) in [
            ("http://127.0.0.1:9090", Some("127.0.0.1:9090")),
            ("http://127.0.0.1:9090/", Some("127.0.0.1:9090")),
            ("http://[::1]:9090/readyz", Some("[::1]:9090")),
            ("http://node", Some("node:80")),
            ("https://127.0.0.1:9090", None),
            ("127.0.0.1:9090", None),
            ("http://127.0.0.1:9090/metrics", None),
            ("http://127.0.0.1:9090/?x", None),
            ("", None),
        ] {
            assert_eq!(parse(url).as_deref(), address, "{url}");
        }
    }
}
