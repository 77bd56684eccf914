//! The door for those who watch: metrics and health over HTTP.
//!
//! It opens before the log is read, so that a long replay can be told from a hang. It has no secrets and takes no commands; it
//! listens on loopback unless the operator says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::ages::Ages;
use super::facts::Facts;
use super::health::{self, Phase, Readiness};
use super::meter::Metrics;
use super::publish::Sample;
use crate::backup::status;
use crate::files;
use crate::runtime::NodeHandle;

/// Watches one node, from before its log is open until it has stopped. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    metrics: Metrics,
    node: Arc<OnceLock<Running>>,
    /// One look at a time: a crowd of scrapers must not keep the node from its work. So it is a lock that is held while the node is
    /// waited for; and what one look leaves to the next is in it, because looks come from any connection.
    looks: Arc<Mutex<Ages>>,
}

/// A node that runs.
struct Running {
    handle: NodeHandle,
    data_dir: PathBuf,
    findings: usize,
}

/// What a look at the data directory shows, as far as it can be read.
#[derive(Default)]
struct OnDisk {
    usage: Option<files::Usage>,
    backups: Option<status::Status>,
}

/// How a start goes.
#[derive(Serialize)]
struct StartupReport {
    started: bool,
    phase: Phase,
    replayed_events: u64,
    log_events: u64,
}

impl Observer {
    /// An observer of a node that is not there yet.
    pub fn new(metrics: Metrics) -> Observer {
        Observer { metrics, node: Arc::new(OnceLock::new()), looks: Arc::default() }
    }

    /// The node runs. Only the first call counts.
    pub fn attach(&self, handle: NodeHandle, data_dir: PathBuf, findings: usize) {
        // A second node has an observer of its own.
        let _ = self.node.set(Running { handle, data_dir, findings });
    }

    /// Looks at everything; waits a moment for the node to rest.
    pub async fn look(&self) -> Sample {
        let mut ages = self.looks.lock().await;
        let Some(running) = self.node.get() else {
            return self.sample(None, None, BTreeMap::new(), OnDisk::default());
        };
        let now_ms = crate::clock::WallClock::start().now().0;
        let rested = running.handle.when(move |driver| Some(Facts::of(driver, now_ms)));
        // One that stops takes no questions any more.
        let patience = if running.handle.is_stopping() { Duration::ZERO } else { LOOK_MAX };
        let facts = timeout(patience, rested).await.ok().and_then(Result::ok);
        let waiting = facts.as_ref().map(|facts| ages.of(&facts.waiting, now_ms));
        let directory = running.data_dir.clone();
        // Without the numbers of the disk a scrape is still worth something.
        let on_disk = tokio::task::spawn_blocking(move || OnDisk {
            usage: files::usage(&directory).ok(),
            backups: status::read(&directory).ok(),
        });
        let on_disk = on_disk.await.unwrap_or_default();
        self.sample(Some(running), facts, waiting.unwrap_or_default(), on_disk)
    }

    fn sample(
        &self,
        running: Option<&Running>,
        facts: Option<Facts>,
        waiting_s: BTreeMap<&'static str, f64>,
        OnDisk { usage, backups }: OnDisk,
    ) -> Sample {
        let chain = running.and_then(|r| r.handle.chain());
        let health = chain.map(|watch| watch.health.borrow().clone());
        let readiness = Readiness::of(&self.metrics, facts.as_ref(), health.as_ref());
        Sample {
            facts,
            waiting_s,
            wallet: chain.map(|watch| watch.wallet.now()),
            readiness,
            live: health::dead(&self.metrics).is_none(),
            network: running.map(|r| r.handle.network().counters()).unwrap_or_default(),
            sessions: running.map_or_else(BTreeSet::new, |r| {
                r.handle.network().sessions().into_iter().collect()
            }),
            chain: chain.map(|watch| watch.counters.all()).into_iter().flatten().collect(),
            health,
            inbox: running.map_or((0, 0), |r| r.handle.inbox_depth()),
            usage,
            backups,
            findings: running.map_or(0, |r| r.findings),
        }
    }

    /// The text of `/metrics`.
    pub async fn scrape(&self) -> String {
        let sample = self.look().await;
        self.metrics.publish(&sample);
        self.metrics.render()
    }
}

/// Answers until it is dropped. Never more than 32 connections at once, none of which may wait for ever: whoever opens connections
/// here must not take file descriptors from the log.
pub async fn serve(listener: TcpListener, observer: Observer) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .with_state(observer);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this future, and their connections with them.
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(routes.clone());
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    // Whoever went away does not need the answer.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a connection to the metrics port could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Always the text format 0.0.4: OpenMetrics reserves `_created`, and one of the five ends with it.
async fn metrics(State(observer): State<Observer>) -> Response {
    let text = observer.scrape().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn livez(State(observer): State<Observer>) -> Response {
    let dead = health::dead(&observer.metrics);
    let answer = json!({ "live": dead.is_none(), "reason": dead });
    answered(dead.is_none(), &answer)
}

async fn readyz(State(observer): State<Observer>) -> Response {
    let readiness = observer.look().await.readiness;
    answered(readiness.ready, &readiness)
}

async fn startupz(State(observer): State<Observer>) -> Response {
    let startup = observer.metrics.startup();
    let (replayed_events, log_events) = startup.replayed();
    let phase = startup.phase();
    let started = phase >= Phase::Running;
    answered(started, &StartupReport { started, phase, replayed_events, log_events })
}

fn answered(good: bool, answer: &impl Serialize) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(answer)).into_response()
}

/// A node rests between two batches, many times a second; one that does not within this time is busy beyond measure.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// A collector, a few probes, and people.
const CONNECTIONS_MAX: usize = 32;
/// From one request to the next on one connection; longer than collectors wait between two scrapes.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// Keeps a lack of file descriptors from turning into a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Goal: connections that say nothing are bounded, and make room again when they end.
    /// Method: as many as there may be, then one more that asks; it is answered when one of them has gone.
    #[tokio::test]
    async fn connections_are_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Observer::new(Metrics::new())));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(at).await.unwrap();
            // Answered once, so that it is known to have been accepted; then it stays.
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            silent.push(stream);
        }
        let mut asks = TcpStream::connect(at).await.unwrap();
        asks.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        let unanswered = timeout(Duration::from_millis(50), asks.read(&mut answer)).await;
        assert!(unanswered.is_err(), "answered beyond the limit");
        drop(silent.pop());
        asks.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        server.abort();
    }
}
