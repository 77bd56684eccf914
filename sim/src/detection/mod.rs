//! How well the simulator finds bugs: planted ones, each many times, measured in runs until it is found.
//!
//! A [`Trial`] runs one [`Course`] with one mutant until something fails. Courses differ in what they may do ([`Arm`]), which shows what
//! faults and swarms are worth; repetitions have ranges of seeds of their own. A [`Survey`] counts, over runs that no trial uses, how
//! often the planted code runs at all, how often it changes the run, and how often it is found. A [`Witness`] says who finds it, and who would
//! if the others did not.

mod arm;
mod page;
mod plot;
mod record;
mod survey;
mod trial;
mod witness;

pub use arm::{Arm, Course};
pub use page::page;
pub use record::{Record, put_survey, put_trial, put_witness};
pub use survey::{Clean, Survey};
pub use trial::{Found, HarnessBug, Trial};
pub use witness::{SEEN, Seen, Sight, Witness};
