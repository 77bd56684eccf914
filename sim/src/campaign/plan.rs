//! A campaign's plan: everything that decides what its runs do, in one file that names itself by its content.
//!
//! ```text
//! plan ── work ──> units: 250 seeds of one scenario each ──> shard i of n has the units whose number is i modulo n
//! ```
//!
//! Ranges of [fuzz inputs](super::fuzz) are units too, behind those of the scenarios.
//!
//! The work has an id of its own: how many shards share it changes no result, so results are kept by work and not by plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FuzzWork, How};
use crate::scenario::{Engine, Expect, Library, Scenario};
use crate::seed_id::{Crypto, Hex8, SeedId};

/// The version of the plan's format, and of the records of its results.
pub const CAMPAIGN_SCHEMA: u32 = 1;

/// Seeds of one scenario in a unit of work: what a killed shard loses at most.
pub const UNIT_SEEDS: u64 = 250;

/// A plan: work, and into how many shards it is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignPlan {
    /// [`CAMPAIGN_SCHEMA`].
    pub schema: u32,
    /// The hash of everything below, 64 hexadecimal digits.
    pub id: String,
    /// How many shards.
    pub shards: u64,
    /// What is to be done.
    pub work: Work,
}

/// What a campaign does, whoever does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The build that must do it, 64 hexadecimal digits: another one would run other seeds.
    pub build: String,
    /// The first seed, and the one after the last: the same for every scenario.
    pub seeds: (u64, u64),
    /// Seeds in a unit.
    pub unit_seeds: u64,
    /// Of a hundred seeds, how many run with real signatures; the others with toy ones.
    pub real_percent: u64,
    /// A planted bug instead of the scenarios' own.
    pub mutant: Option<String>,
    /// Invariants that do not watch.
    pub ignore: Vec<String>,
    /// Of a thousand prefixes, at how many the enforcer plays the whole game.
    pub search_permille: u64,
    /// Keys of the scenarios that were overridden.
    pub settings: BTreeMap<String, String>,
    /// What is run: each scenario on each of its engines.
    pub entries: Vec<Entry>,
    /// What is fuzzed beside that. Left out of the file where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuzz: Option<FuzzWork>,
}

/// What a unit is a part of.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A scenario on an engine.
    Scenario(&'a Entry),
    /// A fuzz target.
    Target(&'a str),
}

/// One scenario on one engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub scenario: String,
    /// Its digest, settings applied, 64 hexadecimal digits.
    pub digest: String,
    /// Where it is run.
    pub engine: Engine,
    /// What must come out.
    pub expect: Expect,
    /// What must be reached at least once.
    pub goals: Vec<String>,
    /// The kinds of fault that some run may see.
    pub fault_kinds: Vec<String>,
    /// Its text, where the binary has none or another one.
    pub text: Option<String>,
}

/// A part of the work that is done at once or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// Which entry, or, behind these, which fuzz target.
    pub entry: usize,
    /// The first seed, or the first input.
    pub first: u64,
    /// The one after the last.
    pub end: u64,
}

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not a plan.
    #[error("{place}: expected a campaign plan of schema {CAMPAIGN_SCHEMA}: {source}")]
    Format {
        /// Where it was read.
        place: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Of another version.
    #[error(
        "{place}: schema: expected {CAMPAIGN_SCHEMA}, found {found}: make the plan again with this build"
    )]
    Schema {
        /// Where it was read.
        place: String,
        /// Its version.
        found: u32,
    },
    /// Edited by hand, or damaged.
    #[error(
        "{place}: id: expected {expected}, the hash of its content, found {found}: make the plan again instead of editing it"
    )]
    Edited {
        /// Where it was read.
        place: String,
        /// What it would have to be.
        expected: String,
        /// What stood there.
        found: String,
    },
    /// A number that makes no sense.
    #[error("{place}: {field}: expected {expected}, found {found}")]
    Number {
        /// Where it was read.
        place: String,
        /// Which.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What stood there.
        found: String,
    },
    /// The scenario is not the one that was planned.
    #[error(
        "{scenario}: expected the scenario with digest {expected}, found {found}: make the plan again"
    )]
    Scenario {
        /// Which.
        scenario: String,
        /// The planned digest.
        expected: String,
        /// What is here: a digest, or why there is none.
        found: String,
    },
}

impl CampaignPlan {
    /// A plan for this work.
    pub fn new(work: Work, shards: u64) -> CampaignPlan {
        let mut plan = CampaignPlan { schema: CAMPAIGN_SCHEMA, id: String::new(), shards, work };
        plan.id = plan.content_id();
        plan
    }

    /// Reads a plan and checks that its content is what its id says.
    ///
    /// # Errors
    /// [`PlanError`], naming `place`.
    pub fn read(place: &str, bytes: &[u8]) -> Result<CampaignPlan, PlanError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let format = |source| PlanError::Format { place: place.into(), source };
        let Version { schema } = serde_json::from_slice(bytes).map_err(format)?;
        if schema != CAMPAIGN_SCHEMA {
            return Err(PlanError::Schema { place: place.into(), found: schema });
        }
        let plan: CampaignPlan = serde_json::from_slice(bytes).map_err(format)?;
        let expected = plan.content_id();
        if plan.id != expected {
            return Err(PlanError::Edited { place: place.into(), expected, found: plan.id });
        }
        plan.check(place)?;
        Ok(plan)
    }

    /// What the id does not promise: a plan that somebody else's program made could say anything.
    fn check(&self, place: &str) -> Result<(), PlanError> {
        let number = |field, expected, found: String| {
            Err(PlanError::Number { place: place.into(), field, expected, found })
        };
        let work = &self.work;
        let (first, end) = work.seeds;
        if self.shards == 0 {
            return number("shards", "at least 1", self.shards.to_string());
        }
        if work.unit_seeds == 0 {
            return number("work.unit_seeds", "at least 1", work.unit_seeds.to_string());
        }
        if first >= end {
            return number("work.seeds", "at least one", format!("{first}..{end}"));
        }
        if work.real_percent > 100 {
            return number("work.real_percent", "0 to 100", work.real_percent.to_string());
        }
        if let Some(FuzzWork { inputs: (first, end), unit_inputs, .. }) = work.fuzz {
            if unit_inputs == 0 {
                return number("work.fuzz.unit_inputs", "at least 1", unit_inputs.to_string());
            }
            if first >= end {
                return number("work.fuzz.inputs", "at least one", format!("{first}..{end}"));
            }
        }
        Ok(())
    }

    fn content_id(&self) -> String {
        hash("fairway-sim campaign plan v1", &(self.schema, self.shards, &self.work))
    }

    /// The plan as a file, readable for people too.
    pub fn to_bytes(&self) -> Vec<u8> {
        pretty(self)
    }

    /// The units of one shard, in the order of the work.
    pub fn units_of(&self, shard: u64) -> impl Iterator<Item = Unit> + '_ {
        let mine = move |(number, unit)| (number % self.shards == shard).then_some(unit);
        (0u64..).zip(self.work.units()).filter_map(mine)
    }
}

impl Work {
    /// The hash of all of it, 64 hexadecimal digits.
    pub fn id(&self) -> String {
        hash("fairway-sim campaign work v1", &(CAMPAIGN_SCHEMA, self))
    }

    /// How many seeds each scenario is given.
    pub fn seeds_each(&self) -> u64 {
        self.seeds.1 - self.seeds.0
    }

    /// All units: the chunks of the first entry, then those of the second, and so on to the last fuzz target.
    pub fn units(&self) -> impl Iterator<Item = Unit> + '_ {
        let scenarios = self.entries.len();
        let of_seeds =
            (0..scenarios).flat_map(move |entry| chunks(entry, self.seeds, self.unit_seeds));
        let of_inputs = self.fuzz.iter().flat_map(move |fuzz| {
            let targets = scenarios..scenarios + fuzz.targets.len();
            targets.flat_map(move |entry| chunks(entry, fuzz.inputs, fuzz.unit_inputs))
        });
        of_seeds.chain(of_inputs)
    }

    /// What the units of this number are a part of; `None` beyond the work.
    pub fn part(&self, entry: usize) -> Option<Part<'_>> {
        match self.entries.get(entry) {
            Some(entry) => Some(Part::Scenario(entry)),
            None => self.targets().get(entry - self.entries.len()).map(|t| Part::Target(t)),
        }
    }

    /// The fuzz targets.
    pub fn targets(&self) -> &[String] {
        self.fuzz.as_ref().map_or(&[], |fuzz| &fuzz.targets)
    }

    /// With which signatures a seed runs.
    pub fn crypto(&self, seed: u64) -> Crypto {
        if seed % 100 < self.real_percent { Crypto::Real } else { Crypto::Toy }
    }

    /// How an entry's seeds are run.
    pub fn how(&self, entry: &Entry, crypto: Crypto) -> How {
        How {
            engine: entry.engine,
            crypto,
            mutant: self.mutant.clone(),
            ignore: self.ignore.clone(),
            settings: self.settings.clone().into_iter().collect(),
            search_permille: self.search_permille,
        }
    }

    /// The seed id of a run.
    pub fn seed_id(&self, entry: &Entry, seed: u64) -> SeedId {
        SeedId {
            scenario: entry.scenario.clone(),
            seed,
            scenario_digest: Hex8::prefix_of(&entry.digest).unwrap_or(Hex8(0)),
            build: Hex8::prefix_of(&self.build).unwrap_or(Hex8(0)),
            engine: entry.engine,
            mutant: self.mutant.clone(),
            crypto: self.crypto(seed),
            settings: self.settings.clone(),
        }
    }

    /// What replay needs beside the seed id.
    pub fn replay_options(&self) -> String {
        self.ignore.iter().map(|name| format!(" --ignore {name}")).collect()
    }

    /// The scenario of an entry, as it was planned.
    ///
    /// # Errors
    /// When this build, or this folder, has another one.
    pub fn load(&self, entry: &Entry) -> Result<Scenario, PlanError> {
        let other = |found: String| PlanError::Scenario {
            scenario: entry.scenario.clone(),
            expected: entry.digest.clone(),
            found,
        };
        let settings: Vec<_> = self.settings.clone().into_iter().collect();
        let name = &entry.scenario;
        let scenario = match &entry.text {
            Some(text) => Scenario::parse(name, name, text, &settings)
                .map_err(|e| other(e.to_string().trim_end().to_string()))?,
            None => Library::new()
                .load(name, &settings)
                .map_err(|e| other(e.to_string().trim_end().to_string()))?
                .into_iter()
                .next()
                .ok_or_else(|| other("none".into()))?,
        };
        if scenario.digest() != entry.digest {
            return Err(other(scenario.digest()));
        }
        Ok(scenario)
    }
}

impl Entry {
    /// A scenario on an engine; `text` where the binary has none of that name, or another one.
    pub fn new(scenario: &Scenario, engine: Engine, text: Option<String>) -> Entry {
        let mut fault_kinds: Vec<String> =
            scenario.fault_kinds().map(|kind| kind.name().to_string()).collect();
        fault_kinds.sort();
        fault_kinds.dedup();
        Entry {
            scenario: scenario.name().to_string(),
            digest: scenario.digest(),
            engine,
            expect: scenario.expect().clone(),
            goals: scenario.goals().to_vec(),
            fault_kinds,
            text,
        }
    }

    /// `smoke/plain (madsim)`.
    pub fn label(&self) -> String {
        match self.engine {
            Engine::Reference => self.scenario.clone(),
            Engine::Madsim | Engine::Turmoil => {
                format!("{} ({})", self.scenario, self.engine.name())
            }
        }
    }
}

impl Part<'_> {
    /// `smoke/plain (madsim)`, `fuzz wire_decode`.
    pub fn label(&self) -> String {
        match self {
            Part::Scenario(entry) => entry.label(),
            Part::Target(target) => format!("fuzz {target}"),
        }
    }
}

/// The units of one entry.
fn chunks(entry: usize, (start, stop): (u64, u64), each: u64) -> impl Iterator<Item = Unit> {
    (0..(stop - start).div_ceil(each)).map(move |chunk| {
        let first = start + chunk * each;
        Unit { entry, first, end: first.saturating_add(each).min(stop) }
    })
}

/// The hash of a value's compact JSON: our structs have one order of fields, and their maps are sorted.
pub(super) fn hash(purpose: &str, value: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(value).expect("a value without foreign keys is JSON");
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&bytes);
    hasher.finalize().to_hex().to_string()
}

/// JSON with a line for each field, and a line feed at its end.
pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a value without foreign keys is JSON");
    bytes.push(b'\n');
    bytes
}
