//! The pump's ports in a simulated process: the world's disk, chain and users, and the transport's events.

use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;

use fairway_core::effect::Effect;
use fairway_core::input::{Input, Verified, verify};
use fairway_core::log::{FileRepair, FileWrite, SyncSet};
use fairway_core::types::Timestamp;
use fairway_transport::pump::Ports;
use fairway_transport::{Events, NetEvent};
use tokio::select;
use tokio::sync::mpsc::UnboundedReceiver;

use super::host::Host;
use super::shared::{Gone, Shared};
use crate::disk::DiskError;
use crate::observe::PartyId;
use crate::scenario::Unsynced;
use crate::world::World;

/// The ports of one process. Once the world has killed it they are dead: effects vanish and futures never complete.
pub(crate) struct WorldPorts<H> {
    pub(crate) host: H,
    pub(crate) shared: Shared,
    pub(crate) party: PartyId,
    pub(crate) incarnation: u64,
    pub(crate) inbox: UnboundedReceiver<Input>,
    pub(crate) events: Events,
    /// What the clock showed last; it outlives the world.
    pub(crate) clock: Cell<Timestamp>,
}

/// Why the pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The disk failed; the world already knows.
    Disk,
    /// The run is over.
    Over,
}

impl<H: Host> WorldPorts<H> {
    /// Calls the world, if the process lives.
    fn hook<R>(&self, act: impl FnOnce(&mut World) -> R) -> Result<R, Gone> {
        self.shared.hook(self.host.now_ns(), self.party, self.incarnation, act)
    }

    /// Takes a step that the world counts: the process may be planned to die before it.
    fn step<R>(&self, act: impl FnOnce(&mut World, PartyId) -> R) -> Result<R, Gone> {
        let party = self.party;
        let taken = self.hook(|world| {
            if !world.count_step(party) {
                return Some(act(world, party));
            }
            world.kill(party);
            world.lose_power(party, Unsynced::None);
            world.start_later(party);
            None
        })?;
        taken.ok_or(Gone::Dead)
    }

    /// One thing that arrived, as far as the node gets to see it.
    fn take(&self, arrived: Arrived) -> Option<Verified> {
        let input = match arrived {
            Arrived::Input(input) | Arrived::Event(Ok(input)) => input,
            Arrived::Event(Err((peer, bytes))) => {
                let heard = self.hook(|world| {
                    let from = world.party_at(peer)?;
                    world.deliver(self.party, from, &bytes).then_some(())
                });
                heard.ok()??;
                Input::Frame { peer, bytes }
            }
        };
        self.hook(|world| {
            world.session(self.party, &input);
            verify(input, &mut world.memo)
        })
        .ok()
    }
}

/// What wakes a node up.
enum Arrived {
    /// From users or the chain.
    Input(Input),
    /// From the transport: news of a session, or a frame that the world must see first.
    Event(Result<Input, (fairway_core::types::Address, Vec<u8>)>),
}

impl From<NetEvent> for Arrived {
    fn from(event: NetEvent) -> Arrived {
        Arrived::Event(match event {
            NetEvent::Up { peer, version } => Ok(Input::PeerUp { peer, version }),
            NetEvent::Down { peer, .. } => Ok(Input::PeerDown { peer }),
            NetEvent::Frame { peer, bytes } => Err((peer, bytes)),
        })
    }
}

/// The result of a hook; a dead process never learns it.
async fn unless_dead<R>(result: Result<R, Gone>) -> Result<R, Stop> {
    match result {
        Ok(result) => Ok(result),
        Err(Gone::Over) => Err(Stop::Over),
        Err(Gone::Dead) => pending().await,
    }
}

/// Tells the world of a disk operation that failed.
fn judged(world: &mut World, party: PartyId, done: Result<(), DiskError>) -> Result<(), Stop> {
    done.map_err(|error| {
        world.disk_failed(party, &error);
        Stop::Disk
    })
}

impl<H: Host> Ports for WorldPorts<H> {
    type Error = Stop;

    fn now(&self) -> Timestamp {
        let now_ns = self.host.now_ns();
        if let Some(world) = &self.shared.lock().world {
            self.clock.set(world.parties[self.party.0].clock.read(now_ns));
        }
        self.clock.get()
    }

    async fn repair(&mut self, repair: FileRepair) -> Result<(), Stop> {
        let done = self.step(|world, party| {
            let done = world.repair(party, &repair);
            judged(world, party, done)
        });
        unless_dead(done).await?
    }

    async fn append(&mut self, writes: Vec<FileWrite>) -> Result<(), Stop> {
        let done = self.step(|world, party| {
            let done = world.append(party, &writes);
            judged(world, party, done)
        });
        unless_dead(done).await?
    }

    async fn sync(&mut self, files: SyncSet) -> Result<(), Stop> {
        let latency = self.step(|world, party| world.sync_latency(party));
        let latency = unless_dead(latency).await?;
        self.host.sleep(latency).await;
        let party = self.party;
        let done = self.hook(|world| {
            let done = world.sync(party, &files);
            judged(world, party, done)
        });
        unless_dead(done).await?
    }

    fn release(&mut self, effect: Effect) {
        // From a dead process, or after the end, nothing leaves.
        let _ = self.step(|world, party| world.release(party, effect));
    }

    async fn inputs(&mut self, until: Option<Timestamp>) -> Option<Vec<Verified>> {
        // At least a millisecond: a frozen clock never gets there.
        let wait_ms = until.map(|until| until.since_ms(self.now()).max(1));
        let timer = wait_ms.map(|ms| self.host.sleep(ms.saturating_mul(1_000_000)));
        let mut timer = pin!(async {
            match timer {
                Some(timer) => timer.await,
                None => pending().await,
            }
        });
        loop {
            if unless_dead(self.hook(|_| ())).await.is_err() {
                return None;
            }
            let mut arrived = select! {
                biased;
                input = self.inbox.recv() => match input {
                    Some(input) => Some(Arrived::Input(input)),
                    // The director closed it: the process was killed, or the run is over.
                    None => continue,
                },
                Some(event) = self.events.next() => Some(event.into()),
                () = &mut timer => return Some(Vec::new()),
            };
            let mut inputs = Vec::new();
            while let Some(one) = arrived {
                inputs.extend(self.take(one));
                if inputs.len() >= INPUTS_MAX {
                    break;
                }
                arrived = select! {
                    biased;
                    Some(input) = self.inbox.recv() => Some(Arrived::Input(input)),
                    Some(event) = self.events.next() => Some(event.into()),
                    () = ready(()) => None,
                };
            }
            if !inputs.is_empty() {
                return Some(inputs);
            }
        }
    }

    fn resting(&mut self, driver: &fairway_core::driver::Driver) {
        let party = self.party;
        // Nobody watches a dead process.
        let _ = self.hook(|world| world.rested(party, driver));
    }
}

/// Inputs that share one sync at most.
const INPUTS_MAX: usize = 64;
