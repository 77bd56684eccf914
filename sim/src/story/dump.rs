use super::*;
use super::testkit::*;
use crate::observe::{PartyId, PartyInfo};
use fairway_core::types::*;

fn big(n_pays: u64, fail: bool) -> Recording {
    let mut ps = parties();
    ps.push(PartyInfo { name: "mallory".into(), address: Address::repeat_byte(3), honest: false, pins: ps[0].pins });
    let mut names = Names::new(&ps);
    names.learn(&state(0, [5, 5]));
    names.learn_channel(ChannelId(Default::default()), &[ps[1].address, ps[2].address]);
    let (a, b, m) = (Lane::Party(PartyId(0)), Lane::Party(PartyId(1)), Lane::Party(PartyId(2)));
    let mut lines: Vec<Line> = vec![];
    let mut snapshots = vec![];
    let mut t = 50_000_000u64;
    let mut rng = 12345u64;
    let mut rnd = |n: u64| { rng = rng.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (rng >> 33) % n };
    let ch = channel();
    let mut push = |lines: &mut Vec<Line>, t: u64, k, lane, text: String| { let mut l = Line::new(t, k, lane, text); l.channel = Some(ch); lines.push(l); lines.len() - 1 };
    push(&mut lines, t, LineKind::Objective, a, "Alice opens a channel with Bob (Alice 5 ETH, Bob 5 ETH)".into());
    let pstate = |up, lsn: u64, dur: u64, phase: &str, sup: Option<u64>, sig: Option<u64>, ba: Amount, bb: Amount, held: Amount, mine: Amount| PartyState {
        up, lsn: Lsn(lsn), durable: Lsn(dur), refused: 0, recovering: false, in_channels: mine,
        channels: vec![ChannelState { channel: ch, phase: phase.into(), supported: sup.and_then(TurnNum::new), signed: sig.and_then(TurnNum::new), balances: vec![ba, bb], held }],
    };
    let e = |n: u64| Amount(Amount::ETHER.0 / Amount::wei(10).0 * Amount::wei(n).0);
    let (mut wa, mut wb) = (200u64, 200u64);
    let mut block = 0u64;
    for (i, (lane, who, turn)) in [(a, "Alice", "the prefund"), (b, "Bob", "the prefund")].into_iter().enumerate() {
        t += 12_000_000;
        push(&mut lines, t, LineKind::Sign, lane, format!("{who} signs {turn} (Alice 5 ETH, Bob 5 ETH)"));
        t += 3_000_000;
        let other = if i == 0 { b } else { a };
        let s = push(&mut lines, t, LineKind::Message, lane, format!("{who} sends {} {turn} (Alice 5 ETH, Bob 5 ETH), signed by {who}", if i == 0 { "Bob" } else { "Alice" }));
        lines[s].to = Some(other); lines[s].arrived = 1;
        t += 20_000_000;
        let d = push(&mut lines, t, LineKind::Message, other, format!("{} receives {turn} from {who}", if i == 0 { "Bob" } else { "Alice" }));
        lines[d].sent_in = Some(s);
    }
    for (lane, who) in [(a, "Alice"), (b, "Bob")] {
        t += 5_000_000;
        let s = push(&mut lines, t, LineKind::Submit, lane, format!("{who} submits a deposit of 5 ETH"));
        lines[s].to = Some(Lane::Chain); lines[s].arrived = 1;
        t += 12_000_000_000; block += 1;
        push(&mut lines, t, LineKind::Block, Lane::Chain, format!("Block {block} is mined"));
        let d = push(&mut lines, t, LineKind::Mined, Lane::Chain, format!("{who}'s deposit of 5 ETH is mined in block {block}"));
        lines[d].sent_in = Some(s);
        if who == "Alice" { wa -= 50 } else { wb -= 50 }
        snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Chain(ChainState { block, owned: vec![e(wa), e(wb), e(70)], channels: vec![ChannelOnChain { channel: ch, held: e(if who == "Alice" { 50 } else { 100 }), status: "untouched".into() }] }) });
    }
    let mut bal = 50i64; let mut lsn = 10;
    let mut down = false;
    for turn in 2..n_pays + 2 {
        let pay = rnd(9) as i64 - 4;
        bal = (bal + pay).clamp(3, 97);
        let split = format!("(Alice {} ETH, Bob {} ETH)", bal as f64 / 10.0, (100 - bal) as f64 / 10.0);
        t += 30_000_000 + rnd(900) * 1_000_000;
        push(&mut lines, t, LineKind::Sign, a, format!("Alice signs turn {turn} {split}"));
        push(&mut lines, t + 1, LineKind::Sync, a, format!("Alice's log is durable up to {lsn}"));
        lsn += 2;
        snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Party(PartyId(0), pstate(Up::Running, lsn, lsn - rnd(2), "Open", Some(turn - 1), Some(turn), e(bal as u64), e(100 - bal as u64), e(100), e(bal as u64))) });
        t += 4_000_000;
        let s = push(&mut lines, t, LineKind::Message, a, format!("Alice sends Bob turn {turn} {split}, signed by Alice"));
        lines[s].to = Some(b);
        let lost = rnd(7) == 0;
        if rnd(5) == 0 {
            t += 1_000_000;
            let s = push(&mut lines, t, LineKind::Message, m, format!("Mallory sends Bob {} bytes that are no message", rnd(400)));
            lines[s].to = Some(b); lines[s].arrived = 1; lines[s].channel = None;
            t += 11_000_000;
            let d = push(&mut lines, t, LineKind::Message, b, "Bob receives bytes that are no message from Mallory".into());
            lines[d].sent_in = Some(s); lines[d].channel = None;
        }
        let mut from = s;
        if lost {
            t += 500_000_000;
            from = push(&mut lines, t, LineKind::Message, a, format!("Alice sends Bob turn {turn} {split}, signed by Alice"));
            lines[from].to = Some(b);
        }
        lines[from].arrived = 1;
        if rnd(60) == 0 || turn == 6 {
            let f = push(&mut lines, t, LineKind::Fault, a, "Alice loses power: 3 of 5 unsynced sectors survive".into()); lines[f].channel = None;
            push(&mut lines, t, LineKind::Crash, a, "Alice dies without warning".into());
            snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Party(PartyId(0), pstate(Up::Down, lsn, lsn, "Open", Some(turn - 1), Some(turn), e(bal as u64), e(100 - bal as u64), e(100), e(bal as u64))) });
            down = true;
        }
        t += 18_000_000;
        let d = push(&mut lines, t, LineKind::Message, b, format!("Bob receives turn {turn} from Alice"));
        lines[d].sent_in = Some(from);
        push(&mut lines, t, LineKind::Receive, b, format!("Bob logs turn {turn} as signed by Alice"));
        push(&mut lines, t, LineKind::Sign, b, format!("Bob signs turn {turn} {split}"));
        snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Party(PartyId(1), pstate(Up::Running, lsn + 3, lsn + 3, "Open", Some(turn), Some(turn), e(bal as u64), e(100 - bal as u64), e(100), e(100 - bal as u64))) });
        let s = push(&mut lines, t + 2_000_000, LineKind::Ack, b, format!("Bob tells Alice that turn {turn} is on disk"));
        lines[s].to = Some(a); lines[s].arrived = 1;
        let s2 = push(&mut lines, t + 2_000_000, LineKind::Message, b, format!("Bob sends Alice turn {turn} {split}, signed by Bob"));
        lines[s2].to = Some(a);
        if down {
            t += 3_000_000_000;
            push(&mut lines, t, LineKind::Restart, a, format!("Alice starts again with {lsn} events in its log"));
            snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Party(PartyId(0), pstate(Up::Running, lsn, lsn, "Open", Some(turn - 1), Some(turn), e(bal as u64), e(100 - bal as u64), e(100), e(bal as u64))) });
            down = false;
            continue;
        }
        lines[s2].arrived = 1;
        t += 18_000_000;
        let d = push(&mut lines, t, LineKind::Ack, a, format!("Alice receives an acknowledgement of turn {turn} from Bob"));
        lines[d].sent_in = Some(s);
        let d = push(&mut lines, t, LineKind::Message, a, format!("Alice receives turn {turn} from Bob"));
        lines[d].sent_in = Some(s2);
        push(&mut lines, t, LineKind::Notice, a, format!("For Alice turn {turn} is supported by everybody"));
        snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Party(PartyId(0), pstate(Up::Running, lsn, lsn, "Open", Some(turn), Some(turn), e(bal as u64), e(100 - bal as u64), e(100), e(bal as u64))) });
        if rnd(4) == 0 { block += 1; let i = push(&mut lines, t + 1, LineKind::Block, Lane::Chain, format!("Block {block} is mined")); lines[i].channel = None; }
        if rnd(50) == 0 { block += 1; let i = push(&mut lines, t + 1, LineKind::Reorg, Lane::Chain, format!("A reorg replaces 2 blocks; the head is now block {block}")); lines[i].channel = None; }
        if rnd(70) == 0 { let i = push(&mut lines, t + 1, LineKind::Fault, Lane::World, "The network loses 30 % of all messages".into()); lines[i].channel = None; }
    }
    t += 100_000_000;
    let i = push(&mut lines, t, LineKind::Phase, Lane::World, "All faults have ended".into()); lines[i].channel = None;
    let s = push(&mut lines, t + 9, LineKind::Submit, a, format!("Alice submits a challenge with turn 5 (Alice 8 ETH, Bob 2 ETH)")); lines[s].to = Some(Lane::Chain); lines[s].arrived = 1;
    t += 12_000_000_000; block += 1;
    let d = push(&mut lines, t, LineKind::Mined, Lane::Chain, format!("Alice's challenge with turn 5 (Alice 8 ETH, Bob 2 ETH) is mined in block {block}")); lines[d].sent_in = Some(s);
    let s = push(&mut lines, t + 9, LineKind::Submit, b, "Bob submits a checkpoint with turn 6 (Alice 5 ETH, Bob 5 ETH)".into()); lines[s].to = Some(Lane::Chain);
    snapshots.push(Snapshot { after: lines.len(), at_ns: t, of: StateAt::Chain(ChainState { block, owned: vec![e(wa), e(wb), e(70)], channels: vec![ChannelOnChain { channel: ch, held: e(100), status: "challenged with turn 5, 600 s left".into() }] }) });
    if fail {
        t += 600_000_000_000;
        let i = push(&mut lines, t, LineKind::Violation, b, "stale-challenge-answered is violated: a challenge with turn 5 finalized although Bob holds turn 6".into());
        lines[i].amount = Some(Amount::ether(3));
    }
    let i = push(&mut lines, t, LineKind::Phase, Lane::World, "The run is over".into()); lines[i].channel = None;
    Recording { names, lines, snapshots }
}

#[test]
fn dump() {
    for (n, fail, file) in [(8u64, true, "/tmp/story/small.html"), (560, true, "/tmp/story/big.html"), (5, false, "/tmp/story/pass.html")] {
        let recording = big(n, fail);
        eprintln!("{file}: {} lines", recording.lines.len());
        let v = crate::invariant::Violation { what: "a challenge with turn 5 finalized although Bob holds turn 6".into(), invariant: "stale-challenge-answered".into(), by: Some(PartyId(1)), ..violation() };
        let explanation = if fail { explain_steps(STORY, &recording.lines, &v, &recording.names) } else { vec![] };
        let page = html(&HtmlRun {
            title: "nightly/stale_challenge_while_down",
            verdict: if fail { Verdict::Failed("A challenge with turn 5 finalized although Bob holds turn 6: Bob can lose 3 ETH.".into()) } else { Verdict::Passed("All 31 properties held over 92 steps; everybody got what they are entitled to.".into()) },
            story: "Mallory challenges with an old state while Bob's checkpoint is stuck in the mempool. Whatever happens, Bob must get what the newest supported state gives him.",
            replay: "fairway-sim replay 'nightly/stale_challenge_while_down#14c0@ab12cd34-ef567890/reference'",
            facts: &[("engine", "reference".into()), ("seed", "0x14c0".into()), ("build", "ef567890".into()), ("crypto", "real".into())],
            explanation: &explanation,
            recording: &recording,
        });
        std::fs::create_dir_all("/tmp/story").unwrap();
        std::fs::write(file, page).unwrap();
    }
}
