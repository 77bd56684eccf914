//! What the node spends its time on: hashing, signing, recovering, decoding, opening and replaying its log.

use std::hint::black_box;

use alloy_primitives::{Address, B256, Bytes};
use criterion::{Criterion, criterion_group, criterion_main};
use fairway_core::chain_types::BlockRef;
use fairway_core::driver;
use fairway_core::event::{Event, Pins};
use fairway_core::log::{self, Files, LogTail, Payload};
use fairway_core::nitro::{Crypto, FixedPart, Recover, SecretKey, State, outcome};
use fairway_core::types::{Amount, BlockNum, ChainTime, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

fn key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Crypto::Real).expect("a small number is a key")
}

fn state() -> State {
    let (alice, bob) = (key(1).address(), key(2).address());
    State {
        fixed: FixedPart {
            participants: vec![alice, bob],
            nonce: 7,
            app_definition: Address::repeat_byte(0xca),
            challenge_duration: 60,
        },
        outcome: outcome::two_party(
            Address::ZERO,
            [(alice, Amount::ether(5)), (bob, Amount::ether(3))],
        ),
        app_data: Bytes::new(),
        turn: TurnNum::POSTFUND,
        is_final: false,
    }
}

fn states_and_signatures(c: &mut Criterion) {
    let (state, key) = (state(), key(1));
    let hash = state.hash();
    let sig = key.sign(hash);
    c.bench_function("state hash", |b| b.iter(|| black_box(&state).hash()));
    c.bench_function("sign", |b| b.iter(|| key.sign(black_box(hash))));
    c.bench_function("recover", |b| {
        b.iter(|| Crypto::Real.recover_strict(black_box(hash), black_box(&sig)));
    });
}

fn wire_decode(c: &mut Criterion) {
    let state = state();
    let sigs = vec![(0, key(1).sign(state.hash())), (1, key(2).sign(state.hash()))];
    let bytes = Wire::State(StateClaim { state, sigs }).encode();
    c.bench_function("wire decode", |b| b.iter(|| Wire::decode(black_box(&bytes))));
}

/// A log of `batches` batches of one block each: the events that a quiet node has most of.
fn long_log(batches: u64) -> Files {
    let (mut files, mut tail) = (Files::new(), LogTail::fresh());
    for number in 0..batches {
        let at = Timestamp(1_000 * number);
        let mut payload = Payload::default();
        if number == 0 {
            payload.push(at, &Event::Pinned(pins()));
        }
        payload.push(at, &Event::BlockAdded { block: block(number), logs: Vec::new() });
        let (time, count, bytes) = payload.take();
        let append = tail.append(time, count, bytes);
        for write in &append.writes {
            let file = files.entry(write.file).or_default();
            let start = usize::try_from(write.offset).expect("a small log");
            let end = start + write.bytes.len();
            file.resize(file.len().max(end), 0);
            file[start..end].copy_from_slice(&write.bytes);
        }
        tail.synced(append.end);
    }
    files
}

fn pins() -> Pins {
    Pins {
        chain_id: 1337,
        adjudicator: Address::repeat_byte(0xad),
        consensus_app: Address::repeat_byte(0xca),
        me: key(1).address(),
        confirmations: 3,
    }
}

fn block(number: u64) -> BlockRef {
    let hash = |n: u64| B256::left_padding_from(&(n + 1).to_be_bytes());
    BlockRef {
        number: BlockNum(number),
        hash: hash(number),
        parent: hash(number.saturating_sub(1)),
        time: ChainTime(number),
    }
}

fn open_and_replay(c: &mut Criterion) {
    let files = long_log(1_000);
    c.bench_function("open and replay a log of 1,000 batches", |b| {
        b.iter(|| {
            let opened = log::open(black_box(&files)).expect("a whole log opens");
            driver::replay(&opened).expect("its events are known").0.lsn()
        });
    });
}

criterion_group!(benches, states_and_signatures, wire_decode, open_and_replay);
criterion_main!(benches);
