//! The meter and the judgement of readiness, without a node; nodes are watched in `devnet`.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_chain::{Health, Trouble};
use fairway_core::chain_types::BlockRef;
use fairway_core::driver::Progress;
use fairway_core::types::Lsn;

use super::*;

fn series(metrics: &Metrics, name: &str) -> Option<String> {
    let text = metrics.render();
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(n, _)| n == name));
    line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_string())
}

/// Goal: the five are recorded under exactly these names. Method: one value each, then values that are none.
#[test]
fn the_five_are_recorded_under_their_names() {
    let metrics = Metrics::new();
    for (metric, name, value, shown) in [
        (MetricType::ChannelsCreated, "channels_created", 1523.0, "1523"),
        (MetricType::MessagesSent, "messages_sent", 7.0, "7"),
        (MetricType::SignaturesVerified, "signatures_verified", 8.0, "8"),
        (MetricType::EventLogSize, "event_log_size", 9.0, "9"),
        (MetricType::DerivationDuration, "derivation_duration_count", 0.004, "1"),
    ] {
        metrics.record(metric, value);
        assert_eq!(series(&metrics, name).as_deref(), Some(shown), "{name}");
        for nothing in [f64::NAN, f64::INFINITY, -1.0] {
            metrics.record(metric, nothing);
        }
        assert_eq!(series(&metrics, name).as_deref(), Some(shown), "{name}");
    }
    metrics.record(MetricType::ChannelsCreated, 1.0);
    assert_eq!(
        series(&metrics, "channels_created").as_deref(),
        Some("1523"),
        "a total never falls"
    );
    let buckets =
        ["0.0025", "0.005"].map(|le| format!("derivation_duration_bucket{{le=\"{le}\"}}"));
    let counts = buckets.map(|name| series(&metrics, &name));
    assert_eq!(counts, [Some("0".to_string()), Some("1".to_string())]);
}

fn running() -> Metrics {
    let metrics = Metrics::new();
    metrics.startup().enter(Phase::Running);
    metrics
}

fn good() -> Facts {
    Facts { chain_up: true, head: Some(BlockRef::default()), ..Facts::default() }
}

fn wrong(readiness: &Readiness) -> BTreeMap<&'static str, &str> {
    readiness.checks.iter().filter(|c| !c.ok).map(|c| (c.name, c.reason.as_str())).collect()
}

/// Goal: each reason not to be ready is found, alone, and named. Method: one change to a good node a row.
#[test]
fn a_node_is_ready_when_every_check_is_good() {
    let good_chain = Health::default();
    let judged = Readiness::of(&running(), Some(&good()), Some(&good_chain));
    assert!(judged.ready, "{judged:?}");
    assert_eq!(judged.checks.len(), 7);
    assert!(Readiness::of(&running(), Some(&good()), None).ready, "on a development chain");

    type Change = fn(&mut Facts, &Metrics);
    let rows: [(&str, Change, &str); 5] = [
        ("disk", |f, _| f.scarce = true, "the disk is full"),
        ("signer", |f, _| f.recovery = Some("Restored".into()), "in recovery (Restored)"),
        ("chain", |f, _| f.chain_up = false, "no block was seen"),
        ("chain", |f, _| f.head = None, "no block was seen"),
        ("p2p", |_, m| m.heard(false), "out of file descriptors"),
    ];
    for (check, change, reason) in rows {
        let (mut facts, metrics) = (good(), running());
        change(&mut facts, &metrics);
        let judged = Readiness::of(&metrics, Some(&facts), Some(&good_chain));
        assert!(!judged.ready, "{check}");
        let wrong = wrong(&judged);
        assert_eq!(wrong.keys().collect::<Vec<_>>(), [&check]);
        assert!(wrong[check].contains(reason), "{wrong:?}");
    }
    let busy = Readiness::of(&running(), None, Some(&good_chain));
    assert!(wrong(&busy)["log"].contains("does not rest"), "{busy:?}");
}

/// Nothing is concluded from the silence of a node that stops, but that it stops.
#[test]
fn a_node_that_stops_is_not_ready_for_this_reason_alone() {
    let metrics = running();
    metrics.startup().enter(Phase::Stopping);
    for facts in [None, Some(&good())] {
        let judged = Readiness::of(&metrics, facts, Some(&Health::default()));
        assert!(!judged.ready);
        assert_eq!(wrong(&judged), BTreeMap::from([("stop", DRAINING)]));
    }
}

/// Blindness is a reason; what a node can live with is told and is none.
#[test]
fn the_chain_services_reasons_are_told() {
    for (trouble, ready) in [
        (Trouble::NoQuorum, false),
        (Trouble::WrongChain, false),
        (Trouble::Disagreement, false),
        (Trouble::Stale, false),
        (Trouble::EndpointDown, true),
        (Trouble::NoReceipts, true),
        (Trouble::NoGasMoney, true),
        (Trouble::Refused, true),
    ] {
        let reasons = BTreeMap::from([(trouble, "for this reason".to_string())]);
        let health = Health { reasons, ..Health::default() };
        let judged = Readiness::of(&running(), Some(&good()), Some(&health));
        assert_eq!(judged.ready, ready, "{trouble:?}");
        let told = judged.checks.iter().find(|c| c.name == "chain").unwrap();
        assert_eq!(told.reason, format!("{}: for this reason", trouble.code()));
    }
}

#[test]
fn a_start_tells_how_far_it_is() {
    let metrics = Metrics::new();
    let startup = metrics.startup();
    let reason = |metrics: &Metrics| {
        let judged = Readiness::of(metrics, None, None);
        assert!(!judged.ready);
        wrong(&judged)["replay"].to_string()
    };
    assert_eq!(reason(&metrics), "the node is starting");
    startup.enter(Phase::Reading);
    assert_eq!(reason(&metrics), "the log is being read");
    startup.enter(Phase::Replaying);
    startup.progress(Progress { replayed: Lsn(7), end: Lsn(9) });
    assert_eq!(reason(&metrics), "7 of 9 events are replayed");
    assert_eq!(health::dead(&metrics), None, "a start may take its time");
    startup.enter(Phase::Running);
    startup.took(Duration::from_millis(1_500), Duration::from_micros(250));
    assert_eq!(startup.seconds(), [("read", 1.5), ("replay", 0.00025)]);
}

/// Who works or waits for the disk is alive, unless it takes too long; the meter tells how long it takes.
#[test]
fn work_without_rest_is_seen() {
    let metrics = running();
    assert_eq!(metrics.busy(), None);
    metrics.works();
    metrics.disk_asked();
    assert!(metrics.busy().is_some() && metrics.disk_busy().is_some());
    assert_eq!(health::dead(&metrics), None);
    metrics.disk_answered(DiskCall::Append, Duration::from_millis(3), true);
    metrics.rests();
    assert_eq!((metrics.busy(), metrics.disk_busy()), (None, None));
    assert_eq!(metrics.disk_errors(DiskCall::Append), 0);
    metrics.disk_answered(DiskCall::Sync, Duration::from_millis(3), false);
    assert_eq!(metrics.disk_errors(DiskCall::Sync), 1);
    let count = "fairway_event_log_append_duration_seconds_count";
    assert_eq!(series(&metrics, count).as_deref(), Some("1"));
}

/// The reference page of the book holds the table as it is. UPDATE_REFERENCE=1 writes it anew.
#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/reference/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- table: begin -->\n", "<!-- table: end -->\n");
    let (before, rest) = page.split_once(begin).expect("the page has a place for the table");
    let (table, after) = rest.split_once(end).expect("the table ends");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        let text = format!("{before}{begin}{}{end}{after}", reference());
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(
        table,
        reference(),
        "run: UPDATE_REFERENCE=1 cargo test -p fairway-node --lib the_reference_page"
    );
}
