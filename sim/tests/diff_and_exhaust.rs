//! `diff` and `exhaust`: where two runs part, and that no crash point of a run is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fairway_sim::campaign::How;
use fairway_sim::chance::Tape;
use fairway_sim::exhaust::{Play, Survey};
use fairway_sim::scenario::{Library, OpAction, Scenario};
use fairway_sim::seed_id::Crypto;

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-sim"));
    command.args(arguments).current_dir(folder).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).expect("UTF-8")
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a writable target folder");
    folder
}

fn scenario(name: &str) -> Scenario {
    Library::new().load(name, &[]).expect("it is built in").remove(0)
}

fn toy(mutant: Option<&str>) -> How {
    How { crypto: Crypto::Toy, mutant: mutant.map(str::to_string), ..How::reference() }
}

fn seed_id(how: &How, seed: u64) -> String {
    how.seed_id(&scenario("smoke/plain"), seed).to_string()
}

/// Goal: whatever a power loss leaves, before whatever step, no invariant breaks and nothing is left out.
/// Method: `smoke/plain` with few payments; every recovered log is played.
#[test]
fn every_image_of_every_crash_point_is_survived() {
    let how = toy(None);
    let (mut plan, chance) = how.plan(&scenario("smoke/plain"), 1, &Tape::default());
    for op in &mut plan.ops {
        if let OpAction::Pay { payments, .. } = &mut op.what {
            payments.truncate(1);
        }
    }
    let survey = Survey::new(&how, &plan, &chance);
    let plain = how.run_plan(plan.clone(), chance.clone(), how.options()).report;
    assert_eq!(survey.report.digest, plain.digest, "looking changes the run");
    let (images, _) = survey.images();
    let crashes = survey.crashes();
    assert!(images > 2 * crashes.len() as u64, "{images} images, {} logs", crashes.len());
    assert!(survey.points.iter().any(|p| p.distinct.len() > 1), "no image recovers another log");
    let play =
        Play { how: &how, plan: &plan, chance: &chance, jobs: 2, until: None, fail_fast: false };
    let sum = play.all(&crashes, &|_| {});
    assert_eq!((sum.covered, sum.failed), (crashes.len(), Vec::new()));
}

/// Goal: a bug that shows only when the power fails at the right moment is found, and what is left repeats it exactly.
#[test]
fn a_bug_that_only_a_crash_shows_is_found_and_can_be_replayed() {
    let folder = folder("exhaust");
    for (more, code) in [
        (&["--mutant", "cursor-ahead"][..], 1),
        (&["--mutant", "effect-before-sync", "--ignore", "durable-before-sent"], 1),
    ] {
        let common = ["exhaust", "smoke/plain", "--crypto", "toy", "--out", "out"];
        let found = sim(&folder, &[&common[..], more].concat());
        let block = text(&found);
        assert_eq!(found.status.code(), Some(code), "{block}");
        assert!(block.contains("loses power right before its driver step"), "{block}");
        let bundle = block.split("replay '").nth(1).and_then(|l| l.split('\'').next());
        let bundle = bundle.unwrap_or_else(|| panic!("no replay line:\n{block}"));
        let again = sim(&folder, &["replay", bundle]);
        assert_eq!(again.status.code(), Some(code), "{}", text(&again));
        assert!(text(&again).contains("same verdict, same digest"), "{}", text(&again));
    }
}

#[test]
fn what_cannot_be_exhausted_is_said_in_one_line() {
    let folder = folder("exhaust-usage");
    let toy = ["--crypto", "toy"];
    for (arguments, code, says) in [
        (&["smoke"][..], 2, "expected one scenario, found"),
        (&["smoke/plain", "--engine", "madsim"], 2, "expected reference"),
        (&["smoke/plain", "--skip", "1000000"], 2, "--skip: expected at most"),
        (&["smoke/plain", "--mutant", "effect-before-sync"], 1, "ends badly without a crash"),
        (&["smoke/plain", "--budget", "0"], 0, "go on with --skip 0"),
    ] {
        let output = sim(&folder, &[&["exhaust"], arguments, &toy].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(says), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn equal_runs_are_equal_and_others_part_somewhere() {
    let folder = folder("diff");
    let (how, planted) = (toy(None), toy(Some("deposit-before-prefund")));
    let [one, two] = [seed_id(&how, 1), seed_id(&how, 2)];
    let same = sim(&folder, &["diff", &one, &one]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    assert!(text(&same).ends_with("The same, line by line.\n"), "{}", text(&same));
    for other in [two, seed_id(&planted, 1)] {
        let parts = sim(&folder, &["diff", &one, &other]);
        assert_eq!(parts.status.code(), Some(4), "{}", text(&parts));
        for says in
            ["lines are the same. Then they part:", "first  >", "second >", "Of the first run"]
        {
            assert!(text(&parts).contains(says), "no {says:?}: {}", text(&parts));
        }
    }
    let engines = sim(&folder, &["diff", &one, &one, "--second-engine", "turmoil"]);
    assert!(matches!(engines.status.code(), Some(0 | 4)), "{}", text(&engines));
    assert!(text(&engines).contains("Times are not compared."), "{}", text(&engines));
}

/// Goal: what one build recorded can be held against what another one does.
#[test]
fn a_recording_stands_for_its_run() {
    let folder = folder("diff-recordings");
    let id = seed_id(&toy(None), 3);
    let replayed = sim(&folder, &["replay", &id, "--record", "run.jsonl"]);
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    let same = sim(&folder, &["diff", "run.jsonl", &id]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));

    let recording = fs::read_to_string(folder.join("run.jsonl")).unwrap();
    let mut lines: Vec<&str> = recording.lines().collect();
    let gone = lines.remove(40);
    fs::write(folder.join("other.jsonl"), lines.join("\n")).unwrap();
    let parts = sim(&folder, &["diff", "run.jsonl", "other.jsonl"]);
    assert_eq!(parts.status.code(), Some(4), "{}", text(&parts));
    assert!(text(&parts).contains("The first 39 lines are the same."), "{}", text(&parts));
    let gone: serde_json::Value = serde_json::from_str(gone).unwrap();
    assert!(text(&parts).contains(gone["text"].as_str().unwrap()), "{}", text(&parts));

    lines[7] = "{\"at_ns\":";
    fs::write(folder.join("broken.jsonl"), lines.join("\n")).unwrap();
    fs::write(
        folder.join("later.jsonl"),
        recording.replacen("{\"fairway_trace\":1", "{\"fairway_trace\":9", 1),
    )
    .unwrap();
    for (file, says) in
        [("broken.jsonl", "line 8: expected a recording"), ("later.jsonl", "found schema 9")]
    {
        let refused = sim(&folder, &["diff", file, "run.jsonl"]);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(says), "{}", text(&refused));
    }
}
