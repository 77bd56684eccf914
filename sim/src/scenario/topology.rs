//! `[topology]`: who takes part, which channels they want, and what chain, network and disks are like.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dist::Dist;
use super::unit::{Count, Drift, Money, Nanos, Ppm, Shift};

/// Everything that stands before the run begins.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The parties' names, in the order in which reports show them.
    pub parties: Vec<String>,
    /// What is not the default about a party.
    #[serde(default)]
    pub party: BTreeMap<String, Party>,
    /// The channels that operations may open.
    #[serde(default)]
    pub channels: Vec<Channel>,
    /// The virtual channels that operations may open over them.
    #[serde(default)]
    pub virtuals: Vec<Virtual>,
    /// The chain.
    #[serde(default)]
    pub chain: Chain,
    /// Every link, outside the faults that touch it.
    #[serde(default)]
    pub network: Network,
    /// Every disk, outside the faults that touch it.
    #[serde(default)]
    pub disk: Disk,
    /// How long a node waits for a silent peer before it acts alone.
    #[serde(default = "patience")]
    pub patience: Nanos,
}

fn patience() -> Nanos {
    Nanos::secs(60)
}

/// `[topology.party.<name>]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Party {
    /// Honest, or an adversary with a strategy.
    pub role: Role,
    /// What it owns on chain when the run begins.
    pub funds: Money,
    /// How its clock differs from true time.
    pub clock: Clock,
}

impl Default for Party {
    /// Honest, with 100 ETH and a good clock.
    fn default() -> Party {
        let funds = Money(fairway_core::types::Amount::ether(100));
        Party { role: Role::Honest, funds, clock: Clock::default() }
    }
}

/// Whose side a party is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It runs our node; crashes do not change that.
    Honest,
    /// It does what its strategy says with its own keys.
    Byzantine(Strategy),
}

impl Role {
    /// Whether this party is owed anything by the invariants.
    pub fn is_honest(self) -> bool {
        self == Role::Honest
    }
}

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Takes signatures and gives none back.
    Withhold,
    /// Sends bytes and messages that make no sense.
    Garbage,
    /// Proposes a final state that pays itself more.
    AlteredFinal,
    /// Sends states with signatures that are not what they claim to be.
    ForgedSignatures,
    /// Challenges on chain with a state that is not the latest.
    StaleChallenge,
    /// Signs two different states for one turn.
    Equivocate,
    /// Keeps a countersignature back and checkpoints with it when the peer challenges.
    Ransom,
    /// Pays less in a virtual channel than it promised, or shows vouchers that are not the payer's.
    ShortChange,
}

impl Strategy {
    /// Its name, as scenarios write it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Withhold => "withhold",
            Strategy::Garbage => "garbage",
            Strategy::AlteredFinal => "altered_final",
            Strategy::ForgedSignatures => "forged_signatures",
            Strategy::StaleChallenge => "stale_challenge",
            Strategy::Equivocate => "equivocate",
            Strategy::Ransom => "ransom",
            Strategy::ShortChange => "short_change",
        }
    }

    /// What it does, in plain words after the party's name.
    pub fn story(self) -> &'static str {
        match self {
            Strategy::Withhold => "takes signatures and gives none back",
            Strategy::Garbage => "sends bytes and messages that make no sense",
            Strategy::AlteredFinal => "proposes a final state that pays itself more",
            Strategy::ForgedSignatures => "sends states with forged signatures",
            Strategy::StaleChallenge => "challenges on chain with an old state",
            Strategy::Equivocate => "signs two different states for one turn",
            Strategy::Ransom => {
                "keeps a countersignature back and locks the channel on chain with it"
            }
            Strategy::ShortChange => "pays less in a virtual channel than was promised",
        }
    }
}

/// How a party's clock differs from true time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clock {
    /// What it is ahead (or, negative, behind) at the start.
    pub skew: Dist<Shift>,
    /// How much too fast it runs, in millionths.
    pub drift_ppm: Dist<Drift>,
    /// A jump at a fixed moment.
    pub step: Option<ClockStep>,
}

impl Default for Clock {
    /// True time.
    fn default() -> Clock {
        Clock { skew: Dist::Is(Shift(0)), drift_ppm: Dist::Is(Drift(0)), step: None }
    }
}

/// A jump of a clock.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockStep {
    /// When, in true time.
    pub at: Dist<Nanos>,
    /// By how much.
    pub by: Dist<Shift>,
}

/// A channel that operations may open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// How operations and triggers name it.
    pub id: String,
    /// Its two participants, in the order of the allocation: the first deposits first.
    pub parties: (String, String),
    /// What each puts in; a participant that is not named puts in nothing.
    pub deposits: BTreeMap<String, Money>,
    /// How long a challenge can be answered. Whole seconds, as the contract counts them.
    pub challenge_duration: Nanos,
}

/// A virtual channel that operations may open. Each two neighbours share a channel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Virtual {
    /// How operations and triggers name it.
    pub id: String,
    /// The payer, the intermediaries on the way, the payee.
    pub parties: Vec<String>,
    /// Most that can be paid.
    pub amount: Money,
    /// How long a challenge can be answered. Whole seconds, as the contract counts them.
    pub challenge_duration: Nanos,
    /// In which channel the payer guarantees it; by default the node chooses.
    #[serde(default)]
    pub ledger: Option<String>,
}

/// The chain.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Chain {
    /// The time between two blocks, drawn for each block.
    pub block_time: Dist<Nanos>,
    /// How many blocks must stand on a fact before a node believes it.
    pub confirmations: Count,
    /// How long an endpoint takes to answer, drawn for each call.
    pub rpc_latency: Dist<Nanos>,
}

impl Default for Chain {
    /// A block a second, believed after three; answers within 5 to 50 ms.
    fn default() -> Chain {
        Chain {
            block_time: Dist::Is(Nanos::secs(1)),
            confirmations: Count(3),
            rpc_latency: Dist::Uniform(Nanos::millis(5), Nanos::millis(50)),
        }
    }
}

/// Every link, outside the faults that touch it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// The time a frame travels, drawn for each frame.
    pub latency: Dist<Nanos>,
    /// How many frames never arrive.
    pub loss: Ppm,
    /// How many frames arrive twice.
    pub duplicate: Ppm,
}

impl Default for Network {
    /// 5 to 50 ms, nothing lost, nothing doubled.
    fn default() -> Network {
        let latency = Dist::Uniform(Nanos::millis(5), Nanos::millis(50));
        Network { latency, loss: Ppm(0), duplicate: Ppm(0) }
    }
}

/// Every disk, outside the faults that touch it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// How long a sync takes, drawn for each.
    pub sync_latency: Dist<Nanos>,
}

impl Default for Disk {
    /// 0.1 to 5 ms: from a good disk to a shared one.
    fn default() -> Disk {
        Disk { sync_latency: Dist::Uniform(Nanos(100_000), Nanos::millis(5)) }
    }
}
