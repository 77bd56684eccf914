//! A payee who redeems its voucher in the last blocks before a challenge ends, and not before (F38).
//!
//! The redemption starts the challenge's time again, so the ledger channels become final before the virtual channel does. Nobody else may
//! have counted on what it said until then.

use fairway_core::effect::Effect;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, ChannelId, Timestamp};

use super::forge::is_virtual;
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "late_redeem";

/// Seconds before the end at which it is submitted, at most; drawn. Later than a block ahead it may miss the end itself.
const MARGIN_MAX_S: u64 = 4;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LateRedeem {
    margin: Option<u64>,
    kept: Option<(ChannelId, Effect)>,
}

impl Strategy for LateRedeem {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        _now: Timestamp,
        _me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let margin =
            *self.margin.get_or_insert_with(|| 1 + choice("late-redeem/margin", MARGIN_MAX_S));
        match seen {
            Seen::Wish(effect) => {
                let Some(channel) = redeemed(effect) else { return Acts::honest(seen) };
                if cabal.record.running(channel).is_none() {
                    return Acts::honest(seen);
                }
                self.kept = Some((channel, (*effect).clone()));
                Acts::default()
            }
            Seen::Block(_) => {
                let now = cabal.record.now.0;
                let due = self.kept.take_if(|(channel, _)| {
                    let end = cabal.record.running(*channel).map(|r| r.finalizes_at.0);
                    end.is_none_or(|end| end <= now.saturating_add(margin))
                });
                Acts::instead(due.into_iter().map(|(_, effect)| effect).collect())
            }
            Seen::Message { .. } | Seen::Timer => Acts::default(),
        }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

/// The virtual channel whose voucher an effect redeems.
fn redeemed(effect: &Effect) -> Option<ChannelId> {
    let Effect::Submit { call: Call::Challenge { proof, candidate, .. }, .. } = effect else {
        return None;
    };
    let redeems = !proof.is_empty() && is_virtual(&candidate.state);
    redeems.then(|| candidate.state.fixed.channel_id())
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::nitro::{Claim, Log};
    use fairway_core::types::ChainTime;

    fn redemption() -> Effect {
        let postfund = Claim::from(&agreed_by_all(&virtual_state(1, 0)));
        let state = virtual_state(2, 2);
        let challenger_sig = bob().sign(state.hash());
        let candidate = Claim { sigs: vec![bob().sign(state.hash())], state };
        let call = Call::Challenge { proof: vec![postfund], candidate, challenger_sig };
        Effect::submit(call)
    }

    #[test]
    fn the_redemption_waits_for_the_last_block() {
        let mut strategy = LateRedeem::default();
        let mut run = Run::new(&mut strategy, bob());
        let candidate = Claim::from(&agreed_by_all(&virtual_state(1, 0)));
        let (channel, finalizes_at) = (virtual_id(), ChainTime(10));
        let log = Log::ChallengeRegistered { channel, finalizes_at, candidate };
        run.see(&Seen::Block(&block_at(1, [log])));
        assert_eq!(run.wish(&redemption()).release, vec![]);
        assert_eq!(run.see(&Seen::Block(&empty_block(8))).release, vec![]);
        assert_eq!(run.see(&Seen::Block(&empty_block(9))).release, vec![redemption()]);
        assert_eq!(run.see(&Seen::Block(&empty_block(10))).release, vec![]);
    }

    #[test]
    fn without_a_challenge_it_is_not_kept() {
        let mut strategy = LateRedeem::default();
        let mut run = Run::new(&mut strategy, bob());
        assert_eq!(run.wish(&redemption()).release.len(), 1);
    }
}
