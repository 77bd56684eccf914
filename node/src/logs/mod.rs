//! The log for people: what a running node says while it works. Not the event log, which is the truth.
//!
//! Lines go to stderr, and to `logs/node.log` in the data directory where `[log] file` is on. Text or JSON; the level stands in
//! capitals in both. SIGHUP opens the file anew, for whoever rotates it from outside.
//!
//! Fields where they apply: `channel_id`, `objective_id`, `peer`, `lsn`. Levels: error = somebody must act; warn = a peer or an
//! endpoint misbehaved; info = the life of channels and objectives; debug = each event; trace = bytes. No secret has a way into a
//! line: keys have no `Debug`, and of endpoints only scheme, host and port are told.

mod file;
mod notices;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::files;
use file::LogFile;

pub(crate) use notices::{challenges, follow};

/// How lines of the log for people look, and where they go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Whether lines also go to `logs/node.log` in the data directory: five files of ten megabytes at most.
    pub file: bool,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error(
        "{path}: cannot open the log for people: {source}; free the place, or turn `[log] file` off"
    )]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else has installed a log already: a bug of ours.
    #[error("the process has a log already: {0}")]
    Twice(#[from] TryInitError),
}

/// The log of this process.
pub struct Logs {
    file: Option<Arc<Shared>>,
}

impl Logs {
    /// Opens the file anew, after somebody has moved it away.
    pub fn reopen(&self) {
        if let Some(file) = &self.file {
            file.with(LogFile::reopen);
        }
    }
}

/// Installs the log of the process: everything up to `level` is told from here on.
///
/// # Errors
/// [`LogError`]; nothing is told.
pub fn install(level: Level, config: &LogConfig, data_dir: &Path) -> Result<Logs, LogError> {
    let file = match config.file {
        false => None,
        true => {
            let path = data_dir.join("logs").join("node.log");
            let at = |source| LogError::File { path: path.display().to_string(), source };
            // The event log will be there too: its directory must not come to be by the way.
            if !data_dir.exists() {
                files::create(data_dir).map_err(at)?;
            }
            Some(Arc::new(Shared(Mutex::new(LogFile::open(&path).map_err(at)?))))
        }
    };
    let wanted = || told(level);
    let stderr = lines(config.format, io::stderr, is_terminal()).with_filter(wanted());
    let to_file =
        file.clone().map(|f| lines(config.format, Writer(f), false).with_filter(wanted()));
    tracing_subscriber::registry().with(CountLevels).with(stderr).with(to_file).try_init()?;
    Ok(Logs { file })
}

/// Our own lines up to `level`; those of libraries only where something went wrong.
fn told(level: Level) -> Targets {
    let ours = ["fairway", "fairway_node", "fairway_chain", "fairway_transport"];
    Targets::new()
        .with_targets(ours.map(|target| (target, LevelFilter::from_level(level))))
        .with_default(LevelFilter::from_level(level.min(Level::WARN)))
}

fn lines<S, W>(format: LogFormat, to: W, ansi: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(to).with_ansi(ansi);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// The file, for all threads. A mutex, because a line is written by whoever has it to say, at once: a queue with a thread of its own
/// would lose the last lines before an abort, which are the ones that matter.
struct Shared(Mutex<LogFile>);

impl Shared {
    /// `None` where a thread that panics would wait for itself: its abort must not turn into a hang.
    fn with<T>(&self, act: impl FnOnce(&mut LogFile) -> T) -> Option<T> {
        if std::thread::panicking() {
            return self.0.try_lock().ok().map(|mut file| act(&mut file));
        }
        // A panic while a line is written leaves half a line at worst.
        Some(act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Writes whole lines to the file.
struct Writer(Arc<Shared>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Shared);

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.with(|file| file.write(line)).unwrap_or(Ok(()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts lines by level, told or not, for the whole process.
struct CountLevels;

impl<S: Subscriber> Layer<S> for CountLevels {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let at = match *event.metadata().level() {
            Level::ERROR => 0,
            Level::WARN => 1,
            Level::INFO => 2,
            Level::DEBUG | Level::TRACE => return,
        };
        COUNTS[at].fetch_add(1, Ordering::Relaxed);
    }
}

/// Lines so far: errors, warnings and information.
pub(crate) fn counted() -> impl Iterator<Item = (&'static str, u64)> {
    ["error", "warn", "info"].into_iter().zip(&COUNTS).map(|(l, n)| (l, n.load(Ordering::Relaxed)))
}

/// A process has one log.
static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: both formats say what happened, with capitals and fields, in a file that is opened anew when it was moved away.
    /// Method: lines of a subscriber for this thread alone.
    #[test]
    fn lines_have_a_level_and_fields_in_both_formats() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/node.log");
        for (format, expected) in [
            (LogFormat::Text, "ERROR fairway_node::logs::tests: the disk is full lsn=7"),
            (LogFormat::Json, "\"level\":\"ERROR\",\"message\":\"the disk is full\",\"lsn\":7"),
        ] {
            let file = Arc::new(Shared(Mutex::new(LogFile::open(&path).unwrap())));
            let layer = lines(format, Writer(file.clone()), false).with_filter(told(Level::INFO));
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(lsn = 7, "the disk is full");
                tracing::debug!("too much");
                tracing::info!(target: "hyper", "of a library");
            });
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(expected), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            std::fs::rename(&path, dir.path().join("moved")).unwrap();
            Logs { file: Some(file) }.reopen();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        }
    }
}
