//! Solidity's ABI for the structures that are hashed or sent to the contracts. Encoding is alloy's; this file
//! only maps our types onto the Solidity ones.

use alloc::vec::Vec;

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::{SolValue, sol};

use super::outcome::{Allocation, Outcome, SingleAssetExit};
use super::sign::Signature;
use super::state::FixedPart;
use crate::types::{Amount, ChannelId, Destination, TurnNum};

sol! {
    /// `ExitFormat.AssetMetadata`, with the enum as the byte it is on the wire.
    struct AssetMetadata { uint8 assetType; bytes metadata; }
    /// `ExitFormat.Allocation`.
    struct SolAllocation { bytes32 destination; uint256 amount; uint8 allocationType; bytes metadata; }
    /// `ExitFormat.SingleAssetExit`.
    struct SolExit { address asset; AssetMetadata assetMetadata; SolAllocation[] allocations; }
    /// `INitroTypes.Signature`.
    struct SolSignature { uint8 v; bytes32 r; bytes32 s; }
    /// `VirtualPaymentApp.VoucherAmountAndSignature`.
    struct SolRedemption { uint256 amount; SolSignature signature; }
    /// `MultiAssetHolder.Guarantee`.
    struct SolGuarantee { bytes32 left; bytes32 right; }
}

fn exit_to_sol(exit: &SingleAssetExit) -> SolExit {
    SolExit {
        asset: exit.asset,
        assetMetadata: AssetMetadata {
            assetType: exit.asset_type,
            metadata: exit.asset_metadata.clone(),
        },
        allocations: exit
            .allocations
            .iter()
            .map(|a| SolAllocation {
                destination: a.destination.0,
                amount: a.amount.0,
                allocationType: a.allocation_type,
                metadata: a.metadata.clone(),
            })
            .collect(),
    }
}

fn exit_from_sol(exit: SolExit) -> Option<SingleAssetExit> {
    // A Solidity enum: the deployed decoder reverts on anything above 3.
    if exit.assetMetadata.assetType > 3 {
        return None;
    }
    let allocations = exit.allocations.into_iter().map(|a| Allocation {
        destination: Destination(a.destination),
        amount: Amount(a.amount),
        allocation_type: a.allocationType,
        metadata: a.metadata,
    });
    Some(SingleAssetExit {
        asset: exit.asset,
        asset_type: exit.assetMetadata.assetType,
        asset_metadata: exit.assetMetadata.metadata,
        allocations: allocations.collect(),
    })
}

/// `abi.encode(outcome)`.
pub fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    outcome.iter().map(exit_to_sol).collect::<Vec<_>>().abi_encode()
}

/// The inverse of [`encode_outcome`]; `None` for anything that the contract's decoder refuses.
pub fn decode_outcome(bytes: &[u8]) -> Option<Outcome> {
    Vec::<SolExit>::abi_decode(bytes).ok()?.into_iter().map(exit_from_sol).collect()
}

/// The preimage of a channel id: `abi.encode(participants, nonce, appDefinition, challengeDuration)`.
pub fn encode_fixed_part(fixed: &FixedPart) -> Vec<u8> {
    (
        fixed.participants.clone(),
        U256::from(fixed.nonce),
        fixed.app_definition,
        U256::from(fixed.challenge_duration),
    )
        .abi_encode_params()
}

/// The preimage of a state hash: `abi.encode(channelId, appData, outcome, turnNum, isFinal)`. In the hash the
/// application data stands before the outcome; in calldata it is the other way round.
pub fn encode_state(
    channel: ChannelId,
    app_data: &Bytes,
    outcome: &Outcome,
    turn: TurnNum,
    is_final: bool,
) -> Vec<u8> {
    let outcome: Vec<SolExit> = outcome.iter().map(exit_to_sol).collect();
    (channel.0, app_data.clone(), outcome, U256::from(turn.get()), is_final).abi_encode_params()
}

/// The preimage of a challenge message: `abi.encode(stateHash, "forceMove")`.
pub fn encode_challenge(state_hash: B256) -> Vec<u8> {
    (state_hash, alloc::string::String::from("forceMove")).abi_encode_params()
}

/// The preimage of a voucher: `abi.encode(channelId, amount)`.
pub fn encode_voucher(channel: ChannelId, amount: Amount) -> Vec<u8> {
    (channel.0, amount.0).abi_encode_params()
}

/// The application data of a redemption: `abi.encode(amount, (v, r, s))`, 128 bytes without an offset.
pub fn encode_redemption(amount: Amount, sig: &Signature) -> Vec<u8> {
    let (r, s) = (B256::from_slice(&sig.0[..32]), B256::from_slice(&sig.0[32..64]));
    let signature = SolSignature { v: sig.0[64], r, s };
    SolRedemption { amount: amount.0, signature }.abi_encode()
}

/// The inverse of [`encode_redemption`]; `None` for anything that the contract's decoder refuses. What follows is ignored.
pub fn decode_redemption(bytes: &[u8]) -> Option<(Amount, Signature)> {
    let redemption = SolRedemption::abi_decode_validate(bytes.get(..128)?).ok()?;
    let SolSignature { v, r, s } = redemption.signature;
    let mut sig = [0u8; 65];
    sig[..32].copy_from_slice(r.as_slice());
    sig[32..64].copy_from_slice(s.as_slice());
    sig[64] = v;
    Some((Amount(redemption.amount), Signature(sig)))
}

/// The left and the right party in a guarantee's metadata; `None` when it is too short. What follows is ignored.
pub fn decode_guarantee(bytes: &[u8]) -> Option<(Destination, Destination)> {
    let SolGuarantee { left, right } = SolGuarantee::abi_decode(bytes.get(..64)?).ok()?;
    Some((Destination(left), Destination(right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Address;
    use alloc::vec;
    use proptest::prelude::*;

    /// Protocol vector V3: the exit-format package's own fixture, 512 bytes.
    #[test]
    fn encoded_exit_matches_the_vector() {
        let to: Address = "0x96f7123E3A80C9813eF50213ADEd0e4511CB820f".parse().unwrap();
        let outcome = vec![SingleAssetExit::fungible(
            Address::ZERO,
            vec![Allocation::simple(to, Amount::wei(1))],
        )];
        let bytes = encode_outcome(&outcome);
        assert_eq!(bytes.len(), 512);
        assert_eq!(
            alloy_primitives::hex::encode(alloy_primitives::keccak256(&bytes)),
            "086344243029677e31eb157e5842542e4cc51a2484bf6ee2bfd5857d6300f499"
        );
        assert_eq!(decode_outcome(&bytes), Some(outcome));
    }

    proptest! {
        #[test]
        fn outcomes_survive_the_abi(
            asset in any::<[u8; 20]>(), kind in 0u8..4, meta in any::<Vec<u8>>(),
            rows in proptest::collection::vec((any::<[u8; 32]>(), any::<[u64; 4]>(), any::<u8>(), any::<Vec<u8>>()), 0..4),
        ) {
            let outcome = vec![SingleAssetExit {
                asset: asset.into(), asset_type: kind, asset_metadata: meta.into(),
                allocations: rows.into_iter().map(|(d, a, t, m)| Allocation {
                    destination: Destination(d.into()), amount: Amount(U256::from_limbs(a)),
                    allocation_type: t, metadata: m.into(),
                }).collect(),
            }];
            prop_assert_eq!(decode_outcome(&encode_outcome(&outcome)), Some(outcome));
        }

        #[test]
        fn decoding_arbitrary_bytes_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = decode_outcome(&bytes);
        }
    }
}
