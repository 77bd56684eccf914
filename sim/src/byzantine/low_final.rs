//! A payer whose final state of a virtual channel pays less than its vouchers promised, or is no final state of the channel at all
//! (F34).
//!
//! Everybody gets the same lie. What all sign nevertheless is concluded at once: then the money is gone.

use std::collections::BTreeMap;

use fairway_core::chain_types::B256;
use fairway_core::effect::Effect;
use fairway_core::nitro::{Allocation, AllocationType, Call, Claim, State};
use fairway_core::types::{Address, Amount, ChannelId, Destination, Timestamp, TurnNum};
use fairway_core::wire::Wire;

use super::forge::{is_virtual, one_in, send_wire, sent};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "low_final";

/// How the final state is altered.
const SHAPES: u64 = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LowFinal {
    lies: BTreeMap<ChannelId, Lie>,
}

/// The final state that one channel's others are shown.
#[derive(Clone, Debug)]
struct Lie {
    state: State,
    hash: B256,
    /// How many honest messages are replaced before they are let through after all.
    replace: u64,
    concluded: bool,
}

impl Strategy for LowFinal {
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
            Seen::Message { .. } | Seen::Block(_) | Seen::Timer => Acts::default(),
        };
        acts.release.extend(self.conclusions(cabal));
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl LowFinal {
    fn on_wish(
        &mut self,
        effect: &Effect,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let honest = Acts::instead(vec![effect.clone()]);
        let Some((peer, Wire::VirtualState { claim, ledger })) = sent(effect) else {
            return honest;
        };
        let state = &claim.state;
        if !state.is_final || !is_virtual(state) || state.fixed.index_of(me) != Some(0) {
            return honest;
        }
        let channel = state.fixed.channel_id();
        if let std::collections::btree_map::Entry::Vacant(entry) = self.lies.entry(channel) {
            let Some(lie) = alter(state, choice).filter(|s| s != state) else { return honest };
            let replace = if one_in(4, "low-final/then-honest", choice) { 3 } else { u64::MAX };
            entry.insert(Lie { hash: lie.hash(), state: lie, replace, concluded: false });
        }
        let Some(lie) = self.lies.get_mut(&channel).filter(|lie| lie.replace > 0) else {
            return honest;
        };
        lie.replace -= 1;
        let claim = cabal.sign(me, &lie.state);
        Acts::instead(
            claim
                .map(|claim| send_wire(peer, &Wire::VirtualState { claim, ledger }))
                .into_iter()
                .collect(),
        )
    }

    /// Whatever the others were fooled into signing goes to the chain at once.
    fn conclusions(&mut self, cabal: &Cabal) -> Vec<Effect> {
        let mut calls = Vec::new();
        for (channel, lie) in self.lies.iter_mut().filter(|(_, lie)| !lie.concluded) {
            if let Some(signed) = cabal.supported(*channel).find(|s| s.hash() == lie.hash) {
                lie.concluded = true;
                let candidate = Claim::from(signed);
                calls.push(Effect::submit(Call::Conclude { candidate }));
            }
        }
        calls
    }
}

/// A final state that the payee should not sign, nor a hub.
fn alter(honest: &State, choice: &mut Choice<'_>) -> Option<State> {
    let mut state = honest.clone();
    let shape = choice("low-final/shape", SHAPES);
    let [payer, payee] = state.outcome.first_mut()?.allocations.get_mut(..2)? else { return None };
    let paid = payee.amount;
    match shape {
        0 => {
            payer.amount = payer.amount.checked_add(paid)?;
            payee.amount = Amount::ZERO;
        }
        1 => {
            payer.amount = payer.amount.checked_add(Amount::wei(1))?;
            payee.amount = paid.checked_sub(Amount::wei(1))?;
        }
        // More than the guarantee holds.
        2 => payer.amount = payer.amount.checked_add(paid)?,
        3 => std::mem::swap(&mut payer.destination, &mut payee.destination),
        4 => {
            payer.allocation_type = AllocationType::SIMPLE;
            payee.allocation_type = AllocationType::SIMPLE;
        }
        // The state of another turn: that of the redemption, and one beyond the final.
        5 => state.turn = TurnNum::REDEMPTION,
        6 => state.turn = state.turn.next()?,
        _ => {
            let to = payer.destination.address()?;
            let extra = Allocation { destination: Destination::of(to), ..payer.clone() };
            state.outcome.first_mut()?.allocations.push(extra);
        }
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;

    fn final_to(run: &mut Run<'_>, to: &fairway_core::nitro::SecretKey) -> State {
        let wish = tell(to, &virtual_wire(&[alice()], &virtual_state(3, 2)));
        let wires = wires(&run.wish(&wish).release);
        let [Wire::VirtualState { claim, .. }] = wires.as_slice() else { panic!("{wires:?}") };
        claim.state.clone()
    }

    /// Goal: each shape is a lie, the same to everybody, and told again in a resend.
    #[test]
    fn every_shape_is_told_to_everybody_instead_of_the_honest_final() {
        for shape in 0..SHAPES {
            let mut strategy = LowFinal::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::One("low-final/shape", shape);
            opened(&mut run);
            let lie = final_to(&mut run, &irene());
            assert_ne!(lie, virtual_state(3, 2), "shape {shape}");
            assert_eq!(final_to(&mut run, &bob()), lie);
            assert_eq!(final_to(&mut run, &bob()), lie);
        }
    }

    #[test]
    fn what_everybody_signs_is_concluded_once() {
        let mut strategy = LowFinal::default();
        let mut run = Run::new(&mut strategy, alice());
        opened(&mut run);
        let lie = final_to(&mut run, &irene());
        let acts = everybody_signs(&mut run, &lie);
        assert!(matches!(calls(&acts.release).as_slice(), [Call::Conclude { .. }]));
        assert_eq!(run.timer().release, vec![]);
    }

    #[test]
    fn only_the_payer_does_it() {
        let mut strategy = LowFinal::default();
        let mut run = Run::new(&mut strategy, irene());
        let wish = tell(&bob(), &virtual_wire(&[irene()], &virtual_state(3, 2)));
        assert_eq!(run.wish(&wish).release, vec![wish]);
    }
}
