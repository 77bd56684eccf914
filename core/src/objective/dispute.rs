//! Dispute: defend a channel against old states, and close it alone.
//!
//! Nothing here signs a new state. A challenge is signed over a state that every participant signed before, so even a node that
//! may have forgotten signatures can defend itself.
//!
//! Source: `ForceMove.sol` (challenge, checkpoint), `MultiAssetHolder.sol` (transferAllAssets, transfer). go-nitro has no such
//! layer: it never answers a challenge.

use alloc::vec;
use alloc::vec::Vec;

use super::{Context, Crank, Targets, Virtuals, WaitingFor};
use crate::chain_view::{OnChain, OnChainStatus};
use crate::channel::{Channel, Phase, balance_in, guaranteed_in};
use crate::event::{Event, ObjectiveKind, Origin, RejectReason, WantedTx};
use crate::nitro::Outcome;
use crate::nitro::adjudicator::compute_reclaim;
use crate::nitro::sign::challenge_hash;
use crate::types::{Amount, ChannelId};

/// Answers an old challenge at once, on the unconfirmed head: answering early is free of risk, answering late is not.
///
/// # Danger
/// An answer that is not mined before the challenge ends loses everything that was paid to us since the challenged state.
pub fn defend(cx: &Context<'_>) -> Option<Event> {
    let channel = cx.channel;
    let supported = channel.supported.as_ref()?;
    let challenge = cx.head.running_challenge(cx.chain_now)?;
    if supported.turn() <= challenge.turn || cx.config.mutant("challenge-unanswered") {
        return None;
    }
    let last_second = challenge.finalizes_at.0 <= cx.chain_now.0.saturating_add(1);
    if cx.config.mutant("answer-off-by-one") && !last_second {
        return None;
    }
    let tx = WantedTx::Checkpoint { turn: supported.turn() };
    (!channel.txs.contains(&tx)).then_some(Event::TxWanted { channel: channel.id, tx })
}

/// The flowchart. The channel's Dispute objective is live.
pub fn crank(cx: &Context<'_>) -> Crank {
    let channel = cx.channel;
    let id = cx.id(ObjectiveKind::Dispute);

    // The cooperative objectives end where the chain decides.
    for kind in [ObjectiveKind::DirectFund, ObjectiveKind::DirectDefund] {
        if cx.live(kind).is_some() {
            let (id, reason) = (cx.id(kind), RejectReason::Disputed);
            return Crank::Emit(Event::ObjectiveRejected { id, reason });
        }
    }
    if is_settled(cx) {
        return Crank::Emit(Event::ObjectiveCompleted { id });
    }
    if cx.head.is_finalized(cx.chain_now) {
        return collect(cx);
    }
    let Some(supported) = &channel.supported else {
        // Without a unanimous state nobody can have deposited by the rules: nothing can be lost and nothing enforced.
        return Crank::Emit(Event::ObjectiveCompleted { id });
    };
    if supported.state().is_final {
        return want(cx, WantedTx::Conclude, WaitingFor::Withdraw);
    }
    if let Some(challenge) = cx.head.running_challenge(cx.chain_now) {
        return Crank::Wait(if challenge.turn >= supported.turn() {
            WaitingFor::ChallengeEnd
        } else {
            WaitingFor::ChallengeMined
        });
    }
    let turn = supported.turn();
    let already = |tx: &WantedTx| matches!(tx, WantedTx::Challenge { turn: t, .. } if *t == turn);
    if channel.txs.iter().any(already) {
        return Crank::Wait(WaitingFor::ChallengeMined);
    }
    let challenger_sig = cx.key.sign(challenge_hash(supported.hash()));
    want(cx, WantedTx::Challenge { turn, challenger_sig }, WaitingFor::ChallengeMined)
}

/// A channel that should be over: if the contract still holds something for it, collect.
pub fn crank_finished(cx: &Context<'_>) -> Crank {
    let leftover = cx.head.is_finalized(cx.chain_now) && !cx.head.held.is_zero();
    if leftover && !is_settled(cx) && cx.channel.supported.is_some() {
        return collect(cx);
    }
    Crank::Wait(WaitingFor::Nothing)
}

/// Wants the payout of a finalized channel: first every guarantee reclaimed, because nothing is paid before that.
fn collect(cx: &Context<'_>) -> Crank {
    let assumed = cx.config.mutant("payout-assumed-mine") && !cx.head.payouts.is_empty();
    if cx.head.held.is_zero() || mine_is_paid(cx.head, cx.channel, &cx.virtuals) || assumed {
        return Crank::Wait(WaitingFor::Withdraw);
    }
    if let Some(crank) = reclaim(cx) {
        return crank;
    }
    let tx = if cx.channel.txs.contains(&WantedTx::TransferMine) {
        WantedTx::TransferMine
    } else {
        WantedTx::TransferAll
    };
    want(cx, tx, WaitingFor::Withdraw)
}

/// Turns the guarantees of a finalized channel into what their virtual channels say, as far as the chain has decided those; `None`
/// when no guarantee is left.
///
/// # Danger
/// A guarantee that is never reclaimed locks the money of both parties.
fn reclaim(cx: &Context<'_>) -> Option<Crank> {
    let outcomes = outcomes_now(cx.head, cx.channel, &cx.virtuals);
    let mut left = outcomes.iter().flat_map(guaranteed_in).peekable();
    left.peek()?;
    if cx.config.mutant("reclaim-forgotten") {
        return None;
    }
    let decided = finalized_outcome(cx.head, cx.channel).map(|o| cx.virtuals.targets(&o));
    let is_decided = |target: &ChannelId| decided.as_ref().is_some_and(|d| d.contains_key(target));
    let wanted =
        |target: &ChannelId| cx.channel.txs.contains(&WantedTx::Reclaim { target: *target });
    let next = left.find(|target| is_decided(target) && !wanted(target));
    Some(match next {
        Some(target) => want(cx, WantedTx::Reclaim { target }, WaitingFor::Release),
        None => Crank::Wait(WaitingFor::Release),
    })
}

/// What the contract may hold of the finalized outcome now, the likeliest first; empty when no outcome is known.
///
/// The log of a reclaim does not say which guarantee it was, and that of a payout does not say to whom: every reading that explains
/// what is seen counts. The one that calldata shows is the likeliest; it is the endpoint's word, so that the others stay.
pub fn outcomes_now(view: &OnChain, channel: &Channel, virtuals: &Virtuals<'_>) -> Vec<Outcome> {
    let Some(finalized) = finalized_outcome(view, channel) else { return Vec::new() };
    let readings = Reclaims::of(virtuals.targets(&finalized), &finalized, view);
    if view.payouts.is_empty() && !readings.is_empty() {
        return readings;
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for reclaimed in readings {
        for outcome in view.outcomes_left(&reclaimed) {
            if !outcomes.contains(&outcome) {
                outcomes.push(outcome);
            }
        }
    }
    if outcomes.is_empty() { vec![finalized] } else { outcomes }
}

/// What reclaims of decided guarantees may have left: first what their calldata shows, then what follows if they were made in order, as
/// ours are.
///
/// # Danger
/// Where no calldata was shown, a peer that reclaims many guarantees out of order can leave an outcome that is not among the readings
/// tried; then nothing is paid out to either side.
struct Reclaims {
    targets: Targets,
    readings: Vec<Outcome>,
    steps: usize,
}

impl Reclaims {
    /// Every reading that is tried, each once.
    fn of(targets: Targets, finalized: &Outcome, view: &OnChain) -> Vec<Outcome> {
        let mut reclaims = Reclaims { targets, readings: Vec::new(), steps: 0 };
        let (shown, others) = reclaims.shown(finalized, view);
        reclaims.read(&shown, others, 0);
        if view.reclaimed.is_empty() {
            // Each leaves other guarantees, so no two are equal.
            return reclaims.readings;
        }
        let mut readings = core::mem::take(&mut reclaims.readings);
        reclaims.steps = 0;
        reclaims.read(finalized, view.reclaims, 0);
        for reading in reclaims.readings {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        readings
    }

    /// What the reclaims left whose guarantees calldata showed, and how many there were beside them.
    fn shown(&mut self, finalized: &Outcome, view: &OnChain) -> (Outcome, u32) {
        let (mut outcome, mut others) = (finalized.clone(), view.reclaims);
        for target in &view.reclaimed {
            let slot = guaranteed_in(&outcome).position(|id| id == *target);
            // What is not guaranteed, or not decided, was never reclaimed: the endpoint is mistaken.
            if let Some(next) = slot.and_then(|slot| self.reclaim(&outcome, slot, target))
                && let Some(fewer) = others.checked_sub(1)
            {
                (outcome, others) = (next, fewer);
            }
        }
        (outcome, others)
    }

    /// What the reclaim of one guarantee leaves.
    fn reclaim(&mut self, outcome: &Outcome, slot: usize, target: &ChannelId) -> Option<Outcome> {
        if self.steps >= STEPS_MAX {
            return None;
        }
        self.steps += 1;
        let exit = outcome.first()?;
        let (decided, _) = self.targets.get(target)?;
        let parts = &decided.first()?.allocations;
        let allocations = compute_reclaim(&exit.allocations, parts, slot as u64).ok()?;
        let mut next = outcome.clone();
        next.first_mut()?.allocations = allocations;
        Some(next)
    }

    /// Collects every outcome that `count` reclaims may have left, guarantees before position `from` untouched.
    fn read(&mut self, outcome: &Outcome, count: u32, from: usize) {
        let Some(count) = count.checked_sub(1) else { return self.readings.push(outcome.clone()) };
        let guaranteed: Vec<ChannelId> = guaranteed_in(outcome).collect();
        for (slot, target) in guaranteed.iter().enumerate().skip(from) {
            let enough = guaranteed.len() - slot > usize::try_from(count).unwrap_or(usize::MAX);
            if !enough || self.readings.len() >= READINGS_MAX || self.steps >= STEPS_MAX {
                return;
            }
            if let Some(next) = self.reclaim(outcome, slot, target) {
                self.read(&next, count, slot);
            }
        }
    }
}

/// Readings of a finalized outcome that are tried.
const READINGS_MAX: usize = 64;

/// Reclaims that are computed to find them: the peer chooses how many guarantees there are, and this runs at every event.
const STEPS_MAX: usize = 1_024;

/// Whether the channel is over and nothing more can come to us.
fn is_settled(cx: &Context<'_>) -> bool {
    let over = cx.confirmed.is_finalized(cx.chain_now) || cx.confirmed.concluded;
    over && (cx.confirmed.held.is_zero() || mine_is_paid(cx.confirmed, cx.channel, &cx.virtuals))
}

/// Whether the contract owes us nothing any more, however its payouts are read.
///
/// # Danger
/// If a payout that may have been the peer's counted as ours, we would leave our money where it is.
pub fn mine_is_paid(view: &OnChain, channel: &Channel, virtuals: &Virtuals<'_>) -> bool {
    !view.payouts.is_empty()
        && left_for_me(view, channel, virtuals).iter().all(|left| left.is_zero())
}

/// Whether every reading of the payouts but `refuted` means that we were paid.
pub fn mine_is_paid_unless(
    view: &OnChain,
    channel: &Channel,
    virtuals: &Virtuals<'_>,
    refuted: &Outcome,
) -> bool {
    let outcomes = outcomes_now(view, channel, virtuals);
    let mut others = outcomes.iter().filter(|o| *o != refuted).peekable();
    !view.payouts.is_empty()
        && others.peek().is_some()
        && others.all(|o| balance_in(o, channel.my_index()).is_zero())
}

/// What every reading of the payouts leaves for us.
fn left_for_me(view: &OnChain, channel: &Channel, virtuals: &Virtuals<'_>) -> Vec<Amount> {
    let outcomes = outcomes_now(view, channel, virtuals);
    // Unknown is not paid.
    if outcomes.is_empty() {
        return vec![channel.total()];
    }
    outcomes.iter().map(|o| balance_in(o, channel.my_index())).collect()
}

/// The outcome that was finalized: the challenge's, or the one that we agreed to close with.
pub fn finalized_outcome(view: &OnChain, channel: &Channel) -> Option<Outcome> {
    match &view.status {
        OnChainStatus::Challenged(c) => Some(c.outcome.clone()),
        OnChainStatus::Untouched | OnChainStatus::Recorded(_) | OnChainStatus::Concluded(_) => {
            channel.supported.as_ref().map(|s| s.state().outcome.clone())
        }
    }
}

/// The virtual channels that the challenged state guarantees: it may be older than ours, and is final once the challenge ends.
pub fn guaranteed_on_chain(view: &OnChain) -> impl Iterator<Item = ChannelId> + '_ {
    let challenged = match &view.status {
        OnChainStatus::Challenged(c) => Some(&c.outcome),
        OnChainStatus::Untouched | OnChainStatus::Recorded(_) | OnChainStatus::Concluded(_) => None,
    };
    challenged.into_iter().flat_map(guaranteed_in)
}

fn want(cx: &Context<'_>, tx: WantedTx, waiting: WaitingFor) -> Crank {
    if cx.channel.txs.contains(&tx) {
        return Crank::Wait(waiting);
    }
    Crank::Emit(Event::TxWanted { channel: cx.channel.id, tx })
}

/// Our key signed two states of one turn: this node never signs here again, so no cooperation can end. Not in recovery, when we may
/// learn yet of a newer state.
pub fn after_contradiction(cx: &Context<'_>) -> Option<Crank> {
    let ends = cx.channel.phase < Phase::Disputed
        && !cx.recovering
        && cx.channel.contradicts_itself()
        && cx.objective(ObjectiveKind::Dispute).is_none();
    ends.then(|| cx.dispute(Origin::Violation))
}

/// The peer, or its backup, played an old state: the cooperation ends. Also when it challenges with the newest one and lets us
/// wait: only the chain decides from here.
pub fn after_answer(cx: &Context<'_>) -> Option<Crank> {
    let answered = cx.channel.txs.iter().any(|t| matches!(t, WantedTx::Checkpoint { .. }));
    let challenged = cx.confirmed.running_challenge(cx.chain_now).is_some();
    let cooperates = cx.channel.phase < Phase::Disputed;
    (cooperates && (answered || challenged) && cx.objective(ObjectiveKind::Dispute).is_none())
        .then(|| cx.dispute(Origin::Violation))
}

/// Somebody finalized the channel while we were away or still opening it: see to the payout.
pub fn after_foreign_end(cx: &Context<'_>) -> Option<Crank> {
    let over = cx.confirmed.is_finalized(cx.chain_now);
    let unattended = matches!(cx.channel.phase, Phase::Opening | Phase::Open)
        && cx.objective(ObjectiveKind::Dispute).is_none();
    (over && unattended).then(|| cx.dispute(Origin::Violation))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::channel::testkit::*;
    use crate::ledger::{Guarantee, Layout};
    use crate::types::Address;
    use crate::virtual_channel;

    /// Goal: a peer that finalizes a state with many guarantees cannot have us try every way in which they may have been reclaimed.
    /// Method: the chain has decided half of 24 guarantees and shows one reclaim more than those explain.
    #[test]
    fn the_reclaims_that_are_tried_are_bounded() {
        let [left, right] = terms().participants;
        let guarantee = |n| {
            let target = ChannelId(B256::repeat_byte(n));
            (target, Guarantee { target, amount: wei(1), left, right })
        };
        let mut finalized = Layout::of(&state(5, [12, 8]).outcome, [left, right]).unwrap();
        finalized.guarantees = (1..=24).map(guarantee).collect();
        let unpaid = virtual_channel::outcome(&[left, right], Address::ZERO, wei(1), wei(0));
        let decided = (unpaid.unwrap(), B256::ZERO);
        let targets = (1..=12).map(|n| (guarantee(n).0, decided.clone())).collect();
        let mut reclaims = Reclaims { targets, readings: Vec::new(), steps: 0 };
        reclaims.read(&finalized.outcome(), 13, 0);
        assert_eq!(reclaims.steps, STEPS_MAX);
        assert_eq!(reclaims.readings, Vec::<Outcome>::new());
    }
}
