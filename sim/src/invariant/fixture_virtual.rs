//! A virtual channel over the fixture's parties: Alice pays Mallory, Bob stands between them.
//!
//! Alice guarantees it in the channel of the fixture, Bob in one that he has with Mallory.

use fairway_core::event::{Event, ObjectiveId, ObjectiveKind, Origin, Terms, VirtualTerms};
use fairway_core::ledger::{Guarantee, Layout};
use fairway_core::nitro::{Call, Claim, State, Voucher};
use fairway_core::types::{Address, ChannelId, TurnNum};
use fairway_core::virtual_channel;

use super::fixture::*;
use crate::observe::PartyId;

/// The agreement: up to 2 ETH.
pub fn virtual_terms() -> VirtualTerms {
    VirtualTerms {
        participants: [ALICE, BOB, MALLORY].map(address).to_vec(),
        nonce: 7,
        challenge_duration: 60,
        asset: Address::ZERO,
        amount: ether(2),
    }
}

/// The same without anybody between payer and payee.
pub fn direct_terms() -> VirtualTerms {
    VirtualTerms { participants: [ALICE, BOB].map(address).to_vec(), ..virtual_terms() }
}

/// The channel's id.
pub fn virtual_id(terms: &VirtualTerms) -> ChannelId {
    terms.fixed_part(PAYMENT_APP).channel_id()
}

/// Its state of a turn, in which so many ETH were paid.
pub fn virtual_state(terms: &VirtualTerms, turn: TurnNum, paid: u64) -> State {
    let outcome =
        virtual_channel::outcome(&terms.participants, terms.asset, terms.amount, ether(paid));
    State {
        fixed: terms.fixed_part(PAYMENT_APP),
        outcome: outcome.expect("no more than there is"),
        app_data: Default::default(),
        turn,
        is_final: turn == TurnNum::VIRTUAL_FINAL,
    }
}

/// Somebody takes part, with this ledger channel towards the payee.
pub fn takes_part(terms: &VirtualTerms, right: Option<ChannelId>) -> Event {
    let id = ObjectiveId { channel: virtual_id(terms), kind: ObjectiveKind::VirtualFund };
    Event::VirtualApproved { id, origin: Origin::Peer, terms: terms.clone(), right }
}

/// `me` holds everybody's signature on a state.
pub fn unanimous(state: &State, me: PartyId, others: &[PartyId]) -> Vec<Event> {
    let mut events = vec![signs(state, me)];
    events.extend(others.iter().map(|p| receives(state, *p)));
    events
}

/// The payer's promise of so many ETH, as the payee logs it.
pub fn promised(terms: &VirtualTerms, paid: u64) -> Event {
    let voucher = Voucher::sign(virtual_id(terms), ether(paid), &key(ALICE));
    Event::VoucherReceived { voucher }
}

/// The channel is closed in agreement, and the guarantee given back.
pub fn given_back(terms: &VirtualTerms) -> Vec<Event> {
    let id = ObjectiveId { channel: virtual_id(terms), kind: ObjectiveKind::VirtualDefund };
    let approved = Event::ObjectiveApproved { id, origin: Origin::Peer, terms: None };
    vec![approved, Event::ObjectiveCompleted { id }]
}

/// The challenge with which Bob redeems Alice's voucher of so many ETH in a virtual channel directly between them.
pub fn redeems(terms: &VirtualTerms, paid: u64) -> Call {
    let voucher = Voucher::sign(virtual_id(terms), ether(paid), &key(ALICE));
    let base = virtual_state(terms, TurnNum::REDEMPTION, paid);
    let state = State { app_data: voucher.redemption_data(), ..base };
    let postfund = virtual_state(terms, TurnNum::POSTFUND, 0);
    let signed_by = |state: &State, by: &[PartyId]| Claim {
        state: state.clone(),
        sigs: by.iter().map(|p| key(*p).sign(state.hash())).collect(),
    };
    Call::Challenge {
        proof: vec![signed_by(&postfund, &[ALICE, BOB])],
        candidate: signed_by(&state, &[BOB]),
        challenger_sig: challenger_sig(&state, BOB),
    }
}

/// The ledger channel of Mallory and Bob.
pub fn right_terms() -> Terms {
    Terms { participants: [MALLORY, BOB].map(address), nonce: 2, ..terms() }
}

/// A ledger channel's state with a guarantee of the whole amount, `left` towards the payer.
pub fn guaranteed(
    base: &State,
    balances: [u64; 2],
    terms: &VirtualTerms,
    left: PartyId,
    right: PartyId,
) -> State {
    let participants = &base.fixed.participants;
    let parties = [participants[0], participants[1]];
    let (left, right) = (address(left), address(right));
    let guarantee = Guarantee { target: virtual_id(terms), amount: terms.amount, left, right };
    let layout = Layout {
        asset: Address::ZERO,
        guarantees: [(guarantee.target, guarantee)].into(),
        parties,
        balances: balances.map(ether),
    };
    State { outcome: layout.outcome(), ..base.clone() }
}

/// The same in go-nitro's order: guarantees last.
pub fn guaranteed_last(state: &State) -> State {
    let mut state = state.clone();
    state.outcome[0].allocations.sort_by_key(|a| a.allocation_type);
    state
}
