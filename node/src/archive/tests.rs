//! Goal: old segments leave a node's disk, and nothing else changes: a node starts, and every tool reads the whole log; what would lose
//! anything is refused. Method: the kept log of a devnet's payee in small segments, with snapshots in its midst and at its end.

use std::os::unix::fs::PermissionsExt;

use fairway_core::config::Config;
use fairway_core::driver::Driver;
use fairway_core::event::Pins;
use fairway_core::log::LogTail;
use fairway_core::machine::Start;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::types::{Address, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::backup::create::{Extras, create};
use crate::backup::emergency;
use crate::clock::WallClock;
use crate::events;
use crate::metrics::Metrics;
use crate::runtime::{self, StartError};

/// A data directory of many segments, and what its whole log comes to.
struct Old {
    dir: PathBuf,
    to: PathBuf,
    /// Every segment, as it was.
    segments: Files,
    state: NodeState,
    /// Below the older snapshot.
    old: Vec<String>,
    _home: TempDir,
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/export").join(name)
}

fn key() -> SecretKey {
    SecretKey::new([7; 32], Crypto::Real).unwrap()
}

fn open(files: &Files, state: &NodeState) -> Driver {
    let (pins, config) = chosen(state);
    Driver::open(files, pins, key(), config, Start::Normal, Timestamp(0)).unwrap()
}

fn chosen(state: &NodeState) -> (Pins, Config) {
    let payment_app = state.payment_app().unwrap_or(Address::ZERO);
    (*state.pins().unwrap(), Config { payment_app, ..Config::default() })
}

impl Old {
    fn new() -> Old {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("node");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let kept = files::read(&corpus("log")).unwrap();
        let batches = log::open(&kept).unwrap().batches;
        let state = events::fold(&dir, &log::open(&kept).unwrap()).unwrap().state;
        let (mut tail, mut files) = (LogTail::fresh().rolling_at(4_096), Files::new());
        let mut snapshots: Vec<Snapshot> = Vec::new();
        for batch in &batches {
            let owned = batch.to_batch();
            let append = tail.append(owned.time, owned.count, owned.payload);
            for write in &append.writes {
                let file = files.entry(write.file).or_default();
                let at = usize::try_from(write.offset).unwrap();
                file.truncate(if matches!(write.file, FileName::Segment(_)) { at } else { 0 });
                file.extend_from_slice(&write.bytes);
            }
            tail.synced(append.end);
            // One past the middle, and the last that there can be: a node that has something to say is ahead of its log.
            if tail.begins().segment >= 4 {
                let taken = open(&files, &state).snapshot();
                snapshots
                    .extend(taken.filter(|s| snapshots.len() < 2 || s.end() > snapshots[1].end()));
                if snapshots.len() > 2 {
                    snapshots.remove(1);
                }
            }
        }
        assert!(tail.begins().segment > 5, "{} segments", tail.begins().segment);
        for (name, bytes) in &files {
            fs::write(dir.join(name.to_string()), bytes).unwrap();
        }
        let older = snapshots[0].base().segment;
        for snapshot in &snapshots {
            snapshots::write(&dir, snapshot).unwrap();
        }
        let segments: Files =
            files.into_iter().filter(|(name, _)| matches!(name, FileName::Segment(_))).collect();
        let old = (1..older).map(|n| FileName::Segment(n).to_string()).collect();
        Old { dir, to: home.path().join("archive"), segments, state, old, _home: home }
    }

    fn archive(&self) -> Result<Archived, ArchiveError> {
        archive(&self.dir, &self.to, Run::Real, &mut |_| {})
    }

    /// The state of a node that starts there, and the event of the snapshot that it began with.
    fn start(&self) -> Result<(NodeState, Lsn), StartError> {
        let (pins, config) = chosen(&self.state);
        let metrics = Metrics::new();
        let dir = self.dir.clone();
        let started = runtime::open(dir, pins, key(), config, WallClock::start(), &metrics);
        started.map(|(_, driver, from)| (driver.node().state().clone(), from))
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        snapshots::list(&self.dir).unwrap().into_iter().map(|(_, path)| path).collect()
    }

    /// Every file with its bytes, but the lock.
    fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for folder in [self.dir.clone(), self.dir.join(snapshots::FOLDER), self.to.clone()] {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_file() && !path.ends_with("lock") {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// Every segment is whole in one of the two places.
    fn nothing_is_lost(&self) {
        for (name, bytes) in &self.segments {
            let name = name.to_string();
            let found = [&self.dir, &self.to].map(|dir| fs::read(dir.join(&name)).ok());
            assert!(found.iter().flatten().any(|there| there == bytes), "{name} is lost");
        }
    }
}

#[test]
fn old_segments_leave_and_nothing_else_changes() {
    let node = Old::new();
    let (before, from) = node.start().unwrap();
    let dry = archive(&node.dir, &node.to, Run::Dry, &mut |_| {}).unwrap();
    assert!(!node.to.exists(), "nothing moves in a dry run");
    let moved = node.archive().unwrap();
    assert_eq!(dry, moved);
    assert!(moved.segments.len() >= 3);
    assert_eq!(moved.segments, node.old);
    for name in &moved.segments {
        assert!(!node.dir.join(name).exists(), "{name}");
    }
    assert!(node.dir.join(&moved.first_kept).exists());
    node.nothing_is_lost();
    assert_eq!(node.start().unwrap(), (before, from));

    // Every tool reads the whole log.
    let source = Source::at(&node.dir);
    let mut export = Vec::new();
    events::export(&source, &mut export).unwrap();
    assert_eq!(export, fs::read(corpus("golden.jsonl")).unwrap());
    let verified = events::verify(&source).unwrap();
    assert_eq!((verified.bad.len(), verified.events as u64), (0, node.state.lsn().0));
    let backups = node.dir.with_file_name("backups");
    let (_, manifest) = create(&source, &backups, &Extras::default(), 1).unwrap();
    assert_eq!(manifest.state.0, node.state.digest());

    let again = node.archive().unwrap();
    assert_eq!((again.segments.len(), again.snapshots), (0, moved.snapshots));
}

/// Goal: a node that needs the first record says where it is. Method: the snapshots rot, the newer one first; then the segments come back.
#[test]
fn without_snapshots_the_archive_is_named() {
    let node = Old::new();
    let moved = node.archive().unwrap();
    let (_, newest) = node.start().unwrap();
    let [newer, older]: [PathBuf; 2] = node.snapshots().try_into().unwrap();
    fs::write(&newer, "rot").unwrap();
    let (state, from) = node.start().unwrap();
    assert_eq!((state.digest(), from), (node.state.digest(), moved.snapshots[0]));
    assert!(from < newest);
    let before = node.everything();
    assert!(matches!(node.archive(), Err(ArchiveError::TooFew { found: 1, .. })));

    fs::remove_file(&older).unwrap();
    let told = node.start().unwrap_err().to_string();
    let to = node.to.canonicalize().unwrap();
    let last = node.old.last().unwrap();
    let expected = format!(
        "no snapshot can be used, and 000001.log to {last} were archived to {}: copy them back from there, and start again",
        to.display()
    );
    assert!(told.ends_with(&expected), "{told}");
    fs::write(&older, &before[&older]).unwrap();
    assert!(node.everything() == before, "a refused start changes nothing");
    fs::remove_file(&older).unwrap();
    for name in &node.old {
        fs::copy(node.to.join(name), node.dir.join(name)).unwrap();
    }
    let (state, from) = node.start().unwrap();
    assert_eq!((state.digest(), from), (node.state.digest(), Lsn::ZERO));
}

/// Goal: an archive that was moved is asked for, and read where it is said to be; in an emergency it is not needed.
#[test]
fn an_archive_that_is_not_there_is_asked_for() {
    let node = Old::new();
    node.archive().unwrap();
    let elsewhere = node.to.with_file_name("elsewhere");
    fs::rename(&node.to, &elsewhere).unwrap();
    let source = Source::at(&node.dir);
    let told = events::list(&source).unwrap_err().to_string();
    assert!(told.contains("000001.log to ") && told.contains("--archive"), "{told}");
    let states = emergency::of_log(&source).unwrap();
    assert_eq!(states, (emergency::of(&node.state), node.state.lsn()));
    let source = source.with_archive(&elsewhere);
    assert_eq!(events::list(&source).unwrap().len() as u64, node.state.lsn().0);
    let told = node.archive().unwrap_err().to_string();
    assert!(told.contains("000001.log to "), "a second archive without the first segments: {told}");

    // A segment of another time.
    let first = elsewhere.join("000001.log");
    fs::copy(elsewhere.join("000002.log"), first).unwrap();
    assert!(matches!(events::list(&source), Err(EventsError::Log { .. })));
}

/// Goal: whatever interrupts it, nothing is lost, a node starts, and the next run goes on. Method: the files as each step leaves them.
#[test]
fn an_interrupted_run_is_finished_by_the_next() {
    type Left = fn(&Old);
    let rows: [(&str, Left); 5] = [
        ("an empty directory", |_| {}),
        ("part of a copy", |n| {
            fs::write(n.to.join("000001.log.partial"), "part").unwrap();
        }),
        ("one copy", |n| {
            fs::copy(n.dir.join("000001.log"), n.to.join("000001.log")).unwrap();
        }),
        ("all copies and the note", |n| copied(n)),
        ("the first is gone", |n| {
            copied(n);
            fs::remove_file(n.dir.join("000001.log")).unwrap();
        }),
    ];
    for (name, left) in rows {
        let node = Old::new();
        fs::create_dir(&node.to).unwrap();
        left(&node);
        assert_eq!(node.start().unwrap().0.digest(), node.state.digest(), "{name}");
        node.archive().unwrap();
        node.nothing_is_lost();
        assert!(node.old.iter().all(|old| node.to.join(old).exists()), "{name}");
        assert!(node.old.iter().all(|old| !node.dir.join(old).exists()), "{name}");
        assert_eq!(node.start().unwrap().0.digest(), node.state.digest(), "{name}");
        assert_eq!(node.archive().unwrap().segments.len(), 0, "{name}");
    }
}

fn copied(node: &Old) {
    for name in &node.old {
        fs::copy(node.dir.join(name), node.to.join(name)).unwrap();
    }
    let first_kept = u32::try_from(node.old.len()).unwrap() + 1;
    let note = Note { to: node.to.canonicalize().unwrap(), first_kept };
    write_note(&node.dir, &note).unwrap();
}

/// A snapshot with one other byte and a checksum that holds, such that `is` wanted.
fn tampered(path: &Path, is: impl Fn(&Snapshot, &Snapshot) -> bool) {
    let bytes = fs::read(path).unwrap();
    let good = Snapshot::decode(&bytes).unwrap();
    let body = &bytes[..bytes.len() - 32];
    for at in (18..body.len()).rev() {
        let mut other = body.to_vec();
        other[at] ^= 1;
        let checksum = blake3::hash(&other);
        other.extend(checksum.as_bytes());
        if Snapshot::decode(&other).is_ok_and(|found| is(&found, &good)) {
            fs::write(path, other).unwrap();
            return;
        }
    }
    panic!("no byte of {} does", path.display());
}

#[test]
fn what_would_lose_something_is_refused_and_changes_nothing() {
    type Spoil = fn(&Old);
    let rows: [(&str, Spoil, &str); 7] = [
        ("one snapshot", |n| fs::remove_file(&n.snapshots()[1]).unwrap(), "1 of the two snapshots"),
        (
            "a rotten snapshot",
            |n| fs::write(&n.snapshots()[0], "rot").unwrap(),
            "1 of the two snapshots",
        ),
        (
            "another state",
            |n| {
                let same = |a: &Snapshot, b: &Snapshot| {
                    (a.base(), a.end(), a.head()) == (b.base(), b.end(), b.head())
                };
                tampered(&n.snapshots()[1], |a, b| {
                    same(a, b) && a.state().digest() != b.state().digest()
                });
            },
            "its state is not what the log comes to",
        ),
        (
            "another log",
            |n| tampered(&n.snapshots()[0], |a, b| a.end() == b.end() && a.head() != b.head()),
            "the log is another one",
        ),
        ("doubt", |n| fs::write(n.dir.join("doubt"), "").unwrap(), "the file doubt is there"),
        (
            "a torn batch",
            |n| {
                let last = n.dir.join(n.segments.keys().next_back().unwrap().to_string());
                let mut bytes = fs::read(&last).unwrap();
                bytes.extend_from_slice(&[0; 100]);
                fs::write(last, bytes).unwrap();
            },
            "of a torn batch were cut",
        ),
        (
            "another node's archive",
            |n| {
                fs::create_dir(&n.to).unwrap();
                fs::write(n.to.join("000002.log"), "another").unwrap();
            },
            "another log's segment is there",
        ),
    ];
    for (name, spoil, expected) in rows {
        let node = Old::new();
        spoil(&node);
        let before = node.everything();
        let told = node.archive().unwrap_err().to_string();
        assert!(told.contains(expected), "{name}: {told}");
        assert!(node.everything() == before, "{name}: something was changed");
    }
    let node = Old::new();
    let held = DataDir::open(&node.dir).unwrap();
    assert!(matches!(node.archive(), Err(ArchiveError::Files(FilesError::InUse { .. }))));
    drop(held);
    let same = archive(&node.dir, &node.dir, Run::Real, &mut |_| {});
    assert!(matches!(same, Err(ArchiveError::Occupied { .. })));
    let nothing = archive(&node.dir.join("nothing"), &node.to, Run::Real, &mut |_| {});
    assert!(matches!(nothing, Err(ArchiveError::Log(EventsError::Empty(_)))));
}

#[test]
fn missing_segments_are_counted_from_the_first() {
    let files = |numbers: &[u32]| -> Files {
        numbers.iter().map(|n| (FileName::Segment(*n), Vec::new())).collect()
    };
    let note = |first_kept| Note { to: PathBuf::from("/archive"), first_kept };
    for (present, kept, expected) in [
        (&[1, 2][..], None, &[][..]),
        (&[], None, &[]),
        (&[3, 4], None, &[1, 2]),
        (&[], Some(3), &[1, 2]),
        (&[1, 2, 3], Some(3), &[]),
        (&[1, 3], Some(3), &[2]),
        (&[2, 3], Some(3), &[1]),
    ] {
        let note = kept.map(note);
        assert_eq!(missing(&files(present), note.as_ref()), expected, "{present:?} {kept:?}");
    }
    assert_eq!([range(&[1]), range(&[1, 2, 3])], ["000001.log", "000001.log to 000003.log"]);
}
