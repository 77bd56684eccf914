//! I21, I23: promises about money that is not there.
//!
//! I21: no deposit before everybody has signed the prefund, which is the way out; no postfund before the confirmed holdings are
//! complete. I23: after a reorg that took confirmed holdings away, nothing is signed until they are back.

use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::nitro::SignedState;
use fairway_core::types::{Amount, ChannelId, TurnNum};

use super::guarantees::is_guaranteed;
use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::PartyId;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct FundedBeforePostfund {
    run: Arc<Run>,
}

impl FundedBeforePostfund {
    pub fn new(run: &Arc<Run>) -> FundedBeforePostfund {
        FundedBeforePostfund { run: Arc::clone(run) }
    }

    fn deposit(
        &self,
        views: &Views,
        node: PartyId,
        id: ChannelId,
        amount: Amount,
    ) -> Result<(), Violation> {
        let channel = views.channel(node, id);
        if channel.is_some_and(|c| c.supported.is_some()) {
            return Ok(());
        }
        let name = self.run.name(node);
        let what = format!("{name} deposits {amount} before everybody has signed the prefund");
        let violation = Violation::safety("funded-before-postfund", node, id, what);
        Err(violation.losing(node, amount))
    }

    /// The money behind a virtual channel is its guarantees: in each ledger channel of the node's own, on confirmed holdings.
    fn virtual_postfund(
        &self,
        views: &Views,
        node: PartyId,
        id: ChannelId,
    ) -> Result<(), Violation> {
        if is_guaranteed(views.of(node), id) {
            return Ok(());
        }
        let name = self.run.name(node);
        let what = format!("{name} signed the postfund before its ledger channels guarantee it");
        Err(Violation::safety("funded-before-postfund", node, id, what))
    }

    fn postfund(&self, views: &Views, node: PartyId, id: ChannelId) -> Result<(), Violation> {
        let Some((held, total)) = missing(views, node, id) else { return Ok(()) };
        let name = self.run.name(node);
        let what = format!("{name} signed the postfund with {held} of {total} confirmed");
        Err(Violation::safety("funded-before-postfund", node, id, what))
    }
}

/// Confirmed holdings and what they should be, when they fall short.
fn missing(views: &Views, node: PartyId, id: ChannelId) -> Option<(Amount, Amount)> {
    let held = views.of(node).confirmed(id).held;
    let total = views.channel(node, id)?.total();
    (held < total).then_some((held, total))
}

impl Invariant for FundedBeforePostfund {
    fn name(&self) -> &'static str {
        "funded-before-postfund"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I21", "I14"]
    }

    fn statement(&self) -> &'static str {
        "an honest node deposits after the unanimous prefund and signs the postfund on confirmed, complete holdings"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        match event {
            Event::DepositWanted { channel, amount, .. } => {
                self.deposit(views, node, *channel, *amount)?;
            }
            Event::StateSigned { state, .. } if state.turn() == TurnNum::POSTFUND => {
                if views.virtual_channel(node, state.channel()).is_some() {
                    self.virtual_postfund(views, node, state.channel())?;
                } else {
                    self.postfund(views, node, state.channel())?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NoSigningOnVanishedFunds {
    run: Arc<Run>,
}

impl NoSigningOnVanishedFunds {
    pub fn new(run: &Arc<Run>) -> NoSigningOnVanishedFunds {
        NoSigningOnVanishedFunds { run: Arc::clone(run) }
    }

    fn check(&self, views: &Views, node: PartyId, signed: &SignedState) -> Result<(), Violation> {
        let id = signed.channel();
        let Some((held, total)) = missing(views, node, id) else { return Ok(()) };
        let what = format!(
            "{} signed turn {} while {held} of {total} is confirmed on chain",
            self.run.name(node),
            signed.turn(),
        );
        let mine = views.channel(node, id).map_or(Amount::ZERO, |c| c.mine());
        let violation = Violation::safety("no-signing-on-vanished-funds", node, id, what);
        // Earlier entries are paid first: what is missing is missing for whoever stands last.
        Err(violation.losing(node, mine.min(total.saturating_sub(held))))
    }
}

impl Invariant for NoSigningOnVanishedFunds {
    fn name(&self) -> &'static str {
        "no-signing-on-vanished-funds"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I23"]
    }

    fn statement(&self) -> &'static str {
        "an honest node signs no update while the holdings that it counted are not confirmed any more"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        if let Event::StateSigned { state, .. } = event
            && state.turn() > TurnNum::POSTFUND
        {
            self.check(views, node, state)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn the_opening_is_funded_in_order() {
        for who in [ALICE, BOB] {
            let mut story = Story::of("funded-before-postfund");
            story.logs(who, opened(who)).unwrap();
        }
    }

    #[test]
    fn a_deposit_before_the_prefund_is_noticed() {
        let mut story = Story::of("funded-before-postfund");
        story.logs(ALICE, opened(ALICE)[..3].to_vec()).unwrap();
        let violation = story.logs(ALICE, vec![wants_deposit(0, 5)]).unwrap_err();
        assert_fires(&violation, "funded-before-postfund", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(5))));
    }

    #[test]
    fn a_postfund_on_unconfirmed_holdings_is_noticed() {
        let mut story = Story::of("funded-before-postfund");
        let log = opened(ALICE);
        let unconfirmed = log.len() - 4;
        story.logs(ALICE, log[..unconfirmed].to_vec()).unwrap();
        let violation = story.logs(ALICE, vec![signs(&state(1, [5, 5]), ALICE)]).unwrap_err();
        assert_fires(&violation, "funded-before-postfund", ALICE);
    }

    #[test]
    fn another_asset_is_no_funding() {
        let mut story = Story::of("funded-before-postfund");
        let worthless = opened(ALICE).into_iter().map(in_another_asset).collect();
        let violation = story.logs(ALICE, worthless).unwrap_err();
        assert_fires(&violation, "funded-before-postfund", ALICE);
    }

    #[test]
    fn signing_waits_until_vanished_funds_are_back() {
        let mut story = Story::of("no-signing-on-vanished-funds");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.logs(ALICE, vec![signs(&state(2, [5, 5]), ALICE)]).unwrap();
        let deep = Event::BlocksReverted { to: block(4) };
        story.logs(ALICE, vec![deep]).unwrap();
        let next = vec![signs(&state(3, [5, 5]), ALICE)];
        let violation = story.logs(ALICE, next.clone()).unwrap_err();
        assert_fires(&violation, "no-signing-on-vanished-funds", ALICE);

        let mut story = Story::of("no-signing-on-vanished-funds");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.logs(ALICE, vec![Event::BlocksReverted { to: block(4) }]).unwrap();
        story.logs(ALICE, blocks(5..=9)).unwrap();
        story.logs(ALICE, next).unwrap();
    }
}
