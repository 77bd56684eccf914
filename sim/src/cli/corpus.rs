//! `corpus verify`: every kept bug again, on this build.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Outcome, Stop, check_backend, failure};
use crate::bundle::Bundle;
use crate::engine::Verdict;
use crate::scenario::Engine;

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CorpusArgs {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim corpus verify                              every bug of corpus/bugs again
  fairway-sim corpus verify target/fairway/latest        the failures of the last run";

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// A mended bug must pass; a planted one must fail as it did.
    Verify {
        /// Where the bundles are.
        #[arg(default_value = "corpus/bugs")]
        folder: PathBuf,
    },
}

pub fn corpus(args: &CorpusArgs) -> Outcome {
    let What::Verify { folder } = &args.what;
    let failed = |e: std::io::Error| {
        Stop::usage(format!("{}: expected a folder of bundles: {e}", folder.display()))
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    if files.is_empty() {
        let folder = folder.display();
        return Err(Stop::usage(format!("{folder}: expected bundles (.json), found none")));
    }
    let mut wrong = 0;
    for file in &files {
        let name = file.display().to_string();
        let bundle = Bundle::read(&name).map_err(|e| Stop::usage(e.to_string()))?;
        check_backend(&name, bundle.plan.chain.backend, bundle.crypto())?;
        let report = bundle.replay(Engine::Reference, false).report;
        let right = if bundle.fixed {
            report.verdict.is_pass()
        } else {
            same_failure(&report.verdict, &bundle.verdict)
        };
        let word = if right { "as it should be" } else { "WRONG" };
        println!("  {word}: {}: {}", file.display(), failure::verdict_sentence(&report.verdict));
        wrong += u64::from(!right);
    }
    println!("{} kept bugs, {wrong} not as they should be", files.len());
    if wrong == 0 { Ok(()) } else { Err(Stop::code(1)) }
}

/// Whether a run failed as the kept one did: the same invariant, or a panic again.
fn same_failure(now: &Verdict, kept: &Verdict) -> bool {
    match (now, kept) {
        (Verdict::Violation(a), Verdict::Violation(b)) => a.invariant == b.invariant,
        (Verdict::Panic(_), Verdict::Panic(_)) | (Verdict::Budget(_), Verdict::Budget(_)) => true,
        (Verdict::Pass | Verdict::Violation(_) | Verdict::Panic(_) | Verdict::Budget(_), _) => {
            false
        }
    }
}
