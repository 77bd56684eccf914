//! What one node has logged about one virtual channel: an outsider's own fold, as [`view`](super::view) is for direct channels.

use std::collections::BTreeMap;

use fairway_core::chain_types::B256;
use fairway_core::event::{ObjectiveKind, VirtualTerms};
use fairway_core::nitro::{Log, Outcome, SignedState};
use fairway_core::types::{Address, Amount, BlockNum, ChainTime, ChannelId, TurnNum};

use super::view::{Progress, mask_of, slot};

/// What one node has logged about one virtual channel.
#[derive(Clone, Debug)]
pub(super) struct VirtualView {
    /// The node's index: 0 is the payer, the last one the payee.
    pub me: usize,
    /// What was agreed.
    pub terms: VirtualTerms,
    /// Of VirtualFund, VirtualDefund and Dispute.
    pub objectives: [Option<Progress>; 3],
    /// The node's ledger channels before and after it on the way from payer to payee.
    pub ledgers: [Option<ChannelId>; 2],
    /// By turn and hash: what the payee gets, and a bit for each signature.
    states: BTreeMap<(TurnNum, B256), (Amount, u32)>,
    /// The largest voucher that was signed or received.
    pub paid: Amount,
    /// The same as of the last sync.
    pub durable_paid: Amount,
    /// After each log of the node's branch: when the contract's outcome is final, and what the payee gets by it.
    facts: Vec<(BlockNum, Option<(ChainTime, Amount)>)>,
}

impl VirtualView {
    pub fn new(terms: &VirtualTerms, me: Address, right: Option<ChannelId>) -> VirtualView {
        VirtualView {
            me: terms.participants.iter().position(|p| *p == me).unwrap_or(usize::MAX),
            terms: terms.clone(),
            objectives: [None; 3],
            ledgers: [None, right],
            states: BTreeMap::new(),
            paid: Amount::ZERO,
            durable_paid: Amount::ZERO,
            facts: Vec::new(),
        }
    }

    /// Whether the node pays.
    pub fn is_payer(&self) -> bool {
        self.me == 0
    }

    /// Whether the node is paid.
    pub fn is_payee(&self) -> bool {
        self.me + 1 == self.terms.participants.len()
    }

    /// How many of the node's ledger channels must guarantee it.
    pub fn ledgers_needed(&self) -> usize {
        usize::from(!self.is_payer()) + usize::from(!self.is_payee())
    }

    /// How far the objective of this kind got; `None` before it was approved.
    pub fn objective(&self, kind: ObjectiveKind) -> Option<Progress> {
        self.objectives[slot(kind)]
    }

    /// What the payee gets by the state of this turn that everybody has signed.
    pub fn unanimous(&self, turn: TurnNum) -> Option<Amount> {
        let all = self.terms.participants.len();
        let mut of_turn = self.states.range((turn, B256::ZERO)..=(turn, B256::repeat_byte(0xff)));
        of_turn.find(|(_, (_, mask))| mask.count_ones() as usize == all).map(|(_, (paid, _))| *paid)
    }

    /// The newest turn that everybody has signed.
    pub fn newest(&self) -> Option<TurnNum> {
        self.states.keys().rev().map(|(turn, _)| *turn).find(|t| self.unanimous(*t).is_some())
    }

    /// Whether any signature on a state of this turn is on record.
    pub fn heard_of(&self, turn: TurnNum) -> bool {
        self.states.keys().any(|(t, _)| *t == turn)
    }

    /// Whether this participant's signature on a state of this turn is on record.
    pub fn signed_by(&self, turn: TurnNum, index: usize) -> bool {
        let bit = u32::try_from(index).ok().and_then(|i| 1u32.checked_shl(i)).unwrap_or(0);
        self.states.iter().any(|((t, _), (_, mask))| *t == turn && mask & bit != 0)
    }

    /// Whether the node has signed a state of this turn.
    pub fn signed(&self, turn: TurnNum) -> bool {
        self.signed_paid(turn).is_some()
    }

    /// What the payee gets by the state of this turn that the node has signed.
    pub fn signed_paid(&self, turn: TurnNum) -> Option<Amount> {
        let bit = u32::try_from(self.me).ok().and_then(|me| 1u32.checked_shl(me)).unwrap_or(0);
        let mut states = self.states.iter();
        states.find(|((t, _), (_, mask))| *t == turn && mask & bit != 0).map(|(_, (paid, _))| *paid)
    }

    /// What the payee gets, where that cannot change any more: everybody signed the final state, or the contract has decided.
    pub fn settled(&self, now: ChainTime) -> Option<Amount> {
        let decided = self.facts.last().and_then(|(_, fact)| *fact).filter(|(at, _)| *at <= now);
        decided.map(|(_, paid)| paid).or_else(|| self.unanimous(TurnNum::VIRTUAL_FINAL))
    }

    pub fn merge(&mut self, state: &SignedState) {
        let paid = payee_part(&state.state().outcome).unwrap_or(Amount::ZERO);
        let known = self.states.entry((state.turn(), state.hash())).or_insert((paid, 0));
        known.1 |= mask_of(state);
    }

    pub fn promise(&mut self, total: Amount) {
        self.paid = self.paid.max(total);
    }

    pub fn synced(&mut self) {
        self.durable_paid = self.paid;
    }

    pub fn learn(&mut self, block: BlockNum, log: &Log) {
        let fact = match log {
            Log::ChallengeRegistered { finalizes_at, candidate, .. } => {
                payee_part(&candidate.state.outcome).map(|paid| (*finalizes_at, paid))
            }
            Log::Concluded { .. } => {
                self.unanimous(TurnNum::VIRTUAL_FINAL).map(|paid| (ChainTime(0), paid))
            }
            Log::ChallengeCleared { .. } | Log::Checkpointed { .. } => None,
            // Nothing is deposited here by the rules, and a reclaim leaves the target as it is.
            Log::Deposited { .. } | Log::AllocationUpdated { .. } | Log::Reclaimed { .. } => return,
        };
        self.facts.push((block, fact));
    }

    pub fn revert(&mut self, to: BlockNum) {
        while self.facts.last().is_some_and(|(block, _)| *block > to) {
            self.facts.pop();
        }
    }
}

/// What an outcome of a virtual channel gives the payee: by position, as the contract reads it.
pub(super) fn payee_part(outcome: &Outcome) -> Option<Amount> {
    outcome.first().and_then(|exit| exit.allocations.get(1)).map(|a| a.amount)
}
