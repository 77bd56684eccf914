//! The pages of the invariants in the book, a page for each, and the table that leads to them.
//!
//! Rendered from what the code says (`fairway-sim list invariants --pages`), so that they cannot fall behind it; who saw which planted
//! bug is read from the report of the last measurement. `sim/tests/invariant_pages.rs` compares them with the files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::about::{About, GROUPS, Group, about};
use super::{Invariant, Kind, Setting, all};
use crate::detection::{SEEN, Seen};
use crate::scenario::{Expect, Library, Scenario};

/// Where the files of the repository are read.
const FILES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
/// What stands around the table.
const BEGIN: &str = "<!-- invariants:begin -->\n";
const END: &str = "<!-- invariants:end -->";

/// Why the pages could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// A file of the repository is not there.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        why: String,
    },
    /// The index has no place for the table.
    #[error("invariants.md: expected {BEGIN:?} and {END:?}, found not both")]
    NoPlace,
}

/// Where the page of an invariant is read; `None` for what is none, as a promise of a scenario.
pub fn page_of(name: &str) -> Option<String> {
    about(name).map(|a| format!("{FILES}docs/src/reference/invariants/{}.md", a.name))
}

/// All pages by file name, the index `invariants.md` first of all, whose old text is given. `root` is the repository.
///
/// # Errors
/// [`PagesError`].
pub fn pages(root: &Path, index: &str) -> Result<BTreeMap<String, String>, PagesError> {
    let book = Book::read(root)?;
    let (before, rest) = index.split_once(BEGIN).ok_or(PagesError::NoPlace)?;
    let (_, after) = rest.split_once(END).ok_or(PagesError::NoPlace)?;
    let mut pages = BTreeMap::new();
    pages.insert("invariants.md".into(), format!("{before}{BEGIN}{}\n{END}{after}", book.table()));
    for group in GROUPS {
        for about in group.members {
            pages.insert(format!("invariants/{}.md", about.name), book.page(group, about)?);
        }
    }
    Ok(pages)
}

/// Everything that pages are made from.
struct Book<'a> {
    root: &'a Path,
    invariants: Vec<Box<dyn Invariant + Send>>,
    seen: Seen,
    stories: Vec<Scenario>,
}

impl Book<'_> {
    fn read(root: &Path) -> Result<Book<'_>, PagesError> {
        let file = format!("reports/detection/{SEEN}");
        let text = source(root, &file)?;
        let seen = serde_json::from_str(&text)
            .map_err(|e| PagesError::File { file: file.clone(), why: e.to_string() })?;
        let stories = Library::new().load("negative", &[]);
        let stories = stories
            .map_err(|e| PagesError::File { file: "negative".into(), why: e.to_string() })?;
        Ok(Book { root, invariants: all(&Setting::nobody()), seen, stories })
    }

    /// The invariant itself.
    fn of(&self, about: &About) -> &dyn Invariant {
        let found = self.invariants.iter().find(|i| i.name() == about.name);
        found.expect("a test compares the lists").as_ref()
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for group in GROUPS {
            let _ = write!(
                text,
                "\n### {}\n\n| name | no. | kind | statement | first to see |\n",
                group.title
            );
            text += "|---|---|---|---|---|\n";
            for about in group.members {
                let (invariant, first) = (self.of(about), self.first(about));
                let first = first.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
                let _ = writeln!(
                    text,
                    "| [`{name}`](invariants/{name}.md) | {} | {} | {} | {} |",
                    invariant.catalogue().join(", "),
                    kind(invariant),
                    invariant.statement(),
                    if first.is_empty() { "–" } else { &first },
                    name = about.name,
                );
            }
        }
        text
    }

    /// The mutants that it was the first to see in some run.
    fn first(&self, about: &About) -> Vec<&str> {
        let first = self.seen.by(about.name).filter(|(_, sight)| sight.first > 0);
        first.map(|(witness, _)| witness.mutant.as_str()).collect()
    }

    fn page(&self, group: &Group, about: &About) -> Result<String, PagesError> {
        let invariant = self.of(about);
        let mut text = format!(
            "<!-- Rendered by: fairway-sim list invariants --pages docs/src/reference -->\n# {}\n\n",
            about.name
        );
        let _ = write!(
            text,
            "*{}*, number {} in the catalogue, of the group “{}” of the [invariants](../invariants.md).\n\n**{}.**\n",
            kind(invariant),
            invariant.catalogue().join(", "),
            group.title,
            sentence(invariant.statement()),
        );
        for (heading, body) in [
            ("The rule", about.rule),
            ("What is taken for granted", about.assumes),
            ("When it is judged", about.judged),
            ("What can be lost when it breaks", about.loss),
        ] {
            let _ = write!(text, "\n## {heading}\n\n{body}\n");
        }
        text += "\n## Where it is checked\n\n";
        text += &self.places(about)?;
        text += "\n## Who needs it\n\n";
        text += &self.need(about);
        let related = about.related.iter().map(|name| format!("[`{name}`]({name}.md)"));
        let _ = write!(text, "\n## Related\n\n{}\n", related.collect::<Vec<_>>().join(" · "));
        Ok(text)
    }

    /// The code, and the tests in which it fires.
    fn places(&self, about: &About) -> Result<String, PagesError> {
        let checks = format!("impl Invariant for {} ", about.checker);
        let mut text = format!("- {}\n", self.place(about.file, &checks, about.checker)?);
        for test in about.fires {
            let (file, name) = test.split_once("::").unwrap_or((about.file, test));
            let place = self.place(file, &format!("fn {name}()"), name)?;
            let _ = writeln!(text, "- fires in {place}");
        }
        Ok(text)
    }

    /// A link to the line of a file below `sim/src/invariant` that holds this text.
    fn place(&self, file: &str, holds: &str, name: &str) -> Result<String, PagesError> {
        let file = format!("sim/src/invariant/{file}");
        let text = source(self.root, &file)?;
        let line = text.lines().position(|line| line.contains(holds));
        let why = || format!("expected `{holds}`, found it nowhere");
        let line = line.ok_or_else(|| PagesError::File { file: file.clone(), why: why() })? + 1;
        Ok(format!("[`{name}`, {file}:{line}]({FILES}{file}#L{line})"))
    }

    fn need(&self, about: &About) -> String {
        let mut text = String::new();
        let mut seen: Vec<_> =
            self.seen.by(about.name).filter(|(_, s)| s.first + s.alone > 0).collect();
        seen.sort_by_key(|(_, s)| std::cmp::Reverse((s.alone, s.first)));
        if !seen.is_empty() {
            text += "[Planted bugs](../mutants.md) that it was the first to see, or alone; of so many runs in which anything saw them:\n\n";
            text += "| planted bug | first | alone | in all | of runs |\n|---|---|---|---|---|\n";
            for (witness, sight) in seen {
                let (id, detected) = (&witness.mutant, witness.detected);
                let _ = writeln!(
                    text,
                    "| `{id}` | {} | {} | {} | {detected} |",
                    sight.first, sight.alone, sight.seen
                );
            }
        }
        let behind: Vec<String> = self
            .seen
            .by(about.name)
            .filter(|(_, s)| s.first + s.alone == 0)
            .map(|(witness, sight)| format!("`{}` ({})", witness.mutant, sight.seen))
            .collect();
        if !behind.is_empty() {
            let _ = write!(
                text,
                "\nBehind others, once those that fire earlier are left out, it sees (in so many runs): {}.\n",
                behind.join(", ")
            );
        }
        let stories: Vec<String> = self
            .stories
            .iter()
            .filter(|s| matches!(s.expect(), Expect::Violation(name) if name == about.name))
            .map(|s| format!("[`{}`]({FILES}scenarios/{}.toml)", s.name(), s.name()))
            .collect();
        if !stories.is_empty() {
            let _ = write!(text, "\nStories in which it must fire: {}.\n", stories.join(", "));
        }
        if !about.need.is_empty() {
            let _ = write!(text, "\n{}\n", about.need);
        }
        text.trim_start().to_string()
    }
}

fn kind(invariant: &dyn Invariant) -> &'static str {
    match invariant.kind() {
        Kind::Safety => "safety",
        Kind::Liveness => "liveness",
    }
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

fn source(root: &Path, file: &str) -> Result<String, PagesError> {
    std::fs::read_to_string(root.join(file))
        .map_err(|e| PagesError::File { file: file.to_string(), why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_without_a_place_for_the_table_is_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for index in ["no place", "<!-- invariants:begin -->\nno end"] {
            let refused = pages(root, index).map(drop).unwrap_err();
            assert!(matches!(refused, PagesError::NoPlace), "{refused}");
        }
        let nowhere = pages(Path::new("nowhere"), "").map(drop).unwrap_err();
        assert!(
            nowhere.to_string().starts_with("reports/detection/invariants.json: "),
            "{nowhere}"
        );
    }

    #[test]
    fn a_promise_has_no_page() {
        assert_eq!(page_of("eventually"), None);
        assert!(page_of("no-equivocation").unwrap().ends_with("/no-equivocation.md"));
    }
}
