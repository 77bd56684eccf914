//! I31: what the chain decided to give an honest party, the party has in the end.
//!
//! Judged once, at the end of a run whose faults have ended, on what the party's account holds: its money at the start, less what it
//! deposited, plus its share of every channel that became final early enough to be collected. The share is what the contract
//! pays out of the holdings; whether the right outcome became final is asked by other invariants.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::chain_types::BlockRef;
use fairway_core::event::Event;
use fairway_core::nitro::adjudicator::compute_transfer;
use fairway_core::nitro::{Allocation, AllocationType, Call, Log, Outcome};
use fairway_core::types::{Address, Amount, BlockNum, ChainTime, ChannelId, Destination};

use super::run::Run;
use super::view::Views;
use super::virtual_view::payee_part;
use super::{Invariant, Kind, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::chain::{ChainSim, Fate};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct EntitlementIsPaid {
    run: Arc<Run>,
    /// Balances before any deposit, by party and asset; `None` until the next block shows them.
    started: BTreeMap<(PartyId, Address), Option<Amount>>,
    channels: BTreeMap<(PartyId, ChannelId), Address>,
    head: BlockNum,
    healed: Option<BlockNum>,
}

impl EntitlementIsPaid {
    pub fn new(run: &Arc<Run>) -> EntitlementIsPaid {
        EntitlementIsPaid {
            run: Arc::clone(run),
            started: BTreeMap::new(),
            channels: BTreeMap::new(),
            head: BlockNum(0),
            healed: None,
        }
    }

    fn block(&mut self, chain: &ChainSim) {
        self.head = chain.head().number;
        let run = &self.run;
        for ((party, asset), amount) in self.started.iter_mut().filter(|(_, a)| a.is_none()) {
            let who = run.address(*party);
            let spent = deposited(chain, who, *asset);
            *amount = Some(chain.balance_in(*asset, who).saturating_add(spent));
        }
    }

    /// Blocks that collecting may take once everything works: confirmations, and a few attempts.
    fn grace_blocks(&self) -> u64 {
        2 * self.run.setting.confirmations + 20
    }

    fn ended(&mut self, node: PartyId, chain: &ChainSim) -> Result<(), Violation> {
        self.block(chain);
        let who = self.run.address(node);
        let Some(last) = chain.head().number.0.checked_sub(self.grace_blocks()) else {
            return Ok(());
        };
        if self.healed.is_none_or(|healed| healed.0 > last) {
            return Ok(());
        }
        let mut due: BTreeMap<Address, (Amount, Option<ChannelId>)> = BTreeMap::new();
        let mine = self.channels.range((node, ChannelId::default())..);
        for ((_, channel), asset) in mine.take_while(|((party, _), _)| *party == node) {
            let Some(share) = share(chain, *channel, *asset, who, BlockNum(last)) else { continue };
            let entry = due.entry(*asset).or_default();
            entry.0 = entry.0.saturating_add(share);
            if !chain.holdings_in(*asset, *channel).is_zero() {
                entry.1 = Some(*channel);
            }
        }
        for (asset, (shares, unpaid)) in due {
            let Some(Some(started)) = self.started.get(&(node, asset)) else { continue };
            let entitled = started.saturating_add(shares);
            let has = chain.balance_in(asset, who).saturating_add(deposited(chain, who, asset));
            if has >= entitled {
                continue;
            }
            let missing = entitled.saturating_sub(has);
            let name = self.run.name(node);
            let what = format!("{name} is still owed {missing} of the {shares} that became final");
            let violation = Violation::safety("entitlement-is-paid", node, unpaid, what);
            return Err(violation.liveness().losing(node, missing));
        }
        Ok(())
    }
}

/// What `who` has deposited of `asset` on the canonical chain.
fn deposited(chain: &ChainSim, who: Address, asset: Address) -> Amount {
    chain.submissions().iter().filter(|tx| tx.from == who).fold(Amount::ZERO, |sum, tx| {
        match (&*tx.call, tx.fate) {
            (Call::Deposit { asset: of, amount, .. }, Fate::Included { result: Ok(()), .. })
                if *of == asset =>
            {
                sum.saturating_add(*amount)
            }
            _ => sum,
        }
    })
}

/// What the first outcome that became final in `channel`, not after block `last`, gives to `who` out of what was held.
fn share(
    chain: &ChainSim,
    channel: ChannelId,
    asset: Address,
    who: Address,
    last: BlockNum,
) -> Option<Amount> {
    let (outcome, held) = first_final(chain, channel, asset, last)?;
    let exit = outcome.iter().find(|exit| exit.asset == asset)?;
    let entries = reclaimed(chain, asset, &exit.allocations, last)?;
    let paid = compute_transfer(held, &entries, &[], true).ok()?.exit;
    let mine = paid.iter().filter(|a| a.destination == Destination::of(who));
    Some(mine.fold(Amount::ZERO, |sum, a| sum.saturating_add(a.amount)))
}

/// The entries once every guarantee is what its virtual channel finally says; `None` while the chain has not decided one of those:
/// before that nobody can be paid.
fn reclaimed(
    chain: &ChainSim,
    asset: Address,
    entries: &[Allocation],
    last: BlockNum,
) -> Option<Vec<Allocation>> {
    let guarantee = |a: &&Allocation| a.allocation_type == AllocationType::GUARANTEE;
    let mut rest: Vec<Allocation> = entries.iter().filter(|a| !guarantee(a)).cloned().collect();
    for entry in entries.iter().filter(guarantee) {
        let (decided, _) = first_final(chain, ChannelId(entry.destination.0), asset, last)?;
        let paid = payee_part(&decided).unwrap_or(Amount::ZERO);
        let left = entry.amount.saturating_sub(paid);
        for (half, part) in entry.metadata.chunks(32).zip([left, paid]) {
            if let Some(own) = rest.iter_mut().find(|a| a.destination.0[..] == *half) {
                own.amount = own.amount.saturating_add(part);
            }
        }
    }
    Some(rest)
}

/// The first outcome that became final, and the holdings that it was to divide.
fn first_final(
    chain: &ChainSim,
    channel: ChannelId,
    asset: Address,
    last: BlockNum,
) -> Option<(Outcome, Amount)> {
    let mut held = Amount::ZERO;
    let mut challenged: Option<(ChainTime, Outcome)> = None;
    let mut concluded: Option<Outcome> = None;
    let until = usize::try_from(last.0).ok()?.saturating_add(1).min(chain.canonical().len());
    let end = chain.canonical().get(until.checked_sub(1)?)?.header.time;
    for block in &chain.canonical()[..until] {
        let logs = block.logs.iter().map(|l| &l.log).filter(|log| log.channel() == channel);
        for log in logs {
            match log {
                Log::Deposited { asset: of, held: now, .. } if *of == asset => held = *now,
                Log::Deposited { .. } | Log::Reclaimed { .. } => {}
                Log::ChallengeRegistered { finalizes_at, candidate, .. } => {
                    challenged = Some((*finalizes_at, candidate.state.outcome.clone()));
                }
                Log::ChallengeCleared { .. } | Log::Checkpointed { .. } => challenged = None,
                Log::Concluded { .. } => concluded = conclusion(chain, channel, &block.header),
                Log::AllocationUpdated { before, .. } => {
                    let outcome = concluded.or(challenged.map(|(_, outcome)| outcome))?;
                    return Some((outcome, *before));
                }
            }
        }
    }
    let lapsed = challenged.filter(|(at, _)| *at <= end).map(|(_, outcome)| outcome);
    Some((concluded.or(lapsed)?, held))
}

/// The outcome that was concluded in `block`.
fn conclusion(chain: &ChainSim, channel: ChannelId, block: &BlockRef) -> Option<Outcome> {
    let done = chain.submissions().iter().filter(
        |tx| matches!(tx.fate, Fate::Included { block: b, result: Ok(()) } if b.hash == block.hash),
    );
    done.into_iter().find_map(|tx| match &*tx.call {
        Call::Conclude { candidate } | Call::ConcludeAndTransferAllAssets { candidate }
            if candidate.state.fixed.channel_id() == channel =>
        {
            Some(candidate.state.outcome.clone())
        }
        _ => None,
    })
}

impl Invariant for EntitlementIsPaid {
    fn name(&self) -> &'static str {
        "entitlement-is-paid"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I31"]
    }

    fn statement(&self) -> &'static str {
        "an honest party ends with its share of every outcome that became final"
    }

    fn kind(&self) -> Kind {
        Kind::Liveness
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, events, .. } => {
                for (_, event) in *events {
                    if let Event::ObjectiveApproved { id, terms: Some(terms), .. } = event {
                        self.channels.insert((*node, id.channel), terms.asset);
                        self.started.entry((*node, terms.asset)).or_insert(None);
                    }
                }
            }
            Observed::Block { chain, .. } => self.block(chain),
            Observed::Healed => self.healed = Some(self.head),
            Observed::Ended { nodes, chain } => {
                for (node, _) in *nodes {
                    self.ended(*node, chain)?;
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

    /// Both agreed on the channel before its first block; turn 1 is final on chain.
    fn finalized() -> Story {
        let mut story = Story::of("entitlement-is-paid");
        for who in [ALICE, BOB] {
            story.logs(who, opened(who)).unwrap();
        }
        story.funds();
        story.heals().unwrap();
        story.mines_call(BOB, challenge(&state(1, [5, 5]), BOB)).unwrap();
        story.mines(6).unwrap();
        story
    }

    #[test]
    fn who_was_paid_is_content() {
        let mut story = finalized();
        story.mines_call(ALICE, transfer_all(&state(1, [5, 5]))).unwrap();
        story.mines(60).unwrap();
        story.ends(&[ALICE, BOB]).unwrap();
    }

    #[test]
    fn who_was_not_paid_is_owed() {
        let mut story = finalized();
        story.mines(60).unwrap();
        let violation = story.ends(&[ALICE, BOB]).unwrap_err();
        assert_fires(&violation, "entitlement-is-paid", ALICE);
        assert_eq!(violation.kind, super::Kind::Liveness);
        assert_eq!(violation.loss, Some((ALICE, ether(5))));
    }

    #[test]
    fn who_had_no_time_to_collect_is_not_judged() {
        let mut story = finalized();
        story.mines(2).unwrap();
        story.ends(&[ALICE, BOB]).unwrap();
    }

    #[test]
    fn one_of_two_payouts_is_half() {
        let mut story = finalized();
        story.mines_call(ALICE, transfer_one(&state(1, [5, 5]), 0)).unwrap();
        story.mines(60).unwrap();
        let violation = story.ends(&[ALICE, BOB]).unwrap_err();
        assert_fires(&violation, "entitlement-is-paid", BOB);
    }

    #[test]
    fn a_cooperative_close_pays() {
        let mut story = Story::of("entitlement-is-paid");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.funds();
        story.heals().unwrap();
        story.mines_call(ALICE, conclude(&final_state(2, [3, 7]))).unwrap();
        story.mines(60).unwrap();
        story.ends(&[ALICE]).unwrap();
    }
}
