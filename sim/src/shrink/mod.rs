//! Shrinking: the smallest run that still breaks the same invariant in the same way.
//!
//! ```text
//! elements -> payments -> values -> draws, again and again until nothing gets simpler or the time is over
//! ```
//!
//! It takes operations, faults and payments away, lowers the values of what is left towards simple ones, and then the answers on the
//! tape towards zero. Each change is kept after which the run still has the same [`Fingerprint`]. Changes to the plan move no draw of
//! what remains, because every draw belongs to its site.

mod fingerprint;
mod simpler;
mod subset;
mod without;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::campaign::How;
use crate::chance::{Chance, Override, Tape};
use crate::engine::{RunReport, Verdict};
use crate::scenario::{Element, OpAction, Plan};

pub use fingerprint::Fingerprint;
pub use without::without;

use subset::smallest_subset;

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// The answers that were lowered; all others are the seed's.
    pub tape: Tape,
    /// Its run.
    pub report: RunReport,
    /// Runs that were tried.
    pub tried: u64,
    /// Operations and faults before and after.
    pub elements: (usize, usize),
    /// For each element that is left: what the run comes to without it.
    pub needed: Vec<(Element, Verdict)>,
}

/// Shrinks a failing run for at most `budget`. `first` is its report; one that passed is returned as it is.
pub fn shrink(
    how: &How,
    plan: &Plan,
    tape: &Tape,
    seed: u64,
    first: &RunReport,
    budget: Duration,
) -> Shrunk {
    let Some(wanted) = Fingerprint::of(&first.verdict) else {
        let size = plan.elements().count();
        let (plan, tape, report) = (plan.clone(), tape.clone(), first.clone());
        return Shrunk { plan, tape, report, tried: 0, elements: (size, size), needed: Vec::new() };
    };
    let best = Candidate { plan: plan.clone(), tape: tape.clone() };
    let mut search = Search {
        how,
        seed,
        wanted,
        best,
        report: first.clone(),
        tried: 0,
        known: BTreeSet::new(),
        deadline: Instant::now() + budget,
    };
    loop {
        let before = search.best.clone();
        search.remove_elements();
        search.remove_payments();
        search.simplify_values();
        if search.best == before {
            search.lower_draws();
        }
        if search.best == before || search.is_over() {
            break;
        }
    }
    let Candidate { plan: small, tape } = search.best;
    let needed = counterfactuals(how, &small, &tape, seed);
    Shrunk {
        elements: (plan.elements().count(), small.elements().count()),
        tried: search.tried + needed.len() as u64,
        plan: small,
        tape,
        report: search.report,
        needed,
    }
}

/// What the run comes to when each operation and each fault of the plan is taken away, one at a time.
pub fn counterfactuals(how: &How, plan: &Plan, tape: &Tape, seed: u64) -> Vec<(Element, Verdict)> {
    plan.elements()
        .map(|element| {
            let chance = Chance::with_tape(seed, tape.clone());
            let run = how.run_plan(without(plan, &[element]), chance, how.options());
            (element, run.report.verdict)
        })
        .collect()
}

/// A run to try.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    plan: Plan,
    tape: Tape,
}

impl Candidate {
    /// Names it, so that nothing is run twice.
    fn key(&self) -> blake3::Hash {
        let text = serde_json::to_vec(&(&self.plan, &self.tape));
        blake3::hash(&text.expect("plans and tapes are JSON in every bundle"))
    }
}

struct Search<'a> {
    how: &'a How,
    seed: u64,
    wanted: Fingerprint,
    /// Invariant: it fails with the wanted fingerprint, as `report` says.
    best: Candidate,
    report: RunReport,
    tried: u64,
    /// What was tried and did not fail in the same way.
    known: BTreeSet<[u8; 32]>,
    deadline: Instant,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// Runs a candidate and keeps it when it fails in the same way.
    fn keeps(&mut self, candidate: Candidate) -> bool {
        if candidate == self.best {
            return true;
        }
        let key = *candidate.key().as_bytes();
        if self.is_over() || self.known.contains(&key) {
            return false;
        }
        self.tried += 1;
        let chance = Chance::with_tape(self.seed, candidate.tape.clone());
        let report = self.how.run_plan(candidate.plan.clone(), chance, self.how.options()).report;
        let same = Fingerprint::of(&report.verdict).as_ref() == Some(&self.wanted);
        if same {
            self.best = candidate;
            self.report = report;
        } else {
            self.known.insert(key);
        }
        same
    }

    fn keeps_plan(&mut self, plan: Plan) -> bool {
        let tape = self.best.tape.clone();
        self.keeps(Candidate { plan, tape })
    }

    fn remove_elements(&mut self) {
        let plan = self.best.plan.clone();
        let all: Vec<Element> = plan.elements().collect();
        smallest_subset(&all, |kept| {
            let gone: Vec<Element> = all.iter().filter(|e| !kept.contains(e)).copied().collect();
            self.keeps_plan(without(&plan, &gone))
        });
    }

    fn remove_payments(&mut self) {
        for op in 0..self.best.plan.ops.len() {
            let plan = self.best.plan.clone();
            let OpAction::Pay { payments: all, .. } = &plan.ops[op].what else { continue };
            smallest_subset(all, |kept| {
                let mut candidate = plan.clone();
                if let OpAction::Pay { payments, .. } = &mut candidate.ops[op].what {
                    *payments = kept.to_vec();
                }
                // An operation that pays nothing is one to remove.
                !kept.is_empty() && self.keeps_plan(candidate)
            });
        }
    }

    /// Every value in turn, the simplest first.
    fn simplify_values(&mut self) {
        let mut knob = 0;
        while let Some(candidates) = simpler::plans(&self.best.plan, knob) {
            for plan in candidates {
                if self.keeps_plan(plan) {
                    break;
                }
            }
            knob += 1;
        }
    }

    /// The answers that the run draws, towards zero: whole sites, then single draws, then the values that must stay.
    fn lower_draws(&mut self) {
        let Some(draws) = self.draws() else { return };
        let mut sites: Vec<String> = draws.iter().map(|d| d.site.clone()).collect();
        sites.dedup();
        let base = self.best.tape.clone();
        let needed = smallest_subset(&sites, |kept| {
            self.keeps_zeros(&base, draws.iter().filter(|d| !kept.contains(&d.site)))
        });
        let single: Vec<Override> =
            draws.into_iter().filter(|d| needed.contains(&d.site)).collect();
        let base = self.best.tape.clone();
        let needed = smallest_subset(&single, |kept| {
            self.keeps_zeros(&base, single.iter().filter(|d| !kept.contains(d)))
        });
        for Override { site, ordinal, mut value } in needed {
            while value > 1 {
                let mut tape = self.best.tape.clone();
                tape.set(&site, ordinal, value / 2);
                if !self.keeps_tape(tape) {
                    break;
                }
                value /= 2;
            }
        }
        self.forget_unread_answers();
    }

    fn keeps_tape(&mut self, tape: Tape) -> bool {
        let plan = self.best.plan.clone();
        self.keeps(Candidate { plan, tape })
    }

    fn keeps_zeros<'d>(&mut self, base: &Tape, draws: impl Iterator<Item = &'d Override>) -> bool {
        let mut tape = base.clone();
        draws.for_each(|d| tape.set(&d.site, d.ordinal, 0));
        self.keeps_tape(tape)
    }

    /// What the best run draws, sorted by site, where it is not zero. `None` when a panic lost it.
    fn draws(&self) -> Option<Vec<Override>> {
        let mut tape = self.recorded()?;
        tape.retain(|draw| draw.value > 0 && !draw.site.starts_with(IDENTITY));
        Some(tape.overrides().to_vec())
    }

    fn recorded(&self) -> Option<Tape> {
        let chance = Chance::with_tape(self.seed, self.best.tape.clone()).recording();
        self.how.run_plan(self.best.plan.clone(), chance, self.how.options()).draws
    }

    /// A shorter run reads less of its tape.
    fn forget_unread_answers(&mut self) {
        let Some(recorded) = self.recorded() else { return };
        let mut tape = self.best.tape.clone();
        tape.retain(|o| recorded.get(&o.site, o.ordinal).is_some());
        self.keeps_tape(tape);
    }
}

/// Draws that name a channel instead of deciding what happens: two channels must not become one.
const IDENTITY: &str = "workload.nonce";

#[cfg(test)]
mod tests;
