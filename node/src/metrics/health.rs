//! Whether a node lives, how far its start is, and whether it is ready, with reasons.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use fairway_chain::{Health, Trouble};
use fairway_core::driver::Progress;
use serde::Serialize;

use super::facts::Facts;
use super::meter::Metrics;

/// Where a start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Configuration, keys, endpoints.
    Starting,
    /// The files of the log are read.
    Reading,
    /// The log is checked and folded into the state.
    Replaying,
    /// The node runs.
    Running,
    /// The node was told to stop: it takes nothing new, and finishes what it has taken.
    Stopping,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 5] =
        [Phase::Starting, Phase::Reading, Phase::Replaying, Phase::Running, Phase::Stopping];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Reading => "reading",
            Phase::Replaying => "replaying",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
        }
    }
}

/// How far a start is, or whether the node stops. Written by whoever opens the log, read by anybody.
#[derive(Debug, Default)]
pub struct Startup {
    phase: AtomicU8,
    replayed: AtomicU64,
    end: AtomicU64,
    read_us: AtomicU64,
    replay_us: AtomicU64,
}

impl Startup {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        let at = usize::from(self.phase.load(Ordering::Acquire));
        Phase::ALL.get(at).copied().unwrap_or(Phase::Running)
    }

    /// Notes how far the replay is.
    pub fn progress(&self, progress: Progress) {
        self.replayed.store(progress.replayed.0, Ordering::Relaxed);
        self.end.store(progress.end.0, Ordering::Relaxed);
    }

    /// Events that were replayed, and those there are; both zero before the log was read.
    pub fn replayed(&self) -> (u64, u64) {
        (self.replayed.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed))
    }

    /// Notes how long reading the files took, and checking and folding what is in them.
    pub fn took(&self, read: Duration, replay: Duration) {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        self.read_us.store(micros(read), Ordering::Relaxed);
        self.replay_us.store(micros(replay), Ordering::Relaxed);
    }

    /// Seconds that reading and replaying took; zero before.
    pub fn seconds(&self) -> [(&'static str, f64); 2] {
        let seconds = |us: &AtomicU64| us.load(Ordering::Relaxed) as f64 / 1e6;
        [("read", seconds(&self.read_us)), ("replay", seconds(&self.replay_us))]
    }
}

/// One thing that must be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name in labels.
    pub name: &'static str,
    /// Whether it is so.
    pub ok: bool,
    /// Why not, or what the operator should know all the same.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whether a node does everything that it is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether every check is good.
    pub ready: bool,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

impl Readiness {
    /// Judges. `facts` is what the resting node showed, nothing while it is started or does not rest; `chain` is nothing on a
    /// development chain. A node that stops shows nothing, and nothing is concluded from that.
    pub fn of(metrics: &Metrics, facts: Option<&Facts>, chain: Option<&Health>) -> Readiness {
        let stops = metrics.startup().phase() == Phase::Stopping;
        let checks = vec![
            Check::of("replay", replay(metrics)),
            Check::of("log", log(metrics, facts)),
            chain_check(facts, chain, stops),
            Check::of("p2p", p2p(metrics)),
            Check::of("disk", disk(facts)),
            Check::of("signer", signer(facts)),
            Check::of("stop", stops.then(|| DRAINING.to_string())),
        ];
        Readiness { ready: checks.iter().all(|c| c.ok), checks }
    }
}

impl Check {
    fn of(name: &'static str, wrong: Option<String>) -> Check {
        Check { name, ok: wrong.is_none(), reason: wrong.unwrap_or_default() }
    }
}

/// Why a node must be taken for dead; `None` while it lives. A start may take as long as it takes.
pub fn dead(metrics: &Metrics) -> Option<String> {
    let stuck = metrics.busy().filter(|busy| *busy > STUCK_AFTER)?;
    let disk =
        metrics.disk_busy().map(|d| format!(", the disk not answered for {} s", d.as_secs()));
    Some(format!("has not rested for {} s{}", stuck.as_secs(), disk.unwrap_or_default()))
}

fn replay(metrics: &Metrics) -> Option<String> {
    let startup = metrics.startup();
    let (replayed, end) = startup.replayed();
    match startup.phase() {
        Phase::Starting => Some("the node is starting".into()),
        Phase::Reading => Some("the log is being read".into()),
        Phase::Replaying => Some(format!("{replayed} of {end} events are replayed")),
        Phase::Running | Phase::Stopping => None,
    }
}

fn log(metrics: &Metrics, facts: Option<&Facts>) -> Option<String> {
    if let Some(slow) = metrics.disk_busy().filter(|d| *d > SLOW_AFTER) {
        return Some(format!("the disk has not answered for {} s", slow.as_secs()));
    }
    match facts {
        Some(_) => None,
        None => match metrics.startup().phase() {
            Phase::Starting | Phase::Reading | Phase::Replaying => {
                Some("the log is not open yet".into())
            }
            Phase::Running => {
                Some("the node does not rest: it works, or its disk has failed".into())
            }
            Phase::Stopping => None,
        },
    }
}

/// What keeps a node from seeing the chain makes it not ready; an empty gas account or one endpoint of several does not.
fn chain_check(facts: Option<&Facts>, chain: Option<&Health>, stops: bool) -> Check {
    let blind = |trouble: &Trouble| match trouble {
        Trouble::NoQuorum | Trouble::WrongChain | Trouble::Disagreement | Trouble::Stale => true,
        Trouble::EndpointDown | Trouble::NoReceipts | Trouble::NoGasMoney | Trouble::Refused => {
            false
        }
    };
    let reasons = chain.map(|health| &health.reasons);
    let told = |(trouble, why): (&Trouble, &String)| format!("{}: {why}", trouble.code());
    let all: Vec<String> = reasons.into_iter().flatten().map(told).collect();
    let is_blind = reasons.is_some_and(|r| r.keys().any(blind));
    let mut check = Check { name: "chain", ok: !is_blind, reason: all.join("; ") };
    if check.ok && !stops && !facts.is_some_and(|f| f.chain_up && f.head.is_some()) {
        check = Check::of("chain", Some("no block was seen since the start".into()));
    }
    check
}

fn p2p(metrics: &Metrics) -> Option<String> {
    if metrics.startup().phase() < Phase::Running {
        return Some("does not listen yet".into());
    }
    let deaf = "connections cannot be accepted: the process is out of file descriptors";
    metrics.is_deaf().then(|| deaf.to_string())
}

fn disk(facts: Option<&Facts>) -> Option<String> {
    let scarce = "the disk is full: nothing new is taken on; free space there";
    facts.filter(|f| f.scarce).map(|_| scarce.to_string())
}

fn signer(facts: Option<&Facts>) -> Option<String> {
    let why = facts?.recovery.as_ref()?;
    Some(format!("in recovery ({why}): nothing new is signed until the peers have spoken"))
}

/// What a node says that was told to stop.
pub const DRAINING: &str = "draining: the node was told to stop, and takes nothing new";
/// An order of magnitude above the largest batch, and above what a disk may take.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// A disk that needs so long for one write is no disk to promise money on.
const SLOW_AFTER: Duration = Duration::from_secs(2);
