//! Recoverable secp256k1 signatures over Ethereum-prefixed hashes, RFC 6979 nonces, low s.
//!
//! Off chain we accept less than the contracts do: 65 bytes, `v` 27 or 28, `0 < r < n`, `0 < s <= n/2`. The chain
//! also takes a high `s`, which would give one signature two encodings.
//!
//! Source: `NitroUtils.recoverSigner`, EIP-2, RFC 6979.

use core::fmt;

use alloy_primitives::{B256, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::abi;
use crate::types::Address;

/// `r || s || v`, with `v` 27 or 28 when canonical.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 65]);

impl Signature {
    /// The same signature with a low `s`; `None` when `r` or `s` is out of range or `v` is neither 27 nor 28.
    pub fn canonical(&self) -> Option<Signature> {
        if !matches!(self.0[64], 27 | 28) {
            return None;
        }
        if is_low_s(self) {
            return Some(*self);
        }
        let mut sig = secp256k1::ecdsa::Signature::from_compact(&self.0[..64]).ok()?;
        sig.normalize_s();
        let mut canonical = [0u8; 65];
        canonical[..64].copy_from_slice(&sig.serialize_compact());
        canonical[64] = 55 - self.0[64];
        Some(Signature(canonical))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", alloy_primitives::hex::encode(self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return s.collect_str(&format_args!("0x{}", alloy_primitives::hex::encode(self.0)));
        }
        s.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Signature;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a signature of 65 bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, v: &[u8]) -> Result<Signature, E> {
                v.try_into().map(Signature).map_err(|_| E::invalid_length(v.len(), &self))
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Signature, E> {
                alloy_primitives::hex::decode_to_array(v).map(Signature).map_err(E::custom)
            }
        }
        if d.is_human_readable() { d.deserialize_str(Bytes) } else { d.deserialize_bytes(Bytes) }
    }
}

/// The digest that is signed: `keccak256("\x19Ethereum Signed Message:\n32" || hash)`.
pub fn eth_digest(hash: B256) -> B256 {
    let mut message = [0u8; 60];
    message[..28].copy_from_slice(b"\x19Ethereum Signed Message:\n32");
    message[28..].copy_from_slice(hash.as_slice());
    keccak256(message)
}

/// The hash that a challenger signs beside the state: `keccak256(abi.encode(stateHash, "forceMove"))`.
pub fn challenge_hash(state_hash: B256) -> B256 {
    keccak256(abi::encode_challenge(state_hash))
}

/// Which signature scheme a run uses.
///
/// `Toy` signatures are a hash and the signer's address: they cost nothing and prove nothing. The variant exists only
/// where planted bugs exist (feature `simulation`), so no shipped node can be talked into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crypto {
    /// secp256k1.
    Real,
    /// A keyed hash that anybody could forge; for long campaigns over protocol logic.
    #[cfg(feature = "simulation")]
    Toy,
}

/// A node's channel key. Has no `Debug` and no serialization: it cannot reach a log line or a state hash.
#[derive(Clone)]
pub struct SecretKey {
    crypto: Crypto,
    key: secp256k1::SecretKey,
    address: Address,
}

/// The bytes are zero or not below the curve's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret key is not a number in 1 ..= n - 1")]
pub struct InvalidKey;

impl SecretKey {
    /// The key with these 32 big-endian bytes.
    ///
    /// # Errors
    /// [`InvalidKey`]; draw other bytes.
    pub fn new(bytes: [u8; 32], crypto: Crypto) -> Result<SecretKey, InvalidKey> {
        let key = secp256k1::SecretKey::from_secret_bytes(bytes).map_err(|_| InvalidKey)?;
        let address = address_of(&key.public_key());
        Ok(SecretKey { crypto, key, address })
    }

    /// The Ethereum address of this key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs `hash` with the Ethereum prefix. Deterministic: the same hash always gives the same bytes.
    ///
    /// # Danger
    /// A signature that leaves before its event is synced may be forgotten in a crash; a second one for the same turn
    /// can then cost the whole channel. Only the driver releases.
    pub fn sign(&self, hash: B256) -> Signature {
        let digest = eth_digest(hash);
        match self.crypto {
            Crypto::Real => {
                let sig = RecoverableSignature::sign_ecdsa_recoverable(message(digest), &self.key);
                let (id, compact) = sig.serialize_compact();
                let mut bytes = [0u8; 65];
                bytes[..64].copy_from_slice(&compact);
                bytes[64] = 27 + u8::from(id);
                Signature(bytes)
            }
            #[cfg(feature = "simulation")]
            Crypto::Toy => toy::sign(self.address, digest),
        }
    }
}

/// Recovers signers. The binary does it on a pool; the simulator remembers results by digest, because every node of a
/// run checks the same signatures.
pub trait Recover {
    /// The signer, accepting what the contracts accept: any non-zero `s`.
    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address>;

    /// The channel id and the hash of a state. A simulator that has many readers of one state remembers them.
    fn hash_state(&mut self, state: &super::State) -> (crate::types::ChannelId, B256) {
        let channel = state.fixed.channel_id();
        (channel, state.hash_in(channel))
    }

    /// The signer, accepting only canonical signatures (see the module).
    fn recover_strict(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        if !is_low_s(sig) { None } else { self.recover(hash, sig) }
    }
}

impl Recover for Crypto {
    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        let digest = eth_digest(hash);
        match self {
            Crypto::Real => {
                let id = match sig.0[64] {
                    27 => RecoveryId::Zero,
                    28 => RecoveryId::One,
                    _ => return None,
                };
                let sig = RecoverableSignature::from_compact(&sig.0[..64], id).ok()?;
                sig.recover_ecdsa(message(digest)).ok().map(|key| address_of(&key))
            }
            #[cfg(feature = "simulation")]
            Crypto::Toy => toy::recover(digest, sig),
        }
    }
}

fn message(digest: B256) -> secp256k1::Message {
    secp256k1::Message::from_digest(digest.0)
}

fn address_of(key: &secp256k1::PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

fn is_low_s(sig: &Signature) -> bool {
    sig.0[32..64] <= HALF_ORDER[..]
}

/// `n / 2`, the largest canonical `s` (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

#[cfg(feature = "simulation")]
mod toy {
    use super::*;

    /// `keccak(address || digest)` with its top bit cleared (so that `s` is low), the address, and `v`.
    pub fn sign(address: Address, digest: B256) -> Signature {
        let mut bytes = [0u8; 65];
        bytes[12..32].copy_from_slice(address.as_slice());
        bytes[32..64].copy_from_slice(mac(address, digest).as_slice());
        bytes[32] &= 0x3f;
        bytes[64] = 27;
        Signature(bytes)
    }

    pub fn recover(digest: B256, sig: &Signature) -> Option<Address> {
        let address = Address::from_slice(&sig.0[12..32]);
        (*sig == sign(address, digest)).then_some(address)
    }

    fn mac(address: Address, digest: B256) -> B256 {
        let mut input = [0u8; 52];
        input[..20].copy_from_slice(address.as_slice());
        input[20..].copy_from_slice(digest.as_slice());
        B256::from(*blake3::hash(&input).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::new([byte; 32], Crypto::Real).unwrap()
    }

    #[test]
    fn zero_is_not_a_key() {
        assert!(SecretKey::new([0; 32], Crypto::Real).is_err());
        assert!(SecretKey::new([0xff; 32], Crypto::Real).is_err());
    }

    /// The other encoding of a valid signature (n - s, flipped v) recovers to the same signer on chain and is refused here.
    #[test]
    fn a_high_s_is_refused_off_chain() {
        const ORDER: alloy_primitives::U256 = alloy_primitives::U256::from_be_bytes([
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c,
            0xd0, 0x36, 0x41, 0x41,
        ]);
        let hash = B256::repeat_byte(9);
        let mut sig = key(1).sign(hash);
        let s = alloy_primitives::U256::from_be_slice(&sig.0[32..64]);
        sig.0[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
        sig.0[64] = 55 - sig.0[64];
        assert_eq!(Crypto::Real.recover(hash, &sig), Some(key(1).address()));
        assert_eq!(Crypto::Real.recover_strict(hash, &sig), None);
        assert_eq!(sig.canonical(), Some(key(1).sign(hash)), "and has one canonical encoding");
        assert_eq!(key(1).sign(hash).canonical(), Some(key(1).sign(hash)));
    }

    #[test]
    fn other_values_of_v_are_refused() {
        let hash = B256::repeat_byte(9);
        for v in [0, 1, 26, 29, 255] {
            let mut sig = key(1).sign(hash);
            sig.0[64] = v;
            assert_eq!(Crypto::Real.recover(hash, &sig), None, "v = {v}");
            assert_eq!(sig.canonical(), None, "v = {v}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(hash in any::<[u8; 32]>(), sig in proptest::collection::vec(any::<u8>(), 65)) {
            let sig = Signature(sig.try_into().unwrap());
            let _ = Crypto::Real.recover(hash.into(), &sig);
        }

        #[test]
        fn signing_is_deterministic_and_recovers(hash in any::<[u8; 32]>(), byte in 1u8..=250) {
            let key = key(byte);
            let sig = key.sign(hash.into());
            prop_assert_eq!(sig, key.sign(hash.into()));
            prop_assert_eq!(Crypto::Real.recover_strict(hash.into(), &sig), Some(key.address()));
        }
    }
}
