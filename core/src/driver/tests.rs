//! The order of append, sync and release, with two real drivers over disks that lose what was not synced.

extern crate std;

use std::path::Path;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::chain_types::Block;
use crate::channel::testkit::*;
use crate::input::{Command, Input, RequestId, verify};
use crate::log::Change;
use crate::machine::testkit::{ALICE, BOB, block_ref, key_of};
use crate::nitro::adjudicator::Adjudicator;
use crate::nitro::{Call, Crypto};
use crate::snapshot::{Snapshot, SnapshotError};
use crate::types::BlockNum;
use crate::wire::Wire;

/// One driver and its disk.
struct Actor {
    driver: Driver,
    files: Files,
    durable: Files,
    inputs: VecDeque<Input>,
    /// As it stands on a disk.
    snapshot: Option<Vec<u8>>,
}

impl Actor {
    fn open(who: usize, files: Files, now: Timestamp) -> Actor {
        let key = key_of(who);
        let driver =
            Driver::open(&files, pins(&key), key, Config::default(), Start::Normal, now).unwrap();
        Actor { driver, durable: files.clone(), files, inputs: VecDeque::new(), snapshot: None }
    }

    /// The power fails: what was synced is left. It goes on from its snapshot, which must come to the same as its whole log.
    fn reopen(&mut self, who: usize, now: Timestamp) {
        let snapshot = self.snapshot.take();
        *self = Actor::open(who, self.durable.clone(), now);
        let Some(bytes) = snapshot else { return };
        let found = Snapshot::decode(&bytes).unwrap();
        let (key, config) = (key_of(who), Config::default());
        let at = Driver::open_at(found, &self.files, pins(&key), key, config, Start::Normal, now)
            .unwrap();
        let (whole, quick) = (&self.driver, &at);
        assert_eq!(quick.node().state(), whole.node().state());
        assert_eq!((quick.durable(), &quick.tail), (whole.durable(), &whole.tail));
        assert_eq!((&quick.repairs, quick.clock.ours), (&whole.repairs, whole.clock.ours));
        assert_eq!((quick.tally(), quick.node().tally()), (whole.tally(), whole.node().tally()));
        (self.driver, self.snapshot) = (at, Some(bytes));
    }

    fn write(&mut self, write: &FileWrite) {
        let file = self.files.entry(write.file).or_default();
        let end = write.offset as usize + write.bytes.len();
        file.resize(file.len().max(end), 0);
        file[write.offset as usize..end].copy_from_slice(&write.bytes);
    }

    fn repair(&mut self, repair: &FileRepair) {
        for change in &repair.changes {
            match change {
                Change::Write(write) => self.write(write),
                Change::Truncate { file, length } => {
                    self.files.get_mut(file).unwrap().truncate(*length as usize)
                }
                Change::Remove { file } => drop(self.files.remove(file)),
            }
        }
        self.durable = self.files.clone();
    }

    /// Signatures of `who` in the synced log, by turn and state hash.
    fn durable_signatures(&self, who: usize) -> Vec<(u64, alloy_primitives::B256)> {
        let opened = log::open(&self.durable).unwrap();
        let events = recorded(&opened).unwrap();
        let states = events.into_iter().filter_map(|(_, e)| match e {
            Event::StateSigned { state, .. }
            | Event::StateReceived { state, .. }
            | Event::StatePublished { state } => {
                state.signed_by(who).then(|| (state.turn().get(), state.hash()))
            }
            _ => None,
        });
        states.collect()
    }
}

struct World {
    actors: [Actor; 2],
    chain: Adjudicator,
    blocks: Vec<Block>,
    pool: Vec<Call>,
    now: Timestamp,
    /// Steps until the power fails, at whom.
    fuse: Option<(usize, u32)>,
    releases: u64,
}

impl World {
    fn new() -> World {
        let now = Timestamp(1_000_000);
        World {
            actors: [ALICE, BOB].map(|who| Actor::open(who, Files::new(), now)),
            chain: Adjudicator::new(APP),
            blocks: vec![Block::new(block_ref(0, 0), [])],
            pool: Vec::new(),
            now,
            fuse: None,
            releases: 0,
        }
    }

    /// Runs one driver until it waits. After every step the power may fail.
    fn pump(&mut self, who: usize) {
        let mut ticked = false;
        loop {
            if let Some((node, steps)) = &mut self.fuse
                && *node == who
            {
                if *steps == 0 {
                    self.fuse = None;
                    self.actors[who].reopen(who, self.now);
                } else {
                    *steps -= 1;
                }
            }
            let actor = &mut self.actors[who];
            match actor.driver.next(self.now) {
                Step::Repair(repair) => {
                    actor.repair(&repair);
                    actor.driver.done(Done::Repaired);
                }
                Step::Append(writes) => {
                    writes.iter().for_each(|w| actor.write(w));
                    actor.driver.done(Done::Appended);
                }
                Step::Sync(_) => {
                    actor.durable = actor.files.clone();
                    actor.driver.done(Done::Synced);
                }
                Step::Release(effect) => self.release(who, effect),
                Step::Wait { until } => {
                    if self.now.0.is_multiple_of(3) {
                        actor.snapshot =
                            actor.driver.snapshot().map(|s| s.encode()).or(actor.snapshot.take());
                    }
                    let input = actor.inputs.pop_front();
                    let due = until.is_some_and(|at| at <= self.now);
                    if input.is_none() && !due {
                        return;
                    }
                    assert!(input.is_some() || !ticked, "the driver spins");
                    ticked |= input.is_none();
                    let input = input.unwrap_or(Input::Tick);
                    actor.driver.input(self.now, verify(input, &mut Crypto::Real));
                }
            }
        }
    }

    fn release(&mut self, who: usize, effect: Effect) {
        self.releases += 1;
        match effect {
            Effect::Send { peer, bytes } => {
                self.require_durable(who, &bytes);
                let to = if peer == alice().address() { ALICE } else { BOB };
                let peer = key_of(who).address();
                self.actors[to].inputs.push_back(Input::Frame { peer, bytes });
            }
            Effect::Submit { call, .. } => {
                if !self.pool.contains(&call) {
                    self.pool.push(call);
                }
            }
            Effect::FetchBlocks { from } => {
                let blocks = self.blocks.iter().skip(from.0 as usize).cloned().collect();
                let head = self.blocks.last().unwrap().header;
                self.actors[who].inputs.push_back(Input::Blocks { from, head, blocks });
            }
            Effect::Withdraw { .. }
            | Effect::Connect { .. }
            | Effect::Reply { .. }
            | Effect::Notify(_) => {}
        }
    }

    /// No signature leaves before it is synced.
    fn require_durable(&self, who: usize, bytes: &[u8]) {
        let wire = Wire::decode(bytes).unwrap();
        let durable = self.actors[who].durable_signatures(who);
        for claim in wire.claims().filter(|c| c.sigs.iter().any(|s| usize::from(s.0) == who)) {
            let name = (claim.state.turn.get(), claim.state.hash());
            assert!(durable.contains(&name), "turn {} left before it was synced", name.0);
        }
    }

    fn run(&mut self) {
        for _ in 0..1_000 {
            self.pump(ALICE);
            self.pump(BOB);
            if self.actors.iter().all(|a| a.inputs.is_empty()) {
                return;
            }
        }
        panic!("the drivers talk without end");
    }

    fn command(&mut self, who: usize, command: Command) {
        let input = Input::Command { request: RequestId(1), command };
        self.actors[who].inputs.push_back(input);
    }

    /// A block, and time for everything to be said again.
    fn step(&mut self) {
        for _ in 0..6 {
            self.now = self.now.after_ms(2_000);
            for actor in &mut self.actors {
                actor.inputs.push_back(Input::Tick);
            }
            self.run();
        }
        let header = block_ref(self.blocks.len() as u64, 0);
        let mut logs = Vec::new();
        for call in core::mem::take(&mut self.pool) {
            if let Ok(done) = self.chain.call(header.time, &call, &|_| false, &mut Crypto::Real) {
                logs.extend(done.logs);
            }
        }
        self.blocks.push(Block::new(header, logs));
        for actor in &mut self.actors {
            actor.inputs.push_back(Input::NewHead { number: header.number });
        }
        self.run();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Goal: whatever the moment of a power failure, nothing signed leaves before it is synced, and the channel still opens, pays and
    /// closes. Method: three failures, each after some number of steps.
    #[test]
    fn a_signature_leaves_only_after_it_is_synced(fuses in proptest::collection::vec((0usize..2, 0u32..60), 3)) {
        let mut world = World::new();
        let channel = channel_id();
        world.command(ALICE, Command::Open(terms()));
        world.run();
        for (stage, fuse) in fuses.into_iter().enumerate() {
            world.fuse = Some(fuse);
            // Repeating it is safe, and needed where the command was lost with the power.
            world.command(ALICE, Command::Open(terms()));
            (0..4 + 4 * stage).for_each(|_| world.step());
            world.command(ALICE, Command::Pay { channel, amount: wei(1) });
            world.command(BOB, Command::Pay { channel, amount: wei(2) });
            world.run();
        }
        world.fuse = None;
        for _ in 0..12 {
            world.command(BOB, Command::Close { channel });
            world.step();
        }
        for actor in &world.actors {
            let phase = actor.driver.node().state().channel(channel).map(|c| c.phase);
            prop_assert_eq!(phase, Some(crate::channel::Phase::Finished));
            // Whatever was forgotten and done again: what the node says of its log is what the synced log says.
            let replayed = Replayed::of(&log::open(&actor.durable).unwrap(), &mut |_| {}).unwrap();
            prop_assert_eq!(replayed.state.lsn(), actor.driver.durable());
            prop_assert_eq!(&replayed.tally, actor.driver.tally());
            prop_assert_eq!(replayed.tally.total("events"), actor.driver.durable().0);
            prop_assert_eq!(replayed.tally.total("channels_created"), 1);
        }
        prop_assert!(world.chain.holdings().is_empty());
    }
}

/// Goal: who watches a replay sees it from its first batch to its end.
#[test]
fn a_replay_tells_how_far_it_is() {
    let mut world = World::new();
    world.command(ALICE, Command::Open(terms()));
    world.run();
    world.step();
    let (key, now) = (key_of(ALICE), Timestamp(9_000_000));
    let mut seen = Vec::new();
    let files = &world.actors[ALICE].durable;
    let watch = &mut |progress| seen.push(progress);
    let config = Config::default();
    let driver =
        Driver::open_watched(files, pins(&key), key, config, Start::Normal, now, watch).unwrap();
    let end = driver.durable();
    assert!(seen.len() > 2, "{seen:?}");
    assert!(seen.iter().all(|p| p.end == end), "{seen:?}");
    assert!(seen.is_sorted_by(|a, b| a.replayed < b.replayed), "{seen:?}");
    assert_eq!(seen.last(), Some(&Progress { replayed: end, end }));
}

/// A log of some records, and a snapshot in its midst.
fn with_snapshot() -> (Files, Snapshot) {
    let mut world = World::new();
    world.command(ALICE, Command::Open(terms()));
    world.run();
    let snapshot = world.actors[ALICE].driver.snapshot().unwrap();
    (0..4).for_each(|_| world.step());
    let actor = &world.actors[ALICE];
    assert!(actor.driver.durable() > snapshot.end());
    (actor.durable.clone(), snapshot)
}

fn open_at(snapshot: Snapshot, files: &Files) -> Result<Driver, OpenError> {
    let (key, now) = (alice(), Timestamp(0));
    Driver::open_at(snapshot, files, pins(&key), key, Config::default(), Start::Normal, now)
}

#[test]
fn a_snapshot_of_another_log_is_refused() {
    let (files, snapshot) = with_snapshot();
    let opened = log::open(&files).unwrap();
    let (state, head) = (snapshot.state().clone(), log::ChainHash([7; 32]));
    let foreign = Snapshot::new(snapshot.base(), Timestamp(0), head, state, Tally::default());
    let log = snapshot.head();
    let expected = SnapshotError::Foreign { end: snapshot.end(), log, snapshot: head };
    assert_eq!(foreign.check(&opened), Err(expected));
    assert_eq!(open_at(foreign, &files).err(), Some(OpenError::Snapshot(expected)));
    // What was counted before the snapshot goes on after it.
    let (onward, whole) = (open_at(snapshot, &files).unwrap(), replayed(&files));
    assert_eq!(onward.tally(), &whole.tally);
    assert_eq!(onward.node().state(), &whole.state);
}

fn replayed(files: &Files) -> Replayed {
    Replayed::of(&log::open(files).unwrap(), &mut |_| {}).unwrap()
}

/// Goal: a log that went back behind a snapshot is never taken for whole.
#[test]
fn a_log_that_ends_before_the_snapshot_is_refused() {
    let (files, _) = with_snapshot();
    let whole = Driver::open(
        &files,
        pins(&alice()),
        alice(),
        Config::default(),
        Start::Normal,
        Timestamp(0),
    )
    .unwrap();
    let snapshot = whole.snapshot().unwrap();
    let opened = log::open(&files).unwrap();
    let cut = opened.batches.last().unwrap();
    let mut shorter = LogTail::fresh();
    let mut less = Files::new();
    for batch in &opened.batches[..opened.batches.len() - 1] {
        let append = shorter.append(batch.time, batch.count, batch.payload.to_vec());
        for write in append.writes {
            let file = less.entry(write.file).or_default();
            file.truncate(write.offset as usize);
            file.extend(write.bytes);
        }
        shorter.synced(append.end);
    }
    let expected = SnapshotError::Ahead { log: Lsn(cut.first.0 - 1), snapshot: snapshot.end() };
    assert_eq!(open_at(snapshot, &less).err(), Some(OpenError::Snapshot(expected)));
}

#[test]
fn a_rotten_snapshot_and_one_of_another_version_are_known() {
    let (_, snapshot) = with_snapshot();
    let bytes = snapshot.encode();
    assert_eq!(Snapshot::decode(&bytes).as_ref(), Ok(&snapshot));
    for at in (0..bytes.len()).step_by(97) {
        let mut rotten = bytes.clone();
        rotten[at] ^= 1;
        assert_eq!(Snapshot::decode(&rotten), Err(SnapshotError::Damaged), "byte {at}");
        assert_eq!(Snapshot::decode(&bytes[..at]), Err(SnapshotError::Damaged), "{at} bytes");
    }
    let mut newer = bytes[..bytes.len() - 32].to_vec();
    newer[16] = 3;
    let checksum = blake3::hash(&newer);
    newer.extend(checksum.as_bytes());
    assert_eq!(Snapshot::decode(&newer), Err(SnapshotError::Version { found: 3 }));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/snapshot");
    let older = std::fs::read(corpus.join("v1.snapshot")).unwrap();
    assert_eq!(Snapshot::decode(&older), Err(SnapshotError::Version { found: 1 }));
}

/// Goal: whoever changes the layout of the state without raising the version is told. `UPDATE_GOLDEN=1` writes the file anew, which only
/// a new version may need.
#[test]
fn a_snapshot_written_long_ago_is_read() {
    let (_, snapshot) = with_snapshot();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/snapshot/v2.snapshot");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, snapshot.encode()).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    let found =
        Snapshot::decode(&stored).expect("raise SNAPSHOT_VERSION with the layout of the state");
    assert_eq!(found, snapshot);
    assert_eq!(found.encode(), stored);
}

fn fresh() -> Driver {
    let key = alice();
    let now = Timestamp(5_000);
    Driver::open(&Files::new(), pins(&key), key, Config::default(), Start::Normal, now).unwrap()
}

/// Runs the disk until the driver asks for something else.
fn settle(driver: &mut Driver, now: Timestamp) -> Step {
    loop {
        match driver.next(now) {
            Step::Repair(_) => driver.done(Done::Repaired),
            Step::Append(_) => driver.done(Done::Appended),
            Step::Sync(_) => driver.done(Done::Synced),
            Step::Release(_) => {}
            step @ Step::Wait { .. } => return step,
        }
    }
}

#[test]
fn a_new_log_is_appended_then_synced_then_spoken_of() {
    let mut driver = fresh();
    let now = Timestamp(5_000);
    let mut seen = Vec::new();
    loop {
        match driver.next(now) {
            Step::Append(_) => {
                seen.push("append");
                driver.done(Done::Appended);
            }
            Step::Sync(_) => {
                seen.push("sync");
                assert_eq!(driver.durable(), Lsn::ZERO);
                driver.done(Done::Synced);
            }
            Step::Release(_) => seen.push("release"),
            Step::Repair(_) => panic!("nothing to mend"),
            Step::Wait { .. } => break,
        }
    }
    assert_eq!(seen, ["release", "append", "sync"], "asking for blocks reveals nothing");
    assert_eq!(driver.durable(), Lsn(1));
    assert!(driver.is_idle());
}

#[test]
fn an_answer_waits_for_what_it_acknowledges() {
    let mut driver = fresh();
    let now = Timestamp(5_000);
    settle(&mut driver, now);
    let command = Command::Open(terms());
    driver.input(now, Verified::Plain(Input::Command { request: RequestId(7), command }));
    assert!(matches!(driver.next(now), Step::Append(_)));
    driver.done(Done::Appended);
    assert!(matches!(driver.next(now), Step::Sync(_)));
    driver.done(Done::Synced);
    let mut released = Vec::new();
    while let Step::Release(effect) = driver.next(now) {
        released.push(effect);
    }
    assert!(released.iter().any(|e| matches!(e, Effect::Reply { request: RequestId(7), .. })));
    assert!(released.iter().any(|e| matches!(e, Effect::Send { .. })));
}

#[test]
fn a_refusal_needs_no_sync() {
    let mut driver = fresh();
    let now = Timestamp(5_000);
    settle(&mut driver, now);
    let command = Command::Close { channel: channel_id() };
    driver.input(now, Verified::Plain(Input::Command { request: RequestId(7), command }));
    assert!(matches!(driver.next(now), Step::Release(Effect::Reply { .. })));
}

/// Goal: lazy events force no sync, but at most so many of them wait.
#[test]
fn empty_blocks_are_synced_when_enough_have_gathered() {
    let mut driver = fresh();
    let now = Timestamp(5_000);
    settle(&mut driver, now);
    let durable = driver.durable();
    for n in 0..u64::from(LAZY_EVENTS_MAX) {
        assert!(matches!(settle(&mut driver, now), Step::Wait { .. }));
        assert_eq!(driver.durable(), durable, "block {n}");
        let blocks = vec![Block::new(block_ref(n, 0), [])];
        let (from, head) = (BlockNum(n), block_ref(n, 0));
        let blocks = Input::Blocks { from, head, blocks };
        driver.input(now, verify(blocks, &mut Crypto::Real));
        assert_eq!(u64::from(driver.staged()), n + 1);
    }
    settle(&mut driver, now);
    assert_eq!(driver.staged(), 0);
    assert_eq!(driver.durable(), durable.advance(u64::from(LAZY_EVENTS_MAX)));
}

/// Goal: an orderly stop need not forget what forces no sync. Method: one empty block, then the flush: the log holds all that the state
/// does, and there is nothing more.
#[test]
fn what_forces_no_sync_is_written_when_asked_for() {
    let mut driver = fresh();
    let now = Timestamp(5_000);
    settle(&mut driver, now);
    assert!(!driver.flush(), "nothing waits");
    assert!(matches!(settle(&mut driver, now), Step::Wait { .. }));
    let (from, head) = (BlockNum(0), block_ref(0, 0));
    let blocks = Input::Blocks { from, head, blocks: vec![Block::new(head, [])] };
    driver.input(now, verify(blocks, &mut Crypto::Real));
    settle(&mut driver, now);
    assert!(driver.durable() < driver.node().state().lsn() && driver.snapshot().is_none());
    assert!(driver.flush());
    settle(&mut driver, now);
    assert_eq!(driver.durable(), driver.node().state().lsn());
    assert!(!driver.flush() && driver.snapshot().is_some());
}

/// Goal: a clock that goes back, or far ahead, changes when things happen and nothing else.
#[test]
fn a_clock_that_jumps_changes_only_times() {
    let mut driver = fresh();
    for now in [5_000, 9_000, 1_000, 0, 2_000, 50_000, 100] {
        let now = Timestamp(now);
        let Step::Wait { until } = settle(&mut driver, now) else { panic!() };
        assert!(until.is_some_and(|at| at > now), "{until:?} at {now:?}");
        assert!(until.is_some_and(|at| at <= now.after_ms(2_000)), "{until:?} at {now:?}");
        driver.input(now, Verified::Plain(Input::Tick));
    }
    assert_eq!(driver.node().state().lsn(), Lsn(1));
}

#[test]
fn a_log_of_another_key_is_refused() {
    let mut actor = Actor::open(ALICE, Files::new(), Timestamp(0));
    while let step @ (Step::Append(_) | Step::Sync(_) | Step::Release(_)) =
        actor.driver.next(Timestamp(0))
    {
        match step {
            Step::Append(writes) => {
                writes.iter().for_each(|w| actor.write(w));
                actor.driver.done(Done::Appended);
            }
            Step::Sync(_) => actor.driver.done(Done::Synced),
            _ => {}
        }
    }
    let other = pins(&bob());
    let now = Timestamp(0);
    let refused = Driver::open(&actor.files, other, bob(), Config::default(), Start::Normal, now);
    assert!(matches!(refused, Err(OpenError::Start(StartError::Pins { .. }))));
}

#[test]
#[should_panic(expected = "Synced while")]
fn done_in_the_wrong_order_is_the_pumps_bug() {
    let mut driver = fresh();
    while !matches!(driver.next(Timestamp(5_000)), Step::Append(_)) {}
    driver.done(Done::Synced);
}

#[test]
#[should_panic(expected = "asked for the next step")]
fn asking_for_more_before_the_disk_is_done_is_the_pumps_bug() {
    let mut driver = fresh();
    while !matches!(driver.next(Timestamp(5_000)), Step::Append(_)) {}
    driver.next(Timestamp(5_000));
}

#[test]
#[should_panic(expected = "Appended while Nothing")]
fn done_without_being_asked_is_the_pumps_bug() {
    fresh().done(Done::Appended);
}
