//! Frames at their edges, and everything that must end a stream of them.

use super::*;
use crate::testing::noise_pair;
use proptest::prelude::*;

const MAX: usize = 131_072;

/// The frame of `message`, as bytes, with the state that opens it.
fn frame(message: &Message) -> (Vec<u8>, TransportState) {
    let (mut ours, theirs) = noise_pair();
    let mut writer = FrameWriter::new();
    writer.push(message, &mut ours).unwrap();
    (writer.buf, theirs)
}

/// What a reader makes of `bytes` followed by the end of the stream.
fn read(bytes: &[u8], noise: &mut TransportState) -> Result<Message, FrameError> {
    block_on(FrameReader::new(MAX).next(&mut &bytes[..], noise))
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn data(bytes: usize) -> Message {
    Message::Data((0..bytes).map(|i| i as u8).collect())
}

#[test]
fn messages_round_trip_at_every_edge() {
    let record = RECORD_BYTES_MAX - TAG_BYTES;
    let edge = record - HEADER_BYTES;
    for size in [0, 1, edge - 1, edge, edge + 1, edge + record, edge + record + 1, MAX] {
        let (bytes, mut noise) = frame(&data(size));
        assert_eq!(bytes.len(), 4 + body_bytes(size), "{size}");
        assert_eq!(read(&bytes, &mut noise), Ok(data(size)), "{size}");
    }
    for message in [Message::Ping, Message::Pong] {
        let (bytes, mut noise) = frame(&message);
        assert_eq!(bytes.len(), FRAME_OVERHEAD_BYTES);
        assert_eq!(read(&bytes, &mut noise), Ok(message));
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_before_anything_is_allocated() {
    let (bytes, mut noise) = frame(&data(MAX + 1));
    let error = FrameError::TooLong { bytes: body_bytes(MAX + 1), bytes_max: body_bytes(MAX) };
    assert_eq!(read(&bytes, &mut noise), Err(error));
    let mut reader = FrameReader::new(MAX);
    let header = u32::MAX.to_be_bytes();
    assert!(block_on(reader.next(&mut &header[..], &mut noise)).is_err());
    assert_eq!(reader.buf.len(), READ_BYTES);
}

#[test]
fn a_body_that_cannot_hold_a_header_is_refused() {
    let mut noise = noise_pair().1;
    for bytes in [0u32, 1, 20] {
        let error = FrameError::TooShort { bytes: bytes as usize };
        assert_eq!(read(&bytes.to_be_bytes(), &mut noise), Err(error));
    }
}

#[test]
fn the_end_of_the_stream_is_clean_only_between_frames() {
    let (bytes, mut noise) = frame(&data(10));
    assert_eq!(read(&[], &mut noise), Err(FrameError::Closed));
    for cut in 1..bytes.len() {
        let bytes_needed = if cut < 4 { 4 } else { bytes.len() };
        let error = FrameError::Truncated { bytes: cut, bytes_needed };
        assert_eq!(read(&bytes[..cut], &mut noise), Err(error));
    }
}

#[test]
fn every_corrupted_byte_ends_the_stream() {
    let (bytes, _) = frame(&data(40));
    for at in 0..bytes.len() {
        let (_, mut noise) = noise_pair();
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x41;
        assert!(read(&bytes, &mut noise).is_err(), "byte {at}");
    }
}

/// The outer length is not authenticated: a frame cut after its first record still decrypts.
#[test]
fn a_frame_cut_between_records_is_refused() {
    let (mut bytes, mut noise) = frame(&data(100_000));
    bytes[..4].copy_from_slice(&(RECORD_BYTES_MAX as u32).to_be_bytes());
    let found = RECORD_BYTES_MAX - TAG_BYTES - HEADER_BYTES;
    let error = FrameError::LengthMismatch { stated: 100_000, found };
    assert_eq!(read(&bytes, &mut noise), Err(error));
}

#[test]
fn unknown_kinds_and_pings_with_a_payload_are_refused() {
    for (kind, payload) in [(3, &[][..]), (255, &[1]), (KIND_PING, &[1]), (KIND_PONG, &[1])] {
        let plain = [&[kind][..], &(payload.len() as u32).to_be_bytes(), payload].concat();
        let error = FrameError::BadKind { kind, bytes: payload.len() };
        assert_eq!(parse(plain), Err(error));
    }
}

#[test]
fn replayed_and_reordered_frames_are_refused() {
    let (mut ours, mut theirs) = noise_pair();
    let mut writer = FrameWriter::new();
    writer.push(&data(5), &mut ours).unwrap();
    let first = writer.buf.clone();
    assert_eq!(read(&first, &mut theirs), Ok(data(5)));
    assert_eq!(read(&first, &mut theirs), Err(FrameError::Decrypt));
}

#[test]
fn a_failing_stream_is_reported() {
    struct Full;
    impl AsyncWrite for Full {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Ready(Ok(0))
        }
        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
    let mut writer = FrameWriter::new();
    writer.push(&Message::Ping, &mut noise_pair().0).unwrap();
    let error = FrameError::Io { kind: io::ErrorKind::WriteZero };
    assert_eq!(block_on(writer.write(&mut Full)), Err(error));
}

/// Many frames through a pipe that holds few bytes: reads and writes are split anywhere.
#[test]
fn frames_pass_a_narrow_pipe_in_order() {
    let (mut ours, mut theirs) = noise_pair();
    block_on(async {
        let (mut a, mut b) = tokio::io::duplex(7);
        let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new(MAX));
        for size in 0..50 {
            writer.push(&data(size), &mut ours).unwrap();
        }
        let (written, ()) = tokio::join!(writer.write(&mut a), async {
            for size in 0..50 {
                assert_eq!(reader.next(&mut b, &mut theirs).await, Ok(data(size)));
            }
        });
        written.unwrap();
        assert!(writer.is_idle());
    });
}

proptest! {
    #[test]
    fn any_messages_round_trip(messages in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..300), 0..8,
    )) {
        let (mut ours, mut theirs) = noise_pair();
        let mut writer = FrameWriter::new();
        for message in &messages {
            writer.push(&Message::Data(message.clone()), &mut ours).unwrap();
        }
        let mut reader = FrameReader::new(MAX);
        let mut bytes = &writer.buf[..];
        for message in messages {
            let read = block_on(reader.next(&mut bytes, &mut theirs));
            prop_assert_eq!(read, Ok(Message::Data(message)));
        }
        prop_assert_eq!(
            block_on(reader.next(&mut bytes, &mut theirs)),
            Err(FrameError::Closed)
        );
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes, &mut noise_pair().1).is_err());
        let _ = parse(bytes);
    }
}
