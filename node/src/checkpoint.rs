//! Signed checkpoints: what the log came to at one position, with the node key's word for it.
//!
//! One JSON line each in `checkpoints.jsonl`. Whoever keeps a line elsewhere can tell later whether a log is the one that it was:
//! `fairway events verify` folds the log again and compares every line that it finds.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use alloy_primitives::hex::{self, FromHex};
use fairway_core::log::ChainHash;
use fairway_core::types::{Address, Lsn};
use fairway_transport::NodeKey;
use serde::{Deserialize, Serialize};

/// The file in the data directory.
pub const FILE: &str = "checkpoints.jsonl";

/// One line. Proves nothing before [`Checkpoint::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last event that it covers.
    pub lsn: Lsn,
    /// The log's chain hash after it.
    pub head: Hex<32>,
    /// [`NodeState::digest`](fairway_core::machine::NodeState::digest) after it.
    pub state: Hex<32>,
    /// When it was signed: milliseconds since 1970, by the node's clock.
    pub time_ms: u64,
    /// The node's channel address.
    pub address: Address,
    /// The public node key (ed25519).
    pub node_key: Hex<32>,
    /// By the node key, over everything before.
    pub signature: Hex<64>,
}

/// Bytes that are written as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex<const N: usize>(pub [u8; N]);

impl Checkpoint {
    /// Signs one.
    pub fn sign(
        key: &NodeKey,
        address: Address,
        lsn: Lsn,
        head: ChainHash,
        state: [u8; 32],
        time_ms: u64,
    ) -> Checkpoint {
        let (head, state, node_key) = (Hex(head.0), Hex(state), Hex(key.public()));
        let unsigned = Hex([0; 64]);
        let checkpoint =
            Checkpoint { lsn, head, state, time_ms, address, node_key, signature: unsigned };
        let signature = Hex(key.sign(PURPOSE, &checkpoint.text()));
        Checkpoint { signature, ..checkpoint }
    }

    /// Whether the holder of the key that it names signed it. Whose key that is, is for the caller to know.
    pub fn verify(&self) -> bool {
        NodeKey::has_signed(&self.node_key.0, PURPOSE, &self.text(), &self.signature.0)
    }

    fn text(&self) -> Vec<u8> {
        let (lsn, time) = (self.lsn.0.to_le_bytes(), self.time_ms.to_le_bytes());
        [&lsn[..], &self.head.0, &self.state.0, &time, self.address.as_slice()].concat()
    }
}

/// Adds a line, durably. A line that a crash cut short is closed first.
///
/// # Errors
/// The system's.
pub fn append(data_dir: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let path = data_dir.join(FILE);
    let torn = std::fs::read(&path).is_ok_and(|text| text.last().is_some_and(|b| *b != b'\n'));
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let line = serde_json::to_string(checkpoint)?;
    file.write_all(format!("{}{line}\n", if torn { "\n" } else { "" }).as_bytes())?;
    file.sync_data()
}

/// All lines of a data directory; none where there is no file. A line that cannot be read is left out: a crash may cut the last one.
///
/// # Errors
/// The system's.
pub fn read(data_dir: &Path) -> io::Result<Vec<Checkpoint>> {
    match std::fs::read_to_string(data_dir.join(FILE)) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

impl<const N: usize> From<Hex<N>> for String {
    fn from(hex: Hex<N>) -> String {
        hex::encode(hex.0)
    }
}

impl<const N: usize> TryFrom<String> for Hex<N> {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Hex<N>, hex::FromHexError> {
        <[u8; N]>::from_hex(text).map(Hex)
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const PURPOSE: &str = "checkpoint";

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::nitro::{Crypto, SecretKey};
    use fairway_transport::Identity;

    fn checkpoint(lsn: u64) -> Checkpoint {
        let key = SecretKey::new([7; 32], Crypto::Real).unwrap();
        let identity = Identity::new(&key, Crypto::Real, [8; 32]);
        let head = ChainHash([1; 32]);
        Checkpoint::sign(identity.node_key(), identity.address(), Lsn(lsn), head, [2; 32], 3)
    }

    #[test]
    fn every_field_is_signed() {
        let good = checkpoint(5);
        assert!(good.verify());
        let changes: [fn(&mut Checkpoint); 7] = [
            |c| c.lsn = Lsn(6),
            |c| c.head.0[0] ^= 1,
            |c| c.state.0[31] ^= 1,
            |c| c.time_ms += 1,
            |c| c.address = Address::ZERO,
            |c| c.node_key.0[3] ^= 1,
            |c| c.signature.0[9] ^= 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(!bad.verify(), "change {number}");
        }
    }

    #[test]
    fn lines_are_read_back_and_a_torn_one_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), []);
        append(dir.path(), &checkpoint(5)).unwrap();
        let path = dir.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"lsn\":6,");
        std::fs::write(&path, text).unwrap();
        append(dir.path(), &checkpoint(7)).unwrap();
        assert_eq!(read(dir.path()).unwrap(), [checkpoint(5), checkpoint(7)]);
    }
}
