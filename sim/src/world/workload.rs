//! The users: they ask for what the scenario says, wait for milestones, and ask again when nobody answered.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::channel::Phase;
use fairway_core::effect::{Accepted, Refusal};
use fairway_core::event::{Terms, VirtualTerms};
use fairway_core::input::{Command, Input, RequestId};
use fairway_core::machine::NodeState;
use fairway_core::types::{Address, ChannelId, TurnNum};
use fairway_core::virtual_channel::VirtualChannel;

use super::{Act, PAYMENT_APP, Timer, World};
use crate::chance::{Chance, Site};
use crate::observe::PartyId;
use crate::scenario::{Element, Milestone, OpAction, OpTrigger, Plan};

/// How long a user waits for an answer before asking again.
const RETRY_NS: u64 = 5_000_000_000;

/// What users have asked for and what they have seen.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    nonces: BTreeMap<String, u64>,
    channels: BTreeMap<String, ChannelId>,
    reached: BTreeSet<Milestone>,
    /// Operations that wait for a milestone.
    waiting: Vec<usize>,
    pending: BTreeMap<u64, Pending>,
    requests: u64,
    begun: BTreeSet<usize>,
    unfinished: BTreeSet<usize>,
    payments_left: BTreeMap<usize, usize>,
    /// Last state seen of each party: whether it has nothing left to do, and its channels' phases.
    seen: BTreeMap<usize, Seen>,
}

#[derive(Clone, Debug)]
struct Pending {
    op: usize,
    party: PartyId,
    command: Command,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    lsn: u64,
    quiet: bool,
    phases: BTreeMap<ChannelId, (Phase, Option<TurnNum>)>,
}

impl Workload {
    /// Nothing asked yet; nonces are drawn.
    pub fn new(plan: &Plan, chance: &mut Chance) -> Workload {
        let nonce = |id: &String, chance: &mut Chance| {
            chance.choice(&Site::new("workload.nonce").of(id), u64::MAX)
        };
        let ids = plan.channels.iter().map(|c| &c.id).chain(plan.virtuals.iter().map(|v| &v.id));
        Workload {
            nonces: ids.map(|id| (id.clone(), nonce(id, chance))).collect(),
            unfinished: (0..plan.ops.len()).collect(),
            ..Workload::default()
        }
    }

    /// The id of a channel by its name in the scenario.
    pub fn channel(&self, name: &str) -> Option<ChannelId> {
        self.channels.get(name).copied()
    }

    /// Whether the operation at this place of the plan has begun.
    pub(super) fn has_begun(&self, op: usize) -> bool {
        self.begun.contains(&op)
    }

    fn finish(&mut self, op: usize, id: Element) {
        self.unfinished.remove(&op);
        self.reached.insert(Milestone::Done(id));
    }
}

impl World {
    pub(super) fn schedule_workload(&mut self) {
        let channels: Vec<(String, ChannelId)> = self
            .plan
            .channels
            .iter()
            .filter_map(|c| {
                let terms = self.terms(&c.id)?;
                Some((
                    c.id.clone(),
                    terms.fixed_part(self.parties[0].pins.consensus_app).channel_id(),
                ))
            })
            .collect();
        self.workload.channels.extend(channels);
        let virtuals = self.plan.virtuals.iter().filter_map(|v| {
            let id = self.virtual_terms(&v.id)?.fixed_part(PAYMENT_APP).channel_id();
            Some((v.id.clone(), id))
        });
        let virtuals: Vec<(String, ChannelId)> = virtuals.collect();
        self.workload.channels.extend(virtuals);
        for op in 0..self.plan.ops.len() {
            match &self.plan.ops[op].when {
                OpTrigger::At(at) => self.at(at.0, Timer::Op(op)),
                OpTrigger::After { .. } | OpTrigger::On { .. } => self.workload.waiting.push(op),
            }
        }
    }

    fn terms(&self, channel: &str) -> Option<Terms> {
        let planned = self.plan.channel(channel)?;
        let address = |name: &str| {
            let id = self.party_named(name)?;
            Some(self.parties[id.0].key.address())
        };
        Some(Terms {
            participants: [address(&planned.parties.0)?, address(&planned.parties.1)?],
            nonce: *self.workload.nonces.get(channel)?,
            challenge_duration: u32::try_from(planned.challenge_duration.0 / 1_000_000_000).ok()?,
            asset: Address::ZERO,
            deposits: [planned.deposits.0, planned.deposits.1],
        })
    }

    fn virtual_terms(&self, channel: &str) -> Option<VirtualTerms> {
        let planned = self.plan.virtual_channel(channel)?;
        let address = |name: &String| {
            let id = self.party_named(name)?;
            Some(self.parties[id.0].key.address())
        };
        Some(VirtualTerms {
            participants: planned.parties.iter().map(address).collect::<Option<_>>()?,
            nonce: *self.workload.nonces.get(channel)?,
            challenge_duration: u32::try_from(planned.challenge_duration.0 / 1_000_000_000).ok()?,
            asset: Address::ZERO,
            amount: planned.amount,
        })
    }

    /// What opens a channel of either kind.
    fn opening(&self, channel: &str) -> Option<Command> {
        let Some(planned) = self.plan.virtual_channel(channel) else {
            return self.terms(channel).map(Command::Open);
        };
        let ledger = planned.ledger.as_ref().and_then(|name| self.workload.channel(name));
        Some(Command::OpenVirtual { terms: self.virtual_terms(channel)?, ledger })
    }

    pub(super) fn begin_op(&mut self, op: usize) {
        if self.healed && !self.workload.unfinished.contains(&op) {
            return;
        }
        self.workload.begun.insert(op);
        let action = self.plan.ops[op].what.clone();
        let channel = |name: &str| self.workload.channel(name);
        let (from, command) = match &action {
            OpAction::Open { channel, from } => (from, self.opening(channel)),
            OpAction::Close { channel: c, from } => {
                (from, channel(c).map(|channel| Command::Close { channel }))
            }
            OpAction::ForceClose { channel: c, from } => {
                (from, channel(c).map(|channel| Command::ForceClose { channel }))
            }
            OpAction::Pay { payments, .. } => {
                self.workload.payments_left.insert(op, payments.len());
                return self.after(0, Timer::Pay { op, nth: 0 });
            }
            OpAction::Restart { party, down, versions } => {
                return self.restart(op, &party.clone(), down.0, *versions);
            }
        };
        if let (Some(party), Some(command)) = (self.party_named(from), command) {
            self.ask(op, party, command);
        }
    }

    pub(super) fn begin_payment(&mut self, op: usize, nth: usize) {
        let OpAction::Pay { channel, from, payments } = &self.plan.ops[op].what else { return };
        let (Some(payment), Some(party), Some(channel)) =
            (payments.get(nth).copied(), self.party_named(from), self.workload.channel(channel))
        else {
            let id = self.plan.ops[op].id;
            return self.workload.finish(op, id);
        };
        let next = payments.get(nth + 1).map(|p| p.gap.0);
        self.ask(op, party, Command::Pay { channel, amount: payment.amount });
        if let Some(gap) = next {
            self.after(gap, Timer::Pay { op, nth: nth + 1 });
        }
    }

    fn restart(&mut self, op: usize, party: &str, down: u64, versions: Option<(u16, u16)>) {
        let id = self.plan.ops[op].id;
        self.workload.finish(op, id);
        self.milestones();
        let Some(party) = self.party_named(party) else { return };
        let up = self.parties[party.0].up;
        if up {
            self.kill(party);
            self.after(down, Timer::Start(party));
        }
        // Where its machine is down already, its next start is one with the other software.
        if versions.is_some() {
            self.parties[party.0].config.wire_versions = super::party::spoken(versions);
        }
    }

    fn ask(&mut self, op: usize, party: PartyId, command: Command) {
        self.workload.requests += 1;
        let request = self.workload.requests;
        self.workload.pending.insert(request, Pending { op, party, command });
        self.send(request);
    }

    fn send(&mut self, request: u64) {
        let Some(Pending { party, command, .. }) = self.workload.pending.get(&request).cloned()
        else {
            return;
        };
        self.after(RETRY_NS, Timer::Retry { request });
        if self.parties[party.0].up {
            let incarnation = self.parties[party.0].incarnation;
            let input = Input::Command { request: RequestId(request), command };
            self.act(Act::Input { party, incarnation, input });
        }
    }

    /// Nobody answered: the node was down, or died before its answer. Everything but a payment may simply be asked again.
    pub(super) fn retry(&mut self, request: u64) {
        let Some(pending) = self.workload.pending.get(&request) else { return };
        let gone = self.parties[pending.party.0].stopped.is_some();
        if gone
            || matches!(pending.command, Command::Pay { .. }) && self.parties[pending.party.0].up
        {
            let op = pending.op;
            self.workload.pending.remove(&request);
            return self.answered(op);
        }
        self.send(request);
    }

    /// A node answered its user.
    pub(super) fn replied(&mut self, request: RequestId, reply: &Result<Accepted, Refusal>) {
        let Some(pending) = self.workload.pending.get(&request.0) else { return };
        // A channel that is not open yet or still guarantees another one, or a node in recovery, is worth another try later.
        let later = matches!(
            reply,
            Err(Refusal::NotOpen(_)
                | Refusal::Guarantees(_)
                | Refusal::Recovering
                | Refusal::DiskFull
                | Refusal::UnknownChannel(_))
        ) && !self.healed
            && !self.channel_is_ending(&pending.command);
        if later {
            return;
        }
        let op = pending.op;
        self.workload.pending.remove(&request.0);
        self.answered(op);
    }

    fn channel_is_ending(&self, command: &Command) -> bool {
        let channel = match command {
            Command::Pay { channel, .. }
            | Command::Close { channel }
            | Command::ForceClose { channel } => *channel,
            Command::Open(_) | Command::OpenVirtual { .. } => return false,
        };
        self.workload
            .seen
            .values()
            .any(|s| s.phases.get(&channel).is_some_and(|p| p.0 > Phase::Open))
    }

    fn answered(&mut self, op: usize) {
        if let Some(left) = self.workload.payments_left.get_mut(&op) {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return;
            }
        }
        let id = self.plan.ops[op].id;
        self.workload.finish(op, id);
        self.milestones();
    }

    /// Takes note of what a resting node believes.
    pub(super) fn take_note(&mut self, party: PartyId, state: &NodeState) {
        let seen = self.workload.seen.entry(party.0).or_default();
        if seen.lsn == state.lsn().0 {
            return;
        }
        seen.lsn = state.lsn().0;
        let at_rest = |c: &fairway_core::channel::Channel| {
            c.phase == Phase::Finished
                || c.phase == Phase::Open && c.updates.is_empty() && !c.has_unanswered_signature()
        };
        seen.quiet = state.live_objectives() == 0
            && state.wishes().is_empty()
            && state.recovery().is_none()
            && state.channels().all(at_rest);
        for channel in state.channels() {
            seen.phases.insert(channel.id, (channel.phase, channel.supported_turn()));
        }
        let resting = |v: &VirtualChannel| matches!(v.phase, Phase::Open | Phase::Finished);
        seen.quiet &= state.virtual_channels().all(resting);
        for channel in state.virtual_channels() {
            // Paid counts as beyond the postfund, as an update of a direct channel does.
            let paid = channel.is_payee() && channel.voucher.is_some();
            let turn = if paid { TurnNum::REDEMPTION } else { TurnNum::POSTFUND };
            seen.phases.insert(channel.id, (channel.phase, Some(turn)));
        }
        self.milestones();
    }

    /// Starts what has waited for milestones that are now reached.
    fn milestones(&mut self) {
        if self.workload.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.workload.waiting);
        for op in waiting {
            match self.plan.ops[op].when.clone() {
                OpTrigger::After { milestone, delay } if self.is_reached(&milestone) => {
                    self.after(delay.0, Timer::Op(op));
                }
                OpTrigger::After { .. } | OpTrigger::On { .. } => self.workload.waiting.push(op),
                OpTrigger::At(_) => {}
            }
        }
    }

    /// The event came that this operation has waited for.
    pub(super) fn event_came(&mut self, op: usize) {
        let OpTrigger::On { delay, .. } = self.plan.ops[op].when else { return };
        self.workload.waiting.retain(|waiting| *waiting != op);
        self.after(delay.0, Timer::Op(op));
    }

    pub(super) fn is_reached(&mut self, milestone: &Milestone) -> bool {
        if self.workload.reached.contains(milestone) {
            return true;
        }
        let reached = match milestone {
            Milestone::ChannelOpen(c) => self.all_honest(c, |phase, _| phase >= Phase::Open),
            Milestone::ChannelClosed(c) => self.all_honest(c, |phase, _| phase == Phase::Finished),
            Milestone::ChannelUpdated(c) | Milestone::VirtualPaid(c) => {
                let channel = self.workload.channel(c);
                self.workload.seen.values().any(|s| {
                    channel
                        .and_then(|c| s.phases.get(&c))
                        .is_some_and(|p| p.1 > Some(TurnNum::POSTFUND))
                })
            }
            Milestone::Done(_) => false,
        };
        if reached {
            self.workload.reached.insert(milestone.clone());
        }
        reached
    }

    fn all_honest(&self, channel: &str, holds: impl Fn(Phase, Option<TurnNum>) -> bool) -> bool {
        let direct = self.plan.channel(channel).map(|c| vec![&c.parties.0, &c.parties.1]);
        let of_virtual = || Some(self.plan.virtual_channel(channel)?.parties.iter().collect());
        let parties: Option<Vec<&String>> = direct.or_else(of_virtual);
        let (Some(parties), Some(id)) = (parties, self.workload.channel(channel)) else {
            return false;
        };
        parties.into_iter().filter_map(|n| self.party_named(n)).all(|p| {
            self.parties[p.0].strategy.is_some()
                || self
                    .workload
                    .seen
                    .get(&p.0)
                    .and_then(|s| s.phases.get(&id))
                    .is_some_and(|(a, b)| holds(*a, *b))
        })
    }

    /// Whether users want nothing more: everything asked was answered, and nothing waits that can still begin.
    pub(super) fn workload_is_done(&self) -> bool {
        self.workload.pending.is_empty()
            && self.workload.unfinished.iter().all(|op| self.workload.waiting.contains(op))
    }

    /// Whether every honest node that runs has said, since it started, that it has nothing left to do.
    pub(super) fn nodes_are_quiet(&self) -> bool {
        self.parties
            .iter()
            .filter(|p| p.strategy.is_none() && p.stopped.is_none())
            .all(|p| p.up && self.workload.seen.get(&p.id.0).is_some_and(|s| s.quiet))
    }

    /// A party died: what it believed is not known any more.
    pub(super) fn forget_seen(&mut self, party: PartyId) {
        if let Some(seen) = self.workload.seen.get_mut(&party.0) {
            seen.quiet = false;
            seen.lsn = u64::MAX;
        }
    }
}
