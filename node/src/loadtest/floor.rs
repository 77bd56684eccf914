//! What no node on this machine can be faster than: one sync, one signature, one recovery, measured beside the test.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use fairway_core::nitro::{Crypto, Recover, SecretKey};
use serde::Serialize;

use super::party::micros;
use super::spread::Spread;

/// Medians, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Floor {
    /// Half a kilobyte appended to a file in the test's directory, and synced.
    pub sync_us: u64,
    /// One signature of a state.
    pub sign_us: u64,
    /// Its signer recovered.
    pub recover_us: u64,
}

impl Floor {
    /// Takes a second.
    ///
    /// # Errors
    /// The system's.
    pub fn measure(directory: &Path) -> io::Result<Floor> {
        let key = SecretKey::new([7; 32], Crypto::Real).expect("this is a key");
        let mut file = File::create_new(directory.join("floor"))?;
        let mut syncs = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            file.write_all(&[7; 512])?;
            file.sync_data()?;
            syncs.push(micros(begun));
        }
        let digest = fairway_core::chain_types::B256::repeat_byte(7);
        let (mut signs, mut recovers) = (Vec::new(), Vec::new());
        let mut crypto = Crypto::Real;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let signature = key.sign(digest);
            signs.push(micros(begun));
            let begun = Instant::now();
            let signer = crypto.recover(digest, &signature);
            recovers.push(micros(begun));
            assert_eq!(signer, Some(key.address()), "a signature names its signer");
        }
        let median = |took: Vec<u64>| Spread::of(took).p50_us;
        Ok(Floor { sync_us: median(syncs), sign_us: median(signs), recover_us: median(recovers) })
    }
}

const ROUNDS: usize = 200;
