//! Accounts beside the adjudicator: native tokens alone.

use std::collections::BTreeMap;

use fairway_core::nitro::adjudicator::{Adjudicator, Revert};
use fairway_core::nitro::{Call, Log, Recover};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId};

use super::Accounts;

/// Who owns what.
pub struct Ledger {
    adjudicator: Adjudicator,
    balances: BTreeMap<Address, Amount>,
    /// All that was there at the start; `None` when it is 2^256 or more.
    supply: Option<Amount>,
    /// By channel.
    transactions: BTreeMap<ChannelId, u64>,
}

/// Why a transaction did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The contract refused.
    #[error(transparent)]
    Reverted(#[from] Revert),
    /// The sender does not own what the deposit moves.
    #[error("insufficient funds")]
    InsufficientFunds,
}

impl Ledger {
    /// Accounts at the start, and an adjudicator that holds nothing.
    pub fn new(
        consensus_app: Address,
        payment_app: Address,
        balances: BTreeMap<Address, Amount>,
    ) -> Ledger {
        let supply = sum(balances.values());
        let adjudicator = Adjudicator::new(consensus_app).with_payment_app(payment_app);
        Ledger { adjudicator, balances, supply, transactions: BTreeMap::new() }
    }

    /// Executes one call; on failure nothing has changed.
    ///
    /// # Errors
    /// [`Failure`], for the sender's receipt.
    pub fn execute(
        &mut self,
        time: ChainTime,
        from: Address,
        call: &Call,
        crypto: &mut dyn Recover,
    ) -> Result<Vec<Log>, Failure> {
        let count = self.transactions.entry(call.channel()).or_default();
        *count = count.saturating_add(1);
        let owned = self.balances.get(&from).copied().unwrap_or_default();
        let left = match call {
            Call::Deposit { asset, amount, .. } if *asset == Address::ZERO => {
                owned.checked_sub(*amount).ok_or(Failure::InsufficientFunds)?
            }
            // There are no tokens on this chain, so nobody owns any.
            Call::Deposit { .. } => return Err(Failure::InsufficientFunds),
            Call::Challenge { .. }
            | Call::Checkpoint { .. }
            | Call::Conclude { .. }
            | Call::ConcludeAndTransferAllAssets { .. }
            | Call::TransferAllAssets { .. }
            | Call::Transfer { .. }
            | Call::Reclaim(_)
            | Call::Approve { .. } => owned,
        };
        let done = self.adjudicator.call(time, call, &|_| false, crypto)?;
        self.balances.insert(from, left);
        for payout in done.payouts {
            let account = self.balances.entry(payout.to).or_default();
            // Cannot saturate below the supply; if it did, the sum below would no longer be the supply.
            *account = account.saturating_add(payout.amount);
        }
        Ok(done.logs)
    }

    /// Who owns what now, and whether it adds up.
    pub fn accounts(&self) -> Accounts {
        let held = self.adjudicator.holdings();
        let all = sum(self.balances.values().chain(held.values()));
        Accounts {
            balances: self.balances.clone(),
            holdings: held.iter().map(|((_, channel), amount)| (*channel, *amount)).collect(),
            is_conserved: all.is_some() && all == self.supply,
            transactions: self.transactions.clone(),
        }
    }
}

fn sum<'a>(mut amounts: impl Iterator<Item = &'a Amount>) -> Option<Amount> {
    amounts.try_fold(Amount::ZERO, |sum, amount| sum.checked_add(*amount))
}
