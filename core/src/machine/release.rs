//! What leaves when its time has come: wishes whose cause is durable, questions to peers, polls of the endpoint.

use alloc::vec::Vec;

use super::node::Node;
use super::outbox;
use super::virtual_outbox;
use crate::chain_view::OnChainStatus;
use crate::channel::{Channel, Phase};
use crate::config::Defend;
use crate::effect::{Effect, Urgency};
use crate::effect::{Want, Wish};
use crate::event::{MessageKey, WantedTx};
use crate::nitro::Call;
use crate::types::{BlockNum, ChannelId, Lsn, Timestamp};
use crate::virtual_channel::VirtualChannel;
use crate::wire::Wire;

impl Node {
    /// Everything that is due and whose cause is durable. Called by the driver alone.
    pub(crate) fn due(&mut self, now: Timestamp, durable: Lsn) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.session.poll_at <= now && self.state.pins().is_some() {
            self.session.poll_at = now.after_ms(self.config.poll_ms);
            effects.push(Effect::FetchBlocks { from: self.poll_from() });
        }
        for channel in self.session.ask.due(now) {
            effects.extend(self.ask(now, channel));
        }
        let hasty = self.config.mutant("voucher-before-sync");
        let stubborn = self.config.mutant("deposit-never-settled");
        for wish in self.outbox.due(now) {
            let early = hasty && matches!(wish.want, Want::Message(MessageKey::Voucher(_)));
            match self.state.wishes().get(&wish) {
                None if stubborn && wish.want == Want::Deposit => {
                    effects.extend(self.fulfil(now, wish));
                }
                None => effects.extend(self.withdraw(wish)),
                // Not durable yet: the sync that is under way will ask again.
                Some(lsn) if *lsn > durable && !early => self.outbox.set(wish, now),
                Some(_) => effects.extend(self.fulfil(now, wish)),
            }
        }
        effects
    }

    /// New wishes are due at once, and so is the end of those for which a transaction was submitted.
    pub(super) fn reschedule(&mut self, now: Timestamp, channel: ChannelId) {
        for (wish, _) in self.state.wishes_of(channel) {
            if !self.outbox.contains(wish) {
                self.outbox.set(wish.clone(), now);
            }
        }
        // Messages come before it.
        let first = Wish { channel, want: Want::Deposit };
        let submitted = self.attempts.range(first..).map(|(wish, _)| wish);
        let stubborn = self.config.mutant("deposit-never-settled");
        for wish in submitted.take_while(|wish| wish.channel == channel) {
            let stays = stubborn && wish.want == Want::Deposit;
            if !stays && !self.state.wishes().contains_key(wish) {
                self.outbox.set(wish.clone(), now);
            }
        }
    }

    fn fulfil(&mut self, now: Timestamp, wish: Wish) -> Option<Effect> {
        let answers =
            matches!(wish.want, Want::Tx(WantedTx::Checkpoint { .. } | WantedTx::Redeem { .. }));
        // It stays ready: the operator was told, and a start with the other setting submits it.
        if answers && self.config.defend == Defend::Alert {
            return None;
        }
        let attempts = self.attempts.entry(wish.clone()).or_default();
        let is_message = matches!(wish.want, Want::Message(_));
        let base = if is_message { self.config.resend_ms } else { self.config.tx_resend_ms };
        let attempt = *attempts;
        let fixed = match self.state.channel(wish.channel) {
            Some(channel) => &channel.fixed,
            None => &self.state.virtual_channel(wish.channel)?.fixed,
        };
        let pause = match &wish.want {
            // An answer has the length of the challenge, whoever chose it: eight attempts must fit into it.
            Want::Tx(WantedTx::Checkpoint { .. } | WantedTx::Redeem { .. }) => {
                base.min(u64::from(fixed.challenge_duration).saturating_mul(1_000) / 8)
            }
            Want::Message(_) | Want::Deposit | Want::Tx(_) => base
                .saturating_mul(1 << (*attempts).min(16))
                .min(self.config.resend_max_ms.max(base)),
        };
        *attempts = attempts.saturating_add(1);
        self.outbox.set(wish.clone(), now.after_ms(pause.max(1)));
        if let Some(v) = self.state.virtual_channel(wish.channel) {
            return match &wish.want {
                Want::Message(key) => {
                    let (peer, wire) = virtual_outbox::message(v, *key)?;
                    Some(Effect::Send { peer, bytes: wire.encode() })
                }
                Want::Tx(tx) => virtual_outbox::call(v, tx).map(|call| self.submit(&wish, call)),
                Want::Deposit => None,
            };
        }
        let sources = self.state.sources(wish.channel)?;
        let peer = sources.channel.peer;
        match &wish.want {
            // Said again it says what it rests on: perhaps that is why there was no answer.
            Want::Message(MessageKey::State(turn)) if attempt > 0 => {
                let wire = outbox::proposal(&sources, *turn);
                let wire =
                    wire.or_else(|| outbox::message(sources.channel, MessageKey::State(*turn)));
                Some(Effect::Send { peer, bytes: wire?.encode() })
            }
            Want::Message(key) => {
                let bytes = outbox::message(sources.channel, *key)?.encode();
                Some(Effect::Send { peer, bytes })
            }
            // The channel may be over, and we may have forgotten it: money sent there is lost.
            Want::Deposit if self.state.recovery().is_some() => None,
            Want::Deposit | Want::Tx(_) => {
                outbox::call(&sources, &wish.want, attempt).map(|call| self.submit(&wish, call))
            }
        }
    }

    fn submit(&self, wish: &Wish, call: Call) -> Effect {
        let urgency = self.urgency(wish);
        let direct = self.state.channels().filter(|c| c.phase < Phase::Finished).count();
        let virtuals = self.state.virtual_channels().filter(|v| v.phase < Phase::Finished).count();
        let at_stake = (direct as u64).saturating_add(virtuals as u64);
        Effect::Submit { wish: Some(wish.clone()), call, urgency, at_stake }
    }

    /// A message that is wanted no more is just not sent again; a transaction may be on its way for a while.
    fn withdraw(&mut self, wish: Wish) -> Option<Effect> {
        let attempts = self.attempts.remove(&wish);
        let is_tx = !matches!(wish.want, Want::Message(_));
        attempts.filter(|_| is_tx).map(|_| Effect::Withdraw { wish })
    }

    /// An answer has until the challenge at the head ends. What answers none can wait.
    fn urgency(&self, wish: &Wish) -> Urgency {
        let Want::Tx(WantedTx::Checkpoint { .. } | WantedTx::Redeem { .. }) = wish.want else {
            return Urgency::Normal;
        };
        let fixed = match self.state.channel(wish.channel) {
            Some(channel) => Some(&channel.fixed),
            None => self.state.virtual_channel(wish.channel).map(|v| &v.fixed),
        };
        let head = self.state.chain().at_head(wish.channel);
        if let (OnChainStatus::Challenged(c), Some(fixed)) = (&head.status, fixed) {
            let (deadline, window_s) = (c.finalizes_at, fixed.challenge_duration);
            return Urgency::Defence { deadline, window_s };
        }
        Urgency::Normal
    }

    fn ask(&mut self, now: Timestamp, id: ChannelId) -> Option<Effect> {
        let direct = self.state.channel(id).is_some_and(must_ask);
        let of_virtual = self.state.virtual_channel(id).is_some_and(must_ask_of);
        let peer = self.witness_of(id).filter(|_| direct || of_virtual)?;
        if self.session.witnessed.contains(&id) {
            return None;
        }
        self.session.ask.set(id, now.after_ms(self.config.resend_ms.saturating_mul(2)));
        let bytes = Wire::ResumeRequest { channel: id }.encode();
        Some(Effect::Send { peer, bytes })
    }

    /// When the node wants to be called without an input.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let poll = self.state.pins().map(|_| self.session.poll_at);
        [poll, self.timers.first(), self.outbox.first(), self.session.ask.first()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The height after our head; the first block ever for a new node.
    pub(super) fn next_block(&self) -> BlockNum {
        self.state.chain().head().map_or(BlockNum(0), |b| BlockNum(b.number.0 + 1))
    }
}

/// Whether the peer must be asked what it knows before we sign there again.
pub(super) fn must_ask(channel: &Channel) -> bool {
    channel.phase < Phase::Disputed && channel.signed.is_some()
}

/// Whether the other end must be asked: the payer may have forgotten vouchers that it signed, the payee some that it took.
pub(super) fn must_ask_of(channel: &VirtualChannel) -> bool {
    channel.phase < Phase::Disputed && (channel.is_payer() || channel.is_payee())
}
