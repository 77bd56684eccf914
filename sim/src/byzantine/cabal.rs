//! What the coalition knows together: its keys, and every signature that any member ever saw.
//!
//! The limits of an attacker stand here and nowhere else: it signs with the keys in [`Cabal::keys`], and whatever else it shows
//! was released by somebody. Everything is checked before it is remembered, so a lie of one member fools nobody else.

use std::collections::BTreeMap;

use fairway_core::effect::Effect;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{
    Call, Claim, Outcome, Recover, SecretKey, Signature, SignedState, State, Voucher,
};
use fairway_core::types::{Address, ChannelId, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::{Record, Seen};

/// What the coalition knows together.
#[derive(Clone, Default)]
pub struct Cabal {
    /// Keys of its members.
    pub keys: BTreeMap<Address, SecretKey>,
    /// Every state with every signature that a member saw or made, merged by hash. Several per turn if somebody equivocated.
    pub states: BTreeMap<(ChannelId, TurnNum), Vec<SignedState>>,
    /// The largest voucher of each virtual channel that a member saw or made.
    pub vouchers: BTreeMap<ChannelId, Voucher>,
    /// What stands on chain.
    pub record: Record,
}

impl std::fmt::Debug for Cabal {
    /// Keys have no `Debug`; their owners do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members: Vec<_> = self.keys.keys().collect();
        f.debug_struct("Cabal").field("members", &members).field("states", &self.states).finish()
    }
}

impl Cabal {
    /// A coalition with these keys that has seen nothing yet.
    pub fn new(keys: impl IntoIterator<Item = SecretKey>) -> Cabal {
        let keys = keys.into_iter().map(|k| (k.address(), k)).collect();
        Cabal { keys, ..Cabal::default() }
    }

    /// Whether `who` belongs to the coalition.
    pub fn is_member(&self, who: Address) -> bool {
        self.keys.contains_key(&who)
    }

    /// Takes the signatures of `signed` into memory.
    pub fn learn(&mut self, signed: &SignedState) {
        let known = self.states.entry((signed.channel(), signed.turn())).or_default();
        match known.iter_mut().find(|s| s.hash() == signed.hash()) {
            Some(same) => {
                same.merge(signed);
            }
            None => known.push(signed.clone()),
        }
    }

    /// Learns from whatever reached or would leave a member.
    pub fn learn_seen(&mut self, seen: &Seen<'_>, crypto: &mut dyn Recover) {
        match seen {
            Seen::Message { wire, .. } => self.learn_wire(wire, crypto),
            Seen::Wish(effect) => self.learn_effect(effect, crypto),
            Seen::Block(block) => {
                block.claims().for_each(|claim| self.learn_claim(claim, crypto));
                let Cabal { states, record, .. } = self;
                record.learn(block, |channel| agreed(states, channel));
            }
            Seen::Timer => {}
        }
    }

    /// Learns from a message. Signatures that do not hold are passed over, the others are kept.
    pub fn learn_wire(&mut self, wire: &Wire, crypto: &mut dyn Recover) {
        for StateClaim { state, sigs } in wire.claims() {
            for (index, sig) in sigs {
                let checked = SignedState::verify(state.clone(), [(*index, *sig)], crypto);
                if let Ok(signed) = checked {
                    self.learn(&signed);
                }
            }
        }
        match wire {
            Wire::Voucher(voucher) | Wire::VirtualResume { voucher: Some(voucher), .. } => {
                self.learn_voucher(voucher, crypto);
            }
            Wire::State(_)
            | Wire::UpdateRequest { .. }
            | Wire::CloseRequest { .. }
            | Wire::Ack { .. }
            | Wire::Rejected { .. }
            | Wire::ResumeRequest { .. }
            | Wire::Resume { .. }
            | Wire::VirtualState { .. }
            | Wire::Proposal { .. }
            | Wire::FinalRequest { .. }
            | Wire::VirtualResume { voucher: None, .. } => {}
        }
    }

    /// A voucher counts when the payer of a channel that was seen signed it.
    fn learn_voucher(&mut self, voucher: &Voucher, crypto: &mut dyn Recover) {
        let all = (voucher.channel, TurnNum::PREFUND)..=(voucher.channel, TurnNum::MAX);
        let state = self.states.range(all).flat_map(|(_, states)| states).next();
        let payer = state.and_then(|s| s.state().fixed.participants.first().copied());
        let larger =
            self.vouchers.get(&voucher.channel).is_none_or(|known| known.amount < voucher.amount);
        if larger && payer.is_some() && voucher.signer(crypto) == payer {
            self.vouchers.insert(voucher.channel, *voucher);
        }
    }

    /// Learns from what a member sends or submits.
    pub fn learn_effect(&mut self, effect: &Effect, crypto: &mut dyn Recover) {
        match effect {
            Effect::Send { bytes, .. } => {
                if let Ok(wire) = Wire::decode(bytes) {
                    self.learn_wire(&wire, crypto);
                }
            }
            Effect::Submit { call, .. } => match call {
                Call::Challenge { candidate, .. }
                | Call::Checkpoint { candidate, .. }
                | Call::Conclude { candidate }
                | Call::ConcludeAndTransferAllAssets { candidate } => {
                    self.learn_claim(candidate, crypto);
                }
                Call::Deposit { .. }
                | Call::TransferAllAssets { .. }
                | Call::Transfer { .. }
                | Call::Reclaim(_)
                | Call::Approve { .. } => {}
            },
            Effect::Connect { .. }
            | Effect::FetchBlocks { .. }
            | Effect::Reply { .. }
            | Effect::Withdraw { .. }
            | Effect::Notify(_) => {}
        }
    }

    /// Learns from what stands on chain: signatures there come in any order and without indices.
    fn learn_claim(&mut self, claim: &Claim, crypto: &mut dyn Recover) {
        if let Ok(signed) = claim.checked(crypto) {
            self.learn(&signed);
        }
    }

    /// A member's signature under `state` as a message shows it; `None` when `who` is no member or no participant.
    pub fn sign(&self, who: Address, state: &State) -> Option<StateClaim> {
        let key = self.keys.get(&who)?;
        let index = u8::try_from(state.fixed.index_of(who)?).ok()?;
        let sig = key.sign(state.hash());
        Some(StateClaim { state: state.clone(), sigs: vec![(index, sig)] })
    }

    /// A member's signature that lets `state` be challenged with.
    pub fn sign_challenge(&self, who: Address, state: &State) -> Option<Signature> {
        Some(self.keys.get(&who)?.sign(challenge_hash(state.hash())))
    }

    /// Channels that a state was seen of, each once.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> {
        let mut last = None;
        self.states.keys().filter_map(move |(channel, _)| {
            (last.replace(*channel) != Some(*channel)).then_some(*channel)
        })
    }

    /// Every unanimous state of a channel, oldest first.
    pub fn supported(&self, channel: ChannelId) -> impl DoubleEndedIterator<Item = &SignedState> {
        let all = (channel, TurnNum::PREFUND)..=(channel, TurnNum::MAX);
        self.states.range(all).flat_map(|(_, states)| states).filter(|s| s.is_unanimous())
    }

    /// The newest unanimous state of a channel.
    pub fn latest_supported(&self, channel: ChannelId) -> Option<&SignedState> {
        self.supported(channel).next_back()
    }

    /// Whether somebody outside the coalition signed this state.
    pub fn has_foreign_signature(&self, state: &State) -> bool {
        let (channel, hash) = (state.fixed.channel_id(), state.hash());
        let same = self.states.get(&(channel, state.turn)).into_iter().flatten();
        same.filter(|s| s.hash() == hash).any(|s| {
            let signers =
                s.sigs().keys().filter_map(|i| s.state().fixed.participants.get(usize::from(*i)));
            signers.into_iter().any(|who| !self.is_member(*who))
        })
    }
}

/// The outcome of the final state that everybody signed.
fn agreed(
    states: &BTreeMap<(ChannelId, TurnNum), Vec<SignedState>>,
    channel: ChannelId,
) -> Option<Outcome> {
    let all = (channel, TurnNum::PREFUND)..=(channel, TurnNum::MAX);
    let finals = states.range(all).flat_map(|(_, states)| states);
    let signed = finals.rev().find(|s| s.is_unanimous() && s.state().is_final);
    signed.map(|s| s.state().outcome.clone())
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::nitro::Crypto;

    fn cabal() -> Cabal {
        Cabal::new([alice()])
    }

    #[test]
    fn halves_of_a_state_merge_into_a_supported_one() {
        let mut cabal = cabal();
        let state = update(2, [4, 6]);
        cabal.learn_wire(&Wire::State(own(&alice(), &state)), &mut Crypto::Real);
        assert_eq!(cabal.latest_supported(state.fixed.channel_id()), None);
        assert!(!cabal.has_foreign_signature(&state));
        cabal.learn_wire(&Wire::State(own(&bob(), &state)), &mut Crypto::Real);
        let supported = cabal.latest_supported(state.fixed.channel_id());
        assert_eq!(supported.map(SignedState::hash), Some(state.hash()));
        assert!(cabal.has_foreign_signature(&state));
        assert_eq!(cabal.channels().count(), 1);
    }

    #[test]
    fn a_forged_signature_is_not_learned_and_spoils_no_true_one() {
        let mut cabal = cabal();
        let state = update(2, [4, 6]);
        let mut claim = own(&alice(), &state);
        claim.sigs.push((1, claim.sigs[0].1));
        cabal.learn_wire(&Wire::State(claim), &mut Crypto::Real);
        let known = &cabal.states[&(state.fixed.channel_id(), state.turn)];
        assert!(known[0].signed_by(0));
        assert!(!known[0].signed_by(1));
    }

    #[test]
    fn two_states_of_one_turn_are_both_remembered() {
        let mut cabal = cabal();
        for split in [[4, 6], [6, 4]] {
            let wire = Wire::State(own(&bob(), &update(2, split)));
            cabal.learn_wire(&wire, &mut Crypto::Real);
        }
        assert_eq!(cabal.states.values().map(Vec::len).sum::<usize>(), 2);
    }

    #[test]
    fn nobody_signs_for_an_honest_key() {
        let state = update(2, [4, 6]);
        assert_eq!(cabal().sign(bob().address(), &state), None);
        assert_eq!(cabal().sign_challenge(bob().address(), &state), None);
        assert!(cabal().sign(alice().address(), &state).is_some());
    }

    #[test]
    fn what_is_published_on_chain_is_learned() {
        let mut cabal = cabal();
        let state = update(2, [4, 6]);
        let signed = unanimous(&state);
        let block = challenge_block(&signed);
        cabal.learn_seen(&Seen::Block(&block), &mut Crypto::Real);
        assert_eq!(cabal.latest_supported(signed.channel()), Some(&signed));
    }
}
