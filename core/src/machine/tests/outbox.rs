//! Which transactions of a direct channel are wished for, given what stands on chain.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::B256;

use crate::chain_view::{ChainView, Challenge, OnChain, OnChainStatus};
use crate::channel::Channel;
use crate::channel::testkit::*;
use crate::effect::Want;
use crate::event::{Origin, WantedTx};
use crate::ledger::{Guarantee, Layout};
use crate::machine::outbox::{self, Sources};
use crate::nitro::State;
use crate::objective::{Objective, Status, Virtuals};
use crate::types::{ChainTime, ChannelId, Timestamp};

/// Alice's channel with 12 and 8 unanimous at turn 5, 20 on chain, and a live dispute.
#[derive(Clone)]
struct Scene {
    channel: Channel,
    head: OnChain,
    dispute: Option<Objective>,
}

fn scene() -> Scene {
    scene_at(state(5, [12, 8]))
}

fn scene_at(state: State) -> Scene {
    Scene {
        channel: channel_at(&alice(), state),
        head: OnChain { held: wei(20), ..OnChain::default() },
        dispute: Some(Objective {
            origin: Origin::User,
            status: Status::Approved,
            since: Timestamp(0),
        }),
    }
}

impl Scene {
    fn status(mut self, status: OnChainStatus) -> Scene {
        self.head.status = status;
        self
    }

    /// Challenged with the state of this turn that gives these amounts.
    fn challenged(self, n: u64, amounts: [u64; 2]) -> Scene {
        self.challenged_with(state(n, amounts))
    }

    fn challenged_with(self, state: State) -> Scene {
        let (turn, state_hash) = (state.turn, state.hash());
        let finalizes_at = ChainTime(900);
        let challenge = Challenge { turn, finalizes_at, state_hash, outcome: state.outcome };
        self.status(OnChainStatus::Challenged(challenge))
    }

    fn recorded(self, n: u64) -> Scene {
        self.status(OnChainStatus::Recorded(turn(n)))
    }

    fn concluded(mut self) -> Scene {
        self.head.concluded = true;
        self.status(OnChainStatus::Concluded(ChainTime(900)))
    }

    fn with(mut self, change: impl Fn(&mut Scene)) -> Scene {
        change(&mut self);
        self
    }

    /// Whether `tx` is wished for once it is wanted.
    fn wishes(mut self, tx: &WantedTx) -> bool {
        self.channel.txs.push(tx.clone());
        let (all, over, chain) = (BTreeMap::new(), BTreeMap::new(), ChainView::default());
        let sources = Sources {
            channel: &self.channel,
            head: &self.head,
            fund: None,
            defund: None,
            dispute: self.dispute.as_ref(),
            virtuals: Virtuals { all: &all, over: &over, chain: &chain },
        };
        outbox::wishes(&sources, &[]).contains(&Want::Tx(tx.clone()))
    }
}

fn check(tx: &WantedTx, rows: Vec<(&str, Scene, bool)>) {
    for (name, scene, wished) in rows {
        assert_eq!(scene.wishes(tx), wished, "{name}");
    }
}

fn ended(scene: &mut Scene) {
    scene.dispute = scene.dispute.take().map(|o| Objective { status: Status::Completed, ..o });
}

#[test]
fn a_challenge_is_wished_for_while_it_raises_what_stands_on_chain() {
    let challenger_sig = alice().sign(Default::default());
    check(
        &WantedTx::Challenge { turn: turn(5), challenger_sig },
        vec![
            ("nothing stands there", scene(), true),
            ("the same turn is on record", scene().recorded(5), true),
            ("a newer one is", scene().recorded(6), false),
            ("an older challenge runs", scene().challenged(4, [20, 0]), true),
            ("ours runs", scene().challenged(5, [12, 8]), false),
            ("it is concluded", scene().concluded(), false),
            ("the id was used before", scene().with(|s| s.head.concluded = true), false),
            ("a newer state is unanimous", scene_at(state(6, [11, 9])), false),
            ("the dispute is over", scene().with(ended), false),
            ("there is no dispute", scene().with(|s| s.dispute = None), false),
        ],
    );
}

#[test]
fn a_checkpoint_is_wished_for_while_an_older_challenge_stands() {
    check(
        &WantedTx::Checkpoint { turn: turn(5) },
        vec![
            ("nothing stands there", scene(), false),
            ("an older turn is on record", scene().recorded(4), false),
            ("an older challenge", scene().challenged(4, [20, 0]), true),
            (
                "whoever disputes or does not",
                scene().challenged(4, [20, 0]).with(|s| s.dispute = None),
                true,
            ),
            ("a challenge of the same turn", scene().challenged(5, [12, 8]), false),
            (
                "a newer state is unanimous",
                scene_at(state(6, [11, 9])).challenged(4, [20, 0]),
                false,
            ),
            (
                "the id was used before",
                scene().challenged(4, [20, 0]).with(|s| s.head.concluded = true),
                false,
            ),
        ],
    );
}

#[test]
fn a_conclusion_is_wished_for_once_the_end_is_agreed() {
    let agreed = || scene_at(final_state(6, [12, 8]));
    check(
        &WantedTx::Conclude,
        vec![
            ("it is not agreed", scene(), false),
            ("it is", agreed(), true),
            ("although somebody challenges", agreed().challenged(5, [12, 8]), true),
            ("it was concluded", agreed().concluded(), false),
        ],
    );
}

#[test]
fn a_payout_is_wished_for_while_something_is_held_for_a_finalized_channel() {
    let over = || scene().challenged(5, [12, 8]);
    let empty = |s: &mut Scene| s.head.held = wei(0);
    let paid_us = |s: &mut Scene| (s.head.held, s.head.payouts) = (wei(8), vec![(wei(20), wei(8))]);
    check(
        &WantedTx::TransferAll,
        vec![
            ("nothing stands on chain", scene(), false),
            ("a turn is on record", scene().recorded(5), false),
            ("challenged", over(), true),
            ("concluded", scene().concluded(), true),
            ("nothing is held", over().with(empty), false),
            (
                "we collect for ourselves",
                over().with(|s| s.channel.txs.push(WantedTx::TransferMine)),
                false,
            ),
        ],
    );
    check(
        &WantedTx::TransferMine,
        vec![
            ("nothing stands on chain", scene(), false),
            ("a turn is on record", scene().recorded(5), false),
            ("challenged", over(), true),
            ("concluded", scene().concluded(), true),
            ("without a dispute", over().with(|s| s.dispute = None), true),
            ("the dispute is over", over().with(ended), false),
            ("nothing is held", over().with(empty), false),
            ("ours is paid", over().with(paid_us), false),
        ],
    );
}

/// Goal: guarantees are reclaimed one after the other, and only out of what is finalized: in a reorg that may be taken back.
#[test]
fn a_reclaim_is_wished_for_while_its_guarantee_is_the_first_in_a_challenge() {
    let target = |n| ChannelId(B256::repeat_byte(n));
    let [left, right] = terms().participants;
    let mut layout = Layout::of(&state(5, [12, 8]).outcome, [left, right]).unwrap();
    for n in [7, 9] {
        layout.add(Guarantee { target: target(n), amount: wei(1), left, right }).unwrap();
    }
    let guaranteeing = State { outcome: layout.outcome(), ..state(5, [0, 0]) };
    let over = || scene_at(guaranteeing.clone()).challenged_with(guaranteeing.clone());
    let earlier = WantedTx::Reclaim { target: target(7) };
    check(
        &WantedTx::Reclaim { target: target(9) },
        vec![
            ("challenged", over(), true),
            ("nothing stands on chain", scene_at(guaranteeing.clone()), false),
            ("a turn is on record", scene_at(guaranteeing.clone()).recorded(5), false),
            ("without the guarantee", scene().challenged(5, [12, 8]), false),
            ("another comes first", over().with(|s| s.channel.txs.push(earlier.clone())), false),
        ],
    );
}
