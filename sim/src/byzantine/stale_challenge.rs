//! Challenges with an old supported state, in which it owned more, once the channel has moved on; and again when answered (F32).
//!
//! The inner node would defend against its own party's challenge, so its checkpoints and challenges are kept back from then on.
//! Its payout transactions leave: the attack is worth nothing without them.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::effect::Effect;
use fairway_core::nitro::{Call, Log, SignedState};
use fairway_core::types::{Address, ChannelId, Timestamp};

use super::forge::{challenge, newest_with_peer, one_in, share};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "stale_challenge";

/// Challenges on one channel: the first one, and answers to the answers.
const CHALLENGES_MAX: u64 = 4;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct StaleChallenge {
    /// The turn from which on the attack may begin; drawn for each channel.
    ripe: BTreeMap<ChannelId, u64>,
    /// Challenges made.
    made: BTreeMap<ChannelId, u64>,
}

impl Strategy for StaleChallenge {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        _now: Timestamp,
        me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let mut acts = self.without_defence(seen);
        let answered = answered_in(seen);
        for (_, newest) in newest_with_peer(cabal, me) {
            let channel = newest.channel();
            let made = self.made.get(&channel).copied().unwrap_or(0);
            let now = match made {
                0 => self.is_time(&newest, seen, choice),
                _ => made < CHALLENGES_MAX && answered.contains(&channel),
            };
            if !now {
                continue;
            }
            let again = made > 0 && choice("stale-challenge/again-with", 2) == 1;
            let candidate = if again { Some(&newest) } else { richest(cabal, me, &newest) };
            let challenge = candidate.and_then(|old| challenge(old, me, cabal));
            if let Some(call) = challenge {
                self.made.insert(channel, made + 1);
                acts.release.push(Effect::submit(call));
            }
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl StaleChallenge {
    /// What the inner node wishes, less what would undo the attack.
    fn without_defence(&self, seen: &Seen<'_>) -> Acts {
        if let Seen::Wish(Effect::Submit { call, .. }) = seen {
            let defends = matches!(call, Call::Checkpoint { .. } | Call::Challenge { .. });
            if defends && self.made.contains_key(&call.channel()) {
                return Acts::default();
            }
        }
        Acts::honest(seen)
    }

    /// Whether the channel has moved on far enough, and now is the drawn moment.
    fn is_time(&mut self, newest: &SignedState, seen: &Seen<'_>, choice: &mut Choice<'_>) -> bool {
        let ripe = *self
            .ripe
            .entry(newest.channel())
            .or_insert_with(|| 2 + choice("stale-challenge/ripe", 6));
        let moment = matches!(seen, Seen::Block(_) | Seen::Timer);
        moment && newest.turn().get() >= ripe && one_in(3, "stale-challenge/now", choice)
    }
}

/// The old supported state that pays `me` best, the oldest of equals.
fn richest<'a>(cabal: &'a Cabal, me: Address, newest: &SignedState) -> Option<&'a SignedState> {
    let old = cabal.supported(newest.channel()).filter(|s| s.turn() < newest.turn());
    old.rev().max_by_key(|s| share(&s.state().outcome, me))
}

/// Channels in which a challenge was answered in this block.
fn answered_in(seen: &Seen<'_>) -> BTreeSet<ChannelId> {
    let Seen::Block(block) = seen else { return BTreeSet::new() };
    let answered = |log: &Log| match log {
        Log::ChallengeCleared { channel, .. } | Log::Checkpointed { channel, .. } => Some(*channel),
        Log::Deposited { .. }
        | Log::AllocationUpdated { .. }
        | Log::ChallengeRegistered { .. }
        | Log::Concluded { .. }
        | Log::Reclaimed { .. } => None,
    };
    block.logs.iter().filter_map(|l| answered(&l.log)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::nitro::Claim;
    use fairway_core::nitro::Crypto;
    use fairway_core::nitro::Recover;
    use fairway_core::nitro::sign::challenge_hash;

    fn progressed(run: &mut Run<'_>) {
        run.draws = Draws::One("stale-challenge/now", 2);
        for state in [prefund(), update(1, [5, 5]), update(2, [7, 3]), update(3, [2, 8])] {
            assert_eq!(calls(&run.agree(&state)).len(), 0);
        }
    }

    #[test]
    fn the_richest_old_state_is_challenged_with() {
        let mut strategy = StaleChallenge::default();
        let mut run = Run::new(&mut strategy, alice());
        progressed(&mut run);
        let acts = run.timer();
        let calls = calls(&acts.release);
        let [Call::Challenge { candidate, challenger_sig, .. }] = calls.as_slice() else {
            panic!("{calls:?}")
        };
        assert_eq!((&candidate.state, candidate.sigs.len()), (&update(2, [7, 3]), 2));
        let hash = challenge_hash(candidate.state.hash());
        assert_eq!(Crypto::Real.recover(hash, challenger_sig), Some(alice().address()));
        assert_eq!(run.timer().release, vec![], "one challenge until it is answered");
    }

    #[test]
    fn a_cleared_challenge_is_made_again_until_the_limit() {
        let mut strategy = StaleChallenge::default();
        let mut run = Run::new(&mut strategy, alice());
        progressed(&mut run);
        run.timer();
        let again: usize = (0..9)
            .map(|_| {
                let acts = run.see(&Seen::Block(&cleared_block(3)));
                calls(&acts.release).len()
            })
            .sum();
        assert_eq!(again as u64, CHALLENGES_MAX - 1);
    }

    #[test]
    fn the_inner_node_may_no_longer_defend_but_may_collect() {
        let mut strategy = StaleChallenge::default();
        let mut run = Run::new(&mut strategy, alice());
        progressed(&mut run);
        let newest = unanimous(&update(3, [2, 8]));
        let candidate = Claim::from(&newest);
        let checkpoint = Effect::submit(Call::Checkpoint { proof: vec![], candidate });
        assert_eq!(run.wish(&checkpoint).release, vec![checkpoint.clone()]);
        run.timer();
        assert_eq!(run.wish(&checkpoint).release, vec![]);
        let (channel, outcome) = (channel(), prefund().outcome);
        let state_hash = newest.hash();
        let call = Call::TransferAllAssets { channel, outcome, state_hash };
        let collect = Effect::submit(call);
        assert_eq!(run.wish(&collect).release, vec![collect.clone()]);
    }

    #[test]
    fn a_channel_that_has_not_moved_is_left_alone() {
        let mut strategy = StaleChallenge::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::One("stale-challenge/now", 2);
        run.agree(&prefund());
        run.agree(&update(1, [5, 5]));
        assert_eq!(run.timer().release, vec![]);
    }
}
