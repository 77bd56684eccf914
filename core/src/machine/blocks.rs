//! What the chain endpoint says. It is believed only where it connects: every block's parent is the block before it, and a bloom
//! that promises logs of ours is held against the logs that were shown.

use alloc::vec;
use alloc::vec::Vec;

use super::node::{Decision, Node};
use crate::chain_types::{Block, BlockRef, IndexedLog};
use crate::channel::Phase;
use crate::effect::Effect;
use crate::event::{Event, RecoveryReason};
use crate::nitro::Log;
use crate::types::BlockNum;

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
            decision.events.extend(self.forgotten_on_chain(block, &decision.events));
            let logs = self.our_logs(block);
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
        Decision { answers, step_back: step.saturating_mul(2), ..Decision::default() }
    }

    pub(super) fn on_new_head(&self, number: BlockNum) -> Decision {
        let from = self.next_block();
        if number >= from {
            return Decision::answer(Effect::FetchBlocks { from });
        }
        Decision::default()
    }

    /// The bloom promises logs of a watched channel that the endpoint does not show, and it was not yet asked often enough.
    fn is_suspicious(&self, block: &Block) -> bool {
        let asked = self.session.suspects.get(&block.header.hash).copied().unwrap_or(0);
        if asked >= self.config.bloom_refetch_max {
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
        logs.dedup_by_key(|l| l.index);
        logs
    }

    /// The contract accepted a state newer than anything that we remember signing: our log is not the newest.
    fn forgotten_on_chain(&self, block: &Block, decided: &[Event]) -> Option<Event> {
        let entered = decided.iter().any(|e| matches!(e, Event::RecoveryEntered { .. }));
        if self.state.recovery().is_some() || entered {
            return None;
        }
        block.logs.iter().find_map(|l| {
            let Log::ChallengeRegistered { channel, candidate, .. } = &l.log else { return None };
            let known = self.state.channel(*channel)?;
            let turn = candidate.state.turn;
            let newer = known.signed.is_none_or(|s| s.turn < turn);
            (newer && known.phase < Phase::Disputed).then_some(Event::RecoveryEntered {
                reason: RecoveryReason::ForgottenSignature { channel: *channel, turn },
            })
        })
    }
}
