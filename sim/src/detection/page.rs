//! A measurement in words and tables.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::{MUTANTS, Mutant};

use super::{Arm, Record, Sight, Trial, Witness, plot};
use crate::campaign::Replay;
use crate::cli::thousands;
use crate::page::{Page, Part, Picture, Table, text};

/// Puts a record into words.
///
/// # Errors
/// When the picture cannot be drawn.
pub fn page(record: &Record, replay: Replay<'_>) -> Result<Page, String> {
    let planted: Vec<(&Mutant, Sample)> =
        MUTANTS.iter().map(|m| (m, Sample::of(record, m.id, Arm::Everything))).collect();
    let svg = plot::found_over_runs(record)?;
    let alt = "Trials that have found their bug, over runs, for each arm";
    Ok(Page {
        title: "Detection power",
        sentences: vec![found(&planted), hardest(&planted), ablation(record), needed(record)],
        picture: Picture { file: "detection.svg", alt, svg },
        tables: vec![mutants(record, &planted, replay), arms(record), invariants(record)],
        facts: vec![
            ("build", crate::build_id::BUILD_ID.chars().take(8).collect()),
            ("trials", thousands(record.trials.len() as u64)),
            ("signatures", "toy".into()),
        ],
    })
}

/// Trials of one mutant in one arm.
struct Sample {
    /// Runs until it was found, ascending.
    found: Vec<u64>,
    trials: usize,
    limit: u64,
    /// The first that found it.
    first: Option<Trial>,
}

impl Sample {
    fn of(record: &Record, mutant: &str, arm: Arm) -> Sample {
        let trials = || record.trials.iter().filter(|t| t.arm == arm && t.mutant == mutant);
        let mut found: Vec<u64> = trials().filter(|t| t.found.is_some()).map(|t| t.runs).collect();
        found.sort_unstable();
        Sample {
            found,
            trials: trials().count(),
            limit: trials().map(|t| t.limit).max().unwrap_or(arm.limit()),
            first: trials().find(|t| t.found.is_some()).cloned(),
        }
    }

    /// The lower median, `None` when that trial was given up.
    fn median(&self) -> Option<u64> {
        self.found.get(self.trials.saturating_sub(1) / 2).copied()
    }

    fn worst(&self) -> Option<u64> {
        if self.found.len() < self.trials { None } else { self.found.last().copied() }
    }

    fn runs(&self, runs: Option<u64>) -> String {
        match runs {
            _ if self.trials == 0 => "not tried".into(),
            Some(runs) => thousands(runs),
            None => format!("> {}", thousands(self.limit)),
        }
    }
}

fn found(planted: &[(&Mutant, Sample)]) -> Vec<Part> {
    let tried: Vec<&Sample> = planted.iter().map(|(_, s)| s).filter(|s| s.trials > 0).collect();
    let found = tried.iter().filter(|s| s.median().is_some()).count();
    let layers: BTreeSet<&str> = planted.iter().map(|(m, _)| m.layer).collect();
    let mut medians: Vec<u64> = tried.iter().map(|s| s.median().unwrap_or(u64::MAX)).collect();
    medians.sort_unstable();
    let limit = tried.iter().map(|s| s.limit).max().unwrap_or(Arm::Everything.limit());
    let mut parts = vec![
        text(format!("Planted: {} ", planted.len())),
        Part::Term("mutants"),
        text(format!(
            " in {} layers; {} were tried, and {found} of them ({}) are found within {} runs.",
            layers.len(),
            tried.len(),
            percent(found, tried.len()),
            thousands(limit)
        )),
    ];
    if let Some(median) = medians.get(tried.len().saturating_sub(1) / 2).filter(|m| **m < u64::MAX)
    {
        parts.push(text(format!(" Half of them take {} runs or fewer.", thousands(*median))));
    }
    parts
}

fn hardest(planted: &[(&Mutant, Sample)]) -> Vec<Part> {
    let tried = || planted.iter().filter(|(_, s)| s.trials > 0);
    let ids = |which: &dyn Fn(&Sample) -> bool| {
        let ids = tried().filter(|(_, s)| which(s)).map(|(m, _)| m.id);
        ids.collect::<Vec<_>>().join(", ")
    };
    let never = ids(&|s| s.found.is_empty());
    let seldom = ids(&|s| !s.found.is_empty() && s.found.len() < s.trials);
    let hardest = tried().filter_map(|(m, s)| Some((s.median()?, m.id))).max();
    let mut parts = Vec::new();
    parts.push(text(match never.as_str() {
        "" => "Every one of them was found at least once.".to_string(),
        never => format!("Never found: {never}."),
    }));
    if !seldom.is_empty() {
        parts.push(text(format!(" Found in some trials and not in others: {seldom}.")));
    }
    if let Some((median, id)) = hardest {
        let median = thousands(median);
        parts.push(text(format!(" The hardest of those found is {id}: {median} runs as a rule.")));
    }
    parts
}

fn ablation(record: &Record) -> Vec<Part> {
    let words: Vec<String> = Arm::ALL[1..]
        .iter()
        .filter_map(|arm| {
            let (found, trials) = share(record, *arm)?;
            let limit = thousands(arm.limit());
            Some(format!("{} of the trials {} ({limit} runs)", percent(found, trials), of(*arm)))
        })
        .collect();
    if words.is_empty() {
        return vec![text("What faults and swarms are worth was not measured.")];
    }
    vec![
        text("What faults and "),
        Part::Term("swarms"),
        text(format!(" are worth: the bug was found in {}.", words.join(", in "))),
    ]
}

fn of(arm: Arm) -> &'static str {
    match arm {
        Arm::Everything => "of every scenario",
        Arm::NoFaults => "of swarms without faults",
        Arm::Uniform => "with every family of faults in every run",
        Arm::Swarm => "of whole swarms",
    }
}

fn needed(record: &Record) -> Vec<Part> {
    let by = by_invariant(record);
    let all = crate::invariant::names();
    let idle: Vec<&str> = all.iter().copied().filter(|name| !by.contains_key(name)).collect();
    let mut parts = vec![
        text(format!("Of {} ", all.len())),
        Part::Term("invariants"),
        text(format!(", {} were the first to see some bug", all.len() - idle.len())),
    ];
    parts.push(text(match idle.is_empty() {
        true => ".".to_string(),
        false => format!("; never the first: {}.", idle.join(", ")),
    }));
    parts
}

fn mutants(record: &Record, planted: &[(&Mutant, Sample)], replay: Replay<'_>) -> Table {
    let row = |(mutant, sample): &(&Mutant, Sample)| {
        let survey = record.surveys.iter().find(|s| s.mutant == mutant.id);
        let counters = survey.map_or("not surveyed".into(), |s| {
            format!("{} / {} / {} of {}", s.reached, s.triggered, s.detected, s.runs)
        });
        let by: BTreeSet<&str> = record
            .trials
            .iter()
            .filter(|t| t.mutant == mutant.id)
            .filter_map(|t| t.found.as_ref())
            .map(|f| f.by.as_str())
            .collect();
        let first = sample.first.as_ref().and_then(|t| t.found.as_ref());
        vec![
            mutant.id.to_string(),
            mutant.layer.to_string(),
            counters,
            format!("{} of {}", sample.found.len(), sample.trials),
            sample.runs(sample.median()),
            sample.runs(sample.worst()),
            by.into_iter().collect::<Vec<_>>().join(", "),
            first.map_or(String::new(), |f| replay(&f.seed_id)),
        ]
    };
    Table {
        title: "Mutants",
        head: vec![
            "mutant",
            "layer",
            "reached / triggered / detected",
            "trials that found it",
            "median runs",
            "worst",
            "seen by",
            "replay",
        ],
        rows: planted.iter().map(row).collect(),
    }
}

fn arms(record: &Record) -> Table {
    let row = |arm: &Arm| {
        let (found, trials) = share(record, *arm)?;
        let mut runs: Vec<u64> = record
            .trials
            .iter()
            .filter(|t| t.arm == *arm)
            .map(|t| if t.found.is_some() { t.runs } else { u64::MAX })
            .collect();
        runs.sort_unstable();
        let median = runs.get(runs.len().saturating_sub(1) / 2).filter(|m| **m < u64::MAX);
        Some(vec![
            arm.name().to_string(),
            thousands(trials as u64),
            percent(found, trials),
            median.map_or_else(|| format!("> {}", thousands(arm.limit())), |m| thousands(*m)),
        ])
    };
    Table {
        title: "Arms",
        head: vec!["arm", "trials", "found", "median runs"],
        rows: Arm::ALL.iter().filter_map(row).collect(),
    }
}

fn invariants(record: &Record) -> Table {
    let by = by_invariant(record);
    let seen = record.seen();
    let row = |name: &&'static str| {
        let ids = by.get(name).map(|ids| ids.iter().copied().collect::<Vec<_>>().join(", "));
        let those = |which: &dyn Fn(&Witness, Sight) -> bool| {
            let those = seen.by(name).filter(|(w, sight)| which(w, *sight));
            those.map(|(w, _)| w.mutant.clone()).collect::<Vec<_>>().join(", ")
        };
        let only = those(&|w, sight| sight.alone == w.detected);
        let behind = those(&|_, sight| sight.first == 0);
        vec![name.to_string(), ids.unwrap_or_default(), only, behind]
    };
    Table {
        title: "Invariants, and the mutants that they saw",
        head: vec!["invariant", "first", "the only one", "behind others alone"],
        rows: crate::invariant::names().iter().map(row).collect(),
    }
}

fn by_invariant(record: &Record) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut by: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for trial in &record.trials {
        if let Some(found) = &trial.found {
            by.entry(&found.by).or_default().insert(&trial.mutant);
        }
    }
    for witness in &record.witnesses {
        for (name, _) in witness.by.iter().filter(|(_, sight)| sight.first > 0) {
            by.entry(name).or_default().insert(&witness.mutant);
        }
    }
    by
}

/// How many trials of an arm found their bug, of how many; `None` when there are none.
fn share(record: &Record, arm: Arm) -> Option<(usize, usize)> {
    let trials = record.trials.iter().filter(|t| t.arm == arm);
    let found = trials.clone().filter(|t| t.found.is_some()).count();
    Some((found, trials.count())).filter(|(_, trials)| *trials > 0)
}

fn percent(part: usize, whole: usize) -> String {
    let permille = part * 1_000 / whole.max(1);
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::super::{Found, Survey};
    use super::*;

    fn trial(mutant: &str, repetition: u64, runs: u64, by: Option<&str>) -> Trial {
        let found = by.map(|by| Found {
            seed_id: format!("smoke/plain#{runs}@0-0/reference+mutant={mutant}"),
            by: by.into(),
        });
        let (mutant, arm) = (mutant.to_string(), Arm::Everything);
        Trial { mutant, arm, repetition, limit: 20_000, runs, found }
    }

    #[test]
    fn the_first_screen_answers_in_sentences() {
        let [a, b] = [MUTANTS[0].id, MUTANTS[1].id];
        let record = Record {
            surveys: vec![Survey {
                mutant: a.into(),
                runs: 90,
                reached: 80,
                triggered: 70,
                detected: 9,
            }],
            trials: vec![
                trial(a, 0, 12, Some("durable-before-sent")),
                trial(a, 1, 1_400, Some("no-equivocation")),
                trial(a, 2, 20_000, None),
                trial(b, 0, 20_000, None),
            ],
            witnesses: vec![Witness {
                mutant: b.into(),
                runs: 90,
                detected: 4,
                by: [
                    ("deposits-are-safe".to_string(), Sight { first: 4, seen: 4, alone: 4 }),
                    ("ledger-views-agree".to_string(), Sight { first: 0, seen: 1, alone: 0 }),
                ]
                .into(),
            }],
        };
        let page = page(&record, &|id| format!("replay '{id}'")).unwrap();
        let sentences = page.text();
        assert!(sentences.contains("2 were tried, and 1 of them (50.0 %) are found within 20,000 runs. Half of them take 1,400 runs or fewer."), "{sentences}");
        assert!(sentences.contains(&format!("Never found: {b}. Found in some trials and not in others: {a}. The hardest of those found is {a}: 1,400 runs as a rule.")), "{sentences}");
        assert!(sentences.contains("3 were the first to see some bug"), "{sentences}");
        let markdown = page.markdown();
        assert!(markdown.contains("80 / 70 / 9 of 90 | 2 of 3 | 1,400 | > 20,000 | durable-before-sent, no-equivocation | replay 'smoke/plain#12@"), "{markdown}");
        for row in [
            format!("| deposits-are-safe | {b} | {b} |  |"),
            format!("| ledger-views-agree |  |  | {b} |"),
        ] {
            assert!(markdown.contains(&row), "{row}: {markdown}");
        }
        assert!(page.picture.svg.contains("everything"));
    }
}
