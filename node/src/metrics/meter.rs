//! The meter of one node: what is measured while it happens, and the exporter behind it.
//!
//! Each node has an exporter of its own, so that several nodes of one process do not mix.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairway_core::event::ObjectiveKind;
use fairway_core::input::{Input, Message, Verified, verify};
use fairway_core::machine::tally::{OBJECTIVES, objective_name};
use fairway_core::nitro::sign::Recover;
use fairway_core::nitro::{Crypto, Signature};
use fairway_core::types::Address;
use fairway_core::wire::Wire;
use metrics::{Histogram, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::calls::Calls;
use super::health::Startup;
use super::table;

/// The five metrics that everybody knows by these names, without prefix or unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// `channels_created`, a counter: channels that came to be, direct and virtual, over all processes of this log.
    ChannelsCreated,
    /// `messages_sent`, a counter: messages that the node set out to send, each once however often it is sent again.
    MessagesSent,
    /// `signatures_verified`, a counter: signatures that this process has checked, whatever came out.
    SignaturesVerified,
    /// `derivation_duration`, a histogram in seconds: deriving the state from facts.
    DerivationDuration,
    /// `event_log_size`, a gauge: bytes of the log's segments.
    EventLogSize,
}

/// How a state was derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the whole log, at the start.
    Cold,
    /// From one batch of inputs: decide, apply, crank. Checking their signatures is not part of it.
    Incremental,
}

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCall {
    /// Mending files at the start.
    Repair,
    /// Writing a batch.
    Append,
    /// Making it durable.
    Sync,
}

/// The meter. Cheap to clone; every call answers at once.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    recorder: PrometheusRecorder,
    origin: Instant,
    startup: Startup,
    derivation: Histogram,
    derivation_cold: Histogram,
    derivation_incremental: Histogram,
    append: Histogram,
    sync: Histogram,
    batch_bytes: Histogram,
    objectives: [Histogram; OBJECTIVES.len()],
    round_trip: Histogram,
    calls: Calls,
    signatures: Signatures,
    /// Milliseconds since the origin, and 1: since when the pump works without rest; 0 while it rests.
    busy_since: AtomicU64,
    /// The same for a call to the disk.
    disk_since: AtomicU64,
    disk_errors: [AtomicU64; 3],
    /// Whether the last connection could not be accepted.
    deaf: AtomicBool,
    received: [AtomicU64; RECEIVED.len()],
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// A meter that shows nothing yet.
    pub fn new() -> Metrics {
        let buckets: [(&str, &[f64]); 8] = [
            ("derivation_duration", DERIVATION_S),
            ("fairway_derivation_duration_seconds", DERIVATION_S),
            ("fairway_event_log_append_duration_seconds", DISK_S),
            ("fairway_event_log_fsync_duration_seconds", DISK_S),
            ("fairway_event_log_batch_bytes", BATCH_BYTES),
            ("fairway_objective_duration_seconds", OBJECTIVE_S),
            ("fairway_message_rtt_seconds", ANSWER_S),
            ("fairway_rpc_duration_seconds", ANSWER_S),
        ];
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in buckets {
            let matcher = Matcher::Full(name.to_string());
            builder = builder
                .set_buckets_for_metric(matcher, bounds)
                .expect("every list of buckets has entries");
        }
        let recorder = builder.build_recorder();
        table::describe(&recorder);
        let measured = with_local_recorder(&recorder, || {
            let seconds = |mode| histogram!("fairway_derivation_duration_seconds", "mode" => mode);
            [
                histogram!("derivation_duration"),
                seconds("cold"),
                seconds("incremental"),
                histogram!("fairway_event_log_append_duration_seconds"),
                histogram!("fairway_event_log_fsync_duration_seconds"),
                histogram!("fairway_event_log_batch_bytes"),
            ]
        });
        let objectives = with_local_recorder(&recorder, || {
            let of = |kind| histogram!("fairway_objective_duration_seconds", "type" => kind);
            std::array::from_fn(|at| of(OBJECTIVES[at]))
        });
        let round_trip =
            with_local_recorder(&recorder, || histogram!("fairway_message_rtt_seconds"));
        let calls = Calls::new(&recorder);
        let [derivation, derivation_cold, derivation_incremental, append, sync, batch_bytes] =
            measured;
        Metrics(Arc::new(Inner {
            recorder,
            origin: Instant::now(),
            startup: Startup::default(),
            derivation,
            derivation_cold,
            derivation_incremental,
            append,
            sync,
            batch_bytes,
            objectives,
            round_trip,
            calls,
            signatures: Signatures::default(),
            busy_since: AtomicU64::new(0),
            disk_since: AtomicU64::new(0),
            disk_errors: Default::default(),
            deaf: AtomicBool::new(false),
            received: Default::default(),
        }))
    }

    /// Takes one of the five metrics that everybody knows. The node's own code uses it and the typed calls alike.
    ///
    /// A counter takes its **total**: told a smaller one it stays, so that a fold can be told again and again. The histogram takes one
    /// duration in seconds, the gauge its value. Negative numbers and those that are none are ignored.
    pub fn record(&self, metric: MetricType, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        match metric {
            MetricType::ChannelsCreated => self.total("channels_created", value),
            MetricType::MessagesSent => self.total("messages_sent", value),
            MetricType::SignaturesVerified => self.total("signatures_verified", value),
            MetricType::DerivationDuration => self.0.derivation.record(value),
            MetricType::EventLogSize => with_local_recorder(&self.0.recorder, || {
                metrics::gauge!("event_log_size").set(value);
                metrics::gauge!("fairway_event_log_size_bytes").set(value);
            }),
        }
    }

    fn total(&self, name: &'static str, value: f64) {
        // A count beyond 2^53 loses its last digits, and there are no such counts.
        with_local_recorder(&self.0.recorder, || metrics::counter!(name).absolute(value as u64));
    }

    /// One derivation.
    pub fn derived(&self, mode: Mode, took: Duration) {
        let seconds = took.as_secs_f64();
        self.record(MetricType::DerivationDuration, seconds);
        match mode {
            Mode::Cold => self.0.derivation_cold.record(seconds),
            Mode::Incremental => self.0.derivation_incremental.record(seconds),
        }
    }

    /// An objective of this type was completed, so long after it was taken on.
    pub fn completed(&self, kind: ObjectiveKind, took_ms: u64) {
        let name = objective_name(kind);
        if let Some(at) = OBJECTIVES.iter().position(|of| *of == name) {
            self.0.objectives[at].record(took_ms as f64 / 1e3);
        }
    }

    /// A peer said after this time that it has made a message of ours durable.
    pub fn round_trip(&self, took: Duration) {
        self.0.round_trip.record(took.as_secs_f64());
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.0.calls
    }

    /// A batch of so many bytes is being written, both copies counted.
    pub fn batch(&self, bytes: u64) {
        self.0.batch_bytes.record(bytes as f64);
    }

    /// The disk is being asked; until [`Metrics::disk_answered`].
    pub fn disk_asked(&self) {
        self.0.disk_since.store(self.now_ms().saturating_add(1), Ordering::Relaxed);
    }

    /// It answered after this time.
    pub fn disk_answered(&self, call: DiskCall, took: Duration, ok: bool) {
        self.0.disk_since.store(0, Ordering::Relaxed);
        match call {
            DiskCall::Append => self.0.append.record(took.as_secs_f64()),
            DiskCall::Sync => self.0.sync.record(took.as_secs_f64()),
            DiskCall::Repair => {}
        }
        if !ok {
            self.0.disk_errors[call as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Failures of the disk so far.
    pub fn disk_errors(&self, call: DiskCall) -> u64 {
        self.0.disk_errors[call as usize].load(Ordering::Relaxed)
    }

    /// How long the disk has not answered, if it is being asked.
    pub fn disk_busy(&self) -> Option<Duration> {
        self.since(&self.0.disk_since)
    }

    /// The pump has inputs to work on; until [`Metrics::rests`].
    pub fn works(&self) {
        self.0.busy_since.store(self.now_ms().saturating_add(1), Ordering::Relaxed);
    }

    /// The pump waits for inputs.
    pub fn rests(&self) {
        self.0.busy_since.store(0, Ordering::Relaxed);
    }

    /// How long the pump has not rested, if it works.
    pub fn busy(&self) -> Option<Duration> {
        self.since(&self.0.busy_since)
    }

    /// Whether the last connection could be accepted.
    pub fn heard(&self, ok: bool) {
        self.0.deaf.store(!ok, Ordering::Relaxed);
    }

    /// Whether connections cannot be accepted.
    pub fn is_deaf(&self) -> bool {
        self.0.deaf.load(Ordering::Relaxed)
    }

    /// Checks one input as [`verify`] does, and counts what it costs and what it is.
    pub fn verify(&self, input: Input) -> Verified {
        let purpose = match input {
            Input::Blocks { .. } => Purpose::Chain,
            // Nothing else but a frame carries a signature.
            _ => Purpose::Message,
        };
        let verified = verify(input, &mut Counting(&self.0.signatures, purpose));
        if let Verified::Message { message, .. } = &verified {
            let kind = kind_of(message);
            if let Some(at) = RECEIVED.iter().position(|name| *name == kind) {
                self.0.received[at].fetch_add(1, Ordering::Relaxed);
            }
        }
        verified
    }

    /// How many of each kind came in.
    pub(super) fn all_received(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        RECEIVED.into_iter().zip(self.0.received.iter().map(|n| n.load(Ordering::Relaxed)))
    }

    /// How far the start is.
    pub fn startup(&self) -> &Startup {
        &self.0.startup
    }

    /// What was verified.
    pub fn signatures(&self) -> &Signatures {
        &self.0.signatures
    }

    pub(super) fn recorder(&self) -> &PrometheusRecorder {
        &self.0.recorder
    }

    /// Everything, as text.
    pub(super) fn render(&self) -> String {
        self.0.recorder.handle().render()
    }

    /// Empties the buffers of the histograms from time to time, for ever: a node that nobody scrapes must not grow.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            self.0.recorder.handle().run_upkeep();
        }
    }

    fn now_ms(&self) -> u64 {
        crate::clock::millis(self.0.origin.elapsed())
    }

    fn since(&self, mark: &AtomicU64) -> Option<Duration> {
        let since = mark.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(since)))
    }
}

/// Signatures that this process has verified.
#[derive(Debug, Default)]
pub struct Signatures {
    counts: [[AtomicU64; 2]; 2],
}

/// For what a signature was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A peer's message carried it.
    Message,
    /// The chain showed it.
    Chain,
}

impl Signatures {
    /// How many, by purpose and result.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let purposes = ["message", "chain"].into_iter().zip(&self.counts);
        purposes.flat_map(|(purpose, results)| {
            let results = ["recovered", "unrecoverable"].into_iter().zip(results);
            results.map(move |(result, n)| (purpose, result, n.load(Ordering::Relaxed)))
        })
    }

    fn count(&self, purpose: Purpose, recovered: bool) {
        self.counts[purpose as usize][usize::from(!recovered)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Recovers signers as [`Crypto::Real`] does, and counts.
struct Counting<'a>(&'a Signatures, Purpose);

impl Recover for Counting<'_> {
    fn recover(&mut self, hash: alloy_primitives::B256, sig: &Signature) -> Option<Address> {
        let signer = Crypto::Real.recover(hash, sig);
        self.0.count(self.1, signer.is_some());
        signer
    }

    fn recover_strict(&mut self, hash: alloy_primitives::B256, sig: &Signature) -> Option<Address> {
        let signer = Crypto::Real.recover_strict(hash, sig);
        self.0.count(self.1, signer.is_some());
        signer
    }
}

fn kind_of(message: &Message) -> &'static str {
    match message {
        Message::State(_) => "state",
        Message::Resume { .. } => "resume",
        Message::VirtualState { .. } => "virtual_state",
        Message::Proposal { .. } => "proposal",
        Message::Voucher { .. } => "voucher",
        Message::VirtualResume { .. } => "virtual_resume",
        Message::Bare(wire) => match wire {
            Wire::UpdateRequest { .. } => "update_request",
            Wire::CloseRequest { .. } => "close_request",
            Wire::Ack { .. } => "ack",
            Wire::Rejected { .. } => "rejected",
            Wire::ResumeRequest { .. } => "resume_request",
            Wire::FinalRequest { .. } => "final_request",
            // These carry signatures, and so are no bare messages.
            Wire::State(_) => "state",
            Wire::Resume { .. } => "resume",
            Wire::VirtualState { .. } => "virtual_state",
            Wire::Proposal { .. } => "proposal",
            Wire::Voucher(_) => "voucher",
            Wire::VirtualResume { .. } => "virtual_resume",
        },
    }
}

/// Kinds of messages that a peer can send.
pub(super) const RECEIVED: [&str; 12] = [
    "state",
    "update_request",
    "close_request",
    "ack",
    "rejected",
    "resume_request",
    "resume",
    "virtual_state",
    "proposal",
    "final_request",
    "voucher",
    "virtual_resume",
];

/// Around the targets: 10 ms for one, 5 s for a thousand.
const DERIVATION_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a good disk to one that an operator is called for.
const DISK_S: &[f64] =
    &[0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// From a sync on a good disk to a call that waits for a peer.
const ANSWER_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From a virtual channel among near peers to a funding with many confirmations.
const OBJECTIVE_S: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0];

const BATCH_BYTES: &[f64] = &[256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

/// A busy node measures some thousand durations in it.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
