//! One call on both sides, and what must be equal after it.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::{Address, LogData, U256};
use fairway_core::nitro::adjudicator::{Adjudicator, Executed};
use fairway_core::nitro::{Call, Crypto, Log};
use fairway_core::types::{Amount, ChainTime};
use revm::database::{CacheDB, EmptyDB};
use serde::{Deserialize, Serialize};

use crate::contracts::{self, Addresses, Contracts, FUNDER, REFUSER, SUPPLY};

/// A call and the time of its block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub now: ChainTime,
    pub call: Call,
}

/// Both sides before the first call.
pub struct World {
    db: CacheDB<EmptyDB>,
    pub addresses: Addresses,
    model: Adjudicator,
}

impl World {
    pub fn deployed() -> World {
        let (db, addresses) = contracts::deploy();
        let model =
            Adjudicator::new(addresses.consensus_app).with_payment_app(addresses.payment_app);
        World { db, addresses, model }
    }

    /// The same with another rule in the model.
    pub fn with_quirk_allocs_k(mut self, as_deployed: bool) -> World {
        self.model = self.model.with_quirk_allocs_k(as_deployed);
        self
    }
}

/// The model's accounts: who owns what of which asset.
type Accounts = BTreeMap<(Address, Address), Amount>;

/// Both sides, equal so far.
pub struct Pair {
    contracts: Contracts,
    model: Adjudicator,
    accounts: Accounts,
    adjudicator: Address,
}

/// What both sides did.
pub struct Agreed {
    result: Result<Vec<Log>, String>,
}

impl Agreed {
    /// The logs of a call that succeeded.
    pub fn logs(&self) -> Option<&[Log]> {
        self.result.as_deref().ok()
    }

    /// [`SUCCESS`] or the reason of the revert.
    pub fn reason(&self) -> String {
        self.result.as_ref().map_or_else(Clone::clone, |_| SUCCESS.to_owned())
    }
}

/// The first thing that is not equal.
#[derive(Debug)]
pub struct Disagreement {
    what: &'static str,
    model: String,
    contract: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n   model: {}\ncontract: {}", self.what, self.model, self.contract)
    }
}

impl Pair {
    pub fn new(world: &World) -> Pair {
        let token = world.addresses.token;
        let supply = Amount::wei(SUPPLY);
        let accounts = [((Address::ZERO, FUNDER), supply), ((token, FUNDER), supply)];
        Pair {
            contracts: Contracts::new(world.db.clone(), world.addresses),
            model: world.model.clone(),
            accounts: accounts.into(),
            adjudicator: world.addresses.adjudicator,
        }
    }

    pub fn model(&self) -> &Adjudicator {
        &self.model
    }

    /// Calls both and compares everything.
    pub fn step(&mut self, step: &Step) -> Result<Agreed, Disagreement> {
        let refuses = |to| to == REFUSER || to == self.adjudicator;
        if let Call::Challenge { proof, candidate, .. } | Call::Checkpoint { proof, candidate } =
            &step.call
        {
            let view = self.model.state_is_supported(proof, candidate, &mut Crypto::Real);
            let view = view.map_err(|revert| revert.to_string());
            equal("stateIsSupported", &view, &self.contracts.is_supported(proof, candidate))?;
        }
        let modelled = self.model.call(step.now, &step.call, &refuses, &mut Crypto::Real);
        let executed = self.contracts.call(step.now, &step.call);
        let result = match modelled {
            Ok(done) => {
                self.book(&step.call, &done);
                Ok(done.logs)
            }
            Err(revert) => Err(revert.to_string()),
        };
        let encoded = |logs: &Vec<Log>| -> Vec<LogData> {
            logs.iter().map(|log| contracts::log_of(log, &step.call)).collect()
        };
        let expected = result.as_ref().map(encoded).map_err(Clone::clone);
        equal("result and logs", &expected, &executed)?;
        let storage = contracts::storage_of(&self.model);
        equal("storage", &storage, &self.contracts.storage())?;
        for ((asset, who), amount) in &self.accounts {
            let owned: U256 = self.contracts.balance(*asset, *who);
            equal("balance", &(*asset, *who, amount.0), &(*asset, *who, owned))?;
        }
        Ok(Agreed { result })
    }

    fn book(&mut self, call: &Call, done: &Executed) {
        if let Call::Deposit { asset, amount, .. } = call {
            self.pay(*asset, FUNDER, self.adjudicator, *amount);
        }
        for payout in &done.payouts {
            self.pay(payout.asset, self.adjudicator, payout.to, payout.amount);
        }
    }

    fn pay(&mut self, asset: Address, from: Address, to: Address, amount: Amount) {
        let source = self.accounts.entry((asset, from)).or_default();
        *source = source.checked_sub(amount).expect("a model pays what it has");
        let target = self.accounts.entry((asset, to)).or_default();
        *target = target.checked_add(amount).expect("the supply is small");
    }
}

fn equal<T: fmt::Debug + PartialEq>(
    what: &'static str,
    model: &T,
    contract: &T,
) -> Result<(), Disagreement> {
    if model == contract {
        return Ok(());
    }
    Err(Disagreement { what, model: format!("{model:?}"), contract: format!("{contract:?}") })
}

/// The contract's function.
pub fn kind(call: &Call) -> &'static str {
    match call {
        Call::Deposit { .. } => "deposit",
        Call::Challenge { .. } => "challenge",
        Call::Checkpoint { .. } => "checkpoint",
        Call::Conclude { .. } => "conclude",
        Call::ConcludeAndTransferAllAssets { .. } => "concludeAndTransferAll",
        Call::TransferAllAssets { .. } => "transferAllAssets",
        Call::Transfer { .. } => "transfer",
        Call::Reclaim(_) => "reclaim",
    }
}

/// How a call that did not revert is counted.
pub const SUCCESS: &str = "ok";
