//! Seed ids: one shell word that names one run completely.
//!
//! ```text
//! smoke/plain#14c0@5e1f0a2b-90c3d4e5/reference+mutant=effect-before-sync+set.phases.chaos=90s
//! └ scenario ┘└seed┘└ digest ┘└ build ┘└ engine ┘└ settings that are not the default ┘
//! ```
//!
//! No character needs quoting in a shell. What a setting's value may not contain is written `%20`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::scenario::Engine;

/// Names one run: scenario, seed, scenario digest, build, engine and whatever was set besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeedId {
    /// The scenario's name, `smoke/plain`.
    pub scenario: String,
    /// The seed, written in hexadecimal.
    pub seed: u64,
    /// The first eight digits of the scenario's digest, settings applied.
    pub scenario_digest: Hex8,
    /// The first eight digits of the build id.
    pub build: Hex8,
    /// The engine that ran it.
    pub engine: Engine,
    /// The planted bug, if one was on.
    pub mutant: Option<String>,
    /// Real signatures, or toy ones.
    pub crypto: Crypto,
    /// `--set key=value`, by key.
    pub settings: BTreeMap<String, String>,
}

/// Which signatures a run uses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Crypto {
    /// secp256k1, as in production. The default.
    #[default]
    Real,
    /// Hashes in place of signatures: fast, for campaigns.
    Toy,
}

/// Eight lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex8(pub u32);

/// Why a word is not a seed id. Each message names the part and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedIdError {
    /// A separator is missing.
    #[error("seed id `{word}`: expected `{separator}` before the {part}, as in {EXAMPLE}")]
    Missing {
        /// The whole word.
        word: String,
        /// What should stand there.
        separator: char,
        /// The part that would follow.
        part: &'static str,
    },
    /// A part does not have its form.
    #[error("seed id: {part} `{found}`: expected {expected}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What stood there.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A setting stands there twice.
    #[error("seed id: setting `{key}` stands there twice; expected once")]
    Twice {
        /// Its key.
        key: String,
    },
}

const EXAMPLE: &str = "smoke/plain#14c0@5e1f0a2b-90c3d4e5/reference";

impl Crypto {
    /// As `--crypto` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Crypto::Real => "real",
            Crypto::Toy => "toy",
        }
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Crypto {
    type Err = SeedIdError;

    fn from_str(text: &str) -> Result<Crypto, SeedIdError> {
        match text {
            "real" => Ok(Crypto::Real),
            "toy" => Ok(Crypto::Toy),
            _ => Err(malformed("crypto", text, "`real` or `toy`")),
        }
    }
}

impl Hex8 {
    /// The first eight digits of a longer hexadecimal text; `None` when it does not start with such.
    pub fn prefix_of(hex: &str) -> Option<Hex8> {
        hex.get(..8)?.parse().ok()
    }
}

impl fmt::Display for Hex8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Hex8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Hex8 {
    type Err = ();

    fn from_str(text: &str) -> Result<Hex8, ()> {
        if text.len() == 8 && is_lower_hex(text) {
            return u32::from_str_radix(text, 16).map(Hex8).map_err(|_| ());
        }
        Err(())
    }
}

impl fmt::Display for SeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SeedId { scenario, seed, scenario_digest, build, engine, .. } = self;
        write!(f, "{scenario}#{seed:x}@{scenario_digest}-{build}/{engine}")?;
        if let Some(mutant) = &self.mutant {
            write!(f, "+mutant={mutant}")?;
        }
        if self.crypto != Crypto::default() {
            write!(f, "+crypto={}", self.crypto)?;
        }
        for (key, value) in &self.settings {
            write!(f, "+set.{key}={}", escape(value))?;
        }
        Ok(())
    }
}

impl FromStr for SeedId {
    type Err = SeedIdError;

    fn from_str(word: &str) -> Result<SeedId, SeedIdError> {
        let missing =
            |separator, part| SeedIdError::Missing { word: word.to_string(), separator, part };
        let (scenario, rest) = word.split_once('#').ok_or_else(|| missing('#', "seed"))?;
        let (seed, rest) = rest.split_once('@').ok_or_else(|| missing('@', "scenario digest"))?;
        let (digest, rest) = rest.split_once('-').ok_or_else(|| missing('-', "build"))?;
        let (build, rest) = rest.split_once('/').ok_or_else(|| missing('/', "engine"))?;
        let mut words = rest.split('+');
        let engine = words.next().expect("splitting gives at least one part");
        let mut id = SeedId {
            scenario: parse_scenario(scenario)?,
            seed: parse_seed(seed)?,
            scenario_digest: parse_hex8("scenario digest", digest)?,
            build: parse_hex8("build", build)?,
            engine: engine
                .parse()
                .map_err(|_| malformed("engine", engine, "`reference`, `madsim` or `turmoil`"))?,
            mutant: None,
            crypto: Crypto::default(),
            settings: BTreeMap::new(),
        };
        let mut crypto = None;
        for setting in words {
            id.read_setting(setting, &mut crypto)?;
        }
        id.crypto = crypto.unwrap_or_default();
        Ok(id)
    }
}

impl SeedId {
    /// Reads one `key=value` after a `+`.
    fn read_setting(&mut self, text: &str, crypto: &mut Option<Crypto>) -> Result<(), SeedIdError> {
        const FORM: &str = "`mutant=…`, `crypto=…` or `set.key=value`";
        let (key, value) = text.split_once('=').ok_or_else(|| malformed("setting", text, FORM))?;
        let earlier = match key {
            "mutant" => {
                if !is_kebab(value) {
                    return Err(malformed("mutant", value, "lower-case letters, digits and `-`"));
                }
                self.mutant.replace(value.to_string()).is_some()
            }
            "crypto" => crypto.replace(value.parse()?).is_some(),
            _ => {
                let name = key.strip_prefix("set.").filter(|name| is_key_path(name));
                let name = name.ok_or_else(|| malformed("setting", text, FORM))?;
                let value = unescape(value).ok_or_else(|| {
                    malformed(
                        "value",
                        value,
                        "letters, digits, `.`, `_`, `-`, and `%20` for the rest",
                    )
                })?;
                self.settings.insert(name.to_string(), value).is_some()
            }
        };
        if earlier {
            return Err(SeedIdError::Twice { key: key.to_string() });
        }
        Ok(())
    }
}

impl TryFrom<String> for SeedId {
    type Error = SeedIdError;

    fn try_from(text: String) -> Result<SeedId, SeedIdError> {
        text.parse()
    }
}

impl From<SeedId> for String {
    fn from(id: SeedId) -> String {
        id.to_string()
    }
}

/// Whether this can name a scenario: words of lower-case letters, digits, `_` and `-`, joined by `/`.
pub fn is_scenario_name(name: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'))
    };
    !name.is_empty() && name.split('/').all(word)
}

/// Whether this can name a mutant, an invariant or a goal: words of letters and digits joined by `-`.
pub fn is_kebab(name: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9'));
    name.split('-').all(word)
}

/// Whether this can be the key of a setting: a path of words joined by dots.
pub fn is_key_path(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    name.split('.').all(word)
}

fn parse_scenario(name: &str) -> Result<String, SeedIdError> {
    if is_scenario_name(name) {
        return Ok(name.to_string());
    }
    Err(malformed("scenario", name, "a name such as `smoke/plain`"))
}

/// Seeds are written without leading zeros, so that each has one spelling.
fn parse_seed(text: &str) -> Result<u64, SeedIdError> {
    let canonical = is_lower_hex(text) && (text == "0" || !text.starts_with('0'));
    let seed = canonical.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    seed.ok_or_else(|| {
        malformed("seed", text, "1 to 16 lower-case hexadecimal digits without leading zeros")
    })
}

fn parse_hex8(part: &'static str, text: &str) -> Result<Hex8, SeedIdError> {
    text.parse().map_err(|()| malformed(part, text, "8 lower-case hexadecimal digits"))
}

fn is_lower_hex(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn malformed(part: &'static str, found: &str, expected: &'static str) -> SeedIdError {
    SeedIdError::Malformed { part, found: found.to_string(), expected }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match is_plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

/// The inverse of [`escape`]; `None` for what it would not have written.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            is_plain(first).then(|| bytes.push(first))?;
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| is_lower_hex(digits))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        (!is_plain(byte)).then(|| bytes.push(byte))?;
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_name_the_part() {
        let words = [
            "smoke/plain",
            "smoke/plain#14c0",
            "smoke/plain#14c0@5e1f0a2b",
            "smoke/plain#14c0@5e1f0a2b-90c3d4e5",
            "Smoke#14c0@5e1f0a2b-90c3d4e5/reference",
            "smoke/#14c0@5e1f0a2b-90c3d4e5/reference",
            "smoke/plain#0x14@5e1f0a2b-90c3d4e5/reference",
            "smoke/plain#014@5e1f0a2b-90c3d4e5/reference",
            "smoke/plain#12345678901234567@5e1f0a2b-90c3d4e5/reference",
            "smoke/plain#1@5E1F0A2B-90c3d4e5/reference",
            "smoke/plain#1@5e1f0a2b-90c3/reference",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/tokio",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/reference+crypto=none",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/reference+mutant=",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/reference+mutnat=x",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/reference+set.a=1+set.a=2",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/reference+set.a=1%2",
            "smoke/plain#1@5e1f0a2b-90c3d4e5/reference+set.a=%61",
        ];
        let errors: Vec<String> =
            words.map(|word| word.parse::<SeedId>().unwrap_err().to_string()).to_vec();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn the_documented_example_reads() {
        let id: SeedId = EXAMPLE.parse().unwrap();
        assert_eq!((id.seed, id.engine, id.crypto), (0x14c0, Engine::Reference, Crypto::Real));
        let word = format!("{EXAMPLE}+mutant=effect-before-sync+crypto=toy+set.phases.chaos=2%20m");
        let id: SeedId = word.parse().unwrap();
        assert_eq!(id.mutant.as_deref(), Some("effect-before-sync"));
        assert_eq!(id.settings["phases.chaos"], "2 m");
        assert_eq!(id.to_string(), word);
    }

    prop_compose! {
        fn ids()(
            scenario in "[a-z][a-z0-9_-]{0,8}(/[a-z][a-z0-9_]{0,8}){0,2}",
            seed: u64,
            digest: u32,
            build: u32,
            engine in proptest::sample::select(Engine::ALL.to_vec()),
            mutant in proptest::option::of("[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,2}"),
            toy: bool,
            settings in proptest::collection::btree_map("[a-z_]{1,5}(\\.[a-z0-9]{1,4}){0,2}", ".{0,9}", 0..3),
        ) -> SeedId {
            let crypto = if toy { Crypto::Toy } else { Crypto::Real };
            let (scenario_digest, build) = (Hex8(digest), Hex8(build));
            SeedId { scenario, seed, scenario_digest, build, engine, mutant, crypto, settings }
        }
    }

    proptest! {
        #[test]
        fn ids_survive_text(id in ids()) {
            let word = id.to_string();
            prop_assert_eq!(word.parse::<SeedId>().unwrap(), id);
            // Nothing in it means anything to a shell.
            prop_assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || "/#@-+=._%".contains(c)));
        }

        #[test]
        fn any_word_is_read_or_refused_and_read_words_have_one_spelling(word in ".{0,60}") {
            if let Ok(id) = word.parse::<SeedId>() {
                prop_assert!(id.to_string().len() <= word.len());
            }
        }
    }
}
