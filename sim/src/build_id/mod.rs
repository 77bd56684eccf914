//! Which build this is: the part of a seed id that says whether a run can be repeated exactly.
//!
//! Two builds with the same id give the same trace for the same seed. The git commit is no part of it; it is
//! printed so that a person can find the sources again.

mod history;
mod recipe;

pub use history::commit_of;

/// 64 hexadecimal digits: BLAKE3 of Cargo.lock, the sources of core, transport and simulator, the compiler
/// and the features.
pub const BUILD_ID: &str = env!("FAIRWAY_BUILD_ID");

/// 64 hexadecimal digits: BLAKE3 of the sources of core alone.
pub const CORE_ID: &str = env!("FAIRWAY_CORE_ID");

/// The first eight digits of [`BUILD_ID`], as seed ids carry them.
pub fn short() -> &'static str {
    &BUILD_ID[..8]
}

/// The git commit that is checked out where this was built; `None` when git or the repository is missing.
///
/// Asked at run time: a build that changes with every commit would be made anew after every commit.
pub fn commit() -> Option<&'static str> {
    static COMMIT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let ask = || {
        let mut git = std::process::Command::new("git");
        let output = git.args(["-C", env!("FAIRWAY_ROOT"), "rev-parse", "HEAD"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string())
    };
    COMMIT.get_or_init(ask).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal() {
        for id in [BUILD_ID, CORE_ID] {
            assert_eq!(id.len(), 64, "{id}");
            assert!(id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        }
        assert_ne!(BUILD_ID, CORE_ID);
        assert!(commit().is_none_or(|commit| commit.len() >= 40));
    }
}
