//! The pump: the one loop around a driver on every executor.
//!
//! It executes what the driver asks for and decides nothing. The same function runs on tokio in the shipped binary and inside
//! madsim and turmoil in the simulator, over other ports.

use std::future::Future;

use fairway_core::driver::{Done, Driver, Step};
use fairway_core::effect::Effect;
use fairway_core::input::Verified;
use fairway_core::log::{FileRepair, FileWrite, SyncSet};
use fairway_core::types::Timestamp;

/// What the pump needs from the world around it.
///
/// A failed write or sync ends the pump: the process stops and opens its log again. Nothing here retries a sync.
pub trait Ports {
    /// Why the disk failed.
    type Error;

    /// The clock that the driver's deadlines are given in.
    fn now(&self) -> Timestamp;

    /// Makes the changes in order, then syncs.
    ///
    /// # Errors
    /// Fatal.
    fn repair(&mut self, repair: FileRepair) -> impl Future<Output = Result<(), Self::Error>>;

    /// Writes, without making anything durable.
    ///
    /// # Errors
    /// Fatal.
    fn append(&mut self, writes: Vec<FileWrite>) -> impl Future<Output = Result<(), Self::Error>>;

    /// Makes everything written to these files durable, the directory last.
    ///
    /// # Errors
    /// Fatal: what the sync covered may or may not be durable, and asking again proves nothing.
    fn sync(&mut self, files: SyncSet) -> impl Future<Output = Result<(), Self::Error>>;

    /// Lets an effect out. Must not wait: a slow peer is the transport's problem.
    fn release(&mut self, effect: Effect);

    /// Waits for inputs until the moment comes, and returns everything that has arrived, at most a bounded number: they share
    /// one sync. Empty at the deadline; `None` when the node shall stop.
    fn inputs(&mut self, until: Option<Timestamp>) -> impl Future<Output = Option<Vec<Verified>>>;

    /// The driver has nothing to do. For watchers; the shipped ports ignore it or update what they show.
    fn resting(&mut self, driver: &Driver) {
        let _ = driver;
    }
}

/// Runs a driver until it shall stop or its disk fails.
///
/// # Errors
/// The disk's; drop the driver and open the log again.
pub async fn pump<P: Ports>(driver: &mut Driver, ports: &mut P) -> Result<(), P::Error> {
    loop {
        let until = work(driver, ports).await?;
        ports.resting(driver);
        let Some(inputs) = ports.inputs(until).await else { return Ok(()) };
        let now = ports.now();
        if inputs.is_empty() {
            driver.input(now, Verified::Plain(fairway_core::input::Input::Tick));
        }
        for input in inputs {
            driver.input(now, input);
        }
    }
}

/// Makes durable what so far forced no sync: after [`pump`], for an orderly stop. A crash may lose it; a node that has the time need not
/// learn it again.
///
/// # Errors
/// As [`pump`].
pub async fn settle<P: Ports>(driver: &mut Driver, ports: &mut P) -> Result<(), P::Error> {
    loop {
        work(driver, ports).await?;
        if !driver.flush() {
            ports.resting(driver);
            return Ok(());
        }
    }
}

/// Executes steps until there is nothing to do before an input arrives, or until the moment that is returned.
async fn work<P: Ports>(driver: &mut Driver, ports: &mut P) -> Result<Option<Timestamp>, P::Error> {
    loop {
        match driver.next(ports.now()) {
            Step::Repair(repair) => {
                ports.repair(repair).await?;
                driver.done(Done::Repaired);
            }
            Step::Append(writes) => {
                ports.append(writes).await?;
                driver.done(Done::Appended);
            }
            Step::Sync(files) => {
                ports.sync(files).await?;
                driver.done(Done::Synced);
            }
            Step::Release(effect) => ports.release(effect),
            Step::Wait { until } => return Ok(until),
        }
    }
}
