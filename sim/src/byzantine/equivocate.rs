//! Signs two different states for one turn and sends one after the other (F31).
//!
//! An honest follower may sign either one and never both; whichever it takes, the other one is worth nothing on chain. The opening
//! state is sent first and its twin after it, so that the channel can open at all.

use std::collections::BTreeMap;

use fairway_core::effect::Effect;
use fairway_core::nitro::State;
use fairway_core::types::{Address, Amount, ChannelId, Timestamp, TurnNum};

use super::forge::{one_in, send_state, sent_state, shift};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "equivocate";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Equivocate {
    /// The second message of a turn; `None` where the turn was left alone.
    twins: BTreeMap<(ChannelId, TurnNum), Option<Twin>>,
}

#[derive(Clone, Debug)]
struct Twin {
    message: Effect,
    order: Order,
}

/// Which of the two leaves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    HonestFirst,
    TwinFirst,
}

impl Strategy for Equivocate {
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
        let honest = Acts::honest(seen);
        let Seen::Wish(effect) = seen else { return honest };
        let Some((peer, claim)) = sent_state(effect) else { return honest };
        let state = &claim.state;
        let key = (state.fixed.channel_id(), state.turn);
        // A resend tells the same two stories; what the peer signed before us is no proposal of ours.
        let twin = self.twins.entry(key).or_insert_with(|| {
            let ours = !cabal.has_foreign_signature(state) && !state.is_final;
            let now = ours && one_in(3, "equivocate/now", choice);
            now.then(|| twin(state, peer, me, cabal, choice)).flatten()
        });
        let honest = (*effect).clone();
        match twin {
            None => Acts::instead(vec![honest]),
            Some(Twin { message, order: Order::HonestFirst }) => {
                Acts::instead(vec![honest, message.clone()])
            }
            Some(Twin { message, order: Order::TwinFirst }) => {
                Acts::instead(vec![message.clone(), honest])
            }
        }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

/// Another state of the turn: a little more for the peer, which it would gladly sign, or for us.
fn twin(
    state: &State,
    peer: Address,
    me: Address,
    cabal: &Cabal,
    choice: &mut Choice<'_>,
) -> Option<Twin> {
    let mut other = state.clone();
    let winner = if choice("equivocate/favours", 3) == 2 { me } else { peer };
    let amount = [Amount::wei(1), Amount::ETHER][choice("equivocate/amount", 2) as usize];
    if !shift(&mut other.outcome, winner, amount) {
        return None;
    }
    let opening = state.turn == TurnNum::PREFUND;
    let order = if !opening && choice("equivocate/order", 2) == 1 {
        Order::TwinFirst
    } else {
        Order::HonestFirst
    };
    Some(Twin { message: send_state(peer, cabal.sign(me, &other)?), order })
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;

    #[test]
    fn two_signed_states_of_one_turn_leave_and_a_resend_repeats_them() {
        let mut strategy = Equivocate::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::One("equivocate/now", 2);
        let wish = send(bob(), &own(&alice(), &update(2, [4, 6])));
        let released = run.wish(&wish).release;
        let states: Vec<_> = released.iter().flat_map(states_in).collect();
        assert_eq!(states.len(), 2);
        assert!(states.iter().all(|s| s.signed_by(0) && s.turn().get() == 2));
        assert_ne!(states[0].hash(), states[1].hash());
        assert_eq!(run.wish(&wish).release, released);
        assert_eq!(run.cabal.states[&(channel(), states[0].turn())].len(), 2);
    }

    #[test]
    fn the_twin_may_come_first_but_not_at_the_opening() {
        for (state, first) in [(update(2, [4, 6]), false), (prefund(), true)] {
            let mut strategy = Equivocate::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::Two([("equivocate/now", 2), ("equivocate/order", 1)]);
            let wish = send(bob(), &own(&alice(), &state));
            assert_eq!(run.wish(&wish).release[0] == wish, first);
        }
    }

    #[test]
    fn countersignatures_and_finals_are_left_alone() {
        let mut strategy = Equivocate::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Highest;
        let theirs = update(2, [4, 6]);
        run.bob_signs(&theirs);
        for state in [theirs, last(3, [4, 6])] {
            let wish = send(bob(), &own(&alice(), &state));
            assert_eq!(run.wish(&wish).release, vec![wish]);
        }
    }
}
