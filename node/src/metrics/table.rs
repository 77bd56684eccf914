//! The one list of metrics: names, kinds, labels, and what they mean. The reference page follows from it.

use metrics::Recorder;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts measurements by size.
    Histogram,
}

/// From where a number comes, which decides what a restart does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A fold of the log: a restart changes nothing.
    Log,
    /// The resting node, at each scrape.
    State,
    /// What this process did: a restart begins at zero.
    Process,
}

/// One metric with all its labels.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Where it stands in the reference.
    pub group: &'static str,
    /// Its name, as it is emitted.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels, with commas; empty for none. Each label's values are a closed list.
    pub labels: &'static str,
    /// From where it comes.
    pub source: Source,
    /// What it means, in one sentence without a full stop.
    pub what: &'static str,
}

/// Every metric, in the order of the reference.
pub const FAMILIES: &[Family] = &[
    // The names without prefix.
    counter(
        FIVE,
        "channels_created",
        "",
        Source::Log,
        "channels that came to be, direct and virtual",
    ),
    counter(
        FIVE,
        "messages_sent",
        "",
        Source::Log,
        "messages that the node set out to send, each once however often it is sent again",
    ),
    counter(
        FIVE,
        "signatures_verified",
        "",
        Source::Process,
        "signatures that were verified, whatever came out",
    ),
    histogram(
        FIVE,
        "derivation_duration",
        "",
        "seconds that one derivation of the state took: the replay of the log at the start, and deciding, applying and cranking one batch of inputs",
    ),
    gauge(FIVE, "event_log_size", "", "bytes of the log's segments on disk"),
    // The same with prefix, unit and labels.
    counter(
        FIVE,
        "fairway_channels_created_total",
        "kind",
        Source::Log,
        "`channels_created` by kind of channel",
    ),
    counter(
        FIVE,
        "fairway_messages_sent_total",
        "kind",
        Source::Log,
        "`messages_sent` by kind of message; answers such as acknowledgements are no part of it",
    ),
    counter(
        FIVE,
        "fairway_signatures_verified_total",
        "purpose, result",
        Source::Process,
        "`signatures_verified` by who showed the signature and by whether a signer came out",
    ),
    histogram(
        FIVE,
        "fairway_derivation_duration_seconds",
        "mode",
        "`derivation_duration` of the cold replay and of incremental batches",
    ),
    gauge(FIVE, "fairway_event_log_size_bytes", "", "`event_log_size`"),
    // Process.
    gauge(
        PROCESS,
        "fairway_build_info",
        "version, commit, rustc, profile, features",
        "always 1; what the binary was built from",
    ),
    gauge(PROCESS, "fairway_live", "", "1 while the process lives, as `/livez` says it"),
    gauge(PROCESS, "fairway_ready", "", "1 when every check is good, as `/readyz` says it"),
    gauge(PROCESS, "fairway_ready_check", "check", "1 when this check is good"),
    gauge(PROCESS, "fairway_startup_phase", "phase", "1 for the phase that the start is in"),
    gauge(
        PROCESS,
        "fairway_startup_duration_seconds",
        "phase",
        "how long reading the log and replaying it took at the start",
    ),
    gauge(
        PROCESS,
        "fairway_replay_events",
        "",
        "how far the replay at the start is: the position of the last event that is in the state, those that a snapshot spared counted in",
    ),
    gauge(
        PROCESS,
        "fairway_scrape_complete",
        "",
        "0 when the node did not rest in time: gauges of the state are those of an earlier scrape",
    ),
    gauge(PROCESS, "fairway_queue_depth", "queue", "inputs that wait for the node"),
    gauge(PROCESS, "fairway_queue_capacity", "queue", "inputs that may wait; beyond, senders wait"),
    counter(
        PROCESS,
        "fairway_log_events_total",
        "level",
        Source::Process,
        "lines of the log for people, by level, told or not",
    ),
    counter(
        PROCESS,
        "process_cpu_seconds_total",
        "",
        Source::Process,
        "processor time, in seconds",
    ),
    gauge(PROCESS, "process_open_fds", "", "open file descriptors"),
    gauge(PROCESS, "process_max_fds", "", "file descriptors that may be open"),
    gauge(PROCESS, "process_virtual_memory_bytes", "", "address space in use"),
    gauge(PROCESS, "process_virtual_memory_max_bytes", "", "address space that may be used"),
    gauge(PROCESS, "process_resident_memory_bytes", "", "memory in use"),
    gauge(
        PROCESS,
        "process_start_time_seconds",
        "",
        "when the process started, in seconds since 1970",
    ),
    gauge(PROCESS, "process_threads", "", "threads"),
    // Event log.
    gauge(
        LOG,
        "fairway_event_log_events",
        "",
        "durable events, which is the position of the last one",
    ),
    gauge(
        LOG,
        "fairway_event_log_staged_events",
        "",
        "events that wait for the next write; losing them is harmless",
    ),
    counter(LOG, "fairway_event_log_append_total", "event", Source::Log, "durable events by type"),
    histogram(
        LOG,
        "fairway_event_log_append_duration_seconds",
        "",
        "seconds that writing a batch took",
    ),
    histogram(
        LOG,
        "fairway_event_log_fsync_duration_seconds",
        "",
        "seconds that making a batch durable took, both copies",
    ),
    histogram(LOG, "fairway_event_log_batch_bytes", "", "bytes of a batch, both copies"),
    counter(
        LOG,
        "fairway_event_log_errors_total",
        "op",
        Source::Process,
        "failures of the disk; the first one stops the node",
    ),
    gauge(LOG, "fairway_event_log_segments", "", "segments of the log"),
    gauge(
        LOG,
        "fairway_event_log_findings",
        "",
        "what was found and mended in the log's files at the start",
    ),
    gauge(LOG, "fairway_data_dir_free_bytes", "", "room on the data directory's file system"),
    gauge(LOG, "fairway_data_dir_total_bytes", "", "size of that file system"),
    gauge(LOG, "fairway_disk_scarce", "", "1 while the disk is full and nothing new is taken on"),
    gauge(
        LOG,
        "fairway_backup_last_success_timestamp_seconds",
        "mode",
        "when `fairway backup create` last copied this node's log, in seconds since 1970; 0 for never",
    ),
    gauge(
        LOG,
        "fairway_backup_size_bytes",
        "mode",
        "bytes of that copy, the key stores in it counted",
    ),
    gauge(LOG, "fairway_backup_lag_events", "", "events that the last daily backup does not hold"),
    gauge(
        LOG,
        "fairway_restore_drill_last_success_timestamp_seconds",
        "",
        "when `fairway drill --data-dir` last proved a backup of this node, in seconds since 1970; 0 for never",
    ),
    // Channels.
    gauge(
        CHANNELS,
        "fairway_channels_status",
        "kind, status",
        "channels by kind and place in their life",
    ),
    gauge(
        CHANNELS,
        "fairway_channels_frozen",
        "",
        "channels that sign nothing since a reorganization took their holdings back",
    ),
    gauge(
        CHANNELS,
        "fairway_channel_value_locked",
        "asset",
        "what the contract holds for our channels, in the asset's smallest unit",
    ),
    gauge(
        CHANNELS,
        "fairway_channel_capacity",
        "asset, side",
        "balances in open channels, guarantees left out, in the asset's smallest unit",
    ),
    gauge(
        CHANNELS,
        "fairway_underfunded_value",
        "asset",
        "what open channels should hold on chain and do not, in the asset's smallest unit",
    ),
    gauge(
        CHANNELS,
        "fairway_vouchers_unredeemed_value",
        "asset",
        "what was promised to us in unfinished virtual channels, in the asset's smallest unit",
    ),
    counter(
        CHANNELS,
        "fairway_payments_sent_total",
        "kind",
        Source::Log,
        "payments that we made: agreed states of direct channels, signed vouchers of virtual ones",
    ),
    counter(
        CHANNELS,
        "fairway_payments_received_total",
        "kind",
        Source::Log,
        "payments that we received",
    ),
    // Objectives.
    gauge(OBJECTIVES, "fairway_objectives", "type, status", "objectives by type and status"),
    counter(
        OBJECTIVES,
        "fairway_objectives_approved_total",
        "type",
        Source::Log,
        "objectives that were taken on",
    ),
    counter(
        OBJECTIVES,
        "fairway_objectives_completed_total",
        "type",
        Source::Log,
        "objectives that reached their goal",
    ),
    counter(
        OBJECTIVES,
        "fairway_objectives_rejected_total",
        "type",
        Source::Log,
        "objectives that were given up",
    ),
    histogram(
        OBJECTIVES,
        "fairway_objective_duration_seconds",
        "type",
        "seconds from taking an objective on to its goal, of those completed by this process",
    ),
    gauge(
        OBJECTIVES,
        "fairway_objective_oldest_age_seconds",
        "type",
        "age of the oldest unfinished objective",
    ),
    gauge(
        OBJECTIVES,
        "fairway_recovery",
        "",
        "1 while nothing new is signed because signatures may have been forgotten",
    ),
    // Messages and peers.
    counter(
        MESSAGES,
        "fairway_messages_received_total",
        "kind",
        Source::Process,
        "well-formed messages of peers with valid signatures",
    ),
    counter(
        MESSAGES,
        "fairway_messages_rejected_total",
        "reason",
        Source::Process,
        "messages of peers that were refused or malformed",
    ),
    counter(
        MESSAGES,
        "fairway_commands_refused_total",
        "reason",
        Source::Process,
        "commands that were refused",
    ),
    gauge(MESSAGES, "fairway_outbox_depth", "", "messages that no peer has acknowledged yet"),
    gauge(
        MESSAGES,
        "fairway_outbox_oldest_age_seconds",
        "",
        "how long the oldest of them has been waiting, since a scrape first saw it",
    ),
    histogram(
        MESSAGES,
        "fairway_message_rtt_seconds",
        "",
        "seconds until a peer has said that it made a message durable; of ten messages a second at most",
    ),
    gauge(
        MESSAGES,
        "fairway_proposal_queue_depth",
        "",
        "payments in direct channels that wait for their turn",
    ),
    gauge(MESSAGES, "fairway_p2p_peers_connected", "", "peers with a session"),
    gauge(
        MESSAGES,
        "fairway_p2p_channel_peers_disconnected",
        "",
        "peers without a session that we share an unfinished channel with",
    ),
    counter(
        MESSAGES,
        "fairway_p2p_frames_total",
        "direction",
        Source::Process,
        "messages handed to sessions and received from them, repetitions and answers included",
    ),
    counter(
        MESSAGES,
        "fairway_p2p_bytes_total",
        "direction",
        Source::Process,
        "their bytes, without what the encryption adds",
    ),
    counter(
        MESSAGES,
        "fairway_p2p_dropped_total",
        "reason",
        Source::Process,
        "messages that no session took; the outbox sends them again",
    ),
    counter(
        MESSAGES,
        "fairway_p2p_dials_total",
        "result",
        Source::Process,
        "connections that we began, and how those ended that came to nothing",
    ),
    counter(
        MESSAGES,
        "fairway_p2p_handshakes_total",
        "result",
        Source::Process,
        "handshakes by outcome",
    ),
    counter(
        MESSAGES,
        "fairway_p2p_sessions_ended_total",
        "reason",
        Source::Process,
        "sessions by how they ended",
    ),
    counter(
        MESSAGES,
        "fairway_signatures_created_total",
        "purpose",
        Source::Log,
        "signatures that our key made and the log holds",
    ),
    // Chain.
    gauge(CHAIN, "fairway_chain_up", "", "1 when the chain answered last time"),
    gauge(CHAIN, "fairway_chain_head_block", "", "the newest block that the endpoints agree on"),
    gauge(CHAIN, "fairway_chain_head_timestamp_seconds", "", "its time, in seconds since 1970"),
    gauge(CHAIN, "fairway_chain_processed_block", "", "the newest block that the log holds"),
    gauge(CHAIN, "fairway_chain_confirmed_block", "", "the height up to which facts count"),
    counter(
        CHAIN,
        "fairway_chain_events_total",
        "event",
        Source::Log,
        "logs of the contract about our channels; one that a reorganization takes back and brings again counts twice",
    ),
    counter(
        CHAIN,
        "fairway_chain_reorgs_total",
        "",
        Source::Log,
        "reorganizations that took back blocks that the log held",
    ),
    counter(
        CHAIN,
        "fairway_chain_reorg_blocks_total",
        "",
        Source::Log,
        "blocks that they took back",
    ),
    counter(
        CHAIN,
        "fairway_chain_tx_wanted_total",
        "kind",
        Source::Log,
        "decisions that a transaction is wanted",
    ),
    gauge(
        CHAIN,
        "fairway_chain_tx_pending",
        "kind",
        "transactions that are wanted and that the chain does not show yet",
    ),
    gauge(
        CHAIN,
        "fairway_chain_tx_oldest_pending_seconds",
        "kind",
        "how long the oldest of them has been waiting, since a scrape first saw it",
    ),
    gauge(
        CHAIN,
        "fairway_chain_wallet_balance",
        "",
        "native tokens of the account that pays for gas and deposits, in wei; absent on a development chain",
    ),
    gauge(
        CHAIN,
        "fairway_chain_wallet_txs_affordable",
        "",
        "transactions of a defence's gas that the account can pay at what is offered now; absent on a development chain",
    ),
    gauge(
        CHAIN,
        "fairway_chain_degraded",
        "trouble",
        "1 while the chain service has this trouble; absent on a development chain",
    ),
    counter(
        CHAIN,
        "fairway_chain_service_events_total",
        "event",
        Source::Process,
        "what the chain service did and met; absent on a development chain",
    ),
    gauge(
        CHAIN,
        "fairway_challenges_open",
        "role",
        "challenges that run: our own (`challenger`), and those that we must answer or outlast (`responder`)",
    ),
    gauge(
        CHAIN,
        "fairway_challenge_min_seconds_remaining",
        "",
        "chain time until the first of others' challenges ends; +Inf when there is none",
    ),
    counter(
        CHAIN,
        "fairway_challenges_total",
        "role",
        Source::Log,
        "challenges that were registered",
    ),
    // RPC.
    counter(
        RPC,
        "fairway_rpc_requests_total",
        "method, result",
        Source::Process,
        "calls by method and by how they ended; `none` is what was turned away before it said what it wants, `unknown` what does not exist",
    ),
    histogram(
        RPC,
        "fairway_rpc_duration_seconds",
        "interface",
        "seconds until a call was answered, by interface; `fairway_objectiveWait` left out, which takes what its caller wants",
    ),
];

const FIVE: &str = "The five";
const PROCESS: &str = "Process";
const LOG: &str = "Event log and disk";
const CHANNELS: &str = "Channels and money";
const OBJECTIVES: &str = "Objectives";
const MESSAGES: &str = "Messages and peers";
const CHAIN: &str = "Chain";
const RPC: &str = "RPC";

const fn counter(
    group: &'static str,
    name: &'static str,
    labels: &'static str,
    source: Source,
    what: &'static str,
) -> Family {
    Family { group, name, kind: Kind::Counter, labels, source, what }
}

/// Gauges are looked up at each scrape.
const fn gauge(
    group: &'static str,
    name: &'static str,
    labels: &'static str,
    what: &'static str,
) -> Family {
    Family { group, name, kind: Kind::Gauge, labels, source: Source::State, what }
}

/// Histograms are measured while things happen.
const fn histogram(
    group: &'static str,
    name: &'static str,
    labels: &'static str,
    what: &'static str,
) -> Family {
    Family { group, name, kind: Kind::Histogram, labels, source: Source::Process, what }
}

/// Gives every family its help text.
pub fn describe(recorder: &impl Recorder) {
    for family in FAMILIES {
        let (name, what) = (family.name.into(), family.what.into());
        match family.kind {
            Kind::Counter => recorder.describe_counter(name, None, what),
            Kind::Gauge => recorder.describe_gauge(name, None, what),
            Kind::Histogram => recorder.describe_histogram(name, None, what),
        }
    }
}

/// The tables of the reference page, as Markdown.
pub fn reference() -> String {
    let mut text = String::new();
    let mut group = "";
    for family in FAMILIES {
        if family.group != group {
            group = family.group;
            text.push_str(&format!(
                "\n### {group}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n"
            ));
        }
        let kind = match (family.kind, family.source) {
            (Kind::Counter, Source::Log) => "counter, of the log",
            (Kind::Counter, Source::State | Source::Process) => "counter",
            (Kind::Gauge, _) => "gauge",
            (Kind::Histogram, _) => "histogram",
        };
        let labels: Vec<String> =
            family.labels.split(", ").filter(|l| !l.is_empty()).map(|l| format!("`{l}`")).collect();
        let (name, labels, what) = (family.name, labels.join(", "), family.what);
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {what} |\n"));
    }
    text
}
