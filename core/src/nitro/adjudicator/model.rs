//! The adjudicator's storage and its functions. Not here: accounts, blocks and gas, which belong to the chain around it.
//!
//! A call is executed on a `Frame`, a draft over the storage that is written back only on success: a revert changes
//! nothing because nothing was changed yet.
//!
//! Source: `ForceMove.sol`, `StatusManager.sol`, `MultiAssetHolder.sol`, `NitroAdjudicator.sol`, `ConsensusApp.sol`, as
//! deployed. Not modelled: re-entrant recipients, non-standard tokens, fewer than all of a token's transfers succeeding.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use alloy_primitives::{B256, U256};
use serde::{Deserialize, Serialize};

use super::transfer::compute_transfer;
use super::{Call, Claim, Log, Mode, Status, fingerprint};
use crate::nitro::outcome::{self, Allocation, Outcome, SingleAssetExit};
use crate::nitro::sign::{Recover, Signature, challenge_hash};
use crate::nitro::state::FixedPart;
use crate::types::{Address, Amount, ChainTime, ChannelId, Destination, TurnNum};

/// The adjudicator contract's storage. Two values are equal exactly when the contract's storage words are.
///
/// ```text
/// caller: debit the sender of a deposit ─> call(..) ─> Ok(Executed): credit its payouts, keep its logs
///                                                  └─> Err(Revert): undo the debit; the storage is as before
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjudicator {
    /// A missing entry is the zero word. Invariant: no entry is the zero word.
    status: BTreeMap<ChannelId, Status>,
    /// By asset and channel; a missing entry is zero. Invariant: no entry is zero.
    holdings: BTreeMap<(Address, ChannelId), Amount>,
    /// The only application with code.
    consensus_app: Address,
    /// Whether `transfer` type-checks `allocations[k]`, as the deployed contract does.
    quirk_allocs_k: bool,
}

/// What a successful call did, beside changing the storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// In order of emission.
    pub logs: Vec<Log>,
    /// Money that left the adjudicator, in order; payments of nothing are left out.
    pub payouts: Vec<Payout>,
}

/// Money that leaves the adjudicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Zero for the native token.
    pub asset: Address,
    /// Who receives it.
    pub to: Address,
    /// How much; never zero.
    pub amount: Amount,
}

/// Why a call failed, as the contract encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Revert {
    /// `Error(string)`.
    #[error("{0}")]
    Reason(&'static str),
    /// `Panic(uint256)`.
    #[error("panic 0x{0:02x}")]
    Panic(u8),
    /// No data: undecodable calldata, or a call to an address without code.
    #[error("reverted without a reason")]
    Empty,
}

impl Revert {
    /// Checked arithmetic.
    pub const OVERFLOW: Revert = Revert::Panic(0x11);
    /// Array index out of bounds.
    pub const OUT_OF_BOUNDS: Revert = Revert::Panic(0x32);
    /// `deposit` into an address instead of a channel.
    pub const EXTERNAL_DEPOSIT: Revert = Revert::Reason("Deposit to external destination");
    /// `deposit` decided on other holdings.
    pub const HELD_NOT_EXPECTED: Revert = Revert::Reason("held != expectedHeld");
    /// `challenge` below the recorded turn.
    pub const TURN_DECREASED: Revert = Revert::Reason("turnNumRecord decreased.");
    /// `challenge` during a challenge, or `checkpoint`, at or below the recorded turn.
    pub const TURN_NOT_INCREASED: Revert = Revert::Reason("turnNumRecord not increased.");
    /// The outcome is final already.
    pub const FINALIZED: Revert = Revert::Reason("Channel finalized.");
    /// The outcome is not final yet.
    pub const NOT_FINALIZED: Revert = Revert::Reason("Channel not finalized.");
    /// The challenge message was signed by an outsider.
    pub const OUTSIDER: Revert = Revert::Reason("Challenger is not a participant");
    /// A signature that recovers to nobody.
    pub const INVALID_SIGNATURE: Revert = Revert::Reason("Invalid signature");
    /// `conclude` of a state that is not final.
    pub const MUST_BE_FINAL: Revert = Revert::Reason("State must be final");
    /// Somebody's signature is missing.
    pub const NOT_UNANIMOUS: Revert = Revert::Reason("!unanimous");
    /// The consensus application takes no proof.
    pub const PROOF_NOT_EMPTY: Revert = Revert::Reason("|proof|!=0");
    /// The outcome or state hash is not what the channel finalized with.
    pub const FINGERPRINT: Revert = Revert::Reason("incorrect fingerprint");
    /// `transfer` with indices that do not strictly increase.
    pub const UNSORTED: Revert = Revert::Reason("Indices must be sorted");
    /// A transfer met a guarantee.
    pub const GUARANTEE: Revert = Revert::Reason("cannot transfer a guarantee");
    /// A recipient of native tokens reverted.
    pub const ETH_REFUSED: Revert = Revert::Reason("Could not transfer ETH");
    /// OpenZeppelin's token, when an index without an allocation pays nothing to nobody.
    pub const TOKEN_TO_ZERO: Revert = Revert::Reason("ERC20: transfer to the zero address");
}

impl Adjudicator {
    /// A freshly deployed adjudicator, with the deployed contract's quirk, next to a consensus application.
    pub fn new(consensus_app: Address) -> Adjudicator {
        Adjudicator {
            status: BTreeMap::new(),
            holdings: BTreeMap::new(),
            consensus_app,
            quirk_allocs_k: true,
        }
    }

    /// The same with the type check of `transfer` as deployed (`true`) or repaired (`false`).
    pub fn with_quirk_allocs_k(mut self, as_deployed: bool) -> Adjudicator {
        self.quirk_allocs_k = as_deployed;
        self
    }

    /// Whether `transfer` behaves as deployed; see [`compute_transfer`].
    pub fn quirk_allocs_k(&self) -> bool {
        self.quirk_allocs_k
    }

    /// The consensus application's address.
    pub fn consensus_app(&self) -> Address {
        self.consensus_app
    }

    /// `statusOf(channel)`: zeros for a channel without a record.
    pub fn status(&self, channel: ChannelId) -> Status {
        self.status.get(&channel).copied().unwrap_or(NO_RECORD)
    }

    /// The channel's mode at a block's time.
    pub fn mode(&self, channel: ChannelId, now: ChainTime) -> Mode {
        self.status(channel).mode(now)
    }

    /// `holdings(asset, channel)`.
    pub fn held(&self, asset: Address, channel: ChannelId) -> Amount {
        self.holdings.get(&(asset, channel)).copied().unwrap_or(Amount::ZERO)
    }

    /// All records that are not zero, by channel.
    pub fn statuses(&self) -> &BTreeMap<ChannelId, Status> {
        &self.status
    }

    /// All holdings that are not zero, by asset and channel.
    pub fn holdings(&self) -> &BTreeMap<(Address, ChannelId), Amount> {
        &self.holdings
    }

    /// Executes one call in a block of time `now`.
    ///
    /// A deposit's money is the caller's to take from the sender, the payouts the caller's to credit. `refuses` says which
    /// recipients revert when they are sent native tokens, even none.
    ///
    /// # Errors
    /// The contract's own revert; the storage is unchanged.
    pub fn call(
        &mut self,
        now: ChainTime,
        call: &Call,
        refuses: &dyn Fn(Address) -> bool,
        crypto: &mut dyn Recover,
    ) -> Result<Executed, Revert> {
        require(claims_decode(call), Revert::Empty)?;
        let mut frame = Frame {
            base: self,
            now,
            refuses,
            crypto,
            status: BTreeMap::new(),
            holdings: BTreeMap::new(),
            done: Executed::default(),
        };
        frame.run(call)?;
        let Frame { status, holdings, done, .. } = frame;
        for (channel, word) in status {
            put(&mut self.status, channel, word, NO_RECORD);
        }
        for (key, held) in holdings {
            put(&mut self.holdings, key, held, Amount::ZERO);
        }
        Ok(done)
    }
}

/// One call under execution: the storage below, what the call wrote above it, and what it did so far.
struct Frame<'a> {
    base: &'a Adjudicator,
    now: ChainTime,
    refuses: &'a dyn Fn(Address) -> bool,
    crypto: &'a mut dyn Recover,
    status: BTreeMap<ChannelId, Status>,
    holdings: BTreeMap<(Address, ChannelId), Amount>,
    done: Executed,
}

impl Frame<'_> {
    fn run(&mut self, call: &Call) -> Result<(), Revert> {
        match call {
            Call::Deposit { asset, channel, expected_held, amount } => {
                self.deposit(*asset, *channel, *expected_held, *amount)
            }
            Call::Challenge { proof, candidate, challenger_sig } => {
                self.challenge(proof, candidate, challenger_sig)
            }
            Call::Checkpoint { proof, candidate } => self.checkpoint(proof, candidate),
            Call::Conclude { candidate } => self.conclude(candidate).map(|_| ()),
            Call::ConcludeAndTransferAllAssets { candidate } => {
                let channel = self.conclude(candidate)?;
                self.transfer_all(channel, &candidate.state.outcome, B256::ZERO)
            }
            Call::TransferAllAssets { channel, outcome, state_hash } => {
                self.transfer_all(*channel, outcome, *state_hash)
            }
            Call::Transfer { asset_index, channel, outcome, state_hash, indices } => {
                self.transfer(*asset_index, *channel, outcome, *state_hash, indices)
            }
        }
    }

    /// Does not ask whether the channel exists or is over: money sent to a finalized channel waits for the next transfer.
    fn deposit(
        &mut self,
        asset: Address,
        channel: ChannelId,
        expected: Amount,
        amount: Amount,
    ) -> Result<(), Revert> {
        require(!Destination(channel.0).is_external(), Revert::EXTERNAL_DEPOSIT)?;
        let held = self.held(asset, channel);
        require(held == expected, Revert::HELD_NOT_EXPECTED)?;
        let held = held.checked_add(amount).ok_or(Revert::OVERFLOW)?;
        self.holdings.insert((asset, channel), held);
        self.done.logs.push(Log::Deposited { channel, asset, held });
        Ok(())
    }

    fn challenge(
        &mut self,
        proof: &[Claim],
        candidate: &Claim,
        challenger_sig: &Signature,
    ) -> Result<(), Revert> {
        let fixed = &candidate.state.fixed;
        let channel = fixed.channel_id();
        let (turn, record) = (candidate.state.turn, self.status(channel).turn);
        match self.mode(channel) {
            Mode::Open => require(turn >= record, Revert::TURN_DECREASED)?,
            Mode::Challenge => require(turn > record, Revert::TURN_NOT_INCREASED)?,
            Mode::Finalized => return Err(Revert::FINALIZED),
        }
        self.require_supported(channel, proof, candidate)?;
        let state_hash = candidate.state.hash_in(channel);
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

    fn checkpoint(&mut self, proof: &[Claim], candidate: &Claim) -> Result<(), Revert> {
        let channel = candidate.state.fixed.channel_id();
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
    fn conclude(&mut self, candidate: &Claim) -> Result<ChannelId, Revert> {
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

    fn transfer(
        &mut self,
        asset_index: u64,
        channel: ChannelId,
        outcome: &Outcome,
        state_hash: B256,
        indices: &[u64],
    ) -> Result<(), Revert> {
        require(indices.is_sorted_by(|a, b| a < b), Revert::UNSORTED)?;
        self.require_final_outcome(channel, outcome, state_hash)?;
        require(exits_decode(outcome), Revert::Empty)?;
        let mut outcome = outcome.clone();
        let slot = usize::try_from(asset_index).ok().and_then(|i| outcome.get_mut(i));
        let exit: &mut SingleAssetExit = slot.ok_or(Revert::OUT_OF_BOUNDS)?;

        let asset = exit.asset;
        let before = self.held(asset, channel);
        let transfer =
            compute_transfer(before, &exit.allocations, indices, self.base.quirk_allocs_k)?;
        let after = before.checked_sub(transfer.total).ok_or(Revert::OVERFLOW)?;
        exit.allocations = transfer.allocations;
        self.holdings.insert((asset, channel), after);
        self.set_outcome(channel, &outcome, state_hash);
        self.done.logs.push(Log::AllocationUpdated { channel, asset_index, before, after });
        self.pay(asset, &transfer.exit)
    }

    /// Deletes the record when everything was paid: old states of the channel are valid again afterwards.
    fn transfer_all(
        &mut self,
        channel: ChannelId,
        outcome: &Outcome,
        state_hash: B256,
    ) -> Result<(), Revert> {
        self.require_final_outcome(channel, outcome, state_hash)?;
        let mut rest = outcome.clone();
        let mut transfers = Vec::with_capacity(outcome.len());
        for exit in &mut rest {
            let before = self.held(exit.asset, channel);
            let transfer =
                compute_transfer(before, &exit.allocations, &[], self.base.quirk_allocs_k)?;
            exit.allocations.clone_from(&transfer.allocations);
            transfers.push((exit.asset, before, transfer));
        }
        // An asset that is listed twice was computed twice from the same holdings; here the second may not fit.
        for (asset_index, (asset, before, transfer)) in (0u64..).zip(&transfers) {
            let held = self.held(*asset, channel);
            let after = held.checked_sub(transfer.total).ok_or(Revert::OVERFLOW)?;
            self.holdings.insert((*asset, channel), after);
            let before = *before;
            self.done.logs.push(Log::AllocationUpdated { channel, asset_index, before, after });
        }
        if transfers.iter().all(|(_, _, transfer)| transfer.all_paid) {
            self.status.insert(channel, NO_RECORD);
        } else {
            self.set_outcome(channel, &rest, state_hash);
        }
        transfers.iter().try_for_each(|(asset, _, transfer)| self.pay(*asset, &transfer.exit))
    }

    fn pay(&mut self, asset: Address, exit: &[Allocation]) -> Result<(), Revert> {
        for Allocation { destination, amount, .. } in exit {
            let amount = *amount;
            let Some(to) = destination.address() else {
                let channel = ChannelId(destination.0);
                let credited = self.held(asset, channel).checked_add(amount);
                self.holdings.insert((asset, channel), credited.ok_or(Revert::OVERFLOW)?);
                continue;
            };
            if asset.is_zero() {
                require(!(self.refuses)(to), Revert::ETH_REFUSED)?;
            } else {
                require(!to.is_zero(), Revert::TOKEN_TO_ZERO)?;
            }
            if !amount.is_zero() {
                self.done.payouts.push(Payout { asset, to, amount });
            }
        }
        Ok(())
    }

    /// `_requireStateSupported`: signatures of the proof, then of the candidate, then the application's opinion.
    fn require_supported(
        &mut self,
        channel: ChannelId,
        proof: &[Claim],
        candidate: &Claim,
    ) -> Result<(), Revert> {
        let fixed = &candidate.state.fixed;
        for claim in proof {
            // The call has one fixed part: a proof's own one is not even sent.
            let state = super::State { fixed: fixed.clone(), ..claim.state.clone() };
            self.signers(channel, &Claim { state, sigs: claim.sigs.clone() })?;
        }
        let signers = self.signers(channel, candidate)?;
        require(fixed.app_definition == self.base.consensus_app, Revert::Empty)?;
        require(proof.is_empty(), Revert::PROOF_NOT_EMPTY)?;
        require(is_unanimous(fixed, signers), Revert::NOT_UNANIMOUS)
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

    fn require_final_outcome(
        &self,
        channel: ChannelId,
        outcome: &Outcome,
        state_hash: B256,
    ) -> Result<(), Revert> {
        require(self.mode(channel) == Mode::Finalized, Revert::NOT_FINALIZED)?;
        let claimed = fingerprint(state_hash, outcome::hash(outcome));
        require(self.status(channel).fingerprint == claimed, Revert::FINGERPRINT)
    }

    fn set_outcome(&mut self, channel: ChannelId, outcome: &Outcome, state_hash: B256) {
        let fingerprint = fingerprint(state_hash, outcome::hash(outcome));
        let status = Status { fingerprint, ..self.status(channel) };
        self.status.insert(channel, status);
    }

    fn status(&self, channel: ChannelId) -> Status {
        self.status.get(&channel).copied().unwrap_or_else(|| self.base.status(channel))
    }

    fn mode(&self, channel: ChannelId) -> Mode {
        self.status(channel).mode(self.now)
    }

    fn held(&self, asset: Address, channel: ChannelId) -> Amount {
        let key = (asset, channel);
        self.holdings.get(&key).copied().unwrap_or_else(|| self.base.held(asset, channel))
    }
}

fn require(holds: bool, revert: Revert) -> Result<(), Revert> {
    if holds { Ok(()) } else { Err(revert) }
}

fn is_unanimous(fixed: &FixedPart, signers: U256) -> bool {
    signers.count_ones() == fixed.participants.len()
}

/// Whether the calldata decodes. `transfer` takes its outcome as bytes and decodes it later, after the fingerprint.
fn claims_decode(call: &Call) -> bool {
    let decodes = |claim: &Claim| exits_decode(&claim.state.outcome);
    match call {
        Call::Deposit { .. } | Call::Transfer { .. } => true,
        Call::Challenge { proof, candidate, .. } | Call::Checkpoint { proof, candidate } => {
            proof.iter().all(decodes) && decodes(candidate)
        }
        Call::Conclude { candidate } | Call::ConcludeAndTransferAllAssets { candidate } => {
            decodes(candidate)
        }
        Call::TransferAllAssets { outcome, .. } => exits_decode(outcome),
    }
}

/// `assetType` is a Solidity enum of four: the decoder reverts on anything else.
fn exits_decode(outcome: &Outcome) -> bool {
    outcome.iter().all(|exit| exit.asset_type <= 3)
}

fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V, zero: V) {
    if value == zero {
        map.remove(&key);
    } else {
        map.insert(key, value);
    }
}

/// The zero word of a channel that was never challenged, checkpointed or concluded, or was paid out in full.
const NO_RECORD: Status =
    Status { turn: TurnNum::PREFUND, finalizes_at: ChainTime(0), fingerprint: [0; 20] };

/// The largest `uint48`.
const U48_MAX: u64 = (1 << 48) - 1;
