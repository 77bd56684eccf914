//! `mutants`: how well planted bugs are found.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::failure::replay_line;
use super::run::{duration, threads};
use super::{Outcome, Stop, check_mutant, thousands, workers};
use crate::campaign::{Store, StoreError};
use crate::detection::{
    self, Arm, Clean, Course, HarnessBug, Record, SEEN, Survey, Trial, Witness, put_survey,
    put_trial, put_witness,
};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MutantsArgs {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim mutants run --budget 10m                   ten minutes of trials, every mutant as often as the others
  fairway-sim mutants run --mutant voucher-lowered       one mutant, all its trials
  fairway-sim mutants report                             what they have come to, in reports/detection

A measurement that was stopped goes on where it was. `list mutants` names the bugs, `run <scenario> --mutant <id>` shows one.";

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Plant every bug, and run until it is found, many times.
    Run(TrialsArgs),
    /// Say how soon which bug is found: sentences here, tables and a picture in a folder.
    Report(PagesArgs),
}

#[derive(Args, Clone, Debug)]
struct TrialsArgs {
    /// Stop after this time; what is finished is kept.
    #[arg(long, value_name = "10m", value_parser = duration)]
    budget: Option<Duration>,
    /// This mutant alone; may be given again.
    #[arg(long, value_name = "ID")]
    mutant: Vec<String>,
    /// Trials of each mutant: 30 with everything, 8 with a part of it, or fewer; none surveys alone.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=30))]
    repetitions: u64,
    /// Threads; all cores by default.
    #[arg(short = 'j', long, value_parser = threads)]
    jobs: Option<usize>,
    /// Where the results are kept: a folder, `file://` or `s3://`.
    #[arg(long, default_value = PLACE)]
    out: String,
}

#[derive(Args, Clone, Debug)]
struct PagesArgs {
    /// Where the results were kept.
    #[arg(long = "from", default_value = PLACE)]
    place: String,
    /// Where the report goes.
    #[arg(long, default_value = "reports/detection")]
    out: PathBuf,
}

const PLACE: &str = "target/fairway/mutants";

pub fn mutants(args: &MutantsArgs) -> Outcome {
    match &args.what {
        What::Run(args) => run(args),
        What::Report(args) => report(args),
    }
}

/// One piece of work of a thread.
enum Task<'a> {
    Survey { mutant: &'a str },
    Witness { mutant: &'a str },
    Trial { mutant: &'a str, course: &'a Course, repetition: u64 },
}

/// What it came to; `None` when time was over before.
enum Done {
    Survey(Survey),
    Witness(Witness),
    Trial(Option<Trial>),
}

fn run(args: &TrialsArgs) -> Outcome {
    args.mutant.iter().try_for_each(|id| check_mutant("--mutant", id))?;
    let asked = |id: &&str| args.mutant.is_empty() || args.mutant.iter().any(|m| m == id);
    let ids: Vec<&str> = fairway_core::MUTANTS.iter().map(|m| m.id).filter(asked).collect();
    let store = Store::open(&args.out).map_err(failed)?;
    let known = Record::read(&store).map_err(failed)?;
    let courses = Arm::ALL.map(Course::of).into_iter().collect::<Result<Vec<_>, _>>();
    let courses = courses.map_err(|e| Stop::harness(e.to_string()))?;
    let tasks = tasks(&ids, &courses, &known, args.repetitions);
    println!(
        "{} mutants, {} pieces of work, {} finished before, on {} threads",
        ids.len(),
        thousands(tasks.len() as u64),
        thousands((known.trials.len() + known.surveys.len() + known.witnesses.len()) as u64),
        args.jobs.unwrap_or_else(workers)
    );
    let finished = work(args, &courses[0], &tasks, &store)?;
    let record = Record::read(&store).map_err(failed)?;
    let survivors: Vec<&str> = ids.iter().copied().filter(|id| survived(&record, id)).collect();
    if finished < tasks.len() {
        let left = thousands((tasks.len() - finished) as u64);
        println!("time is over, {left} pieces of work are left: the same line again goes on");
    }
    println!("  fairway-sim mutants report --from {}", args.out);
    if survivors.is_empty() {
        return Ok(());
    }
    println!("SURVIVED every trial of all scenarios: {}", survivors.join(", "));
    Err(Stop::code(10))
}

/// Whether all scenarios were tried to the end, and a bug was never found.
fn survived(record: &Record, mutant: &str) -> bool {
    let trials = record.trials.iter().filter(|t| t.mutant == mutant && t.arm == Arm::Everything);
    trials.clone().count() > 0 && trials.into_iter().all(|t| t.found.is_none())
}

/// What is left to do, so that at any moment every mutant was tried as often as the others.
fn tasks<'a>(
    ids: &[&'a str],
    courses: &'a [Course],
    known: &Record,
    repetitions: u64,
) -> Vec<Task<'a>> {
    let surveys = ids.iter().filter(|id| !known.surveyed(id));
    let mut tasks: Vec<Task<'a>> = surveys.map(|mutant| Task::Survey { mutant }).collect();
    for repetition in 0..repetitions {
        for course in courses.iter().filter(|c| repetition < c.arm.repetitions()) {
            let arm = course.arm;
            let left = ids.iter().filter(|id| !known.has(id, arm, repetition, arm.limit()));
            tasks.extend(left.map(|mutant| Task::Trial { mutant, course, repetition }));
        }
    }
    let witnesses = ids.iter().filter(|id| !known.witnessed(id));
    tasks.extend(witnesses.map(|mutant| Task::Witness { mutant }));
    // A report wants a trial of each before it wants to know who else sees it.
    tasks.sort_by_key(|task| match task {
        Task::Survey { .. } => 0,
        Task::Trial { course, repetition: 0, .. } if course.arm == Arm::Everything => 1,
        Task::Witness { .. } => 2,
        Task::Trial { .. } => 3,
    });
    tasks
}

/// Does what there is time for, and keeps each result at once. How many were finished.
fn work(args: &TrialsArgs, all: &Course, tasks: &[Task<'_>], store: &Store) -> Result<usize, Stop> {
    let started = Instant::now();
    let go_on = || args.budget.is_none_or(|budget| started.elapsed() < budget);
    let surveys = tasks.iter().any(|t| matches!(t, Task::Survey { .. }));
    let clean = if surveys { Some(Clean::of(all).map_err(harness)?) } else { None };
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let mut finished = 0;
    let mut said = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or_else(workers) {
            let (sender, next, go_on, clean) = (sender.clone(), &next, &go_on, clean.as_ref());
            scope.spawn(move || {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Who receives is gone when a result could not be kept.
                    if !go_on() || sender.send(one(task, all, clean, go_on)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for result in results {
            match result.map_err(harness)? {
                Done::Survey(survey) => put_survey(store, &survey).map_err(failed)?,
                Done::Witness(witness) => put_witness(store, &witness).map_err(failed)?,
                Done::Trial(Some(trial)) => put_trial(store, &trial).map_err(failed)?,
                Done::Trial(None) => continue,
            }
            finished += 1;
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                eprintln!("  {finished} of {}, {} s", tasks.len(), started.elapsed().as_secs());
            }
        }
        Ok(finished)
    })
}

/// How often a line says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

fn one(
    task: &Task<'_>,
    all: &Course,
    clean: Option<&Clean>,
    go_on: &dyn Fn() -> bool,
) -> Result<Done, HarnessBug> {
    match (task, clean) {
        (Task::Survey { mutant }, Some(clean)) => Survey::run(all, clean, mutant).map(Done::Survey),
        (Task::Survey { .. }, None) => unreachable!("they were run because there is a survey"),
        (Task::Witness { mutant }, _) => {
            let story = format!("negative/{}", mutant.replace('-', "_"));
            Witness::run(all, &story, mutant).map(Done::Witness)
        }
        (Task::Trial { mutant, course, repetition }, _) => {
            let limit = course.arm.limit();
            Trial::run(course, mutant, *repetition, limit, go_on).map(Done::Trial)
        }
    }
}

fn report(args: &PagesArgs) -> Outcome {
    let store = Store::open(&args.place).map_err(failed)?;
    let record = Record::read(&store).map_err(failed)?;
    if record.trials.is_empty() {
        return Err(Stop::usage(format!(
            "{}: expected trials of this build, found none: run `fairway-sim mutants run` first",
            store.place()
        )));
    }
    let page = detection::page(&record, &replay_line).map_err(Stop::harness)?;
    println!("{}", page.text());
    let seen =
        serde_json::to_string_pretty(&record.seen()).map_err(|e| Stop::harness(e.to_string()))?;
    let files = [
        ("README.md", page.markdown()),
        ("detection.html", page.html()),
        (page.picture.file, page.picture.svg.clone()),
        (SEEN, seen + "\n"),
    ];
    let place = args.out.display();
    std::fs::create_dir_all(&args.out).map_err(|e| Stop::usage(format!("--out: {place}: {e}")))?;
    for (name, text) in files {
        std::fs::write(args.out.join(name), text)
            .map_err(|e| Stop::usage(format!("{place}/{name}: {e}")))?;
        println!("  {place}/{name}");
    }
    Ok(())
}

fn failed(error: StoreError) -> Stop {
    Stop::usage(error.to_string())
}

fn harness(bug: HarnessBug) -> Stop {
    Stop::harness(bug.to_string())
}
