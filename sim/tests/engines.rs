//! The engines over streams execute the world of the reference engine: scenarios pass, a seed gives the same run again, every fault
//! strikes and ends. That all engines settle alike is in `engines_agree.rs`.
#![cfg(madsim)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use fairway_sim::chance::Chance;
use fairway_sim::engine::{RunReport, Verdict, madsim, reference, turmoil};
use fairway_sim::scenario::{
    Availability, Dist, Engine, Library, Nanos, Plan, Scenario, Source, available,
};
use fairway_sim::world::{Options, World};

/// Both engines over streams.
const STREAMS: [Engine; 2] = [Engine::Madsim, Engine::Turmoil];

fn execute(engine: Engine, plan: Plan, chance: Chance, options: Options) -> (RunReport, World) {
    match engine {
        Engine::Reference => reference::run(plan, chance, options),
        Engine::Madsim => madsim::run(plan, chance, options).expect("built with the flag"),
        Engine::Turmoil => turmoil::run(plan, chance, options).expect("built with the flag"),
    }
}

fn run(engine: Engine, scenario: &Scenario, seed: u64) -> (RunReport, World) {
    let mut chance = Chance::new(seed);
    let plan = scenario.resolve(&mut chance);
    execute(engine, plan, chance, Options::default())
}

fn passes(engine: Engine, scenario: &Scenario, seed: u64) -> (RunReport, World) {
    let (report, world) = run(engine, scenario, seed);
    assert_eq!(report.verdict, Verdict::Pass, "{} seed {seed} on {engine}", scenario.name());
    assert!(world.settled, "{} seed {seed} on {engine} did not settle", scenario.name());
    (report, world)
}

fn load(what: &str) -> Vec<Scenario> {
    Library::new().load(what, &[]).expect("a scenario of the library")
}

/// Alice opens a channel, pays and closes, under one fault of the network.
fn under(network: &str, fault: &str) -> Scenario {
    let text = format!(
        r#"# Alice opens a channel, pays and closes, whatever the network does.
schema  = 1
engines = ["reference", "madsim", "turmoil"]

[topology]
parties  = ["alice", "bob"]
channels = [
  {{ id = "C", parties = ["alice", "bob"], deposits = {{ alice = "5 ETH", bob = "3 ETH" }}, challenge_duration = "60s" }},
]

[topology.chain]
block_time    = "1s"
confirmations = 3

[topology.network]
{network}

[[op]]
at   = "0s"
do   = "channel.open"
args = {{ id = "C", from = "alice" }}

[[op]]
after = "C.open"
do    = "channel.pay"
args  = {{ channel = "C", from = "alice", amount = "10 gwei", count = 5, gap = "200ms" }}

[[op]]
at    = "50s"
do    = "channel.close"
args  = {{ channel = "C", from = "alice" }}

{fault}

[phases]
chaos  = "60s"
settle = "240s"
"#
    );
    let (name, file) = ("test/under".to_string(), "under.toml".to_string());
    Source { name, file, text }.parse(&[]).expect("a scenario")
}

fn fault(family: &str, what: &str) -> String {
    format!(
        "[[fault]]\nfamily = \"{family}\"\ntarget = [\"alice\", \"bob\"]\nwhen = {{ at = \"0s\" }}\ndo = {{ {what} }}\n"
    )
}

#[test]
fn the_smallest_scenario_and_crashes_pass_on_every_engine() {
    for what in ["smoke/plain", "smoke/direct_fund_crash", "smoke/both_crash_while_closing"] {
        for scenario in load(what) {
            for engine in STREAMS {
                (0..6).for_each(|seed| drop(passes(engine, &scenario, seed)));
            }
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for scenario in load("smoke/direct_fund_crash") {
        for engine in STREAMS {
            for seed in 0..4 {
                let (first, second) =
                    (run(engine, &scenario, seed).0, run(engine, &scenario, seed).0);
                assert_eq!(first, second, "seed {seed} on {engine}");
            }
            let digests: BTreeSet<_> = (0..4).map(|s| run(engine, &scenario, s).0.digest).collect();
            assert_eq!(digests.len(), 4, "seeds differ on {engine}");
        }
    }
}

const ASK: &str = "FAIRWAY_TEST_DIGESTS";

fn digests() -> String {
    let scenarios = ["smoke/direct_fund_crash", "smoke/partition_while_funding"].map(load);
    let all = scenarios.iter().flatten().flat_map(|scenario| {
        STREAMS.map(|e| format!("{} {e} {}", scenario.name(), run(e, scenario, 3).0.digest))
    });
    all.collect::<Vec<_>>().join("\n")
}

/// Goal: nothing of a process reaches a run: no address, no hash seed, no clock.
/// Method: this test runs itself in a second process, with another environment, and compares digests.
#[test]
fn another_process_gives_the_same_run() {
    if std::env::var_os(ASK).is_some() {
        return println!("digests:\n{}\n:end", digests());
    }
    let test = "another_process_gives_the_same_run";
    let this = std::env::current_exe().expect("a test has a file");
    let mut command = Command::new(this);
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(ASK, "1")
        .env("TZ", "Asia/Tokyo")
        .output()
        .expect("the test runs again");
    let text = String::from_utf8(output.stdout).expect("text");
    let theirs = text.split("digests:\n").nth(1).and_then(|rest| rest.split("\n:end").next());
    assert_eq!(theirs, Some(digests().as_str()), "{text}");
}

#[test]
fn every_kind_of_fault_that_is_planned_strikes() {
    for engine in STREAMS {
        let (mut planned, mut struck) = (BTreeSet::new(), BTreeSet::new());
        for scenario in load("smoke") {
            for seed in 0..4 {
                let mut chance = Chance::new(seed);
                let plan = scenario.resolve(&mut chance);
                if !plan.engines.contains(&engine) {
                    continue;
                }
                let kinds: Vec<_> = plan.faults.iter().map(|fault| fault.what.kind()).collect();
                assert!(kinds.iter().all(|kind| available(*kind, engine) != Availability::No));
                planned.extend(kinds.into_iter().map(|kind| kind.name().to_string()));
                struck.extend(passes(engine, &scenario, seed).0.faults_fired.into_keys());
            }
        }
        assert!(planned.len() >= 15, "{planned:?}");
        assert_eq!(planned, struck, "on {engine}");
    }
}

/// Goal: a fault of the network does what it says, and ends.
/// Method: each stops every message for 30 seconds, so that the channel can only open afterwards; the run ends a channel's life
/// later, not earlier and not at the settle phase's end.
#[test]
fn nothing_passes_while_the_network_is_down_and_everything_afterwards() {
    for what in [
        fault("net", "loss = { probability = \"100%\", for = \"30s\" }"),
        fault("net", "corrupt_frame = { probability = \"100%\", for = \"30s\" }"),
        fault("partition", "both = { for = \"30s\" }"),
        fault("partition", "one_way = { for = \"30s\" }"),
    ] {
        let scenario = under("", &what);
        for engine in STREAMS {
            let (report, world) = passes(engine, &scenario, 1);
            let opened = world.chain.head();
            assert!(report.virtual_ns > 50_000_000_000, "{engine} {what}: {opened:?}");
            let first = (0..=opened.number.0)
                .find(|n| {
                    let block = world.chain.block_at(fairway_core::types::BlockNum(*n));
                    block.is_some_and(|b| !b.logs.is_empty())
                })
                .expect("somebody deposited");
            assert!(
                (29..48).contains(&first),
                "{engine} {what}: the first deposit is in block {first}"
            );
        }
    }
}

#[test]
fn messages_are_doubled_and_late_as_the_scenario_says() {
    for engine in STREAMS {
        let seen = |network: &str| {
            let (report, world) = passes(engine, &under(network, ""), 1);
            let block = |n| world.chain.block_at(fairway_core::types::BlockNum(n)).cloned();
            let deposit =
                (0..report.blocks).find(|n| block(*n).is_some_and(|b| !b.logs.is_empty()));
            (report.observations, deposit.expect("somebody deposited"))
        };
        let (plain, early) = seen("latency = \"10ms\"");
        let (doubled, _) = seen("latency = \"10ms\"\nduplicate = \"100%\"");
        assert!(doubled > plain + 20, "{engine}: {doubled} observations after {plain}");
        let (_, late) = seen("latency = \"2s\"");
        assert!(late >= early + 3, "{engine}: a deposit in block {late} after {early}");
    }
}

#[test]
fn a_node_dies_at_the_step_that_was_chosen() {
    for scenario in load("smoke/plain") {
        for engine in STREAMS {
            for step in [1, 7, 20] {
                let mut chance = Chance::new(5);
                let plan = scenario.resolve(&mut chance);
                let victim = fairway_sim::observe::PartyId(0);
                let options = Options { crash_at_step: Some((victim, step)), ..Options::default() };
                let (report, world) = execute(engine, plan, chance, options);
                assert_eq!(report.verdict, Verdict::Pass, "step {step} on {engine}");
                assert!(world.parties[0].incarnation > 2, "step {step} on {engine}");
            }
        }
    }
}

#[test]
fn a_run_with_too_many_steps_is_given_up() {
    for scenario in load("smoke/plain") {
        for engine in STREAMS {
            let mut chance = Chance::new(5);
            let plan = scenario.resolve(&mut chance);
            let options = Options { steps_max: 50, ..Options::default() };
            let (report, _) = execute(engine, plan, chance, options);
            assert!(matches!(report.verdict, Verdict::Budget(51..)), "{:?}", report.verdict);
        }
    }
}

/// Goal: a panic ends the run wherever it strikes, and keeps its words.
/// Method: an impossible distribution panics when it is drawn from: in the pump's task, and in the transport's.
#[test]
fn a_panic_reaches_the_caller() {
    let impossible = Dist::Uniform(Nanos(2), Nanos(1));
    for scenario in load("smoke/plain") {
        for engine in STREAMS {
            for (sync, wire) in [(true, false), (false, true)] {
                let mut chance = Chance::new(5);
                let mut plan = scenario.resolve(&mut chance);
                if sync {
                    plan.sync_latency = impossible.clone();
                }
                if wire {
                    plan.network.latency = impossible.clone();
                }
                let run = AssertUnwindSafe(|| execute(engine, plan, chance, Options::default()));
                let panic = catch_unwind(run).map(|_| ()).expect_err("it panics");
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or(panic.downcast_ref::<&str>().copied());
                assert!(words.is_some_and(|w| !w.is_empty()), "{engine}: a panic without words");
            }
        }
    }
}
