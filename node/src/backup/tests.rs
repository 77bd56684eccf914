//! Goal: what was backed up comes back, in doubt, and nothing else does. Method: the kept log of a devnet's payee, whole, cut and damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fairway_core::log::{Doubt, FileName, Slot};
use tempfile::TempDir;

use super::create::{Extras, create};
use super::drill::{Drill, drill};
use super::manifest::list;
use super::restore::restore;
use super::*;
use crate::events::Source;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/export/log")
}

/// A data directory with the kept log.
fn node(parent: &TempDir) -> PathBuf {
    let path = parent.path().join("node");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, bytes) in crate::files::read(&golden()).unwrap() {
        fs::write(path.join(name.to_string()), bytes).unwrap();
    }
    path
}

fn backed_up(parent: &TempDir) -> (PathBuf, PathBuf, PathBuf, Manifest) {
    let (node, folder) = (node(parent), parent.path().join("backups"));
    let key = parent.path().join("key.json");
    fs::write(&key, "{}").unwrap();
    let extras = Extras { config: None, keys: vec![key] };
    let (path, manifest) = create(&Source::at(&node), &folder, &extras, 7_000).unwrap();
    (node, folder, path, manifest)
}

#[test]
fn a_backup_comes_back_in_doubt_and_to_the_same_state() {
    let parent = tempfile::tempdir().unwrap();
    let (node, folder, path, manifest) = backed_up(&parent);
    assert_eq!(list(&folder).unwrap(), [(path.clone(), manifest.clone())]);
    assert_eq!(Manifest::verify(&path).unwrap().0, manifest);

    let again = parent.path().join("again");
    assert_eq!(restore(&path, &again).unwrap(), manifest);
    let files = crate::files::read(&again).unwrap();
    let opened = log::open(&files).unwrap();
    assert_eq!(opened.doubt, Some(Doubt::Standing));
    let original = crate::files::read(&node).unwrap();
    let before = log::open(&original).unwrap();
    assert_eq!(opened.batches, before.batches);
    assert_eq!(fs::read_to_string(again.join("keys/key.json")).unwrap(), "{}");
    assert!(matches!(restore(&path, &again), Err(BackupError::Occupied(_))));

    let told = drill(&folder, Some(&Source::at(&node)), 8_000).unwrap();
    assert_eq!((told.behind, told.lsn, told.backup), (Some(0), manifest.lsn.0, path));
    let kept = fs::read_to_string(folder.join(super::drill::FILE)).unwrap();
    assert_eq!(serde_json::from_str::<Drill>(&kept).unwrap().time_ms, 8_000);
}

/// Goal: a log that is being written is cut behind its last whole batch. Method: every length of the last segment near its end, as a
/// reader may meet it.
#[test]
fn a_log_that_is_being_written_is_cut_at_a_batch() {
    let parent = tempfile::tempdir().unwrap();
    let node = node(&parent);
    let whole = crate::files::read(&node).unwrap();
    let all = log::open(&whole).unwrap().batches;
    let last = *whole.keys().rfind(|n| matches!(n, FileName::Segment(_))).unwrap();
    let length = whole[&last].len();
    for cut in (1..length.min(400)).step_by(37) {
        let mut files = whole.clone();
        files.get_mut(&last).unwrap().truncate(length - cut);
        files.retain(|name, _| !matches!(name, FileName::Mirror(_)));
        let kept = segments(files).unwrap();
        let batches = log::open(&kept).unwrap().batches;
        assert!(batches.len() < all.len() && batches == all[..batches.len()], "{cut}");
    }
    // With the mirrors nothing is lost: what they hold stood in the segment, too.
    let mut files = whole.clone();
    files.get_mut(&last).unwrap().truncate(length - 1);
    assert_eq!(log::open(&segments(files).unwrap()).unwrap().batches, all);
    assert!(whole.contains_key(&FileName::Mirror(Slot::Zero)));
}

#[test]
fn a_backup_that_has_changed_is_refused_and_named() {
    let parent = tempfile::tempdir().unwrap();
    let (node, folder, path, manifest) = backed_up(&parent);
    let segment = path.join("log/000001.log");
    let good = fs::read(&segment).unwrap();
    let mut rotten = good.clone();
    rotten[100] ^= 1;
    fs::write(&segment, &rotten).unwrap();
    let again = parent.path().join("again");
    let text = restore(&path, &again).unwrap_err().to_string();
    assert!(
        text.ends_with("log/000001.log: it is not what was backed up; use another backup"),
        "{text}"
    );
    assert!(!again.exists(), "nothing is written of a bad backup");
    assert!(drill(&folder, Some(&Source::at(&node)), 1).is_err());

    fs::remove_file(&segment).unwrap();
    assert!(restore(&path, &again).unwrap_err().to_string().contains("log/000001.log"));
    fs::write(&segment, good).unwrap();

    let write = |manifest: &Manifest| {
        fs::write(path.join(manifest::FILE), serde_json::to_string(manifest).unwrap()).unwrap();
    };
    let mut lying = manifest.clone();
    lying.state.0[0] ^= 1;
    write(&lying);
    assert!(matches!(
        restore(&path, &again),
        Err(BackupError::Manifest(ManifestError::Contents { .. }))
    ));
    let entry = manifest.files["log/000001.log"].clone();
    let mut escaping = manifest.clone();
    escaping.files.insert("../outside".into(), entry);
    write(&escaping);
    assert!(restore(&path, &again).unwrap_err().to_string().contains("its name leads elsewhere"));
    write(&Manifest { format: 2, ..manifest });
    assert!(matches!(Manifest::read(&path), Err(ManifestError::Format { found: 2, .. })));
    fs::remove_file(path.join(manifest::FILE)).unwrap();
    assert!(matches!(Manifest::read(&path), Err(ManifestError::Unreadable { .. })));
}

#[test]
fn a_drill_finds_a_log_that_went_another_way() {
    let parent = tempfile::tempdir().unwrap();
    let (node, folder, ..) = backed_up(&parent);
    let files = crate::files::read(&node).unwrap();
    let first = log::open(&files).unwrap().batches[0].last();
    let other = parent.path().join("other");
    fs::create_dir(&other).unwrap();
    let mut tail = fairway_core::log::LogTail::fresh();
    let batch = log::open(&files).unwrap().batches[0].to_batch();
    for write in tail.append(batch.time, batch.count, batch.payload).writes {
        fs::write(other.join(write.file.to_string()), write.bytes).unwrap();
    }
    assert_eq!(log::open(&crate::files::read(&other).unwrap()).unwrap().tail.end(), first);
    let text = drill(&folder, Some(&Source::at(&other)), 1).unwrap_err().to_string();
    assert!(text.contains("is not a continuation of the backup"), "{text}");
    let nothing = parent.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    assert!(matches!(drill(&nothing, None, 1), Err(BackupError::None(_))));
    assert!(matches!(
        create(&Source::at(&nothing), &folder, &Extras::default(), 1),
        Err(BackupError::Log(EventsError::Empty(_)))
    ));
}
