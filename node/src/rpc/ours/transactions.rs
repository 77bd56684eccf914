//! `fairway_transactions`, `fairway_transactionBump`: what is wanted on chain, and offering more for it.

use fairway_chain::BumpError;
use fairway_core::account::NotBumped;
use fairway_core::types::FeePerGas;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rpc::context::Context;
use crate::rpc::error::{Code, RpcError};
use crate::rpc::page::Page;
use crate::rpc::value::{Channel, TxName, Wei};
use crate::rpc::view::{Transaction, Waiting};

/// Which transactions.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransactionsAsked {
    /// Of this channel alone.
    pub channel: Option<Channel>,
    /// Also those that are not wanted any more.
    pub all: bool,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// Channels whose transactions are on the page: 1 to 500, 100 if not said.
    pub limit: Option<u32>,
}

/// A page of transactions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Transactions {
    /// By channel, in the order in which they were wanted.
    pub transactions: Vec<Transaction>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Which transaction is to offer more.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bump {
    /// Its nonce, or its hash.
    pub transaction: TxName,
    /// Most that it shall pay for a unit of gas, in wei: at least an eighth more than now, and within the configured bound. Without it,
    /// what the node itself would raise it to.
    #[serde(default)]
    pub fee: Option<Wei>,
}

/// `fairway_transactions`.
pub async fn transactions(
    context: Context,
    asked: TransactionsAsked,
) -> Result<Transactions, RpcError> {
    let page = Page::<Channel>::parse(asked.cursor.as_deref(), asked.limit)?;
    let waiting = context.node.chain().map(|chain| chain.wallet.now().waiting).unwrap_or_default();
    let (parts, next) = context
        .look(move |driver| {
            let state = driver.node().state();
            let ids = state.channels().map(|c| c.id).chain(state.virtual_channels().map(|v| v.id));
            let mut ids: Vec<Channel> = ids.map(Channel).collect();
            ids.sort_unstable();
            let behind = ids.into_iter().filter(|id| page.after.is_none_or(|after| *id > after));
            let of = behind.filter(|id| asked.channel.is_none_or(|channel| channel == *id));
            let wanted = of.filter_map(|id| {
                let mut transactions = Transaction::of(state, id.0);
                waiting.iter().for_each(|tx| Transaction::show(&mut transactions, tx));
                transactions.retain(|tx| asked.all || tx.pending || tx.waiting.is_some());
                (!transactions.is_empty()).then_some((id, transactions))
            });
            page.take(wanted)
        })
        .await?;
    Ok(Transactions { transactions: parts.into_iter().flatten().collect(), next })
}

/// `fairway_transactionBump`.
pub async fn bump(context: Context, asked: Bump) -> Result<Waiting, RpcError> {
    let too_much = |_| RpcError::params("fee: expected at most 2^64 - 1 wei for a unit of gas");
    let fee = asked.fee.map(|Wei(fee)| u64::try_from(fee.0).map(FeePerGas));
    let fee = fee.transpose().map_err(too_much)?;
    let Some(chain) = context.node.chain() else {
        let what = "a development chain mines whatever it is given: there is nothing to offer";
        return Err(
            RpcError::new(Code::Refused, what).with(json!({ "refusal": "development_chain" }))
        );
    };
    let bumped = chain.wallet.bump(asked.transaction.0, fee).await?;
    Ok(Waiting::new(bumped.nonce, bumped.fee, bumped.hash))
}

impl From<BumpError> for RpcError {
    fn from(error: BumpError) -> RpcError {
        let code = match error {
            BumpError::NotBumped(NotBumped::NothingWaits { .. })
            | BumpError::UnknownHash { .. }
            | BumpError::Mined { .. } => Code::NotFound,
            BumpError::NotBumped(
                NotBumped::Unwanted { .. }
                | NotBumped::TooLittle { .. }
                | NotBumped::AboveCap { .. }
                | NotBumped::AtCap { .. },
            )
            | BumpError::NoAccount
            | BumpError::Poor { .. } => Code::Refused,
            BumpError::Stopped => Code::Stopped,
        };
        RpcError::new(code, error.to_string()).with(json!({ "refusal": error.code() }))
    }
}
