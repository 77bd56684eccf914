//! Reports for people: sentences first, then a picture and tables. Markdown and one page of HTML are made from the same parts.

use std::fmt::Write as _;

/// A report.
pub struct Page {
    /// Its name.
    pub title: &'static str,
    /// The first screen: a paragraph each.
    pub sentences: Vec<Vec<Part>>,
    /// What shows it at a glance.
    pub picture: Picture,
    /// The numbers. Those without rows are left out.
    pub tables: Vec<Table>,
    /// What it was made from, by name.
    pub facts: Vec<(&'static str, String)>,
}

/// A piece of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// A word of the glossary.
    Term(&'static str),
    /// Something to paste.
    Code(String),
}

/// A picture of a page.
pub struct Picture {
    /// Its file beside the Markdown, `….svg`.
    pub file: &'static str,
    /// What it shows, for who cannot see it.
    pub alt: &'static str,
    /// The picture, as SVG.
    pub svg: String,
}

/// A table of a page.
pub struct Table {
    /// Its heading.
    pub title: &'static str,
    /// The names of its columns.
    pub head: Vec<&'static str>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// Where words are explained.
const GLOSSARY: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/src/glossary.md#the-simulator");

/// Words as they are.
pub fn text(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

impl Page {
    /// The sentences alone, for a terminal.
    pub fn text(&self) -> String {
        let lines = self.sentences.iter().map(|parts| plain(parts));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The page as Markdown. The picture is a file of its own beside it.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        for parts in &self.sentences {
            let _ = write!(text, "\n{}\n", markdown(parts));
        }
        let _ = write!(text, "\n![{}]({})\n", self.picture.alt, self.picture.file);
        for table in self.tables.iter().filter(|t| !t.rows.is_empty()) {
            let rule = vec!["---"; table.head.len()].join(" | ");
            let _ = write!(
                text,
                "\n## {}\n\n| {} |\n| {rule} |\n",
                table.title,
                table.head.join(" | ")
            );
            for row in &table.rows {
                let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
        }
        let facts: Vec<String> = self.facts.iter().map(|(k, v)| format!("{k} {v}")).collect();
        let _ = write!(text, "\n{}\n", facts.join(" · "));
        text
    }

    /// The page as HTML that needs nothing else.
    ///
    /// # Panics
    /// When the template is broken, which a test would show.
    pub fn html(&self) -> String {
        let mut environment = minijinja::Environment::new();
        environment
            .add_template("page.html", include_str!("page.html.j2"))
            .expect("the template is part of the program");
        let sentences: Vec<Vec<_>> = self
            .sentences
            .iter()
            .map(|parts| {
                let part = |part: &Part| match part {
                    Part::Text(text) => minijinja::context! { kind => "text", text },
                    Part::Term(text) => minijinja::context! { kind => "term", text => *text },
                    Part::Code(text) => minijinja::context! { kind => "code", text },
                };
                parts.iter().map(part).collect()
            })
            .collect();
        let facts: Vec<_> = self
            .facts
            .iter()
            .map(|(name, value)| minijinja::context! { name => *name, value })
            .collect();
        let tables: Vec<_> = self
            .tables
            .iter()
            .filter(|t| !t.rows.is_empty())
            .map(|t| minijinja::context! { title => t.title, head => t.head.clone(), rows => t.rows.clone() })
            .collect();
        let template = environment.get_template("page.html").expect("it was just added");
        template
            .render(minijinja::context! {
                title => self.title,
                sentences,
                tables,
                facts,
                glossary => GLOSSARY,
                alt => self.picture.alt,
                picture => self.picture.svg.as_str(),
            })
            .expect("the template fits its context")
    }
}

fn plain(parts: &[Part]) -> String {
    let words = parts.iter().map(|part| match part {
        Part::Text(text) | Part::Code(text) => text.as_str(),
        Part::Term(word) => word,
    });
    words.collect()
}

fn markdown(parts: &[Part]) -> String {
    let words = parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Term(word) => format!("[{word}]({GLOSSARY})"),
        Part::Code(line) => format!("`{line}`"),
    });
    words.collect()
}
