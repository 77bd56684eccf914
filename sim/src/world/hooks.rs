//! What an engine calls at each step of a driver, and at each frame.

use fairway_core::driver::{Driver, OpenError, Step};
use fairway_core::effect::Effect;
use fairway_core::input::{Input, Space};
use fairway_core::log::{FileRepair, FileWrite, Finding, SyncSet};
use fairway_core::machine::NodeState;
use fairway_core::types::Lsn;
use fairway_core::wire::Wire;

use super::party::events_written;
use super::{Act, Armed, Timer, World};
use crate::byzantine::Seen;
use crate::disk::DiskError;
use crate::observe::{Observed, PartyId};
use crate::scenario::Side;
use crate::scenario::{FaultTrigger, LogStep, OpTrigger};

impl World {
    /// Counts a step; says whether the process dies before taking it.
    pub fn step(&mut self, party: PartyId, step: &Step) -> bool {
        !matches!(step, Step::Wait { .. }) && self.count_step(party)
    }

    /// Counts a step that is taken; says whether the process dies before it.
    pub fn count_step(&mut self, party: PartyId) -> bool {
        self.steps += 1;
        self.steps_of[party.0] += 1;
        self.options.crash_at_step == Some((party, self.steps_of[party.0]))
    }

    /// The power failure of [`Options::crash_at_step`](super::Options::crash_at_step): what it leaves was chosen beforehand.
    pub fn lose_chosen_power(&mut self, id: PartyId) {
        let keeps = self.options.crash_keeps;
        if keeps == 0 {
            return self.lose_power(id, crate::scenario::Unsynced::None);
        }
        let disk = &mut self.parties[id.0].disk;
        let image = disk.crash_subset(keeps);
        disk.restore(&image);
    }

    /// Starts a party's node over its disk.
    ///
    /// # Errors
    /// The node refuses to start; the party stays down until somebody acts.
    pub fn start(&mut self, id: PartyId) -> Result<Driver, OpenError> {
        let party = &mut self.parties[id.0];
        party.incarnation += 1;
        party.account = None;
        party.told_of = Space::Plenty;
        match party.open(self.now) {
            Ok((driver, log)) => {
                party.up = true;
                party.stopped = None;
                let mended =
                    |f: &Finding| matches!(f, Finding::TornTail { .. } | Finding::Adopted { .. });
                if driver.findings().iter().any(mended) {
                    self.goals.reach("torn-tail-cut");
                }
                let party = &self.parties[id.0];
                let first = party.incarnation == 1;
                if !first && party.strategy.is_none() {
                    let may_have_forgotten = party.may_have_forgotten;
                    let recovered = fold(&log);
                    let seen = Observed::Restarted {
                        node: id,
                        log: &log,
                        state: &recovered,
                        may_have_forgotten,
                    };
                    self.observe(&seen);
                }
                if self.parties[id.0].strategy.is_none() {
                    self.open_account(id);
                }
                self.reconnect(id);
                self.hold_reserve(id);
                Ok(driver)
            }
            Err(error) => {
                self.stopped(id, &error.to_string());
                Err(error)
            }
        }
    }

    /// Occupies the space that defence may need, and tells the node when there is none.
    pub(super) fn hold_reserve(&mut self, id: PartyId) {
        let party = &mut self.parties[id.0];
        let holds = party.disk.hold_reserve(party.config.reserve_bytes);
        let space = if holds { Space::Plenty } else { Space::Scarce };
        if party.up && party.told_of != space {
            party.told_of = space;
            let incarnation = party.incarnation;
            self.act(Act::Input { party: id, incarnation, input: Input::Space(space) });
        }
    }

    fn reconnect(&mut self, id: PartyId) {
        for other in 0..self.parties.len() {
            if other != id.0 && self.parties[other].up {
                self.act(Act::Reconnect(id, PartyId(other)));
            }
        }
    }

    /// A node refuses to go on for good reason.
    pub fn stopped(&mut self, id: PartyId, why: &str) {
        self.parties[id.0].up = false;
        self.parties[id.0].stopped = Some(why.to_string());
        if self.parties[id.0].strategy.is_none() {
            self.observe(&Observed::Stopped { node: id, why });
        }
    }

    /// The process is gone: its ports are dead before anything of it is dropped.
    pub fn kill(&mut self, id: PartyId) {
        if !self.parties[id.0].up {
            return;
        }
        self.parties[id.0].up = false;
        self.parties[id.0].incarnation += 1;
        self.armed.retain(|(_, party, _)| *party != id);
        self.forget_seen(id);
        self.parties[id.0].rested = Default::default();
        self.act(Act::Kill(id));
        if self.parties[id.0].strategy.is_none() {
            self.observe(&Observed::Crashed { node: id });
        }
    }

    /// A disk operation failed: the node stops at once, and its supervisor starts it again a little later.
    pub fn disk_failed(&mut self, id: PartyId, error: &DiskError) {
        self.goals.reach("fail-stop");
        if matches!(error, DiskError::Full { .. }) && self.parties[id.0].disk.release_reserve() > 0
        {
            self.goals.reach("disk-reserve-released");
        }
        self.kill(id);
        self.after(RESTART_NS, Timer::Start(id));
    }

    /// Starts a party again after its supervisor's pause.
    pub fn start_later(&mut self, id: PartyId) {
        self.after(RESTART_NS, Timer::Start(id));
    }

    /// Mends the files at the start.
    ///
    /// # Errors
    /// The disk's own; the engine calls [`World::disk_failed`].
    pub fn repair(&mut self, id: PartyId, repair: &FileRepair) -> Result<(), DiskError> {
        self.parties[id.0].disk.repair(std::slice::from_ref(repair))
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// The disk's own.
    pub fn append(&mut self, id: PartyId, writes: &[FileWrite]) -> Result<(), DiskError> {
        let disk = &mut self.parties[id.0].disk;
        let done = writes.iter().try_for_each(|write| disk.write(write));
        let Some((first, events)) = events_written(writes) else {
            panic!("{} wrote a batch that does not read back", self.parties[id.0].name);
        };
        let is_watched = self.parties[id.0].strategy.is_none();
        if is_watched {
            // Of a batch that failed half-way one copy may be whole: after the restart it is there, as one that was never synced may be.
            self.observe(&Observed::Appended { node: id, first, events: &events });
        }
        done?;
        self.parties[id.0].written = Lsn(first.0 + events.len() as u64 - 1);
        if !is_watched {
            return Ok(());
        }
        for (_, event) in &events {
            let count = self.parties[id.0].appended.entry(event.name()).or_default();
            *count += 1;
            let (name, count) = (event.name(), *count);
            self.arm(id, name, count);
        }
        self.strike_armed(id, Side::BeforeSync);
        Ok(())
    }

    /// Makes a batch durable.
    ///
    /// # Errors
    /// The disk's own.
    pub fn sync(&mut self, id: PartyId, files: &SyncSet) -> Result<(), DiskError> {
        self.parties[id.0].disk.sync_set(files)?;
        let (now, end) = (self.now, self.parties[id.0].written);
        let party = &mut self.parties[id.0];
        if let Some(images) = &mut party.images {
            images.push((now, party.disk.snapshot()));
        }
        if self.parties[id.0].strategy.is_none() {
            self.observe(&Observed::Synced { node: id, end });
            self.strike_armed(id, Side::AfterSync);
            self.strike_armed(id, Side::BeforeSend);
        }
        Ok(())
    }

    /// Lets an effect out: through the adversary where the party is one.
    pub fn release(&mut self, id: PartyId, effect: Effect) {
        let social = matches!(effect, Effect::Send { .. } | Effect::Submit { .. });
        if !social || self.parties[id.0].strategy.is_none() {
            return self.let_out(id, effect);
        }
        self.adversary(id, &Seen::Wish(&effect));
    }

    /// Calls a party's strategy; what it releases leaves. Says whether the inner node is kept in the dark.
    fn adversary(&mut self, id: PartyId, seen: &Seen<'_>) -> bool {
        let Some(mut strategy) = self.parties[id.0].strategy.take() else { return false };
        let me = self.parties[id.0].key.address();
        let now = self.parties[id.0].clock.read(self.now);
        let name = self.parties[id.0].name.clone();
        let World { chance, sites, cabal, memo, .. } = self;
        let mut choice = World::disk_choice(chance, &mut sites.disk, id, &name);
        let acts = crate::byzantine::act(&mut *strategy, now, me, seen, cabal, memo, &mut choice);
        drop(choice);
        self.goals.adversary(seen, &acts);
        self.parties[id.0].strategy = Some(strategy);
        for effect in acts.release {
            self.let_out(id, effect);
        }
        acts.hide_from_inner
    }

    pub(super) fn let_adversary_see_block(&mut self, id: PartyId) {
        if self.parties[id.0].strategy.is_none() {
            return;
        }
        let head = self.chain.head().number;
        if let Some(block) = self.chain.block_at(head).cloned() {
            self.adversary(id, &Seen::Block(&block));
            self.adversary(id, &Seen::Timer);
        }
    }

    fn let_out(&mut self, id: PartyId, effect: Effect) {
        match effect {
            Effect::Send { peer, bytes } => {
                let Some(to) = self.party_at(peer) else { return };
                let wire = Wire::decode(&bytes).ok();
                self.observe(&Observed::Sent { node: id, to, wire: wire.as_ref(), bytes: &bytes });
                self.act(Act::Carry { from: id, to, bytes });
                self.strike_armed(id, Side::AfterSend);
            }
            Effect::Submit { wish, call, urgency, at_stake } => {
                self.submit(id, wish, call, urgency, at_stake);
            }
            Effect::Withdraw { wish } => self.withdraw(id, &wish),
            Effect::FetchBlocks { from } => {
                self.goals.fetch(id, from);
                let incarnation = self.parties[id.0].incarnation;
                let delay = self.rpc_latency(id);
                self.after(delay, Timer::Fetch { party: id, incarnation, from });
            }
            Effect::Reply { request, reply } => {
                if let Err(refusal) = &reply {
                    self.observe(&Observed::Refused { node: id, refusal });
                }
                self.replied(request, &reply);
            }
            // What an adversary's inner node tells its user is worth as much as what it writes to its log: nothing of it is observed.
            Effect::Notify(notice) if self.parties[id.0].strategy.is_none() => {
                self.observe(&Observed::Notified { node: id, notice: &notice })
            }
            Effect::Notify(_) => {}
            Effect::Connect { .. } => {}
        }
    }

    /// A node is about to take an input: where it is news of a session, everybody who watches sees it.
    pub fn session(&mut self, node: PartyId, input: &Input) {
        let (peer, version) = match input {
            Input::PeerUp { peer, version } => (*peer, Some(*version)),
            Input::PeerDown { peer } => (*peer, None),
            _ => return,
        };
        if let Some(peer) = self.party_at(peer) {
            self.observe(&Observed::Session { node, peer, version });
        }
    }

    /// The network swallowed a message.
    pub fn message_lost(&mut self) {
        self.goals.reach("message-lost");
    }

    /// A frame arrived at a running party. Says whether its node gets to see it.
    pub fn deliver(&mut self, to: PartyId, from: PartyId, bytes: &[u8]) -> bool {
        let wire = Wire::decode(bytes).ok();
        self.observe(&Observed::Delivered { node: to, from, wire: wire.as_ref() });
        if self.parties[to.0].strategy.is_none() {
            return true;
        }
        let from = self.parties[from.0].key.address();
        match &wire {
            Some(wire) => !self.adversary(to, &Seen::Message { from, wire }),
            None => true,
        }
    }

    /// A node has nothing to do. Seen once for every change: most rests follow an input that changed nothing.
    pub fn rested(&mut self, id: PartyId, driver: &Driver) {
        let state = driver.node().state();
        let refused = driver.node().dropped().values().sum();
        let rested = (state.lsn(), driver.durable(), refused);
        if std::mem::replace(&mut self.parties[id.0].rested, rested) == rested {
            return;
        }
        if self.parties[id.0].strategy.is_none() {
            let durable = driver.durable();
            self.observe(&Observed::Rested { node: id, state, durable, refused });
        }
        self.take_note(id, state);
    }

    fn arm(&mut self, id: PartyId, name: &str, count: u64) {
        let of = &self.plan.parties[id.0].name;
        let comes = |step: &LogStep| step.event == name && step.nth == count && step.of == *of;
        for (i, op) in self.plan.ops.iter().enumerate() {
            if let OpTrigger::On { step, .. } = &op.when
                && !self.healed
                && comes(step)
            {
                self.armed.push((Armed::Op(i), id, step.side));
            }
        }
        for (i, fault) in self.plan.faults.iter().enumerate() {
            if let FaultTrigger::On(step) = &fault.when
                && self.waiting[i]
                && comes(step)
            {
                self.armed.push((Armed::Fault(i), id, step.side));
            }
        }
    }

    fn strike_armed(&mut self, id: PartyId, side: Side) {
        while let Some(at) = self.armed.iter().position(|(_, p, s)| *p == id && *s == side) {
            match self.armed.remove(at).0 {
                Armed::Op(op) => self.event_came(op),
                Armed::Fault(fault) => self.strike(fault),
            }
        }
    }
}

/// The state that a log folds to.
pub fn fold(log: &[(fairway_core::types::Timestamp, fairway_core::event::Event)]) -> NodeState {
    let mut state = NodeState::default();
    for (at, event) in log {
        state.apply(*at, event.clone());
    }
    state
}

/// How long a supervisor waits before it starts a failed process again.
const RESTART_NS: u64 = 2_000_000_000;
