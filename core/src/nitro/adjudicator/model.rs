//! The adjudicator's storage and its functions. Not here: accounts, blocks and gas, which belong to the chain around it.
//!
//! A call is executed on a `Frame`, a draft over the storage that is written back only on success: a revert changes
//! nothing because nothing was changed yet.
//!
//! Source: `NitroAdjudicator.sol`, `StatusManager.sol`, as deployed. Not modelled: re-entrant recipients, a deposit whose value is
//! not its amount, assets that are no OpenZeppelin token, fewer than all of a token's transfers succeeding.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::apps::App;
use super::revert::{Revert, require};
use super::{Call, Claim, Log, Mode, Status};
use crate::nitro::outcome::Outcome;
use crate::nitro::sign::Recover;
use crate::types::{Address, Amount, ChainTime, ChannelId, TurnNum};

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
    /// The application of ledger channels.
    consensus_app: Address,
    /// Whether `transfer` type-checks `allocations[k]`, as the deployed contract does.
    quirk_allocs_k: bool,
    /// The application of payment channels, where one is deployed. All other addresses have no code.
    payment_app: Option<Address>,
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

impl Adjudicator {
    /// A freshly deployed adjudicator, with the deployed contract's quirk, next to a consensus application.
    pub fn new(consensus_app: Address) -> Adjudicator {
        Adjudicator {
            status: BTreeMap::new(),
            holdings: BTreeMap::new(),
            consensus_app,
            quirk_allocs_k: true,
            payment_app: None,
        }
    }

    /// The same next to a virtual payment application too.
    pub fn with_payment_app(mut self, payment_app: Address) -> Adjudicator {
        self.payment_app = Some(payment_app);
        self
    }

    /// The same with the type check of `transfer` as deployed (`true`) or repaired (`false`).
    pub fn with_quirk_allocs_k(mut self, as_deployed: bool) -> Adjudicator {
        self.quirk_allocs_k = as_deployed;
        self
    }

    /// The same with this status word of a channel, as a reader of the contract's logs knows it.
    pub fn with_status(mut self, channel: ChannelId, status: Status) -> Adjudicator {
        put(&mut self.status, channel, status, NO_RECORD);
        self
    }

    /// The same with these holdings of a channel.
    pub fn with_held(mut self, asset: Address, channel: ChannelId, held: Amount) -> Adjudicator {
        put(&mut self.holdings, (asset, channel), held, Amount::ZERO);
        self
    }

    /// Whether `transfer` behaves as deployed; see [`super::transfer::compute_transfer`].
    pub fn quirk_allocs_k(&self) -> bool {
        self.quirk_allocs_k
    }

    /// The consensus application's address.
    pub fn consensus_app(&self) -> Address {
        self.consensus_app
    }

    /// The virtual payment application's address, where one is deployed.
    pub fn payment_app(&self) -> Option<Address> {
        self.payment_app
    }

    /// The application with code at `definition`.
    pub fn app(&self, definition: Address) -> Option<App> {
        if definition == self.consensus_app {
            return Some(App::Consensus);
        }
        (Some(definition) == self.payment_app).then_some(App::VirtualPayment)
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
        let mut frame = Frame::new(self, now, refuses, crypto);
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

    /// `stateIsSupported`: whether a challenge or checkpoint would take the candidate with this proof.
    ///
    /// # Errors
    /// The application's revert, or that of a garbage signature.
    pub fn state_is_supported(
        &self,
        proof: &[Claim],
        candidate: &Claim,
        crypto: &mut dyn Recover,
    ) -> Result<(), Revert> {
        require(proof.iter().all(claim_decodes), Revert::Empty)?;
        let channel = candidate.state.fixed.channel_id();
        Frame::new(self, ChainTime(0), &|_| false, crypto)
            .require_supported(channel, proof, candidate)
    }
}

/// One call under execution: the storage below, what the call wrote above it, and what it did so far.
pub(super) struct Frame<'a> {
    pub(super) base: &'a Adjudicator,
    pub(super) now: ChainTime,
    pub(super) refuses: &'a dyn Fn(Address) -> bool,
    pub(super) crypto: &'a mut dyn Recover,
    pub(super) status: BTreeMap<ChannelId, Status>,
    pub(super) holdings: BTreeMap<(Address, ChannelId), Amount>,
    pub(super) done: Executed,
}

impl<'a> Frame<'a> {
    fn new(
        base: &'a Adjudicator,
        now: ChainTime,
        refuses: &'a dyn Fn(Address) -> bool,
        crypto: &'a mut dyn Recover,
    ) -> Frame<'a> {
        let (status, holdings) = (BTreeMap::new(), BTreeMap::new());
        Frame { base, now, refuses, crypto, status, holdings, done: Executed::default() }
    }

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
            Call::Reclaim(args) => self.reclaim(args),
            // A call of the token: this contract has no part in it.
            Call::Approve { .. } => Ok(()),
        }
    }

    pub(super) fn status(&self, channel: ChannelId) -> Status {
        self.status.get(&channel).copied().unwrap_or_else(|| self.base.status(channel))
    }

    pub(super) fn mode(&self, channel: ChannelId) -> Mode {
        self.status(channel).mode(self.now)
    }

    pub(super) fn held(&self, asset: Address, channel: ChannelId) -> Amount {
        let key = (asset, channel);
        self.holdings.get(&key).copied().unwrap_or_else(|| self.base.held(asset, channel))
    }
}

/// Whether the calldata decodes. `transfer` and `reclaim` take outcomes as bytes and decode them later, after a fingerprint.
fn claims_decode(call: &Call) -> bool {
    match call {
        Call::Deposit { .. } | Call::Transfer { .. } | Call::Reclaim(_) | Call::Approve { .. } => {
            true
        }
        Call::Challenge { proof, candidate, .. } | Call::Checkpoint { proof, candidate } => {
            proof.iter().chain([candidate]).all(claim_decodes)
        }
        Call::Conclude { candidate } | Call::ConcludeAndTransferAllAssets { candidate } => {
            claim_decodes(candidate)
        }
        Call::TransferAllAssets { outcome, .. } => exits_decode(outcome),
    }
}

pub(super) fn claim_decodes(claim: &Claim) -> bool {
    exits_decode(&claim.state.outcome)
}

/// `assetType` is a Solidity enum of four: the decoder reverts on anything else.
pub(super) fn exits_decode(outcome: &Outcome) -> bool {
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
pub(super) const NO_RECORD: Status =
    Status { turn: TurnNum::PREFUND, finalizes_at: ChainTime(0), fingerprint: [0; 20] };
