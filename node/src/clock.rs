//! The clock of a real node: the wall's time at the start, and from then on a monotonic one.
//!
//! A wall clock that is set back or forth while the node runs changes nothing; between two runs core guards itself.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fairway_core::types::Timestamp;
use fairway_transport::Clock;

/// Milliseconds since 1970, never going back within a process.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    origin_ms: u64,
    started: Instant,
}

impl WallClock {
    /// Reads the wall's time once.
    pub fn start() -> WallClock {
        // A clock before 1970 is as good as any other origin.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        WallClock { origin_ms: millis(since), started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.origin_ms).after_ms(millis(self.started.elapsed()))
    }
}

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        self.now().0
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> {
        tokio::time::sleep(Duration::from_millis(ms))
    }
}

/// Whole milliseconds; a duration of more than 500 million years is cut.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
