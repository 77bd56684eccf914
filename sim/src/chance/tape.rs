//! The tape: answers that stand before those of the seed. Replay reads it, a shrinker edits it, a fuzzer's
//! bytes are one.

use serde::{Deserialize, Serialize};

/// A sparse, sorted list of answers, and optionally bytes that answer the remaining draws in order.
///
/// Invariant: overrides are sorted by site and ordinal, each pair at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TapeFile", into = "TapeFile")]
pub struct Tape {
    overrides: Vec<Override>,
    bytes: Vec<u8>,
}

/// One answer: the draw number `ordinal` (from 0) at `site` gives `value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Override {
    /// The site's name, as in [`crate::chance::Site::name`].
    pub site: String,
    /// Which draw at that site, from 0.
    pub ordinal: u64,
    /// The answer; one beyond the draw's range is lowered to the largest possible.
    pub value: u64,
}

/// Why a tape was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapeError {
    /// Two answers for one draw.
    #[error("the tape answers draw {ordinal} at {site} twice")]
    Twice {
        /// Where.
        site: String,
        /// Which draw.
        ordinal: u64,
    },
    /// The bytes are not hexadecimal.
    #[error("the tape's bytes are not hexadecimal: {text:.20}")]
    NotHex {
        /// What stood there.
        text: String,
    },
}

impl Tape {
    /// A tape of exactly these answers, in any order.
    ///
    /// # Errors
    /// When two of them answer the same draw.
    pub fn from_overrides(
        overrides: impl IntoIterator<Item = Override>,
    ) -> Result<Tape, TapeError> {
        let mut overrides: Vec<Override> = overrides.into_iter().collect();
        overrides.sort();
        for pair in overrides.windows(2) {
            if pair[0].site == pair[1].site && pair[0].ordinal == pair[1].ordinal {
                let Override { site, ordinal, .. } = pair[1].clone();
                return Err(TapeError::Twice { site, ordinal });
            }
        }
        Ok(Tape { overrides, bytes: Vec::new() })
    }

    /// A fuzzer's bytes: each draw reads as few as its range needs, in the order in which the run draws. When
    /// they are used up the seed answers.
    pub fn from_bytes(bytes: &[u8]) -> Tape {
        Tape { overrides: Vec::new(), bytes: bytes.to_vec() }
    }

    /// Every override, sorted by site and ordinal.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// The number of overrides.
    pub fn len(&self) -> usize {
        self.overrides.len()
    }

    /// Whether this tape changes nothing.
    pub fn is_empty(&self) -> bool {
        self.overrides.is_empty() && self.bytes.is_empty()
    }

    /// The answer for one draw, if this tape gives it.
    pub fn get(&self, site: &str, ordinal: u64) -> Option<u64> {
        self.find(site, ordinal).ok().map(|at| self.overrides[at].value)
    }

    /// Answers one draw with `value` from now on.
    pub fn set(&mut self, site: &str, ordinal: u64, value: u64) {
        match self.find(site, ordinal) {
            Ok(at) => self.overrides[at].value = value,
            Err(at) => {
                self.overrides.insert(at, Override { site: site.to_string(), ordinal, value });
            }
        }
    }

    /// Leaves one draw to the seed again; says whether there was an answer.
    pub fn remove(&mut self, site: &str, ordinal: u64) -> bool {
        let found = self.find(site, ordinal);
        if let Ok(at) = found {
            self.overrides.remove(at);
        }
        found.is_ok()
    }

    /// Keeps the overrides for which `keep` says so: how a shrinker drops many at once.
    pub fn retain(&mut self, keep: impl FnMut(&Override) -> bool) {
        self.overrides.retain(keep);
    }

    fn find(&self, site: &str, ordinal: u64) -> Result<usize, usize> {
        self.overrides.binary_search_by(|entry| (&*entry.site, entry.ordinal).cmp(&(site, ordinal)))
    }

    /// The index and ordinal of the first override at `site`.
    pub(super) fn first_at(&self, site: &str) -> Option<(usize, u64)> {
        let at = self.overrides.partition_point(|entry| &*entry.site < site);
        let entry = self.overrides.get(at).filter(|entry| entry.site == site)?;
        Some((at, entry.ordinal))
    }

    /// The index and ordinal of the override after `at` at the same site.
    pub(super) fn following(&self, at: usize) -> Option<(usize, u64)> {
        let entry = self.overrides.get(at + 1)?;
        (entry.site == self.overrides[at].site).then_some((at + 1, entry.ordinal))
    }

    /// The next answer in `0..n` from the bytes, advancing `read`; `None` once too few are left.
    pub(super) fn read_bytes(&self, read: &mut usize, n: u64) -> Option<u64> {
        let left = self.bytes.get(*read..).filter(|left| !left.is_empty())?;
        let width = (64 - (n - 1).leading_zeros()).div_ceil(8) as usize;
        let Some(chunk) = left.get(..width) else {
            // A remainder too short for this draw must not answer a later, smaller one out of turn.
            *read = self.bytes.len();
            return None;
        };
        *read += width;
        let mut word = [0; 8];
        word[..width].copy_from_slice(chunk);
        Some(u64::from_le_bytes(word) % n)
    }
}

/// The form in JSON: `{"overrides": [["net.loss/alice>bob", 3, 1]], "bytes": "00ff"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TapeFile {
    #[serde(default)]
    overrides: Vec<(String, u64, u64)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    bytes: String,
}

impl From<Tape> for TapeFile {
    fn from(tape: Tape) -> TapeFile {
        TapeFile {
            overrides: tape.overrides.into_iter().map(|o| (o.site, o.ordinal, o.value)).collect(),
            bytes: tape.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl TryFrom<TapeFile> for Tape {
    type Error = TapeError;

    fn try_from(file: TapeFile) -> Result<Tape, TapeError> {
        let overrides = file.overrides.into_iter();
        let mut tape = Tape::from_overrides(overrides.map(|(site, ordinal, value)| Override {
            site,
            ordinal,
            value,
        }))?;
        tape.bytes = unhex(&file.bytes).ok_or(TapeError::NotHex { text: file.bytes })?;
        Ok(tape)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    Some(digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tape_reads_as_people_expect() {
        let mut tape = Tape::default();
        tape.set("net.loss/alice>bob", 3, 1);
        tape.set("disk/bob", 0, 9);
        let json = serde_json::to_string(&tape).unwrap();
        assert_eq!(json, r#"{"overrides":[["disk/bob",0,9],["net.loss/alice>bob",3,1]]}"#);
    }

    #[test]
    fn two_answers_for_one_draw_are_refused() {
        let error = serde_json::from_str::<Tape>(r#"{"overrides":[["a",1,2],["a",1,3]]}"#);
        assert!(error.unwrap_err().to_string().starts_with("the tape answers draw 1 at a twice"));
    }

    #[test]
    fn bytes_that_are_not_hexadecimal_are_refused() {
        for text in ["0", "0g", "é"] {
            let json = format!(r#"{{"bytes":"{text}"}}"#);
            let error = serde_json::from_str::<Tape>(&json).unwrap_err().to_string();
            assert!(error.starts_with("the tape's bytes are not hexadecimal"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn tapes_survive_json(
            entries in proptest::collection::btree_map(("[a-c]{1,2}", 0u64..9), any::<u64>(), 0..20),
            bytes: Vec<u8>,
        ) {
            let mut tape = Tape::from_bytes(&bytes);
            for ((site, ordinal), value) in &entries {
                tape.set(site, *ordinal, *value);
            }
            let json = serde_json::to_string(&tape).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Tape>(&json).unwrap(), &tape);
            for ((site, ordinal), value) in &entries {
                prop_assert_eq!(tape.get(site, *ordinal), Some(*value));
                prop_assert!(tape.remove(site, *ordinal));
            }
            prop_assert_eq!(tape.len(), 0);
        }
    }
}
