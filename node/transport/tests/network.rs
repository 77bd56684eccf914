//! Whole networks on simulated time: reconnection, simultaneous dials, limits.

mod common;

use common::{CHAIN, Node, TokioClock, World, identity, ms};
use fairway_core::types::Address;
use fairway_transport::{
    Config, ConfigError, ConnectError, DownReason, Handle, NetEvent, Network, SendOutcome,
    VersionRange,
};
use tokio::task::LocalSet;
use tokio::time::sleep;

/// Runs `story` on a single thread with paused time.
async fn on_one_thread(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

fn nothing(_: &mut Config) {}

/// Both hold exactly one session, and it carries frames both ways.
async fn assert_connected(one: &Node, two: &Node, name: &str) {
    for (node, peer) in [(one, two), (two, one)] {
        assert_eq!(node.handle.sessions(), [peer.address], "{name}");
        assert_eq!(node.ups() - node.downs(), 1, "{name}: {:?}", node.seen.borrow());
        let text = format!("{name} to {}", peer.address).into_bytes();
        assert_eq!(node.handle.send(peer.address, text.clone()), SendOutcome::Queued, "{name}");
        sleep(ms(200)).await;
        assert!(peer.frames().contains(&text), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connected_peer_is_up_and_exchanges_frames() {
    on_one_thread(async {
        let world = World::new(5);
        let (one, two) = (world.start(1, nothing), world.start(2, nothing));
        one.handle.connect(two.address).unwrap();
        sleep(ms(100)).await;
        let up = |peer: &Node| NetEvent::Up { peer: peer.address, version: 1 };
        assert_eq!(one.seen.borrow()[0], up(&two));
        assert_eq!(two.seen.borrow()[0], up(&one));
        assert_connected(&one, &two, "once").await;
        let large = vec![7; 131_072];
        assert_eq!(one.handle.send(two.address, large.clone()), SendOutcome::Queued);
        sleep(ms(100)).await;
        assert_eq!(two.frames().last(), Some(&large));
        let (sent, received) = (one.handle.counters(), two.handle.counters());
        assert_eq!(sent.dials, 1);
        let text = format!("once to {}", two.address);
        assert_eq!(sent.bytes_sent, (text.len() + large.len()) as u64);
        assert_eq!((sent.queued, sent.bytes_sent), (received.received, received.bytes_received));
    })
    .await;
}

/// Goal: a network that finishes delivers what is queued, ends, and is not to be had again. Method: more than one write takes.
#[tokio::test(start_paused = true)]
async fn a_network_that_finishes_sends_what_is_queued() {
    on_one_thread(async {
        let world = World::new(2);
        let (one, two) = (world.start(1, nothing), world.start(2, nothing));
        one.handle.connect(two.address).unwrap();
        sleep(ms(100)).await;
        let frames: Vec<Vec<u8>> = (0..9).map(|byte| vec![byte; 10_000]).collect();
        for frame in &frames {
            assert_eq!(one.handle.send(two.address, frame.clone()), SendOutcome::Queued);
        }
        one.handle.finish();
        assert_eq!(one.handle.connect(two.address), Err(ConnectError::Stopped));
        sleep(ms(1_000)).await;
        assert_eq!(two.frames(), frames);
        assert!(one.handle.sessions().is_empty());
        assert_eq!(one.handle.send(two.address, vec![1]), SendOutcome::NoSession);
        let (peer, reason) = (one.address, DownReason::Closed);
        assert_eq!(two.seen.borrow().last(), Some(&NetEvent::Down { peer, reason }));
    })
    .await;
}

/// Goal: whoever dials when, both sides end with the same single session, the lower address's.
/// Method: all combinations of dial delays and three latencies; then a frame each way.
#[tokio::test(start_paused = true)]
async fn simultaneous_dials_converge_on_one_session() {
    for latency_ms in [0, 1, 7] {
        for delays in (0..36).map(|i| [[0, 1, 2, 5, 9, 20][i / 6], [0, 1, 2, 5, 9, 20][i % 6]]) {
            on_one_thread(async {
                let name = format!("latency {latency_ms}, dials {delays:?}");
                let world = World::new(latency_ms);
                let (one, two) = (world.start(1, nothing), world.start(2, nothing));
                world.set_dial_ms(one.address, delays[0]);
                world.set_dial_ms(two.address, delays[1]);
                one.handle.connect(two.address).unwrap();
                two.handle.connect(one.address).unwrap();
                sleep(ms(8_000)).await;
                let before = (one.ups(), two.ups());
                assert_eq!(before, (1, 1), "{name}: no session is up only to be replaced");
                assert_connected(&one, &two, &name).await;
                sleep(ms(60_000)).await;
                assert_eq!((one.ups(), two.ups()), before, "{name}: still flapping");
            })
            .await;
        }
    }
}

/// Goal: a session that is up already stays, whoever dialed it; the slower dial is given up.
#[tokio::test(start_paused = true)]
async fn a_slow_dial_gives_way_to_a_session_that_is_up() {
    for slow_is_lower in [true, false] {
        on_one_thread(async {
            let world = World::new(3);
            let (one, two) = (world.start(1, nothing), world.start(2, nothing));
            let (low, high) = if one.address < two.address { (one, two) } else { (two, one) };
            let (slow, fast) = if slow_is_lower { (low, high) } else { (high, low) };
            world.set_dial_ms(slow.address, 50);
            slow.handle.connect(fast.address).unwrap();
            fast.handle.connect(slow.address).unwrap();
            sleep(ms(1_000)).await;
            assert_connected(&slow, &fast, "one of two").await;
            assert_eq!((slow.ups(), fast.ups()), (1, 1));
            assert_eq!(slow.handle.counters().dials_cancelled, 1);
        })
        .await;
    }
}

/// Goal: dials that hang for ever are bounded, counted and repeated with growing delays.
#[tokio::test(start_paused = true)]
async fn hanging_and_refused_dials_back_off() {
    on_one_thread(async {
        let world = World::new(1);
        let one = world.start(1, |c| c.dial_ms = 100);
        let (nobody, hangs) = (Address::repeat_byte(9), Address::repeat_byte(8));
        world.set_hanging(hangs);
        one.handle.connect(hangs).unwrap();
        sleep(ms(99)).await;
        assert_eq!(one.handle.counters().dials_timed_out, 0);
        sleep(ms(10_000)).await;
        let timed_out = one.handle.counters().dials_timed_out;
        assert!((3..=8).contains(&timed_out), "{timed_out}");
        one.handle.disconnect(hangs);
        sleep(ms(10)).await;

        let from = world.dials().len();
        one.handle.connect(nobody).unwrap();
        sleep(ms(60_000)).await;
        let dials: Vec<u64> = world.dials()[from..].iter().map(|(at, _)| *at).collect();
        let gaps: Vec<u64> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (i, gap) in gaps.iter().enumerate() {
            let full = (500u64 << i.min(10)).min(4_000);
            assert!((full / 2..=full + 2).contains(gap), "gap {i} of {gaps:?}");
        }
        assert!(gaps.len() > 10);
        assert_eq!(one.handle.counters().dials_failed, dials.len() as u64);
        assert_eq!(one.handle.send(nobody, vec![1]), SendOutcome::NoSession);
    })
    .await;
}

/// Goal: a partition that swallows bytes for ever is noticed on both sides and healed after it.
#[tokio::test(start_paused = true)]
async fn a_silent_partition_ends_the_session_and_a_new_one_follows() {
    on_one_thread(async {
        let world = World::new(2);
        let (one, two) = (world.start(1, nothing), world.start(2, nothing));
        one.handle.connect(two.address).unwrap();
        sleep(ms(5_000)).await;
        world.set_swallowing(true);
        sleep(ms(4_100)).await;
        for node in [&one, &two] {
            let event = node.seen.borrow().last().cloned();
            let idle = matches!(
                event,
                Some(NetEvent::Down { reason: DownReason::Idle { silent_ms: 3_000 }, .. })
            );
            assert!(idle, "{event:?}");
            assert_eq!(node.handle.counters().ended_idle, 1);
        }
        sleep(ms(20_000)).await;
        assert!(one.handle.counters().handshakes_timed_out > 0);
        world.set_swallowing(false);
        sleep(ms(10_000)).await;
        assert_connected(&one, &two, "healed").await;
    })
    .await;
}

/// Goal: a peer that lost power and came back replaces its old session, whoever dials.
#[tokio::test(start_paused = true)]
async fn a_restarted_peer_replaces_its_dead_session() {
    for restarted_is_lower in [true, false] {
        on_one_thread(async {
            let world = World::new(2);
            let (one, two) = (world.start(1, nothing), world.start(2, nothing));
            let (low, high) = if one.address < two.address { (one, two) } else { (two, one) };
            low.handle.connect(high.address).unwrap();
            high.handle.connect(low.address).unwrap();
            sleep(ms(500)).await;
            let (stays, dies) = if restarted_is_lower { (high, low) } else { (low, high) };
            // Power loss: the stream's bytes vanish and no end of stream is seen.
            world.set_swallowing(true);
            dies.task.abort();
            sleep(ms(10)).await;
            world.set_swallowing(false);
            let byte = if dies.address == identity(1).address() { 1 } else { 2 };
            let again = world.start(byte, nothing);
            again.handle.connect(stays.address).unwrap();
            sleep(ms(2_500)).await;
            assert_eq!(stays.ups() - stays.downs(), 1, "{:?}", stays.seen.borrow());
            assert_eq!(
                stays.handle.counters().ended_idle + stays.handle.counters().ended_replaced,
                1
            );
            sleep(ms(5_000)).await;
            assert_connected(&stays, &again, "restarted").await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_peer_stays_down() {
    on_one_thread(async {
        let world = World::new(2);
        let (one, two) = (world.start(1, nothing), world.start(2, nothing));
        one.handle.connect(two.address).unwrap();
        sleep(ms(100)).await;
        one.handle.disconnect(two.address);
        assert_eq!(one.handle.send(two.address, vec![1]), SendOutcome::NoSession);
        sleep(ms(60_000)).await;
        let (peer, reason) = (two.address, DownReason::Disconnected);
        assert_eq!(one.seen.borrow().last(), Some(&NetEvent::Down { peer, reason }));
        let (peer, reason) = (one.address, DownReason::Closed);
        assert_eq!(two.seen.borrow().last(), Some(&NetEvent::Down { peer, reason }));
        assert_eq!((one.handle.counters().dials, one.ups()), (1, 1));
        assert_eq!(one.handle.counters().dropped_no_session, 1);

        one.handle.connect(two.address).unwrap();
        sleep(ms(1_000)).await;
        assert_connected(&one, &two, "again").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn queues_are_bounded_by_messages_bytes_and_frame_size() {
    on_one_thread(async {
        let world = World::new(2);
        let one = world.start(1, |c| {
            c.queue_messages_max = 3;
            c.frame_bytes_max = 100;
            c.queue_bytes_max = 250;
        });
        let two = world.start(2, |c| c.frame_bytes_max = 100);
        one.handle.connect(two.address).unwrap();
        sleep(ms(100)).await;
        let send = |bytes| one.handle.send(two.address, vec![0; bytes]);
        assert_eq!(send(101), SendOutcome::TooLarge { bytes: 101, bytes_max: 100 });
        assert_eq!([send(1), send(1), send(1)], [SendOutcome::Queued; 3]);
        assert_eq!(send(1), SendOutcome::Full, "messages");
        sleep(ms(10)).await;
        assert_eq!([send(100), send(100), send(50)], [SendOutcome::Queued; 3]);
        sleep(ms(10)).await;
        assert_eq!([send(100), send(100), send(51)].last(), Some(&SendOutcome::Full), "bytes");
        sleep(ms(10)).await;
        let counted = one.handle.counters();
        assert_eq!(
            (counted.queued, counted.dropped_queue_full, counted.dropped_too_large),
            (8, 2, 1)
        );
        assert_eq!(two.frames().len(), 8);
        assert_eq!(two.handle.counters().received, 8);
    })
    .await;
}

/// Goal: beyond `sessions_max` strangers are turned away and wanted peers keep their places.
#[tokio::test(start_paused = true)]
async fn sessions_are_taken_up_to_their_limit() {
    on_one_thread(async {
        let world = World::new(2);
        let hub = world.start(1, |c| c.sessions_max = 2);
        let (a, b, c) = (world.start(2, nothing), world.start(3, nothing), world.start(4, nothing));
        for (node, expected) in [(&a, 1), (&b, 2), (&c, 2)] {
            node.handle.connect(hub.address).unwrap();
            sleep(ms(500)).await;
            assert_eq!(hub.handle.sessions().len(), expected);
        }
        assert!(hub.handle.counters().refused_full > 0);
        assert!(c.handle.counters().handshakes_refused_by_peer > 0);

        hub.handle.connect(c.address).unwrap();
        sleep(ms(500)).await;
        hub.handle.disconnect(a.address);
        sleep(ms(60_000)).await;
        assert!(hub.handle.sessions().contains(&c.address), "the wanted peer has the place");
        assert_eq!(hub.handle.sessions().len(), 2);

        hub.handle.connect(a.address).unwrap();
        assert_eq!(hub.handle.connect(b.address), Err(ConnectError::TooMany { max: 2 }));
        let address = hub.address;
        assert_eq!(hub.handle.connect(address), Err(ConnectError::Ourselves { address }));
    })
    .await;
}

/// Goal: streams that say nothing hold a place for `handshake_ms` and no longer.
#[tokio::test(start_paused = true)]
async fn silent_streams_are_bounded_in_number_and_time() {
    on_one_thread(async {
        let world = World::new(2);
        let hub = world.start(1, |c| c.handshakes_max = 2);
        let mut held = Vec::new();
        for _ in 0..3 {
            let (near, far) = tokio::io::duplex(64);
            hub.handle.accept(far);
            held.push(near);
            sleep(ms(1)).await;
        }
        assert_eq!(hub.handle.counters().accepts_dropped, 1);
        sleep(ms(12_000)).await;
        assert_eq!(hub.handle.counters().handshakes_timed_out, 2);
        let two = world.start(2, nothing);
        two.handle.connect(hub.address).unwrap();
        sleep(ms(100)).await;
        assert_connected(&hub, &two, "afterwards").await;
    })
    .await;
}

/// Goal: two runs with equal seeds say the same at the same time.
#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_runs() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        on_one_thread(async {
            let world = World::new(3);
            let nodes: Vec<Node> = (1..=4).map(|byte| world.start(byte, nothing)).collect();
            for node in &nodes {
                for peer in nodes.iter().filter(|peer| peer.address != node.address) {
                    node.handle.connect(peer.address).unwrap();
                }
            }
            sleep(ms(3_000)).await;
            world.set_swallowing(true);
            sleep(ms(9_000)).await;
            world.set_swallowing(false);
            sleep(ms(9_000)).await;
            let seen: Vec<_> = nodes.iter().map(|node| node.seen.borrow().clone()).collect();
            assert!(nodes.iter().all(|node| node.handle.sessions().len() == 3));
            runs.push((world.dials(), seen));
        })
        .await;
    }
    assert!(runs[0] == runs[1], "the runs differ");
}

#[tokio::test(start_paused = true)]
async fn the_network_ends_with_its_events_or_its_handles() {
    let make = || {
        let config = Config::new(CHAIN, VersionRange::only(1));
        let world = World::new(1);
        let node = identity(1);
        struct Nowhere;
        impl fairway_transport::Dial for Nowhere {
            type Stream = tokio::io::DuplexStream;
            async fn dial(&self, _: Address) -> std::io::Result<tokio::io::DuplexStream> {
                Err(std::io::ErrorKind::ConnectionRefused.into())
            }
        }
        drop(world);
        Network::new(config, node, [1; 32], TokioClock::new(), Nowhere).unwrap()
    };
    let (network, handle, events) = make();
    drop(events);
    network.run().await;
    assert_eq!(handle.connect(Address::ZERO), Err(ConnectError::Stopped));

    let (network, handle, mut events) = make();
    drop::<Handle<_>>(handle);
    network.run().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn limits_that_cannot_work_are_refused() {
    struct Never;
    impl fairway_transport::Dial for Never {
        type Stream = tokio::io::DuplexStream;
        async fn dial(&self, _: Address) -> std::io::Result<tokio::io::DuplexStream> {
            std::future::pending().await
        }
    }
    let mut config = Config::new(CHAIN, VersionRange::only(1));
    config.sessions_max = 0;
    let refused = Network::new(config, identity(1), [1; 32], TokioClock::new(), Never).err();
    assert_eq!(refused, Some(ConfigError::Zero { key: "sessions_max" }));
}
