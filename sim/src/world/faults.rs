//! Faults of a plan: when they strike, what they do, and how they end.

use fairway_core::input::Input;
use fairway_core::log::{FileName, Slot};
use fairway_core::nitro::Call;
use fairway_core::types::{Address, ChainTime, Timestamp};

use super::chain::{
    Endpoint, EndpointFaults, Failure, Fate, LogFault, MempoolFaults, ORDINARY_FEE, ReorgPolicy,
    SPIKE_FEE, TxId,
};
use super::network::{Rule, Trouble};
use super::{EPOCH_MS, Lift, STRANGER, Timer, World};
use crate::chance::Site;
use crate::disk;
use crate::observe::{Observed, PartyId};
use crate::scenario::{Dropped, RotTarget, Unsynced};
use crate::scenario::{FaultAction, FaultTrigger, Link};

impl World {
    pub(super) fn schedule_faults(&mut self) {
        for fault in 0..self.plan.faults.len() {
            if let FaultTrigger::At(at) = self.plan.faults[fault].when {
                self.at(at.0, Timer::Strike(fault));
            }
        }
    }

    /// A fault strikes, once, and not after the end of chaos.
    pub(super) fn strike(&mut self, fault: usize) {
        if self.healed || !std::mem::replace(&mut self.waiting[fault], false) {
            return;
        }
        let planned = self.plan.faults[fault].clone();
        *self.fired.entry(planned.what.kind()).or_default() += 1;
        let party = planned.what.party().and_then(|name| self.party_named(name));
        self.meetings.struck(planned.what.kind(), party);
        let what = self.plan.describe_element(planned.id).unwrap_or_default();
        self.observe(&Observed::Fault { id: fault, what: &what });
        self.do_fault(&planned.what);
    }

    fn do_fault(&mut self, what: &FaultAction) {
        match what {
            FaultAction::PowerLoss { party, unsynced, down, .. } => {
                self.power_loss(party, *unsynced, down.0);
            }
            FaultAction::TornWrite { party, down } => {
                self.power_loss(party, Unsynced::Prefix, down.0);
            }
            FaultAction::StaleImage { party, age, down } => self.stale_image(party, age.0, down.0),
            FaultAction::PartitionBoth { link, lasts } => {
                self.trouble(Some(link), Trouble::Cut, lasts.0);
                self.trouble(Some(&(link.1.clone(), link.0.clone())), Trouble::Cut, lasts.0);
            }
            FaultAction::PartitionOneWay { link, lasts } => {
                self.trouble(Some(link), Trouble::Cut, lasts.0);
            }
            FaultAction::Loss { link, probability, lasts } => {
                self.trouble(link.as_ref(), Trouble::Loss(*probability), lasts.0);
            }
            FaultAction::Duplicate { link, probability, lasts } => {
                self.trouble(link.as_ref(), Trouble::Duplicate(*probability), lasts.0);
            }
            FaultAction::Latency { link, latency, lasts } => {
                self.trouble(link.as_ref(), Trouble::Late(latency.clone()), lasts.0);
            }
            FaultAction::CorruptFrame { link, probability, lasts } => {
                self.trouble(link.as_ref(), Trouble::Corrupt(*probability), lasts.0);
            }
            FaultAction::Reorder { link, probability, lasts } => {
                self.trouble(link.as_ref(), Trouble::Reorder(*probability), lasts.0);
            }
            FaultAction::FailedSync { party } => {
                self.with_party(party, |w, p| w.parties[p.0].disk.fail_next_sync());
            }
            FaultAction::Full { party, lasts } => self.with_party(party, |w, p| {
                w.parties[p.0].disk.set_free_bytes(Some(0));
                w.last(lasts.0, Lift::DiskFull(p));
            }),
            FaultAction::Slow { party, lasts, .. } => self.with_party(party, |w, p| {
                w.parties[p.0].sync_slow_until = w.now.saturating_add(lasts.0);
            }),
            FaultAction::Rot { party, target, bytes } => {
                self.with_party(party, |w, p| w.rot(p, *target, bytes.0));
            }
            FaultAction::Step { party, by } => {
                self.with_party(party, |w, p| w.parties[p.0].clock.step(by.0));
                if by.0 < 0 {
                    self.goals.reach("clock-went-back");
                }
            }
            FaultAction::Freeze { party, lasts } => self.with_party(party, |w, p| {
                let until = w.now.saturating_add(lasts.0);
                let now = w.now;
                w.parties[p.0].clock.freeze(now, until);
            }),
            FaultAction::Reorg { .. }
            | FaultAction::RpcOutage { .. }
            | FaultAction::MissingLogs { .. }
            | FaultAction::MissingCalldata { .. }
            | FaultAction::DuplicateLogs { .. }
            | FaultAction::StaleHead { .. }
            | FaultAction::FeeSpike { .. }
            | FaultAction::DropTx { .. }
            | FaultAction::RevertPayee { .. }
            | FaultAction::StrangerDeposit { .. } => self.do_chain_fault(what),
        }
    }

    fn do_chain_fault(&mut self, what: &FaultAction) {
        match what {
            FaultAction::Reorg { depth, drop } => self.reorg(depth.0, *drop),
            FaultAction::RpcOutage { lasts } => {
                self.endpoints(
                    EndpointFaults { outage: true, ..EndpointFaults::default() },
                    lasts.0,
                );
            }
            FaultAction::MissingLogs { lasts } => {
                let logs = LogFault::Withheld;
                self.endpoints(EndpointFaults { logs, ..EndpointFaults::default() }, lasts.0);
            }
            FaultAction::MissingCalldata { lasts } => {
                let logs = LogFault::WithoutCalldata;
                self.endpoints(EndpointFaults { logs, ..EndpointFaults::default() }, lasts.0);
            }
            FaultAction::DuplicateLogs { lasts } => {
                let logs = LogFault::Duplicated;
                self.endpoints(EndpointFaults { logs, ..EndpointFaults::default() }, lasts.0);
            }
            FaultAction::StaleHead { blocks, lasts } => {
                let stale_blocks = blocks.0;
                self.endpoints(
                    EndpointFaults { stale_blocks, ..EndpointFaults::default() },
                    lasts.0,
                );
            }
            FaultAction::FeeSpike { lasts } => {
                self.chain.set_base_fee(SPIKE_FEE);
                self.last(lasts.0, Lift::Fee);
            }
            FaultAction::DropTx { probability, lasts } => {
                let drop_permille = u64::from(probability.0 / 1_000);
                self.chain.set_mempool(MempoolFaults { drop_permille, ..MempoolFaults::default() });
                self.last(lasts.0, Lift::Mempool);
            }
            FaultAction::RevertPayee { party } => self.with_party(party, |w, p| {
                let who = w.parties[p.0].key.address();
                w.chain.refuse_payments(who);
            }),
            FaultAction::StrangerDeposit { channel, amount } => {
                let Some(channel) = self.channel_named(channel) else { return };
                let held = self.chain.holdings(channel);
                let call = Call::Deposit {
                    asset: Address::ZERO,
                    channel,
                    expected_held: held,
                    amount: *amount,
                };
                let at = Timestamp(EPOCH_MS + self.now / 1_000_000);
                self.chain.submit(at, STRANGER, call);
            }
            _ => {}
        }
    }

    fn with_party(&mut self, name: &str, act: impl FnOnce(&mut World, PartyId)) {
        if let Some(party) = self.party_named(name) {
            act(self, party);
        }
    }

    fn trouble(&mut self, link: Option<&Link>, what: Trouble, lasts: u64) {
        let ends = link.and_then(|(a, b)| Some((self.party_named(a)?, self.party_named(b)?)));
        let until = self.now.saturating_add(lasts);
        let cut = matches!(what, Trouble::Cut);
        self.network.trouble(Rule { link: ends, until, what });
        if let (true, Some((a, b))) = (cut, ends) {
            self.last(lasts, Lift::Link(a, b));
        }
    }

    fn disk_has_room(&mut self, id: PartyId) {
        self.parties[id.0].disk.set_free_bytes(None);
        self.hold_reserve(id);
    }

    fn last(&mut self, lasts: u64, lift: Lift) {
        self.lasting += 1;
        self.after(lasts, Timer::Lift(lift));
    }

    pub(super) fn lift(&mut self, lift: Lift) {
        self.lasting = self.lasting.saturating_sub(1);
        match lift {
            Lift::DiskFull(party) => self.disk_has_room(party),
            Lift::Endpoints => self.heal_endpoints(),
            Lift::Mempool => self.chain.set_mempool(MempoolFaults::default()),
            Lift::Fee => self.chain.set_base_fee(ORDINARY_FEE),
            Lift::Link(a, b) => {
                if self.parties[a.0].up && self.parties[b.0].up {
                    self.act(super::Act::Reconnect(a, b));
                }
            }
        }
    }

    fn endpoints(&mut self, faults: EndpointFaults, lasts: u64) {
        for i in 0..self.parties.len() {
            let endpoint = self.parties[i].endpoint;
            self.chain.set_faults(endpoint, faults);
        }
        self.last(lasts, Lift::Endpoints);
    }

    fn heal_endpoints(&mut self) {
        for i in 0..self.parties.len() {
            let endpoint: Endpoint = self.parties[i].endpoint;
            self.chain.heal(endpoint);
        }
    }

    fn power_loss(&mut self, name: &str, unsynced: Unsynced, down: u64) {
        let Some(id) = self.party_named(name) else { return };
        if !self.parties[id.0].up {
            return;
        }
        self.kill(id);
        self.lose_power(id, unsynced);
        self.after(down, Timer::Start(id));
    }

    /// What was not synced is lost, as the fault says.
    pub fn lose_power(&mut self, id: PartyId, unsynced: Unsynced) {
        let unsynced = match unsynced {
            Unsynced::AnySubset => disk::Unsynced::AnySubset,
            Unsynced::None => disk::Unsynced::Nothing,
            Unsynced::All => disk::Unsynced::Everything,
            Unsynced::Prefix => disk::Unsynced::Prefix,
        };
        let name = self.parties[id.0].name.clone();
        let World { chance, sites, parties, .. } = self;
        let mut choose = World::disk_choice(chance, &mut sites.disk, id, &name);
        parties[id.0].disk.crash(unsynced, &mut choose);
    }

    fn stale_image(&mut self, name: &str, age: u64, down: u64) {
        let Some(id) = self.party_named(name) else { return };
        self.kill(id);
        let then = self.now.saturating_sub(age);
        let party = &mut self.parties[id.0];
        let images = party.images.take().unwrap_or_default();
        let image = images.iter().rev().find(|(at, _)| *at <= then).or(images.first());
        if let Some((_, image)) = image {
            party.disk.restore(image);
            party.may_have_forgotten = true;
        }
        party.images = Some(images);
        self.after(down, Timer::Start(id));
    }

    fn rot(&mut self, id: PartyId, target: RotTarget, bytes: u64) {
        let name = self.parties[id.0].name.clone();
        let World { chance, sites, parties, .. } = self;
        let mut choose = World::disk_choice(chance, &mut sites.disk, id, &name);
        let disk = &mut parties[id.0].disk;
        let of_target = |file: &FileName| match target {
            RotTarget::Segment => matches!(file, FileName::Segment(_)),
            RotTarget::Mirror => *file == FileName::Mirror(Slot::Zero),
        };
        let files: Vec<(FileName, u64)> =
            disk.lengths().filter(|(f, len)| of_target(f) && *len > 0).collect();
        let Some((file, length)) = files.last().copied() else { return };
        for _ in 0..bytes {
            let offset = choose("disk.rot.offset", length);
            let bit = choose("disk.rot.bit", 8);
            disk.rot(file, offset, 1 << bit);
        }
    }

    fn reorg(&mut self, depth: u64, drop: Dropped) {
        let depth = depth.min(self.chain.reorg_depth_max());
        if depth == 0 {
            return;
        }
        let policy = match drop {
            Dropped::All => ReorgPolicy::Drop,
            Dropped::Some => ReorgPolicy::Drawn,
            Dropped::None => ReorgPolicy::Reorder,
        };
        let now: ChainTime = self.chain_now();
        let World { chance, sites, chain, memo, .. } = self;
        let mut choice = |what: &'static str, n: u64| {
            let site = sites.chain.entry(what).or_insert_with(|| Site::new(what));
            chance.choice(site, n)
        };
        if chain.reorg(depth, policy, now, memo, &mut choice).is_ok() {
            self.after_block(depth);
        }
    }

    /// A transaction is on its way; its sender is told if it reverts.
    pub(super) fn submitted(&mut self, party: PartyId, tx: TxId) {
        if !self.in_flight.contains(&(party, tx)) {
            self.in_flight.push((party, tx));
        }
    }

    /// Tells senders whose transactions reverted in the last block.
    pub(super) fn tell_reverts(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        for (party, tx) in in_flight {
            match self.chain.receipt(tx) {
                Some(Fate::Included { result: Err(failure), .. }) => {
                    let reason = match failure {
                        Failure::Reverted(revert) => revert.to_string(),
                        other => other.to_string(),
                    };
                    let call = self.chain.submission(tx).map(|s| Call::clone(&s.call));
                    let incarnation = self.parties[party.0].incarnation;
                    if let Some(call) = call {
                        let input = Input::TxReverted { call, reason };
                        let delay = self.rpc_latency(party);
                        self.after(delay, Timer::Feed { party, incarnation, input });
                    }
                }
                Some(Fate::Pending) => self.in_flight.push((party, tx)),
                Some(Fate::Included { .. } | Fate::Dropped) | None => {}
            }
        }
    }

    /// All faults end; from here on liveness is judged.
    pub(super) fn heal(&mut self) {
        if std::mem::replace(&mut self.healed, true) {
            return;
        }
        self.armed.clear();
        self.network.heal();
        self.chain.heal_all();
        for i in 0..self.parties.len() {
            self.disk_has_room(PartyId(i));
            let address = self.parties[i].key.address();
            self.chain.accept_payments(address);
            self.parties[i].sync_slow_until = 0;
            let now = self.now;
            self.parties[i].clock.freeze(now, now);
            for j in 0..i {
                if self.parties[i].up && self.parties[j].up {
                    self.act(super::Act::Reconnect(PartyId(i), PartyId(j)));
                }
            }
        }
        self.observe(&Observed::Healed);
        self.schedule_promises();
    }

    /// Whether nothing more can go wrong: every fault at a fixed time has struck, and none still lasts.
    fn faults_are_over(&self) -> bool {
        let timed = |i: &usize| matches!(self.plan.faults[*i].when, FaultTrigger::At(_));
        self.lasting == 0 && !(0..self.plan.faults.len()).filter(timed).any(|i| self.waiting[i])
    }

    /// Ends the run once there is nothing left to happen.
    pub(super) fn end_if_settled(&mut self) {
        if self.is_over()
            || !self.workload_is_done()
            || !self.nodes_are_quiet()
            || !self.faults_are_over()
        {
            return;
        }
        if !self.healed {
            self.heal();
        }
        self.settled = true;
        self.ended = true;
    }

    /// Time is up.
    pub(super) fn end_unsettled(&mut self) {
        self.ended = true;
    }

    /// Shows the end to everything that watches. The engine calls it once, with the nodes that run.
    pub fn conclude(&mut self, nodes: &[(PartyId, &fairway_core::machine::NodeState)]) {
        if self.violation.is_some() {
            return;
        }
        self.goals_at_the_end();
        self.judge_promises();
        if self.violation.is_some() {
            return;
        }
        let honest: Vec<_> =
            nodes.iter().filter(|(id, _)| self.parties[id.0].strategy.is_none()).copied().collect();
        let World { now, options, trace, recorder, watch, violation, chain, .. } = self;
        let seen = Observed::Ended { nodes: &honest, chain };
        super::show(
            *now,
            &seen,
            options.gather.as_ref(),
            trace,
            recorder.as_mut(),
            watch,
            violation,
        );
        self.note_violation();
    }
}
