//! A party's process: the shipped pump and the shipped transport, as the node's binary runs them.

use std::cell::Cell;
use std::future::pending;
use std::io;

use fairway_core::types::{Address, Timestamp};
use fairway_transport::pump::pump;
use fairway_transport::{ChainPin, Clock, Config, Dial, Events, Handle, Identity, Network};
use tokio::select;

use super::host::Host;
use super::link::Link;
use super::ports::{Stop, WorldPorts};
use super::shared::{Boot, Shared};
use crate::observe::PartyId;
use crate::world::World;

/// Runs the party's process until the run is over or its disk fails; a kill drops it wherever it waits.
///
/// Returns at once when the director has nothing to boot: engines start a machine's software once when they make it.
pub(crate) async fn process<H: Host>(host: H, shared: Shared, party: PartyId) {
    let Some((boot, wiring)) = take_boot(&shared, party) else { return };
    let Boot { mut driver, incarnation, inbox, transport_seed } = boot;
    let dialed = wiring.dialed.clone();
    let (handle, events, network) = network(&host, &shared, party, wiring, transport_seed);
    {
        let handle = handle.clone();
        shared.lock().slots[party.0].send =
            Some(Box::new(move |peer, bytes| handle.send(peer, bytes)));
    }
    for peer in dialed {
        handle.connect(peer).expect("the network has room for every party");
    }
    let network = host.spawn(network);
    let listening = host.spawn(listen(host.clone(), shared.clone(), party, handle));
    let clock = Cell::new(Timestamp::default());
    let mut ports =
        WorldPorts { host, shared: shared.clone(), party, incarnation, inbox, events, clock };
    let stop = select! {
        biased;
        stop = pump(&mut driver, &mut ports) => stop.err().unwrap_or(Stop::Over),
        // Neither ends by itself; if one panics, so do we.
        () = async { network.await; pending().await } => Stop::Over,
        () = async { listening.await; pending().await } => Stop::Over,
    };
    let driver = (stop == Stop::Over).then_some(driver);
    shared.ended(party, incarnation, driver);
}

/// What a party's transport is made from.
struct Wiring {
    identity: Identity,
    config: Config,
    /// Peers that this party dials; it is dialed by the others.
    dialed: Vec<Address>,
}

fn take_boot(shared: &Shared, party: PartyId) -> Option<(Boot, Wiring)> {
    let mut state = shared.lock();
    let boot = state.slots[party.0].boot.take()?;
    let wiring = wiring(state.world.as_ref()?, party);
    Some((boot, wiring))
}

fn wiring(world: &World, id: PartyId) -> Wiring {
    let party = &world.parties[id.0];
    // The node key is the party's for ever; in a run it may as well follow from the channel's address.
    let node_seed = *blake3::hash(party.key.address().as_slice()).as_bytes();
    let identity = Identity::new(&party.key, world.options().crypto, node_seed);
    let chain = ChainPin { chain_id: party.pins.chain_id, adjudicator: party.pins.adjudicator };
    let versions = party.versions();
    let config = Config {
        keepalive_ms: KEEPALIVE_MS,
        handshake_ms: HANDSHAKE_MS,
        idle_ms: IDLE_MS,
        backoff_max_ms: BACKOFF_MAX_MS,
        ..Config::new(chain, versions)
    };
    let others = world.parties.iter().filter(|other| other.id != id);
    Wiring { identity, config, dialed: others.map(|other| other.key.address()).collect() }
}

type Wired<H, F> = (Handle<Link<H>>, Events, F);

fn network<H: Host>(
    host: &H,
    shared: &Shared,
    party: PartyId,
    wiring: Wiring,
    seed: [u8; 32],
) -> Wired<H, impl Future<Output = ()> + use<H>> {
    let dialer = Dialer { host: host.clone(), shared: shared.clone(), party };
    let clock = HostClock(host.clone());
    let (network, handle, events) =
        Network::new(wiring.config, wiring.identity, seed, clock, dialer)
            .expect("the transport's settings fit together");
    (handle, events, network.run())
}

/// Accepts streams for ever.
async fn listen<H: Host>(host: H, shared: Shared, party: PartyId, handle: Handle<Link<H>>) {
    let listener = host.listen(party).await.expect("a machine can listen at its own address");
    while let Ok((stream, peer)) = host.accept(&listener).await {
        handle.accept(Link::new(stream, host.clone(), shared.clone(), party, peer));
    }
}

/// The engine's time, for the transport.
struct HostClock<H>(H);

impl<H: Host> Clock for HostClock<H> {
    fn now_ms(&self) -> u64 {
        self.0.now_ns() / 1_000_000
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> {
        self.0.sleep(ms.saturating_mul(1_000_000))
    }
}

/// Opens streams to the addresses of parties.
struct Dialer<H> {
    host: H,
    shared: Shared,
    party: PartyId,
}

impl<H: Host> Dial for Dialer<H> {
    type Stream = Link<H>;

    async fn dial(&self, peer: Address) -> io::Result<Link<H>> {
        let to = self.shared.lock().world.as_ref().and_then(|world| world.party_at(peer));
        let to = to.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = self.host.connect(to).await?;
        Ok(Link::new(stream, self.host.clone(), self.shared.clone(), self.party, to))
    }
}

/// A silent direction gets a ping after this long. Half of the shipped default: runs are short, and a ping costs two timers.
const KEEPALIVE_MS: u64 = 5_000;

/// A silent session is dead after this long: a link that has lost bytes comes back well before nodes give their peer up, which
/// they do after a minute.
const IDLE_MS: u64 = 12_000;

/// Longest pause between two dials: a fraction of what the shipped node waits, for the same reason.
const BACKOFF_MAX_MS: u64 = 4_000;

/// Bound of one handshake. More than the shipped default, because scenarios may have links of seconds and a handshake is four
/// crossings; no more than a silent session gets.
const HANDSHAKE_MS: u64 = IDLE_MS;
