//! The model's vocabulary in the contracts' bytes: calldata, logs, storage words, reasons of reverts.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, LogData, U256, keccak256};
use alloy_sol_types::{Panic, Revert as ErrorString, SolCall, SolError, SolEvent, SolValue};
use fairway_core::nitro::adjudicator::{Adjudicator, Revert};
use fairway_core::nitro::{Call, Claim, Log};
use fairway_core::types::ChannelId;

use super::abi;

/// The storage that the contract has when it is in the model's state: `statusOf` in slot 0, `holdings` in slot 1.
pub(super) fn storage_of(model: &Adjudicator) -> BTreeMap<U256, U256> {
    let number = |word: B256| U256::from_be_bytes(word.0);
    let statuses = model.statuses().iter().map(|(ChannelId(channel), status)| {
        (number(mapping(*channel, B256::ZERO)), number(status.word()))
    });
    let holdings = model.holdings().iter().map(|((asset, ChannelId(channel)), held)| {
        let of_asset = mapping(asset.into_word(), B256::with_last_byte(1));
        (number(mapping(*channel, of_asset)), held.0)
    });
    statuses.chain(holdings).collect()
}

/// Where Solidity keeps `mapping[key]`.
pub(super) fn mapping(key: B256, slot: B256) -> B256 {
    keccak256((key, slot).abi_encode())
}

/// The log as the contract encodes it. A challenge's proof is in the contract's log and not in the model's.
pub(super) fn log_of(log: &Log, call: &Call) -> LogData {
    let u48 = abi::uint48;
    match log {
        Log::Deposited { channel, asset, held } => {
            abi::Deposited { channelId: channel.0, asset: *asset, destinationHoldings: held.0 }
                .encode_log_data()
        }
        Log::AllocationUpdated { channel, asset_index, before, after } => abi::AllocationUpdated {
            channelId: channel.0,
            assetIndex: U256::from(*asset_index),
            initialHoldings: before.0,
            finalHoldings: after.0,
        }
        .encode_log_data(),
        Log::ChallengeRegistered { channel, finalizes_at, candidate } => abi::ChallengeRegistered {
            channelId: channel.0,
            finalizesAt: u48(finalizes_at.0),
            proof: proof_of(call).iter().map(abi::signed).collect(),
            candidate: abi::signed(candidate),
        }
        .encode_log_data(),
        Log::ChallengeCleared { channel, turn } => {
            abi::ChallengeCleared { channelId: channel.0, newTurnNumRecord: u48(turn.get()) }
                .encode_log_data()
        }
        Log::Checkpointed { channel, turn } => {
            abi::Checkpointed { channelId: channel.0, newTurnNumRecord: u48(turn.get()) }
                .encode_log_data()
        }
        Log::Concluded { channel, finalizes_at } => {
            abi::Concluded { channelId: channel.0, finalizesAt: u48(finalizes_at.0) }
                .encode_log_data()
        }
        Log::Reclaimed { channel, asset_index } => {
            abi::Reclaimed { channelId: channel.0, assetIndex: U256::from(*asset_index) }
                .encode_log_data()
        }
    }
}

fn proof_of(call: &Call) -> &[Claim] {
    match call {
        Call::Challenge { proof, .. } => proof,
        Call::Deposit { .. }
        | Call::Checkpoint { .. }
        | Call::Conclude { .. }
        | Call::ConcludeAndTransferAllAssets { .. }
        | Call::TransferAllAssets { .. }
        | Call::Transfer { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => &[],
    }
}

/// What the call sends along, in wei.
pub(super) fn value(call: &Call) -> U256 {
    match call {
        Call::Deposit { asset, amount, .. } if asset.is_zero() => amount.0,
        _ => U256::ZERO,
    }
}

/// The call as a transaction carries it.
pub(super) fn calldata(call: &Call) -> Vec<u8> {
    match call {
        Call::Deposit { asset, channel, expected_held, amount } => abi::depositCall {
            asset: *asset,
            channelId: channel.0,
            expectedHeld: expected_held.0,
            amount: amount.0,
        }
        .abi_encode(),
        Call::Challenge { proof, candidate, challenger_sig } => abi::challengeCall {
            fixedPart: abi::fixed(&candidate.state.fixed),
            proof: proof.iter().map(abi::signed).collect(),
            candidate: abi::signed(candidate),
            challengerSig: abi::sig(challenger_sig),
        }
        .abi_encode(),
        Call::Checkpoint { proof, candidate } => abi::checkpointCall {
            fixedPart: abi::fixed(&candidate.state.fixed),
            proof: proof.iter().map(abi::signed).collect(),
            candidate: abi::signed(candidate),
        }
        .abi_encode(),
        Call::Conclude { candidate } => {
            let (fixed, signed) = (abi::fixed(&candidate.state.fixed), abi::signed(candidate));
            abi::concludeCall { fixedPart: fixed, candidate: signed }.abi_encode()
        }
        Call::ConcludeAndTransferAllAssets { candidate } => {
            let (fixed, signed) = (abi::fixed(&candidate.state.fixed), abi::signed(candidate));
            abi::concludeAndTransferAllAssetsCall { fixedPart: fixed, candidate: signed }
                .abi_encode()
        }
        Call::TransferAllAssets { channel, outcome, state_hash } => abi::transferAllAssetsCall {
            channelId: channel.0,
            outcome: abi::exits(outcome),
            stateHash: *state_hash,
        }
        .abi_encode(),
        Call::Transfer { asset_index, channel, outcome, state_hash, indices } => {
            abi::transferCall {
                assetIndex: U256::from(*asset_index),
                fromChannelId: channel.0,
                outcomeBytes: abi::exits(outcome).abi_encode().into(),
                stateHash: *state_hash,
                indices: indices.iter().copied().map(U256::from).collect(),
            }
            .abi_encode()
        }
        Call::Reclaim(args) => abi::reclaimCall { args: abi::reclaim(args) }.abi_encode(),
        Call::Approve { .. } => {
            unreachable!("it is no call of this contract, and no node wishes it")
        }
    }
}

/// The revert in the model's words.
pub(super) fn reason(output: &[u8]) -> String {
    if output.is_empty() {
        return Revert::Empty.to_string();
    }
    if let Ok(error) = ErrorString::abi_decode(output) {
        return error.reason;
    }
    match Panic::abi_decode(output) {
        Ok(panic) => match u8::try_from(panic.code) {
            Ok(code) => Revert::Panic(code).to_string(),
            Err(_) => format!("panic {}", panic.code),
        },
        Err(_) => format!("undecodable revert {}", Bytes::copy_from_slice(output)),
    }
}
