//! `diff`: where two runs part.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::source::{Builds, find};
use super::{Outcome, Stop};
use crate::campaign::Run;
use crate::scenario::Engine;
use crate::story::{Line, Parting, TRACE_SCHEMA, Times, TraceHead, parting};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    /// A seed id, a bundle, or a recording that `replay --record` wrote.
    first: String,
    /// Another one.
    second: String,
    /// Repeat the first one on this engine instead of its own.
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    first_engine: Option<Engine>,
    /// Repeat the second one on this engine instead of its own.
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    second_engine: Option<Engine>,
    /// Compare what happens and in what order, not when. Always so between two engines: each has times of its own.
    #[arg(long)]
    ignore_times: bool,
    /// How many lines to show before and after.
    #[arg(long, default_value_t = 5)]
    context: usize,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim diff 'smoke/plain#2a@…/reference' 'smoke/plain#2b@…/reference'
  fairway-sim diff run.json run.json --second-engine madsim     the same plan on two engines
  fairway-sim replay run.json --record old.jsonl                on one build, and on another:
  fairway-sim diff old.jsonl run.json                           where the builds part

Exit codes: 0 the same, 4 they differ, 2 wrong usage, 8 a run of another build.";

fn engine(text: &str) -> Result<Engine, String> {
    let names = Engine::ALL.iter().map(|e| e.name()).collect::<Vec<_>>().join(", ");
    let found = Engine::ALL.iter().find(|e| e.name() == text).copied();
    found.ok_or(format!("expected one of {names}"))
}

pub fn diff(args: &DiffArgs) -> Outcome {
    let first = Side::read(&args.first, args.first_engine)?;
    let second = Side::read(&args.second, args.second_engine)?;
    let ignored = args.ignore_times || first.head.engine != second.head.engine;
    let times = if ignored { Times::Ignored } else { Times::Count };
    for (name, side) in [("first ", &first), ("second", &second)] {
        let TraceHead { run, engine, digest, .. } = &side.head;
        let digest = digest.get(..16).unwrap_or(digest);
        println!("{name}  {run} on {engine}, {} lines, digest {digest}", side.lines.len());
    }
    if ignored {
        println!("Times are not compared.");
    }
    match parting(&first.lines, &second.lines, times) {
        None if ignored || first.head.digest == second.head.digest => {
            println!("The same, line by line.");
            Ok(())
        }
        None => {
            println!(
                "The same, line by line; but the digests differ: in bytes that no line tells of."
            );
            Err(Stop::code(4))
        }
        Some(at) => {
            show(&first, &second, at, args.context);
            Err(Stop::code(4))
        }
    }
}

/// One of the two.
struct Side {
    head: TraceHead,
    lines: Vec<Line>,
}

impl Side {
    fn read(what: &str, engine: Option<Engine>) -> Result<Side, Stop> {
        if engine.is_none() && is_recording(what) {
            return read_recording(what);
        }
        let source = find(what, &[], Builds::This)?;
        let engine = engine.unwrap_or(source.bundle.seed_id.engine);
        crate::engine::check_available(engine).map_err(Stop::usage)?;
        let run = source.bundle.replay(engine, true);
        let head = head(&source.bundle.seed_id.to_string(), engine, &run);
        Ok(Side { head, lines: run.recording.map(|r| r.lines).unwrap_or_default() })
    }
}

/// Whose recording this is.
fn head(run_id: &str, engine: Engine, run: &Run) -> TraceHead {
    TraceHead {
        fairway_trace: TRACE_SCHEMA,
        run: run_id.into(),
        engine: engine.name().into(),
        build: crate::build_id::BUILD_ID.into(),
        digest: run.report.digest.clone(),
    }
}

/// Writes a run's recording into a file, for `diff` on this build or another.
pub fn write_recording(file: &Path, run_id: &str, engine: Engine, run: &Run) -> Outcome {
    let failed = |e: std::io::Error| {
        let file = file.display();
        Stop::usage(format!("--record: expected a file to write, found {file}: {e}"))
    };
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).map_err(failed)?);
    let head = serde_json::to_string(&head(run_id, engine, run));
    let head = head.map_err(|e| failed(e.into()))?;
    writeln!(out, "{head}").map_err(failed)?;
    if let Some(recording) = &run.recording {
        recording.write_jsonl(&mut out).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

fn is_recording(what: &str) -> bool {
    let mut start = [0u8; MARK.len()];
    let file = PathBuf::from(what);
    let read = file.is_file().then(|| std::fs::File::open(file).ok()).flatten();
    read.is_some_and(|mut f| std::io::Read::read_exact(&mut f, &mut start).is_ok())
        && start == *MARK
}

/// How a recording begins.
const MARK: &[u8; 17] = b"{\"fairway_trace\":";

fn read_recording(file: &str) -> Result<Side, Stop> {
    let opened = std::fs::File::open(file).map_err(|e| Stop::usage(format!("{file}: {e}")))?;
    let mut lines = BufReader::new(opened).lines();
    let wrong = |number: usize, why: String| {
        Stop::usage(format!(
            "{file}: line {number}: expected a recording of schema {TRACE_SCHEMA}: {why}"
        ))
    };
    let first = lines.next().unwrap_or_else(|| Ok(String::new()));
    let first = first.map_err(|e| wrong(1, e.to_string()))?;
    let head: TraceHead = serde_json::from_str(&first).map_err(|e| wrong(1, e.to_string()))?;
    if head.fairway_trace != TRACE_SCHEMA {
        return Err(wrong(1, format!("found schema {}", head.fairway_trace)));
    }
    let read = lines.zip(2..).map(|(line, number)| {
        let line = line.map_err(|e| wrong(number, e.to_string()))?;
        serde_json::from_str(&line).map_err(|e| wrong(number, e.to_string()))
    });
    Ok(Side { head, lines: read.collect::<Result<_, Stop>>()? })
}

fn show(first: &Side, second: &Side, at: Parting, context: usize) {
    println!("\nThe first {} lines are the same. Then they part:\n", at.at);
    for line in &first.lines[at.at.saturating_sub(context)..at.at] {
        println!("         {}", told(line));
    }
    for (name, side) in [("first ", first), ("second", second)] {
        println!();
        let rest = side.lines.get(at.at..).unwrap_or_default();
        for (i, line) in rest.iter().take(context.saturating_add(1)).enumerate() {
            println!("{name} {} {}", if i == 0 { ">" } else { " " }, told(line));
        }
        if rest.is_empty() {
            println!("{name} > ends here");
        }
    }
    println!();
    words("first", "second", first.lines.get(at.at), at.later_in_second, second);
    words("second", "first", second.lines.get(at.at), at.later_in_first, first);
}

/// One sentence about one side's event.
fn words(one: &str, other: &str, line: Option<&Line>, later: Option<usize>, others: &Side) {
    let Some(line) = line else {
        return println!("The {one} run ends where the {other} goes on.");
    };
    let seconds = |line: &Line| format!("{}", Moment(line.at_ns));
    match later.and_then(|at| others.lines.get(at).map(|found| (at, found))) {
        Some((at, found)) => println!(
            "Of the {one} run, \u{201c}{}\u{201d} at {} comes in the {other} run at {}, in line {}.",
            line.text,
            seconds(line),
            seconds(found),
            at + 1
        ),
        None => println!(
            "Of the {one} run, \u{201c}{}\u{201d} at {} never comes in the {other} run.",
            line.text,
            seconds(line)
        ),
    }
}

fn told(line: &Line) -> String {
    format!("{:>12}  {}", Moment(line.at_ns).to_string(), line.text)
}

/// Virtual time in seconds.
struct Moment(u64);

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
