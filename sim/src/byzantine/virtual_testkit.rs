//! A virtual channel in which Alice pays Bob through Irene, of whom one runs the strategy: hand-made things to see.

use fairway_core::chain_types::{B256, Block, BlockRef};
use fairway_core::effect::Effect;
use fairway_core::ledger::{Guarantee, Layout};
use fairway_core::nitro::{Crypto, FixedPart, SecretKey, SignedState, State, Voucher};
use fairway_core::types::{Address, Amount, BlockNum, ChainTime, ChannelId, TurnNum};
use fairway_core::virtual_channel::outcome;
use fairway_core::wire::{StateClaim, Wire};

use super::testkit::{Run, alice, bob};
use super::{Acts, Seen};

pub fn irene() -> SecretKey {
    SecretKey::new([3; 32], Crypto::Real).expect("a number below n")
}

pub fn members() -> [SecretKey; 3] {
    [alice(), irene(), bob()]
}

pub fn virtual_fixed() -> FixedPart {
    FixedPart {
        participants: members().iter().map(SecretKey::address).collect(),
        nonce: 8,
        app_definition: Address::with_last_byte(10),
        challenge_duration: 600,
    }
}

pub fn virtual_id() -> ChannelId {
    virtual_fixed().channel_id()
}

/// The state of `turn` in which `paid` of 5 ETH went to Bob.
pub fn virtual_state(turn: u64, paid: u64) -> State {
    let fixed = virtual_fixed();
    let (amount, paid) = (Amount::ether(5), Amount::ether(paid));
    State {
        outcome: outcome(&fixed.participants, Address::ZERO, amount, paid).expect("no more than 5"),
        fixed,
        app_data: Default::default(),
        turn: TurnNum::new(turn).expect("small"),
        is_final: turn == 3,
    }
}

/// `state` with the signatures of these.
pub fn signed_by(keys: &[SecretKey], state: &State) -> StateClaim {
    let sig = |key: &SecretKey| {
        let index = state.fixed.index_of(key.address()).expect("a participant");
        (index as u8, key.sign(state.hash()))
    };
    let mut sigs: Vec<_> = keys.iter().map(sig).collect();
    sigs.sort_by_key(|(index, _)| *index);
    StateClaim { state: state.clone(), sigs }
}

pub fn agreed_by_all(state: &State) -> SignedState {
    let claim = signed_by(&members(), state);
    SignedState::verify(claim.state, claim.sigs, &mut Crypto::Real).expect("all have signed")
}

/// A message to one of the three.
pub fn tell(to: &SecretKey, wire: &Wire) -> Effect {
    Effect::Send { peer: to.address(), bytes: wire.encode() }
}

pub fn virtual_wire(keys: &[SecretKey], state: &State) -> Wire {
    Wire::VirtualState { claim: signed_by(keys, state), ledger: None }
}

/// Everybody's signature reaches the party that runs the strategy.
pub fn everybody_signs(run: &mut Run<'_>, state: &State) -> Acts {
    run.bob_signed.insert(state.hash());
    let wire = virtual_wire(&members(), state);
    run.see(&Seen::Message { from: irene().address(), wire: &wire })
}

pub fn opened(run: &mut Run<'_>) {
    everybody_signs(run, &virtual_state(0, 0));
    everybody_signs(run, &virtual_state(1, 0));
}

pub fn voucher(eth: u64) -> Voucher {
    Voucher::sign(virtual_id(), Amount::ether(eth), &alice())
}

/// Alice's voucher for so much in all leaves her, or arrives at the others.
pub fn pay(run: &mut Run<'_>, eth: u64) -> Acts {
    let wire = Wire::Voucher(voucher(eth));
    if run.me == alice().address() {
        run.wish(&tell(&bob(), &wire))
    } else {
        run.see(&Seen::Message { from: alice().address(), wire: &wire })
    }
}

pub fn empty_block(number: u64) -> Block {
    block_at(number, [])
}

/// A block with these logs; its time is its number.
pub fn block_at(number: u64, logs: impl IntoIterator<Item = fairway_core::nitro::Log>) -> Block {
    let hash = B256::left_padding_from(&(number + 1).to_be_bytes());
    let (number, time) = (BlockNum(number), ChainTime(number));
    Block::new(BlockRef { number, hash, time, ..BlockRef::default() }, logs)
}

/// The ledger channel of Alice and Irene, with the guarantee or without.
pub fn ledger_state(turn: u64, guaranteed: bool) -> State {
    let parties = [alice().address(), irene().address()];
    let fixed = FixedPart { participants: parties.to_vec(), ..super::testkit::fixed() };
    let mut layout = Layout {
        asset: Address::ZERO,
        guarantees: Default::default(),
        parties,
        balances: [Amount::ether(9), Amount::ether(2)],
    };
    if guaranteed {
        let [left, right] = parties;
        let guarantee = Guarantee { target: virtual_id(), amount: Amount::ether(5), left, right };
        layout.add(guarantee).expect("there are 9 ETH");
    }
    State {
        fixed,
        outcome: layout.outcome(),
        app_data: Default::default(),
        turn: TurnNum::new(turn).expect("small"),
        is_final: false,
    }
}

/// Both sign a state of the ledger channel, and the party that runs the strategy learns of it.
pub fn ledger_agreed(run: &mut Run<'_>, state: &State) -> Acts {
    let wire = Wire::State(signed_by(&[alice(), irene()], state));
    run.see(&Seen::Message { from: irene().address(), wire: &wire })
}
