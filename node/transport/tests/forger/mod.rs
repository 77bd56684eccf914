//! A peer that runs Noise with Mallory's key (identity 3) and says whatever it likes.

use alloy_primitives::keccak256;
use fairway_transport::{HandshakeError, Local, answer, initiate};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{CHAIN, Wire, identity};

/// The same "random" bytes for ever.
struct Fixed;

impl CryptoResolver for Fixed {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Fixed))
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Random for Fixed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        dest.fill(9);
        Ok(())
    }
}

pub fn hello(card: &[u8]) -> Vec<u8> {
    [card, &[0, 1, 0, 1]].concat()
}

fn noise(dialer: bool) -> HandshakeState {
    let secret = keccak256([&b"fairway/transport/v1/noise-key"[..], &[3; 32]].concat());
    let prologue =
        [&b"fairway/transport/v1"[..], &CHAIN.chain_id.to_be_bytes(), CHAIN.adjudicator.as_slice()]
            .concat();
    let builder = Builder::with_resolver(
        "Noise_XX_25519_ChaChaPoly_BLAKE2s".parse().unwrap(),
        Box::new(Fixed),
    )
    .prologue(&prologue)
    .unwrap()
    .local_private_key(secret.as_slice())
    .unwrap();
    if dialer { builder.build_initiator() } else { builder.build_responder() }.unwrap()
}

async fn send(wire: &mut Wire, noise: &mut HandshakeState, payload: &[u8]) {
    let mut buf = [0; 1_024];
    let n = noise.write_message(payload, &mut buf).unwrap();
    wire.write_all(&(n as u16).to_be_bytes()).await.unwrap();
    wire.write_all(&buf[..n]).await.unwrap();
}

async fn receive(wire: &mut Wire, noise: &mut HandshakeState) {
    let n = wire.read_u16().await.unwrap();
    let mut message = vec![0; usize::from(n)];
    wire.read_exact(&mut message).await.unwrap();
    noise.read_message(&message, &mut [0; 1_024]).unwrap();
}

pub async fn judged_by_dialer(honest: &Local<'_>, hello: &[u8]) -> HandshakeError {
    let (wire, mut own) = Wire::pair(None, None);
    let mut state = noise(false);
    let (judged, ()) = tokio::join!(initiate(wire, honest, None, [1; 32]), async {
        receive(&mut own, &mut state).await;
        send(&mut own, &mut state, hello).await;
    });
    judged.err().expect("the handshake failed")
}

pub async fn judged_by_listener(honest: &Local<'_>, hello: &[u8]) -> HandshakeError {
    let (wire, mut own) = Wire::pair(None, None);
    let mut state = noise(true);
    let (judged, ()) = tokio::join!(answer(wire, honest, [1; 32]), async {
        send(&mut own, &mut state, &[]).await;
        receive(&mut own, &mut state).await;
        send(&mut own, &mut state, hello).await;
    });
    judged.err().expect("the handshake failed")
}

/// What an honest listener makes of a first message with `payload`.
pub async fn first_message(honest: &Local<'_>, payload: &[u8]) -> HandshakeError {
    let (wire, mut own) = Wire::pair(None, None);
    send(&mut own, &mut noise(true), payload).await;
    answer(wire, honest, [1; 32]).await.err().expect("the handshake failed")
}

/// What an honest dialer makes of an authentic listener's `verdict`.
pub async fn verdict(honest: &Local<'_>, verdict: &[u8]) -> HandshakeError {
    let (wire, mut own) = Wire::pair(None, None);
    let mut state = noise(false);
    let (judged, ()) = tokio::join!(initiate(wire, honest, None, [1; 32]), async {
        receive(&mut own, &mut state).await;
        send(&mut own, &mut state, &hello(&identity(3).card().encode())).await;
        receive(&mut own, &mut state).await;
        let mut buf = [0; 64];
        let n = state.into_transport_mode().unwrap().write_message(verdict, &mut buf).unwrap();
        own.write_all(&(n as u16).to_be_bytes()).await.unwrap();
        own.write_all(&buf[..n]).await.unwrap();
    });
    judged.err().expect("the handshake failed")
}
