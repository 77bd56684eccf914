//! `doctor`: does this build, on this machine, simulate deterministically?

use std::process::Command;
use std::time::Instant;

use clap::Args;
use fairway_core::chain_types::B256;
use fairway_core::nitro::{self, Recover, SecretKey};

use super::{HowArgs, Outcome, Stop, load};
use crate::campaign::How;
use crate::scenario::{Engine, Scenario};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Seeds that are run twice here and once in another process, on each engine.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim doctor                                     every engine, ten runs each, twice here and once elsewhere
  fairway-sim doctor --seeds 100                         the same with more patience";

#[derive(Args, Clone, Debug)]
pub struct DigestsArgs {
    /// The scenario.
    what: String,
    /// Seeds, separated by commas.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    #[command(flatten)]
    how: HowArgs,
}

/// Prints one digest a line, in the order asked for.
pub fn digests(args: &DigestsArgs) -> Outcome {
    args.how.check()?;
    let scenarios = args.how.load(&args.what)?;
    let engine = args.how.engine.engines()[0];
    for scenario in &scenarios {
        for seed in &args.seeds {
            println!("{}", args.how.how(engine).run(scenario, *seed, false).report.digest);
        }
    }
    Ok(())
}

/// The digests of some seeds as another process of this program computes them, with another environment.
pub fn digests_elsewhere(
    scenario: &Scenario,
    asked: &str,
    how: &How,
    sample: &[(u64, String)],
) -> Result<Vec<String>, Stop> {
    if sample.is_empty() {
        return Ok(Vec::new());
    }
    let failed =
        |e: std::io::Error| Stop::harness(format!("could not start this program again: {e}"));
    let seeds: Vec<String> = sample.iter().map(|(seed, _)| seed.to_string()).collect();
    // A scenario from disk is found again by its path, also when a built-in one has its name.
    let embedded = load(scenario.name(), &how.settings)
        .is_ok_and(|found| found.iter().any(|s| s.digest() == scenario.digest()));
    let name = if embedded { scenario.name() } else { asked };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["digests", name, "--seeds", &seeds.join(","), "--engine", how.engine.name()]);
    command.args(["--crypto", how.crypto.name()]);
    if let Some(mutant) = &how.mutant {
        command.args(["--mutant", mutant]);
    }
    for name in &how.ignore {
        command.args(["--ignore", name]);
    }
    for (key, value) in &how.settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
        .env_clear()
        .env("LANG", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Chatham")
        .env("FAIRWAY_ANY", "x");
    // Where the contracts are is no part of a run: they are the same everywhere.
    if let Some(folder) = std::env::var_os(crate::evm::FOLDER_VARIABLE) {
        command.env(crate::evm::FOLDER_VARIABLE, folder);
    }
    let output = command.output().map_err(failed)?;
    let lines: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect();
    if lines.len() != sample.len() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(Stop::harness(format!(
            "the other process gave {} of {} digests: {why}",
            lines.len(),
            sample.len()
        )));
    }
    Ok(lines)
}

pub fn doctor(args: &DoctorArgs) -> Outcome {
    println!("build {} (core {})", crate::build_id::short(), &crate::build_id::CORE_ID[..8]);
    println!("  commit: {}", crate::build_id::commit().unwrap_or("unknown"));
    let mut worst = 0;
    for engine in Engine::ALL {
        match crate::engine::check_available(engine) {
            Ok(()) => worst += check_engine(engine, args.seeds)?,
            Err(why) => println!("  {:<10} not in this build: {why}", engine.name()),
        }
    }
    floor();
    if worst == 0 {
        println!("everything is as it should be");
        return Ok(());
    }
    Err(Stop { code: 4, line: Some(format!("{worst} runs are not deterministic")) })
}

/// Runs seeds twice here and once elsewhere.
fn check_engine(engine: Engine, seeds: u64) -> Result<u64, Stop> {
    let how = How { engine, ..How::reference() };
    let mut differing = 0;
    let mut compared = 0;
    for name in ["smoke/plain", "smoke/direct_fund_crash"] {
        for scenario in load(name, &[])? {
            let first: Vec<(u64, String)> =
                (0..seeds).map(|s| (s, how.run(&scenario, s, false).report.digest)).collect();
            let again = (0..seeds).map(|s| how.run(&scenario, s, true).report.digest);
            differing += first.iter().zip(again).filter(|((_, a), b)| a != b).count() as u64;
            let elsewhere = digests_elsewhere(&scenario, name, &how, &first)?;
            differing += first.iter().zip(&elsewhere).filter(|((_, a), b)| a != *b).count() as u64;
            compared += 2 * seeds;
        }
    }
    let word = if differing == 0 { "deterministic" } else { "NOT DETERMINISTIC" };
    println!(
        "  {:<10} {word}: {differing} of {compared} repeated runs differ, in this process and in another",
        engine.name()
    );
    Ok(differing)
}

/// What one signature costs here: the floor under every figure.
pub fn floor() {
    let (sign, recover) = crypto_ns();
    println!("  floor: {} µs a signature, {} µs a recovery", tenths(sign), tenths(recover));
}

/// Nanoseconds for one signature and for one recovery, measured now.
pub fn crypto_ns() -> (u64, u64) {
    let Ok(key) = SecretKey::new([7; 32], nitro::Crypto::Real) else { return (0, 0) };
    const ROUNDS: u64 = 400;
    let hashes: Vec<B256> = (0..ROUNDS).map(|i| B256::repeat_byte((i % 251) as u8)).collect();
    let started = Instant::now();
    let sigs: Vec<_> = hashes.iter().map(|h| key.sign(*h)).collect();
    let sign = started.elapsed().as_nanos() as u64 / ROUNDS;
    let started = Instant::now();
    let good = hashes
        .iter()
        .zip(&sigs)
        .filter(|(h, s)| nitro::Crypto::Real.recover(**h, s) == Some(key.address()))
        .count();
    let recover = started.elapsed().as_nanos() as u64 / ROUNDS;
    assert_eq!(good as u64, ROUNDS, "own signatures recover");
    (sign, recover)
}

/// 43210 ns as `43.2`.
pub fn tenths(ns: u64) -> String {
    format!("{}.{}", ns / 1_000, ns % 1_000 / 100)
}
