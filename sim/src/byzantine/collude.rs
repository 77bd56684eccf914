//! A member of a coalition: payer and hub against the payee, hub and payee against the payer, payer and payee against the hub (F38).
//!
//! Each member draws its own deeds and has the others' keys and signatures. Until the drawn moment everybody is honest, so that there is
//! something to take. From then on it is silent to honest parties if drawn so, and takes to the chain whatever may pay: the virtual channel with a state in
//! which nothing was paid, ledger channels with states from before or during the guarantee, a voucher for everything that payer
//! and payee sign between themselves; it concludes early, and keeps its own reclaims and payouts back.

use std::collections::BTreeMap;

use fairway_core::effect::Effect;
use fairway_core::nitro::{Call, Claim, SignedState, State, Voucher};
use fairway_core::types::{Address, ChannelId, Timestamp, TurnNum};
use fairway_core::virtual_channel::outcome;

use super::forge::{
    challenge, guarantees_something, is_virtual, newest_with_peer, one_in, open_virtuals, sent,
};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "collude";

/// Blocks with an open virtual channel after which the deeds begin at the latest.
const BLOCKS_MAX: u64 = 30;

/// Times that one deed is done to one channel.
const REPEATS_MAX: u64 = 3;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Collude {
    plan: Option<Plan>,
    begun: bool,
    done: BTreeMap<(ChannelId, u8), u64>,
}

/// What this member does once the moment has come; drawn.
#[derive(Clone, Copy, Debug)]
struct Plan {
    wait: u64,
    deeds: u64,
}

/// No word to honest parties any more.
const SILENCE: u8 = 0;
/// The virtual channel is challenged with its prefund or postfund.
const CHALLENGE_VIRTUAL: u8 = 1;
/// Ledger channels are challenged with their newest state.
const CHALLENGE_LEDGER: u8 = 2;
/// Ledger channels are challenged with an older state, that may lack the guarantee.
const OLD_LEDGER: u8 = 3;
/// Guarantees are not reclaimed, finalized channels not paid out.
const LEAVE_IT: u8 = 4;
/// Payer and payee make a voucher for everything and redeem it.
const ALL_IS_PAID: u8 = 5;
/// The agreed final state goes to the chain at once.
const CONCLUDE_EARLY: u8 = 6;
const DEEDS: u64 = 1 << 7;

impl Strategy for Collude {
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
        let open = open_virtuals(cabal, me);
        if self.plan.is_none() && !open.is_empty() {
            let wait = 1 + choice("collude/wait", BLOCKS_MAX);
            self.plan = Some(Plan { wait, deeds: choice("collude/deeds", DEEDS) });
        }
        let Some(plan) = &mut self.plan else { return Acts::honest(seen) };
        if let Seen::Block(_) = seen {
            plan.wait = plan.wait.saturating_sub(1);
            self.begun |= plan.wait == 0;
        }
        if !self.begun {
            return Acts::honest(seen);
        }
        let mut acts = self.what_leaves(seen, cabal);
        if let Seen::Block(_) = seen {
            for (channel, postfund) in &open {
                acts.release.extend(self.attack_virtual(*channel, postfund, me, cabal, choice));
            }
            for (peer, newest) in newest_with_peer(cabal, me) {
                if !is_virtual(newest.state()) && !cabal.is_member(peer) {
                    acts.release.extend(self.attack_ledger(&newest, me, cabal, choice));
                }
            }
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl Collude {
    fn does(&self, deed: u8) -> bool {
        self.plan.is_some_and(|plan| plan.deeds >> deed & 1 == 1)
    }

    /// Whether the deed is still to be done to this channel, now; counts it.
    fn again(&mut self, channel: ChannelId, deed: u8, choice: &mut Choice<'_>) -> bool {
        let count = self.done.get(&(channel, deed)).copied().unwrap_or(0);
        let now = self.does(deed) && count < REPEATS_MAX && one_in(4, "collude/now", choice);
        if now {
            self.done.insert((channel, deed), count + 1);
        }
        now
    }

    /// What of the inner node's wishes leaves.
    fn what_leaves(&self, seen: &Seen<'_>, cabal: &Cabal) -> Acts {
        let Seen::Wish(effect) = seen else { return Acts::default() };
        if let Some((peer, _)) = sent(effect)
            && self.does(SILENCE)
            && !cabal.is_member(peer)
        {
            return Acts::default();
        }
        if let Effect::Submit { call, .. } = effect {
            let collects = matches!(
                call,
                Call::Reclaim(_) | Call::Transfer { .. } | Call::TransferAllAssets { .. }
            );
            if self.does(LEAVE_IT) && collects {
                return Acts::default();
            }
        }
        Acts::honest(seen)
    }

    fn attack_virtual(
        &mut self,
        channel: ChannelId,
        postfund: &SignedState,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Vec<Effect> {
        let mut calls = Vec::new();
        if self.again(channel, CHALLENGE_VIRTUAL, choice) {
            let with_prefund = choice("collude/with-prefund", 2) == 1;
            let prefund = cabal.supported(channel).next().filter(|_| with_prefund);
            calls.extend(challenge(prefund.unwrap_or(postfund), me, cabal));
        }
        if self.again(channel, ALL_IS_PAID, choice) {
            calls.extend(all_is_paid(channel, postfund, cabal));
        }
        let agreed = cabal.supported(channel).next_back().filter(|s| s.state().is_final);
        if let Some(agreed) = agreed.cloned()
            && self.again(channel, CONCLUDE_EARLY, choice)
        {
            calls.push(Call::Conclude { candidate: Claim::from(&agreed) });
        }
        calls.into_iter().map(Effect::submit).collect()
    }

    fn attack_ledger(
        &mut self,
        newest: &SignedState,
        me: Address,
        cabal: &Cabal,
        choice: &mut Choice<'_>,
    ) -> Vec<Effect> {
        let channel = newest.channel();
        let mut calls = Vec::new();
        if self.again(channel, CHALLENGE_LEDGER, choice) {
            calls.extend(challenge(newest, me, cabal));
        }
        if self.again(channel, OLD_LEDGER, choice) {
            let with = choice("collude/old-with-guarantee", 2) == 1;
            let old = cabal
                .supported(channel)
                .rev()
                .find(|s| s.turn() < newest.turn() && guarantees_something(s.state()) == with);
            calls.extend(old.and_then(|old| challenge(old, me, cabal)));
        }
        calls.into_iter().map(Effect::submit).collect()
    }
}

/// The redemption of a voucher for everything, when both payer and payee are members.
fn all_is_paid(channel: ChannelId, postfund: &SignedState, cabal: &Cabal) -> Option<Call> {
    let fixed = &postfund.state().fixed;
    let payer = cabal.keys.get(fixed.participants.first()?)?;
    let payee = *fixed.participants.last()?;
    let exit = postfund.state().outcome.first()?;
    let amount = exit.total()?;
    let state = State {
        fixed: fixed.clone(),
        outcome: outcome(&fixed.participants, exit.asset, amount, amount)?,
        app_data: Voucher::sign(channel, amount, payer).redemption_data(),
        turn: TurnNum::REDEMPTION,
        is_final: false,
    };
    let sigs = cabal.sign(payee, &state)?.sigs.into_iter().map(|(_, sig)| sig).collect();
    let challenger_sig = cabal.sign_challenge(payee, &state)?;
    let candidate = Claim { state, sigs };
    Some(Call::Challenge { proof: vec![Claim::from(postfund)], candidate, challenger_sig })
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::wire::Wire;

    fn with_deeds(deeds: &[u8], body: impl FnOnce(&mut Run<'_>)) {
        let mut strategy = Collude::default();
        let mut run = Run::new(&mut strategy, alice());
        let drawn = deeds.iter().map(|d| 1 << d).sum();
        run.draws = Draws::Two([("collude/deeds", drawn), ("collude/now", 3)]);
        opened(&mut run);
        ledger_agreed(&mut run, &ledger_state(1, false));
        ledger_agreed(&mut run, &ledger_state(2, true));
        body(&mut run);
    }

    #[test]
    fn nothing_happens_before_the_moment_and_then_the_drawn_deeds_alone() {
        with_deeds(&[CHALLENGE_VIRTUAL], |run| {
            let wish = tell(&irene(), &Wire::CloseRequest { channel: virtual_id() });
            assert_eq!(run.wish(&wish).release, vec![wish.clone()]);
            let acts = run.see(&Seen::Block(&empty_block(1)));
            let calls = calls(&acts.release);
            let [Call::Challenge { candidate, .. }] = calls.as_slice() else { panic!("{calls:?}") };
            assert_eq!(candidate.state, virtual_state(1, 0));
            assert_eq!(run.wish(&wish).release, vec![wish]);
        });
    }

    #[test]
    fn a_silent_member_speaks_to_members_alone() {
        with_deeds(&[SILENCE], |run| {
            run.cabal.keys.insert(bob().address(), bob());
            run.see(&Seen::Block(&empty_block(1)));
            let wire = Wire::CloseRequest { channel: virtual_id() };
            assert_eq!(run.wish(&tell(&irene(), &wire)).release, vec![]);
            assert_eq!(run.wish(&tell(&bob(), &wire)).release.len(), 1);
        });
    }

    #[test]
    fn old_ledger_states_are_tried() {
        with_deeds(&[OLD_LEDGER], |run| {
            let acts = run.see(&Seen::Block(&empty_block(1)));
            let calls = calls(&acts.release);
            let [Call::Challenge { candidate, .. }] = calls.as_slice() else { panic!("{calls:?}") };
            assert_eq!(candidate.state, ledger_state(1, false));
        });
    }

    #[test]
    fn payer_and_payee_together_redeem_everything() {
        with_deeds(&[ALL_IS_PAID], |run| {
            assert_eq!(run.see(&Seen::Block(&empty_block(1))).release, vec![], "Bob is honest");
            run.cabal.keys.insert(bob().address(), bob());
            let acts = run.see(&Seen::Block(&empty_block(2)));
            let calls = calls(&acts.release);
            let [Call::Challenge { candidate, proof, .. }] = calls.as_slice() else {
                panic!("{calls:?}")
            };
            assert_eq!((candidate.state.turn, proof.len()), (TurnNum::REDEMPTION, 1));
        });
    }
}
