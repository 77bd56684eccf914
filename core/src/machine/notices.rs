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
            let channel = state.channel(signed.channel())?;
            let other = channel.pending.get(&signed.turn())?;
            let all =
                other.sigs().keys().chain(signed.sigs().keys()).collect::<BTreeSet<_>>().len();
            let turn = signed.turn();
            (all == channel.fixed.participants.len())
                .then_some(Notice::Supported { channel: channel.id, turn })
        }
        Event::TxWanted { channel, tx: WantedTx::Checkpoint { turn } } => {
            Some(Notice::StaleChallenge { channel: *channel, turn: *turn })
        }
        Event::UpdateDropped { channel, id } => {
            let known = state.channel(*channel)?;
            let ours = known.updates.front().is_some_and(|u| u.payer == known.me);
            ours.then_some(Notice::UpdateDropped { channel: *channel, id: id.0 })
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
        | Event::ChannelWitnessed { .. } => None,
    }
}
