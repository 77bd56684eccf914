//! What waits for the next block: transactions that an account signed, in the order of its nonces, and those of callers without one.

use std::collections::{BTreeMap, VecDeque};

use fairway_core::account::{Answer, Tx, TxHash, replacement};
use fairway_core::chain_types::B256;
use fairway_core::nitro::Call;
use fairway_core::types::Address;
use tokio::sync::oneshot;

use super::Receipt;

/// What waits, in the order of arrival.
#[derive(Default)]
pub struct Mempool {
    pending: VecDeque<Pending>,
    /// The first nonce that each account has not used.
    nonces: BTreeMap<Address, u64>,
    /// Transactions taken so far: what the next one is called by.
    taken: u64,
}

/// One transaction.
pub struct Pending {
    pub from: Address,
    pub call: Call,
    /// Who waits for its result.
    pub receipt: Option<oneshot::Sender<Receipt>>,
    signed: Option<Signed>,
}

/// What an account signs besides the call.
struct Signed {
    tx: Tx,
    hash: TxHash,
}

impl Mempool {
    /// The first nonce that an account has not used.
    pub fn nonce(&self, of: Address) -> u64 {
        self.nonces.get(&of).copied().unwrap_or(0)
    }

    /// Whether a transaction of this name waits.
    pub fn has(&self, hash: TxHash) -> bool {
        self.pending.iter().filter_map(|p| p.signed.as_ref()).any(|s| s.hash == hash)
    }

    /// Takes a call without an account; a full mempool does not, and drops the receipt.
    pub fn push(&mut self, from: Address, call: Call, receipt: oneshot::Sender<Receipt>) {
        if self.pending.len() < MEMPOOL_MAX {
            self.pending.push_back(Pending { from, call, receipt: Some(receipt), signed: None });
        }
    }

    /// Takes a transaction of an account; `None` when the mempool is full.
    pub fn send(&mut self, from: Address, tx: &Tx) -> Option<Answer> {
        if tx.nonce < self.nonce(from) {
            return Some(Answer::NonceUsed);
        }
        let is_there = |p: &Pending| {
            p.from == from && p.signed.as_ref().is_some_and(|s| s.tx.nonce == tx.nonce)
        };
        let place = self.pending.iter().position(is_there);
        let old = place.and_then(|at| self.pending.get(at)).and_then(|p| p.signed.as_ref());
        if let Some(old) = old {
            if old.tx == *tx {
                return Some(Answer::Taken(old.hash));
            }
            if replacement(old.tx.fee).is_none_or(|least| tx.fee < least) {
                return Some(Answer::Underpriced);
            }
        }
        self.taken += 1;
        let hash = TxHash(B256::left_padding_from(&self.taken.to_be_bytes()));
        let signed = Some(Signed { tx: tx.clone(), hash });
        let new = Pending { from, call: tx.call.clone(), receipt: None, signed };
        match place {
            Some(at) => self.pending[at] = new,
            None if self.pending.len() < MEMPOOL_MAX => self.pending.push_back(new),
            None => return None,
        }
        Some(Answer::Taken(hash))
    }

    /// Takes out what the next block has, in its order. What stands behind a missing nonce stays.
    pub fn take_body(&mut self) -> Vec<Pending> {
        let mut body = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            if let Some(signed) = &pending.signed {
                let next = self.nonces.entry(pending.from).or_default();
                if signed.tx.nonce > *next {
                    self.pending.push_back(pending);
                    continue;
                }
                *next = next.saturating_add(1);
            }
            body.push(pending);
        }
        body
    }
}

/// Transactions that wait for a block at most.
const MEMPOOL_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use fairway_core::types::{Amount, ChannelId, FeePerGas};

    use super::*;

    const ALICE: Address = Address::repeat_byte(1);

    fn tx(nonce: u64, fee: u64, amount: u64) -> Tx {
        let (expected_held, amount) = (Amount::ZERO, Amount::wei(amount));
        let (asset, channel) = (Address::ZERO, ChannelId::default());
        let call = Call::Deposit { asset, channel, expected_held, amount };
        Tx { nonce, fee: FeePerGas(fee), call }
    }

    #[test]
    fn nonces_are_mined_in_order_and_replaced_for_an_eighth_more() {
        let mut mempool = Mempool::default();
        let later = mempool.send(ALICE, &tx(1, 80, 1));
        assert!(mempool.take_body().is_empty(), "the first is missing");
        assert_eq!(mempool.send(ALICE, &tx(1, 80, 1)), later, "it is known");
        assert_eq!(mempool.send(ALICE, &tx(1, 89, 2)), Some(Answer::Underpriced));
        assert!(matches!(mempool.send(ALICE, &tx(1, 90, 2)), Some(Answer::Taken(_))));
        let Some(Answer::Taken(hash)) = mempool.send(ALICE, &tx(0, 80, 3)) else {
            panic!("the first is taken")
        };
        assert!(mempool.has(hash));
        assert_eq!(mempool.take_body().len(), 1);
        let calls: Vec<Call> = mempool.take_body().into_iter().map(|p| p.call).collect();
        assert_eq!(calls, [tx(1, 90, 2).call]);
        assert_eq!(mempool.nonce(ALICE), 2);
        assert_eq!(mempool.send(ALICE, &tx(1, 900, 1)), Some(Answer::NonceUsed));
    }
}
