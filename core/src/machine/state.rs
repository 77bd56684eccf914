//! The state: a fold over the log, and nothing else.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::chain_view::ChainView;
use crate::channel::{Channel, Deposit, Phase};
use crate::event::{
    Event, ObjectiveId, ObjectiveKind, Origin, Pins, RecoveryReason, Terms, Update, WantedTx,
};
use crate::machine::outbox::{self, Sources, Want, Wish};
use crate::objective::{Objective, Status};
use crate::types::{ChannelId, Lsn, Timestamp};

/// Everything that a node knows. Holds no key and reads no clock; equal logs give equal states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    lsn: Lsn,
    pins: Option<Pins>,
    channels: BTreeMap<ChannelId, Channel>,
    objectives: BTreeMap<ObjectiveId, Objective>,
    chain: ChainView,
    recovery: Option<RecoveryReason>,
    /// Index of [`outbox::wishes`] over all channels, with the position of the event that gave rise to each.
    wishes: BTreeMap<Wish, Lsn>,
    live_objectives: u64,
}

impl NodeState {
    /// Position of the last event.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// What the log belongs to; `None` before its first record.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// A channel.
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(&id)
    }

    /// All channels, finished ones included.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.values()
    }

    /// All objectives.
    pub fn objectives(&self) -> &BTreeMap<ObjectiveId, Objective> {
        &self.objectives
    }

    /// How many objectives are pursued.
    pub fn live_objectives(&self) -> u64 {
        self.live_objectives
    }

    /// The chain as logged.
    pub fn chain(&self) -> &ChainView {
        &self.chain
    }

    /// Why the node signs nothing new, if it does not.
    pub fn recovery(&self) -> Option<RecoveryReason> {
        self.recovery
    }

    /// The wishes, each with the position that must be durable before it is released.
    pub fn wishes(&self) -> &BTreeMap<Wish, Lsn> {
        &self.wishes
    }

    /// The wishes of one channel.
    pub fn wishes_of(&self, channel: ChannelId) -> impl Iterator<Item = (&Wish, &Lsn)> {
        // `Message(State(0))` is the smallest want.
        let from = Wish {
            channel,
            want: Want::Message(crate::event::MessageKey::State(crate::types::TurnNum::PREFUND)),
        };
        self.wishes.range(from..).take_while(move |(w, _)| w.channel == channel)
    }

    /// A digest of everything: equal for equal logs, on every platform.
    pub fn digest(&self) -> [u8; 32] {
        match postcard::to_allocvec(self) {
            Ok(bytes) => *blake3::hash(&bytes).as_bytes(),
            // Two states that cannot be told apart would pass for equal.
            Err(error) => panic!("the state does not serialize: {error}"),
        }
    }

    /// Takes one event into account. Cannot fail: whatever could be refused was refused before it was logged.
    ///
    /// `at` stands in the header of the event's batch. Returns the channels to look at again.
    pub fn apply(&mut self, at: Timestamp, event: Event) -> Vec<ChannelId> {
        self.lsn = self.lsn.advance(1);
        let touched = self.fold(at, event);
        for channel in &touched {
            self.reindex(*channel);
        }
        touched
    }

    fn fold(&mut self, at: Timestamp, event: Event) -> Vec<ChannelId> {
        let about = event.channel();
        match event {
            Event::Pinned(pins) => {
                assert!(self.pins.is_none(), "a log is pinned once");
                self.pins = Some(pins);
                self.chain = ChainView::new(pins.confirmations);
            }
            Event::ObjectiveApproved { id, origin, terms } => self.approve(at, id, origin, terms),
            Event::ObjectiveRejected { id, reason } => self.end(id, Status::Rejected(reason)),
            Event::ObjectiveCompleted { id } => self.end(id, Status::Completed),
            Event::StateSigned { state, update } => {
                if let Some(channel) = self.channels.get_mut(&state.channel()) {
                    channel.carry_out(update);
                    channel.merge(state);
                    channel.progress_at = at;
                }
            }
            Event::StateReceived { state, .. } | Event::StatePublished { state } => {
                if let Some(channel) = self.channels.get_mut(&state.channel()) {
                    // A signature that we forgot may have carried out what still waits here. In doubt nothing is paid twice:
                    // the user asks again.
                    if state.signed_by(channel.my_index()) && !channel.knows_own_signature(&state) {
                        channel.updates.clear();
                    }
                    channel.merge(state);
                    channel.progress_at = at;
                }
            }
            Event::DepositWanted { channel, held_before, amount } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.deposit = Some(Deposit { held_before, amount });
                }
            }
            Event::TxWanted { channel, tx } => self.want(channel, tx),
            Event::BlockAdded { block, logs } => {
                let changed = self.chain.add(block, logs);
                return self.on_chain_changed(at, changed);
            }
            Event::BlocksReverted { to } => {
                let changed = self.chain.revert(to);
                for (channel, deep) in &changed {
                    if let Some(channel) = self.channels.get_mut(channel) {
                        channel.frozen |= *deep;
                    }
                }
                return self.on_chain_changed(at, changed.into_iter().map(|(c, _)| c).collect());
            }
            Event::MessageAcked { channel, what } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.acked.insert(what);
                }
            }
            Event::UpdateWanted { channel, update } => self.queue_update(channel, update),
            Event::UpdateDropped { channel, id } => {
                if let Some(channel) = self.channels.get_mut(&channel)
                    && channel.updates.front().is_some_and(|u| u.id == id)
                {
                    channel.updates.pop_front();
                }
            }
            Event::RecoveryEntered { reason } => {
                self.recovery = Some(reason);
                for channel in self.channels.values_mut() {
                    channel.unwitnessed = channel.phase < Phase::Disputed;
                }
                return self.channels.keys().copied().collect();
            }
            Event::ChannelWitnessed { channel } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.unwitnessed = false;
                }
            }
            Event::RecoveryEnded => {
                self.recovery = None;
                return self.channels.keys().copied().collect();
            }
        }
        about.into_iter().collect()
    }

    fn approve(&mut self, at: Timestamp, id: ObjectiveId, origin: Origin, terms: Option<Terms>) {
        let known =
            self.objectives.insert(id, Objective { origin, status: Status::Approved, since: at });
        assert!(known.is_none(), "{id} was approved twice");
        self.live_objectives += 1;
        if let (Some(terms), Some(pins)) = (terms, self.pins) {
            let channel = Channel::new(id.channel, &terms, pins.consensus_app, pins.me, at);
            self.channels.extend(channel.map(|c| (id.channel, c)));
            self.chain.watch(id.channel, terms.asset);
        }
        if let Some(channel) = self.channels.get_mut(&id.channel) {
            channel.progress_at = at;
            match id.kind {
                ObjectiveKind::DirectFund => {}
                ObjectiveKind::DirectDefund => channel.phase = Phase::Closing,
                ObjectiveKind::Dispute => {
                    channel.phase = Phase::Disputed;
                    channel.unwitnessed = false;
                }
            }
        }
    }

    fn end(&mut self, id: ObjectiveId, status: Status) {
        let completed = status == Status::Completed;
        if let Some(objective) = self.objectives.get_mut(&id) {
            assert!(objective.is_live(), "{id} ended twice");
            objective.status = status;
            self.live_objectives -= 1;
        }
        if let Some(channel) = self.channels.get_mut(&id.channel) {
            match (id.kind, completed) {
                (ObjectiveKind::DirectFund, true) => channel.phase = Phase::Open,
                (ObjectiveKind::DirectFund, false) if channel.phase == Phase::Opening => {
                    channel.phase = Phase::Finished;
                    channel.unwitnessed = false;
                }
                (ObjectiveKind::DirectDefund | ObjectiveKind::Dispute, true) => {
                    channel.phase = Phase::Finished;
                    channel.unwitnessed = false;
                }
                (
                    ObjectiveKind::DirectFund
                    | ObjectiveKind::DirectDefund
                    | ObjectiveKind::Dispute,
                    false,
                ) => {}
            }
        }
    }

    fn want(&mut self, channel: ChannelId, tx: WantedTx) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            let same_kind =
                |t: &WantedTx| core::mem::discriminant(t) == core::mem::discriminant(&tx);
            channel.txs.retain(|t| !same_kind(t));
            channel.txs.push(tx);
        }
    }

    fn queue_update(&mut self, channel: ChannelId, update: Update) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            if let Some(last) = channel.last_update.get_mut(usize::from(update.payer)) {
                *last = update.id;
            }
            channel.updates.push_back(update);
        }
    }

    fn on_chain_changed(&mut self, at: Timestamp, changed: Vec<ChannelId>) -> Vec<ChannelId> {
        for id in &changed {
            let (head, confirmed) = (self.chain.at_head(*id), self.chain.confirmed(*id));
            if let Some(channel) = self.channels.get_mut(id) {
                let reached = [channel.milestone(head), channel.milestone(confirmed)];
                if core::mem::replace(&mut channel.reached, reached) != reached {
                    channel.progress_at = at;
                }
                // What a deep reorg took back is on chain again, and confirmed.
                channel.frozen &= confirmed.held < channel.total();
            }
        }
        changed
    }

    /// Everything that a channel's wishes follow from.
    pub fn sources(&self, id: ChannelId) -> Option<Sources<'_>> {
        let objective = |kind| self.objectives.get(&ObjectiveId { channel: id, kind });
        Some(Sources {
            channel: self.channels.get(&id)?,
            head: self.chain.at_head(id),
            fund: objective(ObjectiveKind::DirectFund),
            defund: objective(ObjectiveKind::DirectDefund),
            dispute: objective(ObjectiveKind::Dispute),
        })
    }

    fn reindex(&mut self, id: ChannelId) {
        let Some(sources) = self.sources(id) else { return };
        let mut sent = outbox::messages(&sources);
        let mut wants = outbox::wishes(&sources, &sent);
        // Nearly always in order already; so one pass tells whether anything changed, which nearly never it did.
        wants.sort_unstable();
        if !self.wishes_of(id).map(|(wish, _)| &wish.want).eq(&wants) {
            self.replace_wishes(id, wants);
        }
        // What is not sent any more needs no acknowledgement on record.
        if let Some(channel) = self.channels.get_mut(&id)
            && !channel.acked.is_empty()
        {
            sent.sort_unstable();
            channel.acked.retain(|key| sent.binary_search(key).is_ok());
        }
    }

    /// Makes `wants`, in order, the wishes of a channel; those that stay keep their position.
    fn replace_wishes(&mut self, id: ChannelId, wants: Vec<Want>) {
        let gone: Vec<Wish> = self
            .wishes_of(id)
            .map(|(wish, _)| wish)
            .filter(|wish| wants.binary_search(&wish.want).is_err())
            .cloned()
            .collect();
        for wish in gone {
            self.wishes.remove(&wish);
        }
        let lsn = self.lsn;
        for want in wants {
            self.wishes.entry(Wish { channel: id, want }).or_insert(lsn);
        }
    }

    /// Whether the index holds exactly what a recomputation from the rest of the state yields. For tests and the simulator.
    pub fn wishes_are_consistent(&self) -> bool {
        let recomputed = self.channels.keys().flat_map(|id| {
            let sources = self.sources(*id);
            sources
                .map(|s| outbox::wishes(&s, &outbox::messages(&s)))
                .unwrap_or_default()
                .into_iter()
                .map(move |want| Wish { channel: *id, want })
        });
        let mut recomputed: Vec<Wish> = recomputed.collect();
        recomputed.sort();
        recomputed.iter().eq(self.wishes.keys())
    }
}
