//! What is called: sequences that get somewhere, with a flaw now and then.
//!
//! A sequence plays on six channels of four people: two ledger channels through Irene and one of all four (consensus application), two
//! virtual channels (payment application), one whose application has no code; now and then on three whose participants are nobody or one
//! person twice. The generator remembers what each channel finalized
//! with, so that payouts and reclaims mostly name the right outcome; every part of a call is flawed with a small probability of its own.

mod states;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use fairway_core::nitro::adjudicator::{
    Adjudicator, Mode, ReclaimArgs, compute_reclaim, compute_transfer,
};
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{
    AllocationType, Call, Claim, Crypto, FixedPart, Log, Outcome, SecretKey,
};
use fairway_core::types::{Amount, ChainTime, ChannelId, Destination};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::pair::{Agreed, CONSENSUS_APP, PAYMENT_APP, Step, TOKEN};
use states::GARBAGE;

/// The contract's functions.
pub const KINDS: [&str; 8] = [
    "deposit",
    "challenge",
    "checkpoint",
    "conclude",
    "concludeAndTransferAllAssets",
    "transferAllAssets",
    "transfer",
    "reclaim",
];

/// Draws the calls of one sequence.
pub struct Generator {
    rng: ChaCha8Rng,
    keys: Vec<SecretKey>,
    channels: Vec<FixedPart>,
    now: u64,
    /// What a channel is about to finalize with, or has: its outcome and state hash.
    finals: BTreeMap<ChannelId, (Outcome, B256)>,
}

/// Indices of people.
const ALICE: usize = 0;
const IRENE: usize = 1;
const BOB: usize = 2;
const CAROL: usize = 3;
const STRANGER: usize = 4;
/// Of the two virtual channels among the channels.
const VIRTUAL: [usize; 2] = [2, 3];

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys: Vec<_> = (1u8..=5)
            .map(|n| SecretKey::new([n; 32], Crypto::Real).expect("a small number is a key"))
            .collect();
        let (ledger, payment) = (CONSENSUS_APP, PAYMENT_APP);
        let without_code = Address::repeat_byte(0x0c);
        let channels = [
            (vec![ALICE, IRENE], ledger),
            (vec![IRENE, BOB], ledger),
            (vec![ALICE, IRENE, BOB], payment),
            (vec![ALICE, BOB], payment),
            (vec![ALICE, BOB, IRENE, CAROL], ledger),
            (vec![ALICE, BOB], without_code),
            (vec![ALICE, ALICE], ledger),
            (vec![], ledger),
            (vec![], payment),
        ];
        let mut channel = |(people, app_definition): (Vec<usize>, Address)| FixedPart {
            participants: people.iter().map(|i| keys[*i].address()).collect(),
            nonce: rng.next_u64(),
            app_definition,
            challenge_duration: u32::try_from(rng.next_u64() % 8).expect("below eight"),
        };
        let channels = channels.into_iter().map(&mut channel).collect();
        let finals = BTreeMap::new();
        Generator { rng, keys, channels, now: 1_700_000_000, finals }
    }

    /// The next call, after the time of the blocks between.
    pub fn step(&mut self, model: &Adjudicator) -> Step {
        self.now += [0, 0, 1, 2, 3, 8][self.below(6)];
        if self.chance(1, 2000) {
            // A challenge then ends beyond what 48 bits can hold.
            self.now = self.now.max((1 << 48) - 3);
        }
        let call = match self.below(100) {
            0..14 => self.deposit(model),
            14..42 => self.challenge(model),
            42..50 => self.checkpoint(model),
            50..57 => Call::Conclude { candidate: self.final_claim(model) },
            57..64 => Call::ConcludeAndTransferAllAssets { candidate: self.final_claim(model) },
            64..73 => self.transfer_all(model),
            73..84 => self.transfer(model),
            _ => self.reclaim(model),
        };
        Step { now: ChainTime(self.now), call }
    }

    /// Keeps up with what the channels finalize with.
    pub fn learn(&mut self, step: &Step, agreed: &Agreed) {
        let Some(logs) = agreed.logs() else { return };
        let channel = step.call.channel();
        match &step.call {
            Call::Deposit { .. } | Call::Approve { .. } => {}
            Call::Challenge { candidate, .. } => {
                let known = (candidate.state.outcome.clone(), candidate.state.hash());
                self.finals.insert(channel, known);
            }
            Call::Checkpoint { .. } => {
                self.finals.remove(&channel);
            }
            Call::Conclude { candidate } => {
                self.finals.insert(channel, (candidate.state.outcome.clone(), B256::ZERO));
            }
            Call::ConcludeAndTransferAllAssets { candidate } => {
                let paid = paid(logs, &candidate.state.outcome, &[]);
                self.finals.insert(channel, (paid, B256::ZERO));
            }
            Call::TransferAllAssets { outcome, state_hash, .. } => {
                let paid = paid(logs, outcome, &[]);
                self.finals.insert(channel, (paid, *state_hash));
            }
            Call::Transfer { outcome, state_hash, indices, .. } => {
                let paid = paid(logs, outcome, indices);
                self.finals.insert(channel, (paid, *state_hash));
            }
            Call::Reclaim(args) => {
                let mut outcome = args.source_outcome.clone();
                let slot = usize::try_from(args.source_asset_index).expect("it was in bounds");
                let target = usize::try_from(args.target_asset_index).expect("it was in bounds");
                let target = &args.target_outcome[target].allocations;
                let index = args.index_of_target_in_source;
                let rest = compute_reclaim(&outcome[slot].allocations, target, index);
                outcome[slot].allocations = rest.expect("it succeeded");
                self.finals.insert(channel, (outcome, args.source_state_hash));
            }
        }
    }

    fn deposit(&mut self, model: &Adjudicator) -> Call {
        let asset = if self.chance(1, 3) { TOKEN } else { Address::ZERO };
        let channel = self.channel();
        let mut channel = self.channels[channel].channel_id();
        if self.chance(1, 12) {
            channel = ChannelId(Destination::of(self.keys[ALICE].address()).0);
        }
        let mut expected_held = model.held(asset, channel);
        if self.chance(1, 8) {
            expected_held = Amount::wei(self.draw(40));
        }
        let amount = Amount::wei(self.draw(30));
        Call::Deposit { asset, channel, expected_held, amount }
    }

    fn challenge(&mut self, model: &Adjudicator) -> Call {
        let (proof, candidate) = self.claims(model);
        let hash = challenge_hash(candidate.state.hash());
        let people = candidate.state.fixed.participants.clone();
        let by = self.keys.iter().position(|k| Some(&k.address()) == people.last());
        let challenger_sig = match self.below(16) {
            0 => self.keys[STRANGER].sign(hash),
            1 => GARBAGE,
            _ => self.keys[by.unwrap_or(ALICE)].sign(hash),
        };
        Call::Challenge { proof, candidate, challenger_sig }
    }

    fn checkpoint(&mut self, model: &Adjudicator) -> Call {
        let (proof, candidate) = self.claims(model);
        Call::Checkpoint { proof, candidate }
    }

    fn final_claim(&mut self, model: &Adjudicator) -> Claim {
        let index = self.live_channel(model);
        let mut state = self.state(index, model);
        state.is_final = !self.chance(1, 10);
        if VIRTUAL.contains(&index) && self.chance(1, 2) {
            let paid = self.draw(GUARANTEED + 1);
            state.outcome = self.shares(index, 2, [GUARANTEED - paid, paid]).outcome;
        }
        self.signed(state)
    }

    fn transfer_all(&mut self, model: &Adjudicator) -> Call {
        let (channel, mut outcome, mut state_hash) = self.finalized(model, false);
        self.spoil(&mut outcome, &mut state_hash);
        Call::TransferAllAssets { channel, outcome, state_hash }
    }

    fn transfer(&mut self, model: &Adjudicator) -> Call {
        let (channel, mut outcome, mut state_hash) = self.finalized(model, false);
        self.spoil(&mut outcome, &mut state_hash);
        let asset_index = if self.chance(1, 8) { self.draw(3) } else { 0 };
        let mut indices: Vec<u64> = (0..5).filter(|_| self.chance(1, 3)).collect();
        if self.chance(1, 12) {
            indices.reverse();
            indices.push(self.draw(8));
        }
        Call::Transfer { asset_index, channel, outcome, state_hash, indices }
    }

    fn reclaim(&mut self, model: &Adjudicator) -> Call {
        let (source_channel, mut source_outcome, mut source_state_hash) =
            self.finalized(model, true);
        let entries = source_outcome.first().map_or(&[][..], |exit| &exit.allocations);
        let guarantee = entries.iter().position(|a| a.allocation_type == AllocationType::GUARANTEE);
        let mut index_of_target_in_source = guarantee.unwrap_or(0) as u64;
        let target = entries.get(guarantee.unwrap_or(0)).map(|a| ChannelId(a.destination.0));
        let known = target.and_then(|t| self.finals.get(&t)).cloned();
        let (mut target_outcome, mut target_state_hash) = match known {
            Some(known) => known,
            None => (self.shares(VIRTUAL[0], 1, [GUARANTEED, 0]).outcome, B256::ZERO),
        };
        if self.chance(1, 10) {
            index_of_target_in_source = self.draw(5);
        }
        self.spoil(&mut source_outcome, &mut source_state_hash);
        self.spoil(&mut target_outcome, &mut target_state_hash);
        let source_asset_index = if self.chance(1, 20) { self.draw(3) } else { 0 };
        let target_asset_index = if self.chance(1, 20) { self.draw(3) } else { 0 };
        Call::Reclaim(ReclaimArgs {
            source_channel,
            source_state_hash,
            source_outcome,
            source_asset_index,
            index_of_target_in_source,
            target_state_hash,
            target_outcome,
            target_asset_index,
        })
    }

    /// A channel with what it finalized with, if it has one; where guarantees are wanted, one whose guarantee's target is final
    /// too, if there is one.
    fn finalized(&mut self, model: &Adjudicator, for_reclaim: bool) -> (ChannelId, Outcome, B256) {
        let now = ChainTime(self.now);
        let is_final = |channel: ChannelId| model.mode(channel, now) == Mode::Finalized;
        let reclaims = |outcome: &Outcome| {
            outcome.iter().take(1).flat_map(|exit| &exit.allocations).any(|a| {
                a.allocation_type == AllocationType::GUARANTEE
                    && is_final(ChannelId(a.destination.0))
            })
        };
        let known: Vec<_> = self.finals.iter().map(|(c, (o, h))| (*c, o.clone(), *h)).collect();
        let mut wanted: Vec<_> = known.iter().filter(|(c, ..)| is_final(*c)).cloned().collect();
        if for_reclaim {
            let better: Vec<_> = wanted.iter().filter(|(_, o, _)| reclaims(o)).cloned().collect();
            if !better.is_empty() {
                wanted = better;
            }
        }
        if wanted.is_empty() || self.chance(1, 20) {
            wanted = known;
        }
        if wanted.is_empty() {
            let index = self.channel();
            let channel = self.channels[index].channel_id();
            return (channel, self.outcome(index), B256::ZERO);
        }
        let pick = self.below(wanted.len());
        wanted.swap_remove(pick)
    }

    /// Another outcome or state hash than the one that is final, now and then.
    fn spoil(&mut self, outcome: &mut Outcome, state_hash: &mut B256) {
        match self.below(60) {
            0 => *state_hash = B256::ZERO,
            1 => outcome.truncate(0),
            2 => outcome.iter_mut().for_each(|exit| exit.asset_type = 4),
            3 => outcome.iter_mut().for_each(|exit| exit.asset = TOKEN),
            4 => outcome.iter_mut().for_each(|exit| exit.allocations.truncate(1)),
            _ => {}
        }
    }

    /// A channel that is over only where three draws found no other.
    fn live_channel(&mut self, model: &Adjudicator) -> usize {
        let now = ChainTime(self.now);
        let over =
            |index: usize| model.mode(self.channels[index].channel_id(), now) == Mode::Finalized;
        let over: Vec<_> = (0..self.channels.len()).map(over).collect();
        let draws = [(); 3].map(|()| self.channel());
        draws.into_iter().find(|index| !over[*index]).unwrap_or(draws[0])
    }

    fn channel(&mut self) -> usize {
        let often = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5];
        if self.chance(1, 30) { 6 + self.below(3) } else { often[self.below(often.len())] }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.draw(n as u64)).expect("below a usize")
    }

    fn draw(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    fn chance(&mut self, n: u64, of: u64) -> bool {
        self.draw(of) < n
    }
}

/// What is left of an outcome after the payouts that the logs tell of.
fn paid(logs: &[Log], outcome: &Outcome, indices: &[u64]) -> Outcome {
    let mut outcome = outcome.clone();
    for log in logs {
        let Log::AllocationUpdated { asset_index, before, .. } = log else { continue };
        let slot = usize::try_from(*asset_index).expect("it was in bounds");
        let entries = &mut outcome[slot].allocations;
        let transfer = compute_transfer(*before, entries, indices, true);
        *entries = transfer.expect("it succeeded").allocations;
    }
    outcome
}

/// What a virtual channel is given by each of its ledger channels, in wei.
const GUARANTEED: u64 = 10;
