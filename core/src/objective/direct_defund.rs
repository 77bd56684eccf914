//! DirectDefund: close a channel in agreement.
//!
//! The final state is the last supported outcome, one turn later, and nothing else; go-nitro's responder signs whatever final
//! state it is offered. The leader drains what it has proposed and then signs first, so that no turn is signed twice.
//!
//! Source: go-nitro `directdefund.Crank`; `NitroAdjudicator.concludeAndTransferAllAssets`.

use super::{Context, Crank, WaitingFor, update};
use crate::event::{Event, ObjectiveKind, Origin, WantedTx};

/// The flowchart. The channel's DirectDefund objective is live.
pub fn crank(cx: &Context<'_>) -> Crank {
    let channel = cx.channel;
    let is_final = channel.supported.as_ref().is_some_and(|s| s.state().is_final);

    if cx.confirmed.is_paid_out() {
        return Crank::Emit(Event::ObjectiveCompleted { id: cx.id(ObjectiveKind::DirectDefund) });
    }
    if cx.head.is_paid_out() {
        return Crank::Wait(WaitingFor::Withdraw);
    }
    // Somebody ended the channel on chain: see to the payout.
    if cx.head.is_finalized(cx.chain_now) {
        return cx.dispute(Origin::Violation);
    }
    if !is_final {
        return finalize(cx);
    }
    conclude(cx)
}

fn finalize(cx: &Context<'_>) -> Crank {
    let channel = cx.channel;
    if cx.peer_is_silent() {
        return cx.dispute(Origin::Timeout);
    }
    // What the peer has proposed is answered first: a payment under way, or the final state itself.
    // Payments that were accepted before come first too: their users were told that they are on their way.
    if channel.proposed_by_peer().is_some() || !channel.updates.is_empty() {
        match update::next(cx) {
            Ok(crank) => return crank,
            Err(WaitingFor::Nothing) => {}
            Err(waiting) => return Crank::Wait(waiting),
        }
    }
    if channel.is_leader()
        && !channel.has_unanswered_signature()
        && cx.may_sign
        && !channel.frozen
        && channel.updates.is_empty()
        && let Some(state) = channel.closing_state()
    {
        return cx.sign(state, None);
    }
    Crank::Wait(if cx.may_sign { WaitingFor::Finalization } else { WaitingFor::Witness })
}

/// The leader concludes; the follower does so when the leader has not within `conclude_after_ms`.
fn conclude(cx: &Context<'_>) -> Crank {
    let channel = cx.channel;
    let waited = cx.now.since_ms(channel.progress_at) >= cx.config.conclude_after_ms;
    let wanted = channel.txs.contains(&WantedTx::Conclude);
    if !wanted && (channel.is_leader() || waited) {
        return Crank::Emit(Event::TxWanted { channel: channel.id, tx: WantedTx::Conclude });
    }
    Crank::Wait(WaitingFor::Withdraw)
}
