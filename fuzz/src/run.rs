//! Ranges of inputs over workers, in any order, with the same result in every order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::input::input;
use crate::target::Target;

/// Failures of a range that are told one by one; the others are counted.
pub const FAILURES_TOLD: usize = 20;
/// Inputs that a worker takes at once. Digests are made block by block, so another number is another digest.
const BLOCK_INPUTS: u64 = 256;
/// Characters of a message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

/// What a range of inputs came to. Nothing of the machine is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// The first number, and the one after the last.
    pub inputs: (u64, u64),
    /// How many failed.
    pub failed: u64,
    /// A hash of all inputs and how each ended.
    pub digest: String,
    /// The first [`FAILURES_TOLD`] that failed.
    pub failures: Vec<Failure>,
}

/// An input under which the body panicked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its number.
    pub input: u64,
    /// The BLAKE3 hash of its bytes, 64 hexadecimal digits.
    pub hash: String,
    /// What the panic said, in one line.
    pub what: String,
    /// Its bytes, in hexadecimal digits.
    pub bytes: String,
}

/// Runs a range of inputs of one target on `workers` threads.
pub fn run(target: &Target, inputs: Range<u64>, workers: usize) -> Ran {
    let next = AtomicU64::new(0);
    let blocks = (inputs.end.saturating_sub(inputs.start)).div_ceil(BLOCK_INPUTS);
    let done: Mutex<BTreeMap<u64, Block>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= blocks {
                        return;
                    }
                    let first = inputs.start + number * BLOCK_INPUTS;
                    let end = first.saturating_add(BLOCK_INPUTS).min(inputs.end);
                    let block = Block::of(target, first..end);
                    let mut done = done.lock().expect("no worker panics while it holds the lock");
                    done.insert(number, block);
                }
            });
        }
    });
    let mut digest = blake3::Hasher::new();
    let mut ran = Ran {
        inputs: (inputs.start, inputs.end),
        failed: 0,
        digest: String::new(),
        failures: Vec::new(),
    };
    for block in done.into_inner().expect("all workers are gone").into_values() {
        digest.update(block.digest.as_bytes());
        ran.failed += block.failed;
        ran.failures.extend(block.failures);
    }
    ran.failures.truncate(FAILURES_TOLD);
    ran.digest = digest.finalize().to_hex().to_string();
    ran
}

/// What one worker did at once.
struct Block {
    digest: blake3::Hash,
    failed: u64,
    failures: Vec<Failure>,
}

impl Block {
    fn of(target: &Target, inputs: Range<u64>) -> Block {
        let mut digest = blake3::Hasher::new();
        let (mut failed, mut failures) = (0, Vec::new());
        for number in inputs {
            let bytes = input(target, number);
            let hash = blake3::hash(&bytes);
            let outcome = outcome(target, &bytes);
            digest.update(hash.as_bytes());
            digest.update(&[u8::from(outcome.is_ok())]);
            let Err(what) = outcome else { continue };
            failed += 1;
            if failures.len() < FAILURES_TOLD {
                failures.push(Failure {
                    input: number,
                    hash: hash.to_hex().to_string(),
                    what,
                    bytes: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                });
            }
        }
        Block { digest: digest.finalize(), failed, failures }
    }
}

/// Runs the body over these bytes.
///
/// # Errors
/// When it panics: what it said, in one line.
pub fn outcome(target: &Target, bytes: &[u8]) -> Result<(), String> {
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| (target.body)(bytes)));
    ran.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message");
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(MESSAGE_CHARS_MAX).collect()
    })
}

/// Keeps the default hook from printing panics that become failures of inputs.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("FAIRWAY_PANICS").is_some() {
            eprintln!("{info}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted() -> Target {
        Target::find("planted").expect("it is listed")
    }

    /// Goal: what fails is found, counted, told with its bytes, and ends nothing else; in the same words for every number of threads.
    #[test]
    fn a_planted_failure_is_found_by_any_number_of_workers() {
        let ran = run(&planted(), 1_000..9_001, 1);
        assert_eq!(ran, run(&planted(), 1_000..9_001, 3));
        assert_eq!(ran.inputs, (1_000, 9_001));
        assert!((10..100).contains(&ran.failed), "about one in 256: {}", ran.failed);
        assert_eq!(ran.failures.len(), FAILURES_TOLD.min(ran.failed as usize));
        for failure in &ran.failures {
            let bytes = input(&planted(), failure.input);
            assert_eq!(failure.hash, blake3::hash(&bytes).to_hex().as_str());
            assert!(failure.bytes.starts_with("2a"), "{failure:?}");
            assert_eq!(failure.bytes.len(), bytes.len() * 2);
            assert_eq!(failure.what, "planted: the input begins with 42");
            assert_eq!(outcome(&planted(), &bytes), Err(failure.what.clone()));
        }
        assert_ne!(ran.digest, run(&planted(), 1_000..9_000, 1).digest);
    }

    #[test]
    fn a_message_of_many_lines_is_told_in_one() {
        let target = Target {
            body: |_| panic!("left\n  right:\t{}", "x".repeat(MESSAGE_CHARS_MAX)),
            ..planted()
        };
        let told = outcome(&target, &[]).expect_err("it panics");
        assert!(told.starts_with("left right: xxx"), "{told}");
        assert_eq!(told.chars().count(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn real_targets_hold_over_their_first_inputs() {
        for name in ["log_open", "wire_decode"] {
            let target = Target::find(name).expect("it is listed");
            let ran = run(&target, 0..2_000, 2);
            assert_eq!((ran.failed, ran.failures), (0, Vec::new()), "{name}");
        }
    }
}
