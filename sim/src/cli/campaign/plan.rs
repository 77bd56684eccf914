//! `campaign plan`: what is to be run, in one file.

use clap::Args;

use crate::build_id::BUILD_ID;
use crate::campaign::{
    CampaignPlan, Entry, FuzzWork, Fuzzer, PLAN_FILE, Store, UNIT_INPUTS, UNIT_SEEDS, Work,
};
use crate::cli::run::{Seeds, percent, runs_on, seeds};
use crate::cli::{HowArgs, Outcome, Stop, check_backend, thousands};
use crate::scenario::{Library, Scenario, Setting};
use crate::seed_id::Crypto;

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// A scenario, a group (`smoke`, `attack`, `nightly`, `negative`, `scenarios` for all but negative), a file or a folder.
    what: String,
    /// How many seeds of each scenario, or a range `A..B`.
    #[arg(long, default_value = "1000", value_parser = seeds)]
    seeds: Seeds,
    /// Into how many shards the work is cut.
    #[arg(long, default_value = "1", value_parser = shards)]
    shards: u64,
    /// Seeds of one scenario that are finished together: what a killed shard loses at most.
    #[arg(long, value_name = "SEEDS", default_value_t = UNIT_SEEDS, value_parser = clap::value_parser!(u64).range(1..))]
    unit: u64,
    #[command(flatten)]
    how: HowArgs,
    /// Run this part of the seeds with real signatures, the others with toy ones.
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "crypto")]
    real: Option<u64>,
    /// Run inputs of this fuzz target too, with the program `fairway-fuzz`: FAIRWAY_FUZZ, or the one beside this. May be repeated.
    #[arg(long, value_name = "TARGET")]
    fuzz: Vec<String>,
    /// How many inputs of each fuzz target, or a range `A..B`.
    #[arg(long, default_value = "100000", value_parser = inputs, requires = "fuzz")]
    inputs: Seeds,
    /// Inputs of one fuzz target that are finished together.
    #[arg(long, value_name = "INPUTS", default_value_t = UNIT_INPUTS, value_parser = clap::value_parser!(u64).range(1..), requires = "fuzz")]
    unit_inputs: u64,
    /// Where the plan goes, and the results with it: a folder, `file://` or `s3://`.
    #[arg(long, default_value = "target/fairway/campaign")]
    out: String,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim campaign plan smoke --seeds 40000 --shards 8 --out camp       eight shards
  fairway-sim campaign plan scenarios --seeds 1000 --real 5% --out camp     toy signatures but for one seed in twenty
  fairway-sim campaign plan smoke --fuzz wire_decode --fuzz log_open --inputs 1000000 --out camp    fuzz inputs too
  fairway-sim campaign plan attack --engine all --set phases.chaos=90s --out s3://bucket/camp";

fn shards(text: &str) -> Result<u64, String> {
    let n = text.parse().ok().filter(|n| *n >= 1);
    n.ok_or_else(|| "expected a number of shards, at least 1".into())
}

fn inputs(text: &str) -> Result<Seeds, String> {
    seeds(text).map_err(|why| why.replace("one seed", "one input"))
}

pub fn plan(args: &PlanArgs) -> Outcome {
    args.how.check()?;
    let entries = entries(args)?;
    let scenarios = {
        let mut names: Vec<&str> = entries.iter().map(|e| e.scenario.as_str()).collect();
        names.dedup();
        names.len()
    };
    let work = Work {
        build: BUILD_ID.into(),
        seeds: (args.seeds.0.start, args.seeds.0.end),
        unit_seeds: args.unit,
        real_percent: real_percent(args),
        mutant: args.how.mutant.clone(),
        ignore: args.how.ignore.clone(),
        search_permille: args.how.search_permille,
        settings: args.how.settings.iter().cloned().collect(),
        entries,
        fuzz: fuzz_work(args)?,
    };
    let plan = CampaignPlan::new(work, args.shards);
    let kept = keep(&args.out, &plan)?;
    let work = &plan.work;
    println!("{}/{PLAN_FILE}: campaign plan {}{kept}", args.out, super::short(&plan.id));
    println!(
        "  {} runs: {scenarios} scenarios, {} seeds each{}",
        thousands(work.seeds_each() * work.entries.len() as u64),
        thousands(work.seeds_each()),
        if work.entries.len() > scenarios { ", on every engine that they list" } else { "" },
    );
    if let Some(fuzz) = &work.fuzz {
        let (each, names) = (fuzz.inputs.1 - fuzz.inputs.0, fuzz.targets.join(", "));
        println!("  {} fuzz inputs of each of {names}", thousands(each));
    }
    let last = plan.shards - 1;
    let units = thousands(work.units().count() as u64);
    println!("  {units} units of work, over {} shards", plan.shards);
    println!("  next: fairway-sim campaign run {} --shard 0/{}", args.out, plan.shards);
    if last > 0 {
        println!(
            "        … --shard {last}/{}, here or elsewhere, with this same binary",
            plan.shards
        );
    }
    println!("  then: fairway-sim campaign merge {}", args.out);
    Ok(())
}

/// What is fuzzed, by the program that is here now.
fn fuzz_work(args: &PlanArgs) -> Result<Option<FuzzWork>, Stop> {
    if args.fuzz.is_empty() {
        return Ok(None);
    }
    let fuzzer = Fuzzer::find().map_err(super::fuzz)?;
    // The order in which targets are asked for makes no other work.
    let mut targets = args.fuzz.clone();
    targets.sort();
    targets.dedup();
    let Seeds(inputs) = &args.inputs;
    let work = FuzzWork {
        build: fuzzer.build().to_string(),
        inputs: (inputs.start, inputs.end),
        unit_inputs: args.unit_inputs,
        targets,
    };
    fuzzer.check(&work).map_err(super::fuzz)?;
    Ok(Some(work))
}

fn real_percent(args: &PlanArgs) -> u64 {
    args.real.unwrap_or(match args.how.crypto() {
        Crypto::Real => 100,
        Crypto::Toy => 0,
    })
}

/// Every scenario on every engine that was asked for and that it lists.
fn entries(args: &PlanArgs) -> Result<Vec<Entry>, Stop> {
    let settings: &[Setting] = &args.how.settings;
    let library = Library::new();
    let mut sources = library.find(&args.what).map_err(|e| Stop::usage(e.to_string()))?;
    if args.what == "scenarios" {
        sources.retain(|source| !source.name.starts_with("negative/"));
    }
    // All problems of all scenarios at once, as `run` tells them.
    let _ = args.how.load(&args.what)?;
    let real = real_percent(args);
    let mut entries = Vec::new();
    for source in sources {
        let scenario = source.parse(settings).map_err(|e| Stop::usage(e.to_string().trim_end()))?;
        for crypto in [Crypto::Real, Crypto::Toy] {
            let used = if crypto == Crypto::Real { real > 0 } else { real < 100 };
            if used {
                check_backend(scenario.name(), scenario.backend(), crypto)?;
            }
        }
        let text = (!is_embedded(&library, &scenario, settings)).then_some(source.text);
        for engine in args.how.engine.engines() {
            if runs_on(&scenario, engine) {
                crate::engine::check_available(engine).map_err(Stop::usage)?;
                entries.push(Entry::new(&scenario, engine, text.clone()));
            }
        }
    }
    if entries.is_empty() {
        return Err(Stop::usage(format!(
            "--engine: expected an engine that a scenario of `{}` lists, found none",
            args.what
        )));
    }
    Ok(entries)
}

/// Whether any binary of this build has this scenario in itself.
fn is_embedded(library: &Library, scenario: &Scenario, settings: &[Setting]) -> bool {
    library.names().any(|name| name == scenario.name())
        && library
            .load(scenario.name(), settings)
            .is_ok_and(|found| found.iter().any(|same| same.digest() == scenario.digest()))
}

/// Writes the plan where there is none of other work. What to add to the line that tells of it.
fn keep(out: &str, plan: &CampaignPlan) -> Result<&'static str, Stop> {
    let store = Store::open(out).map_err(|e| Stop::usage(format!("--out: {e}")))?;
    let before = store.get(PLAN_FILE).map_err(super::store)?;
    let mut kept = "";
    if let Some(bytes) = before {
        let other = |found: String| {
            Stop::usage(format!(
                "--out: {out}: expected a place without a plan of other work, found {found}: choose another place"
            ))
        };
        let before = CampaignPlan::read(&format!("{out}/{PLAN_FILE}"), &bytes)
            .map_err(|e| other(e.to_string()))?;
        if before.work != plan.work {
            return Err(other(format!("plan {}", super::short(&before.id))));
        }
        kept = match before.shards == plan.shards {
            true => ", as it was; results are kept",
            false => ", the same work in another number of shards; results are kept",
        };
    }
    store.put(PLAN_FILE, plan.to_bytes()).map_err(super::store)?;
    Ok(kept)
}
