//! `fairway_status`, `fairway_peers`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fairway_core::channel::Phase;
use fairway_core::event::RecoveryReason;
use fairway_core::types::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rpc::context::Context;
use crate::rpc::error::RpcError;
use crate::rpc::page::Page;
use crate::rpc::value::Account;
use crate::version::Version;

/// Nothing.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// How the node does.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `ok`, or `degraded` when something below says why.
    pub health: String,
    /// What is wrong, one line each.
    pub troubles: Vec<String>,
    /// Its channel address.
    pub address: Account,
    /// The program's version.
    pub version: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The adjudicator.
    pub adjudicator: Account,
    /// The application of ledger channels.
    pub consensus_app: Account,
    /// The application of virtual channels; without it there are none.
    pub payment_app: Option<Account>,
    /// Position of the last event that is durable.
    pub lsn: u64,
    /// The newest block that the node knows.
    pub head: Option<u64>,
    /// Its time, in seconds since 1970.
    pub head_time: Option<u64>,
    /// Whether the chain's endpoint answered last time.
    pub chain_up: bool,
    /// Ledger channels that are not finished.
    pub ledgers: u64,
    /// Virtual channels that are not finished.
    pub channels: u64,
    /// Objectives that are pursued.
    pub objectives: u64,
    /// Peers with a session.
    pub sessions: u64,
}

/// Which peers.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PeersAsked {
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Entries of the page: 1 to 500, 100 if not said.
    pub limit: Option<u32>,
}

/// A page of peers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Peers {
    /// In order of their addresses.
    pub peers: Vec<Peer>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Somebody who is connected or shares ledger channels with us.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// Its channel address.
    pub peer: Account,
    /// Whether a session is up.
    pub connected: bool,
    /// The wire version of that session.
    pub wire_version: Option<u16>,
    /// Ledger channels with it that are not finished.
    pub ledgers: u64,
}

/// `fairway_status`.
pub async fn status(context: Context, _: Nothing) -> Result<Status, RpcError> {
    let facts = context.facts.clone();
    let sessions = context.node.sessions().len() as u64;
    let mut troubles: Vec<String> = Vec::new();
    if let Some(chain) = context.node.chain() {
        troubles.extend(chain.health.borrow().reasons.values().map(|r| format!("chain: {r}")));
    }
    context
        .look(move |driver| {
            let (node, state) = (driver.node(), driver.node().state());
            let mut troubles = troubles.clone();
            let recovery = state.recovery().map(|why| match why {
                RecoveryReason::Restored => "restored from a backup".to_string(),
                RecoveryReason::ForgottenSignature { channel, turn } => {
                    format!("a signature of turn {turn} in channel {channel} was forgotten")
                }
            });
            troubles.extend(recovery.map(|why| format!("in recovery, signs nothing new: {why}")));
            if !node.chain_is_up() {
                troubles.push("the chain's endpoint does not answer".into());
            }
            let frozen = state.channels().filter(|c| c.frozen).count();
            if frozen > 0 {
                troubles.push(format!("{frozen} ledger channels are frozen by a reorganization"));
            }
            let head = state.chain().head();
            Status {
                health: if troubles.is_empty() { "ok" } else { "degraded" }.into(),
                troubles,
                address: Account(facts.pins.me),
                version: Version::this().version.into(),
                chain_id: facts.pins.chain_id,
                adjudicator: Account(facts.pins.adjudicator),
                consensus_app: Account(facts.pins.consensus_app),
                payment_app: state.payment_app().map(Account),
                lsn: driver.durable().0,
                head: head.map(|h| h.number.0),
                head_time: head.map(|_| state.chain().now().0),
                chain_up: node.chain_is_up(),
                ledgers: state.channels().filter(|c| c.phase != Phase::Finished).count() as u64,
                channels: state.virtual_channels().filter(|v| v.phase != Phase::Finished).count()
                    as u64,
                objectives: state.live_objectives(),
                sessions,
            }
        })
        .await
}

/// `fairway_peers`.
pub async fn peers(context: Context, asked: PeersAsked) -> Result<Peers, RpcError> {
    let page = Page::<Account>::parse(asked.cursor.as_deref(), asked.limit)?;
    let sessions: BTreeSet<Address> = context.node.sessions().into_iter().collect();
    let (peers, next) = context
        .look(move |driver| {
            let mut all: BTreeMap<Address, u64> = sessions.iter().map(|p| (*p, 0)).collect();
            for channel in driver.node().state().channels() {
                let count = all.entry(channel.peer).or_default();
                *count += u64::from(channel.phase != Phase::Finished);
            }
            let from = page.after.map_or(Bound::Unbounded, |Account(a)| Bound::Excluded(a));
            let behind = all.range((from, Bound::Unbounded));
            page.take(behind.map(|(peer, ledgers)| {
                let connected = sessions.contains(peer);
                let version = driver.node().version_with(*peer);
                let entry = Peer {
                    peer: Account(*peer),
                    connected,
                    wire_version: connected.then_some(version),
                    ledgers: *ledgers,
                };
                (Account(*peer), entry)
            }))
        })
        .await?;
    Ok(Peers { peers, next })
}
