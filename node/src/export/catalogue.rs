//! What each of our events means in the common catalogue: names and fields are the catalogue's where it has any.
//!
//! Not ours to say, and left out: `objective-cranked` and messages (the log holds facts, not attempts), `withdraw-completed` (the
//! contract's log does not say to whom). The log keeps no transaction index: `tx_index` is the index of the contract's log.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, keccak256};
use fairway_core::chain_types::{BlockRef, IndexedLog};
use fairway_core::event::{Event, ObjectiveId, ObjectiveKind, Origin, Pins, RejectReason};
use fairway_core::nitro::abi::encode_state;
use fairway_core::nitro::{FixedPart, Log, SignedState, Voucher};
use fairway_core::types::{Address, Amount, ChannelId};

use super::canonical::Json;

/// The fields of one event.
pub type Fields = BTreeMap<&'static str, Json>;

/// What has to be remembered to name later events: a fold of its own, over names and sums alone.
#[derive(Debug, Default)]
pub struct Catalogue {
    pins: Option<Pins>,
    payment_app: Address,
    /// Payer and asset of channels, by id.
    channels: BTreeMap<ChannelId, (Address, Address)>,
    held: BTreeMap<(ChannelId, Address), Amount>,
    /// Who has signed which state.
    signers: BTreeMap<B256, BTreeSet<u8>>,
    supported: BTreeMap<ChannelId, u64>,
    newest: BTreeMap<ChannelId, B256>,
}

type Named = (&'static str, Fields);

impl Catalogue {
    /// What one event says, in order.
    pub fn of(&mut self, event: &Event) -> Vec<Named> {
        match event {
            Event::Pinned(pins) => {
                self.pins = Some(*pins);
                vec![("node-pinned", pinned(pins))]
            }
            Event::PaymentAppPinned { app } => {
                self.payment_app = *app;
                vec![("payment-app-pinned", fields([("app_definition", Json::hex(app))]))]
            }
            Event::ObjectiveApproved { id, origin, terms } => {
                let consensus = self.pins.map_or(Address::ZERO, |p| p.consensus_app);
                let fixed = terms.as_ref().map(|t| (t.fixed_part(consensus), t.asset));
                self.approved(id, *origin, fixed)
            }
            Event::VirtualApproved { id, origin, terms, right } => {
                let fixed = (terms.fixed_part(self.payment_app), terms.asset);
                let mut all = self.approved(id, *origin, Some(fixed));
                let mut more = about(id.channel);
                more.insert("amount", Json::amount(terms.amount));
                more.extend(right.map(|ledger| ("ledger_channel_id", Json::hex(ledger.0))));
                all.push(("virtual-agreed", more));
                all
            }
            Event::ObjectiveRejected { id, reason } => {
                let (code, text) = match reason {
                    RejectReason::Policy(why) => ("policy", why.as_str()),
                    RejectReason::ByPeer => ("by_peer", "the peer said no"),
                    RejectReason::TimedOut => ("timed_out", "nobody answered"),
                    RejectReason::Disputed => ("disputed", "replaced by a dispute"),
                };
                let more = [("error_code", Json::text(code)), ("reason", Json::text(text))];
                vec![(name(id, "objective-rejected", "dispute-given-up"), objective(id, more))]
            }
            Event::ObjectiveCompleted { id } => {
                let newest = self.newest.get(&id.channel);
                let state = newest.map(|hash| ("final_channel_state", Json::hex(hash)));
                let more = state.into_iter().chain([("success", Json::Bool(true))]);
                vec![(name(id, "objective-completed", "dispute-ended"), objective(id, more))]
            }
            Event::StateSigned { state, .. } => self.signatures("state-signed", state, None),
            Event::StateReceived { state, from } => {
                self.signatures("state-received", state, Some(*from))
            }
            Event::StatePublished { state } => self.signatures("state-received", state, None),
            Event::VoucherSigned { voucher } => vec![("voucher-issued", self.voucher(voucher))],
            Event::VoucherReceived { voucher } => {
                vec![("voucher-received", self.voucher(voucher))]
            }
            Event::BlockAdded { block, logs } => {
                let mut all = vec![("block-advanced", at_block(block))];
                all.extend(logs.iter().map(|log| self.chain_log(block, log)));
                all
            }
            Event::BlocksReverted { to } => vec![("block-reverted", at_block(to))],
            Event::DepositWanted { channel, held_before, amount } => {
                let mut more = about(*channel);
                more.insert("amount", Json::amount(*amount));
                more.insert("expected_held", Json::amount(*held_before));
                vec![("deposit-intended", more)]
            }
            Event::TxWanted { channel, tx } => vec![("tx-intended", told(*channel, tx))],
            Event::UpdateWanted { channel, update } => {
                vec![("proposal-queued", told(*channel, update))]
            }
            Event::UpdateDropped { channel, id } => vec![("proposal-dropped", told(*channel, id))],
            Event::MessageAcked { channel, what } => {
                let key = format!("{channel}|{what:?}");
                let mut more = told(*channel, what);
                more.insert("message_id", Json::hex(keccak256(key)));
                vec![("message-acknowledged", more)]
            }
            Event::LedgerNamed { channel, ledger } => {
                let mut more = about(*channel);
                more.insert("ledger_channel_id", Json::hex(ledger.0));
                vec![("ledger-named", more)]
            }
            Event::ReclaimShown { channel, block, target } => {
                let mut more = about(*channel);
                more.insert("block_num", Json::Number(block.0));
                more.insert("target_channel_id", Json::hex(target.0));
                vec![("reclaim-shown", more)]
            }
            Event::RecoveryEntered { reason } => {
                vec![("recovery-entered", fields([("reason", Json::text(format!("{reason:?}")))]))]
            }
            Event::ChannelWitnessed { channel } => vec![("channel-witnessed", about(*channel))],
            Event::RecoveryEnded => vec![("recovery-ended", Fields::new())],
        }
    }

    fn approved(
        &mut self,
        id: &ObjectiveId,
        origin: Origin,
        fixed: Option<(FixedPart, Address)>,
    ) -> Vec<Named> {
        let kind = match id.kind {
            ObjectiveKind::DirectFund => "DirectFund",
            ObjectiveKind::DirectDefund => "DirectDefund",
            ObjectiveKind::VirtualFund => "VirtualFund",
            ObjectiveKind::VirtualDefund => "VirtualDefund",
            // The catalogue knows no disputes: they have events of their own.
            ObjectiveKind::Dispute => "Dispute",
        };
        let mut created = objective(id, [("objective_type", Json::text(kind))]);
        let mut all = Vec::new();
        if let Some((fixed, asset)) = fixed {
            let people = Json::List(fixed.participants.iter().map(Json::hex).collect());
            created.insert("participants", people.clone());
            let payer = fixed.participants.first().copied().unwrap_or_default();
            self.channels.insert(id.channel, (payer, asset));
            let channel = [
                ("app_definition", Json::hex(fixed.app_definition)),
                ("challenge_duration", Json::Number(fixed.challenge_duration.into())),
                ("channel_id", Json::hex(id.channel.0)),
                ("channel_nonce", Json::Number(fixed.nonce)),
                ("participants", people),
            ];
            all.push(("channel-created", fields(channel)));
        }
        let origin = match origin {
            Origin::User => "user",
            Origin::Peer => "peer",
            Origin::Timeout => "timeout",
            Origin::Violation => "violation",
        };
        let approved = objective(id, [("origin", Json::text(origin))]);
        all.push((name(id, "objective-created", "dispute-created"), created));
        all.push((name(id, "objective-approved", "dispute-approved"), approved));
        all
    }

    /// One event for each signature, the state itself where it is new, and what follows from them.
    fn signatures(
        &mut self,
        event: &'static str,
        signed: &SignedState,
        from: Option<Address>,
    ) -> Vec<Named> {
        let (state, channel, hash) = (signed.state(), signed.channel(), signed.hash());
        let mut place = about(channel);
        place.insert("state_hash", Json::hex(hash));
        place.insert("turn_num", Json::Number(state.turn.get()));
        let mut all = Vec::new();
        if !self.signers.contains_key(&hash) {
            let body =
                encode_state(channel, &state.app_data, &state.outcome, state.turn, state.is_final);
            let mut fields = place.clone();
            fields.insert("encoded", Json::hex(body));
            all.push(("state-recorded", fields));
        }
        let known = self.signers.entry(hash).or_default();
        for (index, sig) in signed.sigs() {
            let Some(signer) = state.fixed.participants.get(usize::from(*index)) else { continue };
            known.insert(*index);
            let mut fields = place.clone();
            fields.insert("is_final", Json::Bool(state.is_final));
            fields.insert("signature", Json::hex(sig.0));
            fields.insert("signer", Json::hex(signer));
            fields.extend(from.map(|peer| ("peer_id", Json::hex(peer))));
            all.push((event, fields));
        }
        let (signatures, turn) = (known.len(), state.turn.get());
        let before = self.supported.get(&channel).copied();
        if signatures == state.fixed.participants.len() && before.is_none_or(|b| b < turn) {
            self.supported.insert(channel, turn);
            self.newest.insert(channel, hash);
            let mut fields = about(channel);
            fields.insert("num_signatures", Json::Number(signatures as u64));
            fields.insert("state_hash", Json::hex(hash));
            fields.insert("supported_turn", Json::Number(turn));
            fields.extend(before.map(|turn| ("prev_supported_turn", Json::Number(turn))));
            all.push(("state-supported-updated", fields));
            if state.is_final {
                let mut fields = about(channel);
                fields.insert("final_state_hash", Json::hex(hash));
                fields.insert("final_turn", Json::Number(turn));
                all.push(("channel-finalized", fields));
            }
        }
        all
    }

    fn voucher(&self, voucher: &Voucher) -> Fields {
        let payer = self.channels.get(&voucher.channel).map(|(payer, _)| *payer);
        let mut fields = about(voucher.channel);
        fields.insert("amount", Json::amount(voucher.amount));
        fields.insert("payer", Json::hex(payer.unwrap_or_default()));
        fields.insert("signature", Json::hex(voucher.sig.0));
        fields
    }

    fn chain_log(&mut self, block: &BlockRef, found: &IndexedLog) -> Named {
        let channel = found.log.channel();
        let own = self.channels.get(&channel).map(|(_, asset)| *asset).unwrap_or_default();
        let mut fields = about(channel);
        fields.insert("block_num", Json::Number(block.number.0));
        fields.insert("tx_index", Json::Number(found.index.into()));
        let name = match &found.log {
            Log::Deposited { asset, held, .. } => {
                let before = self.held.insert((channel, *asset), *held).unwrap_or_default();
                let amount = held.saturating_sub(before);
                fields.insert("amount_deposited", Json::amount(amount));
                fields.insert("asset", Json::hex(asset));
                fields.insert("now_held", Json::amount(*held));
                "deposit-detected"
            }
            Log::AllocationUpdated { after, .. } => {
                self.held.insert((channel, own), *after);
                fields.insert("asset", Json::hex(own));
                fields.insert("new_amount", Json::amount(*after));
                "allocation-updated"
            }
            Log::ChallengeRegistered { finalizes_at, candidate, .. } => {
                let state = &candidate.state;
                fields.insert("candidate_state_hash", Json::hex(state.hash()));
                // The contract's log does not name the challenger.
                fields.insert("challenger", Json::hex(Address::ZERO));
                fields.insert("finalization_time", Json::Number(finalizes_at.0));
                fields.insert("is_final", Json::Bool(state.is_final));
                fields.insert("turn_num_record", Json::Number(state.turn.get()));
                "challenge-registered"
            }
            Log::ChallengeCleared { turn, .. } => {
                fields.insert("new_turn_num_record", Json::Number(turn.get()));
                "challenge-cleared"
            }
            Log::Checkpointed { turn, .. } => {
                fields.insert("new_turn_num_record", Json::Number(turn.get()));
                "checkpointed"
            }
            Log::Concluded { .. } => "channel-concluded",
            Log::Reclaimed { .. } => "guarantee-reclaimed",
        };
        (name, fields)
    }
}

fn pinned(pins: &Pins) -> Fields {
    fields([
        ("adjudicator", Json::hex(pins.adjudicator)),
        ("app_definition", Json::hex(pins.consensus_app)),
        ("chain_id", Json::Number(pins.chain_id)),
        ("confirmations", Json::Number(pins.confirmations.into())),
        ("node", Json::hex(pins.me)),
    ])
}

fn fields<const N: usize>(of: [(&'static str, Json); N]) -> Fields {
    of.into()
}

fn about(channel: ChannelId) -> Fields {
    fields([("channel_id", Json::hex(channel.0))])
}

/// What has no fields of its own in the catalogue, as the log's debug text says it.
fn told(channel: ChannelId, what: &impl std::fmt::Debug) -> Fields {
    let mut fields = about(channel);
    fields.insert("what", Json::text(format!("{what:?}")));
    fields
}

fn at_block(block: &BlockRef) -> Fields {
    fields([
        ("block_hash", Json::hex(block.hash)),
        ("block_num", Json::Number(block.number.0)),
        ("block_time", Json::Number(block.time.0)),
    ])
}

fn objective(id: &ObjectiveId, more: impl IntoIterator<Item = (&'static str, Json)>) -> Fields {
    let mut fields = about(id.channel);
    fields.insert("objective_id", Json::hex(keccak256(id.to_string())));
    fields.extend(more);
    fields
}

/// A dispute has names of its own: the catalogue's objective types are four.
fn name(id: &ObjectiveId, catalogue: &'static str, dispute: &'static str) -> &'static str {
    if id.kind == ObjectiveKind::Dispute { dispute } else { catalogue }
}
