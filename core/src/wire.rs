//! What nodes say to each other, and the only parser of a peer's bytes.
//!
//! A message is one frame of the transport: the compact encoding of [`Wire`]. Decoding is strict: the bytes must be exactly
//! what our encoder would have written, so one message has one form. Nothing here is trusted: a [`StateClaim`] is not a
//! `SignedState` until its signatures were checked.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::{MessageKey, ObjectiveId, ObjectiveKind, UpdateId};
use crate::nitro::voucher::Voucher;
use crate::nitro::{Signature, State};
use crate::types::{Amount, ChannelId};

/// The oldest and the newest version that this build speaks. A session uses the highest that both sides know.
///
/// | version | knows |
/// |---|---|
/// | 1 | direct channels: messages 0 to 6 |
/// | 2 | virtual channels too: messages 7 to 11, and what 3 and 4 say of those |
///
/// Each version knows all messages of those before it, byte for byte.
pub const WIRE_VERSIONS: core::ops::RangeInclusive<u16> = 1..=WIRE_VERSION_MAX;

/// The newest version.
pub const WIRE_VERSION_MAX: u16 = 2;

/// The first version that knows virtual channels.
pub const VIRTUAL_CHANNELS_SINCE: u16 = 2;

/// The longest message that is accepted. Direct channels need less than 2 KiB; the rest is room for ledgers.
pub const MESSAGE_BYTES_MAX: usize = 65_536;

/// The highest version that both ranges contain.
pub fn negotiate(
    ours: &core::ops::RangeInclusive<u16>,
    theirs: &core::ops::RangeInclusive<u16>,
) -> Option<u16> {
    let highest = (*ours.end()).min(*theirs.end());
    (highest >= *ours.start() && highest >= *theirs.start()).then_some(highest)
}

/// One message. Append-only, like events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wire {
    /// Signatures on a state. Acknowledged.
    State(StateClaim),
    /// The follower asks the leader to propose a payment. Acknowledged.
    UpdateRequest {
        /// The channel.
        channel: ChannelId,
        /// Position among the sender's requests.
        id: UpdateId,
        /// How much the sender pays.
        amount: Amount,
    },
    /// The follower asks the leader to propose the final state. Acknowledged.
    CloseRequest {
        /// The channel.
        channel: ChannelId,
    },
    /// The sender has made this durable. It never means "read" or "agreed".
    ///
    /// # Danger
    /// Sent before the sync, it makes the peer stop repeating what a crash makes us forget.
    Ack {
        /// The channel.
        channel: ChannelId,
        /// What.
        what: MessageKey,
    },
    /// The sender will not pursue this objective.
    Rejected {
        /// Which.
        objective: ObjectiveId,
    },
    /// The sender has restarted and asks what the receiver knows of a channel. Until it was told, it signs nothing there: the
    /// peer may hold a signature that a lying disk has lost. Asked again until answered.
    ResumeRequest {
        /// The channel.
        channel: ChannelId,
    },
    /// The answer to [`Wire::ResumeRequest`].
    Resume {
        /// The channel.
        channel: ChannelId,
        /// The sender's latest supported state, if it has one.
        supported: Option<StateClaim>,
        /// The newest state with a signature of the receiver's, if it is newer.
        yours: Option<StateClaim>,
    },
    /// Signatures on a state of a virtual channel. Acknowledged.
    VirtualState {
        /// The state.
        claim: StateClaim,
        /// The ledger channel between sender and receiver that the sender chose, where the receiver stands next to its right.
        ledger: Option<ChannelId>,
    },
    /// As `State`, for a ledger channel whose guarantees change, together with the unanimous states of the virtual channels that
    /// these changes rest on: a receiver who lacks a third party's signature can still answer. Acknowledged as a `State`.
    Proposal {
        /// The ledger channel's state.
        claim: StateClaim,
        /// Prefunds of what is added, finals of what is removed.
        evidence: Vec<StateClaim>,
    },
    /// Asks the payer of a virtual channel to propose the final state. Asked again until it came.
    FinalRequest {
        /// The virtual channel.
        channel: ChannelId,
    },
    /// The payer's new total. Acknowledged.
    Voucher(Voucher),
    /// The answer to [`Wire::ResumeRequest`] for a virtual channel.
    VirtualResume {
        /// The virtual channel.
        channel: ChannelId,
        /// The largest voucher that the sender holds.
        voucher: Option<Voucher>,
        /// The newest state that the sender holds.
        newest: Option<StateClaim>,
    },
}

/// A state and signatures by participant index, none of them checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateClaim {
    /// The state.
    pub state: State,
    /// Participant index and signature, strictly ascending by index.
    pub sigs: Vec<(u8, Signature)>,
}

/// Why bytes were not a message. The peer is to blame: count and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("message of {len} bytes exceeds {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Not an encoding of any message.
    #[error("not an encoded message")]
    Malformed,
    /// Decodes, but another spelling of the same message exists.
    #[error("message is not in its canonical form")]
    NotCanonical,
    /// Signature indices are not strictly ascending.
    #[error("signature indices are not strictly ascending")]
    SignatureOrder,
}

impl Wire {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match postcard::to_extend(self, Vec::with_capacity(USUAL_BYTES)) {
            Ok(bytes) => bytes,
            Err(error) => panic!("{} does not serialize: {error}", self.name()),
        }
    }

    /// The message in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`]; the caller counts it against the peer and drops the message.
    pub fn decode(bytes: &[u8]) -> Result<Wire, DecodeError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(DecodeError::TooLong { len: bytes.len() });
        }
        let (wire, rest) =
            postcard::take_from_bytes::<Wire>(bytes).map_err(|_| DecodeError::Malformed)?;
        if !rest.is_empty() || !wire.encodes_to(bytes) {
            return Err(DecodeError::NotCanonical);
        }
        if wire.claims().any(|c| !c.sigs.is_sorted_by(|a, b| a.0 < b.0)) {
            return Err(DecodeError::SignatureOrder);
        }
        Ok(wire)
    }

    /// Whether [`Wire::encode`] gives these bytes, without making them.
    fn encodes_to(&self, bytes: &[u8]) -> bool {
        postcard::serialize_with_flavor(self, Expected { rest: bytes }) == Ok(Left(0))
    }

    /// Every state that the message shows.
    pub fn claims(&self) -> impl Iterator<Item = &StateClaim> {
        let none: &[StateClaim] = &[];
        let (a, b, more) = match self {
            Wire::State(claim) | Wire::VirtualState { claim, .. } => (Some(claim), None, none),
            Wire::Proposal { claim, evidence } => (Some(claim), None, evidence.as_slice()),
            Wire::Resume { supported, yours, .. } => (supported.as_ref(), yours.as_ref(), none),
            Wire::VirtualResume { newest, .. } => (newest.as_ref(), None, none),
            Wire::UpdateRequest { .. }
            | Wire::CloseRequest { .. }
            | Wire::Ack { .. }
            | Wire::ResumeRequest { .. }
            | Wire::FinalRequest { .. }
            | Wire::Voucher(_)
            | Wire::Rejected { .. } => (None, None, none),
        };
        a.into_iter().chain(b).chain(more)
    }

    /// The oldest version that knows this message: a node that speaks no newer one cannot read it.
    pub fn version(&self) -> u16 {
        let of_virtual = match self {
            Wire::State(_)
            | Wire::UpdateRequest { .. }
            | Wire::CloseRequest { .. }
            | Wire::ResumeRequest { .. }
            | Wire::Resume { .. } => false,
            Wire::Ack { what, .. } => match what {
                MessageKey::State(_) | MessageKey::UpdateRequest(_) | MessageKey::CloseRequest => {
                    false
                }
                MessageKey::StateTo(..) | MessageKey::FinalRequest | MessageKey::Voucher(_) => true,
            },
            Wire::Rejected { objective } => match objective.kind {
                ObjectiveKind::DirectFund
                | ObjectiveKind::DirectDefund
                | ObjectiveKind::Dispute => false,
                ObjectiveKind::VirtualFund | ObjectiveKind::VirtualDefund => true,
            },
            Wire::VirtualState { .. }
            | Wire::Proposal { .. }
            | Wire::FinalRequest { .. }
            | Wire::Voucher(_)
            | Wire::VirtualResume { .. } => true,
        };
        if of_virtual { VIRTUAL_CHANNELS_SINCE } else { 1 }
    }

    /// The variant's name, for traces.
    pub fn name(&self) -> &'static str {
        match self {
            Wire::State(_) => "State",
            Wire::UpdateRequest { .. } => "UpdateRequest",
            Wire::CloseRequest { .. } => "CloseRequest",
            Wire::Ack { .. } => "Ack",
            Wire::Rejected { .. } => "Rejected",
            Wire::ResumeRequest { .. } => "ResumeRequest",
            Wire::Resume { .. } => "Resume",
            Wire::VirtualState { .. } => "VirtualState",
            Wire::Proposal { .. } => "Proposal",
            Wire::FinalRequest { .. } => "FinalRequest",
            Wire::Voucher(_) => "Voucher",
            Wire::VirtualResume { .. } => "VirtualResume",
        }
    }
}

/// [`Wire::version`] of a message that we encoded. Decodes none but the short ones: what leaves is looked at one by one.
pub fn version_of_encoded(bytes: &[u8]) -> u16 {
    match bytes.first() {
        Some(tag) if *tag > LAST_OF_VERSION_1 => VIRTUAL_CHANNELS_SINCE,
        Some(&(ACK | REJECTED)) => Wire::decode(bytes).map_or(1, |wire| wire.version()),
        Some(_) | None => 1,
    }
}

/// The numbers with which messages begin.
const ACK: u8 = 3;
const REJECTED: u8 = 4;
const LAST_OF_VERSION_1: u8 = 6;

/// Takes an encoding and compares it with what is expected; the first byte that differs ends it.
struct Expected<'a> {
    rest: &'a [u8],
}

/// How many of the expected bytes an encoding did not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left(usize);

impl postcard::ser_flavors::Flavor for Expected<'_> {
    type Output = Left;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Left> {
        Ok(Left(self.rest.len()))
    }
}

/// A state with one signature and a simple outcome is about this long; most other messages are shorter.
const USUAL_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        for (ours, theirs, common) in [
            (1..=1, 1..=1, Some(1)),
            (1..=3, 2..=5, Some(3)),
            (1..=1, 2..=3, None),
            (4..=5, 1..=3, None),
        ] {
            assert_eq!(negotiate(&ours, &theirs), common);
            assert_eq!(negotiate(&theirs, &ours), common);
        }
    }

    #[test]
    fn refusals_name_their_reason() {
        let ack = Wire::Ack { channel: ChannelId::default(), what: MessageKey::CloseRequest };
        let mut trailing = ack.encode();
        trailing.push(0);
        let mut overlong = ack.encode();
        let last = overlong.pop().unwrap();
        overlong.extend([last | 0x80, 0]);
        for (name, bytes, expected) in [
            ("empty", alloc::vec![], DecodeError::Malformed),
            ("unknown variant", alloc::vec![99], DecodeError::Malformed),
            ("trailing byte", trailing, DecodeError::NotCanonical),
            ("overlong number", overlong, DecodeError::NotCanonical),
            (
                "one too long",
                alloc::vec![0; MESSAGE_BYTES_MAX + 1],
                DecodeError::TooLong { len: MESSAGE_BYTES_MAX + 1 },
            ),
        ] {
            assert_eq!(Wire::decode(&bytes), Err(expected), "{name}");
        }
    }

    fn all() -> Vec<(u8, u16, Wire)> {
        let channel = ChannelId::default();
        let objective = |kind| Wire::Rejected { objective: ObjectiveId { channel, kind } };
        let ack = |what| Wire::Ack { channel, what };
        let update = Wire::UpdateRequest { channel, id: UpdateId(1), amount: Amount::wei(1) };
        let voucher = Voucher { channel, amount: Amount::wei(1), sig: Signature([0; 65]) };
        let claim = || {
            let fixed = crate::nitro::FixedPart {
                participants: alloc::vec![Default::default(); 2],
                nonce: 1,
                app_definition: Default::default(),
                challenge_duration: 60,
            };
            let state = State {
                fixed,
                outcome: Vec::new(),
                app_data: Default::default(),
                turn: crate::types::TurnNum::POSTFUND,
                is_final: false,
            };
            StateClaim { state, sigs: Vec::new() }
        };
        alloc::vec![
            (0, 1, Wire::State(claim())),
            (1, 1, update),
            (2, 1, Wire::CloseRequest { channel }),
            (3, 1, ack(MessageKey::State(crate::types::TurnNum::POSTFUND))),
            (3, 1, ack(MessageKey::UpdateRequest(UpdateId(1)))),
            (3, 1, ack(MessageKey::CloseRequest)),
            (3, 2, ack(MessageKey::StateTo(crate::types::TurnNum::POSTFUND, 1))),
            (3, 2, ack(MessageKey::FinalRequest)),
            (3, 2, ack(MessageKey::Voucher(Amount::wei(1)))),
            (4, 1, objective(ObjectiveKind::DirectFund)),
            (4, 1, objective(ObjectiveKind::DirectDefund)),
            (4, 1, objective(ObjectiveKind::Dispute)),
            (4, 2, objective(ObjectiveKind::VirtualFund)),
            (4, 2, objective(ObjectiveKind::VirtualDefund)),
            (5, 1, Wire::ResumeRequest { channel }),
            (6, 1, Wire::Resume { channel, supported: None, yours: None }),
            (7, 2, Wire::VirtualState { claim: claim(), ledger: None }),
            (8, 2, Wire::Proposal { claim: claim(), evidence: Vec::new() }),
            (9, 2, Wire::FinalRequest { channel }),
            (10, 2, Wire::Voucher(voucher)),
            (11, 2, Wire::VirtualResume { channel, voucher: None, newest: None }),
        ]
    }

    #[test]
    fn every_message_says_which_version_knows_it() {
        for (tag, version, wire) in all() {
            let bytes = wire.encode();
            assert_eq!(bytes[0], tag, "{}", wire.name());
            assert_eq!(
                (wire.version(), version_of_encoded(&bytes)),
                (version, version),
                "{wire:?}"
            );
            assert!(WIRE_VERSIONS.contains(&version));
        }
        assert_eq!(version_of_encoded(&[]), 1);
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(wire) = Wire::decode(&bytes) {
                prop_assert_eq!(wire.encode(), bytes);
            }
        }

        #[test]
        fn messages_survive_the_wire(id in any::<u64>(), amount in any::<u64>(), channel in any::<[u8; 32]>()) {
            let channel = ChannelId(channel.into());
            for wire in [
                Wire::UpdateRequest { channel, id: UpdateId(id), amount: Amount::wei(amount) },
                Wire::CloseRequest { channel },
                Wire::Rejected { objective: ObjectiveId { channel, kind: ObjectiveKind::DirectFund } },
                Wire::Resume { channel, supported: None, yours: None },
            ] {
                prop_assert_eq!(Wire::decode(&wire.encode()), Ok(wire));
            }
        }
    }
}
