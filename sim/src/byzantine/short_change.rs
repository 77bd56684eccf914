//! Pays less than was promised in a virtual channel (F34).
//!
//! As the payer it proposes a final state that gives the payee a part of what its vouchers say; as anybody else it shows the payee a
//! voucher for everything, signed with its own key. Honest payees sign no such final state, take no such voucher, and redeem.

use std::collections::BTreeMap;

use fairway_core::effect::Effect;
use fairway_core::nitro::{State, Voucher};
use fairway_core::types::{Address, Amount, ChannelId, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "short_change";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ShortChange {
    /// Virtual channels of other payers: their payee, and what they can pay.
    others: BTreeMap<ChannelId, (Address, Amount)>,
    /// Which part of what is due the final state leaves out, by channel: one of so many.
    parts: BTreeMap<ChannelId, u64>,
}

impl Strategy for ShortChange {
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
        match seen {
            Seen::Wish(effect) => Acts::instead(vec![self.on_wish(effect, me, cabal, choice)]),
            Seen::Timer => Acts::instead(self.forged(me, cabal)),
            Seen::Message { .. } | Seen::Block(_) => Acts::default(),
        }
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl ShortChange {
    fn on_wish(
        &mut self,
        effect: &Effect,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Effect {
        let Effect::Send { peer, bytes } = effect else { return effect.clone() };
        let Ok(Wire::VirtualState { claim, ledger }) = Wire::decode(bytes) else {
            return effect.clone();
        };
        let participants = &claim.state.fixed.participants;
        let (Some(payer), Some(payee)) = (participants.first(), participants.last()) else {
            return effect.clone();
        };
        let channel = claim.state.fixed.channel_id();
        if *payer != me {
            if claim.state.turn == TurnNum::POSTFUND && *payee != me {
                let all = claim.state.outcome.first().map(|exit| &exit.allocations);
                let all = all.into_iter().flatten().map(|a| a.amount);
                let all = all.fold(Amount::ZERO, Amount::saturating_add);
                self.others.insert(channel, (*payee, all));
            }
            return effect.clone();
        }
        if !claim.state.is_final {
            return effect.clone();
        }
        let part = self.parts.entry(channel).or_insert_with(|| 1 + choice("short-change/part", 4));
        match lowered(&claim.state, *part).and_then(|state| cabal.sign(me, &state)) {
            Some(claim) => send(*peer, claim, ledger),
            None => effect.clone(),
        }
    }

    /// Vouchers over everything that other payers' channels can pay, in their payees' hands.
    fn forged(&self, me: Address, cabal: &Cabal) -> Vec<Effect> {
        let Some(key) = cabal.keys.get(&me) else { return Vec::new() };
        let voucher = |(channel, (payee, all)): (&ChannelId, &(Address, Amount))| Effect::Send {
            peer: *payee,
            bytes: Wire::Voucher(Voucher::sign(*channel, *all, key)).encode(),
        };
        self.others.iter().map(voucher).collect()
    }
}

fn send(peer: Address, claim: StateClaim, ledger: Option<ChannelId>) -> Effect {
    Effect::Send { peer, bytes: Wire::VirtualState { claim, ledger }.encode() }
}

/// The same final state with one `part`-th less for the payee; `None` where there is nothing to take.
fn lowered(state: &State, part: u64) -> Option<State> {
    let mut state = state.clone();
    let [left, right] = state.outcome.first_mut()?.allocations.as_mut_slice() else { return None };
    let taken = Amount(right.amount.0 / Amount::wei(part).0);
    left.amount = left.amount.checked_add(taken)?;
    right.amount = right.amount.checked_sub(taken)?;
    (!taken.is_zero()).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::event::VirtualTerms;
    use fairway_core::virtual_channel::outcome;

    use super::super::testkit::{alice, bob};

    #[test]
    fn a_lowered_final_state_keeps_the_total() {
        let terms = VirtualTerms {
            participants: vec![alice().address(), bob().address()],
            nonce: 1,
            challenge_duration: 60,
            asset: Address::ZERO,
            amount: Amount::wei(10),
        };
        let split = |paid| {
            outcome(&terms.participants, terms.asset, terms.amount, Amount::wei(paid))
                .expect("less than the amount")
        };
        let state = State {
            fixed: terms.fixed_part(Address::repeat_byte(1)),
            outcome: split(6),
            app_data: Vec::new().into(),
            turn: TurnNum::VIRTUAL_FINAL,
            is_final: true,
        };
        assert_eq!(lowered(&state, 1).expect("something was paid").outcome, split(0));
        assert_eq!(lowered(&state, 3).expect("something was paid").outcome, split(4));
        assert_eq!(lowered(&State { outcome: split(0), ..state }, 1), None);
    }
}
