//! Who a node is: a channel key (secp256k1, an Ethereum address) and a node key (ed25519) that vouch
//! for each other, and the Noise static key that the node key vouches for.
//!
//! Not here: whether a peer is welcome. A card proves who somebody is, not that we deal with them.
//!
//! ```text
//! channel key ──signs──> node key            "this ed25519 key speaks for my address"
//! node key    ──signs──> address, noise key  "this Noise key is mine, at that address"
//! noise key   ──proved by the handshake──>   "I am here, now"
//! ```
//!
//! Both directions are needed: without the first anybody could claim an address, without the second
//! an address could claim somebody else's node.

use std::fmt;

use alloy_primitives::{B256, keccak256};
use ed25519_dalek::{Signature as NodeSignature, Signer, SigningKey, VerifyingKey};
use fairway_core::nitro::sign::{Crypto, Recover, SecretKey, Signature as ChannelSignature};
use fairway_core::types::Address;
use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};

/// The length of an encoded [`IdentityCard`]: address 20, node key 32, noise key 32, node signature
/// 64, channel signature 65.
pub const CARD_BYTES: usize = 20 + 32 + 32 + 64 + 65;

/// Our own keys for the network, and the card that goes with them. Has no `Debug`.
pub struct Identity {
    card: IdentityCard,
    node_key: NodeKey,
    noise_secret: [u8; 32],
    crypto: Crypto,
}

impl Identity {
    /// Derives the node key and the Noise key from `node_seed` and binds them to `channel_key`.
    ///
    /// `node_seed` is 32 secret random bytes that the node keeps; the same seed and channel key always
    /// give the same card. `crypto` is the scheme of `channel_key`, by which peers' cards are checked.
    pub fn new(channel_key: &SecretKey, crypto: Crypto, node_seed: [u8; 32]) -> Identity {
        let node_key =
            SigningKey::from_bytes(&derive(b"fairway/transport/v1/node-key", &node_seed));
        let noise_secret = derive(b"fairway/transport/v1/noise-key", &node_seed);
        let noise_key = noise_public(noise_secret);
        let address = channel_key.address();
        let node_public = node_key.verifying_key().to_bytes();
        let card = IdentityCard {
            address,
            node_key: node_public,
            noise_key,
            node_signature: node_key.sign(&node_claim(address, &noise_key)).to_bytes(),
            channel_signature: channel_key.sign(channel_claim(&node_public)),
        };
        Identity { card, node_key: NodeKey(node_key), noise_secret, crypto }
    }

    /// The address of the channel key.
    pub fn address(&self) -> Address {
        self.card.address
    }

    /// The node key, for what is not said to peers.
    pub fn node_key(&self) -> &NodeKey {
        &self.node_key
    }

    /// What we show to peers.
    pub fn card(&self) -> &IdentityCard {
        &self.card
    }

    /// The scheme of channel signatures.
    pub fn crypto(&self) -> Crypto {
        self.crypto
    }

    pub(crate) fn noise_secret(&self) -> &[u8; 32] {
        &self.noise_secret
    }
}

/// The node key (ed25519), which signs what is not a matter of channels. Has no `Debug`.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// Signs a text of a purpose of its own: no signature for one is one for another, nor part of an [`IdentityCard`].
    pub fn sign(&self, purpose: &str, text: &[u8]) -> [u8; 64] {
        self.0.sign(&claim_of(purpose, text)).to_bytes()
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Whether the holder of `public` signed the text for this purpose. Strict: no small-order keys, one encoding.
    pub fn has_signed(public: &[u8; 32], purpose: &str, text: &[u8], signature: &[u8; 64]) -> bool {
        let signature = NodeSignature::from_bytes(signature);
        VerifyingKey::from_bytes(public)
            .and_then(|key| key.verify_strict(&claim_of(purpose, text), &signature))
            .is_ok()
    }
}

/// The length of the purpose comes first, so that no purpose is the beginning of another.
fn claim_of(purpose: &str, text: &[u8]) -> Vec<u8> {
    let length = (purpose.len() as u64).to_le_bytes();
    [OTHER_CLAIM, &length, purpose.as_bytes(), text].concat()
}

/// A node's claim about itself, as it travels in the handshake.
///
/// Unchecked until [`IdentityCard::verify`]; the address can be read in no other way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityCard {
    address: Address,
    node_key: [u8; 32],
    noise_key: [u8; 32],
    node_signature: [u8; 64],
    channel_signature: ChannelSignature,
}

impl IdentityCard {
    /// The card as [`CARD_BYTES`] bytes.
    pub fn encode(&self) -> [u8; CARD_BYTES] {
        let mut bytes = [0; CARD_BYTES];
        bytes[..20].copy_from_slice(self.address.as_slice());
        bytes[20..52].copy_from_slice(&self.node_key);
        bytes[52..84].copy_from_slice(&self.noise_key);
        bytes[84..148].copy_from_slice(&self.node_signature);
        bytes[148..].copy_from_slice(&self.channel_signature.0);
        bytes
    }

    /// Reads a card; proves nothing yet.
    ///
    /// # Errors
    /// [`IdentityError::Length`] unless there are exactly [`CARD_BYTES`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<IdentityCard, IdentityError> {
        let bytes: &[u8; CARD_BYTES] =
            bytes.try_into().map_err(|_| IdentityError::Length { bytes: bytes.len() })?;
        Ok(IdentityCard {
            address: Address::from_slice(&bytes[..20]),
            node_key: array(&bytes[20..52]),
            noise_key: array(&bytes[52..84]),
            node_signature: array(&bytes[84..148]),
            channel_signature: ChannelSignature(array(&bytes[148..])),
        })
    }

    /// The address that owns this card, if both signatures hold and the card belongs to the Noise key
    /// `noise_key` that the handshake proved.
    ///
    /// Ed25519 is checked strictly (no small-order keys, canonical encodings), the channel signature
    /// must be canonical as well, so a card has one encoding only.
    ///
    /// # Errors
    /// What does not hold; the caller ends the handshake.
    pub fn verify(&self, noise_key: &[u8], crypto: Crypto) -> Result<Address, IdentityError> {
        if self.noise_key != noise_key {
            return Err(IdentityError::NoiseKey { address: self.address });
        }
        VerifyingKey::from_bytes(&self.node_key)
            .and_then(|key| {
                let claim = node_claim(self.address, &self.noise_key);
                key.verify_strict(&claim, &NodeSignature::from_bytes(&self.node_signature))
            })
            .map_err(|_| IdentityError::NodeSignature { address: self.address })?;
        let mut crypto = crypto;
        let signer = crypto.recover_strict(channel_claim(&self.node_key), &self.channel_signature);
        if signer != Some(self.address) {
            return Err(IdentityError::ChannelSignature { address: self.address, signer });
        }
        Ok(self.address)
    }
}

impl fmt::Debug for IdentityCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityCard({})", self.address)
    }
}

/// Why a card proves nothing. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not the one length that a card has.
    #[error("identity card has {bytes} bytes instead of {CARD_BYTES}")]
    Length {
        /// The length found.
        bytes: usize,
    },
    /// The card names another Noise key than the one in the handshake: it is somebody else's card.
    #[error("identity card of {address} names another noise key than the handshake proved")]
    NoiseKey {
        /// The address claimed.
        address: Address,
    },
    /// The ed25519 key or its signature is no good.
    #[error("node key of {address} did not sign its address and noise key")]
    NodeSignature {
        /// The address claimed.
        address: Address,
    },
    /// The channel key did not sign the node key.
    #[error("channel key of {address} did not sign the node key, recovered signer {signer:?}")]
    ChannelSignature {
        /// The address claimed.
        address: Address,
        /// Whom the signature recovers to, if to anybody.
        signer: Option<Address>,
    },
}

/// What the node key signs.
fn node_claim(address: Address, noise_key: &[u8; 32]) -> Vec<u8> {
    [NODE_CLAIM, address.as_slice(), noise_key].concat()
}

/// What the channel key signs.
///
/// # Danger
/// The same key signs states and vouchers. Those hash whole 32-byte words; this preimage is not a
/// multiple of 32 bytes long (checked below), so no card can ever be read as a state or a voucher.
fn channel_claim(node_key: &[u8; 32]) -> B256 {
    keccak256([CHANNEL_CLAIM, node_key].concat())
}

const NODE_CLAIM: &[u8] = b"fairway/transport/v1/node-key-owns-noise-key";
const OTHER_CLAIM: &[u8] = b"fairway/v1/node-key-signs";
const CHANNEL_CLAIM: &[u8] = b"fairway/transport/v1/channel-key-owns-node-key";
const _: () = assert!(!(CHANNEL_CLAIM.len() + 32).is_multiple_of(32));

fn derive(purpose: &[u8], seed: &[u8; 32]) -> [u8; 32] {
    keccak256([purpose, seed].concat()).0
}

fn noise_public(secret: [u8; 32]) -> [u8; 32] {
    let mut dh = DefaultResolver
        .resolve_dh(&DHChoice::Curve25519)
        .expect("snow is built with its curve25519 feature");
    dh.set(&secret);
    array(dh.pubkey())
}

/// `slice` as an array; the caller cut it to length.
fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(slice);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{channel_key, identity};
    use proptest::prelude::*;

    fn verify(card: &IdentityCard) -> Result<Address, IdentityError> {
        card.verify(&card.noise_key, Crypto::Real)
    }

    #[test]
    fn a_card_survives_its_encoding_and_proves_its_address() {
        let identity = identity(1);
        let card = IdentityCard::decode(&identity.card().encode()).unwrap();
        assert_eq!(card, *identity.card());
        assert_eq!(verify(&card), Ok(channel_key(1).address()));
    }

    #[test]
    fn equal_seeds_give_equal_cards_and_other_seeds_other_keys() {
        let card = |seed| *Identity::new(&channel_key(1), Crypto::Real, [seed; 32]).card();
        assert_eq!(card(7), card(7));
        assert_ne!(card(7).node_key, card(8).node_key);
        assert_ne!(card(7).noise_key, card(8).noise_key);
    }

    #[test]
    fn a_length_other_than_the_one_is_refused() {
        let bytes = identity(1).card().encode();
        let long = [&bytes[..], &[0]].concat();
        for wrong in [&[][..], &bytes[..CARD_BYTES - 1], &long] {
            let expected = IdentityError::Length { bytes: wrong.len() };
            assert_eq!(IdentityCard::decode(wrong), Err(expected));
        }
    }

    /// Mallory signs everything he can with his own keys; each forgery lacks one signature.
    #[test]
    fn each_forged_signature_is_refused() {
        let (alice, mallory) = (identity(1), identity(3));
        let address = alice.address();

        // Alice's address over Mallory's node: the node key agrees, Alice's channel key does not.
        let seed = SigningKey::from_bytes(&derive(b"fairway/transport/v1/node-key", &[3; 32]));
        let mut stolen_address = IdentityCard { address, ..*mallory.card() };
        stolen_address.node_signature =
            seed.sign(&node_claim(address, &mallory.card().noise_key)).to_bytes();
        let signer = Some(mallory.address());
        assert_eq!(
            verify(&stolen_address),
            Err(IdentityError::ChannelSignature { address, signer })
        );

        // Alice's real binding, but Mallory's Noise key: Alice's node key never signed it.
        let stolen_node = IdentityCard { noise_key: mallory.card().noise_key, ..*alice.card() };
        assert_eq!(verify(&stolen_node), Err(IdentityError::NodeSignature { address }));

        // Mallory's address claims Alice's node.
        let mut adopted = *alice.card();
        adopted.address = mallory.address();
        adopted.channel_signature = channel_key(3).sign(channel_claim(&alice.card().node_key));
        let address = mallory.address();
        assert_eq!(verify(&adopted), Err(IdentityError::NodeSignature { address }));

        // Alice's whole card, shown in a handshake that proved Mallory's Noise key.
        assert_eq!(
            alice.card().verify(&mallory.card().noise_key, Crypto::Real),
            Err(IdentityError::NoiseKey { address: alice.address() })
        );
    }

    #[test]
    fn a_small_order_node_key_is_refused() {
        // The identity point verifies any message under the lax rule.
        let mut card = *identity(1).card();
        card.node_key = [0; 32];
        card.node_key[0] = 1;
        card.node_signature = [0; 64];
        card.node_signature[0] = 1;
        card.channel_signature = channel_key(1).sign(channel_claim(&card.node_key));
        let address = card.address;
        assert_eq!(verify(&card), Err(IdentityError::NodeSignature { address }));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = identity(1).card().encode();
        let noise_key = identity(1).card().noise_key;
        for bit in 0..CARD_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let card = IdentityCard::decode(&bytes).unwrap();
            assert!(card.verify(&noise_key, Crypto::Real).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_cards_never_panic(bytes in proptest::collection::vec(any::<u8>(), CARD_BYTES)) {
            let card = IdentityCard::decode(&bytes).unwrap();
            prop_assert!(verify(&card).is_err());
            prop_assert_eq!(&card.encode()[..], &bytes[..]);
        }
    }
}
