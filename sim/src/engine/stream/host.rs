//! What a process needs from its engine: time, streams and tasks.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::observe::PartyId;

/// The engine, seen by the processes that it runs. Implemented by madsim and turmoil.
pub(crate) trait Host: Clone + Send + Sync + Unpin + 'static {
    /// The engine's byte stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// Accepts streams.
    type Listener: 'static;

    /// Virtual nanoseconds since the start of the run.
    fn now_ns(&self) -> u64;

    /// Completes after this time, which the engine may round up to its own steps.
    fn sleep(&self, ns: u64) -> impl Future<Output = ()> + Send + 'static;

    /// Listens at the address of a party; called on that party's machine.
    fn listen(&self, party: PartyId) -> impl Future<Output = io::Result<Self::Listener>>;

    /// The next stream, and whose address it comes from.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, PartyId)>>;

    /// Opens a stream to a party.
    fn connect(&self, to: PartyId) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Starts a task on the machine of the caller. The result completes when it ends, and panics if it panicked.
    fn spawn(&self, task: impl Future<Output = ()> + 'static)
    -> impl Future<Output = ()> + 'static;
}
