//! What must hold in every run: the list, and what they share.
//!
//! General statements only, never one for a known bug. Each has a test in which it fires on a bad trace; the statement, its
//! number and its observables are those of the protocol's catalogue (I1 to I48).

use fairway_core::nitro::Crypto;
use fairway_core::types::{Amount, ChannelId};

use crate::observe::{Observed, PartyId, PartyInfo};

/// What the run is, for invariants that need to know.
#[derive(Clone, Debug)]
pub struct Setting {
    /// All parties.
    pub parties: Vec<PartyInfo>,
    /// The scheme that signatures of this run use.
    pub crypto: Crypto,
    /// Blocks after which a node counts a fact.
    pub confirmations: u64,
    /// The largest reorg that the scenario may cause.
    pub reorg_depth_max: u64,
    /// Seconds between blocks.
    pub block_time_s: u64,
}

/// Whether a violation means that something bad happened, or that something good did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Must hold at every step.
    Safety,
    /// Must hold once faults have ended.
    Liveness,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: String,
    /// Safety or liveness.
    pub kind: Kind,
    /// Who broke it, if it was one party.
    pub by: Option<PartyId>,
    /// On which channel.
    pub channel: Option<ChannelId>,
    /// One sentence with the values.
    pub what: String,
    /// Who can lose how much by it, where that is known.
    pub loss: Option<(PartyId, Amount)>,
}

/// One invariant over one run.
pub trait Invariant {
    /// Its name in scenarios and reports: `durable-before-sent`.
    fn name(&self) -> &'static str;

    /// Its numbers in the protocol's catalogue: `["I2"]`.
    fn catalogue(&self) -> &'static [&'static str];

    /// The statement, in one sentence.
    fn statement(&self) -> &'static str;

    /// Safety or liveness.
    fn kind(&self) -> Kind {
        Kind::Safety
    }

    /// Looks at one observation.
    ///
    /// # Errors
    /// The violation; the run ends there.
    fn observe(&mut self, now_ns: u64, seen: &Observed<'_>) -> Result<(), Violation>;
}

/// TEMP
pub fn all(_s: &Setting) -> Vec<Box<dyn Invariant + Send>> { Vec::new() }

/// TEMP
pub fn catalogue() -> Vec<(String, String, String)> { Vec::new() }
