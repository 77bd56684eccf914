//! Two real nodes on a lossy network, over disks that lose what was not synced, on a chain that reorganizes: enough of a world to ask
//! whether an invariant fires on what our own node does. Everything is drawn from one number.

use std::collections::VecDeque;

use fairway_core::config::Config;
use fairway_core::driver::{Done, Driver, Step, recorded, replay};
use fairway_core::effect::Effect;
use fairway_core::event::Event;
use fairway_core::input::{Command, Input, RequestId, verify};
use fairway_core::log::{self, Change, FileWrite, Files};
use fairway_core::machine::Start;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::nitro::{Call, Crypto, SecretKey};
use fairway_core::types::{Address, BlockNum, ChainTime, Lsn, Timestamp};
use fairway_core::wire::Wire;

use super::fixture::{ALICE, APP, BOB, START, channel, ether, pins, setting, terms};
use super::{Setting, Violation, Watch, all};
use crate::observe::{Observed, PartyId};
use crate::world::chain::{ChainSim, ReorgPolicy};

/// One node and its disk.
struct Actor {
    driver: Option<Driver>,
    files: Files,
    durable: Files,
    log: Vec<(Timestamp, Event)>,
    inputs: VecDeque<Input>,
    back_at_ms: u64,
}

/// What may go wrong, in thousandths a step.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub drop: u64,
    pub repeat: u64,
    pub crash: u64,
    pub reorg: u64,
}

pub struct Actors {
    pub chain: ChainSim,
    /// How many observations were made.
    pub seen: u64,
    watch: Watch,
    actors: Vec<Actor>,
    /// When it arrives, to whom, from whom, what.
    wire: Vec<(u64, PartyId, PartyId, Vec<u8>)>,
    mutant: Option<&'static str>,
    now_ms: u64,
    draws: u64,
}

type Told = Result<(), Violation>;

fn key(party: PartyId) -> SecretKey {
    SecretKey::new([party.0 as u8 + 1; 32], Crypto::Toy).expect("a small number is a key")
}

impl Actors {
    pub fn new(seed: u64, mutant: Option<&'static str>) -> Actors {
        let setting = Setting { memo: crate::world::memo::Memo::new(Crypto::Toy), ..setting() };
        let mut chain = ChainSim::new(ChainTime(START), Adjudicator::new(APP));
        for who in [ALICE, BOB] {
            chain.fund(Address::ZERO, key(who).address(), ether(100));
        }
        let actor = || Actor {
            driver: None,
            files: Files::new(),
            durable: Files::new(),
            log: Vec::new(),
            inputs: VecDeque::new(),
            back_at_ms: 0,
        };
        let watch = Watch::new(&setting, all(&setting));
        let actors = vec![actor(), actor()];
        let draws = seed.wrapping_mul(2).wrapping_add(1);
        let wire = Vec::new();
        Actors { chain, seen: 0, watch, actors, wire, mutant, now_ms: 0, draws }
    }

    /// Opens, pays to and fro, closes; faults until `healed_ms`, quiet until `end_ms`.
    pub fn live(&mut self, faults: Faults, healed_ms: u64, end_ms: u64) -> Told {
        let mut next_block_ms = 12_000;
        let mut next_pay_ms = 100_000;
        let (mut opened, mut closed, mut healed) = (false, false, false);
        while self.now_ms < end_ms {
            self.now_ms += 250;
            let faults = if self.now_ms < healed_ms { faults } else { Faults::default() };
            if self.now_ms >= healed_ms && !healed {
                healed = true;
                self.tell(&Observed::Healed)?;
            }
            self.fates(faults)?;
            if self.now_ms >= next_block_ms {
                next_block_ms += 12_000;
                self.block(faults)?;
            }
            if self.now_ms > 1_000 && !opened {
                opened = self.command(ALICE, Command::Open(terms()));
            }
            if self.now_ms > next_pay_ms && !closed {
                next_pay_ms += 5_000 + self.draw(9) * 1_000;
                let who = PartyId(self.draw(2) as usize);
                let amount = fairway_core::types::Amount::wei(1 + self.draw(1_000_000));
                self.command(who, Command::Pay { channel: channel(), amount });
            }
            if self.now_ms > healed_ms.saturating_sub(20_000) && !closed {
                let who = PartyId(self.draw(2) as usize);
                closed = self.command(who, Command::Close { channel: channel() });
            }
            self.deliver(faults)?;
            for node in [ALICE, BOB] {
                self.pump(node, faults)?;
            }
        }
        let states: Vec<_> = [ALICE, BOB]
            .into_iter()
            .filter_map(|p| Some((p, self.actors[p.0].driver.as_ref()?.node().state().clone())))
            .collect();
        let nodes: Vec<_> = states.iter().map(|(p, s)| (*p, s)).collect();
        let chain = self.chain.clone();
        self.tell(&Observed::Ended { nodes: &nodes, chain: &chain })
    }

    fn draw(&mut self, n: u64) -> u64 {
        self.draws ^= self.draws << 13;
        self.draws ^= self.draws >> 7;
        self.draws ^= self.draws << 17;
        (self.draws >> 11) % n.max(1)
    }

    fn happens(&mut self, permille: u64) -> bool {
        permille > 0 && self.draw(1000) < permille
    }

    fn tell(&mut self, seen: &Observed<'_>) -> Told {
        self.seen += 1;
        let now_ns = self.now_ms * 1_000_000;
        self.watch.observe(now_ns, seen)
    }

    fn command(&mut self, node: PartyId, command: Command) -> bool {
        let actor = &mut self.actors[node.0];
        let up = actor.driver.is_some();
        if up {
            actor.inputs.push_back(Input::Command { request: RequestId(1), command });
        }
        up
    }

    /// Crashes and restarts.
    fn fates(&mut self, faults: Faults) -> Told {
        for node in [ALICE, BOB] {
            if self.actors[node.0].driver.is_some() {
                if self.happens(faults.crash) {
                    self.crash(node)?;
                }
            } else if self.now_ms >= self.actors[node.0].back_at_ms {
                self.start(node)?;
            }
        }
        Ok(())
    }

    fn crash(&mut self, node: PartyId) -> Told {
        let down_ms = 500 + self.draw(20_000);
        let power_loss = self.draw(2) == 0;
        let actor = &mut self.actors[node.0];
        actor.driver = None;
        actor.inputs.clear();
        actor.back_at_ms = self.now_ms + down_ms;
        if power_loss {
            actor.files = actor.durable.clone();
        }
        self.tell(&Observed::Crashed { node })
    }

    fn start(&mut self, node: PartyId) -> Told {
        let config = Config { mutant: self.mutant, ..Config::default() };
        let pins = fairway_core::event::Pins { me: key(node).address(), ..pins(node) };
        let files = self.actors[node.0].files.clone();
        let now = Timestamp(self.now_ms);
        let driver = Driver::open(&files, pins, key(node), config, Start::Normal, now);
        let opened = log::open(&files).expect("only the unsynced is lost");
        let log = recorded(&opened).expect("our own events");
        let (state, _) = replay(&opened).expect("our own events");
        let actor = &mut self.actors[node.0];
        actor.driver = Some(driver.expect("only the unsynced is lost"));
        actor.log = log.clone();
        let seen =
            Observed::Restarted { node, log: &log, state: &state, may_have_forgotten: false };
        self.tell(&seen)
    }

    fn block(&mut self, faults: Faults) -> Told {
        let now = ChainTime(START + self.now_ms / 1000);
        let (reorgs, depth) = (self.happens(faults.reorg), 1 + self.draw(3));
        let mut draws = self.draw(u64::MAX);
        let mut choice = |_: &'static str, n: u64| {
            draws = draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (draws >> 33) % n
        };
        let replaced = if reorgs && depth < self.chain.head().number.0 {
            let policy = ReorgPolicy::Drawn;
            let done = self.chain.reorg(depth, policy, now, &mut Crypto::Toy, &mut choice);
            done.map_or(0, |_| depth)
        } else {
            self.chain.mine(now, &mut Crypto::Toy, &mut choice);
            0
        };
        let number = self.chain.head().number;
        for actor in &mut self.actors {
            actor.inputs.push_back(Input::NewHead { number });
        }
        let chain = self.chain.clone();
        self.tell(&Observed::Block { chain: &chain, replaced })
    }

    fn deliver(&mut self, faults: Faults) -> Told {
        let now_ms = self.now_ms;
        let (due, later) = std::mem::take(&mut self.wire).into_iter().partition(|m| m.0 <= now_ms);
        self.wire = later;
        let due: Vec<_> = due;
        for (_, to, from, bytes) in due {
            if self.happens(faults.repeat) {
                let again = now_ms + 1_000 + self.draw(30_000);
                self.wire.push((again, to, from, bytes.clone()));
            }
            if self.actors[to.0].driver.is_none() {
                continue;
            }
            let wire = Wire::decode(&bytes).ok();
            self.tell(&Observed::Delivered { node: to, from, wire: wire.as_ref() })?;
            let peer = key(from).address();
            self.actors[to.0].inputs.push_back(Input::Frame { peer, bytes });
        }
        Ok(())
    }

    fn pump(&mut self, node: PartyId, faults: Faults) -> Told {
        let now = Timestamp(self.now_ms);
        let mut ticked = false;
        loop {
            let Some(driver) = &mut self.actors[node.0].driver else { return Ok(()) };
            match driver.next(now) {
                Step::Repair(repair) => {
                    let actor = &mut self.actors[node.0];
                    repair.changes.iter().for_each(|change| apply(&mut actor.files, change));
                    actor.durable = actor.files.clone();
                    self.done(node, Done::Repaired);
                }
                Step::Append(writes) => {
                    let actor = &mut self.actors[node.0];
                    writes.iter().for_each(|w| write(&mut actor.files, w));
                    let opened = log::open(&actor.files).expect("just written");
                    let all = recorded(&opened).expect("just written");
                    let events = all[actor.log.len()..].to_vec();
                    let first = Lsn(actor.log.len() as u64 + 1);
                    actor.log = all;
                    self.tell(&Observed::Appended { node, first, events: &events })?;
                    self.done(node, Done::Appended);
                    if self.happens(faults.crash * 10) {
                        return self.crash(node);
                    }
                }
                Step::Sync(_) => {
                    let actor = &mut self.actors[node.0];
                    actor.durable = actor.files.clone();
                    let end = Lsn(actor.log.len() as u64);
                    self.done(node, Done::Synced);
                    self.tell(&Observed::Synced { node, end })?;
                }
                Step::Release(effect) => {
                    self.release(node, effect, faults)?;
                    if self.happens(faults.crash * 3) {
                        return self.crash(node);
                    }
                }
                Step::Wait { until } => {
                    let actor = &mut self.actors[node.0];
                    let input = actor.inputs.pop_front().or_else(|| {
                        let due = until.is_some_and(|at| at <= now) && !ticked;
                        ticked = true;
                        due.then_some(Input::Tick)
                    });
                    let Some(input) = input else { return self.rest(node) };
                    if let Some(driver) = &mut self.actors[node.0].driver {
                        driver.input(now, verify(input, &mut Crypto::Toy));
                    }
                }
            }
        }
    }

    fn done(&mut self, node: PartyId, done: Done) {
        if let Some(driver) = &mut self.actors[node.0].driver {
            driver.done(done);
        }
    }

    fn rest(&mut self, node: PartyId) -> Told {
        let Some(driver) = self.actors[node.0].driver.clone() else { return Ok(()) };
        let (state, durable) = (driver.node().state(), driver.durable());
        self.tell(&Observed::Rested { node, state, durable, refused: 0 })
    }

    fn release(&mut self, node: PartyId, effect: Effect, faults: Faults) -> Told {
        match effect {
            Effect::Send { peer, bytes } => {
                let to = if peer == key(ALICE).address() { ALICE } else { BOB };
                let wire = Wire::decode(&bytes).ok();
                self.tell(&Observed::Sent { node, to, wire: wire.as_ref(), bytes: &bytes })?;
                if !self.happens(faults.drop) {
                    let at = self.now_ms + 50 + self.draw(800);
                    self.wire.push((at, to, node, bytes));
                }
            }
            Effect::Submit { call, .. } => self.submit(node, call)?,
            Effect::Connect { peer } => {
                self.actors[node.0].inputs.push_back(Input::PeerUp { peer, version: 2 });
            }
            Effect::FetchBlocks { from } => {
                let at = usize::try_from(from.0).unwrap_or(usize::MAX);
                let blocks = self.chain.canonical().iter().skip(at).take(64);
                let blocks = blocks.map(|b| (**b).clone()).collect();
                let (from, head) = (BlockNum(from.0), self.chain.head());
                self.actors[node.0].inputs.push_back(Input::Blocks { from, head, blocks });
            }
            Effect::Withdraw { .. } => {}
            Effect::Notify(notice) => self.tell(&Observed::Notified { node, notice: &notice })?,
            Effect::Reply { reply, .. } => {
                if let Err(refusal) = reply {
                    self.tell(&Observed::Refused { node, refusal: &refusal })?;
                }
            }
        }
        Ok(())
    }

    fn submit(&mut self, node: PartyId, call: Call) -> Told {
        self.chain.submit(Timestamp(self.now_ms), key(node).address(), call.clone());
        self.tell(&Observed::Submitted { node, call: &call })
    }
}

fn apply(files: &mut Files, change: &Change) {
    match change {
        Change::Write(w) => write(files, w),
        Change::Truncate { file, length } => {
            if let Some(bytes) = files.get_mut(file) {
                bytes.truncate(*length as usize);
            }
        }
        Change::Remove { file } => drop(files.remove(file)),
    }
}

fn write(files: &mut Files, write: &FileWrite) {
    let file = files.entry(write.file).or_default();
    let end = write.offset as usize + write.bytes.len();
    file.resize(file.len().max(end), 0);
    file[write.offset as usize..end].copy_from_slice(&write.bytes);
}
