//! How long a message takes until its receiver says that it is durable there: one at a time, and not all of them.
//!
//! The acknowledgement names the message, so nothing is added to what is sent.

use std::time::{Duration, Instant};

use fairway_core::event::MessageKey;
use fairway_core::input::{Message, Verified};
use fairway_core::types::{Address, ChannelId};
use fairway_core::wire::Wire;

/// Measures round trips of messages.
#[derive(Debug, Default)]
pub struct Probe {
    sent: Option<Sent>,
    last: Option<Instant>,
}

/// A message whose acknowledgement is waited for.
#[derive(Debug)]
struct Sent {
    peer: Address,
    message: (ChannelId, MessageKey),
    at: Instant,
}

impl Probe {
    /// A message is about to go out. Taken as a probe where none is under way, and none was lately: it has to be read for that.
    pub fn sends(&mut self, peer: Address, bytes: &[u8], now: Instant) {
        let is_under_way = self.sent.as_ref().is_some_and(|s| now - s.at < LOST_AFTER);
        let was_lately = self.last.is_some_and(|last| now - last < PAUSE);
        if is_under_way || was_lately {
            return;
        }
        self.last = Some(now);
        let message = Wire::decode(bytes).ok().as_ref().and_then(acknowledged);
        self.sent = message.map(|message| Sent { peer, message, at: now });
    }

    /// What was about to go out to this peer now did not: no session took it.
    pub fn lost(&mut self, peer: Address, now: Instant) {
        self.sent.take_if(|s| s.peer == peer && s.at == now);
    }

    /// Something came in; how long the probe took, if it is its acknowledgement.
    pub fn hears(&mut self, input: &Verified, now: Instant) -> Option<Duration> {
        let Verified::Message { peer, message: Message::Bare(Wire::Ack { channel, what }) } = input
        else {
            return None;
        };
        let found = self.sent.take_if(|s| s.peer == *peer && s.message == (*channel, *what))?;
        Some(now - found.at)
    }
}

/// What the acknowledgement of a message will name; `None` for what is not acknowledged by a name of its own.
fn acknowledged(message: &Wire) -> Option<(ChannelId, MessageKey)> {
    Some(match message {
        Wire::State(claim) | Wire::Proposal { claim, .. } => {
            (claim.state.fixed.channel_id(), MessageKey::State(claim.state.turn))
        }
        Wire::UpdateRequest { channel, id, .. } => (*channel, MessageKey::UpdateRequest(*id)),
        Wire::CloseRequest { channel } => (*channel, MessageKey::CloseRequest),
        Wire::Voucher(voucher) => (voucher.channel, MessageKey::Voucher(voucher.amount)),
        Wire::Ack { .. }
        | Wire::Rejected { .. }
        | Wire::ResumeRequest { .. }
        | Wire::Resume { .. }
        | Wire::VirtualState { .. }
        | Wire::FinalRequest { .. }
        | Wire::VirtualResume { .. } => return None,
    })
}

/// A message that was not acknowledged for so long, or never will be because a newer one stands, makes room.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// Ten a second show the trend, and cost nothing.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn close(n: u8) -> (ChannelId, Vec<u8>) {
        let channel = ChannelId(alloy_primitives::B256::repeat_byte(n));
        (channel, Wire::CloseRequest { channel }.encode())
    }

    fn ack(peer: Address, channel: ChannelId) -> Verified {
        let what = MessageKey::CloseRequest;
        Verified::Message { peer, message: Message::Bare(Wire::Ack { channel, what }) }
    }

    /// Goal: only the peer's own word about this very message ends a probe, and one that is lost does not stop the next.
    #[test]
    fn a_probe_ends_with_its_own_acknowledgement() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (bob, eve) = (Address::repeat_byte(2), Address::repeat_byte(3));
        let ((first, bytes), (second, other)) = (close(1), close(2));
        let mut probe = Probe::default();
        probe.sends(bob, &bytes, at(0));
        probe.sends(bob, &other, at(1));
        for stranger in [ack(eve, first), ack(bob, second)] {
            assert_eq!(probe.hears(&stranger, at(5)), None);
        }
        assert_eq!(probe.hears(&ack(bob, first), at(7)), Some(Duration::from_millis(7)));
        assert_eq!(probe.hears(&ack(bob, first), at(8)), None, "counted once");

        probe.sends(bob, &other, at(50));
        assert_eq!(probe.hears(&ack(bob, second), at(60)), None, "too soon after the one before");
        probe.sends(bob, &other, at(100));
        assert_eq!(probe.hears(&ack(bob, second), at(101)), Some(Duration::from_millis(1)));

        probe.sends(bob, &bytes, at(1_000));
        probe.sends(bob, &other, at(62_000));
        assert_eq!(probe.hears(&ack(bob, second), at(62_002)), Some(Duration::from_millis(2)));
        probe.sends(bob, &bytes, at(65_000));
        probe.lost(bob, at(65_000));
        assert_eq!(probe.hears(&ack(bob, first), at(65_001)), None, "it did not go out");
        probe.sends(bob, b"no message", at(70_000));
        assert_eq!(probe.hears(&ack(bob, first), at(70_001)), None);
    }
}
