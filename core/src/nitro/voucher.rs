//! Vouchers: a payer's signed promises in a virtual channel, and how a payee redeems one on chain.
//!
//! Not here: which vouchers a node signs or accepts.
//!
//! Source: `VirtualPaymentApp.sol`, go-nitro `payments/voucher.go`.

use alloy_primitives::{B256, Bytes, keccak256};
use serde::{Deserialize, Serialize};

use super::abi;
use super::sign::{Recover, SecretKey, Signature};
use crate::types::{Address, Amount, ChannelId};

/// A payer's signed promise that the payee may take `amount` out of a virtual channel.
///
/// - `amount` is **cumulative** since the channel opened, in the asset's smallest unit; order of arrival does not matter, and an old
///   voucher shown again promises nothing new.
/// - Signed over [`hash`] with the Ethereum message prefix, by the channel's first participant.
///
/// # Danger
/// The payee's money is the largest voucher *on its disk*. Losing one after it was acknowledged is losing that payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Voucher {
    /// The virtual channel.
    pub channel: ChannelId,
    /// Everything that was paid so far.
    pub amount: Amount,
    /// The payer's. Unchecked: ask [`Voucher::signer`].
    pub sig: Signature,
}

impl Voucher {
    /// The payer's promise. Deterministic.
    pub fn sign(channel: ChannelId, amount: Amount, payer: &SecretKey) -> Voucher {
        Voucher { channel, amount, sig: payer.sign(hash(channel, amount)) }
    }

    /// Who signed it, in the one encoding that is accepted off chain.
    pub fn signer(&self, crypto: &mut dyn Recover) -> Option<Address> {
        crypto.recover_strict(hash(self.channel, self.amount), &self.sig)
    }

    /// The application data of the state that redeems it: `abi.encode(amount, (v, r, s))`, 128 bytes.
    pub fn redemption_data(&self) -> Bytes {
        abi::encode_redemption(self.amount, &self.sig).into()
    }
}

/// What the payer signs: `keccak256(abi.encode(channelId, amount))`.
pub fn hash(channel: ChannelId, amount: Amount) -> B256 {
    keccak256(abi::encode_voucher(channel, amount))
}

/// A redemption's amount and signature; `None` where the contract's decoder reverts. Like it, this ignores what follows.
pub fn decode_redemption(app_data: &[u8]) -> Option<(Amount, Signature)> {
    abi::decode_redemption(app_data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use alloy_primitives::{b256, hex};
    use proptest::prelude::*;

    use crate::nitro::outcome::{self, two_party};
    use crate::nitro::sign::Crypto;
    use crate::nitro::state::{FixedPart, State};
    use crate::types::TurnNum;

    fn key(hex: &str) -> SecretKey {
        SecretKey::new(hex::decode_to_array(hex).unwrap(), Crypto::Real).unwrap()
    }

    /// Derived from protocol vector V1.
    #[test]
    fn a_voucher_matches_the_vector() {
        let channel =
            ChannelId(b256!("3f9dfeabcc41d1618dd0711102018ab6c1a1d7c25111a425401c2e524eb073a2"));
        let payer = key("caab404f975b4620747174a75f08d98b4e5a7053b691b41bcfc0d839d48b7634");
        let voucher = Voucher::sign(channel, Amount::wei(7), &payer);
        assert_eq!(
            hash(channel, Amount::wei(7)),
            b256!("26aadac04a166d3165419068f5d0d9409bdd430736873cc1a268504808352877")
        );
        assert_eq!(
            hex::encode(voucher.sig.0),
            "d55fa562009104be3a47544bc1ef4344384efecf827da2f7369e16d7039f47ec25ddca720e1ebec2aa6a919d355e6d6c38d17073e3232be6f314229938a977261c"
        );
        assert_eq!(voucher.signer(&mut Crypto::Real), Some(payer.address()));
        let more = Voucher { amount: Amount::wei(8), ..voucher };
        assert_ne!(more.signer(&mut Crypto::Real), Some(payer.address()));
    }

    /// Protocol vector V10: a virtual channel's id, its voucher and the state that redeems it.
    #[test]
    fn a_redemption_matches_the_vector() {
        let alice = key("2d999770f7b5d49b694080f987b82bbc9fc9ac2b4dcc10b0f8aba7d700f69c6d");
        let irene = key("febb3b74b0b52d0976f6571d555f4ac8b91c308dfa25c7b58d1e6a7c3f50c781");
        let bob = key("0279651921cd800ac560c21ceea27aab0107b67daf436cdd25ce84cad30159b4");
        let fixed = FixedPart {
            participants: [&alice, &irene, &bob].map(SecretKey::address).into(),
            nonce: 1234789,
            app_definition: "0x5e29E5Ab8EF33F050c7cc10B5a0456D975C5F88d".parse().unwrap(),
            challenge_duration: 60,
        };
        let channel = fixed.channel_id();
        assert_eq!(
            channel.0,
            b256!("d8c5d66ba63ebdee5bb56f8dd10b1f3e982ebe7ae91ac2b06c9fc3dffa8c7e69")
        );
        let voucher = Voucher::sign(channel, Amount::wei(7), &alice);
        assert_eq!(
            hex::encode(voucher.sig.0),
            "ff238b2882dc4cfa5c2c3d66838b13e7d89969621dff1c377a437dd132333be02414269326803d77e740b4946c81201e3b7b9f1b0db1963a4c727c125d6585be1b"
        );
        let shares = [(alice.address(), Amount::wei(3)), (bob.address(), Amount::wei(7))];
        let redemption = State {
            fixed,
            outcome: two_party(Address::ZERO, shares),
            app_data: voucher.redemption_data(),
            turn: TurnNum::new(2).unwrap(),
            is_final: false,
        };
        assert_eq!(
            redemption.hash(),
            b256!("df5889dcfb0826b30d2df75615824063003c6408c14f0da8f0e22a4e5cb30a6d")
        );
        assert_eq!(
            outcome::hash(&redemption.outcome),
            b256!("dde07f4fcd3f9041ef4e9a3558738c81dbe2df6ffcd5ca2ac188bd0b80cb4d60")
        );
        assert_eq!(
            hex::encode(bob.sign(redemption.hash()).0),
            "c5d2836469ba3cb2ec2283fbf1b463b0695405d4240301d4771c74f41c4cf0bf1ca24e80f6ab7d46e683b65ccbbacd0c03f01d0394d0992b239cf6784bad7dad1b"
        );
    }

    #[test]
    fn a_redemption_is_decoded_as_leniently_as_by_the_contract() {
        let sig = Signature([9; 65]);
        let exact = abi::encode_redemption(Amount::wei(7), &sig);
        let expected = Some((Amount::wei(7), sig));
        let long: Vec<u8> = exact.iter().copied().chain([1]).collect();
        let mut wide = exact.clone();
        wide[62] = 1;
        for (name, bytes, expected) in [
            ("exact", &exact[..], expected),
            ("followed by something", &long, expected),
            ("one byte short", &exact[..127], None),
            ("empty", &[], None),
            ("a v of two bytes", &wide, None),
        ] {
            assert_eq!(decode_redemption(bytes), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn redemptions_survive_the_abi(amount in any::<[u64; 4]>(), sig in proptest::collection::vec(any::<u8>(), 65)) {
            let amount = Amount(alloy_primitives::U256::from_limbs(amount));
            let sig = Signature(sig.try_into().unwrap());
            let voucher = Voucher { channel: ChannelId::default(), amount, sig };
            prop_assert_eq!(voucher.redemption_data().len(), 128);
            prop_assert_eq!(decode_redemption(&voucher.redemption_data()), Some((amount, sig)));
        }

        #[test]
        fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_redemption(&bytes);
        }
    }
}
