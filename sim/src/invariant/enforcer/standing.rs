//! Where one node stands at the end of its log: what it could enforce if every peer vanished or turned on it, beside what it is
//! entitled to. The same book, pieces and game as the invariant's, over the contract as the log last saw it.
//!
//! Ledger channels that back one virtual channel stand or fall together, so they make one [`Standing`].

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::chain_types::B256;
use fairway_core::event::Event;
use fairway_core::machine::NodeState;
use fairway_core::nitro::adjudicator::{Adjudicator, Status, fingerprint};
use fairway_core::nitro::{Outcome, SignedState, State, outcome};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, Destination, Timestamp, TurnNum};

use fairway_core::chain_view::{OnChain, OnChainStatus};

use super::super::shares::{Shares, guarantees_of};
use super::super::virtual_view::payee_part;
use super::book::{Book, Ledger, Virtual};
use super::promise::{Decided, Loose, Oracle};
use super::search::{Game, Reach};
use crate::world::memo::Memo;

/// What a node can enforce in channels that hang together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its ledger channels.
    pub ledgers: Vec<ChannelId>,
    /// The virtual channels that they back.
    pub virtuals: Vec<ChannelId>,
    /// The least that the node ends with, whatever the others do; fees apart.
    pub enforceable: Amount,
    /// What it is entitled to.
    pub entitled: Amount,
    /// In one sentence.
    pub because: String,
    /// How far that was looked into.
    pub searched: Searched,
}

/// How far the enforcer looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    /// The whole game was played: more moves of the adversary change nothing.
    Exhaustive,
    /// It was played up to this many moves of the adversary.
    Bounded(u32),
    /// Nothing is on chain and nothing is to be had: there is no game.
    Nothing,
    /// The log does not say enough about the chain to play it; nothing is claimed.
    Undecided,
}

impl Standing {
    /// What is missing of the entitlement; zero where nothing could be judged.
    pub fn missing(&self) -> Amount {
        match self.searched {
            Searched::Undecided => Amount::ZERO,
            Searched::Exhaustive | Searched::Bounded(_) | Searched::Nothing => {
                self.entitled.saturating_sub(self.enforceable)
            }
        }
    }
}

/// Where `me` stands by these events and the state that they fold to, looking at `visits_max` positions of each game at most.
///
/// # Errors
/// The two oracles contradict each other: the enforcer is wrong, not the node.
pub fn standings(
    me: Address,
    events: &[(Timestamp, Event)],
    state: &NodeState,
    memo: &Memo,
    visits_max: u32,
) -> Result<Vec<Standing>, String> {
    let mut book = Book::new(me);
    events.iter().for_each(|(_, event)| book.fold(event, &BTreeMap::new()));
    let seen = Seen::new(&book, state);
    // What guarantees brought depends on what the chain has decided about their virtual channels.
    let mut book = Book::new(me);
    events.iter().for_each(|(_, event)| book.fold(event, &seen.decided.paid));
    let loose = Loose::default();
    let oracle = Oracle::new(&book, &loose, &seen.decided, Some(&seen.contract));
    let judge = Judge { book: &book, oracle, seen: &seen, state, memo, visits_max };
    judge.groups().iter().map(|(ledgers, virtuals)| judge.standing(ledgers, virtuals)).collect()
}

/// The contract as the log last saw it.
struct Seen {
    contract: Adjudicator,
    /// The outcome behind each status, with the hash that stands for its state.
    live: BTreeMap<ChannelId, (B256, Outcome)>,
    decided: Decided,
    /// Channels of which the log does not say enough, and what is missing.
    unclear: BTreeMap<ChannelId, &'static str>,
    /// What was paid to each destination already, of an outcome that is final.
    paid_out: BTreeMap<(ChannelId, Destination), Amount>,
    now: ChainTime,
}

impl Seen {
    fn new(book: &Book, state: &NodeState) -> Seen {
        let app = state.pins().map_or(Address::ZERO, |p| p.consensus_app);
        let mut contract = Adjudicator::new(app);
        if let Some(app) = state.payment_app() {
            contract = contract.with_payment_app(app);
        }
        // The block that the first transaction can be in.
        let now = ChainTime(state.chain().now().0.saturating_add(1));
        let mut seen = Seen {
            contract,
            live: BTreeMap::new(),
            decided: Decided::default(),
            unclear: BTreeMap::new(),
            paid_out: BTreeMap::new(),
            now,
        };
        for (id, ledger) in &book.ledgers {
            let states = ledger.opening.iter().chain(&ledger.supported).chain(&ledger.newer);
            seen.read(*id, asset_of(ledger), states, state.chain().at_head(*id));
        }
        for (id, v) in &book.virtuals {
            seen.read(*id, v.terms.asset, v.states.iter(), state.chain().at_head(*id));
        }
        seen
    }

    fn read<'a>(
        &mut self,
        id: ChannelId,
        asset: Address,
        known: impl Iterator<Item = &'a SignedState> + Clone,
        on_chain: &OnChain,
    ) {
        let contract = std::mem::replace(&mut self.contract, Adjudicator::new(Address::ZERO));
        self.contract = contract.with_held(asset, id, on_chain.held);
        let (turn, hash, outcome, state) = match &on_chain.status {
            OnChainStatus::Untouched => return,
            OnChainStatus::Recorded(turn) => {
                if !known.clone().any(|s| s.turn() >= *turn && s.is_unanimous()) {
                    self.unclear
                        .insert(id, "has a turn on record on chain that the log does not hold");
                }
                let nothing = fingerprint(B256::ZERO, B256::ZERO);
                return self.set(id, *turn, ChainTime(0), nothing);
            }
            OnChainStatus::Challenged(c) => {
                let state = known.clone().find(|s| s.hash() == c.state_hash);
                (c.turn, c.state_hash, Some(c.outcome.clone()), state.map(SignedState::state))
            }
            OnChainStatus::Concluded(_) => {
                // The log of a conclusion names no state: it is the final one that everybody signed.
                let state = known.clone().find(|s| s.state().is_final && s.is_unanimous());
                let state = state.map(SignedState::state);
                let turn = TurnNum::PREFUND;
                (turn, B256::ZERO, state.map(|s| s.outcome.clone()), state)
            }
        };
        let finalizes_at = on_chain.finalizes_at().unwrap_or_default();
        if on_chain.is_finalized(self.now) {
            if let Some(paid) = outcome.as_ref().and_then(payee_part) {
                self.decided.paid.insert(id, paid);
            }
            self.decided.over.insert(id, state.cloned());
        } else if turn == TurnNum::REDEMPTION {
            let redeemed = outcome.as_ref().and_then(payee_part);
            self.decided.redeemed.extend(redeemed.map(|redeemed| (id, redeemed)));
        }
        let left = outcome.as_ref().map(|o| on_chain.outcomes_left(o)).unwrap_or_default();
        match left.as_slice() {
            [one] if on_chain.reclaims == 0 => {
                let before = outcome.iter().flatten().flat_map(|exit| &exit.allocations);
                for allocation in before {
                    let to = allocation.destination;
                    let left = one.first().map_or(Amount::ZERO, |exit| exit.allocated_to(to));
                    let paid = allocation.amount.saturating_sub(left);
                    self.paid_out.insert((id, to), paid);
                }
                let print = fingerprint(hash, outcome::hash(one));
                self.live.insert(id, (hash, one.clone()));
                self.set(id, turn, finalizes_at, print);
            }
            _ if on_chain.held.is_zero() => {}
            _ => {
                let why = "was finalized and paid out in part, and the log does not say to whom";
                self.unclear.insert(id, why);
            }
        }
    }

    fn set(&mut self, id: ChannelId, turn: TurnNum, finalizes_at: ChainTime, print: [u8; 20]) {
        let contract = std::mem::replace(&mut self.contract, Adjudicator::new(Address::ZERO));
        let status = Status { turn, finalizes_at, fingerprint: print };
        self.contract = contract.with_status(id, status);
    }
}

struct Judge<'a> {
    book: &'a Book,
    oracle: Oracle<'a>,
    seen: &'a Seen,
    state: &'a NodeState,
    memo: &'a Memo,
    visits_max: u32,
}

type Group = (BTreeSet<ChannelId>, BTreeSet<ChannelId>);

impl Judge<'_> {
    /// Ledger channels with the virtual channels that they back, in groups that share none; then virtual channels that nothing backs.
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (id, ledger) in &self.book.ledgers {
            let states = ledger.supported.iter().chain(&ledger.newer).map(SignedState::state);
            let targets: BTreeSet<ChannelId> =
                states.flat_map(|s| guarantees_of(s).into_keys()).collect();
            let mut joined: Group = (BTreeSet::from([*id]), targets);
            let shares = |(_, virtuals): &mut Group| !virtuals.is_disjoint(&joined.1);
            let sharing: Vec<Group> = groups.extract_if(.., shares).collect();
            for (ledgers, virtuals) in sharing {
                joined.0.extend(ledgers);
                joined.1.extend(virtuals);
            }
            groups.push(joined);
        }
        let backed: BTreeSet<ChannelId> = groups.iter().flat_map(|(_, v)| v.clone()).collect();
        let others = self.book.virtuals.iter().filter(|(id, _)| !backed.contains(id));
        let owed = others.filter(|(_, v)| !self.due(v, Amount::ZERO).is_zero());
        groups.extend(owed.map(|(id, _)| (BTreeSet::new(), BTreeSet::from([*id]))));
        groups
    }

    /// What a virtual channel still has to bring, beyond what came by guarantees that were given back and by `settled` on chain.
    fn due(&self, v: &Virtual, settled: Amount) -> Amount {
        let (mut due, mut had) = (v.given, v.gained.saturating_add(settled));
        if v.me == 0 {
            had = had.saturating_add(v.agreed().unwrap_or(v.voucher));
        } else if v.is_payee() {
            due = due.saturating_add(v.agreed().unwrap_or(v.voucher));
        }
        due.saturating_sub(had)
    }

    fn standing(
        &self,
        ledgers: &BTreeSet<ChannelId>,
        virtuals: &BTreeSet<ChannelId>,
    ) -> Result<Standing, String> {
        let of = |enforceable, entitled, because, searched| Standing {
            ledgers: ledgers.iter().copied().collect(),
            virtuals: virtuals.iter().copied().collect(),
            enforceable,
            entitled,
            because,
            searched,
        };
        let (zero, known) = (Amount::ZERO, |id: &&ChannelId| !self.is_paid_out(**id));
        let open: BTreeSet<ChannelId> = ledgers.iter().filter(known).copied().collect();
        if open.is_empty() && !ledgers.is_empty() {
            let because = "everything in it was paid out on chain".to_string();
            return Ok(of(zero, zero, because, Searched::Nothing));
        }
        let entitled = self.entitled(&open, ledgers, virtuals);
        let mut within = open.clone();
        within.extend(virtuals);
        if let Some((id, why)) = within.iter().find_map(|id| Some((id, self.seen.unclear.get(id)?)))
        {
            let because = format!("channel {} {why}", id.short());
            return Ok(of(zero, entitled, because, Searched::Undecided));
        }
        if let Some(id) = open.iter().find(|id| !self.is_native(**id)) {
            let because = format!(
                "channel {} holds a token; the game is played for native tokens alone",
                id.short()
            );
            return Ok(of(zero, entitled, because, Searched::Undecided));
        }
        let because = self.because(&open, virtuals);
        let game = Game::new(&self.oracle, self.book, self.memo, &within, self.visits_max);
        let Some(mut game) = game else {
            return Ok(of(zero, entitled, because, Searched::Nothing));
        };
        let found = game.play(&self.seen.contract, &self.seen.live, self.seen.now);
        let promised = self.oracle.total(&open);
        if open.iter().all(|id| self.is_whole(*id)) && found.payout < promised {
            return Err(format!(
                "{}: {promised} were promised where {} can be brought about",
                super::CONTRADICTION,
                found.payout
            ));
        }
        let searched = match found.reach {
            Reach::Exhaustive => Searched::Exhaustive,
            Reach::Bounded(moves) => Searched::Bounded(moves),
        };
        Ok(of(found.payout, entitled, because, searched))
    }

    /// What the node is entitled to in its open ledger channels and by what they guarantee.
    fn entitled(
        &self,
        open: &BTreeSet<ChannelId>,
        ledgers: &BTreeSet<ChannelId>,
        virtuals: &BTreeSet<ChannelId>,
    ) -> Amount {
        let ways = self.oracle.all_ways();
        let mut sum = Amount::ZERO;
        for id in open {
            let Some(ledger) = self.book.ledgers.get(id) else { continue };
            let least = ways.get(id).into_iter().flatten().map(|way| {
                let moved = way.moved.values();
                moved.fold(way.mine, |mine, [gained, given]| {
                    mine.saturating_add(*given).saturating_sub(*gained)
                })
            });
            let share = least.min().or_else(|| Some(self.share(ledger)));
            let share = self.funded(*id, ledger, share.unwrap_or_default());
            let paid = self.seen.paid_out.get(&(*id, Destination::of(self.book.me)));
            sum = sum.saturating_add(share.saturating_sub(paid.copied().unwrap_or_default()));
        }
        for (id, v) in self.book.virtuals.iter().filter(|(id, _)| virtuals.contains(id)) {
            let closed = ledgers.difference(open).filter_map(|l| self.book.ledgers.get(l));
            let settled = closed.filter_map(|ledger| {
                let state = ledger.supported.as_ref()?.state();
                let guarantee = *guarantees_of(state).get(id)?;
                let paid = self.seen.decided.paid.get(id).copied().or(v.agreed())?;
                Some(v.share(&guarantee, ledger.me, paid))
            });
            let settled = settled.fold(Amount::ZERO, Amount::saturating_add);
            sum = sum.saturating_add(self.due(v, settled));
        }
        sum
    }

    fn share(&self, ledger: &Ledger) -> Amount {
        let supported = ledger.supported.as_ref().map(|s| Shares::of(s.state()));
        supported.map_or(Amount::ZERO, |s| s.of_index(ledger.me))
    }

    /// Of a share in a channel that is not open yet, what the node has put in: deposits are made in the order of payout.
    fn funded(&self, id: ChannelId, ledger: &Ledger, share: Amount) -> Amount {
        let Some(supported) = &ledger.supported else { return Amount::ZERO };
        if supported.turn() >= TurnNum::POSTFUND || self.is_whole(id) {
            return share;
        }
        let shares = Shares::of(supported.state());
        let before = if ledger.me == 0 { Amount::ZERO } else { shares.amounts[0] };
        self.held(id).saturating_sub(before).min(share)
    }

    fn held(&self, id: ChannelId) -> Amount {
        self.state.chain().at_head(id).held
    }

    fn is_paid_out(&self, id: ChannelId) -> bool {
        self.state.chain().at_head(id).is_paid_out()
    }

    fn is_native(&self, id: ChannelId) -> bool {
        self.book.ledgers.get(&id).is_none_or(|l| asset_of(l).is_zero())
    }

    /// Whether everything that the supported state divides is held.
    fn is_whole(&self, id: ChannelId) -> bool {
        let supported = self.book.ledgers.get(&id).and_then(|l| l.supported.as_ref());
        let total = supported.and_then(|s| Shares::of(s.state()).total());
        total.is_some_and(|total| self.held(id) >= total)
    }

    fn because(&self, open: &BTreeSet<ChannelId>, virtuals: &BTreeSet<ChannelId>) -> String {
        let ledgers = open.iter().filter_map(|id| Some((id, self.book.ledgers.get(id)?)));
        let mut parts: Vec<String> = ledgers.map(|(id, l)| self.because_ledger(*id, l)).collect();
        let of_virtual = |(id, v): (&ChannelId, &Virtual)| {
            let by = match (v.agreed(), v.me == 0, v.is_payee()) {
                (Some(paid), _, _) => format!("everybody agreed that its payee gets {paid}"),
                (None, true, _) => format!("no voucher for more than {} was signed", v.voucher),
                (None, _, true) => format!("a voucher for {} redeems it", v.voucher),
                (None, _, _) => "what one side pays the other side returns".into(),
            };
            format!("of virtual channel {}, {by}", id.short())
        };
        parts.extend(
            self.book.virtuals.iter().filter(|(id, _)| virtuals.contains(id)).map(of_virtual),
        );
        parts.join("; ")
    }

    fn because_ledger(&self, id: ChannelId, ledger: &Ledger) -> String {
        let (name, held) = (id.short(), self.held(id));
        let Some(supported) = &ledger.supported else {
            return format!("of channel {name} no state carries everybody's signature");
        };
        let (turn, on_chain) = (supported.turn(), self.state.chain().at_head(id));
        let mut text = match &on_chain.status {
            _ if held.is_zero() => format!("for channel {name} nothing is held on chain"),
            OnChainStatus::Concluded(_) => {
                format!("channel {name} is concluded and {held} wait to be paid out")
            }
            OnChainStatus::Challenged(c) if c.finalizes_at <= self.seen.now => {
                format!("of channel {name} turn {} is final on chain", c.turn)
            }
            OnChainStatus::Challenged(c) if c.turn < turn => format!(
                "of channel {name} turn {turn}, signed by everybody, answers the challenge with turn {}",
                c.turn
            ),
            OnChainStatus::Challenged(_)
            | OnChainStatus::Recorded(_)
            | OnChainStatus::Untouched => format!(
                "of channel {name} turn {turn} is signed by everybody and answers every older state"
            ),
        };
        let shares = Shares::of(supported.state());
        if let Some(total) = shares.total().filter(|total| held < *total && !held.is_zero()) {
            text.push_str(&format!(", but only {held} of {total} are held"));
        }
        let newer = self.oracle.newer(id);
        let least = newer.iter().min_by_key(|s| Shares::of(s).of_index(ledger.me));
        if let Some(least) = least.filter(|s| s.turn > turn) {
            let mine = Shares::of(least).of_index(ledger.me);
            text.push_str(&format!(
                ", and turn {}, which you have signed, can leave you {mine}",
                least.turn
            ));
        }
        text
    }
}

fn asset_of(ledger: &Ledger) -> Address {
    let first: Option<&State> =
        ledger.supported.as_ref().or(ledger.newer.first()).map(|s| s.state());
    first.map_or(Address::ZERO, |s| Shares::of(s).asset)
}
