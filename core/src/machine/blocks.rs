//! What the chain endpoint says. It is believed only where it connects: every block's parent is the block before it, and a bloom
//! that promises logs of ours is held against the logs that were shown.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::node::{Decision, Node};
use crate::chain_types::{Block, BlockRef, IndexedLog};
use crate::chain_view::{OnChain, OnChainStatus};
use crate::channel::{Channel, Phase};
use crate::effect::Effect;
use crate::event::Event;
use crate::nitro::adjudicator::Reclaimed;
use crate::nitro::{Log, SignedState};
use crate::types::{BlockNum, ChannelId};

impl Node {
    /// Decides on the endpoint's answer. A wrong or stale answer changes nothing; the node asks again.
    pub(super) fn on_blocks(&self, from: BlockNum, head: BlockRef, blocks: &[Block]) -> Decision {
        let mut decision = Decision::default();
        let mut tip = self.state.chain().head();
        let ignores_reorgs = self.config.mutant("reorg-ignored");
        let consecutive = blocks.windows(2).all(|w| w[1].header.extends(&w[0].header));
        if !consecutive || blocks.first().is_some_and(|b| b.header.number != from) {
            return decision;
        }
        for block in blocks {
            let header = block.header;
            if let Some(known) = self.state.chain().block(header.number)
                && decision.events.is_empty()
                && (known.hash == header.hash || ignores_reorgs)
            {
                continue;
            }
            let next = tip.is_none_or(|t| t.number.0 + 1 == header.number.0);
            let connects = tip.is_none_or(|t| t.hash == header.parent) || ignores_reorgs;
            if !next || !connects {
                match self.ancestor(header) {
                    Some(to) if decision.events.is_empty() => {
                        decision.events.push(Event::BlocksReverted { to });
                    }
                    Some(_) | None => return self.step_back(from),
                }
            }
            if self.is_suspicious(block) {
                // Asked again at the next poll: an endpoint that is catching up needs a moment.
                decision.suspect = Some(header.hash);
                return self.only_if_it_advances(decision, head);
            }
            let skips = self.config.mutant("cursor-ahead") && header.number < head.number;
            let logs = if skips { Vec::new() } else { self.our_logs(block) };
            decision.events.push(Event::BlockAdded { block: header, logs });
            tip = Some(header);
        }
        let last = tip.map_or(0, |t| t.number.0);
        if head.number.0 > last && !blocks.is_empty() {
            decision.answers.push(Effect::FetchBlocks { from: BlockNum(last + 1) });
        } else if blocks.is_empty() && head.number.0 + 1 == from.0 {
            // At the head, or the head was replaced by one of the same height: look at the last block again.
            let known = self.state.chain().head();
            if known.is_some_and(|k| k.number == head.number && k.hash != head.hash) {
                return self.step_back(from);
            }
        }
        self.only_if_it_advances(decision, head)
    }

    /// A branch that is not longer than ours, or of which nothing was shown, replaces nothing: wait for a better answer.
    fn only_if_it_advances(&self, decision: Decision, head: BlockRef) -> Decision {
        let reverts = matches!(decision.events.first(), Some(Event::BlocksReverted { .. }));
        let adds = decision.events.iter().any(|e| matches!(e, Event::BlockAdded { .. }));
        let ours = self.state.chain().head().map_or(0, |b| b.number.0);
        if reverts && (!adds || head.number.0 < ours) {
            return Decision { events: Vec::new(), ..decision };
        }
        decision
    }

    /// The block of ours that `header` builds on.
    fn ancestor(&self, header: BlockRef) -> Option<BlockRef> {
        let below = BlockNum(header.number.0.checked_sub(1)?);
        self.state.chain().block(below).filter(|b| b.hash == header.parent)
    }

    /// The answer does not connect: ask for blocks further down, twice as far each time, as deep as we can take back.
    fn step_back(&self, from: BlockNum) -> Decision {
        let oldest = self.state.chain().oldest().map_or(0, |b| b.number.0);
        let step = self.session.step_back;
        let lower = BlockNum(from.0.saturating_sub(step).max(oldest + 1));
        if lower >= from {
            // Deeper than everything we remember: nothing can be taken back in good order, so nothing is believed.
            return Decision::default();
        }
        let answers = vec![Effect::FetchBlocks { from: lower }];
        Decision { answers, step_back: Some(step.saturating_mul(2)), ..Decision::default() }
    }

    pub(super) fn on_new_head(&self, number: BlockNum) -> Decision {
        if number >= self.next_block() {
            return Decision::answer(Effect::FetchBlocks { from: self.poll_from() });
        }
        Decision::default()
    }

    /// The bloom promises logs of a watched channel that the endpoint does not show, and it was not yet asked often enough.
    fn is_suspicious(&self, block: &Block) -> bool {
        let asked = self.session.suspects.get(&block.header.hash).copied().unwrap_or(0);
        if asked >= self.config.bloom_refetch_max || self.config.mutant("missing-logs-trusted") {
            return false;
        }
        let shown = |c| block.logs.iter().any(|l| l.log.channel() == c);
        self.state.chain().watched().any(|c| block.bloom_may_contain(c) && !shown(c))
    }

    /// Logs of our channels, each once, in order.
    fn our_logs(&self, block: &Block) -> Vec<IndexedLog> {
        let ours = |l: &&IndexedLog| self.state.chain().is_watched(l.log.channel());
        let mut logs: Vec<IndexedLog> = block.logs.iter().filter(ours).cloned().collect();
        logs.sort_by_key(|l| l.index);
        if self.config.mutant("one-log-a-block") {
            logs.truncate(1);
        }
        if !self.config.mutant("logs-counted-twice") {
            logs.dedup_by_key(|l| l.index);
        }
        logs
    }

    /// The chain shows states that everybody signed, whoever was to hear of them. One that we do not remember signing says that our
    /// log is not the newest.
    pub(super) fn on_published(&self, published: &[SignedState]) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for signed in published {
            if let Some(v) = self.state.virtual_channel(signed.channel()) {
                let known = v.unanimous(signed.turn()).is_some();
                if !known && signed.is_unanimous() && v.check_received(signed).is_ok() {
                    events.push(Event::StatePublished { state: signed.clone() });
                }
                continue;
            }
            let Some(channel) = self.state.channel(signed.channel()) else { continue };
            let told = |e: &Event| matches!(e, Event::StatePublished { state } if state == signed);
            let known = channel.supported_turn() >= Some(signed.turn());
            // Without our own signature it would be the endpoint's word, or the peer's, for a state that we never agreed to.
            if known || !signed.is_unanimous() || events.iter().any(told) {
                continue;
            }
            let entered = events.iter().any(|e| matches!(e, Event::RecoveryEntered { .. }));
            if !entered && channel.phase < Phase::Disputed {
                events.extend(self.evidence(channel, signed));
            }
            if !self.config.mutant("calldata-unread") {
                events.push(Event::StatePublished { state: signed.clone() });
            }
        }
        events
    }

    /// The calldata says which guarantees were reclaimed. Of blocks alone that are ours once `news` are applied, and of so many reclaims
    /// alone as the logs count. Nothing else is checked: a wrong name is tried in vain.
    pub(super) fn on_reclaims_shown(&self, blocks: &[Block], news: &[Event]) -> Vec<Event> {
        let mut events = Vec::new();
        if self.config.mutant("calldata-unread") {
            return events;
        }
        for block in blocks {
            let mut told: BTreeMap<ChannelId, usize> = BTreeMap::new();
            for Reclaimed { ledger, target } in block.calldata.iter().flat_map(|c| &c.reclaims) {
                let (channel, header) = (*ledger, block.header);
                let told = told.entry(channel).or_default();
                let event = Event::ReclaimShown { channel, block: header.number, target: *target };
                let known = self.state.chain().at_head(channel).reclaimed.contains(target);
                let more = || *told < self.reclaims_unread(channel, header, news);
                if self.state.channel(channel).is_some()
                    && !known
                    && !events.contains(&event)
                    && more()
                {
                    *told += 1;
                    events.push(event);
                }
            }
        }
        events
    }

    /// How many reclaims of `channel` without calldata the block holds once `news` are applied; none where it is not ours then.
    fn reclaims_unread(&self, channel: ChannelId, block: BlockRef, news: &[Event]) -> usize {
        let reclaim = |l: &&IndexedLog| l.log == Log::Reclaimed { channel, asset_index: 0 };
        let mut stays = self.state.chain().block(block.number) == Some(block);
        for event in news {
            match event {
                Event::BlockAdded { block: added, logs } if *added == block => {
                    return logs.iter().filter(reclaim).count();
                }
                Event::BlocksReverted { to } => stays &= block.number <= to.number,
                _ => {}
            }
        }
        if stays { self.state.chain().reclaims_unread(channel, block.number) } else { 0 }
    }

    /// Where to read on: at the next block, or where something happened that only calldata explains, until that is shown.
    pub(super) fn poll_from(&self) -> BlockNum {
        let unread = self.active.iter().filter_map(|id| {
            let (chain, channel) = (self.state.chain(), self.state.channel(*id)?);
            let head = chain.at_head(*id);
            let recorded = is_unread(head, channel).then(|| chain.recorded_at(*id)).flatten();
            let reclaimed = (!head.held.is_zero()).then(|| chain.reclaim_unread_at(*id)).flatten();
            recorded.into_iter().chain(reclaimed).min()
        });
        let next = self.next_block();
        unread.min().map_or(next, |oldest| oldest.min(next))
    }
}

/// Whether a state stands on record that is newer than what we can prove: only who holds its signatures can challenge now.
pub(super) fn is_unread(head: &OnChain, channel: &Channel) -> bool {
    matches!(head.status, OnChainStatus::Recorded(turn) if Some(turn) > channel.supported_turn())
}
