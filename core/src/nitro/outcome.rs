//! Who gets what: the exit format that the contracts pay out by.
//!
//! Source: `ExitFormat.sol` 0.2.0. `assetType` is a Solidity enum (0 to 3), `allocationType` a plain `uint8`.

use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::types::{Address, Amount, Destination};

/// A whole outcome: one exit for each asset.
pub type Outcome = Vec<SingleAssetExit>;

/// What happens to one asset's holdings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SingleAssetExit {
    /// Token contract; zero is the native token.
    pub asset: Address,
    /// 0 default, 1 ERC-721, 2 ERC-1155, 3 qualified.
    pub asset_type: u8,
    /// Bytes that belong to the asset type; empty for fungible assets.
    pub asset_metadata: Bytes,
    /// In priority order: earlier entries are paid first.
    pub allocations: Vec<Allocation>,
}

/// One entry of an exit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Allocation {
    /// Who is paid.
    pub destination: Destination,
    /// How much.
    pub amount: Amount,
    /// See [`AllocationType`]; any byte decodes.
    pub allocation_type: u8,
    /// For a guarantee: `left || right`, 64 bytes. Empty for a simple allocation.
    pub metadata: Bytes,
}

/// The allocation types that the contracts know. A guarantee is **2**: go-nitro writes 1, which the deployed
/// contract reads as a withdraw helper and pays out.
pub struct AllocationType;

impl AllocationType {
    /// Pays its destination.
    pub const SIMPLE: u8 = 0;
    /// Pays through a contract; no node of ours signs one.
    pub const WITHDRAW_HELPER: u8 = 1;
    /// Backs another channel; paid by `reclaim` alone.
    pub const GUARANTEE: u8 = 2;
}

impl Allocation {
    /// A simple allocation to an address.
    pub fn simple(to: Address, amount: Amount) -> Allocation {
        Allocation {
            destination: Destination::of(to),
            amount,
            allocation_type: AllocationType::SIMPLE,
            metadata: Bytes::new(),
        }
    }
}

impl SingleAssetExit {
    /// An exit of a fungible asset.
    pub fn fungible(asset: Address, allocations: Vec<Allocation>) -> SingleAssetExit {
        SingleAssetExit { asset, asset_type: 0, asset_metadata: Bytes::new(), allocations }
    }

    /// The sum of all allocations, or `None` on overflow.
    pub fn total(&self) -> Option<Amount> {
        self.allocations.iter().try_fold(Amount::ZERO, |sum, a| sum.checked_add(a.amount))
    }

    /// What all entries before the first one of `destination` hold: it is safe for its owner to deposit once
    /// the channel holds this much. Saturates, so a hostile outcome cannot panic.
    ///
    /// Source: go-nitro `outcome.DepositSafetyThreshold`.
    pub fn deposit_safety_threshold(&self, destination: Destination) -> Amount {
        self.allocations
            .iter()
            .take_while(|a| a.destination != destination)
            .fold(Amount::ZERO, |sum, a| sum.saturating_add(a.amount))
    }

    /// What `destination` is allocated in all entries together (saturating).
    pub fn allocated_to(&self, destination: Destination) -> Amount {
        self.allocations
            .iter()
            .filter(|a| a.destination == destination)
            .fold(Amount::ZERO, |sum, a| sum.saturating_add(a.amount))
    }
}

/// The outcome of a direct channel of two: one asset, one simple allocation each, in participant order.
pub fn two_party(asset: Address, parties: [(Address, Amount); 2]) -> Outcome {
    let allocations =
        parties.iter().map(|(who, amount)| Allocation::simple(*who, *amount)).collect();
    vec![SingleAssetExit::fungible(asset, allocations)]
}

/// Metadata of a guarantee: `abi.encode(left, right)`, 64 bytes.
pub fn guarantee_metadata(left: Destination, right: Destination) -> Bytes {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(left.0.as_slice());
    bytes.extend_from_slice(right.0.as_slice());
    bytes.into()
}

/// The inverse of [`guarantee_metadata`], as lenient as the contract: `None` below 64 bytes, what follows them is ignored.
pub fn guarantee_parties(metadata: &[u8]) -> Option<(Destination, Destination)> {
    super::abi::decode_guarantee(metadata)
}

/// `keccak256(abi.encode(outcome))`, the contract's outcome hash.
pub fn hash(outcome: &Outcome) -> B256 {
    alloy_primitives::keccak256(super::abi::encode_outcome(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protocol vector V5: thresholds are sums of what stands before the owner, per asset.
    #[test]
    fn deposit_safety_thresholds_match_the_vector() {
        let (alice, bob) = (Address::with_last_byte(0x0a), Address::with_last_byte(0x0b));
        let first = SingleAssetExit::fungible(
            Address::ZERO,
            vec![
                Allocation::simple(alice, Amount::wei(2)),
                Allocation::simple(bob, Amount::wei(3)),
            ],
        );
        let second = SingleAssetExit::fungible(
            Address::with_last_byte(123),
            vec![
                Allocation::simple(bob, Amount::wei(2)),
                Allocation::simple(alice, Amount::wei(1)),
            ],
        );
        let threshold = |e: &SingleAssetExit, who| e.deposit_safety_threshold(Destination::of(who));
        assert_eq!(
            (threshold(&first, alice), threshold(&second, alice)),
            (Amount::wei(0), Amount::wei(2))
        );
        assert_eq!(
            (threshold(&first, bob), threshold(&second, bob)),
            (Amount::wei(2), Amount::wei(0))
        );
    }

    /// Protocol vector V4.
    #[test]
    fn guarantee_metadata_is_left_then_right() {
        let d = |n| Destination::of(Address::with_last_byte(n));
        let bytes = guarantee_metadata(d(0x0a), d(0x0b));
        assert_eq!((bytes.len(), bytes[31], bytes[63]), (64, 0x0a, 0x0b));
        assert_eq!(guarantee_parties(&bytes), Some((d(0x0a), d(0x0b))));
        assert_eq!(guarantee_parties(&bytes[..63]), None);
    }
}
