//! Who sees a planted bug when nobody ends the run: which invariant is the first, and which is the only one.
//!
//! The runs are the bug's own story and the surveyed ones, each to its end: an invariant that was broken looks no more, the others do.
//! So one run shows what `--ignore` of all that fired before would show. A liveness invariant may see what another one's bug leads to
//! in a run that would have ended long before; that is what "when the others are taken out" means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Course, HarnessBug};
use crate::campaign::How;
use crate::engine::Verdict;
use crate::invariant::Violation;
use crate::scenario::{Library, LibraryError};
use crate::seed_id::Crypto;

/// How one invariant saw one mutant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sight {
    /// Runs in which it was the first to fire.
    pub first: u64,
    /// Runs in which it fired.
    pub seen: u64,
    /// Runs in which nothing else fired: without it, they would have passed.
    pub alone: u64,
}

/// Who saw one mutant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Which bug was planted.
    pub mutant: String,
    /// Runs.
    pub runs: u64,
    /// Runs in which anything fired.
    pub detected: u64,
    /// By invariant; `panic` and `budget` for runs that ended so.
    pub by: BTreeMap<String, Sight>,
}

/// Seeds of the story, as many as the track record allows at most.
const STORY_SEEDS: u64 = 50;

/// The file of a report in which it says who saw what, for the book.
pub const SEEN: &str = "invariants.json";

/// What [`SEEN`] holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// On which build.
    pub build: String,
    /// In the order of mutants.
    pub mutants: Vec<Witness>,
}

impl Seen {
    /// How an invariant saw each mutant that it saw, and in how many runs anything saw that one.
    pub fn by<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Witness, Sight)> {
        self.mutants.iter().filter_map(move |w| Some((w, *w.by.get(name)?)))
    }
}

impl Witness {
    /// Runs the story of a mutant, then the surveyed runs.
    ///
    /// # Errors
    /// [`HarnessBug`].
    pub fn run(course: &Course, story: &str, mutant: &str) -> Result<Witness, HarnessBug> {
        let mut witness = Witness { mutant: mutant.to_string(), ..Witness::default() };
        let how = How { crypto: Crypto::Toy, ..How::reference() };
        for scenario in Library::new().load(story, &[]).map_err(|e| broken(story, &e))? {
            for seed in 0..STORY_SEEDS {
                let (report, found) = how.gather(&scenario, seed);
                witness.add(&found, &report.verdict);
            }
        }
        for k in 0..course.surveyed() {
            let (_, report, found) = course.gather(k, super::survey::FIRST, mutant);
            witness.add(&found, &report.verdict);
        }
        Ok(witness)
    }

    fn add(&mut self, found: &[Violation], verdict: &Verdict) {
        self.runs += 1;
        let ended = match verdict {
            // A node that does what it must not do can make the harness contradict itself; the run says nothing more.
            Verdict::Panic(_) if verdict.is_harness_bug() => None,
            Verdict::Panic(_) => Some("panic"),
            Verdict::Budget(_) => Some("budget"),
            Verdict::Pass | Verdict::Violation(_) => None,
        };
        let names: Vec<&str> = found.iter().map(|v| v.invariant.as_str()).chain(ended).collect();
        self.detected += u64::from(!names.is_empty());
        for (i, name) in names.iter().enumerate() {
            let sight = self.by.entry(name.to_string()).or_default();
            sight.seen += 1;
            sight.first += u64::from(i == 0);
            sight.alone += u64::from(names.len() == 1);
        }
    }
}

fn broken(story: &str, error: &LibraryError) -> HarnessBug {
    HarnessBug { seed_id: story.to_string(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::Kind;

    fn violation(invariant: &str) -> Violation {
        let (invariant, what) = (invariant.to_string(), String::new());
        Violation { invariant, kind: Kind::Safety, by: None, channel: None, what, loss: None }
    }

    #[test]
    fn first_seen_and_alone_are_counted_by_run() {
        let mut witness = Witness::default();
        witness.add(&[violation("a"), violation("b")], &Verdict::Pass);
        witness.add(&[violation("b")], &Verdict::Pass);
        witness.add(&[], &Verdict::Pass);
        witness.add(&[violation("a")], &Verdict::Budget(1));
        assert_eq!((witness.runs, witness.detected), (4, 3));
        assert_eq!(witness.by["a"], Sight { first: 2, seen: 2, alone: 0 });
        assert_eq!(witness.by["b"], Sight { first: 1, seen: 2, alone: 1 });
        assert_eq!(witness.by["budget"], Sight { first: 0, seen: 1, alone: 0 });
    }

    /// The old layout of a ledger is seen by form, and by what it costs, without the check of its form.
    #[test]
    fn a_second_line_is_seen_behind_the_first() {
        let how = How { crypto: Crypto::Toy, ..How::reference() };
        let story = &Library::new().load("negative/guarantees_last", &[]).unwrap()[0];
        let (_, found) = how.gather(story, 0);
        let names: Vec<&str> = found.iter().map(|v| v.invariant.as_str()).collect();
        assert_eq!(names[0], "signed-states-are-valid");
        assert!(names.contains(&"entitlement-is-enforceable"), "{names:?}");
    }
}
