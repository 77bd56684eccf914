//! What opening both kinds of channels shares: the nonce, and idempotency keys that hold across restarts.
//!
//! The nonce of a channel is made from the idempotency key, and the channel's id from the nonce: the same request names the same
//! channel, whenever it is repeated, and the node takes on nothing twice.

use fairway_core::event::{ObjectiveId, ObjectiveKind};
use fairway_core::types::{Address, ChannelId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::value::{Channel, Objective};

/// A channel that is being opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Opening {
    /// What to wait for.
    pub objective: Objective,
    /// The new channel.
    pub channel: Channel,
}

/// What is being done with a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pursued {
    /// What to wait for.
    pub objective: Objective,
}

impl Opening {
    /// Of this objective.
    pub fn of(id: ObjectiveId) -> Opening {
        Opening { objective: Objective(id), channel: Channel(id.channel) }
    }
}

/// The nonce for a new channel: made from the key, or random.
///
/// # Errors
/// The key is too long, or there are no random numbers.
pub fn nonce(me: Address, key: Option<&str>) -> Result<u64, RpcError> {
    let mut nonce = [0; 8];
    match key {
        Some(key) => {
            check_key(key)?;
            let mut hasher = blake3::Hasher::new_derive_key("fairway rpc channel nonce v1");
            hasher.update(me.as_slice()).update(key.as_bytes());
            hasher.finalize_xof().fill(&mut nonce);
        }
        None => {
            let failed = |e| RpcError::new(Code::Internal, format!("no random numbers: {e}"));
            getrandom::fill(&mut nonce).map_err(failed)?;
        }
    }
    Ok(u64::from_be_bytes(nonce))
}

/// Refuses a key that opened a channel on other terms than the one that it names now.
///
/// # Errors
/// `Code::KeyReused`.
pub async fn check_reuse(
    context: &Context,
    nonce: u64,
    channel: ChannelId,
) -> Result<(), RpcError> {
    let me = context.facts.pins.me;
    let other = context.look(move |driver| {
        let state = driver.node().state();
        let ledgers = state.channels().map(|c| (c.id, &c.fixed));
        let all = ledgers.chain(state.virtual_channels().map(|v| (v.id, &v.fixed)));
        let ours = |fixed: &fairway_core::nitro::FixedPart| {
            fixed.nonce == nonce && fixed.participants.first() == Some(&me)
        };
        all.filter(|(_, fixed)| ours(fixed)).map(|(id, _)| id).find(|id| *id != channel)
    });
    match other.await? {
        None => Ok(()),
        Some(other) => Err(RpcError::new(
            Code::KeyReused,
            format!("this idempotency key opened channel {other} on other terms; take a new one"),
        )),
    }
}

/// Refuses keys that cannot be remembered.
///
/// # Errors
/// `Code::Params`.
pub fn check_key(key: &str) -> Result<(), RpcError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(RpcError::params(format!(
            "idempotency_key: expected 1 to {KEY_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

/// The objective that a command was accepted as.
pub fn objective(
    context: &Context,
    accepted: fairway_core::effect::Accepted,
    kinds: &[ObjectiveKind],
) -> ObjectiveId {
    use fairway_core::effect::Accepted;
    match accepted {
        Accepted::Objective(id) if kinds.contains(&id.kind) => id,
        other => unreachable!("{}: {kinds:?} was accepted as {other:?}", context.caller.name),
    }
}

const KEY_BYTES_MAX: usize = 128;
