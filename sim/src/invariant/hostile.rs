//! I43: bytes that are no message of a peer change nothing.
//!
//! States that come from the chain stand there with everybody's signature, and which guarantee was reclaimed stands in the calldata of
//! the block that is named. Whatever a peer makes a node record was said by that peer in a well-formed message that reached the node
//! before, and every signature in it is valid. Malformed, forged and foreign bytes therefore leave no trace in the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use fairway_core::chain_types::B256;
use fairway_core::event::{Event, MessageKey, Origin, UpdateId};
use fairway_core::nitro::{Signature, SignedState, voucher};
use fairway_core::types::{Amount, BlockNum, ChannelId, TurnNum};
use fairway_core::wire::Wire;

use super::run::Run;
use super::shares::Shares;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};
use crate::world::memo::Memo;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct HostileBytesChangeNothing {
    run: Arc<Run>,
    memo: Memo,
    heard: Vec<Heard>,
    /// Hashes of the states that the chain has shown, on any branch.
    published: BTreeSet<B256>,
    /// Which guarantee of which ledger channel the calldata of a block has shown reclaimed, on any branch.
    reclaimed: BTreeSet<(BlockNum, ChannelId, ChannelId)>,
}

/// What well-formed messages told one node.
#[derive(Debug, Default)]
struct Heard {
    signatures: BTreeSet<(PartyId, Signature)>,
    updates: BTreeSet<(PartyId, ChannelId, UpdateId, Amount)>,
    acks: BTreeSet<(ChannelId, MessageKey)>,
    vouchers: BTreeSet<Signature>,
    /// Ledger channels that somebody chose for a virtual channel.
    named: BTreeSet<ChannelId>,
    /// Channels about which anybody said anything that may approve an objective.
    about: BTreeSet<ChannelId>,
    resumed: BTreeSet<ChannelId>,
}

impl Heard {
    fn hear(&mut self, from: PartyId, wire: &Wire) {
        for claim in wire.claims() {
            self.signatures.extend(claim.sigs.iter().map(|(_, sig)| (from, *sig)));
        }
        match wire {
            Wire::UpdateRequest { channel, id, amount } => {
                self.updates.insert((from, *channel, *id, *amount));
            }
            Wire::Ack { channel, what } => {
                self.acks.insert((*channel, *what));
            }
            Wire::Resume { channel, .. } => {
                self.resumed.insert(*channel);
            }
            Wire::CloseRequest { channel } | Wire::FinalRequest { channel } => {
                self.about.insert(*channel);
            }
            Wire::VirtualState { ledger, .. } => self.named.extend(ledger),
            Wire::Voucher(voucher) => {
                self.vouchers.insert(voucher.sig);
            }
            Wire::VirtualResume { channel, voucher, .. } => {
                self.resumed.insert(*channel);
                self.vouchers.extend(voucher.map(|v| v.sig));
            }
            Wire::State(_)
            | Wire::Proposal { .. }
            | Wire::Rejected { .. }
            | Wire::ResumeRequest { .. } => {}
        }
    }
}

impl HostileBytesChangeNothing {
    pub fn new(run: &Arc<Run>, memo: &Memo) -> HostileBytesChangeNothing {
        HostileBytesChangeNothing {
            run: Arc::clone(run),
            memo: memo.clone(),
            heard: run.each(),
            published: BTreeSet::new(),
            reclaimed: BTreeSet::new(),
        }
    }

    fn check(&mut self, views: &Views, node: PartyId, event: &Event) -> Result<(), Violation> {
        let heard = &self.heard[node.0];
        let said = match event {
            Event::StateReceived { state, from } => {
                let from = self.run.party(*from);
                let said =
                    |sig: &Signature| from.is_some_and(|f| heard.signatures.contains(&(f, *sig)));
                if state.sigs().values().all(said) {
                    return self.check_signatures(node, state);
                }
                false
            }
            Event::StatePublished { state } => {
                if state.is_unanimous() && self.published.contains(&state.hash()) {
                    return self.check_signatures(node, state);
                }
                false
            }
            Event::UpdateWanted { channel, update } => {
                let known = views.channel(node, *channel);
                let payer = known.and_then(|c| c.participants.get(usize::from(update.payer)));
                let payer = payer.and_then(|address| self.run.party(*address));
                payer == Some(node)
                    || payer.is_some_and(|p| {
                        heard.updates.contains(&(p, *channel, update.id, update.amount))
                    })
            }
            Event::MessageAcked { channel, what } => {
                // An acknowledgement names the turn; whose it is follows from who says it.
                let said = match what {
                    MessageKey::StateTo(turn, _) => MessageKey::State(*turn),
                    MessageKey::State(_)
                    | MessageKey::UpdateRequest(_)
                    | MessageKey::CloseRequest
                    | MessageKey::FinalRequest
                    | MessageKey::Voucher(_) => *what,
                };
                heard.acks.contains(&(*channel, said))
            }
            Event::VoucherReceived { voucher } => {
                let channel = views.virtual_channel(node, voucher.channel);
                let payer = channel.and_then(|c| c.terms.participants.first().copied());
                let hash = voucher::hash(voucher.channel, voucher.amount);
                let signer = self.memo.signer(hash, &voucher.sig);
                heard.vouchers.contains(&voucher.sig) && signer.is_some() && signer == payer
            }
            Event::ReclaimShown { channel, block, target } => {
                self.reclaimed.contains(&(*block, *channel, *target))
            }
            Event::LedgerNamed { ledger, .. } => heard.named.contains(ledger),
            Event::ChannelWitnessed { channel } => heard.resumed.contains(channel),
            Event::ObjectiveApproved { id, origin: Origin::Peer, terms } => {
                // A first state or a final one is a request as well; they are checked where they are recorded.
                terms.is_some()
                    || views
                        .virtual_channel(node, id.channel)
                        .is_some_and(|v| v.heard_of(TurnNum::VIRTUAL_FINAL))
                    || heard.about.contains(&id.channel)
                    || views.channel(node, id.channel).is_some_and(|c| {
                        !c.pending.is_empty() || c.supported.is_some_and(|s| s.is_final)
                    })
            }
            _ => true,
        };
        if said {
            return Ok(());
        }
        let what = format!("{} recorded {}, which nothing said", self.run.name(node), event.name());
        Err(Violation::safety("hostile-bytes-change-nothing", node, event.channel(), what))
    }

    fn check_signatures(&self, node: PartyId, signed: &SignedState) -> Result<(), Violation> {
        let state = signed.state();
        let participant = |index: u8| state.fixed.participants.get(usize::from(index)).copied();
        let valid = |(index, sig): (&u8, &Signature)| {
            let signer = self.memo.signer(signed.hash(), sig);
            signer.is_some() && signer == participant(*index)
        };
        if signed.sigs().iter().all(valid) {
            return Ok(());
        }
        let name = self.run.name(node);
        let what = format!("{name} recorded a forged signature on turn {}", signed.turn());
        let me = state.fixed.index_of(self.run.address(node)).unwrap_or(usize::MAX);
        let id = signed.channel();
        let violation = Violation::safety("hostile-bytes-change-nothing", node, id, what);
        Err(violation.losing(node, Shares::of(state).of_index(me)))
    }
}

impl Invariant for HostileBytesChangeNothing {
    fn name(&self) -> &'static str {
        "hostile-bytes-change-nothing"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I43"]
    }

    fn statement(&self) -> &'static str {
        "what a node records of others was said in a well-formed message of that peer or stands on the chain, with valid signatures"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        self.check(views, node, event)
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Delivered { node, from, wire: Some(wire) } if self.run.honest(*node) => {
                self.heard[node.0].hear(*from, wire);
            }
            Observed::Block { chain, replaced } => {
                // What replaced them, one block more than before.
                let new = usize::try_from(*replaced).unwrap_or(usize::MAX).saturating_add(2);
                for block in chain.canonical().iter().rev().take(new) {
                    self.published.extend(block.claims().map(|claim| claim.state.hash()));
                    let shown = block.calldata.iter().flat_map(|calldata| &calldata.reclaims);
                    let number = block.header.number;
                    self.reclaimed.extend(shown.map(|r| (number, r.ledger, r.target)));
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
    use super::*;
    use fairway_core::event::{ObjectiveKind, Update};
    use fairway_core::wire::StateClaim;

    fn wants(payer: u8, amount: u64) -> Event {
        let update = Update { id: UpdateId(1), payer, amount: ether(amount) };
        Event::UpdateWanted { channel: channel(), update }
    }

    fn heard_opening() -> Story {
        let mut story = Story::of("hostile-bytes-change-nothing");
        for turn in [0, 1] {
            story.hears(ALICE, BOB, &said(&state(turn, [5, 5]), BOB)).unwrap();
        }
        story.logs(ALICE, opened(ALICE)).unwrap();
        story
    }

    #[test]
    fn what_was_said_is_recorded() {
        let mut story = heard_opening();
        let request = Wire::UpdateRequest { channel: channel(), id: UpdateId(1), amount: ether(2) };
        let ack = Wire::Ack { channel: channel(), what: MessageKey::CloseRequest };
        let acked = Event::MessageAcked { channel: channel(), what: MessageKey::CloseRequest };
        story.hears(ALICE, BOB, &request).unwrap();
        story.hears(ALICE, BOB, &ack).unwrap();
        story.hears_garbage(ALICE, MALLORY).unwrap();
        story.logs(ALICE, vec![wants(1, 2), wants(0, 1), acked]).unwrap();
    }

    #[test]
    fn what_nobody_said_is_noticed() {
        let acked = Event::MessageAcked { channel: channel(), what: MessageKey::CloseRequest };
        let close = Event::ObjectiveApproved {
            id: objective(ObjectiveKind::DirectDefund),
            origin: Origin::Peer,
            terms: None,
        };
        for (name, event) in [
            ("a state", receives(&state(2, [6, 4]), BOB)),
            ("a request", wants(1, 2)),
            ("an acknowledgement", acked),
            ("a wish to close", close),
            ("what a peer knows", Event::ChannelWitnessed { channel: channel() }),
        ] {
            let mut story = heard_opening();
            story.hears_garbage(ALICE, BOB).unwrap();
            let violation = story.logs(ALICE, vec![event]).expect_err(name);
            assert_fires(&violation, "hostile-bytes-change-nothing", ALICE);
        }
    }

    /// Goal: a target that no transaction names is no word of the chain, in whichever block.
    #[test]
    fn a_reclaim_that_no_calldata_shows_is_noticed() {
        let mut story = heard_opening();
        story.mines(2).unwrap();
        let (block, target) = (BlockNum(1), ChannelId::default());
        let shown = Event::ReclaimShown { channel: channel(), block, target };
        let violation = story.logs(ALICE, vec![shown]).unwrap_err();
        assert_fires(&violation, "hostile-bytes-change-nothing", ALICE);
    }

    #[test]
    fn what_another_peer_said_does_not_count() {
        let mut story = heard_opening();
        story.hears(ALICE, MALLORY, &said(&state(2, [6, 4]), BOB)).unwrap();
        assert!(story.logs(ALICE, vec![receives(&state(2, [6, 4]), BOB)]).is_err());
    }

    #[test]
    fn a_forged_signature_is_noticed() {
        let next = state(2, [6, 4]);
        let forged = forged_state(&next, BOB);
        let sig = *forged.sigs().values().next().unwrap();
        let mut story = heard_opening();
        let claim = StateClaim { state: next, sigs: vec![(1, sig)] };
        story.hears(ALICE, BOB, &Wire::State(claim)).unwrap();
        let event = Event::StateReceived { state: forged, from: address(BOB) };
        let violation = story.logs(ALICE, vec![event]).unwrap_err();
        assert_fires(&violation, "hostile-bytes-change-nothing", ALICE);
        assert_eq!(violation.loss, Some((ALICE, ether(6))));
    }

    #[test]
    fn a_voucher_counts_only_when_its_payer_signed_it() {
        use super::super::fixture_virtual::*;
        use fairway_core::nitro::Voucher;
        let terms = direct_terms();
        for (by, is_forged) in [(ALICE, false), (MALLORY, true)] {
            let mut story = Story::of("hostile-bytes-change-nothing");
            story.logs(BOB, opened_heard(&terms)).unwrap();
            let voucher = Voucher::sign(virtual_id(&terms), ether(1), &key(by));
            story.hears(BOB, by, &Wire::Voucher(voucher)).unwrap();
            let told = story.logs(BOB, vec![Event::VoucherReceived { voucher }]);
            assert_eq!(told.is_err(), is_forged);
        }
    }

    /// Bob takes part, by his own user's wish: nothing that he would have to have heard.
    fn opened_heard(terms: &fairway_core::event::VirtualTerms) -> Vec<Event> {
        vec![super::super::fixture_virtual::takes_part(terms, None)]
    }
}
