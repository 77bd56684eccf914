//! I16, I30, I45: once everything is over, an honest party owns on chain what its log entitles it to.
//!
//! Judged once, at the end, on accounts alone: what the party had before any deposit, less its deposits, plus its payouts. It is
//! entitled to its part of each channel's newest durable state: its own balance there, and of each guarantee in it what the virtual
//! channel owes it. So a payee ends with its largest durable voucher, a payer with all but what it promised, and an intermediary with
//! what it brought: what one neighbour takes from it, the other gives it.
//!
//! Who was away for long, or whose disk went back in time, may have missed a challenge: that is no fault of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::{Event, ObjectiveKind};
use fairway_core::nitro::Call;
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, TurnNum};

use super::run::Run;
use super::view::{ChannelView, NodeView, Progress, Views};
use super::{Invariant, Kind, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::chain::{ChainSim, Fate};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct EverybodyIsWhole {
    run: Arc<Run>,
    nodes: Vec<Life>,
    healed: bool,
}

/// What one party began with, and whether it was there.
#[derive(Debug, Default)]
struct Life {
    /// By asset, what it had before any deposit; `None` until the next block shows it.
    started: BTreeMap<Address, Option<Amount>>,
    challenge_s_min: Option<u32>,
    down_since_ns: Option<u64>,
    down_longest_ns: u64,
    forgot: bool,
}

impl Life {
    fn up_again(&mut self, now_ns: u64) {
        if let Some(since) = self.down_since_ns.take() {
            self.down_longest_ns = self.down_longest_ns.max(now_ns.saturating_sub(since));
        }
    }

    /// Whether it was always there in time for whatever others may have put on chain.
    fn was_there(&self) -> bool {
        let half_ns = u64::from(self.challenge_s_min.unwrap_or(0)) * 500_000_000;
        !self.forgot && self.down_since_ns.is_none() && self.down_longest_ns < half_ns
    }
}

impl EverybodyIsWhole {
    pub fn new(run: &Arc<Run>) -> EverybodyIsWhole {
        EverybodyIsWhole { run: Arc::clone(run), nodes: run.each(), healed: false }
    }

    fn read(&mut self, node: PartyId, event: &Event) {
        let (duration, asset) = match event {
            Event::ObjectiveApproved { terms: Some(terms), .. } => {
                (terms.challenge_duration, Some(terms.asset))
            }
            Event::VirtualApproved { terms, .. } => (terms.challenge_duration, None),
            _ => return,
        };
        let life = &mut self.nodes[node.0];
        life.challenge_s_min = Some(life.challenge_s_min.map_or(duration, |d| d.min(duration)));
        if let Some(asset) = asset {
            life.started.entry(asset).or_insert(None);
        }
    }

    fn block(&mut self, chain: &ChainSim) {
        for (i, life) in self.nodes.iter_mut().enumerate() {
            let who = self.run.address(PartyId(i));
            for (asset, amount) in life.started.iter_mut().filter(|(_, a)| a.is_none()) {
                *amount = Some(owned(chain, who, *asset));
            }
        }
    }

    fn ended(&mut self, views: &Views, node: PartyId, chain: &ChainSim) -> Result<(), Violation> {
        self.block(chain);
        let (life, view) = (&self.nodes[node.0], views.of(node));
        let over = view.channels.values().all(is_over);
        if !over || !life.was_there() || !self.run.setting.chain_is_fair {
            return Ok(());
        }
        let who = self.run.address(node);
        for (asset, started) in &life.started {
            let Some(started) = started else { continue };
            let of_asset = view.channels.iter().filter(|(_, c)| c.opening.asset == *asset);
            let due = of_asset.fold(Amount::ZERO, |sum, (id, channel)| {
                sum.saturating_add(entitlement(view, chain, who, *id, channel))
            });
            // What is still in channels was counted as owned: it is the channels' to give back.
            let deposits = deposited(chain, who, *asset, None);
            let due = started.saturating_sub(deposits).saturating_add(due);
            let has = chain.balance_in(*asset, who);
            if has >= due {
                continue;
            }
            let missing = due.saturating_sub(has);
            let name = self.run.name(node);
            let what = format!(
                "everything is over and {name} has {has}, {missing} less than its log entitles it to"
            );
            let violation = Violation::safety("everybody-is-whole", node, None, what);
            return Err(violation.liveness().losing(node, missing));
        }
        Ok(())
    }
}

/// Whether nothing is to come of the channel any more.
fn is_over(channel: &ChannelView) -> bool {
    let done = |kind| channel.objective(kind) == Some(Progress::Completed);
    done(ObjectiveKind::DirectDefund)
        || done(ObjectiveKind::Dispute)
        || channel.objective(ObjectiveKind::DirectFund) == Some(Progress::Rejected)
            && channel.objective(ObjectiveKind::Dispute).is_none()
}

/// What the party must get out of one channel.
fn entitlement(
    view: &NodeView,
    chain: &ChainSim,
    who: Address,
    id: ChannelId,
    channel: &ChannelView,
) -> Amount {
    let durable = channel.durable.filter(|state| state.turn >= TurnNum::POSTFUND);
    let Some(state) = durable else {
        // Not fully funded, as far as the node knows: nobody can take what it put in.
        return deposited(chain, who, channel.opening.asset, Some(id));
    };
    let now = view.head.map_or(ChainTime(0), |head| head.time);
    let of_guarantees = channel.guarantees.iter().fold(Amount::ZERO, |sum, (target, g)| {
        let Some(v) = view.virtuals.get(target) else { return sum };
        let promised = if v.is_payee() { v.durable_paid } else { v.paid };
        let paid = match v.settled(now) {
            // What the chain decided is what a hub passes on; a payee is owed its voucher all the same.
            Some(settled) if !v.is_payee() => settled,
            Some(settled) => settled.max(promised),
            None => promised,
        };
        let mine = if g.left == channel.me { g.amount.saturating_sub(paid) } else { paid };
        sum.saturating_add(mine)
    });
    let supported = state.shares.of_index(channel.me).saturating_add(of_guarantees);
    // The peer may complete and enforce what the node has signed beyond that.
    match channel.signed.filter(|signed| signed.turn > state.turn) {
        Some(signed) => supported.min(signed.shares.of_index(channel.me)),
        None => supported,
    }
}

/// What `who` owns outside of channels and has in them by its own deposits.
fn owned(chain: &ChainSim, who: Address, asset: Address) -> Amount {
    chain.balance_in(asset, who).saturating_add(deposited(chain, who, asset, None))
}

/// What `who` has deposited of `asset` on the canonical chain, into one channel or into all.
fn deposited(chain: &ChainSim, who: Address, asset: Address, into: Option<ChannelId>) -> Amount {
    chain.submissions().iter().filter(|tx| tx.from == who).fold(Amount::ZERO, |sum, tx| {
        match (&*tx.call, tx.fate) {
            (
                Call::Deposit { channel, asset: of, amount, .. },
                Fate::Included { result: Ok(()), .. },
            ) if *of == asset && into.is_none_or(|id| id == *channel) => {
                sum.saturating_add(*amount)
            }
            _ => sum,
        }
    })
}

impl Invariant for EverybodyIsWhole {
    fn name(&self) -> &'static str {
        "everybody-is-whole"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I16", "I30", "I45"]
    }

    fn statement(&self) -> &'static str {
        "when all its channels are over, an honest party that was there owns on chain what its log entitles it to"
    }

    fn kind(&self) -> Kind {
        Kind::Liveness
    }

    fn observe(
        &mut self,
        now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                events.iter().for_each(|(_, event)| self.read(*node, event));
            }
            Observed::Crashed { node } | Observed::Stopped { node, .. } => {
                self.nodes[node.0].down_since_ns.get_or_insert(now_ns);
            }
            Observed::Restarted { node, may_have_forgotten, .. } => {
                self.nodes[node.0].forgot |= *may_have_forgotten;
                self.nodes[node.0].up_again(now_ns);
            }
            Observed::Block { chain, .. } => self.block(chain),
            Observed::Healed => self.healed = true,
            Observed::Ended { nodes, chain } if self.healed => {
                for (node, _) in *nodes {
                    self.ended(views, *node, chain)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::super::fixture_virtual::*;
    use super::*;

    /// Who agreed on the channel before its first block, with these events on top, and faults are over.
    fn funded(who: PartyId, more: Vec<Event>) -> Story {
        let mut story = Story::of("everybody-is-whole");
        story.logs(who, opened(who)).unwrap();
        story.funds();
        story.logs(who, more).unwrap();
        story.heals().unwrap();
        story
    }

    /// Both signed that Bob was paid 1 ETH less than he put in.
    fn update(who: PartyId, peer: PartyId) -> Vec<Event> {
        let update = state(2, [6, 4]);
        vec![signs(&update, who), receives(&update, peer)]
    }

    /// The node says that the channel is over.
    fn done(who: PartyId, story: &mut Story) {
        let completed = Event::ObjectiveCompleted { id: objective(ObjectiveKind::DirectDefund) };
        story.logs(who, vec![approves(ObjectiveKind::DirectDefund), completed]).unwrap();
    }

    /// The channel ends on chain with these shares; what the end of the run says of `who`.
    fn ends_with(mut story: Story, who: PartyId, shares: [u64; 2]) -> Result<(), Violation> {
        story.mines_call(MALLORY, conclude(&final_state(3, shares))).unwrap();
        done(who, &mut story);
        story.ends(&[who])
    }

    #[test]
    fn who_has_what_its_log_says_is_whole() {
        for shares in [[6, 4], [7, 3]] {
            ends_with(funded(ALICE, update(ALICE, BOB)), ALICE, shares).unwrap();
        }
    }

    #[test]
    fn who_has_less_than_its_log_says_is_not() {
        let violation = ends_with(funded(ALICE, update(ALICE, BOB)), ALICE, [4, 6]).unwrap_err();
        assert_fires(&violation, "everybody-is-whole", ALICE);
        assert_eq!(violation.kind, Kind::Liveness);
        assert_eq!(violation.loss, Some((ALICE, ether(2))));
    }

    #[test]
    fn who_was_not_paid_at_all_is_not() {
        let mut story = funded(ALICE, update(ALICE, BOB));
        story.mines(1).unwrap();
        done(ALICE, &mut story);
        let violation = story.ends(&[ALICE]).unwrap_err();
        assert_fires(&violation, "everybody-is-whole", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(6))));
    }

    #[test]
    fn what_the_peer_may_enforce_is_no_loss() {
        let mut more = update(ALICE, BOB);
        more.push(signs(&state(3, [4, 6]), ALICE));
        ends_with(funded(ALICE, more.clone()), ALICE, [4, 6]).unwrap();
        assert!(ends_with(funded(ALICE, more), ALICE, [3, 7]).is_err());
    }

    /// Bob, the payee of a virtual channel over the ledger channel, holds a voucher of 1 ETH.
    fn payee() -> Vec<Event> {
        let terms = direct_terms();
        let prefund = virtual_state(&terms, TurnNum::PREFUND, 0);
        let added = guaranteed(&state(2, [5, 5]), [3, 5], &terms, ALICE, BOB);
        let named = Event::LedgerNamed { channel: virtual_id(&terms), ledger: channel() };
        let mut events = vec![takes_part(&terms, None), named];
        events.extend(unanimous(&prefund, BOB, &[ALICE]));
        events.extend(unanimous(&added, BOB, &[ALICE]));
        events.push(promised(&terms, 1));
        events
    }

    #[test]
    fn a_payee_is_owed_its_vouchers() {
        ends_with(funded(BOB, payee()), BOB, [4, 6]).unwrap();
        let violation = ends_with(funded(BOB, payee()), BOB, [5, 5]).unwrap_err();
        assert_fires(&violation, "everybody-is-whole", BOB);
        assert_eq!(violation.loss, Some((BOB, ether(1))));
    }

    #[test]
    fn who_was_away_or_forgot_is_not_judged() {
        let mut away = funded(ALICE, update(ALICE, BOB));
        away.crashes_and_loses_nothing(ALICE);
        // Half of a challenge of 60 s.
        away.mines(3).unwrap();
        away.restarts(ALICE, false).unwrap();
        ends_with(away, ALICE, [4, 6]).unwrap();

        let mut forgot = funded(ALICE, update(ALICE, BOB));
        forgot.crashes_and_loses_nothing(ALICE);
        forgot.restarts(ALICE, true).unwrap();
        ends_with(forgot, ALICE, [4, 6]).unwrap();

        let mut back = funded(ALICE, update(ALICE, BOB));
        back.crashes_and_loses_nothing(ALICE);
        back.mines(2).unwrap();
        back.restarts(ALICE, false).unwrap();
        assert!(ends_with(back, ALICE, [4, 6]).is_err(), "24 s are less than half");
    }

    #[test]
    fn nobody_is_judged_before_everything_is_over() {
        let mut story = funded(ALICE, update(ALICE, BOB));
        story.mines_call(MALLORY, conclude(&final_state(3, [4, 6]))).unwrap();
        story.ends(&[ALICE]).unwrap();
    }
}
