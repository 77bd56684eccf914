//! Sessions of different wire versions: what is said in them, what is refused, and that nothing hangs.

use alloc::vec;
use alloc::vec::Vec;

use super::virtuals::*;
use crate::channel::Phase;
use crate::channel::testkit::*;
use crate::config::Config;
use crate::effect::{Effect, Refusal};
use crate::event::ObjectiveKind;
use crate::input::{Command, Input};
use crate::machine::testkit::*;
use crate::nitro::Voucher;
use crate::objective::Status;
use crate::types::ChannelId;
use crate::wire::Wire;

const HUB: usize = 1;
const BOB_OF_THREE: usize = 2;

/// `who` has a session with `other` of this version.
fn meets<const N: usize>(world: &mut World<N>, who: usize, other: usize, version: u16) {
    world.input(who, Input::PeerUp { peer: key_of(other).address(), version });
}

fn meet<const N: usize>(world: &mut World<N>, a: usize, b: usize, version: u16) {
    meets(world, a, b, version);
    meets(world, b, a, version);
}

/// Every message that a node released, with its recipient.
fn sent<const N: usize>(world: &World<N>, who: usize) -> Vec<(crate::types::Address, Wire)> {
    let sent = world.released[who].iter().filter_map(|effect| match effect {
        Effect::Send { peer, bytes } => Some((*peer, Wire::decode(bytes).unwrap())),
        _ => None,
    });
    sent.collect()
}

fn only_version_1_to<const N: usize>(world: &World<N>, who: usize, other: usize) {
    let to = key_of(other).address();
    for (_, wire) in sent(world, who).into_iter().filter(|(peer, _)| *peer == to) {
        assert_eq!(wire.version(), 1, "node {who} said {} to {other}", wire.name());
    }
}

fn opens<const N: usize>(world: &mut World<N>) -> Result<(), Refusal> {
    let terms = virtual_terms::<N>(1);
    world.command(ALICE, Command::OpenVirtual { terms, ledger: None }).map(|_| ())
}

/// Goal: nothing of a direct channel's life needs more than version 1.
#[test]
fn direct_channels_live_in_an_old_session() {
    let mut world = World::new();
    meet(&mut world, ALICE, BOB, 1);
    world.command(ALICE, Command::Open(terms())).unwrap();
    world.mine(12);
    for (who, amount) in [(ALICE, 3), (BOB, 1)] {
        let pay = Command::Pay { channel: channel_id(), amount: wei(amount) };
        world.command(who, pay).unwrap();
    }
    world.command(BOB, Command::Close { channel: channel_id() }).unwrap();
    world.mine(12);
    for (who, other) in [(ALICE, BOB), (BOB, ALICE)] {
        assert_eq!(world.channel(who).phase, Phase::Finished);
        only_version_1_to(&world, who, other);
        assert_eq!(world.nodes[who].dropped().get("too_new"), None);
    }
}

/// Goal: what cannot work is refused at once, with who, why and what to do, whatever the old node's part.
#[test]
fn a_virtual_channel_over_an_old_session_is_refused_at_once() {
    for old in [HUB, BOB_OF_THREE] {
        let mut world: World<3> = ledgers();
        meet(&mut world, ALICE, old, 1);
        let peer = key_of(old).address();
        let refusal = opens(&mut world).unwrap_err();
        assert_eq!(refusal, Refusal::OldPeer { peer, version: 1, needed: 2 });
        let text = alloc::format!("{refusal}");
        assert!(text.contains("update the older of the two nodes"), "{text}");
        assert!(world.nodes[ALICE].state().virtual_channel(id::<3>()).is_none());
        only_version_1_to(&world, ALICE, old);
        // Once it is updated, the same command goes through.
        meet(&mut world, ALICE, old, 2);
        opens(&mut world).unwrap();
        assert_eq!(v(&world, ALICE).phase, Phase::Open);
    }
}

/// Goal: of a peer that is down nothing is known; when it comes up as an old one, what was begun is given up, not sent.
#[test]
fn a_peer_that_comes_up_old_is_not_spoken_to_and_waited_for_in_vain() {
    let mut world: World<3> = ledgers();
    meet(&mut world, ALICE, HUB, 1);
    world.input(ALICE, Input::PeerDown { peer: key_of(HUB).address() });
    world.cut = [true; 3];
    opens(&mut world).unwrap();
    world.cut = [false; 3];
    let before = sent(&world, ALICE).len();
    meet(&mut world, ALICE, HUB, 1);
    meet(&mut world, BOB_OF_THREE, HUB, 1);
    meet(&mut world, ALICE, BOB_OF_THREE, 2);
    world.mine(20);
    let hub = key_of(HUB).address();
    let late = sent(&world, ALICE).split_off(before);
    assert!(late.iter().all(|(peer, wire)| *peer != hub || wire.version() == 1));
    assert_eq!(v(&world, ALICE).phase, Phase::Finished);
    assert!(world.nodes[HUB].state().virtual_channel(id::<3>()).is_none());
    assert_eq!(balances(&world, 0), [100, 100].map(wei));
}

/// Goal: a hub whose right neighbour is old says so, and the payer gives up without waiting for anybody's silence.
#[test]
fn a_hub_rejects_what_its_right_neighbour_cannot_join() {
    let mut world: World<3> = ledgers();
    world.cut[BOB_OF_THREE] = true;
    meet(&mut world, HUB, BOB_OF_THREE, 1);
    opens(&mut world).unwrap();
    let fund = crate::event::ObjectiveId { channel: id::<3>(), kind: ObjectiveKind::VirtualFund };
    let status = &world.nodes[ALICE].state().objectives()[&fund].status;
    assert_eq!(*status, Status::Rejected(crate::event::RejectReason::ByPeer));
    assert_eq!(world.nodes[HUB].dropped().get("old_peer"), Some(&1));
    assert_eq!(balances(&world, 0), [100, 100].map(wei));
    assert!(world.nodes[HUB].state().virtual_channel(id::<3>()).is_none());
}

/// Goal: what the session does not know is refused and counted, and changes nothing; the same in a newer session is heard.
#[test]
fn a_message_beyond_the_session_is_refused_and_counted() {
    let channel = ChannelId::default();
    let voucher = Voucher::sign(channel, wei(1), &key_of(BOB));
    let objective = crate::event::ObjectiveId { channel, kind: ObjectiveKind::VirtualFund };
    for wire in [
        Wire::FinalRequest { channel },
        Wire::Voucher(voucher),
        Wire::VirtualResume { channel, voucher: None, newest: None },
        Wire::Rejected { objective },
    ] {
        for (version, code) in [(1, "too_new"), (2, "channel_unknown")] {
            let mut world = World::open();
            let before = world.nodes[ALICE].state().digest();
            meets(&mut world, ALICE, BOB, version);
            world.hear_wire(ALICE, wire.clone());
            assert_eq!(world.nodes[ALICE].dropped().get(code), Some(&1), "{}", wire.name());
            assert_eq!(world.nodes[ALICE].state().digest(), before);
        }
    }
}

/// Goal: a node that speaks version 1 alone refuses newer messages before any session told it so, and what it is offered is capped.
#[test]
fn an_old_node_hears_nothing_new() {
    let mut world = World::with(Config { wire_versions: 1..=1, ..Config::default() });
    let bob = key_of(BOB).address();
    assert_eq!(world.nodes[ALICE].version_with(bob), 1);
    world.hear_wire(ALICE, Wire::FinalRequest { channel: ChannelId::default() });
    assert_eq!(world.nodes[ALICE].dropped().get("too_new"), Some(&1));
    meets(&mut world, ALICE, BOB, 2);
    assert_eq!(world.nodes[ALICE].version_with(bob), 1);
}

/// Goal: a proposal leaves in the form that the session knows; what has no such form does not leave.
#[test]
fn messages_are_told_in_the_session_s_version() {
    let mut world = World::open();
    let signed = world.channel(ALICE).supported.clone().unwrap();
    let claim = crate::machine::outbox::claim(&signed);
    let proposal = Wire::Proposal { claim: claim.clone(), evidence: vec![claim.clone()] };
    let request = Wire::FinalRequest { channel: channel_id() };
    let peer = key_of(BOB).address();
    let told = |world: &World, wire: &Wire| {
        let effect = world.nodes[ALICE].in_dialect(Effect::Send { peer, bytes: wire.encode() })?;
        let Effect::Send { bytes, .. } = effect else { unreachable!() };
        Some(Wire::decode(&bytes).unwrap())
    };
    for version in [None, Some(2)] {
        version.into_iter().for_each(|v| meets(&mut world, ALICE, BOB, v));
        assert_eq!(told(&world, &proposal), Some(proposal.clone()));
        assert_eq!(told(&world, &request), Some(request.clone()));
    }
    meets(&mut world, ALICE, BOB, 1);
    assert_eq!(told(&world, &proposal), Some(Wire::State(claim)));
    assert_eq!(told(&world, &request), None);
}

/// Goal: a payee that comes back with an older node takes no payments: the payer is told, and nothing is promised.
#[test]
fn a_payment_to_a_payee_that_was_set_back_is_refused() {
    let mut world: World<3> = opened();
    pay(&mut world, 2).unwrap();
    meet(&mut world, ALICE, BOB_OF_THREE, 1);
    let peer = key_of(BOB_OF_THREE).address();
    let refusal = Refusal::OldPeer { peer, version: 1, needed: 2 };
    assert_eq!(pay(&mut world, 1), Err(refusal));
    assert_eq!(v(&world, ALICE).paid(), wei(2));
    meet(&mut world, ALICE, BOB_OF_THREE, 2);
    pay(&mut world, 1).unwrap();
    assert_eq!(v(&world, BOB_OF_THREE).paid(), wei(3));
}
