//! Every place where a node can die, each once: before every driver step, and around every event of its log.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use fairway_core::nitro::Crypto;
use fairway_sim::campaign::How;
use fairway_sim::chance::{Chance, Tape};
use fairway_sim::engine::{RunReport, reference};
use fairway_sim::observe::PartyId;
use fairway_sim::scenario::{
    Element, FaultAction, FaultTrigger, Library, LogStep, Nanos, OpAction, Plan, PlannedFault,
    Side, Unsynced,
};
use fairway_sim::world::{Options, World};

const SEED: u64 = 1;
/// Enough to leave the prefund, the updates and the closing behind each other.
const PAYMENTS: usize = 2;

/// `smoke/plain` with few payments, so that every step can be tried.
fn plan() -> (Plan, Chance) {
    let scenario =
        Library::new().load("smoke/plain", &[]).expect("smoke/plain is built in").remove(0);
    let (mut plan, chance) = How::reference().plan(&scenario, SEED, &Tape::default());
    for op in &mut plan.ops {
        if let OpAction::Pay { payments, .. } = &mut op.what {
            payments.truncate(PAYMENTS);
        }
    }
    (plan, chance)
}

fn run(plan: Plan, chance: Chance, crash_at_step: Option<(PartyId, u64)>) -> (RunReport, World) {
    reference::run(
        plan,
        chance,
        Options { crypto: Crypto::Toy, crash_at_step, ..Options::default() },
    )
}

/// Why a run is not what it must be: everything holds, and both parties come to the end.
fn fault_of(report: &RunReport, world: &World) -> Option<String> {
    let settled = (!world.settled).then(|| "the run did not settle".to_string());
    let held = (!report.verdict.is_pass()).then(|| format!("{:?}", report.verdict));
    held.or(settled)
}

/// Goal: no step exists at which losing power costs money or leaves an objective hanging.
/// Method: count each party's steps in a run where nothing goes wrong; then one run for each step, in which the machine loses power
/// right before it and with it all that was not synced.
#[test]
fn power_lost_before_any_step_costs_nothing() {
    let (calm, chance) = plan();
    let (report, world) = run(calm.clone(), chance.clone(), None);
    assert_eq!(fault_of(&report, &world), None, "the run in which nothing goes wrong");
    let mut wrong = Vec::new();
    let mut crashes = 0;
    for (party, steps) in world.steps_of.iter().enumerate() {
        assert!(*steps > 50, "party {party} takes {steps} steps: too few to mean anything");
        for step in 1..=*steps {
            let (report, world) = run(calm.clone(), chance.clone(), Some((PartyId(party), step)));
            crashes += u64::from(world.parties[party].incarnation > 1);
            if let Some(why) = fault_of(&report, &world) {
                wrong.push(format!("{} before step {step}: {why}", world.parties[party].name));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{} of {crashes} crashes", wrong.len());
    assert_eq!(crashes, world.steps_of.iter().sum::<u64>(), "some crash did not happen");
}

/// Goal: what a power loss leaves of the unsynced writes does not matter, around any event.
/// Method: count each party's events by name; then a power loss at each of them, at each side of the sync, with all, some sectors or a
/// prefix of the unsynced writes surviving.
#[test]
fn whatever_survives_a_power_loss_around_any_event_costs_nothing() {
    let (calm, chance) = plan();
    let (_, world) = run(calm.clone(), chance.clone(), None);
    let mut wrong = Vec::new();
    let mut struck = 0;
    for (party, event, nth) in events(&world) {
        for side in [Side::BeforeSync, Side::AfterSync, Side::AfterSend] {
            for unsynced in [Unsynced::All, Unsynced::AnySubset, Unsynced::Prefix] {
                let mut plan = calm.clone();
                plan.faults.push(power_loss(&party, event, nth, side, unsynced));
                let (report, world) = run(plan, chance.clone(), None);
                struck += report.faults_fired.values().sum::<u64>();
                if let Some(why) = fault_of(&report, &world) {
                    wrong.push(format!(
                        "{party} {side:?} {event} {nth}, {unsynced:?} survives: {why}"
                    ));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(struck > 300, "only {struck} power losses");
}

/// Party, event name and occurrence, for every event of the clean run's logs.
fn events(world: &World) -> Vec<(String, &'static str, u64)> {
    let mut all = Vec::new();
    for party in &world.parties {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (_, event) in party.log_on_disk() {
            *counts.entry(event.name()).or_default() += 1;
        }
        for (event, count) in counts {
            let occurrences: RangeInclusive<u64> = 1..=count;
            all.extend(occurrences.map(|nth| (party.name.clone(), event, nth)));
        }
    }
    all
}

fn power_loss(party: &str, event: &str, nth: u64, side: Side, unsynced: Unsynced) -> PlannedFault {
    PlannedFault {
        id: Element::Fault(0),
        when: FaultTrigger::On(LogStep { event: event.into(), of: party.into(), nth, side }),
        what: FaultAction::PowerLoss {
            party: party.into(),
            unsynced,
            directory_entries: unsynced,
            down: Nanos::secs(2),
        },
    }
}
