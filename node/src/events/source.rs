//! Where a log is read from: a data directory whose node does not run, a copy of one, or an export. Segments that were archived are read
//! from where they are.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fairway_core::log::{FileName, Files};

use super::EventsError;
use crate::archive;
use crate::checkpoint::{self, Checkpoint};
use crate::export;
use crate::files;

/// Names a log; reads nothing before it is asked to.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    archive: Option<PathBuf>,
}

impl Source {
    /// The log in a directory, or that of a file that `fairway events export` wrote.
    pub fn at(path: impl Into<PathBuf>) -> Source {
        Source { path: path.into(), archive: None }
    }

    /// The same log, whose older segments are here, whatever its directory says.
    pub fn with_archive(self, archive: impl Into<PathBuf>) -> Source {
        Source { archive: Some(archive.into()), ..self }
    }

    /// The directory or the export.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's files, from its first segment on.
    ///
    /// # Errors
    /// [`EventsError`]: they cannot be read, a node writes there, older segments are not where they should be, or the file is no export.
    pub(crate) fn read(&self) -> Result<Files, EventsError> {
        if self.path.is_file() {
            return self.read_export();
        }
        if files::is_in_use(&self.path)? {
            return Err(EventsError::InUse(self.path.clone()));
        }
        self.read_running()
    }

    /// [`Source::read`] of a directory whose node may be running: what is being written may end in the middle of a batch.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read_running(&self) -> Result<Files, EventsError> {
        self.complete(files::read(&self.path)?)
    }

    /// Adds the segments that were archived to those of the data directory.
    ///
    /// # Errors
    /// [`EventsError::Archived`], [`EventsError::Read`].
    pub(crate) fn complete(&self, mut files: Files) -> Result<Files, EventsError> {
        let unread = |path: PathBuf| move |source| EventsError::Read { path, source };
        let note = archive::note(&self.path).map_err(unread(self.path.join(archive::NOTE)))?;
        let missing = archive::missing(&files, note.as_ref());
        let archive = self.archive.as_ref().or(note.as_ref().map(|note| &note.to));
        // Where nobody says that they were archived, the log itself says what is lost.
        let Some(archive) = archive else { return Ok(files) };
        for number in &missing {
            let name = FileName::Segment(*number);
            let path = archive.join(name.to_string());
            match fs::read(&path) {
                Ok(bytes) => drop(files.insert(name, bytes)),
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    let (path, archive) = (self.path.clone(), archive.clone());
                    let segments = archive::range(&missing);
                    return Err(EventsError::Archived { path, segments, archive });
                }
                Err(e) => return Err(unread(path)(e)),
            }
        }
        Ok(files)
    }

    fn read_export(&self) -> Result<Files, EventsError> {
        let path = self.path.clone();
        let text = fs::read_to_string(&path)
            .map_err(|source| EventsError::Read { path: path.clone(), source })?;
        export::files_of(&text).map_err(|source| EventsError::NoExport { path, source })
    }

    /// The checkpoints beside it; an export has none.
    ///
    /// # Errors
    /// [`EventsError::Read`].
    pub(crate) fn checkpoints(&self) -> Result<Vec<Checkpoint>, EventsError> {
        if self.path.is_file() {
            return Ok(Vec::new());
        }
        checkpoint::read(&self.path).map_err(|source| {
            let path = self.path.join(checkpoint::FILE);
            EventsError::Read { path, source }
        })
    }
}
