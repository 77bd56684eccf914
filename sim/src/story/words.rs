//! Facts in plain words. Clauses without a full stop, in the present tense, with names instead of addresses.

use fairway_core::effect::{Notice, Refusal};
use fairway_core::event::{
    Event, MessageKey, ObjectiveId, ObjectiveKind, Origin, RecoveryReason, RejectReason, WantedTx,
};
use fairway_core::input::Space;
use fairway_core::nitro::{Call, Log, Outcome, State};
use fairway_core::types::{Address, Amount, TurnNum};
use fairway_core::wire::{StateClaim, Wire};

use super::Names;

impl Names {
    /// `Alice 3 ETH, Bob 7 ETH`.
    pub(super) fn split(&self, outcome: &Outcome) -> String {
        let entry = |a: &fairway_core::nitro::Allocation| {
            let who = a.destination.address().map_or_else(|| "a guarantee".into(), |a| self.of(a));
            format!("{who} {}", a.amount)
        };
        let entries: Vec<String> =
            outcome.iter().flat_map(|exit| &exit.allocations).map(entry).collect();
        if entries.is_empty() { "nobody anything".into() } else { entries.join(", ") }
    }

    /// `turn 5 (Alice 3 ETH, Bob 7 ETH)`.
    pub(super) fn state(&self, state: &State) -> String {
        format!("{} ({})", turn_name(state), self.split(&state.outcome))
    }

    /// What a node logs about itself; `who` is its name.
    pub(super) fn event(&self, me: Address, event: &Event) -> String {
        let who = self.of(me);
        let peer = || event.channel().map_or_else(String::new, |c| self.counterparty(c, me));
        match event {
            Event::Pinned(_) => format!("{who} begins a new log"),
            Event::ObjectiveApproved { id, origin, terms } => {
                let split = terms.as_ref().map(|t| format!(" ({})", self.split(&t.opening())));
                let begins = begins(id.kind, *origin, &peer());
                format!("{who} {begins}{}", split.unwrap_or_default())
            }
            Event::ObjectiveRejected { id, reason } => {
                format!("{who} gives up {}: {}", doing(id.kind), self.reason(reason, &peer()))
            }
            Event::ObjectiveCompleted { id } => format!("for {who} {}", done(id.kind)),
            Event::StateSigned { state, .. } => {
                format!("{who} signs {}", self.state(state.state()))
            }
            Event::StateReceived { state, .. } => {
                let signers = self.signers(state.state(), state.sigs().keys());
                format!("{who} logs {} as signed by {signers}", turn_name(state.state()))
            }
            Event::StatePublished { state } => {
                format!(
                    "{who} reads {} with everybody's signature out of a transaction",
                    self.state(state.state())
                )
            }
            Event::ReclaimShown { .. } => {
                format!("{who} reads out of a transaction which guarantee it reclaimed")
            }
            Event::DepositWanted { held_before, amount, .. } => {
                format!("{who} decides to deposit {amount} on top of {held_before}")
            }
            Event::TxWanted { tx, .. } => format!("{who} decides to {}", wanted(tx)),
            Event::BlockAdded { block, logs } if logs.is_empty() => {
                format!("{who} sees block {}", block.number)
            }
            Event::BlockAdded { block, logs } => {
                let news: Vec<String> = logs.iter().map(|l| chain_log(&l.log)).collect();
                format!("{who} sees block {}: {}", block.number, news.join(", "))
            }
            Event::BlocksReverted { to } => {
                format!("{who} takes back every block above {}", to.number)
            }
            Event::MessageAcked { what, .. } => {
                format!("{who} learns that {} has {} on disk", peer(), key(*what))
            }
            Event::UpdateWanted { channel, update } => {
                let payer = usize::from(update.payer);
                let payer = self.participant(*channel, payer);
                if payer == who {
                    format!("{who} wants to pay {} {}", peer(), update.amount)
                } else {
                    format!("{who} notes that {payer} wants to pay {}", update.amount)
                }
            }
            Event::UpdateDropped { id, .. } => {
                format!("{who} drops payment {}: the payer cannot afford it", id.0)
            }
            Event::RecoveryEntered { reason } => {
                let why = match reason {
                    RecoveryReason::Restored => "it runs from a backup".to_owned(),
                    RecoveryReason::ForgottenSignature { turn, .. } => {
                        format!(
                            "somebody shows its signature on turn {turn}, which it cannot remember"
                        )
                    }
                };
                format!("{who} signs nothing new from here on: {why}")
            }
            Event::ChannelWitnessed { .. } => format!("{who} has heard what {} knows", peer()),
            Event::RecoveryEnded => format!("{who} may sign again"),
            Event::PaymentAppPinned { .. } => {
                format!("{who} records which contract judges virtual channels")
            }
            Event::VirtualApproved { origin, terms, .. } => {
                let names: Vec<String> = terms.participants.iter().map(|p| self.of(*p)).collect();
                let verb = match origin {
                    Origin::Peer => "agrees to take part in",
                    Origin::User | Origin::Timeout | Origin::Violation => "opens",
                };
                let (way, amount) = (names.join(" - "), terms.amount);
                format!("{who} {verb} a virtual channel {way} for up to {amount}")
            }
            Event::LedgerNamed { .. } => {
                format!("{who} learns in which ledger channel the guarantee shall stand")
            }
            Event::VoucherSigned { voucher } => {
                format!("{who} signs a voucher for {} in all", voucher.amount)
            }
            Event::VoucherReceived { voucher } => {
                format!("{who} logs a voucher for {} in all", voucher.amount)
            }
        }
    }

    /// The participants at these indices.
    fn signers<'a>(&self, state: &State, indices: impl Iterator<Item = &'a u8>) -> String {
        let name = |i: &u8| {
            let who = state.fixed.participants.get(usize::from(*i));
            who.map_or_else(|| format!("participant {i}"), |who| self.of(*who))
        };
        let names: Vec<String> = indices.map(name).collect();
        if names.is_empty() { "nobody".into() } else { names.join(" and ") }
    }

    /// A message on its way.
    pub(super) fn sends(&self, from: &str, to: &str, wire: Option<&Wire>, bytes: usize) -> String {
        match wire {
            None => format!("{from} sends {to} {bytes} bytes that are no message"),
            Some(Wire::State(claim)) => {
                let signers = self.signers(&claim.state, claim.sigs.iter().map(|(i, _)| i));
                let signed =
                    if signers == from { String::new() } else { format!(", signed by {signers}") };
                format!("{from} sends {to} {}{signed}", self.state(&claim.state))
            }
            Some(Wire::UpdateRequest { amount, .. }) => {
                format!("{from} asks {to} to propose a payment of {amount}")
            }
            Some(Wire::CloseRequest { .. }) => format!("{from} asks {to} to close the channel"),
            Some(Wire::Ack { what, .. }) => {
                format!("{from} tells {to} that {} is on disk", key(*what))
            }
            Some(Wire::Rejected { objective }) => {
                format!("{from} tells {to} that it will not go on {}", doing(objective.kind))
            }
            Some(Wire::ResumeRequest { .. }) => {
                format!("{from} asks {to} what it knows of the channel")
            }
            Some(Wire::Resume { supported, yours, .. }) => {
                let state = |c: &StateClaim| turn_name(&c.state);
                let known = match (supported, yours) {
                    (None, None) => "nothing".to_owned(),
                    (Some(s), None) => format!("{} is supported", state(s)),
                    (None, Some(y)) => format!("{} was proposed", state(y)),
                    (Some(s), Some(y)) => {
                        format!("{} is supported and {} proposed", state(s), state(y))
                    }
                };
                format!("{from} tells {to} what it knows: {known}")
            }
            Some(Wire::VirtualState { claim, .. }) => {
                format!("{from} sends {to} {} of a virtual channel", self.state(&claim.state))
            }
            Some(Wire::Proposal { claim, .. }) => {
                format!("{from} sends {to} {} with changed guarantees", self.state(&claim.state))
            }
            Some(Wire::FinalRequest { .. }) => {
                format!("{from} asks {to} for the final state of a virtual channel")
            }
            Some(Wire::Voucher(voucher)) => {
                format!("{from} sends {to} a voucher for {} in all", voucher.amount)
            }
            Some(Wire::VirtualResume { voucher, newest, .. }) => {
                let known = match (voucher, newest) {
                    (None, None) => "nothing".to_owned(),
                    (Some(v), None) => format!("a voucher for {}", v.amount),
                    (None, Some(s)) => turn_name(&s.state),
                    (Some(v), Some(s)) => {
                        format!("a voucher for {} and {}", v.amount, turn_name(&s.state))
                    }
                };
                format!("{from} tells {to} what it knows of a virtual channel: {known}")
            }
        }
    }

    /// A transaction as a noun: `deposit of 5 ETH`.
    pub(super) fn call(&self, call: &Call) -> String {
        match call {
            Call::Deposit { amount, .. } => format!("deposit of {amount}"),
            Call::Challenge { candidate, .. } => {
                format!("challenge with {}", self.state(&candidate.state))
            }
            Call::Checkpoint { candidate, .. } => {
                format!("checkpoint with {}", self.state(&candidate.state))
            }
            Call::Conclude { candidate } => {
                format!("conclusion with {}", self.state(&candidate.state))
            }
            Call::ConcludeAndTransferAllAssets { candidate } => {
                format!("conclusion and payout of {}", self.state(&candidate.state))
            }
            Call::TransferAllAssets { outcome, .. } => format!("payout ({})", self.split(outcome)),
            Call::Transfer { outcome, indices, .. } => {
                let one = |i: &u64| {
                    let exit = outcome.first()?;
                    let entry = exit.allocations.get(usize::try_from(*i).ok()?)?;
                    Some(self.of(entry.destination.address()?))
                };
                let who: Vec<String> = indices.iter().filter_map(one).collect();
                format!("payout to {} alone", who.join(" and "))
            }
            Call::Reclaim(args) => format!("reclaim ({})", self.split(&args.target_outcome)),
            Call::Approve { .. } => "allowance of a token".into(),
        }
    }

    /// News for a node's user.
    pub(super) fn notice(&self, who: &str, notice: &Notice) -> String {
        match notice {
            Notice::Completed(id) => format!("{who}'s user hears: {}", done(id.kind)),
            Notice::Rejected(id, reason) => {
                let reason = self.reason(reason, "the peer");
                format!("{who}'s user hears: {} was given up, {reason}", doing(id.kind))
            }
            Notice::Supported { turn, .. } => {
                format!("for {who} turn {turn} is supported by everybody")
            }
            Notice::UpdateDropped { id, .. } => {
                format!("{who}'s user hears: the channel ended before payment {id} was made")
            }
            Notice::StaleChallenge { turn, .. } => {
                format!("{who} notices a challenge with the old turn {turn}")
            }
            Notice::PaymentReceived { total, delta, .. } => {
                format!("{who}'s user hears: {delta} more was paid, {total} in all")
            }
            Notice::DeepReorg { .. } => {
                format!("{who} notices that confirmed facts have left the chain")
            }
            Notice::RecoveryEntered => format!("{who}'s user hears: nothing new is signed for now"),
            Notice::RecoveryEnded => format!("{who}'s user hears: the node signs again"),
            Notice::Space(Space::Scarce) => {
                format!("{who}'s user hears: the disk is full, only closing and defending go on")
            }
            Notice::Space(Space::Plenty) => format!("{who}'s user hears: the disk has room again"),
            Notice::DepositWithheld { missing, .. } => {
                format!("{who}'s user hears: a deposit waits, {missing} more are needed for gas")
            }
        }
    }

    /// A command that was refused.
    pub(super) fn refusal(&self, who: &str, refusal: &Refusal) -> String {
        format!("{who} refuses its user's command: {refusal}")
    }

    fn reason(&self, reason: &RejectReason, peer: &str) -> String {
        match reason {
            RejectReason::Policy(why) => why.clone(),
            RejectReason::ByPeer => format!("{peer} said no"),
            RejectReason::TimedOut => format!("{peer} was silent for too long"),
            RejectReason::Disputed => "the chain decides now".into(),
        }
    }
}

/// With a capital letter at its beginning.
pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// `turn 5`, or the name that a turn has.
pub(super) fn turn_name(state: &State) -> String {
    match state.turn {
        turn if state.is_final => format!("the final turn {turn}"),
        TurnNum::PREFUND => "the prefund".into(),
        TurnNum::POSTFUND => "the postfund".into(),
        turn => format!("turn {turn}"),
    }
}

/// A message as a noun: `turn 5`.
pub(super) fn wire_noun(wire: Option<&Wire>) -> String {
    match wire {
        None => "bytes that are no message".into(),
        Some(Wire::State(claim)) => turn_name(&claim.state),
        Some(Wire::UpdateRequest { amount, .. }) => format!("a request to move {amount}"),
        Some(Wire::CloseRequest { .. }) => "a request to close".into(),
        Some(Wire::Ack { what, .. }) => format!("an acknowledgement of {}", key(*what)),
        Some(Wire::Rejected { .. }) => "a rejection".into(),
        Some(Wire::ResumeRequest { .. }) => "a question about the channel".into(),
        Some(Wire::Resume { .. }) => "an answer about the channel".into(),
        Some(Wire::VirtualState { claim, .. }) => {
            format!("{} of a virtual channel", turn_name(&claim.state))
        }
        Some(Wire::Proposal { claim, .. }) => {
            format!("{} with changed guarantees", turn_name(&claim.state))
        }
        Some(Wire::FinalRequest { .. }) => "a request for the final state".into(),
        Some(Wire::Voucher(voucher)) => format!("a voucher for {}", voucher.amount),
        Some(Wire::VirtualResume { .. }) => "an answer about a virtual channel".into(),
    }
}

/// The money that a call moves, where the call says so.
pub(super) fn call_amount(call: &Call) -> Option<Amount> {
    match call {
        Call::Deposit { amount, .. } => Some(*amount),
        Call::Challenge { .. }
        | Call::Checkpoint { .. }
        | Call::Conclude { .. }
        | Call::ConcludeAndTransferAllAssets { .. }
        | Call::TransferAllAssets { .. }
        | Call::Transfer { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => None,
    }
}

/// The state that a call shows.
pub(super) fn call_state(call: &Call) -> Option<&State> {
    match call {
        Call::Challenge { candidate, .. }
        | Call::Checkpoint { candidate, .. }
        | Call::Conclude { candidate }
        | Call::ConcludeAndTransferAllAssets { candidate } => Some(&candidate.state),
        Call::Deposit { .. }
        | Call::TransferAllAssets { .. }
        | Call::Transfer { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => None,
    }
}

/// Which channel a message is about.
pub(super) fn wire_channel(wire: &Wire) -> fairway_core::types::ChannelId {
    match wire {
        Wire::State(claim) | Wire::VirtualState { claim, .. } | Wire::Proposal { claim, .. } => {
            claim.state.fixed.channel_id()
        }
        Wire::Voucher(voucher) => voucher.channel,
        Wire::UpdateRequest { channel, .. }
        | Wire::CloseRequest { channel }
        | Wire::Ack { channel, .. }
        | Wire::ResumeRequest { channel }
        | Wire::FinalRequest { channel }
        | Wire::VirtualResume { channel, .. }
        | Wire::Resume { channel, .. } => *channel,
        Wire::Rejected { objective: ObjectiveId { channel, .. } } => *channel,
    }
}

/// Which turn a message is about.
pub(super) fn wire_turn(wire: &Wire) -> Option<TurnNum> {
    match wire {
        Wire::State(claim) | Wire::VirtualState { claim, .. } | Wire::Proposal { claim, .. } => {
            Some(claim.state.turn)
        }
        Wire::Ack { what: MessageKey::State(turn), .. } => Some(*turn),
        Wire::Ack { .. }
        | Wire::UpdateRequest { .. }
        | Wire::CloseRequest { .. }
        | Wire::Rejected { .. }
        | Wire::ResumeRequest { .. }
        | Wire::FinalRequest { .. }
        | Wire::Voucher(_)
        | Wire::VirtualResume { .. }
        | Wire::Resume { .. } => None,
    }
}

fn begins(kind: ObjectiveKind, origin: Origin, peer: &str) -> String {
    match (kind, origin) {
        (ObjectiveKind::DirectFund, Origin::Peer) => {
            format!("agrees to open a channel with {peer}")
        }
        (ObjectiveKind::DirectFund, _) => format!("opens a channel with {peer}"),
        (ObjectiveKind::DirectDefund, Origin::Peer) => {
            format!("agrees to close the channel with {peer}")
        }
        (ObjectiveKind::DirectDefund, _) => format!("wants to close the channel with {peer}"),
        (ObjectiveKind::VirtualFund, _) => "opens a virtual channel".into(),
        (ObjectiveKind::VirtualDefund, Origin::Peer) => {
            "agrees to close the virtual channel".into()
        }
        (ObjectiveKind::VirtualDefund, Origin::Timeout) => {
            "waits no longer and wants to close the virtual channel".into()
        }
        (ObjectiveKind::VirtualDefund, _) => "wants to close the virtual channel".into(),
        (ObjectiveKind::Dispute, Origin::Timeout) => {
            format!("waits no longer for {peer} and turns to the chain")
        }
        (ObjectiveKind::Dispute, Origin::Violation) => {
            format!("no longer trusts {peer} and turns to the chain")
        }
        (ObjectiveKind::Dispute, Origin::User | Origin::Peer) => "closes the channel alone".into(),
    }
}

/// What an objective is about.
pub(super) fn doing(kind: ObjectiveKind) -> &'static str {
    match kind {
        ObjectiveKind::DirectFund => "opening the channel",
        ObjectiveKind::DirectDefund => "closing the channel in agreement",
        ObjectiveKind::Dispute => "the dispute",
        ObjectiveKind::VirtualFund => "opening the virtual channel",
        ObjectiveKind::VirtualDefund => "closing the virtual channel in agreement",
    }
}

fn done(kind: ObjectiveKind) -> &'static str {
    match kind {
        ObjectiveKind::DirectFund => "the channel is open",
        ObjectiveKind::DirectDefund => "the channel is closed in agreement",
        ObjectiveKind::Dispute => "the dispute is settled",
        ObjectiveKind::VirtualFund => "the virtual channel is open",
        ObjectiveKind::VirtualDefund => "the virtual channel is closed in agreement",
    }
}

fn wanted(tx: &WantedTx) -> String {
    match tx {
        WantedTx::Challenge { turn, .. } => format!("challenge with turn {turn}"),
        WantedTx::Checkpoint { turn } => format!("answer the challenge with turn {turn}"),
        WantedTx::Conclude => "conclude on chain".into(),
        WantedTx::TransferAll => "have everybody paid".into(),
        WantedTx::TransferMine => "have its own share paid".into(),
        WantedTx::Redeem { voucher, .. } => format!("redeem its voucher for {}", voucher.amount),
        WantedTx::Reclaim { .. } => "reclaim a guarantee".into(),
    }
}

fn key(what: MessageKey) -> String {
    match what {
        MessageKey::State(TurnNum::PREFUND) | MessageKey::StateTo(TurnNum::PREFUND, _) => {
            "the prefund".into()
        }
        MessageKey::State(TurnNum::POSTFUND) | MessageKey::StateTo(TurnNum::POSTFUND, _) => {
            "the postfund".into()
        }
        MessageKey::State(turn) | MessageKey::StateTo(turn, _) => format!("turn {turn}"),
        MessageKey::FinalRequest => "the request for the final state".into(),
        MessageKey::Voucher(total) => format!("the voucher for {total}"),
        MessageKey::UpdateRequest(id) => format!("payment request {}", id.0),
        MessageKey::CloseRequest => "the request to close".into(),
    }
}

fn chain_log(log: &Log) -> String {
    match log {
        Log::Deposited { held, .. } => format!("the channel holds {held}"),
        Log::AllocationUpdated { before, after, .. } => {
            format!("{} is paid out", before.saturating_sub(*after))
        }
        Log::ChallengeRegistered { candidate, .. } => {
            format!("a challenge with {}", turn_name(&candidate.state))
        }
        Log::ChallengeCleared { turn, .. } => format!("turn {turn} clears the challenge"),
        Log::Checkpointed { turn, .. } => format!("turn {turn} is on record"),
        Log::Concluded { .. } => "the channel is concluded".into(),
        Log::Reclaimed { .. } => "a guarantee is reclaimed".into(),
    }
}
