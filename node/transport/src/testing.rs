//! Fixtures of the unit tests: identities and a clock on tokio's paused time.

use std::time::Duration;

use fairway_core::nitro::sign::{Crypto, SecretKey};
use fairway_core::types::Address;

use crate::handshake::{Link, Local, answer, initiate};
use crate::hello::{ChainPin, VersionRange};
use crate::identity::Identity;
use crate::ports::Clock;
use snow::TransportState;
use tokio::io::DuplexStream;

/// The channel key number `byte`.
pub fn channel_key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Crypto::Real).unwrap()
}

/// The identity of channel key `byte`; its node seed is `byte` repeated.
pub fn identity(byte: u8) -> Identity {
    Identity::new(&channel_key(byte), Crypto::Real, [byte; 32])
}

/// Simulated time: for tests with `start_paused = true`.
#[derive(Clone, Copy)]
pub struct TestClock(tokio::time::Instant);

impl TestClock {
    /// A clock at zero.
    pub fn new() -> TestClock {
        TestClock(tokio::time::Instant::now())
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> {
        tokio::time::sleep(Duration::from_millis(ms))
    }
}

/// The chain of all tests.
pub const CHAIN: ChainPin = ChainPin { chain_id: 31_337, adjudicator: Address::ZERO };

/// Both ends of a session between identities 1 (who dialed) and 2, over a pipe of `pipe_bytes`.
pub async fn links(pipe_bytes: usize) -> (Link<DuplexStream>, Link<DuplexStream>) {
    let (a, b) = tokio::io::duplex(pipe_bytes);
    let (one, two) = (identity(1), identity(2));
    let local = |identity| Local { identity, chain: CHAIN, versions: VersionRange::only(1) };
    let (ours, theirs) = (local(&one), local(&two));
    let (dialed, accepted) =
        tokio::join!(initiate(a, &ours, Some(two.address()), [1; 32]), async {
            answer(b, &theirs, [2; 32]).await?.accept().await
        },);
    (dialed.unwrap(), accepted.unwrap())
}

/// The cipher states of such a session; equal at each call.
pub fn noise_pair() -> (TransportState, TransportState) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (a, b) = runtime.block_on(links(1_024));
    (a.into_parts().1, b.into_parts().1)
}
