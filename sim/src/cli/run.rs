//! `run`: scenarios over many seeds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use fairway_core::types::Amount;
use serde::Serialize;

use super::junit::{self, Case, Failure, Suite};
use super::progress::Progress;
use super::resume::Resume;
use super::{HowArgs, Outcome, Stop, failure, thousands, workers};
use crate::campaign::{self, How, Tally, Until, sweep};
use crate::engine::{RunReport, Verdict};
use crate::invariant::Closest;
use crate::scenario::{Availability, Engine, Expect, Scenario, available};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// A scenario, a group (`smoke`, `attack`, `nightly`, `negative`, `scenarios` for all but negative), a file or a folder.
    #[arg(default_value = "smoke")]
    pub what: String,
    /// How many seeds of each scenario, or a range `A..B`.
    #[arg(long, default_value = "100", value_parser = seeds)]
    pub seeds: Seeds,
    /// Run the I-th of N equal parts of the seeds, from 0: `0/4` to `3/4`.
    #[arg(long, value_name = "I/N", value_parser = share, conflicts_with = "lasts")]
    pub shard: Option<Share>,
    /// Go on with further seeds until this much time has passed.
    #[arg(long = "for", value_name = "10m", value_parser = duration)]
    pub lasts: Option<Duration>,
    #[command(flatten)]
    pub how: HowArgs,
    /// Threads; all cores by default.
    #[arg(short = 'j', long, value_parser = threads)]
    pub jobs: Option<usize>,
    /// Repeat this part of the runs in another process and compare digests.
    #[arg(long, default_value = "5%", value_parser = percent)]
    pub determinism: u64,
    /// Run every seed even after a failure.
    #[arg(long, conflicts_with = "fail_fast")]
    pub keep_going: bool,
    /// Stop at a scenario's first failing seed. The default.
    #[arg(long)]
    pub fail_fast: bool,
    /// Do not shrink failures.
    #[arg(long)]
    pub no_shrink: bool,
    /// What stdout gets.
    #[arg(long, value_enum, default_value_t = Format::Tty)]
    pub format: Format,
    /// Where bundles and timelines go.
    #[arg(long, default_value = "target/fairway/latest")]
    pub out: PathBuf,
    /// Keep what is finished in that folder, 250 seeds at a time, and take what an earlier run with the same line has left there.
    #[arg(long)]
    pub resume: bool,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim run smoke --seeds 1000                     a thousand seeds of every smoke story
  fairway-sim run attack --seeds 100..200 --engine all   a range of seeds on every engine
  fairway-sim run my_story.toml --set phases.chaos=90s   a file, with one key changed
  fairway-sim run smoke/plain --mutant effect-before-sync    the node with a planted bug
  fairway-sim run smoke --for 10m --crypto toy           as many seeds as ten minutes allow
  fairway-sim run smoke --format junit > report.xml      for a build server
  fairway-sim run smoke --seeds 9000 --shard 2/3         the last third of the seeds
  fairway-sim run nightly --seeds 9000 --out n --resume  again after a kill: goes on where it was";

/// A range of seeds.
#[derive(Clone, Debug)]
pub struct Seeds(pub std::ops::Range<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Tty,
    /// One JSON record a run, in the order of seeds.
    Jsonl,
    /// One JUnit report, for build servers.
    Junit,
}

pub fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |t: &str| {
        t.replace('_', "").parse::<u64>().map_err(|_| format!("expected N or A..B, found `{text}`"))
    };
    let range = match text.split_once("..") {
        Some((a, b)) => number(a)?..number(b)?,
        None => 0..number(text)?,
    };
    if range.is_empty() {
        return Err(format!("expected at least one seed, found `{text}`"));
    }
    Ok(Seeds(range))
}

pub fn threads(text: &str) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| *n >= 1);
    n.ok_or_else(|| "expected a number of threads, at least 1".into())
}

/// The I-th of N parts, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which.
    pub shard: u64,
    /// Of how many.
    pub of: u64,
}

impl Share {
    /// Its part of a range; parts differ by one at most.
    fn part(self, seeds: &std::ops::Range<u64>) -> std::ops::Range<u64> {
        let width = u128::from(seeds.end - seeds.start);
        let at = |shard: u64| {
            let offset = width * u128::from(shard) / u128::from(self.of);
            seeds.start + u64::try_from(offset).unwrap_or(u64::MAX)
        };
        at(self.shard)..at(self.shard + 1)
    }
}

/// Reads `0/4`.
pub fn share(text: &str) -> Result<Share, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((shard, of)) if shard < of => Ok(Share { shard, of }),
        Some((_, of)) if of > 0 => {
            Err(format!("expected 0/{of} to {}/{of}, found `{text}`", of - 1))
        }
        _ => Err(format!("expected I/N such as 0/8, found `{text}`")),
    }
}

/// Reads `30s`, `10m`, `2h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let n: u64 =
        digits.parse().map_err(|_| "expected a duration such as 30s, 10m or 2h".to_string())?;
    match unit {
        "s" => Ok(Duration::from_secs(n)),
        "m" => Ok(Duration::from_secs(n * 60)),
        "h" => Ok(Duration::from_secs(n * 3_600)),
        _ => Err("expected a duration such as 30s, 10m or 2h".into()),
    }
}

pub fn percent(text: &str) -> Result<u64, String> {
    let n = text.trim_end_matches('%').parse::<u64>().ok().filter(|n| *n <= 100);
    n.ok_or_else(|| "expected a percentage such as 5%".into())
}

/// Runs after which a goal that was never reached fails the campaign.
const GOALS_AFTER: u64 = 100;

/// What one scenario came to on one engine.
struct Done {
    scenario: Scenario,
    how: How,
    tally: Tally,
}

pub fn run(args: &RunArgs) -> Outcome {
    args.how.check()?;
    let mut scenarios = args.how.load(&args.what)?;
    if args.what == "scenarios" {
        scenarios.retain(|s| !s.name().starts_with("negative/"));
    }
    let engines = args.how.engine.engines();
    let jobs: Vec<(Scenario, How)> = scenarios
        .iter()
        .flat_map(|s| engines.iter().map(move |e| (s, *e)))
        .filter(|(s, e)| runs_on(s, *e))
        .map(|(s, e)| (s.clone(), args.how.how(e)))
        .collect();
    if jobs.is_empty() {
        let asked = engines.iter().map(|e| e.name()).collect::<Vec<_>>().join(" or ");
        return Err(Stop::usage(format!(
            "--engine: expected an engine that a scenario of `{}` lists, found {asked}",
            args.what
        )));
    }
    check_engines(&jobs)?;
    let seeds = match args.shard {
        Some(share) => share.part(&args.seeds.0),
        None => args.seeds.0.clone(),
    };
    if seeds.is_empty() {
        return Err(Stop::usage(
            "--shard: expected no more shards than seeds, found a shard without any",
        ));
    }
    let per_scenario = seeds.end - seeds.start;
    let quiet = args.format != Format::Tty;
    if !quiet {
        println!(
            "{}: {} scenarios, {} seeds each, {} on {} threads",
            args.what,
            scenarios.len(),
            thousands(per_scenario),
            engines.iter().map(|e| e.name()).collect::<Vec<_>>().join(" + "),
            args.jobs.unwrap_or_else(workers)
        );
    }
    let progress = Progress::new(per_scenario * jobs.len() as u64, quiet);
    let done = sweep_all(args, seeds, jobs, &progress);
    progress.finish();
    let done = done?;
    let elapsed = progress.elapsed();
    let codes = report_all(args, &done, elapsed)?;
    if !quiet {
        summary(&done, elapsed);
    }
    let differing = check_determinism(args, &done)?;
    conclude(codes, differing)
}

pub fn runs_on(scenario: &Scenario, engine: Engine) -> bool {
    scenario.engines().contains(&engine)
}

fn check_engines(jobs: &[(Scenario, How)]) -> Outcome {
    for (_, how) in jobs {
        crate::engine::check_available(how.engine).map_err(Stop::usage)?;
    }
    Ok(())
}

fn sweep_all(
    args: &RunArgs,
    seeds: std::ops::Range<u64>,
    jobs: Vec<(Scenario, How)>,
    progress: &Progress,
) -> Result<Vec<Done>, Stop> {
    let resume = args.resume.then(|| Resume::open(&args.out)).transpose()?;
    let started = Instant::now();
    let workers = args.jobs.unwrap_or_else(workers);
    let mut done: Vec<Done> = Vec::new();
    let width = seeds.end - seeds.start;
    let mut range = seeds;
    loop {
        for (i, (scenario, how)) in jobs.iter().enumerate() {
            let negative = *scenario.expect() != Expect::Pass;
            let until = if args.keep_going && !negative { Until::All } else { Until::FirstFailure };
            let failed_before = done.get(i).is_some_and(|d| !d.tally.failed.is_empty());
            if failed_before && until == Until::FirstFailure {
                continue;
            }
            let (range, seen) = (range.clone(), |r: &RunReport| progress.seen(r));
            let tally = match &resume {
                Some(resume) => resume.sweep(how, scenario, range, workers, until, &seen)?,
                None => sweep(how, scenario, range, workers, until, &seen),
            };
            match done.get_mut(i) {
                Some(known) => known.tally.merge(tally),
                None => done.push(Done { scenario: scenario.clone(), how: how.clone(), tally }),
            }
        }
        range = range.end..range.end + width;
        if args.lasts.is_none_or(|lasts| started.elapsed() >= lasts) {
            return Ok(done);
        }
    }
}

/// Prints every scenario's result; the exit codes that follow.
fn report_all(args: &RunArgs, done: &[Done], took: Duration) -> Result<BTreeSet<u8>, Stop> {
    let mut codes = BTreeSet::new();
    let mut lines = Vec::new();
    let mut suites = Vec::new();
    for d in done {
        if args.format == Format::Jsonl {
            print_jsonl(d)?;
        }
        let cases = match d.scenario.expect() {
            Expect::Pass => passing(args, d, &mut codes, &mut lines)?,
            Expect::Violation(name) => {
                let (line, caught) = negative_line(d, name);
                codes.extend((!caught).then_some(10));
                let harness = d.tally.failed.iter().any(|(_, r)| r.verdict.is_harness_bug());
                codes.extend(harness.then_some(7));
                let case = negative_case(d, &line, caught);
                lines.push(line);
                vec![case]
            }
        };
        suites.push(Suite { name: label(d), cases });
    }
    match args.format {
        Format::Tty => lines.iter().for_each(|l| println!("{l}")),
        Format::Junit => {
            let xml = junit::xml(&suites, took).map_err(Stop::harness)?;
            println!("{}", xml.trim());
            keep_report(&args.out, xml.trim())?;
        }
        Format::Jsonl => {}
    }
    Ok(codes)
}

/// A build server collects a folder: the report stands beside the bundles too.
fn keep_report(out: &Path, xml: &str) -> Result<(), Stop> {
    let file = out.join("junit.xml");
    let kept = std::fs::create_dir_all(out).and_then(|()| std::fs::write(&file, xml));
    kept.map_err(|e| Stop::usage(format!("--out: {}: {e}", file.display())))
}

/// A scenario that must pass: its line, its failures with their blocks, the goals that it missed.
fn passing(
    args: &RunArgs,
    d: &Done,
    codes: &mut BTreeSet<u8>,
    lines: &mut Vec<String>,
) -> Result<Vec<Case>, Stop> {
    lines.push(one_line(d));
    let first = d.tally.digests.first().map_or(args.seeds.0.start, |(seed, _)| *seed);
    let name = format!("{} of {} runs passed, from seed {first}", d.tally.passed, d.tally.runs);
    let mut cases = Vec::new();
    cases.extend((d.tally.passed > 0).then_some(Case { name, failure: None }));
    let goals = d.scenario.goals().iter();
    let missed: Vec<&str> =
        goals.filter(|g| !d.tally.goals.contains_key(*g)).map(String::as_str).collect();
    if !missed.is_empty() && d.tally.failed.is_empty() {
        let enough = d.tally.runs >= GOALS_AFTER;
        let word = if enough { "GOAL MISSED" } else { "not yet reached" };
        let line = format!("{word}: {}", missed.join(", "));
        if enough {
            codes.insert(9);
            let property = "goals".to_string();
            let block = format!("{} runs reached none of them", d.tally.runs);
            let failure = Failure { property, message: line.clone(), block };
            cases.push(Case { name: "goals".into(), failure: Some(failure) });
        }
        lines.push(format!("         {line}"));
    }
    for (seed, report) in d.tally.failed.iter().take(3) {
        codes.insert(campaign::exit_code(&report.verdict));
        let told = failure::show(args, &d.scenario, &d.how, *seed, report)?;
        cases.push(failed_case(&told, report));
    }
    Ok(cases)
}

fn failed_case(told: &failure::Told, report: &RunReport) -> Case {
    let (kind, property) = words(report);
    let id = told.bundle.seed_id.to_string();
    let message = failure::verdict_sentence(&report.verdict);
    let mut block = vec![told.headline.clone()];
    block.extend(told.bundle.story.iter().cloned());
    block.push(failure::replay_line(&id));
    let property = property.unwrap_or(kind).to_string();
    let failure = Failure { property, message, block: block.join("\n") };
    Case { name: id, failure: Some(failure) }
}

fn negative_case(d: &Done, line: &str, caught: bool) -> Case {
    let message = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let failure = (!caught).then(|| Failure {
        property: "mutant survived".into(),
        message,
        block: d.scenario.story().to_string(),
    });
    Case { name: "the planted bug is found".into(), failure }
}

fn label(d: &Done) -> String {
    if d.how.engine == Engine::Reference {
        d.scenario.name().to_string()
    } else {
        format!("{} ({})", d.scenario.name(), d.how.engine.name())
    }
}

fn one_line(d: &Done) -> String {
    let verdict = if d.tally.failed.is_empty() { "passed" } else { "FAILED" };
    format!(
        "  {verdict} {:<48} {:>7} runs, {:>4} virtual s and {:>4} steps each",
        label(d),
        thousands(d.tally.runs),
        d.tally.virtual_ns / 1_000_000_000 / u128::from(d.tally.runs.max(1)),
        d.tally.steps / d.tally.runs.max(1)
    )
}

/// A planted bug must be found, by the invariant that its story names.
fn negative_line(d: &Done, expected: &str) -> (String, bool) {
    let mutant = d.how.mutant.as_deref().or(d.scenario.mutant()).unwrap_or("-");
    let found = d.tally.failed.first();
    match found.map(|(seed, report)| (seed, &report.verdict)) {
        Some((seed, Verdict::Violation(v))) if v.invariant == expected => {
            let runs = d.tally.runs;
            (
                format!("  caught {mutant:<28} by {expected:<32} at seed {seed:<5} ({runs} runs)"),
                true,
            )
        }
        Some((seed, other)) => {
            let what = match other {
                Verdict::Violation(v) => format!("{}: {}", v.invariant, v.what),
                Verdict::Panic(p) => format!("a panic: {p}"),
                Verdict::Budget(steps) => format!("{steps} steps"),
                Verdict::Pass => "nothing".into(),
            };
            (
                format!("  WRONG  {mutant:<28} expected {expected}, found at seed {seed}: {what}"),
                false,
            )
        }
        None => (
            format!(
                "  MISSED {mutant:<28} survived {} runs of {}",
                d.tally.runs,
                d.scenario.name()
            ),
            false,
        ),
    }
}

fn summary(done: &[Done], elapsed: Duration) {
    let mut all = Tally::default();
    for d in done {
        all.merge(d.tally.clone());
    }
    let fired: Vec<String> =
        all.faults.iter().map(|(k, n)| format!("{k} {}", thousands(*n))).collect();
    if !fired.is_empty() {
        println!("  faults fired: {}", fired.join(", "));
    }
    let mut never: Vec<String> = Vec::new();
    for d in done {
        for kind in d.scenario.fault_kinds() {
            let name = kind.name().to_string();
            let there = available(kind, d.how.engine) != Availability::No;
            if there && !all.faults.contains_key(&name) && !never.contains(&name) {
                never.push(name);
            }
        }
    }
    let never = if never.is_empty() { "none".to_string() } else { never.join(", ") };
    println!("  never fired: {never}");
    closest(done);
    let ms = elapsed.as_millis().max(1);
    println!(
        "{} runs, {} passed, in {}.{} s: {} seeds/s, virtual over wall time {}:1",
        thousands(all.runs),
        thousands(all.passed),
        ms / 1_000,
        ms % 1_000 / 100,
        thousands((u128::from(all.runs) * 1_000 / ms) as u64),
        thousands((all.virtual_ns / 1_000_000 / ms) as u64)
    );
}

/// The closest call of the campaign, in money, with its replay line.
fn closest(done: &[Done]) {
    let mut all = Closest::default();
    for d in done {
        all.add(&d.tally.closest);
    }
    let calls = done.iter().filter(|d| d.tally.closest.slack.is_some());
    let call = calls.min_by_key(|d| d.tally.closest.slack.map(|(least, _)| least));
    if let Some(d) = call
        && let (Some((slack, _)), Some((seed, who))) = (all.slack, &d.tally.closest_call)
    {
        let id = d.how.seed_id(&d.scenario, *seed).to_string();
        println!(
            "  closest call: {who} could enforce its entitlement and {slack} more; {}",
            failure::replay_line(&id)
        );
    }
    let depth = all.depth.map_or_else(String::new, |d| format!(" (depth {d} at least)"));
    println!(
        "  enforcer: {} prefixes judged, {} played exhaustively, {} bounded{depth}",
        thousands(all.prefixes),
        thousands(all.exhaustive),
        thousands(all.bounded),
    );
}

#[derive(Serialize)]
struct Record<'a> {
    schema: u32,
    scenario: &'a str,
    engine: &'a str,
    seed: u64,
    seed_id: String,
    verdict: &'a str,
    property: Option<&'a str>,
    trace_digest: &'a str,
    slack: Option<Amount>,
    build: &'a str,
}

fn print_jsonl(d: &Done) -> Outcome {
    for (seed, digest) in &d.tally.digests {
        let failed = d.tally.failed.iter().find(|(s, _)| s == seed).map(|(_, r)| r);
        let (verdict, property) = failed.map_or(("pass", None), words);
        let record = Record {
            schema: 1,
            scenario: d.scenario.name(),
            engine: d.how.engine.name(),
            seed: *seed,
            seed_id: d.how.seed_id(&d.scenario, *seed).to_string(),
            verdict,
            property,
            trace_digest: digest,
            slack: d.tally.slacks.get(seed).copied(),
            build: crate::build_id::BUILD_ID,
        };
        let line = serde_json::to_string(&record).map_err(|e| Stop::harness(e.to_string()))?;
        println!("{line}");
    }
    Ok(())
}

fn words(report: &RunReport) -> (&'static str, Option<&str>) {
    match &report.verdict {
        Verdict::Pass => ("pass", None),
        Verdict::Violation(v) => ("violation", Some(v.invariant.as_str())),
        Verdict::Panic(_) => ("panic", None),
        Verdict::Budget(_) => ("budget", None),
    }
}

/// Repeats some runs in another process. The number of runs whose digests differ.
fn check_determinism(args: &RunArgs, done: &[Done]) -> Result<u64, Stop> {
    if args.determinism == 0 {
        return Ok(0);
    }
    let (mut compared, mut differing) = (0, 0);
    for d in done {
        let step = (100 / args.determinism).max(1) as usize;
        let sample: Vec<(u64, String)> = d.tally.digests.iter().step_by(step).cloned().collect();
        let again = super::doctor::digests_elsewhere(&d.scenario, &args.what, &d.how, &sample)?;
        for ((seed, here), there) in sample.iter().zip(&again) {
            compared += 1;
            if here != there {
                differing += 1;
                eprintln!(
                    "error: {} differs in another process",
                    d.how.seed_id(&d.scenario, *seed)
                );
            }
        }
    }
    if args.format == Format::Tty {
        println!(
            "  determinism: {differing} of {} runs differ when repeated in another process",
            thousands(compared)
        );
    }
    Ok(differing)
}

/// When several things went wrong: 7, 4, 5, 1, 3, 9, then the rest.
pub fn conclude(mut codes: BTreeSet<u8>, differing: u64) -> Outcome {
    if differing > 0 {
        codes.insert(4);
    }
    codes.remove(&0);
    let worst = [7, 4, 5, 1, 3, 9, 10, 6].into_iter().find(|c| codes.contains(c));
    worst.map_or(Ok(()), |code| Err(Stop::code(code)))
}
