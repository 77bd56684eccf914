//! The fast oracle: dominance, channel by channel.
//!
//! Of each ledger channel the outcomes that can be finalized are the newest supported state, with which everything older is
//! answered, and every newer state that the node has signed: the adversary completes it. Of each virtual channel they follow from what
//! the node has signed and holds. A guarantee is worth the same outcome of its virtual channel in every ledger channel.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::nitro::adjudicator::{Adjudicator, App};
use fairway_core::nitro::{AllocationType, SignedState, State};
use fairway_core::types::{Amount, ChannelId, TurnNum};

use super::super::shares::{Guaranteed, Shares, guarantees_of};
use super::super::virtual_view::payee_part;
use super::book::{Book, Ledger, Virtual};

/// What a node has released and its durable log does not hold.
#[derive(Debug, Default)]
pub(super) struct Loose {
    /// States with its signature.
    pub states: Vec<(ChannelId, State)>,
    /// Vouchers: the largest of each channel.
    pub vouchers: BTreeMap<ChannelId, Amount>,
}

/// What the chain has said beyond recall, for now.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// What virtual channels pay.
    pub paid: BTreeMap<ChannelId, Amount>,
    /// What payees have redeemed in challenges that run: a voucher that comes later cannot be redeemed beside.
    pub redeemed: BTreeMap<ChannelId, Amount>,
    /// The state hash, or the outcome after a conclusion, of ledger channels; `None` where it is not known.
    pub over: BTreeMap<ChannelId, Option<State>>,
}

/// What the node can enforce in the worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// The smallest margin over what it is entitled to, over all virtual channels; `None` where none is judged.
    pub slack: Option<Amount>,
    /// The first virtual channel in which it falls short.
    pub shortfall: Option<Shortfall>,
}

/// The node gets less than it is entitled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// In which virtual channel.
    pub target: ChannelId,
    /// By how much.
    pub missing: Amount,
    /// When the payee is paid this much.
    pub paid: Amount,
}

/// One state that can be finalized in one ledger channel.
pub(super) struct Way<'a> {
    /// What the node gets, guarantees apart.
    pub mine: Amount,
    /// By target.
    pub guarantees: BTreeMap<ChannelId, Guaranteed>,
    /// A simple entry stands first: anybody can have the guarantees behind it paid out, to nobody's use.
    is_exposed: bool,
    /// What this state brings and takes by guarantees, beyond the supported one.
    pub moved: BTreeMap<ChannelId, [Amount; 2]>,
    ledger: &'a Ledger,
}

/// Everything that can be finalized.
pub(super) struct Oracle<'a> {
    book: &'a Book,
    loose: &'a Loose,
    decided: &'a Decided,
    /// Applications with code; `None` before a block has shown the contract.
    contract: Option<&'a Adjudicator>,
}

impl<'a> Oracle<'a> {
    pub fn new(
        book: &'a Book,
        loose: &'a Loose,
        decided: &'a Decided,
        contract: Option<&'a Adjudicator>,
    ) -> Oracle<'a> {
        Oracle { book, loose, decided, contract }
    }

    /// Whether the contract can be made to say what a virtual channel pays: everybody agreed, or its application has code.
    fn is_judged(&self, v: &Virtual) -> bool {
        let app = v.states.first().map(|s| s.state().fixed.app_definition);
        let known = self.contract.zip(app);
        v.agreed().is_some() || known.is_none_or(|(c, app)| c.app(app) == Some(App::VirtualPayment))
    }

    /// States of a ledger channel, newer than the supported one, that carry the node's signature.
    pub fn newer(&self, id: ChannelId) -> Vec<&'a State> {
        let Some(ledger) = self.book.ledgers.get(&id) else { return Vec::new() };
        let turn = ledger.supported.as_ref().map(SignedState::turn);
        let mine = ledger.newer.iter().filter(|s| s.signed_by(ledger.me)).map(SignedState::state);
        self.with_loose(id, mine.collect(), turn)
    }

    /// States of a virtual channel that carry the node's signature.
    pub fn signed(&self, id: ChannelId) -> Vec<&'a State> {
        let Some(v) = self.book.virtuals.get(&id) else { return Vec::new() };
        let mine = v.states.iter().filter(|s| s.signed_by(v.me)).map(SignedState::state);
        self.with_loose(id, mine.collect(), None)
    }

    fn with_loose(
        &self,
        id: ChannelId,
        mut states: Vec<&'a State>,
        above: Option<TurnNum>,
    ) -> Vec<&'a State> {
        let loose = self.loose.states.iter().filter(|(of, s)| *of == id && Some(s.turn) > above);
        for (_, state) in loose {
            if !states.contains(&state) {
                states.push(state);
            }
        }
        states
    }

    /// The largest voucher that the node has issued.
    pub fn issued(&self, id: ChannelId, v: &Virtual) -> Amount {
        v.voucher.max(self.loose.vouchers.get(&id).copied().unwrap_or(Amount::ZERO))
    }

    /// What the payee can be made to get: the ends of the range.
    pub fn outcomes(&self, id: ChannelId, v: &Virtual) -> Vec<Amount> {
        if let Some(agreed) = v.agreed() {
            return vec![agreed];
        }
        let mine = self.signed(id);
        let signed = |turn| mine.iter().any(|s| s.turn == turn);
        let mut outcomes = Vec::new();
        let redeems = v.is_payee() && v.unanimous(TurnNum::POSTFUND).is_some();
        let redeemed = || self.decided.redeemed.get(&id).copied().unwrap_or(v.voucher);
        outcomes.push(if redeems { redeemed() } else { Amount::ZERO });
        if !v.is_payee() && signed(TurnNum::POSTFUND) {
            outcomes.push(if v.me == 0 { self.issued(id, v) } else { v.terms.amount });
        }
        let finals = mine.iter().filter(|s| s.turn == TurnNum::VIRTUAL_FINAL);
        outcomes.extend(finals.filter_map(|s| payee_part(&s.outcome)));
        outcomes
    }

    /// What the node can enforce in its virtual channels, beside what it is entitled to.
    pub fn promise(&self) -> Promise {
        let mut promise = Promise { slack: None, shortfall: None };
        let ways = self.all_ways();
        for (target, v) in &self.book.virtuals {
            self.judge(*target, v, &ways, &mut promise);
        }
        promise
    }

    /// What can be finalized in each ledger channel, the supported state first.
    pub fn all_ways(&self) -> BTreeMap<ChannelId, Vec<Way<'a>>> {
        self.book.ledgers.iter().map(|(id, ledger)| (*id, self.ways(*id, ledger))).collect()
    }

    fn ways(&self, id: ChannelId, ledger: &'a Ledger) -> Vec<Way<'a>> {
        let Some(supported) = ledger.supported.as_ref().map(SignedState::state) else {
            return Vec::new();
        };
        let over = self.decided.over.get(&id);
        let can_be = |s: &&State| over.is_none_or(|state| state.as_ref() == Some(*s));
        let states = [supported].into_iter().chain(self.newer(id));
        states.filter(can_be).map(|s| self.way(ledger, supported, s)).collect()
    }

    fn way(&self, ledger: &'a Ledger, supported: &State, state: &State) -> Way<'a> {
        let allocations = state.outcome.first().map_or(&[][..], |exit| &exit.allocations);
        let kinds = || allocations.iter().map(|a| a.allocation_type == AllocationType::GUARANTEE);
        Way {
            mine: Shares::of(state).of_index(ledger.me),
            guarantees: guarantees_of(state),
            is_exposed: kinds().next() == Some(false) && kinds().any(|is| is),
            moved: self.book.moved(supported, state, ledger.me, &self.decided.paid),
            ledger,
        }
    }

    /// What the guarantee for `target` is worth in this state; nothing where anybody can have it paid out, or nobody divided.
    fn worth(&self, way: &Way<'_>, target: ChannelId, v: &Virtual, paid: Amount) -> Amount {
        match way.guarantees.get(&target) {
            Some(g) if !way.is_exposed && self.is_judged(v) => v.share(g, way.ledger.me, paid),
            Some(_) | None => Amount::ZERO,
        }
    }

    /// One virtual channel over all ledger channels that have to do with it.
    fn judge(
        &self,
        target: ChannelId,
        v: &Virtual,
        ways: &BTreeMap<ChannelId, Vec<Way<'_>>>,
        promise: &mut Promise,
    ) {
        // A ledger channel that somebody finalized in a way that is not the node's to answer for is judged elsewhere.
        let lost = |(id, ledger): (&ChannelId, &Ledger)| {
            let states = ledger.supported.iter().chain(&ledger.newer);
            ways.get(id).is_none_or(Vec::is_empty)
                && states.into_iter().any(|s| guarantees_of(s.state()).contains_key(&target))
        };
        if self.book.ledgers.iter().any(lost) {
            return;
        }
        let involved: Vec<&Vec<Way<'_>>> = ways
            .values()
            .filter(|w| {
                w.iter()
                    .any(|w| w.guarantees.contains_key(&target) || w.moved.contains_key(&target))
            })
            .collect();
        let mut outcomes = self.outcomes(target, v);
        match self.decided.paid.get(&target) {
            // The contract decided something that nobody could have brought about against a node that was there: judged elsewhere.
            Some(paid) if !may_be(&outcomes, *paid) => return,
            Some(paid) => outcomes = vec![*paid],
            None => {}
        }
        let floor = |gained: Amount, given: Amount| -> (Amount, Amount) {
            match (v.me == 0, v.is_payee()) {
                (true, _) => (gained.saturating_add(self.issued(target, v)), given),
                (_, true) => (gained, given.saturating_add(v.voucher)),
                _ => (gained, given),
            }
        };
        for choice in choices(&involved) {
            for paid in &outcomes {
                let (mut gained, mut given) = (v.gained, v.given);
                for way in &choice {
                    gained = gained.saturating_add(self.worth(way, target, v, *paid));
                    let [more, less] = way.moved.get(&target).copied().unwrap_or_default();
                    (gained, given) = (gained.saturating_add(more), given.saturating_add(less));
                }
                let (has, due) = floor(gained, given);
                let slack = has.saturating_sub(due);
                promise.slack = Some(promise.slack.map_or(slack, |s| s.min(slack)));
                let missing = due.saturating_sub(has);
                if !missing.is_zero()
                    && promise.shortfall.as_ref().is_none_or(|s| s.missing < missing)
                {
                    promise.shortfall = Some(Shortfall { target, missing, paid: *paid });
                }
            }
        }
    }

    /// The least that all ledger channels `within` bring together.
    pub fn total(&self, within: &BTreeSet<ChannelId>) -> Amount {
        let ways = self.all_ways();
        let counted: Vec<_> = ways
            .iter()
            .filter(|(id, w)| within.contains(id) && !w.is_empty())
            .map(|(_, w)| w)
            .collect();
        let all = choices(&counted);
        let of = |choice: &Vec<&Way<'_>>| {
            let mut sum = choice.iter().fold(Amount::ZERO, |sum, w| sum.saturating_add(w.mine));
            for (target, v) in &self.book.virtuals {
                let worth = |paid: &Amount| {
                    choice.iter().fold(Amount::ZERO, |sum, w| {
                        sum.saturating_add(self.worth(w, *target, v, *paid))
                    })
                };
                let worst = self.outcomes(*target, v).iter().map(worth).min();
                sum = sum.saturating_add(worst.unwrap_or(Amount::ZERO));
            }
            sum
        };
        all.iter().map(of).min().unwrap_or(Amount::ZERO)
    }
}

/// Whether an outcome lies in the range of what can come about.
fn may_be(outcomes: &[Amount], paid: Amount) -> bool {
    outcomes.iter().min() <= Some(&paid) && Some(&paid) <= outcomes.iter().max()
}

/// One way of each, in all combinations; the first ones of very many.
fn choices<'w, 'a>(of: &[&'w Vec<Way<'a>>]) -> Vec<Vec<&'w Way<'a>>> {
    let mut all: Vec<Vec<&Way<'a>>> = vec![Vec::new()];
    for ways in of.iter().filter(|w| !w.is_empty()) {
        let longer = |choice: &Vec<&'w Way<'a>>| {
            let choice = choice.clone();
            ways.iter().map(move |way| choice.iter().copied().chain([way]).collect::<Vec<_>>())
        };
        all = all.iter().flat_map(longer).take(CHOICES_MAX).collect();
    }
    all
}

/// Combinations that are looked at.
const CHOICES_MAX: usize = 256;
