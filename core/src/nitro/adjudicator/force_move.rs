//! Challenges, checkpoints, conclusions, and who signed a state.
//!
//! Source: `ForceMove.sol`, `NitroUtils.sol`.

use alloc::vec::Vec;

use alloy_primitives::{B256, U256};

use super::apps::{self, Recovered, is_unanimous};
use super::model::{Frame, claim_decodes};
use super::revert::{Revert, require};
use super::{Claim, Log, Mode, Status, fingerprint};
use crate::nitro::outcome;
use crate::nitro::sign::{Signature, challenge_hash};
use crate::nitro::state::State;
use crate::types::{Address, ChainTime, ChannelId, TurnNum};

impl Frame<'_> {
    pub(super) fn challenge(
        &mut self,
        proof: &[Claim],
        candidate: &Claim,
        challenger_sig: &Signature,
    ) -> Result<(), Revert> {
        let fixed = &candidate.state.fixed;
        let (channel, state_hash) = self.crypto.hash_state(&candidate.state);
        let (turn, record) = (candidate.state.turn, self.status(channel).turn);
        match self.mode(channel) {
            Mode::Open => require(turn >= record, Revert::TURN_DECREASED)?,
            Mode::Challenge => require(turn > record, Revert::TURN_NOT_INCREASED)?,
            Mode::Finalized => return Err(Revert::FINALIZED),
        }
        self.require_supported(channel, proof, candidate)?;
        let challenger = self.recover(challenge_hash(state_hash), challenger_sig)?;
        require(fixed.participants.contains(&challenger), Revert::OUTSIDER)?;

        let finalizes_at = (self.now.0 & U48_MAX) + u64::from(fixed.challenge_duration);
        require(finalizes_at <= U48_MAX, Revert::OVERFLOW)?;
        let finalizes_at = ChainTime(finalizes_at);
        let candidate = candidate.clone();
        let fingerprint = fingerprint(state_hash, outcome::hash(&candidate.state.outcome));
        self.done.logs.push(Log::ChallengeRegistered { channel, finalizes_at, candidate });
        self.status.insert(channel, Status { turn, finalizes_at, fingerprint });
        Ok(())
    }

    pub(super) fn checkpoint(&mut self, proof: &[Claim], candidate: &Claim) -> Result<(), Revert> {
        let (channel, _) = self.crypto.hash_state(&candidate.state);
        let (turn, mode) = (candidate.state.turn, self.mode(channel));
        require(mode != Mode::Finalized, Revert::FINALIZED)?;
        require(turn > self.status(channel).turn, Revert::TURN_NOT_INCREASED)?;
        self.require_supported(channel, proof, candidate)?;
        let fingerprint = fingerprint(B256::ZERO, B256::ZERO);
        self.status.insert(channel, Status { turn, finalizes_at: ChainTime(0), fingerprint });
        self.done.logs.push(match mode {
            Mode::Open | Mode::Finalized => Log::Checkpointed { channel, turn },
            Mode::Challenge => Log::ChallengeCleared { channel, turn },
        });
        Ok(())
    }

    /// Asks neither the application nor the record's turn: any unanimous final state concludes.
    pub(super) fn conclude(&mut self, candidate: &Claim) -> Result<ChannelId, Revert> {
        let state = &candidate.state;
        let (channel, _) = self.crypto.hash_state(state);
        require(self.mode(channel) != Mode::Finalized, Revert::FINALIZED)?;
        require(state.is_final, Revert::MUST_BE_FINAL)?;
        let signers = self.signers(channel, candidate)?;
        require(is_unanimous(&state.fixed, signers), Revert::NOT_UNANIMOUS)?;
        let finalizes_at = ChainTime(self.now.0 & U48_MAX);
        let fingerprint = fingerprint(B256::ZERO, outcome::hash(&state.outcome));
        self.status.insert(channel, Status { turn: TurnNum::PREFUND, finalizes_at, fingerprint });
        self.done.logs.push(Log::Concluded { channel, finalizes_at });
        Ok(channel)
    }

    /// `_requireStateSupported`: signatures of the proof, then of the candidate, then the application's opinion.
    pub(super) fn require_supported(
        &mut self,
        channel: ChannelId,
        proof: &[Claim],
        candidate: &Claim,
    ) -> Result<(), Revert> {
        let fixed = &candidate.state.fixed;
        let mut recovered = Vec::with_capacity(proof.len());
        for claim in proof {
            // The call has one fixed part: a proof's own one is not even sent.
            let state = State { fixed: fixed.clone(), ..claim.state.clone() };
            let claim = Claim { state, sigs: claim.sigs.clone() };
            let signers = self.signers(channel, &claim)?;
            recovered.push(Recovered { state: claim.state, signers });
        }
        // A transaction's calldata was decoded as a whole before; the view decodes the candidate only now.
        require(claim_decodes(candidate), Revert::Empty)?;
        let signers = self.signers(channel, candidate)?;
        let app = self.base.app(fixed.app_definition).ok_or(Revert::Empty)?;
        let candidate = Recovered { state: candidate.state.clone(), signers };
        apps::state_is_supported(app, channel, &recovered, &candidate, self.crypto)
    }

    /// `recoverVariablePart`: a bit for each participant who signed. Unknown signers and duplicates are ignored.
    fn signers(&mut self, channel: ChannelId, claim: &Claim) -> Result<U256, Revert> {
        if claim.sigs.is_empty() {
            return Ok(U256::ZERO);
        }
        let (of, hash) = self.crypto.hash_state(&claim.state);
        assert_eq!(of, channel, "a claim is about the channel that its fixed part names");
        let mut signers = U256::ZERO;
        for sig in &claim.sigs {
            let signer = self.recover(hash, sig)?;
            if let Some(index) = claim.state.fixed.index_of(signer) {
                require(index < 256, Revert::OVERFLOW)?;
                signers.set_bit(index, true);
            }
        }
        Ok(signers)
    }

    fn recover(&mut self, hash: B256, sig: &Signature) -> Result<Address, Revert> {
        self.crypto.recover(hash, sig).ok_or(Revert::INVALID_SIGNATURE)
    }
}

/// The largest `uint48`.
const U48_MAX: u64 = (1 << 48) - 1;
