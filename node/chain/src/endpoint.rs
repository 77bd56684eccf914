//! One endpoint: what it says about blocks, logs, transactions and an account, checked as far as one endpoint's word can be.
//!
//! Checked here: a header hashes to its name, headers connect, logs belong to the blocks that were asked for and stand in their blooms.
//! Not here: whether another endpoint says the same.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_consensus::proofs::calculate_receipt_root;
use alloy_consensus::{ReceiptEnvelope, Transaction as _};
use alloy_primitives::{BloomInput, Bytes, U64, U256, keccak256};
use alloy_rpc_types_eth::{Filter, Header, Transaction, TransactionReceipt};
use fairway_core::account::TxHash;
use fairway_core::chain_types::{B256, BlockRef};
use fairway_core::types::{Address, Amount, BlockNum, ChainTime};
use serde_json::{Value, json};

use crate::abi;
use crate::health::Counters;
use crate::rpc::{Rpc, RpcFailure};
use crate::settings::{Finality, Settings};

/// One endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Scheme, host and port.
    pub(crate) name: String,
    rpc: Rpc,
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    /// Blocks that one request for logs may span, as learnt.
    span: Arc<AtomicU64>,
}

/// A header that hashes to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) block: BlockRef,
    pub(crate) header: Box<Header>,
}

/// A log as it was shown, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawLog {
    pub(crate) index: u32,
    pub(crate) tx: B256,
    pub(crate) data: alloy_primitives::LogData,
}

/// Consecutive blocks as one endpoint shows them: the adjudicator's logs by block hash, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) heads: Vec<Head>,
    pub(crate) logs: BTreeMap<B256, Vec<RawLog>>,
}

/// What an endpoint says about an account at its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountView {
    pub(crate) number: BlockNum,
    pub(crate) time: ChainTime,
    pub(crate) base_fee: u64,
    pub(crate) nonce: u64,
    pub(crate) balance: Amount,
}

/// Why an endpoint was of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No answer.
    #[error(transparent)]
    Rpc(#[from] RpcFailure),
    /// It is of another chain.
    #[error("is of chain {found}, expected {expected}")]
    WrongChain {
        /// As configured.
        expected: u64,
        /// As it says.
        found: u64,
    },
    /// Nothing is deployed there.
    #[error("has no code at {what} {at}")]
    NoCode {
        /// Which contract.
        what: &'static str,
        /// Its address.
        at: Address,
    },
    /// Something else is deployed there.
    #[error("has code with hash {found} at the adjudicator {at}, expected {expected}")]
    OtherCode {
        /// The address.
        at: Address,
        /// As configured.
        expected: B256,
        /// As it is.
        found: B256,
    },
    /// What it said contradicts itself. A reorganization between two answers does that; asked again, it should not.
    #[error("contradicts itself: {0}")]
    Contradiction(String),
}

impl EndpointError {
    /// Whether asking again cannot help: somebody has to change the configuration.
    pub fn is_misconfiguration(&self) -> bool {
        match self {
            EndpointError::WrongChain { .. }
            | EndpointError::NoCode { .. }
            | EndpointError::OtherCode { .. } => true,
            EndpointError::Rpc(_) | EndpointError::Contradiction(_) => false,
        }
    }
}

impl Endpoint {
    pub(crate) fn all(settings: &Arc<Settings>, counters: &Arc<Counters>) -> Vec<Endpoint> {
        let endpoint = |url: &crate::settings::Url| Endpoint {
            name: url.to_string(),
            rpc: Rpc::new(url, &settings.limits),
            settings: settings.clone(),
            counters: counters.clone(),
            span: Arc::new(AtomicU64::new(LOG_SPAN_MAX)),
        };
        settings.endpoints.iter().map(endpoint).collect()
    }

    /// Whether it is of our chain, with our contracts.
    pub(crate) async fn check(&self) -> Result<(), EndpointError> {
        let set = &self.settings;
        let found: U64 = self.rpc.ask("eth_chainId", ()).await?;
        let (expected, found) = (set.chain_id, found.to::<u64>());
        if found != expected {
            return Err(EndpointError::WrongChain { expected, found });
        }
        let apps = [("the consensus app", set.consensus_app), ("the payment app", set.payment_app)];
        let wanted = [("the adjudicator", set.adjudicator)].into_iter().chain(apps);
        for (what, at) in wanted.filter(|(_, at)| !at.is_zero()) {
            let code: Bytes = self.rpc.ask("eth_getCode", (at, "latest")).await?;
            if code.is_empty() {
                return Err(EndpointError::NoCode { what, at });
            }
            let found = keccak256(&code);
            match set.code_hash {
                Some(expected) if at == set.adjudicator && found != expected => {
                    return Err(EndpointError::OtherCode { at, expected, found });
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// The newest block that may be shown to the node.
    pub(crate) async fn head(&self) -> Result<Head, EndpointError> {
        let tag = match self.settings.finality {
            Finality::Confirmations => "latest",
            Finality::Safe => "safe",
            Finality::Finalized => "finalized",
        };
        let header: Header = self.rpc.ask("eth_getBlockByNumber", (tag, false)).await?;
        self.checked(header)
    }

    /// Consecutive blocks and the adjudicator's logs in them; fewer at the head.
    pub(crate) async fn show(&self, range: RangeInclusive<u64>) -> Result<Shown, EndpointError> {
        let params: Vec<(U64, bool)> = range.clone().map(|n| (U64::from(n), false)).collect();
        let (headers, logs) = tokio::join!(
            self.rpc.ask_all::<_, Option<Header>>("eth_getBlockByNumber", &params),
            self.logs(range.clone()),
        );
        let mut heads: Vec<Head> = Vec::new();
        for header in headers?.into_iter().map_while(|header| header) {
            let head = self.checked(header)?;
            let expected = range.start() + heads.len() as u64;
            let follows = heads.last().is_none_or(|below| head.block.extends(&below.block));
            if head.block.number.0 != expected || !follows {
                return Err(self.contradiction(format!("block {expected} does not connect")));
            }
            heads.push(head);
        }
        let logs = self.sort(&heads, logs?)?;
        Ok(Shown { heads, logs })
    }

    fn checked(&self, header: Header) -> Result<Head, EndpointError> {
        if self.settings.check_headers && header.inner.hash_slow() != header.hash {
            let number = header.inner.number;
            return Err(
                self.contradiction(format!("the header of block {number} has another hash"))
            );
        }
        let block = BlockRef {
            number: BlockNum(header.inner.number),
            hash: header.hash,
            parent: header.inner.parent_hash,
            time: ChainTime(header.inner.timestamp),
        };
        Ok(Head { block, header: Box::new(header) })
    }

    /// The adjudicator's logs in a range, in as many requests as the endpoint wants.
    async fn logs(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<alloy_rpc_types_eth::Log>, EndpointError> {
        let filter =
            Filter::new().address(self.settings.adjudicator).event_signature(abi::topics());
        let (mut from, end) = (*range.start(), *range.end());
        let mut logs = Vec::new();
        while from <= end {
            let span = self.span.load(Ordering::Relaxed).max(1);
            let to = end.min(from.saturating_add(span - 1));
            let part = filter.clone().from_block(from).to_block(to);
            match self.rpc.ask::<_, Vec<_>>("eth_getLogs", (part,)).await {
                Ok(found) => {
                    logs.extend(found);
                    from = to + 1;
                    self.span.store(
                        span.saturating_add(span / 8 + 1).min(LOG_SPAN_MAX),
                        Ordering::Relaxed,
                    );
                }
                Err(failure) if failure.asks_for_less() && to > from => {
                    self.counters.range_splits.one();
                    self.span.store((to - from).div_ceil(2), Ordering::Relaxed);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(logs)
    }

    /// By block; refuses a log that no block here can have.
    fn sort(
        &self,
        heads: &[Head],
        logs: Vec<alloy_rpc_types_eth::Log>,
    ) -> Result<BTreeMap<B256, Vec<RawLog>>, EndpointError> {
        let by_hash: BTreeMap<B256, &Head> = heads.iter().map(|h| (h.block.hash, h)).collect();
        let top = heads.last().map_or(0, |h| h.block.number.0);
        let mut sorted: BTreeMap<B256, Vec<RawLog>> = BTreeMap::new();
        for log in logs {
            let (Some(hash), Some(number), Some(tx), Some(index)) =
                (log.block_hash, log.block_number, log.transaction_hash, log.log_index)
            else {
                return Err(self.contradiction("a log of no block".into()));
            };
            if number > top {
                // Mined between the two answers; it comes with its block.
                continue;
            }
            let Some(head) = by_hash.get(&hash).filter(|h| h.block.number.0 == number) else {
                return Err(self.contradiction(format!("a log of another block {number}")));
            };
            let bloom = &head.header.inner.logs_bloom;
            let is_there = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
            let promised = is_there(log.inner.address.as_slice())
                && log.inner.data.topics().iter().all(|t| is_there(t.as_slice()));
            if log.removed || log.inner.address != self.settings.adjudicator || !promised {
                return Err(self.contradiction(format!("a log that block {number} does not have")));
            }
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            sorted.entry(hash).or_default().push(RawLog { index, tx, data: log.inner.data });
        }
        for logs in sorted.values_mut() {
            logs.sort_by_key(|log| log.index);
            logs.dedup_by_key(|log| log.index);
        }
        Ok(sorted)
    }

    /// The adjudicator's logs of one block, proven by the root of its receipts, which its hash covers.
    pub(crate) async fn prove(&self, head: &Head) -> Result<Vec<RawLog>, EndpointError> {
        let hash = head.block.hash;
        let receipts: Vec<TransactionReceipt> =
            self.rpc.ask("eth_getBlockReceipts", (hash,)).await?;
        let plain = receipts.iter().cloned().map(|r| r.into_primitives_receipt().inner);
        let plain: Vec<ReceiptEnvelope<alloy_primitives::Log>> = plain.collect();
        if calculate_receipt_root(&plain) != head.header.inner.receipts_root {
            return Err(
                self.contradiction(format!("the receipts of block {}", head.block.number.0))
            );
        }
        let wanted = abi::topics();
        let mut logs = Vec::new();
        let mut index = 0u32;
        for (receipt, shown) in plain.iter().zip(&receipts) {
            for log in receipt.logs() {
                let ours = log.address == self.settings.adjudicator;
                if ours && log.data.topics().first().is_some_and(|t| wanted.contains(t)) {
                    logs.push(RawLog { index, tx: shown.transaction_hash, data: log.data.clone() });
                }
                index = index.saturating_add(1);
            }
        }
        Ok(logs)
    }

    /// The calldata of the adjudicator's calls in a transaction: its own, or those that another contract made, where the endpoint traces.
    pub(crate) async fn calldata(&self, tx: B256) -> Result<Vec<Bytes>, EndpointError> {
        let found: Option<Transaction> = self.rpc.ask("eth_getTransactionByHash", (tx,)).await?;
        let Some(found) = found else {
            return Err(self.contradiction(format!("it does not have transaction {tx}")));
        };
        if found.to() == Some(self.settings.adjudicator) {
            return Ok(vec![found.input().clone()]);
        }
        let trace: Value =
            self.rpc.ask("debug_traceTransaction", (tx, json!({ "tracer": "callTracer" }))).await?;
        let mut calls = Vec::new();
        inner_calls(&trace, self.settings.adjudicator, &mut calls, 0);
        Ok(calls)
    }

    pub(crate) async fn account(&self, who: Address) -> Result<AccountView, EndpointError> {
        let (header, nonce, balance) = tokio::join!(
            self.rpc.ask::<_, Header>("eth_getBlockByNumber", ("latest", false)),
            self.rpc.ask::<_, U64>("eth_getTransactionCount", (who, "latest")),
            self.rpc.ask::<_, U256>("eth_getBalance", (who, "latest")),
        );
        let inner = header?.inner;
        Ok(AccountView {
            number: BlockNum(inner.number),
            time: ChainTime(inner.timestamp),
            base_fee: inner.base_fee_per_gas.unwrap_or(0),
            nonce: nonce?.to(),
            balance: Amount(balance?),
        })
    }

    /// How much of a token the adjudicator may take from `owner`.
    pub(crate) async fn allowance(
        &self,
        asset: Address,
        owner: Address,
    ) -> Result<U256, RpcFailure> {
        let data = abi::allowance(owner, self.settings.adjudicator);
        let call = json!({ "to": asset, "data": data });
        let word: Bytes = self.rpc.ask("eth_call", (call, "latest")).await?;
        // What is no token answers nothing: then nothing may be taken, and the deposit says why.
        Ok(U256::try_from_be_slice(&word).unwrap_or_default())
    }

    /// Which of these transactions it has, mined or waiting; `None` where it does not say.
    pub(crate) async fn has(&self, txs: &[TxHash]) -> Vec<Option<bool>> {
        let params: Vec<(B256,)> = txs.iter().map(|tx| (tx.0,)).collect();
        let found = self.rpc.ask_each("eth_getTransactionByHash", &params).await;
        found.into_iter().map(|f| f.ok().map(|tx: Option<Value>| tx.is_some())).collect()
    }

    pub(crate) async fn broadcast(&self, raw: &[Bytes]) -> Vec<Result<B256, RpcFailure>> {
        let params: Vec<(Bytes,)> = raw.iter().map(|raw| (raw.clone(),)).collect();
        self.rpc.ask_each("eth_sendRawTransaction", &params).await
    }

    /// Of each transaction that it says is mined: its block and whether it succeeded.
    pub(crate) async fn receipts(&self, txs: &[TxHash]) -> Vec<Option<(u64, bool)>> {
        let params: Vec<(B256,)> = txs.iter().map(|tx| (tx.0,)).collect();
        let found = self.rpc.ask_each("eth_getTransactionReceipt", &params).await;
        let read = |f: Result<Option<TransactionReceipt>, RpcFailure>| {
            f.ok().flatten().and_then(|r| Some((r.block_number?, r.status())))
        };
        found.into_iter().map(read).collect()
    }

    /// Why a mined transaction reverted: from its trace, or from the same call after its block.
    pub(crate) async fn revert_reason(
        &self,
        tx: TxHash,
        block: u64,
    ) -> Result<String, EndpointError> {
        let options = json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } });
        let traced = self.rpc.ask::<_, Value>("debug_traceTransaction", (tx.0, options)).await;
        if let Some(output) = traced.ok().and_then(|trace| bytes_of(trace.get("output")?)) {
            return Ok(abi::reason(&output));
        }
        let sent: Transaction = self.rpc.ask("eth_getTransactionByHash", (tx.0,)).await?;
        let call = json!({
            "from": sent.inner.signer(), "to": sent.to(), "data": sent.input(), "value": sent.value(),
        });
        match self.rpc.ask::<_, Bytes>("eth_call", (call, U64::from(block))).await {
            Ok(_) => Ok("reverted for a reason that is gone".into()),
            Err(RpcFailure::Refused { message, .. }) => {
                let known = message
                    .split_once("reverted: ")
                    .or(message.split_once("reverted with reason string "));
                Ok(known.map_or(message.as_str(), |(_, why)| why).trim_matches(['\'', '"']).into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn contradiction(&self, what: String) -> EndpointError {
        self.counters.inconsistencies.one();
        EndpointError::Contradiction(what)
    }
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    alloy_primitives::hex::decode(value.as_str()?).ok()
}

/// Calls of `to` in a trace that were not undone, in order.
fn inner_calls(frame: &Value, to: Address, calls: &mut Vec<Bytes>, depth: usize) {
    if frame.get("error").is_some() || depth > DEPTH_MAX {
        return;
    }
    let is_call = frame.get("type").and_then(Value::as_str) == Some("CALL");
    let callee = frame.get("to").and_then(bytes_of).filter(|at| at == to.as_slice());
    if let (true, Some(_), Some(input)) = (is_call, callee, frame.get("input").and_then(bytes_of)) {
        calls.push(input.into());
    }
    for inner in frame.get("calls").and_then(Value::as_array).into_iter().flatten() {
        inner_calls(inner, to, calls, depth + 1);
    }
}

/// Blocks in one request for logs, before an endpoint has shown that it wants fewer. The node asks for fewer itself.
const LOG_SPAN_MAX: u64 = 1_000;
/// Calls within calls that are followed; the chain allows a thousand, of which no honest one needs more than a few.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_other_contracts_are_found_in_traces_unless_they_were_undone() {
        let ours = Address::repeat_byte(0xad);
        let call = |to: Address, input: &str| json!({ "type": "CALL", "to": to, "input": input });
        let trace = json!({
            "type": "CALL", "to": Address::repeat_byte(1), "input": "0x", "calls": [
                call(ours, "0x0102"),
                { "type": "CALL", "to": Address::repeat_byte(2), "input": "0x", "error": "execution reverted",
                  "calls": [call(ours, "0x03")] },
                { "type": "DELEGATECALL", "to": ours, "input": "0x04" },
                { "type": "CALL", "to": Address::repeat_byte(3), "input": "0x", "calls": [call(ours, "0x05")] },
            ],
        });
        let mut calls = Vec::new();
        inner_calls(&trace, ours, &mut calls, 0);
        assert_eq!(calls, [Bytes::from_static(&[1, 2]), Bytes::from_static(&[5])]);
    }
}
