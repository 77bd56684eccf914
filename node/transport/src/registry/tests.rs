//! The decisions that need no stream; those that do are in the tests of whole networks.

use super::*;
use crate::hello::{ChainPin, VersionRange};

const OWN: Address = Address::repeat_byte(5);

fn peer(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn registry(change: impl FnOnce(&mut Config)) -> Registry<tokio::io::DuplexStream> {
    let chain = ChainPin { chain_id: 1, adjudicator: Address::ZERO };
    let mut config = Config::new(chain, VersionRange::only(1));
    change(&mut config);
    let shared = Shared::for_tests(OWN, &config);
    Registry::new(OWN, config, [7; 32], shared)
}

#[test]
fn both_ends_agree_on_who_dialed() {
    let (low, high) = (peer(1), peer(2));
    assert!(dialed_by_lower(Side::Dialed, low, high));
    assert!(dialed_by_lower(Side::Accepted, high, low));
    assert!(!dialed_by_lower(Side::Accepted, low, high));
    assert!(!dialed_by_lower(Side::Dialed, high, low));
}

#[test]
fn back_off_doubles_with_jitter_up_to_its_maximum() {
    let mut registry = registry(|c| {
        c.backoff_base_ms = 100;
        c.backoff_max_ms = 1_000;
    });
    for (failures, full) in [(0, 100), (1, 200), (3, 800), (4, 1_000), (63, 1_000), (200, 1_000)] {
        let drawn: Vec<u64> = (0..200).map(|_| registry.backoff_ms(failures)).collect();
        assert!(drawn.iter().all(|ms| (full / 2..=full).contains(ms)), "{failures}: {drawn:?}");
        assert!(drawn.iter().any(|ms| *ms != drawn[0]), "{failures}: no jitter");
    }
}

#[test]
fn a_wanted_peer_is_dialed_at_once_and_then_with_back_off() {
    let mut registry = registry(|_| {});
    registry.shared.lock().wanted.insert(peer(9));
    registry.on_changed();
    assert!(matches!(registry.take_jobs()[..], [Job::Dial { .. }]));
    registry.on_changed();
    assert!(registry.take_jobs().is_empty(), "one attempt at a time");
    registry.on_done(Done::Dialed { peer: peer(9), result: Err(DialError::Refused) }, 1);
    assert!(matches!(registry.take_jobs()[..], [Job::Wait { ms: 250..=500, .. }]));
    registry.on_done(Done::Waited { peer: peer(9) }, 300);
    assert!(matches!(registry.take_jobs()[..], [Job::Dial { .. }]));
    assert_eq!(registry.shared.lock().counters.dials_failed, 1);
}

#[test]
fn a_disconnected_peer_leaves_nothing_behind() {
    let mut registry = registry(|_| {});
    registry.shared.lock().wanted.insert(peer(9));
    registry.on_changed();
    registry.shared.lock().wanted.clear();
    registry.shared.lock().unwanted.insert(peer(9));
    registry.on_changed();
    registry.on_done(Done::Dialed { peer: peer(9), result: Err(DialError::Cancelled) }, 1);
    assert!(registry.peers.is_empty());
    assert!(matches!(registry.take_jobs()[..], [Job::Dial { .. }]));
}

#[test]
fn handshakes_in_flight_are_taken_up_to_their_limit_and_no_further() {
    let mut registry = registry(|c| c.handshakes_max = 2);
    let stream = || tokio::io::duplex(1).0;
    for _ in 0..3 {
        registry.on_accept(stream());
    }
    assert_eq!(registry.take_jobs().len(), 2);
    assert_eq!(registry.shared.lock().counters.accepts_dropped, 1);
    let failed = HandshakeError::Timeout { ms: 5 };
    registry.on_done(Done::Answered(Err(failed)), 5);
    registry.on_accept(stream());
    assert_eq!(registry.take_jobs().len(), 1);
    assert_eq!(registry.shared.lock().counters.handshakes_timed_out, 1);
}

#[test]
fn equal_seeds_decide_equally() {
    let draw = || {
        let mut registry = registry(|_| {});
        (registry.backoff_ms(5), registry.seed(), registry.seed(), registry.backoff_ms(5))
    };
    assert_eq!(draw(), draw());
    assert_ne!(draw().1, draw().2);
}
