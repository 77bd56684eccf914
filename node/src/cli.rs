//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub mod backup;
pub mod events;
pub mod init;
pub mod keys;
pub mod load;
pub mod pages;
pub mod settings;

use backup::{BackupCommand, DrillArgs};
use events::EventsCommand;
use fairway_node::client::args::{Asking, Tokens};
use init::InitArgs;
use keys::{KeysCommand, PasswordArgs};
use load::{LoadArgs, PartyArgs};
use pages::{CompletionsArgs, ManArgs};
use settings::{ConfigArgs, ConfigCommand};

/// An event-sourced Nitro state-channel node.
#[derive(Debug, Parser)]
#[command(name = "fairway", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what this binary was built from.
    #[command(
        after_help = "Examples:\n  fairway version\n  fairway version --json | jq .mutants_compiled"
    )]
    Version {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Play whole lives of channels on this machine, direct and through a hub, and check every balance.
    ///
    /// Alice's, Bob's and a hub's nodes run in this process with real log files and encrypted sessions over TCP. Bob's node is
    /// dropped in mid-funding and goes on from its files; later Bob challenges with an old state and Alice's node answers. Then
    /// Alice pays Bob through the hub without a transaction, and at last the hub cheats and gains nothing.
    ///
    /// The chain is a DEVELOPMENT CHAIN: in memory, without gas, ending with the process. Money on it is worth nothing.
    #[command(after_help = DEVNET_HELP)]
    Devnet(Devnet),
    /// Run one node.
    ///
    /// It runs on an Ethereum chain, or on a development chain of its own that ends with the process, until SIGINT or SIGTERM.
    #[command(after_help = RUN_HELP)]
    Run {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Make a new node's data directory, keys and configuration.
    #[command(after_help = init::HELP)]
    Init(InitArgs),
    /// Make and look after keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running node whether it is ready, and say why it is not.
    #[command(
        after_help = "Examples:\n  fairway health\n  fairway health --url http://127.0.0.1:9191 --timeout 2s\n\nExit codes: 0 ready, 1 not ready or no answer."
    )]
    Health {
        /// Where the node serves metrics and health.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
        url: String,
        /// How long to wait for the answer, from 10ms to 60s.
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = block_time)]
        timeout: Duration,
    },
    /// Read a node's log.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Copy a node's log where it survives the node, and bring it back.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Prove that the newest backup can be used: restore it somewhere else, open it, and compare.
    #[command(after_help = backup::DRILL_HELP)]
    Drill(DrillArgs),
    /// Measure this machine: many channels at once between two nodes' processes, and payments through a hub.
    #[command(after_help = load::HELP)]
    Loadtest(LoadArgs),
    /// One node of a load test.
    #[command(hide = true)]
    LoadtestParty(PartyArgs),
    /// Write the completions of a shell.
    #[command(
        after_help = "Example:\n  fairway completions bash --out ~/.local/share/bash-completion/completions"
    )]
    Completions(CompletionsArgs),
    /// Write man pages.
    #[command(after_help = "Example:\n  fairway man --out /usr/local/share/man/man1")]
    Man(ManArgs),
    /// Who may ask a node over the network.
    #[command(subcommand)]
    Token(Tokens),
    #[command(flatten)]
    Ask(Asking),
}

/// Options of `devnet`.
#[derive(Debug, Args)]
pub struct Devnet {
    /// Put the nodes' files here and keep them. Must be new or empty. [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the temporary directory.
    #[arg(long)]
    pub keep: bool,
    /// One JSON document on stdout, the story on stderr.
    #[arg(long)]
    pub json: bool,
    /// Time between blocks, from 10ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = block_time)]
    pub block_time: Duration,
    /// Payments in the first channel, and as many through the hub.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub updates: u32,
}

/// `250ms` or `2s`, within limits that the devnet's time-outs were made for.
fn block_time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 200ms or 1s, from 10ms to 60s".to_string();
    let (digits, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        (None, None) => return Err(expected()),
    };
    let count: u64 = digits.parse().map_err(|_| expected())?;
    let time = Duration::from_millis(count.checked_mul(unit_ms).ok_or_else(expected)?);
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    if range.contains(&time) { Ok(time) } else { Err(expected()) }
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    it ran, and the result is bad: a wrong balance, a broken log, a failed disk, a stop that took too long, a
       refusal of the node
  2    it did not start: wrong usage, a refused configuration, key or password, a port or a data directory in use, a build with
       planted bugs
  3    no node answers
  4    what was waited for has not happened in time; it goes on
  130  ended at once by SIGINT; 143 by SIGTERM
  134  a bug: the process aborts rather than limp on with money at stake";

const DEVNET_HELP: &str = "\
Examples:
  fairway devnet
  fairway devnet --block-time 1s --updates 500
  fairway devnet --dir ./demo && fairway events list ./demo/alice
  fairway devnet --json 2>/dev/null | jq .balances

Exit codes: 0 every balance is exactly what it must be, 1 otherwise, 2 wrong usage.";

const RUN_HELP: &str = "\
A flag counts more than a FAIRWAY_ variable, that more than the file, the file more than the default:
`fairway config show` says what comes of it, `fairway config sample` explains every key.

Examples:
  fairway run --config fairway.toml
  FAIRWAY_CHAIN__QUORUM=2 fairway run --config fairway.toml --metrics-port 9091

The first SIGINT or SIGTERM stops it in order, within shutdown.deadline_s; a second one ends it at once. Its log is whole either way.

Exit codes: 0 stopped in order, 1 the disk failed or the stop took too long, 2 refused to start, 130 or 143 ended at once.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn block_times_have_units_and_limits() {
        for (text, ms) in
            [("200ms", Some(200)), ("1s", Some(1_000)), ("10ms", Some(10)), ("60s", Some(60_000))]
        {
            assert_eq!(block_time(text).ok(), ms.map(Duration::from_millis), "{text}");
        }
        for text in ["", "200", "9ms", "61s", "-1s", "1.5s", "18446744073709551615s"] {
            assert!(block_time(text).is_err(), "{text}");
        }
    }
}
