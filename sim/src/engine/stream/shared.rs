//! The world, shared between the director and the processes of one run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_core::driver::Driver;
use fairway_core::input::Input;
use fairway_core::types::Address;
use fairway_transport::SendOutcome;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::chance::Site;
use crate::observe::PartyId;
use crate::world::World;

/// A handle on the run; cheap to clone.
///
/// A mutex, though one thread runs everything: madsim asks that a machine's software is `Send`, and there is one world for all
/// processes. It is never contended and never held across an await.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    wake: Notify,
}

/// What is shared.
pub(crate) struct State {
    /// Taken away when the run is concluded.
    pub(crate) world: Option<World>,
    /// One for each party.
    pub(crate) slots: Vec<Slot>,
    /// When the director wakes up by itself.
    pub(crate) alarm: u64,
    damage: Site,
}

/// A party's process, as the director sees it.
#[derive(Default)]
pub(crate) struct Slot {
    /// What the next process of this party begins with.
    pub(crate) boot: Option<Boot>,
    /// Where the running process takes its inputs from. Dropped when it shall end.
    pub(crate) inbox: Option<UnboundedSender<Input>>,
    /// Hands a message to the transport of the running process.
    pub(crate) send: Option<SendMessage>,
    /// Whether a process runs that will hand back its driver.
    pub(crate) running: bool,
    /// The driver of a process that ended because the run did.
    pub(crate) finished: Option<Driver>,
    /// Peers on the way to which the next bytes are damaged.
    damaged: Vec<PartyId>,
}

/// Hands a message for a peer to a transport.
pub(crate) type SendMessage = Box<dyn Fn(Address, Vec<u8>) -> SendOutcome + Send>;

/// What a process begins with.
pub(crate) struct Boot {
    /// The node over its disk.
    pub(crate) driver: Driver,
    /// Which start of the party this is.
    pub(crate) incarnation: u64,
    /// The other end of [`Slot::inbox`].
    pub(crate) inbox: UnboundedReceiver<Input>,
    /// The seed of the transport's ephemeral keys, fresh at each start.
    pub(crate) transport_seed: [u8; 32],
}

/// Why a process cannot reach the world any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The process was killed: its ports are dead.
    Dead,
    /// The run is over.
    Over,
}

impl Shared {
    /// Shares a world.
    pub(crate) fn new(world: World) -> Shared {
        let slots = world.parties.iter().map(|_| Slot::default()).collect();
        let damage = Site::new("stream.damage");
        let state = State { world: Some(world), slots, alarm: 0, damage };
        Shared(Arc::new(Inner { state: Mutex::new(state), wake: Notify::new() }))
    }

    /// The state. Never hold it across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the run; nobody looks at what it left behind.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the director should look at the world.
    pub(crate) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    /// Calls a hook for a process: lets happen what is due by now, then `act`, if the process still lives.
    pub(crate) fn hook<R>(
        &self,
        now: u64,
        party: PartyId,
        incarnation: u64,
        act: impl FnOnce(&mut World) -> R,
    ) -> Result<R, Gone> {
        let mut state = self.lock();
        let alarm = state.alarm;
        let world = state.world.as_mut().filter(|w| !w.is_over()).ok_or(Gone::Over)?;
        world.fire(now);
        let lives = world.parties[party.0].up && world.parties[party.0].incarnation == incarnation;
        let result = match (world.is_over(), lives) {
            (true, _) => Err(Gone::Over),
            (false, false) => Err(Gone::Dead),
            (false, true) => Ok(act(world)),
        };
        if world.has_acts() || world.is_over() || world.next_timer().is_some_and(|at| at < alarm) {
            self.0.wake.notify_one();
        }
        result
    }

    /// How long bytes are on their way from one party to another, if they leave now.
    pub(crate) fn latency(&self, now: u64, from: PartyId, to: PartyId) -> u64 {
        let mut state = self.lock();
        let Some(World { network, chance, .. }) = &mut state.world else { return 0 };
        network.latency(now, from, to, chance)
    }

    /// The next bytes from one party to another shall be damaged.
    pub(crate) fn damage(state: &mut State, from: PartyId, to: PartyId) {
        let damaged = &mut state.slots[from.0].damaged;
        if !damaged.contains(&to) {
            damaged.push(to);
        }
    }

    /// Which of `length` bytes that leave now is damaged, and by which bits; `None` for none.
    pub(crate) fn damage_due(
        &self,
        from: PartyId,
        to: PartyId,
        length: usize,
    ) -> Option<(usize, u8)> {
        let mut state = self.lock();
        let State { world, slots, damage, .. } = &mut *state;
        let at = slots[from.0].damaged.iter().position(|peer| *peer == to)?;
        let chance = &mut world.as_mut()?.chance;
        if length == 0 {
            return None;
        }
        slots[from.0].damaged.remove(at);
        let offset = usize::try_from(chance.choice(damage, length as u64)).unwrap_or(0);
        Some((offset, 1 << chance.choice(damage, 8)))
    }

    /// A process has ended by itself.
    pub(crate) fn ended(&self, party: PartyId, incarnation: u64, driver: Option<Driver>) {
        let mut state = self.lock();
        let State { world, slots, .. } = &mut *state;
        let current = |w: &World| w.parties[party.0].incarnation == incarnation;
        if world.as_ref().is_some_and(current) {
            slots[party.0].running = false;
            slots[party.0].finished = driver;
        }
        drop(state);
        self.0.wake.notify_one();
    }
}
