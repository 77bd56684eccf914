//! Three parties, one channel, and a stream of observations for one invariant.
//!
//! Alice (the leader) and Bob are honest, Mallory is not. Their channel has 5 ETH of each. Signatures are real, states are verified,
//! blocks come from a real [`ChainSim`]: the chain of [`blocks`] is the one that [`Story::funded`] mines.

use fairway_core::chain_types::{BlockRef, IndexedLog};
use fairway_core::event::{Event, ObjectiveId, ObjectiveKind, Origin, Pins, Terms};
use fairway_core::machine::NodeState;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{Call, Claim, Crypto, Log, SecretKey, Signature, SignedState, State};
use fairway_core::types::{
    Address, Amount, BlockNum, ChainTime, ChannelId, Lsn, Timestamp, TurnNum,
};
use fairway_core::wire::{StateClaim, Wire};

use super::{Invariant, Setting, Violation, Watch, all};
use crate::observe::{Observed, PartyId, PartyInfo};
use crate::world::chain::{ChainSim, MempoolFaults, ReorgPolicy};

pub const ALICE: PartyId = PartyId(0);
pub const BOB: PartyId = PartyId(1);
pub const MALLORY: PartyId = PartyId(2);

pub const APP: Address = Address::repeat_byte(0xca);
/// The application that judges virtual channels.
pub const PAYMENT_APP: Address = Address::repeat_byte(0xfa);
const TOKEN: Address = Address::repeat_byte(0x70);
pub const START: u64 = 1_700_000_000;
const BLOCK_TIME_S: u64 = 12;

pub fn key(party: PartyId) -> SecretKey {
    SecretKey::new([party.0 as u8 + 1; 32], Crypto::Real).expect("a small number is a key")
}

pub fn address(party: PartyId) -> Address {
    key(party).address()
}

pub fn ether(n: u64) -> Amount {
    Amount::ether(n)
}

pub fn turn(n: u64) -> TurnNum {
    TurnNum::new(n).expect("a small turn")
}

pub fn setting() -> Setting {
    let party = |id: PartyId, name: &str| {
        let pins = pins(id);
        let honest = id != MALLORY;
        PartyInfo { name: name.into(), address: address(id), honest, pins }
    };
    Setting {
        parties: vec![party(ALICE, "Alice"), party(BOB, "Bob"), party(MALLORY, "Mallory")],
        memo: crate::world::memo::Memo::new(Crypto::Real),
        confirmations: 3,
        reorg_depth_max: 6,
        chain_is_fair: true,
        block_time_s: BLOCK_TIME_S,
        search_permille: 1_000,
    }
}

pub fn pins(of: PartyId) -> Pins {
    Pins {
        chain_id: 1,
        adjudicator: Address::repeat_byte(0xad),
        consensus_app: APP,
        me: address(of),
        confirmations: 3,
    }
}

pub fn terms() -> Terms {
    Terms {
        participants: [address(ALICE), address(BOB)],
        nonce: 1,
        challenge_duration: 60,
        asset: Address::ZERO,
        deposits: [ether(5), ether(5)],
    }
}

pub fn channel() -> ChannelId {
    terms().fixed_part(APP).channel_id()
}

fn state_of(terms: &Terms, n: u64, [a, b]: [u64; 2], is_final: bool) -> State {
    let shares = Terms { deposits: [ether(a), ether(b)], ..terms.clone() };
    State {
        fixed: terms.fixed_part(APP),
        outcome: shares.opening(),
        app_data: Default::default(),
        turn: turn(n),
        is_final,
    }
}

/// Shares in ETH.
pub fn state(turn: u64, shares: [u64; 2]) -> State {
    state_of(&terms(), turn, shares, false)
}

pub fn final_state(turn: u64, shares: [u64; 2]) -> State {
    state_of(&terms(), turn, shares, true)
}

/// A state of a channel between Mallory and Bob.
pub fn mallorys(turn: u64, shares: [u64; 2]) -> State {
    let participants = [address(MALLORY), address(BOB)];
    state_of(&Terms { participants, ..terms() }, turn, shares, false)
}

fn index(state: &State, who: PartyId) -> u8 {
    state.fixed.index_of(address(who)).expect("a participant") as u8
}

fn signed(state: &State, who: PartyId) -> SignedState {
    let sig = key(who).sign(state.hash());
    let sigs = [(index(state, who), sig)];
    SignedState::verify(state.clone(), sigs, &mut Crypto::Real).expect("just signed")
}

/// A state with a signature that is none, as only a broken disk could bring one.
pub fn forged_state(state: &State, who: PartyId) -> SignedState {
    let real = serde_json::to_string(&signed(state, who)).expect("states are plain data");
    let [good, bad] = [who, MALLORY].map(|p| format!("{:?}", key(p).sign(state.hash())));
    serde_json::from_str(&real.replace(&good, &bad)).expect("only a signature was replaced")
}

/// `who` logs its own signature.
pub fn signs(state: &State, who: PartyId) -> Event {
    Event::StateSigned { state: signed(state, who), update: None }
}

/// Somebody logs the signature of `from`.
pub fn receives(state: &State, from: PartyId) -> Event {
    Event::StateReceived { state: signed(state, from), from: address(from) }
}

/// A message with the signature of `who`.
pub fn said(state: &State, who: PartyId) -> Wire {
    let sigs = vec![(index(state, who), key(who).sign(state.hash()))];
    Wire::State(StateClaim { state: state.clone(), sigs })
}

pub fn objective(kind: ObjectiveKind) -> ObjectiveId {
    ObjectiveId { channel: channel(), kind }
}

/// Our user asks for an objective.
pub fn approves(kind: ObjectiveKind) -> Event {
    let terms = (kind == ObjectiveKind::DirectFund).then(terms);
    Event::ObjectiveApproved { id: objective(kind), origin: Origin::User, terms }
}

pub fn wants_deposit(held: u64, amount: u64) -> Event {
    let (held_before, amount) = (ether(held), ether(amount));
    Event::DepositWanted { channel: channel(), held_before, amount }
}

pub fn deposit(held: u64, amount: u64) -> Call {
    let (expected_held, amount) = (ether(held), ether(amount));
    Call::Deposit { asset: Address::ZERO, channel: channel(), expected_held, amount }
}

/// As [`deposit`], in a token that anybody can make.
pub fn worthless_deposit(amount: u64) -> Call {
    let (expected_held, amount) = (Amount::ZERO, ether(amount));
    Call::Deposit { asset: TOKEN, channel: channel(), expected_held, amount }
}

fn by_both(state: &State) -> Claim {
    let sigs = [ALICE, BOB].map(|p| key(p).sign(state.hash()));
    Claim { state: state.clone(), sigs: sigs.to_vec() }
}

pub fn challenger_sig(state: &State, who: PartyId) -> Signature {
    key(who).sign(challenge_hash(state.hash()))
}

pub fn challenge(state: &State, by: PartyId) -> Call {
    let challenger_sig = challenger_sig(state, by);
    Call::Challenge { proof: vec![], candidate: by_both(state), challenger_sig }
}

pub fn checkpoint(state: &State) -> Call {
    Call::Checkpoint { proof: vec![], candidate: by_both(state) }
}

pub fn conclude(state: &State) -> Call {
    Call::ConcludeAndTransferAllAssets { candidate: by_both(state) }
}

pub fn transfer_all(state: &State) -> Call {
    let (outcome, state_hash) = (state.outcome.clone(), state.hash());
    Call::TransferAllAssets { channel: channel(), outcome, state_hash }
}

pub fn transfer_one(state: &State, index: u64) -> Call {
    let (outcome, state_hash) = (state.outcome.clone(), state.hash());
    let indices = vec![index];
    Call::Transfer { asset_index: 0, channel: channel(), outcome, state_hash, indices }
}

/// Alice's deposit is in block 2, Bob's in block 6; block 9 confirms it.
fn funded_chain() -> ChainSim {
    let mut chain = ChainSim::new(ChainTime(START), Adjudicator::new(APP));
    for who in [ALICE, BOB, MALLORY] {
        chain.fund(Address::ZERO, address(who), ether(100));
        chain.fund(TOKEN, address(who), ether(100));
    }
    for number in 1..=9 {
        match number {
            2 => drop(chain.submit(Timestamp(0), address(ALICE), deposit(0, 5))),
            6 => drop(chain.submit(Timestamp(0), address(BOB), deposit(5, 5))),
            _ => {}
        }
        mine(&mut chain);
    }
    chain
}

fn mine(chain: &mut ChainSim) {
    let now = ChainTime(chain.head().time.0 + BLOCK_TIME_S);
    chain.mine(now, &mut Crypto::Real, &mut |_, _| 0);
}

fn added(chain: &ChainSim, number: u64) -> Event {
    let block = chain.block_at(BlockNum(number)).expect("a mined block");
    Event::BlockAdded { block: block.header, logs: block.logs.clone() }
}

/// Blocks of the funded chain as a node logs them; above block 9 they are empty.
pub fn blocks(numbers: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    let mut chain = funded_chain();
    while chain.head().number.0 < *numbers.end() {
        mine(&mut chain);
    }
    numbers.map(|n| added(&chain, n)).collect()
}

/// One block of the funded chain.
pub fn block(number: u64) -> BlockRef {
    match blocks(number..=number).pop() {
        Some(Event::BlockAdded { block, .. }) => block,
        _ => unreachable!("blocks are blocks"),
    }
}

/// A block of the funded chain in which a stranger's endpoint shows a conclusion.
pub fn concluded_in(number: u64) -> Event {
    let log = Log::Concluded { channel: channel(), finalizes_at: ChainTime(START) };
    Event::BlockAdded { block: block(number), logs: vec![IndexedLog { index: 0, log }] }
}

/// The same event with its logs withheld.
pub fn without_logs(event: Event) -> Event {
    match event {
        Event::BlockAdded { block, .. } => Event::BlockAdded { block, logs: vec![] },
        other => other,
    }
}

/// The same event with deposits of another asset.
pub fn in_another_asset(event: Event) -> Event {
    let Event::BlockAdded { block, mut logs } = event else { return event };
    for l in &mut logs {
        if let Log::Deposited { asset, .. } = &mut l.log {
            *asset = TOKEN;
        }
    }
    Event::BlockAdded { block, logs }
}

/// Position in Bob's [`opened`] log of his decision to deposit.
pub const BOB_DEPOSITS: usize = 10;

/// The log of an honest participant up to the open channel.
pub fn opened(who: PartyId) -> Vec<Event> {
    let (me, peer) = if who == ALICE { (ALICE, BOB) } else { (BOB, ALICE) };
    let (prefund, postfund) = (state(0, [5, 5]), state(1, [5, 5]));
    let mut log = vec![Event::Pinned(pins(me)), approves(ObjectiveKind::DirectFund)];
    log.extend([signs(&prefund, me), receives(&prefund, peer)]);
    log.extend(blocks(0..=0));
    if who == ALICE {
        log.push(wants_deposit(0, 5));
    }
    log.extend(blocks(1..=5));
    if who == BOB {
        log.push(wants_deposit(5, 5));
    }
    log.extend(blocks(6..=9));
    log.extend([signs(&postfund, me), receives(&postfund, peer)]);
    log.push(Event::ObjectiveCompleted { id: objective(ObjectiveKind::DirectFund) });
    log
}

/// The state that these events give.
pub fn folded(events: &[Event]) -> NodeState {
    fold(&events.iter().map(|e| (Timestamp(0), e.clone())).collect::<Vec<_>>())
}

fn fold(log: &[(Timestamp, Event)]) -> NodeState {
    let mut state = NodeState::default();
    for (at, event) in log {
        state.apply(*at, event.clone());
    }
    state
}

pub fn assert_fires(violation: &Violation, name: &str, by: PartyId) {
    assert_eq!((violation.invariant.as_str(), violation.by), (name, Some(by)), "{violation:?}");
}

/// Observations for some invariants, and what must be known to make them.
pub struct Story {
    watch: Watch,
    pub chain: ChainSim,
    logs: [Vec<(Timestamp, Event)>; 3],
    synced: [usize; 3],
    now_ns: u64,
}

type Told = Result<(), Violation>;

impl Story {
    /// One for the invariant with this name, on a chain without a channel.
    pub fn of(name: &str) -> Story {
        Story::about(all(&setting()).into_iter().filter(|i| i.name() == name).collect())
    }

    /// One for all invariants.
    pub fn of_all() -> Story {
        Story::about(all(&setting()))
    }

    fn about(invariants: Vec<Box<dyn Invariant + Send>>) -> Story {
        assert!(!invariants.is_empty(), "no invariant has this name");
        let model = Adjudicator::new(APP).with_payment_app(PAYMENT_APP);
        let mut chain = ChainSim::new(ChainTime(START), model);
        for who in [ALICE, BOB, MALLORY] {
            chain.fund(Address::ZERO, address(who), ether(100));
            chain.fund(TOKEN, address(who), ether(100));
        }
        let (logs, synced) = (Default::default(), Default::default());
        let watch = Watch::new(&setting(), invariants);
        Story { watch, chain, logs, synced, now_ns: 0 }
    }

    /// As [`Story::of`], on the chain that [`blocks`] shows.
    pub fn funded(name: &str) -> Story {
        let mut story = Story::of(name);
        story.funds();
        story
    }

    /// The chain becomes the one that [`blocks`] shows.
    pub fn funds(&mut self) {
        for number in 1..=9 {
            match number {
                2 => self.submit(ALICE, deposit(0, 5)),
                6 => self.submit(BOB, deposit(5, 5)),
                _ => {}
            }
            self.mines(1).expect("money comes in");
        }
        assert_eq!(self.chain.head(), block(9), "the story's chain is the one of its blocks");
    }

    pub fn tell(&mut self, seen: &Observed<'_>) -> Told {
        self.now_ns += 1_000_000;
        self.watch.observe(self.now_ns, seen)
    }

    pub fn appends(&mut self, node: PartyId, events: Vec<Event>) -> Told {
        let first = Lsn(self.logs[node.0].len() as u64 + 1);
        let at = Timestamp(self.now_ns / 1_000_000);
        let events: Vec<_> = events.into_iter().map(|e| (at, e)).collect();
        self.logs[node.0].extend(events.clone());
        self.tell(&Observed::Appended { node, first, events: &events })
    }

    pub fn syncs(&mut self, node: PartyId) -> Told {
        self.synced[node.0] = self.logs[node.0].len();
        let end = Lsn(self.synced[node.0] as u64);
        self.tell(&Observed::Synced { node, end })
    }

    pub fn logs(&mut self, node: PartyId, events: Vec<Event>) -> Told {
        self.appends(node, events)?;
        self.syncs(node)
    }

    /// The node logs the whole chain as it is now.
    pub fn logs_chain(&mut self, node: PartyId) -> Told {
        let events = (0..=self.chain.head().number.0).map(|n| added(&self.chain, n)).collect();
        self.logs(node, events)
    }

    pub fn log(&self, node: PartyId) -> Vec<(Timestamp, Event)> {
        self.logs[node.0].clone()
    }

    /// What the node's memory should be.
    pub fn state(&self, node: PartyId) -> NodeState {
        fold(&self.logs[node.0])
    }

    pub fn sends(&mut self, node: PartyId, to: PartyId, wire: &Wire) -> Told {
        self.tell(&Observed::Sent { node, to, wire: Some(wire), bytes: &[] })
    }

    /// Sends a state with the sender's signature.
    pub fn says(&mut self, node: PartyId, to: PartyId, state: &State) -> Told {
        self.sends(node, to, &said(state, node))
    }

    pub fn hears(&mut self, node: PartyId, from: PartyId, wire: &Wire) -> Told {
        self.tell(&Observed::Delivered { node, from, wire: Some(wire) })
    }

    pub fn hears_garbage(&mut self, node: PartyId, from: PartyId) -> Told {
        self.tell(&Observed::Delivered { node, from, wire: None })
    }

    /// Submits a transaction that the chain may mine.
    pub fn submits(&mut self, node: PartyId, call: &Call) -> Told {
        self.submit(node, call.clone());
        self.tell(&Observed::Submitted { node, call })
    }

    fn submit(&mut self, node: PartyId, call: Call) {
        self.chain.submit(Timestamp(self.now_ns / 1_000_000), address(node), call);
    }

    /// Submits a transaction that is lost on the way.
    pub fn submits_in_vain(&mut self, node: PartyId, call: &Call) -> Told {
        self.chain.set_mempool(MempoolFaults { drop_permille: 1000, ..MempoolFaults::default() });
        self.submits(node, call)
    }

    pub fn mines(&mut self, blocks: u64) -> Told {
        for _ in 0..blocks {
            mine(&mut self.chain);
            self.shows_chain(0)?;
        }
        Ok(())
    }

    /// Mines one block with this transaction.
    pub fn mines_call(&mut self, from: PartyId, call: Call) -> Told {
        self.submit(from, call);
        self.mines(1)
    }

    pub fn reorgs(&mut self, depth: u64, policy: ReorgPolicy) -> Told {
        let now = ChainTime(self.chain.head().time.0 + BLOCK_TIME_S);
        let done = self.chain.reorg(depth, policy, now, &mut Crypto::Real, &mut |_, _| 0);
        done.expect("the chain is long enough");
        self.shows_chain(depth)
    }

    fn shows_chain(&mut self, replaced: u64) -> Told {
        self.now_ns += BLOCK_TIME_S * 1_000_000_000;
        let chain = self.chain.clone();
        self.tell(&Observed::Block { chain: &chain, replaced })
    }

    pub fn rests(&mut self, node: PartyId, state: &NodeState) -> Told {
        let durable = Lsn(self.synced[node.0] as u64);
        self.tell(&Observed::Rested { node, state, durable, refused: 0 })
    }

    /// Restarts over everything that was appended.
    pub fn restarts(&mut self, node: PartyId, may_have_forgotten: bool) -> Told {
        let log = self.logs[node.0].clone();
        self.restarts_over_log(node, &log, may_have_forgotten)
    }

    /// Restarts over these events.
    pub fn restarts_over(&mut self, node: PartyId, log: &[Event], forgotten: bool) -> Told {
        self.restarts_with(node, log, &folded(log), forgotten)
    }

    /// Restarts over this log.
    pub fn restarts_over_log(
        &mut self,
        node: PartyId,
        log: &[(Timestamp, Event)],
        may_have_forgotten: bool,
    ) -> Told {
        self.logs[node.0] = log.to_vec();
        self.synced[node.0] = log.len();
        let state = &fold(log);
        self.tell(&Observed::Restarted { node, log, state, may_have_forgotten })
    }

    /// Restarts over these events with a memory of its own.
    pub fn restarts_with(
        &mut self,
        node: PartyId,
        log: &[Event],
        state: &NodeState,
        may_have_forgotten: bool,
    ) -> Told {
        let log: Vec<_> = log.iter().map(|e| (Timestamp(0), e.clone())).collect();
        self.tell(&Observed::Restarted { node, log: &log, state, may_have_forgotten })
    }

    pub fn crashes_and_loses_nothing(&mut self, node: PartyId) {
        self.tell(&Observed::Crashed { node }).expect("a crash breaks nothing");
    }

    pub fn crashes_and_loses_the_unsynced(&mut self, node: PartyId) -> Told {
        self.crashes_and_loses_nothing(node);
        let log = self.logs[node.0][..self.synced[node.0]].to_vec();
        self.restarts_over_log(node, &log, false)
    }

    pub fn heals(&mut self) -> Told {
        self.tell(&Observed::Healed)
    }

    /// The run ends with these honest nodes up.
    pub fn ends(&mut self, up: &[PartyId]) -> Told {
        let states: Vec<_> = up.iter().map(|p| (*p, self.state(*p))).collect();
        let nodes: Vec<_> = states.iter().map(|(p, state)| (*p, state)).collect();
        let chain = self.chain.clone();
        self.tell(&Observed::Ended { nodes: &nodes, chain: &chain })
    }
}
