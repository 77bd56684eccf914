//! The reference engine: an event heap over virtual nanoseconds that executes the drivers' steps itself.
//!
//! No executor, no sockets: frames are carried as they are, between sessions that are taken as authenticated. It executes the
//! same steps that the pump executes on tokio, so what it tests is the shipped order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use fairway_core::driver::{Done, Driver, Step};
use fairway_core::input::{Input, verify};
use fairway_core::types::Timestamp;

use super::{RunReport, Verdict, report};
use crate::chance::Chance;
use crate::exhaust::Point;
use crate::observe::PartyId;
use crate::scenario::Plan;
use crate::world::{Act, Options, World};

/// One run on the event heap.
pub struct Reference {
    world: World,
    nodes: Vec<Slot>,
    heap: BinaryHeap<Reverse<(u64, u64, Wrapped)>>,
    /// Pairs whose session a damaged frame ended and that have not connected again.
    broken: BTreeSet<(PartyId, PartyId)>,
    sequence: u64,
    /// What a power loss could leave before each step, when it is asked for.
    points: Vec<Point>,
}

/// A party's process.
#[derive(Default)]
struct Slot {
    driver: Option<Driver>,
    inbox: VecDeque<Input>,
    /// The driver waits for its disk.
    on_disk: bool,
    /// When it asked to be woken, and which of its wishes to be woken counts.
    wake: u64,
}

/// Events carry their place in the heap in the tuple around them; they themselves have no order.
struct Wrapped(Event);

impl PartialEq for Wrapped {
    fn eq(&self, _: &Wrapped) -> bool {
        true
    }
}
impl Eq for Wrapped {}
impl PartialOrd for Wrapped {
    fn partial_cmp(&self, other: &Wrapped) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Wrapped {
    fn cmp(&self, _: &Wrapped) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

enum Event {
    /// A frame arrives.
    Frame { from: PartyId, to: PartyId, bytes: Vec<u8> },
    /// Both ends of a session notice that it is up.
    Session(PartyId, PartyId),
    /// Both ends of a session notice that it broke.
    Broken(PartyId, PartyId),
    /// A sync has taken its time.
    Synced { party: PartyId, incarnation: u64, files: fairway_core::log::SyncSet },
    /// A node's deadline.
    Wake { party: PartyId, incarnation: u64, wake: u64 },
}

/// Runs a plan to its end.
pub fn run(plan: Plan, chance: Chance, options: Options) -> (RunReport, World) {
    let mut engine = Reference::new(plan, chance, options);
    let verdict = engine.run();
    (report(&engine.world, verdict), engine.world)
}

/// As [`run`], and what a power loss could leave before each driver step of an honest party, in the order of the run.
pub fn survey(plan: Plan, chance: Chance, options: Options) -> (RunReport, Vec<Point>) {
    let mut engine = Reference::new(plan, chance, Options { survey: true, ..options });
    let verdict = engine.run();
    (report(&engine.world, verdict), engine.points)
}

impl Reference {
    /// The run before its first step.
    pub fn new(plan: Plan, chance: Chance, options: Options) -> Reference {
        let nodes = plan.parties.iter().map(|_| Slot::default()).collect();
        let world = World::new(plan, chance, options);
        let (heap, broken) = (BinaryHeap::new(), BTreeSet::new());
        Reference { world, nodes, heap, broken, sequence: 0, points: Vec::new() }
    }

    fn run(&mut self) -> Option<Verdict> {
        while !self.world.is_over() {
            let timer = self.world.next_timer().unwrap_or(u64::MAX);
            let event = self.heap.peek().map_or(u64::MAX, |Reverse((at, _, _))| *at);
            if timer <= event {
                self.world.fire(timer);
            } else if let Some(Reverse((at, _, Wrapped(event)))) = self.heap.pop() {
                self.world.fire(at);
                self.handle(event);
            }
            self.acts();
            if self.world.steps > self.world.options().steps_max {
                return Some(Verdict::Budget(self.world.steps));
            }
        }
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| Some((PartyId(i), slot.driver.as_ref()?.node().state())))
            .collect();
        self.world.conclude(&nodes);
        None
    }

    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, Wrapped(event))));
    }

    /// Does what the world asks for, and what follows from it.
    fn acts(&mut self) {
        while let Some(act) = self.world.next_act() {
            if self.world.is_over() {
                return;
            }
            match act {
                Act::Start(party) => self.start(party),
                Act::Kill(party) => self.nodes[party.0] = Slot::default(),
                Act::Input { party, incarnation, input } => {
                    if self.world.parties[party.0].incarnation == incarnation {
                        self.feed(party, input);
                    }
                }
                Act::Carry { from, to, bytes } => self.carry(from, to, bytes),
                Act::Reconnect(a, b) => {
                    let World { network, chance, now, .. } = &mut self.world;
                    let delay = network.latency(*now, a, b, chance);
                    let at = self.world.now.saturating_add(delay);
                    self.push(at, Event::Session(a, b));
                }
            }
        }
    }

    fn start(&mut self, party: PartyId) {
        if self.world.parties[party.0].up {
            return;
        }
        self.nodes[party.0] = Slot::default();
        if let Ok(driver) = self.world.start(party) {
            self.nodes[party.0].driver = Some(driver);
            self.advance(party);
        }
    }

    fn carry(&mut self, from: PartyId, to: PartyId, bytes: Vec<u8>) {
        // Without a common wire version there is no session to carry anything.
        if self.world.agreed(from, to).is_none() || self.broken.contains(&pair(from, to)) {
            return self.world.message_lost();
        }
        let World { network, chance, now, .. } = &mut self.world;
        let (now, passage) = (*now, network.pass(*now, from, to, chance));
        if passage.damaged {
            self.push(now, Event::Broken(from, to));
        }
        if passage.arrives_after.is_empty() {
            self.world.message_lost();
        }
        for delay in passage.arrives_after {
            let at = now.saturating_add(delay);
            self.push(at, Event::Frame { from, to, bytes: bytes.clone() });
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Frame { from, to, bytes } => self.deliver(from, to, bytes),
            Event::Session(a, b) => {
                self.broken.remove(&pair(a, b));
                let now = self.world.now;
                let cut =
                    self.world.network.is_cut(now, a, b) || self.world.network.is_cut(now, b, a);
                let Some(version) = self.world.agreed(a, b).filter(|_| !cut) else { return };
                for (this, other) in [(a, b), (b, a)] {
                    let peer = self.world.parties[other.0].key.address();
                    if self.world.parties[other.0].up {
                        self.feed(this, Input::PeerUp { peer, version });
                    }
                }
            }
            // A session ends once, however many of its frames arrive damaged, and one attempt to connect again follows.
            Event::Broken(a, b) if self.broken.insert(pair(a, b)) => {
                for (this, other) in [(a, b), (b, a)] {
                    let peer = self.world.parties[other.0].key.address();
                    self.feed(this, Input::PeerDown { peer });
                }
                let World { network, chance, now, .. } = &mut self.world;
                let at = now.saturating_add(network.latency(*now, a, b, chance) + RECONNECT_NS);
                self.push(at, Event::Session(a, b));
            }
            Event::Broken(..) => {}
            Event::Synced { party, incarnation, files } => {
                if self.world.parties[party.0].incarnation == incarnation {
                    self.synced(party, &files);
                }
            }
            Event::Wake { party, incarnation, wake } => {
                let current = self.world.parties[party.0].incarnation == incarnation;
                if current && self.nodes[party.0].wake == wake && !self.nodes[party.0].on_disk {
                    self.feed(party, Input::Tick);
                }
            }
        }
    }

    fn deliver(&mut self, from: PartyId, to: PartyId, bytes: Vec<u8>) {
        if !self.world.parties[to.0].up {
            return;
        }
        let heard = self.world.deliver(to, from, &bytes);
        if heard && self.world.parties[to.0].up {
            let peer = self.world.parties[from.0].key.address();
            self.feed(to, Input::Frame { peer, bytes });
        }
    }

    /// Hands a node an input; it is taken as soon as the node has nothing else to do.
    fn feed(&mut self, party: PartyId, input: Input) {
        let slot = &mut self.nodes[party.0];
        if slot.driver.is_none() {
            return;
        }
        slot.inbox.push_back(input);
        if !slot.on_disk {
            self.advance(party);
        }
    }

    fn clock(&self, party: PartyId) -> Timestamp {
        self.world.parties[party.0].clock.read(self.world.now)
    }

    /// Executes a driver's steps until it waits: for its disk, for an input, or for a moment.
    fn advance(&mut self, party: PartyId) {
        loop {
            let now = self.clock(party);
            let slot = &mut self.nodes[party.0];
            let Some(driver) = &mut slot.driver else { return };
            let spent = self.world.steps > self.world.options().steps_max;
            if slot.on_disk || self.world.is_over() || spent {
                return;
            }
            let step = driver.next(now);
            if self.world.step(party, &step) {
                self.world.kill(party);
                self.world.lose_chosen_power(party);
                self.world.start_later(party);
                return;
            }
            if self.world.options().survey && !matches!(step, Step::Wait { .. }) {
                let of = &self.world.parties[party.0];
                if of.strategy.is_none() {
                    self.points.push(Point::at(of, self.world.steps_of[party.0]));
                }
            }
            match step {
                Step::Repair(repair) => match self.world.repair(party, &repair) {
                    Ok(()) => driver.done(Done::Repaired),
                    Err(error) => return self.world.disk_failed(party, &error),
                },
                Step::Append(writes) => {
                    if let Err(error) = self.world.append(party, &writes) {
                        return self.world.disk_failed(party, &error);
                    }
                    driver.done(Done::Appended);
                }
                Step::Sync(files) => {
                    slot.on_disk = true;
                    let at = self.world.now.saturating_add(self.world.sync_latency(party));
                    let incarnation = self.world.parties[party.0].incarnation;
                    return self.push(at, Event::Synced { party, incarnation, files });
                }
                Step::Release(effect) => self.world.release(party, effect),
                Step::Wait { until } => {
                    if !self.take_inputs(party) {
                        return self.rest(party, until);
                    }
                }
            }
            // A fault may have struck at this very step.
            if !self.world.parties[party.0].up {
                return;
            }
        }
    }

    /// Gives the node everything that has arrived; it shares one sync.
    fn take_inputs(&mut self, party: PartyId) -> bool {
        let now = self.clock(party);
        let slot = &mut self.nodes[party.0];
        let Some(driver) = &mut slot.driver else { return false };
        let any = !slot.inbox.is_empty();
        for input in slot.inbox.drain(..) {
            self.world.session(party, &input);
            driver.input(now, verify(input, &mut self.world.memo));
        }
        any
    }

    fn rest(&mut self, party: PartyId, until: Option<Timestamp>) {
        let now = self.clock(party);
        let slot = &mut self.nodes[party.0];
        slot.wake += 1;
        let wake = slot.wake;
        if let Some(driver) = &slot.driver {
            self.world.rested(party, driver);
        }
        if let Some(until) = until {
            let incarnation = self.world.parties[party.0].incarnation;
            // At least a millisecond: a frozen clock never gets there.
            let at =
                self.world.now.saturating_add(until.since_ms(now).max(1).saturating_mul(1_000_000));
            self.push(at, Event::Wake { party, incarnation, wake });
        }
    }

    fn synced(&mut self, party: PartyId, files: &fairway_core::log::SyncSet) {
        let slot = &mut self.nodes[party.0];
        slot.on_disk = false;
        if let Err(error) = self.world.sync(party, files) {
            return self.world.disk_failed(party, &error);
        }
        if !self.world.parties[party.0].up {
            return;
        }
        if let Some(driver) = &mut self.nodes[party.0].driver {
            driver.done(Done::Synced);
        }
        self.advance(party);
    }
}

/// Two parties, whichever way round.
fn pair(a: PartyId, b: PartyId) -> (PartyId, PartyId) {
    (a.min(b), a.max(b))
}

/// How long a broken session stays away.
const RECONNECT_NS: u64 = 200_000_000;
