//! What the contracts declare, as far as they are called here. Encoding and decoding are alloy's.
//!
//! Source: `INitroTypes.sol`, `ExitFormat.sol`, `IForceMove.sol`, `IMultiAssetHolder.sol`, `NitroAdjudicator.sol`.

use alloy_primitives::B256;
use alloy_sol_types::sol;
use fairway_core::nitro::adjudicator::ReclaimArgs;
use fairway_core::nitro::{Claim, FixedPart, Outcome, Signature};

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
    function stateIsSupported(Fixed fixedPart, Signed[] proof, Signed candidate) external view returns (bool, string);
    function approve(address spender, uint256 amount) external;

    event Deposited(bytes32 indexed channelId, address asset, uint256 destinationHoldings);
    event AllocationUpdated(bytes32 indexed channelId, uint256 assetIndex, uint256 initialHoldings, uint256 finalHoldings);
    event Reclaimed(bytes32 indexed channelId, uint256 assetIndex);
    event ChallengeRegistered(bytes32 indexed channelId, uint48 finalizesAt, Signed[] proof, Signed candidate);
    event ChallengeCleared(bytes32 indexed channelId, uint48 newTurnNumRecord);
    event Checkpointed(bytes32 indexed channelId, uint48 newTurnNumRecord);
    event Concluded(bytes32 indexed channelId, uint48 finalizesAt);
}

/// The low 48 bits.
pub(super) fn uint48(value: u64) -> alloy_primitives::aliases::U48 {
    alloy_primitives::aliases::U48::from(value)
}

pub(super) fn fixed(part: &FixedPart) -> Fixed {
    Fixed {
        participants: part.participants.clone(),
        channelNonce: part.nonce,
        appDefinition: part.app_definition,
        challengeDuration: uint48(u64::from(part.challenge_duration)),
    }
}

pub(super) fn exits(outcome: &Outcome) -> Vec<Exit> {
    let exit = |exit: &fairway_core::nitro::SingleAssetExit| Exit {
        asset: exit.asset,
        assetMetadata: AssetMetadata {
            assetType: exit.asset_type,
            metadata: exit.asset_metadata.clone(),
        },
        allocations: exit.allocations.iter().map(entry).collect(),
    };
    outcome.iter().map(exit).collect()
}

fn entry(allocation: &fairway_core::nitro::Allocation) -> Entry {
    Entry {
        destination: allocation.destination.0,
        amount: allocation.amount.0,
        allocationType: allocation.allocation_type,
        metadata: allocation.metadata.clone(),
    }
}

pub(super) fn sig(sig: &Signature) -> Sig {
    let (r, s) = (B256::from_slice(&sig.0[..32]), B256::from_slice(&sig.0[32..64]));
    Sig { v: sig.0[64], r, s }
}

pub(super) fn signed(claim: &Claim) -> Signed {
    let state = &claim.state;
    Signed {
        variablePart: Variable {
            outcome: exits(&state.outcome),
            appData: state.app_data.clone(),
            turnNum: uint48(state.turn.get()),
            isFinal: state.is_final,
        },
        sigs: claim.sigs.iter().map(sig).collect(),
    }
}

pub(super) fn reclaim(args: &ReclaimArgs) -> Reclaim {
    use alloy_primitives::U256;
    use alloy_sol_types::SolValue;
    Reclaim {
        sourceChannelId: args.source_channel.0,
        sourceStateHash: args.source_state_hash,
        sourceOutcomeBytes: exits(&args.source_outcome).abi_encode().into(),
        sourceAssetIndex: U256::from(args.source_asset_index),
        indexOfTargetInSource: U256::from(args.index_of_target_in_source),
        targetStateHash: args.target_state_hash,
        targetOutcomeBytes: exits(&args.target_outcome).abi_encode().into(),
        targetAssetIndex: U256::from(args.target_asset_index),
    }
}
