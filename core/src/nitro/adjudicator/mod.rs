//! The adjudicator contract as a pure value: its calls, with the deployed contract's checks in its own order, its revert
//! reasons and its logs, and the two applications that judge states for it.
//!
//! The simulated chain and the development chain run on this model; it never does I/O and knows no keys. The simulator's
//! test `adjudicator_differential` runs it against the deployed bytecode, call by call.
//!
//! ```text
//! mod.rs (this)         the vocabulary: calls, logs, status
//! model.rs              the storage; a call on a draft over it
//! force_move.rs         challenge, checkpoint, conclude; who signed
//! apps.rs               which states an application supports
//! multi_asset_holder.rs deposit, transfer, transferAllAssets, reclaim
//! transfer.rs           who is paid what
//! reclaim.rs            what becomes of a guarantee
//! revert.rs             the reasons
//! ```
//!
//! Source: `NitroAdjudicator.sol`, `ForceMove.sol`, `StatusManager.sol`, `MultiAssetHolder.sol`, `ConsensusApp.sol`,
//! `VirtualPaymentApp.sol`.

pub mod apps;
mod force_move;
pub mod model;
mod multi_asset_holder;
pub mod reclaim;
pub mod revert;
pub mod transfer;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::sign::{Recover, Signature};
use super::state::{SignedState, SignedStateError, State};
use crate::types::{Address, Amount, ChainTime, ChannelId, TurnNum};

pub use apps::App;
pub use model::{Adjudicator, Executed, Payout};
pub use reclaim::compute_reclaim;
pub use revert::Revert;
pub use transfer::{Transfer, compute_transfer};

/// A state with whatever signatures its submitter chose to add; the contract recovers the signers itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The state.
    pub state: State,
    /// In any order, possibly foreign, duplicated or garbage.
    pub sigs: Vec<Signature>,
}

impl From<&SignedState> for Claim {
    fn from(signed: &SignedState) -> Claim {
        Claim { state: signed.state().clone(), sigs: signed.sigs().values().copied().collect() }
    }
}

impl Claim {
    /// The state with those signatures that are a participant's.
    ///
    /// # Errors
    /// As [`SignedState::verify_unindexed`].
    pub fn checked(&self, crypto: &mut dyn Recover) -> Result<SignedState, SignedStateError> {
        SignedState::verify_unindexed(self.state.clone(), &self.sigs, crypto)
    }
}

/// A transaction's call. Every variant says what happens when it is submitted twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `deposit`. Twice: the second reverts `held != expectedHeld`, because the first one moved the holdings.
    Deposit {
        /// Zero for the native token.
        asset: Address,
        /// Who is funded.
        channel: ChannelId,
        /// The holdings that the depositor decided on.
        expected_held: Amount,
        /// How much is added.
        amount: Amount,
    },
    /// `challenge`. Twice: the second reverts `turnNumRecord not increased.` while the first one runs.
    Challenge {
        /// Support for the candidate, as the application wants it; empty for a consensus application.
        proof: Vec<Claim>,
        /// The state to finalize.
        candidate: Claim,
        /// Over the state hash and `"forceMove"`, by any participant.
        challenger_sig: Signature,
    },
    /// `checkpoint`. Twice: the second reverts `turnNumRecord not increased.`
    Checkpoint {
        /// Support for the candidate.
        proof: Vec<Claim>,
        /// The newer state.
        candidate: Claim,
    },
    /// `conclude`. Twice: the second reverts `Channel finalized.`
    Conclude {
        /// A final state signed by all.
        candidate: Claim,
    },
    /// `concludeAndTransferAllAssets`. Twice: after a full payout the status is deleted and the second would conclude an empty
    /// channel again, paying nothing; otherwise it reverts `Channel finalized.`
    ConcludeAndTransferAllAssets {
        /// A final state signed by all.
        candidate: Claim,
    },
    /// `transferAllAssets`. Twice: the second reverts, the status having been deleted or the fingerprint changed.
    TransferAllAssets {
        /// The finalized channel.
        channel: ChannelId,
        /// Its finalized outcome.
        outcome: Outcome,
        /// The finalized state's hash; zero after `conclude`.
        state_hash: B256,
    },
    /// `transfer`. Twice: the second reverts `incorrect fingerprint`, the first one having changed the outcome.
    Transfer {
        /// Position of the asset in the outcome.
        asset_index: u64,
        /// The finalized channel.
        channel: ChannelId,
        /// Its finalized outcome.
        outcome: Outcome,
        /// The finalized state's hash; zero after `conclude`.
        state_hash: B256,
        /// Which allocations to pay, strictly increasing.
        indices: Vec<u64>,
    },
    /// `reclaim`. Twice: the second reverts `incorrect fingerprint`, the first one having changed the source's outcome.
    Reclaim(ReclaimArgs),
    /// `approve` of a token, for as much as there may be: the contract takes a deposit of tokens out of its sender's account, and only
    /// what that sender deposits. No node wishes it; the chain service of a real chain calls it before a deposit that needs it. Twice: the
    /// second changes nothing.
    ///
    /// # Danger
    /// From then on the spender can take all tokens of the account. It is the pinned adjudicator, and nothing else.
    Approve {
        /// The token, which is what is called.
        asset: Address,
        /// The adjudicator.
        spender: Address,
    },
}

/// Which guarantee is turned into what its virtual channel says. The source is the ledger channel that gave the guarantee, the target
/// the virtual channel that it backs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimArgs {
    /// The ledger channel.
    pub source_channel: ChannelId,
    /// Its finalized state's hash; zero after `conclude`.
    pub source_state_hash: B256,
    /// Its finalized outcome.
    pub source_outcome: Outcome,
    /// Position of the guarantee's asset in that outcome.
    pub source_asset_index: u64,
    /// Position of the guarantee among that asset's allocations.
    pub index_of_target_in_source: u64,
    /// The virtual channel's finalized state's hash; zero after `conclude`.
    pub target_state_hash: B256,
    /// Its finalized outcome.
    pub target_outcome: Outcome,
    /// Position of the asset in that outcome.
    pub target_asset_index: u64,
}

/// A guarantee that a call reclaims, by its two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaimed {
    /// The ledger channel that gives it.
    pub ledger: ChannelId,
    /// The virtual channel that it backs.
    pub target: ChannelId,
}

impl Call {
    /// The channel that the call is about; the zero channel, which nobody has, where it is about none.
    pub fn channel(&self) -> ChannelId {
        match self {
            Call::Deposit { channel, .. }
            | Call::TransferAllAssets { channel, .. }
            | Call::Transfer { channel, .. } => *channel,
            Call::Reclaim(args) => args.source_channel,
            Call::Approve { .. } => ChannelId::default(),
            Call::Challenge { candidate, .. }
            | Call::Checkpoint { candidate, .. }
            | Call::Conclude { candidate }
            | Call::ConcludeAndTransferAllAssets { candidate } => {
                candidate.state.fixed.channel_id()
            }
        }
    }
}

impl Call {
    /// The candidate of a call whose logs do not repeat it: what an endpoint reads out of the calldata.
    pub fn unlogged_candidate(&self) -> Option<&Claim> {
        match self {
            Call::Checkpoint { candidate, .. }
            | Call::Conclude { candidate }
            | Call::ConcludeAndTransferAllAssets { candidate } => Some(candidate),
            Call::Deposit { .. }
            | Call::Challenge { .. }
            | Call::TransferAllAssets { .. }
            | Call::Transfer { .. }
            | Call::Reclaim(_)
            | Call::Approve { .. } => None,
        }
    }

    /// The guarantee that a call reclaims: its log names the ledger channel alone. Direct channels hold one asset, at index 0.
    pub fn unlogged_reclaim(&self) -> Option<Reclaimed> {
        let Call::Reclaim(args) = self else { return None };
        let slot = usize::try_from(args.index_of_target_in_source).ok()?;
        let exit = args.source_outcome.first().filter(|_| args.source_asset_index == 0)?;
        let target = ChannelId(exit.allocations.get(slot)?.destination.0);
        Some(Reclaimed { ledger: args.source_channel, target })
    }
}

/// What the contract emits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Log {
    /// `Deposited(channelId, asset, destinationHoldings)`.
    Deposited {
        /// The funded channel.
        channel: ChannelId,
        /// Zero for the native token.
        asset: Address,
        /// Holdings after the deposit.
        held: Amount,
    },
    /// `AllocationUpdated(channelId, assetIndex, initialHoldings, finalHoldings)`.
    AllocationUpdated {
        /// The channel that was paid out.
        channel: ChannelId,
        /// Position of the asset in the outcome.
        asset_index: u64,
        /// Holdings before.
        before: Amount,
        /// Holdings after, before any credit to a channel inside the adjudicator.
        after: Amount,
    },
    /// `ChallengeRegistered(channelId, finalizesAt, proof, candidate)`.
    ChallengeRegistered {
        /// The challenged channel.
        channel: ChannelId,
        /// When the candidate's outcome becomes final.
        finalizes_at: ChainTime,
        /// The candidate as submitted.
        candidate: Claim,
    },
    /// `ChallengeCleared(channelId, newTurnNumRecord)`.
    ChallengeCleared {
        /// The channel.
        channel: ChannelId,
        /// The turn that cleared it.
        turn: TurnNum,
    },
    /// `Checkpointed(channelId, newTurnNumRecord)`.
    Checkpointed {
        /// The channel.
        channel: ChannelId,
        /// The recorded turn.
        turn: TurnNum,
    },
    /// `Concluded(channelId, finalizesAt)`.
    Concluded {
        /// The channel.
        channel: ChannelId,
        /// The block's time: final at once.
        finalizes_at: ChainTime,
    },
    /// `Reclaimed(channelId, assetIndex)`.
    Reclaimed {
        /// The ledger channel whose guarantee was turned into its parties' shares.
        channel: ChannelId,
        /// Position of the asset in the outcome.
        asset_index: u64,
    },
}

impl Log {
    /// The channel that the log is about.
    pub fn channel(&self) -> ChannelId {
        match self {
            Log::Deposited { channel, .. }
            | Log::AllocationUpdated { channel, .. }
            | Log::ChallengeRegistered { channel, .. }
            | Log::ChallengeCleared { channel, .. }
            | Log::Checkpointed { channel, .. }
            | Log::Concluded { channel, .. }
            | Log::Reclaimed { channel, .. } => *channel,
        }
    }
}

/// Whether a channel can be challenged, is being challenged, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// No challenge runs.
    Open,
    /// A challenge runs until `finalizes_at`.
    Challenge,
    /// The outcome is final: `finalizes_at <= block.timestamp`.
    Finalized,
}

/// The contract's status word of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `turnNumRecord`.
    pub turn: TurnNum,
    /// Zero when no challenge was ever registered or the last one was cleared.
    pub finalizes_at: ChainTime,
    /// Low 160 bits of `keccak256(stateHash || outcomeHash)`.
    pub fingerprint: [u8; 20],
}

impl Status {
    /// 48 bits of turn, 48 bits of time, 160 bits of fingerprint, big-endian.
    pub fn word(&self) -> B256 {
        let mut word = B256::ZERO;
        word[..6].copy_from_slice(&self.turn.get().to_be_bytes()[2..]);
        word[6..12].copy_from_slice(&self.finalizes_at.0.to_be_bytes()[2..]);
        word[12..].copy_from_slice(&self.fingerprint);
        word
    }

    /// The mode at a block's time.
    pub fn mode(&self, now: ChainTime) -> Mode {
        match self.finalizes_at {
            ChainTime(0) => Mode::Open,
            at if at <= now => Mode::Finalized,
            ChainTime(_) => Mode::Challenge,
        }
    }
}

/// Low 160 bits of `keccak256(stateHash || outcomeHash)`. That of two zeros is not zero.
pub fn fingerprint(state_hash: B256, outcome_hash: B256) -> [u8; 20] {
    let mut preimage = [0u8; 64];
    preimage[..32].copy_from_slice(state_hash.as_slice());
    preimage[32..].copy_from_slice(outcome_hash.as_slice());
    let mut low = [0u8; 20];
    low.copy_from_slice(&keccak256(preimage)[12..]);
    low
}
