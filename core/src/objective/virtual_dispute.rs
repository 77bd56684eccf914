//! Dispute over a virtual channel: have the chain say what was paid, then have every ledger channel follow.
//!
//! ```text
//! somebody challenges ─> the payee redeems its largest voucher ─> finalized ─> ledger channels give the guarantee back in
//!                        an agreed final state concludes at once               agreement, or are disputed and reclaim
//! ```
//!
//! Nothing here signs what could be signed twice: a challenge is over a state that everybody signed, and the redemption is signed once,
//! because no voucher is taken any more once the channel is disputed.
//!
//! Source: `VirtualPaymentApp.sol`, `MultiAssetHolder.reclaim`. go-nitro has no such layer.

use super::{Crank, VirtualContext, WaitingFor};
use crate::channel::Phase;
use crate::event::{Event, ObjectiveKind, Origin, RejectReason, WantedTx};
use crate::nitro::SignedState;
use crate::nitro::sign::challenge_hash;
use crate::types::TurnNum;

/// What makes a dispute of ours necessary, whatever the channel is about: somebody went to the chain with it, or with a ledger channel
/// that guarantees it.
///
/// # Danger
/// A payee who does not redeem before the challenge ends loses every voucher.
pub fn defend(cx: &VirtualContext<'_>) -> Option<Crank> {
    if cx.objective(ObjectiveKind::Dispute).is_some() || cx.channel.states.is_empty() {
        return None;
    }
    let at_stake = cx.channel.phase != Phase::Finished || cx.may_be_guaranteed();
    let challenged =
        cx.head.running_challenge(cx.chain_now).is_some() || cx.head.is_finalized(cx.chain_now);
    let begins =
        (challenged && at_stake) || cx.ledger_is_over() && !cx.config.mutant("ledger-end-unheeded");
    begins.then(|| cx.approve(ObjectiveKind::Dispute, Origin::Violation))
}

/// The flowchart. The channel's Dispute objective is live.
pub fn crank(cx: &VirtualContext<'_>) -> Crank {
    for kind in [ObjectiveKind::VirtualFund, ObjectiveKind::VirtualDefund] {
        if cx.live(kind).is_some() {
            let (id, reason) = (cx.id(kind), RejectReason::Disputed);
            return Crank::Emit(Event::ObjectiveRejected { id, reason });
        }
    }
    let done = Crank::Emit(Event::ObjectiveCompleted { id: cx.id(ObjectiveKind::Dispute) });
    if cx.channel.unanimous(TurnNum::PREFUND).is_none() || cx.is_released() {
        return done;
    }
    if cx.head.is_finalized(cx.chain_now) {
        return release(cx);
    }
    decide(cx)
}

/// The outcome is final: ledger channels give the guarantee back in agreement, or are disputed in their turn.
fn release(cx: &VirtualContext<'_>) -> Crank {
    // Silence is counted from the end of the challenge: nobody could give anything back before.
    let decided_for = cx.chain_now.0.saturating_sub(cx.head.finalizes_at().map_or(0, |at| at.0));
    let waited = decided_for.saturating_mul(1_000) >= cx.config.silence_ms;
    if waited
        && cx.is_silent()
        && !cx.recovering
        && !cx.config.mutant("release-not-forced")
        && let Some(ledger) = cx.holding_ledgers().find(|l| l.phase < Phase::Disputed)
    {
        return cx.dispute_ledger(ledger.id, Origin::Timeout);
    }
    Crank::Wait(WaitingFor::Release)
}

/// The outcome is not final: bring the best that we hold before the contract.
fn decide(cx: &VirtualContext<'_>) -> Crank {
    let channel = cx.channel;
    if channel.unanimous(TurnNum::VIRTUAL_FINAL).is_some() {
        return cx.want(WantedTx::Conclude, WaitingFor::ChallengeMined);
    }
    let running = cx.head.running_challenge(cx.chain_now);
    if let Some(redeem) = redemption(cx)
        && running.is_none_or(|c| c.turn < TurnNum::REDEMPTION)
    {
        return cx.want(redeem, WaitingFor::ChallengeMined);
    }
    if running.is_some() {
        return Crank::Wait(WaitingFor::ChallengeEnd);
    }
    let mut turns = [TurnNum::POSTFUND, TurnNum::PREFUND];
    if cx.config.mutant("challenges-with-prefund") {
        turns.reverse();
    }
    let best = turns.into_iter().find_map(|t| channel.unanimous(t));
    let Some(best) = best else { return Crank::Wait(WaitingFor::ChallengeMined) };
    let turn = SignedState::turn(best);
    let already = |tx: &WantedTx| matches!(tx, WantedTx::Challenge { turn: t, .. } if *t == turn);
    if channel.txs.iter().any(already) {
        return Crank::Wait(WaitingFor::ChallengeMined);
    }
    let challenger_sig = cx.key.sign(challenge_hash(best.hash()));
    cx.want(WantedTx::Challenge { turn, challenger_sig }, WaitingFor::ChallengeMined)
}

/// Our largest voucher, made ready for the contract; the one that we made ready before, if we did.
fn redemption(cx: &VirtualContext<'_>) -> Option<WantedTx> {
    let channel = cx.channel;
    let before = channel.txs.iter().find(|t| matches!(t, WantedTx::Redeem { .. }));
    if let Some(before) = before {
        return Some(before.clone());
    }
    let careless = cx.config.mutant("virtual-challenge-unanswered");
    if !channel.is_payee() || channel.unanimous(TurnNum::POSTFUND).is_none() || careless {
        return None;
    }
    let voucher = channel.voucher?;
    let hash = channel.redemption(&voucher)?.hash_in(channel.id);
    let (sig, challenger_sig) = (cx.key.sign(hash), cx.key.sign(challenge_hash(hash)));
    Some(WantedTx::Redeem { voucher, sig, challenger_sig })
}
