//! What a trial may try.

use serde::{Deserialize, Serialize};

use crate::campaign::How;
use crate::engine::RunReport;
use crate::invariant::Violation;
use crate::scenario::{Backend, Engine, Library, LibraryError, Scenario, Setting};
use crate::seed_id::{Crypto, SeedId};

/// What a trial may try. All but the first are swarms with a part of their power taken away, beside the whole swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// Every scenario that must pass, in turn.
    Everything,
    /// Swarms without any fault; their adversaries stay.
    NoFaults,
    /// Swarms with one fault of every family in every run.
    Uniform,
    /// Swarms as they are.
    Swarm,
}

impl Arm {
    /// All, in the order of reports.
    pub const ALL: [Arm; 4] = [Arm::Everything, Arm::NoFaults, Arm::Uniform, Arm::Swarm];

    /// As files and reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Everything => "everything",
            Arm::NoFaults => "no-faults",
            Arm::Uniform => "uniform",
            Arm::Swarm => "swarm",
        }
    }

    /// How many trials of each mutant there are.
    pub fn repetitions(self) -> u64 {
        if self == Arm::Everything { 30 } else { 8 }
    }

    /// After how many runs a trial is given up.
    pub fn limit(self) -> u64 {
        if self == Arm::Everything { 20_000 } else { 2_000 }
    }

    fn sources(self) -> &'static [&'static str] {
        match self {
            Arm::Everything => &["smoke", "attack", "nightly"],
            Arm::NoFaults | Arm::Uniform | Arm::Swarm => {
                &["nightly/swarm_honest", "nightly/swarm_adversaries"]
            }
        }
    }

    fn settings(self) -> Vec<Setting> {
        let settings: &[(&str, &str)] = match self {
            Arm::Everything | Arm::Swarm => &[],
            Arm::NoFaults => &[("swarm.families", "[]")],
            Arm::Uniform => &[("swarm.each_family", "100%"), ("swarm.faults", "1")],
        };
        settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }
}

/// The runs of an arm, in one order: the scenarios in turn, and seeds upwards.
pub struct Course {
    /// Which arm.
    pub arm: Arm,
    scenarios: Vec<Scenario>,
    settings: Vec<Setting>,
}

impl Course {
    /// The course of an arm, of the scenarios that are built in and run on the chain's model.
    ///
    /// # Errors
    /// When a built-in scenario is broken, which tests would show.
    pub fn of(arm: Arm) -> Result<Course, LibraryError> {
        let settings = arm.settings();
        let mut scenarios = Vec::new();
        for source in arm.sources() {
            scenarios.extend(Library::new().load(source, &settings)?);
        }
        // Trials run with toy signatures, which the contracts would refuse.
        scenarios.retain(|s| s.backend() == Backend::Model);
        scenarios.retain(|s| s.engines().contains(&Engine::Reference));
        Ok(Course { arm, scenarios, settings })
    }

    /// How many scenarios take turns.
    pub fn width(&self) -> u64 {
        self.scenarios.len() as u64
    }

    /// How many of its runs a survey takes.
    pub(super) fn surveyed(&self) -> u64 {
        self.width() * super::survey::SEEDS
    }

    /// Run number `k` of those whose seeds begin at `first`, with a mutant planted, or [`crate::campaign::NO_MUTANT`].
    pub fn run(&self, k: u64, first: u64, mutant: &str) -> (SeedId, RunReport) {
        let (how, scenario, seed) = self.at(k, first, mutant);
        (how.seed_id(scenario, seed), how.run(scenario, seed, false).report)
    }

    /// The same to its end whatever breaks, and what every invariant found.
    pub fn gather(&self, k: u64, first: u64, mutant: &str) -> (SeedId, RunReport, Vec<Violation>) {
        let (how, scenario, seed) = self.at(k, first, mutant);
        let (report, found) = how.gather(scenario, seed);
        (how.seed_id(scenario, seed), report, found)
    }

    fn at(&self, k: u64, first: u64, mutant: &str) -> (How, &Scenario, u64) {
        let which = usize::try_from(k % self.width()).unwrap_or(0);
        let how = How {
            crypto: Crypto::Toy,
            mutant: Some(mutant.to_string()),
            settings: self.settings.clone(),
            ..How::reference()
        };
        (how, &self.scenarios[which], first + k / self.width())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::NO_MUTANT;

    /// The ablation takes away what it says: no fault strikes without them, and more kinds do with all at once than with some.
    #[test]
    fn arms_differ_in_the_faults_that_strike() {
        let kinds = |arm| {
            let course = Course::of(arm).unwrap();
            let struck = (0..20).map(|k| course.run(k, 0, NO_MUTANT).1.faults_fired.len());
            struck.sum::<usize>()
        };
        assert_eq!(kinds(Arm::NoFaults), 0);
        assert!(kinds(Arm::Swarm) > 0);
        assert!(kinds(Arm::Uniform) > kinds(Arm::Swarm));
    }

    #[test]
    fn a_course_takes_its_scenarios_in_turn_and_its_seeds_upwards() {
        let course = Course::of(Arm::Swarm).unwrap();
        let id = |k| course.run(k, 5, NO_MUTANT).0;
        assert_eq!(course.width(), 2);
        assert_ne!(id(0).scenario, id(1).scenario);
        assert_eq!((id(2).scenario, id(2).seed), (id(0).scenario, 6));
    }
}
