//! Goal: what was backed up comes back, in doubt, and nothing else does. Method: the kept log of a devnet's payee, whole, cut and damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fairway_core::log::{Doubt, FileName, Slot};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::create::{Extras, create};
use super::drill::{Drill, drill};
use super::manifest::list;
use super::restore::restore;
use super::seal::Identities;
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
    let extras = Extras { keys: vec![key], ..Extras::default() };
    let (path, manifest) = create(&Source::at(&node), &folder, &extras, 7_000).unwrap();
    (node, folder, path, manifest)
}

/// No secret key.
fn plain() -> Identities {
    Identities::default()
}

/// Goal: an encrypted backup tells nothing but its manifest, and comes back with the key alone. Method: a key store and a configuration
/// with words in them that must not be found in any file.
#[test]
fn an_encrypted_backup_needs_its_key() {
    let parent = tempfile::tempdir().unwrap();
    let (node, folder) = (node(&parent), parent.path().join("backups"));
    let [config, key] = ["config", "channel.json"].map(|name| parent.path().join(name));
    fs::write(&config, "secret words").unwrap();
    fs::write(&key, "{\"secret\": \"words\"}").unwrap();
    let file = parent.path().join("identity");
    let key_of_backup = age::x25519::Identity::generate();
    let public = key_of_backup.to_public().to_string();
    fs::write(&file, key_of_backup.to_string().expose_secret()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let identities = Identities::read(&file).unwrap();
    let recipients = vec![public.parse().unwrap()];
    let extras = Extras { config: Some(config), keys: vec![key], recipients };
    let (path, manifest) = create(&Source::at(&node), &folder, &extras, 1).unwrap();
    assert_eq!((manifest.format, &manifest.recipients), (2, &vec![public.clone()]));
    let (_, files) = Manifest::verify_files(&path).unwrap();
    assert!(files.keys().all(|name| name.ends_with(".age")), "{:?}", files.keys());
    let log = fs::read(node.join("000001.log")).unwrap();
    for bytes in files.values() {
        let holds = |words: &[u8]| bytes.windows(words.len()).any(|at| at == words);
        assert!(!holds(b"secret") && !holds(&log[100..132]));
    }

    let again = parent.path().join("again");
    let told = restore(&path, &plain(), &again).unwrap_err().to_string();
    assert!(
        told.contains(&format!("is encrypted to {public}")) && told.contains("--identity-file")
    );
    assert!(!again.exists());
    let (_, contents) = Manifest::verify(&path, &identities).unwrap();
    assert_eq!(contents["config.toml"], b"secret words");
    let drilled = drill(&folder, Some(&Source::at(&node)), &identities, 2).unwrap();
    assert_eq!((drilled.state, drilled.behind), (manifest.state, Some(0)));
    restore(&path, &identities, &again).unwrap();
    assert_eq!(fs::read(again.join("000001.log")).unwrap(), log);
    assert!(again.join("keys/channel.json").exists() && again.join("doubt").exists());

    // What was changed on the way is found without a key, and with one.
    let segment = path.join("log/000001.log.age");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    assert!(Manifest::verify_files(&path).is_err());
    let mut lying = manifest.clone();
    lying.files.insert("log/000001.log.age".into(), manifest::Entry::of(&bytes));
    fs::write(path.join(manifest::FILE), serde_json::to_string(&lying).unwrap()).unwrap();
    Manifest::verify_files(&path).unwrap();
    let told = Manifest::verify(&path, &identities).unwrap_err().to_string();
    assert!(told.contains("log/000001.log.age: "), "{told}");
}

#[test]
fn a_backup_comes_back_in_doubt_and_to_the_same_state() {
    let parent = tempfile::tempdir().unwrap();
    let (node, folder, path, manifest) = backed_up(&parent);
    assert_eq!(list(&folder).unwrap(), [(path.clone(), manifest.clone())]);
    assert_eq!(Manifest::verify(&path, &plain()).unwrap().0, manifest);

    let again = parent.path().join("again");
    assert_eq!(restore(&path, &plain(), &again).unwrap(), manifest);
    let files = crate::files::read(&again).unwrap();
    let opened = log::open(&files).unwrap();
    assert_eq!(opened.doubt, Some(Doubt::Standing));
    let original = crate::files::read(&node).unwrap();
    let before = log::open(&original).unwrap();
    assert_eq!(opened.batches, before.batches);
    assert_eq!(fs::read_to_string(again.join("keys/key.json")).unwrap(), "{}");
    assert!(matches!(restore(&path, &plain(), &again), Err(BackupError::Occupied(_))));

    let told = drill(&folder, Some(&Source::at(&node)), &plain(), 8_000).unwrap();
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
    let text = restore(&path, &plain(), &again).unwrap_err().to_string();
    assert!(
        text.ends_with("log/000001.log: it is not what was backed up; use another backup"),
        "{text}"
    );
    assert!(!again.exists(), "nothing is written of a bad backup");
    assert!(drill(&folder, Some(&Source::at(&node)), &plain(), 1).is_err());

    fs::remove_file(&segment).unwrap();
    assert!(restore(&path, &plain(), &again).unwrap_err().to_string().contains("log/000001.log"));
    fs::write(&segment, good).unwrap();

    let write = |manifest: &Manifest| {
        fs::write(path.join(manifest::FILE), serde_json::to_string(manifest).unwrap()).unwrap();
    };
    let mut lying = manifest.clone();
    lying.state.0[0] ^= 1;
    write(&lying);
    assert!(matches!(
        restore(&path, &plain(), &again),
        Err(BackupError::Manifest(ManifestError::Contents { .. }))
    ));
    let entry = manifest.files["log/000001.log"].clone();
    let mut escaping = manifest.clone();
    escaping.files.insert("../outside".into(), entry);
    write(&escaping);
    assert!(
        restore(&path, &plain(), &again)
            .unwrap_err()
            .to_string()
            .contains("its name leads elsewhere")
    );
    write(&Manifest { format: 3, ..manifest });
    assert!(matches!(Manifest::read(&path), Err(ManifestError::Format { found: 3, .. })));
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
    let text = drill(&folder, Some(&Source::at(&other)), &plain(), 1).unwrap_err().to_string();
    assert!(text.contains("is not a continuation of the backup"), "{text}");
    let nothing = parent.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    assert!(matches!(drill(&nothing, None, &plain(), 1), Err(BackupError::None(_))));
    assert!(matches!(
        create(&Source::at(&nothing), &folder, &Extras::default(), 1),
        Err(BackupError::Log(EventsError::Empty(_)))
    ));
}
