//! DirectFund: open a channel whose deposits lie on chain.
//!
//! Everyone signs the prefund before anyone risks money, deposits follow the order of the allocations, and the postfund is
//! signed on confirmed holdings alone.
//!
//! Source: go-nitro `directfund.Crank`, with these rules added: the amount is exactly target − confirmed holdings,
//! `expectedHeld` is that same figure, a silent peer ends in a rejection or a dispute, nothing is deposited into a used id.

use super::{Context, Crank, WaitingFor};
use crate::event::{Event, ObjectiveKind, Origin, RejectReason};
use crate::types::TurnNum;

/// The flowchart. The channel's DirectFund objective is live.
pub fn crank(cx: &Context<'_>) -> Crank {
    let channel = cx.channel;
    let id = cx.id(ObjectiveKind::DirectFund);
    let held = cx.confirmed.held;
    let hasty = cx.config.mutant("deposit-before-prefund");

    if channel.signed.is_none() {
        if !cx.may_sign {
            return give_up_or_wait(cx, WaitingFor::Witness);
        }
        return cx.sign(channel.state(TurnNum::PREFUND, channel.opening.clone(), false), None);
    }
    // The unanimous prefund is the way out if funding stalls: no deposit before it.
    if channel.supported.is_none() && !hasty {
        return give_up_or_wait(cx, WaitingFor::CompletePrefund);
    }
    // Deposit in allocation order, so that nobody funds a channel that pays others first.
    if held < channel.deposit_floor() && !cx.config.mutant("deposit-out-of-turn") {
        return give_up_or_wait(cx, WaitingFor::MyTurnToFund);
    }
    if held < channel.deposit_target() {
        return deposit(cx);
    }
    let counted = if cx.config.mutant("postfund-before-funding") { cx.head.held } else { held };
    if counted < channel.total() {
        return give_up_or_wait(cx, WaitingFor::CompleteFunding);
    }
    if channel.supported_turn() == Some(TurnNum::PREFUND)
        && channel.signed.is_some_and(|s| s.turn == TurnNum::PREFUND)
    {
        if !cx.may_sign {
            return give_up_or_wait(cx, WaitingFor::Witness);
        }
        return cx.sign(channel.state(TurnNum::POSTFUND, channel.opening.clone(), false), None);
    }
    let early = cx.config.mutant("open-before-postfund");
    if channel.supported_turn() < Some(TurnNum::POSTFUND) && !early {
        return give_up_or_wait(cx, WaitingFor::CompletePostfund);
    }
    Crank::Emit(Event::ObjectiveCompleted { id })
}

/// Wants exactly what is missing up to our own share, and wants it once for each figure of confirmed holdings.
fn deposit(cx: &Context<'_>) -> Crank {
    let channel = cx.channel;
    // The postfund is signed on confirmed deposits alone: ours was made before, whatever the chain has shown us so far.
    if channel.supported_turn() > Some(TurnNum::PREFUND) && !cx.head.concluded {
        return give_up_or_wait(cx, WaitingFor::CompleteFunding);
    }
    // A node that may have forgotten what it signed may have forgotten that the channel is over: money sent there is lost.
    if !cx.may_sign && !cx.head.concluded {
        return give_up_or_wait(cx, WaitingFor::Witness);
    }
    let mutant = cx.config.mutant("double-deposit-after-crash");
    let held = if mutant { cx.head.held } else { cx.confirmed.held };
    // An id that was ever concluded would accept its old states again: money sent there is lost.
    if cx.head.concluded || cx.confirmed.concluded {
        return cx.dispute(Origin::Violation);
    }
    let wanted = channel.deposit.is_some_and(|d| d.held_before == held);
    // Our deposit, or somebody's, is in and only has to be confirmed.
    let visible = cx.head.held >= channel.deposit_target() && !mutant;
    if wanted || visible {
        return give_up_or_wait(cx, WaitingFor::CompleteFunding);
    }
    let share = channel.balance(channel.my_index());
    let whole = mutant || cx.config.mutant("deposit-out-of-turn");
    let amount = if whole { share } else { channel.deposit_target().saturating_sub(held) };
    if amount.is_zero() {
        return give_up_or_wait(cx, WaitingFor::CompleteFunding);
    }
    assert!(amount <= share, "deposit of {amount} exceeds our share of {share}");
    Crank::Emit(Event::DepositWanted { channel: channel.id, held_before: held, amount })
}

/// Waits for the peer, but not for ever: with money at stake the chain decides, without any the objective is dropped.
fn give_up_or_wait(cx: &Context<'_>, waiting: WaitingFor) -> Crank {
    // In recovery we do not know what is at stake: the user may force the end, nobody else.
    if !cx.peer_is_silent() || cx.recovering {
        return Crank::Wait(waiting);
    }
    // A deposit that we wanted may still be mined, whatever we see now.
    if cx.channel.deposit.is_some() && !cx.config.mutant("abandons-deposit") {
        return cx.dispute(Origin::Timeout);
    }
    let id = cx.id(ObjectiveKind::DirectFund);
    Crank::Emit(Event::ObjectiveRejected { id, reason: RejectReason::TimedOut })
}
