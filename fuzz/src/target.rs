//! The targets: a name, a body, and the inputs that the repository keeps for it.

/// What can be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its body, of its shim and of its folder of the corpus.
    pub name: &'static str,
    /// Whether it is about our code.
    pub kind: Kind,
    /// It panics where a property does not hold.
    pub body: fn(&[u8]),
}

/// What a target is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The node: nothing may be found.
    Real,
    /// A failure planted in a body of its own: it must be found. It is not listed for people.
    Planted,
}

/// Every target.
pub const TARGETS: [Target; 3] = [
    Target { name: "log_open", kind: Kind::Real, body: crate::log_open::log_open },
    Target { name: "wire_decode", kind: Kind::Real, body: crate::wire_decode::wire_decode },
    Target { name: "planted", kind: Kind::Planted, body: planted },
];

/// Every shim's name and the inputs that are kept for it, as they were when this was built.
static CORPUS: &[(&str, &[&[u8]])] = include!(concat!(env!("OUT_DIR"), "/corpus.rs"));

impl Target {
    /// The target of that name.
    pub fn find(name: &str) -> Option<Target> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// The inputs that are kept for it, by their files' names.
    pub fn corpus(&self) -> &'static [&'static [u8]] {
        let found = CORPUS.iter().find(|(name, _)| *name == self.name);
        found.map_or(&[], |(_, inputs)| inputs)
    }
}

/// Shows that what fails is found, counted, kept and repeated; about one input in 256 fails.
fn planted(data: &[u8]) {
    assert!(data.first() != Some(&42), "planted: the input begins with 42");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_shim_is_a_target_with_a_corpus() {
        let real = TARGETS.iter().filter(|target| target.kind == Kind::Real);
        let real: BTreeSet<&str> = real.map(|target| target.name).collect();
        let shims: BTreeSet<&str> = CORPUS.iter().map(|(name, _)| *name).collect();
        assert_eq!(real, shims);
        for name in real {
            assert!(!Target::find(name).expect("it is listed").corpus().is_empty(), "{name}");
        }
        assert!(Target::find("planted").expect("it is listed").corpus().is_empty());
        assert!(Target::find("nothing").is_none());
    }
}
