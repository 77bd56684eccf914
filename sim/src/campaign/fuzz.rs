//! Ranges of fuzz inputs as a part of a campaign's work.
//!
//! The bodies are in a program of their own, `fairway-fuzz`, because they are built on a core without planted bugs. It makes input N of a
//! target from the number alone; so a range is to a target what seeds are to a scenario, and its sum has the same form: an input is a
//! run, its number stands for the seed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use super::{Failed, Sum};

/// Inputs of one target in a unit of work.
pub const UNIT_INPUTS: u64 = 10_000;

/// The variable that names the program.
pub const FUZZ_VARIABLE: &str = "FAIRWAY_FUZZ";

/// The version of what the program says.
const FUZZ_SCHEMA: u32 = 1;

/// The exit code of a range in which a body panicked.
const FAILED_CODE: i32 = 5;

/// What is fuzzed beside what is simulated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FuzzWork {
    /// The build of the program, 64 hexadecimal digits: another one would make other inputs.
    pub build: String,
    /// The first input, and the one after the last: the same for every target.
    pub inputs: (u64, u64),
    /// Inputs in a unit.
    pub unit_inputs: u64,
    /// The targets, sorted.
    pub targets: Vec<String>,
}

/// The program with the bodies, asked once what it is.
#[derive(Clone, Debug)]
pub struct Fuzzer {
    program: PathBuf,
    listed: Listed,
}

/// What a range of inputs came to.
#[derive(Clone, Debug)]
pub struct Fuzzed {
    /// In numbers.
    pub sum: Sum,
    /// The bytes of the failures that are told, by their hashes.
    pub inputs: BTreeMap<String, Vec<u8>>,
}

/// Why inputs cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum FuzzError {
    /// There is no such program.
    #[error(
        "{program}: expected the program with the fuzz bodies: {source}: build it with `cargo build --release -p fairway-fuzz` and put it beside this one, or name it in {FUZZ_VARIABLE}"
    )]
    Missing {
        /// Where it was looked for.
        program: String,
        /// Why it does not start.
        source: std::io::Error,
    },
    /// It is of another build.
    #[error(
        "{program}: expected build {expected} of the plan, found {found}: every shard needs the fairway-fuzz that made the plan, or make a new plan"
    )]
    Build {
        /// The program.
        program: String,
        /// Eight digits of the plan's.
        expected: String,
        /// Eight digits of its own.
        found: String,
    },
    /// It has no such target.
    #[error("--fuzz: expected a target of {program}, one of {known}, found `{found}`")]
    Target {
        /// The program.
        program: String,
        /// What it has.
        known: String,
        /// What was asked for.
        found: String,
    },
    /// It did not answer as it should.
    #[error("`{line}`: expected a record as JSON, found {found}; the line alone repeats it")]
    Answer {
        /// The command.
        line: String,
        /// What came instead.
        found: String,
    },
}

/// What `list --json` says.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    schema: u32,
    build: String,
    targets: Vec<String>,
    /// Targets that must fail: they are run when they are asked for, and not offered.
    planted: Vec<String>,
}

/// What `run --json` says.
#[derive(Debug, Deserialize)]
struct Record {
    schema: u32,
    build: String,
    target: String,
    inputs: (u64, u64),
    failed: u64,
    digest: String,
    failures: Vec<Failure>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    input: u64,
    hash: String,
    what: String,
    bytes: String,
}

impl Fuzzer {
    /// The program that `FAIRWAY_FUZZ` names, or the one beside this.
    ///
    /// # Errors
    /// [`FuzzError::Missing`] when there is none, [`FuzzError::Answer`] when it is something else.
    pub fn find() -> Result<Fuzzer, FuzzError> {
        let name = format!("fairway-fuzz{}", std::env::consts::EXE_SUFFIX);
        let beside = || Some(std::env::current_exe().ok()?.with_file_name(&name));
        let named = std::env::var_os(FUZZ_VARIABLE).map(PathBuf::from);
        Fuzzer::open(named.or_else(beside).unwrap_or_else(|| PathBuf::from(&name)))
    }

    /// This program.
    ///
    /// # Errors
    /// As [`Fuzzer::find`].
    pub fn open(program: PathBuf) -> Result<Fuzzer, FuzzError> {
        let call = Call { program: &program, arguments: vec!["list".into(), "--json".into()] };
        let output = call.output()?;
        let listed: Listed = call.parse(&output)?;
        match listed.schema {
            FUZZ_SCHEMA => Ok(Fuzzer { program, listed }),
            other => Err(call.answer(format!("schema {other}"))),
        }
    }

    /// Its build, 64 hexadecimal digits.
    pub fn build(&self) -> &str {
        &self.listed.build
    }

    /// Refuses work of another build, and targets that there are not.
    ///
    /// # Errors
    /// [`FuzzError::Build`], [`FuzzError::Target`].
    pub fn check(&self, work: &FuzzWork) -> Result<(), FuzzError> {
        let program = self.program.display().to_string();
        let short = |id: &str| id.chars().take(8).collect();
        if work.build != self.listed.build {
            let (expected, found) = (short(&work.build), short(&self.listed.build));
            return Err(FuzzError::Build { program, expected, found });
        }
        let Listed { targets, planted, .. } = &self.listed;
        let unknown = |name: &&String| !targets.contains(name) && !planted.contains(name);
        match work.targets.iter().find(unknown) {
            None => Ok(()),
            Some(found) => {
                Err(FuzzError::Target { program, known: targets.join(", "), found: found.clone() })
            }
        }
    }

    /// Runs a range of inputs of one target.
    ///
    /// # Errors
    /// [`FuzzError`] when the program died or answered for something else; a body that panics is no error.
    pub fn run(
        &self,
        target: &str,
        inputs: Range<u64>,
        workers: usize,
    ) -> Result<Fuzzed, FuzzError> {
        let range = format!("{}..{}", inputs.start, inputs.end);
        let jobs = workers.to_string();
        let arguments = ["run", target, "--inputs", &range, "-j", &jobs, "--json"];
        let call = Call { program: &self.program, arguments: arguments.map(String::from).to_vec() };
        let output = call.output()?;
        let record: Record = call.parse(&output)?;
        let whose = (record.schema, record.build.as_str(), record.target.as_str(), record.inputs);
        if whose != (FUZZ_SCHEMA, self.build(), target, (inputs.start, inputs.end)) {
            return Err(call.answer("the record of something else".into()));
        }
        let inputs = record.failures.iter().map(|failure| {
            let bytes = alloy_primitives::hex::decode(&failure.bytes).ok();
            let bytes = bytes.filter(|b| blake3::hash(b).to_hex().as_str() == failure.hash);
            let other = || call.answer(format!("other bytes than {} says", failure.hash));
            Ok((failure.hash.clone(), bytes.ok_or_else(other)?))
        });
        let inputs: BTreeMap<String, Vec<u8>> = inputs.collect::<Result<_, FuzzError>>()?;
        Ok(Fuzzed { inputs, sum: record.into_sum() })
    }
}

impl Record {
    fn into_sum(self) -> Sum {
        let runs = self.inputs.1 - self.inputs.0;
        let passed = runs.saturating_sub(self.failed);
        let failed = |failure: Failure| Failed {
            seed: failure.input,
            verdict: "panic".into(),
            code: 5,
            what: failure.what,
            input: Some(failure.hash),
        };
        let counts = [("pass".to_string(), passed), ("panic".to_string(), self.failed)];
        Sum {
            runs,
            verdicts: counts.into_iter().filter(|(_, n)| *n > 0).collect(),
            failures: self.failures.into_iter().map(failed).collect(),
            traces: self.digest,
            ..Sum::default()
        }
    }
}

/// One call of the program.
struct Call<'a> {
    program: &'a PathBuf,
    arguments: Vec<String>,
}

impl Call<'_> {
    fn output(&self) -> Result<Output, FuzzError> {
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
        command.output().map_err(|source| FuzzError::Missing {
            program: self.program.display().to_string(),
            source,
        })
    }

    fn parse<T: for<'d> Deserialize<'d>>(&self, output: &Output) -> Result<T, FuzzError> {
        // An abort or an overflown stack ends the process: no unit is finished then, and nothing is blamed on an input.
        if !matches!(output.status.code(), Some(0 | FAILED_CODE)) {
            return Err(self.answer(format!("an end by {}", output.status)));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| self.answer(format!("none: {e}")))
    }

    fn answer(&self, found: String) -> FuzzError {
        let line = format!("{} {}", self.program.display(), self.arguments.join(" "));
        FuzzError::Answer { line, found }
    }
}

/// Where the bytes of a failing input are kept, below the campaign's place.
pub fn input_name(target: &str, hash: &str) -> String {
    format!("inputs/{target}/{hash}")
}

/// The line that repeats a failing input: from its bytes, or from its number where they are in a bucket.
pub fn repeat_line(place: &str, target: &str, failed: &Failed) -> String {
    let folder = place.strip_prefix("file://").unwrap_or(place);
    match &failed.input {
        Some(hash) if !folder.contains("://") => {
            format!("fairway-fuzz replay {target} {folder}/{}", input_name(target, hash))
        }
        _ => format!("fairway-fuzz replay {target} --input {}", failed.seed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CampaignPlan, Unit, Work, missing};
    use super::*;

    fn record(failed: u64, failures: Vec<Failure>) -> Record {
        Record {
            schema: FUZZ_SCHEMA,
            build: "b".into(),
            target: "wire_decode".into(),
            inputs: (10, 40),
            failed,
            digest: "d".into(),
            failures,
        }
    }

    #[test]
    fn an_input_is_a_run_and_its_number_is_the_seed() {
        let sum = record(0, Vec::new()).into_sum();
        assert_eq!((sum.runs, sum.passed(), sum.failed()), (30, 30, 0));
        let failure =
            Failure { input: 17, hash: "ab".into(), what: "x".into(), bytes: String::new() };
        let sum = record(2, vec![failure]).into_sum();
        assert_eq!((sum.runs, sum.passed(), sum.failed()), (30, 28, 2));
        assert_eq!((sum.failures[0].seed, sum.failures[0].code), (17, 5));
        assert_eq!(
            repeat_line("file:///camp", "wire_decode", &sum.failures[0]),
            "fairway-fuzz replay wire_decode /camp/inputs/wire_decode/ab"
        );
        assert_eq!(
            repeat_line("s3://bucket/camp", "wire_decode", &sum.failures[0]),
            "fairway-fuzz replay wire_decode --input 17"
        );
    }

    /// Goal: ranges of inputs are shared as seeds are, and what is missing of them is said. Method: a work of two targets alone.
    #[test]
    fn ranges_of_inputs_are_units_that_shards_share() {
        let work = Work {
            build: "b".into(),
            seeds: (0, 1),
            unit_seeds: 1,
            real_percent: 0,
            mutant: None,
            ignore: Vec::new(),
            search_permille: 0,
            settings: BTreeMap::new(),
            entries: Vec::new(),
            fuzz: Some(FuzzWork {
                build: "f".into(),
                inputs: (100, 350),
                unit_inputs: 100,
                targets: vec!["log_open".into(), "wire_decode".into()],
            }),
        };
        let plan = CampaignPlan::new(work, 4);
        let unit = |entry, first, end| Unit { entry, first, end };
        let shard: Vec<Unit> = plan.units_of(1).collect();
        assert_eq!(shard, [unit(0, 200, 300), unit(1, 300, 350)]);
        assert_eq!(plan.work.units().count(), 6);
        let label = |entry| plan.work.part(entry).map(|part| part.label());
        assert_eq!(label(1).as_deref(), Some("fuzz wire_decode"));
        assert_eq!(label(2), None);
        let finished = [(unit(0, 200, 300), String::new())].into();
        let missing = missing(&plan, &finished);
        assert_eq!((missing.runs, missing.inputs), (0, 400));
        assert_eq!(missing.by_shard, [(0, 2), (1, 1), (2, 1), (3, 1)].into());
        let read = CampaignPlan::read("here", &plan.to_bytes()).expect("a plan that was written");
        assert_eq!(read, plan);
        let mut empty = plan.work.clone();
        empty.fuzz.iter_mut().for_each(|fuzz| fuzz.unit_inputs = 0);
        let refused = CampaignPlan::read("here", &CampaignPlan::new(empty, 1).to_bytes());
        let line = refused.expect_err("a unit of nothing").to_string();
        assert_eq!(line, "here: work.fuzz.unit_inputs: expected at least 1, found 0");
    }

    #[test]
    fn a_program_that_is_missing_or_another_is_refused_with_what_to_do() {
        let missing = Fuzzer::open("/nowhere/fairway-fuzz".into()).expect_err("there is none");
        let line = missing.to_string();
        assert!(matches!(missing, FuzzError::Missing { .. }), "{line}");
        assert!(line.contains("cargo build --release -p fairway-fuzz"), "{line}");
        assert!(line.contains("or name it in FAIRWAY_FUZZ"), "{line}");
        // This very program of tests: it knows no `list --json`.
        let other = std::env::current_exe().expect("it runs");
        let other = Fuzzer::open(other).expect_err("it is no fuzzer");
        assert!(matches!(other, FuzzError::Answer { .. }), "{other}");
    }

    #[test]
    fn another_build_and_an_unknown_target_are_refused() {
        let listed = Listed {
            schema: FUZZ_SCHEMA,
            build: "abcdef0123".into(),
            targets: vec!["log_open".into(), "wire_decode".into()],
            planted: vec!["planted".into()],
        };
        let fuzzer = Fuzzer { program: "fairway-fuzz".into(), listed };
        let check = |build: &str, target: &str| {
            let targets = vec![target.to_string()];
            let work = FuzzWork { build: build.into(), inputs: (0, 1), unit_inputs: 1, targets };
            fuzzer.check(&work).map_err(|e| e.to_string())
        };
        assert_eq!(check("abcdef0123", "log_open"), Ok(()));
        assert_eq!(check("abcdef0123", "planted"), Ok(()));
        assert_eq!(
            check("abcdef0123", "wire").unwrap_err(),
            "--fuzz: expected a target of fairway-fuzz, one of log_open, wire_decode, found `wire`"
        );
        assert_eq!(
            check("0000000000", "log_open").unwrap_err(),
            "fairway-fuzz: expected build 00000000 of the plan, found abcdef01: every shard needs the fairway-fuzz that made the plan, or make a new plan"
        );
    }
}
