//! What runs came to, as numbers that can be added: in any order of units, with the same result.
//!
//! No wall time is in here: a campaign's record is the same wherever and however often it is made.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::types::Amount;
use serde::{Deserialize, Serialize};

use super::{Met, Tally};
use crate::engine::{RunReport, Verdict};

/// Failures that are told of a unit one by one, beside the first of each verdict; the others are in the counts.
pub const FAILURES_PER_UNIT: usize = 20;

/// The sum of some runs of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// How many runs.
    pub runs: u64,
    /// How many ended how: `pass`, `violation:no-equivocation`, `panic`, `harness`, `budget`.
    pub verdicts: BTreeMap<String, u64>,
    /// Driver steps.
    pub steps: u64,
    /// Virtual milliseconds, cut off for each unit.
    pub virtual_ms: u64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// How many runs reached each goal.
    pub goals: BTreeMap<String, u64>,
    /// Which kinds of fault struck at which events.
    pub meetings: BTreeMap<String, Met>,
    /// What the enforcer judged.
    pub enforcer: Enforced,
    /// The closest call; of equally close ones that of the lowest seed.
    pub closest: Option<Call>,
    /// The first failures of each unit, by seed.
    pub failures: Vec<Failed>,
    /// A hash of the traces of all runs; of one unit, or of the hashes of several in the order of their seeds.
    pub traces: String,
}

/// What the enforcer judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enforced {
    /// Prefixes of runs, judged by dominance.
    pub prefixes: u64,
    /// Played through.
    pub exhaustive: u64,
    /// Played up to a number of moves.
    pub bounded: u64,
    /// The least such number.
    pub depth: Option<u32>,
}

/// How near a run came to a loss.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// What somebody could enforce beyond its entitlement.
    pub slack: Amount,
    /// In which run.
    pub seed: u64,
    /// Who.
    pub who: String,
}

/// A run that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Which.
    pub seed: u64,
    /// As in [`Sum::verdicts`].
    pub verdict: String,
    /// The exit code that it means.
    pub code: u8,
    /// One sentence.
    pub what: String,
    /// The hash of the bytes, where it is a fuzz input; they are kept by that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

impl Sum {
    /// The sum of one unit's runs.
    pub fn of(tally: &Tally) -> Sum {
        let mut verdicts = BTreeMap::new();
        verdicts.extend((tally.passed > 0).then(|| ("pass".to_string(), tally.passed)));
        for (_, report) in &tally.failed {
            *verdicts.entry(verdict_word(&report.verdict)).or_default() += 1;
        }
        let closest = &tally.closest;
        let call = tally.closest_call.as_ref().zip(closest.slack);
        let mut traces = blake3::Hasher::new();
        for (seed, digest) in &tally.digests {
            traces.update(&seed.to_le_bytes());
            traces.update(digest.as_bytes());
        }
        Sum {
            runs: tally.runs,
            verdicts,
            steps: tally.steps,
            virtual_ms: u64::try_from(tally.virtual_ns / 1_000_000).unwrap_or(u64::MAX),
            faults: tally.faults.clone().into_iter().collect(),
            goals: tally.goals.clone().into_iter().collect(),
            meetings: tally.meetings.clone(),
            enforcer: Enforced {
                prefixes: closest.prefixes,
                exhaustive: closest.exhaustive,
                bounded: closest.bounded,
                depth: closest.depth,
            },
            closest: call.map(|((seed, who), (slack, _))| Call {
                slack,
                seed: *seed,
                who: who.clone(),
            }),
            failures: told(&tally.failed),
            traces: traces.finalize().to_hex().to_string(),
        }
    }

    /// The sum of units, in the order of their seeds.
    pub fn of_units<'a>(units: impl Iterator<Item = &'a Sum>) -> Sum {
        let mut all = Sum::default();
        let mut traces = blake3::Hasher::new();
        for unit in units {
            traces.update(unit.traces.as_bytes());
            all.add(unit);
        }
        all.traces = traces.finalize().to_hex().to_string();
        all
    }

    /// Adds everything but the hash of the traces, which has an order.
    pub fn add(&mut self, other: &Sum) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.virtual_ms += other.virtual_ms;
        for (mine, theirs) in [
            (&mut self.verdicts, &other.verdicts),
            (&mut self.faults, &other.faults),
            (&mut self.goals, &other.goals),
        ] {
            for (name, n) in theirs {
                *mine.entry(name.clone()).or_default() += n;
            }
        }
        for (meeting, met) in &other.meetings {
            self.meetings.entry(meeting.clone()).and_modify(|m| m.add(met)).or_insert(*met);
        }
        self.enforcer.prefixes += other.enforcer.prefixes;
        self.enforcer.exhaustive += other.enforcer.exhaustive;
        self.enforcer.bounded += other.enforcer.bounded;
        self.enforcer.depth = self.enforcer.depth.into_iter().chain(other.enforcer.depth).min();
        self.closest = self.closest.iter().chain(&other.closest).min().cloned();
        self.failures.extend(other.failures.iter().cloned());
    }

    /// Runs that ended well.
    pub fn passed(&self) -> u64 {
        self.verdicts.get("pass").copied().unwrap_or(0)
    }

    /// Runs that did not.
    pub fn failed(&self) -> u64 {
        self.runs - self.passed()
    }
}

impl Failed {
    fn of((seed, report): &(u64, RunReport)) -> Failed {
        let verdict = &report.verdict;
        let what = match verdict {
            Verdict::Pass => "every invariant held".to_string(),
            Verdict::Violation(v) => v.what.clone(),
            Verdict::Panic(message) => message.clone(),
            Verdict::Budget(steps) => format!("given up after {steps} steps"),
        };
        let code = super::exit_code(verdict);
        Failed { seed: *seed, verdict: verdict_word(verdict), code, what, input: None }
    }
}

/// The first failures, and the first of each verdict: what is counted has an example.
fn told(failed: &[(u64, RunReport)]) -> Vec<Failed> {
    let mut words = BTreeSet::new();
    let all = failed.iter().map(Failed::of).enumerate();
    let told = all.filter(|(i, f)| words.insert(f.verdict.clone()) || *i < FAILURES_PER_UNIT);
    told.map(|(_, failed)| failed).collect()
}

/// A verdict in one word.
fn verdict_word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".into(),
        Verdict::Violation(v) => format!("violation:{}", v.invariant),
        Verdict::Panic(_) if verdict.is_harness_bug() => "harness".into(),
        Verdict::Panic(_) => "panic".into(),
        Verdict::Budget(_) => "budget".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(seed: u64, slack: u64) -> Sum {
        let met = Met { runs: 1, first: seed, last: seed };
        Sum {
            runs: 2,
            verdicts: [("pass".to_string(), 1), ("panic".to_string(), 1)].into(),
            faults: [("net.loss".to_string(), seed)].into(),
            meetings: [("net.loss at Pinned".to_string(), met)].into(),
            closest: Some(Call { slack: Amount::wei(slack), seed, who: "alice".into() }),
            failures: vec![Failed {
                seed,
                verdict: "panic".into(),
                code: 5,
                what: "x".into(),
                input: None,
            }],
            traces: format!("{seed}"),
            ..Sum::default()
        }
    }

    #[test]
    fn the_first_failure_of_each_verdict_is_told_however_late_it_is() {
        let mut failed: Vec<_> =
            (0..30).map(|seed| (seed, RunReport::panicked("x".into()))).collect();
        failed.push((30, RunReport { verdict: Verdict::Budget(9), ..failed[0].1.clone() }));
        let told = told(&failed);
        assert_eq!(told.len(), FAILURES_PER_UNIT + 1);
        assert_eq!(told.last().map(|f| (f.seed, f.code)), Some((30, 6)));
    }

    #[test]
    fn units_add_up_and_the_closest_call_is_the_lowest_seeds() {
        let units = [unit(1, 7), unit(2, 5), unit(3, 5)];
        let all = Sum::of_units(units.iter());
        assert_eq!((all.runs, all.passed(), all.failed()), (6, 3, 3));
        assert_eq!(all.faults["net.loss"], 6);
        assert_eq!(all.meetings["net.loss at Pinned"], Met { runs: 3, first: 1, last: 3 });
        assert_eq!(all.closest.as_ref().map(|c| c.seed), Some(2));
        assert_eq!(all.failures.iter().map(|f| f.seed).collect::<Vec<_>>(), [1, 2, 3]);
        let other_order = Sum::of_units([&units[1], &units[0], &units[2]].into_iter());
        assert_ne!(all.traces, other_order.traces);
        assert_eq!(all.closest, other_order.closest);
    }
}
