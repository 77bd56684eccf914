//! One log under every invariant that needs nothing else, and under the enforcer.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use fairway_core::event::Event;
use fairway_core::machine::NodeState;
use fairway_core::nitro::{Call, Crypto};
use fairway_core::types::{Address, Amount, BlockNum, Lsn, Timestamp};
use fairway_core::wire::{StateClaim, Wire};
use serde::Serialize;

use super::checks::{NEEDS, Needs};
use super::prefixes::prefixes;
use super::source::Source;
use crate::invariant::{self, Setting, Standing, Violation, Watch, standings};
use crate::observe::{Observed, PartyId, PartyInfo};
use crate::world::memo::Memo;

/// One statement about a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: an invariant's, or that of a check that only logs have.
    pub name: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub found: Found,
    /// What it says, or what part of it could not be looked at.
    pub note: String,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Found {
    /// It holds.
    Held,
    /// It holds as far as a log goes.
    HeldInPart,
    /// It does not hold.
    Broken {
        /// How, in one sentence.
        what: String,
        /// At which record, where that is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        lsn: Option<u64>,
        /// What can be lost by it, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        loss: Option<Amount>,
    },
    /// It could not run.
    NotRun,
}

impl Check {
    /// One that holds.
    pub fn held(name: &'static str, note: impl Into<String>) -> Check {
        Check { name, found: Found::Held, note: note.into() }
    }

    /// One that could not run, and why.
    pub fn not_run(name: &'static str, why: impl Into<String>) -> Check {
        Check { name, found: Found::NotRun, note: why.into() }
    }

    /// One that does not hold.
    pub fn broken(name: &'static str, what: impl Into<String>, lsn: Option<Lsn>) -> Check {
        let found = Found::Broken { what: what.into(), lsn: lsn.map(|l| l.0), loss: None };
        Check { name, found, note: String::new() }
    }

    /// Whether it does not hold.
    pub fn is_broken(&self) -> bool {
        matches!(self.found, Found::Broken { .. })
    }
}

/// One log and everything that was found in it.
#[derive(Debug)]
pub struct Subject {
    /// The log.
    pub source: Source,
    /// The state that it folds to; `None` when its events cannot be folded.
    pub state: Option<NodeState>,
    /// Every check, in the order of the report.
    pub checks: Vec<Check>,
    /// What the node can enforce, by groups of channels.
    pub standings: Vec<Standing>,
    /// Why the enforcer itself is wrong, if it is.
    pub contradiction: Option<String>,
}

impl Subject {
    /// The node's address.
    pub fn me(&self) -> Address {
        self.source.pins.me
    }
}

/// Judges one log.
pub fn judge(mut source: Source) -> Subject {
    let memo = Memo::new(Crypto::Real);
    let setting = setting(&source, &memo);
    let mut checks = std::mem::take(&mut source.checks);
    checks.extend([signatures_hold(&source, &memo), blocks_connect(&source)]);
    let folded = caught(|| fold(&source));
    match &folded {
        Ok(_) => checks.push(Check::held("events-fold", "the events make one state")),
        Err(why) => checks.push(Check::broken("events-fold", why.clone(), None)),
    }
    let (state, mut contradiction) = (folded.ok(), None);
    for (name, needs) in NEEDS {
        checks.push(match needs {
            Needs::More(why) => Check::not_run(name, *why),
            _ if state.is_none() => Check::not_run(name, "the events cannot be folded"),
            Needs::Game => match caught(|| prefixes(&source, &memo)) {
                Ok(Ok(check)) => check,
                Ok(Err(why)) | Err(why) => {
                    contradiction = Some(why);
                    Check::not_run(name, "an enforcer that does not contradict itself")
                }
            },
            Needs::Nothing | Needs::Part(_) => run(name, *needs, &source, &setting, state.as_ref()),
        });
    }
    let mut standing = Vec::new();
    if let Some(state) = &state {
        let me = source.pins.me;
        match caught(|| standings(me, &source.events(), state, &memo, VISITS_MAX)) {
            Ok(Ok(found)) => standing = found,
            Ok(Err(why)) | Err(why) => contradiction = Some(why),
        }
    }
    Subject { source, state, checks, standings: standing, contradiction }
}

/// A run of one party: the one whose log this is.
fn setting(source: &Source, memo: &Memo) -> Setting {
    let pins = source.pins;
    let name = source.name.clone();
    Setting {
        parties: vec![PartyInfo { name, address: pins.me, honest: true, pins }],
        memo: memo.clone(),
        confirmations: u64::from(pins.confirmations),
        reorg_depth_max: 0,
        block_time_s: 0,
        chain_is_fair: false,
        search_permille: 0,
    }
}

fn fold(source: &Source) -> NodeState {
    let mut state = NodeState::default();
    for (at, event) in source.batches.iter().flatten() {
        state.apply(*at, event.clone());
    }
    state
}

/// The result of `work`, or the message of its panic: an untrusted log may hold what no node would write.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_string()));
        let text = text.unwrap_or_else(|| "no message".into());
        format!("no node writes such events: {text}")
    })
}

/// One invariant over the whole log, in a watch of its own: the first that breaks must not hide the others.
fn run(
    name: &'static str,
    needs: Needs,
    source: &Source,
    setting: &Setting,
    state: Option<&NodeState>,
) -> Check {
    let mut all = invariant::all(setting);
    all.retain(|i| i.name() == name);
    let statement = all.first().map(|i| i.statement()).unwrap_or_default();
    let mut watch = Watch::new(setting, all);
    let mut at = Lsn::ZERO;
    let found = caught(|| observe(&mut watch, source, state, &mut at));
    let (what, loss) = match found {
        Ok(Ok(())) => {
            return match needs {
                Needs::Part(left_out) => {
                    Check { name, found: Found::HeldInPart, note: left_out.into() }
                }
                Needs::Nothing | Needs::Game | Needs::More(_) => Check::held(name, statement),
            };
        }
        Ok(Err(violation)) => (violation.what, violation.loss.map(|(_, amount)| amount)),
        Err(why) => (why, None),
    };
    let found = Found::Broken { what, lsn: Some(at.0), loss };
    Check { name, found, note: statement.into() }
}

/// Shows a log as a run would have: each event as it was appended, what it says is signed or wanted as released once its batch was
/// durable, and in the end a restart.
fn observe(
    watch: &mut Watch,
    source: &Source,
    state: Option<&NodeState>,
    at: &mut Lsn,
) -> Result<(), Violation> {
    let (node, mut end) = (PartyId(0), Lsn::ZERO);
    for batch in &source.batches {
        for (i, event) in batch.iter().enumerate() {
            *at = end.advance(i as u64 + 1);
            let events = std::slice::from_ref(event);
            watch.observe(0, &Observed::Appended { node, first: *at, events })?;
        }
        let first = end;
        end = end.advance(batch.len() as u64);
        watch.observe(0, &Observed::Synced { node, end })?;
        for (i, (_, event)) in batch.iter().enumerate() {
            *at = first.advance(i as u64 + 1);
            release(watch, node, event)?;
        }
    }
    *at = end;
    let Some(state) = state else { return Ok(()) };
    let (log, may_have_forgotten) = (source.events(), source.is_in_doubt);
    watch.observe(0, &Observed::Restarted { node, log: &log, state, may_have_forgotten })
}

fn release(watch: &mut Watch, node: PartyId, event: &Event) -> Result<(), Violation> {
    match event {
        Event::StateSigned { state, .. } => {
            let sigs = state.sigs().iter().map(|(i, sig)| (*i, *sig)).collect();
            let wire = Wire::State(StateClaim { state: state.state().clone(), sigs });
            let seen = Observed::Sent { node, to: PartyId(1), wire: Some(&wire), bytes: &[] };
            watch.observe(0, &seen)
        }
        Event::DepositWanted { channel, held_before, amount } => {
            let (asset, channel, expected_held, amount) =
                (Address::ZERO, *channel, *held_before, *amount);
            let call = Call::Deposit { asset, channel, expected_held, amount };
            watch.observe(0, &Observed::Submitted { node, call: &call })
        }
        _ => Ok(()),
    }
}

/// Recovers every signature again, trusting nothing.
fn signatures_hold(source: &Source, memo: &Memo) -> Check {
    const NAME: &str = "signatures-hold";
    let mut payers = BTreeMap::new();
    let mut count = 0;
    for (lsn, (_, event)) in (1u64..).zip(source.batches.iter().flatten()) {
        let broken = |what: String| Check::broken(NAME, what, Some(Lsn(lsn)));
        match event {
            Event::VirtualApproved { id, terms, .. } => {
                payers.insert(id.channel, terms.participants.first().copied());
            }
            Event::VoucherSigned { voucher } | Event::VoucherReceived { voucher } => {
                count += 1;
                let payer = payers.get(&voucher.channel).copied().flatten();
                if payer.is_none() || voucher.signer(&mut memo.clone()) != payer {
                    let channel = voucher.channel.short();
                    return broken(format!("a voucher of channel {channel} is not its payer's"));
                }
            }
            Event::StateSigned { state, .. }
            | Event::StateReceived { state, .. }
            | Event::StatePublished { state } => {
                count += state.sigs().len();
                if let Err(why) = state.recheck(&mut memo.clone()) {
                    let (channel, turn) = (state.channel().short(), state.turn());
                    return broken(format!("turn {turn} of channel {channel}: {why}"));
                }
            }
            _ => {}
        }
    }
    Check::held(NAME, format!("{count} signatures were recovered again"))
}

/// Each block extends the one before it; a reorg goes back to one that was there.
fn blocks_connect(source: &Source) -> Check {
    const NAME: &str = "blocks-connect";
    let mut blocks: Vec<(BlockNum, _)> = Vec::new();
    for (lsn, (_, event)) in (1u64..).zip(source.batches.iter().flatten()) {
        let broken = |what: String| Check::broken(NAME, what, Some(Lsn(lsn)));
        match event {
            Event::BlockAdded { block, .. } => {
                let fits = blocks.last().is_none_or(|(number, hash)| {
                    number.0.checked_add(1) == Some(block.number.0) && block.parent == *hash
                });
                if !fits {
                    return broken(format!(
                        "block {} does not extend the one before",
                        block.number
                    ));
                }
                blocks.push((block.number, block.hash));
            }
            Event::BlocksReverted { to } => {
                let keep = blocks.iter().rposition(|known| *known == (to.number, to.hash));
                let Some(keep) = keep else {
                    return broken(format!("block {} never was on the node's chain", to.number));
                };
                blocks.truncate(keep + 1);
            }
            _ => {}
        }
    }
    Check::held(NAME, "every logged block extends the one before it")
}

/// The time of the last event.
pub(super) fn last_time(source: &Source) -> Timestamp {
    source.batches.iter().flatten().last().map_or(Timestamp(0), |(at, _)| *at)
}

/// Positions that the game at the end of a log looks at: an auditor has more time than a simulation.
const VISITS_MAX: u32 = 20_000;
