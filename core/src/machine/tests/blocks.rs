//! The chain endpoint: late, repetitive, forgetful or lying.

use alloc::vec::Vec;
use alloc::{boxed::Box, vec};

use crate::chain_types::{Block, BlockRef, IndexedLog};
use crate::channel::testkit::*;
use crate::config::Config;
use crate::effect::Effect;
use crate::input::{Command, Input};
use crate::machine::node::Handled;
use crate::machine::testkit::*;
use crate::nitro::Log;
use crate::types::{Address, BlockNum};

fn empty(number: u64, fork: u8) -> Block {
    Block::new(block_ref(number, fork), [])
}

/// Branch 1 leaves branch 0 above `at`.
fn branch(at: u64, to: u64) -> Vec<Block> {
    let mut blocks: Vec<Block> = (at + 1..=to).map(|n| empty(n, 1)).collect();
    if let Some(first) = blocks.first_mut() {
        first.header.parent = block_ref(at, 0).hash;
    }
    blocks
}

fn world_at(height: u64) -> World {
    let mut world = World::with(Config { bloom_refetch_max: 3, ..Config::default() });
    world.mine(height);
    assert_eq!(head(&world), height);
    world
}

fn head(world: &World) -> u64 {
    world.nodes[ALICE].state().chain().head().map_or(0, |b| b.number.0)
}

fn tell(world: &mut World, blocks: Vec<Block>) -> Handled {
    let from = blocks.first().map_or(BlockNum(head(world) + 1), |b| b.header.number);
    let head = blocks.last().map_or(block_ref(head(world), 0), |b| b.header);
    world.input(ALICE, Input::Blocks { from, head, blocks })
}

fn names(handled: &Handled) -> Vec<&'static str> {
    handled.events.iter().map(|e| e.name()).collect()
}

fn fetched(handled: &Handled) -> Vec<u64> {
    let from = handled.answers.iter().filter_map(|a| match a {
        Effect::FetchBlocks { from } => Some(from.0),
        _ => None,
    });
    from.collect()
}

#[test]
fn only_what_connects_is_believed() {
    let none: Vec<&str> = vec![];
    let garbled = |change: &dyn Fn(&mut Block)| {
        let mut blocks = vec![empty(11, 0), empty(12, 0)];
        change(&mut blocks[1]);
        blocks
    };
    for (name, blocks, events) in [
        ("nothing", vec![], none.clone()),
        ("the next", vec![empty(11, 0)], vec!["BlockAdded"]),
        ("an overlap", (8..=11).map(|n| empty(n, 0)).collect(), vec!["BlockAdded"]),
        ("only known ones", (8..=10).map(|n| empty(n, 0)).collect(), none.clone()),
        ("a gap", vec![empty(12, 0)], none.clone()),
        ("a block of a branch that does not connect", vec![empty(11, 1)], none.clone()),
        ("a hole inside", garbled(&|b| b.header = block_ref(13, 0)), none.clone()),
        ("a foreign block inside", garbled(&|b| b.header = block_ref(12, 1)), none.clone()),
        ("the last number", garbled(&|b| b.header.number = BlockNum(u64::MAX)), none.clone()),
        (
            "a longer branch",
            branch(8, 11),
            vec!["BlocksReverted", "BlockAdded", "BlockAdded", "BlockAdded"],
        ),
        (
            "a branch of equal length",
            branch(8, 10),
            vec!["BlocksReverted", "BlockAdded", "BlockAdded"],
        ),
        ("a shorter branch", branch(8, 9), none.clone()),
    ] {
        let mut world = world_at(10);
        assert_eq!(names(&tell(&mut world, blocks)), events, "{name}");
    }
}

#[test]
fn numbers_at_their_end_stop_nobody() {
    let mut world = world_at(10);
    let at = |n| BlockRef { number: BlockNum(n), ..block_ref(0, 7) };
    for (a, b) in [(u64::MAX, 0), (u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX)] {
        let mut second = Block::new(at(b), []);
        second.header.parent = at(a).hash;
        let handled = tell(&mut world, vec![Block::new(at(a), []), second]);
        assert_eq!(handled.events, []);
    }
    assert_eq!(head(&world), 10);
}

#[test]
fn a_gap_and_a_foreign_branch_are_asked_about_further_down() {
    for (name, blocks, lower) in
        [("a foreign branch", vec![empty(11, 1)], 10), ("a gap", vec![empty(15, 0)], 14)]
    {
        let mut world = world_at(10);
        assert_eq!(fetched(&tell(&mut world, blocks)), [lower], "{name}");
    }
    let mut world = world_at(10);
    let down = [11, 10, 8, 4].map(|n| {
        // What else comes in between does not shorten the step.
        world.input(ALICE, Input::Tick);
        fetched(&tell(&mut world, vec![empty(n, 1), empty(n + 1, 1)]))
    });
    assert_eq!(
        down,
        [vec![10], vec![8], vec![4], vec![1]],
        "twice as far each time, never the oldest"
    );
    let from = BlockNum(1);
    let handled = world
        .input(ALICE, Input::Blocks { from, head: block_ref(9, 1), blocks: vec![empty(1, 1)] });
    assert_eq!(fetched(&handled), Vec::<u64>::new(), "deeper than everything: nothing is believed");
}

#[test]
fn an_endpoint_behind_us_is_waited_for() {
    let mut world = world_at(10);
    let from = BlockNum(11);
    for head in [block_ref(7, 0), block_ref(10, 0)] {
        let handled = world.input(ALICE, Input::Blocks { from, head, blocks: vec![] });
        assert_eq!((names(&handled), fetched(&handled)), (vec![], vec![]));
    }
    // A head of our height with another hash: the last block is looked at again.
    let handled =
        world.input(ALICE, Input::Blocks { from, head: block_ref(10, 1), blocks: vec![] });
    assert_eq!(fetched(&handled), [10]);
    let handled = world.input(ALICE, Input::NewHead { number: BlockNum(10) });
    assert_eq!(fetched(&handled), Vec::<u64>::new());
    let handled = world.input(ALICE, Input::NewHead { number: BlockNum(11) });
    assert_eq!(fetched(&handled), [11]);
}

#[test]
fn an_answer_that_ends_below_the_head_is_asked_on_at_once() {
    for (name, head, next) in [("below the head", 15, vec![13]), ("at the head", 12, vec![])] {
        let mut world = world_at(10);
        let (from, blocks) = (BlockNum(11), vec![empty(11, 0), empty(12, 0)]);
        let handled = world.input(ALICE, Input::Blocks { from, head: block_ref(head, 0), blocks });
        assert_eq!(fetched(&handled), next, "{name}");
    }
}

/// Goal: a withheld log delays the node, and a false positive of the bloom delays it only `bloom_refetch_max` times.
#[test]
fn a_suspicious_block_is_fetched_again_up_to_the_limit() {
    let mut world = World::with(Config { bloom_refetch_max: 3, ..Config::default() });
    world.cut = [true; 2];
    world.mined = [false; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    let at = head(&world);
    let log = Log::Deposited { channel: channel_id(), asset: Address::ZERO, held: wei(10) };
    let mut robbed = Block::new(block_ref(at + 1, 0), [log]);
    robbed.logs.clear();
    for attempt in 0..3 {
        assert_eq!(tell(&mut world, vec![robbed.clone()]).events, [], "attempt {attempt}");
    }
    assert_eq!(names(&tell(&mut world, vec![robbed])), ["BlockAdded"]);
}

/// Goal: logs are taken once each, in order, and only those of our channels.
#[test]
fn logs_are_sorted_and_counted_once() {
    let mut world = World::new();
    world.cut = [true; 2];
    world.mined = [false; 2];
    world.command(ALICE, Command::Open(terms())).unwrap();
    let at = head(&world);
    let held = |n| Log::Deposited { channel: channel_id(), asset: Address::ZERO, held: wei(n) };
    let foreign =
        Log::Deposited { channel: Default::default(), asset: Address::ZERO, held: wei(99) };
    let mut block = Block::new(block_ref(at + 1, 0), [held(4), held(10), foreign]);
    block.logs.reverse();
    block.logs.push(IndexedLog { index: 1, log: held(10) });
    let handled = tell(&mut world, vec![block]);
    let [crate::event::Event::BlockAdded { logs, .. }] = &handled.events[..] else {
        panic!("{handled:?}")
    };
    assert_eq!(logs.iter().map(|l| l.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(world.nodes[ALICE].state().chain().at_head(channel_id()).held, wei(10));
    let _: Option<Box<u8>> = None;
}
