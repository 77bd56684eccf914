//! What must stay the same while a run shrinks.

use crate::engine::Verdict;
use crate::observe::PartyId;

/// How a run failed, without the figures that a smaller run changes.
///
/// The invariant alone would be too little: a run that loses money could shrink to one in which the same rule is broken and nobody
/// loses anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The broken invariant, or the kind of end.
    pub property: String,
    /// Who broke it.
    pub by: Option<PartyId>,
    /// Who can lose by it.
    pub loser: Option<PartyId>,
    /// The sentence that says what happened, without its figures.
    pub words: String,
}

impl Fingerprint {
    /// That of a verdict; `None` when nothing failed.
    pub fn of(verdict: &Verdict) -> Option<Fingerprint> {
        let other = |property: &str, words| Fingerprint {
            property: property.into(),
            by: None,
            loser: None,
            words,
        };
        match verdict {
            Verdict::Pass => None,
            Verdict::Violation(v) => Some(Fingerprint {
                property: v.invariant.clone(),
                by: v.by,
                loser: v.loss.map(|(who, _)| who),
                words: words(&v.what),
            }),
            Verdict::Panic(message) => Some(other("panic", words(message))),
            Verdict::Budget(_) => Some(other("budget", String::new())),
        }
    }
}

/// Units that follow a figure and change with its size.
const UNITS: [&str; 3] = ["wei", "gwei", "ETH"];

/// A sentence with `#` for every word that holds a figure, and without units.
fn words(sentence: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for word in sentence.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.chars().any(|c| c.is_ascii_digit()) {
            out.push("#");
        } else if !UNITS.contains(&bare) {
            out.push(bare);
        }
    }
    out.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::{Kind, Violation};
    use fairway_core::types::Amount;

    fn violation(what: &str, loss: Option<(PartyId, Amount)>) -> Verdict {
        Verdict::Violation(Violation {
            invariant: "no-equivocation".into(),
            kind: Kind::Safety,
            by: Some(PartyId(0)),
            channel: None,
            what: what.into(),
            loss,
        })
    }

    #[test]
    fn figures_may_change_and_words_may_not() {
        let of = |what: &str| Fingerprint::of(&violation(what, None));
        let first = of("alice signed two states of turn 7: one gives it 4.75 ETH, the other 5 ETH");
        assert_eq!(
            first,
            of("alice signed two states of turn 2: one gives it 9 wei, the other 0 gwei")
        );
        assert_ne!(first, of("alice signed two final states of turn 7"));
        assert_ne!(
            first,
            of("bob signed two states of turn 7: one gives it 4.75 ETH, the other 5 ETH")
        );
    }

    #[test]
    fn who_loses_belongs_to_it_and_how_much_does_not() {
        let losing =
            |who, wei| Fingerprint::of(&violation("x", Some((PartyId(who), Amount::wei(wei)))));
        assert_eq!(losing(0, 1), losing(0, 9));
        assert_ne!(losing(0, 1), losing(1, 1));
        assert_ne!(losing(0, 1), Fingerprint::of(&violation("x", None)));
    }

    #[test]
    fn panics_and_budgets_have_one_and_passes_none() {
        let panic = |text: &str| Fingerprint::of(&Verdict::Panic(text.into()));
        assert_eq!(panic("index 3 of 2"), panic("index 5 of 4"));
        assert_ne!(panic("index 3 of 2"), panic("no such party"));
        assert_eq!(Fingerprint::of(&Verdict::Budget(1)), Fingerprint::of(&Verdict::Budget(2)));
        assert_eq!(Fingerprint::of(&Verdict::Pass), None);
    }
}
