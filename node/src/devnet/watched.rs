//! Nodes that live, watched: what their metrics say is what their logs say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use fairway_core::driver::{Driver, recorded};
use fairway_core::input::Command;
use fairway_core::log;
use fairway_core::machine::{NodeState, Tally};
use fairway_core::types::Amount;

use super::party::Party;
use super::script::{Stage, milli_ether};
use super::{Options, Story, Stream, set_up};
use crate::metrics::{FAMILIES, Facts, Kind, Observer, family_of};

/// One scrape: each series with its value, and each family with its kind.
struct Scrape {
    series: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Scrape {
    async fn of(party: &Party) -> Scrape {
        Scrape::by(&party.observer()).await
    }

    async fn by(observer: &Observer) -> Scrape {
        let text = observer.scrape().await;
        let (mut series, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a kind");
                assert_eq!(kinds.insert(name.to_string(), kind.to_string()), None, "{name} twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a series and a value");
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert_eq!(series.insert(name.to_string(), value), None, "{name} twice");
            }
        }
        Scrape { series, kinds }
    }

    fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series))
    }

    /// The sum over all labels.
    fn sum(&self, family: &str) -> f64 {
        let of = |name: &&String| name.split('{').next() == Some(family);
        self.series.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
    }

    /// Families whose names the exporter extends belong to the histogram before it.
    fn families(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(String::as_str).collect()
    }
}

/// What the log in `directory` amounts to up to its event `end`, worked out from the events alone.
fn folded(directory: &Path, end: f64) -> Tally {
    let files = crate::files::read(directory).unwrap();
    let events = recorded(&log::open(&files).unwrap()).unwrap();
    let (mut state, mut tally) = (NodeState::default(), Tally::default());
    assert!(events.len() as f64 >= end, "{} events, {end} shown", events.len());
    for (at, event) in events.into_iter().take(end as usize) {
        tally.apply(&mut state, at, event);
    }
    tally
}

/// Every counter of the log in the scrape, as the fold says it.
fn assert_equal(scrape: &Scrape, tally: &Tally, name: &str) {
    let mut compared = 0;
    for count in tally.counts() {
        let family = family_of(count.name).expect("every counter of the log is shown");
        let series = match count.by {
            "" => family.to_string(),
            by => format!("{family}{{{by}=\"{}\"}}", count.kind),
        };
        assert_eq!(scrape.get(&series), count.count as f64, "{name}: {series}");
        compared += 1;
    }
    assert!(compared > 50, "only {compared} counters");
    for (five, of_log) in
        [("channels_created", "channels_created"), ("messages_sent", "messages_sent")]
    {
        assert_eq!(scrape.get(five), tally.total(of_log) as f64, "{name}: {five}");
    }
}

/// Both names of each of the five, and what they say.
fn assert_the_five_agree(scrape: &Scrape, name: &str) {
    for (five, alias) in [
        ("channels_created", "fairway_channels_created_total"),
        ("messages_sent", "fairway_messages_sent_total"),
        ("signatures_verified", "fairway_signatures_verified_total"),
        ("event_log_size", "fairway_event_log_size_bytes"),
    ] {
        assert!(scrape.get(five) > 0.0, "{name}: {five}");
        assert_eq!(scrape.get(five), scrape.sum(alias), "{name}: {five}");
    }
    for (five, kind) in [
        ("channels_created", "counter"),
        ("messages_sent", "counter"),
        ("signatures_verified", "counter"),
        ("derivation_duration", "histogram"),
        ("event_log_size", "gauge"),
    ] {
        assert_eq!(scrape.kinds[five], kind, "{five}");
    }
    assert!(scrape.get("derivation_duration_bucket{le=\"0.0005\"}") >= 0.0);
}

/// Every family that is emitted stands in the table with its kind, and the other way round but for those that need a reason to be.
fn assert_the_table_is_whole(scrape: &Scrape) {
    let table: BTreeMap<&str, Kind> = FAMILIES.iter().map(|f| (f.name, f.kind)).collect();
    assert_eq!(table.len(), FAMILIES.len(), "a name stands twice in the table");
    for (name, kind) in &scrape.kinds {
        let expected = match table.get(name.as_str()) {
            Some(Kind::Counter) => "counter",
            Some(Kind::Gauge) => "gauge",
            Some(Kind::Histogram) => "histogram",
            None => panic!("{name} is not in the table"),
        };
        assert_eq!(kind, expected, "{name}");
    }
    let unseen: Vec<&str> =
        table.keys().copied().filter(|name| !scrape.families().contains(name)).collect();
    // On a development chain there is no service.
    let of_service = [
        "fairway_chain_degraded",
        "fairway_chain_service_events_total",
        "fairway_chain_wallet_balance",
        "fairway_chain_wallet_txs_affordable",
    ];
    assert_eq!(unseen, of_service);
    assert!(scrape.series.len() < 2_000, "{} series", scrape.series.len());
    // No label may carry what a peer or user chose: but for what the binary is, values are short words.
    for series in scrape.series.keys().filter(|s| !s.starts_with("fairway_build_info")) {
        for label in series.split('"').skip(1).step_by(2) {
            let word = label.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.+".contains(&b));
            assert!(word && label.len() <= 24, "{series}");
        }
    }
}

async fn stage(directory: &Path) -> Stage {
    let block_time = Duration::from_millis(20);
    let options = Options { directory: directory.to_path_buf(), block_time, updates: 0 };
    set_up(&options, Story::begin(Stream::Stderr)).await.unwrap().0
}

/// Goal: counters of facts equal a fold of the log, also over a restart; gauges are the state's; the table is whole.
/// Method: three nodes open, pay directly and through the hub, are refused something, and are scraped; one is killed and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_is_what_the_logs_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = stage(dir.path()).await;
    let mut book = stage.open(Amount::ether(5)).await.unwrap();
    stage.pay_to_and_fro(&mut book, 5).await.unwrap();
    let mut route = stage.open_route(Amount::ether(4)).await.unwrap();
    stage.pay_through_hub(&mut route, 3, milli_ether(3)).await.unwrap();
    let too_much = Command::Pay { channel: book.id, amount: Amount::ether(1_000) };
    stage.alice.command(too_much).await.unwrap_err();

    let mut scrapes = Vec::new();
    for party in [&stage.alice, &stage.bob, &stage.hub] {
        let scrape = Scrape::of(party).await;
        assert_the_five_agree(&scrape, party.name);
        assert_equal(
            &scrape,
            &folded(party.data_dir(), scrape.get("fairway_event_log_events")),
            party.name,
        );
        scrapes.push(scrape);
    }
    let [alice, bob, hub] = scrapes.as_slice() else { panic!("three parties") };
    for (scrape, direct) in [(alice, 2.0), (bob, 2.0), (hub, 2.0)] {
        assert_eq!(scrape.get("channels_created"), direct + 1.0);
        let open = "fairway_channels_status{kind=\"direct\",status=\"open\"}";
        assert_eq!(scrape.get(open), direct);
        let over = "fairway_channels_status{kind=\"virtual\",status=\"finished\"}";
        assert_eq!(scrape.get(over), 1.0);
        assert_eq!(scrape.get("fairway_p2p_peers_connected"), 2.0);
        assert_eq!(scrape.get("fairway_p2p_channel_peers_disconnected"), 0.0);
        assert_eq!(scrape.get("fairway_scrape_complete"), 1.0);
        assert_eq!(scrape.get("fairway_ready"), 1.0);
        assert_eq!(scrape.get("fairway_challenges_open{role=\"responder\"}"), 0.0);
        assert_eq!(scrape.get("fairway_challenge_min_seconds_remaining"), f64::INFINITY);
        assert!(scrape.get("fairway_p2p_bytes_total{direction=\"received\"}") > 1_000.0);
        assert!(scrape.get("fairway_data_dir_free_bytes") > 0.0);
        assert!(scrape.get("fairway_message_rtt_seconds_count") >= 1.0, "somebody answered");
        assert!(scrape.get("fairway_outbox_oldest_age_seconds") < 60.0);
    }
    let locked = "fairway_channel_value_locked{asset=\"native\"}";
    assert_eq!((alice.get(locked), hub.get(locked)), (18e18, 16e18));
    let (sent, received) = ("fairway_payments_sent_total", "fairway_payments_received_total");
    let kinds = ["direct", "virtual"];
    let payments =
        |s: &Scrape, family: &str| kinds.map(|kind| s.get(&format!("{family}{{kind=\"{kind}\"}}")));
    assert_eq!(payments(alice, sent), [3.0, 3.0]);
    assert_eq!(payments(alice, received), [2.0, 0.0]);
    assert_eq!(payments(bob, received), [3.0, 3.0]);
    assert_eq!(payments(hub, received), [0.0, 0.0]);
    let took = "fairway_objective_duration_seconds";
    assert_eq!(alice.get(&format!("{took}_count{{type=\"direct_fund\"}}")), 2.0);
    assert!(alice.get(&format!("{took}_sum{{type=\"direct_fund\"}}")) > 0.0);
    let refused = "fairway_commands_refused_total{reason=\"exceeds_balance\"}";
    assert_eq!(alice.get(refused), 1.0);
    let of_messages = "fairway_messages_rejected_total{reason=\"exceeds_balance\"}";
    assert_eq!(alice.get(of_messages), 0.0);
    assert_the_table_is_whole(alice);

    // A new process shows the same facts, and begins to count what it does itself.
    stage.bob.kill().await;
    stage.bob.forget_metrics();
    stage.bob.start(None).await.unwrap();
    let again = Scrape::of(&stage.bob).await;
    let end = again.get("fairway_event_log_events");
    assert!(end >= bob.get("fairway_event_log_events"));
    assert_equal(&again, &folded(stage.bob.data_dir(), end), "bob again");
    assert_eq!(again.get("channels_created"), bob.get("channels_created"));
    assert_eq!(again.get("fairway_derivation_duration_seconds_count{mode=\"cold\"}"), 1.0);
    assert!(again.get("fairway_replay_events") > 0.0);
    assert!(again.get("signatures_verified") < bob.get("signatures_verified"));
    for party in [&mut stage.alice, &mut stage.bob, &mut stage.hub] {
        let observer = party.observer();
        party.kill().await;
        // Nothing is measured any more, so both names of the histogram can be compared; and the node is known to be gone.
        let gone = Scrape::by(&observer).await;
        let (five, alias) = ("derivation_duration", "fairway_derivation_duration_seconds");
        assert!(gone.get(&format!("{five}_count")) >= 2.0);
        for part in ["count", "bucket"] {
            let sums = [five, alias].map(|name| gone.sum(&format!("{name}_{part}")));
            assert_eq!(sums[0], sums[1], "{}: {part}", party.name);
        }
        assert_eq!(gone.get("fairway_scrape_complete"), 0.0);
        assert_eq!(gone.get("fairway_ready_check{check=\"log\"}"), 0.0);
        assert_eq!(gone.get("channels_created"), 3.0, "what it showed last");
    }
}

/// Goal: a challenge against us is seen while it runs, with the time that is left, and so is our own.
/// Method: Bob's key challenges with an old state; whoever watches Alice's node looks at each of its rests. She answers, and ends the
/// channel by a challenge of her own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_are_shown_while_they_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = stage(dir.path()).await;
    let handle = stage.alice.node_handle();
    let watcher = tokio::spawn(async move {
        let theirs = |driver: &Driver| {
            let facts = Facts::of(driver, 0);
            facts.challenge_left_s.map(|left_s| (facts.challenges, left_s))
        };
        let theirs = handle.when(theirs).await.unwrap();
        let ours = |driver: &Driver| {
            let facts = Facts::of(driver, 0);
            (facts.challenges[0] > 0).then_some((facts.challenges, facts.challenge_left_s))
        };
        (theirs, handle.when(ours).await.unwrap())
    });
    let longest_s = u64::from(stage.challenge_duration);
    stage.dispute(Amount::ether(3)).await.unwrap();
    let ((challenges, left_s), ours) = watcher.await.unwrap();
    assert_eq!(challenges, [0, 1]);
    assert!((1..=longest_s).contains(&left_s), "{left_s} s of {longest_s}");
    assert_eq!(ours, ([1, 0], None));

    for party in [&mut stage.alice, &mut stage.bob] {
        let scrape = Scrape::of(party).await;
        let end = scrape.get("fairway_event_log_events");
        assert_equal(&scrape, &folded(party.data_dir(), end), party.name);
        let completed = "fairway_objectives_completed_total{type=\"dispute\"}";
        assert_eq!(scrape.get(completed), 1.0, "{}", party.name);
        party.kill().await;
    }
}
