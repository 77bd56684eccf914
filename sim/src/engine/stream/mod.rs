//! What madsim and turmoil share: one [`World`](crate::world::World), executed by the shipped pump over the shipped transport.
//!
//! Each party is a process of its own on the engine: the pump around its driver, a [`Network`](fairway_transport::Network) with
//! real handshakes over the engine's streams, and a listener. Between them and the world stand three things of ours:
//!
//! ```text
//!   world ──acts──> director ──boot, kill, cut──> engine          (madsim: a task; turmoil: between two ticks)
//!     ▲                └──inputs, messages──> process
//!     └──hooks── ports <── pump ── driver      network ──> link ──> the engine's stream
//! ```
//!
//! Not here: what happens and when (the world), and in which order a node acts (the driver).
//!
//! # What a stream cannot do
//! A stream loses nothing and keeps its order, so messages are lost and doubled where they are handed to the transport, which
//! promises neither; they are late and damaged in the link; and they never overtake each other.
//!
//! These engines need madsim's hooks, hence a build with `--cfg madsim`: see [`Unavailable`].

#[cfg(madsim)]
pub(crate) mod director;
#[cfg(madsim)]
pub(crate) mod host;
#[cfg(madsim)]
pub(crate) mod link;
#[cfg(madsim)]
mod ports;
#[cfg(madsim)]
pub(crate) mod process;
#[cfg(madsim)]
pub(crate) mod shared;

/// This build cannot run the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "engine `{engine}`: this build was made without `--cfg madsim`; unset RUSTFLAGS, which replaces \
     .cargo/config.toml, and rebuild"
)]
pub struct Unavailable {
    /// The engine that was asked for.
    pub engine: crate::scenario::Engine,
}

/// Whether this build can run madsim and turmoil.
pub const AVAILABLE: bool = cfg!(madsim);

/// Runs `work` on a thread of its own and hands on its panic.
///
/// A fresh thread for each run: the order of hash maps and everything else that hangs on thread-local seeds begins anew, so a
/// run does not depend on what ran before it.
#[cfg(madsim)]
pub(crate) fn on_fresh_thread<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> R {
    let thread = std::thread::Builder::new().name(name.to_string()).spawn(work);
    match thread.expect("the system has room for one more thread").join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
