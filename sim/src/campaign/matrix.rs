//! The matrix of faults and places in the protocol: which kind of fault has struck where.
//!
//! A place is the kind of event that the struck party had written last (see [`crate::world::meetings`]). Possible are the cells of the
//! kinds that the campaign's scenarios ask for and the places at which anything struck at all: a place where parties never rest is
//! none. Nobody has shown of every such cell that it can be filled, so the share is a lower bound.

use std::collections::{BTreeMap, BTreeSet};

use super::Merged;
use super::sweep::Met;
use crate::page::{Part, Table, text};
use crate::scenario::FaultKind;

/// See the module.
pub(super) struct Matrix {
    kinds: Vec<&'static str>,
    places: Vec<&'static str>,
    /// Runs by kind and place.
    runs: BTreeMap<(String, String), u64>,
}

impl Matrix {
    /// The matrix of what a campaign has met.
    pub fn of(merged: &Merged, species: &BTreeMap<String, Met>) -> Matrix {
        let asked = merged.work.entries.iter().flat_map(|entry| &entry.fault_kinds);
        Matrix::new(&asked.map(String::as_str).collect(), species)
    }

    fn new(asked: &BTreeSet<&str>, species: &BTreeMap<String, Met>) -> Matrix {
        let pair = |(name, met): (&String, &Met)| {
            let (kind, place) = name.split_once(BETWEEN)?;
            Some(((kind.to_string(), place.to_string()), met.runs))
        };
        let runs: BTreeMap<(String, String), u64> = species.iter().filter_map(pair).collect();
        let at = |place: &&'static str| runs.keys().any(|(_, of)| of == place);
        let places = crate::world::meetings::places().filter(at).collect();
        let kinds = FaultKind::ALL.iter().map(|kind| kind.name());
        Matrix { kinds: kinds.filter(|name| asked.contains(name)).collect(), places, runs }
    }

    fn runs(&self, kind: &str, place: &str) -> Option<u64> {
        self.runs.get(&(kind.to_string(), place.to_string())).copied()
    }

    /// How many cells are filled, and how many there could be.
    fn filled(&self) -> (usize, usize) {
        let is_filled = |kind: &str| {
            self.places.iter().filter(|place| self.runs(kind, place).is_some()).count()
        };
        (self.kinds.iter().map(|kind| is_filled(kind)).sum(), self.kinds.len() * self.places.len())
    }

    /// `None` where nothing was met.
    pub fn sentence(&self) -> Option<Vec<Part>> {
        let (filled, of) = self.filled();
        let tenths = filled * 1_000 / of.max(1);
        (of > 0).then(|| {
            vec![text(format!(
                "The matrix of kinds of fault ({}) and places in the protocol where they struck ({}) has {filled} of {of} cells filled, {}.{} %.",
                self.kinds.len(),
                self.places.len(),
                tenths / 10,
                tenths % 10
            ))]
        })
    }

    /// Runs in which a kind struck at a place.
    pub fn table(&self) -> Table {
        let row = |kind: &&'static str| {
            let runs = self.places.iter().map(|place| self.runs(kind, place));
            let cells = runs.map(|runs| runs.map_or("–".to_string(), |runs| runs.to_string()));
            std::iter::once(kind.to_string()).chain(cells).collect()
        };
        Table {
            title: "Faults by the last event of who was struck",
            head: std::iter::once("fault").chain(self.places.iter().copied()).collect(),
            rows: if self.places.is_empty() {
                Vec::new()
            } else {
                self.kinds.iter().map(row).collect()
            },
        }
    }
}

/// What stands between the two halves of a meeting's name.
const BETWEEN: &str = " at ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_what_was_asked_for_and_where_anything_struck() {
        let met = Met { runs: 3, first: 1, last: 9 };
        let species = [
            "net.loss at VoucherSigned",
            "crash.power_loss at StateSigned",
            "net.loss at StateSigned",
        ]
        .map(|name| (name.to_string(), met))
        .into();
        let asked = ["net.loss", "crash.power_loss", "disk.full"].into();
        let matrix = Matrix::new(&asked, &species);
        assert_eq!(matrix.filled(), (3, 6));
        let table = matrix.table();
        assert_eq!(table.head, ["fault", "StateSigned", "VoucherSigned"]);
        let rows =
            [["crash.power_loss", "3", "–"], ["net.loss", "3", "3"], ["disk.full", "–", "–"]];
        assert_eq!(table.rows, rows);
        assert_eq!(Matrix::new(&asked, &BTreeMap::new()).sentence(), None);
    }
}
