//! `shrink`: a failing run, made as small as it will get, written as a bundle.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::source::{Builds, find};
use super::{Outcome, Stop, failure};
use crate::campaign::How;
use crate::scenario::Engine;

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ShrinkArgs {
    /// The failing run: a seed id, a bundle, or a file of the corpus.
    what: String,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the bundle and the timeline go.
    #[arg(long, default_value = "corpus/bugs")]
    out: PathBuf,
    /// Take this invariant out, as the run did.
    #[arg(long, value_name = "INVARIANT")]
    ignore: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim shrink 'smoke/plain#2a@…/reference'        into corpus/bugs, to be kept
  fairway-sim shrink run.json --seconds 600 --out .      a bundle, for longer than run gave it";

pub fn shrink(args: &ShrinkArgs) -> Outcome {
    let source = find(&args.what, &args.ignore, Builds::This)?;
    let bundle = source.bundle;
    // Shrinking promises reproduction on the reference engine alone.
    let how = How { engine: Engine::Reference, ..bundle.how() };
    let first = bundle.replay(Engine::Reference, false).report;
    if first.verdict.is_pass() {
        return Err(Stop::usage(format!(
            "{}: expected a run that fails on the reference engine, found one that passes",
            args.what
        )));
    }
    let (seed, budget) = (bundle.seed_id.seed, Duration::from_secs(args.seconds));
    let shrunk = crate::shrink::shrink(&how, &bundle.plan, &bundle.tape, seed, &first, budget);
    let told = failure::tell(&source.scenario, &how, seed, &first, Some(&shrunk));
    let files = failure::write(&args.out, &told)?;
    failure::print(&told, Some(&shrunk), &files);
    Ok(())
}
