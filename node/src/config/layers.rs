//! What is set where: file, environment and flags, put on top of each other key by key, each value with the place it comes from.
//!
//! ```text
//! flag  >  FAIRWAY_*  >  file  >  default
//! ```
//!
//! A list is one value: a layer replaces it as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::ConfigError;
use super::field::{Field, Kind, PREFIX, Section};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, with its dashes.
    Flag(String),
    /// A variable of the environment.
    Environment(String),
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) | Origin::Environment(name) => f.write_str(name),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value that a flag gives.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As it was typed, for messages: `--data-dir`.
    pub name: String,
    /// Which key it sets.
    pub key: String,
    /// To what, as text.
    pub value: String,
}

/// The layers so far.
pub struct Layers<'a> {
    fields: &'a [Field],
    sections: &'a [Section],
    set: BTreeMap<String, (Value, Origin)>,
    /// Where the keys within lists of tables stand, by their path: `peers[0].address`.
    inner: BTreeMap<String, Origin>,
    /// What the operator should know and need not act on.
    pub notes: Vec<String>,
}

impl<'a> Layers<'a> {
    /// Nothing is set.
    pub fn new(fields: &'a [Field], sections: &'a [Section]) -> Layers<'a> {
        let (set, inner, notes) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Layers { fields, sections, set, inner, notes }
    }

    /// Puts a file's text on top.
    ///
    /// # Errors
    /// [`ConfigError`]: not TOML, or a key that does not exist.
    pub fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let syntax = |e: toml::de::Error| ConfigError::Syntax {
            path: path.to_path_buf(),
            line: line_of(text, e.span().map_or(0, |s| s.start)),
            what: e.message().replace('\n', " "),
        };
        let spans = DeTable::parse(text).map_err(syntax)?;
        let values: Table = text.parse().map_err(syntax)?;
        let file = File { path, text };
        self.table("", spans.get_ref(), &values, &file)
    }

    fn table(
        &mut self,
        prefix: &str,
        spans: &DeTable<'_>,
        values: &Table,
        file: &File<'_>,
    ) -> Result<(), ConfigError> {
        for (name, span) in spans {
            let Some(value) = values.get(name.get_ref().as_ref()) else { continue };
            let origin = file.origin(name);
            let key = joined(prefix, name.get_ref());
            if self.sections.iter().any(|s| s.key == key) {
                let (DeValue::Table(spans), Value::Table(values)) = (span.get_ref(), value) else {
                    let what = format!("is a section; write [{key}] on a line of its own");
                    return Err(ConfigError::value(&origin, key, what));
                };
                self.table(&key, spans, values, file)?;
                continue;
            }
            if let Some(field) = self.fields.iter().find(|f| f.key == key) {
                self.inside(field, span, file)?;
            }
            self.put(key, value.clone(), origin)?;
        }
        Ok(())
    }

    /// Checks the keys within a list of tables, and remembers their lines.
    fn inside(
        &mut self,
        field: &Field,
        value: &Spanned<DeValue<'_>>,
        file: &File<'_>,
    ) -> Result<(), ConfigError> {
        let DeValue::Array(list) = value.get_ref() else { return Ok(()) };
        for (i, item) in list.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else { continue };
            for name in table.keys() {
                let (origin, key) = (file.origin(name), name.get_ref());
                if !field.items.iter().any(|f| f.key == **key) {
                    return Err(self.unknown(&origin, &format!("{}.{key}", field.key)));
                }
                self.inner.insert(format!("{}[{i}].{key}", field.key), origin);
            }
        }
        Ok(())
    }

    /// Puts the variables of an environment on top.
    ///
    /// Others use the prefix too: orchestrators name variables after their services. One that is no key is an error where it looks
    /// like a key with a slip, and is noted otherwise.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn environment(&mut self, all: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (name, text) in all {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if NOT_KEYS.contains(&rest) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let key = renamed(&rest.to_lowercase().replace("__", "."));
            if let Some(field) = self.fields.iter().find(|f| f.key == key.as_str()) {
                let value =
                    parse(field, text).map_err(|what| ConfigError::value(&origin, &key, what))?;
                self.put(key, value, origin)?;
                continue;
            }
            match self.suggestion(&key) {
                Some(near) => {
                    let what = format!("is no key; did you mean {}?", near.variable());
                    return Err(ConfigError::value(&origin, key, what));
                }
                None => self.notes.push(format!("{name} is no key and is ignored")),
            }
        }
        Ok(())
    }

    /// Puts flags on top, later ones above earlier ones.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn flags(&mut self, flags: &[Flag]) -> Result<(), ConfigError> {
        for flag in flags {
            let origin = Origin::Flag(flag.name.clone());
            let key = renamed(&flag.key);
            let Some(field) = self.fields.iter().find(|f| f.key == key) else {
                return Err(self.unknown(&origin, &key));
            };
            let value = parse(field, &flag.value)
                .map_err(|what| ConfigError::value(&origin, &key, what))?;
            self.set.remove(&key);
            self.put(key, value, origin)?;
        }
        Ok(())
    }

    fn put(&mut self, key: String, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let now = renamed(&key);
        if now != key {
            self.notes.push(format!("{origin}: {key} is called {now} now"));
        }
        if !self.fields.iter().any(|f| f.key == now) {
            return Err(self.unknown(&origin, &key));
        }
        let same_layer = |other: &Origin| {
            matches!((other, &origin), (Origin::File { .. }, Origin::File { .. }))
                || matches!((other, &origin), (Origin::Environment(_), Origin::Environment(_)))
        };
        match self.set.insert(now.clone(), (value, origin.clone())) {
            Some((_, other)) if same_layer(&other) => {
                let what = format!("is set twice, also at {other} by its old or new name");
                Err(ConfigError::value(&origin, now, what))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn unknown(&self, origin: &Origin, key: &str) -> ConfigError {
        let what = match self.suggestion(key) {
            Some(near) if near.name() == last(key) && near.section().is_empty() => {
                format!("is no key; {} stands above the first section", near.key)
            }
            Some(near) if near.name() == last(key) => {
                format!("is no key; {} stands in the section [{}]", near.name(), near.section())
            }
            Some(near) => format!("is no key; did you mean {}?", near.key),
            None => "is no key; `fairway config sample` shows all".to_string(),
        };
        ConfigError::value(origin, key, what)
    }

    /// The key that was meant, as far as can be guessed: the same name in another section, or a slip of one letter in four.
    fn suggestion(&self, key: &str) -> Option<Field> {
        let nested = self.fields.iter().flat_map(|f| {
            let inner = |item: &Field| Field { key: joined(&f.key, &item.key), ..item.clone() };
            std::iter::once(f.clone()).chain(f.items.iter().map(inner))
        });
        let all: Vec<Field> = nested.collect();
        if let Some(same) =
            all.iter().find(|f| f.key.contains('.') != key.contains('.') && f.name() == last(key))
        {
            return Some(same.clone());
        }
        let near = all.into_iter().map(|f| (strsim::osa_distance(&f.key, key), f));
        let best = near.min_by_key(|(distance, _)| *distance);
        best.filter(|(distance, _)| *distance <= key.len().div_ceil(4)).map(|(_, field)| field)
    }

    /// The value of a key and its origin, if somebody set it.
    pub fn get(&self, key: &str) -> Option<(&Value, &Origin)> {
        self.set.get(key).map(|(value, origin)| (value, origin))
    }

    /// Where the value at a path such as `peers[0].address` stands; of what is unset, nothing.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        let key = path.split('[').next().unwrap_or(path);
        self.inner.get(path).or_else(|| self.get(key).map(|(_, origin)| origin))
    }

    /// Everything that is set, as one document.
    pub fn merged(&self) -> Table {
        let mut root = Table::new();
        for (key, (value, _)) in &self.set {
            let mut parts = key.split('.');
            let name = parts.next_back().unwrap_or(key);
            let mut table = &mut root;
            for section in parts {
                let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                let Value::Table(inner) = inner else {
                    unreachable!("{section} is a section: sections are never set");
                };
                table = inner;
            }
            table.insert(name.to_string(), value.clone());
        }
        root
    }
}

/// For lines of one file.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn origin<T>(&self, at: &Spanned<T>) -> Origin {
        let line = line_of(self.text, at.span().start);
        Origin::File { path: self.path.to_path_buf(), line }
    }
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|b| **b == b'\n').count()
}

/// What a text means for this key; says what was expected where it means nothing.
fn parse(field: &Field, text: &str) -> Result<Value, String> {
    let refuse = || {
        let found = if field.secret { String::new() } else { format!(", found {text:?}") };
        format!("expected {}{found}", field.kind.expected())
    };
    let as_toml = || toml::from_str::<Table>(&format!("x = {text}")).ok()?.remove("x");
    match field.kind {
        Kind::Text => Ok(Value::String(text.to_string())),
        Kind::Whole => text.trim().parse().map(Value::Integer).map_err(|_| refuse()),
        Kind::Switch => text.trim().parse().map(Value::Boolean).map_err(|_| refuse()),
        Kind::Texts if text.trim_start().starts_with('[') => as_toml().ok_or_else(refuse),
        Kind::Texts => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::Array(parts.map(|part| Value::String(part.to_string())).collect()))
        }
        Kind::Tables => as_toml().ok_or_else(refuse),
    }
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") }
}

fn last(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

/// The name that a key has now.
fn renamed(key: &str) -> String {
    let now = RENAMED.iter().find(|(old, _)| *old == key).map_or(key, |(_, now)| now);
    now.to_string()
}

/// Keys that had another name: nodes that run with them go on running.
const RENAMED: [(&str, &str); 2] =
    [("key_file", "keys.channel_file"), ("chain.gas_key_file", "keys.gas_file")];

/// Variables of ours that set no key.
const NOT_KEYS: [&str; 3] = ["CONFIG", "PASSWORD", "NEW_PASSWORD"];
