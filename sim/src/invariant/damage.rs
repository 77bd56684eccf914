//! I33, I36: what a disk may do to a log.
//!
//! I33: after a restart the log is a prefix of what the node appended, and holds everything that was synced, unless the disk went back
//! in time. I36: whatever was done to the disk, what a node reads back at a position is what was once written there; lost facts are
//! cut, mended or refused, never replaced by others.
//!
//! Events are remembered by a fingerprint; see [`print`].

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_core::chain_types::B256;
use fairway_core::event::{Event, MessageKey, WantedTx};
use fairway_core::nitro::Signature;
use fairway_core::types::{Amount, ChannelId, Timestamp};

use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct LogIsPrefixClosed {
    run: Arc<Run>,
    nodes: Vec<Written>,
}

/// What one node has written, by position.
#[derive(Debug, Default)]
struct Written {
    prints: Vec<u64>,
    synced: usize,
    /// The node has released something since it started: what it read then counts as durable.
    relied_on: bool,
}

impl LogIsPrefixClosed {
    pub fn new(run: &Arc<Run>) -> LogIsPrefixClosed {
        LogIsPrefixClosed { run: Arc::clone(run), nodes: run.each() }
    }

    fn restarted(
        &mut self,
        node: PartyId,
        log: &[(Timestamp, Event)],
        may_have_forgotten: bool,
    ) -> Result<(), Violation> {
        let written = &mut self.nodes[node.0];
        let read: Vec<u64> = log.iter().map(|(at, event)| print(*at, event)).collect();
        let shared = read.iter().zip(&written.prints).take_while(|(a, b)| a == b).count();
        let (kept, synced) = (read.len(), written.synced);
        let appended = std::mem::replace(&mut written.prints, read).len();
        written.synced = if may_have_forgotten { kept } else { synced.min(kept) };
        written.relied_on = false;
        let broken = |what: String| {
            let what = format!("{} restarted over a log {what}", self.run.name(node));
            Err(Violation::safety("log-is-prefix-closed", node, None, what))
        };
        // The first observation of a node whose log is older than the run.
        if may_have_forgotten || appended == 0 && synced == 0 {
            return Ok(());
        }
        if shared < kept {
            return broken(format!("that differs from what it wrote at record {}", shared + 1));
        }
        if kept < synced {
            return broken(format!("of {kept} records although {synced} were synced"));
        }
        Ok(())
    }

    fn relies(&mut self, node: PartyId) {
        let written = &mut self.nodes[node.0];
        if !written.relied_on {
            written.relied_on = true;
            // Whatever was appended since the start was observed; the rest was read back and is relied on now.
            written.synced = written.synced.max(written.prints.len());
        }
    }
}

impl Invariant for LogIsPrefixClosed {
    fn name(&self) -> &'static str {
        "log-is-prefix-closed"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I33"]
    }

    fn statement(&self) -> &'static str {
        "a restarted log is a prefix of what was appended and holds everything that was synced"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, first, events } => {
                let written = &mut self.nodes[node.0];
                written.prints.truncate((first.0.saturating_sub(1)) as usize);
                written.prints.extend(events.iter().map(|(at, event)| print(*at, event)));
                written.relied_on = true;
            }
            Observed::Synced { node, end } => self.nodes[node.0].synced = end.0 as usize,
            Observed::Sent { node, .. } | Observed::Submitted { node, .. }
                if self.run.honest(*node) =>
            {
                self.relies(*node);
            }
            Observed::Restarted { node, log, may_have_forgotten, .. } => {
                self.restarted(*node, log, *may_have_forgotten)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct DamageIsNeverSilent {
    run: Arc<Run>,
    /// Everything that was ever written, by node and position.
    written: Vec<BTreeSet<(u64, u64)>>,
    seen: Vec<bool>,
}

impl DamageIsNeverSilent {
    pub fn new(run: &Arc<Run>) -> DamageIsNeverSilent {
        DamageIsNeverSilent { run: Arc::clone(run), written: run.each(), seen: run.each() }
    }

    fn restarted(&mut self, node: PartyId, log: &[(Timestamp, Event)]) -> Result<(), Violation> {
        let written = &mut self.written[node.0];
        let prints = (1u64..).zip(log.iter().map(|(at, event)| print(*at, event)));
        if !std::mem::replace(&mut self.seen[node.0], true) {
            written.extend(prints);
            return Ok(());
        }
        for (lsn, print) in prints {
            if !written.contains(&(lsn, print)) {
                let (at, event) = &log[lsn as usize - 1];
                let name = self.run.name(node);
                let what = format!(
                    "{name} read {} of {} ms at record {lsn}, which it never wrote there",
                    event.name(),
                    at.0,
                );
                return Err(Violation::safety(
                    "damage-is-never-silent",
                    node,
                    event.channel(),
                    what,
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for DamageIsNeverSilent {
    fn name(&self) -> &'static str {
        "damage-is-never-silent"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I36"]
    }

    fn statement(&self) -> &'static str {
        "a node never reads back at a position of its log what it did not write there"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Appended { node, first, events } => {
                self.seen[node.0] = true;
                let prints = events.iter().map(|(at, event)| print(*at, event));
                self.written[node.0].extend((first.0..).zip(prints));
            }
            Observed::Restarted { node, log, .. } => self.restarted(*node, log)?,
            _ => {}
        }
        Ok(())
    }
}

/// A fingerprint of one record: time, kind, and whatever of its content tells it from others of the kind. Two records that differ
/// only in what follows from the rest may share one; a hash of all bytes would cost more than everything else here.
fn print(at: Timestamp, event: &Event) -> u64 {
    let mut mix = Mix(at.0);
    mix.text(event.name());
    if let Some(channel) = event.channel() {
        mix.channel(channel);
    }
    match event {
        Event::StateSigned { state, .. }
        | Event::StateReceived { state, .. }
        | Event::StatePublished { state } => {
            mix.hash(state.hash());
            state.sigs().iter().for_each(|(index, sig)| {
                mix.number(u64::from(*index));
                mix.signature(sig);
            });
        }
        Event::ObjectiveApproved { id, origin, .. } | Event::VirtualApproved { id, origin, .. } => {
            mix.number(id.kind as u64);
            mix.number(*origin as u64);
        }
        Event::ObjectiveRejected { id, .. } | Event::ObjectiveCompleted { id } => {
            mix.number(id.kind as u64);
        }
        Event::DepositWanted { held_before, amount, .. } => {
            mix.amount(*held_before);
            mix.amount(*amount);
        }
        Event::TxWanted { tx, .. } => mix.tx(tx),
        Event::BlockAdded { block, logs } => {
            mix.hash(block.hash);
            mix.number(logs.len() as u64);
        }
        Event::BlocksReverted { to } => mix.hash(to.hash),
        Event::MessageAcked { what, .. } => match what {
            MessageKey::State(turn) => mix.number(turn.get()),
            MessageKey::UpdateRequest(id) => mix.number(!id.0),
            MessageKey::StateTo(turn, to) => {
                mix.number(turn.get());
                mix.number(u64::from(*to));
            }
            MessageKey::Voucher(total) => mix.amount(*total),
            MessageKey::CloseRequest | MessageKey::FinalRequest => {}
        },
        Event::LedgerNamed { ledger, .. } => mix.channel(*ledger),
        Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
            mix.amount(voucher.amount);
            mix.signature(&voucher.sig);
        }
        Event::PaymentAppPinned { app } => mix.bytes(&app[..]),
        Event::UpdateWanted { update, .. } => {
            mix.number(update.id.0);
            mix.number(u64::from(update.payer));
            mix.amount(update.amount);
        }
        Event::UpdateDropped { id, .. } => mix.number(id.0),
        Event::ReclaimShown { block, target, .. } => {
            mix.number(block.0);
            mix.channel(*target);
        }
        Event::Pinned(pins) => mix.number(pins.chain_id),
        Event::RecoveryEntered { .. } | Event::ChannelWitnessed { .. } | Event::RecoveryEnded => {}
    }
    mix.0
}

/// A hash for equality alone: fast, and the same everywhere.
struct Mix(u64);

impl Mix {
    fn number(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn hash(&mut self, hash: B256) {
        self.bytes(&hash[..16]);
    }

    fn channel(&mut self, channel: ChannelId) {
        self.bytes(&channel.0[..8]);
    }

    fn signature(&mut self, sig: &Signature) {
        self.bytes(&sig.0[32..48]);
    }

    fn amount(&mut self, amount: Amount) {
        amount.0.as_limbs().iter().for_each(|limb| self.number(*limb));
    }

    fn tx(&mut self, tx: &WantedTx) {
        match tx {
            WantedTx::Challenge { turn, challenger_sig } => {
                self.number(1 + (turn.get() << 3));
                self.signature(challenger_sig);
            }
            WantedTx::Checkpoint { turn } => self.number(2 + (turn.get() << 3)),
            WantedTx::Conclude => self.number(3),
            WantedTx::TransferAll => self.number(4),
            WantedTx::TransferMine => self.number(5),
            WantedTx::Redeem { voucher, sig, challenger_sig } => {
                self.number(6);
                self.amount(voucher.amount);
                self.signature(sig);
                self.signature(challenger_sig);
            }
            WantedTx::Reclaim { target } => {
                self.number(7);
                self.channel(*target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;

    const BOTH: [&str; 2] = ["log-is-prefix-closed", "damage-is-never-silent"];

    #[test]
    fn a_crash_may_take_what_was_not_synced() {
        for name in BOTH {
            let mut story = Story::of(name);
            story.logs(ALICE, opened(ALICE)).unwrap();
            story.appends(ALICE, blocks(10..=10)).unwrap();
            story.crashes_and_loses_the_unsynced(ALICE).unwrap();
            story.logs(ALICE, blocks(10..=11)).unwrap();
            story.restarts(ALICE, false).unwrap();
        }
    }

    #[test]
    fn a_crash_may_not_take_what_was_synced() {
        let mut story = Story::of("log-is-prefix-closed");
        story.logs(ALICE, opened(ALICE)).unwrap();
        let log = story.log(ALICE);
        let violation = story.restarts_over_log(ALICE, &log[..5], false).unwrap_err();
        assert_fires(&violation, "log-is-prefix-closed", ALICE);

        let mut story = Story::of("log-is-prefix-closed");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.restarts_over_log(ALICE, &log[..5], true).unwrap();
    }

    #[test]
    fn what_was_read_back_and_relied_on_counts_as_synced() {
        for relies in [false, true] {
            let mut story = Story::of("log-is-prefix-closed");
            story.logs(ALICE, opened(ALICE)).unwrap();
            let short = story.log(ALICE);
            story.appends(ALICE, blocks(10..=10)).unwrap();
            let long = story.log(ALICE);
            story.restarts_over_log(ALICE, &long, false).unwrap();
            if relies {
                story.says(ALICE, BOB, &state(1, [5, 5])).unwrap();
            }
            let lost = story.restarts_over_log(ALICE, &short, false);
            assert_eq!(lost.is_err(), relies);
        }
    }

    #[test]
    fn another_event_in_its_place_is_noticed() {
        for name in BOTH {
            for forgotten in [false, true] {
                let mut story = Story::of(name);
                story.logs(ALICE, opened(ALICE)).unwrap();
                let mut log = story.log(ALICE);
                let last = log.len() - 1;
                log[last].1 = signs(&state(2, [1, 9]), ALICE);
                let restarted = story.restarts_over_log(ALICE, &log, forgotten);
                if name == "log-is-prefix-closed" && forgotten {
                    restarted.unwrap();
                } else {
                    assert_fires(&restarted.unwrap_err(), name, ALICE);
                }
            }
        }
    }
}
