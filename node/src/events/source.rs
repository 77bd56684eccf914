//! Where a log is read from: a data directory whose node does not run, a copy of one, or an export.

use std::fs;
use std::path::{Path, PathBuf};

use fairway_core::log::Files;

use super::EventsError;
use crate::checkpoint::{self, Checkpoint};
use crate::export;
use crate::files;

/// Names a log; reads nothing before it is asked to.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
}

impl Source {
    /// The log in a directory, or that of a file that `fairway events export` wrote.
    pub fn at(path: impl Into<PathBuf>) -> Source {
        Source { path: path.into() }
    }

    /// The directory or the export.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's files.
    ///
    /// # Errors
    /// [`EventsError`]: they cannot be read, a node writes there, or the file is no export.
    pub(crate) fn read(&self) -> Result<Files, EventsError> {
        if self.path.is_file() {
            return self.read_export();
        }
        if files::is_in_use(&self.path)? {
            return Err(EventsError::InUse(self.path.clone()));
        }
        Ok(files::read(&self.path)?)
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
