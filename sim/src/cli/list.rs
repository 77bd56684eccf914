//! `list` and `schema`: what there is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Outcome, Stop, load};
use crate::invariant;
use crate::scenario::{Availability, Engine, FaultKind, available, fill_tables};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    /// What to list.
    #[arg(value_enum, default_value_t = What::Scenarios)]
    what: What,
    /// Write the pages of the invariants again instead: the table of `invariants.md` in this folder, and the files in `invariants`.
    #[arg(long, value_name = "FOLDER")]
    pages: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim list                                       every story in one sentence
  fairway-sim list invariants                            what must hold, with its number in the catalogue
  fairway-sim list invariants --pages docs/src/reference after a change of an invariant, from the repository's root
  fairway-sim list mutants                               the bugs that can be planted
  fairway-sim list faults                                which engine can do which fault";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Scenarios,
    Invariants,
    Mutants,
    Faults,
}

pub fn list(args: &ListArgs) -> Outcome {
    if let Some(folder) = &args.pages {
        return write_pages(args.what, folder);
    }
    match args.what {
        What::Scenarios => {
            for scenario in load("scenarios", &[])? {
                println!("{:<44} {}", scenario.name(), scenario.headline());
            }
        }
        What::Invariants => {
            for invariant in invariant::all(&invariant::Setting::nobody()) {
                let numbers = invariant.catalogue().join(" ");
                println!("{:<32} {numbers:<12} {}", invariant.name(), invariant.statement());
            }
        }
        What::Mutants => {
            for mutant in fairway_core::MUTANTS {
                println!("{:<28} {}", mutant.id, mutant.what);
            }
        }
        What::Faults => {
            println!(
                "{:<28} {:<8} {:<10} {:<10} {:<10}",
                "fault", "catalogue", "reference", "madsim", "turmoil"
            );
            for kind in FaultKind::ALL {
                let cells: Vec<String> = Engine::ALL
                    .iter()
                    .map(|e| match available(*kind, *e) {
                        Availability::Native => "native".to_string(),
                        Availability::Emulated => "emulated".to_string(),
                        Availability::No => "-".to_string(),
                    })
                    .collect();
                println!(
                    "{:<28} {:<9} {:<10} {:<10} {:<10}",
                    kind.name(),
                    kind.catalogue(),
                    cells[0],
                    cells[1],
                    cells[2]
                );
            }
        }
    }
    Ok(())
}

/// Sources and measurements are read below the current folder: a page says on which line a rule is checked.
fn write_pages(what: What, folder: &Path) -> Outcome {
    if what != What::Invariants {
        return Err(Stop::usage("--pages: expected `list invariants`, found another list"));
    }
    let wrong = |file: &Path, e: std::io::Error| Stop::usage(format!("{}: {e}", file.display()));
    let index = folder.join("invariants.md");
    let old = fs::read_to_string(&index).map_err(|e| wrong(&index, e))?;
    let pages = invariant::pages(Path::new("."), &old).map_err(|e| Stop::usage(e.to_string()))?;
    for (name, text) in pages {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(|e| wrong(&file, e))?;
        fs::write(&file, text).map_err(|e| wrong(&file, e))?;
    }
    Ok(())
}

#[derive(Args, Clone, Debug)]
#[command(after_help = SCHEMA_EXAMPLES)]
pub struct SchemaArgs {
    /// Render the tables of this page again instead, each between its `<!-- schema:begin TYPE -->` and `<!-- schema:end -->`.
    #[arg(long, value_name = "PAGE")]
    markdown: Option<PathBuf>,
}

const SCHEMA_EXAMPLES: &str = "\
Examples:
  fairway-sim schema > scenario.schema.json                            for an editor that completes TOML
  fairway-sim schema --markdown docs/src/reference/scenarios.md        after a change of the language";

pub fn schema(args: &SchemaArgs) -> Outcome {
    if let Some(page) = &args.markdown {
        let wrong = |why: String| Stop::usage(format!("{}: {why}", page.display()));
        let text = fs::read_to_string(page).map_err(|e| wrong(e.to_string()))?;
        let filled = fill_tables(&text).map_err(|e| wrong(e.to_string()))?;
        return fs::write(page, filled).map_err(|e| wrong(e.to_string()));
    }
    let schema = crate::scenario::json_schema();
    let text = serde_json::to_string_pretty(&schema).map_err(|e| Stop::harness(e.to_string()))?;
    println!("{text}");
    Ok(())
}
