//! What leaves when its time has come: wishes whose cause is durable, questions to peers, polls of the endpoint.

use alloc::vec::Vec;

use super::node::Node;
use super::outbox::{self, Want, Wish};
use crate::channel::{Channel, Phase};
use crate::effect::Effect;
use crate::event::WantedTx;
use crate::types::{BlockNum, ChannelId, Lsn, Timestamp};
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
        for wish in self.outbox.due(now) {
            match self.state.wishes().get(&wish) {
                None => drop(self.attempts.remove(&wish)),
                // Not durable yet: the sync that is under way will ask again.
                Some(lsn) if *lsn > durable => self.outbox.set(wish, now),
                Some(_) => effects.extend(self.fulfil(now, wish)),
            }
        }
        effects
    }

    fn fulfil(&mut self, now: Timestamp, wish: Wish) -> Option<Effect> {
        let attempts = self.attempts.entry(wish.clone()).or_default();
        let is_message = matches!(wish.want, Want::Message(_));
        let base = if is_message { self.config.resend_ms } else { self.config.tx_resend_ms };
        let channel = self.state.channel(wish.channel)?;
        let pause = match &wish.want {
            // An answer has the length of the challenge, whoever chose it: eight attempts must fit into it.
            Want::Tx(WantedTx::Checkpoint { .. }) => {
                base.min(u64::from(channel.fixed.challenge_duration).saturating_mul(1_000) / 8)
            }
            Want::Message(_) | Want::Deposit | Want::Tx(_) => base
                .saturating_mul(1 << (*attempts).min(16))
                .min(self.config.resend_max_ms.max(base)),
        };
        *attempts = attempts.saturating_add(1);
        self.outbox.set(wish.clone(), now.after_ms(pause.max(1)));
        match &wish.want {
            Want::Message(key) => {
                let bytes = outbox::message(channel, *key)?.encode();
                Some(Effect::Send { peer: channel.peer, bytes })
            }
            // The channel may be over, and we may have forgotten it: money sent there is lost.
            Want::Deposit if self.state.recovery().is_some() => None,
            Want::Deposit | Want::Tx(_) => {
                let head = self.state.chain().at_head(wish.channel);
                outbox::call(channel, head, &wish.want).map(|call| Effect::Submit { call })
            }
        }
    }

    fn ask(&mut self, now: Timestamp, id: ChannelId) -> Option<Effect> {
        let channel = self.state.channel(id).filter(|c| must_ask(c))?;
        if self.session.witnessed.contains(&id) {
            return None;
        }
        self.session.ask.set(id, now.after_ms(self.config.resend_ms.saturating_mul(2)));
        let bytes = Wire::ResumeRequest { channel: id }.encode();
        Some(Effect::Send { peer: channel.peer, bytes })
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
