//! `check`: scenario files, read as strictly as they will be run, and whether their runs do what they promise.

use clap::Args;

use super::progress::Progress;
use super::run::threads;
use super::{Outcome, Stop, check_backend, load, thousands, workers};
use crate::campaign::How;
use crate::chance::Tape;
use crate::lint;
use crate::scenario::{Problem, Scenario};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// A file, a folder, or the name of an embedded scenario or group.
    #[arg(default_value = "scenarios")]
    what: String,
    /// How many seeds of each are run, to see whether everything that they promise happens.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Read the files alone.
    #[arg(long, conflicts_with = "seeds")]
    no_run: bool,
    /// End with exit code 9 when there is a warning.
    #[arg(long)]
    strict: bool,
    /// Threads; all cores by default.
    #[arg(short = 'j', long, value_parser = threads)]
    jobs: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim check                                      every story that is built in
  fairway-sim check my_story.toml                        a file, and what its runs never do
  fairway-sim check scenarios --no-run                   files alone, read as strictly as they will be run
  fairway-sim check smoke --seeds 1000 --strict          what is so rare that 100 seeds miss it";

/// Seeds that are drawn, so that what can be drawn at all is looked at.
const DRAWN: u64 = 20;

pub fn check(args: &CheckArgs) -> Outcome {
    let scenarios = load(&args.what, &[])?;
    let how = How::reference();
    for scenario in &scenarios {
        check_backend(scenario.name(), scenario.backend(), how.crypto)?;
    }
    for scenario in &scenarios {
        println!("{}", good(scenario, &how));
    }
    println!("{} scenarios are good", scenarios.len());
    if args.no_run {
        return Ok(());
    }
    let warnings = lint_all(args, &scenarios);
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    println!(
        "{} seeds of each were run: {} warnings",
        thousands(args.seeds),
        thousands(warnings.len() as u64)
    );
    if args.strict && !warnings.is_empty() { Err(Stop::code(9)) } else { Ok(()) }
}

/// The line of a scenario that was read.
fn good(scenario: &Scenario, how: &How) -> String {
    let elements =
        (0..DRAWN).map(|seed| how.plan(scenario, seed, &Tape::default()).0.elements().count());
    let (least, most) = elements.fold((usize::MAX, 0), |(lo, hi), n| (lo.min(n), hi.max(n)));
    format!(
        "  {:<48} good: {least} to {most} operations and faults; {}",
        scenario.name(),
        scenario.headline()
    )
}

fn lint_all(args: &CheckArgs, scenarios: &[Scenario]) -> Vec<Problem> {
    let progress = Progress::new(args.seeds * scenarios.len() as u64, false);
    let workers = args.jobs.unwrap_or_else(workers);
    let mut warnings = Vec::new();
    for scenario in scenarios {
        match lint::how(scenario) {
            Some(how) => {
                let seen = |report: &_| progress.seen(report);
                warnings.extend(lint::lint(scenario, &how, 0..args.seeds, workers, &seen));
            }
            None => {
                progress.say(&format!("  {}: not run, no engine of it is here", scenario.name()))
            }
        }
    }
    progress.finish();
    warnings
}
