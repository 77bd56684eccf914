//! Parties that do not keep to the protocol. Honest nodes never know which of their peers is one.
//!
//! A byzantine party may run an honest node inside: its strategy sees everything that reaches the party and everything that the
//! inner node wants to release, and decides what really leaves. What it can sign is limited by the types: the [`Cabal`] holds the
//! coalition's keys and every signature that any of its members ever saw, and nothing else.
//!
//! Every strategy lets real progress happen before its deed, because a peer that misbehaves from the first byte risks nothing of
//! anybody's. Catalogue: F29 to F38 of the fault model.

mod altered_final;
mod bad_vouchers;
mod cabal;
mod collude;
mod equivocate;
mod flood_of_virtuals;
mod forge;
mod forged_evidence;
mod forged_guarantees;
mod forged_signatures;
mod garbage;
mod late_redeem;
mod low_final;
mod meddler;
mod mixed;
mod oversized;
mod poisoned_redemption;
mod ransom;
mod record;
mod rejections;
mod short_change;
mod stale_challenge;
#[cfg(test)]
mod testkit;
mod virtual_challenge;
#[cfg(test)]
mod virtual_testkit;
mod withhold;
mod withhold_virtual;

use fairway_core::chain_types::Block;
use fairway_core::effect::Effect;
use fairway_core::nitro::Recover;
use fairway_core::types::{Address, Timestamp};
use fairway_core::wire::Wire;

pub use altered_final::AlteredFinal;
pub use bad_vouchers::BadVouchers;
pub use cabal::Cabal;
pub use collude::Collude;
pub use equivocate::Equivocate;
pub use flood_of_virtuals::FloodOfVirtuals;
pub use forged_evidence::ForgedEvidence;
pub use forged_guarantees::ForgedGuarantees;
pub use forged_signatures::ForgedSignatures;
pub use garbage::Garbage;
pub use late_redeem::LateRedeem;
pub use low_final::LowFinal;
pub use meddler::Meddler;
pub use mixed::Mixed;
pub use oversized::Oversized;
pub use poisoned_redemption::PoisonedRedemption;
pub use ransom::Ransom;
pub use record::{OnRecord, Record};
pub use rejections::Rejections;
pub use short_change::ShortChange;
pub use stale_challenge::StaleChallenge;
pub use virtual_challenge::VirtualChallenge;
pub use withhold::Withhold;
pub use withhold_virtual::{Kind as Withheld, WithholdVirtual};

/// Draws a number below `n` at a named site; the tape answers. `n` is at least 1.
pub type Choice<'a> = dyn FnMut(&'static str, u64) -> u64 + 'a;

/// What a strategy is called about.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A message reached the party; the inner node gets it too, unless [`Acts::hide_from_inner`] is set.
    Message {
        /// From whom.
        from: Address,
        /// What.
        wire: &'a Wire,
    },
    /// The inner honest node wants to release this. It leaves only if the strategy returns it.
    Wish(&'a Effect),
    /// A block was mined.
    Block(&'a Block),
    /// Time passed.
    Timer,
}

/// What a strategy does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Acts {
    /// Effects that leave the party now.
    pub release: Vec<Effect>,
    /// Whether the inner node is kept from what was seen.
    pub hide_from_inner: bool,
}

impl Acts {
    /// What an honest party would do: the wish leaves, nothing else happens.
    pub fn honest(seen: &Seen<'_>) -> Acts {
        let release = match seen {
            Seen::Wish(effect) => vec![(*effect).clone()],
            Seen::Message { .. } | Seen::Block(_) | Seen::Timer => Vec::new(),
        };
        Acts { release, hide_from_inner: false }
    }

    /// These effects leave instead of whatever was wished for.
    pub fn instead(release: Vec<Effect>) -> Acts {
        Acts { release, hide_from_inner: false }
    }
}

/// One way to misbehave. Cloning one clones everything, so that worlds can be forked; chance is therefore an argument.
pub trait Strategy {
    /// Its name in scenarios.
    fn name(&self) -> &'static str;

    /// What the party does about what it sees. `me` is its address. Called through [`act`], which keeps the cabal's memory.
    fn act(
        &mut self,
        now: Timestamp,
        me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts;

    /// A copy of this strategy with everything that it remembers.
    fn boxed_clone(&self) -> Box<dyn Strategy + Send>;
}

/// A strategy that does what an honest node does, and at each block something beside it.
pub(super) trait BesideHonesty: Clone + Send + 'static {
    /// Its name in scenarios.
    const NAME: &'static str;

    /// What is released beside what an honest node releases. `me` is the party's address.
    fn at_block(&mut self, me: Address, cabal: &mut Cabal, choice: &mut Choice<'_>) -> Vec<Effect>;
}

impl<T: BesideHonesty> Strategy for T {
    fn name(&self) -> &'static str {
        T::NAME
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
        if let Seen::Block(_) = seen {
            acts.release.extend(self.at_block(me, cabal, choice));
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Strategy + Send> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}

/// The one entry for engines: the cabal learns what was seen, the strategy acts, the cabal learns what was released.
///
/// A signature that a strategy makes is thereby remembered like any other, and can support an old state later.
pub fn act(
    strategy: &mut (dyn Strategy + Send),
    now: Timestamp,
    me: Address,
    seen: &Seen<'_>,
    cabal: &mut Cabal,
    crypto: &mut dyn Recover,
    choice: &mut Choice<'_>,
) -> Acts {
    cabal.learn_seen(seen, crypto);
    let acts = strategy.act(now, me, seen, cabal, choice);
    for effect in &acts.release {
        cabal.learn_effect(effect, crypto);
    }
    acts
}

/// How a strategy begins.
type Make = fn() -> Box<dyn Strategy + Send>;

/// The one list of strategies, by their names in scenarios.
pub const STRATEGIES: &[(&str, Make)] = &[
    (withhold::NAME, || Box::new(Withhold::default())),
    (garbage::NAME, || Box::new(Garbage::default())),
    (altered_final::NAME, || Box::new(AlteredFinal::default())),
    (forged_signatures::NAME, || Box::new(ForgedSignatures::default())),
    (stale_challenge::NAME, || Box::new(StaleChallenge::default())),
    (equivocate::NAME, || Box::new(Equivocate::default())),
    (ransom::NAME, || Box::new(Ransom::default())),
    (short_change::NAME, || Box::new(ShortChange::default())),
    (virtual_challenge::NAME, || Box::new(VirtualChallenge::default())),
    (low_final::NAME, || Box::new(LowFinal::default())),
    (bad_vouchers::NAME, || Box::new(BadVouchers::default())),
    (withhold_virtual::POSTFUND, || Box::new(WithholdVirtual::new(Withheld::Postfund))),
    (withhold_virtual::FINAL, || Box::new(WithholdVirtual::new(Withheld::Final))),
    (withhold_virtual::GUARANTEE, || Box::new(WithholdVirtual::new(Withheld::Guarantee))),
    (withhold_virtual::REMOVAL, || Box::new(WithholdVirtual::new(Withheld::Removal))),
    (forged_guarantees::NAME, || Box::new(ForgedGuarantees::default())),
    (forged_evidence::NAME, || Box::new(ForgedEvidence::default())),
    (flood_of_virtuals::NAME, || Box::new(FloodOfVirtuals::default())),
    (oversized::NAME, || Box::new(Oversized::default())),
    (rejections::NAME, || Box::new(Rejections::default())),
    (meddler::NAME, || Box::new(Meddler::default())),
    (collude::NAME, || Box::new(Collude::default())),
    (late_redeem::NAME, || Box::new(LateRedeem::default())),
    (poisoned_redemption::NAME, || Box::new(PoisonedRedemption::default())),
    (mixed::NAME, || Box::new(Mixed::default())),
];

/// The strategy of that name, at its beginning.
pub fn by_name(name: &str) -> Option<Box<dyn Strategy + Send>> {
    STRATEGIES.iter().find(|(n, _)| *n == name).map(|(_, make)| make())
}

/// Every name that [`by_name`] knows, for checks of scenario files.
pub fn names() -> impl Iterator<Item = &'static str> {
    STRATEGIES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::testkit::*;
    use super::*;

    #[test]
    fn every_strategy_is_found_by_its_own_name() {
        for name in names() {
            assert_eq!(by_name(name).expect("it is in the list").name(), name);
        }
        assert!(by_name("honest").is_none());
    }

    /// Goal: progress is possible: whatever is drawn, the opening of a channel goes through.
    /// Method: the first wish is Alice's prefund; the drawn numbers are all zero, then all as large as they can be.
    #[test]
    fn the_opening_passes_through_every_strategy() {
        for name in names() {
            for high in [false, true] {
                let mut strategy = by_name(name).expect("it is in the list");
                let mut run = Run::new(strategy.as_mut(), alice());
                run.draws = if high { Draws::Highest } else { Draws::Lowest };
                let wish = send(bob(), &own(&alice(), &prefund()));
                let released = run.wish(&wish).release;
                assert!(released.contains(&wish), "{name}, high = {high}");
            }
        }
    }

    /// Goal: no strategy can show a signature that an honest key did not make.
    /// Method: Alice runs each strategy through a whole channel life; every claim that leaves is checked against what Bob signed.
    #[test]
    fn no_release_carries_a_new_signature_of_an_honest_key() {
        for name in names() {
            for seed in 0..20 {
                let mut strategy = by_name(name).expect("it is in the list");
                let mut run = Run::new(strategy.as_mut(), alice());
                run.draws = Draws::Seeded(seed);
                for effect in run.whole_life() {
                    let shown = states_in(&effect);
                    assert!(
                        shown.iter().all(|s| !s.signed_by(1) || run.bob_signed.contains(&s.hash())),
                        "{name} with seed {seed} shows a state that Bob never signed"
                    );
                }
            }
        }
    }
}
