//! A payer whose vouchers are worth nothing: lower than before, above the channel's amount, for another channel, signed by somebody
//! else, or sent after the end (F34).
//!
//! The honest ones go on beside them, so that the payee has something to lose.

use fairway_core::chain_types::B256;
use fairway_core::nitro::{SecretKey, Voucher};
use fairway_core::types::{Address, Amount, ChannelId, Timestamp};
use fairway_core::wire::Wire;

use super::forge::{noise, one_in, open_virtuals, send_wire, sent};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "bad_vouchers";

/// Bad vouchers in one run.
const VOUCHERS_MAX: u64 = 96;

/// Ways to be bad.
const WAYS: u64 = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct BadVouchers {
    last: Option<(Address, Voucher)>,
    made: u64,
}

impl Strategy for BadVouchers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        _now: Timestamp,
        me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let mut acts = Acts::honest(seen);
        if let Seen::Wish(effect) = seen
            && let Some((payee, Wire::Voucher(voucher))) = sent(effect)
        {
            self.last = Some((payee, voucher));
        }
        let Some((payee, last)) = self.last else { return acts };
        // Blocks go on after the channel has ended, and so does this.
        let moment = matches!(seen, Seen::Wish(_) | Seen::Block(_));
        if !moment || self.made >= VOUCHERS_MAX || !one_in(2, "bad-vouchers/now", choice) {
            return acts;
        }
        if let Some(key) = cabal.keys.get(&me)
            && let Some(bad) = make(&last, key, cabal, choice)
        {
            self.made += 1;
            acts.release.push(send_wire(payee, &Wire::Voucher(bad)));
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

/// A voucher that promises nothing new, or is no promise.
fn make(
    last: &Voucher,
    key: &SecretKey,
    cabal: &Cabal,
    choice: &mut Choice<'_>,
) -> Option<Voucher> {
    let channel = last.channel;
    let amount = open_virtuals(cabal, key.address())
        .iter()
        .find(|(id, _)| *id == channel)
        .and_then(|(_, postfund)| postfund.state().outcome.first()?.total())?;
    let one = Amount::wei(1);
    Some(match choice("bad-vouchers/way", WAYS) {
        0 => Voucher::sign(channel, Amount::ZERO, key),
        1 => Voucher::sign(channel, last.amount.checked_sub(one)?, key),
        2 => Voucher::sign(channel, amount.checked_add(one)?, key),
        3 => Voucher::sign(channel, Amount::ether(u64::MAX), key),
        // The same signature under another amount, and under another channel.
        4 => Voucher { amount: last.amount.checked_add(one)?, ..*last },
        5 => {
            let others = cabal.channels().filter(|c| *c != channel);
            let other = others.last().unwrap_or(ChannelId(B256::repeat_byte(0x5a)));
            Voucher { channel: other, ..*last }
        }
        6 => {
            let mut sig = last.sig;
            sig.0.copy_from_slice(&noise(65, "bad-vouchers/noise", choice));
            Voucher { amount, sig, channel }
        }
        // A member of the coalition who is not the payer.
        _ => {
            let other = cabal.keys.values().find(|k| k.address() != key.address())?;
            Voucher::sign(channel, amount, other)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;

    /// Goal: the honest voucher leaves, and whatever leaves beside it is no better for the payee.
    #[test]
    fn bad_vouchers_leave_beside_the_honest_one() {
        for way in 0..WAYS - 1 {
            let mut strategy = BadVouchers::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::Two([("bad-vouchers/now", 1), ("bad-vouchers/way", way)]);
            opened(&mut run);
            let wires = wires(&pay(&mut run, 2).release);
            let [Wire::Voucher(good), Wire::Voucher(bad)] = wires.as_slice() else {
                panic!("{wires:?}")
            };
            assert_eq!(*good, voucher(2));
            assert_ne!(good, bad);
            assert!(
                bad.channel != virtual_id() || bad.amount != good.amount || bad.sig != good.sig
            );
        }
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut strategy = BadVouchers::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::One("bad-vouchers/now", 1);
        opened(&mut run);
        pay(&mut run, 2);
        let made: usize =
            (0..300).map(|n| run.see(&Seen::Block(&empty_block(n))).release.len()).sum();
        assert_eq!(made as u64, VOUCHERS_MAX - 1);
    }
}
