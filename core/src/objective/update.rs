//! Updates: money moves inside an open channel, and guarantees for virtual channels come and go.
//!
//! Only the leader proposes, one state at a time, and only while the last one is unanimous: two honest parties can then never
//! sign different states of one turn. The follower asks the leader to propose its payments.

use super::{Context, Crank, WaitingFor};
use crate::channel::{Channel, Phase};
use crate::event::{Event, ObjectiveKind, Origin, Update};
use crate::ledger::{self, Change, Expectations, Layout};
use crate::nitro::Outcome;
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

/// Countersigns what the peer proposed, or proposes the next state; `Err` says what it waits for instead.
pub fn next(cx: &Context<'_>) -> Result<Crank, WaitingFor> {
    let channel = cx.channel;
    if !cx.may_sign {
        return Err(WaitingFor::Witness);
    }
    if channel.frozen && !cx.config.mutant("vanished-funds-ignored") {
        return Err(WaitingFor::Holdings);
    }
    if channel.proposed_by_peer().is_none() && !channel.is_leader() {
        return Err(WaitingFor::Nothing);
    }
    let expect = planted(cx, cx.virtuals.expectations(channel));
    if let Some(proposed) = channel.proposed_by_peer()
        && may_countersign(cx, proposed.turn(), &expect)
    {
        let state = proposed.state().clone();
        let update =
            if state.is_final { None } else { channel.carried_out_by(&state.outcome, &expect) };
        return Ok(cx.sign(state, update));
    }
    let anew = cx.config.mutant("proposes-anew") && !channel.updates.is_empty();
    if !channel.is_leader() || channel.has_unanswered_signature() && !anew {
        return Err(WaitingFor::Nothing);
    }
    propose(cx, &expect)
}

/// The leader's next state: every guarantee that is due, and the oldest payment. One state at a time: whatever prefix of our
/// proposals the follower countersigns, we agreed to exactly that.
fn propose(cx: &Context<'_>, expect: &Expectations) -> Result<Crank, WaitingFor> {
    let channel = cx.channel;
    let (Some(turn), Some(before)) =
        (channel.supported_turn().and_then(TurnNum::next), channel.layout())
    else {
        return Err(WaitingFor::Nothing);
    };
    let max = usize::try_from(cx.config.policy.guarantees_max).unwrap_or(usize::MAX);
    let open = channel.phase == Phase::Open;
    let mut next = ledger::due(&before, expect, if open { max } else { 0 });
    let update = match channel.updates.front() {
        Some(update) if carry_out(&mut next, update) => Some(update.id),
        // Nothing that is due would make it affordable: it never will be.
        Some(update) if next == before => {
            return Ok(Crank::Emit(Event::UpdateDropped { channel: channel.id, id: update.id }));
        }
        Some(_) | None => None,
    };
    if next == before {
        return Err(WaitingFor::Nothing);
    }
    let outcome =
        if cx.config.mutant("guarantees-last") { last(next.outcome()) } else { next.outcome() };
    Ok(cx.sign(channel.state(turn, outcome, false), update))
}

/// Planted bugs: guarantees that are given back too early, or wrongly divided.
fn planted(cx: &Context<'_>, mut expect: Expectations) -> Expectations {
    let (early, wrong) = (cx.config.mutant("early-remove"), cx.config.mutant("remove-wrong-split"));
    for (target, expected) in expect.iter_mut().filter(|_| early || wrong) {
        let amount = expected.guarantee.amount;
        if early && expected.remove.is_none() {
            let paid = cx.virtuals.all.get(target).and_then(|v| v.final_paid());
            expected.remove = paid.and_then(|paid| amount.checked_sub(paid));
        } else if wrong {
            expected.remove = expected.remove.and_then(|left| amount.checked_sub(left));
        }
    }
    expect
}

/// Planted bug: go-nitro's order, in which anybody can have a guarantee paid out.
fn last(mut outcome: Outcome) -> Outcome {
    if let Some(exit) = outcome.first_mut() {
        exit.allocations.sort_by_key(|a| a.allocation_type);
    }
    outcome
}

/// Moves an update's money; `false`, and nothing moved, when the payer cannot afford it.
fn carry_out(layout: &mut Layout, update: &Update) -> bool {
    let (payer, payee) = (usize::from(update.payer), usize::from(update.payer == 0));
    let paid = layout.balances.get(payer).and_then(|b| b.checked_sub(update.amount));
    let received = layout.balances.get(payee).and_then(|b| b.checked_add(update.amount));
    let (Some(paid), Some(received)) = (paid, received) else { return false };
    layout.balances = if update.payer == 0 { [paid, received] } else { [received, paid] };
    true
}

/// Whether our signature may go under the peer's proposal. The same question as on arrival, and another one: the requests and the
/// virtual channels that it depends on may have changed since.
fn may_countersign(cx: &Context<'_>, turn: TurnNum, expect: &Expectations) -> bool {
    let Some(proposed) = cx.channel.pending.get(&turn) else { return false };
    if proposed.signed_by(cx.channel.my_index()) {
        return false;
    }
    if cx.config.mutant("sign-final-unchecked") && proposed.state().is_final {
        return true;
    }
    let newer = cx.channel.signed.is_none_or(|s| s.turn < turn);
    if !newer || cx.channel.check_received(proposed, expect).is_err() {
        return false;
    }
    let unready = || {
        matches!(cx.channel.check_update(&proposed.state().outcome, expect), Ok(Change::Premature))
    };
    let early = cx.config.mutant("premature-countersigned");
    proposed.state().is_final || turn <= TurnNum::POSTFUND || early || !unready()
}
