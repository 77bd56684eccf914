//! Commands about virtual channels: open, pay, close.
//!
//! All payments of one channel that are decided before the next write to the log share **one** voucher. A payment is therefore not
//! an event of its own: it waits in the session for [`Node::seal`], and its answer with it. A crash before that loses request and
//! answer together.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::node::{Decision, Handled, Node};
use super::virtual_policy;
use crate::chain_view::OnChainStatus;
use crate::channel::Phase;
use crate::effect::{Accepted, Effect, Refusal};
use crate::event::{Event, ObjectiveId, ObjectiveKind, Origin, VirtualTerms};
use crate::input::RequestId;
use crate::nitro::voucher::Voucher;
use crate::types::{Amount, ChannelId, Timestamp, TurnNum};
use crate::virtual_channel::VirtualChannel;

/// Payments that are decided and not yet signed.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsealed {
    /// The new total of each channel, and who waits for it.
    pub by_channel: BTreeMap<ChannelId, (Amount, Vec<RequestId>)>,
}

impl Node {
    pub(super) fn open_virtual(
        &self,
        terms: &VirtualTerms,
        ledger: Option<ChannelId>,
    ) -> Result<(Vec<Event>, Accepted), Refusal> {
        let Some(app) = self.state.payment_app() else {
            return Err(Refusal::Policy(
                "no application for virtual channels is configured".into(),
            ));
        };
        let channel = terms.fixed_part(app).channel_id();
        let id = ObjectiveId { channel, kind: ObjectiveKind::VirtualFund };
        if let Some(objective) = self.state.objectives().get(&id) {
            let same = objective.origin == Origin::User;
            return if same {
                Ok((Vec::new(), Accepted::Objective(id)))
            } else {
                Err(Refusal::ChannelUsed(channel))
            };
        }
        if self.state.recovery().is_some() {
            return Err(Refusal::Recovering);
        }
        let me = self.address();
        if terms.participants.first() != Some(&me) {
            return Err(Refusal::Policy(
                "who opens a virtual channel is its payer: participants[0]".into(),
            ));
        }
        self.check_versions(&terms.participants)?;
        let right =
            virtual_policy::check_virtual_terms(&self.state, &self.config, terms, me, ledger)?;
        let (origin, terms) = (Origin::User, terms.clone());
        Ok((vec![Event::VirtualApproved { id, origin, terms, right }], Accepted::Objective(id)))
    }

    /// Takes a payment on; it is signed, made durable and answered together with the others of its batch.
    pub(super) fn pay_by_voucher(
        &self,
        request: RequestId,
        channel: &VirtualChannel,
        amount: Amount,
    ) -> Result<Decision, Refusal> {
        self.may_pay(channel)?;
        self.check_versions(&[channel.payee()])?;
        let promised = self.session.unsealed.by_channel.get(&channel.id).map(|(total, _)| *total);
        let before = promised.unwrap_or(channel.paid());
        let balance = channel.amount.saturating_sub(before);
        let unbounded = self.config.mutant("voucher-over-balance");
        if amount.is_zero() || amount > balance && !unbounded {
            return Err(Refusal::ExceedsBalance { amount, balance });
        }
        let total = before.saturating_add(amount);
        Ok(Decision { payment: Some((channel.id, total, request)), ..Decision::default() })
    }

    /// Whether a voucher may be signed: the channel is open for everybody, nobody went to the chain with it, and we know what we
    /// promised before.
    fn may_pay(&self, channel: &VirtualChannel) -> Result<(), Refusal> {
        let known = self.session.witnessed.contains(&channel.id);
        let careless = self.config.mutant("pays-unwitnessed");
        if (self.state.recovery().is_some() || !known) && !careless {
            return Err(Refusal::Recovering);
        }
        let untouched = self.state.chain().at_head(channel.id).status == OnChainStatus::Untouched;
        let open = channel.is_payer()
            && (channel.phase == Phase::Open || self.config.mutant("pays-after-final"))
            && channel.unanimous(TurnNum::POSTFUND).is_some();
        if open && untouched { Ok(()) } else { Err(Refusal::NotOpen(channel.id)) }
    }

    /// Whether payments wait to be signed.
    pub(crate) fn has_unsealed(&self) -> bool {
        !self.session.unsealed.by_channel.is_empty()
    }

    /// Signs one voucher a channel for every payment taken on since the last time. Called by the driver before it writes.
    pub(crate) fn seal(&mut self, now: Timestamp) -> Handled {
        let mut handled = Handled::default();
        for (id, (total, requests)) in core::mem::take(&mut self.session.unsealed.by_channel) {
            let channel = self.state.virtual_channel(id).ok_or(Refusal::UnknownChannel(id));
            let reply = match channel.and_then(|c| self.may_pay(c)) {
                Ok(()) => {
                    let voucher = Voucher::sign(id, total, &self.key);
                    let touched = self.record(now, Event::VoucherSigned { voucher }, &mut handled);
                    self.crank_all(now, touched, &mut handled);
                    Ok(Accepted::Payment { channel: id, total })
                }
                Err(refusal) => Err(refusal),
            };
            let answers =
                requests.into_iter().map(|request| Effect::Reply { request, reply: reply.clone() });
            handled.answers.extend(answers);
        }
        handled
    }

    pub(super) fn close_virtual(
        &self,
        channel: &VirtualChannel,
    ) -> Result<(Vec<Event>, Accepted), Refusal> {
        let id = ObjectiveId { channel: channel.id, kind: ObjectiveKind::VirtualDefund };
        if self.state.objectives().contains_key(&id) {
            return Ok((Vec::new(), Accepted::Objective(id)));
        }
        match channel.phase {
            Phase::Open => {
                let approved = Event::ObjectiveApproved { id, origin: Origin::User, terms: None };
                Ok((vec![approved], Accepted::Objective(id)))
            }
            Phase::Opening | Phase::Closing | Phase::Disputed | Phase::Finished => {
                Err(Refusal::NotOpen(channel.id))
            }
        }
    }

    pub(super) fn force_close_virtual(
        &self,
        channel: &VirtualChannel,
    ) -> Result<(Vec<Event>, Accepted), Refusal> {
        let id = ObjectiveId { channel: channel.id, kind: ObjectiveKind::Dispute };
        if self.state.objectives().contains_key(&id) {
            return Ok((Vec::new(), Accepted::Objective(id)));
        }
        if channel.phase == Phase::Finished {
            return Err(Refusal::NotOpen(channel.id));
        }
        let approved = Event::ObjectiveApproved { id, origin: Origin::User, terms: None };
        Ok((vec![approved], Accepted::Objective(id)))
    }
}
