//! `fairway_pay` and vouchers.

use alloy_primitives::hex;
use fairway_core::nitro::Signature;
use fairway_core::nitro::voucher;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ledgers::One;
use super::open::check_key;
use crate::rpc::cashier::{Key, Paid, Payment};
use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::value::{Channel, Wei};

/// One payment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pay {
    /// In which channel.
    pub channel: Channel,
    /// How much.
    pub amount: Wei,
    /// Where the channel must stand: its `position`, or of a virtual channel what was `paid`. A payment that is repeated with the same
    /// `after` is not made twice, also across restarts.
    #[serde(default)]
    pub after: Option<Wei>,
    /// The same key with the same payment gives the same answer, for a day or until the node stops. 1 to 128 bytes.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// A payment that is durable.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Made {
    /// The channel.
    pub channel: Channel,
    /// Where it stands now: what the next payment is to come `after`.
    pub position: Wei,
}

/// A payer's signed promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Voucher {
    /// The virtual channel.
    pub channel: Channel,
    /// Everything that was paid so far.
    pub amount: Wei,
    /// The payer's, `0x` and 130 hexadecimal digits.
    pub signature: String,
}

/// A voucher that somebody shows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// The voucher.
    pub voucher: Voucher,
}

/// What a voucher adds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// Everything that was paid so far.
    pub total: Wei,
    /// What of it was not credited to an earlier call.
    pub delta: Wei,
}

/// `fairway_pay`.
pub async fn pay(context: Context, asked: Pay) -> Result<Made, RpcError> {
    let channel = asked.channel;
    let paid = make(&context, asked).await?;
    Ok(Made { channel, position: Wei(paid.position) })
}

/// `fairway_voucherCreate`.
pub async fn voucher_create(context: Context, asked: Pay) -> Result<Voucher, RpcError> {
    let channel = asked.channel.0;
    let is_virtual =
        context.look(move |driver| driver.node().state().virtual_channel(channel).is_some());
    if !is_virtual.await? {
        let what = format!("there is no virtual channel {channel}; only those have vouchers");
        return Err(RpcError::new(Code::NotFound, what));
    }
    let paid = make(&context, asked).await?;
    let voucher = paid.voucher.expect("a payment in a virtual channel gives a voucher");
    Ok(Voucher::of(&voucher))
}

/// `fairway_voucherReceive`.
pub async fn voucher_receive(context: Context, asked: Receive) -> Result<Received, RpcError> {
    let credited = context.cashier.receive(asked.voucher.parse()?).await?;
    Ok(Received { total: Wei(credited.total), delta: Wei(credited.delta) })
}

/// `fairway_voucher`.
pub async fn voucher(context: Context, One { channel }: One) -> Result<Voucher, RpcError> {
    let look = context.find(
        move |driver| driver.node().state().virtual_channel(channel.0)?.voucher,
        || RpcError::new(Code::NotFound, format!("no voucher of channel {channel} is here")),
    );
    Ok(Voucher::of(&look.await?))
}

async fn make(context: &Context, asked: Pay) -> Result<Paid, RpcError> {
    let payment = Payment {
        channel: asked.channel.0,
        amount: asked.amount.0,
        after: asked.after.map(|a| a.0),
    };
    if let Some(key) = &asked.idempotency_key {
        check_key(key)?;
    }
    let caller = &context.caller.name;
    let key = asked.idempotency_key.map(|key| Key { caller: caller.clone(), key });
    context.cashier.pay(payment, key).await
}

impl Voucher {
    /// As our interface writes it.
    pub fn of(voucher: &voucher::Voucher) -> Voucher {
        Voucher {
            channel: Channel(voucher.channel),
            amount: Wei(voucher.amount),
            signature: hex::encode_prefixed(voucher.sig.0),
        }
    }

    /// As core knows it; the signature is not checked yet.
    ///
    /// # Errors
    /// The signature is none.
    pub fn parse(&self) -> Result<voucher::Voucher, RpcError> {
        let sig = signature(&self.signature)
            .ok_or_else(|| RpcError::params("signature: expected 0x and 130 hexadecimal digits"))?;
        Ok(voucher::Voucher { channel: self.channel.0, amount: self.amount.0, sig })
    }
}

/// 65 bytes in hexadecimal digits.
pub fn signature(text: &str) -> Option<Signature> {
    hex::decode_to_array(text.strip_prefix("0x")?).ok().map(Signature)
}
