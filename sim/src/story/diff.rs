//! Two recordings side by side: where they part, and what became of it.

use serde::{Deserialize, Serialize};

use super::Line;

/// The first line of a recording that was written to a file: whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceHead {
    /// [`TRACE_SCHEMA`].
    pub fairway_trace: u32,
    /// The run.
    pub run: String,
    /// The engine that executed it.
    pub engine: String,
    /// The build that did.
    pub build: String,
    /// Its digest, which covers more than the lines.
    pub digest: String,
}

/// The version of recordings in files.
pub const TRACE_SCHEMA: u32 = 1;

/// Whether the moment of an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Two events at different moments differ.
    Count,
    /// Only what happens and in what order.
    Ignored,
}

/// Where two recordings part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// How many lines are the same before it: the index of the first that differs.
    pub at: usize,
    /// Where the first recording's event stands in the second one, if it comes later.
    pub later_in_second: Option<usize>,
    /// Where the second recording's event stands in the first one, if it comes later.
    pub later_in_first: Option<usize>,
}

/// The first line in which two recordings differ; `None` when they are the same to their ends.
pub fn parting(first: &[Line], second: &[Line], times: Times) -> Option<Parting> {
    let same = first.iter().zip(second).take_while(|(a, b)| is_same(a, b, times)).count();
    if same == first.len() && same == second.len() {
        return None;
    }
    // Later it comes at another moment, so the time cannot count.
    let later = |line: Option<&Line>, others: &[Line]| {
        let found = others.iter().skip(same).position(|o| line.is_some_and(|l| is_like(l, o)));
        found.map(|at| at + same)
    };
    Some(Parting {
        at: same,
        later_in_second: later(first.get(same), second),
        later_in_first: later(second.get(same), first),
    })
}

fn is_same(a: &Line, b: &Line, times: Times) -> bool {
    (times == Times::Ignored || a.at_ns == b.at_ns) && is_like(a, b)
}

fn is_like(a: &Line, b: &Line) -> bool {
    let of = |l: &Line| (l.kind, l.lane, l.to, l.channel, l.turn, l.amount);
    of(a) == of(b) && a.text == b.text
}

#[cfg(test)]
mod tests {
    use super::super::{Lane, LineKind};
    use super::*;

    fn lines(texts: &[(u64, &str)]) -> Vec<Line> {
        let line = |(at, text): &(u64, &str)| Line::new(*at, LineKind::Phase, Lane::World, *text);
        texts.iter().map(line).collect()
    }

    #[test]
    fn recordings_part_at_the_first_event_that_differs() {
        let first = lines(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
        let at = |texts: &[(u64, &str)], times| parting(&first, &lines(texts), times);
        assert_eq!(parting(&first, &first, Times::Count), None);
        let swapped = [(1, "a"), (2, "c"), (3, "b"), (4, "d")];
        let expected = Parting { at: 1, later_in_second: Some(2), later_in_first: Some(2) };
        assert_eq!(at(&swapped, Times::Count), Some(expected));
        let missing = [(1, "a"), (2, "b"), (4, "d")];
        let expected = Parting { at: 2, later_in_second: None, later_in_first: Some(3) };
        assert_eq!(at(&missing, Times::Count), Some(expected));
        let shorter = [(1, "a"), (2, "b")];
        let expected = Parting { at: 2, later_in_second: None, later_in_first: None };
        assert_eq!(at(&shorter, Times::Count), Some(expected));
    }

    #[test]
    fn a_moment_counts_unless_it_is_ignored() {
        let first = lines(&[(1, "a"), (2, "b")]);
        let late = lines(&[(1, "a"), (3, "b")]);
        assert_eq!(parting(&first, &late, Times::Count).map(|p| p.at), Some(1));
        assert_eq!(parting(&first, &late, Times::Ignored), None);
    }
}
