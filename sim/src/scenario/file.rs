//! The file behind a scenario: text, tree, positions, and one-line problems.
//!
//! The text becomes a tree whose nodes know where they stand. Settings edit the tree. Two rewrites make it fit
//! the types (`do` with `args`, `family` with `do`); the original is kept so that problems name the keys that
//! the author wrote.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names;

/// One thing that is wrong with a scenario, on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the caller named it; `--set` for a value from the command line.
    pub file: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The key path, `op[1].args.amount`; empty for the file as a whole.
    pub path: String,
    /// What was expected and what was found.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Everything that is wrong with a scenario, one line each. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// `--set key=value`: a key path and a value in TOML or plain text.
pub type Setting = (String, String);

/// A scenario's tree, settings applied.
pub(super) struct Tree<'a> {
    file: &'a str,
    text: &'a str,
    pub(super) root: Spanned<DeValue<'a>>,
}

impl<'a> Tree<'a> {
    /// Parses the text.
    pub(super) fn parse(file: &'a str, text: &'a str) -> Result<Tree<'a>, Problem> {
        match DeTable::parse(text) {
            Ok(table) => {
                let root = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
                Ok(Tree { file, text, root })
            }
            Err(error) => {
                let line = error.span().map(|span| line_at(text, span.start));
                let what = error.message().lines().collect::<Vec<_>>().join(" ");
                let what = format!("expected TOML, found an error: {what}");
                Err(Problem { file: file.to_string(), line, path: String::new(), what })
            }
        }
    }

    /// Puts a value from the command line into the tree. `index` numbers the settings, so that each has
    /// positions of its own behind the end of the text.
    pub(super) fn set(&mut self, index: usize, (key, value): &'a Setting) -> Result<(), Problem> {
        let start = self.text.len() + 1 + index;
        let span = start..start;
        let parsed = DeValue::parse(value).map(Spanned::into_inner);
        let mut parsed = parsed.unwrap_or_else(|_| DeValue::String(Cow::Owned(value.clone())));
        parsed.make_owned();
        let parsed = respan(parsed, &span);
        let place = place(&mut self.root, &from_root(key), &span).ok_or_else(|| Problem {
            file: "--set".to_string(),
            line: None,
            path: key.clone(),
            what:
                "expected a key path such as phases.chaos or op.0.args.amount, found no such place"
                    .to_string(),
        })?;
        *place = parsed;
        Ok(())
    }

    /// The tree in the shape of the types.
    pub(super) fn shaped(&self) -> Result<Spanned<DeTable<'a>>, Problem> {
        let mut root = self.root.clone();
        for (list, key, inner) in [("op", "do", "args"), ("fault", "family", "do")] {
            let Some(DeValue::Array(items)) = get_mut(&mut root, list) else {
                continue;
            };
            for (index, item) in items.iter_mut().enumerate() {
                if let DeValue::Table(table) = item.get_mut() {
                    join(table, key, inner)
                        .map_err(|what| self.problem_at(&format!("{list}[{index}].{key}"), what))?;
                }
            }
        }
        let span = root.span();
        match root.into_inner() {
            DeValue::Table(table) => Ok(Spanned::new(span, table)),
            _ => unreachable!("the root was parsed as a table"),
        }
    }

    /// The problem that the TOML reader found, in our words.
    pub(super) fn problem_from(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or(0..0);
        let path = path_of(&self.root, &span).unwrap_or_default();
        let what = reword(error.message());
        self.problem(path, Some(span.start), what)
    }

    /// A problem with what stands at a key path.
    pub(super) fn problem_at(&self, path: &str, what: String) -> Problem {
        let at = position_of(&self.root, path);
        self.problem(path.to_string(), at, what)
    }

    pub(super) fn problem(&self, path: String, at: Option<usize>, what: String) -> Problem {
        match at {
            Some(at) if at > self.text.len() => {
                Problem { file: "--set".to_string(), line: None, path, what }
            }
            _ => {
                let line = at.map(|at| line_at(self.text, at));
                Problem { file: self.file.to_string(), line, path, what }
            }
        }
    }

    /// The tree without comments, whitespace and order: what the digest is of.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        canonical(self.root.get_ref(), &mut bytes);
        bytes
    }
}

/// The comment at the top of a file, without its marks.
pub(super) fn story(text: &str) -> String {
    let lines = text.lines().map(str::trim).skip_while(|line| line.is_empty());
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
    lines.join("\n").trim().to_string()
}

/// Turns `{ key = "kind", inner = value }` into `{ do = { kind = value } }`, positions kept: the shape in which
/// the TOML reader can say which argument of which kind is wrong.
fn join(table: &mut DeTable<'_>, key: &str, inner: &str) -> Result<(), String> {
    let Some((name, kind)) = table.remove_entry(key) else {
        return Err(format!("expected a key `{key}`, found none"));
    };
    let span = kind.span();
    let DeValue::String(kind) = kind.into_inner() else {
        return Err("expected a string, found something else".to_string());
    };
    let empty = || Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
    let value = table.remove(inner).unwrap_or_else(empty);
    let mut both = DeTable::new();
    both.insert(Spanned::new(span.clone(), kind), value);
    let name = Spanned::new(name.span(), Cow::Borrowed("do"));
    table.insert(name, Spanned::new(span, DeValue::Table(both)));
    Ok(())
}

/// The whole path of a setting: what stands in `[topology]` may be named without it, as the reference does.
fn from_root(key: &str) -> Cow<'_, str> {
    let first = key.split('.').next().unwrap_or(key);
    match TOPOLOGY_KEYS.contains(&first) {
        true => Cow::Owned(format!("topology.{key}")),
        false => Cow::Borrowed(key),
    }
}

fn get_mut<'t, 'a>(root: &'t mut Spanned<DeValue<'a>>, key: &str) -> Option<&'t mut DeValue<'a>> {
    match root.get_mut() {
        DeValue::Table(table) => table.get_mut(key).map(Spanned::get_mut),
        _ => None,
    }
}

/// Finds where a setting goes, making tables on the way; `None` when the path leads through something else.
fn place<'t, 'a>(
    root: &'t mut Spanned<DeValue<'a>>,
    path: &str,
    span: &Range<usize>,
) -> Option<&'t mut Spanned<DeValue<'a>>> {
    let mut node = root;
    for key in path.split('.') {
        node = match node.get_mut() {
            DeValue::Table(table) => {
                let key = Spanned::new(span.clone(), Cow::Owned(key.to_string()));
                let empty = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
                table.entry(key).or_insert(empty)
            }
            DeValue::Array(items) => items.get_mut(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(node)
}

/// The value with every position set to `span`.
pub(super) fn respan<'a>(value: DeValue<'a>, span: &Range<usize>) -> Spanned<DeValue<'a>> {
    let value = match value {
        DeValue::Array(mut items) => {
            for item in items.iter_mut() {
                let inner = std::mem::replace(item.get_mut(), DeValue::Boolean(false));
                *item = respan(inner, span);
            }
            DeValue::Array(items)
        }
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let key = Spanned::new(span.clone(), key.into_inner());
                    (key, respan(value.into_inner(), span))
                })
                .collect(),
        ),
        plain => plain,
    };
    Spanned::new(span.clone(), value)
}

/// The key path of the node or key that stands exactly at `span`.
fn path_of(node: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<String> {
    let below = |name: String, inner: String| match inner.is_empty() || inner.starts_with('[') {
        true => name + &inner,
        false => format!("{name}.{inner}"),
    };
    let found = match node.get_ref() {
        DeValue::Table(table) => table.iter().find_map(|(key, value)| {
            let inner = match path_of(value, span) {
                Some(inner) => Some(inner),
                None => (key.span() == *span).then(String::new),
            };
            inner.map(|inner| below(key.get_ref().to_string(), inner))
        }),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            path_of(item, span).map(|inner| below(format!("[{index}]"), inner))
        }),
        _ => None,
    };
    found.or_else(|| (node.span() == *span).then(String::new))
}

/// Where the node at a key path starts, or the deepest one on the way to it.
fn position_of(root: &Spanned<DeValue<'_>>, path: &str) -> Option<usize> {
    let mut node = root;
    let mut at = None;
    for key in path.split(['.', '[']).map(|key| key.trim_end_matches(']')) {
        let next = match node.get_ref() {
            DeValue::Table(table) => table.get(key),
            DeValue::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(next) = next else {
            break;
        };
        node = next;
        at = Some(node.span().start);
    }
    at
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// Length-prefixed, tagged, tables sorted by key: two trees give the same bytes exactly when they are equal.
fn canonical(value: &DeValue<'_>, bytes: &mut Vec<u8>) {
    let text = |bytes: &mut Vec<u8>, tag: u8, text: &str| {
        bytes.push(tag);
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    match value {
        DeValue::String(string) => text(bytes, b's', string),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            let number = number.map_or_else(|_| integer.to_string(), |number| number.to_string());
            text(bytes, b'i', &number);
        }
        DeValue::Float(float) => text(bytes, b'f', float.as_str()),
        DeValue::Boolean(boolean) => bytes.extend([b'b', u8::from(*boolean)]),
        DeValue::Datetime(datetime) => text(bytes, b'd', &datetime.to_string()),
        DeValue::Array(items) => {
            text(bytes, b'a', &items.len().to_string());
            items.iter().for_each(|item| canonical(item.get_ref(), bytes));
        }
        DeValue::Table(table) => {
            text(bytes, b't', &table.len().to_string());
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.get_ref());
            for (key, value) in entries {
                text(bytes, b'k', key.get_ref());
                canonical(value.get_ref(), bytes);
            }
        }
    }
}

/// A message of serde or toml in the form "expected …, found …".
fn reword(message: &str) -> String {
    let message = message.lines().collect::<Vec<_>>().join(" ");
    for prefix in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) =
            message.strip_prefix(prefix).and_then(|rest| rest.split_once(", expected "))
        {
            let expected = match expected {
                "a sequence" => "a list",
                "a tuple of size 2" => "a list of two",
                _ if expected.starts_with("struct ") => "a table",
                other => other,
            };
            let found = match prefix {
                "invalid length " => format!("{found} of them"),
                _ => found.to_string(),
            };
            return format!("expected {expected}, found {found}");
        }
    }
    if let Some(name) = quoted(&message, "missing field ") {
        return format!("expected a key `{name}`, found none");
    }
    for (prefix, what) in [("unknown field ", "a key"), ("unknown variant ", "a value")] {
        if let Some(name) = quoted(&message, prefix) {
            // What follows lists the known names in backticks.
            let mut known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
            known.sort_unstable();
            return names::unknown(what, name, &known);
        }
    }
    if message.starts_with("wanted exactly 1 element") {
        return "expected a table with exactly one key, found another number of keys".to_string();
    }
    message
}

/// The name in backticks right after a prefix.
fn quoted<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    message.strip_prefix(prefix)?.split('`').nth(1)
}

/// What can stand in `[topology]`; nothing at the top of a file has one of these names.
const TOPOLOGY_KEYS: [&str; 8] =
    ["parties", "party", "channels", "virtuals", "chain", "network", "disk", "patience"];

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Vec<u8> {
        Tree::parse("x", text).unwrap().canonical()
    }

    #[test]
    fn the_canonical_form_ignores_comments_order_and_spelling() {
        let one = digest("# a story\na = 16\n[t]\nx = \"y\"\nz = [1, 2]\n");
        assert_eq!(one, digest("a=0x10\nt = { z = [1,2], x = 'y' } # other"));
        for other in ["a=16\nt={z=[2,1],x='y'}", "a='16'\nt={z=[1,2],x='y'}", "a=16"] {
            assert_ne!(one, digest(other), "{other}");
        }
    }

    #[test]
    fn the_story_is_the_comment_at_the_top() {
        assert_eq!(
            story("\n# Alice pays.\n#\n#  Bob sleeps.\n\n# not this\nx = 1"),
            "Alice pays.\n\nBob sleeps."
        );
        assert_eq!(story("x = 1\n# too late"), "");
    }

    #[test]
    fn settings_reach_what_stands_in_the_topology_by_its_own_name() {
        let mut tree = Tree::parse("x", "topology.chain.confirmations = 3").unwrap();
        let settings = [("chain.confirmations", "5"), ("topology.chain.backend", "evm")];
        let settings = settings.map(|(key, value)| (key.to_string(), value.to_string()));
        for (index, setting) in settings.iter().enumerate() {
            tree.set(index, setting).unwrap();
        }
        let expected = "topology.chain = { confirmations = 5, backend = 'evm' }";
        assert_eq!(tree.canonical(), digest(expected));
    }

    #[test]
    fn what_may_be_named_without_its_table_is_what_stands_in_it() {
        let schema = super::super::json_schema();
        let properties = |pointer: &str| -> Vec<String> {
            let keys = schema.pointer(pointer).and_then(|p| p.as_object());
            keys.expect("a table").keys().cloned().collect()
        };
        let mut known = TOPOLOGY_KEYS.to_vec();
        known.sort_unstable();
        assert_eq!(properties("/$defs/Topology/properties"), known);
        assert!(properties("/properties").iter().all(|key| !known.contains(&key.as_str())));
    }

    #[test]
    fn settings_reach_tables_and_lists() {
        let mut tree = Tree::parse("x", "[[op]]\nargs = { amount = \"1 wei\" }\n").unwrap();
        let keys = ["op.0.args.amount", "phases.chaos", "op.9.args"];
        let settings = keys.map(|key| (key.to_string(), "2 wei".to_string()));
        for (index, setting) in settings[..2].iter().enumerate() {
            tree.set(index, setting).unwrap();
        }
        assert_eq!(
            tree.canonical(),
            digest("op = [{ args = { amount = '2 wei' } }]\nphases.chaos = '2 wei'")
        );
        let error = tree.set(2, &settings[2]).unwrap_err();
        assert!(error.to_string().starts_with("--set: op.9.args: expected a key path"), "{error}");
    }
}
