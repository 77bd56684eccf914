//! Engines, and which of them can do which fault.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs a scenario.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Our event heap: executes the driver's steps and delivers frames itself.
    Reference,
    /// The shipped pump over madsim's streams.
    Madsim,
    /// The shipped pump over turmoil's streams.
    Turmoil,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 3] = [Engine::Reference, Engine::Madsim, Engine::Turmoil];

    /// As scenarios and `--engine` write it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Reference => "reference",
            Engine::Madsim => "madsim",
            Engine::Turmoil => "turmoil",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("engine `{found}`: expected `reference`, `madsim` or `turmoil`")]
pub struct UnknownEngine {
    /// What stood there.
    pub found: String,
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Engine, UnknownEngine> {
        let found = Engine::ALL.into_iter().find(|engine| engine.name() == text);
        found.ok_or_else(|| UnknownEngine { found: text.to_string() })
    }
}

/// How an engine can do a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The engine, or a port that is ours on every engine.
    Native,
    /// Our adapter around the engine's streams.
    Emulated,
    /// Not at all: `check` refuses the scenario.
    No,
}

/// A group of faults that a scenario names with `family`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// A process stops.
    Crash,
    /// Two parties cannot reach each other.
    Partition,
    /// Frames are lost, late, doubled or damaged.
    Net,
    /// Storage misbehaves.
    Disk,
    /// The chain, or the way to it, misbehaves.
    Chain,
    /// A party's clock is wrong.
    Clock,
}

impl Family {
    /// As scenarios write it.
    pub fn name(self) -> &'static str {
        match self {
            Family::Crash => "crash",
            Family::Partition => "partition",
            Family::Net => "net",
            Family::Disk => "disk",
            Family::Chain => "chain",
            Family::Clock => "clock",
        }
    }
}

macro_rules! fault_kinds {
    ($($(#[$doc:meta])+ $variant:ident $family:ident $name:literal $reason:literal;)+) => {
        /// Every fault that a scenario can ask for: what reports count, and what [`available`] judges.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FaultKind {
            $($(#[$doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl FaultKind {
            /// Every kind, in the order of the catalogue.
            pub const ALL: &[FaultKind] = &[$(FaultKind::$variant),+];

            /// `family.kind`, as reports write it.
            pub fn name(self) -> &'static str {
                match self { $(FaultKind::$variant => $name),+ }
            }

            /// The family it belongs to.
            pub fn family(self) -> Family {
                match self { $(FaultKind::$variant => Family::$family),+ }
            }

            /// Which behaviour of an honest node it tests: the F-numbers of the fault catalogue.
            pub fn catalogue(self) -> &'static str {
                match self { $(FaultKind::$variant => $reason),+ }
            }
        }
    };
}

fault_kinds! {
    /// Power is lost: unsynced writes survive in any subset, the process restarts later.
    PowerLoss Crash "crash.power_loss" "F8 F9 F14 F15";
    /// The process restarts from an older image of its disk.
    StaleImage Crash "crash.stale_image" "F13";
    /// Neither side reaches the other.
    PartitionBoth Partition "partition.both" "F4 F7";
    /// The first party's frames do not reach the second; the other way works.
    PartitionOneWay Partition "partition.one_way" "F4 F5";
    /// Frames are lost.
    Loss Net "net.loss" "F1";
    /// Frames arrive twice.
    Duplicate Net "net.duplicate" "F2";
    /// Frames are late.
    Latency Net "net.latency" "F3";
    /// A byte of a frame is changed.
    CorruptFrame Net "net.corrupt_frame" "F5";
    /// Frames overtake each other.
    Reorder Net "net.reorder" "F3";
    /// One sync reports an error.
    FailedSync Disk "disk.failed_sync" "F10";
    /// Nothing can be written.
    Full Disk "disk.full" "F12";
    /// Syncs are slow.
    Slow Disk "disk.slow" "F12";
    /// Stored bytes change.
    Rot Disk "disk.rot" "F11";
    /// A write is cut in the middle when the process next dies.
    TornWrite Disk "disk.torn_write" "F9";
    /// The last blocks are replaced.
    Reorg Chain "chain.reorg" "F19 F20 F21";
    /// The endpoint does not answer.
    RpcOutage Chain "chain.rpc_outage" "F22";
    /// The endpoint leaves logs out.
    MissingLogs Chain "chain.missing_logs" "F22";
    /// The endpoint does not know the transactions behind the logs.
    MissingCalldata Chain "chain.missing_calldata" "F22";
    /// The endpoint repeats logs.
    DuplicateLogs Chain "chain.duplicate_logs" "F22";
    /// The endpoint is behind.
    StaleHead Chain "chain.stale_head" "F22";
    /// Fees rise beyond what waiting transactions offer.
    FeeSpike Chain "chain.fee_spike" "F24 F26";
    /// Submitted transactions vanish.
    DropTx Chain "chain.drop_tx" "F24";
    /// Payments to one party's address revert.
    RevertPayee Chain "chain.revert_payee" "F27";
    /// Someone unknown deposits into a channel.
    StrangerDeposit Chain "chain.stranger_deposit" "F25";
    /// The clock jumps.
    Step Clock "clock.step" "F39";
    /// The clock stands still.
    Freeze Clock "clock.freeze" "F39";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fault × engine table.
///
/// Disk, chain and clock are our own ports on every engine, processes are killed and links are cut by the engine itself.
/// madsim and turmoil carry streams: a stream keeps its order; messages are lost and doubled on their way into it, and our
/// adapter around it makes bytes late and damages them.
pub fn available(kind: FaultKind, engine: Engine) -> Availability {
    match (kind, engine) {
        (_, Engine::Reference) => Availability::Native,
        (FaultKind::Reorder, Engine::Madsim | Engine::Turmoil) => Availability::No,
        (
            FaultKind::Loss | FaultKind::Duplicate | FaultKind::Latency | FaultKind::CorruptFrame,
            Engine::Madsim | Engine::Turmoil,
        ) => Availability::Emulated,
        (_, Engine::Madsim | Engine::Turmoil) => Availability::Native,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_reference_prints() {
        let rows: Vec<String> = FaultKind::ALL
            .iter()
            .map(|kind| {
                let cells = Engine::ALL.map(|engine| format!("{:?}", available(*kind, engine)));
                format!("{:24} {}", kind.name(), cells.join(" "))
            })
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[test]
    fn a_kinds_name_begins_with_its_family() {
        for kind in FaultKind::ALL {
            assert!(kind.name().starts_with(&format!("{}.", kind.family().name())), "{kind}");
        }
    }

    #[test]
    fn an_unknown_engine_is_refused() {
        assert_eq!(
            "tokio".parse::<Engine>().unwrap_err().to_string(),
            "engine `tokio`: expected `reference`, `madsim` or `turmoil`"
        );
    }
}
