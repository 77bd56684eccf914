//! The deployed contracts beside the model: every call goes to both, and they must agree about all that it did.
//!
//! So everybody else may go on asking the model, whose types they speak.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::nitro::Log;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::types::{Address, Amount};

use super::ledger::{Failure, Tx};
use super::{DISAGREEMENT, Unavailable};
use crate::evm::{self, Addresses, Contracts, Disagreement};

/// The contracts after a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lockstep {
    contracts: Contracts,
}

/// The model's side after a transaction.
pub(super) struct Modelled<'a> {
    pub(super) result: Result<&'a [Log], Failure>,
    pub(super) adjudicator: &'a Adjudicator,
    /// By asset and owner.
    pub(super) balances: &'a BTreeMap<(Address, Address), Amount>,
    /// What the adjudicator's account owns, by asset.
    pub(super) escrow: &'a BTreeMap<Address, Amount>,
}

impl Lockstep {
    /// The contracts at the addresses where the model says that they are.
    pub(super) fn deploy(at: Address, model: &Adjudicator) -> Result<Lockstep, Unavailable> {
        let addresses = Addresses {
            adjudicator: at,
            consensus_app: model.consensus_app(),
            payment_app: model.payment_app(),
        };
        let deployed = Contracts::deploy(addresses);
        let contracts = deployed.map_err(|e| Unavailable::NoBytecode { why: e.to_string() })?;
        Ok(Lockstep { contracts })
    }

    pub(super) fn mint(&mut self, asset: Address, who: Address, amount: Amount) {
        self.contracts.mint(asset, who, amount);
    }

    /// Executes what the model has executed.
    ///
    /// # Panics
    /// The two disagree: then nothing that the run said about money can be believed.
    pub(super) fn follow(
        &mut self,
        tx: &Tx<'_>,
        refusing: &BTreeSet<Address>,
        modelled: &Modelled<'_>,
    ) {
        if let Err(disagreement) = self.execute(tx, refusing, modelled) {
            let call = serde_json::to_string(tx.call).expect("calls are plain data");
            panic!(
                "{DISAGREEMENT} about {} from {} at {}: {disagreement}\n{call}",
                evm::kind(tx.call),
                tx.from,
                tx.time.0,
            );
        }
    }

    fn execute(
        &mut self,
        tx: &Tx<'_>,
        refusing: &BTreeSet<Address>,
        modelled: &Modelled<'_>,
    ) -> Result<(), Disagreement> {
        self.contracts.set_refusing(refusing);
        let executed = self.contracts.call(tx.time, tx.from, tx.call);
        let result = match (modelled.result, &executed) {
            // The model looks at the sender's money first; the chain does so for native tokens, a token when it is asked to pay.
            (Err(Failure::InsufficientFunds), Err(reason)) => Err(reason.clone()),
            (result, _) => result.map_err(|failure| failure.to_string()),
        };
        evm::agree(tx.call, result, &executed, modelled.adjudicator, &self.contracts)?;
        evm::agree_on_balances(&self.owned(modelled), &self.contracts)
    }

    /// Who owns what, the adjudicator too.
    fn owned(&self, modelled: &Modelled<'_>) -> BTreeMap<(Address, Address), Amount> {
        let mut owned = modelled.balances.clone();
        for (asset, amount) in modelled.escrow {
            let account =
                owned.entry((*asset, self.contracts.addresses().adjudicator)).or_default();
            *account = account.checked_add(*amount).expect("an asset's supply is below 2^256");
        }
        owned
    }
}
