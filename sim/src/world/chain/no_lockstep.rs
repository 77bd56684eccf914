//! In the place of the contracts, in a build without an EVM: there never is one of these.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::nitro::Log;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::types::{Address, Amount};

use super::Unavailable;
use super::ledger::{Failure, Tx};

/// Nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lockstep {}

/// As with an EVM; nobody reads it.
#[expect(dead_code, reason = "read where there is an EVM")]
pub(super) struct Modelled<'a> {
    pub(super) result: Result<&'a [Log], Failure>,
    pub(super) adjudicator: &'a Adjudicator,
    pub(super) balances: &'a BTreeMap<(Address, Address), Amount>,
    pub(super) escrow: &'a BTreeMap<Address, Amount>,
}

impl Lockstep {
    pub(super) fn deploy(_at: Address, _model: &Adjudicator) -> Result<Lockstep, Unavailable> {
        Err(Unavailable::NotBuilt)
    }

    pub(super) fn mint(&mut self, _asset: Address, _who: Address, _amount: Amount) {
        match *self {}
    }

    pub(super) fn follow(
        &mut self,
        _tx: &Tx<'_>,
        _refusing: &BTreeSet<Address>,
        _modelled: &Modelled<'_>,
    ) {
        match *self {}
    }
}
