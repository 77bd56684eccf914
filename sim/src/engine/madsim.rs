//! The madsim engine: every party is a madsim node, its network madsim's, its scheduler madsim's.
//!
//! Tasks that are ready run in an order drawn from madsim's own generator, whose seed comes from the run's chance; so a run
//! explores interleavings that the reference engine does not have. Time has nanoseconds and jumps to the next timer, so quiet
//! seconds cost nothing. One runtime, and one thread, for each run.

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
/// [`Unavailable`] in a build without `--cfg madsim`.
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
    let seed = chance.engine_seed(&crate::chance::Site::new("engine.madsim"));
    Ok(super::stream::on_fresh_thread("madsim", move || {
        let mut config = ::madsim::Config::default();
        // The links' latency is the scenario's; this is what the wire itself takes.
        config.net.send_latency = imp::WIRE_LATENCY;
        let runtime = ::madsim::runtime::Runtime::with_seed_and_config(seed, config);
        runtime.block_on(imp::direct(World::new(plan, chance, options)))
    }))
}

/// Runs a plan to its end.
///
/// # Errors
/// [`Unavailable`]: this is a build without `--cfg madsim`.
#[cfg(not(madsim))]
pub fn run(_: Plan, _: Chance, _: Options) -> Result<(RunReport, World), Unavailable> {
    Err(Unavailable { engine: crate::scenario::Engine::Madsim })
}

#[cfg(madsim)]
mod imp {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::ops::Range;
    use std::time::Duration;

    use ::madsim::net::{NetSim, TcpListener, TcpStream};
    use ::madsim::runtime::Handle;
    use ::madsim::task::NodeId;
    use ::madsim::time::{TimeHandle, sleep};
    use tokio::select;

    use crate::engine::RunReport;
    use crate::engine::stream::director::{Director, Machines, Turn};
    use crate::engine::stream::host::Host;
    use crate::engine::stream::process::process;
    use crate::observe::PartyId;
    use crate::world::World;

    /// The director's task: the runtime's main future.
    pub(super) async fn direct(world: World) -> (RunReport, World) {
        let parties = world.parties.len();
        let mut director = Director::new(world);
        let time = TimeHandle::current();
        let mut nodes = Nodes::new(&director, parties);
        let verdict = loop {
            match director.turn(now_ns(&time), &mut nodes) {
                Turn::At(at) => {
                    let wait = Duration::from_nanos(at.saturating_sub(now_ns(&time)));
                    select! {
                        biased;
                        () = director.shared().woken() => {}
                        () = sleep(wait.min(WAIT_MAX)) => {}
                    }
                }
                Turn::Over(verdict) => break verdict,
            }
        };
        while verdict.is_none() && !director.all_ended() {
            director.shared().woken().await;
        }
        // Tasks are dropped while the runtime still is there for their destructors.
        (0..parties).for_each(|party| nodes.kill(PartyId(party)));
        sleep(Duration::from_millis(1)).await;
        director.conclude(verdict)
    }

    fn now_ns(time: &TimeHandle) -> u64 {
        u64::try_from(time.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    struct Nodes {
        handle: Handle,
        ids: Vec<NodeId>,
    }

    impl Nodes {
        fn new(director: &Director, parties: usize) -> Nodes {
            let handle = Handle::current();
            let build = |party| {
                let shared = director.shared().clone();
                let node = handle.create_node().ip(address(PartyId(party)).ip());
                node.init(move || process(Machine, shared.clone(), PartyId(party))).build().id()
            };
            let ids = (0..parties).map(build).collect();
            Nodes { handle, ids }
        }
    }

    impl Machines for Nodes {
        fn boot(&mut self, party: PartyId) {
            self.handle.restart(self.ids[party.0]);
        }

        fn kill(&mut self, party: PartyId) {
            self.handle.kill(self.ids[party.0]);
        }

        fn set_cut(&mut self, from: PartyId, to: PartyId, cut: bool) {
            let (net, from, to) = (NetSim::current(), self.ids[from.0], self.ids[to.0]);
            if cut { net.clog_link(from, to) } else { net.unclog_link(from, to) }
        }
    }

    /// What a process sees of madsim.
    #[derive(Clone)]
    struct Machine;

    impl Host for Machine {
        type Stream = TcpStream;
        type Listener = TcpListener;

        fn now_ns(&self) -> u64 {
            now_ns(&TimeHandle::current())
        }

        fn sleep(&self, ns: u64) -> impl Future<Output = ()> + Send + 'static {
            sleep(Duration::from_nanos(ns))
        }

        async fn listen(&self, party: PartyId) -> io::Result<TcpListener> {
            TcpListener::bind(address(party)).await
        }

        async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, PartyId)> {
            let (stream, from) = listener.accept().await?;
            Ok((stream, party_at(from.ip())?))
        }

        async fn connect(&self, to: PartyId) -> io::Result<TcpStream> {
            TcpStream::connect(address(to)).await
        }

        fn spawn(
            &self,
            task: impl Future<Output = ()> + 'static,
        ) -> impl Future<Output = ()> + 'static {
            let task = ::madsim::task::spawn_local(task);
            // A panic never comes this far: it ends the runtime. What is left is a task that was cancelled with its node.
            async { task.await.unwrap_or(()) }
        }
    }

    fn address(party: PartyId) -> SocketAddr {
        let [high, low] =
            u16::try_from(party.0 + 1).expect("fewer parties than addresses").to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), PORT)
    }

    fn party_at(ip: IpAddr) -> io::Result<PartyId> {
        match ip {
            IpAddr::V4(ip) => {
                let [_, _, high, low] = ip.octets();
                Ok(PartyId(usize::from(u16::from_be_bytes([high, low])) - 1))
            }
            IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    const PORT: u16 = 4_100;

    /// What the engine's wire takes by itself. Never nothing, as an empty range cannot be drawn from.
    pub(super) const WIRE_LATENCY: Range<Duration> =
        Duration::from_micros(20)..Duration::from_micros(200);

    /// Longest sleep of the director; there is always a next block, so this bounds nothing in practice.
    const WAIT_MAX: Duration = Duration::from_secs(3_600);
}
