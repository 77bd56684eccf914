//! What participants of a virtual channel may say of it, and what they tell whom.

use alloc::vec::Vec;

use super::virtuals::*;
use crate::chain_view::{OnChain, OnChainStatus};
use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::effect::Refusal;
use crate::effect::Want;
use crate::event::{MessageKey, ObjectiveId, ObjectiveKind};
use crate::input::{Command, Input, Message, Verified};
use crate::machine::node::Handled;
use crate::machine::testkit::*;
use crate::machine::virtual_outbox::{self, VirtualSources};
use crate::nitro::State;
use crate::objective::Objective;
use crate::types::{Amount, ChannelId, TurnNum};
use crate::virtual_channel::VirtualChannel;
use crate::wire::Wire;

const HUB: usize = 1;

fn prefund<const N: usize>(world: &World<N>) -> State {
    let (id, terms, payer) = (id::<N>(), virtual_terms::<N>(1), key_of(ALICE).address());
    VirtualChannel::new(id, &terms, PAYMENT_APP, payer, None, world.now)
        .and_then(|v| v.state(TurnNum::PREFUND, Amount::ZERO))
        .unwrap()
}

/// `from` tells `to` of the prefund, with its own signature.
fn tell_prefund<const N: usize>(
    world: &mut World<N>,
    [from, to]: [usize; 2],
    ledger: Option<ChannelId>,
) -> Handled {
    let state = signed(prefund(world), &[key_of(from)]);
    let peer = key_of(from).address();
    world.verified(to, Verified::Message { peer, message: Message::VirtualState { state, ledger } })
}

/// Goal: the guarantee to our left stands in a channel with our left neighbour; in another one it would be paid by somebody else.
#[test]
fn a_ledger_channel_with_somebody_else_cannot_be_named() {
    let mut world: World<3> = ledgers();
    let handled = tell_prefund(&mut world, [ALICE, HUB], Some(ledger(HUB)));
    assert_eq!((handled.events, handled.answers), Default::default());
    let refusal = Refusal::NotOpen(ledger(HUB));
    assert_eq!(world.nodes[HUB].dropped().get(refusal.code()), Some(&1));
    tell_prefund(&mut world, [ALICE, HUB], Some(ledger(ALICE)));
    assert_eq!(v(&world, HUB).left, Some(ledger(ALICE)));
}

/// Goal: a participant may decline before everybody has signed the prefund, and never afterwards: money may be locked by then.
#[test]
fn a_virtual_channel_is_declined_only_before_its_prefund_is_complete() {
    for (complete, ended) in [(false, true), (true, false)] {
        let mut world: World<2> = ledgers();
        world.cut[BOB] = true;
        let terms = virtual_terms::<2>(1);
        world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).unwrap();
        if complete {
            tell_prefund(&mut world, [BOB, ALICE], None);
        }
        let objective = ObjectiveId { channel: id::<2>(), kind: ObjectiveKind::VirtualFund };
        let live = |world: &World<2>| {
            world.nodes[ALICE].state().objectives().get(&objective).is_some_and(Objective::is_live)
        };
        assert!(live(&world), "Bob's consent to the guarantee is missing");
        let (peer, bytes) = (key_of(BOB).address(), Wire::Rejected { objective }.encode());
        world.input(ALICE, Input::Frame { peer, bytes });
        assert_eq!(live(&world), !ended, "complete: {complete}");
        assert_eq!(v(&world, ALICE).phase == Phase::Finished, ended, "complete: {complete}");
    }
}

/// Goal: who is paid keeps a voucher and tells nobody, and the payer tells of it until it is acknowledged.
#[test]
fn the_payer_alone_tells_of_its_vouchers() {
    let mut world: World<3> = opened();
    world.cut[2] = true;
    pay(&mut world, 3).unwrap();
    assert_eq!(v(&world, 2).paid(), wei(3));
    let tells = |who: usize| {
        let told = |want: &Want| matches!(want, Want::Message(MessageKey::Voucher(_)));
        world.nodes[who].state().wishes_of(id::<3>()).any(|(wish, _)| told(&wish.want))
    };
    assert_eq!([0, 1, 2].map(tells), [true, false, false]);
}

/// Goal: who has finished still tells the others of the end, which they need to get their guarantees back; but not where the chain
/// decides, since who never agreed to it would never acknowledge it.
#[test]
fn the_end_is_told_beyond_the_end() {
    let world: World<2> = opened();
    let ended = |by: &[usize]| {
        let mut channel = v(&world, ALICE).clone();
        let end = channel.state(TurnNum::VIRTUAL_FINAL, wei(0)).unwrap();
        channel.merge(signed(end, &by.iter().copied().map(key_of).collect::<Vec<_>>()));
        channel
    };
    let (agreed, proposed) = (ended(&[ALICE, BOB]), ended(&[ALICE]));
    let on_chain = OnChainStatus::Recorded(TurnNum::POSTFUND);
    for (name, channel, phase, status, told) in [
        ("agreed", &agreed, Phase::Finished, OnChainStatus::Untouched, true),
        ("agreed, after a challenge", &agreed, Phase::Finished, on_chain.clone(), true),
        ("proposed", &proposed, Phase::Finished, OnChainStatus::Untouched, true),
        ("proposed, after a challenge", &proposed, Phase::Finished, on_chain.clone(), false),
        ("proposed, disputed", &proposed, Phase::Disputed, on_chain, false),
    ] {
        let channel = VirtualChannel { phase, ..channel.clone() };
        let head = OnChain { status, ..OnChain::default() };
        let sources = VirtualSources { channel: &channel, head: &head, dispute: None };
        let expected = told.then_some(MessageKey::StateTo(TurnNum::VIRTUAL_FINAL, 1));
        assert_eq!(virtual_outbox::messages(&sources), Vec::from_iter(expected), "{name}");
    }
}
