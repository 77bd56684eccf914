//! Accounts beside the adjudicator: who owns what at one block.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::nitro::adjudicator::{Adjudicator, Revert};
use fairway_core::nitro::{Call, Log, Recover};
use fairway_core::types::{Address, Amount, ChainTime};

use super::Unavailable;
use super::lockstep::{Lockstep, Modelled};

/// The whole state of the chain after a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ledger {
    pub(super) adjudicator: Adjudicator,
    /// By asset and owner; zero is the native token.
    balances: BTreeMap<(Address, Address), Amount>,
    /// What the adjudicator's account owns, counted by payments and not by holdings, so that the two can be compared.
    escrow: BTreeMap<Address, Amount>,
    /// All that was ever minted, by asset.
    supply: BTreeMap<Address, Amount>,
    /// The deployed contracts beside the model, where the scenario wants them.
    lockstep: Option<Lockstep>,
}

/// One transaction as a block executes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tx<'a> {
    /// The block's time.
    pub(super) time: ChainTime,
    pub(super) from: Address,
    pub(super) call: &'a Call,
}

/// Why a mined transaction did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The contract refused.
    #[error("{0}")]
    Reverted(Revert),
    /// The sender does not own what the deposit moves; told before any reason of the contract.
    #[error("insufficient funds")]
    InsufficientFunds,
}

impl Ledger {
    pub(super) fn new(adjudicator: Adjudicator) -> Ledger {
        let (balances, escrow, supply) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ledger { adjudicator, balances, escrow, supply, lockstep: None }
    }

    /// Deploys the contracts, the adjudicator at `at`; every call goes to them too from now on.
    ///
    /// # Panics
    /// Something has happened already, which the contracts would not know.
    pub(super) fn deploy(&mut self, at: Address) -> Result<(), Unavailable> {
        assert!(self.adjudicator.statuses().is_empty(), "contracts are deployed at genesis");
        assert!(self.supply.is_empty(), "contracts are deployed before anybody owns anything");
        self.lockstep = Some(Lockstep::deploy(at, &self.adjudicator)?);
        Ok(())
    }

    pub(super) fn balance(&self, asset: Address, who: Address) -> Amount {
        self.balances.get(&(asset, who)).copied().unwrap_or(Amount::ZERO)
    }

    pub(super) fn mint(&mut self, asset: Address, who: Address, amount: Amount) {
        credit(&mut self.supply, asset, amount);
        credit(&mut self.balances, (asset, who), amount);
        if let Some(lockstep) = &mut self.lockstep {
            lockstep.mint(asset, who, amount);
        }
    }

    /// Executes one transaction; on failure nothing has changed.
    ///
    /// # Panics
    /// The contracts did something else.
    pub(super) fn execute(
        &mut self,
        tx: &Tx<'_>,
        refusing: &BTreeSet<Address>,
        crypto: &mut dyn Recover,
    ) -> Result<Vec<Log>, Failure> {
        let result = self.model(tx, refusing, crypto);
        if let Some(lockstep) = &mut self.lockstep {
            let modelled = Modelled {
                result: result.as_deref().map_err(|failure| *failure),
                adjudicator: &self.adjudicator,
                balances: &self.balances,
                escrow: &self.escrow,
            };
            lockstep.follow(tx, refusing, &modelled);
        }
        result
    }

    fn model(
        &mut self,
        &Tx { time, from, call }: &Tx<'_>,
        refusing: &BTreeSet<Address>,
        crypto: &mut dyn Recover,
    ) -> Result<Vec<Log>, Failure> {
        let deposit = match call {
            Call::Deposit { asset, amount, .. } => Some((*asset, *amount)),
            Call::Challenge { .. }
            | Call::Checkpoint { .. }
            | Call::Conclude { .. }
            | Call::ConcludeAndTransferAllAssets { .. }
            | Call::TransferAllAssets { .. }
            | Call::Transfer { .. }
            | Call::Reclaim(_)
            | Call::Approve { .. } => None,
        };
        if deposit.is_some_and(|(asset, amount)| self.balance(asset, from) < amount) {
            return Err(Failure::InsufficientFunds);
        }
        let refuses = |to| refusing.contains(&to);
        let done =
            self.adjudicator.call(time, call, &refuses, crypto).map_err(Failure::Reverted)?;
        if let Some((asset, amount)) = deposit {
            debit(&mut self.balances, (asset, from), amount);
            credit(&mut self.escrow, asset, amount);
        }
        for payout in done.payouts {
            debit(&mut self.escrow, payout.asset, payout.amount);
            credit(&mut self.balances, (payout.asset, payout.to), payout.amount);
        }
        Ok(done.logs)
    }

    pub(super) fn check_conservation(&self) -> Result<(), String> {
        let owned = totals(self.balances.iter().map(|((asset, _), amount)| (*asset, *amount)))?;
        let owed = totals(
            self.adjudicator.holdings().iter().map(|((asset, _), amount)| (*asset, *amount)),
        )?;
        let assets: BTreeSet<_> = [&owned, &owed, &self.escrow, &self.supply]
            .into_iter()
            .flat_map(|m| m.keys())
            .collect();
        for asset in assets {
            let of =
                |map: &BTreeMap<Address, Amount>| map.get(asset).copied().unwrap_or(Amount::ZERO);
            let (owned, owed) = (of(&owned), of(&owed));
            let (escrow, supply) = (of(&self.escrow), of(&self.supply));
            if owed != escrow {
                return Err(format!(
                    "asset {asset}: holdings are {owed}, the adjudicator owns {escrow}"
                ));
            }
            if owned.checked_add(escrow) != Some(supply) {
                return Err(format!(
                    "asset {asset}: accounts own {owned} and the adjudicator {escrow} of {supply}"
                ));
            }
        }
        Ok(())
    }

    /// Makes money out of nothing, for the test of [`Ledger::check_conservation`].
    #[cfg(test)]
    pub(super) fn forge(&mut self, asset: Address, who: Address, amount: Amount) {
        credit(&mut self.balances, (asset, who), amount);
    }
}

fn totals(
    amounts: impl Iterator<Item = (Address, Amount)>,
) -> Result<BTreeMap<Address, Amount>, String> {
    let mut totals = BTreeMap::<Address, Amount>::new();
    for (asset, amount) in amounts {
        let total = totals.entry(asset).or_default();
        *total =
            total.checked_add(amount).ok_or_else(|| format!("asset {asset}: more than 2^256"))?;
    }
    Ok(totals)
}

fn credit<K: Ord>(accounts: &mut BTreeMap<K, Amount>, key: K, amount: Amount) {
    let account = accounts.entry(key).or_default();
    *account = account.checked_add(amount).expect("an asset's supply is below 2^256");
}

fn debit<K: Ord>(accounts: &mut BTreeMap<K, Amount>, key: K, amount: Amount) {
    let account = accounts.entry(key).or_default();
    *account = account.checked_sub(amount).expect("only what is owned is moved");
}
