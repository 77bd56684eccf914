//! What a node takes on while its disk is full: what ends and defends channels, and nothing that begins or goes on by itself.
//!
//! The log has to grow with every challenge that must be answered. What is left of the reserve is kept for that: a peer that goes on
//! paying, opening and guaranteeing must not use it up. Refused is only what its sender says again, so nothing is lost by it.

use super::messages::holds;
use super::node::Node;
use crate::channel::{Channel, guaranteed_in};
use crate::effect::Refusal;
use crate::input::{Command, Input, Message, Space, Verified};
use crate::nitro::{SignedState, Voucher};
use crate::types::TurnNum;
use crate::wire::Wire;

impl Node {
    /// Whether the disk has room, as far as this process was told.
    pub fn space(&self) -> Space {
        self.session.space
    }

    /// Whether an input may be handled with what is left of the disk.
    ///
    /// # Errors
    /// [`Refusal::DiskFull`]; nothing was changed, and who asked may ask again.
    pub(super) fn check_space(&self, input: &Verified) -> Result<(), Refusal> {
        let full = self.session.space == Space::Scarce;
        if !full || self.config.mutant("works-while-full") {
            return Ok(());
        }
        let refused = match input {
            Verified::Plain(Input::Command { command, .. }) => match command {
                Command::Open(_) | Command::OpenVirtual { .. } | Command::Pay { .. } => true,
                Command::Close { .. } | Command::ForceClose { .. } => false,
            },
            Verified::Message { message, .. } => self.takes_room(message),
            Verified::Plain(_) | Verified::Blocks { .. } | Verified::Dropped { .. } => false,
        };
        if refused { Err(Refusal::DiskFull) } else { Ok(()) }
    }

    /// Whether a message wants something that can wait until there is room.
    fn takes_room(&self, message: &Message) -> bool {
        match message {
            Message::State(state) | Message::Proposal { state, .. } => self.goes_on(state),
            Message::Resume { supported, yours, .. } => {
                [supported, yours].into_iter().flatten().any(|state| self.goes_on(state))
            }
            Message::VirtualState { state, .. } => {
                self.state.virtual_channel(state.channel()).is_none()
            }
            Message::Voucher { voucher, .. } => self.pays_more(voucher),
            Message::VirtualResume { voucher, .. } => {
                voucher.is_some_and(|(voucher, _)| self.pays_more(&voucher))
            }
            Message::Bare(Wire::UpdateRequest { .. }) => true,
            Message::Bare(_) => false,
        }
    }

    fn pays_more(&self, voucher: &Voucher) -> bool {
        let known = self.state.virtual_channel(voucher.channel);
        known.is_none_or(|v| voucher.amount > v.paid())
    }

    /// Whether a state of a ledger channel begins something or carries it on: not what funds or ends the channel, gives guarantees
    /// back, or is known.
    fn goes_on(&self, signed: &SignedState) -> bool {
        let Some(channel) = self.state.channel(signed.channel()) else { return true };
        let ends = signed.state().is_final || gives_back(channel, signed);
        signed.turn() > TurnNum::POSTFUND && !ends && !holds(channel, signed)
    }
}

/// Whether a state has fewer guarantees than the newest that everybody signed.
fn gives_back(channel: &Channel, signed: &SignedState) -> bool {
    let newest = channel.supported.iter().flat_map(|s| guaranteed_in(&s.state().outcome));
    guaranteed_in(&signed.state().outcome).count() < newest.count()
}
