//! Signs a final state with an outcome in its own favour and sends that instead of the honest one (F30, go-nitro's GAP-3).
//!
//! As leader in place of its proposal, as follower in place of its countersignature, and sometimes unasked while the channel is
//! still in use. When the honest peer signs it, the strategy concludes at once: the money is gone.

use std::collections::BTreeMap;

use fairway_core::chain_types::B256;
use fairway_core::effect::Effect;
use fairway_core::nitro::{Allocation, Call, Claim, State};
use fairway_core::types::{Address, Amount, ChannelId, Destination, Timestamp, TurnNum};

use super::forge::{newest_with_peer, one_in, send_state, sent_state, share, shift};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "altered_final";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct AlteredFinal {
    deeds: BTreeMap<ChannelId, Deed>,
}

/// What was done to one channel.
#[derive(Clone, Debug)]
struct Deed {
    /// The message with the altered state.
    message: Effect,
    /// The altered state.
    hash: B256,
    /// How many honest finals are replaced before they are let through after all.
    replace: u64,
    concluded: bool,
}

/// How the outcome is altered.
const SHAPES: u64 = 7;

impl Strategy for AlteredFinal {
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
        let mut acts = match seen {
            Seen::Wish(effect) => self.on_wish(effect, me, cabal, choice),
            Seen::Timer | Seen::Block(_) => self.unasked(me, cabal, choice),
            Seen::Message { .. } => Acts::default(),
        };
        acts.release.extend(self.conclusions(cabal));
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl AlteredFinal {
    fn on_wish(
        &mut self,
        effect: &Effect,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let honest = || Acts::instead(vec![effect.clone()]);
        let Some((peer, claim)) = sent_state(effect).filter(|(_, c)| c.state.is_final) else {
            return honest();
        };
        let channel = claim.state.fixed.channel_id();
        if !self.deeds.contains_key(&channel) {
            let Some(deed) = self.prepare(&claim.state, peer, me, cabal, choice) else {
                return honest();
            };
            self.deeds.insert(channel, deed);
        }
        match self.deeds.get_mut(&channel) {
            Some(deed) if deed.replace > 0 => {
                deed.replace -= 1;
                Acts::instead(vec![deed.message.clone()])
            }
            Some(_) | None => honest(),
        }
    }

    /// Offers an altered end of a channel that nobody wants to close.
    fn unasked(&mut self, me: Address, cabal: &Cabal, choice: &mut Choice<'_>) -> Acts {
        let mut acts = Acts::default();
        for (peer, newest) in newest_with_peer(cabal, me) {
            let state = newest.state();
            let used = state.turn > TurnNum::POSTFUND && !state.is_final;
            let known = self.deeds.contains_key(&newest.channel());
            let Some(turn) = state.turn.next() else { continue };
            if !used || known || !one_in(24, "altered-final/unasked", choice) {
                continue;
            }
            let honest = State { turn, is_final: true, ..state.clone() };
            if let Some(deed) = self.prepare(&honest, peer, me, cabal, choice) {
                acts.release.push(deed.message.clone());
                self.deeds.insert(newest.channel(), deed);
            }
        }
        acts
    }

    /// The altered state, signed; `None` where nothing can be altered.
    fn prepare(
        &self,
        honest: &State,
        peer: Address,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Option<Deed> {
        let state = alter(honest, peer, me, choice).filter(|s| s != honest)?;
        let (hash, claim) = (state.hash(), cabal.sign(me, &state)?);
        // Resends are wishes too: many replaced ones are for ever, two make the peer see both.
        let replace = if one_in(4, "altered-final/then-honest", choice) { 2 } else { u64::MAX };
        Some(Deed { message: send_state(peer, claim), hash, replace, concluded: false })
    }

    /// Whatever the peer was fooled into signing goes to the chain at once.
    fn conclusions(&mut self, cabal: &Cabal) -> Vec<Effect> {
        let mut calls = Vec::new();
        for (channel, deed) in self.deeds.iter_mut().filter(|(_, d)| !d.concluded) {
            if let Some(signed) = cabal.supported(*channel).find(|s| s.hash() == deed.hash) {
                deed.concluded = true;
                let candidate = Claim::from(signed);
                calls.push(Effect::submit(Call::ConcludeAndTransferAllAssets { candidate }));
            }
        }
        calls
    }
}

/// A final state that pays `me` more than it should, by one of several ways.
fn alter(honest: &State, peer: Address, me: Address, choice: &mut Choice<'_>) -> Option<State> {
    let mut state = honest.clone();
    let theirs = share(&state.outcome, peer);
    let shape = choice("altered-final/shape", SHAPES);
    let allocations = &mut state.outcome.first_mut()?.allocations;
    match shape {
        0 => {
            shift(&mut state.outcome, me, theirs);
        }
        1 => {
            shift(&mut state.outcome, me, Amount::wei(1));
        }
        // More than the channel holds, so that whoever stands second goes without.
        2 => {
            let mine = allocations.iter_mut().find(|a| a.destination == Destination::of(me))?;
            mine.amount = mine.amount.checked_add(theirs)?;
        }
        3 => {
            let theirs = allocations.iter_mut().find(|a| a.destination == Destination::of(peer))?;
            theirs.destination = Destination::of(me);
        }
        4 => allocations.retain(|a| a.destination != Destination::of(peer)),
        5 => allocations.insert(0, Allocation::simple(me, theirs)),
        // As rich, and beyond the turn that follows.
        _ => {
            state.turn = state.turn.next()?;
            shift(&mut state.outcome, me, theirs);
        }
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::wire::Wire;

    fn final_in(effects: &[Effect]) -> State {
        let wires = wires(effects);
        let [Wire::State(claim)] = wires.as_slice() else { panic!("{wires:?}") };
        claim.state.clone()
    }

    /// Goal: each shape pays Alice more, or the same to nobody else, and never the honest outcome.
    #[test]
    fn the_leaders_final_is_replaced_by_a_better_one_for_itself() {
        for shape in 0..SHAPES {
            let mut strategy = AlteredFinal::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::One("altered-final/shape", shape);
            run.agree(&update(2, [4, 6]));
            let honest = last(3, [4, 6]);
            let sent = final_in(&run.wish(&send(bob(), &own(&alice(), &honest))).release);
            assert!(sent.is_final);
            let (before, after) = (
                share(&honest.outcome, alice().address()),
                share(&sent.outcome, alice().address()),
            );
            let robbed =
                share(&sent.outcome, bob().address()) < share(&honest.outcome, bob().address());
            assert!(after > before || robbed, "shape {shape}");
            let again = final_in(&run.wish(&send(bob(), &own(&alice(), &honest))).release);
            assert_eq!(again, sent, "a resend tells the same lie");
        }
    }

    #[test]
    fn the_follower_tries_it_instead_of_countersigning() {
        let mut strategy = AlteredFinal::default();
        let mut run = Run::new(&mut strategy, bob());
        let honest = last(3, [4, 6]);
        let wire = Wire::State(own(&alice(), &honest));
        run.see(&Seen::Message { from: alice().address(), wire: &wire });
        let sent = final_in(&run.wish(&send(alice(), &own(&bob(), &honest))).release);
        assert_eq!(sent, last(3, [0, 10]));
    }

    #[test]
    fn what_the_peer_signs_is_concluded_once() {
        let mut strategy = AlteredFinal::default();
        let mut run = Run::new(&mut strategy, alice());
        run.agree(&update(2, [4, 6]));
        let lie = final_in(&run.wish(&send(bob(), &own(&alice(), &last(3, [4, 6])))).release);
        let acts = run.bob_signs(&lie);
        let calls = calls(&acts.release);
        let [Call::ConcludeAndTransferAllAssets { candidate }] = calls.as_slice() else {
            panic!("{calls:?}")
        };
        assert_eq!((&candidate.state, candidate.sigs.len()), (&lie, 2));
        assert_eq!(run.timer().release, vec![]);
    }

    #[test]
    fn an_unasked_end_may_come_while_the_channel_is_used() {
        let mut strategy = AlteredFinal::default();
        let mut run = Run::new(&mut strategy, alice());
        run.agree(&update(2, [4, 6]));
        assert_eq!(run.timer().release, vec![]);
        run.draws = Draws::One("altered-final/unasked", 23);
        assert_eq!(final_in(&run.timer().release), last(3, [10, 0]));
        assert_eq!(run.timer().release, vec![]);
    }

    #[test]
    fn a_drawn_liar_shows_the_honest_final_in_the_end() {
        let mut strategy = AlteredFinal::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::One("altered-final/then-honest", 3);
        let honest = last(3, [4, 6]);
        let wish = send(bob(), &own(&alice(), &honest));
        let sent: Vec<State> = (0..3).map(|_| final_in(&run.wish(&wish).release)).collect();
        assert_eq!(sent, [last(3, [10, 0]), last(3, [10, 0]), honest]);
    }
}
