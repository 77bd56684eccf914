//! Brings one sample to the exporter: each family of the [table](super::table) is set here or measured in the
//! [meter](super::meter).

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;
use fairway_chain::{Health, Trouble, Wallet};
use fairway_core::machine::tally::{KINDS, TRANSACTIONS};
use fairway_core::types::Address;
use metrics::{counter, gauge, with_local_recorder};

use super::facts::{Facts, MESSAGE, Money};
use super::health::{Phase, Readiness};
use super::meter::{DiskCall, MetricType, Metrics};
use crate::backup::status::{Status, Success};
use crate::files::Usage;
use crate::version::Version;

/// Everything that a scrape shows beside what is measured while it happens.
pub struct Sample {
    /// The resting node, if it rested in time.
    pub facts: Option<Facts>,
    /// How long the oldest of each kind of what waits has been waiting, in seconds.
    pub waiting_s: BTreeMap<&'static str, f64>,
    /// The gas account, where there is a chain service.
    pub wallet: Option<Wallet>,
    /// Judged from the same look.
    pub readiness: Readiness,
    /// Whether the process lives.
    pub live: bool,
    /// What the network has counted.
    pub network: fairway_transport::Counters,
    /// Peers with a session.
    pub sessions: BTreeSet<Address>,
    /// The chain service, where there is one.
    pub health: Option<Health>,
    /// What it has counted, by name.
    pub chain: Vec<(&'static str, u64)>,
    /// Inputs that wait, and how many may.
    pub inbox: (usize, usize),
    /// The data directory, where it could be read.
    pub usage: Option<Usage>,
    /// What backups and drills last came to, where that could be read.
    pub backups: Option<Status>,
    /// What was mended at the start.
    pub findings: usize,
}

impl Metrics {
    /// Sets everything that `sample` says.
    pub(super) fn publish(&self, sample: &Sample) {
        // Read once: both names shall say the same.
        let signatures: Vec<_> = self.signatures().all().collect();
        with_local_recorder(self.recorder(), || {
            self.publish_process(sample);
            if let Some(facts) = &sample.facts {
                publish_log(facts);
                publish_channels(facts);
                publish_waiting(&sample.waiting_s);
                publish_chain(facts, sample);
                publish_refusals(facts);
                let gone = facts.channel_peers.difference(&sample.sessions).count();
                gauge!("fairway_p2p_channel_peers_disconnected").set(gone as f64);
            }
            if let Some(backups) = &sample.backups {
                publish_backups(backups, sample.facts.as_ref());
            }
            publish_network(&sample.network, sample.sessions.len());
            for (purpose, result, count) in &signatures {
                let labels = [("purpose", *purpose), ("result", *result)];
                counter!("fairway_signatures_verified_total", &labels).absolute(*count);
            }
            for (kind, count) in self.all_received() {
                counter!("fairway_messages_received_total", "kind" => kind).absolute(count);
            }
        });
        let verified: u64 = signatures.iter().map(|(_, _, count)| count).sum();
        self.record(MetricType::SignaturesVerified, verified as f64);
        if let Some(facts) = &sample.facts {
            let total = |name| facts.tally.total(name) as f64;
            self.record(MetricType::ChannelsCreated, total("channels_created"));
            self.record(MetricType::MessagesSent, total("messages_sent"));
        }
        if let Some(usage) = &sample.usage {
            self.record(MetricType::EventLogSize, usage.log_bytes as f64);
        }
    }

    fn publish_process(&self, sample: &Sample) {
        let version = Version::this();
        gauge!(
            "fairway_build_info",
            "version" => version.version,
            "commit" => version.commit.unwrap_or("unknown"),
            "rustc" => version.rustc,
            "profile" => version.profile,
            "features" => version.features.join(","),
        )
        .set(1.0);
        metrics_process::Collector::default().collect();
        gauge!("fairway_live").set(flag(sample.live));
        gauge!("fairway_ready").set(flag(sample.readiness.ready));
        for check in &sample.readiness.checks {
            gauge!("fairway_ready_check", "check" => check.name).set(flag(check.ok));
        }
        let startup = self.startup();
        for phase in Phase::ALL {
            let now = startup.phase() == phase;
            gauge!("fairway_startup_phase", "phase" => phase.name()).set(flag(now));
        }
        for (phase, seconds) in startup.seconds() {
            gauge!("fairway_startup_duration_seconds", "phase" => phase).set(seconds);
        }
        gauge!("fairway_replay_events").set(startup.replayed().0 as f64);
        gauge!("fairway_scrape_complete").set(flag(sample.facts.is_some()));
        gauge!("fairway_queue_depth", "queue" => "inbox").set(sample.inbox.0 as f64);
        gauge!("fairway_queue_capacity", "queue" => "inbox").set(sample.inbox.1 as f64);
        for (level, count) in crate::logs::counted() {
            counter!("fairway_log_events_total", "level" => level).absolute(count);
        }
        let ops =
            [("repair", DiskCall::Repair), ("append", DiskCall::Append), ("fsync", DiskCall::Sync)];
        for (op, call) in ops {
            counter!("fairway_event_log_errors_total", "op" => op).absolute(self.disk_errors(call));
        }
        gauge!("fairway_event_log_findings").set(sample.findings as f64);
        if let Some(usage) = &sample.usage {
            gauge!("fairway_event_log_segments").set(usage.segments as f64);
            gauge!("fairway_data_dir_free_bytes").set(usage.free_bytes as f64);
            gauge!("fairway_data_dir_total_bytes").set(usage.total_bytes as f64);
        }
    }
}

/// Zero for never: the rule that complains of an old backup then complains of none.
fn publish_backups(backups: &Status, facts: Option<&Facts>) {
    let seconds = |of: Option<Success>| of.map_or(0.0, |success| success.time_ms as f64 / 1e3);
    for (mode, last) in [("daily", backups.daily), ("emergency", backups.emergency)] {
        gauge!("fairway_backup_last_success_timestamp_seconds", "mode" => mode).set(seconds(last));
        let bytes = last.map_or(0, |success| success.bytes);
        gauge!("fairway_backup_size_bytes", "mode" => mode).set(bytes as f64);
    }
    gauge!("fairway_restore_drill_last_success_timestamp_seconds").set(seconds(backups.drill));
    if let Some(facts) = facts {
        let copied = backups.daily.map_or(0, |success| success.lsn.0);
        gauge!("fairway_backup_lag_events").set(facts.durable.0.saturating_sub(copied) as f64);
    }
}

fn publish_log(facts: &Facts) {
    gauge!("fairway_event_log_events").set(facts.durable.0 as f64);
    gauge!("fairway_event_log_staged_events").set(f64::from(facts.staged));
    gauge!("fairway_disk_scarce").set(flag(facts.scarce));
    gauge!("fairway_recovery").set(flag(facts.recovery.is_some()));
    for count in facts.tally.counts() {
        let Some(name) = family_of(count.name) else { continue };
        if count.by.is_empty() {
            counter!(name).absolute(count.count);
        } else {
            counter!(name, count.by => count.kind).absolute(count.count);
        }
    }
}

/// The family that shows a counter of the log.
pub fn family_of(count: &str) -> Option<&'static str> {
    Some(match count {
        "events" => "fairway_event_log_append_total",
        "channels_created" => "fairway_channels_created_total",
        "messages_sent" => "fairway_messages_sent_total",
        "objectives_approved" => "fairway_objectives_approved_total",
        "objectives_completed" => "fairway_objectives_completed_total",
        "objectives_rejected" => "fairway_objectives_rejected_total",
        "signatures_created" => "fairway_signatures_created_total",
        "payments_sent" => "fairway_payments_sent_total",
        "payments_received" => "fairway_payments_received_total",
        "transactions_wanted" => "fairway_chain_tx_wanted_total",
        "chain_logs" => "fairway_chain_events_total",
        "challenges" => "fairway_challenges_total",
        "reorgs" => "fairway_chain_reorgs_total",
        "reorg_blocks" => "fairway_chain_reorg_blocks_total",
        _ => return None,
    })
}

fn publish_channels(facts: &Facts) {
    for kind in KINDS {
        for status in ["opening", "open", "closing", "disputed", "finished"] {
            let count = facts.channels.get(&(*kind, status)).copied().unwrap_or(0);
            gauge!("fairway_channels_status", "kind" => *kind, "status" => status)
                .set(count as f64);
        }
    }
    gauge!("fairway_channels_frozen").set(facts.frozen as f64);
    for (asset, money) in by_label(&facts.money) {
        let sides = [("local", money.local), ("remote", money.remote)];
        for (side, value) in sides {
            gauge!("fairway_channel_capacity", "asset" => asset.clone(), "side" => side).set(value);
        }
        gauge!("fairway_channel_value_locked", "asset" => asset.clone()).set(money.locked);
        gauge!("fairway_underfunded_value", "asset" => asset.clone()).set(money.missing);
        gauge!("fairway_vouchers_unredeemed_value", "asset" => asset).set(money.unredeemed);
    }
    for ((kind, status), count) in &facts.objectives {
        gauge!("fairway_objectives", "type" => *kind, "status" => *status).set(*count as f64);
    }
    for (kind, age_s) in &facts.oldest_s {
        gauge!("fairway_objective_oldest_age_seconds", "type" => *kind).set(*age_s);
    }
    gauge!("fairway_outbox_depth").set(facts.unacknowledged as f64);
    gauge!("fairway_proposal_queue_depth").set(facts.updates_queued as f64);
}

/// Nothing that waits is no time at all.
fn publish_waiting(oldest_s: &BTreeMap<&'static str, f64>) {
    let of = |kind: &str| oldest_s.get(kind).copied().unwrap_or(0.0);
    gauge!("fairway_outbox_oldest_age_seconds").set(of(MESSAGE));
    for kind in TRANSACTIONS {
        gauge!("fairway_chain_tx_oldest_pending_seconds", "kind" => *kind).set(of(kind));
    }
}

/// What the account has, and how many defences that pays at what is offered now.
fn publish_wallet(wallet: &Wallet, defence_gas: u64) {
    let (Some(balance), Some(fee)) = (wallet.balance, wallet.fee) else { return };
    gauge!("fairway_chain_wallet_balance").set(f64::from(balance.0));
    let one = fee.times(defence_gas).0.max(U256::from(1));
    gauge!("fairway_chain_wallet_txs_affordable").set(f64::from(balance.0 / one));
}

/// Assets are what the policy allows; should an operator allow very many, the last ones are one.
fn by_label(money: &BTreeMap<Address, Money>) -> BTreeMap<String, Money> {
    let mut labelled: BTreeMap<String, Money> = BTreeMap::new();
    for (n, (asset, of)) in money.iter().enumerate() {
        let label = if asset.is_zero() {
            "native".to_string()
        } else if n < ASSETS_MAX {
            format!("{asset:#x}")
        } else {
            "other".to_string()
        };
        let sum = labelled.entry(label).or_default();
        sum.locked += of.locked;
        sum.local += of.local;
        sum.remote += of.remote;
        sum.missing += of.missing;
        sum.unredeemed += of.unredeemed;
    }
    labelled
}

fn publish_chain(facts: &Facts, sample: &Sample) {
    for (role, count) in ["challenger", "responder"].into_iter().zip(facts.challenges) {
        gauge!("fairway_challenges_open", "role" => role).set(count as f64);
    }
    let left_s = facts.challenge_left_s.map_or(f64::INFINITY, |s| s as f64);
    gauge!("fairway_challenge_min_seconds_remaining").set(left_s);
    for kind in TRANSACTIONS {
        let count = facts.transactions.get(kind).copied().unwrap_or(0);
        gauge!("fairway_chain_tx_pending", "kind" => *kind).set(count as f64);
    }
    gauge!("fairway_chain_up").set(flag(facts.chain_up));
    let processed = facts.head.map(|b| (b.number, b.time));
    let told = sample.health.as_ref().and_then(|h| h.head).or(processed);
    if let Some((number, time)) = told {
        gauge!("fairway_chain_head_block").set(number.0 as f64);
        gauge!("fairway_chain_head_timestamp_seconds").set(time.0 as f64);
    }
    if let Some((number, _)) = processed {
        gauge!("fairway_chain_processed_block").set(number.0 as f64);
    }
    if let Some(number) = facts.confirmed {
        gauge!("fairway_chain_confirmed_block").set(number.0 as f64);
    }
    if let Some(wallet) = &sample.wallet {
        publish_wallet(wallet, facts.defence_gas);
    }
    let Some(health) = &sample.health else { return };
    for trouble in TROUBLES {
        let now = health.reasons.contains_key(&trouble);
        gauge!("fairway_chain_degraded", "trouble" => trouble.code()).set(flag(now));
    }
    for (event, count) in &sample.chain {
        counter!("fairway_chain_service_events_total", "event" => *event).absolute(*count);
    }
}

fn publish_refusals(facts: &Facts) {
    for (reason, count) in &facts.messages_refused {
        counter!("fairway_messages_rejected_total", "reason" => *reason).absolute(*count);
    }
    for (reason, count) in &facts.commands_refused {
        counter!("fairway_commands_refused_total", "reason" => *reason).absolute(*count);
    }
}

fn publish_network(network: &fairway_transport::Counters, sessions: usize) {
    gauge!("fairway_p2p_peers_connected").set(sessions as f64);
    let set = |name: &'static str, by: &'static str, rows: &[(&'static str, u64)]| {
        for (kind, count) in rows {
            counter!(name, by => *kind).absolute(*count);
        }
    };
    let n = network;
    set("fairway_p2p_frames_total", "direction", &[("sent", n.queued), ("received", n.received)]);
    let bytes = [("sent", n.bytes_sent), ("received", n.bytes_received)];
    set("fairway_p2p_bytes_total", "direction", &bytes);
    set(
        "fairway_p2p_dropped_total",
        "reason",
        &[
            ("no_session", n.dropped_no_session),
            ("queue_full", n.dropped_queue_full),
            ("too_large", n.dropped_too_large),
            ("session_end", n.dropped_at_end),
        ],
    );
    set(
        "fairway_p2p_dials_total",
        "result",
        &[
            ("begun", n.dials),
            ("failed", n.dials_failed),
            ("timed_out", n.dials_timed_out),
            ("cancelled", n.dials_cancelled),
        ],
    );
    set(
        "fairway_p2p_handshakes_total",
        "result",
        &[
            ("ok", n.sessions),
            ("dropped", n.accepts_dropped),
            ("timed_out", n.handshakes_timed_out),
            ("io", n.handshakes_io),
            ("garbage", n.handshakes_garbage),
            ("forged", n.handshakes_forged),
            ("wrong_peer", n.handshakes_wrong_peer),
            ("no_version", n.handshakes_no_version),
            ("refused_by_peer", n.handshakes_refused_by_peer),
            ("refused_full", n.refused_full),
            ("refused_duplicate", n.refused_duplicate),
        ],
    );
    set(
        "fairway_p2p_sessions_ended_total",
        "reason",
        &[
            ("closed", n.ended_closed),
            ("io", n.ended_io),
            ("idle", n.ended_idle),
            ("bad_frame", n.ended_bad_frame),
            ("replaced", n.ended_replaced),
            ("disconnected", n.ended_disconnected),
        ],
    );
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// Every kind of trouble, so that one that is over shows as 0.
const TROUBLES: [Trouble; 8] = [
    Trouble::NoQuorum,
    Trouble::EndpointDown,
    Trouble::WrongChain,
    Trouble::Disagreement,
    Trouble::NoReceipts,
    Trouble::Stale,
    Trouble::NoGasMoney,
    Trouble::Refused,
];

/// Five series each.
const ASSETS_MAX: usize = 16;
