//! What must be equal after a call on the model and on the contracts.

use std::fmt;

use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::nitro::{Call, Log};
use fairway_core::types::{Address, Amount};

use super::calls;
use super::contracts::{Contracts, Executed};

/// The first thing that is not equal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n   model: {model}\ncontract: {contract}")]
pub struct Disagreement {
    /// What was compared.
    pub what: &'static str,
    /// What the model has.
    pub model: String,
    /// What the contracts have.
    pub contract: String,
}

/// Compares what one call did, and the adjudicator's storage after it: success with every log byte for byte or the reason of the
/// revert, each status word, each holding, and that there is nothing else.
///
/// # Errors
/// The first difference.
pub fn agree(
    call: &Call,
    modelled: Result<&[Log], String>,
    executed: &Executed,
    model: &Adjudicator,
    contracts: &Contracts,
) -> Result<(), Disagreement> {
    let encoded = |logs: &[Log]| logs.iter().map(|log| calls::log_of(log, call)).collect();
    equal("result and logs", &modelled.map(encoded), executed)?;
    equal("storage", &calls::storage_of(model), &contracts.storage())
}

/// Compares what people own; `owned` is the model's side by asset and owner.
///
/// # Errors
/// The first difference.
pub fn agree_on_balances<'a>(
    owned: impl IntoIterator<Item = (&'a (Address, Address), &'a Amount)>,
    contracts: &Contracts,
) -> Result<(), Disagreement> {
    owned.into_iter().try_for_each(|((asset, who), amount)| {
        let found = contracts.balance(*asset, *who);
        equal("balance", &(*asset, *who, *amount), &(*asset, *who, found))
    })
}

/// Compares one thing.
///
/// # Errors
/// They differ.
pub fn equal<T: fmt::Debug + PartialEq>(
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
        Call::ConcludeAndTransferAllAssets { .. } => "concludeAndTransferAllAssets",
        Call::TransferAllAssets { .. } => "transferAllAssets",
        Call::Transfer { .. } => "transfer",
        Call::Reclaim(_) => "reclaim",
        Call::Approve { .. } => "approve",
    }
}
