//! The deployed contracts in an EVM in this process.
//!
//! Two things stand on this: the test `adjudicator_differential`, which sends the model and the contracts the same random calls, and
//! `chain.backend = "evm"`, under which a story does. Only builds with the feature `evm` have more of it than [`check_available`].
//!
//! ```text
//! artefacts.rs  where the bytecode comes from
//! abi.rs        Solidity's declarations
//! calls.rs      calls, logs, storage and reasons in the contracts' bytes
//! contracts.rs  the contracts on a chain of their own: call them, read them
//! agree.rs      what must be equal after a call
//! ```

#[cfg(feature = "evm")]
mod abi;
#[cfg(feature = "evm")]
mod agree;
#[cfg(feature = "evm")]
mod artefacts;
#[cfg(feature = "evm")]
mod calls;
#[cfg(feature = "evm")]
mod contracts;

#[cfg(feature = "evm")]
pub use agree::{Disagreement, agree, agree_on_balances, equal, kind};
#[cfg(feature = "evm")]
pub use artefacts::{ArtefactsError, BELOW_TARGET, Bytecode, NITRO, TOKEN};
#[cfg(feature = "evm")]
pub use contracts::{Addresses, Contracts, Executed};

/// Names the folder in which npm installed the contracts: the one that has `node_modules`.
pub const FOLDER_VARIABLE: &str = "FAIRWAY_CONTRACTS";

/// Why `chain.backend = "evm"` cannot be had, and what to do about it, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The feature is off.
    #[error("this build has no EVM: build it with `--features evm`")]
    NotBuilt,
    /// There is no bytecode.
    #[error(
        "{why}: run `ci/test adjudicator-differential`, which installs them below the target folder, or name a folder with them in {FOLDER_VARIABLE}"
    )]
    NoBytecode {
        /// What was looked for.
        why: String,
    },
    /// Toy signatures mean nothing to the contracts.
    #[error("the contracts recover real signatures: leave out `--crypto toy`")]
    ToySignatures,
}

/// Whether this process can run the contracts.
///
/// # Errors
/// What is missing, with its remedy.
pub fn check_available() -> Result<(), Unavailable> {
    #[cfg(feature = "evm")]
    return match Bytecode::installed() {
        Ok(_) => Ok(()),
        Err(error) => Err(Unavailable::NoBytecode { why: error.to_string() }),
    };
    #[cfg(not(feature = "evm"))]
    Err(Unavailable::NotBuilt)
}
