//! The contracts' side: deployed once, called with encoded calldata, read slot by slot.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, LogData, TxKind, U256, keccak256};
use alloy_sol_types::{Panic, Revert as ErrorString, SolCall, SolError, SolEvent, SolValue};
use fairway_core::nitro::adjudicator::{Adjudicator, Revert};
use fairway_core::nitro::{Call, Claim, Log};
use fairway_core::types::{ChainTime, ChannelId};
use revm::context::result::{ExecutionResult, Output};
use revm::context::{BlockEnv, Context, ContextTr, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::{AccountInfo, Bytecode};
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm};

use crate::{abi, package};

type Db = CacheDB<EmptyDB>;
type Evm = MainnetEvm<revm::handler::MainnetContext<Db>>;

/// Where everything lies after deployment.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub adjudicator: Address,
    pub consensus_app: Address,
    pub payment_app: Address,
    pub token: Address,
}

/// Who deploys, deposits and pays; owns [`SUPPLY`] of both assets.
pub const FUNDER: Address = Address::repeat_byte(0xf0);
/// A contract that takes no native tokens.
pub const REFUSER: Address = Address::repeat_byte(0x4e);
/// What the funder owns at first.
pub const SUPPLY: u64 = 1 << 40;

/// A chain in this process.
pub struct Contracts {
    evm: Evm,
    addresses: Addresses,
}

/// What a call did: its logs, or why it did nothing, in the words of [`Revert`]'s display.
pub type Result = std::result::Result<Vec<LogData>, String>;

/// A chain on which the contracts are deployed and the adjudicator may take the funder's tokens.
pub fn deploy() -> (Db, Addresses) {
    let code = package::bytecode();
    let mut db = Db::default();
    let funder = AccountInfo { balance: U256::from(SUPPLY), ..AccountInfo::default() };
    db.insert_account_info(FUNDER, funder);
    // PUSH1 0 PUSH1 0 REVERT.
    let refuser = Bytecode::new_legacy(Bytes::from_static(&[0x60, 0, 0x60, 0, 0xfd]));
    db.insert_account_info(REFUSER, AccountInfo::default().with_code(refuser));
    let mut evm = evm(db);
    let name = || String::from("Token");
    let supply = (name(), name(), U256::from(SUPPLY), FUNDER).abi_encode_params();
    let token: Bytes = [code.token.as_ref(), &supply].concat().into();
    let mut create = |data: Bytes| match transact(&mut evm, TxKind::Create, U256::ZERO, data) {
        ExecutionResult::Success { output: Output::Create(_, Some(at)), .. } => at,
        other => panic!("a contract cannot be deployed: {other:?}"),
    };
    let addresses = Addresses {
        adjudicator: create(code.adjudicator),
        consensus_app: create(code.consensus_app),
        payment_app: create(code.payment_app),
        token: create(token),
    };
    let approve = abi::approveCall { spender: addresses.adjudicator, amount: U256::MAX };
    let data = approve.abi_encode().into();
    let approved = transact(&mut evm, TxKind::Call(addresses.token), U256::ZERO, data);
    assert!(approved.is_success(), "{approved:?}");
    (evm.ctx.db().clone(), addresses)
}

fn evm(db: Db) -> Evm {
    let context = Context::mainnet().with_db(db).modify_cfg_chained(|cfg| {
        cfg.set_spec_and_mainnet_gas_params(SpecId::SHANGHAI);
        cfg.disable_nonce_check = true;
    });
    context.build_mainnet()
}

fn transact(evm: &mut Evm, kind: TxKind, value: U256, data: Bytes) -> ExecutionResult {
    let tx = transaction(evm, kind, value, data);
    evm.transact_commit(tx).expect("a transaction that is valid in itself")
}

fn transaction(evm: &Evm, kind: TxKind, value: U256, data: Bytes) -> TxEnv {
    let nonce = evm.ctx.db().cache.accounts.get(&FUNDER).map_or(0, |a| a.info.nonce);
    TxEnv { caller: FUNDER, kind, value, data, nonce, gas_limit: GAS, ..TxEnv::default() }
}

impl Contracts {
    /// A chain that continues where [`deploy`] ended.
    pub fn new(db: Db, addresses: Addresses) -> Contracts {
        Contracts { evm: evm(db), addresses }
    }

    /// One transaction of the funder in a block of its own.
    pub fn call(&mut self, now: ChainTime, call: &Call) -> Result {
        let block = BlockEnv { timestamp: U256::from(now.0), ..BlockEnv::default() };
        self.evm.set_block(block);
        let to = TxKind::Call(self.addresses.adjudicator);
        match transact(&mut self.evm, to, value(call), calldata(call).into()) {
            ExecutionResult::Success { logs, .. } => {
                let own = logs.into_iter().filter(|l| l.address == self.addresses.adjudicator);
                Ok(own.map(|l| l.data).collect())
            }
            ExecutionResult::Revert { output, .. } => Err(reason(&output)),
            ExecutionResult::Halt { reason, .. } => Err(format!("halted: {reason:?}")),
        }
    }

    /// `stateIsSupported`, as a view: nothing is kept of the call.
    pub fn is_supported(
        &mut self,
        proof: &[Claim],
        candidate: &Claim,
    ) -> std::result::Result<(), String> {
        let call = abi::stateIsSupportedCall {
            fixedPart: abi::fixed(&candidate.state.fixed),
            proof: proof.iter().map(abi::signed).collect(),
            candidate: abi::signed(candidate),
        };
        let to = TxKind::Call(self.addresses.adjudicator);
        let tx = transaction(&self.evm, to, U256::ZERO, call.abi_encode().into());
        match self.evm.transact(tx).expect("a transaction that is valid in itself").result {
            ExecutionResult::Success { output, .. } => {
                let answer = abi::stateIsSupportedCall::abi_decode_returns(&output.into_data());
                let answer = answer.expect("the view returns what it declares");
                if answer._0 { Ok(()) } else { Err(answer._1) }
            }
            ExecutionResult::Revert { output, .. } => Err(reason(&output)),
            ExecutionResult::Halt { reason, .. } => Err(format!("halted: {reason:?}")),
        }
    }

    /// Every word of the adjudicator's storage that is not zero.
    pub fn storage(&self) -> BTreeMap<U256, U256> {
        let account = &self.evm.ctx.db().cache.accounts[&self.addresses.adjudicator];
        let words = account.storage.iter().filter(|(_, word)| !word.is_zero());
        words.map(|(slot, word)| (*slot, *word)).collect()
    }

    /// What `who` owns of `asset`.
    pub fn balance(&self, asset: Address, who: Address) -> U256 {
        let accounts = &self.evm.ctx.db().cache.accounts;
        if asset.is_zero() {
            return accounts.get(&who).map_or(U256::ZERO, |a| a.info.balance);
        }
        let slot = mapping(who.into_word(), B256::ZERO);
        accounts[&asset].storage.get(&U256::from_be_bytes(slot.0)).copied().unwrap_or_default()
    }
}

/// The storage that the contract has when it is in the model's state: `statusOf` in slot 0, `holdings` in slot 1.
pub fn storage_of(model: &Adjudicator) -> BTreeMap<U256, U256> {
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
fn mapping(key: B256, slot: B256) -> B256 {
    keccak256((key, slot).abi_encode())
}

/// The log as the contract encodes it. A challenge's proof is in the contract's log and not in the model's.
pub fn log_of(log: &Log, call: &Call) -> LogData {
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
        _ => &[],
    }
}

fn value(call: &Call) -> U256 {
    match call {
        Call::Deposit { asset, amount, .. } if asset.is_zero() => amount.0,
        _ => U256::ZERO,
    }
}

fn calldata(call: &Call) -> Vec<u8> {
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
    }
}

/// The revert in the model's words.
fn reason(output: &[u8]) -> String {
    if output.is_empty() {
        return Revert::Empty.to_string();
    }
    if let Ok(error) = ErrorString::abi_decode(output) {
        return error.reason;
    }
    match Panic::abi_decode(output) {
        Ok(panic) => Revert::Panic(panic.code.to::<u8>()).to_string(),
        Err(_) => format!("undecodable revert {}", Bytes::copy_from_slice(output)),
    }
}

/// More than any call needs.
const GAS: u64 = 16_000_000;
