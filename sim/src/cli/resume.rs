//! `run --resume`: what was finished before a kill is taken from the folder of the run.
//!
//! A chunk of seeds is kept under a name that says everything on which its result depends, so that a folder may hold the chunks of many
//! runs, and what another build, scenario or setting has come to is never taken for this one's.

use std::ops::Range;
use std::path::Path;

use super::{Stop, thousands};
use crate::build_id::BUILD_ID;
use crate::campaign::{How, Store, StoreError, Tally, UNIT_SEEDS, Until, sweep};
use crate::engine::RunReport;
use crate::scenario::Scenario;

/// Finished chunks below a run's folder.
pub struct Resume {
    store: Store,
}

impl Resume {
    /// Opens the folder of a run.
    ///
    /// # Errors
    /// When it is none and cannot be made.
    pub fn open(out: &Path) -> Result<Resume, Stop> {
        let store = Store::open(&out.display().to_string());
        Ok(Resume { store: store.map_err(|e| Stop::usage(format!("--out: {e}")))? })
    }

    /// As [`sweep`], chunk by chunk, without those that are finished. `seen` is called for runs that are made now.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn sweep(
        &self,
        how: &How,
        scenario: &Scenario,
        seeds: Range<u64>,
        workers: usize,
        until: Until,
        seen: &(dyn Fn(&RunReport) + Sync),
    ) -> Result<Tally, Stop> {
        let mut all = Tally::default();
        let mut taken = 0;
        let mut first = seeds.start;
        while first < seeds.end {
            let chunk = first..first.saturating_add(UNIT_SEEDS).min(seeds.end);
            first = chunk.end;
            let name = format!("finished/{}.json", key(how, scenario, &chunk, until));
            let tally = match self.finished(&name)? {
                Some(tally) => {
                    taken += tally.runs;
                    tally
                }
                None => {
                    let tally = sweep(how, scenario, chunk, workers, until, seen);
                    let bytes = serde_json::to_vec(&tally);
                    let bytes = bytes.map_err(|e| Stop::harness(e.to_string()))?;
                    self.store.put(&name, bytes).map_err(failed)?;
                    tally
                }
            };
            all.merge(tally);
            if until == Until::FirstFailure && !all.failed.is_empty() {
                break;
            }
        }
        if taken > 0 {
            eprintln!(
                "  {}: {} runs were finished before and are taken from {}",
                scenario.name(),
                thousands(taken),
                self.store.place()
            );
        }
        Ok(all)
    }

    /// What is not a tally any more is run again.
    fn finished(&self, name: &str) -> Result<Option<Tally>, Stop> {
        let bytes = self.store.get(name).map_err(failed)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

fn failed(error: StoreError) -> Stop {
    Stop::usage(format!("--out: {error}"))
}

/// Everything on which the result of a chunk depends.
fn key(how: &How, scenario: &Scenario, chunk: &Range<u64>, until: Until) -> String {
    let parts = (
        (BUILD_ID, scenario.name(), scenario.digest(), how.engine, how.crypto),
        (&how.mutant, &how.ignore, &how.settings, how.search_permille),
        (chunk.start, chunk.end, until == Until::FirstFailure),
    );
    let bytes = serde_json::to_vec(&parts).expect("words and numbers are JSON");
    blake3::hash(&bytes).to_hex()[..32].to_string()
}
