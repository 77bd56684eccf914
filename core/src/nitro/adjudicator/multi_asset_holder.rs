//! Deposits, transfers and reclaims: everything that moves or reassigns money.
//!
//! Source: `MultiAssetHolder.sol`; `transferAllAssets` is from `NitroAdjudicator.sol`.

use alloc::vec::Vec;

use alloy_primitives::B256;

use super::model::{Frame, NO_RECORD, Payout, exits_decode};
use super::reclaim::{at, compute_reclaim};
use super::revert::{Revert, require};
use super::transfer::compute_transfer;
use super::{Log, Mode, ReclaimArgs, Status, fingerprint};
use crate::nitro::outcome::{self, Allocation, AllocationType, Outcome, SingleAssetExit};
use crate::types::{Address, Amount, ChannelId, Destination};

impl Frame<'_> {
    /// Does not ask whether the channel exists or is over: money sent to a finalized channel waits for the next transfer.
    pub(super) fn deposit(
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

    pub(super) fn transfer(
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
            compute_transfer(before, &exit.allocations, indices, self.base.quirk_allocs_k())?;
        let after = before.checked_sub(transfer.total).ok_or(Revert::OVERFLOW)?;
        exit.allocations = transfer.allocations;
        self.holdings.insert((asset, channel), after);
        self.set_outcome(channel, &outcome, state_hash);
        self.done.logs.push(Log::AllocationUpdated { channel, asset_index, before, after });
        self.pay(asset, &transfer.exit)
    }

    /// Deletes the record when everything was paid: old states of the channel are valid again afterwards.
    pub(super) fn transfer_all(
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
                compute_transfer(before, &exit.allocations, &[], self.base.quirk_allocs_k())?;
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

    /// Moves what a finalized virtual channel says about a guarantee into the finalized ledger channel that gave it. Touches
    /// neither holdings nor the virtual channel, so each ledger channel that guarantees it can do the same.
    pub(super) fn reclaim(&mut self, args: &ReclaimArgs) -> Result<(), Revert> {
        let ReclaimArgs { source_channel, source_asset_index, .. } = *args;
        self.require_final_outcome(source_channel, &args.source_outcome, args.source_state_hash)?;
        require(exits_decode(&args.source_outcome), Revert::Empty)?;
        require(exits_decode(&args.target_outcome), Revert::Empty)?;
        let mut outcome = args.source_outcome.clone();
        let source = at(&outcome, source_asset_index)?;
        let guarantee = at(&source.allocations, args.index_of_target_in_source)?;
        let is_guarantee = guarantee.allocation_type == AllocationType::GUARANTEE;
        require(is_guarantee, Revert::NOT_A_GUARANTEE)?;
        let target_channel = ChannelId(guarantee.destination.0);
        let target = at(&args.target_outcome, args.target_asset_index)?;
        require(target.asset == source.asset, Revert::OTHER_ASSET)?;
        self.require_final_outcome(target_channel, &args.target_outcome, args.target_state_hash)?;

        let allocations = compute_reclaim(
            &source.allocations,
            &target.allocations,
            args.index_of_target_in_source,
        )?;
        let slot = usize::try_from(source_asset_index).ok().and_then(|i| outcome.get_mut(i));
        slot.ok_or(Revert::OUT_OF_BOUNDS)?.allocations = allocations;
        self.set_outcome(source_channel, &outcome, args.source_state_hash);
        let (channel, asset_index) = (source_channel, source_asset_index);
        self.done.logs.push(Log::Reclaimed { channel, asset_index });
        Ok(())
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
}
