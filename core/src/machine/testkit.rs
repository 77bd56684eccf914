//! A few nodes, two unless said otherwise, a chain and the mail between them. No disk: everything is durable at once; the driver's tests add one.
//!
//! After every input the world checks what must hold for any node at any time: the wish index equals its recomputation, a full
//! crank of every channel adds nothing, and no deadline lies in the past.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use alloy_primitives::{B256, keccak256};

use super::node::{Handled, Node, Start};
use super::state::NodeState;
use crate::chain_types::{Block, BlockRef};
use crate::channel::testkit::*;
use crate::channel::{Channel, Phase};
use crate::config::Config;
use crate::effect::{Accepted, Effect, Refusal};
use crate::event::{Event, ObjectiveId, ObjectiveKind};
use crate::input::{Command, Input, Message, RequestId, Verified, verify};
use crate::nitro::adjudicator::Adjudicator;
use crate::nitro::{Call, Crypto, Log, SecretKey};
use crate::objective::{Crank, Objective, dispute};
use crate::types::{Address, Amount, BlockNum, ChainTime, ChannelId, Timestamp, TurnNum};
use crate::wire::Wire;

pub const ALICE: usize = 0;
pub const BOB: usize = 1;

/// The application of virtual channels.
pub const PAYMENT_APP: Address = Address::repeat_byte(0xbb);

/// Alice, Bob, Carol, and so on.
pub fn key_of(who: usize) -> SecretKey {
    key(u8::try_from(who + 1).unwrap())
}

pub fn id_of(kind: ObjectiveKind) -> ObjectiveId {
    ObjectiveId { channel: channel_id(), kind }
}

/// The block at `number` on a branch of its own for every `fork`.
pub fn block_ref(number: u64, fork: u8) -> BlockRef {
    let hash = |n: u64| {
        if n == u64::MAX { B256::ZERO } else { keccak256([&n.to_be_bytes()[..], &[fork]].concat()) }
    };
    BlockRef {
        number: BlockNum(number),
        hash: hash(number),
        parent: hash(number.wrapping_sub(1)),
        time: ChainTime(1_000 + 12 * number),
    }
}

pub struct World<const N: usize = 2> {
    pub nodes: [Node; N],
    /// What each node logged.
    pub logs: [Vec<(Timestamp, Event)>; N],
    /// What each node signed, ever: also what a restart from an older log forgot.
    pub signed: [Vec<(TurnNum, B256)>; N],
    /// What each node released, ever.
    pub released: [Vec<Effect>; N],
    /// Whether what this node sends is lost.
    pub cut: [bool; N],
    /// Accounts that revert when they are paid.
    pub refusing: BTreeSet<Address>,
    /// Whether transactions of this node are mined.
    pub mined: [bool; N],
    pub chain: Adjudicator,
    pub blocks: Vec<Block>,
    pub now: Timestamp,
    /// Whom the contract paid.
    pub payouts: Vec<(Address, Amount)>,
    /// Whether the endpoint shows the calldata of transactions.
    pub calldata: bool,
    pool: Vec<(usize, Call)>,
    mail: VecDeque<(usize, Input)>,
}

pub fn start(
    who: usize,
    state: NodeState,
    config: Config,
    start: Start,
    now: Timestamp,
) -> (Node, Handled) {
    let key = key_of(who);
    Node::start(state, pins(&key), key.clone(), config, start, now).unwrap()
}

impl<const N: usize> World<N> {
    /// Nodes that know nobody yet.
    pub fn of(config: Config) -> World<N> {
        let now = Timestamp(1_000_000);
        let started: [(Node, Handled); N] = core::array::from_fn(|who| {
            start(who, NodeState::default(), config.clone(), Start::Normal, now)
        });
        let logs = core::array::from_fn(|i| {
            started[i].1.events.iter().map(|e| (now, e.clone())).collect()
        });
        let mut world = World {
            nodes: started.map(|(node, _)| node),
            logs,
            signed: core::array::from_fn(|_| Vec::new()),
            released: core::array::from_fn(|_| Vec::new()),
            cut: [false; N],
            refusing: BTreeSet::new(),
            mined: [true; N],
            chain: Adjudicator::new(APP).with_payment_app(PAYMENT_APP),
            blocks: alloc::vec![Block::new(block_ref(0, 0), [])],
            now,
            pool: Vec::new(),
            payouts: Vec::new(),
            calldata: true,
            mail: VecDeque::new(),
        };
        world.settle();
        world
    }
}

impl World {
    pub fn new() -> World {
        World::with(Config::default())
    }

    pub fn with(config: Config) -> World {
        World::of(config)
    }

    /// A world in which the channel is open.
    pub fn open() -> World {
        World::open_with(Config::default())
    }

    pub fn open_with(config: Config) -> World {
        let mut world = World::with(config);
        world.command(ALICE, Command::Open(terms())).unwrap();
        world.mine(12);
        for who in [ALICE, BOB] {
            assert_eq!(world.channel(who).phase, Phase::Open, "node {who}");
        }
        world
    }

    pub fn channel(&self, who: usize) -> &Channel {
        self.nodes[who].state().channel(channel_id()).expect("the channel is known")
    }

    pub fn objective(&self, who: usize, kind: ObjectiveKind) -> Option<&Objective> {
        self.nodes[who].state().objectives().get(&id_of(kind))
    }

    /// The peer of `who` says this.
    pub fn hear(&mut self, who: usize, message: Message) -> Handled {
        let peer = key_of(1 - who).address();
        self.verified(who, Verified::Message { peer, message })
    }

    pub fn hear_wire(&mut self, who: usize, wire: Wire) -> Handled {
        let peer = key_of(1 - who).address();
        self.input(who, Input::Frame { peer, bytes: wire.encode() })
    }
}

impl<const N: usize> World<N> {
    /// Handles one input and releases what follows.
    pub fn verified(&mut self, who: usize, input: Verified) -> Handled {
        let mut handled = self.nodes[who].handle(self.now, input);
        let sealed = self.nodes[who].seal(self.now);
        handled.events.extend(sealed.events);
        handled.answers.extend(sealed.answers);
        self.keep(who, &handled);
        self.check(who);
        handled
    }

    fn keep(&mut self, who: usize, handled: &Handled) {
        self.logs[who].extend(handled.events.iter().map(|e| (self.now, e.clone())));
        self.signed[who].extend(handled.events.iter().filter_map(|e| match e {
            Event::StateSigned { state, .. } => Some((state.turn(), state.hash())),
            _ => None,
        }));
        for effect in handled.answers.clone() {
            self.release(who, effect);
        }
        let durable = self.nodes[who].state().lsn();
        for effect in self.nodes[who].due(self.now, durable) {
            self.release(who, effect);
        }
    }

    fn check(&self, who: usize) {
        let node = &self.nodes[who];
        assert!(node.state().wishes_are_consistent(), "wishes of node {who}");
        let direct = node.state().channels().map(|c| c.id);
        for id in direct.chain(node.state().virtual_channels().map(|v| v.id)) {
            if let Some(Crank::Emit(event)) = node.crank_once(self.now, id) {
                panic!("node {who} would add {event:?}");
            }
        }
        let deadline = node.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "node {who} spins at {:?}", self.now);
    }

    pub fn input(&mut self, who: usize, input: Input) -> Handled {
        self.verified(who, verify(input, &mut Crypto::Real))
    }

    /// Runs a command until everybody rests.
    pub fn command(&mut self, who: usize, command: Command) -> Result<Accepted, Refusal> {
        let reply = self.command_alone(who, command);
        self.settle();
        reply
    }

    pub fn command_alone(&mut self, who: usize, command: Command) -> Result<Accepted, Refusal> {
        let handled = self.input(who, Input::Command { request: RequestId(1), command });
        let reply = handled.answers.into_iter().find_map(|a| match a {
            Effect::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        reply.expect("every command is answered")
    }

    fn release(&mut self, who: usize, effect: Effect) {
        let Some(effect) = self.nodes[who].in_dialect(effect) else { return };
        self.released[who].push(effect.clone());
        match effect {
            Effect::Send { peer, bytes } => {
                let to = (0..N).find(|i| key_of(*i).address() == peer).unwrap_or(who);
                if !self.cut[who] && to != who {
                    let peer = key_of(who).address();
                    self.mail.push_back((to, Input::Frame { peer, bytes }));
                }
            }
            Effect::Submit { call, .. } => {
                if self.mined[who] && !self.pool.contains(&(who, call.clone())) {
                    self.pool.push((who, call));
                }
            }
            Effect::FetchBlocks { from } => {
                let known = self.blocks.iter().skip(from.0 as usize).take(64).cloned();
                let stripped = |b: Block| Block { calldata: None, ..b };
                let blocks = known.map(|b| if self.calldata { b } else { stripped(b) }).collect();
                let head = self.blocks.last().unwrap().header;
                self.mail.push_back((who, Input::Blocks { from, head, blocks }));
            }
            Effect::Withdraw { .. }
            | Effect::Connect { .. }
            | Effect::Reply { .. }
            | Effect::Notify(_) => {}
        }
    }

    /// Delivers the mail until there is none.
    pub fn settle(&mut self) {
        for who in 0..N {
            self.input(who, Input::Tick);
        }
        for _ in 0..10_000 {
            let Some((to, input)) = self.mail.pop_front() else { return };
            self.input(to, input);
        }
        panic!("the nodes talk without end");
    }

    /// Time passes, second by second.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.after_ms(1_000);
            self.settle();
        }
    }

    /// Mines `n` blocks, twelve seconds apart, with everything that was submitted.
    pub fn mine(&mut self, n: u64) {
        for _ in 0..n {
            self.pass(12);
            let header = block_ref(self.blocks.len() as u64, 0);
            let (mut logs, mut calls): (Vec<Log>, Vec<Call>) = Default::default();
            for (who, call) in core::mem::take(&mut self.pool) {
                let refuses = |to| self.refusing.contains(&to);
                match self.chain.call(header.time, &call, &refuses, &mut Crypto::Real) {
                    Ok(executed) => {
                        logs.extend(executed.logs);
                        self.payouts.extend(executed.payouts.iter().map(|p| (p.to, p.amount)));
                        calls.push(call);
                    }
                    Err(revert) => {
                        let reason = alloc::format!("{revert}");
                        self.mail.push_back((who, Input::TxReverted { call, reason }));
                    }
                }
            }
            self.blocks.push(Block::new(header, logs).with_calldata(&calls));
            let number = header.number;
            for who in 0..N {
                self.mail.push_front((who, Input::NewHead { number }));
            }
            self.settle();
        }
    }

    /// A payout of what is left of a channel, as a node reads it; of nothing where it knows nothing.
    pub fn payout_of(&self, who: usize, channel: ChannelId) -> Call {
        let state = self.nodes[who].state();
        let head = state.chain().at_head(channel);
        let read = |c: &Channel| dispute::outcomes_now(head, c, &state.virtuals()).pop();
        let outcome = state.channel(channel).and_then(read).unwrap_or_default();
        let (state_hash, indices) = (B256::ZERO, alloc::vec![0]);
        Call::Transfer { asset_index: 0, channel, outcome, state_hash, indices }
    }

    /// Somebody else's transaction, in the next block.
    pub fn submit(&mut self, who: usize, call: Call) {
        self.pool.push((who, call));
    }

    /// Ends the process and starts it again over the same log.
    pub fn restart(&mut self, who: usize, how: Start) {
        self.restart_from(who, how, usize::MAX);
    }

    /// The same over the first `events` of its log.
    pub fn restart_from(&mut self, who: usize, how: Start, events: usize) {
        self.logs[who].truncate(events);
        let config = self.nodes[who].config().clone();
        self.start_again(who, how, config);
    }

    /// The same over its whole log, with other settings.
    pub fn restart_with(&mut self, who: usize, config: Config) {
        self.start_again(who, Start::Normal, config);
    }

    fn start_again(&mut self, who: usize, how: Start, config: Config) {
        let mut state = NodeState::default();
        for (at, event) in &self.logs[who] {
            state.apply(*at, event.clone());
        }
        let (node, handled) = start(who, state, config, how, self.now);
        self.mail.retain(|(to, _)| *to != who);
        self.nodes[who] = node;
        self.keep(who, &handled);
        self.check(who);
    }

    /// The calls that this node ever submitted.
    pub fn submitted(&self, who: usize) -> impl Iterator<Item = &Call> {
        self.released[who].iter().filter_map(|e| match e {
            Effect::Submit { call, .. } => Some(call),
            _ => None,
        })
    }

    /// Every turn of which this node signed two states. What carries its key's signature without a `StateSigned` of its own was
    /// made by somebody who has the key.
    pub fn equivocations(&self, who: usize) -> Vec<TurnNum> {
        let mut seen = alloc::collections::BTreeMap::new();
        let signed = self.signed[who].iter();
        signed
            .filter(|(turn, hash)| seen.entry(*turn).or_insert(*hash) != hash)
            .map(|s| s.0)
            .collect()
    }
}
