//! A plan: one scenario under one seed, everything drawn.
//!
//! A runner executes it, a bundle carries it as JSON, a shrinker edits it. Only what is drawn again and again
//! while a run goes on (the latency of each frame) is still a distribution.

use std::fmt;
use std::str::FromStr;

use fairway_core::types::Amount;
use serde::{Deserialize, Serialize};

use super::dist::Dist;
use super::engine::{Engine, FaultKind};
use super::fault::{Dropped, RotTarget, Side, Unsynced};
use super::topology::{Backend, Role};
use super::unit::{Blocks, ByteCount, Drift, Nanos, Ppm, Shift};
use super::verdict::Promise;
use super::{Expect, Phases};

/// One scenario under one seed.
///
/// A shrinker may remove operations and faults, lower numbers, and remove payments; elements keep their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's digest, 64 hexadecimal digits.
    pub scenario_digest: String,
    /// The seed it was drawn from; the run draws on from it.
    pub seed: u64,
    /// The engines that can run it.
    pub engines: Vec<Engine>,
    /// Whether settled balances are the same for every seed and engine.
    pub determined: bool,
    /// What must come out.
    pub expect: Expect,
    /// The planted bug that is on.
    pub mutant: Option<String>,
    /// The goals that the run looks for: those that a campaign must have seen, and those that it must reach itself.
    pub goals: Vec<String>,
    /// The invariants that are judged. Left out when it is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always: Option<Vec<String>>,
    /// What the run must reach after everything has healed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub eventually: Vec<Promise>,
    /// Who takes part.
    pub parties: Vec<PlannedParty>,
    /// The channels that operations may open.
    pub channels: Vec<PlannedChannel>,
    /// The virtual channels that operations may open over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtuals: Vec<PlannedVirtual>,
    /// The chain.
    pub chain: PlannedChain,
    /// Every link, outside the faults that touch it.
    pub network: PlannedNetwork,
    /// How long a sync takes, drawn for each.
    pub sync_latency: Dist<Nanos>,
    /// How long a node waits for a silent peer before it acts alone.
    pub patience: Nanos,
    /// The workload, in the order of the file.
    pub ops: Vec<PlannedOp>,
    /// The faults that exist in this run, in the order of the file.
    pub faults: Vec<PlannedFault>,
    /// The faults whose swarm switch was drawn off.
    pub absent: Vec<Element>,
    /// How long the phases last.
    pub phases: Phases,
}

/// A stable name for an operation or a fault: its place in the scenario file, from 0. Text: `op 0`, `fault 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Element {
    /// The operation at this place.
    Op(usize),
    /// The fault at this place.
    Fault(usize),
}

/// A party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedParty {
    /// Its name.
    pub name: String,
    /// Whose side it is on.
    pub role: Role,
    /// What it owns on chain when the run begins, in wei.
    pub funds: Amount,
    /// Its clock.
    pub clock: PlannedClock,
    /// The oldest and the newest wire version that it speaks. Left out when it is all that the build knows, so that older plans are read
    /// and written as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<(u16, u16)>,
}

/// How a party's clock differs from true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedClock {
    /// What it is ahead at the start.
    pub skew: Shift,
    /// How much too fast it runs, in millionths.
    pub drift_ppm: Drift,
    /// A jump at a fixed moment.
    pub step: Option<PlannedStep>,
}

/// A jump of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// When, in true time from the start of the run.
    pub at: Nanos,
    /// By how much.
    pub by: Shift,
}

/// A channel that operations may open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChannel {
    /// How operations and triggers name it.
    pub id: String,
    /// Its participants, in the order of the allocation: the first deposits first.
    pub parties: (String, String),
    /// What each puts in, in wei, in the same order.
    pub deposits: (Amount, Amount),
    /// How long a challenge can be answered; whole seconds.
    pub challenge_duration: Nanos,
}

/// A virtual channel that operations may open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedVirtual {
    /// How operations and triggers name it.
    pub id: String,
    /// The payer, the intermediaries, the payee.
    pub parties: Vec<String>,
    /// Most that can be paid, in wei.
    pub amount: Amount,
    /// How long a challenge can be answered; whole seconds.
    pub challenge_duration: Nanos,
    /// In which channel the payer guarantees it; `None` where its node chooses.
    pub ledger: Option<String>,
}

/// The chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChain {
    /// What executes calls. Left out when it is the model, so that older plans are read and written as they were.
    #[serde(default, skip_serializing_if = "Backend::is_model")]
    pub backend: Backend,
    /// The time between two blocks, drawn for each.
    pub block_time: Dist<Nanos>,
    /// How many blocks must stand on a fact before a node believes it.
    pub confirmations: u64,
    /// How long an endpoint takes to answer, drawn for each call.
    pub rpc_latency: Dist<Nanos>,
}

/// Every link, outside the faults that touch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedNetwork {
    /// The time a frame travels, drawn for each.
    pub latency: Dist<Nanos>,
    /// How many frames never arrive.
    pub loss: Ppm,
    /// How many frames arrive twice.
    pub duplicate: Ppm,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOp {
    /// Its stable id.
    pub id: Element,
    /// When.
    pub when: OpTrigger,
    /// What.
    pub what: OpAction,
}

/// When an operation begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OpTrigger {
    /// So long after the start of the run.
    At(Nanos),
    /// So long after a milestone was first reached. If a shrinker removed what leads there, never.
    After {
        /// Which milestone.
        milestone: Milestone,
        /// How long after it.
        delay: Nanos,
    },
    /// So long after an event of a party's log, at one side of a step of its driver. After chaos, never.
    On {
        /// Which event, of whom, at which side.
        step: LogStep,
        /// How long after it.
        delay: Nanos,
    },
}

/// A step of a party's driver around an event of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogStep {
    /// Which event; one of [`super::EVENT_NAMES`].
    pub event: String,
    /// Whose log.
    pub of: String,
    /// At which occurrence, from 1, counted over the whole run.
    pub nth: u64,
    /// At which step.
    pub side: Side,
}

/// Something that operations can wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// Every honest participant considers this channel open: funded, postfund signed by both.
    ChannelOpen(String),
    /// Some honest participant has a supported state of this channel beyond the postfund.
    ChannelUpdated(String),
    /// The honest payee of this virtual channel holds a voucher.
    VirtualPaid(String),
    /// Every honest participant considers this channel closed: concluded on chain and paid out; a virtual one, done with.
    ChannelClosed(String),
    /// This operation was answered, with success or refusal; for payments, the last of them.
    Done(Element),
}

/// What a user asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OpAction {
    /// Open a channel of either kind.
    Open {
        /// Which.
        channel: String,
        /// Who asks.
        from: String,
    },
    /// Pay, once or many times.
    Pay {
        /// In which channel.
        channel: String,
        /// Who pays; the other participant receives.
        from: String,
        /// The payments in order.
        payments: Vec<Payment>,
    },
    /// Close together with the peer.
    Close {
        /// Which.
        channel: String,
        /// Who asks.
        from: String,
    },
    /// Close on chain, without the peer.
    ForceClose {
        /// Which.
        channel: String,
        /// Who goes to the chain.
        from: String,
    },
    /// Stop a party properly and start it again.
    Restart {
        /// Who.
        party: String,
        /// How long it is away.
        down: Nanos,
        /// The wire versions that it speaks from then on. Left out when they stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        versions: Option<(u16, u16)>,
    },
}

/// One payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// How much, in wei.
    pub amount: Amount,
    /// The time before it, counted from the previous one; zero for the first.
    pub gap: Nanos,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Its stable id.
    pub id: Element,
    /// When it strikes; once.
    pub when: FaultTrigger,
    /// What happens.
    pub what: FaultAction,
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultTrigger {
    /// So long after the start of the run.
    At(Nanos),
    /// At an event of a party's log, at one side of a step of its driver.
    On(LogStep),
}

/// Two parties; for one-way faults from the first to the second.
pub type Link = (String, String);

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "fields are named after the keys of `fault.rs`, which explains them"
)]
pub enum FaultAction {
    /// The machine loses power and comes back.
    PowerLoss { party: String, unsynced: Unsynced, directory_entries: Unsynced, down: Nanos },
    /// The machine comes back with an older image of its disk.
    StaleImage { party: String, age: Nanos, down: Nanos },
    /// Neither reaches the other.
    PartitionBoth { link: Link, lasts: Nanos },
    /// The first party's frames do not reach the second.
    PartitionOneWay { link: Link, lasts: Nanos },
    /// Frames are lost. No link means every link, here and below.
    Loss { link: Option<Link>, probability: Ppm, lasts: Nanos },
    /// Frames arrive twice.
    Duplicate { link: Option<Link>, probability: Ppm, lasts: Nanos },
    /// Frames are late; the delay is drawn for each frame.
    Latency { link: Option<Link>, latency: Dist<Nanos>, lasts: Nanos },
    /// One byte of a frame is changed.
    CorruptFrame { link: Option<Link>, probability: Ppm, lasts: Nanos },
    /// A frame is overtaken by the following one.
    Reorder { link: Option<Link>, probability: Ppm, lasts: Nanos },
    /// The next sync reports an error; what it should have synced may be lost.
    FailedSync { party: String },
    /// Writes fail for want of space.
    Full { party: String, lasts: Nanos },
    /// Syncs are slow; how slow is drawn for each.
    Slow { party: String, latency: Dist<Nanos>, lasts: Nanos },
    /// Stored bytes change.
    Rot { party: String, target: RotTarget, bytes: ByteCount },
    /// Power is lost during a write, which survives up to a drawn sector.
    TornWrite { party: String, down: Nanos },
    /// The last blocks are replaced.
    Reorg { depth: Blocks, drop: Dropped },
    /// The endpoint does not answer.
    RpcOutage { lasts: Nanos },
    /// The endpoint leaves logs out.
    MissingLogs { lasts: Nanos },
    /// The endpoint does not know the transactions behind the logs.
    MissingCalldata { lasts: Nanos },
    /// The endpoint repeats logs.
    DuplicateLogs { lasts: Nanos },
    /// The endpoint is behind.
    StaleHead { blocks: Blocks, lasts: Nanos },
    /// Gas costs more than honest parties first offer.
    FeeSpike { lasts: Nanos },
    /// Submitted transactions vanish.
    DropTx { probability: Ppm, lasts: Nanos },
    /// Payments to one party's address revert.
    RevertPayee { party: String },
    /// Someone unknown deposits into a channel.
    StrangerDeposit { channel: String, amount: Amount },
    /// A clock jumps.
    Step { party: String, by: Shift },
    /// A clock stands still.
    Freeze { party: String, lasts: Nanos },
}

impl FaultAction {
    /// Which kind this is: what counters are kept by.
    pub fn kind(&self) -> FaultKind {
        match self {
            FaultAction::PowerLoss { .. } => FaultKind::PowerLoss,
            FaultAction::StaleImage { .. } => FaultKind::StaleImage,
            FaultAction::PartitionBoth { .. } => FaultKind::PartitionBoth,
            FaultAction::PartitionOneWay { .. } => FaultKind::PartitionOneWay,
            FaultAction::Loss { .. } => FaultKind::Loss,
            FaultAction::Duplicate { .. } => FaultKind::Duplicate,
            FaultAction::Latency { .. } => FaultKind::Latency,
            FaultAction::CorruptFrame { .. } => FaultKind::CorruptFrame,
            FaultAction::Reorder { .. } => FaultKind::Reorder,
            FaultAction::FailedSync { .. } => FaultKind::FailedSync,
            FaultAction::Full { .. } => FaultKind::Full,
            FaultAction::Slow { .. } => FaultKind::Slow,
            FaultAction::Rot { .. } => FaultKind::Rot,
            FaultAction::TornWrite { .. } => FaultKind::TornWrite,
            FaultAction::Reorg { .. } => FaultKind::Reorg,
            FaultAction::RpcOutage { .. } => FaultKind::RpcOutage,
            FaultAction::MissingLogs { .. } => FaultKind::MissingLogs,
            FaultAction::MissingCalldata { .. } => FaultKind::MissingCalldata,
            FaultAction::DuplicateLogs { .. } => FaultKind::DuplicateLogs,
            FaultAction::StaleHead { .. } => FaultKind::StaleHead,
            FaultAction::FeeSpike { .. } => FaultKind::FeeSpike,
            FaultAction::DropTx { .. } => FaultKind::DropTx,
            FaultAction::RevertPayee { .. } => FaultKind::RevertPayee,
            FaultAction::StrangerDeposit { .. } => FaultKind::StrangerDeposit,
            FaultAction::Step { .. } => FaultKind::Step,
            FaultAction::Freeze { .. } => FaultKind::Freeze,
        }
    }

    /// Whom it strikes: a party, or the first end of a link; `None` for the chain, and for every link at once.
    pub fn party(&self) -> Option<&str> {
        match self {
            FaultAction::PowerLoss { party, .. }
            | FaultAction::StaleImage { party, .. }
            | FaultAction::FailedSync { party }
            | FaultAction::Full { party, .. }
            | FaultAction::Slow { party, .. }
            | FaultAction::Rot { party, .. }
            | FaultAction::TornWrite { party, .. }
            | FaultAction::RevertPayee { party }
            | FaultAction::Step { party, .. }
            | FaultAction::Freeze { party, .. } => Some(party),
            FaultAction::PartitionBoth { link, .. } | FaultAction::PartitionOneWay { link, .. } => {
                Some(&link.0)
            }
            FaultAction::Loss { link, .. }
            | FaultAction::Duplicate { link, .. }
            | FaultAction::Latency { link, .. }
            | FaultAction::CorruptFrame { link, .. }
            | FaultAction::Reorder { link, .. } => link.as_ref().map(|(first, _)| first.as_str()),
            FaultAction::Reorg { .. }
            | FaultAction::RpcOutage { .. }
            | FaultAction::MissingLogs { .. }
            | FaultAction::MissingCalldata { .. }
            | FaultAction::DuplicateLogs { .. }
            | FaultAction::StaleHead { .. }
            | FaultAction::FeeSpike { .. }
            | FaultAction::DropTx { .. }
            | FaultAction::StrangerDeposit { .. } => None,
        }
    }
}

impl Plan {
    /// The channel with this id.
    pub fn channel(&self, id: &str) -> Option<&PlannedChannel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    /// The virtual channel with this name.
    pub fn virtual_channel(&self, id: &str) -> Option<&PlannedVirtual> {
        self.virtuals.iter().find(|channel| channel.id == id)
    }

    /// The party with this name.
    pub fn party(&self, name: &str) -> Option<&PlannedParty> {
        self.parties.iter().find(|party| party.name == name)
    }

    /// Removes an operation or a fault; says whether it was there.
    pub fn remove(&mut self, element: Element) -> bool {
        let before = self.ops.len() + self.faults.len();
        self.ops.retain(|op| op.id != element);
        self.faults.retain(|fault| fault.id != element);
        before != self.ops.len() + self.faults.len()
    }

    /// Every operation and fault, in order.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        let faults = self.faults.iter().map(|fault| fault.id);
        self.ops.iter().map(|op| op.id).chain(faults)
    }
}

impl PlannedChannel {
    /// The other participant; `None` when `party` is none.
    pub fn peer_of(&self, party: &str) -> Option<&str> {
        match &self.parties {
            (first, second) if first == party => Some(second),
            (first, second) if second == party => Some(first),
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Op(index) => write!(f, "op {index}"),
            Element::Fault(index) => write!(f, "fault {index}"),
        }
    }
}

/// Not the id of an element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("element `{found}`: expected `op <n>` or `fault <n>`")]
pub struct NotAnElement {
    found: String,
}

impl FromStr for Element {
    type Err = NotAnElement;

    fn from_str(text: &str) -> Result<Element, NotAnElement> {
        let element = match text.split_once(' ') {
            Some(("op", index)) => index.parse().ok().map(Element::Op),
            Some(("fault", index)) => index.parse().ok().map(Element::Fault),
            _ => None,
        };
        element.ok_or_else(|| NotAnElement { found: text.to_string() })
    }
}

impl TryFrom<String> for Element {
    type Error = NotAnElement;

    fn try_from(text: String) -> Result<Element, NotAnElement> {
        text.parse()
    }
}

impl From<Element> for String {
    fn from(element: Element) -> String {
        element.to_string()
    }
}
