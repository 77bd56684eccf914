//! How the service is doing: for whoever asks whether the node is ready, and for whoever counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use fairway_core::types::{Amount, BlockNum, ChainTime};
use tokio::sync::watch;

/// How the service is doing right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What is wrong; empty when nothing is.
    pub reasons: BTreeMap<Trouble, String>,
    /// The last head that enough endpoints agreed on.
    pub head: Option<(BlockNum, ChainTime)>,
}

impl Health {
    /// Whether the node hears of the chain, and can act on it, without reserve.
    pub fn is_good(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Kinds of trouble. The service goes on whatever there is, and takes its reason back when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Too few endpoints answer.
    NoQuorum,
    /// One endpoint of several does not answer; the others suffice.
    EndpointDown,
    /// An endpoint is of another chain, or the contracts are not there.
    WrongChain,
    /// Endpoints say different things about a block and none of it can be proven.
    Disagreement,
    /// A block may hide logs of ours, and no endpoint gives its receipts: the node waits at it, and at every other such block.
    NoReceipts,
    /// The head is old, or the endpoints have lost blocks.
    Stale,
    /// The account has too little money for gas.
    NoGasMoney,
    /// A transaction was refused for another reason.
    Refused,
}

impl Trouble {
    /// A short name for labels.
    pub fn code(self) -> &'static str {
        match self {
            Trouble::NoQuorum => "no_quorum",
            Trouble::EndpointDown => "endpoint_down",
            Trouble::WrongChain => "wrong_chain",
            Trouble::Disagreement => "disagreement",
            Trouble::NoReceipts => "no_receipts",
            Trouble::Stale => "stale",
            Trouble::NoGasMoney => "no_gas_money",
            Trouble::Refused => "refused",
        }
    }
}

/// What the service has done since it started. Read by whoever exports it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers given to the node.
    pub answers: Count,
    /// Blocks in them.
    pub blocks: Count,
    /// Logs in them.
    pub logs: Count,
    /// Times that an endpoint failed.
    pub endpoint_failures: Count,
    /// Times that too few endpoints answered, or agreed.
    pub quorum_failures: Count,
    /// Blocks about which endpoints said different things.
    pub disputes: Count,
    /// Of those, how many the receipts' root has settled.
    pub disputes_proven: Count,
    /// Blocks whose bloom allowed logs of ours that nobody showed.
    pub suspicions: Count,
    /// Of those, how many the receipts' root has settled; for the others the node waits and asks again.
    pub suspicions_proven: Count,
    /// Answers that contradicted themselves: headers that do not connect, logs of other blocks.
    pub inconsistencies: Count,
    /// Requests for logs that had to be cut in two.
    pub range_splits: Count,
    /// Transactions handed to the endpoints, each copy counted once.
    pub broadcasts: Count,
    /// Broadcasts that offered more for something that was broadcast before.
    pub replacements: Count,
    /// Transactions of ours that were mined and reverted.
    pub reverts: Count,
    /// Hints of new heads.
    pub hints: Count,
    /// Connections for hints that were lost.
    pub hints_lost: Count,
}

impl Counters {
    /// Every counter with its name.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        // Taken apart, so that none is forgotten here.
        let Counters {
            answers,
            blocks,
            logs,
            endpoint_failures,
            quorum_failures,
            disputes,
            disputes_proven,
            suspicions,
            suspicions_proven,
            inconsistencies,
            range_splits,
            broadcasts,
            replacements,
            reverts,
            hints,
            hints_lost,
        } = self;
        let all = [
            ("answers", answers),
            ("blocks", blocks),
            ("logs", logs),
            ("endpoint_failures", endpoint_failures),
            ("quorum_failures", quorum_failures),
            ("disputes", disputes),
            ("disputes_proven", disputes_proven),
            ("suspicions", suspicions),
            ("suspicions_proven", suspicions_proven),
            ("inconsistencies", inconsistencies),
            ("range_splits", range_splits),
            ("broadcasts", broadcasts),
            ("replacements", replacements),
            ("reverts", reverts),
            ("hints", hints),
            ("hints_lost", hints_lost),
        ];
        all.map(|(name, count)| (name, count.get())).to_vec()
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }
}

/// The writing end of [`Health`].
#[derive(Clone, Debug)]
pub(crate) struct Report(watch::Sender<Health>);

impl Report {
    pub(crate) fn new() -> Report {
        Report(watch::Sender::new(Health::default()))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    /// Says what is wrong in one respect, or that nothing is.
    pub(crate) fn set(&self, trouble: Trouble, reason: Option<String>) {
        self.0.send_if_modified(|health| {
            let before = health.reasons.get(&trouble).cloned();
            match reason {
                Some(reason) => health.reasons.insert(trouble, reason),
                None => health.reasons.remove(&trouble),
            };
            before != health.reasons.get(&trouble).cloned()
        });
    }

    pub(crate) fn head(&self, number: BlockNum, time: ChainTime) {
        self.0
            .send_if_modified(|health| health.head.replace((number, time)) != Some((number, time)));
    }
}

/// What an operator is told about an empty account.
pub(crate) fn no_gas_money(balance: Option<Amount>) -> String {
    let has = balance.map_or_else(|| "too little".to_string(), |b| b.to_string());
    format!("the gas account has {has}: send it native tokens, or no challenge can be answered")
}
