//! Which commit a build was made from.
//!
//! A seed id names its build and no commit, because a commit that changes no source must not stale it. Git has every source that was
//! committed, so the build id of a commit can be computed again, as long as it was made by this compiler with these features.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::recipe;

/// Commits that are looked at, the newest first.
const COMMITS_MAX: usize = 400;

/// The newest commit from which this compiler makes a build whose id begins with `build`. `None` when there is none, or no git.
pub fn commit_of(build: &str) -> Option<String> {
    find(Path::new(env!("FAIRWAY_ROOT")), build)
}

fn find(root: &Path, build: &str) -> Option<String> {
    let max = COMMITS_MAX.to_string();
    let commits = git(root, &["rev-list", "--all", "--date-order", "--max-count", &max])?;
    let mut blobs = Blobs::open(root)?;
    commits
        .lines()
        .find(|commit| {
            let id = build_of(root, commit, &mut blobs);
            id.is_some_and(|id| id.starts_with(build))
        })
        .map(str::to_string)
}

/// The build id of a commit.
fn build_of(root: &Path, commit: &str, blobs: &mut Blobs) -> Option<String> {
    let mut arguments = vec!["ls-tree", "-r", "--full-tree", commit, "--", "Cargo.lock"];
    arguments.extend(recipe::PACKAGES);
    let listing = git(root, &arguments)?;
    // A line is `<mode> blob <object><tab><path>`.
    let entry = |line: &'_ str| {
        let (head, path) = line.split_once('\t')?;
        Some((path.to_string(), head.split_whitespace().nth(2)?.to_string()))
    };
    let objects: BTreeMap<String, String> = listing.lines().filter_map(entry).collect();
    let files = recipe::sources(&recipe::PACKAGES, objects.keys().map(String::as_str));
    files.iter().try_for_each(|path| blobs.fetch(&objects[*path]))?;
    let contents = files.iter().map(|path| (*path, blobs.known[&objects[*path]].as_slice()));
    Some(recipe::build_id(contents, env!("FAIRWAY_COMPILER"), env!("FAIRWAY_FEATURES")))
}

/// Git's objects, each read once.
struct Blobs {
    process: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
    known: BTreeMap<String, Vec<u8>>,
}

impl Blobs {
    fn open(root: &Path) -> Option<Blobs> {
        let mut process = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let answers = BufReader::new(process.stdout.take()?);
        Some(Blobs { process, answers, known: BTreeMap::new() })
    }

    /// Makes an object known. `None` when git does not have it.
    fn fetch(&mut self, object: &str) -> Option<()> {
        if self.known.contains_key(object) {
            return Some(());
        }
        let questions = self.process.stdin.as_mut()?;
        writeln!(questions, "{object}").ok()?;
        questions.flush().ok()?;
        // The answer is `<object> blob <size>`, the bytes, and a line's end.
        let mut head = String::new();
        self.answers.read_line(&mut head).ok()?;
        let size: usize = head.split_whitespace().nth(2)?.parse().ok()?;
        let mut bytes = vec![0; size + 1];
        self.answers.read_exact(&mut bytes).ok()?;
        bytes.truncate(size);
        self.known.insert(object.to_string(), bytes);
        Some(())
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // Without questions it ends by itself.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What git says; `None` when it is missing or fails.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Goal: the commit is found whose sources make the build, whatever came after it.
    /// Method: a repository of three commits, of which the last changes no source.
    #[test]
    fn the_commit_of_a_build_is_found_by_its_sources() {
        let root = std::env::temp_dir().join(format!("fairway-history-{}", std::process::id()));
        fs::create_dir_all(root.join("core/src")).unwrap();
        let git = |arguments: &[&str]| git(&root, arguments).expect("git works");
        let commit = |files: &[(&str, &str)]| {
            for (path, text) in files {
                fs::write(root.join(path), text).unwrap();
            }
            git(&["add", "-A"]);
            let me = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let rest = ["commit", "--quiet", "--no-gpg-sign", "-m", "x"];
            git(&[&me[..], &rest[..]].concat());
            git(&["rev-parse", "HEAD"]).trim().to_string()
        };
        let build = |files: &[(&str, &str)]| {
            let files = files.iter().map(|(path, text)| (*path, text.as_bytes()));
            recipe::build_id(files, env!("FAIRWAY_COMPILER"), env!("FAIRWAY_FEATURES"))
        };
        git(&["init", "--quiet"]);
        let first = [("Cargo.lock", "1"), ("core/Cargo.toml", "2"), ("core/src/lib.rs", "3")];
        let second = [("Cargo.lock", "1"), ("core/Cargo.toml", "2"), ("core/src/lib.rs", "4")];
        let one = commit(&first);
        let _two = commit(&second);
        let three = commit(&[("README.md", "words")]);
        assert_eq!(find(&root, &build(&first)), Some(one));
        assert_eq!(find(&root, &build(&second)[..8]), Some(three), "the newest with these sources");
        assert_eq!(find(&root, &build(&second[..2])), None);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(find(&root, "00"), None);
    }
}
