//! The lines of a recorded run: what is kept of each observation.

use std::io::{self, Write};

use fairway_core::types::{Amount, ChannelId, TurnNum};
use serde::{Deserialize, Serialize};

use super::{Names, Snapshot};
use crate::observe::PartyId;

/// A recorded run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Who and what the lines speak of.
    pub names: Names,
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// States at rest and blocks, in order; each belongs behind so many lines.
    pub snapshots: Vec<Snapshot>,
}

impl Recording {
    /// Writes one line of JSON for each line of the story.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_jsonl(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in &self.lines {
            serde_json::to_writer(&mut *out, line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The line in which a property broke, if one did.
    pub fn failing_step(&self) -> Option<usize> {
        self.lines.iter().rposition(|l| l.kind == LineKind::Violation)
    }
}

/// One thing that happened, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Virtual time since the start of the run.
    pub at_ns: u64,
    /// What sort of thing.
    pub kind: LineKind,
    /// Where it happened.
    pub lane: Lane,
    /// Where it goes: a message's addressee, the chain for a transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Lane>,
    /// For an arrival, a mined or a reverted transaction: the line that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_in: Option<usize>,
    /// For what was sent: how often it arrived, or was mined.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub arrived: u32,
    /// One clause without a full stop.
    pub text: String,
    /// The channel that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
    /// The turn that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNum>,
    /// The money that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Line {
    /// A line about nothing in particular.
    pub fn new(at_ns: u64, kind: LineKind, lane: Lane, text: impl Into<String>) -> Line {
        Line {
            at_ns,
            kind,
            lane,
            to: None,
            sent_in: None,
            arrived: 0,
            text: text.into(),
            channel: None,
            turn: None,
            amount: None,
        }
    }

    /// Whether the line happens at this party, or is addressed to it.
    pub fn touches(&self, party: PartyId) -> bool {
        self.lane == Lane::Party(party) || self.to == Some(Lane::Party(party))
    }
}

/// What became of a line that went somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not of the sort that goes anywhere.
    Stays,
    /// It arrived, or was mined.
    Arrives,
    /// The recording ends too early to tell.
    UnderWay,
    /// It reached nobody.
    Lost,
}

/// The fates of all lines of a recording, or of its beginning.
///
/// Something counts as lost when everything else of its sort that arrived took less time than was left to it.
pub fn fates(lines: &[Line]) -> Vec<Fate> {
    let end_ns = lines.last().map_or(0, |l| l.at_ns);
    let longest_ns = |is_tx: bool| {
        let took = |l: &Line| {
            let sent = lines.get(l.sent_in?)?;
            let same = (sent.kind == LineKind::Submit) == is_tx;
            same.then(|| l.at_ns.saturating_sub(sent.at_ns))
        };
        lines.iter().filter_map(took).max().unwrap_or(0)
    };
    let [message_ns, tx_ns] = [longest_ns(false), longest_ns(true)];
    let fate = |line: &Line| {
        let limit = if line.kind == LineKind::Submit { tx_ns } else { message_ns };
        match line.to {
            None => Fate::Stays,
            Some(_) if line.arrived > 0 => Fate::Arrives,
            Some(_) if line.at_ns.saturating_add(limit) < end_ns => Fate::Lost,
            Some(_) => Fate::UnderWay,
        }
    };
    lines.iter().map(fate).collect()
}

/// Where something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// At a party.
    Party(PartyId),
    /// On the chain.
    Chain,
    /// Everywhere.
    World,
}

/// What sort of thing a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// Somebody or the world was harmed.
    Fault,
    /// A node died.
    Crash,
    /// A node started over its files.
    Restart,
    /// A node refused to go on.
    Stop,
    /// An objective began or ended.
    Objective,
    /// A node signed a state.
    Sign,
    /// A node logged a peer's signatures.
    Receive,
    /// A node logged something else.
    Log,
    /// A log became durable.
    Sync,
    /// A message left or arrived.
    Message,
    /// An acknowledgement left or arrived.
    Ack,
    /// A transaction was submitted.
    Submit,
    /// A transaction was mined and did something.
    Mined,
    /// A transaction was mined and did nothing.
    Reverted,
    /// A block was mined.
    Block,
    /// Blocks were replaced.
    Reorg,
    /// A node told its user something.
    Notice,
    /// A node refused its user something.
    Refusal,
    /// A new part of the run begins.
    Phase,
    /// A property broke here.
    Violation,
}

impl LineKind {
    /// All kinds, in the order of the enum.
    pub const ALL: [LineKind; 20] = [
        LineKind::Fault,
        LineKind::Crash,
        LineKind::Restart,
        LineKind::Stop,
        LineKind::Objective,
        LineKind::Sign,
        LineKind::Receive,
        LineKind::Log,
        LineKind::Sync,
        LineKind::Message,
        LineKind::Ack,
        LineKind::Submit,
        LineKind::Mined,
        LineKind::Reverted,
        LineKind::Block,
        LineKind::Reorg,
        LineKind::Notice,
        LineKind::Refusal,
        LineKind::Phase,
        LineKind::Violation,
    ];

    /// Its name in recordings and pages.
    pub fn name(self) -> &'static str {
        match self {
            LineKind::Fault => "fault",
            LineKind::Crash => "crash",
            LineKind::Restart => "restart",
            LineKind::Stop => "stop",
            LineKind::Objective => "objective",
            LineKind::Sign => "sign",
            LineKind::Receive => "receive",
            LineKind::Log => "log",
            LineKind::Sync => "sync",
            LineKind::Message => "message",
            LineKind::Ack => "ack",
            LineKind::Submit => "submit",
            LineKind::Mined => "mined",
            LineKind::Reverted => "reverted",
            LineKind::Block => "block",
            LineKind::Reorg => "reorg",
            LineKind::Notice => "notice",
            LineKind::Refusal => "refusal",
            LineKind::Phase => "phase",
            LineKind::Violation => "violation",
        }
    }

    /// Whether the line tells what was done to the parties, not what they did.
    pub fn is_fault(self) -> bool {
        matches!(self, LineKind::Fault | LineKind::Crash | LineKind::Stop | LineKind::Reorg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_recording() {
        for kind in LineKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    /// Alice's first message takes 30 ns, the second never arrives, the third has only 20 ns left.
    #[test]
    fn what_had_time_enough_to_arrive_and_did_not_is_lost() {
        let alice = Lane::Party(PartyId(0));
        let at = |ns| Line::new(ns, LineKind::Message, alice, "");
        let sent = |ns| Line { to: Some(Lane::Party(PartyId(1))), ..at(ns) };
        let arrived = Line { arrived: 1, ..sent(0) };
        let lines = [arrived, sent(10), Line { sent_in: Some(0), ..at(30) }, sent(50), at(70)];
        let expected = [Fate::Arrives, Fate::Lost, Fate::Stays, Fate::UnderWay, Fate::Stays];
        assert_eq!(fates(&lines), expected);
    }

    #[test]
    fn a_recording_is_read_back_line_by_line() {
        let names = Names::new(&[]);
        let mut line = Line::new(5, LineKind::Sign, Lane::Party(PartyId(0)), "Alice signs turn 5");
        line.amount = Some(Amount::ether(3));
        let recording = Recording { names, lines: vec![line], snapshots: vec![] };
        let mut bytes = Vec::new();
        recording.write_jsonl(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Line>(text.trim()).unwrap(), recording.lines[0]);
    }
}
