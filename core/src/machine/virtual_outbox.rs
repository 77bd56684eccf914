//! The wishes of virtual channels; see [`super::outbox`] for what a wish is.
//!
//! Everybody tells everybody: with one more intermediary a signature takes no longer.

use alloc::vec;
use alloc::vec::Vec;

use crate::chain_view::{OnChain, OnChainStatus};
use crate::channel::Phase;
use crate::effect::Want;
use crate::event::{MessageKey, WantedTx};
use crate::nitro::{Call, Claim, SignedState};
use crate::objective::Objective;
use crate::types::{Address, TurnNum};
use crate::virtual_channel::VirtualChannel;
use crate::wire::{StateClaim, Wire};

/// What the wishes of a virtual channel depend on.
pub struct VirtualSources<'a> {
    /// The channel.
    pub channel: &'a VirtualChannel,
    /// The contract at the head.
    pub head: &'a OnChain,
    /// Its dispute.
    pub dispute: Option<&'a Objective>,
}

/// All wishes of one virtual channel, in order; `sent` are its [`messages`].
pub fn wishes(of: &VirtualSources<'_>, sent: &[MessageKey]) -> Vec<Want> {
    let open = sent.iter().filter(|key| !of.channel.acked.contains(*key));
    let mut wants: Vec<Want> = open.copied().map(Want::Message).collect();
    wants.extend(of.channel.txs.iter().filter(|tx| tx_is_live(of, tx)).cloned().map(Want::Tx));
    wants
}

/// What the others should hear, acknowledged or not.
pub fn messages(of: &VirtualSources<'_>) -> Vec<MessageKey> {
    let channel = of.channel;
    let is_agreed = channel.unanimous(TurnNum::VIRTUAL_FINAL).is_some();
    let turns: &[TurnNum] = match channel.phase {
        Phase::Disputed => &[],
        // The others need it to get their guarantees back, whatever we have left. Not where the chain decides: who never agreed to it
        // would never acknowledge it either.
        Phase::Finished if is_agreed || of.head.status == OnChainStatus::Untouched => {
            &[TurnNum::VIRTUAL_FINAL]
        }
        Phase::Finished => &[],
        Phase::Opening | Phase::Open | Phase::Closing if is_agreed => &[TurnNum::VIRTUAL_FINAL],
        Phase::Opening | Phase::Open | Phase::Closing => {
            &[TurnNum::PREFUND, TurnNum::POSTFUND, TurnNum::VIRTUAL_FINAL]
        }
    };
    let mut keys = Vec::new();
    for turn in turns.iter().filter(|turn| channel.signed(**turn)) {
        keys.extend(channel.others().map(|(index, _)| MessageKey::StateTo(*turn, index)));
    }
    let closing = channel.phase == Phase::Closing;
    let voucher = channel.voucher.filter(|_| channel.is_payer() && !is_agreed);
    if closing || channel.phase == Phase::Open {
        keys.extend(voucher.map(|v| MessageKey::Voucher(v.amount)));
    }
    if closing && !channel.is_payer() && !channel.states.contains_key(&TurnNum::VIRTUAL_FINAL) {
        keys.push(MessageKey::FinalRequest);
    }
    keys
}

/// The message that fulfils a wish, and to whom.
pub fn message(channel: &VirtualChannel, key: MessageKey) -> Option<(Address, Wire)> {
    match key {
        MessageKey::StateTo(turn, index) => {
            let signed = channel.states.get(&turn)?;
            let sig = *signed.sigs().get(&channel.me)?;
            let claim = StateClaim { state: signed.state().clone(), sigs: vec![(channel.me, sig)] };
            let to = *channel.fixed.participants.get(usize::from(index))?;
            let is_next = usize::from(index) == channel.my_index() + 1;
            let ledger = channel.right.filter(|_| is_next && turn == TurnNum::PREFUND);
            Some((to, Wire::VirtualState { claim, ledger }))
        }
        MessageKey::Voucher(amount) => {
            let voucher = channel.voucher.filter(|v| v.amount == amount)?;
            Some((channel.payee(), Wire::Voucher(voucher)))
        }
        MessageKey::FinalRequest => {
            Some((channel.payer(), Wire::FinalRequest { channel: channel.id }))
        }
        // Of a direct channel.
        MessageKey::State(_) | MessageKey::UpdateRequest(_) | MessageKey::CloseRequest => None,
    }
}

/// Whether a transaction can still do what it was wanted for.
fn tx_is_live(of: &VirtualSources<'_>, tx: &WantedTx) -> bool {
    let status = &of.head.status;
    let raises = |to: TurnNum| match status {
        OnChainStatus::Untouched => true,
        OnChainStatus::Recorded(record) => *record <= to,
        OnChainStatus::Challenged(c) => c.turn < to,
        OnChainStatus::Concluded(_) => false,
    };
    let live = of.dispute.is_some_and(Objective::is_live) && !of.head.concluded;
    live && match tx {
        WantedTx::Challenge { turn, .. } => raises(*turn),
        WantedTx::Redeem { .. } => raises(TurnNum::REDEMPTION),
        WantedTx::Conclude => true,
        WantedTx::Checkpoint { .. }
        | WantedTx::TransferAll
        | WantedTx::TransferMine
        | WantedTx::Reclaim { .. } => false,
    }
}

/// The call that fulfils a wish.
pub fn call(channel: &VirtualChannel, tx: &WantedTx) -> Option<Call> {
    let unanimous = |turn| channel.unanimous(turn).map(Claim::from);
    match tx {
        WantedTx::Challenge { turn, challenger_sig } => Some(Call::Challenge {
            proof: Vec::new(),
            candidate: unanimous(*turn)?,
            challenger_sig: *challenger_sig,
        }),
        WantedTx::Redeem { voucher, sig, challenger_sig } => {
            let state = channel.redemption(voucher)?;
            let hash = state.hash_in(channel.id);
            let redemption = SignedState::by_us(state, channel.id, hash, channel.me, *sig);
            Some(Call::Challenge {
                proof: vec![unanimous(TurnNum::POSTFUND)?],
                candidate: Claim::from(&redemption),
                challenger_sig: *challenger_sig,
            })
        }
        // Never with a payout: the channel holds nothing, and its entries are never paid.
        WantedTx::Conclude => {
            Some(Call::Conclude { candidate: unanimous(TurnNum::VIRTUAL_FINAL)? })
        }
        WantedTx::Checkpoint { .. }
        | WantedTx::TransferAll
        | WantedTx::TransferMine
        | WantedTx::Reclaim { .. } => None,
    }
}
