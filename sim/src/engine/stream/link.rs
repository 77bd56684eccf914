//! The stream between two parties: the engine's own, with the latency and the damage that the world asks for.
//!
//! Bytes wait at the receiving end, so what is under way survives the death of its sender, and so does the end of the stream
//! behind it. Order is kept, and a byte never arrives before one that was sent earlier.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::host::Host;
use super::shared::Shared;
use crate::observe::PartyId;

/// One end of a stream.
pub(crate) struct Link<H: Host> {
    stream: H::Stream,
    host: H,
    shared: Shared,
    own: PartyId,
    peer: PartyId,
    arriving: VecDeque<Chunk>,
    /// Bytes of the first chunk that were read.
    taken: usize,
    last_at: u64,
    ended: bool,
    timer: Option<(u64, Timer)>,
}

/// The engine's sleep until some moment.
type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Bytes under way, or the end of the stream.
struct Chunk {
    at: u64,
    what: io::Result<Vec<u8>>,
}

impl<H: Host> Link<H> {
    /// The end of a stream at `own`, whose other end is at `peer`.
    pub(crate) fn new(
        stream: H::Stream,
        host: H,
        shared: Shared,
        own: PartyId,
        peer: PartyId,
    ) -> Link<H> {
        let (arriving, taken, last_at, ended) = (VecDeque::new(), 0, 0, false);
        Link { stream, host, shared, own, peer, arriving, taken, last_at, ended, timer: None }
    }

    /// Takes what the engine has brought; from here on it is under way for as long as the world says.
    fn pull(&mut self, cx: &mut Context<'_>) {
        while !self.ended && self.arriving.len() < CHUNKS_MAX {
            let mut bytes = [0; CHUNK_BYTES];
            let mut buf = ReadBuf::new(&mut bytes);
            let what = match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => Ok(buf.filled().to_vec()),
                Poll::Ready(Err(error)) => Err(error),
            };
            self.ended = what.as_ref().map_or(true, Vec::is_empty);
            let now = self.host.now_ns();
            let at = now.saturating_add(self.shared.latency(now, self.peer, self.own));
            self.last_at = self.last_at.max(at);
            self.arriving.push_back(Chunk { at: self.last_at, what });
        }
    }

    /// Completes when the moment has come.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: u64) -> Poll<()> {
        loop {
            let now = self.host.now_ns();
            if at <= now {
                self.timer = None;
                return Poll::Ready(());
            }
            if self.timer.as_ref().is_none_or(|(for_, _)| *for_ != at) {
                self.timer = Some((at, Box::pin(self.host.sleep(at - now))));
            }
            if let Some((_, timer)) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
                // Engines round: look again.
                self.timer = None;
            }
        }
    }
}

impl<H: Host> AsyncRead for Link<H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.pull(cx);
        let Some(at) = this.arriving.front().map(|chunk| chunk.at) else {
            // Nothing under way: either the engine wakes us, or the stream has ended and this was read before.
            return if this.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        ready!(this.poll_until(cx, at));
        let Some(Chunk { what, .. }) = this.arriving.front() else { return Poll::Pending };
        let Ok(bytes) = what else {
            let last = this.arriving.pop_front();
            return Poll::Ready(last.map_or(Ok(()), |chunk| chunk.what.map(|_| ())));
        };
        let rest = &bytes[this.taken..];
        let length = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..length]);
        this.taken += length;
        if this.taken == bytes.len() {
            this.taken = 0;
            this.arriving.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl<H: Host> AsyncWrite for Link<H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some((offset, bits)) = this.shared.damage_due(this.own, this.peer, buf.len()) else {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        };
        let mut damaged = buf.to_vec();
        damaged[offset] ^= bits;
        Pin::new(&mut this.stream).poll_write(cx, &damaged)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Chunks under way at most; beyond, the sender feels it.
const CHUNKS_MAX: usize = 256;

/// Largest chunk.
const CHUNK_BYTES: usize = 4_096;
