//! Tells people what only a look at the resting node shows: refusals, of which a hostile peer can cause any number, and challenges.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairway_core::driver::Driver;

use crate::logs;

/// What was told already.
#[derive(Debug, Default)]
pub struct Teller {
    refused: BTreeMap<&'static str, Refused>,
    challenges: u64,
}

/// Refusals of one kind.
#[derive(Clone, Copy, Debug)]
struct Refused {
    told: u64,
    at: Instant,
}

impl Teller {
    /// Looks at a resting node, and tells what is new: of each kind of refusal one line a minute with their number.
    pub fn tell(&mut self, driver: &Driver) {
        for (code, count) in driver.node().dropped() {
            if let Some(new) = self.due(code, *count, Instant::now()) {
                tracing::warn!(reason = code, count = new, "messages or commands were refused");
            }
        }
        let challenges = driver.tally().total("challenges");
        if std::mem::replace(&mut self.challenges, challenges) < challenges {
            logs::challenges(driver);
        }
    }

    /// How many refusals of this kind are to be told now.
    fn due(&mut self, code: &'static str, count: u64, now: Instant) -> Option<u64> {
        let before = self.refused.get(code);
        let new = count.saturating_sub(before.map_or(0, |b| b.told));
        let waits = before.is_some_and(|b| now.saturating_duration_since(b.at) < TELL_EVERY);
        if new == 0 || waits {
            return None;
        }
        self.refused.insert(code, Refused { told: count, at: now });
        Some(new)
    }
}

/// Fifteen kinds make fifteen lines a minute.
const TELL_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_refusal_is_told_at_once_and_then_once_a_minute_with_its_number() {
        let mut teller = Teller::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(teller.due("policy", 1, at(0)), Some(1));
        assert_eq!(teller.due("policy", 500, at(59)), None);
        assert_eq!(teller.due("limit", 2, at(59)), Some(2), "another kind");
        assert_eq!(teller.due("policy", 900, at(60)), Some(899));
        assert_eq!(teller.due("policy", 900, at(500)), None, "nothing new");
    }
}
