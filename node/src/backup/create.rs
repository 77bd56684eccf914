//! Makes a backup, of a node that runs or not.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::manifest::{Entry, FILE, FORMAT, FORMAT_PLAIN, KEYS, LOG, Manifest};
use super::seal::{self, Recipient};
use super::{BackupError, emergency, segments};
use crate::checkpoint::{self, Hex};
use crate::events::{EventsError, Source, fold, open_log};
use crate::files;
use crate::version::Version;

/// What to put beside the log, and who may read it.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Encrypted key stores. Whoever names a key that is not encrypted puts it into the backup as it is.
    pub keys: Vec<PathBuf>,
    /// Who may read it; everybody where there is none.
    pub recipients: Vec<Recipient>,
}

/// Makes a backup below `folder`, in a directory named after the time and the log's last record. The directory appears when everything in it
/// is durable, and not before.
///
/// Segments that were archived are part of it: a backup is a log from its first record on. The log may be written meanwhile: the backup ends with the last batch that was whole when it was read.
///
/// # Errors
/// [`BackupError`]; no backup has appeared.
pub fn create(
    source: &Source,
    folder: &Path,
    extras: &Extras,
    now_ms: u64,
) -> Result<(PathBuf, Manifest), BackupError> {
    let found = source.read_running()?;
    let data_dir = source.path();
    let path = || data_dir.to_path_buf();
    let log = segments(found).map_err(|source| EventsError::Log { path: path(), source })?;
    let opened = open_log(data_dir, &log)?;
    let state = fold(data_dir, &opened)?.state;
    let Some(pins) = state.pins() else { return Err(EventsError::Empty(path()).into()) };
    let mut contents: BTreeMap<String, Vec<u8>> =
        log.iter().map(|(name, bytes)| (format!("{LOG}{name}"), bytes.clone())).collect();
    contents.insert(emergency::FILE.into(), emergency::of(&state).into_bytes());
    read_extras(data_dir, extras, &mut contents)?;
    let contents = sealed(contents, &extras.recipients)?;
    let manifest = Manifest {
        format: if extras.recipients.is_empty() { FORMAT_PLAIN } else { FORMAT },
        fairway: Version::this().text().lines().next().unwrap_or_default().into(),
        created_ms: now_ms,
        lsn: opened.tail.end(),
        head: Hex(opened.tail.head().0),
        state: Hex(state.digest()),
        address: pins.me,
        chain_id: pins.chain_id,
        adjudicator: pins.adjudicator,
        recipients: extras.recipients.iter().map(ToString::to_string).collect(),
        files: contents.iter().map(|(name, bytes)| (name.clone(), Entry::of(bytes))).collect(),
    };
    let name = format!("{now_ms}-{}", manifest.lsn);
    let path = write(folder, &name, &contents, &manifest)?;
    Ok((path, manifest))
}

/// The files as they stand in the backup: encrypted, if somebody may read them and others not.
fn sealed(
    contents: BTreeMap<String, Vec<u8>>,
    recipients: &[Recipient],
) -> Result<BTreeMap<String, Vec<u8>>, BackupError> {
    if recipients.is_empty() {
        return Ok(contents);
    }
    let seal = |(name, bytes): (String, Vec<u8>)| {
        let sealed = seal::seal(recipients, &bytes);
        let sealed = sealed.map_err(|source| BackupError::Seal { name: name.clone(), source })?;
        Ok((format!("{name}{}", seal::SUFFIX), sealed))
    };
    contents.into_iter().map(seal).collect()
}

fn read_extras(
    data_dir: &Path,
    extras: &Extras,
    contents: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), BackupError> {
    let read = |path: &Path| fs::read(path).map_err(BackupError::io(path, "read"));
    if let Some(config) = &extras.config {
        contents.insert("config.toml".into(), read(config)?);
    }
    for key in &extras.keys {
        let name = key.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        contents.insert(format!("{KEYS}{name}"), read(key)?);
    }
    let checkpoints = data_dir.join(checkpoint::FILE);
    if checkpoints.exists() {
        contents.insert(checkpoint::FILE.into(), read(&checkpoints)?);
    }
    Ok(())
}

fn write(
    folder: &Path,
    name: &str,
    contents: &BTreeMap<String, Vec<u8>>,
    manifest: &Manifest,
) -> Result<PathBuf, BackupError> {
    let (path, partial) = (folder.join(name), folder.join(format!("{name}.partial")));
    make(folder)?;
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(BackupError::io(&partial, "remove"))?;
    }
    make(&partial)?;
    for (name, bytes) in contents {
        write_file(&partial.join(name), bytes)?;
    }
    let text = serde_json::to_string_pretty(manifest).expect("a manifest is plain data");
    write_file(&partial.join(FILE), text.as_bytes())?;
    for directory in [LOG, KEYS, ""].map(|name| partial.join(name)) {
        if directory.exists() {
            sync(&directory)?;
        }
    }
    fs::rename(&partial, &path).map_err(BackupError::io(&path, "give it its name"))?;
    sync(folder)?;
    Ok(path)
}

/// Writes a new file, durably but for its directory, which is made if it is missing.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = options.map_err(BackupError::io(path, "create"))?;
    file.write_all(bytes).map_err(BackupError::io(path, "write"))?;
    file.sync_all().map_err(BackupError::io(path, "sync"))
}

/// Makes a directory, for its owner alone, durably, unless it is there.
pub(super) fn make(path: &Path) -> Result<(), BackupError> {
    if path.is_dir() {
        return Ok(());
    }
    files::create(path).map_err(BackupError::io(path, "create this directory"))
}

pub(super) fn sync(directory: &Path) -> Result<(), BackupError> {
    let synced = File::open(directory).and_then(|d| d.sync_all());
    synced.map_err(BackupError::io(directory, "sync this directory"))
}
