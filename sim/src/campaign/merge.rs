//! The record of a whole campaign. It names the work and not the plan: the same bytes for one shard and for a hundred.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::plan::{CAMPAIGN_SCHEMA, pretty};
use super::results::{Results, ResultsError};
use super::{CampaignPlan, Entry, Failed, Part, Sum, Unit, Work};
use crate::scenario::Expect;

/// Runs after which a goal that was never reached is missed.
pub const GOALS_AFTER: u64 = 100;

/// What a campaign came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merged {
    /// [`CAMPAIGN_SCHEMA`].
    pub schema: u32,
    /// The id of the work.
    pub id: String,
    /// The work.
    pub work: Work,
    /// Runs that are missing: zero unless part of a campaign was merged.
    pub missing_runs: u64,
    /// What each entry of the work came to.
    pub entries: Vec<Sum>,
    /// The failures that are told one by one, with the line that repeats each.
    pub failures: Vec<Failure>,
    /// What all entries together came to. Seeds of closest calls and failures are in the entries.
    pub total: Total,
    /// What the fuzz targets came to; left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuzz: Option<MergedFuzz>,
}

/// What the fuzz targets of a campaign came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedFuzz {
    /// Inputs that are missing: zero unless part of a campaign was merged.
    pub missing_inputs: u64,
    /// What each target of the work came to.
    pub targets: Vec<Sum>,
}

/// The sums over all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// Runs.
    pub runs: u64,
    /// How many ended how.
    pub verdicts: BTreeMap<String, u64>,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// Kinds of fault that some scenario asks for and that never struck.
    pub never_fired: BTreeSet<String>,
    /// Goals that no run of their scenario reached: scenario and goal.
    pub never_reached: Vec<(String, String)>,
    /// The closest call.
    pub closest: Option<Closest>,
}

/// The closest call of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closest {
    /// How close, when and who.
    pub call: super::Call,
    /// The run.
    pub seed_id: String,
}

/// A run that did not end well, with what repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The run.
    pub seed_id: String,
    /// How it ended.
    pub failed: Failed,
    /// Whether the scenario is about a planted bug and this is it being found.
    pub expected: bool,
}

/// Units that nobody has run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many of each shard.
    pub by_shard: BTreeMap<u64, u64>,
    /// Runs in them.
    pub runs: u64,
    /// Fuzz inputs in them.
    pub inputs: u64,
}

/// Units that are in the plan and not among the finished.
pub fn missing(plan: &CampaignPlan, finished: &BTreeMap<Unit, String>) -> Missing {
    let mut missing = Missing::default();
    for (number, unit) in (0u64..).zip(plan.work.units()) {
        if !finished.contains_key(&unit) {
            *missing.by_shard.entry(number % plan.shards).or_default() += 1;
            match plan.work.part(unit.entry) {
                Some(Part::Target(_)) => missing.inputs += unit.end - unit.first,
                Some(Part::Scenario(_)) | None => missing.runs += unit.end - unit.first,
            }
        }
    }
    missing
}

impl Merged {
    /// Merges what is finished.
    ///
    /// # Errors
    /// When results cannot be read.
    pub fn of(
        plan: &CampaignPlan,
        results: &Results<'_>,
        finished: &BTreeMap<Unit, String>,
    ) -> Result<Merged, ResultsError> {
        let work = &plan.work;
        // An object that names no unit of this work counts for nothing.
        let units: BTreeSet<Unit> = work.units().collect();
        let finished: BTreeMap<Unit, String> = finished
            .iter()
            .filter(|(u, _)| units.contains(u))
            .map(|(u, n)| (*u, n.clone()))
            .collect();
        let sums = results.sums(&finished)?;
        let of_entry = |entry: usize| {
            let mine = finished.keys().zip(&sums).filter(move |(unit, _)| unit.entry == entry);
            Sum::of_units(mine.map(|(_, sum)| sum))
        };
        let parts = work.entries.len() + work.targets().len();
        let sums: Vec<Sum> = (0..parts).map(of_entry).collect();
        Ok(Merged::of_sums(work, sums, &missing(plan, &finished)))
    }

    /// The record of what each entry and then each fuzz target of the work came to.
    pub fn of_sums(work: &Work, mut entries: Vec<Sum>, missing: &Missing) -> Merged {
        assert_eq!(
            entries.len(),
            work.entries.len() + work.targets().len(),
            "a sum for each entry and target"
        );
        let targets = entries.split_off(work.entries.len());
        let fuzz = MergedFuzz { missing_inputs: missing.inputs, targets };
        Merged {
            schema: CAMPAIGN_SCHEMA,
            id: work.id(),
            missing_runs: missing.runs,
            failures: failures(work, &entries),
            total: Total::of(work, &entries),
            fuzz: work.fuzz.as_ref().map(|_| fuzz),
            work: work.clone(),
            entries,
        }
    }

    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        pretty(self)
    }

    /// The entries with what each came to.
    pub fn by_entry(&self) -> impl Iterator<Item = (&Entry, &Sum)> {
        self.work.entries.iter().zip(&self.entries)
    }

    /// The fuzz targets with what each came to.
    pub fn by_target(&self) -> impl Iterator<Item = (&str, &Sum)> {
        let sums = self.fuzz.iter().flat_map(|fuzz| &fuzz.targets);
        self.work.targets().iter().map(String::as_str).zip(sums)
    }

    /// The fuzz inputs that failed and are told one by one, with their targets.
    pub fn failed_inputs(&self) -> impl Iterator<Item = (&str, &Failed)> {
        self.by_target().flat_map(|(target, sum)| sum.failures.iter().map(move |f| (target, f)))
    }

    /// The exit codes that follow from what was found.
    pub fn codes(&self) -> BTreeSet<u8> {
        let mut codes: BTreeSet<u8> = self.failed_inputs().map(|(_, f)| f.code).collect();
        for (entry, sum) in self.by_entry() {
            match &entry.expect {
                Expect::Pass => {
                    codes.extend(
                        sum.verdicts.keys().filter_map(|word| code_of(word, &sum.failures)),
                    );
                    let missed = sum.runs >= GOALS_AFTER && !unreached(entry, sum).is_empty();
                    codes.extend((missed && sum.failed() == 0).then_some(9));
                }
                Expect::Violation(name) => {
                    let caught = sum.verdicts.contains_key(&format!("violation:{name}"));
                    codes.extend((!caught && sum.runs > 0).then_some(10));
                    codes.extend(sum.verdicts.contains_key("harness").then_some(7));
                }
            }
        }
        codes
    }
}

impl Total {
    fn of(work: &Work, entries: &[Sum]) -> Total {
        let mut total = Total::default();
        let mut wanted = BTreeSet::new();
        for (entry, sum) in work.entries.iter().zip(entries) {
            total.runs += sum.runs;
            for (name, n) in &sum.verdicts {
                *total.verdicts.entry(name.clone()).or_default() += n;
            }
            for (name, n) in &sum.faults {
                *total.faults.entry(name.clone()).or_default() += n;
            }
            wanted.extend(entry.fault_kinds.iter().cloned());
            let missed = unreached(entry, sum);
            total.never_reached.extend(missed.into_iter().map(|goal| (entry.label(), goal)));
            if let Some(call) = &sum.closest
                && total.closest.as_ref().is_none_or(|c| call.slack < c.call.slack)
            {
                let seed_id = work.seed_id(entry, call.seed).to_string();
                total.closest = Some(Closest { call: call.clone(), seed_id });
            }
        }
        total.never_fired =
            wanted.into_iter().filter(|kind| !total.faults.contains_key(kind)).collect();
        total
    }
}

/// The goals of a scenario that none of its runs reached; none while there were no runs.
fn unreached(entry: &Entry, sum: &Sum) -> Vec<String> {
    let goals = entry.goals.iter().filter(|goal| sum.runs > 0 && !sum.goals.contains_key(*goal));
    goals.cloned().collect()
}

fn failures(work: &Work, entries: &[Sum]) -> Vec<Failure> {
    let of_entry = |(entry, sum): (&Entry, &Sum)| {
        let expected = |failed: &Failed| match &entry.expect {
            Expect::Pass => false,
            Expect::Violation(name) => failed.verdict == format!("violation:{name}"),
        };
        let failure = |failed: &Failed| Failure {
            seed_id: work.seed_id(entry, failed.seed).to_string(),
            failed: failed.clone(),
            expected: expected(failed),
        };
        sum.failures.iter().map(failure).collect::<Vec<_>>()
    };
    work.entries.iter().zip(entries).flat_map(of_entry).collect()
}

/// The exit code of a word among the verdicts; every word has a failure that is told.
fn code_of(word: &str, failures: &[Failed]) -> Option<u8> {
    failures.iter().find(|failed| failed.verdict == word).map(|failed| failed.code)
}
