//! I20, I25: money goes on chain only where it can come back.
//!
//! I20: a node wants to deposit only what it has not yet deposited, on the confirmed holdings that it names, and only once those who are
//! paid before it have deposited; all that it deposits together is at most its share. I25: never into a channel that was over.
//!
//! Decisions are checked against the node's own logged chain, sums against the canonical one.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_core::event::{Event, ObjectiveKind};
use fairway_core::nitro::{Call, Log};
use fairway_core::types::{Amount, ChannelId};

use super::run::Run;
use super::view::{Progress, Views};
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::chain::{ChainSim, Fate};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct DepositsAreSafe {
    run: Arc<Run>,
}

impl DepositsAreSafe {
    pub fn new(run: &Arc<Run>) -> DepositsAreSafe {
        DepositsAreSafe { run: Arc::clone(run) }
    }

    fn wanted(
        &self,
        views: &Views,
        node: PartyId,
        id: ChannelId,
        held_before: Amount,
        amount: Amount,
    ) -> Result<(), Violation> {
        let unsafe_because = |why: String| {
            let what = format!("{} wanted to deposit {amount}, but {why}", self.run.name(node));
            let violation = Violation::safety("deposits-are-safe", node, id, what);
            Err(violation.losing(node, amount))
        };
        let view = views.of(node);
        let Some(channel) = view.channels.get(&id) else {
            return unsafe_because("it knows no such channel".into());
        };
        let (held, floor) = (view.confirmed(id).held, channel.deposit_floor());
        if held != held_before {
            return unsafe_because(format!("it decided on {held_before} and {held} is confirmed"));
        }
        if held < floor {
            return unsafe_because(format!(
                "{floor} is paid out before it and only {held} is there"
            ));
        }
        let target = floor.saturating_add(channel.opening.of_index(channel.me));
        if held.checked_add(amount).is_none_or(|after| after > target) {
            return unsafe_because(format!("the target is {target} and {held} is there"));
        }
        Ok(())
    }

    /// No honest party has more on the canonical chain than its share of the opening.
    fn mined(&self, views: &Views, chain: &ChainSim, id: ChannelId) -> Result<(), Violation> {
        for node in (0..self.run.count()).map(PartyId).filter(|p| self.run.honest(*p)) {
            let Some(channel) = views.channel(node, id) else { continue };
            let share = channel.opening.of_index(channel.me);
            let sum = deposited(chain, self.run.address(node), id);
            if sum > share {
                let name = self.run.name(node);
                let what = format!("{name} has deposited {sum} and its share is {share}");
                let violation = Violation::safety("deposits-are-safe", node, id, what);
                return Err(violation.losing(node, sum.saturating_sub(share)));
            }
        }
        Ok(())
    }
}

/// What `who` has deposited into `channel` on the canonical chain.
fn deposited(chain: &ChainSim, who: fairway_core::types::Address, channel: ChannelId) -> Amount {
    chain.submissions().iter().filter(|tx| tx.from == who).fold(Amount::ZERO, |sum, tx| {
        match (&*tx.call, tx.fate) {
            (Call::Deposit { channel: to, amount, .. }, Fate::Included { result: Ok(()), .. })
                if *to == channel =>
            {
                sum.saturating_add(*amount)
            }
            _ => sum,
        }
    })
}

impl Invariant for DepositsAreSafe {
    fn name(&self) -> &'static str {
        "deposits-are-safe"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I20"]
    }

    fn statement(&self) -> &'static str {
        "an honest deposit is what is missing, on confirmed holdings, in order, and never more than the share"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        match event {
            Event::DepositWanted { channel, held_before, amount } => {
                self.wanted(views, node, *channel, *held_before, *amount)
            }
            _ => Ok(()),
        }
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        if let Observed::Block { chain, replaced } = seen {
            let new = chain.canonical().iter().rev().take(1 + *replaced as usize);
            let deposits = new.flat_map(|block| &block.logs).filter_map(|l| match &l.log {
                Log::Deposited { channel, .. } => Some(*channel),
                _ => None,
            });
            for channel in deposits.collect::<BTreeSet<_>>() {
                self.mined(views, chain, channel)?;
            }
        }
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct NoDepositIntoUsedChannel {
    run: Arc<Run>,
}

impl NoDepositIntoUsedChannel {
    pub fn new(run: &Arc<Run>) -> NoDepositIntoUsedChannel {
        NoDepositIntoUsedChannel { run: Arc::clone(run) }
    }

    fn check(
        &self,
        views: &Views,
        node: PartyId,
        id: ChannelId,
        amount: Amount,
    ) -> Result<(), Violation> {
        let view = views.of(node);
        let fund = view.channels.get(&id).and_then(|c| c.objective(ObjectiveKind::DirectFund));
        let given_up = fund == Some(Progress::Rejected);
        if !view.at_head(id).over && !given_up {
            return Ok(());
        }
        let what = format!("{} deposits {amount} into a channel that is over", self.run.name(node));
        let violation = Violation::safety("no-deposit-into-used-channel", node, id, what);
        Err(violation.losing(node, amount))
    }
}

impl Invariant for NoDepositIntoUsedChannel {
    fn name(&self) -> &'static str {
        "no-deposit-into-used-channel"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I25"]
    }

    fn statement(&self) -> &'static str {
        "an honest node deposits nothing into a channel that it knows was concluded, paid out or given up"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Submitted { node, call: Call::Deposit { channel, amount, .. } }
                if self.run.honest(*node) =>
            {
                self.check(views, *node, *channel, *amount)?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use fairway_core::event::RejectReason;

    #[test]
    fn the_honest_deposit_in_order_and_exactly() {
        for who in [ALICE, BOB] {
            let mut story = Story::of("deposits-are-safe");
            story.logs(who, opened(who)).unwrap();
        }
    }

    #[test]
    fn other_deposits_are_unsafe() {
        let until_confirmed = opened(BOB)[..BOB_DEPOSITS].to_vec();
        for (name, held, amount) in
            [("the wrong holdings", 4, 5), ("too much", 5, 6), ("twice the share", 5, 10)]
        {
            let mut story = Story::of("deposits-are-safe");
            story.logs(BOB, until_confirmed.clone()).unwrap();
            let violation = story.logs(BOB, vec![wants_deposit(held, amount)]).expect_err(name);
            assert_fires(&violation, "deposits-are-safe", BOB);
            assert_eq!(violation.loss, Some((BOB, ether(amount))));
        }
        let mut story = Story::of("deposits-are-safe");
        story.logs(BOB, until_confirmed[..6].to_vec()).unwrap();
        let violation = story.logs(BOB, vec![wants_deposit(0, 5)]).expect_err("before the leader");
        assert_fires(&violation, "deposits-are-safe", BOB);
    }

    #[test]
    fn a_second_deposit_on_chain_is_too_much() {
        let mut story = Story::of("deposits-are-safe");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.mines_call(ALICE, deposit(0, 5)).unwrap();
        story.mines_call(MALLORY, deposit(5, 1)).unwrap();
        let violation = story.mines_call(ALICE, deposit(6, 2)).unwrap_err();
        assert_fires(&violation, "deposits-are-safe", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(2))));
    }

    #[test]
    fn a_channel_that_is_over_takes_no_deposit() {
        let mut story = Story::of("no-deposit-into-used-channel");
        let opening = opened(BOB)[..BOB_DEPOSITS].to_vec();
        story.logs(BOB, opening.clone()).unwrap();
        story.submits(BOB, &deposit(5, 5)).unwrap();
        story.logs(BOB, vec![concluded_in(6)]).unwrap();
        let violation = story.submits(BOB, &deposit(5, 5)).unwrap_err();
        assert_fires(&violation, "no-deposit-into-used-channel", BOB);
        assert_eq!(violation.loss, Some((BOB, ether(5))));

        let mut story = Story::of("no-deposit-into-used-channel");
        let id = objective(ObjectiveKind::DirectFund);
        let rejected = Event::ObjectiveRejected { id, reason: RejectReason::TimedOut };
        story.logs(BOB, [opening, vec![rejected]].concat()).unwrap();
        assert!(story.submits(BOB, &deposit(5, 5)).is_err());
    }
}
