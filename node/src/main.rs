//! `fairway`: the shipped binary. Reads the command line, and turns results into text and exit codes.
//!
//! A panic in here is a bug, and a node that holds money must not limp on with one: whatever thread panics, the process aborts.
//! Its log is safe at every moment, so starting it again is the remedy.

#![forbid(unsafe_code)]

mod cli;
mod signals;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use fairway_node::client::{self, args::Tokens};
use fairway_node::config::{self, ConfigError, Sources};
use fairway_node::devnet::{self, Options, Story, Stream};
use fairway_node::keys::{KeyError, PasswordSource};
use fairway_node::logs::{self, Logs};
use fairway_node::rpc;
use fairway_node::version::Version;
use fairway_node::{Node, NodeError, Stop};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use cli::{Cli, Command};
use signals::Signals;

fn main() -> ExitCode {
    abort_on_panic();
    let command = Cli::parse().command;
    match carry_out(command) {
        Ok(code) => code,
        // Whoever read our output has had enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fairway: {}", told(&e));
            ExitCode::from(if was_refused(&e) { REFUSED } else { BAD_RESULT })
        }
    }
}

/// An error and its causes in one line. Most errors have their cause in their own words already.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Whether nothing was done, and whoever asked has to correct something.
fn was_refused(error: &anyhow::Error) -> bool {
    error.is::<ConfigError>()
        || error.is::<KeyError>()
        || error.is::<NodeError>()
        || error.is::<Refused>()
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Version { json: true } => print_json(&Version::this()).map(|()| ExitCode::SUCCESS),
        Command::Version { json: false } => {
            print(&Version::this().text()).map(|()| ExitCode::SUCCESS)
        }
        Command::Devnet(options) => play(options),
        Command::Run { config, password } => run_node(&config.sources(), password.given()),
        Command::Init(chosen) => cli::init::carry_out(&chosen),
        Command::Keys(command) => cli::keys::carry_out(&command),
        Command::Backup(command) => cli::backup::carry_out(&command),
        Command::Drill(chosen) => cli::backup::carry_out_drill(&chosen),
        Command::Loadtest(chosen) => cli::load::carry_out(&chosen),
        Command::LoadtestParty(chosen) => cli::load::carry_out_party(&chosen),
        Command::Completions(chosen) => cli::pages::completions(&chosen),
        Command::Man(chosen) => cli::pages::man(&chosen),
        Command::Config(command) => cli::settings::carry_out(&command),
        Command::Events(command) => cli::events::carry_out(&command),
        Command::Health { url, timeout } => health(&url, timeout),
        Command::Token(command) => {
            let json = matches!(command, Tokens::List { json: true, .. });
            with_output(json, |output| client::tokens(&command, output, rpc::now_ms()))
        }
        Command::Ask(asking) => {
            let runtime = runtime()?;
            let json = asking.at().json;
            with_output(json, |output| runtime.block_on(client::carry_out(&asking, output)))
        }
    }
}

/// Runs a command of the client; its complaints have exit codes of their own.
fn with_output(
    json: bool,
    run: impl FnOnce(&mut client::Output<'_>) -> Result<(), client::ClientError>,
) -> anyhow::Result<ExitCode> {
    let (mut out, mut progress) = (io::stdout(), io::stderr());
    match run(&mut client::Output { out: &mut out, progress: &mut progress, json }) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(client::ClientError::Output(e)) => Err(e.into()),
        Err(e) => {
            eprintln!("fairway: {e}");
            Ok(ExitCode::from(e.exit_code()))
        }
    }
}

fn play(chosen: cli::Devnet) -> anyhow::Result<ExitCode> {
    let told_on = if chosen.json { Stream::Stderr } else { Stream::Stdout };
    let story = Story::begin(told_on);
    let mut temporary = None;
    let directory = match chosen.dir {
        Some(dir) => {
            if let Err(why) = devnet::check_directory(&dir) {
                eprintln!("fairway: {why}");
                return Ok(ExitCode::from(REFUSED));
            }
            dir
        }
        None => {
            let made = tempfile::Builder::new().prefix("fairway-devnet-").tempdir();
            let made = made.context("cannot create a temporary directory; name one with --dir")?;
            let path = made.path().to_path_buf();
            temporary = Some(made);
            path
        }
    };
    let kept = temporary.is_none() || chosen.keep;
    let fate = if kept { "kept" } else { "removed at the end; keep them with --keep" };
    story.say(&format!("the nodes' files are in {} ({fate})", directory.display()));
    if chosen.keep {
        temporary = temporary.and_then(|made| {
            let _ = made.keep();
            None
        });
    }
    let options = Options { directory, block_time: chosen.block_time, updates: chosen.updates };
    let outcome = runtime()?.block_on(async {
        tokio::select! {
            report = devnet::run(&options, story) => Ok(report),
            code = signalled() => Err(code),
        }
    });
    drop(temporary);
    let report = match outcome {
        Ok(report) => report,
        Err(code) => return Ok(ExitCode::from(code)),
    };
    let report = report.context("the devnet did not come to its end")?;
    if chosen.json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(BAD_RESULT) })
}

fn run_node(sources: &Sources, passwords: Option<PasswordSource>) -> anyhow::Result<ExitCode> {
    let loaded = config::load(sources)?;
    let passwords =
        passwords.unwrap_or_else(|| loaded.config.keys.passwords(PasswordSource::terminal()));
    runtime()?.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let config = &loaded.config;
        let logs = logs::install(config.log_level.into(), &config.log, &config.data_dir)?;
        tokio::spawn(reopen_on_hangup(logs));
        let mut node = tokio::select! {
            biased;
            code = signals.next() => end_at_once(code),
            started = Node::start(loaded, passwords) => started?,
        };
        introduce(&node);
        let handle = node.handle().clone();
        tokio::select! {
            failed = node.failed() => failed.context("the node has stopped")?,
            () = fairway_node::health::tell(handle) => {}
            _ = signals.next() => {}
        }
        eprintln!("fairway: stopping; a second signal ends it at once");
        let deadline_s = node.config().shutdown.deadline_s;
        let stopped = tokio::select! {
            biased;
            code = signals.next() => end_at_once(code),
            stopped = node.stop() => stopped.context("the node has stopped")?,
        };
        Ok(match stopped {
            Stop::InOrder => ExitCode::SUCCESS,
            Stop::Dropped { .. } => {
                eprintln!(
                    "fairway: the stop took longer than {deadline_s} s (shutdown.deadline_s): the node was dropped where it stood; its log is whole"
                );
                ExitCode::from(BAD_RESULT)
            }
        })
    })
}

/// SIGHUP is from whoever has moved the file of the log away.
async fn reopen_on_hangup(logs: Logs) {
    // Without a handler the signal ends the process, as it does by itself.
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        logs.reopen();
        info!("the log for people is opened anew");
    }
}

/// Says who runs, and where.
fn introduce(node: &Node) {
    if let Some(gas) = node.gas_address() {
        eprintln!("fairway: {gas} pays for gas and deposits");
    }
    eprintln!("fairway: node {} listens at {}", node.address(), node.listens_at());
    eprintln!("fairway: metrics and health at http://{}", node.watched_at());
    if let Some(at) = node.rpc().tcp() {
        eprintln!("fairway: rpc listens at {at}");
    }
    eprintln!("fairway: rpc listens at {}", node.rpc().socket().display());
    if node.gas_address().is_none() {
        eprintln!(
            "fairway: on a development chain of its own, which ends with this process: money here is worth nothing"
        );
    }
}

/// Whoever asks twice does not want to wait. The log is whole at every moment.
fn end_at_once(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

fn health(url: &str, patience: Duration) -> anyhow::Result<ExitCode> {
    let answer = runtime()?.block_on(fairway_node::metrics::client::ready(url, patience))?;
    print(&format!("{}\n", answer.text))?;
    Ok(if answer.ready { ExitCode::SUCCESS } else { ExitCode::from(BAD_RESULT) })
}

/// The code of the first signal. Without handlers the signals end the process by themselves.
async fn signalled() -> u8 {
    match Signals::catch() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the executor")
}

/// Prints the panic and aborts, whatever thread it was in.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        tracing::error!(%info, "a bug: the process stops here");
        eprintln!(
            "fairway: this is a bug; the process stops here, and its log is whole: start it again"
        );
        std::process::abort();
    }));
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// Something was asked for that is not done; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// Exit codes; the help of the command line explains them.
const BAD_RESULT: u8 = 1;
const REFUSED: u8 = 2;
