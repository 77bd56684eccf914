//! Two networks over real loopback TCP, on tokio's multi-threaded runtime: nothing here waits for a timer.

mod common;

use std::io;
use std::net::SocketAddr;

use common::{CHAIN, TokioClock, identity};
use fairway_core::types::Address;
use fairway_transport::{
    Config, Dial, Events, Handle, NetEvent, Network, SendOutcome, VersionRange,
};
use tokio::net::{TcpListener, TcpStream};

/// Every peer is at one place.
struct Tcp(SocketAddr);

impl Dial for Tcp {
    type Stream = TcpStream;
    fn dial(&self, _peer: Address) -> impl Future<Output = io::Result<TcpStream>> {
        TcpStream::connect(self.0)
    }
}

/// Starts node `byte` as a task: the network's future is `Send` over real TCP.
fn start(byte: u8, peer_at: SocketAddr, listener: TcpListener) -> (Handle<TcpStream>, Events) {
    let config = Config::new(CHAIN, VersionRange::new(1, 2).unwrap());
    let clock = TokioClock::new();
    let (network, handle, events) =
        Network::new(config, identity(byte), [byte; 32], clock, Tcp(peer_at)).unwrap();
    tokio::spawn(network.run());
    let inbound = handle.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            inbound.accept(stream);
        }
    });
    (handle, events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_networks_exchange_frames_over_loopback() {
    let here = "127.0.0.1:0";
    let (a, b) = (TcpListener::bind(here).await.unwrap(), TcpListener::bind(here).await.unwrap());
    let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    let (one, mut one_events) = start(1, at_b, a);
    let (_two, mut two_events) = start(2, at_a, b);
    let (first, second) = (identity(1).address(), identity(2).address());
    one.connect(second).unwrap();
    let up = |peer| Some(NetEvent::Up { peer, version: 2 });
    assert_eq!(one_events.next().await, up(second));
    assert_eq!(two_events.next().await, up(first));
    for bytes in [vec![], vec![1; 100_000], vec![2; 131_072]] {
        assert_eq!(one.send(second, bytes.clone()), SendOutcome::Queued);
        assert_eq!(two_events.next().await, Some(NetEvent::Frame { peer: first, bytes }));
    }
}
