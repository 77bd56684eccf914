//! Which messages a session's wire version knows: the last look at what leaves, the first at what arrives.
//!
//! A version belongs to a session and not to a peer: it is volatile, learned anew with each session, and no event depends on it.

use super::node::Node;
use crate::config::Config;
use crate::effect::{Effect, Refusal};
use crate::input::Message;
use crate::types::Address;
use crate::wire::{VIRTUAL_CHANNELS_SINCE, WIRE_VERSION_MAX, Wire, version_of_encoded};

impl Node {
    /// The wire version of the session with `peer`. Without one it is the newest of ours: what is handed to a transport without a
    /// session is lost, and nothing is known against the peer.
    pub fn version_with(&self, peer: Address) -> u16 {
        let ours = newest(&self.config);
        self.session.up.get(&peer).map_or(ours, |version| (*version).min(ours))
    }

    /// What we may say to `peer`.
    fn speaks_to(&self, peer: Address) -> u16 {
        let regardless = self.config.mutant("speaks-too-new");
        if regardless { newest(&self.config) } else { self.version_with(peer) }
    }

    /// An effect as its peer understands it: in an older form, or not at all where there is none.
    ///
    /// The wish behind it stays: it is looked at again with its next turn, and at once when a session comes up.
    ///
    /// # Danger
    /// To be asked at the moment of release: between decision and release the session may have become another one.
    pub fn in_dialect(&self, effect: Effect) -> Option<Effect> {
        let Effect::Send { peer, bytes } = effect else { return Some(effect) };
        let known = self.speaks_to(peer);
        if known >= WIRE_VERSION_MAX || version_of_encoded(&bytes) <= known {
            return Some(Effect::Send { peer, bytes });
        }
        // What it rests on is left out: who has no virtual channels has nothing to compare it with.
        match Wire::decode(&bytes) {
            Ok(Wire::Proposal { claim, .. }) => {
                Some(Effect::Send { peer, bytes: Wire::State(claim).encode() })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether a message belongs to the version that its session agreed on.
    ///
    /// # Errors
    /// It does not: its sender is to blame, and nothing was changed.
    pub(super) fn check_dialect(&self, peer: Address, message: &Message) -> Result<(), Refusal> {
        let (known, needed) = (self.version_with(peer), message.version());
        if needed > known { Err(Refusal::TooNew { peer, version: known, needed }) } else { Ok(()) }
    }

    /// Whether everybody who shall take part in a virtual channel can speak of one, as far as sessions say.
    ///
    /// # Errors
    /// The first participant whose session says that it cannot.
    pub(super) fn check_versions(&self, participants: &[Address]) -> Result<(), Refusal> {
        let others = participants.iter().filter(|p| **p != self.address());
        for peer in others.copied() {
            let (version, needed) = (self.speaks_to(peer), VIRTUAL_CHANNELS_SINCE);
            if version < needed {
                return Err(Refusal::OldPeer { peer, version, needed });
            }
        }
        Ok(())
    }
}

/// The newest version that this node speaks.
fn newest(config: &Config) -> u16 {
    *config.wire_versions.end()
}
