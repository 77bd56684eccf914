//! The program as a person meets it: exit codes, one line for each mistake, files that can be replayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fairway_sim::build_id;
use fairway_sim::scenario::{Library, fill_tables};
use serde_json::Value;

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-sim"));
    command.args(arguments).current_dir(folder);
    command.output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What the program says about a mistake, without the build's name.
fn stderr(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    text.replace(build_id::short(), "[build]")
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a writable target folder");
    folder
}

/// The repository, where scenarios and corpus are.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim stands in the workspace root")
}

#[test]
fn help_lists_every_command_with_examples_and_says_what_exit_codes_mean() {
    let output = sim(root(), &["--help"]);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    let commands: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected =
        "demo run replay explain shrink check audit diff exhaust list schema corpus campaign mutants doctor bench help"
            .split(' ');
    assert_eq!(commands, expected.collect::<Vec<_>>());
    assert!(text.contains("Exit codes: 0 pass"), "{text}");
    for command in commands.iter().filter(|c| !["demo", "help"].contains(c)) {
        let help = stdout(&sim(root(), &[command, "--help"]));
        assert!(help.contains("Examples:\n  fairway-sim"), "{command}: {help}");
    }
}

const BAD_SCENARIO: &str = r#"schema = 1
engines = ["reference"]
[topology]
parties = ["alice"]
chanels = []
[phases]
chaos = "1s"
settle = "1s"
"#;

/// Goal: a mistake costs its maker one line, which names what was expected, and exit code 2.
/// Method: one mistake of each kind; all lines in one snapshot.
#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    let folder = folder("mistakes");
    fs::write(folder.join("story.toml"), BAD_SCENARIO).expect("a writable folder");
    fs::write(folder.join("bundle.json"), "{\"schema\": 1}").expect("a writable folder");
    fs::create_dir(folder.join("empty")).expect("a writable folder");
    let id = |rest: &str| {
        let plain = Library::new().load("smoke/plain", &[]).expect("a built-in scenario");
        format!("smoke/plain#1@{}-{}/{rest}", plain[0].digest_short(), build_id::short())
    };
    let (no_mutant, good) = (id("reference+mutant=efect-before-sync"), id("reference"));
    let (head, tail) = good.split_once('@').expect("a digest");
    let changed = format!("{head}@00000000{}", &tail[8..]);
    let mistakes: &[&[&str]] = &[
        &["check", "story.toml"],
        &["check", "nowhere.toml"],
        &["replay", "nonsense"],
        &["replay", "smoke/plain#1@5e1f0a2b-90c3d4e5/tokio"],
        &["replay", "bundle.json"],
        &["run", "smoke/plain", "--mutant", "efect-before-sync"],
        &["run", "smoke/plian"],
        &["run", "smoke/plain", "--set", "phases.caos=1s"],
        &["run", "smoke/plain", "--set", "chain.backend=evn"],
        &["run", "smoke/plain", "--set", "chain.bakend=evm"],
        &["corpus", "verify", "nowhere"],
        &["check", "empty"],
        &["replay", &no_mutant],
        &["replay", &changed],
        &["replay", &good, "--ignore", "no-equivocaton"],
        &["explain", "nonsense"],
        &["shrink", "smoke/plain"],
        &["shrink", "bundle.json"],
        &["corpus", "verify", "empty"],
        &["run", "negative", "--engine", "madsim"],
        &["run", "smoke/plain", "--ignore", "no-equivocaton"],
        // What clap refuses.
        &["rn"],
        &["run", "--sedes", "3"],
        &["schema", "--sedes"],
        &["run", "--seeds"],
        &["run", "--seeds", "few"],
        &["run", "--seeds", "5..3"],
        &["run", "--shard", "4/4"],
        &["run", "--seeds", "2", "--shard", "0/4"],
        &["run", "--for", "10"],
        &["run", "--determinism", "200%"],
        &["run", "-j", "0"],
        &["run", "--set", "phases.chaos"],
        &["run", "--engine", "tokio"],
        &["run", "--engine", "madsin"],
        &["run", "--keep-going", "--fail-fast"],
        &["run", "smoke", "attack"],
        &["replay"],
        &["replay", &good, "--until", "soon"],
        &["list", "mutant"],
        &["corpus"],
        &["corpus", "verfy"],
    ];
    let mut said = String::new();
    for arguments in mistakes {
        let output = sim(&folder, arguments);
        let line = stderr(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        said.push_str(&line);
    }
    let said = said.replace(&tail[..8], "[digest]");
    insta::assert_snapshot!(said, @r"
    error: story.toml:5: topology.chanels: expected a key among `chain`, `channels`, `disk`, `network`, `parties`, `party`, `patience`, `virtuals`, found `chanels`; did you mean `channels`?
    error: scenario `nowhere.toml`: expected a name such as smoke/plain or a path, found neither
    error: nonsense: seed id `nonsense`: expected `#` before the seed, as in smoke/plain#14c0@5e1f0a2b-90c3d4e5/reference
    error: smoke/plain#1@5e1f0a2b-90c3d4e5/tokio: seed id: engine `tokio`: expected `reference`, `madsim` or `turmoil`
    error: bundle.json: expected a bundle of schema 1: missing field `seed_id` at line 1 column 13
    error: --mutant: expected a mutant (see `list mutants`), found `efect-before-sync`; did you mean `effect-before-sync`?
    error: scenario `smoke/plian`: expected a name such as smoke/plain or a path, found neither; did you mean smoke/plain?
    error: --set: phases.caos: expected a key among `chaos`, `settle`, found `caos`; did you mean `chaos`?
    error: --set: topology.chain.backend: expected a value among `evm`, `model`, found `evn`; did you mean `evm`?
    error: --set: topology.chain.bakend: expected a key among `backend`, `block_time`, `confirmations`, `rpc_latency`, found `bakend`; did you mean `backend`?
    error: nowhere: expected a folder of bundles: No such file or directory (os error 2)
    error: empty: expected .toml files, found none
    error: smoke/plain#1@[digest]-[build]/reference+mutant=efect-before-sync: mutant: expected a mutant (see `list mutants`), found `efect-before-sync`; did you mean `effect-before-sync`?
    error: smoke/plain#1@00000000-[build]/reference: expected a run of scenario digest [digest], which smoke/plain has here, found 00000000: the scenario has changed
    error: --ignore: expected an invariant (see `list invariants`), found `no-equivocaton`; did you mean `no-equivocation`?
    error: nonsense: seed id `nonsense`: expected `#` before the seed, as in smoke/plain#14c0@5e1f0a2b-90c3d4e5/reference
    error: smoke/plain: seed id `smoke/plain`: expected `#` before the seed, as in smoke/plain#14c0@5e1f0a2b-90c3d4e5/reference
    error: bundle.json: expected a bundle of schema 1: missing field `seed_id` at line 1 column 13
    error: empty: expected bundles (.json), found none
    error: --engine: expected an engine that a scenario of `negative` lists, found madsim
    error: --ignore: expected an invariant (see `list invariants`), found `no-equivocaton`; did you mean `no-equivocation`?
    error: fairway-sim: expected a command among demo, run, replay, explain, shrink, check, audit, diff, exhaust, list, schema, corpus, campaign, mutants, doctor, bench, found `rn`
    error: fairway-sim run: expected an option among --seeds, --shard, --for, --engine, --crypto, --mutant, --ignore, --search, --set, --jobs, --determinism, --keep-going, --fail-fast, --no-shrink, --format, --out, --resume, --help, found `--sedes`; did you mean `--seeds`?
    error: fairway-sim schema: expected an option among --markdown, --help, found `--sedes`
    error: fairway-sim run: expected a value after `--seeds <SEEDS>`, found none
    error: fairway-sim run: --seeds <SEEDS>: expected N or A..B, found `few`
    error: fairway-sim run: --seeds <SEEDS>: expected at least one seed, found `5..3`
    error: fairway-sim run: --shard <I/N>: expected 0/4 to 3/4, found `4/4`
    error: --shard: expected no more shards than seeds, found a shard without any
    error: fairway-sim run: --for <10m>: expected a duration such as 30s, 10m or 2h, found `10`
    error: fairway-sim run: --determinism <DETERMINISM>: expected a percentage such as 5%, found `200%`
    error: fairway-sim run: --jobs <JOBS>: expected a number of threads, at least 1, found `0`
    error: fairway-sim run: --set <KEY=VALUE>: expected KEY=VALUE, such as phases.chaos=90s, found `phases.chaos`
    error: fairway-sim run: --engine <ENGINE>: expected one of reference, madsim, turmoil, all, found `tokio`
    error: fairway-sim run: --engine <ENGINE>: expected one of reference, madsim, turmoil, all, found `madsin`; did you mean `madsim`?
    error: fairway-sim run: expected --keep-going or --fail-fast, found both
    error: fairway-sim run: expected no further word after [WHAT], found `attack`
    error: fairway-sim replay: expected <WHAT>, found nothing
    error: fairway-sim replay: --until <SECONDS>: expected a whole number, found `soon`
    error: fairway-sim list: [WHAT]: expected one of scenarios, invariants, mutants, faults, found `mutant`; did you mean `mutants`?
    error: fairway-sim corpus: expected a command among verify, found none
    error: fairway-sim corpus: expected a command among verify, found `verfy`; did you mean `verify`?
    ");
}

/// Goal: who asks for the contracts where they cannot be had is told what to do, in one line. Method: this build may have an EVM or not;
/// there is no bytecode where it is said to be.
#[test]
fn the_contracts_are_refused_where_they_cannot_be_had() {
    let folder = folder("contracts");
    let text = fs::read_to_string(root().join("scenarios/smoke/plain.toml")).expect("a story");
    let text = text.replace("[topology.chain]\n", "[topology.chain]\nbackend = \"evm\"\n");
    fs::write(folder.join("story.toml"), text).expect("a writable folder");
    let id = format!(
        "smoke/plain#1@{}-{}/reference+crypto=toy+set.patience=60s+set.chain.backend=evm",
        digest_with_contracts(),
        build_id::short()
    );
    let missing = match cfg!(feature = "evm") {
        true => {
            "expected a contract's artefact: No such file or directory (os error 2): run `ci/test adjudicator-differential`"
        }
        false => "this build has no EVM: build it with `--features evm`",
    };
    let toy = "the contracts recover real signatures: leave out `--crypto toy`";
    let evm = "chain.backend=evm";
    let refused: &[(&[&str], &str)] = &[
        (&["check", "story.toml"], missing),
        (&["run", "story.toml"], missing),
        (&["run", "smoke/plain", "--set", evm], missing),
        (&["digests", "smoke/plain", "--seeds", "1", "--set", evm], missing),
        (&["run", "smoke/plain", "--crypto", "toy", "--set", evm], toy),
        (&["replay", &id], toy),
    ];
    for (arguments, why) in refused {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-sim"));
        command.args(*arguments).current_dir(&folder).env("FAIRWAY_CONTRACTS", "nowhere");
        let output = command.output().expect("the program starts");
        let line = stderr(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        let expected = "chain.backend: expected \"model\", found \"evm\": ";
        assert!(line.contains(expected) && line.contains(why), "{arguments:?}: {line}");
    }
}

fn digest_with_contracts() -> String {
    let settings = [("chain.backend", "evm"), ("patience", "60s")];
    let settings = settings.map(|(key, value)| (key.to_string(), value.to_string()));
    let plain = Library::new().load("smoke/plain", &settings).expect("a built-in scenario");
    plain[0].digest_short().to_string()
}

/// Goal: a place that cannot be written is the caller's mistake and not the harness's. Method: a file where a folder should be.
#[test]
fn a_place_that_cannot_be_written_is_wrong_usage() {
    let folder = folder("unwritable");
    fs::write(folder.join("file"), "").expect("a writable folder");
    let failing = ["run", "smoke/plain", "--mutant", "effect-before-sync", "--seeds", "1"];
    let run = sim(&folder, &[&failing[..], &["--no-shrink", "--out", "file"]].concat());
    assert_eq!(code(&run), 2, "{}", stderr(&run));
    assert!(stderr(&run).starts_with("error: --out: expected a folder to write into, found file"));
    assert_eq!(stderr(&run).lines().count(), 1, "{}", stderr(&run));
    let kept = root().join("corpus/bugs/smoke-torn_tail-0-reference.json");
    let kept = kept.display().to_string();
    let replay = sim(&folder, &["replay", &kept, "--html", "file/page.html"]);
    assert_eq!(code(&replay), 2, "{}", stderr(&replay));
    assert!(stderr(&replay).starts_with("error: --html: expected a file to write, found"));
}

/// Goal: a build server shows what passed and what failed, and why. Method: a scenario that passes, and one with a planted bug.
#[test]
fn junit_has_one_case_for_what_passed_and_one_for_each_failure() {
    let folder = folder("junit");
    let run = |rest: &[&str]| {
        let common = ["run", "smoke/plain", "--seeds", "3", "--format", "junit", "--out", "out"];
        sim(&folder, &[&common[..], rest].concat())
    };
    let passed = run(&[]);
    assert_eq!(code(&passed), 0, "{}", stderr(&passed));
    let text = stdout(&passed);
    assert!(text.starts_with("<?xml"), "{text}");
    assert!(text.contains("tests=\"1\"") && text.contains("failures=\"0\""), "{text}");
    assert!(text.contains("3 of 3 runs passed, from seed 0"), "{text}");
    let kept = std::fs::read_to_string(folder.join("out/junit.xml")).expect("beside the bundles");
    assert_eq!(kept, text.trim());
    let failed = run(&["--mutant", "effect-before-sync"]);
    assert_eq!(code(&failed), 1, "{}", stderr(&failed));
    let text = stdout(&failed);
    assert!(text.contains("failures=\"1\""), "{text}");
    assert!(text.contains("type=\"durable-before-sent\""), "{text}");
    assert!(text.contains("-- replay &apos;smoke/plain#0@"), "{text}");
    assert!(text.contains("tests=\"1\""), "nothing passed: {text}");
}

/// Goal: `explain` says what each thing was for. Method: a kept bug whose every element is needed.
#[test]
fn explaining_says_what_becomes_of_the_run_without_each_element() {
    let told =
        sim(root(), &["explain", "corpus/bugs/negative-sign_final_unchecked-0-reference.json"]);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    let text = stdout(&told);
    let what_if = text.split("What if one thing had been different:\n").nth(1);
    let what_if = what_if.expect("the counterfactual");
    assert!(what_if.lines().count() >= 2, "{text}");
    assert!(what_if.lines().all(|l| l.starts_with("  - ") && l.contains("(without it ")), "{text}");
    assert!(what_if.contains("without it nothing fails"), "{text}");
}

#[test]
fn jsonl_is_one_record_a_run_in_the_order_of_seeds() {
    let output = sim(root(), &["run", "smoke/plain", "--seeds", "3", "--format", "jsonl"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let records: Vec<Value> =
        text.lines().map(|l| serde_json::from_str(l).expect("a JSON record")).collect();
    assert_eq!(records.len(), 3, "{text}");
    for (seed, record) in (0u64..).zip(&records) {
        assert_eq!(record["seed"], seed);
        assert_eq!(record["scenario"], "smoke/plain");
        assert_eq!(record["engine"], "reference");
        assert_eq!(record["verdict"], "pass");
        assert_eq!(record["build"], build_id::BUILD_ID);
        assert_eq!(record["trace_digest"].as_str().map(str::len), Some(64));
    }
    let id = records[2]["seed_id"].as_str().expect("a seed id");
    let again = sim(root(), &["replay", id]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert!(stdout(&again).contains(records[2]["trace_digest"].as_str().expect("a digest")));
}

/// Goal: a failure leaves everything that is needed to see it again.
/// Method: a planted bug, found; its block, bundle and page; the bundle and the seed id replayed; another build's seed id refused.
#[test]
fn a_failure_can_be_replayed_from_what_it_left() {
    let folder = folder("failure");
    let found = sim(
        &folder,
        &["run", "smoke/plain", "--mutant", "effect-before-sync", "--seeds", "20", "--out", "out"],
    );
    let block = stdout(&found);
    assert_eq!(code(&found), 1, "{block}");
    assert!(
        block.contains("FAILED smoke/plain, seed 0: durable-before-sent was broken"),
        "{block}"
    );
    let replays: Vec<&str> =
        block.lines().filter_map(|l| l.split("replay '").nth(1)?.strip_suffix('\'')).collect();
    let [bundle, seed_id] = replays[..] else { panic!("expected two replay lines:\n{block}") };
    let page = fs::read_to_string(folder.join(bundle).with_extension("html"));
    let page = page.expect("a timeline beside the bundle");
    let rule = "docs/src/reference/invariants/durable-before-sent.md";
    assert!(page.contains(&format!("{rule}\">")) && block.contains(rule), "{block}");

    let again = sim(&folder, &["replay", bundle]);
    assert_eq!(code(&again), 1, "{}", stderr(&again));
    assert!(stdout(&again).contains("same verdict, same digest"), "{}", stdout(&again));

    let again = sim(&folder, &["replay", seed_id]);
    assert_eq!(code(&again), 1, "{}", stderr(&again));
    assert!(stdout(&again).contains("durable-before-sent was broken"), "{}", stdout(&again));

    let other_build = seed_id.replace(build_id::short(), "00000000");
    let refused = sim(&folder, &["replay", &other_build]);
    assert_eq!(code(&refused), 8);
    let digits = seed_id.split(['@', '-']).nth(1).expect("a scenario digest");
    insta::assert_snapshot!(stderr(&refused).replace(digits, "[digest]"), @r"
    error: smoke/plain#0@[digest]-00000000/reference+mutant=effect-before-sync: expected a run of this build, [build], found one of build 00000000
      no commit that git knows here makes that build with this compiler: ask who sent it
      to repeat it on this build, where the seed may mean another run: add --any-build
    ");
    let there = sim(&folder, &["replay", &other_build, "--at-commit"]);
    assert_eq!(code(&there), 2, "{}", stderr(&there));
    assert!(stderr(&there).starts_with("error: --at-commit: expected a build that some commit"));
}

/// Goal: `shrink` works on the run that was meant and on no other.
/// Method: a planted bug by its seed id, then the id of another build, of a changed scenario, and of a run that passes.
#[test]
fn shrinking_takes_runs_of_this_build_and_leaves_a_small_bundle() {
    let folder = folder("shrink");
    let found = sim(&folder, &["run", "negative/no_resend_after_restart", "--format", "jsonl"]);
    let record = stdout(&found).lines().last().map(str::to_string).expect("a record a run");
    let record: Value = serde_json::from_str(&record).expect("a JSON record");
    let seed = record["seed"].as_u64().expect("a seed");
    let id = |what: &str, build: &str| {
        let scenarios = Library::new().load(what, &[]).expect("a built-in scenario");
        format!("{what}#{seed:x}@{}-{build}/reference", scenarios[0].digest_short())
    };
    let good = id("negative/no_resend_after_restart", build_id::short());
    let small = sim(&folder, &["shrink", &good, "--out", "out"]);
    assert_eq!(code(&small), 0, "{}", stderr(&small));
    assert!(stdout(&small).contains("shrunk from 6 to 2"), "{}", stdout(&small));
    let bundle = stdout(&small);
    let bundle = bundle.split("replay '").nth(1).and_then(|l| l.split('\'').next());
    let again = sim(&folder, &["replay", bundle.expect("a replay line")]);
    assert!(stdout(&again).contains("same verdict, same digest"), "{}", stderr(&again));

    let foreign = sim(&folder, &["shrink", &id("smoke/plain", "00000000")]);
    assert_eq!(code(&foreign), 8, "{}", stderr(&foreign));
    let (digest, _) = good.split_once('-').expect("a build after the digest");
    let changed = format!("smoke/plain{}", &digest[digest.find('#').expect("a seed")..]);
    let changed = sim(&folder, &["shrink", &format!("{changed}-{}/reference", build_id::short())]);
    assert_eq!(code(&changed), 2, "{}", stderr(&changed));
    assert!(stderr(&changed).contains("the scenario has changed"), "{}", stderr(&changed));
    let passes = sim(&folder, &["shrink", &id("smoke/plain", build_id::short())]);
    assert_eq!(code(&passes), 2, "{}", stderr(&passes));
    assert!(stderr(&passes).contains("found one that passes"), "{}", stderr(&passes));
}

/// Goal: a kept bug is found again whatever the build, and outside the corpus a foreign bundle is refused.
/// Method: the corpus as it is, then a copy of one of its files somewhere else with another build's name.
#[test]
fn kept_bugs_are_found_on_any_build_and_other_bundles_on_their_own() {
    let verified = sim(root(), &["corpus", "verify"]);
    assert_eq!(code(&verified), 0, "{}", stdout(&verified));
    assert!(stdout(&verified).contains(" 0 not as they should be"), "{}", stdout(&verified));

    let folder = folder("foreign");
    let kept = root().join("corpus/bugs/smoke-torn_tail-0-reference.json");
    let text = fs::read_to_string(kept).expect("a kept bug");
    let mut bundle: Value = serde_json::from_str(&text).expect("a bundle");
    bundle["build"] = Value::String("0".repeat(64));
    bundle["commit"] = Value::String("c".repeat(40));
    fs::write(folder.join("bundle.json"), bundle.to_string()).expect("a writable folder");
    let refused = sim(&folder, &["replay", "bundle.json"]);
    assert_eq!(code(&refused), 8, "{}", stderr(&refused));
    let paste = "    git worktree add --detach ../fairway-cccccccccccc cccccccc";
    assert!(stderr(&refused).contains(paste), "{}", stderr(&refused));
    let features = if cfg!(feature = "evm") { " --features evm" } else { "" };
    let again = format!("cd ../fairway-cccccccccccc && cargo run --release{features} -- replay '/");
    assert!(stderr(&refused).contains(&again), "{}", stderr(&refused));
    let accepted = sim(&folder, &["replay", "bundle.json", "--any-build"]);
    assert_eq!(code(&accepted), 1, "{}", stderr(&accepted));
}

/// Goal: the parts of a range are the range, and a run that is repeated with `--resume` runs nothing again.
/// Method: the records of three parts against those of the whole, then one part twice over one folder.
#[test]
fn parts_of_a_run_are_the_run_and_a_part_is_resumed() {
    let folder = folder("parts");
    let run = |rest: &[&str]| {
        let common = ["run", "smoke/plain", "--seeds", "5..15", "--format", "jsonl"];
        let output = sim(&folder, &[&common[..], rest].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let (whole, _) = run(&[]);
    let parts: String = ["0/3", "1/3", "2/3"].map(|part| run(&["--shard", part]).0).concat();
    assert_eq!(whole, parts);
    let resumed = ["--shard", "1/3", "--out", "out", "--resume"];
    let (first, said) = run(&resumed);
    assert!(!said.contains("finished before"), "{said}");
    let (second, said) = run(&resumed);
    assert_eq!(first, second);
    assert!(said.contains("smoke/plain: 3 runs were finished before"), "{said}");
    let (_, said) = run(&["--crypto", "toy", "--out", "out", "--resume"]);
    assert!(!said.contains("finished before"), "{said}");
}

#[test]
fn kept_bugs_name_no_place_on_a_disk() {
    let bugs =
        fs::read_dir(root().join("corpus/bugs")).expect("corpus/bugs is part of the repository");
    let mut kept = 0;
    for entry in bugs {
        let path = entry.expect("a readable entry").path();
        assert_eq!(path.extension().and_then(|e| e.to_str()), Some("json"), "{}", path.display());
        let text = fs::read_to_string(&path).expect("a readable file");
        for place in ["\"/", "'/", "C:\\\\", "/home/", "/tmp/"] {
            assert!(!text.contains(place), "{}: {place}", path.display());
        }
        kept += 1;
    }
    assert!(kept >= 3, "{kept} kept bugs");
}

#[test]
fn scenarios_check_and_the_schema_is_json() {
    let checked = sim(root(), &["check", "scenarios", "--no-run"]);
    assert_eq!(code(&checked), 0, "{}", stderr(&checked));
    assert!(stdout(&checked).contains("scenarios are good"));
    let schema = sim(root(), &["schema"]);
    assert_eq!(code(&schema), 0);
    let schema: Value = serde_json::from_str(&stdout(&schema)).expect("the schema is JSON");
    assert_eq!(schema["title"], "Fairway scenario, schema 1");
}

/// The tables of the reference are those of the types; `fairway-sim schema --markdown` brings them up to date.
#[test]
fn the_reference_has_the_tables_of_this_language() {
    let page = "docs/src/reference/scenarios.md";
    let text = fs::read_to_string(root().join(page)).expect("the reference is there");
    let filled = fill_tables(&text).expect("blocks that end and name types");
    assert!(text.matches("schema:begin").count() > 10, "the page has tables");
    assert!(text == filled, "run: fairway-sim schema --markdown {page}");
}

/// Goal: what a story promises and never does is a warning with its place, and an error only for who asks.
/// Method: a built-in story as a file, with a goal more that it cannot reach.
#[test]
fn check_warns_of_what_never_happens_and_fails_when_strict() {
    let folder = folder("lint");
    let plain = Library::new().find("smoke/plain").expect("a built-in scenario").remove(0).text;
    let vain = plain.replacen("sometimes = [", "sometimes = [\"virtual-open\", ", 1);
    fs::write(folder.join("plain.toml"), &plain).expect("a writable folder");
    fs::write(folder.join("vain.toml"), &vain).expect("a writable folder");
    let check = |arguments: &[&str]| sim(&folder, &[&["check"], arguments].concat());
    let good = check(&["plain.toml", "--seeds", "5", "--strict"]);
    assert_eq!((code(&good), stderr(&good).as_str()), (0, ""), "{}", stdout(&good));
    let expected = "sometimes[0]: expected goal `virtual-open` in some of 5 runs, found it in none";
    for (arguments, exit) in [(&["--strict"] as &[&str], 9), (&[], 0)] {
        let warned = check(&[&["vain.toml", "--seeds", "5"], arguments].concat());
        assert_eq!(code(&warned), exit);
        let (line, text) = (stderr(&warned), stdout(&warned));
        assert!(
            line.starts_with("warning: vain.toml:") && line.trim_end().ends_with(expected),
            "{line}"
        );
        assert!(text.ends_with("5 seeds of each were run: 1 warnings\n"), "{text}");
    }
    let read = check(&["vain.toml", "--no-run", "--strict"]);
    assert_eq!(code(&read), 0, "{}", stderr(&read));
}

#[test]
fn lists_name_every_invariant_and_every_mutant() {
    let text = stdout(&sim(root(), &["list", "invariants"]));
    let first = |text: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_string).collect()
    };
    assert_eq!(first(&text), fairway_sim::invariant::names());
    let text = stdout(&sim(root(), &["list", "mutants"]));
    let ids: Vec<&str> = fairway_core::MUTANTS.iter().map(|m| m.id).collect();
    assert_eq!(first(&text), ids);
}
