//! `campaign merge`: the record of a whole campaign, and its verdict as an exit code.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::PlaceArgs;
use crate::campaign::{CampaignPlan, Merged, Missing, Results, missing, repeat_line};
use crate::cli::failure::replay_line;
use crate::cli::run::conclude;
use crate::cli::{Outcome, Stop, thousands};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MergeArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Merge what is there though runs are missing; the record says how many.
    #[arg(long)]
    partial: bool,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim campaign merge camp                        writes camp/merged.json; the exit code is that of `run`
  fairway-sim campaign merge camp --partial              what there is so far

merged.json is the same to the last byte for every number of shards, machines, threads and restarts; how long things took
is in timings.json.";

/// The record, beside the plan.
pub const MERGED_FILE: &str = "merged.json";
/// What depends on the machines.
pub const TIMINGS_FILE: &str = "timings.json";
/// Failures that are printed; all that are told one by one are in the record.
const SHOWN: usize = 10;

pub fn merge(args: &MergeArgs) -> Outcome {
    let (plan, store) = args.place.open()?;
    // Of another build nothing is run, so there is nothing to refuse.
    let results = Results::new(&store, &plan.work);
    let finished = results.finished().map_err(super::stop)?;
    let missing = missing(&plan, &finished);
    if !missing.by_shard.is_empty() && !args.partial {
        return Err(Stop::usage(incomplete(&args.place, &plan, &missing)));
    }
    let merged = Merged::of(&plan, &results, &finished).map_err(super::stop)?;
    store.put(MERGED_FILE, merged.to_bytes()).map_err(super::store)?;
    let timings = Timings::of(&merged, &results.timings().map_err(super::stop)?);
    let text = serde_json::to_vec_pretty(&timings).map_err(|e| Stop::harness(e.to_string()))?;
    store.put(TIMINGS_FILE, text).map_err(super::store)?;
    print(&merged, store.place());
    conclude(merged.codes(), 0)
}

/// One line that names the shards and says what to do.
fn incomplete(place: &PlaceArgs, plan: &CampaignPlan, missing: &Missing) -> String {
    let name = |(shard, units): (&u64, &u64)| format!("{shard}/{} ({units} units)", plan.shards);
    let names: Vec<String> = missing.by_shard.iter().map(name).collect();
    let first = missing.by_shard.keys().next().copied().unwrap_or(0);
    let results = place.results.as_ref().map(|r| format!(" --results {r}")).unwrap_or_default();
    format!(
        "{}: expected all {} shards, found {} missing, of shards {}: run `fairway-sim campaign run {}{results} --shard {first}/{}` and the like, or merge what there is with --partial",
        place.what,
        plan.shards,
        lacking(missing.runs, missing.inputs),
        names.join(", "),
        place.what,
        plan.shards
    )
}

/// `40 runs`, `40 runs and 1,000 inputs`, `1,000 inputs`.
fn lacking(runs: u64, inputs: u64) -> String {
    let counts = [(runs, "runs"), (inputs, "inputs")];
    let counts = counts.iter().filter(|(n, _)| *n > 0);
    let words: Vec<String> = counts.map(|(n, what)| format!("{} {what}", thousands(*n))).collect();
    words.join(" and ")
}

fn print(merged: &Merged, place: &str) {
    let total = &merged.total;
    let missing_inputs = merged.fuzz.as_ref().map_or(0, |fuzz| fuzz.missing_inputs);
    let part = match (merged.missing_runs, missing_inputs) {
        (0, 0) => String::new(),
        (runs, inputs) => format!(", {} are missing", lacking(runs, inputs)),
    };
    println!(
        "campaign {}: {} runs of {} scenarios{part}",
        super::short(&merged.id),
        thousands(total.runs),
        merged.entries.len()
    );
    let counts = |counts: &BTreeMap<String, u64>| {
        let words = counts.iter().map(|(name, n)| format!("{name} {}", thousands(*n)));
        words.collect::<Vec<_>>().join(", ")
    };
    println!("  verdicts: {}", counts(&total.verdicts));
    if !total.faults.is_empty() {
        println!("  faults fired: {}", counts(&total.faults));
    }
    let or_none = |names: Vec<String>| match names.is_empty() {
        true => "none".to_string(),
        false => names.join(", "),
    };
    println!("  never fired: {}", or_none(total.never_fired.iter().cloned().collect()));
    let goal = |(scenario, goal): &(String, String)| format!("{goal} of {scenario}");
    println!("  goals never reached: {}", or_none(total.never_reached.iter().map(goal).collect()));
    if let Some(closest) = &total.closest {
        println!(
            "  closest call: {} could enforce its entitlement and {} more; {}",
            closest.call.who,
            closest.call.slack,
            replay_line(&closest.seed_id)
        );
    }
    let unexpected: Vec<_> = merged.failures.iter().filter(|f| !f.expected).collect();
    for failure in unexpected.iter().take(SHOWN) {
        println!("  FAILED {}: {}", failure.failed.verdict, failure.failed.what);
        println!("    {}{}", replay_line(&failure.seed_id), merged.work.replay_options());
    }
    if unexpected.len() > SHOWN {
        println!("  … and {} more", unexpected.len() - SHOWN);
    }
    print_fuzz(merged, place);
    println!("  record: {place}/{MERGED_FILE}");
}

fn print_fuzz(merged: &Merged, place: &str) {
    for (target, sum) in merged.by_target() {
        let (inputs, failed) = (thousands(sum.runs), thousands(sum.failed()));
        println!("  fuzz {target}: {inputs} inputs, {failed} failed");
        for failure in sum.failures.iter().take(SHOWN) {
            println!("  FAILED input {} of {target}: {}", failure.seed, failure.what);
            println!("    {}", repeat_line(place, target, failure));
        }
        if sum.failed() > SHOWN as u64 {
            println!("  … and {} more", thousands(sum.failed() - SHOWN as u64));
        }
    }
}

/// How long a campaign took; no part of its record.
#[derive(Serialize)]
struct Timings {
    wall_ms: u64,
    core_ms: u64,
    by_scenario: BTreeMap<String, Took>,
}

#[derive(Default, Serialize)]
struct Took {
    runs: u64,
    wall_ms: u64,
    slowest_unit_ms: u64,
}

impl Timings {
    fn of(merged: &Merged, units: &[(crate::campaign::Unit, crate::campaign::Timing)]) -> Timings {
        let mut timings = Timings { wall_ms: 0, core_ms: 0, by_scenario: BTreeMap::new() };
        for (unit, timing) in units {
            let Some(part) = merged.work.part(unit.entry) else { continue };
            timings.wall_ms += timing.wall_ms;
            timings.core_ms += timing.wall_ms * timing.threads;
            let took = timings.by_scenario.entry(part.label()).or_default();
            took.runs += timing.runs;
            took.wall_ms += timing.wall_ms;
            took.slowest_unit_ms = took.slowest_unit_ms.max(timing.wall_ms);
        }
        timings
    }
}
