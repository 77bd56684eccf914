//! The node's RPC: JSON-RPC over HTTP, WebSocket and a unix socket.
//!
//! Nothing is decided here: requests become commands, answers are what the resting node shows, and both are durable by then.
//!
//! ```text
//! listen ─> http ─┬─> legacy     go-nitro's interface, /api/v1
//!                 ├─> method ─> ours     our methods, /rpc
//!                 └─> websocket          the same, and subscriptions
//!           gate: tokens, grants, rate         cashier: payments in order         follow: the log
//! ```

mod cashier;
mod context;
mod envelope;
mod error;
mod follow;
mod gate;
mod grant;
mod http;
mod legacy;
mod listen;
mod method;
mod openrpc;
pub mod ours;
mod page;
mod settings;
#[cfg(test)]
mod tests;
pub mod token;
pub mod value;
pub mod view;
mod websocket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fairway_core::types::Lsn;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::inbox::Stopped;
use crate::runtime::NodeHandle;
use cashier::Cashier;
use context::{Caller, Context, Facts};
pub use gate::now_ms;
use gate::{Door, Gate};
use grant::{GrantKeyError, Grants};
use http::App;
pub use listen::ListenError;
use listen::Patience;
pub use settings::Settings;
use token::{Scope, Tokens};

/// A server that runs. Dropping it ends it, and what it has accepted.
pub struct Server {
    _tasks: JoinSet<()>,
    /// Let connections in, and end when those have ended.
    doors: JoinSet<()>,
    closing: watch::Sender<bool>,
    tcp: Option<SocketAddr>,
    socket: PathBuf,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The section of the configuration.
    #[error("{key}: {what}")]
    Settings {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The key of grants.
    #[error(transparent)]
    GrantKey(#[from] GrantKeyError),
    /// The node.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Server {
    /// Serves a node that runs in `data_dir`, as its settings say.
    ///
    /// # Errors
    /// [`ServeError`]; the operator corrects the configuration. Nobody is served.
    pub async fn start(
        node: NodeHandle,
        data_dir: &Path,
        settings: Settings,
    ) -> Result<Server, ServeError> {
        settings.check().map_err(|(key, what)| ServeError::Settings { key, what })?;
        let (mut tasks, mut doors) = (JoinSet::new(), JoinSet::new());
        let (closing, closed) = watch::channel(false);
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => {
                let (current, tls) = watch::channel(listen::tls(cert, key)?);
                let hangups = signal(SignalKind::hangup()).map_err(ListenError::Signal)?;
                let (cert, key) = (cert.clone(), key.clone());
                tasks.spawn(listen::renew_tls(cert, key, hangups, current));
                Some(tls)
            }
            (None, _) | (_, None) => None,
        };
        let facts = Facts::of(&node, data_dir.to_path_buf(), settings.clone()).await?;
        let gate = Arc::new(Gate::new(Tokens::of(data_dir), Grants::open(data_dir)?, &settings));
        let context = Context {
            cashier: Cashier::start(node.clone(), &mut tasks),
            durable: follow_durable(node.clone(), &mut tasks).await?,
            node,
            facts: Arc::new(facts),
            caller: Caller { name: "nobody".into(), scope: Scope::Read },
        };
        let (table, websockets) =
            (ours::table(), Arc::new(Semaphore::new(settings.websockets_max)));
        let router = |door| {
            let (context, table) = (context.clone(), table.clone());
            let (gate, websockets) = (gate.clone(), websockets.clone());
            http::router(Arc::new(App { context, table, gate, door, websockets }))
        };
        let patience = Patience {
            connections_max: settings.connections_max,
            head_max: settings.client_timeout(),
        };
        let socket = settings.socket.clone().unwrap_or_else(|| data_dir.join(SOCKET));
        let unix = listen::bind_unix(&socket)?;
        doors.spawn(listen::serve_unix(unix, router(Door::Local), patience, closed.clone()));
        let mut tcp = None;
        if settings.http {
            let at = settings.listen;
            let error = |source| ListenError::Tcp { at, source };
            let listener = TcpListener::bind(at).await.map_err(error)?;
            tcp = Some(listener.local_addr().map_err(error)?);
            let router = router(Door::Network);
            doors.spawn(listen::serve_tcp(listener, tls, router, patience, closed));
        }
        Ok(Server { _tasks: tasks, doors, closing, tcp, socket })
    }

    /// Ends it when the answers that are under way have been written, or after so long. Of a node that has stopped: it then answers nothing
    /// more.
    pub async fn finish(mut self, within: Duration) {
        self.closing.send_replace(true);
        let _ = timeout(within, async { while self.doors.join_next().await.is_some() {} }).await;
    }

    /// Where it listens on TCP, if it does.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// The position up to which the log is synced, as it grows; ends with the node.
async fn follow_durable(
    node: NodeHandle,
    tasks: &mut JoinSet<()>,
) -> Result<watch::Receiver<Lsn>, Stopped> {
    let first = node.when(|driver| Some(driver.durable())).await?;
    let (sender, receiver) = watch::channel(first);
    tasks.spawn(async move {
        loop {
            let seen = *sender.borrow();
            let more = node.when(move |driver| (driver.durable() > seen).then(|| driver.durable()));
            let Ok(lsn) = more.await else { return };
            // Held in every context as well: nobody has to look at it.
            let _ = sender.send_replace(lsn);
        }
    });
    Ok(receiver)
}

/// Name of the unix socket in the data directory.
pub const SOCKET: &str = "rpc.sock";
