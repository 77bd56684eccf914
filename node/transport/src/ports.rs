//! What the network needs from the world around it: time and outgoing connections.
//!
//! Futures are returned as `impl Future` without a `Send` bound, because madsim's and turmoil's are
//! not all `Send`; where an engine's are, [`Network::run`](crate::Network::run) is `Send` as well.

use std::io;

use fairway_core::types::Address;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;

/// The engine's clock. Only differences count, so the origin is free; it should be monotonic (a
/// clock that steps back delays time-outs, nothing else).
pub trait Clock {
    /// Milliseconds since an origin of the implementor's choice.
    fn now_ms(&self) -> u64;

    /// Completes once `ms` milliseconds have passed.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()>;
}

/// Opens streams to peers; the implementor knows their network addresses.
///
/// A dial may fail or hang for ever: the network bounds each with
/// [`Config::dial_ms`](crate::Config::dial_ms) and tries again later. The stream proves nothing about
/// who is at its other end; the handshake does.
pub trait Dial {
    /// The engine's byte stream. Written bytes need not travel before a flush.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Opens one stream to `peer`.
    ///
    /// # Errors
    /// Any; the network counts it and backs off.
    fn dial(&self, peer: Address) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// The future's output, or `None` if it took longer than `ms`.
pub(crate) async fn within<C: Clock, F: Future>(
    clock: &C,
    ms: u64,
    future: F,
) -> Option<F::Output> {
    select! {
        biased;
        output = future => Some(output),
        () = clock.sleep(ms) => None,
    }
}
