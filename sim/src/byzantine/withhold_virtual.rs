//! Keeps back one kind of message about virtual channels: the postfund, the final signature, a guarantee, its removal on one side (F33).
//!
//! A file for four strategies that differ in the kind alone. From whom it is kept is drawn: from everybody, from the first peer that
//! would have got one, from all but that one.

use fairway_core::effect::Effect;
use fairway_core::nitro::State;
use fairway_core::types::{Address, Timestamp, TurnNum};
use fairway_core::wire::Wire;

use super::forge::{guarantees_something, is_virtual, sent};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const POSTFUND: &str = "withhold_postfund";
pub(super) const FINAL: &str = "withhold_virtual_final";
pub(super) const GUARANTEE: &str = "withhold_guarantee";
pub(super) const REMOVAL: &str = "withhold_removal";

/// See the module.
#[derive(Clone, Debug)]
pub struct WithholdVirtual {
    kind: Kind,
    scope: Option<Scope>,
    first: Option<Address>,
}

/// What is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The signature under the postfund.
    Postfund,
    /// The signature under the final state.
    Final,
    /// Signatures under ledger states that add a guarantee.
    Guarantee,
    /// Signatures under ledger states that give one back.
    Removal,
}

/// From whom it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Everybody,
    FirstPeer,
    AllButFirstPeer,
}

impl WithholdVirtual {
    /// Withholds this kind.
    pub fn new(kind: Kind) -> WithholdVirtual {
        WithholdVirtual { kind, scope: None, first: None }
    }
}

impl Strategy for WithholdVirtual {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Postfund => POSTFUND,
            Kind::Final => FINAL,
            Kind::Guarantee => GUARANTEE,
            Kind::Removal => REMOVAL,
        }
    }

    fn act(
        &mut self,
        _now: Timestamp,
        _me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let Seen::Wish(effect) = seen else { return Acts::default() };
        let honest = Acts::honest(seen);
        let Some(peer) = self.kind.covers(effect, cabal) else { return honest };
        let scope = *self.scope.get_or_insert_with(|| match choice("withhold-virtual/scope", 3) {
            0 => Scope::Everybody,
            1 => Scope::FirstPeer,
            _ => Scope::AllButFirstPeer,
        });
        let is_first = *self.first.get_or_insert(peer) == peer;
        let kept = match scope {
            Scope::Everybody => true,
            Scope::FirstPeer => is_first,
            Scope::AllButFirstPeer => !is_first,
        };
        if kept { Acts::default() } else { honest }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl Kind {
    /// To whom the effect tells something of this kind.
    fn covers(self, effect: &Effect, cabal: &Cabal) -> Option<Address> {
        let (peer, wire) = sent(effect)?;
        let state = &wire.claims().next()?.state;
        let turn = |turn| is_virtual(state) && state.turn == turn;
        let is_state =
            matches!(wire, Wire::State(_) | Wire::VirtualState { .. } | Wire::Proposal { .. });
        let covered = is_state
            && match self {
                Kind::Postfund => turn(TurnNum::POSTFUND),
                Kind::Final => turn(TurnNum::VIRTUAL_FINAL),
                Kind::Guarantee => count(state) > supported_count(state, cabal),
                Kind::Removal => !is_virtual(state) && count(state) < supported_count(state, cabal),
            };
        covered.then_some(peer)
    }
}

/// Guarantees in a ledger state.
fn count(state: &State) -> usize {
    let entries = state.outcome.iter().flat_map(|exit| &exit.allocations);
    if guarantees_something(state) {
        entries.into_iter().filter(|a| !a.destination.is_external()).count()
    } else {
        0
    }
}

/// Guarantees in the newest state before this one that everybody signed.
fn supported_count(state: &State, cabal: &Cabal) -> usize {
    let before = cabal.supported(state.fixed.channel_id()).rev().find(|s| s.turn() < state.turn);
    before.map_or(0, |s| count(s.state()))
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::nitro::SecretKey;

    fn leaves(run: &mut Run<'_>, to: &SecretKey, state: &State) -> bool {
        let wish = tell(to, &virtual_wire(&[irene()], state));
        run.wish(&wish).release == vec![wish]
    }

    #[test]
    fn the_postfund_is_kept_from_whom_the_draw_says() {
        for (scope, expected) in [(0, [false, false]), (1, [false, true]), (2, [true, false])] {
            let mut strategy = WithholdVirtual::new(Kind::Postfund);
            let mut run = Run::new(&mut strategy, irene());
            run.draws = Draws::One("withhold-virtual/scope", scope);
            for to in [alice(), bob()] {
                assert!(leaves(&mut run, &to, &virtual_state(0, 0)));
            }
            let left = [alice(), bob()].map(|to| leaves(&mut run, &to, &virtual_state(1, 0)));
            assert_eq!(left, expected);
            assert!(leaves(&mut run, &bob(), &virtual_state(3, 0)));
        }
    }

    #[test]
    fn the_final_signature_is_kept() {
        let mut strategy = WithholdVirtual::new(Kind::Final);
        let mut run = Run::new(&mut strategy, irene());
        assert!(leaves(&mut run, &bob(), &virtual_state(1, 0)));
        assert!(!leaves(&mut run, &bob(), &virtual_state(3, 2)));
    }

    #[test]
    fn guarantees_and_their_removal_are_told_apart() {
        for (kind, kept) in [(Kind::Guarantee, [true, false]), (Kind::Removal, [false, true])] {
            let mut strategy = WithholdVirtual::new(kind);
            let mut run = Run::new(&mut strategy, irene());
            ledger_agreed(&mut run, &ledger_state(1, false));
            let add = signed_by(&[irene()], &ledger_state(2, true));
            let wish = tell(&alice(), &Wire::State(add));
            assert_eq!(run.wish(&wish).release.is_empty(), kept[0], "{kind:?}");
            ledger_agreed(&mut run, &ledger_state(2, true));
            let remove = signed_by(&[irene()], &ledger_state(3, false));
            let wish = tell(&alice(), &Wire::Proposal { claim: remove, evidence: vec![] });
            assert_eq!(run.wish(&wish).release.is_empty(), kept[1], "{kind:?}");
        }
    }
}
