//! `fairway events`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use fairway_core::driver::Progress;
use fairway_core::types::Lsn;
use fairway_node::archive::{self, ArchiveError, Archived, Run};
use fairway_node::events::diff::{Compared, End, Times};
use fairway_node::events::replay::{Summary, canonical_state};
use fairway_node::events::show::{Extent, Shown};
use fairway_node::events::{self, Line, Source};
use fairway_node::rpc::value::{Channel, parse_channel};

use crate::{BAD_RESULT, Refused, print, print_json};

/// What can be read from a log.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print every event, one a line.
    #[command(
        after_help = "Examples:\n  fairway events list /var/lib/fairway\n  fairway events list --json /var/lib/fairway | jq .event"
    )]
    List {
        #[command(flatten)]
        log: Log,
        /// Only events that are about this channel.
        #[arg(long, value_name = "CHANNEL", value_parser = parse_channel)]
        channel: Option<Channel>,
        /// One JSON document a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one event in full: its batch, who signed, every field.
    #[command(
        after_help = "Examples:\n  fairway events show /var/lib/fairway 412\n  fairway events show alice.jsonl 412 --batch --json | jq .events[].signers"
    )]
    Show {
        #[command(flatten)]
        log: Log,
        /// The position of the event, counted from 1.
        lsn: u64,
        /// All events of its batch: they became durable together.
        #[arg(long)]
        batch: bool,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Fold the log anew, and show what it comes to, at its end or at any event.
    #[command(after_help = REPLAY_HELP)]
    Replay {
        #[command(flatten)]
        log: Log,
        /// Stop after this event; 0 is before the first.
        #[arg(long, value_name = "LSN")]
        until: Option<u64>,
        /// Print the whole state as canonical JSON instead of the summary, which goes to stderr.
        #[arg(long)]
        state: bool,
        /// The summary as one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Show where two logs part: a node and its backup, two copies, a log and an export of it.
    #[command(after_help = DIFF_HELP)]
    Diff {
        /// A data directory, or an export. Its node must not be running.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// Where older segments of the first log are, if they were archived and moved since.
        #[arg(long, value_name = "DIR")]
        first_archive: Option<PathBuf>,
        /// The same of the second log.
        #[arg(long, value_name = "DIR")]
        second_archive: Option<PathBuf>,
        #[command(flatten)]
        more: DiffArgs,
    },
    /// Move the oldest segments of a log to another place, where they must be kept.
    ///
    /// Those go that no start reads any more: below the older of the two newest snapshots. Both are first compared with a fold of the
    /// whole log. Each segment is copied, synced and read back before any is removed.
    #[command(after_help = ARCHIVE_HELP)]
    Archive {
        /// The node's data directory. The node must not be running.
        data_dir: PathBuf,
        /// The directory that takes them: of this node alone, made if it is missing. Choose another disk.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Check everything, and move nothing.
        #[arg(long)]
        dry_run: bool,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Write the log as canonical JSON lines that others can check without our code.
    #[command(
        after_help = "Examples:\n  fairway events export /var/lib/fairway --out alice.jsonl\n  fairway events export /var/lib/fairway | python3 docs/auditing/verify_log.py"
    )]
    Export {
        #[command(flatten)]
        log: Log,
        /// Write here instead of to stdout. Must not exist.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Count what the log amounts to: the same numbers that the node shows as metrics.
    #[command(
        after_help = "Examples:\n  fairway events stats /var/lib/fairway\n  fairway events stats --json /var/lib/fairway | jq '.counts[] | select(.count > 0)'"
    )]
    Stats {
        #[command(flatten)]
        log: Log,
        /// One JSON document, with the counters that are zero.
        #[arg(long)]
        json: bool,
    },
    /// Check the hash chain of the log and every signature in it.
    #[command(after_help = "Example:\n  fairway events verify /var/lib/fairway")]
    Verify {
        #[command(flatten)]
        log: Log,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// How two logs are compared and shown.
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// Compare what happened and in what order, not when.
    #[arg(long)]
    ignore_times: bool,
    /// How many events to show before and after.
    #[arg(long, value_name = "N", default_value_t = 5)]
    context: usize,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

/// Which log.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// The node's data directory, or a copy of one, or an export. The node must not be running.
    #[arg(value_name = "DATA_DIR")]
    path: PathBuf,
    /// Where its older segments are, if they were archived and moved since.
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

impl Log {
    fn source(&self) -> Source {
        source(&self.path, self.archive.as_deref())
    }
}

fn source(path: &Path, archive: Option<&Path>) -> Source {
    let source = Source::at(path);
    match archive {
        Some(archive) => source.with_archive(archive),
        None => source,
    }
}

const REPLAY_HELP: &str = "\
Examples:
  fairway events replay /var/lib/fairway
  fairway events replay /var/lib/fairway --until 400 --state > before.json
  fairway events replay alice.jsonl --json | jq -r .digest

The digest is the one that checkpoints.jsonl and the manifests of backups name.";

const ARCHIVE_HELP: &str = "\
Examples:
  fairway events archive /var/lib/fairway --to /mnt/archive --dry-run
  fairway events archive /var/lib/fairway --to /mnt/archive

Every command over the log reads the archived segments from there; --archive names another place. Where no snapshot can be
read, the node does not start before they are copied back. A segment has 64 MiB.

Exit codes: 0 done or nothing to do, 1 a disk failed on the way (every segment is whole in one of the two places; repeat it),
2 refused, and nothing was changed.";

const DIFF_HELP: &str = "\
Examples:
  fairway events diff /var/lib/fairway /mnt/backups/1795860000000-412/log
  fairway events diff yesterday.jsonl /var/lib/fairway --context 20

Exit codes: 0 the same, 1 they differ, 2 one of them cannot be read.";

/// Carries out `events`.
///
/// # Errors
/// What the operator must know; exit code 1, or 2 where two logs were to be compared.
pub fn carry_out(command: &EventsCommand) -> anyhow::Result<ExitCode> {
    match command {
        EventsCommand::List { log, channel, json } => list(&log.source(), *channel, *json),
        EventsCommand::Show { log, lsn, batch, json } => {
            let extent = if *batch { Extent::Batch } else { Extent::Event };
            show(&log.source(), Lsn(*lsn), extent, *json)
        }
        EventsCommand::Replay { log, until, state, json } => {
            replay(&log.source(), until.map(Lsn), *state, *json)
        }
        EventsCommand::Diff { first, second, first_archive, second_archive, more } => {
            let first = source(first, first_archive.as_deref());
            diff(&first, &source(second, second_archive.as_deref()), more)
        }
        EventsCommand::Archive { data_dir, to, dry_run, json } => {
            let run = if *dry_run { Run::Dry } else { Run::Real };
            archive(data_dir, to, run, *json)
        }
        EventsCommand::Export { log, out } => export(&log.source(), out.as_deref()),
        EventsCommand::Stats { log, json } => stats(&log.source(), *json),
        EventsCommand::Verify { log, json } => verify(&log.source(), *json),
    }
}

fn list(source: &Source, of: Option<Channel>, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in events::list(source)? {
        if of.is_some_and(|channel| line.event.channel() != Some(channel.0)) {
            continue;
        }
        if json {
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", told(&line))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// One event in one line.
fn told(line: &Line) -> String {
    format!("{:>6}  {}  {:?}", line.lsn.0, line.time_ms, line.event)
}

fn show(source: &Source, lsn: Lsn, extent: Extent, json: bool) -> anyhow::Result<ExitCode> {
    let shown = events::show::show(source, lsn, extent)?;
    if json {
        print_json(&shown)?
    } else {
        print(&shown_text(&shown)?)?
    }
    Ok(ExitCode::SUCCESS)
}

fn shown_text(shown: &Shown) -> anyhow::Result<String> {
    let Shown { end, batch, events } = shown;
    let place = batch.file.as_deref().map(|file| format!(" in {file}")).unwrap_or_default();
    let mut text = format!(
        "batch of events {} to {}{place}, of {end}: {} bytes, chain hash {}\n",
        batch.first, batch.last, batch.bytes, batch.chain
    );
    for event in events {
        text.push_str(&format!("\nevent {} at {} ms: {}", event.lsn, event.time_ms, event.name));
        text.push_str(if event.lazy { ", which forced no sync\n" } else { "\n" });
        if let Some(channel) = event.channel {
            text.push_str(&format!("of channel {channel}\n"));
        }
        for signer in &event.signers {
            text.push_str(&format!("signed by {signer}\n"));
        }
        text.push_str(&serde_json::to_string_pretty(&event.event)?);
        text.push('\n');
    }
    Ok(text)
}

fn replay(
    source: &Source,
    until: Option<Lsn>,
    state: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut ticker = Ticker::start();
    let replay = events::replay::replay(source, until, &mut |progress| ticker.tell(progress))?;
    ticker.end();
    if state {
        if !json {
            eprint!("{}", summary_text(&replay.summary));
        }
        print(&format!("{}\n", canonical_state(&replay.state)))?;
    } else if json {
        print_json(&replay.summary)?;
    } else {
        print(&summary_text(&replay.summary))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn summary_text(summary: &Summary) -> String {
    let mut text = format!("event {} of {}, at {} ms\n", summary.lsn, summary.end, summary.time_ms);
    let mut row = |name: &str, what: String| text.push_str(&format!("{name:<18}{what}\n"));
    row("state digest", summary.digest.to_string());
    let head = summary.head.map(|head| head.to_string());
    row("chain hash", head.unwrap_or_else(|| "none: in the middle of a batch".into()));
    if let Some((node, chain)) = summary.node.zip(summary.chain_id) {
        row("node", format!("{node} on chain {chain}"));
    }
    if let Some(block) = summary.block {
        row("newest block", block.0.to_string());
    }
    if let Some(why) = &summary.recovery {
        row("in recovery", why.clone());
    }
    for (name, counts) in [
        ("channels", &summary.channels),
        ("virtual channels", &summary.virtual_channels),
        ("objectives", &summary.objectives),
    ] {
        let all: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
        row(name, if all.is_empty() { "none".into() } else { all.join(", ") });
    }
    row("to be repeated", format!("{} messages and transactions", summary.wishes));
    text
}

/// Tells how far long work is, on stderr: a moving line on a terminal, a plain one every ten seconds elsewhere.
struct Ticker {
    every: Duration,
    last: Instant,
    moves: bool,
    told: bool,
}

impl Ticker {
    fn start() -> Ticker {
        let moves = io::stderr().is_terminal();
        let every = if moves { Duration::from_millis(200) } else { Duration::from_secs(10) };
        Ticker { every, last: Instant::now(), moves, told: false }
    }

    fn tell(&mut self, progress: Progress) {
        if self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        self.told = true;
        let Progress { replayed, end } = progress;
        if self.moves {
            eprint!("\r{replayed} of {end} events");
        } else {
            eprintln!("{replayed} of {end} events");
        }
    }

    fn end(&self) {
        if self.told && self.moves {
            eprint!("\r\x1b[K");
        }
    }
}

fn diff(first: &Source, second: &Source, how: &DiffArgs) -> anyhow::Result<ExitCode> {
    let times = if how.ignore_times { Times::Ignored } else { Times::Count };
    let compared = events::diff::diff(first, second, times, how.context);
    let compared = compared.map_err(|e| Refused(e.to_string()))?;
    if how.json {
        print_json(&compared)?
    } else {
        print(&diff_text(&compared, times))?
    }
    let same = compared.is_same(times);
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(BAD_RESULT) })
}

fn diff_text(compared: &Compared, times: Times) -> String {
    let mut text = String::new();
    for (name, End { lsn, head }) in [("first ", &compared.first), ("second", &compared.second)] {
        text.push_str(&format!("{name}  {lsn} events, chain hash {head}\n"));
    }
    if times == Times::Ignored {
        text.push_str("Times are not compared.\n");
    }
    let Some(parting) = &compared.parting else {
        text.push_str(if compared.is_same(times) {
            "The same, event by event.\n"
        } else {
            "The same, event by event; but they stand in other batches: one log is no copy of the other.\n"
        });
        return text;
    };
    match parting.at.0.saturating_sub(1) {
        0 => text.push_str("\nThey part at once:\n"),
        same => {
            text.push_str(&format!("\nThe first {same} events are the same. Then they part:\n\n"));
        }
    }
    for line in &parting.before {
        text.push_str(&format!("         {}\n", told(line)));
    }
    for (name, lines) in [("first ", &parting.first), ("second", &parting.second)] {
        text.push('\n');
        for (i, line) in lines.iter().enumerate() {
            let mark = if i == 0 { ">" } else { " " };
            text.push_str(&format!("{name} {mark} {}\n", told(line)));
        }
        if lines.is_empty() {
            text.push_str(&format!("{name} > ends here\n"));
        }
    }
    text.push('\n');
    let (first, second) = (&parting.first, &parting.second);
    text.push_str(&fate("first", "second", first.first(), parting.later_in_second));
    text.push_str(&fate("second", "first", second.first(), parting.later_in_first));
    text
}

/// One sentence about one log's event.
fn fate(one: &str, other: &str, line: Option<&Line>, later: Option<Lsn>) -> String {
    match (line, later) {
        (None, _) => format!("The {one} log ends where the {other} goes on.\n"),
        (Some(line), Some(later)) => {
            format!(
                "Event {} of the {one} log comes in the {other} one as event {later}.\n",
                line.lsn
            )
        }
        (Some(line), None) => {
            format!("Event {} of the {one} log never comes in the {other} one.\n", line.lsn)
        }
    }
}

fn archive(data_dir: &Path, to: &Path, run: Run, json: bool) -> anyhow::Result<ExitCode> {
    let mut ticker = Ticker::start();
    let done = archive::archive(data_dir, to, run, &mut |progress| ticker.tell(progress));
    ticker.end();
    let done = done.map_err(|e| match e {
        ArchiveError::Io { .. } => e.into(),
        // Nothing was changed.
        e => anyhow::Error::from(Refused(e.to_string())),
    })?;
    if json {
        print_json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Archived { segments, bytes, first_kept, snapshots: [older, newer] } = &done;
    let held = format!("the snapshots of events {older} and {newer} are what the log comes to");
    let (here, there) = (data_dir.display(), to.display());
    print(&match (segments.len(), run) {
        (0, _) => {
            format!("{here}: nothing to archive: a start reads from {first_kept} on; {held}\n")
        }
        (n, Run::Dry) => format!(
            "{here}: {n} segments with {bytes} bytes can be archived, {}; {held}\n",
            segments.join(", ")
        ),
        (n, Run::Real) => format!(
            "{there}: {n} segments with {bytes} bytes are here now, {}; the log in {here} begins with {first_kept}; {held}\n",
            segments.join(", ")
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn export(source: &Source, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let lines = match out {
        None => events::export(source, &mut io::stdout().lock())?,
        Some(path) => {
            let file = File::create_new(path)
                .with_context(|| format!("{}: name a file that does not exist", path.display()))?;
            let lines = events::export(source, &mut BufWriter::new(&file))?;
            file.sync_all().with_context(|| format!("{}: cannot sync it", path.display()))?;
            lines
        }
    };
    eprintln!("{lines} lines");
    Ok(ExitCode::SUCCESS)
}

fn stats(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let stats = events::stats(source)?;
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

fn verify(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let found = events::verify(source)?;
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
