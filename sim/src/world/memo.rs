//! Signature checks remembered by digest over all nodes of a run.
//!
//! Every node checks what every other node has signed; in a simulation of two nodes half of the checks, and those of the simulated
//! contract, ask what was asked before. The memo answers these; it never answers a question that was not asked of the real code.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use fairway_core::chain_types::B256;
use fairway_core::nitro::{Crypto, Recover, Signature};
use fairway_core::types::Address;

/// A [`Recover`] that asks each question once. Only looked up, never iterated: the map's order cannot reach a run.
#[derive(Clone, Debug)]
pub struct Memo {
    crypto: Crypto,
    known: HashMap<(B256, Signature), Option<Address>, BuildHasherDefault<DefaultHasher>>,
    asked: u64,
}

impl Memo {
    /// An empty memo over a scheme.
    pub fn new(crypto: Crypto) -> Memo {
        Memo { crypto, known: HashMap::default(), asked: 0 }
    }

    /// The scheme.
    pub fn crypto(&self) -> Crypto {
        self.crypto
    }

    /// How many signatures were really recovered, and how often somebody asked.
    pub fn counts(&self) -> (u64, u64) {
        (self.known.len() as u64, self.asked)
    }
}

impl Recover for Memo {
    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        self.asked += 1;
        let crypto = &mut self.crypto;
        *self.known.entry((hash, *sig)).or_insert_with(|| crypto.recover(hash, sig))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::nitro::SecretKey;

    #[test]
    fn a_question_is_asked_once_and_answered_the_same() {
        let key = SecretKey::new([7; 32], Crypto::Real).expect("a small number is a key");
        let (hash, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let sig = key.sign(hash);
        let mut memo = Memo::new(Crypto::Real);
        for _ in 0..3 {
            assert_eq!(memo.recover(hash, &sig), Some(key.address()));
            assert_ne!(memo.recover(other, &sig), Some(key.address()));
        }
        assert_eq!(memo.counts(), (2, 6));
    }
}
