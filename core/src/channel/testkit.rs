//! Builders with plain names, for the tests of every layer from here up.

use alloc::vec::Vec;

use crate::channel::Channel;
use crate::event::{Pins, Terms};
use crate::nitro::outcome::two_party;
use crate::nitro::{Crypto, SecretKey, SignedState, State};
use crate::types::{Address, Amount, ChannelId, Timestamp, TurnNum};

/// The application of direct channels.
pub const APP: Address = Address::repeat_byte(0xaa);

pub fn key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Crypto::Real).unwrap()
}

/// The leader.
pub fn alice() -> SecretKey {
    key(1)
}

/// The follower.
pub fn bob() -> SecretKey {
    key(2)
}

/// A stranger.
pub fn carol() -> SecretKey {
    key(3)
}

pub fn wei(n: u64) -> Amount {
    Amount::wei(n)
}

pub fn turn(n: u64) -> TurnNum {
    TurnNum::new(n).unwrap()
}

/// Alice and Bob deposit 10 wei each.
pub fn terms() -> Terms {
    Terms {
        participants: [alice().address(), bob().address()],
        nonce: 1,
        challenge_duration: 600,
        asset: Address::ZERO,
        deposits: [wei(10), wei(10)],
    }
}

pub fn channel_id() -> ChannelId {
    terms().fixed_part(APP).channel_id()
}

pub fn pins(of: &SecretKey) -> Pins {
    Pins {
        chain_id: 1,
        adjudicator: Address::repeat_byte(0xad),
        consensus_app: APP,
        me: of.address(),
        confirmations: 2,
    }
}

/// The state of `turn` that gives Alice and Bob these amounts.
pub fn state(n: u64, amounts: [u64; 2]) -> State {
    let [a, b] = terms().participants;
    let [x, y] = amounts.map(wei);
    State {
        fixed: terms().fixed_part(APP),
        outcome: two_party(Address::ZERO, [(a, x), (b, y)]),
        app_data: Default::default(),
        turn: turn(n),
        is_final: false,
    }
}

pub fn final_state(n: u64, amounts: [u64; 2]) -> State {
    State { is_final: true, ..state(n, amounts) }
}

/// `state` with the signatures of those who are named.
pub fn signed(state: State, by: &[SecretKey]) -> SignedState {
    let hash = state.hash();
    let sigs: Vec<_> = (0u8..)
        .zip(&state.fixed.participants)
        .filter_map(|(i, p)| by.iter().find(|k| k.address() == *p).map(|k| (i, k.sign(hash))))
        .collect();
    SignedState::verify(state, sigs, &mut Crypto::Real).unwrap()
}

pub fn by_both(state: State) -> SignedState {
    signed(state, &[alice(), bob()])
}

/// The channel as `me` sees it, with nothing signed.
pub fn new_channel(me: &SecretKey) -> Channel {
    Channel::new(channel_id(), &terms(), APP, me.address(), Timestamp(0)).unwrap()
}

/// The same with this state unanimous.
pub fn channel_at(me: &SecretKey, state: State) -> Channel {
    let mut channel = new_channel(me);
    channel.merge(by_both(state));
    channel
}
