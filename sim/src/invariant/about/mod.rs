//! What the book says of each invariant beside its name, numbers and statement: the rule, what it rests on, what breaks with it.
//!
//! One entry for each of [`all`](super::all). The pages are rendered from here by [`pages`](super::pages); tests keep what is named true.

mod chain;
mod disputes;
mod log;
mod peers;
mod signing;

/// What there is to say of an invariant that its code does not say.
#[derive(Debug)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// The file below `sim/src/invariant` that checks it.
    pub file: &'static str,
    /// The type in there.
    pub checker: &'static str,
    /// The rule, precisely.
    pub rule: &'static str,
    /// What is taken for granted, and who is excused.
    pub assumes: &'static str,
    /// At which observations of a run it is judged.
    pub judged: &'static str,
    /// What money can be lost when it breaks.
    pub loss: &'static str,
    /// Tests in which it fires, `file::name`: each shows it a bad trace.
    pub fires: &'static [&'static str],
    /// Invariants that say something near it.
    pub related: &'static [&'static str],
    /// Why it stands here although no planted bug is seen by it first; empty where one is.
    pub need: &'static str,
}

/// A chapter of the list.
#[derive(Debug)]
pub struct Group {
    /// Its heading.
    pub title: &'static str,
    /// In the order of the list.
    pub members: &'static [About],
}

/// All groups.
pub const GROUPS: &[Group] = &[
    Group { title: "What a key signs", members: signing::MEMBERS },
    Group { title: "Money and the chain", members: chain::MEMBERS },
    Group { title: "Disputes, and what they must bring", members: disputes::MEMBERS },
    Group { title: "The log", members: log::MEMBERS },
    Group { title: "Peers, messages and progress", members: peers::MEMBERS },
];

/// What there is to say of this one.
pub fn about(name: &str) -> Option<&'static About> {
    GROUPS.iter().flat_map(|group| group.members).find(|about| about.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn source(file: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/invariant");
        std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    #[test]
    fn every_invariant_is_told_of_once() {
        let told: Vec<&str> =
            GROUPS.iter().flat_map(|g| g.members).map(|about| about.name).collect();
        let once: BTreeSet<&str> = told.iter().copied().collect();
        assert_eq!(told.len(), once.len(), "an invariant stands twice");
        assert_eq!(once, super::super::names().iter().copied().collect());
    }

    #[test]
    fn what_is_named_exists() {
        for about in GROUPS.iter().flat_map(|g| g.members) {
            let checks = format!("impl Invariant for {} ", about.checker);
            assert!(source(about.file).contains(&checks), "{}: {}", about.name, about.file);
            assert!(!about.fires.is_empty(), "{} fires in no test", about.name);
            for test in about.fires {
                let (file, test) = test.split_once("::").expect("file::test");
                let test = format!("fn {test}()");
                assert!(source(file).contains(&test), "{}: {test} in {file}", about.name);
            }
            for other in about.related {
                assert!(super::about(other).is_some(), "{}: {other}", about.name);
            }
        }
    }
}
