//! The director: lets the world's time pass and does what the world asks for.
//!
//! It has no time and no tasks of its own. madsim calls it from a task that sleeps until the director's next moment, turmoil
//! between two ticks.

use tokio::sync::mpsc::unbounded_channel;

use fairway_transport::SendOutcome;

use super::shared::{Boot, Shared, State};
use crate::chance::Site;
use crate::engine::{RunReport, Verdict, report};
use crate::observe::PartyId;
use crate::world::{Act, World};

/// The machines of an engine.
pub(crate) trait Machines {
    /// Starts the party's process.
    fn boot(&mut self, party: PartyId);
    /// Ends it at once, with everything that it has in memory.
    fn kill(&mut self, party: PartyId);
    /// Whether bytes pass from one party to another.
    fn set_cut(&mut self, from: PartyId, to: PartyId, cut: bool);
}

/// Directs one run.
pub(crate) struct Director {
    shared: Shared,
    transport_seeds: Vec<Site>,
    /// Machines whose processes are dead and that go down at this moment.
    going_down: Vec<(u64, PartyId)>,
    cuts: Vec<(PartyId, PartyId)>,
}

/// What the engine does next.
pub(crate) enum Turn {
    /// Call again at this moment, or earlier if woken.
    At(u64),
    /// The run is over: let the processes end, then conclude with this verdict.
    Over(Option<Verdict>),
}

impl Director {
    /// Directs the run of this world.
    pub(crate) fn new(world: World) -> Director {
        let site = Site::new("engine.transport");
        let transport_seeds = world.parties.iter().map(|p| site.of(&p.name)).collect();
        let shared = Shared::new(world);
        Director { shared, transport_seeds, going_down: Vec::new(), cuts: Vec::new() }
    }

    /// The run, for its processes.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Lets everything happen that is due at `now`, and does what follows from it.
    pub(crate) fn turn(&mut self, now: u64, machines: &mut impl Machines) -> Turn {
        if let Some(world) = self.shared.lock().world.as_mut().filter(|w| !w.is_over()) {
            world.fire(now);
        }
        self.cut(machines);
        while let Some(act) = self.next_act() {
            self.act(now, act, machines);
        }
        self.take_down(now, machines);
        self.cut(machines);
        let mut state = self.shared.lock();
        let Some(world) = &state.world else { return Turn::Over(None) };
        if world.is_over() {
            // Closed inboxes end the processes that still run, and nothing else can begin any more.
            state.slots.iter_mut().for_each(|slot| slot.inbox = None);
            return Turn::Over(None);
        }
        if world.steps > world.options().steps_max {
            return Turn::Over(Some(Verdict::Budget(world.steps)));
        }
        let down = self.going_down.iter().map(|(at, _)| *at).min();
        let alarm = world.next_timer().unwrap_or(u64::MAX).min(down.unwrap_or(u64::MAX));
        state.alarm = alarm;
        Turn::At(alarm)
    }

    /// Whether every process that was to hand back its driver has done so.
    pub(crate) fn all_ended(&self) -> bool {
        let state = self.shared.lock();
        let Some(world) = &state.world else { return true };
        // Of a violation nobody asks the nodes, and one that was killed in the last moment has no driver any more.
        let mut parties = world.parties.iter().zip(&state.slots);
        world.violation.is_some() || parties.all(|(party, slot)| !(party.up && slot.running))
    }

    /// Judges the end. The processes have ended, or what they would say does not count.
    pub(crate) fn conclude(&self, verdict: Option<Verdict>) -> (RunReport, World) {
        let mut state = self.shared.lock();
        let mut world = state.world.take().expect("a run is concluded once");
        let nodes: Vec<_> = state
            .slots
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| Some((PartyId(i), slot.finished.as_ref()?.node().state())))
            .collect();
        if verdict.is_none() {
            world.conclude(&nodes);
        }
        (report(&world, verdict), world)
    }

    fn next_act(&self) -> Option<Act> {
        let mut state = self.shared.lock();
        state.world.as_mut().filter(|w| !w.is_over())?.next_act()
    }

    fn act(&mut self, now: u64, act: Act, machines: &mut impl Machines) {
        match act {
            Act::Start(party) => self.start(party, machines),
            Act::Kill(party) => {
                // The ports are dead already. What the process handed to its sockets before still leaves, as with a real one.
                let slot = &mut self.shared.lock().slots[party.0];
                (slot.inbox, slot.send, slot.boot, slot.running) = (None, None, None, false);
                self.going_down.push((now.saturating_add(LINGER_NS), party));
            }
            Act::Input { party, incarnation, input } => {
                let state = self.shared.lock();
                let current = |w: &World| w.parties[party.0].incarnation == incarnation;
                if state.world.as_ref().is_some_and(current)
                    && let Some(inbox) = &state.slots[party.0].inbox
                {
                    // A process that has just ended takes nothing any more.
                    let _ = inbox.send(input);
                }
            }
            Act::Carry { from, to, bytes } => carry(&mut self.shared.lock(), from, to, bytes),
            // The transport dials by itself.
            Act::Reconnect(..) => {}
        }
    }

    fn start(&mut self, party: PartyId, machines: &mut impl Machines) {
        {
            let mut state = self.shared.lock();
            let State { world: Some(world), slots, .. } = &mut *state else { return };
            if world.parties[party.0].up {
                return;
            }
            let Ok(driver) = world.start(party) else { return };
            let (sender, inbox) = unbounded_channel();
            let incarnation = world.parties[party.0].incarnation;
            let transport_seed = world.chance.bytes32(&self.transport_seeds[party.0]);
            slots[party.0].boot = Some(Boot { driver, incarnation, inbox, transport_seed });
            slots[party.0].inbox = Some(sender);
            slots[party.0].running = true;
        }
        self.going_down.retain(|(_, waiting)| *waiting != party);
        machines.kill(party);
        machines.boot(party);
    }

    fn take_down(&mut self, now: u64, machines: &mut impl Machines) {
        self.going_down.retain(|(at, party)| {
            let due = *at <= now;
            if due {
                machines.kill(*party);
            }
            !due
        });
    }

    /// Tells the engine which links the world has cut or mended.
    fn cut(&mut self, machines: &mut impl Machines) {
        let cuts: Vec<(PartyId, PartyId)> = {
            let state = self.shared.lock();
            let Some(world) = &state.world else { return };
            let all = (0..world.parties.len()).map(PartyId);
            let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
            pairs.filter(|(a, b)| a != b && world.network.is_cut(world.now, *a, *b)).collect()
        };
        for (from, to) in self.cuts.iter().filter(|cut| !cuts.contains(cut)) {
            machines.set_cut(*from, *to, false);
        }
        for (from, to) in cuts.iter().filter(|cut| !self.cuts.contains(cut)) {
            machines.set_cut(*from, *to, true);
        }
        self.cuts = cuts;
    }
}

/// Hands a message to the sender's transport: not at all, once or twice, as the network's rules say.
fn carry(state: &mut State, from: PartyId, to: PartyId, bytes: Vec<u8>) {
    let Some(World { network, chance, parties, now, .. }) = &mut state.world else { return };
    let peer = parties[to.0].key.address();
    // What becomes of bytes on a cut link is the engine's to say.
    let cut = network.is_cut(*now, from, to);
    let passage = network.pass(*now, from, to, chance);
    let copies = if cut || passage.damaged { 1 } else { passage.arrives_after.len() };
    if copies == 0 {
        state.world.iter_mut().for_each(World::message_lost);
    }
    let mut queued = false;
    if let Some(send) = &state.slots[from.0].send {
        for _ in 0..copies {
            queued |= send(peer, bytes.clone()) == SendOutcome::Queued;
        }
    }
    if queued && passage.damaged {
        Shared::damage(state, from, to);
    }
}

/// How long a killed process's machine still empties its send buffers.
const LINGER_NS: u64 = 1_000_000;
