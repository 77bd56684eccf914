//! `fairway_objective…` and `fairway_challenge`: what is pursued, and what it waits for.

use std::ops::Bound;
use std::time::Duration;

use fairway_core::driver::Driver;
use fairway_core::event::{ObjectiveId, ObjectiveKind};
use fairway_core::input::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::ledgers::One;
use super::open::{self, Pursued};
use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::page::Page;
use crate::rpc::value::{Channel, Objective};
use crate::rpc::view::Goal;

/// Which objectives.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Of this channel alone.
    pub channel: Option<Channel>,
    /// Also those that have ended.
    pub all: bool,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Entries of the page: 1 to 500, 100 if not said.
    pub limit: Option<u32>,
}

/// A page of objectives.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// By channel, then by kind.
    pub objectives: Vec<Goal>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Which objective.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Its name.
    pub objective: Objective,
}

/// What to wait for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Its name.
    pub objective: Objective,
    /// The `waiting_for` that the caller has seen: answered as soon as it is another one. Without it only the end counts.
    #[serde(default)]
    pub seen: Option<String>,
    /// How long to wait at most, 1 to 30000; 30000 if not said. Then the objective is answered as it is.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// `fairway_objectives`.
pub async fn list(context: Context, asked: List) -> Result<Listed, RpcError> {
    let page = Page::<Objective>::parse(asked.cursor.as_deref(), asked.limit)?;
    let first = asked
        .channel
        .map(|Channel(channel)| ObjectiveId { channel, kind: ObjectiveKind::DirectFund });
    let from = match (page.after, first) {
        (Some(Objective(id)), _) => Bound::Excluded(id),
        (None, Some(id)) => Bound::Included(id),
        (None, None) => Bound::Unbounded,
    };
    let times = context.facts.times();
    let (objectives, next) = context
        .look(move |driver| {
            let behind = driver.node().state().objectives().range((from, Bound::Unbounded));
            let of = behind.take_while(|(id, _)| asked.channel.is_none_or(|c| c.0 == id.channel));
            let wanted = of.filter(|(_, o)| asked.all || o.is_live());
            page.take(wanted.map(|(id, o)| (Objective(*id), Goal::of(driver, times, *id, o))))
        })
        .await?;
    Ok(Listed { objectives, next })
}

/// `fairway_objective`.
pub async fn show(context: Context, Which { objective }: Which) -> Result<Goal, RpcError> {
    let look = goal(&context, objective);
    context.find(look, || unknown(objective)).await
}

/// `fairway_objectiveWait`.
pub async fn wait(context: Context, asked: Wait) -> Result<Goal, RpcError> {
    let for_ms = asked.timeout_ms.unwrap_or(WAIT_MS_MAX);
    if for_ms == 0 || for_ms > WAIT_MS_MAX {
        return Err(RpcError::params(format!("timeout_ms: expected 1 to {WAIT_MS_MAX}")));
    }
    let objective = asked.objective;
    let now = show(context.clone(), Which { objective }).await?;
    let mut look = goal(&context, objective);
    let is_news = move |goal: &Goal| {
        let another = asked.seen.is_some() && goal.waiting_for != asked.seen;
        goal.has_ended() || another
    };
    if is_news(&now) {
        return Ok(now);
    }
    let news = context.node.when(move |driver| look(driver).filter(|g| is_news(g)));
    match timeout(Duration::from_millis(for_ms), news).await {
        Ok(goal) => Ok(goal?),
        Err(_) => show(context.clone(), Which { objective }).await,
    }
}

/// `fairway_challenge`.
pub async fn challenge(context: Context, One { channel }: One) -> Result<Pursued, RpcError> {
    let accepted = context.node.command(Command::ForceClose { channel: channel.0 }).await??;
    let id = open::objective(&context, accepted, &[ObjectiveKind::Dispute]);
    Ok(Pursued { objective: Objective(id) })
}

fn goal(
    context: &Context,
    objective: Objective,
) -> impl FnMut(&Driver) -> Option<Goal> + Send + use<> {
    let facts = context.facts.clone();
    move |driver| {
        let known = driver.node().state().objectives().get(&objective.0)?;
        Some(Goal::of(driver, facts.times(), objective.0, known))
    }
}

fn unknown(objective: Objective) -> RpcError {
    RpcError::new(Code::NotFound, format!("there is no objective {objective}"))
}

/// Shorter than the patience of proxies.
const WAIT_MS_MAX: u64 = 30_000;
