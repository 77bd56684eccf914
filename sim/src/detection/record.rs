//! What was measured on one build, kept in a folder so that a measurement goes on after a kill.

use fairway_core::{MUTANTS, Mutant};

use super::{Arm, Seen, Survey, Trial, Witness};
use crate::build_id::BUILD_ID;
use crate::campaign::{Store, StoreError};

/// Everything that was measured on this build so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Of each mutant, in the order of their ids.
    pub surveys: Vec<Survey>,
    /// In the order of mutants, arms and repetitions.
    pub trials: Vec<Trial>,
    /// Of each mutant, in the order of their ids.
    pub witnesses: Vec<Witness>,
}

impl Record {
    /// Reads what is there of this build, with these limits.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn read(store: &Store) -> Result<Record, StoreError> {
        Ok(Record {
            surveys: all(store, "surveys")?,
            trials: all(store, "trials")?,
            witnesses: all(store, "witnesses")?,
        })
    }

    /// Who saw what, in the order of mutants.
    pub fn seen(&self) -> Seen {
        let of = |m: &Mutant| self.witnesses.iter().find(|w| w.mutant == m.id).cloned();
        Seen { build: build().to_string(), mutants: MUTANTS.iter().filter_map(of).collect() }
    }

    /// Whether there is such a trial.
    pub fn has(&self, mutant: &str, arm: Arm, repetition: u64, limit: u64) -> bool {
        self.trials.iter().any(|t| {
            (t.mutant.as_str(), t.arm, t.repetition, t.limit) == (mutant, arm, repetition, limit)
        })
    }

    /// Whether there is a survey of this mutant.
    pub fn surveyed(&self, mutant: &str) -> bool {
        self.surveys.iter().any(|s| s.mutant == mutant)
    }

    /// Whether it is known who sees this mutant.
    pub fn witnessed(&self, mutant: &str) -> bool {
        self.witnesses.iter().any(|w| w.mutant == mutant)
    }
}

/// Keeps a trial.
///
/// # Errors
/// When the place cannot be written.
pub fn put_trial(store: &Store, trial: &Trial) -> Result<(), StoreError> {
    let Trial { mutant, arm, repetition, limit, .. } = trial;
    put(store, &format!("trials/{mutant}/{}-{repetition:02}-{limit}.json", arm.name()), trial)
}

/// Keeps a survey.
///
/// # Errors
/// When the place cannot be written.
pub fn put_survey(store: &Store, survey: &Survey) -> Result<(), StoreError> {
    put(store, &format!("surveys/{}.json", survey.mutant), survey)
}

/// Keeps who sees a mutant.
///
/// # Errors
/// When the place cannot be written.
pub fn put_witness(store: &Store, witness: &Witness) -> Result<(), StoreError> {
    put(store, &format!("witnesses/{}.json", witness.mutant), witness)
}

fn put(store: &Store, name: &str, value: &impl serde::Serialize) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(value).expect("counters and names are always JSON");
    store.put(&format!("{}/{name}", build()), bytes)
}

/// All that is readable; what is not was written by another version, and is measured again.
fn all<T: serde::de::DeserializeOwned>(store: &Store, folder: &str) -> Result<Vec<T>, StoreError> {
    let folder = format!("{}/{folder}", build());
    let names = store.list(&folder)?;
    let names: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
    let objects = store.get_all(&names)?;
    Ok(objects.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect())
}

/// What another build has come to says nothing of this one.
fn build() -> &'static str {
    BUILD_ID.get(..8).unwrap_or(BUILD_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_again_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let trial = |mutant: &str, repetition| Trial {
            mutant: mutant.into(),
            arm: Arm::Everything,
            repetition,
            limit: 20,
            runs: 20,
            found: None,
        };
        for trial in [trial("b", 0), trial("a", 10), trial("a", 2)] {
            put_trial(&store, &trial).unwrap();
        }
        let record = Record::read(&store).unwrap();
        assert_eq!(record.trials, [trial("a", 2), trial("a", 10), trial("b", 0)]);
        assert!(record.has("a", Arm::Everything, 2, 20));
        assert!(!record.has("a", Arm::Everything, 2, 21) && !record.has("a", Arm::Swarm, 2, 20));
    }
}
