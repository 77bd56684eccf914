//! Listens to a run and writes down what happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::event::{Event, WantedTx};
use fairway_core::nitro::{Call, State};
use fairway_core::types::{Address, BlockNum, Lsn, TurnNum};
use fairway_core::wire::{WIRE_VERSION_MAX, Wire};

use super::explain::what_broke;
use super::words::{call_amount, call_state, capitalized, wire_channel, wire_noun, wire_turn};
use super::{
    ChainState, Lane, Line, LineKind, Names, PartyState, Recording, Snapshot, StateAt, Up,
};
use crate::invariant::Violation;
use crate::observe::{Observed, PartyId, PartyInfo};
use crate::world::chain::{ChainSim, Fate, Submission};

/// Collects a [`Recording`]. Feed it every observation in order, then the violation, if there was one.
#[derive(Clone, Debug)]
pub struct Recorder {
    names: Names,
    lines: Vec<Line>,
    snapshots: Vec<Snapshot>,
    parties: BTreeMap<PartyId, PartyState>,
    chain: Option<ChainState>,
    /// Lines of messages by sender, addressee and content, oldest first.
    under_way: BTreeMap<Content, Vec<usize>>,
    /// Lines of submitted transactions.
    submitted: Vec<(PartyId, Call, usize)>,
    head: BlockNum,
}

/// A message's sender, addressee and bytes; no bytes for what is no message.
type Content = (PartyId, PartyId, Option<Vec<u8>>);

impl Recorder {
    /// A recorder of a run of these parties.
    pub fn new(parties: &[PartyInfo]) -> Recorder {
        Recorder {
            names: Names::new(parties),
            lines: Vec::new(),
            snapshots: Vec::new(),
            parties: BTreeMap::new(),
            chain: None,
            under_way: BTreeMap::new(),
            submitted: Vec::new(),
            head: BlockNum(0),
        }
    }

    /// What was recorded so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Who is who.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Adds a line as it is.
    #[cfg(test)]
    pub(super) fn push_for_test(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// The end of the recording.
    pub fn finish(self) -> Recording {
        Recording { names: self.names, lines: self.lines, snapshots: self.snapshots }
    }

    /// A property broke.
    pub fn violated(&mut self, now_ns: u64, violation: &Violation) {
        let party = violation.by.or(violation.loss.map(|(who, _)| who));
        let lane = party.map_or(Lane::World, Lane::Party);
        let text = format!("{} is violated: {}", violation.invariant, what_broke(violation));
        let mut line = Line::new(now_ns, LineKind::Violation, lane, text);
        line.channel = violation.channel;
        line.amount = violation.loss.map(|(_, amount)| amount);
        self.lines.push(line);
    }

    /// Takes one observation down.
    pub fn record(&mut self, now_ns: u64, seen: &Observed<'_>) {
        match seen {
            Observed::Appended { node, first, events } => {
                for (_, event) in *events {
                    self.event(now_ns, *node, event);
                }
                // The rest of its state is not seen before it rests.
                if let Some(mut state) = self.parties.get(node).cloned() {
                    let others = events.len().saturating_sub(1) as u64;
                    state.lsn = state.lsn.max(Lsn(first.0.saturating_add(others)));
                    self.party_state(now_ns, *node, state);
                }
            }
            Observed::Synced { node, end } => {
                let text = format!("{}'s log is durable up to {end}", self.names.party(*node));
                self.at(now_ns, LineKind::Sync, *node, text);
                if let Some(mut state) = self.parties.get(node).cloned() {
                    state.durable = *end;
                    state.lsn = state.lsn.max(*end);
                    self.party_state(now_ns, *node, state);
                }
            }
            Observed::Sent { node, to, wire, bytes } => self.sent(now_ns, *node, *to, *wire, bytes),
            Observed::Delivered { node, from, wire } => self.delivered(now_ns, *node, *from, *wire),
            Observed::Submitted { node, call } => self.submitted(now_ns, *node, call),
            Observed::Notified { node, notice } => {
                let text = self.names.notice(&self.names.party(*node), notice);
                self.at(now_ns, LineKind::Notice, *node, text);
            }
            Observed::Refused { node, refusal } => {
                let text = self.names.refusal(&self.names.party(*node), refusal);
                self.at(now_ns, LineKind::Refusal, *node, text);
            }
            Observed::Rested { node, state, durable, refused } => {
                self.party_state(now_ns, *node, PartyState::of(state, *durable, *refused));
            }
            // Where both speak the newest, there is nothing to tell.
            Observed::Session { node, peer, version: Some(version) }
                if *version < WIRE_VERSION_MAX =>
            {
                let (who, other) = (self.names.party(*node), self.names.party(*peer));
                let text = format!("{who} meets {other}: they speak wire version {version}");
                self.at(now_ns, LineKind::Phase, *node, text);
            }
            Observed::Session { .. } => {}
            Observed::Crashed { node } => {
                let text = format!("{} dies without warning", self.names.party(*node));
                self.at(now_ns, LineKind::Crash, *node, text);
                self.set_up(now_ns, *node, Up::Down);
            }
            Observed::Restarted { node, log, state, may_have_forgotten } => {
                let who = self.names.party(*node);
                let doubt = if *may_have_forgotten { "; some may be missing" } else { "" };
                let events = if log.len() == 1 { "event" } else { "events" };
                let held = format!("{} {events} in its log{doubt}", log.len());
                let text = format!("{who} starts again with {held}");
                self.at(now_ns, LineKind::Restart, *node, text);
                let refused = self.parties.get(node).map_or(0, |p| p.refused);
                self.party_state(now_ns, *node, PartyState::of(state, state.lsn(), refused));
            }
            Observed::Stopped { node, why } => {
                let text = format!("{} stops: {why}", self.names.party(*node));
                self.at(now_ns, LineKind::Stop, *node, text);
                self.set_up(now_ns, *node, Up::Stopped);
            }
            Observed::Block { chain, replaced } => self.block(now_ns, chain, *replaced),
            Observed::Fault { what, .. } => {
                let lane = self.mentioned(what).map_or(Lane::World, Lane::Party);
                self.lines.push(Line::new(now_ns, LineKind::Fault, lane, capitalized(what)));
            }
            Observed::Healed => self.world(now_ns, "all faults have ended"),
            Observed::Ended { .. } => self.world(now_ns, "the run is over"),
        }
    }

    fn world(&mut self, now_ns: u64, text: &str) {
        self.lines.push(Line::new(now_ns, LineKind::Phase, Lane::World, capitalized(text)));
    }

    fn at(&mut self, now_ns: u64, kind: LineKind, node: PartyId, text: String) -> &mut Line {
        let at = self.lines.len();
        self.lines.push(Line::new(now_ns, kind, Lane::Party(node), capitalized(&text)));
        &mut self.lines[at]
    }

    fn event(&mut self, now_ns: u64, node: PartyId, event: &Event) {
        let me = self.address(node);
        if let Event::ObjectiveApproved { id, terms: Some(terms), .. } = event {
            self.names.learn_channel(id.channel, &terms.participants);
        }
        if let Event::VirtualApproved { id, terms, .. } = event {
            self.names.learn_channel(id.channel, &terms.participants);
        }
        if let Event::StateSigned { state, .. }
        | Event::StateReceived { state, .. }
        | Event::StatePublished { state } = event
        {
            self.names.learn(state.state());
        }
        let text = self.names.event(me, event);
        let line = self.at(now_ns, event_kind(event), node, text);
        line.channel = event.channel();
        line.turn = event_turn(event);
        if let Event::DepositWanted { amount, .. } = event {
            line.amount = Some(*amount);
        }
        if let Event::UpdateWanted { update, .. } = event {
            line.amount = Some(update.amount);
        }
    }

    fn sent(&mut self, now_ns: u64, from: PartyId, to: PartyId, wire: Option<&Wire>, bytes: &[u8]) {
        for claim in wire.into_iter().flat_map(Wire::claims) {
            self.names.learn(&claim.state);
        }
        let (sender, addressee) = (self.names.party(from), self.names.party(to));
        let text = self.names.sends(&sender, &addressee, wire, bytes.len());
        let at = self.lines.len();
        let line = self.at(now_ns, wire_kind(wire), from, text);
        line.to = Some(Lane::Party(to));
        line.channel = wire.map(wire_channel);
        line.turn = wire.and_then(wire_turn);
        let key = (from, to, wire.map(Wire::encode));
        self.under_way.entry(key).or_default().push(at);
    }

    /// The last message with this content that did not arrive yet is taken for the one that arrives now, because nodes resend
    /// after much more than a message's way; a further arrival is a duplicate.
    fn delivered(&mut self, now_ns: u64, node: PartyId, from: PartyId, wire: Option<&Wire>) {
        let key = (from, node, wire.map(Wire::encode));
        let candidates = self.under_way.get(&key).map_or(&[][..], Vec::as_slice);
        let fresh = candidates.iter().rfind(|at| self.lines[**at].arrived == 0);
        let sent_in = fresh.or(candidates.last()).copied();
        let (who, sender) = (self.names.party(node), self.names.party(from));
        let mut text = format!("{who} receives {} from {sender}", wire_noun(wire));
        if let Some(sent) = sent_in.and_then(|at| self.lines.get_mut(at)) {
            sent.arrived += 1;
            if sent.arrived > 1 {
                text.push_str(" once more");
            }
        }
        let line = self.at(now_ns, wire_kind(wire), node, text);
        line.sent_in = sent_in;
        line.channel = wire.map(wire_channel);
        line.turn = wire.and_then(wire_turn);
    }

    fn submitted(&mut self, now_ns: u64, node: PartyId, call: &Call) {
        if let Some(state) = call_state(call) {
            self.names.learn(state);
        }
        let text = format!("{} submits a {}", self.names.party(node), self.names.call(call));
        let at = self.lines.len();
        let line = self.at(now_ns, LineKind::Submit, node, text);
        line.to = Some(Lane::Chain);
        about(line, call);
        self.submitted.push((node, call.clone(), at));
    }

    fn block(&mut self, now_ns: u64, chain: &ChainSim, replaced: u64) {
        let head = chain.head().number;
        let fork = BlockNum(self.head.0.saturating_sub(replaced));
        let text = match replaced {
            0 => format!("block {head} is mined"),
            1 => format!("a reorg replaces 1 block; the head is now block {head}"),
            n => format!("a reorg replaces {n} blocks; the head is now block {head}"),
        };
        let kind = if replaced == 0 { LineKind::Block } else { LineKind::Reorg };
        self.lines.push(Line::new(now_ns, kind, Lane::Chain, capitalized(&text)));
        for tx in chain.submissions() {
            if let Fate::Included { block, result } = tx.fate
                && block.number > fork
            {
                self.mined(now_ns, tx, block.number, result.err().map(|e| e.to_string()));
            }
        }
        self.head = head;
        let state = ChainState::of(chain, &self.names);
        if self.chain.as_ref() != Some(&state) {
            self.chain = Some(state.clone());
            let (after, of) = (self.lines.len(), StateAt::Chain(state));
            self.snapshots.push(Snapshot { after, at_ns: now_ns, of });
        }
    }

    fn mined(&mut self, now_ns: u64, tx: &Submission, block: BlockNum, failure: Option<String>) {
        let call = Arc::as_ref(&tx.call);
        let what = format!("{}'s {}", self.names.of(tx.from), self.names.call(call));
        let (kind, text) = match failure {
            None => (LineKind::Mined, format!("{what} is mined in block {block}")),
            Some(why) => (LineKind::Reverted, format!("{what} reverts in block {block}: {why}")),
        };
        let from = self.names.id_of(tx.from);
        let sent_in = self.submitted.iter().position(|(who, c, _)| Some(*who) == from && c == call);
        let sent_in = sent_in.map(|i| self.submitted[i].2);
        if let Some(sent) = sent_in.and_then(|at| self.lines.get_mut(at)) {
            sent.arrived += 1;
        }
        let mut line = Line::new(now_ns, kind, Lane::Chain, text);
        line.sent_in = sent_in;
        about(&mut line, call);
        self.lines.push(line);
    }

    fn party_state(&mut self, now_ns: u64, node: PartyId, state: PartyState) {
        if self.parties.get(&node) != Some(&state) {
            self.parties.insert(node, state.clone());
            let (after, of) = (self.lines.len(), StateAt::Party(node, state));
            self.snapshots.push(Snapshot { after, at_ns: now_ns, of });
        }
    }

    fn set_up(&mut self, now_ns: u64, node: PartyId, up: Up) {
        let state = self.parties.get(&node).cloned().unwrap_or_default();
        self.party_state(now_ns, node, PartyState { up, ..state });
    }

    fn address(&self, node: PartyId) -> Address {
        self.names.parties.get(node.0).map_or(Address::ZERO, |p| p.address)
    }

    /// The party that a sentence names first.
    fn mentioned(&self, text: &str) -> Option<PartyId> {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let of_word =
            |w: &&str| self.names.parties.iter().position(|p| p.name.to_lowercase() == **w);
        words.iter().find_map(of_word).map(PartyId)
    }
}

/// Puts down which channel, turn and money a transaction is about.
fn about(line: &mut Line, call: &Call) {
    line.channel = Some(call.channel());
    line.turn = call_state(call).map(|s: &State| s.turn);
    line.amount = call_amount(call);
}

fn event_kind(event: &Event) -> LineKind {
    match event {
        Event::ObjectiveApproved { .. }
        | Event::VirtualApproved { .. }
        | Event::ObjectiveRejected { .. }
        | Event::ObjectiveCompleted { .. }
        | Event::RecoveryEntered { .. }
        | Event::RecoveryEnded => LineKind::Objective,
        Event::StateSigned { .. } | Event::VoucherSigned { .. } => LineKind::Sign,
        Event::StateReceived { .. }
        | Event::StatePublished { .. }
        | Event::ReclaimShown { .. }
        | Event::VoucherReceived { .. } => LineKind::Receive,
        Event::Pinned(_)
        | Event::PaymentAppPinned { .. }
        | Event::LedgerNamed { .. }
        | Event::DepositWanted { .. }
        | Event::TxWanted { .. }
        | Event::BlockAdded { .. }
        | Event::BlocksReverted { .. }
        | Event::MessageAcked { .. }
        | Event::UpdateWanted { .. }
        | Event::UpdateDropped { .. }
        | Event::ChannelWitnessed { .. } => LineKind::Log,
    }
}

fn event_turn(event: &Event) -> Option<TurnNum> {
    match event {
        Event::StateSigned { state, .. }
        | Event::StateReceived { state, .. }
        | Event::StatePublished { state } => Some(state.turn()),
        Event::TxWanted {
            tx: WantedTx::Challenge { turn, .. } | WantedTx::Checkpoint { turn },
            ..
        } => Some(*turn),
        Event::TxWanted { tx: WantedTx::Redeem { .. }, .. } => Some(TurnNum::REDEMPTION),
        Event::TxWanted {
            tx:
                WantedTx::Conclude
                | WantedTx::TransferAll
                | WantedTx::TransferMine
                | WantedTx::Reclaim { .. },
            ..
        }
        | Event::PaymentAppPinned { .. }
        | Event::VirtualApproved { .. }
        | Event::LedgerNamed { .. }
        | Event::VoucherSigned { .. }
        | Event::VoucherReceived { .. }
        | Event::Pinned(_)
        | Event::ObjectiveApproved { .. }
        | Event::ObjectiveRejected { .. }
        | Event::ObjectiveCompleted { .. }
        | Event::DepositWanted { .. }
        | Event::BlockAdded { .. }
        | Event::BlocksReverted { .. }
        | Event::MessageAcked { .. }
        | Event::UpdateWanted { .. }
        | Event::UpdateDropped { .. }
        | Event::RecoveryEntered { .. }
        | Event::ChannelWitnessed { .. }
        | Event::ReclaimShown { .. }
        | Event::RecoveryEnded => None,
    }
}

fn wire_kind(wire: Option<&Wire>) -> LineKind {
    if matches!(wire, Some(Wire::Ack { .. })) { LineKind::Ack } else { LineKind::Message }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::{Fate, fates};
    use super::*;
    use fairway_core::event::Origin;
    use std::fmt::Write;

    #[test]
    fn a_run_reads_like_a_story() {
        let mut text = String::new();
        let recorder = recorded_run();
        for (line, fate) in recorder.lines().iter().zip(fates(recorder.lines())) {
            let at = super::super::explain::clock(line.at_ns);
            let lost = if fate == Fate::Lost { " [lost]" } else { "" };
            writeln!(text, "{at:>8}  {:<9} {}{lost}", line.kind.name(), line.text).unwrap();
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_message_meets_its_arrivals() {
        let recorder = recorded_run();
        let arrivals: Vec<&Line> =
            recorder.lines().iter().filter(|l| l.sent_in.is_some()).collect();
        let messages: Vec<&&Line> =
            arrivals.iter().filter(|l| l.kind == LineKind::Message).collect();
        assert_eq!(messages.len(), 2);
        let sent = &recorder.lines()[messages[0].sent_in.unwrap()];
        assert_eq!((sent.arrived, sent.to), (2, Some(Lane::Party(PartyId(0)))));
        assert!(messages[1].text.ends_with("once more"));
    }

    #[test]
    fn states_follow_the_lines_and_repeat_nothing() {
        let recording = recorded_run().finish();
        let of_alice: Vec<&PartyState> = recording
            .snapshots
            .iter()
            .filter_map(|s| match &s.of {
                StateAt::Party(PartyId(0), state) => Some(state),
                StateAt::Party(..) | StateAt::Chain(_) => None,
            })
            .collect();
        let ups: Vec<Up> = of_alice.iter().map(|s| s.up).collect();
        assert_eq!(ups, [Up::Running, Up::Down, Up::Running]);
        assert!(recording.snapshots.is_sorted_by_key(|s| s.after));
        assert!(of_alice.windows(2).all(|w| w[0] != w[1]));
    }

    #[test]
    fn a_batch_is_written_before_it_is_durable() {
        let mut recorder = recorded_run();
        let batch =
            [(Default::default(), opens(Origin::User)), (Default::default(), opens(Origin::User))];
        recorder.record(0, &Observed::Appended { node: PartyId(0), first: Lsn(9), events: &batch });
        let alice = &recorder.parties[&PartyId(0)];
        assert_eq!((alice.lsn, alice.durable), (Lsn(10), Lsn(2)));
        assert_eq!(recorder.snapshots.last().map(|s| s.after), Some(recorder.lines().len()));
    }

    #[test]
    fn a_fault_stands_at_the_party_that_it_names() {
        let mut recorder = Recorder::new(&parties());
        for (what, lane) in [
            ("the disk of bob is full", Lane::Party(PartyId(1))),
            ("a partition between alice and bob", Lane::Party(PartyId(0))),
            ("alicebob is nobody", Lane::World),
        ] {
            recorder.record(0, &fault(what));
            assert_eq!(recorder.lines().last().unwrap().lane, lane, "{what}");
        }
    }
}
