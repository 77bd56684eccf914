//! What operations and faults of a file wait for: in words that a problem can use, and whether it can come at all.

use std::fmt;

use super::ScenarioFile;
use super::fault::{ChainFault, FaultDo, Side, When};
use super::op::{Op, OpKind};
use super::topology::Virtual;

/// What an operation or a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited<'a> {
    /// A time.
    Time,
    /// A milestone: `V.paid`.
    Milestone(&'a str),
    /// An occurrence of an event in a party's log.
    Event {
        /// Which event.
        event: &'a str,
        /// Whose log.
        of: &'a str,
        /// The least occurrence that can be drawn, from 1.
        least: u64,
        /// At which step.
        side: Side,
    },
}

impl fmt::Display for Awaited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaited::Time => f.write_str("its time"),
            Awaited::Milestone(name) => write!(f, "`{name}`"),
            Awaited::Event { event, of, least, .. } => {
                write!(f, "{of}'s {event} number {least}")
            }
        }
    }
}

impl Op {
    /// What it waits for.
    pub(super) fn awaited(&self) -> Awaited<'_> {
        match (&self.after, &self.when) {
            (Some(milestone), _) => Awaited::Milestone(milestone),
            (None, Some(when)) => when.awaited(),
            (None, None) => Awaited::Time,
        }
    }
}

impl When {
    /// What it waits for.
    pub(super) fn awaited(&self) -> Awaited<'_> {
        match (&self.event, &self.of) {
            (Some(event), Some(of)) => Awaited::Event {
                event,
                of,
                least: self.nth.as_ref().map_or(1, |nth| nth.least().0),
                side: self.side.unwrap_or(Side::AfterSync),
            },
            (None, _) | (_, None) => Awaited::Time,
        }
    }
}

/// Why no run of this file can show this event in this party's log; `None` where one may.
///
/// Only what is certain counts: with an adversary in the file, what a peer's message can bring about stays possible.
pub(super) fn impossible(file: &ScenarioFile, event: &str, of: &str) -> Option<String> {
    let topology = &file.topology;
    let is_honest = |name: &String| topology.party.get(name).is_none_or(|p| p.role.is_honest());
    if !is_honest(&of.to_string()) {
        let what = "expected an honest party, whose log is looked at, found";
        return Some(format!("{what} `{of}`, which is byzantine"));
    }
    let all_honest = topology.parties.iter().all(is_honest);
    let (possible, who) = match event {
        "VoucherSigned" => {
            let pays = |v: &Virtual| v.parties.first().is_some_and(|payer| payer == of);
            (
                pays_in_virtual(file, pays),
                "the payer of a virtual channel in which something is paid",
            )
        }
        "VoucherReceived" => {
            let is_paid = |v: &Virtual| v.parties.last().is_some_and(|payee| payee == of);
            let possible = !all_honest || pays_in_virtual(file, is_paid);
            (possible, "the payee of a virtual channel in which something is paid")
        }
        "VirtualApproved" | "LedgerNamed" => {
            let takes_part = topology.virtuals.iter().any(|v| v.parties.iter().any(|p| p == of));
            (!all_honest || takes_part, "a participant of a virtual channel")
        }
        "DepositWanted" => {
            let mut deposits = topology.channels.iter().filter_map(|c| c.deposits.get(of));
            let deposits = deposits.any(|deposit| !deposit.most().0.is_zero());
            (!all_honest || deposits, "a party that deposits into a channel")
        }
        "BlocksReverted" => {
            let is_reorg = |what: &FaultDo| matches!(what, FaultDo::Chain(ChainFault::Reorg(_)));
            if file.fault.iter().any(|fault| is_reorg(&fault.what)) {
                return None;
            }
            return Some(
                "expected an event that can come, found BlocksReverted without a fault `reorg`"
                    .into(),
            );
        }
        _ => return None,
    };
    (!possible).then(|| format!("expected {who}, which alone has a {event}, found `{of}`"))
}

/// Whether an operation pays in such a virtual channel.
fn pays_in_virtual(file: &ScenarioFile, such: impl Fn(&Virtual) -> bool) -> bool {
    let channels = file.op.iter().filter_map(|op| match &op.what {
        OpKind::ChannelPay(pay) => Some(&pay.channel),
        OpKind::ChannelOpen(_)
        | OpKind::VirtualOpen(_)
        | OpKind::ChannelClose(_)
        | OpKind::ForceClose(_)
        | OpKind::Restart(_) => None,
    });
    let virtuals = &file.topology.virtuals;
    channels.filter_map(|id| virtuals.iter().find(|v| v.id == *id)).any(such)
}
