//! What we agree to when a peer asks. A pure function of the terms, our settings and our exposure.

use alloc::format;

use crate::channel::Phase;
use crate::config::Config;
use crate::effect::Refusal;
use crate::event::Terms;
use crate::machine::NodeState;
use crate::types::Address;

/// Whether we take part in a channel on these terms, proposed by `peer`.
///
/// # Errors
/// The first rule that says no.
pub fn check_proposal(
    state: &NodeState,
    config: &Config,
    terms: &Terms,
    me: Address,
    peer: Address,
) -> Result<(), Refusal> {
    let policy = &config.policy;
    let no = |why: alloc::string::String| Err(Refusal::Policy(why));
    if terms.participants != [peer, me] {
        return no(format!(
            "the proposer must be the leader and we the follower, got {:?}",
            terms.participants
        ));
    }
    if !policy.peers.is_empty() && !policy.peers.contains(&peer) {
        return no(format!("{peer} is not on the list of peers"));
    }
    if terms.deposits[1] > policy.our_deposit_max {
        return no(format!(
            "our deposit of {} exceeds {}",
            terms.deposits[1], policy.our_deposit_max
        ));
    }
    check_terms(state, config, terms, peer)
}

/// What holds for channels that our own user asks for as well.
///
/// # Errors
/// The first rule that says no.
pub fn check_terms(
    state: &NodeState,
    config: &Config,
    terms: &Terms,
    peer: Address,
) -> Result<(), Refusal> {
    let policy = &config.policy;
    let no = |why: alloc::string::String| Err(Refusal::Policy(why));
    if terms.participants[0] == terms.participants[1] {
        return no("a channel needs two different participants".into());
    }
    if !policy.assets.contains(&terms.asset) {
        return no(format!("asset {} is not allowed", terms.asset));
    }
    let range = policy.challenge_duration_min..=policy.challenge_duration_max;
    if !range.contains(&terms.challenge_duration) {
        return no(format!(
            "challenge duration of {} s is outside {} to {} s",
            terms.challenge_duration,
            range.start(),
            range.end()
        ));
    }
    match terms.deposits[0].checked_add(terms.deposits[1]) {
        None => return no("the deposits overflow".into()),
        Some(total) if total.is_zero() => return no("nothing is deposited".into()),
        Some(_) => {}
    }
    let unfinished = |c: &&crate::channel::Channel| c.phase != Phase::Finished;
    let with_peer = state.channels().filter(unfinished).filter(|c| c.peer == peer).count() as u64;
    if with_peer >= policy.channels_per_peer_max {
        return Err(Refusal::Limit {
            what: "channels with this peer",
            limit: policy.channels_per_peer_max,
        });
    }
    if state.live_objectives() >= policy.objectives_max {
        return Err(Refusal::Limit { what: "unfinished objectives", limit: policy.objectives_max });
    }
    Ok(())
}
