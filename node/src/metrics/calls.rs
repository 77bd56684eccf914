//! Calls of the RPC: how many there were of each method, how they ended, and how long they took.

use std::time::Duration;

use metrics::{Histogram, counter, histogram, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::meter::Metrics;

/// Which of the two interfaces was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// `/rpc`.
    Ours,
    /// `/api/v1`.
    Legacy,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Ok,
    /// The node said no, or has no such thing.
    Refused,
    /// Nothing that could be meant.
    Invalid,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Who asks may not.
    Forbidden,
    /// Too many calls.
    Busy,
    /// The node has stopped.
    Stopped,
    /// Our own bug, or a failing disk.
    Internal,
}

impl Outcome {
    /// Every way to end.
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Refused,
        Outcome::Invalid,
        Outcome::Unauthenticated,
        Outcome::Forbidden,
        Outcome::Busy,
        Outcome::Stopped,
        Outcome::Internal,
    ];

    /// As the label says it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Invalid => "invalid",
            Outcome::Unauthenticated => "unauthenticated",
            Outcome::Forbidden => "forbidden",
            Outcome::Busy => "busy",
            Outcome::Stopped => "stopped",
            Outcome::Internal => "internal",
        }
    }
}

/// What is measured of calls, by interface.
pub(super) struct Calls([Histogram; 2]);

impl Calls {
    /// Shows every outcome from the start, so that its rate is known when the first one comes.
    pub(super) fn new(recorder: &PrometheusRecorder) -> Calls {
        with_local_recorder(recorder, || {
            for outcome in Outcome::ALL {
                let labels = [("method", NO_METHOD), ("result", outcome.name())];
                counter!("fairway_rpc_requests_total", &labels).absolute(0);
            }
            let of =
                |interface| histogram!("fairway_rpc_duration_seconds", "interface" => interface);
            Calls([of("ours"), of("legacy")])
        })
    }

    fn of(&self, interface: Interface) -> &Histogram {
        let [ours, legacy] = &self.0;
        match interface {
            Interface::Ours => ours,
            Interface::Legacy => legacy,
        }
    }
}

impl Metrics {
    /// A call of this method ended, after this time. `method` is of a closed list: what a caller made up is [`UNKNOWN_METHOD`].
    pub fn called(
        &self,
        interface: Interface,
        method: &'static str,
        outcome: Outcome,
        took: Duration,
    ) {
        self.count_call(method, outcome);
        if !WAITING_METHODS.contains(&method) {
            self.calls().of(interface).record(took.as_secs_f64());
        }
    }

    /// A request was turned away before it was known what it wanted.
    pub fn turned_away(&self, outcome: Outcome) {
        self.count_call(NO_METHOD, outcome);
    }

    fn count_call(&self, method: &'static str, outcome: Outcome) {
        with_local_recorder(self.recorder(), || {
            let labels = [("method", method), ("result", outcome.name())];
            counter!("fairway_rpc_requests_total", &labels).increment(1);
        });
    }
}

/// The label of methods that do not exist.
pub const UNKNOWN_METHOD: &str = "unknown";
/// The label of what was no request, or not let in.
const NO_METHOD: &str = "none";
/// They take as long as the caller wants to wait, which says nothing about the node.
const WAITING_METHODS: &[&str] = &["fairway_objectiveWait"];
