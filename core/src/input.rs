//! What reaches a node: frames, commands, blocks, the passing of time.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::chain_types::{Block, BlockRef};
use crate::event::{Terms, VirtualTerms};
use crate::nitro::sign::Recover;
use crate::nitro::state::SignedStateError;
use crate::nitro::voucher::Voucher;
use crate::nitro::{Call, SignedState};
use crate::types::{Address, Amount, BlockNum, ChannelId};
use crate::wire::{DecodeError, StateClaim, VIRTUAL_CHANNELS_SINCE, Wire};

/// One thing that happened outside. Handled strictly one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A deadline passed, or nothing did: always allowed.
    Tick,
    /// A session with this authenticated peer is up.
    PeerUp {
        /// The peer's channel address.
        peer: Address,
        /// The wire version that both sides agreed on.
        version: u16,
    },
    /// The session is gone.
    PeerDown {
        /// The peer.
        peer: Address,
    },
    /// One message of an authenticated peer; nothing about its content is trusted.
    Frame {
        /// The session's peer.
        peer: Address,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The user wants something.
    Command {
        /// Chosen by the caller; comes back in the reply.
        request: RequestId,
        /// What.
        command: Command,
    },
    /// The chain endpoint's answer to `FetchBlocks`.
    Blocks {
        /// The first height that was asked for.
        from: BlockNum,
        /// The endpoint's head.
        head: BlockRef,
        /// Consecutive blocks starting at `from`; fewer than were asked for at the head.
        blocks: Vec<Block>,
    },
    /// The endpoint did not answer. The node goes on and says so.
    ChainDown,
    /// The endpoint mentions a new head: a hint to fetch at once.
    NewHead {
        /// Its height.
        number: BlockNum,
    },
    /// A submitted transaction reverted; what to do next is decided from the chain's state.
    TxReverted {
        /// What it called.
        call: Call,
        /// The contract's reason.
        reason: String,
    },
    /// Whether the disk has room beside what the log holds. Without this input it has.
    Space(Space),
    /// A deposit is not submitted, since what is left of the gas money is the defence's: the user shall hear of it.
    DepositWithheld {
        /// Into which channel.
        channel: ChannelId,
        /// How much gas money is missing, in wei.
        missing: Amount,
    },
}

/// Whether the disk has room, as the holder of the data directory knows it.
///
/// He keeps [`Config::reserve_bytes`](crate::config::Config::reserve_bytes) of it occupied. When a write finds no room he gives them
/// back and the node stops, as after every failed write; the next start cannot hold them and says [`Space::Scarce`]: from then on the
/// log grows by what defends and ends channels, and by nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Space {
    /// The reserve is held.
    #[default]
    Plenty,
    /// The reserve is given back: what is left of it is for defence.
    Scarce,
}

/// The caller's name for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What a user can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Open a direct channel on these terms; we are one of the participants.
    Open(Terms),
    /// Pay the other participant of a direct channel, or the payee of a virtual one.
    Pay {
        /// The channel.
        channel: ChannelId,
        /// How much.
        amount: Amount,
    },
    /// Close in agreement.
    Close {
        /// The channel.
        channel: ChannelId,
    },
    /// Close alone, on chain.
    ForceClose {
        /// The channel.
        channel: ChannelId,
    },
    /// Open a virtual channel on these terms; we are the payer.
    OpenVirtual {
        /// The terms.
        terms: VirtualTerms,
        /// Our ledger channel with the first intermediary; `None` takes the one with the most room.
        ledger: Option<ChannelId>,
    },
}

/// An input whose bytes were parsed and whose signatures were checked: what `Node::handle` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Everything that carries no foreign signature.
    Plain(Input),
    /// Blocks, and the states in them whose signatures were checked.
    Blocks {
        /// The first height that was asked for.
        from: BlockNum,
        /// The endpoint's head.
        head: BlockRef,
        /// As the endpoint gave them.
        blocks: Vec<Block>,
        /// What their logs and calldata show, with the signatures that hold. A signature needs no trust in who shows it.
        published: Vec<SignedState>,
    },
    /// A well-formed message whose signatures are all valid.
    Message {
        /// The sender.
        peer: Address,
        /// What it said.
        message: Message,
    },
    /// Bytes that are not acceptable; they change nothing but a counter.
    Dropped {
        /// The sender.
        peer: Address,
        /// Why.
        why: Malformed,
    },
}

/// [`Wire`] with checked states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Signatures on a state.
    State(SignedState),
    /// Any message without a state.
    Bare(Wire),
    /// What the peer knows of a channel.
    Resume {
        /// The channel.
        channel: ChannelId,
        /// Its latest supported state.
        supported: Option<SignedState>,
        /// The newest state with a signature of ours.
        yours: Option<SignedState>,
    },
    /// Signatures on a state of a virtual channel.
    VirtualState {
        /// The state.
        state: SignedState,
        /// The ledger channel that the sender chose, if it stands to our left.
        ledger: Option<ChannelId>,
    },
    /// A ledger channel's state and what its new guarantees rest on.
    Proposal {
        /// The state.
        state: SignedState,
        /// States of virtual channels.
        evidence: Vec<SignedState>,
    },
    /// A voucher whose signature holds, and whose it is.
    Voucher {
        /// The voucher.
        voucher: Voucher,
        /// Who signed it.
        signer: Address,
    },
    /// What the peer knows of a virtual channel.
    VirtualResume {
        /// The channel.
        channel: ChannelId,
        /// Its largest voucher, and who signed it.
        voucher: Option<(Voucher, Address)>,
        /// Its newest state.
        newest: Option<SignedState>,
    },
}

impl Message {
    /// The oldest wire version that knows this message.
    pub fn version(&self) -> u16 {
        match self {
            Message::State(_) | Message::Resume { .. } => 1,
            Message::Bare(wire) => wire.version(),
            Message::VirtualState { .. }
            | Message::Proposal { .. }
            | Message::Voucher { .. }
            | Message::VirtualResume { .. } => VIRTUAL_CHANNELS_SINCE,
        }
    }
}

/// Why a message was dropped before any rule looked at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A signature does not hold.
    #[error(transparent)]
    Signatures(#[from] SignedStateError),
    /// A voucher's signature does not hold.
    #[error("the voucher's signature does not hold")]
    Voucher,
}

impl Malformed {
    /// A short name for counters.
    pub fn code(&self) -> &'static str {
        match self {
            Malformed::Decode(_) => "decode_failed",
            Malformed::Signatures(_) | Malformed::Voucher => "signature_invalid",
        }
    }
}

/// Parses and checks one input. Pure and order-preserving: inline in the simulator, on a pool in the binary.
pub fn verify(input: Input, crypto: &mut dyn Recover) -> Verified {
    match input {
        Input::Frame { peer, bytes } => match check(&bytes, crypto) {
            Ok(message) => Verified::Message { peer, message },
            Err(why) => Verified::Dropped { peer, why },
        },
        Input::Blocks { from, head, blocks } => {
            let claims = blocks.iter().flat_map(Block::claims);
            let published = claims.filter_map(|c| c.checked(crypto).ok()).collect();
            Verified::Blocks { from, head, blocks, published }
        }
        plain => Verified::Plain(plain),
    }
}

fn check(bytes: &[u8], crypto: &mut dyn Recover) -> Result<Message, Malformed> {
    let wire = Wire::decode(bytes)?;
    if let Wire::Voucher(voucher) = wire {
        let signer = voucher.signer(crypto).ok_or(Malformed::Voucher)?;
        return Ok(Message::Voucher { voucher, signer });
    }
    if let Wire::VirtualResume { channel, voucher, newest } = wire {
        let signed = |v: Voucher| v.signer(crypto).map(|s| (v, s)).ok_or(Malformed::Voucher);
        let voucher = voucher.map(signed).transpose()?;
        let newest = newest.map(|c| SignedState::verify(c.state, c.sigs, crypto)).transpose()?;
        return Ok(Message::VirtualResume { channel, voucher, newest });
    }
    let mut checked = |claim: StateClaim| SignedState::verify(claim.state, claim.sigs, crypto);
    Ok(match wire {
        Wire::State(claim) => Message::State(checked(claim)?),
        Wire::Resume { channel, supported, yours } => Message::Resume {
            channel,
            supported: supported.map(&mut checked).transpose()?,
            yours: yours.map(checked).transpose()?,
        },
        Wire::VirtualState { claim, ledger } => {
            Message::VirtualState { state: checked(claim)?, ledger }
        }
        Wire::Proposal { claim, evidence } => Message::Proposal {
            state: checked(claim)?,
            evidence: evidence.into_iter().map(checked).collect::<Result<_, _>>()?,
        },
        bare => Message::Bare(bare),
    })
}
