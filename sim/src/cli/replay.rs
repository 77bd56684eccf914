//! `replay` and `explain`: one run again.

use std::path::PathBuf;

use clap::Args;

use super::source::{Builds, Source, find, origin};
use super::{EngineArg, Outcome, Stop, at_commit, diff, failure};
use crate::campaign::{self, Run};
use crate::scenario::Engine;
use crate::shrink::counterfactuals;

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// A seed id, a bundle, or a file of the corpus.
    what: String,
    /// Another engine than the run's own, or all.
    #[arg(long, value_enum)]
    engine: Option<EngineArg>,
    /// Stop at this many virtual seconds in what is printed.
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
    /// Print everything that happened.
    #[arg(long)]
    trace: bool,
    /// Write the timeline here.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write what happened here, a line of JSON each, for `diff`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Take this invariant out, as the run did.
    #[arg(long, value_name = "INVARIANT")]
    ignore: Vec<String>,
    /// Accept a run of another build: its verdict must come again, its digest need not.
    #[arg(long)]
    any_build: bool,
    /// Repeat a run of another build with the sources that it came from: checks its commit out below target/fairway/at and builds it.
    #[arg(long, conflicts_with = "any_build")]
    at_commit: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct ExplainArgs {
    /// A seed id, a bundle, or a file of the corpus.
    what: String,
    /// Take this invariant out, as the run did.
    #[arg(long, value_name = "INVARIANT")]
    ignore: Vec<String>,
    /// Accept a run of another build: the seed may mean another run here.
    #[arg(long)]
    any_build: bool,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim replay 'smoke/plain#2a@…/reference'        the seed id that a failure printed
  fairway-sim replay target/fairway/latest/run.json      the bundle that it left
  fairway-sim replay run.json --trace --until 20         everything that happened in the first 20 s
  fairway-sim replay run.json --html run.html            the same as a page
  fairway-sim replay run.json --engine all               the same plan on every engine
  fairway-sim replay run.json --at-commit                by the sources that it came from";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  fairway-sim explain 'smoke/plain#2a@…/reference'       what happened, in plain words
  fairway-sim explain corpus/bugs/smoke-torn_tail-0-reference.json";

/// Runs of which builds are taken.
fn builds(any: bool) -> Builds {
    if any { Builds::Any } else { Builds::This }
}

pub fn replay(args: &ReplayArgs) -> Outcome {
    if args.at_commit {
        let (build, commit) = origin(&args.what)?;
        if !crate::build_id::BUILD_ID.starts_with(&build) {
            let Some(commit) = commit else {
                return Err(Stop::usage(format!(
                    "--at-commit: expected a build that some commit here makes with this compiler, found {build}"
                )));
            };
            return at_commit::repeat(&commit, &args.what);
        }
    }
    let source = find(&args.what, &args.ignore, builds(args.any_build))?;
    let engines = match args.engine {
        Some(engines) => engines.engines(),
        None => vec![source.bundle.seed_id.engine],
    };
    let mut worst = 0;
    for engine in engines {
        crate::engine::check_available(engine).map_err(Stop::usage)?;
        let run = source.bundle.replay(engine, true);
        show(args, &source, engine, &run)?;
        let same_engine = engine == source.bundle.seed_id.engine;
        if source.recorded
            && same_engine
            && source.bundle.is_of_this_build()
            && run.report.digest != source.bundle.digest
        {
            eprintln!("error: the digest was {} when it was recorded", source.bundle.digest);
            return Err(Stop::code(4));
        }
        let code = campaign::exit_code(&run.report.verdict);
        let expected = source.recorded && run.report.verdict == source.bundle.verdict;
        if expected && same_engine {
            println!(
                "  as recorded: same verdict{}",
                if run.report.digest == source.bundle.digest { ", same digest" } else { "" }
            );
        }
        worst = worst.max(code);
    }
    if worst == 0 { Ok(()) } else { Err(Stop::code(worst)) }
}

fn show(args: &ReplayArgs, source: &Source, engine: Engine, run: &Run) -> Outcome {
    let report = &run.report;
    println!("{} on {}", source.bundle.seed_id, engine.name());
    println!("  verdict: {}", failure::verdict_sentence(&report.verdict));
    println!("  digest:  {}", report.digest);
    println!(
        "  {} driver steps, {} blocks, {}.{:03} s of virtual time",
        report.steps,
        report.blocks,
        report.virtual_ns / 1_000_000_000,
        report.virtual_ns / 1_000_000 % 1_000
    );
    if let (true, Some(recording)) = (args.trace, &run.recording) {
        let until = args.until.map_or(u64::MAX, |s| s.saturating_mul(1_000_000_000));
        for line in recording.lines.iter().filter(|l| l.at_ns <= until) {
            println!(
                "  {:>6}.{:03} s  {}",
                line.at_ns / 1_000_000_000,
                line.at_ns / 1_000_000 % 1_000,
                line.text
            );
        }
    }
    if let Some(file) = &args.record {
        diff::write_recording(file, &source.bundle.seed_id.to_string(), engine, run)?;
        println!("  recording: {}", file.display());
    }
    if let Some(file) = &args.html {
        let html = failure::timeline(&source.scenario, &source.bundle, run);
        std::fs::write(file, html).map_err(|e| {
            Stop::usage(format!("--html: expected a file to write, found {}: {e}", file.display()))
        })?;
        println!("  timeline: {}", file.display());
    }
    Ok(())
}

pub fn explain(args: &ExplainArgs) -> Outcome {
    let source = find(&args.what, &args.ignore, builds(args.any_build))?;
    let bundle = &source.bundle;
    crate::engine::check_available(bundle.seed_id.engine).map_err(Stop::usage)?;
    let run = bundle.replay(bundle.seed_id.engine, true);
    println!("{}", source.scenario.story().trim());
    println!();
    bundle.plan.describe().iter().for_each(|l| println!("  {l}"));
    println!();
    let story = failure::sentences(&source.scenario, &run);
    if story.is_empty() {
        println!("{}", failure::verdict_sentence(&run.report.verdict));
    }
    story.iter().for_each(|s| println!("{}", s.text));
    let verdict = &run.report.verdict;
    if !verdict.is_pass() {
        println!("\nWhat if one thing had been different:");
        let seed = bundle.seed_id.seed;
        let needed = counterfactuals(&bundle.how(), &bundle.plan, &bundle.tape, seed);
        let lines = failure::counterfactual_lines(&bundle.plan, verdict, &needed);
        lines.iter().for_each(|line| println!("  - {line}"));
    }
    Ok(())
}
