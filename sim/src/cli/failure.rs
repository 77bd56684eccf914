//! A failure, as one block that a person can paste.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Stop;
use super::run::{Format, RunArgs};
use crate::bundle::{BUNDLE_SCHEMA, Bundle};
use crate::campaign::{How, Run};
use crate::chance::{Chance, Tape};
use crate::engine::{RunReport, Verdict};
use crate::scenario::{Element, Engine, Plan, Scenario};
use crate::shrink::{Fingerprint, Shrunk, shrink};
use crate::story;

/// How long a failure is shrunk where it happens.
const SHRINK_FOR: Duration = Duration::from_secs(30);

/// Shrinks, explains and prints one failure; writes its bundle and its timeline.
pub fn show(
    args: &RunArgs,
    scenario: &Scenario,
    how: &How,
    seed: u64,
    report: &RunReport,
) -> Result<Told, Stop> {
    let shrunk = (!args.no_shrink && how.engine == Engine::Reference).then(|| {
        let (plan, _) = how.plan(scenario, seed, &Tape::default());
        shrink(how, &plan, &Tape::default(), seed, report, SHRINK_FOR)
    });
    let told = tell(scenario, how, seed, report, shrunk.as_ref());
    let files = write(&args.out, &told)?;
    if args.format == Format::Tty {
        print(&told, shrunk.as_ref(), &files);
    }
    Ok(told)
}

/// Everything there is to say about a failure.
pub struct Told {
    /// The bundle.
    pub bundle: Bundle,
    /// The timeline.
    pub html: String,
    /// What went wrong, and when.
    pub headline: String,
}

/// Repeats a failing run with a recorder and puts it into words.
pub fn tell(
    scenario: &Scenario,
    how: &How,
    seed: u64,
    report: &RunReport,
    shrunk: Option<&Shrunk>,
) -> Told {
    let (plan, tape) = match shrunk {
        Some(shrunk) => (shrunk.plan.clone(), shrunk.tape.clone()),
        None => (how.plan(scenario, seed, &Tape::default()).0, Tape::default()),
    };
    let report = shrunk.map_or(report, |s| &s.report);
    let seed_id = how.seed_id(scenario, seed);
    let options = crate::world::Options { record: true, ..how.options() };
    let chance = Chance::with_tape(seed, tape.clone());
    let run = how.run_plan(plan.clone(), chance, options);
    let story = sentences(scenario, &run).into_iter().map(|s| s.text).collect();
    let bundle = Bundle {
        schema: BUNDLE_SCHEMA,
        seed_id: seed_id.clone(),
        story,
        plan,
        ignore: how.ignore.clone(),
        tape,
        crash: None,
        verdict: run.report.verdict.clone(),
        digest: run.report.digest.clone(),
        build: crate::build_id::BUILD_ID.into(),
        commit: crate::build_id::commit().map(str::to_string),
        fixed: false,
    };
    let html = timeline(scenario, &bundle, &run);
    Told { headline: headline(scenario.name(), seed, report), bundle, html }
}

/// The causal story of a recorded run; empty when nothing broke.
pub fn sentences(scenario: &Scenario, run: &Run) -> Vec<story::Sentence> {
    match (&run.report.verdict, &run.recording) {
        (Verdict::Violation(v), Some(r)) => {
            story::explain_steps(scenario.story(), &r.lines, v, &r.names)
        }
        (Verdict::Pass | Verdict::Violation(_) | Verdict::Panic(_) | Verdict::Budget(_), _) => {
            Vec::new()
        }
    }
}

/// The page of a recorded run.
pub fn timeline(scenario: &Scenario, bundle: &Bundle, run: &Run) -> String {
    let sentence = verdict_sentence(&run.report.verdict);
    let verdict = if run.report.verdict.is_pass() {
        story::Verdict::Passed(sentence)
    } else {
        story::Verdict::Failed(sentence)
    };
    let id = &bundle.seed_id;
    let mut facts = vec![
        ("seed", format!("{:x}", id.seed)),
        ("engine", id.engine.name().to_string()),
        ("signatures", id.crypto.name().to_string()),
        ("mutant", bundle.plan.mutant.clone().unwrap_or_else(|| "none".into())),
        ("digest", run.report.digest.chars().take(16).collect()),
        ("build", crate::build_id::short().to_string()),
    ];
    facts.extend(rule(&run.report.verdict).map(|page| ("rule", page)));
    let empty = story::Recorder::new(&[]).finish();
    story::html(&story::HtmlRun {
        title: scenario.name(),
        verdict,
        story: scenario.story(),
        replay: &(replay_line(&id.to_string()) + &ignoring(&bundle.ignore)),
        facts: &facts,
        explanation: &sentences(scenario, run),
        recording: run.recording.as_ref().unwrap_or(&empty),
    })
}

/// Where the invariant that was broken is explained.
fn rule(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Violation(v) => crate::invariant::page_of(&v.invariant),
        Verdict::Pass | Verdict::Panic(_) | Verdict::Budget(_) => None,
    }
}

/// The verdict in one sentence.
pub fn verdict_sentence(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "Every invariant held.".into(),
        Verdict::Violation(v) => format!("{} was broken: {}", v.invariant, story::what_broke(v)),
        Verdict::Panic(message) if verdict.is_harness_bug() => {
            format!("The simulation is wrong: {message}")
        }
        Verdict::Panic(message) => format!("A node panicked: {message}"),
        Verdict::Budget(steps) => format!("Given up after {steps} steps."),
    }
}

fn headline(scenario: &str, seed: u64, report: &RunReport) -> String {
    let at = report.violated_at.map_or(report.virtual_ns, |(ns, _)| ns);
    let step = report.violated_at.map_or(report.steps, |(_, step)| step);
    format!(
        "FAILED {scenario}, seed {seed}: {}\n  at {}.{:03} s of virtual time, block {}, driver step {step}",
        verdict_sentence(&report.verdict),
        at / 1_000_000_000,
        at / 1_000_000 % 1_000,
        report.blocks
    )
}

/// The command that repeats a run.
pub fn replay_line(what: &str) -> String {
    // A build with other features has another id.
    let features = if cfg!(feature = "evm") { " --features evm" } else { "" };
    format!("cargo run --release{features} -- replay '{what}'")
}

/// What a seed id does not say: which invariants were switched off.
fn ignoring(names: &[String]) -> String {
    names.iter().map(|name| format!(" --ignore {name}")).collect()
}

/// Where a failure's files went.
pub struct Files {
    /// The bundle.
    pub bundle: PathBuf,
    /// The timeline.
    pub html: PathBuf,
}

/// Writes the bundle and the timeline into `out`.
pub fn write(out: &Path, told: &Told) -> Result<Files, Stop> {
    let id = &told.bundle.seed_id;
    let stem = format!("{}-{:x}-{}", id.scenario.replace('/', "-"), id.seed, id.engine.name());
    let files =
        Files { bundle: out.join(format!("{stem}.json")), html: out.join(format!("{stem}.html")) };
    let failed = |e: std::io::Error| {
        Stop::usage(format!("--out: expected a folder to write into, found {}: {e}", out.display()))
    };
    std::fs::create_dir_all(out).map_err(failed)?;
    told.bundle.write(&files.bundle).map_err(failed)?;
    std::fs::write(&files.html, &told.html).map_err(failed)?;
    Ok(files)
}

/// One line for each operation and fault of a failing run: what it is, and what the run comes to without it.
pub fn counterfactual_lines(
    plan: &Plan,
    verdict: &Verdict,
    needed: &[(Element, Verdict)],
) -> Vec<String> {
    let line = |(element, without): &(Element, Verdict)| {
        let text = plan.describe_element(*element).unwrap_or_default();
        format!("{text} ({})", then(verdict, without))
    };
    needed.iter().map(line).collect()
}

/// What becomes of a failure when something is taken away.
fn then(verdict: &Verdict, without: &Verdict) -> String {
    let as_before = Fingerprint::of(verdict) == Fingerprint::of(without);
    match without {
        Verdict::Pass => "without it nothing fails".into(),
        _ if as_before => "without it the same fails".into(),
        Verdict::Violation(v) if matches!(verdict, Verdict::Violation(b) if b.invariant == v.invariant) =>
        {
            format!("without it {} is broken in another way", v.invariant)
        }
        Verdict::Violation(v) => format!("without it {} is broken instead", v.invariant),
        Verdict::Panic(_) => "without it a node panics".into(),
        Verdict::Budget(_) => "without it the run does not end".into(),
    }
}

/// Prints the block.
pub fn print(told: &Told, shrunk: Option<&Shrunk>, files: &Files) {
    println!("\n{}", told.headline);
    if let Some(shrunk) = shrunk {
        let (before, after) = shrunk.elements;
        println!(
            "  shrunk from {before} to {after} operations and faults in {} runs; what is left:",
            shrunk.tried
        );
        let plan = &told.bundle.plan;
        let lines = counterfactual_lines(plan, &told.bundle.verdict, &shrunk.needed);
        lines.iter().for_each(|line| println!("    - {line}"));
    }
    println!("  what happened:");
    told.bundle.story.iter().for_each(|s| println!("    {s}"));
    if let Some(page) = rule(&told.bundle.verdict) {
        println!("  rule:     {page}");
    }
    println!("  replay:   {}", replay_line(&files.bundle.display().to_string()));
    let id = replay_line(&told.bundle.seed_id.to_string());
    println!("            {id}{}", ignoring(&told.bundle.ignore));
    println!("  timeline: {}\n", files.html.display());
}
