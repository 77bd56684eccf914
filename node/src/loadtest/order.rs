//! What the test says to its nodes and what they answer: JSON lines over standard input and output.

use std::net::SocketAddr;

use fairway_core::event::ObjectiveKind;
use fairway_core::types::{Address, Amount, ChannelId, Lsn};
use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// What a node shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Order {
    /// Open direct channels with a peer, all at once, and wait until every one is open.
    Open {
        peer: Address,
        count: u32,
        /// What each of the two deposits into each channel.
        deposit: Amount,
    },
    /// Open virtual channels, all at once, and wait until every one is open.
    Route { via: Address, payee: Address, count: u32, amount: Amount },
    /// Wait until so many objectives of a kind are completed over the life of the log.
    Await { kind: ObjectiveKind, count: u64 },
    /// Pay.
    Pay(Plan),
    /// Wait until everything of a plan is received.
    Receive(Plan),
    /// Close channels in agreement, one after the other.
    Close { channels: Vec<ChannelId> },
    /// Say what was done so far.
    Facts,
    /// Stop in order.
    Stop,
}

/// Who pays what, and when. Payment `i` is of one wei, in channel `i` modulo their number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// From one payer to one payee.
    pub channels: Vec<ChannelId>,
    /// Payments in all.
    pub count: u64,
    /// Payments that are on their way at once, at most. As many as there are channels: each has a voucher of its own.
    pub window: u64,
    /// When each payment is due; without one as soon as there is room in the window.
    pub pace: Option<Pace>,
}

/// An open loop: payments are due whatever became of those before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// When the first is due, in microseconds of the machine's monotonic clock.
    pub begin_us: u64,
    /// Payments a second.
    pub rate: u64,
}

impl Pace {
    /// When payment `i` is due, in microseconds.
    pub fn due_us(&self, i: u64) -> u64 {
        self.begin_us.saturating_add(i.saturating_mul(1_000_000) / self.rate.max(1))
    }
}

impl Plan {
    /// How many payments are in the channel at this place.
    pub fn share(&self, place: usize) -> u64 {
        let (channels, place) = (self.channels.len() as u64, place as u64);
        (self.count + channels - 1 - place) / channels
    }
}

/// What a node says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum Answer {
    /// It runs.
    Ready {
        address: Address,
        listens_at: SocketAddr,
        watched_at: SocketAddr,
        /// From the process's first instruction in `main` until it takes commands, in microseconds.
        took_us: u64,
        lsn: Lsn,
    },
    /// It is done.
    Opened {
        channels: Vec<ChannelId>,
        /// From the command until it was durably accepted.
        accepted: Spread,
        /// From the command until the objective was completed here; where notices were missed, of fewer channels.
        completed: Spread,
    },
    /// It is done.
    Awaited,
    /// Everything is accepted, durably.
    Paid {
        /// From when the payment was due, or else from the command, until it was durably accepted here.
        accepted: Spread,
    },
    /// Everything is here, durably.
    Received {
        /// When the last payment was there, on the machine's monotonic clock.
        at_us: u64,
        /// From when the payment was due until it was here; nothing without a pace.
        latency: Spread,
    },
    /// It is done.
    Closed {
        /// From the command until the objective was completed here.
        completed: Spread,
    },
    /// What was done so far.
    Facts(Facts),
    /// It has stopped in order.
    Stopped { took_us: u64 },
    /// It cannot.
    Failed { why: String },
}

/// What a node did since its process began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Syncs that were waited for.
    pub syncs: u64,
    /// Bytes written, both copies of each batch counted.
    pub bytes: u64,
    /// Events in the log, over all processes.
    pub events: u64,
    /// Vouchers that were received, over all processes.
    pub vouchers: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_the_channels_are_all_payments() {
        for (channels, count) in [(1u8, 10), (3, 10), (3, 9), (7, 3)] {
            let channels = (0..channels).map(|n| ChannelId([n; 32].into())).collect();
            let plan = Plan { channels, count, window: 1, pace: None };
            let shares: Vec<u64> = (0..plan.channels.len()).map(|at| plan.share(at)).collect();
            assert_eq!(shares.iter().sum::<u64>(), count, "{shares:?}");
            let least = shares.iter().min().unwrap();
            assert!(shares.iter().all(|s| s - least <= 1), "{shares:?}");
        }
    }

    #[test]
    fn payments_are_due_at_the_rate() {
        let pace = Pace { begin_us: 5, rate: 4 };
        assert_eq!([0, 1, 4].map(|i| pace.due_us(i)), [5, 250_005, 1_000_005]);
    }
}
