//! The configuration explained key by key: as an annotated file to start from, and as the tables of the book's reference.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::field::{self, Field, Kind, Section};

/// An annotated configuration file with every key: those in `set`, by key and in TOML, as they are; the others as comments with their
/// defaults. Without `set` it is no good file yet: what is required stands in it as a comment too.
pub fn sample(set: &BTreeMap<&str, String>) -> String {
    let (fields, sections) = field::all();
    let mut text = HEAD.to_string();
    // Tables of a list would swallow the keys behind them.
    let (plain, lists): (Vec<&Field>, Vec<&Field>) =
        fields.iter().filter(|f| f.section().is_empty()).partition(|f| f.kind != Kind::Tables);
    for field in plain {
        entry(&mut text, field, set);
    }
    for field in lists {
        let _ = write!(text, "\n{}#[[{}]]\n", comment(&field.about), field.key);
        for item in &field.items {
            let about = item.about.trim_end_matches('.');
            let _ = writeln!(text, "#{} = \"…\"    # {about}", item.key);
        }
    }
    for section in &sections {
        let _ = write!(text, "\n{}[{}]\n", comment(&section.about), section.key);
        for field in fields.iter().filter(|f| f.section() == section.key) {
            entry(&mut text, field, set);
        }
    }
    text
}

fn entry(text: &mut String, field: &Field, set: &BTreeMap<&str, String>) {
    text.push('\n');
    text.push_str(&comment(&field.about));
    if !field.choices.is_empty() {
        let _ = writeln!(text, "# One of: {}.", field.choices.join(", "));
    }
    let name = field.name();
    let _ = match (set.get(field.key.as_str()), &field.default_words) {
        (Some(value), _) => writeln!(text, "{name} = {value}"),
        (None, Some(words)) => writeln!(text, "#{name} =    # default: {}", words.replace('`', "")),
        (None, None) if field.required => writeln!(text, "#{name} =    # must be set"),
        (None, None) => writeln!(text, "#{name} = {}", field.default),
    };
}

fn comment(about: &str) -> String {
    let mut text = String::new();
    let mut line = String::from("#");
    for word in about.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
    text
}

/// A page of the book with its tables written anew, between two marks; `None` where it has no marks.
pub fn reference(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", tables()))
}

fn tables() -> String {
    let (fields, sections) = field::all();
    let top = Section { key: String::new(), about: String::new() };
    let mut text = String::new();
    for section in std::iter::once(&top).chain(&sections) {
        if section.key.is_empty() {
            text.push_str("\n## Above the first section\n\n");
        } else {
            let _ = write!(text, "\n## [{}]\n\n{}\n\n", section.key, one_line(&section.about));
        }
        text.push_str("| key | default | meaning |\n|---|---|---|\n");
        for field in fields.iter().filter(|f| f.section() == section.key) {
            row(&mut text, field.name(), field);
            for item in &field.items {
                row(&mut text, &format!("{}.{}", field.name(), item.key), item);
            }
        }
    }
    text.push('\n');
    text
}

fn row(text: &mut String, name: &str, field: &Field) {
    let default = match (&field.default, &field.default_words) {
        _ if field.required => "must be set".to_string(),
        (_, Some(words)) => words.clone(),
        (Value::Array(list), None) if list.is_empty() => "none".to_string(),
        (value, None) => format!("`{}`", value.to_string().trim_matches('"')),
    };
    let mut about = one_line(&field.about);
    if !field.choices.is_empty() {
        let choices: Vec<String> = field.choices.iter().map(|c| format!("`{c}`")).collect();
        let _ = write!(about, " One of {}.", choices.join(", "));
    }
    let _ = writeln!(text, "| `{name}` | {default} | {about} |");
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

const HEAD: &str = "\
# Configuration of a Fairway node. What stands behind a # at the start of a line is the default.
# `fairway config check --config FILE` reads it, `fairway config show` says what comes of it and why.
";
/// Columns of a comment at most.
const WIDTH: usize = 100;
const BEGIN: &str = "<!-- keys -->";
const END: &str = "<!-- /keys -->";

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/src/reference/configuration.md"
    ));

    /// The file that `fairway config sample` prints is read back, with each default in its place instead of a comment.
    #[test]
    fn every_key_is_in_the_sample_with_its_default() {
        let set =
            BTreeMap::from([("data_dir", "\"/d\"".into()), ("rpc_url", "\"http://a\"".into())]);
        let text = sample(&set);
        let (fields, _) = field::all();
        let mut section = String::new();
        let mut found = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.trim_end_matches(']'));
            }
            if let Some((name, _)) = line.trim_start_matches("#[[").split_once("]]") {
                found.push(name.to_string());
            }
            let Some((name, value)) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")
            else {
                continue;
            };
            let key = format!("{section}{name}");
            let Some(field) = fields.iter().find(|f| f.key == key) else { continue };
            found.push(key);
            if line.starts_with('#') && field.default_words.is_none() {
                assert_eq!(serde_json::from_str::<Value>(value).unwrap(), field.default, "{line}");
            }
        }
        // Keys whose default is told in words have no value behind the sign.
        for line in text.lines().filter(|l| l.contains(" =    # ")) {
            let name = line.trim_start_matches('#').split(' ').next().unwrap_or_default();
            found.extend(fields.iter().filter(|f| f.name() == name).map(|f| f.key.clone()));
        }
        for field in &fields {
            assert!(found.contains(&field.key), "{} is not in the sample:\n{text}", field.key);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let config = super::super::Config::load_from_file(file.path()).unwrap();
        assert_eq!(config.metrics_port, 9090);
    }

    #[test]
    fn every_key_is_in_the_reference_as_its_type_has_it() {
        let fresh = reference(PAGE).expect("the page has its marks");
        assert!(
            PAGE == fresh,
            "run: cargo fairway config schema --markdown docs/src/reference/configuration.md"
        );
        let (fields, _) = field::all();
        for field in fields {
            assert!(PAGE.contains(&format!("| `{}` |", field.name())), "{}", field.key);
        }
    }
}
