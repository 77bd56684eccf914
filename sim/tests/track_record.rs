//! The book's track record, repeated: every line of it is true of this build.

use std::collections::BTreeSet;

use fairway_core::MUTANTS;
use fairway_sim::campaign::{How, Until, sweep};
use fairway_sim::engine::Verdict;
use fairway_sim::scenario::Library;
use fairway_sim::seed_id::Crypto;

const PAGE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/reference/track-record.md"));

/// One line about a planted bug.
struct Row {
    mutant: String,
    invariant: String,
    seeds: u64,
    story: String,
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

fn bare(cell: &str) -> String {
    cell.trim_matches('`').to_string()
}

fn rows() -> Vec<Row> {
    let lines =
        PAGE.lines().filter(|l| l.starts_with("| ") && l.contains("`fairway-sim run negative/"));
    let row = |line| {
        let cells: Vec<&str> = cells(line);
        let [.., mutant_or_what, invariant, seeds, command] = cells.as_slice() else {
            panic!("a line with too few cells: {line}")
        };
        // A gap's line names the bug right before the invariant, another bug's line first of all.
        let mutant = if line.contains("GAP-") { mutant_or_what } else { &cells[0] };
        let story = bare(command).replace("fairway-sim run ", "");
        let seeds = seeds.parse().unwrap_or_else(|_| panic!("no number of seeds: {line}"));
        Row { mutant: bare(mutant), invariant: bare(invariant), seeds, story }
    };
    lines.map(row).collect()
}

#[test]
fn every_gap_is_planted_or_explained_once() {
    let gaps: Vec<u32> =
        PAGE.lines().filter_map(|l| cells(l).first()?.strip_prefix("GAP-")?.parse().ok()).collect();
    let once: BTreeSet<u32> = gaps.iter().copied().collect();
    assert_eq!(gaps.len(), once.len(), "a gap stands twice");
    assert_eq!(once, (1..=30).collect());
}

#[test]
fn every_mutant_has_a_line() {
    let told: BTreeSet<String> = rows().into_iter().map(|r| r.mutant).collect();
    let there: BTreeSet<String> = MUTANTS.iter().map(|m| m.id.to_string()).collect();
    assert_eq!(told, there);
}

/// Goal: each bug is found by the invariant and within the seeds that the page says.
#[test]
fn every_line_is_true() {
    let how = How { crypto: Crypto::Toy, ..How::reference() };
    for row in rows() {
        let found = Library::new().load(&row.story, &[]).unwrap_or_else(|e| panic!("{e}"));
        let [scenario] = found.as_slice() else { panic!("{} is several stories", row.story) };
        assert_eq!(scenario.mutant(), Some(row.mutant.as_str()), "{}", row.story);
        let tally = sweep(&how, scenario, 0..row.seeds, 1, Until::FirstFailure, &|_| {});
        match tally.failed.first().map(|(seed, report)| (seed, &report.verdict)) {
            Some((_, Verdict::Violation(v))) if v.invariant == row.invariant => {}
            other => panic!("{} within {} seeds: {other:?}", row.story, row.seeds),
        }
    }
}

/// Goal: the enforcer sees what the old layout costs, without being told what a ledger should look like.
#[test]
fn the_enforcer_finds_the_old_layout_by_itself() {
    let ignore = vec!["signed-states-are-valid".to_string()];
    let how = How { crypto: Crypto::Toy, ignore, ..How::reference() };
    let found =
        Library::new().load("negative/guarantees_last", &[]).unwrap_or_else(|e| panic!("{e}"));
    let report = how.run(&found[0], 0, false).report;
    let Verdict::Violation(violation) = report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(violation.invariant, "entitlement-is-enforceable");
}
