//! What the network has counted since it was made, for metrics and tests. Counting decides nothing.

/// Plain totals since [`Network::new`](crate::Network::new). Every drop and failure is in one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages accepted into a queue.
    pub queued: u64,
    /// Frames received and handed to the caller.
    pub received: u64,
    /// Bytes of messages that a session has taken from its queue, without what the encryption adds.
    pub bytes_sent: u64,
    /// Bytes of messages received, without what the encryption adds.
    pub bytes_received: u64,
    /// Messages dropped: no session with the peer.
    pub dropped_no_session: u64,
    /// Messages dropped: the peer's queue was full (it reads too slowly).
    pub dropped_queue_full: u64,
    /// Messages dropped: larger than `frame_bytes_max`.
    pub dropped_too_large: u64,
    /// Messages dropped: still queued when their session ended.
    pub dropped_at_end: u64,

    /// Dials begun.
    pub dials: u64,
    /// Dials that the port refused.
    pub dials_failed: u64,
    /// Dials that took longer than `dial_ms`.
    pub dials_timed_out: u64,
    /// Dials given up: the peer's own session came first, or it is no longer wanted.
    pub dials_cancelled: u64,
    /// Accepted streams dropped: `handshakes_max` were in flight.
    pub accepts_dropped: u64,

    /// Handshakes that took longer than `handshake_ms`.
    pub handshakes_timed_out: u64,
    /// Handshakes that ended with the stream.
    pub handshakes_io: u64,
    /// Handshakes with bytes that cannot be right: oversize, undecryptable (also: another chain), malformed.
    pub handshakes_garbage: u64,
    /// Handshakes with a card that proves nothing.
    pub handshakes_forged: u64,
    /// Handshakes with somebody else than the peer that was dialed, or with ourselves.
    pub handshakes_wrong_peer: u64,
    /// Handshakes without a common wire version.
    pub handshakes_no_version: u64,
    /// Handshakes that the peer refused: it is full, or has a better session with us.
    pub handshakes_refused_by_peer: u64,
    /// Handshakes that we refused: `sessions_max` reached.
    pub refused_full: u64,
    /// Handshakes that we refused: the session that we have wins.
    pub refused_duplicate: u64,

    /// Sessions begun.
    pub sessions: u64,
    /// Sessions ended by the peer, or before they were confirmed.
    pub ended_closed: u64,
    /// Sessions ended by an I/O error.
    pub ended_io: u64,
    /// Sessions ended for silence.
    pub ended_idle: u64,
    /// Sessions ended by a bad frame.
    pub ended_bad_frame: u64,
    /// Sessions ended because a better one with the same peer took over.
    pub ended_replaced: u64,
    /// Sessions ended by [`Handle::disconnect`](crate::Handle::disconnect).
    pub ended_disconnected: u64,
}
