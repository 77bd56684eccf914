//! `fairway_ledger…`: channels whose money the contract holds.

use std::ops::Bound;

use fairway_core::event::{ObjectiveKind, Terms};
use fairway_core::input::Command;
use fairway_core::types::Amount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::open::{self, Opening, Pursued};
use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::page::Page;
use crate::rpc::value::{Account, Channel, Wei};
use crate::rpc::view::{Ledger, LifePhase};

/// Which ledger channels.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// With this peer alone.
    pub peer: Option<Account>,
    /// In this phase alone.
    pub phase: Option<LifePhase>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Entries of the page: 1 to 500, 100 if not said.
    pub limit: Option<u32>,
}

/// A page of ledger channels.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// In order of their ids.
    pub ledgers: Vec<Ledger>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// One channel.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct One {
    /// Which.
    pub channel: Channel,
}

/// The terms of a new ledger channel.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// With whom.
    pub peer: Account,
    /// What we deposit.
    pub deposit: Wei,
    /// What the peer deposits; nothing if not said.
    #[serde(default)]
    pub peer_deposit: Option<Wei>,
    /// The asset; the native token if not said.
    #[serde(default)]
    pub asset: Option<Account>,
    /// Challenge duration in seconds; the configured one if not said.
    #[serde(default)]
    pub challenge_duration_s: Option<u32>,
    /// The same key with the same terms names the same channel, also after a restart. 1 to 128 bytes.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// `fairway_ledgers`.
pub async fn list(context: Context, asked: List) -> Result<Listed, RpcError> {
    let page = Page::<Channel>::parse(asked.cursor.as_deref(), asked.limit)?;
    let from = page.after.map_or(Bound::Unbounded, |Channel(id)| Bound::Excluded(id));
    let (ledgers, next) = context
        .look(move |driver| {
            let behind = driver.node().state().channel_map().range((from, Bound::Unbounded));
            let wanted = behind.filter(|(_, c)| {
                asked.peer.is_none_or(|peer| peer.0 == c.peer)
                    && asked.phase.is_none_or(|phase| phase == c.phase.into())
            });
            page.take(wanted.map(|(id, c)| (Channel(*id), Ledger::of(driver, c))))
        })
        .await?;
    Ok(Listed { ledgers, next })
}

/// `fairway_ledger`.
pub async fn show(context: Context, One { channel }: One) -> Result<Ledger, RpcError> {
    let look = context.find(
        move |driver| driver.node().state().channel(channel.0).map(|c| Ledger::of(driver, c)),
        || RpcError::new(Code::NotFound, format!("there is no ledger channel {channel}")),
    );
    look.await
}

/// `fairway_ledgerOpen`.
pub async fn open(context: Context, asked: Open) -> Result<Opening, RpcError> {
    let (pins, key) = (context.facts.pins, asked.idempotency_key.as_deref());
    let terms = Terms {
        participants: [pins.me, asked.peer.0],
        nonce: open::nonce(pins.me, key)?,
        challenge_duration: asked
            .challenge_duration_s
            .unwrap_or_else(|| context.facts.challenge_duration_s()),
        asset: asked.asset.map(|a| a.0).unwrap_or_default(),
        deposits: [asked.deposit.0, asked.peer_deposit.map_or(Amount::ZERO, |d| d.0)],
    };
    if key.is_some() {
        let channel = terms.fixed_part(pins.consensus_app).channel_id();
        open::check_reuse(&context, terms.nonce, channel).await?;
    }
    let accepted = context.node.command(Command::Open(terms)).await??;
    Ok(Opening::of(open::objective(&context, accepted, &[ObjectiveKind::DirectFund])))
}

/// `fairway_ledgerClose`.
pub async fn close(context: Context, One { channel }: One) -> Result<Pursued, RpcError> {
    let channel = channel.0;
    context
        .find(
            move |driver| driver.node().state().channel(channel).map(|_| ()),
            || RpcError::new(Code::NotFound, format!("there is no ledger channel {channel}")),
        )
        .await?;
    let accepted = context.node.command(Command::Close { channel }).await??;
    let id = open::objective(&context, accepted, &[ObjectiveKind::DirectDefund]);
    Ok(Pursued { objective: crate::rpc::value::Objective(id) })
}
