//! The turmoil engine: every party is a turmoil host, its network turmoil's, its tasks tokio's.
//!
//! turmoil moves all hosts in ticks of a fixed length and carries segments between them; a partition loses what is under way for
//! ever, so sessions die and come back, which madsim's clogged links do not show. It alone leaves hash maps, entropy and clocks
//! real; inside a madsim runtime on a fresh thread they follow from the seed.
//!
//! A tick is 10 ms: half of the links' usual least latency and more than most syncs take, and every tick costs a turn of every
//! host, however quiet. Within a tick a host's own timers keep their milliseconds.

use super::RunReport;
use super::stream::Unavailable;
use crate::chance::Chance;
use crate::scenario::Plan;
use crate::world::{Options, World};

/// Whether this build can run the engine.
pub const AVAILABLE: bool = super::stream::AVAILABLE;

/// Runs a plan to its end.
///
/// # Errors
/// [`Unavailable`] in a build without `--cfg madsim`, whose hooks make turmoil deterministic.
///
/// # Panics
/// When a node panics, with the node's message; the caller reports it.
#[cfg(madsim)]
pub fn run(
    plan: Plan,
    chance: Chance,
    options: Options,
) -> Result<(RunReport, World), Unavailable> {
    let mut chance = chance;
    let seed = chance.engine_seed(&crate::chance::Site::new("engine.turmoil"));
    Ok(super::stream::on_fresh_thread("turmoil", move || {
        let runtime = ::madsim::runtime::Runtime::with_seed_and_config(seed, Default::default());
        runtime.block_on(async { imp::simulate(World::new(plan, chance, options), seed) })
    }))
}

/// Runs a plan to its end.
///
/// # Errors
/// [`Unavailable`]: this is a build without `--cfg madsim`.
#[cfg(not(madsim))]
pub fn run(_: Plan, _: Chance, _: Options) -> Result<(RunReport, World), Unavailable> {
    Err(Unavailable { engine: crate::scenario::Engine::Turmoil })
}

#[cfg(madsim)]
mod imp {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr};
    use std::panic::resume_unwind;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use ::turmoil::net::{TcpListener, TcpStream};
    use ::turmoil::{Builder, Sim};
    use tokio::task::{JoinError, spawn_local};

    use crate::engine::RunReport;
    use crate::engine::stream::director::{Director, Machines, Turn};
    use crate::engine::stream::host::Host;
    use crate::engine::stream::process::process;
    use crate::observe::PartyId;
    use crate::world::World;
    use crate::world::party::EPOCH_MS;

    /// Ticks until the world has ended; the director acts between two of them.
    pub(super) fn simulate(world: World, seed: u64) -> (RunReport, World) {
        let parties = world.parties.len();
        let mut director = Director::new(world);
        let mut hosts = Hosts::new(&director, parties, seed);
        let verdict = loop {
            match director.turn(hosts.now_ns(), &mut hosts) {
                Turn::At(_) => hosts.tick(),
                Turn::Over(verdict) => break verdict,
            }
        };
        while verdict.is_none() && !director.all_ended() {
            hosts.tick();
        }
        // Streams close while the simulation still is there for their destructors.
        (0..parties).for_each(|party| hosts.kill(PartyId(party)));
        director.conclude(verdict)
    }

    struct Hosts<'a> {
        sim: Sim<'a>,
        ips: Arc<[IpAddr]>,
    }

    impl Hosts<'_> {
        fn new(director: &Director, parties: usize, seed: u64) -> Hosts<'static> {
            let epoch = SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS);
            let mut sim = Builder::new()
                .rng_seed(seed)
                .epoch(epoch)
                .tick_duration(TICK)
                .simulation_duration(Duration::MAX)
                // The links' latency is the scenario's; the wire itself takes up to a tick.
                .min_message_latency(Duration::ZERO)
                .max_message_latency(Duration::ZERO)
                .tcp_capacity(SEGMENTS_MAX)
                .build();
            let ips: Arc<[IpAddr]> = (0..parties).map(|party| sim.lookup(name(party))).collect();
            for party in 0..parties {
                let (ips, shared) = (ips.clone(), director.shared().clone());
                sim.host(name(party), move || {
                    let machine = Machine { ips: ips.clone() };
                    let process = process(machine, shared.clone(), PartyId(party));
                    async move {
                        process.await;
                        Ok(())
                    }
                });
            }
            Hosts { sim, ips }
        }

        fn now_ns(&self) -> u64 {
            u64::try_from(self.sim.elapsed().as_nanos()).unwrap_or(u64::MAX)
        }

        /// One tick of everything. A process that panicked panics here.
        fn tick(&mut self) {
            if let Err(error) = self.sim.step() {
                match error.downcast::<JoinError>().map(|join| join.try_into_panic()) {
                    Ok(Ok(panic)) => resume_unwind(panic),
                    Ok(Err(join)) => panic!("a host's task was lost: {join}"),
                    Err(error) => panic!("turmoil gave up: {error}"),
                }
            }
        }
    }

    impl Machines for Hosts<'_> {
        fn boot(&mut self, party: PartyId) {
            self.sim.bounce(self.ips[party.0]);
        }

        fn kill(&mut self, party: PartyId) {
            self.sim.crash(self.ips[party.0]);
        }

        fn set_cut(&mut self, from: PartyId, to: PartyId, cut: bool) {
            let (from, to) = (self.ips[from.0], self.ips[to.0]);
            if cut { self.sim.partition_oneway(from, to) } else { self.sim.repair_oneway(from, to) }
        }
    }

    fn name(party: usize) -> String {
        format!("party-{party}")
    }

    /// What a process sees of turmoil.
    #[derive(Clone)]
    struct Machine {
        ips: Arc<[IpAddr]>,
    }

    impl Host for Machine {
        type Stream = TcpStream;
        type Listener = TcpListener;

        fn now_ns(&self) -> u64 {
            let now = ::turmoil::sim_elapsed().expect("a process runs inside the simulation");
            u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
        }

        fn sleep(&self, ns: u64) -> impl Future<Output = ()> + Send + 'static {
            tokio::time::sleep(Duration::from_nanos(ns))
        }

        async fn listen(&self, _: PartyId) -> io::Result<TcpListener> {
            TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await
        }

        async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, PartyId)> {
            let (stream, from) = listener.accept().await?;
            let party = self.ips.iter().position(|ip| *ip == from.ip());
            Ok((stream, PartyId(party.ok_or(io::ErrorKind::AddrNotAvailable)?)))
        }

        async fn connect(&self, to: PartyId) -> io::Result<TcpStream> {
            TcpStream::connect((self.ips[to.0], PORT)).await
        }

        fn spawn(
            &self,
            task: impl Future<Output = ()> + 'static,
        ) -> impl Future<Output = ()> + 'static {
            let task = spawn_local(task);
            async {
                // tokio keeps a task's panic to itself until somebody asks.
                if let Err(Ok(panic)) = task.await.map_err(JoinError::try_into_panic) {
                    resume_unwind(panic);
                }
            }
        }
    }

    const TICK: Duration = Duration::from_millis(10);

    const PORT: u16 = 4_100;

    /// Segments that wait for a reader at most.
    const SEGMENTS_MAX: usize = 1_024;
}
