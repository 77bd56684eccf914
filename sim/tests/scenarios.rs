//! Every story that is built in, and whether together they use all there is: mutants, fault kinds, invariants.

use std::collections::BTreeSet;

use fairway_core::MUTANTS;
use fairway_sim::campaign::{How, NO_MUTANT, Until, sweep};
use fairway_sim::engine::Verdict;
use fairway_sim::invariant;
use fairway_sim::scenario::{Expect, FaultKind, Library, Scenario};
use fairway_sim::seed_id::Crypto;

fn load(what: &str) -> Vec<Scenario> {
    Library::new().load(what, &[]).unwrap_or_else(|e| panic!("{what}: {e}"))
}

fn toy() -> How {
    How { crypto: Crypto::Toy, ..How::reference() }
}

/// Goal: the node holds in every story.
/// Method: three seeds of each, one of the heavy ones, toy signatures; campaigns look at more.
#[test]
fn every_smoke_attack_and_nightly_story_passes() {
    for scenario in load("smoke").iter().chain(&load("attack")).chain(&load("nightly")) {
        assert_eq!(*scenario.expect(), Expect::Pass, "{}", scenario.name());
        let how = toy();
        let seeds = if scenario.name().starts_with("nightly/") { 1 } else { 3 };
        for seed in 0..seeds {
            let report = how.run(scenario, seed, false).report;
            assert!(
                report.verdict.is_pass(),
                "{}: {:?}",
                how.seed_id(scenario, seed),
                report.verdict
            );
        }
    }
}

/// Goal: every planted bug is seen, by the invariant that its story names and by no other before it.
/// Method: seeds until the first failure, fifty at most.
#[test]
fn every_negative_story_is_caught_by_its_invariant() {
    for scenario in load("negative") {
        let tally = sweep(&toy(), &scenario, 0..50, 1, Until::FirstFailure, &|_| {});
        let Expect::Violation(expected) = scenario.expect() else {
            panic!("{} expects no violation", scenario.name())
        };
        match tally.failed.first().map(|(seed, report)| (seed, &report.verdict)) {
            Some((_, Verdict::Violation(v))) if v.invariant == *expected => {}
            Some((seed, other)) => panic!("{} at seed {seed}: {other:?}", scenario.name()),
            None => panic!("{} survived {} runs", scenario.name(), tally.runs),
        }
    }
}

/// Goal: it is the bug that fails, not the story.
/// Method: the negative stories with their bug taken out, ten seeds each.
#[test]
fn every_negative_story_passes_without_its_bug() {
    let how = How { mutant: Some(NO_MUTANT.into()), ..toy() };
    for scenario in load("negative") {
        for seed in 0..10 {
            let report = how.run(&scenario, seed, false).report;
            assert!(
                report.verdict.is_pass(),
                "{}: {:?}",
                how.seed_id(&scenario, seed),
                report.verdict
            );
        }
    }
}

#[test]
fn every_mutant_has_a_negative_story() {
    let told: BTreeSet<String> =
        load("negative").iter().filter_map(|s| s.mutant().map(str::to_string)).collect();
    let there: BTreeSet<String> = MUTANTS.iter().map(|m| m.id.to_string()).collect();
    assert_eq!(told, there);
}

#[test]
fn every_fault_kind_is_used() {
    let used: BTreeSet<&str> =
        load("scenarios").iter().flat_map(|s| s.fault_kinds()).map(FaultKind::name).collect();
    let all: BTreeSet<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(used, all);
}

#[test]
fn every_expected_invariant_exists() {
    for scenario in load("scenarios") {
        if let Expect::Violation(name) = scenario.expect() {
            assert!(invariant::names().contains(&name.as_str()), "{}: {name}", scenario.name());
        }
    }
}
