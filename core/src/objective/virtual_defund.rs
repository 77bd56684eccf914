//! VirtualDefund: close a virtual channel in agreement and give its guarantees back.
//!
//! Only the payer knows what it paid, so its final state comes first; everybody else signs that state or none. The payee compares it
//! with its largest voucher at the moment of signing. No guarantee is given back before the final state is unanimous, or the chain
//! has decided.
//!
//! Source: go-nitro `virtualdefund.Crank`. Rules added: nothing but the two amounts may differ (go-nitro compares sums alone), the
//! final state has turn 3, silence ends on chain.

use super::{Crank, VirtualContext, WaitingFor};
use crate::event::{Event, ObjectiveKind, Origin, RejectReason};
use crate::types::TurnNum;

/// The flowchart. The channel's VirtualDefund objective is live.
pub fn crank(cx: &VirtualContext<'_>) -> Crank {
    let channel = cx.channel;
    if cx.live(ObjectiveKind::VirtualFund).is_some() {
        let (id, reason) = (cx.id(ObjectiveKind::VirtualFund), RejectReason::TimedOut);
        return Crank::Emit(Event::ObjectiveRejected { id, reason });
    }
    let Some(known) = channel.states.get(&TurnNum::VIRTUAL_FINAL) else {
        let paid = if cx.config.mutant("final-forgets-vouchers") {
            crate::types::Amount::ZERO
        } else {
            channel.paid()
        };
        return match channel.state(TurnNum::VIRTUAL_FINAL, paid) {
            Some(state) if channel.is_payer() && cx.may_sign => cx.sign(state),
            Some(_) | None => dispute_or_wait(cx, WaitingFor::Finalization),
        };
    };
    if !channel.signed(TurnNum::VIRTUAL_FINAL) {
        let enough =
            channel.final_paid() >= Some(channel.paid()) || cx.config.mutant("low-final-signed");
        // Less than the payer promised us: the vouchers are redeemed on chain.
        if channel.is_payee() && !enough {
            return cx.approve(ObjectiveKind::Dispute, Origin::Violation);
        }
        return if cx.may_sign {
            cx.sign(known.state().clone())
        } else {
            dispute_or_wait(cx, WaitingFor::Witness)
        };
    }
    if !known.is_unanimous() {
        return dispute_or_wait(cx, WaitingFor::Finalization);
    }
    if cx.may_be_guaranteed() {
        return dispute_or_wait(cx, WaitingFor::Release);
    }
    Crank::Emit(Event::ObjectiveCompleted { id: cx.id(ObjectiveKind::VirtualDefund) })
}

/// Waits for the others, but not for ever: with a guarantee outstanding the chain decides, without one nothing is at stake for us.
fn dispute_or_wait(cx: &VirtualContext<'_>, waiting: WaitingFor) -> Crank {
    if !cx.is_silent() || cx.recovering || cx.config.mutant("waits-for-final") {
        return Crank::Wait(waiting);
    }
    if cx.may_be_guaranteed() {
        return cx.approve(ObjectiveKind::Dispute, Origin::Timeout);
    }
    let id = cx.id(ObjectiveKind::VirtualDefund);
    Crank::Emit(Event::ObjectiveRejected { id, reason: RejectReason::TimedOut })
}
