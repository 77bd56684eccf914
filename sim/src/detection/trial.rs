//! One mutant, one course, until it is found.

use serde::{Deserialize, Serialize};

use super::Course;
use crate::engine::{RunReport, Verdict};

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Which bug was planted.
    pub mutant: String,
    /// What was tried.
    pub arm: super::Arm,
    /// Which range of seeds, from 0.
    pub repetition: u64,
    /// After how many runs it would have been given up.
    pub limit: u64,
    /// Runs until it was found, that one with them; the limit when it was not.
    pub runs: u64,
    /// How it was found; `None` when it was not.
    pub found: Option<Found>,
}

/// A run in which a planted bug shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The run.
    pub seed_id: String,
    /// Which invariant saw it; `panic` or `budget` when the run ended so.
    pub by: String,
}

/// A run in which the simulation itself is wrong: no bug of the node was found by it, and no trial goes on after it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the simulation contradicts itself: {seed_id}: {what}")]
pub struct HarnessBug {
    /// The run.
    pub seed_id: String,
    /// What it said.
    pub what: String,
}

impl Trial {
    /// Runs a trial; `None` when `go_on` said no before its end. What it comes to depends on the arguments alone.
    ///
    /// # Errors
    /// [`HarnessBug`].
    pub fn run(
        course: &Course,
        mutant: &str,
        repetition: u64,
        limit: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Trial>, HarnessBug> {
        // A range for each repetition, whatever its limit.
        let first = repetition << 32;
        let mut trial = Trial {
            mutant: mutant.to_string(),
            arm: course.arm,
            repetition,
            limit,
            runs: 0,
            found: None,
        };
        while trial.runs < limit && trial.found.is_none() {
            if !go_on() {
                return Ok(None);
            }
            let (seed_id, report) = course.run(trial.runs, first, mutant);
            trial.runs += 1;
            let seed_id = seed_id.to_string();
            trial.found = seen_by(&report, &seed_id)?.map(|by| Found { seed_id, by });
        }
        Ok(Some(trial))
    }
}

/// What saw that something is wrong in a run; `None` when nothing did.
pub(super) fn seen_by(report: &RunReport, seed_id: &str) -> Result<Option<String>, HarnessBug> {
    match &report.verdict {
        Verdict::Pass => Ok(None),
        Verdict::Violation(violation) => Ok(Some(violation.invariant.to_string())),
        Verdict::Panic(what) if report.verdict.is_harness_bug() => {
            Err(HarnessBug { seed_id: seed_id.to_string(), what: what.clone() })
        }
        Verdict::Panic(_) => Ok(Some("panic".into())),
        Verdict::Budget(_) => Ok(Some("budget".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Arm;

    #[test]
    fn a_trial_ends_at_the_first_failure_and_is_the_same_again() {
        let course = Course::of(Arm::Everything).unwrap();
        let trial =
            || Trial::run(&course, "effect-before-sync", 3, 500, &|| true).unwrap().unwrap();
        let once = trial();
        let found = once.found.clone().expect("it is found within some hundred runs");
        assert_eq!(once, trial());
        assert!(once.runs < 500, "{once:?}");
        assert!(found.seed_id.contains("+mutant=effect-before-sync"), "{found:?}");
        assert!(crate::invariant::names().contains(&found.by.as_str()), "{found:?}");
    }

    #[test]
    fn a_trial_is_given_up_at_its_limit_and_dropped_when_time_is_over() {
        let course = Course::of(Arm::NoFaults).unwrap();
        let clean = crate::campaign::NO_MUTANT;
        let trial = Trial::run(&course, clean, 0, 4, &|| true).unwrap().unwrap();
        assert_eq!((trial.runs, trial.found), (4, None));
        assert_eq!(Trial::run(&course, clean, 0, 4, &|| false).unwrap(), None);
    }
}
