//! Our interface over a WebSocket: the same calls, and subscriptions to the log.
//!
//! ```text
//! > {"jsonrpc":"2.0","id":1,"method":"fairway_subscribe","params":{"from":17}}
//! < {"jsonrpc":"2.0","id":1,"result":{"subscription":0,"from":17}}
//! < {"jsonrpc":"2.0","method":"fairway_event","params":{"subscription":0,"lsn":17,"time_ms":…,"event":{…}}}
//! < {"jsonrpc":"2.0","method":"fairway_subscriptionEnded","params":{"subscription":0,"last":4711,"why":"…"}}
//! ```
//!
//! The log is the cursor: nothing is buffered for a subscriber, and one that comes back with `from` has missed nothing. One that does
//! not take what it is sent is disconnected; the last position that it was sent stands in the last message and in the close frame.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use fairway_core::types::Lsn;
use futures_util::stream::{FuturesUnordered, SplitSink};
use futures_util::{SinkExt, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval_at, timeout};

use super::context::Context;
use super::envelope::{Asked, Id, Notification, Request, Response};
use super::error::{Code, RpcError};
use super::follow::LogReader;
use super::http::{App, RECHECK_EVERY};
use super::ours::log::EventLine;
use super::token::Scope;

/// From where a subscription begins.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Subscribe {
    /// Position of the first event; the next one that happens if not said.
    pub from: Option<u64>,
}

/// A subscription that runs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribed {
    /// Its number in this connection.
    pub subscription: u64,
    /// Position of the first event that comes.
    pub from: u64,
}

/// Which subscription is to end.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    /// Its number.
    pub subscription: u64,
}

/// One event of a subscription.
#[derive(Serialize)]
struct Delivered {
    subscription: u64,
    #[serde(flatten)]
    line: EventLine,
}

#[derive(Serialize)]
struct Ended {
    subscription: u64,
    /// The last position that was sent: go on behind it.
    last: u64,
    why: String,
}

/// Something to send.
struct Outgoing {
    text: String,
    /// Of an event: whose, and its position.
    event: Option<(u64, u64)>,
}

/// Serves one connection until either side ends it.
pub async fn serve(socket: WebSocket, app: Arc<App>, context: Context, header: Option<String>) {
    let (sink, mut source) = socket.split();
    let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
    let patience = app.settings().client_timeout();
    let mut writing = tokio::spawn(write(sink, outgoing, patience));
    let mut connection = Connection {
        app,
        context,
        header,
        out,
        last_subscription: 0,
        subscriptions: BTreeMap::new(),
        running: JoinSet::new(),
    };
    let mut answering = FuturesUnordered::new();
    let mut ended = std::pin::pin!(ended(connection.context.durable.clone()));
    let mut again = interval_at(Instant::now() + RECHECK_EVERY, RECHECK_EVERY);
    loop {
        tokio::select! {
            // The writer ends when the peer does not take what it is sent.
            _ = &mut writing => return,
            () = &mut ended => {
                // Subscriptions say by themselves where they ended.
                let running = &mut connection.running;
                let _ = timeout(patience, async { while running.join_next().await.is_some() {} }).await;
                break;
            }
            message = source.next(), if answering.len() < ANSWERING_MAX => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => break,
                };
                match connection.take(text.as_str()).await {
                    Ok(answer) => answering.push(answer),
                    Err(error) => {
                        let _ = connection.send(Some(failed(error))).await;
                        break;
                    }
                }
            }
            Some(answer) = answering.next(), if !answering.is_empty() => {
                if connection.send(answer).await.is_err() {
                    break;
                }
            }
            Some(_) = connection.running.join_next(), if !connection.running.is_empty() => {}
            _ = again.tick() => {
                // A token that was revoked or has expired hears nothing more.
                if connection.recheck().await.is_err() {
                    break;
                }
            }
        }
    }
    connection.running.shutdown().await;
    drop(connection);
    let _ = timeout(patience, writing).await;
}

/// Done when the node has stopped.
async fn ended(mut durable: watch::Receiver<Lsn>) {
    while durable.changed().await.is_ok() {}
}

struct Connection {
    app: Arc<App>,
    context: Context,
    header: Option<String>,
    out: mpsc::Sender<Outgoing>,
    last_subscription: u64,
    subscriptions: BTreeMap<u64, AbortHandle>,
    running: JoinSet<()>,
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Option<String>> + Send>>;

impl Connection {
    /// Begins to answer one text frame. Subscriptions are answered in order with what they deliver.
    ///
    /// # Errors
    /// The token is worth nothing any more: the last thing to say.
    async fn take(&mut self, text: &str) -> Result<Answering, RpcError> {
        self.recheck().await?;
        let asked = Asked::parse(text.as_bytes(), self.app.settings().batch_max);
        let admitted = asked.and_then(|asked| {
            self.app.gate.admit(self.app.door, &self.context.caller, asked.calls())?;
            Ok(asked)
        });
        let asked = match admitted {
            Ok(asked) => asked,
            Err(error) => {
                self.app.turned_away(&error);
                return Ok(Box::pin(async { Some(failed(error)) }));
            }
        };
        if let Asked::One(Ok(request)) = &asked
            && SUBSCRIPTIONS.contains(&request.method.as_str())
        {
            let began = Instant::now();
            let outcome = self.subscription(request).await;
            self.app.note(&request.method, began, &outcome);
            let id = request.id.clone().unwrap_or(Id::Null);
            let answer = Response::new(id, outcome).to_json();
            return Ok(Box::pin(async { Some(answer) }));
        }
        let (app, context) = (self.app.clone(), self.context.clone());
        Ok(Box::pin(async move { app.answer(context, asked).await }))
    }

    async fn recheck(&mut self) -> Result<(), RpcError> {
        let caller = self.app.gate.caller(self.app.door, self.header.as_deref()).await?;
        self.context.caller = caller;
        Ok(())
    }

    async fn send(&self, answer: Option<String>) -> Result<(), mpsc::error::SendError<Outgoing>> {
        match answer {
            Some(text) => self.out.send(Outgoing { text, event: None }).await,
            None => Ok(()),
        }
    }

    async fn subscription(&mut self, request: &Request) -> Result<Box<RawValue>, RpcError> {
        self.context.caller.needs(Scope::Read)?;
        let text = request.params.as_deref().map_or("{}", RawValue::get);
        let bad = |e: serde_json::Error| RpcError::params(format!("{}: {e}", request.method));
        let result = if request.method == SUBSCRIBE {
            let asked = serde_json::from_str(text).map_err(bad)?;
            to_raw_value(&self.subscribe(asked).await?)
        } else {
            let asked: Unsubscribe = serde_json::from_str(text).map_err(bad)?;
            let ended = self.subscriptions.remove(&asked.subscription);
            to_raw_value(&ended.map(|task| task.abort()).is_some())
        };
        result.map_err(|e| RpcError::new(Code::Internal, e.to_string()))
    }

    async fn subscribe(&mut self, asked: Subscribe) -> Result<Subscribed, RpcError> {
        self.subscriptions.retain(|_, task| !task.is_finished());
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let what = format!("{SUBSCRIPTIONS_MAX} subscriptions run here; end one first");
            return Err(RpcError::new(Code::Busy, what));
        }
        let next = self.context.durable.borrow().advance(1);
        let from = asked.from.map_or(next, Lsn).max(Lsn(1));
        let directory = self.context.facts.data_dir.clone();
        let seek = tokio::task::spawn_blocking(move || LogReader::seek(&directory, from));
        let reader = seek.await.expect("reading a log does not panic")?;
        let subscription = self.last_subscription;
        self.last_subscription += 1;
        let task = self.running.spawn(deliver(
            subscription,
            reader,
            self.context.clone(),
            self.out.clone(),
        ));
        self.subscriptions.insert(subscription, task);
        Ok(Subscribed { subscription, from: from.0 })
    }
}

/// Sends the log from the reader's position on, as fast as it is taken and no faster.
async fn deliver(
    subscription: u64,
    mut reader: LogReader,
    context: Context,
    out: mpsc::Sender<Outgoing>,
) {
    let mut durable = context.durable;
    let why = loop {
        let up_to = *durable.borrow_and_update();
        let mut ahead = reader.clone();
        let read =
            tokio::task::spawn_blocking(move || ahead.read(up_to, EVENTS_MAX).map(|l| (l, ahead)));
        let lines = match read.await.expect("reading a log does not panic") {
            Ok((lines, ahead)) => {
                reader = ahead;
                lines
            }
            Err(error) => break error.to_string(),
        };
        if lines.is_empty() && durable.changed().await.is_err() {
            break "the node has stopped".to_string();
        }
        for line in &lines {
            let delivered = Delivered { subscription, line: EventLine::of(line) };
            let text = Notification::to_json("fairway_event", delivered);
            if out.send(Outgoing { text, event: Some((subscription, line.lsn.0)) }).await.is_err() {
                return;
            }
        }
    };
    let last = reader.next().0.saturating_sub(1);
    let text = Notification::to_json(ENDED, Ended { subscription, last, why });
    let _ = out.send(Outgoing { text, event: None }).await;
}

/// Writes until everything is said or the peer does not take it any more.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    patience: Duration,
) {
    let mut sent = BTreeMap::new();
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let message = tokio::select! {
            next = outgoing.recv() => match next {
                Some(Outgoing { text, event }) => {
                    sent.extend(event);
                    Message::Text(text.into())
                }
                None => break,
            },
            // A peer that is gone does not take this either, after a while.
            _ = pings.tick() => Message::Ping(Vec::new().into()),
        };
        match timeout(patience, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                farewell(sink, &sent).await;
                return;
            }
        }
    }
    let _ = timeout(patience, sink.close()).await;
}

/// Tells a slow consumer where it stands. It may not take this either; its own last position is as good.
async fn farewell(mut sink: SplitSink<WebSocket, Message>, sent: &BTreeMap<u64, u64>) {
    let why = "too slow";
    let last = sent.values().min().copied().unwrap_or(0);
    let reason = format!("{why}; go on from {}", last.saturating_add(1));
    let frame = CloseFrame { code: 1008, reason: reason.into() };
    let _ = timeout(FAREWELL_MAX, sink.send(Message::Close(Some(frame)))).await;
}

fn failed(error: RpcError) -> String {
    Response::new(Id::Null, Err(error)).to_json()
}

/// Begins a subscription.
pub const SUBSCRIBE: &str = "fairway_subscribe";
/// Ends one.
pub const UNSUBSCRIBE: &str = "fairway_unsubscribe";
const SUBSCRIPTIONS: [&str; 2] = [SUBSCRIBE, UNSUBSCRIBE];
const ENDED: &str = "fairway_subscriptionEnded";

/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 8;
/// Calls of one connection that are under way; further ones are read later.
const ANSWERING_MAX: usize = 16;
/// Messages between tasks and the socket: a few, so that a slow peer slows its own readers down.
const OUTGOING_MAX: usize = 32;
/// Events that are read at once.
const EVENTS_MAX: usize = 256;
const FAREWELL_MAX: Duration = Duration::from_secs(1);
const PING_EVERY: Duration = Duration::from_secs(20);
