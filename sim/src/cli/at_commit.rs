//! `replay --at-commit`: a run of another build, repeated by the sources that it came from.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, Stop};

/// Where the sources of other builds are checked out, from the root of the repository.
const FOLDER: &str = "target/fairway/at";

/// Checks the commit out, builds it and calls it with the arguments of this program. Ends with its exit code.
pub fn repeat(commit: &str, what: &str) -> Outcome {
    let folder = checkout(commit)?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&folder).args(["run", "--release", "-p", "fairway-sim"]);
    // A build with other features has another id.
    cargo.args(cfg!(feature = "evm").then_some("--features=evm")).arg("--");
    cargo.args(arguments(what, std::env::args().skip(1)));
    call(&mut cargo)
}

/// The program of a commit, built in release; the second time it is there already.
///
/// # Errors
/// No such commit, or it does not build: said by git or cargo on the way.
pub fn program(commit: &str) -> Result<PathBuf, Stop> {
    let folder = checkout(commit)?;
    let target = folder.join("target");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&folder).env("CARGO_TARGET_DIR", &target);
    call(cargo.args(["build", "--release", "-p", "fairway-sim"]))?;
    Ok(target.join("release").join("fairway-sim"))
}

/// The folder with the sources of a commit. It is named after what the commit is now: `HEAD~3` is another one tomorrow.
fn checkout(commit: &str) -> Result<PathBuf, Stop> {
    let root = Path::new(env!("FAIRWAY_ROOT"));
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
    let found = git.arg(format!("{commit}^{{commit}}")).output();
    let found = found.map_err(|e| Stop::usage(format!("git: {e}")))?;
    if !found.status.success() {
        let what = format!("expected a commit of {}, found `{commit}`", root.display());
        return Err(Stop::usage(what));
    }
    let commit = String::from_utf8_lossy(&found.stdout).trim().to_string();
    let folder = root.join(FOLDER).join(commit.get(..12).unwrap_or(&commit));
    if !folder.is_dir() {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(["worktree", "add", "--detach"]).arg(&folder).arg(&commit);
        call(&mut git)?;
    }
    Ok(folder)
}

/// The same question without this option; a file is found from another folder by its whole path.
fn arguments(what: &str, given: impl Iterator<Item = String>) -> Vec<String> {
    let whole = |path: &str| std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    given
        .filter(|argument| argument != "--at-commit")
        .map(|a| if a == what { whole(&a).display().to_string() } else { a })
        .collect()
}

/// Says what it runs, and runs it.
fn call(command: &mut Command) -> Outcome {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    eprintln!("$ {}", words.join(" "));
    let status = command.status().map_err(|e| Stop::usage(format!("{}: {e}", words[0])))?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Stop::code(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(7))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_build_is_asked_the_same() {
        let given = ["replay", "a#1@x-y/reference", "--at-commit", "--trace"].map(str::to_string);
        let asked = arguments("a#1@x-y/reference", given.into_iter());
        assert_eq!(asked, ["replay", "a#1@x-y/reference", "--trace"]);
        let here = std::env::current_dir().unwrap();
        let asked =
            arguments("Cargo.toml", ["replay", "Cargo.toml"].map(str::to_string).into_iter());
        assert_eq!(asked[1], here.join("Cargo.toml").display().to_string());
    }

    #[test]
    fn what_is_no_commit_is_refused_before_anything_is_built() {
        let refused = program("no-such-commit").map(drop).expect_err("there is none");
        assert_eq!(refused.code, 2);
        assert!(refused.line.is_some_and(|line| line.contains("found `no-such-commit`")));
    }
}
