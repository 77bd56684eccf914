//! Input number N of a target: a pure function of the target's name, its corpus and N.
//!
//! One in four is fresh bytes, the others are a kept input with some edits. There is no feedback from what an input reached, which is
//! libFuzzer's work: in exchange any machine makes any input again from its number alone.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::target::Target;

/// No input is longer: as `ci/fuzz` has it.
pub const INPUT_BYTES_MAX: usize = 4096;
/// Fresh inputs are not longer: bodies read few bytes of what has no structure.
const FRESH_BYTES_MAX: u64 = 512;
/// Edits of one kept input.
const EDITS_MAX: u64 = 8;
/// Bytes that one edit puts in.
const INSERTED_MAX: u64 = 32;

/// Makes an input.
pub fn input(target: &Target, number: u64) -> Vec<u8> {
    let mut draw = Draw::new(target.name, number);
    let corpus = target.corpus();
    let mut bytes = if corpus.is_empty() || draw.below(4) == 0 {
        let length = draw.below(FRESH_BYTES_MAX + 1);
        draw.bytes(length)
    } else {
        let mut bytes = draw.one_of(corpus).to_vec();
        for _ in 0..=draw.below(EDITS_MAX) {
            edit(&mut bytes, corpus, &mut draw);
        }
        bytes
    };
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn edit(bytes: &mut Vec<u8>, corpus: &[&[u8]], draw: &mut Draw) {
    if bytes.is_empty() {
        let length = 1 + draw.below(INSERTED_MAX);
        *bytes = draw.bytes(length);
        return;
    }
    let at = draw.index(bytes.len());
    match draw.below(7) {
        0 => bytes[at] ^= 1u8 << draw.below(8),
        1 => bytes[at] = draw.byte(),
        2 => bytes.truncate(at),
        3 => {
            let length = 1 + draw.below(INSERTED_MAX);
            let inserted = draw.bytes(length);
            bytes.splice(at..at, inserted);
        }
        4 => {
            let end = at + 1 + draw.index(bytes.len() - at);
            bytes.extend_from_within(at..end);
        }
        5 => {
            let other = draw.one_of(corpus);
            let from = draw.index(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => tweak_number(&mut bytes[at..], draw),
    }
}

/// A number of one to eight bytes, the lowest first: some more, some less, or one at the edge of what there is.
fn tweak_number(bytes: &mut [u8], draw: &mut Draw) {
    let width = bytes.len().min(1 << draw.below(4));
    let mut number = [0; 8];
    number[..width].copy_from_slice(&bytes[..width]);
    let number = u64::from_le_bytes(number);
    let near = 1 + draw.below(16);
    let tweaked = match draw.below(4) {
        0 => number.wrapping_add(near),
        1 => number.wrapping_sub(near),
        2 => u64::MAX >> draw.below(64),
        _ => 1 << draw.below(64),
    };
    bytes[..width].copy_from_slice(&tweaked.to_le_bytes()[..width]);
}

/// What one input draws. Changing it changes what every number means.
struct Draw(ChaCha8Rng);

impl Draw {
    fn new(target: &str, number: u64) -> Draw {
        let mut key = blake3::Hasher::new_derive_key("fairway-fuzz input v1");
        key.update(&number.to_le_bytes());
        key.update(target.as_bytes());
        Draw(ChaCha8Rng::from_seed(*key.finalize().as_bytes()))
    }

    /// Below `n`, which is at least 1.
    fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a choice of nothing");
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn one_of<'a>(&mut self, corpus: &[&'a [u8]]) -> &'a [u8] {
        corpus[self.index(corpus.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;
    use std::collections::BTreeSet;

    /// Goal: a number means one input, and numbers mean many. Method: the first thousand of each target, twice.
    #[test]
    fn a_number_is_one_input_and_numbers_are_many() {
        for target in &TARGETS {
            let inputs: Vec<Vec<u8>> = (0..1000).map(|number| input(target, number)).collect();
            let again: Vec<Vec<u8>> = (0..1000).map(|number| input(target, number)).collect();
            assert!(inputs == again, "{}", target.name);
            assert!(inputs.iter().all(|bytes| bytes.len() <= INPUT_BYTES_MAX), "{}", target.name);
            let different: BTreeSet<&Vec<u8>> = inputs.iter().collect();
            assert!(different.len() > 800, "{}: {} of a thousand", target.name, different.len());
        }
        assert_ne!(input(&TARGETS[0], 1), input(&TARGETS[1], 1));
    }

    /// Whoever changes how inputs are made, or a new version of the cipher's crate, is told here that numbers have another meaning. The
    /// hashes were made by another program, from the definitions of BLAKE3 and ChaCha8 alone.
    #[test]
    fn what_a_number_means_stays() {
        let planted = Target::find("planted").expect("it is listed");
        let hash = |number| blake3::hash(&input(&planted, number)).to_hex()[..16].to_string();
        assert_eq!(
            [hash(0), hash(1), hash(u64::MAX)],
            ["0501df680e4883ef", "e107d0e2bd3cadac", "a8daa38a9320deaa"]
        );
    }

    #[test]
    fn numbers_are_tweaked_within_their_bytes() {
        let mut draw = Draw::new("numbers", 0);
        for length in 1..12 {
            for _ in 0..100 {
                let mut bytes = vec![7; length];
                tweak_number(&mut bytes, &mut draw);
                assert!(bytes.iter().skip(8).all(|byte| *byte == 7), "{bytes:?}");
            }
        }
    }
}
