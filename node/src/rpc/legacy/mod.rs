//! The interface of go-nitro's node: `/api/v1`, for programs that were written for it.
//!
//! Names, key sets and error codes are go-nitro's. What differs is what would lose money there: a grant is worth no more than
//! its caller had, amounts are exact, and everything answered is durable.

mod info;
pub mod notify;
mod wire;

use std::collections::BTreeMap;
use std::time::Instant;

use fairway_core::effect::Accepted;
use fairway_core::event::{ObjectiveId, Terms, VirtualTerms};
use fairway_core::input::Command;
use fairway_core::nitro::voucher::Voucher;
use fairway_core::types::{Address, Amount, ChannelId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

pub use info::{LedgerInfo, PaymentInfo};
use wire::{
    Call, CreateLedger, CreatePayment, GetToken, Named, OfLedger, OneChannel, Pay, ShownVoucher,
};

use super::cashier::Payment;
use super::context::{Caller, Context};
use super::error::{Code, RpcError};
use super::gate::{Door, Gate};
use super::ours::payments;
use super::settings::PayeeDeposit;
use super::token::Scope;
use crate::metrics::{Interface, Outcome, UNKNOWN_METHOD};
use crate::version::Version;

/// Its methods, as they are counted.
pub const METHODS: [&str; 14] = [
    "get_auth_token",
    "get_address",
    "version",
    "create_ledger_channel",
    "close_ledger_channel",
    "create_payment_channel",
    "close_payment_channel",
    "pay",
    "create_voucher",
    "receive_voucher",
    "get_ledger_channel",
    "get_all_ledger_channels",
    "get_payment_channel",
    "get_payment_channels_by_ledger",
];

/// Bytes of a request.
pub const BODY_BYTES_MAX: usize = 8_192;

/// An error of this interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LegacyError {
    code: i64,
    message: String,
    /// Always `null`.
    data: (),
    /// For whoever counts: go-nitro has one code for everything that a node refuses.
    #[serde(skip)]
    outcome: Outcome,
}

/// What every call needs.
pub struct Desk<'a> {
    /// The node; its caller is a placeholder until the token was read.
    pub context: &'a Context,
    /// Who is let in.
    pub gate: &'a Gate,
    /// Where the request came in.
    pub door: Door,
    /// Its header `Authorization`.
    pub header: Option<&'a str>,
}

type Answer = Result<Box<RawValue>, LegacyError>;

impl LegacyError {
    fn new(code: i64, message: &str) -> LegacyError {
        let outcome = match code {
            -32008 => Outcome::Unauthenticated,
            -32603 => Outcome::Internal,
            _ => Outcome::Invalid,
        };
        LegacyError { code, message: message.into(), data: (), outcome }
    }

    fn params() -> LegacyError {
        LegacyError::new(-32602, "Invalid params")
    }

    /// The node says no. go-nitro has no other code for it.
    fn refused(message: String) -> LegacyError {
        LegacyError { outcome: Outcome::Refused, ..LegacyError::internal(message) }
    }

    fn internal(message: String) -> LegacyError {
        LegacyError::new(-32603, &message)
    }
}

impl From<RpcError> for LegacyError {
    fn from(error: RpcError) -> LegacyError {
        let code = if error.code == Code::Params as i64 { -32602 } else { -32603 };
        LegacyError { outcome: error.outcome(), ..LegacyError::new(code, &error.message) }
    }
}

impl Desk<'_> {
    /// Answers one request.
    pub async fn answer(&self, body: &[u8]) -> String {
        let metrics = self.context.node.metrics();
        let (id, outcome) = match Call::parse(body) {
            Err((id, error)) => {
                metrics.turned_away(error.outcome);
                (id, Err(error))
            }
            Ok(call) => {
                let began = Instant::now();
                let outcome = self.dispatch(&call).await;
                let name = METHODS.into_iter().find(|name| *name == call.method);
                let ended = outcome.as_ref().map_or_else(|e| e.outcome, |_| Outcome::Ok);
                let name = name.unwrap_or(UNKNOWN_METHOD);
                metrics.called(Interface::Legacy, name, ended, began.elapsed());
                (call.id, outcome)
            }
        };
        match outcome {
            Ok(result) => super::envelope::to_json(&Success { jsonrpc: "2.0", id, result }),
            Err(error) => super::envelope::to_json(&Failure { jsonrpc: "2.0", id, error }),
        }
    }

    async fn dispatch(&self, call: &Call) -> Answer {
        use Scope::{Operate, Read};
        match call.method.as_str() {
            "get_auth_token" => self.get_auth_token(call).await,
            "get_address" => reply(&self.context.facts.pins.me.to_checksum(None)),
            "version" => {
                let this = Version::this();
                reply(&this.commit.unwrap_or(this.version))
            }
            "create_ledger_channel" => {
                let (context, asked) = self.payload(call, Operate).await?;
                create_ledger_channel(&context, asked).await
            }
            "close_ledger_channel" | "close_payment_channel" => {
                let (context, asked) = self.payload(call, Operate).await?;
                close(&context, asked).await
            }
            "create_payment_channel" => {
                let (context, asked) = self.payload(call, Operate).await?;
                create_payment_channel(&context, asked).await
            }
            "pay" => {
                let (context, asked) = self.payload(call, Operate).await?;
                pay(&context, asked).await
            }
            "create_voucher" => {
                let (context, asked) = self.payload(call, Operate).await?;
                create_voucher(&context, asked).await
            }
            "receive_voucher" => {
                let (context, asked) = self.payload(call, Read).await?;
                receive_voucher(&context, asked).await
            }
            "get_ledger_channel" => {
                let (context, asked) = self.payload(call, Read).await?;
                get_ledger_channel(&context, asked).await
            }
            "get_all_ledger_channels" => {
                let (context, Nothing {}) = self.payload(call, Read).await?;
                get_all_ledger_channels(&context).await
            }
            "get_payment_channel" => {
                let (context, asked) = self.payload(call, Read).await?;
                get_payment_channel(&context, asked).await
            }
            "get_payment_channels_by_ledger" => {
                let (context, asked) = self.payload(call, Read).await?;
                get_payment_channels_by_ledger(&context, asked).await
            }
            _ => Err(LegacyError::new(-32601, "Method not found")),
        }
    }

    /// The caller first, then what it wants: who may not ask learns nothing of the payload.
    async fn payload<P: DeserializeOwned>(
        &self,
        call: &Call,
        scope: Scope,
    ) -> Result<(Context, P), LegacyError> {
        let params = call.params()?;
        let caller = self.gate.legacy_caller(self.door, &params.authtoken).await;
        let stranger = || LegacyError::new(-32008, "Invalid auth token");
        let caller = caller.filter(|c| c.scope >= scope).ok_or_else(stranger)?;
        self.gate.admit(self.door, &caller, 1)?;
        Ok((self.context.clone().of(caller), params.payload()?))
    }

    async fn get_auth_token(&self, call: &Call) -> Answer {
        let params = call.params()?;
        let GetToken { id } = params.payload()?;
        let stranger = || LegacyError::new(-32008, "Invalid auth token");
        let by_header = self.gate.grant(self.door, self.header, id.clone()).await;
        match by_header {
            Some(token) => reply(&token),
            // An access token in place of the grant that is asked for.
            None => {
                let header = format!("Bearer {}", params.authtoken);
                let shown = Some(header.as_str()).filter(|_| !params.authtoken.is_empty());
                reply(&self.gate.grant(self.door, shown, id).await.ok_or_else(stranger)?)
            }
        }
    }
}

impl Context {
    /// The same for this caller.
    pub fn of(self, caller: Caller) -> Context {
        Context { caller, ..self }
    }
}

#[derive(serde::Deserialize)]
struct Nothing {}

#[derive(Serialize)]
struct Success {
    jsonrpc: &'static str,
    id: u64,
    result: Box<RawValue>,
}

#[derive(Serialize)]
struct Failure {
    jsonrpc: &'static str,
    id: u64,
    error: LegacyError,
}

fn reply(result: &impl Serialize) -> Answer {
    to_raw_value(result).map_err(|e| LegacyError::internal(e.to_string()))
}

/// `{Id, ChannelId}`.
fn opening(id: ObjectiveId) -> Answer {
    reply(&json!({ "Id": id.to_string(), "ChannelId": id.channel.to_string() }))
}

async fn command(context: &Context, command: Command) -> Result<ObjectiveId, LegacyError> {
    let answer = context.node.command(command).await.map_err(RpcError::from)?;
    match answer.map_err(RpcError::from)? {
        Accepted::Objective(id) => Ok(id),
        other => unreachable!("not a payment, and accepted as {other:?}"),
    }
}

async fn create_ledger_channel(context: &Context, asked: CreateLedger) -> Answer {
    let (me, peer) = (context.facts.pins.me, asked.counter_party.address()?);
    let (asset, deposits) = asked.outcome.between(me, peer)?;
    let terms = Terms {
        participants: [me, peer],
        nonce: nonce(me)?,
        challenge_duration: challenge_duration(context, asked.challenge_duration)?,
        asset,
        deposits,
    };
    opening(command(context, Command::Open(terms)).await?)
}

async fn create_payment_channel(context: &Context, asked: CreatePayment) -> Answer {
    let (me, payee) = (context.facts.pins.me, asked.counter_party.address()?);
    let (asset, [amount, payees]) = asked.outcome.between(me, payee)?;
    if !payees.is_zero() && context.facts.settings.payee_deposit == PayeeDeposit::Refuse {
        let what = format!(
            "the outcome gives the payee {} at the start, which the contract could not enforce: give it 0, \
             or have the operator set rpc.payee_deposit = \"ignore\"",
            payees.0
        );
        return Err(LegacyError::new(-32602, &what));
    }
    let between: Result<Vec<Address>, _> =
        asked.intermediaries.iter().map(|i| i.address()).collect();
    let terms = VirtualTerms {
        participants: std::iter::once(me).chain(between?).chain([payee]).collect(),
        nonce: nonce(me)?,
        challenge_duration: challenge_duration(context, asked.challenge_duration)?,
        asset,
        amount,
    };
    opening(command(context, Command::OpenVirtual { terms, ledger: None }).await?)
}

fn nonce(me: Address) -> Result<u64, LegacyError> {
    Ok(super::ours::nonce(me, None)?)
}

/// Clients always say 0, which nobody can mean.
fn challenge_duration(context: &Context, asked: Option<wire::Integer>) -> Result<u32, LegacyError> {
    match asked.map(|i| i.0) {
        None => Ok(context.facts.challenge_duration_s()),
        Some(n) if n.is_zero() => Ok(context.facts.challenge_duration_s()),
        Some(n) => u32::try_from(n).map_err(|_| LegacyError::params()),
    }
}

async fn close(context: &Context, asked: OneChannel) -> Answer {
    let channel = asked.channel_id.channel()?;
    reply(&command(context, Command::Close { channel }).await?.to_string())
}

async fn pay(context: &Context, asked: Pay) -> Answer {
    let (channel, amount) = (asked.channel.channel()?, asked.amount.amount()?);
    context.cashier.pay(Payment { channel, amount, after: None }, None).await?;
    reply(&wire::Paid { amount: asked.amount, channel: channel.to_string() })
}

async fn create_voucher(context: &Context, asked: Pay) -> Answer {
    let (channel, amount) = (asked.channel.channel()?, asked.amount.amount()?);
    let is_virtual =
        context.look(move |driver| driver.node().state().virtual_channel(channel).is_some());
    if !is_virtual.await? {
        return Err(LegacyError::refused(format!("there is no payment channel {channel}")));
    }
    let paid = context.cashier.pay(Payment { channel, amount, after: None }, None).await?;
    let voucher = paid.voucher.expect("a payment in a virtual channel gives a voucher");
    reply(&wire::Voucher::of(&voucher))
}

async fn receive_voucher(context: &Context, asked: ShownVoucher) -> Answer {
    let sig = payments::signature(&asked.signature).ok_or_else(LegacyError::params)?;
    let (channel, amount) = (asked.channel_id.channel()?, Amount(asked.amount.0));
    let credited = context.cashier.receive(Voucher { channel, amount, sig }).await?;
    let (total, delta) = (credited.total.0, credited.delta.0);
    if context.facts.settings.receive_voucher_numeric {
        let (total, delta) = (wire::Integer(total), wire::Integer(delta));
        let text = BTreeMap::from([("Delta", delta), ("Total", total)]);
        return reply(&text);
    }
    reply(&json!({ "Total": total.to_string(), "Delta": delta.to_string() }))
}

async fn get_ledger_channel(context: &Context, asked: Named) -> Answer {
    let id = asked.id.channel()?;
    let found = context.look(move |driver| {
        let channel = driver.node().state().channel(id);
        channel.map(|c| LedgerInfo::of(driver, c))
    });
    reply(&found.await?.ok_or_else(|| unknown("ledger", id))?)
}

async fn get_all_ledger_channels(context: &Context) -> Answer {
    let all = context.look(|driver| {
        let state = driver.node().state();
        if state.channel_map().len() > LIST_MAX {
            return None;
        }
        Some(state.channels().map(|c| LedgerInfo::of(driver, c)).collect::<Vec<_>>())
    });
    let too_many = || {
        let what = format!("more than {LIST_MAX} ledger channels; ask for them by fairway_ledgers");
        LegacyError::refused(what)
    };
    reply(&all.await?.ok_or_else(too_many)?)
}

async fn get_payment_channel(context: &Context, asked: Named) -> Answer {
    let id = asked.id.channel()?;
    let found =
        context.look(move |driver| driver.node().state().virtual_channel(id).map(PaymentInfo::of));
    reply(&found.await?.ok_or_else(|| unknown("payment", id))?)
}

async fn get_payment_channels_by_ledger(context: &Context, asked: OfLedger) -> Answer {
    let ledger = asked.ledger_id.channel()?;
    let all = context.look(move |driver| {
        let state = driver.node().state();
        let over = state.virtual_channels().filter(|v| v.ledgers().any(|l| l == ledger));
        over.take(LIST_MAX).map(PaymentInfo::of).collect::<Vec<_>>()
    });
    reply(&all.await?)
}

fn unknown(kind: &str, id: ChannelId) -> LegacyError {
    LegacyError::refused(format!("there is no {kind} channel {id}"))
}

/// This interface has no pages: beyond this many, ours has to be used.
const LIST_MAX: usize = 5_000;
