//! `fairway-fuzz`: runs the fuzz bodies over inputs by their numbers, without libFuzzer and on a stable compiler.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fairway_fuzz::input::input;
use fairway_fuzz::run::{Ran, outcome, quiet_panics, run};
use fairway_fuzz::target::{Kind, TARGETS, Target};
use serde::Serialize;

/// The version of what `--json` says. `fairway-sim campaign` reads it.
const SCHEMA: u32 = 1;

/// Runs fuzz bodies over numbered inputs. Input N of a target is the same bytes on every machine.
#[derive(Parser)]
#[command(name = "fairway-fuzz", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  fairway-fuzz list                                         the targets
  fairway-fuzz run wire_decode --inputs 0..100000           a range of inputs
  fairway-fuzz replay wire_decode --input 4711              one of them
  fairway-fuzz replay wire_decode corpus/wire_decode/ack    any file

Campaigns run ranges on many machines: fairway-sim campaign plan … --fuzz wire_decode --inputs 1000000

Exit codes: 0 nothing failed, 2 usage, 5 a body panicked.";

#[derive(Subcommand)]
enum Command {
    /// Name the targets.
    List {
        /// With this build's id, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Run a range of inputs.
    Run(RunArgs),
    /// Run one input, with all that the panic says.
    Replay(ReplayArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Which target.
    #[arg(value_parser = target)]
    target: Target,
    /// How many inputs, or a range of numbers `A..B`.
    #[arg(long, value_parser = inputs, default_value = "10000")]
    inputs: Inputs,
    /// Threads; all cores by default.
    #[arg(short = 'j', long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// One JSON object with the bytes of what failed, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ReplayArgs {
    /// Which target.
    #[arg(value_parser = target)]
    target: Target,
    /// The input's bytes.
    #[arg(required_unless_present = "input")]
    file: Option<PathBuf>,
    /// The input's number, in this build.
    #[arg(long, value_name = "NUMBER", conflicts_with = "file")]
    input: Option<u64>,
}

#[derive(Clone, Debug)]
struct Inputs(Range<u64>);

fn inputs(text: &str) -> Result<Inputs, String> {
    let number = |text: &str| text.replace('_', "").parse::<u64>().ok();
    let range = match text.split_once("..") {
        Some((first, end)) => number(first).zip(number(end)).map(|(first, end)| first..end),
        None => number(text).map(|end| 0..end),
    };
    let range = range.filter(|range| !range.is_empty());
    range
        .map(Inputs)
        .ok_or_else(|| format!("expected at least one input, N or A..B, found `{text}`"))
}

fn target(name: &str) -> Result<Target, String> {
    Target::find(name).ok_or_else(|| {
        format!(
            "expected a target, one of {}, found `{name}`",
            names().collect::<Vec<_>>().join(", ")
        )
    })
}

/// The targets that are about the node.
fn names() -> impl Iterator<Item = &'static str> {
    TARGETS.into_iter().filter(|target| target.kind == Kind::Real).map(|target| target.name)
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List { json } => list(json),
        Command::Run(args) => run_range(&args),
        Command::Replay(args) => replay(&args),
    }
}

/// `list --json`. Planted targets are among those that may be asked for.
#[derive(Serialize)]
struct Listed {
    schema: u32,
    build: String,
    targets: Vec<&'static str>,
    planted: Vec<&'static str>,
}

fn list(json: bool) -> ExitCode {
    if !json {
        names().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let planted = TARGETS.into_iter().filter(|target| target.kind == Kind::Planted);
    print_json(&Listed {
        schema: SCHEMA,
        build: fairway_fuzz::build_id(),
        targets: names().collect(),
        planted: planted.map(|target| target.name).collect(),
    });
    ExitCode::SUCCESS
}

/// `run --json`.
#[derive(Serialize)]
struct RangeRecord<'a> {
    schema: u32,
    build: String,
    target: &'a str,
    #[serde(flatten)]
    ran: &'a Ran,
}

fn run_range(args: &RunArgs) -> ExitCode {
    quiet_panics();
    let cores = std::thread::available_parallelism();
    let workers = args.jobs.or(cores.ok()).map_or(1, usize::from);
    let ran = run(&args.target, args.inputs.0.clone(), workers);
    let name = args.target.name;
    if args.json {
        let build = fairway_fuzz::build_id();
        print_json(&RangeRecord { schema: SCHEMA, build, target: name, ran: &ran });
    } else {
        let (first, end) = ran.inputs;
        println!(
            "{name}: inputs {first}..{end}, {} failed, digest {}",
            ran.failed,
            &ran.digest[..16]
        );
        for failure in &ran.failures {
            println!("  FAILED {}: {}", failure.input, failure.what);
            println!("    fairway-fuzz replay {name} --input {}", failure.input);
        }
    }
    verdict(ran.failed == 0)
}

fn replay(args: &ReplayArgs) -> ExitCode {
    let name = args.target.name;
    let (bytes, what) = match (&args.file, args.input) {
        (Some(file), _) => match std::fs::read(file) {
            Ok(bytes) => (bytes, file.display().to_string()),
            Err(e) => {
                eprintln!("error: {}: expected an input of {name}: {e}", file.display());
                return ExitCode::from(2);
            }
        },
        (None, number) => {
            let number = number.unwrap_or_default();
            (input(&args.target, number), format!("input {number}"))
        }
    };
    // The default hook stays: it says where the panic was.
    let outcome = outcome(&args.target, &bytes);
    let hash = blake3::hash(&bytes).to_hex();
    println!("{name}: {what}, {} bytes, {}", bytes.len(), &hash[..16]);
    match &outcome {
        Ok(()) => println!("  passed"),
        Err(what) => println!("  FAILED: {what}"),
    }
    verdict(outcome.is_ok())
}

fn verdict(passed: bool) -> ExitCode {
    ExitCode::from(if passed { 0 } else { 5 })
}

fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string(value).expect("words and numbers are JSON"));
}
