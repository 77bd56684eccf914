//! Noise XX between two nodes: who is there, on which chain, with which wire version.
//!
//! ```text
//! initiator                                              responder
//!   e                                             ──>
//!                                                 <──    e, ee, s, es, hello    (encrypted)
//!   s, se, hello                     (encrypted)  ──>
//!                                                 <──    verdict                (transport key)
//! ```
//!
//! The prologue pins protocol, chain id and adjudicator: nodes on different chains cannot decrypt each
//! other's second message. The verdict exists because the responder alone knows whether it has room and
//! whether another session with the same peer wins; without it the initiator would call a session up
//! that the responder has already dropped.
//!
//! Not here: deadlines (the network bounds each handshake with its clock) and the choice of the verdict
//! (`registry`). XX shows the responder's card to whoever connects; addresses are public on chain anyway.
//!
//! Source: Noise Protocol Framework revision 34, 7.5 (XX) and 6 (prologue).

use std::io;

use fairway_core::types::Address;
use snow::{Builder, HandshakeState, TransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::hello::{ChainPin, HELLO_BYTES, Hello, VersionRange};
use crate::identity::{Identity, IdentityError};
use crate::noise::Seeded;

/// The longest handshake message that is read; the real ones have at most 313 bytes.
pub const HANDSHAKE_BYTES_MAX: usize = 512;

/// Our side of every handshake.
#[derive(Clone, Copy)]
pub struct Local<'a> {
    /// Who we are.
    pub identity: &'a Identity,
    /// What both must share.
    pub chain: ChainPin,
    /// What we speak.
    pub versions: VersionRange,
}

/// Which end of a stream we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We dialed.
    Dialed,
    /// The peer dialed.
    Accepted,
}

/// An authenticated stream, ready for frames.
pub struct Link<S> {
    pub(crate) stream: S,
    pub(crate) noise: TransportState,
    peer: Address,
    version: u16,
    side: Side,
}

impl<S> Link<S> {
    /// The peer, as proved by both of its keys.
    pub fn peer(&self) -> Address {
        self.peer
    }

    /// The highest wire version that both speak.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Who dialed.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The stream and the cipher state, for [`FrameReader`](crate::FrameReader) and
    /// [`FrameWriter`](crate::FrameWriter).
    pub fn into_parts(self) -> (S, TransportState) {
        (self.stream, self.noise)
    }
}

/// A handshake that we answered and that awaits our verdict.
pub struct Answer<S>(Link<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Answer<S> {
    /// Who wants the session.
    pub fn peer(&self) -> Address {
        self.0.peer
    }

    /// Tells the peer that the session is up.
    ///
    /// # Errors
    /// The stream failed; there is no session.
    pub async fn accept(self) -> Result<Link<S>, HandshakeError> {
        let mut link = self.0;
        link.send_verdict(VERDICT_ACCEPT).await?;
        Ok(link)
    }

    /// Tells the peer why there is no session.
    ///
    /// # Errors
    /// The stream failed, which changes nothing.
    pub async fn refuse(self, refusal: Refusal) -> Result<(), HandshakeError> {
        let mut link = self.0;
        link.send_verdict(match refusal {
            Refusal::Full => VERDICT_FULL,
            Refusal::Duplicate => VERDICT_DUPLICATE,
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    async fn send_verdict(&mut self, verdict: u8) -> Result<(), HandshakeError> {
        let mut message = [0; 1 + TAG_BYTES];
        let n = self.noise.write_message(&[verdict], &mut message).map_err(noise(4))?;
        send(&mut self.stream, 4, &message[..n]).await
    }

    async fn receive_verdict(&mut self) -> Result<(), HandshakeError> {
        let message = receive(&mut self.stream, 4).await?;
        let mut payload = [0; HANDSHAKE_BYTES_MAX];
        let n = self.noise.read_message(&message, &mut payload).map_err(noise(4))?;
        match payload[..n] {
            [VERDICT_ACCEPT] => Ok(()),
            [VERDICT_FULL] => Err(HandshakeError::Refused(Refusal::Full)),
            [VERDICT_DUPLICATE] => Err(HandshakeError::Refused(Refusal::Duplicate)),
            _ => Err(HandshakeError::BadVerdict),
        }
    }
}

const VERDICT_ACCEPT: u8 = 0;
const VERDICT_FULL: u8 = 1;
const VERDICT_DUPLICATE: u8 = 2;
const TAG_BYTES: usize = 16;

/// Dials: runs the whole handshake on a fresh stream. [`greet`] and [`Greeted::commit`] in one.
///
/// # Errors
/// The caller drops the stream and may dial again with another seed.
pub async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    local: &Local<'_>,
    expected: Option<Address>,
    seed: [u8; 32],
) -> Result<Link<S>, HandshakeError> {
    greet(stream, local, expected, seed).await?.commit(local).await
}

/// Dials up to the point where we know who answers and the peer does not know us yet.
///
/// With `expected`, nobody but that address will do, and a stranger does not learn who we are. `seed`
/// must never be used for a second handshake: it is the ephemeral key.
///
/// # Errors
/// The caller drops the stream and may dial again with another seed.
pub async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    local: &Local<'_>,
    expected: Option<Address>,
    seed: [u8; 32],
) -> Result<Greeted<S>, HandshakeError> {
    let mut state = local.begin(Side::Dialed, seed)?;
    step_out(&mut stream, &mut state, 1, &[]).await?;
    let hello = Hello::decode(&step_in(&mut stream, &mut state, 2).await?)?;
    let peer = local.authenticate(&state, &hello)?;
    if let Some(expected) = expected.filter(|expected| *expected != peer) {
        return Err(HandshakeError::UnexpectedPeer { expected, found: peer });
    }
    Ok(Greeted { stream, state, peer, hello })
}

/// A dial whose other end has proved who it is. Dropped now, it cannot become a session at the peer.
pub struct Greeted<S> {
    stream: S,
    state: HandshakeState,
    peer: Address,
    hello: Hello,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeted<S> {
    /// Says who we are and waits for the verdict. From here on the peer may hold a session with us.
    ///
    /// # Errors
    /// The caller drops the stream and may dial again with another seed.
    pub async fn commit(self, local: &Local<'_>) -> Result<Link<S>, HandshakeError> {
        let Greeted { mut stream, mut state, peer, hello } = self;
        // Without a common version this goes out all the same, so that the responder knows why.
        step_out(&mut stream, &mut state, 3, &local.hello().encode()).await?;
        let version = local.negotiate(&hello)?;
        let noise = state.into_transport_mode().map_err(noise(3))?;
        let mut link = Link { stream, noise, peer, version, side: Side::Dialed };
        link.receive_verdict().await?;
        Ok(link)
    }
}

/// Accepts: runs the handshake up to the verdict, which the caller owes.
///
/// `seed` must never be used for a second handshake: it is the ephemeral key.
///
/// # Errors
/// The caller drops the stream.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    local: &Local<'_>,
    seed: [u8; 32],
) -> Result<Answer<S>, HandshakeError> {
    let mut state = local.begin(Side::Accepted, seed)?;
    let first = step_in(&mut stream, &mut state, 1).await?;
    if !first.is_empty() {
        return Err(HandshakeError::BadHello { bytes: first.len() });
    }
    step_out(&mut stream, &mut state, 2, &local.hello().encode()).await?;
    let hello = Hello::decode(&step_in(&mut stream, &mut state, 3).await?)?;
    let peer = local.authenticate(&state, &hello)?;
    let version = local.negotiate(&hello)?;
    let noise = state.into_transport_mode().map_err(noise(3))?;
    Ok(Answer(Link { stream, noise, peer, version, side: Side::Accepted }))
}

impl Local<'_> {
    fn begin(&self, side: Side, seed: [u8; 32]) -> Result<HandshakeState, HandshakeError> {
        let params = NOISE.parse().expect("the pattern is a constant that snow supports");
        let prologue = self.chain.prologue();
        let builder = Builder::with_resolver(params, Box::new(Seeded(seed)))
            .prologue(&prologue)
            .and_then(|builder| builder.local_private_key(self.identity.noise_secret()));
        match side {
            Side::Dialed => builder.and_then(Builder::build_initiator),
            Side::Accepted => builder.and_then(Builder::build_responder),
        }
        .map_err(noise(0))
    }

    fn hello(&self) -> Hello {
        Hello { card: *self.identity.card(), versions: self.versions }
    }

    fn authenticate(
        &self,
        state: &HandshakeState,
        hello: &Hello,
    ) -> Result<Address, HandshakeError> {
        let noise_key = state.get_remote_static().unwrap_or_default();
        let peer = hello.card.verify(noise_key, self.identity.crypto())?;
        if peer == self.identity.address() {
            return Err(HandshakeError::Ourselves { address: peer });
        }
        Ok(peer)
    }

    fn negotiate(&self, hello: &Hello) -> Result<u16, HandshakeError> {
        let (ours, theirs) = (self.versions, hello.versions);
        ours.common(theirs).ok_or(HandshakeError::NoCommonVersion { ours, theirs })
    }
}

// Message 2 is the longest: e, encrypted s, encrypted hello.
const _: () = assert!(32 + 48 + HELLO_BYTES + TAG_BYTES <= HANDSHAKE_BYTES_MAX);

const NOISE: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";

/// Why there is no session, although both sides behaved. Travels as the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The responder has as many sessions as it may.
    #[error("no room for another session")]
    Full,
    /// The responder has a session with the initiator that wins over this one.
    #[error("another session with the same peer wins")]
    Duplicate,
}

/// Why a handshake ended. The peer, the network between or a stranger is to blame; never fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The stream failed or ended.
    #[error("stream failed in handshake message {message}: {kind}")]
    Io {
        /// Which of the four messages.
        message: u8,
        /// What the stream said.
        kind: io::ErrorKind,
    },
    /// A message announced more than it may have; nothing was allocated.
    #[error("handshake message {message} of {bytes} bytes exceeds {HANDSHAKE_BYTES_MAX}")]
    TooLong {
        /// Which of the four messages.
        message: u8,
        /// What it announced.
        bytes: usize,
    },
    /// A message did not decrypt: garbage, tampering, or a node on another chain.
    #[error("handshake message {message} is no noise message of this network")]
    Noise {
        /// Which of the four messages; 0 is our own set-up.
        message: u8,
    },
    /// The hello has a wrong shape.
    #[error("hello of {bytes} bytes is malformed")]
    BadHello {
        /// Its length.
        bytes: usize,
    },
    /// The card proves nothing.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Somebody else answered.
    #[error("dialed {expected} and found {found}")]
    UnexpectedPeer {
        /// Whom we dialed.
        expected: Address,
        /// Who proved to be there.
        found: Address,
    },
    /// We talk to ourselves.
    #[error("the peer is ourselves, {address}")]
    Ourselves {
        /// Our address.
        address: Address,
    },
    /// The ranges of wire versions do not meet.
    #[error(
        "no common wire version: we speak {} to {}, the peer {} to {}",
        ours.min, ours.max, theirs.min, theirs.max
    )]
    NoCommonVersion {
        /// Ours.
        ours: VersionRange,
        /// The peer's.
        theirs: VersionRange,
    },
    /// The responder said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The verdict is none that we know.
    #[error("the verdict is unknown")]
    BadVerdict,
    /// The handshake took too long.
    #[error("handshake took longer than {ms} ms")]
    Timeout {
        /// The limit.
        ms: u64,
    },
}

async fn step_out<S: AsyncWrite + Unpin>(
    stream: &mut S,
    state: &mut HandshakeState,
    number: u8,
    payload: &[u8],
) -> Result<(), HandshakeError> {
    let mut message = [0; HANDSHAKE_BYTES_MAX];
    let n = state.write_message(payload, &mut message).map_err(noise(number))?;
    send(stream, number, &message[..n]).await
}

async fn step_in<S: AsyncRead + Unpin>(
    stream: &mut S,
    state: &mut HandshakeState,
    number: u8,
) -> Result<Vec<u8>, HandshakeError> {
    let message = receive(stream, number).await?;
    let mut payload = vec![0; HANDSHAKE_BYTES_MAX];
    let n = state.read_message(&message, &mut payload).map_err(noise(number))?;
    payload.truncate(n);
    Ok(payload)
}

/// Writes a message with its length as a big-endian `u16`, in one piece, and flushes: some streams send
/// on flush only.
async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    number: u8,
    message: &[u8],
) -> Result<(), HandshakeError> {
    let bytes = u16::try_from(message.len()).expect("handshake messages are below 512 bytes");
    let packet = [&bytes.to_be_bytes()[..], message].concat();
    stream.write_all(&packet).await.map_err(failed(number))?;
    stream.flush().await.map_err(failed(number))
}

/// Reads one message; its length is checked before anything is allocated.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    number: u8,
) -> Result<Vec<u8>, HandshakeError> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(failed(number))?;
    let bytes = usize::from(u16::from_be_bytes(length));
    if bytes > HANDSHAKE_BYTES_MAX {
        return Err(HandshakeError::TooLong { message: number, bytes });
    }
    let mut message = vec![0; bytes];
    stream.read_exact(&mut message).await.map_err(failed(number))?;
    Ok(message)
}

fn failed(message: u8) -> impl Fn(io::Error) -> HandshakeError {
    move |error| HandshakeError::Io { message, kind: error.kind() }
}

fn noise(message: u8) -> impl Fn(snow::Error) -> HandshakeError {
    move |_| HandshakeError::Noise { message }
}
