//! What types cannot say: names exist, triggers can be reached, engines can do what is asked.
//!
//! Each problem is a key path and a sentence "expected …, found …"; the caller adds file and line.

mod op;

use std::collections::BTreeMap;

use fairway_core::wire::WIRE_VERSIONS;

use super::dist::Dist;
use super::engine::{Availability, Family, available};
use super::fault::{ChainFault, Fault, FaultDo, Target, When};
use super::names::{EVENT_NAMES, GOAL_NAMES, unknown};
use super::swarm::{NAMES, Swarm};
use super::topology::{Channel, Virtual};
use super::trigger::impossible;
use super::unit::{Count, Nanos, Quantity};
use super::verdict::{Eventually, reach};
use super::{Expect, SCHEMA, Scenario, ScenarioFile};
use crate::invariant;
use crate::seed_id::is_kebab;
use crate::world::promises::PROMISE;

/// A key path and what is wrong there.
type Found = (String, String);

impl Scenario {
    /// Everything that is wrong, in the order of the file; nothing when it can be resolved and run.
    pub(super) fn check(&self) -> Vec<Found> {
        let mut check = Check { file: &self.file, found: Vec::new() };
        check.head(self);
        check.swarm();
        check.parties();
        check.channels();
        check.virtuals();
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
        self.verdict();
    }

    /// Whether what must hold always, eventually and sometimes is something that runs can show.
    fn verdict(&mut self) {
        let file = self.file;
        let names = invariant::names();
        for (index, name) in file.always.iter().flatten().enumerate() {
            if !names.contains(&name.as_str()) {
                self.add(format!("always[{index}]"), unknown("an invariant", name, names));
            }
        }
        if let (Some(always), Expect::Violation(name)) = (&file.always, &file.expect)
            && name != PROMISE
            && !always.contains(name)
        {
            self.add(
                "always",
                format!("expected `{name}` among them, which must be violated, found none"),
            );
        }
        for (index, promised) in file.eventually.iter().enumerate() {
            self.promised(&format!("eventually[{index}]"), promised);
        }
        for (index, goal) in file.sometimes.iter().enumerate() {
            if !GOAL_NAMES.contains(&goal.as_str()) {
                self.add(format!("sometimes[{index}]"), unknown("a goal", goal, GOAL_NAMES));
            }
        }
    }

    fn promised(&mut self, path: &str, promised: &Eventually) {
        if reach(self.file, &promised.goal).is_none() {
            let milestones = self.milestones(self.file.op.len());
            let known = GOAL_NAMES.iter().copied().chain(milestones.iter().map(String::as_str));
            let known: Vec<&str> = known.collect();
            let what = unknown("a goal or a milestone", &promised.goal, &known);
            self.add(format!("{path}.goal"), what);
        }
        let settle = self.file.phases.settle;
        if promised.within > settle {
            let what = format!("expected a time within the settle phase ({settle})");
            self.add(format!("{path}.within"), format!("{what}, found {}", promised.within));
        }
    }

    /// Whether what a swarm draws is written nowhere else, and stays within bounds.
    fn swarm(&mut self) {
        let file = self.file;
        let Some(swarm) = &file.swarm else { return };
        match &swarm.parties {
            Some(parties) => self.drawn_world(swarm, parties),
            None => self.written_world(swarm),
        }
        for engine in &file.engines {
            let missing = swarm.kinds().find(|k| available(*k, *engine) == Availability::No);
            if let Some(kind) = missing {
                let what = format!("expected faults that engine {engine} can do, found {kind}");
                self.add("swarm.families", what);
            }
        }
    }

    /// A swarm that adds faults to what is written.
    fn written_world(&mut self, swarm: &Swarm) {
        if self.file.topology.channels.is_empty() {
            self.add("topology.channels", "expected a channel, whose link may break, found none");
        }
        let counts = [
            ("swarm.more_channels", &swarm.more_channels),
            ("swarm.virtuals", &swarm.virtuals),
            ("swarm.payments", &swarm.payments),
        ];
        for (path, _) in counts.into_iter().filter(|(_, count)| count.is_some()) {
            self.add(
                path,
                "expected swarm.parties beside it, which has everything drawn, found none",
            );
        }
        if swarm.adversaries.0 > 0 {
            let what =
                "expected swarm.parties beside it; a written party has its role in topology.party";
            self.add("swarm.adversaries", what);
        }
    }

    /// A swarm that draws everything.
    fn drawn_world(&mut self, swarm: &Swarm, parties: &Dist<Count>) {
        let file = self.file;
        let topology = &file.topology;
        let written = [
            ("topology.parties", topology.parties.is_empty()),
            ("topology.party", topology.party.is_empty()),
            ("topology.channels", topology.channels.is_empty()),
            ("topology.virtuals", topology.virtuals.is_empty()),
            ("op", file.op.is_empty()),
            ("fault", file.fault.is_empty()),
        ];
        for (path, _) in written.into_iter().filter(|(_, empty)| !empty) {
            self.add(path, "expected nothing beside a swarm, which draws it, found some");
        }
        let (least, most) = (parties.least(), parties.most());
        if least < Count(2) || most > Count(NAMES.len() as u64) {
            let what = format!("expected 2 to {} parties, found {least} to {most}", NAMES.len());
            self.add("swarm.parties", what);
        }
        if swarm.payments.as_ref().is_some_and(|payments| payments.least() == Count(0)) {
            self.add("swarm.payments", "expected 1 or more, found 0");
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
            self.versions(&format!("{path}.versions"), party.versions);
            if let Some(step) = &party.clock.step
                && step.at.least() >= self.file.phases.chaos
            {
                let at = step.at.least();
                self.too_late(&format!("{path}.clock.step.at"), at);
            }
        }
        if self.file.swarm.as_ref().is_some_and(|swarm| swarm.parties.is_some()) {
            return;
        }
        let is_honest = |name: &String| topology.party.get(name).is_none_or(|p| p.role.is_honest());
        if !topology.parties.iter().any(is_honest) {
            self.add("topology.parties", "expected at least one honest party, found none");
        }
    }

    /// Whether these are versions that this build speaks, the oldest first.
    fn versions(&mut self, path: &str, versions: Option<(u16, u16)>) {
        let Some((oldest, newest)) = versions else { return };
        let (first, last) = (WIRE_VERSIONS.start(), WIRE_VERSIONS.end());
        if oldest > newest || !WIRE_VERSIONS.contains(&oldest) || !WIRE_VERSIONS.contains(&newest) {
            self.add(
                path,
                format!(
                    "expected the oldest and the newest wire version, from {first} to {last}, found [{oldest}, {newest}]"
                ),
            );
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
                *sum = sum.saturating_add(deposit.most().units());
                let funds = topology.party.get(party).cloned().unwrap_or_default().funds.least();
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
        self.challenge_duration(path, &channel.challenge_duration);
    }

    /// The contract counts whole seconds; so do the ends of what is drawn.
    fn challenge_duration(&mut self, path: &str, duration: &Dist<Nanos>) {
        for end in [duration.least(), duration.most()] {
            if end == Nanos::ZERO || !end.0.is_multiple_of(1_000_000_000) {
                let what = format!("expected whole seconds, at least 1s, found {end}");
                return self.add(format!("{path}.challenge_duration"), what);
            }
        }
    }

    fn virtuals(&mut self) {
        for (index, channel) in self.file.topology.virtuals.iter().enumerate() {
            let path = format!("topology.virtuals[{index}]");
            self.virtual_channel(&path, index, channel);
        }
    }

    fn virtual_channel(&mut self, path: &str, index: usize, channel: &Virtual) {
        let topology = &self.file.topology;
        let mut others = topology.virtuals[..index].iter().map(|other| &other.id);
        let taken = others.any(|id| *id == channel.id)
            || topology.channels.iter().any(|other| other.id == channel.id);
        if !is_name(&channel.id) || taken {
            let what = "expected a name of letters, digits, `_` and `-` that no other channel has";
            self.add(format!("{path}.id"), format!("{what}, found `{}`", channel.id));
        }
        if channel.parties.len() < 2 {
            let found = channel.parties.len();
            let what = format!("expected at least a payer and a payee, found {found}");
            self.add(format!("{path}.parties"), what);
        }
        for (at, party) in channel.parties.iter().enumerate() {
            self.party(&format!("{path}.parties[{at}]"), party);
            if channel.parties[..at].contains(party) {
                let what = format!("expected each party once, found `{party}` twice");
                self.add(format!("{path}.parties[{at}]"), what);
            }
        }
        for (at, pair) in channel.parties.windows(2).enumerate() {
            let [left, right] = pair else { continue };
            if !topology.channels.iter().any(|c| joins(c, left, right)) {
                self.add(
                    format!("{path}.parties[{}]", at + 1),
                    format!("expected neighbours that share a channel, found none between {left} and {right}"),
                );
            }
        }
        self.virtual_terms(path, channel);
    }

    fn virtual_terms(&mut self, path: &str, channel: &Virtual) {
        if channel.amount.least().0.is_zero() {
            self.add(format!("{path}.amount"), "expected an amount above zero, found 0 wei");
        }
        self.challenge_duration(path, &channel.challenge_duration);
        if let (Some(ledger), [payer, next, ..]) = (&channel.ledger, channel.parties.as_slice()) {
            let channels = &self.file.topology.channels;
            let usable = channels.iter().filter(|c| joins(c, payer, next));
            let usable: Vec<&str> = usable.map(|c| c.id.as_str()).collect();
            if !usable.contains(&ledger.as_str()) {
                let what = unknown(&format!("a channel of {payer} and {next}"), ledger, &usable);
                self.add(format!("{path}.ledger"), what);
            }
        }
    }

    fn fault(&mut self, path: &str, fault: &Fault) {
        let kind = fault.what.kind();
        self.target(&format!("{path}.target"), kind.family(), fault);
        self.when(&format!("{path}.when"), &fault.when);
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

    /// Whether the party exists and can have this event in its log.
    fn event_of(&mut self, path: &str, event: &str, of: &str) {
        let path = format!("{path}.of");
        self.party(&path, of);
        if self.file.topology.parties.iter().any(|party| party == of)
            && let Some(what) = impossible(self.file, event, of)
        {
            self.add(path, what);
        }
    }

    fn when(&mut self, path: &str, when: &When) {
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
                    Some(of) => self.event_of(path, event, of),
                    None => self.add(path, "expected a key `of` that says whose event, found none"),
                }
                if when.nth.as_ref().is_some_and(|nth| nth.least() == Count(0)) {
                    self.add(format!("{path}.nth"), "expected 1 or more, found 0");
                }
            }
        }
    }
}

/// Whether the channel is between these two.
fn joins(channel: &Channel, left: &str, right: &str) -> bool {
    let (first, second) = &channel.parties;
    first == left && second == right || first == right && second == left
}

/// Whether this can name a party, a channel or an operation: no dots, so that triggers can be told apart.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
