//! What payments and objectives cost: processor time in the reference engine beside the floor of their signatures, and virtual time
//! over slow links.
//!
//! A cost is a difference: the same story run with and without what is measured, with no invariant watching, the fastest of several
//! takes. A floor is what the signatures alone take, each made once and recovered once.

use std::time::Instant;

use fairway_core::event::{Event, Origin};
use fairway_core::types::Amount;

use super::Row;
use crate::campaign::How;
use crate::chance::Tape;
use crate::cli::{Stop, load};
use crate::engine::RunReport;
use crate::invariant;
use crate::scenario::{
    Dist, Element, Milestone, Nanos, OpAction, OpTrigger, Payment, Plan, PlannedChannel, PlannedOp,
    PlannedVirtual,
};
use crate::world::{Options, World};

/// Runs of each story; the fastest counts, because whatever disturbs a run makes it slower.
const TAKES: usize = 3;

/// Every row.
///
/// # Errors
/// A run that did not pass: the figures would mean nothing.
pub fn rows(crypto_ns: (u64, u64), show: &mut dyn FnMut(Row)) -> Result<(), Stop> {
    payments(crypto_ns, show)?;
    updates(crypto_ns, show)?;
    objectives(crypto_ns, show)?;
    first_payment(show)
}

/// A thousand vouchers, one at a time.
fn payments((sign, recover): (u64, u64), show: &mut dyn FnMut(Row)) -> Result<(), Stop> {
    const COUNT: usize = 1_000;
    let (one, many) = (take(&hub(1, 1, 1))?, take(&hub(1, 1, 1 + COUNT))?);
    let floor_us = (sign + recover) as f64 / 1e3;
    let each_us = many.seconds_more_than(&one) * 1e6 / COUNT as f64;
    show(Row {
        what: "one voucher, asked for to acknowledged, times its floor".into(),
        value: each_us / floor_us,
        unit: "×",
        floor: Some(1.0),
        goal: 1.5,
        must: 2.0,
    });
    show(Row {
        what: "1,000 vouchers, processor time".into(),
        value: each_us * 1e-3,
        unit: "s",
        floor: Some(floor_us * 1e-3),
        goal: 0.12,
        must: 0.2,
    });
    let per = |n: u64| n as f64 / COUNT as f64;
    show(count("signatures a voucher", per(many.recovered - one.recovered)));
    show(count("syncs a voucher, payer and payee", per(many.syncs - one.syncs)));
    Ok(())
}

/// States of one ledger channel, proposed and countersigned one at a time.
fn updates((sign, recover): (u64, u64), show: &mut dyn FnMut(Row)) -> Result<(), Stop> {
    const COUNT: usize = 100;
    let (one, many) = (take(&direct(1))?, take(&direct(1 + COUNT))?);
    let seconds = many.seconds_more_than(&one);
    // The leader signs and the follower, and each checks the other.
    let floor = (many.recovered - one.recovered) as f64 * (sign + recover) as f64 / 1e9;
    show(Row {
        what: "100 ledger proposals, processor time".into(),
        value: seconds * 1e3,
        unit: "ms",
        floor: Some(floor * 1e3),
        goal: 50.0,
        must: 100.0,
    });
    show(Row {
        what: "state updates of one channel".into(),
        value: COUNT as f64 / seconds,
        unit: "/s",
        floor: Some(COUNT as f64 / floor),
        goal: 1_000.0,
        must: 1_000.0,
    });
    let per = |n: u64| n as f64 / COUNT as f64;
    show(count("signatures an update", per(many.recovered - one.recovered)));
    show(count("syncs an update, both parties", per(many.syncs - one.syncs)));
    Ok(())
}

/// Virtual channels over one hub, opened.
fn objectives((sign, recover): (u64, u64), show: &mut dyn FnMut(Row)) -> Result<(), Stop> {
    let (none, one, hundred) = (take(&hub(1, 0, 0))?, take(&hub(1, 1, 0))?, take(&hub(1, 100, 0))?);
    // Each signature is made once, and recovered once: a run remembers what it has recovered, for all its nodes.
    let floor_ns = |more: &Cost| ((more.recovered - none.recovered) * (sign + recover)) as f64;
    show(Row {
        what: "a virtual channel opened over a hub, processor time of all three".into(),
        value: one.seconds_more_than(&none) * 1e3,
        unit: "ms",
        floor: Some(floor_ns(&one) / 1e6),
        goal: 2.0,
        must: 4.0,
    });
    show(Row {
        what: "100 virtual channels opened over a hub, processor time of all three".into(),
        value: hundred.seconds_more_than(&none),
        unit: "s",
        floor: Some(floor_ns(&hundred) / 1e9),
        goal: 0.35,
        must: 0.7,
    });
    show(count("signatures a virtual channel", (one.recovered - none.recovered) as f64));
    show(count("syncs a virtual channel, all three", (one.syncs - none.syncs) as f64));
    Ok(())
}

/// From the payer's request for a channel to the payee's first voucher, in virtual time over links of 10 ms; every sync is waited for.
fn first_payment(show: &mut dyn FnMut(Row)) -> Result<(), Stop> {
    for hops in 0..=4 {
        let world = run(&hub(hops, 1, 1))?.1;
        let payee = world.parties.last().map(|p| p.log_on_disk()).unwrap_or_default();
        let payer = world.parties.first().map(|p| p.log_on_disk()).unwrap_or_default();
        let asked = payer.iter().find_map(|(at, e)| match e {
            Event::VirtualApproved { origin: Origin::User, .. } => Some(at.0),
            _ => None,
        });
        let paid = payee
            .iter()
            .find_map(|(at, e)| matches!(e, Event::VoucherReceived { .. }).then_some(at.0));
        let (Some(asked), Some(paid)) = (asked, paid) else {
            return Err(Stop::harness("nothing was paid through the hubs"));
        };
        let (goal, must) = if hops == 1 { (100.0, 150.0) } else { (0.0, 0.0) };
        show(Row {
            what: format!(
                "request to first payment over {hops} hubs, links of 10 ms, virtual time"
            ),
            value: (paid - asked) as f64,
            unit: "ms",
            floor: None,
            goal,
            must,
        });
    }
    Ok(())
}

fn count(what: &str, value: f64) -> Row {
    Row { what: what.into(), value, unit: "", floor: None, goal: 0.0, must: 0.0 }
}

/// What one story cost.
struct Cost {
    seconds: f64,
    recovered: u64,
    syncs: u64,
}

impl Cost {
    fn seconds_more_than(&self, other: &Cost) -> f64 {
        (self.seconds - other.seconds).max(0.0)
    }
}

fn take(plan: &dyn Fn() -> Result<Plan, Stop>) -> Result<Cost, Stop> {
    let mut cost = Cost { seconds: f64::MAX, recovered: 0, syncs: 0 };
    for _ in 0..TAKES {
        let started = Instant::now();
        let report = run(plan)?.0;
        cost.seconds = cost.seconds.min(started.elapsed().as_secs_f64());
        (cost.recovered, cost.syncs) = (report.recovered.0, report.syncs);
    }
    Ok(cost)
}

fn run(plan: &dyn Fn() -> Result<Plan, Stop>) -> Result<(RunReport, World), Stop> {
    let how = How::reference();
    let scenario = load("smoke/hub_pays", &[])?.remove(0);
    let (_, chance) = how.plan(&scenario, 1, &Tape::default());
    let ignore = invariant::names().iter().map(|name| name.to_string()).collect();
    let options = Options { steps_max: u64::MAX, ignore, ..how.options() };
    let (report, world) = crate::engine::reference::run(plan()?, chance, options);
    if !report.verdict.is_pass() {
        return Err(Stop::harness(format!("while measuring: {:?}", report.verdict)));
    }
    Ok((report, world))
}

/// Payments in a direct channel, each when the one before was made.
fn direct(payments: usize) -> impl Fn() -> Result<Plan, Stop> {
    move || {
        let mut plan = empty(2)?;
        plan.ops = vec![
            op(0, OpTrigger::At(Nanos(0)), OpAction::Open { channel: "L0".into(), from: name(0) }),
            pay(1, "L0", "L0", payments),
        ];
        Ok(plan)
    }
}

/// A chain of ledger channels with so many hubs, virtual channels over all of them, and payments in the first.
fn hub(hops: usize, virtuals: usize, payments: usize) -> impl Fn() -> Result<Plan, Stop> {
    move || {
        let parties = hops + 2;
        let mut plan = empty(parties)?;
        for left in 0..parties - 1 {
            let open = OpAction::Open { channel: ledger(left), from: name(left) };
            plan.ops.push(op(left, OpTrigger::At(Nanos(0)), open));
        }
        for i in 0..virtuals {
            let id = format!("V{i}");
            // The last ledger channel opens with the others or after them; the first payment of all waits for everything.
            let when = after(Milestone::ChannelOpen(ledger(parties - 2)), Nanos::secs(30));
            let open = OpAction::Open { channel: id.clone(), from: name(0) };
            plan.ops.push(op(plan.ops.len(), when, open));
            plan.virtuals.push(PlannedVirtual {
                id,
                parties: (0..parties).map(name).collect(),
                amount: Amount::ether(1),
                challenge_duration: Nanos::secs(60),
                ledger: None,
            });
        }
        if virtuals > 0 && payments > 0 {
            plan.ops.push(pay(plan.ops.len(), "V0", "V0", payments));
        }
        Ok(plan)
    }
}

/// Parties who own much and a network of 10 ms, without a fault or an operation.
fn empty(parties: usize) -> Result<Plan, Stop> {
    let scenario = load("smoke/hub_pays", &[])?.remove(0);
    let (mut plan, _) = How::reference().plan(&scenario, 1, &Tape::default());
    let first =
        plan.parties.first().cloned().ok_or(Stop::harness("smoke/hub_pays has no party"))?;
    plan.parties = (0..parties)
        .map(|i| {
            let mut party = first.clone();
            (party.name, party.funds) = (name(i), Amount::ether(1_000_000));
            party
        })
        .collect();
    plan.channels = (0..parties - 1)
        .map(|left| PlannedChannel {
            id: ledger(left),
            parties: (name(left), name(left + 1)),
            deposits: (Amount::ether(1_000), Amount::ether(1_000)),
            challenge_duration: Nanos::secs(60),
        })
        .collect();
    plan.ops.clear();
    plan.faults.clear();
    plan.virtuals.clear();
    plan.goals.clear();
    plan.network.latency = Dist::Is(Nanos::millis(10));
    plan.phases.chaos = Nanos::secs(120);
    Ok(plan)
}

fn pay(at: usize, channel: &str, open: &str, payments: usize) -> PlannedOp {
    let one = Payment { amount: Amount::wei(1), gap: Nanos::millis(40) };
    let mut payments = vec![one; payments];
    if let Some(first) = payments.first_mut() {
        first.gap = Nanos(0);
    }
    let what = OpAction::Pay { channel: channel.into(), from: name(0), payments };
    op(at, after(Milestone::ChannelOpen(open.into()), Nanos(0)), what)
}

fn after(milestone: Milestone, delay: Nanos) -> OpTrigger {
    OpTrigger::After { milestone, delay }
}

fn op(at: usize, when: OpTrigger, what: OpAction) -> PlannedOp {
    PlannedOp { id: Element::Op(at), when, what }
}

fn name(party: usize) -> String {
    format!("p{party}")
}

fn ledger(left: usize) -> String {
    format!("L{left}")
}
