//! I10: a node signs, deposits and challenges only for an objective that its log shows approved and not yet ended.

use std::sync::Arc;

use fairway_core::event::{Event, ObjectiveKind, WantedTx};
use fairway_core::types::{ChannelId, TurnNum};

use super::run::Run;
use super::view::{ChannelView, Progress, Views};
use super::{Invariant, Violation};
use crate::observe::PartyId;

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct ApprovedBeforeSigned {
    run: Arc<Run>,
}

impl ApprovedBeforeSigned {
    pub fn new(run: &Arc<Run>) -> ApprovedBeforeSigned {
        ApprovedBeforeSigned { run: Arc::clone(run) }
    }

    fn check(&self, views: &Views, node: PartyId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::StateSigned { state, .. }
                if views.virtual_channel(node, state.channel()).is_some() =>
            {
                let turn = state.turn();
                let kind = if turn == TurnNum::VIRTUAL_FINAL {
                    ObjectiveKind::VirtualDefund
                } else {
                    ObjectiveKind::VirtualFund
                };
                self.require_virtual(
                    views,
                    node,
                    state.channel(),
                    kind,
                    &format!("signed turn {turn}"),
                )
            }
            Event::TxWanted {
                channel,
                tx: WantedTx::Challenge { .. } | WantedTx::Redeem { .. },
            } if views.virtual_channel(node, *channel).is_some() => {
                self.require_virtual(views, node, *channel, ObjectiveKind::Dispute, "challenged")
            }
            Event::StateSigned { state, .. } => {
                let (turn, is_final) = (state.turn(), state.state().is_final);
                let allowed = |c: &ChannelView| may_sign(c, turn, is_final);
                self.require(views, node, state.channel(), allowed, || {
                    format!("signed turn {turn}")
                })
            }
            Event::DepositWanted { channel, amount, .. } => {
                let allowed = |c: &ChannelView| is_live(c, ObjectiveKind::DirectFund);
                self.require(views, node, *channel, allowed, || {
                    format!("wanted to deposit {amount}")
                })
                .map_err(|violation| violation.losing(node, *amount))
            }
            Event::TxWanted { channel, tx: WantedTx::Challenge { turn, .. } } => {
                let allowed = |c: &ChannelView| is_live(c, ObjectiveKind::Dispute);
                self.require(views, node, *channel, allowed, || {
                    format!("challenged with turn {turn}")
                })
            }
            _ => Ok(()),
        }
    }

    fn require_virtual(
        &self,
        views: &Views,
        node: PartyId,
        channel: ChannelId,
        kind: ObjectiveKind,
        what: &str,
    ) -> Result<(), Violation> {
        let live = views.virtual_channel(node, channel).and_then(|c| c.objective(kind));
        if live == Some(Progress::Live) {
            return Ok(());
        }
        let name = self.run.name(node);
        let what = format!("{name} {what} without an approved objective for it");
        Err(Violation::safety("approved-before-signed", node, channel, what))
    }

    fn require(
        &self,
        views: &Views,
        node: PartyId,
        channel: ChannelId,
        allowed: impl Fn(&ChannelView) -> bool,
        what: impl Fn() -> String,
    ) -> Result<(), Violation> {
        if views.channel(node, channel).is_some_and(allowed) {
            return Ok(());
        }
        let name = self.run.name(node);
        let what = format!("{name} {} without an approved objective for it", what());
        Err(Violation::safety("approved-before-signed", node, channel, what))
    }
}

fn is_live(channel: &ChannelView, kind: ObjectiveKind) -> bool {
    channel.objective(kind) == Some(Progress::Live)
}

fn may_sign(channel: &ChannelView, turn: TurnNum, is_final: bool) -> bool {
    if turn <= TurnNum::POSTFUND {
        return is_live(channel, ObjectiveKind::DirectFund);
    }
    if is_final {
        return is_live(channel, ObjectiveKind::DirectDefund);
    }
    let open = channel.objective(ObjectiveKind::DirectFund) == Some(Progress::Completed);
    open && channel.objective(ObjectiveKind::Dispute).is_none()
}

impl Invariant for ApprovedBeforeSigned {
    fn name(&self) -> &'static str {
        "approved-before-signed"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I10"]
    }

    fn statement(&self) -> &'static str {
        "nothing is signed, deposited or challenged but for an objective that the log shows approved"
    }

    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        self.check(views, node, event)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn what_was_approved_is_signed() {
        let mut story = Story::of("approved-before-signed");
        story.logs(ALICE, opened(ALICE)).unwrap();
        story.logs(ALICE, vec![signs(&state(2, [4, 6]), ALICE)]).unwrap();
        story.logs(ALICE, vec![approves(ObjectiveKind::DirectDefund)]).unwrap();
        story.logs(ALICE, vec![signs(&final_state(3, [4, 6]), ALICE)]).unwrap();
    }

    #[test]
    fn what_nobody_approved_is_not_signed() {
        let sig = challenger_sig(&state(1, [5, 5]), ALICE);
        let tx = WantedTx::Challenge { turn: turn(1), challenger_sig: sig };
        let challenge = Event::TxWanted { channel: channel(), tx };
        let dispute = approves(ObjectiveKind::Dispute);
        let rows: &[(&str, Vec<Event>, Event)] = &[
            ("a prefund", vec![], signs(&state(0, [5, 5]), ALICE)),
            ("a deposit", vec![], wants_deposit(0, 5)),
            ("a final state", opened(ALICE), signs(&final_state(2, [5, 5]), ALICE)),
            ("a challenge", opened(ALICE), challenge),
            (
                "an update while the channel opens",
                opened(ALICE)[..4].to_vec(),
                signs(&state(2, [5, 5]), ALICE),
            ),
            (
                "an update in a dispute",
                [opened(ALICE), vec![dispute]].concat(),
                signs(&state(2, [5, 5]), ALICE),
            ),
        ];
        for (name, before, event) in rows {
            let mut story = Story::of("approved-before-signed");
            story.logs(ALICE, before.clone()).unwrap();
            let violation = story.logs(ALICE, vec![event.clone()]).expect_err(name);
            assert_fires(&violation, "approved-before-signed", ALICE);
        }
    }
}
