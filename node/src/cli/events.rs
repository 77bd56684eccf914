//! `fairway events`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use fairway_node::events;

use crate::{BAD_RESULT, print, print_json};

/// What can be read from a log.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print every event, one a line.
    #[command(
        after_help = "Examples:\n  fairway events list /var/lib/fairway\n  fairway events list --json /var/lib/fairway | jq .event"
    )]
    List {
        /// The node's data directory. The node must not be running.
        data_dir: PathBuf,
        /// One JSON document a line.
        #[arg(long)]
        json: bool,
    },
    /// Write the log as canonical JSON lines that others can check without our code.
    #[command(
        after_help = "Examples:\n  fairway events export /var/lib/fairway --out alice.jsonl\n  fairway events export /var/lib/fairway | python3 docs/auditing/verify_log.py"
    )]
    Export {
        /// The node's data directory. The node must not be running.
        data_dir: PathBuf,
        /// Write here instead of to stdout. Must not exist.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Count what the log amounts to: the same numbers that the node shows as metrics.
    #[command(
        after_help = "Examples:\n  fairway events stats /var/lib/fairway\n  fairway events stats --json /var/lib/fairway | jq '.counts[] | select(.count > 0)'"
    )]
    Stats {
        /// The node's data directory. The node must not be running.
        data_dir: PathBuf,
        /// One JSON document, with the counters that are zero.
        #[arg(long)]
        json: bool,
    },
    /// Check the hash chain of the log and every signature in it.
    #[command(after_help = "Example:\n  fairway events verify /var/lib/fairway")]
    Verify {
        /// The node's data directory. The node must not be running.
        data_dir: PathBuf,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Carries out `events`.
///
/// # Errors
/// What the operator must know; exit code 1.
pub fn carry_out(command: &EventsCommand) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::List { data_dir, json } => list(data_dir, *json),
        EventsCommand::Export { data_dir, out } => export(data_dir, out.as_deref()),
        EventsCommand::Stats { data_dir, json } => stats(data_dir, *json),
        EventsCommand::Verify { data_dir, json } => verify(data_dir, *json),
    }
}

fn list(data_dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for line in events::list(data_dir)? {
        if json {
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{:>6}  {}  {:?}", line.lsn.0, line.time_ms, line.event)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(data_dir: &Path, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let lines = match out {
        None => events::export(data_dir, &mut io::stdout().lock())?,
        Some(path) => {
            let file = std::fs::File::create_new(path)
                .with_context(|| format!("{}: name a file that does not exist", path.display()))?;
            let lines = events::export(data_dir, &mut io::BufWriter::new(&file))?;
            file.sync_all().with_context(|| format!("{}: cannot sync it", path.display()))?;
            lines
        }
    };
    eprintln!("{lines} lines");
    Ok(ExitCode::SUCCESS)
}

fn stats(data_dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let stats = events::stats(data_dir)?;
    if json {
        print_json(&stats)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("{} events in {} bytes\n", stats.events, stats.log_bytes);
    for counted in stats.counts.iter().filter(|c| c.count > 0) {
        let name = match counted.label.as_str() {
            "" => counted.metric.to_string(),
            label => format!("{}{{{label}}}", counted.metric),
        };
        text.push_str(&format!("{:>10}  {name}\n", counted.count));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn verify(data_dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let found = events::verify(data_dir)?;
    if json {
        print_json(&found)?;
    } else {
        let mut text = format!(
            "{} events in {} bytes: the hash chain holds\n{} signatures recovered again, {} checkpoints compared, {} things do not hold\n",
            found.events,
            found.log_bytes,
            found.signatures,
            found.checkpoints,
            found.bad.len()
        );
        for line in found.bad.iter().chain(&found.findings) {
            text.push_str(line);
            text.push('\n');
        }
        print(&text)?;
    }
    Ok(if found.bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BAD_RESULT) })
}
