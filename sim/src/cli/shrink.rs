//! `shrink`: a failing run, made as small as it will get, written as a bundle.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Outcome, Stop, failure, load};
use crate::campaign::How;
use crate::chance::Tape;
use crate::scenario::Engine;
use crate::seed_id::SeedId;

#[derive(Args, Clone, Debug)]
pub struct ShrinkArgs {
    /// The failing run's seed id.
    what: String,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the bundle and the timeline go.
    #[arg(long, default_value = "corpus/bugs")]
    out: PathBuf,
}

pub fn shrink(args: &ShrinkArgs) -> Outcome {
    let id: SeedId = args.what.parse().map_err(|e| Stop::usage(format!("{}: {e}", args.what)))?;
    let settings: Vec<_> = id.settings.clone().into_iter().collect();
    let Some(scenario) = load(&id.scenario, &settings)?.into_iter().next() else {
        return Err(Stop::usage(format!("no scenario {}", id.scenario)));
    };
    // Shrinking promises reproduction on the reference engine alone.
    let how = How {
        engine: Engine::Reference,
        crypto: id.crypto,
        mutant: id.mutant.clone(),
        ignore: Vec::new(),
        settings,
    };
    let first = how.run(&scenario, id.seed, false).report;
    if first.verdict.is_pass() {
        return Err(Stop::usage(format!(
            "{}: this run passes on the reference engine; nothing to shrink",
            args.what
        )));
    }
    let (plan, _) = how.plan(&scenario, id.seed, &Tape::default());
    let shrunk =
        crate::shrink::shrink(&how, &plan, id.seed, &first, Duration::from_secs(args.seconds));
    let told = failure::tell(&scenario, &how, id.seed, &first, Some(&shrunk));
    let files = failure::write(&args.out, &told)?;
    failure::print(&told, Some(&shrunk), &files);
    Ok(())
}
