//! A campaign for people: what was tried, what was never tried, the closest call, and how likely the next seeds show something new.
//!
//! The first screen answers in sentences; tables follow.

use std::collections::BTreeSet;

use super::matrix::Matrix;
use super::unseen::{Unseen, curve, species};
use super::{Merged, plot, repeat_line};
use crate::page::{Page, Part, Picture, Table, text};
use crate::scenario::{Expect, FaultKind};

/// How a run is repeated: from a seed id to a line to paste.
pub type Replay<'a> = &'a dyn Fn(&str) -> String;

/// The horizon of the estimate.
const NEXT_SEEDS: u64 = 1_000;

/// Rows of a table of failures: more help nobody.
const FAILURES_SHOWN: usize = 50;

/// Puts a campaign's record into words. `place` is where the campaign is kept.
///
/// # Errors
/// When the picture cannot be drawn.
pub fn report(merged: &Merged, replay: Replay<'_>, place: &str) -> Result<Page, String> {
    let species = species(merged);
    let unseen = Unseen::of(&species, merged.work.seeds_each());
    let replay = |id: &str| replay(id) + &merged.work.replay_options();
    let mut sentences = vec![tried(merged), ended(merged)];
    sentences.extend(fuzzed(merged));
    let matrix = Matrix::of(merged, &species);
    sentences.extend([never_tried(merged), closest(merged, &replay), next(unseen)]);
    sentences.extend(matrix.sentence());
    let tables = vec![
        failures(merged, &replay),
        failed_inputs(merged, place),
        scenarios(merged),
        faults(merged),
        matrix.table(),
        Table {
            title: "Meetings that one seed alone has seen",
            head: vec!["fault and event", "seed"],
            rows: species
                .iter()
                .filter(|(_, met)| met.first == met.last)
                .map(|(name, met)| vec![name.clone(), met.first.to_string()])
                .collect(),
        },
    ];
    let facts = vec![
        ("work", merged.id.chars().take(16).collect()),
        ("build", merged.work.build.chars().take(8).collect()),
        ("seeds", format!("{}..{}", merged.work.seeds.0, merged.work.seeds.1)),
        ("mutant", merged.work.mutant.clone().unwrap_or_else(|| "none".into())),
    ];
    let svg = plot::species_over_seeds(&curve(&species, merged.work.seeds))?;
    let picture = Picture { file: "meetings.svg", alt: "Distinct meetings over seeds", svg };
    Ok(Page { title: "Campaign", sentences, picture, tables, facts })
}

fn tried(merged: &Merged) -> Vec<Part> {
    let work = &merged.work;
    let names: BTreeSet<&str> = work.entries.iter().map(|e| e.scenario.as_str()).collect();
    let engines: BTreeSet<&str> = work.entries.iter().map(|e| e.engine.name()).collect();
    let engines: Vec<&str> = engines.into_iter().collect();
    let signatures = match work.real_percent {
        0 => "toy signatures".to_string(),
        100 => "real signatures".to_string(),
        real => format!("real signatures in {real} % of the runs and toy ones in the others"),
    };
    let mut parts = vec![
        text(format!("Tried: {} ", names.len())),
        Part::Term(if names.len() == 1 { "scenario" } else { "scenarios" }),
        text(format!(" with {} ", thousands(work.seeds_each()))),
        Part::Term("seeds"),
        text(format!(
            " each, {} runs on {} with {signatures}.",
            thousands(merged.total.runs),
            engines.join(" and ")
        )),
    ];
    if merged.missing_runs > 0 {
        let missing = thousands(merged.missing_runs);
        parts.push(text(format!(" {missing} runs of the plan are missing here.")));
    }
    parts
}

fn ended(merged: &Merged) -> Vec<Part> {
    let (mut caught, mut failed, mut passed) = (0, 0, 0);
    for (entry, sum) in merged.by_entry() {
        passed += sum.passed();
        let expected = match &entry.expect {
            Expect::Pass => 0,
            Expect::Violation(name) => {
                sum.verdicts.get(&format!("violation:{name}")).copied().unwrap_or(0)
            }
        };
        caught += expected;
        failed += sum.failed() - expected;
    }
    let mut parts = vec![text(format!("{} runs passed", thousands(passed)))];
    if caught > 0 {
        parts.push(text(format!(", {} found the ", thousands(caught))));
        parts.push(Part::Term("mutant"));
        parts.push(text(" that their story plants"));
    }
    parts.push(text(match failed {
        0 => ", none failed.".to_string(),
        n => format!(", {} failed; they are listed below.", thousands(n)),
    }));
    parts
}

/// `None` where nothing was fuzzed.
fn fuzzed(merged: &Merged) -> Option<Vec<Part>> {
    let fuzz = merged.fuzz.as_ref()?;
    let target = |(name, sum): (&str, &super::Sum)| format!("{name} {}", thousands(sum.runs));
    let targets: Vec<String> = merged.by_target().map(target).collect();
    let failed: u64 = fuzz.targets.iter().map(super::Sum::failed).sum();
    let ended = match failed {
        0 => "none failed".to_string(),
        n => format!("{} failed; the first are listed below", thousands(n)),
    };
    let missing = match fuzz.missing_inputs {
        0 => String::new(),
        n => format!(" {} inputs of the plan are missing here.", thousands(n)),
    };
    Some(vec![text(format!("Fuzzed: inputs of {}; {ended}.{missing}", targets.join(", ")))])
}

fn never_tried(merged: &Merged) -> Vec<Part> {
    let total = &merged.total;
    let wanted: BTreeSet<&str> =
        merged.work.entries.iter().flat_map(|e| &e.fault_kinds).map(String::as_str).collect();
    let unasked: Vec<&str> =
        FaultKind::ALL.iter().map(|k| k.name()).filter(|name| !wanted.contains(name)).collect();
    let mut parts = vec![
        text(format!("Never tried: of {} kinds of ", FaultKind::ALL.len())),
        Part::Term("fault"),
        text(format!(", {} struck", total.faults.len())),
    ];
    if !unasked.is_empty() {
        parts.push(text(format!("; no scenario of this campaign asks for {}", unasked.join(", "))));
    }
    if !total.never_fired.is_empty() {
        let names: Vec<&str> = total.never_fired.iter().map(String::as_str).collect();
        parts.push(text(format!("; asked for and never fired: {}", names.join(", "))));
    }
    parts.push(text(". "));
    if total.never_reached.is_empty() {
        parts.extend([text("Every "), Part::Term("goal"), text(" was reached.")]);
    } else {
        let goal = |(scenario, goal): &(String, String)| format!("{goal} of {scenario}");
        let goals: Vec<String> = total.never_reached.iter().map(goal).collect();
        parts.push(Part::Term("Goals"));
        parts.push(text(format!(" never reached: {}.", goals.join(", "))));
    }
    parts
}

fn closest(merged: &Merged, replay: Replay<'_>) -> Vec<Part> {
    let Some(closest) = &merged.total.closest else {
        return vec![text("No closest call: nobody had a virtual channel.")];
    };
    let tied = merged.entries.iter().flat_map(|e| &e.closest);
    let tied = tied.filter(|call| call.slack == closest.call.slack).count();
    let others = match tied {
        0 | 1 => String::new(),
        n => format!(" (so it was in {n} scenarios; this is the first)"),
    };
    vec![
        text("The "),
        Part::Term("closest call"),
        text(format!(
            ": {} could enforce what it is entitled to and {} more{others}: ",
            closest.call.who, closest.call.slack
        )),
        Part::Code(replay(&closest.seed_id)),
    ]
}

fn next(unseen: Unseen) -> Vec<Part> {
    let chance = unseen.next(NEXT_SEEDS).to_string();
    // "Less than" and "more than" are rough enough.
    let about = if chance.starts_with(|c: char| c.is_ascii_digit()) { "about " } else { "" };
    let mut parts = vec![
        text(format!("The next {} seeds show a ", thousands(NEXT_SEEDS))),
        Part::Term("meeting"),
        text(" that was never seen with a chance of "),
    ];
    parts.push(text(match unseen.is_bound() {
        true if chance.starts_with("more") => format!(
            "which these seeds say nothing (none of {} was seen by one seed alone)",
            unseen.met
        ),
        true => format!(
            "at most {chance} (none of {} was seen by one seed alone; the bound is that of 95 % confidence)",
            unseen.met
        ),
        false => format!(
            "{about}{chance} (Good–Turing: of {} meetings, {} were seen by one seed alone)",
            unseen.met, unseen.once
        ),
    }));
    parts.push(text(", as far as these scenarios go."));
    parts
}

fn failures(merged: &Merged, replay: Replay<'_>) -> Table {
    let unexpected = merged.failures.iter().filter(|f| !f.expected).take(FAILURES_SHOWN);
    Table {
        title: "Failures",
        head: vec!["verdict", "what", "replay"],
        rows: unexpected
            .map(|f| vec![f.failed.verdict.clone(), f.failed.what.clone(), replay(&f.seed_id)])
            .collect(),
    }
}

fn failed_inputs(merged: &Merged, place: &str) -> Table {
    let row = |(target, failed): (&str, &super::Failed)| {
        let number = failed.seed.to_string();
        vec![target.into(), number, failed.what.clone(), repeat_line(place, target, failed)]
    };
    Table {
        title: "Fuzz inputs that failed",
        head: vec!["target", "input", "what", "replay"],
        rows: merged.failed_inputs().take(FAILURES_SHOWN).map(row).collect(),
    }
}

fn scenarios(merged: &Merged) -> Table {
    let row = |(entry, sum): (&super::Entry, &super::Sum)| {
        let slack = sum.closest.as_ref().map_or(String::new(), |call| call.slack.to_string());
        let goals = entry.goals.iter().map(|goal| {
            let runs = sum.goals.get(goal).copied().unwrap_or(0);
            format!("{goal} {}", thousands(runs))
        });
        vec![
            entry.label(),
            thousands(sum.runs),
            thousands(sum.passed()),
            goals.collect::<Vec<_>>().join(", "),
            slack,
            sum.meetings.len().to_string(),
        ]
    };
    Table {
        title: "Scenarios",
        head: vec![
            "scenario",
            "runs",
            "passed",
            "runs that reached a goal",
            "least slack",
            "meetings",
        ],
        rows: merged.by_entry().map(row).collect(),
    }
}

fn faults(merged: &Merged) -> Table {
    let row = |kind: &FaultKind| {
        let struck = merged.total.faults.get(kind.name()).copied().unwrap_or(0);
        let asked = merged
            .work
            .entries
            .iter()
            .filter(|e| e.fault_kinds.iter().any(|name| name == kind.name()));
        vec![kind.name().to_string(), thousands(struck), asked.count().to_string()]
    };
    Table {
        title: "Faults",
        head: vec!["kind", "struck", "scenarios that ask for it"],
        rows: FaultKind::ALL.iter().map(row).collect(),
    }
}

/// 12345678 as `12,345,678`.
fn thousands(n: u64) -> String {
    crate::cli::thousands(n)
}

#[cfg(test)]
mod tests {
    use super::super::{CampaignPlan, Entry, Failed, FuzzWork, Met, Missing, Sum, Work};
    use super::*;
    use crate::scenario::{Engine, Library};

    fn merged() -> Merged {
        let plain = Library::new().load("smoke/plain", &[]).unwrap();
        let entry = Entry {
            fault_kinds: vec!["net.loss".into(), "disk.rot".into()],
            goals: vec!["message-lost".into(), "fail-stop".into()],
            digest: "5e1f0a2b".into(),
            ..Entry::new(&plain[0], Engine::Reference, None)
        };
        let work = Work {
            build: "90c3d4e5".into(),
            seeds: (0, 40),
            unit_seeds: 20,
            real_percent: 5,
            mutant: None,
            ignore: Vec::new(),
            search_permille: 10,
            settings: Default::default(),
            entries: vec![entry],
            fuzz: Some(FuzzWork {
                build: "0b1d".into(),
                inputs: (0, 2_000),
                unit_inputs: 500,
                targets: vec!["wire_decode".into()],
            }),
        };
        let plan = CampaignPlan::new(work, 1);
        let call = super::super::Call {
            slack: fairway_core::types::Amount::ether(2),
            seed: 9,
            who: "bob".into(),
        };
        let sum = Sum {
            runs: 40,
            verdicts: [("pass".to_string(), 39), ("panic".to_string(), 1)].into(),
            faults: [("net.loss".to_string(), 1_234)].into(),
            goals: [("message-lost".to_string(), 31)].into(),
            meetings: [("net.loss at Pinned".to_string(), Met { runs: 1, first: 3, last: 3 })]
                .into(),
            closest: Some(call),
            failures: vec![Failed {
                seed: 7,
                verdict: "panic".into(),
                code: 5,
                what: "index <out> | of bounds".into(),
                input: None,
            }],
            ..Sum::default()
        };
        let fuzzed = Sum {
            runs: 1_500,
            verdicts: [("pass".to_string(), 1_499), ("panic".to_string(), 1)].into(),
            failures: vec![Failed {
                seed: 711,
                verdict: "panic".into(),
                code: 5,
                what: "too long".into(),
                input: Some("ab12".into()),
            }],
            ..Sum::default()
        };
        let missing = Missing { inputs: 500, ..Missing::default() };
        Merged::of_sums(&plan.work, vec![sum, fuzzed], &missing)
    }

    #[test]
    fn the_first_screen_answers_in_sentences() {
        let page = report(&merged(), &|id| format!("replay '{id}'"), "camp").unwrap();
        insta::assert_snapshot!(page.text(), @r"
        Tried: 1 scenario with 40 seeds each, 40 runs on reference with real signatures in 5 % of the runs and toy ones in the others.
        39 runs passed, 1 failed; they are listed below.
        Fuzzed: inputs of wire_decode 1,500; 1 failed; the first are listed below. 500 inputs of the plan are missing here.
        Never tried: of 26 kinds of fault, 1 struck; no scenario of this campaign asks for crash.power_loss, crash.stale_image, partition.both, partition.one_way, net.duplicate, net.latency, net.corrupt_frame, net.reorder, disk.failed_sync, disk.full, disk.slow, disk.torn_write, chain.reorg, chain.rpc_outage, chain.missing_logs, chain.missing_calldata, chain.duplicate_logs, chain.stale_head, chain.fee_spike, chain.drop_tx, chain.revert_payee, chain.stranger_deposit, clock.step, clock.freeze; asked for and never fired: disk.rot. Goals never reached: fail-stop of smoke/plain.
        The closest call: bob could enforce what it is entitled to and 2 ETH more: replay 'smoke/plain#9@5e1f0a2b-90c3d4e5/reference+crypto=toy'
        The next 1,000 seeds show a meeting that was never seen with a chance of about 99.9 % (Good–Turing: of 1 meetings, 1 were seen by one seed alone), as far as these scenarios go.
        The matrix of kinds of fault (2) and places in the protocol where they struck (1) has 1 of 2 cells filled, 50.0 %.
        ");
    }

    #[test]
    fn markdown_and_page_say_the_same_and_escape_what_runs_said() {
        let page = report(&merged(), &|id| format!("replay '{id}'"), "camp").unwrap();
        let (markdown, page) = (page.markdown(), page.html());
        assert!(markdown.contains("| panic | index <out> \\| of bounds | replay 'smoke/plain#7@"));
        assert!(page.contains("index &lt;out&gt; | of bounds"), "{page}");
        let repeat = "| wire_decode | 711 | too long | fairway-fuzz replay wire_decode camp/inputs/wire_decode/ab12 |";
        assert!(markdown.contains(repeat), "{markdown}");
        assert!(page.contains("<svg") && !page.contains("<img") && !page.contains("<script"));
        for text in [&markdown, &page] {
            assert!(text.contains("glossary.md#the-simulator"), "{text}");
            assert!(text.contains("chain.reorg"), "{text}");
        }
    }
}
