//! A node: the state, what this process knows besides, and the decisions.
//!
//! `decide` and the cranks are pure; `handle` applies what they decide. Nothing here releases an effect: the driver does, once the
//! log is synced.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use alloy_primitives::B256;

use super::NodeState;
use super::notices::notice_of;
use super::payments::Unsealed;
use super::release::{must_ask, must_ask_of};
use super::schedule::Schedule;
use super::tally::Tally;
use crate::channel::{Channel, Phase};
use crate::config::Config;
use crate::effect::{Effect, Notice, Refusal};
use crate::effect::{Want, Wish};
use crate::event::{Event, Pins, RecoveryReason};
use crate::input::{Input, RequestId, Space, Verified};
use crate::nitro::SecretKey;
use crate::objective::dispute::guaranteed_on_chain;
use crate::objective::{self, Context, Crank, VirtualContext};
use crate::types::{Address, Amount, ChainTime, ChannelId, Lsn, Timestamp};
use crate::virtual_channel::VirtualChannel;

/// A node. Cloning one clones everything, so a simulated world can be forked at any step.
#[derive(Clone)]
pub struct Node {
    pub(super) state: NodeState,
    pub(super) key: SecretKey,
    pub(super) config: Config,
    pub(super) session: Session,
    pub(super) outbox: Schedule<Wish>,
    pub(super) attempts: BTreeMap<Wish, u32>,
    pub(super) timers: Schedule<ChannelId>,
    /// Channels that may have something to do although nothing of theirs changed: time passes on chain.
    pub(super) active: BTreeSet<ChannelId>,
    /// What the log amounts to.
    tally: Tally,
}

/// What this process knows and a restart forgets.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// When this process started.
    pub(super) started: Timestamp,
    /// Peers with a session, and its wire version.
    pub(super) up: BTreeMap<Address, u16>,
    /// Channels whose peer has told us what it knows since we started.
    pub(super) witnessed: BTreeSet<ChannelId>,
    /// When to ask again for what a peer knows.
    pub(super) ask: Schedule<ChannelId>,
    /// When to ask the endpoint again.
    pub(super) poll_at: Timestamp,
    /// Blocks whose bloom promised logs that were not shown, with the number of times they were fetched.
    pub(super) suspects: BTreeMap<B256, u32>,
    /// How far to step back for the common ancestor of a reorg.
    pub(super) step_back: u64,
    /// Refusals and drops by code: all that hostile bytes can change.
    pub(super) dropped: BTreeMap<&'static str, u64>,
    /// Those of them that answered a command.
    pub(super) commands_refused: BTreeMap<&'static str, u64>,
    /// Whether the endpoint answered last time.
    pub(super) chain_up: bool,
    /// Whether we have reached the endpoint's head since we started.
    pub(super) caught_up: bool,
    /// Payments that wait for the next write.
    pub(super) unsealed: Unsealed,
    /// Whether the disk has room.
    pub(super) space: Space,
}

/// How a node starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From its own log.
    Normal,
    /// From a backup: it may have forgotten signatures, so it enters recovery.
    Restored,
}

/// Why a log was refused. The operator must act; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The log belongs to another chain, contract or key.
    #[error("the log is pinned to {found:?}, the configuration says {expected:?}")]
    Pins {
        /// In the configuration.
        expected: Pins,
        /// In the log.
        found: Pins,
    },
    /// The log's virtual channels belong to another application.
    #[error(
        "the log is pinned to the payment application {found}, the configuration says {expected}"
    )]
    PaymentApp {
        /// In the configuration.
        expected: Address,
        /// In the log.
        found: Address,
    },
    /// The log does not begin with its pins.
    #[error("the log's first record does not pin chain and key")]
    Unpinned,
}

/// What handling one input led to.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// To be logged, in order.
    pub events: Vec<Event>,
    /// To be released once everything up to now is durable; lost in a crash.
    pub answers: Vec<Effect>,
}

/// What one input asks for, before anything is applied.
#[derive(Default)]
pub(super) struct Decision {
    pub events: Vec<Event>,
    pub answers: Vec<Effect>,
    /// Channels that the peer has now told us about.
    pub witnessed: Vec<ChannelId>,
    /// A block whose logs were withheld.
    pub suspect: Option<B256>,
    /// The next step back for the common ancestor; only blocks change it.
    pub step_back: Option<u64>,
    /// A payment to sign with the batch: the channel, its new total, who asked.
    pub payment: Option<(ChannelId, Amount, RequestId)>,
}

impl Decision {
    pub(super) fn events(events: Vec<Event>) -> Decision {
        Decision { events, ..Decision::default() }
    }

    pub(super) fn answer(answer: Effect) -> Decision {
        Decision { answers: alloc::vec![answer], ..Decision::default() }
    }
}

impl Node {
    /// A node over the state that its log gave. `at` is now.
    ///
    /// Returns the events that the start itself adds: the pins of a new log, the entry into recovery.
    ///
    /// # Errors
    /// [`StartError`]: refuse to run; the log belongs to something else.
    pub fn start(
        state: NodeState,
        pins: Pins,
        key: SecretKey,
        config: Config,
        start: Start,
        at: Timestamp,
    ) -> Result<(Node, Handled), StartError> {
        match state.pins() {
            Some(found) if *found != pins => {
                return Err(StartError::Pins { expected: pins, found: *found });
            }
            None if state.lsn() != Lsn::ZERO => return Err(StartError::Unpinned),
            Some(_) | None => {}
        }
        let mut app = Some(config.payment_app).filter(|app| !app.is_zero());
        if config.mutant("app-without-code") {
            app = app.map(|_| Address::with_last_byte(1));
        }
        if let (Some(found), Some(expected)) = (state.payment_app(), app)
            && found != expected
        {
            return Err(StartError::PaymentApp { expected, found });
        }
        let fresh = state.pins().is_none();
        let mut node = Node {
            state,
            key,
            config,
            session: Session { step_back: 1, started: at, ..Session::default() },
            outbox: Schedule::default(),
            attempts: BTreeMap::new(),
            timers: Schedule::default(),
            active: BTreeSet::new(),
            tally: Tally::default(),
        };
        let mut handled = Handled::default();
        if fresh {
            node.record(at, Event::Pinned(pins), &mut handled);
        }
        if let Some(app) = app.filter(|_| node.state.payment_app().is_none()) {
            node.record(at, Event::PaymentAppPinned { app }, &mut handled);
        }
        if start == Start::Restored && node.state.recovery().is_none() {
            let reason = RecoveryReason::Restored;
            node.record(at, Event::RecoveryEntered { reason }, &mut handled);
        }
        node.resume(at, &mut handled);
        Ok((node, handled))
    }

    /// Takes up where the log left off: every wish is due, every channel is looked at, every peer is asked what it knows.
    fn resume(&mut self, at: Timestamp, handled: &mut Handled) {
        let silent = self.config.mutant("no-resend-after-restart");
        for wish in self.state.wishes().keys() {
            let never = silent && matches!(wish.want, Want::Message(_));
            self.outbox.set(wish.clone(), if never { Timestamp(u64::MAX) } else { at });
        }
        let ids: Vec<ChannelId> = self.state.channels().map(|c| c.id).collect();
        for id in ids {
            let Some(channel) = self.state.channel(id) else { continue };
            handled.answers.push(Effect::Connect { peer: channel.peer });
            if must_ask(channel) {
                self.session.ask.set(id, at);
            }
        }
        for v in self.state.virtual_channels() {
            let others = v.others().filter(|_| v.phase != Phase::Finished);
            handled.answers.extend(others.map(|(_, peer)| Effect::Connect { peer }));
            if must_ask_of(v) {
                self.session.ask.set(v.id, at);
            }
        }
        let all = self.state.channels().map(|c| c.id);
        let all: Vec<_> = all.chain(self.state.virtual_channels().map(|v| v.id)).collect();
        self.crank_all(at, all, handled);
        self.session.poll_at = at;
    }

    /// The state.
    pub fn state(&self) -> &NodeState {
        &self.state
    }

    /// Our address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Messages and commands that were refused, by code.
    pub fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        &self.session.dropped
    }

    /// Those of [`Node::dropped`] that answered a command of our user; the others are peers' messages.
    pub fn commands_refused(&self) -> &BTreeMap<&'static str, u64> {
        &self.session.commands_refused
    }

    /// What this node has recorded amounts to; once told what its log held at the start, everything in it.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts on from what the log held before this node was started.
    pub(crate) fn count_from(&mut self, replayed: &Tally) {
        self.tally = replayed.plus(&self.tally);
    }

    /// Whether the chain endpoint answered last time.
    pub fn chain_is_up(&self) -> bool {
        self.session.chain_up
    }

    /// Handles one input: decides, applies, cranks what changed.
    pub fn handle(&mut self, now: Timestamp, input: Verified) -> Handled {
        let mut handled = Handled::default();
        self.note(now, &input);
        if let Verified::Message { peer, .. } = &input
            && self.config.mutant("silence-unlogged")
        {
            self.state.hear(now, *peer);
        }
        if let Verified::Dropped { why, .. } = &input {
            *self.session.dropped.entry(why.code()).or_default() += 1;
        }
        match self.decide(now, &input) {
            Ok(decision) => self.carry_out(now, decision, &mut handled),
            Err(refusal) => self.refuse(&input, refusal, &mut handled),
        }
        let mut due = self.timers.due(now);
        if let Verified::Blocks { head, .. } = &input {
            self.session.caught_up |=
                self.state.chain().head().is_some_and(|b| b.number >= head.number);
            due.extend(self.due_with_blocks());
        }
        self.crank_all(now, due, &mut handled);
        self.end_recovery(now, &mut handled);
        handled
    }

    /// Volatile bookkeeping that no decision depends on being durable.
    fn note(&mut self, now: Timestamp, input: &Verified) {
        if matches!(input, Verified::Blocks { .. }) {
            self.session.chain_up = true;
            self.session.poll_at = now.after_ms(self.config.poll_ms);
        }
        let Verified::Plain(input) = input else { return };
        match input {
            Input::PeerUp { peer, version } => {
                self.session.up.insert(*peer, *version);
                self.hurry(now, *peer);
            }
            Input::PeerDown { peer } => {
                self.session.up.remove(peer);
            }
            Input::ChainDown => {
                self.session.chain_up = false;
                self.session.poll_at = now.after_ms(self.config.poll_ms);
            }
            Input::Tick
            | Input::Blocks { .. }
            | Input::Frame { .. }
            | Input::Command { .. }
            | Input::NewHead { .. }
            | Input::TxReverted { .. }
            | Input::DepositWithheld { .. } => {}
            Input::Space(space) => self.session.space = *space,
        }
    }

    /// What the input asks for. Pure: reads the state and the session, changes neither.
    fn decide(&self, now: Timestamp, input: &Verified) -> Result<Decision, Refusal> {
        self.check_space(input)?;
        match input {
            Verified::Dropped { .. } => Ok(Decision::default()),
            Verified::Message { peer, message } => {
                self.check_dialect(*peer, message)?;
                self.on_message(now, *peer, message)
            }
            Verified::Blocks { from, head, blocks, published } => {
                let mut decision = self.on_blocks(*from, *head, blocks);
                let shown = self.on_reclaims_shown(blocks, &decision.events);
                decision.events.extend(shown);
                decision.events.splice(0..0, self.on_published(published));
                decision.step_back = Some(decision.step_back.unwrap_or(1));
                Ok(decision)
            }
            Verified::Plain(input) => match input {
                Input::Command { request, command } => self.on_command(*request, command),
                Input::NewHead { number } => Ok(self.on_new_head(*number)),
                Input::TxReverted { call, reason } => Ok(self.on_reverted(call, reason)),
                Input::Space(space) => Ok(Decision::answer(Effect::Notify(Notice::Space(*space)))),
                Input::DepositWithheld { channel, missing } => {
                    let (channel, missing) = (*channel, *missing);
                    let notice = Notice::DepositWithheld { channel, missing };
                    Ok(Decision::answer(Effect::Notify(notice)))
                }
                Input::Frame { .. } | Input::Blocks { .. } => unverified(),
                Input::Tick | Input::PeerUp { .. } | Input::PeerDown { .. } | Input::ChainDown => {
                    Ok(Decision::default())
                }
            },
        }
    }

    fn carry_out(&mut self, now: Timestamp, decision: Decision, handled: &mut Handled) {
        self.session.step_back = decision.step_back.unwrap_or(self.session.step_back);
        if let Some(hash) = decision.suspect {
            // A peer cannot reach this; the endpoint can. One block at a time is all there is to remember.
            let count = self.session.suspects.get(&hash).copied().unwrap_or(0);
            self.session.suspects = BTreeMap::from([(hash, count + 1)]);
        }
        let mut touched = BTreeSet::new();
        for channel in decision.witnessed {
            self.session.witnessed.insert(channel);
            self.session.ask.remove(&channel);
            touched.insert(channel);
        }
        for event in decision.events {
            touched.extend(self.record(now, event, handled));
        }
        handled.answers.extend(decision.answers);
        // What nothing was recorded about waits as before: a flowchart reads the channel, the chain and the clock, and those are
        // looked at where blocks come in and where a timer is due. Looking at all for each input is quadratic in channels.
        self.crank_all(now, touched, handled);
        if let Some((channel, total, request)) = decision.payment {
            let entry = self.session.unsealed.by_channel.entry(channel);
            let (promised, requests) = entry.or_default();
            *promised = total;
            requests.push(request);
        }
    }

    fn refuse(&mut self, input: &Verified, refusal: Refusal, handled: &mut Handled) {
        *self.session.dropped.entry(refusal.code()).or_default() += 1;
        if let Verified::Plain(Input::Command { request, .. }) = input {
            *self.session.commands_refused.entry(refusal.code()).or_default() += 1;
            handled.answers.push(Effect::Reply { request: *request, reply: Err(refusal) });
        } else if let Verified::Message { peer, message } = input {
            handled.answers.extend(self.rejection(*peer, message, &refusal));
        }
    }

    /// Applies one event and keeps the schedules in step.
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        event: Event,
        handled: &mut Handled,
    ) -> Vec<ChannelId> {
        let before = self.state.recovery();
        handled.answers.extend(notice_of(&self.state, &event).map(Effect::Notify));
        if let Event::ObjectiveApproved { id, terms: Some(terms), .. } = &event {
            // A channel that did not exist before this moment cannot have forgotten signatures.
            self.session.witnessed.insert(id.channel);
            let peer = terms.participants.iter().find(|p| **p != self.key.address());
            handled.answers.extend(peer.map(|p| Effect::Connect { peer: *p }));
        }
        if let Event::VirtualApproved { id, terms, .. } = &event {
            self.session.witnessed.insert(id.channel);
            let others = terms.participants.iter().filter(|p| **p != self.key.address());
            handled.answers.extend(others.map(|p| Effect::Connect { peer: *p }));
        }
        let reverts = matches!(event, Event::BlocksReverted { .. });
        // Only a reorg freezes, and looking at every channel for every event adds up.
        let frozen = |state: &NodeState| -> BTreeSet<ChannelId> {
            state.channels().filter(|c| c.frozen).map(|c| c.id).collect()
        };
        let frozen_before = reverts.then(|| frozen(&self.state));
        let touched = self.tally.apply(&mut self.state, now, event.clone());
        if let Event::StateSigned { state, .. } = &event
            && self.config.mutant("proposal-presumed")
        {
            self.state.presume(state.channel());
        }
        handled.events.push(event);
        if let Some(before) = frozen_before {
            for channel in frozen(&self.state).difference(&before).copied() {
                handled.answers.push(Effect::Notify(Notice::DeepReorg { channel }));
            }
        }
        if before.is_none() && self.state.recovery().is_some() {
            self.forget_witnesses(now);
        }
        for channel in &touched {
            self.reschedule(now, *channel);
        }
        touched
    }

    fn forget_witnesses(&mut self, now: Timestamp) {
        self.session.witnessed.clear();
        for channel in self.state.channels().filter(|c| must_ask(c)) {
            self.session.ask.set(channel.id, now);
        }
        for v in self.state.virtual_channels().filter(|v| must_ask_of(v)) {
            self.session.ask.set(v.id, now);
        }
    }

    /// Runs the flowcharts of these channels until they wait, and those of every channel that is touched on the way.
    pub(super) fn crank_all(
        &mut self,
        now: Timestamp,
        touched: impl IntoIterator<Item = ChannelId>,
        handled: &mut Handled,
    ) {
        let mut waiting: BTreeSet<ChannelId> = touched.into_iter().collect();
        while let Some(id) = waiting.pop_first() {
            waiting.extend(self.crank(now, id, handled));
        }
    }

    /// Runs one channel's flowchart until it waits; returns the other channels that it touched.
    fn crank(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        handled: &mut Handled,
    ) -> BTreeSet<ChannelId> {
        let cranks_max = self.cranks_max(id);
        let mut touched = BTreeSet::new();
        for _ in 0..cranks_max {
            let Some(crank) = self.crank_once(now, id) else { return touched };
            match crank {
                Crank::Emit(event) => touched.extend(self.record(now, event, handled)),
                Crank::Wait(waiting) => {
                    self.set_timer(now, id, waiting);
                    touched.remove(&id);
                    return touched;
                }
            }
        }
        panic!("channel {id} was cranked {cranks_max} times and still emits");
    }

    /// Every waiting update may turn out to be one that nobody can afford, and every guarantee one to reclaim: also those of the
    /// state that the peer has finalized, which may be an old one with more of them than ours.
    fn cranks_max(&self, id: ChannelId) -> usize {
        let Some(channel) = self.state.channel(id) else { return CRANKS_MAX };
        let on_chain = guaranteed_on_chain(self.state.chain().at_head(id)).count();
        CRANKS_MAX + channel.updates.len() + channel.guaranteed().count() + on_chain
    }

    /// One turn of the flowchart, changing nothing.
    pub fn crank_once(&self, now: Timestamp, id: ChannelId) -> Option<Crank> {
        let Some(channel) = self.state.channel(id) else {
            let channel = self.state.virtual_channel(id)?;
            return Some(objective::virtuals::crank(&self.virtual_context(now, channel)));
        };
        let head = self.state.chain().at_head(id);
        let hasty = self.config.mutant("confirmations-ignored");
        let cx = Context {
            channel,
            objectives: self.state.objectives(),
            head,
            confirmed: if hasty { head } else { self.state.chain().confirmed(id) },
            chain_now: self.chain_now(now),
            now,
            key: &self.key,
            config: &self.config,
            may_sign: self.may_sign(channel),
            started: self.session.started,
            recovering: self.state.recovery().is_some(),
            virtuals: self.state.virtuals(),
        };
        Some(objective::crank(&cx))
    }

    fn virtual_context<'a>(
        &'a self,
        now: Timestamp,
        channel: &'a VirtualChannel,
    ) -> VirtualContext<'a> {
        // Only the payer can contradict itself: by vouchers, and by what it says that they came to.
        let knows = !channel.is_payer() || self.session.witnessed.contains(&channel.id);
        VirtualContext {
            channel,
            objectives: self.state.objectives(),
            channels: self.state.channel_map(),
            virtuals: self.state.virtuals(),
            head: self.state.chain().at_head(channel.id),
            confirmed: self.state.chain().confirmed(channel.id),
            chain_now: self.chain_now(now),
            now,
            started: self.session.started,
            key: &self.key,
            config: &self.config,
            may_sign: self.state.recovery().is_none() && knows,
            recovering: self.state.recovery().is_some(),
        }
    }

    /// The time by which challenges end.
    fn chain_now(&self, now: Timestamp) -> ChainTime {
        if self.config.mutant("own-clock-trusted") {
            return ChainTime(now.0 / 1_000);
        }
        self.state.chain().now()
    }

    /// A node that may have forgotten its own signature signs nothing new.
    fn may_sign(&self, channel: &Channel) -> bool {
        if self.config.mutant("signs-in-recovery") {
            return true;
        }
        self.state.recovery().is_none()
            && !channel.contradicts_itself()
            && (channel.signed.is_none() || self.session.witnessed.contains(&channel.id))
    }

    fn end_recovery(&mut self, now: Timestamp, handled: &mut Handled) {
        let waiting = |c: &Channel| c.unwitnessed && c.phase < Phase::Disputed;
        if self.state.recovery().is_some()
            && self.session.caught_up
            && !self.state.channels().any(waiting)
            && !self.state.virtual_channels().any(|v| v.unwitnessed)
        {
            let touched = self.record(now, Event::RecoveryEnded, handled);
            self.session.witnessed.extend(touched.iter().copied());
            self.crank_all(now, touched, handled);
        }
    }
}

/// Signatures are checked before they reach a node; anything else is a bug of the caller.
fn unverified() -> ! {
    panic!("a frame or a block reached the node without having been verified")
}

/// A flowchart emits a handful of events before it waits, and drops what waits in the queue; more is a loop of ours.
const CRANKS_MAX: usize = 64;
