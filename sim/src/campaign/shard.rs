//! One shard of a campaign: its units one after the other, without those that are finished.

use std::time::Instant;

use super::results::{Results, ResultsError, Timing};
use super::{CampaignPlan, Entry, Fuzzer, Part, Sum, Unit, Until, sweep_each};
use crate::engine::RunReport;
use crate::scenario::Scenario;
use crate::seed_id::Crypto;

/// The units of a shard, parted by whether they are finished.
#[derive(Clone, Debug, Default)]
pub struct Todo {
    /// What is left.
    pub units: Vec<Unit>,
    /// How many were finished before.
    pub finished: usize,
}

/// What a shard came to, of what it ran itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Units.
    pub units: u64,
    /// Runs.
    pub runs: u64,
    /// Runs that did not end well.
    pub failed: u64,
    /// Fuzz inputs.
    pub inputs: u64,
    /// Fuzz inputs that failed.
    pub inputs_failed: u64,
}

/// What is left of a shard; of all shards for `None`.
///
/// # Errors
/// When the results cannot be listed.
pub fn todo(
    plan: &CampaignPlan,
    results: &Results<'_>,
    shard: Option<u64>,
) -> Result<Todo, ResultsError> {
    let finished = results.finished()?;
    let all: Vec<Unit> = match shard {
        Some(shard) => plan.units_of(shard).collect(),
        None => plan.work.units().collect(),
    };
    let mut todo = Todo::default();
    for unit in all {
        if finished.contains_key(&unit) {
            todo.finished += 1;
        } else {
            todo.units.push(unit);
        }
    }
    Ok(todo)
}

/// Who is told while a shard runs.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// After each run, from any thread.
    pub run: &'a (dyn Fn(&RunReport) + Sync),
    /// After each unit, when its result is kept: its number among these units, from 1.
    pub unit: &'a dyn Fn(usize, Unit, &Sum),
}

/// Runs units and keeps what each came to before it begins the next. The fuzzer must be that of the plan; where the plan fuzzes nothing,
/// none is needed.
///
/// # Errors
/// When a scenario is not the planned one, the fuzzer fails, or the results cannot be written.
pub fn run_units(
    plan: &CampaignPlan,
    results: &Results<'_>,
    units: &[Unit],
    workers: usize,
    fuzzer: Option<&Fuzzer>,
    told: Told<'_>,
) -> Result<Ran, ResultsError> {
    let mut loaded: Option<(usize, Scenario)> = None;
    let mut ran = Ran::default();
    for (number, unit) in units.iter().enumerate() {
        let began = Instant::now();
        let part = plan.work.part(unit.entry).expect("units are the plan's");
        let sum = match part {
            Part::Scenario(entry) => {
                let scenario = match loaded.take() {
                    Some((of, scenario)) if of == unit.entry => scenario,
                    _ => plan.work.load(entry)?,
                };
                let sum = run_seeds(plan, entry, &scenario, *unit, workers, told);
                loaded = Some((unit.entry, scenario));
                ran.runs += sum.runs;
                ran.failed += sum.failed();
                sum
            }
            Part::Target(target) => {
                let fuzzer = fuzzer.expect("a plan that fuzzes is given a fuzzer");
                let fuzzed = fuzzer.run(target, unit.first..unit.end, workers)?;
                // Before the unit: one that is finished has its inputs kept.
                for (hash, bytes) in fuzzed.inputs {
                    results.keep_input(target, &hash, bytes)?;
                }
                ran.inputs += fuzzed.sum.runs;
                ran.inputs_failed += fuzzed.sum.failed();
                fuzzed.sum
            }
        };
        ran.units += 1;
        let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let timing = Timing { runs: sum.runs, wall_ms, threads: workers as u64 };
        results.keep(*unit, &sum, timing)?;
        (told.unit)(number + 1, *unit, &sum);
    }
    Ok(ran)
}

fn run_seeds(
    plan: &CampaignPlan,
    entry: &Entry,
    scenario: &Scenario,
    unit: Unit,
    workers: usize,
    told: Told<'_>,
) -> Sum {
    let work = &plan.work;
    let (real, toy) = (work.how(entry, Crypto::Real), work.how(entry, Crypto::Toy));
    let how_of = |seed| match work.crypto(seed) {
        Crypto::Real => &real,
        Crypto::Toy => &toy,
    };
    let seeds = unit.first..unit.end;
    Sum::of(&sweep_each(&how_of, scenario, seeds, workers, Until::All, told.run))
}
