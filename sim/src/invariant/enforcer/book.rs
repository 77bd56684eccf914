//! What a node's durable log is worth: its states with their signatures, its vouchers, and what guarantees have cost and brought so far.
//!
//! Another fold than the node's and than [`view`](super::super::view): this one keeps the states themselves, because a contract wants them.

use std::collections::BTreeMap;

use fairway_core::event::{Event, VirtualTerms};
use fairway_core::nitro::{SignedState, State};
use fairway_core::types::{Address, Amount, ChannelId, TurnNum};

use super::super::shares::{Guaranteed, Shares, guarantees_of};
use super::super::virtual_view::payee_part;

/// One node's durable log.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Whose.
    pub me: Address,
    /// Its direct channels.
    pub ledgers: BTreeMap<ChannelId, Ledger>,
    /// Its virtual channels.
    pub virtuals: BTreeMap<ChannelId, Virtual>,
}

/// One direct channel.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The node's index.
    pub me: usize,
    /// The first state that everybody signed: the oldest that somebody may challenge with.
    pub opening: Option<SignedState>,
    /// The newest one.
    pub supported: Option<SignedState>,
    /// Newer states with some signatures.
    pub newer: Vec<SignedState>,
}

/// One virtual channel.
#[derive(Debug)]
pub(super) struct Virtual {
    /// The node's index: 0 is the payer, the last one the payee.
    pub me: usize,
    /// What was agreed.
    pub terms: VirtualTerms,
    /// Every state that anybody has signed.
    pub states: Vec<SignedState>,
    /// The largest voucher that was issued or received.
    pub voucher: Amount,
    /// What has come to the node's balances when guarantees were given back.
    pub gained: Amount,
    /// What has left them for guarantees.
    pub given: Amount,
}

impl Virtual {
    /// Whether the node is paid.
    pub fn is_payee(&self) -> bool {
        self.me + 1 == self.terms.participants.len()
    }

    /// The state of a turn that everybody has signed.
    pub fn unanimous(&self, turn: TurnNum) -> Option<&SignedState> {
        self.states.iter().find(|s| s.turn() == turn && s.is_unanimous())
    }

    /// What the payee gets by the agreed final state.
    pub fn agreed(&self) -> Option<Amount> {
        payee_part(&self.unanimous(TurnNum::VIRTUAL_FINAL)?.state().outcome)
    }

    /// What a guarantee is worth to the node when the payee gets `paid`.
    pub fn share(&self, guarantee: &Guaranteed, me: usize, paid: Amount) -> Amount {
        if guarantee.left == me { guarantee.amount.saturating_sub(paid) } else { paid }
    }
}

impl Book {
    /// The empty log of `me`.
    pub fn new(me: Address) -> Book {
        Book { me, ..Book::default() }
    }

    /// Whether an event means anything here.
    pub fn matters(event: &Event) -> bool {
        matches!(
            event,
            Event::ObjectiveApproved { terms: Some(_), .. }
                | Event::VirtualApproved { .. }
                | Event::StateSigned { .. }
                | Event::StateReceived { .. }
                | Event::StatePublished { .. }
                | Event::VoucherSigned { .. }
                | Event::VoucherReceived { .. }
        )
    }

    /// Takes one event into account. `decided` says what the chain has decided about virtual channels.
    pub fn fold(&mut self, event: &Event, decided: &BTreeMap<ChannelId, Amount>) {
        match event {
            Event::ObjectiveApproved { id, terms: Some(terms), .. } => {
                let me = terms.participants.iter().position(|p| *p == self.me);
                let me = me.unwrap_or(usize::MAX);
                let new = Ledger { me, opening: None, supported: None, newer: Vec::new() };
                self.ledgers.entry(id.channel).or_insert(new);
            }
            Event::VirtualApproved { id, terms, .. } => {
                let me = terms.participants.iter().position(|p| *p == self.me);
                let new = Virtual {
                    me: me.unwrap_or(usize::MAX),
                    terms: terms.clone(),
                    states: Vec::new(),
                    voucher: Amount::ZERO,
                    gained: Amount::ZERO,
                    given: Amount::ZERO,
                };
                self.virtuals.entry(id.channel).or_insert(new);
            }
            Event::StateSigned { state, .. }
            | Event::StateReceived { state, .. }
            | Event::StatePublished { state } => self.merge(state, decided),
            Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
                if let Some(v) = self.virtuals.get_mut(&voucher.channel) {
                    v.voucher = v.voucher.max(voucher.amount);
                }
            }
            _ => {}
        }
    }

    fn merge(&mut self, signed: &SignedState, decided: &BTreeMap<ChannelId, Amount>) {
        if let Some(v) = self.virtuals.get_mut(&signed.channel()) {
            match v.states.iter_mut().find(|s| s.hash() == signed.hash()) {
                Some(known) => drop(known.merge(signed)),
                None => v.states.push(signed.clone()),
            }
            return;
        }
        let Some(ledger) = self.ledgers.get_mut(&signed.channel()) else { return };
        if ledger.supported.as_ref().is_some_and(|s| signed.turn() <= s.turn()) {
            return;
        }
        let at = ledger.newer.iter().position(|s| s.hash() == signed.hash());
        let at = at.unwrap_or_else(|| {
            ledger.newer.push(signed.clone());
            ledger.newer.len() - 1
        });
        ledger.newer[at].merge(signed);
        if !ledger.newer[at].is_unanimous() {
            return;
        }
        let now = ledger.newer.swap_remove(at);
        ledger.newer.retain(|s| s.turn() > now.turn());
        let (before, me) = (ledger.supported.replace(now.clone()), ledger.me);
        match before {
            Some(before) => self.settle(before.state(), now.state(), me, decided),
            None => ledger.opening = Some(now),
        }
    }

    /// What the change from one supported state to the next costs or brings by its guarantees.
    fn settle(
        &mut self,
        before: &State,
        after: &State,
        me: usize,
        decided: &BTreeMap<ChannelId, Amount>,
    ) {
        for (target, [gained, given]) in self.moved(before, after, me, decided) {
            if let Some(v) = self.virtuals.get_mut(&target) {
                v.gained = v.gained.saturating_add(gained);
                v.given = v.given.saturating_add(given);
            }
        }
    }

    /// What the guarantees that come and go between two states of a ledger channel bring to the node, and what they take.
    pub fn moved(
        &self,
        before: &State,
        after: &State,
        me: usize,
        decided: &BTreeMap<ChannelId, Amount>,
    ) -> BTreeMap<ChannelId, [Amount; 2]> {
        let (had, has) = (guarantees_of(before), guarantees_of(after));
        let mut moved = BTreeMap::new();
        for (target, gone) in had.iter().filter(|(t, _)| !has.contains_key(*t)) {
            let Some(v) = self.virtuals.get(target) else { continue };
            let paid = v.agreed().or_else(|| decided.get(target).copied());
            let gained = paid.map(|paid| v.share(gone, me, paid));
            // Nobody has agreed on anything: what came is what the balance shows.
            let gained = gained.unwrap_or_else(|| {
                let [old, new] = [before, after].map(|s| Shares::of(s).of_index(me));
                new.saturating_sub(old)
            });
            moved.insert(*target, [gained, Amount::ZERO]);
        }
        for (target, new) in has.iter().filter(|(t, _)| !had.contains_key(*t)) {
            let given = if new.left == me { new.amount } else { Amount::ZERO };
            moved.insert(*target, [Amount::ZERO, given]);
        }
        moved
    }
}
