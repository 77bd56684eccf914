//! Many runs: a sweep over seeds in one process, and campaigns that many machines share.

mod fuzz;
mod how;
mod matrix;
mod merge;
mod plan;
mod plot;
mod report;
mod results;
mod shard;
mod store;
mod sum;
mod sweep;
mod unseen;

pub use fuzz::{FuzzError, FuzzWork, Fuzzed, Fuzzer, UNIT_INPUTS, repeat_line};
pub use how::{How, NO_MUTANT, Run, SEARCH_PERMILLE, exit_code, quiet_panics};
pub use merge::{Closest, Failure, GOALS_AFTER, Merged, MergedFuzz, Missing, Total, missing};
pub use plan::{CAMPAIGN_SCHEMA, CampaignPlan, Entry, Part, PlanError, UNIT_SEEDS, Unit, Work};
pub use report::{Replay, report};
pub use results::{PLAN_FILE, Results, ResultsError, Timing, UnitRecord, open_plan};
pub use shard::{Ran, Todo, Told, run_units, todo};
pub use store::{Store, StoreError};
pub use sum::{Call, Enforced, FAILURES_PER_UNIT, Failed, Sum};
pub use sweep::{Met, Tally, Until, sweep, sweep_each};
pub use unseen::{Millionths, Unseen, curve, species};
