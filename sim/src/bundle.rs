//! A bundle: everything that one run needs to be repeated, in one JSON file.

use serde::{Deserialize, Serialize};

use crate::campaign::How;
use crate::chance::{Chance, Tape};
use crate::engine::Verdict;
use crate::exhaust::Crash;
use crate::scenario::{Engine, Plan};
use crate::seed_id::{Crypto, SeedId};

/// The version of this format.
pub const BUNDLE_SCHEMA: u32 = 1;

/// A run that can be repeated exactly on the build that wrote it, and in its verdict on any build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_SCHEMA`].
    pub schema: u32,
    /// The run that it was made from.
    pub seed_id: SeedId,
    /// What went wrong, in plain words.
    pub story: Vec<String>,
    /// Everything that was drawn before the run, shrunk or not.
    pub plan: Plan,
    /// Invariants that did not watch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Overrides of what is drawn during the run.
    pub tape: Tape,
    /// A power loss at one driver step, and what it leaves, where `exhaust` found one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
    /// How it ended.
    pub verdict: Verdict,
    /// The trace digest on the build that wrote it, reference engine.
    pub digest: String,
    /// The build that wrote it, 64 hexadecimal digits.
    pub build: String,
    /// The commit of that build, for finding it.
    pub commit: Option<String>,
    /// Whether the bug was mended: the run must then pass. Otherwise it must fail as it did.
    pub fixed: bool,
}

/// Why a bundle could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not there, or not readable.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not a bundle.
    #[error("{file}: expected a bundle of schema {BUNDLE_SCHEMA}: {source}")]
    Format {
        /// The file.
        file: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Of a later version.
    #[error("{file}: schema: expected {BUNDLE_SCHEMA}, found {found}")]
    Schema {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`BundleError`], naming the file.
    pub fn read(file: &str) -> Result<Bundle, BundleError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| BundleError::Io { file: file.into(), source })?;
        let bundle: Bundle = serde_json::from_str(&text)
            .map_err(|source| BundleError::Format { file: file.into(), source })?;
        if bundle.schema != BUNDLE_SCHEMA {
            return Err(BundleError::Schema { file: file.into(), found: bundle.schema });
        }
        Ok(bundle)
    }

    /// Writes a bundle, readable for people too.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, file: &std::path::Path) -> std::io::Result<()> {
        let mut text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        text.push('\n');
        std::fs::write(file, text)
    }

    /// How the run is repeated.
    pub fn how(&self) -> How {
        How {
            engine: self.seed_id.engine,
            crypto: self.seed_id.crypto,
            mutant: self.seed_id.mutant.clone(),
            ignore: self.ignore.clone(),
            settings: self.seed_id.settings.clone().into_iter().collect(),
            search_permille: crate::campaign::SEARCH_PERMILLE,
        }
    }

    /// The chance of the run: the plan is already drawn, what follows comes from the seed and the tape.
    pub fn chance(&self) -> Chance {
        Chance::with_tape(self.seed_id.seed, self.tape.clone())
    }

    /// Whether this build wrote it, so that its digest must come out again.
    pub fn is_of_this_build(&self) -> bool {
        self.build == crate::build_id::BUILD_ID
    }

    /// Repeats the run on an engine.
    pub fn replay(&self, engine: Engine, record: bool) -> crate::campaign::Run {
        let how = How { engine, ..self.how() };
        let options = crate::world::Options { record, ..how.options() };
        let options = self.crash.map_or(options.clone(), |crash| crash.options(options));
        how.run_plan(self.plan.clone(), self.chance(), options)
    }

    /// With which signatures.
    pub fn crypto(&self) -> Crypto {
        self.seed_id.crypto
    }
}
