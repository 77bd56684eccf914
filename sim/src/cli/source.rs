//! The run that a command was asked about: by seed id, by bundle, by file of the corpus.

use std::path::Path;

use super::{Stop, check_backend, check_ignored, check_mutant, failure, load};
use crate::build_id::commit_of;
use crate::bundle::{BUNDLE_SCHEMA, Bundle};
use crate::campaign::How;
use crate::chance::Tape;
use crate::engine::Verdict;
use crate::scenario::Scenario;
use crate::seed_id::SeedId;

/// A run to repeat, and the scenario that it came from.
pub struct Source {
    /// The run; with an empty digest when only its seed id was given.
    pub bundle: Bundle,
    /// Its scenario.
    pub scenario: Scenario,
    /// Whether a verdict and a digest are known that must come out again.
    pub recorded: bool,
}

/// Runs of which builds are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builds {
    /// Of this one: the same seed means the same run. Kept bugs are taken whatever their build.
    This,
    /// Of any: the seed may mean another run here.
    Any,
}

/// Finds the run that `what` names.
///
/// # Errors
/// One line and exit code 2 for what names no run, or one of a scenario that has changed; code 8 for a run of another build.
pub fn find(what: &str, ignore: &[String], builds: Builds) -> Result<Source, Stop> {
    let mut source = if Path::new(what).is_file() {
        from_bundle(what, builds)?
    } else {
        from_seed_id(what, builds)?
    };
    check_ignored(ignore)?;
    check_backend(what, source.bundle.plan.chain.backend, source.bundle.crypto())?;
    if let Some(id) = &source.bundle.plan.mutant {
        check_mutant(&format!("{what}: mutant"), id)?;
    }
    source.bundle.ignore.extend(ignore.iter().cloned());
    Ok(source)
}

fn from_bundle(file: &str, builds: Builds) -> Result<Source, Stop> {
    let bundle = Bundle::read(file).map_err(|e| Stop::usage(e.to_string()))?;
    if !bundle.is_of_this_build() && builds == Builds::This && !in_corpus(file) {
        return Err(stale(&bundle.build, bundle.commit, file));
    }
    let scenario = scenario_of(&bundle.seed_id)?;
    Ok(Source { bundle, scenario, recorded: true })
}

fn from_seed_id(word: &str, builds: Builds) -> Result<Source, Stop> {
    let id: SeedId = word.parse().map_err(|e| Stop::usage(format!("{word}: {e}")))?;
    let build = id.build.to_string();
    if !crate::build_id::BUILD_ID.starts_with(&build) && builds == Builds::This {
        return Err(stale(&build, None, word));
    }
    let scenario = scenario_of(&id)?;
    if scenario.digest_short() != id.scenario_digest {
        return Err(Stop::usage(format!(
            "{word}: expected a run of scenario digest {}, which {} has here, found {}: the scenario has changed",
            scenario.digest_short(),
            id.scenario,
            id.scenario_digest
        )));
    }
    let bundle = bundle_of(&id, &scenario);
    Ok(Source { bundle, scenario, recorded: false })
}

fn bundle_of(id: &SeedId, scenario: &Scenario) -> Bundle {
    let how = How {
        engine: id.engine,
        crypto: id.crypto,
        mutant: id.mutant.clone(),
        ignore: Vec::new(),
        settings: id.settings.clone().into_iter().collect(),
        search_permille: crate::campaign::SEARCH_PERMILLE,
    };
    let (plan, _) = how.plan(scenario, id.seed, &Tape::default());
    Bundle {
        schema: BUNDLE_SCHEMA,
        seed_id: id.clone(),
        story: Vec::new(),
        plan,
        ignore: Vec::new(),
        tape: Tape::default(),
        crash: None,
        verdict: Verdict::Pass,
        digest: String::new(),
        build: crate::build_id::BUILD_ID.into(),
        commit: None,
        fixed: false,
    }
}

fn scenario_of(id: &SeedId) -> Result<Scenario, Stop> {
    let settings: Vec<_> = id.settings.clone().into_iter().collect();
    load(&id.scenario, &settings)?
        .into_iter()
        .next()
        .ok_or_else(|| Stop::usage(format!("no scenario {}", id.scenario)))
}

/// Kept bugs are repeated on any build.
fn in_corpus(file: &str) -> bool {
    Path::new(file).components().any(|c| c.as_os_str() == "corpus")
}

/// The build that a run came from, and its commit where that can be told.
pub fn origin(what: &str) -> Result<(String, Option<String>), Stop> {
    if Path::new(what).is_file() {
        let bundle = Bundle::read(what).map_err(|e| Stop::usage(e.to_string()))?;
        let commit = commit_of(&bundle.build).or(bundle.commit);
        return Ok((bundle.build, commit));
    }
    let id: SeedId = what.parse().map_err(|e| Stop::usage(format!("{what}: {e}")))?;
    let build = id.build.to_string();
    let commit = commit_of(&build);
    Ok((build, commit))
}

/// One line that says why, and the lines to paste.
fn stale(build: &str, commit: Option<String>, what: &str) -> Stop {
    let (build, here) = (build.get(..8).unwrap_or(build), crate::build_id::short());
    eprintln!("error: {what}: expected a run of this build, {here}, found one of build {build}");
    // What was checked out when it was made may have had changes that were not committed.
    match commit_of(build).or(commit) {
        Some(commit) => {
            let folder = format!("../fairway-{}", commit.get(..12).unwrap_or(&commit));
            let there = std::fs::canonicalize(what).map(|p| p.display().to_string());
            let there = there.unwrap_or_else(|_| what.to_string());
            eprintln!(
                "  it was made from commit {commit}; to repeat it there, add --at-commit, or:"
            );
            eprintln!("    git worktree add --detach {folder} {commit}");
            eprintln!("    cd {folder} && {}", failure::replay_line(&there));
        }
        None => eprintln!(
            "  no commit that git knows here makes that build with this compiler: ask who sent it"
        ),
    }
    eprintln!("  to repeat it on this build, where the seed may mean another run: add --any-build");
    Stop::code(8)
}
