//! One page about one run: a file that needs nothing else and opens from anywhere.
//!
//! The page is a template with the run as embedded JSON; what can be hostile (names, refusals, garbage's descriptions) reaches it
//! only through escaping or as text nodes.

use std::collections::BTreeMap;

use fairway_core::types::{Amount, ChannelId};
use serde_json::{Value, json};

use super::{
    ChainState, ChannelOnChain, ChannelState, Fate, Lane, LineKind, PartyState, Recording,
    Sentence, StateAt, Up, VirtualState, fates,
};

/// What a page tells.
#[derive(Clone, Debug)]
pub struct HtmlRun<'a> {
    /// The scenario's name.
    pub title: &'a str,
    /// How it ended.
    pub verdict: Verdict,
    /// The scenario's story: who, what goes wrong, what must hold.
    pub story: &'a str,
    /// The command that shows this run again.
    pub replay: &'a str,
    /// Engine, seed, build, crypto and whatever else identifies the run: name and value.
    pub facts: &'a [(&'a str, String)],
    /// The causal story, empty for a run that passed.
    pub explanation: &'a [Sentence],
    /// What happened.
    pub recording: &'a Recording,
}

/// How a run ended, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Passed(String),
    /// Something did not.
    Failed(String),
}

/// Most lines that a page shows: a run that never rests has millions, what matters of it is how that begins, and a browser must open it.
const LINES_MAX: usize = 50_000;

/// The page. Of a run with more than fifty thousand lines it shows the first, and says so.
///
/// # Panics
/// When the template is broken, which a test would show.
pub fn html(run: &HtmlRun<'_>) -> String {
    let mut environment = minijinja::Environment::new();
    environment
        .add_template("run.html", include_str!("run.html.j2"))
        .expect("the template is part of the program");
    let (passed, sentence) = match &run.verdict {
        Verdict::Passed(sentence) => (true, sentence),
        Verdict::Failed(sentence) => (false, sentence),
    };
    let paragraphs: Vec<String> = run
        .story
        .split("\n\n")
        .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|p| !p.is_empty())
        .collect();
    let facts: Vec<_> = run
        .facts
        .iter()
        .map(|(name, value)| minijinja::context! { name => *name, value => value.as_str() })
        .collect();
    // The scene stands above the explanation already.
    let shown = |line: &usize| *line < LINES_MAX;
    let explanation: Vec<_> = run
        .explanation
        .iter()
        .filter(|s| s.line.is_some() || paragraphs.is_empty())
        .map(|s| minijinja::context! { text => s.text.as_str(), line => s.line.filter(shown) })
        .collect();
    let template = environment.get_template("run.html").expect("it was just added");
    let page = template.render(minijinja::context! {
        title => run.title,
        passed,
        sentence,
        story => paragraphs,
        replay => run.replay,
        facts,
        explanation,
        cut => (run.recording.lines.len() > LINES_MAX).then_some(run.recording.lines.len()),
        shown => LINES_MAX,
        data => embedded(&data(run)),
    });
    page.expect("the template renders plain data")
}

/// JSON that can stand inside a script element: nothing in it ends the element or opens a comment.
fn embedded(value: &Value) -> String {
    let text = value.to_string();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The run for the page's script. Short keys: a page of five thousand steps should stay small.
fn data(run: &HtmlRun<'_>) -> Value {
    let recording = run.recording;
    let names = &recording.names;
    let order: Order = names.channels.keys().enumerate().map(|(i, c)| (*c, i)).collect();
    let parties: Vec<Value> =
        names.parties.iter().map(|p| json!({ "name": p.name, "honest": p.honest })).collect();
    let channels: Vec<Value> = names
        .channels
        .iter()
        .map(|(id, participants)| {
            let who: Vec<String> = participants.iter().map(|p| names.of(*p)).collect();
            json!({ "name": names.channel(*id), "id": id.to_string(), "who": who })
        })
        .collect();
    let lane = |lane: Lane| match lane {
        Lane::Party(id) => json!(id.0),
        Lane::Chain => json!(names.parties.len()),
        Lane::World => Value::Null,
    };
    let lines: Vec<Value> = recording
        .lines
        .iter()
        .zip(fates(&recording.lines))
        .take(LINES_MAX)
        .map(|(l, fate)| {
            json!({
                "t": l.at_ns, "k": l.kind.name(), "a": lane(l.lane), "b": l.to.map(lane),
                "s": l.sent_in, "n": l.arrived, "lost": u8::from(fate == Fate::Lost), "x": l.text,
                "c": l.channel.and_then(|c| order.get(&c)),
            })
        })
        .collect();
    let mut pool = Pool::default();
    let snapshots: Vec<Value> = recording
        .snapshots
        .iter()
        .filter(|s| s.after <= LINES_MAX)
        .map(|s| match &s.of {
            StateAt::Party(who, state) => {
                json!({ "after": s.after, "p": who.0, "v": party(state, &order, &mut pool) })
            }
            StateAt::Chain(state) => {
                json!({ "after": s.after, "p": Value::Null, "v": chain(state, &order, &mut pool) })
            }
        })
        .collect();
    json!({
        "parties": parties, "channels": channels, "groups": groups(),
        "lines": lines, "snapshots": snapshots, "states": pool.values,
        "fail": recording.failing_step().filter(|line| *line < LINES_MAX),
    })
}

/// States of channels, each kept once: most snapshots differ from the one before in one channel, or in none.
#[derive(Default)]
struct Pool {
    places: BTreeMap<String, usize>,
    values: Vec<Value>,
}

impl Pool {
    /// Where the value stands.
    fn put(&mut self, value: Value) -> usize {
        let next = self.values.len();
        let place = *self.places.entry(value.to_string()).or_insert(next);
        if place == next {
            self.values.push(value);
        }
        place
    }
}

/// Which place a channel has among those that the page names.
type Order = BTreeMap<ChannelId, usize>;

fn party(state: &PartyState, order: &Order, pool: &mut Pool) -> Value {
    let up = match state.up {
        Up::Running => "running",
        Up::Down => "down",
        Up::Stopped => "stopped",
    };
    let channels: Vec<usize> = state.channels.iter().map(|c| pool.put(direct(c, order))).collect();
    let virtuals: Vec<usize> =
        state.virtuals.iter().map(|v| pool.put(virtual_channel(v, order))).collect();
    json!({
        "up": up, "lsn": state.lsn.0, "durable": state.durable.0, "refused": state.refused,
        "recovering": state.recovering, "in": wei(state.in_channels.saturating_add(state.guaranteed)),
        "channels": channels, "virtuals": virtuals,
    })
}

fn direct(state: &ChannelState, order: &Order) -> Value {
    let guarantees: Vec<Value> =
        state.guarantees.iter().map(|(c, amount)| json!([order.get(c), wei(*amount)])).collect();
    json!({
        "c": order.get(&state.channel), "phase": state.phase, "supported": state.supported,
        "signed": state.signed, "balances": amounts(&state.balances), "held": wei(state.held),
        "guarantees": guarantees, "waiting": state.waiting, "pursues": state.pursues,
    })
}

fn virtual_channel(state: &VirtualState, order: &Order) -> Value {
    json!({
        "c": order.get(&state.channel), "phase": state.phase, "supported": state.unanimous,
        "signed": state.signed, "amount": wei(state.amount), "paid": wei(state.paid),
        "pursues": state.pursues,
    })
}

fn chain(state: &ChainState, order: &Order, pool: &mut Pool) -> Value {
    let on_chain = |c: &ChannelOnChain| {
        pool.put(json!({ "c": order.get(&c.channel), "held": wei(c.held), "status": c.status }))
    };
    let channels: Vec<usize> = state.channels.iter().map(on_chain).collect();
    json!({ "block": state.block, "owned": amounts(&state.owned), "channels": channels })
}

/// A decimal string: the page counts in big integers.
fn wei(amount: Amount) -> String {
    amount.0.to_string()
}

fn amounts(amounts: &[Amount]) -> Vec<String> {
    amounts.iter().map(|a| wei(*a)).collect()
}

/// The check boxes: label, kinds, whether they are shown at first.
fn groups() -> Value {
    let groups: [(&str, &[LineKind], bool); 9] = [
        ("messages", &[LineKind::Message], true),
        ("signatures", &[LineKind::Sign, LineKind::Receive], true),
        ("objectives", &[LineKind::Objective], true),
        ("transactions", &[LineKind::Submit, LineKind::Mined, LineKind::Reverted], true),
        ("user", &[LineKind::Notice, LineKind::Refusal], true),
        ("acks", &[LineKind::Ack], false),
        ("log records", &[LineKind::Log], false),
        ("syncs", &[LineKind::Sync], false),
        ("blocks", &[LineKind::Block], false),
    ];
    let group = |(label, kinds, on): (&str, &[LineKind], bool)| {
        let kinds: Vec<&str> = kinds.iter().map(|k| k.name()).collect();
        json!({ "label": label, "kinds": kinds, "on": on })
    };
    groups.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::{Line, explain_steps};
    use super::*;
    use crate::observe::PartyId;

    fn page(title: &str, extra: Option<Line>) -> String {
        let (mut recorder, violation) = (recorded_run(), violation());
        if let Some(line) = extra {
            recorder.push_for_test(line);
        }
        recorder.violated(3_500_000_000, &violation);
        let recording = recorder.finish();
        let explanation = explain_steps(STORY, &recording.lines, &violation, &recording.names);
        html(&HtmlRun {
            title,
            verdict: Verdict::Failed("Alice sent turn 5 before it was durable.".into()),
            story: STORY,
            replay: "fairway-sim replay 'smoke/power_loss#14c0@ab12cd34-ef567890/reference'",
            facts: &[("engine", "reference".into()), ("seed", "0x14c0".into())],
            explanation: &explanation,
            recording: &recording,
        })
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = page("smoke/power_loss", None);
        for foreign in ["http:", "https:", "src=", "@import", "url(", "fetch(", "<link"] {
            assert!(!page.contains(foreign), "{foreign} in the page");
        }
        assert!(page.starts_with("<!doctype html>"));
        assert!(page.contains("prefers-color-scheme"));
        assert!(page.contains("fairway-sim replay"));
        assert!(page.contains("Alice sent turn 5 before it was durable."));
    }

    /// A run that never rests must still open in a browser.
    #[test]
    fn a_run_too_long_for_a_browser_is_cut_and_says_so() {
        let mut recorder = recorded_run();
        for step in 0..LINES_MAX as u64 {
            let here = Lane::Party(PartyId(0));
            recorder.push_for_test(Line::new(4_000_000_000 + step, LineKind::Notice, here, "x"));
        }
        recorder.violated(9_000_000_000, &violation());
        let recording = recorder.finish();
        let explanation = explain_steps(STORY, &recording.lines, &violation(), &recording.names);
        let run = HtmlRun {
            title: "smoke/power_loss",
            verdict: Verdict::Failed("It never came to rest.".into()),
            story: STORY,
            replay: "fairway-sim replay 'smoke/power_loss#14c0@ab12cd34-ef567890/reference'",
            facts: &[],
            explanation: &explanation,
            recording: &recording,
        };
        let data = data(&run);
        assert_eq!(data["lines"].as_array().map(Vec::len), Some(LINES_MAX));
        assert!(data["fail"].is_null(), "the failing step is past the end of the page");
        let long = recording.lines.len();
        assert!(html(&run).contains(&format!("This run has {long} lines.")));
        assert!(!page("smoke/power_loss", None).contains("This run has"));
    }

    #[test]
    fn hostile_names_stay_text() {
        let hostile = "</script><script>alert(1)</script><!--";
        let line = Line::new(0, LineKind::Notice, Lane::Party(PartyId(0)), hostile);
        let page = page(hostile, Some(line));
        assert!(!page.contains("<script>alert"));
        assert!(!page.contains("<!--"));
        assert_eq!(page.matches("</script").count(), 2, "the data's and the program's");
        assert!(page.contains("\\u003c/script\\u003e"));
    }

    /// The page shows a state by its place; one that comes again must not be written again.
    #[test]
    fn a_state_that_comes_again_is_kept_once() {
        let mut pool = Pool::default();
        let places: Vec<usize> = ["a", "b", "a", "b", "c"].map(|v| pool.put(json!(v))).into();
        assert_eq!(places, [0, 1, 0, 1, 2]);
        assert_eq!(pool.values, ["a", "b", "c"]);
    }

    /// What is embedded is read back as it was.
    #[test]
    fn the_data_survives_escaping() {
        let value = json!({ "x": "<a> & </script>", "n": 5 });
        assert_eq!(serde_json::from_str::<Value>(&embedded(&value)).unwrap(), value);
    }

    #[test]
    fn every_kind_but_those_that_matter_always_has_a_check_box() {
        let groups = groups().to_string();
        let always = [
            LineKind::Fault,
            LineKind::Crash,
            LineKind::Restart,
            LineKind::Stop,
            LineKind::Reorg,
            LineKind::Phase,
            LineKind::Violation,
        ];
        for kind in LineKind::ALL {
            let boxed = groups.contains(&format!("\"{}\"", kind.name()));
            assert_eq!(boxed, !always.contains(&kind), "{}", kind.name());
        }
    }
}
