//! `campaign report`: the merged record for people.

use clap::Args;

use super::PlaceArgs;
use super::merge::MERGED_FILE;
use crate::campaign::{self, Merged, Store};
use crate::cli::failure::replay_line;
use crate::cli::{Outcome, Stop};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// One page that needs nothing else, too.
    #[arg(long)]
    html: bool,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim campaign report camp                       camp/report.md with its picture; the sentences on stdout
  fairway-sim campaign report camp --html                and camp/report.html";

pub fn report(args: &ReportArgs) -> Outcome {
    let (plan, store) = args.place.open()?;
    let merged = merged(&store, &plan.work.id(), &args.place.what)?;
    let page = campaign::report(&merged, &replay_line, store.place()).map_err(Stop::harness)?;
    let mut files =
        vec![("report.md", page.markdown()), (page.picture.file, page.picture.svg.clone())];
    files.extend(args.html.then(|| ("report.html", page.html())));
    println!("{}", page.text());
    for (name, text) in files {
        store.put(name, text.into_bytes()).map_err(super::store)?;
        println!("  {}/{name}", store.place());
    }
    Ok(())
}

/// The record of this plan's work.
fn merged(store: &Store, work: &str, what: &str) -> Result<Merged, Stop> {
    let place = format!("{}/{MERGED_FILE}", store.place());
    let remedy = format!("run `fairway-sim campaign merge {what}` first");
    let bytes = store.get(MERGED_FILE).map_err(super::store)?;
    let bytes = bytes.ok_or_else(|| {
        Stop::usage(format!("{place}: expected a merged record, found none: {remedy}"))
    })?;
    let merged: Merged = serde_json::from_slice(&bytes)
        .map_err(|e| Stop::usage(format!("{place}: expected a merged record: {e}: {remedy}")))?;
    if merged.id != work {
        return Err(Stop::usage(format!(
            "{place}: expected the record of work {}, found {}: {remedy}",
            super::short(work),
            super::short(&merged.id)
        )));
    }
    Ok(merged)
}
