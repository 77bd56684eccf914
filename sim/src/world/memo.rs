//! Signature checks remembered by digest over all nodes of a run.
//!
//! Every node checks what every other node has signed; in a simulation of two nodes half of the checks, and those of the simulated
//! contract and of the invariants, ask what was asked before. The memo answers these; it never answers a question that was not
//! asked of the real code.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_core::chain_types::B256;
use fairway_core::nitro::{Crypto, FixedPart, Recover, Signature, State};
use fairway_core::types::{Address, ChannelId};

/// A [`Recover`] that asks each question once. Cloning gives another handle to the same memory.
///
/// A mutex, because the world and its invariants both ask and neither owns the other; a run has one thread, so nobody waits.
#[derive(Clone, Debug)]
pub struct Memo(Arc<Mutex<Answers>>);

/// Only looked up, never iterated: a map's order cannot reach a run.
type Known<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

#[derive(Debug)]
struct Answers {
    crypto: Crypto,
    channels: Known<FixedPart, ChannelId>,
    hashes: Known<State, (ChannelId, B256)>,
    signers: Known<(B256, Signature), Option<Address>>,
    asked: u64,
}

impl Answers {
    fn channel(&mut self, fixed: &FixedPart) -> ChannelId {
        if let Some(channel) = self.channels.get(fixed) {
            return *channel;
        }
        let channel = fixed.channel_id();
        self.channels.insert(fixed.clone(), channel);
        channel
    }
}

/// A hash for looking up alone. Nobody who could choose the keys gains by a collision: it costs a comparison.
#[derive(Clone, Copy, Debug, Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its place from the low bits, the tag from the high ones; a product mixes upwards alone.
        self.0 ^ self.0 >> 32
    }
}

impl Memo {
    /// An empty memo over a scheme.
    pub fn new(crypto: Crypto) -> Memo {
        Memo(Arc::new(Mutex::new(Answers {
            crypto,
            channels: HashMap::default(),
            hashes: HashMap::default(),
            signers: HashMap::default(),
            asked: 0,
        })))
    }

    fn known(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who signed `hash`, accepting canonical signatures alone.
    pub fn signer(&self, hash: B256, sig: &Signature) -> Option<Address> {
        self.clone().recover_strict(hash, sig)
    }

    /// The id of the channel with this fixed part.
    pub fn channel_of(&self, fixed: &FixedPart) -> ChannelId {
        self.known().channel(fixed)
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
        let channel = known.channel(&state.fixed);
        let computed = (channel, state.hash_in(channel));
        known.hashes.insert(state.clone(), computed);
        computed
    }

    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        let mut known = self.known();
        let Answers { crypto, signers, asked, .. } = &mut *known;
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
