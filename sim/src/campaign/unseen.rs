//! How much of the unknown is left: what a campaign has not met yet, estimated from what it has met once.
//!
//! A *species* is a meeting: a kind of fault that struck a party whose last event was of some kind (`crash.power_loss at
//! VoucherSigned`). A *sample* is a seed: all runs of the campaign with that seed, one of each scenario on each engine. Good and Turing:
//! the chance that the next sample shows a species never met is about the number of species that exactly one sample has shown,
//! divided by the number of samples. It looks no further than what these scenarios can meet at all.

use std::collections::BTreeMap;

use super::{Merged, Met};

/// What the species of a campaign come to. All of it are counts, so that records stay exact; [`Unseen::next`] alone divides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Seeds.
    pub samples: u64,
    /// Species that were met.
    pub met: u64,
    /// Species that one seed alone has met.
    pub once: u64,
}

/// A chance, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths(pub u64);

/// All species of a campaign, and in which runs each was met.
pub fn species(merged: &Merged) -> BTreeMap<String, Met> {
    let mut species: BTreeMap<String, Met> = BTreeMap::new();
    for (name, met) in merged.entries.iter().flat_map(|entry| &entry.meetings) {
        species.entry(name.clone()).and_modify(|m| m.add(met)).or_insert(*met);
    }
    species
}

/// How many species the seeds up to each had met: a point for each seed that met a new one, with both ends.
pub fn curve(species: &BTreeMap<String, Met>, seeds: (u64, u64)) -> Vec<(u64, u64)> {
    let mut firsts: Vec<u64> = species.values().map(|met| met.first).collect();
    firsts.sort_unstable();
    let mut points = vec![(0, 0)];
    for (count, first) in (1..).zip(&firsts) {
        let samples = first.saturating_sub(seeds.0) + 1;
        match points.last_mut() {
            Some(last) if last.0 == samples => last.1 = count,
            _ => points.push((samples, count)),
        }
    }
    points.push((seeds.1 - seeds.0, firsts.len() as u64));
    points
}

impl Unseen {
    /// Counts the species.
    pub fn of(species: &BTreeMap<String, Met>, samples: u64) -> Unseen {
        let once = species.values().filter(|met| met.first == met.last).count() as u64;
        Unseen { samples, met: species.len() as u64, once }
    }

    /// The chance that at least one of the next so many seeds shows a species never met.
    ///
    /// With nothing met once the estimate is nought, which says little after few seeds; then it is the bound that 95 % of campaigns
    /// of this length would keep: three in the number of samples (see [`Unseen::is_bound`]).
    pub fn next(&self, seeds: u64) -> Millionths {
        let (of, samples) =
            if self.is_bound() { (3, self.samples) } else { (self.once, self.samples) };
        // One seed shows nothing new with this chance; as many in a row with its power. Integers: the same on every machine.
        let none = PARTS - (u128::from(of.min(samples)) * PARTS) / u128::from(samples.max(1));
        let mut power = PARTS;
        let (mut base, mut left) = (none, seeds);
        while left > 0 {
            if left % 2 == 1 {
                power = power * base / PARTS;
            }
            base = base * base / PARTS;
            left /= 2;
        }
        Millionths(u64::try_from((PARTS - power) / (PARTS / 1_000_000)).unwrap_or(1_000_000))
    }

    /// Whether [`Unseen::next`] is an upper bound and not an estimate.
    pub fn is_bound(&self) -> bool {
        self.once == 0
    }
}

/// Into how many parts a chance is cut while it is multiplied: the square fits into 128 bits.
const PARTS: u128 = 1_000_000_000_000_000;

impl std::fmt::Display for Millionths {
    /// `12.3 %`; never `0 %` nor `100 %`, which no estimate can say.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = self.0 / 1_000;
        match tenths {
            0 => f.write_str("less than 0.1 %"),
            1_000.. => f.write_str("more than 99.9 %"),
            _ => write!(f, "{}.{} %", tenths / 10, tenths % 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(first: u64, last: u64) -> Met {
        Met { runs: 1 + u64::from(first != last), first, last }
    }

    #[test]
    fn what_one_seed_alone_has_met_is_the_measure_of_what_none_has() {
        let species: BTreeMap<String, Met> =
            [("a", met(10, 40)), ("b", met(10, 10)), ("c", met(13, 13)), ("d", met(12, 19))]
                .map(|(name, met)| (name.to_string(), met))
                .into();
        let unseen = Unseen::of(&species, 100);
        assert_eq!(unseen, Unseen { samples: 100, met: 4, once: 2 });
        assert_eq!(unseen.next(1), Millionths(20_000));
        // 1 - 0.98^10 = 0.18292…
        assert_eq!(unseen.next(10), Millionths(182_927));
        assert_eq!(curve(&species, (10, 110)), [(0, 0), (1, 2), (3, 3), (4, 4), (100, 4)]);
    }

    #[test]
    fn nothing_met_once_is_a_bound_and_not_certainty() {
        let unseen = Unseen { samples: 40_000, met: 9, once: 0 };
        assert!(unseen.is_bound());
        // 1 - (1 - 3/40000)^1000 = 0.0722…
        assert_eq!(unseen.next(1_000).to_string(), "7.2 %");
        assert_eq!(Unseen { samples: 0, met: 0, once: 0 }.next(1_000), Millionths(0));
        assert_eq!(Unseen { samples: 1, met: 1, once: 1 }.next(1).to_string(), "more than 99.9 %");
        assert_eq!(Millionths(999).to_string(), "less than 0.1 %");
    }
}
