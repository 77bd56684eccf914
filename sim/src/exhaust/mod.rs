//! Every place where a node can die, and everything that can be left on its disk: each played to the end.
//!
//! ```text
//! survey   one run without a crash: at each driver step of each honest party, what a power loss right before it can leave
//! images   the parts of unsynced writes that persist, as masks; those that recover the same log are one
//! play     a run for each: the crash, the restart, and on to the end under every invariant
//! ```
//!
//! Reference engine alone: it is the one that can stop between two steps.

mod images;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::campaign::{How, Run};
use crate::chance::Chance;
use crate::engine::{RunReport, Verdict, reference};
use crate::observe::PartyId;
use crate::scenario::Plan;
use crate::world::Options;

pub use images::Point;

/// A power loss at one place of a run, and what it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// Who loses power.
    pub party: PartyId,
    /// Right before which of its driver steps, from 1.
    pub step: u64,
    /// Which parts of its unsynced writes persist: bit `i` is part `i` (sectors, lengths, directory entries, file by file).
    pub keeps: u64,
}

impl Crash {
    /// The options of a run with this crash in it.
    pub fn options(self, options: Options) -> Options {
        let (crash_at_step, crash_keeps) = (Some((self.party, self.step)), self.keeps);
        Options { crash_at_step, crash_keeps, ..options }
    }
}

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The run without a crash.
    pub report: RunReport,
    /// Every crash point, in the order in which the run comes to them.
    pub points: Vec<Point>,
}

impl Survey {
    /// Runs the plan without a crash and looks at every crash point.
    pub fn new(how: &How, plan: &Plan, chance: &Chance) -> Survey {
        let options = Options { survey: true, ..how.options() };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reference::survey(plan.clone(), chance.clone(), options)
        }));
        match ran {
            Ok((report, points)) => Survey { report, points },
            // The ordinary way of running words the panic.
            Err(_) => {
                let run = how.run_plan(plan.clone(), chance.clone(), how.options());
                Survey { report: run.report, points: Vec::new() }
            }
        }
    }

    /// All crashes to play, one for each recovered log.
    pub fn crashes(&self) -> Vec<Crash> {
        let of = |p: &Point| {
            let (party, step) = (p.party, p.step);
            p.distinct
                .iter()
                .map(move |keeps| Crash { party, step, keeps: *keeps })
                .collect::<Vec<_>>()
        };
        self.points.iter().flat_map(of).collect()
    }

    /// How many images there are, and whether those are all that can be.
    pub fn images(&self) -> (u64, bool) {
        let all = self.points.iter().map(|p| p.images).sum();
        (all, self.points.iter().all(|p| p.is_every))
    }
}

/// What became of the crashes that were played.
#[derive(Debug, Default)]
pub struct Exhausted {
    /// How many were to be played.
    pub total: usize,
    /// How many were.
    pub covered: usize,
    /// Those that ended badly, in order.
    pub failed: Vec<(Crash, RunReport)>,
    /// Verdicts by name.
    pub verdicts: BTreeMap<String, usize>,
}

/// How to play.
pub struct Play<'a> {
    /// With what signatures, bugs, invariants.
    pub how: &'a How,
    /// The run.
    pub plan: &'a Plan,
    /// Its chance, before the first draw of the run.
    pub chance: &'a Chance,
    /// Threads.
    pub jobs: usize,
    /// Crashes that begin later are left out.
    pub until: Option<Instant>,
    /// Whether to end at the first that ends badly.
    pub fail_fast: bool,
}

impl Play<'_> {
    /// Repeats the run with one crash in it.
    pub fn one(&self, crash: Crash, record: bool) -> Run {
        let options = crash.options(Options { record, ..self.how.options() });
        self.how.run_plan(self.plan.clone(), self.chance.clone(), options)
    }

    /// Plays these crashes. `seen` is called after each, from any thread.
    pub fn all(&self, crashes: &[Crash], seen: &(dyn Fn(&RunReport) + Sync)) -> Exhausted {
        let (next, stop) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let done: Mutex<Vec<(usize, RunReport)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let late = self.until.is_some_and(|until| Instant::now() >= until);
                        if at >= crashes.len() || at > stop.load(Ordering::Relaxed) || late {
                            return;
                        }
                        let report = self.one(crashes[at], false).report;
                        seen(&report);
                        if self.fail_fast && !report.verdict.is_pass() {
                            stop.fetch_min(at, Ordering::Relaxed);
                        }
                        done.lock()
                            .expect("no worker panics while it holds the lock")
                            .push((at, report));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("all workers are gone");
        done.sort_by_key(|(at, _)| *at);
        let last = stop.into_inner();
        let mut sum = Exhausted { total: crashes.len(), ..Exhausted::default() };
        for (at, report) in done.into_iter().filter(|(at, _)| *at <= last) {
            sum.covered += 1;
            *sum.verdicts.entry(name_of(&report.verdict)).or_default() += 1;
            if !report.verdict.is_pass() {
                sum.failed.push((crashes[at], report));
            }
        }
        sum
    }
}

fn name_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".into(),
        Verdict::Violation(v) => v.invariant.clone(),
        Verdict::Panic(_) => "panic".into(),
        Verdict::Budget(_) => "budget".into(),
    }
}
