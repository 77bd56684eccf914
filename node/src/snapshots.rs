//! The folder `snapshots/` of a data directory: states from which a start goes on.
//!
//! What a snapshot is and when it is believed is core's ([`fairway_core::snapshot`]); this writes, reads and removes files. A snapshot
//! that cannot be written is told and costs nothing but time at the next start.
//!
//! ```text
//! snapshots/00000000000000012345.snapshot     by position; the newest two that were read back are kept
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fairway_core::driver::Driver;
use fairway_core::snapshot::Snapshot;
use fairway_core::types::{Address, Lsn};
use fairway_transport::NodeKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::error;

use crate::checkpoint::{self, Checkpoint};
use crate::clock::WallClock;

/// The folder in the data directory.
pub const FOLDER: &str = "snapshots";

/// The section `[snapshots]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Events between two snapshots; 0 for none at all. An orderly stop takes one, too. Each is accompanied by a signed checkpoint. A start
    /// folds at most about so many events.
    pub every_events: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { every_events: 10_000 }
    }
}

/// Files of the folder, the newest first. None where there is no folder.
///
/// # Errors
/// The system's.
pub fn list(data_dir: &Path) -> io::Result<Vec<(Lsn, PathBuf)>> {
    let entries = match fs::read_dir(data_dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(SUFFIX));
        if let Some(lsn) = stem.and_then(|stem| stem.parse().ok()) {
            found.push((Lsn(lsn), path));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Writes one durably, reads it back, and removes all but the newest two.
///
/// # Errors
/// The system's, and a file that does not read back as it was written.
pub fn write(data_dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let folder = data_dir.join(FOLDER);
    if !folder.exists() {
        DirBuilder::new().mode(0o700).create(&folder)?;
        File::open(data_dir)?.sync_all()?;
    }
    let path = folder.join(format!("{:020}{SUFFIX}", snapshot.end().0));
    let partial = path.with_extension("partial");
    let options =
        OpenOptions::new().mode(0o600).create(true).truncate(true).write(true).open(&partial);
    let mut file = options?;
    file.write_all(&snapshot.encode())?;
    file.sync_all()?;
    fs::rename(&partial, &path)?;
    File::open(&folder)?.sync_all()?;
    let back = Snapshot::decode(&fs::read(&path)?).map_err(io::Error::other)?;
    if back.end() != snapshot.end() || back.head() != snapshot.head() {
        return Err(io::Error::other("it does not read back as it was written"));
    }
    for (_, old) in list(data_dir)?.into_iter().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// Takes snapshots of a node that rests, and has them written by a task of its own.
pub struct Keeper {
    every: u64,
    last: Lsn,
    to_writer: mpsc::Sender<Snapshot>,
}

impl Keeper {
    /// A keeper over a node whose log ends at `end` and whose last snapshot is of `last`. The writer ends with the keeper.
    pub fn start(
        settings: &Settings,
        data_dir: PathBuf,
        last: Lsn,
        signer: (NodeKey, Address),
        clock: WallClock,
    ) -> (Keeper, impl Future<Output = ()> + Send + use<>) {
        let (to_writer, snapshots) = mpsc::channel(1);
        let keeper = Keeper { every: settings.every_events, last, to_writer };
        (keeper, write_all(data_dir, snapshots, signer, clock))
    }

    /// Takes one, if it is time and the disk has everything. While the writer is busy none is taken.
    pub fn look(&mut self, driver: &Driver) {
        let due = self.every > 0 && driver.durable().0 >= self.last.0.saturating_add(self.every);
        if !due || self.to_writer.capacity() == 0 {
            return;
        }
        if let Some(snapshot) = driver.snapshot() {
            self.last = snapshot.end();
            // A writer that is gone ended with the process.
            let _ = self.to_writer.try_send(snapshot);
        }
    }

    /// The last one of a node that stops, unless there is one of its last event: the next start then folds nothing. Waits for the writer
    /// to take it; it is written when the writer has ended.
    pub async fn finish(mut self, driver: Driver) {
        if self.every == 0 || driver.durable() <= self.last {
            return;
        }
        if let Some(snapshot) = driver.snapshot() {
            self.last = snapshot.end();
            // As above.
            let _ = self.to_writer.send(snapshot).await;
        }
    }
}

async fn write_all(
    data_dir: PathBuf,
    mut snapshots: mpsc::Receiver<Snapshot>,
    (key, address): (NodeKey, Address),
    clock: WallClock,
) {
    while let Some(snapshot) = snapshots.recv().await {
        let (directory, key) = (data_dir.clone(), key.clone());
        let now = clock.now().0;
        let writing = tokio::task::spawn_blocking(move || {
            write(&directory, &snapshot)?;
            let state = snapshot.state().digest();
            let checkpoint =
                Checkpoint::sign(&key, address, snapshot.end(), snapshot.head(), state, now);
            checkpoint::append(&directory, &checkpoint)
        });
        match writing.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                error!(data_dir = %data_dir.display(), error = %e, "no snapshot could be written");
            }
            Err(_) => return,
        }
    }
}

const SUFFIX: &str = ".snapshot";
/// The older one serves when the newer one rots.
const KEPT: usize = 2;
