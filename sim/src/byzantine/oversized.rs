//! Well-formed messages that are too large: nine states of evidence and more, a hundred participants, a hundred signatures, data up to the
//! last byte of a frame (F37).
//!
//! Each decodes. What a node checks before it knows whom it is about must stay cheap, and nothing of it may be kept.

use fairway_core::chain_types::B256;
use fairway_core::effect::Effect;
use fairway_core::nitro::{AllocationType, SignedState, State};
use fairway_core::types::{Address, Amount, TurnNum};
use fairway_core::virtual_channel::outcome;
use fairway_core::wire::{MESSAGE_BYTES_MAX, StateClaim, Wire};

use super::forge::{newest_with_peer, one_in, send_wire};
use super::{BesideHonesty, Cabal, Choice};

pub(super) const NAME: &str = "oversized";

/// Messages in one run: each is dear to everybody.
const MESSAGES_MAX: u64 = 24;

/// Ways to be too large.
const WAYS: u64 = 6;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Oversized {
    made: u64,
}

impl BesideHonesty for Oversized {
    const NAME: &'static str = NAME;

    fn at_block(&mut self, me: Address, cabal: &mut Cabal, choice: &mut Choice<'_>) -> Vec<Effect> {
        let mut release = Vec::new();
        for (peer, newest) in newest_with_peer(cabal, me) {
            if self.made >= MESSAGES_MAX || !one_in(3, "oversized/now", choice) {
                continue;
            }
            let Some(wire) = make(&newest, me, cabal, choice) else { continue };
            self.made += 1;
            release.push(send_wire(peer, &wire));
        }
        release
    }
}

fn make(newest: &SignedState, me: Address, cabal: &Cabal, choice: &mut Choice<'_>) -> Option<Wire> {
    let state = newest.state();
    let sigs: Vec<_> = newest.sigs().iter().map(|(i, sig)| (*i, *sig)).collect();
    let claim = StateClaim { state: state.clone(), sigs };
    Some(match choice("oversized/way", WAYS) {
        0 => Wire::Proposal { evidence: vec![claim.clone(); 9], claim },
        1 => {
            // As many as fit.
            let each = Wire::State(claim.clone()).encode().len();
            let fit = (MESSAGE_BYTES_MAX / each).saturating_sub(2);
            Wire::Proposal { evidence: vec![claim.clone(); fit], claim }
        }
        2 => {
            let mut fixed = state.fixed.clone();
            let invented = |i: u8| Address::from_word(B256::repeat_byte(i));
            fixed.participants = std::iter::once(me).chain((1..100).map(invented)).collect();
            let asset = state.outcome.first()?.asset;
            let state = State {
                outcome: outcome(&fixed.participants, asset, Amount::wei(1), Amount::ZERO)?,
                fixed,
                turn: TurnNum::PREFUND,
                is_final: false,
                app_data: Default::default(),
            };
            Wire::VirtualState { claim: cabal.sign(me, &state)?, ledger: None }
        }
        3 => {
            let sig = claim.sigs.first()?.1;
            let sigs = (0..100).map(|i| (i, sig)).collect();
            Wire::VirtualState { claim: StateClaim { sigs, ..claim }, ledger: None }
        }
        4 => {
            let mut state = state.clone();
            state.turn = state.turn.next()?;
            // The frame is full to the last byte.
            let room = |len: usize| {
                let state = State { app_data: vec![0xa5; len].into(), ..state.clone() };
                Some(Wire::State(cabal.sign(me, &state)?))
            };
            let mut len = MESSAGE_BYTES_MAX - room(0)?.encode().len();
            while room(len)?.encode().len() > MESSAGE_BYTES_MAX {
                len = len.checked_sub(1)?;
            }
            room(len)?
        }
        _ => {
            // More guarantees than anybody takes on.
            let mut state = state.clone();
            state.turn = state.turn.next()?;
            let entries = &mut state.outcome.first_mut()?.allocations;
            let mut entry = entries.first()?.clone();
            entry.allocation_type = AllocationType::GUARANTEE;
            entries.splice(..0, std::iter::repeat_n(entry, 129));
            Wire::Proposal { claim: cabal.sign(me, &state)?, evidence: Vec::new() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;

    #[test]
    fn every_way_decodes_and_one_fills_the_frame() {
        for way in 0..WAYS {
            let mut strategy = Oversized::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::Two([("oversized/now", 2), ("oversized/way", way)]);
            ledger_agreed(&mut run, &ledger_state(2, true));
            let acts = run.see(&Seen::Block(&empty_block(1)));
            let wires = wires(&acts.release);
            let [wire] = wires.as_slice() else { panic!("way {way}: {wires:?}") };
            let len = wire.encode().len();
            assert!(len <= MESSAGE_BYTES_MAX, "way {way} has {len} bytes");
            if way == 4 {
                assert!(len >= MESSAGE_BYTES_MAX - 2, "{len}");
            }
        }
    }
}
