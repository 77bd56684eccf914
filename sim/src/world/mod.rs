//! What surrounds the nodes of a run: parties with disks and clocks, the chain, the network's rules, the workload, the faults, and
//! everything that watches.
//!
//! A world knows no engine. An engine executes the drivers' steps and calls the hooks here at each of them; the world says through
//! [`Act`]s what must be started, killed, delivered or fed. So faults, workload, invariants and traces are the same on every engine.

mod account;
pub mod chain;
pub mod faults;
pub mod goals;
pub mod hooks;
pub mod meetings;
pub mod memo;
pub mod network;
pub mod party;
pub mod promises;
mod setup;
pub mod triggers;
pub mod workload;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex};

use fairway_core::event::Pins;
use fairway_core::input::Input;
use fairway_core::nitro::Crypto;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::types::{Address, Amount, BlockNum, ChainTime, ChannelId};
use indexmap::IndexMap;

use self::chain::ChainSim;
use self::goals::Goals;
use self::meetings::Meetings;
use self::memo::Memo;
use self::network::Network;
use self::party::{EPOCH_MS, Party};
use self::workload::Workload;
use crate::byzantine::Cabal;
use crate::chance::{Chance, Site};
use crate::invariant::{Closest, Setting, Violation, Watch};
use crate::observe::{Observed, PartyId};
use crate::scenario::FaultKind;
use crate::scenario::Plan;
use crate::scenario::Side;
use crate::story::Recorder;
use crate::trace::Trace;

/// The chain id of every simulated chain.
pub const CHAIN_ID: u64 = 1337;

/// The application that judges the virtual channels of every simulated chain.
pub const PAYMENT_APP: Address = Address::repeat_byte(0xfa);

/// What the world asks of its engine.
#[derive(Clone, Debug)]
pub enum Act {
    /// Start this party's node over its disk.
    Start(PartyId),
    /// End its process now, without a word.
    Kill(PartyId),
    /// Give the node an input, if it is still this incarnation.
    Input {
        /// Whose.
        party: PartyId,
        /// Which incarnation.
        incarnation: u64,
        /// What.
        input: Input,
    },
    /// Carry these bytes to another party, if the network lets them pass.
    Carry {
        /// From.
        from: PartyId,
        /// To.
        to: PartyId,
        /// What.
        bytes: Vec<u8>,
    },
    /// These two could reach each other again: sessions come back.
    Reconnect(PartyId, PartyId),
}

/// How to run, beyond the plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// The signature scheme.
    pub crypto: Crypto,
    /// Whether to keep what happened, for explanation and pictures.
    pub record: bool,
    /// End a party's process at its n-th driver step, losing everything that was not synced.
    pub crash_at_step: Option<(PartyId, u64)>,
    /// Of what was not synced at that step, the parts that persist all the same: bit `i` is part `i` of the disk's.
    pub crash_keeps: u64,
    /// Look at what a power loss could leave before every driver step of an honest party. Reference engine alone.
    pub survey: bool,
    /// Steps of all drivers after which the run is given up.
    pub steps_max: u64,
    /// Invariants that do not watch: to see what comes of a bug that they would stop at once.
    pub ignore: Vec<String>,
    /// Of a thousand prefixes, how many the enforcer plays through on the contract's model.
    pub search_permille: u64,
    /// Go on after a violation, and put what every invariant finds here, each once.
    pub gather: Option<Gathered>,
}

/// Violations in the order in which they were found. Shared with whoever asked for them, who outlives a run that panics.
pub type Gathered = Arc<Mutex<Vec<Violation>>>;

impl Default for Options {
    fn default() -> Options {
        Options {
            crypto: Crypto::Real,
            record: false,
            crash_at_step: None,
            crash_keeps: 0,
            survey: false,
            steps_max: 2_000_000,
            ignore: Vec::new(),
            search_permille: 10,
            gather: None,
        }
    }
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    Mine,
    Op(usize),
    Pay { op: usize, nth: usize },
    Retry { request: u64 },
    Strike(usize),
    Lift(Lift),
    Start(PartyId),
    Feed { party: PartyId, incarnation: u64, input: Input },
    Fetch { party: PartyId, incarnation: u64, from: BlockNum },
    Heal,
    Promise(usize),
    End,
}

/// A timer with its moment. At one moment, the one that was set first comes first.
struct Due {
    at: u64,
    sequence: u64,
    timer: Timer,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

/// What an event of a log sets off: an operation or a fault, by its place in the plan.
#[derive(Clone, Copy, Debug)]
enum Armed {
    Op(usize),
    Fault(usize),
}

/// The end of a fault that lasts.
#[derive(Clone, Debug)]
pub(crate) enum Lift {
    DiskFull(PartyId),
    Endpoints,
    Mempool,
    Fee,
    Link(PartyId, PartyId),
}

/// One run.
pub struct World {
    /// What was drawn before the run.
    pub plan: Plan,
    /// Virtual nanoseconds since the start.
    pub now: u64,
    /// The source of every random decision.
    pub chance: Chance,
    /// The parties, in the order of the scenario.
    pub parties: Vec<Party>,
    /// The chain.
    pub chain: ChainSim,
    /// The links.
    pub network: Network,
    /// Signature checks.
    pub memo: Memo,
    /// What the coalition knows.
    pub cabal: Cabal,
    /// The run's digest so far.
    pub trace: Trace,
    /// What happened, when it is kept.
    pub recorder: Option<Recorder>,
    /// The first broken invariant.
    pub violation: Option<Violation>,
    /// When the first invariant broke, and at which step.
    pub violated_at: Option<(u64, u64)>,
    /// Driver steps so far, all parties.
    pub steps: u64,
    /// Driver steps so far, by party.
    pub steps_of: Vec<u64>,
    /// How often each fault struck.
    pub fired: IndexMap<FaultKind, u64>,
    /// Goals that were reached.
    pub goals: Goals,
    /// What the faults met.
    pub meetings: Meetings,
    options: Options,
    setting: Setting,
    watch: Watch,
    workload: Workload,
    timers: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    acts: VecDeque<Act>,
    /// Triggers whose event was appended and that strike at a later step of the same party.
    armed: Vec<(Armed, PartyId, Side)>,
    /// Faults that have not struck yet.
    waiting: Vec<bool>,
    /// Faults that last and have not ended.
    lasting: u64,
    healed: bool,
    ended: bool,
    /// Whether the run ended because nothing was left to happen.
    pub settled: bool,
    /// Transactions whose fate is not known yet.
    in_flight: Vec<(PartyId, chain::TxId)>,
    sites: Sites,
}

/// Draws that belong to no link.
struct Sites {
    block_time: Site,
    rpc: Vec<Site>,
    sync: Vec<Site>,
    slow: Vec<Site>,
    chain: BTreeMap<&'static str, Site>,
    disk: BTreeMap<(usize, &'static str), Site>,
}

impl World {
    /// The world of a plan, before anything has happened.
    pub fn new(plan: Plan, chance: Chance, options: Options) -> World {
        let mut chance = chance;
        let names: Vec<String> = plan.parties.iter().map(|p| p.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let adjudicator = Address::repeat_byte(0xad);
        let consensus_app = Address::repeat_byte(0xca);
        let model = Adjudicator::new(consensus_app).with_payment_app(PAYMENT_APP);
        let mut chain = setup::chain(&plan, options.crypto, adjudicator, model);
        let confirmations = u32::try_from(plan.chain.confirmations).unwrap_or(u32::MAX);
        let pins = |me| Pins { chain_id: CHAIN_ID, adjudicator, consensus_app, me, confirmations };
        let parties: Vec<Party> = (0..plan.parties.len())
            .map(|i| setup::make_party(&plan, i, options.crypto, pins))
            .collect();
        for (party, planned) in parties.iter().zip(&plan.parties) {
            chain.fund(Address::ZERO, party.key.address(), planned.funds);
        }
        chain.fund(Address::ZERO, STRANGER, Amount::ether(1_000_000));
        let cabal = setup::coalition(&parties);
        let memo = Memo::new(options.crypto);
        let setting = setup::setting(&plan, &parties, memo.clone(), options.search_permille);
        let recorder = options.record.then(|| Recorder::new(&setting.parties));
        let mut world = World {
            now: 0,
            chain,
            network: Network::new(plan.network.clone(), &names),
            memo,
            cabal,
            trace: Trace::default(),
            recorder,
            violation: None,
            violated_at: None,
            steps: 0,
            steps_of: vec![0; parties.len()],
            fired: IndexMap::new(),
            goals: Goals::new(&plan.goals),
            meetings: Meetings::new(parties.len()),
            watch: setup::watching(&setting, plan.always.as_deref(), &options.ignore),
            setting,
            options,
            workload: Workload::new(&plan, &mut chance),
            timers: BinaryHeap::new(),
            sequence: 0,
            acts: VecDeque::new(),
            armed: Vec::new(),
            waiting: vec![true; plan.faults.len()],
            lasting: 0,
            healed: false,
            ended: false,
            settled: false,
            in_flight: Vec::new(),
            sites: Sites::new(&names),
            parties,
            plan,
            chance,
        };
        world.schedule();
        world
    }

    /// What the run is.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// How near the run came to a loss.
    pub fn closest(&self) -> Option<Closest> {
        self.watch.closest()
    }

    /// How to run.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The party with this name.
    pub fn party_named(&self, name: &str) -> Option<PartyId> {
        self.plan.parties.iter().position(|p| p.name == name).map(PartyId)
    }

    /// The party with this address.
    pub fn party_at(&self, address: Address) -> Option<PartyId> {
        self.parties.iter().position(|p| p.key.address() == address).map(PartyId)
    }

    /// The wire version that a session of these two uses now: what their transports would agree on.
    pub fn agreed(&self, a: PartyId, b: PartyId) -> Option<u16> {
        self.parties[a.0].versions().common(self.parties[b.0].versions())
    }

    /// The channel that operations call by this name, once it was opened.
    pub fn channel_named(&self, name: &str) -> Option<ChannelId> {
        self.workload.channel(name)
    }

    fn schedule(&mut self) {
        for i in 0..self.parties.len() {
            self.after(0, Timer::Start(PartyId(i)));
        }
        self.schedule_block();
        self.schedule_workload();
        self.schedule_faults();
        let chaos = self.plan.phases.chaos.0;
        self.at(chaos, Timer::Heal);
        self.at(chaos.saturating_add(self.plan.phases.settle.0), Timer::End);
    }

    pub(crate) fn at(&mut self, at: u64, timer: Timer) {
        self.sequence += 1;
        self.timers.push(Reverse(Due { at, sequence: self.sequence, timer }));
    }

    pub(crate) fn after(&mut self, delay: u64, timer: Timer) {
        self.at(self.now.saturating_add(delay), timer);
    }

    /// When the world wants to be called next.
    pub fn next_timer(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse(due)| due.at)
    }

    /// Lets everything happen that is due at `now`.
    pub fn fire(&mut self, now: u64) {
        self.now = self.now.max(now);
        while !self.is_over() && self.next_timer().is_some_and(|at| at <= now) {
            if let Some(Reverse(due)) = self.timers.pop() {
                self.fire_one(due.timer);
            }
        }
    }

    fn fire_one(&mut self, timer: Timer) {
        match timer {
            Timer::Mine => self.mine(),
            Timer::Op(op) => self.begin_op(op),
            Timer::Pay { op, nth } => self.begin_payment(op, nth),
            Timer::Retry { request } => self.retry(request),
            Timer::Strike(fault) => self.strike(fault),
            Timer::Lift(lift) => self.lift(lift),
            Timer::Start(party) => self.acts.push_back(Act::Start(party)),
            Timer::Feed { party, incarnation, input } => {
                self.acts.push_back(Act::Input { party, incarnation, input });
            }
            Timer::Fetch { party, incarnation, from } => {
                self.answer_fetch(party, incarnation, from)
            }
            Timer::Heal => self.heal(),
            Timer::Promise(promise) => self.judge_promise(promise),
            Timer::End => self.end_unsettled(),
        }
    }

    /// The next thing that the engine must do.
    pub fn next_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// Whether the engine has something to do.
    pub fn has_acts(&self) -> bool {
        !self.acts.is_empty()
    }

    pub(crate) fn act(&mut self, act: Act) {
        self.acts.push_back(act);
    }

    /// Whether the run is over: an invariant broke, or everything that was to happen has happened.
    pub fn is_over(&self) -> bool {
        self.violation.is_some() || self.ended
    }

    /// Whether faults have ended.
    pub fn is_healed(&self) -> bool {
        self.healed
    }

    /// Shows one observation to everything that watches.
    pub(crate) fn observe(&mut self, seen: &Observed<'_>) {
        self.goals.observe(seen);
        self.meetings.observe(seen);
        show(
            self.now,
            seen,
            self.options.gather.as_ref(),
            &mut self.trace,
            self.recorder.as_mut(),
            &mut self.watch,
            &mut self.violation,
        );
        self.note_violation();
    }

    /// Keeps when the first invariant broke.
    pub(crate) fn note_violation(&mut self) {
        if let Some(violation) = &self.violation
            && self.violated_at.is_none()
        {
            self.violated_at = Some((self.now, self.steps));
            if let Some(recorder) = &mut self.recorder {
                recorder.violated(self.now, violation);
            }
        }
    }

    fn schedule_block(&mut self) {
        let after = self.plan.chain.block_time.draw(&mut self.chance, &self.sites.block_time).0;
        self.after(after.max(1_000_000), Timer::Mine);
    }

    fn mine(&mut self) {
        let now = self.chain_now();
        let (chance, sites) = (&mut self.chance, &mut self.sites.chain);
        let mut choice = |what: &'static str, n: u64| {
            let site = sites.entry(what).or_insert_with(|| Site::new(what));
            chance.choice(site, n)
        };
        self.chain.mine(now, &mut self.memo, &mut choice);
        self.after_block(0);
        self.schedule_block();
        self.end_if_settled();
    }

    /// The time that the next block would have.
    pub(crate) fn chain_now(&self) -> ChainTime {
        ChainTime(EPOCH_MS / 1_000 + self.now / 1_000_000_000)
    }

    /// Tells everybody about a block or a reorg: watchers at once, nodes through their endpoints, adversaries too.
    pub(crate) fn after_block(&mut self, replaced: u64) {
        let World { now, options, trace, recorder, watch, violation, chain, .. } = self;
        let seen = Observed::Block { chain, replaced };
        show(*now, &seen, options.gather.as_ref(), trace, recorder.as_mut(), watch, violation);
        self.note_violation();
        let number = self.chain.head().number;
        for i in 0..self.parties.len() {
            let id = PartyId(i);
            self.tell_account(id);
            if self.parties[i].up {
                let incarnation = self.parties[i].incarnation;
                let delay = self.rpc_latency(id);
                self.after(
                    delay,
                    Timer::Feed { party: id, incarnation, input: Input::NewHead { number } },
                );
            }
            self.let_adversary_see_block(id);
        }
        self.tell_reverts();
    }

    pub(crate) fn rpc_latency(&mut self, party: PartyId) -> u64 {
        self.plan.chain.rpc_latency.draw(&mut self.chance, &self.sites.rpc[party.0]).0
    }

    fn answer_fetch(&mut self, id: PartyId, incarnation: u64, from: BlockNum) {
        let party = &self.parties[id.0];
        let blocks_max = usize::try_from(party.config.blocks_max).unwrap_or(usize::MAX);
        let input = match self.chain.report(party.endpoint, from, blocks_max) {
            Ok(report) => Input::Blocks { from, head: report.head, blocks: report.blocks },
            Err(_) => Input::ChainDown,
        };
        self.act(Act::Input { party: id, incarnation, input });
    }

    /// Draws how long a sync takes.
    pub fn sync_latency(&mut self, party: PartyId) -> u64 {
        let mut latency =
            self.plan.sync_latency.draw(&mut self.chance, &self.sites.sync[party.0]).0;
        for fault in &self.plan.faults {
            if let crate::scenario::FaultAction::Slow { party: whose, latency: extra, .. } =
                &fault.what
                && self.plan.parties[party.0].name == *whose
                && self.now < self.parties[party.0].sync_slow_until
            {
                latency += extra.draw(&mut self.chance, &self.sites.slow[party.0]).0;
            }
        }
        latency
    }

    pub(crate) fn disk_choice<'a>(
        chance: &'a mut Chance,
        sites: &'a mut BTreeMap<(usize, &'static str), Site>,
        party: PartyId,
        name: &'a str,
    ) -> impl FnMut(&'static str, u64) -> u64 + 'a {
        move |what, n| {
            let site = sites.entry((party.0, what)).or_insert_with(|| Site::new(what).of(name));
            chance.choice(site, n)
        }
    }
}

impl Sites {
    fn new(names: &[&str]) -> Sites {
        let each = |what: &'static str| names.iter().map(|n| Site::new(what).of(n)).collect();
        Sites {
            block_time: Site::new("chain.block_time"),
            rpc: each("chain.rpc_latency"),
            sync: each("disk.sync_latency"),
            slow: each("disk.slow"),
            chain: BTreeMap::new(),
            disk: BTreeMap::new(),
        }
    }
}

/// Shows one observation to trace, recorder and invariants; the first violation is kept, or all where they are gathered.
fn show(
    now: u64,
    seen: &Observed<'_>,
    gather: Option<&Gathered>,
    trace: &mut Trace,
    recorder: Option<&mut Recorder>,
    watch: &mut Watch,
    violation: &mut Option<Violation>,
) {
    trace.observe(now, seen);
    if let Some(recorder) = recorder {
        recorder.record(now, seen);
    }
    if violation.is_some() {
        return;
    }
    if let Some(gathered) = gather {
        let found = watch.gather(now, seen);
        if !found.is_empty() {
            gathered.lock().expect("nobody panics while holding it").extend(found);
        }
        return;
    }
    // Not `.err()`: a violation is large, and nearly every look finds none.
    if let Err(found) = watch.observe(now, seen) {
        *violation = Some(found);
    }
}

/// Somebody with money and no part in any channel.
pub(crate) const STRANGER: Address = Address::repeat_byte(0x57);
