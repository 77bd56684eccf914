//! Proposes ledger states whose guarantees are wrong: for a channel that nobody knows, of another amount, with the sides exchanged, for an
//! address or for the ledger channel itself, paid by the peer, given back to the wrong side, twice, of a type that anybody pays out (F35).
//!
//! The inner node's honest proposals go on beside them.

use fairway_core::chain_types::B256;
use fairway_core::effect::Effect;
use fairway_core::nitro::outcome::guarantee_metadata;
use fairway_core::nitro::{Allocation, AllocationType, Call, Claim, SignedState, State};
use fairway_core::types::{Address, Amount, ChannelId, Destination, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::forge::{is_virtual, newest_with_peer, one_in, open_virtuals, send_wire};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "forged_guarantees";

/// Forgeries in one run.
const FORGERIES_MAX: u64 = 96;

/// Ways to be wrong.
const WAYS: u64 = 12;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ForgedGuarantees {
    made: Vec<(ChannelId, B256)>,
    spent: u64,
}

impl Strategy for ForgedGuarantees {
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
        let moment = matches!(seen, Seen::Message { .. } | Seen::Block(_));
        let ledgers = newest_with_peer(cabal, me);
        for (peer, newest) in ledgers.into_iter().filter(|_| moment) {
            let state = newest.state();
            let ledger = !is_virtual(state) && !state.is_final && state.turn >= TurnNum::POSTFUND;
            let idle = !ledger || self.spent >= FORGERIES_MAX;
            if idle || !one_in(4, "forged-guarantees/now", choice) {
                continue;
            }
            let target = known_target(&newest, cabal, me);
            let Some(state) = forge(&newest, target.as_ref(), peer, me, choice) else { continue };
            let Some(claim) = cabal.sign(me, &state) else { continue };
            self.spent += 1;
            self.made.push((state.fixed.channel_id(), state.hash()));
            let evidence = evidence(target.as_ref(), choice);
            acts.release.push(send_wire(peer, &Wire::Proposal { claim, evidence }));
        }
        acts.release.extend(self.conclusions(me, cabal));
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

impl ForgedGuarantees {
    /// What the peer was fooled into signing is challenged with.
    fn conclusions(&mut self, me: Address, cabal: &Cabal) -> Vec<Effect> {
        let mut calls = Vec::new();
        self.made.retain(|(channel, hash)| {
            let fooled = cabal.supported(*channel).find(|s| s.hash() == *hash);
            let sig = fooled.and_then(|s| cabal.sign_challenge(me, s.state()));
            let Some((signed, challenger_sig)) = fooled.zip(sig) else { return true };
            let candidate = Claim::from(signed);
            calls.push(Effect::submit(Call::Challenge {
                proof: Vec::new(),
                candidate,
                challenger_sig,
            }));
            false
        });
        calls
    }
}

/// A virtual channel that this ledger channel could guarantee.
fn known_target(newest: &SignedState, cabal: &Cabal, me: Address) -> Option<SignedState> {
    let pair = &newest.state().fixed.participants;
    let both = |s: &SignedState| pair.iter().all(|p| s.state().fixed.index_of(*p).is_some());
    open_virtuals(cabal, me).into_iter().map(|(_, s)| s).find(|s| both(s))
}

/// True evidence, none, or the same eight times.
fn evidence(target: Option<&SignedState>, choice: &mut Choice<'_>) -> Vec<StateClaim> {
    let Some(signed) = target else { return Vec::new() };
    let sigs = signed.sigs().iter().map(|(i, sig)| (*i, *sig)).collect();
    let claim = StateClaim { state: signed.state().clone(), sigs };
    vec![claim; [1, 0, 8][choice("forged-guarantees/evidence", 3) as usize]]
}

/// The next state with a guarantee that it should not have.
fn forge(
    newest: &SignedState,
    target: Option<&SignedState>,
    peer: Address,
    me: Address,
    choice: &mut Choice<'_>,
) -> Option<State> {
    let mut state = newest.state().clone();
    state.turn = state.turn.next()?;
    let ledger = newest.channel();
    let known = target.map(SignedState::channel);
    let unknown = ChannelId(B256::repeat_byte(1 + choice("forged-guarantees/unknown", 255) as u8));
    let size = target.and_then(|s| s.state().outcome.first()?.total()).unwrap_or(Amount::ETHER);
    let more = size.checked_add(Amount::wei(1))?;
    let exit = state.outcome.first_mut()?;
    let total = exit.total()?;
    let entries = &mut exit.allocations;
    let way = choice("forged-guarantees/way", WAYS);
    let (to, amount, left, right) = match way {
        0 => (unknown, size, me, peer),
        1 => (known?, more, me, peer),
        2 => (known?, size, peer, me),
        3 => (ChannelId(Destination::of(peer).0), size, me, peer),
        4 => (ledger, size, me, peer),
        // All that is there, and one wei more than that.
        5 => (unknown, total, me, peer),
        6 => (unknown, total.checked_add(Amount::wei(1))?, me, peer),
        7 => {
            // Every guarantee given back, and all of it to one side.
            let given = entries.iter().filter(|a| !a.destination.is_external());
            let sum = given.fold(Amount::ZERO, |sum, a| sum.saturating_add(a.amount));
            entries.retain(|a| a.destination.is_external());
            let mine = entries.iter_mut().find(|a| a.destination == Destination::of(me))?;
            mine.amount = mine.amount.checked_add(sum)?;
            return Some(state).filter(|s| s.outcome != newest.state().outcome);
        }
        8 => {
            // The same guarantee twice.
            let twice = entries.iter().find(|a| !a.destination.is_external())?.clone();
            entries.insert(0, twice);
            return Some(state);
        }
        9 => {
            // Of the type that the contract pays to anybody who asks.
            let first = entries.iter_mut().find(|a| !a.destination.is_external())?;
            first.allocation_type = AllocationType::WITHDRAW_HELPER;
            return Some(state);
        }
        10 => {
            // In go-nitro's order, in which a stranger pays the guarantee out.
            entries.sort_by_key(|a| !a.destination.is_external());
            return Some(state).filter(|s| s.outcome != newest.state().outcome);
        }
        _ => (unknown, Amount::ZERO, me, peer),
    };
    let guarantee = Allocation {
        destination: Destination(to.0),
        amount,
        allocation_type: AllocationType::GUARANTEE,
        metadata: guarantee_metadata(Destination::of(left), Destination::of(right)),
    };
    // The peer pays as far as it can, then we do.
    let mut open = amount;
    for who in [peer, me] {
        let payer = entries.iter_mut().find(|a| a.destination == Destination::of(who))?;
        let part = payer.amount.min(open);
        payer.amount = payer.amount.saturating_sub(part);
        open = open.saturating_sub(part);
    }
    entries.insert(0, guarantee);
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::ledger::{Layout, change};

    /// Goal: no way is one that a peer may agree to.
    /// Method: Alice's proposals in a ledger channel with a guarantee, judged by the rules of a peer that expects nothing.
    #[test]
    fn every_way_is_refused_by_the_rules() {
        for way in 0..WAYS {
            let mut strategy = ForgedGuarantees::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::Two([("forged-guarantees/now", 3), ("forged-guarantees/way", way)]);
            ledger_agreed(&mut run, &ledger_state(2, true));
            opened(&mut run);
            let acts = run.see(&Seen::Block(&empty_block(1)));
            let wires = wires(&acts.release);
            let Some(Wire::Proposal { claim, .. }) = wires.first() else { panic!("way {way}") };
            let parties = [alice().address(), irene().address()];
            let before = Layout::of(&ledger_state(2, true).outcome, parties).expect("it is ours");
            let refused = Layout::of(&claim.state.outcome, parties).is_none_or(|after| {
                !matches!(
                    change(&before, &after, &Default::default()),
                    Ok(fairway_core::ledger::Change::Ready { .. })
                )
            });
            assert!(refused, "way {way}");
        }
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut strategy = ForgedGuarantees::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::One("forged-guarantees/now", 3);
        ledger_agreed(&mut run, &ledger_state(2, true));
        let made: usize =
            (0..300).map(|n| run.see(&Seen::Block(&empty_block(n))).release.len()).sum();
        assert!(made as u64 <= FORGERIES_MAX);
    }
}
