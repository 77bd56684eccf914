//! A small synthetic run: Alice signs turn 5 before it is durable, loses power and pays the same money again.

use fairway_core::event::{Event, ObjectiveId, ObjectiveKind, Origin, Pins, Terms, UpdateId};
use fairway_core::machine::NodeState;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::nitro::outcome::two_party;
use fairway_core::nitro::{Call, Crypto, FixedPart, SecretKey, SignedState, State};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, Lsn, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::{Names, Recorder};
use crate::invariant::{Kind, Violation};
use crate::observe::{Observed, PartyId, PartyInfo};
use crate::world::chain::ChainSim;

pub const STORY: &str = "Alice loses power while she pays Bob. Whatever was torn from her disk, Bob keeps\nwhat he was told about.";

fn key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Crypto::Real).expect("a number below n")
}

pub fn alice() -> Address {
    key(1).address()
}

pub fn bob() -> Address {
    key(2).address()
}

pub fn parties() -> Vec<PartyInfo> {
    let party = |name: &str, address| PartyInfo {
        name: name.into(),
        address,
        honest: true,
        pins: pins(address),
    };
    vec![party("alice", alice()), party("bob", bob())]
}

fn pins(me: Address) -> Pins {
    let (adjudicator, consensus_app) = (Address::with_last_byte(8), Address::with_last_byte(9));
    Pins { chain_id: 31337, adjudicator, consensus_app, me, confirmations: 1 }
}

pub fn names() -> Names {
    Names::new(&parties())
}

fn fixed() -> FixedPart {
    FixedPart {
        participants: vec![alice(), bob()],
        nonce: 7,
        app_definition: Address::with_last_byte(9),
        challenge_duration: 600,
    }
}

pub fn channel() -> ChannelId {
    fixed().channel_id()
}

pub fn state(turn: u64, eth: [u64; 2]) -> State {
    let [a, b] = eth.map(Amount::ether);
    State {
        fixed: fixed(),
        outcome: two_party(Address::ZERO, [(alice(), a), (bob(), b)]),
        app_data: Default::default(),
        turn: TurnNum::new(turn).expect("small"),
        is_final: false,
    }
}

fn signed(by: u8, state: &State) -> SignedState {
    let sig = key(by).sign(state.hash());
    SignedState::verify(state.clone(), [(by - 1, sig)], &mut Crypto::Real).expect("just signed")
}

fn signs(by: u8, state: &State) -> (Timestamp, Event) {
    (Timestamp(0), Event::StateSigned { state: signed(by, state), update: Some(UpdateId(1)) })
}

fn message(by: u8, state: &State) -> Wire {
    let sigs = vec![(by - 1, key(by).sign(state.hash()))];
    Wire::State(StateClaim { state: state.clone(), sigs })
}

pub fn fault(what: &str) -> Observed<'_> {
    Observed::Fault { id: 0, what }
}

pub fn violation() -> Violation {
    Violation {
        invariant: "durable-before-sent".into(),
        kind: Kind::Safety,
        by: Some(PartyId(0)),
        channel: Some(channel()),
        what: "Alice sent turn 5 before her log was synced up to it".into(),
        loss: Some((PartyId(1), Amount::ether(3))),
    }
}

/// A state of a node that has logged these events.
pub fn folded(me: Address, events: &[Event]) -> NodeState {
    let mut state = NodeState::default();
    state.apply(Timestamp(0), Event::Pinned(pins(me)));
    for event in events {
        state.apply(Timestamp(0), event.clone());
    }
    state
}

pub fn opens(origin: Origin) -> Event {
    let terms = Terms {
        participants: [alice(), bob()],
        nonce: 7,
        challenge_duration: 600,
        asset: Address::ZERO,
        deposits: [5, 5].map(Amount::ether),
    };
    let id = ObjectiveId { channel: channel(), kind: ObjectiveKind::DirectFund };
    Event::ObjectiveApproved { id, origin, terms: Some(terms) }
}

/// Opening, a deposit, a payment that is lost, a power loss, a restart.
pub fn recorded_run() -> Recorder {
    let mut recorder = Recorder::new(&parties());
    let (a, b) = (PartyId(0), PartyId(1));
    let ms = 1_000_000;
    let open = [(Timestamp(0), opens(Origin::User))];
    recorder.record(100 * ms, &Observed::Appended { node: a, first: Lsn(2), events: &open });
    recorder.record(101 * ms, &Observed::Synced { node: a, end: Lsn(2) });

    let mut chain = ChainSim::new(ChainTime(1000), Adjudicator::new(Address::with_last_byte(9)));
    chain.fund(Address::ZERO, bob(), Amount::ether(20));
    let (channel, expected_held) = (channel(), Amount::ZERO);
    let amount = Amount::ether(5);
    let call = Call::Deposit { asset: Address::ZERO, channel, expected_held, amount };
    recorder.record(900 * ms, &Observed::Submitted { node: b, call: &call });
    chain.submit(Timestamp(0), bob(), call);
    chain.mine(ChainTime(1012), &mut Crypto::Real, &mut |_, _| 0);
    recorder.record(1000 * ms, &Observed::Block { chain: &chain, replaced: 0 });

    let (four, five) = (message(2, &state(4, [6, 4])), message(1, &state(5, [3, 7])));
    let four_bytes = four.encode();
    let sent = Observed::Sent { node: b, to: a, wire: Some(&four), bytes: &four_bytes };
    recorder.record(2000 * ms, &sent);
    let delivered = Observed::Delivered { node: a, from: b, wire: Some(&four) };
    recorder.record(2030 * ms, &delivered);
    recorder.record(2035 * ms, &delivered);

    let pays = [signs(1, &state(5, [3, 7]))];
    recorder.record(3000 * ms, &Observed::Appended { node: a, first: Lsn(3), events: &pays });
    let state = folded(alice(), &[opens(Origin::User)]);
    let rested = Observed::Rested { node: a, state: &state, durable: Lsn(2), refused: 0 };
    recorder.record(3001 * ms, &rested);
    let five_bytes = five.encode();
    let sent = Observed::Sent { node: a, to: b, wire: Some(&five), bytes: &five_bytes };
    recorder.record(3204 * ms, &sent);
    recorder.record(3300 * ms, &fault("alice loses power: 3 of 5 unsynced sectors survive"));
    recorder.record(3300 * ms, &Observed::Crashed { node: a });
    let log = [(Timestamp(0), opens(Origin::User))];
    let restarted =
        Observed::Restarted { node: a, log: &log, state: &state, may_have_forgotten: true };
    recorder.record(3400 * ms, &restarted);
    recorder.record(3450 * ms, &Observed::Sent { node: b, to: a, wire: None, bytes: &[7; 12] });
    recorder.record(3460 * ms, &Observed::Healed);
    recorder
}
