//! The handshake between two nodes, and everything that must make it fail.

mod common;
mod forger;

use common::{CHAIN, Wire, identity, local, ms};
use fairway_core::types::Address;
use fairway_transport::{
    Answer, ChainPin, FrameReader, FrameWriter, HANDSHAKE_BYTES_MAX, HandshakeError, Identity,
    IdentityCard, IdentityError, Link, Local, Message, Refusal, Side, VersionRange, answer,
    initiate,
};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

type Outcome = Result<Link<Wire>, HandshakeError>;

/// Both ends of a handshake; one that would wait for ever counts as timed out.
async fn shake(
    ours: Local<'_>,
    theirs: Local<'_>,
    expected: Option<Address>,
    seeds: [u8; 2],
    wires: (Wire, Wire),
) -> (Outcome, Outcome) {
    let bound =
        |outcome: Result<Outcome, _>| outcome.unwrap_or(Err(HandshakeError::Timeout { ms: 1_000 }));
    let dialer = timeout(ms(1_000), initiate(wires.0, &ours, expected, [seeds[0]; 32]));
    let listener = timeout(ms(1_000), async {
        answer(wires.1, &theirs, [seeds[1]; 32]).await?.accept().await
    });
    let (dialer, listener) = tokio::join!(dialer, listener);
    (bound(dialer), bound(listener))
}

async fn plain(ours: Local<'_>, theirs: Local<'_>) -> (Outcome, Outcome) {
    let expected = Some(theirs.identity.address());
    shake(ours, theirs, expected, [1, 2], Wire::pair(None, None)).await
}

fn error(outcome: Outcome) -> HandshakeError {
    outcome.err().expect("the handshake failed")
}

#[tokio::test(start_paused = true)]
async fn both_ends_learn_each_others_address_and_can_talk() {
    let (one, two) = (identity(1), identity(2));
    let (a, b) = plain(local(&one), local(&two)).await;
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.peer(), a.side(), a.version()), (two.address(), Side::Dialed, 1));
    assert_eq!((b.peer(), b.side(), b.version()), (one.address(), Side::Accepted, 1));

    let ((mut out, mut noise), (mut input, mut other)) = (a.into_parts(), b.into_parts());
    let message = Message::Data(b"hello".to_vec());
    let mut writer = FrameWriter::new();
    writer.push(&message, &mut noise).unwrap();
    writer.write(&mut out).await.unwrap();
    assert_eq!(FrameReader::new(100).next(&mut input, &mut other).await, Ok(message));
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_peer_is_refused_and_does_not_learn_who_dialed() {
    let (one, two, three) = (identity(1), identity(2), identity(3));
    let expected = three.address();
    let wires = Wire::pair(None, None);
    let sent = wires.0.written.clone();
    let (a, b) = shake(local(&one), local(&two), Some(expected), [1, 2], wires).await;
    assert_eq!(error(a), HandshakeError::UnexpectedPeer { expected, found: two.address() });
    assert!(matches!(error(b), HandshakeError::Io { message: 3, .. }));
    assert_eq!(sent.lock().unwrap().len(), 2 + 32, "only the ephemeral key left");

    let (a, b) = shake(local(&one), local(&two), None, [1, 2], Wire::pair(None, None)).await;
    assert!(a.is_ok() && b.is_ok(), "without an expectation anybody will do");
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_talk_to_itself() {
    let one = identity(1);
    let address = one.address();
    let (a, _) = shake(local(&one), local(&one), None, [1, 2], Wire::pair(None, None)).await;
    assert_eq!(error(a), HandshakeError::Ourselves { address });
}

/// Goal: other chain ids and other contracts are other networks. Method: each differs in one field.
#[tokio::test(start_paused = true)]
async fn a_node_on_another_chain_cannot_complete_the_handshake() {
    let (one, two) = (identity(1), identity(2));
    for chain in [
        ChainPin { chain_id: 1, ..CHAIN },
        ChainPin { adjudicator: Address::repeat_byte(1), ..CHAIN },
    ] {
        let (a, b) = plain(local(&one), Local { chain, ..local(&two) }).await;
        assert_eq!(error(a), HandshakeError::Noise { message: 2 });
        assert!(matches!(error(b), HandshakeError::Io { message: 3, .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn the_highest_common_version_is_chosen() {
    let (one, two) = (identity(1), identity(2));
    for (ours, theirs, version) in [
        ((1, 1), (1, 1), Some(1)),
        ((1, 3), (2, 5), Some(3)),
        ((2, 9), (1, 4), Some(4)),
        ((4, 4), (1, 9), Some(4)),
        ((1, 2), (3, 4), None),
        ((3, 4), (1, 2), None),
    ] {
        let range = |(min, max)| VersionRange::new(min, max).unwrap();
        let (ours, theirs) = (range(ours), range(theirs));
        let side = |identity, versions| Local { versions, ..local(identity) };
        let (a, b) = plain(side(&one, ours), side(&two, theirs)).await;
        match version {
            Some(version) => {
                assert_eq!((a.unwrap().version(), b.unwrap().version()), (version, version));
            }
            None => {
                assert_eq!(error(a), HandshakeError::NoCommonVersion { ours, theirs });
                let (ours, theirs) = (theirs, ours);
                assert_eq!(error(b), HandshakeError::NoCommonVersion { ours, theirs });
            }
        }
    }
    assert_eq!(VersionRange::new(2, 1), None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_the_dialer_with_its_reason() {
    let (one, two) = (identity(1), identity(2));
    for refusal in [Refusal::Full, Refusal::Duplicate] {
        let (x, y) = Wire::pair(None, None);
        let (ours, theirs) = (local(&one), local(&two));
        let (a, b) = tokio::join!(initiate(x, &ours, None, [1; 32]), async {
            let answer: Answer<Wire> = answer(y, &theirs, [2; 32]).await?;
            assert_eq!(answer.peer(), one.address());
            answer.refuse(refusal).await
        });
        assert_eq!((error(a), b), (HandshakeError::Refused(refusal), Ok(())));
    }
}

/// Everything that both ends wrote.
async fn transcript(seeds: [u8; 2]) -> (Vec<u8>, Vec<u8>) {
    let (one, two) = (identity(1), identity(2));
    let wires = Wire::pair(None, None);
    let (x, y) = (wires.0.written.clone(), wires.1.written.clone());
    let (a, b) = shake(local(&one), local(&two), None, seeds, wires).await;
    assert!(a.is_ok() && b.is_ok());
    let (x, y) = (x.lock().unwrap().clone(), y.lock().unwrap().clone());
    (x, y)
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_bytes_and_other_seeds_other_keys() {
    let first = transcript([1, 2]).await;
    assert_eq!(first, transcript([1, 2]).await);
    let other = transcript([3, 2]).await;
    assert_ne!(first.0[2..34], other.0[2..34], "the ephemeral key");
    assert!(first.0.len() < 2 * HANDSHAKE_BYTES_MAX);
}

/// Goal: no byte of the handshake can be changed unnoticed, and none makes either side panic.
/// Method: flip the top bit of each byte in each direction; both never end with a session.
#[tokio::test(start_paused = true)]
async fn every_flipped_byte_fails_the_handshake() {
    let (one, two) = (identity(1), identity(2));
    let (out, back) = transcript([1, 2]).await;
    for at in 0..out.len() + back.len() {
        let (a, b) = if at < out.len() { (Some(at), None) } else { (None, Some(at - out.len())) };
        let (a, b) = shake(local(&one), local(&two), None, [1, 2], Wire::pair(a, b)).await;
        // The verdict is the responder's last word: flipped, only the dialer can notice.
        assert!(a.is_err(), "byte {at}");
        assert!(b.is_err() || at >= out.len() + back.len() - 19, "byte {at}");
    }
}

/// Goal: a card proves nothing without both signatures. Method: Mallory completes Noise by himself and shows
/// forged cards; he is the responder, so the dialer judges, and then the dialer.
#[tokio::test(start_paused = true)]
async fn forged_cards_are_refused_by_either_side() {
    let (alice, mallory) = (identity(1), identity(3));
    let [theirs, own] = [alice.card().encode(), mallory.card().encode()];
    // Layout: address 0..20, node key 20..52, noise key 52..84, node signature 84..148, channel signature 148..
    let mut no_channel_signature = own;
    no_channel_signature[148..].copy_from_slice(&theirs[148..]);
    let mut no_node_signature = own;
    no_node_signature[84..148].copy_from_slice(&theirs[84..148]);
    let mut stolen = theirs;
    stolen[52..84].copy_from_slice(&own[52..84]);
    for (name, card) in [
        ("channel signature", no_channel_signature),
        ("node signature", no_node_signature),
        ("noise key", stolen),
        ("whole card", theirs),
    ] {
        let forged = forger::hello(&card);
        let dialer = forger::judged_by_dialer(&local(&identity(2)), &forged).await;
        let listener = forger::judged_by_listener(&local(&identity(2)), &forged).await;
        for judged in [dialer, listener] {
            let HandshakeError::Identity(error) = judged else { panic!("{name}: {judged}") };
            match name {
                "channel signature" => {
                    assert!(matches!(error, IdentityError::ChannelSignature { .. }), "{error}");
                }
                "whole card" => assert!(matches!(error, IdentityError::NoiseKey { .. }), "{error}"),
                _ => assert!(matches!(error, IdentityError::NodeSignature { .. }), "{error}"),
            }
        }
    }
    assert!(IdentityCard::decode(&stolen).is_ok(), "well formed, all the same");
}

#[tokio::test(start_paused = true)]
async fn malformed_hellos_and_verdicts_are_refused() {
    let honest = identity(2);
    let honest = local(&honest);
    let card = identity(3).card().encode();
    let empty_range = [&card[..], &[0, 2, 0, 1]].concat();
    let long = [&card[..], &[0, 1, 0, 1, 0]].concat();
    for hello in [&[][..], &card, &empty_range, &long] {
        let bad = HandshakeError::BadHello { bytes: hello.len() };
        assert_eq!(forger::judged_by_dialer(&honest, hello).await, bad);
        assert_eq!(forger::judged_by_listener(&honest, hello).await, bad);
    }
    let bad = HandshakeError::BadHello { bytes: 1 };
    assert_eq!(forger::first_message(&honest, &[0]).await, bad);
    for verdict in [&[][..], &[3], &[0, 0]] {
        assert_eq!(forger::verdict(&honest, verdict).await, HandshakeError::BadVerdict);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_is_refused_unread() {
    let one = identity(1);
    for bytes in [HANDSHAKE_BYTES_MAX, HANDSHAKE_BYTES_MAX + 1, 65_535] {
        let (mut raw, wire) = Wire::pair(None, None);
        raw.write_all(&(bytes as u16).to_be_bytes()).await.unwrap();
        raw.write_all(&vec![7; bytes.min(1_000)]).await.unwrap();
        let error = answer(wire, &local(&one), [1; 32]).await.err().expect("the handshake failed");
        let expected = if bytes <= HANDSHAKE_BYTES_MAX {
            HandshakeError::BadHello { bytes: bytes - 32 }
        } else {
            HandshakeError::TooLong { message: 1, bytes }
        };
        assert_eq!(error, expected);
    }
}

/// Feeds `bytes` to one side and then ends the stream.
async fn feed(bytes: &[u8], identity: &Identity) -> [Option<HandshakeError>; 2] {
    let (mut raw, listener) = Wire::pair(None, None);
    raw.write_all(bytes).await.unwrap();
    raw.shutdown().await.unwrap();
    let answered = answer(listener, &local(identity), [1; 32]).await.err();
    let (mut raw, dialer) = Wire::pair(None, None);
    raw.write_all(bytes).await.unwrap();
    raw.shutdown().await.unwrap();
    [answered, initiate(dialer, &local(identity), None, [1; 32]).await.err()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(feed(&bytes, &identity(1)));
        prop_assert!(outcome.iter().all(Option::is_some));
    }

    #[test]
    fn well_framed_garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let framed = [&(body.len() as u16).to_be_bytes()[..], &body].concat();
        let twice = [&framed[..], &framed].concat();
        let outcome = runtime.block_on(feed(&twice, &identity(1)));
        prop_assert!(outcome.iter().all(Option::is_some));
    }
}
