//! How long things took: percentiles, in microseconds.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Percentiles, exact to three digits. All zero where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// How many were measured.
    pub count: u64,
    /// Half took no longer.
    pub p50_us: u64,
    /// 95 of a hundred took no longer.
    pub p95_us: u64,
    /// 99 of a hundred took no longer.
    pub p99_us: u64,
    /// None took longer.
    pub max_us: u64,
}

impl Spread {
    /// Of these times in microseconds.
    pub fn of(took_us: impl IntoIterator<Item = u64>) -> Spread {
        let seen = Histogram::<u64>::new_with_bounds(1, HOUR_US, 3);
        let mut seen = seen.expect("bounds and digits are allowed");
        for took in took_us {
            // What is beyond the bounds counts as the bound.
            seen.saturating_record(took);
        }
        let at = |q| seen.value_at_quantile(q);
        let (p50_us, p95_us, p99_us) = (at(0.5), at(0.95), at(0.99));
        Spread { count: seen.len(), p50_us, p95_us, p99_us, max_us: seen.max() }
    }
}

/// Beyond every patience of the test.
const HOUR_US: u64 = 3_600_000_000;

/// The machine's monotonic clock in microseconds: the same for every process on it.
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (secs, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    secs.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let Spread { count, p50_us, p95_us, p99_us, max_us } = Spread::of(1..=100);
        assert_eq!((count, p50_us, p95_us, p99_us, max_us), (100, 50, 95, 99, 100));
        assert_eq!(Spread::of([]), Spread::default());
        let slow = Spread::of([1_000_000, 2_000_000, 60_000_000]);
        assert_eq!((slow.p50_us / 10_000, slow.max_us / 100_000), (200, 600));
    }

    #[test]
    fn the_clock_is_the_same_for_all_and_goes_on() {
        let before = monotonic_us();
        assert!(monotonic_us() >= before && before > 0);
    }
}
