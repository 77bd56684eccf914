//! The contracts' own bytes: calls as calldata, and calldata and logs as core's vocabulary.
//!
//! What does not decode is `None` and concerns nobody: the contract would not have taken it, or it is not one of ours.
//!
//! Source: `INitroTypes.sol`, `ExitFormat.sol`, `IForceMove.sol`, `IMultiAssetHolder.sol`, `NitroAdjudicator.sol`.

use alloy_primitives::aliases::U48;
use alloy_primitives::{B256, Bytes, LogData, U256};
use alloy_sol_types::{Panic, Revert as ErrorString, SolCall, SolError, SolEvent, sol};
use fairway_core::nitro::abi::{decode_outcome, encode_outcome};
use fairway_core::nitro::adjudicator::{ReclaimArgs, Revert};
use fairway_core::nitro::{
    Allocation, Call, Claim, FixedPart, Log, Outcome, Signature, SingleAssetExit, State,
};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, Destination, TurnNum};

sol! {
    struct AssetMetadata { uint8 assetType; bytes metadata; }
    struct Entry { bytes32 destination; uint256 amount; uint8 allocationType; bytes metadata; }
    struct Exit { address asset; AssetMetadata assetMetadata; Entry[] allocations; }
    struct Fixed { address[] participants; uint64 channelNonce; address appDefinition; uint48 challengeDuration; }
    struct Variable { Exit[] outcome; bytes appData; uint48 turnNum; bool isFinal; }
    struct Sig { uint8 v; bytes32 r; bytes32 s; }
    struct Signed { Variable variablePart; Sig[] sigs; }
    struct Reclaim {
        bytes32 sourceChannelId; bytes32 sourceStateHash; bytes sourceOutcomeBytes; uint256 sourceAssetIndex;
        uint256 indexOfTargetInSource; bytes32 targetStateHash; bytes targetOutcomeBytes; uint256 targetAssetIndex;
    }

    function deposit(address asset, bytes32 channelId, uint256 expectedHeld, uint256 amount) external payable;
    function challenge(Fixed fixedPart, Signed[] proof, Signed candidate, Sig challengerSig) external;
    function checkpoint(Fixed fixedPart, Signed[] proof, Signed candidate) external;
    function conclude(Fixed fixedPart, Signed candidate) external;
    function concludeAndTransferAllAssets(Fixed fixedPart, Signed candidate) external;
    function transferAllAssets(bytes32 channelId, Exit[] outcome, bytes32 stateHash) external;
    function transfer(uint256 assetIndex, bytes32 fromChannelId, bytes outcomeBytes, bytes32 stateHash, uint256[] indices) external;
    function reclaim(Reclaim args) external;

    // ERC-20.
    function approve(address spender, uint256 amount) external returns (bool);
    function allowance(address owner, address spender) external view returns (uint256);

    event Deposited(bytes32 indexed channelId, address asset, uint256 destinationHoldings);
    event AllocationUpdated(bytes32 indexed channelId, uint256 assetIndex, uint256 initialHoldings, uint256 finalHoldings);
    event Reclaimed(bytes32 indexed channelId, uint256 assetIndex);
    event ChallengeRegistered(bytes32 indexed channelId, uint48 finalizesAt, Signed[] proof, Signed candidate);
    event ChallengeCleared(bytes32 indexed channelId, uint48 newTurnNumRecord);
    event Checkpointed(bytes32 indexed channelId, uint48 newTurnNumRecord);
    event Concluded(bytes32 indexed channelId, uint48 finalizesAt);
}

/// The first topics of every event that a node reads.
pub(crate) fn topics() -> Vec<B256> {
    vec![
        Deposited::SIGNATURE_HASH,
        AllocationUpdated::SIGNATURE_HASH,
        Reclaimed::SIGNATURE_HASH,
        ChallengeRegistered::SIGNATURE_HASH,
        ChallengeCleared::SIGNATURE_HASH,
        Checkpointed::SIGNATURE_HASH,
        Concluded::SIGNATURE_HASH,
    ]
}

/// Whether this is the log of a challenge, and of which channel: it names the channel, not who takes part.
pub(crate) fn challenged_channel(log: &LogData) -> Option<ChannelId> {
    let topics = log.topics();
    (topics.first() == Some(&ChallengeRegistered::SIGNATURE_HASH))
        .then(|| topics.get(1).map(|channel| ChannelId(*channel)))
        .flatten()
}

/// A log of the adjudicator. A challenge's needs the channel's `fixed` part, which stands in the calldata alone.
pub(crate) fn decode_log(log: &LogData, fixed: Option<&FixedPart>) -> Option<Log> {
    let topic = *log.topics().first()?;
    Some(match topic {
        Deposited::SIGNATURE_HASH => {
            let e = Deposited::decode_log_data(log).ok()?;
            let (channel, held) = (ChannelId(e.channelId), Amount(e.destinationHoldings));
            Log::Deposited { channel, asset: e.asset, held }
        }
        AllocationUpdated::SIGNATURE_HASH => {
            let e = AllocationUpdated::decode_log_data(log).ok()?;
            Log::AllocationUpdated {
                channel: ChannelId(e.channelId),
                asset_index: u64::try_from(e.assetIndex).ok()?,
                before: Amount(e.initialHoldings),
                after: Amount(e.finalHoldings),
            }
        }
        Reclaimed::SIGNATURE_HASH => {
            let e = Reclaimed::decode_log_data(log).ok()?;
            let asset_index = u64::try_from(e.assetIndex).ok()?;
            Log::Reclaimed { channel: ChannelId(e.channelId), asset_index }
        }
        ChallengeRegistered::SIGNATURE_HASH => {
            let e = ChallengeRegistered::decode_log_data(log).ok()?;
            let fixed = fixed.filter(|f| f.channel_id().0 == e.channelId)?;
            Log::ChallengeRegistered {
                channel: ChannelId(e.channelId),
                finalizes_at: time(e.finalizesAt),
                candidate: claim_from(fixed, e.candidate)?,
            }
        }
        ChallengeCleared::SIGNATURE_HASH => {
            let e = ChallengeCleared::decode_log_data(log).ok()?;
            Log::ChallengeCleared {
                channel: ChannelId(e.channelId),
                turn: turn(e.newTurnNumRecord)?,
            }
        }
        Checkpointed::SIGNATURE_HASH => {
            let e = Checkpointed::decode_log_data(log).ok()?;
            Log::Checkpointed { channel: ChannelId(e.channelId), turn: turn(e.newTurnNumRecord)? }
        }
        Concluded::SIGNATURE_HASH => {
            let e = Concluded::decode_log_data(log).ok()?;
            Log::Concluded { channel: ChannelId(e.channelId), finalizes_at: time(e.finalizesAt) }
        }
        _ => return None,
    })
}

/// What the call sends along, in wei.
pub(crate) fn value(call: &Call) -> U256 {
    match call {
        Call::Deposit { asset, amount, .. } if asset.is_zero() => amount.0,
        Call::Deposit { .. }
        | Call::Challenge { .. }
        | Call::Checkpoint { .. }
        | Call::Conclude { .. }
        | Call::ConcludeAndTransferAllAssets { .. }
        | Call::TransferAllAssets { .. }
        | Call::Transfer { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => U256::ZERO,
    }
}

/// The call as a transaction carries it.
pub fn calldata(call: &Call) -> Bytes {
    let encoded = match call {
        Call::Deposit { asset, channel, expected_held, amount } => depositCall {
            asset: *asset,
            channelId: channel.0,
            expectedHeld: expected_held.0,
            amount: amount.0,
        }
        .abi_encode(),
        Call::Challenge { proof, candidate, challenger_sig } => challengeCall {
            fixedPart: fixed(&candidate.state.fixed),
            proof: proof.iter().map(signed).collect(),
            candidate: signed(candidate),
            challengerSig: sig(challenger_sig),
        }
        .abi_encode(),
        Call::Checkpoint { proof, candidate } => checkpointCall {
            fixedPart: fixed(&candidate.state.fixed),
            proof: proof.iter().map(signed).collect(),
            candidate: signed(candidate),
        }
        .abi_encode(),
        Call::Conclude { candidate } => {
            let fixed = fixed(&candidate.state.fixed);
            concludeCall { fixedPart: fixed, candidate: signed(candidate) }.abi_encode()
        }
        Call::ConcludeAndTransferAllAssets { candidate } => {
            let (fixed, candidate) = (fixed(&candidate.state.fixed), signed(candidate));
            concludeAndTransferAllAssetsCall { fixedPart: fixed, candidate }.abi_encode()
        }
        Call::TransferAllAssets { channel, outcome, state_hash } => transferAllAssetsCall {
            channelId: channel.0,
            outcome: exits(outcome),
            stateHash: *state_hash,
        }
        .abi_encode(),
        Call::Transfer { asset_index, channel, outcome, state_hash, indices } => transferCall {
            assetIndex: U256::from(*asset_index),
            fromChannelId: channel.0,
            outcomeBytes: encode_outcome(outcome).into(),
            stateHash: *state_hash,
            indices: indices.iter().copied().map(U256::from).collect(),
        }
        .abi_encode(),
        Call::Reclaim(args) => reclaimCall { args: reclaim(args) }.abi_encode(),
        Call::Approve { spender, .. } => {
            approveCall { spender: *spender, amount: U256::MAX }.abi_encode()
        }
    };
    encoded.into()
}

/// The question how much of a token's `owner` a spender may take.
pub(crate) fn allowance(owner: Address, spender: Address) -> Bytes {
    allowanceCall { owner, spender }.abi_encode().into()
}

/// The calls whose logs say less than their calldata; `None` for every other call.
pub(crate) fn decode_call(input: &[u8]) -> Option<Call> {
    let selector: [u8; 4] = input.get(..4)?.try_into().ok()?;
    Some(match selector {
        checkpointCall::SELECTOR => {
            let call = checkpointCall::abi_decode(input).ok()?;
            let fixed = fixed_from(call.fixedPart)?;
            let claims = call.proof.into_iter().map(|s| claim_from(&fixed, s));
            let proof = claims.collect::<Option<_>>()?;
            Call::Checkpoint { proof, candidate: claim_from(&fixed, call.candidate)? }
        }
        concludeCall::SELECTOR => {
            let call = concludeCall::abi_decode(input).ok()?;
            Call::Conclude { candidate: claim_from(&fixed_from(call.fixedPart)?, call.candidate)? }
        }
        concludeAndTransferAllAssetsCall::SELECTOR => {
            let call = concludeAndTransferAllAssetsCall::abi_decode(input).ok()?;
            let candidate = claim_from(&fixed_from(call.fixedPart)?, call.candidate)?;
            Call::ConcludeAndTransferAllAssets { candidate }
        }
        reclaimCall::SELECTOR => {
            let args = reclaimCall::abi_decode(input).ok()?.args;
            Call::Reclaim(ReclaimArgs {
                source_channel: ChannelId(args.sourceChannelId),
                source_state_hash: args.sourceStateHash,
                source_outcome: decode_outcome(&args.sourceOutcomeBytes)?,
                source_asset_index: u64::try_from(args.sourceAssetIndex).ok()?,
                index_of_target_in_source: u64::try_from(args.indexOfTargetInSource).ok()?,
                target_state_hash: args.targetStateHash,
                target_outcome: decode_outcome(&args.targetOutcomeBytes)?,
                target_asset_index: u64::try_from(args.targetAssetIndex).ok()?,
            })
        }
        _ => return None,
    })
}

/// A revert in the words of core's model: decisions rest on them.
pub(crate) fn reason(output: &[u8]) -> String {
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
        Err(_) => format!("undecodable revert of {} bytes", output.len()),
    }
}

fn fixed(part: &FixedPart) -> Fixed {
    Fixed {
        participants: part.participants.clone(),
        channelNonce: part.nonce,
        appDefinition: part.app_definition,
        challengeDuration: U48::from(part.challenge_duration),
    }
}

/// `None` where the challenge lasts longer than a `u32` of seconds: nobody here agrees to that.
fn fixed_from(part: Fixed) -> Option<FixedPart> {
    Some(FixedPart {
        participants: part.participants,
        nonce: part.channelNonce,
        app_definition: part.appDefinition,
        challenge_duration: u32::try_from(part.challengeDuration).ok()?,
    })
}

fn exits(outcome: &Outcome) -> Vec<Exit> {
    let exit = |exit: &SingleAssetExit| Exit {
        asset: exit.asset,
        assetMetadata: AssetMetadata {
            assetType: exit.asset_type,
            metadata: exit.asset_metadata.clone(),
        },
        allocations: exit.allocations.iter().map(entry).collect(),
    };
    outcome.iter().map(exit).collect()
}

fn exit_from(exit: Exit) -> SingleAssetExit {
    let allocations = exit.allocations.into_iter().map(|a| Allocation {
        destination: Destination(a.destination),
        amount: Amount(a.amount),
        allocation_type: a.allocationType,
        metadata: a.metadata,
    });
    SingleAssetExit {
        asset: exit.asset,
        asset_type: exit.assetMetadata.assetType,
        asset_metadata: exit.assetMetadata.metadata,
        allocations: allocations.collect(),
    }
}

fn entry(allocation: &Allocation) -> Entry {
    Entry {
        destination: allocation.destination.0,
        amount: allocation.amount.0,
        allocationType: allocation.allocation_type,
        metadata: allocation.metadata.clone(),
    }
}

fn sig(sig: &Signature) -> Sig {
    let (r, s) = (B256::from_slice(&sig.0[..32]), B256::from_slice(&sig.0[32..64]));
    Sig { v: sig.0[64], r, s }
}

fn sig_from(sig: &Sig) -> Signature {
    let mut bytes = [0; 65];
    bytes[..32].copy_from_slice(sig.r.as_slice());
    bytes[32..64].copy_from_slice(sig.s.as_slice());
    bytes[64] = sig.v;
    Signature(bytes)
}

fn signed(claim: &Claim) -> Signed {
    let state = &claim.state;
    Signed {
        variablePart: Variable {
            outcome: exits(&state.outcome),
            appData: state.app_data.clone(),
            turnNum: U48::from(state.turn.get()),
            isFinal: state.is_final,
        },
        sigs: claim.sigs.iter().map(sig).collect(),
    }
}

fn claim_from(fixed: &FixedPart, signed: Signed) -> Option<Claim> {
    let part = signed.variablePart;
    let state = State {
        fixed: fixed.clone(),
        outcome: part.outcome.into_iter().map(exit_from).collect(),
        app_data: part.appData,
        turn: turn(part.turnNum)?,
        is_final: part.isFinal,
    };
    Some(Claim { state, sigs: signed.sigs.iter().map(sig_from).collect() })
}

fn reclaim(args: &ReclaimArgs) -> Reclaim {
    Reclaim {
        sourceChannelId: args.source_channel.0,
        sourceStateHash: args.source_state_hash,
        sourceOutcomeBytes: encode_outcome(&args.source_outcome).into(),
        sourceAssetIndex: U256::from(args.source_asset_index),
        indexOfTargetInSource: U256::from(args.index_of_target_in_source),
        targetStateHash: args.target_state_hash,
        targetOutcomeBytes: encode_outcome(&args.target_outcome).into(),
        targetAssetIndex: U256::from(args.target_asset_index),
    }
}

fn turn(number: U48) -> Option<TurnNum> {
    TurnNum::new(number.to())
}

fn time(seconds: U48) -> ChainTime {
    ChainTime(seconds.to())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::types::Address;

    fn claim() -> Claim {
        let fixed = FixedPart {
            participants: vec![Address::repeat_byte(1), Address::repeat_byte(2)],
            nonce: 7,
            app_definition: Address::repeat_byte(3),
            challenge_duration: 60,
        };
        let allocations = vec![Allocation::simple(Address::repeat_byte(1), Amount::wei(5))];
        let state = State {
            fixed,
            outcome: vec![SingleAssetExit::fungible(Address::ZERO, allocations)],
            app_data: Bytes::from_static(b"data"),
            turn: TurnNum::new(9).unwrap(),
            is_final: true,
        };
        Claim { state, sigs: vec![Signature([3; 65])] }
    }

    #[test]
    fn calls_that_say_more_than_their_logs_survive_the_abi() {
        let outcome = claim().state.outcome;
        let reclaim = ReclaimArgs {
            source_channel: ChannelId(B256::repeat_byte(1)),
            source_state_hash: B256::repeat_byte(2),
            source_outcome: outcome.clone(),
            source_asset_index: 0,
            index_of_target_in_source: 2,
            target_state_hash: B256::repeat_byte(3),
            target_outcome: outcome,
            target_asset_index: 0,
        };
        for call in [
            Call::Checkpoint { proof: vec![claim()], candidate: claim() },
            Call::Conclude { candidate: claim() },
            Call::ConcludeAndTransferAllAssets { candidate: claim() },
            Call::Reclaim(reclaim),
        ] {
            assert_eq!(decode_call(&calldata(&call)), Some(call));
        }
    }

    #[test]
    fn a_challenge_is_read_with_its_own_channel_alone() {
        let candidate = claim();
        let channel = candidate.state.fixed.channel_id();
        let event = ChallengeRegistered {
            channelId: channel.0,
            finalizesAt: U48::from(77),
            proof: vec![],
            candidate: signed(&candidate),
        };
        let data = event.encode_log_data();
        assert_eq!(challenged_channel(&data), Some(channel));
        let fixed = candidate.state.fixed.clone();
        let read = decode_log(&data, Some(&fixed));
        let finalizes_at = ChainTime(77);
        assert_eq!(read, Some(Log::ChallengeRegistered { channel, finalizes_at, candidate }));
        assert_eq!(decode_log(&data, None), None);
        let other = FixedPart { nonce: 8, ..fixed };
        assert_eq!(decode_log(&data, Some(&other)), None);
    }

    #[test]
    fn garbage_decodes_to_nothing() {
        assert_eq!(decode_call(&[]), None);
        assert_eq!(decode_call(&checkpointCall::SELECTOR), None);
        assert_eq!(decode_log(&LogData::default(), None), None);
        let short = LogData::new_unchecked(vec![Deposited::SIGNATURE_HASH], Bytes::new());
        assert_eq!(decode_log(&short, None), None);
    }

    #[test]
    fn reverts_are_told_in_the_words_of_the_model() {
        assert_eq!(
            reason(&ErrorString::from("incorrect fingerprint").abi_encode()),
            "incorrect fingerprint"
        );
        assert_eq!(reason(&[]), Revert::Empty.to_string());
        let panic = Panic { code: U256::from(0x11) }.abi_encode();
        assert_eq!(reason(&panic), Revert::Panic(0x11).to_string());
        assert_eq!(reason(&[1, 2, 3, 4]), "undecodable revert of 4 bytes");
    }
}
