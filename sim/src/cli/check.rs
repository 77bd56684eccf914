//! `check`: scenario files, read as strictly as they will be run.

use clap::Args;

use super::{Outcome, check_backend, load};
use crate::campaign::How;
use crate::chance::Tape;

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// A file, a folder, or the name of an embedded scenario or group.
    #[arg(default_value = "scenarios")]
    what: String,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim check                                      every story that is built in
  fairway-sim check my_story.toml                        a file, read as strictly as it will be run";

/// Seeds that are drawn, so that what can be drawn at all is looked at.
const SEEDS: u64 = 20;

pub fn check(args: &CheckArgs) -> Outcome {
    let scenarios = load(&args.what, &[])?;
    let how = How::reference();
    for scenario in &scenarios {
        check_backend(scenario.name(), scenario.backend(), how.crypto)?;
    }
    for scenario in &scenarios {
        let elements =
            (0..SEEDS).map(|seed| how.plan(scenario, seed, &Tape::default()).0.elements().count());
        let (least, most) = elements.fold((usize::MAX, 0), |(lo, hi), n| (lo.min(n), hi.max(n)));
        println!(
            "  {:<48} good: {least} to {most} operations and faults; {}",
            scenario.name(),
            scenario.headline()
        );
    }
    println!("{} scenarios are good", scenarios.len());
    Ok(())
}
