//! `fairway_channel…`: virtual channels, over ledger channels of neighbours.

use fairway_core::event::{ObjectiveKind, VirtualTerms};
use fairway_core::input::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ledgers::One;
use super::open::{self, Opening, Pursued};
use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::page::Page;
use crate::rpc::value::{Account, Channel, Objective, Wei};
use crate::rpc::view::{LifePhase, Virtual};

/// Which virtual channels.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Over this ledger channel alone.
    pub ledger: Option<Channel>,
    /// In this phase alone.
    pub phase: Option<LifePhase>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Entries of the page: 1 to 500, 100 if not said.
    pub limit: Option<u32>,
}

/// A page of virtual channels.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// In order of their ids.
    pub channels: Vec<Virtual>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// The terms of a new virtual channel, in which we pay.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Who is paid.
    pub payee: Account,
    /// Whom it runs over, from us on. Each two neighbours need an open ledger channel.
    #[serde(default)]
    pub intermediaries: Vec<Account>,
    /// Most that can be paid.
    pub amount: Wei,
    /// The asset; the native token if not said.
    #[serde(default)]
    pub asset: Option<Account>,
    /// Our ledger channel with the first neighbour; the one with the most room if not said.
    #[serde(default)]
    pub ledger: Option<Channel>,
    /// Challenge duration in seconds; the configured one if not said.
    #[serde(default)]
    pub challenge_duration_s: Option<u32>,
    /// The same key with the same terms names the same channel, also after a restart. 1 to 128 bytes.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// `fairway_channels`.
pub async fn list(context: Context, asked: List) -> Result<Listed, RpcError> {
    let page = Page::<Channel>::parse(asked.cursor.as_deref(), asked.limit)?;
    let after = page.after.map(|Channel(id)| id);
    let (channels, next) = context
        .look(move |driver| {
            let all = driver.node().state().virtual_channels();
            let behind = all.filter(|v| after.is_none_or(|after| v.id > after));
            let wanted = behind.filter(|v| {
                asked.ledger.is_none_or(|ledger| v.ledgers().any(|l| l == ledger.0))
                    && asked.phase.is_none_or(|phase| phase == v.phase.into())
            });
            page.take(wanted.map(|v| (Channel(v.id), Virtual::of(v))))
        })
        .await?;
    Ok(Listed { channels, next })
}

/// `fairway_channel`.
pub async fn show(context: Context, One { channel }: One) -> Result<Virtual, RpcError> {
    let look = context.find(
        move |driver| driver.node().state().virtual_channel(channel.0).map(Virtual::of),
        || unknown(channel),
    );
    look.await
}

/// `fairway_channelOpen`.
pub async fn open(context: Context, asked: Open) -> Result<Opening, RpcError> {
    let (me, key) = (context.facts.pins.me, asked.idempotency_key.as_deref());
    let between = asked.intermediaries.iter().map(|a| a.0);
    let terms = VirtualTerms {
        participants: std::iter::once(me).chain(between).chain([asked.payee.0]).collect(),
        nonce: open::nonce(me, key)?,
        challenge_duration: asked
            .challenge_duration_s
            .unwrap_or_else(|| context.facts.challenge_duration_s()),
        asset: asked.asset.map(|a| a.0).unwrap_or_default(),
        amount: asked.amount.0,
    };
    if let (Some(_), Some(app)) = (key, context.facts.payment_app) {
        open::check_reuse(&context, terms.nonce, terms.fixed_part(app).channel_id()).await?;
    }
    let ledger = asked.ledger.map(|l| l.0);
    let accepted = context.node.command(Command::OpenVirtual { terms, ledger }).await??;
    Ok(Opening::of(open::objective(&context, accepted, &[ObjectiveKind::VirtualFund])))
}

/// `fairway_channelClose`.
pub async fn close(context: Context, One { channel }: One) -> Result<Pursued, RpcError> {
    let look = move |driver: &fairway_core::driver::Driver| {
        driver.node().state().virtual_channel(channel.0).map(|_| ())
    };
    context.find(look, || unknown(channel)).await?;
    let accepted = context.node.command(Command::Close { channel: channel.0 }).await??;
    let id = open::objective(&context, accepted, &[ObjectiveKind::VirtualDefund]);
    Ok(Pursued { objective: Objective(id) })
}

fn unknown(channel: Channel) -> RpcError {
    RpcError::new(Code::NotFound, format!("there is no virtual channel {channel}"))
}
