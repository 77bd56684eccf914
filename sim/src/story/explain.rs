//! The causal story of a failure, in at most ten sentences.
//!
//! The scene, the faults, what the parties did about the same channel and turn shortly before, the broken property, the money. Which
//! lines matter is a score over what the violation names; a reader who wants more opens the page.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::types::TurnNum;
use serde::{Deserialize, Serialize};

use super::{Fate, Lane, Line, LineKind, Names, fates};
use crate::invariant::{Kind, Violation};
use crate::observe::PartyId;

/// The most that a reader is asked to read.
pub const SENTENCES_MAX: usize = 10;

/// Events among them: the others are the scene, the property and the money.
const EVENTS_MAX: usize = SENTENCES_MAX - 3;

/// Faults among the events.
const FAULTS_MAX: usize = 3;

/// Events of one kind at one party that are about none of the turns that the violation names.
const ALIKE_MAX: usize = 2;

/// One sentence, with the line that it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// Position of its line in the recording.
    pub line: Option<usize>,
}

/// The sentences of [`explain_steps`] alone.
pub fn explain(
    scenario_story: &str,
    lines: &[Line],
    violation: &Violation,
    names: &Names,
) -> Vec<String> {
    explain_steps(scenario_story, lines, violation, names).into_iter().map(|s| s.text).collect()
}

/// Why `violation` came about. At most [`SENTENCES_MAX`] sentences, in the order of time.
pub fn explain_steps(
    scenario_story: &str,
    lines: &[Line],
    violation: &Violation,
    names: &Names,
) -> Vec<Sentence> {
    let mut story = Vec::with_capacity(SENTENCES_MAX);
    story.extend(
        crate::scenario::first_sentence(scenario_story).map(|text| Sentence { text, line: None }),
    );
    let several = names.channels.len() > 1 && violation.channel.is_none();
    let fates = fates(lines);
    for (at, times) in chosen(lines, &fates, violation) {
        let line = &lines[at];
        let mut text = format!("At {}, {}", clock(line.at_ns), clause(line, names));
        if fates[at] == Fate::Lost {
            let tx = line.kind == LineKind::Submit;
            text.push_str(if tx { "; it is never mined" } else { "; it never arrives" });
        }
        if times > 1 {
            text.push_str(&format!(" (the last of {times} times)"));
        }
        if let Some(channel) = line.channel.filter(|_| several) {
            text.push_str(&format!(", in {}", names.channel(channel)));
        }
        story.push(Sentence { text: text + ".", line: Some(at) });
    }
    let broke = lines.iter().rposition(|l| l.kind == LineKind::Violation);
    story.push(Sentence { text: broken(violation, names), line: broke });
    story.extend(violation.loss.map(|(who, amount)| {
        let text = format!("{} can lose {amount}.", names.party(who));
        Sentence { text, line: broke }
    }));
    assert!(story.len() <= SENTENCES_MAX, "{} sentences", story.len());
    story
}

/// The lines to tell, in order, with the number of times that the same was told up to there.
fn chosen(lines: &[Line], fates: &[Fate], violation: &Violation) -> Vec<(usize, usize)> {
    let turns = turns_in(&violation.what);
    let concerned = [violation.by, violation.loss.map(|(who, _)| who)];
    // Of what happened again and again the last time counts.
    let mut last = BTreeMap::<(&str, LineKind), (usize, usize)>::new();
    for (at, line) in lines.iter().enumerate() {
        let entry = last.entry((line.text.as_str(), line.kind)).or_default();
        *entry = (at, entry.1 + 1);
    }
    let mut scored: Vec<(u64, usize, usize)> = last
        .into_values()
        .filter(|(at, _)| !told_by_a_fault(lines, *at))
        .filter_map(|(at, times)| {
            let score = score(&lines[at], fates[at], violation, &turns, concerned)?;
            // Nearer to the end is nearer to the cause.
            let recency = (300 * at / lines.len().max(1)) as u64;
            Some((score * 100 + recency, at, times))
        })
        .collect();
    scored.sort_by_key(|(score, at, _)| (std::cmp::Reverse(*score), std::cmp::Reverse(*at)));
    // Seven payments in a row explain less than one payment, a message and a transaction; no fault explains least.
    let mut alike = BTreeMap::<(LineKind, Lane), usize>::new();
    let mut faults = 0;
    scored.retain(|(_, at, _)| {
        let line = &lines[*at];
        if line.kind.is_fault() {
            faults += 1;
            return faults <= FAULTS_MAX;
        }
        let named = line.turn.is_some_and(|t| turns.contains(&t));
        let count = alike.entry((line.kind, line.lane)).or_default();
        *count += 1;
        named || *count <= ALIKE_MAX
    });
    scored.sort_by_key(|(_, at, _)| !lines[*at].kind.is_fault());
    scored.truncate(EVENTS_MAX);
    let mut told: Vec<(usize, usize)> = scored.into_iter().map(|(_, at, n)| (at, n)).collect();
    told.sort_unstable();
    told
}

/// A fault that kills a node is observed twice, as the plan's element and as the death.
fn told_by_a_fault(lines: &[Line], at: usize) -> bool {
    let line = &lines[at];
    let same = |l: &Line| l.kind == LineKind::Fault && l.lane == line.lane && l.at_ns == line.at_ns;
    line.kind == LineKind::Crash && lines[..at].iter().rev().take(2).any(same)
}

/// How much a line has to do with the violation; `None` when it cannot.
fn score(
    line: &Line,
    fate: Fate,
    violation: &Violation,
    turns: &BTreeSet<TurnNum>,
    concerned: [Option<PartyId>; 2],
) -> Option<u64> {
    let base = match line.kind {
        LineKind::Fault | LineKind::Crash | LineKind::Stop | LineKind::Reorg => 8,
        LineKind::Restart => 6,
        LineKind::Reverted | LineKind::Mined => 8,
        LineKind::Sign | LineKind::Submit => 5,
        LineKind::Message if line.to.is_some() => 4,
        LineKind::Objective => 3,
        LineKind::Receive | LineKind::Notice | LineKind::Refusal => 2,
        LineKind::Message => 1,
        LineKind::Log
        | LineKind::Sync
        | LineKind::Ack
        | LineKind::Block
        | LineKind::Phase
        | LineKind::Violation => return None,
    };
    let channel = match (line.channel, violation.channel) {
        (Some(here), Some(there)) if here != there => return None,
        (Some(_), Some(_)) => 4,
        (Some(_), None) | (None, _) => 0,
    };
    let named = line.turn.is_some_and(|t| turns.contains(&t));
    let party = concerned.into_iter().flatten().any(|who| line.touches(who));
    let lost = fate == Fate::Lost;
    Some(base + channel + 5 * u64::from(named) + 2 * u64::from(party) + u64::from(lost))
}

/// The turns that a violation's sentence speaks of.
fn turns_in(what: &str) -> BTreeSet<TurnNum> {
    let words: Vec<&str> =
        what.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let pairs = words.windows(2).filter(|w| w[0].eq_ignore_ascii_case("turn"));
    pairs.filter_map(|w| w[1].parse().ok().and_then(TurnNum::new)).collect()
}

/// A line's text as it continues a sentence: names keep their capital, other words lose it.
fn clause(line: &Line, names: &Names) -> String {
    let is_name = names.parties.iter().any(|p| line.text.starts_with(&p.name));
    let mut chars = line.text.chars();
    match chars.next() {
        Some(first) if !is_name => first.to_lowercase().chain(chars).collect(),
        Some(_) | None => line.text.clone(),
    }
}

fn broken(violation: &Violation, names: &Names) -> String {
    let who = violation.by.map(|id| format!(", by {}", names.party(id))).unwrap_or_default();
    let what = what_broke(violation);
    let what = what.trim_end_matches('.');
    match violation.kind {
        Kind::Safety => format!("This breaks {}{who}: {what}.", violation.invariant),
        Kind::Liveness => format!("{} never comes about{who}: {what}.", violation.invariant),
    }
}

/// What an invariant says of its violation, in words that a reader can follow.
///
/// A sentence that compares what one party gets by two states says nothing when both give it the same, and misleads: they differ in
/// what the others get, or in how it is paid out.
pub fn what_broke(violation: &Violation) -> String {
    let what = &violation.what;
    let gets = compared(what, "it gets ", " instead of ")
        .map(|(said, amount)| format!("{said}it gets {amount} by both, which differ elsewhere"));
    let gives = || {
        let (said, amount) = compared(what, "one gives it ", ", the other ")?;
        Some(format!("{said}both give it {amount}, and they differ elsewhere"))
    };
    gets.or_else(gives).unwrap_or_else(|| what.clone())
}

/// Where a sentence ends with `<first>X<second>X`: what stands before, and X.
fn compared<'a>(sentence: &'a str, first: &str, second: &str) -> Option<(&'a str, &'a str)> {
    let (said, figures) = sentence.trim_end_matches('.').split_once(first)?;
    let (one, other) = figures.split_once(second)?;
    (one == other).then_some((said, one))
}

/// `3.204 s`, `2 min 3.2 s`.
pub(super) fn clock(ns: u64) -> String {
    let ms = ns / 1_000_000;
    let fraction = |ms: u64| format!("{:03}", ms % 1000).trim_end_matches('0').to_owned();
    let seconds = |ms: u64| match fraction(ms) {
        f if f.is_empty() => format!("{} s", ms / 1000),
        f => format!("{}.{f} s", ms / 1000),
    };
    if ms < 120_000 { seconds(ms) } else { format!("{} min {}", ms / 60_000, seconds(ms % 60_000)) }
}

#[cfg(test)]
mod tests {
    use super::super::Recorder;
    use super::super::testkit::*;
    use super::*;

    #[test]
    fn a_forgotten_signature_is_told_from_the_power_loss_to_the_money() {
        let (mut recorder, violation) = (recorded_run(), violation());
        recorder.violated(3_500_000_000, &violation);
        let recording = recorder.finish();
        let story = explain(STORY, &recording.lines, &violation, &recording.names);
        insta::assert_snapshot!(story.join("\n"));
    }

    /// Goal: the limit holds and the end is never cut. Method: a thousand faults, of which all are different.
    #[test]
    fn ten_sentences_are_enough_for_any_run() {
        let mut recorder = Recorder::new(&parties());
        for n in 0..1000u64 {
            let what = format!("alice loses power for the {n}th time");
            recorder.record(n * 1_000_000, &fault(&what));
            let text = format!("Alice signs turn {n}");
            let mut line = Line::new(n * 1_000_000, LineKind::Sign, Lane::Party(PartyId(0)), text);
            line.turn = TurnNum::new(5);
            recorder.push_for_test(line);
        }
        let story = explain(STORY, recorder.lines(), &violation(), recorder.names());
        assert_eq!(story.len(), SENTENCES_MAX);
        assert_eq!(story.iter().filter(|s| s.contains("loses power for")).count(), FAULTS_MAX);
        assert_eq!(story.last().unwrap(), "Bob can lose 3 ETH.");
    }

    #[test]
    fn equal_figures_are_not_compared() {
        let said = |what: &str| what_broke(&Violation { what: what.into(), ..violation() });
        let gets = "alice signed a final state that is not the last supported outcome: it gets";
        assert_eq!(
            said(&format!("{gets} 4 ETH instead of 4 ETH")),
            format!("{gets} 4 ETH by both, which differ elsewhere")
        );
        assert_eq!(
            said("alice signed two states of turn 5: one gives it 0 wei, the other 0 wei"),
            "alice signed two states of turn 5: both give it 0 wei, and they differ elsewhere"
        );
        for different in [
            format!("{gets} 4 ETH instead of 5 ETH"),
            "alice signed two states of turn 5: one gives it 4 ETH, the other 4.5 ETH".into(),
            "alice sent update request 5 before it was durable".into(),
        ] {
            assert_eq!(said(&different), different);
        }
        let equal = Violation { what: format!("{gets} 4 ETH instead of 4 ETH"), ..violation() };
        let story = explain("", &[], &equal, &names()).join(" ");
        assert!(!story.contains("instead of"), "{story}");
    }

    #[test]
    fn what_repeats_is_told_once() {
        let line =
            Line::new(7_000_000, LineKind::Sign, Lane::Party(PartyId(0)), "Alice signs turn 5");
        let lines = vec![line.clone(), line.clone(), line];
        let story = explain("", &lines, &violation(), &names());
        assert_eq!(story[0], "At 0.007 s, Alice signs turn 5 (the last of 3 times).");
    }

    #[test]
    fn other_channels_are_left_out_and_several_are_named() {
        let mut names = names();
        names.learn(&state(0, [5, 5]));
        names.learn_channel(Default::default(), &[]);
        let mut lines: Vec<Line> = ["Alice signs turn 5", "Alice signs turn 6"]
            .map(|text| Line::new(0, LineKind::Sign, Lane::Party(PartyId(0)), text))
            .into();
        lines[0].channel = Some(channel());
        lines[1].channel = Some(Default::default());
        let story = explain("", &lines, &violation(), &names);
        assert_eq!(story[0], "At 0 s, Alice signs turn 5.");
        assert!(!story.iter().any(|s| s.contains("turn 6")));
        let everywhere = Violation { channel: None, ..violation() };
        let story = explain("", &lines, &everywhere, &names);
        assert_eq!(story[0], "At 0 s, Alice signs turn 5, in channel Alice–Bob.");
        assert!(story[1].contains("turn 6"));
    }

    #[test]
    fn times_are_written_as_people_say_them() {
        for (ns, text) in [
            (0, "0 s"),
            (3_204_000_000, "3.204 s"),
            (500_000_000, "0.5 s"),
            (123_200_000_000, "2 min 3.2 s"),
        ] {
            assert_eq!(clock(ns), text);
        }
    }

    #[test]
    fn turns_are_found_in_a_sentence() {
        let turns = |what| turns_in(what).into_iter().map(TurnNum::get).collect::<Vec<_>>();
        assert_eq!(turns("Alice signed turn 5 twice, after turn 7"), [5, 7]);
        assert!(turns("no return 5; it is her turn").is_empty());
    }
}
