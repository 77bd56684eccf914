//! `[[fault]]`: what goes wrong, to whom, and when.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::dist::Dist;
use super::engine::FaultKind;
use super::unit::{Blocks, ByteCount, Count, Money, Nanos, Ppm, Shift};

/// One fault.
///
/// In the file the family stands beside `do`; the reader turns the two into one table before they meet this
/// type (see `file.rs`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Always absent here: `family` has been moved into `do`. Listed so that suggestions know it.
    #[serde(default, rename = "family")]
    #[schemars(skip)]
    pub(super) _family: (),
    /// Whom it touches: a party, a link, or nothing for the chain.
    #[serde(default)]
    pub target: Option<Target>,
    /// Whether it exists at all in a run is drawn once with this probability (a swarm switch).
    #[serde(default = "always")]
    pub probability: Ppm,
    /// When it strikes.
    pub when: When,
    /// What happens.
    #[serde(rename = "do")]
    #[schemars(flatten)]
    pub what: FaultDo,
}

/// Whom a fault touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// One party.
    Party(String),
    /// A link; for one-way faults from the first to the second.
    Link(String, String),
}

/// When a fault strikes: at a time, or at a step of the protocol.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// When, from the start of the run.
    pub at: Option<Dist<Nanos>>,
    /// At which event of a party's log.
    pub event: Option<String>,
    /// Whose log.
    pub of: Option<String>,
    /// At which occurrence of that event, from 1; the first by default.
    pub nth: Option<Dist<Count>>,
    /// At which step around that event; `after-sync` by default.
    pub side: Option<Side>,
}

/// The step around an event at which a fault strikes. The order is the driver's: sync, then send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The event is appended and not yet durable.
    BeforeSync,
    /// The event is durable.
    AfterSync,
    /// Right before the first effect of its batch is released.
    BeforeSend,
    /// Right after the first effect of its batch was released.
    AfterSend,
}

impl Side {
    /// In plain words, around "Bob's 2nd StateSigned".
    pub fn story(self) -> (&'static str, &'static str) {
        match self {
            Side::BeforeSync => ("right before", "is synced"),
            Side::AfterSync => ("right after", "is synced"),
            Side::BeforeSend => ("right before", "has its first effect released"),
            Side::AfterSend => ("right after", "has its first effect released"),
        }
    }
}

/// What happens, by family.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(tag = "family", content = "do")]
pub enum FaultDo {
    /// A process stops.
    Crash(Crash),
    /// Two parties cannot reach each other.
    Partition(Partition),
    /// Frames are lost, late, doubled or damaged.
    Net(Net),
    /// Storage misbehaves.
    Disk(DiskFault),
    /// The chain, or the way to it, misbehaves.
    Chain(ChainFault),
    /// A clock is wrong.
    Clock(ClockFault),
}

/// Faults of family `crash`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Crash {
    /// The machine loses power and comes back.
    PowerLoss(PowerLoss),
    /// The machine comes back with an older image of its disk, as after a careless restore.
    StaleImage(StaleImage),
}

/// Which of the writes that were not synced survive a power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unsynced {
    /// Any of the sectors, drawn one by one.
    #[default]
    AnySubset,
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Everything up to a drawn point.
    Prefix,
}

/// A power loss.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerLoss {
    /// Which unsynced sectors survive.
    #[serde(default)]
    pub unsynced: Unsynced,
    /// Which unsynced creations, renames and removals survive.
    #[serde(default)]
    pub directory_entries: Unsynced,
    /// How long the machine is away.
    pub down: Dist<Nanos>,
}

/// A restart from an older image.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaleImage {
    /// How old the image is.
    pub age: Dist<Nanos>,
    /// How long the machine is away.
    pub down: Dist<Nanos>,
}

/// Faults of family `partition`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// Neither reaches the other.
    Both(For),
    /// The first party's frames do not reach the second.
    OneWay(For),
}

/// A fault that does nothing but last.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct For {
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Dist<Nanos>,
}

/// A fault that strikes each time with a probability, for a while.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Often {
    /// How often.
    pub probability: Dist<Ppm>,
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Dist<Nanos>,
}

/// Slowness for a while.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// How slow, drawn for each operation while the fault lasts.
    pub latency: Dist<Nanos>,
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Dist<Nanos>,
}

/// Faults of family `net`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Net {
    /// Frames are lost.
    Loss(Often),
    /// Frames arrive twice.
    Duplicate(Often),
    /// Frames are late.
    Latency(Slow),
    /// One byte of a frame is changed.
    CorruptFrame(Often),
    /// A frame is overtaken by the following one.
    Reorder(Often),
}

/// Faults of family `disk`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskFault {
    /// The next sync reports an error; what it should have synced may be lost.
    FailedSync,
    /// Writes fail for want of space.
    Full(For),
    /// Syncs are slow.
    Slow(Slow),
    /// Stored bytes change.
    Rot(Rot),
    /// The machine loses power while it writes: the last write survives up to a drawn sector.
    TornWrite(TornWrite),
}

/// Changed bytes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rot {
    /// In which of the two copies.
    pub target: RotTarget,
    /// How many bytes.
    pub bytes: Dist<ByteCount>,
}

/// Which copy of the log's tail rots. Rot in both at once is beyond the fault budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RotTarget {
    /// The segment.
    Segment,
    /// The small mirror of the tail.
    Mirror,
}

/// A write that is cut.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TornWrite {
    /// How long the machine is away.
    pub down: Dist<Nanos>,
}

/// Faults of family `chain`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChainFault {
    /// The last blocks are replaced.
    Reorg(Reorg),
    /// The endpoint does not answer.
    RpcOutage(For),
    /// The endpoint leaves logs out.
    MissingLogs(For),
    /// The endpoint does not know the transactions behind the logs.
    MissingCalldata(For),
    /// The endpoint repeats logs.
    DuplicateLogs(For),
    /// The endpoint is behind.
    StaleHead(StaleHead),
    /// Waiting transactions are not included: others pay more.
    FeeSpike(For),
    /// Submitted transactions vanish.
    DropTx(Often),
    /// Payments to one party's address revert.
    RevertPayee(RevertPayee),
    /// Someone unknown deposits into a channel.
    StrangerDeposit(StrangerDeposit),
}

/// A reorganisation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reorg {
    /// How many blocks are replaced.
    pub depth: Dist<Blocks>,
    /// Which of their transactions are gone; the others return in the new blocks.
    #[serde(default)]
    pub drop: Dropped,
}

/// Which transactions of the replaced blocks are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// All.
    All,
    /// Some, drawn one by one.
    #[default]
    Some,
    /// None.
    None,
}

/// An endpoint that is behind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaleHead {
    /// How far.
    pub blocks: Dist<Blocks>,
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Dist<Nanos>,
}

/// A recipient that cannot be paid.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevertPayee {
    /// Whose address.
    pub party: String,
}

/// A deposit from outside.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrangerDeposit {
    /// Into which channel.
    pub channel: String,
    /// How much.
    pub amount: Dist<Money>,
}

/// Faults of family `clock`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockFault {
    /// The clock jumps.
    Step(Step),
    /// The clock stands still.
    Freeze(For),
}

/// A jump.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// By how much.
    pub by: Dist<Shift>,
}

impl FaultDo {
    /// Which kind this is.
    pub fn kind(&self) -> FaultKind {
        match self {
            FaultDo::Crash(Crash::PowerLoss(_)) => FaultKind::PowerLoss,
            FaultDo::Crash(Crash::StaleImage(_)) => FaultKind::StaleImage,
            FaultDo::Partition(Partition::Both(_)) => FaultKind::PartitionBoth,
            FaultDo::Partition(Partition::OneWay(_)) => FaultKind::PartitionOneWay,
            FaultDo::Net(Net::Loss(_)) => FaultKind::Loss,
            FaultDo::Net(Net::Duplicate(_)) => FaultKind::Duplicate,
            FaultDo::Net(Net::Latency(_)) => FaultKind::Latency,
            FaultDo::Net(Net::CorruptFrame(_)) => FaultKind::CorruptFrame,
            FaultDo::Net(Net::Reorder(_)) => FaultKind::Reorder,
            FaultDo::Disk(DiskFault::FailedSync) => FaultKind::FailedSync,
            FaultDo::Disk(DiskFault::Full(_)) => FaultKind::Full,
            FaultDo::Disk(DiskFault::Slow(_)) => FaultKind::Slow,
            FaultDo::Disk(DiskFault::Rot(_)) => FaultKind::Rot,
            FaultDo::Disk(DiskFault::TornWrite(_)) => FaultKind::TornWrite,
            FaultDo::Chain(ChainFault::Reorg(_)) => FaultKind::Reorg,
            FaultDo::Chain(ChainFault::RpcOutage(_)) => FaultKind::RpcOutage,
            FaultDo::Chain(ChainFault::MissingLogs(_)) => FaultKind::MissingLogs,
            FaultDo::Chain(ChainFault::MissingCalldata(_)) => FaultKind::MissingCalldata,
            FaultDo::Chain(ChainFault::DuplicateLogs(_)) => FaultKind::DuplicateLogs,
            FaultDo::Chain(ChainFault::StaleHead(_)) => FaultKind::StaleHead,
            FaultDo::Chain(ChainFault::FeeSpike(_)) => FaultKind::FeeSpike,
            FaultDo::Chain(ChainFault::DropTx(_)) => FaultKind::DropTx,
            FaultDo::Chain(ChainFault::RevertPayee(_)) => FaultKind::RevertPayee,
            FaultDo::Chain(ChainFault::StrangerDeposit(_)) => FaultKind::StrangerDeposit,
            FaultDo::Clock(ClockFault::Step(_)) => FaultKind::Step,
            FaultDo::Clock(ClockFault::Freeze(_)) => FaultKind::Freeze,
        }
    }
}

fn always() -> Ppm {
    Ppm(crate::chance::PPM_ONE)
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a party such as \"alice\", or a link such as [\"alice\", \"bob\"]")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Target, E> {
        Ok(Target::Party(name.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Target, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = seq.next_element()? {
            names.push(name);
        }
        let found = names.len();
        match <[String; 2]>::try_from(names) {
            Ok([first, second]) => Ok(Target::Link(first, second)),
            Err(_) => Err(de::Error::invalid_length(found, &self)),
        }
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 2, "maxItems": 2 },
            ],
        })
    }
}
