//! I24: the chain cursor in a log never runs ahead of the facts.
//!
//! Every block that a node logs extends the one before it and comes with exactly the logs of the channels that the node watches; a
//! rescan from any point of the log would therefore give the same state.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_core::chain_types::B256;
use fairway_core::event::Event;
use fairway_core::types::{BlockNum, ChannelId, Timestamp};

use super::canon::Canon;
use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct CursorMatchesFacts {
    run: Arc<Run>,
    canon: Canon,
    nodes: Vec<Cursor>,
}

/// What one node has logged of the chain.
#[derive(Debug, Default)]
struct Cursor {
    blocks: Vec<(BlockNum, B256)>,
    watched: BTreeSet<ChannelId>,
}

impl Cursor {
    /// Whether the event fits what is there.
    fn take(&mut self, event: &Event) -> Result<(), &'static str> {
        match event {
            Event::ObjectiveApproved { id, terms: Some(_), .. }
            | Event::VirtualApproved { id, .. } => {
                self.watched.insert(id.channel);
            }
            Event::BlockAdded { block, .. } => {
                let fits = self.blocks.last().is_none_or(|(number, hash)| {
                    block.number.0 == number.0 + 1 && block.parent == *hash
                });
                self.blocks.push((block.number, block.hash));
                if !fits {
                    return Err("it does not extend the block before it");
                }
            }
            Event::BlocksReverted { to } => {
                let keep =
                    self.blocks.iter().rposition(|(n, hash)| (*n, *hash) == (to.number, to.hash));
                self.blocks.truncate(keep.map_or(0, |at| at + 1));
                if keep.is_none() {
                    return Err("it never was on the node's chain");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl CursorMatchesFacts {
    pub fn new(run: &Arc<Run>) -> CursorMatchesFacts {
        CursorMatchesFacts { run: Arc::clone(run), canon: Canon::default(), nodes: run.each() }
    }

    fn appended(&mut self, node: PartyId, event: &Event) -> Result<(), Violation> {
        let taken = self.nodes[node.0].take(event);
        let (Event::BlockAdded { block, .. } | Event::BlocksReverted { to: block }) = event else {
            return Ok(());
        };
        let wrong = |why: &str, channel: Option<ChannelId>| {
            let name = self.run.name(node);
            let what = format!("{name} logged block {}: {why}", block.number);
            Violation::safety("cursor-matches-facts", node, channel, what)
        };
        taken.map_err(|why| wrong(why, None))?;
        let Event::BlockAdded { logs, .. } = event else { return Ok(()) };
        let watched = &self.nodes[node.0].watched;
        let real = self.canon.block_with_logs(block.hash).map_or(&[][..], |b| &b.logs);
        let mut due = real.iter().filter(|l| watched.contains(&l.log.channel()));
        for log in logs {
            if due.next() != Some(log) {
                return Err(wrong("with a log that it does not have", Some(log.log.channel())));
            }
        }
        match due.next() {
            Some(missed) => Err(wrong("without a log of its channel", Some(missed.log.channel()))),
            None => Ok(()),
        }
    }

    fn restart(&mut self, node: PartyId, log: &[(Timestamp, Event)]) {
        let mut fresh = Cursor::default();
        for (_, event) in log {
            // It was checked when it was appended.
            let _ = fresh.take(event);
        }
        self.nodes[node.0] = fresh;
    }
}

impl Invariant for CursorMatchesFacts {
    fn name(&self) -> &'static str {
        "cursor-matches-facts"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I24"]
    }

    fn statement(&self) -> &'static str {
        "every logged block extends the one before it and carries exactly the logs of the watched channels"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Block { chain, .. } => self.canon.follow(chain),
            Observed::Appended { node, events, .. } => {
                for (_, event) in *events {
                    self.appended(*node, event)?;
                }
            }
            Observed::Restarted { node, log, .. } => self.restart(*node, log),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use fairway_core::chain_types::BlockRef;

    #[test]
    fn the_chain_as_it_is_passes() {
        let mut story = Story::funded("cursor-matches-facts");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.restarts(ALICE, false).unwrap();
        story.logs(ALICE, vec![Event::BlocksReverted { to: block(7) }]).unwrap();
        story.logs(ALICE, blocks(8..=9)).unwrap();
    }

    #[test]
    fn what_the_chain_does_not_say_is_noticed() {
        let gap = [blocks(0..=3), blocks(5..=5)].concat();
        let unknown = vec![Event::BlocksReverted { to: BlockRef::default() }];
        let withheld = opened(ALICE).into_iter().map(without_logs).collect::<Vec<_>>();
        let made_up = [opened(ALICE), vec![concluded_in(10)]].concat();
        for (name, log) in [
            ("a gap", gap),
            ("another chain", unknown),
            ("a log left out", withheld),
            ("made up", made_up),
        ] {
            let mut story = Story::funded("cursor-matches-facts");
            let violation = story.logs(ALICE, log).expect_err(name);
            assert_fires(&violation, "cursor-matches-facts", ALICE);
        }
    }
}
