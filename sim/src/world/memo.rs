//! Signature checks remembered by digest over all nodes of a run.
//!
//! Every node checks what every other node has signed; in a simulation of two nodes half of the checks, and those of the simulated
//! contract and of the invariants, ask what was asked before. The memo answers these; it never answers a question that was not
//! asked of the real code.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_core::chain_types::B256;
use fairway_core::nitro::{Crypto, Recover, Signature, State};
use fairway_core::types::{Address, ChannelId};

/// A [`Recover`] that asks each question once. Cloning gives another handle to the same memory.
///
/// A mutex, because the world and its invariants both ask and neither owns the other; a run has one thread, so nobody waits.
#[derive(Clone, Debug)]
pub struct Memo(Arc<Mutex<Known>>);

/// Only looked up, never iterated: the map's order cannot reach a run.
type Signers = HashMap<(B256, Signature), Option<Address>, BuildHasherDefault<DefaultHasher>>;

#[derive(Debug)]
struct Known {
    crypto: Crypto,
    hashes: HashMap<State, (ChannelId, B256), BuildHasherDefault<DefaultHasher>>,
    signers: Signers,
    asked: u64,
}

impl Memo {
    /// An empty memo over a scheme.
    pub fn new(crypto: Crypto) -> Memo {
        Memo(Arc::new(Mutex::new(Known {
            crypto,
            hashes: HashMap::default(),
            signers: HashMap::default(),
            asked: 0,
        })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who signed `hash`, accepting canonical signatures alone.
    pub fn signer(&self, hash: B256, sig: &Signature) -> Option<Address> {
        self.clone().recover_strict(hash, sig)
    }

    /// The channel id and the hash of a state, computed from nothing but the state.
    pub fn hash_of(&self, state: &State) -> (ChannelId, B256) {
        self.clone().hash_state(state)
    }

    /// How many signatures were really recovered, and how often somebody asked.
    pub fn counts(&self) -> (u64, u64) {
        let known = self.known();
        (known.signers.len() as u64, known.asked)
    }
}

impl Recover for Memo {
    fn hash_state(&mut self, state: &State) -> (ChannelId, B256) {
        let mut known = self.known();
        if let Some(hashes) = known.hashes.get(state) {
            return *hashes;
        }
        let Known { crypto, hashes, .. } = &mut *known;
        let computed = crypto.hash_state(state);
        hashes.insert(state.clone(), computed);
        computed
    }

    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        let mut known = self.known();
        let Known { crypto, signers, asked, .. } = &mut *known;
        *asked += 1;
        *signers.entry((hash, *sig)).or_insert_with(|| crypto.recover(hash, sig))
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
            assert_ne!(memo.clone().recover(other, &sig), Some(key.address()));
        }
        assert_eq!(memo.counts(), (2, 6));
    }
}
