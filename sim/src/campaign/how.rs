//! How one seed of a scenario is run, and what is kept of it.

use std::panic::AssertUnwindSafe;

use fairway_core::nitro;

use crate::chance::{Chance, Tape};
use crate::engine::{self, RunReport, Verdict};
use crate::invariant::Violation;
use crate::scenario::{Engine, Plan, Scenario};
use crate::seed_id::{Crypto, Hex8, SeedId};
use crate::story::{Recorder, Recording};
use crate::world::{Gathered, Options};

/// How to run a scenario, beside its seed.
#[derive(Clone, Debug)]
pub struct How {
    /// On which engine.
    pub engine: Engine,
    /// With which signatures.
    pub crypto: Crypto,
    /// A planted bug instead of the scenario's own; [`NO_MUTANT`] for the node as it is.
    pub mutant: Option<String>,
    /// Invariants that do not watch.
    pub ignore: Vec<String>,
    /// Settings that were applied to the scenario, for seed ids.
    pub settings: Vec<crate::scenario::Setting>,
    /// Of a thousand prefixes, how many the enforcer plays through on the contract's model. It finds or finds not; it changes no run.
    pub search_permille: u64,
}

/// What [`How::search_permille`] is where nobody asks for more.
pub const SEARCH_PERMILLE: u64 = 10;

/// The value of `--mutant` that takes a scenario's planted bug out.
pub const NO_MUTANT: &str = "none";

/// One run: its report, and what was kept of it.
pub struct Run {
    /// What became of it.
    pub report: RunReport,
    /// What was drawn before it.
    pub plan: Plan,
    /// What happened, when it was asked to be kept.
    pub recording: Option<Recording>,
    /// Every answer that was drawn, when the run's chance was [`Chance::recording`] and no panic lost it.
    pub draws: Option<Tape>,
}

impl How {
    /// The reference engine with real signatures.
    pub fn reference() -> How {
        How {
            engine: Engine::Reference,
            crypto: Crypto::Real,
            mutant: None,
            ignore: Vec::new(),
            settings: Vec::new(),
            search_permille: SEARCH_PERMILLE,
        }
    }

    /// The seed id of a run.
    pub fn seed_id(&self, scenario: &Scenario, seed: u64) -> SeedId {
        SeedId {
            scenario: scenario.name().to_string(),
            seed,
            scenario_digest: scenario.digest_short(),
            build: Hex8::prefix_of(crate::build_id::BUILD_ID).unwrap_or(Hex8(0)),
            engine: self.engine,
            mutant: self.mutant.clone(),
            crypto: self.crypto,
            settings: self.settings.iter().cloned().collect(),
        }
    }

    /// The plan of one seed.
    pub fn plan(&self, scenario: &Scenario, seed: u64, tape: &Tape) -> (Plan, Chance) {
        let mut chance = Chance::with_tape(seed, tape.clone());
        let mut plan = scenario.resolve(&mut chance);
        if let Some(mutant) = &self.mutant {
            plan.mutant = (mutant != NO_MUTANT).then(|| mutant.clone());
        }
        (plan, chance)
    }

    /// Runs one seed.
    pub fn run(&self, scenario: &Scenario, seed: u64, record: bool) -> Run {
        let (plan, chance) = self.plan(scenario, seed, &Tape::default());
        self.run_plan(plan, chance, Options { record, ..self.options() })
    }

    /// Runs one seed to its end whatever breaks: its report, and what every invariant found, each once, in order.
    pub fn gather(&self, scenario: &Scenario, seed: u64) -> (RunReport, Vec<Violation>) {
        let gathered = Gathered::default();
        let (plan, chance) = self.plan(scenario, seed, &Tape::default());
        let options = Options { gather: Some(Gathered::clone(&gathered)), ..self.options() };
        let report = self.run_plan(plan, chance, options).report;
        let found = std::mem::take(&mut *gathered.lock().expect("nobody panics while holding it"));
        (report, found)
    }

    /// The options that this way of running means.
    pub fn options(&self) -> Options {
        let crypto = match self.crypto {
            Crypto::Real => nitro::Crypto::Real,
            Crypto::Toy => nitro::Crypto::Toy,
        };
        let search_permille = self.search_permille;
        Options { crypto, ignore: self.ignore.clone(), search_permille, ..Options::default() }
    }

    /// Runs a plan. A panic of a node is a verdict, not the end of the campaign.
    pub fn run_plan(&self, plan: Plan, chance: Chance, options: Options) -> Run {
        let kept = plan.clone();
        let engine = self.engine;
        let ran = catch(|| engine::run(engine, plan, chance, options));
        let (report, world) = match ran {
            Ok(ended) => ended,
            Err(message) => (RunReport::panicked(message), None),
        };
        let draws = world.as_ref().and_then(|w| w.chance.recorded_tape());
        let recording = world.and_then(|w| w.recorder).map(Recorder::finish);
        Run { report, plan: kept, recording, draws }
    }
}

/// Runs `work` and turns a panic into its message with its place.
fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_string()));
        text.unwrap_or_else(|| "a panic without a message".into())
    })
}

/// Keeps the default hook from printing panics that become verdicts.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("FAIRWAY_PANICS").is_some() {
            eprintln!("{info}");
        }
    }));
}

/// The exit code of a verdict.
pub fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Violation(v) if v.kind == crate::invariant::Kind::Liveness => 3,
        Verdict::Violation(_) => 1,
        Verdict::Panic(_) if verdict.is_harness_bug() => 7,
        Verdict::Panic(_) => 5,
        Verdict::Budget(_) => 6,
    }
}
