//! Fixtures: identities, a clock on tokio's paused time, a stream that records and tampers, and a
//! world of nodes that reach each other through pipes with latency.

#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use fairway_core::nitro::sign::{Crypto, SecretKey};
use fairway_core::types::Address;
use fairway_transport::{
    ChainPin, Clock, Config, Dial, Handle, Identity, Local, NetEvent, Network, VersionRange,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};

pub const CHAIN: ChainPin = ChainPin { chain_id: 31_337, adjudicator: Address::ZERO };

pub fn identity(byte: u8) -> Identity {
    let key = SecretKey::new([byte; 32], Crypto::Real).unwrap();
    Identity::new(&key, Crypto::Real, [byte; 32])
}

pub fn local(identity: &Identity) -> Local<'_> {
    Local { identity, chain: CHAIN, versions: VersionRange::only(1) }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// tokio's clock: simulated time wherever the test starts it paused.
#[derive(Clone, Copy)]
pub struct TokioClock(Instant);

impl TokioClock {
    pub fn new() -> TokioClock {
        TokioClock(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
    fn sleep(&self, ms: u64) -> impl Future<Output = ()> {
        sleep(Duration::from_millis(ms))
    }
}

/// A pipe's end that records what is written and flips one bit of the byte at `flip`.
pub struct Wire {
    pub inner: DuplexStream,
    pub written: Arc<Mutex<Vec<u8>>>,
    pub flip: Option<usize>,
}

impl Wire {
    pub fn pair(flip_a: Option<usize>, flip_b: Option<usize>) -> (Wire, Wire) {
        let (a, b) = tokio::io::duplex(1 << 16);
        let wire = |inner, flip| Wire { inner, written: Arc::default(), flip };
        (wire(a, flip_a), wire(b, flip_b))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let at = self.written.lock().unwrap().len();
        let mut bytes = buf.to_vec();
        if let Some(byte) = self.flip.and_then(|flip| bytes.get_mut(flip.wrapping_sub(at))) {
            *byte ^= 0x80;
        }
        let result = Pin::new(&mut self.inner).poll_write(cx, &bytes);
        if let Poll::Ready(Ok(n)) = result {
            self.written.lock().unwrap().extend_from_slice(&bytes[..n]);
        }
        result
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Who listens, how far away everybody is, and which links swallow bytes.
#[derive(Clone, Default)]
pub struct World(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    listeners: BTreeMap<Address, Handle<DuplexStream>>,
    dial_ms: BTreeMap<Address, u64>,
    latency_ms: u64,
    swallowing: bool,
    hanging: BTreeSet<Address>,
    dials: Vec<(u64, Address)>,
    clock: Option<TokioClock>,
}

impl World {
    pub fn new(latency_ms: u64) -> World {
        let world = World::default();
        world.0.borrow_mut().latency_ms = latency_ms;
        world.0.borrow_mut().clock = Some(TokioClock::new());
        world
    }

    /// How long `node`'s own dials take to connect.
    pub fn set_dial_ms(&self, node: Address, ms: u64) {
        self.0.borrow_mut().dial_ms.insert(node, ms);
    }

    /// From now on every byte on every link is lost without an error.
    pub fn set_swallowing(&self, swallowing: bool) {
        self.0.borrow_mut().swallowing = swallowing;
    }

    /// Dials to `node` never come back.
    pub fn set_hanging(&self, node: Address) {
        self.0.borrow_mut().hanging.insert(node);
    }

    /// Nobody listens at `node` any more.
    pub fn stop_listening(&self, node: Address) {
        self.0.borrow_mut().listeners.remove(&node);
    }

    /// When each dial began.
    pub fn dials(&self) -> Vec<(u64, Address)> {
        self.0.borrow().dials.clone()
    }

    /// Starts node `byte` on the current `LocalSet`; it listens at once.
    pub fn start(&self, byte: u8, change: impl FnOnce(&mut Config)) -> Node {
        let identity = identity(byte);
        let address = identity.address();
        let mut config = Config::new(CHAIN, VersionRange::only(1));
        config.keepalive_ms = 1_000;
        config.idle_ms = 3_000;
        config.backoff_max_ms = 4_000;
        change(&mut config);
        let port = WorldDial { world: self.clone(), own: address };
        let (network, handle, mut events) =
            Network::new(config, identity, [byte; 32], TokioClock::new(), port).unwrap();
        self.0.borrow_mut().listeners.insert(address, handle.clone());
        let task = tokio::task::spawn_local(network.run());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        tokio::task::spawn_local(async move {
            while let Some(event) = events.next().await {
                log.borrow_mut().push(event);
            }
        });
        Node { address, handle, seen, task }
    }
}

/// A running node and everything it said.
pub struct Node {
    pub address: Address,
    pub handle: Handle<DuplexStream>,
    pub seen: Rc<RefCell<Vec<NetEvent>>>,
    pub task: tokio::task::JoinHandle<()>,
}

impl Node {
    pub fn ups(&self) -> usize {
        self.count(|event| matches!(event, NetEvent::Up { .. }))
    }
    pub fn downs(&self) -> usize {
        self.count(|event| matches!(event, NetEvent::Down { .. }))
    }
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let frame = |event: &NetEvent| match event {
            NetEvent::Frame { bytes, .. } => Some(bytes.clone()),
            NetEvent::Up { .. } | NetEvent::Down { .. } => None,
        };
        self.seen.borrow().iter().filter_map(frame).collect()
    }
    fn count(&self, which: impl Fn(&NetEvent) -> bool) -> usize {
        self.seen.borrow().iter().filter(|event| which(event)).count()
    }
}

pub struct WorldDial {
    world: World,
    own: Address,
}

impl Dial for WorldDial {
    type Stream = DuplexStream;

    async fn dial(&self, peer: Address) -> io::Result<DuplexStream> {
        let (dial_ms, latency_ms, hangs) = {
            let mut inner = self.world.0.borrow_mut();
            let now_ms = inner.clock.unwrap().now_ms();
            inner.dials.push((now_ms, self.own));
            let dial_ms = inner.dial_ms.get(&self.own).copied().unwrap_or(0);
            (dial_ms, inner.latency_ms, inner.hanging.contains(&peer))
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        sleep(ms(dial_ms)).await;
        let listener = self.world.0.borrow().listeners.get(&peer).cloned();
        let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, near) = tokio::io::duplex(1 << 20);
        let (far, theirs) = tokio::io::duplex(1 << 20);
        let ((near_in, near_out), (far_in, far_out)) =
            (tokio::io::split(near), tokio::io::split(far));
        tokio::task::spawn_local(relay(self.world.clone(), latency_ms, near_in, far_out));
        tokio::task::spawn_local(relay(self.world.clone(), latency_ms, far_in, near_out));
        listener.accept(theirs);
        Ok(ours)
    }
}

/// Carries bytes and the end of the stream after `latency_ms`; or loses them.
async fn relay(
    world: World,
    latency_ms: u64,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) {
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buf).await.unwrap_or(0);
        sleep(ms(latency_ms)).await;
        if world.0.borrow().swallowing {
            // A link that once lost bytes never works again.
            return std::future::pending().await;
        }
        if n == 0 || to.write_all(&buf[..n]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
