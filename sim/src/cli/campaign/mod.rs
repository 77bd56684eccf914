//! `campaign`: runs that many machines share. One file a command.

mod merge;
mod plan;
mod report;
mod shard;

use clap::{Args, Subcommand};

use super::{Outcome, Stop};
use crate::build_id::{self, commit_of};
use crate::campaign::{
    CampaignPlan, FuzzError, Fuzzer, ResultsError, Store, StoreError, open_plan,
};

/// Runs that many machines share: plan them, run a share of them, merge and report what they came to.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CampaignArgs {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim campaign plan smoke --seeds 40000 --shards 8 --out camp    the work, cut into eight shards
  fairway-sim campaign run camp --shard 3/8                              one of them, here; again after a kill
  fairway-sim campaign merge camp                                        what all of them came to
  fairway-sim campaign report camp --html                                the same for people";

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Write down what is to be run: scenarios, seeds, settings, build, shards.
    Plan(plan::PlanArgs),
    /// Run one shard; what was finished before a kill is not run again.
    Run(shard::ShardArgs),
    /// Put the results of all shards together; the exit code says what was found.
    Merge(merge::MergeArgs),
    /// Say in sentences what was tried, what never was, the closest call, and what the next seeds may show.
    Report(report::ReportArgs),
}

pub fn campaign(args: &CampaignArgs) -> Outcome {
    match &args.command {
        Command::Plan(args) => plan::plan(args),
        Command::Run(args) => shard::run(args),
        Command::Merge(args) => merge::merge(args),
        Command::Report(args) => report::report(args),
    }
}

/// Where a campaign's plan is, and its results.
#[derive(Args, Clone, Debug)]
struct PlaceArgs {
    /// The plan's file, or its folder; `file://` and `s3://` too.
    what: String,
    /// Where results are kept; beside the plan by default.
    #[arg(long, value_name = "PLACE")]
    results: Option<String>,
}

impl PlaceArgs {
    /// The plan, and the store of its results.
    fn open(&self) -> Result<(CampaignPlan, Store), Stop> {
        let (beside, plan) = open_plan(&self.what).map_err(stop)?;
        let store = match &self.results {
            Some(place) => {
                Store::open(place).map_err(|e| Stop::usage(format!("--results: {e}")))?
            }
            None => beside,
        };
        Ok((plan, store))
    }
}

/// What is wrong with a place is the caller's; two results of the same runs are ours.
fn stop(error: ResultsError) -> Stop {
    let code = match &error {
        ResultsError::TwoResults { .. } => 4,
        ResultsError::Fuzz(FuzzError::Build { .. }) => 8,
        ResultsError::Fuzz(FuzzError::Answer { .. }) => 7,
        ResultsError::Fuzz(FuzzError::Missing { .. } | FuzzError::Target { .. })
        | ResultsError::Store(_)
        | ResultsError::Plan(_)
        | ResultsError::NoPlan { .. }
        | ResultsError::Damaged { .. } => 2,
    };
    Stop { code, line: Some(error.to_string()) }
}

fn fuzz(error: FuzzError) -> Stop {
    stop(error.into())
}

/// The fuzzer of a plan, that very build; none where nothing is fuzzed.
fn fuzzer(plan: &CampaignPlan) -> Result<Option<Fuzzer>, Stop> {
    let Some(work) = &plan.work.fuzz else { return Ok(None) };
    let fuzzer = Fuzzer::find().map_err(fuzz)?;
    fuzzer.check(work).map_err(fuzz)?;
    Ok(Some(fuzzer))
}

fn store(error: StoreError) -> Stop {
    stop(error.into())
}

/// Twelve digits of a plan's or a work's id: enough for people.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A plan belongs to the build that made it: another one would run other seeds and call them by the same names.
fn check_build(what: &str, plan: &CampaignPlan) -> Outcome {
    let build = &plan.work.build;
    if build == build_id::BUILD_ID {
        return Ok(());
    }
    let (there, here) = (build.get(..8).unwrap_or(build), build_id::short());
    eprintln!("error: {what}: expected a plan of this build, {here}, found one of build {there}");
    if let Some(commit) = commit_of(build) {
        let folder = format!("../fairway-{}", commit.get(..12).unwrap_or(&commit));
        eprintln!("  it was made from commit {commit}; to run it there:");
        eprintln!("    git worktree add --detach {folder} {commit}");
    }
    eprintln!(
        "  every shard needs the binary that made the plan; to use this one, make a new plan:"
    );
    eprintln!("    fairway-sim campaign plan … --out ANOTHER_FOLDER");
    Err(Stop::code(8))
}
