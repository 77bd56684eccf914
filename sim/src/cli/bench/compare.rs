//! `bench --compare`: this program and another one, measured in turns.
//!
//! A machine is not the same one an hour later; two programs that take turns within minutes see the same. A round measures both, the
//! second first in every other round, and its ratio is between neighbours: what is said is the median of the ratios, and how far they
//! lie apart.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::BenchArgs;
use crate::cli::{Outcome, Stop, at_commit};

/// What `bench --json` prints, as far as it is compared.
#[derive(Deserialize)]
struct Measured {
    commit: Option<String>,
    rows: Vec<Figure>,
}

#[derive(Clone, Deserialize)]
struct Figure {
    what: String,
    value: f64,
    unit: String,
}

/// One figure of both programs.
#[derive(Debug, PartialEq, Serialize)]
struct Compared {
    what: String,
    unit: String,
    /// Medians over the rounds.
    before: f64,
    now: f64,
    /// How many times better this program is: the median over the rounds, the worst and the best.
    better: f64,
    worst: f64,
    best: f64,
}

impl Compared {
    /// Whether every round says the same.
    fn verdict(&self) -> &'static str {
        match (self.worst > 1.0, self.best < 1.0) {
            (true, _) => "better",
            (_, true) => "worse",
            _ if self.worst == 1.0 && self.best == 1.0 => "equal",
            _ => "no difference that every round shows",
        }
    }
}

/// Measures both and prints what differs.
///
/// # Errors
/// The other program is neither a file nor a commit that builds, or one of the two fails while it measures.
pub fn compare(other: &str, args: &BenchArgs) -> Outcome {
    let before =
        if Path::new(other).is_file() { PathBuf::from(other) } else { at_commit::program(other)? };
    let now = std::env::current_exe().map_err(|e| Stop::harness(e.to_string()))?;
    let mut rounds = Vec::new();
    let mut commit = None;
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let turned = round % 2 == 1;
        let (first, second) = if turned { (&now, &before) } else { (&before, &now) };
        let (first, second) = (measure(first, args.seeds)?, measure(second, args.seeds)?);
        let (of_before, of_now) = if turned { (second, first) } else { (first, second) };
        commit = of_before.commit;
        rounds.push((of_before.rows, of_now.rows));
    }
    let compared = pairs(&rounds);
    if args.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "before": { "program": before, "commit": commit },
            "now": { "program": now, "commit": crate::build_id::commit() },
            "rounds": args.rounds,
            "rows": compared,
        }));
        println!("{}", text.map_err(|e| Stop::harness(e.to_string()))?);
        return Ok(());
    }
    println!("{} rounds against {}", args.rounds, before.display());
    for row in &compared {
        println!(
            "  {:<76} {:>12.2} -> {:>12.2} {:<9} {:.2}x ({:.2} to {:.2}): {}",
            row.what,
            row.before,
            row.now,
            row.unit,
            row.better,
            row.worst,
            row.best,
            row.verdict()
        );
    }
    Ok(())
}

fn measure(program: &Path, seeds: u64) -> Result<Measured, Stop> {
    let mut command = Command::new(program);
    command.args(["bench", "--json", "--seeds", &seeds.to_string()]).stderr(Stdio::inherit());
    let fails = |what: String| Stop::usage(format!("{}: {what}", program.display()));
    let output = command.output().map_err(|e| fails(e.to_string()))?;
    if !output.status.success() {
        return Err(fails(format!("bench --json ended with {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| fails(format!("bench --json: {e}")))
}

/// The figures that both programs have in every round, in this program's order.
fn pairs(rounds: &[(Vec<Figure>, Vec<Figure>)]) -> Vec<Compared> {
    let mut by_name: IndexMap<String, (String, Vec<(f64, f64)>)> = IndexMap::new();
    for (before, now) in rounds {
        for figure in now {
            let Some(old) = before.iter().find(|f| f.what == figure.what) else { continue };
            let (_, values) = by_name
                .entry(figure.what.clone())
                .or_insert_with(|| (figure.unit.clone(), Vec::new()));
            values.push((old.value, figure.value));
        }
    }
    by_name.retain(|_, (_, values)| values.len() == rounds.len());
    let compared = by_name.into_iter().map(|(what, (unit, values))| {
        let better = |(before, now): &(f64, f64)| match unit.ends_with("/s") {
            true => now / before,
            false => before / now,
        };
        let ratios: Vec<f64> = values.iter().map(better).collect();
        let (first, last) = ends(&ratios);
        Compared {
            what,
            before: median(values.iter().map(|v| v.0)),
            now: median(values.iter().map(|v| v.1)),
            better: median(ratios.iter().copied()),
            worst: first,
            best: last,
            unit,
        }
    });
    compared.collect()
}

fn ends(of: &[f64]) -> (f64, f64) {
    let least = of.iter().copied().fold(f64::INFINITY, f64::min);
    (least, of.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// The middle one, or the mean of the two in the middle.
fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[(&str, f64, &str)]) -> Vec<Figure> {
        let figure = |(what, value, unit): &(&str, f64, &str)| Figure {
            what: what.to_string(),
            value: *value,
            unit: unit.to_string(),
        };
        rows.iter().map(figure).collect()
    }

    /// Goal: more a second is better, more milliseconds are worse, and only what every round shows is said.
    /// Method: three rounds by hand, with a figure that one program alone has.
    #[test]
    fn ratios_are_between_neighbours() {
        let round = |before: [f64; 3], now: [f64; 3]| {
            let rows = |v: [f64; 3]| {
                figures(&[("a", v[0], "seeds/s"), ("b", v[1], "ms"), ("c", v[2], "")])
            };
            let mut now = rows(now);
            now.extend(figures(&[("new", 1.0, "s")]));
            (rows(before), now)
        };
        let compared = pairs(&[
            round([100.0, 10.0, 4.0], [200.0, 8.0, 4.0]),
            round([50.0, 10.0, 4.0], [150.0, 12.0, 4.0]),
            round([80.0, 10.0, 4.0], [120.0, 10.0, 4.0]),
        ]);
        let said: Vec<_> =
            compared.iter().map(|c| (c.what.as_str(), c.better, c.verdict())).collect();
        let undecided = "no difference that every round shows";
        assert_eq!(said, [("a", 2.0, "better"), ("b", 1.0, undecided), ("c", 1.0, "equal")]);
        assert_eq!((compared[0].before, compared[0].worst, compared[0].best), (80.0, 1.5, 3.0));
    }
}
