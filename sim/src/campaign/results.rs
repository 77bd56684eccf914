//! The results of a campaign where they are kept: one object a unit, named by what it is and by what is in it.
//!
//! ```text
//! plan.json
//! units/<work>/<entry>-<first>-<end>.<hash>.json       what the runs of a unit came to
//! inputs/<target>/<hash>                               the bytes of a fuzz input that failed
//! timings/<work>/<entry>-<first>-<end>.json            how long it took, on that machine
//! merged.json, timings.json, report.md, report.html    what `merge` and `report` make of them
//! ```
//!
//! A unit is finished when its object is there, and objects are put whole; so nobody needs a lock, and a shard that was killed goes on
//! where it was. A unit that two shards have run has one object, because equal content has one name; two objects for one unit are
//! non-determinism.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fuzz::{FuzzError, input_name};
use super::plan::{CAMPAIGN_SCHEMA, pretty};
use super::store::{Store, StoreError};
use super::{CampaignPlan, PlanError, Sum, Unit, Work};

/// The file of the plan, beside its results.
pub const PLAN_FILE: &str = "plan.json";

/// A unit's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRecord {
    /// [`CAMPAIGN_SCHEMA`].
    pub schema: u32,
    /// Of which work.
    pub work: String,
    /// Of which entry.
    pub entry: usize,
    /// The first seed, and the one after the last.
    pub seeds: (u64, u64),
    /// What its runs came to.
    pub sum: Sum,
}

/// How long a unit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Runs.
    pub runs: u64,
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// Threads.
    pub threads: u64,
}

/// The results of one work in one place.
pub struct Results<'a> {
    store: &'a Store,
    work: String,
}

/// Why results cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The place said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan is none.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Fuzz inputs cannot be run.
    #[error(transparent)]
    Fuzz(#[from] FuzzError),
    /// There is no plan.
    #[error(
        "{place}/{name}: expected a campaign plan, found none: make one with `fairway-sim campaign plan`"
    )]
    NoPlan {
        /// Where.
        place: String,
        /// The file.
        name: String,
    },
    /// An object's bytes are not what its name says.
    #[error(
        "{place}/{name}: expected the content of this name, found other bytes: delete it and run its shard again"
    )]
    Damaged {
        /// Where.
        place: String,
        /// The object.
        name: String,
    },
    /// Two results of the same runs.
    #[error(
        "{place}: {first} and {second} are two results of the same runs: the simulation is not deterministic"
    )]
    TwoResults {
        /// Where.
        place: String,
        /// One object.
        first: String,
        /// The other.
        second: String,
    },
}

/// Reads the plan of a place. `what` is the place, or the plan's file in it.
///
/// # Errors
/// When there is none, or it is none.
pub fn open_plan(what: &str) -> Result<(Store, CampaignPlan), ResultsError> {
    let (place, name) = match what.rsplit_once('/') {
        Some((place, name)) if name.ends_with(".json") => (place, name),
        None if what.ends_with(".json") => (".", what),
        _ => (what, PLAN_FILE),
    };
    let missing = || ResultsError::NoPlan { place: place.into(), name: name.into() };
    // Opening makes a folder; reading must not.
    if !place.contains("://") && !std::path::Path::new(place).is_dir() {
        return Err(missing());
    }
    let store = Store::open(place)?;
    let bytes = store.get(name)?.ok_or_else(missing)?;
    let plan = CampaignPlan::read(&format!("{place}/{name}"), &bytes)?;
    Ok((store, plan))
}

impl<'a> Results<'a> {
    /// The results of this work in this place.
    pub fn new(store: &'a Store, work: &Work) -> Results<'a> {
        Results { store, work: work.id() }
    }

    /// The finished units and their objects.
    ///
    /// # Errors
    /// When the place cannot be listed, or a unit has two results.
    pub fn finished(&self) -> Result<BTreeMap<Unit, String>, ResultsError> {
        let folder = self.folder("units");
        let mut finished: BTreeMap<Unit, String> = BTreeMap::new();
        for name in self.store.list(&folder)? {
            let Some(unit) = unit_of(&name) else { continue };
            if let Some(first) = finished.insert(unit, name.clone()) {
                let place = format!("{}/{folder}", self.store.place());
                return Err(ResultsError::TwoResults { place, first, second: name });
            }
        }
        Ok(finished)
    }

    /// Keeps what a unit came to, and how long it took.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn keep(&self, unit: Unit, sum: &Sum, timing: Timing) -> Result<(), StoreError> {
        let stem = stem(unit);
        self.store.put(&format!("{}/{stem}.json", self.folder("timings")), pretty(&timing))?;
        let record = UnitRecord {
            schema: CAMPAIGN_SCHEMA,
            work: self.work.clone(),
            entry: unit.entry,
            seeds: (unit.first, unit.end),
            sum: sum.clone(),
        };
        let bytes = pretty(&record);
        let name = format!("{}/{stem}.{}.json", self.folder("units"), content(&bytes));
        self.store.put(&name, bytes)
    }

    /// Keeps the bytes of a fuzz input that failed, by their hash.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn keep_input(&self, target: &str, hash: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.store.put(&input_name(target, hash), bytes)
    }

    /// What these units came to, in their order.
    ///
    /// # Errors
    /// When an object cannot be read, or is not what its name says.
    pub fn sums(&self, finished: &BTreeMap<Unit, String>) -> Result<Vec<Sum>, ResultsError> {
        let folder = self.folder("units");
        let names: Vec<String> = finished.values().map(|n| format!("{folder}/{n}")).collect();
        let read = self.store.get_all(&names)?;
        let mut sums = Vec::new();
        for ((unit, name), bytes) in finished.keys().zip(&names).zip(read) {
            let damaged =
                || ResultsError::Damaged { place: self.store.place().into(), name: name.clone() };
            if !name.ends_with(&format!(".{}.json", content(&bytes))) {
                return Err(damaged());
            }
            let record: UnitRecord = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            let named = (record.entry, record.seeds) == (unit.entry, (unit.first, unit.end));
            if record.schema != CAMPAIGN_SCHEMA || record.work != self.work || !named {
                return Err(damaged());
            }
            sums.push(record.sum);
        }
        Ok(sums)
    }

    /// How long the units took that say so, by entry.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn timings(&self) -> Result<Vec<(Unit, Timing)>, ResultsError> {
        let folder = self.folder("timings");
        let units: Vec<(Unit, String)> = self
            .store
            .list(&folder)?
            .into_iter()
            .filter_map(|name| Some((unit_of(&name)?, format!("{folder}/{name}"))))
            .collect();
        let names: Vec<String> = units.iter().map(|(_, name)| name.clone()).collect();
        let read = self.store.get_all(&names)?;
        let timing = |((unit, _), bytes): (&(Unit, String), Vec<u8>)| {
            Some((*unit, serde_json::from_slice(&bytes).ok()?))
        };
        Ok(units.iter().zip(read).filter_map(timing).collect())
    }

    fn folder(&self, kind: &str) -> String {
        format!("{kind}/{}", &self.work[..16])
    }
}

/// `0003-250-500`: numbers have no leading zeros beyond what keeps entries in order for people.
fn stem(unit: Unit) -> String {
    format!("{:04}-{}-{}", unit.entry, unit.first, unit.end)
}

fn unit_of(name: &str) -> Option<Unit> {
    let (stem, _) = name.split_once('.')?;
    let mut numbers = stem.split('-').map(|n| n.parse::<u64>().ok());
    let (entry, first, end) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() {
        return None;
    }
    Some(Unit { entry: usize::try_from(entry).ok()?, first, end })
}

fn content(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_string()
}
