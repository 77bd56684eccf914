//! Updates: money moves inside an open channel.
//!
//! Only the leader proposes, one state at a time, and only while the last one is unanimous: two honest parties can then never
//! sign different states of one turn. The follower asks the leader to propose its payments.

use super::{Context, Crank, WaitingFor};
use crate::channel::Channel;
use crate::event::{Event, ObjectiveKind, Origin};
use crate::types::TurnNum;

/// The flowchart of an open channel.
pub fn crank(cx: &Context<'_>) -> Crank {
    if ends(cx.channel) {
        let id = cx.id(ObjectiveKind::DirectDefund);
        let origin = Origin::Peer;
        return Crank::Emit(Event::ObjectiveApproved { id, origin, terms: None });
    }
    match next(cx) {
        Ok(crank) => crank,
        Err(waiting) => Crank::Wait(waiting),
    }
}

/// Whether somebody asks for the end by its signature on a final state, however that state reached us. It must not be countersigned
/// in an open channel: nothing may ever be signed on top of it.
fn ends(channel: &Channel) -> bool {
    let known = [channel.supported.as_ref(), channel.proposed_by_peer()];
    known.into_iter().flatten().any(|s| s.state().is_final)
}

/// Countersigns what the peer proposed, or proposes the next update; `Err` says what it waits for instead.
pub fn next(cx: &Context<'_>) -> Result<Crank, WaitingFor> {
    let channel = cx.channel;
    if !cx.may_sign {
        return Err(WaitingFor::Witness);
    }
    if channel.frozen {
        return Err(WaitingFor::Holdings);
    }
    if let Some(proposed) = channel.proposed_by_peer()
        && may_countersign(cx, proposed.turn())
    {
        let state = proposed.state().clone();
        let mine = channel.my_index();
        let loses = crate::channel::balance_in(&state.outcome, mine) < channel.balance(mine);
        let update = channel.my_front_update().filter(|_| loses && !state.is_final).map(|u| u.id);
        return Ok(cx.sign(state, update));
    }
    if !channel.is_leader() || channel.has_unanswered_signature() {
        return Err(WaitingFor::Nothing);
    }
    let Some(update) = channel.updates.front() else { return Err(WaitingFor::Nothing) };
    let (Some(turn), Some(outcome)) =
        (channel.supported_turn().and_then(TurnNum::next), channel.outcome_after(update))
    else {
        return Ok(Crank::Emit(Event::UpdateDropped { channel: channel.id, id: update.id }));
    };
    Ok(cx.sign(channel.state(turn, outcome, false), Some(update.id)))
}

/// Whether our signature may go under the peer's proposal. The same question as on arrival: the requests that
/// it depends on may have changed since.
fn may_countersign(cx: &Context<'_>, turn: TurnNum) -> bool {
    let Some(proposed) = cx.channel.pending.get(&turn) else { return false };
    if proposed.signed_by(cx.channel.my_index()) {
        return false;
    }
    if cx.config.mutant("sign-final-unchecked") && proposed.state().is_final {
        return true;
    }
    let newer = cx.channel.signed.is_none_or(|s| s.turn < turn);
    newer && cx.channel.check_received(proposed).is_ok()
}
