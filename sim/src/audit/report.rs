//! What an audit says: in sentences and money, or as one JSON document.

use std::fmt::Write as _;

use fairway_core::types::Amount;
use serde_json::{Value, json};

use super::judge::{Check, Found, Subject};
use crate::invariant::{Searched, Standing};

/// Some logs, everything that was found in them, and what they say together.
#[derive(Debug)]
pub struct Audit {
    /// One for each log.
    pub subjects: Vec<Subject>,
    /// What they say together; empty for one log.
    pub together: Vec<Check>,
}

/// The audit in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditVerdict {
    /// Everything that could be checked holds, and every entitlement can be enforced.
    Pass,
    /// Something does not hold, or somebody can enforce less than it is entitled to.
    Safety,
    /// The enforcer contradicts itself: a bug of this program.
    Harness,
}

impl Audit {
    /// The audit in one word.
    pub fn verdict(&self) -> AuditVerdict {
        let broken = |s: &Subject| s.checks.iter().any(Check::is_broken);
        let short = |s: &Subject| s.standings.iter().any(|s| !s.missing().is_zero());
        let bad = self.subjects.iter().any(|s| broken(s) || short(s));
        if bad || self.together.iter().any(Check::is_broken) {
            return AuditVerdict::Safety;
        }
        // In a log that no correct node wrote, the oracles may differ with good reason.
        if self.subjects.iter().any(|s| s.contradiction.is_some()) {
            return AuditVerdict::Harness;
        }
        AuditVerdict::Pass
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.subjects.iter().for_each(|subject| tell(subject, &mut out));
        if !self.together.is_empty() {
            out.push_str("The logs together\n");
            self.together.iter().for_each(|check| tell_check(check, &mut out));
        }
        out.push_str(match self.verdict() {
            AuditVerdict::Pass => "Everything that these logs can show holds.\n",
            AuditVerdict::Safety => "SAFETY: something above does not hold.\n",
            AuditVerdict::Harness => "The enforcer contradicts itself: a bug of this program.\n",
        });
        out
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let logs: Vec<Value> = self.subjects.iter().map(subject_json).collect();
        let verdict = match self.verdict() {
            AuditVerdict::Pass => "pass",
            AuditVerdict::Safety => "safety",
            AuditVerdict::Harness => "harness",
        };
        json!({ "schema": 1, "verdict": verdict, "logs": logs, "together": self.together })
    }
}

fn tell(subject: &Subject, out: &mut String) {
    let source = &subject.source;
    let _ = writeln!(
        out,
        "{} ({}), {} events in {} batches, chain {}",
        source.name,
        subject.me(),
        source.end(),
        source.batches.len(),
        source.pins.chain_id
    );
    for finding in &source.findings {
        let _ = writeln!(
            out,
            "  at its next start the node will report (nothing was changed here): {finding}"
        );
    }
    subject.checks.iter().for_each(|check| tell_check(check, out));
    if let Some(why) = &subject.contradiction {
        let _ = writeln!(out, "  the enforcer: {why}");
    }
    out.push_str("  If every peer vanished now:\n");
    if subject.standings.is_empty() {
        out.push_str("    there is nothing to enforce: the log has no channel\n");
    }
    subject.standings.iter().for_each(|standing| tell_standing(standing, out));
    let total = Total::of(&subject.standings);
    let _ = writeln!(
        out,
        "  In total you can enforce {} of {}; slack {} ({}).\n",
        total.enforceable,
        total.entitled,
        slack(total.enforceable, total.entitled),
        total.label()
    );
}

fn tell_check(check: &Check, out: &mut String) {
    let (name, note) = (check.name, &check.note);
    let _ = match &check.found {
        Found::Held => writeln!(out, "  held     {name}: {note}"),
        Found::HeldInPart => writeln!(out, "  in part  {name}: {note}"),
        Found::NotRun => writeln!(out, "  not run  {name}: needs {note}"),
        Found::Broken { what, lsn, loss } => {
            let at = lsn.map(|lsn| format!(" at record {lsn}")).unwrap_or_default();
            let loss = loss.map(|loss| format!("; {loss} can be lost")).unwrap_or_default();
            writeln!(out, "  BROKEN   {name}{at}: {what}{loss}")
        }
    };
}

fn tell_standing(standing: &Standing, out: &mut String) {
    let Standing { enforceable, entitled, because, .. } = standing;
    let _ = writeln!(out, "    {}", names(standing));
    let _ = match standing.searched {
        Searched::Undecided => {
            writeln!(out, "      you are entitled to {entitled}; undecided, because {because}")
        }
        Searched::Nothing if enforceable.is_zero() && entitled.is_zero() => {
            writeln!(out, "      nothing is left to enforce, because {because}")
        }
        Searched::Exhaustive | Searched::Bounded(_) | Searched::Nothing => writeln!(
            out,
            "      you can enforce {enforceable} of {entitled}; slack {}, because {because} ({})",
            slack(*enforceable, *entitled),
            label(standing.searched)
        ),
    };
}

fn names(standing: &Standing) -> String {
    let ledgers = standing.ledgers.iter().map(|id| format!("channel {}", id.short()));
    let virtuals = standing.virtuals.iter().map(|id| format!("virtual channel {}", id.short()));
    ledgers.chain(virtuals).collect::<Vec<_>>().join(", ")
}

/// What is to spare, or what is missing.
fn slack(enforceable: Amount, entitled: Amount) -> String {
    match enforceable.checked_sub(entitled) {
        Some(spare) => spare.to_string(),
        None => format!("-{}", entitled.saturating_sub(enforceable)),
    }
}

fn label(searched: Searched) -> String {
    match searched {
        Searched::Exhaustive => "exhaustive".into(),
        Searched::Bounded(moves) => format!("bounded: {moves} moves of the adversary"),
        Searched::Nothing => "nothing to play".into(),
        Searched::Undecided => "undecided".into(),
    }
}

/// All standings of a log together. They share no channel, so their worst cases add up.
struct Total {
    enforceable: Amount,
    entitled: Amount,
    bounded: bool,
    undecided: usize,
}

impl Total {
    fn of(standings: &[Standing]) -> Total {
        let judged = || standings.iter().filter(|s| s.searched != Searched::Undecided);
        let sum = |of: fn(&Standing) -> Amount| {
            judged().fold(Amount::ZERO, |sum, s| sum.saturating_add(of(s)))
        };
        Total {
            enforceable: sum(|s| s.enforceable),
            entitled: sum(|s| s.entitled),
            bounded: judged().any(|s| matches!(s.searched, Searched::Bounded(_))),
            undecided: standings.len() - judged().count(),
        }
    }

    fn label(&self) -> String {
        let reach = if self.bounded { "bounded" } else { "exhaustive" };
        match self.undecided {
            0 => reach.into(),
            n => format!("{reach}; {n} undecided left out"),
        }
    }
}

fn subject_json(subject: &Subject) -> Value {
    let total = Total::of(&subject.standings);
    let standings: Vec<Value> = subject.standings.iter().map(standing_json).collect();
    json!({
        "name": subject.source.name,
        "address": subject.me(),
        "events": subject.source.end(),
        "findings": subject.source.findings,
        "checks": subject.checks,
        "standings": standings,
        "contradiction": subject.contradiction,
        "total": {
            "enforceable": total.enforceable,
            "entitled": total.entitled,
            "slack": slack_wei(total.enforceable, total.entitled),
            "searched": total.label(),
        },
    })
}

fn standing_json(standing: &Standing) -> Value {
    json!({
        "ledgers": standing.ledgers,
        "virtuals": standing.virtuals,
        "enforceable": standing.enforceable,
        "entitled": standing.entitled,
        "slack": slack_wei(standing.enforceable, standing.entitled),
        "because": standing.because,
        "searched": label(standing.searched),
    })
}

/// As [`slack`], in wei.
fn slack_wei(enforceable: Amount, entitled: Amount) -> String {
    match enforceable.checked_sub(entitled) {
        Some(spare) => spare.0.to_string(),
        None => format!("-{}", entitled.saturating_sub(enforceable).0),
    }
}
