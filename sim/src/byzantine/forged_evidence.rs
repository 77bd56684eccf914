//! Shows states of virtual channels, and evidence beside ledger states, with signatures that are not what they claim to be: exchanged,
//! foreign, with the other `s`, of another state, random (F29).
//!
//! The honest messages go on beside them.

use fairway_core::effect::Effect;
use fairway_core::nitro::{SecretKey, Signature, State};
use fairway_core::types::{Address, Amount, TurnNum};
use fairway_core::virtual_channel::outcome;
use fairway_core::wire::{StateClaim, Wire};

use super::forge::{high_s_twin, newest_with_peer, noise, one_in, open_virtuals, send_wire};
use super::{BesideHonesty, Cabal, Choice};

pub(super) const NAME: &str = "forged_evidence";

/// Forgeries in one run.
const FORGERIES_MAX: u64 = 96;

/// Ways to forge.
const WAYS: u64 = 6;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ForgedEvidence {
    made: u64,
}

impl BesideHonesty for ForgedEvidence {
    const NAME: &'static str = NAME;

    fn at_block(&mut self, me: Address, cabal: &mut Cabal, choice: &mut Choice<'_>) -> Vec<Effect> {
        let mut release = Vec::new();
        for (_, postfund) in open_virtuals(cabal, me) {
            if self.made >= FORGERIES_MAX || !one_in(2, "forged-evidence/now", choice) {
                continue;
            }
            let Some(claim) = forge(postfund.state(), me, cabal, choice) else { continue };
            self.made += 1;
            let peers = postfund.state().fixed.participants.iter().filter(|p| **p != me);
            for peer in peers {
                let wire = package(claim.clone(), *peer, me, cabal, choice);
                release.push(send_wire(*peer, &wire));
            }
        }
        release
    }
}

/// A final state in which nothing or everything was paid, as if everybody had agreed to it.
fn forge(
    postfund: &State,
    me: Address,
    cabal: &Cabal,
    choice: &mut Choice<'_>,
) -> Option<StateClaim> {
    let key: &SecretKey = cabal.keys.get(&me)?;
    let fixed = postfund.fixed.clone();
    let exit = postfund.outcome.first()?;
    let amount = exit.total()?;
    let paid = if choice("forged-evidence/paid", 2) == 0 { Amount::ZERO } else { amount };
    let state = State {
        outcome: outcome(&fixed.participants, exit.asset, amount, paid)?,
        turn: TurnNum::VIRTUAL_FINAL,
        is_final: true,
        app_data: Default::default(),
        fixed,
    };
    let hash = state.hash();
    let mine = key.sign(hash);
    let way = choice("forged-evidence/way", WAYS);
    let mut forged = |index: u8, who: Address| -> Signature {
        match (cabal.keys.get(&who), way) {
            (Some(member), 0) => high_s_twin(&member.sign(hash)),
            (Some(member), _) => member.sign(hash),
            (None, 1) => mine,
            (None, 2) => high_s_twin(&mine),
            (None, 3) => key.sign(postfund.hash()),
            // The true signature of that participant under the postfund.
            (None, 4) => cabal
                .supported(postfund.fixed.channel_id())
                .find_map(|s| s.sigs().get(&index).copied())
                .unwrap_or(mine),
            (None, _) => {
                let mut sig = mine;
                sig.0[..64].copy_from_slice(&noise(64, "forged-evidence/noise", choice));
                sig
            }
        }
    };
    let participants = state.fixed.participants.clone();
    let sigs = (0u8..).zip(participants).map(|(i, who)| (i, forged(i, who))).collect();
    Some(StateClaim { state, sigs })
}

/// The forgery as a state, as evidence for a guarantee that is given back, or as an answer about what is known.
fn package(
    claim: StateClaim,
    peer: Address,
    me: Address,
    cabal: &Cabal,
    choice: &mut Choice<'_>,
) -> Wire {
    let channel = claim.state.fixed.channel_id();
    let ledger = newest_with_peer(cabal, me)
        .into_iter()
        .find(|(p, s)| *p == peer && s.state().fixed.participants.len() == 2);
    match (choice("forged-evidence/package", 3), ledger) {
        (1, Some((_, newest))) => {
            let mut state = newest.state().clone();
            state.turn = state.turn.next().unwrap_or(state.turn);
            if let Some(exit) = state.outcome.first_mut() {
                exit.allocations.retain(|a| a.destination.is_external());
            }
            match cabal.sign(me, &state) {
                Some(ledger) => Wire::Proposal { claim: ledger, evidence: vec![claim] },
                None => Wire::VirtualState { claim, ledger: None },
            }
        }
        (2, _) => Wire::VirtualResume { channel, voucher: None, newest: Some(claim) },
        _ => Wire::VirtualState { claim, ledger: None },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::nitro::{Crypto, SignedState};

    #[test]
    fn no_way_makes_a_state_that_everybody_signed() {
        for way in 0..WAYS {
            let mut strategy = ForgedEvidence::default();
            let mut run = Run::new(&mut strategy, irene());
            run.draws = Draws::Two([("forged-evidence/now", 1), ("forged-evidence/way", way)]);
            opened(&mut run);
            let wires = wires(&run.see(&Seen::Block(&empty_block(1))).release);
            assert!(!wires.is_empty());
            for claim in wires.iter().flat_map(Wire::claims) {
                let (state, sigs) = (claim.state.clone(), claim.sigs.clone());
                let checked = SignedState::verify(state, sigs, &mut Crypto::Real);
                assert!(checked.is_err(), "way {way}");
            }
        }
    }
}
