//! One session on paused time, against a live peer, a dead one and a hostile one.

use super::*;
use crate::hello::VersionRange;
use crate::testing::{CHAIN, TestClock, links};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::time::timeout;

fn config() -> Config {
    let limits = Config::new(CHAIN, VersionRange::only(1));
    Config { keepalive_ms: 100, idle_ms: 300, ..limits }
}

/// One end under test.
struct End {
    queue: Outgoing,
    events: mpsc::Sender<NetEvent>,
    seen: mpsc::Receiver<NetEvent>,
    config: Config,
    clock: TestClock,
    shared: Arc<Shared>,
}

impl End {
    fn new(config: Config) -> End {
        let (events, seen) = mpsc::channel(config.events_max);
        let queue = Outgoing::new(config.queue_messages_max, config.queue_bytes_max);
        let shared = Shared::for_tests(Address::ZERO, &config);
        End { queue, events, seen, config, clock: TestClock::new(), shared }
    }

    async fn run(&self, link: Link<DuplexStream>) -> Ended {
        let (queue, events, shared) = (&self.queue, &self.events, &self.shared);
        run(link, Ports { queue, events, clock: &self.clock, config: &self.config, shared }).await
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Ok(event) = self.seen.try_recv() {
            if let NetEvent::Frame { bytes, .. } = event {
                frames.push(bytes);
            }
        }
        frames
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Goal: an idle session between two live ends stays up. Method: an hour of paused time.
#[tokio::test(start_paused = true)]
async fn keepalive_keeps_an_idle_session_up() {
    let (a, b) = links(1_024).await;
    let (one, two) = (End::new(config()), End::new(config()));
    let both = async { tokio::join!(one.run(a), two.run(b)) };
    assert!(timeout(ms(3_600_000), both).await.is_err());
}

/// Goal: a peer that is silent for ever is given up after `idle_ms`, and not before.
#[tokio::test(start_paused = true)]
async fn keepalive_kills_a_half_open_link() {
    let (a, _half_open) = links(1_024).await;
    let end = End::new(config());
    let ended = end.run(a).await;
    assert_eq!(ended.reason, DownReason::Idle { silent_ms: 300 });
    assert_eq!(end.clock.now_ms(), 300);
    assert!(ended.announced);
}

/// Goal: a writer that is stuck (the pipe holds one byte) does not keep the session from dying.
#[tokio::test(start_paused = true)]
async fn a_stuck_writer_dies_of_silence_too() {
    let (a, _half_open) = links(1).await;
    let end = End::new(config());
    end.queue.push(vec![0; 1_000]);
    assert_eq!(end.run(a).await.reason, DownReason::Idle { silent_ms: 300 });
}

#[tokio::test(start_paused = true)]
async fn a_probed_session_has_keepalive_ms_to_show_life() {
    let (a, _half_open) = links(1_024).await;
    let end = End::new(config());
    let (ended, ()) = tokio::join!(end.run(a), async {
        tokio::time::sleep(ms(10)).await;
        end.queue.probe();
    });
    assert_eq!(ended.reason, DownReason::Idle { silent_ms: 110 });

    let (a, b) = links(1_024).await;
    let (one, two) = (End::new(config()), End::new(config()));
    one.queue.probe();
    let both = async { tokio::join!(one.run(a), two.run(b)) };
    assert!(timeout(ms(10_000), both).await.is_err(), "a live peer answers the probe");
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_in_order_and_the_end_is_reported() {
    let (a, b) = links(64).await;
    let (one, mut two) = (End::new(config()), End::new(config()));
    let sent: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; usize::from(i) * 11]).collect();
    for bytes in &sent {
        assert_eq!(one.queue.push(bytes.clone()), crate::queue::Push::Queued);
    }
    let (first, second) = tokio::join!(
        async {
            select! {
                biased;
                ended = one.run(a) => Some(ended.reason),
                () = tokio::time::sleep(ms(50)) => None,
            }
        },
        two.run(b)
    );
    assert_eq!((first, second.reason), (None, DownReason::Closed));
    assert_eq!(two.shared.lock().counters.received, 100);
    assert_eq!(two.frames(), sent);
}

/// Goal: a caller that takes no events holds the peer back without losing frames or the session.
#[tokio::test(start_paused = true)]
async fn a_slow_caller_pauses_reading_and_keeps_the_session() {
    let (a, b) = links(64).await;
    let one = End::new(config());
    let mut two = End::new(Config { events_max: 1, ..config() });
    for i in 0..20 {
        one.queue.push(vec![i; 100]);
    }
    let (queue, config) = (&two.queue, &two.config);
    let (events, clock, shared) = (&two.events, &two.clock, &two.shared);
    let ports = Ports { queue, events, clock, config, shared };
    let mut frames = Vec::new();
    select! {
        biased;
        _ = async { tokio::join!(one.run(a), run(b, ports)) } => panic!("a session ended"),
        () = async {
            tokio::time::sleep(ms(5_000)).await;
            while frames.len() < 20 {
                if let Some(NetEvent::Frame { bytes, .. }) = two.seen.recv().await {
                    frames.push(bytes);
                }
            }
        } => {}
    }
    assert_eq!(frames, (0..20).map(|i| vec![i; 100]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_oversize_or_corrupted_frame_ends_the_session() {
    let (a, b) = links(1 << 20).await;
    let (one, two) = (End::new(config()), End::new(config()));
    one.queue.push(vec![0; one.config.frame_bytes_max + 1]);
    let (_, ended) = tokio::join!(one.run(a), two.run(b));
    let reason = ended.reason;
    assert!(matches!(reason, DownReason::BadFrame(FrameError::TooLong { .. })), "{reason}");

    let (a, b) = links(1 << 20).await;
    let (mut raw, _noise) = a.into_parts();
    let junk = [&21u32.to_be_bytes()[..], &[7; 21]].concat();
    tokio::io::AsyncWriteExt::write_all(&mut raw, &junk).await.unwrap();
    assert_eq!(two.run(b).await.reason, DownReason::BadFrame(FrameError::Decrypt));
}

#[tokio::test(start_paused = true)]
async fn an_order_to_close_ends_the_session_with_its_reason() {
    let (a, _b) = links(64).await;
    let end = End::new(config());
    end.queue.close(DownReason::Replaced);
    let ended = end.run(a).await;
    assert_eq!(ended.reason, DownReason::Replaced);
    assert!(!ended.announced, "closed before the caller heard of it");
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_events_stops_the_session() {
    let (a, _b) = links(64).await;
    let mut end = End::new(config());
    end.seen.close();
    assert_eq!(end.run(a).await.reason, DownReason::Stopped);
}

/// Goal: a session that is asked to finish sends everything first, however slowly the peer reads. Method: far more than the stream
/// holds, asked to finish at once.
#[tokio::test(start_paused = true)]
async fn a_session_that_finishes_sends_what_is_queued() {
    let (a, b) = links(64).await;
    let (one, mut two) = (End::new(config()), End::new(config()));
    for byte in 0..20 {
        one.queue.push(vec![byte; 1_000]);
    }
    one.queue.finish();
    let (ended, _) = tokio::join!(one.run(a), two.run(b));
    assert_eq!(ended.reason, DownReason::Disconnected);
    let expected: Vec<Vec<u8>> = (0..20).map(|byte| vec![byte; 1_000]).collect();
    assert_eq!(two.frames(), expected);
}
