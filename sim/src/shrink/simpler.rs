//! Simpler values for everything in a plan that has one.
//!
//! Every value is a knob with a place in the order of the plan. A knob offers a few settings that are simpler than the one it has, the
//! simplest first. No setting leads back to an earlier one, so shrinking ends.

use alloy_primitives::U256;
use fairway_core::types::Amount;

use crate::scenario::{
    Dist, Drift, Dropped, FaultAction, FaultTrigger, Nanos, OpAction, OpTrigger, Plan,
    PlannedClock, Ppm, Role, Shift, Unsynced,
};

/// The plans that differ from this one in a simpler setting of one knob, the simplest first; `None` when there is no such knob.
pub(super) fn plans(plan: &Plan, knob: usize) -> Option<Vec<Plan>> {
    let mut settings = None;
    each_knob(&mut plan.clone(), &mut |at, value| {
        if at == knob {
            settings = Some(value.simpler());
        }
    });
    let turned = |setting: Setting| {
        let mut plan = plan.clone();
        each_knob(&mut plan, &mut |at, value| {
            if at == knob {
                value.set(setting.clone());
            }
        });
        plan
    };
    settings.map(|settings| settings.into_iter().map(turned).collect())
}

/// One value of a plan.
enum Knob<'a> {
    /// A time; the least that makes sense is beside it.
    Time(&'a mut Nanos, Nanos),
    Money(&'a mut Amount),
    Count(&'a mut u64),
    /// A probability that a fault needs: certainty is the simplest.
    Often(&'a mut Ppm),
    /// A probability that the network has anyway: never is the simplest.
    Noise(&'a mut Ppm),
    Latency(&'a mut Dist<Nanos>),
    Shift(&'a mut Shift),
    Clock(&'a mut PlannedClock),
    Unsynced(&'a mut Unsynced),
    Dropped(&'a mut Dropped),
    Role(&'a mut Role),
    /// A fault that a simpler one may replace.
    Fault(&'a mut FaultAction),
}

/// What a knob can be set to.
#[derive(Clone)]
enum Setting {
    Time(Nanos),
    Money(Amount),
    Count(u64),
    Ppm(Ppm),
    Latency(Dist<Nanos>),
    Shift(Shift),
    Clock(PlannedClock),
    Unsynced(Unsynced),
    Dropped(Dropped),
    Honest,
    Fault(FaultAction),
}

impl Knob<'_> {
    fn simpler(&self) -> Vec<Setting> {
        match self {
            Knob::Time(time, least) => {
                let rounder = rounder(u128::from(time.0), u128::from(least.0));
                rounder.into_iter().filter_map(|n| Some(Setting::Time(nanos(n)?))).collect()
            }
            Knob::Money(amount) => money(**amount).into_iter().map(Setting::Money).collect(),
            Knob::Count(count) => counts(**count).into_iter().map(Setting::Count).collect(),
            Knob::Often(ppm) => often(**ppm).into_iter().map(Setting::Ppm).collect(),
            Knob::Noise(Ppm(0)) => Vec::new(),
            Knob::Noise(_) => vec![Setting::Ppm(Ppm(0))],
            Knob::Latency(dist) => latencies(dist).into_iter().map(Setting::Latency).collect(),
            Knob::Shift(shift) => shifts(**shift).into_iter().map(Setting::Shift).collect(),
            Knob::Clock(clock) => clocks(**clock).into_iter().map(Setting::Clock).collect(),
            Knob::Unsynced(survive) => match survive {
                Unsynced::AnySubset | Unsynced::Prefix => {
                    vec![Setting::Unsynced(Unsynced::None), Setting::Unsynced(Unsynced::All)]
                }
                Unsynced::All => vec![Setting::Unsynced(Unsynced::None)],
                Unsynced::None => Vec::new(),
            },
            Knob::Dropped(drop) => match drop {
                Dropped::Some => {
                    vec![Setting::Dropped(Dropped::None), Setting::Dropped(Dropped::All)]
                }
                Dropped::All => vec![Setting::Dropped(Dropped::None)],
                Dropped::None => Vec::new(),
            },
            Knob::Role(Role::Byzantine(_)) => vec![Setting::Honest],
            Knob::Role(Role::Honest) => Vec::new(),
            Knob::Fault(FaultAction::TornWrite { party, down }) => {
                vec![Setting::Fault(FaultAction::PowerLoss {
                    party: party.clone(),
                    unsynced: Unsynced::None,
                    directory_entries: Unsynced::None,
                    down: *down,
                })]
            }
            Knob::Fault(_) => Vec::new(),
        }
    }

    fn set(self, setting: Setting) {
        match (self, setting) {
            (Knob::Time(time, _), Setting::Time(to)) => *time = to,
            (Knob::Money(amount), Setting::Money(to)) => *amount = to,
            (Knob::Count(count), Setting::Count(to)) => *count = to,
            (Knob::Often(ppm) | Knob::Noise(ppm), Setting::Ppm(to)) => *ppm = to,
            (Knob::Latency(dist), Setting::Latency(to)) => *dist = to,
            (Knob::Shift(shift), Setting::Shift(to)) => *shift = to,
            (Knob::Clock(clock), Setting::Clock(to)) => *clock = to,
            (Knob::Unsynced(survive), Setting::Unsynced(to)) => *survive = to,
            (Knob::Dropped(drop), Setting::Dropped(to)) => *drop = to,
            (Knob::Role(role), Setting::Honest) => *role = Role::Honest,
            (Knob::Fault(fault), Setting::Fault(to)) => *fault = to,
            _ => unreachable!("a knob is set to what it offered"),
        }
    }
}

/// Shows every knob with its place.
fn each_knob(plan: &mut Plan, show: &mut dyn FnMut(usize, Knob<'_>)) {
    let mut at = 0;
    let mut show = |knob: Knob<'_>| {
        show(at, knob);
        at += 1;
    };
    for party in &mut plan.parties {
        show(Knob::Role(&mut party.role));
        show(Knob::Clock(&mut party.clock));
    }
    for op in &mut plan.ops {
        match &mut op.when {
            OpTrigger::At(at) => show(Knob::Time(at, Nanos::ZERO)),
            OpTrigger::After { delay, .. } => show(Knob::Time(delay, Nanos::ZERO)),
            OpTrigger::On { step, delay } => {
                show(Knob::Count(&mut step.nth));
                show(Knob::Time(delay, Nanos::ZERO));
            }
        }
        match &mut op.what {
            OpAction::Pay { payments, .. } => {
                for payment in payments {
                    show(Knob::Money(&mut payment.amount));
                    show(Knob::Time(&mut payment.gap, Nanos::ZERO));
                }
            }
            OpAction::Restart { down, .. } => show(Knob::Time(down, LEAST)),
            OpAction::Open { .. } | OpAction::Close { .. } | OpAction::ForceClose { .. } => {}
        }
    }
    for fault in &mut plan.faults {
        match &mut fault.when {
            FaultTrigger::At(at) => show(Knob::Time(at, Nanos::ZERO)),
            FaultTrigger::On(step) => show(Knob::Count(&mut step.nth)),
        }
        show(Knob::Fault(&mut fault.what));
        knobs_of_fault(&mut fault.what, &mut show);
    }
    show(Knob::Noise(&mut plan.network.loss));
    show(Knob::Noise(&mut plan.network.duplicate));
    show(Knob::Latency(&mut plan.network.latency));
    show(Knob::Latency(&mut plan.chain.block_time));
    show(Knob::Latency(&mut plan.chain.rpc_latency));
    show(Knob::Latency(&mut plan.sync_latency));
}

fn knobs_of_fault(fault: &mut FaultAction, show: &mut dyn FnMut(Knob<'_>)) {
    match fault {
        FaultAction::PowerLoss { unsynced, directory_entries, down, .. } => {
            show(Knob::Unsynced(unsynced));
            show(Knob::Unsynced(directory_entries));
            show(Knob::Time(down, LEAST));
        }
        FaultAction::StaleImage { age, down, .. } => {
            show(Knob::Time(age, LEAST));
            show(Knob::Time(down, LEAST));
        }
        FaultAction::Loss { probability, lasts, .. }
        | FaultAction::Duplicate { probability, lasts, .. }
        | FaultAction::CorruptFrame { probability, lasts, .. }
        | FaultAction::Reorder { probability, lasts, .. }
        | FaultAction::DropTx { probability, lasts } => {
            show(Knob::Often(probability));
            show(Knob::Time(lasts, LEAST));
        }
        FaultAction::Latency { latency, lasts, .. } | FaultAction::Slow { latency, lasts, .. } => {
            show(Knob::Latency(latency));
            show(Knob::Time(lasts, LEAST));
        }
        FaultAction::PartitionBoth { lasts, .. }
        | FaultAction::PartitionOneWay { lasts, .. }
        | FaultAction::Full { lasts, .. }
        | FaultAction::RpcOutage { lasts }
        | FaultAction::MissingLogs { lasts }
        | FaultAction::MissingCalldata { lasts }
        | FaultAction::DuplicateLogs { lasts }
        | FaultAction::FeeSpike { lasts }
        | FaultAction::Freeze { lasts, .. } => show(Knob::Time(lasts, LEAST)),
        FaultAction::StaleHead { blocks, lasts } => {
            show(Knob::Count(&mut blocks.0));
            show(Knob::Time(lasts, LEAST));
        }
        FaultAction::Rot { bytes, .. } => show(Knob::Count(&mut bytes.0)),
        FaultAction::TornWrite { down, .. } => show(Knob::Time(down, LEAST)),
        FaultAction::Reorg { depth, drop } => {
            show(Knob::Count(&mut depth.0));
            show(Knob::Dropped(drop));
        }
        FaultAction::StrangerDeposit { amount, .. } => show(Knob::Money(amount)),
        FaultAction::Step { by, .. } => show(Knob::Shift(by)),
        FaultAction::FailedSync { .. } | FaultAction::RevertPayee { .. } => {}
    }
}

/// Nothing that lasts lasts shorter: below a second it is hard to see on a time line.
const LEAST: Nanos = Nanos::secs(1);

/// The least, then this number rounded down to one, two, three digits: only what is smaller.
fn rounder(n: u128, least: u128) -> Vec<u128> {
    let mut simpler = vec![least];
    simpler.extend([1, 2, 3].map(|digits| rounded(n, digits)));
    simpler.retain(|s| *s < n && *s >= least);
    simpler.dedup();
    simpler
}

/// `n` with zeros after its first `digits`.
fn rounded(n: u128, digits: u32) -> u128 {
    let places = n.checked_ilog10().unwrap_or(0) + 1;
    let scale = 10u128.pow(places.saturating_sub(digits));
    n - n % scale
}

fn nanos(n: u128) -> Option<Nanos> {
    u64::try_from(n).ok().map(Nanos)
}

/// The power of ten below, then fewer digits. The size stays: a report should still say what there is to lose.
fn money(amount: Amount) -> Vec<Amount> {
    let Ok(wei) = u128::try_from(amount.0) else { return Vec::new() };
    let ten = 10u128.pow(wei.checked_ilog10().unwrap_or(0));
    rounder(wei, ten).into_iter().map(|wei| Amount(U256::from(wei))).collect()
}

/// One, a half, one less.
fn counts(n: u64) -> Vec<u64> {
    let mut simpler = vec![1, n / 2, n.saturating_sub(1)];
    simpler.retain(|s| *s >= 1 && *s < n);
    simpler.dedup();
    simpler
}

/// Always, then whole tens of percent, then whole percent.
fn often(Ppm(ppm): Ppm) -> Vec<Ppm> {
    if ppm == crate::chance::PPM_ONE {
        return Vec::new();
    }
    let mut simpler = vec![crate::chance::PPM_ONE];
    let fewer = [ppm - ppm % 100_000, ppm - ppm % 10_000];
    simpler.extend(fewer.into_iter().filter(|p| *p > 0 && *p < ppm));
    simpler.dedup();
    simpler.into_iter().map(Ppm).collect()
}

/// Always the same: the least, the most, something round between.
fn latencies(dist: &Dist<Nanos>) -> Vec<Dist<Nanos>> {
    let fixed = |n: u128| Some(Dist::Is(nanos(n)?));
    let of = |time: Nanos| u128::from(time.0);
    let values = match dist {
        Dist::Is(time) => rounder(of(*time), 0),
        Dist::Uniform(lo, hi) => vec![of(*lo), of(*hi), rounded((of(*lo) + of(*hi)) / 2, 1)],
        Dist::Exp { mean, min } => vec![of(*min), of(*mean)],
        Dist::Pick(values) => values.iter().map(|v| of(*v)).collect(),
    };
    // Nothing takes no time: two events at one moment are no simpler than two in a row.
    values.into_iter().filter(|n| *n > 0).filter_map(fixed).collect()
}

/// A second in the same direction, then fewer digits.
fn shifts(Shift(by): Shift) -> Vec<Shift> {
    let second = Nanos::secs(1).0.min(by.unsigned_abs());
    let sizes = rounder(u128::from(by.unsigned_abs()), u128::from(second));
    let signed = |size: u128| Some(Shift(i64::try_from(size).ok()? * by.signum()));
    sizes.into_iter().filter_map(signed).collect()
}

/// A right clock, then a clock with one error less.
fn clocks(clock: PlannedClock) -> Vec<PlannedClock> {
    let right = PlannedClock { skew: Shift(0), drift_ppm: Drift(0), step: None };
    let mut simpler = vec![
        right,
        PlannedClock { skew: Shift(0), ..clock },
        PlannedClock { drift_ppm: Drift(0), ..clock },
        PlannedClock { step: None, ..clock },
    ];
    simpler.retain(|c| *c != clock);
    simpler.dedup();
    simpler
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::How;
    use crate::chance::Tape;
    use crate::scenario::Library;

    #[test]
    fn numbers_get_rounder_and_never_larger() {
        assert_eq!(rounder(12_345, 0), [0, 10_000, 12_000, 12_300]);
        assert_eq!(rounder(12_345, 11_000), [11_000, 12_000, 12_300]);
        assert_eq!(rounder(5, 0), [0]);
        assert!(rounder(0, 0).is_empty());
        assert_eq!(money(Amount::wei(738)), [100, 700, 730].map(Amount::wei));
        assert!(money(Amount::wei(1)).is_empty());
        assert!(money(Amount::ZERO).is_empty());
        assert_eq!(counts(9), [1, 4, 8]);
        assert!(counts(1).is_empty());
        assert_eq!(often(Ppm(298_114)), [1_000_000, 200_000, 290_000].map(Ppm));
        assert_eq!(shifts(Shift(-2_500_000_000)).first(), Some(&Shift(-1_000_000_000)));
    }

    /// Goal: no chain of simpler settings is endless, in any plan that there is.
    /// Method: every knob of every story, turned again and again to the last setting it offers, which is the longest way.
    #[test]
    fn every_knob_of_every_story_comes_to_rest() {
        for scenario in Library::new().load("scenarios", &[]).unwrap() {
            let (mut plan, _) = How::reference().plan(&scenario, 3, &Tape::default());
            let mut knob = 0;
            while let Some(first) = plans(&plan, knob) {
                let mut candidates = first;
                for turn in 0.. {
                    let Some(next) = candidates.pop() else { break };
                    assert!(turn < 1_000, "{}: knob {knob} never rests", scenario.name());
                    assert_ne!(next, plan, "{}: knob {knob}", scenario.name());
                    plan = next;
                    candidates = plans(&plan, knob).unwrap();
                }
                knob += 1;
            }
        }
    }
}
