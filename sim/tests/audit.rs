//! `audit`: what it says of logs that real nodes wrote, whole, torn, rotten and by nodes with planted bugs, and what it leaves alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fairway_core::types::{Amount, Lsn};
use fairway_sim::audit::{Audit, AuditVerdict, Source, cross, judge};
use fairway_sim::campaign::How;
use fairway_sim::chance::Tape;
use fairway_sim::engine::reference;
use fairway_sim::invariant::{self, Searched};
use fairway_sim::scenario::Library;
use fairway_sim::world::{Options, World};
use serde_json::Value;

/// The world of one seed at its end; with a planted bug nobody watches, so that it goes to its end all the same.
fn world(story: &str, seed: u64, watched: bool) -> World {
    let scenario = Library::new().load(story, &[]).expect("it is built in").remove(0);
    let how = How::reference();
    let (plan, chance) = how.plan(&scenario, seed, &Tape::default());
    let all = || invariant::names().iter().map(|name| (*name).to_string()).collect();
    let ignore = if watched { Vec::new() } else { all() };
    reference::run(plan, chance, Options { ignore, ..how.options() }).1
}

type Named = BTreeMap<String, Vec<u8>>;

fn source(world: &World, party: usize) -> Source {
    let party = &world.parties[party];
    let files = party.disk.read_all();
    Source::of_files(Path::new(&party.name), &files, Vec::new()).expect("its log opens")
}

fn audit(world: &World) -> Audit {
    let honest = (0..world.parties.len()).filter(|i| world.parties[*i].strategy.is_none());
    let subjects: Vec<_> = honest.map(|i| judge(source(world, i))).collect();
    let together = cross(&subjects);
    Audit { subjects, together }
}

fn broken(audit: &Audit) -> Vec<&'static str> {
    let checks = audit.subjects.iter().flat_map(|s| &s.checks).chain(&audit.together);
    let mut names: Vec<_> = checks.filter(|c| c.is_broken()).map(|c| c.name).collect();
    if audit.subjects.iter().flat_map(|s| &s.standings).any(|s| !s.missing().is_zero()) {
        names.push("short");
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Goal: nothing is reported of nodes that did nothing wrong, whatever was done to them.
#[test]
fn logs_of_honest_nodes_hold() {
    for (story, seed) in [
        ("smoke/hub_pays", 1),
        ("smoke/payee_refuses", 0),
        ("smoke/restored_backup", 0),
        ("smoke/force_close_ledger_under_virtual", 0),
        ("attack/stale_challenge", 0),
        ("attack/ransom_with_calldata_late", 1),
    ] {
        let audit = audit(&world(story, seed, true));
        assert_eq!(audit.verdict(), AuditVerdict::Pass, "{story}\n{}", audit.text());
        assert!(!audit.subjects.iter().all(|s| s.checks.is_empty()));
    }
}

/// Goal: a bug leaves its traces in the log, and the audit names the invariant that the simulator would have named.
/// Method: stories with planted bugs, run to their end with nobody watching; then nothing but the logs.
#[test]
fn planted_bugs_are_found_in_what_they_logged() {
    for (story, check) in [
        ("negative/approval_skipped", "approved-before-signed"),
        ("negative/deposit_before_prefund", "funded-before-postfund"),
        ("negative/double_deposit_after_crash", "deposits-are-safe"),
        ("negative/early_remove", "entitlement-is-enforceable"),
        ("negative/final_forgets_vouchers", "signed-states-are-valid"),
        ("negative/reorg_ignored", "blocks-connect"),
        ("negative/sign_final_unchecked", "final-outcome-is-last-supported"),
        ("negative/virtual_challenge_unanswered", "short"),
        ("negative/voucher_over_balance", "vouchers-only-grow"),
        ("negative/voucher_unchecked", "signatures-hold"),
    ] {
        let audit = audit(&world(story, 0, false));
        let found = broken(&audit);
        assert!(found.contains(&check), "{story}: {found:?} lacks {check}\n{}", audit.text());
        assert_eq!(audit.verdict(), AuditVerdict::Safety);
        assert!(audit.text().contains("SAFETY"), "{story}");
    }
}

/// Goal: what one side forgot shows in the other side's log, unless the log owns up to it.
#[test]
fn a_signature_that_its_signer_forgot_is_found_in_the_peers_log() {
    let world = world("smoke/plain", 1, true);
    let (alice, mut bob) = (source(&world, 0), source(&world, 1));
    let whole = bob.end();
    bob.cut_after(Lsn(whole.0 / 2));
    assert!(bob.end() < whole);
    let subjects = [judge(alice), judge(bob)];
    let together = cross(&subjects);
    let names: Vec<_> = together.iter().filter(|c| c.is_broken()).map(|c| c.name).collect();
    assert_eq!(names, ["signatures-are-remembered"]);
    let twice = [judge(source(&world, 0)), judge(source(&world, 0))];
    assert!(cross(&twice).iter().all(|c| c.name == "one-log-a-key" && c.is_broken()));
}

/// What would have been enforceable in the middle of a channel's life is a sum of money.
#[test]
fn an_open_channel_is_worth_its_balance() {
    let world = world("smoke/plain", 1, true);
    let mut best = String::new();
    for upto in 1..source(&world, 0).end().0 {
        let mut alice = source(&world, 0);
        alice.cut_after(Lsn(upto));
        let subject = judge(alice);
        let standing = subject.standings.iter().find(|s| s.searched == Searched::Exhaustive);
        let Some(standing) = standing.filter(|s| s.enforceable > Amount::ether(1)) else {
            continue;
        };
        assert_eq!(standing.enforceable, standing.entitled, "upto {upto}");
        best = Audit { subjects: vec![subject], together: Vec::new() }.text();
        break;
    }
    assert!(best.contains("  If every peer vanished now:\n"), "{best}");
    assert!(best.contains("you can enforce 5 ETH of 5 ETH; slack 0 wei, because"), "{best}");
}

/// Goal: a log is read and never written; damage ends with 1 and names the record, a wrong path with 2.
#[test]
fn the_command_leaves_the_log_as_it_is() {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit");
    let _ = fs::remove_dir_all(&parent);
    let world = world("smoke/plain", 2, true);
    let put = |name: &str, change: &dyn Fn(&mut Named)| {
        let files = world.parties[0].disk.read_all();
        let mut files: Named =
            files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect();
        change(&mut files);
        let folder = parent.join(name);
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
        (folder, files)
    };
    let segment = "000001.log";
    let (whole, before) = put("whole", &|_| {});
    let text = String::from_utf8(sim(&whole, &[]).stdout).unwrap();
    assert!(text.ends_with("Everything that these logs can show holds.\n"), "{text}");
    assert_eq!(sim(&whole, &["--format", "json"]).status.code(), Some(0));
    let json: Value = serde_json::from_slice(&sim(&whole, &["--format", "json"]).stdout).unwrap();
    assert_eq!(json["verdict"], "pass");

    let (torn, files) =
        put("torn", &|files| files.get_mut(segment).unwrap().extend_from_slice(&[7; 100]));
    let output = sim(&torn, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("(nothing was changed here): record "), "{text}");
    for (name, bytes) in before.iter().chain(&files).filter(|(name, _)| *name != segment) {
        assert_eq!(&fs::read(torn.join(name)).unwrap(), bytes, "{name} was written");
    }
    assert_eq!(&fs::read(torn.join(segment)).unwrap(), &files[segment], "it was cut");

    let (rotten, _) = put("rotten", &|files| files.get_mut(segment).unwrap()[200] ^= 1);
    let output = sim(&rotten, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("record 1 in 000001.log"), "{text}");

    let empty = parent.join("empty");
    fs::create_dir_all(&empty).unwrap();
    fs::write(parent.join("garbage"), b"\xff{}").unwrap();
    for (path, says) in [
        (parent.join("missing"), "check the path"),
        (empty, "holds no log"),
        (parent.join("garbage"), "is not UTF-8"),
    ] {
        let output = sim(&path, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(says), "{text}");
    }
}

fn sim(log: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-sim"));
    command.arg("audit").arg(log).args(arguments).output().expect("the program starts")
}

fn golden() -> (&'static Path, String) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/export/golden.jsonl"));
    (path, fs::read_to_string(path).expect("the golden export"))
}

/// Goal: an export is judged like the directory that it was made from.
#[test]
fn an_export_is_worth_what_its_log_is_worth() {
    let (path, _) = golden();
    let directory = path.with_file_name("log");
    let [export, log] = [path, &directory].map(|path| judge(Source::read(path).unwrap()));
    assert!(export.checks.iter().any(|c| c.name == "export-chain-holds" && !c.is_broken()));
    let of_log: Vec<_> = export.checks.iter().filter(|c| !c.name.starts_with("export-")).collect();
    assert_eq!(of_log, log.checks.iter().collect::<Vec<_>>());
    assert_eq!(export.standings, log.standings);
}

/// Goal: no change to an export passes, and none ends in a panic.
#[test]
fn a_tampered_export_is_refused() {
    let (_, text) = golden();
    let lines: Vec<&str> = text.lines().collect();
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-exports");
    fs::create_dir_all(&parent).unwrap();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let is_batch = |line: &&str| line.contains("\"name\":\"batch-recorded\"");
    let without_batches: Vec<&str> = lines.iter().copied().filter(|l| !is_batch(l)).collect();
    let batch = lines.iter().position(is_batch).unwrap();
    let at = text.find("\"signature\":\"0x").unwrap() + 20;
    let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    for (name, tampered, code) in [
        ("changed", format!("{}{digit}{}", &text[..at], &text[at + 1..]), 1),
        ("dropped", join(&[&lines[..4], &lines[5..]].concat()), 2),
        ("swapped", join(&[&lines[..4], &[lines[5], lines[4]], &lines[6..]].concat()), 1),
        ("cut", join(&lines[..lines.len() - 1]), 2),
        ("behind", format!("{text}{}\n", lines[0]), 2),
        ("no_batches", join(&without_batches), 2),
        ("one_batch_less", join(&[&lines[..batch], &lines[batch + 1..]].concat()), 2),
        ("nothing", String::new(), 2),
        ("deep", "[".repeat(100_000), 2),
        ("big_count", text.replace("\"count\":", "\"count\":4294967"), 2),
    ] {
        let file = parent.join(name);
        fs::write(&file, tampered).unwrap();
        let output = sim(&file, &[]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(code == 2 || said.contains("BROKEN   export-chain-holds"), "{name}: {said}");
    }
}
