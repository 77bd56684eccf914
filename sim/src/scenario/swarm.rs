//! `[swarm]`: topology, workload and faults that the seed alone decides.
//!
//! A swarm draws a whole scenario, in the terms of the language, and that is resolved as any other: what shrinks, explains and replays a
//! written scenario does the same with a drawn one. Which families of faults there are at all is drawn first (Groce et al., *Swarm
//! testing*, 2012): every fault a little on in every run would hide what only many of one kind bring about.
//!
//! What is drawn stays within the fault budget (`docs/src/explanation/fault-model.md`): no party is away for as long as a challenge,
//! the chain turns back no deeper than its confirmations, at least one party is honest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ScenarioFile;
use super::dist::Dist;
use super::engine::{Family, FaultKind};
use super::fault::*;
use super::op::*;
use super::topology::{Channel, Party, Role, Strategy, Topology, Virtual};
use super::unit::{Blocks, Count, Money, Nanos, Ppm, Shift};
use crate::chance::{Chance, Site};

/// How much of everything, and how likely. With `parties` everything is drawn; without, the file writes topology and operations, and the
/// swarm adds faults alone.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swarm {
    /// Who takes part: 2 to 6.
    pub parties: Option<Dist<Count>>,
    /// Channels beyond those that connect everybody, none by default; two parties may share several.
    pub more_channels: Option<Dist<Count>>,
    /// Virtual channels, none by default, each over a path of channels that are there.
    pub virtuals: Option<Dist<Count>>,
    /// Payments in each channel, direct and virtual: one by default.
    pub payments: Option<Dist<Count>>,
    /// Probability for each party that it is an adversary with a strategy that is drawn; the first party never is.
    #[serde(default)]
    pub adversaries: Ppm,
    /// Families of faults that there may be.
    #[serde(default)]
    pub families: Vec<Family>,
    /// How likely each of them is in a run: half by default. All in every run is what swarms are better than.
    #[serde(default = "half")]
    pub each_family: Ppm,
    /// Faults of each family that is there.
    #[serde(default = "few")]
    pub faults: Dist<Count>,
}

fn few() -> Dist<Count> {
    Dist::Uniform(Count(1), Count(4))
}

fn half() -> Ppm {
    Ppm(crate::chance::PPM_ONE / 2)
}

/// Most parties: so many names there are.
pub(super) const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// What a swarm may draw, by family. Left out is what has stories of its own: rot and a stale image, which change what may be
/// demanded, and deposits of strangers, which a participant does not see before it knows of the channel (a known limit).
const KINDS: &[FaultKind] = &[
    FaultKind::PowerLoss,
    FaultKind::PartitionBoth,
    FaultKind::PartitionOneWay,
    FaultKind::Loss,
    FaultKind::Duplicate,
    FaultKind::Latency,
    FaultKind::CorruptFrame,
    FaultKind::FailedSync,
    FaultKind::Full,
    FaultKind::Slow,
    FaultKind::TornWrite,
    FaultKind::Reorg,
    FaultKind::RpcOutage,
    FaultKind::MissingLogs,
    FaultKind::DuplicateLogs,
    FaultKind::StaleHead,
    FaultKind::FeeSpike,
    FaultKind::DropTx,
    FaultKind::Step,
    FaultKind::Freeze,
];

impl Swarm {
    /// What some run of it may see.
    pub(super) fn kinds(&self) -> impl Iterator<Item = FaultKind> + '_ {
        KINDS.iter().copied().filter(|kind| self.families.contains(&kind.family()))
    }

    /// The scenario of one seed: `around` with what this swarm adds. Drawn faults stand behind the written ones.
    pub(super) fn draw(&self, around: &ScenarioFile, chance: &mut Chance) -> ScenarioFile {
        let mut draw = Draw { chance, swarm: self, chaos: around.phases.chaos };
        let mut drawn = ScenarioFile { swarm: None, ..around.clone() };
        if let Some(parties) = &self.parties {
            drawn.topology = draw.topology(&around.topology, parties);
            drawn.op = draw.ops(&drawn.topology);
        }
        drawn.fault.extend(draw.faults(&drawn.topology));
        drawn
    }
}

/// Draws for one run. Every draw has a site of its own, so that a tape entry changes one thing.
struct Draw<'a> {
    chance: &'a mut Chance,
    swarm: &'a Swarm,
    chaos: Nanos,
}

impl Draw<'_> {
    fn count(&mut self, key: &str, dist: &Dist<Count>) -> usize {
        let drawn = dist.draw(self.chance, &Site::new(format!("swarm.{key}"))).0;
        usize::try_from(drawn).unwrap_or(usize::MAX)
    }

    /// Below `n`, which is above zero.
    fn below(&mut self, key: &str, of: impl std::fmt::Display, n: usize) -> usize {
        let site = Site::new(format!("swarm.{key}")).of(of);
        usize::try_from(self.chance.choice(&site, n as u64)).unwrap_or(0)
    }

    fn percent(&mut self, key: &str, of: impl std::fmt::Display, percent: u32) -> bool {
        let site = Site::new(format!("swarm.{key}")).of(of);
        self.chance.chance_ppm(&site, percent * 10_000)
    }

    /// How many of what is there by default not at all.
    fn some(&mut self, key: &str, dist: &Option<Dist<Count>>) -> usize {
        dist.as_ref().map_or(0, |dist| self.count(key, dist))
    }

    fn topology(&mut self, around: &Topology, parties: &Dist<Count>) -> Topology {
        let count = self.count("parties", parties).clamp(2, NAMES.len());
        let parties: Vec<String> = NAMES[..count].iter().map(|n| n.to_string()).collect();
        let mut party: BTreeMap<String, Party> = BTreeMap::new();
        for name in &parties[1..] {
            let site = Site::new("swarm.adversary").of(name);
            if self.chance.chance_ppm(&site, self.swarm.adversaries.0) {
                let role = Role::Byzantine(Strategy::Mixed);
                party.insert(name.clone(), Party { role, ..Party::default() });
            }
        }
        let channels = self.channels(&parties);
        let virtuals = self.virtuals(&parties, &channels);
        Topology { parties, party, channels, virtuals, ..around.clone() }
    }

    /// Everybody is connected with somebody before, and some with more.
    fn channels(&mut self, parties: &[String]) -> Vec<Channel> {
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for i in 1..parties.len() {
            pairs.push((self.below("joins", i, i), i));
        }
        for extra in 0..self.some("more_channels", &self.swarm.more_channels).min(MORE_MAX) {
            let a = self.below("more.left", extra, parties.len());
            let b = self.below("more.right", extra, parties.len() - 1);
            pairs.push((a, if b >= a { b + 1 } else { b }));
        }
        let channel = |(index, (a, b)): (usize, (usize, usize))| {
            let turned = self.percent("turned", index, 50);
            let (a, b) = if turned { (b, a) } else { (a, b) };
            let parties = (parties[a].clone(), parties[b].clone());
            let mut deposit = |side| Dist::Is(Money(ether(1 + self.below(side, index, 6) as u64)));
            let deposits = BTreeMap::from([
                (parties.0.clone(), deposit("deposit.first")),
                (parties.1.clone(), deposit("deposit.second")),
            ]);
            let id = format!("L{}", index + 1);
            Channel { id, parties, deposits, challenge_duration: Dist::Is(CHALLENGE) }
        };
        pairs.into_iter().enumerate().map(channel).collect()
    }

    /// Each starts somewhere and walks on while it can and likes to.
    fn virtuals(&mut self, parties: &[String], channels: &[Channel]) -> Vec<Virtual> {
        let mut virtuals = Vec::new();
        for index in 0..self.some("virtuals", &self.swarm.virtuals).min(VIRTUALS_MAX) {
            let start = self.below("virtual.payer", index, parties.len());
            let mut path = vec![parties[start].clone()];
            while path.len() < 5 && (path.len() < 3 || self.percent("virtual.on", index, 40)) {
                let at = path.last().expect("a path has its start");
                let mut next: Vec<&String> = channels.iter().filter_map(|c| other(c, at)).collect();
                next.retain(|name| !path.contains(name));
                if next.is_empty() {
                    break;
                }
                let step =
                    self.below("virtual.step", format!("{index}.{}", path.len()), next.len());
                path.push(next[step].clone());
            }
            if path.len() >= 2 {
                let id = format!("V{}", virtuals.len() + 1);
                let gwei_max = self.below("virtual.amount", index, 900_000_000) as u64;
                let amount = Dist::Is(Money(gwei(1 + gwei_max)));
                let (challenge_duration, ledger) = (Dist::Is(CHALLENGE), None);
                virtuals.push(Virtual { id, parties: path, amount, challenge_duration, ledger });
            }
        }
        virtuals
    }

    fn ops(&mut self, topology: &Topology) -> Vec<Op> {
        let mut ops = Vec::new();
        for channel in &topology.channels {
            let open = ChannelOpen { id: channel.id.clone(), from: None };
            ops.push(at(Dist::Uniform(Nanos::ZERO, Nanos::secs(5)), OpKind::ChannelOpen(open)));
        }
        for channel in &topology.virtuals {
            let open = OpKind::VirtualOpen(VirtualOpen { id: channel.id.clone() });
            // The command is given again until the ledger channels on the way are open.
            ops.push(at(Dist::Uniform(Nanos::secs(6), Nanos::secs(20)), open));
        }
        for channel in &topology.channels {
            let (first, second) = &channel.parties;
            let from = if self.percent("pays", &channel.id, 50) { first } else { second };
            self.life(&mut ops, &channel.id, from, first, 30);
        }
        for channel in &topology.virtuals {
            let payer = &channel.parties[0];
            self.life(&mut ops, &channel.id, payer, payer, 70);
        }
        for name in &topology.parties {
            if self.percent("restarts", name, 15) {
                let restart = Restart {
                    party: name.clone(),
                    down: Dist::Uniform(Nanos::secs(1), Nanos::secs(15)),
                    versions: None,
                };
                ops.push(at(Dist::Uniform(Nanos::ZERO, self.chaos), OpKind::Restart(restart)));
            }
        }
        ops
    }

    /// Payments, and perhaps an end: in agreement in `closes` of a hundred, else rarely by force.
    fn life(&mut self, ops: &mut Vec<Op>, id: &str, payer: &str, closer: &str, closes: u32) {
        let pays = format!("{id}-pays");
        let count = self.swarm.payments.clone().unwrap_or(Dist::Is(Count(1)));
        let amount = Dist::Uniform(Money(gwei(0).saturating_add(wei())), Money(gwei(1_000)));
        let gap = Dist::Exp { mean: Nanos::millis(300), min: Nanos::ZERO };
        let (channel, from) = (id.to_string(), payer.to_string());
        let pay = OpKind::ChannelPay(ChannelPay { channel, from, amount, count, gap });
        ops.push(Op { id: Some(pays.clone()), ..after(format!("{id}.open"), pay) });
        let (channel, from) = (id.to_string(), closer.to_string());
        if self.percent("closes", id, closes) {
            let close = ChannelClose { channel, from: Some(from) };
            ops.push(after(format!("{pays}.done"), OpKind::ChannelClose(close)));
        } else if self.percent("forces", id, 20) {
            let close = OpKind::ForceClose(ForceClose { channel, from });
            ops.push(at(Dist::Uniform(Nanos::secs(20), self.chaos), close));
        }
    }

    fn faults(&mut self, topology: &Topology) -> Vec<Fault> {
        let mut faults = Vec::new();
        for family in &self.swarm.families {
            let site = Site::new("swarm.family").of(family.name());
            if !self.chance.chance_ppm(&site, self.swarm.each_family.0) {
                continue;
            }
            let kinds: Vec<FaultKind> =
                KINDS.iter().copied().filter(|k| k.family() == *family).collect();
            for _ in 0..self.count(&format!("faults.{}", family.name()), &self.swarm.faults) {
                let index = faults.len();
                let kind = kinds[self.below("fault.kind", index, kinds.len())];
                faults.push(self.fault(topology, index, kind));
            }
        }
        faults
    }

    fn fault(&mut self, topology: &Topology, index: usize, kind: FaultKind) -> Fault {
        let channel =
            &topology.channels[self.below("fault.channel", index, topology.channels.len())];
        let party = &topology.parties[self.below("fault.party", index, topology.parties.len())];
        let link = Target::Link(channel.parties.0.clone(), channel.parties.1.clone());
        let target = match kind.family() {
            Family::Crash | Family::Disk | Family::Clock => Some(Target::Party(party.clone())),
            Family::Partition => Some(link),
            Family::Net => self.percent("fault.one-link", index, 50).then_some(link),
            Family::Chain => None,
        };
        let when = self.when(index, kind, party);
        let what = what(kind, channel);
        Fault { _family: (), target, probability: Ppm(crate::chance::PPM_ONE), when, what }
    }

    /// A crash or a failing disk at a step of the protocol as often as at a time: that is where it hurts.
    fn when(&mut self, index: usize, kind: FaultKind, party: &str) -> When {
        let steps = matches!(kind.family(), Family::Crash | Family::Disk);
        if !steps || self.percent("fault.at", index, 40) {
            let late = Nanos(self.chaos.0.saturating_sub(Nanos::secs(20).0));
            let at = Some(Dist::Uniform(Nanos::ZERO, late));
            return When { at, event: None, of: None, nth: None, side: None };
        }
        let event = STEPS[self.below("fault.event", index, STEPS.len())];
        let sides = [Side::BeforeSync, Side::AfterSync, Side::BeforeSend, Side::AfterSend];
        When {
            at: None,
            event: Some(event.to_string()),
            of: Some(party.to_string()),
            nth: Some(Dist::Uniform(Count(1), Count(12))),
            side: Some(sides[self.below("fault.side", index, sides.len())]),
        }
    }
}

/// A fault of this kind, as strong as the budget allows.
fn what(kind: FaultKind, channel: &Channel) -> FaultDo {
    let secs = |a, b| Dist::Uniform(Nanos::secs(a), Nanos::secs(b));
    let lasts = || For { lasts: secs(1, 15) };
    let often =
        || Often { probability: Dist::Uniform(Ppm(10_000), Ppm(400_000)), lasts: secs(1, 30) };
    match kind {
        FaultKind::PowerLoss | FaultKind::StaleImage => {
            FaultDo::Crash(Crash::PowerLoss(PowerLoss {
                unsynced: Unsynced::AnySubset,
                directory_entries: Unsynced::AnySubset,
                down: secs(1, 15),
            }))
        }
        FaultKind::PartitionBoth => FaultDo::Partition(Partition::Both(lasts())),
        FaultKind::PartitionOneWay => FaultDo::Partition(Partition::OneWay(lasts())),
        FaultKind::Loss => FaultDo::Net(Net::Loss(often())),
        FaultKind::Duplicate => FaultDo::Net(Net::Duplicate(often())),
        FaultKind::Latency => FaultDo::Net(Net::Latency(Slow {
            latency: Dist::Uniform(Nanos::millis(100), Nanos::secs(3)),
            lasts: secs(1, 20),
        })),
        FaultKind::CorruptFrame => FaultDo::Net(Net::CorruptFrame(often())),
        FaultKind::Reorder => FaultDo::Net(Net::Reorder(often())),
        FaultKind::FailedSync | FaultKind::Rot => FaultDo::Disk(DiskFault::FailedSync),
        FaultKind::Full => FaultDo::Disk(DiskFault::Full(For { lasts: secs(1, 90) })),
        FaultKind::Slow => FaultDo::Disk(DiskFault::Slow(Slow {
            latency: Dist::Exp { mean: Nanos::millis(100), min: Nanos::millis(10) },
            lasts: secs(1, 20),
        })),
        FaultKind::TornWrite => {
            FaultDo::Disk(DiskFault::TornWrite(TornWrite { down: secs(1, 15) }))
        }
        FaultKind::Reorg => FaultDo::Chain(ChainFault::Reorg(Reorg {
            depth: Dist::Uniform(Blocks(1), Blocks(3)),
            drop: Dropped::Some,
        })),
        FaultKind::RpcOutage => FaultDo::Chain(ChainFault::RpcOutage(lasts())),
        FaultKind::MissingLogs | FaultKind::MissingCalldata => {
            FaultDo::Chain(ChainFault::MissingLogs(lasts()))
        }
        FaultKind::DuplicateLogs => FaultDo::Chain(ChainFault::DuplicateLogs(lasts())),
        FaultKind::StaleHead => FaultDo::Chain(ChainFault::StaleHead(StaleHead {
            blocks: Dist::Uniform(Blocks(1), Blocks(8)),
            lasts: secs(1, 15),
        })),
        FaultKind::FeeSpike => FaultDo::Chain(ChainFault::FeeSpike(lasts())),
        FaultKind::DropTx => {
            FaultDo::Chain(ChainFault::DropTx(Often { lasts: secs(1, 10), ..often() }))
        }
        FaultKind::RevertPayee | FaultKind::StrangerDeposit => {
            FaultDo::Chain(ChainFault::StrangerDeposit(StrangerDeposit {
                channel: channel.id.clone(),
                amount: Dist::Uniform(Money(wei()), Money(ether(1))),
            }))
        }
        FaultKind::Step => FaultDo::Clock(ClockFault::Step(Step {
            by: Dist::Uniform(Shift(-5_000_000_000), Shift(5_000_000_000)),
        })),
        FaultKind::Freeze => FaultDo::Clock(ClockFault::Freeze(For { lasts: secs(1, 10) })),
    }
}

fn other<'a>(channel: &'a Channel, than: &str) -> Option<&'a String> {
    let (first, second) = &channel.parties;
    if first == than {
        return Some(second);
    }
    (second == than).then_some(first)
}

fn at(at: Dist<Nanos>, what: OpKind) -> Op {
    Op { id: None, at: Some(at), after: None, when: None, delay: None, what, _args: () }
}

fn after(milestone: String, what: OpKind) -> Op {
    let delay = Some(Dist::Uniform(Nanos::ZERO, Nanos::secs(10)));
    Op { id: None, at: None, after: Some(milestone), when: None, delay, what, _args: () }
}

fn ether(n: u64) -> fairway_core::types::Amount {
    fairway_core::types::Amount::ether(n)
}

fn gwei(n: u64) -> fairway_core::types::Amount {
    fairway_core::types::Amount::wei(n.saturating_mul(1_000_000_000))
}

fn wei() -> fairway_core::types::Amount {
    fairway_core::types::Amount::wei(1)
}

/// Challenges of every channel, longer than anything that keeps a party away.
const CHALLENGE: Nanos = Nanos::secs(60);
const MORE_MAX: usize = 4;
const VIRTUALS_MAX: usize = 6;

/// Events at which a process or its disk fails.
const STEPS: &[&str] = &[
    "ObjectiveApproved",
    "StateSigned",
    "StateReceived",
    "DepositWanted",
    "TxWanted",
    "VirtualApproved",
    "VoucherSigned",
    "VoucherReceived",
    "ObjectiveCompleted",
    "MessageAcked",
];
