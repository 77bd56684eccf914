//! Campaigns as machines run them: shards in processes of their own, one of them killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fairway_sim::build_id;
use fairway_sim::campaign::{CampaignPlan, PLAN_FILE};
use serde_json::Value;

/// The program, in a folder, where no scheduler numbers jobs.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-sim"));
    command.args(arguments).current_dir(folder);
    command.env_remove("JOB_COMPLETION_INDEX").env_remove("SLURM_ARRAY_TASK_ID");
    command
}

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().expect("the program starts")
}

/// What a command says that must end with this code.
fn says(expected: i32, folder: &Path, arguments: &[&str]) -> String {
    let output = sim(folder, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {out}{err}");
    if expected == 0 { out } else { err }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("campaign-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a writable target folder");
    folder
}

/// Plans eight units: forty seeds each of one story that passes and of one with a planted bug.
fn plan(folder: &Path, out: &str, shards: &str) {
    fs::create_dir_all(folder.join("stories/mine")).expect("a writable folder");
    fs::create_dir_all(folder.join("stories/negative")).expect("a writable folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace root");
    for (from, to) in
        [("smoke/plain", "mine/plain"), ("negative/effect_before_sync", "negative/effect")]
    {
        let file = root.join(format!("scenarios/{from}.toml"));
        fs::copy(file, folder.join(format!("stories/{to}.toml"))).expect("a built-in story");
    }
    let line = ["campaign", "plan", "stories", "--seeds", "100..140", "--unit", "10"];
    says(0, folder, &[&line, &["--real", "30%", "--shards", shards, "--out", out][..]].concat());
}

fn merged(folder: &Path, place: &str) -> Vec<u8> {
    fs::read(folder.join(place).join("merged.json")).expect("a merged record")
}

/// The objects of finished units, with their names.
fn units(folder: &Path, place: &str) -> Vec<PathBuf> {
    let works = fs::read_dir(folder.join(place).join("units")).expect("finished units");
    let files = works.flat_map(|work| fs::read_dir(work.expect("a folder").path()).expect("one"));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

/// Goal: shards on any number of machines, killed and run again, come to the record of one run, to the last byte.
/// Method: one shard against four, in processes of their own; one of the four is killed when it has finished its first unit.
#[test]
fn shards_that_are_killed_and_resumed_merge_to_the_record_of_one_run() {
    let folder = folder("merge");
    plan(&folder, "one", "1");
    says(0, &folder, &["campaign", "run", "one"]);
    says(0, &folder, &["campaign", "merge", "one"]);
    plan(&folder, "four", "4");
    for shard in ["0/4", "3/4"] {
        says(0, &folder, &["campaign", "run", "four", "--shard", shard, "-j", "1"]);
    }
    let mut killed = program(&folder, &["campaign", "run", "four", "--shard", "1/4", "-j", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stderr = BufReader::new(killed.stderr.take().expect("a pipe"));
    let first = stderr.lines().map(|line| line.expect("UTF-8")).find(|l| l.contains("unit 1 of 2"));
    assert!(first.is_some(), "the shard says when a unit is finished");
    killed.kill().expect("it may have ended by itself, then it is a zombie");
    killed.wait().expect("a child of ours");

    let line = says(2, &folder, &["campaign", "merge", "four"]);
    assert!(line.contains("expected all 4 shards, found"), "{line}");
    assert!(line.contains("2/4 (2 units)") && !line.contains("3/4 ("), "{line}");
    let resumed = says(0, &folder, &["campaign", "run", "four", "--shard", "1/4"]);
    assert!(resumed.contains("units were finished before and are not run again"), "{resumed}");
    let by_slurm = program(&folder, &["campaign", "run", "four"])
        .env("SLURM_ARRAY_TASK_ID", "2")
        .output()
        .expect("the program starts");
    let told = text(&by_slurm.stdout);
    assert!(told.contains("shard 2/4 (SLURM_ARRAY_TASK_ID), 2 units"), "{told}");
    assert!(!told.contains("finished before"), "{told}");
    says(0, &folder, &["campaign", "merge", "four"]);
    assert_eq!(text(&merged(&folder, "one")), text(&merged(&folder, "four")));

    let report = sim(&folder, &["campaign", "report", "four", "--html"]);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stderr));
    assert!(text(&report.stdout).contains("40 found the mutant"), "{}", text(&report.stdout));
    for file in ["report.md", "report.html", "meetings.svg"] {
        assert!(folder.join("four").join(file).is_file(), "{file}");
    }

    let record: Value = serde_json::from_slice(&merged(&folder, "four")).expect("JSON");
    assert_eq!(record["total"]["runs"], 80);
    assert_eq!(record["total"]["verdicts"]["pass"], 40);
    assert_eq!(record["total"]["verdicts"]["violation:durable-before-sent"], 40);
    let failures = record["failures"].as_array().expect("failures");
    assert!(failures.iter().all(|f| f["expected"] == true), "{failures:?}");
    let id = failures[0]["seed_id"].as_str().expect("a seed id");
    assert!(id.contains("/reference") && id.contains("#64@"), "{id}");
}

/// Goal: what is missing, damaged or of another build is refused by name. Method: one place, spoilt in one way after the other.
#[test]
fn a_place_that_is_spoilt_is_refused_by_name() {
    let folder = folder("spoilt");
    let refused = says(2, &folder, &["campaign", "run", "camp"]);
    assert_eq!(
        refused,
        "error: camp/plan.json: expected a campaign plan, found none: make one with `fairway-sim campaign plan`\n"
    );
    assert!(!folder.join("camp").exists(), "reading makes no folder");
    plan(&folder, "camp", "2");
    let out_of_range = says(2, &folder, &["campaign", "run", "camp", "--shard", "2/2"]);
    assert!(out_of_range.contains("expected 0/2 to 1/2, found `2/2`"), "{out_of_range}");
    says(0, &folder, &["campaign", "run", "camp", "--shard", "0/2"]);
    let part = says(0, &folder, &["campaign", "merge", "camp", "--partial"]);
    assert!(part.contains("40 runs of 2 scenarios, 40 runs are missing"), "{part}");

    // The same work in other shards keeps its results; other work is not mixed with it.
    plan(&folder, "camp", "8");
    let other = ["campaign", "plan", "smoke/plain", "--seeds", "10", "--out", "camp"];
    let refused = says(2, &folder, &other);
    assert!(refused.contains("expected a place without a plan of other work"), "{refused}");
    let rest = says(0, &folder, &["campaign", "run", "camp/plan.json", "--shard", "all"]);
    assert!(rest.contains("4 units were finished before"), "{rest}");
    says(0, &folder, &["campaign", "merge", "camp"]);

    let unit = units(&folder, "camp").into_iter().next().expect("a unit");
    let good = fs::read(&unit).expect("a readable unit");
    fs::write(&unit, b"{}").expect("a writable unit");
    let refused = says(2, &folder, &["campaign", "merge", "camp"]);
    assert!(refused.contains("found other bytes: delete it and run its shard again"), "{refused}");
    fs::write(&unit, &good).expect("a writable unit");
    let name = unit.file_name().and_then(|n| n.to_str()).expect("a name");
    let stem = name.split('.').next().expect("a stem");
    let twin = unit.with_file_name(format!("{stem}.{}.json", "0".repeat(32)));
    fs::write(&twin, &good).expect("a writable folder");
    let refused = says(4, &folder, &["campaign", "merge", "camp"]);
    assert!(refused.contains("are two results of the same runs"), "{refused}");
    fs::remove_file(&twin).expect("it is there");

    let file = folder.join("camp").join(PLAN_FILE);
    let bytes = fs::read(&file).expect("a plan");
    let plan = CampaignPlan::read("camp", &bytes).expect("a plan");
    let mut foreign = plan.work.clone();
    foreign.build = "0".repeat(64);
    let foreign = CampaignPlan::new(foreign, 1).to_bytes();
    fs::write(&file, &foreign).expect("a writable plan");
    let refused = says(8, &folder, &["campaign", "run", "camp"]);
    insta::assert_snapshot!(refused.replace(build_id::short(), "[build]"), @r"
    error: camp: expected a plan of this build, [build], found one of build 00000000
      every shard needs the binary that made the plan; to use this one, make a new plan:
        fairway-sim campaign plan … --out ANOTHER_FOLDER
    ");
    let edited = text(&bytes).replace("\"real_percent\": 30", "\"real_percent\": 31");
    fs::write(&file, edited).expect("a writable plan");
    let refused = says(2, &folder, &["campaign", "run", "camp"]);
    assert!(refused.contains("make the plan again instead of editing it"), "{refused}");
}
