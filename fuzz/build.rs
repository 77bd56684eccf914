//! Gives the program its build id, and the corpus as it is now.
//!
//! The build id answers one question: would the same number give the same input, and that input the same outcome? So it covers core, the
//! bodies and the corpus that inputs are made from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[expect(dead_code, reason = "the simulator's packages, and how it adds them up")]
#[path = "../sim/src/build_id/recipe.rs"]
mod recipe;
#[path = "../sim/src/build_id/script.rs"]
mod script;

use recipe::Recipe;
use script::{compiler, env, features, files_below, files_of_packages, name_below};

const PACKAGES: [&str; 2] = ["core", "fuzz"];

fn main() {
    let manifest = PathBuf::from(env("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("fuzz stands in the workspace root").to_path_buf();
    let corpus = corpus(&root);
    println!("cargo::rustc-env=FAIRWAY_FUZZ_BUILD_ID={}", build_id(&root, &corpus));
    let table = PathBuf::from(env("OUT_DIR")).join("corpus.rs");
    fs::write(&table, corpus_table(&corpus)).expect("OUT_DIR is writable");
}

/// The kept inputs of every target that has a shim.
fn corpus(root: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let shims = root.join("fuzz/fuzz_targets");
    println!("cargo::rerun-if-changed={}", shims.display());
    let of_shim = |shim: PathBuf| {
        let target = shim.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let folder = root.join("corpus").join(&target);
        println!("cargo::rerun-if-changed={}", folder.display());
        (target, files_below(&folder))
    };
    files_below(&shims).into_iter().map(of_shim).collect()
}

fn build_id(root: &Path, corpus: &BTreeMap<String, Vec<PathBuf>>) -> String {
    let files = files_of_packages(root, &PACKAGES);
    let mut recipe = Recipe::new("fairway-fuzz build id v1");
    for path in recipe::sources(&PACKAGES, files.keys().map(String::as_str)) {
        recipe.add(path, &files[path]);
    }
    for file in corpus.values().flatten() {
        let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        recipe.add(&name_below(root, file), &bytes);
    }
    recipe.add("rustc", compiler(root).as_bytes());
    recipe.add("features", features().as_bytes());
    recipe.finish()
}

/// A Rust array of `(target, inputs)`, sorted by name.
fn corpus_table(corpus: &BTreeMap<String, Vec<PathBuf>>) -> String {
    let mut table = String::from("&[\n");
    for (target, files) in corpus {
        table.push_str(&format!("    ({target:?}, &[\n"));
        for file in files {
            table.push_str(&format!("        include_bytes!({:?}),\n", file.display().to_string()));
        }
        table.push_str("    ]),\n");
    }
    table.push_str("]\n");
    table
}
