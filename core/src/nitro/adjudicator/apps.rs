//! Which states a channel's application supports: the contracts that the adjudicator asks before it believes a state.
//!
//! Source: `ConsensusApp.sol`, `Consensus.sol`, `VirtualPaymentApp.sol`.

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

use super::reclaim::at;
use super::revert::{Revert, require};
use crate::nitro::outcome::{Outcome, SingleAssetExit};
use crate::nitro::sign::Recover;
use crate::nitro::state::{FixedPart, State};
use crate::nitro::voucher;
use crate::types::{Amount, ChannelId};

/// An application with code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum App {
    /// Ledger channels: what all have signed.
    Consensus,
    /// Payment channels: what all have signed up to the postfund, and then the payee's redemption of a voucher.
    VirtualPayment,
}

/// A state and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The state.
    pub state: State,
    /// A bit for each participant.
    pub signers: U256,
}

/// An application's opinion on `candidate`. All states have the candidate's fixed part, whose id is `channel`.
///
/// # Errors
/// The application's revert.
pub fn state_is_supported(
    app: App,
    channel: ChannelId,
    proof: &[Recovered],
    candidate: &Recovered,
    crypto: &mut dyn Recover,
) -> Result<(), Revert> {
    match app {
        App::Consensus => consensus(proof, candidate),
        App::VirtualPayment => virtual_payment(channel, proof, candidate, crypto),
    }
}

/// Neither the turn number nor finality matters.
fn consensus(proof: &[Recovered], candidate: &Recovered) -> Result<(), Revert> {
    require(proof.is_empty(), Revert::PROOF_NOT_EMPTY)?;
    require(is_unanimous(&candidate.state.fixed, candidate.signers), Revert::NOT_UNANIMOUS)
}

/// # Danger
/// Destinations, types and further entries of a redemption are not looked at, and the payee's amount is set, not increased: with
/// anything but zero for the payee before, what was redeemed no longer sums to the guarantee, and `reclaim` fails.
fn virtual_payment(
    channel: ChannelId,
    proof: &[Recovered],
    candidate: &Recovered,
    crypto: &mut dyn Recover,
) -> Result<(), Revert> {
    let fixed = &candidate.state.fixed;
    let turn = candidate.state.turn.get();
    let postfund = match proof {
        [] => {
            require(is_unanimous(fixed, candidate.signers), Revert::LONE_NOT_UNANIMOUS)?;
            return require(turn <= 1, Revert::LONE_TURN);
        }
        [postfund] => postfund,
        _ => return Err(Revert::PROOF_LENGTH),
    };
    require(postfund.state.turn.get() == 1, Revert::PROOF_TURN)?;
    require(is_unanimous(fixed, postfund.signers), Revert::PROOF_NOT_UNANIMOUS)?;
    require(turn == 2, Revert::REDEMPTION_TURN)?;
    let payee = fixed.participants.len().checked_sub(1).ok_or(Revert::OVERFLOW)?;
    require(candidate.signers.bit(payee), Revert::NOT_BY_PAYEE)?;
    let amount = require_valid_voucher(channel, candidate, crypto)?;
    require_correct_adjustments(&postfund.state.outcome, &candidate.state.outcome, amount)
}

fn require_valid_voucher(
    channel: ChannelId,
    candidate: &Recovered,
    crypto: &mut dyn Recover,
) -> Result<Amount, Revert> {
    let (amount, sig) =
        voucher::decode_redemption(&candidate.state.app_data).ok_or(Revert::Empty)?;
    let signer = crypto.recover(voucher::hash(channel, amount), &sig);
    let signer = signer.ok_or(Revert::INVALID_SIGNATURE)?;
    let payer = candidate.state.fixed.participants.first();
    require(payer == Some(&signer), Revert::FORGED_VOUCHER)?;
    Ok(amount)
}

fn require_correct_adjustments(
    old: &Outcome,
    new: &Outcome,
    voucher: Amount,
) -> Result<(), Revert> {
    let ([old], [new]) = (old.as_slice(), new.as_slice()) else {
        return Err(Revert::NATIVE_ONLY);
    };
    require(old.asset.is_zero() && new.asset.is_zero(), Revert::NATIVE_ONLY)?;
    let amount = |exit: &SingleAssetExit, i| at(&exit.allocations, i).map(|a| a.amount);
    let payer = amount(new, 0)?;
    let left = amount(old, 0)?.checked_sub(voucher).ok_or(Revert::OVERFLOW)?;
    require(payer == left, Revert::PAYER_NOT_ADJUSTED)?;
    require(amount(new, 1)? == voucher, Revert::PAYEE_NOT_ADJUSTED)
}

/// Whether as many have signed as there are participants.
pub(super) fn is_unanimous(fixed: &FixedPart, signers: U256) -> bool {
    signers.count_ones() == fixed.participants.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use alloy_primitives::Bytes;

    use crate::nitro::SecretKey;
    use crate::nitro::outcome::two_party;
    use crate::nitro::sign::Crypto;
    use crate::nitro::voucher::Voucher;
    use crate::types::{Address, TurnNum};

    fn key(byte: u8) -> SecretKey {
        SecretKey::new([byte; 32], Crypto::Real).unwrap()
    }

    fn payment_state(turn: u64, [payer, payee]: [u64; 2]) -> State {
        let fixed = FixedPart {
            participants: (1..=4).map(|n| key(n).address()).collect(),
            nonce: 1,
            app_definition: Address::repeat_byte(0xcb),
            challenge_duration: 60,
        };
        let [a, b] = [key(1).address(), key(4).address()];
        let outcome = two_party(Address::ZERO, [(a, Amount::wei(payer)), (b, Amount::wei(payee))]);
        let turn = TurnNum::new(turn).unwrap();
        State { fixed, outcome, app_data: Bytes::new(), turn, is_final: false }
    }

    fn by(signers: u64, state: State) -> Recovered {
        Recovered { state, signers: U256::from(signers) }
    }

    fn postfund() -> Recovered {
        by(0b1111, payment_state(1, [10, 10]))
    }

    fn redemption() -> Recovered {
        let mut redemption = by(0b1000, payment_state(2, [3, 7]));
        let channel = redemption.state.fixed.channel_id();
        let voucher = Voucher::sign(channel, Amount::wei(7), &key(1));
        redemption.state.app_data = voucher.redemption_data();
        redemption
    }

    fn judge(proof: &[Recovered], candidate: &Recovered) -> Option<Revert> {
        let channel = candidate.state.fixed.channel_id();
        state_is_supported(App::VirtualPayment, channel, proof, candidate, &mut Crypto::Real).err()
    }

    /// Protocol vector V14, the lone candidates.
    #[test]
    fn all_sign_a_payment_channel_up_to_the_postfund() {
        for (turn, signers, expected) in [
            (0, 0b1111, None),
            (1, 0b1111, None),
            (2, 0b1111, Some(Revert::LONE_TURN)),
            (4, 0b1111, Some(Revert::LONE_TURN)),
            (0, 0b1110, Some(Revert::LONE_NOT_UNANIMOUS)),
            (4, 0b0111, Some(Revert::LONE_NOT_UNANIMOUS)),
        ] {
            let state = by(signers, payment_state(turn, [10, 10]));
            assert_eq!(judge(&[], &state), expected, "turn {turn}, signers {signers:b}");
        }
        assert_eq!(judge(&[postfund(), postfund()], &redemption()), Some(Revert::PROOF_LENGTH));
    }

    /// Protocol vector V14: a redemption that is supported, changed in one place a row.
    #[test]
    fn the_payee_redeems_a_voucher_with_the_postfund() {
        type Change = fn(&mut Recovered, &mut Recovered);
        let with_voucher = |candidate: &mut Recovered, voucher: Voucher| {
            candidate.state.app_data = voucher.redemption_data();
        };
        let rows: [(&str, Change, Option<Revert>); 14] = [
            ("nothing", |_, _| (), None),
            ("the prefund", |p, _| p.state.turn = TurnNum::PREFUND, Some(Revert::PROOF_TURN)),
            ("not all", |p, _| p.signers = U256::from(0b1011), Some(Revert::PROOF_NOT_UNANIMOUS)),
            ("turn 1", |_, c| c.state.turn = TurnNum::POSTFUND, Some(Revert::REDEMPTION_TURN)),
            ("by others", |_, c| c.signers = U256::from(0b0111), Some(Revert::NOT_BY_PAYEE)),
            ("no voucher", |_, c| c.state.app_data = Bytes::new(), Some(Revert::Empty)),
            (
                "a garbage voucher",
                |_, c| c.state.app_data = vec![0; 128].into(),
                Some(Revert::INVALID_SIGNATURE),
            ),
            (
                "payer 2",
                |_, c| c.state.outcome[0].allocations[0].amount = Amount::wei(2),
                Some(Revert::PAYER_NOT_ADJUSTED),
            ),
            (
                "payee 99",
                |_, c| c.state.outcome[0].allocations[1].amount = Amount::wei(99),
                Some(Revert::PAYEE_NOT_ADJUSTED),
            ),
            (
                "a token",
                |_, c| c.state.outcome[0].asset = Address::repeat_byte(7),
                Some(Revert::NATIVE_ONLY),
            ),
            (
                "a token before",
                |p, _| p.state.outcome[0].asset = Address::repeat_byte(7),
                Some(Revert::NATIVE_ONLY),
            ),
            ("no asset", |_, c| c.state.outcome = Vec::new(), Some(Revert::NATIVE_ONLY)),
            (
                "no entry",
                |_, c| c.state.outcome[0].allocations.clear(),
                Some(Revert::OUT_OF_BOUNDS),
            ),
            (
                "more than the payer has",
                |p, _| p.state.outcome[0].allocations[0].amount = Amount::wei(6),
                Some(Revert::OVERFLOW),
            ),
        ];
        for (name, change, expected) in rows {
            let (mut proof, mut candidate) = (postfund(), redemption());
            change(&mut proof, &mut candidate);
            assert_eq!(judge(&[proof], &candidate), expected, "{name}");
        }
        let channel = redemption().state.fixed.channel_id();
        for (name, voucher) in [
            ("by the payee", Voucher::sign(channel, Amount::wei(7), &key(4))),
            ("for another channel", Voucher::sign(ChannelId::default(), Amount::wei(7), &key(1))),
        ] {
            let mut candidate = redemption();
            with_voucher(&mut candidate, voucher);
            assert_eq!(judge(&[postfund()], &candidate), Some(Revert::FORGED_VOUCHER), "{name}");
        }
    }
}
