//! What we agree to when a peer asks. A pure function of the terms, our settings and our exposure.

use alloc::format;

use crate::channel::{Channel, Phase, balance_in};
use crate::config::{Config, Policy};
use crate::effect::Refusal;
use crate::event::Terms;
use crate::machine::NodeState;
use crate::types::{Address, Timestamp, TurnNum};

/// Whether we take part in a channel on these terms, proposed by `peer`.
///
/// # Errors
/// The first rule that says no.
pub fn check_proposal(
    state: &NodeState,
    config: &Config,
    now: Timestamp,
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
    if !terms.deposits[1].is_zero() && terms.deposits[0] < policy.peer_deposit_min {
        return no(format!(
            "the proposer's deposit of {} is less than {}",
            terms.deposits[0], policy.peer_deposit_min
        ));
    }
    check_exposure(state, policy, terms, peer)?;
    let limit = policy.failed_proposals_per_day_max;
    if failed_proposals(state, now, peer) >= limit {
        return Err(Refusal::Limit { what: "failed proposals of this peer in a day", limit });
    }
    check_terms(state, config, terms, peer)
}

/// What our deposits would lock in channels that peers asked for, this one included.
fn check_exposure(
    state: &NodeState,
    policy: &Policy,
    terms: &Terms,
    peer: Address,
) -> Result<(), Refusal> {
    let asked_for = |c: &&Channel| c.phase != Phase::Finished && !c.is_leader();
    let (mut with_peer, mut with_all) = (terms.deposits[1], terms.deposits[1]);
    for channel in state.channels().filter(asked_for).filter(|c| c.asset == terms.asset) {
        let ours = balance_in(&channel.opening, channel.my_index());
        with_all = with_all.saturating_add(ours);
        if channel.peer == peer {
            with_peer = with_peer.saturating_add(ours);
        }
    }
    let limits = [
        ("with this peer", with_peer, policy.exposure_per_peer_max),
        ("with all peers", with_all, policy.exposure_max),
    ];
    match limits.into_iter().find(|(_, exposure, max)| exposure > max) {
        Some((what, exposure, max)) => Err(Refusal::Policy(format!(
            "our deposits of {exposure} in unfinished channels {what} would exceed {max}"
        ))),
        None => Ok(()),
    }
}

/// Channels that `peer` asked for and that ended without a deposit of ours, in the last day.
fn failed_proposals(state: &NodeState, now: Timestamp, peer: Address) -> u64 {
    const DAY_MS: u64 = 24 * 3_600 * 1_000;
    let failed = |c: &&Channel| {
        c.peer == peer && !c.is_leader() && c.phase == Phase::Finished && c.deposit.is_none()
    };
    let recent = |c: &&Channel| {
        c.supported_turn() <= Some(TurnNum::PREFUND) && now.since_ms(c.progress_at) < DAY_MS
    };
    state.channels().filter(failed).filter(recent).count() as u64
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
    let range = config.challenge_durations(state.pins().map_or(0, |p| p.confirmations));
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::channel::testkit::*;
    use crate::event::{Event, ObjectiveId, ObjectiveKind, Origin};
    use crate::types::Amount;

    type Change = fn(&mut Config, &mut Terms);

    fn check(state: &NodeState, change: Change) -> Result<(), Refusal> {
        let (mut config, mut terms) = (Config::default(), terms());
        config.policy.our_deposit_max = wei(10);
        change(&mut config, &mut terms);
        check_at(state, Timestamp(0), config, terms)
    }

    fn check_at(
        state: &NodeState,
        now: Timestamp,
        config: Config,
        terms: Terms,
    ) -> Result<(), Refusal> {
        check_proposal(state, &config, now, &terms, bob().address(), alice().address())
    }

    /// Goal: each rule at its limit and one beyond.
    #[test]
    fn every_rule_holds_exactly_up_to_its_limit() {
        let rows: [(&str, Change, bool); 23] = [
            ("the default", |_, _| (), true),
            ("our deposit at the limit", |_, t| t.deposits = [wei(1), wei(10)], true),
            ("our deposit one beyond", |_, t| t.deposits = [wei(1), wei(11)], false),
            ("their deposit of any size", |_, t| t.deposits[0] = Amount::ether(1 << 40), true),
            ("their deposit at the least", |_, t| t.deposits[0] = wei(1), true),
            ("no deposit of theirs", |_, t| t.deposits[0] = wei(0), false),
            ("as much as may be locked", |c, _| c.policy.exposure_per_peer_max = wei(10), true),
            ("one more than may be locked", |c, _| c.policy.exposure_max = wei(9), false),
            ("nothing of ours", |_, t| t.deposits[1] = wei(0), true),
            ("nothing at all", |_, t| t.deposits = [wei(0); 2], false),
            (
                "deposits that overflow",
                |_, t| t.deposits[0] = Amount(alloy_primitives::U256::MAX),
                false,
            ),
            ("the shortest challenge", |_, t| t.challenge_duration = 30, true),
            ("one second shorter", |_, t| t.challenge_duration = 29, false),
            ("no challenge", |_, t| t.challenge_duration = 0, false),
            ("the longest challenge", |_, t| t.challenge_duration = 604_800, true),
            ("one second longer", |_, t| t.challenge_duration = 604_801, false),
            ("another asset", |_, t| t.asset = Address::repeat_byte(1), false),
            (
                "another asset that is allowed",
                |c, t| {
                    t.asset = Address::repeat_byte(1);
                    c.policy.assets.insert(t.asset);
                },
                true,
            ),
            ("a peer on the list", |c, _| c.policy.peers = [alice().address()].into(), true),
            ("a peer not on the list", |c, _| c.policy.peers = [carol().address()].into(), false),
            ("us as the leader", |_, t| t.participants.reverse(), false),
            ("us twice", |_, t| t.participants[0] = bob().address(), false),
            ("somebody else's channel", |_, t| t.participants[1] = carol().address(), false),
        ];
        for (name, change, allowed) in rows {
            let answer = check(&NodeState::default(), change);
            assert_eq!(answer.is_ok(), allowed, "{name}: {answer:?}");
            assert!(matches!(answer, Ok(()) | Err(Refusal::Policy(_))), "{name}");
        }
    }

    /// Goal: a challenge leaves three times as long as an answer takes as a rule.
    #[test]
    fn a_challenge_must_leave_time_to_answer() {
        // Two confirmations.
        for (block_time_s, inclusion_s, margin) in [(1, 5, 7), (12, 36, 60)] {
            let config = Config { block_time_s, inclusion_s, ..Config::default() };
            assert_eq!(config.margin_s(2), margin);
            let check = |challenge_duration| {
                let terms = Terms { challenge_duration, ..terms() };
                check_at(&busy(0), Timestamp(0), config.clone(), terms).is_ok()
            };
            let shortest = (3 * margin).max(30);
            assert!(check(shortest) && !check(shortest - 1), "{block_time_s} s blocks");
        }
    }

    fn busy(channels: u64) -> NodeState {
        let mut state = NodeState::default();
        state.apply(Timestamp(0), Event::Pinned(pins(&bob())));
        for nonce in 0..channels {
            let terms = Terms { nonce: 100 + nonce, ..terms() };
            let channel = terms.fixed_part(APP).channel_id();
            let id = ObjectiveId { channel, kind: ObjectiveKind::DirectFund };
            let (origin, terms) = (Origin::Peer, Some(terms));
            state.apply(Timestamp(0), Event::ObjectiveApproved { id, origin, terms });
        }
        state
    }

    #[test]
    fn channels_and_objectives_are_limited() {
        let by_peer: Change = |c, _| c.policy.channels_per_peer_max = 3;
        let by_node: Change = |c, _| c.policy.objectives_max = 3;
        for (what, change) in
            [("channels with this peer", by_peer), ("unfinished objectives", by_node)]
        {
            assert_eq!(check(&busy(2), change), Ok(()));
            assert_eq!(check(&busy(3), change), Err(Refusal::Limit { what, limit: 3 }));
        }
    }

    /// Goal: what is locked in channels that peers asked for counts, until they are finished.
    #[test]
    fn exposure_is_limited_for_a_peer_and_for_all() {
        let by_peer: Change = |c, _| c.policy.exposure_per_peer_max = wei(30);
        let by_all: Change = |c, _| c.policy.exposure_max = wei(30);
        for change in [by_peer, by_all] {
            assert_eq!(check(&busy(2), change), Ok(()));
            assert!(matches!(check(&busy(3), change), Err(Refusal::Policy(_))));
            assert_eq!(check(&failed(3), change), Ok(()));
        }
    }

    /// `busy`, and then every channel was given up.
    fn failed(channels: u64) -> NodeState {
        let mut state = busy(channels);
        let ids: Vec<_> = state.objectives().keys().copied().collect();
        for id in ids {
            let reason = crate::event::RejectReason::TimedOut;
            state.apply(Timestamp(1), Event::ObjectiveRejected { id, reason });
        }
        state
    }

    #[test]
    fn failed_proposals_are_limited_for_a_day() {
        let mut config = Config::default();
        config.policy.failed_proposals_per_day_max = 3;
        let day = 24 * 3_600 * 1_000;
        let refused =
            |count, at| check_at(&failed(count), Timestamp(at), config.clone(), terms()).is_err();
        assert!(!refused(2, 5));
        assert!(refused(3, 5));
        assert!(refused(3, day - 1));
        assert!(!refused(3, day));
    }

    #[test]
    fn our_own_user_may_deposit_more_but_not_break_the_other_rules() {
        let (state, config) = (NodeState::default(), Config::default());
        let rich = Terms { deposits: [Amount::ether(5_000); 2], ..terms() };
        assert_eq!(check_terms(&state, &config, &rich, bob().address()), Ok(()));
        let me = terms().participants[0];
        let same = Terms { participants: [me; 2], ..terms() };
        assert!(check_terms(&state, &config, &same, me).is_err());
    }
}
