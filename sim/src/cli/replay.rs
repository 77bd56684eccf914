//! `replay` and `explain`: one run again.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{EngineArg, Outcome, Stop, failure, load};
use crate::bundle::{BUNDLE_SCHEMA, Bundle};
use crate::campaign::{self, Run};
use crate::chance::Tape;
use crate::scenario::{Engine, Scenario};
use crate::seed_id::SeedId;

#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// A seed id, a bundle, or a file of the corpus.
    pub what: String,
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
    /// Take this invariant out, as the run did.
    #[arg(long, value_name = "INVARIANT")]
    ignore: Vec<String>,
    /// Accept a run of another build: its verdict must come again, its digest need not.
    #[arg(long)]
    any_build: bool,
}

/// A run to repeat, and the scenario that it came from.
struct Source {
    bundle: Bundle,
    scenario: Scenario,
    /// Whether a verdict and a digest are known that must come out again.
    recorded: bool,
}

pub fn replay(args: &ReplayArgs) -> Outcome {
    let mut source = find(args)?;
    source.bundle.ignore.extend(args.ignore.iter().cloned());
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
    if let Some(file) = &args.html {
        let html = failure::timeline(&source.scenario, &source.bundle, run);
        std::fs::write(file, html).map_err(|e| Stop::usage(format!("{}: {e}", file.display())))?;
        println!("  timeline: {}", file.display());
    }
    Ok(())
}

pub fn explain(args: &ReplayArgs) -> Outcome {
    let source = find(args)?;
    let run = source.bundle.replay(source.bundle.seed_id.engine, true);
    println!("{}", source.scenario.story().trim());
    println!();
    source.bundle.plan.describe().iter().for_each(|l| println!("  {l}"));
    println!();
    let story = failure::sentences(&source.scenario, &run);
    if story.is_empty() {
        println!("{}", failure::verdict_sentence(&run.report.verdict));
    }
    story.iter().for_each(|s| println!("{}", s.text));
    Ok(())
}

fn find(args: &ReplayArgs) -> Result<Source, Stop> {
    if Path::new(&args.what).is_file() {
        let bundle = Bundle::read(&args.what).map_err(|e| Stop::usage(e.to_string()))?;
        if !bundle.is_of_this_build() && !args.any_build && !in_corpus(&args.what) {
            return Err(stale(&bundle.build, bundle.commit.as_deref(), &args.what));
        }
        let scenario = scenario_of(&bundle.seed_id)?;
        return Ok(Source { bundle, scenario, recorded: true });
    }
    let id: SeedId = args.what.parse().map_err(|e| Stop::usage(format!("{}: {e}", args.what)))?;
    let build = crate::build_id::BUILD_ID;
    if !build.starts_with(&id.build.to_string()) && !args.any_build {
        return Err(stale(&id.build.to_string(), None, &args.what));
    }
    let scenario = scenario_of(&id)?;
    if scenario.digest_short() != id.scenario_digest {
        let found = scenario.digest_short();
        return Err(Stop::usage(format!(
            "{}: the scenario has changed: its digest is {found}",
            args.what
        )));
    }
    let bundle = bundle_of(&id, &scenario);
    Ok(Source { bundle, scenario, recorded: false })
}

fn bundle_of(id: &SeedId, scenario: &Scenario) -> Bundle {
    let how = campaign::How {
        engine: id.engine,
        crypto: id.crypto,
        mutant: id.mutant.clone(),
        ignore: Vec::new(),
        settings: id.settings.clone().into_iter().collect(),
    };
    let (plan, _) = how.plan(scenario, id.seed, &Tape::default());
    Bundle {
        schema: BUNDLE_SCHEMA,
        seed_id: id.clone(),
        story: Vec::new(),
        plan,
        ignore: Vec::new(),
        tape: Tape::default(),
        verdict: crate::engine::Verdict::Pass,
        digest: String::new(),
        build: crate::build_id::BUILD_ID.into(),
        commit: None,
        fixed: false,
    }
}

fn scenario_of(id: &SeedId) -> Result<Scenario, Stop> {
    let settings: Vec<_> = id.settings.clone().into_iter().collect();
    load(&id.scenario, &settings)?
        .into_iter()
        .next()
        .ok_or_else(|| Stop::usage(format!("no scenario {}", id.scenario)))
}

/// Kept bugs are repeated on any build.
fn in_corpus(file: &str) -> bool {
    Path::new(file).components().any(|c| c.as_os_str() == "corpus")
}

fn stale(build: &str, commit: Option<&str>, what: &str) -> Stop {
    let here = crate::build_id::short();
    eprintln!("error: {what} was recorded by build {build}, this is build {here}");
    if let Some(commit) = commit {
        eprintln!("  to repeat it exactly:");
        eprintln!("    git worktree add ../fairway-{commit} {commit}");
        eprintln!("    cd ../fairway-{commit} && {}", failure::replay_line(what));
    }
    eprintln!("  to repeat it on this build: add --any-build");
    Stop::code(8)
}
