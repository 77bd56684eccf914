//! Scenarios: one TOML file, one story.
//!
//! ```text
//! text ──parse──> Scenario (typed, checked; numbers may be distributions) ──resolve(seed)──> Plan (integers)
//! ```
//!
//! A runner executes the [`Plan`] and a shrinker edits it; neither reads TOML. The language is strict: an
//! unknown key, a missing unit, an unknown name or a fault that an engine cannot do is refused with one line
//! that says where, what was expected and what was found.

mod base;
mod check;
mod describe;
mod dist;
mod engine;
mod fault;
mod file;
mod library;
mod names;
mod op;
mod plan;
mod resolve;
mod swarm;
mod tables;
mod topology;
mod trigger;
mod unit;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seed_id::{Hex8, is_kebab};

pub use dist::Dist;
pub use engine::{Availability, Engine, Family, FaultKind, UnknownEngine, available};
pub use fault::{Dropped, RotTarget, Side, Unsynced};
pub use file::{Problem, Problems, Setting};
pub use library::{Library, LibraryError, Source};
pub use names::{EVENT_NAMES, GOAL_NAMES, closest};
pub use plan::{
    Element, FaultAction, FaultTrigger, Link, LogStep, Milestone, OpAction, OpTrigger, Payment,
    Plan, PlannedChain, PlannedChannel, PlannedClock, PlannedFault, PlannedNetwork, PlannedOp,
    PlannedParty, PlannedStep, PlannedVirtual,
};
pub use tables::{TablesError, fill_tables};
pub use topology::{Backend, Role, Strategy};
pub use trigger::Awaited;
pub use unit::{Blocks, ByteCount, Count, Drift, Money, Nanos, Ppm, Quantity, Shift};
pub use verdict::{Promise, Reach};

/// The version of the language that this build reads.
pub const SCHEMA: u64 = 1;

/// A scenario that was read and checked.
///
/// Invariant: everything it names exists, every trigger can be reached, and every engine it lists can do every
/// fault it asks for. The only way to make one is [`Scenario::parse`].
#[derive(Clone, Debug)]
pub struct Scenario {
    name: String,
    story: String,
    digest: blake3::Hash,
    file: ScenarioFile,
    /// Where the keys stand that runs can prove wrong.
    places: BTreeMap<String, Problem>,
}

/// The file's top level.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Fairway scenario, schema 1")]
pub(crate) struct ScenarioFile {
    /// The version of the language: 1.
    schema: u64,
    /// A built-in scenario whose topology, swarm, operations, faults and phases this one has where it writes none of its own.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "for the schema: it is replaced by what it stands for before the types are read"
    )]
    base: Option<String>,
    /// The engines that can run it.
    engines: Vec<Engine>,
    /// Whether the scenario determines the settled balances, whatever the seed and the engine.
    #[serde(default)]
    determined: bool,
    /// What must come out.
    #[serde(default)]
    #[schemars(with = "String")]
    expect: Expect,
    /// A planted bug that is on in every run; only where a violation is expected.
    #[serde(default)]
    mutant: Option<String>,
    /// The invariants that are judged at every step; all of them by default.
    #[serde(default)]
    always: Option<Vec<String>>,
    /// What every run must reach within a time after everything has healed.
    #[serde(default)]
    eventually: Vec<verdict::Eventually>,
    /// Goals: what a campaign must have seen at least once.
    #[serde(default)]
    sometimes: Vec<String>,
    #[serde(default)]
    topology: topology::Topology,
    /// Instead of parties, operations and faults: how the seed draws them.
    #[serde(default)]
    swarm: Option<swarm::Swarm>,
    /// The workload.
    #[serde(default)]
    op: Vec<op::Op>,
    /// The faults.
    #[serde(default)]
    fault: Vec<fault::Fault>,
    phases: Phases,
}

/// How long a run lasts. Between the two the network and the chain heal; after them comes the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// While operations begin and faults strike.
    pub chaos: Nanos,
    /// How long every honest party has, after the last fault ended, to reach the end of its objectives.
    pub settle: Nanos,
}

/// What must come out of every run of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Expect {
    /// No violation.
    #[default]
    Pass,
    /// A violation of this invariant, in at least one run.
    Violation(String),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Pass => f.write_str("pass"),
            Expect::Violation(name) => write!(f, "violation:{name}"),
        }
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Expect, String> {
        match text.strip_prefix("violation:") {
            Some(name) if is_kebab(name) => Ok(Expect::Violation(name.to_string())),
            None if text == "pass" => Ok(Expect::Pass),
            _ => Err(format!("expected \"pass\" or \"violation:<invariant>\", found \"{text}\"")),
        }
    }
}

impl TryFrom<String> for Expect {
    type Error = String;

    fn try_from(text: String) -> Result<Expect, String> {
        text.parse()
    }
}

impl From<Expect> for String {
    fn from(expect: Expect) -> String {
        expect.to_string()
    }
}

/// The first sentence of a story, in one line. `None` when there is none.
pub(crate) fn first_sentence(story: &str) -> Option<String> {
    let story = story.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = story.find(". ").map_or(story.len(), |i| i + 1);
    let first = story.get(..end).filter(|s| !s.is_empty())?;
    Some(if first.ends_with(['.', '!', '?']) { first.to_owned() } else { format!("{first}.") })
}

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// `name` is what seed ids call it (`smoke/plain`), `file` what problems call it. `settings` change values
    /// of the tree before it is read; a key is a path such as `phases.chaos` or `op.0.args.amount`.
    ///
    /// # Errors
    /// Syntax and types: the first problem. Everything else: all problems.
    pub fn parse(
        name: &str,
        file: &str,
        text: &str,
        settings: &[Setting],
    ) -> Result<Scenario, Problems> {
        let one = |problem| Problems(vec![problem]);
        let mut tree = file::Tree::parse(file, text).map_err(one)?;
        tree.rest_on_base().map_err(one)?;
        for (index, setting) in settings.iter().enumerate() {
            tree.set(index, setting).map_err(one)?;
        }
        let shaped = tree.shaped().map_err(one)?;
        let parsed = ScenarioFile::deserialize(toml::Deserializer::from(shaped))
            .map_err(|error| one(tree.problem_from(&error)))?;
        let mut scenario = Scenario {
            name: name.to_string(),
            story: file::story(text),
            digest: blake3::hash(&tree.canonical()),
            file: parsed,
            places: BTreeMap::new(),
        };
        let found = scenario.check();
        if found.is_empty() {
            let place = |path: String| (path.clone(), tree.problem_at(&path, String::new()));
            scenario.places = scenario.judged_by_runs().into_iter().map(place).collect();
            return Ok(scenario);
        }
        Err(Problems(found.into_iter().map(|(path, what)| tree.problem_at(&path, what)).collect()))
    }

    /// What seed ids call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The comment at the top of the file: who, what goes wrong, what must hold.
    pub fn story(&self) -> &str {
        &self.story
    }

    /// The first sentence of the story, in one line; empty without a story.
    pub fn headline(&self) -> String {
        first_sentence(&self.story).unwrap_or_default()
    }

    /// 64 hexadecimal digits over the canonical form, settings applied; comments and spelling do not count.
    pub fn digest(&self) -> String {
        self.digest.to_hex().to_string()
    }

    /// The first eight digits of the digest, as seed ids carry them.
    pub fn digest_short(&self) -> Hex8 {
        Hex8::prefix_of(&self.digest.to_hex()).expect("a digest is hexadecimal")
    }

    /// The engines that can run it.
    pub fn engines(&self) -> &[Engine] {
        &self.file.engines
    }

    /// What executes calls of the simulated chain.
    pub fn backend(&self) -> Backend {
        self.file.topology.chain.backend
    }

    /// Whether settled balances are the same for every seed and engine.
    pub fn is_determined(&self) -> bool {
        self.file.determined
    }

    /// What must come out.
    pub fn expect(&self) -> &Expect {
        &self.file.expect
    }

    /// The planted bug that is on in every run.
    pub fn mutant(&self) -> Option<&str> {
        self.file.mutant.as_deref()
    }

    /// The goals that a campaign must have reached at least once.
    pub fn goals(&self) -> &[String] {
        &self.file.sometimes
    }

    /// Every kind of fault that some run may see, in the order of the file: for "never fired".
    pub fn fault_kinds(&self) -> impl Iterator<Item = FaultKind> {
        let drawn = self.file.swarm.iter().flat_map(swarm::Swarm::kinds);
        self.file.fault.iter().map(|fault| fault.what.kind()).chain(drawn)
    }

    /// A problem with what stands at a key path: one that only runs could show. Of the paths that runs judge, the line is known.
    pub fn problem_at(&self, path: &str, what: String) -> Problem {
        match self.places.get(path) {
            Some(place) => Problem { what, ..place.clone() },
            None => {
                let file = self.name.clone();
                Problem { file, line: None, path: path.to_string(), what }
            }
        }
    }

    /// The key paths of what only runs can judge: the file as a whole, goals, and the triggers of operations and faults.
    fn judged_by_runs(&self) -> Vec<String> {
        let goals = (0..self.file.sometimes.len()).map(|i| format!("sometimes[{i}]"));
        let ops = (0..self.file.op.len()).map(|i| self.trigger_path(Element::Op(i)));
        let faults = (0..self.file.fault.len()).map(|i| self.trigger_path(Element::Fault(i)));
        let switches = (0..self.file.fault.len()).map(|i| format!("fault[{i}].probability"));
        let whole = [String::new(), "swarm.families".to_string()];
        whole.into_iter().chain(goals).chain(ops).chain(faults).chain(switches).collect()
    }

    /// The key path of the trigger of an operation or a fault of the file.
    pub fn trigger_path(&self, element: Element) -> String {
        match element {
            Element::Op(i) => match self.file.op.get(i).map(op::Op::awaited) {
                Some(Awaited::Milestone(_)) => format!("op[{i}].after"),
                Some(Awaited::Event { .. }) => format!("op[{i}].when"),
                Some(Awaited::Time) | None => format!("op[{i}].at"),
            },
            Element::Fault(i) => format!("fault[{i}].when"),
        }
    }

    /// The operations and faults of the file, each with the trigger that it waits for; not those that a swarm draws.
    pub fn triggers(&self) -> impl Iterator<Item = (Element, Awaited<'_>)> {
        let ops = self.file.op.iter().map(op::Op::awaited).enumerate();
        let faults = self.file.fault.iter().map(|fault| fault.when.awaited()).enumerate();
        let ops = ops.map(|(i, awaited)| (Element::Op(i), awaited));
        ops.chain(faults.map(|(i, awaited)| (Element::Fault(i), awaited)))
    }

    /// Whether the seed draws faults, and perhaps parties and operations.
    pub fn is_swarm(&self) -> bool {
        self.file.swarm.is_some()
    }

    /// How long the phases last.
    pub fn phases(&self) -> Phases {
        self.file.phases
    }
}

/// The JSON Schema of the language, as the command `schema` prints it.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(ScenarioFile).to_value()
}

#[cfg(test)]
mod tests;
