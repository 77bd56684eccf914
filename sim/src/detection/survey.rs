//! How often a planted bug's code runs, changes a run, and is found, over the same runs for every mutant.

use serde::{Deserialize, Serialize};

use super::trial::seen_by;
use super::{Course, HarnessBug};
use crate::campaign::NO_MUTANT;

/// Counters of one mutant over the surveyed runs. Each is at most the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// Which bug was planted.
    pub mutant: String,
    /// Runs.
    pub runs: u64,
    /// Those in which a node came to the code of the bug.
    pub reached: u64,
    /// Those that went otherwise than without it.
    pub triggered: u64,
    /// Those that failed.
    pub detected: u64,
}

/// The surveyed runs without any bug.
pub struct Clean {
    digests: Vec<String>,
}

/// Seeds of each scenario.
pub(super) const SEEDS: u64 = 3;

/// Where the seeds begin that no trial reaches.
pub(super) const FIRST: u64 = 1 << 48;

impl Clean {
    /// Runs them.
    ///
    /// # Errors
    /// [`HarnessBug`].
    pub fn of(course: &Course) -> Result<Clean, HarnessBug> {
        let digest = |k| {
            let (seed_id, report) = course.run(k, FIRST, NO_MUTANT);
            seen_by(&report, &seed_id.to_string())?;
            Ok(report.digest)
        };
        let digests = (0..course.surveyed()).map(digest);
        Ok(Clean { digests: digests.collect::<Result<_, _>>()? })
    }
}

impl Survey {
    /// Runs them with a mutant.
    ///
    /// # Errors
    /// [`HarnessBug`].
    pub fn run(course: &Course, clean: &Clean, mutant: &str) -> Result<Survey, HarnessBug> {
        let mut survey = Survey {
            mutant: mutant.to_string(),
            runs: clean.digests.len() as u64,
            reached: 0,
            triggered: 0,
            detected: 0,
        };
        for (k, digest) in (0..).zip(&clean.digests) {
            crate::world::party::take_mutant_reached();
            let (seed_id, report) = course.run(k, FIRST, mutant);
            survey.reached += u64::from(crate::world::party::take_mutant_reached());
            survey.triggered += u64::from(report.digest != *digest);
            survey.detected += u64::from(seen_by(&report, &seed_id.to_string())?.is_some());
        }
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Arm;

    #[test]
    fn each_counter_is_within_the_one_before() {
        let course = Course::of(Arm::Swarm).unwrap();
        let clean = Clean::of(&course).unwrap();
        let survey = Survey::run(&course, &clean, "effect-before-sync").unwrap();
        assert!(survey.runs >= survey.reached && survey.reached >= survey.triggered, "{survey:?}");
        assert!(survey.triggered >= survey.detected && survey.triggered > 0, "{survey:?}");
        let none = Survey::run(&course, &clean, NO_MUTANT).unwrap();
        assert_eq!((none.reached, none.triggered, none.detected), (0, 0, 0));
    }
}
