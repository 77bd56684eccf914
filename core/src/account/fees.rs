//! How much is offered for a transaction, and when more is.

use crate::config::Fees;
use crate::effect::Urgency;
use crate::types::{ChainTime, FeePerGas};

/// How hard a transaction is pushed, and up to which fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Push {
    /// Blocks after which more is offered.
    pub(super) wait: u64,
    /// Most that is offered.
    pub(super) max: FeePerGas,
    /// Most that would be offered if it could wait.
    normal_max: FeePerGas,
    raise: Raise,
}

/// By how much more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raise {
    /// As little as a replacement takes.
    Least,
    Quarter,
    Double,
    /// All that may be offered.
    Most,
}

impl Push {
    /// How a transaction is pushed in the block after one of time `now`, where blocks are `block_s` apart.
    ///
    /// An answer is offered with more haste the less of its challenge is left: below a half a quarter more in every block, below a
    /// quarter twice as much, below an eighth, or in the last two blocks, all that may be.
    pub(super) fn of(urgency: Urgency, fees: &Fees, now: ChainTime, block_s: u64) -> Push {
        let Urgency::Defence { deadline, window_s } = urgency else {
            let (wait, max) = (fees.stuck_blocks, fees.max);
            return Push { wait, max, normal_max: max, raise: Raise::Least };
        };
        let max = fees.defence_max.max(fees.max);
        let left = deadline.0.saturating_sub(now.0);
        let is_below = |part: u64| left.saturating_mul(part) <= u64::from(window_s);
        let (wait, raise) = if is_below(8) || left <= block_s.saturating_mul(2) {
            (1, Raise::Most)
        } else if is_below(4) {
            (1, Raise::Double)
        } else if is_below(2) {
            (1, Raise::Quarter)
        } else {
            (fees.stuck_blocks, Raise::Least)
        };
        Push { wait, max, normal_max: fees.max, raise }
    }

    /// The fee that replaces `fee`, where a new transaction would offer `fresh`; `None` when more must not be offered.
    pub(super) fn raised(&self, fee: FeePerGas, fresh: FeePerGas) -> Option<FeePerGas> {
        let least = replacement(fee)?;
        if least > self.max {
            return None;
        }
        let raised = match self.raise {
            Raise::Least => least.0,
            Raise::Quarter => fee.0.saturating_add(fee.0.div_ceil(4)),
            Raise::Double => fee.0.saturating_mul(2),
            Raise::Most => self.max.0,
        };
        Some(self.with_room(FeePerGas(raised).max(least).max(fresh)))
    }

    /// What a new transaction offers, where `fresh` is enough as a rule.
    pub(super) fn first(&self, fresh: FeePerGas) -> FeePerGas {
        if self.raise == Raise::Most { self.max } else { self.with_room(fresh) }
    }

    /// `fee` within the bound. Where no replacement would be left below a bound, the bound itself: else what lies between the two could
    /// never be offered. Both bounds count: what is urgent now, or stands below something urgent, may not be so tomorrow.
    pub(super) fn with_room(&self, fee: FeePerGas) -> FeePerGas {
        let fits = |fee, max| replacement(fee).is_some_and(|next| next <= max);
        if fee <= self.normal_max && !fits(fee, self.normal_max) {
            return self.normal_max;
        }
        if fits(fee, self.max) { fee } else { self.max }
    }
}

/// The least fee with which nodes of the network take a transaction in place of one that offers `fee`: an eighth more, rounded up, and at
/// least 1 wei. `None` beyond what a fee can be.
pub fn replacement(fee: FeePerGas) -> Option<FeePerGas> {
    fee.0.checked_add(fee.0.div_ceil(8).max(1)).map(FeePerGas)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEES: Fees = Fees {
        max: FeePerGas(100),
        defence_max: FeePerGas(1_000),
        stuck_blocks: 3,
        wanted_s: 60,
        defence_gas: 1,
    };

    fn answer(left: u64) -> Push {
        let urgency = Urgency::Defence { deadline: ChainTime(1_000), window_s: 80 };
        Push::of(urgency, &FEES, ChainTime(1_000 - left), 2)
    }

    #[test]
    fn the_less_time_is_left_the_more_is_offered() {
        for (left, wait, raised) in [
            (80, 3, 45),
            (41, 3, 45),
            (40, 1, 50),
            (20, 1, 80),
            (10, 1, 1_000),
            (4, 1, 1_000),
            (0, 1, 1_000),
        ] {
            let push = answer(left);
            let found = push.raised(FeePerGas(40), FeePerGas(0));
            assert_eq!((push.wait, found), (wait, Some(FeePerGas(raised))), "{left} s are left");
        }
        let slow = Urgency::Defence { deadline: ChainTime(1_000), window_s: 80 };
        let push = Push::of(slow, &FEES, ChainTime(970), 15);
        assert_eq!(push.raised(FeePerGas(80), FeePerGas(0)), Some(FEES.defence_max), "two blocks");
    }

    #[test]
    fn what_can_wait_is_never_offered_more_than_its_bound() {
        let push = Push::of(Urgency::Normal, &FEES, ChainTime(0), 2);
        assert_eq!(push.raised(FeePerGas(60), FeePerGas(10)), Some(FeePerGas(68)));
        assert_eq!(
            push.raised(FeePerGas(60), FeePerGas(85)),
            Some(FeePerGas(85)),
            "the market rose"
        );
        assert_eq!(push.raised(FeePerGas(60), FeePerGas(700)), Some(FEES.max));
        assert_eq!(
            push.raised(FeePerGas(81), FeePerGas(0)),
            Some(FEES.max),
            "no step is left above"
        );
        assert_eq!(push.raised(FeePerGas(100), FeePerGas(0)), None);
    }

    #[test]
    fn an_eighth_is_rounded_up() {
        for (fee, next) in [(0, 1), (1, 2), (8, 9), (9, 11), (80, 90)] {
            assert_eq!(replacement(FeePerGas(fee)), Some(FeePerGas(next)));
        }
        assert_eq!(replacement(FeePerGas(u64::MAX)), None);
    }
}
