//! What a call is for, and what it takes from the account.

use crate::nitro::Call;
use crate::nitro::adjudicator::ReclaimArgs;
use crate::types::{Address, Amount, ChannelId};

/// Calls of one key do the same: the latest stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deposit,
    Challenge,
    Redeem,
    Checkpoint,
    Conclude,
    Transfer,
    Reclaim(ChannelId),
    Approve(Address),
}

/// What a call is for: calls of one key take each other's place.
pub(super) fn key_of(call: &Call) -> (ChannelId, Kind) {
    let kind = match call {
        Call::Deposit { .. } => Kind::Deposit,
        Call::Challenge { proof, .. } if proof.is_empty() => Kind::Challenge,
        Call::Challenge { .. } => Kind::Redeem,
        Call::Checkpoint { .. } => Kind::Checkpoint,
        Call::Conclude { .. } | Call::ConcludeAndTransferAllAssets { .. } => Kind::Conclude,
        Call::TransferAllAssets { .. } | Call::Transfer { .. } => Kind::Transfer,
        Call::Reclaim(args) => Kind::Reclaim(target(args)),
        Call::Approve { asset, .. } => Kind::Approve(*asset),
    };
    (call.channel(), kind)
}

/// Whose guarantee is reclaimed; zero where the call names none, and reverts.
fn target(args: &ReclaimArgs) -> ChannelId {
    let at = |index| usize::try_from(index).ok();
    let exit = at(args.source_asset_index).and_then(|i| args.source_outcome.get(i));
    let entry = at(args.index_of_target_in_source).and_then(|i| exit?.allocations.get(i));
    entry.map_or_else(Default::default, |a| ChannelId(a.destination.0))
}

/// Native tokens that a call takes from the account.
pub(super) fn native_deposit(call: &Call) -> Amount {
    match call {
        Call::Deposit { asset, amount, .. } if *asset == Address::ZERO => *amount,
        Call::Deposit { .. }
        | Call::Challenge { .. }
        | Call::Checkpoint { .. }
        | Call::Conclude { .. }
        | Call::ConcludeAndTransferAllAssets { .. }
        | Call::TransferAllAssets { .. }
        | Call::Transfer { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => Amount::ZERO,
    }
}
