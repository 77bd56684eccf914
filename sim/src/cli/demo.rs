//! The demonstration: what the simulator does, before your eyes.
//!
//! A thousand seeds of the real node; then the same stories with one planted bug, found, shrunk, told in plain words with the
//! money, replayed with an equal digest, and clean on the real node.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::progress::Progress;
use super::{Outcome, Stop, failure, load, thousands, workers};
use crate::campaign::{How, NO_MUTANT, Tally, Until, sweep};
use crate::chance::Tape;
use crate::scenario::Scenario;
use crate::shrink::shrink;

/// Seeds of the real node in all.
const SEEDS: u64 = 1_000;

/// The bug that is planted: what go-nitro and many a careful node have had in one form or another.
const MUTANT: &str = "effect-before-sync";

/// The story in which it costs something.
const STORY: &str = "smoke/hub_power_loss";

/// What would stop the planted bug at the first message, and is switched off to see what the bug costs.
const IGNORED: [&str; 2] = ["durable-before-sent", "entitlement-is-enforceable"];

/// Seeds of each story that the planted bug may survive before the demonstration itself counts as broken.
const SEARCH: u64 = 2_000;

pub fn demo() -> Outcome {
    println!("Fairway: a Nitro state-channel node that you can replay. This is its simulator.\n");
    let mut stories = load("smoke", &[])?;
    stories.extend(load("attack", &[])?);
    clean(&stories)?;
    let (scenario, seed, how) = search(&stories)?;
    let out = PathBuf::from("target/fairway/latest");
    explain(&scenario, seed, &how, &out)
}

/// First act: the real node under everything that the stories do to it.
fn clean(stories: &[Scenario]) -> Outcome {
    let per_story = SEEDS.div_ceil(stories.len() as u64);
    println!(
        "1. The real node: {} stories of crashes, partitions, reorgs and cheating peers.",
        stories.len()
    );
    let progress = Progress::new(per_story * stories.len() as u64, false);
    let mut all = Tally::default();
    for scenario in stories {
        let how = How::reference();
        let tally =
            sweep(&how, scenario, 0..per_story, workers(), Until::All, &|r| progress.seen(r));
        if let Some((seed, report)) = tally.failed.first() {
            progress.finish();
            println!("{}", failure::verdict_sentence(&report.verdict));
            println!("  {}", failure::replay_line(&how.seed_id(scenario, *seed).to_string()));
            return Err(Stop::code(crate::campaign::exit_code(&report.verdict)));
        }
        all.merge(tally);
    }
    progress.finish();
    let ms = progress.elapsed().as_millis().max(1);
    let faults: u64 = all.faults.values().sum();
    println!(
        "   {} seeds passed in {}.{} s ({} a second): {} faults of {} kinds struck, {} hours of virtual time went by,\n   {} signatures were checked. Nobody lost a wei.\n",
        thousands(all.passed),
        ms / 1_000,
        ms % 1_000 / 100,
        thousands((u128::from(all.runs) * 1_000 / ms) as u64),
        thousands(faults),
        all.faults.len(),
        all.virtual_ns / 3_600_000_000_000,
        thousands(all.recovered)
    );
    Ok(())
}

/// Second act: the same stories with one bug in the node.
fn search(stories: &[Scenario]) -> Result<(Scenario, u64, How), Stop> {
    let what = fairway_core::MUTANTS.iter().find(|m| m.id == MUTANT).map_or("", |m| m.what);
    println!("2. One of the same stories, but now the node has one planted bug: it {what}.");
    println!(
        "   (The checks `{}` would stop it before anything happens. They are off here, to see what the bug costs.)",
        IGNORED.join("` and `")
    );
    let how = How {
        mutant: Some(MUTANT.into()),
        ignore: IGNORED.map(String::from).to_vec(),
        ..How::reference()
    };
    let started = Instant::now();
    let mut tried = 0;
    let mut from = 0;
    while from < SEARCH {
        for scenario in stories.iter().filter(|s| s.name() == STORY) {
            let tally =
                sweep(&how, scenario, from..from + 25, workers(), Until::FirstFailure, &|_| {});
            tried += tally.runs;
            if let Some((seed, _)) = tally.failed.first() {
                let ms = started.elapsed().as_millis();
                println!(
                    "   Found in {} at seed {seed}, after {tried} runs and {}.{:02} s.",
                    scenario.name(),
                    ms / 1_000,
                    ms % 1_000 / 10
                );
                return Ok((scenario.clone(), *seed, how));
            }
        }
        from += 25;
    }
    Err(Stop::harness(format!("the planted bug survived {tried} runs")))
}

/// Third act: shrink, explain, replay, compare.
fn explain(scenario: &Scenario, seed: u64, how: &How, out: &std::path::Path) -> Outcome {
    let first = how.run(scenario, seed, false).report;
    let seeded = Tape::default();
    let (plan, _) = how.plan(scenario, seed, &seeded);
    let shrunk = shrink(how, &plan, &seeded, seed, &first, Duration::from_secs(5));
    let told = failure::tell(scenario, how, seed, &first, Some(&shrunk));
    let files = failure::write(out, &told)?;
    let (before, after) = shrunk.elements;
    println!("   Shrunk from {before} to {after} operations and faults in {} runs:", shrunk.tried);
    for (element, without) in &shrunk.needed {
        let text = told.bundle.plan.describe_element(*element).unwrap_or_default();
        let needed = if without.is_pass() { "" } else { " (fails without it too)" };
        println!("     - {text}{needed}");
    }
    println!("\n3. What happened, in plain words:");
    told.bundle.story.iter().for_each(|s| println!("   {s}"));
    let again = told.bundle.replay(told.bundle.seed_id.engine, false).report;
    if again.digest != told.bundle.digest {
        return Err(Stop {
            code: 4,
            line: Some(format!(
                "replayed with digest {} instead of {}",
                again.digest, told.bundle.digest
            )),
        });
    }
    println!("\n4. Replayed: same verdict, same digest {}….", &again.digest[..16]);
    let honest = How { mutant: Some(NO_MUTANT.into()), ..how.clone() };
    let clean = honest.run(scenario, seed, false).report;
    if !clean.verdict.is_pass() {
        return Err(Stop::harness(format!(
            "the real node fails seed {seed} too: {}",
            failure::verdict_sentence(&clean.verdict)
        )));
    }
    println!("   The same seed on the real node: every invariant held.\n");
    println!("Look at it:   {}", absolute(&files.html));
    println!("Run it again: {}", failure::replay_line(&files.bundle.display().to_string()));
    println!("More:         cargo run --release -- --help");
    Ok(())
}

fn absolute(file: &std::path::Path) -> String {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf()).display().to_string()
}
