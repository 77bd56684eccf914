//! Two logs side by side: the first event in which they differ, and what became of it.

use fairway_core::types::Lsn;
use serde::Serialize;

use super::{EventsError, Line, Source, decode, lines, open_log};
use crate::checkpoint::Hex;

/// Whether the moment of an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Two events at different moments differ.
    Count,
    /// Only what happened and in what order.
    Ignored,
}

/// Two logs, compared.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The first log.
    pub first: End,
    /// The second.
    pub second: End,
    /// Where they part; `None` where every event is the same.
    pub parting: Option<Parting>,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its last event.
    pub lsn: Lsn,
    /// Its chain hash.
    pub head: Hex<32>,
}

/// Where two logs part.
#[derive(Debug, Serialize)]
pub struct Parting {
    /// The first event that is not the same.
    pub at: Lsn,
    /// The last events that are the same.
    pub before: Vec<Line>,
    /// What the first log has from there on; empty where it ends.
    pub first: Vec<Line>,
    /// What the second one has.
    pub second: Vec<Line>,
    /// Where the first log's event stands in the second one, if it comes later there.
    pub later_in_second: Option<Lsn>,
    /// Where the second log's event stands in the first one, if it comes later there.
    pub later_in_first: Option<Lsn>,
}

impl Compared {
    /// Whether they are the same: every event, and where times count also every batch.
    pub fn is_same(&self, times: Times) -> bool {
        self.parting.is_none() && (times == Times::Ignored || self.first.head == self.second.head)
    }
}

/// Compares two logs; of what surrounds the first difference, `context` events on each side.
///
/// # Errors
/// [`EventsError`], of either.
pub fn diff(
    first: &Source,
    second: &Source,
    times: Times,
    context: usize,
) -> Result<Compared, EventsError> {
    let ((first_end, first), (second_end, second)) = (read(first)?, read(second)?);
    let parting = part(first, second, times, context);
    Ok(Compared { first: first_end, second: second_end, parting })
}

fn read(source: &Source) -> Result<(End, Vec<Line>), EventsError> {
    let files = source.read()?;
    let opened = open_log(source.path(), &files)?;
    let end = End { lsn: opened.tail.end(), head: Hex(opened.tail.head().0) };
    Ok((end, lines(decode(source.path(), &opened)?)))
}

fn part(
    mut first: Vec<Line>,
    mut second: Vec<Line>,
    times: Times,
    context: usize,
) -> Option<Parting> {
    let same = first.iter().zip(&second).take_while(|(a, b)| is_same(a, b, times)).count();
    if same == first.len() && same == second.len() {
        return None;
    }
    let later = |line: Option<&Line>, others: &[Line]| {
        // It comes at another moment there.
        let is_like = |other: &&Line| line.is_some_and(|l| is_same(l, other, Times::Ignored));
        others.get(same..).unwrap_or_default().iter().find(is_like).map(|found| found.lsn)
    };
    let later_in_second = later(first.get(same), &second);
    let later_in_first = later(second.get(same), &first);
    let cut = |lines: &mut Vec<Line>| {
        lines.drain(..same.saturating_sub(context).min(lines.len()));
        let rest = lines.split_off(lines.len().min(same.min(context)));
        rest.into_iter().take(context.saturating_add(1)).collect::<Vec<Line>>()
    };
    let (of_first, of_second) = (cut(&mut first), cut(&mut second));
    Some(Parting {
        at: Lsn(same as u64).advance(1),
        before: first,
        first: of_first,
        second: of_second,
        later_in_second,
        later_in_first,
    })
}

fn is_same(a: &Line, b: &Line, times: Times) -> bool {
    (times == Times::Ignored || a.time_ms == b.time_ms) && a.event == b.event
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::event::Event;
    use fairway_core::types::ChannelId;

    /// Events that are told apart by one byte, at these moments.
    fn log(of: &[(u64, u8)]) -> Vec<Line> {
        let line = |(lsn, (time_ms, byte)): (u64, &(u64, u8))| {
            let channel = ChannelId([*byte; 32].into());
            Line { lsn: Lsn(lsn), time_ms: *time_ms, event: Event::ChannelWitnessed { channel } }
        };
        (1..).zip(of).map(line).collect()
    }

    fn lsns(lines: &[Line]) -> Vec<u64> {
        lines.iter().map(|line| line.lsn.0).collect()
    }

    #[test]
    fn logs_part_at_the_first_event_that_differs() {
        let one = [(1, b'a'), (2, b'b'), (3, b'c'), (4, b'd')];
        assert!(part(log(&one), log(&one), Times::Count, 2).is_none());
        for (name, other, at, later_in_second, later_in_first) in [
            ("swapped", &[(1, b'a'), (2, b'c'), (3, b'b'), (4, b'd')][..], 2, Some(3), Some(3)),
            ("missing", &[(1, b'a'), (2, b'b'), (4, b'd')], 3, None, Some(4)),
            ("shorter", &[(1, b'a'), (2, b'b')], 3, None, None),
            ("at once", &[(1, b'x')], 1, None, None),
            ("nothing", &[], 1, None, None),
        ] {
            let found = part(log(&one), log(other), Times::Count, 2).unwrap();
            let places = (found.at.0, found.later_in_second, found.later_in_first);
            assert_eq!(places, (at, later_in_second.map(Lsn), later_in_first.map(Lsn)), "{name}");
            let before: Vec<u64> = (at.saturating_sub(2).max(1)..at).collect();
            assert_eq!(lsns(&found.before), before, "{name}");
            let first: Vec<u64> = (at..=4).take(3).collect();
            assert_eq!(lsns(&found.first), first, "{name}");
            let second: Vec<u64> = (at..=other.len() as u64).take(3).collect();
            assert_eq!(lsns(&found.second), second, "{name}");
        }
    }

    #[test]
    fn a_moment_counts_unless_it_is_ignored() {
        let (one, late) = (log(&[(1, b'a'), (2, b'b')]), log(&[(1, b'a'), (3, b'b')]));
        let (again, later) = (log(&[(1, b'a'), (2, b'b')]), log(&[(1, b'a'), (3, b'b')]));
        assert_eq!(part(one, late, Times::Count, 9).unwrap().at, Lsn(2));
        assert!(part(again, later, Times::Ignored, 9).is_none());
    }
}
