//! How long the oldest of what waits has been waiting.

use std::collections::BTreeMap;

use fairway_core::types::Lsn;

/// When each of what waits was first seen to. As precise as looks are frequent, and begun anew by each process: the log knows what waits,
/// and not since when.
#[derive(Debug, Default)]
pub struct Ages(BTreeMap<(&'static str, Lsn), u64>);

impl Ages {
    /// Takes note of everything that waits now, by kind and by the event that gave rise to it; the age of the oldest of each kind, in
    /// seconds. What waits no more is forgotten.
    pub fn of(
        &mut self,
        waiting: &[(&'static str, Lsn)],
        now_ms: u64,
    ) -> BTreeMap<&'static str, f64> {
        let before = std::mem::take(&mut self.0);
        let mut oldest: BTreeMap<&'static str, f64> = BTreeMap::new();
        for one in waiting {
            let since = before.get(one).copied().unwrap_or(now_ms);
            self.0.insert(*one, since);
            let age_s = now_ms.saturating_sub(since) as f64 / 1e3;
            let most = oldest.entry(one.0).or_default();
            *most = most.max(age_s);
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the age is that of the oldest which still waits, though younger ones come and older ones go.
    #[test]
    fn the_oldest_that_still_waits_counts() {
        let mut ages = Ages::default();
        let (first, second, third) =
            (("deposit", Lsn(7)), ("deposit", Lsn(9)), ("message", Lsn(9)));
        assert_eq!(ages.of(&[first], 1_000), [("deposit", 0.0)].into());
        assert_eq!(
            ages.of(&[first, second, third], 5_000),
            [("deposit", 4.0), ("message", 0.0)].into()
        );
        assert_eq!(ages.of(&[second], 8_000), [("deposit", 3.0)].into());
        assert_eq!(ages.of(&[], 9_000), [].into());
        assert_eq!(ages.of(&[second], 9_500), [("deposit", 0.0)].into(), "it waits anew");
        assert_eq!(
            ages.of(&[second], 9_000),
            [("deposit", 0.0)].into(),
            "no clock makes it negative"
        );
    }
}
