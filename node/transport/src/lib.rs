//! Authenticated, framed sessions between Fairway nodes over any tokio byte stream.
//!
//! A [`Network`] keeps Noise sessions to many peers and hands their frames to one bounded stream of
//! [`NetEvent`]s. It **may lose and never resends**: a frame that was queued when a session died is
//! gone. Acknowledgement, resending and de-duplication are end to end and belong to the node's
//! outbox, which resends what is unacknowledged whenever it sees [`NetEvent::Up`].
//!
//! The crate is not a runtime: it spawns nothing, reads no clock and draws no entropy. Time comes
//! through [`Clock`], connections through [`Dial`] and [`Handle::accept`], randomness from one seed;
//! for equal seeds and equal streams every byte on the wire is equal. So the same code runs on
//! tokio, madsim and turmoil.
//!
//! | file | noun |
//! |---|---|
//! | `identity` | who a node is: an ed25519 key and a channel key that vouch for each other |
//! | `hello` | what both must agree on: chain and wire version |
//! | `handshake` | Noise XX, pinned to one chain; the verdict (`noise`: its randomness) |
//! | `frame` | length-prefixed encrypted frames |
//! | `session` | one live session: pumping, keepalive, back-pressure |
//! | `queue` | what waits to be sent to one peer |
//! | `registry` | every decision: who is dialed, which of two sessions stays, limits (no I/O) |
//! | `network` | the one future that executes those decisions |
//!
//! # Driving it
//! [`Network::run`] is **one future**; poll it beside the rest of the node. Accept connections
//! yourself and give each to [`Handle::accept`].
//!
//! - *tokio*: `run()` is `Send` when the ports' futures and streams are, so `tokio::spawn` and a
//!   `LocalSet` both serve. One network lives on one task, hence on one core at a time.
//! - *madsim*: `madsim::task::spawn_local(network.run())` inside the node's `init`.
//! - *turmoil*: `tokio::task::spawn_local(network.run())`, or `select!` it in the host's future.
//!
//! ```no_run
//! use std::{future::Future, io};
//! use fairway_core::nitro::sign::{Crypto, SecretKey};
//! use fairway_core::types::Address;
//! use fairway_transport::{ChainPin, Clock, Config, Dial, Identity, Network, NetEvent, VersionRange};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! struct Wall(tokio::time::Instant);
//! impl Clock for Wall {
//!     fn now_ms(&self) -> u64 { self.0.elapsed().as_millis() as u64 }
//!     fn sleep(&self, ms: u64) -> impl Future<Output = ()> {
//!         tokio::time::sleep(std::time::Duration::from_millis(ms))
//!     }
//! }
//! struct Tcp;
//! impl Dial for Tcp {
//!     type Stream = TcpStream;
//!     fn dial(&self, _peer: Address) -> impl Future<Output = io::Result<TcpStream>> {
//!         TcpStream::connect("127.0.0.1:4100")
//!     }
//! }
//!
//! # async fn example(key: SecretKey, node_seed: [u8; 32], fresh: [u8; 32], peer: Address)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::new(&key, Crypto::Real, node_seed);
//! let chain = ChainPin { chain_id: 1, adjudicator: Address::ZERO };
//! let config = Config::new(chain, VersionRange::only(1));
//! let clock = Wall(tokio::time::Instant::now());
//! let (network, handle, mut events) = Network::new(config, identity, fresh, clock, Tcp)?;
//! tokio::spawn(network.run());
//!
//! let listener = TcpListener::bind("127.0.0.1:4101").await?;
//! let inbound = handle.clone();
//! tokio::spawn(async move {
//!     while let Ok((stream, _)) = listener.accept().await {
//!         inbound.accept(stream);
//!     }
//! });
//! handle.connect(peer)?;
//! while let Some(event) = events.next().await {
//!     if let NetEvent::Frame { peer, bytes } = event {
//!         handle.send(peer, bytes);
//!     }
//! }
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod config;
mod counters;
mod frame;
mod handshake;
mod hello;
mod identity;
mod network;
mod noise;
mod ports;
pub mod pump;
mod queue;
mod registry;
mod session;
#[cfg(test)]
mod testing;

pub use config::{Config, ConfigError};
pub use counters::Counters;
pub use frame::{FRAME_OVERHEAD_BYTES, FrameError, FrameReader, FrameWriter, Message};
pub use handshake::{
    Answer, Greeted, HANDSHAKE_BYTES_MAX, HandshakeError, Link, Local, Refusal, Side, answer,
    greet, initiate,
};
pub use hello::{ChainPin, Hello, VersionRange};
pub use identity::{CARD_BYTES, Identity, IdentityCard, IdentityError, NodeKey};
pub use network::{ConnectError, Events, Handle, NetEvent, Network, SendOutcome};
pub use ports::{Clock, Dial};
pub use session::DownReason;
