//! A stranger who does on chain whatever the contract lets a stranger do, to every channel, at every block: `transfer`, `transferAllAssets`,
//! `reclaim`, and deposits of dust (F25, F27, F38).
//!
//! It needs no channel of its own: what it knows stands on chain. It can pay people out sooner than they would, reclaim for them, and make
//! them a present; it must not be able to make anybody poorer, or hold anything up for good.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::effect::Effect;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, Amount, ChannelId};

use super::{BesideHonesty, Cabal, Choice};

pub(super) const NAME: &str = "meddler";

/// Calls in one run.
const CALLS_MAX: u64 = 256;

/// Deposits of dust into one channel.
const DUST_MAX: u64 = 6;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Meddler {
    made: u64,
    dust: BTreeMap<ChannelId, u64>,
    /// Ledger channels of which it has reclaimed a part. It leaves the rest to others, who have to find out what is left.
    begun: BTreeSet<ChannelId>,
}

impl BesideHonesty for Meddler {
    const NAME: &'static str = NAME;

    fn at_block(
        &mut self,
        _me: Address,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Vec<Effect> {
        let mut release = Vec::new();
        let mut calls = Vec::new();
        for channel in known(cabal) {
            let dusted = self.dust.entry(channel).or_default();
            if *dusted < DUST_MAX && choice("meddler/dust", 4) == 3 {
                *dusted += 1;
                let amount = Amount::wei(1 + choice("meddler/amount", 1_000));
                calls.push(cabal.record.deposit(channel, amount));
            }
            if cabal.record.is_final(channel) {
                calls.extend(self.meddle(channel, cabal, choice));
            }
        }
        let room = CALLS_MAX.saturating_sub(self.made) as usize;
        calls.truncate(room);
        self.made += calls.len() as u64;
        release.extend(calls.into_iter().map(Effect::submit));
        release
    }
}

impl Meddler {
    /// What a stranger can do to a finalized channel.
    fn meddle(&mut self, channel: ChannelId, cabal: &Cabal, choice: &mut Choice<'_>) -> Vec<Call> {
        let record = &cabal.record;
        let mut calls = Vec::new();
        let draw = choice("meddler/order", 4);
        match draw {
            0 if !self.begun.contains(&channel) => {
                let guarantees = record.guarantees(channel).into_iter();
                calls.extend(guarantees.filter_map(|(slot, to)| record.reclaim(channel, slot, to)));
            }
            1 if !self.begun.contains(&channel) => {
                calls.extend(record.reclaims_from_the_end(channel));
                if !calls.is_empty() {
                    self.begun.insert(channel);
                }
            }
            _ => {}
        }
        let entries = record.outcomes.get(&channel).and_then(|r| r.outcome.first());
        let count = entries.map_or(0, |exit| exit.allocations.len() as u64);
        match choice("meddler/payout", 4) {
            0 => calls.extend(record.transfer_all(channel)),
            1 if count > 0 => {
                let one = choice("meddler/index", count);
                calls.extend(record.transfer(channel, vec![one]));
            }
            2 => calls.extend(record.transfer(channel, (0..count).collect())),
            _ => calls.extend(record.transfer(channel, (1..count).collect())),
        }
        if draw == 3 {
            calls.reverse();
        }
        calls
    }
}

/// Every channel that shows on chain: deposited into, on record, or guaranteed by one that is.
fn known(cabal: &Cabal) -> BTreeSet<ChannelId> {
    let record = &cabal.record;
    let on_record = record.outcomes.keys();
    let targets = on_record.clone().flat_map(|c| record.guarantees(*c)).map(|(_, target)| target);
    record.held.keys().chain(on_record).copied().chain(targets).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::testkit::*;
    use super::super::virtual_testkit::*;
    use super::*;
    use fairway_core::nitro::{Claim, Log};
    use fairway_core::types::ChainTime;

    #[test]
    fn a_finalized_ledger_is_meddled_with_and_there_is_an_end_to_it() {
        let mut strategy = Meddler::default();
        let mut run = Run::new(&mut strategy, bob());
        let state = ledger_state(2, true);
        let claim = signed_by(&[alice(), irene()], &state);
        let candidate = Claim { state, sigs: claim.sigs.into_iter().map(|(_, s)| s).collect() };
        let channel = candidate.state.fixed.channel_id();
        let log = Log::ChallengeRegistered { channel, finalizes_at: ChainTime(5), candidate };
        let early = run.see(&Seen::Block(&block_at(1, [log])));
        assert_eq!(early.release, vec![], "it is not final, and the lowest draw deposits nothing");
        run.draws = Draws::Seeded(1);
        let mut made = 0;
        for n in 6..400 {
            made += calls(&run.see(&Seen::Block(&empty_block(n))).release).len() as u64;
        }
        assert_eq!(made, CALLS_MAX);
    }
}
