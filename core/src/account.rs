//! The transactions of a node's gas account: which nonce each has, what it offers, and what must be broadcast now.
//!
//! A pure value that a chain port holds, the same in the simulator and in `fairway`: the port tells it each head and each
//! [wish](crate::machine::outbox) that the node releases, broadcasts what it returns, and tells what the endpoint answered.
//!
//! ```text
//! wish ─> submit ─┐                    ┌─ Taken, Underpriced, NonceUsed
//!                 ├─> [Tx] ─> endpoint ┤
//! head ─> block ──┘                    └─> sent ─> [Tx]
//! ```
//!
//! - One wish has one nonce. Wished for again it is not sent again; when it is stuck, or when its call has changed, it is replaced at its
//!   nonce, for at least an eighth more.
//! - Every nonce from the chain's up to the highest wanted one is occupied, so nothing waits behind a gap; what stands below an urgent
//!   transaction is as urgent as it.
//! - What the node [withdraws](Account::withdraw), or has not asked for in [`Fees::wanted_s`], is pushed no more: where its nonce is in the
//!   way, a copy of what waits above takes its place. It may still be mined, as anything that was ever broadcast.
//! - A nonce that the chain has used is kept until no reorg that the node survives gives it back.
//!
//! Nothing here is in the log. After a crash the account begins with the nonce at the endpoint's head, and the wishes, which the log
//! brings back, are given nonces again from there: the same call in the same place is the same transaction, another one replaces what is
//! there or is told that it is [`Answer::Underpriced`]. A call may then be mined twice, which costs gas and changes nothing: see
//! [`Call`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use alloy_primitives::B256;

use crate::chain_view::REORG_BLOCKS_MAX;
use crate::config::{Config, Fees};
use crate::effect::{Urgency, Wish};
use crate::nitro::Call;
use crate::types::{Amount, BlockNum, ChainTime, ChannelId, FeePerGas};

mod bump;
mod fees;
mod kind;

pub use bump::NotBumped;
pub use fees::replacement;

use fees::Push;
use kind::{key_of, native_deposit};

/// What the endpoint calls a broadcast transaction. Opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxHash(pub B256);

/// What the endpoint says about the chain and the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The height.
    pub number: BlockNum,
    /// The block's time.
    pub time: ChainTime,
    /// The account's transactions in this block and below: the first nonce that is not used.
    pub nonce: u64,
    /// What the endpoint takes gas to cost. It may lag behind.
    pub base_fee: FeePerGas,
    /// The account's native tokens, where gas costs some; `None` where it costs nothing.
    pub balance: Option<Amount>,
}

/// A transaction to broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tx {
    /// Its nonce.
    pub nonce: u64,
    /// Most that it pays for gas.
    pub fee: FeePerGas,
    /// What it calls.
    pub call: Call,
}

/// A transaction that is not mined yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// Its nonce.
    pub nonce: u64,
    /// Most that it pays for gas.
    pub fee: FeePerGas,
    /// What it calls.
    pub call: &'a Call,
    /// What the endpoint calls it; `None` where it has to be broadcast (again).
    pub hash: Option<TxHash>,
    /// Whether the node still wants it. What it does not is pushed no more, but may be mined all the same.
    pub is_wanted: bool,
}

/// What the endpoint said to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it, by this name; it may have had it before.
    Taken(TxHash),
    /// It has another one of this nonce, and the new one offers less than an eighth more.
    Underpriced,
    /// The chain has used the nonce.
    NonceUsed,
}

/// Why a transaction was not taken on. The node asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The deposit would leave too little to defend the channels that there are.
    #[error(
        "deposit into channel {channel} withheld: {missing} more are needed to defend all channels"
    )]
    Reserve {
        /// Into which channel.
        channel: ChannelId,
        /// How much is missing, in wei.
        missing: Amount,
    },
}

/// The gas account's transactions. Cloning it clones everything.
#[derive(Clone, Debug)]
pub struct Account {
    fees: Fees,
    config: Config,
    head: Head,
    /// Between the last two heads, in seconds.
    block_s: u64,
    /// By nonce, none below the head's.
    open: BTreeMap<u64, Place>,
    /// Below the head's nonce, with the height at which that was seen.
    used: BTreeMap<u64, (Place, BlockNum)>,
    withheld: u64,
}

/// What was done with one nonce.
#[derive(Clone, Debug)]
struct Place {
    asked: Asked,
    fee: FeePerGas,
    /// `None`: must be broadcast, once more if it was.
    hash: Option<TxHash>,
    /// The head when this was first broadcast for this fee.
    sent_at: BlockNum,
    /// Whether the endpoint ever took something for this nonce: it may be mined.
    taken: bool,
}

/// What the node asked for.
#[derive(Clone, Debug)]
struct Asked {
    /// On account of which wish.
    wish: Option<Wish>,
    call: Call,
    urgency: Urgency,
    /// The head's time when the node last said so.
    at: ChainTime,
    is_withdrawn: bool,
}

impl Account {
    /// An account of which nothing is known but what the endpoint says.
    pub fn new(config: &Config, head: Head) -> Account {
        Account {
            fees: config.fees,
            config: config.clone(),
            head,
            block_s: 1,
            open: BTreeMap::new(),
            used: BTreeMap::new(),
            withheld: 0,
        }
    }

    /// Takes note of the head, and of those [broadcast](Account::open) transactions that the endpoint says it does not know. What must be
    /// broadcast now, lowest nonce first; the port reports each with [`Account::sent`].
    pub fn block(&mut self, head: Head, unknown: &BTreeSet<TxHash>) -> Vec<Tx> {
        let blocks = head.number.0.saturating_sub(self.head.number.0);
        if let Some(s) = head.time.0.saturating_sub(self.head.time.0).checked_div(blocks) {
            self.block_s = s.max(1);
        }
        self.head = head;
        let open = self.open.split_off(&head.nonce);
        for (nonce, place) in core::mem::replace(&mut self.open, open) {
            self.used.insert(nonce, (place, head.number));
        }
        // A reorg gave them back.
        for (nonce, (place, _)) in self.used.split_off(&head.nonce) {
            self.open.insert(nonce, place);
        }
        self.used.retain(|_, (_, at)| head.number.0 < at.0.saturating_add(REORG_BLOCKS_MAX));
        for place in self.open.values_mut() {
            place.hash = place.hash.filter(|hash| !unknown.contains(hash));
        }
        self.push()
    }

    /// Takes on a call for a wish, or takes note that it is still there; `at_stake` channels must remain defensible. What must be broadcast
    /// now, as for [`Account::block`].
    ///
    /// # Errors
    /// [`Withheld`]; nothing has changed but the [count](Account::withheld).
    pub fn submit(
        &mut self,
        wish: Option<Wish>,
        call: Call,
        urgency: Urgency,
        at_stake: u64,
    ) -> Result<Vec<Tx>, Withheld> {
        let asked = Asked { wish, call, urgency, at: self.head.time, is_withdrawn: false };
        if !self.is_wanted(&asked) {
            return Ok(Vec::new());
        }
        if let Some(place) = self.open.values_mut().find(|p| p.asked.call == asked.call) {
            place.asked = asked;
            return Ok(self.push());
        }
        self.check_reserve(&asked.call, at_stake).inspect_err(|_| self.withheld += 1)?;
        if !self.replace_same(&asked) {
            self.allot(asked);
        }
        Ok(self.push())
    }

    /// Takes note that the node wishes this no more: a newer state stands, or it is done. Its calls are not broadcast again, whatever
    /// becomes of their nonces, until the node asks for them anew.
    pub fn withdraw(&mut self, wish: &Wish) {
        let used = self.used.values_mut().map(|(place, _)| place);
        for place in self.open.values_mut().chain(used) {
            place.asked.is_withdrawn |= place.asked.wish.as_ref() == Some(wish);
        }
    }

    /// Takes note of what the endpoint said to a transaction. What must be broadcast in its place.
    pub fn sent(&mut self, tx: &Tx, answer: Answer) -> Vec<Tx> {
        let urgency = self.urgency_from(tx.nonce);
        let push = self.push_of(urgency);
        let Some(place) = self.open.get_mut(&tx.nonce) else { return Vec::new() };
        if place.fee != tx.fee || place.asked.call != tx.call {
            return Vec::new();
        }
        match answer {
            Answer::Taken(hash) => {
                (place.hash, place.taken) = (Some(hash), true);
                Vec::new()
            }
            Answer::Underpriced => {
                // Something from before a crash, of unknown fee.
                let doubled = FeePerGas(place.fee.0.saturating_mul(2));
                let Some(fee) = push.raised(place.fee, doubled) else { return Vec::new() };
                (place.fee, place.sent_at) = (fee, self.head.number);
                alloc::vec![place.tx(tx.nonce)]
            }
            Answer::NonceUsed => self.used_up_to(tx.nonce),
        }
    }

    /// Transactions that the endpoint has, as far as is known: by nonce, ascending.
    pub fn open(&self) -> impl Iterator<Item = (Tx, TxHash)> + '_ {
        self.open.iter().filter_map(|(nonce, p)| Some((p.tx(*nonce), p.hash?)))
    }

    /// Everything that is not mined yet, by nonce, ascending.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.open.iter().map(|(nonce, place)| Waiting {
            nonce: *nonce,
            fee: place.fee,
            call: &place.asked.call,
            hash: place.hash,
            is_wanted: self.is_wanted(&place.asked),
        })
    }

    /// What a new transaction offers now.
    pub fn fresh_fee(&self) -> FeePerGas {
        self.fresh()
    }

    /// How many wishes were [`Withheld`], counted each time.
    pub fn withheld(&self) -> u64 {
        self.withheld
    }

    /// The chain is further than the last head said. What was never taken is wanted elsewhere; for the rest the node asks again.
    fn used_up_to(&mut self, nonce: u64) -> Vec<Tx> {
        let open = self.open.split_off(&nonce.saturating_add(1));
        let mut again = None;
        for (at, place) in core::mem::replace(&mut self.open, open) {
            if at == nonce && !place.taken && self.is_wanted(&place.asked) {
                again = Some(place.asked);
            } else {
                self.used.insert(at, (place, self.head.number));
            }
        }
        self.head.nonce = nonce.saturating_add(1);
        if let Some(asked) = again {
            self.allot(asked);
        }
        self.push()
    }

    /// Puts a wish in the place of one of the same key; says whether that can be.
    fn replace_same(&mut self, asked: &Asked) -> bool {
        let (push, fresh) = (self.push_of(asked.urgency), self.fresh());
        let key = key_of(&asked.call);
        let Some(place) = self.open.values_mut().rfind(|p| key_of(&p.asked.call) == key) else {
            return false;
        };
        let Some(fee) = push.raised(place.fee, fresh) else { return false };
        place.put(asked.clone(), fee, self.head.number);
        true
    }

    /// Gives a wish the lowest nonce that is free, or whose transaction is lost and wanted no more.
    fn allot(&mut self, asked: Asked) {
        let (push, fresh) = (self.push_of(asked.urgency), self.fresh());
        let mut nonce = self.head.nonce;
        loop {
            match self.open.get(&nonce) {
                None => break,
                Some(place) if self.is_idle(place) => {
                    if let Some(fee) = push.raised(place.fee, fresh) {
                        let now = self.head.number;
                        if let Some(place) = self.open.get_mut(&nonce) {
                            place.put(asked, fee, now);
                        }
                        return;
                    }
                }
                Some(_) => {}
            }
            nonce += 1;
        }
        self.open.insert(nonce, Place::new(asked, push.first(fresh), self.head.number));
    }

    /// Everything that must be broadcast.
    fn push(&mut self) -> Vec<Tx> {
        let wanted = |(_, p): &(&u64, &Place)| self.is_wanted(&p.asked);
        let Some((&top, _)) = self.open.iter().rfind(wanted) else { return Vec::new() };
        self.fill(top);
        let fresh = self.fresh();
        let mut txs = Vec::new();
        let (mut urgency, mut above) = (Urgency::Normal, None);
        let nonces: Vec<u64> = self.open.range(..=top).rev().map(|(nonce, _)| *nonce).collect();
        for nonce in nonces {
            let Some(place) = self.open.get(&nonce) else { continue };
            let is_wanted = self.is_wanted(&place.asked);
            if is_wanted {
                urgency = urgency.or(place.asked.urgency);
                above = Some(place.asked.clone());
            }
            let push = self.push_of(urgency);
            let (now, frozen) = (self.head.number, self.config.mutant("fee-never-bumped"));
            let Some(place) = self.open.get_mut(&nonce) else { continue };
            let is_stuck = now.0 >= place.sent_at.0.saturating_add(push.wait);
            let raised = push.raised(place.fee, fresh).filter(|_| is_stuck && !frozen);
            if let Some(fee) = raised {
                (place.fee, place.hash, place.sent_at) = (fee, None, now);
            }
            if place.hash.is_none() {
                // What nobody wants any more must not be said again: it may be an old state.
                if let Some(above) = above.clone().filter(|_| !is_wanted) {
                    place.asked = above;
                }
                txs.push(place.tx(nonce));
            }
        }
        txs.reverse();
        txs
    }

    /// Occupies every nonce below `top`: gaps, and lost transactions that nobody wants, get a copy of what waits above them.
    fn fill(&mut self, top: u64) {
        let fresh = self.fresh();
        let mut above: Option<Asked> = None;
        for nonce in (self.head.nonce.max(top.saturating_sub(FILL_MAX))..=top).rev() {
            let found = self.open.get(&nonce);
            if let Some(place) = found.filter(|place| !self.is_idle(place)) {
                if self.is_wanted(&place.asked) {
                    above = Some(place.asked.clone());
                }
                continue;
            }
            let Some(asked) = above.clone() else { continue };
            let push = self.push_of(asked.urgency);
            let fee = match found {
                None => Some(push.first(fresh)),
                // Where no more may be offered, what was lost is sent once more.
                Some(place) => push.raised(place.fee, fresh),
            };
            let taken = found.is_some_and(|place| place.taken);
            if let Some(fee) = fee {
                let place = Place { taken, ..Place::new(asked, fee, self.head.number) };
                self.open.insert(nonce, place);
            }
        }
    }

    /// Most of what is wanted at this nonce and above.
    fn urgency_from(&self, nonce: u64) -> Urgency {
        let above = self.open.range(nonce..).filter(|(_, p)| self.is_wanted(&p.asked));
        above.fold(Urgency::Normal, |most, (_, p)| most.or(p.asked.urgency))
    }

    fn push_of(&self, urgency: Urgency) -> Push {
        if self.config.mutant("defence-at-leisure") {
            return Push::of(Urgency::Normal, &self.fees, self.head.time, self.block_s);
        }
        Push::of(urgency, &self.fees, self.head.time, self.block_s)
    }

    /// What a new transaction offers: enough for gas to become twice as dear until it is mined.
    fn fresh(&self) -> FeePerGas {
        FeePerGas(self.head.base_fee.0.saturating_mul(2))
    }

    /// Whether the node asked for it lately and did not withdraw it, and it can still do what it is for.
    fn is_wanted(&self, asked: &Asked) -> bool {
        let late = matches!(asked.urgency, Urgency::Defence { deadline, .. } if deadline <= self.head.time);
        let lately = self.head.time.0 <= asked.at.0.saturating_add(self.fees.wanted_s);
        lately && !late && !asked.is_withdrawn
    }

    /// Whether its nonce can be given to something else.
    fn is_idle(&self, place: &Place) -> bool {
        place.hash.is_none() && !self.is_wanted(&place.asked)
    }

    /// Deposits alone are held back: everything else gets money out.
    fn check_reserve(&self, call: &Call, at_stake: u64) -> Result<(), Withheld> {
        let (Some(balance), Call::Deposit { channel, .. }) = (self.head.balance, call) else {
            return Ok(());
        };
        let most = self.fees.defence_max.max(self.fees.max);
        let gas = self.fees.defence_gas.saturating_mul(at_stake);
        let committed = self.open.values().map(|p| native_deposit(&p.asked.call));
        let spent = committed.fold(native_deposit(call), Amount::saturating_add);
        let deposit_gas = self.fees.max.times(DEPOSIT_GAS);
        let needed = most.times(gas).saturating_add(deposit_gas).saturating_add(spent);
        let missing = needed.saturating_sub(balance);
        if missing.is_zero() {
            Ok(())
        } else {
            Err(Withheld::Reserve { channel: *channel, missing })
        }
    }
}

impl Place {
    fn new(asked: Asked, fee: FeePerGas, now: BlockNum) -> Place {
        Place { asked, fee, hash: None, sent_at: now, taken: false }
    }

    fn put(&mut self, asked: Asked, fee: FeePerGas, now: BlockNum) {
        *self = Place { asked, fee, hash: None, sent_at: now, taken: self.taken };
    }

    fn tx(&self, nonce: u64) -> Tx {
        Tx { nonce, fee: self.fee, call: self.asked.call.clone() }
    }
}

/// Gas of a deposit, rounded up.
const DEPOSIT_GAS: u64 = 100_000;

/// Nonces that are filled at once: bounds what an endpoint that tells a wrong nonce can make us broadcast.
const FILL_MAX: u64 = 256;

#[cfg(test)]
mod tests;
