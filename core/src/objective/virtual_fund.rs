//! VirtualFund: open a channel on guarantees, without a transaction.
//!
//! Everyone signs the prefund before anyone locks money: it is the way out if the rest stalls. Everyone signs the postfund only once
//! *all of its own* ledger channels hold the guarantee: a hub whose money is not yet covered on the payer's side thereby keeps every
//! voucher from being redeemed.
//!
//! Source: go-nitro `virtualfund.Crank`, ADR-0009. Rules added: a timeout that gives back what was locked, the named ledger channel.

use super::{Crank, VirtualContext, WaitingFor};
use crate::event::{Event, ObjectiveKind, Origin, RejectReason};
use crate::types::{Amount, TurnNum};

/// The flowchart. The channel's VirtualFund objective is live.
pub fn crank(cx: &VirtualContext<'_>) -> Crank {
    let channel = cx.channel;
    if !channel.signed(TurnNum::PREFUND) {
        return match channel.state(TurnNum::PREFUND, Amount::ZERO) {
            Some(state) if cx.may_sign => cx.sign(state),
            Some(_) | None => give_up_or_wait(cx, WaitingFor::Witness),
        };
    }
    if channel.unanimous(TurnNum::PREFUND).is_none() {
        return give_up_or_wait(cx, WaitingFor::CompletePrefund);
    }
    let hasty = cx.config.mutant("postfund-before-guarantees");
    if !cx.is_guaranteed() && !hasty {
        return give_up_or_wait(cx, WaitingFor::Guarantees);
    }
    if !channel.signed(TurnNum::POSTFUND) {
        return match channel.state(TurnNum::POSTFUND, Amount::ZERO) {
            Some(state) if cx.may_sign => cx.sign(state),
            Some(_) | None => give_up_or_wait(cx, WaitingFor::Witness),
        };
    }
    // A hub has nothing to wait for: it neither pays nor serves on the strength of the others' signatures.
    let ends = channel.is_payer() || channel.is_payee();
    if ends && channel.unanimous(TurnNum::POSTFUND).is_none() {
        return give_up_or_wait(cx, WaitingFor::CompletePostfund);
    }
    Crank::Emit(Event::ObjectiveCompleted { id: cx.id(ObjectiveKind::VirtualFund) })
}

/// Waits for the others, but not for ever. Without a unanimous prefund nothing of ours can be locked and the objective is dropped;
/// with one somebody may have locked money already, and the channel is closed with nothing paid.
fn give_up_or_wait(cx: &VirtualContext<'_>, waiting: WaitingFor) -> Crank {
    if !cx.is_silent() || cx.recovering || cx.config.mutant("no-unwind") {
        return Crank::Wait(waiting);
    }
    if cx.channel.unanimous(TurnNum::PREFUND).is_none() && !cx.may_be_guaranteed() {
        let id = cx.id(ObjectiveKind::VirtualFund);
        return Crank::Emit(Event::ObjectiveRejected { id, reason: RejectReason::TimedOut });
    }
    cx.approve(ObjectiveKind::VirtualDefund, Origin::Timeout)
}
