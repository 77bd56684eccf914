//! Lint: what a scenario promises and its runs never do.
//!
//! A fault that never strikes, an operation that never begins, a goal that is never reached: the story does not do what it says,
//! and a green campaign proves less than it seems to. Only runs can show it, so these are warnings; what the file alone proves
//! impossible is refused when it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;

use crate::campaign::{How, NO_MUTANT, Until, sweep};
use crate::engine::{self, RunReport, Verdict};
use crate::scenario::{
    Availability, Awaited, Backend, Element, Expect, Problem, Scenario, available,
};
use crate::seed_id::Crypto;

/// How a scenario is run to be linted: on its first engine that this build holds, with toy signatures where its chain allows them, and
/// without its planted bug, which would end each run early. `None` when this build holds none of its engines.
pub fn how(scenario: &Scenario) -> Option<How> {
    let here = |engine| engine::check_available(engine).is_ok();
    let engine = scenario.engines().iter().copied().find(|engine| here(*engine))?;
    let crypto = match scenario.backend() {
        Backend::Model => Crypto::Toy,
        Backend::Evm => Crypto::Real,
    };
    let mutant = scenario.mutant().map(|_| NO_MUTANT.to_string());
    Some(How { engine, crypto, mutant, ..How::reference() })
}

/// Runs these seeds and says what never happened in any of them. `seen` is called after each run, from any thread.
pub fn lint(
    scenario: &Scenario,
    how: &How,
    seeds: Range<u64>,
    workers: usize,
    seen: &(dyn Fn(&RunReport) + Sync),
) -> Vec<Problem> {
    let happened = Mutex::new(Happened::default());
    let look = |report: &RunReport| {
        happened.lock().expect("nothing below panics").add(report);
        seen(report);
    };
    let tally = sweep(how, scenario, seeds, workers, Until::All, &look);
    let happened = happened.into_inner().expect("all workers are gone");
    let mut lint = Lint { scenario, how, runs: tally.runs, happened, found: Vec::new() };
    if let Some((seed, report)) = tally.failed.first() {
        lint.failed(*seed, &report.verdict);
    }
    lint.goals();
    lint.triggers();
    lint.drawn_kinds();
    lint.found
}

/// What happened in any run. The order of runs does not show in it.
#[derive(Default)]
struct Happened {
    goals: BTreeSet<String>,
    kinds: BTreeSet<String>,
    elements: BTreeMap<Element, Came>,
}

/// What became of one operation or fault, over all runs in which it existed.
#[derive(Clone, Copy, Default)]
struct Came {
    /// Whether it did in one of them.
    once: bool,
    /// The most that its event was seen in one of them.
    seen_max: u64,
}

impl Happened {
    fn add(&mut self, report: &RunReport) {
        self.goals.extend(report.goals.iter().cloned());
        self.kinds.extend(report.faults_fired.keys().cloned());
        for trigger in &report.triggers {
            let came = self.elements.entry(trigger.id).or_default();
            came.once |= trigger.came;
            came.seen_max = came.seen_max.max(trigger.seen);
        }
    }
}

struct Lint<'a> {
    scenario: &'a Scenario,
    how: &'a How,
    runs: u64,
    happened: Happened,
    found: Vec<Problem>,
}

impl Lint<'_> {
    fn warn(&mut self, path: &str, expected: &str, found: &str) {
        let what = format!("expected {expected} in some of {} runs, found {found}", self.runs);
        self.found.push(self.scenario.problem_at(path, what));
    }

    /// A run that fails ends early, so that what follows may be its fault.
    fn failed(&mut self, seed: u64, verdict: &Verdict) {
        let why = match verdict {
            Verdict::Pass => return,
            Verdict::Violation(violation) => format!("a violation of {}", violation.invariant),
            Verdict::Panic(message) => format!("a panic: {message}"),
            Verdict::Budget(steps) => format!("no end after {steps} steps"),
        };
        let id = self.how.seed_id(self.scenario, seed);
        let what = format!("expected every run to pass, found {why} in {id}");
        self.found.push(self.scenario.problem_at("", what));
    }

    fn goals(&mut self) {
        // A planted bug may be what reaches them.
        if *self.scenario.expect() != Expect::Pass {
            return;
        }
        for (i, goal) in self.scenario.goals().iter().enumerate() {
            if !self.happened.goals.contains(goal) {
                self.warn(&format!("sometimes[{i}]"), &format!("goal `{goal}`"), "it in none");
            }
        }
    }

    /// Operations that never began, faults that never struck.
    fn triggers(&mut self) {
        let scenario = self.scenario;
        for (element, awaited) in scenario.triggers() {
            let verb = match element {
                Element::Op(_) => "to begin",
                Element::Fault(_) => "to strike",
            };
            let path = scenario.trigger_path(element);
            match self.happened.elements.get(&element).copied() {
                Some(Came { once: true, .. }) => {}
                Some(Came { seen_max, .. }) => {
                    let expected = format!("it {verb} at {awaited}");
                    self.warn(&path, &expected, &why_not(awaited, seen_max));
                }
                None => {
                    let path = format!("fault[{}].probability", index(element));
                    self.warn(&path, "the fault to exist", "that it was never drawn");
                }
            }
        }
    }

    /// Kinds of fault that a swarm may draw and that never struck.
    fn drawn_kinds(&mut self) {
        let scenario = self.scenario;
        if !scenario.is_swarm() {
            return;
        }
        let mut never: BTreeSet<&str> = BTreeSet::new();
        for kind in scenario.fault_kinds() {
            let can = available(kind, self.how.engine) != Availability::No;
            if can && !self.happened.kinds.contains(kind.name()) {
                never.insert(kind.name());
            }
        }
        if !never.is_empty() {
            let never: Vec<&str> = never.into_iter().collect();
            let found = format!("none of {}", never.join(", "));
            self.warn("swarm.families", "each kind of fault", &found);
        }
    }
}

/// Why an element whose trigger never came did not happen.
fn why_not(awaited: Awaited<'_>, seen_max: u64) -> String {
    match awaited {
        Awaited::Time => "that every run was over before".to_string(),
        Awaited::Milestone(_) => "that it was never reached".to_string(),
        Awaited::Event { least, .. } if seen_max >= least => {
            "the event, but never its side before the end of chaos".to_string()
        }
        Awaited::Event { .. } => format!("{seen_max} of them at most"),
    }
}

fn index(element: Element) -> usize {
    match element {
        Element::Op(i) | Element::Fault(i) => i,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Library;

    const SEEDS: u64 = 5;

    /// A story in which everything happens: a channel is opened, paid in and closed while Bob's machine is away for a while.
    const GOOD: &str = r#"# Alice pays Bob, and Bob's machine loses power.
schema  = 1
engines = ["reference"]
sometimes = ["payment-made"]

[topology]
parties = ["alice", "bob"]
channels = [
  { id = "C", parties = ["alice", "bob"], deposits = { alice = "5 ETH", bob = "3 ETH" }, challenge_duration = "60s" },
]

[[op]]
at   = "0s"
do   = "channel.open"
args = { id = "C" }

[[op]]
id    = "pay"
after = "C.open"
do    = "channel.pay"
args  = { channel = "C", from = "alice", amount = "1 wei" }

[[op]]
after = "pay.done"
do    = "channel.close"
args  = { channel = "C" }

[[fault]]
family = "crash"
target = "bob"
when   = { event = "StateSigned", of = "bob", nth = 2, side = "after-sync" }
do     = { power_loss = { down = "1s" } }

[phases]
chaos  = "60s"
settle = "240s"
"#;

    fn warnings_of(text: &str) -> Vec<String> {
        let scenario = Scenario::parse("smoke/x", "x.toml", text, &[]);
        let scenario = scenario.unwrap_or_else(|problems| panic!("{problems}"));
        let how = how(&scenario).expect("the reference engine is always here");
        let found = lint(&scenario, &how, 0..SEEDS, 1, &|_| {});
        found.iter().map(Problem::to_string).collect()
    }

    /// Goal: each warning fires, with the line and key that it blames, and a good story has none.
    /// Method: each row replaces one piece of the good story.
    #[test]
    fn what_never_happens_is_blamed_where_it_stands() {
        assert_eq!(warnings_of(GOOD), Vec::<String>::new());
        for (name, from, to, expected) in [
            (
                "a goal",
                "\"payment-made\"",
                "\"payment-made\", \"virtual-open\"",
                "x.toml:4: sometimes[1]: expected goal `virtual-open` in some of 5 runs, found it in none",
            ),
            (
                "a milestone",
                "after = \"pay.done\"",
                "after = \"C.closed\"",
                "x.toml:24: op[2].after: expected it to begin at `C.closed` in some of 5 runs, found that it was never reached",
            ),
            (
                "a time",
                "at   = \"0s\"\ndo   = \"channel.open\"",
                "at = { uniform = [\"59s\", \"9000h\"] }\ndo = \"channel.open\"",
                "x.toml:13: op[0].at: expected it to begin at its time in some of 5 runs, found that every run was over before",
            ),
            (
                "an occurrence",
                "nth = 2",
                "nth = 900",
                "x.toml:31: fault[0].when: expected it to strike at bob's StateSigned number 900 in some of 5 runs, found 4 of them at most",
            ),
            (
                "a fault that is never drawn",
                "target = \"bob\"",
                "target = \"bob\"\nprobability = \"0%\"",
                "x.toml:31: fault[0].probability: expected the fault to exist in some of 5 runs, found that it was never drawn",
            ),
        ] {
            assert!(GOOD.contains(from), "{name}: the piece is in the story");
            let found = warnings_of(&GOOD.replacen(from, to, 1));
            assert!(found.iter().any(|line| line == expected), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_side_that_never_comes_is_told_from_an_event_that_never_comes() {
        let (head, rest) = GOOD.split_once("[[op]]").expect("the story has operations");
        let (_, tail) = rest.split_once("[[fault]]").expect("the story has a fault");
        let nobody_speaks = format!(
            "{}[[op]]\nat = \"30s\"\ndo = \"restart\"\nargs = {{ party = \"bob\" }}\n[[fault]]{}",
            head.replace("sometimes = [\"payment-made\"]", ""),
            tail.replace("\"StateSigned\"", "\"Pinned\"")
                .replace("nth = 2, side = \"after-sync\"", "nth = 1, side = \"after-send\"")
        );
        let found = warnings_of(&nobody_speaks);
        let expected = "the event, but never its side before the end of chaos";
        assert!(matches!(found.as_slice(), [one] if one.ends_with(expected)), "{found:?}");
    }

    #[test]
    fn a_swarm_is_blamed_for_kinds_that_it_never_draws() {
        let swarm = "# Anybody does anything.\nschema = 1\nengines = [\"reference\"]\n[swarm]\n\
                     parties = 2\nmore_channels = 0\nvirtuals = 0\npayments = 1\nfamilies = [\"clock\"]\n\
                     each_family = \"0%\"\n[phases]\nchaos = \"30s\"\nsettle = \"240s\"\n";
        let expected = "x.toml:9: swarm.families: expected each kind of fault in some of 5 runs, \
                        found none of clock.freeze, clock.step";
        assert_eq!(warnings_of(swarm), [expected]);
    }

    /// Goal: a failing run is said; a negative story is judged without its bug.
    /// Method: one negative story, with its bug and without.
    #[test]
    fn a_failing_run_is_said_and_a_planted_bug_is_left_out() {
        let name = "negative/sign_final_unchecked";
        let scenario = Library::new().load(name, &[]).expect("a built-in story").remove(0);
        let without = how(&scenario).expect("the reference engine is always here");
        assert_eq!(lint(&scenario, &without, 0..SEEDS, 1, &|_| {}), []);
        let with = How { mutant: None, ..without };
        let found = lint(&scenario, &with, 0..SEEDS, 1, &|_| {});
        let what = found.first().map(|problem| problem.what.as_str()).unwrap_or_default();
        assert!(what.starts_with("expected every run to pass, found a violation of"), "{what}");
    }
}
