//! What users ask for.

use alloc::vec;
use alloc::vec::Vec;

use super::node::{Decision, Node};
use super::policy;
use crate::channel::{Channel, Phase};
use crate::effect::{Accepted, Effect, Refusal};
use crate::event::{Event, ObjectiveId, ObjectiveKind, Origin, Terms, Update, UpdateId, WantedTx};
use crate::input::{Command, RequestId};
use crate::nitro::{Call, Outcome};
use crate::objective::{Objective, dispute};
use crate::types::{Amount, ChannelId};

impl Node {
    /// Decides on a command. Every command may be repeated: what is under way is accepted again and changes nothing.
    pub(super) fn on_command(
        &self,
        request: RequestId,
        command: &Command,
    ) -> Result<Decision, Refusal> {
        let (events, accepted) = match command {
            Command::Open(terms) => self.open(terms)?,
            Command::OpenVirtual { terms, ledger } => self.open_virtual(terms, *ledger)?,
            Command::Pay { channel, amount } => match self.state.virtual_channel(*channel) {
                Some(v) => return self.pay_by_voucher(request, v, *amount),
                None => self.pay(*channel, *amount)?,
            },
            Command::Close { channel } => match self.state.virtual_channel(*channel) {
                Some(v) => self.close_virtual(v)?,
                None => self.close(*channel)?,
            },
            Command::ForceClose { channel } => match self.state.virtual_channel(*channel) {
                Some(v) => self.force_close_virtual(v)?,
                None => self.force_close(*channel)?,
            },
        };
        let answers = vec![Effect::Reply { request, reply: Ok(accepted) }];
        Ok(Decision { events, answers, ..Decision::default() })
    }

    fn open(&self, terms: &Terms) -> Result<(Vec<Event>, Accepted), Refusal> {
        let me = self.address();
        let Some(pins) = self.state.pins() else { return Err(Refusal::Recovering) };
        let channel = terms.fixed_part(pins.consensus_app).channel_id();
        let id = ObjectiveId { channel, kind: ObjectiveKind::DirectFund };
        if let Some(known) = self.state.channel(channel) {
            let same = known.opening == terms.opening()
                && self.state.objectives().get(&id).is_some_and(|o| o.origin == Origin::User);
            return if same && known.phase != Phase::Finished {
                Ok((Vec::new(), Accepted::Objective(id)))
            } else {
                Err(Refusal::ChannelUsed(channel))
            };
        }
        if self.state.recovery().is_some() {
            return Err(Refusal::Recovering);
        }
        if terms.participants[0] != me {
            return Err(Refusal::Policy(
                "who opens a channel is its leader: participants[0]".into(),
            ));
        }
        policy::check_terms(&self.state, &self.config, terms, terms.participants[1])?;
        let terms = Some(terms.clone());
        let approved = Event::ObjectiveApproved { id, origin: Origin::User, terms };
        Ok((vec![approved], Accepted::Objective(id)))
    }

    fn pay(&self, id: ChannelId, amount: Amount) -> Result<(Vec<Event>, Accepted), Refusal> {
        let channel = self.known(id)?;
        if channel.phase != Phase::Open {
            return Err(Refusal::NotOpen(id));
        }
        if self.state.recovery().is_some() && !self.config.mutant("signs-in-recovery") {
            return Err(Refusal::Recovering);
        }
        let mine = channel.updates.iter().filter(|u| u.payer == channel.me);
        let queued = mine.clone().fold(Amount::ZERO, |sum, u| sum.saturating_add(u.amount));
        let balance = channel.balance(channel.my_index()).saturating_sub(queued);
        if amount.is_zero() || amount > balance {
            return Err(Refusal::ExceedsBalance { amount, balance });
        }
        let limit = self.config.policy.updates_queued_max;
        if mine.count() as u64 >= limit {
            return Err(Refusal::Limit { what: "queued updates", limit });
        }
        let last = channel.last_update.get(channel.my_index()).copied().unwrap_or_default();
        let update = Update { id: UpdateId(last.0 + 1), payer: channel.me, amount };
        let wanted = Event::UpdateWanted { channel: id, update };
        Ok((vec![wanted], Accepted::Update { channel: id, id: update.id.0 }))
    }

    fn close(&self, channel: ChannelId) -> Result<(Vec<Event>, Accepted), Refusal> {
        let id = ObjectiveId { channel, kind: ObjectiveKind::DirectDefund };
        let known = self.known(channel)?;
        match known.phase {
            Phase::Open if self.guarantees_run(known) => Err(Refusal::Guarantees(channel)),
            Phase::Open => {
                let approved = Event::ObjectiveApproved { id, origin: Origin::User, terms: None };
                Ok((vec![approved], Accepted::Objective(id)))
            }
            Phase::Closing | Phase::Finished if self.state.objectives().contains_key(&id) => {
                Ok((Vec::new(), Accepted::Objective(id)))
            }
            Phase::Opening | Phase::Closing | Phase::Disputed | Phase::Finished => {
                Err(Refusal::NotOpen(channel))
            }
        }
    }

    /// Whether a virtual channel stands on this one, or is about to.
    pub(super) fn guarantees_run(&self, channel: &Channel) -> bool {
        let live = self.state.virtuals().over(channel).any(|v| v.phase != Phase::Finished);
        live || channel.has_guarantees()
    }

    fn force_close(&self, channel: ChannelId) -> Result<(Vec<Event>, Accepted), Refusal> {
        let id = ObjectiveId { channel, kind: ObjectiveKind::Dispute };
        let known = self.known(channel)?;
        if self.state.objectives().contains_key(&id) {
            return Ok((Vec::new(), Accepted::Objective(id)));
        }
        if known.phase == Phase::Finished {
            return Err(Refusal::NotOpen(channel));
        }
        let approved = Event::ObjectiveApproved { id, origin: Origin::User, terms: None };
        Ok((vec![approved], Accepted::Objective(id)))
    }

    /// A transaction reverted. Two reasons change what we want: somebody who cannot be paid blocks paying everybody, and a payout
    /// that we take for the peer's was ours.
    pub(super) fn on_reverted(&self, call: &Call, reason: &str) -> Decision {
        let Some(known) = self.state.channel(call.channel()) else { return Decision::default() };
        let events = match (call, reason) {
            (_, "Could not transfer ETH") => self.pay_us_alone(known),
            (Call::Transfer { outcome, .. }, "incorrect fingerprint") => {
                self.settled_after_all(known, outcome)
            }
            _ => Vec::new(),
        };
        Decision::events(events)
    }

    /// Paying everybody reverts: collect our own share. A close in agreement pays in the same call, so it ends as a dispute, which
    /// concludes without paying.
    fn pay_us_alone(&self, known: &Channel) -> Vec<Event> {
        let channel = known.id;
        let wants = |tx| known.txs.contains(&tx);
        if wants(WantedTx::TransferMine)
            || !wants(WantedTx::TransferAll) && !wants(WantedTx::Conclude)
        {
            return Vec::new();
        }
        let mut events = vec![Event::TxWanted { channel, tx: WantedTx::TransferMine }];
        let id = ObjectiveId { channel, kind: ObjectiveKind::Dispute };
        if known.phase == Phase::Closing && !self.state.objectives().contains_key(&id) {
            let origin = Origin::Violation;
            events.push(Event::ObjectiveApproved { id, origin, terms: None });
        }
        events
    }

    /// The contract does not hold the one outcome in which we are still owed something, and the payout is confirmed: so it was ours.
    ///
    /// # Danger
    /// On an unconfirmed payout this would let the peer pay itself in front of our own transaction and have us stop there. On
    /// `refuted` that came from an older reading, or is one of several, a delayed revert would.
    fn settled_after_all(&self, known: &Channel, refuted: &Outcome) -> Vec<Event> {
        let id = ObjectiveId { channel: known.id, kind: ObjectiveKind::Dispute };
        let live = self.state.objectives().get(&id).is_some_and(Objective::is_live);
        let (head, confirmed) =
            (self.state.chain().at_head(known.id), self.state.chain().confirmed(known.id));
        let ours = known.txs.contains(&WantedTx::TransferMine)
            && head.payouts == confirmed.payouts
            && head.status == confirmed.status
            && dispute::mine_is_paid_unless(confirmed, known, &self.state.virtuals(), refuted);
        if live && ours { vec![Event::ObjectiveCompleted { id }] } else { Vec::new() }
    }

    pub(super) fn known(&self, id: ChannelId) -> Result<&Channel, Refusal> {
        self.state.channel(id).ok_or(Refusal::UnknownChannel(id))
    }
}
