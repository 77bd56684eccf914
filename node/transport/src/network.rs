//! The network as one future: executes what the registry decides, and the two ends that the caller holds.
//!
//! Not here: decisions. This file dials, shakes hands, runs sessions and reports back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_core::types::Address;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::{Notify, mpsc};

use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::handshake::{HandshakeError, Link, Local, answer, greet};
use crate::identity::Identity;
use crate::ports::{Clock, Dial, within};
use crate::queue::{Outgoing, Push};
use crate::registry::{Attempt, Candidate, DialError, Done, Job, Registry};
use crate::session::{self, DownReason, Ports};

/// Sessions to many peers, as one future. See the crate's documentation for how to drive it.
///
/// It ends when [`Events`] or every [`Handle`] is dropped; dropping it ends every session at once.
pub struct Network<C, D: Dial> {
    config: Config,
    identity: Identity,
    rng_seed: [u8; 32],
    clock: C,
    dial: D,
    shared: Arc<Shared>,
    accepts: mpsc::Receiver<D::Stream>,
    events: mpsc::Sender<NetEvent>,
}

impl<C: Clock, D: Dial> Network<C, D> {
    /// A network, the handle that steers it, and what it has to say.
    ///
    /// # Danger
    /// `rng_seed` makes every ephemeral key. A production node draws it afresh from the operating system
    /// at each start; reusing one reuses keys. A simulation derives it from its own seed.
    ///
    /// # Errors
    /// [`ConfigError`]: limits that cannot work together.
    #[expect(clippy::type_complexity, reason = "the three halves have no use as one type")]
    pub fn new(
        config: Config,
        identity: Identity,
        rng_seed: [u8; 32],
        clock: C,
        dial: D,
    ) -> Result<(Network<C, D>, Handle<D::Stream>, Events), ConfigError> {
        config.check()?;
        let shared = Arc::new(Shared {
            own: identity.address(),
            sessions_max: config.sessions_max,
            frame_bytes_max: config.frame_bytes_max,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let (accept, accepts) = mpsc::channel(config.handshakes_max);
        let (events, seen) = mpsc::channel(config.events_max);
        let handle = Handle { shared: shared.clone(), accept };
        let network = Network { config, identity, rng_seed, clock, dial, shared, accepts, events };
        Ok((network, handle, Events(seen)))
    }

    /// Runs every session. The future is `Send` where the ports' futures and streams are.
    pub async fn run(self) {
        let Network { config, identity, rng_seed, clock, dial, shared, mut accepts, events } = self;
        let _stop = StopOnDrop(&shared);
        let world = World { config: &config, identity: &identity, clock: &clock, dial: &dial };
        let mut registry =
            Registry::new(identity.address(), config.clone(), rng_seed, shared.clone());
        let mut jobs = FuturesUnordered::new();
        loop {
            for job in registry.take_jobs() {
                jobs.push(world.work(job, &events, &shared));
            }
            select! {
                biased;
                () = events.closed() => return,
                () = shared.changed.notified() => registry.on_changed(),
                Some(done) = jobs.next(), if !jobs.is_empty() => {
                    registry.on_done(done, clock.now_ms());
                }
                stream = accepts.recv() => match stream {
                    Some(stream) => registry.on_accept(stream),
                    None => return,
                },
            }
            if shared.is_finished() {
                return;
            }
        }
    }
}

/// What all jobs use.
struct World<'a, C, D> {
    config: &'a Config,
    identity: &'a Identity,
    clock: &'a C,
    dial: &'a D,
}

impl<C: Clock, D: Dial> World<'_, C, D> {
    /// Executes one job of the registry.
    async fn work(
        &self,
        job: Job<D::Stream>,
        events: &mpsc::Sender<NetEvent>,
        shared: &Shared,
    ) -> Done<D::Stream> {
        match job {
            Job::Wait { peer, ms, attempt } => {
                select! { biased; () = attempt.cancelled() => {}, () = self.clock.sleep(ms) => {} }
                Done::Waited { peer }
            }
            Job::Dial { peer, seed, attempt } => {
                let result = select! {
                    biased;
                    () = attempt.cancelled() => Err(DialError::Cancelled),
                    result = self.connect(peer, seed, &attempt) => result,
                };
                Done::Dialed { peer, result }
            }
            Job::Answer { stream, seed } => {
                Done::Answered(self.bounded(answer(stream, &self.local(), seed)).await)
            }
            Job::Refuse { answer, refusal } => {
                // Whether the peer learns of it changes nothing for us.
                let _ = self.bounded(answer.refuse(refusal)).await;
                Done::Refused
            }
            Job::Session { candidate, queue, id } => {
                let peer = candidate.peer();
                let reason = self.session(candidate, &queue, events, shared).await;
                Done::Ended { peer, id, reason }
            }
        }
    }

    async fn connect(
        &self,
        peer: Address,
        seed: [u8; 32],
        attempt: &Attempt,
    ) -> Result<Link<D::Stream>, DialError> {
        let stream = within(self.clock, self.config.dial_ms, self.dial.dial(peer))
            .await
            .ok_or(DialError::Timeout)?
            .map_err(|_| DialError::Refused)?;
        let local = self.local();
        let handshake = async {
            let greeted = greet(stream, &local, Some(peer), seed).await?;
            attempt.commit();
            greeted.commit(&local).await
        };
        self.bounded(handshake).await.map_err(DialError::Handshake)
    }

    /// Confirms the session if the peer awaits it, runs it, and tells the caller that it is down.
    async fn session(
        &self,
        candidate: Candidate<D::Stream>,
        queue: &Outgoing,
        events: &mpsc::Sender<NetEvent>,
        shared: &Shared,
    ) -> DownReason {
        let link = match candidate {
            Candidate::Dialed(link) => Ok(link),
            Candidate::Answered(answer) => self.bounded(answer.accept()).await,
        };
        let Ok(link) = link else {
            shared.count(|c| c.dropped_at_end += queue.end());
            return DownReason::Unconfirmed;
        };
        let peer = link.peer();
        let ports = Ports { queue, events, clock: self.clock, config: self.config, shared };
        let ended = session::run(link, ports).await;
        shared.count(|c| c.dropped_at_end += queue.end());
        if ended.announced {
            // If nobody listens any more the network is about to stop.
            let _ = events.send(NetEvent::Down { peer, reason: ended.reason }).await;
        }
        ended.reason
    }

    /// Bounds a part of a handshake.
    async fn bounded<T>(
        &self,
        handshake: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<T, HandshakeError> {
        let ms = self.config.handshake_ms;
        within(self.clock, ms, handshake).await.unwrap_or(Err(HandshakeError::Timeout { ms }))
    }

    fn local(&self) -> Local<'_> {
        Local { identity: self.identity, chain: self.config.chain, versions: self.config.versions }
    }
}

/// Steers a [`Network`]; cheap to clone. Every call answers at once.
pub struct Handle<S> {
    shared: Arc<Shared>,
    accept: mpsc::Sender<S>,
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Handle { shared: self.shared.clone(), accept: self.accept.clone() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handle<S> {
    /// Keeps a session with `peer` up for ever, dialing with back-off whenever there is none.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing changes.
    pub fn connect(&self, peer: Address) -> Result<(), ConnectError> {
        let max = self.shared.sessions_max;
        let mut state = self.shared.lock();
        if peer == self.shared.own {
            return Err(ConnectError::Ourselves { address: peer });
        }
        if state.stopped || state.finishing {
            return Err(ConnectError::Stopped);
        }
        if state.wanted.len() >= max && !state.wanted.contains(&peer) {
            return Err(ConnectError::TooMany { max });
        }
        state.wanted.insert(peer);
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Ends the session with `peer` and stops dialing it. It may still come back by itself.
    pub fn disconnect(&self, peer: Address) {
        let mut state = self.shared.lock();
        let was_wanted = state.wanted.remove(&peer);
        if !was_wanted && !state.sessions.contains_key(&peer) {
            return;
        }
        state.unwanted.insert(peer);
        if let Some(queue) = state.sessions.get(&peer) {
            queue.close(DownReason::Disconnected);
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Ends the network in order: nothing more is queued or dialed, each session ends once what is queued has been written, and
    /// [`Network::run`] returns after the last. A peer that does not read holds it up; whoever waits needs a deadline.
    pub fn finish(&self) {
        let mut state = self.shared.lock();
        state.finishing = true;
        state.wanted.clear();
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Takes a stream that a listener accepted. Beyond `handshakes_max` it is dropped and counted.
    pub fn accept(&self, stream: S) {
        if self.accept.try_send(stream).is_err() {
            self.shared.count(|c| c.accepts_dropped += 1);
        }
    }

    /// Queues `bytes` for `peer`.
    ///
    /// `Queued` promises nothing: the session may end before the bytes leave, or the peer before it reads them.
    pub fn send(&self, peer: Address, bytes: Vec<u8>) -> SendOutcome {
        let mut state = self.shared.lock();
        let state = &mut *state;
        let max = self.shared.frame_bytes_max;
        if bytes.len() > max {
            state.counters.dropped_too_large += 1;
            return SendOutcome::TooLarge { bytes: bytes.len(), bytes_max: max };
        }
        match state.sessions.get(&peer).map_or(Push::Ended, |queue| queue.push(bytes)) {
            Push::Queued => {
                state.counters.queued += 1;
                SendOutcome::Queued
            }
            Push::Full => {
                state.counters.dropped_queue_full += 1;
                SendOutcome::Full
            }
            Push::Ended => {
                state.counters.dropped_no_session += 1;
                SendOutcome::NoSession
            }
        }
    }

    /// The peers with a session, in order of address.
    pub fn sessions(&self) -> Vec<Address> {
        self.shared.lock().sessions.keys().copied().collect()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.lock().counters
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It waits for its session.
    Queued,
    /// There is no session with the peer.
    NoSession,
    /// The peer's queue has no room.
    Full,
    /// No frame may be so large. The caller is to blame: sending it again will not help.
    TooLarge {
        /// The message's length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// Why a peer will not be dialed. The caller is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// `sessions_max` peers are wanted already.
    #[error("{max} peers are wanted already")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// A node does not dial itself.
    #[error("{address} is our own address")]
    Ourselves {
        /// Our address.
        address: Address,
    },
    /// The network no longer runs.
    #[error("the network has stopped")]
    Stopped,
}

/// What a network has to say, in order for each peer: `Up`, frames, `Down`, `Up`, ...
///
/// Take events promptly: reading from peers pauses while they wait.
pub struct Events(mpsc::Receiver<NetEvent>);

impl Events {
    /// The next event, or `None` after the network has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<NetEvent> {
        self.0.recv().await
    }
}

/// Something that happened on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// A session is up. Everything that is not acknowledged has to be sent again.
    Up {
        /// The peer, authenticated.
        peer: Address,
        /// The wire version that both speak.
        version: u16,
    },
    /// The session is over.
    Down {
        /// The peer.
        peer: Address,
        /// Why.
        reason: DownReason,
    },
    /// The peer sent these bytes. They are authentic, and hostile if the peer is.
    Frame {
        /// The peer, authenticated.
        peer: Address,
        /// The message.
        bytes: Vec<u8>,
    },
}

/// What handles and the network share. A mutex, because [`Handle::send`] must answer at once, from any
/// thread, without waiting for the network's task. No lock is held across an await.
pub(crate) struct Shared {
    own: Address,
    sessions_max: usize,
    frame_bytes_max: usize,
    state: Mutex<State>,
    changed: Notify,
}

/// The guarded part of [`Shared`].
#[derive(Default)]
pub(crate) struct State {
    /// Peers with which a session is to be kept.
    pub(crate) wanted: BTreeSet<Address>,
    /// Peers that the caller disconnected since the registry last looked.
    pub(crate) unwanted: BTreeSet<Address>,
    pub(crate) sessions: BTreeMap<Address, Arc<Outgoing>>,
    pub(crate) counters: Counters,
    finishing: bool,
    stopped: bool,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the network was asked to finish and has no session left; those that it has, old and new, are asked too.
    fn is_finished(&self) -> bool {
        let state = self.lock();
        if state.finishing {
            state.sessions.values().for_each(|queue| queue.finish());
        }
        state.finishing && state.sessions.is_empty()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.lock().counters);
    }
}

/// Handles outlive the network: afterwards they find no session.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        state.wanted.clear();
        state.sessions.clear();
    }
}

#[cfg(test)]
impl Shared {
    /// For the registry's own tests.
    pub(crate) fn for_tests(own: Address, config: &Config) -> Arc<Shared> {
        Arc::new(Shared {
            own,
            sessions_max: config.sessions_max,
            frame_bytes_max: config.frame_bytes_max,
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }
}
