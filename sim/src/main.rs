//! `fairway-sim`: run, replay, shrink and explain seeded simulations of Fairway nodes.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairway_sim::cli::main()
}
