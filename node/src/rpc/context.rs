//! What a method works with: the node, the cashier, what stays the same, and who asks.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use fairway_core::driver::Driver;
use fairway_core::event::Pins;
use fairway_core::types::{Address, Lsn, Timestamp};
use tokio::sync::watch;

use super::cashier::Cashier;
use super::error::RpcError;
use super::settings::Settings;
use super::token::Scope;
use super::view::Times;
use crate::clock::WallClock;
use crate::inbox::Stopped;
use crate::runtime::NodeHandle;

/// Everything that a method works with; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The node.
    pub node: NodeHandle,
    /// Takes payments.
    pub cashier: Cashier,
    /// What stays the same while the node runs.
    pub facts: Arc<Facts>,
    /// Position up to which the log is synced, as it grows.
    pub durable: watch::Receiver<Lsn>,
    /// Who asks.
    pub caller: Caller,
}

/// What stays the same while the node runs.
#[derive(Debug)]
pub struct Facts {
    /// What the node's log belongs to.
    pub pins: Pins,
    /// The application of virtual channels, where there is one.
    pub payment_app: Option<Address>,
    /// Challenge durations that the node agrees to, in seconds.
    pub challenge_durations: RangeInclusive<u32>,
    /// Where the log is.
    pub data_dir: PathBuf,
    /// The section of the configuration.
    pub settings: Settings,
    clock: WallClock,
    started: Timestamp,
}

/// Who asks, and how far it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of its token, or how else it came in. No secret.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
}

impl Facts {
    /// Asks a node that has started.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn of(
        node: &NodeHandle,
        data_dir: PathBuf,
        settings: Settings,
    ) -> Result<Facts, Stopped> {
        let look = node.when(|driver| {
            let (state, config) = (driver.node().state(), driver.node().config());
            let pins = *state.pins()?;
            Some((pins, state.payment_app(), config.challenge_durations(pins.confirmations)))
        });
        let (pins, payment_app, challenge_durations) = look.await?;
        let clock = WallClock::start();
        let started = clock.now();
        Ok(Facts { pins, payment_app, challenge_durations, data_dir, settings, clock, started })
    }

    /// The challenge duration of a channel whose opener names none, in seconds.
    pub fn challenge_duration_s(&self) -> u32 {
        let (least, most) = (*self.challenge_durations.start(), *self.challenge_durations.end());
        // A configuration may leave no duration at all; then the node itself refuses.
        self.settings.challenge_duration_s.min(most).max(least)
    }

    /// The moments that deadlines are counted from.
    pub fn times(&self) -> Times {
        Times { now: self.clock.now(), started: self.started }
    }
}

impl Context {
    /// Looks at the resting node.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn look<T: Send + 'static>(
        &self,
        mut look: impl FnMut(&Driver) -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        Ok(self.node.when(move |driver| Some(look(driver))).await?)
    }

    /// Looks at the resting node for something that may not be there.
    ///
    /// # Errors
    /// The node has stopped, or `missing`.
    pub async fn find<T: Send + 'static>(
        &self,
        look: impl FnMut(&Driver) -> Option<T> + Send + 'static,
        missing: impl FnOnce() -> RpcError,
    ) -> Result<T, RpcError> {
        self.look(look).await?.ok_or_else(missing)
    }
}
