//! From a scenario and a seed to a plan: every distribution is drawn here.
//!
//! Each number has a site of its own, named after its key and its element (`plan.down/fault 2`). So a tape
//! entry changes one number of one element, and nothing else.

use fairway_core::types::Amount;

use super::dist::Dist;
use super::fault::{
    ChainFault, ClockFault, Crash, DiskFault, Fault, FaultDo, Net, Often, Partition, Side, Slow,
    Target, When,
};
use super::names::GOAL_NAMES;
use super::op::{ChannelPay, Op, OpKind};
use super::plan::{
    Element, FaultAction, FaultTrigger, Link, LogStep, Milestone, OpAction, OpTrigger, Payment,
    Plan, PlannedChain, PlannedChannel, PlannedClock, PlannedFault, PlannedNetwork, PlannedOp,
    PlannedParty, PlannedStep, PlannedVirtual,
};
use super::topology::{Chain, Channel, Clock, Network, Virtual};
use super::unit::{Count, Nanos, Quantity};
use super::verdict::{Eventually, Promise, reach};
use super::{Scenario, ScenarioFile};
use crate::chance::{Chance, Site};

impl Scenario {
    /// Draws everything that one seed decides before the run begins.
    pub fn resolve(&self, chance: &mut Chance) -> Plan {
        let drawn = self.file.swarm.as_ref().map(|swarm| swarm.draw(&self.file, chance));
        let file = drawn.as_ref().unwrap_or(&self.file);
        let ops = file.op.iter().enumerate().map(|(index, op)| resolve_op(chance, file, index, op));
        let ops = ops.collect();
        let mut faults = Vec::new();
        let mut absent = Vec::new();
        for (index, fault) in file.fault.iter().enumerate() {
            let id = Element::Fault(index);
            let mut draw = Drawer { chance: &mut *chance, owner: id.to_string() };
            if !draw.exists(fault) {
                absent.push(id);
                continue;
            }
            let when = resolve_when(&mut draw, &fault.when);
            faults.push(PlannedFault { id, when, what: resolve_fault(&mut draw, fault) });
        }
        let topology = &file.topology;
        Plan {
            scenario: self.name.clone(),
            scenario_digest: self.digest(),
            seed: chance.seed(),
            engines: file.engines.clone(),
            determined: file.determined,
            expect: file.expect.clone(),
            mutant: file.mutant.clone(),
            goals: goals_looked_for(file),
            always: file.always.clone(),
            eventually: file.eventually.iter().map(|e| resolve_promise(file, e)).collect(),
            parties: topology
                .parties
                .iter()
                .map(|name| resolve_party(chance, file, name))
                .collect(),
            channels: topology.channels.iter().map(|c| resolve_channel(chance, c)).collect(),
            virtuals: topology.virtuals.iter().map(|v| resolve_virtual(chance, v)).collect(),
            chain: resolve_chain(chance, &topology.chain),
            network: resolve_network(chance, &topology.network),
            sync_latency: topology.disk.sync_latency.clone(),
            patience: Drawer::of_run(chance).draw("patience", &topology.patience),
            ops,
            faults,
            absent,
            phases: file.phases,
        }
    }
}

/// The goals of a campaign, and those of each run that are not among them.
fn goals_looked_for(file: &ScenarioFile) -> Vec<String> {
    let mut goals = file.sometimes.clone();
    for promised in &file.eventually {
        if GOAL_NAMES.contains(&promised.goal.as_str()) && !goals.contains(&promised.goal) {
            goals.push(promised.goal.clone());
        }
    }
    goals
}

fn resolve_promise(file: &ScenarioFile, eventually: &Eventually) -> Promise {
    let reach = reach(file, &eventually.goal).expect("the check saw a goal or a milestone");
    Promise { reach, within: eventually.within }
}

/// Draws the numbers of one element.
struct Drawer<'a> {
    chance: &'a mut Chance,
    owner: String,
}

impl Drawer<'_> {
    /// Draws what belongs to no element.
    fn of_run(chance: &mut Chance) -> Drawer<'_> {
        Drawer { chance, owner: "run".to_string() }
    }

    /// A time that the contract counts in whole seconds.
    fn seconds(&mut self, key: &str, dist: &Dist<Nanos>) -> Nanos {
        Nanos::secs(self.draw(key, dist).0.div_ceil(1_000_000_000))
    }

    fn site(&self, key: &str) -> Site {
        Site::new(format!("plan.{key}")).of(&self.owner)
    }

    fn draw<T: Quantity>(&mut self, key: &str, dist: &Dist<T>) -> T {
        dist.draw(self.chance, &self.site(key))
    }

    fn exists(&mut self, fault: &Fault) -> bool {
        self.chance.chance_ppm(&self.site("exists"), fault.probability.0)
    }
}

fn resolve_party(chance: &mut Chance, file: &ScenarioFile, name: &str) -> PlannedParty {
    let party = file.topology.party.get(name).cloned().unwrap_or_default();
    let mut draw = Drawer { chance, owner: name.to_string() };
    let clock = resolve_clock(&mut draw, &party.clock);
    PlannedParty {
        name: name.to_string(),
        role: party.role,
        funds: draw.draw("funds", &party.funds).0,
        clock,
        versions: party.versions,
    }
}

fn resolve_clock(draw: &mut Drawer<'_>, clock: &Clock) -> PlannedClock {
    PlannedClock {
        skew: draw.draw("clock.skew", &clock.skew),
        drift_ppm: draw.draw("clock.drift_ppm", &clock.drift_ppm),
        step: clock.step.as_ref().map(|step| PlannedStep {
            at: draw.draw("clock.step.at", &step.at),
            by: draw.draw("clock.step.by", &step.by),
        }),
    }
}

fn resolve_channel(chance: &mut Chance, channel: &Channel) -> PlannedChannel {
    let mut draw = Drawer { chance, owner: channel.id.clone() };
    let mut deposit = |party: &String| match channel.deposits.get(party) {
        Some(deposit) => draw.draw(&format!("deposits.{party}"), deposit).0,
        None => Amount::ZERO,
    };
    PlannedChannel {
        id: channel.id.clone(),
        deposits: (deposit(&channel.parties.0), deposit(&channel.parties.1)),
        parties: channel.parties.clone(),
        challenge_duration: draw.seconds("challenge_duration", &channel.challenge_duration),
    }
}

fn resolve_virtual(chance: &mut Chance, channel: &Virtual) -> PlannedVirtual {
    let mut draw = Drawer { chance, owner: channel.id.clone() };
    PlannedVirtual {
        id: channel.id.clone(),
        parties: channel.parties.clone(),
        amount: draw.draw("amount", &channel.amount).0,
        challenge_duration: draw.seconds("challenge_duration", &channel.challenge_duration),
        ledger: channel.ledger.clone(),
    }
}

fn resolve_chain(chance: &mut Chance, chain: &Chain) -> PlannedChain {
    PlannedChain {
        backend: chain.backend,
        block_time: chain.block_time.clone(),
        confirmations: Drawer::of_run(chance).draw("chain.confirmations", &chain.confirmations).0,
        rpc_latency: chain.rpc_latency.clone(),
    }
}

fn resolve_network(chance: &mut Chance, network: &Network) -> PlannedNetwork {
    let mut draw = Drawer::of_run(chance);
    PlannedNetwork {
        latency: network.latency.clone(),
        loss: draw.draw("network.loss", &network.loss),
        duplicate: draw.draw("network.duplicate", &network.duplicate),
    }
}

fn resolve_op(chance: &mut Chance, file: &ScenarioFile, index: usize, op: &Op) -> PlannedOp {
    let id = Element::Op(index);
    let mut draw = Drawer { chance, owner: id.to_string() };
    let when = resolve_op_trigger(&mut draw, file, op);
    // The participant that stands first asks, unless the file says otherwise.
    let asks = |channel: &String, from: &Option<String>| {
        let first = || first_of(file, channel);
        from.clone().unwrap_or_else(first)
    };
    let what = match &op.what {
        OpKind::ChannelOpen(open) => {
            OpAction::Open { channel: open.id.clone(), from: asks(&open.id, &open.from) }
        }
        OpKind::VirtualOpen(open) => {
            OpAction::Open { channel: open.id.clone(), from: first_of(file, &open.id) }
        }
        OpKind::ChannelPay(pay) => OpAction::Pay {
            channel: pay.channel.clone(),
            from: pay.from.clone(),
            payments: resolve_payments(&mut draw, pay),
        },
        OpKind::ChannelClose(close) => OpAction::Close {
            channel: close.channel.clone(),
            from: asks(&close.channel, &close.from),
        },
        OpKind::ForceClose(close) => {
            OpAction::ForceClose { channel: close.channel.clone(), from: close.from.clone() }
        }
        OpKind::Restart(restart) => OpAction::Restart {
            party: restart.party.clone(),
            down: draw.draw("down", &restart.down),
            versions: restart.versions,
        },
    };
    PlannedOp { id, when, what }
}

fn resolve_op_trigger(draw: &mut Drawer<'_>, file: &ScenarioFile, op: &Op) -> OpTrigger {
    if let Some(at) = &op.at {
        return OpTrigger::At(draw.draw("at", at));
    }
    let step = op.when.as_ref().map(|when| resolve_when(draw, when));
    let delay = op.delay.as_ref().map_or(Nanos::ZERO, |delay| draw.draw("delay", delay));
    if let Some(FaultTrigger::On(step)) = step {
        return OpTrigger::On { step, delay };
    }
    let milestone = op.after.as_deref().and_then(|after| milestone(file, after));
    let milestone = milestone.expect("the check saw a time, an event or a milestone");
    OpTrigger::After { milestone, delay }
}

fn resolve_payments(draw: &mut Drawer<'_>, pay: &ChannelPay) -> Vec<Payment> {
    let Count(count) = draw.draw("count", &pay.count);
    let (amount, gap) = (draw.site("amount"), draw.site("gap"));
    let mut payments = Vec::new();
    for index in 0..count {
        payments.push(Payment {
            amount: pay.amount.draw(draw.chance, &amount).0,
            gap: if index == 0 { Nanos::ZERO } else { pay.gap.draw(draw.chance, &gap) },
        });
    }
    payments
}

/// The leader of a channel, or the payer of a virtual one.
fn first_of(file: &ScenarioFile, id: &str) -> String {
    let direct = file.topology.channels.iter().find(|channel| channel.id == id);
    let payer = || file.topology.virtuals.iter().find(|v| v.id == id)?.parties.first();
    let first = direct.map(|channel| &channel.parties.0).or_else(payer);
    first.expect("the check saw the channel").clone()
}

/// What `after = "…"` means; `None` when it means nothing.
pub(super) fn milestone(file: &ScenarioFile, after: &str) -> Option<Milestone> {
    let (name, what) = after.rsplit_once('.')?;
    let is_channel = file.topology.channels.iter().any(|channel| channel.id == name);
    let is_virtual = file.topology.virtuals.iter().any(|channel| channel.id == name);
    let op = file.op.iter().position(|op| op.id.as_deref() == Some(name));
    match (what, op) {
        ("open", _) if is_channel || is_virtual => Some(Milestone::ChannelOpen(name.to_string())),
        ("updated", _) if is_channel => Some(Milestone::ChannelUpdated(name.to_string())),
        ("paid", _) if is_virtual => Some(Milestone::VirtualPaid(name.to_string())),
        ("closed", _) if is_channel || is_virtual => {
            Some(Milestone::ChannelClosed(name.to_string()))
        }
        ("done", Some(index)) => Some(Milestone::Done(Element::Op(index))),
        _ => None,
    }
}

fn resolve_when(draw: &mut Drawer<'_>, when: &When) -> FaultTrigger {
    match (&when.at, &when.event, &when.of) {
        (Some(at), _, _) => FaultTrigger::At(draw.draw("when.at", at)),
        (None, Some(event), Some(of)) => FaultTrigger::On(LogStep {
            event: event.clone(),
            of: of.clone(),
            nth: when.nth.as_ref().map_or(1, |nth| draw.draw("when.nth", nth).0),
            side: when.side.unwrap_or(Side::AfterSync),
        }),
        (None, _, _) => unreachable!("the check saw a time, or an event with its party"),
    }
}

fn resolve_fault(draw: &mut Drawer<'_>, fault: &Fault) -> FaultAction {
    match &fault.what {
        FaultDo::Crash(crash) => resolve_crash(draw, party_of(fault), crash),
        FaultDo::Partition(partition) => {
            let link = link_of(fault).expect("the check saw a link");
            match partition {
                Partition::Both(both) => {
                    FaultAction::PartitionBoth { link, lasts: draw.draw("for", &both.lasts) }
                }
                Partition::OneWay(one_way) => {
                    FaultAction::PartitionOneWay { link, lasts: draw.draw("for", &one_way.lasts) }
                }
            }
        }
        FaultDo::Net(net) => resolve_net(draw, link_of(fault), net),
        FaultDo::Disk(disk) => resolve_disk(draw, party_of(fault), disk),
        FaultDo::Chain(chain) => resolve_chain_fault(draw, chain),
        FaultDo::Clock(ClockFault::Step(step)) => {
            FaultAction::Step { party: party_of(fault), by: draw.draw("by", &step.by) }
        }
        FaultDo::Clock(ClockFault::Freeze(freeze)) => {
            FaultAction::Freeze { party: party_of(fault), lasts: draw.draw("for", &freeze.lasts) }
        }
    }
}

fn party_of(fault: &Fault) -> String {
    match &fault.target {
        Some(Target::Party(party)) => party.clone(),
        Some(Target::Link(..)) | None => unreachable!("the check saw a party"),
    }
}

fn link_of(fault: &Fault) -> Option<Link> {
    match &fault.target {
        Some(Target::Link(first, second)) => Some((first.clone(), second.clone())),
        None => None,
        Some(Target::Party(_)) => unreachable!("the check saw a link or nothing"),
    }
}

fn resolve_crash(draw: &mut Drawer<'_>, party: String, crash: &Crash) -> FaultAction {
    match crash {
        Crash::PowerLoss(loss) => FaultAction::PowerLoss {
            party,
            unsynced: loss.unsynced,
            directory_entries: loss.directory_entries,
            down: draw.draw("down", &loss.down),
        },
        Crash::StaleImage(image) => FaultAction::StaleImage {
            party,
            age: draw.draw("age", &image.age),
            down: draw.draw("down", &image.down),
        },
    }
}

fn resolve_net(draw: &mut Drawer<'_>, link: Option<Link>, net: &Net) -> FaultAction {
    let mut often = |often: &Often| {
        (draw.draw("probability", &often.probability), draw.draw("for", &often.lasts))
    };
    match net {
        Net::Loss(net) => {
            let (probability, lasts) = often(net);
            FaultAction::Loss { link, probability, lasts }
        }
        Net::Duplicate(net) => {
            let (probability, lasts) = often(net);
            FaultAction::Duplicate { link, probability, lasts }
        }
        Net::CorruptFrame(net) => {
            let (probability, lasts) = often(net);
            FaultAction::CorruptFrame { link, probability, lasts }
        }
        Net::Reorder(net) => {
            let (probability, lasts) = often(net);
            FaultAction::Reorder { link, probability, lasts }
        }
        Net::Latency(Slow { latency, lasts }) => {
            FaultAction::Latency { link, latency: latency.clone(), lasts: draw.draw("for", lasts) }
        }
    }
}

fn resolve_disk(draw: &mut Drawer<'_>, party: String, disk: &DiskFault) -> FaultAction {
    match disk {
        DiskFault::FailedSync => FaultAction::FailedSync { party },
        DiskFault::Full(full) => FaultAction::Full { party, lasts: draw.draw("for", &full.lasts) },
        DiskFault::Slow(Slow { latency, lasts }) => {
            FaultAction::Slow { party, latency: latency.clone(), lasts: draw.draw("for", lasts) }
        }
        DiskFault::Rot(rot) => {
            FaultAction::Rot { party, target: rot.target, bytes: draw.draw("bytes", &rot.bytes) }
        }
        DiskFault::TornWrite(torn) => {
            FaultAction::TornWrite { party, down: draw.draw("down", &torn.down) }
        }
    }
}

fn resolve_chain_fault(draw: &mut Drawer<'_>, chain: &ChainFault) -> FaultAction {
    match chain {
        ChainFault::Reorg(reorg) => {
            FaultAction::Reorg { depth: draw.draw("depth", &reorg.depth), drop: reorg.drop }
        }
        ChainFault::RpcOutage(fault) => {
            FaultAction::RpcOutage { lasts: draw.draw("for", &fault.lasts) }
        }
        ChainFault::MissingLogs(fault) => {
            FaultAction::MissingLogs { lasts: draw.draw("for", &fault.lasts) }
        }
        ChainFault::MissingCalldata(fault) => {
            FaultAction::MissingCalldata { lasts: draw.draw("for", &fault.lasts) }
        }
        ChainFault::DuplicateLogs(fault) => {
            FaultAction::DuplicateLogs { lasts: draw.draw("for", &fault.lasts) }
        }
        ChainFault::StaleHead(fault) => FaultAction::StaleHead {
            blocks: draw.draw("blocks", &fault.blocks),
            lasts: draw.draw("for", &fault.lasts),
        },
        ChainFault::FeeSpike(fault) => {
            FaultAction::FeeSpike { lasts: draw.draw("for", &fault.lasts) }
        }
        ChainFault::DropTx(fault) => FaultAction::DropTx {
            probability: draw.draw("probability", &fault.probability),
            lasts: draw.draw("for", &fault.lasts),
        },
        ChainFault::RevertPayee(fault) => FaultAction::RevertPayee { party: fault.party.clone() },
        ChainFault::StrangerDeposit(fault) => FaultAction::StrangerDeposit {
            channel: fault.channel.clone(),
            amount: draw.draw("amount", &fault.amount).0,
        },
    }
}
