//! Planted bugs, found and shrunk: what is left is the story that somebody would tell.

use super::*;
use crate::campaign::{Until, sweep};
use crate::scenario::{FaultAction, Library, Nanos, OpAction, PlannedOp, Scenario, Unsynced};
use crate::seed_id::Crypto;

/// Longer than any of these takes: they end when nothing gets simpler, on a slow machine too.
const BUDGET: Duration = Duration::from_secs(600);

/// Floods: a run takes so long that making them small is left to whoever looks at one.
const HEAVY: [&str; 1] = ["negative/unbacked_unlimited"];

fn toy() -> How {
    How { crypto: Crypto::Toy, ..How::reference() }
}

fn load(what: &str) -> Vec<Scenario> {
    Library::new().load(what, &[]).expect("the library is good")
}

/// A scenario's first failing seed, shrunk until nothing gets simpler; with the seed and its first report.
fn shrunk(how: &How, scenario: &Scenario) -> (Shrunk, u64, RunReport) {
    let tally = sweep(how, scenario, 0..200, 1, Until::FirstFailure, &|_| {});
    let (seed, first) = tally.failed.first().cloned().expect("the planted bug is found");
    let (plan, _) = how.plan(scenario, seed, &Tape::default());
    (shrink(how, &plan, &Tape::default(), seed, &first, BUDGET), seed, first)
}

fn described(plan: &Plan) -> Vec<String> {
    plan.elements().filter_map(|e| plan.describe_element(e)).collect()
}

/// Goal: shrinking loses neither the failure nor keeps a thing that it could lose.
/// Method: every negative story but floods; what is left fails with the same fingerprint, is repeated by its plan and tape, is at
/// most three operations and faults beside those that open channels (two parties away while a channel ends on chain are three), and
/// each of them is needed.
#[test]
fn every_planted_bug_shrinks_to_what_it_needs() {
    for scenario in load("negative").into_iter().filter(|s| !HEAVY.contains(&s.name())) {
        let how = toy();
        let (small, seed, first) = shrunk(&how, &scenario);
        let name = scenario.name();
        let wanted = Fingerprint::of(&first.verdict);
        assert_eq!(Fingerprint::of(&small.report.verdict), wanted, "{name}");
        let chance = Chance::with_tape(seed, small.tape.clone());
        let again = how.run_plan(small.plan.clone(), chance, how.options()).report;
        assert_eq!(again.digest, small.report.digest, "{name}");
        for (element, without) in &small.needed {
            assert_ne!(Fingerprint::of(without), wanted, "{name}: {element} is not needed");
        }
        let (before, after) = small.elements;
        // A virtual channel stands on others, and each of them must be opened.
        let opens = |op: &&PlannedOp| matches!(op.what, OpAction::Open { .. });
        let limit = 3 + small.plan.ops.iter().filter(opens).count().max(1);
        assert!(after <= limit, "{name}: {before} to {after}: {:#?}", described(&small.plan));
        // Where nothing could go, each thing was tried, and without it nothing failed.
        assert!(after < before || small.needed.len() == after, "{name}: {before} to {after}");
    }
}

/// Goal: what is left is as simple as it can be told. Method: a story whose bug needs one power loss.
#[test]
fn the_values_that_are_left_are_simple() {
    let scenario = load("negative/no_resend_after_restart").remove(0);
    let (small, ..) = shrunk(&toy(), &scenario);
    assert_eq!(small.elements.1, 2, "{:#?}", described(&small.plan));
    let [fault] = &small.plan.faults[..] else { panic!("{:?}", small.plan.faults) };
    let FaultAction::PowerLoss { unsynced, directory_entries, down, .. } = &fault.what else {
        panic!("{fault}")
    };
    assert_eq!((*unsynced, *directory_entries), (Unsynced::None, Unsynced::None));
    assert_eq!(*down, Nanos::secs(1));
    assert!(fault.to_string().contains("1st"), "{fault}");
}

/// Goal: money that can be lost is not lost on the way to a smaller run.
/// Method: the demonstration's bug, which equivocates in any case and costs something only with a payment.
#[test]
fn a_loss_stays_a_loss() {
    let scenario = load("smoke/power_loss_on_a_lossy_link").remove(0);
    let ignore = vec!["durable-before-sent".to_string()];
    let how = How { mutant: Some("effect-before-sync".into()), ignore, ..toy() };
    let (small, _, first) = shrunk(&how, &scenario);
    let loser = |report: &RunReport| match &report.verdict {
        Verdict::Violation(v) => v.loss.map(|(who, _)| who),
        Verdict::Pass | Verdict::Panic(_) | Verdict::Budget(_) => None,
    };
    assert!(loser(&first).is_some(), "{:?}", first.verdict);
    assert_eq!(loser(&small.report), loser(&first), "{:?}", small.report.verdict);
    assert!(small.elements.1 <= 5, "{:#?}", described(&small.plan));
}

#[test]
fn a_run_that_passes_is_left_alone() {
    let scenario = load("smoke/plain").remove(0);
    let how = toy();
    let report = how.run(&scenario, 1, false).report;
    let (plan, _) = how.plan(&scenario, 1, &Tape::default());
    let same = shrink(&how, &plan, &Tape::default(), 1, &report, BUDGET);
    assert_eq!((same.plan, same.tried), (plan, 0));
}
