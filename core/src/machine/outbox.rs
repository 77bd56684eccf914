//! Wishes: what the state says must reach the world, again and again until the state says that it has.
//!
//! A wish is derived, never stored in the log: after a crash the replayed state yields the same ones. `NodeState` keeps them in an
//! index that `apply` maintains; a test compares it with a recomputation.

use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::chain_view::{OnChain, OnChainStatus};
use crate::channel::{Channel, Phase, balance_in, guaranteed_in, holds_guarantee, slot_in};
use crate::effect::Want;
use crate::event::{MessageKey, Origin, WantedTx};
use crate::nitro::adjudicator::ReclaimArgs;
use crate::nitro::{Call, Claim, Outcome, SignedState};
use crate::objective::{Objective, Virtuals, dispute};
use crate::types::{ChannelId, TurnNum};
use crate::wire::{StateClaim, Wire};

/// What the wishes of a channel depend on.
pub struct Sources<'a> {
    /// The channel.
    pub channel: &'a Channel,
    /// The contract at the head.
    pub head: &'a OnChain,
    /// Its objectives.
    pub fund: Option<&'a Objective>,
    /// Its objectives.
    pub defund: Option<&'a Objective>,
    /// Its objectives.
    pub dispute: Option<&'a Objective>,
    /// The virtual channels that it may guarantee.
    pub virtuals: Virtuals<'a>,
}

/// All wishes of one channel, in order; `sent` are its [`messages`].
pub fn wishes(of: &Sources<'_>, sent: &[MessageKey]) -> Vec<Want> {
    let open = sent.iter().filter(|key| !of.channel.acked.contains(*key));
    let mut wants: Vec<Want> = open.copied().map(Want::Message).collect();
    if wants_deposit(of) {
        wants.push(Want::Deposit);
    }
    let outcomes = OnceCell::new();
    let live = of.channel.txs.iter().filter(|tx| tx_is_live(of, tx, &outcomes));
    wants.extend(live.cloned().map(Want::Tx));
    wants
}

/// What the peer should hear, acknowledged or not.
pub fn messages(of: &Sources<'_>) -> Vec<MessageKey> {
    let channel = of.channel;
    if channel.phase >= Phase::Disputed {
        return Vec::new();
    }
    let mine = |s: &&SignedState| s.signed_by(channel.my_index());
    let states = channel.supported.iter().chain(channel.pending.values()).filter(mine);
    let mut keys: Vec<MessageKey> = states.map(|s| MessageKey::State(s.turn())).collect();
    if channel.is_leader() {
        return keys;
    }
    if channel.phase <= Phase::Closing {
        keys.extend(channel.updates.iter().map(|u| MessageKey::UpdateRequest(u.id)));
    }
    let asked = of.defund.is_some_and(|o| o.is_live() && o.origin == Origin::User);
    // What was accepted before is carried out before the channel closes.
    if asked
        && channel.updates.is_empty()
        && channel.supported.as_ref().is_some_and(|s| !s.state().is_final)
    {
        keys.push(MessageKey::CloseRequest);
    }
    keys
}

fn wants_deposit(of: &Sources<'_>) -> bool {
    let live = of.fund.is_some_and(Objective::is_live);
    // Once the holdings moved, the contract would revert this deposit; a new decision follows when they are confirmed.
    live && !of.head.concluded && of.channel.deposit.is_some_and(|d| d.held_before == of.head.held)
}

/// Whether a transaction can still do what it was wanted for. Independent of time, so that it changes with facts alone. `outcomes` keeps
/// what the contract may hold: reading that anew for each of very many guarantees takes seconds.
fn tx_is_live(of: &Sources<'_>, tx: &WantedTx, outcomes: &OnceCell<Vec<Outcome>>) -> bool {
    let supported = of.channel.supported_turn();
    let status = &of.head.status;
    match tx {
        WantedTx::Challenge { turn, .. } => {
            let disputed = of.dispute.is_some_and(Objective::is_live);
            let raises = match status {
                OnChainStatus::Untouched => true,
                OnChainStatus::Recorded(record) => record <= turn,
                OnChainStatus::Challenged(c) => c.turn < *turn,
                OnChainStatus::Concluded(_) => false,
            };
            disputed && raises && supported == Some(*turn) && !of.head.concluded
        }
        WantedTx::Checkpoint { turn } => {
            let stale = matches!(status, OnChainStatus::Challenged(c) if c.turn < *turn);
            stale && supported == Some(*turn) && !of.head.concluded
        }
        WantedTx::Conclude => {
            let is_final = of.channel.supported.as_ref().is_some_and(|s| s.state().is_final);
            is_final && !of.head.concluded
        }
        WantedTx::TransferAll => {
            let over = matches!(status, OnChainStatus::Challenged(_) | OnChainStatus::Concluded(_));
            over && !of.head.held.is_zero() && !of.channel.txs.contains(&WantedTx::TransferMine)
        }
        WantedTx::TransferMine => {
            let over = matches!(status, OnChainStatus::Challenged(_) | OnChainStatus::Concluded(_));
            let given_up = of.dispute.is_some_and(|o| !o.is_live());
            let paid = dispute::mine_is_paid(of.head, of.channel, &of.virtuals);
            over && !given_up && !of.head.held.is_zero() && !paid
        }
        WantedTx::Reclaim { target } => {
            let over = matches!(status, OnChainStatus::Challenged(_) | OnChainStatus::Concluded(_));
            let read = || dispute::outcomes_now(of.head, of.channel, &of.virtuals);
            over && outcomes
                .get_or_init(read)
                .iter()
                .any(|o| is_next_reclaim(of.channel, o, *target))
        }
        // Of a virtual channel.
        WantedTx::Redeem { .. } => false,
    }
}

/// The message that fulfils a wish, with our own signature alone: its content never changes.
pub fn message(channel: &Channel, key: MessageKey) -> Option<Wire> {
    match key {
        MessageKey::State(turn) => {
            let signed = state_at(channel, turn)?;
            let sig = signed.sigs().get(&channel.me)?;
            let state = signed.state().clone();
            Some(Wire::State(StateClaim { state, sigs: alloc::vec![(channel.me, *sig)] }))
        }
        MessageKey::UpdateRequest(id) => {
            let update = channel.updates.iter().find(|u| u.id == id && u.payer == channel.me)?;
            Some(Wire::UpdateRequest { channel: channel.id, id, amount: update.amount })
        }
        MessageKey::CloseRequest => Some(Wire::CloseRequest { channel: channel.id }),
        // Of a virtual channel.
        MessageKey::StateTo(..) | MessageKey::FinalRequest | MessageKey::Voucher(_) => None,
    }
}

/// A ledger channel's state as it is sent again: with what its new guarantees rest on, in case that the peer lacks a third party's
/// signature. What we hold of it is unanimous, or we would not have proposed it.
pub fn proposal(of: &Sources<'_>, turn: TurnNum) -> Option<Wire> {
    let Some(Wire::State(claim_)) = message(of.channel, MessageKey::State(turn)) else {
        return None;
    };
    let expect = of.virtuals.expectations(of.channel);
    let rests_on = expect.keys().filter_map(|id| {
        let v = of.virtuals.all.get(id)?;
        let holds = holds_guarantee(&claim_.state.outcome, *id);
        let changes = holds != of.channel.guarantees(*id);
        let turn = if holds { TurnNum::PREFUND } else { TurnNum::VIRTUAL_FINAL };
        changes.then(|| v.unanimous(turn).map(claim)).flatten()
    });
    let evidence: Vec<StateClaim> = rests_on.take(EVIDENCE_MAX).collect();
    (!evidence.is_empty()).then_some(Wire::Proposal { claim: claim_, evidence })
}

/// Virtual channels whose states go with one proposal; a message has a limit, and who lacks more asks again.
pub const EVIDENCE_MAX: usize = 8;

/// The call that fulfils a wish, at the given attempt: where the chain can be read in several ways, each is tried in turn.
pub fn call(of: &Sources<'_>, want: &Want, attempt: u32) -> Option<Call> {
    let (channel, head) = (of.channel, of.head);
    let supported = || channel.supported.as_ref().map(Claim::from);
    let tx = match want {
        Want::Message(_) => return None,
        Want::Deposit => {
            let deposit = channel.deposit?;
            return Some(Call::Deposit {
                asset: channel.asset,
                channel: channel.id,
                expected_held: deposit.held_before,
                amount: deposit.amount,
            });
        }
        Want::Tx(tx) => tx,
    };
    match tx {
        WantedTx::Challenge { challenger_sig, .. } => Some(Call::Challenge {
            proof: Vec::new(),
            candidate: supported()?,
            challenger_sig: *challenger_sig,
        }),
        WantedTx::Checkpoint { .. } => {
            Some(Call::Checkpoint { proof: Vec::new(), candidate: supported()? })
        }
        // Where paying everybody reverts, concluding must not depend on it.
        WantedTx::Conclude if channel.txs.contains(&WantedTx::TransferMine) => {
            Some(Call::Conclude { candidate: supported()? })
        }
        WantedTx::Conclude => Some(Call::ConcludeAndTransferAllAssets { candidate: supported()? }),
        WantedTx::TransferAll | WantedTx::TransferMine => transfer(of, head, tx, attempt),
        WantedTx::Reclaim { target } => reclaim(of, *target, attempt),
        WantedTx::Redeem { .. } => None,
    }
}

fn transfer(of: &Sources<'_>, head: &OnChain, tx: &WantedTx, attempt: u32) -> Option<Call> {
    let channel = of.channel;
    // Where the payouts can be read in several ways, first those that leave us something. Paying everybody is tried with each in turn:
    // the contract takes the one that is true, and where that is one in which we were paid, the others get theirs and it is over.
    let mut left = dispute::outcomes_now(head, channel, &of.virtuals);
    left.sort_by_key(|o| balance_in(o, channel.my_index()).is_zero());
    if *tx == WantedTx::TransferMine {
        left.retain(|o| !balance_in(o, channel.my_index()).is_zero());
    }
    let turns = usize::try_from(attempt).ok()?;
    let outcome = left.swap_remove(turns.checked_rem(left.len())?);
    let (id, state_hash) = (channel.id, finalized_hash(head));
    Some(if *tx == WantedTx::TransferMine {
        let slot = slot_in(&outcome, channel.my_index())?;
        let indices = alloc::vec![u64::try_from(slot).ok()?];
        Call::Transfer { asset_index: 0, channel: id, outcome, state_hash, indices }
    } else {
        Call::TransferAllAssets { channel: id, outcome, state_hash }
    })
}

/// Whether `target` is the first guarantee in `outcome` that we want to reclaim. One after the other: each call shows the contract the
/// whole outcome as the one before left it.
fn is_next_reclaim(channel: &Channel, outcome: &Outcome, target: ChannelId) -> bool {
    let wanted = |target: &ChannelId| channel.txs.contains(&WantedTx::Reclaim { target: *target });
    guaranteed_in(outcome).find(wanted) == Some(target)
}

fn reclaim(of: &Sources<'_>, target: ChannelId, attempt: u32) -> Option<Call> {
    let mut outcomes = dispute::outcomes_now(of.head, of.channel, &of.virtuals);
    outcomes.retain(|o| is_next_reclaim(of.channel, o, target));
    let reading = reading(of.head, attempt, outcomes.len())?;
    let source_outcome = outcomes.swap_remove(reading);
    let exit = source_outcome.first()?;
    let index = exit.allocations.iter().position(|a| a.destination.0 == target.0)?;
    let (target_outcome, target_state_hash) =
        of.virtuals.targets(&source_outcome).remove(&target)?;
    Some(Call::Reclaim(ReclaimArgs {
        source_channel: of.channel.id,
        source_state_hash: finalized_hash(of.head),
        source_asset_index: 0,
        index_of_target_in_source: u64::try_from(index).ok()?,
        source_outcome,
        target_state_hash,
        target_outcome,
        target_asset_index: 0,
    }))
}

/// Which of `count` readings an attempt takes: each in turn, and every other time the one that calldata shows, since attempts made before
/// it was shown count too.
fn reading(head: &OnChain, attempt: u32, count: usize) -> Option<usize> {
    let attempt = usize::try_from(attempt).ok()?;
    if head.reclaimed.is_empty() {
        return attempt.checked_rem(count);
    }
    let others = count.checked_sub(1)?;
    let other = (attempt / 2).checked_rem(others).map_or(0, |turn| turn + 1);
    Some(if attempt % 2 == 0 { 0 } else { other })
}

/// The hash that the contract keeps with a finalized outcome; zero after `conclude`.
fn finalized_hash(head: &OnChain) -> alloy_primitives::B256 {
    match &head.status {
        OnChainStatus::Challenged(c) => c.state_hash,
        OnChainStatus::Untouched | OnChainStatus::Recorded(_) | OnChainStatus::Concluded(_) => {
            Default::default()
        }
    }
}

/// A state that we still hold.
pub fn state_at(channel: &Channel, turn: TurnNum) -> Option<&SignedState> {
    channel.pending.get(&turn).or(channel.supported.as_ref().filter(|s| s.turn() == turn))
}

/// A state with everybody's signatures, for a peer that asks what we know.
pub fn claim(signed: &SignedState) -> StateClaim {
    let sigs = signed.sigs().iter().map(|(i, s)| (*i, *s)).collect();
    StateClaim { state: signed.state().clone(), sigs }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Goal: what calldata shows is tried first and again and again, and every other reading has its turn: it may be a lie.
    #[test]
    fn every_other_attempt_takes_the_reading_that_calldata_shows() {
        let unread = OnChain::default();
        let shown = OnChain { reclaimed: vec![ChannelId::default()], ..OnChain::default() };
        for (name, head, count, expected) in [
            ("nothing is shown", &unread, 3, [0, 1, 2, 0, 1, 2]),
            ("something is", &shown, 3, [0, 1, 0, 2, 0, 1]),
            ("there is no other", &shown, 1, [0; 6]),
        ] {
            let taken: Vec<_> = (0..6).map(|attempt| reading(head, attempt, count)).collect();
            assert_eq!(taken, expected.map(Some), "{name}");
        }
        assert_eq!([&unread, &shown].map(|head| reading(head, 0, 0)), [None; 2]);
    }
}
