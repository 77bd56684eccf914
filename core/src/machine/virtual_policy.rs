//! What we agree to when a virtual channel is asked for, and on which ledger channel of ours it is to stand.

use alloc::format;

use crate::channel::{Channel, Phase};
use crate::config::Config;
use crate::effect::Refusal;
use crate::event::VirtualTerms;
use crate::machine::NodeState;
use crate::types::{Address, Amount, ChannelId, Timestamp};
use crate::virtual_channel::VirtualChannel;

/// Whether we take part in a virtual channel that its payer proposes; the ledger channel to our right, where we are not the payee.
///
/// # Errors
/// The first rule that says no.
pub fn check_virtual_proposal(
    state: &NodeState,
    config: &Config,
    now: Timestamp,
    terms: &VirtualTerms,
    me: Address,
) -> Result<Option<ChannelId>, Refusal> {
    let policy = &config.policy;
    let no = |why: alloc::string::String| Err(Refusal::Policy(why));
    let index = terms.participants.iter().position(|p| *p == me);
    let Some(left) = index.and_then(|i| i.checked_sub(1)).and_then(|i| terms.participants.get(i))
    else {
        return no("we are not among those whom a payer may ask".into());
    };
    if terms.amount > policy.virtual_amount_max {
        return no(format!("an amount of {} exceeds {}", terms.amount, policy.virtual_amount_max));
    }
    if !policy.peers.is_empty() && !policy.peers.contains(left) {
        return no(format!("{left} is not on the list of peers"));
    }
    // What the payer's side of the ledger holds is its own affair: it pays for the guarantee, or the proposal times out.
    if !ledgers(state, *left, terms.asset).any(|_| true) {
        return no(format!("we have no open ledger channel with {left}"));
    }
    let payer = terms.participants.first();
    let limit = policy.virtuals_per_payer_max;
    const DAY_MS: u64 = 24 * 3_600 * 1_000;
    // One that came to nothing stays on record, because its prefund carries our signature: it counts for a day.
    let counts = |v: &&VirtualChannel| {
        let failed = v.unanimous(crate::types::TurnNum::POSTFUND).is_none();
        v.phase != Phase::Finished || failed && now.since_ms(v.progress_at) < DAY_MS
    };
    let of_payer =
        state.virtual_channels().filter(|v| Some(&v.payer()) == payer).filter(counts).count();
    if of_payer as u64 >= limit {
        return Err(Refusal::Limit { what: "virtual channels of this payer", limit });
    }
    check_unbacked(state, config, payer.copied().unwrap_or_default())?;
    check_virtual_terms(state, config, terms, me, None)
}

/// Anybody may name us in a prefund; only who shares a ledger channel with us has something to lose.
fn check_unbacked(state: &NodeState, config: &Config, payer: Address) -> Result<(), Refusal> {
    let unbacked = |v: &&VirtualChannel| {
        let left = v.my_index().checked_sub(1);
        let prefund = v.states.get(&crate::types::TurnNum::PREFUND);
        let backed = left.is_some_and(|left| prefund.is_some_and(|s| s.signed_by(left)));
        v.phase == Phase::Opening && left.is_some() && !backed
    };
    let all = state.virtual_channels().filter(unbacked).count() as u64;
    let of_payer = state.virtual_channels().filter(unbacked).filter(|v| v.payer() == payer).count();
    let policy = &config.policy;
    for (what, count, limit) in [
        ("unbacked virtual channels of this payer", of_payer as u64, policy.unbacked_per_payer_max),
        ("unbacked virtual channels", all, policy.unbacked_max),
    ] {
        if count >= limit && !config.mutant("unbacked-unlimited") {
            return Err(Refusal::Limit { what, limit });
        }
    }
    Ok(())
}

/// What holds for virtual channels that our own user asks for as well; `ledger` is its choice of ledger channel.
///
/// # Errors
/// The first rule that says no.
pub fn check_virtual_terms(
    state: &NodeState,
    config: &Config,
    terms: &VirtualTerms,
    me: Address,
    ledger: Option<ChannelId>,
) -> Result<Option<ChannelId>, Refusal> {
    let policy = &config.policy;
    let no = |why: alloc::string::String| Err(Refusal::Policy(why));
    let participants = &terms.participants;
    let hops = participants.len().saturating_sub(2) as u64;
    if participants.len() < 2 || hops > policy.hops_max {
        return no(format!(
            "{hops} intermediaries; at least a payer and a payee, at most {}",
            policy.hops_max
        ));
    }
    let repeats = |(i, p): (usize, &Address)| participants.iter().skip(i + 1).any(|q| q == p);
    if participants.iter().enumerate().any(repeats) {
        return no("a virtual channel needs different participants".into());
    }
    // The deployed application judges no other asset.
    if !terms.asset.is_zero() {
        return no(format!("asset {}: virtual channels hold the native token alone", terms.asset));
    }
    if terms.amount.is_zero() {
        return no("an amount of zero pays nothing".into());
    }
    let range = config.challenge_durations(state.pins().map_or(0, |p| p.confirmations));
    if !range.contains(&terms.challenge_duration) {
        return no(format!(
            "challenge duration of {} s is outside {} to {} s",
            terms.challenge_duration,
            range.start(),
            range.end()
        ));
    }
    if state.live_objectives() >= policy.objectives_max {
        return Err(Refusal::Limit { what: "unfinished objectives", limit: policy.objectives_max });
    }
    let index = participants.iter().position(|p| *p == me);
    match index.and_then(|i| participants.get(i + 1)) {
        Some(next) => choose(state, config, terms, *next, ledger).map(Some),
        None => Ok(None),
    }
}

/// Our ledger channel with `next` that has room for the amount: the one asked for, or the one with the most room.
fn choose(
    state: &NodeState,
    config: &Config,
    terms: &VirtualTerms,
    next: Address,
    ledger: Option<ChannelId>,
) -> Result<ChannelId, Refusal> {
    let wanted = |c: &&Channel| ledger.is_none_or(|id| id == c.id);
    let open = ledgers(state, next, terms.asset).filter(wanted);
    let Some((room, id)) = open.map(|c| (room(state, c), c.id)).max() else {
        return Err(match ledger {
            Some(id) => Refusal::NotOpen(id),
            None => Refusal::Policy(format!("we have no open ledger channel with {next}")),
        });
    };
    if room < terms.amount {
        return Err(Refusal::ExceedsBalance { amount: terms.amount, balance: room });
    }
    let limit = config.policy.guarantees_max;
    if state.virtuals().over.get(&id).map_or(0, |o| o.len()) as u64 >= limit {
        return Err(Refusal::Limit { what: "virtual channels over this ledger channel", limit });
    }
    Ok(id)
}

/// Our open ledger channels with `peer`.
fn ledgers(state: &NodeState, peer: Address, asset: Address) -> impl Iterator<Item = &Channel> {
    let open = move |c: &&Channel| {
        c.peer == peer && c.asset == asset && c.phase == Phase::Open && !c.frozen
    };
    state.channels().filter(open)
}

/// What we can still lock in a ledger channel: our balance less payments and guarantees that are on their way.
fn room(state: &NodeState, ledger: &Channel) -> Amount {
    let queued = ledger.updates.iter().filter(|u| u.payer == ledger.me).map(|u| u.amount);
    let locking = |v: &&VirtualChannel| {
        v.right == Some(ledger.id) && v.phase == Phase::Opening && !ledger.guarantees(v.id)
    };
    let locking = state.virtuals().over(ledger).filter(locking).map(|v| v.amount);
    let promised = queued.chain(locking).fold(Amount::ZERO, Amount::saturating_add);
    ledger.balance(ledger.my_index()).saturating_sub(promised)
}

#[cfg(test)]
mod tests;
