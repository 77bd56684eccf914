//! One party: its key, its disk, its clock, and whether it runs.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use fairway_core::account::Account;
use fairway_core::config::{Config, Fees, Policy};
use fairway_core::event::{Event, Pins};
use fairway_core::input::Space;
use fairway_core::log::FileWrite;
use fairway_core::machine::Start;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::types::{Amount, Lsn, Timestamp};
use fairway_core::wire::WIRE_VERSIONS;
use fairway_core::{driver, driver::Driver, driver::OpenError, log};

use fairway_transport::VersionRange;

use super::chain::Endpoint;
use crate::byzantine::Strategy;
use crate::disk::{Disk, Image};
use crate::observe::PartyId;
use crate::scenario::{Nanos, PlannedClock};

/// Where every run's clocks begin: milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// One party of a run.
pub struct Party {
    /// Its position.
    pub id: PartyId,
    /// Its name.
    pub name: String,
    /// Its channel key.
    pub key: SecretKey,
    /// What its log is pinned to.
    pub pins: Pins,
    /// Its settings.
    pub config: Config,
    /// Its disk, which survives it.
    pub disk: Disk,
    /// How it misbehaves, if it does.
    pub strategy: Option<Box<dyn Strategy + Send>>,
    /// Whether its process runs.
    pub up: bool,
    /// Set when it stopped for good reason and an operator would have to act: rot was found, the disk failed for good.
    pub stopped: Option<String>,
    /// Counts its starts.
    pub incarnation: u64,
    /// Where it asks for blocks.
    pub endpoint: Endpoint,
    /// Its transactions: known from the endpoint's first answer to the end of the process. An adversary has a wallet.
    pub account: Option<Account>,
    /// What its node believes of its disk.
    pub told_of: Space,
    /// Its clock.
    pub clock: PartyClock,
    /// Whether a restart may have lost signatures that were released: the image was old.
    pub may_have_forgotten: bool,
    /// Older images of its disk, when the plan will put one back.
    pub images: Option<Vec<(u64, Image)>>,
    /// Events appended so far by name, over all incarnations.
    pub appended: BTreeMap<&'static str, u64>,
    /// End of the last batch that was written.
    pub written: Lsn,
    /// What was last seen of it at rest: log position, durable position, refusals.
    pub rested: (Lsn, Lsn, u64),
    /// When its disk is as fast again as it should be.
    pub sync_slow_until: u64,
}

/// A clock that may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct PartyClock {
    plan: PlannedClock,
    /// Jumps so far, in nanoseconds.
    stepped: i64,
    /// Frozen at this virtual time, until that one.
    frozen: Option<(u64, u64)>,
}

impl PartyClock {
    /// A clock as planned.
    pub fn new(plan: PlannedClock) -> PartyClock {
        PartyClock { plan, stepped: 0, frozen: None }
    }

    /// What it shows at a virtual time.
    pub fn read(&self, now_ns: u64) -> Timestamp {
        if self.is_right() {
            return Timestamp(EPOCH_MS + now_ns / 1_000_000);
        }
        let seen = match self.frozen {
            Some((since, until)) if now_ns < until => since,
            Some(_) | None => now_ns,
        };
        let drift = i128::from(seen) * i128::from(self.plan.drift_ppm.0) / 1_000_000;
        let jump = self.plan.step.filter(|s| s.at.0 <= seen).map_or(0, |s| s.by.0);
        let ns = i128::from(seen) + drift + i128::from(self.plan.skew.0 + jump + self.stepped);
        let ms = i128::from(EPOCH_MS) + ns.div_euclid(1_000_000);
        Timestamp(u64::try_from(ms.max(0)).unwrap_or(u64::MAX))
    }

    /// Whether nothing is wrong with it. Every step of a driver reads the clock, and dividing 128 bits costs as much as the rest.
    fn is_right(&self) -> bool {
        let PlannedClock { skew, drift_ppm, step } = &self.plan;
        let planned = skew.0 == 0 && drift_ppm.0 == 0 && step.is_none();
        planned && self.stepped == 0 && self.frozen.is_none()
    }

    /// A jump.
    pub fn step(&mut self, by_ns: i64) {
        self.stepped += by_ns;
    }

    /// Stands still for a while.
    pub fn freeze(&mut self, now_ns: u64, until_ns: u64) {
        self.frozen = Some((now_ns, until_ns));
    }
}

impl Party {
    /// The wire versions that it speaks, as its transport offers them.
    ///
    /// # Panics
    /// The range is empty; a scenario with such a one is refused.
    pub fn versions(&self) -> VersionRange {
        let speaks = &self.config.wire_versions;
        VersionRange::new(*speaks.start(), *speaks.end()).expect("a party speaks some version")
    }

    /// Opens its node over its disk, as a process start does, and says what its log holds.
    ///
    /// # Errors
    /// The node refuses to start; the operator would have to act.
    pub fn open(&self, now_ns: u64) -> Result<(Driver, Vec<(Timestamp, Event)>), OpenError> {
        let files = self.disk.read_all();
        let opened = driver::open_log(&files, &self.config)?;
        let log = driver::recorded(&opened)?;
        let (key, config, now) = (self.key.clone(), self.config.clone(), self.clock.read(now_ns));
        let driver = Driver::over(opened, self.pins, key, config, Start::Normal, now)?;
        Ok((driver, log))
    }

    /// All events on its disk as it is; nothing when it does not open.
    pub fn log_on_disk(&self) -> Vec<(Timestamp, Event)> {
        let files = self.disk.read_all();
        log::open(&files).ok().and_then(|opened| driver::recorded(&opened).ok()).unwrap_or_default()
    }
}

/// The events of a batch that is being written, read back from the mirror's copy.
pub fn events_written(writes: &[FileWrite]) -> Option<(Lsn, Vec<(Timestamp, Event)>)> {
    let mirror = writes.iter().find(|w| matches!(w.file, log::FileName::Mirror(_)))?;
    let (_, batch) = log::read_mirror(&mirror.bytes).ok()?;
    let events: Result<Vec<_>, _> =
        log::events(&batch).map(|e| e.map(|(at, recorded)| (at, recorded.event))).collect();
    Some((batch.first, events.ok()?))
}

/// The wire versions that a plan gives a node; all that this build knows where it gives none.
pub fn spoken(versions: Option<(u16, u16)>) -> RangeInclusive<u16> {
    versions.map_or(WIRE_VERSIONS, |(oldest, newest)| oldest..=newest)
}

/// Settings for simulated nodes: real rules, short pauses.
pub fn config(mutant: Option<&'static str>, challenge_min: u32, patience: Nanos) -> Config {
    Config {
        policy: Policy {
            our_deposit_max: Amount::ether(1_000_000),
            challenge_duration_min: challenge_min,
            peers: BTreeSet::new(),
            ..Policy::default()
        },
        resend_ms: 500,
        resend_max_ms: 8_000,
        tx_resend_ms: 6_000,
        fees: Fees { wanted_s: 20, ..Fees::default() },
        poll_ms: 2_000,
        silence_ms: patience.0 / 1_000_000,
        conclude_after_ms: 20_000,
        payment_app: super::PAYMENT_APP,
        reserve_bytes: RESERVE_BYTES,
        mutant,
        mutant_reached: || MUTANT_REACHED.set(true),
        ..Config::default()
    }
}

thread_local! {
    static MUTANT_REACHED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a node came to the code of its planted bug since this was last asked, in a simulation of this thread.
pub fn take_mutant_reached() -> bool {
    MUTANT_REACHED.take()
}

/// Small, so that whoever does not keep it for defence comes to its end within a run.
const RESERVE_BYTES: u64 = 64 << 10;

/// The channel key of a party: the same in every run, so that a name always has the same address.
///
/// Kept for the process: deriving an address costs as much as a signature, and a campaign starts thousands of runs a second.
pub fn key_of(name: &str, crypto: Crypto) -> SecretKey {
    static KEYS: Mutex<BTreeMap<(String, bool), SecretKey>> = Mutex::new(BTreeMap::new());
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let at = (name.to_string(), crypto == Crypto::Real);
    keys.entry(at).or_insert_with(|| derive_key(name, crypto)).clone()
}

fn derive_key(name: &str, crypto: Crypto) -> SecretKey {
    let mut hash = blake3::derive_key("fairway-sim channel key v1", name.as_bytes());
    loop {
        // All but 2^-128 of all hashes are keys.
        match SecretKey::new(hash, crypto) {
            Ok(key) => return key,
            Err(_) => hash = *blake3::hash(&hash).as_bytes(),
        }
    }
}
