//! Notifications of the legacy interface: one for every objective that completes and every change of a channel's info.
//!
//! Made from the log, after the fact is durable. A listener that is slow misses no final state: what changed twice is told once.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::event::Event;
use fairway_core::types::ChannelId;
use serde::Serialize;

use super::{LedgerInfo, PaymentInfo};
use crate::rpc::context::Context;
use crate::rpc::error::RpcError;
use crate::rpc::follow::LogReader;

/// What a listener was told, and where in the log it stands.
pub struct Notifier {
    context: Context,
    reader: LogReader,
    told: BTreeMap<ChannelId, Info>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Info {
    Ledger(LedgerInfo),
    Payment(PaymentInfo),
}

#[derive(Serialize)]
struct Told<'a, P> {
    jsonrpc: &'static str,
    /// Random: nobody answers.
    id: u32,
    method: &'static str,
    params: Params<'a, P>,
}

#[derive(Serialize)]
struct Params<'a, P> {
    authtoken: &'static str,
    payload: &'a P,
}

impl Notifier {
    /// Tells what happens from now on.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn start(context: Context) -> Result<Notifier, RpcError> {
        let (directory, from) =
            (context.facts.data_dir.clone(), context.durable.borrow().advance(1));
        let seek = tokio::task::spawn_blocking(move || LogReader::seek(&directory, from));
        let reader = seek.await.expect("reading a log does not panic")?;
        Ok(Notifier { context, reader, told: BTreeMap::new() })
    }

    /// Waits for news; text frames to send. `None`: the node has stopped. Given up in the middle, it has told nothing and begins anew.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, RpcError> {
        let durable = *self.context.durable.borrow_and_update();
        let mut reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || {
            let lines = reader.read(durable, EVENTS_MAX);
            lines.map(|lines| (lines, reader))
        });
        let (lines, reader) = read.await.expect("reading a log does not panic")?;
        if lines.is_empty() {
            let more = self.context.durable.changed().await.is_ok();
            return Ok(more.then(Vec::new));
        }
        let mut frames = Vec::new();
        let mut touched = BTreeSet::new();
        for line in &lines {
            touched.extend(line.event.channel());
            if let Event::ObjectiveCompleted { id } = line.event {
                frames.push(frame("objective_completed", &id.to_string())?);
            }
        }
        frames.extend(self.changes(touched).await?);
        // Only now: whoever gives up while this waits must not lose what it was about to be told.
        self.reader = reader;
        Ok(Some(frames))
    }

    async fn changes(&mut self, touched: BTreeSet<ChannelId>) -> Result<Vec<String>, RpcError> {
        let look = self.context.look(move |driver| {
            let state = driver.node().state();
            let info = |id: &ChannelId| match state.virtual_channel(*id) {
                Some(v) => Some((*id, Info::Payment(PaymentInfo::of(v)))),
                None => Some((*id, Info::Ledger(LedgerInfo::of(driver, state.channel(*id)?)))),
            };
            touched.iter().filter_map(info).collect::<Vec<_>>()
        });
        let mut frames = Vec::new();
        for (id, info) in look.await? {
            if self.told.get(&id) == Some(&info) {
                continue;
            }
            frames.push(match &info {
                Info::Ledger(info) => frame("ledger_channel_updated", info)?,
                Info::Payment(info) => frame("payment_channel_updated", info)?,
            });
            self.told.insert(id, info);
        }
        Ok(frames)
    }
}

fn frame(method: &'static str, payload: &impl Serialize) -> Result<String, RpcError> {
    let mut id = [0; 4];
    let failed =
        |e| RpcError::new(crate::rpc::error::Code::Internal, format!("no random numbers: {e}"));
    getrandom::fill(&mut id).map_err(failed)?;
    let params = Params { authtoken: "", payload };
    let told = Told { jsonrpc: "2.0", id: u32::from_be_bytes(id), method, params };
    Ok(crate::rpc::envelope::to_json(&told))
}

/// Events that are looked at together.
const EVENTS_MAX: usize = 500;
