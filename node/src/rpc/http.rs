//! Both interfaces over HTTP: what is where, how much of a request is read, and who may ask from a web page.
//!
//! ```text
//! POST /rpc                 ours              POST /api/v1             legacy
//! GET  /rpc/ws              ours, WebSocket   GET  /api/v1/subscribe   legacy notifications, WebSocket
//!                                             GET  /api/v1/health      OK
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http_body_util::{BodyExt, Limited};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval_at, timeout};
use tracing::warn;

use super::context::Context;
use super::envelope::{self, Asked, Id};
use super::error::{Code, RpcError};
use super::gate::{Door, Gate};
use super::legacy::{self, Desk, notify::Notifier};
use super::method::Table;
use super::openrpc;
use super::settings::Settings;
use super::websocket;
use crate::metrics::{DRAINING, Interface, Metrics, Outcome, UNKNOWN_METHOD};

/// What requests at one door are answered with.
pub struct App {
    /// The node. Its caller is replaced with each request's.
    pub context: Context,
    /// Our methods.
    pub table: Table,
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// Where these requests come in.
    pub door: Door,
    /// Seats for WebSocket connections, of both doors.
    pub websockets: Arc<Semaphore>,
}

impl App {
    /// The section of the configuration.
    pub fn settings(&self) -> &Settings {
        &self.context.facts.settings
    }

    /// Carries out what was asked; nothing to say where only notifications were.
    pub async fn answer(&self, context: Context, asked: Asked) -> Option<String> {
        match asked {
            Asked::One(request) => self.answer_one(context, request).await.map(|r| r.to_json()),
            Asked::Batch(requests) => {
                let mut responses = Vec::new();
                // One after another: a batch may rely on its order.
                for request in requests {
                    responses.extend(self.answer_one(context.clone(), request).await);
                }
                (!responses.is_empty()).then(|| envelope::to_json(&responses))
            }
        }
    }

    /// Counts a call that has ended.
    pub fn note(&self, method: &str, began: Instant, outcome: &Result<Box<RawValue>, RpcError>) {
        let beside = [openrpc::DISCOVER, websocket::SUBSCRIBE, websocket::UNSUBSCRIBE];
        let beside = || beside.into_iter().find(|name| *name == method);
        let name = self.table.name_of(method).or_else(beside).unwrap_or(UNKNOWN_METHOD);
        let ended = outcome.as_ref().map_or_else(RpcError::outcome, |_| Outcome::Ok);
        self.metrics().called(Interface::Ours, name, ended, began.elapsed());
    }

    /// Counts what was turned away before it said what it wants.
    pub fn turned_away(&self, error: &RpcError) {
        self.metrics().turned_away(error.outcome());
    }

    /// The same, and its answer.
    fn refused(&self, error: RpcError) -> Response {
        self.turned_away(&error);
        refused(error)
    }

    fn metrics(&self) -> &Metrics {
        self.context.node.metrics()
    }

    async fn answer_one(
        &self,
        context: Context,
        request: Result<envelope::Request, RpcError>,
    ) -> Option<envelope::Response> {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                self.turned_away(&error);
                return Some(envelope::Response::new(Id::Null, Err(error)));
            }
        };
        let began = Instant::now();
        let outcome = match request.method.as_str() {
            openrpc::DISCOVER => openrpc::discover(&self.table),
            websocket::SUBSCRIBE | websocket::UNSUBSCRIBE => {
                let what = "subscriptions need a WebSocket, each in a message of its own: /rpc/ws";
                Err(RpcError::new(Code::Request, what))
            }
            name => self.table.call(context, name, request.params).await,
        };
        self.note(&request.method, began, &outcome);
        request.id.map(|id| envelope::Response::new(id, outcome))
    }
}

/// Everything that is answered at one door.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/rpc", any(ours))
        .route("/rpc/ws", get(ours_websocket))
        .route("/api/v1", any(legacy_call))
        .route("/api/v1/health", get(|| async { "OK" }))
        .route("/api/v1/subscribe", get(legacy_subscribe))
        .route("/api/{*other}", any(|| async { (StatusCode::BAD_REQUEST, "only version v1\n") }))
        .layer(from_fn_with_state(app.clone(), refuse_when_stopping))
        .layer(from_fn_with_state(app.clone(), check_origin))
        .with_state(app)
}

async fn ours(State(app): State<Arc<App>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let shown = bearer(request.headers());
    let caller = match app.gate.caller(app.door, shown.as_deref()).await {
        Ok(caller) => caller,
        Err(error) => return app.refused(error),
    };
    let settings = app.settings();
    let body = match read(request, settings.body_bytes_max, settings.client_timeout()).await {
        Ok(body) => body,
        Err(status) => {
            app.metrics().turned_away(Outcome::Invalid);
            return status.into_response();
        }
    };
    let asked = match Asked::parse(&body, settings.batch_max) {
        Ok(asked) => asked,
        Err(error) => return app.refused(error),
    };
    if let Err(error) = app.gate.admit(app.door, &caller, asked.calls()) {
        return app.refused(error);
    }
    match app.answer(app.context.clone().of(caller), asked).await {
        Some(text) => json(StatusCode::OK, text),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn ours_websocket(
    State(app): State<Arc<App>>,
    upgrade: WebSocketUpgrade,
    headers: HeaderMap,
) -> Response {
    let shown = bearer(&headers);
    let caller = match app.gate.caller(app.door, shown.as_deref()).await {
        Ok(caller) => caller,
        Err(error) => return app.refused(error),
    };
    let Some(seat) = seat(&app) else { return full() };
    let bytes_max = app.settings().body_bytes_max;
    let context = app.context.clone().of(caller);
    upgrade.max_message_size(bytes_max).max_frame_size(bytes_max).on_upgrade(async move |socket| {
        websocket::serve(socket, app, context, shown).await;
        drop(seat);
    })
}

async fn legacy_call(State(app): State<Arc<App>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let shown = bearer(request.headers());
    let body = match read(request, legacy::BODY_BYTES_MAX, app.settings().client_timeout()).await {
        Ok(body) => body,
        Err(status) => {
            app.metrics().turned_away(Outcome::Invalid);
            return status.into_response();
        }
    };
    let (gate, door) = (&*app.gate, app.door);
    let desk = Desk { context: &app.context, gate, door, header: shown.as_deref() };
    json(StatusCode::OK, desk.answer(&body).await)
}

async fn legacy_subscribe(
    State(app): State<Arc<App>>,
    upgrade: WebSocketUpgrade,
    headers: HeaderMap,
) -> Response {
    let shown = bearer(&headers);
    if !app.gate.may_listen(app.door, shown.as_deref()).await {
        app.metrics().turned_away(Outcome::Unauthenticated);
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(seat) = seat(&app) else { return full() };
    let upgrade = upgrade.max_message_size(legacy::BODY_BYTES_MAX);
    match Notifier::start(app.context.clone()).await {
        Ok(notifier) => upgrade.on_upgrade(async move |socket| {
            notify(socket, notifier, app, shown).await;
            drop(seat);
        }),
        Err(error) => refused(error),
    }
}

/// Tells until the listener goes, does not listen, may not listen any more, or the node stops.
async fn notify(
    mut socket: WebSocket,
    mut notifier: Notifier,
    app: Arc<App>,
    shown: Option<String>,
) {
    let patience = app.settings().client_timeout();
    let mut again = interval_at(Instant::now() + RECHECK_EVERY, RECHECK_EVERY);
    loop {
        let frames: Vec<Message> = tokio::select! {
            news = notifier.next() => match news {
                Ok(Some(texts)) => texts.into_iter().map(|text| Message::Text(text.into())).collect(),
                Ok(None) => return,
                Err(error) => {
                    warn!(error = error.message, "rpc: notifications end");
                    return;
                }
            },
            message = socket.recv() => match message {
                // Nothing is expected from it.
                Some(Ok(
                    Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_),
                )) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            _ = again.tick() => {
                if !app.gate.may_listen(app.door, shown.as_deref()).await {
                    return;
                }
                // A listener that is gone does not take this either, after a while.
                vec![Message::Ping(Vec::new().into())]
            }
        };
        for message in frames {
            let sent = timeout(patience, socket.send(message)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Requests of web pages carry their origin: only the listed ones are answered. Programs send none.
async fn check_origin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.as_ref().map(|o| o.to_str().is_ok_and(|o| app.settings().allows(o)));
    if allowed == Some(false) {
        let what = "this origin is not listed in rpc.origins\n";
        return (StatusCode::FORBIDDEN, what).into_response();
    }
    let is_legacy = request.uri().path().starts_with("/api/");
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::OK.into_response()
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin {
        let any = app.settings().origins.iter().any(|o| o == "*");
        let allowed = if any { HeaderValue::from_static("*") } else { origin };
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let these = if is_legacy { "*" } else { "authorization, content-type" };
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(these));
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// A node that was told to stop begins nothing new. What came before is finished, and answered.
async fn refuse_when_stopping(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if !app.context.node.is_stopping() {
        return next.run(request).await;
    }
    let error = RpcError::new(Code::Stopped, DRAINING);
    json(StatusCode::SERVICE_UNAVAILABLE, envelope::Response::new(Id::Null, Err(error)).to_json())
}

/// The whole body, if it is short enough and comes in time.
async fn read(request: Request, bytes_max: usize, time_max: Duration) -> Result<Bytes, StatusCode> {
    let body: Body = request.into_body();
    let stated = body.size_hint().lower();
    if stated > bytes_max as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match timeout(time_max, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().map(Into::into)
}

fn seat(app: &App) -> Option<OwnedSemaphorePermit> {
    app.websockets.clone().try_acquire_owned().ok()
}

fn full() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "too many WebSocket connections\n").into_response()
}

/// An error of the whole request.
fn refused(error: RpcError) -> Response {
    let status = if error.code == Code::Unauthenticated as i64 {
        StatusCode::UNAUTHORIZED
    } else if error.code == Code::Busy as i64 {
        StatusCode::TOO_MANY_REQUESTS
    } else if error.code == Code::Internal as i64 {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    let mut response = json(status, envelope::Response::new(Id::Null, Err(error)).to_json());
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn json(status: StatusCode, text: String) -> Response {
    const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");
    (status, [(header::CONTENT_TYPE, "application/json"), NO_STORE], text).into_response()
}

/// How long a revoked token still hears.
pub const RECHECK_EVERY: Duration = Duration::from_secs(5);
