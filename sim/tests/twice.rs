//! The same seed gives the same run, in another process and another environment.

use std::path::Path;
use std::process::Command;

use fairway_sim::engine::check_available;
use fairway_sim::scenario::Engine;

const STORIES: [&str; 2] = ["smoke/plain", "smoke/lost_and_doubled"];
const SEEDS: &str = "0,1,2";

/// Prints the digests of some seeds in a process of its own.
fn digests(
    engine: Engine,
    story: &str,
    folder: &Path,
    environment: &[(&str, &str)],
) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway-sim"));
    command.args(["digests", story, "--seeds", SEEDS, "--engine", engine.name()]);
    command.current_dir(folder).env_clear().envs(environment.iter().copied());
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story} on {}: {errors}", engine.name());
    String::from_utf8(output.stdout)
        .expect("digests are ASCII")
        .lines()
        .map(str::to_string)
        .collect()
}

/// Goal: nothing outside a seed id reaches a run: not the language, the time zone, the home, the working directory, the size of the
/// environment, nor where the process happens to be loaded.
/// Method: the digests of the same seeds from two processes that differ in all of these, on every engine.
#[test]
fn two_processes_agree_on_every_digest() {
    let elsewhere = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crowd = "x".repeat(10_000);
    let strange = [
        ("LANG", "tr_TR.UTF-8"),
        ("LC_ALL", "ar_EG.UTF-8"),
        ("TZ", "Pacific/Chatham"),
        ("HOME", "/nowhere"),
        ("USER", "somebody"),
        ("TMPDIR", "/nowhere/either"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("MADSIM_TEST_SEED", "77"),
        ("MADSIM_TEST_TIME_LIMIT", "1"),
        ("CROWD", crowd.as_str()),
    ];
    for engine in Engine::ALL {
        check_available(engine).expect("test builds hold every engine");
        for story in STORIES {
            let plain = digests(engine, story, here, &[("LANG", "C"), ("TZ", "UTC")]);
            assert_eq!(plain.len(), 3, "{story} on {}", engine.name());
            assert!(plain.iter().all(|d| d.len() == 64), "{story} on {}", engine.name());
            assert!(plain[0] != plain[1], "{story} on {}: two seeds, one run", engine.name());
            let other = digests(engine, story, elsewhere, &strange);
            assert_eq!(plain, other, "{story} on {}", engine.name());
        }
    }
}
