//! Every decision of the network: who is dialed and when, which of two sessions with one peer stays, and
//! who is turned away. No I/O, no clock, no await; it is told what happened and answers with jobs.
//!
//! ```text
//!   changed, accepted, done ──> Registry ──> jobs: wait, dial, answer, refuse, session
//! ```
//!
//! # Two sessions with one peer
//! Both sides may dial at once. Both must keep the same session, without talking about it:
//!
//! 1. Against a session dialed by the **lower** address, one dialed by the higher loses (refused as a
//!    duplicate). Otherwise the newcomer wins: it is the lower one's, or its dialer gave up the old one.
//! 2. A session that wins is confirmed, hence up at the dialer, only after the loser has ended here.
//! 3. The higher one gives up its own dial when it takes the lower one's.
//! 4. The lower one, offered the higher one's session while its own dial is in flight, gives up the dial if the
//!    peer cannot have confirmed it yet (we have not said who we are), and otherwise lets the offer wait for the
//!    dial's outcome, which is one crossing away. So neither side calls a session up only to replace it.
//! 5. A refused newcomer makes us probe the session that beat it, since its dialer seems to have none: a dead
//!    one ends within `keepalive_ms` instead of `idle_ms`.
//!
//! The lower one's dial is never refused as a duplicate, so whenever both dial and the lower one's dial gets
//! through, both end with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fairway_core::types::Address;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::config::Config;
use crate::handshake::{Answer, HandshakeError, Link, Refusal, Side};
use crate::network::Shared;
use crate::queue::Outgoing;
use crate::session::DownReason;

/// What the network must do.
pub(crate) enum Job<S> {
    Wait { peer: Address, ms: u64, attempt: Arc<Attempt> },
    Dial { peer: Address, seed: [u8; 32], attempt: Arc<Attempt> },
    Answer { stream: S, seed: [u8; 32] },
    Refuse { answer: Answer<S>, refusal: Refusal },
    Session { candidate: Candidate<S>, queue: Arc<Outgoing>, id: u64 },
}

/// What the network has done.
pub(crate) enum Done<S> {
    Waited { peer: Address },
    Dialed { peer: Address, result: Result<Link<S>, DialError> },
    Answered(Result<Answer<S>, HandshakeError>),
    Refused,
    Ended { peer: Address, id: u64, reason: DownReason },
}

/// Why a dial led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialError {
    Refused,
    Timeout,
    Cancelled,
    Handshake(HandshakeError),
}

/// An authenticated stream that may become a session.
pub(crate) enum Candidate<S> {
    Dialed(Link<S>),
    Answered(Answer<S>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Candidate<S> {
    pub(crate) fn peer(&self) -> Address {
        match self {
            Candidate::Dialed(link) => link.peer(),
            Candidate::Answered(answer) => answer.peer(),
        }
    }

    fn side(&self) -> Side {
        match self {
            Candidate::Dialed(_) => Side::Dialed,
            Candidate::Answered(_) => Side::Accepted,
        }
    }
}

/// All peers and what goes on with each.
pub(crate) struct Registry<S> {
    own: Address,
    config: Config,
    shared: Arc<Shared>,
    peers: BTreeMap<Address, Peer<S>>,
    answering: usize,
    last_id: u64,
    jobs: Vec<Job<S>>,
    /// Separate streams, so that an additional draw of one kind does not move the other.
    jitter: ChaCha20Rng,
    seeds: ChaCha20Rng,
}

struct Peer<S> {
    session: Option<Live<S>>,
    /// A wait or a dial in flight; never two.
    attempt: Option<Arc<Attempt>>,
    /// The peer's own session, which waits for the outcome of our dial (rule 4).
    offered: Option<Answer<S>>,
    /// Failures in a row, for the back-off.
    failures: u32,
}

struct Live<S> {
    id: u64,
    side: Side,
    queue: Arc<Outgoing>,
    since_ms: u64,
    /// Takes over when the session has ended.
    successor: Option<Candidate<S>>,
}

/// A wait or a dial in flight: the registry may cancel it, the dial tells when it is past the point at which
/// the peer may hold a session.
pub(crate) struct Attempt {
    kind: AttemptKind,
    cancel: Notify,
    committed: AtomicBool,
}

impl Attempt {
    /// Completes when the registry gives the attempt up. Poll it before the attempt itself: then an attempt
    /// that was cancelled uncommitted stays uncommitted.
    pub(crate) async fn cancelled(&self) {
        self.cancel.notified().await;
    }

    /// The peer is about to learn who we are.
    pub(crate) fn commit(&self) {
        self.committed.store(true, Ordering::Relaxed);
    }

    /// A dial that may already be a session at the peer.
    fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AttemptKind {
    Waiting,
    Dialing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Registry<S> {
    pub(crate) fn new(
        own: Address,
        config: Config,
        rng_seed: [u8; 32],
        shared: Arc<Shared>,
    ) -> Registry<S> {
        let mut jitter = ChaCha20Rng::from_seed(rng_seed);
        let mut seeds = jitter.clone();
        jitter.set_stream(1);
        seeds.set_stream(2);
        let (peers, jobs) = (BTreeMap::new(), Vec::new());
        Registry { own, config, shared, peers, answering: 0, last_id: 0, jobs, jitter, seeds }
    }

    /// The jobs decided since the last call, in order.
    pub(crate) fn take_jobs(&mut self) -> Vec<Job<S>> {
        std::mem::take(&mut self.jobs)
    }

    /// The caller has connected or disconnected peers.
    pub(crate) fn on_changed(&mut self) {
        let (unwanted, wanted) = {
            let mut state = self.shared.lock();
            (std::mem::take(&mut state.unwanted), state.wanted.clone())
        };
        for peer in unwanted {
            self.drop_peer(peer);
        }
        for peer in wanted {
            let entry = self.peers.entry(peer).or_default();
            if entry.session.is_none() && entry.attempt.is_none() {
                self.dial(peer);
            }
        }
    }

    /// A listener accepted a stream.
    pub(crate) fn on_accept(&mut self, stream: S) {
        if self.answering >= self.config.handshakes_max {
            self.shared.count(|c| c.accepts_dropped += 1);
            return;
        }
        self.answering += 1;
        let seed = self.seed();
        self.jobs.push(Job::Answer { stream, seed });
    }

    /// A job is done.
    pub(crate) fn on_done(&mut self, done: Done<S>, now_ms: u64) {
        match done {
            Done::Waited { peer } => self.on_waited(peer),
            Done::Dialed { peer, result } => self.on_dialed(peer, result, now_ms),
            Done::Answered(result) => {
                self.answering -= 1;
                match result {
                    Ok(answer) => self.offer(Candidate::Answered(answer), now_ms),
                    Err(error) => self.count_handshake(error),
                }
            }
            Done::Refused => self.answering -= 1,
            Done::Ended { peer, id, reason } => self.on_ended(peer, id, reason, now_ms),
        }
    }

    fn on_waited(&mut self, peer: Address) {
        let wanted = self.is_wanted(peer);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.attempt = None;
        if wanted && entry.session.is_none() {
            self.dial(peer);
        } else {
            self.forget_if_idle(peer);
        }
    }

    fn on_dialed(&mut self, peer: Address, result: Result<Link<S>, DialError>, now_ms: u64) {
        let wanted = self.is_wanted(peer);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.attempt = None;
        let offered = entry.offered.take();
        match result {
            Ok(link) if wanted => {
                self.offer(Candidate::Dialed(link), now_ms);
                if let Some(answer) = offered {
                    self.offer(Candidate::Answered(answer), now_ms);
                }
                return;
            }
            Ok(_) | Err(DialError::Cancelled) => self.shared.count(|c| c.dials_cancelled += 1),
            Err(error) => {
                entry.failures = entry.failures.saturating_add(1);
                match error {
                    DialError::Refused => self.shared.count(|c| c.dials_failed += 1),
                    DialError::Timeout => self.shared.count(|c| c.dials_timed_out += 1),
                    DialError::Handshake(error) => self.count_handshake(error),
                    DialError::Cancelled => {}
                }
            }
        }
        match offered {
            Some(answer) => self.offer(Candidate::Answered(answer), now_ms),
            None => self.retry(peer),
        }
    }

    fn on_ended(&mut self, peer: Address, id: u64, reason: DownReason, now_ms: u64) {
        self.count_end(reason);
        self.shared.lock().sessions.remove(&peer);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let Some(live) = entry.session.take() else { return };
        assert_eq!(live.id, id, "a peer has one session at a time");
        if let Some(successor) = live.successor {
            return self.start(successor, now_ms);
        }
        let lived_ms = now_ms.saturating_sub(live.since_ms);
        entry.failures = if lived_ms >= self.config.backoff_max_ms {
            0
        } else {
            entry.failures.saturating_add(1)
        };
        self.retry(peer);
    }

    /// Decides what becomes of an authenticated stream. See the module for the rules.
    fn offer(&mut self, candidate: Candidate<S>, now_ms: u64) {
        let Some(candidate) = self.settle_with_dial(candidate) else { return };
        let peer = candidate.peer();
        let newcomer = candidate.side();
        let Some(live) = self.peers.get_mut(&peer).and_then(|entry| entry.session.as_mut()) else {
            if self.has_room(peer) {
                self.start(candidate, now_ms);
            } else {
                self.refuse(candidate, Refusal::Full);
            }
            return;
        };
        let incumbent = match &live.successor {
            Some(successor) => Some(successor.side()),
            None if live.queue.is_over() => None,
            None => Some(live.side),
        };
        let by_lower = |side| dialed_by_lower(side, self.own, peer);
        if incumbent.is_some_and(|side| by_lower(side) && !by_lower(newcomer)) {
            live.queue.probe();
            self.refuse(candidate, Refusal::Duplicate);
            return;
        }
        live.queue.close(DownReason::Replaced);
        live.successor = Some(candidate);
    }

    fn start(&mut self, candidate: Candidate<S>, now_ms: u64) {
        let (peer, side) = (candidate.peer(), candidate.side());
        let queue =
            Arc::new(Outgoing::new(self.config.queue_messages_max, self.config.queue_bytes_max));
        self.last_id += 1;
        let id = self.last_id;
        let live = Live { id, side, queue: queue.clone(), since_ms: now_ms, successor: None };
        let entry = self.peers.entry(peer).or_default();
        assert!(entry.session.is_none(), "a peer has one session at a time");
        entry.session = Some(live);
        {
            let mut state = self.shared.lock();
            state.sessions.insert(peer, queue.clone());
            state.counters.sessions += 1;
        }
        self.jobs.push(Job::Session { candidate, queue, id });
    }

    /// Rules 3 and 4: what becomes of our own dial now that the peer's own session is here. Returns the
    /// candidate unless it has to wait for that dial.
    fn settle_with_dial(&mut self, candidate: Candidate<S>) -> Option<Candidate<S>> {
        let Candidate::Answered(answer) = candidate else { return Some(candidate) };
        let peer = answer.peer();
        let lower_is_ours = self.own < peer;
        if let Some(entry) = self.peers.get_mut(&peer)
            && let Some(attempt) = &entry.attempt
            && attempt.kind == AttemptKind::Dialing
        {
            if lower_is_ours && attempt.is_committed() {
                entry.offered = Some(answer);
                return None;
            }
            attempt.cancel.notify_one();
        }
        Some(Candidate::Answered(answer))
    }

    fn refuse(&mut self, candidate: Candidate<S>, refusal: Refusal) {
        self.shared.count(|c| match refusal {
            Refusal::Full => c.refused_full += 1,
            Refusal::Duplicate => c.refused_duplicate += 1,
        });
        let peer = candidate.peer();
        match candidate {
            // The peer learns it from the end of the stream.
            Candidate::Dialed(_) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.failures = entry.failures.saturating_add(1);
                }
                self.retry(peer);
            }
            Candidate::Answered(answer) => {
                self.answering += 1;
                self.jobs.push(Job::Refuse { answer, refusal });
            }
        }
    }

    /// Whether a first session with `peer` fits. Peers that the caller wants have their places kept.
    fn has_room(&self, peer: Address) -> bool {
        let live = |peer: &Address| self.peers.get(peer).is_some_and(|p| p.session.is_some());
        let sessions = self.peers.values().filter(|entry| entry.session.is_some()).count();
        let state = self.shared.lock();
        let kept = if state.wanted.contains(&peer) {
            0
        } else {
            state.wanted.iter().filter(|peer| !live(peer)).count()
        };
        sessions + kept < self.config.sessions_max
    }

    /// The caller disconnected `peer`.
    fn drop_peer(&mut self, peer: Address) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if let Some(live) = &mut entry.session {
            live.queue.close(DownReason::Disconnected);
            live.successor = None;
        }
        entry.failures = 0;
        entry.offered = None;
        if let Some(attempt) = &entry.attempt {
            attempt.cancel.notify_one();
        }
    }

    fn dial(&mut self, peer: Address) {
        let attempt = self.attempt(peer, AttemptKind::Dialing);
        self.shared.count(|c| c.dials += 1);
        let seed = self.seed();
        self.jobs.push(Job::Dial { peer, seed, attempt });
    }

    /// Dials again after the back-off, if `peer` is wanted and has nothing in flight.
    fn retry(&mut self, peer: Address) {
        let wanted = self.is_wanted(peer);
        let Some(entry) = self.peers.get(&peer) else { return };
        if !wanted || entry.session.is_some() || entry.attempt.is_some() {
            return self.forget_if_idle(peer);
        }
        let ms = self.backoff_ms(entry.failures);
        let attempt = self.attempt(peer, AttemptKind::Waiting);
        self.jobs.push(Job::Wait { peer, ms, attempt });
    }

    fn attempt(&mut self, peer: Address, kind: AttemptKind) -> Arc<Attempt> {
        let (cancel, committed) = (Notify::new(), AtomicBool::new(false));
        let attempt = Arc::new(Attempt { kind, cancel, committed });
        let entry = self.peers.entry(peer).or_default();
        assert!(entry.attempt.is_none(), "a peer has one attempt at a time");
        entry.attempt = Some(attempt.clone());
        attempt
    }

    /// Between half and all of `base * 2^failures`, at most the maximum: peers that lost each other at the
    /// same moment must not dial each other at the same moment for ever.
    fn backoff_ms(&mut self, failures: u32) -> u64 {
        let factor = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
        let full =
            self.config.backoff_base_ms.saturating_mul(factor).min(self.config.backoff_max_ms);
        let half = full / 2;
        half + self.jitter.next_u64() % (full - half + 1)
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.seeds.fill_bytes(&mut seed);
        seed
    }

    fn is_wanted(&self, peer: Address) -> bool {
        self.shared.lock().wanted.contains(&peer)
    }

    /// Peers that come and go by themselves leave nothing behind.
    fn forget_if_idle(&mut self, peer: Address) {
        if let Some(entry) = self.peers.get(&peer)
            && entry.session.is_none()
            && entry.attempt.is_none()
            && !self.is_wanted(peer)
        {
            self.peers.remove(&peer);
        }
    }

    fn count_handshake(&self, error: HandshakeError) {
        self.shared.count(|c| match error {
            HandshakeError::Io { .. } => c.handshakes_io += 1,
            HandshakeError::TooLong { .. }
            | HandshakeError::Noise { .. }
            | HandshakeError::BadHello { .. }
            | HandshakeError::BadVerdict => c.handshakes_garbage += 1,
            HandshakeError::Identity(_) => c.handshakes_forged += 1,
            HandshakeError::UnexpectedPeer { .. } | HandshakeError::Ourselves { .. } => {
                c.handshakes_wrong_peer += 1;
            }
            HandshakeError::NoCommonVersion { .. } => c.handshakes_no_version += 1,
            HandshakeError::Refused(_) => c.handshakes_refused_by_peer += 1,
            HandshakeError::Timeout { .. } => c.handshakes_timed_out += 1,
        });
    }

    fn count_end(&self, reason: DownReason) {
        self.shared.count(|c| match reason {
            DownReason::Closed | DownReason::Unconfirmed | DownReason::Stopped => {
                c.ended_closed += 1;
            }
            DownReason::Io { .. } => c.ended_io += 1,
            DownReason::Idle { .. } => c.ended_idle += 1,
            DownReason::BadFrame(_) => c.ended_bad_frame += 1,
            DownReason::Replaced => c.ended_replaced += 1,
            DownReason::Disconnected => c.ended_disconnected += 1,
        });
    }
}

impl<S> Default for Peer<S> {
    fn default() -> Self {
        Peer { session: None, attempt: None, offered: None, failures: 0 }
    }
}

/// Whether the lower of the two addresses dialed. Both ends compute the same.
fn dialed_by_lower(side: Side, own: Address, peer: Address) -> bool {
    match side {
        Side::Dialed => own < peer,
        Side::Accepted => peer < own,
    }
}

#[cfg(test)]
mod tests;
