//! A payee whose redemption has simple entries, which the application does not check, and who pays one wei of dust out of the finalized
//! virtual channel: from then on no ledger channel can reclaim its guarantee.
//!
//! **This attack works.** It is the known limit of the deployed application, and the reason why a hub must be able to hold its payees to
//! account (decision 10, `SECURITY.md`). The strategy is here so that the invariants are known to see the loss.

use std::collections::BTreeMap;

use fairway_core::effect::Effect;
use fairway_core::nitro::{AllocationType, Call, Claim};
use fairway_core::types::{Address, Amount, ChannelId, Timestamp};

use super::forge::is_virtual;
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "poisoned_redemption";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct PoisonedRedemption {
    /// Channels whose redemption was poisoned, and what was done since.
    poisoned: BTreeMap<ChannelId, Done>,
}

/// What was done to a poisoned channel.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    has_dust: bool,
    is_paid: bool,
}

impl Strategy for PoisonedRedemption {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        _now: Timestamp,
        me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        _choice: &mut Choice<'_>,
    ) -> Acts {
        match seen {
            Seen::Wish(Effect::Submit {
                call: Call::Challenge { proof, candidate, .. }, ..
            }) if !proof.is_empty() && is_virtual(&candidate.state) => {
                let channel = candidate.state.fixed.channel_id();
                let Some(call) = poison(proof, candidate, me, cabal) else {
                    return Acts::honest(seen);
                };
                self.poisoned.entry(channel).or_default();
                Acts::instead(vec![Effect::submit(call)])
            }
            // The inner node would reclaim: the loss would be the smaller.
            Seen::Wish(Effect::Submit { call: Call::Reclaim(_), .. }) => Acts::default(),
            Seen::Block(_) => {
                let calls = self.poisoned.iter_mut().filter_map(|(c, done)| next(*c, done, cabal));
                Acts::instead(calls.map(Effect::submit).collect())
            }
            Seen::Wish(_) | Seen::Message { .. } | Seen::Timer => Acts::honest(seen),
        }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

/// The same redemption with entries that anybody pays out.
fn poison(proof: &[Claim], candidate: &Claim, me: Address, cabal: &Cabal) -> Option<Call> {
    let mut state = candidate.state.clone();
    for entry in &mut state.outcome.first_mut()?.allocations {
        entry.allocation_type = AllocationType::SIMPLE;
    }
    let sigs = cabal.sign(me, &state)?.sigs.into_iter().map(|(_, sig)| sig).collect();
    let challenger_sig = cabal.sign_challenge(me, &state)?;
    let candidate = Claim { state, sigs };
    Some(Call::Challenge { proof: proof.to_vec(), candidate, challenger_sig })
}

/// Dust while the challenge runs, its payout in the first block after.
fn next(channel: ChannelId, done: &mut Done, cabal: &Cabal) -> Option<Call> {
    if !done.has_dust && cabal.record.running(channel).is_some() {
        done.has_dust = true;
        return Some(cabal.record.deposit(channel, Amount::wei(1)));
    }
    // Submitted a block ahead: it is mined in the first one in which the outcome is final.
    let end = cabal.record.outcomes.get(&channel)?.finalizes_at.0;
    if done.has_dust && !done.is_paid && end <= cabal.record.now.0.saturating_add(1) {
        done.is_paid = true;
        return cabal.record.transfer(channel, vec![0]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::nitro::Log;
    use fairway_core::types::ChainTime;

    #[test]
    fn the_redemption_is_poisoned_and_the_dust_paid_out() {
        let mut strategy = PoisonedRedemption::default();
        let mut run = Run::new(&mut strategy, bob());
        let postfund = Claim::from(&agreed_by_all(&virtual_state(1, 0)));
        let state = virtual_state(2, 2);
        let challenger_sig = bob().sign(state.hash());
        let candidate = Claim { sigs: vec![bob().sign(state.hash())], state };
        let call = Call::Challenge { proof: vec![postfund], candidate, challenger_sig };
        let acts = run.wish(&Effect::submit(call));
        let released = calls(&acts.release);
        let [Call::Challenge { candidate, .. }] = released.as_slice() else {
            panic!("{released:?}")
        };
        assert!(!is_virtual(&candidate.state));
        let (channel, finalizes_at) = (virtual_id(), ChainTime(10));
        let candidate = candidate.clone();
        let log = Log::ChallengeRegistered { channel, finalizes_at, candidate };
        let dust = run.see(&Seen::Block(&block_at(1, [log])));
        assert!(matches!(calls(&dust.release).as_slice(), [Call::Deposit { .. }]));
        assert_eq!(run.see(&Seen::Block(&empty_block(8))).release, vec![]);
        let paid = run.see(&Seen::Block(&empty_block(9)));
        assert!(matches!(calls(&paid.release).as_slice(), [Call::Transfer { .. }]));
    }
}
