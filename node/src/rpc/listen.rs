//! Sockets: TCP with or without TLS, and the unix socket; how many connections, and how long they may take to say something.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

/// Why nobody can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error(
        "rpc.listen: cannot listen at {at}: {source}; take another address, or set rpc.http = false"
    )]
    Tcp {
        /// Where.
        at: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The unix socket cannot be had.
    #[error("rpc.socket: cannot listen at {}: {source}; a path has at most 107 bytes", path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system does not tell of signals.
    #[error("cannot listen for SIGHUP: {0}")]
    Signal(io::Error),
    /// Certificate or key are no use.
    #[error("{key}: {}: {why}", path.display())]
    Tls {
        /// Which key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What TCP connections are encrypted with, now and after an exchange of the certificate.
pub type Tls = watch::Receiver<TlsAcceptor>;

/// Reads certificate and key again at every SIGHUP; what is no use changes nothing. For a task of its own.
pub async fn renew_tls(
    cert: PathBuf,
    key: PathBuf,
    mut hangups: Signal,
    current: watch::Sender<TlsAcceptor>,
) {
    while hangups.recv().await.is_some() {
        match tls(&cert, &key) {
            Ok(acceptor) => {
                current.send_replace(acceptor);
                info!(certificate = %cert.display(), "rpc: new connections use it");
            }
            Err(error) => error!(%error, "rpc: the certificate stays the old one"),
        }
    }
}

/// Becomes true when nobody is let in any more, and connections end behind what they are answering.
pub type Closing = watch::Receiver<bool>;

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connections at one door.
    pub connections_max: usize,
    /// How long the head of a request may take, and a pause between two.
    pub head_max: Duration,
}

/// Reads certificate and key.
///
/// # Errors
/// [`ListenError::Tls`].
pub fn tls(cert: &Path, key: &Path) -> Result<TlsAcceptor, ListenError> {
    let error = |key, path: &Path| {
        let path = path.to_path_buf();
        move |why: String| ListenError::Tls { key, path, why }
    };
    let of_cert = error("rpc.tls_cert", cert);
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(cert).map_err(|e| of_cert.clone()(e.to_string()))?.collect();
    let chain = chain.map_err(|e| of_cert.clone()(e.to_string()))?;
    if chain.is_empty() {
        return Err(of_cert("holds no certificate".into()));
    }
    let of_key = error("rpc.tls_key", key);
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| of_key.clone()(e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| of_key.clone()(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|e| of_key(e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Opens the unix socket for this user alone. One that an earlier process has left is replaced: the lock of the data directory says
/// that nobody uses it.
///
/// # Errors
/// [`ListenError::Unix`].
pub fn bind_unix(path: &Path) -> Result<UnixListener, ListenError> {
    let error = |source| ListenError::Unix { path: path.to_path_buf(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            fs::remove_file(path).map_err(error)?;
        }
        Ok(_) => return Err(error(io::Error::other("another file is there"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(error(e)),
    }
    let listener = UnixListener::bind(path).map_err(error)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(error)?;
    Ok(listener)
}

/// Serves TCP until it is closed.
pub async fn serve_tcp(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    patience: Patience,
    closing: Closing,
) {
    let seats = Arc::new(Semaphore::new(patience.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let seat = next_seat(&seats, &mut connections).await;
        let Some(accepted) = unless_closed(listener.accept(), &closing).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let tls = tls.as_ref().map(|tls| tls.borrow().clone());
        let (router, closing) = (router.clone(), closing.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, router, patience, seat, closing).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(patience.head_max, tls.accept(stream)).await {
                        serve(stream, router, patience, seat, closing).await;
                    }
                }
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Serves the unix socket until it is closed.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    patience: Patience,
    closing: Closing,
) {
    let seats = Arc::new(Semaphore::new(patience.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let seat = next_seat(&seats, &mut connections).await;
        match unless_closed(listener.accept(), &closing).await {
            Some(Ok((stream, _))) => {
                connections.spawn(serve(stream, router.clone(), patience, seat, closing.clone()));
            }
            Some(Err(error)) => pause_after(&error).await,
            None => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

/// What comes of it; `None` once nobody is let in any more.
async fn unless_closed<T>(waiting: impl Future<Output = T>, closing: &Closing) -> Option<T> {
    let mut closing = closing.clone();
    tokio::select! {
        biased;
        // Whoever could close it may be gone: then nobody does.
        Ok(_) = closing.wait_for(|closed| *closed) => None,
        found = waiting => Some(found),
    }
}

/// Waits for room; connections beyond it wait in the system's queue.
async fn next_seat(seats: &Arc<Semaphore>, connections: &mut JoinSet<()>) -> OwnedSemaphorePermit {
    while connections.try_join_next().is_some() {}
    seats.clone().acquire_owned().await.expect("the semaphore is never closed")
}

/// One connection. A client that says nothing for too long, or uses it for too long, is disconnected.
async fn serve<S>(
    stream: S,
    router: Router,
    patience: Patience,
    seat: OwnedSemaphorePermit,
    closing: Closing,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = async {
        if unless_closed(connection.as_mut(), &closing).await.is_none() {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    };
    // What went wrong on a connection is the client's business; WebSockets have left it by then.
    let _ = timeout(CONNECTION_MAX, served).await;
    drop(seat);
}

/// Without descriptors every accept fails at once: breathe instead of spinning.
async fn pause_after(error: &io::Error) {
    warn!(%error, "rpc: cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A request's line and headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Clients that keep connections open longer connect again.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
