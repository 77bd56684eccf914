//! What several strategies do to states, signatures and bytes. Nothing here holds a key.

use fairway_core::effect::Effect;
use fairway_core::nitro::outcome::Outcome;
use fairway_core::nitro::{AllocationType, Call, Claim, Signature, SignedState, State};
use fairway_core::types::{Address, Amount, ChannelId, Destination, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::{Cabal, Choice};

/// A drawn yes: one in `n`, and never for the calm tape whose every entry is zero.
pub(super) fn one_in(n: u64, site: &'static str, choice: &mut Choice<'_>) -> bool {
    choice(site, n) == n - 1
}

/// The state that an effect sends, and to whom.
pub(super) fn sent_state(effect: &Effect) -> Option<(Address, StateClaim)> {
    let Effect::Send { peer, bytes } = effect else { return None };
    match Wire::decode(bytes).ok()? {
        Wire::State(claim) => Some((*peer, claim)),
        // What strategies do to direct channels; a virtual channel's states go to everybody and are left alone.
        Wire::VirtualState { .. }
        | Wire::Proposal { .. }
        | Wire::FinalRequest { .. }
        | Wire::Voucher(_)
        | Wire::VirtualResume { .. }
        | Wire::UpdateRequest { .. }
        | Wire::CloseRequest { .. }
        | Wire::Ack { .. }
        | Wire::Rejected { .. }
        | Wire::ResumeRequest { .. }
        | Wire::Resume { .. } => None,
    }
}

/// The message that an effect sends, and to whom.
pub(super) fn sent(effect: &Effect) -> Option<(Address, Wire)> {
    let Effect::Send { peer, bytes } = effect else { return None };
    Some((*peer, Wire::decode(bytes).ok()?))
}

/// `wire` as a message to `peer`.
pub(super) fn send_wire(peer: Address, wire: &Wire) -> Effect {
    Effect::Send { peer, bytes: wire.encode() }
}

/// Whether a state is one of a virtual channel: two parts of type guarantee, both for people.
pub(super) fn is_virtual(state: &State) -> bool {
    let [exit] = state.outcome.as_slice() else { return false };
    let part = |a: &fairway_core::nitro::Allocation| {
        a.allocation_type == AllocationType::GUARANTEE && a.destination.is_external()
    };
    exit.allocations.len() == 2 && exit.allocations.iter().all(part)
}

/// Whether a state is one of a direct channel that guarantees a virtual one.
pub(super) fn guarantees_something(state: &State) -> bool {
    let entries = state.outcome.iter().flat_map(|exit| &exit.allocations);
    entries.into_iter().any(|a| !a.destination.is_external())
}

/// The virtual channels whose postfund everybody signed and in which `me` takes part: id and postfund.
pub(super) fn open_virtuals(cabal: &Cabal, me: Address) -> Vec<(ChannelId, SignedState)> {
    let postfund = |channel: ChannelId| {
        cabal.supported(channel).find(|s| s.turn() == TurnNum::POSTFUND).cloned()
    };
    let mine = |s: &SignedState| is_virtual(s.state()) && s.state().fixed.index_of(me).is_some();
    let found = cabal.channels().filter_map(|c| Some((c, postfund(c)?)));
    found.filter(|(_, s)| mine(s)).collect()
}

/// A challenge with a state that needs no proof.
pub(super) fn challenge(signed: &SignedState, me: Address, cabal: &Cabal) -> Option<Call> {
    let challenger_sig = cabal.sign_challenge(me, signed.state())?;
    let candidate = Claim::from(signed);
    Some(Call::Challenge { proof: Vec::new(), candidate, challenger_sig })
}

/// One state as a message to `peer`.
pub(super) fn send_state(peer: Address, claim: StateClaim) -> Effect {
    Effect::Send { peer, bytes: Wire::State(claim).encode() }
}

/// The newest supported states of all channels in which `me` takes part, with one other participant each.
pub(super) fn newest_with_peer(cabal: &Cabal, me: Address) -> Vec<(Address, SignedState)> {
    let with_peer = |signed: &SignedState| {
        let participants = &signed.state().fixed.participants;
        let mine = participants.contains(&me);
        let peer = participants.iter().find(|p| **p != me).copied();
        peer.filter(|_| mine).map(|peer| (peer, signed.clone()))
    };
    cabal.channels().filter_map(|c| cabal.latest_supported(c)).filter_map(with_peer).collect()
}

/// What `outcome` pays to the address of `who`, in all entries of its first asset.
pub(super) fn share(outcome: &Outcome, who: Address) -> Amount {
    outcome.first().map_or(Amount::ZERO, |e| e.allocated_to(Destination::of(who)))
}

/// Moves `amount` in the first asset from everybody else to `to`, as far as it is there. Returns whether anything moved.
pub(super) fn shift(outcome: &mut Outcome, to: Address, amount: Amount) -> bool {
    let to = Destination::of(to);
    let Some(exit) = outcome.first_mut() else { return false };
    if !exit.allocations.iter().any(|a| a.destination == to) {
        return false;
    }
    let mut moved = Amount::ZERO;
    for entry in exit.allocations.iter_mut().filter(|a| a.destination != to) {
        let taken = entry.amount.min(amount.saturating_sub(moved));
        entry.amount = entry.amount.saturating_sub(taken);
        moved = moved.saturating_add(taken);
    }
    if let Some(entry) = exit.allocations.iter_mut().find(|a| a.destination == to) {
        entry.amount = entry.amount.saturating_add(moved);
    }
    !moved.is_zero()
}

/// The other encoding of a signature: `n - s` with the other `v`. The contracts take it, nodes must not.
pub(super) fn high_s_twin(sig: &Signature) -> Signature {
    let mut twin = *sig;
    let mut borrow = 0u16;
    for i in (0..32).rev() {
        let difference = 256 + u16::from(ORDER[i]) - u16::from(sig.0[32 + i]) - borrow;
        borrow = u16::from(difference < 256);
        twin.0[32 + i] = (difference & 0xff) as u8;
    }
    twin.0[64] = 55u8.wrapping_sub(sig.0[64]);
    twin
}

/// The order of secp256k1.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// Bytes without meaning: one draw stretched by a hash, so that a tape stays short.
pub(super) fn noise(len: usize, site: &'static str, choice: &mut Choice<'_>) -> Vec<u8> {
    let seed = choice(site, 1 << 32);
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;
    use fairway_core::nitro::{Crypto, Recover};

    #[test]
    fn the_high_twin_recovers_on_chain_and_is_refused_off_chain() {
        let hash = prefund().hash();
        let twin = high_s_twin(&alice().sign(hash));
        assert_eq!(Crypto::Real.recover(hash, &twin), Some(alice().address()));
        assert_eq!(Crypto::Real.recover_strict(hash, &twin), None);
        assert_eq!(high_s_twin(&twin), alice().sign(hash));
    }

    #[test]
    fn a_shift_keeps_the_total_and_takes_no_more_than_there_is() {
        for (amount, moved, expected) in [(2, true, [7, 3]), (9, true, [10, 0]), (0, false, [5, 5])]
        {
            let mut outcome = prefund().outcome;
            assert_eq!(shift(&mut outcome, alice().address(), Amount::ether(amount)), moved);
            assert_eq!(outcome, update(0, expected).outcome);
        }
        let stranger = Address::with_last_byte(1);
        assert!(!shift(&mut prefund().outcome, stranger, Amount::ether(1)));
    }

    #[test]
    fn chance_is_calm_at_zero() {
        assert!(!one_in(3, "test", &mut |_, _| 0));
        assert!(one_in(3, "test", &mut |_, n| n - 1));
    }
}
