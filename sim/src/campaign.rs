//! Many runs: seeds over workers, in any order, with the same result in every order.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fairway_core::nitro;
use fairway_core::types::Amount;
use indexmap::IndexMap;

use crate::chance::{Chance, Tape};
use crate::engine::{self, RunReport, Verdict};
use crate::invariant::Closest;
use crate::scenario::{Engine, Plan, Scenario};
use crate::seed_id::{Crypto, Hex8, SeedId};
use crate::story::{Recorder, Recording};
use crate::world::Options;

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

/// What a range of seeds of one scenario came to. Equal for every number of workers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs that ended well.
    pub passed: u64,
    /// Seeds that did not, in order, with their reports.
    pub failed: Vec<(u64, RunReport)>,
    /// Runs in all.
    pub runs: u64,
    /// Driver steps.
    pub steps: u64,
    /// Virtual nanoseconds.
    pub virtual_ns: u128,
    /// Signatures really recovered.
    pub recovered: u64,
    /// Syncs.
    pub syncs: u64,
    /// Faults that struck, by kind.
    pub faults: IndexMap<String, u64>,
    /// How many runs reached each goal.
    pub goals: IndexMap<String, u64>,
    /// All digests in the order of seeds.
    pub digests: Vec<(u64, String)>,
    /// The smallest margin of each seed in which there was one.
    pub slacks: BTreeMap<u64, Amount>,
    /// How near all runs together came to a loss, with the seed of the closest call.
    pub closest: Closest,
    /// That seed, and who it was.
    pub closest_call: Option<(u64, String)>,
}

impl Tally {
    fn add(&mut self, seed: u64, report: RunReport) {
        self.runs += 1;
        self.steps += report.steps;
        self.virtual_ns += u128::from(report.virtual_ns);
        self.recovered += report.recovered.0;
        self.syncs += report.syncs;
        for (kind, n) in &report.faults_fired {
            *self.faults.entry(kind.clone()).or_default() += n;
        }
        for goal in &report.goals {
            *self.goals.entry(goal.clone()).or_default() += 1;
        }
        self.digests.push((seed, report.digest.clone()));
        let slack = report.closest.and_then(|c| c.slack);
        self.slacks.extend(slack.map(|(least, _)| (seed, least)));
        if let Some(closest) = &report.closest
            && self.closest.add(closest)
        {
            let who = closest.slack.and_then(|(_, who)| report.balances.get(who.0));
            self.closest_call = who.map(|(name, _)| (seed, name.clone()));
        }
        if report.verdict.is_pass() {
            self.passed += 1;
        } else {
            self.failed.push((seed, report));
        }
    }

    /// Adds another range's tally.
    pub fn merge(&mut self, other: Tally) {
        self.passed += other.passed;
        self.runs += other.runs;
        self.steps += other.steps;
        self.virtual_ns += other.virtual_ns;
        self.recovered += other.recovered;
        self.syncs += other.syncs;
        for (kind, n) in other.faults {
            *self.faults.entry(kind).or_default() += n;
        }
        for (goal, n) in other.goals {
            *self.goals.entry(goal).or_default() += n;
        }
        self.digests.extend(other.digests);
        self.slacks.extend(other.slacks);
        if self.closest.add(&other.closest) {
            self.closest_call = other.closest_call;
        }
        self.failed.extend(other.failed);
    }
}

/// When to stop a range before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never.
    All,
    /// At the first failing seed, counted in the order of seeds.
    FirstFailure,
}

/// Runs a range of seeds of one scenario on `workers` threads. `seen` is called after each run, from any thread.
pub fn sweep(
    how: &How,
    scenario: &Scenario,
    seeds: std::ops::Range<u64>,
    workers: usize,
    until: Until,
    seen: &(dyn Fn(&RunReport) + Sync),
) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let first_failure = AtomicU64::new(u64::MAX);
    let done: Mutex<Vec<(u64, RunReport)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || seed > first_failure.load(Ordering::Relaxed) {
                        return;
                    }
                    let run = how.run(scenario, seed, false);
                    seen(&run.report);
                    if until == Until::FirstFailure && !run.report.verdict.is_pass() {
                        first_failure.fetch_min(seed, Ordering::Relaxed);
                    }
                    done.lock()
                        .expect("no worker panics while it holds the lock")
                        .push((seed, run.report));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("all workers are gone");
    done.sort_by_key(|(seed, _)| *seed);
    let last = first_failure.into_inner();
    let mut tally = Tally::default();
    // What was run beyond the first failure depends on the number of workers; it does not count.
    for (seed, report) in done.into_iter().filter(|(seed, _)| *seed <= last) {
        tally.add(seed, report);
    }
    tally
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
