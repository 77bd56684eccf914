//! Keeps something back from a drawn moment on: a countersignature, the final signature, a deposit, every word (F33).
//!
//! Honest parties must end by deadline and dispute, and must never have served anything that they were not secured for.

use std::collections::BTreeSet;

use fairway_core::effect::Effect;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, Timestamp, TurnNum};
use fairway_core::wire::Wire;

use super::forge::sent_state;
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "withhold";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Withhold {
    plan: Option<Plan>,
    /// Digests of what was let through of the kept kind: a resend is not a new message.
    passed: BTreeSet<[u8; 32]>,
    begun: bool,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    kind: Kind,
    /// How many different ones are let through first.
    after: u64,
}

/// What is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Countersignatures,
    Finals,
    Postfund,
    Deposits,
    Acks,
    Requests,
    Everything,
}

/// Each kind with the number of its kind that the drawn moment may wait for, at least and in addition.
const KINDS: [(Kind, u64, u64); 7] = [
    (Kind::Countersignatures, 1, 6),
    (Kind::Finals, 0, 1),
    (Kind::Postfund, 0, 1),
    (Kind::Deposits, 0, 1),
    (Kind::Acks, 0, 12),
    (Kind::Requests, 0, 6),
    (Kind::Everything, 1, 24),
];

impl Strategy for Withhold {
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
        let Seen::Wish(effect) = seen else { return Acts::default() };
        let plan = *self.plan.get_or_insert_with(|| {
            let (kind, least, more) = KINDS[choice("withhold/kind", KINDS.len() as u64) as usize];
            Plan { kind, after: least + choice("withhold/after", more) }
        });
        if !plan.kind.covers(effect, cabal) {
            return Acts::honest(seen);
        }
        self.passed.insert(digest(effect));
        self.begun |= self.passed.len() as u64 > plan.after;
        if self.begun { Acts::default() } else { Acts::honest(seen) }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl Kind {
    fn covers(self, effect: &Effect, cabal: &Cabal) -> bool {
        let state = || sent_state(effect).map(|(_, claim)| claim.state);
        let wire = |is: fn(&Wire) -> bool| match effect {
            Effect::Send { bytes, .. } => Wire::decode(bytes).is_ok_and(|w| is(&w)),
            _ => false,
        };
        match self {
            Kind::Countersignatures => state().is_some_and(|s| cabal.has_foreign_signature(&s)),
            Kind::Finals => state().is_some_and(|s| s.is_final),
            Kind::Postfund => state().is_some_and(|s| s.turn == TurnNum::POSTFUND),
            Kind::Deposits => matches!(effect, Effect::Submit { call: Call::Deposit { .. }, .. }),
            Kind::Acks => wire(|w| matches!(w, Wire::Ack { .. })),
            Kind::Requests => {
                wire(|w| matches!(w, Wire::UpdateRequest { .. } | Wire::CloseRequest { .. }))
            }
            Kind::Everything => matches!(effect, Effect::Send { .. }),
        }
    }
}

/// Names an effect by its content.
fn digest(effect: &Effect) -> [u8; 32] {
    match effect {
        Effect::Send { bytes, .. } => *blake3::hash(bytes).as_bytes(),
        other => *blake3::hash(format!("{other:?}").as_bytes()).as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::types::Amount;

    fn run_with(kind: Kind, after: u64, body: impl FnOnce(&mut Run<'_>)) {
        let at = KINDS.iter().position(|(k, ..)| *k == kind).expect("it is in the table");
        let mut strategy = Withhold::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Two([("withhold/kind", at as u64), ("withhold/after", after)]);
        body(&mut run);
    }

    fn wish(run: &mut Run<'_>, state: &fairway_core::nitro::State) -> usize {
        run.wish(&send(bob(), &own(&alice(), state))).release.len()
    }

    #[test]
    fn the_final_signature_never_leaves() {
        run_with(Kind::Finals, 0, |run| {
            assert_eq!(wish(run, &prefund()), 1);
            assert_eq!(wish(run, &update(2, [4, 6])), 1);
            assert_eq!(wish(run, &last(3, [4, 6])), 0);
            assert_eq!(wish(run, &last(3, [4, 6])), 0);
        });
    }

    #[test]
    fn countersignatures_stop_but_own_proposals_go_on() {
        run_with(Kind::Countersignatures, 0, |run| {
            for (turn, released) in [(2, 1), (3, 0), (4, 0)] {
                let state = update(turn, [4, 6]);
                run.bob_signs(&state);
                assert_eq!(wish(run, &state), released, "countersignature of turn {turn}");
            }
            assert_eq!(wish(run, &update(5, [4, 6])), 1);
        });
    }

    #[test]
    fn a_resend_does_not_bring_the_moment_nearer() {
        run_with(Kind::Everything, 0, |run| {
            assert_eq!(wish(run, &prefund()), 1);
            assert_eq!(wish(run, &prefund()), 1);
            assert_eq!(wish(run, &update(1, [5, 5])), 0);
            assert_eq!(wish(run, &prefund()), 0);
        });
    }

    #[test]
    fn a_kept_deposit_leaves_messages_alone() {
        run_with(Kind::Deposits, 0, |run| {
            let (asset, channel, amount) = (Address::ZERO, channel(), Amount::ether(5));
            let call = Call::Deposit { asset, channel, expected_held: Amount::ZERO, amount };
            assert_eq!(run.wish(&Effect::submit(call)).release, vec![]);
            assert_eq!(wish(run, &update(1, [5, 5])), 1);
        });
    }
}
