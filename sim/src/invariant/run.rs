//! What every invariant needs to know of a run, what a party releases, and how a violation is made.

use std::collections::BTreeMap;

use fairway_core::nitro::{Call, Claim, FixedPart, Signature, State};
use fairway_core::types::{Address, Amount, ChannelId};
use fairway_core::wire::StateClaim;

use super::{Kind, Setting, Violation};
use crate::observe::{Observed, PartyId};

/// The setting with an index. Shared by all invariants of a run; nothing in it changes.
#[derive(Debug)]
pub(super) struct Run {
    pub setting: Setting,
    by_address: BTreeMap<Address, PartyId>,
}

impl Run {
    pub fn new(setting: &Setting) -> Run {
        let parties = setting.parties.iter().enumerate();
        let by_address = parties.map(|(i, p)| (p.address, PartyId(i))).collect();
        Run { setting: setting.clone(), by_address }
    }

    /// How many parties there are.
    pub fn count(&self) -> usize {
        self.setting.parties.len()
    }

    /// Whether the party runs our code and nothing else.
    pub fn honest(&self, party: PartyId) -> bool {
        self.setting.parties.get(party.0).is_some_and(|p| p.honest)
    }

    /// The party's channel address.
    pub fn address(&self, party: PartyId) -> Address {
        self.setting.parties.get(party.0).map_or(Address::ZERO, |p| p.address)
    }

    /// The party's name in the scenario.
    pub fn name(&self, party: PartyId) -> &str {
        self.setting.parties.get(party.0).map_or("nobody", |p| &p.name)
    }

    /// Who has this channel address.
    pub fn party(&self, address: Address) -> Option<PartyId> {
        self.by_address.get(&address).copied()
    }

    /// Blocks after which this party counts a fact.
    pub fn confirmations(&self, party: PartyId) -> u64 {
        let pins = self.setting.parties.get(party.0).map(|p| u64::from(p.pins.confirmations));
        pins.unwrap_or(self.setting.confirmations)
    }

    /// The id of the channel with this fixed part.
    pub fn channel(&self, fixed: &FixedPart) -> ChannelId {
        self.setting.memo.channel_of(fixed)
    }

    /// One `T` for each party.
    pub fn each<T: Default>(&self) -> Vec<T> {
        (0..self.count()).map(|_| T::default()).collect()
    }
}

/// A state that an honest party lets out under its own signature.
#[derive(Clone, Copy)]
pub(super) struct Released<'a> {
    /// Who.
    pub by: PartyId,
    /// The party's index among the participants.
    pub index: usize,
    /// What.
    pub state: &'a State,
    /// The signature where the message says whose it is. A transaction does not; but what a participant submits counts as signed by
    /// it, because a claim without its signature is worth nothing on chain.
    pub sig: Option<Signature>,
}

/// Every state that an honest party releases with this observation.
pub(super) fn released<'a>(
    run: &'a Run,
    seen: &Observed<'a>,
) -> impl Iterator<Item = Released<'a>> {
    let (by, claims, candidate) = match seen {
        Observed::Sent { node, wire: Some(wire), .. } if run.honest(*node) => {
            (*node, Some(wire.claims()), None)
        }
        Observed::Submitted { node, call } if run.honest(*node) => (*node, None, candidate(call)),
        _ => (PartyId(usize::MAX), None, None),
    };
    let me = run.address(by);
    let sent = claims.into_iter().flatten().filter_map(move |claim| own(by, me, claim));
    let submitted = candidate.and_then(move |claim| {
        let index = claim.state.fixed.index_of(me)?;
        Some(Released { by, index, state: &claim.state, sig: None })
    });
    sent.chain(submitted)
}

fn own(by: PartyId, me: Address, claim: &StateClaim) -> Option<Released<'_>> {
    let index = claim.state.fixed.index_of(me)?;
    let (_, sig) = claim.sigs.iter().find(|(i, _)| usize::from(*i) == index)?;
    Some(Released { by, index, state: &claim.state, sig: Some(*sig) })
}

/// The state that a call puts before the contract.
pub(super) fn candidate(call: &Call) -> Option<&Claim> {
    match call {
        Call::Challenge { candidate, .. }
        | Call::Checkpoint { candidate, .. }
        | Call::Conclude { candidate }
        | Call::ConcludeAndTransferAllAssets { candidate } => Some(candidate),
        Call::Deposit { .. }
        | Call::TransferAllAssets { .. }
        | Call::Transfer { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => None,
    }
}

impl Violation {
    /// A safety violation by one party on one channel.
    pub(super) fn safety(
        invariant: &'static str,
        by: PartyId,
        channel: impl Into<Option<ChannelId>>,
        what: String,
    ) -> Violation {
        Violation {
            invariant: invariant.to_owned(),
            kind: Kind::Safety,
            by: Some(by),
            channel: channel.into(),
            what,
            loss: None,
        }
    }

    /// The same as a liveness violation.
    pub(super) fn liveness(self) -> Violation {
        Violation { kind: Kind::Liveness, ..self }
    }

    /// The same with a loss, unless it is nothing.
    pub(super) fn losing(self, who: PartyId, amount: Amount) -> Violation {
        Violation { loss: (!amount.is_zero()).then_some((who, amount)), ..self }
    }
}
