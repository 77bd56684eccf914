//! The digest of a run: equal runs have equal digests, in another process, in debug and release.
//!
//! It covers what left the nodes and what reached their disks, in order and with virtual time; never an address in memory, a
//! wall clock or a log line.

use crate::observe::{Observed, PartyId};

/// Accumulates a run's digest.
#[derive(Clone, Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    /// What is not hashed yet: many short pieces cost several times what one long one does.
    unhashed: Vec<u8>,
    observations: u64,
}

impl Default for Trace {
    fn default() -> Trace {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"fairway trace 1");
        Trace { hasher, unhashed: Vec::with_capacity(UNHASHED_BYTES), observations: 0 }
    }
}

impl Trace {
    /// Takes one observation into account.
    pub fn observe(&mut self, now_ns: u64, seen: &Observed<'_>) {
        let Some((tag, node, word)) = key(seen) else { return };
        self.observations += 1;
        let mut head = [0u8; 25];
        head[..8].copy_from_slice(&now_ns.to_le_bytes());
        head[8] = tag;
        head[9..17].copy_from_slice(&(node.0 as u64).to_le_bytes());
        head[17..].copy_from_slice(&word.to_le_bytes());
        self.unhashed.extend_from_slice(&head);
        match seen {
            Observed::Sent { bytes, .. } => self.unhashed.extend_from_slice(bytes),
            Observed::Appended { events, .. } => {
                for (at, event) in *events {
                    self.unhashed.extend_from_slice(&at.0.to_le_bytes());
                    self.unhashed.extend_from_slice(event.name().as_bytes());
                }
            }
            Observed::Block { chain, .. } => {
                self.unhashed.extend_from_slice(chain.head().hash.as_slice());
            }
            Observed::Stopped { why, .. } | Observed::Fault { what: why, .. } => {
                self.unhashed.extend_from_slice(why.as_bytes());
            }
            Observed::Ended { nodes, .. } => {
                for (_, state) in *nodes {
                    self.unhashed.extend_from_slice(&state.digest());
                }
            }
            Observed::Synced { .. }
            | Observed::Delivered { .. }
            | Observed::Submitted { .. }
            | Observed::Notified { .. }
            | Observed::Refused { .. }
            | Observed::Session { .. }
            | Observed::Rested { .. }
            | Observed::Crashed { .. }
            | Observed::Restarted { .. }
            | Observed::Healed => {}
        }
        if self.unhashed.len() >= UNHASHED_BYTES {
            self.hasher.update(&self.unhashed);
            self.unhashed.clear();
        }
    }

    /// The digest so far.
    pub fn digest(&self) -> [u8; 32] {
        *self.hasher.clone().update(&self.unhashed).finalize().as_bytes()
    }

    /// How many observations there were.
    pub fn observations(&self) -> u64 {
        self.observations
    }
}

/// What tells two observations of one kind and moment apart; `None` for what is no part of the digest.
fn key(seen: &Observed<'_>) -> Option<(u8, PartyId, u64)> {
    let nobody = PartyId(usize::MAX);
    Some(match seen {
        Observed::Session { .. } => return None,
        Observed::Appended { node, first, .. } => (0, *node, first.0),
        Observed::Synced { node, end } => (1, *node, end.0),
        Observed::Sent { node, to, .. } => (2, *node, to.0 as u64),
        Observed::Delivered { node, from, .. } => (3, *node, from.0 as u64),
        Observed::Submitted { node, .. } => (4, *node, 0),
        Observed::Notified { node, .. } => (5, *node, 0),
        Observed::Refused { node, .. } => (6, *node, 0),
        Observed::Rested { node, state, durable, .. } => {
            (7, *node, state.lsn().0 ^ durable.0 << 32)
        }
        Observed::Crashed { node } => (8, *node, 0),
        Observed::Restarted { node, log, .. } => (9, *node, log.len() as u64),
        Observed::Stopped { node, .. } => (10, *node, 0),
        Observed::Block { replaced, .. } => (11, nobody, *replaced),
        Observed::Fault { id, .. } => (12, nobody, *id as u64),
        Observed::Healed => (13, nobody, 0),
        Observed::Ended { .. } => (14, nobody, 0),
    })
}

/// Sixteen of BLAKE3's chunks: what its widest implementation takes at once.
const UNHASHED_BYTES: usize = 16 << 10;
