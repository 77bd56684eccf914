//! `fairway-sim`: run, replay, shrink and explain seeded simulations of Fairway nodes.

use std::process::ExitCode;

/// Two workers that simulate allocate all the time; nothing in a run depends on where.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fairway_sim::cli::main()
}
