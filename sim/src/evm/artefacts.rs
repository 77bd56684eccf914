//! Where the contracts' bytecode comes from: two npm packages that somebody installed. Nothing is downloaded here, and nothing of
//! them is kept in the repository.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use alloy_primitives::{Bytes, hex};

use super::FOLDER_VARIABLE;

/// The contracts as they are deployed: npm package and version.
pub const NITRO: (&str, &str) = ("@statechannels/nitro-protocol", "2.0.1-alpha.6");

/// An ordinary token: npm package, and the version that the other package asks for.
pub const TOKEN: (&str, &str) = ("@openzeppelin/contracts", "4.9.6");

/// Where the packages are below the target folder, when [`FOLDER_VARIABLE`] does not say.
pub const BELOW_TARGET: &str = "tmp/nitro-protocol";

/// Creation bytecode of everything that is deployed.
///
/// Invariant: it is the pinned packages' bytecode, so that one seed means one run wherever they were installed.
#[derive(Clone, Debug)]
pub struct Bytecode {
    pub(super) adjudicator: Bytes,
    pub(super) consensus_app: Bytes,
    pub(super) payment_app: Bytes,
    pub(super) token: Bytes,
}

/// Why there is no bytecode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactsError {
    /// Nobody said where it is, and it is not where the differential test puts it.
    #[error("the contracts are not installed")]
    NotInstalled,
    /// A file is missing or unreadable.
    #[error("{file}: expected a contract's artefact: {why}")]
    Unreadable {
        /// Which.
        file: String,
        /// The file system's or the JSON reader's reason.
        why: String,
    },
    /// The bytecode of another version, or changed.
    #[error(
        "{folder}: expected the bytecode of {} {} and {} {} (digest {PINNED}), found digest {found}",
        NITRO.0, NITRO.1, TOKEN.0, TOKEN.1
    )]
    Another {
        /// Where it is.
        folder: String,
        /// What it hashes to.
        found: String,
    },
}

impl Bytecode {
    /// Reads the packages below `folder`.
    ///
    /// # Errors
    /// A file is missing, is no artefact, or has other bytecode than the pinned versions'.
    pub fn read(folder: &Path) -> Result<Bytecode, ArtefactsError> {
        let modules = folder.join("node_modules");
        let contracts = modules.join(NITRO.0).join("dist/artifacts/contracts");
        let nitro = |name: &str| read(&contracts.join(format!("{name}.sol/{name}.json")));
        let token = modules.join(TOKEN.0).join("build/contracts/ERC20PresetFixedSupply.json");
        let bytecode = Bytecode {
            adjudicator: nitro("NitroAdjudicator")?,
            consensus_app: nitro("ConsensusApp")?,
            payment_app: nitro("VirtualPaymentApp")?,
            token: read(&token)?,
        };
        let found = bytecode.digest();
        if found == PINNED {
            return Ok(bytecode);
        }
        Err(ArtefactsError::Another { folder: folder.display().to_string(), found })
    }

    /// The bytecode of the packages that are installed, read once in a process.
    ///
    /// # Errors
    /// As [`Bytecode::read`], or nothing is installed; ask somebody to install it.
    pub fn installed() -> Result<&'static Bytecode, ArtefactsError> {
        static BYTECODE: OnceLock<Result<Bytecode, ArtefactsError>> = OnceLock::new();
        let read = || Bytecode::read(&folder().ok_or(ArtefactsError::NotInstalled)?);
        BYTECODE.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for code in [&self.adjudicator, &self.consensus_app, &self.payment_app, &self.token] {
            hasher.update(&(code.len() as u64).to_le_bytes());
            hasher.update(code);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// What [`FOLDER_VARIABLE`] names; otherwise [`BELOW_TARGET`] of the target folder that this program was built in.
fn folder() -> Option<PathBuf> {
    if let Some(named) = env::var_os(FOLDER_VARIABLE) {
        return Some(PathBuf::from(named));
    }
    // Programs are in target/<profile>, tests in target/<profile>/deps.
    let program = env::current_exe().ok()?;
    let above = program.ancestors().skip(1).take(3).map(|folder| folder.join(BELOW_TARGET));
    above.into_iter().find(|folder| folder.join("node_modules").is_dir())
}

fn read(file: &Path) -> Result<Bytes, ArtefactsError> {
    let bad = |why: String| ArtefactsError::Unreadable { file: file.display().to_string(), why };
    let text = fs::read_to_string(file).map_err(|e| bad(e.to_string()))?;
    let artefact: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    let code = artefact.get("bytecode").and_then(serde_json::Value::as_str);
    let code = code.ok_or_else(|| bad("it has no bytecode".into()))?;
    Ok(hex::decode(code).map_err(|e| bad(e.to_string()))?.into())
}

/// [`Bytecode::digest`] of the pinned versions: BLAKE3 over each bytecode's length and bytes.
const PINNED: &str = "782afa06ea206e30c210e4fa12315a498bbb77d706cc0fd5e4f9d4aaddb77c7d";
