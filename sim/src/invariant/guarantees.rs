//! I14, I16, I17, I18: what a guarantee may rest on, and what its coming and going does to a party's own balance.
//!
//! Written again from the protocol. A guarantee is the one that its virtual channel's terms allow and rests on the unanimous prefund,
//! which is the way out; it goes only for what everybody agreed that it pays, or the contract decided.

use std::collections::BTreeMap;

use fairway_core::types::{Amount, ChainTime, ChannelId, TurnNum};

use super::shares::Guaranteed;
use super::view::{ChannelView, NodeView};

/// What `node` has in its ledger channel `ledger` once the guarantees are `after`, payments apart.
///
/// # Errors
/// Why no such change may be signed.
pub(super) fn carried(
    view: &NodeView,
    ledger: ChannelId,
    channel: &ChannelView,
    after: &BTreeMap<ChannelId, Guaranteed>,
) -> Result<Amount, &'static str> {
    let mut mine = channel.mine();
    for (target, gone) in channel.guarantees.iter().filter(|(t, _)| !after.contains_key(*t)) {
        let now = view.head.map_or(ChainTime(0), |head| head.time);
        let paid = view.virtuals.get(target).and_then(|v| v.settled(now));
        let paid = paid.ok_or("it gives up a guarantee that nobody has agreed on")?;
        let left = gone.amount.checked_sub(paid).ok_or("a guarantee pays more than it locks")?;
        mine = mine.saturating_add(if gone.left == channel.me { left } else { paid });
    }
    for (target, new) in after {
        match channel.guarantees.get(target) {
            Some(known) if known == new => continue,
            Some(_) => return Err("it changes a guarantee"),
            None => {}
        }
        backed(view, ledger, channel, *target, new)?;
        if new.left == channel.me {
            mine = mine.checked_sub(new.amount).ok_or("it guarantees what is not there")?;
        }
    }
    Ok(mine)
}

/// Whether a new guarantee is the one that its virtual channel's terms allow in this ledger channel.
fn backed(
    view: &NodeView,
    ledger: ChannelId,
    channel: &ChannelView,
    target: ChannelId,
    new: &Guaranteed,
) -> Result<(), &'static str> {
    let v = view.virtuals.get(&target).ok_or("it guarantees an unknown virtual channel")?;
    // Left of the guarantee stands whoever is nearer to the payer.
    let mine_is_left = new.left == channel.me;
    if v.ledgers[usize::from(mine_is_left)] != Some(ledger) {
        return Err("the guarantee stands in another ledger channel or the wrong way round");
    }
    if new.amount != v.terms.amount {
        return Err("the guarantee is not for the agreed amount");
    }
    match v.unanimous(TurnNum::PREFUND) {
        Some(_) => Ok(()),
        None => Err("it guarantees a virtual channel whose prefund is not unanimous"),
    }
}

/// Whether every ledger channel of the node holds the guarantee in its newest supported state.
pub(super) fn is_guaranteed(view: &NodeView, target: ChannelId) -> bool {
    let Some(v) = view.virtuals.get(&target) else { return false };
    let holds = |ledger: &&ChannelId| {
        view.channels.get(*ledger).is_some_and(|c| c.guarantees.contains_key(&target))
    };
    v.ledgers.iter().flatten().filter(holds).count() == v.ledgers_needed()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::super::fixture_virtual::*;
    use super::*;
    use fairway_core::event::{Event, VirtualTerms};
    use fairway_core::nitro::State;

    /// Alice, who pays, after these events in an open ledger channel.
    fn payer(invariant: &str, events: Vec<Event>) -> Story {
        let mut story = Story::of(invariant);
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.logs(ALICE, events).unwrap();
        story
    }

    /// Alice takes part, and everybody has signed the prefund.
    fn agreed() -> Vec<Event> {
        let prefund = virtual_state(&direct_terms(), TurnNum::PREFUND, 0);
        let mut events = vec![takes_part(&direct_terms(), Some(channel()))];
        events.extend(unanimous(&prefund, ALICE, &[BOB]));
        events
    }

    /// A ledger state with the guarantee of these terms, Alice towards the payer.
    fn with_guarantee(turn: u64, balances: [u64; 2], terms: &VirtualTerms) -> State {
        guaranteed(&state(turn, [5, 5]), balances, terms, ALICE, BOB)
    }

    /// What `signed-states-are-valid` says of Alice's signature on `next`, after these events.
    fn refused(events: Vec<Event>, next: &State) -> String {
        let mut story = payer("signed-states-are-valid", events);
        let violation = story.logs(ALICE, vec![signs(next, ALICE)]).unwrap_err();
        assert_fires(&violation, "signed-states-are-valid", ALICE);
        violation.what
    }

    #[test]
    fn an_agreed_guarantee_comes_and_goes() {
        let added = with_guarantee(2, [3, 5], &direct_terms());
        let last = virtual_state(&direct_terms(), TurnNum::VIRTUAL_FINAL, 0);
        let mut story = payer("signed-states-are-valid", agreed());
        story.logs(ALICE, unanimous(&added, ALICE, &[BOB])).unwrap();
        story.logs(ALICE, unanimous(&last, ALICE, &[BOB])).unwrap();
        story.logs(ALICE, vec![signs(&state(3, [5, 5]), ALICE)]).unwrap();
    }

    #[test]
    fn a_guarantee_that_the_terms_do_not_allow_is_noticed() {
        let (terms, elsewhere) = (direct_terms(), ChannelId::default());
        let cheap = VirtualTerms { amount: ether(1), ..terms.clone() };
        let dear = VirtualTerms { amount: ether(6), ..terms.clone() };
        let added = with_guarantee(2, [3, 5], &terms);
        let turned = guaranteed(&state(2, [5, 5]), [5, 3], &terms, BOB, ALICE);
        let unsigned = vec![takes_part(&terms, Some(channel()))];
        let moved = [vec![takes_part(&terms, Some(elsewhere))], agreed().split_off(1)].concat();
        let prefund = virtual_state(&dear, TurnNum::PREFUND, 0);
        let beyond =
            [vec![takes_part(&dear, Some(channel()))], unanimous(&prefund, ALICE, &[BOB])].concat();
        for (name, events, next, why) in [
            ("nobody knows of it", Vec::new(), added.clone(), "an unknown virtual channel"),
            ("prefund", unsigned, added.clone(), "whose prefund is not unanimous"),
            ("ledger", moved, added, "in another ledger channel or the wrong way round"),
            ("direction", agreed(), turned, "in another ledger channel or the wrong way round"),
            ("amount", agreed(), with_guarantee(2, [4, 5], &cheap), "not for the agreed amount"),
            ("balance", beyond, with_guarantee(2, [0, 4], &dear), "guarantees what is not there"),
        ] {
            let what = refused(events, &next);
            assert!(what.contains(why), "{name}: {what}");
        }
    }

    #[test]
    fn a_guarantee_that_goes_or_changes_unasked_is_noticed() {
        let (terms, turn) = (direct_terms(), TurnNum::VIRTUAL_FINAL);
        let cheap = VirtualTerms { amount: ether(1), ..terms.clone() };
        let added = with_guarantee(2, [3, 5], &terms);
        let stands = [agreed(), unanimous(&added, ALICE, &[BOB])].concat();
        let last = virtual_state(&terms, turn, 1);
        let heard = [stands.clone(), vec![receives(&last, BOB)]].concat();
        let over = [stands.clone(), vec![voucher(1)], unanimous(&last, ALICE, &[BOB])].concat();
        for (name, events, next, why) in [
            ("no final", stands.clone(), state(3, [5, 5]), "that nobody has agreed on"),
            ("half a final", heard, state(3, [4, 6]), "that nobody has agreed on"),
            ("other amount", stands, with_guarantee(3, [4, 5], &cheap), "it changes a guarantee"),
            ("wrong split", over.clone(), state(3, [3, 7]), "gives money away"),
        ] {
            let what = refused(events, &next);
            assert!(what.contains(why), "{name}: {what}");
        }
        let mut story = payer("signed-states-are-valid", over);
        story.logs(ALICE, vec![signs(&state(3, [4, 6]), ALICE)]).unwrap();
    }

    /// The payer's promise, as it logs it.
    fn voucher(paid: u64) -> Event {
        let id = virtual_id(&direct_terms());
        let voucher = fairway_core::nitro::Voucher::sign(id, ether(paid), &key(ALICE));
        Event::VoucherSigned { voucher }
    }

    #[test]
    fn a_virtual_postfund_waits_for_every_guarantee() {
        let postfund = virtual_state(&direct_terms(), TurnNum::POSTFUND, 0);
        let added = with_guarantee(2, [3, 5], &direct_terms());
        let half = [agreed(), vec![signs(&added, ALICE)]].concat();
        for too_early in [agreed(), half] {
            let mut story = payer("funded-before-postfund", too_early);
            let violation = story.logs(ALICE, vec![signs(&postfund, ALICE)]).unwrap_err();
            assert_fires(&violation, "funded-before-postfund", ALICE);
        }
        let stands = [agreed(), unanimous(&added, ALICE, &[BOB])].concat();
        let mut story = payer("funded-before-postfund", stands);
        story.logs(ALICE, vec![signs(&postfund, ALICE)]).unwrap();
    }

    #[test]
    fn a_hub_needs_both_of_its_guarantees() {
        let terms = virtual_terms();
        let prefund = virtual_state(&terms, TurnNum::PREFUND, 0);
        let postfund = virtual_state(&terms, TurnNum::POSTFUND, 0);
        let right = right_terms().fixed_part(APP).channel_id();
        let named = Event::LedgerNamed { channel: virtual_id(&terms), ledger: channel() };
        let added = guaranteed(&state(2, [5, 5]), [3, 5], &terms, ALICE, BOB);
        let mut story = Story::of("funded-before-postfund");
        story.logs(BOB, opened(BOB)).unwrap();
        story.logs(BOB, vec![takes_part(&terms, Some(right)), named]).unwrap();
        story.logs(BOB, unanimous(&prefund, BOB, &[ALICE, MALLORY])).unwrap();
        story.logs(BOB, unanimous(&added, BOB, &[ALICE])).unwrap();
        let violation = story.logs(BOB, vec![signs(&postfund, BOB)]).unwrap_err();
        assert_fires(&violation, "funded-before-postfund", BOB);
    }
}
