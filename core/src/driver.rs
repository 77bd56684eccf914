//! The order: append, then sync, then release. The only exit of a node, as a value.
//!
//! If an effect left before its cause was synced, a crash would make us forget a signature that a peer holds, and we could sign a
//! conflicting one: loss of funds. Hence one piece of code, executed by tokio, madsim, turmoil and the reference engine alike. The
//! driver contains the order and no decisions.
//!
//! ```text
//! loop {
//!     match driver.next(clock.now()) {
//!         Step::Repair(changes)   => { disk.repair(changes).await?; driver.done(Done::Repaired) }
//!         Step::Append(append)    => { disk.write(append).await?;   driver.done(Done::Appended) }
//!         Step::Sync(files)       => { disk.sync(files).await?;     driver.done(Done::Synced) }
//!         Step::Release(effect)   => ports.release(effect),
//!         Step::Wait { until }    => driver.input(clock.now(), verify(ports.next_input(until).await)),
//!     }
//! }
//! ```
//!
//! A failed write or sync is fatal: drop the driver, stop, and open the log again after a restart. Never retry a sync.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::Config;
use crate::effect::Effect;
use crate::event::{Event, Pins};
use crate::input::Verified;
use crate::log::{self, FileRepair, FileWrite, Files, Finding, LogTail, Payload, SyncSet};
use crate::machine::{Handled, Node, NodeState, Start, StartError, Tally};
use crate::nitro::SecretKey;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::types::{Lsn, Timestamp};

/// What must happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Mend the files, changes first, then their sync. Only at the start.
    Repair(FileRepair),
    /// Write these bytes; nothing of them counts yet.
    Append(Vec<FileWrite>),
    /// Make them durable.
    Sync(SyncSet),
    /// Let the world see this.
    Release(Effect),
    /// Nothing to do until an input arrives or the moment comes.
    Wait {
        /// By the caller's clock.
        until: Option<Timestamp>,
    },
}

/// What the caller has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The changes and the sync of a [`Step::Repair`].
    Repaired,
    /// The writes of a [`Step::Append`].
    Appended,
    /// The sync of a [`Step::Sync`].
    Synced,
}

/// Why a node does not start. The files stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The log is damaged beyond what may be mended.
    #[error(transparent)]
    Log(#[from] log::OpenError),
    /// The log holds events of another version.
    #[error(transparent)]
    Event(#[from] log::UnknownEvent),
    /// The log belongs to something else.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The snapshot does not belong to the log.
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
}

/// A node together with its log and what waits to be released. Cloning it clones everything.
#[derive(Clone)]
pub struct Driver {
    node: Node,
    tail: LogTail,
    repairs: VecDeque<FileRepair>,
    staged: Payload,
    /// Whether something staged must not wait.
    urgent: bool,
    /// Position of the last event that must be durable before anything decided after it is released.
    last_urgent: Lsn,
    doing: Doing,
    durable: Lsn,
    answers: VecDeque<(Lsn, Effect)>,
    ready: VecDeque<Effect>,
    clock: Clock,
    findings: Vec<Finding>,
    clear_doubt: bool,
    /// What the log amounts to up to `durable`, and up to the end of the batch that is being written.
    tally: Tally,
    tally_written: Tally,
}

/// What the caller is doing for us.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Repairing,
    Appending { sync: SyncSet, end: Lsn },
    ToSync { sync: SyncSet, end: Lsn },
    Syncing { end: Lsn },
}

/// The caller's clock made monotonic: it may jump, our time only moves on.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    raw: Timestamp,
    ours: Timestamp,
}

impl Clock {
    fn advance(&mut self, raw: Timestamp) -> Timestamp {
        self.ours = self.ours.after_ms(raw.since_ms(self.raw));
        self.raw = raw;
        self.ours
    }

    /// When the caller's clock will show that ours reached `ours`.
    fn to_raw(self, ours: Timestamp) -> Timestamp {
        self.raw.after_ms(ours.since_ms(self.ours))
    }
}

impl Driver {
    /// Opens a node over its files: reads the log, folds the state, resumes every wish. An empty directory is a new node.
    ///
    /// Production and every engine start here.
    ///
    /// # Errors
    /// [`OpenError`]: the operator must act; it names file and record.
    pub fn open(
        files: &Files,
        pins: Pins,
        key: SecretKey,
        config: Config,
        start: Start,
        now: Timestamp,
    ) -> Result<Driver, OpenError> {
        Driver::open_watched(files, pins, key, config, start, now, &mut |_| {})
    }

    /// [`Driver::open`] for a caller that tells how far the replay is. `watch` is called after each batch.
    ///
    /// # Errors
    /// As there.
    pub fn open_watched(
        files: &Files,
        pins: Pins,
        key: SecretKey,
        config: Config,
        start: Start,
        now: Timestamp,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Driver, OpenError> {
        let opened = open_log(files, &config)?;
        let replayed = Replayed::of(&opened, watch)?;
        Driver::resume(opened, replayed, pins, key, config, start, now)
    }

    /// [`Driver::open`] without folding what is in the snapshot. Segments below its [`Snapshot::base`] need not be there.
    ///
    /// # Errors
    /// As there, and [`OpenError::Snapshot`]: the log lost records, or is another one.
    pub fn open_at(
        snapshot: Snapshot,
        files: &Files,
        pins: Pins,
        key: SecretKey,
        config: Config,
        start: Start,
        now: Timestamp,
    ) -> Result<Driver, OpenError> {
        let opened = log::open_from(files, snapshot.base())?;
        snapshot.check(&opened)?;
        let replayed = Replayed::from_snapshot(snapshot, &opened)?;
        Driver::resume(opened, replayed, pins, key, config, start, now)
    }

    /// [`Driver::open`] for a caller that has read the log already, and reads more in it than the node does.
    ///
    /// # Errors
    /// As there.
    pub fn over(
        opened: log::Opened<'_>,
        pins: Pins,
        key: SecretKey,
        config: Config,
        start: Start,
        now: Timestamp,
    ) -> Result<Driver, OpenError> {
        let replayed = Replayed::of(&opened, &mut |_| {})?;
        Driver::resume(opened, replayed, pins, key, config, start, now)
    }

    fn resume(
        opened: log::Opened<'_>,
        replayed: Replayed,
        pins: Pins,
        key: SecretKey,
        config: Config,
        start: Start,
        now: Timestamp,
    ) -> Result<Driver, OpenError> {
        let Replayed { state, last_at, tally } = replayed;
        let clock = Clock { raw: now, ours: now.max(last_at) };
        let doubted = opened.doubt.is_some();
        let start = if doubted { Start::Restored } else { start };
        let durable = state.lsn();
        assert_eq!(durable, opened.tail.end(), "the log's end and the state's differ");
        let (mut node, handled) = Node::start(state, pins, key, config, start, clock.ours)?;
        node.count_from(&tally);
        let mut driver = Driver {
            node,
            tail: opened.tail,
            repairs: opened.repair.into(),
            staged: Payload::default(),
            urgent: false,
            last_urgent: Lsn::ZERO,
            doing: Doing::Nothing,
            durable,
            answers: VecDeque::new(),
            ready: VecDeque::new(),
            clock,
            findings: opened.findings,
            clear_doubt: doubted,
            tally,
            tally_written: tally,
        };
        driver.stage(handled);
        Ok(driver)
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What was found and mended when the log was opened.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Position up to which the log is synced.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// What the log amounts to up to [`Driver::durable`]: a fold over the synced log gives the same.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The state as it is on the disk, for a start that shall be quick; `None` while the state in memory is ahead of the log.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.node.state();
        let is_durable = state.lsn() == self.durable && self.doing == Doing::Nothing;
        let (base, head) = (self.tail.begins(), self.tail.head());
        let at = self.clock.ours;
        is_durable.then(|| Snapshot::new(base, at, head, state.clone(), self.tally))
    }

    /// Whether nothing waits for a signature, for the disk or for release.
    pub fn is_idle(&self) -> bool {
        let settled = self.ready.is_empty() && !self.urgent && !self.node.has_unsealed();
        self.doing == Doing::Nothing && settled
    }

    /// Handles one input. Several may be given before the next [`Driver::next`]; they then share one sync.
    pub fn input(&mut self, now: Timestamp, input: Verified) {
        let now = self.clock.advance(now);
        let handled = self.node.handle(now, input);
        self.stage(handled);
    }

    fn stage(&mut self, handled: Handled) {
        let mut lsn = Lsn(self.node.state().lsn().0 - handled.events.len() as u64);
        for event in &handled.events {
            lsn = lsn.advance(1);
            self.staged.push(self.clock.ours, event);
            if !event.is_lazy() {
                self.urgent = true;
                self.last_urgent = lsn;
            }
        }
        // A lazy event is harmless to lose, so no answer waits for one.
        let after = self.last_urgent;
        let hasty = self.node.config().mutant("ack-before-sync");
        for answer in handled.answers {
            if hasty {
                self.ready.push_back(answer)
            } else {
                self.answers.push_back((after, answer))
            }
        }
    }

    /// What must happen next. The caller does it and, but for [`Step::Release`] and [`Step::Wait`], says so with [`Driver::done`].
    pub fn next(&mut self, now: Timestamp) -> Step {
        let now = self.clock.advance(now);
        if let Some(step) = self.next_on_disk() {
            return step;
        }
        if self.node.has_unsealed() {
            let handled = self.node.seal(now);
            self.stage(handled);
        }
        while self.answers.front().is_some_and(|(after, _)| *after <= self.durable) {
            self.ready.extend(self.answers.pop_front().map(|(_, effect)| effect));
        }
        if self.ready.is_empty() {
            let early = self.node.config().mutant("effect-before-sync");
            let released_up_to = if early { self.node.state().lsn() } else { self.durable };
            self.ready.extend(self.node.due(now, released_up_to));
        }
        while let Some(effect) = self.ready.pop_front() {
            if let Some(effect) = self.node.in_dialect(effect) {
                return Step::Release(effect);
            }
        }
        if self.urgent || self.staged.count() >= LAZY_EVENTS_MAX {
            return self.append();
        }
        let until = self.node.next_deadline().map(|at| self.clock.to_raw(at));
        Step::Wait { until }
    }

    /// Has what waits for something urgent (see [`Event::is_lazy`]) written with the next steps; whether there is anything. For an
    /// orderly stop: after it the disk knows what the node knows.
    pub fn flush(&mut self) -> bool {
        self.urgent |= !self.staged.is_empty();
        self.urgent
    }

    /// Work on the disk that comes before everything else.
    fn next_on_disk(&mut self) -> Option<Step> {
        match core::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => {
                let repair = self.repairs.pop_front()?;
                self.doing = Doing::Repairing;
                Some(Step::Repair(repair))
            }
            Doing::ToSync { sync, end } => {
                self.doing = Doing::Syncing { end };
                Some(Step::Sync(sync))
            }
            doing @ (Doing::Repairing | Doing::Appending { .. } | Doing::Syncing { .. }) => {
                panic!("asked for the next step while {doing:?}")
            }
        }
    }

    fn append(&mut self) -> Step {
        let (time, count, payload) = self.staged.take();
        self.urgent = false;
        // Everything that is recorded was staged, and so is in this batch.
        self.tally_written = *self.node.tally();
        let append = self.tail.append(time, count, payload);
        self.doing = Doing::Appending { sync: append.sync, end: append.end };
        Step::Append(append.writes)
    }

    /// Notes what the caller has done.
    ///
    /// # Panics
    /// When it was not asked to: a bug of the pump.
    ///
    /// # Danger
    /// `Synced` said before the bytes are on the medium releases signatures that a crash makes us forget.
    pub fn done(&mut self, done: Done) {
        let doing = core::mem::replace(&mut self.doing, Doing::Nothing);
        match (done, doing) {
            (Done::Repaired, Doing::Repairing) => {}
            (Done::Appended, Doing::Appending { sync, end }) => {
                self.doing = Doing::ToSync { sync, end };
            }
            (Done::Synced, Doing::Syncing { end }) => self.synced(end),
            (done, doing) => panic!("{done:?} while {doing:?}"),
        }
    }

    fn synced(&mut self, end: Lsn) {
        assert!(end > self.durable, "synced up to {end}, which is not beyond {}", self.durable);
        self.tail.synced(end);
        self.durable = end;
        self.tally = self.tally_written;
        // The log itself now says that the node is in recovery; the marker has done its work.
        if self.clear_doubt {
            self.clear_doubt = false;
            self.repairs.push_back(log::doubt_cleared());
        }
    }

    /// Events that are applied but not yet durable.
    pub fn staged(&self) -> u32 {
        self.staged.count()
    }
}

/// Opens the log as a node of this configuration does: from its beginning, with its planted bug, if it has one.
///
/// # Errors
/// As [`log::open`].
pub fn open_log<'a>(files: &'a Files, config: &Config) -> Result<log::Opened<'a>, log::OpenError> {
    let planted = log::Planted {
        cut_last: config.mutant("tail-cut-at-start"),
        unchecked: config.mutant("chain-hash-unchecked"),
    };
    log::open_planted(files, log::Base::GENESIS, planted)
}

/// Folds an opened log. The state and the time of its last event.
///
/// # Errors
/// [`log::UnknownEvent`]: written by another version.
pub fn replay(opened: &log::Opened<'_>) -> Result<(NodeState, Timestamp), log::UnknownEvent> {
    let replayed = Replayed::of(opened, &mut |_| {})?;
    Ok((replayed.state, replayed.last_at))
}

/// How far the replay of a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last event that was applied.
    pub replayed: Lsn,
    /// The last event of the log.
    pub end: Lsn,
}

/// What a log folds to.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// The state.
    pub state: NodeState,
    /// The time of the last event.
    pub last_at: Timestamp,
    /// What the events amount to.
    pub tally: Tally,
}

impl Replayed {
    /// Folds an opened log; `watch` is called after each batch.
    ///
    /// # Errors
    /// [`log::UnknownEvent`]: written by another version.
    pub fn of(
        opened: &log::Opened<'_>,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Replayed, log::UnknownEvent> {
        Replayed::default().on(&opened.batches, opened.tail.end(), watch)
    }

    /// Folds an opened log on from a snapshot that it passes through.
    ///
    /// # Errors
    /// As [`Replayed::of`].
    pub fn from_snapshot(
        snapshot: Snapshot,
        opened: &log::Opened<'_>,
    ) -> Result<Replayed, log::UnknownEvent> {
        let newer = opened.batches.partition_point(|batch| batch.last() <= snapshot.end());
        let newer = opened.batches.get(newer..).unwrap_or_default();
        let (state, last_at, tally) = snapshot.into_parts();
        Replayed { state, last_at, tally }.on(newer, opened.tail.end(), &mut |_| {})
    }

    /// Folds these batches on.
    fn on(
        self,
        batches: &[log::BatchRef<'_>],
        end: Lsn,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Replayed, log::UnknownEvent> {
        let Replayed { mut state, mut last_at, mut tally } = self;
        for batch in batches {
            for event in log::events(batch) {
                let (at, recorded) = event?;
                tally.apply(&mut state, at, recorded.event);
                last_at = at;
            }
            watch(Progress { replayed: state.lsn(), end });
        }
        Ok(Replayed { state, last_at, tally })
    }
}

/// All events of an opened log, for tools and checks.
///
/// # Errors
/// [`log::UnknownEvent`]: written by another version.
pub fn recorded(opened: &log::Opened<'_>) -> Result<Vec<(Timestamp, Event)>, log::UnknownEvent> {
    let all = opened.batches.iter().flat_map(|b| log::events(b));
    all.map(|e| e.map(|(at, recorded)| (at, recorded.event))).collect()
}

/// Lazy events that wait at most: bounds what a restart learns again, and memory.
const LAZY_EVENTS_MAX: u32 = 256;

#[cfg(test)]
mod tests;
