//! What types cannot say: names exist, triggers can be reached, engines can do what is asked.
//!
//! Each problem is a key path and a sentence "expected …, found …"; the caller adds file and line.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::{Availability, Family, available};
use super::fault::{ChainFault, Fault, FaultDo, Target};
use super::names::{EVENT_NAMES, GOAL_NAMES, unknown};
use super::op::{Op, OpKind};
use super::resolve::milestone;
use super::topology::{Channel, Party};
use super::unit::{Count, Nanos, Quantity};
use super::{Expect, SCHEMA, Scenario, ScenarioFile};
use crate::seed_id::is_kebab;

/// A key path and what is wrong there.
type Found = (String, String);

impl Scenario {
    /// Everything that is wrong, in the order of the file; nothing when it can be resolved and run.
    pub(super) fn check(&self) -> Vec<Found> {
        let mut check = Check { file: &self.file, found: Vec::new() };
        check.head(self);
        check.parties();
        check.channels();
        check.ops();
        for (index, fault) in self.file.fault.iter().enumerate() {
            check.fault(&format!("fault[{index}]"), fault);
        }
        if self.file.phases.chaos == Nanos::ZERO {
            check.add("phases.chaos", "expected a duration above zero, found 0s");
        }
        check.found
    }
}

struct Check<'a> {
    file: &'a ScenarioFile,
    found: Vec<Found>,
}

impl Check<'_> {
    fn add(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.found.push((path.into(), what.into()));
    }

    fn head(&mut self, scenario: &Scenario) {
        let file = self.file;
        if scenario.story.is_empty() {
            self.add("", "expected a comment at the top that tells the story, found none");
        }
        if file.schema != SCHEMA {
            self.add("schema", format!("expected {SCHEMA}, found {}", file.schema));
        }
        if file.engines.is_empty() {
            self.add("engines", "expected at least one engine, found none");
        }
        for (index, engine) in file.engines.iter().enumerate() {
            if file.engines[..index].contains(engine) {
                self.add("engines", format!("expected each engine once, found {engine} twice"));
            }
        }
        let negative = scenario.name.starts_with("negative/");
        match (&file.expect, negative) {
            (Expect::Pass, true) => {
                self.add(
                    "expect",
                    "expected \"violation:<invariant>\" below negative/, found \"pass\"",
                );
            }
            (Expect::Violation(name), false) => self.add(
                "expect",
                format!("expected \"pass\" outside negative/, found \"violation:{name}\""),
            ),
            (Expect::Pass, false) | (Expect::Violation(_), true) => {}
        }
        if let Some(mutant) = &file.mutant {
            if file.expect == Expect::Pass {
                self.add(
                    "mutant",
                    format!("expected none where expect is \"pass\", found `{mutant}`"),
                );
            }
            if !is_kebab(mutant) {
                self.add("mutant", format!("expected words joined by `-`, found `{mutant}`"));
            }
        }
        for (index, goal) in file.goals.iter().enumerate() {
            if !GOAL_NAMES.contains(&goal.as_str()) {
                self.add(format!("goals[{index}]"), unknown("a goal", goal, GOAL_NAMES));
            }
        }
    }

    fn parties(&mut self) {
        let topology = &self.file.topology;
        for (index, name) in topology.parties.iter().enumerate() {
            let path = format!("topology.parties[{index}]");
            if !is_name(name) {
                self.add(&path, format!("expected letters, digits, `_` and `-`, found `{name}`"));
            }
            if topology.parties[..index].contains(name) {
                self.add(&path, format!("expected each name once, found `{name}` twice"));
            }
        }
        for (name, party) in &topology.party {
            let path = format!("topology.party.{name}");
            self.party(&path, name);
            if let Some(step) = &party.clock.step
                && step.at.least() >= self.file.phases.chaos
            {
                let at = step.at.least();
                self.too_late(&format!("{path}.clock.step.at"), at);
            }
        }
        let is_honest = |name: &String| topology.party.get(name).is_none_or(|p| p.role.is_honest());
        if !topology.parties.iter().any(is_honest) {
            self.add("topology.parties", "expected at least one honest party, found none");
        }
    }

    /// Whether a party exists.
    fn party(&mut self, path: &str, name: &str) {
        let known: Vec<&str> = self.file.topology.parties.iter().map(String::as_str).collect();
        if !known.contains(&name) {
            self.add(path, unknown("a party", name, &known));
        }
    }

    fn too_late(&mut self, path: &str, at: Nanos) {
        let chaos = self.file.phases.chaos;
        self.add(path, format!("expected a time within the chaos phase ({chaos}), found {at}"));
    }

    fn channels(&mut self) {
        let topology = &self.file.topology;
        let mut deposited: BTreeMap<&str, i128> = BTreeMap::new();
        for (index, channel) in topology.channels.iter().enumerate() {
            let path = format!("topology.channels[{index}]");
            self.channel(&path, index, channel);
            for (party, deposit) in &channel.deposits {
                let sum = deposited.entry(party).or_default();
                *sum += deposit.units();
                let funds = topology.party.get(party).map_or(Party::default().funds, |p| p.funds);
                if *sum > funds.units() {
                    self.add(
                        format!("{path}.deposits.{party}"),
                        format!("expected deposits within {party}'s funds of {funds}, found more"),
                    );
                }
            }
        }
    }

    fn channel(&mut self, path: &str, index: usize, channel: &Channel) {
        let earlier = &self.file.topology.channels[..index];
        if !is_name(&channel.id) || earlier.iter().any(|other| other.id == channel.id) {
            let what = "expected a name of letters, digits, `_` and `-` that no other channel has";
            self.add(format!("{path}.id"), format!("{what}, found `{}`", channel.id));
        }
        let (first, second) = &channel.parties;
        self.party(&format!("{path}.parties[0]"), first);
        self.party(&format!("{path}.parties[1]"), second);
        if first == second {
            self.add(
                format!("{path}.parties"),
                format!("expected two parties, found `{first}` twice"),
            );
        }
        for party in channel.deposits.keys().filter(|party| ![first, second].contains(party)) {
            let what = unknown("a participant", party, &[first, second]);
            self.add(format!("{path}.deposits.{party}"), what);
        }
        let duration = channel.challenge_duration;
        if duration == Nanos::ZERO || !duration.0.is_multiple_of(1_000_000_000) {
            self.add(
                format!("{path}.challenge_duration"),
                format!("expected whole seconds, at least 1s, found {duration}"),
            );
        }
    }

    fn ops(&mut self) {
        let mut ids = BTreeSet::new();
        let mut opened = BTreeSet::new();
        for (index, op) in self.file.op.iter().enumerate() {
            let path = format!("op[{index}]");
            if let Some(id) = &op.id {
                let taken = self.file.topology.channels.iter().any(|channel| channel.id == *id);
                if !is_name(id) || taken || !ids.insert(id.as_str()) {
                    let what = "expected a name that no other operation and no channel has";
                    self.add(format!("{path}.id"), format!("{what}, found `{id}`"));
                }
            }
            self.op_trigger(&path, index, op);
            self.op_args(&format!("{path}.args"), op);
            if let OpKind::ChannelOpen(open) = &op.what
                && !opened.insert(open.id.as_str())
            {
                self.add(
                    format!("{path}.args.id"),
                    format!("expected each channel to be opened once, found `{}` again", open.id),
                );
            }
        }
        self.unopened(&opened);
    }

    /// A channel that is used and never opened makes operations wait for ever.
    fn unopened(&mut self, opened: &BTreeSet<&str>) {
        for (index, op) in self.file.op.iter().enumerate() {
            let (channel, path) = match &op.what {
                OpKind::ChannelPay(pay) => (&pay.channel, format!("op[{index}].args.channel")),
                OpKind::ChannelClose(close) => {
                    (&close.channel, format!("op[{index}].args.channel"))
                }
                OpKind::ForceClose(close) => (&close.channel, format!("op[{index}].args.channel")),
                OpKind::ChannelOpen(_) | OpKind::Restart(_) => continue,
            };
            let known = self.file.topology.channels.iter().any(|known| known.id == *channel);
            if known && !opened.contains(channel.as_str()) {
                self.add(
                    path,
                    format!("expected a channel that some operation opens, found `{channel}`"),
                );
            }
        }
    }

    fn op_trigger(&mut self, path: &str, index: usize, op: &Op) {
        match (&op.at, &op.after) {
            (Some(_), Some(_)) => self.add(path, "expected `at` or `after`, found both"),
            (None, None) => self.add(path, "expected `at` or `after`, found neither"),
            (Some(at), None) => {
                if at.least() >= self.file.phases.chaos {
                    self.too_late(&format!("{path}.at"), at.least());
                }
                if op.delay.is_some() {
                    self.add(
                        format!("{path}.delay"),
                        "expected a delay only with `after`, found `at`",
                    );
                }
            }
            (None, Some(after)) => self.op_after(&format!("{path}.after"), index, after),
        }
    }

    /// Only earlier operations can be waited for, so that nothing waits in a circle.
    fn op_after(&mut self, path: &str, index: usize, after: &str) {
        let channels = self.file.topology.channels.iter();
        let mut known: Vec<String> = channels
            .flat_map(|channel| {
                ["open", "updated", "closed"].map(|what| format!("{}.{what}", channel.id))
            })
            .collect();
        let earlier = self.file.op[..index].iter().filter_map(|op| op.id.as_ref());
        known.extend(earlier.map(|id| format!("{id}.done")));
        if milestone(self.file, after).is_none() || !known.iter().any(|name| name == after) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.add(path, unknown("a milestone", after, &known));
        }
    }

    fn op_args(&mut self, path: &str, op: &Op) {
        match &op.what {
            OpKind::ChannelOpen(open) => {
                self.channel_use(path, "id", &open.id, open.from.as_deref());
            }
            OpKind::ChannelPay(pay) => {
                self.channel_use(path, "channel", &pay.channel, Some(&pay.from));
                if pay.amount.least().0.is_zero() {
                    self.add(
                        format!("{path}.amount"),
                        "expected an amount above zero, found 0 wei",
                    );
                }
                if pay.count.most() > PAYMENTS_MAX {
                    let most = pay.count.most();
                    self.add(
                        format!("{path}.count"),
                        format!("expected at most {PAYMENTS_MAX} payments, found {most}"),
                    );
                }
            }
            OpKind::ChannelClose(close) => {
                self.channel_use(path, "channel", &close.channel, close.from.as_deref());
            }
            OpKind::ForceClose(close) => {
                self.channel_use(path, "channel", &close.channel, Some(&close.from));
            }
            OpKind::Restart(restart) => self.party(&format!("{path}.party"), &restart.party),
        }
    }

    /// Whether the channel exists and `from` takes part in it.
    fn channel_use(&mut self, path: &str, key: &str, id: &str, from: Option<&str>) {
        let channels = &self.file.topology.channels;
        let Some(channel) = channels.iter().find(|channel| channel.id == id) else {
            let known: Vec<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
            self.add(format!("{path}.{key}"), unknown("a channel", id, &known));
            return;
        };
        let (first, second) = &channel.parties;
        if let Some(from) = from
            && from != first
            && from != second
        {
            let what = unknown(&format!("a participant of {id}"), from, &[first, second]);
            self.add(format!("{path}.from"), what);
        }
    }

    fn fault(&mut self, path: &str, fault: &Fault) {
        let kind = fault.what.kind();
        self.target(&format!("{path}.target"), kind.family(), fault);
        self.when(&format!("{path}.when"), fault);
        for engine in &self.file.engines {
            match available(kind, *engine) {
                Availability::Native | Availability::Emulated => {}
                Availability::No => self.add(
                    format!("{path}.do"),
                    format!("expected a fault that engine {engine} can do, found {kind}; remove {engine} from engines"),
                ),
            }
        }
        match &fault.what {
            FaultDo::Chain(ChainFault::RevertPayee(payee)) => {
                self.party(&format!("{path}.do.revert_payee.party"), &payee.party);
            }
            FaultDo::Chain(ChainFault::StrangerDeposit(deposit)) => {
                let path = format!("{path}.do.stranger_deposit");
                self.channel_use(&path, "channel", &deposit.channel, None);
            }
            FaultDo::Chain(ChainFault::Reorg(reorg)) if reorg.depth.least().0 == 0 => {
                self.add(format!("{path}.do.reorg.depth"), "expected at least 1blk, found 0blk");
            }
            FaultDo::Crash(_)
            | FaultDo::Partition(_)
            | FaultDo::Net(_)
            | FaultDo::Disk(_)
            | FaultDo::Chain(_)
            | FaultDo::Clock(_) => {}
        }
    }

    fn target(&mut self, path: &str, family: Family, fault: &Fault) {
        let wanted = match family {
            Family::Crash | Family::Disk | Family::Clock => "a party",
            Family::Partition => "a link such as [\"alice\", \"bob\"]",
            Family::Net => "a link such as [\"alice\", \"bob\"], or none for every link",
            Family::Chain => "none, the chain is everyone's",
        };
        match (family, &fault.target) {
            (Family::Crash | Family::Disk | Family::Clock, Some(Target::Party(party))) => {
                self.party(path, party);
            }
            (Family::Partition | Family::Net, Some(Target::Link(first, second))) => {
                self.party(&format!("{path}[0]"), first);
                self.party(&format!("{path}[1]"), second);
                if first == second {
                    self.add(path, format!("expected two parties, found `{first}` twice"));
                }
            }
            (Family::Net | Family::Chain, None) => {}
            (_, Some(Target::Party(party))) => {
                self.add(path, format!("expected {wanted}, found the party `{party}`"));
            }
            (_, Some(Target::Link(..))) => {
                self.add(path, format!("expected {wanted}, found a link"))
            }
            (_, None) => self.add(path, format!("expected {wanted}, found none")),
        }
    }

    fn when(&mut self, path: &str, fault: &Fault) {
        let when = &fault.when;
        match (&when.at, &when.event) {
            (Some(_), Some(_)) => self.add(path, "expected `at` or `event`, found both"),
            (None, None) => self.add(path, "expected `at` or `event`, found neither"),
            (Some(at), None) => {
                if at.least() >= self.file.phases.chaos {
                    self.too_late(&format!("{path}.at"), at.least());
                }
                if when.of.is_some() || when.nth.is_some() || when.side.is_some() {
                    self.add(path, "expected `of`, `nth` and `side` only with `event`, found `at`");
                }
            }
            (None, Some(event)) => {
                if !EVENT_NAMES.contains(&event.as_str()) {
                    self.add(format!("{path}.event"), unknown("an event", event, EVENT_NAMES));
                }
                match &when.of {
                    Some(of) => self.party(&format!("{path}.of"), of),
                    None => self.add(path, "expected a key `of` that says whose event, found none"),
                }
                if when.nth.as_ref().is_some_and(|nth| nth.least() == Count(0)) {
                    self.add(format!("{path}.nth"), "expected 1 or more, found 0");
                }
            }
        }
    }
}

/// Whether this can name a party, a channel or an operation: no dots, so that triggers can be told apart.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// The most payments of one operation: a plan lists them one by one.
const PAYMENTS_MAX: Count = Count(100_000);
