//! I8, I40, I41: what was promised and what was taken in a virtual channel only grows, within what was agreed.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_core::effect::Notice;
use fairway_core::event::Event;
use fairway_core::nitro::Voucher;
use fairway_core::types::{Amount, ChannelId, TurnNum};

use super::run::Run;
use super::view::Views;
use super::virtual_view::VirtualView;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct VouchersOnlyGrow {
    run: Arc<Run>,
    /// What each party has signed, in this life or in one that its disk has forgotten.
    signed: BTreeSet<(PartyId, ChannelId, Amount)>,
}

impl VouchersOnlyGrow {
    pub fn new(run: &Arc<Run>) -> VouchersOnlyGrow {
        VouchersOnlyGrow { run: Arc::clone(run), signed: BTreeSet::new() }
    }

    /// The total that an honest payee holds for good, whatever its payer remembers.
    fn taken(&self, views: &Views, channel: &VirtualView, id: ChannelId) -> Amount {
        let payee = channel.terms.participants.last().and_then(|address| self.run.party(*address));
        let view = payee.and_then(|payee| views.virtual_channel(payee, id));
        view.map_or(Amount::ZERO, |view| view.durable_paid)
    }

    fn check(&mut self, views: &Views, node: PartyId, event: &Event) -> Result<(), Violation> {
        let (verb, voucher, may): (_, &Voucher, May) = match event {
            Event::VoucherSigned { voucher } => ("signed", voucher, may_sign),
            Event::VoucherReceived { voucher } => ("took", voucher, may_take),
            _ => return Ok(()),
        };
        let wrong = |why: &str| {
            let (name, amount) = (self.run.name(node), voucher.amount);
            let what = format!("{name} {verb} a voucher for {amount}: {why}");
            Err(Violation::safety("vouchers-only-grow", node, voucher.channel, what))
        };
        let Some(channel) = views.virtual_channel(node, voucher.channel) else {
            return wrong("the virtual channel was never agreed on");
        };
        if voucher.amount > channel.terms.amount {
            return wrong("more than was agreed");
        }
        if voucher.amount <= channel.paid {
            return wrong("no more than the one before");
        }
        // A payer who was set back to an old disk is shown its own voucher, perhaps before the postfund: it remembers, it does not sign.
        let signs = matches!(event, Event::VoucherSigned { .. });
        let remembers = signs && !self.signed.insert((node, voucher.channel, voucher.amount));
        if !remembers && channel.unanimous(TurnNum::POSTFUND).is_none() {
            return wrong("not everybody has signed the postfund");
        }
        if signs && !remembers {
            if channel.signed(TurnNum::VIRTUAL_FINAL) {
                return wrong("it has signed the final state");
            }
            if self.taken(views, channel, voucher.channel) >= voucher.amount {
                return wrong("the payee holds one for no less, which it has forgotten");
            }
        }
        match may(channel, voucher.amount) {
            Ok(()) => Ok(()),
            Err(why) => wrong(why),
        }
    }
}

type May = fn(&VirtualView, Amount) -> Result<(), &'static str>;

fn may_sign(channel: &VirtualView, _total: Amount) -> Result<(), &'static str> {
    if channel.is_payer() { Ok(()) } else { Err("it is not the payer") }
}

/// A payee who has signed the final state has agreed to what it says. What that covers it may still take: if the state never becomes
/// unanimous, the largest voucher that it holds is what it redeems.
fn may_take(channel: &VirtualView, total: Amount) -> Result<(), &'static str> {
    let ended = channel.signed_paid(TurnNum::VIRTUAL_FINAL);
    match (channel.is_payee(), ended.is_some_and(|paid| paid < total)) {
        (false, _) => Err("it is not the payee"),
        (true, true) => Err("it has signed a final state that pays less"),
        (true, false) => Ok(()),
    }
}

impl Invariant for VouchersOnlyGrow {
    fn name(&self) -> &'static str {
        "vouchers-only-grow"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I8", "I40", "I41"]
    }

    fn statement(&self) -> &'static str {
        "totals of signed and of taken vouchers grow, within the agreed amount, in a virtual channel that is open and not ended, above what the payee holds, and are durable before they are told"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        self.check(views, node, event)
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        let Observed::Notified { node, notice: Notice::PaymentReceived { channel, total, .. } } =
            seen
        else {
            return Ok(());
        };
        let durable = views.virtual_channel(*node, *channel).map(|v| v.durable_paid);
        if !self.run.honest(*node) || durable >= Some(*total) {
            return Ok(());
        }
        let name = self.run.name(*node);
        let what = format!("{name} tells of {total} received before that is durable");
        Err(Violation::safety("vouchers-only-grow", *node, *channel, what).losing(*node, *total))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use fairway_core::event::{ObjectiveId, ObjectiveKind, Origin, VirtualTerms};
    use fairway_core::nitro::State;
    use fairway_core::types::{Address, Amount, ChannelId, Timestamp};
    use fairway_core::virtual_channel::VirtualChannel;

    fn terms() -> VirtualTerms {
        VirtualTerms {
            participants: vec![address(ALICE), address(BOB)],
            nonce: 7,
            challenge_duration: 60,
            asset: Address::ZERO,
            amount: ether(2),
        }
    }

    fn id() -> ChannelId {
        terms().fixed_part(APP).channel_id()
    }

    /// What everybody signs at this turn while nothing was paid.
    fn state_of(who: PartyId, turn: TurnNum) -> State {
        VirtualChannel::new(id(), &terms(), APP, address(who), None, Timestamp(0))
            .and_then(|channel| channel.state(turn, Amount::ZERO))
            .expect("a participant, and nothing was paid")
    }

    /// Approved, and with a postfund that everybody has signed.
    fn open(who: PartyId) -> Vec<Event> {
        let id = ObjectiveId { channel: id(), kind: ObjectiveKind::VirtualFund };
        let (origin, terms) = (Origin::User, terms());
        let approved = Event::VirtualApproved { id, origin, terms, right: None };
        let postfund = state_of(who, TurnNum::POSTFUND);
        vec![approved, receives(&postfund, ALICE), receives(&postfund, BOB)]
    }

    fn voucher(total: u64) -> Voucher {
        Voucher::sign(id(), ether(total), &key(ALICE))
    }

    #[test]
    fn totals_grow_within_what_was_agreed() {
        let taken = |total| Event::VoucherReceived { voucher: voucher(total) };
        for (name, before, after, fires) in [
            ("a first one", vec![], taken(1), false),
            ("a larger one", vec![taken(1)], taken(2), false),
            ("the same one", vec![taken(1)], taken(1), true),
            ("a lower one", vec![taken(2)], taken(1), true),
            ("too much", vec![], taken(3), true),
        ] {
            let mut story = Story::of("vouchers-only-grow");
            story.logs(BOB, [open(BOB), before].concat()).unwrap();
            match story.logs(BOB, vec![after]) {
                Ok(()) => assert!(!fires, "{name}"),
                Err(violation) => {
                    assert!(fires, "{name}: {violation:?}");
                    assert_fires(&violation, "vouchers-only-grow", BOB);
                }
            }
        }
    }

    #[test]
    fn who_may_not_sign_or_take_one_is_noticed() {
        let signed = Event::VoucherSigned { voucher: voucher(1) };
        for (name, log) in [
            ("by the payee", [open(BOB), vec![signed.clone()]].concat()),
            ("in an unknown channel", vec![signed.clone()]),
            ("before the postfund", [open(BOB)[..2].to_vec(), vec![signed]].concat()),
        ] {
            let mut story = Story::of("vouchers-only-grow");
            let violation = story.logs(BOB, log).expect_err(name);
            assert_fires(&violation, "vouchers-only-grow", BOB);
        }
    }

    #[test]
    fn who_has_ended_it_or_forgotten_what_the_payee_holds_signs_no_more() {
        let signed = || Event::VoucherSigned { voucher: voucher(1) };
        let ended = signs(&state_of(ALICE, TurnNum::VIRTUAL_FINAL), ALICE);
        let mut story = Story::of("vouchers-only-grow");
        story.logs(ALICE, [open(ALICE), vec![ended]].concat()).unwrap();
        let violation = story.logs(ALICE, vec![signed()]).expect_err("after the final state");
        assert_fires(&violation, "vouchers-only-grow", ALICE);

        for (total, fires) in [(1, true), (2, true), (0, false)] {
            let mut story = Story::of("vouchers-only-grow");
            let taken = (total > 0).then(|| Event::VoucherReceived { voucher: voucher(total) });
            story.logs(BOB, open(BOB).into_iter().chain(taken).collect()).unwrap();
            story.logs(ALICE, open(ALICE)).unwrap();
            match story.logs(ALICE, vec![signed()]) {
                Ok(()) => assert!(!fires, "Bob holds {total}"),
                Err(violation) => {
                    assert!(fires, "Bob holds {total}: {violation:?}");
                    assert_fires(&violation, "vouchers-only-grow", ALICE);
                }
            }
        }
    }
}
