//! The full search: a game on the adjudicator's model, from the durable log of one node against everybody else.
//!
//! ```text
//! the adversary moves, as often as it likes and first in every block ─> it passes ─> the node does what its dispute policy says
//!        ^                                                                                      │
//!        └──────────── a block later, or when the next challenge ends ──────────────────────────┘
//! ```
//!
//! The adversary has every other participant's key, and of the node's signatures all that were ever released. Its keys are not needed:
//! here a signature may simply say whose it is. Fees stand outside; the contract is as deployed.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::chain_types::B256;
use fairway_core::nitro::adjudicator::{
    Adjudicator, Mode, ReclaimArgs, compute_reclaim, compute_transfer,
};
use fairway_core::nitro::{Allocation, AllocationType, Call, Outcome, Recover};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId};

use super::book::Book;
use super::pieces::{Known, Piece, by, ledger_piece, virtual_piece};
use super::promise::Oracle;
use crate::world::memo::Memo;

/// How far a search got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// More moves of the adversary change nothing.
    Exhaustive,
    /// Looked at this many moves of the adversary.
    Bounded(u32),
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The least that the node ends with.
    pub payout: Amount,
    /// How far it looked.
    pub reach: Reach,
}

/// The game.
pub(super) struct Game {
    me: Address,
    pieces: Vec<Piece>,
    crypto: Known,
    seen: BTreeMap<(B256, u32), Amount>,
    /// Every position that was ever looked at.
    positions: BTreeSet<B256>,
    visits: u32,
    visits_max: u32,
}

/// A position.
#[derive(Clone)]
struct Position {
    chain: Adjudicator,
    /// The outcome behind each fingerprint, with its state's hash.
    live: BTreeMap<ChannelId, (B256, Outcome)>,
    now: ChainTime,
    paid: Amount,
    /// By channel the newest claim that the adversary has put before the contract: from then on it is everybody's.
    public: BTreeMap<ChannelId, Call>,
}

impl Game {
    /// The game over a node's channels `within`; `None` where nobody has anything to win.
    pub fn new(
        oracle: &Oracle<'_>,
        book: &Book,
        memo: &Memo,
        within: &BTreeSet<ChannelId>,
        visits_max: u32,
    ) -> Option<Game> {
        let mut pieces = Vec::new();
        for (id, v) in book.virtuals.iter().filter(|(id, _)| within.contains(id)) {
            pieces.push(virtual_piece(oracle, book.me, *id, v));
        }
        for (id, ledger) in book.ledgers.iter().filter(|(id, _)| within.contains(id)) {
            pieces.extend(ledger_piece(oracle, book.me, *id, ledger));
        }
        let any = pieces.iter().any(|p| p.is_ledger);
        let (seen, positions, crypto) = (BTreeMap::new(), BTreeSet::new(), Known(memo.clone()));
        any.then_some(Game { me: book.me, pieces, crypto, seen, positions, visits: 0, visits_max })
    }

    /// Plays from the contract as it is at `now`, with one move of the adversary more each time until moves run out or change nothing.
    pub fn play(
        &mut self,
        chain: &Adjudicator,
        live: &BTreeMap<ChannelId, (B256, Outcome)>,
        now: ChainTime,
    ) -> Found {
        let start = Position {
            chain: chain.clone(),
            live: live.clone(),
            now,
            paid: Amount::ZERO,
            public: BTreeMap::new(),
        };
        let mut found = Found { payout: self.worst(&start, 0), reach: Reach::Bounded(0) };
        for moves in 1..=MOVES_MAX {
            let before = self.positions.len();
            let payout = self.worst(&start, moves);
            if self.visits >= self.visits_max {
                // What was found is a way to play all the same.
                found.payout = found.payout.min(payout);
                return found;
            }
            found = Found { payout: found.payout.min(payout), reach: Reach::Bounded(moves) };
            if self.positions.len() == before {
                found.reach = Reach::Exhaustive;
                return found;
            }
        }
        found
    }

    fn worst(&mut self, at: &Position, moves: u32) -> Amount {
        let key = (at.digest(), moves);
        if let Some(known) = self.seen.get(&key) {
            return *known;
        }
        self.visits += 1;
        self.positions.insert(key.0);
        let mut worst = self.pass(at, moves);
        if moves > 0 && self.visits < self.visits_max {
            for (id, call) in self.moves(at) {
                if !at.may_take(id, &call) {
                    continue;
                }
                let mut next = at.clone();
                if next.execute(id, &call, self.me, &mut self.crypto) {
                    next.publish(id, &call, self.me);
                    worst = worst.min(self.worst(&next, moves - 1));
                }
            }
        }
        self.seen.insert(key, worst);
        worst
    }

    /// The adversary lets the node act, or time pass; the position's payout when nothing is left to happen.
    fn pass(&mut self, at: &Position, moves: u32) -> Amount {
        let mut next = at.clone();
        if self.act(&mut next) {
            next.now.0 += 1;
            return self.worst(&next, moves);
        }
        let ends = self.pieces.iter().map(|p| at.chain.status(p.id).finalizes_at);
        match ends.filter(|end| *end > at.now).min() {
            Some(end) => {
                next.now = end;
                self.worst(&next, moves)
            }
            None => at.paid,
        }
    }

    /// What the adversary can try, each call with its channel: to find that out from the call costs a hash.
    fn moves(&self, at: &Position) -> Vec<(ChannelId, Call)> {
        let mut moves = Vec::new();
        for piece in &self.pieces {
            let of = |call| (piece.id, call);
            if at.chain.mode(piece.id, at.now) != Mode::Finalized {
                moves.extend(piece.theirs.iter().cloned().map(of));
                continue;
            }
            let Some((hash, outcome)) = at.live.get(&piece.id) else { continue };
            moves.push(of(transfer_all(piece.id, outcome, *hash)));
            let slots = outcome.first().map_or(0, |exit| exit.allocations.len()) as u64;
            let one = |slot| of(transfer(piece.id, outcome, *hash, slot));
            moves.extend((0..slots).map(one));
            moves.extend(self.reclaims(at, piece).into_iter().map(of));
        }
        moves
    }

    /// The node's dispute policy: everything that it can do now. Whether anything was done.
    fn act(&mut self, at: &mut Position) -> bool {
        let mut acted = false;
        for i in 0..self.pieces.len() {
            let piece = &self.pieces[i];
            let id = piece.id;
            if at.chain.mode(id, at.now) != Mode::Finalized {
                let shown = at.public.get(&id).cloned();
                for call in piece.mine.iter().chain(&shown) {
                    if at.may_take(id, call) && at.execute(id, call, self.me, &mut self.crypto) {
                        acted = true;
                        break;
                    }
                }
                continue;
            }
            if !piece.is_ledger || at.chain.held(Address::ZERO, id).is_zero() {
                continue;
            }
            while let Some(call) = self.reclaims(at, &self.pieces[i]).into_iter().next() {
                if !at.execute(id, &call, self.me, &mut self.crypto) {
                    break;
                }
                acted = true;
            }
            let Some((hash, outcome)) = at.live.get(&id).cloned() else { continue };
            acted |= at.execute(id, &transfer_all(id, &outcome, hash), self.me, &mut self.crypto);
        }
        acted
    }

    /// Every guarantee of a finalized ledger channel that can be reclaimed now.
    fn reclaims(&self, at: &Position, piece: &Piece) -> Vec<Call> {
        let Some((hash, outcome)) = at.live.get(&piece.id) else { return Vec::new() };
        let Some(exit) = outcome.first() else { return Vec::new() };
        let guarantees = (0u64..).zip(&exit.allocations);
        let guarantees = guarantees.filter(|(_, a)| a.allocation_type == AllocationType::GUARANTEE);
        let call = |(slot, a): (u64, &Allocation)| {
            let target = ChannelId(a.destination.0);
            let (target_hash, target_outcome) = at.live.get(&target)?;
            (at.chain.mode(target, at.now) == Mode::Finalized).then(|| {
                Call::Reclaim(ReclaimArgs {
                    source_channel: piece.id,
                    source_state_hash: *hash,
                    source_outcome: outcome.clone(),
                    source_asset_index: 0,
                    index_of_target_in_source: slot,
                    target_state_hash: *target_hash,
                    target_outcome: target_outcome.clone(),
                    target_asset_index: 0,
                })
            })
        };
        guarantees.filter_map(call).collect()
    }
}

impl Position {
    /// Executes a call about channel `id`; whether the contract took it.
    fn execute(&mut self, id: ChannelId, call: &Call, me: Address, crypto: &mut Known) -> bool {
        let held = self.chain.held(Address::ZERO, id);
        let Ok(done) = self.chain.call(self.now, call, &|_| false, crypto) else { return false };
        for payout in done.payouts.iter().filter(|p| p.to == me && p.asset.is_zero()) {
            self.paid = self.paid.saturating_add(payout.amount);
        }
        let allocations = |outcome: &Outcome| outcome.first().map(|e| e.allocations.clone());
        match call {
            Call::Challenge { candidate, .. } => {
                let (_, hash) = crypto.hash_state(&candidate.state);
                self.live.insert(id, (hash, candidate.state.outcome.clone()));
            }
            Call::Conclude { candidate } | Call::ConcludeAndTransferAllAssets { candidate } => {
                self.live.insert(id, (B256::ZERO, candidate.state.outcome.clone()));
            }
            Call::Checkpoint { .. } => drop(self.live.remove(&id)),
            Call::Transfer { outcome, indices, .. } => {
                let after = allocations(outcome)
                    .and_then(|a| compute_transfer(held, &a, indices, true).ok());
                self.becomes(id, after.map(|t| t.allocations));
            }
            Call::TransferAllAssets { outcome, .. } => {
                let after =
                    allocations(outcome).and_then(|a| compute_transfer(held, &a, &[], true).ok());
                self.becomes(id, after.map(|t| t.allocations));
            }
            Call::Reclaim(args) => {
                let target = allocations(&args.target_outcome).unwrap_or_default();
                let after = allocations(&args.source_outcome).and_then(|a| {
                    compute_reclaim(&a, &target, args.index_of_target_in_source).ok()
                });
                self.becomes(id, after);
            }
            Call::Deposit { .. } | Call::Approve { .. } => {}
        }
        true
    }

    fn becomes(&mut self, id: ChannelId, allocations: Option<Vec<Allocation>>) {
        let exit = self.live.get_mut(&id).and_then(|(_, outcome)| outcome.first_mut());
        if let (Some(exit), Some(allocations)) = (exit, allocations) {
            exit.allocations = allocations;
        }
    }

    /// Whether the contract may take a call about channel `id`, as far as that is seen at a glance.
    fn may_take(&self, id: ChannelId, call: &Call) -> bool {
        let (mode, record) = (self.chain.mode(id, self.now), self.chain.status(id).turn);
        match call {
            Call::Challenge { candidate, .. } => match mode {
                Mode::Open => candidate.state.turn >= record,
                Mode::Challenge => candidate.state.turn > record,
                Mode::Finalized => false,
            },
            Call::Checkpoint { candidate, .. } => {
                mode != Mode::Finalized && candidate.state.turn > record
            }
            Call::Transfer { .. } | Call::TransferAllAssets { .. } => {
                !self.chain.held(Address::ZERO, id).is_zero()
            }
            _ => true,
        }
    }

    /// Everybody can read what stands in a transaction, and use it.
    fn publish(&mut self, id: ChannelId, call: &Call, me: Address) {
        let (Call::Challenge { proof, candidate, .. } | Call::Checkpoint { proof, candidate }) =
            call
        else {
            return;
        };
        let (proof, candidate) = (proof.clone(), candidate.clone());
        let again = Call::Challenge { proof, candidate, challenger_sig: by(me) };
        self.public.insert(id, again);
    }

    fn digest(&self) -> B256 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.now.0.to_be_bytes());
        hasher.update(&self.paid.0.to_be_bytes::<32>());
        for (id, status) in self.chain.statuses() {
            hasher.update(id.0.as_slice());
            hasher.update(status.word().as_slice());
        }
        for ((_, id), held) in self.chain.holdings() {
            hasher.update(id.0.as_slice());
            hasher.update(&held.0.to_be_bytes::<32>());
        }
        B256::from(*hasher.finalize().as_bytes())
    }
}

fn transfer_all(channel: ChannelId, outcome: &Outcome, state_hash: B256) -> Call {
    Call::TransferAllAssets { channel, outcome: outcome.clone(), state_hash }
}

fn transfer(channel: ChannelId, outcome: &Outcome, state_hash: B256, slot: u64) -> Call {
    let (outcome, indices) = (outcome.clone(), vec![slot]);
    Call::Transfer { asset_index: 0, channel, outcome, state_hash, indices }
}

/// Moves of the adversary that are looked at, at most.
const MOVES_MAX: u32 = 12;
