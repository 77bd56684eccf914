//! `always`, `eventually` and `sometimes`: what must hold at every step, in every run, and over a campaign.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ScenarioFile;
use super::names::GOAL_NAMES;
use super::plan::Milestone;
use super::resolve::milestone;
use super::unit::Nanos;

/// What every run must reach within a time after everything has healed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Eventually {
    /// A goal, or a milestone of the workload such as `C.closed`.
    pub goal: String,
    /// How long after the end of chaos, or after the run has settled before that.
    pub within: Nanos,
}

/// A promise of a plan: what the run must reach, and how long it has after everything has healed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// What must be reached.
    pub reach: Reach,
    /// How long the run has, from the end of faults.
    pub within: Nanos,
}

/// Something that a run can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// A goal; one of [`GOAL_NAMES`].
    Goal(String),
    /// A milestone of the workload.
    Milestone(Milestone),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Goal(goal) => write!(f, "goal {goal} is reached"),
            Reach::Milestone(milestone) => write!(f, "{milestone}"),
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "within {} after everything has healed, {}", self.within, self.reach)
    }
}

/// What a name in `eventually` stands for; `None` when it is nothing that a run of this file can reach.
pub(super) fn reach(file: &ScenarioFile, goal: &str) -> Option<Reach> {
    if GOAL_NAMES.contains(&goal) {
        return Some(Reach::Goal(goal.to_string()));
    }
    milestone(file, goal).map(Reach::Milestone)
}
