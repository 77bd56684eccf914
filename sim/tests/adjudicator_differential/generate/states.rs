//! States, outcomes and signatures: ordinary ones with a flaw now and then.

use alloy_primitives::{Address, B256, Bytes, U256};
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::nitro::outcome::guarantee_metadata;
use fairway_core::nitro::{
    Allocation, AllocationType, Claim, Outcome, SecretKey, Signature, SingleAssetExit, State,
    Voucher,
};
use fairway_core::types::{Amount, ChannelId, Destination, TurnNum};

use super::{ALICE, BOB, CAROL, GUARANTEED, Generator, STRANGER, VIRTUAL};
use crate::pair::{ADJUDICATOR, REFUSER, TOKEN};

impl Generator {
    /// A proof and a candidate, as the channel's application wants them, more or less.
    pub(super) fn claims(&mut self, model: &Adjudicator) -> (Vec<Claim>, Claim) {
        let index = self.live_channel(model);
        if VIRTUAL.contains(&index) && self.chance(2, 3) {
            return self.redemption(index);
        }
        let state = self.state(index, model);
        let candidate = self.signed(state);
        let mut proof = Vec::new();
        if self.chance(1, 16) {
            let state = self.state(index, model);
            proof.push(self.signed(state));
        }
        (proof, candidate)
    }

    fn redemption(&mut self, index: usize) -> (Vec<Claim>, Claim) {
        let fixed = self.channels[index].clone();
        let channel = fixed.channel_id();
        let first = if self.chance(1, 8) { self.draw(6) } else { 0 };
        let mut postfund = self.shares(index, 1, [GUARANTEED, first]);
        let paid = self.draw(GUARANTEED + 1);
        let mut redemption = self.shares(index, 2, [GUARANTEED - paid, paid]);
        let mut voucher = Voucher::sign(channel, Amount::wei(paid), &self.keys[ALICE]);
        match self.below(60) {
            0 => voucher = Voucher::sign(channel, Amount::wei(paid), &self.keys[BOB]),
            1 => {
                voucher = Voucher::sign(ChannelId::default(), Amount::wei(paid), &self.keys[ALICE])
            }
            2 => voucher.amount = Amount::wei(paid + 1),
            3 => voucher.sig = GARBAGE,
            4 => voucher = Voucher::sign(channel, Amount::wei(GUARANTEED + 1), &self.keys[ALICE]),
            _ => {}
        }
        let mut data = voucher.redemption_data().to_vec();
        match self.below(40) {
            0 => data.truncate(127),
            1 => data.push(1),
            2 => data[33] = 1,
            _ => {}
        }
        redemption.app_data = data.into();
        match self.below(30) {
            0 => postfund.turn = turn(self.draw(4)),
            1 => redemption.turn = turn(self.draw(5)),
            2 => redemption.outcome[0].allocations[0].amount = Amount::wei(self.draw(12)),
            3 => redemption.outcome[0].allocations[1].amount = Amount::wei(self.draw(12)),
            4 => redemption.outcome[0].asset = TOKEN,
            5 => postfund.outcome[0].asset = TOKEN,
            6 => redemption.outcome.truncate(0),
            7 => redemption.outcome.push(postfund.outcome[0].clone()),
            8 => redemption.outcome[0].allocations.truncate(self.below(2)),
            9 => postfund.outcome[0].allocations.truncate(self.below(2)),
            10 => {
                postfund.outcome[0].allocations.truncate(self.below(2));
                redemption.outcome[0].allocations.truncate(self.below(2));
            }
            // Which of two faults is met first is the compiler's choice of an order.
            11 => {
                let more = Voucher::sign(channel, Amount::wei(GUARANTEED + 9), &self.keys[ALICE]);
                redemption.app_data = more.redemption_data();
                redemption.outcome[0].allocations.truncate(self.below(2));
            }
            _ => {}
        }
        let postfund = self.signed(postfund);
        let mut candidate = self.signed(redemption);
        if self.chance(3, 4) {
            let payee = candidate.state.fixed.participants.len() - 1;
            candidate.sigs.drain(..payee.min(candidate.sigs.len()));
        }
        let mut proof = vec![postfund];
        match self.below(24) {
            // The view meets the proof's signature first, a transaction the candidate's encoding.
            2 => {
                proof[0].sigs.push(GARBAGE);
                candidate.state.outcome.iter_mut().for_each(|exit| exit.asset_type = 4);
            }
            0 => proof.push(proof[0].clone()),
            1 => proof.clear(),
            _ => {}
        }
        (proof, candidate)
    }

    /// A state near the recorded turn.
    pub(super) fn state(&mut self, index: usize, model: &Adjudicator) -> State {
        let fixed = self.channels[index].clone();
        let record = model.status(fixed.channel_id()).turn.get();
        let next = if VIRTUAL.contains(&index) {
            self.draw(3)
        } else {
            (record + self.draw(4)).saturating_sub(self.draw(2))
        };
        let outcome = self.outcome(index);
        let is_final = self.chance(1, 8);
        State { fixed, outcome, app_data: Bytes::new(), turn: turn(next), is_final }
    }

    /// A virtual channel's ordinary state.
    pub(super) fn shares(
        &mut self,
        index: usize,
        turn_num: u64,
        [payer, payee]: [u64; 2],
    ) -> State {
        let fixed = self.channels[index].clone();
        let people = [&self.keys[ALICE], &self.keys[BOB]].map(SecretKey::address);
        let amounts = [payer, payee].map(Amount::wei);
        let allocations =
            people.iter().zip(amounts).map(|(who, a)| Allocation::simple(*who, a)).collect();
        let outcome = vec![SingleAssetExit::fungible(Address::ZERO, allocations)];
        State { fixed, outcome, app_data: Bytes::new(), turn: turn(turn_num), is_final: false }
    }

    pub(super) fn outcome(&mut self, index: usize) -> Outcome {
        if VIRTUAL.contains(&index) && self.chance(2, 3) {
            let paid = self.draw(GUARANTEED + 1);
            return self.shares(index, 1, [GUARANTEED - paid, paid]).outcome;
        }
        let token = TOKEN;
        let assets = match self.below(12) {
            0 => vec![],
            1 => vec![token],
            2 => vec![Address::ZERO, token],
            3 => vec![token, Address::ZERO],
            4 => vec![Address::ZERO, Address::ZERO],
            _ => vec![Address::ZERO],
        };
        let exits = assets.into_iter().map(|asset| {
            let allocations = self.allocations(index);
            let mut exit = SingleAssetExit::fungible(asset, allocations);
            exit.asset_type = if self.chance(1, 60) { 4 } else { self.below(4) as u8 };
            if self.chance(1, 12) {
                exit.asset_metadata = Bytes::from_static(b"metadata");
            }
            exit
        });
        exits.collect()
    }

    fn allocations(&mut self, index: usize) -> Vec<Allocation> {
        let people = self.channels[index].participants.clone();
        let mut list: Vec<_> =
            people.iter().map(|who| Allocation::simple(*who, Amount::wei(self.draw(25)))).collect();
        if people.len() >= 2 && self.chance(1, 2) {
            let guarantee = self.guarantee(&people);
            let at = if self.chance(1, 6) { self.below(list.len() + 1) } else { list.len() };
            list.insert(at, guarantee);
        }
        while self.chance(1, 4) {
            let entry = self.entry();
            let at = self.below(list.len() + 1);
            list.insert(at, entry);
        }
        if self.chance(1, 20) {
            list.truncate(self.below(2));
        }
        list
    }

    fn guarantee(&mut self, people: &[Address]) -> Allocation {
        let virtual_channel = VIRTUAL[self.below(2)];
        let (left, right) = (Destination::of(people[0]), Destination::of(people[1]));
        let stranger = Destination::of(self.keys[STRANGER].address());
        let metadata = match self.below(16) {
            0 => guarantee_metadata(stranger, right),
            1 => guarantee_metadata(left, stranger),
            2 => guarantee_metadata(left, left),
            3 => Bytes::from_static(&[7; 63]),
            4 => [guarantee_metadata(left, right).as_ref(), &[1; 32]].concat().into(),
            _ => guarantee_metadata(left, right),
        };
        let amount = if self.chance(1, 10) { self.draw(20) } else { GUARANTEED };
        Allocation {
            destination: Destination(self.channels[virtual_channel].channel_id().0),
            amount: Amount::wei(amount),
            allocation_type: if self.chance(1, 12) { 1 } else { AllocationType::GUARANTEE },
            metadata,
        }
    }

    /// Any entry: a person, nobody, contracts that refuse, this or another channel; any type.
    fn entry(&mut self) -> Allocation {
        let channel = self.channel();
        let destination = match self.below(10) {
            0 => Destination(B256::ZERO),
            1 => Destination::of(REFUSER),
            2 => Destination::of(ADJUDICATOR),
            3..7 => Destination(self.channels[channel].channel_id().0),
            _ => Destination::of(self.keys[CAROL].address()),
        };
        let amount = match self.below(20) {
            0 => Amount(U256::MAX),
            1..5 => Amount::ZERO,
            _ => Amount::wei(self.draw(25)),
        };
        let allocation_type = [0, 0, 0, 0, 1, 2, 3, 255][self.below(8)];
        Allocation { destination, amount, allocation_type, metadata: Bytes::new() }
    }

    /// Signed by all, or with a flaw.
    pub(super) fn signed(&mut self, state: State) -> Claim {
        let hash = state.hash();
        let people = &state.fixed.participants;
        let of = |who: &Address| self.keys.iter().find(|k| k.address() == *who);
        let mut sigs: Vec<_> = people.iter().filter_map(of).map(|k| k.sign(hash)).collect();
        let flaw = if sigs.is_empty() { 5 + self.below(40) } else { self.below(40) };
        match flaw {
            7.. if sigs.is_empty() => {}
            0 => sigs.truncate(sigs.len() - 1),
            1 => sigs.clear(),
            2 => sigs.push(sigs[0]),
            3 => sigs[0] = sigs[sigs.len() - 1],
            4 => sigs.reverse(),
            5 => sigs.push(self.keys[STRANGER].sign(hash)),
            6 => sigs.push(GARBAGE),
            7 => sigs[0] = self.keys[ALICE].sign(B256::ZERO),
            8 => sigs[0] = high_s(sigs[0]),
            9 => sigs[0].0[64] = [0, 1, 26, 29, 255][self.below(5)],
            _ => {}
        }
        Claim { state, sigs }
    }
}

fn turn(n: u64) -> TurnNum {
    TurnNum::new(n).expect("turns are small here")
}

/// The other encoding of a signature, which the contracts accept.
fn high_s(mut sig: Signature) -> Signature {
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    );
    let s = U256::from_be_slice(&sig.0[32..64]);
    let other = order.expect("a constant") - s;
    sig.0[32..64].copy_from_slice(&other.to_be_bytes::<32>());
    sig.0[64] = 55 - sig.0[64];
    sig
}

/// Recovers to nobody.
pub(super) const GARBAGE: Signature = Signature([0; 65]);
