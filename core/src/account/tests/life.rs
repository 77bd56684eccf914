//! Goal: whatever happens, no nonce is missing, no fee is too low for a replacement or too high, what stays wanted is mined, and what is
//! withdrawn is not broadcast again. Method: a chain and a mempool in a page of code, and any sequence of wishes, withdrawals, blocks,
//! losses, operators, reorgs, restarts and base fees.

use alloc::collections::VecDeque;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::effect::Want;
use crate::event::WantedTx;

/// A chain and its mempool as one account sees them.
struct Pool {
    pending: BTreeMap<u64, Tx>,
    /// What each block took.
    blocks: Vec<Vec<Tx>>,
    base: u64,
}

impl Pool {
    fn nonce(&self) -> u64 {
        self.blocks.iter().map(|body| body.len() as u64).sum()
    }

    fn head(&self) -> Head {
        Head { nonce: self.nonce(), ..head(self.blocks.len() as u64) }
    }

    fn send(&mut self, tx: &Tx) -> Answer {
        if tx.nonce < self.nonce() {
            return Answer::NonceUsed;
        }
        if let Some(old) = self.pending.get(&tx.nonce) {
            let least = replacement(old.fee).expect("far below the end");
            if old != tx && tx.fee < least {
                return Answer::Underpriced;
            }
        }
        self.pending.insert(tx.nonce, tx.clone());
        Answer::Taken(hash(tx))
    }

    fn mine(&mut self) {
        let mut body = Vec::new();
        let mut nonce = self.nonce();
        while self.pending.get(&nonce).is_some_and(|tx| tx.fee.0 >= self.base) {
            body.extend(self.pending.remove(&nonce));
            nonce += 1;
        }
        self.blocks.push(body);
    }

    fn has_mined(&self, call: &Call) -> bool {
        self.blocks.iter().flatten().any(|tx| tx.call == *call)
    }
}

/// An account, its port, and what the node wants.
struct Life {
    account: Account,
    pool: Pool,
    wanted: BTreeMap<u8, (u8, bool)>,
    /// What was wanted and is no more.
    withdrawn: BTreeSet<(u8, u8)>,
    /// What this account last offered for each nonce.
    offered: BTreeMap<u64, Tx>,
    /// Whether it ever had to answer.
    defends: bool,
}

impl Life {
    fn new() -> Life {
        let pool = Pool { pending: BTreeMap::new(), blocks: vec![vec![], vec![]], base: BASE.0 };
        let account = Account::new(&Config { fees: FEES, ..Config::default() }, pool.head());
        let (wanted, withdrawn) = (BTreeMap::new(), BTreeSet::new());
        Life { account, pool, wanted, withdrawn, offered: BTreeMap::new(), defends: false }
    }

    fn broadcast(&mut self, txs: Vec<Tx>) {
        let mut txs: VecDeque<Tx> = txs.into();
        let mut rounds = 0;
        while let Some(tx) = txs.pop_front() {
            rounds += 1;
            assert!(rounds < 1_000, "the port broadcasts without end");
            if let Some(old) = self.offered.insert(tx.nonce, tx.clone()) {
                let least = replacement(old.fee).expect("far below the end");
                // Where no more may be offered, another one takes the place of what the endpoint has lost, or never took.
                let lost = self.pool.pending.get(&tx.nonce) != Some(&old) && tx.fee == old.fee;
                assert!(old == tx || tx.fee >= least || lost, "{old:?} is followed by {tx:?}");
            }
            self.defends |= self.wanted.values().any(|(_, urgent)| *urgent);
            let most = if self.defends { FEES.defence_max } else { FEES.max };
            assert!(tx.fee <= most, "{tx:?}");
            let is_withdrawn = self.withdrawn.iter().any(|(k, v)| payout(*k, *v) == tx.call);
            assert!(!is_withdrawn, "{tx:?} was withdrawn");
            let answer = self.pool.send(&tx);
            txs.extend(self.account.sent(&tx, answer));
        }
        self.check();
    }

    /// No gap below what the account has open.
    fn check(&self) {
        let open: BTreeSet<u64> = self.account.open().map(|(tx, _)| tx.nonce).collect();
        assert_eq!(open.len(), self.account.open().count(), "two share a nonce");
        let wanted = self.account.open.iter().rfind(|(_, p)| self.account.is_wanted(&p.asked));
        let Some((top, _)) = wanted else { return };
        let low = self.pool.nonce().max(self.account.head.nonce);
        // What was there before a crash and offers as much as may be offered stays.
        let before = |nonce| self.pool.pending.contains_key(&nonce);
        let held = (low..=*top).all(|nonce| open.contains(&nonce) || before(nonce));
        assert!(held, "{low}..={top} in {open:?}");
    }

    /// Of one thing the newest version is wanted.
    fn want(&mut self, key: u8, version: u8, urgent: bool) {
        if self.wanted.get(&key).is_some_and(|(before, _)| *before != version) {
            self.withdraw(key);
        }
        self.withdrawn.remove(&(key, version));
        self.wanted.insert(key, (version, urgent));
        self.submit();
    }

    fn withdraw(&mut self, key: u8) {
        if let Some((version, _)) = self.wanted.remove(&key) {
            self.withdrawn.insert((key, version));
            self.account.withdraw(&version_of(key, version));
        }
    }

    fn submit(&mut self) {
        for (key, (version, urgent)) in self.wanted.clone() {
            let deadline = ChainTime(self.account.head.time.0 + 100);
            let urgency = match urgent {
                true => Urgency::Defence { deadline, window_s: 240 },
                false => Urgency::Normal,
            };
            let (wish, call) = (version_of(key, version), payout(key, version));
            let txs = self.account.submit(Some(wish), call, urgency, 0);
            self.broadcast(txs.expect("nothing is withheld"));
        }
    }

    fn told(&mut self) {
        let known: BTreeSet<TxHash> = self.pool.pending.values().map(hash).collect();
        let mined: BTreeSet<TxHash> = self.pool.blocks.iter().flatten().map(hash).collect();
        let all = self.account.open().map(|(_, hash)| hash);
        let unknown = all.filter(|h| !known.contains(h) && !mined.contains(h)).collect();
        let head = self.pool.head();
        let txs = self.account.block(head, &unknown);
        self.broadcast(txs);
    }

    fn block(&mut self) {
        self.pool.mine();
        self.told();
        self.wanted.retain(|key, (version, _)| !self.pool.has_mined(&payout(*key, *version)));
    }

    /// Whatever an operator asks for, what it leads to is broadcast under the same rules.
    fn bump(&mut self, nth: usize, fee: Option<u64>) {
        let Some(nonce) = self.account.waiting().nth(nth).map(|w| w.nonce) else { return };
        if let Ok(txs) = self.account.bump(nonce, fee.map(FeePerGas)) {
            self.broadcast(txs);
        }
    }

    fn reorg(&mut self, depth: usize, lost: bool) {
        let at = self.pool.blocks.len().saturating_sub(depth).max(2);
        let dropped = self.pool.blocks.split_off(at);
        let count = dropped.len();
        if !lost {
            self.pool.pending.extend(dropped.into_iter().flatten().map(|tx| (tx.nonce, tx)));
        }
        self.pool.blocks.resize(at + count, vec![]);
        self.pool.mine();
        self.told();
    }

    fn restart(&mut self) {
        let config = Config { fees: FEES, ..Config::default() };
        self.account = Account::new(&config, self.pool.head());
        self.offered.clear();
    }
}

fn version_of(key: u8, version: u8) -> Wish {
    let tx = WantedTx::Reclaim { target: channel(version) };
    Wish { channel: channel(key), want: Want::Tx(tx) }
}

#[derive(Clone, Debug)]
enum Trouble {
    Want(u8, u8, bool),
    Withdraw(u8),
    Block,
    Lose(usize),
    Bump(usize, Option<u64>),
    Reorg(usize, bool),
    Restart,
    Base(u64),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        4 => (0..6u8, 0..3u8, any::<bool>()).prop_map(|(k, v, u)| Trouble::Want(k, v, u)),
        2 => (0..6u8).prop_map(Trouble::Withdraw),
        6 => Just(Trouble::Block),
        2 => (0..6usize).prop_map(Trouble::Lose),
        2 => (0..6usize, proptest::option::of(1..11_000u64)).prop_map(|(n, fee)| Trouble::Bump(n, fee)),
        1 => (1..4usize, any::<bool>()).prop_map(|(d, l)| Trouble::Reorg(d, l)),
        1 => Just(Trouble::Restart),
        1 => (1..900u64).prop_map(Trouble::Base),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_that_stays_wanted_is_mined(
        troubles in proptest::collection::vec(trouble(), 0..60),
    ) {
        let mut life = Life::new();
        for trouble in troubles {
            match trouble {
                Trouble::Want(key, version, urgent) => life.want(key, version, urgent),
                Trouble::Withdraw(key) => life.withdraw(key),
                Trouble::Block => life.block(),
                Trouble::Lose(nth) => {
                    let nonce = life.pool.pending.keys().nth(nth).copied();
                    nonce.map(|nonce| life.pool.pending.remove(&nonce));
                }
                Trouble::Bump(nth, fee) => life.bump(nth, fee),
                Trouble::Reorg(depth, lost) => life.reorg(depth, lost),
                Trouble::Restart => life.restart(),
                Trouble::Base(base) => life.pool.base = base,
            }
        }
        life.pool.base = 999;
        for _ in 0..300 {
            if life.wanted.is_empty() {
                break;
            }
            life.submit();
            life.block();
        }
        prop_assert!(life.wanted.is_empty(), "never mined: {:?}", life.wanted);
    }
}
