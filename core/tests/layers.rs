//! A file of core names only its own layer or a lower one.
//!
//! The check reads the sources: every path that begins with `crate::`, in `use` lines and elsewhere, test modules included. A test
//! that needs a higher layer belongs in `core/tests/` or in the simulator.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules at the crate's root, from the ground up. Those of one row may name each other.
const LAYERS: &[&[&str]] = &[
    &["mutant"],
    &["types"],
    &["nitro"],
    &["chain_types", "event", "input", "effect", "wire"],
    &["channel", "virtual_channel", "ledger", "chain_view", "config"],
    &["account"],
    &["objective"],
    &["machine"],
    &["log"],
    &["snapshot"],
    &["driver"],
];

/// What `lib.rs` re-exports, and from where.
const ROOT_NAMES: &[(&str, &str)] =
    &[("MUTANTS", "mutant"), ("MUTANTS_COMPILED", "mutant"), ("Mutant", "mutant")];

#[test]
fn a_file_names_only_its_own_layer_or_a_lower_one() {
    let source = source();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in rust_files(&source) {
        let name =
            file.strip_prefix(&source).expect("it was found below src").display().to_string();
        if name == "lib.rs" {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        wrong.extend(violations(&name, &text));
        seen += 1;
    }
    assert!(seen > LAYERS.len(), "only {seen} files below {}", source.display());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The picture at the top of `lib.rs` and the table here say the same.
#[test]
fn the_header_of_the_crate_shows_these_layers() {
    let text = fs::read_to_string(source().join("lib.rs")).expect("lib.rs is there");
    let picture = text.split("```").nth(1).expect("lib.rs begins with a picture of the layers");
    let mut last = 0;
    for word in picture.lines().flat_map(words_of_picture) {
        let Some(layer) = layer_of(word) else {
            panic!("lib.rs shows `{word}`, which has no layer in core/tests/layers.rs")
        };
        assert!(layer >= last, "lib.rs shows `{word}` above a module of a higher layer");
        last = layer;
    }
    for module in text.lines().filter_map(|line| line.trim().strip_suffix(';')) {
        let Some(name) = module.strip_prefix("pub mod ").or(module.strip_prefix("mod ")) else {
            continue;
        };
        assert!(
            layer_of(name).is_some(),
            "lib.rs declares `{name}`, which has no layer in core/tests/layers.rs"
        );
    }
}

#[test]
fn a_path_into_a_higher_layer_is_found() {
    for (file, text, found) in [
        ("types.rs", "use crate::nitro::State;", Some("types.rs:1: `types` names `nitro`")),
        (
            "nitro/abi.rs",
            "\n    let x = crate::event::Event::RecoveryEnded;",
            Some("nitro/abi.rs:2: `nitro` names `event`"),
        ),
        (
            "channel.rs",
            "use crate::{types::Amount, machine::Node};",
            Some("channel.rs:1: `channel` names `machine`"),
        ),
        ("event.rs", "use crate::wire::Wire;", None),
        ("config.rs", "assert!(crate::MUTANTS.is_empty());", None),
        ("driver.rs", "use crate::{\n    log::{self, Files},\n    machine::Node,\n};", None),
        ("types.rs", "//! See [`crate::driver`].\n/// and crate::log", None),
        ("log/open.rs", "use super::super::driver::Driver;", Some("log/open.rs:1: `super::super`")),
        ("types.rs", "use super::driver::Driver;", Some("types.rs:1: `super` at the crate's root")),
        ("types.rs", "mod tests {\n    use super::*;\n}", None),
        ("wire.rs", "use crate::telephone::Call;", Some("wire.rs:1: `telephone` has no layer")),
        (
            "telephone.rs",
            "use crate::types::Lsn;",
            Some("telephone.rs:1: `telephone` has no layer"),
        ),
    ] {
        let wrong = violations(file, text);
        match found {
            None => assert_eq!(wrong, Vec::<String>::new(), "{file}: {text}"),
            Some(start) => assert!(
                wrong.len() == 1 && wrong[0].starts_with(start),
                "{file}: {text}: {wrong:?}"
            ),
        }
    }
}

/// One line for each path that leads upwards: file, line, import.
fn violations(file: &str, text: &str) -> Vec<String> {
    let module = file.split(['/', '.']).next().unwrap_or_default();
    let at_root = !file.contains('/');
    let Some(own) = layer_of(module) else {
        return vec![format!(
            "{file}:1: `{module}` has no layer: give it one in core/tests/layers.rs"
        )];
    };
    let mut wrong = Vec::new();
    let code = without_comments(text);
    for (index, line) in code.lines().enumerate() {
        let number = index + 1;
        // Indented, it stands in an inner module and leads to the file's own folder.
        if line.starts_with("use super::super") {
            wrong.push(format!(
                "{file}:{number}: `super::super` hides where it leads: write `crate::`"
            ));
        }
        if at_root && line.starts_with("use super::") {
            wrong.push(format!("{file}:{number}: `super` at the crate's root: write `crate::`"));
        }
    }
    for (at, _) in code.match_indices("crate::") {
        let number = 1 + code[..at].matches('\n').count();
        let import = code.lines().nth(number - 1).unwrap_or_default().trim();
        for name in first_names(&code[at + "crate::".len()..]) {
            let target =
                ROOT_NAMES.iter().find(|(root, _)| *root == name).map_or(name, |(_, of)| *of);
            match layer_of(target) {
                None => wrong.push(format!(
                    "{file}:{number}: `{target}` has no layer: give it one in core/tests/layers.rs ({import})"
                )),
                Some(layer) if layer > own => wrong.push(format!(
                    "{file}:{number}: `{module}` names `{target}`, which stands in a higher layer ({import})"
                )),
                Some(_) => {}
            }
        }
    }
    wrong
}

/// The names right behind `crate::`: one, or those of a braced list.
fn first_names(rest: &str) -> Vec<&str> {
    let Some(list) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut names = Vec::new();
    let (mut depth, mut expects_name) = (0, true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_name = true,
            c if depth == 0 && expects_name && !c.is_whitespace() => {
                names.push(identifier(&list[at..]));
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The text with every `//` comment blanked, lines kept.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules of one line of the picture; an explanation follows after two blanks.
fn words_of_picture(line: &str) -> Vec<&str> {
    let line = line.trim_start_matches("//!").trim();
    let modules = line.split("  ").next().unwrap_or_default();
    modules.split_whitespace().filter(|word| *word != "text").collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every `.rs` file below a folder, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
