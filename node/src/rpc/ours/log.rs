//! `fairway_events`: the log from a position on. The same events come by subscription.

use fairway_core::types::Lsn;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_value;

use crate::events::Line;
use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::follow::{FollowError, LogReader};
use crate::rpc::page::page_limit;

/// From where.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct From {
    /// Position of the first event; the log's beginning if not said.
    pub from: Option<u64>,
    /// Events of the page: 1 to 500, 100 if not said.
    pub limit: Option<u32>,
}

/// Events in order.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// In order, without gaps.
    pub events: Vec<EventLine>,
    /// Where the next page begins. Events that are there already, and those that will be.
    pub next: u64,
    /// Position of the last event that is durable.
    pub durable: u64,
}

/// One event.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// Its position; the first event of a log has 1.
    pub lsn: u64,
    /// Milliseconds since 1970, by the node's clock.
    pub time_ms: u64,
    /// Its name with its fields, as `fairway events list --json` writes it.
    pub event: Value,
}

/// `fairway_events`.
pub async fn events(context: Context, asked: From) -> Result<Events, RpcError> {
    let limit = page_limit(asked.limit)?;
    let durable = *context.durable.borrow();
    let from = Lsn(asked.from.unwrap_or(1));
    let directory = context.facts.data_dir.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut reader = LogReader::seek(&directory, from)?;
        let lines = reader.read(durable, limit)?;
        Ok::<_, FollowError>((lines, reader.next()))
    });
    let (lines, next) = read.await.expect("reading a log does not panic")?;
    let events = lines.iter().map(EventLine::of).collect();
    Ok(Events { events, next: next.0, durable: durable.0 })
}

impl EventLine {
    /// As our interface writes it.
    pub fn of(line: &Line) -> EventLine {
        let event = to_value(&line.event).expect("events are JSON");
        EventLine { lsn: line.lsn.0, time_ms: line.time_ms, event }
    }
}

impl std::convert::From<FollowError> for RpcError {
    fn from(error: FollowError) -> RpcError {
        let code = match error {
            FollowError::Archived { .. } => Code::NotFound,
            FollowError::Io { .. } | FollowError::Damaged { .. } | FollowError::Unknown(_) => {
                Code::Internal
            }
        };
        RpcError::new(code, error.to_string())
    }
}
