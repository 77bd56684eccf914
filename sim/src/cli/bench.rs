//! `bench`: how fast is it, beside the floor that signatures set?

mod compare;
mod protocol;

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::doctor::{crypto_ns, tenths};
use super::{Outcome, Stop, load, thousands, workers};
use crate::campaign::{How, Tally, Until, sweep};
use crate::chance::Tape;
use crate::engine::check_available;
use crate::scenario::Engine;
use crate::seed_id::Crypto;
use crate::world::{Options, World};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Seeds of each sweep.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Measure another program beside this one, in turns: a path, or a commit of this repository, which is built.
    #[arg(long, value_name = "PROGRAM|COMMIT")]
    compare: Option<String>,
    /// How often each of the two is measured.
    #[arg(long, default_value_t = 5, requires = "compare", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim bench                                      beside the floor that signatures set
  fairway-sim bench --seeds 200 --json                   shorter, for a report
  fairway-sim bench --seeds 400 --compare HEAD~3         what three commits changed, measured in turns
  fairway-sim bench --compare ./fairway-sim-before       the same against a program that is there";

/// The story that the simulator's speed is judged by: three parties, a virtual channel, fifty payments, faults of a swarm.
const SWARM: &str = "nightly/swarm_over_a_hub";

/// One figure.
#[derive(Serialize)]
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    /// The least that signatures and recoveries alone would take, in the same unit.
    floor: Option<f64>,
    goal: f64,
    must: f64,
}

pub fn bench(args: &BenchArgs) -> Outcome {
    if let Some(other) = &args.compare {
        return compare::compare(other, args);
    }
    let (sign, recover) = crypto_ns();
    if !args.json {
        println!(
            "floor: {} µs a signature, {} µs a recovery, {} threads",
            tenths(sign),
            tenths(recover),
            workers()
        );
    }
    let mut rows = Vec::new();
    for (engine, crypto, goal, must) in [
        (Engine::Reference, Crypto::Real, 2_000.0, 800.0),
        (Engine::Reference, Crypto::Toy, 8_000.0, 3_000.0),
        (Engine::Madsim, Crypto::Real, 600.0, 200.0),
        (Engine::Turmoil, Crypto::Real, 0.0, 0.0),
    ] {
        if check_available(engine).is_ok() {
            rows.push(seeds_a_second(args, engine, crypto, (sign, recover), goal, must)?);
            show(args, rows.last());
        }
    }
    rows.push(replay_rate()?);
    show(args, rows.last());
    rows.push(hundred_channels((sign, recover))?);
    show(args, rows.last());
    rows.push(seeds_of("smoke/hub_pays", args, Engine::Reference, Crypto::Real, (sign, recover))?);
    show(args, rows.last());
    for (engine, crypto, goal, must) in [
        (Engine::Reference, Crypto::Real, 500.0, 200.0),
        (Engine::Reference, Crypto::Toy, 3_000.0, 1_000.0),
        (Engine::Madsim, Crypto::Real, 200.0, 80.0),
        (Engine::Turmoil, Crypto::Real, 60.0, 20.0),
    ] {
        if check_available(engine).is_ok() {
            let row = seeds_of(SWARM, args, engine, crypto, (sign, recover))?;
            rows.push(Row { goal, must, ..row });
            show(args, rows.last());
        }
    }
    protocol::rows((sign, recover), &mut |row| {
        rows.push(row);
        show(args, rows.last());
    })?;
    if args.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "build": crate::build_id::BUILD_ID,
            "commit": crate::build_id::commit(),
            "sign_ns": sign,
            "recover_ns": recover,
            "threads": workers(),
            "rows": rows,
        }));
        println!("{}", text.map_err(|e| Stop::harness(e.to_string()))?);
    }
    Ok(())
}

fn show(args: &BenchArgs, row: Option<&Row>) {
    if let (false, Some(row)) = (args.json, row) {
        let floor = row.floor.map(|f| format!(", floor {f:.2}")).unwrap_or_default();
        println!(
            "  {:<58} {:>12.2} {}{floor} (goal {}, must {})",
            row.what, row.value, row.unit, row.goal, row.must
        );
    }
}

/// Direct fund and defund with crashes, all threads.
fn seeds_a_second(
    args: &BenchArgs,
    engine: Engine,
    crypto: Crypto,
    (sign, recover): (u64, u64),
    goal: f64,
    must: f64,
) -> Result<Row, Stop> {
    let row = seeds_of("smoke/fund_and_close_crash", args, engine, crypto, (sign, recover))?;
    let what = format!("direct fund + defund with crashes, {}, {}", engine.name(), crypto.name());
    Ok(Row { what, goal, must, ..row })
}

/// Runs of a story, all threads.
fn seeds_of(
    story: &str,
    args: &BenchArgs,
    engine: Engine,
    crypto: Crypto,
    (sign, recover): (u64, u64),
) -> Result<Row, Stop> {
    let scenarios = load(story, &[])?;
    let how = How { engine, crypto, ..How::reference() };
    let seeds = if engine == Engine::Reference { args.seeds } else { args.seeds / 10 };
    let started = Instant::now();
    let mut all = Tally::default();
    for scenario in &scenarios {
        all.merge(sweep(&how, scenario, 0..seeds.max(1), workers(), Until::All, &|_| {}));
    }
    if !all.failed.is_empty() {
        return Err(Stop::harness(format!("{} runs failed while measuring", all.failed.len())));
    }
    let seconds = started.elapsed().as_secs_f64();
    // Every recovered signature was made once.
    let crypto_s = all.recovered as f64 * (sign + recover) as f64 / 1e9 / workers() as f64;
    let floor = (crypto == Crypto::Real).then(|| all.runs as f64 / crypto_s);
    Ok(Row {
        what: format!("{story}, {}, {}", engine.name(), crypto.name()),
        value: all.runs as f64 / seconds,
        unit: "seeds/s",
        floor,
        goal: 0.0,
        must: 0.0,
    })
}

/// Opening a long log and folding it.
fn replay_rate() -> Result<Row, Stop> {
    let (files, events) = long_log()?;
    let started = Instant::now();
    let opened = fairway_core::log::open(&files).map_err(|e| Stop::harness(e.to_string()))?;
    let (state, _) =
        fairway_core::driver::replay(&opened).map_err(|e| Stop::harness(e.to_string()))?;
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(state.lsn().0, events, "the whole log was replayed");
    Ok(Row {
        what: format!("log replay, {} events", thousands(events)),
        value: events as f64 / seconds,
        unit: "events/s",
        floor: None,
        goal: 2_000_000.0,
        must: 500_000.0,
    })
}

/// The log of a node with a busy channel, made by a real run.
fn long_log() -> Result<(fairway_core::log::Files, u64), Stop> {
    let settings = vec![];
    let scenario = load("smoke/plain", &settings)?.remove(0);
    let how = How { crypto: Crypto::Toy, ..How::reference() };
    let (mut plan, chance) = how.plan(&scenario, 1, &Tape::default());
    for op in &mut plan.ops {
        if let crate::scenario::OpAction::Pay { payments, .. } = &mut op.what {
            let one = crate::scenario::Payment {
                amount: fairway_core::types::Amount::wei(1),
                gap: crate::scenario::Nanos::millis(20),
            };
            *payments = vec![one; 20_000];
        }
    }
    plan.phases.chaos = crate::scenario::Nanos::secs(2_000);
    let options = Options { steps_max: u64::MAX, ..how.options() };
    let (_, world): (_, World) = crate::engine::reference::run(plan, chance, options);
    let party = &world.parties[0];
    Ok((party.disk.read_all(), party.log_on_disk().len() as u64))
}

/// A hundred channels funded between two nodes, against what their signatures cost.
fn hundred_channels((sign, recover): (u64, u64)) -> Result<Row, Stop> {
    let scenario = load("smoke/plain", &[])?.remove(0);
    let how = How::reference();
    let (mut plan, chance) = how.plan(&scenario, 1, &Tape::default());
    let (Some(channel), Some(open)) = (plan.channels.first().cloned(), plan.ops.first().cloned())
    else {
        return Err(Stop::harness("smoke/plain opens no channel"));
    };
    plan.channels.clear();
    plan.ops.clear();
    plan.faults.clear();
    for party in &mut plan.parties {
        party.funds = fairway_core::types::Amount::ether(100_000);
    }
    for i in 0..100 {
        let id = format!("C{i}");
        let (parties, mut op) = (channel.parties.clone(), open.clone());
        op.id = crate::scenario::Element::Op(i);
        op.when = crate::scenario::OpTrigger::At(crate::scenario::Nanos::millis(10));
        op.what = crate::scenario::OpAction::Open { channel: id.clone(), from: parties.0.clone() };
        plan.ops.push(op);
        plan.channels.push(crate::scenario::PlannedChannel { id, ..channel.clone() });
    }
    let started = Instant::now();
    let run = how.run_plan(plan, chance, how.options());
    let seconds = started.elapsed().as_secs_f64();
    if !run.report.verdict.is_pass() {
        return Err(Stop::harness(format!("{:?}", run.report.verdict)));
    }
    // Prefund and postfund by both: 4 signatures and 4 recoveries a channel.
    let floor = 400.0 * (sign + recover) as f64 / 1e9;
    Ok(Row {
        what: "100 channels funded, reference engine, times the floor".into(),
        value: seconds / floor,
        unit: "×",
        floor: Some(1.0),
        goal: 1.5,
        must: 3.0,
    })
}
