//! The command line: one file a command.

mod at_commit;
mod audit;
mod bench;
mod campaign;
mod check;
mod corpus;
mod demo;
mod diff;
mod doctor;
mod exhaust;
mod failure;
mod junit;
mod list;
mod mutants;
mod progress;
mod replay;
mod resume;
mod run;
mod shrink;
mod source;
mod usage;

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::evm::Unavailable;
use crate::scenario::{Backend, Engine, Library, Scenario, Setting};
use crate::seed_id::Crypto;

/// Seeded simulation of Fairway nodes: find a bug, shrink it, explain it, replay it.
///
/// Without a command it shows a demonstration: a thousand seeds of the real node, then one planted bug, found and explained.
#[derive(Parser)]
#[command(name = "fairway-sim", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim                                        the demonstration
  fairway-sim run smoke --seeds 1000                 a thousand seeds of every smoke story
  fairway-sim run smoke --seeds 100 --engine all     on all three engines
  fairway-sim run negative                           every planted bug must be found
  fairway-sim replay 'smoke/plain#2a@…/reference'    the same run again, same digest
  fairway-sim check my_story.toml                    is this a good scenario?
  fairway-sim campaign plan smoke --seeds 40000 --shards 8 --out camp    work for eight machines

`fairway-sim <command> --help` has more of them.

Exit codes: 0 pass, 1 safety, 2 usage, 3 liveness, 4 non-determinism, 5 panic in the node,
6 budget exceeded, 7 bug of the harness, 8 stale bundle, 9 goal missed, 10 mutant survived.";

#[derive(Subcommand)]
enum Command {
    /// Show the demonstration: what happens without a command.
    Demo,
    /// Run scenarios over many seeds; a failure is shrunk and explained here.
    Run(run::RunArgs),
    /// Repeat one run exactly: a seed id, a bundle, or a file of the corpus.
    Replay(replay::ReplayArgs),
    /// Tell the story of one run, and what it comes to when one thing is taken away.
    Explain(replay::ExplainArgs),
    /// Shrink a failing run and write it as a bundle.
    Shrink(shrink::ShrinkArgs),
    /// Read scenario files and say what is wrong with them.
    Check(check::CheckArgs),
    /// Judge the logs of production nodes, and what they can enforce.
    Audit(audit::AuditArgs),
    /// Say where two runs part: two seeds, two engines, or two builds.
    Diff(diff::DiffArgs),
    /// Lose power at every driver step of one run, whatever is left.
    Exhaust(exhaust::ExhaustArgs),
    /// List scenarios, invariants, mutants, fault kinds.
    List(list::ListArgs),
    /// Print the JSON Schema of scenario files.
    Schema(list::SchemaArgs),
    /// Repeat every kept bug: mended ones must pass, planted ones must fail as they did.
    Corpus(corpus::CorpusArgs),
    /// Plan runs for many machines, run a share of them, merge and report what they came to.
    Campaign(campaign::CampaignArgs),
    /// Measure how soon planted bugs are found, and report it.
    Mutants(mutants::MutantsArgs),
    /// Prove that this build and this machine simulate deterministically.
    Doctor(doctor::DoctorArgs),
    /// Measure: seeds a second, replay, many channels, beside the floor.
    Bench(bench::BenchArgs),
    /// Print the digests of some seeds; the determinism check calls it in another process.
    #[command(hide = true)]
    Digests(doctor::DigestsArgs),
}

/// How to run, for every command that runs something.
#[derive(Args, Clone, Debug)]
struct HowArgs {
    /// The engine.
    #[arg(long, value_enum, default_value_t = EngineArg::Reference)]
    engine: EngineArg,
    /// Real secp256k1 signatures, or toy ones for long campaigns.
    #[arg(long, value_enum, default_value_t = CryptoArg::Real)]
    crypto: CryptoArg,
    /// Plant this bug (see `list mutants`); `none` takes a negative story's own bug out.
    #[arg(long, value_name = "ID")]
    mutant: Option<String>,
    /// Take this invariant out: to see what comes of a bug that it would stop at once.
    #[arg(long, value_name = "INVARIANT")]
    ignore: Vec<String>,
    /// Of a thousand prefixes of a run, at how many the enforcer plays the whole game on the contract's model.
    #[arg(long = "search", value_name = "PERMILLE", default_value_t = crate::campaign::SEARCH_PERMILLE)]
    search_permille: u64,
    /// Override a key of the scenario: `--set phases.chaos=90s`, `--set chain.backend=evm`.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineArg {
    Reference,
    Madsim,
    Turmoil,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CryptoArg {
    Real,
    Toy,
}

fn setting(text: &str) -> Result<Setting, String> {
    let (key, value) =
        text.split_once('=').ok_or("expected KEY=VALUE, such as phases.chaos=90s")?;
    Ok((key.to_string(), value.to_string()))
}

impl EngineArg {
    fn engines(self) -> Vec<Engine> {
        match self {
            EngineArg::Reference => vec![Engine::Reference],
            EngineArg::Madsim => vec![Engine::Madsim],
            EngineArg::Turmoil => vec![Engine::Turmoil],
            EngineArg::All => Engine::ALL.to_vec(),
        }
    }
}

impl HowArgs {
    fn crypto(&self) -> Crypto {
        match self.crypto {
            CryptoArg::Real => Crypto::Real,
            CryptoArg::Toy => Crypto::Toy,
        }
    }

    /// Scenarios that this process can run as they were asked for.
    fn load(&self, what: &str) -> Result<Vec<Scenario>, Stop> {
        let scenarios = load(what, &self.settings)?;
        for scenario in &scenarios {
            check_backend(scenario.name(), scenario.backend(), self.crypto())?;
        }
        Ok(scenarios)
    }

    fn how(&self, engine: Engine) -> crate::campaign::How {
        let crypto = self.crypto();
        let (mutant, settings) = (self.mutant.clone(), self.settings.clone());
        let (ignore, search_permille) = (self.ignore.clone(), self.search_permille);
        crate::campaign::How { engine, crypto, mutant, ignore, settings, search_permille }
    }

    /// What clap cannot check: names that are defined elsewhere.
    fn check(&self) -> Result<(), Stop> {
        self.mutant.as_deref().map_or(Ok(()), |id| check_mutant("--mutant", id))?;
        check_ignored(&self.ignore)
    }
}

/// Whether there is such a bug to plant.
fn check_mutant(place: &str, id: &str) -> Result<(), Stop> {
    let ids = || fairway_core::MUTANTS.iter().map(|m| m.id).chain([crate::campaign::NO_MUTANT]);
    known(place, "a mutant (see `list mutants`)", id, ids())
}

/// Whether there are such invariants to take out.
fn check_ignored(names: &[String]) -> Result<(), Stop> {
    let known_names = || crate::invariant::names().iter().copied();
    let what = "an invariant (see `list invariants`)";
    names.iter().try_for_each(|name| known("--ignore", what, name, known_names()))
}

fn known(
    place: &str,
    what: &str,
    found: &str,
    names: impl Iterator<Item = &'static str> + Clone,
) -> Result<(), Stop> {
    if names.clone().any(|name| name == found) {
        return Ok(());
    }
    let hint = crate::scenario::closest(found, names).map(|m| format!("; did you mean `{m}`?"));
    let hint = hint.unwrap_or_default();
    Err(Stop::usage(format!("{place}: expected {what}, found `{found}`{hint}")))
}

/// Why a command ends: its exit code, and a line for stderr.
struct Stop {
    code: u8,
    line: Option<String>,
}

impl Stop {
    fn usage(line: impl Into<String>) -> Stop {
        Stop { code: 2, line: Some(line.into()) }
    }

    fn harness(line: impl Into<String>) -> Stop {
        Stop { code: 7, line: Some(line.into()) }
    }

    fn code(code: u8) -> Stop {
        Stop { code, line: None }
    }
}

type Outcome = Result<(), Stop>;

/// Scenarios by name, group, file or folder.
fn load(what: &str, settings: &[Setting]) -> Result<Vec<Scenario>, Stop> {
    Library::new().load(what, settings).map_err(|e| Stop::usage(e.to_string().trim_end()))
}

/// Whether this process can run what `name` asks for.
fn check_backend(name: &str, backend: Backend, crypto: Crypto) -> Result<(), Stop> {
    let can = match (backend, crypto) {
        (Backend::Model, _) => Ok(()),
        (Backend::Evm, Crypto::Real) => crate::evm::check_available(),
        (Backend::Evm, Crypto::Toy) => Err(Unavailable::ToySignatures),
    };
    can.map_err(|why| {
        Stop::usage(format!("{name}: chain.backend: expected \"model\", found \"evm\": {why}"))
    })
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let words: Vec<String> = std::env::args().skip(1).collect();
            eprintln!("error: {}", usage::one_line(&error, &Cli::command(), &words));
            return ExitCode::from(2);
        }
        // Help and version are no mistakes.
        Err(error) => error.exit(),
    };
    crate::campaign::quiet_panics();
    let outcome = match cli.command {
        None | Some(Command::Demo) => demo::demo(),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Replay(args)) => replay::replay(&args),
        Some(Command::Explain(args)) => replay::explain(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Doctor(args)) => doctor::doctor(&args),
        Some(Command::Digests(args)) => doctor::digests(&args),
        Some(Command::Audit(args)) => audit::audit(&args),
        Some(Command::Diff(args)) => diff::diff(&args),
        Some(Command::Exhaust(args)) => exhaust::exhaust(&args),
        Some(Command::List(args)) => list::list(&args),
        Some(Command::Schema(args)) => list::schema(&args),
        Some(Command::Shrink(args)) => shrink::shrink(&args),
        Some(Command::Corpus(args)) => corpus::corpus(&args),
        Some(Command::Campaign(args)) => campaign::campaign(&args),
        Some(Command::Mutants(args)) => mutants::mutants(&args),
        Some(Command::Bench(args)) => bench::bench(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if let Some(line) = stop.line {
                eprintln!("error: {line}");
            }
            ExitCode::from(stop.code)
        }
    }
}

/// 12345678 as `12,345,678`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// How many threads to use when nothing was said.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
