//! Shows states that nobody agreed to, with signature maps that are not what they claim (F29, F6).
//!
//! Each forgery is one that some verifier has let through somewhere: bytes at random, the high-s twin of a true signature, a true
//! signature under another participant's index, one of another state, a `v` that recovers by accident, an index beyond the
//! participants, indices out of order.

use fairway_core::effect::Effect;
use fairway_core::nitro::{Call, Claim, Signature, SignedState, State};
use fairway_core::types::{Address, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::forge::{high_s_twin, newest_with_peer, noise, one_in, share, shift};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "forged_signatures";

/// Forgeries in one run.
const FORGERIES_MAX: u64 = 64;

/// Ways to forge, see [`ForgedSignatures::forge`].
const WAYS: u64 = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ForgedSignatures {
    forged: u64,
}

impl Strategy for ForgedSignatures {
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
        let mut acts = Acts::honest(seen);
        for (peer, newest) in newest_with_peer(cabal, me) {
            let worthwhile = newest.turn() >= TurnNum::POSTFUND && !newest.state().is_final;
            let idle = !worthwhile || self.forged >= FORGERIES_MAX;
            if idle || !one_in(6, "forged-signatures/now", choice) {
                continue;
            }
            if let Some(claim) = ForgedSignatures::forge(&newest, peer, me, cabal, choice) {
                self.forged += 1;
                acts.release.push(package(newest, claim, peer, me, cabal, choice));
            }
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl ForgedSignatures {
    /// The next state, all money to `me`, as if the peer had agreed to it.
    fn forge(
        newest: &SignedState,
        peer: Address,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Option<StateClaim> {
        let mut state = newest.state().clone();
        state.turn = state.turn.next()?;
        state.is_final = choice("forged-signatures/final", 2) == 1;
        let theirs = share(&state.outcome, peer);
        shift(&mut state.outcome, me, theirs);
        let index = |who| state.fixed.index_of(who).and_then(|i| u8::try_from(i).ok());
        let (mine, their_index) = (cabal.sign(me, &state)?.sigs[0], index(peer)?);
        let beyond = u8::try_from(state.fixed.participants.len()).ok()?;
        let mut sigs = match choice("forged-signatures/way", WAYS) {
            0 => vec![mine, (their_index, random_signature(choice))],
            1 => vec![(mine.0, high_s_twin(&mine.1))],
            2 => vec![mine, (their_index, mine.1)],
            3 => vec![(their_index, mine.1)],
            4 => vec![mine, (their_index, *newest.sigs().get(&their_index)?)],
            5 => {
                let mut sig = mine.1;
                sig.0[64] = [0, 1, 2, 26, 29, 35][choice("forged-signatures/v", 6) as usize];
                vec![(mine.0, sig)]
            }
            6 => vec![mine, (beyond, mine.1), (u8::MAX, mine.1)],
            _ => {
                let sigs = vec![(1, mine.1), (0, mine.1), (0, mine.1)];
                return Some(StateClaim { state, sigs });
            }
        };
        sigs.sort_by_key(|(index, _)| *index);
        Some(StateClaim { state, sigs })
    }
}

/// The forgery as a state, as an answer about what is known, or as a challenge that the contract must revert.
fn package(
    newest: SignedState,
    claim: StateClaim,
    peer: Address,
    me: Address,
    cabal: &Cabal,
    choice: &mut Choice<'_>,
) -> Effect {
    let channel = newest.channel();
    let send = |wire: Wire| Effect::Send { peer, bytes: wire.encode() };
    match choice("forged-signatures/package", 6) {
        4 => send(Wire::Resume { channel, supported: Some(claim), yours: None }),
        5 => match cabal.sign_challenge(me, &claim.state) {
            Some(challenger_sig) => {
                let candidate = on_chain(claim.state, claim.sigs);
                Effect::submit(Call::Challenge { proof: Vec::new(), candidate, challenger_sig })
            }
            None => send(Wire::State(claim)),
        },
        _ => send(Wire::State(claim)),
    }
}

fn on_chain(state: State, sigs: Vec<(u8, Signature)>) -> Claim {
    Claim { state, sigs: sigs.into_iter().map(|(_, sig)| sig).collect() }
}

/// Well-formed, and of nobody in particular.
fn random_signature(choice: &mut Choice<'_>) -> Signature {
    let mut sig = Signature([0; 65]);
    sig.0[..64].copy_from_slice(&noise(64, "forged-signatures/noise", choice));
    sig.0[32] &= 0x3f;
    sig.0[64] = 27;
    sig
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::input::{Input, Verified, verify};
    use fairway_core::nitro::Crypto;

    fn forgery(way: u64) -> Vec<Effect> {
        let mut strategy = ForgedSignatures::default();
        let mut run = Run::new(&mut strategy, alice());
        run.agree(&update(2, [4, 6]));
        run.draws = Draws::Two([("forged-signatures/now", 5), ("forged-signatures/way", way)]);
        run.timer().release
    }

    #[test]
    fn every_way_makes_a_message_that_verification_drops() {
        for way in 0..WAYS {
            let forged = forgery(way);
            let [Effect::Send { peer, bytes }] = forged.as_slice() else { panic!("{forged:?}") };
            let input = Input::Frame { peer: *peer, bytes: bytes.clone() };
            let verified = verify(input, &mut Crypto::Real);
            assert!(matches!(verified, Verified::Dropped { .. }), "way {way}: {verified:?}");
        }
    }

    #[test]
    fn the_forged_state_would_give_everything_to_the_forger() {
        let wires = wires(&forgery(0));
        let [Wire::State(claim)] = wires.as_slice() else { panic!("{wires:?}") };
        assert_eq!(claim.state, update(3, [10, 0]));
        assert_eq!(claim.sigs.len(), 2);
    }

    #[test]
    fn a_forgery_may_go_to_the_chain() {
        let mut strategy = ForgedSignatures::default();
        let mut run = Run::new(&mut strategy, alice());
        run.agree(&update(2, [4, 6]));
        run.draws = Draws::Two([("forged-signatures/now", 5), ("forged-signatures/package", 5)]);
        let acts = run.timer();
        assert!(matches!(calls(&acts.release).as_slice(), [Call::Challenge { .. }]));
    }

    #[test]
    fn nothing_is_forged_before_the_channel_is_funded() {
        let mut strategy = ForgedSignatures::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Highest;
        run.agree(&prefund());
        assert_eq!(run.timer().release, vec![]);
    }
}
