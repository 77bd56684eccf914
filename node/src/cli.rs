//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::client::args::{Asking, Tokens};

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
    /// Run one node from a configuration file.
    ///
    /// This version has no Ethereum chain service: the node runs on a development chain of its own, which ends with the
    /// process. It stops on SIGINT and SIGTERM.
    #[command(after_help = RUN_HELP)]
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read a node's log.
    #[command(subcommand)]
    Events(Events),
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

/// What can be read from a log.
#[derive(Debug, Subcommand)]
pub enum Events {
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
  1    it ran, and the result is bad: a wrong balance, a broken log, a failed disk, a refusal of the node
  2    it did not start: wrong usage, a refused configuration, a build with planted bugs
  3    no node answers
  4    what was waited for has not happened in time; it goes on
  130  interrupted
  134  a bug: the process aborts rather than limp on with money at stake";

const DEVNET_HELP: &str = "\
Examples:
  fairway devnet
  fairway devnet --block-time 1s --updates 500
  fairway devnet --dir ./demo && fairway events list ./demo/alice
  fairway devnet --json 2>/dev/null | jq .balances

Exit codes: 0 every balance is exactly what it must be, 1 otherwise, 2 wrong usage.";

const RUN_HELP: &str = "\
Example of a configuration file:
  data_dir   = \"/var/lib/fairway\"
  key_file   = \"/etc/fairway/key\"      # 64 hexadecimal digits, mode 0600
  p2p_listen = \"127.0.0.1:4100\"

  [[peers]]
  address = \"0x0101010101010101010101010101010101010101\"
  at      = \"10.0.0.2:4100\"

  [chain]
  kind = \"development\"

Instead of a development chain, with rpc_url = \"http://127.0.0.1:8545\" above the first section:
  [chain]
  chain_id      = 31337
  adjudicator   = \"0x0101010101010101010101010101010101010101\"
  consensus_app = \"0x0202020202020202020202020202020202020202\"
  payment_app   = \"0x0303030303030303030303030303030303030303\"

Example:
  fairway run --config fairway.toml

Exit codes: 0 stopped by a signal, 1 the disk failed, 2 refused to start.";

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
