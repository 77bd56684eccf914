//! The adjudicator model against the deployed contracts: the same random calls on both, in one process, compared after each.
//!
//! The contracts are the bytecode of the npm package `@statechannels/nitro-protocol`, run by revm. Compared are success or the reason
//! of the revert, the logs byte for byte, the contract's whole storage, and what every account owns of both assets. A
//! disagreement is shrunk to the calls that it needs and printed as a command that replays it.
//!
//! ```text
//! generate.rs  what is called: sequences that get somewhere, with a flaw now and then
//! generate/    the states in the calls
//! pair.rs      one call on both sides, and the comparison
//! chain.rs     the simulated chain with the contracts beside its model
//! guarantees.rs what our layouts promise against strangers
//! stories.rs   scenarios with `chain.backend = "evm"` and without
//! package.rs   installs the bytecode
//! ```
//!
//! The contracts' side is the simulator's own: `fairway_sim::evm`.
//!
//! Needs npm (and a network the first time): `cargo test --profile ci -p fairway-sim --features evm --test adjudicator_differential`.
//! `ADJUDICATOR_SEQUENCES=10000` runs more of them.

mod chain;
mod generate;
mod guarantees;
mod package;
mod pair;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use fairway_core::nitro::adjudicator::Revert;
use fairway_sim::evm::{self, Disagreement};
use generate::{Generator, KINDS};
use pair::{Pair, Step, World};

/// Calls in one sequence: long enough for a ledger channel to be funded, challenged, reclaimed into, paid out and used again.
const CALLS_PER_SEQUENCE: usize = 50;
const SEQUENCES: u64 = 500;

/// How many calls of each kind ended how.
#[derive(Default)]
struct Coverage(BTreeMap<(&'static str, String), u64>);

impl Coverage {
    fn add(&mut self, step: &Step, result: &str) {
        *self.0.entry((evm::kind(&step.call), result.to_owned())).or_default() += 1;
    }

    fn print(&self) {
        for ((kind, result), count) in &self.0 {
            println!("{kind:>28}  {count:>6}  {result}");
        }
    }

    fn results(&self) -> BTreeSet<&str> {
        self.0.keys().map(|(_, result)| result.as_str()).collect()
    }
}

/// One random sequence; what was called is returned with the disagreement that ended it.
fn run(
    world: &World,
    seed: u64,
    coverage: &mut Coverage,
) -> Result<u64, (Vec<Step>, Disagreement)> {
    let mut generator = Generator::new(seed);
    let mut pair = Pair::new(world);
    let mut steps = Vec::new();
    for _ in 0..CALLS_PER_SEQUENCE {
        let step = generator.step(pair.model());
        steps.push(step.clone());
        match pair.step(&step) {
            Ok(result) => {
                generator.learn(&step, &result);
                coverage.add(&step, &result.reason());
            }
            Err(disagreement) => return Err((steps, disagreement)),
        }
    }
    Ok(steps.len() as u64)
}

/// Drops calls for as long as the two still disagree.
fn shrink(world: &World, steps: Vec<Step>) -> Vec<Step> {
    let disagree = |steps: &[Step]| {
        let mut pair = Pair::new(world);
        steps.iter().any(|step| pair.step(step).is_err())
    };
    let mut steps = steps;
    loop {
        let shorter = (0..steps.len()).rev().find_map(|i| {
            let mut trial = steps.clone();
            trial.remove(i);
            disagree(&trial).then_some(trial)
        });
        match shorter {
            Some(trial) => steps = trial,
            None => return steps,
        }
    }
}

fn report(steps: &[Step], disagreement: &Disagreement) -> String {
    let calls = serde_json::to_string(steps).expect("calls are plain data");
    format!(
        "model and contract disagree after {} calls\n{disagreement}\nreplay with\n{CALLS}='{calls}' \
         cargo test --profile ci -p fairway-sim --features evm --test adjudicator_differential -- pasted --nocapture",
        steps.len()
    )
}

/// Goal: the model does what the contracts do. Method: seeded random sequences; every reason that the model can give is given at
/// least once, or the generator has become blind for it.
#[test]
fn model_and_contracts_agree() {
    let world = World::deployed();
    let (mut coverage, mut calls) = (Coverage::default(), 0);
    for seed in 0..sequences() {
        match run(&world, seed, &mut coverage) {
            Ok(made) => calls += made,
            Err((steps, _)) => {
                let steps = shrink(&world, steps);
                let mut pair = Pair::new(&world);
                let found = steps.iter().find_map(|step| pair.step(step).err());
                panic!("seed {seed}: {}", report(&steps, &found.expect("shrinking keeps it")));
            }
        }
    }
    coverage.print();
    println!("{calls} calls agree");
    assert!(calls >= 20_000, "only {calls} calls");
    let reached = coverage.results();
    let missing: Vec<_> = Revert::ALL
        .iter()
        .map(Revert::to_string)
        .filter(|r| !reached.contains(r.as_str()))
        .collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
    for kind in KINDS {
        assert!(
            coverage.0.contains_key(&(kind, pair::SUCCESS.to_owned())),
            "{kind} never succeeded"
        );
    }
}

/// [`SEQUENCES`], or more where the environment says so.
fn sequences() -> u64 {
    let wanted = env::var("ADJUDICATOR_SEQUENCES").ok();
    wanted.map_or(SEQUENCES, |n| n.parse::<u64>().expect("a number of sequences").max(SEQUENCES))
}

/// Goal: the comparison fires. Method: a model whose `transfer` checks the right entry, as the deployed contract does not.
#[test]
fn a_repaired_quirk_is_found_and_shrunk() {
    let world = World::deployed().with_quirk_allocs_k(false);
    let found = (0..SEQUENCES).find_map(|seed| run(&world, seed, &mut Coverage::default()).err());
    let (steps, _) = found.expect("the quirk is met");
    let long = steps.len();
    let steps = shrink(&world, steps);
    let mut pair = Pair::new(&world);
    let disagreement = steps.iter().find_map(|step| pair.step(step).err()).expect("still there");
    let text = report(&steps, &disagreement);
    println!("{long} calls shrunk to {}\n{text}", steps.len());
    assert!(steps.len() <= 3, "{text}");
    let read: Vec<Step> = serde_json::from_str(&serde_json::to_string(&steps).unwrap()).unwrap();
    assert_eq!(read, steps, "what is printed can be read again");
}

/// Not a test of its own: replays the calls that a disagreement printed.
#[test]
fn pasted_calls_agree() {
    let Ok(calls) = env::var(CALLS) else { return };
    let steps: Vec<Step> = serde_json::from_str(&calls).expect("calls as they were printed");
    let world = World::deployed();
    let mut pair = Pair::new(&world);
    for step in &steps {
        match pair.step(step) {
            Ok(result) => println!("{:>28}  {}", evm::kind(&step.call), result.reason()),
            Err(disagreement) => panic!("{}", report(&steps, &disagreement)),
        }
    }
}

const CALLS: &str = "ADJUDICATOR_CALLS";
