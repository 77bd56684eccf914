//! A story that rests on another one: it says what is different, and nothing twice.
//!
//! From its base a story takes what happens: topology, swarm, operations, faults and phases. What it writes itself goes first:
//! tables are merged key by key, lists are replaced. What the head of a file says (engines, verdict, goals) is never taken.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Problem, Tree, respan};
use super::library;
use super::names::unknown;

impl<'a> Tree<'a> {
    /// Replaces the key `base`, where there is one, by what the story of that name has.
    ///
    /// What comes from there stands, for problems, where `base` is written.
    pub(super) fn rest_on_base(&mut self) -> Result<(), Problem> {
        let DeValue::Table(root) = self.root.get_mut() else { return Ok(()) };
        let Some(name) = root.remove(KEY) else { return Ok(()) };
        let span = name.span();
        match world_of(name.get_ref(), BASES_MAX) {
            Ok(world) => {
                merge(root, world, &span);
                Ok(())
            }
            Err(what) => Err(self.problem(KEY.to_string(), Some(span.start), what)),
        }
    }
}

const KEY: &str = "base";

/// What a story can take from its base.
const WORLD: [&str; 5] = ["topology", "swarm", "op", "fault", "phases"];

/// How long a chain of bases may be: more is a circle, or a story that nobody can follow.
const BASES_MAX: u8 = 3;

/// What happens in a built-in scenario, with what it takes from its own base.
fn world_of(name: &DeValue<'_>, bases_left: u8) -> Result<DeTable<'static>, String> {
    let DeValue::String(name) = name else {
        return Err("expected the name of a built-in scenario, found something else".to_string());
    };
    let Some(text) = library::text_of(name) else {
        let known: Vec<&str> = library::Library::new().names().collect();
        return Err(unknown("a built-in scenario", name, &known));
    };
    if bases_left == 0 {
        return Err(format!("expected at most {BASES_MAX} bases in a row, found more at `{name}`"));
    }
    let table = DeTable::parse(text).map_err(|e| format!("expected TOML in {name}, found {e}"))?;
    let mut own = table.into_inner();
    let base = own.remove(KEY);
    let mut own = world(own);
    if let Some(base) = base {
        merge(&mut own, world_of(base.get_ref(), bases_left - 1)?, &base.span());
    }
    Ok(own)
}

fn world(mut table: DeTable<'_>) -> DeTable<'_> {
    WORLD.into_iter().filter_map(|key| table.remove_entry(key)).collect()
}

/// Puts into `own` what it has not.
fn merge<'a>(own: &mut DeTable<'a>, base: DeTable<'a>, span: &Range<usize>) {
    for (key, value) in base {
        let key: Cow<'a, str> = key.into_inner();
        match (own.get_mut(key.as_ref()).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(own)), DeValue::Table(base)) => merge(own, base, span),
            (Some(_), _) => {}
            (None, value) => {
                own.insert(Spanned::new(span.clone(), key), respan(value, span));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expect, Library, Scenario};
    use super::*;

    fn story(rest: &str) -> Result<Scenario, super::super::Problems> {
        let head = "# Alice pays Bob, and something is different. Nobody loses anything by it.\nschema = 1\nengines = [\"reference\"]\n";
        Scenario::parse("smoke/other", "other.toml", &format!("{head}{rest}"), &[])
    }

    #[test]
    fn a_story_has_the_world_of_its_base_and_a_head_of_its_own() {
        let base = Library::new().load("smoke/deep_reorg", &[]).unwrap().remove(0);
        let same = story("base = \"smoke/deep_reorg\"").unwrap();
        assert_eq!(same.phases(), base.phases());
        assert!(same.fault_kinds().eq(base.fault_kinds()));
        assert!(!base.goals().is_empty() && same.goals().is_empty());
        assert_eq!(*same.expect(), Expect::Pass);
        // Nothing tells it from one that was written out.
        let mut tree = Tree::parse("x", "base = \"smoke/deep_reorg\"").unwrap();
        tree.rest_on_base().unwrap();
        let mut written = Tree::parse("y", library::text_of("smoke/deep_reorg").unwrap()).unwrap();
        let span = written.root.span();
        let DeValue::Table(table) = written.root.into_inner() else { unreachable!("a file") };
        written.root = Spanned::new(span, DeValue::Table(world(table)));
        assert_eq!(tree.canonical(), written.canonical());
    }

    #[test]
    fn what_a_story_writes_goes_before_its_base() {
        let settle = story("base = \"smoke/plain\"\nphases.settle = \"999s\"").unwrap().phases();
        let base = Library::new().load("smoke/plain", &[]).unwrap().remove(0).phases();
        assert_eq!(settle.settle.to_string(), "999s");
        assert_eq!(settle.chaos, base.chaos);
        let calm = story("base = \"smoke/deep_reorg\"\nfault = []").unwrap();
        assert_eq!(calm.fault_kinds().count(), 0);
        // A base may rest on another.
        let two = story("base = \"attack/stale_challenge_under_wrong_clocks\"").unwrap();
        let one = Library::new().load("attack/stale_challenge", &[]).unwrap().remove(0).phases();
        assert_eq!(two.phases(), one);
    }

    #[test]
    fn a_base_that_is_none_is_refused_where_it_stands() {
        for (base, expected) in [
            ("\"smoke/plian\"", "did you mean `smoke/plain`?"),
            ("7", "expected the name of a built-in scenario, found something else"),
        ] {
            let error = story(&format!("base = {base}")).unwrap_err().to_string();
            assert!(error.starts_with("other.toml:4: base: expected"), "{error}");
            assert!(error.ends_with(expected), "{error}");
        }
        let broken = story("base = \"smoke/plain\"\ntopology.parties = [\"alice\"]").unwrap_err();
        assert!(broken.to_string().contains("other.toml:4: "), "{broken}");
    }
}
