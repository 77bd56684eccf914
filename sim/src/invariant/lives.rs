//! Goal: no invariant cries wolf, and none sleeps through a planted bug. Method: whole lives under all invariants at once, first one
//! written by hand, then those of real nodes.

use std::collections::BTreeSet;

use fairway_core::event::{Event, ObjectiveKind};

use super::actors::{Actors, Faults};
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
    }
    for (node, peer) in [(ALICE, BOB), (BOB, ALICE)] {
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

const STORM: Faults = Faults { drop: 150, repeat: 150, crash: 2, reorg: 150 };
const CALM: Faults = Faults { drop: 0, repeat: 0, crash: 0, reorg: 0 };

#[test]
fn honest_nodes_in_calm_break_nothing() {
    for seed in 0..3 {
        let mut actors = Actors::new(seed, None);
        actors.live(CALM, 400_000, 800_000).unwrap_or_else(|v| panic!("seed {seed}: {v:?}"));
        let completed = actors.chain.holdings(channel()).is_zero();
        assert!(completed && actors.seen > 500, "seed {seed} closed its channel");
    }
}

#[test]
fn honest_nodes_in_a_storm_break_nothing() {
    for seed in 0..40 {
        let mut actors = Actors::new(seed, None);
        actors.live(STORM, 400_000, 1_200_000).unwrap_or_else(|v| panic!("seed {seed}: {v:?}"));
    }
}

/// Those that need no dishonest peer to do harm. Several invariants may notice one; the first to do so is named.
#[test]
fn planted_bugs_are_noticed() {
    for (mutant, noticed_by) in [
        ("effect-before-sync", "durable-before-sent"),
        ("ack-before-sync", "durable-before-sent"),
        ("deposit-before-prefund", "funded-before-postfund"),
        ("postfund-before-funding", "funded-before-postfund"),
        ("double-deposit-after-crash", "deposits-are-safe"),
        ("reorg-ignored", "cursor-matches-facts"),
    ] {
        let noticed = |seed| {
            let told = Actors::new(seed, Some(mutant)).live(STORM, 400_000, 1_200_000);
            told.is_err_and(|violation| violation.invariant == noticed_by)
        };
        assert!((0..40).any(noticed), "{mutant} lived through every storm");
    }
}
