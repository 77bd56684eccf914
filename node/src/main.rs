//! `fairway`: the shipped binary. Reads the command line, and turns results into text and exit codes.
//!
//! A panic in here is a bug, and a node that holds money must not limp on with one: whatever thread panics, the process aborts.
//! Its log is safe at every moment, so starting it again is the remedy.

#![forbid(unsafe_code)]

mod chain;
mod cli;
mod client;
mod clock;
mod config;
mod devchain;
mod devnet;
mod events;
mod export;
mod files;
mod inbox;
mod ports;
mod rpc;
mod run;
mod runtime;
mod tcp;
mod version;

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fairway_core::wire::WIRE_VERSIONS;
use fairway_transport::{ChainPin, VersionRange};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, Command, Events};
use client::args::Tokens;
use devnet::{Options, Story, Stream};
use run::RunError;
use version::Version;

fn main() -> ExitCode {
    abort_on_panic();
    let command = Cli::parse().command;
    match carry_out(command) {
        Ok(code) => code,
        // Whoever read our output has had enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fairway: {e:#}");
            ExitCode::from(BAD_RESULT)
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Version { json: true } => print_json(&Version::this()).map(|()| ExitCode::SUCCESS),
        Command::Version { json: false } => {
            print(&Version::this().text()).map(|()| ExitCode::SUCCESS)
        }
        Command::Devnet(options) => play(options),
        Command::Run { config } => run_node(&config),
        Command::Events(Events::List { data_dir, json }) => list(&data_dir, json),
        Command::Events(Events::Export { data_dir, out }) => export(&data_dir, out.as_deref()),
        Command::Events(Events::Verify { data_dir, json }) => verify(&data_dir, json),
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
            report = devnet::run(&options, story) => Some(report),
            () = told_to_stop() => None,
        }
    });
    drop(temporary);
    let Some(report) = outcome else { return Ok(ExitCode::from(INTERRUPTED)) };
    let report = report.context("the devnet did not come to its end")?;
    if chosen.json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(BAD_RESULT) })
}

fn run_node(config: &Path) -> anyhow::Result<ExitCode> {
    match runtime()?.block_on(run::run(config, told_to_stop())) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(e @ RunError::Disk(_)) => Err(e.into()),
        Err(e) => {
            eprintln!("fairway: {e}");
            Ok(ExitCode::from(REFUSED))
        }
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

fn verify(data_dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let found = events::verify(data_dir)?;
    if json {
        print_json(&found)?;
    } else {
        let mut text = format!(
            "{} events in {} bytes: the hash chain holds\n{} signatures recovered again, {} states do not hold\n",
            found.events,
            found.log_bytes,
            found.signatures,
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

/// Done at SIGINT or SIGTERM. Nothing has to be flushed: the log is whole at every moment.
async fn told_to_stop() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
}

/// The network's limits on a chain, with the shipped defaults.
fn transport_config(chain: ChainPin) -> fairway_transport::Config {
    let versions = VersionRange::new(*WIRE_VERSIONS.start(), *WIRE_VERSIONS.end())
        .expect("core's oldest wire version is not above its newest");
    fairway_transport::Config::new(chain, versions)
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

/// Exit codes; the help of the command line explains them.
const BAD_RESULT: u8 = 1;
const REFUSED: u8 = 2;
const INTERRUPTED: u8 = 130;
