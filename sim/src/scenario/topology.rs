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
    #[serde(default)]
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
    pub patience: Dist<Nanos>,
}

impl Default for Topology {
    fn default() -> Topology {
        Topology {
            parties: Vec::new(),
            party: BTreeMap::new(),
            channels: Vec::new(),
            virtuals: Vec::new(),
            chain: Chain::default(),
            network: Network::default(),
            disk: Disk::default(),
            patience: patience(),
        }
    }
}

fn patience() -> Dist<Nanos> {
    Dist::Is(Nanos::secs(60))
}

/// `[topology.party.<name>]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Party {
    /// Honest, or an adversary with a strategy.
    pub role: Role,
    /// What it owns on chain when the run begins.
    pub funds: Dist<Money>,
    /// How its clock differs from true time.
    pub clock: Clock,
    /// The oldest and the newest wire version that it speaks; by default all that this build knows.
    pub versions: Option<(u16, u16)>,
}

impl Default for Party {
    /// Honest, with 100 ETH and a good clock.
    fn default() -> Party {
        let funds = Dist::Is(Money(fairway_core::types::Amount::ether(100)));
        Party { role: Role::Honest, funds, clock: Clock::default(), versions: None }
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
    /// Challenges a virtual channel with its prefund or postfund while vouchers exist.
    StaleVirtualChallenge,
    /// As payer, proposes a final state that pays less than its vouchers.
    LowFinal,
    /// As payer, sends vouchers that are worth nothing beside the honest ones.
    BadVouchers,
    /// Keeps its signature under the postfund from all or some.
    WithholdPostfund,
    /// Keeps its signature under the final state of a virtual channel from all or some.
    WithholdVirtualFinal,
    /// Keeps back signatures under ledger states that add a guarantee.
    WithholdGuarantee,
    /// Keeps back signatures under ledger states that give a guarantee back.
    WithholdRemoval,
    /// Proposes guarantees that nobody asked for.
    ForgedGuarantees,
    /// Shows states of virtual channels with forged signatures, as states and as evidence.
    ForgedEvidence,
    /// Asks for virtual channels without end.
    FloodOfVirtuals,
    /// Sends well-formed messages that are too large.
    Oversized,
    /// Rejects, acknowledges and answers what is not its own.
    Rejections,
    /// Does on chain what the contract lets a stranger do, to every channel at every block.
    Meddler,
    /// Is one of a coalition against a third party.
    Collude,
    /// As payee, redeems in the last blocks before a challenge ends.
    LateRedeem,
    /// As payee, redeems with entries that anybody pays out: nobody can reclaim any more.
    PoisonedRedemption,
    /// Follows one of the other strategies, drawn.
    Mixed,
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
            Strategy::StaleVirtualChallenge => "stale_virtual_challenge",
            Strategy::LowFinal => "low_final",
            Strategy::BadVouchers => "bad_vouchers",
            Strategy::WithholdPostfund => "withhold_postfund",
            Strategy::WithholdVirtualFinal => "withhold_virtual_final",
            Strategy::WithholdGuarantee => "withhold_guarantee",
            Strategy::WithholdRemoval => "withhold_removal",
            Strategy::ForgedGuarantees => "forged_guarantees",
            Strategy::ForgedEvidence => "forged_evidence",
            Strategy::FloodOfVirtuals => "flood_of_virtuals",
            Strategy::Oversized => "oversized",
            Strategy::Rejections => "rejections",
            Strategy::Meddler => "meddler",
            Strategy::Collude => "collude",
            Strategy::LateRedeem => "late_redeem",
            Strategy::PoisonedRedemption => "poisoned_redemption",
            Strategy::Mixed => "mixed",
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
            Strategy::StaleVirtualChallenge => {
                "challenges a virtual channel with a state in which nothing was paid"
            }
            Strategy::LowFinal => "proposes a final state below its vouchers",
            Strategy::BadVouchers => "sends vouchers that are worth nothing beside the honest ones",
            Strategy::WithholdPostfund => "keeps its signature under the postfund back",
            Strategy::WithholdVirtualFinal => {
                "keeps its signature under the final state of a virtual channel back"
            }
            Strategy::WithholdGuarantee => "keeps signatures under guarantees back",
            Strategy::WithholdRemoval => "does not give guarantees back",
            Strategy::ForgedGuarantees => "proposes guarantees that nobody asked for",
            Strategy::ForgedEvidence => "shows states of virtual channels with forged signatures",
            Strategy::FloodOfVirtuals => "asks for virtual channels without end",
            Strategy::Oversized => "sends messages that are too large",
            Strategy::Rejections => "rejects, acknowledges and answers what is not its own",
            Strategy::Meddler => "does on chain whatever a stranger can do",
            Strategy::Collude => "conspires with the other adversaries",
            Strategy::LateRedeem => "redeems in the last blocks before a challenge ends",
            Strategy::PoisonedRedemption => "redeems so that nobody can reclaim any more",
            Strategy::Mixed => "follows a strategy that is drawn",
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
    pub deposits: BTreeMap<String, Dist<Money>>,
    /// How long a challenge can be answered. Whole seconds, as the contract counts them; what is drawn between is rounded up.
    pub challenge_duration: Dist<Nanos>,
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
    pub amount: Dist<Money>,
    /// How long a challenge can be answered. Whole seconds, as the contract counts them; what is drawn between is rounded up.
    pub challenge_duration: Dist<Nanos>,
    /// In which channel the payer guarantees it; by default the node chooses.
    #[serde(default)]
    pub ledger: Option<String>,
}

/// The chain.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Chain {
    /// What executes calls.
    pub backend: Backend,
    /// The time between two blocks, drawn for each block.
    pub block_time: Dist<Nanos>,
    /// How many blocks must stand on a fact before a node believes it.
    pub confirmations: Dist<Count>,
    /// How long an endpoint takes to answer, drawn for each call.
    pub rpc_latency: Dist<Nanos>,
}

impl Default for Chain {
    /// The model; a block a second, believed after three; answers within 5 to 50 ms.
    fn default() -> Chain {
        Chain {
            backend: Backend::Model,
            block_time: Dist::Is(Nanos::secs(1)),
            confirmations: Dist::Is(Count(3)),
            rpc_latency: Dist::Uniform(Nanos::millis(5), Nanos::millis(50)),
        }
    }
}

/// What executes calls of the simulated chain.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The model of the contracts.
    #[default]
    Model,
    /// The deployed contracts' bytecode, with the model beside it: both must agree after every transaction.
    Evm,
}

impl Backend {
    /// Whether this is the default.
    pub(super) fn is_model(&self) -> bool {
        *self == Backend::Model
    }
}

/// Every link, outside the faults that touch it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// The time a frame travels, drawn for each frame.
    pub latency: Dist<Nanos>,
    /// How many frames never arrive.
    pub loss: Dist<Ppm>,
    /// How many frames arrive twice.
    pub duplicate: Dist<Ppm>,
}

impl Default for Network {
    /// 5 to 50 ms, nothing lost, nothing doubled.
    fn default() -> Network {
        let latency = Dist::Uniform(Nanos::millis(5), Nanos::millis(50));
        Network { latency, loss: Dist::Is(Ppm(0)), duplicate: Dist::Is(Ppm(0)) }
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
