//! A site: the name of one place that draws.

use std::fmt;
use std::sync::Arc;

/// The name of one place that draws, with the node or link it draws for.
///
/// Shape: `what`, `what/party`, `what/party>peer`. Make it once (it hashes and allocates), keep it where the
/// draws are made, and clone it freely: a draw allocates nothing.
///
/// ```
/// use fairway_sim::chance::Site;
/// assert_eq!(Site::new("net.latency").of("alice").to("bob").name(), "net.latency/alice>bob");
/// ```
#[derive(Clone)]
pub struct Site {
    name: Arc<str>,
    key: u128,
}

impl Site {
    /// A site that belongs to the run as a whole.
    pub fn new(name: impl Into<Arc<str>>) -> Site {
        let name = name.into();
        let hash = blake3::hash(name.as_bytes());
        let (half, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Site { name, key: u128::from_le_bytes(*half) }
    }

    /// The same place at one party or element.
    pub fn of(&self, owner: impl fmt::Display) -> Site {
        Site::new(format!("{}/{owner}", self.name))
    }

    /// The same place towards a peer.
    pub fn to(&self, peer: impl fmt::Display) -> Site {
        Site::new(format!("{}>{peer}", self.name))
    }

    /// The name, as tapes write it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name without copying it.
    pub(super) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// What streams are found by: 128 bits of the name's BLAKE3 hash.
    pub(super) fn key(&self) -> u128 {
        self.key
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Site({})", self.name)
    }
}

impl PartialEq for Site {
    fn eq(&self, other: &Site) -> bool {
        self.key == other.key
    }
}

impl Eq for Site {}
