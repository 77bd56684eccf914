//! When to look at a channel again, and at which: timers, live objectives, sessions that come up.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::blocks::is_unread;
use super::node::Node;
use crate::chain_view::OnChainStatus;
use crate::channel::Phase;
use crate::effect::{Want, Wish};
use crate::event::{MessageKey, ObjectiveId, ObjectiveKind};
use crate::objective::{Objective, WaitingFor, dispute};
use crate::types::{Address, ChannelId, Timestamp};

impl Node {
    /// A session came up: what this peer has not acknowledged goes out at once.
    pub(super) fn hurry(&mut self, now: Timestamp, peer: Address) {
        let to_peer = |w: &&Wish| match w.want {
            Want::Message(key) => self.recipient(w.channel, key) == Some(peer),
            Want::Deposit | Want::Tx(_) => false,
        };
        let silent = self.config.mutant("no-resend-after-restart");
        let wishes: Vec<Wish> = self.outbox.keys().filter(to_peer).cloned().collect();
        for wish in wishes.into_iter().filter(|_| !silent) {
            self.attempts.remove(&wish);
            self.outbox.set(wish, now);
        }
        let asked: Vec<ChannelId> = self.session.ask.keys().copied().collect();
        for id in asked {
            if self.witness_of(id) == Some(peer) {
                self.session.ask.set(id, now);
            }
        }
    }

    /// Who is to hear a message.
    fn recipient(&self, id: ChannelId, key: MessageKey) -> Option<Address> {
        if let Some(channel) = self.state.channel(id) {
            return Some(channel.peer);
        }
        let v = self.state.virtual_channel(id)?;
        match key {
            MessageKey::StateTo(_, index) => v.fixed.participants.get(usize::from(index)).copied(),
            MessageKey::Voucher(_) => Some(v.payee()),
            MessageKey::FinalRequest => Some(v.payer()),
            MessageKey::State(_) | MessageKey::UpdateRequest(_) | MessageKey::CloseRequest => None,
        }
    }

    /// Who can tell us what we may have forgotten of a channel.
    pub(super) fn witness_of(&self, id: ChannelId) -> Option<Address> {
        let direct = self.state.channel(id).map(|c| c.peer);
        direct.or_else(|| self.state.virtual_channel(id).map(super::virtual_messages::other_end))
    }

    /// Sets or clears the moment at which a waiting channel is looked at although nothing happens.
    pub(super) fn set_timer(&mut self, now: Timestamp, id: ChannelId, waiting: WaitingFor) {
        let Some((live, watched, progress_at)) = self.attention(id) else { return };
        if live || watched {
            self.active.insert(id);
        } else {
            self.active.remove(&id);
        }
        let at = match waiting {
            WaitingFor::Withdraw => Some(progress_at.after_ms(self.config.conclude_after_ms)),
            WaitingFor::Witness
            | WaitingFor::CompletePrefund
            | WaitingFor::MyTurnToFund
            | WaitingFor::CompleteFunding
            | WaitingFor::CompletePostfund
            | WaitingFor::Finalization
            | WaitingFor::Guarantees
            | WaitingFor::Release
            | WaitingFor::Holdings => {
                let since = progress_at.max(self.session.started);
                Some(since.after_ms(self.config.silence_ms))
            }
            WaitingFor::ChallengeMined | WaitingFor::ChallengeEnd | WaitingFor::Nothing => None,
        };
        // A moment that has passed was taken into account by the crank that now waits; set again it would wake us at once, for ever.
        match at.filter(|at| live && *at > now) {
            Some(at) => self.timers.set(id, at),
            None => self.timers.remove(&id),
        }
    }

    /// What may have something to do because time passed on chain. With it a challenge ends: then the ledger channels below a virtual
    /// channel may give its guarantee back, and a ledger channel that is finalized in an old state wants the outcome of every virtual
    /// channel that this guarantees, however long ago that was closed.
    pub(super) fn due_with_blocks(&self) -> BTreeSet<ChannelId> {
        let mut due = self.active.clone();
        for id in &self.active {
            if let Some(v) = self.state.virtual_channel(*id) {
                due.extend(v.ledgers());
            } else {
                due.extend(dispute::guaranteed_on_chain(self.state.chain().at_head(*id)));
            }
        }
        due
    }

    /// Whether a channel has a live objective, whether the chain does something with it, and when something last moved.
    fn attention(&self, id: ChannelId) -> Option<(bool, bool, Timestamp)> {
        let is_live = |kind| {
            let objective = self.state.objectives().get(&ObjectiveId { channel: id, kind });
            objective.is_some_and(Objective::is_live)
        };
        let on_chain = self.state.chain().at_head(id);
        let challenged = matches!(on_chain.status, OnChainStatus::Challenged(_));
        if let Some(v) = self.state.virtual_channel(id) {
            let kinds =
                [ObjectiveKind::VirtualFund, ObjectiveKind::VirtualDefund, ObjectiveKind::Dispute];
            let watched = challenged && v.phase != Phase::Finished;
            return Some((kinds.into_iter().any(is_live), watched, v.progress_at));
        }
        let channel = self.state.channel(id)?;
        let kinds =
            [ObjectiveKind::DirectFund, ObjectiveKind::DirectDefund, ObjectiveKind::Dispute];
        let watched = on_chain.concluded && !on_chain.held.is_zero()
            || challenged
            || is_unread(on_chain, channel);
        Some((kinds.into_iter().any(is_live), watched, channel.progress_at))
    }
}
