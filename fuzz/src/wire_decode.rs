//! A peer's bytes: anything as a message, and well-signed messages with any damage.
//!
//! The input's first byte chooses. Even: the rest is a [`Damaged`] message. Odd: the rest is the message itself.
//!
//! Properties: no panic, neither in decoding nor in checking signatures; what decodes encodes to the same bytes; what is accepted was
//! signed: damage never turns a signature on one state into a signature on another, nor into another signature on the same state.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use fairway_core::chain_types::B256;
use fairway_core::event::{MessageKey, ObjectiveId, ObjectiveKind, UpdateId};
use fairway_core::input::{Input, Malformed, Message, Verified, verify};
use fairway_core::nitro::{Crypto, FixedPart, SecretKey, Signature, SignedState, State, outcome};
use fairway_core::types::{Address, Amount, ChannelId, TurnNum};
use fairway_core::wire::{MESSAGE_BYTES_MAX, StateClaim, Wire};

/// A message that an honest node could have sent, and what happened to its bytes.
#[derive(Arbitrary, Clone, Debug)]
pub struct Damaged {
    /// What was said.
    pub said: Said,
    /// What happened to the bytes, in this order.
    pub edits: Vec<Edit>,
}

/// Every kind of message.
#[derive(Arbitrary, Clone, Debug)]
pub enum Said {
    /// Signatures on a state.
    State(Claimed),
    /// A request for a payment.
    UpdateRequest {
        /// Which channel.
        channel: u8,
        /// Its number.
        id: u64,
        /// How much.
        amount: u64,
    },
    /// A request for the final state.
    CloseRequest {
        /// Which channel.
        channel: u8,
    },
    /// Something is durable.
    Ack {
        /// Which channel.
        channel: u8,
        /// A turn, an update, or else the request to close.
        what: Option<(bool, u32)>,
    },
    /// An objective is not pursued.
    Rejected {
        /// Which channel.
        channel: u8,
        /// Which kind, modulo their number.
        kind: u8,
    },
    /// A question after a restart.
    ResumeRequest {
        /// Which channel.
        channel: u8,
    },
    /// Its answer.
    Resume {
        /// Which channel.
        channel: u8,
        /// The latest supported state.
        supported: Option<Claimed>,
        /// The newest state of the receiver's.
        yours: Option<Claimed>,
    },
}

/// A state and who signs it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Claimed {
    /// The channel's nonce.
    pub nonce: u64,
    /// The turn, kept below 2^48.
    pub turn: u64,
    /// What each party gets.
    pub amounts: (u64, u64),
    /// Whether it is final.
    pub is_final: bool,
    /// Bit i: participant i signs.
    pub signers: u8,
}

/// One piece of damage. Bytes are counted from the start, modulo what there is.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    /// Some bits of one byte are flipped.
    Flip {
        /// Which byte.
        at: u16,
        /// Which bits.
        mask: u8,
    },
    /// The message is cut.
    Cut {
        /// Its length.
        at: u16,
    },
    /// Something is put in.
    Insert {
        /// Before which byte.
        at: u16,
        /// What.
        bytes: Vec<u8>,
    },
    /// A stretch is copied over another one.
    Copy {
        /// Its first byte.
        from: u16,
        /// The first byte that it replaces.
        to: u16,
        /// Its length.
        bytes: u8,
    },
}

/// The body.
pub fn wire_decode(data: &[u8]) {
    match data.split_first() {
        Some((choice, rest)) if choice % 2 == 1 => drop(check(rest)),
        Some((_, rest)) => {
            if let Ok(damaged) = Damaged::arbitrary(&mut Unstructured::new(rest)) {
                check_damaged(&damaged);
            }
        }
        None => drop(check(data)),
    }
}

/// Decodes and verifies as a node does. What was accepted, if it was.
fn check(bytes: &[u8]) -> Option<Message> {
    let decoded = Wire::decode(bytes);
    if let Ok(wire) = &decoded {
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        assert_eq!(wire.encode(), bytes, "one message has one form");
        assert!(wire.claims().all(|c| c.sigs.is_sorted_by(|a, b| a.0 < b.0)));
    }
    let peer = Address::repeat_byte(1);
    let frame = Input::Frame { peer, bytes: bytes.to_vec() };
    match (decoded, verify(frame, &mut Crypto::Real)) {
        (Ok(wire), Verified::Message { peer: from, message }) => {
            assert_eq!(from, peer);
            states(&message).for_each(|s| assert_eq!(s.recheck(&mut Crypto::Real), Ok(())));
            assert!(!matches!(
                message,
                Message::Bare(
                    Wire::State(_)
                        | Wire::Resume { .. }
                        | Wire::VirtualState { .. }
                        | Wire::Proposal { .. }
                        | Wire::Voucher(_)
                        | Wire::VirtualResume { .. }
                )
            ));
            assert_eq!(states(&message).count(), wire.claims().count());
            Some(message)
        }
        (Err(why), Verified::Dropped { why: because, .. }) => {
            assert_eq!(because, Malformed::Decode(why));
            None
        }
        (Ok(wire), Verified::Dropped { why: Malformed::Signatures(_), .. }) => {
            assert!(
                wire.claims().count() > 0,
                "a message without a state has no signature to fail"
            );
            None
        }
        (
            Ok(Wire::Voucher(_) | Wire::VirtualResume { voucher: Some(_), .. }),
            Verified::Dropped { why: Malformed::Voucher, .. },
        ) => None,
        (decoded, verified) => panic!("{decoded:?} became {verified:?}"),
    }
}

fn states(message: &Message) -> impl Iterator<Item = &SignedState> {
    let none: &[SignedState] = &[];
    let (a, b, more) = match message {
        Message::State(signed) | Message::VirtualState { state: signed, .. } => {
            (Some(signed), None, none)
        }
        Message::Resume { supported, yours, .. } => (supported.as_ref(), yours.as_ref(), none),
        Message::Proposal { state, evidence } => (Some(state), None, evidence.as_slice()),
        Message::VirtualResume { newest, .. } => (newest.as_ref(), None, none),
        Message::Bare(_) | Message::Voucher { .. } => (None, None, none),
    };
    a.into_iter().chain(b).chain(more)
}

fn check_damaged(damaged: &Damaged) {
    let wire = message(&damaged.said);
    let given: BTreeSet<(B256, u8, Signature)> = wire
        .claims()
        .flat_map(|claim| claim.sigs.iter().map(|(i, sig)| (claim.state.hash(), *i, *sig)))
        .collect();
    let mut bytes = wire.encode();
    assert_eq!(Wire::decode(&bytes).as_ref(), Ok(&wire));
    let unsigned = wire.claims().any(|claim| claim.sigs.is_empty());
    assert_eq!(check(&bytes).is_none(), unsigned, "an honest message is accepted if it is signed");

    damaged.edits.iter().for_each(|edit| apply(edit, &mut bytes));
    let Some(accepted) = check(&bytes) else { return };
    for signed in states(&accepted) {
        for (index, sig) in signed.sigs() {
            let known = given.contains(&(signed.hash(), *index, *sig));
            assert!(known, "accepted a signature of {index} that was never given: {signed:?}");
        }
    }
}

fn message(said: &Said) -> Wire {
    match said {
        Said::State(claimed) => Wire::State(claim(claimed)),
        Said::UpdateRequest { channel, id, amount } => Wire::UpdateRequest {
            channel: channel_id(*channel),
            id: UpdateId(*id),
            amount: Amount::wei(*amount),
        },
        Said::CloseRequest { channel } => Wire::CloseRequest { channel: channel_id(*channel) },
        Said::Ack { channel, what } => Wire::Ack {
            channel: channel_id(*channel),
            what: match what {
                Some((true, turn)) => MessageKey::State(turn_num(u64::from(*turn))),
                Some((false, id)) => MessageKey::UpdateRequest(UpdateId(u64::from(*id))),
                None => MessageKey::CloseRequest,
            },
        },
        Said::Rejected { channel, kind } => Wire::Rejected {
            objective: ObjectiveId {
                channel: channel_id(*channel),
                kind: match kind % 3 {
                    0 => ObjectiveKind::DirectFund,
                    1 => ObjectiveKind::DirectDefund,
                    _ => ObjectiveKind::Dispute,
                },
            },
        },
        Said::ResumeRequest { channel } => Wire::ResumeRequest { channel: channel_id(*channel) },
        Said::Resume { channel, supported, yours } => Wire::Resume {
            channel: channel_id(*channel),
            supported: supported.as_ref().map(claim),
            yours: yours.as_ref().map(claim),
        },
    }
}

fn channel_id(number: u8) -> ChannelId {
    ChannelId(B256::repeat_byte(number))
}

fn turn_num(turn: u64) -> TurnNum {
    TurnNum::new(turn % (1 << 48)).expect("it was kept below 2^48")
}

fn claim(claimed: &Claimed) -> StateClaim {
    let keys =
        [1, 2].map(|n| SecretKey::new([n; 32], Crypto::Real).expect("a small number is a key"));
    let parties = [0, 1].map(|i: usize| keys[i].address());
    let (a, b) = claimed.amounts;
    let state = State {
        fixed: FixedPart {
            participants: parties.to_vec(),
            nonce: claimed.nonce,
            app_definition: Address::repeat_byte(0xca),
            challenge_duration: 60,
        },
        outcome: outcome::two_party(
            Address::ZERO,
            [(parties[0], Amount::wei(a)), (parties[1], Amount::wei(b))],
        ),
        app_data: Vec::new().into(),
        turn: turn_num(claimed.turn),
        is_final: claimed.is_final,
    };
    let hash = state.hash();
    let signers = (0u8..).zip(&keys).filter(|(i, _)| claimed.signers & (1 << i) != 0);
    let sigs = signers.map(|(i, key)| (i, key.sign(hash))).collect();
    StateClaim { state, sigs }
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>) {
    let length = bytes.len().max(1);
    match edit {
        Edit::Flip { at, mask } => {
            if let Some(byte) = bytes.get_mut(usize::from(*at) % length) {
                *byte ^= mask;
            }
        }
        Edit::Cut { at } => bytes.truncate(usize::from(*at) % length),
        Edit::Insert { at, bytes: more } => {
            let at = (usize::from(*at) % length).min(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Edit::Copy { from, to, bytes: count } => {
            let copied: Vec<u8> = bytes
                .iter()
                .skip(usize::from(*from) % length)
                .take(usize::from(*count))
                .copied()
                .collect();
            let target = bytes.iter_mut().skip(usize::from(*to) % length);
            target.zip(copied).for_each(|(byte, copy)| *byte = copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/wire_decode")
    }

    fn claimed(turn: u64, signers: u8) -> Claimed {
        Claimed { nonce: 7, turn, amounts: (5, 3), is_final: turn == 9, signers }
    }

    /// One message of each kind, and some that are damaged: where the corpus begins.
    fn seeds() -> Vec<(String, Vec<u8>)> {
        let said = [
            Said::State(claimed(0, 1)),
            Said::UpdateRequest { channel: 1, id: 1, amount: 1_000_000 },
            Said::CloseRequest { channel: 1 },
            Said::Ack { channel: 1, what: Some((true, 2)) },
            Said::Rejected { channel: 1, kind: 0 },
            Said::ResumeRequest { channel: 1 },
            Said::Resume { channel: 1, supported: Some(claimed(8, 3)), yours: Some(claimed(9, 2)) },
        ];
        let mut seeds = vec![("empty".to_string(), Vec::new())];
        for said in &said {
            let wire = message(said);
            let name = wire.name().to_lowercase();
            let bytes = wire.encode();
            let flipped = |at: usize| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                bytes
            };
            for (damage, bytes) in [
                ("", bytes.clone()),
                ("_cut", bytes[..bytes.len() - 1].to_vec()),
                ("_longer", [&bytes[..], &[0]].concat()),
                ("_last_bit", flipped(bytes.len() - 1)),
                ("_middle_bit", flipped(bytes.len() / 2)),
            ] {
                seeds.push((format!("{name}{damage}"), [&[1], &bytes[..]].concat()));
            }
        }
        // Structured inputs have no written form of their own: these are the bytes that `arbitrary` reads.
        for choice in 0..8u8 {
            let bytes: Vec<u8> = (0..96u8).map(|i| i.wrapping_mul(37) ^ (choice << 5)).collect();
            seeds.push((format!("damaged_{choice}"), [&[0], &bytes[..]].concat()));
        }
        seeds
    }

    /// `UPDATE_GOLDEN=1` writes what is missing; inputs that a fuzzer found stay.
    #[test]
    fn the_corpus_holds() {
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(folder()).expect("a writable work tree");
            for (name, bytes) in seeds() {
                fs::write(folder().join(name), bytes).expect("a writable work tree");
            }
        }
        let mut inputs = 0;
        for entry in fs::read_dir(folder()).expect("corpus/wire_decode is part of the repository") {
            wire_decode(
                &fs::read(entry.expect("a readable entry").path()).expect("a readable file"),
            );
            inputs += 1;
        }
        assert!(inputs >= seeds().len(), "{inputs} inputs");
    }

    /// The corpus keeps a whole message of each kind, as today's encoder writes it.
    #[test]
    fn the_corpus_has_a_good_message_of_each_kind() {
        for (name, bytes) in seeds().iter().filter(|(name, _)| !name.contains('_')) {
            let stored = fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(stored, *bytes, "{name}");
            let accepted = bytes.split_first().and_then(|(_, message)| check(message));
            assert_eq!(accepted.is_some(), name != "empty", "{name}");
        }
    }

    /// Goal: the property about signatures is not empty.
    /// Method: a whole message of both parties, then each of its bits flipped in turn; only harmless ones may be accepted.
    #[test]
    fn no_flipped_bit_makes_another_signed_state() {
        let said = Said::State(claimed(8, 3));
        let whole = Damaged { said: said.clone(), edits: Vec::new() };
        check_damaged(&whole);
        let bits = message(&said).encode().len() * 8;
        for bit in 0..bits {
            let at = u16::try_from(bit / 8).expect("a short message");
            let edits = vec![Edit::Flip { at, mask: 1 << (bit % 8) }];
            check_damaged(&Damaged { said: said.clone(), edits });
        }
    }

    #[test]
    fn random_inputs_hold() {
        bolero::check!().with_iterations(4000).with_max_len(512).for_each(wire_decode);
    }
}
