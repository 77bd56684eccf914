//! More is offered for a transaction that waits, now, because the operator says so. Which transaction may be said again, and how much may be
//! offered for it, is decided as for every other replacement.

use alloc::vec::Vec;

use super::fees::replacement;
use super::{Account, Tx};
use crate::types::FeePerGas;

/// Why no more is offered. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBumped {
    /// The nonce is used, or nothing was wanted there.
    #[error("no transaction waits at nonce {nonce}")]
    NothingWaits {
        /// Which.
        nonce: u64,
    },
    /// The node has withdrawn it, or has not asked for it lately.
    #[error(
        "the transaction at nonce {nonce} is not wanted any more and is not said again; what waits above takes its place when it is stuck"
    )]
    Unwanted {
        /// Which.
        nonce: u64,
    },
    /// Endpoints would not take it in place of the other.
    #[error(
        "a fee of {asked} replaces nothing: {offered} is offered, and a replacement takes {least} at least"
    )]
    TooLittle {
        /// What was asked for.
        asked: FeePerGas,
        /// What is offered now.
        offered: FeePerGas,
        /// The least that is more.
        least: FeePerGas,
    },
    /// More than may be offered.
    #[error(
        "a fee of {asked} is above the bound of {max}; raise the bound and start the node again"
    )]
    AboveCap {
        /// What was asked for.
        asked: FeePerGas,
        /// The bound of this transaction.
        max: FeePerGas,
    },
    /// Nothing is left to offer.
    #[error(
        "{offered} is offered already, and no replacement is left below the bound of {max}; raise the bound and start the node again"
    )]
    AtCap {
        /// What is offered now.
        offered: FeePerGas,
        /// The bound of this transaction.
        max: FeePerGas,
    },
}

impl NotBumped {
    /// One word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            NotBumped::NothingWaits { .. } => "nothing_waits",
            NotBumped::Unwanted { .. } => "not_wanted",
            NotBumped::TooLittle { .. } => "fee_too_low",
            NotBumped::AboveCap { .. } => "fee_above_cap",
            NotBumped::AtCap { .. } => "fee_at_cap",
        }
    }
}

impl Account {
    /// Offers more for what waits at `nonce`: `fee`, or without it what a stuck transaction would be raised to. What must be broadcast now,
    /// as for [`Account::block`].
    ///
    /// A fee so near the bound that no replacement would be left between them is the bound itself: else an answer to a challenge could
    /// never be offered the last of what may be offered for it.
    ///
    /// # Errors
    /// [`NotBumped`]; nothing has changed.
    pub fn bump(&mut self, nonce: u64, fee: Option<FeePerGas>) -> Result<Vec<Tx>, NotBumped> {
        let push = self.push_of(self.urgency_from(nonce));
        let (fresh, now) = (self.fresh(), self.head.number);
        let place = self.open.get(&nonce).ok_or(NotBumped::NothingWaits { nonce })?;
        if !self.is_wanted(&place.asked) {
            return Err(NotBumped::Unwanted { nonce });
        }
        let (offered, max) = (place.fee, push.max);
        let at_cap = NotBumped::AtCap { offered, max };
        let raised = push.raised(offered, fresh).ok_or(at_cap)?;
        let raised = match fee {
            None => raised,
            Some(asked) if asked > max => return Err(NotBumped::AboveCap { asked, max }),
            Some(asked) => {
                let least = replacement(offered).ok_or(at_cap)?;
                if asked < least {
                    return Err(NotBumped::TooLittle { asked, offered, least });
                }
                push.with_room(asked)
            }
        };
        assert!(raised > offered, "{raised} does not replace {offered}");
        if let Some(place) = self.open.get_mut(&nonce) {
            (place.fee, place.hash, place.sent_at) = (raised, None, now);
        }
        Ok(self.push())
    }
}
