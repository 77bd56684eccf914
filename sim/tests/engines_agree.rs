//! Where a story determines who owns what at its end, no engine has another opinion.

use std::collections::BTreeMap;

use fairway_sim::campaign::How;
use fairway_sim::engine::check_available;
use fairway_sim::scenario::{Engine, Library, Scenario};
use fairway_sim::seed_id::Crypto;

fn determined() -> Vec<Scenario> {
    let mut scenarios = Library::new().load("scenarios", &[]).expect("the library is good");
    scenarios.retain(Scenario::is_determined);
    scenarios
}

/// Goal: the engines differ in what they draw and in nothing that counts.
/// Method: every scenario that says it is determined, six seeds on each of its engines; all runs pass and settle to one set of balances.
#[test]
fn determined_stories_settle_alike_on_every_engine_and_seed() {
    let scenarios = determined();
    assert!(!scenarios.is_empty(), "no scenario is determined");
    for scenario in scenarios {
        assert!(scenario.engines().len() > 1, "{}: one engine agrees with itself", scenario.name());
        let mut ends: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for engine in scenario.engines() {
            check_available(*engine).expect("test builds hold every engine");
            let how = How { engine: *engine, crypto: Crypto::Toy, ..How::reference() };
            for seed in 0..6 {
                let report = how.run(&scenario, seed, false).report;
                let id = how.seed_id(&scenario, seed).to_string();
                assert!(report.verdict.is_pass(), "{id}: {:?}", report.verdict);
                ends.entry(report.balances).or_default().push(id);
            }
        }
        assert_eq!(ends.len(), 1, "{}: {ends:#?}", scenario.name());
    }
}

#[test]
fn the_plain_story_is_determined_on_three_engines() {
    let plain = determined().into_iter().find(|s| s.name() == "smoke/plain");
    let plain = plain.expect("smoke/plain is determined");
    assert_eq!(plain.engines(), Engine::ALL);
}
