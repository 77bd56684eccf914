//! Parties that do not keep to the protocol. Honest nodes never know which of their peers is one.
//!
//! A byzantine party may run an honest node inside: its strategy sees everything that reaches the party and everything that the
//! inner node wants to release, and decides what really leaves. What it can sign is limited by the types: the [`Cabal`] holds the
//! coalition's keys and every signature that any of its members ever saw, and nothing else.

use std::collections::BTreeMap;

use fairway_core::chain_types::Block;
use fairway_core::effect::Effect;
use fairway_core::nitro::{SecretKey, SignedState};
use fairway_core::types::{Address, ChannelId, Timestamp, TurnNum};
use fairway_core::wire::Wire;

/// What the coalition knows together.
#[derive(Clone, Default)]
pub struct Cabal {
    /// Keys of its members.
    pub keys: BTreeMap<Address, SecretKey>,
    /// Every state with every signature that a member saw or made, merged by hash. Several per turn if somebody equivocated.
    pub states: BTreeMap<(ChannelId, TurnNum), Vec<SignedState>>,
}

/// What a strategy is called about.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A message reached the party; the inner node gets it too, unless [`Acts::hide_from_inner`] is set.
    Message {
        /// From whom.
        from: Address,
        /// What.
        wire: &'a Wire,
    },
    /// The inner honest node wants to release this. It leaves only if the strategy returns it.
    Wish(&'a Effect),
    /// A block was mined.
    Block(&'a Block),
    /// Time passed.
    Timer,
}

/// What a strategy does.
#[derive(Debug, Default)]
pub struct Acts {
    /// Effects that leave the party now.
    pub release: Vec<Effect>,
    /// Whether the inner node is kept from what was seen.
    pub hide_from_inner: bool,
}

/// One way to misbehave. Cloning one clones everything, so that worlds can be forked.
pub trait Strategy {
    /// Its name in scenarios.
    fn name(&self) -> &'static str;

    /// What the party does about what it sees. `me` is its address.
    fn act(&mut self, now: Timestamp, me: Address, seen: &Seen<'_>, cabal: &mut Cabal) -> Acts;

    /// A copy of this strategy with everything that it remembers.
    fn boxed_clone(&self) -> Box<dyn Strategy + Send>;
}

/// TEMP
pub fn by_name(_n: &str) -> Option<Box<dyn Strategy + Send>> { None }
/// TEMP
pub fn call(s: &mut dyn Strategy, now: Timestamp, me: Address, seen: &Seen<'_>, cabal: &mut Cabal, _memo: &mut crate::world::memo::Memo, _c: &mut dyn FnMut(&'static str, u64) -> u64) -> Acts { s.act(now, me, seen, cabal) }
