//! I3: every signature that an honest node releases is valid, and what it signs may follow what its log holds.
//!
//! The rules are those of a direct channel of two, written again from the protocol: 3.0 (turns), 3.1 (the opening), 3.2 (the final
//! state) and 3.8 (conservation); those of a virtual channel follow them (I15), and what a guarantee may change is in `guarantees`. One
//! is ours: a node signs its own money away only where its own user asked for that payment.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::{Event, VirtualTerms};
use fairway_core::nitro::{Allocation, AllocationType, Signature, SignedState};
use fairway_core::types::{Address, Destination, TurnNum};

use super::guarantees::carried;
use super::run::{Released, Run, released};
use super::shares::{Shares, guarantees_of};
use super::view::{ChannelView, Views};
use super::virtual_view::VirtualView;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::memo::Memo;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct SignedStatesAreValid {
    run: Arc<Run>,
    memo: Memo,
    /// Signatures that were checked when they left, with the turn that they were on.
    checked: BTreeMap<Signature, TurnNum>,
}

impl SignedStatesAreValid {
    pub fn new(run: &Arc<Run>, memo: &Memo) -> SignedStatesAreValid {
        SignedStatesAreValid { run: Arc::clone(run), memo: memo.clone(), checked: BTreeMap::new() }
    }

    /// The signature is by the party that releases it and over what it stands beside.
    fn check_signature(&mut self, item: &Released<'_>) -> Result<(), Violation> {
        let (Some(sig), turn) = (item.sig, item.state.turn) else { return Ok(()) };
        if self.checked.get(&sig) == Some(&turn) {
            return Ok(());
        }
        let (channel, hash) = self.memo.hash_of(item.state);
        let signer = self.memo.signer(hash, &sig);
        if signer != Some(self.run.address(item.by)) {
            let name = self.run.name(item.by);
            let what = format!("{name} released a signature on turn {turn} that is not its own");
            return Err(Violation::safety("signed-states-are-valid", item.by, channel, what));
        }
        self.checked.insert(sig, turn);
        Ok(())
    }

    fn check_state(
        &self,
        views: &Views,
        node: PartyId,
        signed: &SignedState,
    ) -> Result<(), Violation> {
        let id = signed.channel();
        if let Some(channel) = views.virtual_channel(node, id) {
            return check_virtual(channel, signed).map_err(|why| {
                let name = self.run.name(node);
                let turn = signed.turn();
                let what = format!("{name} signed an invalid state of virtual turn {turn}: {why}");
                Violation::safety("signed-states-are-valid", node, id, what)
            });
        }
        let wrong = |why: &str| {
            let name = self.run.name(node);
            let what = format!("{name} signed an invalid state of turn {}: {why}", signed.turn());
            Violation::safety("signed-states-are-valid", node, id, what)
        };
        let Some(channel) = views.channel(node, id) else {
            return Err(wrong("the channel was never agreed on"));
        };
        let shares = Shares::of(signed.state());
        self.check_shape(channel, signed, &shares).map_err(&wrong)?;
        if signed.turn() <= TurnNum::POSTFUND {
            let opens = shares == channel.opening && !signed.state().is_final;
            return if opens { Ok(()) } else { Err(wrong("it is not the agreed opening")) };
        }
        let supported = channel.supported.map(|s| s.turn);
        // A state that everybody has signed meanwhile may be signed again: it is the same one.
        if channel.supported.is_some_and(|s| s.hash == signed.hash()) {
            return Ok(());
        }
        if supported.and_then(TurnNum::next) != Some(signed.turn()) {
            return Err(wrong("it does not follow the supported one"));
        }
        let guaranteed = guarantees_of(signed.state());
        let before = carried(views.of(node), id, channel, &guaranteed).map_err(&wrong)?;
        let after = shares.of_index(channel.me);
        let given = before.saturating_sub(after);
        if !given.is_zero() && !channel.wanted.iter().any(|u| u.amount == given) {
            return Err(wrong("it gives money away that nobody asked to pay").losing(node, given));
        }
        Ok(())
    }

    fn check_shape(
        &self,
        channel: &ChannelView,
        signed: &SignedState,
        shares: &Shares,
    ) -> Result<(), &'static str> {
        let state = signed.state();
        if state.fixed.participants != channel.participants {
            return Err("the participants are others");
        }
        if state.fixed.challenge_duration != channel.challenge_duration {
            return Err("the challenge duration is another");
        }
        if !state.app_data.is_empty() {
            return Err("it has application data");
        }
        if !shares.canonical || shares.asset != channel.opening.asset {
            return Err("its outcome is not that of a direct channel");
        }
        if shares.total() != channel.opening.total() {
            return Err("the total changes");
        }
        Ok(())
    }
}

/// I15: a virtual channel's states differ in nothing but what the payee gets; nothing before the final one, in the final one at least
/// what the payee holds vouchers for, and exactly what the payer promised.
fn check_virtual(channel: &VirtualView, signed: &SignedState) -> Result<(), &'static str> {
    let state = signed.state();
    let VirtualTerms { participants, nonce, challenge_duration, asset, amount } = &channel.terms;
    let fixed = &state.fixed;
    if fixed.participants != *participants
        || fixed.nonce != *nonce
        || fixed.challenge_duration != *challenge_duration
    {
        return Err("the fixed part is not the agreed one");
    }
    if !state.app_data.is_empty() {
        return Err("it has application data");
    }
    let (Some(payer), Some(payee), [exit]) =
        (participants.first(), participants.last(), state.outcome.as_slice())
    else {
        return Err("its outcome is not that of a virtual channel");
    };
    let [left, right] = exit.allocations.as_slice() else {
        return Err("its outcome does not have two entries");
    };
    let entry = |a: &Allocation, who: &Address| {
        a.destination == Destination::of(*who)
            && a.allocation_type == AllocationType::GUARANTEE
            && a.metadata.is_empty()
    };
    let plain = exit.asset == *asset && exit.asset_type == 0 && exit.asset_metadata.is_empty();
    if !plain || !entry(left, payer) || !entry(right, payee) {
        return Err("its outcome is not that of a virtual channel");
    }
    if left.amount.checked_add(right.amount) != Some(*amount) {
        return Err("the total changes");
    }
    let is_final = state.turn == TurnNum::VIRTUAL_FINAL;
    if state.is_final != is_final || !is_final && state.turn > TurnNum::POSTFUND {
        return Err("a virtual channel has the turns 0, 1 and a final 3");
    }
    if !is_final && !right.amount.is_zero() {
        return Err("something was paid before the channel opened");
    }
    if channel.is_payee() && right.amount < channel.paid {
        return Err("it pays less than the vouchers that were received");
    }
    if is_final && channel.is_payer() && right.amount != channel.paid {
        return Err("it does not pay what was promised");
    }
    Ok(())
}

impl Invariant for SignedStatesAreValid {
    fn name(&self) -> &'static str {
        "signed-states-are-valid"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I3", "I15", "I17", "I18"]
    }

    fn statement(&self) -> &'static str {
        "every state that an honest node signs is well formed, may follow its log, and gives away nothing unasked"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        match event {
            Event::StateSigned { state, .. } => self.check_state(views, node, state),
            _ => Ok(()),
        }
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        if let Observed::Sent { .. } = seen {
            let run = Arc::clone(&self.run);
            for item in released(&run, seen) {
                self.check_signature(&item)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use fairway_core::event::{Event, Update, UpdateId};
    use fairway_core::nitro::State;
    use fairway_core::types::Amount;
    use fairway_core::wire::{StateClaim, Wire};

    fn story() -> Story {
        let mut story = Story::of("signed-states-are-valid");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story
    }

    fn pays(amount: u64) -> Event {
        let update = Update { id: UpdateId(1), payer: 0, amount: ether(amount) };
        Event::UpdateWanted { channel: channel(), update }
    }

    #[test]
    fn a_payment_that_was_asked_for_is_signed() {
        let mut story = story();
        story.logs(ALICE, vec![pays(1), signs(&state(2, [4, 6]), ALICE)]).unwrap();
        story.says(ALICE, BOB, &state(2, [4, 6])).unwrap();
        story.logs(ALICE, vec![receives(&state(2, [4, 6]), BOB)]).unwrap();
        story.logs(ALICE, vec![signs(&state(3, [5, 5]), ALICE)]).unwrap();
    }

    #[test]
    fn a_payment_is_carried_out_once() {
        let mut story = story();
        let second = vec![receives(&state(2, [4, 6]), BOB), signs(&state(3, [3, 7]), ALICE)];
        story.logs(ALICE, vec![pays(1), signs(&state(2, [4, 6]), ALICE)]).unwrap();
        let violation = story.logs(ALICE, second).unwrap_err();
        assert_fires(&violation, "signed-states-are-valid", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(1))));
    }

    #[test]
    fn invalid_states_are_not_signed() {
        let other = |change: &dyn Fn(&mut State)| {
            let mut state = state(2, [5, 5]);
            change(&mut state);
            state
        };
        for (name, state) in [
            ("money given away", state(2, [2, 8])),
            ("a turn left out", state(3, [5, 5])),
            ("money made", state(2, [5, 6])),
            ("data", other(&|s| s.app_data = vec![1].into())),
            ("no outcome", other(&|s| s.outcome.clear())),
            (
                "a third",
                other(&|s| {
                    let more = s.outcome[0].allocations[0].clone();
                    s.outcome[0].allocations.push(more);
                }),
            ),
            ("another opening", state(1, [6, 4])),
            ("an unknown channel", mallorys(2, [5, 5])),
            ("a guarantee", other(&|s| s.outcome[0].allocations[0].allocation_type = 2)),
            ("all of it", other(&|s| s.outcome[0].allocations[0].amount = Amount::ZERO)),
        ] {
            let who = if state.fixed.participants.contains(&address(ALICE)) { ALICE } else { BOB };
            let mut story = Story::of("signed-states-are-valid");
            story.logs(who, opened(ALICE)).unwrap();
            let violation = story.logs(who, vec![signs(&state, who)]).expect_err(name);
            assert_fires(&violation, "signed-states-are-valid", who);
        }
    }

    #[test]
    fn a_signature_by_somebody_else_is_noticed() {
        let next = state(2, [5, 5]);
        let sig = key(BOB).sign(next.hash());
        let wire = Wire::State(StateClaim { state: next, sigs: vec![(0, sig)] });
        let violation = story().sends(ALICE, BOB, &wire).unwrap_err();
        assert_fires(&violation, "signed-states-are-valid", ALICE);
    }
}
