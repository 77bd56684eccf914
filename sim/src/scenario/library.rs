//! The library: the scenarios inside the binary, and files and folders on disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::names::closest;
use super::{Problems, Scenario, Setting};
use crate::seed_id::is_scenario_name;

/// `(name, text)` of every scenario that was built in, sorted by name.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// Finds scenarios by name or path.
///
/// A name of the library goes first: `smoke/plain` is one scenario, `smoke` all below it, `scenarios` all there
/// are. Anything else is a path to a file or folder.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// Relative paths are taken from here; the working directory when empty.
    root: PathBuf,
}

/// A scenario's text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What seed ids call it: `smoke/plain`.
    pub name: String,
    /// What problems call it: `scenarios/smoke/plain.toml`.
    pub file: String,
    /// The text.
    pub text: String,
}

/// Why no scenario was found.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Neither in the binary nor on disk.
    #[error(
        "scenario `{name}`: expected a name such as smoke/plain or a path, found neither{hint}"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The closest names, as a question.
        hint: String,
    },
    /// A folder without scenarios.
    #[error("{}: expected .toml files, found none", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file's name that seed ids could not carry.
    #[error("{}: expected a name of lower-case letters, digits, `_` and `-`, found `{name}`", path.display())]
    BadName {
        /// The file.
        path: PathBuf,
        /// The name it would give.
        name: String,
    },
    /// The disk said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The disk's words.
        #[source]
        error: std::io::Error,
    },
    /// It was found and is wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
}

impl Library {
    /// The library with paths taken from the working directory.
    pub fn new() -> Library {
        Library::default()
    }

    /// The library with paths taken from `root`.
    pub fn at(root: impl Into<PathBuf>) -> Library {
        Library { root: root.into() }
    }

    /// The names of all built-in scenarios, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// The sources that a name or path stands for, sorted by name; at least one.
    ///
    /// # Errors
    /// When there is no such name or path, or the disk cannot be read.
    pub fn find(&self, what: &str) -> Result<Vec<Source>, LibraryError> {
        let what = what.trim_end_matches('/');
        let embedded = embedded(what);
        if !embedded.is_empty() {
            return Ok(embedded);
        }
        let path = self.root.join(what);
        if path.is_dir() {
            let files = toml_files(&path)?;
            if files.is_empty() {
                return Err(LibraryError::Empty { path });
            }
            return files.iter().map(|file| read(&path, file)).collect();
        }
        if path.is_file() {
            let folder = path.parent().unwrap_or(Path::new(""));
            return Ok(vec![read(folder, &path)?]);
        }
        // A path into the repository's folder works where there is no repository.
        let bare = what.strip_prefix("scenarios/").unwrap_or(what);
        let embedded = self::embedded(bare.strip_suffix(".toml").unwrap_or(bare));
        if !embedded.is_empty() {
            return Ok(embedded);
        }
        Err(LibraryError::Unknown { name: what.to_string(), hint: hint(what) })
    }

    /// Reads and checks every scenario that a name or path stands for.
    ///
    /// # Errors
    /// As [`Library::find`], and the problems of all scenarios that have any.
    pub fn load(&self, what: &str, settings: &[Setting]) -> Result<Vec<Scenario>, LibraryError> {
        let mut scenarios = Vec::new();
        let mut problems = Vec::new();
        for source in self.find(what)? {
            match source.parse(settings) {
                Ok(scenario) => scenarios.push(scenario),
                Err(Problems(found)) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(scenarios) } else { Err(Problems(problems).into()) }
    }
}

impl Source {
    /// Reads and checks it.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub fn parse(&self, settings: &[Setting]) -> Result<Scenario, Problems> {
        Scenario::parse(&self.name, &self.file, &self.text, settings)
    }
}

/// The text of a built-in scenario.
pub(super) fn text_of(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The built-in scenarios with this name, below this folder, or all.
fn embedded(what: &str) -> Vec<Source> {
    let below = format!("{what}/");
    EMBEDDED
        .iter()
        .filter(|(name, _)| what == "scenarios" || *name == what || name.starts_with(&below))
        .map(|(name, text)| Source {
            name: name.to_string(),
            file: format!("scenarios/{name}.toml"),
            text: text.to_string(),
        })
        .collect()
}

/// Every .toml file below a folder, sorted.
fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    let fail = |error| LibraryError::Io { path: folder.to_path_buf(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            files.extend(toml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(folder: &Path, file: &Path) -> Result<Source, LibraryError> {
    let fail = |error| LibraryError::Io { path: file.to_path_buf(), error };
    let text = fs::read_to_string(file).map_err(fail)?;
    let name = name_of(folder, file);
    if !is_scenario_name(&name) {
        return Err(LibraryError::BadName { path: file.to_path_buf(), name });
    }
    Ok(Source { name, file: file.display().to_string(), text })
}

/// The path below the innermost folder called `scenarios`, else below the folder that was asked for.
fn name_of(folder: &Path, file: &Path) -> String {
    let parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let start = match parts.iter().rposition(|part| part == "scenarios") {
        Some(at) => at + 1,
        None => folder.iter().count(),
    };
    parts[start.min(parts.len() - 1)..].join("/")
}

/// The closest built-in names, as a question.
fn hint(what: &str) -> String {
    let names = EMBEDDED.iter().map(|(name, _)| *name);
    let last = |name: &'static str| name.rsplit('/').next().unwrap_or(name);
    let mut close: Vec<&str> = names.clone().filter(|name| last(name) == what).collect();
    close.extend(closest(what, names.clone()));
    if let Some(word) = closest(what, names.clone().map(last)) {
        close.extend(names.filter(|name| last(name) == word));
    }
    close.sort_unstable();
    close.dedup();
    match close.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", close.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_groups_and_everything_are_found() {
        let library = Library::new();
        assert_eq!(library.find("smoke/plain").unwrap().len(), 1);
        assert!(library.find("smoke").unwrap().len() >= 9);
        assert_eq!(library.find("scenarios").unwrap().len(), library.names().count());
        // Without a repository around, its paths still mean the built-in ones.
        let elsewhere = Library::at("/nonexistent");
        assert_eq!(elsewhere.find("scenarios/smoke/plain.toml").unwrap()[0].name, "smoke/plain");
    }

    #[test]
    fn an_unknown_name_brings_the_closest() {
        let library = Library::new();
        for (name, expected) in [
            ("smoke/plian", "did you mean smoke/plain?"),
            ("plain", "did you mean smoke/plain?"),
            ("plian", "did you mean smoke/plain?"),
            ("xyzzy", "found neither"),
        ] {
            let error = library.find(name).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn files_and_folders_are_read() {
        let library = Library::at(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let file = library.find("scenarios/smoke/plain.toml").unwrap();
        assert_eq!(file[0].name, "smoke/plain");
        assert_eq!(
            library.find("./scenarios/smoke").unwrap().len(),
            library.find("smoke").unwrap().len()
        );
        let error = library.find("sim/src").unwrap_err();
        assert!(matches!(error, LibraryError::Empty { .. }), "{error}");
    }

    #[test]
    fn a_file_that_seed_ids_cannot_name_is_refused() {
        let path = std::env::temp_dir().join(format!("Fairway-{}.toml", std::process::id()));
        fs::write(&path, "").unwrap();
        let found = Library::new().find(&path.display().to_string());
        fs::remove_file(&path).unwrap();
        assert!(matches!(found.unwrap_err(), LibraryError::BadName { .. }));
    }
}
