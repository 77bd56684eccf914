//! A node: the state, what this process knows besides, and the decisions.
//!
//! `decide` and the cranks are pure; `handle` applies what they decide. Nothing here releases an effect: the driver does, once the
//! log is synced.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use alloy_primitives::B256;

use super::NodeState;
use super::blocks::is_unread;
use super::notices::notice_of;
use super::outbox::{Want, Wish};
use super::release::must_ask;
use super::schedule::Schedule;
use crate::chain_view::OnChainStatus;
use crate::channel::{Channel, Phase};
use crate::config::Config;
use crate::effect::{Effect, Notice, Refusal};
use crate::event::{Event, Pins, RecoveryReason};
use crate::input::{Input, Verified};
use crate::nitro::SecretKey;
use crate::objective::{self, Context, Crank, WaitingFor};
use crate::types::{Address, ChannelId, Lsn, Timestamp};

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
}

/// What this process knows and a restart forgets.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// When this process started.
    pub(super) started: Timestamp,
    /// Peers with a session.
    pub(super) up: BTreeSet<Address>,
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
    /// Whether the endpoint answered last time.
    pub(super) chain_up: bool,
    /// Whether we have reached the endpoint's head since we started.
    pub(super) caught_up: bool,
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
        };
        let mut handled = Handled::default();
        if fresh {
            node.record(at, Event::Pinned(pins), &mut handled);
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
            self.crank(at, id, handled);
        }
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

    /// Whether the chain endpoint answered last time.
    pub fn chain_is_up(&self) -> bool {
        self.session.chain_up
    }

    /// Handles one input: decides, applies, cranks what changed.
    pub fn handle(&mut self, now: Timestamp, input: Verified) -> Handled {
        let mut handled = Handled::default();
        self.note(now, &input);
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
            due.extend(self.active.iter().copied());
        }
        for channel in due {
            self.crank(now, channel, &mut handled);
        }
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
            Input::PeerUp { peer } => {
                self.session.up.insert(*peer);
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
            | Input::TxReverted { .. } => {}
        }
    }

    /// A session came up: what this peer has not acknowledged goes out at once.
    fn hurry(&mut self, now: Timestamp, peer: Address) {
        let to_peer = |w: &&Wish| {
            matches!(w.want, Want::Message(_))
                && self.state.channel(w.channel).is_some_and(|c| c.peer == peer)
        };
        let silent = self.config.mutant("no-resend-after-restart");
        let wishes: Vec<Wish> = self.outbox.keys().filter(to_peer).cloned().collect();
        for wish in wishes.into_iter().filter(|_| !silent) {
            self.attempts.remove(&wish);
            self.outbox.set(wish, now);
        }
        let asked: Vec<ChannelId> = self.session.ask.keys().copied().collect();
        for id in asked {
            if self.state.channel(id).is_some_and(|c| c.peer == peer) {
                self.session.ask.set(id, now);
            }
        }
    }

    /// What the input asks for. Pure: reads the state and the session, changes neither.
    fn decide(&self, now: Timestamp, input: &Verified) -> Result<Decision, Refusal> {
        match input {
            Verified::Dropped { .. } => Ok(Decision::default()),
            Verified::Message { peer, message } => self.on_message(now, *peer, message),
            Verified::Blocks { from, head, blocks, published } => {
                let mut decision = self.on_blocks(*from, *head, blocks);
                decision.events.splice(0..0, self.on_published(published));
                decision.step_back = Some(decision.step_back.unwrap_or(1));
                Ok(decision)
            }
            Verified::Plain(input) => match input {
                Input::Command { request, command } => self.on_command(*request, command),
                Input::NewHead { number } => Ok(self.on_new_head(*number)),
                Input::TxReverted { channel, reason } => Ok(self.on_reverted(*channel, reason)),
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
        for channel in touched {
            self.crank(now, channel, handled);
        }
    }

    fn refuse(&mut self, input: &Verified, refusal: Refusal, handled: &mut Handled) {
        *self.session.dropped.entry(refusal.code()).or_default() += 1;
        if let Verified::Plain(Input::Command { request, .. }) = input {
            handled.answers.push(Effect::Reply { request: *request, reply: Err(refusal) });
        } else if let Verified::Message { peer, message } = input {
            handled.answers.extend(self.rejection(*peer, message, &refusal));
        }
    }

    /// Applies one event and keeps the schedules in step.
    fn record(&mut self, now: Timestamp, event: Event, handled: &mut Handled) -> Vec<ChannelId> {
        let before = self.state.recovery();
        handled.answers.extend(notice_of(&self.state, &event).map(Effect::Notify));
        if let Event::ObjectiveApproved { id, terms: Some(terms), .. } = &event {
            // A channel that did not exist before this moment cannot have forgotten signatures.
            self.session.witnessed.insert(id.channel);
            let peer = terms.participants.iter().find(|p| **p != self.key.address());
            handled.answers.extend(peer.map(|p| Effect::Connect { peer: *p }));
        }
        let reverts = matches!(event, Event::BlocksReverted { .. });
        // Only a reorg freezes, and looking at every channel for every event adds up.
        let frozen = |state: &NodeState| -> BTreeSet<ChannelId> {
            state.channels().filter(|c| c.frozen).map(|c| c.id).collect()
        };
        let frozen_before = reverts.then(|| frozen(&self.state));
        let touched = self.state.apply(now, event.clone());
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
    }

    /// New wishes are due at once.
    fn reschedule(&mut self, now: Timestamp, channel: ChannelId) {
        for (wish, _) in self.state.wishes_of(channel) {
            if !self.outbox.contains(wish) {
                self.outbox.set(wish.clone(), now);
            }
        }
    }

    /// Runs one channel's flowchart until it waits.
    fn crank(&mut self, now: Timestamp, id: ChannelId, handled: &mut Handled) {
        // Every waiting update may turn out to be one that nobody can afford.
        let waiting = self.state.channel(id).map_or(0, |c| c.updates.len());
        let cranks_max = CRANKS_MAX.saturating_add(waiting);
        for _ in 0..cranks_max {
            let Some(crank) = self.crank_once(now, id) else { return };
            match crank {
                Crank::Emit(event) => {
                    let _ = self.record(now, event, handled);
                }
                Crank::Wait(waiting) => {
                    self.set_timer(now, id, waiting);
                    return;
                }
            }
        }
        panic!("channel {id} was cranked {cranks_max} times and still emits");
    }

    /// One turn of the flowchart, changing nothing.
    pub fn crank_once(&self, now: Timestamp, id: ChannelId) -> Option<Crank> {
        let channel = self.state.channel(id)?;
        let cx = Context {
            channel,
            objectives: self.state.objectives(),
            head: self.state.chain().at_head(id),
            confirmed: self.state.chain().confirmed(id),
            chain_now: self.state.chain().now(),
            now,
            key: &self.key,
            config: &self.config,
            may_sign: self.may_sign(channel),
            started: self.session.started,
            recovering: self.state.recovery().is_some(),
        };
        Some(objective::crank(&cx))
    }

    /// A node that may have forgotten its own signature signs nothing new.
    fn may_sign(&self, channel: &Channel) -> bool {
        self.state.recovery().is_none()
            && (channel.signed.is_none() || self.session.witnessed.contains(&channel.id))
    }

    fn set_timer(&mut self, now: Timestamp, id: ChannelId, waiting: WaitingFor) {
        let Some(channel) = self.state.channel(id) else { return };
        let live = self.state.sources(id).is_some_and(|s| {
            [s.fund, s.defund, s.dispute].into_iter().flatten().any(objective::Objective::is_live)
        });
        let on_chain = self.state.chain().at_head(id);
        let watched = on_chain.concluded && !on_chain.held.is_zero()
            || matches!(on_chain.status, OnChainStatus::Challenged(_))
            || is_unread(on_chain, channel);
        if live || watched {
            self.active.insert(id);
        } else {
            self.active.remove(&id);
        }
        let at = match waiting {
            WaitingFor::Withdraw => {
                Some(channel.progress_at.after_ms(self.config.conclude_after_ms))
            }
            WaitingFor::Witness
            | WaitingFor::CompletePrefund
            | WaitingFor::MyTurnToFund
            | WaitingFor::CompleteFunding
            | WaitingFor::CompletePostfund
            | WaitingFor::Finalization
            | WaitingFor::Holdings => {
                let since = channel.progress_at.max(self.session.started);
                Some(since.after_ms(self.config.silence_ms))
            }
            WaitingFor::ChallengeMined | WaitingFor::ChallengeEnd | WaitingFor::Nothing => None,
        };
        // A moment that has passed was taken into account by the crank that now waits; set again it would wake us at once, for ever.
        match at.filter(|at| live && *at > now) {
            Some(at) => self.timers.set(id, at),
            None => self.timers.remove(&id),
        }
    }

    fn end_recovery(&mut self, now: Timestamp, handled: &mut Handled) {
        let waiting = |c: &Channel| c.unwitnessed && c.phase < Phase::Disputed;
        if self.state.recovery().is_some()
            && self.session.caught_up
            && !self.state.channels().any(waiting)
        {
            let _ = self.record(now, Event::RecoveryEnded, handled);
            let ids: Vec<ChannelId> = self.state.channels().map(|c| c.id).collect();
            for id in ids {
                self.session.witnessed.insert(id);
                self.crank(now, id, handled);
            }
        }
    }
}

/// Signatures are checked before they reach a node; anything else is a bug of the caller.
fn unverified() -> ! {
    panic!("a frame or a block reached the node without having been verified")
}

/// A flowchart emits a handful of events before it waits, and drops what waits in the queue; more is a loop of ours.
const CRANKS_MAX: usize = 64;
