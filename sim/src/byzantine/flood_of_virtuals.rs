//! Asks for virtual channels without end: the prefund of one that nobody wanted, again and again with a new nonce, to all or to some of
//! its participants (F35, F37).
//!
//! Some of them stall because a participant hears nothing, some are agreed to and time out. The log and the memory of an honest node
//! stay within its limits, and the channels that are used go on.

use fairway_core::effect::Effect;
use fairway_core::nitro::State;
use fairway_core::types::{Address, Amount, TurnNum};
use fairway_core::virtual_channel::outcome;
use fairway_core::wire::Wire;

use super::forge::{is_virtual, one_in, send_wire};
use super::{BesideHonesty, Cabal, Choice};

pub(super) const NAME: &str = "flood_of_virtuals";

/// How many channels one run asks for; drawn.
const SIZES: [u64; 4] = [24, 48, 96, 288];

/// Asked for at once.
const AT_ONCE_MAX: u64 = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct FloodOfVirtuals {
    size: Option<u64>,
    made: u64,
}

impl BesideHonesty for FloodOfVirtuals {
    const NAME: &'static str = NAME;

    fn at_block(&mut self, me: Address, cabal: &mut Cabal, choice: &mut Choice<'_>) -> Vec<Effect> {
        let mut release = Vec::new();
        let Some(template) = template(cabal, me) else { return release };
        let size = *self
            .size
            .get_or_insert_with(|| SIZES[choice("flood/size", SIZES.len() as u64) as usize]);
        for _ in 0..AT_ONCE_MAX.min(size.saturating_sub(self.made)) {
            self.made += 1;
            let Some(state) = another(&template, self.made, choice) else { continue };
            let Some(claim) = cabal.sign(me, &state) else { continue };
            for peer in state.fixed.participants.iter().filter(|p| **p != me) {
                if one_in(4, "flood/skip", choice) {
                    continue;
                }
                let wire = Wire::VirtualState { claim: claim.clone(), ledger: None };
                release.push(send_wire(*peer, &wire));
            }
        }
        release
    }
}

/// A prefund of which `me` is the payer: what others asked `me` for is no template.
fn template(cabal: &Cabal, me: Address) -> Option<State> {
    let mine = |s: &State| is_virtual(s) && s.fixed.index_of(me) == Some(0);
    cabal.states.values().flatten().map(|s| s.state()).find(|s| mine(s)).cloned()
}

/// A channel like the template, with a nonce and perhaps an amount and an order of participants of its own.
fn another(template: &State, count: u64, choice: &mut Choice<'_>) -> Option<State> {
    let mut fixed = template.fixed.clone();
    fixed.nonce = fixed.nonce.wrapping_add(count << 16);
    let exit = template.outcome.first()?;
    let amount = match choice("flood/amount", 4) {
        0 => Amount::wei(1),
        1 => exit.total()?,
        2 => Amount::ether(1_000_000),
        _ => Amount::ZERO,
    };
    if one_in(4, "flood/reverse", choice) {
        fixed.participants.get_mut(1..)?.reverse();
    }
    if one_in(8, "flood/twice", choice) {
        let last = *fixed.participants.last()?;
        fixed.participants.push(last);
    }
    Some(State {
        outcome: outcome(&fixed.participants, exit.asset, amount, Amount::ZERO)?,
        fixed,
        turn: TurnNum::PREFUND,
        is_final: false,
        app_data: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_channel_is_another_one_and_there_is_an_end_to_it() {
        let mut strategy = FloodOfVirtuals::default();
        let mut run = Run::new(&mut strategy, alice());
        everybody_signs(&mut run, &virtual_state(0, 0));
        let mut asked = BTreeSet::new();
        for n in 0..40 {
            for wire in wires(&run.see(&Seen::Block(&empty_block(n))).release) {
                let Wire::VirtualState { claim, .. } = wire else { panic!("{wire:?}") };
                assert_eq!(claim.state.turn, TurnNum::PREFUND);
                asked.insert(claim.state.fixed.channel_id());
            }
        }
        assert_eq!(asked.len() as u64, SIZES[0]);
        assert!(!asked.contains(&virtual_id()));
    }
}
