//! Stories on both backends: the same run, to the last byte.

use fairway_core::types::Amount;
use fairway_sim::campaign::How;
use fairway_sim::chance::Tape;
use fairway_sim::engine::RunReport;
use fairway_sim::scenario::{Backend, Engine, Library, Scenario, Setting};

use crate::package;

/// Each on the reference engine, and a few on the other two.
const SEEDS: u64 = 8;
const SEEDS_OF_OTHER_ENGINES: u64 = 1;

fn stories(group: &str, backend: &str) -> Vec<Scenario> {
    let setting: Setting = ("chain.backend".into(), backend.into());
    Library::new().load(group, &[setting]).expect("built-in stories take every backend")
}

fn run(scenario: &Scenario, engine: Engine, seed: u64) -> RunReport {
    let how = How { engine, ..How::reference() };
    how.run(scenario, seed, false).report
}

/// Goal: a story does not notice what executes its calls, and the contracts agree with the model about all of them. Method: every story
/// that must pass, on both backends, with the same seeds: verdict, digest, settled balances, all else that is reported.
#[test]
fn stories_are_the_same_on_both_backends() {
    package::installed();
    let mut paid = 0;
    for group in ["smoke", "attack"] {
        let both = stories(group, "model").into_iter().zip(stories(group, "evm"));
        for (modelled, deployed) in both {
            assert_eq!((modelled.backend(), deployed.backend()), (Backend::Model, Backend::Evm));
            for engine in Engine::ALL.into_iter().filter(|e| modelled.engines().contains(e)) {
                let seeds =
                    if engine == Engine::Reference { SEEDS } else { SEEDS_OF_OTHER_ENGINES };
                for seed in 0..seeds {
                    let (here, there) =
                        (run(&modelled, engine, seed), run(&deployed, engine, seed));
                    let name = format!("{} on {}, seed {seed}", modelled.name(), engine.name());
                    assert!(there.verdict.is_pass(), "{name}: {:?}", there.verdict);
                    assert_eq!(here.balances, there.balances, "{name}");
                    assert_eq!(here, there, "{name}");
                    paid += u64::from(there.balances.iter().any(|(_, b)| *b != untouched()));
                }
            }
        }
    }
    assert!(paid >= 100, "in only {paid} runs money changed hands");
}

/// What a party has that never paid and was never paid.
fn untouched() -> Amount {
    Amount::ether(100)
}

/// Goal: the same seed is the same run in every process. Method: twice here, once with everything recorded; the command `run` compares
/// with another process.
#[test]
fn a_story_on_the_contracts_is_the_same_twice() {
    package::installed();
    for scenario in stories("smoke/reorg_of_a_deposit", "evm") {
        for seed in 0..SEEDS {
            let how = How::reference();
            let (first, again) = (how.run(&scenario, seed, false), how.run(&scenario, seed, true));
            assert_eq!(first.report, again.report, "seed {seed}");
        }
    }
}

/// Goal: a plan carries its backend, and plans from before there was a choice mean the model. Method: through JSON, as bundles do.
#[test]
fn a_plan_carries_its_backend() {
    for (backend, name, written) in [(Backend::Model, "model", false), (Backend::Evm, "evm", true)]
    {
        let scenario = stories("smoke/plain", name).remove(0);
        let (plan, _) = How::reference().plan(&scenario, 0, &Tape::default());
        assert_eq!(plan.chain.backend, backend);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(text.contains("backend"), written, "{text}");
        let read: fairway_sim::scenario::Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(read, plan);
        assert_eq!(plan.describe().iter().any(|line| line.contains("EVM")), written);
    }
}
