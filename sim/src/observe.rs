//! What the simulator sees of a run: the one stream that the trace, the invariants and the fault triggers read.
//!
//! Everything is observed from outside: bytes that were written and synced, frames that left, blocks that were mined. A node's own
//! opinion is read only where an invariant compares it with these.

use fairway_core::effect::{Notice, Refusal};
use fairway_core::event::{Event, Pins};
use fairway_core::machine::NodeState;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, ChannelId, Lsn, Timestamp};
use fairway_core::wire::Wire;

use crate::world::chain::ChainSim;

/// A party of the run, by its position in the scenario.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct PartyId(pub usize);

/// What is known of a party before the run.
#[derive(Clone, Debug)]
pub struct PartyInfo {
    /// Its name in the scenario.
    pub name: String,
    /// Its channel address.
    pub address: Address,
    /// Whether it runs our code and nothing else.
    pub honest: bool,
    /// What its log is pinned to.
    pub pins: Pins,
}

/// One observation. `now_ns` is virtual time since the start of the run.
#[derive(Debug)]
pub enum Observed<'a> {
    /// An honest node wrote a batch; it is not durable yet. Read back from the bytes that were written.
    Appended {
        /// Who.
        node: PartyId,
        /// Position of the first event.
        first: Lsn,
        /// The events with the times at which they were decided.
        events: &'a [(Timestamp, Event)],
    },
    /// The batch last appended by this node is durable: its files were synced.
    Synced {
        /// Who.
        node: PartyId,
        /// Position of the last event.
        end: Lsn,
    },
    /// A message left a party. A signature counts as released from here on, delivered or not.
    Sent {
        /// Who.
        node: PartyId,
        /// To whom.
        to: PartyId,
        /// What it said; `None` when the bytes are no message (an adversary's garbage).
        wire: Option<&'a Wire>,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A message reached a party.
    Delivered {
        /// To whom.
        node: PartyId,
        /// From whom.
        from: PartyId,
        /// What it said.
        wire: Option<&'a Wire>,
    },
    /// A party submitted a transaction.
    Submitted {
        /// Who.
        node: PartyId,
        /// What.
        call: &'a Call,
    },
    /// A node told its user something.
    Notified {
        /// Who.
        node: PartyId,
        /// What.
        notice: &'a Notice,
    },
    /// A node refused a command of its user.
    Refused {
        /// Who.
        node: PartyId,
        /// Why.
        refusal: &'a Refusal,
    },
    /// A node takes note that a session came up, with what wire version, or that it is gone. No part of the trace's digest: it shows in
    /// what follows.
    Session {
        /// Who.
        node: PartyId,
        /// With whom.
        peer: PartyId,
        /// What both agreed on; `None` when the session is gone.
        version: Option<u16>,
    },
    /// A node has nothing to do: its state in memory, and how far its log is durable.
    Rested {
        /// Who.
        node: PartyId,
        /// Its state.
        state: &'a NodeState,
        /// Up to where its log is synced.
        durable: Lsn,
        /// Messages and commands it has refused, in all.
        refused: u64,
    },
    /// A node died without warning.
    Crashed {
        /// Who.
        node: PartyId,
    },
    /// A node started over its files. The events are all that its log holds, read from the image of its disk.
    Restarted {
        /// Who.
        node: PartyId,
        /// The whole log.
        log: &'a [(Timestamp, Event)],
        /// The state that the node recovered, before it handled anything.
        state: &'a NodeState,
        /// Its disk was put back to an older image, or lied about a sync: it may have forgotten signatures.
        may_have_forgotten: bool,
    },
    /// A node refused to start or stopped over a fault of its disk. Never silent, never a loss.
    Stopped {
        /// Who.
        node: PartyId,
        /// Why.
        why: &'a str,
    },
    /// A block was mined, or a reorg replaced some.
    Block {
        /// The chain after it.
        chain: &'a ChainSim,
        /// How many blocks were replaced; zero for a plain block.
        replaced: u64,
    },
    /// Something was done to a party or to the world.
    Fault {
        /// Which element of the plan.
        id: usize,
        /// In plain words.
        what: &'a str,
    },
    /// All faults have ended; from here on liveness is judged.
    Healed,
    /// The run is over.
    Ended {
        /// Final states of the honest nodes that run.
        nodes: &'a [(PartyId, &'a NodeState)],
        /// The chain.
        chain: &'a ChainSim,
    },
}

impl Observed<'_> {
    /// The variant's name.
    pub fn name(&self) -> &'static str {
        match self {
            Observed::Appended { .. } => "appended",
            Observed::Synced { .. } => "synced",
            Observed::Sent { .. } => "sent",
            Observed::Delivered { .. } => "delivered",
            Observed::Submitted { .. } => "submitted",
            Observed::Notified { .. } => "notified",
            Observed::Refused { .. } => "refused",
            Observed::Session { .. } => "session",
            Observed::Rested { .. } => "rested",
            Observed::Crashed { .. } => "crashed",
            Observed::Restarted { .. } => "restarted",
            Observed::Stopped { .. } => "stopped",
            Observed::Block { .. } => "block",
            Observed::Fault { .. } => "fault",
            Observed::Healed => "healed",
            Observed::Ended { .. } => "ended",
        }
    }
}

/// Names channels for people.
pub fn channel_name(channel: ChannelId) -> String {
    format!("channel {}", channel.short())
}
