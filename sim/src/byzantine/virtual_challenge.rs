//! Takes a virtual channel to the chain with its prefund or postfund, in which nothing was paid, while vouchers exist (F32).
//!
//! Whoever takes part can do it: the payer gains what it has promised, a hub what it owes to the payee. The contract hears the payee's
//! redemption until the challenge ends; a payee who sleeps loses.

use std::collections::BTreeMap;

use fairway_core::effect::Effect;
use fairway_core::types::{Address, ChannelId};

use super::forge::{challenge, one_in, open_virtuals};
use super::{BesideHonesty, Cabal, Choice};

pub(super) const NAME: &str = "stale_virtual_challenge";

/// Blocks with an open virtual channel after which the attack comes even if no voucher was seen: hubs see none.
const BLOCKS_MAX: u64 = 24;

/// Challenges of one channel: a second one, with the other state, is worth a try.
const CHALLENGES_MAX: u64 = 3;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct VirtualChallenge {
    channels: BTreeMap<ChannelId, Progress>,
}

/// How far the attack on one channel is.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Blocks to wait, drawn.
    wait: u64,
    made: u64,
}

impl BesideHonesty for VirtualChallenge {
    const NAME: &'static str = NAME;

    fn at_block(&mut self, me: Address, cabal: &mut Cabal, choice: &mut Choice<'_>) -> Vec<Effect> {
        let mut release = Vec::new();
        for (channel, postfund) in open_virtuals(cabal, me) {
            let progress = self.channels.entry(channel).or_insert_with(|| Progress {
                wait: 1 + choice("virtual-challenge/wait", BLOCKS_MAX),
                made: 0,
            });
            progress.wait = progress.wait.saturating_sub(1);
            let ripe = progress.wait == 0 || cabal.vouchers.contains_key(&channel);
            let more = progress.made < CHALLENGES_MAX;
            if !ripe || !more || !one_in(3, "virtual-challenge/now", choice) {
                continue;
            }
            let with_prefund = choice("virtual-challenge/with-prefund", 2) == 1;
            let prefund = cabal.supported(channel).next().filter(|_| with_prefund);
            let call = challenge(prefund.unwrap_or(&postfund), me, cabal);
            progress.made += 1;
            release.extend(call.map(Effect::submit));
        }
        release
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::nitro::Call;

    #[test]
    fn a_voucher_makes_it_challenge_with_a_state_in_which_nothing_was_paid() {
        for (draws, turn) in [(Draws::Highest, 0), (Draws::One("virtual-challenge/now", 2), 1)] {
            let mut strategy = VirtualChallenge::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = draws;
            opened(&mut run);
            pay(&mut run, 2);
            let acts = run.see(&Seen::Block(&empty_block(1)));
            let calls = calls(&acts.release);
            let [Call::Challenge { candidate, proof, .. }] = calls.as_slice() else {
                panic!("{calls:?}")
            };
            assert_eq!((&candidate.state, proof.len()), (&virtual_state(turn, 0), 0));
            assert_eq!(candidate.sigs.len(), 3);
        }
    }

    #[test]
    fn a_channel_that_is_not_open_is_left_alone() {
        let mut strategy = VirtualChallenge::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Highest;
        everybody_signs(&mut run, &virtual_state(0, 0));
        assert_eq!(run.see(&Seen::Block(&empty_block(1))).release, vec![]);
    }
}
