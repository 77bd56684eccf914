//! What the contracts see: structures, encodings, hashes and signatures, and a pure model of the adjudicator.

pub mod abi;
pub mod adjudicator;
pub mod outcome;
pub mod sign;
pub mod state;
pub mod voucher;

pub use adjudicator::{Call, Claim, Log};
pub use outcome::{Allocation, AllocationType, Outcome, SingleAssetExit};
pub use sign::{Crypto, Recover, SecretKey, Signature};
pub use state::{FixedPart, SignedState, State};
pub use voucher::Voucher;
