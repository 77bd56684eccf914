//! The book's pages of invariants: they are those of this build, and each says why its invariant is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fairway_core::MUTANTS;
use fairway_sim::detection::{SEEN, Seen};
use fairway_sim::invariant;
use fairway_sim::scenario::{Expect, Library};

const FOLDER: &str = "docs/src/reference";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim stands in the workspace root")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Statement, lines of code, tests, measurements: nothing of it is written twice by hand.
#[test]
fn the_pages_are_those_of_this_build() {
    let index = read(&format!("{FOLDER}/invariants.md"));
    let pages = invariant::pages(root(), &index).unwrap_or_else(|e| panic!("{e}"));
    for (name, text) in &pages {
        let there = fs::read_to_string(root().join(FOLDER).join(name)).unwrap_or_default();
        assert!(there == *text, "{name}: run: fairway-sim list invariants --pages {FOLDER}");
    }
    let folder = fs::read_dir(root().join(FOLDER).join("invariants")).expect("the folder is there");
    let there = folder.map(|f| format!("invariants/{}", f.unwrap().file_name().display()));
    let index = std::iter::once("invariants.md".to_string());
    assert_eq!(there.chain(index).collect::<BTreeSet<_>>(), pages.into_keys().collect());
}

/// Goal: no invariant stands here out of habit.
/// Method: either it was measured to be the first or the only one to see some planted bug, and a story shows it; or its page argues.
#[test]
fn every_invariant_is_needed_or_argued_for() {
    let seen: Seen = serde_json::from_str(&read(&format!("reports/detection/{SEEN}"))).unwrap();
    let stories = Library::new().load("negative", &[]).unwrap_or_else(|e| panic!("{e}"));
    for name in invariant::names() {
        let first = seen.by(name).any(|(_, sight)| sight.first + sight.alone > 0);
        let shown = stories
            .iter()
            .any(|s| matches!(s.expect(), Expect::Violation(expected) if expected == name));
        let about = invariant::about(name).unwrap_or_else(|| panic!("{name} has no page"));
        assert!(first && shown || !about.need.is_empty(), "{name}: first {first}, shown {shown}");
        assert!(!(first && shown && !about.need.is_empty()), "{name}: its argument is out of date");
    }
}

#[test]
fn every_mutant_was_measured() {
    let seen: Seen = serde_json::from_str(&read(&format!("reports/detection/{SEEN}"))).unwrap();
    let measured: Vec<&str> = seen.mutants.iter().map(|w| w.mutant.as_str()).collect();
    let planted: Vec<&str> = MUTANTS.iter().map(|m| m.id).collect();
    assert_eq!(measured, planted, "run: fairway-sim mutants run, then mutants report");
}
