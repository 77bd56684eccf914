//! The key of the gas account.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Bytes, Signature, keccak256};
use fairway_core::account::TxHash;
use fairway_core::types::Address;
use secp256k1::ecdsa::RecoverableSignature;

/// The key that pays for gas, and whose money is deposited. Has no `Debug`.
#[derive(Clone)]
pub struct GasKey {
    secret: secp256k1::SecretKey,
    address: Address,
}

/// The bytes are zero or not below the curve's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gas key is not a number in 1 ..= n - 1")]
pub struct InvalidGasKey;

impl GasKey {
    /// The key with these 32 big-endian bytes.
    ///
    /// # Errors
    /// [`InvalidGasKey`].
    pub fn new(bytes: [u8; 32]) -> Result<GasKey, InvalidGasKey> {
        let secret = secp256k1::SecretKey::from_secret_bytes(bytes).map_err(|_| InvalidGasKey)?;
        let point = secret.public_key().serialize_uncompressed();
        Ok(GasKey { secret, address: Address::from_slice(&keccak256(&point[1..])[12..]) })
    }

    /// Whose money it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The transaction as it is broadcast, and its name. Deterministic: the same transaction always has the same bytes.
    pub(crate) fn sign(&self, tx: TxEip1559) -> (Bytes, TxHash) {
        let message = secp256k1::Message::from_digest(tx.signature_hash().0);
        let sig = RecoverableSignature::sign_ecdsa_recoverable(message, &self.secret);
        let (id, compact) = sig.serialize_compact();
        let sig = Signature::from_bytes_and_parity(&compact, u8::from(id) == 1);
        let signed = tx.into_signed(sig);
        let mut raw = Vec::new();
        signed.eip2718_encode(&mut raw);
        (raw.into(), TxHash(*signed.hash()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_known_account_signs_what_it_signs() {
        // The first of anvil's accounts.
        let hex = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let bytes: [u8; 32] = alloy_primitives::hex::decode(hex).unwrap().try_into().unwrap();
        let key = GasKey::new(bytes).unwrap();
        let address: Address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".parse().unwrap();
        assert_eq!(key.address(), address);
        assert_eq!(key.sign(TxEip1559::default()), key.sign(TxEip1559::default()));
        assert!(GasKey::new([0; 32]).is_err());
    }
}
