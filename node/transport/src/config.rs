//! Every limit of the network with its default and the reason for it. Not here: addresses of peers
//! (the [`Dial`](crate::Dial) port knows them).

use crate::hello::{ChainPin, VersionRange};

/// The limits and time-outs of one [`Network`](crate::Network).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The chain and contract that both ends must share.
    pub chain: ChainPin,
    /// The wire versions that we speak.
    pub versions: VersionRange,
    /// Largest message in one frame, in bytes; at both ends of a session the same, as a larger
    /// incoming frame ends it. Default 131,072: a state with a full outcome fits many times.
    pub frame_bytes_max: usize,
    /// A direction silent for this long gets a ping; a session suspected of being dead has this long to
    /// show life. Default 10,000.
    pub keepalive_ms: u64,
    /// A session without incoming traffic for this long is dead. Default 30,000: two lost pings.
    pub idle_ms: u64,
    /// Bound of one [`Dial::dial`](crate::Dial::dial). Default 5,000.
    pub dial_ms: u64,
    /// Bound of one handshake. Default 5,000: three crossings of a slow link.
    pub handshake_ms: u64,
    /// First delay between dials; doubles with each failure. Default 250.
    pub backoff_base_ms: u64,
    /// Largest delay between dials. A session that lived this long resets the back-off. Default 30,000.
    pub backoff_max_ms: u64,
    /// Live sessions, and peers that [`Handle::connect`](crate::Handle::connect) wants. Default 1,024.
    pub sessions_max: usize,
    /// Handshakes in flight that others began; streams beyond are dropped. Default 64: each costs two
    /// signature checks and is held for at most `handshake_ms`.
    pub handshakes_max: usize,
    /// Messages that wait for one peer. Default 1,024.
    pub queue_messages_max: usize,
    /// Bytes that wait for one peer. Default 4 MiB.
    pub queue_bytes_max: usize,
    /// Events that wait for the caller; reading from peers pauses when it is full. Default 256.
    pub events_max: usize,
}

impl Config {
    /// The defaults on `chain`.
    pub fn new(chain: ChainPin, versions: VersionRange) -> Config {
        Config {
            chain,
            versions,
            frame_bytes_max: 131_072,
            keepalive_ms: 10_000,
            idle_ms: 30_000,
            dial_ms: 5_000,
            handshake_ms: 12_000,
            backoff_base_ms: 250,
            backoff_max_ms: 30_000,
            sessions_max: 1_024,
            handshakes_max: 64,
            queue_messages_max: 1_024,
            queue_bytes_max: 4 << 20,
            events_max: 256,
        }
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// The first relation that does not hold; the operator corrects the configuration.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("frame_bytes_max", self.frame_bytes_max as u64),
            ("keepalive_ms", self.keepalive_ms),
            ("dial_ms", self.dial_ms),
            ("handshake_ms", self.handshake_ms),
            ("backoff_base_ms", self.backoff_base_ms),
            ("sessions_max", self.sessions_max as u64),
            ("handshakes_max", self.handshakes_max as u64),
            ("queue_messages_max", self.queue_messages_max as u64),
            ("events_max", self.events_max as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
        }
        for (low, less, high, more) in [
            ("keepalive_ms", self.keepalive_ms, "idle_ms", self.idle_ms.saturating_sub(1)),
            ("backoff_base_ms", self.backoff_base_ms, "backoff_max_ms", self.backoff_max_ms),
            (
                "frame_bytes_max",
                self.frame_bytes_max as u64,
                "queue_bytes_max",
                self.queue_bytes_max as u64,
            ),
            ("frame_bytes_max", self.frame_bytes_max as u64, "16 MiB", FRAME_BYTES_CAP),
        ] {
            if less > more {
                return Err(ConfigError::Order { low, high });
            }
        }
        Ok(())
    }
}

/// No configuration allows larger messages: a frame is held in memory twice while it is read.
const FRAME_BYTES_CAP: u64 = 16 << 20;

/// Values that cannot work together. The operator is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A limit of nothing.
    #[error("{key} is zero")]
    Zero {
        /// The name of the field.
        key: &'static str,
    },
    /// Two limits in the wrong order.
    #[error("{low} is too large for {high}")]
    Order {
        /// What has to be smaller.
        low: &'static str,
        /// What has to be larger.
        high: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::types::Address;

    fn config() -> Config {
        let chain = ChainPin { chain_id: 1, adjudicator: Address::ZERO };
        Config::new(chain, VersionRange::only(1))
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let zero = Config { events_max: 0, ..config() };
        assert_eq!(zero.check(), Err(ConfigError::Zero { key: "events_max" }));
        let equal = Config { idle_ms: 10_000, ..config() };
        let low = "keepalive_ms";
        assert_eq!(equal.check(), Err(ConfigError::Order { low, high: "idle_ms" }));
        assert_eq!(Config { idle_ms: 10_001, ..config() }.check(), Ok(()));
        let huge =
            Config { frame_bytes_max: (16 << 20) + 1, queue_bytes_max: 64 << 20, ..config() };
        let low = "frame_bytes_max";
        assert_eq!(huge.check(), Err(ConfigError::Order { low, high: "16 MiB" }));
    }
}
