//! `fairway loadtest`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use fairway_node::loadtest::{self, Options, PaymentOptions, Vouchers};

use super::block_time;
use crate::{BAD_RESULT, Refused, print, print_json, runtime, signalled};

/// Options of `loadtest`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Direct channels that are opened at once.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    channels: u32,
    /// Then pay through a hub: each payment with a voucher of its own, or sharing them.
    #[arg(long, value_name = "HOW")]
    payments: Option<How>,
    /// Payments that are made as fast as the nodes allow.
    #[arg(long, value_name = "N", default_value_t = 50_000, requires = "payments", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    count: u64,
    /// Virtual channels that they are spread over. [default: 256 for serial, 8 for coalesced]
    #[arg(long, value_name = "N", requires = "payments", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    virtual_channels: Option<u32>,
    /// Payments a second of the open loop. [default: 70 % of what was reached before]
    #[arg(long, value_name = "N", requires = "payments", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// How long the open loop lasts, from 1s to 60s.
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "payments", value_parser = block_time)]
    paced: Duration,
    /// Time between blocks, from 10ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = block_time)]
    block_time: Duration,
    /// Put the nodes' files here and keep them. Must be new or empty; its disk is what is measured. [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// How payments share vouchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// Each has its own.
    Serial,
    /// Those that wait together share one.
    Coalesced,
}

/// One node of a load test. Not for people.
#[derive(Debug, Args)]
pub struct PartyArgs {
    config: PathBuf,
}

/// Runs the test.
pub fn carry_out(chosen: &LoadArgs) -> anyhow::Result<ExitCode> {
    let temporary = match &chosen.dir {
        Some(dir) => {
            fairway_node::devnet::check_directory(dir).map_err(Refused)?;
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            None
        }
        None => {
            let made = tempfile::Builder::new().prefix("fairway-loadtest-").tempdir();
            Some(made.context("cannot create a temporary directory; name one with --dir")?)
        }
    };
    let named = chosen.dir.clone();
    let directory = temporary.as_ref().map(|made| made.path().to_path_buf()).or(named);
    let options = Options {
        directory: directory.expect("one of the two is there"),
        program: std::env::current_exe().context("cannot find this program's file")?,
        channels: chosen.channels,
        block_time: chosen.block_time,
        payments: chosen.payments.map(|how| chosen.paying(how)),
    };
    let mut say = |text: &str| eprintln!("fairway: {text}");
    let outcome = runtime()?.block_on(async {
        tokio::select! {
            report = loadtest::run(&options, &mut say) => Ok(report),
            code = signalled() => Err(code),
        }
    });
    let report = match outcome {
        Ok(report) => report.context("the load test did not come to its end")?,
        Err(code) => return Ok(ExitCode::from(code)),
    };
    if chosen.json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(BAD_RESULT) })
}

impl LoadArgs {
    fn paying(&self, how: How) -> PaymentOptions {
        let (vouchers, channels) = match how {
            How::Serial => (Vouchers::Serial, 256),
            How::Coalesced => (Vouchers::Coalesced, 8),
        };
        PaymentOptions {
            vouchers,
            channels: self.virtual_channels.unwrap_or(channels),
            count: self.count,
            rate: self.rate,
            paced: self.paced,
        }
    }
}

/// Runs one node of a test.
pub fn carry_out_party(chosen: &PartyArgs) -> anyhow::Result<ExitCode> {
    match runtime()?.block_on(loadtest::run_party(&chosen.config)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(why) => Err(anyhow::anyhow!(why)),
    }
}

pub const HELP: &str = "\
Two nodes in processes of their own, over real sockets, with every sync of their logs waited for, on a development chain. The first opens
N direct channels with the second, all in flight at once. With --payments a hub joins; the first node pays the second over it by vouchers:
as many as it can, then at a rate (time runs from when each payment was due), then a thousand in one channel; then channels are closed,
and the first node is stopped and started again.

Examples:
  fairway loadtest --channels 1000
  fairway loadtest --channels 1 --payments serial --count 100000 --dir /mnt/nvme/load
  fairway loadtest --channels 100 --payments coalesced --json | jq .payments.burst.per_second

Exit codes: 0 everything is as it must be, 1 otherwise, 2 wrong usage.";
