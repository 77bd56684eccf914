//! Goal: no invariant cries wolf. Method: whole honest lives, first written by hand, under all invariants at once.

use std::collections::BTreeSet;

use fairway_core::event::{Event, ObjectiveKind};

use super::fixture::*;
use super::{all, names};

#[test]
fn the_list_and_the_names_agree() {
    let listed: Vec<_> = all(&setting()).iter().map(|i| i.name()).collect();
    assert_eq!(listed, names());
    assert_eq!(names().iter().collect::<BTreeSet<_>>().len(), names().len(), "each name once");
    for invariant in all(&setting()) {
        assert!(!invariant.catalogue().is_empty(), "{}", invariant.name());
        assert!(invariant.statement().len() > 20, "{}", invariant.name());
    }
}

#[test]
fn a_life_from_opening_to_payout_breaks_nothing() {
    let mut story = Story::of_all();
    story.funds();
    let (update, last) = (state(2, [6, 4]), final_state(3, [6, 4]));
    for turn in [0, 1] {
        let opening = state(turn, [5, 5]);
        story.hears(ALICE, BOB, &said(&opening, BOB)).unwrap();
        story.hears(BOB, ALICE, &said(&opening, ALICE)).unwrap();
    }
    let pays = Event::UpdateWanted {
        channel: channel(),
        update: fairway_core::event::Update {
            id: fairway_core::event::UpdateId(1),
            payer: 1,
            amount: ether(1),
        },
    };
    story.logs(ALICE, opened(ALICE)).unwrap();
    story.logs(BOB, [opened(BOB), vec![pays]].concat()).unwrap();
    story.mines(1).unwrap();
    for (node, peer) in [(ALICE, BOB), (BOB, ALICE)] {
        for state in [&update, &last] {
            story.hears(node, peer, &said(state, peer)).unwrap();
        }
        let closing = approves(ObjectiveKind::DirectDefund);
        let events = [signs(&update, node), receives(&update, peer), closing];
        story.logs(node, events.to_vec()).unwrap();
        story.logs(node, vec![signs(&last, node), receives(&last, peer)]).unwrap();
        story.says(node, peer, &last).unwrap();
        let memory = story.state(node);
        story.rests(node, &memory).unwrap();
        story.restarts(node, false).unwrap();
    }
    story.submits(ALICE, &conclude(&last)).unwrap();
    story.heals().unwrap();
    story.mines(60).unwrap();
    for node in [ALICE, BOB] {
        let blocks = story.chain.canonical()[10..].iter();
        let added = |b: &std::sync::Arc<fairway_core::chain_types::Block>| Event::BlockAdded {
            block: b.header,
            logs: b.logs.clone(),
        };
        let mut events: Vec<_> = blocks.map(added).collect();
        events.push(Event::ObjectiveCompleted { id: objective(ObjectiveKind::DirectDefund) });
        story.logs(node, events).unwrap();
        let memory = story.state(node);
        story.rests(node, &memory).unwrap();
    }
    story.ends(&[ALICE, BOB]).unwrap();
}
