//! Sends bytes that are no message, or nearly one: noise, flipped bytes, cut tails, frames beyond the limit, signatures that no
//! key could have made (F29, F37).
//!
//! All that such bytes may change is a counter. The party's own honest messages go on, so that an honest peer has something to lose.

use std::collections::BTreeSet;

use fairway_core::effect::Effect;
use fairway_core::nitro::Signature;
use fairway_core::types::{Address, Timestamp};
use fairway_core::wire::{MESSAGE_BYTES_MAX, StateClaim, Wire};

use super::forge::{noise, one_in};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "garbage";

/// Messages of garbage in one run: enough to hit every state of a channel, few enough to keep giant ones affordable.
const GARBAGE_MAX: u64 = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Garbage {
    peers: BTreeSet<Address>,
    /// The last message that passed by: what mutations start from.
    sample: Vec<u8>,
    sent: u64,
}

impl Strategy for Garbage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        _now: Timestamp,
        _me: Address,
        seen: &Seen<'_>,
        _cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        match seen {
            Seen::Message { from, wire } => {
                self.peers.insert(*from);
                self.sample = wire.encode();
            }
            Seen::Wish(Effect::Send { peer, bytes }) => {
                self.peers.insert(*peer);
                self.sample.clone_from(bytes);
            }
            Seen::Wish(_) | Seen::Block(_) | Seen::Timer => {}
        }
        let mut acts = Acts::honest(seen);
        let idle = self.sample.is_empty() || self.sent >= GARBAGE_MAX;
        if idle || !one_in(3, "garbage/now", choice) {
            return acts;
        }
        let at = choice("garbage/peer", self.peers.len() as u64) as usize;
        if let Some(peer) = self.peers.iter().nth(at).copied() {
            self.sent += 1;
            let bytes = self.make(choice);
            acts.release.push(Effect::Send { peer, bytes });
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl Garbage {
    /// One piece of garbage.
    fn make(&self, choice: &mut Choice<'_>) -> Vec<u8> {
        let mut bytes = self.sample.clone();
        match choice("garbage/kind", 6) {
            0 => {
                let len = choice("garbage/length", 400) as usize;
                noise(len, "garbage/noise", choice)
            }
            1 => {
                for _ in 0..=choice("garbage/flips", 4) {
                    let at = choice("garbage/at", bytes.len() as u64) as usize;
                    bytes[at] ^= 1 + choice("garbage/mask", 255) as u8;
                }
                bytes
            }
            2 => {
                bytes.truncate(choice("garbage/cut", bytes.len() as u64) as usize);
                bytes
            }
            3 => {
                // Around the limit on both sides; the last one is far beyond it.
                let excess = [0, 1, 2, MESSAGE_BYTES_MAX];
                let len = MESSAGE_BYTES_MAX - 1 + excess[choice("garbage/excess", 4) as usize];
                bytes.resize(len, 0xa5);
                bytes
            }
            4 => {
                bytes.push(choice("garbage/tail", 256) as u8);
                bytes
            }
            _ => malformed_signatures(&bytes, choice).unwrap_or_default(),
        }
    }
}

/// The sample with signatures that no key makes: all zero, all ones, `r` or `s` zero, a strange `v`.
fn malformed_signatures(sample: &[u8], choice: &mut Choice<'_>) -> Option<Vec<u8>> {
    let Ok(Wire::State(StateClaim { state, mut sigs })) = Wire::decode(sample) else { return None };
    for (_, sig) in &mut sigs {
        match choice("garbage/signature", 5) {
            0 => *sig = Signature([0; 65]),
            1 => *sig = Signature([0xff; 65]),
            2 => sig.0[..32].fill(0),
            3 => sig.0[32..64].fill(0),
            _ => sig.0[64] = [0, 1, 26, 29, 255][choice("garbage/v", 5) as usize],
        }
    }
    Some(Wire::State(StateClaim { state, sigs }).encode())
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::input::{Input, Verified, verify};
    use fairway_core::nitro::Crypto;

    /// Goal: every kind is made, and none of them is taken for Alice's word.
    /// Method: 300 seeded lives; what leaves beside the wishes is parsed like any peer's frame.
    #[test]
    fn garbage_leaves_beside_the_honest_messages_and_most_of_it_is_dropped() {
        let (mut dropped, mut harmless, mut giant) = (0, 0, 0);
        for seed in 0..300 {
            let mut strategy = Garbage::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::Seeded(seed);
            let wish = send(bob(), &own(&alice(), &update(2, [4, 6])));
            let released = run.wish(&wish).release;
            assert_eq!(released[0], wish);
            for effect in &released[1..] {
                let Effect::Send { peer, bytes } = effect else { panic!("{effect:?}") };
                giant += u32::from(bytes.len() > MESSAGE_BYTES_MAX);
                let input = Input::Frame { peer: *peer, bytes: bytes.clone() };
                match verify(input, &mut Crypto::Real) {
                    Verified::Dropped { .. } => dropped += 1,
                    Verified::Message { .. } | Verified::Plain(_) | Verified::Blocks { .. } => {
                        harmless += 1;
                    }
                }
            }
        }
        assert!(dropped > 80, "{dropped} of 300");
        assert!(giant > 3, "{giant} of 300");
        assert!(harmless < 10, "{harmless} of 300");
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut strategy = Garbage::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Highest;
        run.bob_signs(&prefund());
        let made: usize = (0..500).map(|_| run.timer().release.len()).sum();
        assert_eq!(made as u64, GARBAGE_MAX - 1);
    }

    #[test]
    fn nothing_is_sent_before_there_is_somebody_to_send_it_to() {
        let mut strategy = Garbage::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Highest;
        assert_eq!(run.timer().release, vec![]);
    }
}
