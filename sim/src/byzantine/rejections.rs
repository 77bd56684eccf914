//! Says no to what is not its own or is long decided, and answers questions that nobody asked: rejections, acknowledgements, requests to
//! resume, answers about channels of other people (F36).
//!
//! Only a rejection of what is still free may change anything, and only for the objective that it names.

use std::collections::BTreeSet;

use fairway_core::event::{MessageKey, ObjectiveId, ObjectiveKind, UpdateId};
use fairway_core::nitro::SignedState;
use fairway_core::types::{Address, Amount, ChannelId, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::forge::{one_in, send_wire, sent};
use super::{Acts, Cabal, Choice, Seen, Strategy};

pub(super) const NAME: &str = "rejections";

/// Messages in one run.
const MESSAGES_MAX: u64 = 128;

/// What is said.
const WAYS: u64 = 10;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Rejections {
    peers: BTreeSet<Address>,
    made: u64,
}

impl Strategy for Rejections {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        _now: Timestamp,
        _me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let mut acts = Acts::honest(seen);
        match seen {
            Seen::Message { from, .. } => {
                self.peers.insert(*from);
            }
            Seen::Wish(effect) => self.peers.extend(sent(effect).map(|(peer, _)| peer)),
            Seen::Block(_) | Seen::Timer => {}
        }
        let moment = matches!(seen, Seen::Message { .. } | Seen::Block(_));
        let channels: Vec<ChannelId> = cabal.channels().collect();
        let idle = channels.is_empty() || self.peers.is_empty() || self.made >= MESSAGES_MAX;
        if idle || !moment || !one_in(3, "rejections/now", choice) {
            return acts;
        }
        let channel = channels[choice("rejections/channel", channels.len() as u64) as usize];
        let at = choice("rejections/peer", self.peers.len() as u64) as usize;
        if let Some(peer) = self.peers.iter().nth(at).copied() {
            self.made += 1;
            acts.release.push(send_wire(peer, &make(channel, cabal, choice)));
        }
        acts
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

/// Objectives that a message can name.
const KINDS: [ObjectiveKind; 5] = [
    ObjectiveKind::DirectFund,
    ObjectiveKind::DirectDefund,
    ObjectiveKind::Dispute,
    ObjectiveKind::VirtualFund,
    ObjectiveKind::VirtualDefund,
];

fn make(channel: ChannelId, cabal: &Cabal, choice: &mut Choice<'_>) -> Wire {
    let turn = TurnNum::new(choice("rejections/turn", 6)).unwrap_or(TurnNum::PREFUND);
    let index = choice("rejections/index", 4) as u8;
    let of_another = |choice: &mut Choice<'_>| {
        let all: Vec<&SignedState> = cabal.states.values().flatten().collect();
        let at = choice("rejections/state", all.len().max(1) as u64) as usize;
        all.get(at).map(|signed| StateClaim {
            state: signed.state().clone(),
            sigs: signed.sigs().iter().map(|(i, sig)| (*i, *sig)).collect(),
        })
    };
    let ack = |what| Wire::Ack { channel, what };
    match choice("rejections/way", WAYS) {
        0 | 1 => {
            let kind = KINDS[choice("rejections/kind", KINDS.len() as u64) as usize];
            Wire::Rejected { objective: ObjectiveId { channel, kind } }
        }
        2 => ack(MessageKey::StateTo(turn, index)),
        3 => ack(MessageKey::State(turn)),
        4 => ack(MessageKey::Voucher(Amount::wei(choice("rejections/amount", 1 << 32)))),
        5 => ack(MessageKey::UpdateRequest(UpdateId(choice("rejections/update", 4)))),
        6 => Wire::ResumeRequest { channel },
        7 => {
            let voucher = cabal.vouchers.values().next_back().copied();
            Wire::VirtualResume { channel, voucher, newest: of_another(choice) }
        }
        8 => {
            let supported = of_another(choice);
            Wire::Resume { channel, supported, yours: of_another(choice) }
        }
        _ => ack(MessageKey::FinalRequest),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;

    #[test]
    fn every_way_is_a_message_and_there_is_an_end_to_it() {
        for way in 0..WAYS {
            let mut strategy = Rejections::default();
            let mut run = Run::new(&mut strategy, alice());
            run.draws = Draws::Two([("rejections/now", 2), ("rejections/way", way)]);
            opened(&mut run);
            pay(&mut run, 1);
            let made: usize = (0..300)
                .map(|n| wires(&run.see(&Seen::Block(&empty_block(n))).release).len())
                .sum();
            assert!(made > 0 && made as u64 <= MESSAGES_MAX, "way {way}: {made}");
        }
    }
}
