//! Keeps its countersignature back and spends it on a checkpoint (F33): the peer, whose newest complete state is older than the record
//! of the chain, can no longer challenge, and the money of both lies locked until the ransomer moves.
//!
//! Honest parties must read the countersigned state out of the checkpoint itself, and challenge with it.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::effect::Effect;
use fairway_core::nitro::{Call, Claim, Log, SignedState};
use fairway_core::types::{Address, ChannelId, Timestamp, TurnNum};

use super::forge::{high_s_twin, newest_with_peer, one_in, sent_state};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "ransom";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ransom {
    /// How many countersignatures are given before the first that is not; drawn for each channel.
    ripe: BTreeMap<ChannelId, u64>,
    /// Turns that were countersigned towards the peer.
    given: BTreeMap<ChannelId, BTreeSet<TurnNum>>,
    /// Channels in which a countersignature is kept back, with the turn last checkpointed there.
    held: BTreeMap<ChannelId, Option<TurnNum>>,
}

impl Strategy for Ransom {
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
        match seen {
            Seen::Wish(effect) if self.is_withheld(effect, cabal, choice) => Acts::default(),
            Seen::Block(block) => {
                let challenges = block.logs.iter().filter_map(|l| challenged(&l.log));
                let release = challenges
                    .filter_map(|(channel, turn)| self.answer(me, channel, turn, cabal, choice));
                Acts::instead(release.collect())
            }
            Seen::Wish(_) | Seen::Message { .. } | Seen::Timer => Acts::honest(seen),
        }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl Ransom {
    /// Whether this is the countersignature that is worth something, or anything after it: messages and transactions alike.
    fn is_withheld(&mut self, effect: &Effect, cabal: &Cabal, choice: &mut Choice<'_>) -> bool {
        if let Effect::Submit { call, .. } = effect {
            return self.held.contains_key(&call.channel());
        }
        let Some((_, claim)) = sent_state(effect) else { return !self.held.is_empty() };
        let (channel, turn) = (claim.state.fixed.channel_id(), claim.state.turn);
        if self.held.contains_key(&channel) {
            return true;
        }
        if turn <= TurnNum::POSTFUND || !cabal.has_foreign_signature(&claim.state) {
            return false;
        }
        let ripe = *self.ripe.entry(channel).or_insert_with(|| choice("ransom/ripe", 6));
        let given = self.given.entry(channel).or_default();
        if given.contains(&turn) || (given.len() as u64) < ripe {
            given.insert(turn);
            return false;
        }
        self.held.insert(channel, None);
        true
    }

    /// The checkpoint that takes the peer's challenge away from it, once for each newest state.
    fn answer(
        &mut self,
        me: Address,
        channel: ChannelId,
        turn: TurnNum,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Option<Effect> {
        let spent = self.held.get_mut(&channel)?;
        let mut newest = newest_with_peer(cabal, me).into_iter().map(|(_, signed)| signed);
        let newest = newest.find(|s| s.channel() == channel && s.turn() > turn)?;
        if *spent == Some(newest.turn()) {
            return None;
        }
        *spent = Some(newest.turn());
        let candidate = disguised(&newest, choice);
        Some(Effect::submit(Call::Checkpoint { proof: Vec::new(), candidate }))
    }
}

/// The state as the contract takes it, sometimes with the signatures in the other order or in the encoding that only it accepts.
fn disguised(signed: &SignedState, choice: &mut Choice<'_>) -> Claim {
    let mut claim = Claim::from(signed);
    if one_in(3, "ransom/reverse", choice) {
        claim.sigs.reverse();
    }
    if one_in(3, "ransom/high-s", choice) {
        claim.sigs.iter_mut().for_each(|sig| *sig = high_s_twin(sig));
    }
    claim
}

fn challenged(log: &Log) -> Option<(ChannelId, TurnNum)> {
    match log {
        Log::ChallengeRegistered { channel, candidate, .. } => {
            Some((*channel, candidate.state.turn))
        }
        Log::Deposited { .. }
        | Log::AllocationUpdated { .. }
        | Log::ChallengeCleared { .. }
        | Log::Checkpointed { .. }
        | Log::Concluded { .. }
        | Log::Reclaimed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;

    fn give(run: &mut Run<'_>, state: &fairway_core::nitro::State) -> usize {
        run.bob_signs(state);
        run.wish(&send(bob(), &own(&alice(), state))).release.len()
    }

    #[test]
    fn the_kept_state_answers_the_challenge_once_and_nothing_else_leaves() {
        let mut strategy = Ransom::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::One("ransom/ripe", 1);
        for state in [prefund(), update(1, [5, 5])] {
            assert_eq!(give(&mut run, &state), 1);
        }
        assert_eq!(give(&mut run, &update(2, [6, 4])), 1);
        assert_eq!(give(&mut run, &update(3, [7, 3])), 0, "this one is kept");
        assert_eq!(give(&mut run, &update(2, [6, 4])), 0, "and then every word");
        let block = challenge_block(&unanimous(&update(2, [6, 4])));
        let acts = run.see(&Seen::Block(&block));
        let calls = calls(&acts.release);
        let [Call::Checkpoint { candidate, .. }] = calls.as_slice() else { panic!("{calls:?}") };
        assert_eq!((&candidate.state, candidate.sigs.len()), (&update(3, [7, 3]), 2));
        assert_eq!(run.see(&Seen::Block(&block)).release, vec![]);
        let checkpoint = Effect::submit(calls[0].clone());
        assert_eq!(run.wish(&checkpoint).release, vec![]);
    }

    #[test]
    fn a_challenge_with_the_kept_state_is_not_answered() {
        let mut strategy = Ransom::default();
        let mut run = Run::new(&mut strategy, alice());
        for state in [prefund(), update(1, [5, 5]), update(2, [6, 4])] {
            give(&mut run, &state);
        }
        let block = challenge_block(&unanimous(&update(2, [6, 4])));
        assert_eq!(run.see(&Seen::Block(&block)).release, vec![]);
    }
}
