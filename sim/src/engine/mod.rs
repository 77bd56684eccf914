//! Three ways to execute a run.

pub mod madsim;
pub mod reference;
pub mod stream;
pub mod turmoil;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::invariant::{self, Closest, Violation};
use crate::observe::PartyId;
use crate::scenario::FaultKind;
use crate::scenario::{Engine, Plan};
use crate::world::triggers::Trigger;
use crate::world::{Options, World, chain};
use fairway_core::types::Amount;

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// How it ended.
    pub verdict: Verdict,
    /// The trace digest, 64 hexadecimal digits.
    pub digest: String,
    /// Driver steps, all nodes.
    pub steps: u64,
    /// Observations.
    pub observations: u64,
    /// Virtual nanoseconds.
    pub virtual_ns: u64,
    /// Blocks on the canonical chain.
    pub blocks: u64,
    /// Faults that struck, by kind.
    pub faults_fired: IndexMap<String, u64>,
    /// Which kinds of fault struck at which events: `crash.power_loss at VoucherSigned`.
    #[serde(default)]
    pub meetings: Vec<String>,
    /// Goals of the scenario that were reached.
    pub goals: Vec<String>,
    /// Which operations of the plan began and which of its faults struck.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
    /// What each party owns on chain at the end.
    pub balances: Vec<(String, Amount)>,
    /// When the invariant broke: virtual time and step.
    pub violated_at: Option<(u64, u64)>,
    /// Signatures recovered, and how often somebody asked.
    pub recovered: (u64, u64),
    /// Syncs of all disks.
    pub syncs: u64,
    /// How near the run came to a loss.
    pub closest: Option<Closest>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held.
    Pass,
    /// An invariant broke.
    Violation(Violation),
    /// A node panicked.
    Panic(String),
    /// Too many steps.
    Budget(u64),
}

impl Verdict {
    /// Whether everything held.
    pub fn is_pass(&self) -> bool {
        *self == Verdict::Pass
    }

    /// Whether the simulation itself is wrong: its chain did something else than the deployed contracts, or the enforcer's two oracles
    /// contradict each other.
    pub fn is_harness_bug(&self) -> bool {
        let bugs = [chain::DISAGREEMENT, invariant::CONTRADICTION];
        matches!(self, Verdict::Panic(message) if bugs.iter().any(|bug| message.starts_with(bug)))
    }
}

impl RunReport {
    /// The report of a run that a panic ended.
    pub fn panicked(message: String) -> RunReport {
        RunReport {
            verdict: Verdict::Panic(message),
            digest: String::new(),
            steps: 0,
            observations: 0,
            virtual_ns: 0,
            blocks: 0,
            faults_fired: IndexMap::new(),
            meetings: Vec::new(),
            goals: Vec::new(),
            triggers: Vec::new(),
            balances: Vec::new(),
            violated_at: None,
            recovered: (0, 0),
            syncs: 0,
            closest: None,
        }
    }
}

/// Whether this build holds the engine.
///
/// # Errors
/// Why not, and how to get it.
pub fn check_available(engine: Engine) -> Result<(), String> {
    match engine {
        Engine::Reference => Ok(()),
        Engine::Madsim | Engine::Turmoil if madsim::AVAILABLE => Ok(()),
        Engine::Madsim | Engine::Turmoil => Err(stream::Unavailable { engine }.to_string()),
    }
}

/// Runs a plan on an engine. The world is there afterwards where the engine can give it back.
pub fn run(
    engine: Engine,
    plan: Plan,
    chance: Chance,
    options: Options,
) -> (RunReport, Option<World>) {
    let ran = match engine {
        Engine::Reference => Ok(reference::run(plan, chance, options)),
        Engine::Madsim => madsim::run(plan, chance, options),
        Engine::Turmoil => turmoil::run(plan, chance, options),
    };
    match ran {
        Ok((report, world)) => (report, Some(world)),
        Err(unavailable) => (RunReport::panicked(unavailable.to_string()), None),
    }
}

/// Sums up a world that is over.
pub fn report(world: &World, verdict: Option<Verdict>) -> RunReport {
    let fired = |kind: &FaultKind, n: &u64| (kind.name().to_string(), *n);
    let verdict = verdict.unwrap_or_else(|| match &world.violation {
        Some(violation) => Verdict::Violation(violation.clone()),
        None => Verdict::Pass,
    });
    RunReport {
        verdict,
        digest: world.trace.digest().iter().map(|b| format!("{b:02x}")).collect(),
        steps: world.steps,
        observations: world.trace.observations(),
        virtual_ns: world.now,
        blocks: world.chain.head().number.0,
        faults_fired: world.fired.iter().map(|(k, n)| fired(k, n)).collect(),
        meetings: world.meetings.seen().collect(),
        goals: world.goals.reached().map(str::to_string).collect(),
        triggers: world.triggers(),
        balances: (0..world.parties.len())
            .map(|i| {
                let party = &world.parties[PartyId(i).0];
                (party.name.clone(), world.chain.balance_of(party.key.address()))
            })
            .collect(),
        violated_at: world.violated_at,
        recovered: world.memo.counts(),
        syncs: world.parties.iter().map(|p| p.disk.work().file_syncs).sum(),
        closest: world.closest(),
    }
}
