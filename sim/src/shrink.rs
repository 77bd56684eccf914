//! Shrinking: the smallest plan that still breaks the same invariant.
//!
//! It removes operations and faults, shortens payments, and weakens what is left, one change at a time, keeping each change after which
//! the run still fails in the same way. Changes to the plan move no draw of what remains, because every draw belongs to its site.

use std::time::{Duration, Instant};

use crate::campaign::How;
use crate::chance::Chance;
use crate::engine::{RunReport, Verdict};
use crate::scenario::{Element, FaultAction, Nanos, OpAction, Plan, Unsynced};

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// Its run.
    pub report: RunReport,
    /// Runs that were tried.
    pub tried: u64,
    /// Operations and faults before and after.
    pub elements: (usize, usize),
    /// For each element that is left: what the run comes to without it.
    pub needed: Vec<(Element, Verdict)>,
}

/// What must stay the same: the kind of failure, and the broken invariant.
fn fingerprint(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Violation(v) => Some(v.invariant.clone()),
        Verdict::Panic(message) => Some(format!("panic: {}", place(message))),
        Verdict::Budget(_) => Some("budget".into()),
    }
}

/// A panic's message without its numbers.
fn place(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).take(80).collect()
}

/// Shrinks a failing plan for at most `budget`.
pub fn shrink(how: &How, plan: &Plan, seed: u64, first: &RunReport, budget: Duration) -> Shrunk {
    let started = Instant::now();
    let wanted = fingerprint(&first.verdict);
    let mut search =
        Search { how, seed, wanted, tried: 0, best: plan.clone(), report: first.clone() };
    loop {
        let before = search.best.clone();
        search.remove_elements(started, budget);
        search.shorten_payments(started, budget);
        search.weaken_faults(started, budget);
        if search.best == before || started.elapsed() > budget {
            break;
        }
    }
    let needed = search.what_each_is_for();
    let size = |plan: &Plan| plan.elements().count();
    Shrunk {
        elements: (size(plan), size(&search.best)),
        plan: search.best,
        report: search.report,
        tried: search.tried,
        needed,
    }
}

struct Search<'a> {
    how: &'a How,
    seed: u64,
    wanted: Option<String>,
    tried: u64,
    best: Plan,
    report: RunReport,
}

impl Search<'_> {
    /// Runs a candidate; keeps it when it fails in the same way.
    fn try_keep(&mut self, candidate: Plan) -> bool {
        let report = self.run(candidate.clone());
        let same = fingerprint(&report.verdict) == self.wanted;
        if same {
            self.best = candidate;
            self.report = report;
        }
        same
    }

    fn run(&mut self, plan: Plan) -> RunReport {
        self.tried += 1;
        self.how.run_plan(plan, Chance::new(self.seed), self.how.options()).report
    }

    /// Halves first, then single elements: later ones first, because what follows a failure is never needed.
    fn remove_elements(&mut self, started: Instant, budget: Duration) {
        let mut chunk = self.best.elements().count().div_ceil(2);
        while chunk > 0 {
            let mut elements: Vec<Element> = self.best.elements().collect();
            elements.reverse();
            for part in elements.chunks(chunk) {
                if started.elapsed() > budget {
                    return;
                }
                let mut candidate = self.best.clone();
                let removed = part.iter().filter(|e| candidate.remove(**e)).count();
                if removed > 0 {
                    self.try_keep(candidate);
                }
            }
            chunk /= 2;
        }
    }

    fn shorten_payments(&mut self, started: Instant, budget: Duration) {
        for at in 0..self.best.ops.len() {
            while let OpAction::Pay { payments, .. } = &self.best.ops[at].what {
                let fewer = payments.len() / 2;
                if fewer == 0 || started.elapsed() > budget {
                    break;
                }
                let mut candidate = self.best.clone();
                if let OpAction::Pay { payments, .. } = &mut candidate.ops[at].what {
                    payments.truncate(fewer);
                }
                if !self.try_keep(candidate) {
                    break;
                }
            }
        }
    }

    /// Simpler faults tell a simpler story: everything unsynced is lost, and the machine is back soon.
    fn weaken_faults(&mut self, started: Instant, budget: Duration) {
        for at in 0..self.best.faults.len() {
            for simpler in simpler(&self.best.faults[at].what) {
                if started.elapsed() > budget {
                    return;
                }
                let mut candidate = self.best.clone();
                candidate.faults[at].what = simpler;
                if candidate != self.best {
                    self.try_keep(candidate);
                }
            }
        }
    }

    fn what_each_is_for(&mut self) -> Vec<(Element, Verdict)> {
        let elements: Vec<Element> = self.best.elements().collect();
        elements
            .into_iter()
            .map(|element| {
                let mut without = self.best.clone();
                without.remove(element);
                (element, self.run(without).verdict)
            })
            .collect()
    }
}

fn simpler(fault: &FaultAction) -> Vec<FaultAction> {
    let second = Nanos::secs(1);
    match fault {
        FaultAction::PowerLoss { party, down, .. } => {
            let loss = |down| FaultAction::PowerLoss {
                party: party.clone(),
                unsynced: Unsynced::None,
                directory_entries: Unsynced::None,
                down,
            };
            vec![loss(*down), loss(second)]
        }
        FaultAction::TornWrite { party, .. } => vec![FaultAction::PowerLoss {
            party: party.clone(),
            unsynced: Unsynced::None,
            directory_entries: Unsynced::None,
            down: second,
        }],
        _ => Vec::new(),
    }
}
