//! One channel between Alice, who runs the strategy, and Bob, who is honest: hand-made things to see, and what came of them.

use std::collections::BTreeSet;

use fairway_core::chain_types::{B256, Block, BlockRef};
use fairway_core::effect::Effect;
use fairway_core::nitro::outcome::two_party;
use fairway_core::nitro::{Call, Claim, Crypto, FixedPart, Log, SecretKey, SignedState, State};
use fairway_core::types::{Address, Amount, ChainTime, ChannelId, Timestamp, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::{Acts, Cabal, Seen, Strategy};

pub fn alice() -> SecretKey {
    SecretKey::new([1; 32], Crypto::Real).expect("a number below n")
}

pub fn bob() -> SecretKey {
    SecretKey::new([2; 32], Crypto::Real).expect("a number below n")
}

pub fn fixed() -> FixedPart {
    FixedPart {
        participants: vec![alice().address(), bob().address()],
        nonce: 7,
        app_definition: Address::with_last_byte(9),
        challenge_duration: 600,
    }
}

pub fn channel() -> ChannelId {
    fixed().channel_id()
}

/// The state of `turn` in which Alice and Bob have so many ETH.
pub fn update(turn: u64, eth: [u64; 2]) -> State {
    let [a, b] = eth.map(Amount::ether);
    State {
        fixed: fixed(),
        outcome: two_party(Address::ZERO, [(alice().address(), a), (bob().address(), b)]),
        app_data: Default::default(),
        turn: TurnNum::new(turn).expect("small"),
        is_final: false,
    }
}

pub fn prefund() -> State {
    update(0, [5, 5])
}

pub fn last(turn: u64, eth: [u64; 2]) -> State {
    State { is_final: true, ..update(turn, eth) }
}

/// `state` with the signature of `key` alone, as a node sends it.
pub fn own(key: &SecretKey, state: &State) -> StateClaim {
    let index = state.fixed.index_of(key.address()).expect("a participant");
    StateClaim { state: state.clone(), sigs: vec![(index as u8, key.sign(state.hash()))] }
}

pub fn unanimous(state: &State) -> SignedState {
    let sigs = [own(&alice(), state), own(&bob(), state)].map(|c| c.sigs[0]);
    SignedState::verify(state.clone(), sigs, &mut Crypto::Real).expect("both have signed")
}

pub fn send(to: SecretKey, claim: &StateClaim) -> Effect {
    Effect::Send { peer: to.address(), bytes: Wire::State(claim.clone()).encode() }
}

pub fn challenge_block(signed: &SignedState) -> Block {
    let (channel, candidate) = (signed.channel(), Claim::from(signed));
    let finalizes_at = ChainTime(600);
    Block::new(BlockRef::default(), [Log::ChallengeRegistered { channel, finalizes_at, candidate }])
}

pub fn cleared_block(turn: u64) -> Block {
    let turn = TurnNum::new(turn).expect("small");
    Block::new(BlockRef::default(), [Log::ChallengeCleared { channel: channel(), turn }])
}

/// Every state that a released effect shows, with the signatures that hold.
pub fn states_in(effect: &Effect) -> Vec<SignedState> {
    let mut cabal = Cabal::default();
    cabal.learn_effect(effect, &mut Crypto::Real);
    cabal.states.into_values().flatten().collect()
}

/// The messages among the effects.
pub fn wires(effects: &[Effect]) -> Vec<Wire> {
    let decode = |e: &Effect| match e {
        Effect::Send { bytes, .. } => Wire::decode(bytes).ok(),
        _ => None,
    };
    effects.iter().filter_map(decode).collect()
}

/// The calls among the effects.
pub fn calls(effects: &[Effect]) -> Vec<&Call> {
    fn call(effect: &Effect) -> Option<&Call> {
        let Effect::Submit { call, .. } = effect else { return None };
        Some(call)
    }
    effects.iter().filter_map(call).collect()
}

/// Where chance comes from.
#[derive(Clone, Copy)]
pub enum Draws {
    /// Always zero.
    Lowest,
    /// Always `n - 1`.
    Highest,
    /// A hash of this, the site and the count.
    Seeded(u64),
    /// The named site draws this, all others zero.
    One(&'static str, u64),
    /// Two named sites draw these.
    Two([(&'static str, u64); 2]),
}

/// A strategy at work.
pub struct Run<'a> {
    pub strategy: &'a mut (dyn Strategy + Send),
    pub cabal: Cabal,
    pub me: Address,
    pub draws: Draws,
    pub bob_signed: BTreeSet<B256>,
    count: u64,
}

impl<'a> Run<'a> {
    pub fn new(strategy: &'a mut (dyn Strategy + Send), me: SecretKey) -> Run<'a> {
        let (address, cabal) = (me.address(), Cabal::new([me]));
        Run {
            strategy,
            cabal,
            me: address,
            draws: Draws::Lowest,
            bob_signed: BTreeSet::new(),
            count: 0,
        }
    }

    pub fn see(&mut self, seen: &Seen<'_>) -> Acts {
        let (draws, count) = (self.draws, &mut self.count);
        let mut choice = |site: &'static str, n: u64| {
            *count += 1;
            let drawn = match draws {
                Draws::Lowest => 0,
                Draws::Highest => n - 1,
                Draws::Seeded(seed) => {
                    let hash = blake3::hash(format!("{seed} {site} {count}").as_bytes());
                    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes")) % n
                }
                Draws::One(named, value) if named == site => value,
                Draws::One(..) => 0,
                Draws::Two(named) => {
                    named.iter().find(|(s, _)| *s == site).map_or(0, |(_, value)| *value)
                }
            };
            assert!(drawn < n, "{site} drew {drawn} of {n}");
            drawn
        };
        let now = Timestamp(0);
        super::act(
            self.strategy,
            now,
            self.me,
            seen,
            &mut self.cabal,
            &mut Crypto::Real,
            &mut choice,
        )
    }

    pub fn wish(&mut self, effect: &Effect) -> Acts {
        self.see(&Seen::Wish(effect))
    }

    pub fn timer(&mut self) -> Acts {
        self.see(&Seen::Timer)
    }

    /// Bob's signature on `state` arrives.
    pub fn bob_signs(&mut self, state: &State) -> Acts {
        self.bob_signed.insert(state.hash());
        let wire = Wire::State(own(&bob(), state));
        self.see(&Seen::Message { from: bob().address(), wire: &wire })
    }

    /// Alice, the leader, wishes to send her signature and Bob answers with his.
    pub fn agree(&mut self, state: &State) -> Vec<Effect> {
        let mut released = self.wish(&send(bob(), &own(&alice(), state))).release;
        released.extend(self.bob_signs(state).release);
        released
    }

    /// Opening, three payments to Bob, the end.
    pub fn whole_life(&mut self) -> Vec<Effect> {
        let mut released = Vec::new();
        let life =
            [prefund(), update(1, [5, 5]), update(2, [4, 6]), update(3, [3, 7]), update(4, [2, 8])];
        for state in &life {
            released.extend(self.agree(state));
            released.extend(self.timer().release);
            let block = Block::new(BlockRef::default(), []);
            released.extend(self.see(&Seen::Block(&block)).release);
        }
        released.extend(self.see(&Seen::Block(&cleared_block(4))).release);
        released.extend(self.agree(&last(5, [2, 8])));
        released.extend(self.timer().release);
        released
    }
}
