//! `audit`: what the logs of production nodes prove, and what they are worth.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fairway_core::types::Lsn;

use super::{Outcome, Stop};
use crate::audit::{Audit, AuditVerdict, Source, cross, judge};

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// Data directories of nodes that are not running, or exports of them; several are compared with each other.
    #[arg(required = true, value_name = "DIR|EXPORT")]
    logs: Vec<PathBuf>,
    /// Judge each log as it was right after this record: what would have been enforceable then.
    #[arg(long, value_name = "LSN")]
    upto: Option<u64>,
    /// How to say it.
    #[arg(long, value_enum, default_value_t = AuditFormat::Text)]
    format: AuditFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditFormat {
    /// Sentences and money.
    Text,
    /// One JSON document.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  fairway-sim audit /var/lib/fairway                     one node's log: what holds, what it is worth
  fairway-sim audit demo/alice demo/bob demo/hub         the same of three, and what they say together
  fairway-sim audit demo/bob --upto 120                  what he could have enforced in the middle of it
  fairway-sim audit alice.jsonl --format json            an export that `fairway events export` wrote

Nothing is written, and a torn batch is left as it is.

Exit codes: 0 everything holds and every entitlement can be enforced; 1 something does not; 2 no log there;
7 the enforcer contradicts itself.";

pub fn audit(args: &AuditArgs) -> Outcome {
    let mut subjects = Vec::new();
    for path in &args.logs {
        let mut source = Source::read(path).map_err(|e| Stop {
            code: if e.is_damage() { 1 } else { 2 },
            line: Some(e.to_string()),
        })?;
        if let Some(last) = args.upto {
            source.cut_after(Lsn(last));
        }
        subjects.push(judge(source));
    }
    let together = cross(&subjects);
    let audit = Audit { subjects, together };
    match args.format {
        AuditFormat::Text => print!("{}", audit.text()),
        AuditFormat::Json => println!("{:#}", audit.json()),
    }
    match audit.verdict() {
        AuditVerdict::Pass => Ok(()),
        AuditVerdict::Safety => Err(Stop::code(1)),
        AuditVerdict::Harness => Err(Stop::code(7)),
    }
}
