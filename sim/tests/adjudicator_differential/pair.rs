//! One call on both sides, and what must be equal after it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use fairway_core::nitro::adjudicator::{Adjudicator, Executed};
use fairway_core::nitro::{Call, Crypto, Log};
use fairway_core::types::{Amount, ChainTime};
use fairway_sim::evm::{self, Addresses, Contracts, Disagreement};
use serde::{Deserialize, Serialize};

use crate::package;

/// Who deposits and pays; owns [`SUPPLY`] of both assets.
pub const FUNDER: Address = Address::repeat_byte(0xf0);
/// A contract that takes no native tokens.
pub const REFUSER: Address = Address::repeat_byte(0x4e);
/// A token.
pub const TOKEN: Address = Address::repeat_byte(0x70);
/// Where the contracts are.
pub const ADJUDICATOR: Address = Address::repeat_byte(0xad);
/// The application of ledger channels.
pub const CONSENSUS_APP: Address = Address::repeat_byte(0xca);
/// The application of virtual channels.
pub const PAYMENT_APP: Address = Address::repeat_byte(0xba);
/// What the funder owns at first.
const SUPPLY: Amount = Amount::wei(1 << 40);

/// A call and the time of its block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub now: ChainTime,
    pub call: Call,
}

/// Both sides before the first call.
pub struct World {
    contracts: Contracts,
    model: Adjudicator,
}

impl World {
    pub fn deployed() -> World {
        package::installed();
        let addresses = Addresses {
            adjudicator: ADJUDICATOR,
            consensus_app: CONSENSUS_APP,
            payment_app: Some(PAYMENT_APP),
        };
        let mut contracts = Contracts::deploy(addresses).expect("the packages are installed");
        for asset in [Address::ZERO, TOKEN] {
            contracts.mint(asset, FUNDER, SUPPLY);
        }
        contracts.set_refusing(&BTreeSet::from([REFUSER]));
        let model = Adjudicator::new(CONSENSUS_APP).with_payment_app(PAYMENT_APP);
        World { contracts, model }
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

impl Pair {
    pub fn new(world: &World) -> Pair {
        let accounts = [((Address::ZERO, FUNDER), SUPPLY), ((TOKEN, FUNDER), SUPPLY)];
        Pair {
            contracts: world.contracts.clone(),
            model: world.model.clone(),
            accounts: accounts.into(),
        }
    }

    pub fn model(&self) -> &Adjudicator {
        &self.model
    }

    /// Calls both and compares everything.
    pub fn step(&mut self, step: &Step) -> Result<Agreed, Disagreement> {
        let refuses = |to| [REFUSER, ADJUDICATOR].contains(&to);
        if let Call::Challenge { proof, candidate, .. } | Call::Checkpoint { proof, candidate } =
            &step.call
        {
            let view = self.model.state_is_supported(proof, candidate, &mut Crypto::Real);
            let view = view.map_err(|revert| revert.to_string());
            evm::equal("stateIsSupported", &view, &self.contracts.is_supported(proof, candidate))?;
        }
        let modelled = self.model.call(step.now, &step.call, &refuses, &mut Crypto::Real);
        let executed = self.contracts.call(step.now, FUNDER, &step.call);
        let result = match modelled {
            Ok(done) => {
                self.book(&step.call, &done);
                Ok(done.logs)
            }
            Err(revert) => Err(revert.to_string()),
        };
        let modelled = result.as_deref().map_err(Clone::clone);
        evm::agree(&step.call, modelled, &executed, &self.model, &self.contracts)?;
        evm::agree_on_balances(&self.accounts, &self.contracts)?;
        Ok(Agreed { result })
    }

    fn book(&mut self, call: &Call, done: &Executed) {
        if let Call::Deposit { asset, amount, .. } = call {
            self.pay(*asset, FUNDER, ADJUDICATOR, *amount);
        }
        for payout in &done.payouts {
            self.pay(payout.asset, ADJUDICATOR, payout.to, payout.amount);
        }
    }

    fn pay(&mut self, asset: Address, from: Address, to: Address, amount: Amount) {
        let source = self.accounts.entry((asset, from)).or_default();
        *source = source.checked_sub(amount).expect("a model pays what it has");
        let target = self.accounts.entry((asset, to)).or_default();
        *target = target.checked_add(amount).expect("the supply is small");
    }
}

/// How a call that did not revert is counted.
pub const SUCCESS: &str = "ok";
