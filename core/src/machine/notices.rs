//! What the user hears about what is logged.

use alloc::collections::BTreeSet;

use super::NodeState;
use crate::effect::Notice;
use crate::event::{Event, WantedTx};

/// What the user hears about an event, before it is applied.
pub(super) fn notice_of(state: &NodeState, event: &Event) -> Option<Notice> {
    match event {
        Event::ObjectiveCompleted { id } => Some(Notice::Completed(*id)),
        Event::ObjectiveRejected { id, reason } => Some(Notice::Rejected(*id, reason.clone())),
        Event::StateSigned { state: signed, .. }
        | Event::StateReceived { state: signed, .. }
        | Event::StatePublished { state: signed } => {
            let (id, turn) = (signed.channel(), signed.turn());
            let (other, participants) = match state.channel(id) {
                Some(c) => (c.pending.get(&turn)?, c.fixed.participants.len()),
                None => {
                    let v = state.virtual_channel(id)?;
                    (v.states.get(&turn).filter(|s| !s.is_unanimous())?, v.fixed.participants.len())
                }
            };
            let all =
                other.sigs().keys().chain(signed.sigs().keys()).collect::<BTreeSet<_>>().len();
            (all == participants).then_some(Notice::Supported { channel: id, turn })
        }
        Event::TxWanted { channel, tx: WantedTx::Checkpoint { turn } } => {
            Some(Notice::StaleChallenge { channel: *channel, turn: *turn })
        }
        Event::TxWanted { channel, tx: WantedTx::Redeem { .. } } => {
            let challenged = state.chain().at_head(*channel).running_challenge(state.chain().now());
            let turn = challenged.map(|c| c.turn)?;
            Some(Notice::StaleChallenge { channel: *channel, turn })
        }
        Event::UpdateDropped { channel, id } => {
            let known = state.channel(*channel)?;
            let ours = known.updates.front().is_some_and(|u| u.payer == known.me);
            ours.then_some(Notice::UpdateDropped { channel: *channel, id: id.0 })
        }
        Event::VoucherReceived { voucher } => {
            let before = state.virtual_channel(voucher.channel)?.paid();
            let (total, delta) = (voucher.amount, voucher.amount.saturating_sub(before));
            Some(Notice::PaymentReceived { channel: voucher.channel, total, delta })
        }
        Event::RecoveryEntered { .. } => Some(Notice::RecoveryEntered),
        Event::RecoveryEnded => Some(Notice::RecoveryEnded),
        Event::Pinned(_)
        | Event::ObjectiveApproved { .. }
        | Event::DepositWanted { .. }
        | Event::TxWanted { .. }
        | Event::BlockAdded { .. }
        | Event::BlocksReverted { .. }
        | Event::MessageAcked { .. }
        | Event::UpdateWanted { .. }
        | Event::PaymentAppPinned { .. }
        | Event::VirtualApproved { .. }
        | Event::LedgerNamed { .. }
        | Event::VoucherSigned { .. }
        | Event::ChannelWitnessed { .. }
        | Event::ReclaimShown { .. } => None,
    }
}
