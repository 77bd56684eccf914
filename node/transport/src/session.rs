//! One live session: moves messages between a queue, a stream and the caller's events, and finds out
//! when the peer is gone.
//!
//! - **Keepalive.** A direction that was silent for `keepalive_ms` gets a ping, which is answered; without
//!   any incoming byte for `idle_ms` the session is dead. TCP alone never notices a peer that lost power,
//!   and a partition may swallow bytes for ever.
//! - **Slow peer.** It blocks the writer, then its queue fills and new messages are dropped by the queue.
//! - **Slow caller.** While an event waits for room nothing is read, so TCP holds the peer back; pings still
//!   go out, and silence that is our own doing does not count.
//!
//! Not here: who may have a session and which of two stays (`registry`), and resending (nobody in this crate).

use std::io;
use std::pin::pin;

use fairway_core::types::Address;
use snow::TransportState;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::frame::{FrameError, FrameReader, FrameWriter, Message};
use crate::handshake::Link;
use crate::network::{NetEvent, Shared};
use crate::ports::Clock;
use crate::queue::{Order, Outgoing};

/// What a session works on besides its stream.
pub(crate) struct Ports<'a, C> {
    pub(crate) queue: &'a Outgoing,
    pub(crate) events: &'a mpsc::Sender<NetEvent>,
    pub(crate) clock: &'a C,
    pub(crate) config: &'a Config,
    pub(crate) shared: &'a Shared,
}

/// How a session went.
pub(crate) struct Ended {
    pub(crate) reason: DownReason,
    /// Whether the caller was told that the session was up, and so must be told that it is down.
    pub(crate) announced: bool,
}

/// Runs the session until it ends. Announces `Up`, then frames in order; the caller of this announces `Down`.
pub(crate) async fn run<S, C>(link: Link<S>, ports: Ports<'_, C>) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
{
    let (peer, version) = (link.peer(), link.version());
    let (stream, noise) = link.into_parts();
    let (mut input, mut output) = tokio::io::split(stream);
    let mut session = Session {
        peer,
        noise,
        writer: FrameWriter::new(),
        pulse: Pulse::new(ports.clock.now_ms(), ports.config),
        event: Some(NetEvent::Up { peer, version }),
        announced: false,
        ports,
    };
    let reason = session.pump(&mut input, &mut output).await;
    Ended { reason, announced: session.announced }
}

struct Session<'a, C> {
    peer: Address,
    noise: TransportState,
    writer: FrameWriter,
    pulse: Pulse,
    /// The one event that waits for room; while there is one, nothing is read.
    event: Option<NetEvent>,
    announced: bool,
    ports: Ports<'a, C>,
}

impl<C: Clock> Session<'_, C> {
    async fn pump<R, W>(&mut self, input: &mut R, output: &mut W) -> DownReason
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let Ports { queue, events, clock, config, shared } = self.ports;
        let mut reader = FrameReader::new(config.frame_bytes_max);
        let mut timer = pin!(clock.sleep(self.pulse.wait_ms(clock.now_ms())));
        loop {
            match queue.order() {
                Some(Order::Close(reason)) => return reason,
                Some(Order::Probe) => {
                    self.pulse.probe(clock.now_ms());
                    timer.set(clock.sleep(self.pulse.wait_ms(clock.now_ms())));
                }
                None => {}
            }
            if let Err(error) = self.fill_writer() {
                return error.into();
            }
            if self.writer.is_idle() && queue.is_finished() {
                return DownReason::Disconnected;
            }
            // The order is fixed, for determinism. Writing stands before reading: a poll writes at most the
            // bounded queue of our own caller, whereas a flood from the peer could starve what stands behind it.
            select! {
                biased;
                () = queue.signalled() => {}
                () = &mut timer => {
                    let now_ms = clock.now_ms();
                    if self.event.is_some() {
                        self.pulse.not_listening(now_ms);
                    }
                    if let Err(reason) = self.pulse.beat(now_ms) {
                        return reason;
                    }
                    timer.set(clock.sleep(self.pulse.wait_ms(now_ms)));
                }
                written = self.writer.write(output), if !self.writer.is_idle() => {
                    if let Err(error) = written {
                        return error.into();
                    }
                }
                room = events.reserve(), if self.event.is_some() => {
                    let Ok(room) = room else { return DownReason::Stopped };
                    if let Some(event) = self.event.take() {
                        room.send(event);
                        shared.count(|c| c.received += u64::from(self.announced));
                        // The first event is `Up`; all others are frames.
                        self.announced = true;
                        self.pulse.not_listening(clock.now_ms());
                    }
                }
                message = reader.next(input, &mut self.noise), if self.event.is_none() => {
                    self.pulse.heard(clock.now_ms());
                    match message {
                        Ok(Message::Data(bytes)) => {
                            shared.count(|c| c.bytes_received += bytes.len() as u64);
                            self.event = Some(NetEvent::Frame { peer: self.peer, bytes });
                        }
                        Ok(Message::Ping) => self.pulse.pong_due = true,
                        Ok(Message::Pong) => {}
                        Err(error) => return error.into(),
                    }
                }
            }
        }
    }

    /// Encrypts what is due, once the last batch has left: at most one ping and one pong wait at any time,
    /// however many the peer asks for.
    fn fill_writer(&mut self) -> Result<(), FrameError> {
        if !self.writer.is_idle() {
            return Ok(());
        }
        if std::mem::take(&mut self.pulse.pong_due) {
            self.writer.push(&Message::Pong, &mut self.noise)?;
        }
        if std::mem::take(&mut self.pulse.ping_due) {
            self.writer.push(&Message::Ping, &mut self.noise)?;
        }
        let mut sent = 0;
        while self.writer.pending_bytes() < BATCH_BYTES {
            let Some(bytes) = self.ports.queue.pop() else { break };
            sent += bytes.len() as u64;
            self.writer.push(&Message::Data(bytes), &mut self.noise)?;
        }
        if sent > 0 {
            self.ports.shared.count(|c| c.bytes_sent += sent);
        }
        if !self.writer.is_idle() {
            self.pulse.spoke(self.ports.clock.now_ms());
        }
        Ok(())
    }
}

/// Small messages that wait together leave in one write of about this size.
const BATCH_BYTES: usize = 16_384;

/// When to ping and when to give up. Pure: time is an argument.
struct Pulse {
    keepalive_ms: u64,
    idle_ms: u64,
    heard_at: u64,
    spoke_at: u64,
    pinged_at: u64,
    /// The peer must be heard before this: somebody claims that the session is dead.
    probed_until: Option<u64>,
    ping_due: bool,
    pong_due: bool,
}

impl Pulse {
    fn new(now_ms: u64, config: &Config) -> Pulse {
        Pulse {
            keepalive_ms: config.keepalive_ms,
            idle_ms: config.idle_ms,
            heard_at: now_ms,
            spoke_at: now_ms,
            pinged_at: now_ms,
            probed_until: None,
            ping_due: false,
            pong_due: false,
        }
    }

    fn heard(&mut self, now_ms: u64) {
        self.heard_at = now_ms;
        self.probed_until = None;
    }

    /// We did not read until now, so we cannot have heard the peer; a probe starts again.
    fn not_listening(&mut self, now_ms: u64) {
        self.heard_at = now_ms;
        if self.probed_until.is_some() {
            self.probed_until = Some(now_ms.saturating_add(self.keepalive_ms));
        }
    }

    fn spoke(&mut self, now_ms: u64) {
        self.spoke_at = now_ms;
    }

    fn probe(&mut self, now_ms: u64) {
        self.ping_due = true;
        self.pinged_at = now_ms;
        self.probed_until.get_or_insert(now_ms.saturating_add(self.keepalive_ms));
    }

    /// What is due at `now_ms`: nothing, a ping, or the end.
    fn beat(&mut self, now_ms: u64) -> Result<(), DownReason> {
        if now_ms >= self.dead_at() {
            return Err(DownReason::Idle { silent_ms: now_ms.saturating_sub(self.heard_at) });
        }
        if now_ms >= self.ping_at() {
            self.ping_due = true;
            self.pinged_at = now_ms;
        }
        Ok(())
    }

    /// How long nothing can be due.
    fn wait_ms(&self, now_ms: u64) -> u64 {
        self.dead_at().min(self.ping_at()).saturating_sub(now_ms)
    }

    fn dead_at(&self) -> u64 {
        let idle = self.heard_at.saturating_add(self.idle_ms);
        self.probed_until.map_or(idle, |until| until.min(idle))
    }

    /// A direction was silent for `keepalive_ms`, and the last ping is as old.
    fn ping_at(&self) -> u64 {
        let silent_since = self.heard_at.min(self.spoke_at);
        silent_since.max(self.pinged_at).saturating_add(self.keepalive_ms)
    }
}

/// Why a session ended. What was queued is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// The peer closed the stream: it stopped, or prefers another session with us.
    #[error("closed by the peer")]
    Closed,
    /// The stream failed.
    #[error("stream failed: {kind}")]
    Io {
        /// What the stream said.
        kind: io::ErrorKind,
    },
    /// Nothing came for too long, pings notwithstanding.
    #[error("nothing heard for {silent_ms} ms")]
    Idle {
        /// How long.
        silent_ms: u64,
    },
    /// The peer sent, or the network made, a bad frame.
    #[error("bad frame: {0}")]
    BadFrame(FrameError),
    /// Another session with the same peer took over; its `Up` follows.
    #[error("replaced by another session with the same peer")]
    Replaced,
    /// The caller asked for it.
    #[error("disconnected by us")]
    Disconnected,
    /// The stream failed before the peer was told that the session is up. Never seen by the caller.
    #[error("the session was never confirmed")]
    Unconfirmed,
    /// The caller has dropped its events.
    #[error("the network is stopping")]
    Stopped,
}

impl From<FrameError> for DownReason {
    fn from(error: FrameError) -> DownReason {
        match error {
            FrameError::Closed => DownReason::Closed,
            FrameError::Io { kind } => DownReason::Io { kind },
            FrameError::Truncated { .. }
            | FrameError::TooLong { .. }
            | FrameError::TooShort { .. }
            | FrameError::Decrypt
            | FrameError::LengthMismatch { .. }
            | FrameError::BadKind { .. }
            | FrameError::Exhausted => DownReason::BadFrame(error),
        }
    }
}

#[cfg(test)]
mod tests;
