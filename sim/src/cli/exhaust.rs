//! `exhaust`: every crash point of one run, with everything that can be left on the disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::progress::Progress;
use super::{EngineArg, HowArgs, Outcome, Stop, failure, thousands, workers};
use crate::bundle::{BUNDLE_SCHEMA, Bundle};
use crate::campaign::{How, exit_code};
use crate::chance::Tape;
use crate::exhaust::{Crash, Exhausted, Play, Survey};
use crate::scenario::{Engine, Plan, Scenario};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExhaustArgs {
    /// A scenario, by name or file.
    scenario: String,
    /// The run whose crash points are played.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Begin no further run after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Leave out the first N of the crashes: where an earlier call with a budget ended.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Threads.
    #[arg(short, long)]
    jobs: Option<usize>,
    /// Play the others too after the first that ends badly.
    #[arg(long)]
    keep_going: bool,
    /// Where the bundle of the first that ends badly goes.
    #[arg(long, value_name = "DIR", default_value = "target/fairway/latest")]
    out: PathBuf,
    #[command(flatten)]
    how: HowArgs,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim exhaust smoke/plain                        every crash of both parties, every image
  fairway-sim exhaust smoke/plain --crypto toy --budget 60
  fairway-sim exhaust smoke/plain --skip 400             what a budget had left
  fairway-sim exhaust smoke/plain --mutant no-resend-after-restart

Exit codes: as of `run`; a run that ends badly without any crash is not exhausted, and says so.";

pub fn exhaust(args: &ExhaustArgs) -> Outcome {
    args.how.check()?;
    if args.how.engine != EngineArg::Reference {
        return Err(Stop::usage(
            "--engine: expected reference, the one engine that stops between two steps",
        ));
    }
    let scenarios = args.how.load(&args.scenario)?;
    let [scenario] = scenarios.as_slice() else {
        let found = scenarios.len();
        return Err(Stop::usage(format!(
            "{}: expected one scenario, found {found}",
            args.scenario
        )));
    };
    let how = args.how.how(Engine::Reference);
    let (plan, chance) = how.plan(scenario, args.seed, &Tape::default());
    let survey = Survey::new(&how, &plan, &chance);
    if !survey.report.verdict.is_pass() {
        let told = failure::verdict_sentence(&survey.report.verdict);
        eprintln!(
            "error: {}, seed {}, ends badly without a crash: {told}",
            scenario.name(),
            args.seed
        );
        return Err(Stop::code(exit_code(&survey.report.verdict)));
    }
    let crashes = survey.crashes();
    introduce(scenario, args.seed, &survey, crashes.len());
    let Some(crashes) = crashes.get(args.skip..) else {
        let found = args.skip;
        return Err(Stop::usage(format!(
            "--skip: expected at most {}, found {found}",
            crashes.len()
        )));
    };
    let until = args.budget.map(|s| Instant::now() + Duration::from_secs(s));
    let jobs = args.jobs.unwrap_or_else(workers);
    let fail_fast = !args.keep_going;
    let play = Play { how: &how, plan: &plan, chance: &chance, jobs, until, fail_fast };
    let progress = Progress::new(crashes.len() as u64, false);
    let sum = play.all(crashes, &|report| progress.seen(report));
    progress.finish();
    conclude(args, &sum);
    let Some((crash, report)) = sum.failed.first() else { return Ok(()) };
    let file = tell(args, scenario, &play, *crash)?;
    println!("  replay:   {}", failure::replay_line(&file.display().to_string()));
    Err(Stop::code(exit_code(&report.verdict)))
}

fn introduce(scenario: &Scenario, seed: u64, survey: &Survey, crashes: usize) {
    let (images, is_every) = survey.images();
    println!(
        "{}, seed {seed}: {} crash points, {} disk images{}, {} recovered logs to play",
        scenario.name(),
        thousands(survey.points.len() as u64),
        thousands(images),
        if is_every { " (every combination of unsynced sectors)" } else { " (bounded)" },
        thousands(crashes as u64)
    );
}

fn conclude(args: &ExhaustArgs, sum: &Exhausted) {
    let covered = thousands((args.skip + sum.covered) as u64);
    let total = thousands((args.skip + sum.total) as u64);
    let verdicts: Vec<String> =
        sum.verdicts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    println!("  covered {covered} of {total}: {}", verdicts.join(", "));
    if sum.covered < sum.total && sum.failed.is_empty() {
        let next = args.skip + sum.covered;
        println!("  the budget is used up; go on with --skip {next}");
    }
}

/// Repeats the crash with a recorder, says what happened and leaves a bundle.
fn tell(
    args: &ExhaustArgs,
    scenario: &Scenario,
    play: &Play<'_>,
    crash: Crash,
) -> Result<PathBuf, Stop> {
    let run = play.one(crash, true);
    let name = party(play.plan, crash);
    println!("\nFAILED: {name} loses power right before its driver step {}", crash.step);
    println!("  parts of its unsynced writes that persist: {:#b}", crash.keeps);
    println!("  {}", failure::verdict_sentence(&run.report.verdict));
    println!("  what happened:");
    let story: Vec<String> =
        failure::sentences(scenario, &run).into_iter().map(|s| s.text).collect();
    story.iter().for_each(|s| println!("    {s}"));
    let bundle = bundle(play.how, scenario, args.seed, play.plan, crash, story, &run);
    let stem = scenario.name().replace('/', "-");
    let file = args.out.join(format!("{stem}-{:x}-{name}-{}.json", args.seed, crash.step));
    write(&args.out, &file, &bundle)?;
    Ok(file)
}

fn party(plan: &Plan, crash: Crash) -> String {
    plan.parties.get(crash.party.0).map_or("nobody".into(), |p| p.name.clone())
}

fn bundle(
    how: &How,
    scenario: &Scenario,
    seed: u64,
    plan: &Plan,
    crash: Crash,
    story: Vec<String>,
    run: &crate::campaign::Run,
) -> Bundle {
    Bundle {
        schema: BUNDLE_SCHEMA,
        seed_id: how.seed_id(scenario, seed),
        story,
        plan: plan.clone(),
        ignore: how.ignore.clone(),
        tape: Tape::default(),
        crash: Some(crash),
        verdict: run.report.verdict.clone(),
        digest: run.report.digest.clone(),
        build: crate::build_id::BUILD_ID.into(),
        commit: crate::build_id::commit().map(str::to_string),
        fixed: false,
    }
}

fn write(out: &Path, file: &Path, bundle: &Bundle) -> Outcome {
    let failed = |e: std::io::Error| {
        Stop::usage(format!("--out: expected a folder to write into, found {}: {e}", out.display()))
    };
    std::fs::create_dir_all(out).map_err(failed)?;
    bundle.write(file).map_err(failed)
}
