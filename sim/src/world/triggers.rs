//! Triggers: whether what the operations and faults of a plan wait for came in a run.

use serde::{Deserialize, Serialize};

use super::World;
use crate::scenario::{Element, FaultTrigger, LogStep, OpTrigger};

/// What became of one operation or fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Which.
    pub id: Element,
    /// Whether the operation began, or the fault struck.
    pub came: bool,
    /// How often the event that it waits for was seen; zero where it waits for none.
    pub seen: u64,
}

impl World {
    /// What became of each operation and each fault of the plan, in its order.
    pub fn triggers(&self) -> Vec<Trigger> {
        let op = |(at, op): (usize, &crate::scenario::PlannedOp)| Trigger {
            id: op.id,
            came: self.workload.has_begun(at),
            seen: match &op.when {
                OpTrigger::At(_) | OpTrigger::After { .. } => 0,
                OpTrigger::On { step, .. } => self.events_seen(step),
            },
        };
        let fault = |(at, fault): (usize, &crate::scenario::PlannedFault)| Trigger {
            id: fault.id,
            came: !self.waiting[at],
            seen: match &fault.when {
                FaultTrigger::At(_) => 0,
                FaultTrigger::On(step) => self.events_seen(step),
            },
        };
        let faults = self.plan.faults.iter().enumerate().map(fault);
        self.plan.ops.iter().enumerate().map(op).chain(faults).collect()
    }

    /// How often an event stood in a party's log so far, over all its incarnations.
    fn events_seen(&self, step: &LogStep) -> u64 {
        let party = self.party_named(&step.of).map(|id| &self.parties[id.0]);
        party.and_then(|party| party.appended.get(step.event.as_str())).copied().unwrap_or(0)
    }
}
