//! What both sides can put before the contract, channel by channel, without anybody's key: a signature here may say whose it is.

use fairway_core::chain_types::B256;
use fairway_core::nitro::{Call, Claim, Recover, Signature, SignedState, State, Voucher};
use fairway_core::types::{Address, Amount, ChannelId, TurnNum};

use super::super::virtual_view::payee_part;
use super::book::{Ledger, Virtual};
use super::promise::Oracle;
use crate::world::memo::Memo;

/// One channel of the game.
pub(super) struct Piece {
    /// Which.
    pub id: ChannelId,
    /// What the adversary can put before the contract.
    pub theirs: Vec<Call>,
    /// What the node can, best first.
    pub mine: Vec<Call>,
    /// Whether it holds money.
    pub is_ledger: bool,
}

/// Recovers our marked signatures without any work, and all others by the run's memory.
pub(super) struct Known(pub Memo);

/// The first bytes of a signature that says whose it is.
const MARK: [u8; 12] = [0xfa; 12];

/// A signature of `who`.
pub(super) fn by(who: Address) -> Signature {
    let mut sig = [0u8; 65];
    sig[..12].copy_from_slice(&MARK);
    sig[12..32].copy_from_slice(who.as_slice());
    sig[64] = 27;
    Signature(sig)
}

impl Recover for Known {
    fn recover(&mut self, hash: B256, sig: &Signature) -> Option<Address> {
        if sig.0[..12] == MARK {
            return Some(Address::from_slice(&sig.0[12..32]));
        }
        self.0.recover(hash, sig)
    }

    fn hash_state(&mut self, state: &State) -> (ChannelId, B256) {
        self.0.hash_state(state)
    }
}

/// The claim of everybody on a state, by marks: who asks has checked that the node's signature is there to be had.
fn everybody(state: &State) -> Claim {
    Claim { state: state.clone(), sigs: state.fixed.participants.iter().map(|p| by(*p)).collect() }
}

fn challenge(state: &State, who: Address, proof: Vec<Claim>) -> Call {
    Call::Challenge { proof, candidate: everybody(state), challenger_sig: by(who) }
}

fn other(state: &State, me: Address) -> Address {
    state.fixed.participants.iter().copied().find(|p| *p != me).unwrap_or(me)
}

/// A ledger channel: everything newer that the node has signed, and the first state, against the newest supported one.
pub(super) fn ledger_piece(
    oracle: &Oracle<'_>,
    me: Address,
    id: ChannelId,
    ledger: &Ledger,
) -> Option<Piece> {
    let supported = ledger.supported.as_ref()?.state();
    let opening = ledger.opening.iter().map(SignedState::state);
    let known = opening.chain(oracle.newer(id)).chain([supported]);
    let mut theirs = Vec::new();
    for state in known {
        let them = other(state, me);
        theirs.push(challenge(state, them, Vec::new()));
        theirs.push(Call::Checkpoint { proof: Vec::new(), candidate: everybody(state) });
        if state.is_final {
            theirs.push(Call::Conclude { candidate: everybody(state) });
        }
    }
    let mine = if supported.is_final {
        vec![Call::Conclude { candidate: everybody(supported) }]
    } else {
        vec![challenge(supported, me, Vec::new())]
    };
    Some(Piece { id, theirs, mine, is_ledger: true })
}

/// A virtual channel: everything that the node has signed, and redemptions, against the best that it holds.
pub(super) fn virtual_piece(oracle: &Oracle<'_>, me: Address, id: ChannelId, v: &Virtual) -> Piece {
    let mut theirs = Vec::new();
    let mut mine = Vec::new();
    for state in oracle.signed(id) {
        let them = other(state, me);
        if state.turn == TurnNum::VIRTUAL_FINAL {
            theirs.push(Call::Conclude { candidate: everybody(state) });
            continue;
        }
        theirs.push(challenge(state, them, Vec::new()));
        theirs.push(Call::Checkpoint { proof: Vec::new(), candidate: everybody(state) });
        if state.turn == TurnNum::POSTFUND && !v.is_payee() {
            let most = if v.me == 0 { oracle.issued(id, v) } else { v.terms.amount };
            let redemption = (!most.is_zero()).then(|| redemption(id, state, most)).flatten();
            theirs.extend(redemption.map(|r| challenge(&r, them, vec![everybody(state)])));
        }
    }
    if let Some(agreed) = v.unanimous(TurnNum::VIRTUAL_FINAL) {
        mine.push(Call::Conclude { candidate: everybody(agreed.state()) });
    }
    let postfund = v.unanimous(TurnNum::POSTFUND).map(SignedState::state);
    if let Some(postfund) = postfund.filter(|_| v.is_payee() && !v.voucher.is_zero())
        && let Some(redemption) = redemption(id, postfund, v.voucher)
    {
        mine.push(challenge(&redemption, me, vec![everybody(postfund)]));
    }
    let prefund = v.unanimous(TurnNum::PREFUND).map(SignedState::state);
    // Over a challenge these say nothing better.
    mine.extend(postfund.or(prefund).map(|best| challenge(best, me, Vec::new())));
    Piece { id, theirs, mine, is_ledger: false }
}

/// The state that redeems a voucher of `amount`.
fn redemption(id: ChannelId, postfund: &State, amount: Amount) -> Option<State> {
    let payer = *postfund.fixed.participants.first()?;
    let mut state = State { turn: TurnNum::REDEMPTION, ..postfund.clone() };
    state.app_data = Voucher { channel: id, amount, sig: by(payer) }.redemption_data();
    let [payers, payees] = state.outcome.first_mut()?.allocations.as_mut_slice() else {
        return None;
    };
    payers.amount = payers.amount.checked_sub(amount)?;
    payees.amount = amount;
    (payee_part(&state.outcome) == Some(amount)).then_some(state)
}
