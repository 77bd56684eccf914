//! The state: a fold over the log, and nothing else.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::chain_view::ChainView;
use crate::channel::{Channel, Deposit, Phase};
use crate::effect::{Want, Wish};
use crate::event::{
    Event, ObjectiveId, ObjectiveKind, Origin, Pins, RecoveryReason, Terms, Update, VirtualTerms,
    WantedTx,
};
use crate::machine::outbox::{self, Sources};
use crate::machine::virtual_outbox::{self, VirtualSources};
use crate::nitro::SignedState;
use crate::nitro::voucher::Voucher;
use crate::objective::{Objective, Status, Virtuals};
use crate::types::{Address, ChannelId, Lsn, Timestamp};
use crate::virtual_channel::VirtualChannel;

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
    payment_app: Option<Address>,
    virtuals: BTreeMap<ChannelId, VirtualChannel>,
    /// Index: the unfinished virtual channels over each ledger channel.
    over: BTreeMap<ChannelId, BTreeSet<ChannelId>>,
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

    /// The application that judges virtual channels, once one is pinned.
    pub fn payment_app(&self) -> Option<Address> {
        self.payment_app
    }

    /// The direct channels by id.
    pub fn channel_map(&self) -> &BTreeMap<ChannelId, Channel> {
        &self.channels
    }

    /// A virtual channel.
    pub fn virtual_channel(&self, id: ChannelId) -> Option<&VirtualChannel> {
        self.virtuals.get(&id)
    }

    /// All virtual channels, finished ones included.
    pub fn virtual_channels(&self) -> impl Iterator<Item = &VirtualChannel> {
        self.virtuals.values()
    }

    /// All virtual channels, and what lies over which ledger channel.
    pub fn virtuals(&self) -> Virtuals<'_> {
        Virtuals { all: &self.virtuals, over: &self.over, chain: &self.chain }
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
        // Vouchers and acknowledgements are the many, and concern nobody else.
        let concerns_neighbours = !matches!(
            event,
            Event::VoucherSigned { .. }
                | Event::VoucherReceived { .. }
                | Event::MessageAcked { .. }
        );
        let mut touched = self.fold(at, event);
        if concerns_neighbours {
            self.add_neighbours(&mut touched);
        }
        for channel in &touched {
            self.reindex(*channel);
        }
        touched
    }

    /// What a ledger channel may hold depends on its virtual channels, and the other way round.
    fn add_neighbours(&self, touched: &mut Vec<ChannelId>) {
        let mut more = BTreeSet::new();
        for id in touched.iter() {
            if let Some(v) = self.virtuals.get(id) {
                more.extend(v.ledgers());
            } else if let Some(channel) = self.channels.get(id) {
                more.extend(self.over.get(id).into_iter().flatten());
                more.extend(channel.guaranteed());
            }
        }
        touched.extend(more.into_iter().filter(|id| !touched.contains(id)).collect::<Vec<_>>());
    }

    /// Planted bug: a change that no event stands for.
    pub(super) fn hear(&mut self, at: Timestamp, peer: Address) {
        for channel in self.channels.values_mut().filter(|c| c.peer == peer) {
            channel.progress_at = at;
        }
    }

    /// Planted bug: what this node proposed counts, whether or not anybody agrees.
    pub(super) fn presume(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.presume();
        }
        self.reindex(id);
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
            Event::StateSigned { state, .. }
            | Event::StateReceived { state, .. }
            | Event::StatePublished { state }
                if self.virtuals.contains_key(&state.channel()) =>
            {
                self.merge_virtual(at, state);
            }
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
                } else if let Some(v) = self.virtuals.get_mut(&channel) {
                    v.acked.insert(what);
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
                for v in self.virtuals.values_mut() {
                    v.unwitnessed = v.phase < Phase::Disputed && (v.is_payer() || v.is_payee());
                }
                return self.channels.keys().chain(self.virtuals.keys()).copied().collect();
            }
            Event::ChannelWitnessed { channel } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.unwitnessed = false;
                } else if let Some(v) = self.virtuals.get_mut(&channel) {
                    v.unwitnessed = false;
                }
            }
            Event::RecoveryEnded => {
                self.recovery = None;
                return self.channels.keys().chain(self.virtuals.keys()).copied().collect();
            }
            Event::PaymentAppPinned { app } => {
                assert!(self.payment_app.is_none(), "the payment application is pinned once");
                self.payment_app = Some(app);
            }
            Event::VirtualApproved { id, origin, terms, right } => {
                self.approve_virtual(at, id, origin, &terms, right);
            }
            Event::LedgerNamed { channel, ledger } => {
                if let Some(v) = self.virtuals.get_mut(&channel) {
                    v.left = Some(ledger);
                    v.progress_at = at;
                    self.over.entry(ledger).or_default().insert(channel);
                }
            }
            Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
                self.take_voucher(at, voucher);
            }
            Event::ReclaimShown { channel, block, target } => {
                self.chain.show_reclaim(channel, block, target);
            }
        }
        about.into_iter().collect()
    }

    fn merge_virtual(&mut self, at: Timestamp, state: SignedState) {
        if let Some(v) = self.virtuals.get_mut(&state.channel()) {
            v.merge(state);
            v.progress_at = at;
        }
    }

    fn take_voucher(&mut self, at: Timestamp, voucher: Voucher) {
        if let Some(v) = self.virtuals.get_mut(&voucher.channel) {
            v.voucher = Some(voucher);
            v.progress_at = at;
        }
    }

    fn begin(&mut self, at: Timestamp, id: ObjectiveId, origin: Origin) {
        let known =
            self.objectives.insert(id, Objective { origin, status: Status::Approved, since: at });
        assert!(known.is_none(), "{id} was approved twice");
        self.live_objectives += 1;
    }

    fn approve_virtual(
        &mut self,
        at: Timestamp,
        id: ObjectiveId,
        origin: Origin,
        terms: &VirtualTerms,
        right: Option<ChannelId>,
    ) {
        self.begin(at, id, origin);
        let (Some(pins), Some(app)) = (self.pins, self.payment_app) else { return };
        let v = VirtualChannel::new(id.channel, terms, app, pins.me, right, at);
        self.virtuals.extend(v.map(|v| (id.channel, v)));
        self.chain.watch(id.channel, terms.asset);
        if let Some(right) = right {
            self.over.entry(right).or_default().insert(id.channel);
        }
    }

    fn approve(&mut self, at: Timestamp, id: ObjectiveId, origin: Origin, terms: Option<Terms>) {
        self.begin(at, id, origin);
        if let (Some(terms), Some(pins)) = (terms, self.pins) {
            let channel = Channel::new(id.channel, &terms, pins.consensus_app, pins.me, at);
            self.channels.extend(channel.map(|c| (id.channel, c)));
            self.chain.watch(id.channel, terms.asset);
        }
        if let Some(channel) = self.channels.get_mut(&id.channel) {
            channel.progress_at = at;
            match id.kind {
                ObjectiveKind::DirectFund
                | ObjectiveKind::VirtualFund
                | ObjectiveKind::VirtualDefund => {}
                ObjectiveKind::DirectDefund => channel.phase = Phase::Closing,
                ObjectiveKind::Dispute => {
                    channel.phase = Phase::Disputed;
                    channel.unwitnessed = false;
                }
            }
        }
        if let Some(v) = self.virtuals.get_mut(&id.channel) {
            v.progress_at = at;
            match id.kind {
                ObjectiveKind::VirtualDefund => v.phase = Phase::Closing,
                ObjectiveKind::Dispute => {
                    v.phase = Phase::Disputed;
                    v.unwitnessed = false;
                }
                ObjectiveKind::DirectFund
                | ObjectiveKind::DirectDefund
                | ObjectiveKind::VirtualFund => {}
            }
            for ledger in v.ledgers() {
                self.over.entry(ledger).or_default().insert(id.channel);
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
        if let Some(v) = self.virtuals.get_mut(&id.channel) {
            match (id.kind, completed) {
                (ObjectiveKind::VirtualFund, true) => v.phase = Phase::Open,
                (ObjectiveKind::VirtualFund, false) if v.phase != Phase::Opening => {}
                // A dispute goes on where an agreement ended.
                (ObjectiveKind::VirtualDefund, false) if v.phase != Phase::Closing => {}
                (
                    ObjectiveKind::VirtualFund
                    | ObjectiveKind::VirtualDefund
                    | ObjectiveKind::Dispute
                    | ObjectiveKind::DirectFund
                    | ObjectiveKind::DirectDefund,
                    _,
                ) => {
                    v.phase = Phase::Finished;
                    v.unwitnessed = false;
                    for ledger in v.ledgers() {
                        if let Some(over) = self.over.get_mut(&ledger) {
                            over.remove(&id.channel);
                        }
                    }
                }
            }
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
                )
                | (ObjectiveKind::VirtualFund | ObjectiveKind::VirtualDefund, _) => {}
            }
        }
    }

    fn want(&mut self, channel: ChannelId, tx: WantedTx) {
        let direct = self.channels.get_mut(&channel).map(|c| &mut c.txs);
        let of_virtual = self.virtuals.get_mut(&channel).map(|v| &mut v.txs);
        if let Some(txs) = direct.or(of_virtual) {
            // Each guarantee is reclaimed by a transaction of its own.
            let same_kind = |t: &WantedTx| {
                core::mem::discriminant(t) == core::mem::discriminant(&tx)
                    && !matches!(tx, WantedTx::Reclaim { .. })
            };
            txs.retain(|t| !same_kind(t) && *t != tx);
            txs.push(tx);
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
            } else if let Some(v) = self.virtuals.get_mut(id) {
                let reached = [v.milestone(head), v.milestone(confirmed)];
                if core::mem::replace(&mut v.reached, reached) != reached {
                    v.progress_at = at;
                }
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
            virtuals: self.virtuals(),
        })
    }

    /// Everything that a virtual channel's wishes follow from.
    pub fn virtual_sources(&self, id: ChannelId) -> Option<VirtualSources<'_>> {
        let dispute = ObjectiveId { channel: id, kind: ObjectiveKind::Dispute };
        Some(VirtualSources {
            channel: self.virtuals.get(&id)?,
            head: self.chain.at_head(id),
            dispute: self.objectives.get(&dispute),
        })
    }

    /// What should be said on a channel's behalf, acknowledged or not, and all its wishes; in order.
    fn derived(&self, id: ChannelId) -> Option<(Vec<crate::event::MessageKey>, Vec<Want>)> {
        if let Some(sources) = self.sources(id) {
            let sent = outbox::messages(&sources);
            let wants = outbox::wishes(&sources, &sent);
            return Some((sent, wants));
        }
        let sources = self.virtual_sources(id)?;
        let sent = virtual_outbox::messages(&sources);
        let wants = virtual_outbox::wishes(&sources, &sent);
        Some((sent, wants))
    }

    fn reindex(&mut self, id: ChannelId) {
        let Some((mut sent, mut wants)) = self.derived(id) else { return };
        // Nearly always in order already; so one pass tells whether anything changed, which nearly never it did.
        wants.sort_unstable();
        if !self.wishes_of(id).map(|(wish, _)| &wish.want).eq(&wants) {
            self.replace_wishes(id, wants);
        }
        // What is not sent any more needs no acknowledgement on record.
        let direct = self.channels.get_mut(&id).map(|c| &mut c.acked);
        let of_virtual = self.virtuals.get_mut(&id).map(|v| &mut v.acked);
        if let Some(acked) = direct.or(of_virtual).filter(|acked| !acked.is_empty()) {
            sent.sort_unstable();
            acked.retain(|key| sent.binary_search(key).is_ok());
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
        let recomputed = self.channels.keys().chain(self.virtuals.keys()).flat_map(|id| {
            let wants = self.derived(*id).map(|(_, wants)| wants).unwrap_or_default();
            wants.into_iter().map(move |want| Wish { channel: *id, want })
        });
        let mut recomputed: Vec<Wish> = recomputed.collect();
        recomputed.sort();
        recomputed.iter().eq(self.wishes.keys())
    }
}
