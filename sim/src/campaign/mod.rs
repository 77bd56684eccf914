//! Many runs.

mod how;
mod sweep;

pub use how::{How, NO_MUTANT, Run, SEARCH_PERMILLE, exit_code, quiet_panics};
pub use sweep::{Tally, Until, sweep};
