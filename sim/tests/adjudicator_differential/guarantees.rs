//! What our layouts promise, on the deployed contracts: no call of a stranger pays a guarantee out, or changes what a finalized virtual
//! channel says.
//!
//! A ledger channel with two guarantees and both virtual channels are finalized; then anybody deposits, transfers and reclaims at
//! random. In go-nitro's layout the same calls do pay guarantees out, which the second test shows.

use alloy_primitives::{Address, B256};
use fairway_core::ledger::{Guarantee, Layout};
use fairway_core::nitro::adjudicator::{ReclaimArgs, compute_reclaim};
use fairway_core::nitro::outcome::AllocationType;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{Call, Claim, Crypto, FixedPart, Outcome, SecretKey, SignedState, State};
use fairway_core::types::{Amount, ChainTime, ChannelId, TurnNum};
use fairway_core::virtual_channel;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::pair::{CONSENSUS_APP, PAYMENT_APP, Pair, Step, World};

const SEQUENCES: u64 = 120;
const CALLS: usize = 40;
const DURATION: u32 = 60;
/// When everything is challenged, and when everything is final.
const CHALLENGED: u64 = 1_000;
const FINAL: u64 = 2_000;

fn key(n: u8) -> SecretKey {
    SecretKey::new([n; 32], Crypto::Real).expect("a small number is a key")
}

/// Alice, Irene, Bob.
fn people() -> [SecretKey; 3] {
    [key(1), key(2), key(3)]
}

fn claim(state: State) -> Claim {
    let hash = state.hash();
    let signers = state.fixed.participants.iter();
    let sigs = (0u8..).zip(signers).map(|(i, p)| {
        let key = people().into_iter().find(|k| k.address() == *p).expect("one of the three");
        (i, key.sign(hash))
    });
    let sigs: Vec<_> = sigs.collect();
    let signed = SignedState::verify(state, sigs, &mut Crypto::Real);
    Claim::from(&signed.expect("own signatures hold"))
}

/// A ledger channel of Alice and Irene with guarantees for two virtual channels to Bob, all three finalized.
struct Stage {
    pair: Pair,
    ledger: Claim,
    virtuals: [Claim; 2],
    /// The ledger's outcome as it is now.
    now: Outcome,
}

impl Stage {
    fn new(world: &World, relayed: impl Fn(Outcome) -> Outcome) -> Stage {
        let [alice, irene, bob] = people().map(|k| k.address());
        let virtuals = [0u64, 1].map(|nonce| {
            let participants = vec![alice, irene, bob];
            let fixed = FixedPart {
                participants: participants.clone(),
                nonce,
                app_definition: PAYMENT_APP,
                challenge_duration: DURATION,
            };
            let outcome = virtual_channel::outcome(
                &participants,
                Address::ZERO,
                Amount::wei(10),
                Amount::ZERO,
            );
            let outcome = outcome.expect("nothing was paid");
            let turn = TurnNum::POSTFUND;
            claim(State { fixed, outcome, app_data: Default::default(), turn, is_final: false })
        });
        let guarantee = |v: &Claim| {
            let target = v.state.fixed.channel_id();
            (target, Guarantee { target, amount: Amount::wei(10), left: alice, right: irene })
        };
        let layout = Layout {
            asset: Address::ZERO,
            guarantees: virtuals.iter().map(guarantee).collect(),
            parties: [alice, irene],
            balances: [Amount::wei(80), Amount::wei(100)],
        };
        let fixed = FixedPart {
            participants: vec![alice, irene],
            nonce: 7,
            app_definition: CONSENSUS_APP,
            challenge_duration: DURATION,
        };
        let now = relayed(layout.outcome());
        let turn = TurnNum::new(3).expect("a small turn");
        let app_data = Default::default();
        let ledger = claim(State { fixed, outcome: now.clone(), app_data, turn, is_final: false });
        let mut stage = Stage { pair: Pair::new(world), ledger, virtuals, now };
        stage.finalize();
        stage
    }

    fn finalize(&mut self) {
        let channel = self.id();
        let deposit = Call::Deposit {
            asset: Address::ZERO,
            channel,
            expected_held: Amount::ZERO,
            amount: Amount::wei(200),
        };
        self.call(CHALLENGED, deposit).expect("funded");
        let claims = [&self.virtuals[0], &self.virtuals[1], &self.ledger].map(Claim::clone);
        for candidate in claims {
            let challenger_sig = key(1).sign(challenge_hash(candidate.state.hash()));
            let challenge = Call::Challenge { proof: Vec::new(), candidate, challenger_sig };
            self.call(CHALLENGED, challenge).expect("challenged");
        }
    }

    fn id(&self) -> ChannelId {
        self.ledger.state.fixed.channel_id()
    }

    /// On contract and model, which must agree.
    fn call(&mut self, now: u64, call: Call) -> Result<(), String> {
        let step = Step { now: ChainTime(now), call };
        match self.pair.step(&step) {
            Ok(agreed) if agreed.logs().is_some() => Ok(()),
            Ok(agreed) => Err(agreed.reason()),
            Err(disagreement) => panic!("model and contract disagree\n{disagreement}"),
        }
    }

    fn held(&self, channel: ChannelId) -> Amount {
        self.pair.model().held(Address::ZERO, channel)
    }

    fn statuses(&self) -> Vec<B256> {
        let status = |v: &Claim| self.pair.model().status(v.state.fixed.channel_id()).word();
        self.virtuals.iter().map(status).collect()
    }

    /// Anything that anybody may try.
    fn meddle(&mut self, rng: &mut ChaCha8Rng) {
        let which = (rng.next_u64() % 3) as usize;
        let (channel, outcome, state_hash) = match self.virtuals.get(which) {
            Some(v) => (v.state.fixed.channel_id(), v.state.outcome.clone(), v.state.hash()),
            None => (self.id(), self.now.clone(), self.ledger.state.hash()),
        };
        let call = match rng.next_u64() % 4 {
            0 => Call::Deposit {
                asset: Address::ZERO,
                channel,
                expected_held: self.held(channel),
                amount: Amount::wei(rng.next_u64() % 12),
            },
            1 => Call::TransferAllAssets { channel, outcome, state_hash },
            2 => {
                let bits = rng.next_u64();
                let indices = (0..6).filter(|i| bits >> i & 1 == 1).collect();
                Call::Transfer { asset_index: 0, channel, outcome, state_hash, indices }
            }
            _ => return self.reclaim((rng.next_u64() % 4) as usize),
        };
        let _ = self.call(FINAL, call);
    }

    /// Reclaims the guarantee at this position, if it is one.
    fn reclaim(&mut self, index: usize) {
        let Some(entry) = self.now[0].allocations.get(index).cloned() else { return };
        let target =
            self.virtuals.iter().find(|v| v.state.fixed.channel_id().0 == entry.destination.0);
        let Some(target) = target.cloned() else { return };
        let args = ReclaimArgs {
            source_channel: self.id(),
            source_state_hash: self.ledger.state.hash(),
            source_outcome: self.now.clone(),
            source_asset_index: 0,
            index_of_target_in_source: index as u64,
            target_state_hash: target.state.hash(),
            target_outcome: target.state.outcome.clone(),
            target_asset_index: 0,
        };
        if self.call(FINAL, Call::Reclaim(args)).is_ok() {
            let (from, to) = (&self.now[0].allocations, &target.state.outcome[0].allocations);
            let left = compute_reclaim(from, to, index as u64).expect("the contract did it");
            self.now[0].allocations = left;
        }
    }

    fn guarantees(&self) -> usize {
        let entries = self.now[0].allocations.iter();
        entries.filter(|a| a.allocation_type == AllocationType::GUARANTEE).count()
    }
}

/// Goal: decision 10, on the bytecode. Method: random calls; money leaves the ledger channel only when its last guarantee is reclaimed,
/// and the virtual channels' status words never change.
#[test]
fn no_sequence_of_calls_pays_a_guarantee_out() {
    let world = World::deployed();
    let mut reclaimed = 0;
    for seed in 0..SEQUENCES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut stage = Stage::new(&world, |outcome| outcome);
        let decided = stage.statuses();
        let id = stage.id();
        let mut held = stage.held(id);
        for _ in 0..CALLS {
            stage.meddle(&mut rng);
            assert_eq!(
                stage.statuses(),
                decided,
                "seed {seed}: a virtual channel says something else"
            );
            if stage.guarantees() > 0 {
                assert!(stage.held(id) >= held, "seed {seed}: paid out with a guarantee standing");
            } else {
                reclaimed += 1;
                break;
            }
            held = stage.held(id);
        }
    }
    assert!(reclaimed > SEQUENCES / 4, "only {reclaimed} sequences reclaimed everything");
}

/// Goal: the check above fires. Method: go-nitro's order, guarantees last.
#[test]
fn guarantees_that_stand_last_are_paid_out() {
    let world = World::deployed();
    let last = |mut outcome: Outcome| {
        outcome[0].allocations.sort_by_key(|a| a.allocation_type);
        outcome
    };
    let mut stage = Stage::new(&world, last);
    let (id, outcome, state_hash) = (stage.id(), stage.now.clone(), stage.ledger.state.hash());
    let theft =
        Call::Transfer { asset_index: 0, channel: id, outcome, state_hash, indices: vec![2] };
    assert_eq!(stage.call(FINAL, theft), Ok(()));
    assert_eq!(stage.held(id), Amount::wei(190), "a guarantee of 10 left the ledger channel");
}
