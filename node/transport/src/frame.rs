//! Frames: one message each, encrypted, with its length in front.
//!
//! ```text
//! length: u32 BE  |  noise record (<= 65,535)  |  noise record  | ...
//! decrypted:         kind: u8 | payload length: u32 BE | payload ...
//! ```
//!
//! The outer length is checked before anything is allocated. It is not authenticated, so whoever sits on
//! the wire could cut a frame between two records; the inner length catches that. Any bad frame ends the
//! session: cipher state and stream position cannot be trusted after it. Lost frames are not missed here;
//! the stream below keeps order, and the outbox above resends.
//!
//! Reader and writer are cancel-safe: progress stays in the value, so their futures may be dropped in a
//! `select!` at any await.

use std::io;

use snow::TransportState;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The content of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Bytes of the caller.
    Data(Vec<u8>),
    /// "Are you there?"
    Ping,
    /// "I am."
    Pong,
}

/// Reads frames from a stream.
pub struct FrameReader {
    frame_bytes_max: usize,
    /// Bytes `start..end` were read and not yet used.
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameReader {
    /// A reader that refuses payloads above `frame_bytes_max`.
    pub fn new(frame_bytes_max: usize) -> FrameReader {
        FrameReader { frame_bytes_max, buf: Vec::new(), start: 0, end: 0 }
    }

    /// Reads until a whole frame has arrived and opens it. Cancel-safe.
    ///
    /// # Errors
    /// The session is over; see [`FrameError`].
    pub async fn next<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
        noise: &mut TransportState,
    ) -> Result<Message, FrameError> {
        loop {
            let need = match self.body_bytes()? {
                Some(body) if self.end - self.start >= 4 + body => return self.open(body, noise),
                Some(body) => 4 + body,
                None => 4,
            };
            self.make_room(need);
            let n = stream.read(&mut self.buf[self.end..]).await.map_err(failed)?;
            if n == 0 {
                let bytes = self.end - self.start;
                return Err(if bytes == 0 {
                    FrameError::Closed
                } else {
                    FrameError::Truncated { bytes, bytes_needed: need }
                });
            }
            self.end += n;
        }
    }

    /// The length of the body that comes next, if its header is here.
    fn body_bytes(&self) -> Result<Option<usize>, FrameError> {
        let Some(header) = self.buf[self.start..self.end].first_chunk::<4>() else {
            return Ok(None);
        };
        let bytes = u32::from_be_bytes(*header) as usize;
        let bytes_max = body_bytes(self.frame_bytes_max);
        if bytes > bytes_max {
            return Err(FrameError::TooLong { bytes, bytes_max });
        }
        if bytes < body_bytes(0) {
            return Err(FrameError::TooShort { bytes });
        }
        Ok(Some(bytes))
    }

    /// Makes the buffer hold `need` bytes from `start`. `need` was checked against the limit.
    fn make_room(&mut self, need: usize) {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let size = need.max(READ_BYTES);
        if self.buf.len() < size {
            self.buf.resize(size, 0);
        }
    }

    /// Decrypts the body that stands behind the header, and uses both up.
    fn open(&mut self, body: usize, noise: &mut TransportState) -> Result<Message, FrameError> {
        let from = self.start + 4;
        self.start = from + body;
        let mut plain = vec![0; body];
        let mut n = 0;
        for record in self.buf[from..from + body].chunks(RECORD_BYTES_MAX) {
            n += noise.read_message(record, &mut plain[n..]).map_err(|_| FrameError::Decrypt)?;
        }
        plain.truncate(n);
        parse(plain)
    }
}

/// Reads kind and length of a decrypted frame.
fn parse(mut plain: Vec<u8>) -> Result<Message, FrameError> {
    let Some(&[kind, a, b, c, d]) = plain.first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::TooShort { bytes: plain.len() });
    };
    let (stated, found) = (u32::from_be_bytes([a, b, c, d]) as usize, plain.len() - HEADER_BYTES);
    if stated != found {
        return Err(FrameError::LengthMismatch { stated, found });
    }
    match (kind, found) {
        (KIND_DATA, _) => {
            plain.drain(..HEADER_BYTES);
            Ok(Message::Data(plain))
        }
        (KIND_PING, 0) => Ok(Message::Ping),
        (KIND_PONG, 0) => Ok(Message::Pong),
        _ => Err(FrameError::BadKind { kind, bytes: found }),
    }
}

/// Collects encrypted frames and writes them to a stream.
#[derive(Default)]
pub struct FrameWriter {
    buf: Vec<u8>,
    written: usize,
}

impl FrameWriter {
    /// A writer with nothing to write.
    pub fn new() -> FrameWriter {
        FrameWriter::default()
    }

    /// Encrypts a frame behind those that already wait.
    ///
    /// The caller has checked the payload against the limit that the other end also has.
    ///
    /// # Errors
    /// [`FrameError::Exhausted`] after 2^64 records; the session is over.
    pub fn push(
        &mut self,
        message: &Message,
        noise: &mut TransportState,
    ) -> Result<(), FrameError> {
        let (kind, payload): (u8, &[u8]) = match message {
            Message::Data(bytes) => (KIND_DATA, bytes),
            Message::Ping => (KIND_PING, &[]),
            Message::Pong => (KIND_PONG, &[]),
        };
        let length = u32::try_from(payload.len()).expect("messages are limited to 16 MiB");
        let plain = [&[kind][..], &length.to_be_bytes(), payload].concat();
        let body = body_bytes(payload.len());
        self.buf.extend_from_slice(&(body as u32).to_be_bytes());
        for record in plain.chunks(RECORD_BYTES_MAX - TAG_BYTES) {
            let from = self.buf.len();
            self.buf.resize(from + record.len() + TAG_BYTES, 0);
            noise
                .write_message(record, &mut self.buf[from..])
                .map_err(|_| FrameError::Exhausted)?;
        }
        Ok(())
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.buf.len() - self.written
    }

    /// Whether everything was written and flushed.
    pub fn is_idle(&self) -> bool {
        self.buf.is_empty()
    }

    /// Writes and flushes everything. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameError::Io`]; the session is over.
    pub async fn write<W: AsyncWrite + Unpin>(&mut self, stream: &mut W) -> Result<(), FrameError> {
        while self.written < self.buf.len() {
            let n = stream.write(&self.buf[self.written..]).await.map_err(failed)?;
            if n == 0 {
                return Err(FrameError::Io { kind: io::ErrorKind::WriteZero });
            }
            self.written += n;
        }
        // Some streams send on flush only.
        stream.flush().await.map_err(failed)?;
        self.buf.clear();
        self.written = 0;
        Ok(())
    }
}

fn failed(error: io::Error) -> FrameError {
    FrameError::Io { kind: error.kind() }
}

/// The bytes of a frame's body with a payload of `payload` bytes: header and one tag for each record.
const fn body_bytes(payload: usize) -> usize {
    let plain = payload + HEADER_BYTES;
    plain + plain.div_ceil(RECORD_BYTES_MAX - TAG_BYTES) * TAG_BYTES
}

/// What a frame of one record costs above its payload: length, tag and inner header.
pub const FRAME_OVERHEAD_BYTES: usize = 4 + TAG_BYTES + HEADER_BYTES;

const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
/// Noise's own limit (Noise Protocol Framework 34, section 3).
const RECORD_BYTES_MAX: usize = 65_535;
/// How much is read at once, if there is so much: many small frames, one read.
const READ_BYTES: usize = 8_192;

const KIND_DATA: u8 = 0;
const KIND_PING: u8 = 1;
const KIND_PONG: u8 = 2;

/// Why a stream of frames ended. Nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer closed between two frames.
    #[error("closed by the peer")]
    Closed,
    /// The stream failed.
    #[error("stream failed: {kind}")]
    Io {
        /// What the stream said.
        kind: io::ErrorKind,
    },
    /// The stream ended within a frame.
    #[error("stream ended after {bytes} of {bytes_needed} bytes of a frame")]
    Truncated {
        /// How much of the frame came.
        bytes: usize,
        /// How much was needed next.
        bytes_needed: usize,
    },
    /// The announced length is above the limit; nothing was allocated.
    #[error("frame body of {bytes} bytes exceeds {bytes_max}")]
    TooLong {
        /// What was announced.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// No frame is so short.
    #[error("frame body of {bytes} bytes is too short")]
    TooShort {
        /// What was announced.
        bytes: usize,
    },
    /// A record was tampered with, or is out of order.
    #[error("record does not decrypt")]
    Decrypt,
    /// The frame was cut or extended between two records.
    #[error("frame states {stated} bytes of payload and has {found}")]
    LengthMismatch {
        /// What the peer encrypted.
        stated: usize,
        /// What arrived.
        found: usize,
    },
    /// The kind is unknown, or carries bytes that it must not.
    #[error("frame of kind {kind} with {bytes} bytes of payload")]
    BadKind {
        /// The kind.
        kind: u8,
        /// The length of its payload.
        bytes: usize,
    },
    /// The cipher has no nonces left.
    #[error("nonces are exhausted")]
    Exhausted,
}

#[cfg(test)]
mod tests;
