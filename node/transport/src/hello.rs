//! What two nodes must agree on before they talk: the chain (never sent) and the wire version.

use fairway_core::types::Address;
use fairway_core::wire::negotiate;

use crate::handshake::HandshakeError;
use crate::identity::{CARD_BYTES, IdentityCard};

/// The chain and contract that a network of nodes serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPin {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The Nitro adjudicator.
    pub adjudicator: Address,
}

/// The wire versions that a node speaks, both ends included. Invariant: `min <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub(crate) min: u16,
    pub(crate) max: u16,
}

impl VersionRange {
    /// From `min` to `max`, or `None` if that is empty.
    pub const fn new(min: u16, max: u16) -> Option<VersionRange> {
        if min <= max { Some(VersionRange { min, max }) } else { None }
    }

    /// One version.
    pub const fn only(version: u16) -> VersionRange {
        VersionRange { min: version, max: version }
    }

    /// The highest version in both ranges.
    pub fn common(self, other: VersionRange) -> Option<u16> {
        negotiate(&(self.min..=self.max), &(other.min..=other.max))
    }
}

impl ChainPin {
    /// Both ends mix this into the handshake's hash; it never travels.
    pub(crate) fn prologue(&self) -> Vec<u8> {
        [PROTOCOL, &self.chain_id.to_be_bytes(), self.adjudicator.as_slice()].concat()
    }
}

const PROTOCOL: &[u8] = b"fairway/transport/v1";

/// What each side says about itself, encrypted: its card and its wire versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub(crate) card: IdentityCard,
    pub(crate) versions: VersionRange,
}

impl Hello {
    /// The card, then the lowest and the highest version (big-endian).
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..CARD_BYTES].copy_from_slice(&self.card.encode());
        bytes[CARD_BYTES..CARD_BYTES + 2].copy_from_slice(&self.versions.min.to_be_bytes());
        bytes[CARD_BYTES + 2..].copy_from_slice(&self.versions.max.to_be_bytes());
        bytes
    }

    /// Reads a hello; its card proves nothing yet.
    ///
    /// # Errors
    /// [`HandshakeError::BadHello`] for another length or an empty range of versions.
    pub fn decode(bytes: &[u8]) -> Result<Hello, HandshakeError> {
        let bad = HandshakeError::BadHello { bytes: bytes.len() };
        let bytes: &[u8; HELLO_BYTES] = bytes.try_into().map_err(|_| bad)?;
        let (card, versions) = bytes.split_at(CARD_BYTES);
        let min = u16::from_be_bytes([versions[0], versions[1]]);
        let max = u16::from_be_bytes([versions[2], versions[3]]);
        let versions = VersionRange::new(min, max).ok_or(bad)?;
        Ok(Hello { card: IdentityCard::decode(card)?, versions })
    }
}

/// The length of an encoded [`Hello`].
pub(crate) const HELLO_BYTES: usize = CARD_BYTES + 4;
