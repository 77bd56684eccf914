//! Progress on stderr: a line that moves on a terminal, a plain line every ten seconds elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::RunReport;

/// Counts runs as they end. Display only: nothing in a report comes from here.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// Shared by the workers of a sweep, which call from their own threads.
    counts: Mutex<Counts>,
    plain: bool,
}

#[derive(Default)]
struct Counts {
    runs: u64,
    failed: u64,
    virtual_ns: u128,
    faults: BTreeMap<String, u64>,
    last_line: Option<Instant>,
}

impl Progress {
    /// Progress towards `total` runs.
    pub fn new(total: u64, hidden: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !hidden;
        let bar = if terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        bar.set_length(total);
        let style = "{bar:24} {human_pos}/{human_len} runs, {msg}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress {
            bar,
            started: Instant::now(),
            counts: Mutex::default(),
            plain: !terminal && !hidden,
        }
    }

    /// One run has ended.
    pub fn seen(&self, report: &RunReport) {
        self.bar.inc(1);
        let Ok(mut counts) = self.counts.lock() else { return };
        counts.runs += 1;
        counts.failed += u64::from(!report.verdict.is_pass());
        counts.virtual_ns += u128::from(report.virtual_ns);
        for (kind, n) in &report.faults_fired {
            *counts.faults.entry(kind.clone()).or_default() += n;
        }
        let elapsed = self.started.elapsed();
        if !self.plain {
            if counts.runs.is_multiple_of(16) {
                self.bar.set_message(counts.line(elapsed));
            }
            return;
        }
        let due = counts.last_line.map_or(self.started, |l| l).elapsed() >= Duration::from_secs(10);
        if due {
            counts.last_line = Some(Instant::now());
            eprintln!(
                "  {} of {} runs, {}",
                counts.runs,
                self.bar.length().unwrap_or(0),
                counts.line(elapsed)
            );
        }
    }

    /// A line of its own, where there is no moving one.
    pub fn say(&self, line: &str) {
        if self.plain {
            eprintln!("{line}");
        }
    }

    /// Takes the moving line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Counts {
    fn line(&self, elapsed: Duration) -> String {
        let ms = elapsed.as_millis().max(1);
        let per_second = u128::from(self.runs) * 1_000 / ms;
        let ratio = self.virtual_ns / 1_000_000 / ms;
        let faults: u64 = self.faults.values().sum();
        format!(
            "{per_second}/s, virtual:wall {ratio}:1, {} failed, {faults} faults of {} kinds",
            self.failed,
            self.faults.len()
        )
    }
}
