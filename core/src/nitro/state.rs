//! Channel states and their hashes.
//!
//! Source: `INitroTypes.sol`, `NitroUtils.hashState`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use alloy_primitives::{B256, Bytes, keccak256};
use serde::{Deserialize, Serialize};

use super::abi;
use super::outcome::Outcome;
use super::sign::{Recover, Signature};
use crate::types::{Address, ChannelId, TurnNum};

/// What never changes in a channel's life and names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FixedPart {
    /// Who signs; the order is also the deposit order. 2 to 255, pairwise distinct.
    pub participants: Vec<Address>,
    /// Random; a nonce used twice by the same participants is the same channel.
    pub nonce: u64,
    /// The contract that judges states. A direct channel uses the consensus application.
    pub app_definition: Address,
    /// Seconds between a challenge and finalization.
    pub challenge_duration: u32,
}

impl FixedPart {
    /// The channel's id.
    pub fn channel_id(&self) -> ChannelId {
        ChannelId(keccak256(abi::encode_fixed_part(self)))
    }

    /// The position of `who` among the participants.
    pub fn index_of(&self, who: Address) -> Option<usize> {
        self.participants.iter().position(|p| *p == who)
    }

    /// Whether the participants are a set of 2 to 255.
    pub fn participants_valid(&self) -> bool {
        let n = self.participants.len();
        let distinct =
            self.participants.iter().enumerate().all(|(i, p)| !self.participants[..i].contains(p));
        (2..=255).contains(&n) && distinct
    }
}

/// One state of a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct State {
    /// The channel.
    pub fixed: FixedPart,
    /// Who would get what.
    pub outcome: Outcome,
    /// The application's data; empty in a direct channel.
    pub app_data: Bytes,
    /// Position in the channel's life: 0 prefund, 1 postfund, then updates.
    pub turn: TurnNum,
    /// A unanimous final state may be concluded at once.
    pub is_final: bool,
}

impl State {
    /// The state hash that participants sign.
    pub fn hash(&self) -> B256 {
        self.hash_in(self.fixed.channel_id())
    }

    /// [`State::hash`] for a caller that already knows the channel's id.
    pub fn hash_in(&self, channel: ChannelId) -> B256 {
        keccak256(abi::encode_state(
            channel,
            &self.app_data,
            &self.outcome,
            self.turn,
            self.is_final,
        ))
    }
}

/// A state with signatures that were checked, or read back from our own chained log.
///
/// Invariant: every signature in `sigs` is a valid signature of the participant at its index over `hash`.
/// There are three ways to get one: [`SignedState::verify`], [`SignedState::verify_unindexed`], and decoding a batch of our own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedState {
    state: State,
    channel: ChannelId,
    hash: B256,
    sigs: BTreeMap<u8, Signature>,
}

/// Why a state with signatures was not accepted (protocol: off-chain acceptance is stricter than the chain).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedStateError {
    /// Not 2 to 255 distinct participants.
    #[error("participants are not 2 to 255 distinct addresses")]
    Participants,
    /// No signature at all.
    #[error("no signature")]
    Unsigned,
    /// An index beyond the participants.
    #[error("signature index {index} of {participants} participants")]
    Index {
        /// The claimed index.
        index: u8,
        /// How many there are.
        participants: usize,
    },
    /// Malformed, high-s, or not by the participant at this index.
    #[error("signature {index} is not a valid signature of {expected}")]
    Signature {
        /// The claimed index.
        index: u8,
        /// Who should have signed.
        expected: Address,
    },
}

impl SignedState {
    /// Checks every signature against the participant at its index.
    ///
    /// # Errors
    /// The peer is to blame; the caller counts and drops.
    pub fn verify(
        state: State,
        sigs: impl IntoIterator<Item = (u8, Signature)>,
        crypto: &mut dyn Recover,
    ) -> Result<SignedState, SignedStateError> {
        if !state.fixed.participants_valid() {
            return Err(SignedStateError::Participants);
        }
        let (channel, hash) = crypto.hash_state(&state);
        let mut checked = BTreeMap::new();
        for (index, sig) in sigs {
            let participants = state.fixed.participants.len();
            let expected = *state
                .fixed
                .participants
                .get(usize::from(index))
                .ok_or(SignedStateError::Index { index, participants })?;
            if crypto.recover_strict(hash, &sig) != Some(expected) {
                return Err(SignedStateError::Signature { index, expected });
            }
            checked.insert(index, sig);
        }
        if checked.is_empty() {
            return Err(SignedStateError::Unsigned);
        }
        Ok(SignedState { state, channel, hash, sigs: checked })
    }

    /// Checks signatures that come without indices, as a transaction shows them: each participant's first is kept, in its canonical
    /// encoding; the others are passed over, as the contract does.
    ///
    /// # Errors
    /// None of them holds, or the participants are not valid.
    pub fn verify_unindexed(
        state: State,
        sigs: &[Signature],
        crypto: &mut dyn Recover,
    ) -> Result<SignedState, SignedStateError> {
        if !state.fixed.participants_valid() {
            return Err(SignedStateError::Participants);
        }
        let (channel, hash) = crypto.hash_state(&state);
        let mut found = BTreeMap::new();
        for sig in sigs {
            // Whoever submits can add any number of foreign ones.
            if found.len() == state.fixed.participants.len() {
                break;
            }
            let signer = crypto.recover(hash, sig);
            let index = signer.and_then(|s| state.fixed.index_of(s));
            let index = index.and_then(|i| u8::try_from(i).ok());
            if let Some((index, canonical)) = index.zip(sig.canonical()) {
                found.entry(index).or_insert(canonical);
            }
        }
        if found.is_empty() {
            return Err(SignedStateError::Unsigned);
        }
        Ok(SignedState { state, channel, hash, sigs: found })
    }

    /// A state signed by ourselves just now.
    pub(crate) fn by_us(
        state: State,
        channel: ChannelId,
        hash: B256,
        index: u8,
        sig: Signature,
    ) -> SignedState {
        SignedState { state, channel, hash, sigs: BTreeMap::from([(index, sig)]) }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The channel's id.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The state hash.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The signatures by participant index.
    pub fn sigs(&self) -> &BTreeMap<u8, Signature> {
        &self.sigs
    }

    /// The turn number.
    pub fn turn(&self) -> TurnNum {
        self.state.turn
    }

    /// Whether the participant at `index` has signed.
    pub fn signed_by(&self, index: usize) -> bool {
        u8::try_from(index).is_ok_and(|i| self.sigs.contains_key(&i))
    }

    /// Whether every participant has signed: the consensus application's notion of support.
    pub fn is_unanimous(&self) -> bool {
        self.sigs.len() == self.state.fixed.participants.len()
    }

    /// Takes the signatures of `other`, an equal state.
    ///
    /// Returns whether anything was added. Panics when the two differ: callers compare hashes first.
    pub fn merge(&mut self, other: &SignedState) -> bool {
        assert_eq!(self.hash, other.hash, "merged two different states");
        let before = self.sigs.len();
        for (index, sig) in &other.sigs {
            self.sigs.entry(*index).or_insert(*sig);
        }
        self.sigs.len() > before
    }

    /// Whether hash, channel and signatures hold; for `events verify` and the simulator, which trust nothing.
    pub fn recheck(&self, crypto: &mut dyn Recover) -> Result<(), SignedStateError> {
        let sigs = self.sigs.iter().map(|(i, s)| (*i, *s));
        let again = SignedState::verify(self.state.clone(), sigs, crypto)?;
        if again.hash != self.hash || again.channel != self.channel {
            return Err(SignedStateError::Unsigned);
        }
        Ok(())
    }
}
