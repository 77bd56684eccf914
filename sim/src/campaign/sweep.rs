//! A range of seeds over workers, in any order, with the same result in every order.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fairway_core::types::Amount;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::How;
use crate::engine::RunReport;
use crate::invariant::Closest;
use crate::scenario::Scenario;

/// What a range of seeds of one scenario came to. Equal for every number of workers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Which kinds of fault struck at which events, and in which runs.
    pub meetings: BTreeMap<String, Met>,
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
        for meeting in &report.meetings {
            self.meetings.entry(meeting.clone()).or_insert(Met::never()).add(&Met::once(seed));
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
        for (meeting, met) in other.meetings {
            self.meetings.entry(meeting).or_insert(Met::never()).add(&met);
        }
        self.digests.extend(other.digests);
        self.slacks.extend(other.slacks);
        if self.closest.add(&other.closest) {
            self.closest_call = other.closest_call;
        }
        self.failed.extend(other.failed);
    }
}

/// In which runs something was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// How many.
    pub runs: u64,
    /// The lowest seed.
    pub first: u64,
    /// The highest seed; equal to the lowest, of all seeds one alone met it.
    pub last: u64,
}

impl Met {
    fn never() -> Met {
        Met { runs: 0, first: u64::MAX, last: 0 }
    }

    fn once(seed: u64) -> Met {
        Met { runs: 1, first: seed, last: seed }
    }

    /// Takes other runs into account.
    pub fn add(&mut self, other: &Met) {
        self.runs += other.runs;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
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
    sweep_each(&|_| how, scenario, seeds, workers, until, seen)
}

/// As [`sweep`], with each seed run in its own way.
pub fn sweep_each<'a>(
    how_of: &(dyn Fn(u64) -> &'a How + Sync),
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
                    let run = how_of(seed).run(scenario, seed, false);
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
