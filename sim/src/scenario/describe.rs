//! A plan in plain words: what a failure report tells.

use std::fmt;

use fairway_core::types::Amount;

use super::fault::{Dropped, RotTarget, Unsynced};
use super::plan::{
    Element, FaultAction, FaultTrigger, Link, LogStep, Milestone, OpAction, OpTrigger, Payment,
    Plan, PlannedClock, PlannedFault, PlannedOp,
};
use super::topology::{Backend, Role};
use super::unit::{Drift, Money, Nanos, Shift};

impl Plan {
    /// One sentence for each party, channel, operation and fault, in the order in which they matter.
    pub fn describe(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for party in &self.parties {
            if let Role::Byzantine(strategy) = party.role {
                lines.push(format!("{} is hostile: {}.", party.name, strategy.story()));
            }
            if let Some(clock) = describe_clock(&party.clock) {
                lines.push(format!("{}'s clock {clock}.", party.name));
            }
            if let Some(versions) = party.versions {
                lines.push(format!("{} speaks {}.", party.name, spoken(versions)));
            }
        }
        match self.chain.backend {
            Backend::Model => {}
            Backend::Evm => lines.push("The chain runs the deployed contracts in an EVM.".into()),
        }
        for channel in &self.channels {
            let ((first, second), (ours, theirs)) = (&channel.parties, &channel.deposits);
            lines.push(format!(
                "Channel {}: {first} puts in {ours}, {second} {theirs}; a challenge can be answered for {}.",
                channel.id, channel.challenge_duration
            ));
        }
        for channel in &self.virtuals {
            let on = channel.ledger.as_ref().map_or(String::new(), |id| format!(" on {id}"));
            lines.push(format!(
                "Virtual channel {}: up to {} over {}{on}; a challenge can be answered for {}.",
                channel.id,
                channel.amount,
                channel.parties.join(" - "),
                channel.challenge_duration
            ));
        }
        lines.extend(self.ops.iter().map(|op| format!("{}: {op}.", op.id)));
        lines.extend(self.faults.iter().map(|fault| format!("{}: {fault}.", fault.id)));
        if let Some(always) = &self.always {
            lines.push(format!("Judged are {} alone.", always.join(", ")));
        }
        lines.extend(self.eventually.iter().map(|promise| format!("It must be that {promise}.")));
        lines
    }

    /// The sentence for one operation or fault; `None` when it is not in this plan.
    pub fn describe_element(&self, element: Element) -> Option<String> {
        let op = self.ops.iter().find(|op| op.id == element).map(PlannedOp::to_string);
        let fault = || self.faults.iter().find(|fault| fault.id == element);
        op.or_else(|| fault().map(PlannedFault::to_string))
    }
}

/// What is wrong with a clock; `None` when nothing is.
fn describe_clock(clock: &PlannedClock) -> Option<String> {
    let mut parts = Vec::new();
    if clock.skew != Shift(0) {
        parts.push(format!("starts {}", ahead(clock.skew)));
    }
    if clock.drift_ppm != Drift(0) {
        let pace = if clock.drift_ppm > Drift(0) { "fast" } else { "slow" };
        parts.push(format!("runs {} ppm too {pace}", clock.drift_ppm.0.unsigned_abs()));
    }
    if let Some(step) = &clock.step {
        parts.push(format!("{} at {}", jump(step.by), about(&step.at)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn spoken((oldest, newest): (u16, u16)) -> String {
    if oldest == newest {
        format!("wire version {newest} alone")
    } else {
        format!("wire versions {oldest} to {newest}")
    }
}

fn ahead(shift: Shift) -> String {
    let size = about(&Nanos(shift.0.unsigned_abs()));
    if shift.0 < 0 { format!("{size} behind") } else { format!("{size} ahead") }
}

fn jump(by: Shift) -> String {
    let size = about(&Nanos(by.0.unsigned_abs()));
    if by.0 < 0 { format!("jumps back by {size}") } else { format!("jumps ahead by {size}") }
}

impl fmt::Display for PlannedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            OpAction::Open { channel, from } => write!(f, "{from} opens {channel}")?,
            OpAction::Pay { channel, from, payments } => {
                write!(f, "{from} pays {} in {channel}", Payments(payments))?;
            }
            OpAction::Close { channel, from } => write!(f, "{from} asks to close {channel}")?,
            OpAction::ForceClose { channel, from } => {
                write!(f, "{from} closes {channel} on chain")?
            }
            OpAction::Restart { party, down, versions } => {
                write!(f, "{party} is stopped properly and started again after {},", about(down))?;
                if let Some(versions) = versions {
                    write!(f, " speaking {},", spoken(*versions))?;
                }
            }
        }
        match &self.when {
            OpTrigger::At(at) => write!(f, " at {}", about(at)),
            OpTrigger::After { milestone, delay: Nanos::ZERO } => write!(f, " once {milestone}"),
            OpTrigger::After { milestone, delay } => {
                write!(f, " {} after {milestone}", about(delay))
            }
            OpTrigger::On { step, delay: Nanos::ZERO } => write!(f, " {step}"),
            OpTrigger::On { step, delay } => write!(f, " {}, counted from {step}", about(delay)),
        }
    }
}

/// "7 wei", "40 times between 1 wei and 9 gwei (0.5 ETH in all)".
struct Payments<'a>(&'a [Payment]);

impl fmt::Display for Payments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = || self.0.iter().map(|payment| Money(payment.amount));
        let total = self.0.iter().map(|payment| payment.amount);
        let total = Money(total.fold(Amount::ZERO, Amount::saturating_add));
        match (self.0, amounts().min(), amounts().max()) {
            ([one], ..) => write!(f, "{}", Money(one.amount)),
            (many, Some(least), Some(most)) if least == most => {
                write!(f, "{least} {} times", many.len())
            }
            (many, Some(least), Some(most)) => {
                write!(f, "{} times between {least} and {most} ({total} in all)", many.len())
            }
            (_, None, _) | (_, _, None) => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Milestone::ChannelOpen(channel) => write!(f, "{channel} is open"),
            Milestone::ChannelUpdated(channel) => write!(f, "{channel} was updated"),
            Milestone::VirtualPaid(channel) => write!(f, "something was paid in {channel}"),
            Milestone::ChannelClosed(channel) => write!(f, "{channel} is closed"),
            Milestone::Done(element) => write!(f, "{element} is done"),
        }
    }
}

impl fmt::Display for PlannedFault {
    /// `<who> <what> <when>; <details>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, details) = describe_fault(&self.what);
        write!(f, "{head} {}", self.when)?;
        if !details.is_empty() {
            let comma = if details.starts_with("for ") { "," } else { ";" };
            write!(f, "{comma} {details}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultTrigger::At(at) => write!(f, "at {}", about(at)),
            FaultTrigger::On(step) => write!(f, "{step}"),
        }
    }
}

impl fmt::Display for LogStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogStep { event, of, nth, side } = self;
        let (before, after) = side.story();
        write!(f, "{before} {of}'s {} {event} {after}", ordinal(*nth))
    }
}

/// Who suffers what, and the details.
fn describe_fault(what: &FaultAction) -> (String, String) {
    let often = |often: &dyn fmt::Display, link: &Option<Link>, what: &str, lasts: &Nanos| {
        (format!("{often} of the frames {} begin to {what}", between(link)), lasting(lasts))
    };
    let endpoint = |what: &str, lasts: &Nanos| (format!("the endpoint {what}"), lasting(lasts));
    match what {
        FaultAction::PowerLoss { party, unsynced, directory_entries, down } => {
            let mut details =
                format!("{}; back after {}", survives(*unsynced, "unsynced sectors"), about(down));
            if directory_entries != unsynced {
                let entries = survives(*directory_entries, "unsynced directory entries");
                details = format!("{entries}; {details}");
            }
            (format!("{party} loses power"), details)
        }
        FaultAction::StaleImage { party, age, down } => (
            format!("{party} loses power"),
            format!(
                "it comes back after {} with its disk as it was {} earlier",
                about(down),
                about(age)
            ),
        ),
        FaultAction::PartitionBoth { link: (first, second), lasts } => {
            (format!("{first} and {second} lose each other"), lasting(lasts))
        }
        FaultAction::PartitionOneWay { link: (first, second), lasts } => (
            format!("{second} stops hearing {first}"),
            lasting(lasts) + ", while the other way works",
        ),
        FaultAction::Loss { link, probability, lasts } => {
            often(probability, link, "get lost", lasts)
        }
        FaultAction::Duplicate { link, probability, lasts } => {
            often(probability, link, "arrive twice", lasts)
        }
        FaultAction::CorruptFrame { link, probability, lasts } => {
            often(probability, link, "arrive damaged", lasts)
        }
        FaultAction::Reorder { link, probability, lasts } => {
            often(probability, link, "be overtaken", lasts)
        }
        FaultAction::Latency { link, latency, lasts } => {
            (format!("the frames {} begin to take {latency}", between(link)), lasting(lasts))
        }
        FaultAction::FailedSync { party } => (format!("{party}'s next sync fails"), String::new()),
        FaultAction::Full { party, lasts } => (format!("{party}'s disk is full"), lasting(lasts)),
        FaultAction::Slow { party, latency, lasts } => {
            (format!("{party}'s syncs begin to take {latency}"), lasting(lasts))
        }
        FaultAction::Rot { party, target, bytes } => {
            let target = match target {
                RotTarget::Segment => "log segment",
                RotTarget::Mirror => "tail mirror",
            };
            (format!("{bytes} of {party}'s {target} change"), String::new())
        }
        FaultAction::TornWrite { party, down } => (
            format!("{party} loses power in the middle of a write"),
            format!("the write survives up to some sector; back after {}", about(down)),
        ),
        FaultAction::Reorg { depth, drop } => {
            let dropped = match drop {
                Dropped::All => "none of their transactions return",
                Dropped::Some => "some of their transactions do not return",
                Dropped::None => "all their transactions return",
            };
            let blocks = if depth.0 == 1 { "block is" } else { "blocks are" };
            (format!("the last {} {blocks} replaced", depth.0), dropped.to_string())
        }
        FaultAction::RpcOutage { lasts } => endpoint("stops answering", lasts),
        FaultAction::MissingLogs { lasts } => endpoint("leaves logs out", lasts),
        FaultAction::MissingCalldata { lasts } => endpoint("shows no calldata", lasts),
        FaultAction::DuplicateLogs { lasts } => endpoint("repeats logs", lasts),
        FaultAction::StaleHead { blocks, lasts } => {
            endpoint(&format!("falls {} behind", plural(blocks.0, "block")), lasts)
        }
        FaultAction::FeeSpike { lasts } => {
            ("fees rise beyond what anyone offers".to_string(), lasting(lasts))
        }
        FaultAction::DropTx { probability, lasts } => {
            (format!("{probability} of the submitted transactions begin to vanish"), lasting(lasts))
        }
        FaultAction::RevertPayee { party } => {
            (format!("payments to {party} begin to revert"), String::new())
        }
        FaultAction::StrangerDeposit { channel, amount } => {
            (format!("a stranger deposits {} into {channel}", Money(*amount)), String::new())
        }
        FaultAction::Step { party, by } => {
            (format!("{party}'s clock {}", jump(*by)), String::new())
        }
        FaultAction::Freeze { party, lasts } => {
            (format!("{party}'s clock stands still"), lasting(lasts))
        }
    }
}

fn lasting(time: &Nanos) -> String {
    format!("for {}", about(time))
}

/// Three digits after the point are enough for a story; the plan has them all.
fn about(time: &Nanos) -> Nanos {
    let unit = match time.0 {
        0..1_000_000 => 1,
        1_000_000..1_000_000_000 => 1_000,
        1_000_000_000.. => 1_000_000,
    };
    Nanos(time.0 - time.0 % unit)
}

fn between(link: &Option<Link>) -> String {
    match link {
        Some((first, second)) => format!("between {first} and {second}"),
        None => "on every link".to_string(),
    }
}

fn survives(unsynced: Unsynced, what: &str) -> String {
    match unsynced {
        Unsynced::AnySubset => format!("any subset of {what} survives"),
        Unsynced::None => format!("no {what} survive"),
        Unsynced::All => format!("all {what} survive"),
        Unsynced::Prefix => format!("{what} survive up to some point"),
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn ordinal(n: u64) -> String {
    let suffix = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_end_as_english_wants() {
        let words = [1, 2, 3, 4, 11, 12, 13, 21, 101, 111, 112].map(ordinal);
        assert_eq!(words.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 101st 111th 112th");
    }
}
