//! `campaign run`: one shard of a campaign.

use clap::Args;

use super::PlaceArgs;
use crate::campaign::{CampaignPlan, Part, Results, Sum, Told, Unit, run_units, todo};
use crate::cli::progress::Progress;
use crate::cli::run::{Share, share, threads};
use crate::cli::{Outcome, Stop, thousands, workers};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ShardArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Which shard, from 0: `3/8`; or `all`. Without it JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID says.
    #[arg(long, value_name = "I/N", value_parser = which)]
    shard: Option<Which>,
    /// Threads; all cores by default.
    #[arg(short = 'j', long, value_parser = threads)]
    jobs: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim campaign run camp --shard 3/8              the fourth of eight shards
  fairway-sim campaign run camp --shard all -j 4         all of them, one after the other
  SLURM_ARRAY_TASK_ID=3 fairway-sim campaign run camp    as a job of an array
  fairway-sim campaign run /mnt/plan.json --results s3://bucket/camp

A shard ends with 0 when it is complete, whatever it found: `campaign merge` judges. It is run again after a kill with the
same line, and goes on where it was.";

/// Which share of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    One { shard: u64, of: u64 },
}

fn which(text: &str) -> Result<Which, String> {
    if text == "all" {
        return Ok(Which::All);
    }
    match share(text) {
        Ok(Share { shard, of }) => Ok(Which::One { shard, of }),
        Err(why) => Err(why.replace("I/N such as 0/8,", "I/N such as 0/8, or all,")),
    }
}

pub fn run(args: &ShardArgs) -> Outcome {
    let (plan, store) = args.place.open()?;
    super::check_build(&args.place.what, &plan)?;
    let fuzzer = super::fuzzer(&plan)?;
    let (shard, said_by) = shard_of(args.shard, &plan, |name| std::env::var(name).ok())?;
    for entry in &plan.work.entries {
        crate::engine::check_available(entry.engine).map_err(Stop::usage)?;
    }
    let results = Results::new(&store, &plan.work);
    let todo = todo(&plan, &results, shard).map_err(super::stop)?;
    let name = match shard {
        Some(shard) => format!("shard {shard}/{}", plan.shards),
        None => "every shard".to_string(),
    };
    let all = todo.units.len() + todo.finished;
    println!(
        "campaign plan {}: {name} ({said_by}), {} units",
        super::short(&plan.id),
        thousands(all as u64)
    );
    if todo.finished > 0 {
        println!("  {} units were finished before and are not run again", todo.finished);
    }
    let of_seeds = |unit: &&Unit| matches!(plan.work.part(unit.entry), Some(Part::Scenario(_)));
    let runs: u64 = todo.units.iter().filter(of_seeds).map(|unit| unit.end - unit.first).sum();
    let progress = Progress::new(runs, false);
    let workers = args.jobs.unwrap_or_else(workers);
    let ran = {
        let unit = |number: usize, unit: Unit, sum: &Sum| {
            let part = plan.work.part(unit.entry).expect("units are the plan's");
            let runs = match part {
                Part::Scenario(_) => "seeds",
                Part::Target(_) => "inputs",
            };
            progress.say(&format!(
                "  unit {number} of {}: {}, {runs} {}..{}, {} failed",
                todo.units.len(),
                part.label(),
                unit.first,
                unit.end,
                sum.failed()
            ));
        };
        let told = Told { run: &|r| progress.seen(r), unit: &unit };
        run_units(&plan, &results, &todo.units, workers, fuzzer.as_ref(), told)
    };
    progress.finish();
    let ran = ran.map_err(super::stop)?;
    let inputs = match ran.inputs {
        0 => String::new(),
        n => format!("; {} inputs, {} failed", thousands(n), thousands(ran.inputs_failed)),
    };
    println!(
        "{name} complete: {} runs now, {} of them failed{inputs}; results in {}",
        thousands(ran.runs),
        thousands(ran.failed),
        store.place()
    );
    Ok(())
}

/// The variables of schedulers that number the jobs of an array from 0.
const VARIABLES: [&str; 2] = ["JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID"];

/// Which shard, `None` for all, and who said so.
fn shard_of(
    flag: Option<Which>,
    plan: &CampaignPlan,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Option<u64>, &'static str), Stop> {
    let shards = plan.shards;
    match flag {
        Some(Which::All) => return Ok((None, "--shard")),
        Some(Which::One { shard, of }) if of == shards => return Ok((Some(shard), "--shard")),
        Some(Which::One { shard, of }) => {
            return Err(Stop::usage(format!(
                "--shard: expected one of the plan's {shards} shards, found {shard}/{of}: say {shard}/{shards}, or plan again with --shards {of}"
            )));
        }
        None => {}
    }
    for name in VARIABLES {
        let Some(value) = variable(name) else { continue };
        return match value.parse().ok().filter(|shard| *shard < shards) {
            Some(shard) => Ok((Some(shard), name)),
            None => Err(Stop::usage(format!(
                "{name}: expected 0 to {}, for the plan's {shards} shards, found `{value}`",
                shards - 1
            ))),
        };
    }
    if shards == 1 {
        return Ok((Some(0), "the only one"));
    }
    Err(Stop::usage(format!(
        "--shard: expected 0/{shards} to {}/{shards}, or all, found none; nor is there {}",
        shards - 1,
        VARIABLES.join(" or ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Work;

    fn plan(shards: u64) -> CampaignPlan {
        let work = Work {
            build: "b".into(),
            seeds: (0, 1),
            unit_seeds: 1,
            real_percent: 0,
            mutant: None,
            ignore: Vec::new(),
            search_permille: 0,
            settings: Default::default(),
            entries: Vec::new(),
            fuzz: None,
        };
        CampaignPlan::new(work, shards)
    }

    /// Goal: the flag wins over the variables, a number that is no shard is refused by the name of who said it.
    #[test]
    fn the_shard_is_said_by_the_flag_or_by_the_scheduler() {
        let one = |shard, of| Some(Which::One { shard, of });
        type Case<'a> = (Option<Which>, &'a [(&'a str, &'a str)], Result<Option<u64>, &'a str>);
        let cases: &[Case<'_>] = &[
            (one(1, 4), &[("JOB_COMPLETION_INDEX", "2")], Ok(Some(1))),
            (Some(Which::All), &[], Ok(None)),
            (None, &[("JOB_COMPLETION_INDEX", "2"), ("SLURM_ARRAY_TASK_ID", "3")], Ok(Some(2))),
            (None, &[("SLURM_ARRAY_TASK_ID", "3")], Ok(Some(3))),
            (None, &[("SLURM_ARRAY_TASK_ID", "4")], Err("SLURM_ARRAY_TASK_ID: expected 0 to 3")),
            (None, &[("JOB_COMPLETION_INDEX", "x")], Err("JOB_COMPLETION_INDEX: expected 0 to 3")),
            (one(1, 5), &[], Err("--shard: expected one of the plan's 4 shards, found 1/5")),
            (None, &[], Err("--shard: expected 0/4 to 3/4, or all, found none")),
        ];
        for (flag, variables, expected) in cases {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_string())
            };
            match (shard_of(*flag, &plan(4), variable), expected) {
                (Ok((shard, _)), Ok(expected)) => assert_eq!(shard, *expected),
                (Err(stop), Err(start)) => {
                    let line = stop.line.unwrap_or_default();
                    assert!(stop.code == 2 && line.starts_with(start), "{line}");
                }
                (found, expected) => panic!("{:?}, expected {expected:?}", found.map(|s| s.0).ok()),
            }
        }
        assert_eq!(shard_of(None, &plan(1), |_| None).map(|s| s.0).ok(), Some(Some(0)));
    }

    #[test]
    fn a_shard_is_written_from_0() {
        assert_eq!(which("0/1"), Ok(Which::One { shard: 0, of: 1 }));
        assert_eq!(which("all"), Ok(Which::All));
        assert_eq!(which("8/8").unwrap_err(), "expected 0/8 to 7/8, found `8/8`");
        for wrong in ["", "3", "a/b", "-1/2", "0/0"] {
            assert!(which(wrong).unwrap_err().starts_with("expected I/N such as 0/8"), "{wrong}");
        }
    }
}
