//! I28: at every prefix of every run, from the durable log alone, an enforcer brings each honest party at least its entitlement on
//! chain, whatever an adversary does that holds every signature ever released.
//!
//! Entitled is a party to its balance in each ledger channel's newest state, and for each virtual channel: as its payer to all but what
//! it has promised, as its payee to its largest durable voucher, as a hub to what it has put in.
//!
//! ```text
//! book    the durable log: states, vouchers, what guarantees cost and brought
//! promise the fast oracle, at every prefix: dominance channel by channel
//! pieces  what both sides can put before the contract
//! search  the game on the contract's model, at some prefixes: the oracle may never promise more than it finds
//! ```
//!
//! Where the chain has decided already, other invariants judge: I29, I30 and I31. A node whose disk went back in time is excused: until
//! it has found out what it forgot, it is exposed.

mod book;
mod pieces;
mod promise;
mod search;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_core::chain_types::B256;
use fairway_core::event::Event;
use fairway_core::nitro::adjudicator::{Adjudicator, Mode, Status, fingerprint};
use fairway_core::nitro::{Log, Outcome, SignedState, State, outcome};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, TurnNum};
use fairway_core::wire::Wire;

use super::run::{Run, released};
use super::shares::Shares;
use super::view::Views;
use super::virtual_view::payee_part;
use super::{Closest, Invariant, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::chain::ChainSim;
use crate::world::memo::Memo;
use book::Book;
use promise::{Decided, Loose, Oracle};
use search::{Game, Reach};
pub use standing::{Searched, Standing, standings};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct Enforceable {
    run: Arc<Run>,
    memo: Memo,
    nodes: Vec<Node>,
    /// The contract at the head.
    contract: Option<Adjudicator>,
    now: ChainTime,
    /// Every state that anybody has shown to the contract.
    shown: BTreeMap<ChannelId, Vec<State>>,
    decided: Decided,
    closest: Closest,
}

#[derive(Debug, Default)]
struct Node {
    book: Book,
    /// Written and not yet durable.
    ahead: Vec<Event>,
    loose: Loose,
    is_excused: bool,
    judged: u64,
}

impl Enforceable {
    pub fn new(run: &Arc<Run>, memo: &Memo) -> Enforceable {
        let mut nodes: Vec<Node> = run.each();
        for (i, node) in nodes.iter_mut().enumerate() {
            node.book = Book::new(run.address(PartyId(i)));
        }
        Enforceable {
            run: Arc::clone(run),
            memo: memo.clone(),
            nodes,
            contract: None,
            now: ChainTime(0),
            shown: BTreeMap::new(),
            decided: Decided::default(),
            closest: Closest::default(),
        }
    }

    fn synced(&mut self, node: PartyId) -> Result<(), Violation> {
        let Node { book, ahead, .. } = &mut self.nodes[node.0];
        if ahead.is_empty() {
            return Ok(());
        }
        for event in ahead.drain(..) {
            book.fold(&event, &self.decided.paid);
        }
        self.judge(node)
    }

    /// Keeps what leaves a node before its log holds it.
    fn released(&mut self, node: PartyId, seen: &Observed<'_>) -> Result<(), Violation> {
        let (run, memo) = (Arc::clone(&self.run), self.memo.clone());
        let mut is_new = false;
        for item in released(&run, seen) {
            let Node { book, loose, .. } = &mut self.nodes[node.0];
            if holds(book, item.state, item.index) || item.state.turn == TurnNum::REDEMPTION {
                continue;
            }
            let id = memo.channel_of(&item.state.fixed);
            if loose.states.iter().any(|(_, s)| s == item.state) {
                continue;
            }
            // Whose signature it is was checked elsewhere; here only counts that it is out.
            loose.states.push((id, item.state.clone()));
            is_new = true;
        }
        if let Observed::Sent { wire: Some(Wire::Voucher(voucher)), .. } = seen {
            let Node { book, loose, .. } = &mut self.nodes[node.0];
            let known = book.virtuals.get(&voucher.channel).filter(|v| v.me == 0);
            if known.is_some_and(|v| v.voucher < voucher.amount) {
                let most = loose.vouchers.entry(voucher.channel).or_default();
                is_new |= *most < voucher.amount;
                *most = voucher.amount.max(*most);
            }
        }
        if is_new { self.judge(node) } else { Ok(()) }
    }

    fn block(&mut self, chain: &ChainSim, replaced: u64) {
        self.now = chain.head().time;
        let blocks = chain.canonical();
        let new = if replaced > 0 { blocks } else { &blocks[blocks.len() - 1..] };
        let moved = new.iter().any(|b| !b.logs.is_empty());
        if moved || replaced > 0 || self.contract.is_none() {
            self.contract = Some(chain.adjudicator().clone());
        }
        let candidates = new.iter().flat_map(|b| &b.calldata).flat_map(|c| &c.candidates);
        let challenged = new.iter().flat_map(|b| &b.logs).filter_map(|l| match &l.log {
            Log::ChallengeRegistered { candidate, .. } => Some(candidate),
            _ => None,
        });
        for claim in candidates.chain(challenged) {
            let shown = self.shown.entry(self.memo.channel_of(&claim.state.fixed)).or_default();
            if !shown.contains(&claim.state) {
                shown.push(claim.state.clone());
            }
        }
        self.decide();
    }

    /// Reads off the contract what is final there.
    fn decide(&mut self) {
        let Some(contract) = &self.contract else { return };
        let mut decided = Decided::default();
        for id in self.shown.keys() {
            let mode = contract.mode(*id, self.now);
            if mode == Mode::Open {
                continue;
            }
            let state = self.behind(*id, contract.status(*id)).map(|(state, _)| state);
            let paid = state.and_then(|s| payee_part(&s.outcome));
            if mode == Mode::Finalized {
                decided.paid.extend(paid.map(|paid| (*id, paid)));
                decided.over.insert(*id, state.cloned());
            } else if state.is_some_and(|s| s.turn == TurnNum::REDEMPTION) {
                decided.redeemed.extend(paid.map(|paid| (*id, paid)));
            }
        }
        self.decided = decided;
    }

    /// The state behind a fingerprint, and the hash that stands for it there.
    fn behind(&self, id: ChannelId, status: Status) -> Option<(&State, B256)> {
        let is =
            |hash, s: &State| fingerprint(hash, outcome::hash(&s.outcome)) == status.fingerprint;
        self.shown.get(&id)?.iter().find_map(|state| {
            let (_, hash) = self.memo.hash_of(state);
            [hash, B256::ZERO].into_iter().find(|h| is(*h, state)).map(|h| (state, h))
        })
    }

    fn judge(&mut self, id: PartyId) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        node.judged += 1;
        if node.is_excused || node.book.ledgers.is_empty() {
            return Ok(());
        }
        let draw = draw(id, node.judged, self.now);
        let node = &self.nodes[id.0];
        let oracle = Oracle::new(&node.book, &node.loose, &self.decided, self.contract.as_ref());
        let promise = oracle.promise();
        self.closest.prefixes += 1;
        if let Some(short) = promise.shortfall {
            let name = self.run.name(id);
            let what = format!(
                "from its durable log {name} cannot enforce what it is entitled to: {} are missing when the payee is paid {}",
                short.missing, short.paid,
            );
            let violation = Violation::safety("entitlement-is-enforceable", id, short.target, what);
            return Err(violation.losing(id, short.missing));
        }
        if let Some(slack) = promise.slack {
            self.closest.take(slack, id);
        }
        if draw < self.run.setting.search_permille
            && let Some(reach) = self.search(node, &oracle)
        {
            match reach {
                Reach::Exhaustive => self.closest.exhaustive += 1,
                Reach::Bounded(depth) => {
                    self.closest.bounded += 1;
                    let least = self.closest.depth.map_or(depth, |d| d.min(depth));
                    self.closest.depth = Some(least);
                }
            }
        }
        Ok(())
    }

    /// Plays the game where nothing is decided yet.
    ///
    /// # Panics
    /// When the fast oracle promised more than the game brings: the harness is wrong.
    fn search(&self, node: &Node, oracle: &Oracle<'_>) -> Option<Reach> {
        let contract = self.contract.as_ref()?;
        let within = self.within(contract, &node.book)?;
        let mut live: BTreeMap<ChannelId, (B256, Outcome)> = BTreeMap::new();
        for id in &within {
            let status = contract.status(*id);
            match contract.mode(*id, self.now) {
                Mode::Open => {}
                Mode::Challenge => {
                    let (state, hash) = self.behind(*id, status)?;
                    live.insert(*id, (hash, state.outcome.clone()));
                }
                Mode::Finalized => return None,
            }
        }
        let every = self.run.setting.search_permille >= 1_000;
        let visits = if every { VISITS_EVERY_MAX } else { VISITS_MAX };
        let mut game = Game::new(oracle, &node.book, &self.memo, &within, visits)?;
        let promised = oracle.total(&within);
        let found = game.play(contract, &live, self.now);
        agree(promised, found.payout, found.reach);
        Some(found.reach)
    }

    /// The channels of the game: all that are fully funded, with the virtual channels over them. `None` when a virtual channel stands on
    /// one that is not among them, or when there is none.
    fn within(&self, contract: &Adjudicator, book: &Book) -> Option<BTreeSet<ChannelId>> {
        let mut within = BTreeSet::new();
        for (id, ledger) in &book.ledgers {
            let Some(supported) = &ledger.supported else { continue };
            let shares = Shares::of(supported.state());
            let funded = shares.total().is_some_and(|t| contract.held(Address::ZERO, *id) >= t);
            if funded && shares.asset.is_zero() {
                within.insert(*id);
            } else if shares.locked > Amount::ZERO {
                return None;
            }
        }
        if within.is_empty() || within.len() > LEDGERS_MAX {
            return None;
        }
        within.extend(book.virtuals.keys());
        Some(within)
    }
}

/// Ends the run where the fast oracle promised more than the game brings: one of them is wrong, and no node is to blame.
///
/// # Panics
/// With a message that begins with [`CONTRADICTION`].
fn agree(promised: Amount, payout: Amount, reach: Reach) {
    assert!(
        payout >= promised,
        "{CONTRADICTION}: {promised} were promised where {payout} can be brought about ({reach:?})"
    );
}

/// How the message begins with which a run ends whose enforcer contradicts itself: a bug of the harness.
pub const CONTRADICTION: &str = "the enforcer's oracles contradict each other";

/// Whether the durable log holds the node's own signature on a state, or one that makes it meaningless.
fn holds(book: &Book, state: &State, index: usize) -> bool {
    let id_of = |s: &SignedState| s.signed_by(index) && s.state() == state;
    let participants = &state.fixed.participants;
    if participants.len() == 2
        && let Some(ledger) = book
            .ledgers
            .values()
            .find(|l| l.supported.as_ref().is_some_and(|s| s.state().fixed == state.fixed))
    {
        let older = ledger.supported.as_ref().is_some_and(|s| state.turn <= s.turn());
        return older || ledger.newer.iter().any(id_of);
    }
    let in_ledgers = book.ledgers.values().any(|l| l.newer.iter().any(id_of));
    in_ledgers || book.virtuals.values().any(|v| v.states.iter().any(id_of))
}

/// Whether a prefix is searched: drawn from where it stands and not from the run's chance, so that looking changes nothing.
fn draw(node: PartyId, judged: u64, now: ChainTime) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for word in [node.0 as u64, judged, now.0] {
        hasher.update(&word.to_be_bytes());
    }
    let first = hasher.finalize().as_bytes().first_chunk().map_or(0, |f| u64::from_be_bytes(*f));
    first % 1_000
}

/// Positions that one search looks at, where few are made.
const VISITS_MAX: u32 = 64;

/// The same where every prefix is searched: nobody is in a hurry then.
const VISITS_EVERY_MAX: u32 = 1_500;

/// Ledger channels of one node up to which its game is played.
const LEDGERS_MAX: usize = 4;

impl Invariant for Enforceable {
    fn name(&self) -> &'static str {
        "entitlement-is-enforceable"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I16", "I28"]
    }

    fn statement(&self) -> &'static str {
        "from its durable log alone an honest party can bring its entitlement about on chain, against everybody else together"
    }

    fn event(&mut self, node: PartyId, event: &Event, _views: &Views) -> Result<(), Violation> {
        if Book::matters(event) {
            self.nodes[node.0].ahead.push(event.clone());
        }
        Ok(())
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Synced { node, .. } => self.synced(*node),
            Observed::Sent { node, .. } | Observed::Submitted { node, .. }
                if self.run.honest(*node) =>
            {
                self.released(*node, seen)
            }
            Observed::Restarted { node, log, may_have_forgotten, .. } => {
                let me = self.run.address(*node);
                let entry = &mut self.nodes[node.0];
                (entry.book, entry.ahead) = (Book::new(me), Vec::new());
                for (_, event) in *log {
                    entry.book.fold(event, &self.decided.paid);
                }
                entry.is_excused |= may_have_forgotten;
                self.judge(*node)
            }
            Observed::Block { chain, replaced } => {
                self.block(chain, *replaced);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn closest(&self) -> Option<Closest> {
        Some(self.closest)
    }
}
